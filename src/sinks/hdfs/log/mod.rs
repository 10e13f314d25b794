//! The commit log of one partition: which offsets stand in which committed files. Pure.
//!
//! A [`CommitLog`] serves one *opening* of one (base, topic, partition). It decides; a driver performs its
//! [`Call`]s on the real namespace and brings back each [`Outcome`]. There is no async, clock, lock, log line
//! or client type in here, and `tests/commit_log_model/` explores this very code exhaustively.
//!
//! # How it is driven
//!
//! - Make one with [`CommitLog::new`], [`step`](CommitLog::step) it with [`Event::Open`], and do what each
//!   returned [`Action`] says, in order. At most one call is under way at any time.
//! - Every [`Action::Call`] is answered by exactly one [`Event::Answer`] with its id. After a time-out of
//!   the driver's own that is [`Outcome::Unknown`]; what the server answers later is dropped by its id.
//! - After [`Action::Backoff`] the driver waits (backoff, circuit) and then sends [`Event::Retry`].
//! - After [`Action::Opened`] temp files may be created in [`CommitLog::folder`], under names from
//!   [`names::temp`], **never with their parents**; if the folder is missing then, the partition is fenced.
//! - [`Event::Commit`] hands closed temp files over. From then on they belong to the log: the driver must not
//!   delete or rename them, whatever happens. Several commits may be handed over without waiting; they are
//!   committed one by one, in order.
//! - [`Action::Committed`] says that the range is final. [`Action::Rewind`], [`Action::Stopped`] and
//!   [`Action::Fenced`] end this opening, as does [`Event::Close`]: every later event is ignored. The driver
//!   then deletes, if it can, the temp files that it has *not* handed over.
//! - An owner id is unique per process start **and** opening; it is part of the folder's name.
//!
//! # What is where
//!
//! | path | what |
//! |---|---|
//! | `<base>/_outflow/<topic>/<partition>/<epoch>-<identity>-<owner>/` | the log's folder; opening renames it, which fences |
//! | `…/<seq>.json` | an entry that is committed, its files perhaps not yet published |
//! | `…/<seq>.done` | an entry whose files are all published |
//! | `…/replaced/<seq>+<name>` | files that were taken out of the tree when a person moved the log back |
//! | `…/history/<from>-<to>.jsonl` | done entries that were rolled up, one a line; ranges of files may overlap |
//! | `…/<owner>-<n>.tmp`, `…/<owner>-<n>.entry` | temp files and entries aside; whatever no entry names is waste |
//! | `<base>/_outflow/<topic>/.new-<owner>-<n>/` | a new partition's folder, prepared aside |
//! | `<base>/<topic>/<partition path>/…` | committed files |

mod commit;
mod entry;
mod guards;
mod machine;
mod moving;
pub mod names;
mod opening;
mod publish;
mod roll;
#[cfg(test)]
mod step_tests;
#[cfg(test)]
mod word_tests;

pub use entry::{Entry, FileEntry, Identity, MOVED_VERSION, Moved, VERSION};
#[doc(hidden)]
pub use guards::Guards;
pub use machine::CommitLog;

use crate::error::Error;
use crate::offsets::Range;

/// What an opening is told at its start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Opening {
    /// The base folder: absolute, without a slash at its end.
    pub base: String,
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// Unique per process start and opening (not per process).
    pub owner: String,
    /// Where the records come from, and for whom: a log of another identity isn't continued.
    pub identity: Identity,
    /// The group's committed offset, if it has one.
    pub committed: Option<i64>,
    /// Where to start if there is no log yet; becomes its entry 0. `None`: then it isn't opened.
    pub start: Option<i64>,
    /// Another's log that is taken over all the same, by a person who was shown it. Such an opening commits nothing
    /// but an [`Event::Move`].
    pub takes_over: Option<Identity>,
}

/// What a person wants done to a log: reading goes on elsewhere, perhaps for another identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Move {
    /// Where the log ended when the person was shown it; if it doesn't any more, nothing is done.
    pub from: i64,
    /// Where reading goes on.
    pub to: i64,
    /// With which command.
    pub by: String,
    /// Whose the log was, if it is another's from now on.
    pub was: Option<Identity>,
    /// Committed files whose records will be written again, relative to the base: they are taken out of the tree.
    pub aside: Vec<String>,
}

/// A commit as the driver hands it over: closed temp files, and the range of offsets that they and the refused
/// records make up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Commit {
    /// What the commit covers; begins where the one before ended.
    pub range: Range,
    /// The leader epoch of the last record, -1 if unknown.
    pub leader_epoch: i32,
    /// The files; none if every record of the range was refused.
    pub files: Vec<FileEntry>,
}

/// The number of a call, to match answers. Unique within one opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// One call to the namespace. Reads go to the active NameNode.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// The children of a folder: `Listed` or `NotFound`.
    List {
        /// The folder.
        path: String,
    },
    /// One file or folder: `Found` or `NotFound`.
    Stat {
        /// The path.
        path: String,
    },
    /// The whole content of a small file: `Content` or `NotFound`.
    Read {
        /// The file.
        path: String,
    },
    /// Makes a folder: `Done` (also if it was there) or, without `parents`, `NotFound` if its parent is missing.
    MakeDir {
        /// The folder.
        path: String,
        /// Whether missing parents are made. Never true at or below a partition's log.
        parents: bool,
    },
    /// Creates a file **without its parents and without overwriting**, writes, closes: `Done` once it is known
    /// to be closed, `Exists`, `NotFound` if the parent is missing. Whatever goes wrong after the create is
    /// `Unknown`. With the server's default replication.
    Create {
        /// The file.
        path: String,
        /// Its content.
        content: Vec<u8>,
    },
    /// Renames **without overwriting**: `Done`; `NotFound` if the source or the target's parent is missing;
    /// `Exists` if the target is there.
    Rename {
        /// What.
        from: String,
        /// To what.
        to: String,
    },
    /// Deletes a file, or a folder with what is in it if `tree`: `Done` (also if there was none).
    Delete {
        /// What.
        path: String,
        /// Whether it may be a folder that isn't empty.
        tree: bool,
    },
}

/// One child of a listed folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Child {
    /// Its name, without the folder.
    pub name: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What became of a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It happened.
    Done,
    /// A folder's children.
    Listed(Vec<Child>),
    /// What a `Stat` found.
    Found {
        /// Whether it is a folder.
        is_folder: bool,
        /// Its length in bytes.
        bytes: u64,
    },
    /// A file's content.
    Content(Vec<u8>),
    /// It did not happen: the path, the source, or the parent of the target is missing.
    NotFound,
    /// It did not happen: the target is there.
    Exists,
    /// It did surely not happen, and may be tried again (safe mode, access, quota, no connection was made).
    Refused(Error),
    /// Nobody knows: the answer was lost, or didn't come in time. It may have happened, or happen yet.
    /// For a read this is the same as `Refused`.
    Unknown(Error),
}

/// What a [`CommitLog`] is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Begin. Once, before everything else.
    Open,
    /// What became of a call.
    Answer {
        /// Which call.
        id: CallId,
        /// What became of it.
        outcome: Outcome,
    },
    /// The wait that [`Action::Backoff`] asked for is over.
    Retry,
    /// Commit this.
    Commit(Commit),
    /// Move the log. For an opening that commits nothing else, and is idle.
    Move(Move),
    /// This opening is over. What is under way is left as it is; the next opening sorts it out.
    Close,
}

/// What a [`CommitLog`] wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Perform this and answer it.
    Call {
        /// The number to answer with.
        id: CallId,
        /// What to do.
        call: Call,
    },
    /// Wait a while, then send [`Event::Retry`]. Tried for ever.
    Backoff {
        /// What went wrong.
        why: Error,
    },
    /// The partition is ours. Temp files may be created in [`CommitLog::folder`].
    Opened {
        /// The next offset to read.
        resume: i64,
    },
    /// The range is final: committed, and its files published.
    Committed {
        /// What was committed.
        range: Range,
    },
    /// What is committed isn't known any more: open again (with a new owner id) and read again from there.
    Rewind {
        /// What happened.
        why: Error,
    },
    /// A person is needed.
    Stopped {
        /// What was found, and what to do.
        why: Error,
    },
    /// Another owner has the partition. To be opened again only after a Kafka commit in the current generation
    /// has succeeded.
    Fenced {
        /// Who, as far as it is known.
        why: Error,
    },
}

/// Why a [`Commit`] can't be: a bug of the caller's, said instead of made durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The partition isn't open.
    #[error("the partition isn't open")]
    NotOpen,
    /// It doesn't begin where the one before ended.
    #[error("the commit {range} doesn't begin at {expected}, where the one before ended")]
    NotContiguous {
        /// Where it should begin.
        expected: i64,
        /// What was asked.
        range: Range,
    },
    /// It covers nothing.
    #[error("the commit {range} is empty")]
    Empty {
        /// What was asked.
        range: Range,
    },
    /// A file isn't what it must be.
    #[error("the file {path} of commit {range}: {problem}")]
    File {
        /// What was asked.
        range: Range,
        /// The file's final path.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
}
