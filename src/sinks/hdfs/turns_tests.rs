use std::collections::BTreeSet;

use proptest::prelude::*;

use super::seat::{QUIET_AFTERWARDS, QUIET_AT_FIRST};
use super::*;

const AGE: Duration = Duration::from_secs(60);

fn turns(places: usize) -> Turns {
    turns_with(places, 0)
}

fn turns_with(places: usize, closing: usize) -> Turns {
    Turns::new(Rules {
        places,
        closing,
        age: AGE,
        full_bytes: 1_000,
    })
}

fn secs(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn with_a_place_for_everybody_all_read_and_no_turn_ever_ends() {
    let (mut turns, start) = (turns(4), Instant::now());
    for n in 0..4 {
        assert!(turns.join(Slot(n), 0, 100, start));
        turns.took(Slot(n), 100, 5_000, start);
    }
    assert_eq!(turns.step(secs(start, 3_600)), []);
    assert!(!turns.full(Slot(0)), "a full file doesn't end a turn here");
    assert_eq!(turns.deadline(), None);
}

#[test]
fn one_too_many_waits_until_somebody_reached_the_end_of_his_turn() {
    let (mut turns, now) = (turns(2), Instant::now());
    assert!(turns.join(Slot(0), 0, 10, now));
    assert!(turns.join(Slot(1), 0, 10, now));
    assert!(!turns.join(Slot(2), 0, 10, now));
    assert_eq!(turns.step(now), []);
    turns.took(Slot(0), 9, 90, now);
    assert_eq!(turns.step(now), [], "one more offset to go");
    turns.observe(Slot(0), 500, now);
    turns.took(Slot(0), 10, 10, now);
    assert_eq!(
        turns.step(now),
        [Change::End(Slot(0))],
        "what came since its turn began is for the next"
    );
    assert_eq!(
        turns.step(now),
        [],
        "the place is free once it is committed"
    );
    turns.finished(Slot(0), secs(now, 1));
    assert_eq!(turns.step(secs(now, 1)), [Change::Begin(Slot(2))]);
}

#[test]
fn who_closes_his_files_keeps_nobody_from_his_turn_as_far_as_memory_has_room() {
    let now = Instant::now();
    let mut turns = turns_with(1, 1);
    for n in 0..3 {
        turns.join(Slot(n), 0, 10, now);
    }
    let both = |end, begin| vec![Change::End(Slot(end)), Change::Begin(Slot(begin))];
    turns.took(Slot(0), 10, 100, now);
    assert_eq!(turns.step(now), both(0, 1));
    turns.took(Slot(1), 10, 100, now);
    assert_eq!(turns.step(now), [Change::End(Slot(1))], "two close already");
    turns.finished(Slot(0), now);
    assert_eq!(turns.step(now), [Change::Begin(Slot(2))]);
}

#[test]
fn who_comes_while_others_close_gets_no_place_that_memory_has_no_room_for() {
    let now = Instant::now();
    for (closing, reads) in [(0, false), (1, true)] {
        let mut turns = turns_with(1, closing);
        turns.join(Slot(0), 0, 10, now);
        turns.join(Slot(1), 10, 10, now);
        turns.took(Slot(0), 10, 100, now);
        assert_eq!(turns.step(now), [Change::End(Slot(0))]);
        assert_eq!(
            turns.join(Slot(2), 0, 10, now),
            reads,
            "{closing} may close"
        );
    }
}

#[test]
fn nothing_to_read_needs_no_turn() {
    let (mut turns, now) = (turns(1), Instant::now());
    assert!(turns.join(Slot(0), 0, 10, now));
    assert!(!turns.join(Slot(1), 10, 10, now));
    turns.took(Slot(0), 10, 100, now);
    assert_eq!(turns.step(now), [Change::End(Slot(0))]);
    turns.finished(Slot(0), now);
    assert_eq!(turns.step(secs(now, 10_000)), []);
    assert_eq!(turns.num_waiting(), 0);
    turns.observe(Slot(1), 11, secs(now, 10_000));
    assert_eq!(turns.step(secs(now, 10_000)), [Change::Begin(Slot(1))]);
}

#[test]
fn a_trickle_is_collected_for_the_rotations_age() {
    let (mut turns, now) = (turns(1), Instant::now());
    turns.join(Slot(0), 0, 10, now);
    turns.join(Slot(1), 10, 10, now);
    turns.took(Slot(0), 10, 100, now);
    turns.step(now);
    turns.finished(Slot(0), now);
    turns.observe(Slot(0), 12, now);
    assert_eq!(turns.step(secs(now, 59)), [], "2 records of about 10 bytes");
    assert_eq!(turns.deadline(), Some(secs(now, 60)));
    assert_eq!(turns.step(secs(now, 60)), [Change::Begin(Slot(0))]);
}

#[test]
fn what_would_fill_a_file_does_not_wait_for_the_age() {
    let (mut turns, now) = (turns(1), Instant::now());
    turns.join(Slot(0), 0, 10, now);
    turns.join(Slot(1), 10, 10, now);
    turns.took(Slot(0), 10, 100, now);
    turns.step(now);
    turns.finished(Slot(0), now);
    turns.observe(Slot(0), 110, now);
    assert_eq!(turns.step(now), [Change::Begin(Slot(0))]);
}

#[test]
fn a_log_that_ends_in_markers_does_not_hold_its_place() {
    let (mut turns, now) = (turns(1), Instant::now());
    turns.join(Slot(0), 0, 10, now);
    turns.join(Slot(1), 0, 10, now);
    turns.took(Slot(0), 9, 90, now);
    let quiet = now + QUIET_AFTERWARDS;
    assert_eq!(turns.step(quiet), [Change::End(Slot(0))]);
    turns.finished(Slot(0), quiet);
    assert_eq!(turns.step(quiet), [Change::Begin(Slot(1))]);
    let outage = secs(now, 50);
    turns.hold(outage);
    assert_eq!(turns.step(outage), [], "nothing can be taken: no turn ends");
}

#[test]
fn a_turn_that_kafka_interrupted_goes_on_as_soon_as_there_is_a_place() {
    let (mut turns, now) = (turns(1), Instant::now());
    turns.join(Slot(0), 0, 100, now);
    turns.join(Slot(1), 0, 0, now);
    turns.took(Slot(0), 40, 40, now);
    let quiet = now + QUIET_AFTERWARDS;
    assert_eq!(turns.step(quiet), [Change::End(Slot(0))]);
    turns.finished(Slot(0), quiet);
    assert_eq!(turns.step(quiet), [Change::Begin(Slot(0))]);
    let empty = quiet + QUIET_AT_FIRST;
    assert_eq!(turns.step(empty), [Change::End(Slot(0))]);
    turns.finished(Slot(0), empty);
    assert_eq!(
        turns.step(empty),
        [],
        "nothing came: it isn't asked at once"
    );
}

#[test]
fn turns_that_give_nothing_become_rare_until_the_log_grows() {
    let (mut turns, mut now) = (turns(1), Instant::now());
    turns.join(Slot(0), 9, 10, now);
    turns.join(Slot(1), 0, 0, now);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        now += QUIET_AT_FIRST;
        assert_eq!(turns.step(now), [Change::End(Slot(0))]);
        turns.finished(Slot(0), now);
        assert_eq!(turns.num_waiting(), 0, "it isn't shown as overdue");
        let again = turns.deadline().expect("it is tried again");
        pauses.push((again - now).as_secs() / AGE.as_secs());
        now = again;
        assert_eq!(turns.step(now), [Change::Begin(Slot(0))]);
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 32, 32, 32]);
    now += QUIET_AT_FIRST;
    turns.step(now);
    turns.finished(Slot(0), now);
    turns.observe(Slot(0), 11, now);
    assert_eq!(turns.step(now), [Change::Begin(Slot(0))]);
}

#[test]
fn when_partitions_leave_the_rest_read_on_without_turns() {
    let (mut turns, now) = (turns(1), Instant::now());
    turns.join(Slot(0), 0, 10, now);
    turns.join(Slot(1), 0, 0, now);
    turns.leave(Slot(0));
    assert_eq!(turns.step(now), [Change::Begin(Slot(1))]);
}

#[test]
fn who_waits_says_for_what_and_when_it_ends() {
    let (mut turns, start) = (turns(1), Instant::now());
    let clock = Clock::new(start, 1_767_225_600_000);
    let why = |turns: &Turns, slot, at| turns.why_waiting(Slot(slot), at, &clock);
    let said = |what: &str| {
        let turn = "waits for its turn: 1 of 2 partitions has files open at a time";
        Some(format!("{turn}; {what}"))
    };
    turns.join(Slot(0), 0, 10, start);
    assert_eq!(why(&turns, 0, start), None, "it is read");
    turns.join(Slot(1), 10, 10, start);
    assert_eq!(why(&turns, 1, start), said("nothing is left to read"));
    turns.observe(Slot(1), 30, secs(start, 5));
    let due =
        "due since 2026-01-01T00:00:05Z, it begins when another has closed and committed its files";
    assert_eq!(
        why(&turns, 1, secs(start, 5)),
        said(due),
        "its size isn't known yet"
    );
    assert_eq!(
        why(&turns, 1, secs(start, 9)),
        said(due),
        "the words stay as they are"
    );

    turns.took(Slot(0), 10, 100, start);
    assert_eq!(turns.step(start), [Change::End(Slot(0))]);
    let closing = "its turn is over: its files are being closed and committed";
    assert_eq!(why(&turns, 0, start).as_deref(), Some(closing));
    turns.finished(Slot(0), start);
    turns.observe(Slot(0), 12, secs(start, 20));
    let trickle = said("due at 2026-01-01T00:01:20Z, or when a file's worth waits");
    assert_eq!(why(&turns, 0, secs(start, 20)), trickle);
    assert_eq!(why(&turns, 0, secs(start, 79)), trickle);

    // Its turn gives nothing, though the log goes on: a marker, perhaps.
    let mut now = secs(start, 20);
    assert_eq!(turns.step(now), [Change::Begin(Slot(1))]);
    now += QUIET_AT_FIRST;
    assert_eq!(turns.step(now), [Change::End(Slot(1))]);
    turns.finished(Slot(1), now);
    let again = said(
        "its last turn brought nothing, so it is due at 2026-01-01T00:02:23Z, or when its log grows",
    );
    assert_eq!(why(&turns, 1, now), again);
    turns.leave(Slot(0));
    assert_eq!(why(&turns, 1, now), None, "there is a place for everybody");
    assert_eq!(why(&turns, 7, now), None, "nobody");
}

#[derive(Debug, Clone)]
enum Event {
    Join(usize),
    Leave(usize),
    Produce(usize, i64),
    Read(usize, i64),
    Full(usize),
    Commit(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let slot = 0..8usize;
    prop_oneof![
        slot.clone().prop_map(Event::Join),
        slot.clone().prop_map(Event::Leave),
        (slot.clone(), 1..50i64).prop_map(|(s, n)| Event::Produce(s, n)),
        (slot.clone(), 1..50i64).prop_map(|(s, n)| Event::Read(s, n)),
        slot.clone().prop_map(Event::Full),
        slot.prop_map(Event::Commit),
        (0..5_000u64).prop_map(Event::Pass),
    ]
}

/// What a worker sees of it: who reads, who closes, where everybody is.
struct World {
    turns: Turns,
    now: Instant,
    open: BTreeSet<usize>,
    logs: BTreeMap<usize, (i64, i64)>,
}

impl World {
    fn new(places: usize, closing: usize) -> Self {
        World {
            turns: turns_with(places, closing),
            now: Instant::now(),
            open: BTreeSet::new(),
            logs: BTreeMap::new(),
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Join(s) if !self.logs.contains_key(&s) => {
                self.logs.insert(s, (0, 10));
                if self.turns.join(Slot(s), 0, 10, self.now) {
                    self.open.insert(s);
                }
            }
            Event::Leave(s) => {
                self.turns.leave(Slot(s));
                self.open.remove(&s);
                self.logs.remove(&s);
            }
            Event::Produce(s, n) => {
                if let Some((_, end)) = self.logs.get_mut(&s) {
                    *end += n;
                    self.turns.observe(Slot(s), *end, self.now);
                }
            }
            Event::Read(s, n) if self.open.contains(&s) && !self.turns.is_closing(Slot(s)) => {
                if let Some((next, end)) = self.logs.get_mut(&s) {
                    let to = (*next + n).min(*end);
                    if to > *next {
                        self.turns.took(Slot(s), to, 10, self.now);
                        *next = to;
                    }
                }
            }
            Event::Full(s) => {
                self.turns.full(Slot(s));
            }
            Event::Commit(s) if self.turns.is_closing(Slot(s)) => {
                self.turns.finished(Slot(s), self.now);
                self.open.remove(&s);
            }
            Event::Pass(ms) => self.now += Duration::from_millis(ms),
            _ => {}
        }
        self.step();
    }

    fn step(&mut self) {
        for change in self.turns.step(self.now) {
            if let Change::Begin(slot) = change {
                assert!(self.open.insert(slot.0), "began twice");
            }
        }
    }
}

proptest! {
    #[test]
    fn never_more_open_than_places(
        places in 1..4usize, closing in 0..3usize, events in prop::collection::vec(event(), 1..200),
    ) {
        let mut world = World::new(places, closing);
        for event in events {
            world.apply(event);
            let reading = world.open.iter().filter(|s| world.turns.is_reading(Slot(**s)));
            prop_assert!(reading.count() <= places);
            prop_assert!(world.open.len() <= places + closing);
        }
    }

    #[test]
    fn everybody_gets_a_turn_and_everything_is_read(
        places in 1..4usize, closing in 0..3usize, events in prop::collection::vec(event(), 1..200),
    ) {
        let mut world = World::new(places, closing);
        for event in events {
            world.apply(event);
        }
        // Nothing new comes; whoever reads gets on, whoever closes is committed. One that produced a lot
        // all the while must not have pushed anybody aside for ever.
        for _ in 0..200 {
            for s in 0..8 {
                world.apply(Event::Read(s, i64::MAX / 2));
                world.apply(Event::Commit(s));
            }
            world.apply(Event::Pass(60_000));
        }
        for (slot, (next, end)) in &world.logs {
            prop_assert_eq!(next, end, "partition {} starves", slot);
        }
    }

    #[test]
    fn a_busy_neighbour_delays_a_trickle_no_longer_than_the_turns_before_it(
        others in 1..6usize,
    ) {
        let mut world = World::new(1, 0);
        for s in 0..=others {
            world.apply(Event::Join(s));
        }
        let mut rounds = 0;
        while world.logs[&others].0 < 10 {
            for s in 0..others {
                world.apply(Event::Produce(s, 1_000_000));
            }
            for s in 0..=others {
                world.apply(Event::Read(s, i64::MAX / 2));
                world.apply(Event::Full(s));
                world.apply(Event::Commit(s));
            }
            world.apply(Event::Pass(1_000));
            rounds += 1;
            prop_assert!(rounds <= 2 * others + 2);
        }
    }
}
