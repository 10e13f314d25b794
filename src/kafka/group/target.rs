//! Which partitions a command means, and where they are to go on. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{parse_age, parse_moment, partition_numbers};
use crate::offsets::TopicPartition;

/// Where partitions are to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The oldest record there is.
    Earliest,
    /// Only what comes from now on.
    Latest,
    /// This offset.
    Offset(i64),
    /// The first record at or after this moment (Unix ms).
    ByTimestamp(i64),
    /// The first record that is at most this old.
    ByDuration(Duration),
}

impl Target {
    /// Reads what stands after `--to`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (word, argument) = text.split_once(':').unwrap_or((text, ""));
        let offset = || {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .then(|| text.parse().ok())
                .flatten()
                .map(Target::Offset)
        };
        let target = match (word, argument) {
            ("earliest", "") => Some(Target::Earliest),
            ("latest", "") => Some(Target::Latest),
            ("by_duration", age) => parse_age(age).map(Target::ByDuration),
            ("by_timestamp", moment) => parse_moment(moment).map(Target::ByTimestamp),
            _ => offset(),
        };
        target.ok_or_else(|| {
            "choose earliest, latest, an offset, by_duration:24h or by_timestamp:2026-11-01T00:00:00Z"
                .to_owned()
        })
    }

    /// The offset that is meant in a log of `[start, end)`, whose first record at or after the moment is
    /// `at_moment`. The second is what was asked for, where that lies outside.
    pub fn within(self, (start, end): (i64, i64), at_moment: Option<i64>) -> (i64, Option<i64>) {
        let wanted = match self {
            Target::Earliest => start,
            Target::Latest => end,
            Target::Offset(offset) => offset,
            // No record is as young as that.
            Target::ByTimestamp(_) | Target::ByDuration(_) => at_moment.unwrap_or(end),
        };
        let offset = wanted.clamp(start, end.max(start));
        (offset, (offset != wanted).then_some(wanted))
    }
}

/// The partitions that `--topic` names; all without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection(BTreeMap<String, Vec<(i32, i32)>>);

impl Selection {
    /// Reads `topic` and `topic:0,2-5`, any number of them.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let mut selection = BTreeMap::new();
        for text in texts {
            let (topic, numbers) = match text.split_once(':') {
                Some((topic, numbers)) => (topic, Some(numbers)),
                None => (text.as_str(), None),
            };
            let ranges: Option<Vec<_>> = match numbers {
                None => Some(vec![(0, i32::MAX)]),
                Some(numbers) => numbers
                    .split(',')
                    .map(|part| partition_numbers(part.trim()))
                    .collect(),
            };
            let (false, Some(ranges)) = (topic.is_empty(), ranges) else {
                return Err(format!(
                    "{text:?}: write a topic, or a topic and its partitions: host-metrics:0,2-5"
                ));
            };
            selection
                .entry(topic.to_owned())
                .or_insert_with(Vec::new)
                .extend(ranges);
        }
        Ok(Selection(selection))
    }

    /// Whether nothing was named, and everything is meant.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The topics that were named.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether a partition is meant.
    pub fn has(&self, partition: &TopicPartition) -> bool {
        let number = partition.partition;
        self.is_all()
            || self.0.get(&*partition.topic).is_some_and(|ranges| {
                let mut ranges = ranges.iter();
                ranges.any(|(first, last)| (*first..=*last).contains(&number))
            })
    }

    /// The first partition that was named and isn't among `known`.
    pub fn missing(&self, known: &[TopicPartition]) -> Option<TopicPartition> {
        let named = self.0.iter().flat_map(|(topic, ranges)| {
            let numbered = ranges.iter().filter(|(_, last)| *last != i32::MAX);
            numbered.flat_map(move |(first, last)| {
                (*first..=*last).map(move |n| TopicPartition::new(topic.as_str(), n))
            })
        });
        let mut named = named;
        named.find(|partition| !known.contains(partition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_words_offsets_moments_and_ages() {
        let table = [
            ("earliest", Some(Target::Earliest)),
            ("latest", Some(Target::Latest)),
            ("0", Some(Target::Offset(0))),
            ("42", Some(Target::Offset(42))),
            (
                "by_duration:1h",
                Some(Target::ByDuration(Duration::from_secs(3_600))),
            ),
            (
                "by_timestamp:1970-01-01T00:00:01Z",
                Some(Target::ByTimestamp(1_000)),
            ),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("soonest", None),
            ("earliest:1", None),
            ("by_duration:", None),
        ];
        for (text, expected) in table {
            assert_eq!(Target::parse(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_lies_outside_of_the_log_is_cut_as_kafkas_tool_does() {
        let log = (10, 90);
        let table = [
            (Target::Earliest, None, (10, None)),
            (Target::Latest, None, (90, None)),
            (Target::Offset(50), None, (50, None)),
            (Target::Offset(90), None, (90, None)),
            (Target::Offset(5), None, (10, Some(5))),
            (Target::Offset(91), None, (90, Some(91))),
            (Target::ByTimestamp(1), Some(20), (20, None)),
            (Target::ByTimestamp(1), None, (90, None)),
        ];
        for (target, at_moment, expected) in table {
            assert_eq!(target.within(log, at_moment), expected, "{target:?}");
        }
    }

    #[test]
    fn a_selection_names_topics_and_partitions() {
        let parse = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Selection::parse(&texts)
        };
        let is_meant = |selection: &Selection, topic: &str, number| {
            selection.has(&TopicPartition::new(topic, number))
        };
        let all = parse(&[]).unwrap();
        assert!(all.is_all() && is_meant(&all, "any", 7));
        let some = parse(&["a:0,2-3", "b"]).unwrap();
        let meant: Vec<i32> = (0..6).filter(|n| is_meant(&some, "a", *n)).collect();
        assert_eq!(meant, [0, 2, 3]);
        assert!(is_meant(&some, "b", 100) && !is_meant(&some, "c", 0));
        let known: Vec<_> = (0..3).map(|n| TopicPartition::new("a", n)).collect();
        assert_eq!(some.missing(&known), Some(TopicPartition::new("a", 3)));
        for wrong in ["a:", ":1", "a:x", "a:3-1", ""] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
    }
}
