//! What is said, look by look.

use super::*;
use crate::status::{PartitionStatus, SinkHealth, WorkerStatus};

fn sink(lag: i64) -> SinkStatus {
    SinkStatus {
        paused: false,
        name: "es".into(),
        kind: "elasticsearch",
        group: Some("outflow-es".into()),
        state: "running".into(),
        reason: None,
        health: SinkHealth::default(),
        workers: Vec::new(),
        lag: Some(lag),
        verdict: None,
        totals: Default::default(),
    }
}

fn away(lag: i64, since_ms: i64, needs_a_person: bool) -> SinkStatus {
    let health = SinkHealth {
        circuit: CircuitState::Open,
        since_ms,
        reason: Some("connection refused".into()),
        needs_a_person,
        ..SinkHealth::default()
    };
    SinkStatus {
        state: "waiting".into(),
        health,
        ..sink(lag)
    }
}

fn cluster(groups: Vec<GroupLook>) -> ClusterLook {
    ClusterLook {
        name: "local".into(),
        is_ready: true,
        groups,
        ..ClusterLook::default()
    }
}

fn group(name: &str, status: &'static str, bad: &[i32]) -> GroupLook {
    let bad = bad.iter().map(|n| ("events".to_owned(), *n, "STOP"));
    GroupLook {
        name: name.into(),
        status,
        reason: "events[0]: nothing was committed for 31 s".into(),
        bad: bad.collect(),
    }
}

/// Looks of one sink and its cluster's groups, a second apart; what each had to say.
fn told(looks: &[(SinkStatus, Vec<GroupLook>)]) -> Vec<Vec<String>> {
    let mut memory = Memory::default();
    let looks = looks.iter().zip(1..);
    let mut told = Vec::new();
    for ((sink, groups), second) in looks {
        let clusters = [cluster(groups.clone())];
        let said = memory.look(std::slice::from_ref(sink), &clusters, second * 1_000);
        let texts = said
            .into_iter()
            .map(|s| format!("{:?} {}", s.level, s.text));
        told.push(texts.filter(|t| !t.contains("judged from now")).collect());
    }
    told
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn an_outage_is_told_from_its_beginning_until_all_that_waited_is_read() {
    let looks = [
        sink(40),
        sink(200),
        away(300, 2_500, false),
        away(5_233, 2_500, false),
        sink(5_233),
        sink(900),
        sink(180),
        sink(10),
    ];
    let told = told(&looks.map(|sink| (sink, Vec::new())));
    let expected = [
        vec!["Info es runs"],
        vec![],
        vec![
            "Warn Elasticsearch is away: connection refused. Records wait in Kafka; it goes on by itself",
        ],
        vec![],
        vec!["Good Elasticsearch is back after 2 s; 5,233 records have waited"],
        vec![],
        vec!["Good caught up again, 2 s after Elasticsearch came back"],
        vec![],
    ];
    assert_eq!(told, expected);
}

#[test]
fn an_outage_that_comes_to_need_a_person_is_told_again() {
    let looks = [sink(0), away(5, 1_900, false), away(5, 1_900, true)];
    let told = told(&looks.map(|sink| (sink, Vec::new())));
    let text = "Bad Elasticsearch takes nothing, and that needs you: connection refused. Records wait in Kafka";
    assert_eq!(told[2], [text]);
}

#[test]
fn a_sink_that_is_away_again_before_it_caught_up_isnt_said_to_have_caught_up() {
    let looks = [
        sink(0),
        away(500, 0, false),
        sink(500),
        away(800, 0, false),
        sink(900),
    ];
    let told = told(&looks.map(|sink| (sink, Vec::new())));
    assert!(
        told.concat().iter().all(|t| !t.contains("caught up")),
        "{told:?}"
    );
}

#[test]
fn what_an_outage_does_to_the_groups_lag_isnt_told_besides() {
    let of = |status| vec![group("outflow-es", status, &[])];
    let looks = [
        (sink(0), of("OK")),
        (away(500, 1_500, false), of("OK")),
        (away(900, 1_500, false), of("ERR")),
        (sink(900), of("ERR")),
        (sink(0), of("ERR")),
        (sink(0), of("OK")),
    ];
    let told = told(&looks);
    assert_eq!(told[2], none());
    assert_eq!(told[3].len(), 1, "that it is back: {told:?}");
    // It has caught up, but the window still holds the outage.
    assert_eq!(told[4].len(), 1, "{told:?}");
    assert_eq!(told[5], none());
}

#[test]
fn a_groups_verdict_is_told_when_it_changes_with_its_worst_partition_and_how_long_it_lasted() {
    let of = |status, bad: &[i32]| (sink(0), vec![group("payments", status, bad)]);
    let looks = [
        of("OK", &[]),
        of("ERR", &[0]),
        of("ERR", &[0]),
        of("ERR", &[0, 1, 2, 3, 4]),
        of("OK", &[]),
    ];
    let told = told(&looks);
    assert_eq!(
        told[1],
        ["Bad group payments: OK → ERR; events[0]: nothing was committed for 31 s"]
    );
    assert_eq!(told[2], none());
    assert_eq!(
        told[3],
        ["Bad group payments: now events[1], events[2], events[3] and 1 more is STOP"]
    );
    assert_eq!(
        told[4],
        ["Good group payments is OK again; it was ERR for 3 s"]
    );
}

#[test]
fn a_group_that_is_well_from_the_start_is_no_news_and_one_that_isnt_is() {
    let looks = [(
        sink(0),
        vec![group("a", "OK", &[]), group("b", "WARN", &[])],
    )];
    let told = told(&looks).concat();
    assert_eq!(told.len(), 2, "the sink, and b: {told:?}");
    assert!(told[1].starts_with("Warn group b is WARN"), "{told:?}");
}

#[test]
fn a_partition_that_is_released_is_told_and_one_that_went_elsewhere_isnt() {
    let with = |states: &[(i32, PartitionState)]| {
        let partition = |(number, state): &(i32, PartitionState)| PartitionStatus {
            topic: "events".into(),
            partition: *number,
            epoch: 1,
            state: *state,
            ..PartitionStatus::default()
        };
        let worker = WorkerStatus {
            partitions: states.iter().map(partition).collect(),
            ..WorkerStatus::default()
        };
        SinkStatus {
            workers: vec![worker],
            ..sink(0)
        }
    };
    let stuck = PartitionState::Quarantined;
    let looks = [
        with(&[(0, stuck), (1, stuck)]),
        with(&[(0, PartitionState::Running)]),
    ];
    let told = told(&looks.map(|sink| (sink, Vec::new())));
    assert_eq!(told[1], ["Good events[0] isn't quarantined any more"]);
}

#[test]
fn a_clusters_trouble_is_told_once_and_its_end() {
    let mut memory = Memory::default();
    let mut look = |trouble: Option<&str>| {
        let cluster = ClusterLook {
            trouble: trouble.map(str::to_owned),
            ..cluster(Vec::new())
        };
        let said = memory.look(&[], &[cluster], 0);
        said.into_iter().map(|s| s.text).collect::<Vec<_>>()
    };
    assert_eq!(
        look(None),
        ["groups of cluster local are judged from now on (0)"]
    );
    assert_eq!(
        look(Some("no broker answers")),
        ["cluster local: no broker answers"]
    );
    assert_eq!(look(Some("no broker answers")), none());
    assert_eq!(look(None), ["cluster local: Kafka is well again"]);
}

#[test]
fn the_verdict_on_a_sinks_own_group_is_told_once_it_has_stood_for_half_a_minute() {
    let of = |status| (sink(500), vec![group("outflow-es", status, &[])]);
    let mut looks = vec![of("ERR"); 9];
    looks.push(of("OK"));
    looks.extend(vec![of("ERR"); 31]);
    looks.push(of("OK"));
    let told = told(&looks);
    let verdicts: Vec<_> = told
        .concat()
        .into_iter()
        .filter(|t| t.contains("group"))
        .collect();
    assert_eq!(
        verdicts,
        [
            "Bad group outflow-es: OK → ERR; events[0]: nothing was committed for 31 s",
            "Good group outflow-es is OK again; it was ERR for 31 s"
        ]
    );
}

#[test]
fn a_verdict_of_a_lag_that_is_long_gone_isnt_believed() {
    let with = |lag, judged| {
        let verdict = Verdict {
            status: "WARN",
            reason: String::new(),
            lag: judged,
            time_lag_ms: None,
            time_lag_is_more: false,
            consumed_per_s: None,
            produced_per_s: None,
            catch_up: "never",
            catch_up_s: None,
        };
        SinkStatus {
            verdict: Some(verdict),
            ..sink(lag)
        }
    };
    assert!(
        !is_sure(&with(8, 21_000), 0, 60_000),
        "it has been read since"
    );
    assert!(is_sure(&with(20_000, 21_000), 0, 60_000));
    assert!(!is_sure(&with(20_000, 21_000), 31_000, 60_000), "too short");
}
