//! The commit modes: each loses nothing and doubles nothing, and the group's offsets say what stands in the sink.

use std::time::Duration;

use testbed::{Outflow, together};

use super::support::{Sinks, Stage, stop_cleanly};

const MODE: &str = "OUTFLOW_KAFKA__COMMIT_MODE";

/// Documents that were written more than once.
fn num_rewritten(stage: &Stage<'_>) -> usize {
    let all = stage.cluster.elasticsearch.documents().all(&stage.topic);
    let all = all.unwrap();
    all.iter().filter(|document| document.version > 1).count()
}

/// How many documents stand beyond what is committed: they are written again after a kill.
fn num_uncommitted(stage: &Stage<'_>) -> i64 {
    let documents = stage.cluster.elasticsearch.documents();
    let count = || documents.count(&stage.topic).unwrap();
    // What was on its way when its sender died may still be on its way.
    let mut stored = count();
    loop {
        std::thread::sleep(Duration::from_millis(500));
        match count() {
            same if same == stored => break,
            more => stored = more,
        }
    }
    stored as i64 - stage.committed("elasticsearch")
}

fn assert_nothing_amiss(outflow: &Outflow) {
    let mismatches = outflow.metric("outflow_commit_mismatches_total", &[]);
    assert_eq!(mismatches.unwrap(), Some(0.0), "{}", outflow.log());
}

#[test]
fn every_mode_brings_each_record_to_elasticsearch_once() {
    let cluster = together();
    for mode in ["batch", "record", "async"] {
        let stage = Stage::new(&cluster, &format!("commits-{mode}"), 3);
        let mut ledger = stage.produce(300, 31);
        let outflow = stage.run_with(Sinks::Elasticsearch, &[(MODE, mode)]);
        stage.wait_committed("elasticsearch", 300);
        ledger.merge(stage.produce(100, 32));
        stage.wait_committed("elasticsearch", 400);
        assert_nothing_amiss(&outflow);
        stop_cleanly(&outflow);
        stage.check_elasticsearch(&ledger);
        assert_eq!(num_uncommitted(&stage), 0, "{mode}");
        assert_eq!(num_rewritten(&stage), 0, "{mode}");
    }
}

#[test]
fn batch_and_async_bring_each_record_to_hdfs_once() {
    let cluster = together();
    for mode in ["batch", "async"] {
        let stage = Stage::new(&cluster, &format!("commits-hdfs-{mode}"), 3);
        let mut ledger = stage.produce(2_000, 33);
        let outflow = stage.run_with(Sinks::Hdfs, &[(MODE, mode)]);
        stage.wait_committed("hdfs", 2_000);
        ledger.merge(stage.produce(500, 34));
        stage.wait_committed("hdfs", 2_500);
        assert_nothing_amiss(&outflow);
        stop_cleanly(&outflow);
        stage.check_hdfs(&ledger);
        assert_eq!(stage.committed("hdfs"), 2_500, "{mode}");
    }
}

#[test]
fn after_a_kill_no_more_is_written_again_than_was_in_flight() {
    let cluster = together();
    for mode in ["batch", "record"] {
        let stage = Stage::new(&cluster, &format!("commits-kill-{mode}"), 3);
        let load = stage.load(40, 35);
        let mut in_flight = 0;
        for kill in 1..=3 {
            let outflow = stage.run_with(Sinks::Elasticsearch, &[(MODE, mode)]);
            stage.wait_committed("elasticsearch", kill * 100);
            outflow.kill().unwrap();
            let uncommitted = num_uncommitted(&stage);
            if mode == "record" {
                // One of this kill; those of the kills before may be in other partitions and still wait.
                let most = uncommitted <= kill;
                assert!(most, "{uncommitted} uncommitted after kill {kill}");
            }
            in_flight += uncommitted;
        }
        let ledger = load.stop().unwrap();
        let outflow = stage.run_with(Sinks::Elasticsearch, &[(MODE, mode)]);
        stage.wait_caught_up(&outflow, "elasticsearch");
        stop_cleanly(&outflow);
        stage.check_elasticsearch(&ledger);
        let rewritten = num_rewritten(&stage) as i64;
        assert!(
            rewritten <= in_flight,
            "{mode}: {rewritten} documents were written again, {in_flight} were in flight"
        );
    }
}
