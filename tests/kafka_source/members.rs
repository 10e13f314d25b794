//! Membership: each assignor, members that come, go and die, groups that mix assignors, static members.

use std::collections::BTreeMap;
use std::time::Duration;

use outflow::config::settings::{Assignor, KafkaSettings, Property};
use outflow::pipeline::source::Source as _;

use super::member::{Member, settings, until};
use super::turn;

/// Long enough that a test which waits for it fails.
const LONG_SESSION: &str = "120000";

fn with(mut settings: KafkaSettings, assignor: Assignor, session: &str) -> KafkaSettings {
    settings.assignor = assignor;
    settings
        .properties
        .insert("session.timeout.ms".into(), Property::Plain(session.into()));
    settings
}

/// How often each record was delivered, over all members.
fn deliveries(members: &[&mut Member]) -> BTreeMap<(i32, i64), usize> {
    let mut times = BTreeMap::new();
    for seen in members.iter().flat_map(|m| &m.seen) {
        *times.entry((seen.partition, seen.offset)).or_default() += 1;
    }
    times
}

fn all_arrived(members: &[&mut Member], partitions: i32, end: usize) -> bool {
    deliveries(members).len() == partitions as usize * end
}

#[test]
fn eager_members_share_partitions_and_nothing_is_lost_or_doubled() {
    let t = turn();
    for assignor in [Assignor::Range, Assignor::RoundRobin] {
        let topic = format!("eager-{}", assignor.name());
        t.topic(&topic, 6);
        let mut produced = 0;
        let mut more = || {
            (0..6).for_each(|p| t.produce(&topic, p, produced, 500));
            produced += 500;
        };
        more();
        let settings = settings(&t.kafka.bootstrap(), &topic, &topic);
        let settings = with(settings, assignor, LONG_SESSION);
        let mut a = Member::join(&settings);
        until(&mut [&mut a], "the first reads all", |m| {
            all_arrived(m, 6, 500)
        });
        let mut b = Member::join(&settings);
        until(&mut [&mut a, &mut b], "three each", |m| {
            m.iter().all(|m| m.assigned.len() == 3)
        });
        assert_eq!(a.revoked.len(), 6, "everything is revoked: it is eager");
        let mut of_b = b.assigned.clone();
        of_b.sort_unstable();
        match assignor {
            Assignor::Range => assert!(of_b == [0, 1, 2] || of_b == [3, 4, 5], "{of_b:?}"),
            _ => assert!(of_b == [0, 2, 4] || of_b == [1, 3, 5], "{of_b:?}"),
        }
        more();
        until(&mut [&mut a, &mut b], "all arrived", |m| {
            all_arrived(m, 6, 1_000)
        });
        let number = b.commit();
        b.until("committed", |m| m.is_answered(number));
        assert!(b.source.close(Duration::from_secs(20)), "b leaves");
        let gone = std::mem::take(&mut b.seen);
        more();
        a.seen.extend(gone);
        until(&mut [&mut a], "the first has all again", |m| {
            m[0].assigned.len() == 6 && all_arrived(m, 6, 1_500)
        });
        assert_eq!(a.num_lost + b.num_lost, 0, "nobody lost anything");
        let doubled = deliveries(&[&mut a]).values().filter(|n| **n > 1).count();
        assert_eq!(doubled, 0, "{doubled} records came twice: {assignor:?}");
        assert!(a.broken.is_empty(), "{:?}", a.broken);
        assert!(a.source.close(Duration::from_secs(20)));
    }
}

#[test]
fn under_an_eager_assignor_starting_and_stopping_neither_loses_nor_stalls_nor_doubles() {
    let t = turn();
    t.topic("eager-restless", 4);
    for partition in 0..4 {
        t.produce("eager-restless", partition, 0, 5_000);
    }
    let settings = settings(&t.kafka.bootstrap(), "eager-restless", "eager-restless");
    let mut m = Member::join(&with(settings, Assignor::Range, LONG_SESSION));
    m.starts = false;
    m.until("all are located", |m| m.located.len() == 4);
    (0..4).for_each(|p| m.start(p, 0));
    let mut restarts = 0;
    while (0..4).any(|p| m.offsets(p).len() < 5_000) {
        let before = m.seen.len();
        m.until("records come", |m| m.seen.len() > before);
        let partition = restarts % 4;
        let next = m.offsets(partition).last().map_or(0, |last| last + 1);
        m.stop(partition);
        m.turn();
        let end = m.offsets(partition).last().map_or(0, |last| last + 1);
        assert_eq!(end, next, "something came after the stop");
        m.start(partition, next);
        restarts += 1;
    }
    for partition in 0..4 {
        let expected: Vec<i64> = (0..5_000).collect();
        assert_eq!(m.offsets(partition), expected, "partition {partition}");
    }
    assert!(restarts > 4, "only {restarts} restarts");
    assert!(m.source.close(Duration::from_secs(20)));
}

#[test]
fn the_others_get_what_an_eager_member_held_that_went_silent() {
    let t = turn();
    t.topic("eager-silent", 4);
    (0..4).for_each(|p| t.produce("eager-silent", p, 0, 100));
    let settings = settings(&t.kafka.bootstrap(), "eager-silent", "eager-silent");
    let mut settings = with(settings, Assignor::RoundRobin, "6000");
    // A silent member is thrown out by its own client, as a dead one is by the broker.
    let longest = (
        "max.poll.interval.ms".into(),
        Property::Plain("6000".into()),
    );
    settings.properties.extend([longest]);
    let mut silent = Member::join(&settings);
    let mut heir = Member::join(&settings);
    until(&mut [&mut silent, &mut heir], "two each, read", |m| {
        m.iter().all(|m| m.assigned.len() == 2) && all_arrived(m, 4, 100)
    });
    let number = silent.commit();
    silent.until("committed", |m| m.is_answered(number));
    let seen_before = std::mem::take(&mut silent.seen);
    heir.seen.extend(seen_before);
    until(&mut [&mut heir], "the heir has all", |m| {
        m[0].assigned.len() == 4
    });
    (0..4).for_each(|p| t.produce("eager-silent", p, 100, 100));
    until(&mut [&mut heir], "all arrived", |m| all_arrived(m, 4, 200));
    let doubled = deliveries(&[&mut heir])
        .values()
        .filter(|n| **n > 1)
        .count();
    assert_eq!(doubled, 0, "{doubled} records came twice");
    // Awake again it is told that it lost its partitions, and gets its share.
    until(&mut [&mut silent, &mut heir], "two each again", |m| {
        m[0].num_lost == 1 && m.iter().all(|m| m.assigned.len() == 2)
    });
}

#[test]
fn an_eager_revoke_waits_until_all_is_released() {
    let t = turn();
    t.topic("eager-drain", 4);
    (0..4).for_each(|p| t.produce("eager-drain", p, 0, 10));
    let settings = settings(&t.kafka.bootstrap(), "eager-drain", "eager-drain");
    let settings = with(settings, Assignor::Range, LONG_SESSION);
    let mut a = Member::join(&settings);
    a.releases = false;
    a.until("all are read", |m| m.seen.len() == 40);
    let mut b = Member::join(&settings);
    until(&mut [&mut a, &mut b], "a revoke", |m| {
        m[0].revoked.len() == 4
    });
    for partition in 0..4 {
        a.stop(partition);
        a.settle();
        assert!(b.assigned.is_empty(), "not all is released yet");
        a.release(&[partition]);
    }
    until(&mut [&mut a, &mut b], "two each", |m| {
        m.iter().all(|m| m.assigned.len() == 2)
    });
}
