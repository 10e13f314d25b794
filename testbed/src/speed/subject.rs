//! outflow, as it is measured: one sink, one process.

use std::fmt::Write as _;
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
    /// Its group.
    pub group: String,
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

impl Subject {
    /// Starts it on `topic`, in a group that is its own.
    pub fn start(bench: &Bench, topic: &str, into: &Into<'_>) -> Result<Self> {
        Self::start_with(bench, topic, into, "")
    }

    /// The same, with these lines more of `[kafka]`.
    pub fn start_with(bench: &Bench, topic: &str, into: &Into<'_>, more: &str) -> Result<Self> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let group = format!("bench-{number}");
        let admin = format!("127.0.0.1:{}", testbed::ports::free_port()?);
        let mut text = format!(
            "name = \"bench\"\nworkers = 1\nshutdown_timeout = \"60s\"\n\n[kafka]\n\
             bootstrap_servers = \"{}\"\ntopics = [\"{topic}\"]\ngroup_id = \"{group}\"\n{more}\n\
             [rejected]\npolicy = \"quarantine\"\n\n[admin]\nlisten = \"{admin}\"\n\n",
            bench.kafka.bootstrap()
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
        let file = bench.dir.path().join(format!("{group}.toml"));
        std::fs::write(&file, text).context("can't write the configuration")?;
        Self::spawn(bench, group, topic.to_owned(), admin)
    }

    /// The same once more, after its end.
    pub fn again(self, bench: &Bench) -> Result<Self> {
        Self::spawn(bench, self.group, self.topic, self.admin)
    }

    fn spawn(bench: &Bench, group: String, topic: String, admin: String) -> Result<Self> {
        let file = bench.dir.path().join(format!("{group}.toml"));
        let args = ["run", "--config", &file.to_string_lossy()];
        let log = bench.dir.path().join(format!("{group}.log"));
        let outflow = Outflow::spawn(&bench.binary, &args, &[], log)?.with_admin(&admin);
        let meter = Meter::new(outflow.pid());
        Ok(Subject {
            outflow,
            group,
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
        client.wait_for_no_lag(&self.group, &self.topic, Duration::from_secs(5))?;
        Ok(usage)
    }
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
