//! The simulated client of one worker. It checks what a worker may ask of a source, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outflow::config::settings::CommitMode;
use outflow::offsets::{Epoch, TopicPartition};
use outflow::pipeline::source::{Broken, Commit, Source, SourceEvent};
use outflow::sinks::{Record, Slot, Waker};

use crate::kafka::{CommitFate, SentCommit, id_of};
use crate::world::{Effect, Shared, World, lock};

/// Most records in one go: the simulated machine is small.
const AT_ONCE: usize = 64;
/// A worker may go on without an answer to its last commit after this long.
const COMMIT_TIMEOUT_MS: u64 = 5_000;
/// And any worker without an answer to any commit after this long.
const FORGOTTEN_MS: u64 = 60_000;

pub struct SimSource {
    world: Shared,
    client: u64,
    member: Option<u64>,
    /// What it has without a group: told once.
    fixed: Option<Vec<i32>>,
    rejoins_at: u64,
    /// When the client finds out that it is out of the group.
    learns_at: Option<u64>,
    held: BTreeSet<i32>,
    revoked: BTreeMap<i32, u64>,
    lost: BTreeSet<i32>,
    started: BTreeMap<i32, Started>,
    pending: Vec<(u64, u64, Vec<i32>)>,
    /// Every commit without an answer, by its number.
    unanswered: BTreeMap<u64, Unanswered>,
    /// What this client knows to be committed, of what it holds.
    confirmed: BTreeMap<i32, i64>,
    last_arrival: u64,
    last_number: u64,
}

struct Unanswered {
    since: u64,
    parts: BTreeMap<i32, i64>,
}

struct Started {
    slot: Slot,
    next: i64,
    leader_epoch: i32,
}

impl SimSource {
    pub fn new(world: Shared, client: u64, index: usize) -> Self {
        let (member, fixed) = {
            let mut world = lock(&world);
            let mine = (index..world.plan.partitions).step_by(world.plan.workers);
            match world.plan.fixed {
                true => {
                    world.inboxes.entry(client).or_default();
                    (None, Some(mine.map(|p| p as i32).collect()))
                }
                false => (Some(world.join(client)), None),
            }
        };
        SimSource {
            world,
            client,
            member,
            fixed,
            rejoins_at: 0,
            learns_at: None,
            held: BTreeSet::new(),
            revoked: BTreeMap::new(),
            lost: BTreeSet::new(),
            started: BTreeMap::new(),
            pending: Vec::new(),
            unanswered: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            last_arrival: 0,
            last_number: 0,
        }
    }

    /// Heartbeats; and what happens to a client that is out of the group.
    fn keep_membership(&mut self, world: &mut World, events: &mut Vec<SourceEvent>) {
        if world.plan.fixed {
            let mine = self.fixed.take().unwrap_or_default();
            self.held.extend(&mine);
            let ids: Vec<_> = mine.into_iter().map(id_of).collect();
            events.extend((!ids.is_empty()).then_some(SourceEvent::Assigned(ids)));
            return;
        }
        if world.now < world.kafka_down_until {
            return;
        }
        let now = world.now;
        match self.member {
            Some(id) => match world.group.members.get_mut(&id) {
                Some(member) => member.last_seen = now,
                None => {
                    let delay = world.rng.range(0, 3_000);
                    let learns_at = *self.learns_at.get_or_insert(now + delay);
                    if now >= learns_at {
                        self.lose_everything(world, events);
                    }
                }
            },
            None if self.held.is_empty() && now >= self.rejoins_at => {
                self.member = Some(world.join(self.client));
            }
            None => {}
        }
    }

    fn lose_everything(&mut self, world: &mut World, events: &mut Vec<SourceEvent>) {
        self.member = None;
        self.learns_at = None;
        self.rejoins_at = world.now + world.rng.range(50, 2_000);
        self.lost = self.held.clone();
        if !self.lost.is_empty() {
            world.note(|| format!("client {}: loses {:?}", self.client, self.lost));
            let ids = self.lost.iter().map(|&p| id_of(p)).collect();
            events.push(SourceEvent::Lost(ids));
        }
    }

    /// What the client has to hand over now.
    fn collect(&mut self, world: &mut World, events: &mut Vec<SourceEvent>) {
        let inbox = world.inboxes.entry(self.client).or_default();
        for (member, event) in std::mem::take(&mut inbox.events) {
            if member.is_some() && member != self.member {
                continue; // of a membership that is over
            }
            match &event {
                SourceEvent::Assigned(ids) => self.held.extend(ids.iter().map(|id| id.partition)),
                SourceEvent::Revoked(ids) => {
                    let now = world.now;
                    self.revoked
                        .extend(ids.iter().map(|id| (id.partition, now)));
                }
                SourceEvent::Located { partition, .. }
                    if !self.held.contains(&partition.partition) =>
                {
                    continue;
                }
                SourceEvent::Located {
                    partition, found, ..
                } => {
                    let committed = found.as_ref().ok().and_then(|l| l.committed.as_ref());
                    if let Some(committed) = committed {
                        self.confirmed.insert(partition.partition, committed.offset);
                    }
                }
                SourceEvent::Broken { partition, .. } => {
                    self.started.remove(&partition.partition);
                }
                SourceEvent::CommittedInPart { number, partitions } => {
                    let mut commit = self.unanswered.get_mut(number);
                    for p in partitions.iter().map(|id| id.partition) {
                        let taken = commit.as_mut().and_then(|commit| commit.parts.remove(&p));
                        self.confirmed.extend(taken.map(|offset| (p, offset)));
                    }
                }
                SourceEvent::Committed { number, result } => {
                    let answered = self.unanswered.remove(number);
                    if let (Some(answered), Ok(())) = (answered, result) {
                        self.confirmed.extend(answered.parts);
                    }
                    // Commits don't overtake each other: those before are over, too.
                    self.pending.retain(|(pending, ..)| pending > number);
                }
                _ => {}
            }
            world.note(|| format!("client {} hears {event:?}", self.client));
            world.activity += 1;
            events.push(event);
        }
    }

    /// A partition isn't kept longer than draining and the last commit may take.
    fn check_revocations(&self, world: &mut World) {
        let bound = world.plan.drain_timeout_ms + COMMIT_TIMEOUT_MS + 2_500;
        let late = self
            .revoked
            .iter()
            .find(|&(_, &since)| world.now - since > bound);
        // An end takes a revocation over, and has a bound of its own.
        let excused = world.frozen_lately(self.client) || world.leaving.contains_key(&self.client);
        if let (Some((p, since)), false) = (late, excused) {
            world.violate(format!(
                "partition {p}, revoked at {since} ms, isn't given back"
            ));
        }
    }

    /// Holes at the end of a log are passed, as the client passes transactions' markers.
    fn reach_ends(&mut self, world: &World) -> Vec<(Slot, i64)> {
        if world.now < world.kafka_down_until {
            return Vec::new();
        }
        let mut ends = Vec::new();
        for (&p, started) in &mut self.started {
            let log = &world.logs[p as usize];
            let at_end = log.records.range(started.next..).next().is_none();
            if at_end && started.next >= log.log_start && started.next < log.log_end {
                started.next = log.log_end;
                ends.push((started.slot, log.log_end));
            }
        }
        ends
    }

    /// Where commits are synchronous nothing is taken while one with news is unanswered.
    fn check_waits_for_commits(&self, world: &mut World) {
        if !matches!(
            world.plan.commit_mode,
            CommitMode::Batch | CommitMode::Record
        ) {
            return;
        }
        let is_news = |(p, offset): (&i32, &i64)| {
            self.held.contains(p) && self.confirmed.get(p).is_none_or(|before| offset > before)
        };
        let now = world.now;
        let waits = |(_, commit): &(&u64, &Unanswered)| {
            now < commit.since + FORGOTTEN_MS && commit.parts.iter().any(is_news)
        };
        if let Some((number, _)) = self.unanswered.iter().find(waits) {
            world.violate(format!(
                "records are taken though commit #{number} isn't answered"
            ));
        }
    }

    fn fetch(&mut self, world: &mut World, max: usize) -> Vec<(Slot, i64, i32)> {
        self.check_waits_for_commits(world);
        if world.now < world.kafka_down_until {
            return Vec::new();
        }
        let mut room = max.min(world.rng.range(1, AT_ONCE as u64) as usize);
        let (mut records, mut broken) = (Vec::new(), Vec::new());
        let (revoked, lost) = (&self.revoked, &self.lost);
        let gone = |p: &&i32| revoked.contains_key(p) || lost.contains(p);
        if let Some(&p) = self.started.keys().find(gone) {
            world.violate(format!(
                "partition {p} is taken from, but was revoked or lost"
            ));
        }
        for (&p, started) in &mut self.started {
            let log = &world.logs[p as usize];
            let parted = log.end_of(started.leader_epoch);
            if started.leader_epoch >= 0 && parted < started.next {
                let truncated = Broken::Truncated {
                    at: Some(parted),
                    what: "it ends earlier".to_owned(),
                };
                broken.push((p, truncated));
            } else if started.next < log.log_start || started.next > log.log_end {
                broken.push((p, Broken::OffsetOutOfRange("it isn't there".to_owned())));
            } else {
                for (&offset, record) in log.records.range(started.next..).take(room) {
                    records.push((started.slot, offset, record.leader_epoch));
                    started.next = offset + 1;
                    started.leader_epoch = record.leader_epoch;
                }
                room = max.min(AT_ONCE).saturating_sub(records.len()).min(room);
            }
        }
        for (p, why) in broken {
            self.started.remove(&p);
            let event = SourceEvent::Broken {
                partition: id_of(p),
                why,
            };
            world.after(0, 20, Effect::Event(self.client, None, event));
        }
        world.activity += u64::from(!records.is_empty());
        records
    }
}

impl Source for SimSource {
    fn poll(&mut self, events: &mut Vec<SourceEvent>) {
        let world = self.world.clone();
        let world = &mut *lock(&world);
        self.keep_membership(world, events);
        self.collect(world, events);
        self.check_revocations(world);
    }

    fn locate(&mut self, partition: &TopicPartition, epoch: Epoch) {
        let mut world = lock(&self.world);
        let holds = self.held.contains(&partition.partition);
        world.demand(holds, || format!("{partition} is located, but not held"));
        world.after(
            5,
            100,
            Effect::Locate(self.client, partition.clone(), epoch),
        );
    }

    fn start(&mut self, slot: Slot, partition: &TopicPartition, offset: i64, leader_epoch: i32) {
        let mut world = lock(&self.world);
        let p = partition.partition;
        world.note(|| format!("client {}: starts {partition} at {offset}", self.client));
        let holds = self.held.contains(&p);
        world.demand(holds, || format!("{partition} is started, but not held"));
        let durable = world.group.committed[p as usize].is_some();
        world.demand(durable, || {
            format!("{partition} is started before a position was committed")
        });
        let started = Started {
            slot,
            next: offset,
            leader_epoch,
        };
        self.started.insert(p, started);
    }

    fn stop(&mut self, partitions: &[TopicPartition]) {
        for id in partitions {
            self.started.remove(&id.partition);
        }
    }

    fn take(&mut self, max: usize, _wait: Duration, deliver: &mut dyn FnMut(&Record<'_>)) -> usize {
        let records = self.fetch(&mut lock(&self.world.clone()), max);
        assert!(records.len() <= max);
        for &(slot, offset, leader_epoch) in &records {
            deliver(&Record {
                slot,
                offset,
                leader_epoch,
                timestamp_ms: Some(offset),
                key: None,
                value: Some(&offset.to_be_bytes()),
                origin: None,
            });
        }
        records.len()
    }

    fn ends(&mut self, tell: &mut dyn FnMut(Slot, i64)) {
        let ends = self.reach_ends(&lock(&self.world.clone()));
        ends.into_iter().for_each(|(slot, end)| tell(slot, end));
    }

    fn commit(&mut self, number: u64, commits: &[Commit]) {
        let mut world = lock(&self.world);
        let world = &mut *world;
        let parts: BTreeMap<i32, i64> = commits
            .iter()
            .map(|c| (c.partition.partition, c.offset))
            .collect();
        for p in parts.keys() {
            let ours = self.held.contains(p) && !self.lost.contains(p);
            world.demand(ours, || {
                format!("partition {p} is committed, but not ours (lost or released)")
            });
        }
        world.demand(number > self.last_number, || {
            "a commit's number went back".to_owned()
        });
        self.last_number = number;
        let since = world.now;
        let partitions = parts.keys().copied().collect();
        self.pending.push((number, since, partitions));
        self.unanswered.insert(number, Unanswered { since, parts });
        let bounded = self.pending.len() < 200;
        world.demand(bounded, || "unanswered commits pile up".to_owned());
        let fate = match () {
            () if world.goes_wrong(40) => CommitFate::Refused,
            // A file's answer always comes, and what comes of it is clear.
            () if world.plan.fixed => CommitFate::Fine,
            () if world.goes_wrong(30) => CommitFate::InPart,
            () if world.goes_wrong(10) => CommitFate::Vanishes,
            () if world.goes_wrong(10) => CommitFate::AnswerVanishes,
            () if world.goes_wrong(10) => CommitFate::Deferred,
            () => CommitFate::Fine,
        };
        let slow = match fate {
            CommitFate::Deferred => 30_000,
            _ if world.goes_wrong(50) => 7_000,
            _ => 40,
        };
        self.last_arrival = self.last_arrival.max(world.now + world.rng.range(1, slow));
        let sent = SentCommit {
            at: world.now,
            client: self.client,
            member: self.member,
            number,
            commits: commits.to_vec(),
            fate,
        };
        world.at(self.last_arrival, Effect::Commit(sent));
    }

    fn release(&mut self, partitions: &[TopicPartition]) {
        let mut world = lock(&self.world);
        let mut released = Vec::new();
        for p in partitions.iter().map(|id| id.partition) {
            if !self.held.remove(&p) {
                continue;
            }
            released.push(p);
            self.started.remove(&p);
            self.revoked.remove(&p);
            self.confirmed.remove(&p);
            for commit in self.unanswered.values_mut() {
                commit.parts.remove(&p);
            }
            let closed = !world.open_in_sink.contains(&(self.client, p));
            world.taken.remove(&(self.client, p));
            let barred = &mut world.truth[p as usize].barred;
            barred.take_if(|barred| barred.client == self.client);
            world.demand(closed, || {
                format!("partition {p} is released, but open in the sink")
            });
            let now = world.now;
            let waits = |(_, since, parts): &(u64, u64, Vec<i32>)| {
                parts.contains(&p) && now < since + COMMIT_TIMEOUT_MS
            };
            let unanswered = !self.lost.remove(&p) && self.pending.iter().any(waits);
            world.demand(!unanswered, || {
                format!("partition {p} is released before its commit was answered")
            });
        }
        world.note(|| format!("client {}: releases {released:?}", self.client));
        if let Some(member) = self.member {
            world.released(member, &released);
        }
    }

    fn log_end(&self, partition: &TopicPartition) -> Option<i64> {
        Some(lock(&self.world).logs[partition.partition as usize].log_end)
    }

    fn waker(&self) -> Waker {
        Waker::new(|| {})
    }

    fn close(&mut self, _deadline: Duration) -> bool {
        true
    }
}
