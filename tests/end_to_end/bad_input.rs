//! Whatever stands in a topic: each bad record gets its dead letter, its neighbours arrive.

use std::collections::BTreeMap;

use testbed::guard::wait_until;
use testbed::{Generator, Outgoing, Producer, together};

use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

fn record(value: impl Into<Vec<u8>>) -> Outgoing {
    Outgoing {
        key: Some(b"k".to_vec()),
        value: Some(value.into()),
        ..Outgoing::default()
    }
}

/// Bad for both sinks: (value, the dead letter's reason).
fn bad_values() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("not JSON", b"cpu=12".to_vec()),
        ("two values", br#"{"a":1}{"b":2}"#.to_vec()),
        (
            "a smuggled bulk action",
            b"{\"a\":1}\n{\"delete\":{\"_index\":\"x\",\"_id\":\"1\"}}\n{\"b\":2}".to_vec(),
        ),
        ("an empty value", Vec::new()),
        ("an array", b"[1,2]".to_vec()),
        ("invalid UTF-8", b"{\"a\":\"\xff\xfe\"}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{\"a\":1}".to_vec()),
        ("cut off", br#"{"a":"#.to_vec()),
        (
            "nested too deep",
            [b"{\"a\":".repeat(5_000), b"1".to_vec(), b"}".repeat(5_000)].concat(),
        ),
    ]
}

#[test]
fn bad_records_are_dead_lettered_by_both_sinks_and_their_neighbours_arrive() {
    let cluster = together();
    let stage = Stage::new(&cluster, "bad-input", 2);
    let producer = Producer::new(&cluster.kafka.bootstrap()).unwrap();
    let mut generator = Generator::new(&stage.topic, 11).keys(10);
    for (_, value) in bad_values() {
        producer.produce(&stage.topic, &mut generator, 20).unwrap();
        producer.flush().unwrap();
        // Not in the ledger of good records: a producer of its own.
        let bad = Producer::new(&cluster.kafka.bootstrap()).unwrap();
        bad.send(&stage.topic, &record(value)).unwrap();
        bad.flush().unwrap();
    }
    // Raw line breaks between tokens are white space: the record is good, and stays one line.
    let pretty = producer.ledger().len() as u64;
    let broken_lines = format!(
        "{{\n  \"run\": \"{}\",\r\n \"seq\": {pretty}\n}}",
        stage.topic
    );
    producer.send(&stage.topic, &record(broken_lines)).unwrap();
    producer.flush().unwrap();

    let outflow = stage.run(Sinks::Both);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    stop_cleanly(&outflow);

    let letters = cluster
        .kafka
        .client()
        .read_all(&stage.dead_letters)
        .unwrap();
    let mut by_value: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for letter in &letters {
        assert_eq!(
            letter.header("__connect.errors.topic").as_deref(),
            Some(&*stage.topic)
        );
        assert!(letter.header("__connect.errors.offset").is_some());
        *by_value
            .entry(letter.value.clone().unwrap_or_default())
            .or_default() += 1;
    }
    for (name, value) in bad_values() {
        assert_eq!(
            by_value.get(&value),
            Some(&2),
            "{name}: one dead letter of each sink"
        );
    }
    let documents = cluster.elasticsearch.documents();
    documents.refresh(&stage.topic).unwrap();
    let good = producer.ledger();
    assert_eq!(documents.count(&stage.topic).unwrap(), good.len() as u64);
    stage.check_hdfs(&good);
}

#[test]
fn a_mapping_error_gets_its_dead_letter_with_elasticsearchs_own_words() {
    let cluster = together();
    let stage = Stage::new(&cluster, "mapping", 1);
    let outflow = stage.run(Sinks::Elasticsearch);
    let mut ledger = stage.produce(50, 12);
    let bad = Producer::new(&cluster.kafka.bootstrap()).unwrap();
    bad.send(&stage.topic, &record(r#"{"strict_number":"not a number"}"#))
        .unwrap();
    bad.flush().unwrap();
    ledger.merge(stage.produce(50, 13));
    stage.wait_caught_up(&outflow, "elasticsearch");
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    let letters = cluster
        .kafka
        .client()
        .read_all(&stage.dead_letters)
        .unwrap();
    assert_eq!(letters.len(), 1);
    let reason = letters[0].header("outflow.reason").unwrap_or_default();
    assert!(
        reason.contains("parsing_exception"),
        "the reason was {reason:?}"
    );
}

#[test]
fn ten_megabytes_in_one_record_arrive_in_both_sinks() {
    let cluster = together();
    let stage = Stage::with_large_records(&cluster, "large");
    let large = stage.topic.clone();
    let properties = [("message.max.bytes", "20000000")];
    let producer = Producer::with_properties(&cluster.kafka.bootstrap(), &properties).unwrap();
    let pad = "x".repeat(10_000_000);
    let value = format!(r#"{{"run":"{large}","seq":0,"pad":"{pad}"}}"#);
    producer.send(&large, &record(value)).unwrap();
    producer.flush().unwrap();
    let outflow = stage.run(Sinks::Both);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    stop_cleanly(&outflow);
    let ledger = producer.ledger();
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}

#[test]
fn a_topic_that_does_not_exist_yet_is_named_waited_for_and_read_from_its_beginning() {
    let cluster = together();
    let stage = Stage::without_topic(&cluster, "later");
    let outflow = stage.start(Sinks::Both);
    wait_until("readiness names the missing topic", PATIENCE, || {
        let answer = outflow.http().and_then(|http| http.get("/readyz"));
        match answer.map_err(|e| e.to_string())? {
            answer if answer.status == 503 && answer.text().contains(&stage.topic) => Ok(()),
            answer => Err(answer.text()),
        }
    })
    .unwrap();
    cluster
        .kafka
        .client()
        .create_topic(&stage.topic, 3, &[])
        .unwrap();
    let ledger = stage.produce(300, 14);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    outflow.wait_ready(PATIENCE).unwrap();
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}
