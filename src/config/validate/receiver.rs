//! Whom a notifier tells over HTTP: where, and who we are. Mail, and templates, are `mail`'s.

use std::path::PathBuf;

use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::super::kinds::Parsed;
use super::super::problem::printable;
use super::Validator;
use crate::notify::settings::{Body, HttpAuth, HttpTarget, Level, Target};
use crate::notify::template::{Escape, SLACK};

const URL: &str = "notify.url";
/// In a header's name: its value is a secret.
const SECRETS: [&str; 6] = ["auth", "token", "key", "secret", "password", "cookie"];
/// Labels that are outflow's own.
const OWN_LABELS: [&str; 3] = ["alertname", "cluster", "consumer_group"];

impl Validator<'_> {
    pub(super) fn http(&mut self, kind: &str, threshold: Level) -> Option<Target> {
        let url = self.notify_url(kind);
        let auth = self.http_auth();
        let headers = self.headers();
        let ca_file = self.notify_ca();
        let body = match kind {
            "alertmanager" => Some(Body::Alertmanager {
                labels: self.labels(threshold),
            }),
            _ => {
                let given = (kind == "slack").then_some(SLACK);
                let escape = escape(&headers);
                let is_asked = given.is_some()
                    || ["notify.template", "notify.template_file"]
                        .iter()
                        .any(|key| self.values.is_set(key));
                match is_asked {
                    true => self.template(given, escape).map(Body::Template),
                    false => Some(Body::Json),
                }
            }
        };
        let (url, parsed) = url?;
        let is_local = super::elasticsearch::is_local(&parsed);
        let in_the_clear = parsed.scheme() == "http" && !is_local;
        let has_secrets =
            !matches!(auth, HttpAuth::None) || !self.notify_entries("secret_headers").is_empty();
        if in_the_clear && has_secrets {
            self.warning(URL, "credentials cross the network in the clear")
                .push("use https://".into());
        }
        if ca_file.is_some() && parsed.scheme() == "http" {
            self.error(
                "notify.ca_file",
                "isn't used: the URL doesn't begin with https://",
            )
            .push("use https://, or leave ca_file out".into());
        }
        Some(Target::Http(HttpTarget {
            url,
            shown: parsed.origin().ascii_serialization(),
            is_local,
            ca_file,
            auth,
            headers,
            body: body?,
        }))
    }

    fn notify_url(&mut self, kind: &str) -> Option<(SecretString, url::Url)> {
        const HELP: &str = "write url = \"https://alerts.example.com/hook\"; or name a file that holds it by url_file";
        let plain = self.values.text(URL);
        let secret = self.secret(URL);
        let is_secret = ["notify.url_file", "notify.url_env"]
            .iter()
            .any(|key| self.values.is_set(key));
        if plain.is_some() && is_secret {
            self.error(URL, "stands beside url_file or url_env")
                .push("name one place for it".into());
            return None;
        }
        if kind == "slack"
            && plain
                .as_deref()
                .is_some_and(|url| url.contains("slack.com"))
        {
            self.warning(URL, "whoever knows this address can write into the channel")
                .push("put it into a file, and name that by url_file".into());
        }
        if plain.is_none() && !is_secret {
            self.require(URL, HELP);
            return None;
        }
        let text = match (plain, secret) {
            (Some(plain), _) => SecretString::from(plain),
            (None, secret) => secret?,
        };
        // Never shown: it may be a secret.
        let wrong = match url::Url::parse(text.expose_secret()) {
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "has a user or a password in it: there are user, and password_file or password_env"
                    .to_owned()
            }
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => {
                return Some((text, url));
            }
            Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
                "begins neither with http:// nor with https://".to_owned()
            }
            Err(error) => format!("can't be read: {error}"),
        };
        let key = if self.values.is_set(URL) {
            URL
        } else if self.values.is_set("notify.url_file") {
            "notify.url_file"
        } else {
            "notify.url_env"
        };
        self.error(key, format!("the URL {wrong}"))
            .push(HELP.into());
        None
    }

    fn http_auth(&mut self) -> HttpAuth {
        let bearer = self.secret("notify.bearer_token");
        let credentials = self.notify_credentials();
        match (bearer, credentials) {
            (Some(_), Some(_)) => {
                self.error("notify.user", "stands beside a bearer token")
                    .push("say who we are in one way".into());
                HttpAuth::None
            }
            (Some(token), None) => HttpAuth::Bearer(token),
            (None, Some((user, password))) => HttpAuth::Basic { user, password },
            (None, None) => HttpAuth::None,
        }
    }

    pub(super) fn notify_credentials(&mut self) -> Option<(String, SecretString)> {
        let user = self.values.text("notify.user");
        let password = self.secret("notify.password");
        let names_password = ["notify.password_file", "notify.password_env"]
            .into_iter()
            .find(|key| self.values.is_set(key));
        match (&user, names_password) {
            (Some(_), None) => {
                self.error("notify.user", "has no password")
                    .push("name its place by password_file or password_env".into());
            }
            (None, Some(key)) => {
                self.error(key, "isn't used without a user")
                    .push("set user, or leave the password out".into());
            }
            _ => {}
        }
        Some((user?, password?))
    }

    /// Plain and secret ones.
    fn headers(&mut self) -> Vec<(String, SecretString)> {
        let mut headers = Vec::new();
        for (key, entry) in self.notify_entries("headers") {
            let (Some(name), Some(Parsed::Text(value))) =
                (entry.address.path.get(2), &entry.parsed)
            else {
                continue;
            };
            let lower = name.to_lowercase();
            if SECRETS.iter().any(|secret| lower.contains(secret)) {
                self.error(&key, "a secret doesn't stand in the configuration").push(format!(
                    "in [notify.secret_headers]: \"{}\" = {{ file = \"/run/secrets/x\" }}, or {{ env = \"X\" }}",
                    printable(name)
                ));
                continue;
            }
            let value = SecretString::from(value.clone());
            headers.extend(self.header(&key, name, value));
        }
        for (key, entry) in self.notify_entries("secret_headers") {
            let Some((name, source, at)) = entry.as_secret() else {
                continue;
            };
            if let Some(secret) = self.secret_of_entry(&key, source, at) {
                headers.extend(self.header(&key, name, secret));
            }
        }
        headers
    }

    fn header(
        &mut self,
        key: &str,
        name: &str,
        value: SecretString,
    ) -> Option<(String, SecretString)> {
        let is_name = HeaderName::from_bytes(name.as_bytes()).is_ok();
        let is_value = HeaderValue::from_str(value.expose_secret()).is_ok();
        if is_name && is_value {
            return Some((name.to_owned(), value));
        }
        let what = match is_name {
            true => "isn't fit to be a header's value",
            false => "isn't a header's name",
        };
        self.error(key, what)
            .push("write \"X-Team\" = \"data\", in printable ASCII".into());
        None
    }

    fn labels(&mut self, threshold: Level) -> Vec<(String, String)> {
        let mut labels = Vec::new();
        for (key, entry) in self.notify_entries("labels") {
            let (Some(name), Some(Parsed::Text(value))) =
                (entry.address.path.get(2), &entry.parsed)
            else {
                continue;
            };
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if OWN_LABELS.contains(&name.as_str()) {
                self.error(&key, "this label is outflow's own")
                    .push("choose another name".into());
            } else if !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
                self.error(&key, "isn't a label's name")
                    .push("letters, digits and `_`, and no digit first".into());
            } else {
                labels.push((name.clone(), value.clone()));
            }
        }
        if !labels.iter().any(|(name, _)| name == "severity") {
            let severity = match threshold {
                Level::Err => "critical",
                _ => "warning",
            };
            labels.push(("severity".into(), severity.into()));
        }
        labels
    }

    pub(super) fn notify_ca(&mut self) -> Option<PathBuf> {
        self.pem_file("notify.ca_file", "name the CA certificate's PEM file")
    }
}

/// Values are escaped for JSON unless something else is sent.
fn escape(headers: &[(String, SecretString)]) -> Escape {
    let mut headers = headers.iter();
    let content_type = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    match content_type {
        Some((_, value)) if !value.expose_secret().contains("json") => Escape::Plain,
        _ => Escape::Json,
    }
}
