//! A sink like Elasticsearch: several requests in flight, answers in any order, in parts, late, lost or twice;
//! what is written is idempotent by id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use outflow::config::settings::CommitMode;
use outflow::error::Error;
use outflow::offsets::{Epoch, Range};
use outflow::sinks::{Answer, Assignment, Record, Rejection, Sink, Slot};

use crate::world::{Effect, Shared, World, lock, start_of};

/// Records in one request.
const BATCH: usize = 30;
const LINGER_MS: u64 = 40;

/// A bulk request on its way: (partition, offset) of each document.
#[derive(Debug)]
pub struct Bulk {
    client: u64,
    request: u64,
    documents: Vec<(i32, i64)>,
}

#[derive(Debug)]
pub struct BulkAnswer {
    request: u64,
    /// By document: done, refused, or to be tried again. `None`: no answer.
    outcomes: Option<Vec<Outcome>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
    Again,
}

impl World {
    /// A request reaches the server.
    pub fn bulk(&mut self, bulk: Bulk) {
        let answered = self.now >= self.sink_down_until && !self.goes_wrong(50);
        let mut outcomes = Vec::new();
        for &(p, offset) in bulk.documents.iter().filter(|_| answered) {
            let bad = self.logs[p as usize]
                .records
                .get(&offset)
                .is_some_and(|r| r.bad_at_server);
            outcomes.push(match () {
                () if bad => Outcome::Refused,
                () if self.goes_wrong(30) => Outcome::Again,
                () => {
                    self.truth[p as usize].stored.insert(offset);
                    Outcome::Done
                }
            });
        }
        let vanishes = self.goes_wrong(30);
        let outcomes = (answered && !vanishes).then_some(outcomes);
        if let Some(inbox) = self.inboxes.get_mut(&bulk.client) {
            inbox.bulks.push(BulkAnswer {
                request: bulk.request,
                outcomes,
            });
        }
    }
}

struct Part {
    p: i32,
    epoch: Epoch,
    opens_at: Option<(u64, i64)>,
    /// The end of what went into requests, and of what was appended.
    cut: i64,
    end: i64,
    /// A range of the open batch that has no document (all were refused at once).
    dirty: bool,
    paused_until: Option<u64>,
    draining: bool,
    rejected: BTreeSet<i64>,
}

struct Document {
    slot: Slot,
    epoch: Epoch,
    p: i32,
    offset: i64,
}

struct Request {
    documents: Vec<Document>,
    ranges: Vec<(Slot, Epoch, i32, Range)>,
    sent: bool,
    again_at: u64,
}

pub struct SimElastic {
    world: Shared,
    client: u64,
    parts: BTreeMap<Slot, Part>,
    batch: Vec<Document>,
    batch_since: u64,
    requests: BTreeMap<u64, Request>,
    last_request: u64,
    /// Answers of epochs that are over, which arrive all the same: when, and what.
    ghosts: Vec<(u64, i32, Answer)>,
}

impl SimElastic {
    pub fn new(world: Shared, client: u64) -> Self {
        SimElastic {
            world,
            client,
            parts: BTreeMap::new(),
            batch: Vec::new(),
            batch_since: 0,
            requests: BTreeMap::new(),
            last_request: 0,
            ghosts: Vec::new(),
        }
    }

    fn num_in_flight(&self) -> usize {
        let requests = self
            .requests
            .values()
            .map(|request| request.documents.len());
        requests.sum::<usize>() + self.batch.len()
    }

    /// A record in flight, but for those that only keep their own partition waiting.
    fn works_on(&self) -> Option<(i32, i64)> {
        let requests = self.requests.values().flat_map(|r| &r.documents);
        let mut documents = requests.chain(&self.batch);
        let keeps_waiting = |document: &&Document| {
            let part = self.parts.get(&document.slot);
            part.is_some_and(|part| part.paused_until.is_none() && !part.draining)
        };
        documents.find(keeps_waiting).map(|d| (d.p, d.offset))
    }

    fn is_held(&self, slot: Slot, epoch: Epoch) -> bool {
        self.parts
            .get(&slot)
            .is_some_and(|part| part.epoch == epoch)
    }

    /// The open batch becomes a request: its ranges touch those before.
    fn cut(&mut self) {
        let documents = std::mem::take(&mut self.batch);
        let mut ranges = Vec::new();
        for (&slot, part) in self.parts.iter_mut().filter(|(_, part)| part.dirty) {
            ranges.push((slot, part.epoch, part.p, Range::new(part.cut, part.end)));
            part.cut = part.end;
            part.dirty = false;
        }
        self.last_request += 1;
        let request = Request {
            documents,
            ranges,
            sent: false,
            again_at: 0,
        };
        self.requests.insert(self.last_request, request);
    }

    fn hear(&mut self, world: &mut World, answers: &mut Vec<Answer>) {
        let inbox = world.inboxes.entry(self.client).or_default();
        for BulkAnswer { request, outcomes } in std::mem::take(&mut inbox.bulks) {
            world.activity += 1;
            let Some(bulk) = self.requests.get_mut(&request) else {
                continue;
            };
            world.circuit_open = outcomes.is_none() && world.now < world.sink_down_until;
            bulk.sent = false;
            bulk.again_at = world.now + world.rng.range(50, 2_000);
            // The documents of closed partitions are gone from the request; an answer in full names the rest.
            let Some(outcomes) = outcomes.filter(|o| o.len() == bulk.documents.len()) else {
                continue;
            };
            let mut again = Vec::new();
            for (document, outcome) in bulk.documents.drain(..).zip(outcomes) {
                match outcome {
                    Outcome::Done => {}
                    Outcome::Again => again.push(document),
                    Outcome::Refused => {
                        if let Some(part) = self.parts.get_mut(&document.slot) {
                            part.rejected.insert(document.offset);
                        }
                        answers.push(Answer::Refused {
                            slot: document.slot,
                            epoch: document.epoch,
                            offset: document.offset,
                            rejection: rejection("mapper_parsing_exception"),
                        });
                    }
                }
            }
            bulk.documents = again;
        }
    }

    fn send(&mut self, world: &mut World) {
        for (&number, request) in &mut self.requests {
            if request.sent || request.documents.is_empty() || world.now < request.again_at {
                continue;
            }
            request.sent = true;
            let slow = if world.goes_wrong(50) { 20_000 } else { 150 };
            let documents = request.documents.iter().map(|d| (d.p, d.offset)).collect();
            let bulk = Bulk {
                client: self.client,
                request: number,
                documents,
            };
            world.after(5, slow, Effect::Bulk(bulk));
        }
    }

    /// Requests with nothing left to do are acked, in any order.
    fn ack(&mut self, answers: &mut Vec<Answer>) {
        let done = |request: &Request| request.documents.is_empty();
        let numbers: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, r)| done(r))
            .map(|(&n, _)| n)
            .collect();
        for number in numbers {
            let ranges = self.requests.remove(&number).map(|request| request.ranges);
            for (slot, epoch, _, range) in ranges.unwrap_or_default() {
                answers.push(Answer::Acked { slot, epoch, range });
            }
        }
    }

    fn answer_for_partitions(&mut self, world: &mut World, answers: &mut Vec<Answer>) {
        let busy: BTreeSet<Slot> = self
            .requests
            .values()
            .flat_map(|r| &r.ranges)
            .map(|&(slot, ..)| slot)
            .collect();
        for (&slot, part) in &mut self.parts {
            let epoch = part.epoch;
            let due = part
                .opens_at
                .filter(|&(at, _)| at <= world.now && world.now >= world.sink_down_until);
            if let Some((_, resume)) = due {
                part.opens_at = None;
                let reading = !world.goes_wrong(50);
                part.paused_until = (!reading).then_some(world.now + 500);
                answers.push(Answer::Opened {
                    slot,
                    epoch,
                    resume,
                    reading,
                });
            } else if part.opens_at.is_some() {
                continue;
            } else if part.draining && !part.dirty && !busy.contains(&slot) {
                part.draining = false;
                answers.push(Answer::Drained { slot, epoch });
            } else if part.paused_until.is_some_and(|until| until <= world.now) {
                part.paused_until = None;
                answers.push(Answer::Resume { slot, epoch });
            } else if part.paused_until.is_none() && world.goes_wrong(1) {
                part.paused_until = Some(world.now + world.rng.range(100, 5_000));
                let why = Some(Error::unavailable("its index is red"));
                answers.push(Answer::Pause { slot, epoch, why });
            } else if world.goes_wrong(1) {
                world.truth[part.p as usize].excuse = Some("the sink found something wrong");
                world.bar(self.client, part.p, false);
                let why = Error::misconfigured("the index is closed");
                answers.push(Answer::Stopped { slot, epoch, why });
            } else if world.goes_wrong(1) {
                let why = Error::unavailable("work was lost");
                answers.push(Answer::Rewind { slot, epoch, why });
            }
        }
    }

    /// What arrives late is true, but of an epoch that is over.
    fn haunt(&mut self, world: &mut World, answers: &mut Vec<Answer>) {
        let now = world.now;
        let due = self.ghosts.extract_if(.., |(at, ..)| *at <= now);
        for (_, p, answer) in due.collect::<Vec<_>>() {
            let is_true = match &answer {
                Answer::Acked { range, .. } => world
                    .not_final(p as usize, range.first, range.end)
                    .is_none(),
                _ => true,
            };
            if is_true {
                world.note(|| format!("client {}: a ghost says {answer:?}", self.client));
                answers.push(answer);
            }
        }
    }
}

impl Sink for SimElastic {
    fn open(&mut self, assignment: Assignment) {
        let mut world = lock(&self.world);
        let p = assignment.partition.partition;
        let free = !self.parts.contains_key(&assignment.slot);
        world.demand(free, || {
            format!("slot {:?} is opened twice", assignment.slot)
        });
        let key = (self.client, p);
        world.comes_back(self.client, p);
        let first = world.open_in_sink.insert(key);
        world.taken.remove(&key);
        world.demand(first, || format!("partition {p} is opened twice"));
        let start = start_of(&assignment);
        let opens_at = world.now + if world.goes_wrong(50) { 8_000 } else { 20 };
        let part = Part {
            p,
            epoch: assignment.epoch,
            opens_at: Some((opens_at, start)),
            cut: start,
            end: start,
            dirty: false,
            paused_until: None,
            draining: false,
            rejected: BTreeSet::new(),
        };
        self.parts.insert(assignment.slot, part);
    }

    fn append(&mut self, record: &Record<'_>) -> Result<(), Rejection> {
        let mut world = lock(&self.world);
        let num_in_flight = self.num_in_flight();
        let bounded = num_in_flight <= world.plan.budget + 64;
        world.demand(bounded, || format!("{num_in_flight} records in flight"));
        let alone = world.plan.commit_mode != CommitMode::Record || self.works_on().is_none();
        world.demand(alone, || {
            format!("{} is taken beside {:?}", record.offset, self.works_on())
        });
        let Some(part) = self.parts.get_mut(&record.slot) else {
            world.violate(format!("a record of a closed slot: {record:?}"));
            return Ok(());
        };
        let opened = part.opens_at.is_none() && !part.draining && part.paused_until.is_none();
        world.demand(opened, || {
            format!("{} is appended before opened or after drain", record.offset)
        });
        world.appended(self.client, part.p, part.end, record.offset);
        part.end = record.offset + 1;
        if !part.dirty && self.batch.is_empty() {
            self.batch_since = world.now;
        }
        part.dirty = true;
        let log = &world.logs[part.p as usize];
        if log
            .records
            .get(&record.offset)
            .is_some_and(|r| r.bad_at_append)
        {
            part.rejected.insert(record.offset);
            return Err(rejection("not_json"));
        }
        self.batch.push(Document {
            slot: record.slot,
            epoch: part.epoch,
            p: part.p,
            offset: record.offset,
        });
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.num_in_flight() < lock(&self.world).plan.budget
    }

    fn settle(&mut self, slot: Slot, epoch: Epoch, offset: i64) {
        let mut world = lock(&self.world);
        if self.is_held(slot, epoch)
            && let Some(part) = self.parts.get_mut(&slot)
        {
            let was_rejected = part.rejected.remove(&offset);
            world.demand(was_rejected, || {
                format!("{offset} is settled, but wasn't refused")
            });
            world.settled(part.p, offset);
        } else {
            world.violate(format!("{offset} is settled in a closed epoch"));
        }
    }

    fn drain(&mut self, slot: Slot, epoch: Epoch) {
        if self.is_held(slot, epoch) {
            if let Some(part) = self.parts.get_mut(&slot) {
                part.draining = true;
            }
            self.cut();
        }
    }

    fn close(&mut self, slot: Slot, epoch: Epoch) {
        let mut world = lock(&self.world);
        if !self.is_held(slot, epoch) {
            world.violate(format!(
                "slot {slot:?} is closed, but isn't open in epoch {epoch}"
            ));
            return;
        }
        let Some(part) = self.parts.remove(&slot) else {
            return;
        };
        world.open_in_sink.remove(&(self.client, part.p));
        let mut ghosts = Vec::new();
        for request in self.requests.values_mut() {
            request.documents.retain(|document| document.slot != slot);
            let gone = request.ranges.extract_if(.., |(of, ..)| *of == slot);
            for (slot, epoch, _, range) in gone {
                ghosts.push(Answer::Acked { slot, epoch, range });
            }
        }
        self.batch.retain(|document| document.slot != slot);
        for offset in part.rejected {
            ghosts.push(Answer::Refused {
                slot,
                epoch,
                offset,
                rejection: rejection("late"),
            });
        }
        for ghost in ghosts {
            if world.goes_wrong(500) {
                let at = world.now + world.rng.range(0, 3_000);
                self.ghosts.push((at, part.p, ghost));
            }
        }
    }

    fn poll(&mut self, _now: Instant, answers: &mut Vec<Answer>) -> Option<Instant> {
        let shared = self.world.clone();
        let world = &mut *lock(&shared);
        self.hear(world, answers);
        let lingers = world.now < self.batch_since + LINGER_MS;
        let dirty = self.parts.values().any(|part| part.dirty);
        if dirty && (self.batch.len() >= BATCH || !lingers) {
            self.cut();
        }
        self.send(world);
        self.ack(answers);
        self.answer_for_partitions(world, answers);
        self.haunt(world, answers);
        world.activity += answers.len() as u64;
        for answer in &*answers {
            world.note(|| format!("client {}: the sink says {answer:?}", self.client));
        }
        None
    }
}

pub fn rejection(reason: &str) -> Rejection {
    Rejection {
        reason: reason.to_owned(),
        detail: "in a few words".to_owned(),
        status: None,
    }
}
