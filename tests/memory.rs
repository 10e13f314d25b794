//! One byte budget for each worker: the process' memory while a sink takes nothing and a large backlog stands in
//! Kafka, with one, a hundred and a thousand partitions, and whatever the size of the records.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testbed::guard::TestDir;
use testbed::produce::fill;
use testbed::{Kafka, KafkaOptions, Outflow};

const PATIENCE: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;
/// What the sink may hold, in the configuration.
const MEMORY: u64 = 64 * MIB;
/// Stacks of threads, and what the allocator keeps: an eighth more.
const AROUND: u64 = MEMORY / 8;
/// A fetch counts compressed bytes. These backlogs shrink a hundredfold, so the 128 KiB of a fetch become this.
const UNPACKED: u64 = 16 * MIB;
/// The client's and the control's own state for each partition: handles, queues, counters, names.
const PER_PARTITION: u64 = 24 << 10;

/// A backlog: its records' size, their number, and how they are compressed.
struct Backlog {
    value_bytes: usize,
    num: usize,
    compression: &'static str,
}

const fn backlog(value_bytes: usize, num: usize, compression: &'static str) -> Backlog {
    Backlog {
        value_bytes,
        num,
        compression,
    }
}

/// Each would take far more than [`MEMORY`] if the client were left to fetch it.
const BACKLOGS: [Backlog; 4] = [
    backlog(10, 500_000, "none"),
    backlog(300, 300_000, "none"),
    backlog(300, 300_000, "lz4"),
    backlog(1_000_000, 120, "none"),
];

struct Stage {
    kafka: Kafka,
    dir: TestDir,
    /// Nobody listens there.
    nobody: u16,
}

impl Stage {
    fn new() -> Self {
        Stage {
            kafka: Kafka::start(&KafkaOptions::default()).unwrap(),
            dir: TestDir::new("memory").unwrap(),
            nobody: testbed::ports::free_port().unwrap(),
        }
    }

    fn config(&self, topic: &str) -> PathBuf {
        let text = format!(
            "name = \"elasticsearch\"\nworkers = 1\nmemory = \"{MEMORY}B\"\n\
             [kafka]\nbootstrap_servers = \"{}\"\ntopics = [\"{topic}\"]\ngroup_id = \"{topic}\"\n\
             [rejected]\npolicy = \"skip\"\n\
             [elasticsearch]\nurls = [\"http://127.0.0.1:{}\"]\nindex = \"x\"\n",
            self.kafka.bootstrap(),
            self.nobody
        );
        let path = self.dir.path().join(format!("{topic}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn start(&self, topic: &str) -> Outflow {
        let config = self.config(topic);
        let admin = format!("127.0.0.1:{}", testbed::ports::free_port().unwrap());
        let env = [("OUTFLOW_ADMIN__LISTEN", admin.as_str())];
        let args = ["run", "--config", config.to_str().unwrap()];
        let log = self.dir.path().join(format!("{topic}.log"));
        let binary = env!("CARGO_BIN_EXE_outflow");
        let outflow = Outflow::spawn(binary, &args, &env, log).unwrap();
        outflow.with_admin(&admin)
    }

    /// The most that the process has ever had in memory, once it has filled up.
    fn peak(&self, topic: &str, num_partitions: usize) -> u64 {
        let outflow = self.start(topic);
        outflow
            .wait_for("all partitions are read", PATIENCE, || {
                let num = num_running(&outflow);
                Ok((num < num_partitions).then(|| format!("{num} of them")))
            })
            .unwrap();
        let mut seen = (0, 0);
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(100));
            let now = (peak_of(outflow.pid()), num_records(&outflow));
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        outflow.kill().unwrap();
        seen.0
    }
}

fn num_records(outflow: &Outflow) -> u64 {
    let num = outflow.metric("outflow_records_total", &[]);
    num.unwrap().unwrap_or_default() as u64
}

fn num_running(outflow: &Outflow) -> usize {
    let status = outflow.status().unwrap_or_default();
    let partitions = status[0]["workers"][0]["partitions"].as_array().cloned();
    let partitions = partitions.unwrap_or_default();
    let is_running = |p: &&serde_json::Value| p["state"] == "running" || p["state"] == "waiting";
    partitions.iter().filter(is_running).count()
}

fn peak_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn memory_stays_within_its_budget_whatever_partitions_and_sizes_while_the_sink_takes_nothing() {
    let stage = Stage::new();
    let (client, bootstrap) = (stage.kafka.client(), stage.kafka.bootstrap());
    let mut err = std::io::stderr();
    client.create_topic("empty", 1, &[]).unwrap();
    let idle = stage.peak("empty", 1);
    let _ = writeln!(err, "idle: {} MiB", idle / MIB);
    let mut too_much = Vec::new();
    for num_partitions in [1, 100, 1_000] {
        for (
            number,
            Backlog {
                value_bytes,
                num,
                compression,
            },
        ) in BACKLOGS.iter().enumerate()
        {
            let topic = format!("backlog-{num_partitions}-{number}");
            client.create_topic(&topic, num_partitions, &[]).unwrap();
            let properties = [("compression.type", *compression)];
            let num_partitions_i32 = i32::try_from(num_partitions).unwrap();
            let records = (*num, *value_bytes);
            fill(&bootstrap, &topic, records, num_partitions_i32, &properties).unwrap();
            let peak = stage.peak(&topic, num_partitions);
            let unpacked = if *compression == "none" { 0 } else { UNPACKED };
            let bound = idle + MEMORY + AROUND + unpacked + num_partitions as u64 * PER_PARTITION;
            let line = format!(
                "{num_partitions} partitions, {num} records of {value_bytes} bytes ({compression}): {} MiB over \
                 idle, at most {}",
                peak.saturating_sub(idle) / MIB,
                (bound - idle) / MIB
            );
            let _ = writeln!(err, "{line}");
            if peak > bound {
                too_much.push(line);
            }
            client.delete_topic(&topic).unwrap();
        }
    }
    assert!(too_much.is_empty(), "{too_much:#?}");
}
