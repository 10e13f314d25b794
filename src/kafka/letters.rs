//! Which records of a sink stand in the dead letter topic, by the coordinates that their letters carry.

use std::collections::BTreeMap;

use super::letterbox::{Names, Stamp};
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
    /// Reads the whole topic, as it is now, for the letters of a sink that reads for a group.
    pub fn read(
        scanner: &mut Scanner,
        topic: &str,
        (sink, group): (&str, &str),
    ) -> Result<Self, Error> {
        let mut letters = Letters::default();
        let mut names = Names::default();
        for number in 0..scanner.num_partitions(topic)? {
            let partition = TopicPartition::new(topic, number);
            let (start, end) = scanner.bounds(&partition)?;
            letters.is_cut |= start > 0;
            scanner.read(&partition, Range::new(start, end), &mut |told| {
                match told {
                    Told::Record(letter) => {
                        let stamp = Stamp::read(&letter.headers(), &mut names);
                        if let Some(stamp) = stamp.filter(|stamp| stamp.is_of(sink, group)) {
                            let refused = letters.refused.entry(stamp.partition).or_default();
                            refused.insert(stamp.offset);
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
