//! Where reading starts the leader is asked whether the log still is the one that was read: what comes of it, and what
//! is said while there is no answer.

use std::time::Duration;

use outflow::config::settings::Subscription;
use outflow::offsets::TopicPartition;
use outflow::pipeline::source::{Broken, Source};
use outflow::sinks::Slot;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use testbed::{Kafka, KafkaOptions};

use super::assigned::{fixed, stored};
use super::member::{Member, settings};
use super::positions::produce_at;
use super::reader::PATIENCE;
use super::{alone, range};

/// The leader of a partition that brokers 2 and 3 have, and nobody else: broker 1 is the controller.
fn a_partition_of_two(bootstrap: &str, topic: &str) -> (i32, i32) {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .expect("a client");
    let metadata = client
        .fetch_metadata(Some(topic), PATIENCE)
        .expect("metadata");
    let partitions = metadata.topics()[0].partitions();
    let of_two = |replicas: &[i32]| matches!(replicas, [2, 3] | [3, 2]);
    let found = partitions.iter().find(|p| of_two(p.replicas()));
    let found = found.expect("a partition on brokers 2 and 3");
    (found.id(), found.leader())
}

#[test]
fn an_unclean_election_is_told_with_the_offset_where_the_logs_part() {
    let options = KafkaOptions {
        num_brokers: 3,
        properties: vec![("default.replication.factor".into(), "2".into())],
        ..KafkaOptions::default()
    };
    let kafka = Kafka::start(&options).expect("Kafka starts");
    let (bootstrap, topic) = (kafka.bootstrap(), "unclean");
    let config = [("unclean.leader.election.enable", "true")];
    kafka
        .client()
        .create_topic(topic, 8, &config)
        .expect("a topic");
    let (p, leader) = a_partition_of_two(&bootstrap, topic);
    let node = |id: i32| &kafka.nodes()[id as usize - 1];
    let follower = 5 - leader;
    produce_at(&bootstrap, topic, p, 100, None);
    // Without a group: the broker that dies may be its coordinator, and who is away for a session loses everything
    // and starts anew.
    let dir = tempfile::tempdir().expect("a folder");
    let mut settings = settings(&bootstrap, topic, "unclean");
    settings.subscription = Subscription::Assigned(vec![TopicPartition::new(topic, p)]);
    let mut m = Member::fixed(&settings, stored(dir.path()));
    m.starts = false;
    m.until("located", |m| m.located.len() == 1);
    m.start(p, 0);
    m.until("read", |m| m.offsets(p).len() == 100);

    // The follower misses the last 20, and then the only broker that has them dies.
    node(follower).stop().expect("stopped");
    produce_at(&bootstrap, topic, p, 20, None);
    m.until("read on", |m| m.offsets(p).len() == 120);
    let epoch = m.seen.last().expect("records").leader_epoch;
    m.stop(p);
    node(leader).kill().expect("killed");
    node(follower).launch().expect("launched");
    node(follower).wait_ready().expect("ready");
    // Filled again beyond what was read: only the leader's epoch can tell.
    produce_at(&bootstrap, topic, p, 50, None);

    let slot = Slot(p as usize);
    m.source.start(slot, &m.id(p), 120, epoch);
    m.until("it is told", |m| !m.broken.is_empty());
    let (_, why) = &m.broken[0];
    assert!(
        matches!(why, Broken::Truncated { at: Some(100), .. }),
        "{why:?}"
    );
    m.source.stop(&[m.id(p)]);
    m.seen.clear();
    m.start(p, 100);
    m.until("what came instead is read", |m| m.offsets(p).len() == 50);
    assert_eq!(m.offsets(p), range(100, 150));
}

#[test]
fn a_partition_that_waits_for_its_leaders_word_says_so() {
    let t = alone();
    t.topic("waits", 2);
    t.produce("waits", 0, 0, 100);
    t.produce("waits", 1, 0, 100);
    let dir = tempfile::tempdir().expect("a folder");
    let mut m = Member::fixed(&fixed(&t, "waits", &[0, 1]), stored(dir.path()));
    m.source.tell_standstills_after(Duration::from_secs(2));
    m.until("read", |m| m.seen.len() == 200);
    let epoch = m.seen.last().expect("records").leader_epoch;
    m.stop(0);
    // Another one takes nothing of what is there.
    let folder = tempfile::tempdir().expect("a folder");
    let mut full = Member::fixed(&fixed(&t, "waits", &[1]), stored(folder.path()));
    full.source.tell_standstills_after(Duration::from_secs(1));
    full.until("read", |full| full.seen.len() == 100);
    t.produce("waits", 0, 100, 20);
    t.produce("waits", 1, 100, 20);
    m.until("there is more", |m| m.source.log_end(&m.id(0)) == Some(120));
    m.until("the other is read", |m| {
        full.poll();
        m.offsets(1).len() == 120 && full.source.log_end(&full.id(1)) == Some(120)
    });

    t.kafka.freeze().expect("frozen");
    m.source.start(Slot(0), &m.id(0), 100, epoch);
    m.until("it is told", |m| {
        full.poll();
        let still = &full.standing_still;
        assert!(
            still.is_empty(),
            "what isn't taken doesn't stand still: {still:?}"
        );
        !m.standing_still.is_empty()
    });
    let why = m.standing_still.get(&m.id(0)).expect("of this partition");
    let asked = format!("the one that was read (leader epoch {epoch}), and nothing is read before");
    assert!(
        why.contains("from 100 to 120") && why.contains(&asked),
        "{why}"
    );
    assert_eq!(m.standing_still.len(), 1, "the other is at its end");
    assert_eq!(m.offsets(0), range(0, 100), "nothing is read before");

    t.kafka.thaw().expect("thawed");
    m.until("it is read", |m| m.offsets(0).len() == 120);
    assert!(m.broken.is_empty(), "{:?}", m.broken);
    m.turn();
    assert!(m.standing_still.is_empty(), "{:?}", m.standing_still);
}
