//! A member of a group that does what the pipeline does, without a sink: it locates, starts, collects, commits
//! and releases.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use outflow::config::settings::{
    Assignor, CommitMode, GroupProtocol, KafkaSettings, OffsetLost, OffsetReset, Subscription,
};
use outflow::error::Error;
use outflow::kafka::KafkaSource;
use outflow::kafka::keeper::Keeper;
use outflow::offsets::{Epoch, TopicPartition};
use outflow::pipeline::source::{Broken, Commit, Location, Source, SourceEvent};
use outflow::sinks::Slot;

/// How long anything may take that a healthy broker does in milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn settings(bootstrap: &str, topic: &str, group: &str) -> KafkaSettings {
    KafkaSettings {
        bootstrap_servers: bootstrap.into(),
        subscription: Subscription::Topics(vec![topic.into()]),
        group_id: group.into(),
        group_protocol: GroupProtocol::Classic,
        assignor: Assignor::CooperativeSticky,
        group_instance_id: None,
        state_dir: None,
        auto_offset_reset: OffsetReset::Earliest,
        on_offset_lost: OffsetLost::Stop,
        commit_mode: CommitMode::Interval,
        max_poll_records: 2_048,
        commit_interval: Duration::from_secs(1),
        drain_timeout: Duration::from_secs(20),
        max_span: 1_000_000,
        properties: BTreeMap::new(),
    }
}

/// A record as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

pub struct Member {
    pub source: KafkaSource,
    pub topic: String,
    /// Starts partitions by itself, where their location says.
    pub starts: bool,
    /// Answers revokes by itself, after a commit.
    pub releases: bool,
    pub assigned: Vec<i32>,
    pub revoked: Vec<i32>,
    pub num_lost: usize,
    pub located: HashMap<i32, Result<Location, Error>>,
    pub broken: Vec<(i32, Broken)>,
    pub committed: Vec<(u64, Result<(), Error>)>,
    pub committed_in_part: Vec<(u64, Vec<TopicPartition>)>,
    pub mismatches: Vec<(i32, i64, Option<i64>)>,
    pub troubles: Vec<Option<Error>>,
    /// Its client is beyond repair; a test that doesn't expect it ends.
    pub fatal: Option<Error>,
    pub may_end: bool,
    /// What it remarked.
    pub idle: Option<String>,
    pub stood_still: Vec<Duration>,
    pub standing_still: HashMap<TopicPartition, String>,
    pub seen: Vec<Seen>,
    /// Next offsets to commit, of what is held.
    next: BTreeMap<i32, (i64, i32)>,
    leaving: Option<(u64, Vec<i32>)>,
    number: u64,
}

impl Member {
    pub fn join(settings: &KafkaSettings) -> Self {
        let source = KafkaSource::new(settings, "test", 0, 8 << 20).expect("a source");
        Self::with(settings, source)
    }

    /// All the fixed partitions of the settings.
    pub fn fixed(settings: &KafkaSettings, keeper: Keeper) -> Self {
        let Subscription::Assigned(all) = settings.subscription.clone() else {
            panic!("partitions aren't fixed");
        };
        let source = KafkaSource::fixed(settings, "test", 0, 8 << 20, all, keeper);
        Self::with(settings, source.expect("a source"))
    }

    fn with(settings: &KafkaSettings, source: KafkaSource) -> Self {
        Member {
            source,
            topic: settings.subscription.topics().remove(0),
            starts: true,
            releases: true,
            assigned: Vec::new(),
            revoked: Vec::new(),
            num_lost: 0,
            located: HashMap::new(),
            broken: Vec::new(),
            committed: Vec::new(),
            committed_in_part: Vec::new(),
            mismatches: Vec::new(),
            troubles: Vec::new(),
            fatal: None,
            may_end: false,
            idle: None,
            stood_still: Vec::new(),
            standing_still: HashMap::new(),
            seen: Vec::new(),
            next: BTreeMap::new(),
            leaving: None,
            number: 0,
        }
    }

    pub fn id(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), partition)
    }

    pub fn start(&mut self, partition: i32, offset: i64) {
        let slot = Slot(partition as usize);
        self.source.start(slot, &self.id(partition), offset, -1);
    }

    pub fn stop(&mut self, partition: i32) {
        self.source.stop(&[self.id(partition)]);
    }

    pub fn release(&mut self, partitions: &[i32]) {
        let ids: Vec<_> = partitions.iter().map(|p| self.id(*p)).collect();
        self.source.release(&ids);
        self.assigned.retain(|p| !partitions.contains(p));
        self.next.retain(|p, _| !partitions.contains(p));
    }

    /// Commits what was seen; returns the commit's number.
    pub fn commit(&mut self) -> u64 {
        let commits: Vec<Commit> = self
            .next
            .iter()
            .map(|(partition, (offset, leader_epoch))| Commit {
                partition: self.id(*partition),
                offset: *offset,
                leader_epoch: *leader_epoch,
                metadata: r#"{"topic_id":"x","partitions":4}"#.into(),
            })
            .collect();
        self.number += 1;
        self.source.commit(self.number, &commits);
        self.number
    }

    pub fn commit_at(&mut self, partition: i32, offset: i64, metadata: &str) -> u64 {
        self.number += 1;
        let commit = Commit {
            partition: self.id(partition),
            offset,
            leader_epoch: 0,
            metadata: metadata.into(),
        };
        self.source.commit(self.number, &[commit]);
        self.number
    }

    /// One turn of a loop.
    pub fn turn(&mut self) {
        self.poll();
        self.take();
    }

    /// A turn in which nothing may be taken.
    pub fn poll(&mut self) {
        let mut events = Vec::new();
        self.source.poll(&mut events);
        for event in events {
            self.hear(event);
        }
        let remarks = self.source.remarks();
        self.idle = remarks.idle;
        self.stood_still.extend(remarks.stood_still);
        self.standing_still = remarks.standing_still;
    }

    fn take(&mut self) {
        let (seen, next) = (&mut self.seen, &mut self.next);
        self.source
            .take(2_048, Duration::from_millis(5), &mut |record| {
                let partition = record.slot.0 as i32;
                next.insert(partition, (record.offset + 1, record.leader_epoch));
                seen.push(Seen {
                    partition,
                    offset: record.offset,
                    leader_epoch: record.leader_epoch,
                    timestamp_ms: record.timestamp_ms,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                });
            });
    }

    fn hear(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Assigned(partitions) => {
                for partition in partitions {
                    self.assigned.push(partition.partition);
                    self.source.locate(&partition, Epoch(1));
                }
            }
            SourceEvent::Located {
                partition, found, ..
            } => {
                let number = partition.partition;
                if let (Ok(location), true) = (&found, self.starts)
                    && let Ok(start) = location.start
                {
                    self.start(number, start);
                }
                self.located.insert(number, found);
            }
            SourceEvent::Revoked(partitions) => {
                self.revoked.extend(partitions.iter().map(|p| p.partition));
                if self.releases {
                    self.source.stop(&partitions);
                    let partitions = partitions.iter().map(|p| p.partition).collect();
                    self.leaving = Some((self.commit(), partitions));
                }
            }
            SourceEvent::Lost(partitions) => {
                self.num_lost += 1;
                let partitions: Vec<i32> = partitions.iter().map(|p| p.partition).collect();
                self.release(&partitions);
            }
            SourceEvent::Committed { number, result } => {
                self.committed.push((number, result));
                if let Some((_, partitions)) = self.leaving.take_if(|(n, _)| *n == number) {
                    self.release(&partitions);
                }
            }
            SourceEvent::CommittedInPart { number, partitions } => {
                self.committed_in_part.push((number, partitions));
            }
            SourceEvent::CommitMismatch {
                partition,
                ours,
                found,
            } => self.mismatches.push((partition.partition, ours, found)),
            SourceEvent::Broken { partition, why } => {
                self.broken.push((partition.partition, why));
            }
            SourceEvent::Trouble(trouble) => self.troubles.push(trouble),
            SourceEvent::Grew { .. } => {}
            SourceEvent::Fatal(error) if self.may_end => self.fatal = Some(error),
            SourceEvent::Fatal(error) => panic!("fatal: {error}"),
        }
    }

    pub fn offsets(&self, partition: i32) -> Vec<i64> {
        self.seen
            .iter()
            .filter(|seen| seen.partition == partition)
            .map(|seen| seen.offset)
            .collect()
    }

    pub fn is_answered(&self, number: u64) -> bool {
        self.committed.iter().any(|(n, _)| *n == number)
    }

    /// Turns until `done`.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Member) -> bool) {
        until(&mut [self], what, |members| done(members[0]));
    }

    /// A few turns, to see that nothing comes any more: what was under way has passed by then, because a
    /// commit has gone to the broker and come back behind it.
    pub fn settle(&mut self) {
        for _ in 0..3 {
            let number = self.commit();
            self.until("a commit is answered", |m| m.is_answered(number));
        }
    }
}

/// Turns all members until `done`.
pub fn until(
    members: &mut [&mut Member],
    what: &str,
    mut done: impl FnMut(&[&mut Member]) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !done(members) {
        for member in members.iter_mut() {
            member.turn();
        }
        if Instant::now() > deadline {
            let states: Vec<_> = members
                .iter()
                .map(|m| {
                    format!(
                        "{:?} lost {} times {:?} {:?} {:?} seen {}",
                        m.assigned,
                        m.num_lost,
                        m.troubles,
                        m.broken,
                        m.standing_still,
                        m.seen.len()
                    )
                })
                .collect();
            panic!("not in time: {what}; {states:#?}");
        }
    }
}
