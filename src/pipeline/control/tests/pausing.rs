//! A pause by request: nothing is taken, all else goes on.

use std::collections::HashMap;

use super::script::*;
use crate::config::settings::CommitMode;
use crate::error::Error;
use crate::pipeline::control::PAUSED;
use crate::status::PartitionState;

#[test]
fn a_pause_takes_nothing_and_commits_what_was_taken() {
    let mut s = Script::running("pause", rules(), 0);
    assert_eq!(s.take(0, 0, 5), 5);
    s.person_pauses(true).does(&["hold true"]);
    assert_eq!(s.may_take(), 0);
    // Said again in every turn, it means nothing more; no partition is stopped, given back or opened again.
    s.person_pauses(true)
        .acked(0, 1, 0, 5)
        .after_ms(1_000)
        .does(&["commit #1 0=5 le7"])
        .committed(1)
        .after_ms(29_000)
        .does(&["commit #2 0=5 le7"])
        .committed(2);
    s.person_pauses(false).does(&["hold false"]);
    assert_eq!(s.may_take(), rules().max_poll_records);
    // It goes on with the next record.
    assert_eq!(s.take(0, 5, 8), 3);
    s.acked(0, 1, 5, 8)
        .after_ms(1_000)
        .does(&["commit #3 0=8 le7"]);
}

#[test]
fn partitions_that_come_are_opened_and_wait_and_those_that_go_are_given_back() {
    let mut s = Script::running("rebalance", rules(), 0);
    s.take(0, 0, 5);
    s.person_pauses(true).clear();
    s.assigned(&[1])
        .located(1, 2, fresh(40, 0, 100))
        .opened(1, 2, 40)
        // The first position is made durable all the same.
        .does(&["locate 1 e2", "open 1 e2 from 40", "commit #1 1=40 le-1"])
        .committed(1)
        .does(&["start 1 at 40 after le-1"]);
    assert_eq!(s.may_take(), 0, "the newcomer is paused, too");
    s.revoked(&[0])
        .does(&["stop 0", "drain s0 e1"])
        .acked(0, 1, 0, 5)
        .drained(0, 1)
        .does(&["close s0 e1", "commit #2 0=5 le7"])
        .committed(2)
        .does(&["released 0 clean=true", "release 0"]);
}

#[test]
fn a_pause_holds_in_every_commit_mode_and_at_the_end() {
    for mode in [
        CommitMode::Interval,
        CommitMode::Async,
        CommitMode::Batch,
        CommitMode::Record,
    ] {
        let mut rules = rules();
        rules.commit_mode = mode;
        let mut s = Script::running("modes", rules, 0);
        s.person_pauses(true).turn();
        assert_eq!(s.may_take(), 0, "{mode:?}");
        s.shut_down_within_ms(30_000).drained(0, 1);
        assert_eq!(s.finished(), Some(true), "{mode:?}");
    }
}

#[test]
fn partitions_say_why_nothing_is_read() {
    let mut s = Script::running("words", rules(), 0);
    let shown = |s: &Script| s.shown(0).map(|p| (p.state, p.reason, p.needs_a_person));
    let running = Some((PartitionState::Running, None, false));
    assert_eq!(shown(&s), running);
    s.person_pauses(true);
    let waits = Some((PartitionState::Waiting, Some(PAUSED.to_owned()), false));
    assert_eq!(shown(&s), waits);
    s.person_pauses(false);
    assert_eq!(shown(&s), running);
    // What needs a person still says so.
    s.person_pauses(true).stopped(0, 1);
    assert_eq!(s.shown(0).unwrap().state, PartitionState::Quarantined);
}

#[test]
fn a_partition_that_nothing_comes_of_waits_for_kafka_unless_something_else_holds_it() {
    let mut s = Script::running("standstill", rules(), 0);
    let still = HashMap::from([(id(0), "nothing has come".to_owned())]);
    let shown = |s: &Script| {
        let shown = s.shown_while(0, &still).expect("held");
        (shown.state, shown.reason, shown.waits_for_kafka)
    };
    let why = Some("nothing has come".to_owned());
    assert_eq!(shown(&s), (PartitionState::Waiting, why, true));
    s.person_pauses(true);
    let paused = Some(PAUSED.to_owned());
    assert_eq!(shown(&s), (PartitionState::Waiting, paused, false));
    s.person_pauses(false).revoked(&[0]);
    assert_eq!(shown(&s), (PartitionState::Draining, None, false));
}

#[test]
fn a_partition_that_waits_for_its_turn_says_so_and_its_index_and_a_pause_go_before() {
    let mut s = Script::running("turns", rules(), 0);
    let shown = |s: &Script| {
        let shown = s.shown(0).expect("held");
        (shown.state, shown.reason, shown.waits_for_turn)
    };
    assert_eq!(shown(&s), (PartitionState::Running, None, false));
    s.pause(0, 1);
    let turn = Some("waits for its turn".to_owned());
    assert_eq!(shown(&s), (PartitionState::Waiting, turn.clone(), true));
    s.person_pauses(true);
    let paused = Some(PAUSED.to_owned());
    assert_eq!(shown(&s), (PartitionState::Waiting, paused, false));
    s.person_pauses(false);
    assert_eq!(shown(&s), (PartitionState::Waiting, turn, true));
    s.pause_for(0, 1, Some(Error::unavailable("the index is red")));
    let (state, reason, waits_for_turn) = shown(&s);
    assert_eq!((state, waits_for_turn), (PartitionState::Waiting, false));
    assert!(reason.is_some_and(|why| why.contains("the index is red")));
}

#[test]
fn a_partition_whose_span_is_full_says_so_and_that_nothing_is_wrong() {
    let mut s = Script::running("span", rules(), 0);
    let shown = |s: &Script, turn: Option<&str>| {
        let shown = s.shown_in_turn(0, turn).expect("held");
        (shown.state, shown.waits_for_turn, shown.reason)
    };
    assert_eq!(s.take(0, 0, 101), 101);
    s.after_ms(10).does(&["stop 0"]);
    let (state, waits_for_turn, reason) = shown(&s, None);
    assert_eq!((state, waits_for_turn), (PartitionState::Waiting, true));
    let reason = reason.expect("why");
    assert!(
        reason.contains("more than 100 offsets aren't yet (kafka.max_span)"),
        "{reason}"
    );
    // What the sink knows of it is said, too.
    let (_, _, both) = shown(&s, Some("its files are being closed"));
    assert_eq!(both, Some(format!("{reason}; its files are being closed")));
    s.acked(0, 1, 0, 60)
        .after_ms(10)
        .does(&["start 0 at 101 after le7"]);
    assert_eq!(shown(&s, None), (PartitionState::Running, false, None));
}
