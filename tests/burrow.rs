//! Burrow's HTTP API, answer by answer, against what Burrow (commit ced55ba) answers: names, values, quirks. The cluster
//! is made by hand, and time stands still.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "admin/http.rs"]
mod http;

use std::net::SocketAddr;
use std::sync::Arc;

use outflow::admin::{Observed, Server};
use outflow::config::settings::AdminSettings;
use outflow::error::Error;
use outflow::lag::group_records::{ClassicMember, CommittedOffset, GroupRecord, Owner};
use outflow::lag::{Keep, LogEnd, Mends, Rules, Sighting, Store};
use outflow::monitor::{About, Clusters, Watched};
use outflow::offsets::TopicPartition;
use outflow::status::SinkStatus;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

const NOW: i64 = 1_700_000_100_000;

struct Fake(Clusters);

impl Observed for Fake {
    fn sinks(&self) -> Vec<SinkStatus> {
        Vec::new()
    }

    fn release(&self, _: &str, _: &TopicPartition) -> Result<(), Error> {
        Ok(())
    }

    fn clusters(&self) -> Clusters {
        self.0.clone()
    }
}

/// Commits as (seconds before now, offset), from the oldest on.
fn commits(store: &mut Store, group: &str, topic: &str, partition: i32, list: &[(i64, i64)]) {
    for (order, (ago, offset)) in (1..).zip(list) {
        let timestamp_ms = NOW - ago * 1_000;
        let value = CommittedOffset {
            offset: *offset,
            timestamp_ms,
        };
        store.take_commit(group, topic, partition, value, order, timestamp_ms + 5);
    }
}

fn ends(store: &mut Store, topic: &str, partition: i32, offsets: &[i64]) {
    for (n, offset) in (0..).zip(offsets) {
        let at_ms = NOW - 100_000 + n * 10_000;
        store.take_log_end(
            topic,
            partition,
            LogEnd {
                offset: *offset,
                at_ms,
            },
        );
    }
}

/// A window of three. Group `slow` falls behind in `t`; `done` has read all of `u`.
fn local() -> Store {
    let mut store = Store::new(Keep {
        intervals: 3,
        ..Keep::default()
    });
    let topic = |name, num_partitions| Sighting {
        name,
        id: None,
        num_partitions,
    };
    store.set_topics(&[topic("t", 3), topic("u", 2)]);
    ends(&mut store, "t", 0, &[100]);
    ends(&mut store, "t", 1, &[50]);
    ends(&mut store, "u", 1, &[7, 7]);
    let member = ClassicMember {
        owner: Owner {
            client_id: "client-1",
            client_host: "/10.0.0.1",
        },
        assigned: vec![("t", vec![0])],
    };
    let members = GroupRecord::Classic {
        group: "slow",
        value: Some(vec![member]),
    };
    store.take(members, 1, NOW);
    commits(&mut store, "slow", "t", 0, &[(25, 90)]);
    ends(&mut store, "t", 0, &[100, 115]);
    commits(&mut store, "slow", "t", 0, &[(25, 90), (15, 95)]);
    ends(&mut store, "t", 0, &[100, 115, 130]);
    commits(&mut store, "slow", "t", 0, &[(25, 90), (15, 95), (5, 99)]);
    commits(&mut store, "slow", "t", 1, &[(5, 50)]);
    commits(&mut store, "done", "u", 1, &[(20, 6), (10, 7)]);
    let members = GroupRecord::Classic {
        group: "young",
        value: Some(vec![ClassicMember {
            owner: Owner {
                client_id: "c",
                client_host: "/h",
            },
            assigned: vec![("t", vec![2])],
        }]),
    };
    store.take(members, 1, NOW);
    store
}

struct Served {
    address: SocketAddr,
    clusters: Clusters,
    _runtime: tokio::runtime::Runtime,
}

fn serve() -> Served {
    let about = |name: &str| About {
        name: name.into(),
        servers: vec!["k1:9092".into(), "k2:9092".into()],
        client_id: "outflow-monitor".into(),
        offset_refresh_ms: 10_000,
        topic_refresh_ms: 60_000,
        include: "s.*|d.*|y.*".into(),
    };
    let rules = Rules {
        mends: Mends::NONE,
        ..Rules::default()
    };
    let watched = |name, store| Arc::new(Watched::new(about(name), rules, store, || NOW));
    let clusters = vec![
        watched("local", local()),
        watched("other", Store::new(Keep::default())),
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = AdminSettings {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        token: None,
        allow_unauthenticated: false,
    };
    let fake = Arc::new(Fake(clusters.clone()));
    let bound = runtime.block_on(Server::bind(&settings, fake, Registry::default()));
    let server = bound.unwrap().expect("it is on");
    let port = server.address().unwrap().port();
    runtime.spawn(server.serve());
    Served {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        clusters,
        _runtime: runtime,
    }
}

impl Served {
    fn ask(&self, method: &str, path: &str, body: &str) -> http::Answer {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        http::request(self.address, &request)
    }

    /// The code and the body without `request`, which is checked here.
    fn json(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let answer = self.ask(method, path, body);
        assert!(
            answer.head.contains("content-type: application/json"),
            "{path}: {}",
            answer.head
        );
        let mut value: Value = serde_json::from_str(&answer.body).expect("JSON");
        let request = value.as_object_mut().unwrap().remove("request").unwrap();
        assert_eq!(request["url"], path);
        assert!(request["host"].is_string());
        assert_eq!(request.as_object().unwrap().len(), 2);
        (answer.status, value)
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.json("GET", path, "")
    }
}

/// What Burrow answers: the message, and what else is in it.
fn fine(message: &str, more: Value) -> (u16, Value) {
    let mut body = json!({ "error": false, "message": message });
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    (200, body)
}

fn missing(message: &str) -> (u16, Value) {
    (404, json!({ "error": true, "message": message }))
}

fn offset(offset: i64, ago: i64, lag: Value) -> Value {
    let timestamp = NOW - ago * 1_000;
    json!({ "offset": offset, "timestamp": timestamp, "observedAt": timestamp + 5, "lag": lag })
}

#[test]
fn clusters_topics_and_groups_are_listed() {
    let served = serve();
    let table = [
        (
            "/v3/kafka",
            fine(
                "cluster list returned",
                json!({ "clusters": ["local", "other"] }),
            ),
        ),
        (
            "/v3/kafka/local/topic",
            fine("topic list returned", json!({ "topics": ["t", "u"] })),
        ),
        ("/v3/kafka/none/topic", missing("cluster not found")),
        // Partition 2 has no end yet, and is left out.
        (
            "/v3/kafka/local/topic/t",
            fine("topic offsets returned", json!({ "offsets": [130, 50] })),
        ),
        // Partition 0 neither: what stands first is partition 1.
        (
            "/v3/kafka/local/topic/u",
            fine("topic offsets returned", json!({ "offsets": [7] })),
        ),
        (
            "/v3/kafka/local/topic/none",
            missing("cluster or topic not found"),
        ),
        (
            "/v3/kafka/none/topic/t",
            missing("cluster or topic not found"),
        ),
        (
            "/v3/kafka/local/topic/t/consumers",
            fine(
                "consumers of topic returned",
                json!({ "consumers": ["slow"] }),
            ),
        ),
        (
            "/v3/kafka/local/topic/none/consumers",
            fine("consumers of topic returned", json!({ "consumers": [] })),
        ),
        (
            "/v3/kafka/none/topic/t/consumers",
            missing("cluster not found"),
        ),
        // A group with members that never committed is listed.
        (
            "/v3/kafka/local/consumer",
            fine(
                "consumer list returned",
                json!({ "consumers": ["done", "slow", "young"] }),
            ),
        ),
        (
            "/v3/kafka/other/consumer",
            fine("consumer list returned", json!({ "consumers": [] })),
        ),
        ("/v3/kafka/none/consumer", missing("cluster not found")),
    ];
    for (path, expected) in table {
        assert_eq!(served.get(path), expected, "{path}");
    }
}

#[test]
fn a_groups_detail_has_windows_of_full_length_with_nulls_in_front() {
    let served = serve();
    let newest = [
        offset(90, 25, json!(10)),
        offset(95, 15, json!(20)),
        offset(99, 5, json!(31)),
    ];
    let topics = json!({ "t": [
        { "offsets": newest, "owner": "/10.0.0.1", "client_id": "client-1", "current-lag": 31 },
        { "offsets": [null, null, offset(50, 5, json!(0))], "owner": "", "client_id": "", "current-lag": 0 },
        { "offsets": [], "owner": "", "client_id": "", "current-lag": 0 },
    ] });
    assert_eq!(
        served.get("/v3/kafka/local/consumer/slow"),
        fine("consumer detail returned", json!({ "topics": topics }))
    );
    for path in [
        "/v3/kafka/local/consumer/none",
        "/v3/kafka/none/consumer/slow",
        "/v3/kafka/local/consumer/young",
    ] {
        assert_eq!(
            served.get(path),
            missing("cluster or consumer not found"),
            "{path}"
        );
    }
}

/// Partition 0 of the group that falls behind.
fn behind() -> Value {
    json!({
        "topic": "t", "partition": 0, "owner": "/10.0.0.1", "client_id": "client-1", "status": "WARN",
        "start": offset(90, 25, json!(10)), "end": offset(99, 5, json!(31)),
        "current_lag": 31, "complete": 1,
    })
}

#[test]
fn status_has_what_isnt_ok_and_lag_has_all() {
    let served = serve();
    let status = |partitions: Value| {
        json!({
            "cluster": "local", "group": "slow", "status": "WARN", "complete": 0.33333334,
            "partitions": partitions, "partition_count": 3, "maxlag": behind(), "totallag": 31,
        })
    };
    let one = fine(
        "consumer status returned",
        json!({ "status": status(json!([behind()])) }),
    );
    assert_eq!(served.get("/v3/kafka/local/consumer/slow/status"), one);
    let end = offset(50, 5, json!(0));
    let others = json!([
        behind(),
        { "topic": "t", "partition": 1, "owner": "", "client_id": "", "status": "OK",
          "start": end, "end": end, "current_lag": 0, "complete": 0.33333334 },
        { "topic": "t", "partition": 2, "owner": "", "client_id": "", "status": "OK",
          "start": null, "end": null, "current_lag": 0, "complete": 0 },
    ]);
    let all = fine(
        "consumer status returned",
        json!({ "status": status(others) }),
    );
    assert_eq!(served.get("/v3/kafka/local/consumer/slow/lag"), all);
    let well = served.get("/v3/kafka/local/consumer/done/status").1;
    assert_eq!(well["status"]["status"], "OK");
    assert_eq!(well["status"]["partitions"], json!([]));
    assert_eq!(well["status"]["maxlag"]["current_lag"], 0);
}

/// As Go writes them: whole floats without a fraction, others as short as a float32 may be.
#[test]
fn floats_are_written_as_burrow_does() {
    let served = serve();
    let body = served
        .ask("GET", "/v3/kafka/local/consumer/slow/lag", "")
        .body;
    for text in [
        "\"complete\":1}",
        "\"complete\":0}",
        "\"complete\":0.33333334,",
    ] {
        assert!(body.contains(text), "{text}: {body}");
    }
}

#[test]
fn an_unknown_groups_status_is_an_error_only_by_its_code() {
    let served = serve();
    for (path, cluster, group) in [
        ("/v3/kafka/local/consumer/none/status", "local", "none"),
        ("/v3/kafka/local/consumer/none/lag", "local", "none"),
        ("/v3/kafka/none/consumer/slow/lag", "none", "slow"),
        ("/v3/kafka/local/consumer/young/status", "local", "young"),
    ] {
        let status = json!({
            "cluster": cluster, "group": group, "status": "NOTFOUND", "complete": 1, "partitions": [],
            "partition_count": 0, "maxlag": null, "totallag": 0,
        });
        let (_, expected) = fine("consumer status returned", json!({ "status": status }));
        assert_eq!(served.get(path), (404, expected), "{path}");
    }
}

#[test]
fn a_group_can_be_removed_and_an_unknown_one_too() {
    let served = serve();
    let removed = fine("consumer group removed", json!({}));
    for path in [
        "/v3/kafka/local/consumer/none",
        "/v3/kafka/none/consumer/none",
        "/v3/kafka/local/consumer/slow/topic/none",
        "/v3/kafka/local/consumer/slow/topic/t",
        "/v3/kafka/local/consumer/done",
    ] {
        assert_eq!(served.json("DELETE", path, ""), removed, "{path}");
    }
    let (_, left) = served.get("/v3/kafka/local/consumer");
    assert_eq!(left["consumers"], json!(["slow", "young"]));
    let (_, detail) = served.get("/v3/kafka/local/consumer/slow");
    assert_eq!(detail["topics"], json!({}));
}

#[test]
fn the_configuration_is_told_in_burrows_words() {
    let served = serve();
    let profile = json!({
        "name": "local", "client-id": "outflow-monitor", "kafka-version": "", "tls": null, "sasl": null,
    });
    let servers = json!(["k1:9092", "k2:9092"]);
    let cluster = json!({ "module": {
        "class-name": "kafka", "servers": servers, "client-profile": profile,
        "topic-refresh": 60, "offset-refresh": 10,
    } });
    let cluster = fine("cluster module detail returned", cluster);
    assert_eq!(served.get("/v3/kafka/local"), cluster);
    assert_eq!(served.get("/v3/config/cluster/local"), cluster);
    assert_eq!(
        served.get("/v3/kafka/none"),
        missing("cluster module not found")
    );
    for kind in ["storage", "evaluator", "cluster", "consumer"] {
        let list = json!({ "coordinator": kind, "modules": ["local", "other"] });
        let path = format!("/v3/config/{kind}");
        assert_eq!(served.get(&path), fine("module list returned", list));
        let not_found = missing(&format!("{kind} module not found"));
        assert_eq!(served.get(&format!("{path}/none")), not_found);
    }
    let none = json!({ "coordinator": "notifier", "modules": [] });
    assert_eq!(
        served.get("/v3/config/notifier"),
        fine("module list returned", none)
    );
    assert_eq!(
        served.get("/v3/config/notifier/x"),
        missing("notifier module not found")
    );
    let storage = json!({ "module": {
        "class-name": "inmemory", "intervals": 3, "min-distance": 0, "group-allowlist": "s.*|d.*|y.*",
        "expire-group": 604_800,
    } });
    assert_eq!(
        served.get("/v3/config/storage/local"),
        fine("storage module detail returned", storage)
    );
    let evaluator = json!({ "module": { "class-name": "caching", "expire-cache": 0 } });
    assert_eq!(
        served.get("/v3/config/evaluator/local"),
        fine("evaluator module detail returned", evaluator)
    );
    let (code, consumer) = served.get("/v3/config/consumer/local");
    assert_eq!(
        (code, &consumer["module"]["cluster"]),
        (200, &json!("local"))
    );
    let (code, main) = served.get("/v3/config");
    assert_eq!(
        (code, &main["message"]),
        (200, &json!("main config returned"))
    );
    let sections = ["general", "logging", "zookeeper", "httpserver"];
    assert!(
        sections.iter().all(|section| main[section].is_object()),
        "{main}"
    );
}

#[test]
fn the_log_level_is_told_and_set() {
    let served = serve();
    let (code, level) = served.get("/v3/admin/loglevel");
    assert_eq!(
        (code, &level["message"]),
        (200, &json!("log level returned"))
    );
    assert!(level["level"].is_string());
    let set = |body: &str| served.json("POST", "/v3/admin/loglevel", body);
    assert_eq!(
        set("{\"level\":\"debug\"}"),
        fine("set log level", json!({}))
    );
    assert_eq!(set("{\"level\":\"loud\"}"), missing("unknown log level"));
    let (code, broken) = set("{");
    let said = json!({ "error": true, "message": "could not decode message body" });
    assert_eq!((code, broken), (400, said));
}

#[test]
fn what_burrow_hasnt_is_said_as_it_says_it() {
    let served = serve();
    for path in ["/v3/other", "/v3/kafka/local/other", "/v3/config/other"] {
        let answer = served.ask("GET", path, "");
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            answer.head.contains("content-type: text/plain"),
            "{}",
            answer.head
        );
        assert_eq!(
            answer.body,
            "{\"error\":true,\"message\":\"invalid request type\",\"result\":{}}\n"
        );
    }
}

#[test]
fn health_is_told_on_burrows_paths() {
    let served = serve();
    let answer = |path: &str| {
        let answer = served.ask("GET", path, "");
        (answer.status, answer.body)
    };
    assert_eq!(answer("/burrow/admin"), (200, "GOOD".into()));
    assert_eq!(answer("/burrow/admin/ready"), (503, "STARTING".into()));
    served
        .clusters
        .iter()
        .for_each(|watched| watched.set_ready());
    assert_eq!(answer("/burrow/admin/ready"), (200, "READY".into()));
}

#[test]
fn prometheus_has_burrows_names_and_full_windows_only_where_burrow_has() {
    let served = serve();
    let metrics = served.ask("GET", "/metrics", "").body;
    let group = "cluster=\"local\",consumer_group=\"slow\"";
    for line in [
        format!("burrow_kafka_consumer_lag_total{{{group}}} 31.0\n"),
        format!("burrow_kafka_consumer_status{{{group}}} 2.0\n"),
        format!("burrow_kafka_consumer_partition_lag{{{group},topic=\"t\",partition=\"0\"}} 31.0\n"),
        format!("burrow_kafka_consumer_partition_lag{{{group},topic=\"t\",partition=\"1\"}} 0.0\n"),
        format!("burrow_kafka_consumer_current_offset{{{group},topic=\"t\",partition=\"0\"}} 99.0\n"),
        format!("burrow_kafka_topic_partition_status{{{group},topic=\"t\",partition=\"0\"}} 2.0\n"),
        "burrow_kafka_topic_partition_offset{cluster=\"local\",topic=\"t\",partition=\"0\"} 130.0\n".into(),
        "burrow_kafka_topic_partition_offset{cluster=\"local\",topic=\"u\",partition=\"1\"} 7.0\n".into(),
        "outflow_consumer_catch_up_seconds{cluster=\"local\",consumer_group=\"done\"} 0.0\n".into(),
    ] {
        assert!(metrics.contains(&line), "{line} isn't in {metrics}");
    }
    let half = "burrow_kafka_consumer_current_offset{cluster=\"local\",consumer_group=\"slow\",topic=\"t\",partition=\"1\"}";
    assert!(!metrics.contains(half), "its window isn't full");
    assert!(!metrics.contains("consumer_group=\"young\""));
}

#[test]
fn our_own_answer_has_reasons_paces_and_windows_the_worst_first() {
    let served = serve();
    let own = |path: &str| -> Value {
        serde_json::from_str(&served.ask("GET", path, "").body).expect("JSON")
    };
    let groups = own("/api/v1/groups");
    assert_eq!(groups["clusters"][0]["cluster"], "local");
    assert_eq!(groups["groups"][0]["group"], "slow");
    assert_eq!(groups["groups"][0]["status"], "WARN");
    let reason = "t[0]: records come faster than they are read: the lag grew from 10 to 31";
    assert_eq!(groups["groups"][0]["reason"], reason);
    assert_eq!(own("/api/v1/groups?limit=1")["groups_left_out"], 1);
    assert_eq!(own("/api/v1/groups?cluster=other")["groups"], json!([]));
    let slow = own("/api/v1/groups/local/slow?limit=1");
    assert_eq!(
        (&slow["partitions_left_out"], &slow["lag"]),
        (&json!(2), &json!(31))
    );
    let partition = &slow["partitions"][0];
    assert_eq!(partition["commits"][2], json!([NOW - 5_000, 99, 31]));
    assert_eq!(partition["log_ends"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&partition["catch_up"], &partition["owner"]),
        (&json!("never"), &json!("/10.0.0.1"))
    );
    assert_eq!(
        served.ask("GET", "/api/v1/groups/local/none", "").status,
        404
    );
    assert_eq!(
        served.ask("GET", "/api/v1/groups/none/slow", "").status,
        404
    );
}
