//! Finds out whether anything is left between the last record of a log and its end: behind it there may be
//! transactions' markers, aborted records, or what compaction took, none of which is ever delivered.
//!
//! The consumer itself could tell (`enable.partition.eof`), but librdkafka 2.12.1 takes the end for a record in
//! its batches: when a rebalance has paused the partition, it would go on one record too far. So a client of its
//! own looks, on a thread of its own, and only where nothing has come for a while though the log goes on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::contexts::Quiet;
use super::error::from_kafka;
use super::ffi::list::{self, Entry};
use super::ffi::queue::DataQueue;
use crate::offsets::{Range, TopicPartition};

/// How often it is looked, and how much less often if nothing is found.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Offsets without a record, up to the end of the log.
pub(super) type Hole = (TopicPartition, Range);

/// Looks for holes at the ends of logs.
pub(super) struct Probe {
    config: ClientConfig,
    /// Where partitions stood when it was last time to look.
    stood: HashMap<TopicPartition, i64>,
    next: Instant,
    every: Duration,
    looking: Option<Receiver<Vec<Hole>>>,
}

impl Probe {
    /// `config` is that of a consumer without a group that reads what ours reads, and tells ends.
    pub fn new(config: ClientConfig) -> Self {
        Probe {
            config,
            stood: HashMap::new(),
            next: Instant::now() + FIRST,
            every: FIRST,
            looking: None,
        }
    }

    /// Whether it is time to look.
    pub fn is_due(&self, now: Instant) -> bool {
        self.looking.is_none() && self.next <= now
    }

    /// These have come to these offsets, and their logs go on. Those that stood there the last time, too, are
    /// looked at.
    pub fn look(&mut self, stand: HashMap<TopicPartition, i64>, now: Instant) {
        let stuck: HashMap<TopicPartition, i64> = stand
            .iter()
            .filter(|(id, offset)| self.stood.get(*id) == Some(offset))
            .map(|(id, offset)| (id.clone(), *offset))
            .collect();
        self.stood = stand;
        self.next = now + self.every;
        if stuck.is_empty() {
            self.every = FIRST;
            return;
        }
        let (answer, looking) = channel();
        let config = self.config.clone();
        let looks = move || look(&config, &stuck, &answer);
        let thread = std::thread::Builder::new().name("kafka-probe".into());
        match thread.spawn(looks) {
            Ok(_) => self.looking = Some(looking),
            Err(why) => tracing::debug!("no thread to look at the ends of logs: {why}"),
        }
    }

    /// What was found since.
    pub fn found(&mut self) -> Vec<Hole> {
        let holes = match self.looking.as_ref().map(Receiver::try_recv) {
            None | Some(Err(TryRecvError::Empty)) => return Vec::new(),
            Some(Ok(holes)) => holes,
            Some(Err(TryRecvError::Disconnected)) => Vec::new(),
        };
        self.looking = None;
        self.every = match holes.is_empty() {
            true => (self.every * 2).min(LONGEST),
            false => FIRST,
        };
        holes
    }
}

fn look(config: &ClientConfig, stuck: &HashMap<TopicPartition, i64>, answer: &Sender<Vec<Hole>>) {
    let consumer: Result<BaseConsumer<Quiet>, _> = config.create_with_context(Quiet);
    let consumer = match consumer {
        Ok(consumer) => Arc::new(consumer),
        Err(why) => {
            let why = from_kafka(&why, "no client to look at the ends of logs");
            tracing::warn!("{why}");
            return;
        }
    };
    let holes = holes(&consumer, stuck).unwrap_or_default();
    // Before the client goes, which may take its time. A source that is gone doesn't want to know.
    let _ = answer.send(holes);
}

/// Reads each partition from where it stands until a record comes, or its end.
fn holes(
    consumer: &Arc<BaseConsumer<Quiet>>,
    stuck: &HashMap<TopicPartition, i64>,
) -> Option<Vec<Hole>> {
    let mut queue = DataQueue::new(consumer.clone())?;
    let start = |(id, offset): (&TopicPartition, &i64)| Entry::new(id.clone(), *offset, -1);
    let entries: Vec<Entry> = stuck.iter().map(start).collect();
    for entry in &entries {
        queue.forward(&entry.partition);
    }
    consumer.assign(&list::to_native(&entries)).ok()?;
    let mut open = stuck.clone();
    let mut holes = Vec::new();
    let until = Instant::now() + PATIENCE;
    while !open.is_empty() && Instant::now() < until {
        let _ = consumer.poll(Duration::ZERO);
        queue.consume(256, Duration::from_millis(100), &mut |message| {
            let (Some(topic), (_, number)) = (message.topic(), message.source()) else {
                return;
            };
            let id = TopicPartition::new(topic, number);
            let Some(from) = open.remove(&id) else {
                return;
            };
            // With an open transaction there is nothing behind where it stands, and not the end either.
            let hole = Range::new(from, message.offset());
            if message.error() == Some(Code::PartitionEOF) && !hole.is_empty() {
                holes.push((id, hole));
            }
        });
    }
    Some(holes)
}
