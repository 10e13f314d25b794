//! One byte budget for a process: both sinks share what `--memory` says, and keep to it while neither can write and large
//! records pile up.

use std::io::Write as _;

use testbed::guard::wait_until;
use testbed::produce::Outgoing;
use testbed::{Ids, Outflow, Producer, check_elasticsearch, exclusive, proc};

use super::support::{PATIENCE, Stage, stop_cleanly};

const MIB: u64 = 1 << 20;
/// The least that two sinks can share. The files set none themselves, and would take 256 MiB each.
const MEMORY: u64 = 64 * MIB;
/// Stacks of threads, and what the allocator keeps: an eighth more.
const AROUND: u64 = MEMORY / 8;
/// What the program takes beside what it had before its first record: clients that weren't needed before.
const PROGRAM: u64 = 16 * MIB;
const VALUE_BYTES: usize = 1_000_000;
/// Each of both sinks would have to hold several times of what both may.
const NUM_RECORDS: i64 = 256;
const NUM_PARTITIONS: i64 = 4;
/// How many documents are asked for at once.
const PAGE: usize = 32;
const SINKS: [&str; 2] = ["elasticsearch", "hdfs"];

fn record(seq: i64) -> Outgoing {
    let pad = "x".repeat(VALUE_BYTES);
    Outgoing {
        partition: i32::try_from(seq % NUM_PARTITIONS).ok(),
        value: Some(format!(r#"{{"seq":{seq},"pad":"{pad}"}}"#).into_bytes()),
        ..Outgoing::default()
    }
}

/// A figure that is shown for each sink.
fn figure(outflow: &Outflow, name: &str, sink: &str) -> i64 {
    let label = format!("sink=\"{sink}\"");
    let value = outflow.metric(name, &[&label]).unwrap();
    value.unwrap_or_default() as i64
}

fn memory(outflow: &Outflow, name: &str) -> u64 {
    proc::memory(outflow.pid(), name).unwrap()
}

/// Waits until neither sink takes any more though it has tried to write: what may be held is held.
fn wait_until_full(outflow: &Outflow) {
    let figures = || {
        let of = |sink| {
            let taken = figure(outflow, "outflow_records_total", sink);
            (taken, figure(outflow, "outflow_retries_total", sink))
        };
        SINKS.map(of)
    };
    // A sink that has tried again since it last took a record is full.
    let mut since = figures();
    wait_until("both sinks are full", PATIENCE, || {
        let now = figures();
        for (since, now) in since.iter_mut().zip(now) {
            if since.0 != now.0 {
                *since = now;
            }
        }
        let is_full = |(since, now): (&(i64, i64), (i64, i64))| now.1 > since.1;
        match since.iter().zip(now).all(is_full) {
            true => Ok(()),
            false => Err(format!("records and retries: {now:?}")),
        }
    })
    .unwrap();
}

#[test]
fn a_process_keeps_within_its_memory_while_both_sinks_are_down_before_records_of_a_megabyte() {
    let cluster = exclusive();
    let partitions = usize::try_from(NUM_PARTITIONS).unwrap();
    let stage = Stage::new(&cluster, "budget", partitions);
    let (elasticsearch, hdfs) = (stage.elasticsearch_config(), stage.hdfs_config(""));
    let [elasticsearch, hdfs] = [&elasticsearch, &hdfs].map(|path| path.to_str().unwrap());
    let total = format!("{MEMORY}B");
    let files = ["--config", elasticsearch, "--config", hdfs];
    let outflow = stage.spawn(&[&["--memory", &total][..], &files].concat());
    outflow.wait_ready(PATIENCE).unwrap();
    let idle = memory(&outflow, "VmRSS:");

    let producer = Producer::new(&stage.kafka.bootstrap()).unwrap();
    let send = |range: std::ops::Range<i64>| {
        range.for_each(|seq| producer.send(&stage.topic, &record(seq)).unwrap());
        producer.flush().unwrap();
    };
    send(0..NUM_PARTITIONS);
    for sink in SINKS {
        stage.wait_committed(sink, NUM_PARTITIONS);
    }
    cluster.elasticsearch.node().freeze().unwrap();
    cluster.hdfs.freeze().unwrap();
    send(NUM_PARTITIONS..NUM_RECORDS);
    wait_until_full(&outflow);

    let peak = |outflow: &Outflow, when: &str| {
        let (peak, bound) = (memory(outflow, "VmHWM:"), idle + MEMORY + AROUND + PROGRAM);
        let [peak_mib, idle_mib, bound_mib] = [peak, idle, bound].map(|bytes| bytes / MIB);
        let line = format!("{when}: {peak_mib} MiB, idle {idle_mib}, at most {bound_mib}");
        let _ = writeln!(std::io::stderr(), "{line}");
        assert!(peak <= bound, "{line}");
    };
    peak(&outflow, "while both are down");
    for sink in SINKS {
        let taken = figure(&outflow, "outflow_records_total", sink);
        let left = (NUM_RECORDS - taken) as u64 * VALUE_BYTES as u64;
        assert!(taken > NUM_PARTITIONS, "{sink} has tried: {taken}");
        assert!(left > 3 * MEMORY, "{sink} has left to Kafka: {left}");
    }

    cluster.heal().unwrap();
    for sink in SINKS {
        stage.wait_caught_up(&outflow, sink);
    }
    peak(&outflow, "once all has arrived");
    stop_cleanly(&outflow);
    let ledger = producer.ledger();
    drop(producer);
    // A page of them has its bounds, too.
    let documents = cluster.elasticsearch.documents();
    let documents = documents.all_by(&stage.topic, PAGE).unwrap();
    check_elasticsearch(&ledger, &documents, Ids::Offset).assert_clean();
    stage.check_hdfs(&ledger);
}
