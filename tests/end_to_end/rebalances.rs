//! Partitions that move while records are in flight.

use testbed::Outflow;
use testbed::guard::wait_until;
use testbed::together;

use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

fn num_partitions(outflow: &Outflow, sink: &str) -> usize {
    let status = outflow.status().unwrap_or_default();
    let sinks = status
        .as_array()
        .into_iter()
        .flatten()
        .filter(|s| s["name"] == sink);
    let workers = sinks.flat_map(|s| s["workers"].as_array().into_iter().flatten());
    workers
        .map(|w| w["partitions"].as_array().map_or(0, Vec::len))
        .sum()
}

pub fn wait_for_partitions(outflow: &Outflow, sink: &str, wanted: impl Fn(usize) -> bool) {
    wait_until(
        &format!("{sink} has its share of the partitions"),
        PATIENCE,
        || match num_partitions(outflow, sink) {
            num if wanted(num) => Ok(()),
            num => Err(format!("{num} partitions\n{}", outflow.log())),
        },
    )
    .unwrap();
}

#[test]
fn a_second_instance_that_joins_and_leaves_costs_nothing_and_doubles_nothing() {
    let cluster = together();
    let stage = Stage::new(&cluster, "joins", 6);
    let first = stage.run(Sinks::Both);
    let load = stage.load(1_500, 6);
    stage.wait_committed("hdfs", 500);
    for _ in 0..3 {
        let second = stage.run(Sinks::Both);
        wait_for_partitions(&second, "elasticsearch", |num| num == 3);
        wait_for_partitions(&second, "hdfs", |num| num == 3);
        stop_cleanly(&second);
        wait_for_partitions(&first, "elasticsearch", |num| num == 6);
        wait_for_partitions(&first, "hdfs", |num| num == 6);
    }
    let ledger = load.stop().unwrap();
    stage.wait_caught_up(&first, "elasticsearch");
    stage.wait_caught_up(&first, "hdfs");
    stop_cleanly(&first);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}
