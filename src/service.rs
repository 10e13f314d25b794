//! Wiring: validated settings become plans that the supervisor runs. The only place that knows every part.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::registry::Registry;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::admin::Observed;
use crate::config::settings::{IdSource, RejectedPolicy, Settings, SinkSettings, Subscription};
use crate::error::Error;
use crate::kafka::budget::Budget;
use crate::kafka::keeper::Keeper;
use crate::kafka::positions::PositionStore;
use crate::kafka::{KafkaDeadLetters, KafkaSource};
use crate::metrics::SinkMetrics;
use crate::offsets::TopicPartition;
use crate::pipeline::control::Rules;
use crate::pipeline::dead_letter::DeadLetters;
use crate::pipeline::source::Source;
use crate::pipeline::supervisor::{Makers, Plan, Supervisor};
use crate::sinks::elasticsearch::ElasticsearchConnector;
use crate::sinks::hdfs::HdfsConnector;
use crate::sinks::{Connector, Waker};
use crate::status::SinkStatus;

/// Threads of a sink's runtime: one drives sockets while the other compresses or checksums.
const RUNTIME_THREADS: usize = 2;

/// A plan for every sink, its metrics registered.
pub fn plans(settings: Vec<Settings>, registry: &mut Registry) -> Result<Vec<Plan>, Error> {
    settings
        .into_iter()
        .map(|settings| plan(settings, registry))
        .collect()
}

fn plan(settings: Settings, registry: &mut Registry) -> Result<Plan, Error> {
    let metrics = SinkMetrics::register(registry, &settings.name);
    let runtime = Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name(format!("{}-io", settings.name))
        .enable_all()
        .build()
        .map_err(|why| Error::unavailable(format!("no threads for {}: {why}", settings.name)))?;
    Ok(Plan {
        name: settings.name.clone(),
        kind: settings.sink.kind(),
        rules: rules(&settings),
        workers: settings.workers,
        metrics: metrics.clone(),
        makers: Box::new(SinkMakers {
            settings,
            metrics,
            runtime: Some(runtime),
            positions: Mutex::new(None),
        }),
    })
}

/// The sink of these settings, on this runtime.
pub fn connector(
    settings: &Settings,
    metrics: SinkMetrics,
    runtime: Handle,
) -> Result<Arc<dyn Connector>, Error> {
    let (name, workers) = (settings.name.clone(), settings.workers);
    let memory = Budget::beside(settings.memory_bytes);
    Ok(match settings.sink.clone() {
        SinkSettings::Elasticsearch(settings) => Arc::new(ElasticsearchConnector::new(
            settings, name, workers, memory, metrics, runtime,
        )?),
        SinkSettings::Hdfs(settings) => Arc::new(HdfsConnector::new(
            settings, name, workers, memory, metrics, runtime,
        )?),
    })
}

fn rules(settings: &Settings) -> Rules {
    let (can_go_back, keyed, max_span) = match &settings.sink {
        SinkSettings::Elasticsearch(elasticsearch) => (
            true,
            elasticsearch.id == IdSource::Key,
            settings.kafka.max_span,
        ),
        // An open file spans what it spans: rotation and the memory budget bound it.
        SinkSettings::Hdfs(_) => (false, false, i64::MAX),
    };
    Rules {
        group: settings.kafka.group_id.clone(),
        rejected: settings.rejected.clone(),
        on_offset_lost: settings.kafka.on_offset_lost,
        commit_mode: settings.kafka.commit_mode,
        commit_interval: settings.kafka.commit_interval,
        max_poll_records: settings.kafka.max_poll_records,
        drain_timeout: settings.kafka.drain_timeout,
        max_span,
        can_go_back,
        stops_on_new_partitions: keyed,
        fixed: matches!(settings.kafka.subscription, Subscription::Assigned(_)),
    }
}

struct SinkMakers {
    settings: Settings,
    metrics: SinkMetrics,
    /// The sink's own threads; taken when it goes, since a runtime mustn't wait for tasks that hang.
    runtime: Option<Runtime>,
    /// Positions of fixed partitions, once a worker has asked for them.
    positions: Mutex<Option<Arc<PositionStore>>>,
}

impl SinkMakers {
    fn runtime(&self) -> Result<Handle, Error> {
        let runtime = self
            .runtime
            .as_ref()
            .ok_or_else(|| Error::unavailable("shutting down"))?;
        Ok(runtime.handle().clone())
    }

    /// Who keeps the positions of fixed partitions: HDFS's commit log does; Elasticsearch keeps none.
    fn keeper(&self) -> Result<Keeper, Error> {
        if let SinkSettings::Hdfs(_) = self.settings.sink {
            return Ok(Keeper::Sink);
        }
        let Settings { kafka, name, .. } = &self.settings;
        let state_dir = kafka.state_dir.as_deref().ok_or_else(|| {
            Error::misconfigured("kafka.assign needs a place for the positions: set state_dir")
        })?;
        let mut place = self
            .positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let store = match &*place {
            Some(store) => store.clone(),
            None => place
                .insert(Arc::new(PositionStore::open(state_dir, name)?))
                .clone(),
        };
        Ok(Keeper::Store(store))
    }

    fn fetch_bytes(&self) -> u64 {
        Budget::of_worker(self.settings.memory_bytes, self.settings.workers).bytes()
    }
}

impl Makers for SinkMakers {
    fn connector(&self) -> Result<Arc<dyn Connector>, Error> {
        connector(&self.settings, self.metrics.clone(), self.runtime()?)
    }

    fn source(&self, worker: usize) -> Result<Box<dyn Source>, Error> {
        let Settings { kafka, name, .. } = &self.settings;
        let bytes = self.fetch_bytes();
        let Subscription::Assigned(all) = &kafka.subscription else {
            return Ok(Box::new(KafkaSource::new(kafka, name, worker, bytes)?));
        };
        let workers = self.settings.workers.max(1);
        let share: Vec<_> = all.iter().skip(worker).step_by(workers).cloned().collect();
        if share.is_empty() {
            tracing::info!(
                sink = &**name,
                worker,
                "idle: {} fixed partitions are shared by {workers} workers; lower workers, or assign more",
                all.len()
            );
        }
        let keeper = self.keeper()?;
        let source = KafkaSource::fixed(kafka, name, worker, bytes, share, keeper)?;
        Ok(Box::new(source))
    }

    fn dead_letters(&self, worker: usize) -> Result<Option<Box<dyn DeadLetters>>, Error> {
        let RejectedPolicy::DeadLetter { topic } = &self.settings.rejected else {
            return Ok(None);
        };
        let Settings { kafka, name, .. } = &self.settings;
        // The loop looks for answers every 20 ms: it needn't be woken for them.
        let waker = Waker::new(|| ());
        let letters = KafkaDeadLetters::new(kafka, name, worker, topic, waker)?;
        Ok(Some(Box::new(letters)))
    }
}

impl Observed for Supervisor {
    fn sinks(&self) -> Vec<SinkStatus> {
        self.status()
    }

    fn release(&self, sink: &str, partition: &TopicPartition) -> Result<(), Error> {
        self.release_quarantine(sink, partition)
    }
}

impl Drop for SinkMakers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
