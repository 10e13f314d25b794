//! The way to the nodes. The only file that imports the `elasticsearch` crate, and only as a transport: one
//! per node, so that we choose the node and know which one failed.
//!
//! Proxies of the environment are ignored, and a redirect to another host is an error: credentials and
//! records go where the configuration says. Errors name the node, never a credential. A CA file is trusted
//! besides the public authorities (the crate can't replace them), and read again when a node can't be reached.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
pub use elasticsearch::http::Method;
use elasticsearch::http::headers::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use elasticsearch::http::response::Response;
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use secrecy::ExposeSecret as _;

use super::nodes::Nodes;
use crate::config::settings::{ElasticsearchAuth, ElasticsearchSettings};
use crate::error::{Error, root_cause};

/// Answers above this are given up: a bulk answer has a few hundred bytes a record at the very most.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// How long a probe may take: it asks whether somebody is there.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A client for all configured nodes.
pub struct Client {
    nodes: Vec<Node>,
    standing: Mutex<Nodes>,
    settings: ElasticsearchSettings,
}

struct Node {
    /// `host:port`, for people.
    name: String,
    host: String,
    url: url::Url,
    transport: Mutex<Transport>,
}

impl Node {
    fn transport(&self) -> Transport {
        let transport = self.transport.lock();
        transport.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After` in seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Bytes,
    /// The node that answered.
    pub node: String,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The path, escaped.
    pub path: &'a str,
    /// The query.
    pub query: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: Option<Bytes>,
    /// How long all of it may take.
    pub timeout: Duration,
}

impl std::fmt::Debug for Client {
    // The crate's own Debug prints credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.nodes.iter().map(|node| &node.name);
        f.debug_list().entries(names).finish()
    }
}

impl Client {
    /// A client for the settings' nodes. No connection is made yet.
    pub fn new(settings: &ElasticsearchSettings) -> Result<Self, Error> {
        if settings.urls.is_empty() {
            return Err(Error::misconfigured("urls: name at least one node"));
        }
        let nodes: Vec<Node> = settings
            .urls
            .iter()
            .map(|url| node(url, settings))
            .collect::<Result<_, _>>()?;
        Ok(Client {
            standing: Mutex::new(Nodes::new(nodes.len())),
            nodes,
            settings: settings.clone(),
        })
    }

    /// Sends a request to the next node and reads the answer. `Err` means that nothing is known about what
    /// the server did.
    pub async fn send(&self, request: Request<'_>) -> Result<Reply, Error> {
        let picked = self.with_standing(|nodes| nodes.pick(Instant::now()));
        let Some(node) = self.nodes.get(picked) else {
            return Err(Error::misconfigured("urls: name at least one node"));
        };
        let result = self.send_to(node, request).await;
        let serves = result
            .as_ref()
            .is_ok_and(|reply| !matches!(reply.status, 502..=504));
        if serves {
            if self.with_standing(|nodes| nodes.answered(picked)) && self.nodes.len() > 1 {
                tracing::info!(node = node.name, "node is back");
            }
        } else {
            self.with_standing(|nodes| nodes.failed(picked, Instant::now()));
        }
        result
    }

    /// Whether some node answers at all, soon.
    pub async fn ping(&self) -> Result<(), Error> {
        let reply = self
            .send(Request {
                method: Method::Get,
                path: "/",
                query: &[],
                body: None,
                timeout: PING_TIMEOUT,
            })
            .await
            .inspect_err(|_| self.read_ca_again())?;
        match reply.status {
            // Anything else is an answer of a server that is up; whether it takes records is another matter.
            429 | 502..=504 => Err(Error::unavailable(format!(
                "{}: HTTP {}",
                reply.node, reply.status
            ))
            .with_retry_after(reply.retry_after)),
            _ => Ok(()),
        }
    }

    /// How many nodes are set aside, and how many there are.
    pub fn set_aside(&self) -> (usize, usize) {
        let aside = self.with_standing(|nodes| nodes.set_aside(Instant::now()));
        (aside, self.nodes.len())
    }

    fn with_standing<T>(&self, use_it: impl FnOnce(&mut Nodes) -> T) -> T {
        use_it(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn renew(&self, node: &Node) {
        match transport(&node.url, &node.name, &self.settings) {
            Ok(fresh) => {
                let mut place = node
                    .transport
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *place = fresh;
            }
            // The CA file went away: the old one will do.
            Err(error) => tracing::warn!(node = node.name, "{error}"),
        }
    }

    fn read_ca_again(&self) {
        if self.settings.ca_file.is_some() {
            self.nodes.iter().for_each(|node| self.renew(node));
        }
    }

    async fn send_to(&self, node: &Node, request: Request<'_>) -> Result<Reply, Error> {
        let mut headers = HeaderMap::new();
        let mut body = request.body;
        if let Some(level) = self.settings.gzip_level
            && let Some(plain) = body.take_if(|b| b.len() > 1_024)
        {
            body = Some(compress(plain, level).await?);
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if body.is_some() && request.path.ends_with("_bulk") {
            let ndjson = HeaderValue::from_static("application/x-ndjson");
            headers.insert(CONTENT_TYPE, ndjson);
        }
        let (query, timeout) = (request.query, Some(request.timeout));
        let transport = node.transport();
        let sent = transport.send(
            request.method,
            request.path,
            headers,
            Some(query),
            body,
            timeout,
        );
        let response = sent.await.map_err(|e| unreachable(node, &e))?;
        if response.url().host_str() != Some(&node.host) {
            let to = response.url().host_str().unwrap_or("?");
            return Err(Error::misconfigured(format!(
                "{} redirects to {to}: put the right address into urls",
                node.name
            )));
        }
        read(node, response).await
    }
}

async fn read(node: &Node, response: Response) -> Result<Reply, Error> {
    let status = response.status_code().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
    // The crate can't stream: an answer that doesn't say its length (Elasticsearch's to a bulk request doesn't)
    // is bounded by filter_path and the timeout.
    if response
        .content_length()
        .is_some_and(|n| n > MAX_ANSWER_BYTES)
    {
        let what = format!(
            "{}: an answer of more than {MAX_ANSWER_BYTES} bytes",
            node.name
        );
        return Err(Error::unavailable(what));
    }
    let body = response.bytes().await.map_err(|e| unreachable(node, &e))?;
    Ok(Reply {
        status,
        retry_after,
        body,
        node: node.name.clone(),
    })
}

async fn compress(plain: Bytes, level: u32) -> Result<Bytes, Error> {
    let work = move || {
        let level = flate2::Compression::new(level.min(9));
        let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(plain.len() / 4), level);
        encoder.write_all(&plain)?;
        encoder.finish()
    };
    let done = tokio::task::spawn_blocking(work).await;
    match done {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(e)) => Err(Error::unavailable(format!("compressing a body: {e}"))),
        Err(e) => Err(Error::unavailable(format!("compressing a body: {e}"))),
    }
}

fn node(url: &url::Url, settings: &ElasticsearchSettings) -> Result<Node, Error> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(9200);
    let name = format!("{host}:{port}");
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::misconfigured(format!(
            "urls: {name} has credentials in it; they belong into auth"
        )));
    }
    Ok(Node {
        transport: Mutex::new(transport(url, &name, settings)?),
        name,
        host,
        url: url.clone(),
    })
}

fn transport(
    url: &url::Url,
    name: &str,
    settings: &ElasticsearchSettings,
) -> Result<Transport, Error> {
    let agent = HeaderValue::from_static(concat!("outflow/", env!("CARGO_PKG_VERSION")));
    let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url.clone()))
        .disable_proxy()
        .enable_meta_header(false)
        .header(USER_AGENT, agent);
    if let Some(credentials) = credentials(&settings.auth)? {
        builder = builder.auth(credentials);
    }
    if let Some(validation) = validation(settings)? {
        builder = builder.cert_validation(validation);
    }
    builder
        .build()
        .map_err(|e| Error::misconfigured(format!("{name}: {}", root_cause(&e))))
}

fn credentials(auth: &ElasticsearchAuth) -> Result<Option<Credentials>, Error> {
    Ok(match auth {
        ElasticsearchAuth::None => None,
        ElasticsearchAuth::Basic { user, password } => {
            let password = password.expose_secret().to_owned();
            Some(Credentials::Basic(user.clone(), password))
        }
        ElasticsearchAuth::ApiKey(key) => {
            let key = key.expose_secret();
            // The crate would panic on what can't stand in a header.
            if HeaderValue::try_from(format!("ApiKey {key}")).is_err() {
                let what =
                    "the API key has characters that no key has; use the value named 'encoded'";
                return Err(Error::misconfigured(what));
            }
            Some(Credentials::EncodedApiKey(key.to_owned()))
        }
    })
}

fn validation(settings: &ElasticsearchSettings) -> Result<Option<CertificateValidation>, Error> {
    if settings.insecure_skip_verify {
        return Ok(Some(CertificateValidation::None));
    }
    let Some(path) = &settings.ca_file else {
        return Ok(None);
    };
    let bad = |why: String| Error::misconfigured(format!("ca_file {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
    let certificate = Certificate::from_pem(&pem).map_err(|e| bad(e.to_string()))?;
    Ok(Some(CertificateValidation::Full(certificate)))
}

fn unreachable(node: &Node, error: &elasticsearch::Error) -> Error {
    let what = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        root_cause(error)
    };
    Error::unavailable(format!("{}: {what}", node.name))
}
