//! The dashboard and the alert rules on a real Prometheus that scrapes real processes: each query has an answer.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use testbed::guard::wait_until;
use testbed::prometheus::Prometheus;
use testbed::{Outflow, Outgoing, Producer, exclusive};

use super::queries;
use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

/// What only has series once it has happened, and doesn't happen here: refused commits, offsets that were skipped,
/// Elasticsearch's failure store, a message that was given up.
const RARE: [&str; 4] = [
    "outflow_commit_failures_total",
    "outflow_skipped_offsets_total",
    "outflow_failure_store_total",
    "outflow_notifications_failed_total",
];

/// A configuration of the Elasticsearch sink with another policy, and a group of its own.
fn with_policy(stage: &Stage<'_>, policy: &str) -> PathBuf {
    let text = std::fs::read_to_string(stage.elasticsearch_config()).unwrap();
    let rejected = format!(
        "policy = \"dead_letter\"\ntopic = \"{}\"",
        stage.dead_letters
    );
    assert!(text.contains(&rejected), "{text}");
    let text = text.replace(&rejected, &format!("policy = \"{policy}\""));
    let group = stage.group("elasticsearch");
    let text = text.replace(&group, &format!("{group}-{policy}"));
    let text = text.replace(
        "name = \"elasticsearch\"",
        &format!("name = \"elasticsearch-{policy}\""),
    );
    let path = stage.dir().join(format!("{policy}.toml"));
    std::fs::write(&path, text).unwrap();
    path
}

fn monitor(stage: &Stage<'_>) -> Outflow {
    // Nobody hears its notifier.
    let config = |address: &str| {
        format!(
            "[admin]\nlisten = \"{address}\"\n[[cluster]]\nname = \"local\"\nbootstrap_servers = \"{}\"\nintervals = 3\n\
         offset_refresh = \"200ms\"\ntopic_refresh = \"500ms\"\n\
         [[notify]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1\"\nthreshold = \"ERR\"\n",
            stage.kafka.bootstrap()
        )
    };
    let binary = env!("CARGO_BIN_EXE_outflow");
    let monitor = Outflow::configured(binary, "monitor", stage.dir(), config).unwrap();
    monitor.wait_ready(PATIENCE).unwrap();
    monitor
}

/// Commits the same offset again and again: a group that is stuck.
fn stuck(stage: &Stage<'_>, goes_on: &AtomicBool) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stage.kafka.bootstrap())
        .set("group.id", stage.group("stuck"))
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&stage.topic, 0, Offset::Offset(1))
        .unwrap();
    while goes_on.load(Ordering::Relaxed) {
        let _ = consumer.commit(&list, CommitMode::Sync);
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn address(process: &Outflow) -> String {
    let base = process.http().unwrap().base();
    base.trim_start_matches("http://").to_owned()
}

/// Records that the index doesn't take, one for each partition.
fn refused(stage: &Stage<'_>) {
    let producer = Producer::new(&stage.kafka.bootstrap()).unwrap();
    for partition in 0..2 {
        let record = Outgoing {
            partition: Some(partition),
            value: Some(br#"{"strict_number":"none"}"#.to_vec()),
            ..Outgoing::default()
        };
        producer.send(&stage.topic, &record).unwrap();
    }
    producer.flush().unwrap();
}

#[test]
fn every_query_of_dashboard_and_alerts_is_answered_by_what_runs() {
    if !Prometheus::is_installed() {
        println!("NOT TESTED: prometheus isn't installed (Debian: prometheus)");
        return;
    }
    let cluster = exclusive();
    let stage = Stage::new(&cluster, "dashboard", 2);
    let load = stage.load(200, 1);
    let both = stage.run(Sinks::Both);
    let policies = ["quarantine", "skip"].map(|policy| {
        let config = with_policy(&stage, policy);
        let process = stage.spawn(&["--config", config.to_str().unwrap()]);
        process.wait_ready(PATIENCE).unwrap();
        process
    });
    let monitor = monitor(&stage);
    let goes_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| stuck(&stage, &goes_on));
        let running = [&both, &policies[0], &policies[1], &monitor];
        let targets: Vec<String> = running.map(address).to_vec();
        let prometheus = Prometheus::start(&targets, Some(&queries::rules_file())).unwrap();
        cluster.elasticsearch.node().kill().unwrap();
        let tried_again = || match both.metrics() {
            Ok(text) if text.contains("outflow_retries_total{") => Ok(()),
            other => Err(format!("{other:?}")),
        };
        let tried_again = wait_until("requests are tried again", PATIENCE, tried_again);
        cluster.elasticsearch.node().heal().unwrap();
        let told = tried_again
            .map(|()| refused(&stage))
            .and_then(|()| wait_for_answers(&prometheus));
        goes_on.store(false, Ordering::Relaxed);
        told.unwrap();
        all_rules_are_well(&prometheus);
    });
    let ledger = load.stop().unwrap();
    stage.wait_caught_up(&both, "hdfs");
    assert!(stage.num_written("hdfs") > ledger.len());
    stop_cleanly(&both);
}

/// Until all have data at one time or another: what pauses and comes back needn't do so at once.
fn wait_for_answers(prometheus: &Prometheus) -> testbed::Result<()> {
    let is_rare = |query: &str| RARE.iter().any(|name| query.contains(name));
    let all: BTreeSet<(String, String)> = queries::of_dashboard().into_iter().collect();
    let missing: BTreeSet<_> = all.into_iter().filter(|(_, q)| !is_rare(q)).collect();
    let missing = std::cell::RefCell::new(missing);
    let answered = || {
        let mut missing = missing.borrow_mut();
        missing.retain(|(_, query)| prometheus.query(query).unwrap().is_empty());
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("{missing:#?}")),
        }
    };
    wait_until("every panel has data", PATIENCE, answered)
}

fn all_rules_are_well(prometheus: &Prometheus) {
    let names: BTreeSet<String> = queries::rules().into_iter().map(|rule| rule.name).collect();
    let evaluated = || {
        let said = prometheus.rules().map_err(|error| error.to_string())?;
        let ok = said.iter().filter(|rule| rule["health"] == "ok");
        let ok: BTreeSet<String> = ok
            .filter_map(|rule| rule["name"].as_str().map(str::to_owned))
            .collect();
        match ok == names {
            true => Ok(()),
            false => Err(format!("{said:#?}")),
        }
    };
    wait_until("every alert is evaluated", PATIENCE, evaluated).unwrap();
}
