//! Opening: find the owner's folder (or prepare a new partition's), fence, read, finish what was begun, clean.

use std::collections::{BTreeSet, VecDeque};

use super::machine::{CommitLog, Next, State, stopped, unexpected};
use super::names::{self, EntryState, OwnerFolder};
use super::{Action, Call, Child, Entry, Identity, Outcome, VERSION};
use crate::error::Error;

/// The steps of preparing a new partition's folder aside. A step whose outcome is unknown is never gone on
/// from: everything begins again under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Prepare {
    /// The folder of the topic's logs.
    Logs,
    /// The partition's folder, aside.
    Partition,
    /// The owner's folder in it.
    Owner,
    /// Entry 0 in that.
    First,
    /// Renaming the partition's folder into place.
    Place,
}

/// Which epoch a new partition begins with.
const FIRST_EPOCH: u64 = 1;

impl CommitLog {
    pub(super) fn on_find(&mut self, tried: Option<String>, outcome: Outcome) -> Next {
        let children = match outcome {
            Outcome::Listed(children) => children,
            Outcome::NotFound if self.opening.start.is_none() => {
                return Next::Over(Action::Rewind {
                    why: Error::misconfigured(format!(
                        "there is no log {} yet, and nothing says where to begin it: set \
                         kafka.auto_offset_reset to \"earliest\" or \"latest\", or set a position with \
                         `outflow group reset`",
                        self.partition_folder()
                    )),
                });
            }
            Outcome::NotFound => {
                return Next::Go(State::Prepare {
                    step: Prepare::Logs,
                    number: self.asides,
                });
            }
            other => {
                let why = unexpected("listing a partition's log failed", other);
                return Next::Wait(State::Find { tried }, why);
            }
        };
        let mut owners = children
            .into_iter()
            .filter(|child| child.is_folder)
            .filter_map(|child| OwnerFolder::parse(&child.name));
        let (Some(owner), None) = (owners.next(), owners.next()) else {
            return stopped(Error::corrupt(format!(
                "{} should hold exactly one folder <epoch>-<identity>-<owner>, and doesn't: \
                 was it changed by hand?",
                self.partition_folder()
            )));
        };
        self.take_over(owner, tried)
    }

    /// Takes the log over from `owner`.
    fn take_over(&mut self, owner: OwnerFolder, tried: Option<String>) -> Next {
        let found = owner.to_string();
        let digest = self.opening.identity.digest();
        let mine = OwnerFolder::new(owner.epoch.saturating_add(1), &digest, &self.opening.owner);
        if owner.owner == mine.owner {
            // Our own rename, whose answer was lost: owner ids are unique.
            self.set_folder(&owner);
            return Next::Go(State::List);
        }
        if tried.as_ref().is_some_and(|tried| *tried != found) {
            return Next::Over(Action::Fenced {
                why: Error::fenced(format!(
                    "{} took the log {} at the same time",
                    owner.owner,
                    self.partition_folder()
                )),
            });
        }
        let looks = self.guards.same_identity && self.guards.look_before_fence;
        let given = self.opening.takes_over.as_ref().map(Identity::digest);
        if looks && owner.digest != digest && Some(&owner.digest) != given.as_ref() {
            return Next::Go(State::Inspect { folder: found });
        }
        if !self.guards.fence {
            self.set_folder(&owner);
            return Next::Go(State::List);
        }
        self.set_folder(&mine);
        if !self.guards.read_after_fence && self.peeked.is_none() {
            return Next::Go(State::Inspect { folder: found });
        }
        Next::Go(State::Fence { from: found })
    }

    /// Fences the folder of the entry at `path`, whatever its name says.
    fn fence_after_all(&mut self, path: &str) -> Next {
        let found = path.rsplit('/').nth(1).and_then(OwnerFolder::parse);
        let Some(owner) = found else {
            return Next::Go(State::Find { tried: None });
        };
        let digest = self.opening.identity.digest();
        let mine = OwnerFolder::new(owner.epoch.saturating_add(1), &digest, &self.opening.owner);
        self.set_folder(&mine);
        Next::Go(State::Fence {
            from: owner.to_string(),
        })
    }

    fn set_folder(&mut self, owner: &OwnerFolder) {
        self.owner_folder = owner.to_string();
        self.folder = format!("{}/{owner}", self.partition_folder());
    }

    pub(super) fn on_fence(&mut self, from: String, outcome: Outcome) -> Next {
        match outcome {
            Outcome::Done => Next::Go(State::List),
            // There before us: no owner id is used twice, so somebody made it by hand.
            Outcome::Exists => stopped(Error::corrupt(format!("{} exists already", self.folder))),
            // Another was faster, or the listing was old; or nobody knows. Look again.
            other => Next::Wait(
                State::Find { tried: Some(from) },
                unexpected("the log's folder couldn't be renamed", other),
            ),
        }
    }

    pub(super) fn prepare_call(&self, step: Prepare, number: u64) -> Call {
        let logs = self.logs_folder();
        let aside = match self.guards.prepare_aside {
            true => names::aside_folder(&self.opening.owner, number),
            false => self.opening.partition.to_string(),
        };
        let digest = self.opening.identity.digest();
        let owner = OwnerFolder::new(FIRST_EPOCH, &digest, &self.opening.owner);
        match step {
            Prepare::Logs => Call::MakeDir {
                path: logs,
                parents: true,
            },
            Prepare::Partition => Call::MakeDir {
                path: format!("{logs}/{aside}"),
                parents: false,
            },
            Prepare::Owner => Call::MakeDir {
                path: format!("{logs}/{aside}/{owner}"),
                parents: false,
            },
            Prepare::First => Call::Create {
                path: format!(
                    "{logs}/{aside}/{owner}/{}",
                    names::entry(0, EntryState::Done)
                ),
                content: self.first_entry().to_json(),
            },
            Prepare::Place => Call::Rename {
                from: format!("{logs}/{aside}"),
                to: self.partition_folder(),
            },
        }
    }

    fn first_entry(&self) -> Entry {
        // Without a start nothing is prepared.
        let start = self.opening.start.unwrap_or_default();
        Entry {
            version: VERSION,
            seq: 0,
            identity: self.opening.identity.clone(),
            leader_epoch: -1,
            first: start,
            end: start,
            attempt: self.opening.owner.clone(),
            files: Vec::new(),
            moved: None,
        }
    }

    pub(super) fn on_prepare(&mut self, step: Prepare, number: u64, outcome: Outcome) -> Next {
        let next = match (step, &outcome) {
            (Prepare::Logs, Outcome::Done) => Prepare::Partition,
            (Prepare::Partition, Outcome::Done) => Prepare::Owner,
            (Prepare::Owner, Outcome::Done) => Prepare::First,
            (Prepare::First, Outcome::Done) => Prepare::Place,
            (Prepare::First, Outcome::Exists) if !self.guards.fresh_names => Prepare::Place,
            (Prepare::Place, Outcome::Done | Outcome::Exists) => {
                return Next::Go(State::Find { tried: None });
            }
            _ => {
                // Perhaps it is half made, and perhaps it is in place.
                if self.guards.fresh_names {
                    self.asides += 1;
                }
                let why = unexpected("a new partition's log couldn't be prepared", outcome);
                return Next::Wait(State::Find { tried: None }, why);
            }
        };
        match next {
            Prepare::Place if !self.guards.prepare_aside => Next::Go(State::Find { tried: None }),
            step => Next::Go(State::Prepare { step, number }),
        }
    }

    pub(super) fn on_list(&mut self, outcome: Outcome, out: &mut Vec<Action>) -> Next {
        let children = match (self.peeked.take(), outcome) {
            (Some(children), Outcome::Listed(_)) | (None, Outcome::Listed(children)) => children,
            (_, Outcome::NotFound) => return self.fenced(),
            (_, other) => {
                let why = unexpected("listing the log's folder failed", other);
                return Next::Wait(State::List, why);
            }
        };
        let (mut committed, mut done) = (BTreeSet::new(), BTreeSet::new());
        self.waste.clear();
        for child in children.into_iter().filter(|child| !child.is_folder) {
            match names::parse_entry(&child.name) {
                Some((seq, EntryState::Committed)) => _ = committed.insert(seq),
                Some((seq, EntryState::Done)) => _ = done.insert(seq),
                None => self.waste.push(child.name),
            }
        }
        let newest_done = done.last().copied();
        self.done = done;
        let mut left: VecDeque<_> = committed
            .iter()
            .map(|&seq| (seq, EntryState::Committed))
            .collect();
        match (newest_done, committed.first()) {
            (Some(done), Some(&committed)) if committed <= done => {
                return stopped(Error::corrupt(format!(
                    "{}: entry {done} is done and entry {committed} isn't: was it changed by hand?",
                    self.folder
                )));
            }
            (Some(done), None) => left.push_back((done, EntryState::Done)),
            (None, None) => {
                return stopped(Error::corrupt(format!("{} holds no entry", self.folder)));
            }
            _ => {}
        }
        self.read(left, Vec::new(), out)
    }

    fn read(
        &mut self,
        left: VecDeque<(u64, EntryState)>,
        unpublished: Vec<Entry>,
        out: &mut Vec<Action>,
    ) -> Next {
        match left.is_empty() {
            true => self.finish(unpublished, out),
            false => Next::Go(State::Read { left, unpublished }),
        }
    }

    pub(super) fn on_read(
        &mut self,
        mut left: VecDeque<(u64, EntryState)>,
        mut unpublished: Vec<Entry>,
        outcome: Outcome,
        out: &mut Vec<Action>,
    ) -> Next {
        let content = match outcome {
            Outcome::Content(content) => content,
            // It was there just now: are we fenced?
            Outcome::NotFound => {
                let why = unexpected("a log entry vanished", Outcome::NotFound);
                return Next::Wait(State::List, why);
            }
            other => {
                let why = unexpected("reading a log entry failed", other);
                return Next::Wait(State::Read { left, unpublished }, why);
            }
        };
        let Some((seq, state)) = left.pop_front() else {
            return Next::Go(State::List);
        };
        let path = self.in_folder(&names::entry(seq, state));
        let entry = match Entry::read(&path, seq, &content) {
            Ok(entry) => entry,
            Err(why) => return stopped(why),
        };
        let follows = entry.moved.as_ref().map_or(entry.first, |moved| moved.from);
        if unpublished
            .last()
            .is_some_and(|before| before.end != follows)
        {
            return stopped(Error::corrupt(format!(
                "the log entry {path} covers {}, which doesn't begin where the one before ended",
                entry.range()
            )));
        }
        if let Some(why) = self.not_ours(&path, &entry) {
            return stopped(why);
        }
        self.next_seq = seq.saturating_add(1);
        self.end = entry.end;
        if state == EntryState::Committed {
            unpublished.push(entry);
        }
        self.read(left, unpublished, out)
    }

    /// Why a log with this entry isn't continued, if so.
    fn not_ours(&self, path: &str, entry: &Entry) -> Option<Error> {
        let is_given = self.opening.takes_over.as_ref() == Some(&entry.identity);
        let is_ours = entry.identity == self.opening.identity || is_given;
        (self.guards.same_identity && !is_ours).then(|| {
            if names::is_of_replays(&self.opening.topic) {
                return Error::misconfigured(format!(
                    "the log entry {path} is of {}, and this is {}: the topic was created again, or the group renamed. \
                     If that was on purpose, move the folder {} out of {}; which dead letters were replayed isn't known \
                     any more then",
                    entry.identity,
                    self.opening.identity,
                    self.partition_folder(),
                    names::OWN_FOLDER
                ));
            }
            Error::misconfigured(format!(
                "the log entry {path} is of {}, and this is {}: choose another base path; or, if the topic was \
                 created again or the group was renamed on purpose, look at what it means with `outflow adopt \
                 --config FILE --topic {}:{}`, and take the log over with --yes",
                entry.identity, self.opening.identity, self.opening.topic, self.opening.partition
            ))
        })
    }

    /// Everything was read: checks it against Kafka, publishes what isn't done.
    fn finish(&mut self, unpublished: Vec<Entry>, out: &mut Vec<Action>) -> Next {
        if let Some(committed) = self.opening.committed {
            if self.guards.committed_within_log && committed > self.end {
                return stopped(Error::corrupt(format!(
                    "the group's committed offset is {committed} and the log {} ends at {}: records between \
                     may be missing. Stop outflow and say where to go on: `outflow group reset --config FILE \
                     --topic {}:{} --to {}` writes what may be missing, `--to {committed}` leaves it out",
                    self.folder, self.end, self.opening.topic, self.opening.partition, self.end
                )));
            }
            if !self.guards.resume_from_log {
                self.end = committed;
            }
        }
        if self.guards.clean_after_publishing {
            let is_named = |name: &String| {
                let mut files = unpublished.iter().flat_map(|entry| &entry.files);
                files.any(|file| file.temp == *name)
            };
            self.waste.retain(|name| !is_named(name));
        }
        self.unpublished = unpublished.into();
        if !self.guards.redo_publishing {
            self.unpublished.clear();
        }
        match self.guards.clean_after_publishing {
            true => self.go_on_opening(out),
            false => self.clean(out),
        }
    }

    /// Publishes the next entry that isn't done, or cleans.
    pub(super) fn go_on_opening(&mut self, out: &mut Vec<Action>) -> Next {
        match self.unpublished.pop_front() {
            Some(entry) => self.publish(entry),
            None => self.clean(out),
        }
    }

    fn clean(&mut self, out: &mut Vec<Action>) -> Next {
        if !self.waste.is_empty() {
            return Next::Go(State::Clean);
        }
        if let Some(entry) = self.unpublished.pop_front() {
            return self.publish(entry);
        }
        self.is_open = true;
        self.queued_end = self.end;
        out.push(Action::Opened { resume: self.end });
        Next::Go(State::Idle)
    }

    pub(super) fn on_clean(&mut self, outcome: &Outcome, out: &mut Vec<Action>) -> Next {
        match outcome {
            // The namespace has other trouble: what is left is deleted by the next opening.
            Outcome::Refused(_) | Outcome::Unknown(_) => self.waste.clear(),
            _ => _ = self.waste.pop(),
        }
        self.clean(out)
    }

    pub(super) fn on_inspect(&mut self, folder: String, outcome: Outcome) -> Next {
        let children = match outcome {
            Outcome::Listed(children) => children,
            Outcome::NotFound => return Next::Go(State::Find { tried: None }),
            other => {
                let why = unexpected("listing another's log failed", other);
                return Next::Wait(State::Inspect { folder }, why);
            }
        };
        if !self.guards.read_after_fence {
            self.peeked = Some(children);
            return Next::Go(State::Fence { from: folder });
        }
        let Some((seq, state)) = newest(&children) else {
            return stopped(Error::corrupt(format!(
                "{}/{folder} holds no entry",
                self.partition_folder()
            )));
        };
        let path = format!(
            "{}/{folder}/{}",
            self.partition_folder(),
            names::entry(seq, state)
        );
        Next::Go(State::InspectEntry { path, seq })
    }

    pub(super) fn on_inspect_entry(&mut self, path: String, seq: u64, outcome: Outcome) -> Next {
        match outcome {
            Outcome::Content(content) => stopped(match Entry::read(&path, seq, &content) {
                Err(why) => why,
                Ok(entry) => match self.not_ours(&path, &entry) {
                    Some(why) => why,
                    // The entry decides: somebody fenced this log to take it over, and didn't come to it.
                    None => return self.fence_after_all(&path),
                },
            }),
            Outcome::NotFound => Next::Go(State::Find { tried: None }),
            other => {
                let why = unexpected("reading another's log entry failed", other);
                Next::Wait(State::InspectEntry { path, seq }, why)
            }
        }
    }
}

fn newest(children: &[Child]) -> Option<(u64, EntryState)> {
    let entries = children
        .iter()
        .filter_map(|child| names::parse_entry(&child.name));
    entries.max_by_key(|(seq, _)| *seq)
}
