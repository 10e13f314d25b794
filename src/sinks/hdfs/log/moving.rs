//! A person moves the log: an entry without files says where reading goes on, and which committed files are
//! written again. Those are taken out of the tree before the entry is done, so that no record stands there twice.
//! Whoever opens the log finishes what was begun, as with publishing (docs/adr/0004-moving-a-log.md).

use super::machine::{CommitLog, Next, State, stopped, unexpected};
use super::names;
use super::publish::{Publish, publish};
use super::{Action, Call, Entry, MOVED_VERSION, Move, Moved, Outcome};
use crate::error::Error;

/// The folder of files that were taken out of the tree, in the log's folder: who is fenced takes none any more.
const REPLACED: &str = "replaced";

/// What is done about which file of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Aside {
    /// Making the folder for them.
    Folder,
    /// Renaming it into that folder.
    Take(usize),
    /// Something was missing: the file, the folder, are we?
    Look(usize),
}

impl CommitLog {
    /// Begins a move, if the log is still as the person saw it.
    pub(super) fn on_move(&mut self, wanted: Move, out: &mut Vec<Action>) {
        if !self.is_open || !self.is_idle() {
            return;
        }
        if wanted.from != self.end || wanted.to < 0 {
            let why = Error::unavailable(format!(
                "{}: the log ends at {} now, and not at {} any more; nothing was moved: look again",
                self.partition_folder(),
                self.end,
                wanted.from
            ));
            return self.turn(stopped(why), out);
        }
        self.queued_end = wanted.to;
        self.asides += 1;
        let entry = Entry {
            version: MOVED_VERSION,
            seq: self.next_seq,
            identity: self.opening.identity.clone(),
            leader_epoch: -1,
            first: wanted.to,
            end: wanted.to,
            attempt: names::aside_entry(&self.opening.owner, self.asides),
            files: Vec::new(),
            moved: Some(Moved {
                from: wanted.from,
                by: wanted.by,
                was: wanted.was,
                aside: wanted.aside,
            }),
        };
        self.turn(Next::Go(State::WriteAside { entry }), out);
    }

    /// Takes the file `at` of a move out of the tree; past the last, marks the entry.
    pub(super) fn take_aside(&mut self, entry: Entry, at: usize) -> Next {
        let is_left = entry.moved.as_ref().is_some_and(|m| at < m.aside.len());
        match (is_left, at) {
            (true, 0) => take(entry, Aside::Folder),
            (true, at) => take(entry, Aside::Take(at)),
            (false, _) => publish(entry, Publish::Mark),
        }
    }

    pub(super) fn take_aside_call(&self, entry: &Entry, step: Aside) -> Option<Call> {
        let replaced = self.in_folder(REPLACED);
        Some(match step {
            Aside::Folder => Call::MakeDir {
                path: replaced,
                parents: false,
            },
            Aside::Take(at) => {
                let path = entry.moved.as_ref()?.aside.get(at)?;
                let name = path.rsplit('/').next()?;
                Call::Rename {
                    from: format!("{}/{path}", self.opening.base),
                    to: format!("{replaced}/{}+{name}", entry.seq),
                }
            }
            Aside::Look(_) => Call::List {
                path: self.folder.clone(),
            },
        })
    }

    pub(super) fn on_take_aside(&mut self, entry: Entry, step: Aside, outcome: Outcome) -> Next {
        match (step, outcome) {
            (Aside::Folder, Outcome::Done) => take(entry, Aside::Take(0)),
            (Aside::Folder, Outcome::NotFound) => self.fenced(),
            (Aside::Take(at), Outcome::Done) => self.take_aside(entry, at + 1),
            (Aside::Take(at), Outcome::NotFound) => take(entry, Aside::Look(at)),
            (Aside::Take(_), Outcome::Exists) => stopped(Error::corrupt(format!(
                "{}: a file that entry {} takes out of the tree is there already: was it put back by hand? Move \
                 the one below {} away and release the partition",
                self.folder,
                entry.seq,
                self.in_folder(REPLACED)
            ))),
            // It may happen later, when the path is a new file's: never under this name of the folder again.
            (Aside::Take(_), Outcome::Unknown(why)) => self.rewind(&why.what),
            (Aside::Look(at), Outcome::Listed(children)) => {
                match children.iter().any(|child| child.name == REPLACED) {
                    // So it was the file: taken before, or by somebody else.
                    true => self.take_aside(entry, at + 1),
                    false => take(entry, Aside::Folder),
                }
            }
            (Aside::Look(_), Outcome::NotFound) => self.fenced(),
            (step, other) => {
                let why = unexpected("taking a file out of the tree failed", other);
                Next::Wait(State::TakeAside { entry, step }, why)
            }
        }
    }
}

fn take(entry: Entry, step: Aside) -> Next {
    Next::Go(State::TakeAside { entry, step })
}
