//! What the client should be reading, what it is reading, and when the difference may be told to it. Pure.
//!
//! The client takes any unassign that comes while a revoke is unanswered for the answer. So while one is
//! pending nothing is told to the client; records of stopped partitions are filtered out meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::offsets::TopicPartition;
use crate::sinks::Slot;

/// A partition's number in [`Assignment`]. Never reused: a group's partitions are few.
pub(super) type Index = usize;

/// One partition that was ever started.
#[derive(Debug)]
struct Held {
    partition: TopicPartition,
    slot: Slot,
    /// Where to read from (offset, leader epoch of the record before it), if it is to be read.
    wanted: Option<(i64, i32)>,
    /// The client has it.
    assigned: bool,
    /// The client has it, but for an earlier start.
    stale: bool,
    /// What comes out of the client now belongs to the current start.
    live: bool,
    /// Nothing below is delivered (again): the client rewinds to its own idea of the position when it pauses
    /// partitions during a rebalance.
    next: i64,
}

/// What is to be told to the client: first `unassign` (an empty list answers a revoke), then `assign`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub unassign: Option<Vec<Index>>,
    pub assign: Vec<Index>,
}

/// A worker's partitions.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    held: Vec<Held>,
    index: HashMap<Arc<str>, HashMap<i32, Index>>,
    /// An unanswered revoke: the partitions that are still to be released.
    revoking: Option<BTreeSet<TopicPartition>>,
    /// Something changed since the last plan.
    dirty: bool,
}

impl Assignment {
    pub fn index_of(&self, topic: &str, partition: i32) -> Option<Index> {
        self.index.get(topic)?.get(&partition).copied()
    }

    /// The partition is to be read from `offset` on.
    pub fn start(&mut self, slot: Slot, partition: &TopicPartition, offset: i64, epoch: i32) {
        self.dirty = true;
        let index = match self.index_of(&partition.topic, partition.partition) {
            Some(index) => index,
            None => self.insert(partition),
        };
        let held = &mut self.held[index];
        held.slot = slot;
        held.wanted = Some((offset, epoch));
        held.stale = held.assigned;
        held.live = false;
        held.next = offset;
    }

    fn insert(&mut self, partition: &TopicPartition) -> Index {
        let index = self.held.len();
        self.held.push(Held {
            partition: partition.clone(),
            slot: Slot(0),
            wanted: None,
            assigned: false,
            stale: false,
            live: false,
            next: 0,
        });
        self.index
            .entry(partition.topic.clone())
            .or_default()
            .insert(partition.partition, index);
        index
    }

    /// Nothing of the partition comes out any more.
    pub fn stop(&mut self, partition: &TopicPartition) {
        if let Some(index) = self.index_of(&partition.topic, partition.partition) {
            self.dirty |= self.held[index].wanted.is_some();
            self.held[index].wanted = None;
            self.held[index].live = false;
        }
    }

    /// The partition's delivery has failed: what still comes is ignored. Tells whether it was being read.
    pub fn fail(&mut self, index: Index) -> bool {
        std::mem::take(&mut self.held[index].live)
    }

    /// The group wants these back, and waits for the answer.
    pub fn revoke(&mut self, partitions: &[TopicPartition]) {
        self.revoking
            .get_or_insert_default()
            .extend(partitions.iter().cloned());
        self.dirty = true;
    }

    /// These are given back.
    pub fn release(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.stop(partition);
            if let Some(revoking) = &mut self.revoking {
                revoking.remove(partition);
                self.dirty = true;
            }
        }
    }

    /// What to tell the client now, if anything.
    pub fn plan(&mut self) -> Option<Plan> {
        let answering = match &self.revoking {
            Some(rest) if !rest.is_empty() => return None,
            Some(_) => true,
            None => false,
        };
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        let chosen = |wanted: fn(&Held) -> bool| -> Vec<Index> {
            (0..self.held.len())
                .filter(|i| wanted(&self.held[*i]))
                .collect()
        };
        let unassign = chosen(|h| h.assigned && (h.wanted.is_none() || h.stale));
        let assign = chosen(|h| h.wanted.is_some() && (!h.assigned || h.stale));
        let unassign = (answering || !unassign.is_empty()).then_some(unassign);
        (unassign.is_some() || !assign.is_empty()).then_some(Plan { unassign, assign })
    }

    /// The client was told to let these go; that answers a revoke.
    pub fn unassigned(&mut self, indices: &[Index]) {
        for index in indices {
            self.held[*index].assigned = false;
            self.held[*index].stale = false;
        }
        self.revoking = None;
    }

    /// The client was told to read these.
    pub fn assigned(&mut self, indices: &[Index]) {
        for index in indices {
            self.held[*index].assigned = true;
            self.held[*index].live = true;
        }
    }

    pub fn partition(&self, index: Index) -> &TopicPartition {
        &self.held[index].partition
    }

    /// Where to start reading: offset and leader epoch.
    pub fn wanted(&self, index: Index) -> (i64, i32) {
        self.held[index].wanted.unwrap_or((0, -1))
    }

    /// The slot of a record that is to be delivered: its partition is being read, and the record is new.
    pub fn accept(&mut self, index: Index, offset: i64) -> Option<Slot> {
        let held = &mut self.held[index];
        if !held.live || offset < held.next {
            return None;
        }
        held.next = offset + 1;
        Some(held.slot)
    }

    /// The slot of a partition whose log ends at `offset`, all of which was delivered.
    pub fn accept_end(&mut self, index: Index, offset: i64) -> Option<Slot> {
        let held = &mut self.held[index];
        if !held.live || offset < held.next {
            return None;
        }
        held.next = offset;
        Some(held.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    /// Performs a plan as the driver does; tells (unassigned, assigned) partition numbers.
    fn perform(a: &mut Assignment) -> Option<(Option<Vec<i32>>, Vec<i32>)> {
        let plan = a.plan()?;
        let numbers = |a: &Assignment, indices: &[Index]| {
            indices
                .iter()
                .map(|i| a.partition(*i).partition)
                .collect::<Vec<_>>()
        };
        let done = (
            plan.unassign.as_ref().map(|u| numbers(a, u)),
            numbers(a, &plan.assign),
        );
        if let Some(unassign) = &plan.unassign {
            a.unassigned(unassign);
        }
        a.assigned(&plan.assign);
        Some(done)
    }

    #[test]
    fn starting_and_stopping_is_assigning_and_unassigning() {
        let mut a = Assignment::default();
        a.start(Slot(0), &p(1), 5, -1);
        a.start(Slot(1), &p(2), 7, -1);
        assert_eq!(perform(&mut a), Some((None, vec![1, 2])));
        assert_eq!(perform(&mut a), None);
        a.stop(&p(1));
        assert_eq!(perform(&mut a), Some((Some(vec![1]), vec![])));
        a.stop(&p(1));
        a.stop(&p(9));
        assert_eq!(
            perform(&mut a),
            None,
            "stopping what isn't started is nothing"
        );
        a.start(Slot(1), &p(2), 3, -1);
        assert_eq!(
            perform(&mut a),
            Some((Some(vec![2]), vec![2])),
            "started again elsewhere"
        );
    }

    #[test]
    fn nothing_of_a_stopped_partition_comes_out() {
        let mut a = Assignment::default();
        a.start(Slot(3), &p(1), 5, -1);
        assert_eq!(a.accept(0, 5), None, "the client wasn't told yet");
        perform(&mut a);
        assert_eq!(a.accept(0, 5), Some(Slot(3)));
        a.stop(&p(1));
        assert_eq!(a.accept(0, 6), None);
        a.start(Slot(4), &p(1), 6, -1);
        assert_eq!(a.accept(0, 6), None, "may still be from before the stop");
        perform(&mut a);
        assert_eq!(a.accept(0, 6), Some(Slot(4)));
    }

    #[test]
    fn a_record_is_delivered_once_though_the_client_rewinds() {
        let mut a = Assignment::default();
        a.start(Slot(0), &p(1), 5, -1);
        perform(&mut a);
        let delivered: Vec<i64> = [4, 5, 6, 9, 6, 9, 10]
            .into_iter()
            .filter(|offset| a.accept(0, *offset).is_some())
            .collect();
        assert_eq!(delivered, [5, 6, 9, 10]);
    }

    #[test]
    fn while_a_revoke_is_unanswered_the_client_is_told_nothing() {
        let mut a = Assignment::default();
        for n in 0..4 {
            a.start(Slot(n as usize), &p(n), 0, -1);
        }
        perform(&mut a);
        a.revoke(&[p(0), p(1)]);
        a.stop(&p(2));
        assert_eq!(perform(&mut a), None, "it would be taken for the answer");
        assert_eq!(a.accept(2, 0), None, "but it is stopped");
        assert_eq!(a.accept(3, 0), Some(Slot(3)), "and the others go on");
        a.release(&[p(0)]);
        assert_eq!(perform(&mut a), None, "half an answer");
        a.release(&[p(1)]);
        a.start(Slot(2), &p(2), 0, -1);
        assert_eq!(perform(&mut a), Some((Some(vec![0, 1, 2]), vec![2])));
    }

    #[test]
    fn a_revoke_of_partitions_that_never_started_is_answered_too() {
        let mut a = Assignment::default();
        a.revoke(&[p(0)]);
        assert_eq!(perform(&mut a), None);
        a.release(&[p(0)]);
        assert_eq!(
            perform(&mut a),
            Some((Some(vec![]), vec![])),
            "an empty answer"
        );
        assert_eq!(perform(&mut a), None, "once");
    }
}
