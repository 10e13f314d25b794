//! A sink in a few figures, and its state in a word.

use serde::Serialize;

use super::headline::Level;
use super::history::{Rates, brief};
use crate::journal::changes::is_stale;
use crate::journal::words::server;
use crate::status::{
    CircuitState, PartitionState, PartitionStatus, SinkStatus, Verdict, WorkerStatus,
};

/// A sink, as its card shows it.
#[derive(Debug, Serialize)]
pub(super) struct SinkSummary {
    pub name: String,
    pub kind: &'static str,
    pub group: Option<String>,
    /// The watched cluster that has the group.
    pub cluster: Option<String>,
    pub level: Level,
    /// The state in a word or two.
    pub word: String,
    /// Why, where that isn't plain.
    pub why: Option<String>,
    /// Whether it is paused by request.
    pub paused: bool,
    /// Since when (Unix milliseconds).
    pub since_ms: Option<i64>,
    /// Records that are left to read.
    pub lag: Option<i64>,
    /// How its lag is judged.
    pub verdict: Option<Verdict>,
    /// Records a second: acknowledged by Elasticsearch; put into HDFS' open files, or acknowledged while it is away.
    pub throughput_per_s: Option<f64>,
    pub rates: Option<Rates>,
    pub acked_records: u64,
    pub dead_letters: u64,
    pub circuit: CircuitState,
    pub last_error: Option<String>,
    pub last_error_ms: Option<i64>,
    pub in_flight: u64,
    pub details: Vec<(String, String)>,
    pub num_partitions: usize,
    pub num_quarantined: usize,
    pub rebalances: u64,
    pub last_commit_ms: Option<i64>,
    pub workers: Vec<WorkerSummary>,
}

/// What looks before this one tell of a sink.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// It reads what came while it was away.
    pub is_catching_up: bool,
    /// The verdict on its lag may be believed.
    pub is_sure: bool,
}

/// A worker without its partitions.
#[derive(Debug, Serialize)]
pub(super) struct WorkerSummary {
    worker: usize,
    state: String,
    reason: Option<String>,
    kafka_error: Option<String>,
    num_partitions: usize,
}

impl SinkSummary {
    pub fn of(status: &SinkStatus, known: Known, rates: Option<Rates>) -> Self {
        let (level, word, why) = standing(status, known);
        let is_away = status.health.circuit != CircuitState::Closed;
        let throughput = |rates: Rates| match status.kind {
            // Files are committed in bursts.
            "hdfs" if !is_away => rates.read_per_s,
            _ => rates.acked_per_s,
        };
        let workers = || status.workers.iter();
        let partitions = || workers().flat_map(|w| &w.partitions);
        let is_stuck = |state: PartitionState| state == PartitionState::Quarantined;
        SinkSummary {
            name: status.name.clone(),
            kind: status.kind,
            group: status.group.clone(),
            cluster: None,
            level,
            word,
            why,
            paused: status.paused,
            since_ms: None,
            lag: status.lag,
            verdict: status
                .verdict
                .as_ref()
                .filter(|_| !is_stale(status))
                .map(brief),
            throughput_per_s: rates.map(throughput),
            rates,
            acked_records: status.totals.acked_records,
            dead_letters: status.totals.dead_letters,
            circuit: status.health.circuit,
            last_error: status.health.last_error.clone(),
            last_error_ms: status.health.last_error_ms,
            in_flight: status.health.in_flight,
            details: status.health.details.clone(),
            num_partitions: partitions().count(),
            num_quarantined: partitions().filter(|p| is_stuck(p.state)).count(),
            rebalances: workers().map(|w| w.rebalances).sum(),
            last_commit_ms: workers().filter_map(|w| w.last_commit_ms).max(),
            workers: workers().map(worker).collect(),
        }
    }
}

fn worker(status: &WorkerStatus) -> WorkerSummary {
    WorkerSummary {
        worker: status.worker,
        state: status.state.clone(),
        reason: status.reason.clone(),
        kafka_error: status.kafka_error.clone(),
        num_partitions: status.partitions.len(),
    }
}

/// How a sink stands: how bad that is, in a word, and why.
fn standing(status: &SinkStatus, known: Known) -> (Level, String, Option<String>) {
    let (server, health) = (server(status.kind), &status.health);
    let is_away = health.circuit != CircuitState::Closed;
    let needs_kafka = || status.workers.iter().any(|w| w.kafka_needs_a_person);
    let has_no_kafka = || status.workers.iter().any(|w| w.kafka_error.is_some());
    let why = status.reason.clone();
    let (level, word) = match status.state.as_str() {
        "stuck" => return (Level::Bad, "Needs you".to_owned(), stuck(status)),
        "waiting" if is_away && health.needs_a_person => (Level::Bad, "Needs you".to_owned()),
        "waiting" if is_away => (Level::Waiting, format!("Waiting for {server}")),
        "waiting" if needs_kafka() => (Level::Bad, "Needs you".to_owned()),
        "waiting" if has_no_kafka() => (Level::Waiting, "Waiting for Kafka".to_owned()),
        "waiting" if needs_a_person(status) => (Level::Bad, "Needs you".to_owned()),
        "waiting" if partitions(status).all(|p| p.waits_for_kafka) => {
            (Level::Waiting, "Waiting for Kafka".to_owned())
        }
        "waiting" => (Level::Waiting, format!("Waiting for {server}")),
        "fenced" => (Level::Bad, "Stays out".to_owned()),
        "restarting" => (Level::Waiting, "Restarting".to_owned()),
        "starting" => (Level::Quiet, "Starting".to_owned()),
        "stopped" => (Level::Quiet, "Stopped".to_owned()),
        "paused" => (Level::Quiet, "Paused".to_owned()),
        _ => return running(status, known),
    };
    (level, word, why)
}

fn running(status: &SinkStatus, known: Known) -> (Level, String, Option<String>) {
    let verdict = status.verdict.as_ref().filter(|_| known.is_sure);
    let (level, word) = match verdict.map_or("OK", |verdict| verdict.status) {
        _ if known.is_catching_up => {
            let why = format!("{} is back; what has waited is read", server(status.kind));
            return (Level::Busy, "Catching up".to_owned(), Some(why));
        }
        _ if needs_a_person(status) => {
            return (Level::Bad, "Needs you".to_owned(), status.reason.clone());
        }
        _ if partitions(status).any(PartitionStatus::is_held_up) => {
            let why = status.reason.clone();
            return (Level::Waiting, "Partly waiting".to_owned(), why);
        }
        "WARN" => (Level::Waiting, "Falling behind"),
        "OK" => return (Level::Good, "Working".to_owned(), status.reason.clone()),
        _ => (Level::Bad, "Not getting on"),
    };
    let why = verdict.map(|verdict| verdict.reason.clone());
    (level, word.to_owned(), why)
}

fn partitions(status: &SinkStatus) -> impl Iterator<Item = &PartitionStatus> {
    status.workers.iter().flat_map(|worker| &worker.partitions)
}

fn needs_a_person(status: &SinkStatus) -> bool {
    partitions(status).any(|partition| partition.needs_a_person)
}

/// Which partition is quarantined, and why.
fn stuck(status: &SinkStatus) -> Option<String> {
    let mut stuck = partitions(status).filter(|p| p.state == PartitionState::Quarantined);
    let first = stuck.next()?;
    let reason = first.reason.as_deref().unwrap_or("no reason is known");
    let more = match stuck.count() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let (topic, partition) = (&first.topic, first.partition);
    Some(format!(
        "{topic}[{partition}]{more} is quarantined: {reason}"
    ))
}
