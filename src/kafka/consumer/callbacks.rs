//! The client's callbacks. They only take notes, on the thread that polls; the source turns those into events.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

use super::super::ffi::list;
use super::assigning::{Verb, tell};
use crate::offsets::TopicPartition;

/// What a callback noted.
pub(super) enum Note {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
    Trouble(Code, String),
}

/// Where callbacks write, on the thread that polls.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) list: Mutex<Vec<Note>>,
    /// Counts callbacks, so that the poll knows whether the queue is empty.
    pub(super) served: AtomicU64,
    /// The source is closing: callbacks answer for themselves.
    pub(super) closing: AtomicBool,
}

impl Notes {
    pub(super) fn add(&self, note: Note) {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(note);
    }

    pub(super) fn take(&self) -> Vec<Note> {
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn count(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

/// The consumer's callbacks.
pub(super) struct Context {
    pub(super) notes: Arc<Notes>,
    /// The assignor is: the client takes whole assignments only.
    pub(super) eager: bool,
    /// Gone when the client is: whoever closes waits for that.
    pub(super) _alive: Sender<()>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.notes.count();
        match level {
            // A connection that fails, told again at every try; the worker says once that Kafka is away.
            _ if matches!(facility, "FAIL" | "ERROR") => {
                tracing::debug!(facility, "librdkafka: {line}");
            }
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, "librdkafka: {line}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, "librdkafka: {line}"),
        }
    }

    fn stats_raw(&self, _: &[u8]) {
        self.notes.count();
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.notes.count();
        if let Some(code) = error.rdkafka_error_code() {
            self.notes.add(Note::Trouble(code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        self.notes.count();
        let assigning = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let partitions = list::partitions(partitions);
        let closing = self.notes.closing.load(Ordering::Relaxed);
        if assigning {
            // The client doesn't mind that the lists differ: partitions are added when they are started.
            answer(tell(consumer, self.eager, Verb::Assign, &[]));
            if !closing {
                self.notes.add(Note::Assigned(partitions));
            }
        } else if partitions.is_empty() || closing {
            answer(tell(consumer, self.eager, Verb::AnswerRevoke, &[]));
        } else if consumer.assignment_lost() {
            self.notes.add(Note::Lost(partitions));
        } else {
            self.notes.add(Note::Revoked(partitions));
        }
    }
}

pub(super) fn answer(result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::warn!("a rebalance couldn't be answered: {error}");
    }
}
