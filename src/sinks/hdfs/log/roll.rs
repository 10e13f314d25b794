//! Rolling: old done entries go into one history file, so that the log's folder stays small.
//!
//! `history/<from>-<to>.jsonl` holds the entries of these numbers, one a line, in order. It is written aside and
//! renamed, and only then are the entries deleted, the oldest first; the newest entry always stays. Whatever
//! fails is left for another time, so two history files may hold the same entry: it is the same in both.

use super::machine::{CommitLog, Next, State};
use super::names::{self, EntryState};
use super::{Call, Outcome};

/// How many done entries are rolled into one history file.
pub(super) const ROLL_AT: usize = 64;
/// The folder of history files, in the log's folder.
const HISTORY: &str = "history";

/// A history file in the making.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Roll {
    /// The entries, the oldest first.
    seqs: Vec<u64>,
    /// What was read of them.
    content: Vec<u8>,
    aside: String,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Read(usize),
    Folder,
    Write,
    Place,
    Delete(usize),
}

impl CommitLog {
    /// What is to be rolled now, if anything.
    pub(super) fn roll(&mut self) -> Option<Roll> {
        if self.done.len() <= self.next_roll {
            return None;
        }
        let newest = self.done.len() - 1;
        let seqs: Vec<u64> = self
            .done
            .iter()
            .copied()
            .take(newest.min(self.roll_at))
            .collect();
        // If this fails, not at once again.
        self.next_roll = self.done.len() + self.roll_at;
        self.asides += 1;
        Some(Roll {
            seqs,
            content: Vec::new(),
            aside: names::aside_entry(&self.opening.owner, self.asides),
            step: Step::Read(0),
        })
    }

    pub(super) fn roll_call(&self, roll: &Roll) -> Option<Call> {
        let done = |at: usize| {
            let seq = *roll.seqs.get(at)?;
            Some(self.in_folder(&names::entry(seq, EntryState::Done)))
        };
        let history = self.in_folder(HISTORY);
        let (from, to) = (*roll.seqs.first()?, *roll.seqs.last()?);
        Some(match roll.step {
            Step::Read(at) => Call::Read { path: done(at)? },
            Step::Folder => Call::MakeDir {
                path: history,
                parents: false,
            },
            Step::Write => Call::Create {
                path: self.in_folder(&roll.aside),
                content: roll.content.clone(),
            },
            Step::Place => Call::Rename {
                from: self.in_folder(&roll.aside),
                to: format!("{history}/{}", names::history(from, to)),
            },
            Step::Delete(at) => Call::Delete {
                path: done(at)?,
                tree: false,
            },
        })
    }

    pub(super) fn on_roll(&mut self, mut roll: Roll, outcome: Outcome) -> Next {
        roll.step = match (roll.step, outcome) {
            (Step::Read(at), Outcome::Content(content)) => {
                roll.content.extend_from_slice(&content);
                roll.content.push(b'\n');
                match at + 1 < roll.seqs.len() {
                    true => Step::Read(at + 1),
                    false => Step::Folder,
                }
            }
            // Deleted before, when the answer was lost.
            (Step::Read(at), Outcome::NotFound) if at < roll.seqs.len() => {
                self.done.remove(&roll.seqs.remove(at));
                match at < roll.seqs.len() {
                    true => Step::Read(at),
                    false if roll.seqs.is_empty() => return self.next_commit(),
                    false => Step::Folder,
                }
            }
            (Step::Folder, Outcome::Done) if !self.guards.roll_before_delete => Step::Delete(0),
            (Step::Folder, Outcome::Done) => Step::Write,
            (Step::Write, Outcome::Done) => Step::Place,
            // One that exists holds the same entries: they never change.
            (Step::Place, Outcome::Done | Outcome::Exists) if self.guards.roll_before_delete => {
                Step::Delete(0)
            }
            (Step::Delete(at), Outcome::Done | Outcome::NotFound) => {
                if let Some(seq) = roll.seqs.get(at) {
                    self.done.remove(seq);
                }
                match at + 1 < roll.seqs.len() {
                    true => Step::Delete(at + 1),
                    false if !self.guards.roll_before_delete => Step::Write,
                    false => return self.rolled(),
                }
            }
            // Some other time. If we are fenced, the next commit finds out.
            _ => return self.next_commit(),
        };
        Next::Go(State::Roll { roll })
    }

    fn rolled(&mut self) -> Next {
        self.next_roll = self.roll_at;
        self.next_commit()
    }
}
