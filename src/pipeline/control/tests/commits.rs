//! The commit modes: what is committed when, what keeps records from being taken, and what doesn't.

use super::script::*;
use crate::config::settings::{CommitMode, RejectedPolicy};
use crate::pipeline::control::Rules;

fn mode(commit_mode: CommitMode) -> Rules {
    Rules {
        commit_mode,
        ..rules()
    }
}

/// Partitions 0 and 1 run from offset 0 in epochs 1 and 2.
fn two(name: &'static str, rules: Rules) -> Script {
    let mut s = Script::running(name, rules, 0);
    s.assigned(&[1])
        .located(1, 2, at(0, 0, 1_000))
        .opened(1, 2, 0)
        .does(&["locate 1 e2", "open 1 e2 from 0", "start 1 at 0 after le7"]);
    s
}

#[test]
fn interval_commits_beside_the_work() {
    let mut s = Script::running("interval", mode(CommitMode::Interval), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 5).turn().does_nothing();
    assert_eq!(s.may_take(), 2_048);
    s.after_ms(1_000).does(&["commit #1 0=5 le7"]);
    assert_eq!(s.may_take(), 2_048);
}

#[test]
fn batch_commits_at_once_and_takes_nothing_before_the_answer() {
    let mut s = two("batch", mode(CommitMode::Batch));
    assert_eq!(s.may_take(), 2_048);
    assert_eq!((s.take(0, 0, 10), s.take(1, 0, 10)), (10, 10));
    assert_eq!(
        s.may_take(),
        2_048,
        "what is in flight keeps nobody waiting"
    );
    s.acked(0, 1, 0, 5)
        .acked(1, 2, 0, 5)
        .turn()
        .does(&["commit #1 0=5 le7 1=5 le7"]);
    assert_eq!(s.may_take(), 0);
    s.acked(0, 1, 5, 10).turn().after_ms(400).does_nothing();
    s.committed(1).turn().does(&["commit #2 0=10 le7"]);
    assert_eq!(s.may_take(), 0);
    s.committed(2).turn().does_nothing();
    assert_eq!(s.may_take(), 2_048);
}

#[test]
fn an_ack_that_makes_nothing_final_commits_nothing() {
    let mut s = Script::running("out of order", mode(CommitMode::Batch), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 5, 10).turn().does_nothing();
    assert_eq!(s.may_take(), 2_048);
    s.acked(0, 1, 0, 5).turn().does(&["commit #1 0=10 le7"]);
}

#[test]
fn batch_tries_a_failed_commit_again_with_a_pause_and_the_newest_offset() {
    let mut s = Script::running("batch", mode(CommitMode::Batch), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 5)
        .turn()
        .does(&["commit #1 0=5 le7"])
        .commit_fails(1)
        .acked(0, 1, 5, 10)
        .after_ms(490)
        .does_nothing();
    assert_eq!(s.may_take(), 0);
    s.after_ms(10).does(&["commit #2 0=10 le7"]);
    s.commit_fails(2).turn().after_ms(490).does_nothing();
    s.after_ms(10).does(&["commit #3 0=10 le7"]);
    s.committed(3);
    assert_eq!(s.may_take(), 2_048);
}

#[test]
fn a_heartbeat_keeps_nobody_waiting() {
    let mut s = Script::running("heartbeat", mode(CommitMode::Batch), 0);
    s.take(0, 0, 5);
    s.acked(0, 1, 0, 5).turn().committed(1);
    s.after_ms(31_000)
        .does(&["commit #1 0=5 le7", "commit #2 0=5 le7"]);
    assert_eq!(s.may_take(), 2_048);
}

#[test]
fn async_commits_at_once_one_commit_at_a_time_and_goes_on() {
    let mut s = Script::running("async", mode(CommitMode::Async), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 2).turn().does(&["commit #1 0=2 le7"]);
    assert_eq!(s.may_take(), 2_048);
    s.acked(0, 1, 2, 3)
        .turn()
        .acked(0, 1, 3, 4)
        .turn()
        .after_ms(600)
        .does_nothing();
    s.committed(1).turn().does(&["commit #2 0=4 le7"]);
    s.commit_fails(2).acked(0, 1, 4, 6).turn().does_nothing();
    assert_eq!(s.may_take(), 2_048);
    s.after_ms(500).does(&["commit #3 0=6 le7"]);
}

#[test]
fn what_is_due_now_and_then_is_due_however_many_acks_there_are() {
    let mut s = two("busy", mode(CommitMode::Async));
    s.take(0, 0, 100);
    s.take(1, 0, 1);
    s.acked(1, 2, 0, 1).turn().does(&["commit #1 1=1 le7"]);
    for n in 1..=40 {
        // When one is answered the next is due already.
        s.acked(0, 1, n - 1, n).committed(n as u64).after_ms(1_000);
    }
    let idle = |did: &String| did.contains(" 1=1 ");
    assert_eq!(
        s.did().iter().filter(|did| idle(did)).count(),
        1,
        "a heartbeat"
    );
}

#[test]
fn record_takes_the_next_when_the_one_before_is_committed() {
    let mut s = two("record", mode(CommitMode::Record));
    assert_eq!(s.may_take(), 1);
    s.take(0, 0, 1);
    assert_eq!(s.may_take(), 0, "in flight");
    s.acked(0, 1, 0, 1).turn().does(&["commit #1 0=1 le7"]);
    assert_eq!(s.may_take(), 0, "not committed yet");
    s.commit_fails(1).after_ms(500).does(&["commit #2 0=1 le7"]);
    assert_eq!(s.may_take(), 0, "not yet, either");
    s.committed(2);
    assert_eq!(s.may_take(), 1);
}

#[test]
fn a_refused_record_is_final_when_its_letter_is_written() {
    let mut s = two("record with dead letters", mode(CommitMode::Record));
    s.take(0, 0, 1);
    s.refuses_at_append(0, 0)
        .acked(0, 1, 0, 1)
        .turn()
        .does(&["letter 0 0"]);
    assert_eq!(s.may_take(), 0);
    s.letter(0, 1, 0, true)
        .turn()
        .does(&["settle s0 e1 0", "commit #1 0=1 le7"])
        .committed(1);
    assert_eq!(s.may_take(), 1);
}

#[test]
fn a_quarantined_record_stops_its_partition_and_no_other() {
    let rules = Rules {
        rejected: RejectedPolicy::Quarantine,
        ..mode(CommitMode::Record)
    };
    let mut s = two("record with quarantine", rules);
    s.take(0, 0, 1);
    s.refused(0, 1, 0)
        .acked(0, 1, 0, 1)
        .turn()
        .does(&["stop 0", "drain s0 e1", "quarantined 0"]);
    s.drained(0, 1).does(&["close s0 e1"]);
    assert_eq!(s.may_take(), 1, "partition 1 goes on");
    s.take(1, 0, 1);
    assert_eq!(s.may_take(), 0);
    s.acked(1, 2, 0, 1)
        .turn()
        .does(&["commit #1 1=1 le7"])
        .committed(1);
    assert_eq!(s.may_take(), 1);
}

#[test]
fn a_record_that_waits_for_its_index_stops_its_partition_and_no_other() {
    let mut s = two("a lane", mode(CommitMode::Record));
    s.take(0, 0, 1);
    s.pause(0, 1).does(&["stop 0"]);
    assert_eq!(s.may_take(), 1);
}

#[test]
fn what_fails_for_one_partition_keeps_its_neighbours_neither_waiting_nor_uncommitted() {
    let mut s = two("a topic is gone", mode(CommitMode::Batch));
    s.take(0, 0, 5);
    s.take(1, 0, 5);
    s.acked(0, 1, 0, 5)
        .acked(1, 2, 0, 5)
        .turn()
        .does(&["commit #1 0=5 le7 1=5 le7"]);
    // Delivery says so, too: it is looked up again, for as long as that takes.
    s.committed_in_part(1, &[1])
        .rewind(0, 1)
        .does(&["stop 0", "close s0 e1"]);
    assert_eq!(s.may_take(), 2_048);
    s.take(1, 5, 9);
    s.acked(1, 2, 5, 9).turn().does(&["commit #2 1=9 le7"]);
    s.committed(2).turn().does_nothing();
    s.after_ms(500).does(&["locate 0 e3", "commit #3 0=5 le7"]);
}

#[test]
fn a_commit_of_a_membership_that_is_over_blocks_until_the_partitions_go() {
    let mut s = Script::running("fenced", mode(CommitMode::Batch), 0);
    s.take(0, 0, 5);
    s.acked(0, 1, 0, 5)
        .turn()
        .commit_fails(1)
        .does(&["commit #1 0=5 le7"]);
    assert_eq!(s.may_take(), 0);
    s.lost(&[0]).does(&["close s0 e1", "release 0"]);
    assert_eq!(s.may_take(), 2_048);
    s.after_ms(1_000).does_nothing();
}

#[test]
fn lost_while_its_commit_is_unanswered() {
    let mut s = two("lost", mode(CommitMode::Batch));
    s.take(0, 0, 5);
    s.acked(0, 1, 0, 5).turn().does(&["commit #1 0=5 le7"]);
    s.lost(&[0])
        .commit_fails(1)
        .turn()
        .does(&["close s0 e1", "release 0"]);
    assert_eq!(s.may_take(), 2_048);
}

#[test]
fn revoked_while_its_commit_is_unanswered() {
    let mut s = two("revoked", mode(CommitMode::Batch));
    s.take(0, 0, 5);
    s.take(1, 0, 5);
    s.acked(0, 1, 0, 5).turn().does(&["commit #1 0=5 le7"]);
    s.revoked(&[0]).does(&["stop 0", "drain s0 e1"]);
    s.drained(0, 1).does(&["close s0 e1", "commit #2 0=5 le7"]);
    assert_eq!(s.may_take(), 0);
    // Neither is ever answered: the partition goes all the same, the other waits no longer than a minute.
    s.after_ms(5_000)
        .does(&["released 0 clean=false", "release 0"]);
    assert_eq!(s.may_take(), 0);
    s.acked(1, 2, 0, 5).turn().after_ms(40_000).does_nothing();
    s.after_ms(15_100).does(&["commit #3 1=5 le7"]);
    s.committed(3);
    assert_eq!(s.may_take(), 2_048);
}

#[test]
fn a_shutdown_doesnt_wait_for_an_unanswered_commit_longer_than_it_may() {
    for commit_mode in [CommitMode::Batch, CommitMode::Async] {
        let mut s = Script::running("shutdown", mode(commit_mode), 0);
        s.take(0, 0, 5);
        s.acked(0, 1, 0, 5).turn().does(&["commit #1 0=5 le7"]);
        s.shut_down_within_ms(3_000).drained(0, 1).does(&[
            "stop 0",
            "drain s0 e1",
            "close s0 e1",
            "commit #2 0=5 le7",
        ]);
        assert_eq!(s.finished(), None);
        s.after_ms(3_000).does(&["released 0 clean=false"]);
        assert_eq!(s.finished(), Some(false));
    }
}

#[test]
fn a_first_position_is_durable_at_once_and_tried_again_with_a_pause() {
    for commit_mode in [CommitMode::Batch, CommitMode::Record, CommitMode::Async] {
        Script::new("no position yet", mode(commit_mode))
            .assigned(&[0])
            .located(0, 1, fresh(500, 0, 500))
            .opened(0, 1, 500)
            .after_ms(10)
            .does(&["locate 0 e1", "open 0 e1 from 500", "commit #1 0=500 le-1"])
            .commit_fails(1)
            .turn()
            .after_ms(490)
            .does_nothing()
            .after_ms(10)
            .does(&["commit #2 0=500 le-1"])
            .committed(2)
            .does(&["start 0 at 500 after le-1"]);
    }
}

#[test]
fn what_somebody_else_has_done_to_the_groups_offset_is_said_and_shown() {
    let mut s = Script::running("mismatch", rules(), 0);
    assert_eq!(s.shown(0).unwrap().commit_mismatch, None);
    for (found, words) in [
        (
            Some(2),
            "was set back to 2, 3 offsets before what was committed, 5",
        ),
        (
            Some(9),
            "was moved on to 9, 4 offsets beyond what was committed, 5",
        ),
        (
            None,
            "has no committed offset any more, though 5 was committed",
        ),
    ] {
        s.commit_mismatch(0, 5, found).does(&["mismatch 0"]);
        let shown = s.shown(0).unwrap().commit_mismatch.unwrap();
        assert!(shown.contains(words), "{shown}");
    }
    s.commit_mismatch(7, 5, None).does_nothing(); // not held
}
