//! Produces dead letters, and tells what became of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::client::{creation_error, producer_config};
use super::super::error::from_code;
use super::super::ffi::produce::{Outgoing, produce};
use super::reader::{Found, Quiet, Said};
use crate::config::settings::KafkaSettings;
use crate::error::{Error, Kind};
use crate::pipeline::dead_letter::Letter;

/// A letter with the record that it is about.
pub(super) struct Sealed {
    pub letter: Letter,
    pub record: Found,
}

/// What became of a sealed letter.
pub(super) enum Outcome {
    /// The topic has it.
    Delivered(Letter),
    /// It will never have it.
    Impossible(Letter, Error),
    /// Not now.
    Again(Sealed, Error),
}

type Reports = Arc<Mutex<Vec<(usize, Result<(), Code>)>>>;

struct Context {
    quiet: Quiet,
    reports: Reports,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.quiet.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.quiet.error(error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push((ticket, result));
    }
}

/// The producer, and what is under way.
pub(super) struct Writer {
    producer: BaseProducer<Context>,
    topic: String,
    reports: Reports,
    under_way: HashMap<usize, Sealed>,
    next_ticket: usize,
    bytes: usize,
}

impl Writer {
    pub fn new(
        settings: &KafkaSettings,
        sink: &str,
        topic: &str,
        said: Said,
    ) -> Result<Self, Error> {
        let reports = Reports::default();
        let context = Context {
            quiet: Quiet(said),
            reports: reports.clone(),
        };
        let producer = producer_config(settings, sink)
            .create_with_context(context)
            .map_err(|error| creation_error(&error, &settings.properties))?;
        Ok(Writer {
            producer,
            topic: topic.to_owned(),
            reports,
            under_way: HashMap::new(),
            next_ticket: 0,
            bytes: 0,
        })
    }

    /// Hands a letter to the producer; an outcome if that is all that ever happens to it.
    pub fn send(&mut self, sealed: Sealed) -> Option<Outcome> {
        let record = Outgoing {
            topic: &self.topic,
            key: sealed.record.key.as_deref(),
            value: sealed.record.value.as_deref(),
            timestamp_ms: sealed.record.timestamp_ms,
            headers: &sealed.record.headers,
        };
        match produce(&self.producer, &record, self.next_ticket) {
            Ok(()) => {
                self.bytes += sealed.record.bytes();
                self.under_way.insert(self.next_ticket, sealed);
                self.next_ticket = self.next_ticket.wrapping_add(1);
                None
            }
            Err((code, _)) => Some(judge(sealed, code, &self.topic)),
        }
    }

    /// Serves the producer, waiting at most `wait` for something to happen; what became of letters.
    pub fn poll(&mut self, wait: Duration) -> Vec<Outcome> {
        self.producer.poll(wait);
        let reports = {
            let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *reports)
        };
        let mut outcomes = Vec::with_capacity(reports.len());
        for (ticket, result) in reports {
            let Some(sealed) = self.under_way.remove(&ticket) else {
                continue;
            };
            self.bytes = self.bytes.saturating_sub(sealed.record.bytes());
            outcomes.push(match result {
                Ok(()) => Outcome::Delivered(sealed.letter),
                Err(code) => judge(sealed, code, &self.topic),
            });
        }
        outcomes
    }

    /// The bytes of letters under way.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether none is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// An idempotent producer can end for good (its sequence was lost): another is needed then.
    pub fn is_broken(&self) -> bool {
        use rdkafka::producer::Producer as _;
        self.producer.client().fatal_error().is_some()
    }

    /// Gives up on the answers to what is under way: it is sent again by another producer.
    pub fn take_back(&mut self) -> Vec<Sealed> {
        self.bytes = 0;
        self.under_way.drain().map(|(_, sealed)| sealed).collect()
    }
}

/// What an error of the producer's means for a letter.
fn judge(sealed: Sealed, code: Code, topic: &str) -> Outcome {
    let id = &sealed.letter.partition;
    let offset = sealed.letter.offset;
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            let error = Error::corrupt(format!(
                "{id}: the refused record at offset {offset} is too large for the dead letter topic {topic}; \
                 raise max.message.bytes of that topic, then release the partition"
            ));
            Outcome::Impossible(sealed.letter, error)
        }
        Code::InvalidRecord => {
            let error = Error::corrupt(format!(
                "{id}: the dead letter topic {topic} doesn't take the refused record at offset {offset}; it \
                 must not be compacted (records without a key are refused there)"
            ));
            Outcome::Impossible(sealed.letter, error)
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            let error = Error::new(
                Kind::Misconfigured,
                format!(
                    "the dead letter topic {topic} doesn't exist; create it (kafka-topics.sh --create \
                     --topic {topic} ...), refused records wait for it"
                ),
            );
            Outcome::Again(sealed, error)
        }
        code => {
            let error = from_code(code, format!("the dead letter topic {topic} takes nothing"));
            Outcome::Again(sealed, error)
        }
    }
}
