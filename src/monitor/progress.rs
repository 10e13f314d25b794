//! How far the group log was read: whether all that was there at the start is, and whether reading stands still.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// So long nothing may come though there is something to read; twice as long each time that another client didn't help.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(600);

/// The progress.
#[derive(Debug)]
pub struct Progress {
    positions: BTreeMap<i32, i64>,
    /// Where partitions ended at the start, of those that weren't read so far yet.
    ends: BTreeMap<i32, i64>,
    /// Since when a partition stands at a position before its end.
    behind: BTreeMap<i32, (i64, Instant)>,
    /// Partitions that another client was tried for.
    tried: BTreeSet<i32>,
    patience: Duration,
}

impl Progress {
    /// Nothing is read yet: the start and the end of each partition.
    pub fn new(starts: &BTreeMap<i32, (i64, i64)>) -> Self {
        let positions = starts.iter().map(|(n, (start, _))| (*n, *start));
        let unread = starts.iter().filter(|(_, (start, end))| start < end);
        Progress {
            positions: positions.collect(),
            ends: unread.map(|(n, (_, end))| (*n, *end)).collect(),
            behind: BTreeMap::new(),
            tried: BTreeSet::new(),
            patience: PATIENCE,
        }
    }

    /// The next offset to read, by partition.
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// A partition is read up to here.
    pub fn read(&mut self, partition: i32, to: i64) {
        let position = self.positions.entry(partition).or_insert(to);
        if to > *position && self.tried.remove(&partition) {
            self.patience = PATIENCE;
        }
        *position = to.max(*position);
        if self.ends.get(&partition).is_some_and(|end| *end <= to) {
            self.ends.remove(&partition);
        }
    }

    /// There is no more in a partition for now, though its end may lie behind an open transaction.
    pub fn ended(&mut self, partition: i32) {
        self.ends.remove(&partition);
    }

    /// Whether all that was there at the start is read.
    pub fn is_complete(&self) -> bool {
        self.ends.is_empty()
    }

    /// A partition that has stood still for too long before its end, of these ends.
    pub fn stuck(&mut self, ends: &[(i32, i64)], now: Instant) -> Option<i32> {
        for (partition, end) in ends {
            let position = self.positions.get(partition).copied();
            let Some(position) = position.filter(|position| position < end) else {
                self.behind.remove(partition);
                continue;
            };
            let (stood, since) = self.behind.entry(*partition).or_insert((position, now));
            if *stood != position {
                (*stood, *since) = (position, now);
            }
            if now.duration_since(*since) >= self.patience {
                self.behind.clear();
                self.patience = (self.patience * 2).min(LONGEST);
                self.tried.insert(*partition);
                return Some(*partition);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        Progress::new(&[(0, (5, 10)), (1, (7, 7)), (2, (0, 3))].into())
    }

    #[test]
    fn it_is_complete_when_each_partition_was_read_to_its_end_or_has_no_more() {
        let mut p = progress();
        p.read(0, 9);
        assert!(!p.is_complete());
        p.read(0, 10);
        p.ended(2);
        assert!(p.is_complete());
        assert_eq!(p.positions(), &[(0, 10), (1, 7), (2, 0)].into());
        p.read(0, 4);
        assert_eq!(p.positions().get(&0), Some(&10), "never back");
    }

    #[test]
    fn what_stands_before_its_end_for_too_long_is_stuck_and_rarer_each_time() {
        let mut p = progress();
        let (start, s) = (Instant::now(), Duration::from_secs);
        let ends = [(0, 10), (1, 7), (2, 0)];
        assert_eq!(p.stuck(&ends, start), None);
        p.read(0, 6);
        assert_eq!(p.stuck(&ends, start + s(29)), None, "it moved");
        assert_eq!(p.stuck(&ends, start + s(58)), None);
        assert_eq!(p.stuck(&ends, start + s(59)), Some(0));
        assert_eq!(p.stuck(&ends, start + s(60)), None);
        assert_eq!(p.stuck(&ends, start + s(119)), None);
        assert_eq!(p.stuck(&ends, start + s(120)), Some(0));
        p.read(0, 10);
        assert_eq!(p.stuck(&ends, start + s(900)), None, "all is read");
        assert_eq!(p.stuck(&[(0, 11)], start + s(901)), None);
        assert_eq!(
            p.stuck(&[(0, 11)], start + s(931)),
            Some(0),
            "as patient as at first"
        );
    }
}
