//! Lag in time, rates, and when a partition will have caught up.

use super::evaluator::Seen;
use super::window::LogEnds;

/// How old the oldest unread record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLag {
    /// About so many milliseconds; 0 when all is read.
    Ms(u64),
    /// More than so many milliseconds: the log was beyond the committed offset already when it was first looked at.
    MoreThanMs(u64),
}

/// When what is there will have been read, at the paces of the last while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CatchUp {
    /// It has been.
    Done,
    /// In about so many seconds.
    InSeconds(f64),
    /// Neither that nor ever further behind: it is read about as fast as records come, and what was just written is
    /// always left to read.
    KeepsUp,
    /// Not at these paces: records come faster than they are read.
    Never,
    /// Too little was seen.
    Unknown,
}

/// Paces that differ by no more than this part of them are the same: they are measured between commits, which come in
/// steps, and ends of logs, which are looked at.
const SLACK: f64 = 0.1;

/// How fast a partition moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Offsets committed a second.
    pub consumed_per_s: Option<f64>,
    /// Offsets appended to the log a second.
    pub produced_per_s: Option<f64>,
    /// The lag in time; `None` without a commit or a log end.
    pub time_lag: Option<TimeLag>,
    /// When it will have caught up.
    pub catch_up: CatchUp,
}

/// The pace of one partition. Offsets stand for records: where a log has holes, rates are a little high.
pub fn pace(seen: &Seen<'_>, now_ms: i64) -> Pace {
    let consumed_per_s = match (seen.commits.oldest(), seen.commits.newest()) {
        (Some(first), Some(last)) => rate(
            (first.timestamp_ms, first.offset),
            // A commit that doesn't come any more slows the pace down.
            (now_ms.max(last.timestamp_ms), last.offset),
        ),
        _ => None,
    };
    let produced_per_s = {
        let mut ends = seen.log_ends.iter();
        match (ends.next(), ends.next_back()) {
            (Some(first), Some(last)) => {
                rate((first.at_ms, first.offset), (last.at_ms, last.offset))
            }
            _ => None,
        }
    };
    let lag = seen.current_lag();
    let time_lag = match (seen.commits.newest(), lag) {
        (None, _) => None,
        (Some(_), 0) => seen.log_ends.newest().map(|_| TimeLag::Ms(0)),
        (Some(commit), _) => time_lag(seen.log_ends, commit.offset, now_ms),
    };
    let catch_up = match (lag, consumed_per_s, produced_per_s) {
        _ if seen.commits.is_empty() => CatchUp::Unknown,
        (0, ..) => CatchUp::Done,
        (_, Some(consumed), produced) => match consumed - produced.unwrap_or(0.0) {
            gained if gained > 0.0 => CatchUp::InSeconds(lag as f64 / gained),
            lost if -lost < SLACK * consumed => CatchUp::KeepsUp,
            _ => CatchUp::Never,
        },
        _ => CatchUp::Unknown,
    };
    Pace {
        consumed_per_s,
        produced_per_s,
        time_lag,
        catch_up,
    }
}

/// Offsets a second between two (milliseconds, offset), never negative.
fn rate(from: (i64, i64), to: (i64, i64)) -> Option<f64> {
    let ms = to.0.checked_sub(from.0).filter(|ms| *ms > 0)?;
    let offsets = to.1.saturating_sub(from.1).max(0);
    Some(offsets as f64 * 1_000.0 / ms as f64)
}

/// The age of the record at `offset`: when the log's end passed it, between the two looks around that.
fn time_lag(ends: &LogEnds, offset: i64, now_ms: i64) -> Option<TimeLag> {
    let age = |at_ms: i64| u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(0);
    let after = match ends.passed(offset) {
        Ok(None) => return None,
        Ok(Some(end)) => end,
        Err(oldest) => return Some(TimeLag::MoreThanMs(age(oldest.at_ms))),
    };
    let before = ends.iter().rev().find(|end| end.offset <= offset)?;
    let between = |from: i64, to: i64| to.saturating_sub(from) as f64;
    let part = between(before.offset, offset) / between(before.offset, after.offset);
    let passed_ms = before
        .at_ms
        .saturating_add((between(before.at_ms, after.at_ms) * part) as i64);
    Some(TimeLag::Ms(age(passed_ms)))
}

#[cfg(test)]
mod tests {
    use super::super::evaluator::PartitionId;
    use super::super::window::{Commit, CommitWindow, LogEnd};
    use super::*;

    /// Commits as (seconds, offset), log ends as (seconds, offset).
    fn at(now_s: i64, commits: &[(i64, i64)], ends: &[(i64, i64)]) -> Pace {
        let mut window = CommitWindow::new(10);
        for (order, (s, offset)) in (1..).zip(commits) {
            let commit = Commit {
                offset: *offset,
                order,
                timestamp_ms: s * 1_000,
                observed_at_ms: s * 1_000,
                lag: None,
            };
            window.take(commit, *offset, 0);
        }
        let mut log_ends = LogEnds::new(10);
        for (s, offset) in ends {
            log_ends.take(LogEnd {
                offset: *offset,
                at_ms: s * 1_000,
            });
        }
        let seen = Seen {
            id: PartitionId {
                topic: "t",
                partition: 0,
            },
            commits: &window,
            log_ends: &log_ends,
            readable_end: None,
        };
        pace(&seen, now_s * 1_000)
    }

    #[test]
    fn who_reads_as_fast_as_records_come_keeps_up() {
        let ends = [(0, 1_500), (10, 2_500)];
        let pace = |read: i64| at(10, &[(0, 500), (10, 500 + read)], &ends).catch_up;
        assert_eq!(pace(1_000), CatchUp::KeepsUp);
        assert_eq!(pace(950), CatchUp::KeepsUp);
        assert_eq!(pace(800), CatchUp::Never);
        assert_eq!(pace(0), CatchUp::Never, "it stands");
        assert!(matches!(pace(1_200), CatchUp::InSeconds(_)));
    }

    #[test]
    fn twice_as_fast_as_records_come_catches_up_in_the_time_that_the_rest_takes() {
        let pace = at(
            10,
            &[(0, 0), (5, 1_000), (10, 2_000)],
            &[(0, 1_500), (10, 2_500)],
        );
        assert_eq!(pace.consumed_per_s, Some(200.0));
        assert_eq!(pace.produced_per_s, Some(100.0));
        assert_eq!(pace.catch_up, CatchUp::InSeconds(5.0));
        assert_eq!(
            pace.time_lag,
            Some(TimeLag::Ms(5_000)),
            "offset 2,000 was passed at second 5"
        );
    }

    #[test]
    fn slower_than_records_come_never_catches_up() {
        let pace = at(10, &[(0, 0), (10, 500)], &[(0, 600), (10, 1_600)]);
        assert_eq!(pace.catch_up, CatchUp::Never);
        assert_eq!(pace.time_lag, Some(TimeLag::MoreThanMs(10_000)));
    }

    #[test]
    fn a_consumer_that_commits_no_more_slows_down_with_time() {
        let commits = [(0, 0), (10, 1_000)];
        let ends = [(0, 1_100), (10, 1_100), (20, 1_100)];
        assert_eq!(at(10, &commits, &ends).consumed_per_s, Some(100.0));
        assert_eq!(at(20, &commits, &ends).consumed_per_s, Some(50.0));
    }

    #[test]
    fn what_isnt_known_isnt_said() {
        let pace = at(10, &[], &[(0, 5)]);
        assert_eq!((pace.time_lag, pace.catch_up), (None, CatchUp::Unknown));
        let pace = at(0, &[(0, 3)], &[(0, 5)]);
        assert_eq!(pace.catch_up, CatchUp::Unknown, "one moment is no pace");
    }

    #[test]
    fn all_read_is_no_lag_in_time_either() {
        let pace = at(10, &[(0, 3), (9, 5)], &[(0, 3), (10, 5)]);
        assert_eq!(
            (pace.time_lag, pace.catch_up),
            (Some(TimeLag::Ms(0)), CatchUp::Done)
        );
    }
}
