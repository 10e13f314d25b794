//! What the client should be reading, what it is reading, and when the difference may be told to it. Pure.
//!
//! The client takes any unassign that comes while a revoke is unanswered for the answer. So while one is
//! pending nothing is told to the client; records of stopped partitions are filtered out meanwhile.
//!
//! Under an eager assignor the client takes nothing but whole assignments: whatever changes, everything is
//! taken out and everything that is wanted is put in, each partition where it has come to.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::offsets::{Range, TopicPartition};
use crate::sinks::Slot;

/// A partition's number in [`Assignment`]. Never reused: a group's partitions are few.
pub(super) type Index = usize;

/// One partition that was ever started.
#[derive(Debug)]
struct Held {
    partition: TopicPartition,
    slot: Slot,
    /// It is to be read, and hasn't failed.
    wanted: bool,
    /// The client has it.
    assigned: bool,
    /// The client has it, but for an earlier start.
    stale: bool,
    /// What comes out of the client now belongs to the current start.
    live: bool,
    /// Nothing below is delivered (again): the client rewinds to its own idea of the position when it pauses
    /// partitions during a rebalance. Reading starts here.
    next: i64,
    /// Leader epoch of the record before `next`, -1 if unknown.
    leader_epoch: i32,
}

/// What is to be told to the client: first `unassign`, then `assign`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// A revoke waits for this as its answer, though nothing may be left to unassign.
    pub answers: bool,
    pub unassign: Vec<Index>,
    pub assign: Vec<Index>,
}

/// A worker's partitions.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    /// The client takes whole assignments only.
    eager: bool,
    held: Vec<Held>,
    index: HashMap<Arc<str>, HashMap<i32, Index>>,
    /// An unanswered revoke: the partitions that are still to be released.
    revoking: Option<BTreeSet<TopicPartition>>,
    /// Something changed since the last plan.
    dirty: bool,
}

impl Assignment {
    /// Without partitions; `eager` if the group's assignor is.
    pub fn new(eager: bool) -> Self {
        Assignment {
            eager,
            ..Assignment::default()
        }
    }

    pub fn is_eager(&self) -> bool {
        self.eager
    }

    /// A revoke is waiting to be answered.
    pub fn is_revoking(&self) -> bool {
        self.revoking.is_some()
    }

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
        held.wanted = true;
        held.stale = held.assigned;
        held.live = false;
        held.next = offset;
        held.leader_epoch = epoch;
    }

    fn insert(&mut self, partition: &TopicPartition) -> Index {
        let index = self.held.len();
        self.held.push(Held {
            partition: partition.clone(),
            slot: Slot(0),
            wanted: false,
            assigned: false,
            stale: false,
            live: false,
            next: 0,
            leader_epoch: -1,
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
            self.dirty |= std::mem::take(&mut self.held[index].wanted);
            self.held[index].live = false;
        }
    }

    /// The partition's delivery has failed: what still comes is ignored. Tells whether it was being read.
    pub fn fail(&mut self, index: Index) -> bool {
        let was_read = std::mem::take(&mut self.held[index].live);
        if was_read {
            self.held[index].wanted = false;
            self.dirty = true;
        }
        was_read
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
        let chosen = |wanted: &dyn Fn(&Held) -> bool| -> Vec<Index> {
            (0..self.held.len())
                .filter(|i| wanted(&self.held[*i]))
                .collect()
        };
        let mut unassign = chosen(&|h| h.assigned && (!h.wanted || h.stale));
        let mut assign = chosen(&|h| h.wanted && (!h.assigned || h.stale));
        if self.eager && (answering || !unassign.is_empty() || !assign.is_empty()) {
            unassign = chosen(&|h| h.assigned);
            assign = chosen(&|h| h.wanted);
        }
        let plan = Plan {
            answers: answering,
            unassign,
            assign,
        };
        (plan != Plan::default()).then_some(plan)
    }

    /// The client was told to let these go; that answers a revoke.
    pub fn unassigned(&mut self, indices: &[Index]) {
        for index in indices {
            let held = &mut self.held[*index];
            (held.assigned, held.stale, held.live) = (false, false, false);
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
    pub fn start_of(&self, index: Index) -> (i64, i32) {
        (self.held[index].next, self.held[index].leader_epoch)
    }

    /// Where a partition that is being read stands: offset and leader epoch.
    pub fn live_at(&self, partition: &TopicPartition) -> Option<(i64, i32)> {
        let index = self.index_of(&partition.topic, partition.partition)?;
        self.held[index].live.then(|| self.start_of(index))
    }

    /// The slot of a record that is to be delivered: its partition is being read, and the record is new.
    pub fn accept(&mut self, index: Index, offset: i64, leader_epoch: i32) -> Option<Slot> {
        let held = &mut self.held[index];
        if !held.live || offset < held.next {
            return None;
        }
        held.next = offset + 1;
        held.leader_epoch = leader_epoch;
        Some(held.slot)
    }

    /// The partitions that are being read, and the next offset of each.
    pub fn live(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        let live = self.held.iter().filter(|held| held.live);
        live.map(|held| (&held.partition, held.next))
    }

    /// There is no record in `hole`, the end of the partition's log: whether that is where it stands.
    pub fn pass(&mut self, partition: &TopicPartition, hole: Range) -> bool {
        let Some(index) = self.index_of(&partition.topic, partition.partition) else {
            return false;
        };
        let held = &mut self.held[index];
        let stands_there = held.live && held.next == hole.first && !hole.is_empty();
        if stands_there {
            held.next = hole.end;
            held.leader_epoch = -1;
        }
        stands_there
    }

    /// The slot of a partition that is being read and stands at `offset`.
    pub fn slot_at(&self, partition: &TopicPartition, offset: i64) -> Option<Slot> {
        let index = self.index_of(&partition.topic, partition.partition)?;
        let held = &self.held[index];
        (held.live && held.next == offset).then_some(held.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    /// Performs a plan as the driver does; tells (unassigned, if told so; assigned) partition numbers.
    fn perform(a: &mut Assignment) -> Option<(Option<Vec<i32>>, Vec<i32>)> {
        let plan = a.plan()?;
        let numbers = |a: &Assignment, indices: &[Index]| {
            indices
                .iter()
                .map(|i| a.partition(*i).partition)
                .collect::<Vec<_>>()
        };
        let tells = plan.answers || !plan.unassign.is_empty();
        let done = (
            tells.then(|| numbers(a, &plan.unassign)),
            numbers(a, &plan.assign),
        );
        if tells {
            a.unassigned(&plan.unassign);
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
        assert_eq!(a.accept(0, 5, 3), None, "the client wasn't told yet");
        perform(&mut a);
        assert_eq!(a.accept(0, 5, 3), Some(Slot(3)));
        a.stop(&p(1));
        assert_eq!(a.accept(0, 6, 3), None);
        a.start(Slot(4), &p(1), 6, -1);
        assert_eq!(a.accept(0, 6, 3), None, "may still be from before the stop");
        perform(&mut a);
        assert_eq!(a.accept(0, 6, 3), Some(Slot(4)));
    }

    #[test]
    fn a_record_is_delivered_once_though_the_client_rewinds() {
        let mut a = Assignment::default();
        a.start(Slot(0), &p(1), 5, -1);
        perform(&mut a);
        let delivered: Vec<i64> = [4, 5, 6, 9, 6, 9, 10]
            .into_iter()
            .filter(|offset| a.accept(0, *offset, 3).is_some())
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
        assert_eq!(a.accept(2, 0, 3), None, "but it is stopped");
        assert_eq!(a.accept(3, 0, 3), Some(Slot(3)), "and the others go on");
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

    #[test]
    fn an_eager_client_is_told_everything_each_time() {
        let mut a = Assignment::new(true);
        a.start(Slot(1), &p(1), 5, 7);
        assert_eq!(perform(&mut a), Some((None, vec![1])));
        assert_eq!(a.accept(0, 5, 8), Some(Slot(1)));
        a.start(Slot(2), &p(2), 0, -1);
        assert_eq!(perform(&mut a), Some((Some(vec![1]), vec![1, 2])));
        assert_eq!(a.start_of(0), (6, 8), "it goes on where it has come to");
        assert_eq!(a.accept(0, 5, 8), None, "once is enough");
        assert_eq!(a.accept(0, 6, 8), Some(Slot(1)));
        a.stop(&p(1));
        assert_eq!(perform(&mut a), Some((Some(vec![1, 2]), vec![2])));
        assert_eq!(perform(&mut a), None, "nothing has changed");
        assert_eq!(a.accept(0, 7, 8), None, "it is stopped");
    }

    #[test]
    fn an_eager_revoke_is_answered_once_all_is_released() {
        let mut a = Assignment::new(true);
        a.start(Slot(0), &p(0), 0, -1);
        perform(&mut a);
        a.revoke(&[p(0), p(1)]);
        a.release(&[p(0)]);
        assert_eq!(perform(&mut a), None, "the other isn't released yet");
        a.release(&[p(1)]);
        let plan = a.plan().expect("an answer");
        assert!(plan.answers);
        assert_eq!((plan.unassign.as_slice(), plan.assign.len()), (&[0][..], 0));
        a.unassigned(&plan.unassign);
        assert!(!a.is_revoking());
        a.start(Slot(0), &p(0), 9, -1);
        assert_eq!(perform(&mut a), Some((None, vec![0])), "it came back");
    }

    #[test]
    fn a_partition_that_failed_is_not_put_in_again_with_the_others() {
        let mut a = Assignment::new(true);
        a.start(Slot(0), &p(0), 0, -1);
        perform(&mut a);
        assert!(a.fail(0));
        assert!(!a.fail(0), "once");
        a.start(Slot(1), &p(1), 0, -1);
        assert_eq!(perform(&mut a), Some((Some(vec![0]), vec![1])));
        a.start(Slot(0), &p(0), 0, -1);
        assert_eq!(perform(&mut a), Some((Some(vec![1]), vec![0, 1])));
    }

    #[test]
    fn a_hole_is_passed_only_by_who_stands_at_it() {
        let mut a = Assignment::default();
        a.start(Slot(3), &p(1), 5, -1);
        assert!(
            !a.pass(&p(1), Range::new(5, 7)),
            "the client wasn't told yet"
        );
        perform(&mut a);
        assert!(
            !a.pass(&p(1), Range::new(4, 7)),
            "a record was delivered since"
        );
        assert!(!a.pass(&p(1), Range::new(5, 5)), "nothing to pass");
        assert!(!a.pass(&p(9), Range::new(5, 7)), "a stranger");
        assert!(a.pass(&p(1), Range::new(5, 7)));
        assert_eq!(a.slot_at(&p(1), 7), Some(Slot(3)));
        assert_eq!(a.accept(0, 6, -1), None, "the hole holds no record");
        assert_eq!(a.accept(0, 7, -1), Some(Slot(3)));
        assert_eq!(a.slot_at(&p(1), 7), None, "it has gone on");
        a.start(Slot(3), &p(1), 5, -1);
        assert_eq!(a.slot_at(&p(1), 5), None, "sent back, and not told yet");
    }
}
