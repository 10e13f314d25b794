//! `testbed bench-rebalance`: how long partitions stand still when a member dies, comes back, leaves and joins,
//! under each protocol and assignor. Seen from outside: by the arrivals of records at the sink.

mod gaps;
mod group;
mod shares;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use testbed::error::Context;
use testbed::{Error, Kafka, KafkaOptions, Load, Outgoing, Result, Stub};

use gaps::{Gaps, Stood};
use group::{Group, Way};

/// How the benchmark is run.
#[derive(Args)]
pub struct Options {
    /// Partitions of the topic
    #[arg(long, default_value_t = 1_000)]
    partitions: usize,
    /// Records a second, over all partitions in turn
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// A partition without a record for so many seconds stands still; more on a machine that is busy
    #[arg(long, default_value_t = 3.0)]
    still: f64,
    /// Which ways to take, by the words of the table's first column; all by default
    #[arg(long)]
    only: Vec<String>,
    /// Where the figures go as JSON, besides the tables that are printed
    #[arg(long, default_value = "target/bench-rebalance.json")]
    json: PathBuf,
    /// The outflow binary; the one beside this program otherwise
    #[arg(long)]
    outflow: Option<PathBuf>,
}

/// What happens to the third member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The pauses that there are anyway: the resolution of the figures.
    Nothing,
    /// kill -9, and nobody comes back.
    Killed,
    /// kill -9, and it is started again at once.
    Restarted,
    /// SIGTERM.
    Left,
    /// It is started while the two others work.
    Joined,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::Nothing => "nothing",
            Event::Killed => "kill -9",
            Event::Restarted => "kill -9, started again",
            Event::Left => "SIGTERM",
            Event::Joined => "a third joins",
        }
    }
}

struct Row {
    way: Way,
    event: Event,
    stood: Stood,
}

/// Runs all of it and prints the tables.
pub fn run(options: &Options) -> Result<()> {
    let binary = testbed::process::binary(options.outflow.as_deref())?;
    let began = Instant::now();
    let kafka = Kafka::start(&KafkaOptions {
        // As brokers come: joins are waited for.
        properties: vec![("group.initial.rebalance.delay.ms".into(), "3000".into())],
        ..KafkaOptions::default()
    })?;
    let mut out = std::io::stdout();
    let mut rows = Vec::new();
    for way in Way::all() {
        let is_wanted = |wanted: &String| way.name().contains(wanted.as_str());
        if !options.only.is_empty() && !options.only.iter().any(is_wanted) {
            continue;
        }
        match measure(options, &binary, &kafka, way, &mut rows) {
            Ok(()) => {}
            Err(error) => {
                let _ = writeln!(out, "{}: {error}", way.name());
            }
        }
    }
    let _ = writeln!(
        out,
        "\n{} partitions, three members, a record of each every {:.1} s; each partition's longest pause; still is \
         more than {} s\n",
        options.partitions,
        options.partitions as f64 / f64::from(options.rate.max(1)),
        options.still
    );
    print(&mut out, &rows);
    let shares = shares::table(&binary, &kafka)?;
    let _ = writeln!(out, "\n{shares}");
    let _ = writeln!(out, "({} s)", began.elapsed().as_secs());
    write_json(options, &rows)
}

fn print(out: &mut impl Write, rows: &[Row]) {
    let _ = writeln!(
        out,
        "| protocol, assignor | what happens | stood still | p50 | p99 | longest |"
    );
    let _ = writeln!(out, "|---|---|---:|---:|---:|---:|");
    for Row { way, event, stood } in rows {
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f32());
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            way.name(),
            event.name(),
            stood.num,
            seconds(stood.p50),
            seconds(stood.p99),
            seconds(stood.longest),
        );
    }
}

fn write_json(options: &Options, rows: &[Row]) -> Result<()> {
    let figure = |row: &Row| {
        json!({
            "way": row.way.name(),
            "event": row.event.name(),
            "partitions": options.partitions,
            "stood_still": row.stood.num,
            "p50_ms": row.stood.p50.as_millis() as u64,
            "p99_ms": row.stood.p99.as_millis() as u64,
            "longest_ms": row.stood.longest.as_millis() as u64,
        })
    };
    let figures: Vec<_> = rows.iter().map(figure).collect();
    std::fs::write(&options.json, format!("{:#}\n", json!(figures)))
        .context(format!("can't write {}", options.json.display()))
}

fn measure(
    options: &Options,
    binary: &std::path::Path,
    kafka: &Kafka,
    way: Way,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let stub = Stub::start()?;
    let topic = format!("bench-{}", way.slug());
    let client = kafka.client();
    client.create_topic(&topic, options.partitions, &[])?;
    let mut group = Group::new(binary, kafka, &stub, way, &topic)?;
    let begun = Instant::now();
    for member in 0..3 {
        group.start(member)?;
    }
    let load = load(&kafka.bootstrap(), &topic, options)?;
    let mut gaps = Gaps::new(options.partitions, Duration::from_secs_f64(options.still));
    gaps.wait_for_all(&stub, Duration::from_secs(120))?;
    group.wait_balanced(options.partitions)?;
    let mut out = std::io::stdout();
    let _ = writeln!(
        out,
        "{}: {:.1} s from the start to a record of every partition",
        way.name(),
        begun.elapsed().as_secs_f32()
    );
    for &event in way.events() {
        let calm = gaps.settle(&stub)?;
        if event == way.events()[0] {
            rows.push(Row {
                way,
                event: Event::Nothing,
                stood: calm,
            });
        }
        match event {
            Event::Nothing => {}
            Event::Killed => group.kill(2)?,
            Event::Restarted => {
                group.kill(2)?;
                group.start(2)?;
            }
            Event::Left => group.stop(2)?,
            Event::Joined => group.start(2)?,
        }
        let stood = gaps.watch(&stub, || group.is_balanced(options.partitions))?;
        let _ = writeln!(out, "    {}: {stood:?}", event.name());
        rows.push(Row { way, event, stood });
    }
    load.stop()?;
    drop(group);
    client.delete_topic(&topic)
}

/// Small records into all partitions in turn, so that each gets one at a steady pace.
fn load(bootstrap: &str, topic: &str, options: &Options) -> Result<Load> {
    let num = i32::try_from(options.partitions).context("too many partitions")?;
    if num == 0 {
        return Err(Error::new("no partitions"));
    }
    let mut next = -1;
    Load::start_with(bootstrap, topic, options.rate, move || {
        next = (next + 1) % num;
        Outgoing {
            partition: Some(next),
            value: Some(b"{\"a\":1}".to_vec()),
            ..Outgoing::default()
        }
    })
}
