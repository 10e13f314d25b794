//! The dead letter topic on a real broker.

use std::time::{Duration, Instant};

use outflow::error::{Error, Kind};
use outflow::kafka::KafkaDeadLetters;
use outflow::offsets::{Epoch, TopicPartition};
use outflow::pipeline::dead_letter::{DeadLetters, Delivery, Letter};
use outflow::sinks::{Rejection, Slot, Waker};
use testbed::{Outgoing, Producer};

use super::{Turn, alone, settings, turn};

const PATIENCE: Duration = Duration::from_secs(120);

fn letter(topic: &str, partition: i32, offset: i64) -> Letter {
    Letter {
        slot: Slot(7),
        epoch: Epoch(3),
        partition: TopicPartition::new(topic, partition),
        offset,
        rejection: Rejection {
            reason: "mapper_parsing_exception".into(),
            detail: "failed to parse field [n]".into(),
            status: Some(400),
        },
    }
}

fn dead_letters(t: &Turn, topic: &str, dead: &str) -> KafkaDeadLetters {
    let settings = settings(&t.kafka.bootstrap(), topic, "letters");
    KafkaDeadLetters::new(&settings, "test", 0, dead, Waker::new(|| ())).expect("dead letters")
}

/// Polls until `num` letters are answered.
fn answers(letters: &mut KafkaDeadLetters, num: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let by = Instant::now() + PATIENCE;
    while deliveries.len() < num {
        letters.poll(&mut deliveries);
        std::thread::yield_now();
        assert!(
            Instant::now() < by,
            "{deliveries:?} {:?}",
            letters.trouble()
        );
    }
    deliveries
}

fn trouble(letters: &KafkaDeadLetters) -> Error {
    let by = Instant::now() + PATIENCE;
    loop {
        if let Some(error) = letters.trouble() {
            return error;
        }
        std::thread::yield_now();
        assert!(Instant::now() < by, "no trouble is shown");
    }
}

#[test]
fn refused_records_arrive_as_they_were_with_the_reason() {
    let t = turn();
    t.topic("refused", 2);
    t.topic("refused-dead", 1);
    let producer = Producer::new(&t.kafka.bootstrap()).expect("a producer");
    let record = Outgoing {
        partition: Some(1),
        key: None,
        value: Some(Vec::new()),
        headers: vec![("own".into(), None), ("own".into(), Some(b"\xff".to_vec()))],
        timestamp_ms: Some(1_600_000_000_123),
    };
    producer.send("refused", &record).expect("sent");
    producer.flush().expect("flushed");
    t.produce("refused", 0, 0, 3_000);

    let mut letters = dead_letters(&t, "refused", "refused-dead");
    letters.send(letter("refused", 1, 0));
    let wanted = [0, 1, 2, 900, 2_999];
    wanted
        .iter()
        .for_each(|offset| letters.send(letter("refused", 0, *offset)));
    assert_eq!(letters.num_in_flight(), 6);
    let deliveries = answers(&mut letters, 6);
    assert!(
        deliveries.iter().all(|d| d.result.is_ok()),
        "{deliveries:?}"
    );
    assert!(
        deliveries
            .iter()
            .all(|d| (d.slot, d.epoch) == (Slot(7), Epoch(3)))
    );
    assert_eq!(letters.num_in_flight(), 0);

    let dead = t.client().read_all("refused-dead").expect("read");
    assert_eq!(dead.len(), 6);
    let odd = dead
        .iter()
        .find(|d| d.key.is_none())
        .expect("the one without a key");
    assert_eq!(odd.value.as_deref(), Some(&b""[..]), "empty isn't null");
    assert_eq!(odd.timestamp_ms, Some(1_600_000_000_123));
    assert_eq!(
        odd.headers[..2],
        record.headers[..],
        "its own headers come first"
    );
    assert_eq!(
        odd.header("__connect.errors.topic").as_deref(),
        Some("refused")
    );
    assert_eq!(
        odd.header("__connect.errors.partition").as_deref(),
        Some("1")
    );
    assert_eq!(odd.header("outflow.status").as_deref(), Some("400"));
    for offset in wanted {
        let value = offset.to_string().into_bytes();
        let found = dead.iter().find(|d| d.value.as_deref() == Some(&value[..]));
        let found = found.expect("each wanted record");
        assert_eq!(found.header("outflow.offset"), Some(offset.to_string()));
    }
}

#[test]
fn a_record_that_is_gone_is_said_and_the_others_arrive() {
    let t = turn();
    t.topic("expired", 1);
    t.topic("expired-dead", 1);
    t.produce("expired", 0, 0, 100);
    t.client()
        .delete_records("expired", 0, 50)
        .expect("deleted");
    let mut letters = dead_letters(&t, "expired", "expired-dead");
    for offset in [10, 49, 50, 99, 100_000] {
        letters.send(letter("expired", 0, offset));
    }
    let deliveries = answers(&mut letters, 5);
    for delivery in deliveries {
        match (delivery.offset, delivery.result) {
            (50 | 99, Ok(())) => {}
            (10 | 49 | 100_000, Err(error)) => {
                assert_eq!(error.kind, Kind::Corrupt);
                assert!(error.what.contains("expired[0]"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(t.client().read_all("expired-dead").expect("read").len(), 2);
}

#[test]
fn a_missing_dead_letter_topic_is_said_and_waited_for() {
    let t = turn();
    t.topic("orphans", 1);
    t.produce("orphans", 0, 0, 2);
    let mut letters = dead_letters(&t, "orphans", "orphans-dead");
    letters.send(letter("orphans", 0, 1));
    let error = trouble(&letters);
    assert_eq!(error.kind, Kind::Misconfigured, "{error}");
    assert!(
        error.what.contains("orphans-dead") && error.what.contains("create"),
        "{error}"
    );
    t.topic("orphans-dead", 1);
    let deliveries = answers(&mut letters, 1);
    assert!(deliveries[0].result.is_ok());
    assert_eq!(letters.trouble(), None);
}

#[test]
fn a_record_that_is_too_large_for_the_dead_letter_topic_is_said() {
    let t = turn();
    t.topic("large", 1);
    let limit = [("max.message.bytes", "2000"), ("retention.ms", "-1")];
    t.client()
        .create_topic("large-dead", 1, &limit)
        .expect("a topic");
    let producer = Producer::new(&t.kafka.bootstrap()).expect("a producer");
    for bytes in [20_000, 10] {
        let noise = (0..bytes).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
        let record = Outgoing {
            partition: Some(0),
            key: None,
            value: Some(noise.collect()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        producer.send("large", &record).expect("sent");
    }
    producer.flush().expect("flushed");
    let mut letters = dead_letters(&t, "large", "large-dead");
    letters.send(letter("large", 0, 0));
    let too_large = answers(&mut letters, 1).remove(0);
    let error = too_large.result.expect_err("it's too large");
    assert_eq!(error.kind, Kind::Corrupt);
    assert!(error.what.contains("max.message.bytes"), "{error}");
    letters.send(letter("large", 0, 1));
    assert!(
        answers(&mut letters, 1)[0].result.is_ok(),
        "the next one fits"
    );
}

#[test]
fn an_outage_is_waited_out_by_dead_letters() {
    let t = alone();
    t.topic("dark", 1);
    t.topic("dark-dead", 1);
    t.produce("dark", 0, 0, 10);
    let mut letters = dead_letters(&t, "dark", "dark-dead");
    letters.send(letter("dark", 0, 3));
    answers(&mut letters, 1);
    t.kafka.stop().expect("stopped");
    letters.send(letter("dark", 0, 7));
    assert_eq!(trouble(&letters).kind, Kind::Unavailable);
    t.kafka.heal().expect("healed");
    let deliveries = answers(&mut letters, 1);
    assert!(deliveries[0].result.is_ok());
}
