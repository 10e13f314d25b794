//! What is committed, and when.

use std::time::{Duration, Instant};

use super::opening::Metadata;
use super::partition::State;
use super::{Action, Control, Notice};
use crate::error::Error;
use crate::offsets::Epoch;
use crate::pipeline::source::Commit;
use crate::sinks::Slot;

/// Unchanged offsets are committed again this often, so that lag monitors see a living group.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// A periodic commit that isn't answered for this long no longer keeps the next one back.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Commits under way and due.
#[derive(Debug)]
pub(super) struct Commits {
    last_number: u64,
    in_flight: Vec<InFlight>,
    next: Instant,
    next_heartbeat: Instant,
}

#[derive(Debug)]
struct InFlight {
    number: u64,
    since: Instant,
    parts: Vec<(Slot, Epoch, i64)>,
}

impl Commits {
    pub fn new(now: Instant) -> Self {
        Commits {
            last_number: 0,
            in_flight: Vec::new(),
            next: now,
            next_heartbeat: now + HEARTBEAT,
        }
    }
}

impl Control {
    pub(super) fn tick_commits(&mut self, now: Instant, out: &mut Vec<Action>) {
        if now < self.commits.next {
            return;
        }
        self.commits.next = now + self.rules.commit_interval;
        self.commits
            .in_flight
            .retain(|commit| now - commit.since < FORGOTTEN);
        if !self.commits.in_flight.is_empty() {
            return;
        }
        let heartbeat = self.commits.next_heartbeat <= now;
        if heartbeat {
            self.commits.next_heartbeat = now + HEARTBEAT;
        }
        let slots = (0..self.slots.len()).map(Slot);
        let parts = slots.filter_map(|slot| self.due(slot, heartbeat)).collect();
        self.commit(parts, now, out);
    }

    /// Commits what is final of these partitions; the commit's number, if there was anything to commit.
    pub(super) fn commit_slots(
        &mut self,
        slots: &[Slot],
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Option<u64> {
        let parts = slots
            .iter()
            .filter_map(|&slot| self.due(slot, false))
            .collect();
        self.commit(parts, now, out)
    }

    /// The number of the newest commit asked for.
    pub(super) fn last_commit(&self) -> u64 {
        self.commits.last_number
    }

    /// These were never sent.
    pub(super) fn forget_commits(&mut self, numbers: &[u64]) {
        let sent = |commit: &InFlight| !numbers.contains(&commit.number);
        self.commits.in_flight.retain(sent);
    }

    /// The newest commit that isn't answered and is about one of these partitions, and since when.
    pub(super) fn unanswered(&self, slots: &[Slot]) -> Option<(u64, Instant)> {
        let about = |commit: &&InFlight| commit.parts.iter().any(|(slot, ..)| slots.contains(slot));
        let unanswered = self.commits.in_flight.iter().filter(about);
        unanswered.map(|commit| (commit.number, commit.since)).max()
    }

    /// What of a partition is to be committed: final, of this epoch, and news (or a heartbeat, or the proof
    /// that a fenced partition waits for).
    fn due(&self, slot: Slot, heartbeat: bool) -> Option<(Slot, Epoch, i64)> {
        let partition = self.slots.get(slot.0)?.as_ref()?;
        let is_fenced = matches!(partition.state, State::Fenced { .. });
        let offset = match (partition.committable(), partition.committed) {
            (Some(now), Some(before)) if now > before => now,
            (Some(now), None) => now,
            (_, Some(before)) if (heartbeat && partition.committed_it) || is_fenced => before,
            // Nobody has a position yet: the oldest offset passes no record, wherever the other owner starts.
            (None, None) if is_fenced => partition.location.as_ref()?.log_start,
            _ => return None,
        };
        Some((slot, partition.epoch, offset))
    }

    fn commit(
        &mut self,
        parts: Vec<(Slot, Epoch, i64)>,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Option<u64> {
        if parts.is_empty() {
            return None;
        }
        self.commits.last_number += 1;
        let number = self.commits.last_number;
        let commits = parts.iter().filter_map(|&(slot, _, offset)| {
            let partition = self.slots.get(slot.0)?.as_ref()?;
            let tracker = partition
                .tracker
                .as_ref()
                .filter(|t| t.committable() == offset);
            let records_end = match tracker {
                Some(tracker) => Some(tracker.records_end()).filter(|end| *end < offset),
                None => partition.found_records_end(offset),
            };
            Some(Commit {
                partition: partition.id.clone(),
                offset,
                leader_epoch: tracker
                    .map(|tracker| tracker.committable_leader_epoch())
                    .filter(|&epoch| epoch >= 0)
                    .or_else(|| partition.found_leader_epoch(offset))
                    .unwrap_or(-1),
                metadata: partition
                    .location
                    .as_ref()
                    .map(|location| Metadata::of(location, records_end))
                    .unwrap_or_default(),
            })
        });
        out.push(Action::Commit(number, commits.collect()));
        self.commits.in_flight.push(InFlight {
            number,
            since: now,
            parts,
        });
        Some(number)
    }

    pub(super) fn committed(
        &mut self,
        number: u64,
        result: Result<(), Error>,
        _now: Instant,
        out: &mut Vec<Action>,
    ) {
        let Some(index) = self
            .commits
            .in_flight
            .iter()
            .position(|c| c.number == number)
        else {
            return;
        };
        let commit = self.commits.in_flight.swap_remove(index);
        match result {
            Ok(()) => {
                out.push(Action::Tell(Notice::Committed(commit.parts.len())));
                for (slot, epoch, offset) in commit.parts {
                    self.part_committed(number, (slot, epoch, offset), out);
                }
            }
            Err(why) => out.push(Action::Tell(Notice::CommitFailed(why))),
        }
        self.revocation_committed(number, out);
    }

    fn part_committed(
        &mut self,
        number: u64,
        (slot, epoch, offset): (Slot, Epoch, i64),
        out: &mut Vec<Action>,
    ) {
        let Some(partition) = self.held(slot, epoch) else {
            return;
        };
        partition.committed = Some(offset);
        partition.committed_it = true;
        match partition.state {
            State::CommittingFirst { reading } => self.go(slot, reading, out),
            State::Fenced { after } if number > after => self.locate(slot, out),
            _ => {}
        }
    }
}
