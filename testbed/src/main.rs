//! `testbed`: starts the real services on this machine and keeps them until Ctrl-C.

mod bench;
mod bench_monitor;
mod demo;
mod speed;

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use testbed::error::Context;
use testbed::guard::{Guarded, Spec, TestDir, kill_all, wait_until};
use testbed::{Cluster, ClusterOptions, Result};

#[derive(Parser)]
#[command(version, about = "Real Kafka, Elasticsearch and HDFS on this machine")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start all three, say where they are, and stay until Ctrl-C
    Up {
        /// Kafka at N, Elasticsearch at N+10, the NameNode at N+20 (HTTP N+21), further on with more
        /// than two brokers; free ports otherwise
        #[arg(long, value_name = "N")]
        ports_base: Option<u16>,
        /// Number of DataNodes
        #[arg(long, default_value_t = 1)]
        datanodes: usize,
        /// Number of brokers
        #[arg(long, default_value_t = 1)]
        brokers: usize,
    },
    /// Tell the story: steady flow, an outage of Elasticsearch, catching up, and a count at the end
    Demo(demo::Options),
    /// Measure how long partitions stand still in rebalances, and show who gets what
    BenchRebalance(bench::Options),
    /// Measure what a record costs, beside the limits of this machine and a peer
    Bench(speed::Options),
    /// Run the fault suite: cases, or random faults
    Chaos(testbed::chaos::command::Options),
    /// A long run: memory, descriptors and threads must stay flat
    Soak(testbed::soak::Options),
    /// Measure what `outflow monitor` takes while many groups commit
    BenchMonitor(bench_monitor::Options),
    /// Start a guarded process and a folder, say their ids, and stay (for the guard's own test)
    #[command(hide = true)]
    Probe,
    /// Fetch the servers' files into the cache and leave
    Fetch,
}

/// Whether a signal is ending this process.
static ENDING: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let command = Args::parse().command;
    let result = end_on_signal().and_then(|()| run(command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            while ENDING.load(Ordering::SeqCst) {
                // Everything fails because it is being killed; the handler of signals exits.
                std::thread::park();
            }
            let _ = writeln!(std::io::stderr(), "testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Probe => probe(),
        Command::Demo(options) => demo::run(&options),
        Command::Bench(options) => speed::run(&options),
        Command::BenchRebalance(options) => bench::run(&options),
        Command::Chaos(options) => testbed::chaos::command::run(&options),
        Command::Soak(options) => testbed::soak::run(&options),
        Command::BenchMonitor(options) => bench_monitor::run(&options),
        Command::Fetch => testbed::artifacts::Artifacts::get().map(|_| ()),
        Command::Up {
            ports_base,
            datanodes,
            brokers,
        } => {
            let mut options = ClusterOptions::default();
            options.kafka.ports_base = ports_base;
            options.kafka.num_brokers = brokers;
            // Four ports a broker; the next services begin at round places after them.
            let after = u16::try_from((4 * brokers).div_ceil(10).max(1) * 10).unwrap_or(u16::MAX);
            let beyond = |places| ports_base.map(|base| base.saturating_add(places));
            options.elasticsearch.ports_base = beyond(after);
            options.hdfs.ports_base = beyond(after.saturating_add(10));
            options.hdfs.num_datanodes = datanodes;
            up(&options)
        }
    }
}

fn up(options: &ClusterOptions) -> Result<()> {
    let started = Instant::now();
    let cluster = Cluster::start(options)?;
    let seconds = started.elapsed().as_secs_f32();
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{}", cluster.addresses());
    let _ = writeln!(out, "up after {seconds:.1} s");
    let _ = writeln!(out, "  Kafka          {}", cluster.kafka.bootstrap());
    let _ = writeln!(out, "  Elasticsearch  {}", cluster.elasticsearch.url());
    let _ = writeln!(out, "  HDFS           {}", cluster.hdfs.url());
    let _ = writeln!(out, "  NameNode page  {}", cluster.hdfs.http().base());
    let _ = writeln!(
        out,
        "  Hadoop config  {}",
        cluster.hdfs.config_dir().display()
    );
    let _ = writeln!(
        out,
        "  logs           {}/outflow-testbed-*",
        std::env::temp_dir().display()
    );
    let _ = writeln!(out, "Ctrl-C ends them and removes their data.");
    let _ = out.flush();
    loop {
        // The handler of signals ends the process.
        std::thread::park();
    }
}

fn probe() -> Result<()> {
    let dir = TestDir::new("probe")?;
    let log = dir.path().join("log");
    let spec = Spec {
        program: "sh".into(),
        args: vec!["-c".to_owned(), "sleep 1000 & echo $!; wait".to_owned()],
        env: Vec::new(),
        dir: dir.path().to_owned(),
        log: log.clone(),
        as_id: None,
    };
    let guarded = Guarded::spawn("the probe", &spec)?;
    let child = wait_until("the probe's child", Duration::from_secs(10), || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        said.strip_suffix('\n').map(str::to_owned).ok_or(said)
    })?;
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{}\n{child}\n{}", guarded.pid(), dir.path().display());
    let _ = out.flush();
    guarded.wait(Duration::from_secs(1000));
    Ok(())
}

/// From now on Ctrl-C, SIGTERM and SIGHUP end this process and everything that it has started, whatever
/// it is doing.
fn end_on_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("can't start a runtime")?;
    let signals = runtime.block_on(async {
        let of = |kind: SignalKind| signal(kind).context("can't handle signals");
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        Ok::<_, testbed::Error>((of(kinds[0])?, of(kinds[1])?, of(kinds[2])?))
    });
    let (mut interrupt, mut terminate, mut hangup) = signals?;
    std::thread::spawn(move || {
        let code = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
                _ = hangup.recv() => 129,
            }
        });
        ENDING.store(true, Ordering::SeqCst);
        let _ = writeln!(std::io::stderr(), "\nEnding everything.");
        kill_all();
        std::process::exit(code);
    });
    Ok(())
}
