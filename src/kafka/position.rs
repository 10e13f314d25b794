//! Where a partition is read from when the sink doesn't know better. Pure.

use crate::config::settings::OffsetReset;
use crate::offsets::Note;

/// What was committed beside a group's positions in a topic, or in all that it reads.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The fewest partitions that the topic had when a position was located.
    fewest: Option<i32>,
    /// Somebody else has committed here.
    foreign: bool,
    /// When the group first began, as far as they tell (Unix ms).
    pub began_ms: Option<i64>,
}

impl Notes {
    pub fn add(&mut self, metadata: &str) {
        let Some(note) = Note::parse(metadata) else {
            self.foreign = true;
            return;
        };
        let fewest = self.fewest.unwrap_or(i32::MAX);
        self.fewest = Some(note.partitions.min(fewest));
        self.began_ms = match (self.began_ms, note.since_ms) {
            (Some(before), Some(since)) => Some(before.min(since)),
            (before, since) => before.or(since),
        };
    }

    /// Whether a partition without a position came to its topic after the group had begun with it: some sibling
    /// has a position, and not every position was committed when this partition was there already.
    ///
    /// The second half matters when a group starts with `latest` and several workers: the first worker's
    /// commits must not make the others read their partitions from the beginning.
    pub fn are_older_than(&self, partition: i32) -> bool {
        // With somebody else's commit it is better to read too much than to skip records.
        self.foreign || self.fewest.is_some_and(|fewest| fewest <= partition)
    }
}

/// The moment from which on records are wanted of a partition without a position, if the policy means one.
///
/// A policy is about the group's first start, whenever the partition is looked at: what came since is new. So
/// in a group that began before, `latest` is the moment when it did. For what was there then that is the end,
/// as it was; what came into being while nobody watched is read from its beginning.
pub(super) fn moment(policy: OffsetReset, began_ms: Option<i64>, now_ms: i64) -> Option<i64> {
    let moment = match policy {
        OffsetReset::ByTimestamp(moment) => moment,
        OffsetReset::ByDuration(age) => {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            began_ms.unwrap_or(now_ms).saturating_sub(age)
        }
        OffsetReset::Latest => began_ms?,
        OffsetReset::Earliest | OffsetReset::None => return None,
    };
    // Below zero a timestamp means something else to the brokers.
    Some(moment.max(0))
}

/// Nobody knows where to start, and the policy says not to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoPosition;

/// A log's bounds, and the first offset in it from the policy's moment on, if there is both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    pub start: i64,
    pub end: i64,
    pub at_moment: Option<i64>,
}

/// The offset to start at: the committed one; else the beginning, for what is new to a group that has begun
/// (its records are new, whatever the policy says about old ones); else what the policy says.
pub(super) fn first_position(
    committed: Option<i64>,
    log: Log,
    policy: OffsetReset,
    is_new: bool,
) -> Result<i64, NoPosition> {
    match (committed, is_new, policy) {
        (Some(offset), _, _) => Ok(offset),
        (None, true, _) | (None, false, OffsetReset::Earliest) => Ok(log.start),
        (None, false, OffsetReset::None) => Err(NoPosition),
        // A moment after the last record means the end.
        (None, false, _) => Ok(log.at_moment.map_or(log.end, |at| at.max(log.start))),
    }
}

/// Where the broker's log parts from the one that was read, out of the client's words for a truncation
/// (`rd_kafka_toppar_handle_OffsetForLeaderEpoch` in rdkafka_offset.c). `None` if they have nothing in common.
pub(super) fn parted_at(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once("broker end offset is ")?;
    let number = rest.split(' ').next()?;
    number.parse().ok().filter(|offset| *offset >= 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use OffsetReset::{ByDuration, ByTimestamp, Earliest, Latest, None as Stop};

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn the_first_position() {
        // committed, policy, is new, at the moment -> start, in a log of [10, 90)
        let new = "what is new is read from its beginning";
        let table = [
            (Some(50), Earliest, false, None, Ok(50), "committed wins"),
            (Some(50), Latest, true, None, Ok(50), "committed wins"),
            (
                Some(50),
                ByTimestamp(7),
                false,
                Some(20),
                Ok(50),
                "committed wins",
            ),
            (Some(50), Stop, false, None, Ok(50), "committed wins"),
            (
                Some(5),
                Earliest,
                false,
                None,
                Ok(5),
                "even if it is gone: that is for the lost-offset policy",
            ),
            (
                Some(0),
                Latest,
                false,
                None,
                Ok(0),
                "an offset of zero is an offset",
            ),
            (
                None,
                Earliest,
                false,
                None,
                Ok(10),
                "the oldest record there is",
            ),
            (
                None,
                Latest,
                false,
                None,
                Ok(90),
                "only what comes from now on",
            ),
            (
                None,
                Latest,
                false,
                Some(70),
                Ok(70),
                "now was when the group began",
            ),
            (
                None,
                ByTimestamp(7),
                false,
                Some(30),
                Ok(30),
                "the first from then on",
            ),
            (
                None,
                ByTimestamp(7),
                false,
                None,
                Ok(90),
                "nothing is that young",
            ),
            (
                None,
                ByDuration(HOUR),
                false,
                Some(40),
                Ok(40),
                "the first that is young",
            ),
            (
                None,
                ByDuration(HOUR),
                false,
                Some(3),
                Ok(10),
                "retention was quicker",
            ),
            (None, Stop, false, None, Err(NoPosition), "stop, and say it"),
            (None, Earliest, true, None, Ok(10), new),
            (None, Latest, true, Some(70), Ok(10), new),
            (None, ByTimestamp(7), true, Some(70), Ok(10), new),
            (None, Stop, true, None, Ok(10), new),
        ];
        for (committed, policy, is_new, at_moment, expected, why) in table {
            let log = Log {
                start: 10,
                end: 90,
                at_moment,
            };
            let start = first_position(committed, log, policy, is_new);
            assert_eq!(start, expected, "{why}: {committed:?} {policy:?} {is_new}");
        }
    }

    #[test]
    fn the_moment_that_a_policy_means() {
        const HOUR_MS: i64 = 3_600_000;
        let long_ago = ByDuration(Duration::MAX);
        let table = [
            (Earliest, Some(5), None),
            (Stop, Some(5), None),
            (Latest, None, None),
            (Latest, Some(5), Some(5)),
            (ByTimestamp(7), Some(5), Some(7)),
            (ByDuration(HOUR), None, Some(10 * HOUR_MS - HOUR_MS)),
            (
                ByDuration(HOUR),
                Some(3 * HOUR_MS),
                Some(3 * HOUR_MS - HOUR_MS),
            ),
            (long_ago, None, Some(0)),
        ];
        for (policy, began, expected) in table {
            let found = moment(policy, began, 10 * HOUR_MS);
            assert_eq!(found, expected, "{policy:?}, begun {began:?}");
        }
    }

    fn notes(metadata: &[&str]) -> Notes {
        let mut notes = Notes::default();
        metadata.iter().for_each(|text| notes.add(text));
        notes
    }

    #[test]
    fn a_group_began_with_its_oldest_note() {
        let note = |since_ms| {
            let topic_id = "id".to_owned();
            let note = Note {
                topic_id,
                partitions: 4,
                since_ms,
                records_end: None,
            };
            note.to_text()
        };
        let (young, old, silent) = (note(Some(90)), note(Some(30)), note(None));
        let began = |metadata: &[&str]| notes(metadata).began_ms;
        assert_eq!(began(&[]), None, "it begins now");
        assert_eq!(began(&[&silent, "foreign"]), None, "nobody has said");
        assert_eq!(began(&[&young, &silent, &old]), Some(30));
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
            let notes = notes(siblings);
            assert_eq!(notes.are_older_than(*partition), *expected, "{why}");
        }
    }

    #[test]
    fn the_client_says_where_the_logs_part() {
        let told = "Partition log truncation detected at offset 120 (leader epoch 3): broker end offset is 80 \
                    (offset leader epoch 2). Reset to INVALID.: Local: Partition log truncation detected \
                    (broker 1)";
        assert_eq!(parted_at(told), Some(80));
        let nothing = "No epoch found less or equal to offset 120 (leader epoch 3): broker end offset is -1 \
                       (offset leader epoch -1). Reset using configured policy.: Local: Partition log \
                       truncation detected (broker 1)";
        assert_eq!(parted_at(nothing), None);
        assert_eq!(parted_at("Broker: Offset out of range"), None);
    }
}
