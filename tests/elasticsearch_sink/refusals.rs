//! Records that Elasticsearch will never take, among others that it does.

use outflow::config::settings::{ElasticsearchSettings, IdSource};
use outflow::sinks::Answer;
use serde_json::json;
use testbed::{Fault, HttpProxy};

use super::support::{Driver, Server, document, fresh, settings};

#[test]
fn a_mapping_error_refuses_that_record_and_no_other() {
    let server = Server::take();
    let index = fresh("mapping");
    let body = json!({"settings": {"index.mapping.total_fields.limit": 5},
        "mappings": {"properties": {"n": {"type": "long"}}}});
    server.documents().create_index(&index, &body).unwrap();
    let mut driver = Driver::new(settings(server.url(), &index));
    driver.open(0, "t", 1, 0);
    let many: String = (0..9).map(|i| format!(",\"f{i}\":1")).collect();
    let values = [
        document(0),
        "{\"n\":\"abc\"}".into(),
        document(2),
        format!("{{\"n\":3{many}}}"),
        // serde_json takes it, Elasticsearch doesn't.
        "{\"n\":4,\"n\":4}".into(),
        document(5),
    ];
    for (offset, value) in (0..).zip(&values) {
        driver.append(0, offset, None, Some(value)).unwrap();
    }
    driver.until_acked(0, 1, 6);
    let refused = driver.refused();
    let offsets: Vec<i64> = refused.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [1, 3, 4]);
    for (_, rejection) in &refused {
        assert_eq!(rejection.status, Some(400));
        assert!(!rejection.detail.is_empty());
    }
    assert_eq!(refused[0].1.reason, "document_parsing_exception");
    assert!(refused[0].1.detail.contains("[n]"), "{:?}", refused[0]);
    assert_eq!(server.documents().count(&index).unwrap(), 3);
    assert_refused_before_acked(&driver.answers);
}

fn assert_refused_before_acked(answers: &[Answer]) {
    for (at, answer) in answers.iter().enumerate() {
        let Answer::Refused { offset, .. } = answer else {
            continue;
        };
        let acked_before = answers[..at].iter().any(|a| {
            matches!(a, Answer::Acked { range, .. } if (range.first..range.end).contains(offset))
        });
        assert!(!acked_before, "{offset} was acked before it was refused");
    }
}

#[test]
fn a_record_can_not_smuggle_in_an_action() {
    let server = Server::take();
    let index = fresh("smuggle");
    let mut driver = Driver::new(settings(server.url(), &index));
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..1);
    let smuggled = format!(
        "{{\"a\":1}}\n{{\"delete\":{{\"_index\":\"{index}\",\"_id\":\"t+0+0\"}}}}\n{{\"b\":2}}"
    );
    let rejection = driver.append(0, 1, None, Some(&smuggled)).unwrap_err();
    assert_eq!(rejection.reason, "not_json");
    let pretty = "{\n  \"n\":\r\n 2\n}\n";
    driver.append(0, 2, None, Some(pretty)).unwrap();
    driver.until_acked(0, 1, 3);
    assert_eq!(server.documents().count(&index).unwrap(), 2);
}

#[test]
fn an_odd_key_is_an_id_like_any_other() {
    let server = Server::take();
    let index = fresh("keys");
    let settings = ElasticsearchSettings {
        id: IdSource::Key,
        ..settings(server.url(), &index)
    };
    let mut driver = Driver::new(settings);
    driver.open(0, "t", 1, 0);
    let longest = "k".repeat(512);
    let keys = [
        "\"}}\n{\"delete\":{}}",
        "\u{0}\u{1}",
        "ä/🦀?#",
        longest.as_str(),
    ];
    for (offset, key) in (0..).zip(keys) {
        driver.append(0, offset, Some(key), Some("{}")).unwrap();
    }
    let too_long = driver.append(0, 4, Some(&"k".repeat(513)), Some("{}"));
    assert_eq!(too_long.unwrap_err().reason, "key_too_long");
    driver.until_acked(0, 1, 5);
    assert!(driver.refused().is_empty(), "{:?}", driver.refused());
    let mut ids: Vec<String> = server
        .documents()
        .all(&index)
        .unwrap()
        .into_iter()
        .map(|d| d.id)
        .collect();
    ids.sort();
    let mut expected: Vec<String> = keys.iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!(ids, expected);
}

#[test]
fn what_is_too_large_is_halved_and_a_single_record_refused() {
    let server = Server::take();
    let index = fresh("large");
    // The server takes 512 KiB, a batch begins with 1 MiB.
    let mut driver = Driver::new(settings(server.url(), &index));
    driver.open(0, "t", 1, 0);
    let filler = "x".repeat(100 << 10);
    for n in 0..30 {
        let value = format!("{{\"n\":{n},\"filler\":\"{filler}\"}}");
        driver.append(0, n, None, Some(&value)).unwrap();
    }
    let huge = format!("{{\"filler\":\"{}\"}}", "x".repeat(600 << 10));
    driver.append(0, 30, None, Some(&huge)).unwrap();
    driver.append_all(0, 31..32);
    driver.until_acked(0, 1, 32);
    let refused = driver.refused();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(
        (refused[0].0, refused[0].1.reason.as_str()),
        (30, "too_large")
    );
    assert_eq!(refused[0].1.status, Some(413));
    assert_eq!(server.documents().count(&index).unwrap(), 31);
    assert!(driver.retries("too_large") > 0);
    // Learned: the next batches fit at once.
    let learned = driver.retries("too_large");
    for n in 32..52 {
        let value = format!("{{\"n\":{n},\"filler\":\"{filler}\"}}");
        driver.append(0, n, None, Some(&value)).unwrap();
    }
    driver.until_acked(0, 1, 52);
    assert_eq!(driver.retries("too_large"), learned);
}

#[test]
fn a_body_that_the_server_can_not_read_is_bisected_to_the_record() {
    let server = Server::take();
    let index = fresh("poison");
    let proxy = HttpProxy::start(server.url()).unwrap();
    let mut driver = Driver::new(settings(&proxy.url(), &index));
    driver.open(0, "t", 1, 0);
    // 8 records: the whole, the first half, its second quarter, and in it the second record.
    let bad = || Fault::status(400);
    proxy.script([bad(), bad(), Fault::Pass, bad(), Fault::Pass, bad()]);
    driver.append_all(0, 0..8);
    driver.until_acked(0, 1, 8);
    let offsets: Vec<i64> = driver.refused().iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [3]);
    assert_eq!(server.documents().count(&index).unwrap(), 7);
}
