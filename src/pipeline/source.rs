//! What the pipeline asks of its source, so that the loop runs the same on Kafka and in the simulator.
//!
//! A partition is delivered only between [`Source::start`] and [`Source::stop`]. There is no pause and no
//! seek: waiting is being stopped, going on is being started at an offset of the tracker's. (The client's own
//! position can't be trusted after a pause; see docs/adr.)

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::offsets::{Epoch, Note, TopicPartition};
use crate::sinks::{Record, Slot, Waker};

/// What the client tells the loop.
#[derive(Debug)]
pub enum SourceEvent {
    /// The group gave us these, or they are fixed (then once, at the beginning). They are ours from now on;
    /// nothing is delivered before `start`.
    Assigned(Vec<TopicPartition>),
    /// The group wants these back. Answer with [`Source::release`] once they are drained and committed.
    Revoked(Vec<TopicPartition>),
    /// These are somebody else's already. Answer with [`Source::release`] at once; commit nothing.
    Lost(Vec<TopicPartition>),
    /// The answer to [`Source::locate`].
    Located {
        /// Which partition.
        partition: TopicPartition,
        /// The epoch that asked.
        epoch: Epoch,
        /// What was found.
        found: Result<Location, Error>,
    },
    /// The answer to [`Source::commit`] with the same number.
    Committed {
        /// The number that the commit was given.
        number: u64,
        /// Whether the group took it. `Fenced`: our membership is over, a rebalance will follow.
        result: Result<(), Error>,
    },
    /// The group took these partitions of a commit, and not all: `Committed` follows, and says why.
    CommittedInPart {
        /// The number that the commit was given.
        number: u64,
        /// Those that were taken.
        partitions: Vec<TopicPartition>,
    },
    /// Read back from the group, a committed offset isn't what this source has committed.
    CommitMismatch {
        /// Which partition.
        partition: TopicPartition,
        /// What the group had acknowledged.
        ours: i64,
        /// What it has; `None`: nothing.
        found: Option<i64>,
    },
    /// A topic has more partitions than it had, whoever is given them.
    Grew {
        /// The topic.
        topic: Arc<str>,
        /// How many it has now.
        partitions: i32,
    },
    /// This partition's delivery has stopped by itself.
    Broken {
        /// Which partition.
        partition: TopicPartition,
        /// What happened.
        why: Broken,
    },
    /// Something to show; the client goes on by itself. `None`: it is well again.
    Trouble(Option<Error>),
    /// The client is beyond repair: build another.
    Fatal(Error),
}

/// Why a partition's delivery has stopped by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The offset isn't there: retention, a re-created topic.
    OffsetOutOfRange(String),
    /// The log was truncated below what we had read.
    Truncated {
        /// Where the log that we had read and the broker's part: from this offset on, records were lost or
        /// replaced. `None` if they have nothing in common.
        at: Option<i64>,
        /// The client's words.
        what: String,
    },
    /// Anything else (authorisation, an unknown topic, a corrupt batch); it is tried again.
    Other(Error),
}

/// Where a partition stands in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The cluster's id.
    pub cluster_id: String,
    /// The topic's id, base64.
    pub topic_id: String,
    /// How many partitions the topic has.
    pub num_partitions: i32,
    /// The group has positions in the topic that are older than this partition.
    pub appeared_later: bool,
    /// When the group first began (Unix ms), if its commits or this consumer's start tell: to be committed.
    pub since_ms: Option<i64>,
    /// The group's committed offset.
    pub committed: Option<Committed>,
    /// Where to start if the sink doesn't know better: the committed offset, or what the reset policy says. An
    /// error if that is that nobody may guess.
    pub start: Result<i64, Error>,
    /// The oldest offset that the broker still has.
    pub log_start: i64,
    /// The log end offset (last stable offset under `read_committed`).
    pub log_end: i64,
}

/// A committed offset as the group has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Next offset to read.
    pub offset: i64,
    /// Leader epoch of the record before it, -1 if unknown.
    pub leader_epoch: i32,
    /// Whatever was committed with it.
    pub metadata: String,
}

impl Committed {
    /// Where the records before the offset end, as far as whoever committed it has said: a sink whose own log
    /// ends here misses nothing, since from here to the offset there are none (transactions' markers).
    pub fn records_end(&self) -> i64 {
        let note = Note::parse(&self.metadata);
        let end = note.and_then(|note| note.records_end);
        end.map_or(self.offset, |end| end.min(self.offset))
    }
}

/// One partition's part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Which partition.
    pub partition: TopicPartition,
    /// Next offset to read.
    pub offset: i64,
    /// Leader epoch of the record before it, -1 if unknown.
    pub leader_epoch: i32,
    /// A [`Note`](crate::offsets::Note), for whoever opens the partition next. At most 4,096 bytes.
    pub metadata: String,
}

/// What a source remarks about its membership and its partitions, for people and dashboards; decides nothing.
#[derive(Debug, Default)]
pub struct Remarks {
    /// Why the group has no partition for this worker.
    pub idle: Option<String>,
    /// How long rebalances have held up partitions that are read again, since last asked.
    pub stood_still: Vec<Duration>,
    /// Partitions that are started and deliver nothing, for long, though their logs go on; and why.
    pub standing_still: HashMap<TopicPartition, String>,
}

/// A consumer: one worker's own. Nothing here blocks longer than it says.
pub trait Source {
    /// Serves the client's main queue (heartbeats, rebalances, callbacks) without waiting.
    fn poll(&mut self, events: &mut Vec<SourceEvent>);

    /// Looks up where a partition stands, beside the loop, through an outage of any length; answered by
    /// `Located` (dropped if the partition is released first).
    fn locate(&mut self, partition: &TopicPartition, epoch: Epoch);

    /// Delivers a partition's records from `offset` on, as `slot`. The leader epoch (of the record before
    /// `offset`, -1 if unknown) lets the broker tell a truncation.
    fn start(&mut self, slot: Slot, partition: &TopicPartition, offset: i64, leader_epoch: i32);

    /// Stops delivering these partitions; nothing of them comes out of `take` afterwards. May be called for
    /// partitions that aren't started.
    fn stop(&mut self, partitions: &[TopicPartition]);

    /// Takes up to `max` records, waiting at most `wait` for the first; returns how many there were.
    fn take(&mut self, max: usize, wait: Duration, deliver: &mut dyn FnMut(&Record<'_>)) -> usize;

    /// Which partitions were found to be read to the end of their log, and the offset of that end, where it lies
    /// behind the last record: markers and aborted records are never delivered.
    fn ends(&mut self, tell: &mut dyn FnMut(Slot, i64));

    /// Commits, without waiting; answered by `Committed`. Commits never overtake each other.
    fn commit(&mut self, number: u64, commits: &[Commit]);

    /// Gives partitions back that were revoked or lost.
    fn release(&mut self, partitions: &[TopicPartition]);

    /// The log end offset of a started partition, as last seen.
    fn log_end(&self, partition: &TopicPartition) -> Option<i64>;

    /// What is worth knowing besides.
    fn remarks(&mut self) -> Remarks {
        Remarks::default()
    }

    /// Ends a wait in `take` early, from any thread.
    fn waker(&self) -> Waker;

    /// Leaves the group and closes, within `deadline`; `false` if it didn't end in time and was left behind.
    fn close(&mut self, deadline: Duration) -> bool;
}
