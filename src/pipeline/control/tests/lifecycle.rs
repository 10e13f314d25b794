//! How a partition comes to run, is committed, waits, and comes back after trouble in the sink.

use super::script::*;
use crate::error::Error;
use crate::status::PartitionState;

#[test]
fn a_first_position_is_durable_before_the_first_record() {
    Script::new("no position yet", rules())
        .assigned(&[0])
        .does(&["locate 0 e1"])
        .located(0, 1, fresh(500, 0, 500))
        .does(&["open 0 e1 from 500"])
        .opened(0, 1, 500)
        .does(&["commit #1 0=500 le-1"])
        .after_ms(10)
        .commit_fails(1)
        .does_nothing()
        .after_ms(1_000)
        .does(&["commit #2 0=500 le-1"])
        .committed(2)
        .does(&["start 0 at 500 after le-1"]);
}

#[test]
fn a_first_position_is_chosen_once() {
    // `latest` was 500 when it was first asked; opened again it is 900, and 400 records would be skipped.
    Script::new("opened again before the first commit was answered", rules())
        .assigned(&[0])
        .located(0, 1, fresh(500, 0, 500))
        .opened(0, 1, 500)
        .rewind(0, 1)
        .after_ms(200)
        .located(0, 2, fresh(900, 0, 900))
        .does(&[
            "locate 0 e1",
            "open 0 e1 from 500",
            "commit #1 0=500 le-1",
            "stop 0",
            "close s0 e1",
            "locate 0 e2",
            "open 0 e2 from 500",
        ]);
}

#[test]
fn a_known_position_starts_at_once_and_lets_the_broker_tell_a_truncation() {
    Script::new("known position", rules())
        .assigned(&[0])
        .located(0, 1, at(40, 0, 100))
        .opened(0, 1, 40)
        .does(&[
            "locate 0 e1",
            "open 0 e1 from 40",
            "start 0 at 40 after le7",
        ]);
}

#[test]
fn the_sinks_own_position_counts_even_if_the_group_is_behind() {
    Script::new("HDFS resumes from its log", rules())
        .assigned(&[0])
        .located(0, 1, at(40, 0, 100))
        .opened(0, 1, 60)
        .does(&[
            "locate 0 e1",
            "open 0 e1 from 40",
            "start 0 at 60 after le-1",
        ])
        .after_ms(10)
        .does(&["commit #1 0=60 le-1"]);
}

#[test]
fn a_failed_look_up_is_tried_again_with_backoff_and_a_new_epoch() {
    Script::new("no position and no policy", rules())
        .assigned(&[0])
        .not_located(0, 1)
        .does(&["locate 0 e1", "stop 0"])
        .after_ms(199)
        .does_nothing()
        .after_ms(1)
        .does(&["locate 0 e2"])
        .not_located(0, 1)
        .located(0, 1, at(0, 0, 9))
        .does_nothing()
        .not_located(0, 2)
        .does(&["stop 0"])
        .after_ms(399)
        .does_nothing()
        .after_ms(1)
        .does(&["locate 0 e3"]);
}

#[test]
fn only_what_is_final_is_committed_whatever_the_order_of_acks() {
    let mut s = Script::running("out of order", rules(), 10);
    assert_eq!(s.take(0, 10, 20), 10);
    s.acked(0, 1, 15, 20)
        .after_ms(1_000)
        .does_nothing()
        .acked(0, 1, 10, 12)
        .after_ms(1_000)
        .does(&["commit #1 0=12 le7"])
        .acked(0, 1, 12, 15)
        .after_ms(1_000)
        .does_nothing() // one commit at a time
        .committed(1)
        .after_ms(1_000)
        .does(&["commit #2 0=20 le7"]);
}

#[test]
fn records_delivered_twice_or_for_a_partition_that_does_not_run_are_dropped() {
    let mut s = Script::running("twice", rules(), 10);
    assert_eq!(s.take(0, 10, 15), 5);
    assert_eq!(s.take(0, 12, 17), 2);
    assert_eq!(s.take(1, 0, 5), 0);
    s.pause(0, 1).does(&["stop 0"]);
    assert_eq!(s.take(0, 17, 20), 0);
    s.resume(0, 1).does(&["start 0 at 17 after le7"]);
}

#[test]
fn unchanged_offsets_are_committed_again_only_if_this_epoch_committed_them() {
    let mut s = Script::running("heartbeat", rules(), 10);
    s.after_ms(31_000).after_ms(31_000).does_nothing();
    assert_eq!(s.take(0, 10, 12), 2);
    s.acked(0, 1, 10, 12)
        .after_ms(1_000)
        .does(&["commit #1 0=12 le7"])
        .committed(1)
        .after_ms(31_000)
        .does(&["commit #2 0=12 le7"])
        .committed(2)
        .after_ms(5_000)
        .does_nothing()
        // Opened again: what is found committed isn't this epoch's.
        .rewind(0, 1)
        .after_ms(200)
        .located(0, 2, at(12, 0, 100))
        .opened(0, 2, 12)
        .does(&[
            "stop 0",
            "close s0 e1",
            "locate 0 e2",
            "open 0 e2 from 12",
            "start 0 at 12 after le7",
        ])
        .after_ms(31_000)
        .does_nothing();
}

/// Monitors would take it for a stall.
#[test]
fn what_is_at_work_commits_no_offset_again_while_its_sink_works() {
    let mut s = Script::running("at work", rules(), 0);
    s.take(0, 0, 5);
    s.acked(0, 1, 0, 2).after_ms(1_000).committed(1);
    s.after_ms(31_000).does(&["commit #1 0=2 le7"]);
    // The files of its turn are closed and committed, then it waits for the next.
    s.acked(0, 1, 2, 5).after_ms(1_000).committed(2);
    s.pause(0, 1).after_ms(31_000);
    s.does(&["commit #2 0=5 le7", "stop 0"]);
    // An index that isn't there keeps it: that is a stall.
    s.pause_for(0, 1, Some(Error::unavailable("the index is red")));
    s.after_ms(31_000).does(&["commit #3 0=5 le7"]).committed(3);
    s.resume(0, 1).take(0, 5, 9);
    s.after_ms(31_000).does(&["start 0 at 5 after le7"]);
    s.sink_goes_down().after_ms(31_000);
    s.does(&["commit #4 0=5 le7"]);
}

#[test]
fn a_commit_that_is_never_answered_keeps_the_next_back_for_a_minute_only() {
    let mut s = Script::running("no answer", rules(), 0);
    s.take(0, 0, 4);
    s.acked(0, 1, 0, 2)
        .after_ms(1_000)
        .does(&["commit #1 0=2 le7"]);
    s.acked(0, 1, 2, 4).after_ms(50_000).does_nothing();
    s.after_ms(15_000).does(&["commit #2 0=4 le7"]);
}

#[test]
fn a_rewind_reopens_from_the_last_ack_with_backoff_and_a_new_epoch() {
    let mut s = Script::running("rewind", rules(), 0);
    s.take(0, 0, 10);
    s.acked(0, 1, 0, 4)
        .rewind(0, 1)
        .does(&["stop 0", "close s0 e1"])
        .acked(0, 7, 4, 10) // an epoch that never was
        .rewind(0, 1) // said twice, done once
        .does_nothing()
        .after_ms(200)
        .does(&["locate 0 e2", "commit #1 0=4 le7"])
        .acked(0, 1, 4, 10)
        .located(0, 2, at(0, 0, 100))
        .does(&["open 0 e2 from 4"])
        .opened(0, 2, 4)
        .does(&["start 0 at 4 after le-1"]);
    assert_eq!(s.take(0, 4, 10), 6);
}

#[test]
fn an_outage_that_shows_only_in_writing_ends_within_5_s_of_the_sinks_return() {
    let mut s = Script::running("many rewinds", rules(), 0);
    for epoch in 1..20 {
        s.rewind(0, epoch)
            .after_ms(4_000)
            .located(0, epoch + 1, at(0, 0, 100))
            .opened(0, epoch + 1, 0);
        let (locate, open) = (
            format!("locate 0 e{}", epoch + 1),
            format!("open 0 e{} from 0", epoch + 1),
        );
        let close = format!("close s0 e{epoch}");
        s.does(&["stop 0", &close, &locate, &open, "start 0 at 0 after le7"]);
    }
}

#[test]
fn fenced_comes_back_only_after_a_commit_asked_for_since() {
    let mut s = Script::running("fenced", rules(), 0);
    s.take(0, 0, 4);
    s.acked(0, 1, 0, 2)
        .after_ms(1_000)
        .does(&["commit #1 0=2 le7"])
        .fenced(0, 1)
        .does(&["stop 0", "close s0 e1", "fenced 0"])
        .committed(1) // asked for before it was fenced: proves nothing
        .rewind(0, 1)
        .after_ms(1_000)
        .does(&["commit #2 0=2 le7"])
        .commit_fails(2)
        .does_nothing()
        .after_ms(1_000)
        .does(&["commit #3 0=2 le7"])
        .committed(3)
        .does(&["locate 0 e2"]);
}

#[test]
fn fenced_before_any_position_proves_itself_with_an_offset_that_passes_nothing() {
    // `latest` says 500, but the owner that fenced us may have begun at 400.
    Script::new("fenced while opening", rules())
        .assigned(&[0])
        .located(0, 1, fresh(500, 100, 500))
        .fenced(0, 1)
        .does(&[
            "locate 0 e1",
            "open 0 e1 from 500",
            "stop 0",
            "close s0 e1",
            "fenced 0",
        ])
        .after_ms(1_000)
        .does(&["commit #1 0=100 le-1"])
        .committed(1)
        .does(&["locate 0 e2"]);
}

#[test]
fn a_partition_waits_for_its_turn_and_a_turn_may_end_before_it_began() {
    Script::new("turns", rules())
        .assigned(&[0])
        .located(0, 1, at(5, 0, 100))
        .opened_waiting(0, 1, 5)
        .does(&["locate 0 e1", "open 0 e1 from 5"])
        .resume(0, 1)
        .does(&["start 0 at 5 after le7"])
        .pause(0, 1)
        .pause(0, 1)
        .does(&["stop 0"])
        .resume(0, 2)
        .does_nothing();
    Script::new(
        "the turn ends while the first position is committed",
        rules(),
    )
    .assigned(&[0])
    .located(0, 1, fresh(0, 0, 100))
    .opened(0, 1, 0)
    .pause(0, 1)
    .committed(1)
    .does(&["locate 0 e1", "open 0 e1 from 0", "commit #1 0=0 le-1"])
    .resume(0, 1)
    .does(&["start 0 at 0 after le-1"]);
}

#[test]
fn what_a_partition_waits_for_is_shown_until_it_goes_on() {
    let red = Error::unavailable("index 'a' is red");
    let blocked = Error::misconfigured("index 'b' is blocked");
    let mut script = Script::new("an index is unavailable", rules());
    let shown = |script: &Script| {
        script
            .shown(0)
            .map(|p| (p.state, p.reason, p.needs_a_person))
    };
    let waits =
        |why: &Error, person| Some((PartitionState::Waiting, Some(why.to_string()), person));
    script
        .assigned(&[0])
        .located(0, 1, at(5, 0, 100))
        .opened(0, 1, 5)
        .clear();
    script.pause_for(0, 1, Some(red.clone())).does(&["stop 0"]);
    assert_eq!(shown(&script), waits(&red, false));
    script.pause_for(0, 1, Some(blocked.clone())).does_nothing();
    assert_eq!(shown(&script), waits(&blocked, true));
    script.resume(0, 1).does(&["start 0 at 5 after le7"]);
    assert_eq!(shown(&script), Some((PartitionState::Running, None, false)));
}

#[test]
fn the_span_limit_stops_only_that_partition_and_starts_it_again() {
    let mut s = Script::running("span", rules(), 0);
    s.assigned(&[1])
        .located(1, 2, at(0, 0, 1_000))
        .opened(1, 2, 0)
        .does(&["locate 1 e2", "open 1 e2 from 0", "start 1 at 0 after le7"]);
    assert_eq!((s.take(0, 0, 101), s.take(1, 0, 50)), (101, 50));
    s.after_ms(10).does(&["stop 0"]);
    assert_eq!((s.take(0, 101, 110), s.take(1, 50, 60)), (0, 10));
    s.acked(0, 1, 0, 50).after_ms(10).does_nothing();
    s.acked(0, 1, 50, 60)
        .after_ms(10)
        .does(&["start 0 at 101 after le7"]);
    assert_eq!(s.take(0, 101, 110), 9);
}
