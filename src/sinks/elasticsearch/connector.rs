//! The sink as the process holds it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;

use super::context::{Context, Shared};
use super::encoder::Encoder;
use super::limits::Limits;
use super::transport::Client;
use super::worker::{Parts, Worker};
use crate::config::settings::ElasticsearchSettings;
use crate::error::Error;
use crate::metrics::SinkMetrics;
use crate::sinks::circuit::CircuitHandle;
use crate::sinks::{Connector, Sink, Waker};
use crate::status::SinkHealth;

/// The Elasticsearch sink.
pub struct ElasticsearchConnector {
    settings: ElasticsearchSettings,
    shared: Arc<Shared>,
    runtime: Handle,
    /// Each worker's share.
    memory_bytes: usize,
    /// For the health: workers that are still there.
    contexts: Mutex<Vec<Weak<Context>>>,
    /// What was learned, for the worker that comes after a restart.
    learned: Mutex<Option<Limits>>,
}

impl ElasticsearchConnector {
    /// A sink named `name` for `workers` workers, which share `memory_bytes` for bulk bodies. Requests run on
    /// `runtime`. Nothing is sent yet; an error is about the settings.
    pub fn new(
        settings: ElasticsearchSettings,
        name: Arc<str>,
        workers: usize,
        memory_bytes: u64,
        metrics: SinkMetrics,
        runtime: Handle,
    ) -> Result<Self, Error> {
        if settings.insecure_skip_verify {
            let sink = &*name;
            tracing::warn!(sink, "insecure_skip_verify: any certificate is accepted");
        }
        let encoder = Encoder::new(&settings)?;
        let shared = Shared {
            client: Client::new(&settings)?,
            circuit: CircuitHandle::new(Arc::clone(&name)),
            name,
            metrics,
            request_timeout: settings.request_timeout.max(Duration::from_millis(100)),
            naming: encoder.naming(),
            warned: Mutex::new(HashSet::new()),
        };
        let share = memory_bytes / u64::try_from(workers.max(1)).unwrap_or(u64::MAX);
        Ok(ElasticsearchConnector {
            settings,
            shared: Arc::new(shared),
            runtime,
            memory_bytes: usize::try_from(share).unwrap_or(usize::MAX),
            contexts: Mutex::new(Vec::new()),
            learned: Mutex::new(None),
        })
    }

    fn encoder(&self) -> Encoder {
        Encoder::new(&self.settings).unwrap_or_else(|_| unreachable!("made once before"))
    }

    fn contexts(&self) -> Vec<Arc<Context>> {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        contexts.retain(|context| context.strong_count() > 0);
        contexts.iter().filter_map(Weak::upgrade).collect()
    }

    /// The smallest that a worker has learned; a worker that starts (again) begins there.
    fn limits(&self) -> Limits {
        let contexts = self.contexts();
        let current = contexts.iter().map(|context| context.limits().clone());
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(least) = current.min_by_key(Limits::batch_bytes) {
            *learned = Some(least);
        }
        let fresh = || Limits::new(self.settings.max_in_flight, self.settings.max_batch_bytes);
        learned.clone().unwrap_or_else(fresh)
    }
}

impl Connector for ElasticsearchConnector {
    fn worker(&self, _worker: usize, waker: Waker) -> Box<dyn Sink> {
        let limits = self.limits();
        let (events_tx, events) = mpsc::channel();
        let context = Context::new(Arc::clone(&self.shared), limits, events_tx, waker);
        let context = Arc::new(context);
        self.contexts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::downgrade(&context));
        Box::new(Worker::new(Parts {
            context,
            events,
            encoder: self.encoder(),
            runtime: self.runtime.clone(),
            memory_bytes: self.memory_bytes,
            linger: self.settings.linger,
            max_docs: self.settings.max_batch_docs.max(1),
        }))
    }

    fn health(&self) -> SinkHealth {
        let mut health = self.shared.circuit.health();
        health.in_flight = self.shared.metrics.in_flight.get().max(0).unsigned_abs();
        let (aside, nodes) = self.shared.client.set_aside();
        let mut details = vec![("nodes_set_aside".to_owned(), format!("{aside} of {nodes}"))];
        for (number, context) in self.contexts().iter().enumerate() {
            let (bytes, in_flight) = {
                let limits = context.limits();
                (limits.batch_bytes(), limits.in_flight())
            };
            details.push((format!("worker_{number}_batch_bytes"), bytes.to_string()));
            details.push((
                format!("worker_{number}_concurrency"),
                in_flight.to_string(),
            ));
            for (index, why) in context.lanes.reasons() {
                details.push((format!("waiting_for_index {index}"), why));
            }
        }
        health.details = details;
        health
    }
}
