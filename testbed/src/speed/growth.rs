//! What becomes of it with more partitions, more workers, more sinks in one process.

use std::time::{Duration, Instant};

use testbed::{Hdfs, HdfsOptions, Result, Stub};

use super::cpu::{CPU, took};
use super::records::Topic;
use super::subject::{Into, Plan, Subject, num_acked};
use super::table::Row;
use super::usage::Usage;
use super::{Bench, limits, say};

const FEW: i32 = 8;

/// CPU a record into the stub beside kcat's at the same number of partitions; two workers beside one.
pub fn partitions(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for num in [1, FEW, 100, 1_000] {
        let name = format!("growth-{num}");
        let topic = Topic::fill(&bench.kafka, &name, bench.topic.num, num)?;
        let mut kcat = Row::new(format!("kcat, {num} partitions"), CPU, "");
        let who = format!("outflow, {num} partitions");
        let mut one = Row::new(who, CPU, "1.15 x the ratio with 1 partition");
        let mut two = Row::new("the same with two workers", CPU, "1.1 x one worker");
        for _ in 0..bench.rounds {
            let read = limits::read_to_nothing(&bench.kafka, &topic)?;
            took(&mut kcat, topic.num, read);
            took(&mut one, topic.num, into_stub(bench, &topic, 1)?);
            if num == FEW {
                took(&mut two, topic.num, into_stub(bench, &topic, 2)?);
            }
        }
        bench.kafka.client().delete_topic(&name)?;
        let two = two.against(&one);
        rows.push(kcat.clone());
        rows.push(one.against(&kcat));
        if num == FEW {
            rows.push(two);
        }
    }
    Ok(rows)
}

fn into_stub(bench: &Bench, topic: &Topic, workers: usize) -> Result<Usage> {
    let stub = Stub::counting()?;
    let plan = Plan {
        workers,
        ..Plan::of(&topic.name)
    };
    let url = stub.url();
    let subject = Subject::start_with(bench, &plan, &[Into::Elasticsearch(&url, "bench")])?;
    subject.measure(bench, |_| Ok(stub.num_docs() >= topic.num))
}

/// Both sinks in one process with a thousand partitions each: the peak of its memory until each has everything.
pub fn both(bench: &Bench) -> Result<Vec<Row>> {
    let hdfs = Hdfs::start(&HdfsOptions {
        jvm: testbed::warm_jvm(512),
        ..HdfsOptions::default()
    })?;
    let num = bench.topic.num / 4;
    let topic = Topic::fill(&bench.kafka, "both", num, 1_000)?;
    let mut row = Row::new(
        "outflow, both sinks, 1,000 partitions",
        "s until all is acknowledged",
        "200 MiB",
    );
    // Once: a thousand files are opened and closed in it, four at a time.
    let stub = Stub::counting()?;
    let url = stub.url();
    let rotate = "compression = \"none\"\n[hdfs.rotate]\nage = \"1s\"\nidle = \"1s\"";
    let sinks = [
        Into::Elasticsearch(&url, "bench"),
        Into::Hdfs(&hdfs, "/bench", rotate),
    ];
    let subject = Subject::start_with(bench, &Plan::of(&topic.name), &sinks)?;
    let mut asked = Instant::now();
    let usage = subject.measure(bench, |outflow| {
        if asked.elapsed() < Duration::from_secs(1) {
            return Ok(false);
        }
        asked = Instant::now();
        Ok(num_acked(outflow) >= 2.0 * num as f64)
    })?;
    say(&format!(
        "    {:.0} MiB, {:.1} s",
        usage.peak_mib, usage.wall_s
    ));
    row.figures.push(usage.wall_s);
    row.peak_mib = usage.peak_mib;
    Ok(vec![row])
}
