//! Reads refused records again, by topic, partition and offset, with a consumer that is in no group.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::client::{creation_error, reader_config};
use super::super::error::{from_code, from_kafka, from_reason};
use super::super::ffi::list::{self, Entry};
use super::super::ffi::queue::{DataQueue, Headers, Message};
use super::super::lookup::log_bounds;
use crate::config::settings::KafkaSettings;
use crate::error::Error;
use crate::offsets::TopicPartition;

/// A wanted record at most this far ahead is reached by reading on; beyond, reading starts anew there.
const NEAR: i64 = 1_000;

/// A record, as it was.
#[derive(Debug)]
pub(in crate::kafka) struct Found {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: Option<i64>,
    pub headers: Headers,
}

impl Found {
    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter().map(|(n, v)| n.len() + len(v));
        len(&self.key) + len(&self.value) + headers.sum::<usize>()
    }
}

/// What was learned of one wanted offset: the record, or why it can't be had any more.
pub(in crate::kafka) type Learned = (i64, Result<Found, String>);

/// What the client says of its connections, for whoever asks why nothing comes.
pub(in crate::kafka) type Said = Arc<Mutex<Option<Error>>>;

/// Keeps the client's last word, and its logs out of sight.
pub(in crate::kafka) struct Quiet(pub Said);

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(facility, "librdkafka: {line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *said = Some(from_reason(code, reason));
        }
    }
}

impl ConsumerContext for Quiet {}

/// The consumer, and where it reads.
pub(in crate::kafka) struct Reader {
    queue: DataQueue<Quiet>,
    at: Option<(TopicPartition, i64)>,
}

impl Reader {
    pub fn new(settings: &KafkaSettings, sink: &str, said: Said) -> Result<Self, Error> {
        let consumer: BaseConsumer<Quiet> = reader_config(settings, sink)
            .create_with_context(Quiet(said))
            .map_err(|error| creation_error(&error, &settings.properties))?;
        let queue = DataQueue::new(Arc::new(consumer))
            .ok_or_else(|| Error::unavailable("Kafka: the client has no room for a queue"))?;
        Ok(Reader { queue, at: None })
    }

    /// Reads some of the `wanted` records of a partition, waiting at most `wait`; takes those that it learned
    /// something of out of `wanted`. An error says why nothing comes; try again later.
    pub fn read(
        &mut self,
        partition: &TopicPartition,
        wanted: &mut BTreeSet<i64>,
        wait: Duration,
        learned: &mut Vec<Learned>,
    ) -> Result<(), Error> {
        let Some(first) = wanted.first().copied() else {
            return Ok(());
        };
        let near = match &self.at {
            Some((at, next)) => at == partition && (*next..*next + NEAR).contains(&first),
            None => false,
        };
        if !near {
            self.go_to(partition, first)?;
        }
        let consumer = self.queue.consumer().clone();
        self.serve();
        let mut failed = None;
        let mut next = None;
        self.queue.consume(256, wait, &mut |message| {
            let offset = message.offset();
            match message.error() {
                None => {
                    next = Some(offset + 1);
                    gone_below(wanted, offset, learned);
                    if wanted.remove(&offset) {
                        let found = Found {
                            key: message.key().map(<[u8]>::to_vec),
                            value: message.value().map(<[u8]>::to_vec),
                            timestamp_ms: message.timestamp_ms(),
                            headers: message.headers(),
                        };
                        learned.push((offset, Ok(found)));
                    }
                }
                Some(Code::PartitionEOF) => gone_below(wanted, offset, learned),
                Some(code) => failed = Some(code),
            }
        });
        if let (Some((_, at)), Some(next)) = (&mut self.at, next) {
            *at = next;
        }
        match failed {
            None => Ok(()),
            Some(code) => {
                self.at = None;
                match code {
                    Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                        out_of_range(&consumer, partition, wanted, learned)
                    }
                    code => Err(from_code(
                        code,
                        format!("Kafka: {partition} can't be read again"),
                    )),
                }
            }
        }
    }

    /// Shows some records of a partition from `from` on, waiting at most `wait`; returns where it went on to, if
    /// anywhere. The end of the log counts, and what isn't there any more is passed.
    pub fn pass(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        wait: Duration,
        show: &mut dyn FnMut(&Message<'_>),
    ) -> Result<Option<i64>, Error> {
        if self.at.as_ref() != Some(&(partition.clone(), from)) {
            self.go_to(partition, from)?;
        }
        self.serve();
        let (mut failed, mut next) = (None, None);
        self.queue
            .consume(256, wait, &mut |message| match message.error() {
                None => {
                    next = Some(message.offset() + 1);
                    show(message);
                }
                Some(Code::PartitionEOF) => next = next.max(Some(message.offset())),
                Some(code) => failed = Some(code),
            });
        if let (Some((_, at)), Some(next)) = (&mut self.at, next) {
            *at = next;
        }
        let Some(code) = failed else {
            return Ok(next);
        };
        self.at = None;
        match code {
            // Retention was faster.
            Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                let (start, _) = log_bounds(self.queue.consumer(), partition)?;
                Ok(Some(start).filter(|start| *start > from))
            }
            code => Err(from_code(code, format!("Kafka: {partition} can't be read"))),
        }
    }

    /// The consumer, to ask of other things.
    pub fn consumer(&self) -> &BaseConsumer<Quiet> {
        self.queue.consumer()
    }

    /// Serves the client's own events.
    pub fn serve(&self) {
        let _ = self.queue.consumer().poll(Duration::ZERO);
    }

    /// Reads from `offset` of a partition on, and nothing else.
    fn go_to(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), Error> {
        let consumer = self.queue.consumer();
        let what = "Kafka: the client doesn't take the partition";
        self.at = None;
        consumer
            .unassign()
            .map_err(|error| from_kafka(&error, what))?;
        // Stopping undoes the forwarding, on the client's own thread, which works in order.
        consumer.rebalance_protocol();
        self.queue.forward(partition);
        let start = Entry::new(partition.clone(), offset, -1);
        consumer
            .assign(&list::to_native(&[start]))
            .map_err(|error| from_kafka(&error, what))?;
        self.at = Some((partition.clone(), offset));
        Ok(())
    }
}

/// What is wanted below `offset` was passed without being seen: it isn't there any more.
fn gone_below(wanted: &mut BTreeSet<i64>, offset: i64, learned: &mut Vec<Learned>) {
    let rest = wanted.split_off(&offset);
    let gone = std::mem::replace(wanted, rest);
    learned.extend(gone.into_iter().map(|offset| {
        let why = "Kafka doesn't have it any more (compaction)".to_owned();
        (offset, Err(why))
    }));
}

/// The broker says that the first wanted offset is outside the log: which are, and on which side.
fn out_of_range(
    consumer: &BaseConsumer<Quiet>,
    partition: &TopicPartition,
    wanted: &mut BTreeSet<i64>,
    learned: &mut Vec<Learned>,
) -> Result<(), Error> {
    let (start, end) = log_bounds(consumer, partition)?;
    wanted.retain(|offset| {
        let why = match *offset {
            offset if offset < start => {
                format!("Kafka doesn't have it any more (retention: the log starts at {start})")
            }
            offset if offset >= end => {
                format!("Kafka doesn't have it any more (records were lost: the log ends at {end})")
            }
            _ => return true,
        };
        learned.push((*offset, Err(why)));
        false
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_is_gone_and_what_lies_ahead_is_not() {
        let mut wanted = BTreeSet::from([3, 5, 8]);
        let mut learned = Vec::new();
        gone_below(&mut wanted, 5, &mut learned);
        assert_eq!(learned.iter().map(|(o, _)| *o).collect::<Vec<_>>(), [3]);
        assert_eq!(wanted, BTreeSet::from([5, 8]));
        gone_below(&mut wanted, 9, &mut learned);
        assert!(wanted.is_empty());
    }
}
