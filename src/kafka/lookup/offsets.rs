//! What the brokers say of logs: where they begin and end, and where a moment lies in them.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

use super::TIMEOUT;
use super::locate::Place;
use crate::error::Error;
use crate::kafka::error::{from_code, from_kafka};
use crate::kafka::ffi::list::{self, Entry};
use crate::kafka::position::Log;
use crate::offsets::TopicPartition;

/// Timestamps that ask for the first and the last offset of a log.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

pub(in crate::kafka) type Offsets = BTreeMap<TopicPartition, Result<i64, Error>>;

/// The logs of partitions that one broker leads, in three questions at most.
pub(super) fn logs<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    places: &[Place],
) -> Result<Vec<Result<Log, Error>>, Error> {
    let ask = |which: &dyn Fn(&Place) -> Option<i64>| {
        let entry = |place: &Place| Some(Entry::new(place.id.clone(), which(place)?, -1));
        offsets(
            consumer,
            &places.iter().filter_map(entry).collect::<Vec<_>>(),
        )
    };
    let starts = ask(&|_| Some(EARLIEST))?;
    let ends = ask(&|_| Some(LATEST))?;
    // After the ends: no record that comes meanwhile may lie between.
    let at_moments = ask(&|place| place.moment)?;
    let log = |place: &Place| {
        let (start, end) = (told(&starts, &place.id)?, told(&ends, &place.id)?);
        let at_moment = match (place.moment, at_moments.get(&place.id)) {
            (None, _) => None,
            // No record is that young.
            (_, Some(Ok(LATEST))) => None,
            // The client leaves the moment standing where nobody has answered.
            (Some(moment), Some(Ok(at))) if *at == moment && moment > end => {
                return Err(told_nothing(&place.id));
            }
            _ => Some(told(&at_moments, &place.id)?.min(end)),
        };
        Ok(Log {
            start,
            end,
            at_moment,
        })
    };
    Ok(places.iter().map(log).collect())
}

/// Offsets of logs by timestamps, as the brokers tell them, under the consumer's isolation level; -1 where no record is as young.
pub(in crate::kafka) fn offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    asked: &[Entry],
) -> Result<Offsets, Error> {
    if asked.is_empty() {
        return Ok(Offsets::new());
    }
    let answered = consumer
        .offsets_for_times(list::to_native(asked), TIMEOUT)
        .map_err(|error| from_kafka(&error, "Kafka: log offsets can't be read"))?;
    let offset = |entry: Entry| {
        let offset = match entry.error {
            Some(code) => Err(from_code(code, format!("Kafka: {}", entry.partition))),
            None => Ok(entry.offset),
        };
        (entry.partition, offset)
    };
    let answered = list::from_native(&answered);
    Ok(answered.into_iter().map(offset).collect())
}

fn told(offsets: &Offsets, id: &TopicPartition) -> Result<i64, Error> {
    match offsets.get(id) {
        Some(Ok(offset)) if *offset >= 0 => Ok(*offset),
        Some(Err(error)) => Err(error.clone()),
        _ => Err(told_nothing(id)),
    }
}

fn told_nothing(id: &TopicPartition) -> Error {
    Error::unavailable(format!("Kafka: {id} has told no log offsets yet"))
}

/// The ends of logs.
pub(super) fn log_ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[TopicPartition],
) -> Result<Offsets, Error> {
    log_offsets(consumer, partitions, LATEST)
}

/// First or last offsets of logs.
pub(in crate::kafka) fn log_offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    which: i64,
) -> Result<Offsets, Error> {
    let entry = |id: &TopicPartition| Entry::new(id.clone(), which, -1);
    let found = offsets(consumer, &partitions.iter().map(entry).collect::<Vec<_>>())?;
    Ok(found
        .keys()
        .map(|id| (id.clone(), told(&found, id)))
        .collect())
}

/// The first and the last offset of one log; blocks up to twice the timeout.
pub(in crate::kafka) fn log_bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partition: &TopicPartition,
) -> Result<(i64, i64), Error> {
    let bound = |which| {
        let mut offsets = log_offsets(consumer, std::slice::from_ref(partition), which)?;
        let missing = || {
            Err(Error::unavailable(format!(
                "Kafka: {partition} wasn't answered"
            )))
        };
        offsets.remove(partition).unwrap_or_else(missing)
    };
    Ok((bound(EARLIEST)?, bound(LATEST)?))
}
