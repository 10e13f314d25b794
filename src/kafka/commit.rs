//! Commits, one in flight at a time, so that they never overtake each other; later ones wait and are merged.
//! Pure.

use std::collections::BTreeMap;

use crate::offsets::TopicPartition;
use crate::pipeline::source::Commit;

/// The commits of one consumer.
#[derive(Debug, Default)]
pub(super) struct Commits {
    in_flight: Option<Vec<u64>>,
    waiting: Vec<u64>,
    merged: BTreeMap<TopicPartition, Commit>,
    /// Something that waited was taken out because its partition is gone.
    forgot: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this.
    Send(Vec<Commit>),
    /// There is nothing left to send for these numbers; `gone`: because their partitions are gone.
    Answer { numbers: Vec<u64>, gone: bool },
}

impl Commits {
    /// A commit that is to be sent.
    pub fn submit(&mut self, number: u64, commits: &[Commit]) {
        self.waiting.push(number);
        for commit in commits {
            self.merged.insert(commit.partition.clone(), commit.clone());
        }
    }

    /// These partitions aren't ours any more: what waits for them is never sent.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.forgot |= self.merged.remove(partition).is_some();
        }
    }

    /// What is to be done now, if anything.
    pub fn next(&mut self) -> Option<Next> {
        if self.in_flight.is_some() || self.waiting.is_empty() {
            return None;
        }
        let numbers = std::mem::take(&mut self.waiting);
        let gone = std::mem::take(&mut self.forgot);
        let commits: Vec<Commit> = std::mem::take(&mut self.merged).into_values().collect();
        if commits.is_empty() {
            return Some(Next::Answer { numbers, gone });
        }
        self.in_flight = Some(numbers);
        Some(Next::Send(commits))
    }

    /// The one in flight was answered: whose numbers those are.
    pub fn answered(&mut self) -> Vec<u64> {
        self.in_flight.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(partition: i32, offset: i64) -> Commit {
        Commit {
            partition: TopicPartition::new("t", partition),
            offset,
            leader_epoch: 0,
            metadata: String::new(),
        }
    }

    #[test]
    fn commits_dont_overtake_each_other() {
        let mut c = Commits::default();
        c.submit(1, &[commit(0, 5)]);
        assert_eq!(c.next(), Some(Next::Send(vec![commit(0, 5)])));
        c.submit(2, &[commit(0, 6), commit(1, 1)]);
        c.submit(3, &[commit(0, 7)]);
        assert_eq!(c.next(), None, "one at a time");
        assert_eq!(c.answered(), [1]);
        assert_eq!(
            c.next(),
            Some(Next::Send(vec![commit(0, 7), commit(1, 1)])),
            "the latest counts"
        );
        assert_eq!(c.answered(), [2, 3]);
        assert_eq!(c.next(), None);
    }

    #[test]
    fn what_waits_for_a_partition_that_went_is_never_sent() {
        let mut c = Commits::default();
        c.submit(1, &[commit(0, 5)]);
        c.next();
        c.submit(2, &[commit(0, 6), commit(1, 1)]);
        c.forget(&[TopicPartition::new("t", 0)]);
        c.answered();
        assert_eq!(c.next(), Some(Next::Send(vec![commit(1, 1)])));
        c.submit(3, &[commit(1, 2)]);
        c.forget(&[TopicPartition::new("t", 1)]);
        c.answered();
        assert_eq!(
            c.next(),
            Some(Next::Answer {
                numbers: vec![3],
                gone: true
            })
        );
        c.submit(4, &[]);
        assert_eq!(
            c.next(),
            Some(Next::Answer {
                numbers: vec![4],
                gone: false
            })
        );
    }
}
