//! A sink in one word, for observers. Pure.

use jiff::Timestamp;

use crate::pipeline::control::PAUSED;
use crate::status::{CircuitState, PartitionState, PartitionStatus, SinkHealth, WorkerStatus};

/// One word for a sink, and why: the worst that a person must know first. A pause by request is said instead of what it
/// explains or makes unimportant (running, waiting an outage out), and after what a person must see to.
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
    let partitions = || workers.iter().flat_map(|worker| &worker.partitions);
    let stuck = partitions().find(|partition| partition.state == PartitionState::Quarantined);
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
    } else if let Some((held_up, all)) = held_up(partitions()) {
        (if all { "waiting" } else { "running" }, Some(held_up))
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

/// How many partitions wait for their index or for Kafka, and the trouble of one of them (one that needs a person, if there is
/// one); and whether all do.
fn held_up<'a>(partitions: impl Iterator<Item = &'a PartitionStatus>) -> Option<(String, bool)> {
    let (mut held_up, mut num, mut all) = (None::<&PartitionStatus>, 0, 0);
    for partition in partitions {
        all += 1;
        let is_paused = partition.reason.as_deref() == Some(PAUSED);
        if partition.is_held_up() && !is_paused {
            num += 1;
            let worst = held_up.get_or_insert(partition);
            if partition.needs_a_person && !worst.needs_a_person {
                *worst = partition;
            }
        }
    }
    let why = held_up?.reason.as_deref().unwrap_or_default();
    let verb = if num == 1 { "waits" } else { "wait" };
    Some((
        format!("{num} of {all} partitions {verb}: {why}"),
        num == all,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(state: PartitionState, trouble: Option<(&str, bool)>) -> PartitionStatus {
        PartitionStatus {
            topic: "events".into(),
            partition: 0,
            epoch: 1,
            state,
            reason: trouble.map(|(why, _)| why.into()),
            needs_a_person: trouble.is_some_and(|(_, person)| person),
            ..PartitionStatus::default()
        }
    }

    fn summed_up(partitions: Vec<PartitionStatus>) -> (String, String) {
        let worker = WorkerStatus {
            state: "running".into(),
            partitions,
            ..WorkerStatus::default()
        };
        let (state, why) = sum_up("es", None, &SinkHealth::default(), &[worker]);
        (state, why.unwrap_or_default())
    }

    #[test]
    fn a_sink_whose_indices_are_blocked_does_not_merely_run() {
        let red = || partition(PartitionState::Waiting, Some(("index 'a': red", false)));
        let blocked = || partition(PartitionState::Waiting, Some(("index 'b': blocked", true)));
        let fine = || partition(PartitionState::Running, None);
        let turn = || PartitionStatus {
            waits_for_turn: true,
            ..partition(PartitionState::Waiting, Some(("waits for its turn", false)))
        };
        let said = |state: &str, why: &str| (state.to_owned(), why.to_owned());

        assert_eq!(
            summed_up(vec![red(), blocked()]),
            said("waiting", "2 of 2 partitions wait: index 'b': blocked")
        );
        assert_eq!(
            summed_up(vec![fine(), red(), turn()]),
            said("running", "1 of 3 partitions waits: index 'a': red")
        );
        assert_eq!(summed_up(vec![fine(), turn()]), said("running", ""));
        let stuck = partition(PartitionState::Quarantined, Some(("a strange file", true)));
        assert_eq!(
            summed_up(vec![blocked(), stuck]),
            said("stuck", "a strange file")
        );
    }

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
    fn partitions_that_wait_for_the_pause_wait_for_nothing_else() {
        let waits = partition(PartitionState::Waiting, Some((PAUSED, false)));
        let red = partition(PartitionState::Waiting, Some(("index 'a': red", false)));
        let mut worker = worker("running", None);
        worker.partitions = vec![waits];
        let (state, reason) = said(true, &SinkHealth::default(), worker.clone());
        assert_eq!(state, "paused");
        assert!(!reason.contains("besides"), "{reason}");
        worker.partitions.push(red);
        let (_, reason) = said(true, &SinkHealth::default(), worker);
        assert!(
            reason.ends_with("; besides, running: 1 of 2 partitions waits: index 'a': red"),
            "{reason}"
        );
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
