//! The world of the model: two owners that run the real [`CommitLog`], a namespace, Kafka's committed offset,
//! people, and what may go wrong.

use std::hash::{Hash, Hasher};

use outflow::error::Error;
use outflow::offsets::Range;
use outflow::sinks::hdfs::log::{
    Action, Call, CallId, Commit, CommitLog, Entry, Event, FileEntry, Guards, Identity, Move,
    Opening, Outcome, names,
};

use crate::namespace::{Content, Misuse, Namespace, Node, bytes_of};
use crate::shared::Shared;

pub const BASE: &str = "/b";
pub const TOPIC: &str = "t";

/// How often each fault may happen, and what the world is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Records in the topic.
    pub records: i64,
    /// Openings of both owners together.
    pub openings: u8,
    /// Crashes, or openings that are closed. The call under way may still arrive, at any time.
    pub crashes: u8,
    /// Answers lost: the call happened, didn't, happened in part, or arrives at any time later.
    pub lost: u8,
    /// What people do: move published files away, put files in the way, remove empty folders.
    pub meddling: u8,
    /// How often the topic is created again.
    pub topics: u8,
    /// How often the group's offset is reset, to anything.
    pub resets: u8,
    /// How often a third party moves the log (and takes it over, if it is of another topic), to anywhere.
    pub moves: u8,
    /// Whether reads may be answered as of an earlier time (one, but any).
    pub stale_reads: bool,
    /// Whether commits may hold two files, or none (all records refused).
    pub other_commits: bool,
    /// Whether the log exists at the beginning.
    pub has_log: bool,
    /// How many entries go into a history file.
    pub roll_at: usize,
    /// How many records a commit may have.
    pub most: i64,
}

impl Bounds {
    /// One owner, nothing goes wrong.
    pub const CALM: Bounds = Bounds {
        records: 2,
        openings: 1,
        crashes: 0,
        lost: 0,
        meddling: 0,
        topics: 0,
        resets: 0,
        moves: 0,
        stale_reads: false,
        other_commits: false,
        has_log: true,
        roll_at: 100,
        most: 2,
    };
}

/// The duties of those around the log, each of which can be neglected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Neglect {
    pub namespace: Misuse,
    /// Both owners call themselves the same.
    pub owner_ids_repeat: bool,
    /// A commit is handed over while its file is still open.
    pub hands_over_open_files: bool,
    /// Temp files that were handed over are deleted when the opening ends.
    pub deletes_what_it_handed_over: bool,
    /// Kafka's offset follows what was handed over, not what was acked.
    pub kafka_runs_ahead: bool,
    /// A log is moved back, and the files of what is written again stay in the tree.
    pub leaves_replaced_files: bool,
}

/// An id that doesn't count when states are compared: the log ignores its value but for equality.
#[derive(Debug, Clone, Copy)]
pub struct Id(CallId);

impl PartialEq for Id {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// One opening, with the driver's part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Session {
    pub log: CommitLog,
    id: String,
    topic: u8,
    committed: Option<i64>,
    pub call: Option<(Id, Call)>,
    pub is_open: bool,
    /// The next offset to read.
    next: i64,
    temps: u64,
    /// The temp file that is open.
    open_temp: Option<String>,
    /// Temp files that were handed over while open (a neglect), and what they'll hold.
    unwritten: Vec<(String, Content)>,
    handed_over: Vec<String>,
    /// Whether the group was found empty since: Kafka takes no commit of this session's any more.
    expelled: bool,
}

/// The third party that moves the log, one step at a time. It has looked at the log and at Kafka's offset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mover {
    what: Move,
    /// Whether Kafka's offset was set: before the log goes back, after it goes forward.
    has_set_offset: bool,
    goes_back: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Owner {
    pub session: Option<Session>,
    /// What was acked and isn't committed in Kafka yet.
    acked: Option<i64>,
    openings: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub namespace: Shared,
    /// The namespace as of an earlier time, for stale reads.
    earlier: Option<Shared>,
    /// Two owners, and the place of who moves the log.
    pub owners: [Owner; 3],
    mover: Option<Mover>,
    /// Whether somebody has begun to move the log.
    pub was_moved: bool,
    /// Calls that may still arrive.
    late: Vec<Call>,
    pub committed: Option<i64>,
    /// The topic's generation.
    pub topic: u8,
    left: Bounds,
    /// Records that people took, in files of ours.
    pub taken: Vec<(u8, i64, i64)>,
    /// Whether a person, or a stale read, gave cause for stopping.
    pub has_cause: bool,
    pub was_reset: bool,
    /// What must not have happened, if it has.
    pub wrong: Option<String>,
}

/// A step of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Open(usize),
    Answer(usize),
    AnswerStale(usize),
    Lose(usize, Fate),
    Crash(usize),
    CreateTemp(usize),
    /// Close the temp file with so many records, and hand the commit over.
    Commit(usize, i64),
    CommitTwoFiles(usize),
    CommitNothing(usize),
    WriteLate(usize),
    KafkaCommit(usize),
    Arrive(usize, bool),
    Remember,
    TakeFile(String),
    PutFile(i64),
    /// A clean-up job removes an entry that was written aside.
    RemoveAside(String),
    RemoveFolder(String),
    RecreateTopic,
    ResetOffset(i64),
    /// Look at the log, and decide to go on there.
    PlanMove(i64),
    SetOffset,
    OpenToMove,
}

/// The place of who moves the log, among the owners.
const MOVER: usize = 2;

/// What became of a call whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Happened,
    HappenedInPart,
    NeverHappens,
    HappensLater,
}

fn is_mutation(call: &Call) -> bool {
    !matches!(
        call,
        Call::List { .. } | Call::Stat { .. } | Call::Read { .. }
    )
}

pub fn identity(topic: u8) -> Identity {
    Identity {
        cluster_id: "c".to_owned(),
        topic_id: format!("id{topic}"),
        group: "g".to_owned(),
    }
}

fn opening(id: &str, topic: u8, committed: Option<i64>, start: i64) -> Opening {
    Opening {
        base: BASE.to_owned(),
        topic: TOPIC.to_owned(),
        partition: 0,
        owner: id.to_owned(),
        identity: identity(topic),
        committed,
        start: Some(start),
        takes_over: None,
    }
}

/// The files of these entries that no move has taken out of the tree.
pub fn live(entries: &[Entry]) -> Vec<&FileEntry> {
    let mut live: Vec<&FileEntry> = Vec::new();
    for entry in entries {
        if let Some(moved) = &entry.moved {
            live.retain(|file| !moved.aside.contains(&file.path));
        }
        live.extend(&entry.files);
    }
    live
}

fn final_path(first: i64, last: i64, folder: &str) -> String {
    let path = names::PartitionPath::new().field("p", Some(folder.as_bytes()));
    names::final_path(
        TOPIC,
        &path,
        &names::FileName::new(TOPIC, 0, first, last, "jsonl"),
    )
}

impl World {
    pub fn new(bounds: Bounds, guards: Guards, neglect: Neglect) -> Self {
        let mut world = World {
            namespace: Shared::new(Namespace::with_base(BASE)),
            earlier: None,
            owners: Default::default(),
            mover: None,
            was_moved: false,
            late: Vec::new(),
            committed: None,
            topic: 0,
            left: bounds,
            taken: Vec::new(),
            has_cause: false,
            was_reset: false,
            wrong: None,
        };
        if bounds.has_log {
            world.left.openings += 1;
            world.take(Step::Open(0), guards, neglect);
            while world.owners[0].session.as_ref().is_some_and(|s| !s.is_open) {
                world.take(Step::Answer(0), guards, neglect);
            }
            world.owners[0].session = None;
        }
        world
    }

    /// The steps that are possible.
    pub fn steps(&self, steps: &mut Vec<Step>) {
        if self.wrong.is_some() {
            return;
        }
        for (i, owner) in self.owners.iter().enumerate() {
            match &owner.session {
                None if i != MOVER && self.left.openings > 0 => steps.push(Step::Open(i)),
                None => {}
                Some(session) => self.session_steps(i, session, steps),
            }
            if owner.acked.is_some() {
                steps.push(Step::KafkaCommit(i));
            }
        }
        for (i, call) in self.late.iter().enumerate() {
            steps.push(Step::Arrive(i, false));
            if matches!(call, Call::Create { .. }) {
                steps.push(Step::Arrive(i, true));
            }
        }
        if self.left.stale_reads && self.earlier.is_none() {
            steps.push(Step::Remember);
        }
        if self.left.meddling > 0 {
            self.meddling(steps);
        }
        if self.left.topics > 0 {
            steps.push(Step::RecreateTopic);
        }
        if self.left.resets > 0 {
            steps.extend((0..=self.left.records).map(Step::ResetOffset));
        }
        if self.left.moves > 0 {
            steps.extend((0..=self.left.records).map(Step::PlanMove));
        }
        if let Some(mover) = &self.mover {
            if !mover.has_set_offset && (mover.goes_back || self.log_end() == Some(mover.what.to)) {
                steps.push(Step::SetOffset);
            }
            if (mover.has_set_offset || !mover.goes_back) && self.owners[MOVER].openings == 0 {
                steps.push(Step::OpenToMove);
            }
        }
    }

    fn session_steps(&self, i: usize, session: &Session, steps: &mut Vec<Step>) {
        if let Some((_, call)) = &session.call {
            steps.push(Step::Answer(i));
            if !is_mutation(call) && self.earlier.is_some() {
                steps.push(Step::AnswerStale(i));
            }
            if self.left.lost > 0 && is_mutation(call) {
                let fates = [Fate::Happened, Fate::NeverHappens, Fate::HappensLater];
                steps.extend(fates.map(|fate| Step::Lose(i, fate)));
                if matches!(call, Call::Create { .. }) {
                    steps.push(Step::Lose(i, Fate::HappenedInPart));
                }
            }
        }
        if self.left.crashes > 0 {
            steps.push(Step::Crash(i));
        }
        if !session.unwritten.is_empty() {
            steps.push(Step::WriteLate(i));
        }
        let left = self.left.records - session.next;
        if i == MOVER {
            return;
        }
        if session.is_open && session.open_temp.is_none() && left > 0 {
            steps.push(Step::CreateTemp(i));
            if self.left.other_commits {
                steps.push(Step::CommitNothing(i));
            }
        }
        if session.open_temp.is_some() {
            steps.extend((1..=left.min(self.left.most)).map(|records| Step::Commit(i, records)));
            if self.left.other_commits && left > 1 {
                steps.push(Step::CommitTwoFiles(i));
            }
        }
    }

    fn meddling(&self, steps: &mut Vec<Step>) {
        let ours = format!("{BASE}/{TOPIC}/");
        for (path, ..) in self
            .namespace
            .files()
            .filter(|(path, ..)| path.starts_with(&ours))
        {
            steps.push(Step::TakeFile(path.to_owned()));
        }
        for path in self
            .namespace
            .folders()
            .filter(|path| path.starts_with(&ours))
        {
            if self.namespace.is_empty_folder(path) {
                steps.push(Step::RemoveFolder(path.to_owned()));
            }
        }
        steps.extend((0..self.left.records).map(Step::PutFile));
        for (path, ..) in self
            .namespace
            .files()
            .filter(|(path, ..)| path.ends_with(".entry"))
        {
            steps.push(Step::RemoveAside(path.to_owned()));
        }
    }

    /// Takes a step.
    pub fn take(&mut self, step: Step, guards: Guards, neglect: Neglect) {
        match step {
            Step::Open(i) => self.open(i, guards, neglect),
            Step::Answer(i) => {
                let Some(call) = self.call_of(i) else { return };
                let outcome = self.perform(&call, neglect);
                self.must_be_ours(i, &call, &outcome);
                self.answer(i, outcome, neglect);
            }
            Step::AnswerStale(i) => {
                let (Some(call), Some(earlier)) = (self.call_of(i), &self.earlier) else {
                    return;
                };
                let outcome = earlier.read(&call);
                if outcome != self.namespace.read(&call) {
                    self.has_cause = true;
                }
                let Some(outcome) = outcome else { return };
                self.answer(i, outcome, neglect);
            }
            Step::Lose(i, fate) => {
                let Some(call) = self.call_of(i) else { return };
                self.left.lost -= 1;
                match fate {
                    Fate::Happened => _ = self.perform(&call, neglect),
                    Fate::HappenedInPart => self.perform_in_part(&call, neglect),
                    Fate::NeverHappens => {}
                    Fate::HappensLater => self.arrives_late(call),
                }
                let outcome = Outcome::Unknown(Error::unavailable("the answer was lost"));
                self.answer(i, outcome, neglect);
            }
            Step::Crash(i) => {
                self.left.crashes -= 1;
                if let Some(call) = self.call_of(i).filter(is_mutation) {
                    self.arrives_late(call);
                }
                self.end(i, neglect);
            }
            Step::Arrive(at, in_part) => {
                let call = self.late.remove(at);
                match in_part {
                    false => _ = self.perform(&call, neglect),
                    true => self.perform_in_part(&call, neglect),
                }
            }
            Step::KafkaCommit(i) => self.committed = self.owners[i].acked.take(),
            Step::CreateTemp(i) => self.create_temp(i, neglect),
            Step::Commit(i, records) => self.commit(i, &[records], neglect),
            Step::CommitTwoFiles(i) => self.commit(i, &[1, 1], neglect),
            Step::CommitNothing(i) => self.commit(i, &[], neglect),
            Step::WriteLate(i) => {
                if let Some(session) = &mut self.owners[i].session
                    && let Some((name, content)) = session.unwritten.pop()
                {
                    self.namespace.change(|names| names.close(&name, content));
                }
            }
            Step::Remember => self.earlier = Some(self.namespace.clone()),
            Step::TakeFile(path) => self.take_file(&path),
            Step::PutFile(offset) => {
                self.meddle();
                let path = format!("{BASE}/{}", final_path(offset, offset, "x"));
                let folder = path
                    .rsplit_once('/')
                    .map_or("", |(folder, _)| folder)
                    .to_owned();
                let make = Call::MakeDir {
                    path: folder,
                    parents: true,
                };
                self.namespace.change(|names| {
                    names.perform(&make, Misuse::default());
                    let _ = names.create(&path, Content::Foreign, true, Misuse::default());
                });
            }
            Step::RemoveFolder(path) => {
                // No cause for stopping.
                self.left.meddling -= 1;
                self.namespace.change(|names| names.remove(&path));
            }
            Step::RemoveAside(path) => {
                self.meddle();
                self.namespace.change(|names| names.remove(&path));
            }
            Step::RecreateTopic => {
                self.left.topics -= 1;
                self.topic += 1;
                self.committed = None;
                self.owners.iter_mut().for_each(|owner| owner.acked = None);
                self.has_cause = true;
            }
            Step::PlanMove(to) => self.plan_move(to, neglect),
            Step::SetOffset => self.set_offset(),
            Step::OpenToMove => self.open(MOVER, guards, neglect),
            Step::ResetOffset(to) => {
                self.left.resets -= 1;
                self.committed = Some(to);
                self.was_reset = true;
                self.has_cause = true;
            }
        }
    }

    fn perform(&mut self, call: &Call, neglect: Neglect) -> Outcome {
        match self.namespace.read(call) {
            Some(outcome) => outcome,
            None => self
                .namespace
                .change(|names| names.perform(call, neglect.namespace)),
        }
    }

    fn perform_in_part(&mut self, call: &Call, neglect: Neglect) {
        self.namespace
            .change(|names| names.perform_in_part(call, neglect.namespace));
    }

    /// What a new owner makes of this world if nothing goes wrong any more. `None`: it stops, with a cause.
    pub fn recover(&self, guards: Guards) -> Option<World> {
        let (mut world, neglect) = (self.clone(), Neglect::default());
        world.late.clear();
        world.left = Bounds {
            openings: 1,
            records: self.left.records,
            ..Bounds::CALM
        };
        world
            .owners
            .iter_mut()
            .for_each(|owner| owner.session = None);
        world.open(0, guards, neglect);
        while let Some(session) = &world.owners[0].session
            && world.wrong.is_none()
        {
            let step = match (&session.call, &session.open_temp) {
                (Some(_), _) => Step::Answer(0),
                (None, Some(_)) => Step::Commit(0, 1),
                (None, None) if session.next < self.left.records => Step::CreateTemp(0),
                (None, None) => return Some(world),
            };
            world.take(step, guards, neglect);
        }
        if world.wrong.is_none() && !world.has_cause {
            world.wrong = Some("a new owner can't open the log".to_owned());
        }
        world.wrong.is_some().then_some(world)
    }

    /// A step in words.
    pub fn tell(&self, step: &Step) -> String {
        let (Step::Answer(i) | Step::AnswerStale(i) | Step::Lose(i, _) | Step::Crash(i)) = step
        else {
            return format!("{step:?}\n");
        };
        let call = self.owners[*i]
            .session
            .as_ref()
            .and_then(|session| session.call.as_ref());
        format!("{step:?}: {:?}\n", call.map(|(_, call)| call))
    }

    fn meddle(&mut self) {
        self.left.meddling -= 1;
        self.has_cause = true;
    }

    fn take_file(&mut self, path: &str) {
        self.meddle();
        if let Some(Node::File {
            content: Content::Records { topic, first, end },
            ..
        }) = self.namespace.change(|names| names.remove(path))
        {
            self.taken.push((topic, first, end));
            self.taken.sort_unstable();
        }
    }

    fn arrives_late(&mut self, call: Call) {
        self.late.push(call);
        self.late.sort_by_cached_key(|call| format!("{call:?}"));
    }

    fn call_of(&mut self, i: usize) -> Option<Call> {
        let session = self.owners[i].session.as_ref()?;
        session.call.as_ref().map(|(_, call)| call.clone())
    }

    fn open(&mut self, i: usize, guards: Guards, neglect: Neglect) {
        if i != MOVER {
            self.left.openings -= 1;
        }
        let id = match neglect.owner_ids_repeat {
            true => "same".to_owned(),
            false => format!("{}{}", ["a", "b", "m"][i], self.owners[i].openings),
        };
        self.owners[i].openings += 1;
        // Where `latest` was resolved, both may have seen another end.
        let start = self
            .committed
            .unwrap_or(if self.left.has_log { 0 } else { i as i64 });
        let mut opening = opening(&id, self.topic, self.committed, start);
        if let Some(mover) = self.mover.as_ref().filter(|_| i == MOVER) {
            opening.committed = None;
            opening.takes_over = mover.what.was.clone();
        }
        self.owners[i].session = Some(Session {
            log: CommitLog::with_guards(opening, guards, self.left.roll_at),
            id,
            topic: self.topic,
            committed: self.committed.filter(|_| i != MOVER),
            call: None,
            is_open: false,
            next: 0,
            temps: 0,
            open_temp: None,
            unwritten: Vec::new(),
            handed_over: Vec::new(),
            expelled: false,
        });
        self.event(i, Event::Open, neglect);
    }

    fn answer(&mut self, i: usize, outcome: Outcome, neglect: Neglect) {
        let Some(session) = &mut self.owners[i].session else {
            return;
        };
        let Some((Id(id), _)) = session.call.take() else {
            return;
        };
        self.event(i, Event::Answer { id, outcome }, neglect);
    }

    /// Tells the log something and does what it says, as the driver does.
    fn event(&mut self, i: usize, event: Event, neglect: Neglect) {
        let Some(session) = &mut self.owners[i].session else {
            return;
        };
        let mut actions = session.log.step(event);
        if let Some(Action::Backoff { .. }) = actions.last() {
            // Waiting is left out: a call that is under way for long shows all that waiting would.
            actions.pop();
            actions.extend(session.log.step(Event::Retry));
        }
        for action in actions {
            let Some(session) = &mut self.owners[i].session else {
                return;
            };
            match action {
                Action::Call { id, call } => session.call = Some((Id(id), call)),
                Action::Backoff { .. } => self.wrong = Some("waits twice".to_owned()),
                Action::Opened { resume } => {
                    session.is_open = true;
                    session.next = resume;
                    self.opened(i, resume);
                    self.move_if_mover(i, neglect);
                }
                Action::Committed { .. } if i == MOVER => self.end(i, neglect),
                Action::Committed { .. } if session.expelled => {}
                Action::Committed { range } => self.owners[i].acked = Some(range.end),
                Action::Rewind { why } => {
                    self.must_have_cause(format!("rewinds without a cause: {why}"));
                    self.end(i, neglect);
                }
                Action::Stopped { why } => {
                    self.must_have_cause(format!("stops without a cause: {why}"));
                    self.end(i, neglect);
                }
                Action::Fenced { .. } => self.end(i, neglect),
            }
        }
        let Some(session) = &self.owners[i].session else {
            return;
        };
        if session.call.is_none() && !session.log.is_idle() {
            self.wrong = Some("the log is stuck".to_owned());
        }
    }

    fn must_have_cause(&mut self, wrong: String) {
        if !self.has_cause {
            self.wrong = Some(wrong);
        }
    }

    fn end(&mut self, i: usize, neglect: Neglect) {
        let Some(session) = self.owners[i].session.take() else {
            return;
        };
        if neglect.deletes_what_it_handed_over {
            for temp in &session.handed_over {
                let path = format!("{}/{temp}", session.log.folder());
                self.namespace.change(|names| names.remove(&path));
            }
        }
    }

    fn opened(&mut self, i: usize, resume: i64) {
        let Some(session) = &self.owners[i].session else {
            return;
        };
        // Fenced already, or something else is wrong and is found elsewhere.
        let Ok(Some((folder, entries))) = self.namespace.log() else {
            return;
        };
        if folder != session.log.folder() {
            return;
        }
        let end = entries.last().map_or(0, |entry| entry.end);
        if resume != end {
            self.wrong = Some(format!("reads on at {resume}, and the log ends at {end}"));
        } else if session.committed.is_some_and(|committed| committed > end) {
            self.wrong = Some("opens a log that ends before Kafka's offset".to_owned());
        } else if entries
            .last()
            .is_some_and(|entry| i != MOVER && entry.identity != identity(session.topic))
        {
            self.wrong = Some("opens a log of another topic".to_owned());
        }
    }

    fn log_end(&self) -> Option<i64> {
        let (_, entries) = self.namespace.log().ok().flatten()?;
        entries.last().map(|entry| entry.end)
    }

    /// What `outflow group reset` and `outflow adopt` make of the log as it is now: none where a commit would be
    /// cut in two.
    fn plan_move(&mut self, to: i64, neglect: Neglect) {
        self.left.moves -= 1;
        let Ok(Some((_, entries))) = self.namespace.log() else {
            return;
        };
        let Some(newest) = entries.last() else { return };
        let live = live(entries);
        if live.iter().any(|file| file.first < to && to <= file.last) {
            return;
        }
        let ours = newest.identity == identity(self.topic);
        let again = live.iter().filter(|file| ours && file.first >= to);
        let aside = match neglect.leaves_replaced_files {
            true => Vec::new(),
            false => again.map(|file| file.path.clone()).collect(),
        };
        self.mover = Some(Mover {
            what: Move {
                from: newest.end,
                to,
                by: "reset".to_owned(),
                was: (!ours).then(|| newest.identity.clone()),
                aside,
            },
            has_set_offset: false,
            goes_back: self.committed.is_some_and(|committed| to < committed),
        });
        self.has_cause = true;
        self.was_reset = true;
        self.was_moved = true;
    }

    /// Kafka takes an offset without a membership from a group that is empty: whoever holds a session isn't a
    /// member any more.
    fn set_offset(&mut self) {
        let Some(mover) = &mut self.mover else { return };
        mover.has_set_offset = true;
        self.committed = Some(mover.what.to);
        for owner in &mut self.owners {
            owner.acked = None;
            if let Some(session) = &mut owner.session {
                session.expelled = true;
            }
        }
    }

    fn move_if_mover(&mut self, i: usize, neglect: Neglect) {
        if let Some(mover) = self.mover.as_ref().filter(|_| i == MOVER) {
            let what = mover.what.clone();
            self.event(i, Event::Move(what), neglect);
        }
    }

    /// Whoever fences a log must belong to it.
    fn must_be_ours(&mut self, i: usize, call: &Call, outcome: &Outcome) {
        let Some(session) = &self.owners[i].session else {
            return;
        };
        if let (Call::Rename { to, .. }, Outcome::Done) = (call, outcome)
            && to == session.log.folder()
            && i != MOVER
            && !self.was_moved
            && let Ok(Some((_, entries))) = self.namespace.log()
            && entries
                .iter()
                .any(|entry| entry.identity != identity(session.topic))
        {
            self.wrong = Some("fences the log of another topic".to_owned());
        }
    }

    /// What was acked and isn't in Kafka yet, of both owners.
    pub fn acked(&self) -> impl Iterator<Item = i64> {
        self.owners.iter().filter_map(|owner| owner.acked)
    }

    fn create_temp(&mut self, i: usize, neglect: Neglect) {
        let Some(session) = &mut self.owners[i].session else {
            return;
        };
        session.temps += 1;
        let name = names::temp(&session.id, session.temps);
        let path = format!("{}/{name}", session.log.folder());
        let content = Content::Bytes(Vec::new());
        match self
            .namespace
            .change(|names| names.create(&path, content, false, neglect.namespace))
        {
            Ok(()) => session.open_temp = Some(name),
            // The folder is gone: fenced.
            Err(_) => self.end(i, neglect),
        }
    }

    /// Closes the open temp file, makes what else is needed, and hands the commit over.
    fn commit(&mut self, i: usize, records: &[i64], neglect: Neglect) {
        let Some(session) = &mut self.owners[i].session else {
            return;
        };
        let first = session.next;
        let mut files = Vec::new();
        for (n, records) in records.iter().enumerate() {
            if n > 0 {
                self.create_temp(i, neglect);
            }
            let Some(session) = &mut self.owners[i].session else {
                return;
            };
            let Some(temp) = session.open_temp.take() else {
                return;
            };
            let end = session.next + records;
            let content = Content::Records {
                topic: session.topic,
                first: session.next,
                end,
            };
            let bytes = bytes_of(&content);
            if neglect.hands_over_open_files {
                session.unwritten.push((temp.clone(), content));
            } else if !self.namespace.change(|names| names.close(&temp, content)) {
                // Somebody deleted it: the write failed, all is read again.
                return self.end(i, neglect);
            }
            session.handed_over.push(temp.clone());
            let path = final_path(session.next, end - 1, ["x", "y"][n]);
            let (first, last) = (session.next, end - 1);
            let records = *records as u64;
            files.push(FileEntry {
                temp,
                path,
                records,
                bytes,
                first,
                last,
                origins: Vec::new(),
            });
            session.next = end;
        }
        let Some(session) = &mut self.owners[i].session else {
            return;
        };
        if records.is_empty() {
            session.next += 1;
        }
        let range = Range::new(first, session.next);
        if neglect.kafka_runs_ahead {
            self.owners[i].acked = Some(range.end);
        }
        self.event(
            i,
            Event::Commit(Commit {
                range,
                leader_epoch: 1,
                files,
            }),
            neglect,
        );
    }
}
