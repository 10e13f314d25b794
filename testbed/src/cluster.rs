//! All three services together: for the tests of one process, for `testbed up`, and for the demo.

use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::{Value, json};

use crate::artifacts::Artifacts;
use crate::elasticsearch::{Elasticsearch, ElasticsearchOptions};
use crate::error::{Error, Result};
use crate::hdfs::{Hdfs, HdfsOptions};
use crate::kafka::{Kafka, KafkaOptions};

/// How to start all three.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Kafka's options.
    pub kafka: KafkaOptions,
    /// Elasticsearch's options.
    pub elasticsearch: ElasticsearchOptions,
    /// HDFS' options.
    pub hdfs: HdfsOptions,
}

/// Kafka, Elasticsearch and HDFS, running.
pub struct Cluster {
    /// Kafka.
    pub kafka: Kafka,
    /// Elasticsearch.
    pub elasticsearch: Elasticsearch,
    /// HDFS.
    pub hdfs: Hdfs,
}

impl Cluster {
    /// Starts all three at once and waits until each is ready.
    pub fn start(options: &ClusterOptions) -> Result<Self> {
        Self::start_telling(options, &|_, _| {})
    }

    /// The same, and tells of each service (its name, its address) as soon as it is ready.
    pub fn start_telling(
        options: &ClusterOptions,
        tell: &(dyn Fn(&str, &str) + Sync),
    ) -> Result<Self> {
        // First, so that three threads don't wait on one download each with its own message.
        Artifacts::get()?;
        std::thread::scope(|scope| {
            let elasticsearch = scope.spawn(|| {
                let ready = Elasticsearch::start(&options.elasticsearch)?;
                tell("Elasticsearch", ready.url());
                Ok::<_, Error>(ready)
            });
            let hdfs = scope.spawn(|| {
                let ready = Hdfs::start(&options.hdfs)?;
                tell("HDFS", &ready.url());
                Ok::<_, Error>(ready)
            });
            let kafka = Kafka::start(&options.kafka);
            if let Ok(ready) = &kafka {
                tell("Kafka", &ready.bootstrap());
            }
            let died = |_| Error::new("the thread that starts a service panicked");
            let (elasticsearch, hdfs) = (
                elasticsearch.join().map_err(died)?,
                hdfs.join().map_err(died)?,
            );
            Ok(Self {
                kafka: kafka?,
                elasticsearch: elasticsearch?,
                hdfs: hdfs?,
            })
        })
    }

    /// Addresses, for people and for scripts.
    pub fn addresses(&self) -> Value {
        json!({
            "kafka": { "bootstrap": self.kafka.bootstrap() },
            "elasticsearch": { "url": self.elasticsearch.url() },
            "hdfs": {
                "url": self.hdfs.url(),
                "http": self.hdfs.http().base(),
                "config_dir": self.hdfs.config_dir(),
            },
        })
    }

    /// Whatever was done to the services, they are well afterwards.
    pub fn heal(&self) -> Result<()> {
        self.kafka.heal()?;
        self.elasticsearch.node().heal()?;
        self.hdfs.heal()
    }
}

/// The cluster of this test process, started by the first who asks and gone with the process.
///
/// Panics if it can't start: no test that asks for it can go on.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Result<Cluster>> = OnceLock::new();
    match SHARED.get_or_init(|| Cluster::start(&ClusterOptions::default())) {
        Ok(cluster) => cluster,
        Err(error) => panic!("the testbed's services can't start: {error}"),
    }
}

/// Who has the shared cluster: one test alone, or some beside each other.
static TURN: RwLock<()> = RwLock::new(());

/// The shared cluster in a test's hands, alone or beside others.
pub struct Shared {
    cluster: &'static Cluster,
    alone: Option<RwLockWriteGuard<'static, ()>>,
    _beside: Option<RwLockReadGuard<'static, ()>>,
}

/// Waits for the turn of this test: it has the services alone, whatever the number of test threads, and may break
/// them. When the guard goes, they are healed.
pub fn exclusive() -> Shared {
    // A test that failed with the lock in its hands doesn't spoil the next ones: Drop has healed.
    let alone = TURN.write().unwrap_or_else(PoisonError::into_inner);
    Shared {
        cluster: shared(),
        alone: Some(alone),
        _beside: None,
    }
}

/// Waits until nobody has the services alone. For a test that leaves them as they are, and minds nothing but topics,
/// groups, indices and folders of its own; as many such as there are test threads go on beside each other.
pub fn together() -> Shared {
    let beside = TURN.read().unwrap_or_else(PoisonError::into_inner);
    Shared {
        cluster: shared(),
        alone: None,
        _beside: Some(beside),
    }
}

impl std::ops::Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.alone.is_none() {
            return;
        }
        if let Err(error) = self.cluster.heal() {
            use std::io::Write;
            let _ = writeln!(
                std::io::stderr(),
                "testbed: the services can't be healed: {error}"
            );
        }
    }
}
