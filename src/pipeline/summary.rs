//! One word for a sink, and why: the worst that a person must know first. Pure.

use jiff::Timestamp;

use crate::status::{CircuitState, PartitionState, SinkHealth, WorkerStatus};

/// What a sink is doing. A pause is said instead of what it explains or makes unimportant (running, waiting an outage
/// out), and after what a person must see to.
pub(super) fn sum_up(
    sink: &str,
    paused_since_ms: Option<i64>,
    health: &SinkHealth,
    workers: &[WorkerStatus],
) -> (String, Option<String>) {
    let (state, reason) = without_a_pause(health, workers);
    let Some(since_ms) = paused_since_ms else {
        return (state.to_owned(), reason);
    };
    let paused = paused(sink, since_ms);
    match (state, reason) {
        ("stuck" | "fenced" | "restarting", Some(reason)) => (
            state.to_owned(),
            Some(format!("{reason}; besides, {paused}")),
        ),
        ("stuck" | "fenced" | "restarting" | "stopped", _) => (state.to_owned(), Some(paused)),
        (_, Some(reason)) => (
            "paused".to_owned(),
            Some(format!("{paused}; besides, {state}: {reason}")),
        ),
        (_, None) => ("paused".to_owned(), Some(paused)),
    }
}

fn paused(sink: &str, since_ms: i64) -> String {
    let since = Timestamp::from_millisecond(since_ms).unwrap_or_default();
    format!(
        "paused by request since {since:.0}: no records are taken, partitions stay assigned; resume with POST \
         /api/v1/sinks/{sink}/resume (a restart of the process resumes, too)"
    )
}

fn without_a_pause(
    health: &SinkHealth,
    workers: &[WorkerStatus],
) -> (&'static str, Option<String>) {
    let mut partitions = workers.iter().flat_map(|worker| &worker.partitions);
    let stuck = partitions.find(|partition| partition.state == PartitionState::Quarantined);
    let in_state = |state: &str| workers.iter().find(|worker| worker.state == state);
    if let Some(partition) = stuck {
        ("stuck", partition.reason.clone())
    } else if health.circuit != CircuitState::Closed {
        ("waiting", health.reason.clone())
    } else if let Some(worker) = in_state("fenced") {
        ("fenced", worker.reason.clone())
    } else if let Some(worker) = in_state("restarting") {
        ("restarting", worker.reason.clone())
    } else if let Some(worker) = workers.iter().find(|worker| worker.kafka_error.is_some()) {
        ("waiting", worker.kafka_error.clone())
    } else if in_state("running").or(in_state("idle")).is_some() {
        (
            "running",
            workers.iter().find_map(|worker| worker.reason.clone()),
        )
    } else if in_state("starting").is_some() {
        ("starting", None)
    } else {
        ("stopped", None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(state: &str, reason: Option<&str>) -> WorkerStatus {
        WorkerStatus {
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            ..WorkerStatus::default()
        }
    }

    /// At the first moment of 2026, if paused.
    fn said(is_paused: bool, health: &SinkHealth, worker: WorkerStatus) -> (String, String) {
        let since_ms = is_paused.then_some(1_767_225_600_000);
        let (state, reason) = sum_up("es", since_ms, health, &[worker]);
        (state, reason.unwrap_or_default())
    }

    #[test]
    fn a_pause_is_said_with_what_ends_it() {
        let (state, reason) = said(true, &SinkHealth::default(), worker("running", None));
        assert_eq!(state, "paused");
        assert_eq!(
            reason,
            "paused by request since 2026-01-01T00:00:00Z: no records are taken, partitions stay assigned; resume \
             with POST /api/v1/sinks/es/resume (a restart of the process resumes, too)"
        );
        let (state, reason) = said(false, &SinkHealth::default(), worker("running", None));
        assert_eq!((&*state, &*reason), ("running", ""));
    }

    #[test]
    fn what_is_wrong_besides_is_said_with_the_pause() {
        let down = SinkHealth {
            circuit: CircuitState::Open,
            reason: Some("connection refused".to_owned()),
            ..SinkHealth::default()
        };
        let (state, reason) = said(true, &down, worker("running", None));
        assert_eq!(state, "paused");
        assert!(
            reason.ends_with("; besides, waiting: connection refused"),
            "{reason}"
        );
        let fenced = worker("fenced", Some("another has its id"));
        let (state, reason) = said(true, &SinkHealth::default(), fenced);
        assert_eq!(state, "fenced");
        assert!(
            reason.starts_with("another has its id; besides, paused by request since"),
            "{reason}"
        );
    }
}
