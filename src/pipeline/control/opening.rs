//! How a partition comes to run: locate, open, judge the offset, make a first position durable, start; and how
//! it comes back after a rewind, a fence, or a pause.

use std::time::{Duration, Instant};

use super::partition::{DrainFor, Leave, Partition, Start, State, judge, reopen_after};
use super::{Action, Control, Notice};
use crate::error::{Error, Kind};
use crate::offsets::{Epoch, Note, TopicPartition, Tracker};
use crate::pipeline::source::{Committed, Location};
use crate::sinks::{Assignment, Slot};

/// Longest wait before a partition is opened again after the sink lost work: an outage that shows only in
/// writing ends within 5 s of the sink's return.
const LONGEST_AFTER_SINK: Duration = Duration::from_secs(4);

/// Longest wait before Kafka is asked again where a partition stands.
const LONGEST_AFTER_SOURCE: Duration = Duration::from_secs(30);

impl Control {
    /// A new epoch, from the beginning.
    pub(super) fn locate(&mut self, slot: Slot, out: &mut Vec<Action>) {
        let epoch = self.next_epoch();
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        partition.floor = partition.committable().max(partition.floor);
        partition.epoch = epoch;
        partition.committed_it = false;
        partition.state = State::Locating;
        out.push(Action::Locate(partition.id.clone(), epoch));
    }

    pub(super) fn located(
        &mut self,
        id: &TopicPartition,
        epoch: Epoch,
        found: Result<Location, Error>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(&slot) = self.by_id.get(id) else {
            return;
        };
        let Some(partition) = self.held(slot, epoch) else {
            return;
        };
        let location = match found {
            Ok(location) => location,
            Err(why) => {
                if matches!(partition.state, State::Locating | State::Verifying { .. }) {
                    self.rewind(slot, epoch, why, now, out);
                }
                return;
            }
        };
        match partition.state {
            State::Locating => {
                if !partition.released {
                    let topic = partition.id.topic.clone();
                    let grown = location.num_partitions;
                    self.stop_a_topic_that_grew(&topic, grown, Some(slot), now, out);
                }
                self.open(slot, location, out);
            }
            State::Verifying { reading } => {
                let known = partition.location.as_ref().map(|at| note(at, None));
                if let Some(why) = known.and_then(|k| contradiction(&k, id, &location, false)) {
                    self.quarantine(slot, why, now, out);
                    return;
                }
                partition.location = Some(location);
                self.begin(slot, reading, now, out);
            }
            _ => {}
        }
    }

    /// Where offsets order a key's records, partitions that appear while others run are as much of a change as
    /// a count that differs from the committed one: the others stop. The new one stops in `open`.
    pub(super) fn stop_a_topic_that_grew(
        &mut self,
        topic: &str,
        num_partitions: i32,
        newcomer: Option<Slot>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        if !self.rules.stops_on_new_partitions {
            return;
        }
        for slot in (0..self.slots.len()).map(Slot) {
            let Some(Some(held)) = self.slots.get(slot.0) else {
                continue;
            };
            let before = held.location.as_ref().map(|known| known.num_partitions);
            // Fewer is what a broker says that lags behind.
            let grew = before.is_some_and(|before| before < num_partitions);
            let stands = Some(slot) == newcomer || matches!(held.state, State::Quarantined);
            if *held.id.topic == *topic && grew && !stands {
                let why = other_partitions(&held.id, before, num_partitions);
                self.quarantine(slot, why, now, out);
            }
        }
    }

    fn open(&mut self, slot: Slot, location: Location, out: &mut Vec<Action>) {
        let stops_on_new_partitions = self.rules.stops_on_new_partitions;
        let group = self.rules.group.clone();
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        let known = location
            .committed
            .as_ref()
            .and_then(|c| Note::parse(&c.metadata));
        if let Some(known) = known
            && !partition.released
            && let Some(why) =
                contradiction(&known, &partition.id, &location, stops_on_new_partitions)
        {
            self.quarantine_unopened(slot, why, out);
            return;
        }
        if stops_on_new_partitions && location.appeared_later && !partition.released {
            let why = other_partitions(&partition.id, None, location.num_partitions);
            self.quarantine_unopened(slot, why, out);
            return;
        }
        partition.committed = location
            .committed
            .as_ref()
            .map(|committed| committed.offset);
        let mut records_end = location.committed.as_ref().map(Committed::records_end);
        let start = match partition.sent_back_to.take() {
            Some(offset) => {
                partition.committed = None;
                records_end = None;
                partition.floor = None;
                partition.tracker = None;
                Ok(offset)
            }
            // Without a committed offset the reset policy would choose anew: what this process has chosen
            // stays, since its commit may be on its way.
            None => match (partition.committed, partition.floor) {
                (_, None) => location.start.clone(),
                (None, Some(floor)) => Ok(floor),
                (Some(committed), Some(floor)) => Ok(committed.max(floor)),
            },
        };
        partition.state = State::Opening;
        out.push(Action::Open(Assignment {
            slot,
            partition: partition.id.clone(),
            epoch: partition.epoch,
            cluster_id: location.cluster_id.as_str().into(),
            topic_id: location.topic_id.as_str().into(),
            num_partitions: location.num_partitions,
            group,
            committed: records_end.or(partition.committed),
            start,
            log_start: location.log_start,
            log_end: location.log_end,
            replays: None,
        }));
        partition.location = Some(location);
    }

    fn quarantine_unopened(&mut self, slot: Slot, why: Error, out: &mut Vec<Action>) {
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        partition.state = State::Quarantined;
        partition.reason = Some(why.clone());
        out.push(Action::Tell(Notice::Quarantined(partition.id.clone(), why)));
    }

    pub(super) fn opened(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        resume: i64,
        reading: bool,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(partition) = self.held(slot, epoch) else {
            return;
        };
        if !matches!(partition.state, State::Opening) {
            return;
        }
        partition.tracker = Some(Tracker::resume_at(resume));
        // Opening may have waited for hours while another owner went on: look again before judging.
        if partition
            .location
            .as_ref()
            .is_some_and(|location| resume > location.log_end)
        {
            partition.state = State::Verifying { reading };
            out.push(Action::Locate(partition.id.clone(), epoch));
            return;
        }
        self.begin(slot, reading, now, out);
    }

    /// The sink is open; is what it wants to read still there?
    fn begin(&mut self, slot: Slot, reading: bool, now: Instant, out: &mut Vec<Action>) {
        let (policy, can_go_back) = (self.rules.on_offset_lost, self.rules.can_go_back);
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        let (Some(tracker), Some(location)) = (&partition.tracker, &partition.location) else {
            return;
        };
        let (resume, committable) = (tracker.next(), tracker.committable());
        // A sink's own log ends at its last record; what is known to be no record isn't missed if it is gone.
        let passes = |c: &&Committed| (c.records_end()..c.offset).contains(&resume);
        let passed = location.committed.as_ref().filter(passes);
        let resume = passed.map_or(resume, |c| resume.max(location.log_start.min(c.offset)));
        let leave = Leave {
            policy,
            can_go_back,
            released: partition.released,
        };
        let id = partition.id.clone();
        match judge(&id, resume, partition.parted_at, location, leave) {
            Start::At(at) => partition.start_at = at,
            Start::Skipping { at, lost, reason } => {
                out.push(Action::Tell(Notice::Skipped(id, lost, reason)));
                if at < resume {
                    // Closing gives up what is in flight: that is read again, too.
                    partition.sent_back_to = Some(at.min(committable));
                    // Up to there the logs are one: the next truncation can be told again.
                    partition.trusts_leader_epoch |= partition.parted_at.take().is_some();
                    out.push(Action::Close(slot, partition.epoch));
                    self.locate(slot, out);
                    return;
                }
                partition.start_at = at;
            }
            Start::Stop(why) => {
                self.quarantine(slot, why, now, out);
                return;
            }
        }
        partition.released = false;
        partition.parted_at = None;
        if partition.committed.is_some() {
            self.go(slot, reading, out);
        } else {
            partition.state = State::CommittingFirst { reading };
            self.commit_slots(&[slot], now, out);
        }
    }

    /// The partition is ready: deliver, or wait for the sink's word.
    pub(super) fn go(&mut self, slot: Slot, reading: bool, out: &mut Vec<Action>) {
        if reading {
            self.start(slot, out);
        } else if let Some(Some(partition)) = self.slots.get_mut(slot.0) {
            partition.state = State::Paused;
        }
    }

    /// Delivers from the record after the last that was taken.
    pub(super) fn start(&mut self, slot: Slot, out: &mut Vec<Action>) {
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        let Some(tracker) = &partition.tracker else {
            return;
        };
        let offset = tracker.next().max(partition.start_at);
        // The epoch known for an offset is that of the record before it: of the committed one at first.
        let committed = partition
            .location
            .as_ref()
            .and_then(|l| l.committed.as_ref());
        let leader_epoch = match tracker.last_leader_epoch() {
            _ if !partition.trusts_leader_epoch => -1,
            -1 => committed
                .filter(|c| c.offset == offset)
                .map_or(-1, |c| c.leader_epoch),
            epoch => epoch,
        };
        partition.state = State::Running;
        partition.reason = None;
        let partition = partition.id.clone();
        out.push(Action::Tell(Notice::Running(partition.clone(), offset)));
        out.push(Action::Start {
            slot,
            partition,
            offset,
            leader_epoch,
        });
    }

    pub(super) fn paused(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        why: Option<Error>,
        out: &mut Vec<Action>,
    ) {
        let Some(partition) = self.held(slot, epoch) else {
            return;
        };
        match &mut partition.state {
            State::CommittingFirst { reading } | State::Verifying { reading } => *reading = false,
            State::Running | State::SpanFull => {
                partition.state = State::Paused;
                out.push(Action::Stop(partition.id.clone()));
            }
            State::Paused => {}
            _ => return,
        }
        partition.reason = why;
    }

    pub(super) fn resumed(&mut self, slot: Slot, epoch: Epoch, out: &mut Vec<Action>) {
        let Some(partition) = self.held(slot, epoch) else {
            return;
        };
        match &mut partition.state {
            State::CommittingFirst { reading } | State::Verifying { reading } => *reading = true,
            State::Paused => self.start(slot, out),
            _ => {}
        }
    }

    /// What was in flight is given up; after a while the partition is opened again from its last ack.
    pub(super) fn rewind(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        why: Error,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(partition) = self.held(slot, epoch) else {
            return;
        };
        if matches!(
            partition.state,
            State::Quarantined | State::Fenced { .. } | State::BackingOff { .. }
        ) {
            return; // Already closed, for a reason of its own.
        }
        let id = partition.id.clone();
        out.push(Action::Stop(id.clone()));
        if partition.is_open_in_sink() {
            out.push(Action::Close(slot, epoch));
        }
        let longest = match partition.state {
            State::Locating => LONGEST_AFTER_SOURCE,
            // A person must do something first.
            _ if why.kind == Kind::Misconfigured => LONGEST_AFTER_SOURCE,
            _ => LONGEST_AFTER_SINK,
        };
        partition.failures += 1;
        partition.reason = Some(why.clone());
        partition.state = match partition.state {
            State::Draining(DrainFor::Release) | State::Drained => State::Drained,
            State::Draining(DrainFor::Quarantine { .. }) => State::Quarantined,
            _ => State::BackingOff {
                until: now + reopen_after(partition.failures, longest),
            },
        };
        out.push(Action::Tell(Notice::Rewound(id, why)));
    }

    /// Another owner has it: drop it, and come back only with a membership that Kafka confirms; or, if there
    /// is none to confirm, on a person's word.
    pub(super) fn fenced(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        why: Error,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        let after = self.last_commit();
        let is_open = |partition: &mut Partition| partition.is_open_in_sink();
        if !self.held(slot, epoch).is_some_and(is_open) {
            return;
        }
        if self.rules.fixed {
            let why = Error::fenced(format!(
                "{why}. Without a group nobody says who is right, so it isn't taken back: stop the other \
                 process, or take the partition out of its kafka.assign, then release the partition here"
            ));
            self.quarantine(slot, why, now, out);
            return;
        }
        self.rewind(slot, epoch, why.clone(), now, out);
        let Some(partition) = self.held(slot, epoch) else {
            return;
        };
        if matches!(partition.state, State::BackingOff { .. }) {
            partition.state = State::Fenced { after };
            out.push(Action::Tell(Notice::Fenced(partition.id.clone(), why)));
        }
    }
}

/// What is committed beside an offset.
pub(super) fn note(location: &Location, records_end: Option<i64>) -> Note {
    Note {
        topic_id: location.topic_id.clone(),
        partitions: location.num_partitions,
        since_ms: location.since_ms,
        records_end,
    }
}

/// Why what was committed beside an offset and what is there now can't both be true of one topic.
fn contradiction(
    note: &Note,
    id: &TopicPartition,
    location: &Location,
    partitions_matter: bool,
) -> Option<Error> {
    if note.topic_id != location.topic_id && !location.topic_id.is_empty() {
        return Some(Error::corrupt(format!(
            "{id}: the topic was deleted and created again (its id was {}, is {}), so the committed offset \
             means nothing; release the partition to go on at it all the same, or reset the group",
            note.topic_id, location.topic_id
        )));
    }
    (partitions_matter && note.partitions != location.num_partitions)
        .then(|| other_partitions(id, Some(note.partitions), location.num_partitions))
}

/// Why a topic whose partitions became more can't go on by itself when a key's records are ordered by offsets.
fn other_partitions(id: &TopicPartition, before: Option<i32>, now: i32) -> Error {
    let before = before.map_or_else(|| "fewer".to_owned(), |before| before.to_string());
    Error::corrupt(format!(
        "{id}: the topic had {before} partitions and has {now}: a key's records may come from another \
         partition now, and offsets don't order them any more; release the partition if every key stayed where \
         it was"
    ))
}
