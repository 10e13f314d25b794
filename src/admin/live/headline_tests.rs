//! The first line, case by case.

use super::*;
use crate::admin::live::history::Rates;
use crate::admin::live::summary::{Known, SinkSummary};
use crate::status::{CircuitState, PartitionState, PartitionStatus, SinkHealth, SinkStatus};
use crate::status::{Verdict, WorkerStatus};

const SURE: Known = Known {
    is_catching_up: false,
    is_sure: true,
};
const CATCHING_UP: Known = Known {
    is_catching_up: true,
    is_sure: false,
};

fn sink(name: &str) -> SinkStatus {
    SinkStatus {
        name: name.into(),
        paused: false,
        kind: "elasticsearch",
        group: Some(format!("outflow-{name}")),
        state: "running".into(),
        reason: None,
        health: SinkHealth::default(),
        workers: Vec::new(),
        lag: Some(5),
        totals: Default::default(),
        verdict: None,
    }
}

fn away(name: &str, needs_a_person: bool) -> SinkStatus {
    let health = SinkHealth {
        circuit: CircuitState::HalfOpen,
        reason: Some("connection refused".into()),
        needs_a_person,
        ..SinkHealth::default()
    };
    SinkStatus {
        state: "waiting".into(),
        reason: health.reason.clone(),
        health,
        ..sink(name)
    }
}

fn in_state(name: &str, state: &str) -> SinkStatus {
    SinkStatus {
        state: state.into(),
        ..sink(name)
    }
}

fn judged(name: &str, status: &'static str) -> SinkStatus {
    let verdict = Verdict {
        status,
        reason: "events[3]: the lag grew from 1 to 9".into(),
        lag: 9,
        time_lag_ms: None,
        time_lag_is_more: false,
        consumed_per_s: None,
        produced_per_s: None,
        catch_up: "never",
        catch_up_s: None,
    };
    SinkStatus {
        verdict: Some(verdict),
        ..sink(name)
    }
}

fn stuck(name: &str) -> SinkStatus {
    let partition = |number| PartitionStatus {
        topic: "events".into(),
        partition: number,
        epoch: 1,
        state: PartitionState::Quarantined,
        reason: Some("a strange file".into()),
        ..PartitionStatus::default()
    };
    let worker = WorkerStatus {
        partitions: vec![partition(3), partition(5)],
        ..WorkerStatus::default()
    };
    SinkStatus {
        workers: vec![worker],
        ..in_state(name, "stuck")
    }
}

fn told(sinks: &[SinkStatus]) -> (Level, String) {
    let sinks: Vec<_> = sinks
        .iter()
        .map(|s| SinkSummary::of(s, SURE, None))
        .collect();
    let head = Headline::of(&sinks, &[], &[]);
    let more = head.more.map(|more| format!(" {more}"));
    (head.level, head.text + &more.unwrap_or_default())
}

#[test]
fn what_is_well_is_said_by_name() {
    let cases = [
        (vec![sink("es")], "All is well: es keeps up."),
        (
            vec![sink("es"), sink("hdfs")],
            "All is well: es and hdfs keep up.",
        ),
        (
            ["a", "b", "c", "d", "e"].map(sink).to_vec(),
            "All is well: 5 sinks keep up.",
        ),
    ];
    for (sinks, text) in cases {
        assert_eq!(told(&sinks), (Level::Good, text.to_owned()));
    }
}

#[test]
fn an_outage_is_waited_out_and_says_that_nothing_is_lost() {
    let safe = "Nothing is lost: records wait in Kafka, and work goes on by itself.";
    assert_eq!(
        told(&[away("es", false), sink("hdfs")]),
        (
            Level::Waiting,
            format!("es waits for Elasticsearch. {safe} The other sink is well.")
        )
    );
    assert_eq!(
        told(&[away("a", false), away("b", false)]).1,
        format!("a and b wait for Elasticsearch. {safe}")
    );
}

#[test]
fn what_needs_a_person_comes_before_all_else() {
    let sinks = [away("a", false), stuck("b"), sink("c"), sink("d")];
    assert_eq!(
        told(&sinks),
        (
            Level::Bad,
            "b needs you: events[3], and 1 more is quarantined: a strange file. 2 other sinks are well."
                .to_owned()
        )
    );
    let text = "a needs you: connection refused.";
    assert_eq!(told(&[away("a", true)]), (Level::Bad, text.to_owned()));
}

#[test]
fn a_sink_that_works_and_falls_behind_isnt_well() {
    let reason = "events[3]: the lag grew from 1 to 9.";
    assert_eq!(
        told(&[judged("es", "WARN")]),
        (Level::Waiting, format!("es is falling behind: {reason}"))
    );
    assert_eq!(
        told(&[judged("es", "ERR")]),
        (Level::Bad, format!("es needs you: {reason}"))
    );
}

#[test]
fn a_verdict_that_isnt_sure_alarms_nobody() {
    let summary = SinkSummary::of(&judged("es", "ERR"), Known::default(), None);
    let head = Headline::of(&[summary], &[], &[]);
    assert_eq!(head.text, "All is well: es keeps up.");
}

#[test]
fn while_elasticsearch_is_away_there_is_no_throughput_though_records_are_still_taken() {
    let rates = Some(Rates {
        read_per_s: 204.0,
        acked_per_s: 0.0,
    });
    let of = |status: &SinkStatus| SinkSummary::of(status, SURE, rates).throughput_per_s;
    assert_eq!(of(&away("es", false)), Some(0.0));
    let hdfs = |status: SinkStatus| SinkStatus {
        kind: "hdfs",
        ..status
    };
    assert_eq!(of(&hdfs(sink("hdfs"))), Some(204.0), "files come in bursts");
    assert_eq!(of(&hdfs(away("hdfs", false))), Some(0.0));
}

#[test]
fn what_is_meant_isnt_alarming() {
    assert_eq!(
        told(&[in_state("es", "paused"), sink("hdfs")]).0,
        Level::Quiet
    );
    let text = "es is paused. The other sink is well.";
    assert_eq!(told(&[in_state("es", "paused"), sink("hdfs")]).1, text);
    assert_eq!(told(&[in_state("es", "starting")]).1, "es is starting.");
}

#[test]
fn after_an_outage_it_catches_up() {
    let summary = SinkSummary::of(&sink("es"), CATCHING_UP, None);
    let head = Headline::of(&[summary], &[], &[]);
    assert_eq!(
        (head.level, head.text.as_str()),
        (Level::Busy, "es is catching up after an outage.")
    );
}

#[test]
fn a_monitor_speaks_of_groups() {
    let cluster = |is_ready, trouble: Option<&str>| ClusterLook {
        name: "local".into(),
        is_ready,
        trouble: trouble.map(str::to_owned),
        ..ClusterLook::default()
    };
    let told = |cluster: ClusterLook| Headline::of(&[], &[cluster], &[]).text;
    assert_eq!(
        told(cluster(true, None)),
        "No group has committed anything yet."
    );
    assert_eq!(
        told(cluster(false, None)),
        "What groups have committed is being read."
    );
    let text = "Cluster local can't be watched.";
    assert_eq!(told(cluster(true, Some("no broker answers"))), text);
}

#[test]
fn partitions_that_wait_for_their_index_are_no_falling_behind() {
    let mut sink = stuck("es");
    sink.state = "running".into();
    sink.reason = Some("2 of 9 partitions wait: the index is read only".into());
    for partition in &mut sink.workers[0].partitions {
        partition.state = PartitionState::Waiting;
    }
    let text = "es is partly waiting: 2 of 9 partitions wait: the index is read only.";
    assert_eq!(told(&[sink.clone()]), (Level::Waiting, text.to_owned()));
    sink.workers[0].partitions[1].needs_a_person = true;
    let text = "es needs you: 2 of 9 partitions wait: the index is read only.";
    assert_eq!(told(&[sink]), (Level::Bad, text.to_owned()));
}

#[test]
fn partitions_that_nothing_comes_of_wait_for_kafka_and_not_for_the_sinks_server() {
    let mut sink = stuck("es");
    sink.state = "waiting".into();
    sink.reason = Some("2 of 2 partitions wait: events[3]: nothing has come".into());
    for partition in &mut sink.workers[0].partitions {
        partition.state = PartitionState::Waiting;
        partition.waits_for_kafka = true;
    }
    let word = SinkSummary::of(&sink, SURE, None).word;
    assert_eq!(word, "Waiting for Kafka");
    sink.workers[0].partitions[0].waits_for_kafka = false;
    let word = SinkSummary::of(&sink, SURE, None).word;
    assert_eq!(word, "Waiting for Elasticsearch", "not all do");
}
