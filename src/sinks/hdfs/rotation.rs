//! When the open files of a partition are closed and committed: whatever limit is reached first. Pure.

use std::time::Instant;

use crate::config::settings::Rotation;

/// Why files are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A file has reached its size.
    Bytes,
    /// A file has reached its number of records.
    Records,
    /// The first record has waited long enough.
    Age,
    /// No record has come for a while.
    Idle,
}

/// How far the open range of a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of its largest file, as written.
    pub bytes: u64,
    /// Records of its largest file.
    pub records: u64,
    /// When its first record was taken.
    pub first_at: Instant,
    /// When its last record was taken.
    pub last_at: Instant,
}

/// Whether the size of the open files is reason enough. Needs no clock: asked after every record.
pub fn is_full(rotation: &Rotation, bytes: u64, records: u64) -> Option<Due> {
    if rotation.records.is_some_and(|most| records >= most) {
        Some(Due::Records)
    } else if bytes >= rotation.bytes {
        Some(Due::Bytes)
    } else {
        None
    }
}

/// Whether, and why, the open range is to be closed at `now`.
pub fn due(rotation: &Rotation, progress: &Progress, now: Instant) -> Option<Due> {
    let waited = |since: Instant| now.saturating_duration_since(since);
    if let Some(full) = is_full(rotation, progress.bytes, progress.records) {
        Some(full)
    } else if waited(progress.first_at) >= rotation.age {
        Some(Due::Age)
    } else if rotation
        .idle
        .is_some_and(|idle| waited(progress.last_at) >= idle)
    {
        Some(Due::Idle)
    } else {
        None
    }
}

/// When the passing of time alone makes it due; `None` if that is beyond what a clock can say.
pub fn deadline(rotation: &Rotation, progress: &Progress) -> Option<Instant> {
    let age = progress.first_at.checked_add(rotation.age);
    let idle = rotation
        .idle
        .and_then(|idle| progress.last_at.checked_add(idle));
    age.into_iter().chain(idle).min()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn rotation() -> Rotation {
        Rotation {
            bytes: 1_000,
            records: Some(10),
            age: Duration::from_secs(600),
            idle: Some(Duration::from_secs(60)),
        }
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn each_limit_alone_closes_a_file() {
        let start = Instant::now();
        let young = Progress {
            bytes: 999,
            records: 9,
            first_at: start,
            last_at: start,
        };
        let table = [
            (young, 59, None),
            (
                Progress {
                    bytes: 1_000,
                    ..young
                },
                0,
                Some(Due::Bytes),
            ),
            (
                Progress {
                    records: 10,
                    ..young
                },
                0,
                Some(Due::Records),
            ),
            (young, 60, Some(Due::Idle)),
            (
                Progress {
                    last_at: at(start, 590),
                    ..young
                },
                599,
                None,
            ),
            (
                Progress {
                    last_at: at(start, 590),
                    ..young
                },
                600,
                Some(Due::Age),
            ),
        ];
        for (progress, now, expected) in table {
            assert_eq!(due(&rotation(), &progress, at(start, now)), expected);
        }
    }

    #[test]
    fn without_a_record_limit_a_million_records_are_fine() {
        let unlimited = Rotation {
            records: None,
            ..rotation()
        };
        assert_eq!(is_full(&unlimited, 0, 1_000_000), None);
    }

    proptest! {
        #[test]
        fn a_file_is_due_at_its_deadline_and_not_before(
            age in 1..1_000u64, idle in prop::option::of(1..1_000u64), gap in 0..1_000u64,
        ) {
            let start = Instant::now();
            let rotation = Rotation {
                bytes: u64::MAX,
                records: None,
                age: Duration::from_secs(age),
                idle: idle.map(Duration::from_secs),
            };
            let progress = Progress { bytes: 0, records: 0, first_at: start, last_at: at(start, gap) };
            let deadline = deadline(&rotation, &progress).expect("in reach");
            prop_assert!(due(&rotation, &progress, deadline).is_some());
            prop_assert!(due(&rotation, &progress, deadline - Duration::from_nanos(1)).is_none());
        }
    }
}
