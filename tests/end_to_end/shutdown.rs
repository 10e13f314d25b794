//! SIGTERM: drain, commit, leave, in time, and say by the exit code whether that went well.

use std::time::Duration;

use testbed::exclusive;

use super::support::{Sinks, Stage, stop_cleanly};

#[test]
fn after_sigterm_under_load_nothing_is_delivered_again() {
    let cluster = exclusive();
    let stage = Stage::new(&cluster, "sigterm", 4);
    let outflow = stage.run(Sinks::Both);
    let load = stage.load(1_500, 8);
    stage.wait_committed("elasticsearch", 2_000);
    stage.wait_committed("hdfs", 2_000);
    stop_cleanly(&outflow);

    // What stands in the sinks is just what is committed, so a restart has nothing to deliver again.
    let (elasticsearch, hdfs) = (stage.committed("elasticsearch"), stage.committed("hdfs"));
    let documents = cluster.elasticsearch.documents();
    documents.refresh(&stage.topic).unwrap();
    assert_eq!(documents.count(&stage.topic).unwrap() as i64, elasticsearch);
    let files = cluster.hdfs.files().committed(&stage.base).unwrap();
    let lines: usize = files.iter().map(|file| file.lines.len()).sum();
    assert_eq!(lines as i64, hdfs);

    let outflow = stage.run(Sinks::Both);
    let ledger = load.stop().unwrap();
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
    let all = documents.all(&stage.topic).unwrap();
    let again = all.iter().filter(|document| document.version > 1).count();
    assert_eq!(again, 0, "{again} documents were written twice");
}

#[test]
fn sigterm_with_a_sink_down_ends_in_time_and_says_that_work_is_left() {
    let cluster = exclusive();
    let stage = Stage::new(&cluster, "sigterm-down", 2);
    let outflow = stage.run(Sinks::Both);
    stage.produce(2_000, 9);
    stage.wait_committed("hdfs", 2_000);
    stage.wait_committed("elasticsearch", 2_000);
    cluster.elasticsearch.node().freeze().unwrap();
    let mut ledger =
        testbed::ledger::ledger_of_topic(&cluster.kafka.client(), &stage.topic).unwrap();
    ledger.merge(stage.produce(2_000, 10));
    stage.wait_committed("hdfs", 4_000);
    let code = outflow.stop(Duration::from_secs(30)).unwrap();
    assert_eq!(
        code,
        3,
        "the exit code must say that not all was committed:\n{}",
        outflow.log()
    );

    cluster.elasticsearch.node().thaw().unwrap();
    let outflow = stage.run(Sinks::Both);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}
