//! Fixed partitions without a group: what is read, where positions stand, what the broker never hears of.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outflow::config::settings::{KafkaSettings, OffsetReset, Subscription};
use outflow::error::Kind;
use outflow::kafka::keeper::Keeper;
use outflow::kafka::positions::{PositionStore, holder, path, read};
use outflow::offsets::TopicPartition;
use outflow::pipeline::source::{Commit, Source};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::member::{Member, settings};
use super::{Turn, range, turn};

const SINK: &str = "test";

pub fn fixed(t: &Turn, topic: &str, partitions: &[i32]) -> KafkaSettings {
    let mut settings = settings(&t.kafka.bootstrap(), topic, &format!("{topic}-group"));
    let fixed = |p: &i32| TopicPartition::new(topic, *p);
    settings.subscription = Subscription::Assigned(partitions.iter().map(fixed).collect());
    settings
}

/// The store; a consumer that was just dropped may hold it a moment longer.
pub fn stored(dir: &Path) -> Keeper {
    let until = Instant::now() + Duration::from_secs(20);
    while holder(dir, SINK) != Ok(None) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    Keeper::Store(Arc::new(PositionStore::open(dir, SINK).expect("a store")))
}

/// Every group that the broker knows of.
fn groups(t: &Turn) -> Vec<String> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", t.kafka.bootstrap())
        .set("group.id", "a-look")
        .create()
        .expect("a client");
    let groups = client
        .fetch_group_list(None, Duration::from_secs(20))
        .expect("groups");
    groups.groups().iter().map(|g| g.name().into()).collect()
}

#[test]
fn fixed_partitions_are_read_and_kept_without_a_group() {
    let t = turn();
    t.topic("fixed", 4);
    for partition in 0..4 {
        t.produce("fixed", partition, 0, 100);
    }
    let dir = tempfile::tempdir().expect("a folder");
    let settings = fixed(&t, "fixed", &[0, 2]);
    let mut m = Member::fixed(&settings, stored(dir.path()));
    m.until("its partitions are read", |m| m.seen.len() == 200);
    assert_eq!((m.offsets(0), m.offsets(2)), (range(0, 100), range(0, 100)));
    assert_eq!(m.source.log_end(&m.id(2)), Some(100), "lag is known");
    let number = m.commit();
    m.until("the commit is answered", |m| m.is_answered(number));
    assert_eq!(m.committed, [(number, Ok(()))]);

    // Stopped and started again, like any other.
    m.stop(0);
    t.produce("fixed", 0, 100, 20);
    t.produce("fixed", 2, 100, 20);
    m.until("the other goes on", |m| m.offsets(2).len() == 120);
    m.settle();
    assert_eq!(m.offsets(0), range(0, 100), "nothing after the stop");
    m.start(0, 90);
    m.until("it goes on elsewhere", |m| m.offsets(0).len() == 130);
    assert_eq!(m.offsets(0)[100..], range(90, 120));
    assert_eq!(m.assigned, [0, 2], "assigned once");
    assert_eq!((m.revoked.len(), m.num_lost), (0, 0));

    let groups = groups(&t);
    let ours = |group: &&String| group.contains("fixed") || group.contains("assigned");
    assert_eq!(groups.iter().find(ours), None, "no group was made");
    assert!(m.source.close(Duration::from_secs(20)), "it closes");
}

#[test]
fn a_restart_goes_on_where_the_file_says() {
    let t = turn();
    t.topic("fixed-restart", 2);
    t.produce("fixed-restart", 0, 0, 100);
    let dir = tempfile::tempdir().expect("a folder");
    let settings = fixed(&t, "fixed-restart", &[0]);
    let mut m = Member::fixed(&settings, stored(dir.path()));
    m.until("all is read", |m| m.seen.len() == 100);
    let number = m.commit_at(0, 60, r#"{"topic_id":"x","partitions":2}"#);
    m.until("the commit is answered", |m| m.is_answered(number));
    drop(m);

    let mut m = Member::fixed(&settings, stored(dir.path()));
    m.until("the rest is read", |m| m.seen.len() == 40);
    assert_eq!(m.offsets(0), range(60, 100));
    let location = m.located[&0].clone().expect("located");
    let committed = location.committed.expect("a position");
    assert_eq!((committed.offset, committed.leader_epoch), (60, 0));
    assert_eq!(committed.metadata, r#"{"topic_id":"x","partitions":2}"#);
    drop(m);

    // A partition that came to the topic later is read from its beginning, whatever the policy says.
    t.client()
        .add_partitions("fixed-restart", 3)
        .expect("a third");
    t.produce("fixed-restart", 1, 0, 5);
    t.produce("fixed-restart", 2, 0, 5);
    let mut settings = fixed(&t, "fixed-restart", &[0, 1, 2]);
    settings.auto_offset_reset = OffsetReset::Latest;
    let mut m = Member::fixed(&settings, stored(dir.path()));
    m.until("all are located", |m| m.located.len() == 3);
    let start = |p: i32| m.located[&p].clone().expect("located").start;
    assert_eq!((start(1), start(2)), (Ok(5), Ok(0)));
}

#[test]
fn a_partition_that_isnt_there_is_said_and_the_others_go_on() {
    let t = turn();
    t.topic("fixed-small", 2);
    t.produce("fixed-small", 1, 0, 50);
    let dir = tempfile::tempdir().expect("a folder");
    let mut m = Member::fixed(&fixed(&t, "fixed-small", &[1, 7]), stored(dir.path()));
    m.until("the one that is there is read", |m| m.seen.len() == 50);
    let said = |m: &Member| {
        let mut troubles = m.troubles.iter().flatten();
        troubles.any(|e| {
            e.kind == Kind::Misconfigured
                && e.what
                    .contains("fixed-small[7] doesn't exist, the topic has 2 partitions")
        })
    };
    m.until("the other is said", said);
    t.client().add_partitions("fixed-small", 8).expect("more");
    t.produce("fixed-small", 7, 0, 5);
    m.until("it is read once it is there", |m| m.offsets(7).len() == 5);
}

#[test]
fn without_a_position_and_a_policy_only_the_sink_may_know_where_to_begin() {
    let t = turn();
    t.topic("fixed-none", 1);
    let mut settings = fixed(&t, "fixed-none", &[0]);
    settings.auto_offset_reset = OffsetReset::None;
    let mut m = Member::fixed(&settings, Keeper::Sink);
    m.until("it is located", |m| m.located.len() == 1);
    let location = m.located[&0].clone().expect("all else is known");
    assert_eq!(location.committed, None);
    let error = location.start.expect_err("nobody may guess");
    assert!(error.what.contains("auto_offset_reset"), "{error}");

    // The sink keeps positions itself: a commit is nothing to it.
    let number = m.commit_at(0, 5, "");
    m.until("the commit is answered", |m| m.is_answered(number));
    assert_eq!(m.committed, [(number, Ok(()))]);
}

#[test]
fn another_clusters_positions_are_not_gone_on_from() {
    let t = turn();
    t.topic("fixed-moved", 1);
    t.produce("fixed-moved", 0, 0, 5);
    let dir = tempfile::tempdir().expect("a folder");
    let store = PositionStore::open(dir.path(), SINK).expect("a store");
    store.belongs_to("the-cluster-before").expect("a new file");
    let position = Commit {
        partition: TopicPartition::new("fixed-moved", 0),
        offset: 3,
        leader_epoch: 0,
        metadata: String::new(),
    };
    store.set(vec![position]).expect("set");
    let settings = fixed(&t, "fixed-moved", &[0]);
    let mut m = Member::fixed(&settings, Keeper::Store(Arc::new(store)));
    m.until("it is said", |m| {
        let mut troubles = m.troubles.iter().flatten();
        troubles.any(|e| e.what.contains("the-cluster-before"))
    });
    assert!(m.located.is_empty() && m.seen.is_empty(), "nothing is read");
}

#[test]
fn a_disk_that_doesnt_write_fails_commits_and_not_the_reading() {
    let t = turn();
    t.topic("fixed-disk", 1);
    t.produce("fixed-disk", 0, 0, 10);
    let dir = tempfile::tempdir().expect("a folder");
    let mut m = Member::fixed(&fixed(&t, "fixed-disk", &[0]), stored(dir.path()));
    m.until("all is read", |m| m.seen.len() == 10);
    let blocked = path(dir.path(), SINK).with_extension("json.new");
    std::fs::create_dir(&blocked).expect("in the way");
    let number = m.commit();
    m.until("the commit is answered", |m| m.is_answered(number));
    let error = m.committed[0].1.clone().expect_err("it can't be kept");
    assert_eq!(error.kind, Kind::Unavailable, "it is tried again");
    t.produce("fixed-disk", 0, 10, 10);
    m.until("reading goes on", |m| m.seen.len() == 20);
    std::fs::remove_dir(&blocked).expect("out of the way");
    let number = m.commit();
    m.until("the next is answered", |m| m.is_answered(number));
    let kept = read(dir.path(), SINK).expect("readable").expect("kept");
    assert_eq!(kept.partitions[&m.id(0)].offset, 20);
}
