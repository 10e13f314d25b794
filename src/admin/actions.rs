//! What a person may ask of a sink: release a quarantined partition, pause, resume. The guard has judged who asks.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Shared, failure};
use crate::error::{Error, Kind};
use crate::offsets::TopicPartition;

pub(super) fn router() -> Router<Shared> {
    let release_path = "/api/v1/sinks/{sink}/partitions/{topic}/{partition}/release";
    Router::new()
        .route(release_path, post(release))
        .route("/api/v1/sinks/{sink}/pause", post(pause))
        .route("/api/v1/sinks/{sink}/resume", post(resume))
}

async fn release(
    State(shared): State<Shared>,
    Path((sink, topic, partition)): Path<(String, String, i32)>,
) -> Response {
    let id = TopicPartition::new(topic.clone(), partition);
    let done = json!({ "released": true, "sink": sink, "topic": topic, "partition": partition });
    let what = format!("release {topic}[{partition}] of {sink}");
    let release = move || {
        let released = shared.observed.release(&sink, &id);
        released.inspect(|()| tracing::info!(sink, topic, partition, "released on request"))
    };
    ask(what, done, release).await
}

async fn pause(state: State<Shared>, sink: Path<String>) -> Response {
    set_paused(state, sink, true).await
}

async fn resume(state: State<Shared>, sink: Path<String>) -> Response {
    set_paused(state, sink, false).await
}

async fn set_paused(
    State(shared): State<Shared>,
    Path(sink): Path<String>,
    paused: bool,
) -> Response {
    let done = json!({ "paused": paused, "sink": sink });
    let what = format!("{} {sink}", if paused { "pause" } else { "resume" });
    ask(what, done, move || {
        shared.observed.set_paused(&sink, paused)
    })
    .await
}

/// Asks for it, off the server's threads since it may take seconds; `done` is the answer if it was done.
async fn ask(
    what: String,
    done: Value,
    work: impl FnOnce() -> Result<(), Error> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => Json(done).into_response(),
        Ok(Err(error)) => {
            tracing::info!(request = what, "refused: {error}");
            let code = match error.kind {
                Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                Kind::Rejected => StatusCode::NOT_FOUND,
                _ => StatusCode::CONFLICT,
            };
            failure(code, &error.what)
        }
        Err(_) => failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the request failed; see the log",
        ),
    }
}
