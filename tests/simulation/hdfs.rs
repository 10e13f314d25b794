//! A sink like HDFS: ranges become durable when a file is committed, the log says where to resume, a newer
//! owner fences the older, partitions take turns, and what goes wrong is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use outflow::error::Error;
use outflow::offsets::{Epoch, Range};
use outflow::sinks::{Answer, Assignment, Record, Rejection, Sink, Slot};

use crate::elastic::rejection;
use crate::world::{Effect, Shared, World, lock, start_of};

const ROTATE_RECORDS: usize = 60;
const ROTATE_MS: u64 = 1_500;
const TURN_MS: u64 = 1_000;

/// A file commit on its way.
#[derive(Debug, Clone)]
pub struct FileCommit {
    client: u64,
    slot: Slot,
    epoch: Epoch,
    p: i32,
    fence: u64,
    attempt: u64,
    range: Range,
    records: Vec<i64>,
}

#[derive(Debug)]
pub enum FileAnswer {
    Fenced(Slot, Epoch),
    Opened(Slot, Epoch, u64, i64),
    Stopped(Slot, Epoch),
    Done(FileCommit),
    /// It failed, or there was no answer.
    Unclear(FileCommit),
}

impl World {
    fn tell_file(&mut self, client: u64, answer: FileAnswer) {
        if let Some(inbox) = self.inboxes.get_mut(&client) {
            inbox.files.push(answer);
        }
    }

    /// Somebody takes over a partition: whoever had it before is fenced from now on.
    pub fn fence(&mut self, client: u64, assignment: Assignment) {
        if self.now < self.sink_down_until || self.goes_wrong(50) {
            return self.after(100, 2_000, Effect::Fence(client, assignment));
        }
        let (slot, epoch) = (assignment.slot, assignment.epoch);
        let p = assignment.partition.partition as usize;
        if !self.open_in_sink.contains(&(client, p as i32)) {
            return; // closed, or dead, before it got through
        }
        if self.goes_wrong(20) {
            self.truth[p].excuse = Some("the sink found something wrong");
            return self.tell_file(client, FileAnswer::Stopped(slot, epoch));
        }
        let truth = &mut self.truth[p];
        truth.fence += 1;
        let end = *truth.log_end.get_or_insert(start_of(&assignment));
        truth.first.get_or_insert(end);
        let answer = FileAnswer::Opened(slot, epoch, truth.fence, end);
        let ahead = assignment
            .committed
            .is_some_and(|committed| committed > end);
        self.demand(!ahead, || {
            format!(
                "partition {p} is committed beyond its log's end {end}: a person would be needed"
            )
        });
        self.note(|| format!("hdfs: client {client} owns partition {p}, from {end}"));
        self.tell_file(client, answer);
    }

    /// The rename that is the commit point.
    pub fn file_commit(&mut self, commit: FileCommit) {
        let client = commit.client;
        if self.now < self.sink_down_until || self.goes_wrong(20) {
            return self.tell_file(client, FileAnswer::Unclear(commit));
        }
        let p = commit.p as usize;
        let truth = &mut self.truth[p];
        if truth.fence != commit.fence {
            return self.tell_file(client, FileAnswer::Fenced(commit.slot, commit.epoch));
        }
        let done_before = truth.last_attempt == commit.attempt && commit.attempt != 0;
        if !done_before {
            let end = truth.log_end.replace(commit.range.end);
            truth.last_attempt = commit.attempt;
            truth.stored.extend(&commit.records);
            truth.files.push(commit.records.clone());
            self.note(|| format!("hdfs: file {} of partition {p}", commit.range));
            self.demand(end == Some(commit.range.first), || {
                format!(
                    "I2: a file of partition {p} has {}, but the log ends at {end:?}",
                    commit.range
                )
            });
        }
        let answer = match self.goes_wrong(30) {
            true => FileAnswer::Unclear(commit),
            false => FileAnswer::Done(commit),
        };
        self.tell_file(client, answer);
    }
}

/// Whether this answer ends an epoch: what follows isn't heard.
fn ends(answer: &Answer, of: Slot, in_epoch: Epoch) -> bool {
    match answer {
        Answer::Rewind { slot, epoch, .. } | Answer::Stopped { slot, epoch, .. } => {
            (*slot, *epoch) == (of, in_epoch)
        }
        _ => false,
    }
}

struct Part {
    p: i32,
    epoch: Epoch,
    /// Set once it is open.
    fence: Option<u64>,
    reading: bool,
    turn_since: u64,
    /// The open file: from where, with which records, since when.
    first: i64,
    end: i64,
    records: Vec<i64>,
    since: u64,
    unsettled: BTreeSet<i64>,
    committing: bool,
    draining: bool,
}

pub struct SimHdfs {
    world: Shared,
    client: u64,
    parts: BTreeMap<Slot, Part>,
    attempts: u64,
    answers: Vec<Answer>,
}

impl SimHdfs {
    pub fn new(world: Shared, client: u64) -> Self {
        SimHdfs {
            world,
            client,
            parts: BTreeMap::new(),
            attempts: 0,
            answers: Vec::new(),
        }
    }

    fn held(&mut self, slot: Slot, epoch: Epoch) -> Option<&mut Part> {
        self.parts.get_mut(&slot).filter(|part| part.epoch == epoch)
    }

    /// What is said next ends this epoch, unless that was said already.
    fn bar(&mut self, world: &mut World, slot: Slot, epoch: Epoch, until_commit: bool) {
        let ended = self.answers.iter().any(|answer| ends(answer, slot, epoch));
        let client = self.client;
        if let Some(part) = self.held(slot, epoch).filter(|_| !ended) {
            world.bar(client, part.p, until_commit);
        }
    }

    fn num_reading(&self) -> usize {
        self.parts.values().filter(|part| part.reading).count()
    }

    fn hear(&mut self, world: &mut World) {
        let inbox = world.inboxes.entry(self.client).or_default();
        for answer in std::mem::take(&mut inbox.files) {
            world.activity += 1;
            match answer {
                FileAnswer::Opened(slot, epoch, fence, resume) => {
                    let reading = self.num_reading() < world.plan.open_files;
                    let Some(part) = self.held(slot, epoch) else {
                        continue;
                    };
                    (part.fence, part.first, part.end) = (Some(fence), resume, resume);
                    (part.reading, part.turn_since, part.since) = (reading, world.now, world.now);
                    self.answers.push(Answer::Opened {
                        slot,
                        epoch,
                        resume,
                        reading,
                    });
                }
                FileAnswer::Stopped(slot, epoch) => {
                    self.bar(world, slot, epoch, false);
                    let why = Error::corrupt("what was found there can't be");
                    self.answers.push(Answer::Stopped { slot, epoch, why });
                }
                FileAnswer::Fenced(slot, epoch) => {
                    self.bar(world, slot, epoch, !world.plan.fixed);
                    let why = Error::fenced("another owner has it");
                    self.answers.push(Answer::Fenced { slot, epoch, why });
                }
                FileAnswer::Done(commit) => {
                    world.circuit_open = false;
                    let (slot, epoch, range) = (commit.slot, commit.epoch, commit.range);
                    let late = match self.held(slot, epoch) {
                        Some(part) => {
                            part.committing = false;
                            false
                        }
                        None => true,
                    };
                    // Of a dead epoch: durable, and too late.
                    if !late || world.goes_wrong(500) {
                        self.answers.push(Answer::Acked { slot, epoch, range });
                    }
                }
                FileAnswer::Unclear(commit) => {
                    world.circuit_open = world.now < world.sink_down_until;
                    let (slot, epoch) = (commit.slot, commit.epoch);
                    if self.held(slot, epoch).is_none() {
                        continue;
                    }
                    if world.rng.permille(500) {
                        world.after(50, 1_000, Effect::FileCommit(commit));
                    } else {
                        let why = Error::unavailable("a write failed");
                        self.answers.push(Answer::Rewind { slot, epoch, why });
                    }
                }
            }
        }
    }

    /// Files that are full, old, or wanted at once become file commits, up to the first unsettled record.
    fn rotate(&mut self, world: &mut World) {
        for (&slot, part) in &mut self.parts {
            let Some(fence) = part.fence else { continue };
            let due = part.records.len() >= ROTATE_RECORDS
                || world.now >= part.since + ROTATE_MS
                || part.draining
                || !part.reading;
            let end = part
                .unsettled
                .first()
                .map_or(part.end, |&first| first.min(part.end));
            if part.committing || !due || end <= part.first {
                continue;
            }
            self.attempts += 1;
            let keep = part.records.partition_point(|&offset| offset < end);
            let rest = part.records.split_off(keep);
            let commit = FileCommit {
                client: self.client,
                slot,
                epoch: part.epoch,
                p: part.p,
                fence,
                attempt: self.client * 1_000_000 + self.attempts,
                range: Range::new(part.first, end),
                records: std::mem::replace(&mut part.records, rest),
            };
            (part.first, part.since, part.committing) = (end, world.now, true);
            let slow = if world.goes_wrong(50) { 8_000 } else { 400 };
            world.after(20, slow, Effect::FileCommit(commit));
        }
    }

    fn take_turns(&mut self, world: &mut World) {
        let waiting = |part: &Part| part.fence.is_some() && !part.reading && !part.draining;
        let num_waiting = self.parts.values().filter(|part| waiting(part)).count();
        for (&slot, part) in &mut self.parts {
            let over = part.reading && world.now >= part.turn_since + TURN_MS && num_waiting > 0;
            if over && !part.draining {
                part.reading = false;
                let epoch = part.epoch;
                self.answers.push(Answer::Pause {
                    slot,
                    epoch,
                    why: None,
                });
            }
        }
        let free = world.plan.open_files.saturating_sub(self.num_reading());
        let mut next: Vec<Slot> = self
            .parts
            .iter()
            .filter(|(_, part)| waiting(part) && !part.committing && part.end == part.first)
            .map(|(&slot, _)| slot)
            .collect();
        next.sort_by_key(|slot| self.parts[slot].turn_since);
        for slot in next.into_iter().take(free) {
            if let Some(part) = self.parts.get_mut(&slot) {
                (part.reading, part.turn_since, part.since) = (true, world.now, world.now);
                let epoch = part.epoch;
                self.answers.push(Answer::Resume { slot, epoch });
            }
        }
    }

    fn drain_or_fail(&mut self, world: &mut World) {
        for (&slot, part) in &mut self.parts {
            let epoch = part.epoch;
            if part.draining && !part.committing && part.end == part.first {
                part.draining = false;
                self.answers.push(Answer::Drained { slot, epoch });
            } else if part.fence.is_some() && !part.draining && world.goes_wrong(1) {
                let why = Error::unavailable("the file is gone");
                self.answers.push(Answer::Rewind { slot, epoch, why });
            }
        }
    }
}

impl Sink for SimHdfs {
    fn why_waiting(&self, slot: Slot) -> Option<String> {
        let is_reading = self.parts.get(&slot)?.reading;
        (!is_reading).then(|| "waits for its turn".to_owned())
    }

    fn open(&mut self, assignment: Assignment) {
        let mut world = lock(&self.world);
        let p = assignment.partition.partition;
        let free = !self.parts.contains_key(&assignment.slot);
        world.demand(free, || {
            format!("slot {:?} is opened twice", assignment.slot)
        });
        let part = Part {
            p,
            epoch: assignment.epoch,
            fence: None,
            reading: false,
            turn_since: world.now,
            first: start_of(&assignment),
            end: start_of(&assignment),
            records: Vec::new(),
            since: world.now,
            unsettled: BTreeSet::new(),
            committing: false,
            draining: false,
        };
        self.parts.insert(assignment.slot, part);
        world.comes_back(self.client, p);
        world.open_in_sink.insert((self.client, p));
        world.taken.remove(&(self.client, p));
        world.after(10, 200, Effect::Fence(self.client, assignment));
    }

    fn append(&mut self, record: &Record<'_>) -> Result<(), Rejection> {
        let mut world = lock(&self.world);
        let Some(part) = self.parts.get_mut(&record.slot) else {
            world.violate(format!("a record of a closed slot: {record:?}"));
            return Ok(());
        };
        let takes = part.fence.is_some() && part.reading && !part.draining;
        world.demand(takes, || {
            format!("{} is appended out of its turn", record.offset)
        });
        world.appended(self.client, part.p, part.end, record.offset);
        part.end = record.offset + 1;
        let log = &world.logs[part.p as usize];
        if log
            .records
            .get(&record.offset)
            .is_some_and(|r| r.bad_at_append || r.bad_at_server)
        {
            part.unsettled.insert(record.offset);
            return Err(rejection("not_json"));
        }
        part.records.push(record.offset);
        Ok(())
    }

    fn has_room(&self) -> bool {
        true
    }

    fn settle(&mut self, slot: Slot, epoch: Epoch, offset: i64) {
        let shared = self.world.clone();
        let mut world = lock(&shared);
        match self.held(slot, epoch) {
            Some(part) => {
                let was_refused = part.unsettled.remove(&offset);
                let p = part.p;
                world.demand(was_refused, || {
                    format!("{offset} is settled, but wasn't refused")
                });
                world.settled(p, offset);
            }
            None => world.violate(format!("{offset} is settled in a closed epoch")),
        }
    }

    fn drain(&mut self, slot: Slot, epoch: Epoch) {
        if let Some(part) = self.held(slot, epoch) {
            part.draining = true;
        }
    }

    fn close(&mut self, slot: Slot, epoch: Epoch) {
        let shared = self.world.clone();
        let mut world = lock(&shared);
        match self.held(slot, epoch).map(|part| part.p) {
            Some(p) => {
                self.parts.remove(&slot);
                world.open_in_sink.remove(&(self.client, p));
            }
            None => world.violate(format!(
                "slot {slot:?} is closed, but isn't open in {epoch}"
            )),
        }
    }

    fn poll(&mut self, _now: Instant, answers: &mut Vec<Answer>) -> Option<Instant> {
        let shared = self.world.clone();
        let world = &mut *lock(&shared);
        self.hear(world);
        self.rotate(world);
        self.take_turns(world);
        self.drain_or_fail(world);
        world.activity += self.answers.len() as u64;
        for answer in &self.answers {
            world.note(|| format!("client {}: the sink says {answer:?}", self.client));
        }
        answers.append(&mut self.answers);
        None
    }
}
