use serde_json::json;

use super::*;

/// A process with two sinks, one of them without a group, and a group that is nobody's here.
fn answers() -> Answers {
    let sinks = json!([
        {
            "name": "es", "kind": "elasticsearch", "group": "outflow-es", "state": "paused", "paused": true,
            "reason": "paused by request", "lag": 7,
            "verdict": {"status": "ERR", "reason": "t[1]: it stands still; the sink is paused by request", "lag": 7},
            "workers": [{"partitions": [
                {"topic": "t", "partition": 0, "state": "running", "committed": 4, "log_end": 4, "lag": 0},
                {"topic": "t", "partition": 1, "state": "waiting", "reason": "the sink is paused by request",
                 "committed": 3, "log_end": 10, "lag": 7},
            ]}],
        },
        {
            "name": "fixed", "kind": "hdfs", "group": null, "state": "running", "reason": null, "lag": 2,
            "workers": [{"partitions": [
                {"topic": "u", "partition": 0, "state": "running", "lag": 2, "committed": 1, "log_end": 3},
            ]}],
        },
    ]);
    let groups = json!({
        "clusters": [{"cluster": "local", "is_ready": true, "trouble": null}],
        "groups": [
            {"cluster": "local", "group": "other", "num_partitions": 1, "complete": 1.0, "status": "OK",
             "reason": "caught up", "lag": 0, "catch_up": "done"},
            {"cluster": "local", "group": "outflow-es", "num_partitions": 2, "complete": 0.5, "status": "ERR",
             "reason": "t[1]: it stands still", "lag": 7},
        ],
        "groups_left_out": 3,
    });
    let detail = json!({
        "partitions": [
            {"topic": "t", "partition": 0, "status": "OK", "reason": "caught up", "lag": 0, "committed": 4,
             "log_end": 4, "time_lag_ms": 0, "consumed_per_s": 1.5, "catch_up": "done", "owner": "/10.0.0.1"},
            {"topic": "t", "partition": 1, "status": "STALL", "reason": "it stands still", "lag": 7, "committed": 3,
             "log_end": 10, "time_lag_ms": 9_000, "consumed_per_s": 2.0, "catch_up": "never"},
        ],
    });
    let key = ("local".to_owned(), "outflow-es".to_owned());
    Answers {
        sinks: serde_json::from_value(sinks).unwrap(),
        groups: serde_json::from_value(groups).unwrap(),
        details: [(key, serde_json::from_value(detail).unwrap())].into(),
    }
}

fn names(picture: &Picture) -> Vec<&str> {
    picture.groups.iter().map(Row::name).collect()
}

#[test]
fn the_worst_comes_first_and_sinks_are_told_with_their_groups() {
    let picture = Picture::of(answers(), &Wanted::default());
    assert_eq!(names(&picture), ["outflow-es", "fixed", "other"]);
    assert_eq!(
        (picture.level(), picture.groups_left_out),
        (Some(Level::Err), 3)
    );
    let es = &picture.groups[0];
    assert_eq!(
        es.sink.as_ref().map(|sink| (&*sink.state, sink.paused)),
        Some(("paused", true))
    );
    assert_eq!(
        es.why(),
        "paused by request; t[1]: it stands still; the sink is paused by request"
    );
    assert_eq!(es.partitions, [], "nobody asked for them");
    let fixed = &picture.groups[1];
    assert_eq!(
        (fixed.level(), fixed.figures.lag),
        (Level::Unknown, Some(2))
    );
}

#[test]
fn partitions_know_the_verdict_and_what_the_sink_says() {
    let wanted = Wanted {
        groups: vec!["outflow-es".to_owned()],
        partitions: Partitions::All,
        ..Wanted::default()
    };
    let picture = Picture::of(answers(), &wanted);
    assert_eq!(names(&picture), ["outflow-es"]);
    let parts = &picture.groups[0].partitions;
    assert_eq!(
        parts.iter().map(|p| p.partition).collect::<Vec<_>>(),
        [1, 0]
    );
    assert_eq!(parts[0].state.as_deref(), Some("waiting"));
    assert_eq!(
        parts[0].figures.reason,
        "the sink is paused by request; it stands still"
    );
    assert_eq!(parts[1].owner.as_deref(), Some("/10.0.0.1"));
}

#[test]
fn a_topic_narrows_rows_to_its_partitions() {
    let mut answers = answers();
    for detail in answers.details.values_mut() {
        detail.partitions[1].topic = "t2".to_owned();
    }
    let only = |topic: &str| {
        let wanted = Wanted {
            topics: vec![topic.to_owned()],
            ..Wanted::default()
        };
        Picture::of(answers.clone(), &wanted)
    };
    let t = only("t");
    assert_eq!(names(&t), ["outflow-es"]);
    assert_eq!(t.groups[0].figures.status.as_deref(), Some("OK"));
    assert_eq!(t.groups[0].figures.lag, Some(0));
    let t2 = only("t2");
    assert_eq!(t2.groups[0].figures.status.as_deref(), Some("ERR"));
    assert_eq!(t2.groups[0].figures.reason, "t2[1]: it stands still");
    assert_eq!(
        (&*t2.groups[0].figures.catch_up, t2.groups[0].num_partitions),
        ("never", 1)
    );
    assert_eq!(names(&only("u")), ["fixed"]);
    assert_eq!(names(&only("nowhere")), Vec::<&str>::new());
}

#[test]
fn names_pick_rows() {
    let pick = |groups: &[&str], sinks: &[&str]| {
        let own = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        let wanted = Wanted {
            groups: own(groups),
            sinks: own(sinks),
            ..Wanted::default()
        };
        names(&Picture::of(answers(), &wanted)).join(" ")
    };
    assert_eq!(pick(&["other"], &[]), "other");
    assert_eq!(pick(&[], &["fixed"]), "fixed");
    assert_eq!(pick(&[], &["es"]), "outflow-es");
    assert_eq!(pick(&["other"], &["es"]), "");
}

#[test]
fn an_answer_of_another_version_is_read_as_far_as_it_goes() {
    let sink: Sink = serde_json::from_value(json!({"name": "es", "colour": "red"})).unwrap();
    let picture = Picture::of(
        Answers {
            sinks: vec![sink],
            ..Answers::default()
        },
        &Wanted::default(),
    );
    assert_eq!(picture.groups[0].level(), Level::Unknown);
    assert_eq!(picture.groups[0].name(), "es");
}
