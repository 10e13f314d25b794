//! `testbed bench`: what a record costs, beside what the wire and the servers allow, in one run on one machine.
//!
//! | module | what |
//! |---|---|
//! | [`records`] | the topic: host metrics as JSON, the same from the same seed |
//! | [`usage`] | a process' CPU and peak memory, from the operating system |
//! | [`limits`] | kcat that reads to nothing; a bare `_bulk` loop; Hadoop's own client |
//! | [`subject`] | outflow under measurement |
//! | [`peers`] | rsyslog, where it is installed |
//! | [`cpu`], [`rates`], [`latency`], [`recovery`], [`growth`] | the parts of the run |
//! | [`table`], [`plot`] | rows, medians, JSON; the same as a picture |

mod cpu;
mod growth;
mod latency;
mod limits;
mod peers;
mod plot;
mod rates;
mod records;
mod recovery;
mod subject;
mod table;
mod usage;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use testbed::error::Context;
use testbed::guard::TestDir;
use testbed::{Error, Kafka, KafkaOptions, Result};

use records::Topic;
use table::Row;

/// How the benchmark is run.
#[derive(Args)]
pub struct Options {
    /// Records of the topic that is read for the CPU figures
    #[arg(long, default_value_t = 1_000_000)]
    records: usize,
    /// Partitions of it
    #[arg(long, default_value_t = 8)]
    partitions: i32,
    /// How often each figure is taken; what is compared is interleaved
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Old files in HDFS for the part start-hdfs
    #[arg(long, default_value_t = 20_000)]
    old_files: usize,
    /// Only these parts: elasticsearch, hdfs, latency, rate-elasticsearch, rate-hdfs, start, start-hdfs, kill, growth, both, outage
    #[arg(long)]
    only: Vec<String>,
    /// Where the figures go as JSON, besides the tables that are printed; the picture stands beside it as .svg
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    /// The outflow binary; the one beside this program otherwise
    #[arg(long)]
    outflow: Option<PathBuf>,
}

/// What the parts of a run share.
struct Bench {
    rounds: usize,
    old_files: usize,
    binary: PathBuf,
    kafka: Kafka,
    topic: Topic,
    dir: TestDir,
}

/// A part of the run.
type Part = fn(&Bench) -> Result<Vec<Row>>;

const PARTS: &[(&str, &str, Part)] = &[
    (
        "elasticsearch",
        "CPU and memory, Kafka to a stub that speaks `_bulk`",
        cpu::elasticsearch,
    ),
    ("hdfs", "CPU and memory, Kafka to HDFS", cpu::hdfs),
    (
        "latency",
        "produced to acknowledged by the stub, 5,000 records a second",
        latency::run,
    ),
    (
        "rate-elasticsearch",
        "documents a second into real Elasticsearch",
        rates::elasticsearch,
    ),
    ("rate-hdfs", "MB a second into real HDFS", rates::hdfs),
    (
        "start",
        "from the start of the process to the first document in the stub",
        recovery::start,
    ),
    (
        "start-hdfs",
        "from the start of the process to the first file committed in HDFS, old files or none",
        recovery::start_hdfs,
    ),
    (
        "kill",
        "kill -9 at full rate, into the stub",
        recovery::kill,
    ),
    (
        "growth",
        "CPU beside kcat's, from 1 to 1,000 partitions, one and two workers, into the stub",
        growth::partitions,
    ),
    (
        "both",
        "both sinks in one process, 1,000 partitions each",
        growth::both,
    ),
    (
        "outage",
        "the stub can't be reached for 10 s",
        recovery::outage,
    ),
];

/// Runs all of it and prints the tables.
pub fn run(options: &Options) -> Result<()> {
    let known = |name: &&String| !PARTS.iter().any(|(part, ..)| part == &name.as_str());
    if let Some(unknown) = options.only.iter().find(known) {
        let names: Vec<&str> = PARTS.iter().map(|(name, ..)| *name).collect();
        let names = names.join(", ");
        return Err(Error::new(format!("no part {unknown}; there are {names}")));
    }
    let binary = testbed::process::binary(options.outflow.as_deref())?;
    limits::find_kcat()?;
    let began = Instant::now();
    let kafka = Kafka::start(&KafkaOptions {
        jvm: testbed::warm_jvm(1_024),
        properties: vec![("group.initial.rebalance.delay.ms".into(), "0".into())],
        ..KafkaOptions::default()
    })?;
    say(&format!("producing {} records", options.records));
    let topic = Topic::fill(&kafka, "host-metrics", options.records, options.partitions)?;
    let bench = Bench {
        rounds: options.rounds.max(1),
        old_files: options.old_files,
        binary,
        kafka,
        topic,
        dir: TestDir::new("bench")?,
    };
    let (mut parts, mut drawn) = (Vec::new(), Vec::new());
    for (name, title, part) in PARTS {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == name) {
            continue;
        }
        say(&format!("\n{name}"));
        match part(&bench) {
            Ok(rows) => {
                say(&format!("\n{title}\n\n{}", table::table(&rows)));
                parts.push(table::json(name, &rows));
                drawn.push((*title, rows));
            }
            Err(error) => say(&format!("{name}: {error}")),
        }
    }
    let seconds = began.elapsed().as_secs();
    let about = format!(
        "{} records of {} bytes on average, {} partitions, {} rounds, {seconds} s",
        bench.topic.num,
        bench.topic.mean_bytes(),
        bench.topic.num_partitions,
        bench.rounds,
    );
    say(&about);
    let all = serde_json::json!({ "about": about, "parts": parts });
    let picture = options.json.with_extension("svg");
    for (file, text) in [
        (&options.json, format!("{all:#}\n")),
        (&picture, plot::svg(&drawn)),
    ] {
        std::fs::write(file, text).context(format!("can't write {}", file.display()))?;
    }
    Ok(())
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
