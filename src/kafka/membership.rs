//! Asks beside the loop who is in the group, and says what that explains: rebalances in the log, idle workers
//! in the status, and who stands in the way of one that can't join.
//!
//! One small thread a consumer, with a client of its own while it asks: what is asked of a coordinator that is
//! away must be given up together with the client that asked. A principal that may not DESCRIBE the group is told nothing, and misses
//! nothing else.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::error::from_reason;
use super::explain;
use super::ffi::groups::{Group, describe_group, member_id};
use super::ffi::queue::Yielder;
use crate::error::Error;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How soon a group that is still rebalancing is looked at again, and how often at most.
const AGAIN: Duration = Duration::from_millis(500);
const TRIES: u32 = 60;

/// What the worker's thread asks.
enum Ask {
    /// Partitions came or went: why?
    Rebalanced,
    /// The group doesn't take us, or not any more: who stands in the way?
    Refused(Code, String),
}

/// What comes back.
pub(super) enum Explained {
    /// The group has more members than partitions, and this one has none; or that is over.
    Idle(Option<String>),
    /// Why the group doesn't take us.
    Refused(Code, Error),
}

/// What the thread has to know of the configuration.
pub(super) struct About {
    /// Of the client that asks.
    pub config: ClientConfig,
    pub sink: String,
    pub worker: usize,
    pub group: Arc<str>,
    pub instance: Option<String>,
    pub assignor: &'static str,
}

/// The handle of the thread, which ends when this is dropped.
pub(super) struct Membership {
    asks: Sender<Ask>,
    explained: Receiver<Explained>,
}

impl Membership {
    /// Starts the thread.
    pub fn spawn<C: ConsumerContext + 'static>(
        consumer: Weak<BaseConsumer<C>>,
        yielder: Yielder,
        about: About,
    ) -> std::io::Result<Self> {
        let (asks, asked) = channel();
        let (answers, explained) = channel();
        let thread = Thread {
            consumer,
            about,
            yielder,
            answers,
            last: None,
            tries_left: 0,
            client: None,
            idle: None,
        };
        std::thread::Builder::new()
            .name("kafka-members".into())
            .spawn(move || thread.run(&asked))?;
        Ok(Membership { asks, explained })
    }

    /// Partitions came or went.
    pub fn rebalanced(&self) {
        let _ = self.asks.send(Ask::Rebalanced);
    }

    /// The group doesn't take us, with this code and the client's reason; answered by `Refused`.
    pub fn refused(&self, code: Code, reason: &str) {
        let _ = self.asks.send(Ask::Refused(code, reason.to_owned()));
    }

    /// What was explained since.
    pub fn explained(&self) -> Option<Explained> {
        self.explained.try_recv().ok()
    }
}

struct Thread<C: ConsumerContext + 'static> {
    consumer: Weak<BaseConsumer<C>>,
    about: About,
    yielder: Yielder,
    answers: Sender<Explained>,
    /// The group when it was last at rest.
    last: Option<Group>,
    /// How often a group that is rebalancing is still looked at.
    tries_left: u32,
    /// Asks; there while a rebalance is being watched.
    client: Option<BaseConsumer<Quiet>>,
    idle: Option<String>,
}

/// A client whose troubles are nobody's: the worker's own says when brokers are away.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(facility, "librdkafka: {line}");
    }

    fn error(&self, _: KafkaError, reason: &str) {
        tracing::debug!("librdkafka: {reason}");
    }
}

impl ConsumerContext for Quiet {}

impl<C: ConsumerContext + 'static> Thread<C> {
    fn run(mut self, asked: &Receiver<Ask>) {
        loop {
            let ask = match self.tries_left {
                0 => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
                _ => asked.recv_timeout(AGAIN),
            };
            match ask {
                Ok(Ask::Refused(code, reason)) => self.refused(code, &reason),
                Ok(Ask::Rebalanced) => self.tries_left = TRIES,
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    if self.tries_left == 0 {
                        self.client = None;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// The group, and this member's id in it. None once the consumer is gone.
    fn describe(&mut self) -> Option<Result<(Group, String), Code>> {
        let me = member_id(&*self.consumer.upgrade()?);
        let client = match self.client.take() {
            Some(client) => client,
            None => match self.about.config.create_with_context(Quiet) {
                Ok(client) => client,
                Err(error) => return Some(Err(error.rdkafka_error_code().unwrap_or(Code::Fail))),
            },
        };
        let group = describe_group(&client, &self.about.group, TIMEOUT);
        // One that got no answer isn't used again.
        self.client = group.is_ok().then_some(client);
        Some(group.map(|group| (group, me)))
    }

    /// Explains a rebalance once the group is at rest.
    fn look(&mut self) {
        self.tries_left = self.tries_left.saturating_sub(1);
        let (group, me) = match self.describe() {
            Some(Ok(described)) => described,
            Some(Err(Code::GroupAuthorizationFailed)) | None => {
                self.tries_left = 0;
                return;
            }
            Some(Err(_)) => return,
        };
        if group.state != "Stable" {
            return;
        }
        self.tries_left = 0;
        let (sink, worker, id) = (&self.about.sink, self.about.worker, &self.about.group);
        let num = group.members.len();
        match &self.last {
            None => {
                tracing::info!(sink, worker, group = %id, "joined, members now: {num}")
            }
            Some(last) => {
                if let Some(changes) = explain::changes(last, &group, &me) {
                    tracing::info!(sink, worker, group = %id, "rebalanced, members now: {num}: {changes}");
                }
            }
        }
        let idle = explain::idle(&group, &me);
        if idle != self.idle {
            if let Some(why) = &idle {
                tracing::info!(sink, worker, "idle: {why}");
            }
            self.idle.clone_from(&idle);
            self.answer(Explained::Idle(idle));
        }
        self.last = Some(group);
    }

    fn refused(&mut self, code: Code, reason: &str) {
        let group = self.describe().and_then(Result::ok).map(|(group, _)| group);
        let about = &self.about;
        let instance = about.instance.as_deref().unwrap_or_default();
        let error = match (code, &group) {
            (Code::FencedInstanceId, group) => explain::fenced(instance, group.as_ref()),
            (Code::UnreleasedInstanceId, group) => explain::unreleased(instance, group.as_ref()),
            (Code::InconsistentGroupProtocol, Some(group)) => {
                explain::mixed(&about.group, about.assignor, group)
            }
            _ => from_reason(code, reason),
        };
        self.answer(Explained::Refused(code, error));
        self.client = None;
    }

    fn answer(&self, explained: Explained) {
        if self.answers.send(explained).is_ok() {
            self.yielder.wake();
        }
    }
}
