//! What groups commit: every record of `__consumer_offsets`, of all its partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::OFFSETS_TOPIC;
use crate::config::settings::ClusterSettings;
use crate::error::Error;
use crate::kafka::client::{creation_error, group_log_config};
use crate::kafka::contexts::Listener;
use crate::kafka::error::{from_kafka, from_reason};
use crate::kafka::ffi::list::{self, Entry};
use crate::kafka::ffi::queue::{DataQueue, Message};
use crate::offsets::TopicPartition;

/// Records taken in one go.
const AT_ONCE: usize = 2_048;

/// What came.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A record.
    Record {
        /// Its key.
        key: &'a [u8],
        /// Its value; `None` is a tombstone.
        value: Option<&'a [u8]>,
        /// Its offset, which orders a group's commits: they are all in one partition.
        offset: i64,
    },
    /// There is no more for now in this partition.
    End,
    /// Something is wrong; the client goes on by itself.
    Trouble(Error),
}

/// Reads it. Dropping it blocks while the client closes.
pub struct GroupLog {
    queue: DataQueue<Listener>,
    positions: BTreeMap<i32, i64>,
}

impl GroupLog {
    /// Reads on from these offsets, by partition.
    ///
    /// # Errors
    /// The client can't be made.
    pub fn open(settings: &ClusterSettings, positions: &BTreeMap<i32, i64>) -> Result<Self, Error> {
        let consumer: BaseConsumer<Listener> = group_log_config(settings)
            .create_with_context(Listener::default())
            .map_err(|error| creation_error(&error, &settings.properties))?;
        let consumer = Arc::new(consumer);
        let no_queue = || Error::unavailable("Kafka: the client has no queue");
        let queue = DataQueue::new(consumer.clone()).ok_or_else(no_queue)?;
        let topic: Arc<str> = OFFSETS_TOPIC.into();
        let entry = |(partition, offset): (&i32, &i64)| {
            Entry::new(TopicPartition::new(topic.clone(), *partition), *offset, -1)
        };
        let entries: Vec<Entry> = positions.iter().map(entry).collect();
        for entry in &entries {
            queue.forward(&entry.partition);
        }
        let what = format!("Kafka: {OFFSETS_TOPIC} can't be assigned");
        consumer
            .assign(&list::to_native(&entries))
            .map_err(|error| from_kafka(&error, what))?;
        Ok(GroupLog {
            queue,
            positions: positions.clone(),
        })
    }

    /// The next offset to read, by partition.
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// Takes what is there, waiting so long for the first; `hear` is given the partition and what came.
    pub fn read(&mut self, wait: Duration, hear: &mut dyn FnMut(i32, Heard<'_>)) {
        let _ = self.queue.consumer().poll(Duration::ZERO);
        let positions = &mut self.positions;
        self.queue.consume(AT_ONCE, wait, &mut |message| {
            let (_, partition) = message.source();
            match message.error() {
                None => {
                    move_to(positions, partition, message.offset() + 1);
                    let record = Heard::Record {
                        key: message.key().unwrap_or_default(),
                        value: message.value(),
                        offset: message.offset(),
                    };
                    hear(partition, record);
                }
                Some(Code::PartitionEOF) => {
                    move_to(positions, partition, message.offset());
                    hear(partition, Heard::End);
                }
                Some(code) => hear(partition, Heard::Trouble(trouble(message, code))),
            }
        });
    }
}

fn move_to(positions: &mut BTreeMap<i32, i64>, partition: i32, offset: i64) {
    let position = positions.entry(partition).or_insert(offset);
    *position = offset.max(*position);
}

fn trouble(message: &Message<'_>, code: Code) -> Error {
    from_reason(code, &format!("{OFFSETS_TOPIC}: {}", message.error_text()))
}
