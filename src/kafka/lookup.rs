//! Looks things up in Kafka beside the worker's loop: which topics there are, where partitions stand, and where
//! their logs end.
//!
//! One small thread a consumer. It asks for many partitions at once, so that a thousand don't take a thousand
//! round trips; it tries again without an end; and one broker that doesn't answer holds up only what it leads.
//! It holds the consumer only while it asks, so that closing never waits for more than one question.

mod locate;
mod offsets;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

use offsets::log_ends;
pub(super) use offsets::{log_bounds, log_offsets, offsets};

use super::error::{from_code, from_kafka};
use super::ffi::cluster::{self, Topic};
use super::ffi::list::{self, Entry};
use super::ffi::queue::Yielder;
use super::keeper::Keeper;
use super::topics::Topics;
use super::verify::{ReadBack, read_back};
use crate::backoff::{Backoff, Policy};
use crate::config::settings::OffsetReset;
use crate::error::{Error, Kind};
use crate::offsets::{Epoch, TopicPartition};
use crate::pipeline::source::{Committed, Location};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often log ends are looked up, so that lag is right for partitions that aren't being read.
const REFRESH: Duration = Duration::from_secs(2);
/// How long leaders are believed while nothing fails.
const BELIEVED: Duration = Duration::from_secs(30);

/// What the worker's thread tells this one.
enum Ask {
    Locate(Vec<(TopicPartition, Epoch)>),
    Hold(Vec<TopicPartition>),
    Forget(Vec<TopicPartition>),
    /// Something seems to be wrong with the brokers: see whether it still is.
    Check,
    /// Read these partitions' committed offsets back.
    ReadBack(Vec<TopicPartition>),
}

/// What comes back.
pub(super) enum Found {
    Located(TopicPartition, Epoch, Result<Location, Error>),
    Trouble(Error),
    /// The brokers answered everything.
    Well,
    ReadBack(ReadBack),
    /// These topics are to be subscribed to from now on.
    Subscribe(Vec<String>),
    /// No topic is: why.
    NothingMatches(Error),
    /// The topic has more partitions than it had.
    Grew(Arc<str>, i32),
}

/// The handle of the thread, which ends when this is dropped.
pub(super) struct Lookup {
    asks: Sender<Ask>,
    found: Receiver<Found>,
    ends: Arc<Mutex<HashMap<TopicPartition, i64>>>,
}

/// What the thread has to know of the configuration.
pub(super) struct About {
    pub group: Arc<str>,
    pub topics: Topics,
    pub reset: OffsetReset,
    /// How often it is looked which topics there are.
    pub watch_every: Duration,
    /// When this consumer started (Unix ms).
    pub started_ms: i64,
    pub keeper: Keeper,
}

impl Lookup {
    /// Starts the thread.
    pub fn spawn<C: ConsumerContext + 'static>(
        consumer: Weak<BaseConsumer<C>>,
        yielder: Yielder,
        about: About,
    ) -> std::io::Result<Self> {
        let (asks, asked) = channel();
        let (answers, found) = channel();
        let ends = Arc::new(Mutex::new(HashMap::new()));
        let thread = Thread {
            consumer,
            about,
            yielder,
            answers,
            ends: ends.clone(),
            wanted: BTreeMap::new(),
            held: BTreeSet::new(),
            check: false,
            read_back: None,
            described: HashMap::new(),
            described_at: Instant::now(),
            began_ms: None,
            unplaced: BTreeSet::new(),
        };
        std::thread::Builder::new()
            .name("kafka-lookup".into())
            .spawn(move || thread.run(&asked))?;
        Ok(Lookup { asks, found, ends })
    }

    /// Asks where partitions stand.
    pub fn locate(&self, partitions: Vec<(TopicPartition, Epoch)>) {
        self.ask(Ask::Locate(partitions));
    }

    /// Watches the log ends of these.
    pub fn hold(&self, partitions: Vec<TopicPartition>) {
        self.ask(Ask::Hold(partitions));
    }

    /// These aren't ours any more.
    pub fn forget(&self, partitions: Vec<TopicPartition>) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in &partitions {
            ends.remove(partition);
        }
        drop(ends);
        self.ask(Ask::Forget(partitions));
    }

    /// Finds out whether the brokers are well, though nothing is held.
    pub fn check(&self) {
        self.ask(Ask::Check);
    }

    /// Reads committed offsets back; answered once.
    pub fn read_back(&self, partitions: Vec<TopicPartition>) {
        self.ask(Ask::ReadBack(partitions));
    }

    /// The thread only ends with this handle, so nobody misses what can't be sent.
    fn ask(&self, ask: Ask) {
        let _ = self.asks.send(ask);
    }

    /// What was found since.
    pub fn found(&self) -> Option<Found> {
        self.found.try_recv().ok()
    }

    /// A log's end as last looked up.
    pub fn log_end(&self, partition: &TopicPartition) -> Option<i64> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(partition).copied()
    }
}

struct Thread<C: ConsumerContext + 'static> {
    consumer: Weak<BaseConsumer<C>>,
    about: About,
    yielder: Yielder,
    answers: Sender<Found>,
    ends: Arc<Mutex<HashMap<TopicPartition, i64>>>,
    wanted: BTreeMap<TopicPartition, Epoch>,
    held: BTreeSet<TopicPartition>,
    check: bool,
    read_back: Option<Vec<TopicPartition>>,
    described: HashMap<Arc<str>, Topic>,
    described_at: Instant,
    /// When the group began with any topic of the pattern, once a commit has told.
    began_ms: Option<i64>,
    /// Partitions without a position as last said.
    unplaced: BTreeSet<TopicPartition>,
}

impl<C: ConsumerContext + 'static> Thread<C> {
    fn run(mut self, asked: &Receiver<Ask>) {
        // Capped low: work resumes within 5 s of a broker's return.
        let mut backoff = Backoff::new(Policy::new(
            Duration::from_millis(100),
            Duration::from_secs(2),
        ));
        let mut next_locate = Instant::now();
        let mut next_refresh = Instant::now();
        let mut next_watch = Instant::now();
        loop {
            let due = next_refresh.min(next_watch);
            let due = match self.wanted.is_empty() || !self.about.topics.has_looked() {
                true => due,
                false => due.min(next_locate),
            };
            match asked.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(ask) => {
                    self.note(ask);
                    asked.try_iter().for_each(|ask| self.note(ask));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let Some(consumer) = self.consumer.upgrade() else {
                return;
            };
            // First of all: what is there at the start isn't new.
            if Instant::now() >= next_watch {
                next_watch = Instant::now() + self.watch(&consumer);
            }
            let ready = !self.wanted.is_empty() && self.about.topics.has_looked();
            if ready && Instant::now() >= next_locate {
                match self.locate(&consumer) {
                    Ok(()) => backoff.reset(),
                    Err(error) => {
                        self.answer(Found::Trouble(error));
                        next_locate = Instant::now() + backoff.next_delay(None);
                    }
                }
            }
            if let Some(partitions) = self.read_back.take() {
                self.answer(Found::ReadBack(read_back(&consumer, partitions, TIMEOUT)));
            }
            if Instant::now() >= next_refresh {
                self.refresh(&consumer);
                next_refresh = Instant::now() + REFRESH;
            }
        }
    }

    fn note(&mut self, ask: Ask) {
        match ask {
            Ask::Locate(partitions) => self.wanted.extend(partitions),
            Ask::Hold(partitions) => self.held.extend(partitions),
            Ask::Forget(partitions) => {
                for partition in &partitions {
                    self.wanted.remove(partition);
                    self.held.remove(partition);
                }
            }
            Ask::Check => self.check = true,
            Ask::ReadBack(partitions) => self.read_back = Some(partitions),
        }
    }

    fn answer(&self, found: Found) {
        if self.answers.send(found).is_ok() {
            self.yielder.wake();
        }
    }

    /// Describes topics; an error in the `Ok` concerns single topics.
    fn describe(
        &mut self,
        consumer: &BaseConsumer<C>,
        topics: &BTreeSet<Arc<str>>,
    ) -> Result<Option<Error>, Error> {
        let failed = self.try_describe(consumer, topics)?;
        Ok(failed.first().map(undescribed))
    }

    /// Describes topics; tells those that can't be.
    fn try_describe(
        &mut self,
        consumer: &BaseConsumer<C>,
        topics: &BTreeSet<Arc<str>>,
    ) -> Result<Vec<(String, RDKafkaErrorCode)>, Error> {
        let names: Vec<&str> = topics.iter().map(|t| &**t).collect();
        let described = cluster::describe(consumer, &names, TIMEOUT)
            .map_err(|code| from_code(code, "Kafka: topics can't be looked up"))?;
        let mut failed = Vec::new();
        for topic in described {
            match topic {
                Ok(topic) => {
                    self.described.insert(Arc::from(topic.name.as_str()), topic);
                }
                Err((name, code)) => {
                    self.described.remove(name.as_str());
                    failed.push((name, code));
                }
            }
        }
        self.described_at = Instant::now();
        Ok(failed)
    }

    /// The positions in all partitions of these topics: siblings matter. And in all others that the pattern
    /// matches, until one has told when the group began.
    fn committed(
        &self,
        consumer: &BaseConsumer<C>,
        topics: &BTreeSet<Arc<str>>,
        cluster: &str,
    ) -> Result<Positions, Error> {
        let mut asked = Vec::new();
        for (name, topic) in topics
            .iter()
            .filter_map(|t| self.described.get_key_value(t))
        {
            let partitions = 0..i32::try_from(topic.leaders.len()).unwrap_or(i32::MAX);
            asked.extend(partitions.map(|n| Entry::asking(TopicPartition::new(name.clone(), n))));
        }
        if self.about.topics.is_pattern() && self.began_ms.is_none() {
            let others = self.about.topics.there();
            for (name, partitions) in others.filter(|(name, _)| !topics.contains(*name)) {
                let name: Arc<str> = name.into();
                asked.extend(
                    (0..partitions).map(|n| Entry::asking(TopicPartition::new(name.clone(), n))),
                );
            }
        }
        if asked.is_empty() {
            return Ok(Positions::new());
        }
        if let Some(mut kept) = self.about.keeper.positions(cluster)? {
            let position = |entry: Entry| {
                let own = kept.remove(&entry.partition);
                (entry.partition, Ok(own))
            };
            return Ok(asked.into_iter().map(position).collect());
        }
        let group = &self.about.group;
        let what = || format!("Kafka: the committed offsets of group {group} can't be read");
        let answered = consumer
            .committed_offsets(list::to_native(&asked), TIMEOUT)
            .map_err(|error| from_kafka(&error, what()))?;
        let position = |entry: Entry| {
            let position = match entry.error {
                Some(code) => Err(from_code(code, what())),
                None => Ok((entry.offset >= 0).then_some(Committed {
                    offset: entry.offset,
                    leader_epoch: entry.leader_epoch,
                    metadata: entry.metadata,
                })),
            };
            (entry.partition, position)
        };
        let positions: Positions = list::from_native(&answered)
            .into_iter()
            .map(position)
            .collect();
        // Retried as a whole: which partition it was says nothing about why.
        match positions.values().find_map(|p| p.as_ref().err()) {
            Some(error) => Err(error.clone()),
            None => Ok(positions),
        }
    }

    /// Partitions by the broker that leads them, so that one that is away holds up only its own. Those
    /// without a leader are left out, and said.
    fn by_leader<'a>(
        &self,
        partitions: impl Iterator<Item = &'a TopicPartition>,
        trouble: &mut Option<Error>,
    ) -> Vec<Vec<TopicPartition>> {
        let mut groups: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            let Some(topic) = self.described.get(&partition.topic) else {
                continue;
            };
            let number = usize::try_from(partition.partition).unwrap_or(usize::MAX);
            match topic.leaders.get(number) {
                Some(Some(leader)) => groups.entry(*leader).or_default().push(partition.clone()),
                Some(None) => {
                    trouble.get_or_insert_with(|| {
                        from_code(
                            RDKafkaErrorCode::LeaderNotAvailable,
                            format!("Kafka: {partition} has no leader"),
                        )
                    });
                }
                None => {
                    trouble.get_or_insert_with(|| {
                        Error::new(
                            Kind::Misconfigured,
                            format!(
                                "Kafka: {partition} doesn't exist, the topic has {} partitions: correct \
                                 kafka.assign, or give the topic more",
                                topic.leaders.len()
                            ),
                        )
                    });
                }
            }
        }
        groups.into_values().collect()
    }

    /// Looks up log ends; tells whether the brokers are well.
    fn refresh(&mut self, consumer: &BaseConsumer<C>) {
        if self.held.is_empty() && !std::mem::take(&mut self.check) {
            return;
        }
        match self.refreshed(consumer) {
            Ok(()) => self.answer(Found::Well),
            Err(error) => {
                self.described.clear();
                self.answer(Found::Trouble(error));
            }
        }
    }

    fn refreshed(&mut self, consumer: &BaseConsumer<C>) -> Result<(), Error> {
        if self.held.is_empty() {
            return self.look(consumer)?.map_or(Ok(()), Err);
        }
        let topics: BTreeSet<Arc<str>> = self.held.iter().map(|p| p.topic.clone()).collect();
        let known = topics
            .iter()
            .all(|topic| self.described.contains_key(topic));
        let mut trouble = None;
        if !known || self.described_at.elapsed() > BELIEVED {
            trouble = self.describe(consumer, &topics)?;
        }
        for group in self.by_leader(self.held.iter(), &mut trouble) {
            match log_ends(consumer, &group) {
                Ok(found) => {
                    let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
                    for (partition, end) in found {
                        match end {
                            Ok(end) => drop(ends.insert(partition, end)),
                            Err(error) => drop(trouble.get_or_insert(error)),
                        }
                    }
                }
                Err(error) => drop(trouble.get_or_insert(error)),
            }
        }
        match trouble {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

type Positions = BTreeMap<TopicPartition, Result<Option<Committed>, Error>>;

/// Why a topic couldn't be described.
fn undescribed((name, code): &(String, RDKafkaErrorCode)) -> Error {
    from_code(*code, format!("Kafka: topic {name}"))
}
