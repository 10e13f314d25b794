//! An Elasticsearch that takes every bulk request at once and writes down when which record came: for
//! benchmarks that look at outflow, not at the server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_ENCODING;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::bulk::gunzip;
use crate::error::{Context, Result};
use crate::rt::{block_on, runtime};

/// A record's arrival, from its id (`topic+partition+offset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// When its request was answered.
    pub at: Instant,
}

/// What the stub keeps of what comes.
#[derive(Clone, Debug)]
enum Kept {
    /// When which record came.
    Arrivals(Arc<Mutex<Vec<Arrival>>>),
    /// How many documents came: costs next to nothing.
    Count(Arc<AtomicUsize>),
}

/// A running stub. Dropping it closes its listener.
pub struct Stub {
    address: SocketAddr,
    kept: Kept,
    task: JoinHandle<()>,
}

impl Stub {
    /// Listens on a free port, and notes each record.
    pub fn start() -> Result<Self> {
        Self::keeping(Kept::Arrivals(Arc::default()))
    }

    /// The same, but documents are only counted, two lines each.
    pub fn counting() -> Result<Self> {
        Self::keeping(Kept::Count(Arc::default()))
    }

    fn keeping(kept: Kept) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], crate::ports::free_port()?));
        let listener = block_on(async move { TcpListener::bind(address).await });
        let listener = listener.context(format!("can't listen on {address}"))?;
        let task = runtime().spawn(accept(listener, kept.clone()));
        Ok(Self {
            address,
            kept,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address, such as `http://127.0.0.1:12345`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has come since the last call, in order.
    pub fn take(&self) -> Vec<Arrival> {
        match &self.kept {
            Kept::Arrivals(all) => std::mem::take(&mut *lock(all)),
            Kept::Count(_) => Vec::new(),
        }
    }

    /// How many documents have come, those that were taken not counted.
    pub fn num_docs(&self) -> usize {
        match &self.kept {
            Kept::Arrivals(all) => lock(all).len(),
            Kept::Count(count) => count.load(Ordering::Acquire),
        }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, kept: Kept) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let kept = kept.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(kept.clone(), request));
            let server = hyper::server::conn::http1::Builder::new();
            // A client that goes away is no error here.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    kept: Kept,
    request: Request<Incoming>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let is_bulk = request.uri().path().ends_with("_bulk");
    let head = head(request.uri().query().unwrap_or_default());
    let is_gzip = request.headers().contains_key(CONTENT_ENCODING);
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let text = match is_bulk {
        false => r#"{"version":{"number":"9.0.0"},"tagline":"You Know, for Tests"}"#.to_owned(),
        true if is_gzip => kept.take(head, &gunzip(&body).unwrap_or_default()),
        true => kept.take(head, &body),
    };
    let mut response = Response::new(Full::from(text));
    let json = hyper::header::HeaderValue::from_static("application/json");
    let headers = response.headers_mut();
    headers.insert("content-type", json);
    let product = hyper::header::HeaderValue::from_static("Elasticsearch");
    headers.insert("x-elastic-product", product);
    Ok(response)
}

/// How an answer begins: what `filter_path` doesn't name isn't in it, as with Elasticsearch.
fn head(query: &str) -> &'static str {
    let filter = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("filter_path="));
    match filter.map(|paths| paths.replace("%2C", ",")) {
        Some(paths) if !paths.split(',').any(|path| path == "took") => "",
        _ => r#""took":1,"#,
    }
}

impl Kept {
    /// Keeps every item and answers that all of them were done.
    fn take(&self, head: &str, body: &[u8]) -> String {
        let items = match self {
            Kept::Arrivals(arrivals) => note(arrivals, body),
            Kept::Count(count) => tally(count, body),
        };
        format!(r#"{{{head}"errors":false,"items":[{items}]}}"#)
    }
}

/// Two lines are a document; what is done to it is the same for all. The answer's items.
fn tally(count: &AtomicUsize, body: &[u8]) -> String {
    let num = memchr::memchr_iter(b'\n', body).count() / 2;
    let op = body.split(|byte| *byte == b'"').nth(1).unwrap_or_default();
    let item = format!(r#"{{"{}":{{"status":201}}}}"#, String::from_utf8_lossy(op));
    count.fetch_add(num, Ordering::AcqRel);
    vec![item; num].join(",")
}

/// The answer's items.
fn note(arrivals: &Mutex<Vec<Arrival>>, body: &[u8]) -> String {
    let at = Instant::now();
    let mut noted = Vec::new();
    let mut items = Vec::new();
    let mut lines = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        let action: Value = serde_json::from_slice(line).unwrap_or_default();
        let Some((op, meta)) = action.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        if op != "delete" {
            lines.next();
        }
        noted.extend(arrival(meta["_id"].as_str().unwrap_or_default(), at));
        items.push(format!(r#"{{"{op}":{{"status":201}}}}"#));
    }
    lock(arrivals).extend(noted);
    items.join(",")
}

fn arrival(id: &str, at: Instant) -> Option<Arrival> {
    let mut parts = id.rsplit('+');
    let offset = parts.next()?.parse().ok()?;
    let partition = parts.next()?.parse().ok()?;
    Some(Arrival {
        partition,
        offset,
        at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kept: &Kept, query: &str, body: &[u8]) -> Value {
        serde_json::from_str(&kept.take(head(query), body)).expect("JSON")
    }

    #[test]
    fn items_are_noted_and_all_are_done() {
        let arrivals = Arc::default();
        let body =
            b"{\"index\":{\"_id\":\"a+b+7+42\"}}\n{\"x\":1}\n{\"delete\":{\"_id\":\"t+1+2\"}}\n";
        let answer = answer(&Kept::Arrivals(Arc::clone(&arrivals)), "", body);
        assert_eq!(answer["items"].as_array().map(Vec::len), Some(2));
        let noted = arrivals.lock().expect("lock");
        let places: Vec<_> = noted.iter().map(|a| (a.partition, a.offset)).collect();
        assert_eq!(places, [(7, 42), (1, 2)]);
    }

    #[test]
    fn documents_are_counted_by_their_lines() {
        let count = Arc::new(AtomicUsize::new(0));
        let body = b"{\"create\":{}}\n{\"x\":1}\n{\"create\":{}}\n{}\n";
        let answer = answer(&Kept::Count(Arc::clone(&count)), "", body);
        assert_eq!(count.load(Ordering::Acquire), 2);
        assert_eq!(answer["items"][1]["create"]["status"], 201);
    }

    #[test]
    fn what_the_filter_leaves_out_is_not_answered() {
        let kept = Kept::Count(Arc::default());
        for (query, is_there) in [
            ("", true),
            ("filter_path=errors%2Ctook&timeout=1s", true),
            ("timeout=1s&filter_path=errors,items.*.status", false),
        ] {
            let answer = answer(&kept, query, b"{\"index\":{}}\n{}\n");
            assert_eq!(answer.get("took").is_some(), is_there, "{query}");
        }
    }
}
