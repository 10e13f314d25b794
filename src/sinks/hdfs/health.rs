//! Whether HDFS takes files at all: the probe that closes the circuit again, and what the sink tells of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::budget::Budget;
use super::client::Hdfs;
use super::failure::Failure;
use crate::config::settings::HdfsSettings;
use crate::error::Error;
use crate::sinks::circuit::{CircuitHandle, Leave};
use crate::status::{CircuitState, SinkHealth};

/// A probe that isn't answered within this is given up; the next may take longer, up to the call's timeout.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);

/// One worker's figures.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Open files and bytes.
    pub budget: Arc<Budget>,
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
}

impl Gauges {
    /// File commits in flight, and partitions that wait for their turn.
    pub fn set(&self, in_flight: usize, waiting: usize) {
        self.in_flight.store(in_flight, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
    }
}

/// The sink's health, from its circuit and its workers' figures.
pub fn health<'a>(
    circuit: &CircuitHandle,
    workers: impl Iterator<Item = &'a Arc<Gauges>>,
) -> SinkHealth {
    let (mut in_flight, mut waiting, mut files, mut bytes) = (0, 0, 0, 0);
    for worker in workers {
        in_flight += worker.in_flight.load(Ordering::Relaxed);
        waiting += worker.waiting.load(Ordering::Relaxed);
        files += worker.budget.num_files();
        bytes += worker.budget.num_bytes();
    }
    SinkHealth {
        in_flight: in_flight as u64,
        details: vec![
            ("open_files".to_owned(), files.to_string()),
            ("unwritten_bytes".to_owned(), bytes.to_string()),
            ("partitions_waiting".to_owned(), waiting.to_string()),
        ],
        ..circuit.health()
    }
}

/// Probes while the circuit is open, for ever.
pub async fn watch(settings: HdfsSettings, circuit: CircuitHandle, owner: String) {
    let mut states = circuit.subscribe();
    let mut patience = FIRST_PATIENCE;
    loop {
        let opened = states.wait_for(|state| *state != CircuitState::Closed);
        if opened.await.is_err() {
            return;
        }
        match circuit.ask() {
            Leave::Go => patience = FIRST_PATIENCE,
            Leave::Wait(at) => tokio::time::sleep_until(at.into()).await,
            Leave::Probe(probe) => {
                // A client of its own: it starts without what earlier failures left behind, and goes with the
                // probe.
                let mut own = settings.clone();
                own.call_timeout = patience.min(settings.call_timeout);
                let (base, owner) = (settings.base.clone(), owner.clone());
                // A task of its own: a panic in the client is a failed probe, not the end of probing.
                let tried =
                    tokio::spawn(
                        async move { try_to_write(&Hdfs::new(&own), &base, &owner).await },
                    );
                let ended = |_| {
                    Err(Error::unavailable(
                        "the probe ended unexpectedly: see the log",
                    ))
                };
                match tried.await.unwrap_or_else(ended) {
                    Ok(()) => probe.succeeded(),
                    Err(why) => {
                        // Perhaps it is slow, not gone.
                        patience = (patience * 2).min(settings.call_timeout);
                        probe.failed(&why);
                    }
                }
            }
        }
    }
}

/// Whether a small file can be written, which takes a NameNode and a DataNode.
pub async fn try_to_write(hdfs: &Hdfs, base: &str, owner: &str) -> Result<(), Error> {
    let folder = format!("{base}/_outflow");
    let path = format!("{folder}/.probe-{owner}");
    // An earlier probe may have got half way.
    hdfs.delete(&path, false)
        .await
        .map_err(Failure::into_error)?;
    hdfs.make_dir(&folder, true)
        .await
        .map_err(Failure::into_error)?;
    hdfs.create_whole(&path, b"outflow\n".to_vec())
        .await
        .map_err(Failure::into_error)?;
    hdfs.delete(&path, false).await.map_err(Failure::into_error)
}
