//! Step tables, and what holds whatever happens.

use proptest::prelude::*;

use super::*;

const PATIENCE: Patience = Patience {
    open_after: Duration::from_secs(30),
    close_after: Duration::from_secs(60),
    repeat: Some(Duration::from_secs(3_600)),
};

fn group(name: &str) -> GroupId {
    GroupId {
        cluster: "local".into(),
        group: name.into(),
    }
}

/// A notifier's incidents; ids count up.
struct Steps {
    incidents: Incidents,
    num_ids: u32,
}

impl Steps {
    fn new(patience: Patience) -> Self {
        Steps {
            incidents: Incidents::new(patience),
            num_ids: 0,
        }
    }

    fn see_group(&mut self, name: &str, s: i64, level: Level) -> Option<Told> {
        let num_ids = &mut self.num_ids;
        self.incidents.see(&group(name), level, s * 1_000, || {
            *num_ids += 1;
            num_ids.to_string()
        })
    }

    /// What is told at this second: event, id, second of the start.
    fn see(&mut self, s: i64, level: Level) -> Option<(Event, String, i64)> {
        let told = self.see_group("g", s, level)?;
        Some((told.event, told.id, told.start_ms / 1_000))
    }
}

fn told(event: Event, id: &str, start: i64) -> Option<(Event, String, i64)> {
    Some((event, id.into(), start))
}

#[test]
fn it_opens_after_a_while_is_repeated_and_closes_after_a_while() {
    let mut steps = Steps::new(PATIENCE);
    assert_eq!(steps.see(0, Level::Ok), None);
    assert_eq!(steps.see(10, Level::Err), None);
    assert_eq!(steps.see(39, Level::Err), None);
    assert_eq!(steps.see(40, Level::Err), told(Event::Open, "1", 10));
    assert_eq!(steps.see(41, Level::Err), None);
    assert_eq!(steps.see(3_639, Level::Err), None);
    assert_eq!(steps.see(3_640, Level::Err), told(Event::Repeat, "1", 10));
    assert_eq!(steps.see(3_641, Level::Err), None);
    assert_eq!(steps.see(4_000, Level::Ok), None);
    assert_eq!(steps.incidents.num_open(), 1);
    assert_eq!(steps.see(4_060, Level::Ok), told(Event::Close, "1", 10));
    assert_eq!(steps.see(4_061, Level::Ok), None);
    assert_eq!(steps.incidents.num_open(), 0);
    assert_eq!(steps.see(5_000, Level::Warn), None);
    assert_eq!(steps.see(5_030, Level::Warn), told(Event::Open, "2", 5_000));
}

#[test]
fn what_flaps_is_one_incident_and_what_is_short_is_none() {
    let mut steps = Steps::new(PATIENCE);
    for s in 0..100 {
        let level = if s % 20 < 15 { Level::Err } else { Level::Ok };
        assert_eq!(steps.see(s, level), None, "never 30 s in one go");
    }
    steps.see(200, Level::Err);
    assert!(steps.see(230, Level::Err).is_some());
    for s in 231..1_000 {
        let level = if s % 60 < 10 { Level::Err } else { Level::Ok };
        assert_eq!(steps.see(s, level), None, "never well for a minute");
    }
}

#[test]
fn what_gets_worse_is_told_at_once_and_only_once() {
    let mut steps = Steps::new(PATIENCE);
    steps.see(0, Level::Warn);
    assert_eq!(steps.see(30, Level::Warn), told(Event::Open, "1", 0));
    assert_eq!(steps.see(40, Level::Err), told(Event::Repeat, "1", 0));
    assert_eq!(steps.see(50, Level::Warn), None);
    assert_eq!(steps.see(60, Level::Err), None);
    assert_eq!(steps.see(3_640, Level::Err), told(Event::Repeat, "1", 0));
}

#[test]
fn without_patience_it_is_told_when_it_is_seen_and_never_again() {
    let mut steps = Steps::new(Patience {
        open_after: Duration::ZERO,
        close_after: Duration::ZERO,
        repeat: None,
    });
    assert_eq!(steps.see(0, Level::Err), told(Event::Open, "1", 0));
    assert_eq!(steps.see(1_000_000, Level::Err), None);
    assert_eq!(steps.see(1_000_001, Level::Ok), told(Event::Close, "1", 0));
}

#[test]
fn while_a_cluster_isnt_seen_nothing_is_told_of_it_and_waiting_begins_anew() {
    let mut steps = Steps::new(PATIENCE);
    steps.see(0, Level::Err);
    steps.incidents.blind("local");
    assert_eq!(steps.see(40, Level::Err), None);
    assert_eq!(steps.see(70, Level::Err), told(Event::Open, "1", 40));
    steps.see(80, Level::Ok);
    steps.incidents.blind("local");
    assert_eq!(steps.see(200, Level::Ok), None, "it stays open");
    steps.incidents.blind("another");
    assert_eq!(steps.see(260, Level::Ok), told(Event::Close, "1", 40));
}

#[test]
fn groups_are_told_of_by_themselves() {
    let mut steps = Steps::new(PATIENCE);
    steps.see_group("a", 0, Level::Err);
    steps.see_group("b", 10, Level::Err);
    assert!(steps.see_group("a", 30, Level::Err).is_some());
    assert!(steps.see_group("b", 30, Level::Err).is_none());
    let names: Vec<_> = steps.incidents.of_cluster("local").collect();
    assert_eq!(names, [&group("a"), &group("b")]);
    assert_eq!(steps.incidents.of_cluster("other").count(), 0);
}

/// A step: seconds that pass, which group, and what is seen; nothing for a cluster that can't be seen.
fn steps() -> impl Strategy<Value = Vec<(i64, usize, Option<Level>)>> {
    let level = prop_oneof![
        3 => Just(Some(Level::Ok)),
        2 => Just(Some(Level::Warn)),
        3 => Just(Some(Level::Err)),
        1 => Just(None),
    ];
    prop::collection::vec((0_i64..50, 0_usize..2, level), 0..200)
}

proptest! {
    /// Whatever happens: an id is opened once, first, and closed at most once, last; a group has at most one open; it was bad
    /// for long enough when it opened and well for long enough when it closed; repeats keep their distance unless it got worse;
    /// and well for ever closes everything.
    #[test]
    fn every_incident_opens_once_and_closes_at_most_once(seen in steps()) {
        let names = ["a", "b"];
        let mut steps = Steps::new(PATIENCE);
        let mut open: [Option<(String, i64, Level)>; 2] = [None, None];
        let mut closed = std::collections::BTreeSet::new();
        let mut run: [(Option<i64>, Option<i64>); 2] = [(None, None); 2];
        let mut now = 0;
        for (pass, which, level) in seen.into_iter().chain([(1, 0, Some(Level::Ok)), (0, 1, Some(Level::Ok)), (60, 0, Some(Level::Ok)), (0, 1, Some(Level::Ok))]) {
            now += pass;
            let Some(level) = level else {
                steps.incidents.blind("local");
                run = [(None, None); 2];
                continue;
            };
            let (bad, well) = &mut run[which];
            if level == Level::Ok {
                (*bad, *well) = (None, Some(well.unwrap_or(now)));
            } else {
                (*bad, *well) = (Some(bad.unwrap_or(now)), None);
            }
            let Some(told) = steps.see_group(names[which], now, level) else { continue };
            prop_assert!(!closed.contains(&told.id), "nothing after its close");
            match told.event {
                Event::Open => {
                    prop_assert!(open[which].is_none());
                    prop_assert!(now - bad.expect("bad") >= 30);
                    prop_assert_eq!(told.start_ms / 1_000, bad.expect("bad"));
                    open[which] = Some((told.id, now, level));
                }
                Event::Repeat => {
                    let (id, last, worst) = open[which].clone().expect("open");
                    prop_assert_eq!(&id, &told.id);
                    prop_assert!(level > worst || now - last >= 3_600);
                    open[which] = Some((id, now, level.max(worst)));
                }
                Event::Close => {
                    let (id, ..) = open[which].take().expect("open");
                    prop_assert_eq!(&id, &told.id);
                    prop_assert!(now - well.expect("well") >= 60);
                    closed.insert(id);
                }
            }
        }
        prop_assert_eq!(steps.incidents.num_open(), 0);
        prop_assert_eq!(closed.len(), steps.num_ids as usize);
    }
}
