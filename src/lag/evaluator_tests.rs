//! Named cases of the evaluator, the textbook's three among them, and Burrow's pseudo-code as an independent judge.

use proptest::prelude::*;

use super::*;
use crate::lag::window::LogEnd;

const NOW_S: i64 = 1_000_000;

/// One partition: commits and log ends, by hand.
struct Case {
    commits: CommitWindow,
    ends: LogEnds,
    readable_end: Option<i64>,
}

impl Case {
    /// Commits as (seconds before now, offset, lag), oldest first, in a window of so many.
    fn new(capacity: usize, commits: &[(i64, i64, Option<u64>)]) -> Self {
        let mut window = CommitWindow::new(capacity);
        for (order, (ago, offset, lag)) in (1..).zip(commits) {
            let at = (NOW_S - ago) * 1_000;
            let commit = Commit {
                offset: *offset,
                order,
                timestamp_ms: at,
                observed_at_ms: at,
                lag: None,
            };
            let log_end = lag.map_or(*offset, |lag| offset + i64::try_from(lag).unwrap());
            window.take(commit, log_end, 0);
        }
        Case {
            commits: window,
            ends: LogEnds::new(capacity),
            readable_end: None,
        }
    }

    /// Ten commits, ten seconds apart, the last one so many seconds ago.
    fn steady(last_ago: i64, offset_and_lag: impl Fn(i64) -> (i64, u64)) -> Self {
        let commits: Vec<_> = (0..10)
            .map(|i| {
                let (offset, lag) = offset_and_lag(i);
                (last_ago + (9 - i) * 10, offset, Some(lag))
            })
            .collect();
        Case::new(10, &commits)
    }

    /// The log's ends as (seconds before now, offset), oldest first.
    fn ends(mut self, ends: &[(i64, i64)]) -> Self {
        for (ago, offset) in ends {
            self.ends.take(LogEnd {
                offset: *offset,
                at_ms: (NOW_S - ago) * 1_000,
            });
        }
        self
    }

    /// The log's ends, ten seconds apart up to now.
    fn log(self, end: impl Fn(i64) -> i64) -> Self {
        let ends: Vec<_> = (0..10).map(|i| ((9 - i) * 10, end(i))).collect();
        self.ends(&ends)
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            id: PartitionId {
                topic: "t",
                partition: 0,
            },
            commits: &self.commits,
            log_ends: &self.ends,
            readable_end: self.readable_end,
        }
    }

    fn judge(&self, rules: &Rules) -> PartitionVerdict<'_> {
        judge_partition(&self.seen(), NOW_S * 1_000, rules)
    }

    fn mended(&self) -> Status {
        self.judge(&Rules::default()).status
    }

    fn burrow(&self) -> Status {
        self.judge(&burrow()).status
    }

    #[track_caller]
    fn both(&self, expected: Status) {
        assert_eq!((self.burrow(), self.mended()), (expected, expected));
    }
}

fn burrow() -> Rules {
    Rules {
        mends: Mends::NONE,
        ..Rules::default()
    }
}

fn group(case: &Case) -> Status {
    judge_group([case.seen()], NOW_S * 1_000, &Rules::default()).status
}

// The three situations of the textbook.

#[test]
fn a_healthy_consumer_is_ok_however_large_the_lag_is_at_times() {
    let case = Case::steady(5, |i| (i * 1_000, if i == 4 { 0 } else { 900_000 }))
        .log(|i| (i + 1) * 1_000 + 900_000);
    case.both(Status::Ok);
    assert_eq!(group(&case), Status::Ok);
}

#[test]
fn a_producer_faster_than_its_consumer_makes_partition_and_group_warn() {
    let case =
        Case::steady(5, |i| (i * 100, 50 + u64::try_from(i).unwrap() * 20)).log(|i| 100 + i * 120);
    case.both(Status::Warn);
    assert_eq!(group(&case), Status::Warn);
    let verdict = case.judge(&Rules::default());
    assert_eq!(verdict.reason, Reason::FallingBehind { from: 50, to: 230 });
}

#[test]
fn a_stuck_consumer_is_a_stall_and_its_group_err() {
    let case =
        Case::steady(5, |i| (500, 10 + u64::try_from(i).unwrap() * 20)).log(|i| 600 + i * 20);
    case.both(Status::Stall);
    assert_eq!(group(&case), Status::Err);
    assert_eq!(
        case.judge(&Rules::default()).reason.to_string(),
        "the consumer is there and doesn't get on: it has committed offset 500 again and again for 90 s"
    );
}

// Every rule.

#[test]
fn nothing_left_to_read_is_ok_though_nobody_commits() {
    Case::steady(100_000, |i| (i, 5))
        .log(|_| 9)
        .both(Status::Ok);
}

#[test]
fn a_lag_that_is_allowed_is_as_good_as_none() {
    let case = Case::steady(100_000, |i| (i, 5)).log(|_| 12);
    assert_eq!(case.burrow(), Status::Stop);
    let rules = Rules {
        allowed_lag: 3,
        ..burrow()
    };
    assert_eq!(case.judge(&rules).status, Status::Ok);
}

#[test]
fn no_commit_for_longer_than_the_window_spans_is_a_stop() {
    let stopped = Case::steady(91, |i| (i, 5)).log(|_| 100);
    stopped.both(Status::Stop);
    assert_eq!(group(&stopped), Status::Err);
    let not_yet = Case::steady(90, |i| (i, 5)).log(|_| 100);
    assert_ne!(not_yet.burrow(), Status::Stop);
}

#[test]
fn whoever_read_to_the_end_within_the_log_ends_window_isnt_stopped() {
    let case = Case::steady(500, |i| (i, 5)).log(|i| if i == 0 { 9 } else { 100 });
    assert_ne!(case.burrow(), Status::Stop);
}

#[test]
fn a_step_back_is_a_rewind_until_it_is_made_up_for() {
    Case::steady(5, |i| (if i < 5 { 1_000 + i } else { i }, 100))
        .log(|_| 5_000)
        .both(Status::Rewind);
    Case::steady(5, |i| (if i == 5 { 0 } else { 1_000 + i }, 100))
        .log(|_| 5_000)
        .both(Status::Warn);
}

#[test]
fn a_lag_of_zero_within_the_window_is_ok() {
    Case::steady(5, |i| (i, if i == 0 { 0 } else { 50 }))
        .log(|_| 5_000)
        .both(Status::Ok);
}

#[test]
fn a_lag_that_falls_is_ok() {
    Case::steady(5, |i| (i * 100, 5_000 - u64::try_from(i).unwrap() * 100))
        .log(|_| 9_000)
        .both(Status::Ok);
}

#[test]
fn a_window_that_isnt_full_enough_isnt_judged() {
    let case = Case::new(10, &[(20, 500, Some(10)), (10, 500, Some(20))]).log(|_| 600);
    assert_eq!(case.judge(&burrow()).complete, 0.2);
    assert_eq!(case.burrow(), Status::Stall);
    let rules = Rules {
        minimum_complete: 0.5,
        ..burrow()
    };
    let verdict = case.judge(&rules);
    assert_eq!(
        (verdict.status, verdict.reason),
        (Status::Ok, Reason::TooFew)
    );
}

#[test]
fn a_partition_without_a_commit_is_ok_and_has_no_lag() {
    let case = Case::new(10, &[]).log(|_| 600);
    let verdict = case.judge(&Rules::default());
    assert_eq!(
        (verdict.status, verdict.current_lag, verdict.complete),
        (Status::Ok, 0, 0.0)
    );
    assert_eq!(verdict.reason, Reason::NoCommit);
}

#[test]
fn a_single_commit_with_something_to_read_is_a_stop_once_the_log_was_beyond_it_for_long() {
    let case = Case::new(10, &[(1, 500, Some(10))]);
    assert_eq!(case.log(|_| 600).burrow(), Status::Stop);
    let case = Case::new(10, &[(1, 500, Some(10))]).log(|i| 491 + i * 10);
    assert_eq!(
        case.burrow(),
        Status::Stall,
        "the log ended at 491 a while ago"
    );
}

#[test]
fn who_has_just_caught_up_after_an_outage_does_not_fall_behind() {
    let case = Case::steady(5, |i| {
        let lag = if i == 9 {
            8
        } else {
            100 + 500 * u64::try_from(i).unwrap()
        };
        (1_000 * i, lag)
    });
    let case = case.log(|_| 20_000);
    assert_eq!(case.judge(&Rules::default()).status, Status::Ok);
}

#[test]
fn who_has_just_begun_is_not_stopped_yet() {
    let case = Case::new(10, &[(1, 500, Some(10))]).log(|_| 600);
    assert_eq!(case.burrow(), Status::Stop);
    let verdict = case.judge(&Rules::default());
    assert_eq!(
        (verdict.status, verdict.reason),
        (Status::Ok, Reason::TooFew)
    );
    let case = Case::new(10, &[(29, 500, Some(10)), (2, 500, Some(20))]).log(|_| 600);
    assert_eq!(case.judge(&Rules::default()).reason, Reason::TooFew);
    let case = Case::new(10, &[(31, 500, Some(10)), (2, 500, Some(20))]).log(|_| 600);
    assert_eq!(case.judge(&Rules::default()).status, Status::Stall);
    let full = Case::new(2, &[(9, 500, Some(10)), (8, 500, Some(20))]).log(|_| 600);
    assert_eq!(
        full.judge(&Rules::default()).status,
        Status::Stop,
        "a window that is full says enough"
    );
}

#[test]
fn the_lag_of_a_group_is_that_of_all_and_the_first_of_the_worst_is_named() {
    let cases = [
        Case::steady(5, |i| (i, 1)).log(|_| 10),
        Case::steady(5, |i| (i, 1)).log(|_| 50),
        Case::steady(5, |i| (i, 1)).log(|_| 50),
        Case::new(10, &[]).log(|_| 50),
    ];
    let verdict = judge_group(
        cases.iter().map(Case::seen),
        NOW_S * 1_000,
        &Rules::default(),
    );
    assert_eq!(verdict.total_lag, 1 + 41 + 41);
    assert_eq!(verdict.max_lag, Some(1));
    assert_eq!(verdict.complete, 0.75);
    let nobody = judge_group([], 0, &Rules::default());
    assert_eq!(
        (nobody.status, nobody.complete, nobody.max_lag),
        (Status::Ok, 0.0, None)
    );
}

// What is mended.

#[test]
fn a_saw_tooth_that_climbs_warns() {
    let lags = [10, 50, 30, 80, 60, 120, 100, 150, 130, 180];
    let case = Case::steady(5, |i| (i * 100, lags[usize::try_from(i).unwrap()])).log(|_| 9_000);
    assert_eq!((case.burrow(), case.mended()), (Status::Ok, Status::Warn));
}

#[test]
fn the_first_record_after_a_pause_longer_than_the_window_is_no_stop() {
    // Read to the end 1,000 s ago; a record came 15 s ago, and the log was looked at only since 8 s before it.
    let case = Case::steady(1_000, |i| (i, 5)).ends(&[(12, 10), (2, 12)]);
    assert_eq!(case.burrow(), Status::Stop);
    let case = Case::steady(1_000, |i| (i, 5)).ends(&[(25, 9), (15, 10), (5, 12)]);
    assert_ne!(case.mended(), Status::Stop);
}

#[test]
fn what_was_stopped_before_a_pause_ended_is_a_stop_once_the_record_waits_for_long() {
    let case = Case::steady(1_000, |i| (i, 5)).ends(&[
        (140, 10),
        (120, 12),
        (100, 12),
        (50, 12),
        (10, 12),
    ]);
    assert_eq!(case.mended(), Status::Stop);
}

#[test]
fn who_commits_once_in_ten_seconds_is_missed_after_half_a_minute_in_a_long_window() {
    let case = Case::steady(31, |i| (i, 5)).log(|_| 100);
    assert_ne!(case.burrow(), Status::Stop);
    assert_eq!(case.mended(), Status::Stop);
    let slow: Vec<_> = (0..10).map(|i| (60 + (9 - i) * 60, i, Some(5))).collect();
    let case = Case::new(10, &slow).log(|_| 100);
    assert_ne!(case.mended(), Status::Stop, "it commits once in a minute");
}

#[test]
fn a_second_step_back_counts_too() {
    // Down and made up for, then down for good.
    let offsets = [10, 5, 20, 30, 40, 12, 13, 14, 15, 16];
    let case = Case::steady(5, |i| (offsets[usize::try_from(i).unwrap()], 100)).log(|_| 5_000);
    assert_eq!(
        (case.burrow(), case.mended()),
        (Status::Warn, Status::Rewind)
    );
}

#[test]
fn markers_at_the_end_of_a_log_are_no_lag() {
    let mut case = Case::steady(100_000, |i| (i, 1)).log(|_| 10);
    assert_eq!(case.mended(), Status::Stop);
    case.readable_end = Some(9);
    assert_eq!(case.mended(), Status::Ok);
    case.readable_end = Some(1_000);
    assert_eq!(
        case.judge(&Rules::default()).current_lag,
        1,
        "never beyond the log"
    );
}

#[test]
fn words_and_numbers_are_burrows() {
    use Status::*;
    let all = [NotFound, Ok, Warn, Err, Stop, Stall, Rewind];
    let words = all.map(Status::as_str);
    assert_eq!(
        words,
        ["NOTFOUND", "OK", "WARN", "ERR", "STOP", "STALL", "REWIND"]
    );
    assert_eq!(all.map(Status::code), [0, 1, 2, 3, 4, 5, 6]);
}

/// Burrow's `calculatePartitionStatus`, written down line by line from its description.
fn by_the_letter(
    offsets: &[Commit],
    broker: &[i64],
    current_lag: u64,
    now_ms: i64,
    allowed: u64,
) -> Status {
    if current_lag <= allowed {
        return Status::Ok;
    }
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let stopped = now_ms - last.timestamp_ms > last.timestamp_ms - first.timestamp_ms;
    let recent_zero = broker.iter().any(|b| *b <= last.offset);
    if stopped && !recent_zero {
        return Status::Stop;
    }
    for i in 1..offsets.len() {
        if offsets[i].offset < offsets[i - 1].offset {
            let mut made_up = false;
            for later in &offsets[i..] {
                made_up |= later.offset >= offsets[i - 1].offset;
            }
            if !made_up {
                return Status::Rewind;
            }
            break;
        }
    }
    for offset in offsets {
        if offset.lag.is_some_and(|lag| lag <= allowed) {
            return Status::Ok;
        }
    }
    let mut stalled = true;
    for i in 1..offsets.len() {
        stalled &= offsets[i].offset == offsets[i - 1].offset;
    }
    if stalled {
        return Status::Stall;
    }
    let mut before = None;
    for offset in offsets {
        if let Some(lag) = offset.lag {
            if before.is_some_and(|before| lag < before) {
                return Status::Ok;
            }
            before = Some(lag);
        }
    }
    Status::Warn
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn without_mends_every_verdict_is_burrows(
        commits in prop::collection::vec((1_i64..30, 0_i64..12, prop::option::of(0_u64..6), any::<bool>()), 1..12),
        ends in prop::collection::vec(0_i64..20, 1..10),
        last_ago in 0_i64..200,
        allowed in 0_u64..4,
    ) {
        let mut window = CommitWindow::new(10);
        let span: i64 = commits.iter().map(|c| c.0).sum();
        let mut at = NOW_S - last_ago - span;
        for (order, (pause, offset, lag, is_late)) in (1..).zip(&commits) {
            at += pause;
            // A late one comes before the one that it follows.
            let order = if *is_late { order * 2 - 3 } else { order * 2 };
            let commit = Commit { offset: *offset, order, timestamp_ms: at * 1_000, observed_at_ms: at * 1_000, lag: None };
            window.take(commit, offset + lag.map_or(3, |l| i64::try_from(l).unwrap()), 0);
        }
        let num_ends = i64::try_from(ends.len()).unwrap();
        let ends: Vec<_> = (0..).zip(&ends).map(|(i, end)| ((num_ends - i) * 10, *end)).collect();
        let case = Case { commits: window, ends: LogEnds::new(10), readable_end: None }.ends(&ends);
        let rules = Rules { allowed_lag: allowed, ..burrow() };
        let offsets: Vec<_> = case.commits.iter().copied().collect();
        let broker: Vec<_> = case.ends.iter().map(|end| end.offset).collect();
        let expected = by_the_letter(&offsets, &broker, case.seen().current_lag(), NOW_S * 1_000, allowed);
        prop_assert_eq!(case.judge(&rules).status, expected);
    }

    #[test]
    fn whatever_stands_on_the_wire_is_judged_without_a_panic(
        commits in prop::collection::vec((any::<i64>(), any::<i64>(), any::<i64>()), 0..12),
        ends in prop::collection::vec((any::<i64>(), any::<i64>()), 0..12),
        now in any::<i64>(),
    ) {
        let mut window = CommitWindow::new(10);
        for (offset, order, timestamp_ms) in commits {
            let commit = Commit { offset, order, timestamp_ms, observed_at_ms: now, lag: None };
            window.take(commit, offset / 2, 1_000);
        }
        let mut log_ends = LogEnds::new(10);
        for (offset, at_ms) in ends {
            log_ends.take(LogEnd { offset, at_ms });
        }
        let case = Case { commits: window, ends: log_ends, readable_end: None };
        for mends in [Mends::ALL, Mends::NONE] {
            let verdict = judge_partition(&case.seen(), now, &Rules { mends, ..Rules::default() });
            prop_assert!(verdict.status != Status::NotFound && verdict.status != Status::Err);
            prop_assert!(!verdict.reason.to_string().is_empty());
        }
        crate::lag::pace(&case.seen(), now);
    }
}

/// It commits a file every ten minutes, and one was missing for so many seconds.
fn of_files(last_ago: i64, lag: fn(i64) -> u64) -> Case {
    let commits: Vec<_> = (0..4)
        .map(|n| (last_ago + (3 - n) * 600, n * 600, Some(lag(n))))
        .collect();
    Case::new(10, &commits).ends(&[(20, 2_400), (10, 2_410), (0, 2_420)])
}

#[test]
fn who_commits_whole_files_is_given_the_time_to_fill_them() {
    let slow = Rules {
        pause_ms: 1_230_000,
        ..Rules::default()
    };
    let status = |case: Case| case.judge(&slow).status;
    assert_eq!(status(of_files(1_200, |_| 3)), Status::Ok);
    assert_eq!(status(of_files(1_900, |_| 3)), Status::Stop);
    // One commit so far: its first file isn't full yet.
    let young = |ago| Case::new(10, &[(ago, 100, Some(1))]).ends(&[(10, 600), (0, 610)]);
    assert_eq!(status(young(500)), Status::Ok);
    assert_eq!(young(500).mended(), Status::Stop, "as for anybody else");
    assert_eq!(status(young(1_300)), Status::Stop);
    // Records that came while it committed aren't what it falls behind by; half of what it reads is.
    assert_eq!(status(of_files(10, |n| n as u64 + 1)), Status::Ok);
    assert_eq!(status(of_files(10, |n| n as u64 * 300 + 1)), Status::Warn);
    assert_eq!(of_files(10, |n| n as u64 + 1).mended(), Status::Warn);
    // The same offset again and again, for longer than a file takes.
    let stuck = |span: i64| {
        let commits: Vec<_> = (0..10).map(|n| (n * span, 100, Some(50))).rev().collect();
        Case::new(10, &commits).ends(&[(20, 150), (0, 150)])
    };
    assert_eq!(status(stuck(30)), Status::Ok);
    assert_eq!(status(stuck(200)), Status::Stall);
}
