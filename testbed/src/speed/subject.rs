//! outflow, as it is measured: a process of its own.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testbed::error::Context;
use testbed::{Hdfs, Outflow, Result};

use super::Bench;
use super::usage::{Meter, Usage};

const PATIENCE: Duration = Duration::from_secs(600);

/// A run under measurement.
pub struct Subject {
    /// The process.
    pub outflow: Outflow,
    /// The groups of its sinks.
    pub groups: Vec<String>,
    topic: String,
    admin: String,
    meter: Meter,
}

/// Where it writes.
pub enum Into<'a> {
    /// `_bulk` at this address, into this index.
    Elasticsearch(&'a str, &'a str),
    /// HDFS, below this base, with these lines of configuration.
    Hdfs(&'a Hdfs, &'a str, &'a str),
}

/// What may differ from run to run.
pub struct Plan<'a> {
    /// The topic that is read.
    pub topic: &'a str,
    /// Workers of each sink.
    pub workers: usize,
    /// Lines more of `[kafka]`.
    pub kafka: &'a str,
}

impl<'a> Plan<'a> {
    /// One worker that reads this topic.
    pub fn of(topic: &'a str) -> Self {
        Plan {
            topic,
            workers: 1,
            kafka: "",
        }
    }
}

impl Subject {
    /// Starts one sink with one worker on `topic`, in a group that is its own.
    pub fn start(bench: &Bench, topic: &str, into: &Into<'_>) -> Result<Self> {
        Self::start_with(bench, &Plan::of(topic), std::slice::from_ref(into))
    }

    /// One process for several sinks, each in a group that is its own.
    pub fn start_with(bench: &Bench, plan: &Plan<'_>, sinks: &[Into<'_>]) -> Result<Self> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let admin = format!("127.0.0.1:{}", testbed::ports::free_port()?);
        let mut groups = Vec::new();
        for into in sinks {
            let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let group = format!("bench-{number}");
            let text = configuration(bench, plan, into, &group, &admin);
            std::fs::write(file(bench, &group), text).context("can't write the configuration")?;
            groups.push(group);
        }
        Self::spawn(bench, groups, plan.topic.to_owned(), admin)
    }

    /// The same once more, after its end.
    pub fn again(self, bench: &Bench) -> Result<Self> {
        Self::spawn(bench, self.groups, self.topic, self.admin)
    }

    fn spawn(bench: &Bench, groups: Vec<String>, topic: String, admin: String) -> Result<Self> {
        let mut args = vec!["run".to_owned()];
        for group in &groups {
            args.extend([
                "--config".to_owned(),
                file(bench, group).display().to_string(),
            ]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let log = bench.dir.path().join(format!("{}.log", groups.join("-")));
        let outflow = Outflow::spawn(&bench.binary, &args, &[], log)?.with_admin(&admin);
        let meter = Meter::new(outflow.pid());
        Ok(Subject {
            outflow,
            groups,
            topic,
            admin,
            meter,
        })
    }

    /// Runs until `done`, then ends it in order, and holds the group's offsets against the topic.
    pub fn measure(
        mut self,
        bench: &Bench,
        mut done: impl FnMut(&Outflow) -> Result<bool>,
    ) -> Result<Usage> {
        let outflow = &self.outflow;
        let what = "outflow reads the whole topic";
        let measured = self.meter.until(what, PATIENCE, || done(outflow));
        let wall_s =
            measured.map_err(|error| testbed::Error::new(format!("{error}\n{}", outflow.log())))?;
        self.outflow.terminate()?;
        let mut usage = self.meter.until_it_ends(Duration::from_secs(90))?;
        usage.wall_s = wall_s.wall_s;
        let client = bench.kafka.client();
        for group in &self.groups {
            client.wait_for_no_lag(group, &self.topic, Duration::from_secs(5))?;
        }
        Ok(usage)
    }
}

fn file(bench: &Bench, group: &str) -> PathBuf {
    bench.dir.path().join(format!("{group}.toml"))
}

fn configuration(
    bench: &Bench,
    plan: &Plan<'_>,
    into: &Into<'_>,
    group: &str,
    admin: &str,
) -> String {
    let mut text = format!(
        "name = \"{group}\"\nworkers = {}\nshutdown_timeout = \"60s\"\n\n[kafka]\n\
         bootstrap_servers = \"{}\"\ntopics = [\"{}\"]\ngroup_id = \"{group}\"\n{}\n\
         [rejected]\npolicy = \"quarantine\"\n\n[admin]\nlisten = \"{admin}\"\n\n",
        plan.workers,
        bench.kafka.bootstrap(),
        plan.topic,
        plan.kafka,
    );
    let _ = match into {
        Into::Elasticsearch(url, index) => {
            write!(
                text,
                "[elasticsearch]\nurls = [\"{url}\"]\nindex = \"{index}\"\n"
            )
        }
        Into::Hdfs(hdfs, base, more) => {
            write!(
                text,
                "[hdfs]\nurl = \"{}\"\nbase = \"{base}\"\n{more}\n",
                hdfs.url()
            )
        }
    };
    text
}

/// How many records a process counts as acknowledged; none as long as it doesn't listen.
pub fn num_acked(outflow: &Outflow) -> f64 {
    let acked = outflow.metric("outflow_acked_records_total", &[]);
    acked.ok().flatten().unwrap_or(0.0)
}

/// Whether a process counts `num` records as read; asked ten times a second at most, as each question costs it.
pub fn has_read(num: usize) -> impl FnMut(&Outflow) -> Result<bool> {
    let mut asked = None::<Instant>;
    move |outflow| {
        if asked.is_some_and(|asked| asked.elapsed() < Duration::from_millis(100)) {
            return Ok(false);
        }
        asked = Some(Instant::now());
        // It may not listen yet.
        let read = outflow.metric("outflow_records_total", &[]).ok().flatten();
        Ok(read.is_some_and(|read| read >= num as f64))
    }
}
