//! A commit: the entry is written aside, and renamed to the next number.

use super::entry::file_problem;
use super::machine::{CommitLog, Next, State, unexpected};
use super::names::{self, EntryState};
use super::{Action, Commit, CommitError, Entry, Outcome, VERSION};
use crate::error::Error;

impl CommitLog {
    /// Why `commit` can't be the next, if so.
    pub fn check(&self, commit: &Commit) -> Result<(), CommitError> {
        let range = commit.range;
        if !self.is_open || self.is_over() {
            return Err(CommitError::NotOpen);
        }
        if range.first != self.queued_end {
            return Err(CommitError::NotContiguous {
                expected: self.queued_end,
                range,
            });
        }
        if range.is_empty() {
            return Err(CommitError::Empty { range });
        }
        match file_problem(range, &commit.files) {
            Some((path, problem)) => Err(CommitError::File {
                range,
                path,
                problem,
            }),
            None => Ok(()),
        }
    }

    /// Takes a commit. One that can't be ends the opening: the next reads again from what is committed.
    pub(super) fn enqueue(&mut self, commit: Commit, out: &mut Vec<Action>) {
        if self.is_over() {
            return;
        }
        if let Err(error) = self.check(&commit) {
            let why = Error::corrupt(format!("{}: {error}", self.partition_folder()));
            return self.turn(Next::Over(Action::Rewind { why }), out);
        }
        self.queued_end = commit.range.end;
        self.queue.push_back(commit);
        if self.is_idle() {
            let next = self.next_commit();
            self.turn(next, out);
        }
    }

    /// Begins what waits; if nothing does, there is time for old entries.
    pub(super) fn next_commit(&mut self) -> Next {
        let Some(commit) = self.queue.pop_front() else {
            return match self.roll() {
                Some(roll) => Next::Go(State::Roll { roll }),
                None => Next::Go(State::Idle),
            };
        };
        self.asides += 1;
        Next::Go(State::WriteAside {
            entry: Entry {
                version: VERSION,
                seq: self.next_seq,
                identity: self.opening.identity.clone(),
                leader_epoch: commit.leader_epoch,
                first: commit.range.first,
                end: commit.range.end,
                attempt: names::aside_entry(&self.opening.owner, self.asides),
                files: commit.files,
                moved: None,
            },
        })
    }

    /// Where an entry is written before it counts.
    pub(super) fn aside_path(&self, entry: &Entry) -> String {
        match self.guards.write_aside {
            true => self.in_folder(&entry.attempt),
            false => self.in_folder(&names::entry(entry.seq, EntryState::Committed)),
        }
    }

    pub(super) fn on_aside(
        &mut self,
        mut entry: Entry,
        outcome: Outcome,
        out: &mut Vec<Action>,
    ) -> Next {
        match outcome {
            Outcome::Done => self.is_aside(entry, out),
            Outcome::NotFound => self.fenced(),
            Outcome::Exists if !self.guards.fresh_names || !self.guards.write_aside => {
                self.is_aside(entry, out)
            }
            // It may be half written: never use that name again. Nothing is committed yet.
            other => {
                if self.guards.fresh_names {
                    self.asides += 1;
                    entry.attempt = names::aside_entry(&self.opening.owner, self.asides);
                }
                let why = unexpected("writing a log entry aside failed", other);
                Next::Wait(State::WriteAside { entry }, why)
            }
        }
    }

    fn is_aside(&mut self, entry: Entry, out: &mut Vec<Action>) -> Next {
        if !self.guards.ack_after_commit {
            out.push(Action::Committed {
                range: entry.range(),
            });
        }
        match self.guards.write_aside {
            true => Next::Go(State::Commit { entry }),
            false => self.committed(entry),
        }
    }

    pub(super) fn on_commit(&mut self, entry: Entry, outcome: Outcome) -> Next {
        match outcome {
            Outcome::Done => self.committed(entry),
            Outcome::NotFound if !self.guards.confirm_commit => self.committed(entry),
            Outcome::NotFound => Next::Go(State::LookForCommit { entry }),
            Outcome::Exists => self.rewind(&format!("entry {} exists already", entry.seq)),
            _ if !self.guards.retry_unknown_commit => self.committed(entry),
            // Nobody knows: only the very same entry may be tried again.
            other => {
                let why = unexpected("the outcome of a commit is unknown", other);
                Next::Wait(State::Commit { entry }, why)
            }
        }
    }

    pub(super) fn on_look_for_commit(&mut self, entry: Entry, outcome: Outcome) -> Next {
        match outcome {
            Outcome::Listed(children) => {
                let name = names::entry(entry.seq, EntryState::Committed);
                match children.iter().any(|child| child.name == name) {
                    true => self.committed(entry),
                    false => self.rewind(&format!("entry {} vanished", entry.attempt)),
                }
            }
            Outcome::NotFound => self.fenced(),
            other => {
                let why = unexpected("listing the log's folder failed", other);
                Next::Wait(State::LookForCommit { entry }, why)
            }
        }
    }

    /// The commit point lies behind us.
    fn committed(&mut self, entry: Entry) -> Next {
        self.next_seq = entry.seq.saturating_add(1);
        self.end = entry.end;
        self.publish(entry)
    }

    /// Ends the opening: what is committed must be read again.
    pub(super) fn rewind(&self, what: &str) -> Next {
        Next::Over(Action::Rewind {
            why: Error::unavailable(format!("{}: {what}; opening again", self.folder)),
        })
    }
}
