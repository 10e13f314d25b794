//! What is wrong with a configuration: where, what, and what to do; printed the way a compiler prints.
//!
//! A problem never holds a secret: a line of the file is shown only as far as its key is known to hold
//! something that may be shown.

use std::fmt;
use std::path::PathBuf;

use super::memory::Share;

/// Where a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// Which.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The line as far as it may be shown.
        snippet: Option<Snippet>,
    },
    /// A file as a whole.
    WholeFile(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A `--set` flag, by its key.
    Flag(String),
    /// The `--memory` flag, which the sinks of a process share.
    Share(Share),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File {
                file, line, column, ..
            } => {
                write!(f, "{}:{line}:{column}", file.display())
            }
            Place::WholeFile(file) => write!(f, "{}", file.display()),
            Place::Variable(name) => write!(f, "environment variable {name}"),
            Place::Flag(key) => write!(f, "--set {key}"),
            Place::Share(share) => write!(f, "{share}"),
            Place::Default => f.write_str("default"),
        }
    }
}

/// A line to show, and which part of it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The text.
    pub text: String,
    /// First character that is underlined.
    pub start: usize,
    /// How many are.
    pub len: usize,
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing starts.
    Error,
    /// Said, and no more.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The key's path, such as `kafka.commit_interval`; empty if it is about the file as a whole.
    pub key: String,
    /// Where it stands.
    pub place: Place,
    /// What is wrong, in one line.
    pub what: String,
    /// What to do.
    pub help: Vec<String>,
}

impl Problem {
    /// An error about `key`.
    pub fn new(key: impl Into<String>, place: Place, what: impl Into<String>) -> Self {
        Problem {
            severity: Severity::Error,
            key: key.into(),
            place,
            what: what.into(),
            help: Vec::new(),
        }
    }

    /// A warning about `key`.
    pub fn warning(key: impl Into<String>, place: Place, what: impl Into<String>) -> Self {
        Problem {
            severity: Severity::Warning,
            ..Problem::new(key, place, what)
        }
    }

    /// The same with one more piece of advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        if self.key.is_empty() {
            writeln!(f, "{severity}: {}", self.what)?;
        } else {
            writeln!(f, "{severity}: `{}`: {}", self.key, self.what)?;
        }
        let (number, snippet) = match &self.place {
            Place::File { line, snippet, .. } => (line.to_string(), snippet.as_ref()),
            _ => (String::new(), None),
        };
        let gutter = " ".repeat(number.len().max(1));
        if self.place != Place::Default {
            writeln!(f, "{gutter}--> {}", self.place)?;
        }
        if let Some(Snippet { text, start, len }) = snippet {
            writeln!(f, "{gutter} |\n{number} | {text}")?;
            writeln!(
                f,
                "{gutter} | {}{}",
                " ".repeat(*start),
                "^".repeat((*len).max(1))
            )?;
        }
        for help in &self.help {
            writeln!(f, "{gutter} = help: {help}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong, at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether anything keeps outflow from starting.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|p| p.severity == Severity::Error)
    }

    /// By place, so that they read like the file does; what stands in no file comes last.
    pub fn sort(&mut self) {
        self.0.sort_by_key(|p| match &p.place {
            Place::WholeFile(_) => (0, 0, 0),
            Place::File { line, column, .. } => (1, *line, *column),
            _ => (2, 0, 0),
        });
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let count = |severity| self.0.iter().filter(|p| p.severity == severity).count();
        match count(Severity::Error) {
            0 => Ok(()),
            1 => writeln!(
                f,
                "error: 1 problem in the configuration; nothing was started"
            ),
            n => writeln!(
                f,
                "error: {n} problems in the configuration; nothing was started"
            ),
        }
    }
}

impl std::error::Error for Problems {}

/// Text from outside, fit to print: control characters escaped, and cut.
pub fn printable(text: &str) -> String {
    const MAX: usize = 160;
    let escaped: String = text
        .chars()
        .take(MAX)
        .flat_map(|c| {
            let hidden = c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            if hidden { c.escape_default().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect();
    if text.chars().count() > MAX {
        escaped + "…"
    } else {
        escaped
    }
}

/// The candidate that was probably meant.
pub fn suggest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase().replace(['-', ' '], "_");
    let score = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let is_part = wrong.len() >= 4 && candidate.contains(&wrong);
        let near = strsim::normalized_damerau_levenshtein(&wrong, &candidate);
        near.max(if is_part { 0.7 } else { 0.0 })
    };
    candidates
        .into_iter()
        .map(|candidate| (score(candidate), candidate))
        .filter(|(score, _)| *score >= 0.65)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
