//! The server is down, frozen, slow, overloaded, or says what nobody understands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outflow::config::settings::{ElasticsearchSettings, IdSource, WriteOp};
use outflow::offsets::Epoch;
use outflow::sinks::{Answer, Slot};
use outflow::status::CircuitState;
use serde_json::json;
use testbed::http_proxy::{BulkItem, ItemFault};
use testbed::{Fault, HttpProxy};

use super::support::{Driver, Server, assert_holds, document, fresh, settings};

#[test]
fn an_outage_is_waited_out_and_work_resumes_within_five_seconds() {
    let server = Server::take();
    let index = fresh("outage");
    let mut driver = Driver::new(settings(server.url(), &index));
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..100);
    driver.until_acked(0, 1, 100);

    server.node().kill().unwrap();
    driver.append_all(0, 100..2_000);
    driver.until_circuit(CircuitState::Open);
    let health = driver.health();
    assert!(health.reason.unwrap().contains("refused"));

    server.node().start().unwrap();
    let back = Instant::now();
    driver.until_acked(0, 1, 2_000);
    // The promise itself is about time.
    assert!(
        back.elapsed() < Duration::from_secs(5),
        "{:?}",
        back.elapsed()
    );
    assert_eq!(driver.health().circuit, CircuitState::Closed);
    assert!(driver.refused().is_empty());
    assert_holds(&server.documents(), &index, 0, 2_000);
}

#[test]
fn a_frozen_server_is_timed_out_and_nothing_is_doubled() {
    let server = Server::take();
    let index = fresh("frozen");
    let settings = ElasticsearchSettings {
        op: WriteOp::Create,
        request_timeout: Duration::from_secs(2),
        ..settings(server.url(), &index)
    };
    let mut driver = Driver::new(settings);
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..10);
    driver.until_acked(0, 1, 10);
    server.node().freeze().unwrap();
    driver.append_all(0, 10..200);
    driver.until("it was tried again", |d| {
        d.retries("request_unavailable") > 0
    });
    server.node().thaw().unwrap();
    driver.until_acked(0, 1, 200);
    assert!(driver.refused().is_empty());
    assert_holds(&server.documents(), &index, 0, 200);
}

#[test]
fn a_server_that_answers_too_late_is_sent_less_at_once() {
    let server = Server::take();
    let index = fresh("late");
    let proxy = HttpProxy::start(server.url()).unwrap();
    let settings = ElasticsearchSettings {
        op: WriteOp::Create,
        request_timeout: Duration::from_secs(1),
        ..settings(&proxy.url(), &index)
    };
    let mut driver = Driver::new(settings);
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..1);
    driver.until_acked(0, 1, 1);
    assert_eq!(driver.concurrency(), 4);
    // Forwarded: what is given up is written all the same.
    proxy.always(Fault::Delay(Duration::from_secs(3)));
    let text = "x".repeat(100_000);
    for n in 1..9 {
        let large = json!({"n": n, "text": text}).to_string();
        driver.append(0, n, None, Some(&large)).unwrap();
    }
    driver.until("less is sent", |d| d.concurrency() < 4);
    proxy.heal();
    driver.until_acked(0, 1, 9);
    assert!(driver.refused().is_empty());
    assert_holds(&server.documents(), &index, 0, 9);
}

#[test]
fn answers_that_are_lost_or_not_understood_are_asked_for_again() {
    let server = Server::take();
    let html = b"<html>200 OK</html>".to_vec();
    let short = br#"{"errors":false,"items":[{"create":{"status":201}}]}"#.to_vec();
    for fault in [
        Fault::DropResponse,
        Fault::Truncate(20),
        Fault::Garbage(html),
        Fault::Garbage(short),
        Fault::DropRequest,
    ] {
        let index = fresh("lost");
        let proxy = HttpProxy::start(server.url()).unwrap();
        let settings = ElasticsearchSettings {
            op: WriteOp::Create,
            ..settings(&proxy.url(), &index)
        };
        let mut driver = Driver::new(settings);
        driver.open(0, "t", 1, 0);
        proxy.script([fault.clone()]);
        let was_written = !matches!(fault, Fault::DropRequest);
        driver.append_all(0, 0..50);
        driver.until_acked(0, 1, 50);
        assert!(driver.refused().is_empty(), "{fault:?}");
        // The proxy's own connection may have died with the server in an earlier test.
        let arrived = proxy.counters().forwarded > 1;
        let expected = if was_written && arrived { 50 } else { 0 };
        // 409 after a try of ours is believed at once: nothing is fetched to be compared.
        let counters = proxy.counters();
        assert_eq!(counters.requests, counters.matched, "{fault:?}");
        assert_eq!(driver.metrics.already_present.get(), expected, "{fault:?}");
        assert_holds(&server.documents(), &index, 0, 50);
    }
}

#[test]
fn another_record_with_the_same_key_is_not_taken_for_a_lost_try() {
    let server = Server::take();
    let index = fresh("lostkey");
    let other = json!({"n": 4711, "from": "another record"});
    let path = format!("/{index}/_doc/taken");
    server.http().put_json(&path, &other).unwrap();
    let proxy = HttpProxy::start(server.url()).unwrap();
    let settings = ElasticsearchSettings {
        op: WriteOp::Create,
        id: IdSource::Key,
        ..settings(&proxy.url(), &index)
    };
    let mut driver = Driver::new(settings);
    driver.open(0, "t", 1, 0);
    proxy.script([Fault::DropResponse]);
    for (n, key) in [(0, "taken"), (1, "free")] {
        driver.append(0, n, Some(key), Some(&document(n))).unwrap();
    }
    driver.until_acked(0, 1, 2);
    let refused = driver.refused();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(
        (refused[0].0, refused[0].1.reason.as_str()),
        (0, "id_taken")
    );
    assert_eq!(server.documents().count(&index).unwrap(), 2);
}

#[test]
fn only_items_that_failed_are_sent_again() {
    let server = Server::take();
    let index = fresh("mixed");
    let proxy = HttpProxy::start(server.url()).unwrap();
    let mut driver = Driver::new(settings(&proxy.url(), &index));
    driver.open(0, "t", 1, 0);
    let statuses = |place: usize| match place {
        1 => Some(429),
        4 => Some(500),
        5 => Some(503),
        7 => Some(400),
        _ => None,
    };
    let edit = move |item: &BulkItem<'_>| statuses(item.place).map(ItemFault::status);
    proxy.script([Fault::EditItems {
        edit: Arc::new(edit),
        honest: true,
    }]);
    driver.append_all(0, 0..10);
    driver.until_acked(0, 1, 10);
    let offsets: Vec<i64> = driver.refused().iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [7]);
    let all = server.documents().all(&index).unwrap();
    assert_eq!(all.len(), 9);
    // Written once each: a second write would make it version 2.
    assert!(all.iter().all(|d| d.version == 1), "{all:?}");
}

#[test]
fn overload_shrinks_what_is_in_flight_and_is_waited_out() {
    let server = Server::take();
    let index = fresh("overload");
    let proxy = HttpProxy::start(server.url()).unwrap();
    let mut driver = Driver::new(settings(&proxy.url(), &index));
    driver.open(0, "t", 1, 0);
    let concurrency = |d: &Driver| {
        let details = d.health().details;
        let found = details
            .into_iter()
            .find(|(name, _)| name == "worker_0_concurrency");
        found.unwrap().1
    };
    assert_eq!(concurrency(&driver), "4");
    proxy.always(Fault::Answer {
        status: 429,
        retry_after: Some(1),
        body: String::new(),
    });
    driver.append_all(0, 0..500);
    driver.until_circuit(CircuitState::Open);
    driver.until("less is in flight", |d| concurrency(d) == "1");
    proxy.heal();
    driver.until_acked(0, 1, 500);
    assert!(driver.refused().is_empty());
    assert_holds(&server.documents(), &index, 0, 500);
}

#[test]
fn what_is_retried_stops_with_the_assignment() {
    let server = Server::take();
    let index = fresh("closed");
    let proxy = HttpProxy::start(server.url()).unwrap();
    let mut driver = Driver::new(settings(&proxy.url(), &index));
    driver.open(0, "t", 1, 0);
    driver.open(1, "t", 1, 0);
    proxy.always(Fault::status(503));
    driver.append_all(0, 0..50);
    driver.append_all(1, 0..50);
    driver.until_circuit(CircuitState::Open);
    driver.sink.close(Slot(0), Epoch(1));
    driver.open(0, "t", 2, 20);
    let answered = driver.answers.len();
    proxy.heal();
    driver.until_acked(1, 1, 50);
    assert_holds(&server.documents(), &index, 1, 50);
    let all = server.documents().all(&index).unwrap();
    assert!(all.iter().all(|d| d.id.starts_with("t+1+")), "{all:?}");
    let late = driver.answers[answered..]
        .iter()
        .any(|answer| matches!(answer, Answer::Acked { slot, .. } if *slot == Slot(0)));
    assert!(!late, "an assignment that is over was answered");
}

#[test]
fn an_index_that_is_unavailable_holds_up_its_own_partitions_only() {
    let server = Server::take();
    let (well, ill) = (fresh("well"), fresh("ill"));
    let proxy = HttpProxy::start(server.url()).unwrap();
    let mut driver = Driver::new(settings(&proxy.url(), "{topic}"));
    driver.open(0, &well, 1, 0);
    driver.open(1, &ill, 1, 0);
    let sick = ill.clone();
    let edit = move |item: &BulkItem<'_>| {
        (item.meta["_index"] == sick.as_str()).then(|| ItemFault::status(503))
    };
    proxy.always(Fault::EditItems {
        edit: Arc::new(edit),
        honest: true,
    });
    let (slot, epoch) = (Slot(1), Epoch(1));
    for n in 0..100 {
        driver.append(0, n, None, Some(&document(n))).unwrap();
        driver.append(1, n, None, Some(&document(n))).unwrap();
    }
    driver.until("the partition waits", |d| d.waits_for(1, &ill));
    driver.append_all(0, 100..1_000);
    driver.until_acked(0, 1, 1_000);
    assert_eq!(driver.acked(1, 1), 0);
    assert_eq!(driver.health().circuit, CircuitState::Closed);
    assert_holds(&server.documents(), &well, 0, 1_000);

    proxy.heal();
    driver.until_acked(1, 1, 100);
    let resume = Answer::Resume { slot, epoch };
    driver.until("the partition goes on", |d| d.answers.contains(&resume));
    assert!(driver.refused().is_empty());
    assert_holds(&server.documents(), &ill, 1, 100);
}

#[test]
fn with_one_of_two_nodes_dead_work_goes_on() {
    let server = Server::take();
    let index = fresh("nodes");
    let dead = format!("http://127.0.0.1:{}", testbed::ports::free_port().unwrap());
    let mut settings = settings(&dead, &index);
    settings.urls.push(server.url().parse().unwrap());
    let mut driver = Driver::new(settings);
    driver.open(0, "t", 1, 0);
    for at in 0..20 {
        driver.append_all(0, at * 10..at * 10 + 10);
        driver.until_acked(0, 1, at * 10 + 10);
    }
    assert_eq!(driver.health().circuit, CircuitState::Closed);
    assert_holds(&server.documents(), &index, 0, 200);
}
