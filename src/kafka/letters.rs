//! Which records of a sink stand in the dead letter topic, by the coordinates that their letters carry.

use std::collections::BTreeMap;

use super::ffi::queue::Headers;
use super::scan::{Scanner, Told};
use crate::error::Error;
use crate::offsets::{OffsetSet, Range, TopicPartition};

/// The refused records of a sink.
#[derive(Debug, Default)]
pub struct Letters {
    refused: BTreeMap<TopicPartition, OffsetSet>,
    /// Whether the topic has lost letters to retention (or never had its first).
    pub is_cut: bool,
}

impl Letters {
    /// Reads the whole topic, as it is now.
    pub fn read(scanner: &mut Scanner, topic: &str, sink: &str) -> Result<Self, Error> {
        let mut letters = Letters::default();
        for number in 0..scanner.num_partitions(topic)? {
            let partition = TopicPartition::new(topic, number);
            let (start, end) = scanner.bounds(&partition)?;
            letters.is_cut |= start > 0;
            scanner.read(&partition, Range::new(start, end), &mut |told| {
                match told {
                    Told::Record(letter) => {
                        if let Some((origin, offset)) = origin(&letter.headers(), sink) {
                            letters.refused.entry(origin).or_default().insert(offset);
                        }
                    }
                    Told::Gone(_) => letters.is_cut = true,
                }
                Ok(())
            })?;
        }
        Ok(letters)
    }

    /// Whether the record at an offset has a letter.
    pub fn has(&self, partition: &TopicPartition, offset: i64) -> bool {
        self.refused
            .get(partition)
            .is_some_and(|offsets| offsets.contains(offset))
    }
}

/// Where a letter of `sink` came from. A record that was a dead letter before has these headers twice: the last
/// one counts.
fn origin(headers: &Headers, sink: &str) -> Option<(TopicPartition, i64)> {
    let text = |name: &str| {
        let mut found = headers.iter().rev();
        let (_, value) = found.find(|(found, _)| found == name.as_bytes())?;
        std::str::from_utf8(value.as_deref()?).ok()
    };
    if text("outflow.sink")? != sink {
        return None;
    }
    let partition = text("outflow.partition")?.parse().ok()?;
    let topic = TopicPartition::new(text("outflow.topic")?, partition);
    Some((topic, text("outflow.offset")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_says_where_it_came_from_and_the_last_word_counts() {
        let header = |name: &str, value: &str| (name.into(), Some(value.as_bytes().to_vec()));
        let of = |offset: &str, sink: &str| {
            vec![
                header("outflow.sink", sink),
                header("outflow.topic", "events"),
                header("outflow.partition", "3"),
                header("outflow.offset", offset),
            ]
        };
        let here = TopicPartition::new("events", 3);
        assert_eq!(origin(&of("42", "es"), "es"), Some((here.clone(), 42)));
        assert_eq!(origin(&of("42", "hdfs"), "es"), None, "another sink's");
        let twice = [of("7", "es"), of("42", "es")].concat();
        assert_eq!(origin(&twice, "es"), Some((here, 42)));
        assert_eq!(origin(&of("x", "es"), "es"), None);
        assert_eq!(origin(&vec![header("outflow.sink", "es")], "es"), None);
        assert_eq!(origin(&Headers::new(), "es"), None);
    }
}
