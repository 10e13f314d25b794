//! Which topics a pattern means, and where reading begins.

use std::collections::BTreeSet;
use std::time::Duration;

use outflow::config::settings::{
    GroupProtocol, KafkaSettings, OffsetReset, Property, Subscription, TopicPattern,
};
use outflow::error::Kind;
use outflow::offsets::{Note, TopicPartition};
use outflow::pipeline::source::{Commit, Source};
use testbed::{Outgoing, Producer};

use super::member::{Member, settings};
use super::reader::{Reader, until};
use super::{Turn, range, turn};

fn regex(text: &str) -> regex::Regex {
    regex::Regex::new(&format!("^(?:{text})$")).expect("a regex")
}

/// Reads what matches `include`, and looks twice a second which topics there are.
fn matching(t: &Turn, include: &str, exclude: &[&str], group: &str) -> KafkaSettings {
    let mut settings = settings(&t.kafka.bootstrap(), "unused", group);
    settings.subscription = Subscription::Pattern(TopicPattern {
        include: regex(include),
        exclude: exclude.iter().map(|text| regex(text)).collect(),
        never: vec![format!("{group}.dlq")],
    });
    watching(settings)
}

fn watching(mut settings: KafkaSettings) -> KafkaSettings {
    settings.properties.insert(
        "topic.metadata.refresh.interval.ms".into(),
        Property::Plain("500".into()),
    );
    settings
}

/// Records of now.
fn produce_now(t: &Turn, topic: &str, num: usize) {
    produce_at(&t.kafka.bootstrap(), topic, 0, num, None);
}

pub fn produce_at(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    num: usize,
    timestamp: Option<i64>,
) {
    let producer = Producer::new(bootstrap).expect("a producer");
    for n in 0..num {
        let record = Outgoing {
            partition: Some(partition),
            value: Some(n.to_string().into_bytes()),
            timestamp_ms: timestamp,
            ..Outgoing::default()
        };
        producer.send(topic, &record).expect("sent");
    }
    producer.flush().expect("flushed");
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// With `latest`, so that a beginning isn't taken for one by chance.
fn a_pattern_picks_up_what_it_means(protocol: GroupProtocol, name: &str) {
    let t = turn();
    let topic = |last: &str| format!("{name}-{last}");
    let mut settings = matching(&t, &format!("{name}[-.].*"), &[".*-test"], name);
    settings.group_protocol = protocol;
    settings.auto_offset_reset = OffsetReset::Latest;
    let mut r = Reader::join(&settings);
    r.until("it is said that none matches", |r| {
        let troubles = r.troubles.iter().flatten();
        let mut texts = troubles.map(|trouble| &trouble.what);
        texts.any(|what| what.contains("no topic matches") && what.contains("yet"))
    });

    // The first to match has come after the start, so its records are new, however old they are.
    let dead_letters = format!("{name}.dlq");
    for other in [&topic("test"), &dead_letters] {
        t.topic(other, 1);
    }
    t.topic(&topic("a"), 2);
    t.produce(&topic("a"), 0, 0, 10);
    r.until("the first is read", |r| {
        r.offsets(&topic("a"), 0) == range(0, 10) && r.held.len() == 2
    });
    r.until("the trouble has gone", |r| {
        matches!(r.troubles.last(), Some(None))
    });
    t.topic(&topic("b"), 1);
    t.produce(&topic("b"), 0, 0, 20);
    r.until("the second is read from its beginning", |r| {
        r.offsets(&topic("b"), 0) == range(0, 20)
    });
    t.produce(&topic("a"), 0, 10, 10);
    r.until("the first goes on", |r| {
        r.offsets(&topic("a"), 0) == range(0, 20)
    });
    assert_eq!(
        r.topics(),
        BTreeSet::from([&*topic("a"), &*topic("b")]),
        "what is excluded, and the dead letter topic, aren't read"
    );
    r.commit_all();

    t.client().delete_topic(&topic("a")).expect("deleted");
    r.until("what is gone is given back", |r| r.topics().len() == 1);
    t.produce(&topic("b"), 0, 20, 5);
    r.until("the other goes on", |r| {
        r.offsets(&topic("b"), 0) == range(0, 25)
    });
    assert!(r.source.close(Duration::from_secs(20)));
}

#[test]
fn a_pattern_picks_up_new_topics_from_their_beginning_and_lets_go_what_disappears() {
    a_pattern_picks_up_what_it_means(GroupProtocol::Classic, "pattern");
}

#[test]
fn a_pattern_means_the_same_under_the_new_group_protocol() {
    a_pattern_picks_up_what_it_means(GroupProtocol::Consumer, "pattern848");
}

#[test]
fn a_named_topic_that_is_created_later_is_read_from_its_beginning() {
    let t = turn();
    t.topic("named-old", 1);
    t.produce("named-old", 0, 0, 5);
    let mut settings = watching(settings(&t.kafka.bootstrap(), "named-old", "named"));
    settings.subscription = Subscription::Topics(vec!["named-old".into(), "named-new".into()]);
    settings.auto_offset_reset = OffsetReset::Latest;
    let mut r = Reader::join(&settings);
    r.until("located", |r| r.located.len() == 1);
    assert_eq!(r.start("named-old", 0), 5);
    t.topic("named-new", 1);
    t.produce("named-new", 0, 0, 7);
    r.until("the new one is read", |r| {
        r.offsets("named-new", 0) == range(0, 7)
    });
    assert!(r.offsets("named-old", 0).is_empty());
}

#[test]
fn what_appears_while_a_group_with_latest_is_stopped_is_read_from_its_beginning() {
    let t = turn();
    t.topic("gap-old", 1);
    t.topic("gap-idle", 1);
    t.produce("gap-old", 0, 0, 5);
    t.produce("gap-idle", 0, 0, 5);
    let mut settings = matching(&t, "gap-.*", &[], "gap");
    settings.auto_offset_reset = OffsetReset::Latest;
    let mut r = Reader::join(&settings);
    r.until("located", |r| r.located.len() == 2);
    let since = r.location("gap-old", 0).since_ms.expect("it begins now");
    assert!((0..60_000).contains(&(now_ms() - since)), "{since}");
    r.leave();

    t.topic("gap-new", 1);
    produce_now(&t, "gap-new", 9);
    produce_now(&t, "gap-old", 3);
    // There before the group, and not seen by it: as if its leader had been away.
    let mut r = Reader::join(&settings);
    r.until("all is read", |r| {
        r.offsets("gap-new", 0) == range(0, 9) && r.offsets("gap-old", 0) == range(5, 8)
    });
    let found = r.location("gap-new", 0);
    assert_eq!(found.since_ms, Some(since), "the group's beginning stays");
    assert!(
        !found.appeared_later,
        "a new topic disturbs no order of keys"
    );
    r.leave();
    let mut r = Reader::join(&settings);
    r.until("located", |r| r.located.len() == 3);
    for topic in ["gap-old", "gap-new", "gap-idle"] {
        assert_eq!(r.location(topic, 0).since_ms, Some(since), "{topic}");
    }
}

#[test]
fn a_partition_whose_siblings_know_its_count_but_that_appeared_while_the_group_was_stopped_is_new()
{
    let t = turn();
    t.topic("away", 1);
    t.produce("away", 0, 0, 5);
    let mut settings = settings(&t.kafka.bootstrap(), "away", "away");
    settings.auto_offset_reset = OffsetReset::Latest;
    let mut r = Reader::join(&settings);
    r.until("located", |r| r.located.len() == 1);
    let since_ms = r.location("away", 0).since_ms;
    r.commit_all();
    t.client().add_partitions("away", 2).expect("grown");
    produce_at(&t.kafka.bootstrap(), "away", 1, 6, None);
    // Its leader is away for so long that its sibling commits with the new count.
    let note = Note {
        topic_id: r.location("away", 0).topic_id.clone(),
        partitions: 2,
        since_ms,
        records_end: None,
    };
    let commit = Commit {
        partition: TopicPartition::new("away", 0),
        offset: 5,
        leader_epoch: -1,
        metadata: note.to_text(),
    };
    r.source.commit(99, &[commit]);
    r.until("committed", |r| r.answered == 99);
    assert!(r.source.close(Duration::from_secs(20)));
    let mut r = Reader::join(&settings);
    r.until("the new partition is read", |r| {
        r.offsets("away", 1) == range(0, 6)
    });
}

#[test]
fn two_members_that_start_fresh_with_latest_read_nothing_old() {
    let t = turn();
    t.topic("fresh-a", 4);
    t.topic("fresh-b", 4);
    for partition in 0..4 {
        t.produce("fresh-a", partition, 0, 50);
        t.produce("fresh-b", partition, 0, 50);
    }
    let mut settings = matching(&t, "fresh-.*", &[], "fresh");
    settings.auto_offset_reset = OffsetReset::Latest;
    let mut a = Reader::join(&settings);
    a.until("the first has all", |r| r.located.len() == 8);
    // Its commits tell that the group has begun: for the partitions that it holds, and only half are committed.
    a.next.retain(|id, _| id.partition < 2);
    a.commit_all();
    let mut b = Reader::join(&settings);
    until(&mut [&mut a, &mut b], "both have some", |r| {
        r[0].held.len() == 4 && r[1].held.len() == 4 && r[1].located.len() == 4
    });
    for (id, found) in &b.located {
        let found = found.as_ref().expect("a location");
        assert_eq!(found.start, Ok(50), "{id}: {found:?}");
    }
    for topic in ["fresh-a", "fresh-b"] {
        for partition in 0..4 {
            t.produce(topic, partition, 50, 1);
        }
    }
    until(&mut [&mut a, &mut b], "what is new is read", |r| {
        let seen = r.iter().flat_map(|r| &r.seen);
        seen.map(|(_, offsets)| offsets.len()).sum::<usize>() >= 8
    });
    for (id, offsets) in a.seen.iter().chain(&b.seen) {
        assert!(offsets.iter().all(|o| *o >= 50), "{id}: {offsets:?}");
    }
}

#[test]
fn a_group_begins_at_a_moment() {
    const FIRST: i64 = 1_700_000_000_000;
    let t = turn();
    t.topic("moment", 3);
    // Records 1 ms apart; then an empty partition, and one that ends before the moment.
    t.produce("moment", 0, 0, 40);
    t.produce("moment", 2, 0, 10);
    for (reset, starts) in [
        (OffsetReset::ByTimestamp(FIRST + 25), [25, 0, 10]),
        (OffsetReset::ByTimestamp(0), [0, 0, 0]),
        (OffsetReset::ByTimestamp(i64::MAX), [40, 0, 10]),
        (
            OffsetReset::ByDuration(Duration::from_secs(3_600)),
            [40, 0, 10],
        ),
        (OffsetReset::ByDuration(Duration::MAX), [0, 0, 0]),
    ] {
        let mut settings = settings(&t.kafka.bootstrap(), "moment", &format!("m-{reset:?}"));
        settings.auto_offset_reset = reset;
        let mut r = Reader::join(&settings);
        r.until("located", |r| r.located.len() == 3);
        let found = [0, 1, 2].map(|p| r.start("moment", p));
        assert_eq!(found, starts, "{reset:?}");
    }
    // A duration is counted from now.
    let hour = 3_600_000;
    t.topic("age", 1);
    let bootstrap = t.kafka.bootstrap();
    produce_at(&bootstrap, "age", 0, 4, Some(now_ms() - 2 * hour));
    produce_at(&bootstrap, "age", 0, 4, Some(now_ms() - hour / 2));
    let mut settings = settings(&bootstrap, "age", "age");
    settings.auto_offset_reset = OffsetReset::ByDuration(Duration::from_secs(3_600));
    let mut r = Reader::join(&settings);
    r.until("what is young is read", |r| {
        r.offsets("age", 0) == range(4, 8)
    });
    // Once durable, it stays.
    r.leave();
    produce_now(&t, "age", 1);
    let mut r = Reader::join(&settings);
    r.until("it goes on", |r| r.offsets("age", 0) == range(8, 9));
}

#[test]
fn none_names_every_partition_without_an_offset_at_once() {
    let t = turn();
    t.topic("unplaced", 5);
    let mut settings = settings(&t.kafka.bootstrap(), "unplaced", "unplaced");
    let mut m = Member::join(&settings);
    m.until("located", |m| m.located.len() == 5);
    let note = r#"{"topic_id":"x","partitions":5}"#;
    let number = m.commit_at(3, 0, note);
    m.until("committed", |m| m.is_answered(number));
    assert!(m.source.close(Duration::from_secs(20)));

    settings.auto_offset_reset = OffsetReset::None;
    let mut m = Member::join(&settings);
    m.until("located", |m| m.located.len() == 5);
    for partition in [0, 1, 2, 4] {
        let found = m.located[&partition].clone().expect("a location");
        let error = found.start.expect_err("no position");
        assert_eq!(error.kind, Kind::Misconfigured);
        assert!(error.what.contains("unplaced:0-2,4"), "{error}");
        let own = format!("unplaced[{partition}]");
        assert!(error.what.contains(&own), "{error}");
    }
    let found = m.located[&3].clone().expect("a location");
    assert_eq!(found.start, Ok(0), "the one with an offset is read");
}

#[test]
fn a_topic_that_grows_is_told_to_members_that_get_none_of_the_new_partitions() {
    let t = turn();
    t.topic("wider", 1);
    let settings = watching(settings(&t.kafka.bootstrap(), "wider", "wider"));
    let mut r = Reader::join(&settings);
    r.until("located", |r| r.located.len() == 1);
    t.client().add_partitions("wider", 3).expect("grown");
    r.until("it is told", |r| r.grew == [("wider".to_owned(), 3)]);
}

#[test]
fn check_connect_lists_what_a_pattern_matches() {
    let t = turn();
    for topic in ["listed-a", "listed-b", "listed-no", "listed.dlq"] {
        t.topic(topic, 2);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sink.toml");
    let check = |pattern: &str| {
        let text = format!(
            "name = \"listed\"\n[kafka]\nbootstrap_servers = \"{}\"\ntopics_pattern = \"{pattern}\"\n\
             topics_exclude = [\".*-no\"]\nauto_offset_reset = \"by_duration:24h\"\n\
             [elasticsearch]\nurls = [\"http://127.0.0.1:1\"]\n",
            t.kafka.bootstrap()
        );
        std::fs::write(&file, text).expect("written");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_outflow"))
            .args([
                "check",
                "--connect",
                "--config",
                file.to_str().expect("a path"),
            ])
            .output()
            .expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let out = check("listed.*");
    for line in [
        "ok: topics matching \"listed.*\": 2 now: listed-a, listed-b",
        "ok: topic listed-a: exists, 2 partitions",
        "ok: group outflow-listed: is new and starts at the first record that is at most 1d old",
    ] {
        assert!(out.contains(line), "{line} isn't in\n{out}");
    }
    let out = check("nothing-.*");
    let line = "warning: topics matching \"nothing-.*\": there is none yet";
    assert!(out.contains(line), "{line} isn't in\n{out}");
}
