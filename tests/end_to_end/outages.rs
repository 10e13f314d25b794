//! A sink's outage is that sink's alone, and is over by itself.

use std::time::{Duration, Instant};

use testbed::exclusive;
use testbed::guard::wait_until;

use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

/// Records that must flow into the other sink during an outage, so that the test isn't empty.
const MOVED: i64 = 2_000;

#[test]
fn hdfs_goes_on_while_elasticsearch_is_down_and_elasticsearch_catches_up() {
    let cluster = exclusive();
    let stage = Stage::new(&cluster, "es-outage", 4);
    let outflow = stage.run(Sinks::Both);
    let load = stage.load(1_000, 1);
    stage.wait_committed("elasticsearch", 1_000);
    stage.wait_committed("hdfs", 1_000);

    cluster.elasticsearch.node().kill().unwrap();
    let (elasticsearch, hdfs) = (stage.committed("elasticsearch"), stage.committed("hdfs"));
    stage.wait_committed("hdfs", hdfs + MOVED);
    assert!(
        stage.committed("elasticsearch") < elasticsearch + MOVED,
        "the outage wasn't one"
    );
    wait_until(
        "the status says that Elasticsearch is waited for",
        PATIENCE,
        || {
            let status = outflow.status().map_err(|e| e.to_string())?;
            let state = |sink: &str| {
                let sinks = status.as_array().into_iter().flatten();
                let mut named = sinks.filter(|s| s["name"] == sink);
                named
                    .next()
                    .map(|s| s["state"].to_string())
                    .unwrap_or_default()
            };
            match (state("elasticsearch").as_str(), state("hdfs").as_str()) {
                ("\"waiting\"", "\"running\"") => Ok(()),
                states => Err(format!("{states:?}")),
            }
        },
    )
    .unwrap();

    cluster.elasticsearch.node().start().unwrap();
    let back = Instant::now();
    let before = stage.committed("elasticsearch");
    stage.wait_committed("elasticsearch", before + 1);
    assert!(
        back.elapsed() < Duration::from_secs(20),
        "resumed only after {:?}",
        back.elapsed()
    );
    let ledger = load.stop().unwrap();
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}

#[test]
fn elasticsearch_goes_on_while_hdfs_is_down_and_hdfs_catches_up() {
    let cluster = exclusive();
    let stage = Stage::new(&cluster, "hdfs-outage", 4);
    let outflow = stage.run(Sinks::Both);
    let load = stage.load(1_000, 2);
    stage.wait_committed("elasticsearch", 1_000);
    stage.wait_committed("hdfs", 1_000);

    cluster.hdfs.kill().unwrap();
    let (elasticsearch, hdfs) = (stage.committed("elasticsearch"), stage.committed("hdfs"));
    stage.wait_committed("elasticsearch", elasticsearch + MOVED);
    assert!(
        stage.committed("hdfs") < hdfs + MOVED,
        "the outage wasn't one"
    );

    cluster.hdfs.restart().unwrap();
    let ledger = load.stop().unwrap();
    stage.wait_caught_up(&outflow, "hdfs");
    stage.wait_caught_up(&outflow, "elasticsearch");
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}

#[test]
fn both_sinks_go_on_by_themselves_after_the_broker_was_away() {
    let cluster = exclusive();
    let stage = Stage::new(&cluster, "kafka-outage", 4);
    let outflow = stage.run(Sinks::Both);
    let mut ledger = stage.produce(3_000, 3);
    stage.wait_committed("elasticsearch", 1);
    cluster.kafka.kill().unwrap();
    cluster.kafka.restart().unwrap();
    ledger.merge(stage.produce(3_000, 4));
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}
