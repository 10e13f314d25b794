//! Where a partition is read from when the sink doesn't know better. Pure.

use serde::Deserialize;

use crate::config::settings::OffsetReset;

/// The part of a commit's metadata that matters here (the pipeline writes it, see `pipeline::control`).
#[derive(Deserialize)]
struct Note {
    /// How many partitions the topic had when this position was located.
    partitions: i32,
}

/// Whether a partition without a position came to its topic after the group had begun with it: some sibling
/// has a position, and not every position was committed when this partition was there already.
///
/// The second half matters when a group starts with `latest` and several workers: the first worker's commits
/// must not make the others read their partitions from the beginning.
pub(super) fn appeared_later<'a>(
    partition: i32,
    siblings: impl IntoIterator<Item = &'a str>,
) -> bool {
    siblings
        .into_iter()
        .any(|metadata| match serde_json::from_str::<Note>(metadata) {
            Ok(note) => note.partitions <= partition,
            // Somebody else's commit: better to read too much than to skip records.
            Err(_) => true,
        })
}

/// Nobody knows where to start, and the policy says not to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoPosition;

/// The offset to start at: the committed one; else the beginning, for a partition that appeared in a topic
/// which the group already reads (its records are new, whatever the policy says about old ones); else what
/// the policy says.
pub(super) fn first_position(
    committed: Option<i64>,
    log_start: i64,
    log_end: i64,
    policy: OffsetReset,
    appeared_later: bool,
) -> Result<i64, NoPosition> {
    match (committed, appeared_later, policy) {
        (Some(offset), _, _) => Ok(offset),
        (None, true, _) | (None, false, OffsetReset::Earliest) => Ok(log_start),
        (None, false, OffsetReset::Latest) => Ok(log_end),
        (None, false, OffsetReset::None) => Err(NoPosition),
        (None, false, OffsetReset::ByTimestamp(_) | OffsetReset::ByDuration(_)) => Err(NoPosition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OffsetReset::{Earliest, Latest, None as Stop};

    #[test]
    fn the_first_position() {
        // committed, policy, appeared later -> start, in a log of [10, 90)
        let table = [
            (Some(50), Earliest, false, Ok(50), "committed wins"),
            (Some(50), Latest, true, Ok(50), "committed wins"),
            (Some(50), Stop, false, Ok(50), "committed wins"),
            (
                Some(5),
                Earliest,
                false,
                Ok(5),
                "even if it is gone: that is for the lost-offset policy",
            ),
            (
                Some(0),
                Latest,
                false,
                Ok(0),
                "an offset of zero is an offset",
            ),
            (None, Earliest, false, Ok(10), "the oldest record there is"),
            (None, Latest, false, Ok(90), "only what comes from now on"),
            (None, Stop, false, Err(NoPosition), "stop, and name it"),
            (
                None,
                Earliest,
                true,
                Ok(10),
                "a new partition's records are all new",
            ),
            (
                None,
                Latest,
                true,
                Ok(10),
                "a new partition's records are all new",
            ),
            (
                None,
                Stop,
                true,
                Ok(10),
                "a new partition's records are all new",
            ),
        ];
        for (committed, policy, later, expected, why) in table {
            let start = first_position(committed, 10, 90, policy, later);
            assert_eq!(start, expected, "{why}: {committed:?} {policy:?} {later}");
        }
    }

    #[test]
    fn which_partitions_appeared_later() {
        let note = |n: i32| format!(r#"{{"topic_id":"id","partitions":{n}}}"#);
        let (four, eight) = (note(4), note(8));
        let table: &[(i32, &[&str], bool, &str)] = &[
            (5, &[], false, "nobody has begun with this topic"),
            (3, &[&four], false, "it was there when its sibling began"),
            (5, &[&four], true, "the topic had four partitions then"),
            (4, &[&four], true, "numbers begin at zero"),
            (
                5,
                &[&eight, &four],
                true,
                "one sibling remembers the time before",
            ),
            (
                5,
                &[&eight],
                false,
                "another worker of a new group was quicker",
            ),
            (
                1,
                &[""],
                true,
                "committed by somebody who left no note: don't skip records",
            ),
            (1, &["{\"v\":1}"], true, "a note that isn't ours"),
        ];
        for (partition, siblings, expected, why) in table {
            assert_eq!(
                appeared_later(*partition, siblings.iter().copied()),
                *expected,
                "{why}"
            );
        }
    }
}
