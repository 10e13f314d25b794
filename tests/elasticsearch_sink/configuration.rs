//! What a person must mend: the circuit opens (or the index waits), nothing is refused, and work resumes by
//! itself when it is mended.

use outflow::check::Verdict;
use outflow::config::settings::{ElasticsearchSettings, WriteOp};
use outflow::offsets::Epoch;
use outflow::sinks::elasticsearch::check;
use outflow::sinks::{Answer, Slot};
use outflow::status::CircuitState;
use serde_json::json;
use testbed::{Fault, HttpProxy};

use super::support::{Driver, Server, assert_holds, fresh, settings};

#[test]
fn a_blocked_index_opens_the_circuit_until_it_is_unblocked() {
    let server = Server::take();
    let index = fresh("blocked");
    let documents = server.documents();
    documents.create_index(&index, &json!({})).unwrap();
    let mut driver = Driver::new(settings(server.url(), &index));
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..10);
    driver.until_acked(0, 1, 10);

    let block = |on: bool| {
        let settings = json!({"index.blocks.write": on});
        documents.put_settings(&index, &settings).unwrap();
    };
    block(true);
    driver.append_all(0, 10..100);
    driver.until_circuit(CircuitState::Open);
    let health = driver.health();
    let reason = health.reason.unwrap();
    assert!(reason.contains(&index), "{reason}");
    block(false);
    driver.until_acked(0, 1, 100);
    assert!(driver.refused().is_empty());
    assert_eq!(driver.health().circuit, CircuitState::Closed);
    assert_holds(&documents, &index, 0, 100);
}

#[test]
fn a_closed_index_is_waited_for() {
    let server = Server::take();
    let index = fresh("closed");
    server.documents().create_index(&index, &json!({})).unwrap();
    let proxy = HttpProxy::start(server.url()).unwrap();
    let closed = r#"{"errors":true,"items":[{"index":{"status":400,"error":
        {"type":"index_closed_exception","reason":"closed"}}}]}"#;
    proxy.always(Fault::Garbage(closed.into()));
    let mut driver = Driver::new(settings(&proxy.url(), &index));
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..1);
    driver.until_circuit(CircuitState::Open);
    proxy.heal();
    driver.until_acked(0, 1, 1);
    assert!(driver.refused().is_empty());
}

#[test]
fn of_several_indices_a_missing_one_waits_alone() {
    let server = Server::take();
    let (there, missing) = (fresh("there"), fresh("missing"));
    server.documents().create_index(&there, &json!({})).unwrap();
    let off = json!({"persistent": {"action.auto_create_index": "false"}});
    server.http().put_json("/_cluster/settings", &off).unwrap();
    let mut driver = Driver::new(settings(server.url(), "{topic}"));
    driver.open(0, &there, 1, 0);
    driver.open(1, &missing, 1, 0);
    driver.append_all(1, 0..20);
    driver.append_all(0, 0..200);
    driver.until_acked(0, 1, 200);
    let (slot, epoch) = (Slot(1), Epoch(1));
    driver.until("it waits", |d| d.waits_for(1, &missing));
    let details = driver.health().details;
    assert!(
        details.iter().any(|(name, _)| name.contains(&missing)),
        "{details:?}"
    );
    assert_eq!(driver.health().circuit, CircuitState::Closed);

    server
        .documents()
        .create_index(&missing, &json!({}))
        .unwrap();
    driver.until_acked(1, 1, 20);
    let resume = Answer::Resume { slot, epoch };
    driver.until("it goes on", |d| d.answers.contains(&resume));
    assert!(driver.refused().is_empty());
}

#[test]
fn a_full_cluster_is_not_the_records_fault() {
    let server = Server::take();
    let index = fresh("shards");
    let limit = |n: serde_json::Value| {
        let body = json!({"persistent": {"cluster.max_shards_per_node": n}});
        server.http().put_json("/_cluster/settings", &body).unwrap();
    };
    limit(json!(1));
    let mut driver = Driver::new(settings(server.url(), &index));
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..10);
    driver.until_circuit(CircuitState::Open);
    let reason = driver.health().reason.unwrap();
    limit(serde_json::Value::Null);
    driver.until_acked(0, 1, 10);
    assert!(reason.contains("shards"), "{reason}");
    assert!(driver.refused().is_empty());
}

fn findings(settings: &ElasticsearchSettings) -> Vec<(Verdict, String)> {
    findings_of(settings, &["t".to_owned()])
}

fn findings_of(settings: &ElasticsearchSettings, topics: &[String]) -> Vec<(Verdict, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let found = runtime.block_on(check(settings, topics));
    assert!(!found.is_empty());
    found.iter().map(|f| (f.verdict, f.to_string())).collect()
}

fn has(found: &[(Verdict, String)], verdict: Verdict, text: &str) -> bool {
    found
        .iter()
        .any(|(v, what)| *v == verdict && what.contains(text))
}

#[test]
fn check_says_what_the_server_says() {
    let server = Server::take();
    let (blocked, stream) = (fresh("check"), fresh("check-stream"));
    let documents = server.documents();
    let body =
        json!({"settings": {"index.blocks.write": true, "index.translog.durability": "async"}});
    documents.create_index(&blocked, &body).unwrap();
    let found = findings(&settings(server.url(), &blocked));
    assert!(has(&found, Verdict::Fine, "version 8."), "{found:?}");
    assert!(
        has(&found, Verdict::Wrong, "index.blocks.write"),
        "{found:?}"
    );
    assert!(has(&found, Verdict::Warning, "durability"), "{found:?}");
    // Topics that come by a pattern aren't known; an index that is the same for all is.
    let found = findings_of(&settings(server.url(), &blocked), &[]);
    assert!(
        has(&found, Verdict::Wrong, "index.blocks.write"),
        "{found:?}"
    );
    let found = findings_of(&settings(server.url(), "check-{topic}"), &[]);
    assert!(
        has(
            &found,
            Verdict::Fine,
            "each index is seen when it is written"
        ),
        "{found:?}"
    );

    let template = json!({"index_patterns": [stream], "data_stream": {}});
    let http = server.http();
    http.put_json(&format!("/_index_template/{stream}"), &template)
        .unwrap();
    let document = json!({"@timestamp": "2026-11-23T04:05:06Z"});
    http.post_json(&format!("/{stream}/_doc"), &document)
        .unwrap();
    let by_index = settings(server.url(), &stream);
    assert!(has(&findings(&by_index), Verdict::Wrong, "create"));
    let by_create = ElasticsearchSettings {
        op: WriteOp::Create,
        ..by_index
    };
    let found = findings(&by_create);
    assert!(found.iter().all(|(v, _)| *v == Verdict::Fine), "{found:?}");

    let missing = settings(server.url(), "check-{topic}-none");
    assert!(has(&findings(&missing), Verdict::Warning, "check-t-none"));
    let off = json!({"persistent": {"action.auto_create_index": "false"}});
    http.put_json("/_cluster/settings", &off).unwrap();
    assert!(has(
        &findings(&missing),
        Verdict::Wrong,
        "auto_create_index"
    ));

    let dead = format!("http://127.0.0.1:{}", testbed::ports::free_port().unwrap());
    assert!(has(
        &findings(&settings(&dead, "x")),
        Verdict::Wrong,
        "not reached"
    ));
}
