//! How old the next record of each lagging partition is: one record of each is read, all at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Listener, Standing, client_config};
use crate::config::settings::KafkaSettings;
use crate::offsets::TopicPartition;

/// How long reading may take altogether: a person waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// The ages that could be had.
pub(super) fn ages(
    settings: &KafkaSettings,
    partitions: &[Standing],
    now_ms: i64,
) -> BTreeMap<TopicPartition, Duration> {
    let mut found = BTreeMap::new();
    let mut wanted = TopicPartitionList::new();
    for standing in partitions {
        // Below the log's start there is nothing to be had.
        let next = standing
            .committed
            .as_ref()
            .map(|committed| committed.offset)
            .filter(|offset| (standing.log_start..standing.log_end).contains(offset));
        if let Some(next) = next {
            let TopicPartition { topic, partition } = &standing.partition;
            let _ = wanted.add_partition_offset(topic, *partition, Offset::Offset(next));
        }
    }
    let total = wanted.count();
    let consumer: Result<BaseConsumer<Listener>, _> =
        client_config(settings).create_with_context(Listener::default());
    let (Ok(consumer), true) = (consumer, total > 0) else {
        return found;
    };
    if consumer.assign(&wanted).is_err() {
        return found;
    }
    let until = Instant::now() + PATIENCE;
    let mut ended = 0;
    while found.len() + ended < total && Instant::now() < until {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                let id = TopicPartition::new(record.topic(), record.partition());
                let Some(moment) = record.timestamp().to_millis() else {
                    continue;
                };
                let age = u64::try_from(now_ms.saturating_sub(moment)).unwrap_or(0);
                if found.contains_key(&id) {
                    continue;
                }
                // The rest of it isn't wanted.
                let mut done = TopicPartitionList::new();
                done.add_partition(&id.topic, id.partition);
                let _ = consumer.pause(&done);
                found.insert(id, Duration::from_millis(age));
            }
            // At the end without a record: markers of transactions alone.
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ended += 1,
            _ => {}
        }
    }
    found
}
