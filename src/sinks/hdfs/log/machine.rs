//! The state machine's frame: one call under way at most, and what each state calls.
//!
//! A state knows its one call ([`CommitLog::call`]), so trying again is making that call again. What an answer
//! means is told where the state belongs: `opening`, `commit`, `publish`, `roll`.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::guards::Guards;
use super::moving::Aside;
use super::names::{self, EntryState};
use super::opening::Prepare;
use super::publish::Publish;
use super::roll::Roll;
use super::{Action, Call, CallId, Child, Commit, Entry, Event, Opening, Outcome};
use crate::error::Error;

/// What the log is doing. All but `New`, `Idle` and `Over` have one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// Not begun.
    New,
    /// Looking for the owner's folder; `tried` is the one that was there when we last looked.
    Find { tried: Option<String> },
    /// Another identity's folder: looking for its newest entry, to say whose it is.
    Inspect { folder: String },
    /// Reading that entry.
    InspectEntry { path: String, seq: u64 },
    /// Preparing a new partition's folder.
    Prepare { step: Prepare, number: u64 },
    /// Renaming the owner's folder `from` to ours.
    Fence { from: String },
    /// Listing our folder.
    List,
    /// Reading the entries in `left`, the first one first; `unpublished` is what was read so far.
    Read {
        left: VecDeque<(u64, EntryState)>,
        unpublished: Vec<Entry>,
    },
    /// Publishing an entry's files.
    Publish { entry: Entry, step: Publish },
    /// Taking files out of the tree, as a person wished.
    TakeAside { entry: Entry, step: Aside },
    /// Deleting what no entry names.
    Clean,
    /// Open, and nothing to do.
    Idle,
    /// Writing an entry aside.
    WriteAside { entry: Entry },
    /// Renaming it to its place: the commit point.
    Commit { entry: Entry },
    /// The entry aside was missing: is it because it had got there before, or because we are fenced?
    LookForCommit { entry: Entry },
    /// Rolling old entries into a history file.
    Roll { roll: Roll },
    /// Over.
    Over,
}

/// Whether a call is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Pending {
    Nothing,
    Call,
    Wait,
}

/// The number of the latest call. Two logs that differ only in it behave alike, so it doesn't count when they
/// are compared.
#[derive(Debug, Clone, Copy, Default)]
struct LatestCall(u64);

impl PartialEq for LatestCall {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for LatestCall {}

impl Hash for LatestCall {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What follows an answer.
pub(super) enum Next {
    /// This state, at once.
    Go(State),
    /// This state, after a while.
    Wait(State, Error),
    /// Nothing: the opening ends with this.
    Over(Action),
}

/// The commit log of one partition, for one opening. See the module's page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommitLog {
    pub(super) opening: Arc<Opening>,
    pub(super) guards: Guards,
    pub(super) state: State,
    pending: Pending,
    latest_call: LatestCall,
    /// Our folder's name once known; empty before.
    pub(super) owner_folder: String,
    pub(super) folder: String,
    /// Whether `Opened` was said.
    pub(super) is_open: bool,
    pub(super) next_seq: u64,
    /// The end of what is committed.
    pub(super) end: i64,
    /// Where the next commit that is handed over must begin.
    pub(super) queued_end: i64,
    pub(super) queue: VecDeque<Commit>,
    /// How many names aside were used.
    pub(super) asides: u64,
    /// Entries that aren't done, found by the opening.
    pub(super) unpublished: VecDeque<Entry>,
    /// Files that no entry names, found by the opening.
    pub(super) waste: Vec<String>,
    /// The folder's children as they were before the fence (only without the guard `read_after_fence`).
    pub(super) peeked: Option<Vec<Child>>,
    /// Done entries that stand in the folder.
    pub(super) done: BTreeSet<u64>,
    /// How many of them are rolled together, and when that is tried next.
    pub(super) roll_at: usize,
    pub(super) next_roll: usize,
    /// The folder that was made last for committed files.
    pub(super) made_folder: String,
}

impl CommitLog {
    /// A log that isn't open yet: send [`Event::Open`].
    pub fn new(opening: Opening) -> Self {
        Self::with_guards(opening, Guards::default(), super::roll::ROLL_AT)
    }

    /// The same, with guards off and another number of entries to a history file: for the model.
    #[doc(hidden)]
    pub fn with_guards(opening: Opening, guards: Guards, roll_at: usize) -> Self {
        CommitLog {
            opening: Arc::new(opening),
            guards,
            state: State::New,
            pending: Pending::Nothing,
            latest_call: LatestCall(0),
            owner_folder: String::new(),
            folder: String::new(),
            is_open: false,
            next_seq: 0,
            end: 0,
            queued_end: 0,
            queue: VecDeque::new(),
            asides: 0,
            unpublished: VecDeque::new(),
            waste: Vec::new(),
            peeked: None,
            done: BTreeSet::new(),
            roll_at,
            next_roll: roll_at,
            made_folder: String::new(),
        }
    }

    /// The owner's folder, absolute. Valid once opened.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The end of what is committed: the next offset to read, if nothing was handed over since. Valid once opened.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Whether nothing is under way and nothing waits to be committed.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether this opening is over.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes an event; says what to do.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Open if self.state == State::New => {
                self.turn(Next::Go(State::Find { tried: None }), &mut out);
            }
            Event::Answer { id, outcome }
                if self.pending == Pending::Call && id.0 == self.latest_call.0 =>
            {
                self.pending = Pending::Nothing;
                let next = self.answer(outcome, &mut out);
                self.turn(next, &mut out);
            }
            Event::Retry if self.pending == Pending::Wait => {
                let state = self.take_state();
                self.turn(Next::Go(state), &mut out);
            }
            Event::Commit(commit) => self.enqueue(commit, &mut out),
            Event::Move(wanted) => self.on_move(wanted, &mut out),
            Event::Close => self.end_opening(),
            // Answers that come late, retries that nobody asked for.
            Event::Open | Event::Answer { .. } | Event::Retry => {}
        }
        out
    }

    /// Does what follows.
    pub(super) fn turn(&mut self, next: Next, out: &mut Vec<Action>) {
        match next {
            Next::Go(state) => {
                self.state = state;
                self.pending = Pending::Nothing;
                if let Some(call) = self.call() {
                    self.pending = Pending::Call;
                    self.latest_call.0 += 1;
                    let id = CallId(self.latest_call.0);
                    out.push(Action::Call { id, call });
                }
            }
            Next::Wait(state, why) => {
                self.state = state;
                self.pending = Pending::Wait;
                out.push(Action::Backoff { why });
            }
            Next::Over(action) => {
                self.end_opening();
                out.push(action);
            }
        }
    }

    fn end_opening(&mut self) {
        self.state = State::Over;
        self.pending = Pending::Nothing;
        self.queue.clear();
        self.unpublished.clear();
        self.waste.clear();
    }

    pub(super) fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Over)
    }

    /// The call of the present state.
    fn call(&self) -> Option<Call> {
        Some(match &self.state {
            State::New | State::Idle | State::Over => return None,
            State::Find { .. } => Call::List {
                path: self.partition_folder(),
            },
            State::Inspect { folder } => Call::List {
                path: format!("{}/{folder}", self.partition_folder()),
            },
            State::InspectEntry { path, .. } => Call::Read { path: path.clone() },
            State::Prepare { step, number } => self.prepare_call(*step, *number),
            State::Fence { from } => Call::Rename {
                from: format!("{}/{from}", self.partition_folder()),
                to: self.folder.clone(),
            },
            State::List | State::LookForCommit { .. } => Call::List {
                path: self.folder.clone(),
            },
            State::Read { left, .. } => {
                let (seq, state) = *left.front()?;
                Call::Read {
                    path: self.in_folder(&names::entry(seq, state)),
                }
            }
            State::Publish { entry, step } => self.publish_call(entry, *step)?,
            State::TakeAside { entry, step } => self.take_aside_call(entry, *step)?,
            State::Clean => Call::Delete {
                path: self.in_folder(self.waste.last()?),
                tree: false,
            },
            State::WriteAside { entry } => Call::Create {
                path: self.aside_path(entry),
                content: entry.to_json(),
            },
            State::Commit { entry } => Call::Rename {
                from: self.aside_path(entry),
                to: self.in_folder(&names::entry(entry.seq, EntryState::Committed)),
            },
            State::Roll { roll } => self.roll_call(roll)?,
        })
    }

    /// What an answer to the present state's call means.
    fn answer(&mut self, outcome: Outcome, out: &mut Vec<Action>) -> Next {
        let state = self.take_state();
        match state {
            // Housekeeping gives up at once: it is tried again some other time.
            State::Clean => self.on_clean(&outcome, out),
            State::Roll { roll } => self.on_roll(roll, outcome),
            // It surely did not happen: the same call again, for ever.
            state if matches!(outcome, Outcome::Refused(_)) => {
                Next::Wait(state, unexpected("a call was refused", outcome))
            }
            State::Find { tried } => self.on_find(tried, outcome),
            State::Inspect { folder } => self.on_inspect(folder, outcome),
            State::InspectEntry { path, seq } => self.on_inspect_entry(path, seq, outcome),
            State::Prepare { step, number } => self.on_prepare(step, number, outcome),
            State::Fence { from } => self.on_fence(from, outcome),
            State::List => self.on_list(outcome, out),
            State::Read { left, unpublished } => self.on_read(left, unpublished, outcome, out),
            State::Publish { entry, step } => self.on_publish(entry, step, outcome, out),
            State::TakeAside { entry, step } => self.on_take_aside(entry, step, outcome),
            State::WriteAside { entry } => self.on_aside(entry, outcome, out),
            State::Commit { entry } => self.on_commit(entry, outcome),
            State::LookForCommit { entry } => self.on_look_for_commit(entry, outcome),
            State::New | State::Idle | State::Over => Next::Go(state),
        }
    }

    /// `<base>/_outflow/<topic>/<partition>`
    pub fn partition_folder(&self) -> String {
        format!("{}/{}", self.logs_folder(), self.opening.partition)
    }

    /// `<base>/_outflow/<topic>`
    pub(super) fn logs_folder(&self) -> String {
        names::logs_folder(&self.opening.base, &self.opening.topic)
    }

    pub(super) fn in_folder(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// The end of an opening whose folder is gone.
    pub(super) fn fenced(&self) -> Next {
        Next::Over(Action::Fenced {
            why: Error::fenced(format!(
                "another owner has taken the log {}: {} is gone",
                self.partition_folder(),
                self.owner_folder
            )),
        })
    }
}

/// The error in an outcome, or one that says that the outcome wasn't expected.
pub(super) fn unexpected(what: &str, outcome: Outcome) -> Error {
    match outcome {
        Outcome::Refused(why) | Outcome::Unknown(why) => why,
        other => Error::unavailable(format!("{what}: the namespace answered {}", brief(&other))),
    }
}

/// An outcome in a word or two, without contents.
fn brief(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "that it was done",
        Outcome::Listed(_) => "with a listing",
        Outcome::Found { .. } => "with a file's status",
        Outcome::Content(_) => "with a file's content",
        Outcome::NotFound => "that a path is missing",
        Outcome::Exists => "that a path exists",
        Outcome::Refused(_) => "with a refusal",
        Outcome::Unknown(_) => "nothing that can be relied on",
    }
}

pub(super) fn stopped(why: Error) -> Next {
    Next::Over(Action::Stopped { why })
}
