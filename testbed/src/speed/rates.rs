//! How much gets into the real servers, beside what their own limit is here: pairs of runs in turn.

use std::time::{Duration, Instant};

use testbed::error::Context;
use testbed::{Elasticsearch, ElasticsearchOptions, Error, Hdfs, HdfsOptions, Outflow, Result};

use super::limits::{self, Beside, Writers};
use super::records::Topic;
use super::subject::{Into, Subject, has_read, num_acked};
use super::table::Row;
use super::{Bench, say};

/// Documents of a run.
const DOCS: usize = 300_000;
const PATIENCE: Duration = Duration::from_secs(300);

/// Documents a second; kcat reads the same topic beside the bare loop.
pub fn elasticsearch(bench: &Bench) -> Result<Vec<Row>> {
    let server = Elasticsearch::start(&ElasticsearchOptions {
        jvm: testbed::warm_jvm(1_024),
        ..ElasticsearchOptions::default()
    })?;
    let topic = Topic::fill(&bench.kafka, "documents", DOCS, 8)?;
    let mut bare = Row::new("bare `_bulk` loop beside kcat", "documents/s", "");
    let mut ours = Row::new("outflow", "documents/s", "0.95 of the loop");
    // The first pair warms the server up.
    for pair in 0..=bench.rounds {
        let index = format!("loop-{pair}");
        create(&server, &index)?;
        let beside = Beside::start(&bench.kafka, &topic);
        let loop_rate = limits::bulk_loop(&server, limits::bodies(&index, DOCS))?;
        drop(beside);
        server.documents().delete_index(&index)?;
        let index = format!("outflow-{pair}");
        create(&server, &index)?;
        let subject = Subject::start(
            bench,
            &topic.name,
            &Into::Elasticsearch(server.url(), &index),
        )?;
        let rate = acked_rate(&subject.outflow, DOCS)?;
        subject.outflow.stop(Duration::from_secs(60))?;
        server.documents().delete_index(&index)?;
        say(&format!(
            "    loop {loop_rate:.0}, outflow {rate:.0} documents/s"
        ));
        if pair > 0 {
            bare.figures.push(loop_rate);
            ours.figures.push(rate);
        }
    }
    let ours = ours.against(&bare);
    Ok(vec![bare, ours])
}

fn create(server: &Elasticsearch, index: &str) -> Result<()> {
    let settings = serde_json::json!({ "settings": { "number_of_replicas": 0 } });
    server.documents().create_index(index, &settings)
}

/// Documents a second from the first tenth to the last.
fn acked_rate(outflow: &Outflow, num: usize) -> Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    let mut first: Option<(Instant, f64)> = None;
    loop {
        let (now, acked) = (Instant::now(), num_acked(outflow));
        if first.is_none() && acked >= num as f64 / 10.0 {
            first = Some((now, acked));
        }
        if let (Some((since, before)), true) = (first, acked >= num as f64) {
            return Ok((acked - before) / (now - since).as_secs_f64());
        }
        if now > deadline {
            return Err(Error::new(format!(
                "{acked} of {num} records\n{}",
                outflow.log()
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// MB a second until all files are closed; kcat reads the same topic beside Hadoop's client.
pub fn hdfs(bench: &Bench) -> Result<Vec<Row>> {
    let hdfs = Hdfs::start(&HdfsOptions {
        jvm: testbed::warm_jvm(512),
        ..HdfsOptions::default()
    })?;
    // So much that opening and closing files is a small part of it, as it is with files of a block.
    let topic = Topic::fill(&bench.kafka, "lines", 3 * bench.topic.num, 8)?;
    let mut writers = Writers::start(&hdfs, bench.dir.path())?;
    let mut client = Row::new("Hadoop's client, 8 writers, beside kcat", "MB/s", "");
    let mut both = Row::new(
        "the same with synced blocks, until kcat too has read all of it once",
        "MB/s",
        "",
    );
    let mut ours = Row::new("outflow", "MB/s", "0.95 of the client");
    for pair in 0..=bench.rounds {
        let beside = Beside::start(&bench.kafka, &topic);
        let base = format!("/bench/writers-{pair}");
        let theirs = writers.write(&base, topic.bytes, false)?;
        drop(beside);
        let done = write_and_read(bench, &topic, &mut writers, &format!("/bench/both-{pair}"))?;
        let base = format!("/bench/outflow-{pair}");
        let began = Instant::now();
        let into = Into::Hdfs(&hdfs, &base, "compression = \"none\"");
        let subject = Subject::start(bench, &topic.name, &into)?;
        wait_for_first(&subject.outflow)?;
        let reading = began.elapsed();
        let usage = subject.measure(bench, has_read(topic.num))?;
        let seconds = (began.elapsed() - reading).as_secs_f64();
        let rate = topic.bytes as f64 / 1e6 / seconds;
        say(&format!(
            "    client {theirs:.0}, with all of kcat {done:.0}, outflow {rate:.0} MB/s, {:.0} MiB",
            usage.peak_mib
        ));
        if pair > 0 {
            client.figures.push(theirs);
            both.figures.push(done);
            ours.figures.push(rate);
            ours.peak_mib = ours.peak_mib.max(usage.peak_mib);
        }
        hdfs.files()
            .delete("/bench")
            .context("can't delete what was written")?;
    }
    let mut against_both = ours.clone().against(&both);
    against_both.who = "outflow, held against that".to_owned();
    against_both.target = "";
    let ours = ours.against(&client);
    Ok(vec![client, ours, both, against_both])
}

/// What outflow does, by others: Hadoop's client writes it all, durably, while kcat reads it all; MB a second until
/// both are done.
fn write_and_read(bench: &Bench, topic: &Topic, writers: &mut Writers, base: &str) -> Result<f64> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let read = scope.spawn(|| limits::read_to_nothing(&bench.kafka, topic));
        writers.write(base, topic.bytes, true)?;
        read.join()
            .map_err(|_| Error::new("the thread that runs kcat failed"))?
    })?;
    Ok(topic.bytes as f64 / 1e6 / began.elapsed().as_secs_f64())
}

fn wait_for_first(outflow: &Outflow) -> Result<()> {
    let mut has_begun = has_read(1);
    let deadline = Instant::now() + PATIENCE;
    while !has_begun(outflow)? {
        if Instant::now() > deadline {
            return Err(Error::new(format!("nothing is read\n{}", outflow.log())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
