//! Burrow's HTTP API v3 (as of commit ced55ba, October 2025), on its paths and with its answers, so that what was written
//! for Burrow works here unchanged.
//!
//! Where Burrow has one module of a kind for all clusters (storage, evaluator, consumer), each cluster has its own here, of its
//! name. There are no notifiers under these paths.

mod answers;
pub mod figures;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::logging;
use crate::monitor::{Clusters, Watched, judge};
use answers::{ClusterModule, ConsumerModule, EvaluatorModule, StorageModule};

/// What the answers are made of.
pub struct Burrow {
    clusters: Clusters,
    host: String,
    listen: String,
}

type Shared = State<Arc<Burrow>>;

impl Burrow {
    pub fn new(clusters: Clusters, listen: String) -> Self {
        Burrow {
            clusters,
            host: sysinfo::System::host_name().unwrap_or_default(),
            listen,
        }
    }

    fn cluster(&self, name: &str) -> Option<&Arc<Watched>> {
        self.clusters.iter().find(|c| c.about.name == name)
    }

    fn names(&self) -> Vec<&str> {
        let names = self.clusters.iter().map(|c| &*c.about.name);
        names.collect()
    }

    /// An answer: what is said, and what else is in it.
    fn answer(
        &self,
        code: StatusCode,
        uri: &Uri,
        (error, message): (bool, &str),
        body: impl Serialize,
    ) -> Response {
        let answer = Answer {
            error,
            message,
            body,
            request: Request {
                url: uri.path(),
                host: &self.host,
            },
        };
        (code, Json(answer)).into_response()
    }

    fn fine(&self, uri: &Uri, message: &str, body: impl Serialize) -> Response {
        self.answer(StatusCode::OK, uri, (false, message), body)
    }

    fn missing(&self, uri: &Uri, message: &str) -> Response {
        self.answer(StatusCode::NOT_FOUND, uri, (true, message), json!({}))
    }

    fn module(&self, uri: &Uri, kind: &str, module: impl Serialize) -> Response {
        let message = format!("{kind} module detail returned");
        self.fine(uri, &message, json!({ "module": module }))
    }

    /// Answers about a cluster, if there is one of this name.
    fn about(
        &self,
        name: &str,
        uri: &Uri,
        message: &str,
        answer: impl FnOnce(&Watched) -> Response,
    ) -> Response {
        match self.cluster(name) {
            Some(watched) => answer(watched),
            None => self.missing(uri, message),
        }
    }
}

#[derive(Serialize)]
struct Answer<'a, T: Serialize> {
    error: bool,
    message: &'a str,
    #[serde(flatten)]
    body: T,
    request: Request<'a>,
}

#[derive(Serialize)]
struct Request<'a> {
    url: &'a str,
    host: &'a str,
}

/// The routes.
pub fn router(burrow: Burrow) -> Router {
    let group = "/v3/kafka/{cluster}/consumer/{group}";
    Router::new()
        .route("/burrow/admin", get(async || "GOOD"))
        .route("/burrow/admin/ready", get(ready))
        .route("/v3/kafka", get(clusters))
        .route("/v3/kafka/{cluster}", get(cluster))
        .route("/v3/kafka/{cluster}/topic", get(topics))
        .route("/v3/kafka/{cluster}/topic/{topic}", get(topic))
        .route(
            "/v3/kafka/{cluster}/topic/{topic}/consumers",
            get(topic_groups),
        )
        .route("/v3/kafka/{cluster}/consumer", get(groups))
        .route(group, get(detail).delete(remove))
        .route(&format!("{group}/status"), get(status))
        .route(&format!("{group}/lag"), get(lag))
        .route(&format!("{group}/topic/{{topic}}"), delete(remove_topic))
        .route("/v3/config", get(config))
        .route("/v3/config/{kind}", get(modules))
        .route("/v3/config/{kind}/{name}", get(module))
        .route("/v3/admin/loglevel", get(log_level).post(set_log_level))
        .with_state(Arc::new(burrow))
}

/// What Burrow says of a path that it hasn't.
pub fn no_such_path() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let body = "{\"error\":true,\"message\":\"invalid request type\",\"result\":{}}\n";
    (StatusCode::NOT_FOUND, kind, body).into_response()
}

async fn ready(State(burrow): Shared) -> Response {
    match burrow.clusters.iter().all(|c| c.standing().is_ready) {
        true => (StatusCode::OK, "READY").into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "STARTING").into_response(),
    }
}

async fn clusters(State(burrow): Shared, uri: Uri) -> Response {
    let clusters = json!({ "clusters": burrow.names() });
    burrow.fine(&uri, "cluster list returned", clusters)
}

async fn cluster(State(burrow): Shared, uri: Uri, Path(name): Path<String>) -> Response {
    burrow.about(&name, &uri, "cluster module not found", |watched| {
        burrow.module(&uri, "cluster", ClusterModule::new(watched))
    })
}

async fn topics(State(burrow): Shared, uri: Uri, Path(name): Path<String>) -> Response {
    burrow.about(&name, &uri, "cluster not found", |watched| {
        let store = watched.store();
        let topics: Vec<_> = store.topic_names().collect();
        burrow.fine(&uri, "topic list returned", json!({ "topics": topics }))
    })
}

async fn topic(
    State(burrow): Shared,
    uri: Uri,
    Path((name, topic)): Path<(String, String)>,
) -> Response {
    let not_found = "cluster or topic not found";
    burrow.about(&name, &uri, not_found, |watched| {
        let store = watched.store();
        let Some(topic) = store.topic(&topic) else {
            return burrow.missing(&uri, not_found);
        };
        // Those without a value are left out, so that places may shift: as in Burrow.
        let ends = topic.logs().iter().filter_map(|log| log.ends.newest());
        let offsets: Vec<_> = ends.map(|end| end.offset).collect();
        burrow.fine(
            &uri,
            "topic offsets returned",
            json!({ "offsets": offsets }),
        )
    })
}

async fn topic_groups(
    State(burrow): Shared,
    uri: Uri,
    Path((name, topic)): Path<(String, String)>,
) -> Response {
    burrow.about(&name, &uri, "cluster not found", |watched| {
        let store = watched.store();
        let groups: Vec<_> = store.groups_of(&topic).collect();
        burrow.fine(
            &uri,
            "consumers of topic returned",
            json!({ "consumers": groups }),
        )
    })
}

async fn groups(State(burrow): Shared, uri: Uri, Path(name): Path<String>) -> Response {
    burrow.about(&name, &uri, "cluster not found", |watched| {
        let store = watched.store();
        let groups: Vec<_> = store.group_names().collect();
        burrow.fine(
            &uri,
            "consumer list returned",
            json!({ "consumers": groups }),
        )
    })
}

async fn detail(
    State(burrow): Shared,
    uri: Uri,
    Path((name, group)): Path<(String, String)>,
) -> Response {
    let not_found = "cluster or consumer not found";
    burrow.about(&name, &uri, not_found, |watched| {
        let store = watched.store();
        match answers::detail(&store, &group, watched.now_ms()) {
            Some(topics) => {
                let topics = json!({ "topics": topics });
                burrow.fine(&uri, "consumer detail returned", topics)
            }
            None => burrow.missing(&uri, not_found),
        }
    })
}

async fn status(State(burrow): Shared, uri: Uri, Path(path): Path<(String, String)>) -> Response {
    judged(&burrow, &uri, path, false)
}

async fn lag(State(burrow): Shared, uri: Uri, Path(path): Path<(String, String)>) -> Response {
    judged(&burrow, &uri, path, true)
}

/// A group that isn't known is told by the code and the status, not by `error` and `message`: as in Burrow.
fn judged(burrow: &Burrow, uri: &Uri, (name, group): (String, String), all: bool) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        status: answers::Status<'a>,
    }
    let watched = burrow.cluster(&name);
    let store = watched.map(|watched| watched.store());
    let judged = watched.zip(store.as_ref()).and_then(|(watched, store)| {
        judge(store, &group, watched.now_ms(), &watched.rules_of(&group))
    });
    let code = match judged {
        Some(_) => StatusCode::OK,
        None => StatusCode::NOT_FOUND,
    };
    let status = answers::Status::new(&name, &group, judged.as_ref(), all);
    let message = (false, "consumer status returned");
    burrow.answer(code, uri, message, Body { status })
}

async fn remove(
    State(burrow): Shared,
    uri: Uri,
    Path((name, group)): Path<(String, String)>,
) -> Response {
    if let Some(watched) = burrow.cluster(&name) {
        watched.store().remove_group(&group);
    }
    burrow.fine(&uri, "consumer group removed", json!({}))
}

async fn remove_topic(
    State(burrow): Shared,
    uri: Uri,
    Path((name, group, topic)): Path<(String, String, String)>,
) -> Response {
    if let Some(watched) = burrow.cluster(&name) {
        watched.store().remove_group_topic(&group, &topic);
    }
    burrow.fine(&uri, "consumer group removed", json!({}))
}

async fn config(State(burrow): Shared, uri: Uri) -> Response {
    let server = json!({ "address": burrow.listen, "tls": "", "timeout": 300 });
    let body = json!({
        "general": { "pidfile": "", "stdout-logfile": "", "access-control-allow-origin": "" },
        "logging": {
            "filename": "", "max-size": 0, "max-backups": 0, "max-age": 0, "use-local-time": false,
            "use-compression": false, "level": logging::level(),
        },
        "zookeeper": { "servers": [], "timeout": 0, "root-path": "" },
        "httpserver": { "default": server },
    });
    burrow.fine(&uri, "main config returned", body)
}

async fn modules(State(burrow): Shared, uri: Uri, Path(kind): Path<String>) -> Response {
    let modules = match kind.as_str() {
        "storage" | "evaluator" | "cluster" | "consumer" => burrow.names(),
        "notifier" => Vec::new(),
        _ => return no_such_path(),
    };
    let body = json!({ "coordinator": kind, "modules": modules });
    burrow.fine(&uri, "module list returned", body)
}

async fn module(
    State(burrow): Shared,
    uri: Uri,
    Path((kind, name)): Path<(String, String)>,
) -> Response {
    let not_found = format!("{kind} module not found");
    match kind.as_str() {
        "storage" | "evaluator" | "cluster" | "consumer" => {}
        "notifier" => return burrow.missing(&uri, &not_found),
        _ => return no_such_path(),
    }
    burrow.about(&name, &uri, &not_found, |watched| match kind.as_str() {
        "storage" => burrow.module(&uri, &kind, StorageModule::new(watched)),
        "evaluator" => burrow.module(&uri, &kind, EvaluatorModule::new()),
        "consumer" => burrow.module(&uri, &kind, ConsumerModule::new(watched)),
        _ => burrow.module(&uri, &kind, ClusterModule::new(watched)),
    })
}

async fn log_level(State(burrow): Shared, uri: Uri) -> Response {
    let level = json!({ "level": logging::level() });
    burrow.fine(&uri, "log level returned", level)
}

#[derive(Deserialize)]
struct WantedLevel {
    #[serde(default)]
    level: String,
}

async fn set_log_level(State(burrow): Shared, uri: Uri, body: String) -> Response {
    let Ok(wanted) = serde_json::from_str::<WantedLevel>(&body) else {
        let what = (true, "could not decode message body");
        return burrow.answer(StatusCode::BAD_REQUEST, &uri, what, json!({}));
    };
    // Burrow has one more; nothing here is logged above an error.
    let level = match wanted.level.to_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "fatal" => "error".to_owned(),
        other => other.to_owned(),
    };
    match logging::set_level(&level) {
        true => burrow.fine(&uri, "set log level", json!({})),
        false => burrow.missing(&uri, "unknown log level"),
    }
}
