//! The demo: the story that outflow exists for, on real servers, in a few minutes.
//!
//! Metrics flow through Kafka into Elasticsearch and HDFS; Elasticsearch goes away, HDFS goes on,
//! Elasticsearch comes back and catches up; then everything is counted in both. Ends well only if
//! nothing is missing and nothing is doubled.

mod hosts;
mod pictures;
mod story;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use testbed::error::Context;
use testbed::guard::TestDir;
use testbed::ledger::ledger_of_topic;
use testbed::ports::{free_port, is_free};
use testbed::{
    Cluster, ClusterOptions, Error, Ids, Ledger, Load, Outflow, Report, Result,
    check_elasticsearch, check_hdfs,
};

use hosts::Hosts;
use pictures::Pictures;
use story::{Figures, Story, Tone, thousands};

/// As in `config/*.toml`.
const TOPIC: &str = "host-metrics";
const DEAD_LETTERS: [&str; 2] = ["host-metrics.elasticsearch.dlq", "host-metrics.hdfs.dlq"];
const GROUPS: [&str; 2] = ["outflow-elasticsearch", "outflow-hdfs"];
const INDICES: &str = "host-metrics-*";
const BASE: &str = "/data/outflow";

const NUM_HOSTS: u32 = 200;
const LINE_EVERY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);

/// How the demo is told.
#[derive(clap::Args)]
pub struct Options {
    /// How long records are produced, in seconds
    #[arg(long, env = "DEMO_SECONDS", default_value_t = 60)]
    seconds: u64,
    /// Stay up afterwards (KEEP=1)
    #[arg(long, env = "KEEP", default_value = "")]
    keep: String,
    /// First of another set of ports than the usual ones (PORTS=21000)
    #[arg(long, env = "PORTS", default_value = "")]
    ports: String,
    /// The outflow binary; the one beside this program otherwise
    #[arg(long)]
    outflow: Option<PathBuf>,
    /// Where agent.toml, elasticsearch.toml and hdfs.toml are
    #[arg(long, default_value = "config")]
    config: PathBuf,
    /// Take pictures of the page before, during and after the outage; into this folder
    #[arg(long)]
    pictures: Option<PathBuf>,
}

impl Options {
    fn keep(&self) -> bool {
        !matches!(self.keep.as_str(), "" | "0" | "no" | "false")
    }
}

/// Which ports the demo uses.
struct Ports {
    cluster: ClusterOptions,
    admin: [u16; 2],
}

impl Ports {
    fn choose(text: &str) -> Result<Self> {
        let mut cluster = ClusterOptions::default();
        let (named, admin) = if text.is_empty() {
            cluster.kafka.ports_base = Some(9092);
            cluster.elasticsearch.ports_base = Some(9200);
            cluster.hdfs.namenode_ports = Some((8020, 9870));
            let named = [9092, 9093, 9094, 9095, 9200, 9201, 8020, 9870, 9600, 9601];
            (named, [9600, 9601])
        } else {
            let base: u16 = text.parse().context(format!("PORTS={text} isn't a port"))?;
            if !(1024..=65_400).contains(&base) {
                return Err(Error::new(format!(
                    "PORTS={base} isn't between 1024 and 65400"
                )));
            }
            cluster.kafka.ports_base = Some(base);
            cluster.elasticsearch.ports_base = Some(base + 10);
            cluster.hdfs.ports_base = Some(base + 20);
            let named = [0, 1, 2, 3, 10, 11, 20, 21, 40, 41].map(|place| base + place);
            (named, [base + 40, base + 41])
        };
        let names = [
            "Kafka",
            "Kafka's controller",
            "Kafka",
            "Kafka",
            "Elasticsearch",
        ];
        let names = names
            .into_iter()
            .chain(["Elasticsearch's transport", "HDFS", "HDFS' pages"]);
        let names = names.chain(["outflow's pages (Elasticsearch)", "outflow's pages (HDFS)"]);
        let taken: Vec<String> = names
            .zip(named)
            .filter(|(_, port)| !is_free(*port))
            .map(|(name, port)| format!("{port} ({name})"))
            .collect();
        if !taken.is_empty() {
            return Err(Error::new(format!(
                "ports that the demo needs are taken: {}. Free them, or choose another set: \
                 make demo PORTS={}",
                taken.join(", "),
                free_port().map_or(21_000, |port| port / 100 * 100),
            )));
        }
        Ok(Self { cluster, admin })
    }
}

/// Tells the whole story. An error is its bad end.
pub fn run(options: &Options) -> Result<()> {
    let story = Story::new();
    let binary = testbed::process::binary(options.outflow.as_deref())?;
    let ports = Ports::choose(&options.ports)?;
    story.say(story.paint(
        Tone::Strong,
        "outflow: host metrics -> Kafka -> Elasticsearch and HDFS",
    ));
    let about = format!(
        "Real servers on this machine; {} s of records, one outage, then everything is counted.",
        options.seconds
    );
    story.say(story.paint(Tone::Quiet, about));

    story.heading("Starting the servers");
    let tell = |name: &str, address: &str| {
        let seconds = story.elapsed().as_secs_f32();
        story.say(format_args!(
            "    {name:<14}  {address:<28}  ready after {seconds:.0} s"
        ));
    };
    let cluster = Cluster::start_telling(&ports.cluster, &tell)?;
    let kafka = cluster.kafka.client();
    kafka.create_topic(TOPIC, 4, &[])?;
    DEAD_LETTERS
        .iter()
        .try_for_each(|topic| kafka.create_topic(topic, 1, &[]))?;

    story.heading("Starting outflow");
    let dir = TestDir::new("demo")?;
    let launch = Launch {
        binary,
        config: &options.config,
        dir: &dir,
        cluster: &cluster,
    };
    let [es_admin, hdfs_admin] = ports.admin.map(|port| format!("127.0.0.1:{port}"));
    let elasticsearch = launch.sink("elasticsearch", &es_admin)?;
    let hdfs = launch.sink("hdfs", &hdfs_admin)?;
    elasticsearch.wait_ready(PATIENCE)?;
    hdfs.wait_ready(PATIENCE)?;
    let agent = launch.agent()?;
    let load = launch.load()?;
    story.say(format_args!(
        "    elasticsearch   group {}; its page: http://{es_admin}/",
        GROUPS[0]
    ));
    story.say(format_args!(
        "    hdfs            group {}; its page: http://{hdfs_admin}/",
        GROUPS[1]
    ));
    story.say("    agent           this host's CPU and memory, every second");
    story.say(format_args!(
        "    {NUM_HOSTS} simulated hosts, a report a second each"
    ));

    let mut demo = Demo {
        story: story.clone(),
        cluster: &cluster,
        processes: [("elasticsearch", elasticsearch), ("hdfs", hdfs)],
        began: Instant::now(),
        elasticsearch_is_up: true,
        pictures: match &options.pictures {
            Some(folder) => Some(Pictures::new(folder, &es_admin)?),
            None => None,
        },
    };
    demo.tell_outage(Duration::from_secs(options.seconds.max(8)))?;

    story.heading("5. No more records. Both sinks finish what is left.");
    agent.stop(PATIENCE).and_then(expect_clean("the agent"))?;
    let acked = load.stop()?;
    demo.flow("both sinks have committed everything", |now| {
        now.elasticsearch == now.produced && now.hdfs == now.produced
    })?;
    if !options.keep() {
        for (name, process) in &demo.processes {
            process.stop(PATIENCE).and_then(expect_clean(name))?;
        }
    }

    story.heading("6. Everything is counted.");
    let clean = demo.count(&acked)?;
    let seconds = story.elapsed().as_secs();
    if !clean {
        return Err(Error::new("the count is wrong"));
    }
    let end = format!("\nNothing lost, nothing doubled. ({seconds} s)");
    story.say(story.paint(Tone::Good, end));
    if options.keep() {
        let _agent = launch.agent()?;
        let _load = launch.load()?;
        demo.stay(&dir, [&es_admin, &hdfs_admin])?;
    }
    Ok(())
}

fn expect_clean(name: &str) -> impl Fn(i32) -> Result<()> {
    move |code| match code {
        0 => Ok(()),
        code => Err(Error::new(format!(
            "{name} ended with exit code {code}, not 0"
        ))),
    }
}

/// How outflow's processes are started.
struct Launch<'a> {
    binary: PathBuf,
    config: &'a Path,
    dir: &'a TestDir,
    cluster: &'a Cluster,
}

impl Launch<'_> {
    fn sink(&self, name: &str, admin: &str) -> Result<Outflow> {
        let hdfs_url = self.cluster.hdfs.url();
        let env = [
            (
                "OUTFLOW_ELASTICSEARCH__URLS",
                self.cluster.elasticsearch.url(),
            ),
            ("OUTFLOW_HDFS__URL", &hdfs_url),
            // In production a file grows for longer; here one wants to see something.
            ("OUTFLOW_HDFS__ROTATE__AGE", "4s"),
            ("OUTFLOW_HDFS__ROTATE__IDLE", "2s"),
            ("OUTFLOW_ADMIN__LISTEN", admin),
        ];
        let own = format!("OUTFLOW_{}_", name.to_uppercase());
        let env = env.into_iter();
        let env: Vec<_> = env
            .filter(|(key, _)| key.starts_with(&own) || key.contains("ADMIN"))
            .collect();
        Ok(self.spawn("run", name, &env)?.with_admin(admin))
    }

    fn agent(&self) -> Result<Outflow> {
        self.spawn("agent", "agent", &[("OUTFLOW_AGENT__INTERVAL", "1s")])
    }

    fn spawn(&self, command: &str, name: &str, env: &[(&str, &str)]) -> Result<Outflow> {
        let file = self.config.join(format!("{name}.toml"));
        let file = file
            .to_str()
            .ok_or_else(|| Error::new("a path that isn't UTF-8"))?;
        let bootstrap = self.cluster.kafka.bootstrap();
        let mut all = vec![("OUTFLOW_KAFKA__BOOTSTRAP_SERVERS", bootstrap.as_str())];
        all.extend(env);
        let log = self.dir.path().join(format!("{name}.log"));
        Outflow::spawn(&self.binary, &[command, "--config", file], &all, log)
    }

    fn load(&self) -> Result<Load> {
        let mut hosts = Hosts::new(NUM_HOSTS as usize, 1);
        let bootstrap = self.cluster.kafka.bootstrap();
        Load::start_with(&bootstrap, TOPIC, NUM_HOSTS, move || hosts.record())
    }
}

/// What is in Kafka, and what each sink has committed.
#[derive(Clone, Copy, Default)]
struct Now {
    produced: i64,
    elasticsearch: i64,
    hdfs: i64,
}

struct Demo<'a> {
    story: Story,
    cluster: &'a Cluster,
    processes: [(&'static str, Outflow); 2],
    began: Instant,
    elasticsearch_is_up: bool,
    pictures: Option<Pictures>,
}

impl Demo<'_> {
    fn tell_outage(&mut self, length: Duration) -> Result<()> {
        let story = self.story.clone();
        let node = Arc::clone(self.cluster.elasticsearch.node());
        story.heading("1. Steady flow. Both sinks follow; HDFS commits files every few seconds.");
        story.columns();
        self.flow_for(length.mul_f32(0.25))?;
        self.picture("before", "All is well")?;

        story.heading("2. Elasticsearch is stopped. HDFS goes on; records wait in Kafka.");
        let before = self.now()?;
        self.elasticsearch_is_up = false;
        node.stop()?;
        self.flow_for(length.mul_f32(0.6))?;
        self.picture("during", "waits for Elasticsearch")?;
        let after = self.now()?;
        let (took, lag) = (
            after.hdfs - before.hdfs,
            after.produced - after.elasticsearch,
        );
        story.say(format_args!(
            "    HDFS took {} records meanwhile; {} wait for Elasticsearch.",
            thousands(took),
            thousands(lag)
        ));

        story.heading("3. Elasticsearch is started again.");
        let starting = std::thread::spawn(move || node.start());
        self.flow("Elasticsearch is back", |_| starting.is_finished())?;
        starting
            .join()
            .map_err(|_| Error::new("starting Elasticsearch panicked"))??;
        self.elasticsearch_is_up = true;

        story.heading("4. It is back, and the sink catches up by itself.");
        let back = Instant::now();
        let near = i64::from(2 * NUM_HOSTS);
        self.flow("Elasticsearch has caught up", |now| {
            now.produced - now.elasticsearch <= near
        })?;
        let seconds = back.elapsed().as_secs();
        story.say(format_args!("    Caught up within {} s.", seconds.max(1)));
        self.flow_for(length)?;
        self.picture("after", "All is well")
    }

    fn picture(&self, when: &str, text: &str) -> Result<()> {
        match &self.pictures {
            Some(pictures) => pictures.take(when, text),
            None => Ok(()),
        }
    }

    /// Lines of figures until so long after production began.
    fn flow_for(&self, end: Duration) -> Result<()> {
        while self.began.elapsed() < end {
            self.line()?;
            std::thread::sleep(LINE_EVERY.min(end.saturating_sub(self.began.elapsed())));
        }
        Ok(())
    }

    /// Lines of figures until `done`.
    fn flow(&self, what: &str, done: impl Fn(&Now) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.line()?;
            if done(&now) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seconds = PATIENCE.as_secs();
                return Err(Error::new(format!("{what}: not within {seconds} s")));
            }
            std::thread::sleep(LINE_EVERY);
        }
    }

    fn line(&self) -> Result<Now> {
        for (name, process) in &self.processes {
            if let Some(code) = process.exit_code() {
                let log = process.log();
                let lines: Vec<&str> = log.lines().rev().take(20).collect();
                let tail = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
                let text = format!("the {name} sink ended with exit code {code}:\n{tail}");
                return Err(Error::new(text));
            }
        }
        let now = self.now()?;
        self.story.figures(&Figures {
            time: self.began.elapsed(),
            produced: now.produced,
            elasticsearch: now.elasticsearch,
            elasticsearch_is_up: self.elasticsearch_is_up,
            hdfs: now.hdfs,
        });
        Ok(now)
    }

    fn now(&self) -> Result<Now> {
        let kafka = self.cluster.kafka.client();
        let committed = |group| Ok::<i64, Error>(kafka.committed(group, TOPIC)?.values().sum());
        // Commits first: they can't be ahead of what is read afterwards.
        let (elasticsearch, hdfs) = (committed(GROUPS[0])?, committed(GROUPS[1])?);
        let produced = kafka
            .watermarks(TOPIC)?
            .values()
            .map(|(_, high)| high)
            .sum();
        Ok(Now {
            produced,
            elasticsearch,
            hdfs,
        })
    }

    /// Counts everything in both sinks against what is in Kafka, and that against what was acknowledged.
    fn count(&self, acked: &Ledger) -> Result<bool> {
        let kafka = self.cluster.kafka.client();
        let ledger = ledger_of_topic(&kafka, TOPIC)?;
        let kept = acked
            .iter()
            .all(|entry| ledger.get(&entry.topic, entry.partition, entry.offset) == Some(entry));
        let mut dead = 0;
        for topic in DEAD_LETTERS {
            dead += kafka.read_all(topic)?.len();
        }
        let documents = self.cluster.elasticsearch.documents().all(INDICES)?;
        let elasticsearch = check_elasticsearch(&ledger, &documents, Ids::Offset);
        let files = self.cluster.hdfs.files().committed(BASE)?;
        let hdfs = check_hdfs(&ledger, BASE, &files);

        let count = |number: usize| thousands(i64::try_from(number).unwrap_or(i64::MAX));
        let verdict = |report: &Report| {
            let (missing, doubled) = (report.missing.len(), report.doubled.len());
            let others = report.changed.len() + report.out_of_order.len();
            let mut text = format!("missing {missing}, duplicates {doubled}");
            if others > 0 {
                text.push_str(&format!(", otherwise wrong {others}"));
            }
            let tone = if report.is_clean() {
                Tone::Good
            } else {
                Tone::Bad
            };
            self.story.paint(tone, text)
        };
        let line = |name: &str, what: String, verdict: String| {
            self.story
                .say(format_args!("    {name:<14}  {what:<30}  {verdict}"));
        };
        line(
            "Kafka",
            format!("{} records", count(ledger.len())),
            String::new(),
        );
        let found = format!("{} documents", count(elasticsearch.num_found));
        line("Elasticsearch", found, verdict(&elasticsearch));
        let found = format!(
            "{} lines in {} files",
            count(hdfs.num_found),
            count(files.len())
        );
        line("HDFS", found, verdict(&hdfs));
        line("Dead letters", dead.to_string(), String::new());
        for report in [&elasticsearch, &hdfs]
            .into_iter()
            .filter(|report| !report.is_clean())
        {
            self.story.say(report);
        }
        if !kept {
            self.story
                .say("    Kafka itself doesn't have every record that it acknowledged.");
        }
        let clean = elasticsearch.is_clean() && hdfs.is_clean();
        Ok(clean && kept && dead == 0 && !ledger.is_empty())
    }

    fn stay(&self, dir: &TestDir, admin: [&str; 2]) -> Result<()> {
        let story = &self.story;
        let line = |name: &str, what: &str| story.say(format_args!("    {name:<18}  {what}"));
        story.heading("It stays up, and records flow again. Have a look:");
        let es = self.cluster.elasticsearch.url();
        let newest = format!("{es}/{INDICES}/_search?size=3&sort=@timestamp:desc&pretty");
        line("newest documents", &newest);
        let http = self.cluster.hdfs.http().base();
        line(
            "committed files",
            &format!("{http}/explorer.html#{BASE}/{TOPIC}"),
        );
        line("NameNode", http);
        for (name, admin) in ["elasticsearch", "hdfs"].into_iter().zip(admin) {
            line(
                &format!("{name} sink"),
                &format!("http://{admin}/ (the page)"),
            );
            line("", &format!("http://{admin}/api/v1/status"));
            line("", &format!("http://{admin}/metrics"));
        }
        line("Kafka", &self.cluster.kafka.bootstrap());
        line("outflow's logs", &dir.path().display().to_string());
        line(
            "Hadoop's config",
            &self.cluster.hdfs.config_dir().display().to_string(),
        );
        story.heading("Ctrl-C ends everything and removes its data.");
        loop {
            // The handler of Ctrl-C ends the process; only a sink that ends by itself ends this.
            std::thread::sleep(LINE_EVERY);
            for (name, process) in &self.processes {
                if let Some(code) = process.exit_code() {
                    let text = format!("the {name} sink ended with exit code {code}");
                    return Err(Error::new(format!("{text}:\n{}", process.log())));
                }
            }
        }
    }
}
