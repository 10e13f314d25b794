//! Snapshots: what observers (admin HTTP, metrics, the lag evaluator) may see of a running pipeline. Workers
//! publish them; nothing on the record's way waits for a reader. Serialised as they are by `/api/v1/status`.

use std::cmp::Ordering;

use serde::Serialize;

/// A sink's circuit: closed (working), open (waiting, one probe at a time), half open (a probe is out).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// Working.
    #[default]
    Closed,
    /// The sink can't take anything; the next probe is at most 2 s away.
    Open,
    /// A probe is out.
    HalfOpen,
}

/// What a sink says of itself.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SinkHealth {
    /// The circuit.
    pub circuit: CircuitState,
    /// Since when (Unix milliseconds).
    pub since_ms: i64,
    /// Why it isn't closed, in words.
    pub reason: Option<String>,
    /// Whether it isn't closed because of something that only a person can mend (credentials, a blocked
    /// index), rather than an outage, which is waited out.
    pub needs_a_person: bool,
    /// The last error, even if it is over.
    pub last_error: Option<String>,
    /// When that was (Unix milliseconds).
    pub last_error_ms: Option<i64>,
    /// Requests (bulk requests, file commits) in flight.
    pub in_flight: u64,
    /// What the sink likes to tell besides (batch bytes, concurrency, open files): name and value.
    pub details: Vec<(String, String)>,
}

/// The state of a partition in a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// Assigned; its position is being looked up in Kafka.
    #[default]
    Locating,
    /// The sink is opening it.
    Opening,
    /// Records flow.
    Running,
    /// Open, and waiting for room in its span, for its turn, for its index, for Kafka or the end of a pause: see
    /// `reason`.
    Waiting,
    /// Being drained before it is given back.
    Draining,
    /// Stuck until a person acts or the fault goes away: see `reason`.
    Quarantined,
}

/// How a partition's, or a group's, lag is judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Burrow's word: OK, WARN, ERR (groups), STOP, STALL, REWIND (partitions).
    pub status: &'static str,
    /// Why, in words.
    pub reason: String,
    /// Records that are left to read.
    pub lag: u64,
    /// The age of the oldest of them (milliseconds).
    pub time_lag_ms: Option<u64>,
    /// Whether it is older than that: the log wasn't looked at before.
    pub time_lag_is_more: bool,
    /// Offsets committed a second.
    pub consumed_per_s: Option<f64>,
    /// Offsets appended a second.
    pub produced_per_s: Option<f64>,
    /// `done`, `in_seconds`, `keeps_up` (always a little behind), `never` (at these paces), `unknown`.
    pub catch_up: &'static str,
    /// In so many seconds it will have caught up; none for `keeps_up`, `never` and `unknown`.
    pub catch_up_s: Option<f64>,
}

/// Which of two partitions takes longer to catch up, by `catch_up` and `catch_up_s`: one that never will keeps the whole
/// from it, and of one that nobody knows says nothing.
pub fn later_caught_up(one: (&str, Option<f64>), other: (&str, Option<f64>)) -> Ordering {
    let rank = |(word, seconds): (&str, Option<f64>)| {
        let rank = match word {
            "never" => 3,
            "in_seconds" => 2,
            "done" | "keeps_up" => 1,
            _ => 0,
        };
        (rank, seconds.unwrap_or(0.0))
    };
    let (one, other) = (rank(one), rank(other));
    one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
}

/// One partition as its worker sees it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PartitionStatus {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Our epoch of its assignment.
    pub epoch: u64,
    /// What it is doing.
    pub state: PartitionState,
    /// Why, where that isn't plain.
    pub reason: Option<String>,
    /// Whether it stands still for something that only a person can mend, rather than for its turn or for
    /// the end of an outage.
    pub needs_a_person: bool,
    /// Whether it is read, and nothing has come of it for long though its log goes on: `reason` says more.
    pub waits_for_kafka: bool,
    /// Whether nothing is wrong with it, and it merely waits for its turn, or for what was read of it to be final:
    /// `reason` says more.
    pub waits_for_turn: bool,
    /// Next offset to read from Kafka.
    pub next: Option<i64>,
    /// Everything below is final: what may be committed.
    pub acked: Option<i64>,
    /// What was last committed to Kafka.
    pub committed: Option<i64>,
    /// How many commits of it this worker has had acknowledged, those of the same offset counted.
    pub num_commits: u64,
    /// Log end offset (last stable offset under `read_committed`), as last seen.
    pub log_end: Option<i64>,
    /// `log_end - acked`, never negative; 0 when the position is at the end.
    pub lag: Option<i64>,
    /// Timestamp of the newest acked record (Unix ms).
    pub acked_timestamp_ms: Option<i64>,
    /// How the group's committed offset last differed from what this worker had committed, in words.
    pub commit_mismatch: Option<String>,
    /// How its lag is judged, once it is.
    pub verdict: Option<Verdict>,
}

impl PartitionStatus {
    /// Whether it waits for what isn't there (its index, Kafka), and not for its turn.
    pub fn is_held_up(&self) -> bool {
        self.state == PartitionState::Waiting && self.reason.is_some() && !self.waits_for_turn
    }
}

/// One worker.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WorkerStatus {
    /// Its number within the sink.
    pub worker: usize,
    /// `starting`, `running`, `idle` (no partitions), `restarting`, `fenced` (another process has its instance
    /// id: it stays out), `stopped`.
    pub state: String,
    /// Why, where that isn't plain.
    pub reason: Option<String>,
    /// Its partitions.
    pub partitions: Vec<PartitionStatus>,
    /// Rebalances since the start.
    pub rebalances: u64,
    /// When the last commit was acknowledged (Unix ms).
    pub last_commit_ms: Option<i64>,
    /// The client's last error, in words, and whether brokers are reachable.
    pub kafka_error: Option<String>,
    /// Whether that error is one that only a person can mend.
    pub kafka_needs_a_person: bool,
    /// When the loop last went round (Unix ms).
    pub beat_ms: Option<i64>,
}

/// What a sink has done since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Records taken from Kafka.
    pub records: u64,
    /// Records acknowledged by the sink.
    pub acked_records: u64,
    /// Dead letters acknowledged.
    pub dead_letters: u64,
}

/// One sink, all of it.
#[derive(Debug, Clone, Serialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// `elasticsearch` or `hdfs`.
    pub kind: &'static str,
    /// Its consumer group; none if its partitions are fixed.
    pub group: Option<String>,
    /// One word for the whole: `running`, `waiting` (the circuit is open, Kafka is away, or
    /// every partition's index is unavailable), `stuck` (a partition is
    /// quarantined), `fenced`, `restarting` (a worker is), `paused` (by request), `starting`, `stopped`.
    pub state: String,
    /// Why, in words.
    pub reason: Option<String>,
    /// Whether it is paused by request, in this process and until it ends; `state` may have something worse to say.
    pub paused: bool,
    /// The sink's own view.
    pub health: SinkHealth,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
    /// Sum of the partitions' lags, as far as they are known.
    pub lag: Option<i64>,
    /// What it has done.
    pub totals: Totals,
    /// How its group's lag is judged by this process' partitions, once it is.
    pub verdict: Option<Verdict>,
}
