//! How long it takes to begin, to come back after a kill, and to catch up after an outage.

use std::time::{Duration, Instant};

use testbed::error::Context;
use testbed::{Error, Hdfs, HdfsOptions, Mode, Result, Stub, TcpProxy};

use super::limits::Writers;
use super::records::Topic;
use super::subject::{Into, Plan, Subject, num_acked};
use super::table::Row;
use super::{Bench, say};

const PATIENCE: Duration = Duration::from_secs(120);
/// How often arrivals are counted.
const EVERY: Duration = Duration::from_millis(10);
/// How long the stub can't be reached.
const OUTAGE: Duration = Duration::from_secs(10);
/// What is counted together for a rate.
const WINDOW: Duration = Duration::from_millis(250);

/// Seconds to the first acknowledged record, with few and with many partitions.
pub fn start(bench: &Bench) -> Result<Vec<Row>> {
    let many = Topic::fill(&bench.kafka, "many", 200_000, 1_000)?;
    let mut rows = Vec::new();
    for (topic, target) in [(&bench.topic, "1 s"), (&many, "3 s")] {
        let who = format!("start, {} partitions", topic.num_partitions);
        let mut row = Row::new(who, "s to the first document", target);
        for _ in 0..bench.rounds {
            let stub = Stub::counting()?;
            let began = Instant::now();
            let subject = Subject::start(
                bench,
                &topic.name,
                &Into::Elasticsearch(&stub.url(), "bench"),
            )?;
            arrived(&stub, 1, &subject)?;
            row.figures.push(began.elapsed().as_secs_f64());
            subject.outflow.kill()?;
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The same into HDFS, where a record is acknowledged when its file is committed: with nothing there, and with so many
/// old files in the partitions' folders as the options say.
pub fn start_hdfs(bench: &Bench) -> Result<Vec<Row>> {
    let hdfs = Hdfs::start(&HdfsOptions {
        jvm: testbed::warm_jvm(1_024),
        ..HdfsOptions::default()
    })?;
    let mut writers = Writers::start(&hdfs, bench.dir.path())?;
    let (name, num) = (&bench.topic.name, bench.topic.num_partitions);
    let mut rows: Vec<Row> = Vec::new();
    for old in [0, bench.old_files] {
        let base = format!("/start-{old}");
        for partition in 0..num {
            let folder = format!("{base}/{name}/partition={partition}");
            let part = usize::try_from(num).context("partitions")?;
            writers.make_files(&folder, old / part)?;
        }
        let who = format!("start into HDFS, {num} partitions, {old} old files");
        let target = "1 s, whatever is there";
        let mut row = Row::new(who, "s to the first committed file", target);
        let into = Into::Hdfs(&hdfs, &base, "[hdfs.rotate]\nrecords = 1000");
        let mut began = Instant::now();
        let mut subject = Subject::start(bench, name, &into)?;
        for _ in 0..bench.rounds {
            committed(&subject)?;
            row.figures.push(began.elapsed().as_secs_f64());
            subject.outflow.stop(PATIENCE)?;
            began = Instant::now();
            subject = subject.again(bench)?;
        }
        subject.outflow.stop(PATIENCE)?;
        let row = match rows.first() {
            Some(first) => row.against(first),
            None => row,
        };
        rows.push(row);
    }
    Ok(rows)
}

/// Waits until a record is acknowledged.
fn committed(subject: &Subject) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while num_acked(&subject.outflow) == 0.0 {
        if Instant::now() > deadline {
            let log = subject.outflow.log();
            return Err(Error::new(format!("nothing is committed\n{log}")));
        }
        std::thread::sleep(EVERY);
    }
    Ok(())
}

/// Seconds from the restart after kill -9 at full rate to the next document, and seconds of work that were done again.
pub fn kill(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (how, more, target) in [
        ("member", "", "12 s"),
        ("static member", "group_instance_id = \"bench\"\n", "2 s"),
    ] {
        let mut back = Row::new(
            format!("kill -9, {how}"),
            "s from the restart to the next document",
            target,
        );
        let mut again = Row::new(
            format!("kill -9, {how}"),
            "s of work delivered again",
            "1.5 s",
        );
        for _ in 0..bench.rounds {
            let (seconds, doubled) = one_kill(bench, more)?;
            say(&format!(
                "    {how}: back after {seconds:.2} s, {doubled:.2} s of work again"
            ));
            back.figures.push(seconds);
            again.figures.push(doubled);
        }
        rows.extend([back, again]);
    }
    Ok(rows)
}

fn one_kill(bench: &Bench, more: &str) -> Result<(f64, f64)> {
    let (stub, num) = (Stub::counting()?, bench.topic.num);
    let url = stub.url();
    let into = Into::Elasticsearch(&url, "bench");
    let plan = Plan {
        kafka: more,
        ..Plan::of(&bench.topic.name)
    };
    let first = Subject::start_with(bench, &plan, &[into])?;
    arrived(&stub, 1, &first)?;
    let began = Instant::now();
    arrived(&stub, num / 2, &first)?;
    let rate = stub.num_docs() as f64 / began.elapsed().as_secs_f64();
    first.outflow.kill()?;
    // What was under way has arrived.
    std::thread::sleep(Duration::from_millis(200));
    let before = stub.num_docs();
    let restarted = Instant::now();
    let second = first.again(bench)?;
    arrived(&stub, before + 1, &second)?;
    let back = restarted.elapsed().as_secs_f64();
    let group = second.groups.first().map_or("", String::as_str);
    bench
        .kafka
        .client()
        .wait_for_no_lag(group, &bench.topic.name, PATIENCE)?;
    let doubled = stub.num_docs().saturating_sub(num);
    second.outflow.stop(Duration::from_secs(60))?;
    Ok((back, doubled as f64 / rate))
}

/// Seconds from the return of the stub until the rate from before is reached.
pub fn outage(bench: &Bench) -> Result<Vec<Row>> {
    let topic = Topic::fill(&bench.kafka, "outage", 6 * bench.topic.num, 8)?;
    let mut row = Row::new("outage of 10 s", "s to the rate from before", "2 s");
    for _ in 0..bench.rounds {
        let stub = Stub::counting()?;
        let proxy = TcpProxy::start(&stub.address().to_string(), 1)?;
        let url = format!("http://{}", proxy.address());
        let subject = Subject::start(bench, &topic.name, &Into::Elasticsearch(&url, "bench"))?;
        arrived(&stub, bench.topic.num / 2, &subject)?;
        let (began, from) = (Instant::now(), stub.num_docs());
        arrived(&stub, from + bench.topic.num, &subject)?;
        let before = (stub.num_docs() - from) as f64 / began.elapsed().as_secs_f64();
        proxy.set(Mode::Refuse)?;
        std::thread::sleep(OUTAGE);
        proxy.set(Mode::Pass)?;
        let seconds = until_rate(&stub, 0.9 * before, &subject)?;
        say(&format!(
            "    {before:.0} documents/s before, again after {seconds:.2} s"
        ));
        row.figures.push(seconds);
        subject.outflow.kill()?;
    }
    Ok(vec![row])
}

/// Until a window has this rate; the time to its beginning.
fn until_rate(stub: &Stub, rate: f64, subject: &Subject) -> Result<f64> {
    let began = Instant::now();
    loop {
        let (at, from) = (Instant::now(), stub.num_docs());
        std::thread::sleep(WINDOW);
        let now = (stub.num_docs() - from) as f64 / at.elapsed().as_secs_f64();
        if now >= rate {
            return Ok((at - began).as_secs_f64());
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::new(format!(
                "{now:.0} documents/s\n{}",
                subject.outflow.log()
            )));
        }
    }
}

fn arrived(stub: &Stub, num: usize, subject: &Subject) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while stub.num_docs() < num {
        if Instant::now() > deadline {
            let (docs, log) = (stub.num_docs(), subject.outflow.log());
            return Err(Error::new(format!("{docs} of {num} documents\n{log}")));
        }
        std::thread::sleep(EVERY);
    }
    Ok(())
}
