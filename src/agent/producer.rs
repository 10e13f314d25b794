//! The agent's Kafka client: idempotent, `acks=all`, tries without an end. A topic that is missing is said,
//! never created.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use secrecy::ExposeSecret as _;
use tracing::{debug, info, warn};

use super::buffer::Record;
use crate::config::settings::{AgentSettings, Property};
use crate::error::Error;

/// How long closing may take; the process ends without it then.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What has become of records, and what the client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All replicas have it.
    Acked(usize),
    /// It must be sent again.
    Failed(usize, String),
    /// No broker will ever take it.
    TooLarge(usize),
    /// Something to tell; the client goes on by itself.
    Trouble(String),
}

#[derive(Default)]
struct Context {
    outcomes: Mutex<Vec<Outcome>>,
    is_broken: AtomicBool,
}

impl Context {
    fn note(&self, outcome: Outcome) {
        self.outcomes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(outcome);
    }
}

#[derive(Clone)]
struct Shared(Arc<Context>);

impl ClientContext for Shared {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        debug!(facility, "{line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => self.0.is_broken.store(true, Ordering::Relaxed),
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.0
                    .note(Outcome::Trouble("no broker can be reached".into()));
            }
            _ => debug!("Kafka: {reason}"),
        }
    }
}

impl ProducerContext for Shared {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        self.0.note(match result {
            Ok(_) => Outcome::Acked(number),
            Err((error, _)) => match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize,
                ) => Outcome::TooLarge(number),
                Some(code) => Outcome::Failed(number, explain(code)),
                None => Outcome::Failed(number, "not delivered".into()),
            },
        });
    }
}

fn explain(code: RDKafkaErrorCode) -> String {
    match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            "the brokers don't allow writing to agent.topic: allow this principal WRITE and DESCRIBE".into()
        }
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
            "agent.topic doesn't exist: create it, or correct the name".into()
        }
        code => format!("not delivered: {code}"),
    }
}

/// The client.
pub struct Producer {
    client: BaseProducer<Shared>,
    shared: Shared,
    topic: String,
    is_ready: Arc<AtomicBool>,
}

impl Producer {
    /// A client that connects by itself; records may be sent once the topic was seen.
    pub fn new(settings: &AgentSettings) -> Result<Self, Error> {
        let shared = Shared(Arc::default());
        let mut config = client_config(settings);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Without an end: what is too old is dropped by our own buffer, which counts it.
            .set("message.timeout.ms", "0")
            .set("linger.ms", "20")
            .set("compression.type", "zstd")
            .set("queue.buffering.max.messages", "10000")
            .set("topic.metadata.propagation.max.ms", "5000");
        let client = config
            .create_with_context(shared.clone())
            .map_err(|error| unusable(&error))?;
        let is_ready = Arc::new(AtomicBool::new(false));
        await_topic(settings, shared.clone(), is_ready.clone())?;
        Ok(Producer {
            client,
            shared,
            topic: settings.topic.clone(),
            is_ready,
        })
    }

    /// Whether records may be sent.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// Whether another client must be made.
    pub fn is_broken(&self) -> bool {
        self.shared.0.is_broken.load(Ordering::Relaxed)
    }

    /// Hands a record to the client; `false` if it has no room.
    pub fn send(&self, number: usize, record: &Record) -> bool {
        let outgoing = BaseRecord::with_opaque_to(&self.topic, number)
            .key(record.key.as_bytes())
            .payload(&*record.value)
            .timestamp(record.timestamp_ms);
        match self.client.send(outgoing) {
            Ok(()) => true,
            Err((error, _)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    self.shared.0.note(Outcome::TooLarge(number));
                    true
                }
                Some(RDKafkaErrorCode::Fatal) => {
                    self.shared.0.is_broken.store(true, Ordering::Relaxed);
                    false
                }
                _ => false,
            },
        }
    }

    /// Waits for delivery reports, and hands them out.
    pub fn poll(&self, wait: Duration) -> Vec<Outcome> {
        self.client.poll(wait);
        std::mem::take(
            &mut *self
                .shared
                .0
                .outcomes
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Closes the client within a bound. With records still in its hands it is left behind: closing would
    /// wait for the brokers.
    pub fn close(self, is_drained: bool) {
        self.is_ready.store(true, Ordering::Relaxed);
        if !is_drained {
            std::mem::forget(self.client);
            return;
        }
        let (closed, done) = mpsc::channel();
        let closing = thread::Builder::new().spawn(move || {
            let _ = self.client.flush(CLOSE_TIMEOUT);
            drop(self.client);
            let _ = closed.send(());
        });
        if closing.is_ok() {
            let _ = done.recv_timeout(CLOSE_TIMEOUT);
        }
    }
}

/// What every client of the agent's has: the user's properties over outflow's defaults.
pub(crate) fn client_config(settings: &AgentSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", "outflow-agent")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000");
    for (name, value) in &settings.properties {
        match value {
            Property::Plain(value) => config.set(name, value),
            Property::Secret(value) => config.set(name, value.expose_secret()),
        };
    }
    config.set("bootstrap.servers", &settings.bootstrap_servers);
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

/// A producer that asks for a topic makes brokers create it; a consumer can ask without. So a consumer looks
/// for the topic, beside the loop, until it is there.
fn await_topic(
    settings: &AgentSettings,
    shared: Shared,
    is_ready: Arc<AtomicBool>,
) -> Result<(), Error> {
    let mut config = client_config(settings);
    config
        .set("group.id", "outflow-agent")
        .set("allow.auto.create.topics", "false");
    config.set("client.id", "outflow-agent-lookup");
    let client: BaseConsumer<Quiet> = config
        .create_with_context(Quiet)
        .map_err(|error| unusable(&error))?;
    let topic = settings.topic.clone();
    let look = move || {
        while !is_ready.load(Ordering::Relaxed) {
            let found = client.fetch_metadata(Some(&topic), Duration::from_secs(5));
            let known = found
                .as_ref()
                .ok()
                .and_then(|m| m.topics().iter().find(|t| t.name() == topic));
            let trouble = match (&found, known.and_then(|t| t.error())) {
                (Err(_), _) => "no broker can be reached".to_owned(),
                (Ok(_), Some(code)) => explain(code.into()),
                (Ok(_), None) if known.is_some_and(|t| !t.partitions().is_empty()) => {
                    info!(topic, "the topic is there");
                    is_ready.store(true, Ordering::Relaxed);
                    return;
                }
                (Ok(_), None) => explain(RDKafkaErrorCode::UnknownTopic),
            };
            shared.0.note(Outcome::Trouble(trouble));
            thread::sleep(Duration::from_secs(1));
        }
    };
    let spawned = thread::Builder::new()
        .name("agent-lookup".into())
        .spawn(look);
    spawned
        .map(drop)
        .map_err(|error| Error::unavailable(format!("no thread for the agent: {error}")))
}

struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        debug!(facility, "{line}");
    }

    fn error(&self, _: KafkaError, reason: &str) {
        debug!("Kafka: {reason}");
    }
}

impl rdkafka::consumer::ConsumerContext for Quiet {}

/// The client's own words print values, which may be secrets.
fn unusable(error: &KafkaError) -> Error {
    warn!("the Kafka client can't be made");
    Error::misconfigured(match error {
        KafkaError::ClientConfig(_, _, key, _) => format!("kafka.properties: {key} isn't valid"),
        _ => "the Kafka client can't be made of these kafka.properties: check security.protocol and the \
              sasl.* and ssl.* properties"
            .into(),
    })
}
