//! What is committed, and when; and whether that keeps records from being taken.
//!
//! Whatever the mode, everything that is due is looked at every [`Control::commit_pause`]. The modes but
//! `interval` also commit what became final at once, and two of them take nothing before the answer. One of
//! these commits is under way at a time: what becomes final meanwhile goes with the next, so commits can't
//! overtake each other and there are at most as many as round trips. What failed waits for the pause.

use std::time::{Duration, Instant};

use super::opening::note;
use super::partition::{Partition, State};
use super::{Action, Control, Notice};
use crate::config::settings::CommitMode;
use crate::error::Error;
use crate::offsets::{Epoch, TopicPartition};
use crate::pipeline::source::Commit;
use crate::sinks::Slot;

/// Unchanged offsets are committed again this often, so that lag monitors see a living group. Not those of partitions that
/// are at work and have merely nothing to commit yet, as long as an open file: again and again the same offset, though
/// there is more, is what monitors call a stall.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// A commit that isn't answered for this long no longer keeps the next one back.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Where commits have no interval, one that failed is tried again after this long.
const AGAIN: Duration = Duration::from_millis(500);

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
    /// It says something new, rather than the same again.
    is_news: bool,
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

    /// Whether no commit is under way.
    fn is_quiet(&mut self, now: Instant) -> bool {
        self.in_flight
            .retain(|commit| now - commit.since < FORGOTTEN);
        self.in_flight.is_empty()
    }

    fn is_news_on_its_way(&self) -> bool {
        self.in_flight.iter().any(|commit| commit.is_news)
    }
}

impl Control {
    /// How many records may be taken now, as far as commits and a pause have a say.
    pub fn may_take(&self) -> usize {
        if self.is_paused {
            return 0;
        }
        let most = match self.rules.commit_mode {
            CommitMode::Interval | CommitMode::Async => return self.rules.max_poll_records,
            CommitMode::Batch => self.rules.max_poll_records,
            CommitMode::Record => 1,
        };
        let one_by_one = self.rules.commit_mode == CommitMode::Record;
        let is_awaited = |partition: &Partition| {
            let is_final = partition.is_final() || !one_by_one;
            partition.is_delivered() && (partition.news().is_some() || !is_final)
        };
        let mut held = self.slots.iter().flatten();
        match self.commits.is_news_on_its_way() || held.any(is_awaited) {
            true => 0,
            false => most,
        }
    }

    /// Commits what has become final, if the mode says to do so at once. Call it when acks were heard.
    pub fn commit_at_once(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.rules.commit_mode != CommitMode::Interval {
            self.tick_commits(now, out);
        }
    }

    pub(super) fn tick_commits(&mut self, now: Instant, out: &mut Vec<Action>) {
        let everything = self.commits.next <= now;
        let at_once = self.rules.commit_mode != CommitMode::Interval;
        if !(everything || at_once) || !self.commits.is_quiet(now) {
            return;
        }
        let heartbeat = everything && self.commits.next_heartbeat <= now;
        if everything {
            self.commits.next = now + self.commit_pause();
        }
        if heartbeat {
            self.commits.next_heartbeat = now + HEARTBEAT;
        }
        let slots = (0..self.slots.len()).map(Slot);
        let due = |slot| match everything {
            true => self.due(slot, heartbeat),
            false => self.due_at_once(slot),
        };
        let parts = slots.filter_map(due).collect();
        self.commit(parts, now, out);
    }

    /// What of a partition is to be committed without waiting: news that hasn't failed to be taken.
    fn due_at_once(&self, slot: Slot) -> Option<(Slot, Epoch, i64)> {
        let partition = self.slots.get(slot.0)?.as_ref()?;
        let news = partition.news().filter(|_| !partition.commit_failed)?;
        Some((slot, partition.epoch, news))
    }

    fn commit_pause(&self) -> Duration {
        match self.rules.commit_mode {
            CommitMode::Interval => self.rules.commit_interval,
            CommitMode::Batch | CommitMode::Record | CommitMode::Async => AGAIN,
        }
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
        let offset = match (partition.news(), partition.committed) {
            (Some(news), _) => news,
            (None, Some(before)) if is_fenced => before,
            (None, Some(before)) if heartbeat && self.shows_life(partition) => before,
            // Nobody has a position yet: the oldest offset passes no record, wherever the other owner starts.
            (None, None) if is_fenced => partition.location.as_ref()?.log_start,
            _ => return None,
        };
        Some((slot, partition.epoch, offset))
    }

    /// Whether its offset is committed again as a sign of life.
    fn shows_life(&self, partition: &Partition) -> bool {
        partition.committed_it && (self.sink_is_down || !partition.is_at_work())
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
                    .map(|location| note(location, records_end).to_text())
                    .unwrap_or_default(),
            })
        });
        out.push(Action::Commit(number, commits.collect()));
        let is_news = |(slot, _, _): &(Slot, Epoch, i64)| {
            let partition = self.slots.get(slot.0).and_then(Option::as_ref);
            partition.is_some_and(|partition| partition.news().is_some())
        };
        self.commits.in_flight.push(InFlight {
            number,
            since: now,
            is_news: parts.iter().any(is_news),
            parts,
        });
        Some(number)
    }

    pub(super) fn committed(
        &mut self,
        number: u64,
        result: Result<(), Error>,
        now: Instant,
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
            Err(why) => {
                if self.rules.commit_mode != CommitMode::Interval {
                    self.commits.next = now + AGAIN;
                }
                for (slot, epoch, _) in commit.parts {
                    if let Some(partition) = self.held(slot, epoch) {
                        partition.commit_failed = true;
                    }
                }
                out.push(Action::Tell(Notice::CommitFailed(why)));
            }
        }
        self.revocation_committed(number, out);
    }

    /// The group has taken these partitions of a commit; the whole, which failed, is answered after this.
    pub(super) fn committed_in_part(
        &mut self,
        number: u64,
        partitions: &[TopicPartition],
        out: &mut Vec<Action>,
    ) {
        let is_it = |commit: &&mut InFlight| commit.number == number;
        let Some(commit) = self.commits.in_flight.iter_mut().find(is_it) else {
            return;
        };
        let slots = &self.slots;
        let is_taken = |&mut (slot, ..): &mut (Slot, Epoch, i64)| {
            let partition = slots.get(slot.0).and_then(Option::as_ref);
            partition.is_some_and(|partition| partitions.contains(&partition.id))
        };
        let taken: Vec<_> = commit.parts.extract_if(.., is_taken).collect();
        out.push(Action::Tell(Notice::Committed(taken.len())));
        for part in taken {
            self.part_committed(number, part, out);
        }
    }

    /// The group's offset isn't what this worker has committed. It is committed again as a heartbeat, or with
    /// the next news.
    pub(super) fn commit_mismatch(
        &mut self,
        id: &TopicPartition,
        ours: i64,
        found: Option<i64>,
        out: &mut Vec<Action>,
    ) {
        let (group, group_decides) = (self.rules.group.clone(), self.rules.can_go_back);
        let slot = self.by_id.get(id).copied();
        let place = slot.and_then(|slot| self.slots.get_mut(slot.0));
        if let Some(Some(partition)) = place {
            let what = mismatch(id, &group, (ours, found), group_decides);
            partition.commit_mismatch = Some(what.clone());
            out.push(Action::Tell(Notice::CommitMismatch(id.clone(), what)));
        }
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
        partition.num_commits += 1;
        partition.commit_failed = false;
        match partition.state {
            State::CommittingFirst { reading } => self.go(slot, reading, out),
            State::Fenced { after } if number > after => self.locate(slot, out),
            _ => {}
        }
    }
}

/// How the group's committed offset differs from ours, and what to do about it.
fn mismatch(
    id: &TopicPartition,
    group: &str,
    (ours, found): (i64, Option<i64>),
    group_decides: bool,
) -> String {
    let what = match found {
        None => format!("has no committed offset any more, though {ours} was committed"),
        Some(found) if found < ours => {
            format!(
                "was set back to {found}, {} offsets before what was committed, {ours}",
                ours - found
            )
        }
        Some(found) => {
            format!(
                "was moved on to {found}, {} offsets beyond what was committed, {ours}",
                found - ours
            )
        }
    };
    let restart = match group_decides {
        true => "a restart before that would begin there",
        false => "HDFS's commit log decides where a restart begins, so no file is affected",
    };
    format!(
        "{id}: the position of group {group} {what}: another program commits with this group.id, or somebody \
         reset its offsets; find out who. {ours} or what is final by then is committed again within {} s; \
         {restart}",
        HEARTBEAT.as_secs()
    )
}
