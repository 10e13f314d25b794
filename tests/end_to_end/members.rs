//! Membership as an operator sees it: leaving, dying, instance ids that are taken.

use std::time::Duration;

use serde_json::Value;
use testbed::guard::wait_until;
use testbed::{Outflow, together};

use super::rebalances::wait_for_partitions;
use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

/// A session that is longer than any test's patience: whoever waits for its end fails.
const LONG_SESSION: (&str, &str) = ("OUTFLOW_KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "300000");
const ASSIGNOR: &str = "OUTFLOW_KAFKA__PARTITION_ASSIGNMENT_STRATEGY";
const INSTANCE: (&str, &str) = ("OUTFLOW_KAFKA__GROUP_INSTANCE_ID", "pod-0");
/// Locks of instance ids are looked for here: another folder is another machine.
const STATE_DIR: &str = "OUTFLOW_STATE_DIR";

fn worker(outflow: &Outflow, sink: &str) -> Value {
    let status = outflow.status().unwrap_or_default();
    let mut sinks = status.as_array().into_iter().flatten();
    let sink = sinks.find(|s| s["name"] == sink);
    sink.map(|s| s["workers"][0].clone()).unwrap_or_default()
}

/// Waits until a sink's worker is in a state with a reason that says all this.
fn wait_for_state(outflow: &Outflow, sink: &str, state: &str, words: &[&str]) {
    let what = format!("{sink} is {state} because of {words:?}");
    let check = || {
        let worker = worker(outflow, sink);
        let reason = worker["reason"].as_str().unwrap_or_default();
        match worker["state"] == state && words.iter().all(|word| reason.contains(word)) {
            true => Ok(()),
            false => Err(format!("{worker:#}\n{}", outflow.log())),
        }
    };
    wait_until(&what, PATIENCE, check).unwrap();
}

/// Waits until the process has logged one line that says all this.
fn wait_for_line(outflow: &Outflow, words: &[&str]) {
    let check = || {
        let log = outflow.log();
        let says = |line: &str| words.iter().all(|word| line.contains(word));
        log.lines().any(says).then_some(()).ok_or(log)
    };
    wait_until(&format!("{words:?} is logged"), PATIENCE, check).unwrap();
}

#[test]
fn after_sigterm_the_others_have_the_partitions_before_a_session_ends() {
    let cluster = together();
    for assignor in ["cooperative-sticky", "range"] {
        let stage = Stage::new(&cluster, "leaves", 6);
        let variables = [LONG_SESSION, (ASSIGNOR, assignor)];
        let first = stage.start_with(Sinks::Elasticsearch, &variables);
        let second = stage.start_with(Sinks::Elasticsearch, &variables);
        for outflow in [&first, &second] {
            wait_for_partitions(outflow, "elasticsearch", |num| num == 3);
        }
        wait_for_line(&first, &["members now: 2"]);
        stop_cleanly(&second);
        wait_for_partitions(&first, "elasticsearch", |num| num == 6);
        let left = [
            "members now: 1",
            "outflow-elasticsearch-0-",
            " left; moved: ",
        ];
        wait_for_line(&first, &left);
        stop_cleanly(&first);
    }
}

#[test]
fn eager_members_that_are_killed_lose_nothing_and_double_nothing() {
    let cluster = together();
    let stage = Stage::new(&cluster, "eager-kills", 6);
    // Partitions of HDFS take turns, too.
    let variables = [
        (ASSIGNOR, "roundrobin"),
        ("OUTFLOW_HDFS__MAX_OPEN_FILES", "2"),
    ];
    let run = || stage.start_with(Sinks::Both, &variables);
    let first = run();
    let load = stage.load(1_500, 11);
    stage.wait_committed("hdfs", 500);
    for _ in 0..3 {
        let second = run();
        for sink in ["elasticsearch", "hdfs"] {
            wait_for_partitions(&second, sink, |num| num == 3);
        }
        let before = stage.committed("hdfs");
        stage.wait_committed("hdfs", before + 500);
        second.kill().unwrap();
        for sink in ["elasticsearch", "hdfs"] {
            wait_for_partitions(&first, sink, |num| num == 6);
        }
    }
    let ledger = load.stop().unwrap();
    stage.wait_caught_up(&first, "elasticsearch");
    stage.wait_caught_up(&first, "hdfs");
    stop_cleanly(&first);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}

#[test]
fn a_fenced_worker_stays_out_and_the_process_goes_on_with_its_other_sink() {
    let cluster = together();
    let stage = Stage::new(&cluster, "fenced", 2);
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().to_str().unwrap();
    let fenced = stage.start_with(Sinks::Both, &[LONG_SESSION, INSTANCE]);
    wait_for_partitions(&fenced, "elasticsearch", |num| num == 2);
    let variables = [LONG_SESSION, INSTANCE, (STATE_DIR, elsewhere)];
    let heir = stage.start_with(Sinks::Elasticsearch, &variables);
    let holder = ["pod-0", "outflow-elasticsearch-0 at 127.0.0.1"];
    wait_for_state(&fenced, "elasticsearch", "fenced", &holder);
    let ready = fenced.http().unwrap().get("/readyz").unwrap();
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().contains("worker 0 is fenced"),
        "{}",
        ready.text()
    );
    assert_eq!(fenced.http().unwrap().get("/livez").unwrap().status, 200);

    let ledger = stage.produce(2_000, 12);
    stage.wait_caught_up(&heir, "elasticsearch");
    stage.wait_caught_up(&fenced, "hdfs");
    assert_eq!(worker(&fenced, "hdfs")["state"], "running");
    stop_cleanly(&heir);
    assert_eq!(
        worker(&fenced, "elasticsearch")["state"],
        "fenced",
        "for good"
    );
    fenced.stop(Duration::from_secs(40)).unwrap();
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}

#[test]
fn a_second_process_with_the_same_instance_id_waits_for_the_first_to_end() {
    let cluster = together();
    let stage = Stage::new(&cluster, "twice", 2);
    let locks = tempfile::tempdir().unwrap();
    let locks = locks.path().to_str().unwrap();
    let variables = [LONG_SESSION, INSTANCE, (STATE_DIR, locks)];
    let first = stage.start_with(Sinks::Elasticsearch, &variables);
    wait_for_partitions(&first, "elasticsearch", |num| num == 2);
    let second = stage.start_with(Sinks::Elasticsearch, &variables);
    let pid = format!("pid {}", first.pid());
    wait_for_state(&second, "elasticsearch", "restarting", &["pod-0", &pid]);
    assert_eq!(
        worker(&first, "elasticsearch")["state"],
        "running",
        "undisturbed"
    );
    first.kill().unwrap();
    // It is the same member: nobody waits for the session of the one that was killed.
    wait_for_partitions(&second, "elasticsearch", |num| num == 2);
    let ledger = stage.produce(100, 13);
    stage.wait_caught_up(&second, "elasticsearch");
    stop_cleanly(&second);
    stage.check_elasticsearch(&ledger);
}
