//! The offset tracker of one partition: which records are final, and so what may be committed.
//!
//! Owns: the frontier, the ranges acked beyond it, and the refused records that hold it back.
//! Does not own: batches, dead letters, the commit itself, time.
//!
//! It works on *delivered* offsets, so holes (compaction, transaction markers, aborted records) are normal: a
//! hole belongs to the range that is acked after it. Acks may come in any order. The committable offset is the
//! end of the contiguous acked range, or the lowest refused record that isn't final yet, whichever is lower;
//! it never goes back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Range;

/// What a caller of the tracker did wrong. Never happens with a sink that keeps the contract; when it does,
/// the partition must stop rather than commit something that isn't final.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// An ack of records that were never taken.
    #[error("acked {range}, but only offsets below {next} were taken")]
    NotTaken {
        /// What was acked.
        range: Range,
        /// The next offset to take.
        next: i64,
    },
    /// An ack of records that were acked before.
    #[error("acked {range}, which overlaps what was acked before (frontier {frontier})")]
    Overlap {
        /// What was acked.
        range: Range,
        /// Everything below was acked.
        frontier: i64,
    },
}

/// The tracker of one partition in one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracker {
    frontier: i64,
    next: i64,
    acked: BTreeMap<i64, i64>,
    held: BTreeSet<i64>,
    leader_epochs: VecDeque<(i64, i32)>,
    /// The last range that the source passed without a record in it, see [`Tracker::reach`].
    hole: Option<Range>,
    /// The position when an earlier hole was forgotten.
    floor: Range,
}

impl Tracker {
    /// Nothing taken yet; the next record to take is at `resume` or, if there is a hole, after it.
    pub fn resume_at(resume: i64) -> Self {
        Tracker {
            frontier: resume,
            next: resume,
            acked: BTreeMap::new(),
            held: BTreeSet::new(),
            leader_epochs: VecDeque::new(),
            hole: None,
            floor: Range::new(resume, resume),
        }
    }

    /// Takes the record at `offset`; `false` if it was taken before (it must then be dropped).
    #[inline]
    pub fn take(&mut self, offset: i64, leader_epoch: i32) -> bool {
        if offset < self.next {
            return false;
        }
        if self
            .leader_epochs
            .back()
            .is_none_or(|&(_, epoch)| epoch != leader_epoch)
        {
            self.leader_epochs.push_back((offset, leader_epoch));
        }
        self.next = offset + 1;
        true
    }

    /// The source stands at `offset`, and between the last record and there is none (a transaction's marker,
    /// aborted records, what compaction took): once all records before are final, so is the hole.
    pub fn reach(&mut self, offset: i64) {
        if offset <= self.next {
            return;
        }
        match &mut self.hole {
            Some(hole) if hole.end == self.next => hole.end = offset,
            _ => {
                self.floor = self.position();
                self.hole = Some(Range::new(self.next, offset));
                // Which leader wrote what isn't delivered is not known.
                self.leader_epochs.push_back((self.next, -1));
            }
        }
        self.next = offset;
    }

    /// Holds the committable offset at or below `offset`, whatever is acked, until it is settled.
    pub fn hold(&mut self, offset: i64) {
        if offset >= self.frontier {
            self.held.insert(offset);
        }
    }

    /// The refused record at `offset` is final now.
    pub fn settle(&mut self, offset: i64) {
        self.held.remove(&offset);
        self.forget_leader_epochs();
    }

    /// The records in `range` are final, but for those held.
    pub fn ack(&mut self, range: Range) -> Result<(), Violation> {
        if range.is_empty() {
            return Ok(());
        }
        if range.end > self.next {
            return Err(Violation::NotTaken {
                range,
                next: self.next,
            });
        }
        let before = self.acked.range(..range.end).next_back();
        if range.first < self.frontier || before.is_some_and(|(_, &end)| end > range.first) {
            return Err(Violation::Overlap {
                range,
                frontier: self.frontier,
            });
        }
        self.acked.insert(range.first, range.end);
        while let Some(end) = self.acked.remove(&self.frontier) {
            self.frontier = end;
        }
        self.forget_leader_epochs();
        Ok(())
    }

    /// The offset that may be committed: everything below it is final.
    pub fn committable(&self) -> i64 {
        self.position().end
    }

    /// Everything from here to the committable offset is known to be no record.
    pub fn records_end(&self) -> i64 {
        self.position().first
    }

    /// The end of what is final, with the hole behind it.
    fn position(&self) -> Range {
        let held = self.held.first().copied().unwrap_or(i64::MAX);
        let end = self.frontier.min(held);
        let position = match self.hole {
            Some(hole) if hole.first == end => hole,
            _ => Range::new(end, end),
        };
        match position.end < self.floor.end {
            true => self.floor,
            false => position,
        }
    }

    /// The leader epoch of the record before [`Tracker::committable`], -1 if unknown.
    pub fn committable_leader_epoch(&self) -> i32 {
        let end = self.committable();
        let before = self
            .leader_epochs
            .iter()
            .take_while(|&&(first, _)| first < end)
            .last();
        before.map_or(-1, |&(_, epoch)| epoch)
    }

    /// The leader epoch of the last record taken, -1 if none was.
    pub fn last_leader_epoch(&self) -> i32 {
        self.leader_epochs.back().map_or(-1, |&(_, epoch)| epoch)
    }

    /// The next offset to take.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// How many offsets lie between what is final and what was taken.
    pub fn span(&self) -> i64 {
        self.next - self.committable()
    }

    /// Whether everything taken is final.
    pub fn is_final(&self) -> bool {
        self.committable() == self.next
    }

    /// Keeps the newest leader epoch below the committable offset, and those above it.
    fn forget_leader_epochs(&mut self) {
        let end = self.committable();
        while self
            .leader_epochs
            .get(1)
            .is_some_and(|&(first, _)| first < end)
        {
            self.leader_epochs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
