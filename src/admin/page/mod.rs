//! The page: static files, which hold no data, so that whoever has no token yet may be asked for it. Everything comes from
//! this server, and nothing that others wrote is ever taken as markup.

use axum::Router;
use axum::extract::Path;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::failure;

const HTML: &str = include_str!("index.html");

/// Name, kind, content.
const FILES: [(&str, &str, &str); 12] = [
    ("page.css", "text/css", include_str!("page.css")),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("page.js", "text/javascript", include_str!("page.js")),
    ("live.js", "text/javascript", include_str!("live.js")),
    ("dom.js", "text/javascript", include_str!("dom.js")),
    ("words.js", "text/javascript", include_str!("words.js")),
    ("sinks.js", "text/javascript", include_str!("sinks.js")),
    ("groups.js", "text/javascript", include_str!("groups.js")),
    ("table.js", "text/javascript", include_str!("table.js")),
    (
        "partition.js",
        "text/javascript",
        include_str!("partition.js"),
    ),
    ("chart.js", "text/javascript", include_str!("chart.js")),
    ("journal.js", "text/javascript", include_str!("journal.js")),
];

/// Scripts and styles of this server alone, no markup made by scripts, no frames, no other site.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // A new version's files belong together.
    (header::CACHE_CONTROL, "no-cache"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The page's files; `/` itself is the caller's.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/page/{file}", get(file))
}

/// Whether a path is one of the page's, which hold no data.
pub(super) fn is_page(path: &str) -> bool {
    path == "/" || path.starts_with("/page/")
}

/// Whether a browser asks.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

pub(super) fn html() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (HEADS, kind, HTML).into_response()
}

async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => {
            let kind = [(header::CONTENT_TYPE, format!("{kind}; charset=utf-8"))];
            (HEADS, kind, *content).into_response()
        }
        None => failure(StatusCode::NOT_FOUND, "the page has no such file"),
    }
}
