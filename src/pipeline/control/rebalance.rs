//! Assign, revoke, lose, shut down.

use std::time::{Duration, Instant};

use super::partition::{DrainFor, Partition, State};
use super::{Action, Control, Notice};
use crate::config::settings::RejectedPolicy;
use crate::offsets::{Epoch, TopicPartition};
use crate::sinks::Slot;

/// How long the commit at the end of a revocation may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Partitions on their way back to the group.
#[derive(Debug)]
pub(super) struct Revocation {
    ids: Vec<TopicPartition>,
    drain_until: Instant,
    /// The commit that ends it, and how long it may take.
    commit: Option<(u64, Instant)>,
    /// The process ends, by then at the latest: nothing is given back, closing does that.
    leaving: Option<Instant>,
    /// Partitions were lost meanwhile with work unfinished.
    lost_work: bool,
}

impl Control {
    pub(super) fn assigned(&mut self, ids: Vec<TopicPartition>, out: &mut Vec<Action>) {
        if self.rules.fixed {
            out.push(Action::Tell(Notice::Fixed(ids.clone())));
        } else {
            self.rebalances += 1;
            out.push(Action::Tell(Notice::Assigned(ids.clone())));
        }
        if self
            .revocation
            .as_ref()
            .is_some_and(|revocation| revocation.leaving.is_some())
        {
            return;
        }
        for id in ids {
            if self.by_id.contains_key(&id) {
                continue;
            }
            let free = self.slots.iter().position(Option::is_none);
            let slot = Slot(free.unwrap_or(self.slots.len()));
            if free.is_none() {
                self.slots.push(None);
            }
            self.slots[slot.0] = Some(Partition::new(id.clone(), Epoch(0)));
            self.by_id.insert(id, slot);
            self.locate(slot, out);
        }
    }

    pub(super) fn revoked(
        &mut self,
        ids: Vec<TopicPartition>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        self.rebalances += 1;
        out.push(Action::Tell(Notice::Revoked(ids.clone())));
        let drain_until = now + self.rules.drain_timeout;
        match &mut self.revocation {
            Some(revocation) if revocation.leaving.is_some() => {}
            Some(revocation) => {
                // The commit under way isn't about the newcomers: they need one of their own.
                revocation.ids.extend(ids.iter().cloned());
                revocation.drain_until = drain_until;
                revocation.commit = None;
            }
            None => {
                let ids = ids.clone();
                let revocation = Revocation {
                    ids,
                    drain_until,
                    commit: None,
                    leaving: None,
                    lost_work: false,
                };
                self.revocation = Some(revocation);
            }
        }
        for id in &ids {
            self.drain_for_release(id, out);
        }
        self.finish_revocation_if_drained(now, out);
    }

    /// Drains everything and ends: [`Control::finished`] tells when, at `deadline` at the latest.
    pub fn shut_down(&mut self, now: Instant, deadline: Instant, out: &mut Vec<Action>) {
        let ids: Vec<_> = self.by_id.keys().cloned().collect();
        let drain_until = deadline.checked_sub(COMMIT_TIMEOUT).unwrap_or(now).max(now);
        let already = self
            .revocation
            .take()
            .map(|revocation| revocation.ids)
            .unwrap_or_default();
        for id in ids.iter().filter(|id| !already.contains(id)) {
            self.drain_for_release(id, out);
        }
        self.revocation = Some(Revocation {
            ids,
            drain_until,
            commit: None,
            leaving: Some(deadline),
            lost_work: false,
        });
        self.finish_revocation_if_drained(now, out);
    }

    pub(super) fn lost(&mut self, ids: Vec<TopicPartition>, out: &mut Vec<Action>) {
        self.rebalances += 1;
        out.push(Action::Tell(Notice::Lost(ids.clone())));
        let mut released = ids;
        if let Some(revocation) = self.revocation.take_if(|r| r.leaving.is_none()) {
            released.extend(revocation.ids);
        }
        for id in &released {
            if let Some(slot) = self.by_id.get(id).copied() {
                let finished = self.is_finished(id);
                if let Some(revocation) = &mut self.revocation {
                    revocation.lost_work |= !finished;
                }
                self.close(slot, out);
                self.remove(id);
            }
        }
        self.withdraw_commits(&released, out);
        out.push(Action::Release(released));
    }

    /// A commit that was decided on but not sent yet must not be about partitions that are lost.
    fn withdraw_commits(&mut self, lost: &[TopicPartition], out: &mut Vec<Action>) {
        let mut withdrawn = Vec::new();
        out.retain_mut(|action| {
            let Action::Commit(number, commits) = action else {
                return true;
            };
            commits.retain(|commit| !lost.contains(&commit.partition));
            if commits.is_empty() {
                withdrawn.push(*number);
            }
            !commits.is_empty()
        });
        self.forget_commits(&withdrawn);
        if let Some(revocation) = &mut self.revocation {
            revocation
                .commit
                .take_if(|(number, _)| withdrawn.contains(number));
        }
    }

    fn drain_for_release(&mut self, id: &TopicPartition, out: &mut Vec<Action>) {
        let Some(&slot) = self.by_id.get(id) else {
            return;
        };
        let sink_is_down = self.sink_is_down;
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        out.push(Action::Stop(id.clone()));
        match partition.state {
            State::Running | State::Paused | State::SpanFull if !sink_is_down => {
                partition.state = State::Draining(DrainFor::Release);
                out.push(Action::Drain(slot, partition.epoch));
            }
            State::Draining(_) if !sink_is_down => {
                partition.state = State::Draining(DrainFor::Release);
            }
            _ => self.close(slot, out),
        }
    }

    /// Closes a partition in the sink, if it is open there; what was in flight is abandoned.
    fn close(&mut self, slot: Slot, out: &mut Vec<Action>) {
        let Some(Some(partition)) = self.slots.get_mut(slot.0) else {
            return;
        };
        if partition.is_open_in_sink() {
            out.push(Action::Close(slot, partition.epoch));
        }
        partition.state = State::Drained;
    }

    fn remove(&mut self, id: &TopicPartition) {
        if let Some(slot) = self.by_id.remove(id)
            && let Some(place) = self.slots.get_mut(slot.0)
        {
            *place = None;
        }
    }

    pub(super) fn drained(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        // Only dead letters can still make refused records final.
        let waits_for_nobody = !matches!(self.rules.rejected, RejectedPolicy::DeadLetter { .. });
        let Some(partition) = self.held(slot, epoch) else {
            return;
        };
        match partition.state {
            State::Draining(DrainFor::Quarantine { .. }) => {
                partition.state = State::Quarantined;
                out.push(Action::Close(slot, epoch));
            }
            State::Draining(DrainFor::Release) if partition.is_final() || waits_for_nobody => {
                self.close(slot, out);
                self.finish_revocation_if_drained(now, out);
            }
            // Refused records are still on their way to the dead letter topic: the tick looks again.
            _ => {}
        }
    }

    pub(super) fn tick_revocation(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(revocation) = &self.revocation else {
            return;
        };
        if let Some((_, until)) = revocation.commit {
            if until <= now {
                self.finish_revocation(out);
            }
            return;
        }
        let give_up = revocation.drain_until <= now || self.sink_is_down;
        for id in revocation.ids.clone() {
            let Some(&slot) = self.by_id.get(&id) else {
                continue;
            };
            let Some(Some(partition)) = self.slots.get(slot.0) else {
                continue;
            };
            let draining = matches!(partition.state, State::Draining(_));
            if draining && (give_up || partition.is_final()) {
                self.close(slot, out);
            }
        }
        self.finish_revocation_if_drained(now, out);
    }

    fn finish_revocation_if_drained(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Some(revocation) = &self.revocation else {
            return;
        };
        let slots = revocation
            .ids
            .iter()
            .filter_map(|id| self.by_id.get(id).copied());
        let slots: Vec<Slot> = slots.collect();
        let waits = |slot: &Slot| {
            let partition = self.slots.get(slot.0).and_then(Option::as_ref);
            partition.is_some_and(|partition| !matches!(partition.state, State::Drained))
        };
        if revocation.commit.is_some() || slots.iter().any(waits) {
            return;
        }
        let until = now + COMMIT_TIMEOUT;
        let until = revocation.leaving.map_or(until, |by| by.min(until));
        // Nothing new to commit, but perhaps an earlier commit still on its way.
        let commit = match self.commit_slots(&slots, now, out) {
            Some(number) => Some((number, until)),
            None => {
                let earlier = self.unanswered(&slots);
                earlier.map(|(number, since)| (number, until.min(since + COMMIT_TIMEOUT)))
            }
        };
        match (commit, &mut self.revocation) {
            (Some(commit), Some(revocation)) => revocation.commit = Some(commit),
            _ => self.finish_revocation(out),
        }
    }

    /// The commit with this number was answered.
    pub(super) fn revocation_committed(&mut self, number: u64, out: &mut Vec<Action>) {
        let ends = |revocation: &Revocation| revocation.commit.is_some_and(|(n, _)| n == number);
        if self.revocation.as_ref().is_some_and(ends) {
            self.finish_revocation(out);
        }
    }

    /// Whether nothing of a partition is left to do.
    fn is_finished(&self, id: &TopicPartition) -> bool {
        let slot = self.by_id.get(id);
        let partition = slot
            .and_then(|slot| self.slots.get(slot.0))
            .and_then(Option::as_ref);
        partition.is_none_or(|p| p.is_final() && p.is_committed())
    }

    fn finish_revocation(&mut self, out: &mut Vec<Action>) {
        let Some(revocation) = self.revocation.take() else {
            return;
        };
        let clean = !revocation.lost_work && revocation.ids.iter().all(|id| self.is_finished(id));
        for id in &revocation.ids {
            self.remove(id);
        }
        out.push(Action::Tell(Notice::Released(
            revocation.ids.clone(),
            clean,
        )));
        if revocation.leaving.is_some() {
            self.finished = Some(clean);
        } else {
            out.push(Action::Release(revocation.ids));
        }
    }
}
