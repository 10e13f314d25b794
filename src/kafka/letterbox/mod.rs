//! Dead letters as they lie in their topic: looked through, read one by one, noted as replayed. Joins no group.
//!
//! | file | owns |
//! |---|---|
//! | `envelope` | what stands on a letter (pure) |
//! | `memory` | which letters were replayed, where the sink doesn't remember it |

mod envelope;
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

pub use self::envelope::{Envelope, Names, Place, Stamp, is_stamped};
pub use self::memory::Memory;
use super::dead_letter::reader::{Found, Reader, Said};
use super::error::from_code;
use super::ffi::cluster;
use super::ffi::queue::{Headers, Message};
use super::lookup::log_offsets;
use crate::config::settings::KafkaSettings;
use crate::error::Error;
use crate::offsets::TopicPartition;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// After this long without anything from the brokers a command gives up: a person waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one look for records may take.
const WAIT: Duration = Duration::from_millis(100);
/// Timestamps that ask for the first and the last offset of a log.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// A partition of the dead letter topic, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Which.
    pub partition: TopicPartition,
    /// The oldest offset that is there.
    pub start: i64,
    /// The log end offset.
    pub end: i64,
}

/// A record as it was, out of its letter.
#[derive(Debug)]
pub struct Content {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// All headers of the letter, those that say where it comes from too.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl From<Found> for Content {
    fn from(found: Found) -> Self {
        Content {
            key: found.key,
            value: found.value,
            headers: found.headers,
        }
    }
}

/// The dead letter topic.
pub struct Letterbox {
    reader: Reader,
    said: Said,
    topic: String,
    names: Names,
}

impl Letterbox {
    /// The topic, read with a client of its own. Nothing is asked yet.
    pub fn new(settings: &KafkaSettings, sink: &str, topic: &str) -> Result<Self, Error> {
        let said = Said::default();
        Ok(Letterbox {
            reader: Reader::new(settings, sink, said.clone())?,
            said,
            topic: topic.to_owned(),
            names: Names::default(),
        })
    }

    /// The topic's partitions as they are now.
    pub fn logs(&self) -> Result<Vec<Log>, Error> {
        let topics = self.topics(&[&self.topic])?;
        let Some(topic) = topics.get(self.topic.as_str()) else {
            return Err(Error::misconfigured(format!(
                "the dead letter topic {} doesn't exist: create it, or correct rejected.topic",
                self.topic
            )));
        };
        let count = i32::try_from(topic.num_partitions).unwrap_or(i32::MAX);
        let ids: Vec<_> = (0..count)
            .map(|number| TopicPartition::new(self.topic.as_str(), number))
            .collect();
        let mut starts = log_offsets(self.reader.consumer(), &ids, EARLIEST)?;
        let mut ends = log_offsets(self.reader.consumer(), &ids, LATEST)?;
        let mut logs = Vec::with_capacity(ids.len());
        for partition in ids {
            let missing = || Err(Error::unavailable(format!("{partition}: not answered")));
            let start = starts.remove(&partition).unwrap_or_else(missing)?;
            let end = ends.remove(&partition).unwrap_or_else(missing)?;
            logs.push(Log {
                partition,
                start,
                end,
            });
        }
        Ok(logs)
    }

    /// Shows every letter of these logs, in order.
    pub fn look_through(
        &mut self,
        logs: &[Log],
        show: &mut dyn FnMut(Envelope),
    ) -> Result<(), Error> {
        let Letterbox {
            reader,
            said,
            names,
            ..
        } = self;
        for log in logs {
            let (mut at, mut moved) = (log.start, Instant::now());
            while at < log.end {
                let next = reader.pass(&log.partition, at, WAIT, &mut |message| {
                    if message.offset() < log.end {
                        let number = log.partition.partition;
                        show(envelope(number, message, names));
                    }
                });
                match next {
                    Ok(Some(next)) if next > at => (at, moved) = (next, Instant::now()),
                    Ok(_) => give_up(said, moved, &log.partition, None)?,
                    Err(error) => give_up(said, moved, &log.partition, Some(error))?,
                }
            }
        }
        Ok(())
    }

    /// Reads what is in these letters. Those that can't be had any more come with why.
    pub fn read(
        &mut self,
        places: impl IntoIterator<Item = Place>,
    ) -> Result<BTreeMap<Place, Result<Content, String>>, Error> {
        let mut wanted: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
        for place in places {
            let offsets = wanted.entry(place.partition).or_default();
            offsets.insert(place.offset);
        }
        let mut found = BTreeMap::new();
        for (number, mut offsets) in wanted {
            let partition = TopicPartition::new(self.topic.as_str(), number);
            let mut moved = Instant::now();
            while !offsets.is_empty() {
                let mut learned = Vec::new();
                let result = self
                    .reader
                    .read(&partition, &mut offsets, WAIT, &mut learned);
                match result {
                    Ok(()) if learned.is_empty() => give_up(&self.said, moved, &partition, None)?,
                    Ok(()) => moved = Instant::now(),
                    Err(error) => give_up(&self.said, moved, &partition, Some(error))?,
                }
                for (offset, what) in learned {
                    let place = Place {
                        partition: number,
                        offset,
                    };
                    found.insert(place, what.map(Content::from));
                }
            }
        }
        Ok(found)
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> Result<String, Error> {
        cluster::cluster_id(self.reader.consumer(), TIMEOUT)
            .ok_or_else(|| Error::unavailable("Kafka: the brokers haven't told the cluster's id"))
    }

    /// Topics by their names; those that don't exist are left out.
    pub fn topics(&self, names: &[&str]) -> Result<BTreeMap<String, Topic>, Error> {
        use rdkafka::types::RDKafkaErrorCode as Code;
        let failed = |code, what: &str| {
            self.reader.serve();
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            let error = from_code(code, format!("Kafka: {what} can't be looked up"));
            said.clone().unwrap_or(error)
        };
        let described = cluster::describe(self.reader.consumer(), names, TIMEOUT)
            .map_err(|code| failed(code, "topics"))?;
        let mut topics = BTreeMap::new();
        for topic in described {
            match topic {
                Ok(topic) => drop(topics.insert(
                    topic.name,
                    Topic {
                        id: topic.id,
                        num_partitions: topic.leaders.len(),
                    },
                )),
                Err((_, Code::UnknownTopicOrPartition | Code::UnknownTopic)) => {}
                Err((name, code)) => return Err(failed(code, &format!("topic {name}"))),
            }
        }
        Ok(topics)
    }
}

/// What a broker says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The topic's id, base64.
    pub id: String,
    /// How many partitions it has.
    pub num_partitions: usize,
}

fn envelope(partition: i32, message: &Message<'_>, names: &mut Names) -> Envelope {
    let headers: Headers = message.headers();
    let stamp = Stamp::read(&headers, names);
    let known = stamp.as_ref().and_then(|stamp| stamp.timestamp_ms);
    Envelope {
        place: Place {
            partition,
            offset: message.offset(),
        },
        timestamp_ms: known.or(message.timestamp_ms()),
        bytes: message.key().map_or(0, <[u8]>::len) + message.value().map_or(0, <[u8]>::len),
        stamp,
    }
}

/// Nothing came: that is borne for a while, then the client's last word explains it.
fn give_up(
    said: &Said,
    moved: Instant,
    partition: &TopicPartition,
    error: Option<Error>,
) -> Result<(), Error> {
    if moved.elapsed() < PATIENCE {
        if error.is_some() {
            std::thread::sleep(WAIT);
        }
        return Ok(());
    }
    let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Err(error.or(said).unwrap_or_else(|| {
        Error::unavailable(format!(
            "Kafka: {partition} brings nothing for {} s",
            PATIENCE.as_secs()
        ))
    }))
}
