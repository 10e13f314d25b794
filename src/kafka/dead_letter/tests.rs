//! On the client's own mock broker, because only the foreign function module can produce (and read) headers
//! whose names aren't UTF-8. The rest is in `tests/kafka_source`, on a real broker.

use rdkafka::mocking::MockCluster;

use super::reader::Found;
use super::*;
use crate::kafka::client::tests::settings;
use crate::offsets::Epoch;
use crate::sinks::{Rejection, Slot};

const PATIENCE: Duration = Duration::from_secs(60);

fn letter(topic: &str, offset: i64) -> Letter {
    Letter {
        slot: Slot(1),
        epoch: Epoch(2),
        partition: TopicPartition::new(topic, 0),
        offset,
        rejection: Rejection {
            reason: "not_json".into(),
            detail: "expected an object".into(),
            status: None,
        },
    }
}

fn produce(settings: &KafkaSettings, topic: &str, records: Vec<Found>) {
    let mut writer = Writer::new(settings, "test", topic, Said::default()).expect("a writer");
    let num = records.len();
    for record in records {
        let letter = letter(topic, 0);
        assert!(writer.send(Sealed { letter, record }).is_none());
    }
    let by = Instant::now() + PATIENCE;
    let mut delivered = 0;
    while delivered < num && Instant::now() < by {
        for outcome in writer.poll(WAIT) {
            assert!(matches!(outcome, Outcome::Delivered(_)));
            delivered += 1;
        }
    }
    assert_eq!(delivered, num);
}

fn read(settings: &KafkaSettings, topic: &str, offset: i64) -> Result<Found, String> {
    let mut reader = Reader::new(settings, "test", Said::default()).expect("a reader");
    let mut learned = Vec::new();
    let by = Instant::now() + PATIENCE;
    while learned.is_empty() && Instant::now() < by {
        let mut wanted = BTreeSet::from([offset]);
        let id = TopicPartition::new(topic, 0);
        reader
            .read(&id, &mut wanted, WAIT, &mut learned)
            .expect("read");
    }
    learned.pop().expect("something was learned").1
}

#[test]
fn a_letter_arrives_byte_for_byte() {
    let mock = MockCluster::new(1).expect("a mock cluster");
    mock.create_topic("events", 1, 1).expect("a topic");
    mock.create_topic("dead", 1, 1).expect("a topic");
    let mut settings = settings(&[]);
    settings.bootstrap_servers = mock.bootstrap_servers();
    let headers = vec![
        (b"\xff\xfe".to_vec(), Some(b"\x00\xff".to_vec())),
        (b"twice".to_vec(), None),
        (b"twice".to_vec(), Some(Vec::new())),
    ];
    let cases = [
        (None, Some(Vec::new())),
        (Some(Vec::new()), None),
        (Some(b"\xff\x00".to_vec()), Some(b"not json".to_vec())),
    ];
    let record = |(key, value): (Option<Vec<u8>>, Option<Vec<u8>>)| Found {
        key,
        value,
        timestamp_ms: Some(1_234_567_890_123),
        headers: headers.clone(),
    };
    produce(
        &settings,
        "events",
        cases.iter().cloned().map(record).collect(),
    );

    let waker = Waker::new(|| ());
    let mut letters =
        KafkaDeadLetters::new(&settings, "test", 0, "dead", waker).expect("dead letters");
    let mut deliveries = Vec::new();
    for offset in 0..3 {
        // One after the other, so that they stand in this order.
        letters.send(letter("events", offset));
        let by = Instant::now() + PATIENCE;
        while deliveries.len() <= offset as usize && Instant::now() < by {
            letters.poll(&mut deliveries);
            std::thread::yield_now();
        }
    }
    assert!(
        deliveries.iter().all(|d| d.result.is_ok()),
        "{deliveries:?}"
    );
    assert_eq!(deliveries.len(), 3);
    assert_eq!(letters.num_in_flight(), 0);
    for (offset, (key, value)) in (0..).zip(cases) {
        let dead = read(&settings, "dead", offset).expect("a record");
        assert_eq!((dead.key, dead.value), (key, value));
        assert_eq!(dead.timestamp_ms, Some(1_234_567_890_123));
        assert_eq!(dead.headers[..3], headers, "its own headers, as they were");
        assert!(dead.headers.len() > 3, "and ours");
    }
}
