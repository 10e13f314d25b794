//! A compacted topic: offsets with holes, where older records of a key were.

use std::time::Duration;

use testbed::guard::wait_until;
use testbed::ledger::ledger_of_topic;
use testbed::together;

use super::support::{Sinks, Stage, stop_cleanly};

/// Rolls and compacts as soon as the broker looks.
pub const COMPACTED: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "300"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("min.compaction.lag.ms", "0"),
    ("max.compaction.lag.ms", "500"),
];

/// Produces a little until half of the topic is compacted away; returns how many records that took.
pub fn compact(stage: &Stage<'_>, produced: usize) -> usize {
    let (kafka, mut more, mut seed) = (stage.kafka.client(), 0, 41);
    wait_until(
        "half of it is compacted away",
        Duration::from_secs(60),
        || {
            // A segment is rolled by the next record that comes.
            more += stage.produce(20, seed).len();
            seed += 1;
            let left = kafka
                .read_all(&stage.topic)
                .map_err(|e| e.to_string())?
                .len();
            match left < (produced + more) / 2 {
                true => Ok(()),
                false => Err(format!("{left} of {} are left", produced + more)),
            }
        },
    )
    .unwrap();
    more
}

#[test]
fn a_compacted_topic_arrives_as_it_stands_holes_and_all() {
    let cluster = together();
    let stage = Stage::with_topic(&cluster, "compacted", 2, &COMPACTED);
    let kafka = cluster.kafka.client();
    let produced = stage.produce(2_000, 40).len();
    let produced = produced + compact(&stage, produced);
    // What stands there now stays: the ledger is read back from the topic.
    kafka
        .alter_topic(
            &stage.topic,
            &[("cleanup.policy", "delete"), ("retention.ms", "-1")],
        )
        .unwrap();
    let outflow = stage.run(Sinks::Both);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    stage.produce(500, 39);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    stop_cleanly(&outflow);
    let ledger = ledger_of_topic(&kafka, &stage.topic).unwrap();
    assert!(ledger.len() < produced, "the topic has no holes");
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}
