//! Asks an admin server for its pages.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

use super::pages::{Detail, Groups, Sink};
use super::picture::{Answers, Picture, Wanted};
use crate::error::{Error, Kind, root_cause};

/// How long one page may take; a thousand groups take less than a second.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A page may be so long: a process with ten thousand partitions has 10 MB of status.
const MOST_BYTES: usize = 64 << 20;

/// A client of one admin server.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

/// A health page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthPage {
    /// Whether a restart would help.
    Live,
    /// Whether it works, or waits for what goes away by itself.
    Ready,
}

impl HealthPage {
    /// Its path, and its word for what is well.
    fn path_and_word(self) -> (&'static str, &'static str) {
        match self {
            HealthPage::Live => ("livez", "alive"),
            HealthPage::Ready => ("readyz", "ready"),
        }
    }
}

/// What a health page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether all is well.
    pub is_well: bool,
    /// What was said, in one line, with the page's address.
    pub why: String,
}

impl Client {
    /// A client of the server at `url`, such as `http://127.0.0.1:9600`. Nothing is asked yet.
    ///
    /// # Errors
    /// It isn't an HTTP address, or the token can't stand in a header.
    pub fn new(url: &str, token: Option<&SecretString>) -> Result<Self, Error> {
        Self::within(url, token, TIMEOUT)
    }

    /// The same, where a page may take as long as `timeout`.
    ///
    /// # Errors
    /// As those of [`Client::new`].
    pub fn within(
        url: &str,
        token: Option<&SecretString>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let with_scheme = match url.contains("://") {
            true => url.to_owned(),
            false => format!("http://{url}"),
        };
        let parsed = Url::parse(&with_scheme).ok();
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let Some(parsed) = parsed.filter(is_http) else {
            let what = format!("{url:?} is no address such as http://127.0.0.1:9600");
            return Err(Error::misconfigured(what));
        };
        let authorization = token.map(bearer).transpose()?;
        // The address is meant: no proxy, and no other server's pages.
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|why| Error::unavailable(format!("no HTTP client: {why}")))?;
        Ok(Client {
            http,
            url: parsed,
            authorization,
            timeout,
        })
    }

    /// Whom it asks.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How sinks and groups stand, with the partitions of those that are wanted, if they are wanted.
    ///
    /// # Errors
    /// Nobody answers, or not as outflow does.
    pub async fn picture(&self, wanted: &Wanted) -> Result<Picture, Error> {
        let sinks: Vec<Sink> = self.get(&["api", "v1", "status"]).await?;
        let groups: Groups = self.get(&["api", "v1", "groups"]).await?;
        let mut answers = Answers {
            sinks,
            groups,
            details: BTreeMap::new(),
        };
        for (cluster, group) in answers.wanted_partitions(wanted) {
            let path = ["api", "v1", "groups", &cluster, &group];
            let detail = match self.get::<Detail>(&path).await {
                // It is gone since the list was made.
                Err(error) if error.kind == Kind::Rejected => continue,
                detail => detail?,
            };
            answers.details.insert((cluster, group), detail);
        }
        Ok(Picture::of(answers, wanted))
    }

    /// What a health page says.
    ///
    /// # Errors
    /// Nobody answers, or not as outflow does.
    pub async fn verdict(&self, page: HealthPage) -> Result<Verdict, Error> {
        let (path, word) = page.path_and_word();
        let (url, status, body) = self.ask(&[path]).await?;
        let text = String::from_utf8_lossy(&body);
        let said: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        let first = said.first().copied().unwrap_or_default();
        // Others answer 200 to whatever they are asked.
        let is_well = match status {
            200 if first == word => true,
            503 if first.strip_prefix("not ") == Some(word) => false,
            200 | 503 => return Err(strange(&url, format_args!("it didn't say {word:?}"))),
            _ => return Err(refused(&url, status, &body)),
        };
        let why = format!("{url}: {}", said.join("; "));
        Ok(Verdict { is_well, why })
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Error> {
        let (url, status, body) = self.ask(path).await?;
        if !(200..300).contains(&status) {
            return Err(refused(&url, status, &body));
        }
        serde_json::from_slice(&body).map_err(|why| strange(&url, why))
    }

    /// A page: its address, its status and its body.
    async fn ask(&self, path: &[&str]) -> Result<(Url, u16, Vec<u8>), Error> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.http.get(url.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let mut response = request
            .send()
            .await
            .map_err(|why| self.unanswered(&why.without_url()))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|why| self.unanswered(&why.without_url()))?
        {
            body.extend_from_slice(&chunk);
            if body.len() > MOST_BYTES {
                let what = format!("{url}: the answer is longer than {MOST_BYTES} bytes");
                return Err(Error::corrupt(what));
            }
        }
        Ok((url, status.as_u16(), body))
    }

    fn unanswered(&self, why: &reqwest::Error) -> Error {
        let reason = match why.is_timeout() {
            true => format!("no answer within {:?}", self.timeout),
            false => root_cause(why),
        };
        Error::unavailable(format!(
            "{}: {reason}; is outflow running there, with this admin.listen?",
            self.url
        ))
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, Error> {
    let value = format!("Bearer {}", token.expose_secret());
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| Error::misconfigured("the token has characters that HTTP doesn't take"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An answer that isn't outflow's.
fn strange(url: &Url, why: impl std::fmt::Display) -> Error {
    let what = format!("{url}: that isn't outflow's admin server, or another version's: {why}");
    Error::corrupt(what)
}

/// What the server says, and what to do.
fn refused(url: &Url, status: u16, body: &[u8]) -> Error {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = body.get("error").and_then(|error| error.as_str());
    let said = said.unwrap_or("no reason is given");
    let what = format!("{url}: HTTP {status}: {said}");
    match status {
        401 | 403 => Error::misconfigured(format!("{what}; --token-file names the token's file")),
        404 => Error::rejected(what),
        _ => Error::unavailable(what),
    }
}
