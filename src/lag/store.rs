//! What is known of one cluster: where its logs end, what its groups committed lately, and who has which partition. Burrow's
//! `inmemory` storage, with its rules of placing and dropping.
//!
//! Memory is bounded: by the number of groups, and by the number of partitions of all groups together (a group counts every
//! partition of a topic of which it committed one, as Burrow does). What is beyond is dropped, and counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use regex::Regex;

use super::evaluator::{PartitionId, Seen};
use super::group_records::{CommittedOffset, GroupRecord};
use super::owners::{Members, Names, Owner, TopicId};
use super::topics::{Hole, Sighting, Topic};
use super::window::{Commit, CommitWindow, LogEnd, LogEnds, Placed};

/// Which groups are watched.
#[derive(Debug, Clone, Default)]
pub struct GroupPatterns {
    /// The whole name matches this; all do without one.
    pub include: Option<Regex>,
    /// And none of these.
    pub exclude: Vec<Regex>,
}

impl GroupPatterns {
    /// Whether a group is watched.
    pub fn has(&self, group: &str) -> bool {
        let included = self.include.as_ref();
        included.is_none_or(|include| include.is_match(group))
            && !self.exclude.iter().any(|exclude| exclude.is_match(group))
    }
}

/// How much is kept, and of what.
#[derive(Debug, Clone)]
pub struct Keep {
    /// Commits of a partition, and ends of its log.
    pub intervals: usize,
    /// Commits closer together than this share a place (milliseconds).
    pub min_distance_ms: i64,
    /// A group that hasn't committed for so long is gone (milliseconds).
    pub expire_ms: i64,
    /// The most groups.
    pub max_groups: usize,
    /// The most partitions, those of all groups counted together.
    pub max_partitions: usize,
    /// Which groups.
    pub groups: GroupPatterns,
}

impl Default for Keep {
    fn default() -> Self {
        Keep {
            intervals: 10,
            min_distance_ms: 0,
            expire_ms: 604_800_000,
            max_groups: 10_000,
            max_partitions: 200_000,
            groups: GroupPatterns::default(),
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A commit stands in its window.
    Placed(Placed),
    /// Members are known, or something is gone.
    Noted,
    /// It is of no interest: another type of record, a group that isn't watched.
    Ignored,
    /// The commit is too old.
    Expired,
    /// There is no such partition, or its log's end isn't known yet.
    Unknown,
    /// There are too many groups or partitions.
    TooMany,
}

#[derive(Debug, Default)]
struct Group {
    /// By topic; as many windows as the topic had partitions at the last commit, empty ones without a commit.
    topics: BTreeMap<Arc<str>, Vec<CommitWindow>>,
    /// When the newest commit was made (Unix milliseconds); 0 without one.
    last_commit_ms: i64,
    members: Members,
}

/// A partition of a group.
#[derive(Debug, Clone, Copy)]
pub struct GroupPartition<'a> {
    /// What was seen.
    pub seen: Seen<'a>,
    /// Who has it, if a member is known to.
    pub owner: Option<&'a Owner>,
}

/// One cluster.
#[derive(Debug)]
pub struct Store {
    keep: Keep,
    topics: Topics,
    groups: BTreeMap<Arc<str>, Group>,
    num_partitions: usize,
    num_dropped: u64,
    no_ends: LogEnds,
}

#[derive(Debug, Default)]
struct Topics {
    by_name: BTreeMap<Arc<str>, Topic>,
    by_id: HashMap<TopicId, Arc<str>>,
}

impl Names for Topics {
    fn named(&self, name: &str) -> Option<Arc<str>> {
        self.by_name
            .get_key_value(name)
            .map(|(name, _)| name.clone())
    }

    fn with_id(&self, id: &TopicId) -> Option<Arc<str>> {
        self.by_id.get(id).cloned()
    }
}

impl Store {
    /// Nothing is known yet.
    pub fn new(keep: Keep) -> Self {
        Store {
            keep,
            topics: Topics::default(),
            groups: BTreeMap::new(),
            num_partitions: 0,
            num_dropped: 0,
            no_ends: LogEnds::new(1),
        }
    }

    /// How much is kept.
    pub fn keep(&self) -> &Keep {
        &self.keep
    }

    /// How many commits didn't fit, and are missing.
    pub fn num_dropped(&self) -> u64 {
        self.num_dropped
    }

    /// How many partitions of groups are kept.
    pub fn num_partitions(&self) -> usize {
        self.num_partitions
    }

    /// These are all of the cluster's topics. One that was missing the last time, too, is gone, and so is what groups
    /// committed there; one that was created again under its name begins anew. Partitions never become fewer.
    pub fn set_topics(&mut self, sightings: &[Sighting<'_>]) {
        for topic in self.topics.by_name.values_mut() {
            topic.missed += 1;
        }
        let mut is_news = false;
        for sighting in sightings {
            let topic = match self.topics.by_name.get_mut(sighting.name) {
                Some(topic) => topic,
                None => {
                    is_news = true;
                    let name: Arc<str> = sighting.name.into();
                    self.topics.by_name.entry(name).or_default()
                }
            };
            if let (Some(known), Some(seen)) = (topic.id, sighting.id)
                && known != seen
            {
                *topic = Topic::default();
                is_news = true;
                self.num_partitions -= forget(&mut self.groups, sighting.name);
            }
            topic.see(sighting, self.keep.intervals);
        }
        let gone = |topic: &Topic| topic.missed >= 2;
        let deleted = self.topics.by_name.iter().filter(|(_, t)| gone(t));
        let deleted: Vec<Arc<str>> = deleted.map(|(name, _)| name.clone()).collect();
        for name in &deleted {
            self.topics.by_name.remove(name);
            self.num_partitions -= forget(&mut self.groups, name);
        }
        if is_news || !deleted.is_empty() {
            let topics = self.topics.by_name.iter();
            let ids = topics.filter_map(|(name, topic)| Some((topic.id?, name.clone())));
            self.topics.by_id = ids.collect();
            for group in self.groups.values_mut() {
                group.members.place(&self.topics);
            }
        }
    }

    /// A log ends there now. Of partitions that aren't known nothing is kept.
    pub fn take_log_end(&mut self, topic: &str, partition: i32, end: LogEnd) {
        let topic = self.topics.by_name.get_mut(topic);
        if let Some(log) = topic.and_then(|topic| topic.log_mut(partition)) {
            log.ends.take(end);
        }
    }

    /// From `from` to `end` there is nothing to read in this log.
    pub fn take_hole(&mut self, topic: &str, partition: i32, hole: Hole) {
        let topic = self.topics.by_name.get_mut(topic);
        if let Some(log) = topic.and_then(|topic| topic.log_mut(partition)) {
            log.take_hole(hole);
        }
    }

    /// A record of `__consumer_offsets`, which stands there at `order` of its partition.
    pub fn take(&mut self, record: GroupRecord<'_>, order: i64, now_ms: i64) -> Taken {
        let group = match &record {
            GroupRecord::Offset { group, .. }
            | GroupRecord::Classic { group, .. }
            | GroupRecord::Member { group, .. }
            | GroupRecord::Assignment { group, .. } => *group,
            GroupRecord::Other(_) => return Taken::Ignored,
        };
        if !self.keep.groups.has(group) {
            return Taken::Ignored;
        }
        let is_gone = match record {
            GroupRecord::Offset {
                group,
                topic,
                partition,
                value,
            } => {
                return match value {
                    Some(value) => self.take_commit(group, topic, partition, value, order, now_ms),
                    None => self.forget_commits(group, topic, partition),
                };
            }
            GroupRecord::Classic { ref value, .. } => value.is_none(),
            GroupRecord::Member { ref value, .. } => value.is_none(),
            GroupRecord::Assignment { ref value, .. } => value.is_none(),
            GroupRecord::Other(_) => true,
        };
        // Who is gone doesn't make a group.
        if is_gone && !self.groups.contains_key(group) {
            return Taken::Noted;
        }
        let Some(known) = entry(&mut self.groups, group, self.keep.max_groups) else {
            self.num_dropped += 1;
            return Taken::TooMany;
        };
        let (members, names) = (&mut known.members, &self.topics);
        match record {
            GroupRecord::Classic { value, .. } => {
                members.set_classic(&value.unwrap_or_default(), names);
            }
            GroupRecord::Member { member, value, .. } => members.set_member(member, value, names),
            GroupRecord::Assignment { member, value, .. } => {
                members.set_assignment(member, value, names);
            }
            GroupRecord::Offset { .. } | GroupRecord::Other(_) => {}
        }
        if known.members.is_empty() && known.topics.is_empty() {
            self.groups.remove(group);
        }
        Taken::Noted
    }

    /// A commit of a group.
    pub fn take_commit(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
        value: CommittedOffset,
        order: i64,
        now_ms: i64,
    ) -> Taken {
        if value.timestamp_ms < now_ms.saturating_sub(self.keep.expire_ms) {
            return Taken::Expired;
        }
        let Some((name, known)) = self.topics.by_name.get_key_value(topic) else {
            return Taken::Unknown;
        };
        let log = known.log(partition);
        let Some((log, log_end)) = log.and_then(|log| Some((log, log.ends.newest()?.offset)))
        else {
            return Taken::Unknown;
        };
        // Markers alone aren't lag.
        let log_end = match log_end.saturating_sub(value.offset) {
            behind if behind > 0 && behind <= log.markers => value.offset,
            _ => log_end,
        };
        let Some(group) = entry(&mut self.groups, group, self.keep.max_groups) else {
            self.num_dropped += 1;
            return Taken::TooMany;
        };
        let windows = group.topics.get(topic).map_or(0, Vec::len);
        let grows = known.logs.len().saturating_sub(windows);
        if self.num_partitions + grows > self.keep.max_partitions {
            self.num_dropped += 1;
            return Taken::TooMany;
        }
        self.num_partitions += grows;
        let windows = group.topics.entry(name.clone()).or_default();
        let intervals = self.keep.intervals;
        windows.resize_with(windows.len().max(known.logs.len()), || {
            CommitWindow::new(intervals)
        });
        let Some(window) = usize::try_from(partition)
            .ok()
            .and_then(|n| windows.get_mut(n))
        else {
            return Taken::Unknown;
        };
        let commit = Commit {
            offset: value.offset,
            order,
            timestamp_ms: value.timestamp_ms,
            observed_at_ms: now_ms,
            lag: None,
        };
        let is_newest = window.newest().is_none_or(|newest| newest.order < order);
        let placed = window.take(commit, log_end, self.keep.min_distance_ms);
        if is_newest {
            group.last_commit_ms = value.timestamp_ms;
        }
        Taken::Placed(placed)
    }

    /// What a group committed for a partition isn't so any more: it expired, was deleted, or the partition isn't held.
    pub fn forget_commits(&mut self, group: &str, topic: &str, partition: i32) -> Taken {
        let Some(known) = self.groups.get_mut(group) else {
            return Taken::Noted;
        };
        let Some(windows) = known.topics.get_mut(topic) else {
            return Taken::Noted;
        };
        let place = usize::try_from(partition).ok();
        if let Some(window) = place.and_then(|n| windows.get_mut(n)) {
            *window = CommitWindow::new(self.keep.intervals);
        }
        if windows.iter().all(CommitWindow::is_empty) {
            self.num_partitions -= windows.len();
            known.topics.remove(topic);
        }
        if known.topics.is_empty() && known.members.is_empty() {
            self.groups.remove(group);
        }
        Taken::Noted
    }

    /// A group isn't to be known any more, until it commits again.
    pub fn remove_group(&mut self, group: &str) {
        if let Some(group) = self.groups.remove(group) {
            self.num_partitions -= group.topics.values().map(Vec::len).sum::<usize>();
        }
    }

    /// Removes what a group committed for a topic.
    pub fn remove_group_topic(&mut self, group: &str, topic: &str) {
        if let Some(known) = self.groups.get_mut(group)
            && let Some(windows) = known.topics.remove(topic)
        {
            self.num_partitions -= windows.len();
        }
    }

    /// Removes groups that haven't committed for too long.
    pub fn expire(&mut self, now_ms: i64) {
        let groups = self.groups.iter();
        let old = groups.filter(|(_, group)| self.is_expired(group, now_ms));
        let old = old.filter(|(_, group)| group.last_commit_ms > 0 || group.members.is_empty());
        let old: Vec<Arc<str>> = old.map(|(name, _)| name.clone()).collect();
        for name in old {
            self.remove_group(&name);
        }
    }

    fn is_expired(&self, group: &Group, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.keep.expire_ms) > group.last_commit_ms
    }

    /// The names of the topics, sorted.
    pub fn topic_names(&self) -> impl Iterator<Item = &str> {
        self.topics.by_name.keys().map(|name| &**name)
    }

    /// A topic.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.by_name.get(name)
    }

    /// The names of the groups, sorted; with those that have members and never committed.
    pub fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(|name| &**name)
    }

    /// The groups that committed in a topic, sorted.
    pub fn groups_of(&self, topic: &str) -> impl Iterator<Item = &str> {
        let groups = self.groups.iter();
        let has = move |(_, group): &(&Arc<str>, &Group)| group.topics.contains_key(topic);
        groups.filter(has).map(|(name, _)| &**name)
    }

    /// The partitions of a group, by topic and number, with those that it never committed; `None` if it isn't known, never
    /// committed, or not for too long.
    pub fn group(
        &self,
        name: &str,
        now_ms: i64,
    ) -> Option<impl Iterator<Item = GroupPartition<'_>>> {
        let group = self.groups.get(name)?;
        if self.is_expired(group, now_ms) {
            return None;
        }
        Some(group.topics.iter().flat_map(move |(topic, windows)| {
            let known = self.topics.by_name.get(topic);
            (0..).zip(windows).map(move |(partition, commits)| {
                let log = known.and_then(|topic| topic.log(partition));
                let id = PartitionId { topic, partition };
                GroupPartition {
                    owner: group.members.owner(topic, partition),
                    seen: Seen {
                        id,
                        commits,
                        log_ends: log.map_or(&self.no_ends, |log| &log.ends),
                        readable_end: log.and_then(|log| log.readable_end()),
                    },
                }
            })
        }))
    }

    /// Partitions whose log hasn't moved for a while, and in which a group stands so little before its end that there may be
    /// nothing left to read: the topic, the partition, and where the group that is furthest stands.
    pub fn stuck(&self) -> Vec<(Arc<str>, i32, i64)> {
        let mut stuck: BTreeMap<(&Arc<str>, i32), i64> = BTreeMap::new();
        for group in self.groups.values() {
            for (name, windows) in &group.topics {
                let Some(topic) = self.topics.by_name.get(name) else {
                    continue;
                };
                for (partition, window) in (0..).zip(windows) {
                    let offset = window.newest().map(|commit| commit.offset);
                    let log = topic.log(partition);
                    if let (Some(offset), Some(log)) = (offset, log)
                        && log.may_be_read_at(offset)
                    {
                        let furthest = stuck.entry((name, partition)).or_insert(offset);
                        *furthest = offset.max(*furthest);
                    }
                }
            }
        }
        let stuck = stuck.into_iter();
        stuck.map(|((n, p), o)| (n.clone(), p, o)).collect()
    }
}

/// The group of this name, made if there is room.
fn entry<'a>(
    groups: &'a mut BTreeMap<Arc<str>, Group>,
    name: &str,
    most: usize,
) -> Option<&'a mut Group> {
    if !groups.contains_key(name) {
        if groups.len() >= most {
            return None;
        }
        groups.insert(name.into(), Group::default());
    }
    groups.get_mut(name)
}

/// Drops what groups committed in a topic; how many partitions that were.
fn forget(groups: &mut BTreeMap<Arc<str>, Group>, topic: &str) -> usize {
    let windows = groups.values_mut().filter_map(|g| g.topics.remove(topic));
    windows.map(|windows| windows.len()).sum()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
