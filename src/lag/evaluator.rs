//! The verdict on a partition and on a group, by Burrow's rules (`core/internal/evaluator/caching.go`, commit ced55ba) and, where
//! those mislead, by better ones behind settings.

use std::fmt;

use super::trend;
use super::window::{Commit, CommitWindow, LogEnds, lag};

/// Burrow's states, for groups and partitions alike, in its order: the higher, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// There is no such group.
    NotFound,
    /// All is well.
    Ok,
    /// A group: a partition falls behind. A partition: its lag grows.
    Warn,
    /// A group: a partition is stopped, stalled or went back.
    Err,
    /// A partition: nothing is committed any more, though there is something to read.
    Stop,
    /// A partition: commits come, of the same offset again and again, though there is something to read.
    Stall,
    /// A partition: the committed offset went back and wasn't made up for.
    Rewind,
}

impl Status {
    /// Burrow's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::NotFound => "NOTFOUND",
            Status::Ok => "OK",
            Status::Warn => "WARN",
            Status::Err => "ERR",
            Status::Stop => "STOP",
            Status::Stall => "STALL",
            Status::Rewind => "REWIND",
        }
    }

    /// Burrow's number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is mended of Burrow's rules. Each is on unless it is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mends {
    /// A lag that grows like a saw-tooth is WARN. (Burrow: only one that never falls in the window; its issue 738.)
    pub trend: bool,
    /// The time in which there was nothing to read doesn't count as standing still, so a group that commits only when there is
    /// something new isn't STOP at the first record after a pause.
    pub quiet: bool,
    /// STOP comes after three times the longest pause between commits, but not before half a minute, if that is sooner than
    /// the whole window again. (Burrow: its issue 303.)
    pub prompt_stop: bool,
    /// Every step back counts. (Burrow: the window's first.)
    pub every_rewind: bool,
    /// A window that isn't full and began less than half a minute ago isn't judged. (Burrow: who has just begun and
    /// committed once is stopped or stalled at once.)
    pub young_window: bool,
}

impl Mends {
    /// Burrow to the letter.
    pub const NONE: Mends = Mends {
        trend: false,
        quiet: false,
        prompt_stop: false,
        every_rewind: false,
        young_window: false,
    };
    /// All.
    pub const ALL: Mends = Mends {
        trend: true,
        quiet: true,
        prompt_stop: true,
        every_rewind: true,
        young_window: true,
    };
}

/// How to judge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// A window less full than this (0 to 1) isn't judged: OK.
    pub minimum_complete: f32,
    /// A lag of no more than this is as good as none.
    pub allowed_lag: u64,
    /// What is mended.
    pub mends: Mends,
    /// Commits may be so far apart though all is well (milliseconds): who commits whole files commits seldom.
    pub pause_ms: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            minimum_complete: 0.0,
            allowed_lag: 0,
            mends: Mends::ALL,
            pause_ms: 0,
        }
    }
}

/// STOP doesn't come sooner than this after the last commit by [`Mends::prompt_stop`].
const PROMPT_MS: i64 = 30_000;
/// A window isn't young any more by [`Mends::young_window`].
const GROWN_MS: i64 = 30_000;

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
}

/// What was seen of one partition of a group.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Which.
    pub id: PartitionId<'a>,
    /// What the group committed.
    pub commits: &'a CommitWindow,
    /// Where the log ended.
    pub log_ends: &'a LogEnds,
    /// Where what can be read ends, if it is known to be before the log's end: behind it are only markers of transactions and
    /// aborted or compacted records, which no consumer ever gets.
    pub readable_end: Option<i64>,
}

impl Seen<'_> {
    /// How much there is to read behind the newest commit; 0 without one, as in Burrow.
    pub fn current_lag(&self) -> u64 {
        match (self.commits.newest(), self.log_ends.newest()) {
            (Some(commit), Some(end)) => {
                let end = self.readable_end.unwrap_or(i64::MAX).min(end.offset);
                lag(end, commit.offset)
            }
            _ => 0,
        }
    }
}

/// Why a partition is judged so. Its text is what one would tell a colleague.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The group never committed here.
    NoCommit,
    /// The window isn't full enough to judge.
    TooFew,
    /// Nothing is left to read.
    CaughtUp,
    /// Behind, and going on.
    Working,
    /// No commit for so long, though there is something to read.
    Stopped {
        /// Milliseconds since the last commit, or since there is something to read.
        for_ms: i64,
    },
    /// The same offset is committed again and again.
    Stalled {
        /// That offset.
        offset: i64,
        /// Milliseconds from the window's first commit of it to its last.
        for_ms: i64,
    },
    /// The committed offset went back.
    Rewound {
        /// From this offset.
        from: i64,
        /// To this one.
        to: i64,
    },
    /// The lag grows.
    FallingBehind {
        /// The lag at the window's first commit.
        from: u64,
        /// And at its last.
        to: u64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: i64| ms / 1_000;
        match *self {
            Reason::NoCommit => write!(f, "nothing was committed yet"),
            Reason::TooFew => write!(f, "too few commits were seen to judge"),
            Reason::CaughtUp => write!(f, "everything is read"),
            Reason::Working => write!(f, "behind, and catching up or keeping pace"),
            Reason::Stopped { for_ms } => write!(
                f,
                "nothing was committed for {} s, though there is something to read: the consumer is gone or hangs",
                seconds(for_ms)
            ),
            Reason::Stalled { offset, for_ms } => write!(
                f,
                "the consumer is there and doesn't get on: it has committed offset {offset} again and again for {} s",
                seconds(for_ms)
            ),
            Reason::Rewound { from, to } => {
                write!(
                    f,
                    "the committed offset went back from {from} to {to}: somebody reset the group, or it lost its place"
                )
            }
            Reason::FallingBehind { from, to } => write!(
                f,
                "records come faster than they are read: the lag grew from {from} to {to}"
            ),
        }
    }
}

/// The verdict on a partition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartitionVerdict<'a> {
    /// Which.
    pub id: PartitionId<'a>,
    /// OK, WARN, STOP, STALL or REWIND.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// How full the window was, from 0 to 1.
    pub complete: f32,
    /// The window's oldest commit.
    pub start: Option<Commit>,
    /// Its newest.
    pub end: Option<Commit>,
    /// How much there is to read now.
    pub current_lag: u64,
}

/// The verdict on a group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupVerdict<'a> {
    /// OK, WARN or ERR.
    pub status: Status,
    /// Which part of the partitions has a full window.
    pub complete: f32,
    /// All partitions, in the order that they were given in.
    pub partitions: Vec<PartitionVerdict<'a>>,
    /// The partition that is furthest behind, by its place; the first of several.
    pub max_lag: Option<usize>,
    /// The lag of all.
    pub total_lag: u64,
}

/// Judges a group by its partitions.
pub fn judge_group<'a>(
    seen: impl IntoIterator<Item = Seen<'a>>,
    now_ms: i64,
    rules: &Rules,
) -> GroupVerdict<'a> {
    let partitions: Vec<_> = seen
        .into_iter()
        .map(|seen| judge_partition(&seen, now_ms, rules))
        .collect();
    let worst = partitions.iter().map(|p| p.status).max();
    let num_full = partitions.iter().filter(|p| p.complete >= 1.0).count();
    let mut max_lag: Option<usize> = None;
    for (place, verdict) in partitions.iter().enumerate() {
        let most = max_lag.and_then(|place| partitions.get(place));
        if most.is_none_or(|most| verdict.current_lag > most.current_lag) {
            max_lag = Some(place);
        }
    }
    GroupVerdict {
        status: worst.unwrap_or(Status::Ok).min(Status::Err),
        complete: match partitions.len() {
            0 => 0.0,
            num => num_full as f32 / num as f32,
        },
        total_lag: partitions.iter().map(|p| p.current_lag).sum(),
        max_lag,
        partitions,
    }
}

/// Judges one partition.
pub fn judge_partition<'a>(seen: &Seen<'a>, now_ms: i64, rules: &Rules) -> PartitionVerdict<'a> {
    let complete = seen.commits.complete();
    let (status, reason) = match (seen.commits.oldest(), seen.commits.newest()) {
        (Some(first), Some(last)) if complete >= rules.minimum_complete => Judge {
            seen,
            now_ms,
            rules,
            first,
            last,
        }
        .status(),
        (Some(_), _) => (Status::Ok, Reason::TooFew),
        (None, _) => (Status::Ok, Reason::NoCommit),
    };
    PartitionVerdict {
        id: seen.id,
        status,
        reason,
        complete,
        start: seen.commits.oldest().copied(),
        end: seen.commits.newest().copied(),
        current_lag: seen.current_lag(),
    }
}

struct Judge<'a> {
    seen: &'a Seen<'a>,
    now_ms: i64,
    rules: &'a Rules,
    first: &'a Commit,
    last: &'a Commit,
}

impl Judge<'_> {
    /// The rules, in Burrow's order.
    fn status(&self) -> (Status, Reason) {
        if self.seen.current_lag() <= self.rules.allowed_lag {
            return (Status::Ok, Reason::CaughtUp);
        }
        if self.is_young() {
            return (Status::Ok, Reason::TooFew);
        }
        if let Some(for_ms) = self.stopped() {
            return (Status::Stop, Reason::Stopped { for_ms });
        }
        if let Some((from, to)) = self.rewound() {
            return (Status::Rewind, Reason::Rewound { from, to });
        }
        let is_close =
            |commit: &Commit| commit.lag.is_some_and(|lag| lag <= self.rules.allowed_lag);
        if self.seen.commits.iter().any(is_close) {
            return (Status::Ok, Reason::Working);
        }
        if self
            .seen
            .commits
            .iter()
            .all(|commit| commit.offset == self.last.offset)
        {
            let (offset, for_ms) = (self.last.offset, self.span_ms());
            return match self.is_in_time(for_ms) {
                true => (Status::Ok, Reason::Working),
                false => (Status::Stall, Reason::Stalled { offset, for_ms }),
            };
        }
        match self.falls_behind().filter(|grew| self.is_much(*grew)) {
            Some((from, to)) => (Status::Warn, Reason::FallingBehind { from, to }),
            None => (Status::Ok, Reason::Working),
        }
    }

    fn is_young(&self) -> bool {
        let age_ms = self.now_ms.saturating_sub(self.first.timestamp_ms);
        let is_full = self.seen.commits.complete() >= 1.0;
        self.rules.mends.young_window && !is_full && age_ms < GROWN_MS
    }

    /// For how long nothing was committed, if that is too long and the log wasn't read to its end a while ago.
    fn stopped(&self) -> Option<i64> {
        let last = self.last;
        let since = match self.seen.log_ends.passed(last.offset) {
            Ok(Some(end)) if self.rules.mends.quiet => end.at_ms.max(last.timestamp_ms),
            _ => last.timestamp_ms,
        };
        let for_ms = self.now_ms.saturating_sub(since);
        if for_ms <= self.patience_ms() || self.is_in_time(for_ms) {
            return None;
        }
        let was_read_to_the_end = |end: i64| end <= last.offset;
        let mut ends = self.seen.log_ends.iter();
        let recently = ends.any(|end| was_read_to_the_end(end.offset));
        (!recently).then_some(for_ms)
    }

    /// Whether the next commit may come as late as that.
    fn is_in_time(&self, ms: i64) -> bool {
        let pause_ms = self.rules.pause_ms;
        pause_ms > 0 && ms <= pause_ms
    }

    /// The time from the window's first commit to its last.
    fn span_ms(&self) -> i64 {
        let first = self.first.timestamp_ms;
        self.last.timestamp_ms.saturating_sub(first)
    }

    /// How long a commit may be missing: as long as the window spans.
    fn patience_ms(&self) -> i64 {
        let span = self.span_ms();
        if !self.rules.mends.prompt_stop {
            return span;
        }
        let commits = self.seen.commits.iter();
        let next = self.seen.commits.iter().skip(1);
        let pauses = commits
            .zip(next)
            .map(|(a, b)| b.timestamp_ms.saturating_sub(a.timestamp_ms));
        let longest = pauses.max().unwrap_or(0);
        span.min(longest.saturating_mul(3).max(PROMPT_MS))
    }

    /// From where to where it went back, unless it made up for it.
    fn rewound(&self) -> Option<(i64, i64)> {
        let offsets: Vec<i64> = self.seen.commits.iter().map(|c| c.offset).collect();
        let steps = offsets.windows(2).enumerate();
        let mut back = steps.filter_map(|(i, pair)| match *pair {
            [from, to] if to < from => Some((i + 1, from, to)),
            _ => None,
        });
        let isnt_made_up =
            |&(i, from, _): &(usize, i64, i64)| offsets.iter().skip(i).all(|o| *o < from);
        let found = match self.rules.mends.every_rewind {
            true => back.find(isnt_made_up),
            false => back.next().filter(isnt_made_up),
        };
        found.map(|(_, from, to)| (from, to))
    }

    /// The first and last lag of the window, if it grows.
    fn falls_behind(&self) -> Option<(u64, u64)> {
        let lags: Vec<u64> = self.seen.commits.iter().filter_map(|c| c.lag).collect();
        let never_falls = lags.is_sorted();
        let (first, last) = (lags.first().copied(), lags.last().copied());
        // What has just caught up has a window that grew for most of it.
        let has_trend = || trend::grows(&lags) && last > first;
        let grows = never_falls || (self.rules.mends.trend && has_trend());
        grows.then(|| (first.unwrap_or(0), last.unwrap_or(0)))
    }

    /// Where commits are far apart, what came in the seconds around them makes lags differ: a tenth of what was read
    /// meanwhile is nothing.
    fn is_much(&self, (from, to): (u64, u64)) -> bool {
        let read = self.last.offset.saturating_sub(self.first.offset);
        let grown = i64::try_from(to.saturating_sub(from)).unwrap_or(i64::MAX);
        self.rules.pause_ms == 0 || grown > read / 10
    }
}

#[cfg(test)]
#[path = "evaluator_tests.rs"]
mod tests;
