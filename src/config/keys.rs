//! Every key on one page: its kind, its bounds, its default. `config/reference.toml` tells the reasons.

use super::kinds::Kind;

/// Which files may have a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every file.
    All,
    /// A sink's and the agent's.
    Clients,
    /// A sink's and the monitor's: those that serve HTTP.
    Servers,
    /// A sink's.
    Sink,
    /// The agent's.
    Agent,
    /// A cluster's in the monitor's file.
    Cluster,
    /// A notifier's in a sink's or the monitor's file.
    Notifier,
}

/// Which kind of file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A sink's.
    Sink,
    /// The agent's.
    Agent,
    /// The monitor's.
    Monitor,
    /// One cluster of the monitor's, by itself.
    Cluster,
    /// One notifier, by itself.
    Notifier,
}

impl FileKind {
    /// Whether a key belongs into such a file.
    pub fn has(self, key: &Key) -> bool {
        match key.scope {
            Scope::All => !matches!(self, FileKind::Cluster | FileKind::Notifier),
            Scope::Clients => matches!(self, FileKind::Sink | FileKind::Agent),
            Scope::Servers => matches!(self, FileKind::Sink | FileKind::Monitor),
            Scope::Sink => self == FileKind::Sink,
            Scope::Agent => self == FileKind::Agent,
            Scope::Cluster => matches!(self, FileKind::Monitor | FileKind::Cluster),
            Scope::Notifier => {
                matches!(
                    self,
                    FileKind::Sink | FileKind::Monitor | FileKind::Notifier
                )
            }
        }
    }

    /// Sections that belong into another kind of file.
    pub fn foreign(self) -> &'static [&'static str] {
        match self {
            FileKind::Sink => &["agent", CLUSTER],
            FileKind::Agent => &[
                "elasticsearch",
                "hdfs",
                "rejected",
                "lag",
                "admin",
                CLUSTER,
                NOTIFY,
            ],
            FileKind::Monitor => &["kafka", "elasticsearch", "hdfs", "rejected", "lag", "agent"],
            FileKind::Cluster | FileKind::Notifier => &[],
        }
    }

    /// Whose file it is.
    pub fn owner(self) -> &'static str {
        match self {
            FileKind::Sink => "a sink",
            FileKind::Agent => "the agent",
            FileKind::Monitor | FileKind::Cluster => "the monitor",
            FileKind::Notifier => "a notifier",
        }
    }
}

/// A section that may come several times: a watched cluster.
pub const CLUSTER: &str = "cluster";
/// Another one: a notifier.
pub const NOTIFY: &str = "notify";
/// Those sections.
pub const REPEATED: [&str; 2] = [CLUSTER, NOTIFY];

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its path: `section.name`.
    pub path: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Its default, as text. None: it must be set, or it is off, or it follows from others.
    pub default: Option<&'static str>,
    /// Which files may have it.
    pub scope: Scope,
}

impl Key {
    /// The section, empty at the top.
    pub fn section(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or("", |(section, _)| section)
    }

    /// The name within its section.
    pub fn name(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or(self.path, |(_, name)| name)
    }

    /// Whether a mistaken value may be printed. What may hold a secret by mistake is not.
    pub fn may_be_shown(&self) -> bool {
        !matches!(
            self.kind,
            Kind::Variable | Kind::Properties | Kind::SecretProperties
        ) && !self.path.ends_with("_file")
            && !matches!(
                self.path,
                "elasticsearch.urls"
                    | "kafka.bootstrap_servers"
                    | "cluster.bootstrap_servers"
                    | "hdfs.url"
                    | "notify.url"
                    | "notify.template"
            )
    }
}

const fn scoped(
    scope: Scope,
    path: &'static str,
    kind: Kind,
    default: Option<&'static str>,
) -> Key {
    Key {
        path,
        kind,
        default,
        scope,
    }
}

const fn key(path: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    scoped(Scope::Sink, path, kind, default)
}

const fn all(path: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    scoped(Scope::All, path, kind, default)
}

const fn client(path: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    scoped(Scope::Clients, path, kind, default)
}

const fn server(path: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    scoped(Scope::Servers, path, kind, default)
}

const fn agent(path: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    scoped(Scope::Agent, path, kind, default)
}

const fn cluster(path: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    scoped(Scope::Cluster, path, kind, default)
}

const fn notifier(path: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    scoped(Scope::Notifier, path, kind, default)
}

const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer {
        min,
        max,
        word: None,
    }
}

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Bytes { min, max }
}

const fn time(min: u64, max: u64) -> Kind {
    Kind::Duration {
        min,
        max,
        off: false,
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Every key there is.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("name", Kind::Text, None),
    key("memory", bytes(32 * MIB, TIB), Some("256MiB")),
    key("workers", Kind::Integer { min: 1, max: 256, word: Some("auto") }, Some("auto")),
    client("shutdown_timeout", time(SECOND, HOUR), Some("25s")),
    key("state_dir", Kind::Path, None),

    client("kafka.bootstrap_servers", Kind::Text, None),
    key("kafka.topics", Kind::List, None),
    key("kafka.topics_pattern", Kind::Text, None),
    key("kafka.topics_exclude", Kind::List, None),
    key("kafka.assign", Kind::List, None),
    key("kafka.group_id", Kind::Text, None),
    key("kafka.group_protocol", Kind::Choice(&["classic", "consumer"]), Some("classic")),
    key("kafka.partition_assignment_strategy", Kind::Choice(&["range", "roundrobin", "cooperative-sticky"]), None),
    key("kafka.group_instance_id", Kind::Text, None),
    key("kafka.auto_offset_reset", Kind::Text, Some("earliest")),
    key("kafka.on_offset_lost", Kind::Choice(&["stop", "earliest", "latest"]), Some("stop")),
    key("kafka.commit_mode", Kind::Choice(&["interval", "batch", "record", "async"]), Some("interval")),
    key("kafka.commit_interval", time(100, 5 * MINUTE), Some("1s")),
    key("kafka.drain_timeout", time(SECOND, 4 * MINUTE), Some("20s")),
    key("kafka.max_poll_records", integer(1, 2_048), Some("2048")),
    key("kafka.max_span", integer(1_000, 1_000_000_000_000), Some("10000000")),
    client("kafka.properties", Kind::Properties, None),
    client("kafka.secret_properties", Kind::SecretProperties, None),

    key("rejected.policy", Kind::Choice(&["quarantine", "dead_letter", "skip"]), Some("quarantine")),
    key("rejected.topic", Kind::Text, None),

    key("elasticsearch.urls", Kind::List, None),
    key("elasticsearch.user", Kind::Text, None),
    key("elasticsearch.password_file", Kind::Path, None),
    key("elasticsearch.password_env", Kind::Variable, None),
    key("elasticsearch.api_key_file", Kind::Path, None),
    key("elasticsearch.api_key_env", Kind::Variable, None),
    key("elasticsearch.ca_file", Kind::Path, None),
    key("elasticsearch.insecure_skip_verify", Kind::Flag, Some("false")),
    key("elasticsearch.index", Kind::Text, Some("{topic}")),
    key("elasticsearch.allowed_indices", Kind::List, None),
    key("elasticsearch.date_window", time(HOUR, 36_500 * DAY), Some("90d")),
    key("elasticsearch.op", Kind::Choice(&["index", "create"]), Some("index")),
    key("elasticsearch.id", Kind::Choice(&["key", "offset", "none"]), Some("offset")),
    key("elasticsearch.tombstones", Kind::Choice(&["delete", "skip", "reject"]), None),
    key("elasticsearch.max_batch_bytes", bytes(64 * KIB, 95 * MIB), Some("5MiB")),
    key("elasticsearch.max_batch_docs", integer(1, 100_000), Some("2000")),
    key("elasticsearch.linger", time(0, MINUTE), Some("50ms")),
    key("elasticsearch.max_in_flight", integer(1, 256), Some("16")),
    key("elasticsearch.request_timeout", time(2 * SECOND, 10 * MINUTE), Some("60s")),
    key("elasticsearch.compression", Kind::Choice(&["none", "gzip"]), Some("none")),
    key("elasticsearch.compression_level", integer(1, 9), None),

    key("hdfs.url", Kind::Text, None),
    key("hdfs.config_dir", Kind::Path, None),
    key("hdfs.user", Kind::Text, None),
    key("hdfs.base", Kind::Text, None),
    key("hdfs.replication", integer(1, 512), None),
    key("hdfs.compression", Kind::Choice(&["none", "zstd", "gzip"]), Some("none")),
    key("hdfs.compression_level", integer(1, 22), None),
    key("hdfs.max_open_files", integer(1, 256), Some("4")),
    key("hdfs.call_timeout", time(SECOND, 10 * MINUTE), Some("30s")),
    key("hdfs.tombstones", Kind::Choice(&["skip", "reject"]), Some("skip")),
    key("hdfs.rotate.bytes", bytes(4 * KIB, 64 * GIB), Some("128MiB")),
    key("hdfs.rotate.records", integer(1, 1_000_000_000_000), None),
    key("hdfs.rotate.age", time(SECOND, 7 * DAY), Some("10m")),
    key("hdfs.rotate.idle", Kind::Duration { min: SECOND, max: 7 * DAY, off: true }, Some("60s")),
    key("hdfs.partition.by", Kind::Choice(&["partition", "hourly", "daily"]), Some("partition")),
    key("hdfs.partition.zone", Kind::Text, None),

    key("lag.cluster", Kind::Text, Some("local")),
    key("lag.offset_refresh", time(100, HOUR), Some("10s")),
    key("lag.intervals", integer(3, 1_000), Some("10")),
    key("lag.allowed_lag", integer(0, i64::MAX), Some("0")),
    key("lag.minimum_complete", integer(0, 100), Some("0")),

    server("admin.listen", Kind::Text, Some("127.0.0.1:9600")),
    server("admin.token_file", Kind::Path, None),
    server("admin.token_env", Kind::Variable, None),
    server("admin.allow_unauthenticated", Kind::Flag, Some("false")),

    all("log.format", Kind::Choice(&["text", "json"]), Some("text")),
    all("log.filter", Kind::Text, Some("info")),

    agent("agent.topic", Kind::Text, None),
    agent("agent.interval", time(100, HOUR), Some("10s")),
    agent("agent.host_name", Kind::Text, None),
    agent("agent.buffer", bytes(64 * KIB, 4 * GIB), Some("16MiB")),
    agent("agent.per_core", Kind::Flag, Some("true")),
    agent("agent.simulate_hosts", integer(0, 100_000), Some("0")),

    cluster("cluster.name", Kind::Text, None),
    cluster("cluster.bootstrap_servers", Kind::Text, None),
    cluster("cluster.groups_pattern", Kind::Text, None),
    cluster("cluster.groups_exclude", Kind::List, None),
    cluster("cluster.offset_refresh", time(100, HOUR), Some("10s")),
    cluster("cluster.topic_refresh", time(100, DAY), Some("60s")),
    cluster("cluster.read_back", time(0, 365 * DAY), Some("7d")),
    cluster("cluster.expire_group", time(MINUTE, 365 * DAY), Some("7d")),
    cluster("cluster.intervals", integer(3, 1_000), Some("10")),
    cluster("cluster.min_distance", time(0, HOUR), Some("0s")),
    cluster("cluster.allowed_lag", integer(0, i64::MAX), Some("0")),
    cluster("cluster.minimum_complete", integer(0, 100), Some("0")),
    cluster("cluster.max_groups", integer(1, 1_000_000), Some("10000")),
    cluster("cluster.max_partitions", integer(1, 10_000_000), Some("200000")),
    cluster("cluster.mends.trend", Kind::Flag, Some("true")),
    cluster("cluster.mends.quiet", Kind::Flag, Some("true")),
    cluster("cluster.mends.prompt_stop", Kind::Flag, Some("true")),
    cluster("cluster.mends.every_rewind", Kind::Flag, Some("true")),
    cluster("cluster.mends.young_window", Kind::Flag, Some("true")),
    cluster("cluster.properties", Kind::Properties, None),
    cluster("cluster.secret_properties", Kind::SecretProperties, None),

    notifier("notify.name", Kind::Text, None),
    notifier("notify.kind", Kind::Choice(&["webhook", "slack", "alertmanager", "email"]), None),
    notifier("notify.url", Kind::Text, None),
    notifier("notify.url_file", Kind::Path, None),
    notifier("notify.url_env", Kind::Variable, None),
    notifier("notify.clusters", Kind::List, None),
    notifier("notify.groups_pattern", Kind::Text, None),
    notifier("notify.groups_exclude", Kind::List, None),
    notifier("notify.threshold", Kind::Choice(&["WARN", "ERR"]), Some("WARN")),
    notifier("notify.group_thresholds", Kind::List, None),
    notifier("notify.for", time(0, DAY), Some("30s")),
    notifier("notify.close_after", time(0, DAY), Some("60s")),
    notifier("notify.repeat_interval", Kind::Duration { min: SECOND, max: 30 * DAY, off: true }, None),
    notifier("notify.send_close", Kind::Flag, Some("true")),
    notifier("notify.queue", integer(1, 100_000), Some("1000")),
    notifier("notify.timeout", time(100, 10 * MINUTE), Some("10s")),
    notifier("notify.page_url", Kind::Text, None),
    notifier("notify.ca_file", Kind::Path, None),
    notifier("notify.user", Kind::Text, None),
    notifier("notify.password_file", Kind::Path, None),
    notifier("notify.password_env", Kind::Variable, None),
    notifier("notify.bearer_token_file", Kind::Path, None),
    notifier("notify.bearer_token_env", Kind::Variable, None),
    notifier("notify.template", Kind::Text, None),
    notifier("notify.template_file", Kind::Path, None),
    notifier("notify.subject", Kind::Text, None),
    notifier("notify.server", Kind::Text, None),
    notifier("notify.tls", Kind::Choice(&["starttls", "tls", "none"]), None),
    notifier("notify.from", Kind::Text, None),
    notifier("notify.to", Kind::List, None),
    notifier("notify.headers", Kind::Properties, None),
    notifier("notify.secret_headers", Kind::SecretProperties, None),
    notifier("notify.labels", Kind::Properties, None),
];

/// Every section there is.
pub const SECTIONS: &[&str] = &[
    "kafka",
    "rejected",
    "elasticsearch",
    "hdfs",
    "hdfs.rotate",
    "hdfs.partition",
    "lag",
    "admin",
    "log",
    "agent",
    CLUSTER,
    "cluster.mends",
    NOTIFY,
];

/// The key at `path`.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}
