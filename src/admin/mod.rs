//! The admin HTTP server: the page, health, metrics, status, and what a person may ask of a sink. Reads snapshots;
//! nothing on the record's way waits for it.
//!
//! | path | answers |
//! |---|---|
//! | `/` | the page, to browsers; a list of these, to others |
//! | `/livez` | 200 unless the process is wedged: only then does a restart help |
//! | `/readyz` | 200 while every sink works or waits an outage out; 503 when a person is needed |
//! | `/metrics` | Prometheus |
//! | `/api/v1/status` | every sink, worker and partition, as JSON |
//! | `/api/v1/groups` | every group that is watched, judged; the worst first |
//! | `/api/v1/groups/{cluster}/{group}` | one, with its partitions and their windows |
//! | `/api/v1/events` | what happened, in order: the journal |
//! | `/api/v1/stream` | what changes, as server-sent events |
//! | `/v3/…`, `/burrow/admin` | Burrow's API |
//! | `POST /api/v1/sinks/{sink}/partitions/{topic}/{partition}/release` | releases a quarantined partition |
//! | `POST /api/v1/sinks/{sink}/pause`, `…/resume` | takes no records, until it is resumed or the process ends |

mod actions;
mod burrow;
mod collector;
mod exposition;
mod groups;
#[doc(hidden)] // for tests/fuzz.rs
pub mod guard;
pub mod health;
mod live;
mod page;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::net::TcpListener;

use crate::clock::unix_ms;
use crate::config::settings::AdminSettings;
use crate::error::Error;
use crate::journal::Journal;
use crate::monitor::Clusters;
use crate::offsets::TopicPartition;
use crate::status::SinkStatus;
use guard::Trust;

/// What the server looks at.
pub trait Observed: Send + Sync + 'static {
    /// Every sink, as it is now.
    fn sinks(&self) -> Vec<SinkStatus>;

    /// Releases a quarantined partition. May wait some seconds for its worker.
    fn release(&self, sink: &str, partition: &TopicPartition) -> Result<(), Error>;

    /// Pauses a sink, or lets it go on. May wait some seconds for its workers.
    fn set_paused(&self, sink: &str, paused: bool) -> Result<(), Error> {
        let _ = paused;
        Err(Error::rejected(format!("no sink is named {sink:?} here")))
    }

    /// The clusters whose groups are watched; always the same.
    fn clusters(&self) -> Clusters {
        Clusters::new()
    }

    /// Where what happens is told; asked for once.
    fn journal(&self) -> Arc<Journal> {
        Arc::default()
    }

    /// Whether groups are what is watched, not sinks.
    fn is_monitor(&self) -> bool {
        false
    }

    /// Why a restart would help; empty while the process is alive.
    fn not_alive(&self) -> Vec<String> {
        health::not_alive(&self.sinks(), unix_ms())
    }

    /// Why a person is needed, or work hasn't begun; empty while ready.
    fn not_ready(&self) -> Vec<String> {
        health::not_ready(&self.sinks())
    }
}

/// A bound server.
pub struct Server {
    listener: TcpListener,
    router: Router,
    live: Arc<live::Live>,
}

#[derive(Clone)]
struct Shared {
    observed: Arc<dyn Observed>,
    registry: Arc<Registry>,
    live: Arc<live::Live>,
}

impl Server {
    /// Binds the address; `None` if the server is off. `registry` holds the sinks' counters; what comes from
    /// snapshots is added here.
    pub async fn bind(
        settings: &AdminSettings,
        observed: Arc<dyn Observed>,
        mut registry: Registry,
    ) -> Result<Option<Server>, Error> {
        let Some(address) = settings.listen else {
            return Ok(None);
        };
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|error| cannot_bind(address, &error))?;
        registry.register_collector(Box::new(collector::Snapshots::new(observed.clone())));
        let clusters = observed.clusters();
        registry.register_collector(Box::new(burrow::figures::Figures(clusters.clone())));
        let registry = Arc::new(registry);
        let live = Arc::new(live::Live::new(observed.clone()));
        let router = router(
            Shared {
                observed,
                registry,
                live: live.clone(),
            },
            burrow::Burrow::new(clusters, address.to_string()),
            guard::Guard::new(settings, address),
        );
        Ok(Some(Server {
            listener,
            router,
            live,
        }))
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until it is dropped.
    pub async fn serve(self) {
        tokio::join!(serve::serve(self.listener, self.router), self.live.run());
    }
}

fn cannot_bind(address: SocketAddr, error: &std::io::Error) -> Error {
    let (ip, port) = (address.ip(), address.port());
    let next = SocketAddr::new(ip, port.saturating_add(1));
    Error::misconfigured(match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "admin.listen: port {port} of {ip} is taken by another process: stop it, or choose another \
             (--set admin.listen={next}), or \"off\""
        ),
        std::io::ErrorKind::PermissionDenied => format!(
            "admin.listen: port {port} needs rights that outflow hasn't: choose one above 1023"
        ),
        std::io::ErrorKind::AddrNotAvailable => {
            format!("admin.listen: this machine has no address {ip}: choose one of its own")
        }
        _ => format!("admin.listen: {address} can't be bound: {error}"),
    })
}

fn router(shared: Shared, burrow: burrow::Burrow, guard: guard::Guard) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/groups", get(groups::groups))
        .route("/api/v1/groups/{cluster}/{group}", get(groups::one_group))
        .route("/api/v1/events", get(live::stream::events))
        .route("/api/v1/stream", get(live::stream::stream))
        .merge(page::router())
        .merge(actions::router())
        .with_state(shared)
        .merge(burrow::router(burrow))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(
            Arc::new(guard),
            guard::check,
        ))
        .layer(axum::extract::DefaultBodyLimit::max(16 * 1024))
}

const PAGES: &str = "/livez\n/readyz\n/metrics\n/api/v1/status\n/api/v1/groups\n\
    /api/v1/groups/{cluster}/{group}\n/api/v1/events\n/api/v1/stream\n/v3/kafka\n/burrow/admin\n\
    POST /api/v1/sinks/{sink}/partitions/{topic}/{partition}/release\n\
    POST /api/v1/sinks/{sink}/pause\nPOST /api/v1/sinks/{sink}/resume\n";

/// The page to browsers, the list of paths to others.
async fn index(headers: HeaderMap, Extension(trust): Extension<Trust>) -> Response {
    if page::is_wanted(&headers) {
        return page::html();
    }
    let version = match trust {
        Trust::Full => env!("CARGO_PKG_VERSION"),
        Trust::Probe => "",
    };
    format!("outflow {version}\n\n{PAGES}").into_response()
}

async fn not_found(uri: axum::http::Uri) -> Response {
    if uri.path().starts_with("/v3/") {
        return burrow::no_such_path();
    }
    failure(
        StatusCode::NOT_FOUND,
        "there is no such page; GET / lists them",
    )
}

async fn wrong_method() -> Response {
    let what = "this page doesn't take that method; GET / lists the pages";
    failure(StatusCode::METHOD_NOT_ALLOWED, what)
}

async fn livez(State(shared): State<Shared>, Extension(trust): Extension<Trust>) -> Response {
    verdict("alive", &shared.observed.not_alive(), trust)
}

async fn readyz(State(shared): State<Shared>, Extension(trust): Extension<Trust>) -> Response {
    verdict("ready", &shared.observed.not_ready(), trust)
}

/// Probes need no token; the reasons do, where one is configured.
fn verdict(word: &str, reasons: &[String], trust: Trust) -> Response {
    if reasons.is_empty() {
        return (StatusCode::OK, format!("{word}\n")).into_response();
    }
    let shown = match trust {
        Trust::Full => reasons.join("\n"),
        Trust::Probe => "the reasons need the token".to_owned(),
    };
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not {word}\n{shown}\n"),
    )
        .into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shared.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (
                [(header::CONTENT_TYPE, kind)],
                exposition::merge_families(&text),
            )
                .into_response()
        }
        Err(_) => failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics can't be written",
        ),
    }
}

async fn status(State(shared): State<Shared>) -> Json<Vec<SinkStatus>> {
    Json(shared.observed.sinks())
}

fn failure(code: StatusCode, what: &str) -> Response {
    (code, Json(json!({ "error": what }))).into_response()
}
