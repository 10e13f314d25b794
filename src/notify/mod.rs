//! Telling people of groups that are in trouble: webhooks, Slack, Alertmanager, e-mail.
//!
//! | file | owns |
//! |---|---|
//! | [`settings`] | what a notifier is told of, and how |
//! | [`incident`] | when an incident opens, is repeated and closes (pure) |
//! | [`message`], [`words`] | what is said of it (pure) |
//! | [`template`], [`alertmanager`] | the same as the receiver wants it (pure) |
//! | [`queue`] | what waits to be delivered: in order, bounded (pure) |
//! | [`watch`] | the thread that looks at groups and fills the queues |
//! | [`delivery`], [`http`], [`email`] | the tasks that empty them, with endless retry |
//! | [`try_out`] | what `outflow check` asks of a receiver |
//!
//! Judging never waits for a receiver, nor one receiver for another.

pub mod alertmanager;
pub mod delivery;
pub mod email;
pub mod http;
pub mod incident;
pub mod message;
pub mod queue;
pub mod settings;
pub mod template;
pub mod try_out;
pub mod watch;
pub mod words;

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use crate::error::Error;
use crate::monitor::Clusters;
use delivery::{Metrics, Outbox, Sender};
use settings::NotifierSettings;
use watch::Watcher;

/// The notifiers of a process. They end when it is dropped, without waiting for what isn't delivered.
#[derive(Debug)]
pub struct Notifications {
    _watcher: Option<Watcher>,
}

impl Notifications {
    /// Looks at the groups of `clusters` from now on, and tells of them; deliveries run on `runtime`.
    ///
    /// # Errors
    /// A receiver's settings can't be used, or there is no thread to be had.
    pub fn start(
        settings: &[NotifierSettings],
        clusters: Clusters,
        runtime: &Handle,
        registry: &mut Registry,
    ) -> Result<Self, Error> {
        if settings.is_empty() {
            return Ok(Notifications { _watcher: None });
        }
        let metrics = Metrics::register(registry);
        let mut told = Vec::new();
        for notifier in settings {
            let outbox = Arc::new(Outbox::new(notifier, metrics.of(&notifier.name)));
            let sender = Sender::new(notifier)?;
            runtime.spawn(delivery::deliver(sender, outbox.clone()));
            told.push((notifier.clone(), outbox));
        }
        let watcher = Some(Watcher::start(told, clusters)?);
        Ok(Notifications { _watcher: watcher })
    }
}
