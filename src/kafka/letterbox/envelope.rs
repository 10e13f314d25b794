//! What stands on a dead letter: where its record came from, who refused it and why. Pure.
//!
//! Read from our own headers alone: letters of other tools may share the topic, and are told apart by having
//! none. Of headers that stand there twice (a letter that was refused again) the last counts.

use std::fmt;
use std::sync::Arc;

use super::super::ffi::queue::Headers;
use crate::offsets::TopicPartition;

/// Where a dead letter stands in the dead letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The dead letter topic's partition.
    pub partition: i32,
    /// The letter's offset.
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

/// A dead letter without what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where it stands.
    pub place: Place,
    /// The record's timestamp (Unix ms), or the letter's where that isn't known.
    pub timestamp_ms: Option<i64>,
    /// About what the record takes in memory, in bytes.
    pub bytes: usize,
    /// What outflow has written on it; `None` on letters of other tools.
    pub stamp: Option<Stamp>,
}

/// What outflow writes on a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The sink that refused the record.
    pub sink: Arc<str>,
    /// Its group; letters of older versions don't have it.
    pub group: Option<Arc<str>>,
    /// The record's partition.
    pub partition: TopicPartition,
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp (Unix ms); letters of older versions don't have it.
    pub timestamp_ms: Option<i64>,
    /// Why it was refused: a short, stable name.
    pub reason: Arc<str>,
    /// The server's status, if a server refused it.
    pub status: Option<u16>,
    /// The same for people.
    pub detail: String,
}

impl Stamp {
    /// Reads it from a letter's headers; `None` if it isn't there, or not whole.
    pub fn read(headers: &Headers, names: &mut Names) -> Option<Stamp> {
        let get = |name: &str| text(headers, name);
        let number = |name: &str| get(name)?.parse::<i64>().ok().filter(|number| *number >= 0);
        let partition = i32::try_from(number("outflow.partition")?).ok()?;
        let topic = get("outflow.topic").filter(|topic| !topic.is_empty())?;
        Some(Stamp {
            sink: names.shared(get("outflow.sink")?),
            group: get("outflow.group").map(|group| names.shared(group)),
            partition: TopicPartition::new(names.shared(topic), partition),
            offset: number("outflow.offset")?,
            timestamp_ms: number("outflow.timestamp"),
            reason: names.shared(get("outflow.reason").unwrap_or("unknown")),
            status: get("outflow.status").and_then(|status| status.parse().ok()),
            detail: get("outflow.detail").unwrap_or_default().to_owned(),
        })
    }

    /// Whether this sink, reading for this group, has refused the record.
    pub fn is_of(&self, sink: &str, group: &str) -> bool {
        *self.sink == *sink && self.group.as_deref().is_none_or(|own| own == group)
    }
}

/// Whether a header is one that says where a letter comes from, ours or Kafka Connect's.
pub fn is_stamped(name: &[u8]) -> bool {
    name.starts_with(b"outflow.") || name.starts_with(b"__connect.errors.")
}

fn text<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let mut named = headers.iter().rev().filter(|(n, _)| n == name.as_bytes());
    let (_, value) = named.next()?;
    std::str::from_utf8(value.as_deref()?).ok()
}

/// Names that many letters share are kept once.
#[derive(Debug, Default)]
pub struct Names(std::collections::BTreeSet<Arc<str>>);

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        // Reasons are few; whoever writes others' headers may choose many.
        if self.0.len() < 10_000 {
            self.0.insert(Arc::clone(&name));
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> Headers {
        let header = |(name, value): &(&str, &str)| {
            (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
        };
        list.iter().map(header).collect()
    }

    const WHOLE: [(&str, &str); 7] = [
        ("outflow.sink", "es"),
        ("outflow.topic", "events"),
        ("outflow.partition", "3"),
        ("outflow.offset", "42"),
        ("outflow.reason", "not_json"),
        ("outflow.status", "400"),
        ("outflow.detail", "expected a value"),
    ];

    #[test]
    fn a_stamp_is_read_and_the_last_of_two_counts() {
        let mut names = Names::default();
        let stamp = Stamp::read(&headers(&WHOLE), &mut names).expect("whole");
        assert_eq!(stamp.partition, TopicPartition::new("events", 3));
        assert_eq!((stamp.offset, stamp.status), (42, Some(400)));
        assert_eq!((stamp.group.as_deref(), stamp.timestamp_ms), (None, None));
        assert!(stamp.is_of("es", "any") && !stamp.is_of("hdfs", "any"));
        let mut twice = headers(&WHOLE);
        let again = [
            ("outflow.offset", "7"),
            ("outflow.group", "g"),
            ("outflow.timestamp", "9"),
        ];
        twice.extend(headers(&again));
        let stamp = Stamp::read(&twice, &mut names).expect("whole");
        assert_eq!((stamp.offset, stamp.timestamp_ms), (7, Some(9)));
        assert!(stamp.is_of("es", "g") && !stamp.is_of("es", "h"));
    }

    #[test]
    fn letters_of_other_tools_and_broken_ones_have_no_stamp() {
        let mut names = Names::default();
        let connect = headers(&[("__connect.errors.topic", "events")]);
        assert_eq!(Stamp::read(&connect, &mut names), None);
        for (at, (name, _)) in WHOLE.iter().enumerate().take(4) {
            let mut broken = headers(&WHOLE);
            broken[at].1 = None;
            assert_eq!(Stamp::read(&broken, &mut names), None, "{name} is null");
        }
        for (name, value) in [
            ("outflow.offset", "-1"),
            ("outflow.partition", "9999999999"),
            ("outflow.topic", ""),
        ] {
            let mut broken = headers(&WHOLE);
            broken.extend(headers(&[(name, value)]));
            assert_eq!(Stamp::read(&broken, &mut names), None, "{name}={value}");
        }
    }
}
