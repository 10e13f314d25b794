//! Notifiers: of what they tell, and how patiently. Whom they tell is `receiver`'s.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::Regex;

use super::super::kinds::{Kind, Parsed, format_duration};
use super::super::layers::{Entry, Values};
use super::super::problem::{Problems, printable};
use super::super::surroundings::Surroundings;
use super::{Derived, Validator};
use crate::lag::GroupPatterns;
use crate::notify::incident::Patience;
use crate::notify::settings::{Level, NotifierSettings, Selection};

/// Keys that not every kind of notifier has a use for.
const USED_BY: [(&str, &[&str]); 16] = [
    ("url", HTTP),
    ("url_file", HTTP),
    ("url_env", HTTP),
    ("bearer_token_file", HTTP),
    ("bearer_token_env", HTTP),
    ("headers", HTTP),
    ("secret_headers", HTTP),
    ("labels", &["alertmanager"]),
    ("template", TEXTS),
    ("template_file", TEXTS),
    ("subject", MAIL),
    ("server", MAIL),
    ("tls", MAIL),
    ("from", MAIL),
    ("to", MAIL),
    ("send_close", TEXTS),
];
const HTTP: &[&str] = &["webhook", "slack", "alertmanager"];
const TEXTS: &[&str] = &["webhook", "slack", "email"];
const MAIL: &[&str] = &["email"];
const ALL: &[&str] = &["webhook", "slack", "alertmanager", "email"];

/// The notifiers of a file; `clusters` are the names that they may name, if those are known.
pub fn notifiers(
    sections: &[Values],
    clusters: Option<&BTreeSet<String>>,
    surroundings: &dyn Surroundings,
    problems: &mut Problems,
) -> (Vec<NotifierSettings>, Vec<Derived>) {
    let mut names = BTreeSet::new();
    let mut settings = Vec::new();
    let mut derived = Vec::new();
    for values in sections {
        let mut v = Validator::new(values, surroundings, problems);
        v.client = "notify";
        let notifier = v.notifier(clusters);
        if let Some(notifier) = &notifier
            && !names.insert(notifier.name.clone())
        {
            v.error("notify.name", "is the name of another notifier, too")
                .push("give every notifier a name of its own".into());
        }
        derived.push(v.derived);
        settings.extend(notifier);
    }
    (settings, derived)
}

impl Validator<'_> {
    fn notifier(&mut self, clusters: Option<&BTreeSet<String>>) -> Option<NotifierSettings> {
        let help = "name the notifier: it stands in logs, metrics and messages";
        let name = self.name_of("notify.name", help);
        let kind = self.required("notify.kind", &format!("choose {}", ALL.join(", ")));
        let selection = self.selection(clusters);
        let page_url = self.page_url();
        let kind = kind?;
        self.check_uses(&kind);
        let patience = self.patience(&kind);
        let target = match kind.as_str() {
            "email" => self.email(),
            kind => self.http(kind, selection.threshold),
        };
        let queue = self.values.integer("notify.queue");
        Some(NotifierSettings {
            name: Arc::from(name?),
            selection,
            patience: patience?,
            send_close: kind == "alertmanager" || self.values.flag("notify.send_close"),
            queue: queue.and_then(|n| usize::try_from(n).ok())?,
            timeout: self.values.duration("notify.timeout")?,
            page_url,
            target: target?,
        })
    }

    fn check_uses(&mut self, kind: &str) {
        for (name, kinds) in USED_BY {
            let key = format!("notify.{name}");
            if kinds.contains(&kind) {
                continue;
            }
            let entry = self.notify_entries(name).into_iter().next();
            let set = entry.map_or_else(|| key.clone(), |(key, _)| key);
            if self.values.is_set(&set) {
                self.error(&set, format!("isn't used by kind = {kind:?}"))
                    .push(format!("it is for {}: leave it out", kinds.join(", ")));
            }
        }
    }

    /// The entries of `[notify.<section>]`.
    pub(super) fn notify_entries(&self, section: &str) -> Vec<(String, Entry)> {
        let path = format!("notify.{section}");
        let entries = self.values.entries.iter();
        let is_entry = |entry: &Entry| {
            matches!(
                entry.address.key.kind,
                Kind::Properties | Kind::SecretProperties
            ) && entry.address.key.path == path
        };
        let entries = entries.filter(|(_, entry)| is_entry(entry));
        entries.map(|(k, e)| (k.clone(), e.clone())).collect()
    }

    fn patience(&mut self, kind: &str) -> Option<Patience> {
        const KEY: &str = "notify.repeat_interval";
        let is_alertmanager = kind == "alertmanager";
        let repeat = if self.values.entries.contains_key(KEY) {
            self.values.duration(KEY)
        } else {
            let default = if is_alertmanager { "1m" } else { "4h" };
            let parsed = super::super::kinds::parse_duration(default)?;
            self.derived.insert(KEY, Parsed::Duration(parsed));
            Some(parsed)
        };
        if is_alertmanager && repeat.is_none() && !self.values.is_broken(KEY) {
            self.error(
                KEY,
                "is off, and Alertmanager takes what isn't repeated as over",
            )
            .push("leave it out: it is a minute".into());
        }
        let close_after = self.values.duration("notify.close_after")?;
        if let Some(repeat) = repeat
            && is_alertmanager
            && repeat > std::time::Duration::from_secs(3_600)
        {
            let what = format!(
                "{} is long: after a restart of Alertmanager it knows nothing for so long",
                format_duration(repeat)
            );
            self.warning(KEY, what)
                .push("how often people are told is Alertmanager's own repeat_interval".into());
        }
        Some(Patience {
            open_after: self.values.duration("notify.for")?,
            close_after,
            repeat,
        })
    }

    fn selection(&mut self, clusters: Option<&BTreeSet<String>>) -> Selection {
        let chosen = self.values.list("notify.clusters");
        for name in &chosen {
            if let Some(known) = clusters.filter(|known| !known.contains(name)) {
                let known: Vec<_> = known.iter().map(String::as_str).collect();
                let what = format!("{:?} isn't the name of a cluster", printable(name));
                self.error("notify.clusters", what)
                    .push(format!("this file has {}", known.join(", ")));
            }
        }
        let include = self.values.text("notify.groups_pattern");
        let include = include.and_then(|text| self.whole_name("notify.groups_pattern", &text));
        let exclude = self.values.list("notify.groups_exclude");
        let exclude = exclude.iter();
        let exclude = exclude.filter_map(|text| self.whole_name("notify.groups_exclude", text));
        let groups = GroupPatterns {
            include,
            exclude: exclude.collect(),
        };
        let word = self.values.text("notify.threshold");
        let threshold = word.and_then(|word| Level::threshold(&word)).flatten();
        let by_group = self.values.list("notify.group_thresholds");
        Selection {
            clusters: chosen,
            groups,
            threshold: threshold.unwrap_or(Level::Warn),
            by_group: by_group
                .iter()
                .filter_map(|text| self.group_threshold(text))
                .collect(),
        }
    }

    /// `pattern=WARN`.
    fn group_threshold(&mut self, text: &str) -> Option<(Regex, Option<Level>)> {
        const KEY: &str = "notify.group_thresholds";
        let parts = text.rsplit_once('=');
        let level = parts.and_then(|(_, word)| Level::threshold(word.trim()));
        let (Some((pattern, _)), Some(level)) = (parts, level) else {
            self.error(
                KEY,
                format!("{:?} isn't a pattern and a threshold", printable(text)),
            )
            .push(
                "write \"batch-.*=ERR\": WARN, ERR or OFF; the first that matches decides".into(),
            );
            return None;
        };
        Some((self.whole_name(KEY, pattern.trim())?, level))
    }

    fn page_url(&mut self) -> Option<String> {
        const KEY: &str = "notify.page_url";
        let text = self.values.text(KEY)?;
        match url::Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => {
                Some(text)
            }
            _ => {
                let what = format!("{:?} isn't a page's address", printable(&text));
                self.error(KEY, what).push(
                    "write where people find this server: \"https://outflow.example.com\"".into(),
                );
                None
            }
        }
    }
}
