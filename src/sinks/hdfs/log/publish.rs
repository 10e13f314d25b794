//! Publishing: an entry's temp files get their final names, and the entry is marked done. Whoever opens a log
//! does this for every entry that isn't done, so each step may have been done before, by us or by another.

use super::machine::{CommitLog, Next, State, stopped, unexpected};
use super::names::{self, EntryState};
use super::{Action, Call, Entry, FileEntry, Outcome};
use crate::error::Error;

/// What is done about which file of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Publish {
    /// Making its folder.
    Folder(usize),
    /// Renaming it.
    Rename(usize),
    /// Something was missing: is the temp file still there, are we?
    Look(usize),
    /// The temp file is gone: is it published?
    Confirm(usize),
    /// The final path is taken: by what?
    Taken(usize),
    /// Marking the entry done.
    Mark,
    /// The entry was missing: is it done, are we fenced?
    LookMark,
}

/// Goes on with a step.
pub(super) fn publish(entry: Entry, step: Publish) -> Next {
    Next::Go(State::Publish { entry, step })
}

/// Tries a step again, after a while.
fn wait(entry: Entry, step: Publish, why: Error) -> Next {
    Next::Wait(State::Publish { entry, step }, why)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl CommitLog {
    /// Publishes an entry that is committed.
    pub(super) fn publish(&mut self, entry: Entry) -> Next {
        if entry.moved.is_some() {
            return self.take_aside(entry, 0);
        }
        match self.guards.done_after_published {
            true => self.publish_file(entry, 0),
            false => publish(entry, Publish::Mark),
        }
    }

    /// Publishes the file `at`; past the last, marks the entry.
    fn publish_file(&mut self, entry: Entry, at: usize) -> Next {
        let step = match entry.files.get(at) {
            None => Publish::Mark,
            Some(file) if parent(&file.path) == self.made_folder => Publish::Rename(at),
            Some(_) => Publish::Folder(at),
        };
        publish(entry, step)
    }

    fn final_path(&self, file: &FileEntry) -> String {
        format!("{}/{}", self.opening.base, file.path)
    }

    pub(super) fn publish_call(&self, entry: &Entry, step: Publish) -> Option<Call> {
        let file = |at: usize| entry.files.get(at);
        Some(match step {
            Publish::Folder(at) => Call::MakeDir {
                path: parent(&self.final_path(file(at)?)).to_owned(),
                parents: true,
            },
            Publish::Rename(at) => Call::Rename {
                from: self.in_folder(&file(at)?.temp),
                to: self.final_path(file(at)?),
            },
            Publish::Look(_) | Publish::LookMark => Call::List {
                path: self.folder.clone(),
            },
            Publish::Confirm(at) | Publish::Taken(at) => Call::Stat {
                path: self.final_path(file(at)?),
            },
            Publish::Mark => Call::Rename {
                from: self.in_folder(&names::entry(entry.seq, EntryState::Committed)),
                to: self.in_folder(&names::entry(entry.seq, EntryState::Done)),
            },
        })
    }

    pub(super) fn on_publish(
        &mut self,
        entry: Entry,
        step: Publish,
        outcome: Outcome,
        out: &mut Vec<Action>,
    ) -> Next {
        match step {
            Publish::Folder(at) => self.on_folder(entry, at, outcome),
            Publish::Rename(at) => self.on_rename(entry, at, outcome, out),
            Publish::Look(at) => self.on_look(entry, at, outcome),
            Publish::Confirm(at) => self.on_confirm(entry, at, outcome, out),
            Publish::Taken(at) => self.on_taken(entry, at, outcome),
            Publish::Mark => self.on_mark(entry, outcome, out),
            Publish::LookMark => self.on_look_mark(entry, outcome, out),
        }
    }

    fn on_folder(&mut self, entry: Entry, at: usize, outcome: Outcome) -> Next {
        let path = entry.files.get(at).map_or("", |file| file.path.as_str());
        match outcome {
            Outcome::Done => {
                self.made_folder = parent(path).to_owned();
                publish(entry, Publish::Rename(at))
            }
            Outcome::Exists => stopped(Error::corrupt(format!(
                "{}/{} can't be made: a file is in its place. Move it away",
                self.opening.base,
                parent(path)
            ))),
            other => {
                let why = unexpected("making a folder for committed files failed", other);
                wait(entry, Publish::Folder(at), why)
            }
        }
    }

    fn on_rename(
        &mut self,
        entry: Entry,
        at: usize,
        outcome: Outcome,
        out: &mut Vec<Action>,
    ) -> Next {
        match outcome {
            Outcome::Done => self.published(entry, at, out),
            Outcome::NotFound if !self.guards.confirm_published => self.published(entry, at, out),
            Outcome::NotFound => publish(entry, Publish::Look(at)),
            Outcome::Exists => publish(entry, Publish::Taken(at)),
            other => {
                let why = unexpected("publishing a file failed", other);
                wait(entry, Publish::Rename(at), why)
            }
        }
    }

    fn on_look(&mut self, entry: Entry, at: usize, outcome: Outcome) -> Next {
        let children = match outcome {
            Outcome::Listed(children) => children,
            Outcome::NotFound => return self.fenced(),
            other => {
                let why = unexpected("listing the log's folder failed", other);
                return wait(entry, Publish::Look(at), why);
            }
        };
        let temp = entry.files.get(at).map(|file| file.temp.as_str());
        match children
            .iter()
            .any(|child| Some(child.name.as_str()) == temp)
        {
            // So it was the target's folder that was missing.
            true => {
                self.made_folder.clear();
                let why = Error::unavailable("a folder for committed files vanished");
                wait(entry, Publish::Folder(at), why)
            }
            false => publish(entry, Publish::Confirm(at)),
        }
    }

    fn on_confirm(
        &mut self,
        entry: Entry,
        at: usize,
        outcome: Outcome,
        out: &mut Vec<Action>,
    ) -> Next {
        let Some(file) = entry.files.get(at) else {
            return self.published(entry, at, out);
        };
        let (target, temp) = (self.final_path(file), self.in_folder(&file.temp));
        match outcome {
            // The temp file is gone and the committed file is there: done before.
            Outcome::Found {
                is_folder: false,
                bytes,
            } if bytes == file.bytes => self.published(entry, at, out),
            Outcome::Found { bytes, .. } => stopped(Error::corrupt(format!(
                "{target} should have {} bytes and has {bytes}, and {temp} is gone: was it replaced by hand?",
                file.bytes
            ))),
            Outcome::NotFound => stopped(Error::corrupt(format!(
                "{target} with the offsets {} to {} is gone and so is {temp}: put it back, or put any file of \
                 {} bytes there if it was moved away on purpose, and release the partition",
                file.first, file.last, file.bytes
            ))),
            other => {
                let why = unexpected("looking for a committed file failed", other);
                wait(entry, Publish::Confirm(at), why)
            }
        }
    }

    fn on_taken(&mut self, entry: Entry, at: usize, outcome: Outcome) -> Next {
        let Some(file) = entry.files.get(at) else {
            return self.publish_file(entry, at);
        };
        match outcome {
            Outcome::Found { is_folder, bytes } => stopped(Error::corrupt(format!(
                "{} is there already ({}), and isn't overwritten by {} ({} bytes): \
                 find out who made it and move it away",
                self.final_path(file),
                if is_folder {
                    "a folder".to_owned()
                } else {
                    format!("{bytes} bytes")
                },
                self.in_folder(&file.temp),
                file.bytes
            ))),
            // It went away meanwhile.
            Outcome::NotFound => publish(entry, Publish::Folder(at)),
            other => {
                let why = unexpected("looking at a committed file failed", other);
                wait(entry, Publish::Taken(at), why)
            }
        }
    }

    fn published(&mut self, entry: Entry, at: usize, out: &mut Vec<Action>) -> Next {
        if at + 1 >= entry.files.len() && !self.guards.done_after_published {
            return self.entry_done(&entry, out);
        }
        self.publish_file(entry, at + 1)
    }

    fn on_mark(&mut self, entry: Entry, outcome: Outcome, out: &mut Vec<Action>) -> Next {
        match outcome {
            Outcome::Done => self.marked(entry, out),
            Outcome::NotFound => publish(entry, Publish::LookMark),
            Outcome::Exists => self.rewind(&format!("entry {} is done already", entry.seq)),
            other => {
                let why = unexpected("marking a log entry as done failed", other);
                wait(entry, Publish::Mark, why)
            }
        }
    }

    fn on_look_mark(&mut self, entry: Entry, outcome: Outcome, out: &mut Vec<Action>) -> Next {
        match outcome {
            Outcome::Listed(children) => {
                let done = names::entry(entry.seq, EntryState::Done);
                match children.iter().any(|child| child.name == done) {
                    true => self.marked(entry, out),
                    false => self.rewind(&format!("entry {} vanished", entry.seq)),
                }
            }
            Outcome::NotFound => self.fenced(),
            other => {
                let why = unexpected("listing the log's folder failed", other);
                wait(entry, Publish::LookMark, why)
            }
        }
    }

    fn marked(&mut self, entry: Entry, out: &mut Vec<Action>) -> Next {
        match self.guards.done_after_published || entry.files.is_empty() {
            true => self.entry_done(&entry, out),
            false => self.publish_file(entry, 0),
        }
    }

    /// An entry is done: goes on with what comes next.
    fn entry_done(&mut self, entry: &Entry, out: &mut Vec<Action>) -> Next {
        self.done.insert(entry.seq);
        if !self.is_open {
            return self.go_on_opening(out);
        }
        if self.guards.ack_after_commit {
            out.push(Action::Committed {
                range: entry.range(),
            });
        }
        self.next_commit()
    }
}
