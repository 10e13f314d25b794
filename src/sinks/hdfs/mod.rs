//! The HDFS sink: every record that isn't refused stands in exactly one committed file, once, in offset order.
//!
//! One record's way, and who decides:
//!
//! | module | what |
//! |---|---|
//! | [`worker`] | one worker's half: takes records, never blocks |
//! | [`partitioner`] | the folder a record goes to (pure) |
//! | [`ledger`] | what is taken and not committed; which ranges wait for refused records (pure) |
//! | [`rotation`], [`turns`] | when files are closed, and which partitions may have some open (pure) |
//! | [`partition`] | one task a partition: writes, closes, commits |
//! | [`writer`], [`compress`] | temp files |
//! | [`budget`] | what may be held in memory: encoded bytes, open files |
//! | [`log`], [`driver`] | the commit log: what may be done to the namespace and when (pure), and doing it |
//! | [`log_admin`], [`moves`] | the log from outside: looking at it, moving it |
//! | [`replays`] | which dead letters were replayed |
//! | [`reading`] | committed files read back |
//! | [`client`], [`failure`] | hdfs-native with timeouts, and what its errors mean |
//! | [`health`], [`check`] | the circuit's probe, and `outflow check --connect` |

pub mod budget;
pub mod check;
pub mod client;
pub mod compress;
pub mod driver;
pub mod failure;
pub mod health;
pub mod ledger;
pub mod log;
pub mod log_admin;
pub mod moves;
pub mod partition;
pub mod partitioner;
pub mod reading;
pub mod replays;
pub mod rotation;
pub mod turns;
pub mod worker;
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use self::budget::Limits;
use self::client::Hdfs;
use self::health::Gauges;
use self::turns::{Rules, Turns};
use self::worker::{HdfsSink, Parts};
use self::writer::{Files, Reaper};
use crate::config::settings::HdfsSettings;
use crate::error::Error;
use crate::metrics::SinkMetrics;
use crate::sinks::circuit::CircuitHandle;
use crate::sinks::{Connector, Sink, Waker};
use crate::status::SinkHealth;

/// How long the reaper tries to close a file that isn't wanted.
const REAP_PATIENCE: Duration = Duration::from_secs(10);

/// The sink as the process holds it.
pub struct HdfsConnector {
    settings: Arc<HdfsSettings>,
    hdfs: Arc<Hdfs>,
    reaper: Reaper,
    circuit: CircuitHandle,
    metrics: SinkMetrics,
    runtime: Handle,
    limits: Limits,
    gauges: Vec<Arc<Gauges>>,
    /// Part of the owners' ids: this host, this process, this start.
    owner: String,
    watch: AbortHandle,
}

impl HdfsConnector {
    /// A sink for `workers` workers that may hold `memory_bytes` together. Nothing is connected yet: that HDFS
    /// can't be reached is no reason not to start.
    pub fn new(
        settings: HdfsSettings,
        name: Arc<str>,
        workers: usize,
        memory_bytes: u64,
        metrics: SinkMetrics,
        runtime: Handle,
    ) -> Result<Self, Error> {
        let workers = workers.max(1);
        let limits = Limits::new(
            memory_bytes / workers as u64,
            settings.max_open_files,
            budget::file_cost_bytes(settings.compression),
        );
        let hdfs = Arc::new(Hdfs::new(&settings));
        let owner = owner_id();
        let circuit = CircuitHandle::new(name);
        let watch = runtime.spawn(health::watch(
            settings.clone(),
            circuit.clone(),
            owner.clone(),
        ));
        Ok(HdfsConnector {
            reaper: Reaper::start(Arc::clone(&hdfs), REAP_PATIENCE, &runtime),
            hdfs,
            settings: Arc::new(settings),
            circuit,
            metrics,
            runtime,
            limits,
            gauges: (0..workers).map(|_| Arc::default()).collect(),
            owner,
            watch: watch.abort_handle(),
        })
    }
}

impl Connector for HdfsConnector {
    fn worker(&self, worker: usize, waker: Waker) -> Box<dyn Sink> {
        let gauges = self.gauges.get(worker).cloned().unwrap_or_default();
        // A worker that is started again must not share an owner id with its predecessor.
        let start: u32 = rand::random();
        Box::new(HdfsSink::new(
            Parts {
                files: Files {
                    hdfs: Arc::clone(&self.hdfs),
                    budget: Arc::clone(&gauges.budget),
                    reaper: self.reaper.clone(),
                    compression: self.settings.compression,
                },
                settings: Arc::clone(&self.settings),
                circuit: self.circuit.clone(),
                metrics: self.metrics.clone(),
                gauges,
                limits: self.limits,
                runtime: self.runtime.clone(),
                waker,
                owner: format!("{}-{worker}-{start:08x}", self.owner),
            },
            Turns::new(Rules {
                places: self.limits.places,
                closing: self.limits.closing(),
                age: self.settings.rotation.age,
                full_bytes: self.settings.rotation.bytes,
            }),
        ))
    }

    fn health(&self) -> SinkHealth {
        health::health(&self.circuit, self.gauges.iter())
    }
}

impl Drop for HdfsConnector {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Names this process start for people, and unlike any other.
fn owner_id() -> String {
    let host = sysinfo::System::host_name().unwrap_or_else(|_| "host".to_owned());
    let (process, random) = (std::process::id(), rand::random::<u32>());
    format!("{host}-{process}-{random:08x}")
}
