//! One partition under the worker's control: its state, its tracker, and the rules for where it may start.

use std::time::{Duration, Instant};

use crate::config::settings::OffsetLost;
use crate::error::{Error, Kind};
use crate::offsets::{Epoch, Range, TopicPartition, Tracker};
use crate::pipeline::source::Location;
use crate::status::{PartitionState, PartitionStatus};

/// What a partition is doing. Each state owns the data of its step.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// Waiting for `Located`.
    Locating,
    /// Waiting for the sink's `Opened`.
    Opening,
    /// The sink is open at an offset beyond the log's end as it was seen: look again before believing it.
    Verifying { reading: bool },
    /// The first position is being made durable; then it starts.
    CommittingFirst { reading: bool },
    /// Records flow.
    Running,
    /// Open, not delivered: the sink said so (its turn is over; or its index is unavailable, then `reason` says so).
    Paused,
    /// Open, not delivered: too much between the frontier and the newest record taken.
    SpanFull,
    /// What was taken is being flushed.
    Draining(DrainFor),
    /// Drained or closed; waits for the others of its revocation.
    Drained,
    /// Fenced: waits for a commit of the current generation, asked for later than this one.
    Fenced { after: u64 },
    /// Will be opened again at this time.
    BackingOff { until: Instant },
    /// Stuck until a person releases it.
    Quarantined,
}

/// Why a partition is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DrainFor {
    /// It is given back, or the process ends.
    Release,
    /// A record of it can't go on: what came before it is flushed, until then.
    Quarantine { until: Instant },
}

/// A partition that this worker holds.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub id: TopicPartition,
    pub epoch: Epoch,
    pub state: State,
    /// Why it isn't running, for people.
    pub reason: Option<Error>,
    pub tracker: Option<Tracker>,
    pub location: Option<Location>,
    /// What this process knows to be final, over all epochs of one ownership.
    pub floor: Option<i64>,
    /// Where delivery starts, if that is after the tracker's next (a range is skipped).
    pub start_at: i64,
    /// A policy sent the partition back to this offset.
    pub sent_back_to: Option<i64>,
    /// What this epoch has committed, or found committed.
    pub committed: Option<i64>,
    /// Whether this epoch has committed it: only then it may be committed again as a heartbeat. A value that
    /// was merely found may have been overtaken since, by a late commit of the owner before.
    pub committed_it: bool,
    /// How many commits of it were acknowledged in this worker.
    pub num_commits: u64,
    /// The last commit that was answered wasn't taken: the next try waits for a pause.
    pub commit_failed: bool,
    /// How the group's offset last differed from what was committed, if it ever did.
    pub commit_mismatch: Option<String>,
    /// Off once the broker has said that the log was truncated: it would say so for ever.
    pub trusts_leader_epoch: bool,
    /// From here on the broker's log isn't the one that was read, as it has said; not judged yet.
    pub parted_at: Option<i64>,
    /// Failed openings and rewinds in a row.
    pub failures: u32,
    /// A person has released it: what stopped it is to be accepted.
    pub released: bool,
    /// Newest acked timestamp and the samples for it.
    pub timestamps: Timestamps,
}

impl Partition {
    pub fn new(id: TopicPartition, epoch: Epoch) -> Self {
        Partition {
            id,
            epoch,
            state: State::Locating,
            reason: None,
            tracker: None,
            location: None,
            floor: None,
            start_at: 0,
            sent_back_to: None,
            committed: None,
            committed_it: false,
            num_commits: 0,
            commit_failed: false,
            commit_mismatch: None,
            trusts_leader_epoch: true,
            parted_at: None,
            failures: 0,
            released: false,
            timestamps: Timestamps::default(),
        }
    }

    /// Whether the sink holds something for it that must be closed.
    pub fn is_open_in_sink(&self) -> bool {
        matches!(
            self.state,
            State::Opening
                | State::Verifying { .. }
                | State::CommittingFirst { .. }
                | State::Running
                | State::Paused
                | State::SpanFull
                | State::Draining(_)
        )
    }

    /// Everything below is final.
    pub fn committable(&self) -> Option<i64> {
        self.tracker.as_ref().map(Tracker::committable)
    }

    /// What is final and not known to be committed: the offset to commit.
    pub fn news(&self) -> Option<i64> {
        let committable = self.committable()?;
        let is_news = self
            .committed
            .is_none_or(|committed| committable > committed);
        is_news.then_some(committable)
    }

    /// Whether its records flow, or will by themselves once it isn't held back: what a synchronous commit waits
    /// for. Not so what waits aside for its index, for another owner or for a person: that stops only itself.
    pub fn is_delivered(&self) -> bool {
        matches!(
            self.state,
            State::Running | State::SpanFull | State::Draining(DrainFor::Release)
        )
    }

    /// Whether what was taken of it is on its way, or it waits for its turn: what comes of that is committed in time.
    pub fn is_at_work(&self) -> bool {
        match self.state {
            State::Paused => self.reason.is_none(),
            _ => self.is_delivered() && !self.is_final(),
        }
    }

    /// The leader epoch that was found committed with `offset`: committing the offset again without it would
    /// take the broker's means to tell a truncation.
    pub fn found_leader_epoch(&self, offset: i64) -> Option<i32> {
        let found = self.location.as_ref()?.committed.as_ref()?;
        (found.offset == offset).then_some(found.leader_epoch)
    }

    /// Where the records before `offset` were found to end, if it was found committed and they end earlier.
    pub fn found_records_end(&self, offset: i64) -> Option<i64> {
        let found = self.location.as_ref()?.committed.as_ref()?;
        (found.offset == offset && found.records_end() < offset).then(|| found.records_end())
    }

    /// Whether everything taken is final.
    pub fn is_final(&self) -> bool {
        self.tracker.as_ref().is_none_or(Tracker::is_final)
    }

    /// Whether all that is final is committed.
    pub fn is_committed(&self) -> bool {
        self.committable()
            .is_none_or(|offset| self.committed.is_some_and(|c| c >= offset))
    }

    /// The partition as observers see it.
    pub fn snapshot(&self, log_end: &impl Fn(&TopicPartition) -> Option<i64>) -> PartitionStatus {
        let acked = self.committable().or(self.floor);
        let log_end = log_end(&self.id).or(self.location.as_ref().map(|l| l.log_end));
        let behind = acked
            .or(self.committed)
            .zip(log_end)
            .map(|(at, end)| (end - at).max(0));
        PartitionStatus {
            topic: self.id.topic.to_string(),
            partition: self.id.partition,
            epoch: self.epoch.0,
            state: self.shown(),
            reason: self.reason.as_ref().map(ToString::to_string),
            needs_a_person: self.needs_a_person(),
            waits_for_kafka: false,
            waits_for_turn: false,
            next: self.tracker.as_ref().map(Tracker::next),
            acked,
            committed: self.committed,
            num_commits: self.num_commits,
            log_end,
            lag: behind,
            acked_timestamp_ms: self.timestamps.newest_acked(),
            commit_mismatch: self.commit_mismatch.clone(),
            verdict: None,
        }
    }

    /// Whether it stands still for what doesn't go away by itself.
    fn needs_a_person(&self) -> bool {
        let is_misconfigured = |why: &Error| why.kind == Kind::Misconfigured;
        match self.state {
            State::Draining(DrainFor::Quarantine { .. }) | State::Quarantined => true,
            State::Paused => self.reason.as_ref().is_some_and(is_misconfigured),
            _ => false,
        }
    }

    /// The state as observers see it.
    pub fn shown(&self) -> PartitionState {
        match self.state {
            State::Locating | State::Verifying { .. } => PartitionState::Locating,
            State::Opening | State::CommittingFirst { .. } => PartitionState::Opening,
            State::Running => PartitionState::Running,
            State::Paused | State::SpanFull => PartitionState::Waiting,
            State::Fenced { .. } | State::BackingOff { .. } => PartitionState::Opening,
            State::Draining(DrainFor::Release) | State::Drained => PartitionState::Draining,
            State::Draining(DrainFor::Quarantine { .. }) | State::Quarantined => {
                PartitionState::Quarantined
            }
        }
    }
}

/// How long to wait before the `failures`-th opening in a row: doubling from 200 ms to `longest`.
pub(super) fn reopen_after(failures: u32, longest: Duration) -> Duration {
    Duration::from_millis(200 << failures.saturating_sub(1).min(8)).min(longest)
}

/// Where to start, given what the sink wants and what the broker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// Everything is there.
    At(i64),
    /// The policy says to go on elsewhere; this range is never delivered.
    Skipping {
        at: i64,
        lost: Range,
        reason: &'static str,
    },
    /// Stop, and say so.
    Stop(Error),
}

/// What may be done about offsets that are lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leave {
    pub policy: OffsetLost,
    /// The sink can take offsets that it has seen before (Elasticsearch can, HDFS can't).
    pub can_go_back: bool,
    /// A person has released the partition.
    pub released: bool,
}

impl Leave {
    fn policy(self) -> OffsetLost {
        match self.policy {
            OffsetLost::Stop if self.released => OffsetLost::Earliest,
            policy => policy,
        }
    }
}

/// Judges a resume offset against the broker's log (I7: no silent skip), which may have parted from the one
/// that was read, at `parted_at`.
pub(super) fn judge(
    id: &TopicPartition,
    resume: i64,
    parted_at: Option<i64>,
    location: &Location,
    leave: Leave,
) -> Start {
    let (log_start, log_end) = (location.log_start, location.log_end);
    if resume < log_start {
        return judge_retention(id, resume, location, leave.policy());
    }
    if let Some(parted) = parted_at.map(|at| at.min(log_end).max(log_start))
        && parted < resume
    {
        return judge_truncation(id, resume, parted, log_end, leave);
    }
    if resume > log_end {
        let at = match leave.policy() {
            OffsetLost::Earliest => Some(log_start),
            OffsetLost::Latest => Some(log_end),
            OffsetLost::Stop => None,
        };
        return match at.filter(|_| leave.can_go_back) {
            Some(at) => Start::Skipping {
                at,
                lost: Range::new(log_end, resume),
                reason: "truncated",
            },
            None => Start::Stop(Error::corrupt(format!(
                "{id}: the next offset to read is {resume}, but the broker's log ends at {log_end}: it was \
                 truncated, or the topic was deleted and created again; find out which before anything is \
                 read from it"
            ))),
        };
    }
    Start::At(resume)
}

fn judge_retention(
    id: &TopicPartition,
    resume: i64,
    location: &Location,
    policy: OffsetLost,
) -> Start {
    let (log_start, log_end) = (location.log_start, location.log_end);
    let skipping = |at| Start::Skipping {
        at,
        lost: Range::new(resume, at),
        reason: "retention",
    };
    match policy {
        OffsetLost::Earliest => skipping(log_start),
        OffsetLost::Latest => skipping(log_end),
        OffsetLost::Stop => Start::Stop(Error::corrupt(format!(
            "{id}: offsets {} were never read and are gone from the broker, whose oldest is {log_start} \
             (retention, or deleted records); release the partition to go on at {log_start}, or set \
             kafka.on_offset_lost",
            Range::new(resume, log_start)
        ))),
    }
}

/// The broker has other records than were read, from `parted` on. Whoever can goes back there: the records that
/// came instead are as good as new ones, whatever the policy says about old ones.
fn judge_truncation(
    id: &TopicPartition,
    resume: i64,
    parted: i64,
    log_end: i64,
    leave: Leave,
) -> Start {
    let skipping = |at| Start::Skipping {
        at,
        lost: Range::new(parted, resume),
        reason: "truncated",
    };
    match leave.policy() {
        OffsetLost::Earliest | OffsetLost::Latest if leave.can_go_back => skipping(parted),
        // The sink has something for every offset below: what came instead can't be written any more.
        OffsetLost::Earliest | OffsetLost::Latest if leave.released && resume <= log_end => {
            skipping(resume)
        }
        _ => Start::Stop(truncated(id, parted, resume, leave.can_go_back)),
    }
}

/// Why a partition stops whose log parts from what was read.
pub(super) fn truncated(id: &TopicPartition, parted: i64, next: i64, can_go_back: bool) -> Error {
    let then = match can_go_back {
        true => {
            format!("release the partition to read on from {parted}, or set kafka.on_offset_lost")
        }
        false => format!(
            "what stands there now can't be written over what was written from these offsets; release the \
             partition to go on at {next}"
        ),
    };
    Error::corrupt(format!(
        "{id}: the broker's log was cut off at offset {parted}, and {next} was to be read next: records in \
         {} were lost or replaced; {then}",
        Range::new(parted, next)
    ))
}

/// Timestamps of what was taken, thinned out, so that the age of what is acked can be told.
#[derive(Debug, Clone, Default)]
pub(super) struct Timestamps {
    samples: std::collections::VecDeque<(i64, i64)>,
    acked: Option<i64>,
}

impl Timestamps {
    const MOST: usize = 512;

    /// The record before offset `end` has this timestamp (Unix ms).
    pub fn taken(&mut self, end: i64, timestamp_ms: i64) {
        if self.samples.len() == Self::MOST {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.samples.push_back((end, timestamp_ms));
    }

    /// Everything below `end` is final: the timestamp of the newest sample below it, if it is news.
    pub fn acked(&mut self, end: i64) -> Option<i64> {
        let mut news = None;
        while let Some(&(sample, timestamp)) = self.samples.front()
            && sample <= end
        {
            news = Some(timestamp);
            self.samples.pop_front();
        }
        self.acked = news.or(self.acked);
        news
    }

    /// The timestamp of the newest record known to be final.
    pub fn newest_acked(&self) -> Option<i64> {
        self.acked
    }
}
