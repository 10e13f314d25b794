//! Whose turn it is to be read: one partition that can't be read doesn't hold up the others. Pure.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::retry_policy;
use crate::backoff::Backoff;
use crate::offsets::TopicPartition;

/// A turn ends after this long without anything learned. Twice as long after each turn that brought nothing,
/// so that a slow broker is heard in the end.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// The longest turn, even of a partition that always has more.
const LONGEST: Duration = Duration::from_secs(5);

/// Partitions are read in turns; those that failed rest for a while.
pub(super) struct Turns {
    last: Option<TopicPartition>,
    began: Instant,
    learned: Instant,
    patience: Duration,
    failed: BTreeMap<TopicPartition, (Backoff, Instant)>,
}

impl Turns {
    pub fn new(now: Instant) -> Self {
        Turns {
            last: None,
            began: now,
            learned: now,
            patience: PATIENCE.0,
            failed: BTreeMap::new(),
        }
    }

    /// The partition to read now, of those that wait; `None` if each of them rests.
    pub fn next<V>(
        &mut self,
        now: Instant,
        waiting: &BTreeMap<TopicPartition, V>,
    ) -> Option<TopicPartition> {
        let is_ready = |id: &TopicPartition| {
            let failed = self.failed.get(id);
            waiting.contains_key(id) && failed.is_none_or(|(_, until)| now >= *until)
        };
        let stalled = now.saturating_duration_since(self.learned) >= self.patience;
        let long = now.saturating_duration_since(self.began) >= LONGEST;
        let last = self.last.as_ref().filter(|id| is_ready(id));
        if let (Some(last), false, false) = (last, stalled, long) {
            return Some(last.clone());
        }
        // Silence since the last letter, long ago, is no stall.
        let stalled = stalled && last.is_some();
        let next = match &self.last {
            None => waiting.keys().find(|id| is_ready(id)),
            Some(last) => {
                let after = waiting.range((Bound::Excluded(last), Bound::Unbounded));
                let mut round = after.chain(waiting.range(..=last)).map(|(id, _)| id);
                round.find(|id| is_ready(id))
            }
        }?
        .clone();
        if stalled {
            self.patience = (self.patience * 2).min(PATIENCE.1);
        }
        self.last = Some(next.clone());
        (self.began, self.learned) = (now, now);
        Some(next)
    }

    /// Something was learned of the partition.
    pub fn learned(&mut self, now: Instant, id: &TopicPartition) {
        self.learned = now;
        self.patience = PATIENCE.0;
        self.failed.remove(id);
    }

    /// Reading the partition failed: it rests, longer each time.
    pub fn failed(&mut self, now: Instant, id: &TopicPartition) {
        let new = || (Backoff::new(retry_policy()), now);
        let (backoff, until) = self.failed.entry(id.clone()).or_insert_with(new);
        *until = now + backoff.next_delay(None);
    }

    /// Whether a partition's last reading failed.
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: i32) -> TopicPartition {
        TopicPartition::new("events", number)
    }

    #[test]
    fn a_partition_that_says_nothing_holds_up_no_other() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        let waiting = BTreeMap::from([(id(0), ()), (id(1), ()), (id(2), ())]);
        assert_eq!(turns.next(start, &waiting), Some(id(0)));
        let early = start + PATIENCE.0 / 2;
        assert_eq!(turns.next(early, &waiting), Some(id(0)), "its turn lasts");
        let late = start + PATIENCE.0;
        assert_eq!(turns.next(late, &waiting), Some(id(1)));
        turns.learned(late, &id(1));
        let later = late + PATIENCE.0;
        assert_eq!(turns.next(later, &waiting), Some(id(2)));
        let last = later + PATIENCE.1;
        assert_eq!(turns.next(last, &waiting), Some(id(0)), "and round");
    }

    #[test]
    fn a_partition_that_fails_rests_alone() {
        let now = Instant::now();
        let mut turns = Turns::new(now);
        let mut waiting = BTreeMap::from([(id(0), ()), (id(1), ())]);
        assert_eq!(turns.next(now, &waiting), Some(id(0)));
        turns.failed(now, &id(0));
        assert_eq!(turns.next(now, &waiting), Some(id(1)));
        turns.learned(now, &id(1));
        assert!(turns.has_failed());
        waiting.remove(&id(1));
        assert_eq!(turns.next(now, &waiting), None, "it rests");
        let rested = now + Duration::from_secs(10);
        assert_eq!(turns.next(rested, &waiting), Some(id(0)));
        turns.learned(rested, &id(0));
        assert!(!turns.has_failed());
    }

    #[test]
    fn a_partition_that_always_has_more_ends_its_turn_too() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        let waiting = BTreeMap::from([(id(0), ()), (id(1), ())]);
        assert_eq!(turns.next(start, &waiting), Some(id(0)));
        turns.learned(start + LONGEST, &id(0));
        assert_eq!(turns.next(start + LONGEST, &waiting), Some(id(1)));
    }
}
