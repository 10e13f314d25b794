//! Membership: each assignor, members that come, go and die, groups that mix assignors, static members.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outflow::config::settings::{Assignor, GroupProtocol, KafkaSettings, Property};
use outflow::error::Kind;
use outflow::pipeline::source::Source as _;

use testbed::guard::TestDir;

use super::member::{Member, settings, until};
use super::{alone, range, turn};

/// Long enough that a test which waits for it fails.
const LONG_SESSION: &str = "120000";

fn with(mut settings: KafkaSettings, assignor: Assignor, session: &str) -> KafkaSettings {
    settings.assignor = assignor;
    settings
        .properties
        .insert("session.timeout.ms".into(), Property::Plain(session.into()));
    settings
}

/// As on another machine: a lock in another folder doesn't keep it out.
fn elsewhere(settings: &KafkaSettings) -> (KafkaSettings, TestDir) {
    let dir = TestDir::new("instance-lock").expect("a folder");
    let mut settings = settings.clone();
    settings.state_dir = Some(dir.path().to_owned());
    (settings, dir)
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

#[test]
fn a_member_with_another_assignor_says_whose_stands_in_the_way_and_joins_once_they_are_gone() {
    let t = turn();
    t.topic("mixed", 4);
    let settings = settings(&t.kafka.bootstrap(), "mixed", "mixed");
    let old = with(settings.clone(), Assignor::Range, LONG_SESSION);
    let new = with(settings, Assignor::CooperativeSticky, LONG_SESSION);
    let mut a = Member::join(&old);
    a.until("assigned", |m| m.assigned.len() == 4);
    let mut b = Member::join(&new);
    until(&mut [&mut a, &mut b], "it is said", |m| {
        m[1].troubles.iter().any(Option::is_some)
    });
    let trouble = b.troubles[0].clone().expect("a trouble");
    assert_eq!(trouble.kind, Kind::Misconfigured);
    for part in [
        "range",
        "cooperative-sticky",
        "outflow-test-0",
        "127.0.0.1",
        "group_protocol = \"consumer\"",
    ] {
        assert!(trouble.what.contains(part), "{part} isn't in {trouble}");
    }
    // Refused again and again, it neither says so again nor disturbs the others.
    for _ in 0..3 {
        a.settle();
        b.turn();
    }
    assert_eq!(b.troubles.len(), 1, "{:?}", b.troubles);
    assert!(a.revoked.is_empty() && a.num_lost == 0);
    assert!(a.source.close(Duration::from_secs(20)));
    b.until("it joins by itself", |m| m.assigned.len() == 4);
    b.until("it is well", |m| matches!(m.troubles.last(), Some(None)));
}

#[test]
fn a_group_changes_its_assignor_without_a_stop_by_way_of_the_consumer_protocol() {
    let t = turn();
    t.topic("rolled", 4);
    let mut produced = 0;
    let mut more = || {
        (0..4).for_each(|p| t.produce("rolled", p, produced, 100));
        produced += 100;
    };
    let settings = settings(&t.kafka.bootstrap(), "rolled", "rolled");
    let range = with(settings.clone(), Assignor::Range, LONG_SESSION);
    let mut consumer = settings.clone();
    consumer.group_protocol = GroupProtocol::Consumer;
    let sticky = with(settings, Assignor::CooperativeSticky, LONG_SESSION);
    more();
    let (mut a, mut b) = (Member::join(&range), Member::join(&range));
    let mut seen = Vec::new();
    let two_each = |m: &[&mut Member]| m.iter().all(|m| m.assigned.len() == 2);
    until(&mut [&mut a, &mut b], "two each", two_each);
    for settings in [&consumer, &sticky] {
        for first in [true, false] {
            let leaving = if first { &mut a } else { &mut b };
            let number = leaving.commit();
            leaving.until("committed", |m| m.is_answered(number));
            assert!(leaving.source.close(Duration::from_secs(20)));
            seen.append(&mut leaving.seen);
            *leaving = Member::join(settings);
            more();
            until(&mut [&mut a, &mut b], "two each again", two_each);
        }
    }
    until(&mut [&mut a, &mut b], "all arrived", |m| {
        let all = m.iter().flat_map(|m| &m.seen).chain(&seen);
        let all: BTreeSet<_> = all.map(|s| (s.partition, s.offset)).collect();
        all.len() == 4 * 500
    });
    for member in [&a, &b] {
        assert!(member.troubles.is_empty(), "{:?}", member.troubles);
        assert_eq!(member.num_lost, 0);
    }
}

#[test]
fn a_static_member_whose_id_another_takes_ends_and_says_who_has_it() {
    let t = turn();
    t.topic("fenced", 2);
    let mut settings = settings(&t.kafka.bootstrap(), "fenced", "fenced");
    settings.group_instance_id = Some("pod-0".into());
    let settings = with(settings, Assignor::CooperativeSticky, LONG_SESSION);
    let (there, _dir) = elsewhere(&settings);
    let mut a = Member::join(&settings);
    a.may_end = true;
    a.until("assigned", |m| m.assigned.len() == 2);
    let here = outflow::kafka::KafkaSource::new(&settings, "test", 0, 8 << 20);
    let refused = here.err().expect("this machine's lock");
    assert!(refused.what.contains("pid"), "{refused}");

    let mut b = Member::join(&there);
    until(&mut [&mut a, &mut b], "the first is fenced", |m| {
        m[0].fatal.is_some() && m[1].assigned.len() == 2
    });
    let why = a.fatal.clone().expect("a reason");
    assert_eq!(why.kind, Kind::Fenced, "final: {why}");
    for part in ["pod-0", "outflow-test-0", "127.0.0.1"] {
        assert!(why.what.contains(part), "{part} isn't in {why}");
    }
    assert_eq!(b.num_lost, 0);
}

#[test]
fn under_the_consumer_protocol_an_id_that_is_held_is_said_and_taken_once_it_is_free() {
    let t = turn();
    t.topic("unreleased", 2);
    let mut settings = settings(&t.kafka.bootstrap(), "unreleased", "unreleased");
    settings.group_instance_id = Some("pod-0".into());
    settings.group_protocol = GroupProtocol::Consumer;
    let (there, _dir) = elsewhere(&settings);
    let mut a = Member::join(&settings);
    a.until("assigned", |m| m.assigned.len() == 2);
    let mut b = Member::join(&there);
    b.may_end = true;
    until(&mut [&mut a, &mut b], "the second can't join", |m| {
        m[1].fatal.is_some()
    });
    let why = b.fatal.clone().expect("a reason");
    assert_eq!(why.kind, Kind::Unavailable, "to be tried again: {why}");
    for part in ["pod-0", "hasn't left", "outflow-test-0", "127.0.0.1"] {
        assert!(why.what.contains(part), "{part} isn't in {why}");
    }
    assert!(a.revoked.is_empty() && a.num_lost == 0, "untouched");
    assert!(a.source.close(Duration::from_secs(20)));
    drop(b);
    let (there, _dir) = elsewhere(&settings);
    let mut b = Member::join(&there);
    b.until("it has the id", |m| m.assigned.len() == 2);
}

#[test]
fn a_member_too_many_is_idle_and_knows_why_and_what_stood_still_is_told() {
    let t = turn();
    t.topic("idle-member", 1);
    t.produce("idle-member", 0, 0, 10);
    let settings = settings(&t.kafka.bootstrap(), "idle-member", "idle-member");
    let settings = with(settings, Assignor::Range, LONG_SESSION);
    let mut a = Member::join(&settings);
    a.until("read", |m| m.seen.len() == 10);
    let mut b = Member::join(&settings);
    let (mut idle, mut still) = (String::new(), Vec::new());
    until(&mut [&mut a, &mut b], "one is idle, one reads again", |m| {
        for member in [0, 1] {
            // Which of the two the assignor chooses is chance.
            if m[member].assigned.is_empty() {
                idle = m[member].idle.clone().unwrap_or_default();
            }
            still.extend(m[member].stood_still.clone());
        }
        idle.contains("members (2) than partitions (1)")
    });
    assert!(a.troubles.is_empty() && b.troubles.is_empty(), "no error");
    if b.assigned.is_empty() {
        assert!(!still.is_empty(), "the first reads it again");
    }
}

#[test]
fn a_broker_that_freezes_while_the_group_is_asked_about_and_comes_back_ends_nobody() {
    let t = alone();
    t.topic("asked", 2);
    let settings = settings(&t.kafka.bootstrap(), "asked", "asked");
    let settings = with(settings, Assignor::CooperativeSticky, LONG_SESSION);
    let mut m = Member::join(&settings);
    m.until("assigned", |m| m.assigned.len() == 2);
    // Whoever asks gives up before the first trouble is said.
    t.kafka.freeze().expect("frozen");
    m.until("it is said", |m| m.troubles.iter().any(Option::is_some));
    t.kafka.thaw().expect("thawed");
    t.produce("asked", 0, 0, 10);
    m.until("it goes on", |m| {
        m.seen.len() == 10 && matches!(m.troubles.last(), Some(None))
    });
    assert!(m.source.close(Duration::from_secs(20)));
}

/// A client that was told of the end of a partition would, paused by a rebalance, go on behind it.
#[test]
fn who_keeps_partitions_in_a_rebalance_reads_on_without_a_break_or_a_gap() {
    let t = turn();
    t.topic("keeps", 4);
    (0..4).for_each(|p| t.produce("keeps", p, 0, 10));
    let mut a = t.member("keeps", "keeps");
    a.until("all are read to their ends", |m| m.seen.len() == 40);
    a.settle();
    let mut b = t.member("keeps", "keeps");
    until(&mut [&mut a, &mut b], "two each", |m| {
        m.iter().all(|m| m.assigned.len() == 2)
    });
    (0..4).for_each(|p| t.produce("keeps", p, 10, 10));
    until(&mut [&mut a, &mut b], "all have arrived", |m| {
        m[0].seen.len() + m[1].seen.len() >= 80
    });
    let kept: Vec<i32> = a.assigned.clone();
    for partition in kept {
        assert_eq!(a.offsets(partition), range(0, 20), "{partition}");
    }
    assert_eq!(a.broken, [], "the client broke what it was to keep");
}
