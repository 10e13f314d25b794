//! kill -9 at any moment: HDFS exactly once, Elasticsearch without a double.

use std::time::Duration;

use testbed::exclusive;

use super::support::{Sinks, Stage, stop_cleanly};

/// Pseudo-random milliseconds, the same on every run.
fn moments(seed: u64) -> impl Iterator<Item = Duration> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(100 + (state >> 33) % 2_400)
    })
}

#[test]
fn twenty_kills_at_random_moments_lose_nothing_and_double_nothing() {
    let cluster = exclusive();
    let stage = Stage::new(&cluster, "kills", 4);
    let load = stage.load(1_500, 5);
    for moment in moments(42).take(20) {
        let outflow = stage.run(Sinks::Both);
        // Not a wait for a condition: the moment of the kill is what is random here.
        std::thread::sleep(moment);
        outflow.kill().unwrap();
    }
    let ledger = load.stop().unwrap();
    let outflow = stage.run(Sinks::Both);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    stop_cleanly(&outflow);
    assert!(
        ledger.len() > 10_000,
        "only {} records were produced",
        ledger.len()
    );
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}
