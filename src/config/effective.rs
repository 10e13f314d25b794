//! The configuration as it came out: every value, and where it came from. Secrets aren't in it: keys hold
//! only where a secret is.

use std::fmt;

use super::keys::{FileKind, KEYS, REPEATED};
use super::kinds::Kind;
use super::layers::{Values, has_keys_only_if_there};
use super::problem::Place;
use super::validate::Derived;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The section, empty at the top.
    pub section: String,
    /// The key as it stands in a file.
    pub key: String,
    /// The value as it stands in a file; none if it is off.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: String,
    /// The same for a message; none, or the default's, if nobody set it.
    place: Option<Place>,
}

/// A file's values, in the order of the reference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effective {
    /// The values.
    pub lines: Vec<Line>,
}

impl Effective {
    pub(super) fn new(kind: FileKind, values: &Values, derived: &Derived) -> Effective {
        let mut lines = Vec::new();
        for key in KEYS.iter().filter(|key| kind.has(key)) {
            let root = key.section().split('.').next().unwrap_or_default();
            if has_keys_only_if_there(root) && !values.has_section(root) {
                continue;
            }
            if matches!(key.kind, Kind::Properties | Kind::SecretProperties) {
                lines.extend(values.entries_of(key.kind).filter_map(|(_, entry)| {
                    let (name, value) = (entry.address.path.get(2)?, entry.parsed.as_ref()?);
                    let inner = entry
                        .address
                        .path
                        .get(3)
                        .map(|s| format!(".{s}"))
                        .unwrap_or_default();
                    Some(Line {
                        section: key.path.to_owned(),
                        key: format!("{}{inner}", super::kinds::quote(name)),
                        value: Some(value.to_toml()),
                        origin: origin(&entry.place),
                        place: Some(entry.place.clone()),
                    })
                }));
                continue;
            }
            let entry = values.entries.get(key.path);
            let (value, origin) = match (derived.get(key.path), entry) {
                (Some(derived), _) => (
                    Some(derived.to_toml()),
                    "default, from other keys".to_owned(),
                ),
                (None, Some(entry)) => (
                    entry.parsed.as_ref().map(|p| p.to_toml()),
                    origin(&entry.place),
                ),
                (None, None) => (None, "default".to_owned()),
            };
            lines.push(Line {
                section: key.section().to_owned(),
                key: key.name().to_owned(),
                value,
                origin,
                place: entry.map(|entry| entry.place.clone()),
            });
        }
        Effective { lines }
    }
}

fn origin(place: &Place) -> String {
    match place {
        Place::File { file, line, .. } => format!("{}:{line}", file.display()),
        Place::Variable(name) => name.clone(),
        Place::Share(share) => share.origin(),
        other => other.to_string(),
    }
}

impl Effective {
    /// The values of one more cluster or notifier.
    pub(super) fn add(&mut self, mut one: Effective) {
        for line in &mut one.lines {
            if REPEATED.contains(&&*line.section) {
                line.section = format!("[{}]", line.section);
            }
        }
        self.lines.append(&mut one.lines);
    }

    /// Where a value came from.
    pub fn origin(&self, section: &str, key: &str) -> Option<&str> {
        self.line(section, key).map(|line| &*line.origin)
    }

    /// Where somebody set a value.
    pub(super) fn place(&self, section: &str, key: &str) -> Option<&Place> {
        let place = self.line(section, key)?.place.as_ref();
        place.filter(|place| **place != Place::Default)
    }

    fn line(&self, section: &str, key: &str) -> Option<&Line> {
        let mut lines = self.lines.iter();
        lines.find(|line| line.section == section && line.key == key)
    }

    /// Whether anybody set a key of `section`.
    pub fn sets(&self, section: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line.section == section && !line.origin.starts_with("default"))
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |line: &Line| match &line.value {
            Some(value) => format!("{} = {value}", line.key),
            None => format!("# {} is off", line.key),
        };
        let width = self
            .lines
            .iter()
            .map(|l| written(l).len())
            .max()
            .unwrap_or(0)
            .min(56);
        let mut section = "";
        for line in &self.lines {
            let is_next_one = line.section.starts_with('[') && line.key == "name";
            if line.section != section || is_next_one {
                section = &line.section;
                writeln!(f, "\n[{section}]")?;
            }
            writeln!(f, "{:width$}  # {}", written(line), line.origin)?;
        }
        Ok(())
    }
}
