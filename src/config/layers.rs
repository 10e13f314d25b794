//! The layers of a configuration, merged by figment: defaults, file, environment, flags. Every value keeps
//! the place it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::document::{Address, Assigned, Document, unknown};
use super::keys::{FileKind, KEYS, Key, REPEATED};
use super::kinds::{Kind, Parsed};
use super::problem::{Place, Problem, Problems, printable, suggest};

/// The prefix of environment variables that set keys.
pub const PREFIX: &str = "OUTFLOW_";

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it belongs to.
    pub address: Address,
    /// Where it came from.
    pub place: Place,
    /// The value; none if it couldn't be read, which has been said.
    pub parsed: Option<Parsed>,
}

impl Entry {
    /// Of an entry of `secret_properties` or `secret_headers`: its name, `file` or `env`, and where.
    pub fn as_secret(&self) -> Option<(&str, &str, &str)> {
        let (name, source) = (self.address.path.get(2)?, self.address.path.get(3)?);
        match &self.parsed {
            Some(Parsed::Text(at)) => Some((name, source, at)),
            _ => None,
        }
    }
}

/// One file's values after merging.
#[derive(Debug)]
pub struct Values {
    /// The file.
    pub file: PathBuf,
    /// By address as it is printed.
    pub entries: BTreeMap<String, Entry>,
    /// The file's sections.
    pub sections: Vec<(String, Place)>,
}

/// Which keys are in use: those of the file's kind, and of its sink.
pub fn in_use(key: &Key, kind: FileKind, document: &Document) -> bool {
    let root = key.section().split('.').next().unwrap_or_default();
    let is_there = |section: &str| document.sections.iter().any(|(name, _)| name == section);
    kind.has(key) && (!has_keys_only_if_there(root) || is_there(root))
}

/// Whether a section's keys have their defaults only where the file has the section.
pub fn has_keys_only_if_there(section: &str) -> bool {
    matches!(section, "elasticsearch" | "hdfs") || REPEATED.contains(&section)
}

/// Merges a file with the other layers and reads every value.
pub fn merge(
    file: PathBuf,
    document: Document,
    kind: FileKind,
    environment: &[Assigned],
    flags: &[Assigned],
    problems: &mut Problems,
) -> Values {
    let used = |all: &[Assigned]| -> Vec<Assigned> {
        all.iter()
            .filter(|a| in_use(a.address.key, kind, &document))
            .cloned()
            .collect()
    };
    let layers = [
        Layer {
            name: "defaults",
            values: defaults(kind, &document),
        },
        Layer {
            name: "file",
            values: document.assigned.clone(),
        },
        Layer {
            name: "environment",
            values: used(environment),
        },
        Layer {
            name: "flags",
            values: used(flags),
        },
    ];
    let figment = layers.iter().fold(Figment::new(), Figment::merge);
    let addresses: BTreeMap<String, &Address> = layers
        .iter()
        .flat_map(|layer| {
            layer
                .values
                .iter()
                .map(|a| (a.address.to_string(), &a.address))
        })
        .collect();
    let mut entries = BTreeMap::new();
    for (shown, address) in addresses {
        let Some(value) = find(&figment, &address.path) else {
            continue;
        };
        let layer = figment
            .get_metadata(value.tag())
            .and_then(|metadata| layers.iter().find(|layer| layer.name == metadata.name));
        let Some(layer) = layer else { continue };
        let place = layer
            .values
            .iter()
            .rev()
            .find(|a| a.address.path == address.path)
            .map_or(Place::Default, |a| a.place.clone());
        let parsed = match address.key.kind.parse(&value, layer.name != "file") {
            Ok(parsed) => Some(parsed),
            Err(unreadable) => {
                let mut problem = Problem::new(&shown, place.clone(), unreadable.what);
                problem.help.extend(unreadable.help);
                problems.push(problem);
                None
            }
        };
        entries.insert(
            shown,
            Entry {
                address: address.clone(),
                place,
                parsed,
            },
        );
    }
    Values {
        file,
        entries,
        sections: document.sections,
    }
}

fn defaults(kind: FileKind, document: &Document) -> Vec<Assigned> {
    KEYS.iter()
        .filter(|key| in_use(key, kind, document))
        .filter_map(|key| {
            let path = key.path.split('.').map(str::to_owned).collect();
            Some(Assigned {
                address: Address { key, path },
                value: Value::from(key.default?),
                place: Place::Default,
            })
        })
        .collect()
}

struct Layer {
    name: &'static str,
    values: Vec<Assigned>,
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let mut root = Dict::new();
        for assigned in &self.values {
            insert(&mut root, &assigned.address.path, assigned.value.clone());
        }
        Ok(Profile::Default.collect(root))
    }
}

fn insert(dict: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            dict.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let inner = dict
                .entry(name.clone())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Finds a value by path. figment's own look-up would split the names of properties at their dots.
fn find(figment: &Figment, path: &[String]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    let root = figment.find_value(first).ok()?;
    let mut value = &root;
    for segment in rest {
        value = value.as_dict()?.get(segment)?;
    }
    Some(value.clone())
}

/// What the environment sets. Variables that other programs put there (Kubernetes, for a service of our name)
/// and those that hold a secret by the name of a key (`known`) are left alone.
pub fn environment(
    variables: &[(String, String)],
    known: &BTreeSet<String>,
    kind: FileKind,
    problems: &mut Problems,
) -> Vec<Assigned> {
    let mut assigned = Vec::new();
    for (name, value) in variables {
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if known.contains(name) || is_foreign(path) {
            continue;
        }
        let place = Place::Variable(printable(name));
        let segments: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        match resolve_variable(&segments) {
            Some(address) => assigned.push(Assigned {
                address,
                value: Value::from(value.clone()),
                place,
            }),
            None if path.contains("__") => {
                let mut problem = unknown(&segments, place, kind);
                problem
                    .help
                    .push("`__` stands between a section and its key".into());
                problems.push(problem);
            }
            None => {
                let names = KEYS.iter().map(variable_name).collect::<Vec<_>>();
                let problem =
                    Problem::warning("", place, "this variable isn't a key's and is ignored");
                let upper = names.iter().map(String::as_str);
                let exact = names
                    .iter()
                    .find(|n| n.replace("__", "_") == *name)
                    .map(String::as_str);
                problems.push(match exact.or_else(|| suggest_upper(name, upper)) {
                    Some(meant) => problem.help(format!("did you mean {meant}?")),
                    None => problem.help("a key's variable is OUTFLOW_<SECTION>__<KEY>"),
                });
            }
        }
    }
    assigned
}

fn suggest_upper<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let lower: Vec<String> = names.clone().map(str::to_lowercase).collect();
    let meant = suggest(name, lower.iter().map(String::as_str))?;
    let at = lower.iter().position(|n| n == meant)?;
    names.into_iter().nth(at)
}

/// `OUTFLOW_KAFKA__COMMIT_INTERVAL` for `kafka.commit_interval`.
pub fn variable_name(key: &Key) -> String {
    format!("{PREFIX}{}", key.path.replace('.', "__").to_uppercase())
}

/// Kubernetes sets these in every pod beside a service that is called `outflow`.
fn is_foreign(path: &str) -> bool {
    path.starts_with("SERVICE_") || path == "PORT" || path.starts_with("PORT_")
}

/// In a variable's name the dots of a property are underscores.
fn resolve_variable(segments: &[String]) -> Option<Address> {
    let is_entry = matches!(
        segments.get(1).map(String::as_str),
        Some("properties" | "secret_properties")
    );
    if !is_entry {
        return Address::resolve(segments);
    }
    let mut segments = segments.to_vec();
    if let Some(name) = segments.get_mut(2) {
        *name = name.replace('_', ".");
    }
    Address::resolve(&segments)
}

/// What `--set key=value` flags say.
pub fn flags(flags: &[String], kind: FileKind, problems: &mut Problems) -> Vec<Assigned> {
    let mut assigned = Vec::new();
    for flag in flags {
        let Some((key, value)) = flag.split_once('=') else {
            let problem = Problem::new("", Place::Flag(printable(flag)), "there is no `=` in it");
            problems.push(problem.help("write --set section.key=value"));
            continue;
        };
        let segments: Vec<String> = key
            .trim()
            .split('.')
            .map(|s| s.trim_matches('"').to_owned())
            .collect();
        let place = Place::Flag(printable(key.trim()));
        match Address::resolve(&segments) {
            Some(address) => assigned.push(Assigned {
                address,
                value: Value::from(value),
                place,
            }),
            None => problems.push(unknown(&segments, place, kind)),
        }
    }
    assigned
}

impl Values {
    /// Where a section begins, or the file.
    pub fn place_of_section(&self, section: &str) -> Place {
        let found = self.sections.iter().find(|(name, _)| name == section);
        found.map_or_else(
            || Place::WholeFile(self.file.clone()),
            |(_, place)| place.clone(),
        )
    }

    /// Whether the file has a section.
    pub fn has_section(&self, section: &str) -> bool {
        self.sections.iter().any(|(name, _)| name == section)
    }

    /// Where a key's value came from.
    pub fn place(&self, key: &str) -> Place {
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        let entry = self.entries.get(key);
        match entry.map(|e| &e.place) {
            Some(Place::Default) | None => self.place_of_section(section),
            Some(place) => place.clone(),
        }
    }

    /// Whether somebody set the key.
    pub fn is_set(&self, key: &str) -> bool {
        self.entries
            .get(key)
            .is_some_and(|e| e.place != Place::Default)
    }

    /// Whether the key has a value that couldn't be read; what follows from it isn't worth saying then.
    pub fn is_broken(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|e| e.parsed.is_none())
    }

    fn parsed(&self, key: &str) -> Option<Parsed> {
        if let Some(parsed) = self.entries.get(key).and_then(|e| e.parsed.clone()) {
            return Some(parsed);
        }
        // A broken value has been reported; its default lets the checks of the others go on.
        let key = super::keys::find(key)?;
        key.kind.parse(&Value::from(key.default?), true).ok()
    }

    /// A text, path, variable's name or choice.
    pub fn text(&self, key: &str) -> Option<String> {
        match self.parsed(key)? {
            Parsed::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A flag; false if it has neither a value nor a default.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.parsed(key), Some(Parsed::Flag(true)))
    }

    /// A number; none if a word stands for it, or nothing.
    pub fn integer(&self, key: &str) -> Option<i64> {
        match self.parsed(key)? {
            Parsed::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// A size.
    pub fn bytes(&self, key: &str) -> Option<u64> {
        match self.parsed(key)? {
            Parsed::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A time; none if it is off.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        match self.parsed(key)? {
            Parsed::Duration(time) => Some(time),
            _ => None,
        }
    }

    /// A list; empty if there is none.
    pub fn list(&self, key: &str) -> Vec<String> {
        match self.parsed(key) {
            Some(Parsed::List(texts)) => texts,
            _ => Vec::new(),
        }
    }

    /// The entries of a key that holds entries by name.
    pub fn entries_of(&self, kind: Kind) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries
            .iter()
            .filter(move |(_, entry)| entry.address.key.kind == kind)
    }
}
