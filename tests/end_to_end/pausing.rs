//! A sink that is paused takes nothing and keeps everything: its partitions, its membership, its place.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::guard::wait_until;
use testbed::{Outflow, together};

use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

/// Longer than the poll interval below by far.
const PAUSE: Duration = Duration::from_secs(32);

fn post(outflow: &Outflow, path: &str) -> Value {
    outflow.http().unwrap().post_json(path, &json!({})).unwrap()
}

fn set_paused(outflow: &Outflow, sink: &str, what: &str) {
    let done = post(outflow, &format!("/api/v1/sinks/{sink}/{what}"));
    assert_eq!(done, json!({"paused": what == "pause", "sink": sink}));
}

/// A sink's status.
fn status(outflow: &Outflow, sink: &str) -> Value {
    let status = outflow.status().unwrap();
    let sinks = status.as_array().unwrap();
    sinks.iter().find(|s| s["name"] == sink).unwrap().clone()
}

fn rebalances(outflow: &Outflow) -> f64 {
    let num = outflow.metric("outflow_rebalances_total", &[]).unwrap();
    num.unwrap_or_default()
}

#[test]
fn a_paused_sink_keeps_its_partitions_and_goes_on_where_it_was() {
    let cluster = together();
    let mut stage = Stage::new(&cluster, "pausing", 3);
    stage.properties =
        "\"max.poll.interval.ms\" = \"10500\"\n\"heartbeat.interval.ms\" = \"1000\"".into();
    let outflow = stage.run(Sinks::Both);
    let mut ledger = stage.produce(300, 31);
    for sink in ["elasticsearch", "hdfs"] {
        stage.wait_caught_up(&outflow, sink);
    }
    let committed = |sink| stage.committed(sink);
    let before = (committed("elasticsearch"), committed("hdfs"));

    let (began, members) = (Instant::now(), rebalances(&outflow));
    set_paused(&outflow, "elasticsearch", "pause");
    ledger.merge(stage.produce(500, 32));
    // The neighbour goes on; the paused sink doesn't move, though it sees what piles up.
    stage.wait_caught_up(&outflow, "hdfs");
    wait_until("500 records pile up, and it says why", PATIENCE, || {
        let is = status(&outflow, "elasticsearch");
        match (is["lag"] == 500, is["state"] == "paused") {
            (true, true) => Ok(()),
            _ => Err(format!("{is:#}")),
        }
    })
    .unwrap();
    let is = status(&outflow, "elasticsearch");
    assert_eq!(is["paused"], true);
    let reason = is["reason"].as_str().unwrap();
    assert!(reason.starts_with("paused by request since 20"), "{reason}");
    assert!(
        reason.contains("/api/v1/sinks/elasticsearch/resume"),
        "{reason}"
    );
    let partition = &is["workers"][0]["partitions"][0];
    assert_eq!(partition["state"], "waiting", "{is:#}");
    assert_eq!(status(&outflow, "hdfs")["paused"], false);
    let http = outflow.http().unwrap();
    for page in ["/livez", "/readyz"] {
        assert_eq!(http.get(page).unwrap().status, 200, "{page}");
    }
    let paused = |sink: &str| {
        let label = format!("sink=\"{sink}\"");
        outflow.metric("outflow_sink_paused", &[&label]).unwrap()
    };
    assert_eq!(
        (paused("elasticsearch"), paused("hdfs")),
        (Some(1.0), Some(0.0))
    );

    let url = http.base();
    let lag = |most: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_outflow"));
        let args = [
            "lag",
            "--url",
            url,
            "--sink",
            "elasticsearch",
            "--max-lag",
            most,
        ];
        let output = command.args(args).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = lag("499");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("paused by request since"), "{text}");

    // The span of the pause is what it must bear: three times the longest time between polls.
    std::thread::sleep(PAUSE.saturating_sub(began.elapsed()));
    assert_eq!(committed("elasticsearch"), before.0, "{}", outflow.log());
    assert_eq!(stage.num_written("elasticsearch"), 300);
    assert_eq!(rebalances(&outflow), members, "{}", outflow.log());

    set_paused(&outflow, "elasticsearch", "resume");
    stage.wait_caught_up(&outflow, "elasticsearch");
    assert_eq!(rebalances(&outflow), members, "{}", outflow.log());
    assert!(
        outflow.log().contains("resumed by request, after"),
        "{}",
        outflow.log()
    );
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}

#[test]
fn what_was_in_flight_is_committed_and_partitions_of_a_rebalance_come_paused() {
    let cluster = together();
    let stage = Stage::new(&cluster, "pausing-hdfs", 4);
    let (first, second) = (stage.run(Sinks::Hdfs), stage.run(Sinks::Hdfs));
    let num_held = |outflow: &Outflow| {
        let is = status(outflow, "hdfs");
        let partitions = is["workers"][0]["partitions"].as_array().cloned();
        partitions.unwrap_or_default().len()
    };
    let wait_held = |outflow: &Outflow, expected: usize| {
        let check = || match num_held(outflow) {
            num if num == expected => Ok(()),
            num => Err(format!("{num}")),
        };
        wait_until(&format!("{expected} partitions are held"), PATIENCE, check).unwrap();
    };
    wait_held(&second, 2);
    let load = stage.load(400, 33);
    stage.wait_committed("hdfs", 200);
    for outflow in [&first, &second] {
        set_paused(outflow, "hdfs", "pause");
    }
    // Open files are closed at their age, as ever, and their records committed: what was taken, and no more.
    let settled = |processes: &[&Outflow]| {
        let statuses: Vec<_> = processes.iter().map(|o| status(o, "hdfs")).collect();
        let partitions = statuses.iter().filter_map(|is| {
            let partitions = is["workers"][0]["partitions"].as_array();
            partitions.filter(|partitions| !partitions.is_empty())
        });
        let mut partitions = partitions.flatten();
        let next = partitions.clone().filter_map(|p| p["next"].as_i64());
        match partitions.all(|p| p["next"] == p["committed"]) {
            true => Ok(next.sum::<i64>()),
            false => Err(format!("{statuses:#?}")),
        }
    };
    let both = || settled(&[&first, &second]);
    let taken = wait_until("what was taken is committed", PATIENCE, both).unwrap();
    let produced_then = load.num_acked();
    wait_until("the load goes on", PATIENCE, || match load.num_acked() {
        num if num > produced_then + 400 => Ok(()),
        num => Err(format!("{num}")),
    })
    .unwrap();
    let ledger = load.stop().unwrap();

    stop_cleanly(&second);
    wait_held(&first, 4);
    let is_opened = || {
        let is = status(&first, "hdfs");
        let partitions = is["workers"][0]["partitions"].as_array().cloned();
        let partitions = partitions.unwrap_or_default();
        let waits = partitions.iter().all(|p| p["state"] == "waiting");
        waits.then_some(()).ok_or_else(|| format!("{is:#}"))
    };
    wait_until("the newcomers are open, and wait", PATIENCE, is_opened).unwrap();
    assert_eq!(stage.committed("hdfs"), taken, "{}", first.log());
    assert_eq!(stage.num_written("hdfs") as i64, taken);
    assert_eq!(settled(&[&first]), Ok(taken));

    set_paused(&first, "hdfs", "resume");
    stage.wait_caught_up(&first, "hdfs");
    stop_cleanly(&first);
    stage.check_hdfs(&ledger);
}
