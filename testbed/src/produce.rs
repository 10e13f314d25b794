//! Producing with a ledger: idempotent, `acks=all`, and every acknowledgement written down.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, DefaultProducerContext, Producer as _, ProducerContext, ThreadedProducer,
};

use crate::error::{Context, Error, Result};
use crate::ledger::{Entry, Ledger};

/// A record to produce.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// The partition; chosen by key (or at random without one) if none.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970; now if none.
    pub timestamp_ms: Option<i64>,
}

/// Makes records that carry their own identity (`run`, `seq`), the same ones for the same seed.
#[derive(Debug)]
pub struct Generator {
    rng: StdRng,
    run: String,
    next_seq: u64,
    num_keys: Option<u64>,
    pad: std::ops::Range<usize>,
    num_partitions: Option<i32>,
    first_timestamp_ms: Option<i64>,
    step_ms: i64,
}

impl Generator {
    /// A generator of run `run`: unkeyed records of about 150 bytes.
    pub fn new(run: impl Into<String>, seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            run: run.into(),
            next_seq: 0,
            num_keys: None,
            pad: 20..80,
            num_partitions: None,
            first_timestamp_ms: None,
            step_ms: 0,
        }
    }

    /// Keys `key-0` to `key-(n-1)`, at random.
    pub fn keys(mut self, num_keys: u64) -> Self {
        self.num_keys = Some(num_keys.max(1));
        self
    }

    /// How many bytes of padding a value has.
    pub fn padding(mut self, range: std::ops::Range<usize>) -> Self {
        self.pad = range;
        self
    }

    /// Partitions 0 to n-1 in turn, instead of Kafka's own choice.
    pub fn partitions(mut self, num_partitions: i32) -> Self {
        self.num_partitions = Some(num_partitions.max(1));
        self
    }

    /// Record timestamps from `first_ms` on, `step_ms` apart, instead of now.
    pub fn timestamps(mut self, first_ms: i64, step_ms: i64) -> Self {
        (self.first_timestamp_ms, self.step_ms) = (Some(first_ms), step_ms);
        self
    }

    /// The next record.
    pub fn record(&mut self) -> Outgoing {
        let seq = self.next_seq;
        self.next_seq += 1;
        let signed = i64::try_from(seq).unwrap_or(i64::MAX);
        let key = self
            .num_keys
            .map(|num| format!("key-{}", self.rng.random_range(0..num)));
        let pad_len = match self.pad.is_empty() {
            true => 0,
            false => self.rng.random_range(self.pad.clone()),
        };
        let letters = (0..pad_len).map(|_| char::from(self.rng.random_range(b'a'..=b'z')));
        let pad: String = letters.collect();
        let mut crc = flate2::Crc::new();
        crc.update(pad.as_bytes());
        let timestamp_ms = self
            .first_timestamp_ms
            .map(|first| first + signed * self.step_ms);
        let run = &self.run;
        let value = match &key {
            Some(key) => format!(
                r#"{{"run":"{run}","seq":{seq},"key":"{key}","crc":{},"pad":"{pad}"}}"#,
                crc.sum()
            ),
            None => format!(
                r#"{{"run":"{run}","seq":{seq},"crc":{},"pad":"{pad}"}}"#,
                crc.sum()
            ),
        };
        let in_turn = |num: i32| i32::try_from(signed % i64::from(num)).unwrap_or(0);
        Outgoing {
            partition: self.num_partitions.map(in_turn),
            key: key.map(String::into_bytes),
            value: Some(value.into_bytes()),
            headers: Vec::new(),
            timestamp_ms,
        }
    }
}

struct Pending {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Deliveries {
    /// Acknowledgements are counted, and not written down.
    only_counted: bool,
    ledger: Arc<Mutex<Ledger>>,
    acked: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<String>>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) if self.only_counted => {
                self.acked.fetch_add(1, Ordering::Relaxed);
            }
            Ok(record) => {
                ledger.add(Entry {
                    topic: record.topic().to_owned(),
                    partition: record.partition(),
                    offset: record.offset(),
                    key: pending.key,
                    value: pending.value,
                });
                self.acked.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, record)) => {
                ledger.uncertain.extend(pending.value);
                let text = format!("{}-{}: {error}", record.topic(), record.partition());
                self.failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(text);
            }
        }
    }
}

/// A producer that keeps a ledger.
pub struct Producer {
    inner: ThreadedProducer<Deliveries>,
    deliveries: Deliveries,
}

impl Producer {
    /// For the brokers at `bootstrap`.
    pub fn new(bootstrap: &str) -> Result<Self> {
        Self::with_properties(bootstrap, &[])
    }

    /// The same with librdkafka properties of the caller's.
    pub fn with_properties(bootstrap: &str, properties: &[(&str, &str)]) -> Result<Self> {
        Self::build(bootstrap, properties, Deliveries::default())
    }

    /// One that counts acknowledgements and keeps no ledger of them: for more records than memory has room for.
    pub fn counting(bootstrap: &str) -> Result<Self> {
        let deliveries = Deliveries {
            only_counted: true,
            ..Deliveries::default()
        };
        Self::build(bootstrap, &[], deliveries)
    }

    fn build(bootstrap: &str, properties: &[(&str, &str)], deliveries: Deliveries) -> Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true");
        config
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("partitioner", "murmur2_random");
        config
            .set("message.max.bytes", "20000000")
            .set("reconnect.backoff.max.ms", "500");
        for (name, value) in properties {
            config.set(*name, *value);
        }
        let inner = config.create_with_context(deliveries.clone());
        Ok(Self {
            inner: inner.context("can't make a producer")?,
            deliveries,
        })
    }

    /// Hands one record to the client; waits while its queue is full.
    pub fn send(&self, topic: &str, record: &Outgoing) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let pending = Pending {
                key: record.key.clone(),
                value: record.value.clone(),
            };
            let mut base: BaseRecord<'_, [u8], [u8], Box<Pending>> =
                BaseRecord::with_opaque_to(topic, Box::new(pending));
            if let Some(partition) = record.partition {
                base = base.partition(partition);
            }
            if let Some(timestamp) = record.timestamp_ms {
                base = base.timestamp(timestamp);
            }
            if let Some(key) = &record.key {
                base = base.key(key.as_slice());
            }
            if let Some(value) = &record.value {
                base = base.payload(value.as_slice());
            }
            if !record.headers.is_empty() {
                base = base.headers(headers(&record.headers));
            }
            match self.inner.send(base) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _))
                    if Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => {
                    return Err(Error::new(format!("can't produce to {topic}: {error}")));
                }
            }
        }
    }

    /// Sends `num` records of the generator and waits until all are acknowledged.
    pub fn produce(&self, topic: &str, generator: &mut Generator, num: usize) -> Result<()> {
        for _ in 0..num {
            self.send(topic, &generator.record())?;
        }
        self.flush()
    }

    /// Waits until everything sent is acknowledged; an error if something wasn't.
    pub fn flush(&self) -> Result<()> {
        self.inner
            .flush(Duration::from_secs(60))
            .context("not everything was acknowledged")?;
        let failed = self
            .deliveries
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match failed.first() {
            None => Ok(()),
            Some(first) => Err(Error::new(format!(
                "{} records failed, the first: {first}",
                failed.len()
            ))),
        }
    }

    pub(crate) fn init_transactions(&self, timeout: Duration) -> Result<()> {
        let done = self.inner.init_transactions(timeout);
        done.context("can't begin with transactions")
    }

    pub(crate) fn begin_transaction(&self) -> Result<()> {
        let done = self.inner.begin_transaction();
        done.context("can't begin a transaction")
    }

    pub(crate) fn commit_transaction(&self, timeout: Duration) -> Result<()> {
        let done = self.inner.commit_transaction(timeout);
        done.context("can't commit a transaction")
    }

    pub(crate) fn abort_transaction(&self, timeout: Duration) -> Result<()> {
        let done = self.inner.abort_transaction(timeout);
        done.context("can't abort a transaction")
    }

    /// What was acknowledged since the last call.
    pub(crate) fn take_ledger(&self) -> Ledger {
        let ledger = self.deliveries.ledger.lock();
        std::mem::take(&mut *ledger.unwrap_or_else(PoisonError::into_inner))
    }

    /// How many records were acknowledged.
    pub fn num_acked(&self) -> u64 {
        self.deliveries.acked.load(Ordering::Relaxed)
    }

    /// The ledger as it is now.
    pub fn ledger(&self) -> Ledger {
        self.deliveries
            .ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn headers(list: &[(String, Option<Vec<u8>>)]) -> OwnedHeaders {
    list.iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: value.as_ref(),
            })
        })
}

/// A backlog: `num` JSON records of exactly `value_bytes` (at least 10) spread over the partitions, as fast as it
/// goes and without a ledger. `properties` are librdkafka's (such as `compression.type`).
pub fn fill(
    bootstrap: &str,
    topic: &str,
    (num, value_bytes): (usize, usize),
    num_partitions: i32,
    properties: &[(&str, &str)],
) -> Result<()> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "500000")
        .set("message.max.bytes", "20000000");
    for (name, value) in properties {
        config.set(*name, *value);
    }
    let producer: ThreadedProducer<DefaultProducerContext> =
        config.create().context("can't make a producer")?;
    let value = format!(r#"{{"a":"{}"}}"#, "x".repeat(value_bytes.saturating_sub(8)));
    let value = if value_bytes == 10 {
        r#"{"a":1234}"#
    } else {
        &value
    };
    // Runs of one partition, so that batches fill.
    let run = (num / (4 * num_partitions.max(1) as usize)).clamp(1, 1_000);
    for index in 0..num {
        let partition = (index / run) as i32 % num_partitions;
        loop {
            let record: BaseRecord<'_, (), str> =
                BaseRecord::to(topic).partition(partition).payload(value);
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => {
                    return Err(Error::new(format!("can't produce to {topic}: {error}")));
                }
            }
        }
    }
    let flushed = producer.flush(Duration::from_secs(120));
    flushed.context("not everything was acknowledged")
}

/// Produces at a rate in the background until it is stopped.
pub struct Load {
    producer: Arc<Producer>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Load {
    /// Starts producing about `per_second` records a second.
    pub fn start(
        bootstrap: &str,
        topic: &str,
        mut generator: Generator,
        per_second: u32,
    ) -> Result<Self> {
        Self::start_with(bootstrap, topic, per_second, move || generator.record())
    }

    /// The same with records of the caller's making.
    pub fn start_with(
        bootstrap: &str,
        topic: &str,
        per_second: u32,
        next: impl FnMut() -> Outgoing + Send + 'static,
    ) -> Result<Self> {
        Self::start_by(Producer::new(bootstrap)?, topic, per_second, next)
    }

    /// The same by a producer of the caller's.
    pub fn start_by(
        producer: Producer,
        topic: &str,
        per_second: u32,
        mut next: impl FnMut() -> Outgoing + Send + 'static,
    ) -> Result<Self> {
        let producer = Arc::new(producer);
        let stop = Arc::new(AtomicBool::new(false));
        let (their_producer, their_stop) = (Arc::clone(&producer), Arc::clone(&stop));
        let topic = topic.to_owned();
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut sent = 0_u64;
            while !their_stop.load(Ordering::Relaxed) {
                let due = started.elapsed().as_secs_f64() * f64::from(per_second);
                while (sent as f64) < due && !their_stop.load(Ordering::Relaxed) {
                    their_producer.send(&topic, &next())?;
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        });
        Ok(Self {
            producer,
            stop,
            thread: Some(thread),
        })
    }

    /// How many records were acknowledged so far.
    pub fn num_acked(&self) -> u64 {
        self.producer.num_acked()
    }

    /// Sends one more, beside the steady ones.
    pub fn send(&self, topic: &str, record: &Outgoing) -> Result<()> {
        self.producer.send(topic, record)
    }

    /// What was acknowledged so far.
    pub fn ledger(&self) -> Ledger {
        self.producer.ledger()
    }

    /// Stops, waits for the last acknowledgements, and hands over the ledger.
    pub fn stop(mut self) -> Result<Ledger> {
        self.end()?;
        self.producer.flush()?;
        Ok(self.producer.ledger())
    }

    fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::new("the producing thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
