//! Fixed partitions: nobody gives or takes them, so nobody but a person says who is right.

use super::script::{Script, at, fresh, rules};
use crate::error::Error;
use crate::pipeline::control::Rules;
use crate::pipeline::source::Location;

fn fixed() -> Rules {
    Rules {
        fixed: true,
        ..rules()
    }
}

#[test]
fn fenced_is_final_until_a_person_says_otherwise() {
    let mut s = Script::running("fixed and fenced", fixed(), 10);
    s.take(0, 10, 14);
    s.acked(0, 1, 10, 12)
        .fenced(0, 1)
        .does(&["stop 0", "close s0 e1", "quarantined 0"])
        // What was final is committed, and that proves nothing.
        .after_ms(1_000)
        .does(&["commit #1 0=12 le7"])
        .committed(1)
        .does_nothing()
        .after_ms(60_000)
        .does(&["commit #2 0=12 le7"])
        .committed(2)
        .does_nothing();
    s.person_releases(0).expect("it is quarantined");
    s.located(0, 2, at(12, 0, 100)).opened(0, 2, 30).does(&[
        "locate 0 e2",
        "open 0 e2 from 12",
        "start 0 at 30 after le-1",
    ]);
}

#[test]
fn fenced_while_opening_or_draining_is_final_too() {
    Script::new("opening", fixed())
        .assigned(&[0])
        .located(0, 1, fresh(5, 0, 9))
        .fenced(0, 1)
        .does(&[
            "locate 0 e1",
            "open 0 e1 from 5",
            "stop 0",
            "close s0 e1",
            "quarantined 0",
        ])
        .after_ms(60_000)
        .does_nothing();
    let mut s = Script::running("the process ends", fixed(), 10);
    s.take(0, 10, 14);
    s.shut_down_within_ms(20_000)
        .does(&["stop 0", "drain s0 e1"])
        .fenced(0, 1)
        .after_ms(10)
        .does(&["stop 0", "close s0 e1", "released 0 clean=false"]);
    assert_eq!(s.finished(), Some(false), "it isn't held up");
}

#[test]
fn being_given_fixed_partitions_is_no_rebalance() {
    let mut s = Script::new("fixed", fixed());
    s.assigned(&[0, 1]);
    assert_eq!(s.rebalances(), 0);
    let mut s = Script::new("given by a group", rules());
    s.assigned(&[0, 1]);
    assert_eq!(s.rebalances(), 1);
}

#[test]
fn where_nobody_knows_to_begin_the_sink_is_asked_and_may_know() {
    let unknown = || Location {
        start: Err(Error::misconfigured("no position")),
        ..fresh(0, 0, 100)
    };
    let mut s = Script::new("its log knows", fixed());
    s.assigned(&[0])
        .located(0, 1, unknown())
        .opened(0, 1, 60)
        .does(&["locate 0 e1", "open 0 e1 from ?", "commit #1 0=60 le-1"])
        .committed(1)
        .does(&["start 0 at 60 after le-1"]);
    Script::new("nor does the sink", fixed())
        .assigned(&[0])
        .located(0, 1, unknown())
        .rewind(0, 1)
        .does(&["locate 0 e1", "open 0 e1 from ?", "stop 0", "close s0 e1"])
        .after_ms(200)
        .does(&["locate 0 e2"]);
}
