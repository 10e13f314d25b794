//! A long run: a steady load into both sinks, the process' memory, descriptors and threads every few seconds, and at
//! the end figures, a plot, and a verdict: flat or not. What was produced is counted in both sinks.
//!
//! | module | what |
//! |---|---|
//! | [`sample`] | one look at a process |
//! | [`trend`] | slope, medians of the first and last quarter, the verdict; pure |
//! | [`plot`] | an SVG of the samples |

pub mod plot;
pub mod sample;
pub mod trend;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::chaos::case::{Lines, Setup, Sink};
use crate::chaos::config::SHUTDOWN_SECONDS;
use crate::chaos::judge::num_present;
use crate::chaos::world::{PATIENCE, World};
use crate::error::{Context, Error, Result};

use sample::Sample;
use trend::Trend;

/// How long, and where the figures go.
#[derive(clap::Args)]
pub struct Options {
    /// How long records flow
    #[arg(long, value_name = "H", default_value_t = 1.0)]
    hours: f64,
    /// Records a second
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Where samples.csv, figures.json and plot.svg are written
    #[arg(long, value_name = "DIR", default_value = "target/soak")]
    out: PathBuf,
    /// The outflow binary; the one beside this program otherwise
    #[arg(long)]
    outflow: Option<PathBuf>,
}

/// Files as in production are large; a commit a second as by default.
const SETUP: Setup = Setup {
    partitions: 8,
    memory_mib: 256,
    lines: Lines {
        kafka: "commit_interval = \"1s\"",
        elasticsearch: "request_timeout = \"60s\"",
        rotate: "records = 20000\nage = \"30s\"",
        ..Setup::PLAIN.lines
    },
    ..Setup::PLAIN
};

/// Samples are so far apart at least; of a long run there are about 2,000.
const LEAST_EVERY: Duration = Duration::from_secs(1);
const NUM_SAMPLES: u32 = 2_000;

/// Runs it. An error if something grows, or is missing.
pub fn run(options: &Options) -> Result<()> {
    let binary = crate::process::binary(options.outflow.as_deref())?;
    let time = Duration::try_from_secs_f64(3_600.0 * options.hours).context("not a time")?;
    std::fs::create_dir_all(&options.out).context("can't make the folder for the figures")?;
    let setup = Setup {
        rate: options.rate,
        ..SETUP
    };
    let world = World::new("soak", &setup, &binary, 1)?;
    let outflow = world.start()?;
    outflow.wait_ready(PATIENCE)?;
    world.start_counting_load()?;
    for sink in setup.sinks {
        world.wait_committed(*sink, 1_000)?;
    }
    say(&format!(
        "{:.2} h at {} records a second",
        options.hours, options.rate
    ));
    let samples = watch(&world, outflow.pid(), time)?;
    let num = world.num_produced();
    world.stop_load()?;
    let missing = count(&world, &setup)?;
    let code = outflow.stop(Duration::from_secs(SHUTDOWN_SECONDS + 5))?;
    world.forget(&outflow);

    let trends = Sample::FIGURES.map(|figure| (figure, Trend::of(&samples, figure)));
    write_all(&options.out, &samples, &trends)?;
    say(&format!(
        "{num} records; {}",
        missing.as_deref().unwrap_or("all in both sinks")
    ));
    for (figure, trend) in &trends {
        say(&trend.line(figure));
    }
    say(&format!("{}", options.out.join("plot.svg").display()));
    let grown = trends
        .iter()
        .filter(|(figure, trend)| !trend.is_flat(figure));
    let mut wrong: Vec<String> = grown
        .map(|(figure, _)| format!("{} isn't flat", figure.name))
        .chain(missing)
        .collect();
    if code != 0 {
        wrong.push(format!("the end had exit code {code}"));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::new(wrong.join("; "))),
    }
}

fn watch(world: &World, pid: u32, time: Duration) -> Result<Vec<Sample>> {
    let every = (time / NUM_SAMPLES).max(LEAST_EVERY);
    let began = Instant::now();
    let mut samples = Vec::new();
    let mut told = Instant::now();
    while began.elapsed() < time {
        let mut sample = Sample::take(pid, began.elapsed())?;
        sample.committed = world
            .setup
            .sinks
            .iter()
            .map(|s| world.watch.committed(*s))
            .sum();
        if told.elapsed() > time / 10 {
            told = Instant::now();
            say(&sample.line());
        }
        samples.push(sample);
        let next = every * u32::try_from(samples.len()).unwrap_or(u32::MAX);
        std::thread::sleep(next.saturating_sub(began.elapsed()));
    }
    Ok(samples)
}

/// Waits until all is committed, and counts it in both sinks. In words, what isn't as it must be.
fn count(world: &World, setup: &Setup) -> Result<Option<String>> {
    let ends = world.kafka.client().watermarks(&world.topic)?;
    let wanted: i64 = ends.values().map(|(_, end)| end).sum();
    let mut wrong = Vec::new();
    for sink in setup.sinks {
        world.wait_caught_up(*sink)?;
        let num = match sink {
            Sink::Elasticsearch => world.elasticsearch.documents().count(&world.topic)? as i64,
            Sink::Hdfs => num_present(world, *sink)? as i64,
        };
        if num != wanted {
            wrong.push(format!("{} holds {num} of {wanted} records", sink.name()));
        }
    }
    Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
}

fn write_all(out: &Path, samples: &[Sample], trends: &[(sample::Figure, Trend)]) -> Result<()> {
    let mut csv = String::from("seconds,committed");
    for figure in Sample::FIGURES {
        let _ = write!(csv, ",{}", figure.name.replace(' ', "_"));
    }
    for sample in samples {
        let _ = write!(csv, "\n{:.1},{}", sample.seconds, sample.committed);
        for figure in Sample::FIGURES {
            let _ = write!(csv, ",{}", (figure.of)(sample));
        }
    }
    csv.push('\n');
    let figures: Vec<_> = trends
        .iter()
        .map(|(figure, trend)| trend.json(figure))
        .collect();
    let figures = format!(
        "{:#}\n",
        json!({ "samples": samples.len(), "figures": figures })
    );
    let write = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text).context(format!("can't write {}", path.display()))
    };
    write("samples.csv", &csv)?;
    write("figures.json", &figures)?;
    write("plot.svg", &plot::svg(samples))
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
