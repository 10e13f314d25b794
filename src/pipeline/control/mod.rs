//! The worker's control: which partitions are held, what each is doing, what may be committed. Pure: events
//! and the time come in, [`Action`]s go out; no I/O, clock, lock, log line or client type.
//!
//! Owns: epochs, trackers, revocations, quarantines, the choice of what to commit and when.
//! Does not own: the records' contents, retries towards the sink, the client.
//!
//! Three rules keep I1: a commit is made only of trackers' committable offsets; only for a partition held in
//! the epoch that took the records; and a partition is given back only after its last commit was answered.

mod commits;
mod notice;
mod opening;
mod partition;
mod pausing;
mod rebalance;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use notice::Notice;
use partition::{DrainFor, Partition, State, truncated};
pub use pausing::PAUSED;

use crate::config::settings::{CommitMode, OffsetLost, RejectedPolicy};
use crate::error::{Error, Kind};
use crate::offsets::{Epoch, TopicPartition, Tracker};
use crate::pipeline::dead_letter::{Delivery, Letter};
use crate::pipeline::source::{Broken, Commit, SourceEvent};
use crate::sinks::{Answer, Assignment, Record, Rejection, Slot};
use crate::status::PartitionStatus;

/// What the driver must do.
#[derive(Debug, Clone)]
pub enum Action {
    /// [`Source::locate`](crate::pipeline::source::Source::locate).
    Locate(TopicPartition, Epoch),
    /// [`Source::start`](crate::pipeline::source::Source::start).
    Start {
        /// Delivered as this slot.
        slot: Slot,
        /// Which partition.
        partition: TopicPartition,
        /// From this offset.
        offset: i64,
        /// Leader epoch of the record before it, -1 if unknown.
        leader_epoch: i32,
    },
    /// [`Source::stop`](crate::pipeline::source::Source::stop).
    Stop(TopicPartition),
    /// [`Source::commit`](crate::pipeline::source::Source::commit).
    Commit(u64, Vec<Commit>),
    /// [`Source::release`](crate::pipeline::source::Source::release).
    Release(Vec<TopicPartition>),
    /// [`Sink::open`](crate::sinks::Sink::open).
    Open(Assignment),
    /// [`Sink::drain`](crate::sinks::Sink::drain).
    Drain(Slot, Epoch),
    /// [`Sink::close`](crate::sinks::Sink::close).
    Close(Slot, Epoch),
    /// [`Sink::settle`](crate::sinks::Sink::settle).
    Settle(Slot, Epoch, i64),
    /// [`Sink::hold`](crate::sinks::Sink::hold).
    Hold(bool),
    /// [`DeadLetters::send`](crate::pipeline::dead_letter::DeadLetters::send).
    DeadLetter(Letter),
    /// Log and count it.
    Tell(Notice),
}

/// The rules that the user chose.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The consumer group.
    pub group: Arc<str>,
    /// What becomes of refused records.
    pub rejected: RejectedPolicy,
    /// What to do when the offset to read from isn't there.
    pub on_offset_lost: OffsetLost,
    /// When final offsets are committed, and whether records wait for that.
    pub commit_mode: CommitMode,
    /// How often final offsets are committed, with [`CommitMode::Interval`].
    pub commit_interval: Duration,
    /// Most records taken in one go.
    pub max_poll_records: usize,
    /// How long a revoked partition may take to drain.
    pub drain_timeout: Duration,
    /// Most offsets between what is final and what was taken, per partition.
    pub max_span: i64,
    /// Whether the sink can take offsets again that it has seen (Elasticsearch can, HDFS can't).
    pub can_go_back: bool,
    /// Whether a changed partition count breaks the order of a key's records in the sink.
    pub stops_on_new_partitions: bool,
    /// Whether the partitions are fixed: no group gives or takes them. So nobody says who is right if another
    /// owner takes one in the sink, and taking it back by itself would go back and forth for ever.
    pub fixed: bool,
}

/// The control of one worker.
#[derive(Debug)]
pub struct Control {
    rules: Rules,
    slots: Vec<Option<Partition>>,
    /// Ordered, so that the same events lead to the same actions.
    by_id: BTreeMap<TopicPartition, Slot>,
    last_epoch: Epoch,
    revocation: Option<rebalance::Revocation>,
    finished: Option<bool>,
    commits: commits::Commits,
    sink_is_down: bool,
    /// By request: nothing is taken, everything else goes on.
    is_paused: bool,
    rebalances: u64,
}

impl Control {
    /// A worker without partitions.
    pub fn new(rules: Rules, now: Instant) -> Self {
        Control {
            commits: commits::Commits::new(now),
            rules,
            slots: Vec::new(),
            by_id: BTreeMap::new(),
            last_epoch: Epoch(0),
            revocation: None,
            finished: None,
            sink_is_down: false,
            is_paused: false,
            rebalances: 0,
        }
    }

    /// Takes a record that the source delivered; `false` if it must be dropped (its partition isn't running
    /// any more, or it was taken before).
    #[inline]
    pub fn take(&mut self, record: &Record<'_>) -> bool {
        let Some(Some(partition)) = self.slots.get_mut(record.slot.0) else {
            return false;
        };
        if !matches!(partition.state, State::Running) {
            return false;
        }
        let Some(tracker) = partition.tracker.as_mut() else {
            return false;
        };
        tracker.take(record.offset, record.leader_epoch)
    }

    /// The source has delivered everything of `slot` that stands before `offset`, the end of the log.
    pub fn reached(&mut self, slot: Slot, offset: i64) {
        if let Some(Some(partition)) = self.slots.get_mut(slot.0)
            && matches!(partition.state, State::Running)
            && let Some(tracker) = partition.tracker.as_mut()
        {
            tracker.reach(offset);
        }
    }

    /// The record before offset `end` of `slot` had this timestamp; called once a batch, not once a record.
    pub fn saw_timestamp(&mut self, slot: Slot, end: i64, timestamp_ms: i64) {
        if let Some(Some(partition)) = self.slots.get_mut(slot.0) {
            partition.timestamps.taken(end, timestamp_ms);
        }
    }

    /// The sink refused a record, at `append` or later.
    pub fn refused(
        &mut self,
        slot: Slot,
        offset: i64,
        rejection: Rejection,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let until = now + self.rules.drain_timeout;
        let policy = self.rules.rejected.clone();
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        let is_open = partition.is_open_in_sink();
        let Some(tracker) = partition.tracker.as_mut() else {
            return;
        };
        if !is_open {
            // Closed in the same turn: whoever reads it again has it refused again.
            tracker.hold(offset);
            return;
        }
        let (id, epoch) = (partition.id.clone(), partition.epoch);
        out.push(Action::Tell(Notice::Refused(
            id.clone(),
            offset,
            rejection.clone(),
        )));
        match policy {
            RejectedPolicy::Skip => {
                out.push(Action::Tell(Notice::Dropped(id, offset, rejection.reason)));
                out.push(Action::Settle(slot, epoch, offset));
            }
            RejectedPolicy::DeadLetter { .. } => {
                tracker.hold(offset);
                out.push(Action::DeadLetter(Letter {
                    slot,
                    epoch,
                    partition: id,
                    offset,
                    rejection,
                }));
            }
            RejectedPolicy::Quarantine => {
                tracker.hold(offset);
                let why = Error::rejected(format!(
                    "{id} at offset {offset}: the sink refuses the record ({}: {}); mend the cause and \
                     release the partition, or configure a dead letter topic",
                    rejection.reason, rejection.detail
                ));
                self.quarantine(slot, why, until, out);
            }
        }
    }

    /// Something came out of the source.
    pub fn on_source(&mut self, event: SourceEvent, now: Instant, out: &mut Vec<Action>) {
        match event {
            SourceEvent::Assigned(ids) => self.assigned(ids, out),
            SourceEvent::Revoked(ids) => self.revoked(ids, now, out),
            SourceEvent::Lost(ids) => self.lost(ids, out),
            SourceEvent::Located {
                partition,
                epoch,
                found,
            } => {
                self.located(&partition, epoch, found, now, out);
            }
            SourceEvent::Committed { number, result } => self.committed(number, result, now, out),
            SourceEvent::CommittedInPart { number, partitions } => {
                self.committed_in_part(number, &partitions, out);
            }
            SourceEvent::CommitMismatch {
                partition,
                ours,
                found,
            } => self.commit_mismatch(&partition, ours, found, out),
            SourceEvent::Grew { topic, partitions } => {
                self.stop_a_topic_that_grew(&topic, partitions, None, now, out);
            }
            SourceEvent::Broken { partition, why } => self.broken(&partition, why, now, out),
            SourceEvent::Trouble(_) | SourceEvent::Fatal(_) => {}
        }
    }

    /// Something came out of the sink.
    pub fn on_answer(&mut self, answer: Answer, now: Instant, out: &mut Vec<Action>) {
        match answer {
            Answer::Opened {
                slot,
                epoch,
                resume,
                reading,
            } => {
                self.opened(slot, epoch, resume, reading, now, out);
            }
            Answer::Acked { slot, epoch, range } => {
                let Some(partition) = self.held(slot, epoch) else {
                    return;
                };
                let acked = partition.tracker.as_mut().map(|tracker| tracker.ack(range));
                if let Some(Err(violation)) = acked {
                    let why = Error::corrupt(format!(
                        "{}: the sink {violation}; this is a defect of outflow: please report it",
                        partition.id
                    ));
                    self.quarantine(slot, why, now, out);
                    return;
                }
                partition.failures = 0;
                if let Some(end) = partition.committable()
                    && let Some(timestamp) = partition.timestamps.acked(end)
                {
                    out.push(Action::Tell(Notice::AckedTimestamp(timestamp)));
                }
            }
            Answer::Refused {
                slot,
                epoch,
                offset,
                rejection,
            } => {
                if self.held(slot, epoch).is_some() {
                    self.refused(slot, offset, rejection, now, out);
                }
            }
            Answer::Pause { slot, epoch, why } => self.paused(slot, epoch, why, out),
            Answer::Resume { slot, epoch } => self.resumed(slot, epoch, out),
            Answer::Rewind { slot, epoch, why } => self.rewind(slot, epoch, why, now, out),
            Answer::Stopped { slot, epoch, why } => {
                if self.held(slot, epoch).is_some() {
                    self.quarantine(slot, why, now, out);
                }
            }
            Answer::Fenced { slot, epoch, why } => self.fenced(slot, epoch, why, now, out),
            Answer::Drained { slot, epoch } => self.drained(slot, epoch, now, out),
        }
    }

    /// Something has become of a dead letter.
    pub fn on_delivery(&mut self, delivery: Delivery, now: Instant, out: &mut Vec<Action>) {
        let Delivery {
            slot,
            epoch,
            offset,
            result,
        } = delivery;
        let Some(partition) = self.held(slot, epoch) else {
            return;
        };
        match result {
            Ok(()) => {
                if let Some(tracker) = partition.tracker.as_mut() {
                    tracker.settle(offset);
                }
                if partition.is_open_in_sink() {
                    out.push(Action::Settle(slot, epoch, offset));
                }
                out.push(Action::Tell(Notice::DeadLettered));
            }
            Err(why) => {
                let until = now + self.rules.drain_timeout;
                self.quarantine(slot, why, until, out);
            }
        }
    }

    /// Does what is due. Call it at least every 10 ms or so while anything goes on.
    pub fn tick(&mut self, now: Instant, sink_is_down: bool, out: &mut Vec<Action>) {
        self.sink_is_down = sink_is_down;
        for index in 0..self.slots.len() {
            self.tick_partition(Slot(index), now, out);
        }
        self.tick_revocation(now, out);
        self.tick_commits(now, out);
    }

    fn tick_partition(&mut self, slot: Slot, now: Instant, out: &mut Vec<Action>) {
        let max_span = self.rules.max_span;
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        let span = partition
            .tracker
            .as_ref()
            .map_or(0, |tracker| tracker.span());
        match partition.state {
            State::Running if span > max_span => {
                partition.state = State::SpanFull;
                out.push(Action::Stop(partition.id.clone()));
            }
            State::SpanFull if span <= max_span / 2 => self.start(slot, out),
            State::BackingOff { until } if until <= now => self.locate(slot, out),
            State::Draining(DrainFor::Quarantine { until }) if until <= now => {
                partition.state = State::Quarantined;
                out.push(Action::Close(slot, partition.epoch));
            }
            _ => {}
        }
    }

    /// A person releases a quarantined partition: it is opened again, and what stopped it is accepted where
    /// that can be accepted (lost offsets, a changed partition count).
    pub fn release_quarantine(
        &mut self,
        id: &TopicPartition,
        out: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let slot = self.by_id.get(id).copied();
        let partition = slot
            .and_then(|slot| self.slots.get_mut(slot.0))
            .and_then(Option::as_mut);
        match (slot, partition) {
            (Some(slot), Some(partition)) if matches!(partition.state, State::Quarantined) => {
                partition.released = true;
                self.locate(slot, out);
                Ok(())
            }
            (_, Some(partition))
                if matches!(
                    partition.state,
                    State::Draining(DrainFor::Quarantine { .. })
                ) =>
            {
                Err(Error::unavailable(format!(
                    "{id} is still flushing what came before; try again in a moment"
                )))
            }
            (_, Some(partition)) => Err(Error::rejected(format!(
                "{id} isn't quarantined but {:?}",
                partition.shown()
            ))),
            _ => Err(Error::rejected(format!("{id} isn't held by this worker"))),
        }
    }

    /// `Some(clean)` once a shutdown has run its course; clean means that everything taken is committed.
    pub fn finished(&self) -> Option<bool> {
        self.finished
    }

    /// How often partitions were assigned, revoked or lost.
    pub fn rebalances(&self) -> u64 {
        self.rebalances
    }

    /// Every partition as observers see it; `log_end` tells what the client last saw, `standing_still` what it
    /// delivers nothing of, and why, `turn` why the sink wants nothing of one.
    pub fn snapshot(
        &self,
        log_end: impl Fn(&TopicPartition) -> Option<i64>,
        standing_still: &HashMap<TopicPartition, String>,
        turn: impl Fn(Slot) -> Option<String>,
    ) -> Vec<PartitionStatus> {
        let shown = |(index, partition): (usize, &Option<Partition>)| {
            let partition = partition.as_ref()?;
            let still = standing_still.get(&partition.id);
            let turn = || self.why_waiting(partition, || turn(Slot(index)));
            Some(self.shown(partition.snapshot(&log_end), still, turn))
        };
        self.slots.iter().enumerate().filter_map(shown).collect()
    }

    /// The slots that are running, for telling sinks the log ends.
    pub fn open_partitions(&self) -> impl Iterator<Item = (Slot, &TopicPartition)> {
        let open = |(index, partition): (usize, &'_ Option<Partition>)| {
            partition
                .as_ref()
                .filter(|p| p.is_open_in_sink())
                .map(|_| Slot(index))
        };
        self.slots
            .iter()
            .enumerate()
            .filter_map(move |(index, partition)| {
                open((index, partition)).zip(partition.as_ref().map(|p| &p.id))
            })
    }

    fn held(&mut self, slot: Slot, epoch: Epoch) -> Option<&mut Partition> {
        self.slots
            .get_mut(slot.0)?
            .as_mut()
            .filter(|partition| partition.epoch == epoch)
    }

    fn next_epoch(&mut self) -> Epoch {
        self.last_epoch.0 += 1;
        self.last_epoch
    }

    /// Stops a partition for a person to look at. What came before is flushed until `until`.
    fn quarantine(&mut self, slot: Slot, why: Error, until: Instant, out: &mut Vec<Action>) {
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        let (id, epoch) = (partition.id.clone(), partition.epoch);
        out.push(Action::Stop(id.clone()));
        match partition.state {
            State::Draining(DrainFor::Release) => {
                // Somebody else will meet the same trouble; don't keep the group waiting for it.
                partition.state = State::Drained;
                out.push(Action::Close(slot, epoch));
                return;
            }
            State::Draining(DrainFor::Quarantine { .. }) | State::Quarantined | State::Drained => {
                return;
            }
            State::Running | State::Paused | State::SpanFull if why.kind == Kind::Rejected => {
                partition.state = State::Draining(DrainFor::Quarantine { until });
                out.push(Action::Drain(slot, epoch));
            }
            _ => {
                if partition.is_open_in_sink() {
                    out.push(Action::Close(slot, epoch));
                }
                partition.state = State::Quarantined;
            }
        }
        partition.reason = Some(why.clone());
        out.push(Action::Tell(Notice::Quarantined(id, why)));
    }

    fn broken(&mut self, id: &TopicPartition, why: Broken, now: Instant, out: &mut Vec<Action>) {
        let (policy, can_go_back) = (self.rules.on_offset_lost, self.rules.can_go_back);
        let Some(&slot) = self.by_id.get(id) else {
            return;
        };
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        if !matches!(partition.state, State::Running) {
            return;
        }
        let what = match why {
            Broken::Truncated { at, what } => {
                // Kept until it is judged: perhaps only after a person's word.
                partition.parted_at = Some(at.unwrap_or(0));
                partition.trusts_leader_epoch = false;
                if policy == OffsetLost::Stop {
                    let next = partition.tracker.as_ref().map_or(0, Tracker::next);
                    let why = truncated(id, at.unwrap_or(0), next, can_go_back);
                    let why = Error::corrupt(format!("{}; the client says: {what}", why.what));
                    self.quarantine(slot, why, now, out);
                    return;
                }
                what
            }
            Broken::OffsetOutOfRange(what) => {
                partition.trusts_leader_epoch = false;
                what
            }
            Broken::Other(why) => {
                let epoch = partition.epoch;
                self.rewind(slot, epoch, why, now, out);
                return;
            }
        };
        out.push(Action::Stop(id.clone()));
        partition.reason = Some(Error::unavailable(what));
        partition.state = State::Verifying { reading: true };
        out.push(Action::Locate(id.clone(), partition.epoch));
    }
}
