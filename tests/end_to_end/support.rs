//! A topic, an index, a base path and the configuration for one test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use testbed::guard::{TestDir, wait_until};
use testbed::{
    Cluster, Generator, Ids, Kafka, Ledger, Load, Outflow, check_elasticsearch, check_hdfs,
};

/// How long anything that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Which sinks a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sinks {
    Elasticsearch,
    Hdfs,
    Both,
}

/// One test's own topic, index and base path on the shared cluster.
pub struct Stage<'a> {
    pub cluster: &'a Cluster,
    pub kafka: &'a Kafka,
    /// More of librdkafka's properties, and keys of the top and of [elasticsearch], as they stand in the file.
    pub properties: String,
    pub top: String,
    pub elasticsearch_more: String,
    pub topic: String,
    pub base: String,
    pub dead_letters: String,
    dir: TestDir,
    processes: AtomicU32,
}

impl<'a> Stage<'a> {
    pub fn new(cluster: &'a Cluster, name: &str, num_partitions: usize) -> Self {
        Self::with_topic(cluster, name, num_partitions, &[])
    }

    /// A stage on another Kafka than the cluster's.
    pub fn on(cluster: &'a Cluster, kafka: &'a Kafka, name: &str, num_partitions: usize) -> Self {
        Self::build(cluster, kafka, name, num_partitions, &[])
    }

    /// A stage whose topic isn't there yet.
    pub fn without_topic(cluster: &'a Cluster, name: &str) -> Self {
        Self::with_topic(cluster, name, 0, &[])
    }

    /// A stage whose topic takes records of up to 20 MB.
    pub fn with_large_records(cluster: &'a Cluster, name: &str) -> Self {
        Self::with_topic(cluster, name, 1, &[("max.message.bytes", "20000000")])
    }

    /// A stage whose topic has properties of its own.
    pub fn with_topic(
        cluster: &'a Cluster,
        name: &str,
        num_partitions: usize,
        options: &[(&str, &str)],
    ) -> Self {
        Self::build(cluster, &cluster.kafka, name, num_partitions, options)
    }

    fn build(
        cluster: &'a Cluster,
        kafka: &'a Kafka,
        name: &str,
        num_partitions: usize,
        options: &[(&str, &str)],
    ) -> Self {
        let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let topic = format!("{name}-{}", run.as_millis());
        let dead_letters = format!("{topic}.dlq");
        let client = kafka.client();
        if num_partitions > 0 {
            client
                .create_topic(&topic, num_partitions, options)
                .unwrap();
        }
        client.create_topic(&dead_letters, 1, &[]).unwrap();
        let index = json!({
            "settings": { "number_of_shards": 1, "number_of_replicas": 0 },
            "mappings": { "properties": {
                "strict_number": { "type": "long" },
                "pad": { "type": "text", "index": false },
            } },
        });
        let documents = cluster.elasticsearch.documents();
        documents.create_index(&topic, &index).unwrap();
        let base = format!("/{topic}");
        let dir = TestDir::new(name).unwrap();
        let processes = AtomicU32::new(0);
        Stage {
            cluster,
            kafka,
            properties: String::new(),
            top: String::new(),
            elasticsearch_more: String::new(),
            topic,
            base,
            dead_letters,
            dir,
            processes,
        }
    }

    /// Where this stage's configurations, logs and state are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn group(&self, sink: &str) -> String {
        format!("{}-{sink}", self.topic)
    }

    fn config(&self, sink: &str, section: &str, more: &str) -> PathBuf {
        let text = format!(
            r#"
name = "{sink}"
shutdown_timeout = "20s"
workers = 1
{top}

[kafka]
bootstrap_servers = "{bootstrap}"
topics = ["{topic}"]
group_id = "{group}"
commit_interval = "500ms"
drain_timeout = "10s"

[kafka.properties]
"session.timeout.ms" = "6000"
{properties}

[rejected]
policy = "dead_letter"
topic = "{dead_letters}"

{section}
{more}
"#,
            bootstrap = self.kafka.bootstrap(),
            properties = self.properties,
            top = self.top,
            topic = self.topic,
            group = self.group(sink),
            dead_letters = self.dead_letters,
        );
        let path = self.dir.path().join(format!("{sink}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn elasticsearch_config(&self) -> PathBuf {
        let url = self.cluster.elasticsearch.url();
        let section = format!(
            "[elasticsearch]\nurls = [\"{url}\"]\nindex = \"{{topic}}\"\nrequest_timeout = \"5s\"\n"
        );
        self.config("elasticsearch", &section, &self.elasticsearch_more)
    }

    pub fn hdfs_config(&self, more: &str) -> PathBuf {
        let section = format!(
            "[hdfs]\nurl = \"{}\"\nconfig_dir = \"{}\"\nuser = \"{}\"\nbase = \"{}\"\ncall_timeout = \"5s\"\n",
            self.cluster.hdfs.url(),
            self.cluster.hdfs.config_dir().display(),
            self.cluster.hdfs.user(),
            self.base,
        );
        let rotate = "[hdfs.rotate]\nrecords = 500\nage = \"2s\"\n";
        self.config("hdfs", &section, &format!("{rotate}{more}"))
    }

    /// Starts a process with these sinks and waits until it holds partitions or says that it is ready.
    pub fn run(&self, sinks: Sinks) -> Outflow {
        let outflow = self.start(sinks);
        outflow.wait_ready(PATIENCE).unwrap();
        outflow
    }

    /// Starts a process with these sinks and this in its environment, and waits until it is ready.
    pub fn run_with(&self, sinks: Sinks, env: &[(&str, &str)]) -> Outflow {
        let outflow = self.start_with(sinks, env);
        outflow.wait_ready(PATIENCE).unwrap();
        outflow
    }

    /// Starts a process with these sinks.
    pub fn start(&self, sinks: Sinks) -> Outflow {
        self.start_with(sinks, &[])
    }

    /// Starts a process with these sinks and these variables.
    pub fn start_with(&self, sinks: Sinks, variables: &[(&str, &str)]) -> Outflow {
        let (elasticsearch, hdfs) = (self.elasticsearch_config(), self.hdfs_config(""));
        let mut args = Vec::new();
        if sinks != Sinks::Hdfs {
            args.extend(["--config", elasticsearch.to_str().unwrap()]);
        }
        if sinks != Sinks::Elasticsearch {
            args.extend(["--config", hdfs.to_str().unwrap()]);
        }
        self.spawn_with(&args, variables)
    }

    /// Starts a process with these arguments after `run`.
    pub fn spawn(&self, args: &[&str]) -> Outflow {
        self.spawn_with(args, &[])
    }

    fn spawn_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Outflow {
        let args = [&["run"], args].concat();
        let number = self.processes.fetch_add(1, Ordering::Relaxed);
        let admin = format!("127.0.0.1:{}", testbed::ports::free_port().unwrap());
        let log = self.dir.path().join(format!("outflow-{number}.log"));
        let mut env = vec![("OUTFLOW_ADMIN__LISTEN", admin.as_str())];
        env.extend(variables);
        let binary = env!("CARGO_BIN_EXE_outflow");
        Outflow::spawn(binary, &args, &env, log)
            .unwrap()
            .with_admin(&admin)
    }

    /// Produces at a rate until stopped.
    pub fn load(&self, per_second: u32, seed: u64) -> Load {
        let generator = Generator::new(&self.topic, seed).keys(50);
        Load::start(&self.kafka.bootstrap(), &self.topic, generator, per_second).unwrap()
    }

    /// Produces this many records and waits for their acknowledgement.
    pub fn produce(&self, num: usize, seed: u64) -> Ledger {
        self.produce_by(num, Generator::new(&self.topic, seed))
    }

    /// The same, of this generator's records, with keys.
    pub fn produce_by(&self, num: usize, generator: Generator) -> Ledger {
        let producer = testbed::Producer::new(&self.kafka.bootstrap()).unwrap();
        let mut generator = generator.keys(50);
        producer.produce(&self.topic, &mut generator, num).unwrap();
        producer.flush().unwrap();
        producer.ledger()
    }

    pub fn committed(&self, sink: &str) -> i64 {
        let committed = self
            .kafka
            .client()
            .committed(&self.group(sink), &self.topic);
        committed.unwrap().values().sum()
    }

    /// How many records stand in a sink.
    pub fn num_written(&self, sink: &str) -> usize {
        if sink == "hdfs" {
            let files = self.cluster.hdfs.files().committed(&self.base);
            return files.unwrap().iter().map(|file| file.lines.len()).sum();
        }
        let documents = self.cluster.elasticsearch.documents();
        documents.refresh(&self.topic).unwrap();
        usize::try_from(documents.count(&self.topic).unwrap()).unwrap()
    }

    /// Waits until a sink's group has committed at least this many records in all.
    pub fn wait_committed(&self, sink: &str, at_least: i64) {
        let what = format!("{sink} has committed {at_least} records");
        wait_until(&what, PATIENCE, || match self.committed(sink) {
            committed if committed >= at_least => Ok(()),
            committed => Err(format!("{committed} so far")),
        })
        .unwrap();
    }

    /// Waits until a sink's group has committed everything, saying what the process said if it doesn't.
    pub fn wait_caught_up(&self, outflow: &Outflow, sink: &str) {
        let kafka = self.kafka.client();
        if let Err(why) = kafka.wait_for_no_lag(&self.group(sink), &self.topic, PATIENCE) {
            let status = outflow
                .status()
                .map_or_else(|e| e.to_string(), |s| format!("{s:#}"));
            panic!(
                "{sink} doesn't catch up: {why}\n{status}\n{}",
                outflow.log()
            );
        }
    }

    /// Each record of the ledger stands in Elasticsearch once, unchanged, and nothing else does.
    pub fn check_elasticsearch(&self, ledger: &Ledger) {
        let documents = self.cluster.elasticsearch.documents();
        documents.refresh(&self.topic).unwrap();
        check_elasticsearch(ledger, &documents.all(&self.topic).unwrap(), Ids::Offset)
            .assert_clean();
    }

    /// Each record of the ledger stands in one committed file, once, in order, and nothing else does.
    pub fn check_hdfs(&self, ledger: &Ledger) {
        let files = self.cluster.hdfs.files().committed(&self.base).unwrap();
        check_hdfs(ledger, &self.base, &files).assert_clean();
    }
}

/// Stops a process and says what it said if it doesn't end well.
pub fn stop_cleanly(outflow: &Outflow) {
    let code = outflow.stop(Duration::from_secs(40)).unwrap();
    assert_eq!(code, 0, "outflow didn't end cleanly:\n{}", outflow.log());
}
