//! Delivering: one task a notifier empties its queue, in order. What the receiver's state hinders is tried again without an end;
//! what is wrong with the message itself is given up, counted and logged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

use super::email::EmailSender;
use super::http::HttpSender;
use super::incident::Event;
use super::message::Message;
use super::queue::Queue;
use super::settings::{NotifierSettings, Target};
use crate::backoff::{Backoff, Policy};
use crate::error::Error;

/// Delays between tries grow from the first to the second.
const DELAYS: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(60));

/// Why a message didn't get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words, without secrets.
    pub what: String,
    /// Whether the message is to blame, so that another try is of no use.
    pub is_final: bool,
    /// How long the receiver wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Another try may help.
    pub fn passing(what: impl Into<String>) -> Self {
        Failure {
            what: what.into(),
            is_final: false,
            retry_after: None,
        }
    }

    /// None does.
    pub fn for_good(what: impl Into<String>) -> Self {
        Failure {
            is_final: true,
            ..Failure::passing(what)
        }
    }
}

/// Whoever speaks with a receiver.
#[derive(Debug)]
pub enum Sender {
    /// An HTTP server.
    Http(Box<HttpSender>),
    /// A mail server.
    Email(Box<EmailSender>),
}

impl Sender {
    /// For a notifier.
    ///
    /// # Errors
    /// Its settings can't be used: a CA file that holds no certificate.
    pub fn new(notifier: &NotifierSettings) -> Result<Self, Error> {
        let broken = |what: String| {
            let name = &notifier.name;
            Error::misconfigured(format!("notifier {name}: {what}"))
        };
        Ok(match &notifier.target {
            Target::Http(target) => {
                let sender = HttpSender::new(notifier, target).map_err(broken)?;
                Sender::Http(Box::new(sender))
            }
            Target::Email(target) => {
                let sender = EmailSender::new(notifier, target).map_err(broken)?;
                Sender::Email(Box::new(sender))
            }
        })
    }

    /// How many messages it delivers in one go.
    fn at_once(&self) -> usize {
        match self {
            Sender::Http(sender) => sender.at_once(),
            Sender::Email(_) => 1,
        }
    }

    /// One try.
    ///
    /// # Errors
    /// It didn't get through.
    pub async fn send(&self, messages: &[Message]) -> Result<(), Failure> {
        match self {
            Sender::Http(sender) => sender.send(messages).await,
            Sender::Email(sender) => sender.send(messages).await,
        }
    }

    /// Whether the receiver can be reached, without telling it anything; what it said.
    ///
    /// # Errors
    /// It can't be.
    pub async fn reach(&self) -> Result<String, Failure> {
        match self {
            Sender::Http(sender) => sender.reach().await,
            Sender::Email(sender) => sender.reach().await,
        }
    }

    /// Who it is, without secrets.
    pub fn receiver(&self) -> &str {
        match self {
            Sender::Http(sender) => sender.receiver(),
            Sender::Email(sender) => sender.receiver(),
        }
    }
}

/// Where messages wait for their delivery.
#[derive(Debug)]
pub struct Outbox {
    name: Arc<str>,
    queue: Mutex<Queue>,
    news: Notify,
    metrics: NotifierMetrics,
}

impl Outbox {
    /// An empty one.
    pub fn new(notifier: &NotifierSettings, metrics: NotifierMetrics) -> Self {
        Outbox {
            name: notifier.name.clone(),
            queue: Mutex::new(Queue::new(notifier.queue)),
            news: Notify::new(),
            metrics,
        }
    }

    /// Adds a message; never waits.
    pub fn push(&self, message: Message) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let before = queue.len();
        let gone = queue.push(message);
        self.metrics
            .queued
            .inc_by(queue.len() as i64 - before as i64);
        drop(queue);
        self.news.notify_one();
        if let Some(gone) = gone {
            self.metrics.failed(gone.event, "queue_full").inc();
            let (notifier, group, event) = (&*self.name, &*gone.group, gone.event.as_str());
            warn!(
                notifier,
                group, event, "too many messages wait: the oldest is dropped"
            );
        }
    }

    /// So many incidents are open.
    pub fn set_open(&self, num: usize) {
        self.metrics
            .open
            .set(i64::try_from(num).unwrap_or(i64::MAX));
    }

    /// Waits for messages.
    pub(super) async fn next(&self, most: usize) -> Vec<Message> {
        loop {
            let news = self.news.notified();
            let taken = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.take(most)
            };
            if !taken.is_empty() {
                return taken;
            }
            news.await;
        }
    }
}

/// Delivers what comes into the outbox, without an end.
pub async fn deliver(sender: Sender, outbox: Arc<Outbox>) {
    loop {
        let messages = outbox.next(sender.at_once()).await;
        deliver_one(&sender, &outbox, &messages).await;
        outbox.metrics.queued.dec_by(messages.len() as i64);
    }
}

/// Until it is through, or given up.
async fn deliver_one(sender: &Sender, outbox: &Outbox, messages: &[Message]) {
    let mut backoff = Backoff::new(DELAYS);
    let (notifier, metrics) = (&*outbox.name, &outbox.metrics);
    loop {
        let Err(failure) = sender.send(messages).await else {
            for message in messages {
                metrics.sent(message.event).inc();
            }
            if backoff.tries() > 0 {
                info!(notifier, tries = backoff.tries() + 1, "told again");
            }
            return;
        };
        if failure.is_final {
            for message in messages {
                metrics.failed(message.event, "refused").inc();
                let (group, event) = (&*message.group, message.event.as_str());
                error!(notifier, group, event, "given up: {}", failure.what);
            }
            return;
        }
        metrics.retries.inc();
        if backoff.tries() == 0 {
            warn!(notifier, "can't tell, trying on: {}", failure.what);
        } else {
            debug!(notifier, "can't tell, trying on: {}", failure.what);
        }
        tokio::time::sleep(backoff.next_delay(failure.retry_after)).await;
    }
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NotifierLabel {
    notifier: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SentLabels {
    notifier: String,
    event: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailedLabels {
    notifier: String,
    event: &'static str,
    reason: &'static str,
}

/// What is counted of all notifiers.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    sent: Family<SentLabels, Counter>,
    failed: Family<FailedLabels, Counter>,
    retries: Family<NotifierLabel, Counter>,
    queued: Family<NotifierLabel, Gauge>,
    open: Family<NotifierLabel, Gauge>,
}

impl Metrics {
    /// Under `outflow_notification…` and `outflow_open_incidents`.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Metrics::default();
        let registry = registry.sub_registry_with_prefix("outflow");
        let help = "Messages that a notifier's receiver took";
        registry.register("notifications_sent", help, m.sent.clone());
        let help = "Messages that were given up: refused, or dropped from a full queue";
        registry.register("notifications_failed", help, m.failed.clone());
        let help = "Tries that failed and are made again";
        registry.register("notification_retries", help, m.retries.clone());
        let help = "Messages that wait for their delivery";
        registry.register("notifications_queued", help, m.queued.clone());
        let help = "Incidents that are open";
        registry.register("open_incidents", help, m.open.clone());
        m
    }

    /// One notifier's; all its series are there from the start.
    pub fn of(&self, notifier: &str) -> NotifierMetrics {
        let label = NotifierLabel {
            notifier: notifier.to_owned(),
        };
        let of = NotifierMetrics {
            notifier: notifier.to_owned(),
            all: self.clone(),
            retries: self.retries.get_or_create(&label).clone(),
            queued: self.queued.get_or_create(&label).clone(),
            open: self.open.get_or_create(&label).clone(),
        };
        for event in [Event::Open, Event::Repeat, Event::Close] {
            of.sent(event);
            of.failed(event, "refused");
            of.failed(event, "queue_full");
        }
        of
    }
}

/// What is counted of one notifier.
#[derive(Debug, Clone)]
pub struct NotifierMetrics {
    notifier: String,
    all: Metrics,
    retries: Counter,
    queued: Gauge,
    open: Gauge,
}

impl NotifierMetrics {
    fn sent(&self, event: Event) -> Counter {
        let labels = SentLabels {
            notifier: self.notifier.clone(),
            event: event.as_str(),
        };
        self.all.sent.get_or_create(&labels).clone()
    }

    fn failed(&self, event: Event, reason: &'static str) -> Counter {
        let labels = FailedLabels {
            notifier: self.notifier.clone(),
            event: event.as_str(),
            reason,
        };
        self.all.failed.get_or_create(&labels).clone()
    }
}
