//! The pipeline's source on a real broker: what it delivers, when it stops, how it shares partitions, where it
//! begins, and how it ends.

#[path = "kafka_source/assigned.rs"]
mod assigned;
#[path = "kafka_source/commits.rs"]
mod commits;
#[path = "kafka_source/dead_letters.rs"]
mod dead_letters;
#[path = "kafka_source/leader_epochs.rs"]
mod leader_epochs;
#[path = "kafka_source/member.rs"]
mod member;
#[path = "kafka_source/members.rs"]
mod members;
#[path = "kafka_source/positions.rs"]
mod positions;
#[path = "kafka_source/reader.rs"]
mod reader;

use std::collections::BTreeSet;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use member::{Member, settings, until};
use outflow::config::settings::{GroupProtocol, OffsetReset};
use outflow::error::Kind;
use outflow::pipeline::source::{Broken, Source};
use testbed::{Kafka, KafkaClient, KafkaOptions, Outgoing, Producer};

/// One broker for this binary's tests: each has topics and groups of its own, and those that break the broker, or
/// give it much to do, have it alone.
struct Turn {
    kafka: &'static Kafka,
    alone: Option<RwLockWriteGuard<'static, ()>>,
    _together: Option<RwLockReadGuard<'static, ()>>,
}

impl Turn {
    fn client(&self) -> KafkaClient {
        self.kafka.client()
    }

    fn topic(&self, topic: &str, partitions: usize) {
        self.client()
            // The records' timestamps are old.
            .create_topic(topic, partitions, &[("retention.ms", "-1")])
            .expect("a topic");
    }

    /// Records `first..first + num` into one partition; their values are their numbers.
    fn produce(&self, topic: &str, partition: i32, first: usize, num: usize) {
        let producer = Producer::new(&self.kafka.bootstrap()).expect("a producer");
        for n in first..first + num {
            let record = Outgoing {
                partition: Some(partition),
                key: Some(b"key".to_vec()),
                value: Some(n.to_string().into_bytes()),
                headers: Vec::new(),
                timestamp_ms: Some(1_700_000_000_000 + n as i64),
            };
            producer.send(topic, &record).expect("sent");
        }
        producer.flush().expect("flushed");
    }

    fn member(&self, topic: &str, group: &str) -> Member {
        Member::join(&settings(&self.kafka.bootstrap(), topic, group))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.alone.is_some() {
            let _ = self.kafka.heal();
        }
    }
}

static TURN: RwLock<()> = RwLock::new(());

fn broker() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start(&KafkaOptions::default()).expect("Kafka starts"))
}

/// The broker, beside other tests.
fn turn() -> Turn {
    let together = TURN.read().unwrap_or_else(PoisonError::into_inner);
    Turn {
        kafka: broker(),
        alone: None,
        _together: Some(together),
    }
}

/// The broker for this test alone, which may break it.
fn alone() -> Turn {
    let alone = TURN.write().unwrap_or_else(PoisonError::into_inner);
    Turn {
        kafka: broker(),
        alone: Some(alone),
        _together: None,
    }
}

fn range(first: i64, end: i64) -> Vec<i64> {
    (first..end).collect()
}

#[test]
fn a_partition_is_delivered_between_start_and_stop() {
    let t = turn();
    t.topic("start-stop", 2);
    t.produce("start-stop", 0, 0, 100);
    t.produce("start-stop", 1, 0, 100);
    let mut m = t.member("start-stop", "start-stop");
    m.starts = false;
    m.until("both are located", |m| m.located.len() == 2);
    assert!(m.seen.is_empty(), "nothing is delivered before a start");

    m.start(0, 10);
    m.until("the first is read", |m| m.seen.len() == 90);
    assert_eq!(m.offsets(0), range(10, 100));
    assert_eq!(m.seen[0].value.as_deref(), Some(&b"10"[..]));
    assert_eq!(m.seen[0].timestamp_ms, Some(1_700_000_000_010));
    assert!(m.seen[0].leader_epoch >= 0, "the leader epoch is known");
    assert_eq!(m.source.log_end(&m.id(0)), Some(100));

    m.stop(0);
    t.produce("start-stop", 0, 100, 50);
    m.start(1, 0);
    m.until("the other is read", |m| m.offsets(1).len() == 100);
    m.settle();
    assert_eq!(m.offsets(0), range(10, 100), "nothing after the stop");
    m.until("the log end is seen though nobody reads", |m| {
        m.source.log_end(&m.id(0)) == Some(150)
    });

    m.start(0, 140);
    m.until("it goes on elsewhere", |m| m.offsets(0).len() == 100);
    assert_eq!(m.offsets(0)[90..], range(140, 150));
    assert!(m.source.close(Duration::from_secs(20)));
}

#[test]
fn starting_and_stopping_all_the_time_neither_loses_nor_stalls_nor_doubles() {
    let t = turn();
    t.topic("restless", 4);
    for partition in 0..4 {
        t.produce("restless", partition, 0, 20_000);
    }
    let mut m = t.member("restless", "restless");
    m.starts = false;
    m.until("all are located", |m| m.located.len() == 4);
    (0..4).for_each(|p| m.start(p, 0));
    let mut restarts = 0;
    m.until("all is read", |_| true);
    while (0..4).any(|p| m.offsets(p).len() < 20_000) {
        let before = m.seen.len();
        m.until("records come", |m| m.seen.len() > before);
        // Each in turn goes on where it is: sometimes at once, sometimes after others were served.
        let partition = restarts % 4;
        let next = m.offsets(partition).last().map_or(0, |last| last + 1);
        m.stop(partition);
        if restarts % 3 == 0 {
            m.turn();
        }
        let end = m.offsets(partition).last().map_or(0, |last| last + 1);
        assert_eq!(end, next, "something came after the stop");
        m.start(partition, next);
        restarts += 1;
    }
    for partition in 0..4 {
        assert_eq!(
            m.offsets(partition),
            range(0, 20_000),
            "partition {partition}"
        );
    }
    assert!(
        restarts > 20,
        "only {restarts} restarts: the test didn't test"
    );
    assert!(m.source.close(Duration::from_secs(20)));
}

#[test]
fn null_and_empty_are_not_the_same() {
    let t = turn();
    t.topic("nulls", 1);
    let producer = Producer::new(&t.kafka.bootstrap()).expect("a producer");
    let cases: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"\xff\x00")];
    for bytes in cases {
        let record = Outgoing {
            partition: Some(0),
            key: bytes.map(<[u8]>::to_vec),
            value: bytes.map(<[u8]>::to_vec),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        producer.send("nulls", &record).expect("sent");
    }
    producer.flush().expect("flushed");
    let mut m = t.member("nulls", "nulls");
    m.until("all are read", |m| m.seen.len() == 3);
    for (seen, expected) in m.seen.iter().zip(cases) {
        assert_eq!(seen.key.as_deref(), expected);
        assert_eq!(seen.value.as_deref(), expected);
    }
}

#[test]
fn members_share_partitions_and_every_record_arrives() {
    let t = turn();
    t.topic("shared", 6);
    let mut a = t.member("shared", "shared");
    until(&mut [&mut a], "the first has all", |m| {
        m[0].assigned.len() == 6
    });
    let mut produced = 0;
    let mut more = || {
        (0..6).for_each(|p| t.produce("shared", p, produced, 500));
        produced += 500;
    };
    more();
    let mut b = t.member("shared", "shared");
    until(&mut [&mut a, &mut b], "three each", |m| {
        m.iter().all(|m| m.assigned.len() == 3)
    });
    assert_eq!(a.revoked.len(), 3, "only what moves is revoked");
    assert!(b.revoked.is_empty());
    more();
    let all = |members: &[&mut Member], end: i64| {
        let seen: BTreeSet<(i32, i64)> = members
            .iter()
            .flat_map(|m| m.seen.iter().map(|s| (s.partition, s.offset)))
            .collect();
        seen.len() == 6 * end as usize
    };
    until(&mut [&mut a, &mut b], "all arrived", |m| all(m, 1_000));
    let (na, nb) = (a.commit(), b.commit());
    until(&mut [&mut a, &mut b], "committed", |m| {
        m[0].is_answered(na) && m[1].is_answered(nb)
    });
    assert!(b.source.close(Duration::from_secs(20)), "b leaves");
    more();
    let b_saw = std::mem::take(&mut b.seen);
    until(&mut [&mut a], "the first has all again", |m| {
        m[0].assigned.len() == 6
    });
    a.seen.extend(b_saw.clone());
    until(&mut [&mut a], "all arrived", |m| all(m, 1_500));
    assert_eq!(a.num_lost + b.num_lost, 0, "nobody lost anything");
    // What b committed was taken over: nothing of it came again.
    let again = a.seen.len() - 6 * 1_500;
    assert_eq!(
        again, 0,
        "{again} records came twice though all was committed"
    );
    assert!(
        a.committed.iter().all(|(_, result)| result.is_ok()),
        "{:?}",
        a.committed
    );
}

#[test]
fn members_share_under_the_new_group_protocol_too() {
    let t = turn();
    t.topic("protocol", 4);
    (0..4).for_each(|p| t.produce("protocol", p, 0, 100));
    let mut settings = settings(&t.kafka.bootstrap(), "protocol", "protocol");
    settings.group_protocol = GroupProtocol::Consumer;
    let mut a = Member::join(&settings);
    a.until("the first reads all", |m| m.seen.len() == 400);
    let mut b = Member::join(&settings);
    until(&mut [&mut a, &mut b], "two each", |m| {
        m.iter().all(|m| m.assigned.len() == 2)
    });
    assert!(b.source.close(Duration::from_secs(20)), "b leaves");
    until(&mut [&mut a], "the first has all again", |m| {
        m[0].assigned.len() == 4
    });
    assert_eq!(a.num_lost + b.num_lost, 0);
}

#[test]
fn a_revoke_of_partitions_that_never_started_is_answered() {
    let t = turn();
    t.topic("idle", 4);
    let mut a = t.member("idle", "idle");
    (a.starts, a.releases) = (false, false);
    a.until("assigned", |m| m.assigned.len() == 4);
    let mut b = t.member("idle", "idle");
    until(&mut [&mut a, &mut b], "a revoke", |m| {
        !m[0].revoked.is_empty()
    });
    let revoked = a.revoked.clone();
    // One by one, as they are drained.
    for partition in &revoked {
        assert!(
            b.assigned.is_empty(),
            "the group waits for the whole answer"
        );
        a.release(&[*partition]);
    }
    until(&mut [&mut a, &mut b], "the other has them", |m| {
        m[1].assigned.len() == 2
    });
}

#[test]
fn while_a_revoke_waits_a_stop_is_not_taken_for_its_answer() {
    let t = turn();
    t.topic("drain", 4);
    (0..4).for_each(|p| t.produce("drain", p, 0, 10));
    let mut a = t.member("drain", "drain");
    a.releases = false;
    a.until("all are read", |m| m.seen.len() == 40);
    let mut b = t.member("drain", "drain");
    until(&mut [&mut a, &mut b], "a revoke", |m| {
        !m[0].revoked.is_empty()
    });
    let revoked = a.revoked.clone();
    let kept: Vec<i32> = (0..4).filter(|p| !revoked.contains(p)).collect();
    a.stop(kept[0]);
    a.settle();
    assert!(b.assigned.is_empty(), "nothing was released yet");
    // Started while the revoke is unanswered, it goes on after it.
    a.start(kept[0], 5);
    a.release(&revoked);
    until(&mut [&mut a, &mut b], "released, and read again", |m| {
        m[1].assigned.len() == 2 && m[0].offsets(kept[0]).len() == 15
    });
    t.produce("drain", kept[1], 10, 10);
    a.until("the other goes on too", |m| {
        m.offsets(kept[1]) == range(0, 20)
    });
}

#[test]
fn an_offset_that_is_gone_breaks_only_its_partition() {
    let t = turn();
    t.topic("gone", 2);
    t.produce("gone", 0, 0, 100);
    t.produce("gone", 1, 0, 100);
    t.client().delete_records("gone", 0, 60).expect("deleted");
    let mut m = t.member("gone", "gone");
    m.starts = false;
    m.until("located", |m| m.located.len() == 2);
    let location = m.located[&0].as_ref().expect("a location").clone();
    assert_eq!(
        (location.start.clone(), location.log_start, location.log_end),
        (Ok(60), 60, 100)
    );
    m.start(0, 20);
    m.start(1, 0);
    m.until("it is broken, the other is read", |m| {
        !m.broken.is_empty() && m.seen.len() == 100
    });
    assert!(
        matches!(m.broken[..], [(0, Broken::OffsetOutOfRange(_))]),
        "{:?}",
        m.broken
    );
    m.start(0, 60);
    m.until("it goes on where there are records", |m| {
        m.offsets(0) == range(60, 100)
    });
    // Beyond the end too.
    m.stop(0);
    m.start(0, 5_000);
    m.until("broken again", |m| m.broken.len() == 2);
}

#[test]
fn a_group_begins_where_its_policy_says() {
    let t = turn();
    t.topic("begin", 2);
    t.produce("begin", 0, 0, 30);
    for (policy, expected) in [(OffsetReset::Earliest, 0), (OffsetReset::Latest, 30)] {
        let mut settings = settings(&t.kafka.bootstrap(), "begin", &format!("begin-{policy:?}"));
        settings.auto_offset_reset = policy;
        let mut m = Member::join(&settings);
        m.starts = false;
        m.until("located", |m| m.located.len() == 2);
        let location = m.located[&0].as_ref().expect("a location");
        assert_eq!(location.start, Ok(expected), "{policy:?}");
        assert_eq!(location.committed, None);
        assert_eq!(location.num_partitions, 2);
        assert!(
            location.cluster_id.len() > 10 && location.topic_id.len() == 22,
            "{location:?}"
        );
    }
    let mut settings = settings(&t.kafka.bootstrap(), "begin", "begin-none");
    settings.auto_offset_reset = OffsetReset::None;
    let mut m = Member::join(&settings);
    m.until("located", |m| m.located.len() == 2);
    let location = m.located[&1].clone().expect("all else is known");
    let error = location.start.expect_err("no position");
    assert_eq!(error.kind, Kind::Misconfigured);
    for part in ["begin[1]", "begin-none", "auto_offset_reset"] {
        assert!(error.what.contains(part), "{part} isn't in {error}");
    }
}

#[test]
fn a_partition_that_appears_later_starts_at_its_beginning() {
    let t = turn();
    t.topic("grows", 2);
    t.produce("grows", 0, 0, 5);
    let mut settings = settings(&t.kafka.bootstrap(), "grows", "grows");
    settings.auto_offset_reset = OffsetReset::Latest;
    let mut m = Member::join(&settings);
    m.starts = false;
    m.until("located", |m| m.located.len() == 2);
    let note = r#"{"topic_id":"x","partitions":2}"#;
    let number = m.commit_at(0, 5, note);
    m.until("committed", |m| m.is_answered(number));
    assert!(m.source.close(Duration::from_secs(20)));

    t.client().add_partitions("grows", 3).expect("grown");
    t.produce("grows", 1, 0, 7);
    t.produce("grows", 2, 0, 9);
    let mut m = Member::join(&settings);
    m.starts = false;
    m.until("located", |m| m.located.len() == 3);
    let location = |p: i32| m.located[&p].as_ref().expect("a location");
    let committed = location(0).committed.clone().expect("a position");
    assert_eq!((committed.offset, committed.leader_epoch), (5, 0));
    assert_eq!(committed.metadata, note, "the note comes back as it was");
    assert_eq!(
        location(1).start,
        Ok(7),
        "it was there from the start: latest"
    );
    assert_eq!(
        location(2).start,
        Ok(0),
        "it is new, and so are its records"
    );
}

#[test]
fn commits_are_answered_in_order_and_the_last_one_stands() {
    let t = turn();
    t.topic("commits", 1);
    t.produce("commits", 0, 0, 100);
    let mut m = t.member("commits", "commits");
    m.until("read", |m| m.seen.len() == 100);
    for offset in 1..=50 {
        m.commit_at(0, offset, "");
    }
    m.until("all are answered", |m| m.committed.len() == 50);
    let numbers: Vec<u64> = m.committed.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=50).collect::<Vec<u64>>());
    assert!(m.committed.iter().all(|(_, result)| result.is_ok()));
    let committed = t.client().committed("commits", "commits").expect("offsets");
    assert_eq!(committed[&0], 50);

    let too_long = "x".repeat(4_097);
    let number = m.commit_at(0, 60, &too_long);
    m.until("answered", |m| m.is_answered(number));
    let (_, result) = m.committed.last().expect("an answer");
    assert!(result.is_err(), "a note that is too long isn't taken");
}

#[test]
fn a_topic_that_does_not_exist_is_said_and_read_once_it_does() {
    let t = turn();
    let mut m = t.member("not-yet", "not-yet");
    m.until("it is said", |m| m.troubles.iter().any(Option::is_some));
    let error = m.troubles[0].clone().expect("a trouble");
    assert_eq!(error.kind, Kind::Misconfigured, "{error}");
    assert!(
        error.what.contains("not-yet") && error.what.contains("create"),
        "{error}"
    );
    t.topic("not-yet", 1);
    t.produce("not-yet", 0, 0, 3);
    m.until("read", |m| m.seen.len() == 3);
    m.until("it is well", |m| matches!(m.troubles.last(), Some(None)));
}

#[test]
fn closing_ends_in_time_though_the_broker_does_not_answer() {
    let t = alone();
    t.topic("frozen", 1);
    t.produce("frozen", 0, 0, 3);
    let mut m = t.member("frozen", "frozen");
    m.until("read", |m| m.seen.len() == 3);
    t.kafka.freeze().expect("frozen");
    let began = std::time::Instant::now();
    assert!(
        !m.source.close(Duration::from_millis(500)),
        "it was left behind"
    );
    // Within a bound that is far from the client's own timeouts.
    assert!(began.elapsed() < Duration::from_secs(10));
    t.kafka.thaw().expect("thawed");

    let mut m = t.member("frozen", "frozen");
    m.until("another takes over", |m| !m.assigned.is_empty());
    assert!(
        m.source.close(Duration::from_secs(20)),
        "with a broker that answers it ends"
    );
}

#[test]
fn an_outage_is_waited_out_and_work_goes_on() {
    let t = alone();
    t.topic("outage", 2);
    t.produce("outage", 0, 0, 10);
    let mut m = t.member("outage", "outage");
    m.until("read", |m| m.seen.len() == 10);
    t.kafka.stop().expect("stopped");
    m.until("it is said", |m| m.troubles.iter().any(Option::is_some));
    t.kafka.heal().expect("healed");
    t.produce("outage", 0, 10, 10);
    m.until("it goes on", |m| m.offsets(0).len() >= 20);
    let offsets: BTreeSet<i64> = m.offsets(0).into_iter().collect();
    assert_eq!(offsets.len(), 20);
    let number = m.commit();
    m.until("committed", |m| m.is_answered(number));
}

#[test]
fn a_thousand_partitions_start_in_one_go() {
    let t = alone();
    t.topic("wide", 1_000);
    (0..10).for_each(|p| t.produce("wide", p * 100, 0, 5));
    let began = std::time::Instant::now();
    let mut m = t.member("wide", "wide");
    m.until("located", |m| m.located.len() == 1_000);
    let located = began.elapsed();
    m.until("read", |m| m.seen.len() == 50);
    println!(
        "1,000 partitions: located after {located:?}, read after {:?}",
        began.elapsed()
    );
    // Stopped and started in one go, the client is still stopping them when they start.
    for partition in 0..1_000 {
        m.stop(partition);
        m.start(partition, 0);
    }
    m.until("read again", |m| m.seen.len() == 100);
    assert!(m.source.close(Duration::from_secs(30)));
}
