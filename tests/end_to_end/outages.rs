//! A sink's outage is that sink's alone, and is over by itself.

use testbed::exclusive;

use super::support::{Sinks, Stage, stop_cleanly};

/// Records that must flow into the other sink during an outage, so that the test isn't empty.
const MOVED: i64 = 2_000;

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
