//! Webhooks: one POST for each message (Alertmanager takes many in one). Any 2xx is a success, whatever is said with it.

use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};

use super::alertmanager::{self, alerts};
use super::delivery::Failure;
use super::message::Message;
use super::settings::{Body, HttpAuth, HttpTarget, NotifierSettings};
use crate::clock::unix_ms;
use crate::config::problem::printable;
use crate::error::root_cause;

/// So many alerts go into one request.
const ALERTS_AT_ONCE: usize = 64;
/// So much is read of what is said with a failure.
const SAID: usize = 300;
/// Without `repeat_interval` an alert would end at once; this is Alertmanager's own `resolve_timeout`.
const LEASE: Duration = Duration::from_secs(300);

/// Speaks with one server.
pub struct HttpSender {
    client: Client,
    url: SecretString,
    auth: HttpAuth,
    headers: HeaderMap,
    body: Body,
    receiver: String,
    lease: Duration,
}

impl fmt::Debug for HttpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpSender({})", self.receiver)
    }
}

impl HttpSender {
    /// For a notifier; fails in words.
    pub fn new(notifier: &NotifierSettings, target: &HttpTarget) -> Result<Self, String> {
        let url = url(target)?;
        let mut client = Client::builder()
            .timeout(notifier.timeout)
            .redirect(reqwest::redirect::Policy::none())
            // A connection that was idle for long may be dead.
            .pool_idle_timeout(Duration::from_secs(10))
            .user_agent(concat!("outflow/", env!("CARGO_PKG_VERSION")));
        if target.is_local {
            client = client.no_proxy();
        }
        if let Some(file) = &target.ca_file {
            let shown = file.display();
            let pem = std::fs::read(file).map_err(|e| format!("ca_file {shown}: {e}"))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|e| format!("ca_file {shown}: {e}"))?;
            client = client.tls_built_in_root_certs(false);
            for certificate in certificates {
                client = client.add_root_certificate(certificate);
            }
        }
        let lease = notifier.patience.repeat.map_or(LEASE, |repeat| repeat * 4);
        Ok(HttpSender {
            client: client.build().map_err(|e| e.without_url().to_string())?,
            url: SecretString::from(url.to_string()),
            auth: target.auth.clone(),
            headers: headers(target)?,
            body: target.body.clone(),
            receiver: target.shown.clone(),
            lease: lease + notifier.patience.close_after,
        })
    }

    /// Who it is, without secrets.
    pub fn receiver(&self) -> &str {
        &self.receiver
    }

    /// How many messages go into one request.
    pub fn at_once(&self) -> usize {
        match self.body {
            Body::Alertmanager { .. } => ALERTS_AT_ONCE,
            _ => 1,
        }
    }

    /// One try.
    ///
    /// # Errors
    /// The server can't be reached, or doesn't take it.
    pub async fn send(&self, messages: &[Message]) -> Result<(), Failure> {
        let body = self.body(messages).map_err(Failure::for_good)?;
        let request = self.as_us(self.client.post(self.url.expose_secret()));
        let answer = request.body(body).send().await;
        let answer = answer.map_err(|error| self.unreachable(error))?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(self.refused(answer).await)
    }

    /// Asks the server for something that changes nothing (HEAD); any answer will do.
    ///
    /// # Errors
    /// There is none.
    pub async fn reach(&self) -> Result<String, Failure> {
        let request = self.as_us(self.client.head(self.url.expose_secret()));
        let answer = request.send().await;
        let answer = answer.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        Ok(format!("answers ({status} to HEAD); nothing was sent"))
    }

    fn as_us(&self, request: RequestBuilder) -> RequestBuilder {
        let request = match &self.auth {
            HttpAuth::None => request,
            HttpAuth::Bearer(token) => request.bearer_auth(token.expose_secret()),
            HttpAuth::Basic { user, password } => {
                request.basic_auth(user, Some(password.expose_secret()))
            }
        };
        request.headers(self.headers.clone())
    }

    fn body(&self, messages: &[Message]) -> Result<String, String> {
        let made = match (&self.body, messages) {
            (Body::Alertmanager { labels }, all) => alerts(all, labels, unix_ms(), self.lease),
            (Body::Json, [message]) => serde_json::to_string(message),
            (Body::Template(template), [message]) => {
                let made = template.render(message);
                return made.map_err(|broken| format!("the template: {}", broken.what));
            }
            (_, messages) => serde_json::to_string(messages),
        };
        made.map_err(|error| error.to_string())
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        // The address may be a secret.
        let error = error.without_url();
        let why = match (error.is_timeout(), std::error::Error::source(&error)) {
            (true, _) => "no answer in time".to_owned(),
            (false, Some(_)) => root_cause(&error),
            (false, None) => error.to_string(),
        };
        let receiver = &self.receiver;
        Failure::passing(format!("{receiver} can't be reached: {why}"))
    }

    async fn refused(&self, mut answer: Response) -> Failure {
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|v| v.to_str().ok()?.parse().ok());
        let mut said = Vec::new();
        while let Ok(Some(more)) = answer.chunk().await
            && said.len() < SAID
        {
            said.extend_from_slice(&more);
        }
        said.truncate(SAID);
        let said = printable(String::from_utf8_lossy(&said).trim());
        let receiver = &self.receiver;
        let what = match said.is_empty() {
            true => format!("{receiver} answered {status}"),
            false => format!("{receiver} answered {status}: {said}"),
        };
        let mut failure = match is_about_the_message(status) {
            true => Failure::for_good(what),
            false => Failure::passing(what),
        };
        failure.retry_after = retry_after.map(Duration::from_secs);
        failure
    }
}

/// What is said of the message, rather than of the server or of who we are: another try of the same is of no use.
fn is_about_the_message(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 413 | 415 | 422)
}

fn url(target: &HttpTarget) -> Result<Url, String> {
    let parsed = Url::parse(target.url.expose_secret());
    let mut url = parsed.map_err(|error| format!("the URL can't be read: {error}"))?;
    if let Body::Alertmanager { .. } = target.body
        && !url.path().ends_with(alertmanager::PATH)
    {
        let path = format!("{}{}", url.path().trim_end_matches('/'), alertmanager::PATH);
        url.set_path(&path);
    }
    Ok(url)
}

fn headers(target: &HttpTarget) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &target.headers {
        let bad = || format!("header {name:?} can't be sent");
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}
