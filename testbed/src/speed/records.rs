//! The topic that is read: what agents say of their hosts, as JSON of about 300 bytes.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use testbed::error::Context;
use testbed::{Error, Kafka, Result};

/// The same records each time.
const SEED: u64 = 1;
/// Records in a row for one partition, so that batches fill.
const RUN: usize = 500;

/// A topic with records in it.
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many records.
    pub num: usize,
    /// In so many partitions.
    pub num_partitions: i32,
    /// The bytes of their values.
    pub bytes: u64,
}

impl Topic {
    /// Creates it and fills it, without compression.
    pub fn fill(kafka: &Kafka, name: &str, num: usize, num_partitions: i32) -> Result<Self> {
        let partitions = usize::try_from(num_partitions).context("partitions")?;
        kafka.client().create_topic(name, partitions, &[])?;
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            .set("linger.ms", "20")
            .set("queue.buffering.max.messages", "500000")
            .create()
            .context("can't make a producer")?;
        let mut bytes = 0;
        for (index, value) in Values::new().take(num).enumerate() {
            bytes += value.len() as u64;
            let partition = i32::try_from(index / RUN % partitions).context("partitions")?;
            send(&producer, name, partition, &value)?;
        }
        let flushed = producer.flush(Duration::from_secs(120));
        flushed.context("not everything was acknowledged")?;
        Ok(Topic {
            name: name.to_owned(),
            num,
            num_partitions,
            bytes,
        })
    }

    /// The mean length of a value.
    pub fn mean_bytes(&self) -> u64 {
        self.bytes / u64::try_from(self.num.max(1)).unwrap_or(u64::MAX)
    }
}

fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    partition: i32,
    value: &str,
) -> Result<()> {
    loop {
        let record: BaseRecord<'_, (), str> =
            BaseRecord::to(topic).partition(partition).payload(value);
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err((error, _)) => return Err(Error::new(format!("can't produce: {error}"))),
        }
    }
}

/// The values, without an end.
pub struct Values {
    rng: StdRng,
    num: u64,
}

impl Values {
    /// From the beginning.
    pub fn new() -> Self {
        Values {
            rng: StdRng::seed_from_u64(SEED),
            num: 0,
        }
    }
}

impl Iterator for Values {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let (n, rng) = (self.num, &mut self.rng);
        self.num += 1;
        let mut share = || f64::from(rng.random_range(0..10_000u32)) / 10_000.0;
        let (user, system, iowait, load) = (share(), share() / 4.0, share() / 50.0, share() * 8.0);
        let (used, cached) = (share(), share());
        let total = 68_719_476_736.0;
        let (host, seconds, millis) = (n % 500, n / 500 % 86_400, n % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        Some(format!(
            "{{\"@timestamp\":\"2026-11-26T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\",\
             \"host\":{{\"name\":\"web-{host:03}.example.org\"}},\
             \"cpu\":{{\"cores\":16,\"user\":{user:.4},\"system\":{system:.4},\"iowait\":{iowait:.4}}},\
             \"load\":{{\"1m\":{load:.2}}},\
             \"memory\":{{\"total\":{total:.0},\"used\":{:.0},\"cached\":{:.0},\"available\":{:.0}}},\
             \"agent\":{{\"name\":\"outflow\",\"sequence\":{n}}}}}",
            used * total,
            cached * total / 4.0,
            (1.0 - used) * total,
        ))
    }
}
