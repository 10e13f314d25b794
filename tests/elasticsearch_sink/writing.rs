//! What stands in Elasticsearch after records were written, and written again.

use outflow::config::settings::{ElasticsearchSettings, IdSource, Tombstones, WriteOp};
use outflow::sinks::Answer;
use outflow::sinks::elasticsearch::batch::Op;
use outflow::sinks::elasticsearch::request::FILTER;
use outflow::sinks::elasticsearch::success::is_all_done;
use serde_json::json;
use testbed::http::Method;

use super::support::{Driver, Server, assert_holds, document, fresh, settings, unix_ms};

#[test]
fn a_replay_lands_on_the_same_documents() {
    let server = Server::take();
    for op in [WriteOp::Index, WriteOp::Create] {
        let topic = fresh("replay");
        let settings = ElasticsearchSettings {
            op,
            ..settings(server.url(), "{topic}")
        };
        for run in 0..2 {
            let mut driver = Driver::new(settings.clone());
            for slot in 0..2 {
                driver.open(slot, &topic, 1, 0);
                driver.append_all(slot, 0..700);
            }
            for slot in 0..2 {
                driver.until_acked(slot, 1, 700);
            }
            assert!(driver.refused().is_empty());
            // What was sent arrived as it was sent: no body had to be halved.
            assert_eq!(driver.retries("unreadable"), 0);
            let already = driver.metrics.already_present.get();
            let expected = if run == 1 && op == WriteOp::Create {
                1_400
            } else {
                0
            };
            assert_eq!(already, expected, "{op:?}, run {run}");
        }
        for slot in 0..2 {
            assert_holds(&server.documents(), &topic, slot, 700);
        }
    }
}

/// What reads answers in full costs a tenth of all CPU time; nearly every answer needn't be.
#[test]
fn an_answer_in_which_all_went_well_is_known_by_its_bytes() {
    let server = Server::take();
    let index = fresh("bytes");
    let path = format!("/_bulk?filter_path={FILTER}");
    let lines = ["index", "create", "index", "delete"].map(|op| {
        let id = if op == "create" { "b" } else { "a" };
        let document = if op == "delete" { "" } else { "{\"x\":1}\n" };
        format!("{{\"{op}\":{{\"_index\":\"{index}\",\"_id\":\"{id}\"}}}}\n{document}")
    });
    let body = ("application/x-ndjson", lines.concat().into_bytes());
    let answer = server.http().send(Method::POST, &path, Some(body)).unwrap();
    let ops = [Op::Index, Op::Create, Op::Index, Op::Delete];
    assert!(
        is_all_done(&answer.body, ops.into_iter()),
        "{}",
        answer.text()
    );
}

#[test]
fn compressed_bodies_are_understood() {
    let server = Server::take();
    let index = fresh("gzip");
    let settings = ElasticsearchSettings {
        gzip_level: Some(1),
        ..settings(server.url(), &index)
    };
    let mut driver = Driver::new(settings);
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..500);
    driver.until_acked(0, 1, 500);
    assert_holds(&server.documents(), &index, 0, 500);
}

#[test]
fn of_a_key_the_newest_record_wins_in_whatever_order_they_come() {
    let server = Server::take();
    let index = fresh("keyed");
    let settings = ElasticsearchSettings {
        id: IdSource::Key,
        tombstones: Tombstones::Delete,
        ..settings(server.url(), &index)
    };
    let mut newer = Driver::new(settings.clone());
    newer.open(0, "t", 1, 10);
    newer.append(0, 10, Some("k"), Some(&document(10))).unwrap();
    newer
        .append(0, 11, Some("gone"), Some(&document(11)))
        .unwrap();
    newer.append(0, 12, Some("gone"), None).unwrap();
    newer.until_acked(0, 1, 13);

    let mut older = Driver::new(settings);
    older.open(0, "t", 1, 5);
    older.append(0, 5, Some("k"), Some(&document(5))).unwrap();
    older
        .append(0, 6, Some("gone"), Some(&document(6)))
        .unwrap();
    // The same offsets again: a replay.
    older.append(0, 10, Some("k"), Some(&document(10))).unwrap();
    older.until_acked(0, 1, 11);
    assert_eq!(older.metrics.already_present.get(), 3);
    assert!(older.refused().is_empty());

    let all = server.documents().all(&index).unwrap();
    let [only] = all.as_slice() else {
        panic!("not one document: {all:?}")
    };
    assert_eq!((only.id.as_str(), only.version), ("k", 10));
    assert_eq!(only.source, json!({"n": 10}));
}

#[test]
fn a_data_stream_takes_creates_and_replays() {
    let server = Server::take();
    let name = fresh("stream");
    let template = json!({"index_patterns": [name], "data_stream": {},
        "template": {"mappings": {"properties": {"@timestamp": {"type": "date"}}}}});
    let path = format!("/_index_template/{name}");
    server.http().put_json(&path, &template).unwrap();
    let settings = ElasticsearchSettings {
        op: WriteOp::Create,
        ..settings(server.url(), &name)
    };
    for run in 0..2_u64 {
        let mut driver = Driver::new(settings.clone());
        driver.open(0, "t", 1, 0);
        for n in 0..50 {
            let value = format!("{{\"@timestamp\":\"2026-11-23T04:05:06Z\",\"n\":{n}}}");
            driver.append(0, n, None, Some(&value)).unwrap();
        }
        driver.until_acked(0, 1, 50);
        assert!(driver.refused().is_empty(), "{:?}", driver.refused());
        assert_eq!(driver.metrics.already_present.get(), 50 * run);
    }
    assert_holds(&server.documents(), &name, 0, 50);
}

#[test]
fn another_document_under_our_id_is_not_taken_for_ours() {
    let server = Server::take();
    let index = fresh("taken");
    let http = server.http();
    let other = json!({"n": 1, "from": "another cluster"});
    http.put_json(&format!("/{index}/_doc/t+0+0"), &other)
        .unwrap();
    let ours_and_more = json!({"n": 1, "event": {"ingested": "by a pipeline"}});
    http.put_json(&format!("/{index}/_doc/t+0+1"), &ours_and_more)
        .unwrap();
    let settings = ElasticsearchSettings {
        op: WriteOp::Create,
        ..settings(server.url(), &index)
    };
    let mut driver = Driver::new(settings);
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..3);
    driver.until_acked(0, 1, 3);
    let refused = driver.refused();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(
        (refused[0].0, refused[0].1.reason.as_str()),
        (0, "id_taken")
    );
    assert_eq!(driver.metrics.already_present.get(), 1);
}

#[test]
fn the_date_of_the_record_names_the_index() {
    let server = Server::take();
    let topic = fresh("dated");
    let mut driver = Driver::new(settings(server.url(), "{topic}-{yyyy.MM.dd}"));
    driver.open(0, &topic, 1, 0);
    driver.append_all(0, 0..3);
    driver.until_acked(0, 1, 3);
    let all = server.documents().all(&format!("{topic}-*")).unwrap();
    assert_eq!(all.len(), 3);
    let year_begins = all[0].index.rsplit('-').next().unwrap()[..4]
        .parse::<i64>()
        .unwrap();
    let years = unix_ms() / 1_000 / 86_400 / 365;
    assert!((years + 1969..=years + 1971).contains(&year_begins));
}

#[test]
fn holes_and_skipped_records_are_part_of_the_acked_range() {
    let server = Server::take();
    let index = fresh("holes");
    let mut driver = Driver::new(settings(server.url(), &index));
    driver.open(0, "t", 1, 100);
    driver.append(0, 105, None, Some(&document(105))).unwrap();
    driver.append(0, 106, None, None).unwrap();
    driver.append(0, 109, None, Some("not JSON")).unwrap_err();
    driver.until_acked(0, 1, 110);
    // Nothing but records that aren't sent.
    driver.append(0, 120, None, None).unwrap();
    driver.until_acked(0, 1, 121);
    assert_eq!(server.documents().count(&index).unwrap(), 1);
}

#[test]
fn drained_comes_after_the_last_ack_and_nothing_after_close() {
    let server = Server::take();
    let index = fresh("drain");
    let settings = ElasticsearchSettings {
        linger: std::time::Duration::from_secs(3_600),
        max_in_flight: 2,
        ..settings(server.url(), &index)
    };
    let mut driver = Driver::new(settings);
    for slot in 0..2 {
        driver.open(slot, "t", 7, 0);
        driver.append_all(slot, 0..100);
    }
    let (slot, epoch) = (outflow::sinks::Slot(0), outflow::offsets::Epoch(7));
    driver.sink.drain(slot, epoch);
    let drained = Answer::Drained { slot, epoch };
    driver.until("drained", |d| d.answers.contains(&drained));
    assert_eq!(driver.acked(0, 7), 100);
    assert_eq!(driver.answers.iter().filter(|a| **a == drained).count(), 1);
    driver.sink.close(slot, epoch);
    driver.until_acked(1, 7, 100);
    driver.open(0, "t", 8, 100);
    driver.append_all(0, 100..101);
    driver.sink.drain(slot, outflow::offsets::Epoch(8));
    driver.until_acked(0, 8, 101);
}
