//! What lies in the dead letter topic: letters of this sink, and whether they were replayed; others are counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::selection::Filter;
use super::{Item, Work};
use crate::error::Error;
use crate::kafka::letterbox::{Envelope, Letterbox, Log, Place, Stamp};
use crate::offsets::{OffsetRuns, TopicPartition};

/// Details are kept up to this many bytes.
const DETAIL_BYTES: usize = 160;

/// What was replayed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// By the letters' places, per partition of the dead letter topic.
    Places(BTreeMap<i32, OffsetRuns>),
    /// By the records' own offsets.
    Origins(BTreeMap<TopicPartition, OffsetRuns>),
}

impl Replayed {
    fn has(&self, place: Place, stamp: &Stamp) -> bool {
        let (set, offset) = match self {
            Replayed::Places(places) => (places.get(&place.partition), place.offset),
            Replayed::Origins(origins) => (origins.get(&stamp.partition), stamp.offset),
        };
        set.is_some_and(|set| set.has(offset))
    }
}

/// A letter of this sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where it stands.
    pub place: Place,
    /// The record's timestamp (Unix ms).
    pub timestamp_ms: Option<i64>,
    /// About what the record takes in memory, in bytes.
    pub bytes: usize,
    /// What stands on it.
    pub stamp: Stamp,
    /// Whether it was replayed.
    pub is_replayed: bool,
}

/// What lies in the dead letter topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Its partitions.
    pub logs: Vec<Log>,
    /// This sink's letters, as they stand there.
    pub own: Vec<Letter>,
    /// How many letters other sinks have there, by their names and groups.
    pub of_other_sinks: BTreeMap<(Arc<str>, Option<Arc<str>>), u64>,
    /// How many letters of other tools are there, and where the first stands.
    pub of_other_tools: Option<(u64, Place)>,
}

impl Survey {
    /// Looks through the topic, for the sink of this name that reads for this group.
    pub fn take(letters: &mut Letterbox, sink: &str, group: &str) -> Result<Self, Error> {
        let mut survey = Survey {
            logs: letters.logs()?,
            ..Survey::default()
        };
        let logs = survey.logs.clone();
        letters.look_through(&logs, &mut |envelope| survey.add(envelope, sink, group))?;
        Ok(survey)
    }

    fn add(&mut self, envelope: Envelope, sink: &str, group: &str) {
        let Envelope {
            place,
            timestamp_ms,
            bytes,
            stamp,
        } = envelope;
        let Some(mut stamp) = stamp else {
            let (count, _) = self.of_other_tools.get_or_insert((0, place));
            *count += 1;
            return;
        };
        if !stamp.is_of(sink, group) {
            let whose = (stamp.sink, stamp.group);
            *self.of_other_sinks.entry(whose).or_default() += 1;
            return;
        }
        let end = stamp.detail.floor_char_boundary(DETAIL_BYTES);
        stamp.detail.truncate(end);
        stamp.detail.shrink_to_fit();
        self.own.push(Letter {
            place,
            timestamp_ms,
            bytes,
            stamp,
            is_replayed: false,
        });
    }

    /// Where this sink's records come from.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        let all = self.own.iter().map(|letter| &letter.stamp.partition);
        all.collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }

    /// Marks what was replayed.
    pub fn mark(&mut self, replayed: &Replayed) {
        for letter in &mut self.own {
            letter.is_replayed = replayed.has(letter.place, &letter.stamp);
        }
    }

    /// Marks what was replayed besides, by the records' own offsets: a record that was refused twice has two
    /// letters, and once one is replayed, both are.
    pub fn mark_too(&mut self, done: &BTreeMap<TopicPartition, OffsetRuns>) {
        for letter in &mut self.own {
            let set = done.get(&letter.stamp.partition);
            letter.is_replayed |= set.is_some_and(|set| set.has(letter.stamp.offset));
        }
    }

    /// The letters that are meant.
    pub fn chosen(&self, filter: &Filter) -> impl Iterator<Item = &Letter> {
        let is_meant =
            |letter: &&Letter| filter.has(letter.place, letter.timestamp_ms, &letter.stamp);
        self.own.iter().filter(is_meant)
    }

    /// What is to be done to replay these letters: by partition, each record once, from its newest letter.
    pub fn work<'a>(
        chosen: impl Iterator<Item = &'a Letter>,
        topic_ids: &BTreeMap<Arc<str>, Arc<str>>,
    ) -> Vec<Work> {
        let mut by_partition: BTreeMap<&TopicPartition, BTreeMap<i64, Item>> = BTreeMap::new();
        for letter in chosen {
            let origin = letter.stamp.offset;
            let item = Item {
                place: letter.place,
                origin,
                timestamp_ms: letter.timestamp_ms,
                bytes: letter.bytes,
            };
            let items = by_partition.entry(&letter.stamp.partition).or_default();
            items.insert(origin, item);
        }
        let work = |(partition, items): (&TopicPartition, BTreeMap<i64, Item>)| Work {
            topic_id: topic_ids.get(&partition.topic).cloned().unwrap_or_default(),
            partition: partition.clone(),
            items: VecDeque::from_iter(items.into_values()),
        };
        by_partition.into_iter().map(work).collect()
    }

    /// For each partition of the dead letter topic: below which offset there is nothing left of this sink to replay,
    /// and which letters beyond it were replayed.
    pub fn notes(&self) -> Vec<(TopicPartition, i64, OffsetRuns)> {
        let note = |log: &Log| {
            let number = log.partition.partition;
            let mut left: Option<i64> = None;
            let (mut beyond, mut run) = (OffsetRuns::default(), None::<(i64, i64)>);
            let here = self.own.iter().filter(|l| l.place.partition == number);
            for letter in here {
                let at = letter.place.offset;
                match (left, letter.is_replayed) {
                    (None, true) => {}
                    (None, false) => left = Some(at),
                    // What others have between doesn't part a run.
                    (Some(_), true) => run = Some((run.map_or(at, |(first, _)| first), at)),
                    (Some(_), false) => {
                        if let Some((first, last)) = run.take() {
                            beyond.insert(first, last);
                        }
                    }
                }
            }
            if let Some((first, last)) = run {
                beyond.insert(first, last);
            }
            (log.partition.clone(), left.unwrap_or(log.end), beyond)
        };
        self.logs.iter().map(note).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(at: i64, origin: i64, is_replayed: bool) -> Letter {
        Letter {
            place: Place {
                partition: 0,
                offset: at,
            },
            timestamp_ms: None,
            bytes: 1,
            stamp: Stamp {
                sink: "es".into(),
                group: None,
                partition: TopicPartition::new("t", 0),
                offset: origin,
                timestamp_ms: None,
                reason: "r".into(),
                status: None,
                detail: String::new(),
            },
            is_replayed,
        }
    }

    fn survey(own: Vec<Letter>) -> Survey {
        let partition = TopicPartition::new("dead", 0);
        let log = Log {
            partition,
            start: 0,
            end: 50,
        };
        Survey {
            logs: vec![log],
            own,
            ..Survey::default()
        }
    }

    #[test]
    fn notes_tell_what_is_left_and_what_was_replayed_beyond() {
        let all = survey(vec![letter(3, 1, true), letter(9, 2, true)]);
        let (_, below, beyond) = &all.notes()[0];
        assert_eq!((*below, beyond.runs().count()), (50, 0));
        let some = [
            (3, true),
            (5, false),
            (7, true),
            (12, true),
            (13, false),
            (20, true),
        ];
        let some = survey(some.map(|(at, done)| letter(at, at, done)).into());
        let (_, below, beyond) = &some.notes()[0];
        assert_eq!(*below, 5);
        assert_eq!(beyond.runs().collect::<Vec<_>>(), [(7, 12), (20, 20)]);
        let mut again = survey(some.own.clone());
        again.mark(&Replayed::Places(BTreeMap::from([(0, beyond.clone())])));
        let marked: Vec<bool> = again.own.iter().map(|l| l.is_replayed).collect();
        assert_eq!(marked, [false, false, true, true, false, true]);
    }

    #[test]
    fn a_record_with_two_letters_is_replayed_once() {
        let mut twice = survey(vec![
            letter(1, 7, false),
            letter(2, 8, false),
            letter(3, 7, false),
        ]);
        let work = Survey::work(twice.own.iter(), &BTreeMap::new());
        let items: Vec<_> = work[0]
            .items
            .iter()
            .map(|i| (i.origin, i.place.offset))
            .collect();
        assert_eq!(items, [(7, 3), (8, 2)], "by origin, from the newest letter");
        let mut done = OffsetRuns::default();
        done.insert(7, 7);
        twice.mark_too(&BTreeMap::from([(TopicPartition::new("t", 0), done)]));
        let marked: Vec<bool> = twice.own.iter().map(|l| l.is_replayed).collect();
        assert_eq!(marked, [true, false, true]);
    }
}
