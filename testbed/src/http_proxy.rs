//! An HTTP proxy in front of Elasticsearch that answers, delays, drops and edits on command.
//!
//! Only requests that match (by default: those of the bulk API) take part; everything else passes.

mod reply;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::reply::Reply;
use crate::bulk;
pub use crate::bulk::{EditItem, Item as BulkItem, ItemFault};
use crate::error::{Context, Error, Result};
use crate::rt::{block_on, runtime};

/// So long after its sending an answer has arrived.
const ANSWERED: Duration = Duration::from_millis(30);

/// What happens to one request.
#[derive(Clone)]
pub enum Fault {
    /// Forwarded, and answered as the server answers.
    Pass,
    /// Answered here; the server doesn't see it.
    Answer {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`, in seconds.
        retry_after: Option<u64>,
        /// The body.
        body: String,
    },
    /// Forwarded after a while.
    Delay(Duration),
    /// The connection is closed; the server doesn't see the request.
    DropRequest,
    /// The server does it; the connection is closed instead of its answer.
    DropResponse,
    /// The server does it; only so many bytes of its answer arrive, then the connection is closed.
    Truncate(usize),
    /// The server does it; the answer is replaced by this, with status 200.
    Garbage(Vec<u8>),
    /// The server does it, its answer goes out, and a moment later this is called; it may block.
    Then(Arc<dyn Fn() + Send + Sync>),
    /// A body of more bytes than this is answered with status 413; the server doesn't see it.
    TooLarge(usize),
    /// The answer says for some items of a bulk request what the function says. If `honest`, those
    /// items are really not forwarded; else they are, and the answer lies.
    EditItems {
        /// Asked for each item.
        edit: EditItem,
        /// Whether the edited items are kept from the server.
        honest: bool,
    },
}

impl std::fmt::Debug for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Fault {
    /// An answer with this status and a body like Elasticsearch's.
    pub fn status(status: u16) -> Self {
        let body =
            format!(r#"{{"error":{{"type":"testbed","reason":"on purpose"}},"status":{status}}}"#);
        Self::Answer {
            status,
            retry_after: None,
            body,
        }
    }

    /// Items at these places of the request get `status` (with a fitting error type); honest.
    pub fn items(places: &[usize], status: u16) -> Self {
        let places = places.to_vec();
        let fault = ItemFault::status(status);
        let edit = move |item: &bulk::Item<'_>| places.contains(&item.place).then(|| fault.clone());
        Self::EditItems {
            edit: Arc::new(edit),
            honest: true,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Answer { .. } => "answer",
            Self::Delay(_) => "delay",
            Self::DropRequest => "drop request",
            Self::DropResponse => "drop response",
            Self::Truncate(_) => "truncate",
            Self::Garbage(_) => "garbage",
            Self::Then(_) => "something afterwards",
            Self::TooLarge(_) => "too large",
            Self::EditItems { .. } => "edit items",
        }
    }
}

/// What the proxy has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpCounters {
    /// Requests of any kind.
    pub requests: u64,
    /// Requests that matched.
    pub matched: u64,
    /// Requests to which a fault was done (items: at least one was edited).
    pub faults: u64,
    /// Bulk items that were edited.
    pub edited_items: u64,
    /// Requests that the server saw.
    pub forwarded: u64,
    /// Most matching requests that were here at the same time.
    pub max_in_flight: u64,
}

type Matches = Arc<dyn Fn(&str) -> bool + Send + Sync>;

struct State {
    script: VecDeque<Fault>,
    always: Fault,
    matches: Matches,
    counters: HttpCounters,
    in_flight: u64,
    authorizations: BTreeSet<String>,
}

struct Shared {
    target: String,
    client: reqwest::Client,
    state: Mutex<State>,
}

/// A running proxy. Dropping it closes its listener.
pub struct HttpProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl HttpProxy {
    /// Listens on a free port in front of `target`, such as `http://127.0.0.1:9200`.
    pub fn start(target: &str) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], crate::ports::free_port()?));
        let listener = block_on(async move { TcpListener::bind(address).await });
        let listener = listener.context(format!("can't listen on {address}"))?;
        let state = State {
            script: VecDeque::new(),
            always: Fault::Pass,
            matches: Arc::new(|path| path.contains("_bulk")),
            counters: HttpCounters::default(),
            in_flight: 0,
            authorizations: BTreeSet::new(),
        };
        let client = crate::http::client()?.clone();
        let target = target.trim_end_matches('/').to_owned();
        let shared = Arc::new(Shared {
            target,
            client,
            state: Mutex::new(state),
        });
        let task = runtime().spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Its own address, such as `http://127.0.0.1:12345`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next matching requests get these faults, one each; then what `always` says holds again.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().script.extend(faults);
    }

    /// Every matching request gets this fault, until told otherwise.
    pub fn always(&self, fault: Fault) {
        self.lock().always = fault;
    }

    /// No more faults.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.script.clear();
        state.always = Fault::Pass;
    }

    /// Which requests take part, by path and query.
    pub fn matching(&self, matches: impl Fn(&str) -> bool + Send + Sync + 'static) {
        self.lock().matches = Arc::new(matches);
    }

    /// Faults of the script that no request has met yet.
    pub fn num_scripted(&self) -> usize {
        self.lock().script.len()
    }

    /// Every `Authorization` header that a request has come with; empty for one without.
    pub fn authorizations(&self) -> BTreeSet<String> {
        self.lock().authorizations.clone()
    }

    /// What it has done so far.
    pub fn counters(&self) -> HttpCounters {
        self.lock().counters
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the listener.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| handle(Arc::clone(&shared), request));
            let server = hyper::server::conn::http1::Builder::new();
            // An error is how a connection is closed on purpose.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Counts a matching request while it is here, however it goes.
struct InFlight<'a>(&'a Shared);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Reply>, Error> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let (parts, body) = request.into_parts();
    let authorization = parts.headers.get(AUTHORIZATION).map(|value| value.to_str());
    let authorization = authorization
        .and_then(Result::ok)
        .unwrap_or_default()
        .to_owned();
    shared.lock().authorizations.insert(authorization);
    let body = body
        .collect()
        .await
        .context("the request broke off")?
        .to_bytes();
    let forward = Forward {
        shared: &shared,
        parts: &parts,
        path: &path,
    };
    let (fault, _in_flight) = match shared.next_fault(&path) {
        None => return forward.send(body).await,
        Some(fault) => (fault, InFlight(&shared)),
    };
    match &fault {
        Fault::Pass => forward.send(body).await,
        Fault::Answer {
            status,
            retry_after,
            body,
        } => {
            let mut answer = Response::builder().status(*status);
            answer = answer.header("content-type", "application/json");
            if let Some(seconds) = retry_after {
                answer = answer.header("retry-after", seconds.to_string());
            }
            answer
                .body(Reply::whole(body.clone()))
                .context("not an answer")
        }
        Fault::Delay(delay) => {
            tokio::time::sleep(*delay).await;
            forward.send(body).await
        }
        Fault::DropRequest => Err(Error::new("dropped on purpose")),
        Fault::DropResponse => {
            forward.send(body).await?;
            Err(Error::new("dropped on purpose"))
        }
        Fault::Truncate(len) => {
            let answer = forward.send(body).await?;
            let (parts, body) = answer.into_parts();
            let body = Reply::cut(body.into_bytes(), *len);
            Ok(Response::from_parts(parts, body))
        }
        Fault::Garbage(garbage) => {
            forward.send(body).await?;
            Ok(Response::new(Reply::whole(garbage.clone())))
        }
        Fault::Then(action) => {
            let answer = forward.send(body).await?;
            let action = Arc::clone(action);
            tokio::spawn(async move {
                tokio::time::sleep(ANSWERED).await;
                let _ = tokio::task::spawn_blocking(move || action()).await;
            });
            Ok(answer)
        }
        Fault::TooLarge(most) if body.len() > *most => {
            shared.lock().counters.faults += 1;
            let answer = Response::builder().status(413);
            answer
                .body(Reply::whole("too large"))
                .context("not an answer")
        }
        Fault::TooLarge(_) => forward.send(body).await,
        Fault::EditItems { edit, honest } => forward.edited(body, edit, *honest).await,
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_fault(&self, path: &str) -> Option<Fault> {
        let mut state = self.lock();
        state.counters.requests += 1;
        if !(state.matches)(path) {
            return None;
        }
        state.counters.matched += 1;
        state.in_flight += 1;
        state.counters.max_in_flight = state.counters.max_in_flight.max(state.in_flight);
        let fault = state
            .script
            .pop_front()
            .unwrap_or_else(|| state.always.clone());
        if !matches!(
            fault,
            Fault::Pass | Fault::EditItems { .. } | Fault::TooLarge(_)
        ) {
            state.counters.faults += 1;
        }
        Some(fault)
    }
}

struct Forward<'a> {
    shared: &'a Shared,
    parts: &'a hyper::http::request::Parts,
    path: &'a str,
}

impl Forward<'_> {
    async fn send(&self, body: Bytes) -> Result<Response<Reply>> {
        self.send_as(body, true).await
    }

    async fn send_as(&self, body: Bytes, as_encoded: bool) -> Result<Response<Reply>> {
        let url = format!("{}{}", self.shared.target, self.path);
        let mut request = self.shared.client.request(self.parts.method.clone(), url);
        for (name, value) in &self.parts.headers {
            let ours = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name);
            if !ours && (as_encoded || name != CONTENT_ENCODING) {
                request = request.header(name, value);
            }
        }
        let answer = request
            .body(body)
            .send()
            .await
            .context("the server can't be reached")?;
        self.shared.lock().counters.forwarded += 1;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if ![CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                response = response.header(name, value);
            }
        }
        let body = answer
            .bytes()
            .await
            .context("the server's answer broke off")?;
        response.body(Reply::whole(body)).context("not an answer")
    }

    async fn edited(&self, body: Bytes, edit: &EditItem, honest: bool) -> Result<Response<Reply>> {
        let gzip = self
            .parts
            .headers
            .get(CONTENT_ENCODING)
            .is_some_and(|name| name == "gzip");
        let plain = if gzip {
            bulk::gunzip(&body)?
        } else {
            body.to_vec()
        };
        let edited = bulk::Edited::new(&plain, edit)?;
        if edited.faults.is_empty() {
            return self.send(body).await;
        }
        {
            let mut state = self.shared.lock();
            state.counters.faults += 1;
            state.counters.edited_items += edited.faults.len() as u64;
        }
        let rest = if honest {
            edited.forwarded.clone()
        } else {
            plain.clone()
        };
        if rest.is_empty() {
            let answer = edited.answer(None, honest)?;
            let answer = Response::builder()
                .header("content-type", "application/json")
                .body(Reply::whole(answer));
            return answer.context("not an answer");
        }
        let answer = self.send_as(rest.into(), false).await?;
        if !answer.status().is_success() {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        let body = edited.answer(Some(&body.into_bytes()), honest)?;
        Ok(Response::from_parts(parts, Reply::whole(body)))
    }
}

#[cfg(test)]
mod tests;
