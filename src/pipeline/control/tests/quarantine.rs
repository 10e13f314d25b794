//! What can't go on by itself, and the policies that say what then.

use super::script::*;
use crate::config::settings::{OffsetLost, RejectedPolicy};
use crate::pipeline::source::{Broken, Location, SourceEvent};

#[test]
fn skip_drops_counts_and_goes_on() {
    let mut rules = rules();
    rules.rejected = RejectedPolicy::Skip;
    let mut s = Script::running("skip", rules, 0);
    s.take(0, 0, 3);
    s.refuses_at_append(0, 1)
        .does(&["dropped 0 1", "settle s0 e1 1"])
        .acked(0, 1, 0, 3)
        .after_ms(1_000)
        .does(&["commit #1 0=3 le7"]);
}

#[test]
fn a_refused_record_holds_the_committed_offset_until_the_dead_letter_is_acknowledged() {
    let mut s = Script::running("dead letter", rules(), 0);
    s.take(0, 0, 3);
    s.refuses_at_append(0, 1)
        .does(&["letter 0 1"])
        .acked(0, 1, 0, 3)
        .after_ms(1_000)
        .does(&["commit #1 0=1 le7"])
        .committed(1)
        .letter(0, 1, 1, true)
        .does(&["settle s0 e1 1"])
        .after_ms(1_000)
        .does(&["commit #2 0=3 le7"]);
}

#[test]
fn a_dead_letter_that_cannot_be_had_stops_its_partition() {
    let mut s = Script::running("corrupt letter", rules(), 0);
    s.take(0, 0, 3);
    s.refuses_at_append(0, 1)
        .acked(0, 1, 0, 3)
        .letter(0, 1, 1, false)
        .does(&["letter 0 1", "stop 0", "close s0 e1", "quarantined 0"])
        .after_ms(1_000)
        .does(&["commit #1 0=1 le7"]);
}

#[test]
fn a_refused_record_quarantines_and_what_came_before_is_flushed() {
    let mut rules = rules();
    rules.rejected = RejectedPolicy::Quarantine;
    let mut s = Script::running("quarantine", rules, 0);
    s.take(0, 0, 5);
    s.refused(0, 1, 3)
        .does(&["stop 0", "drain s0 e1", "quarantined 0"])
        .acked(0, 1, 0, 5)
        .drained(0, 1)
        .does(&["close s0 e1"])
        .after_ms(1_000)
        .does(&["commit #1 0=3 le7"])
        .committed(1);
    // Nothing of the old epoch wakes it; a person does, and it goes on at the refused record.
    s.rewind(0, 1)
        .fenced(0, 1)
        .after_ms(60_000)
        .does(&["commit #2 0=3 le7"]);
    s.person_releases(0).unwrap();
    s.located(0, 2, at(3, 0, 100)).opened(0, 2, 3).does(&[
        "locate 0 e2",
        "open 0 e2 from 3",
        "start 0 at 3 after le7",
    ]);
    assert!(s.person_releases(0).is_err(), "it runs");
    assert!(s.person_releases(9).is_err(), "it isn't ours");
}

#[test]
fn flushing_before_a_quarantine_is_bounded() {
    let mut rules = rules();
    rules.rejected = RejectedPolicy::Quarantine;
    let mut s = Script::running("bounded", rules, 0);
    s.take(0, 0, 5);
    s.refused(0, 1, 3).after_ms(19_999);
    assert!(s.person_releases(0).is_err(), "still flushing");
    s.does(&["stop 0", "drain s0 e1", "quarantined 0"]);
    s.after_ms(1).does(&["close s0 e1"]);
}

#[test]
fn what_the_sink_finds_wrong_stops_the_partition_at_once() {
    let mut s = Script::running("stopped", rules(), 0);
    s.take(0, 0, 5);
    s.stopped(0, 1)
        .does(&["stop 0", "close s0 e1", "quarantined 0"])
        .rewind(0, 1)
        .fenced(0, 1)
        .pause(0, 1)
        .after_ms(60_000)
        .does_nothing();
}

#[test]
fn an_ack_of_what_was_never_taken_stops_the_partition() {
    let mut s = Script::running("a defect", rules(), 0);
    s.take(0, 0, 5);
    s.acked(0, 1, 0, 6)
        .does(&["stop 0", "close s0 e1", "quarantined 0"])
        .after_ms(1_000)
        .does_nothing();
}

#[test]
fn lost_offsets_stop_the_partition_and_a_person_may_accept_the_loss() {
    let mut s = Script::new("retention", rules());
    s.assigned(&[0])
        .located(0, 1, at(10, 50, 100))
        .opened(0, 1, 10)
        .does(&[
            "locate 0 e1",
            "open 0 e1 from 10",
            "stop 0",
            "close s0 e1",
            "quarantined 0",
        ])
        .after_ms(60_000)
        .does_nothing();
    s.person_releases(0).unwrap();
    s.located(0, 2, at(10, 50, 100)).opened(0, 2, 10).does(&[
        "locate 0 e2",
        "open 0 e2 from 10",
        "skipped 0 [10, 50) retention",
        "start 0 at 50 after le-1",
    ]);
    assert_eq!(s.take(0, 50, 55), 5);
    s.acked(0, 2, 10, 55)
        .after_ms(1_000)
        .does(&["commit #1 0=55 le7"]);
}

#[test]
fn lost_offsets_by_policy_go_on_and_the_range_is_told() {
    for (policy, lost, start) in [
        (
            OffsetLost::Earliest,
            "skipped 0 [10, 50) retention",
            "start 0 at 50 after le-1",
        ),
        (
            OffsetLost::Latest,
            "skipped 0 [10, 100) retention",
            "start 0 at 100 after le-1",
        ),
    ] {
        let mut rules = rules();
        rules.on_offset_lost = policy;
        Script::new("policy", rules)
            .assigned(&[0])
            .located(0, 1, at(10, 50, 100))
            .opened(0, 1, 10)
            .does(&["locate 0 e1", "open 0 e1 from 10", lost, start]);
    }
}

#[test]
fn retention_that_overtakes_a_running_partition_is_judged_by_a_fresh_look() {
    let mut s = Script::running("overtaken", rules(), 10);
    s.take(0, 10, 20);
    s.broken(0, Broken::OffsetOutOfRange("gone".to_owned()))
        .does(&["stop 0", "locate 0 e1"])
        .located(0, 1, at(10, 15, 100)) // it is there all the same
        .does(&["start 0 at 20 after le-1"])
        .broken(0, Broken::OffsetOutOfRange("gone".to_owned()))
        .located(0, 1, at(10, 50, 100))
        .does(&[
            "stop 0",
            "locate 0 e1",
            "stop 0",
            "close s0 e1",
            "quarantined 0",
        ]);
}

/// HDFS's own log ends at its last record, 5; the group's offset has passed a marker, and both are gone.
#[test]
fn markers_that_retention_took_are_not_missed_by_a_sink_that_ends_before_them() {
    let note = r#"{"topic_id":"id-1","partitions":3,"records_end":5}"#;
    let behind_a_marker = |committed, log_start, metadata: &str| {
        let mut location = at(committed, log_start, 6);
        if let Some(committed) = &mut location.committed {
            metadata.clone_into(&mut committed.metadata);
        }
        location
    };
    let mut s = Script::new("a marker is gone", rules());
    s.assigned(&[0])
        .located(0, 1, behind_a_marker(6, 6, note))
        .opened(0, 1, 5)
        .does(&["locate 0 e1", "open 0 e1 from 6", "start 0 at 6 after le7"]);
    let mut s = Script::new("a record is gone", rules());
    s.assigned(&[0])
        .located(0, 1, behind_a_marker(6, 6, ""))
        .opened(0, 1, 5)
        .does(&[
            "locate 0 e1",
            "open 0 e1 from 6",
            "stop 0",
            "close s0 e1",
            "quarantined 0",
        ]);
}

#[test]
fn a_position_beyond_the_logs_end_is_looked_at_twice_before_it_is_believed() {
    let mut s = Script::new("the location was old", rules());
    s.assigned(&[0])
        .located(0, 1, at(40, 0, 100))
        .opened(0, 1, 120)
        .does(&["locate 0 e1", "open 0 e1 from 40", "locate 0 e1"])
        .located(0, 1, at(40, 0, 130))
        .does(&["start 0 at 120 after le-1"]);
    let mut s = Script::new("truncated", rules());
    s.assigned(&[0])
        .located(0, 1, at(120, 0, 100))
        .opened(0, 1, 120)
        .located(0, 1, at(120, 0, 100))
        .does(&[
            "locate 0 e1",
            "open 0 e1 from 120",
            "locate 0 e1",
            "stop 0",
            "close s0 e1",
            "quarantined 0",
        ]);
    // The person accepts it: back to the oldest record, and that position is made durable first.
    s.person_releases(0).unwrap();
    s.located(0, 2, at(120, 0, 100))
        .opened(0, 2, 120)
        .located(0, 2, at(120, 0, 100));
    s.does(&[
        "locate 0 e2",
        "open 0 e2 from 120",
        "locate 0 e2",
        "skipped 0 [100, 120) truncated",
        "close s0 e2",
        "locate 0 e3",
    ]);
    s.located(0, 3, at(120, 0, 100))
        .opened(0, 3, 0)
        .does(&["open 0 e3 from 0", "commit #1 0=0 le-1"])
        .committed(1)
        .does(&["start 0 at 0 after le-1"]);
}

#[test]
fn a_sink_that_cannot_go_back_stays_stopped_after_a_truncation() {
    let mut rules = rules();
    rules.can_go_back = false;
    rules.on_offset_lost = OffsetLost::Earliest;
    let mut s = Script::new("HDFS", rules);
    s.assigned(&[0])
        .located(0, 1, at(120, 0, 100))
        .opened(0, 1, 120);
    s.located(0, 1, at(120, 0, 100)).does(&[
        "locate 0 e1",
        "open 0 e1 from 120",
        "locate 0 e1",
        "stop 0",
        "close s0 e1",
        "quarantined 0",
    ]);
}

#[test]
fn a_truncation_that_the_broker_tells_stops_the_partition() {
    let mut s = Script::running("truncated while running", rules(), 0);
    s.take(0, 0, 5);
    s.broken(0, truncated(3))
        .does(&["stop 0", "close s0 e1", "quarantined 0"]);
    s.person_releases(0).unwrap();
    s.located(0, 2, at(0, 0, 9)).opened(0, 2, 0).does(&[
        "locate 0 e2",
        "open 0 e2 from 0",
        "start 0 at 0 after le-1",
    ]);
}

#[test]
fn a_truncation_that_a_policy_accepts_reads_again_what_was_in_flight() {
    let mut rules = rules();
    rules.on_offset_lost = OffsetLost::Latest;
    let mut s = Script::running("truncated with records in flight", rules, 41);
    s.take(0, 41, 88);
    s.acked(0, 1, 66, 88)
        .broken(0, truncated(80))
        .located(0, 1, at(41, 0, 80))
        .does(&[
            "stop 0",
            "locate 0 e1",
            "skipped 0 [80, 88) truncated",
            "close s0 e1",
            "locate 0 e2",
        ])
        .located(0, 2, at(41, 0, 80))
        .does(&["open 0 e2 from 41"]);
}

#[test]
fn a_log_that_was_cut_off_and_filled_again_is_read_from_where_it_parts() {
    for policy in [OffsetLost::Earliest, OffsetLost::Latest] {
        let mut rules = rules();
        rules.on_offset_lost = policy;
        let mut s = Script::running("refilled", rules, 41);
        s.take(0, 41, 88);
        s.acked(0, 1, 41, 88)
            .after_ms(1_000)
            .committed(1)
            .broken(0, truncated(80))
            .located(0, 1, at(88, 0, 500))
            .located(0, 2, at(88, 0, 500))
            .opened(0, 2, 80)
            .does(&[
                "commit #1 0=88 le7",
                "stop 0",
                "locate 0 e1",
                "skipped 0 [80, 88) truncated",
                "close s0 e1",
                "locate 0 e2",
                "open 0 e2 from 80",
                "commit #2 0=80 le-1",
            ])
            .committed(2)
            .does(&["start 0 at 80 after le-1"]);
        assert_eq!(s.take(0, 80, 500), 420);
        // The logs are one below, so that the next truncation is told, too.
        s.pause(0, 2).resume(0, 2);
        s.does(&["stop 0", "start 0 at 500 after le7"]);
    }
}

#[test]
fn where_the_logs_part_lies_within_what_the_broker_has() {
    // parted, log start, log end -> skipped, opened
    let table = [
        (80, 85, 500, "skipped 0 [85, 88) truncated", "from 85"),
        (80, 0, 60, "skipped 0 [60, 88) truncated", "from 60"),
        (0, 0, 500, "skipped 0 [0, 88) truncated", "from 0"),
    ];
    for (parted, log_start, log_end, skipped, from) in table {
        let mut rules = rules();
        rules.on_offset_lost = OffsetLost::Earliest;
        let mut s = Script::running("bounds", rules, 88);
        s.broken(0, truncated(parted))
            .located(0, 1, at(88, log_start, log_end))
            .located(0, 2, at(88, log_start, log_end))
            .does(&[
                "stop 0",
                "locate 0 e1",
                skipped,
                "close s0 e1",
                "locate 0 e2",
                &format!("open 0 e2 {from}"),
            ]);
    }
    // Nothing in common: whatever there is instead is new.
    let mut rules = rules();
    rules.on_offset_lost = OffsetLost::Earliest;
    let nothing = Broken::Truncated {
        at: None,
        what: "no epoch found".to_owned(),
    };
    let mut s = Script::running("nothing in common", rules, 88);
    s.broken(0, nothing).located(0, 1, at(88, 10, 500)).does(&[
        "stop 0",
        "locate 0 e1",
        "skipped 0 [10, 88) truncated",
        "close s0 e1",
        "locate 0 e2",
    ]);
}

#[test]
fn a_refilled_log_stops_a_sink_that_cannot_go_back_until_a_person_accepts_the_loss() {
    for policy in [OffsetLost::Stop, OffsetLost::Earliest, OffsetLost::Latest] {
        let mut rules = rules();
        rules.can_go_back = false;
        rules.on_offset_lost = policy;
        let mut s = Script::running("HDFS", rules, 88);
        s.broken(0, truncated(80)).located(0, 1, at(88, 0, 500));
        let told = s.why_quarantined();
        for part in ["t[0]", "offset 80", "88", "release"] {
            assert!(told.contains(part), "{part} isn't in {told}");
        }
        s.clear();
        s.person_releases(0).unwrap();
        s.located(0, 2, at(88, 0, 500)).opened(0, 2, 88).does(&[
            "locate 0 e2",
            "open 0 e2 from 88",
            "skipped 0 [80, 88) truncated",
            "start 0 at 88 after le-1",
        ]);
    }
}

#[test]
fn a_released_truncation_is_read_from_where_the_logs_part() {
    let mut s = Script::running("released", rules(), 41);
    s.take(0, 41, 88);
    s.acked(0, 1, 41, 88)
        .after_ms(1_000)
        .committed(1)
        .broken(0, truncated(80))
        .does(&[
            "commit #1 0=88 le7",
            "stop 0",
            "close s0 e1",
            "quarantined 0",
        ]);
    s.person_releases(0).unwrap();
    s.located(0, 2, at(88, 0, 500)).opened(0, 2, 88).does(&[
        "locate 0 e2",
        "open 0 e2 from 88",
        "skipped 0 [80, 88) truncated",
        "close s0 e2",
        "locate 0 e3",
    ]);
    s.located(0, 3, at(88, 0, 500)).opened(0, 3, 80);
    s.does(&["open 0 e3 from 80", "commit #2 0=80 le-1"]);
}

#[test]
fn what_lets_the_broker_tell_a_truncation_survives_idle_partitions() {
    // The committed offset carries leader epoch 7. Committing it again without would blind the next owner.
    let mut s = Script::running("idle for a day", rules(), 10);
    for _ in 0..24 {
        s.after_ms(3_600_000);
    }
    s.does_nothing().fenced(0, 1).after_ms(1_000);
    s.does(&["stop 0", "close s0 e1", "fenced 0", "commit #1 0=10 le7"]);
}

#[test]
fn a_topic_created_again_stops_the_partition_before_anything_is_opened() {
    let mut s = Script::new("re-created", rules());
    s.assigned(&[0])
        .located(0, 1, recreated(at(10, 0, 100)))
        .does(&["locate 0 e1", "quarantined 0"])
        .after_ms(60_000)
        .does_nothing();
    s.person_releases(0).unwrap();
    s.located(0, 2, recreated(at(10, 0, 100)))
        .does(&["locate 0 e2", "open 0 e2 from 10"]);
}

#[test]
fn a_topic_created_again_under_a_running_partition_is_noticed_however_far_it_has_grown() {
    let mut s = Script::running("re-created while running", rules(), 10);
    s.take(0, 10, 20);
    s.broken(0, Broken::OffsetOutOfRange("gone".to_owned()))
        .located(0, 1, recreated(at(10, 0, 5_000)))
        .does(&[
            "stop 0",
            "locate 0 e1",
            "stop 0",
            "close s0 e1",
            "quarantined 0",
        ]);
}

#[test]
fn a_changed_partition_count_stops_sinks_that_order_by_key() {
    let grown = || {
        let mut location = recreated(at(10, 0, 100));
        location.topic_id = "id-1".to_owned();
        location.num_partitions = 6;
        location
    };
    Script::new("order doesn't hang on it", rules())
        .assigned(&[0])
        .located(0, 1, grown())
        .does(&["locate 0 e1", "open 0 e1 from 10"]);
    let mut rules = rules();
    rules.stops_on_new_partitions = true;
    let mut s = Script::new("order hangs on it", rules);
    s.assigned(&[0])
        .located(0, 1, grown())
        .does(&["locate 0 e1", "quarantined 0"]);
    s.person_releases(0).unwrap();
    s.located(0, 2, grown())
        .does(&["locate 0 e2", "open 0 e2 from 10"]);
}

#[test]
fn a_topic_that_grows_under_running_partitions_stops_sinks_that_order_by_key() {
    let new = || Location {
        num_partitions: 6,
        appeared_later: true,
        ..fresh(0, 0, 5)
    };
    let mut rules = rules();
    rules.stops_on_new_partitions = true;
    let mut s = Script::running("grows", rules, 10);
    s.assigned(&[3]).located(3, 2, new()).does(&[
        "locate 3 e2",
        "stop 0",
        "close s0 e1",
        "quarantined 0",
        "quarantined 3",
    ]);
    s.person_releases(3).unwrap();
    s.located(3, 3, new())
        .does(&["locate 3 e3", "open 3 e3 from 0"]);
}

#[test]
fn a_topic_that_grows_stops_workers_that_get_none_of_the_new_partitions() {
    let grew = |topic: &str, partitions| SourceEvent::Grew {
        topic: topic.into(),
        partitions,
    };
    let mut rules = rules();
    rules.stops_on_new_partitions = true;
    let mut s = Script::running("keyed", rules, 10);
    s.source(grew("another", 6))
        .source(grew("t", 3))
        .does_nothing()
        .source(grew("t", 6))
        .does(&["stop 0", "close s0 e1", "quarantined 0"])
        .source(grew("t", 6))
        .does_nothing();
    Script::running("order doesn't hang on it", super::script::rules(), 10)
        .source(grew("t", 6))
        .does_nothing();
}

fn truncated(at: i64) -> Broken {
    Broken::Truncated {
        at: Some(at),
        what: format!("ends at {at}"),
    }
}
