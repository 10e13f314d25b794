//! A member that reads many topics as the pipeline does: it locates, reads where it is told to, commits with notes,
//! and releases.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use outflow::config::settings::KafkaSettings;
use outflow::error::Error;
use outflow::kafka::KafkaSource;
use outflow::offsets::{Epoch, Note, TopicPartition};
use outflow::pipeline::source::{Commit, Location, Source, SourceEvent};
use outflow::sinks::Slot;

/// How long anything may take that healthy brokers do in milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A member of a group and what it has seen.
pub struct Reader {
    pub source: KafkaSource,
    ids: Vec<TopicPartition>,
    pub held: BTreeSet<TopicPartition>,
    pub located: HashMap<TopicPartition, Result<Location, Error>>,
    pub seen: BTreeMap<TopicPartition, Vec<i64>>,
    pub next: BTreeMap<TopicPartition, i64>,
    pub answered: u64,
    number: u64,
    leaving: Option<(u64, Vec<TopicPartition>)>,
    pub troubles: Vec<Option<Error>>,
    pub grew: Vec<(String, i32)>,
}

impl Reader {
    pub fn join(settings: &KafkaSettings) -> Self {
        Reader {
            source: KafkaSource::new(settings, "test", 0, 8 << 20).expect("a source"),
            ids: Vec::new(),
            held: BTreeSet::new(),
            located: HashMap::new(),
            seen: BTreeMap::new(),
            next: BTreeMap::new(),
            answered: 0,
            number: 0,
            leaving: None,
            troubles: Vec::new(),
            grew: Vec::new(),
        }
    }

    fn turn(&mut self) {
        let mut events = Vec::new();
        self.source.poll(&mut events);
        for event in events {
            self.hear(event);
        }
        let (ids, seen, next) = (&self.ids, &mut self.seen, &mut self.next);
        self.source
            .take(1_000, Duration::from_millis(5), &mut |record| {
                let id = &ids[record.slot.0];
                next.insert(id.clone(), record.offset + 1);
                seen.entry(id.clone()).or_default().push(record.offset);
            });
    }

    fn hear(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Assigned(ids) => {
                for id in ids {
                    self.source.locate(&id, Epoch(1));
                    self.held.insert(id);
                }
            }
            SourceEvent::Located {
                partition, found, ..
            } => {
                let location = found.as_ref().ok();
                if let Some(start) = location.and_then(|l| l.start.clone().ok()) {
                    self.next.insert(partition.clone(), start);
                    let slot = Slot(self.ids.len());
                    self.ids.push(partition.clone());
                    self.source.start(slot, &partition, start, -1);
                }
                self.located.insert(partition, found);
            }
            SourceEvent::Revoked(ids) => {
                self.source.stop(&ids);
                let number = self.commit();
                self.leaving = Some((number, ids));
            }
            SourceEvent::Lost(ids) => self.release(&ids),
            SourceEvent::Committed { number, .. } => {
                self.answered = number;
                if let Some((_, ids)) = self.leaving.take_if(|(n, _)| *n <= number) {
                    self.release(&ids);
                }
            }
            SourceEvent::Trouble(trouble) => self.troubles.push(trouble),
            SourceEvent::Grew { topic, partitions } => {
                self.grew.push((topic.to_string(), partitions));
            }
            SourceEvent::Broken { .. }
            | SourceEvent::CommittedInPart { .. }
            | SourceEvent::CommitMismatch { .. } => {}
            SourceEvent::Fatal(error) => panic!("fatal: {error}"),
        }
    }

    fn release(&mut self, ids: &[TopicPartition]) {
        self.source.release(ids);
        for id in ids {
            self.held.remove(id);
            self.next.remove(id);
        }
    }

    /// Commits what was seen, with a note as the pipeline makes it.
    pub fn commit(&mut self) -> u64 {
        let commits = self.next.iter().filter_map(|(id, offset)| {
            let location = self.located.get(id)?.as_ref().ok()?;
            let note = Note {
                topic_id: location.topic_id.clone(),
                partitions: location.num_partitions,
                since_ms: location.since_ms,
                records_end: None,
            };
            Some(Commit {
                partition: id.clone(),
                offset: *offset,
                leader_epoch: -1,
                metadata: note.to_text(),
            })
        });
        self.number += 1;
        self.source
            .commit(self.number, &commits.collect::<Vec<_>>());
        self.number
    }

    pub fn offsets(&self, topic: &str, partition: i32) -> Vec<i64> {
        let id = TopicPartition::new(topic, partition);
        self.seen.get(&id).cloned().unwrap_or_default()
    }

    pub fn topics(&self) -> BTreeSet<&str> {
        self.held.iter().map(|id| &*id.topic).collect()
    }

    pub fn location(&self, topic: &str, partition: i32) -> &Location {
        let found = &self.located[&TopicPartition::new(topic, partition)];
        found.as_ref().expect("a location")
    }

    pub fn start(&self, topic: &str, partition: i32) -> i64 {
        let start = self.location(topic, partition).start.clone();
        start.expect("a start")
    }

    pub fn until(&mut self, what: &str, done: impl Fn(&Reader) -> bool) {
        until(&mut [self], what, |readers| done(readers[0]));
    }

    pub fn commit_all(&mut self) {
        let number = self.commit();
        self.until("committed", |r| r.answered >= number);
    }

    /// Commits and leaves.
    pub fn leave(mut self) {
        self.commit_all();
        assert!(self.source.close(Duration::from_secs(20)));
    }
}

pub fn until(readers: &mut [&mut Reader], what: &str, done: impl Fn(&[&mut Reader]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done(readers) {
        readers.iter_mut().for_each(|reader| reader.turn());
        if Instant::now() > deadline {
            let states = readers
                .iter()
                .map(|r| format!("{:?} {:?} {:?}", r.held, r.troubles, r.seen));
            panic!("not in time: {what}; {:#?}", states.collect::<Vec<_>>());
        }
    }
}
