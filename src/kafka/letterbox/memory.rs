//! Which letters were replayed into a sink that doesn't remember it itself: the committed offsets of a consumer
//! group of their own, `<group>-deadletters`, whose metadata names what was replayed beyond them.
//!
//! It is a note, not a guard: what is sent twice lands on the same documents. So what doesn't fit is left out, and
//! a group that the brokers have forgotten is no harm.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};

use super::super::client::{creation_error, reader_config};
use super::super::contexts::Quiet;
use super::super::error::{from_code, from_kafka};
use super::super::ffi::list::{self, Entry};
use super::TIMEOUT;
use crate::config::settings::KafkaSettings;
use crate::error::Error;
use crate::offsets::{OffsetRuns, TopicPartition};

/// The brokers take 4,096 bytes unless told otherwise.
const MAX_METADATA: usize = 4_000;

/// The group of a sink's replays.
pub struct Memory {
    consumer: BaseConsumer<Quiet>,
    group: String,
}

impl Memory {
    /// The memory of the sink that reads for this group. Nothing is asked yet.
    pub fn new(settings: &KafkaSettings, sink: &str) -> Result<Self, Error> {
        let group = format!("{}-deadletters", settings.group_id);
        let mut config = reader_config(settings, sink);
        config
            .set("client.id", format!("outflow-{sink}-replays"))
            .set("group.id", &group);
        let consumer = config
            .create_with_context(Quiet)
            .map_err(|error| creation_error(&error, &settings.properties))?;
        Ok(Memory { consumer, group })
    }

    /// The group's name.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// What was replayed of these partitions of the dead letter topic.
    pub fn read(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<i32, OffsetRuns>, Error> {
        let what = || format!("Kafka: the offsets of group {} can't be read", self.group);
        let asked: Vec<Entry> = partitions.iter().cloned().map(Entry::asking).collect();
        let answered = self
            .consumer
            .committed_offsets(list::to_native(&asked), TIMEOUT)
            .map_err(|error| from_kafka(&error, what()))?;
        let mut known = BTreeMap::new();
        for entry in list::from_native(&answered) {
            if let Some(code) = entry.error {
                return Err(from_code(code, what()));
            }
            if entry.offset >= 0 {
                let set = decode(entry.offset, &entry.metadata);
                known.insert(entry.partition.partition, set);
            }
        }
        Ok(known)
    }

    /// Notes for each partition that everything below an offset was replayed, and these letters beyond it.
    pub fn write(&self, notes: &[(TopicPartition, i64, OffsetRuns)]) -> Result<(), Error> {
        let entries: Vec<Entry> = notes
            .iter()
            .map(|(partition, below, beyond)| {
                let mut entry = Entry::new(partition.clone(), *below, -1);
                entry.metadata = encode(*below, beyond);
                entry
            })
            .collect();
        self.consumer
            .commit(&list::to_native(&entries), CommitMode::Sync)
            .map_err(|error| {
                let what = format!("the offsets of group {} can't be set", self.group);
                from_kafka(&error, what)
            })
    }
}

/// Runs beyond `below`, each as the gap before it and its length: `3+1 0+20`. As many as fit.
fn encode(below: i64, beyond: &OffsetRuns) -> String {
    let mut text = String::from("replayed");
    let mut at = below;
    for (first, last) in beyond.runs().filter(|(first, _)| *first >= below) {
        let run = format!(" {}+{}", first - at, last - first + 1);
        if text.len() + run.len() > MAX_METADATA {
            break;
        }
        text.push_str(&run);
        at = last.saturating_add(1);
    }
    text
}

/// What isn't understood is taken for nothing.
fn decode(below: i64, text: &str) -> OffsetRuns {
    let mut set = OffsetRuns::default();
    set.insert(0, below - 1);
    let mut words = text.split(' ');
    if words.next() != Some("replayed") {
        return set;
    }
    let mut at = below;
    for word in words {
        let run = || {
            let (gap, length) = word.split_once('+')?;
            let first = at.checked_add(gap.parse::<i64>().ok().filter(|gap| *gap >= 0)?)?;
            let length = length.parse::<i64>().ok().filter(|length| *length > 0)?;
            Some((first, first.checked_add(length)?))
        };
        let Some((first, end)) = run() else {
            return set;
        };
        set.insert(first, end - 1);
        at = end;
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_back() {
        let mut beyond = OffsetRuns::default();
        for (first, last) in [(12, 12), (20, 29), (1_000_000, 1_000_000)] {
            beyond.insert(first, last);
        }
        let text = encode(10, &beyond);
        assert_eq!(text, "replayed 2+1 7+10 999970+1");
        let read = decode(10, &text);
        let runs: Vec<_> = read.runs().collect();
        assert_eq!(runs, [(0, 9), (12, 12), (20, 29), (1_000_000, 1_000_000)]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_end() {
        let mut beyond = OffsetRuns::default();
        (1..5_000).for_each(|n| beyond.insert(n * 3, n * 3));
        let text = encode(0, &beyond);
        assert!(text.len() <= MAX_METADATA);
        let read = decode(0, &text);
        assert!(read.has(3) && read.has(300) && !read.has(4) && !read.has(4_999 * 3));
    }

    #[test]
    fn whatever_somebody_else_has_committed_is_no_trouble() {
        for text in ["", "{}", "replayed x", "replayed 1+0", "replayed -1+1"] {
            let set = decode(5, text);
            assert_eq!(set.runs().collect::<Vec<_>>(), [(0, 4)], "{text:?}");
        }
        let far = format!("replayed 1+1 {}+9", i64::MAX);
        assert_eq!(decode(0, &far).runs().collect::<Vec<_>>(), [(1, 1)]);
        assert_eq!(decode(0, "").runs().count(), 0);
    }
}
