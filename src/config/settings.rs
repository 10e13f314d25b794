//! Validated settings: what the rest of outflow is given. Every value here has been checked; defaults and
//! their reasons stand in `config/reference.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::lag::{Keep, Rules};
use crate::notify::settings::NotifierSettings;
use crate::offsets::TopicPartition;

/// One sink's file, validated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names the sink in logs, metrics and the status.
    pub name: Arc<str>,
    /// Where records come from.
    pub kafka: KafkaSettings,
    /// Where they go.
    pub sink: SinkSettings,
    /// What becomes of refused records.
    pub rejected: RejectedPolicy,
    /// Bytes that one sink may hold (fetched, encoded, in flight, open files), shared by its workers.
    pub memory_bytes: u64,
    /// Number of workers (consumers, each on a thread of its own).
    pub workers: usize,
    /// How long SIGTERM may take.
    pub shutdown_timeout: Duration,
    /// How the lag of its group is judged.
    pub lag: LagSettings,
    /// Who is told of it.
    pub notify: Vec<NotifierSettings>,
    /// The admin HTTP server; one for the process, taken from the first file that has it.
    pub admin: AdminSettings,
    /// Logging; likewise.
    pub log: LogSettings,
}

/// The Kafka side.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `bootstrap.servers`.
    pub bootstrap_servers: String,
    /// What is read, and how partitions are come by.
    pub subscription: Subscription,
    /// `group.id`. With fixed partitions no group is joined; the name still stands in HDFS's commit log.
    pub group_id: Arc<str>,
    /// `group.protocol`.
    pub group_protocol: GroupProtocol,
    /// `partition.assignment.strategy`; of no meaning with the `consumer` protocol.
    pub assignor: Assignor,
    /// `group.instance.id`, where the user names one (worker n > 0 gets `-n` appended).
    pub group_instance_id: Option<String>,
    /// Where what must outlive the process is kept: positions of fixed partitions, locks of instance ids.
    pub state_dir: Option<PathBuf>,
    /// Where a group without a committed offset starts.
    pub auto_offset_reset: OffsetReset,
    /// What to do when the offset to read from isn't there any more (retention, truncation, re-created topic).
    pub on_offset_lost: OffsetLost,
    /// When final offsets are committed.
    pub commit_mode: CommitMode,
    /// How often final offsets are committed, where the mode doesn't say it.
    pub commit_interval: Duration,
    /// How long a revoked partition may take to drain.
    pub drain_timeout: Duration,
    /// `max.poll.records`: the most records taken in one go.
    pub max_poll_records: usize,
    /// The most offsets between the frontier and the newest record taken of one partition.
    pub max_span: i64,
    /// librdkafka's own properties, secrets included (from files or the environment).
    pub properties: BTreeMap<String, Property>,
}

/// What is read, and how partitions are come by.
#[derive(Debug, Clone)]
pub enum Subscription {
    /// These topics, shared by the group.
    Topics(Vec<String>),
    /// Every topic that matches, shared by the group; new ones are picked up.
    Pattern(TopicPattern),
    /// These partitions and no others, without a group; sorted, each once.
    Assigned(Vec<TopicPartition>),
}

impl Subscription {
    /// The topics that are named, sorted or as they were named; none for a pattern.
    pub fn topics(&self) -> Vec<String> {
        match self {
            Subscription::Topics(topics) => topics.clone(),
            Subscription::Pattern(_) => Vec::new(),
            Subscription::Assigned(partitions) => {
                let mut topics: Vec<String> =
                    partitions.iter().map(|p| p.topic.to_string()).collect();
                topics.dedup();
                topics
            }
        }
    }
}

/// Which topics a pattern means.
#[derive(Debug, Clone)]
pub struct TopicPattern {
    /// The whole name matches this.
    pub include: regex::Regex,
    /// And none of these.
    pub exclude: Vec<regex::Regex>,
    /// Nor is it one of these: the sink's own dead letter topic.
    pub never: Vec<String>,
}

impl TopicPattern {
    /// Whether a topic is meant. Kafka's own topics (`__consumer_offsets` and the like) never are.
    pub fn matches(&self, topic: &str) -> bool {
        !topic.starts_with("__")
            && self.include.is_match(topic)
            && !self.exclude.iter().any(|exclude| exclude.is_match(topic))
            && !self.never.iter().any(|never| never == topic)
    }
}

/// `group.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The members' leader assigns.
    Classic,
    /// The broker assigns (KIP-848).
    Consumer,
}

/// `partition.assignment.strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Neighbouring partitions of each topic; eager.
    Range,
    /// One after another over all topics; eager.
    RoundRobin,
    /// Balanced, and what can stay stays; cooperative.
    CooperativeSticky,
}

impl Assignor {
    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether every partition stops in each rebalance.
    pub fn is_eager(self) -> bool {
        self != Assignor::CooperativeSticky
    }
}

/// When final offsets are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMode {
    /// Every `commit_interval`.
    Interval,
    /// After each acknowledged batch; nothing more is taken before the commit is answered.
    Batch,
    /// After each acknowledged record, of which one is taken at a time.
    Record,
    /// After each acknowledged batch, without waiting for the answer.
    Async,
}

/// A librdkafka property's value.
#[derive(Debug, Clone)]
pub enum Property {
    /// May be shown.
    Plain(String),
    /// Never shown.
    Secret(SecretString),
}

/// Where a group without a committed offset starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// The oldest record there is.
    Earliest,
    /// Only what comes from now on.
    Latest,
    /// Stop, and name the partitions.
    None,
    /// The first record at or after this moment (Unix ms).
    ByTimestamp(i64),
    /// The first record that is at most this old.
    ByDuration(Duration),
}

/// What to do when the offset to read from isn't there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetLost {
    /// Stop that partition and say so.
    Stop,
    /// Go on at the oldest record there is; the skipped range is logged and counted.
    Earliest,
    /// Go on at the end; the skipped range is logged and counted.
    Latest,
}

/// What becomes of a record that the sink refuses for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RejectedPolicy {
    /// Its partition is quarantined until a person decides.
    Quarantine,
    /// It is produced to this topic, and awaited.
    DeadLetter {
        /// The topic.
        topic: String,
    },
    /// It is dropped and counted.
    Skip,
}

/// Which sink, and how.
#[derive(Debug, Clone)]
pub enum SinkSettings {
    /// Elasticsearch.
    Elasticsearch(ElasticsearchSettings),
    /// HDFS.
    Hdfs(HdfsSettings),
}

impl SinkSettings {
    /// `elasticsearch` or `hdfs`.
    pub fn kind(&self) -> &'static str {
        match self {
            SinkSettings::Elasticsearch(_) => "elasticsearch",
            SinkSettings::Hdfs(_) => "hdfs",
        }
    }
}

/// The Elasticsearch sink.
#[derive(Debug, Clone)]
pub struct ElasticsearchSettings {
    /// Nodes, `http://` or `https://`, without credentials in them.
    pub urls: Vec<url::Url>,
    /// How to say who we are.
    pub auth: ElasticsearchAuth,
    /// A CA certificate (PEM) to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Accept any certificate. Warned about at every start.
    pub insecure_skip_verify: bool,
    /// Index name: literal text, `{topic}`, and date patterns such as `{yyyy.MM.dd}` of the record's
    /// timestamp in UTC.
    pub index: String,
    /// Indices must match one of these (`*` is any run of characters), whatever a record says.
    pub allowed_indices: Vec<String>,
    /// How far a date in an index name may lie from now, else the record is refused.
    pub date_window: Duration,
    /// `index` or `create`.
    pub op: WriteOp,
    /// Where the document's id comes from.
    pub id: IdSource,
    /// What a null value means.
    pub tombstones: Tombstones,
    /// Most bytes in a bulk body (never learned above it).
    pub max_batch_bytes: usize,
    /// Most documents in a bulk body.
    pub max_batch_docs: usize,
    /// How long a batch that isn't full may wait.
    pub linger: Duration,
    /// Most bulk requests in flight per worker.
    pub max_in_flight: usize,
    /// The client's whole-request timeout; the server's own is well under it.
    pub request_timeout: Duration,
    /// gzip level for bodies, or none.
    pub gzip_level: Option<u32>,
}

/// Credentials for Elasticsearch.
#[derive(Debug, Clone)]
pub enum ElasticsearchAuth {
    /// None.
    None,
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// An API key, as Elasticsearch gives it under `encoded`.
    ApiKey(SecretString),
}

/// The bulk action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOp {
    /// Write or overwrite.
    Index,
    /// Write once (data streams take nothing else).
    Create,
}

/// Where a document's id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdSource {
    /// The record's key; with external versions, so that the newest record wins.
    Key,
    /// `topic+partition+offset`: a replay lands on the same document.
    Offset,
    /// Elasticsearch chooses: a replay makes a duplicate.
    None,
}

/// What a null value means to Elasticsearch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstones {
    /// Delete the document (only when keyed).
    Delete,
    /// Drop and count.
    Skip,
    /// A rejection.
    Reject,
}

/// The HDFS sink.
#[derive(Debug, Clone)]
pub struct HdfsSettings {
    /// `hdfs://host:port` or `hdfs://nameservice`.
    pub url: String,
    /// Hadoop's own configuration directory, for everything else.
    pub config_dir: Option<PathBuf>,
    /// The user to be (simple authentication).
    pub user: Option<String>,
    /// The base path, absolute, without a trailing slash.
    pub base: String,
    /// Replication of data files; the server's default if none.
    pub replication: Option<u32>,
    /// Compression of data files.
    pub compression: Compression,
    /// Where in the tree a record goes.
    pub partitioning: Partitioning,
    /// When a file is closed.
    pub rotation: Rotation,
    /// Most partitions with open files per worker.
    pub max_open_files: usize,
    /// Timeout of one call towards the NameNode or a DataNode.
    pub call_timeout: Duration,
    /// What a null value means.
    pub tombstones: Tombstones,
}

/// Compression of data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// JSON lines as they are: `.json`.
    None,
    /// `.json.zst`, with this level.
    Zstd(i32),
    /// `.json.gz`, with this level.
    Gzip(u32),
}

/// Where in the tree a record goes: `<base>/<topic>/<partition path>/`.
#[derive(Debug, Clone)]
pub enum Partitioning {
    /// `partition=<n>`.
    Default,
    /// By the record's timestamp, in a named time zone.
    Time {
        /// Hourly or daily.
        unit: TimeUnit,
        /// The zone.
        zone: jiff::tz::TimeZone,
    },
}

/// Granularity of time partitioning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// `year=2026/month=11/day=23/hour=04`.
    Hourly,
    /// `year=2026/month=11/day=23`.
    Daily,
}

/// When a file is closed and committed: whatever comes first.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// At this many bytes (as written, compressed).
    pub bytes: u64,
    /// At this many records.
    pub records: Option<u64>,
    /// This long after its first record.
    pub age: Duration,
    /// This long after its last record.
    pub idle: Option<Duration>,
}

/// The admin HTTP server.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// Where it listens; none if it is off.
    pub listen: Option<SocketAddr>,
    /// A bearer token for actions, and for everything when not on loopback.
    pub token: Option<SecretString>,
    /// Serve read endpoints beyond loopback without a token.
    pub allow_unauthenticated: bool,
}

/// Logging.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// JSON lines instead of text.
    pub json: bool,
    /// An `env-filter` directive, such as `info` or `outflow=debug`.
    pub filter: String,
}

/// How the lag of a sink's own group is judged.
#[derive(Debug, Clone)]
pub struct LagSettings {
    /// What the cluster is called in answers.
    pub cluster: String,
    /// How often it is looked at.
    pub offset_refresh: Duration,
    /// What is kept.
    pub keep: Keep,
    /// How it is judged.
    pub rules: Rules,
}

/// The monitor's file, validated.
#[derive(Debug, Clone)]
pub struct MonitorSettings {
    /// The clusters that are watched, each of a name of its own.
    pub clusters: Vec<ClusterSettings>,
    /// Who is told of their groups.
    pub notify: Vec<NotifierSettings>,
    /// The admin HTTP server.
    pub admin: AdminSettings,
    /// Logging.
    pub log: LogSettings,
}

/// A watched cluster.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Its name.
    pub name: String,
    /// `bootstrap.servers`.
    pub bootstrap_servers: String,
    /// librdkafka's own properties.
    pub properties: BTreeMap<String, Property>,
    /// How often log ends are asked for.
    pub offset_refresh: Duration,
    /// How often it is looked which topics there are.
    pub topic_refresh: Duration,
    /// How old the commits may be that are read at the start.
    pub read_back: Duration,
    /// The pattern of groups as it was written; empty without one.
    pub groups: String,
    /// What is kept.
    pub keep: Keep,
    /// How it is judged.
    pub rules: Rules,
}

/// The agent's file, validated.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// `bootstrap.servers`.
    pub bootstrap_servers: String,
    /// The topic.
    pub topic: String,
    /// How often figures are taken.
    pub interval: Duration,
    /// `host.name`; this host's name unless set.
    pub host_name: Option<String>,
    /// Most bytes buffered while the brokers are away; the oldest figures go first, and are counted.
    pub buffer_bytes: u64,
    /// Whether every core has a record of its own, besides the total.
    pub per_core: bool,
    /// Instead of this host's figures, those of this many made-up hosts around them (0: this host's).
    pub simulate_hosts: u32,
    /// How long draining may take at shutdown.
    pub shutdown_timeout: Duration,
    /// librdkafka's own properties.
    pub properties: BTreeMap<String, Property>,
    /// Logging.
    pub log: LogSettings,
}
