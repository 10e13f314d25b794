//! What a record costs: CPU seconds a million records, and peak memory, kcat and outflow in turn.

use std::process::{Command, Stdio};
use std::time::Duration;

use testbed::error::Context;
use testbed::{Hdfs, HdfsOptions, Result, Stub};

use super::records::Values;
use super::subject::{Into, Subject, has_read};
use super::table::Row;
use super::usage::{self, Usage};
use super::{Bench, limits, peers, say};

/// What a record costs.
pub const CPU: &str = "CPU-s a million records";

/// Into a stub that speaks `_bulk` and takes everything at once.
pub fn elasticsearch(bench: &Bench) -> Result<Vec<Row>> {
    let mut kcat = Row::new("kcat, to nothing", CPU, "");
    let mut outflow = Row::new("outflow", CPU, "1.5 x kcat; 48 MiB");
    let mut rsyslog = Row::new("rsyslog", CPU, "");
    let mut connect = Row::new(
        "Kafka Connect's runtime alone, to /dev/null, once, its start included",
        CPU,
        "",
    );
    let num = bench.topic.num;
    for round in 0..bench.rounds {
        took(
            &mut kcat,
            num,
            limits::read_to_nothing(&bench.kafka, &bench.topic)?,
        );
        let stub = Stub::counting()?;
        let into = Into::Elasticsearch(&stub.url(), "bench");
        let subject = Subject::start(bench, &bench.topic.name, &into)?;
        took(
            &mut outflow,
            num,
            subject.measure(bench, |_| Ok(stub.num_docs() >= num))?,
        );
        if peers::has_rsyslog() {
            let stub = Stub::counting()?;
            took(&mut rsyslog, num, peers::rsyslog(bench, &stub, round)?);
        }
    }
    let connected = peers::kafka_connect(bench);
    let mut rows = vec![kcat.clone(), outflow.against(&kcat)];
    match rsyslog.figures.is_empty() {
        true => say("rsyslog isn't there: apt-get install rsyslog-kafka rsyslog-elasticsearch"),
        false => rows.push(rsyslog.against(&kcat)),
    }
    match connected {
        Ok(usage) => {
            took(&mut connect, num, usage);
            rows.push(connect);
        }
        Err(error) => say(&format!("Kafka Connect: {error}")),
    }
    Ok(rows)
}

/// Into HDFS as JSON lines, as they are and with zstd.
pub fn hdfs(bench: &Bench) -> Result<Vec<Row>> {
    let hdfs = Hdfs::start(&HdfsOptions {
        jvm: testbed::warm_jvm(512),
        ..HdfsOptions::default()
    })?;
    let plain_file = bench.dir.path().join("values");
    let lines: Vec<String> = Values::new().take(bench.topic.num.min(200_000)).collect();
    let share = bench.topic.num as f64 / lines.len() as f64;
    std::fs::write(&plain_file, lines.join("\n")).context("can't write the values")?;
    let mut kcat = Row::new("kcat, to nothing", CPU, "");
    let mut zstd = Row::new("zstd -1 of the same bytes", CPU, "");
    let mut plain = Row::new("outflow, JSON lines", CPU, "1.5 x kcat; 96 MiB");
    let mut packed = Row::new("outflow, zstd level 1", CPU, "1.5 x kcat + zstd; 96 MiB");
    let num = bench.topic.num;
    for round in 0..bench.rounds {
        took(
            &mut kcat,
            num,
            limits::read_to_nothing(&bench.kafka, &bench.topic)?,
        );
        let mut command = Command::new("zstd");
        command
            .args(["-1", "-q", "-c"])
            .arg(&plain_file)
            .stdout(Stdio::null());
        if let Ok(mut usage) = usage::run(&mut command, Duration::from_secs(60)) {
            usage.cpu_s *= share;
            took(&mut zstd, num, usage);
        }
        for (name, more, row) in [
            ("plain", "compression = \"none\"", &mut plain),
            (
                "zstd",
                "compression = \"zstd\"\ncompression_level = 1",
                &mut packed,
            ),
        ] {
            let base = format!("/bench/{name}-{round}");
            let into = Into::Hdfs(&hdfs, &base, more);
            let subject = Subject::start(bench, &bench.topic.name, &into)?;
            took(row, num, subject.measure(bench, has_read(bench.topic.num))?);
        }
    }
    let packed = match zstd.figures.len() == kcat.figures.len() {
        true => {
            let mut both = kcat.clone();
            both.figures
                .iter_mut()
                .zip(&zstd.figures)
                .for_each(|(a, b)| *a += b);
            packed.against(&both)
        }
        false => packed.against(&kcat),
    };
    let plain = plain.against(&kcat);
    let rows = [kcat, zstd, plain, packed];
    Ok(rows
        .into_iter()
        .filter(|row| !row.figures.is_empty())
        .collect())
}

/// Notes what a run over `num` records took.
pub fn took(row: &mut Row, num: usize, usage: Usage) {
    say(&format!(
        "    {}: {:.2} CPU-s, {:.0} MiB, {:.1} s",
        row.who, usage.cpu_s, usage.peak_mib, usage.wall_s
    ));
    row.figures.push(usage.cpu_s * 1e6 / num as f64);
    row.peak_mib = row.peak_mib.max(usage.peak_mib);
}
