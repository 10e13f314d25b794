//! A small blocking HTTP client, for Elasticsearch, WebHDFS and outflow's own pages.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

pub use reqwest::Method;
use reqwest::{Certificate, Client};
use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::rt::block_on;

/// A server's base address, and a client for it.
#[derive(Clone, Debug)]
pub struct Http {
    base: String,
    timeout: Duration,
    auth: Option<(String, String)>,
    client: Option<Client>,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; an error if it isn't, or if the status isn't 2xx.
    pub fn json(&self) -> Result<Value> {
        if !(200..300).contains(&self.status) {
            return Err(Error::new(format!("HTTP {}: {}", self.status, self.text())));
        }
        serde_json::from_slice(&self.body).context(format!("not JSON: {}", self.text()))
    }
}

impl Http {
    /// A client for `base`, such as `http://127.0.0.1:9200`.
    pub fn new(base: impl Into<String>) -> Self {
        Self {
            base: base.into(),
            timeout: Duration::from_secs(30),
            auth: None,
            client: None,
        }
    }

    /// The same, trusting the authority in this PEM file alone.
    pub fn with_ca_file(mut self, ca_file: &Path) -> Result<Self> {
        let pem = fs::read(ca_file).context(format!("can't read {}", ca_file.display()))?;
        let ca = Certificate::from_pem(&pem).context("not a certificate")?;
        let client = Client::builder().no_proxy().tls_built_in_root_certs(false);
        let client = client.add_root_certificate(ca).build();
        self.client = Some(client.context("can't make an HTTPS client")?);
        Ok(self)
    }

    /// The same with another limit per request.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same with a user's name and password.
    pub fn with_basic_auth(mut self, user: &str, password: &str) -> Self {
        self.auth = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// The base address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// One request. Only a broken exchange is an error; any status is an answer.
    pub fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let what = format!("{method} {url}");
        let shared = if self.client.is_none() {
            Some(client()?)
        } else {
            None
        };
        let client = self
            .client
            .as_ref()
            .or(shared)
            .ok_or_else(|| Error::new("no HTTP client"))?;
        let mut request = client.request(method, url).timeout(self.timeout);
        if let Some((user, password)) = &self.auth {
            request = request.basic_auth(user, Some(password));
        }
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let exchange = block_on(async move {
            let response = request.send().await?;
            let status = response.status().as_u16();
            Ok::<_, reqwest::Error>(Answer {
                status,
                body: response.bytes().await?.to_vec(),
            })
        });
        exchange.map_err(|error| Error::new(format!("{what}: {}", causes(&error))))
    }

    /// GET.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None)
    }

    /// GET of a JSON document.
    pub fn get_json(&self, path: &str) -> Result<Value> {
        self.get(path)?
            .json()
            .context(format!("GET {}{path}", self.base))
    }

    /// PUT, POST or DELETE with a JSON body, of a JSON answer.
    pub fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let what = format!("{method} {}{path}", self.base);
        let body = Some(("application/json", body.to_string().into_bytes()));
        self.send(method, path, body)?.json().context(what)
    }

    /// PUT of JSON.
    pub fn put_json(&self, path: &str, body: &Value) -> Result<Value> {
        self.send_json(Method::PUT, path, body)
    }

    /// POST of JSON.
    pub fn post_json(&self, path: &str, body: &Value) -> Result<Value> {
        self.send_json(Method::POST, path, body)
    }
}

/// reqwest's own text hides the cause.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

pub(crate) fn client() -> Result<&'static Client> {
    static CLIENT: OnceLock<Result<Client, String>> = OnceLock::new();
    // A proxy from the environment must not come between us and a server on this machine.
    CLIENT
        .get_or_init(|| {
            Client::builder()
                .no_proxy()
                .build()
                .map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(|error| Error::new(format!("can't make an HTTP client: {error}")))
}
