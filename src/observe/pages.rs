//! The pages' JSON, as far as it is looked at. Whatever is missing is empty: the process may be of another version.

use serde::{Deserialize, Serialize};

use crate::status::Verdict;

/// How the lag of a group or a partition is judged: a [`Verdict`], as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Burrow's word; none where nothing was judged.
    pub status: Option<String>,
    /// Why, in words.
    pub reason: String,
    /// Records that are left to read.
    pub lag: Option<u64>,
    /// The age of the oldest of them (milliseconds).
    pub time_lag_ms: Option<u64>,
    /// Whether it is older than that.
    pub time_lag_is_more: bool,
    /// Offsets committed a second.
    pub consumed_per_s: Option<f64>,
    /// Offsets appended a second.
    pub produced_per_s: Option<f64>,
    /// `done`, `in_seconds`, `never`, `unknown`.
    pub catch_up: String,
    /// In so many seconds it will have caught up.
    pub catch_up_s: Option<f64>,
}

impl From<Verdict> for Figures {
    fn from(verdict: Verdict) -> Self {
        Figures {
            status: Some(verdict.status.to_owned()),
            reason: verdict.reason,
            lag: Some(verdict.lag),
            time_lag_ms: verdict.time_lag_ms,
            time_lag_is_more: verdict.time_lag_is_more,
            consumed_per_s: verdict.consumed_per_s,
            produced_per_s: verdict.produced_per_s,
            catch_up: verdict.catch_up.to_owned(),
            catch_up_s: verdict.catch_up_s,
        }
    }
}

/// A sink, of `/api/v1/status`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// `elasticsearch` or `hdfs`.
    pub kind: String,
    /// Its consumer group; none if its partitions are fixed.
    pub group: Option<String>,
    /// One word.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// By request.
    pub paused: bool,
    /// Its workers.
    pub workers: Vec<Worker>,
    /// Sum of the partitions' lags.
    pub lag: Option<u64>,
    /// How its lag is judged.
    pub verdict: Option<Figures>,
}

/// A worker of a sink.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// Its partitions.
    pub partitions: Vec<SinkPartition>,
}

/// A partition of a sink.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SinkPartition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// One word.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// The committed offset.
    pub committed: Option<i64>,
    /// Where the log ends.
    pub log_end: Option<i64>,
    /// Records left to acknowledge.
    pub lag: Option<u64>,
    /// How its lag is judged.
    pub verdict: Option<Figures>,
}

/// `/api/v1/groups`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Groups {
    /// What is watched.
    pub clusters: Vec<Cluster>,
    /// The groups.
    pub groups: Vec<Group>,
    /// So many more there are.
    pub groups_left_out: usize,
}

/// A watched cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Its name.
    pub cluster: String,
    /// Whether everything that was there at the start has been read.
    pub is_ready: bool,
    /// What is wrong, in words.
    pub trouble: Option<String>,
}

/// A group.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub group: String,
    /// How many partitions it has.
    pub num_partitions: usize,
    /// How full its windows are (0 to 1).
    pub complete: f32,
    /// How its lag is judged.
    #[serde(flatten)]
    pub figures: Figures,
}

/// `/api/v1/groups/{cluster}/{group}`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// The partitions.
    pub partitions: Vec<GroupPartition>,
    /// So many more there are.
    pub partitions_left_out: usize,
}

/// A partition of a group.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GroupPartition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The host of who has it.
    pub owner: Option<String>,
    /// Its `client.id`.
    pub client_id: Option<String>,
    /// The committed offset.
    pub committed: Option<i64>,
    /// Where the log ends.
    pub log_end: Option<i64>,
    /// How its lag is judged.
    #[serde(flatten)]
    pub figures: Figures,
}
