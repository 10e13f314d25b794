//! `testbed bench-monitor`: CPU and memory of `outflow monitor` while many groups commit every second.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use testbed::error::Context;
use testbed::guard::{TestDir, wait_until};
use testbed::{
    Burrow, BurrowOptions, Error, Generator, Kafka, KafkaOptions, Load, Outflow, Result, proc,
};

const PATIENCE: Duration = Duration::from_secs(300);
const TOPIC: &str = "watched";

/// How the benchmark is run.
#[derive(Args)]
pub struct Options {
    /// Groups
    #[arg(long, default_value_t = 100)]
    groups: usize,
    /// Partitions, of each of which every group commits an offset every second
    #[arg(long, default_value_t = 100)]
    partitions: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The outflow binary; the one beside this program otherwise
    #[arg(long)]
    outflow: Option<PathBuf>,
    /// A binary of Burrow, which then watches beside it
    #[arg(long)]
    burrow: Option<PathBuf>,
}

/// Runs it and prints the figures.
pub fn run(options: &Options) -> Result<()> {
    let binary = testbed::process::binary(options.outflow.as_deref())?;
    let kafka = Kafka::start(&KafkaOptions::default())?;
    kafka
        .client()
        .create_topic(TOPIC, options.partitions, &[])?;
    let num = i32::try_from(options.partitions).context("too many partitions")?;
    let records = Generator::new("watched", 1).partitions(num);
    let load = Load::start(&kafka.bootstrap(), TOPIC, records, 1_000)?;
    let (stop, commits) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let threads: Vec<_> = (0..options.groups)
        .map(|group| committing(&kafka, group, num, (stop.clone(), commits.clone())))
        .collect::<Result<_>>()?;
    let dir = TestDir::new("bench-monitor")?;
    let monitor = start(&binary, &kafka, &dir)?;
    let burrow = options.burrow.as_deref();
    let burrow = burrow.map(|binary| Burrow::start(binary, &kafka, BurrowOptions::default()));
    let burrow = burrow.transpose()?;
    wait_for_groups(&monitor, options.groups)?;
    let theirs = burrow.as_ref().map(Burrow::pid);
    let before = theirs.map(cpu_seconds).transpose()?;
    let began = Instant::now();
    let (cpu, seen) = (cpu_seconds(monitor.pid())?, commits.load(Ordering::Relaxed));
    std::thread::sleep(Duration::from_secs(options.seconds));
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds(monitor.pid())? - cpu;
    let commits = commits.load(Ordering::Relaxed) - seen;
    let asked = Instant::now();
    let answer = monitor.http()?.get("/api/v1/groups")?.body.len();
    let groups_ms = asked.elapsed().as_secs_f64() * 1_000.0;
    let asked = Instant::now();
    let metrics = monitor.metrics()?.len();
    let metrics_ms = asked.elapsed().as_secs_f64() * 1_000.0;
    let mut out = std::io::stdout();
    let _ = writeln!(
        out,
        "{} groups x {} partitions, {:.0} commits a second, {seconds:.0} s: {:.1} % of a core, {:.0} MiB resident\n\
         /api/v1/groups: {} KiB in {groups_ms:.0} ms; /metrics: {} KiB in {metrics_ms:.0} ms",
        options.groups,
        options.partitions,
        commits as f64 / seconds,
        100.0 * cpu / seconds,
        resident_mib(monitor.pid())?,
        answer / 1024,
        metrics / 1024,
    );
    if let (Some(pid), Some(before)) = (theirs, before) {
        let cpu = cpu_seconds(pid)? - before;
        let share = 100.0 * cpu / began.elapsed().as_secs_f64();
        let resident = resident_mib(pid)?;
        let _ = writeln!(
            out,
            "Burrow beside it: {share:.1} % of a core, {resident:.0} MiB resident"
        );
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        let _ = thread.join();
    }
    load.stop().map(|_| ())
}

/// Commits for all partitions every second, at a random moment of it.
fn committing(
    kafka: &Kafka,
    group: usize,
    num_partitions: i32,
    (stop, commits): (Arc<AtomicBool>, Arc<AtomicU64>),
) -> Result<std::thread::JoinHandle<()>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", format!("group-{group}"))
        .set("enable.auto.commit", "false")
        .create()
        .context("no consumer")?;
    let work = move || {
        let mut offset = 0;
        let mut next = Instant::now() + Duration::from_millis(10 * (group as u64 % 100));
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += Duration::from_secs(1);
            offset += 10;
            let mut list =
                TopicPartitionList::with_capacity(usize::try_from(num_partitions).unwrap_or(0));
            for partition in 0..num_partitions {
                let _ = list.add_partition_offset(TOPIC, partition, Offset::Offset(offset));
            }
            if consumer.commit(&list, CommitMode::Sync).is_ok() {
                commits.fetch_add(u64::from(num_partitions.unsigned_abs()), Ordering::Relaxed);
            }
        }
    };
    std::thread::Builder::new().spawn(work).context("no thread")
}

fn start(binary: &std::path::Path, kafka: &Kafka, dir: &TestDir) -> Result<Outflow> {
    let config = |address: &str| {
        format!(
            "[admin]\nlisten = \"{address}\"\n[[cluster]]\nname = \"local\"\nbootstrap_servers = \"{}\"\n",
            kafka.bootstrap()
        )
    };
    let monitor = Outflow::configured(binary, "monitor", dir.path(), config)?;
    monitor.wait_ready(PATIENCE)?;
    Ok(monitor)
}

/// Until every window is full: only then the memory is what it will be.
fn wait_for_groups(monitor: &Outflow, groups: usize) -> Result<()> {
    wait_until("all groups have full windows", PATIENCE, || {
        let shown = monitor
            .http()
            .and_then(|http| http.get_json("/api/v1/groups"));
        let shown = shown.map_err(|error| error.to_string())?;
        let list = shown["groups"].as_array().cloned().unwrap_or_default();
        let full = list.iter().filter(|group| group["complete"] == 1.0).count();
        match full >= groups {
            true => Ok(()),
            false => Err(format!("{full} of {groups}")),
        }
    })
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    proc::cpu_seconds(pid).ok_or_else(gone)
}

fn resident_mib(pid: u32) -> Result<f64> {
    let bytes = proc::memory(pid, "VmRSS:").ok_or_else(gone)?;
    Ok(bytes as f64 / f64::from(1 << 20))
}

fn gone() -> Error {
    Error::new("what is measured is gone")
}
