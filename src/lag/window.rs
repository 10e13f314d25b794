//! The last commits of a partition, and the last ends of its log: what the evaluator looks at.

use std::collections::VecDeque;

use serde::Serialize;

/// One commit of a group for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// The committed offset: the next one to be read.
    pub offset: i64,
    /// Where it stands among all commits: the offset of its record in `__consumer_offsets`.
    #[serde(skip)]
    pub order: i64,
    /// When it was made, by the broker's clock (Unix milliseconds).
    pub timestamp_ms: i64,
    /// When it was seen (Unix milliseconds).
    pub observed_at_ms: i64,
    /// How far behind the log's end it was when it was seen; `None` if it was seen late, after a newer one.
    pub lag: Option<u64>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It is the newest.
    Appended,
    /// It was seen late, and stands between older and newer ones.
    Inserted,
    /// It came within the smallest distance of the one before, whose place it took.
    Merged,
    /// It is older than everything in a full window.
    TooOld,
    /// It was there already.
    Duplicate,
}

/// The last commits of one partition, oldest first, at most so many.
#[derive(Debug, Clone)]
pub struct CommitWindow {
    commits: VecDeque<Commit>,
    capacity: usize,
}

impl CommitWindow {
    /// An empty one for so many commits (Burrow's `intervals`); at least one.
    pub fn new(capacity: usize) -> Self {
        CommitWindow {
            commits: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    /// Takes a commit in, by its order, while the log ends at `log_end`. One made less than `min_distance_ms` after the one
    /// before it takes its place and its timestamp, so that a group that commits ten times a second fills its window
    /// no sooner than others.
    pub fn take(&mut self, commit: Commit, log_end: i64, min_distance_ms: i64) -> Placed {
        let place = self.commits.partition_point(|c| c.order < commit.order);
        let is_newest = place == self.commits.len();
        if !is_newest {
            if place == 0 && self.commits.len() == self.capacity {
                return Placed::TooOld;
            }
            if self.commits.get(place).map(|c| c.order) == Some(commit.order) {
                return Placed::Duplicate;
            }
        }
        let lag = is_newest.then(|| lag(log_end, commit.offset));
        let before = place.checked_sub(1).and_then(|i| self.commits.get_mut(i));
        if let Some(before) = before
            && commit.timestamp_ms.saturating_sub(before.timestamp_ms) < min_distance_ms
        {
            let timestamp_ms = before.timestamp_ms;
            *before = Commit {
                timestamp_ms,
                lag,
                ..commit
            };
            return Placed::Merged;
        }
        self.commits.insert(place, Commit { lag, ..commit });
        if self.commits.len() > self.capacity {
            self.commits.pop_front();
        }
        match is_newest {
            true => Placed::Appended,
            false => Placed::Inserted,
        }
    }

    /// The commits, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Commit> + ExactSizeIterator {
        self.commits.iter()
    }

    /// The newest.
    pub fn newest(&self) -> Option<&Commit> {
        self.commits.back()
    }

    /// The oldest.
    pub fn oldest(&self) -> Option<&Commit> {
        self.commits.front()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.commits.len()
    }

    /// Whether nothing was committed yet.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// How many there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How full the window is, from 0 to 1; 0 without a commit.
    pub fn complete(&self) -> f32 {
        self.commits.len() as f32 / self.capacity as f32
    }
}

/// The end of a log at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LogEnd {
    /// The offset that the next record will get.
    pub offset: i64,
    /// When it was asked for (Unix milliseconds).
    pub at_ms: i64,
}

/// The last ends of one partition's log, oldest first, at most so many, at a steady pace whether they change or not.
#[derive(Debug, Clone)]
pub struct LogEnds {
    ends: VecDeque<LogEnd>,
    capacity: usize,
}

impl LogEnds {
    /// An empty one for so many; at least one.
    pub fn new(capacity: usize) -> Self {
        LogEnds {
            ends: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    /// Takes in where the log ends now.
    pub fn take(&mut self, end: LogEnd) {
        if self.ends.len() == self.capacity {
            self.ends.pop_front();
        }
        self.ends.push_back(end);
    }

    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &LogEnd> + ExactSizeIterator {
        self.ends.iter()
    }

    /// The newest.
    pub fn newest(&self) -> Option<&LogEnd> {
        self.ends.back()
    }

    /// When the log first ended beyond `offset`, as far as is known: since then something is to be read behind it. `Err` with the
    /// oldest look if it did so already then, `Ok(None)` if it doesn't yet.
    pub fn passed(&self, offset: i64) -> Result<Option<LogEnd>, LogEnd> {
        let place = self.ends.partition_point(|end| end.offset <= offset);
        match (place, self.ends.get(place)) {
            (_, None) => Ok(None),
            (0, Some(oldest)) => Err(*oldest),
            (_, Some(end)) => Ok(Some(*end)),
        }
    }
}

/// How far an offset is behind a log's end; a commit that is ahead of what was last seen of the log isn't behind.
pub fn lag(log_end: i64, offset: i64) -> u64 {
    u64::try_from(log_end.saturating_sub(offset)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(order: i64, offset: i64, timestamp_ms: i64) -> Commit {
        Commit {
            offset,
            order,
            timestamp_ms,
            observed_at_ms: timestamp_ms,
            lag: None,
        }
    }

    fn orders(window: &CommitWindow) -> Vec<i64> {
        window.iter().map(|c| c.order).collect()
    }

    #[test]
    fn commits_come_in_order_and_the_oldest_goes() {
        let mut window = CommitWindow::new(3);
        for order in 1..=5 {
            let placed = window.take(commit(order, order * 10, order * 1_000), 100, 0);
            assert_eq!(placed, Placed::Appended);
        }
        assert_eq!(orders(&window), [3, 4, 5]);
        let lags: Vec<_> = window.iter().map(|c| c.lag).collect();
        assert_eq!(lags, [Some(70), Some(60), Some(50)]);
        assert_eq!(window.complete(), 1.0);
    }

    #[test]
    fn a_late_one_is_put_where_it_belongs_without_a_lag() {
        let mut window = CommitWindow::new(4);
        for order in [1, 3, 5] {
            window.take(commit(order, order, order * 1_000), 10, 0);
        }
        assert_eq!(
            window.take(commit(2, 2, 2_000), 10, 0),
            Placed::Inserted,
            "in the free place"
        );
        assert_eq!(orders(&window), [1, 2, 3, 5]);
        assert_eq!(
            window.take(commit(4, 4, 4_000), 10, 0),
            Placed::Inserted,
            "full: the oldest goes"
        );
        assert_eq!(orders(&window), [2, 3, 4, 5]);
        let lags: Vec<_> = window.iter().map(|c| c.lag).collect();
        assert_eq!(lags, [None, Some(7), None, Some(5)]);
        assert_eq!(window.take(commit(1, 1, 1_000), 10, 0), Placed::TooOld);
        assert_eq!(window.take(commit(4, 9, 9_000), 10, 0), Placed::Duplicate);
        assert_eq!(window.take(commit(5, 9, 9_000), 10, 0), Placed::Duplicate);
        assert_eq!(orders(&window), [2, 3, 4, 5]);
    }

    #[test]
    fn what_is_older_than_all_takes_a_free_place() {
        let mut window = CommitWindow::new(3);
        window.take(commit(5, 5, 5_000), 10, 0);
        assert_eq!(window.take(commit(2, 2, 2_000), 10, 0), Placed::Inserted);
        assert_eq!(orders(&window), [2, 5]);
    }

    #[test]
    fn commits_close_together_share_a_place_and_the_older_timestamp() {
        let mut window = CommitWindow::new(3);
        window.take(commit(1, 10, 1_000), 100, 1_000);
        assert_eq!(
            window.take(commit(2, 20, 1_999), 100, 1_000),
            Placed::Merged
        );
        let newest = window.newest().copied().expect("one");
        assert_eq!(
            (
                newest.offset,
                newest.order,
                newest.timestamp_ms,
                newest.lag,
                newest.observed_at_ms
            ),
            (20, 2, 1_000, Some(80), 1_999)
        );
        assert_eq!(
            window.take(commit(3, 30, 2_000), 100, 1_000),
            Placed::Appended,
            "a whole second after the first"
        );
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn a_commit_ahead_of_what_was_seen_of_the_log_has_no_lag() {
        assert_eq!(lag(10, 12), 0);
        assert_eq!(lag(i64::MAX, i64::MIN), u64::try_from(i64::MAX).unwrap());
    }

    #[test]
    fn when_a_log_passed_an_offset_is_known_as_far_back_as_it_was_looked_at() {
        let mut ends = LogEnds::new(3);
        assert_eq!(ends.passed(5), Ok(None));
        for (at_ms, offset) in [(1, 1), (10, 5), (20, 5), (30, 9)] {
            ends.take(LogEnd { offset, at_ms });
        }
        assert_eq!(ends.iter().len(), 3);
        assert_eq!(ends.passed(5).map(|e| e.map(|e| e.at_ms)), Ok(Some(30)));
        assert_eq!(ends.passed(9), Ok(None));
        assert_eq!(ends.passed(2).map_err(|e| e.at_ms), Err(10));
    }
}
