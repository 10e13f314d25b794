//! Reads a partition from outside, in offset order: in no group, committing nothing, seeing what the workers see.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::{creation_error, scan_config};
use super::contexts::Listener;
use super::error::{from_code, from_kafka};
use super::ffi::list::{self, Entry};
use super::ffi::queue::{DataQueue, Headers, Message};
use super::lookup::log_bounds;
use crate::config::settings::KafkaSettings;
use crate::error::Error;
use crate::offsets::{Range, TopicPartition};

/// How long brokers may be silent before it is said that they are.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one look for records may take.
const WAIT: Duration = Duration::from_millis(100);
/// How many records are handed over before the client's own events are served.
const BATCH: usize = 1_000;

/// A record, borrowed from the client.
pub struct Scanned<'a> {
    message: &'a Message<'a>,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970; `None` if there is none.
    pub timestamp_ms: Option<i64>,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

impl Scanned<'_> {
    /// The headers, in order.
    pub(in crate::kafka) fn headers(&self) -> Headers {
        self.message.headers()
    }
}

/// What is told of a log while it is read.
pub enum Told<'a> {
    /// The next record.
    Record(Scanned<'a>),
    /// Retention took what lies below this offset while we read.
    Gone(i64),
}

/// A client that reads one range after another.
pub struct Scanner {
    queue: DataQueue<Listener>,
}

impl Scanner {
    /// A client for the brokers of these settings, whose fetched records may take so much memory. Nothing is connected
    /// yet.
    pub fn new(settings: &KafkaSettings, sink: &str, fetch_bytes: u64) -> Result<Self, Error> {
        let consumer: BaseConsumer<Listener> = scan_config(settings, sink, fetch_bytes)
            .create_with_context(Listener::default())
            .map_err(|error| creation_error(&error, &settings.properties))?;
        let queue = DataQueue::new(Arc::new(consumer))
            .ok_or_else(|| Error::unavailable("Kafka: the client has no room for a queue"))?;
        Ok(Scanner { queue })
    }

    /// Hands the records of a range over, in order, and returns how far the log goes: the range's end, or less if
    /// the log ends before it. An error of `take` ends it.
    pub fn read(
        &mut self,
        partition: &TopicPartition,
        range: Range,
        take: &mut dyn FnMut(Told<'_>) -> Result<(), Error>,
    ) -> Result<i64, Error> {
        if range.is_empty() {
            return Ok(range.end);
        }
        self.go_to(partition, range.first)?;
        let mut next = range.first;
        let mut heard_at = Instant::now();
        loop {
            let _ = self.queue.consumer().poll(Duration::ZERO);
            let (mut done, mut failed, mut refused) = (None, None, None);
            let taken = self.queue.consume(BATCH, WAIT, &mut |message| {
                let offset = message.offset();
                let is_other = message.error().is_none()
                    && (message.source().1 != partition.partition
                        || message.topic() != Some(&*partition.topic));
                if is_other || done.is_some() || failed.is_some() || refused.is_some() {
                    return;
                }
                match message.error() {
                    None if offset >= range.end => done = Some(range.end),
                    // From before we were told to go elsewhere.
                    None if offset < next => {}
                    None => {
                        next = offset + 1;
                        refused = take(Told::Record(scanned(message))).err();
                        if next >= range.end {
                            done = Some(range.end);
                        }
                    }
                    Some(Code::PartitionEOF) => done = Some(offset.min(range.end)),
                    Some(code) => failed = Some(code),
                }
            });
            if let Some(error) = refused {
                return Err(error);
            }
            if let Some(reached) = done {
                return Ok(reached);
            }
            if taken > 0 {
                heard_at = Instant::now();
            }
            match failed {
                None => {}
                Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                    let (start, end) = log_bounds(self.queue.consumer(), partition)?;
                    if next > end {
                        return Ok(end);
                    }
                    if start >= range.end {
                        take(Told::Gone(range.end))?;
                        return Ok(range.end);
                    }
                    next = next.max(start);
                    take(Told::Gone(next))?;
                    self.go_to(partition, next)?;
                }
                Some(code) => {
                    return Err(from_code(code, format!("Kafka: {partition} can't be read")));
                }
            }
            if heard_at.elapsed() >= PATIENCE {
                return Err(self.silent(partition, next));
            }
        }
    }

    /// The first and the last offset of a log.
    pub fn bounds(&self, partition: &TopicPartition) -> Result<(i64, i64), Error> {
        log_bounds(self.queue.consumer(), partition)
    }

    /// How many partitions a topic has; none if there is no such topic.
    pub fn num_partitions(&self, topic: &str) -> Result<i32, Error> {
        let metadata = self
            .queue
            .consumer()
            .fetch_metadata(Some(topic), Duration::from_secs(10))
            .map_err(|error| from_kafka(&error, format!("Kafka: topic {topic}")))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let num = found.map_or(0, |found| found.partitions().len());
        Ok(i32::try_from(num).unwrap_or(i32::MAX))
    }

    /// Reads from `offset` of a partition on, and nothing else.
    fn go_to(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), Error> {
        let what = "Kafka: the client doesn't take the partition";
        let consumer = self.queue.consumer().clone();
        consumer
            .unassign()
            .map_err(|error| from_kafka(&error, what))?;
        // Stopping undoes the forwarding, on the client's own thread, which works in order.
        consumer.rebalance_protocol();
        while self.queue.consume(BATCH, Duration::ZERO, &mut |_| ()) > 0 {}
        self.queue.forward(partition);
        let start = Entry::new(partition.clone(), offset, -1);
        consumer
            .assign(&list::to_native(&[start]))
            .map_err(|error| from_kafka(&error, what))
    }

    fn silent(&self, partition: &TopicPartition, next: i64) -> Error {
        let heard = &self.queue.consumer().context().0;
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = heard.as_deref().unwrap_or("no reason was given");
        Error::unavailable(format!(
            "Kafka: {partition} gives nothing at offset {next} for {} s: {reason}; see that the brokers are up, and \
             try again",
            PATIENCE.as_secs()
        ))
    }
}

fn scanned<'a>(message: &'a Message<'a>) -> Scanned<'a> {
    Scanned {
        message,
        offset: message.offset(),
        timestamp_ms: message.timestamp_ms(),
        key: message.key(),
        value: message.value(),
    }
}
