//! Liveness and readiness, from snapshots alone.
//!
//! An orchestrator restarts what isn't alive, and waits with what isn't ready. A sink's or Kafka's outage is
//! neither: outflow waits it out, and a restart would only cost a rebalance. Not ready is what a person must
//! mend, so that a roll-out with wrong credentials stops at the first pod. Not alive is a worker whose loop
//! has stopped going round: only a restart helps.

use crate::status::{CircuitState, PartitionState, SinkStatus, WorkerStatus};

/// A loop that hasn't gone round for so long is wedged: nothing in it waits for longer than a second.
const WEDGED_MS: i64 = 120_000;

/// Reasons beyond this many are only counted.
const SHOWN: usize = 10;

/// Why a restart would help; empty while the process is alive.
pub fn not_alive(sinks: &[SinkStatus], now_ms: i64) -> Vec<String> {
    let mut reasons = Vec::new();
    for sink in sinks {
        for worker in sink.workers.iter().filter(|worker| is_going(worker)) {
            let silent_ms = worker.beat_ms.map_or(0, |beat| now_ms - beat);
            if silent_ms > WEDGED_MS {
                let (name, number, seconds) = (&sink.name, worker.worker, silent_ms / 1_000);
                reasons.push(format!(
                    "sink {name}: worker {number} hasn't moved for {seconds} s"
                ));
            }
        }
    }
    bounded(reasons)
}

/// Why a person is needed, or work hasn't begun; empty while ready.
pub fn not_ready(sinks: &[SinkStatus]) -> Vec<String> {
    let mut reasons = Vec::new();
    if sinks.is_empty() {
        reasons.push("no sink has been started yet".to_owned());
    }
    for sink in sinks {
        let name = &sink.name;
        if sink.health.circuit != CircuitState::Closed && sink.health.needs_a_person {
            reasons.push(format!("sink {name}: {}", why(&sink.health.reason)));
        }
        for worker in &sink.workers {
            let number = worker.worker;
            if !is_going(worker) {
                let because = worker
                    .reason
                    .as_ref()
                    .map_or(String::new(), |r| format!(": {r}"));
                reasons.push(format!(
                    "sink {name}: worker {number} is {}{because}",
                    worker.state
                ));
            }
            if worker.kafka_needs_a_person {
                let error = why(&worker.kafka_error);
                reasons.push(format!("sink {name}: worker {number}: {error}"));
            }
            for p in worker.partitions.iter().filter(|p| p.needs_a_person) {
                let (topic, number, reason) = (&p.topic, p.partition, why(&p.reason));
                let doing = match p.state {
                    PartitionState::Quarantined => "is quarantined",
                    _ => "waits",
                };
                reasons.push(format!("sink {name}: {topic}[{number}] {doing}: {reason}"));
            }
        }
    }
    bounded(reasons)
}

fn is_going(worker: &WorkerStatus) -> bool {
    matches!(worker.state.as_str(), "running" | "idle")
}

fn why(reason: &Option<String>) -> &str {
    reason.as_deref().unwrap_or("no reason is known")
}

fn bounded(mut reasons: Vec<String>) -> Vec<String> {
    let more = reasons.len().saturating_sub(SHOWN);
    if more > 0 {
        reasons.truncate(SHOWN);
        reasons.push(format!("and {more} more; /api/v1/status has them all"));
    }
    reasons
}
