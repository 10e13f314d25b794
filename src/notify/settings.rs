//! A notifier's settings, validated: of what it tells, how patiently, and whom.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use regex::Regex;
use secrecy::SecretString;

use super::incident::{GroupId, Patience};
use super::template::Template;
use crate::lag::{GroupPatterns, Status};

/// How bad a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Well, or not bad enough.
    Ok,
    /// A partition falls behind.
    Warn,
    /// A partition is stopped, stalled, or went back.
    Err,
}

impl Level {
    /// The level of a group's verdict.
    pub fn of(status: Status) -> Level {
        match status {
            Status::NotFound | Status::Ok => Level::Ok,
            Status::Warn => Level::Warn,
            Status::Err | Status::Stop | Status::Stall | Status::Rewind => Level::Err,
        }
    }

    /// The level that a word names; `OFF` is above all.
    pub fn threshold(word: &str) -> Option<Option<Level>> {
        match word {
            "WARN" => Some(Some(Level::Warn)),
            "ERR" => Some(Some(Level::Err)),
            "OFF" => Some(None),
            _ => None,
        }
    }
}

/// Of which groups a notifier tells, and from which level on.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Only of these clusters; of all if there are none.
    pub clusters: Vec<String>,
    /// Only of these groups.
    pub groups: GroupPatterns,
    /// From this level on.
    pub threshold: Level,
    /// Other levels for groups whose whole name matches; the first that does decides. None: it isn't told of.
    pub by_group: Vec<(Regex, Option<Level>)>,
}

impl Selection {
    /// From which level on it is told of a group; none if it never is.
    pub fn threshold(&self, id: &GroupId) -> Option<Level> {
        let is_chosen = self.clusters.is_empty() || self.clusters.contains(&id.cluster);
        if !is_chosen || !self.groups.has(&id.group) {
            return None;
        }
        let mut by_group = self.by_group.iter();
        match by_group.find(|(pattern, _)| pattern.is_match(&id.group)) {
            Some((_, level)) => *level,
            None => Some(self.threshold),
        }
    }
}

/// A notifier.
#[derive(Debug, Clone)]
pub struct NotifierSettings {
    /// Names it in logs, metrics and messages.
    pub name: Arc<str>,
    /// Of which groups it tells.
    pub selection: Selection,
    /// When an incident opens, is repeated, and closes.
    pub patience: Patience,
    /// Whether it tells that an incident is over.
    pub send_close: bool,
    /// The most messages that wait to be delivered.
    pub queue: usize,
    /// How long one try may take.
    pub timeout: Duration,
    /// Where people find the page, for links.
    pub page_url: Option<String>,
    /// Whom it tells.
    pub target: Target,
}

/// Whom a notifier tells.
#[derive(Debug, Clone)]
pub enum Target {
    /// An HTTP server.
    Http(HttpTarget),
    /// A mail server.
    Email(Box<EmailTarget>),
}

/// An HTTP server that takes messages.
#[derive(Debug, Clone)]
pub struct HttpTarget {
    /// Where to; it may be a secret by itself, as Slack's are.
    pub url: SecretString,
    /// Scheme, host and port of it, to be shown.
    pub shown: String,
    /// Whether it is on this machine, where no proxy is asked.
    pub is_local: bool,
    /// A CA certificate (PEM) to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Who we are.
    pub auth: HttpAuth,
    /// More headers; any may hold a secret.
    pub headers: Vec<(String, SecretString)>,
    /// What is sent.
    pub body: Body,
}

/// Who we are, towards an HTTP server.
#[derive(Debug, Clone)]
pub enum HttpAuth {
    /// Nobody.
    None,
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// `Authorization: Bearer …`.
    Bearer(SecretString),
}

/// What is sent to an HTTP server.
#[derive(Debug, Clone)]
pub enum Body {
    /// The message itself, as JSON.
    Json,
    /// What a template makes of it.
    Template(Template),
    /// An alert of Alertmanager's API, with these labels besides its own.
    Alertmanager {
        /// Names and values.
        labels: Vec<(String, String)>,
    },
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct EmailTarget {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept private.
    pub tls: SmtpTls,
    /// A CA certificate (PEM) to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// User and password.
    pub credentials: Option<(String, SecretString)>,
    /// The sender.
    pub from: Mailbox,
    /// Who is told.
    pub to: Vec<Mailbox>,
    /// The subject.
    pub subject: Template,
    /// The text.
    pub text: Template,
}

/// How a connection to a mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// It begins in the clear, and is private before anything is said; without that nothing is.
    StartTls,
    /// It is from the first byte on.
    Tls,
    /// It isn't.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(cluster: &str, group: &str) -> GroupId {
        GroupId {
            cluster: cluster.into(),
            group: group.into(),
        }
    }

    #[test]
    fn the_first_pattern_that_matches_decides() {
        let pattern = |text: &str| Regex::new(&format!("^(?:{text})$")).expect("a pattern");
        let mut selection = Selection {
            clusters: Vec::new(),
            groups: GroupPatterns {
                include: None,
                exclude: vec![pattern("console-.*")],
            },
            threshold: Level::Warn,
            by_group: vec![
                (pattern("batch-slow"), None),
                (pattern("batch-.*"), Some(Level::Err)),
            ],
        };
        let threshold = |s: &Selection, group| s.threshold(&id("local", group));
        assert_eq!(threshold(&selection, "payments"), Some(Level::Warn));
        assert_eq!(threshold(&selection, "batch-slow"), None);
        assert_eq!(threshold(&selection, "batch-slower"), Some(Level::Err));
        assert_eq!(threshold(&selection, "console-1"), None);
        selection.clusters = vec!["other".into()];
        assert_eq!(threshold(&selection, "payments"), None);
        assert_eq!(
            selection.threshold(&id("other", "payments")),
            Some(Level::Warn)
        );
    }
}
