//! A simulated Kafka: logs with holes, retention, truncation and leader epochs, and one consumer group whose
//! broker fences members but, as the real one, not their partitions.

use std::collections::{BTreeMap, BTreeSet};

use outflow::error::Error;
use outflow::offsets::{Epoch, TopicPartition};
use outflow::pipeline::source::{Commit, Committed, Location, SourceEvent};

use crate::world::{Effect, Kind, TOPIC, World};

/// A member that isn't heard of for so long is out.
const SESSION_MS: u64 = 10_000;

#[derive(Debug, Clone, Default)]
pub struct SimRecord {
    pub leader_epoch: i32,
    /// The sink refuses it at `append`, or its server does.
    pub bad_at_append: bool,
    pub bad_at_server: bool,
    /// The dead letter topic refuses it.
    pub too_large: bool,
}

#[derive(Debug, Default)]
pub struct Log {
    /// Also those that retention has removed: they must be final, or told.
    pub records: BTreeMap<i64, SimRecord>,
    pub log_start: i64,
    pub log_end: i64,
    /// (leader epoch, its first offset).
    pub leader_epochs: Vec<(i32, i64)>,
}

impl Log {
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epochs.last().map_or(0, |&(epoch, _)| epoch)
    }

    /// Where the log of `leader_epoch` ends.
    pub fn end_of(&self, leader_epoch: i32) -> i64 {
        let later = self
            .leader_epochs
            .iter()
            .find(|&&(epoch, _)| epoch > leader_epoch);
        later.map_or(self.log_end, |&(_, first)| first)
    }

    /// A hole stands before the record or, as a transaction's marker does, after it.
    pub fn append(&mut self, hole: i64, record: SimRecord) {
        let after = hole % 2;
        let offset = self.log_end + hole - after;
        let leader_epoch = self.leader_epoch();
        self.records.insert(
            offset,
            SimRecord {
                leader_epoch,
                ..record
            },
        );
        self.log_end = offset + 1 + after;
    }

    pub fn elect(&mut self) {
        let epoch = self.leader_epoch() + 1;
        self.leader_epochs.push((epoch, self.log_end));
    }

    pub fn truncate(&mut self, at: i64) {
        self.records.split_off(&at);
        self.log_end = at;
        self.elect();
    }
}

#[derive(Debug)]
pub struct Member {
    pub client: u64,
    pub last_seen: u64,
    pub revoking: BTreeSet<i32>,
    last_told: u64,
}

#[derive(Debug)]
pub struct Group {
    pub members: BTreeMap<u64, Member>,
    next_member: u64,
    pub owner: Vec<Option<u64>>,
    /// Since when it is its owner's.
    owned_since: Vec<u64>,
    pub target: Vec<Option<u64>>,
    pub committed: Vec<Option<Committed>>,
}

/// A commit on its way to the broker.
#[derive(Debug)]
pub struct SentCommit {
    pub at: u64,
    pub client: u64,
    pub member: Option<u64>,
    pub number: u64,
    pub commits: Vec<Commit>,
    pub fate: CommitFate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFate {
    Fine,
    /// Refused for the moment (a rebalance, a timeout).
    Refused,
    /// Some partitions are taken, and others aren't.
    InPart,
    /// Neither arrives nor is answered.
    Vanishes,
    AnswerVanishes,
    /// The client sends it later, with whatever membership it has then.
    Deferred,
}

impl Group {
    pub fn new(partitions: usize) -> Self {
        Group {
            members: BTreeMap::new(),
            next_member: 0,
            owner: vec![None; partitions],
            owned_since: vec![0; partitions],
            target: vec![None; partitions],
            committed: vec![None; partitions],
        }
    }
}

impl World {
    pub fn join(&mut self, client: u64) -> u64 {
        self.group.next_member += 1;
        let member = self.group.next_member;
        let last_seen = self.now;
        self.group.members.insert(
            member,
            Member {
                client,
                last_seen,
                revoking: BTreeSet::new(),
                last_told: 0,
            },
        );
        self.inboxes.entry(client).or_default();
        self.note(|| format!("group: client {client} joins as member {member}"));
        self.rebalance();
        member
    }

    /// The member is out: its partitions are free at once, whatever it thinks.
    pub fn kick(&mut self, member: u64) {
        if self.group.members.remove(&member).is_none() {
            return;
        }
        self.note(|| format!("group: member {member} is out"));
        for owner in &mut self.group.owner {
            owner.take_if(|owner| *owner == member);
        }
        self.rebalance();
    }

    pub fn rebalance(&mut self) {
        let members: Vec<u64> = self.group.members.keys().copied().collect();
        for p in 0..self.plan.partitions {
            let sticks = self.group.target[p].is_some_and(|m| members.contains(&m));
            if members.is_empty() {
                self.group.target[p] = None;
            } else if !sticks || self.rng.permille(400) {
                self.group.target[p] = Some(self.rng.pick(&members));
            }
        }
    }

    /// The coordinator's own work: sessions end, partitions move.
    pub fn coordinate(&mut self) {
        if self.now < self.kafka_down_until {
            return;
        }
        let silent = |m: &Member| self.now.saturating_sub(m.last_seen) > SESSION_MS;
        let expired = self.group.members.iter().find(|(_, member)| silent(member));
        if let Some(member) = expired.map(|(&id, _)| id) {
            self.kick(member);
        }
        let ids: Vec<u64> = self.group.members.keys().copied().collect();
        for member in ids {
            let Some(state) = self.group.members.get(&member) else {
                continue;
            };
            if !state.revoking.is_empty() {
                continue;
            }
            let (client, all) = (state.client, 0..self.plan.partitions);
            let moves = |p: &usize| {
                self.group.owner[*p] == Some(member) && self.group.target[*p] != Some(member)
            };
            let revoked: Vec<usize> = all.clone().filter(moves).collect();
            let free =
                |p: &usize| self.group.owner[*p].is_none() && self.group.target[*p] == Some(member);
            let assigned: Vec<usize> = all.filter(free).collect();
            if !revoked.is_empty() {
                if let Some(state) = self.group.members.get_mut(&member) {
                    state.revoking = revoked.iter().map(|&p| p as i32).collect();
                }
                self.tell_member(client, member, SourceEvent::Revoked(ids_of(&revoked)));
            } else if !assigned.is_empty() {
                for &p in &assigned {
                    self.group.owner[p] = Some(member);
                    self.group.owned_since[p] = self.now;
                }
                self.tell_member(client, member, SourceEvent::Assigned(ids_of(&assigned)));
            }
        }
    }

    /// What a member hears of rebalances, in their order.
    fn tell_member(&mut self, client: u64, member: u64, event: SourceEvent) {
        let at = self.now + self.rng.range(1, 60);
        if let Some(state) = self.group.members.get_mut(&member) {
            state.last_told = at.max(state.last_told + 1);
            let at = state.last_told;
            self.at(at, Effect::Event(client, Some(member), event));
        }
    }

    /// A client leaves the group.
    pub fn leave(&mut self, client: u64) {
        let members = self.group.members.iter();
        let ours: Vec<u64> = members
            .filter(|(_, member)| member.client == client)
            .map(|(&id, _)| id)
            .collect();
        for member in ours {
            self.kick(member);
        }
    }

    /// A member has given partitions back.
    pub fn released(&mut self, member: u64, partitions: &[i32]) {
        if let Some(state) = self.group.members.get_mut(&member) {
            for p in partitions {
                state.revoking.remove(p);
                self.group.owner[*p as usize].take_if(|owner| *owner == member);
            }
        }
    }

    pub fn locate(&mut self, client: u64, id: TopicPartition, epoch: Epoch) {
        if self.now < self.kafka_down_until {
            let later = self.kafka_down_until + 50;
            return self.at(later, Effect::Locate(client, id, epoch));
        }
        let p = id.partition as usize;
        let log = &self.logs[p];
        // Where the log in HDFS keeps the positions, nothing is found committed.
        let is_kept_by_sink = self.plan.fixed && self.plan.kind == Kind::Hdfs;
        let committed = self.group.committed[p].clone();
        let committed = committed.filter(|_| !is_kept_by_sink);
        let start = match (&committed, self.plan.starts_latest) {
            (Some(committed), _) => committed.offset,
            (None, true) => log.log_end,
            (None, false) => log.log_start,
        };
        if let (Some(found), Kind::Elasticsearch) = (&committed, self.plan.kind) {
            // A first position that came late counts from here on, and what is below it is committed.
            let truth = &mut self.truth[p];
            if truth.first.is_none() {
                truth.first = Some(found.offset);
                truth.checked = truth.checked.max(found.offset);
            }
        }
        if committed.is_none() {
            self.truth[p].offered.extend([start, log.log_start]);
        }
        let found = Ok(Location {
            cluster_id: "c".to_owned(),
            topic_id: "topic-id".to_owned(),
            num_partitions: self.plan.partitions as i32,
            appeared_later: false,
            since_ms: None,
            committed,
            start: Ok(start),
            log_start: log.log_start,
            log_end: log.log_end,
        });
        let found = match self.goes_wrong(50) {
            true => Err(Error::unavailable("no answer")),
            false => found,
        };
        let event = SourceEvent::Located {
            partition: id,
            epoch,
            found,
        };
        let slow = if self.goes_wrong(100) { 5_000 } else { 100 };
        self.after(5, slow, Effect::Event(client, None, event));
    }

    pub fn commit(&mut self, sent: SentCommit) {
        let SentCommit {
            at: sent_at,
            client,
            member,
            number,
            commits,
            fate,
        } = sent;
        if self.now < self.kafka_down_until {
            let at = self.kafka_down_until + 50;
            let sent = SentCommit {
                at: sent_at,
                client,
                member,
                number,
                commits,
                fate,
            };
            return self.at(at, Effect::Commit(sent));
        }
        let is_member = member.is_some_and(|m| self.group.members.contains_key(&m));
        let is_member = match self.plan.fixed {
            // What a process had to write is gone with it.
            true if !self.inboxes.contains_key(&client) => return,
            true => true,
            false => is_member,
        };
        let result = match fate {
            CommitFate::Vanishes => return,
            CommitFate::Refused => Err(Error::unavailable("a rebalance is going on")),
            // Who has died or left before a first position was durable has not made one so.
            CommitFate::Deferred if is_member || self.has_first(&commits) => Ok(()),
            _ if !is_member => Err(Error::fenced("unknown member")),
            CommitFate::InPart => Err(Error::unavailable("some partitions have no leader")),
            _ => Ok(()),
        };
        let shown: Vec<_> = commits
            .iter()
            .map(|c| (c.partition.partition, c.offset))
            .collect();
        self.note(|| format!("broker: commit #{number} of client {client} {shown:?}: {result:?}"));
        let taken = match fate {
            CommitFate::InPart if is_member => commits.len() / 2,
            _ if result.is_ok() => commits.len(),
            _ => 0,
        };
        let ids = commits.iter().take(taken).map(|c| c.partition.clone());
        let ids: Vec<_> = ids.collect();
        for commit in commits.into_iter().take(taken) {
            self.accept(commit, sent_at);
        }
        let at = self.now + self.rng.range(1, 30);
        if fate == CommitFate::InPart && taken > 0 {
            let partitions = ids;
            let event = SourceEvent::CommittedInPart { number, partitions };
            self.at(at, Effect::Event(client, None, event));
        }
        if fate != CommitFate::AnswerVanishes {
            let answer = || SourceEvent::Committed {
                number,
                result: result.clone(),
            };
            self.at(at, Effect::Event(client, None, answer()));
            if self.goes_wrong(20) {
                self.after(30, 9_000, Effect::Event(client, None, answer()));
            }
        }
    }

    fn has_first(&self, commits: &[Commit]) -> bool {
        let firsts = commits
            .iter()
            .map(|c| self.truth[c.partition.partition as usize].first);
        firsts.into_iter().all(|first| first.is_some())
    }

    /// I1, at every commit that the broker takes.
    fn accept(&mut self, commit: Commit, sent_at: u64) {
        let p = commit.partition.partition as usize;
        self.truth[p].commit_sent = self.truth[p].commit_sent.max(sent_at);
        // A first position from before the partition went and came back: its owner may have chosen anew. It
        // counts once somebody finds it.
        let is_late = self.truth[p].first.is_none()
            && self.plan.kind == Kind::Elasticsearch
            && sent_at < self.group.owned_since[p];
        if self.truth[p].first.is_none() {
            let offered = self.truth[p].offered.contains(&commit.offset);
            self.demand(offered, || {
                format!(
                    "the first position of partition {p} is {}, which nobody said",
                    commit.offset
                )
            });
            if self.plan.kind == Kind::Elasticsearch && !is_late {
                self.truth[p].first = Some(commit.offset);
            }
        }
        let checked = self.truth[p].checked;
        let not_final = self.not_final(p, checked, commit.offset);
        if let Some(offset) = not_final.filter(|_| !is_late) {
            self.violate(format!(
                "I1: {} was committed for partition {p}, but the record at {offset} isn't final",
                commit.offset
            ));
        }
        if !is_late {
            self.truth[p].checked = checked.max(commit.offset);
        }
        let before = self.logs[p].records.range(..commit.offset).next_back();
        let known = before.map_or(-1, |(_, record)| record.leader_epoch);
        let honest = commit.leader_epoch <= known || self.truth[p].truncated_at.is_some();
        self.demand(honest, || {
            format!(
                "partition {p} was committed with leader epoch {}",
                commit.leader_epoch
            )
        });
        self.group.committed[p] = Some(Committed {
            offset: commit.offset,
            leader_epoch: commit.leader_epoch,
            metadata: commit.metadata,
        });
    }
}

pub fn id_of(p: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, p)
}

fn ids_of(partitions: &[usize]) -> Vec<TopicPartition> {
    partitions.iter().map(|&p| id_of(p as i32)).collect()
}
