//! A cluster watched from outside: which topics it has and where their logs end ([`Brokers`]), and what its groups commit
//! ([`GroupLog`]). Joins no group and commits nothing.

mod group_log;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;

pub use group_log::{GroupLog, Heard};

pub use super::client::MONITOR;
use super::client::{brokers_config, creation_error, ends_config};
use super::contexts::Listener;
use super::error::{from_code, from_kafka};
use super::ffi::cluster::{self, Topic};
use super::ffi::list::Entry;
use super::lookup::{log_offsets, offsets};
use super::probe::Probe;
use crate::config::settings::ClusterSettings;
use crate::error::Error;
use crate::offsets::{Range, TopicPartition};

/// The topic that groups commit to.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A timestamp that asks for the last offset of a log; and the answer where no record is as young as asked.
const LATEST: i64 = -1;
/// So many topics are described at once.
const DESCRIBED_AT_ONCE: usize = 500;

/// A topic that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id, where brokers tell it.
    pub id: Option<[u8; 16]>,
    /// The broker that leads each partition; `None` while there is none.
    pub leaders: Vec<Option<i32>>,
}

/// Asks a cluster's brokers.
pub struct Brokers {
    consumer: BaseConsumer<Listener>,
    said: Arc<Mutex<Option<String>>>,
    topics: Vec<SeenTopic>,
    probe: Probe,
}

impl Brokers {
    /// A client that connects by itself.
    ///
    /// # Errors
    /// The client can't be made of these properties.
    pub fn new(settings: &ClusterSettings) -> Result<Self, Error> {
        let listener = Listener::default();
        let said = listener.0.clone();
        let consumer = brokers_config(settings)
            .create_with_context(listener)
            .map_err(|error| creation_error(&error, &settings.properties))?;
        Ok(Brokers {
            consumer,
            said,
            topics: Vec::new(),
            probe: Probe::new(ends_config(settings)),
        })
    }

    /// The topics as last seen.
    pub fn topics(&self) -> &[SeenTopic] {
        &self.topics
    }

    /// Looks which topics there are. Blocks as long as two questions may take, and one for each 500 topics.
    ///
    /// # Errors
    /// Nobody answered.
    pub fn look(&mut self) -> Result<(), Error> {
        let what = "Kafka: topics can't be listed";
        let listed = self
            .consumer
            .fetch_metadata(None, TIMEOUT)
            .map_err(|error| self.explained(from_kafka(&error, what)))?;
        let names: Vec<&str> = listed.topics().iter().map(|topic| topic.name()).collect();
        let mut topics = Vec::with_capacity(names.len());
        for names in names.chunks(DESCRIBED_AT_ONCE) {
            let described = cluster::describe(&self.consumer, names, TIMEOUT)
                .map_err(|code| self.explained(from_code(code, what)))?;
            // What was deleted in between is told by the next listing.
            topics.extend(described.into_iter().flatten().map(seen));
        }
        self.topics = topics;
        Ok(())
    }

    /// Asks where all logs end, each broker for those that it leads, and tells each; an error says why some are missing.
    pub fn log_ends(&self, tell: &mut dyn FnMut(&TopicPartition, i64)) -> Option<Error> {
        let mut trouble = None;
        for partitions in self.by_leader(|_| true, &mut trouble) {
            match log_offsets(&self.consumer, &partitions, LATEST) {
                Ok(found) => {
                    for (partition, end) in &found {
                        match end {
                            Ok(end) => tell(partition, *end),
                            Err(error) => drop(trouble.get_or_insert_with(|| error.clone())),
                        }
                    }
                }
                Err(error) => drop(trouble.get_or_insert(error)),
            }
        }
        // Its own events are of no interest, but would pile up.
        let _ = self.consumer.poll(Duration::ZERO);
        match trouble {
            None => {
                *self.said.lock().unwrap_or_else(PoisonError::into_inner) = None;
                None
            }
            Some(error) => Some(self.explained(error)),
        }
    }

    /// Where to begin to read what was committed since `since_ms` (Unix milliseconds), by partition of
    /// `__consumer_offsets`, and where its logs end.
    ///
    /// # Errors
    /// Not all of its partitions are known; nobody has committed yet, maybe.
    pub fn starts(&self, since_ms: i64) -> Result<BTreeMap<i32, (i64, i64)>, Error> {
        let mut trouble = None;
        let mut starts = BTreeMap::new();
        for partitions in self.by_leader(|topic| topic == OFFSETS_TOPIC, &mut trouble) {
            let ends = log_offsets(&self.consumer, &partitions, LATEST)?;
            let entry = |id: &TopicPartition| Entry::new(id.clone(), since_ms, -1);
            let asked: Vec<Entry> = partitions.iter().map(entry).collect();
            for (id, at) in offsets(&self.consumer, &asked)? {
                let end = match ends.get(&id) {
                    Some(Ok(end)) => *end,
                    Some(Err(error)) => return Err(error.clone()),
                    None => continue,
                };
                let start = match at? {
                    LATEST => end,
                    // The client leaves the moment standing where nobody has answered.
                    at if at > end || at < 0 => {
                        return Err(Error::unavailable(format!(
                            "Kafka: {id} has told no offset"
                        )));
                    }
                    at => at,
                };
                starts.insert(id.partition, (start, end));
            }
        }
        match trouble {
            Some(error) => Err(error),
            None if starts.is_empty() => Err(Error::unavailable(format!(
                "Kafka: there is no {OFFSETS_TOPIC} yet, or this principal may not DESCRIBE it"
            ))),
            None => Ok(starts),
        }
    }

    /// Looks now and then whether anything is left to read where partitions stand, beside everything else; what was found
    /// since.
    pub fn holes(
        &mut self,
        stuck: impl FnOnce() -> Vec<(Arc<str>, i32, i64)>,
    ) -> Vec<(TopicPartition, Range)> {
        let now = Instant::now();
        if self.probe.is_due(now) {
            let stand = stuck().into_iter();
            let stand = stand.map(|(topic, n, offset)| (TopicPartition::new(topic, n), offset));
            self.probe.look(stand.collect::<HashMap<_, _>>(), now);
        }
        self.probe.found()
    }

    /// Partitions by the broker that leads them, so that one that is away holds up only its own.
    fn by_leader(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        trouble: &mut Option<Error>,
    ) -> Vec<Vec<TopicPartition>> {
        let mut groups: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        for topic in self.topics.iter().filter(|topic| is_wanted(&topic.name)) {
            for (partition, leader) in (0..).zip(&topic.leaders) {
                let id = TopicPartition::new(topic.name.clone(), partition);
                match leader {
                    Some(leader) => groups.entry(*leader).or_default().push(id),
                    None => {
                        let what = format!("Kafka: {id} has no leader");
                        let missing = || from_code(Code::LeaderNotAvailable, what);
                        trouble.get_or_insert_with(missing);
                    }
                }
            }
        }
        groups.into_values().collect()
    }

    /// With the client's last word on why it can't connect, which says more.
    fn explained(&self, mut error: Error) -> Error {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = &*said {
            error.what = format!("{} ({said})", error.what);
        }
        error
    }
}

fn seen(topic: Topic) -> SeenTopic {
    SeenTopic {
        id: topic_id(&topic.id),
        name: topic.name.into(),
        leaders: topic.leaders,
    }
}

/// The bytes of an id as Kafka prints it: base64 of the alphabet that is safe in URLs, without padding.
fn topic_id(text: &str) -> Option<[u8; 16]> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(16);
    let (mut bits, mut num) = (0_u32, 0);
    for byte in text.bytes().take_while(|byte| *byte != b'=') {
        bits = (bits << 6) | u32::from(digit(byte)?);
        num += 6;
        if num >= 8 {
            num -= 8;
            bytes.push((bits >> num) as u8);
            bits &= (1 << num) - 1;
        }
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::topic_id;

    #[test]
    fn an_id_is_read_as_kafka_prints_it() {
        let bytes: [u8; 16] = [0xfb, 0xff, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xff];
        assert_eq!(topic_id("-_8AAQIDBAUGBwgJCgsM_w"), Some(bytes));
        assert_eq!(topic_id("-_8AAQIDBAUGBwgJCgsM_w=="), Some(bytes));
        for text in [
            "",
            "AAAA",
            "-_8AAQIDBAUGBwgJCgsM_w8",
            "!!!!!!!!!!!!!!!!!!!!!!",
        ] {
            assert_eq!(topic_id(text), None, "{text}");
        }
    }
}
