//! Assign, revoke, lose, shut down.

use super::script::*;
use crate::config::settings::RejectedPolicy;

#[test]
fn a_revoked_partition_drains_commits_and_is_then_released() {
    let mut s = Script::running("revoke", rules(), 0);
    s.take(0, 0, 10);
    s.revoked(&[0])
        .does(&["stop 0", "drain s0 e1"])
        .acked(0, 1, 0, 10)
        .does_nothing()
        .drained(0, 1)
        .does(&["close s0 e1", "commit #1 0=10 le7"])
        .after_ms(1_000)
        .does_nothing()
        .committed(1)
        .does(&["released 0 clean=true", "release 0"]);
    assert_eq!(s.take(0, 10, 12), 0);
}

#[test]
fn the_others_go_on_while_one_is_drained() {
    let mut s = Script::running("neighbours", rules(), 0);
    s.assigned(&[1])
        .located(1, 2, at(0, 0, 1_000))
        .opened(1, 2, 0);
    s.take(0, 0, 10);
    s.revoked(&[0]);
    assert_eq!(s.take(1, 0, 10), 10);
    s.does(&[
        "locate 1 e2",
        "open 1 e2 from 0",
        "start 1 at 0 after le7",
        "stop 0",
        "drain s0 e1",
    ]);
    s.acked(1, 2, 0, 10)
        .after_ms(1_000)
        .does(&["commit #1 1=10 le7"]);
}

#[test]
fn draining_and_the_commit_are_bounded() {
    let mut s = Script::running("drain timeout", rules(), 0);
    s.take(0, 0, 10);
    s.revoked(&[0])
        .acked(0, 1, 0, 3)
        .after_ms(0)
        .committed(1)
        .does(&["stop 0", "drain s0 e1", "commit #1 0=3 le7"])
        .after_ms(19_999)
        .does_nothing()
        .acked(0, 1, 3, 5)
        .after_ms(1)
        .does(&["close s0 e1", "commit #2 0=5 le7"])
        .acked(0, 1, 5, 10) // abandoned, and then durable after all: true, but too late for this commit
        .after_ms(4_999)
        .does_nothing()
        .after_ms(1)
        .does(&["released 0 clean=false", "release 0"]);
}

#[test]
fn a_sink_that_is_down_is_not_waited_for() {
    let mut s = Script::running("revoke in an outage", rules(), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 3)
        .sink_goes_down()
        .committed(1)
        .does(&["commit #1 0=3 le7"])
        .revoked(&[0])
        .does(&[
            "stop 0",
            "close s0 e1",
            "released 0 clean=false",
            "release 0",
        ]);
}

#[test]
fn refused_records_on_their_way_keep_a_revoked_partition_until_they_are_final() {
    let mut s = Script::running("letters", rules(), 0);
    s.take(0, 0, 3);
    s.refused(0, 1, 1)
        .acked(0, 1, 0, 3)
        .revoked(&[0])
        .drained(0, 1)
        .does(&["letter 0 1", "stop 0", "drain s0 e1"])
        .letter(0, 1, 1, true)
        .does(&["settle s0 e1 1"])
        .after_ms(10)
        .does(&["close s0 e1", "commit #1 0=3 le7"]);
}

#[test]
fn a_refused_record_that_waits_for_a_person_does_not_hold_up_the_group() {
    let mut rules = rules();
    rules.rejected = RejectedPolicy::Quarantine;
    let mut s = Script::running("quarantined, then revoked", rules, 0);
    s.take(0, 0, 3);
    s.refused(0, 1, 1)
        .acked(0, 1, 0, 3)
        .revoked(&[0])
        .does(&["stop 0", "drain s0 e1", "quarantined 0", "stop 0"])
        .drained(0, 1)
        .does(&["close s0 e1", "commit #1 0=1 le7"]);
}

/// Found by the simulation: it was dropped, and the sink was told of an epoch that was closed already.
#[test]
fn a_record_refused_after_the_close_is_left_to_the_next_owner() {
    let mut rules = rules();
    rules.rejected = RejectedPolicy::Skip;
    let mut s = Script::running("refused too late", rules, 0);
    s.take(0, 0, 10);
    s.revoked(&[0])
        .acked(0, 1, 0, 3)
        .after_ms(20_000)
        .does(&["stop 0", "drain s0 e1", "close s0 e1", "commit #1 0=3 le7"])
        .refused(0, 1, 4)
        .acked(0, 1, 3, 10)
        .does_nothing()
        .committed(1)
        .does(&["released 0 clean=false", "release 0"]);
}

#[test]
fn a_commit_on_its_way_is_waited_for_even_if_nothing_new_is_to_be_committed() {
    let mut s = Script::running("heartbeat under way", rules(), 0);
    s.take(0, 0, 3);
    s.acked(0, 1, 0, 3)
        .after_ms(1_000)
        .committed(1)
        .after_ms(31_000)
        .does(&["commit #1 0=3 le7", "commit #2 0=3 le7"])
        .revoked(&[0])
        .drained(0, 1)
        .does(&["stop 0", "drain s0 e1", "close s0 e1"])
        .committed(2)
        .does(&["released 0 clean=true", "release 0"]);
}

#[test]
fn a_second_revocation_is_drained_and_committed_too() {
    let mut s = Script::running("two revocations", rules(), 0);
    s.assigned(&[1])
        .located(1, 2, at(0, 0, 1_000))
        .opened(1, 2, 0);
    s.take(0, 0, 10);
    s.take(1, 0, 10);
    s.revoked(&[0]).acked(0, 1, 0, 10).drained(0, 1);
    s.does(&[
        "locate 1 e2",
        "open 1 e2 from 0",
        "start 1 at 0 after le7",
        "stop 0",
        "drain s0 e1",
        "close s0 e1",
        "commit #1 0=10 le7",
    ]);
    s.revoked(&[1])
        .committed(1)
        .does(&["stop 1", "drain s1 e2"])
        .acked(1, 2, 0, 10)
        .drained(1, 2)
        .does(&["close s1 e2", "commit #2 1=10 le7"])
        .committed(2)
        .does(&["released 0 1 clean=true", "release 0 1"]);
}

#[test]
fn lost_partitions_are_closed_and_nothing_is_committed() {
    let mut s = Script::running("lost", rules(), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 5)
        .lost(&[0])
        .does(&["close s0 e1", "release 0"])
        .acked(0, 1, 5, 10)
        .letter(0, 1, 3, true)
        .after_ms(31_000)
        .does_nothing();
}

#[test]
fn a_commit_decided_in_the_same_breath_as_the_loss_is_not_sent() {
    let mut s = Script::running("revoked and lost in one poll", rules(), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 10)
        .revoked(&[0])
        .drained(0, 1)
        .lost(&[0])
        .does(&["stop 0", "drain s0 e1", "close s0 e1", "release 0 0"]);
    let mut s = Script::running("told to end, then lost", rules(), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 5)
        .sink_goes_down()
        .shut_down_within_ms(30_000)
        .does(&[
            "commit #1 0=5 le7",
            "stop 0",
            "close s0 e1",
            "commit #2 0=5 le7",
        ]);
    let mut s = Script::running("told to end, then lost", rules(), 0);
    s.take(0, 0, 10);
    s.sink_goes_down()
        .acked(0, 1, 0, 5)
        .shut_down_within_ms(30_000)
        .lost(&[0])
        .after_ms(10)
        .does(&[
            "stop 0",
            "close s0 e1",
            "release 0",
            "released 0 clean=false",
        ]);
    assert_eq!(s.finished(), Some(false));
}

#[test]
fn lost_while_being_revoked_is_released_without_a_commit() {
    let mut s = Script::running("revoked, then lost", rules(), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 5)
        .revoked(&[0])
        .lost(&[0])
        .does(&["stop 0", "drain s0 e1", "close s0 e1", "release 0 0"])
        .drained(0, 1)
        .after_ms(31_000)
        .does_nothing();
}

#[test]
fn a_partition_that_went_and_came_back_hears_nothing_from_its_past() {
    let mut s = Script::running("ABA", rules(), 0);
    s.take(0, 0, 10);
    s.refused(0, 1, 2)
        .lost(&[0])
        .assigned(&[0])
        .located(0, 1, at(90, 0, 100)) // asked for by the dead epoch
        .located(0, 2, at(0, 0, 100))
        .opened(0, 1, 50)
        .opened(0, 2, 0)
        .does(&[
            "letter 0 2",
            "close s0 e1",
            "release 0",
            "locate 0 e2",
            "open 0 e2 from 0",
            "start 0 at 0 after le7",
        ]);
    assert_eq!(s.take(0, 0, 10), 10);
    // Same partition, same slot, same offsets: only the epoch tells.
    s.acked(0, 1, 0, 10)
        .refused(0, 1, 4)
        .letter(0, 1, 2, true)
        .letter(0, 1, 2, false)
        .rewind(0, 1)
        .fenced(0, 1)
        .stopped(0, 1)
        .pause(0, 1)
        .drained(0, 1)
        .after_ms(1_000)
        .does_nothing()
        .acked(0, 2, 0, 10)
        .after_ms(1_000)
        .does(&["commit #1 0=10 le7"]);
}

#[test]
fn revoked_before_it_runs_is_released_at_once() {
    Script::new("still locating", rules())
        .assigned(&[0, 1])
        .located(1, 2, at(5, 0, 9))
        .revoked(&[0, 1])
        .does(&[
            "locate 0 e1",
            "locate 1 e2",
            "open 1 e2 from 5",
            "stop 0",
            "stop 1",
            "close s1 e2",
            "released 0 1 clean=true",
            "release 0 1",
        ])
        .located(0, 1, at(5, 0, 9))
        .opened(1, 2, 5)
        .does_nothing();
}

#[test]
fn a_clean_shutdown_commits_everything() {
    let mut s = Script::running("clean", rules(), 0);
    s.take(0, 0, 10);
    s.shut_down_within_ms(30_000)
        .does(&["stop 0", "drain s0 e1"])
        .assigned(&[1])
        .acked(0, 1, 0, 10)
        .drained(0, 1)
        .does(&["close s0 e1", "commit #1 0=10 le7"]);
    assert_eq!(s.finished(), None);
    s.committed(1).does(&["released 0 clean=true"]);
    assert_eq!(s.finished(), Some(true));
}

#[test]
fn a_shutdown_ends_by_its_deadline_and_says_that_work_is_left() {
    let mut s = Script::running("deadline", rules(), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 4)
        .shut_down_within_ms(8_000)
        .after_ms(2_999)
        .does(&["stop 0", "drain s0 e1", "commit #1 0=4 le7"])
        .after_ms(1)
        .does(&["close s0 e1", "commit #2 0=4 le7"]);
    assert_eq!(s.finished(), None);
    s.after_ms(5_000);
    assert_eq!(s.finished(), Some(false));

    let mut s = Script::running("a deadline shorter than a commit", rules(), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 4)
        .shut_down_within_ms(1_000)
        .after_ms(10)
        .after_ms(989);
    assert_eq!(s.finished(), None);
    s.after_ms(1);
    assert_eq!(s.finished(), Some(false));
}

#[test]
fn a_shutdown_with_nothing_to_do_is_over_at_once() {
    let mut s = Script::new("idle", rules());
    s.shut_down_within_ms(30_000);
    assert_eq!(s.finished(), Some(true));
}

#[test]
fn a_shutdown_whose_partitions_are_lost_meanwhile_is_not_clean() {
    let mut s = Script::running("lost while leaving", rules(), 0);
    s.take(0, 0, 10);
    s.shut_down_within_ms(30_000).lost(&[0]).after_ms(10);
    assert_eq!(s.finished(), Some(false));
}

#[test]
fn a_shutdown_takes_over_a_revocation() {
    let mut s = Script::running("revoked, then shut down", rules(), 0);
    s.take(0, 0, 10);
    s.revoked(&[0])
        .shut_down_within_ms(30_000)
        .acked(0, 1, 0, 10)
        .drained(0, 1)
        .committed(1)
        .does(&[
            "stop 0",
            "drain s0 e1",
            "close s0 e1",
            "commit #1 0=10 le7",
            "released 0 clean=true",
        ]);
    assert_eq!(s.finished(), Some(true));
}
