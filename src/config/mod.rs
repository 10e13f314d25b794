//! Configuration: TOML files layered by figment (defaults, file, `OUTFLOW_…` environment, flags), turned by
//! one pure function into validated [`settings`]. The rest of outflow never sees a raw option.
//!
//! | file | owns |
//! |---|---|
//! | `keys` | every key with its kind, bounds and default, on one page |
//! | `document` | a TOML file with the place of every key |
//! | `layers` | the layers, merged; where each value came from |
//! | `validate` | raw values to [`settings`]; everything that is wrong, at once |
//! | `memory/` | what the sinks of a process may hold together, and whether it fits |
//! | `together` | what sinks of one process must not share |
//! | `problem` | what is wrong, where, and what to do |
//! | `effective` | the configuration as it came out |

mod document;
pub mod effective;
pub mod keys;
pub mod kinds;
mod layers;
mod memory;
pub mod problem;
pub mod settings;
pub mod surroundings;
mod together;
mod validate;

pub(crate) use validate::{parse_age, parse_moment, partition_numbers};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use document::{Assigned, Document, Repeated};
use effective::Effective;
use keys::FileKind;
use layers::Values;
use problem::{Place, Problem, Problems, Severity};
use settings::{AgentSettings, MonitorSettings, Settings};
use surroundings::Surroundings;

/// What came out of a file.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The file.
    pub file: PathBuf,
    /// Its settings.
    pub settings: T,
    /// Every value, and where it came from.
    pub effective: Effective,
}

/// Loaded files, and what should be said about them all the same.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What was loaded.
    pub loaded: T,
    /// Warnings.
    pub warnings: Problems,
}

/// Loads the files of sinks, which run in one process, to look at what they say. `flags` are `section.key=value`.
pub fn load_sinks(
    files: &[PathBuf],
    flags: &[String],
    surroundings: &dyn Surroundings,
) -> Result<Outcome<Vec<Loaded<Settings>>>, Problems> {
    load_together(files, flags, None, surroundings)
}

/// Loads the files of sinks that are to run in this process, or in one of these surroundings. All of them together may
/// hold `memory` bytes, if that is given.
pub fn load_process(
    files: &[PathBuf],
    flags: &[String],
    memory: Option<u64>,
    surroundings: &dyn Surroundings,
) -> Result<Outcome<Vec<Loaded<Settings>>>, Problems> {
    let mut outcome = load_together(files, flags, memory, surroundings)?;
    memory::check_fit(&outcome.loaded, surroundings, &mut outcome.warnings);
    Ok(outcome)
}

fn load_together(
    files: &[PathBuf],
    flags: &[String],
    memory: Option<u64>,
    surroundings: &dyn Surroundings,
) -> Result<Outcome<Vec<Loaded<Settings>>>, Problems> {
    let mut problems = Problems::default();
    let mut read = read_all(files, flags, FileKind::Sink, surroundings, &mut problems);
    if let Some(total) = memory {
        let sinks = read.iter_mut();
        let sinks = sinks.filter_map(|one| Some((one.merged.as_mut()?, &mut one.problems)));
        memory::share(total, &mut sinks.collect::<Vec<_>>());
    }
    let mut loaded = Vec::new();
    for mut values in read {
        // Each file is judged by itself; one broken file mustn't hide what is wrong with the next.
        let mut own = std::mem::take(&mut values.problems);
        if let Some(merged) = &values.merged {
            let notifiers = &values.repeated.notifiers;
            let (settings, derived, of_notifiers) =
                validate::sink(merged, notifiers, surroundings, &mut own);
            if let Some(settings) = settings {
                let mut effective = Effective::new(FileKind::Sink, merged, &derived);
                add_notifiers(&mut effective, notifiers, &of_notifiers);
                loaded.push(Loaded {
                    file: values.file,
                    settings,
                    effective,
                });
            }
        }
        own.sort();
        problems.0.append(&mut own.0);
    }
    together::check(&loaded, &mut problems);
    finish(loaded, problems)
}

/// The file that decides about a section which the sinks of a process share: the first that sets it, or else the first.
pub fn deciding<'a, T>(loaded: &'a [Loaded<T>], section: &str) -> Option<&'a Loaded<T>> {
    let sets = loaded.iter().find(|loaded| loaded.effective.sets(section));
    sets.or_else(|| loaded.first())
}

/// Loads the agent's file.
pub fn load_agent(
    file: &Path,
    flags: &[String],
    surroundings: &dyn Surroundings,
) -> Result<Outcome<Loaded<AgentSettings>>, Problems> {
    load_one(
        file,
        flags,
        FileKind::Agent,
        surroundings,
        |merged, _, problems| {
            let (settings, derived) = validate::agent(merged, surroundings, problems);
            (settings, Effective::new(FileKind::Agent, merged, &derived))
        },
    )
}

/// Loads the monitor's file.
pub fn load_monitor(
    file: &Path,
    flags: &[String],
    surroundings: &dyn Surroundings,
) -> Result<Outcome<Loaded<MonitorSettings>>, Problems> {
    load_one(
        file,
        flags,
        FileKind::Monitor,
        surroundings,
        |merged, repeated, problems| {
            let (settings, derived, of_notifiers) =
                validate::monitor(merged, repeated, surroundings, problems);
            let mut effective = Effective::new(FileKind::Monitor, merged, &derived);
            for cluster in &repeated.clusters {
                effective.add(Effective::new(FileKind::Cluster, cluster, &derived));
            }
            add_notifiers(&mut effective, &repeated.notifiers, &of_notifiers);
            (settings, effective)
        },
    )
}

fn add_notifiers(effective: &mut Effective, notifiers: &[Values], derived: &[validate::Derived]) {
    for (notifier, derived) in notifiers.iter().zip(derived) {
        effective.add(Effective::new(FileKind::Notifier, notifier, derived));
    }
}

/// Loads the one file of a program that isn't a sink; `judge` is given its values, and those of its clusters
/// and notifiers.
fn load_one<T>(
    file: &Path,
    flags: &[String],
    kind: FileKind,
    surroundings: &dyn Surroundings,
    judge: impl Fn(&Values, &Repeated<Values>, &mut Problems) -> (Option<T>, Effective),
) -> Result<Outcome<Loaded<T>>, Problems> {
    let mut problems = Problems::default();
    let files = [file.to_path_buf()];
    let mut loaded = None;
    for mut values in read_all(&files, flags, kind, surroundings, &mut problems) {
        problems.0.append(&mut values.problems.0);
        if let Some(merged) = &values.merged {
            let (settings, effective) = judge(merged, &values.repeated, &mut problems);
            loaded = settings.map(|settings| Loaded {
                file: values.file.clone(),
                settings,
                effective,
            });
        }
    }
    problems.sort();
    match loaded {
        Some(loaded) => finish(loaded, problems),
        None => Err(problems),
    }
}

/// Whose file this is, as far as its sections tell.
pub fn kind_of(file: &Path, surroundings: &dyn Surroundings) -> FileKind {
    let text = surroundings.read_file(file).unwrap_or_default();
    let mut ignored = Problems::default();
    let document = document::read(file, &text, FileKind::Agent, &mut ignored);
    match document.section("agent") {
        Some(_) => FileKind::Agent,
        None if !document.repeated.clusters.is_empty() => FileKind::Monitor,
        None => FileKind::Sink,
    }
}

fn finish<T>(loaded: T, problems: Problems) -> Result<Outcome<T>, Problems> {
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(Outcome {
            loaded,
            warnings: problems,
        })
    }
}

/// One file on its way: what was found wrong with it so far, and its values unless it isn't TOML at all.
struct Read {
    file: PathBuf,
    problems: Problems,
    merged: Option<Values>,
    repeated: Repeated<Values>,
}

fn read_all(
    files: &[PathBuf],
    flags: &[String],
    kind: FileKind,
    surroundings: &dyn Surroundings,
    problems: &mut Problems,
) -> Vec<Read> {
    let flags = layers::flags(flags, kind, problems);
    let parsed: Vec<(PathBuf, Problems, Option<Document>)> = files
        .iter()
        .map(|file| read_one(file, kind, surroundings))
        .collect();
    let named = parsed.iter().filter_map(|(.., document)| document.as_ref());
    let assigned = named.flat_map(|document| {
        let inner = document.repeated.iter().map(|(_, inner)| inner);
        inner.chain([document]).flat_map(|d| &d.assigned)
    });
    let secrets = secret_variables(assigned.chain(&flags));
    let environment = layers::environment(&surroundings.variables(), &secrets, kind, problems);
    check_flags(&flags, kind, &parsed, problems);
    let merge = |(file, mut problems, document): (PathBuf, Problems, Option<Document>)| {
        let mut merge = |document, kind| {
            let file = file.clone();
            layers::merge(file, document, kind, &environment, &flags, &mut problems)
        };
        let mut repeated = Repeated::default();
        let merged = document.map(|mut document| {
            let read = std::mem::take(&mut document.repeated);
            repeated = read.map(|kind, one| merge(one, kind));
            merge(document, kind)
        });
        Read {
            file,
            problems,
            merged,
            repeated,
        }
    };
    parsed.into_iter().map(merge).collect()
}

fn read_one(
    file: &Path,
    kind: FileKind,
    surroundings: &dyn Surroundings,
) -> (PathBuf, Problems, Option<Document>) {
    let mut problems = Problems::default();
    let text = match surroundings.read_file(file) {
        Ok(text) => text,
        Err(error) => {
            let place = Place::WholeFile(file.to_path_buf());
            problems.push(
                Problem::new("", place, format!("the file can't be read: {error}"))
                    .help("config/ has an example for each sink"),
            );
            return (file.to_path_buf(), problems, None);
        }
    };
    let document = document::read(file, &text, kind, &mut problems);
    let not_toml = problems
        .0
        .iter()
        .any(|p| p.key.is_empty() && p.severity == Severity::Error);
    if not_toml {
        return (file.to_path_buf(), problems, None);
    }
    check_kind(&document, kind, &mut problems);
    (file.to_path_buf(), problems, Some(document))
}

/// Sections that belong into the other kind of file.
fn check_kind(document: &Document, kind: FileKind, problems: &mut Problems) {
    for name in kind.foreign() {
        let (what, help) = match *name {
            "agent" => (
                "belongs into the agent's file",
                "start it with `outflow agent --config`",
            ),
            keys::CLUSTER => (
                "belongs into the monitor's file",
                "start it with `outflow monitor --config`",
            ),
            keys::NOTIFY => (
                "belongs into a sink's or the monitor's file",
                "leave it out: the agent watches no groups",
            ),
            _ => (
                "belongs into a sink's file",
                "start it with `outflow run --config`",
            ),
        };
        if let Some(place) = document.section(name) {
            problems.push(Problem::new(*name, place.clone(), what).help(help));
        }
    }
}

/// Variables that keys name as the place of a secret: their own names aren't keys.
fn secret_variables<'a>(assigned: impl Iterator<Item = &'a Assigned>) -> BTreeSet<String> {
    assigned
        .filter(|a| {
            let last = a.address.path.last().map_or("", String::as_str);
            a.address.key.kind == kinds::Kind::Variable
                || (a.address.key.kind == kinds::Kind::SecretProperties && last == "env")
        })
        .filter_map(|a| a.value.as_str().map(str::to_owned))
        .collect()
}

/// A flag that no file has a use for.
fn check_flags(
    flags: &[Assigned],
    kind: FileKind,
    parsed: &[(PathBuf, Problems, Option<Document>)],
    problems: &mut Problems,
) {
    if parsed.iter().any(|(.., document)| document.is_none()) {
        return;
    }
    for flag in flags {
        let mut documents = parsed.iter().filter_map(|(.., document)| document.as_ref());
        let is_in_use = |document: &Document| {
            let key = flag.address.key;
            let mut repeated = document.repeated.iter();
            layers::in_use(key, kind, document)
                || repeated.any(|(kind, one)| layers::in_use(key, kind, one))
        };
        if !documents.any(is_in_use) {
            let problem = Problem::new(
                flag.address.to_string(),
                flag.place.clone(),
                "no file has a use for this key",
            );
            problems.push(problem.help(format!(
                "it is for files with [{}]",
                flag.address.key.section()
            )));
        }
    }
}
