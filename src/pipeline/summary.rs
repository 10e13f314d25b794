//! A sink in one word, for observers. Pure.

use crate::status::{CircuitState, PartitionState, PartitionStatus, SinkHealth, WorkerStatus};

/// One word for a sink, and why: the worst that a person must know first.
pub(super) fn sum_up(health: &SinkHealth, workers: &[WorkerStatus]) -> (String, Option<String>) {
    let partitions = || workers.iter().flat_map(|worker| &worker.partitions);
    let stuck = partitions().find(|partition| partition.state == PartitionState::Quarantined);
    let in_state = |state: &str| workers.iter().find(|worker| worker.state == state);
    let (state, reason) = if let Some(partition) = stuck {
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
    };
    (state.to_owned(), reason)
}

/// How many partitions wait for their index, and the trouble of one of them (one that needs a person, if there is
/// one); and whether all do.
fn held_up<'a>(partitions: impl Iterator<Item = &'a PartitionStatus>) -> Option<(String, bool)> {
    let (mut held_up, mut num, mut all) = (None::<&PartitionStatus>, 0, 0);
    for partition in partitions {
        all += 1;
        if partition.state == PartitionState::Waiting && partition.reason.is_some() {
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
            next: None,
            acked: None,
            committed: None,
            num_commits: 0,
            log_end: None,
            lag: None,
            acked_timestamp_ms: None,
            commit_mismatch: None,
            verdict: None,
        }
    }

    fn summed_up(partitions: Vec<PartitionStatus>) -> (String, String) {
        let worker = WorkerStatus {
            state: "running".into(),
            partitions,
            ..WorkerStatus::default()
        };
        let (state, why) = sum_up(&SinkHealth::default(), &[worker]);
        (state, why.unwrap_or_default())
    }

    #[test]
    fn a_sink_whose_indices_are_blocked_does_not_merely_run() {
        let red = || partition(PartitionState::Waiting, Some(("index 'a': red", false)));
        let blocked = || partition(PartitionState::Waiting, Some(("index 'b': blocked", true)));
        let fine = || partition(PartitionState::Running, None);
        let turn = || partition(PartitionState::Waiting, None);
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
}
