//! One TOML file with the place of every key: figment keeps no lines, so this is an own pass over the file
//! that finds what is assigned where, and every key that isn't one.

use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{CLUSTER, FileKind, KEYS, Key, NOTIFY, REPEATED, SECTIONS, find};
use super::kinds::Kind;
use super::problem::{Place, Problem, Problems, Snippet, printable, suggest};

type Span = std::ops::Range<usize>;

/// Two files that were put into one are full of it.
const TWICE: &str =
    "it stands further up in this file, too: keep one of them; a second sink has a file of its own";

/// A key, or an entry of one that holds entries by name.
#[derive(Debug, Clone)]
pub struct Address {
    /// The key.
    pub key: &'static Key,
    /// Its path; the name of an entry is one segment, dots and all.
    pub path: Vec<String>,
}

impl Address {
    /// What `segments` name, if anything. The names of librdkafka's properties have dots in them, and may be
    /// written with quotes or without.
    pub fn resolve(segments: &[String]) -> Option<Address> {
        let dotted = segments.join(".");
        if let Some(key) = find(&dotted) {
            return Some(Address {
                key,
                path: segments.to_vec(),
            });
        }
        let (section, entry) = (segments.get(..2)?, segments.get(2..)?);
        let key = find(&section.join("."))?;
        let mut path = section.to_vec();
        match key.kind {
            Kind::Properties if !entry.is_empty() => path.push(entry.join(".")),
            Kind::SecretProperties => {
                let (source, name) = entry.split_last().filter(|(_, name)| !name.is_empty())?;
                path.extend([name.join("."), source.clone()]);
            }
            _ => return None,
        }
        Some(Address { key, path })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, segment) in self.path.iter().enumerate() {
            let dot = if i == 0 { "" } else { "." };
            let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if segment.chars().all(bare) && !segment.is_empty() {
                write!(f, "{dot}{segment}")?;
            } else {
                write!(f, "{dot}\"{}\"", printable(segment))?;
            }
        }
        Ok(())
    }
}

/// A value that a layer gives to a key.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// To which.
    pub address: Address,
    /// Which.
    pub value: Value,
    /// Where.
    pub place: Place,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Document {
    /// Its values.
    pub assigned: Vec<Assigned>,
    /// Its sections.
    pub sections: Vec<(String, Place)>,
    /// Its sections that may come several times, each by itself.
    pub repeated: Repeated<Document>,
}

/// What stands in a file several times, in its order.
#[derive(Debug)]
pub struct Repeated<T> {
    /// Clusters.
    pub clusters: Vec<T>,
    /// Notifiers.
    pub notifiers: Vec<T>,
}

impl<T> Default for Repeated<T> {
    fn default() -> Self {
        Repeated {
            clusters: Vec::new(),
            notifiers: Vec::new(),
        }
    }
}

impl<T> Repeated<T> {
    /// All.
    pub fn iter(&self) -> impl Iterator<Item = (FileKind, &T)> {
        let clusters = self.clusters.iter().map(|c| (FileKind::Cluster, c));
        clusters.chain(self.notifiers.iter().map(|n| (FileKind::Notifier, n)))
    }

    /// The same of something else.
    pub fn map<U>(self, mut change: impl FnMut(FileKind, T) -> U) -> Repeated<U> {
        let (clusters, notifiers) = (self.clusters.into_iter(), self.notifiers.into_iter());
        Repeated {
            clusters: clusters.map(|c| change(FileKind::Cluster, c)).collect(),
            notifiers: notifiers.map(|n| change(FileKind::Notifier, n)).collect(),
        }
    }
}

impl Document {
    /// Where a section begins; the first of several.
    pub fn section(&self, name: &str) -> Option<&Place> {
        let repeated = self.repeated.iter().flat_map(|(_, d)| &d.sections);
        self.sections
            .iter()
            .chain(repeated)
            .find(|(n, _)| n == name)
            .map(|(_, place)| place)
    }
}

/// Reads a file's text.
pub fn read(file: &Path, text: &str, kind: FileKind, problems: &mut Problems) -> Document {
    let mut reader = Reader {
        file: file.to_path_buf(),
        text,
        kind,
        problems,
        out: Document::default(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        reader.walk(table.get_ref(), &mut Vec::new());
    }
    for error in errors.iter().take(10) {
        let place = reader.place_of_syntax(error.span().unwrap_or(0..0));
        let problem = Problem::new("", place, format!("not TOML: {}", error.message()));
        reader.problems.push(match error.message() {
            "duplicate key" => problem.help(TWICE),
            _ => problem,
        });
    }
    reader.out
}

/// Whether a key has this name, with its section or without.
fn is_name(name: &str) -> bool {
    let mut keys = KEYS.iter();
    keys.any(|key| key.path == name || key.name() == name)
}

/// Whether a line begins a section, and says nothing else.
fn is_header(line: &str) -> bool {
    let line = line.trim_end();
    let inner = line.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
    inner.is_some_and(|name| SECTIONS.contains(&name))
}

struct Reader<'a> {
    file: PathBuf,
    text: &'a str,
    kind: FileKind,
    problems: &'a mut Problems,
    out: Document,
}

impl Reader<'_> {
    fn walk(&mut self, table: &DeTable<'_>, path: &mut Vec<String>) {
        for (name, value) in table.iter() {
            path.push(name.get_ref().to_string());
            let dotted = path.join(".");
            match (find(&dotted), value.get_ref()) {
                (Some(key), DeValue::Table(entries)) if holds_entries(key) => {
                    if self.in_scope(key, name, value) {
                        self.entries(entries, path);
                    }
                }
                (Some(key), _) => {
                    if self.in_scope(key, name, value) {
                        self.assign(path, name, value);
                    }
                }
                (None, DeValue::Array(items)) if is_repeated(&dotted, items) => {
                    for item in items.iter() {
                        if let DeValue::Table(inner) = item.get_ref() {
                            let key = self.header(&dotted, &item.span());
                            let key = key.unwrap_or(name.span());
                            self.one_of_several(&key, &item.span(), inner, path);
                        }
                    }
                }
                (None, DeValue::Table(inner)) if REPEATED.contains(&&*dotted) => {
                    self.one_of_several(&name.span(), &value.span(), inner, path);
                }
                (None, DeValue::Table(inner)) if SECTIONS.contains(&dotted.as_str()) => {
                    let place = self.place(&name.span(), &value.span(), Show::KeyAlone);
                    self.out.sections.push((dotted, place));
                    self.walk(inner, path);
                }
                (None, _) if SECTIONS.contains(&dotted.as_str()) => {
                    let place = self.place(&name.span(), &value.span(), Show::KeyAlone);
                    let problem = Problem::new(&dotted, place, "is a section, not a key").help(
                        format!("begin a section with a line of its own: [{dotted}]"),
                    );
                    self.problems.push(problem);
                }
                (None, _) => {
                    let place = self.place(&name.span(), &value.span(), Show::KeyAlone);
                    self.problems.push(unknown(path, place, self.kind));
                }
            }
            path.pop();
        }
    }

    /// The name in a header `[[cluster]]`: the key itself has only the first one's place.
    fn header(&self, name: &str, item: &Span) -> Option<Span> {
        let rest = self.text.get(item.start..)?.strip_prefix("[[")?;
        let start = item.start + 2 + (rest.len() - rest.trim_start().len());
        let found = self.text.get(start..start + name.len());
        (found == Some(name)).then(|| start..start + name.len())
    }

    /// One cluster or notifier, which is a document of its own.
    fn one_of_several(
        &mut self,
        key: &Span,
        value: &Span,
        table: &DeTable<'_>,
        path: &mut Vec<String>,
    ) {
        let name = path.join(".");
        let outer = std::mem::take(&mut self.out);
        let place = self.place(key, value, Show::KeyAlone);
        self.out.sections.push((name.clone(), place));
        self.walk(table, path);
        let one = std::mem::replace(&mut self.out, outer);
        let repeated = &mut self.out.repeated;
        match &*name {
            NOTIFY => repeated.notifiers.push(one),
            _ => repeated.clusters.push(one),
        }
    }

    /// Entries by name, whose dots may have made tables of them.
    fn entries(&mut self, table: &DeTable<'_>, path: &mut Vec<String>) {
        for (name, value) in table.iter() {
            path.push(name.get_ref().to_string());
            match value.get_ref() {
                DeValue::Table(inner) => self.entries(inner, path),
                _ => self.assign(path, name, value),
            }
            path.pop();
        }
    }

    fn assign(&mut self, path: &[String], name: &Spanned<Name<'_>>, value: &Spanned<DeValue<'_>>) {
        let Some(address) = Address::resolve(path) else {
            let place = self.place(&name.span(), &value.span(), Show::KeyAlone);
            let problem = Problem::new(
                path.join("."),
                place,
                "a secret doesn't stand in the configuration",
            )
            .help(Kind::SecretProperties.help());
            return self.problems.push(problem);
        };
        let show = if address.key.may_be_shown() {
            Show::Value
        } else {
            Show::KeyAlone
        };
        let place = self.place(&name.span(), &value.span(), show);
        match to_value(value.get_ref()) {
            Ok(value) => self.out.assigned.push(Assigned {
                address,
                value,
                place,
            }),
            Err(what) => self
                .problems
                .push(Problem::new(address.to_string(), place, what).help(address.key.kind.help())),
        }
    }

    fn in_scope(
        &mut self,
        key: &Key,
        name: &Spanned<Name<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) -> bool {
        if self.kind.has(key) {
            return true;
        }
        // A whole section of another kind of file is said once, by whoever reads the sections.
        let root = key.section().split('.').next().unwrap_or_default();
        if !self.kind.foreign().contains(&root) {
            let place = self.place(&name.span(), &value.span(), Show::KeyAlone);
            let what = format!("{} has no such key", self.kind.owner());
            self.problems
                .push(Problem::new(key.path, place, what).help("leave it out"));
        }
        false
    }

    fn place(&self, key: &Span, value: &Span, show: Show) -> Place {
        let underlined = if show == Show::Value { value } else { key };
        let (line, column, _) = self.locate(underlined.start);
        let snippet = self.snippet(key, value, show);
        Place::File {
            file: self.file.clone(),
            line,
            column,
            snippet,
        }
    }

    /// The key and, where it may be shown, the value; nothing else of the line.
    fn snippet(&self, key: &Span, value: &Span, show: Show) -> Option<Snippet> {
        let name = self.text.get(key.clone())?;
        let length = |text: &str| text.chars().count();
        if self.text.get(value.clone())?.starts_with('[') && value.start < key.start {
            // The key of a `[section]` header.
            let header = printable(name);
            return Some(Snippet {
                text: format!("[{header}]"),
                start: 1,
                len: length(&header),
            });
        }
        let name = printable(name);
        if show == Show::KeyAlone {
            return Some(Snippet {
                text: format!("{name} = …"),
                start: 0,
                len: length(&name),
            });
        }
        let value = self.text.get(value.clone())?;
        let shown = printable(value.lines().next().unwrap_or_default());
        Some(Snippet {
            text: format!("{name} = {shown}"),
            start: length(&name) + 3,
            len: length(&shown),
        })
    }

    /// A line that isn't TOML is shown as far as its first `=`, if a key's name stands before that, and whole if it is
    /// a section's header: anything else may be a piece of a secret, whose base64 ends with `=`, too.
    fn place_of_syntax(&self, span: Span) -> Place {
        let (line, column, text) = self.locate(span.start);
        let shown = match text.split_once('=') {
            Some((name, _)) if is_name(name.trim()) => format!("{}= …", printable(name)),
            None if is_header(text) => text.trim_end().to_owned(),
            _ => String::new(),
        };
        let snippet = (!shown.is_empty()).then(|| Snippet {
            start: (column - 1).min(shown.chars().count().saturating_sub(1)),
            text: shown,
            len: 1,
        });
        Place::File {
            file: self.file.clone(),
            line,
            column,
            snippet,
        }
    }

    fn locate(&self, offset: usize) -> (usize, usize, &str) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        let text = self
            .text
            .get(start..)
            .and_then(|t| t.lines().next())
            .unwrap_or_default();
        (line, column, text)
    }
}

type Name<'a> = toml::de::DeString<'a>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    KeyAlone,
    Value,
}

/// Whether this is `[[cluster]]` or `[[notify]]`, once or several times.
fn is_repeated(name: &str, items: &[Spanned<DeValue<'_>>]) -> bool {
    let is_table = |item: &Spanned<DeValue<'_>>| matches!(item.get_ref(), DeValue::Table(_));
    REPEATED.contains(&name) && !items.is_empty() && items.iter().all(is_table)
}

fn holds_entries(key: &Key) -> bool {
    matches!(key.kind, Kind::Properties | Kind::SecretProperties)
}

fn to_value(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::from(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::from)
            .map_err(|_| "this number is too large".to_owned())?,
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map(Value::from)
            .map_err(|_| "isn't a number".to_owned())?,
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(_) => return Err("a date isn't expected here".into()),
        DeValue::Array(values) => Value::from(
            values
                .iter()
                .map(|v| to_value(v.get_ref()))
                .collect::<Result<Vec<_>, _>>()?,
        ),
        DeValue::Table(table) => {
            let entry = |(k, v): (&Spanned<Name<'_>>, &Spanned<DeValue<'_>>)| {
                Ok((k.get_ref().to_string(), to_value(v.get_ref())?))
            };
            Value::from(table.iter().map(entry).collect::<Result<Dict, String>>()?)
        }
    })
}

/// Names that look like a secret written down.
const SECRETS: [&str; 9] = [
    "password",
    "api_key",
    "apikey",
    "token",
    "secret",
    "passphrase",
    "credentials",
    "sasl_password",
    "pass",
];

/// Whether librdkafka's properties stand there.
fn is_clients(section: &str) -> bool {
    section.starts_with("kafka") || section.starts_with(CLUSTER)
}

/// The problem with a key that isn't one; suggests what was meant.
pub fn unknown(path: &[String], place: Place, kind: FileKind) -> Problem {
    let shown: Vec<_> = path.iter().map(|segment| printable(segment)).collect();
    let (section, name) = match path.split_last() {
        Some((name, section)) => (section.join("."), name.as_str()),
        None => (String::new(), ""),
    };
    let client = printable(section.split('.').next().unwrap_or_default());
    let siblings: Vec<&'static Key> = KEYS
        .iter()
        .filter(|k| kind.has(k) && k.section() == section)
        .collect();
    if SECRETS.contains(&name.to_lowercase().as_str()) {
        let stems = [name, "password", "token"];
        let place_of = |stem: &&&str| siblings.iter().any(|k| k.name() == format!("{stem}_file"));
        let help = match stems.iter().find(place_of) {
            Some(stem) => format!(
                "put it in a file and name it by `{stem}_file`, or name an environment variable by `{stem}_env`"
            ),
            None if is_clients(&section) => {
                format!(
                    "in [{client}.secret_properties]: {}",
                    Kind::SecretProperties.help()
                )
            }
            None => "config/reference.toml has the keys that name where a secret is".into(),
        };
        let what = "a secret doesn't stand in the configuration";
        return Problem::new(shown.join("."), place, what).help(help);
    }
    let problem = Problem::new(shown.join("."), place, "there is no such key");
    let subsections = SECTIONS.iter().filter_map(|s| match s.rsplit_once('.') {
        Some((parent, child)) => (parent == section).then_some(child),
        None => section.is_empty().then_some(*s),
    });
    if let Some(meant) = suggest(name, siblings.iter().map(|k| k.name()).chain(subsections)) {
        return problem.help(format!("did you mean `{meant}`?"));
    }
    let elsewhere = KEYS.iter().find(|k| kind.has(k) && k.name() == name);
    match elsewhere {
        Some(key) if key.section().is_empty() => problem.help(format!(
            "`{name}` stands at the top of the file, before the first section"
        )),
        Some(key) => problem.help(format!("`{name}` belongs into [{}]", key.section())),
        None if is_clients(&section) => problem.help(format!(
            "librdkafka's own properties stand in [{client}.properties], under their own names"
        )),
        None => problem.help("config/reference.toml has every key"),
    }
}
