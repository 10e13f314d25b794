//! An entry of the commit log, and how it is written down.
//!
//! An entry is one JSON object, in a file of its own (`<seq>.json`, then `<seq>.done`) or as a line of a history
//! file. Fields that aren't known are ignored, so that a newer outflow may add some; a `version` that isn't
//! known isn't read at all.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names;
use crate::error::Error;
use crate::offsets::Range;

/// The version of the format that is written.
pub const VERSION: u32 = 1;

/// The version of entries that move the log. Who doesn't know them must not read on from one: `first` isn't where
/// the entry before ended, and files may be taken out of the tree.
pub const MOVED_VERSION: u32 = 2;

/// Where a log's records come from, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: String,
    /// The topic's id: a topic that was deleted and created again has another.
    pub topic_id: String,
    /// The consumer group.
    pub group: String,
}

impl Identity {
    /// A short name for it, which is part of the folder's name.
    pub fn digest(&self) -> String {
        let Identity {
            cluster_id,
            topic_id,
            group,
        } = self;
        names::digest(format!("{cluster_id}\n{topic_id}\n{group}").as_bytes())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity {
            cluster_id,
            topic_id,
            group,
        } = self;
        write!(
            f,
            "cluster {cluster_id}, topic id {topic_id}, group {group}"
        )
    }
}

/// One file of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileEntry {
    /// The temp file's name in the log's folder.
    pub temp: String,
    /// The committed file's path, relative to the base.
    pub path: String,
    /// How many records it holds.
    pub records: u64,
    /// Its length.
    pub bytes: u64,
    /// The first offset in it.
    pub first: i64,
    /// The last offset in it (inclusive).
    pub last: i64,
    /// Of replayed dead letters: the offsets that the records have in their partition, in runs, both inclusive.
    /// `first` and `last` then only number what was replayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<(i64, i64)>,
}

/// One commit, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The format's version.
    pub version: u32,
    /// The entry's number; entry 0 holds the first position and no files.
    pub seq: u64,
    /// Where the records came from.
    #[serde(flatten)]
    pub identity: Identity,
    /// The leader epoch of the last record, -1 if unknown.
    pub leader_epoch: i32,
    /// The first offset that it covers.
    pub first: i64,
    /// The first offset that it doesn't cover any more.
    pub end: i64,
    /// Who committed it: the owner and a number.
    pub attempt: String,
    /// The files; none if every record was refused.
    pub files: Vec<FileEntry>,
    /// Set if a person moved the log: then it covers nothing, and `first` is where reading goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
}

/// What a person did to a log (`outflow group reset`, `outflow adopt`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Moved {
    /// Where the entry before ended.
    pub from: i64,
    /// With which command.
    pub by: String,
    /// Whose the log was, if it was another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Identity>,
    /// Committed files, by their paths relative to the base, whose records are written again: they are taken out
    /// of the tree, into the log's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<String>,
}

impl Entry {
    /// What it covers.
    pub fn range(&self) -> Range {
        Range::new(self.first, self.end)
    }

    /// As it is written.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and integers only: serde_json can't fail on these.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the entry `seq` from what was found at `path`.
    pub fn read(path: &str, seq: u64, content: &[u8]) -> Result<Entry, Error> {
        let corrupt = |what: &str| Error::corrupt(format!("the log entry {path} {what}"));
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } =
            serde_json::from_slice(content).map_err(|e| corrupt(&format!("can't be read: {e}")))?;
        if !(VERSION..=MOVED_VERSION).contains(&version) {
            return Err(Error::misconfigured(format!(
                "the log entry {path} has format version {version}, and this outflow knows {VERSION} to \
                 {MOVED_VERSION}: run the version that wrote it, or a newer one"
            )));
        }
        let entry: Entry =
            serde_json::from_slice(content).map_err(|e| corrupt(&format!("can't be read: {e}")))?;
        if entry.seq != seq {
            return Err(corrupt(&format!("says that it is number {}", entry.seq)));
        }
        match entry.problem() {
            None => Ok(entry),
            Some(problem) => Err(corrupt(&problem)),
        }
    }

    /// Reads an entry from a line of the history file at `path`.
    pub fn read_line(path: &str, line: &[u8]) -> Result<Entry, Error> {
        #[derive(Deserialize)]
        struct Seq {
            seq: u64,
        }
        let Seq { seq } = serde_json::from_slice(line)
            .map_err(|e| Error::corrupt(format!("a line of {path} can't be read: {e}")))?;
        Entry::read(path, seq, line)
    }

    /// What can't be about it, if anything.
    fn problem(&self) -> Option<String> {
        if self.first < 0 || self.end < self.first {
            return Some(format!("covers {}, which can't be", self.range()));
        }
        if self.first == self.end && !self.files.is_empty() {
            return Some("covers nothing and names files".to_owned());
        }
        if let Some(problem) = self.moved_problem() {
            return Some(problem.to_owned());
        }
        file_problem(self.range(), &self.files)
            .map(|(path, problem)| format!("names {path}: {problem}"))
    }

    fn moved_problem(&self) -> Option<&'static str> {
        let is_versioned = self.version == MOVED_VERSION;
        let Some(moved) = &self.moved else {
            return is_versioned.then_some("should say where it was moved from, and doesn't");
        };
        if !is_versioned {
            Some("moves the log, and has another format version")
        } else if self.first != self.end || moved.from < 0 {
            Some("moves the log, and covers records")
        } else if !moved.aside.iter().all(|path| names::is_final(path)) {
            Some("takes a file aside whose path isn't a plain one below the base")
        } else {
            None
        }
    }
}

/// How many offsets a file's origins are.
fn num_origins(file: &FileEntry) -> Option<u64> {
    file.origins.iter().try_fold(0u64, |sum, (first, last)| {
        let run = last.checked_sub(*first)?.checked_add(1)?;
        sum.checked_add(u64::try_from(run).ok().filter(|run| *run > 0)?)
    })
}

/// The first file that can't be in a commit of `range`, and why.
pub(super) fn file_problem(range: Range, files: &[FileEntry]) -> Option<(String, &'static str)> {
    for (i, file) in files.iter().enumerate() {
        let problem =
            if file.first < range.first || file.last >= range.end || file.last < file.first {
                "its offsets aren't within the range"
            } else if !names::is_temp(&file.temp) {
                "its temp file's name isn't one of ours"
            } else if !names::is_final(&file.path) {
                "its path isn't a plain one below the base"
            } else if !file.origins.is_empty() && num_origins(file) != Some(file.records) {
                "it doesn't say of each replayed record where it comes from"
            } else if files[..i]
                .iter()
                .any(|f| f.temp == file.temp || f.path == file.path)
            {
                "it is named twice"
            } else {
                continue;
            };
        return Some((file.path.clone(), problem));
    }
    None
}
