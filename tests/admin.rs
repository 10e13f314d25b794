//! The admin server as its clients see it: over a socket.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "admin/http.rs"]
mod http;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use outflow::admin::{Observed, Server};
use outflow::config::settings::AdminSettings;
use outflow::error::Error;
use outflow::metrics::SinkMetrics;
use outflow::observe::{Client, Picture, Wanted};
use outflow::offsets::TopicPartition;
use outflow::status::{
    CircuitState, PartitionState, PartitionStatus, SinkHealth, SinkStatus, WorkerStatus,
};
use prometheus_client::registry::Registry;
use secrecy::SecretString;

/// Sinks that show what they are told to show.
#[derive(Default)]
struct Fake {
    sinks: Mutex<Vec<SinkStatus>>,
    released: Mutex<Vec<String>>,
    paused: Mutex<Vec<bool>>,
}

impl Observed for Fake {
    fn sinks(&self) -> Vec<SinkStatus> {
        self.sinks.lock().unwrap().clone()
    }

    fn release(&self, sink: &str, partition: &TopicPartition) -> Result<(), Error> {
        if sink != "hdfs" {
            return Err(Error::rejected(format!("no sink is named {sink:?}")));
        }
        self.released.lock().unwrap().push(partition.to_string());
        Ok(())
    }

    fn set_paused(&self, sink: &str, paused: bool) -> Result<(), Error> {
        match sink {
            "hdfs" => self.paused.lock().unwrap().push(paused),
            "busy" => return Err(Error::unavailable("a worker doesn't answer yet")),
            _ => return Err(Error::rejected(format!("no sink is named {sink:?}"))),
        }
        Ok(())
    }
}

fn partition(number: i32, state: PartitionState) -> PartitionStatus {
    let reason = (state == PartitionState::Quarantined).then(|| "a strange file".to_owned());
    PartitionStatus {
        topic: "events".into(),
        partition: number,
        epoch: 1,
        state,
        reason,
        needs_a_person: state == PartitionState::Quarantined,
        next: Some(12),
        acked: Some(10),
        committed: Some(9),
        log_end: Some(15),
        lag: Some(5),
        num_commits: 1,
        ..PartitionStatus::default()
    }
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

fn running(name: &str) -> SinkStatus {
    let worker = WorkerStatus {
        state: "running".into(),
        partitions: vec![partition(0, PartitionState::Running)],
        beat_ms: Some(now_ms()),
        last_commit_ms: Some(now_ms() - 2_000),
        ..WorkerStatus::default()
    };
    SinkStatus {
        name: name.into(),
        kind: "hdfs",
        group: Some(format!("outflow-{name}")),
        state: "running".into(),
        reason: None,
        paused: name == "elasticsearch",
        health: SinkHealth::default(),
        workers: vec![worker],
        lag: Some(5),
        totals: Default::default(),
        verdict: None,
    }
}

/// A served fake, and the runtime that serves it.
struct Served {
    fake: Arc<Fake>,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

fn loopback() -> AdminSettings {
    AdminSettings {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        token: None,
        allow_unauthenticated: false,
    }
}

fn serve(settings: &AdminSettings) -> Served {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let fake = Arc::new(Fake::default());
    *fake.sinks.lock().unwrap() = vec![running("hdfs"), running("elasticsearch")];
    let mut registry = Registry::default();
    for sink in ["hdfs", "elasticsearch"] {
        SinkMetrics::register(&mut registry, &sink.into())
            .records
            .inc_by(7);
    }
    let bound = runtime.block_on(Server::bind(settings, fake.clone(), registry));
    let server = bound.unwrap().expect("it is on");
    let port = server.address().unwrap().port();
    runtime.spawn(server.serve());
    Served {
        fake,
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        _runtime: runtime,
    }
}

impl Served {
    fn request(&self, request: &str) -> (u16, String) {
        let answer = http::request(self.address, request);
        assert!(answer.head.is_empty() || answer.head.starts_with("http/1.1"));
        (answer.status, answer.body)
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String) {
        let headers = if headers.contains("Host:") {
            headers.to_owned()
        } else {
            format!("Host: localhost\r\n{headers}")
        };
        self.request(&format!(
            "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"
        ))
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "")
    }

    fn show(&self, change: impl FnOnce(&mut SinkStatus)) {
        let mut sink = running("hdfs");
        change(&mut sink);
        *self.fake.sinks.lock().unwrap() = vec![sink];
    }
}

#[test]
fn an_outage_leaves_the_process_ready_and_alive() {
    let served = serve(&loopback());
    assert_eq!(served.get("/readyz"), (200, "ready\n".into()));
    served.show(|sink| {
        sink.health.circuit = CircuitState::Open;
        sink.health.reason = Some("connection refused".into());
        sink.workers[0].kafka_error = Some("no broker can be reached".into());
    });
    assert_eq!(served.get("/readyz"), (200, "ready\n".into()));
    assert_eq!(served.get("/livez"), (200, "alive\n".into()));
}

#[test]
fn what_a_person_must_mend_makes_it_unready_with_the_reason_and_no_restart() {
    let served = serve(&loopback());
    type Change = fn(&mut SinkStatus);
    let cases: [(Change, &str); 4] = [
        (
            |sink| {
                sink.health.circuit = CircuitState::Open;
                sink.health.needs_a_person = true;
                sink.health.reason = Some("401: wrong password".into());
            },
            "not ready\nsink hdfs: 401: wrong password\n",
        ),
        (
            |sink| {
                sink.workers[0]
                    .partitions
                    .push(partition(3, PartitionState::Quarantined))
            },
            "not ready\nsink hdfs: events[3] is quarantined: a strange file\n",
        ),
        (
            |sink| {
                sink.workers[0].state = "restarting".into();
                sink.workers[0].reason = Some("no memory".into());
            },
            "not ready\nsink hdfs: worker 0 is restarting: no memory\n",
        ),
        (
            |sink| {
                sink.workers[0].kafka_needs_a_person = true;
                sink.workers[0].kafka_error = Some("Kafka: topic events doesn't exist".into());
            },
            "not ready\nsink hdfs: worker 0: Kafka: topic events doesn't exist\n",
        ),
    ];
    for (change, expected) in cases {
        served.show(change);
        assert_eq!(served.get("/readyz"), (503, expected.into()));
        assert_eq!(served.get("/livez").0, 200);
    }
    *served.fake.sinks.lock().unwrap() = Vec::new();
    assert_eq!(served.get("/readyz").0, 503, "nothing has started yet");
}

#[test]
fn only_a_wedged_worker_is_not_alive() {
    let served = serve(&loopback());
    served.show(|sink| sink.workers[0].beat_ms = Some(now_ms() - 300_000));
    let (code, text) = served.get("/livez");
    assert_eq!(code, 503);
    assert!(
        text.starts_with("not alive\nsink hdfs: worker 0 hasn't moved for 30"),
        "{text}"
    );
}

#[test]
fn metrics_have_counters_and_gauges_of_every_sink_each_family_once() {
    let served = serve(&loopback());
    let (code, text) = served.get("/metrics");
    assert_eq!(code, 200);
    for line in [
        "outflow_records_total{sink=\"hdfs\"} 7",
        "outflow_records_total{sink=\"elasticsearch\"} 7",
        "outflow_partition_lag{sink=\"hdfs\",topic=\"events\",partition=\"0\"} 5",
        "outflow_partition_committed_offset{sink=\"hdfs\",topic=\"events\",partition=\"0\"} 9",
        "outflow_circuit_state{sink=\"hdfs\"} 0",
        "outflow_quarantined_partitions{sink=\"hdfs\"} 0",
        "outflow_workers{sink=\"hdfs\",state=\"running\"} 1",
    ] {
        assert!(
            text.lines().any(|l| l.trim_end_matches(".0") == line),
            "{line} isn't in\n{text}"
        );
    }
    let age = text
        .lines()
        .find_map(|l| l.strip_prefix("outflow_commit_age_seconds{sink=\"hdfs\",worker=\"0\"} "));
    assert!(
        age.and_then(|a| a.parse::<f64>().ok())
            .is_some_and(|age| age >= 2.0),
        "{text}"
    );
    let mut heads: Vec<_> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
    let all = heads.len();
    heads.sort_unstable();
    heads.dedup();
    assert_eq!(heads.len(), all, "a family comes twice");
    assert!(text.ends_with("# EOF\n"));
    // A partition that was revoked is gone from the metrics, too.
    served.show(|sink| sink.workers[0].partitions.clear());
    assert!(!served.get("/metrics").1.contains("outflow_partition_lag"));
}

#[test]
fn status_is_every_sink_as_json() {
    let (code, text) = serve(&loopback()).get("/api/v1/status");
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 200);
    assert_eq!(status[0]["name"], "hdfs");
    assert_eq!(status[0]["workers"][0]["partitions"][0]["state"], "running");
    assert_eq!(status[1]["group"], "outflow-elasticsearch");
}

const RELEASE: &str = "/api/v1/sinks/hdfs/partitions/events/3/release";

#[test]
fn a_quarantined_partition_is_released_by_a_post_alone() {
    let served = serve(&loopback());
    assert_eq!(served.get(RELEASE).0, 405);
    assert_eq!(served.ask("POST", RELEASE, "").0, 200);
    assert_eq!(*served.fake.released.lock().unwrap(), ["events[3]"]);
    let (code, text) = served.ask("POST", &RELEASE.replace("hdfs", "hfds"), "");
    assert_eq!(
        (code, text.as_str()),
        (404, "{\"error\":\"no sink is named \\\"hfds\\\"\"}")
    );
    assert_eq!(
        served.ask("POST", &RELEASE.replace("/3/", "/x/"), "").0,
        400
    );
    assert_eq!(served.get("/nothing").0, 404);
}

#[test]
fn a_sink_is_paused_and_resumed_by_a_post_alone() {
    let served = serve(&loopback());
    let path = |sink: &str, what: &str| format!("/api/v1/sinks/{sink}/{what}");
    assert_eq!(served.get(&path("hdfs", "pause")).0, 405);
    for (what, paused) in [("pause", "true"), ("resume", "false")] {
        let done = format!("{{\"paused\":{paused},\"sink\":\"hdfs\"}}");
        assert_eq!(served.ask("POST", &path("hdfs", what), ""), (200, done));
    }
    assert_eq!(*served.fake.paused.lock().unwrap(), [true, false]);
    let (code, text) = served.ask("POST", &path("hfds", "pause"), "");
    let unknown = "{\"error\":\"no sink is named \\\"hfds\\\"\"}";
    assert_eq!((code, text.as_str()), (404, unknown));
    let (code, text) = served.ask("POST", &path("busy", "pause"), "");
    let late = "{\"error\":\"a worker doesn't answer yet\"}";
    assert_eq!((code, text.as_str()), (503, late));
    let foreign = "Origin: https://evil.example\r\n";
    assert_eq!(served.ask("POST", &path("hdfs", "pause"), foreign).0, 403);
    assert_eq!(served.fake.paused.lock().unwrap().len(), 2);
}

#[test]
fn a_pause_is_shown_and_is_no_reason_for_an_orchestrator_to_act() {
    let served = serve(&loopback());
    let (_, text) = served.get("/api/v1/status");
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status[0]["paused"], false);
    assert_eq!(status[1]["paused"], true);
    let (_, text) = served.get("/metrics");
    for line in [
        "outflow_sink_paused{sink=\"hdfs\"} 0.0",
        "outflow_sink_paused{sink=\"elasticsearch\"} 1.0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} isn't in\n{text}");
    }
    assert_eq!(served.get("/readyz").0, 200);
    assert_eq!(served.get("/livez").0, 200);
}

#[test]
fn a_web_page_can_neither_read_nor_act() {
    let served = serve(&loopback());
    let port = served.address.port();
    assert_eq!(
        served
            .ask("GET", "/api/v1/status", "Host: evil.example\r\n")
            .0,
        403,
        "rebinding"
    );
    assert_eq!(
        served
            .ask("GET", "/livez", &format!("Host: [::1]:{port}\r\n"))
            .0,
        200
    );
    assert_eq!(
        served
            .ask("POST", RELEASE, "Origin: https://evil.example\r\n")
            .0,
        403
    );
    assert_eq!(served.ask("POST", RELEASE, "Origin: null\r\n").0, 403);
    assert!(served.fake.released.lock().unwrap().is_empty());
}

#[test]
fn beyond_loopback_a_token_decides() {
    let token = Some(SecretString::from("s3cret"));
    let listen = Some("0.0.0.0:0".parse().unwrap());
    let served = serve(&AdminSettings {
        listen,
        token,
        allow_unauthenticated: false,
    });
    served.show(|sink| sink.workers[0].state = "restarting".into());
    let right = "Authorization: Bearer s3cret\r\n";
    for (path, without, with) in [
        ("/metrics", 401, 200),
        ("/api/v1/status", 401, 200),
        ("/livez", 200, 200),
    ] {
        assert_eq!(served.get(path).0, without, "{path}");
        assert_eq!(served.ask("GET", path, right).0, with, "{path}");
        assert_eq!(
            served.ask("GET", path, "Authorization: Bearer s3cre\r\n").0,
            without,
            "{path}"
        );
    }
    // A probe learns that, not why.
    assert_eq!(
        served.get("/readyz"),
        (503, "not ready\nthe reasons need the token\n".into())
    );
    assert!(
        served
            .ask("GET", "/readyz", right)
            .1
            .contains("worker 0 is restarting")
    );
    assert_eq!(served.ask("POST", RELEASE, "").0, 401);
    assert_eq!(served.ask("POST", RELEASE, right).0, 200);
}

/// As `outflow lag` and `outflow top` ask.
fn picture(served: &Served, token: Option<&str>) -> Result<Picture, Error> {
    let url = format!("http://127.0.0.1:{}", served.address.port());
    let token = token.map(SecretString::from);
    let client = Client::new(&url, token.as_ref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(client.picture(&Wanted::default()))
}

#[test]
fn our_own_client_reads_what_is_served_with_the_token_where_one_is_needed() {
    let served = serve(&loopback());
    let rows = picture(&served, None).unwrap().groups;
    let sinks: Vec<_> = rows.iter().filter_map(|row| row.sink.as_ref()).collect();
    let told: Vec<_> = sinks
        .iter()
        .map(|s| (&*s.name, &*s.state, s.paused))
        .collect();
    assert_eq!(
        told,
        [
            ("elasticsearch", "running", true),
            ("hdfs", "running", false)
        ]
    );
    assert_eq!(rows[0].figures.lag, Some(5));

    let guarded = serve(&AdminSettings {
        listen: Some("0.0.0.0:0".parse().unwrap()),
        token: Some(SecretString::from("s3cret")),
        allow_unauthenticated: false,
    });
    assert_eq!(picture(&guarded, Some("s3cret")).unwrap().groups.len(), 2);
    for token in [None, Some("wrong")] {
        let error = picture(&guarded, token).unwrap_err().to_string();
        assert!(
            error.contains("HTTP 401: the token is missing or wrong"),
            "{error}"
        );
        assert!(error.contains("--token-file"), "{error}");
    }
}

#[test]
fn without_a_token_nobody_acts_from_outside() {
    let listen = Some("0.0.0.0:0".parse().unwrap());
    let served = serve(&AdminSettings {
        listen,
        token: None,
        allow_unauthenticated: true,
    });
    assert_eq!(served.get("/metrics").0, 200);
    let (code, text) = served.ask("POST", RELEASE, "");
    assert_eq!(
        (code, text.as_str()),
        (
            403,
            "{\"error\":\"actions need a token: configure admin.token_file\"}"
        )
    );
}

#[test]
fn a_head_without_an_end_is_refused() {
    let served = serve(&loopback());
    let (code, _) = served.request(&format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(64_000)
    ));
    assert_eq!(code, 431);
    assert_eq!(served.get("/livez").0, 200);
}

#[test]
fn a_taken_port_is_said_with_what_to_do() {
    let served = serve(&loopback());
    let settings = AdminSettings {
        listen: Some(served.address),
        ..loopback()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bound = runtime.block_on(Server::bind(
        &settings,
        served.fake.clone(),
        Registry::default(),
    ));
    let (port, next) = (served.address.port(), served.address.port() + 1);
    assert_eq!(
        bound.err().unwrap().what,
        format!(
            "admin.listen: port {port} of 127.0.0.1 is taken by another process: stop it, or choose another \
             (--set admin.listen=127.0.0.1:{next}), or \"off\""
        )
    );
}

#[test]
fn the_page_is_served_without_a_token_under_a_strict_policy_and_its_data_isnt() {
    let served = serve(&AdminSettings {
        listen: Some("0.0.0.0:0".parse().unwrap()),
        token: Some(SecretString::from("s3cret")),
        allow_unauthenticated: false,
    });
    let ask = |path: &str, headers: &str| {
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n{headers}Connection: close\r\n\r\n"
        );
        http::request(served.address, &text)
    };
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
    ] {
        let answer = ask(path, "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.head.contains(&format!("content-type: {kind}")),
            "{}",
            answer.head
        );
        for policy in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "nosniff",
        ] {
            assert!(
                answer.head.contains(policy),
                "{path}: {policy}: {}",
                answer.head
            );
        }
    }
    assert!(!ask("/", "").body.contains("hdfs"), "data in the page");
    assert_eq!(ask("/page/../api/v1/status", "").status, 404);
    assert_eq!(ask("/page/nothing", "").status, 404);
    for path in ["/api/v1/events", "/api/v1/stream"] {
        assert_eq!(ask(path, "").status, 401, "{path}");
    }
    assert_eq!(
        ask("/api/v1/events", "Authorization: Bearer s3cret\r\n").status,
        200
    );
}

#[test]
fn the_journal_is_read_on_from_where_one_was() {
    let served = serve(&loopback());
    let read = |after: &str| -> serde_json::Value {
        let (code, text) = served.get(&format!("/api/v1/events?after={after}"));
        assert_eq!(code, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let all = loop {
        let all = read("");
        let entries = all["entries"].as_array().unwrap().len();
        // That the process started, and that each sink runs.
        if entries >= 3 {
            break all;
        }
        assert!(std::time::Instant::now() < deadline, "{all}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let (boot, newest) = (all["boot"].as_str().unwrap(), &all["newest"]);
    assert_eq!(
        read(&format!("{boot}-{newest}"))["entries"],
        serde_json::json!([])
    );
    assert_eq!(
        read("0-99")["entries"],
        all["entries"],
        "another process' number"
    );
    assert_eq!(served.get("/api/v1/events?after=x").0, 400);
}
