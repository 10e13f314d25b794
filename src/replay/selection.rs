//! Which dead letters are meant. Pure.

use crate::kafka::group::target::Selection;
use crate::kafka::letterbox::{Place, Stamp};

/// What letters must be like; everything that is named must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these reasons; any if none is named.
    pub reasons: Vec<String>,
    /// The partitions that records come from.
    pub partitions: Selection,
    /// The offsets in those partitions, both inclusive.
    pub offsets: Option<(i64, i64)>,
    /// These places in the dead letter topic; any if none is named.
    pub places: Vec<Place>,
    /// The record's timestamp is at least this (Unix ms).
    pub since_ms: Option<i64>,
    /// The record's timestamp is below this (Unix ms).
    pub until_ms: Option<i64>,
}

impl Filter {
    /// Whether a letter is meant.
    pub fn has(&self, place: Place, timestamp_ms: Option<i64>, stamp: &Stamp) -> bool {
        let reason = self.reasons.is_empty() || self.reasons.iter().any(|r| **r == *stamp.reason);
        let offset = self
            .offsets
            .is_none_or(|(first, last)| (first..=last).contains(&stamp.offset));
        let time =
            |limit: Option<i64>, is_met: &dyn Fn(i64, i64) -> bool| match (limit, timestamp_ms) {
                (None, _) => true,
                (Some(limit), Some(at)) => is_met(at, limit),
                (Some(_), None) => false,
            };
        reason
            && offset
            && self.partitions.has(&stamp.partition)
            && self.is_placed(place)
            && time(self.since_ms, &|at, since| at >= since)
            && time(self.until_ms, &|at, until| at < until)
    }

    /// Whether a place in the dead letter topic is meant.
    pub fn is_placed(&self, place: Place) -> bool {
        self.places.is_empty() || self.places.contains(&place)
    }
}

/// Reads `42` or `40-49`.
pub fn parse_offsets(text: &str) -> Result<(i64, i64), String> {
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first.trim()), number(last.trim())) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err("write an offset, or the first and the last of several: 42, 40-49".to_owned()),
    }
}

/// Reads `0:17`: a partition of the dead letter topic, and an offset.
pub fn parse_place(text: &str) -> Result<Place, String> {
    let place = || {
        let (partition, offset) = text.split_once(':')?;
        Some(Place {
            partition: partition.parse().ok().filter(|n| *n >= 0)?,
            offset: offset.parse().ok().filter(|n| *n >= 0)?,
        })
    };
    place().ok_or_else(|| {
        "write the dead letter topic's partition and the letter's offset: 0:17".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::TopicPartition;

    fn stamp() -> Stamp {
        Stamp {
            sink: "es".into(),
            group: None,
            partition: TopicPartition::new("events", 1),
            offset: 42,
            timestamp_ms: None,
            reason: "not_json".into(),
            status: None,
            detail: String::new(),
        }
    }

    #[test]
    fn everything_that_is_named_must_be_met() {
        let place = Place {
            partition: 0,
            offset: 7,
        };
        let topics = |text: &str| Selection::parse(&[text.to_owned()]).expect("good");
        let all = Filter::default;
        let other = Place {
            partition: 0,
            offset: 8,
        };
        #[rustfmt::skip]
        let table = [
            (all(), true),
            (Filter { reasons: vec!["x".into(), "not_json".into()], ..all() }, true),
            (Filter { reasons: vec!["x".into()], ..all() }, false),
            (Filter { partitions: topics("events"), ..all() }, true),
            (Filter { partitions: topics("events:0"), ..all() }, false),
            (Filter { offsets: Some((42, 42)), ..all() }, true),
            (Filter { offsets: Some((43, 50)), ..all() }, false),
            (Filter { places: vec![other, place], ..all() }, true),
            (Filter { places: vec![other], ..all() }, false),
            (Filter { since_ms: Some(100), until_ms: Some(101), ..all() }, true),
            (Filter { since_ms: Some(101), ..all() }, false),
            (Filter { until_ms: Some(100), ..all() }, false),
            (Filter { offsets: Some((42, 42)), reasons: vec!["x".into()], ..all() }, false),
        ];
        for (filter, expected) in table {
            assert_eq!(
                filter.has(place, Some(100), &stamp()),
                expected,
                "{filter:?}"
            );
        }
        let timed = Filter {
            since_ms: Some(0),
            ..all()
        };
        assert!(!timed.has(place, None, &stamp()), "its time isn't known");
    }

    #[test]
    fn offsets_and_places_are_read() {
        assert_eq!(parse_offsets("42"), Ok((42, 42)));
        assert_eq!(parse_offsets("40-49"), Ok((40, 49)));
        for bad in ["", "-", "5-4", "-1", "x", "1-2-3", "+1"] {
            assert!(parse_offsets(bad).is_err(), "{bad}");
        }
        let place = Place {
            partition: 3,
            offset: 17,
        };
        assert_eq!(parse_place("3:17"), Ok(place));
        for bad in ["", "3", "3:", ":1", "-1:2", "1:-2", "a:b"] {
            assert!(parse_place(bad).is_err(), "{bad}");
        }
    }
}
