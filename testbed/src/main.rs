//! `testbed`: starts the real services on this machine and keeps them until Ctrl-C.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use testbed::error::Context;
use testbed::guard::{Guarded, Spec, TestDir, wait_until};
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
        /// Kafka at N, Elasticsearch at N+10, the NameNode at N+20 (HTTP N+21); free ports otherwise
        #[arg(long, value_name = "N")]
        ports_base: Option<u16>,
        /// Number of DataNodes
        #[arg(long, default_value_t = 1)]
        datanodes: usize,
        /// Number of brokers
        #[arg(long, default_value_t = 1)]
        brokers: usize,
    },
    /// Start a guarded process and a folder, say their ids, and stay (for the guard's own test)
    #[command(hide = true)]
    Probe,
    /// Fetch the servers' files into the cache and leave
    Fetch,
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Probe => probe(),
        Command::Fetch => testbed::artifacts::Artifacts::get().map(|_| ()),
        Command::Up {
            ports_base,
            datanodes,
            brokers,
        } => {
            let mut options = ClusterOptions::default();
            options.kafka.ports_base = ports_base;
            options.kafka.num_brokers = brokers;
            options.elasticsearch.ports_base = ports_base.map(|base| base.saturating_add(10));
            options.hdfs.ports_base = ports_base.map(|base| base.saturating_add(20));
            options.hdfs.num_datanodes = datanodes;
            up(&options)
        }
    }
}

fn up(options: &ClusterOptions) -> Result<()> {
    // Before the services: a Ctrl-C while they start must not leave anything either (the guards see
    // to that), and one afterwards stops them in good order.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start a runtime")?;
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
    runtime
        .block_on(wait_for_end())
        .context("can't wait for signals")
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

async fn wait_for_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}
