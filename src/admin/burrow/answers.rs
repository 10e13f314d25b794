//! Burrow's answers, as it writes them: names, order, quirks.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::lag::{Commit, PartitionVerdict, Store};
use crate::monitor::{Judged, Watched};

/// A commit.
#[derive(Debug, Serialize)]
pub struct Offset {
    offset: i64,
    timestamp: i64,
    #[serde(rename = "observedAt")]
    observed_at: i64,
    lag: Option<u64>,
}

impl From<&Commit> for Offset {
    fn from(commit: &Commit) -> Self {
        Offset {
            offset: commit.offset,
            timestamp: commit.timestamp_ms,
            observed_at: commit.observed_at_ms,
            lag: commit.lag,
        }
    }
}

#[derive(Debug, Serialize)]
struct Partition<'a> {
    topic: &'a str,
    partition: i32,
    owner: &'a str,
    client_id: &'a str,
    status: &'static str,
    start: Option<Offset>,
    end: Option<Offset>,
    current_lag: u64,
    #[serde(serialize_with = "whole")]
    complete: f32,
}

/// A group's status.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    cluster: &'a str,
    group: &'a str,
    status: &'static str,
    #[serde(serialize_with = "whole")]
    complete: f32,
    partitions: Vec<Partition<'a>>,
    partition_count: usize,
    maxlag: Option<Partition<'a>>,
    totallag: u64,
}

impl<'a> Status<'a> {
    /// The status of a group; of `None` that there is no such group. Only partitions that aren't OK, unless `all`.
    pub fn new(
        cluster: &'a str,
        group: &'a str,
        judged: Option<&'a Judged<'a>>,
        all: bool,
    ) -> Self {
        let Some(judged) = judged else {
            return Status {
                cluster,
                group,
                status: crate::lag::Status::NotFound.as_str(),
                complete: 1.0,
                partitions: Vec::new(),
                partition_count: 0,
                maxlag: None,
                totallag: 0,
            };
        };
        let verdict = &judged.verdict;
        let places = 0..verdict.partitions.len();
        let part = |place: usize| Some(partition(judged, place, verdict.partitions.get(place)?));
        let is_shown = |part: &PartitionVerdict<'_>| all || part.status > crate::lag::Status::Ok;
        let shown = places.filter(|n| verdict.partitions.get(*n).is_some_and(is_shown));
        Status {
            cluster,
            group,
            status: verdict.status.as_str(),
            complete: verdict.complete,
            partitions: shown.filter_map(part).collect(),
            partition_count: verdict.partitions.len(),
            maxlag: verdict.max_lag.and_then(part),
            totallag: verdict.total_lag,
        }
    }
}

fn partition<'a>(
    judged: &'a Judged<'a>,
    place: usize,
    verdict: &PartitionVerdict<'a>,
) -> Partition<'a> {
    let owner = judged.owner(place);
    Partition {
        topic: verdict.id.topic,
        partition: verdict.id.partition,
        owner: owner.map_or("", |owner| &owner.host),
        client_id: owner.map_or("", |owner| &owner.client_id),
        status: verdict.status.as_str(),
        start: verdict.start.as_ref().map(Offset::from),
        end: verdict.end.as_ref().map(Offset::from),
        current_lag: verdict.current_lag,
        complete: verdict.complete,
    }
}

/// Go writes a whole float without a fraction.
fn whole<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    match value.fract() == 0.0 && value.abs() < 1e6 {
        true => serializer.serialize_i64(*value as i64),
        false => serializer.serialize_f32(*value),
    }
}

/// A partition in a group's detail.
#[derive(Debug, Serialize)]
pub struct Detail<'a> {
    offsets: Vec<Option<Offset>>,
    owner: &'a str,
    client_id: &'a str,
    #[serde(rename = "current-lag")]
    current_lag: u64,
}

/// A group's detail, by topic; `None` if it isn't known.
pub fn detail<'a>(
    store: &'a Store,
    group: &str,
    now_ms: i64,
) -> Option<BTreeMap<&'a str, Vec<Detail<'a>>>> {
    let mut topics: BTreeMap<&str, Vec<Detail<'_>>> = BTreeMap::new();
    for part in store.group(group, now_ms)? {
        let commits = part.seen.commits;
        // As long as the window, unless nothing was ever committed: what is missing stands before the oldest.
        let missing = match commits.is_empty() {
            true => 0,
            false => commits.capacity() - commits.len(),
        };
        let known = commits.iter().map(|commit| Some(Offset::from(commit)));
        topics.entry(part.seen.id.topic).or_default().push(Detail {
            offsets: (0..missing).map(|_| None).chain(known).collect(),
            owner: part.owner.map_or("", |owner| &owner.host),
            client_id: part.owner.map_or("", |owner| &owner.client_id),
            current_lag: part.seen.current_lag(),
        });
    }
    Some(topics)
}

#[derive(Debug, Serialize)]
struct ClientProfile<'a> {
    name: &'a str,
    #[serde(rename = "client-id")]
    client_id: &'a str,
    #[serde(rename = "kafka-version")]
    kafka_version: &'a str,
    tls: Option<()>,
    sasl: Option<()>,
}

impl<'a> ClientProfile<'a> {
    fn new(watched: &'a Watched) -> Self {
        ClientProfile {
            name: &watched.about.name,
            client_id: &watched.about.client_id,
            kafka_version: "",
            tls: None,
            sasl: None,
        }
    }
}

/// A cluster's module.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterModule<'a> {
    class_name: &'static str,
    servers: &'a [String],
    client_profile: ClientProfile<'a>,
    topic_refresh: u64,
    offset_refresh: u64,
}

/// What Burrow would call its consumer's module.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConsumerModule<'a> {
    class_name: &'static str,
    cluster: &'a str,
    servers: &'a [String],
    group_allowlist: &'a str,
    zookeeper_path: &'static str,
    zookeeper_timeout: i32,
    client_profile: ClientProfile<'a>,
    offsets_topic: &'static str,
    start_latest: bool,
}

/// What Burrow would call its storage's module.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StorageModule<'a> {
    class_name: &'static str,
    intervals: usize,
    min_distance: i64,
    group_allowlist: &'a str,
    expire_group: i64,
}

/// What Burrow would call its evaluator's module.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EvaluatorModule {
    class_name: &'static str,
    expire_cache: i64,
}

/// Seconds, as Burrow has all times in its configuration.
fn seconds(ms: u64) -> u64 {
    ms / 1_000
}

impl<'a> ClusterModule<'a> {
    pub fn new(watched: &'a Watched) -> Self {
        ClusterModule {
            class_name: "kafka",
            servers: &watched.about.servers,
            client_profile: ClientProfile::new(watched),
            topic_refresh: seconds(watched.about.topic_refresh_ms),
            offset_refresh: seconds(watched.about.offset_refresh_ms),
        }
    }
}

impl<'a> ConsumerModule<'a> {
    pub fn new(watched: &'a Watched) -> Self {
        ConsumerModule {
            class_name: "kafka",
            cluster: &watched.about.name,
            servers: &watched.about.servers,
            group_allowlist: &watched.about.include,
            zookeeper_path: "",
            zookeeper_timeout: 0,
            client_profile: ClientProfile::new(watched),
            offsets_topic: "__consumer_offsets",
            start_latest: false,
        }
    }
}

impl<'a> StorageModule<'a> {
    pub fn new(watched: &'a Watched) -> Self {
        let store = watched.store();
        StorageModule {
            class_name: "inmemory",
            intervals: store.keep().intervals,
            min_distance: store.keep().min_distance_ms / 1_000,
            group_allowlist: &watched.about.include,
            expire_group: store.keep().expire_ms / 1_000,
        }
    }
}

impl EvaluatorModule {
    /// Nothing is cached here: each answer is judged when it is asked for.
    pub fn new() -> Self {
        EvaluatorModule {
            class_name: "caching",
            expire_cache: 0,
        }
    }
}
