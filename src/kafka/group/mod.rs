//! A consumer group from outside: how it stands, and how its offsets are set. Joins nothing (but to leave, see
//! [`leave`]), and commits only without a membership, which the brokers refuse while the group has members.
//!
//! Fixed partitions have no group: the same is asked of whoever keeps their positions.

mod age;
mod fixed;
mod history;
mod leave;
pub mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

pub use super::ffi::groups::{Group, Member};
pub use leave::{Left, leave};

use self::target::{Selection, Target};
use super::client::{asking_config, creation_error, isolation_level, reader_config};
use super::contexts::Listener;
use super::error::{from_code, from_kafka};
use super::ffi::list::{self, Entry};
use super::ffi::{cluster, groups};
use super::lookup::log_offsets;
use crate::config::settings::{KafkaSettings, Settings, SinkSettings, Subscription};
use crate::error::Error;
use crate::offsets::TopicPartition;
use crate::pipeline::source::Committed;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Timestamps that ask for the first and the last offset of a log.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// A group as it stands.
#[derive(Debug, Clone)]
pub struct View {
    /// The cluster's id.
    pub cluster_id: String,
    /// State, assignor, members; `None` if the partitions are fixed and there is no group.
    pub group: Option<Group>,
    /// The process that keeps the positions of fixed partitions at this moment, if one does.
    pub held_by: Option<String>,
    /// The partitions that the configuration means, sorted.
    pub partitions: Vec<Standing>,
}

/// Where a partition stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Which partition.
    pub partition: TopicPartition,
    /// The topic's id, base64.
    pub topic_id: String,
    /// How many partitions the topic has.
    pub num_partitions: i32,
    /// The group's committed offset.
    pub committed: Option<Committed>,
    /// The oldest offset that the broker still has.
    pub log_start: i64,
    /// The log end offset.
    pub log_end: i64,
}

impl View {
    /// The group's members; none without a group.
    pub fn members(&self) -> &[Member] {
        self.group.as_ref().map_or(&[], |group| &group.members)
    }
}

impl Standing {
    /// How far the group is behind; `None` without a committed offset.
    pub fn lag(&self) -> Option<i64> {
        let committed = self.committed.as_ref()?.offset;
        Some(self.log_end.saturating_sub(committed).max(0))
    }
}

/// An offset to be committed for the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Which partition.
    pub partition: TopicPartition,
    /// The next offset to read.
    pub offset: i64,
    /// The topic's id and partition count as they are now: whoever opens the partition next finds them true.
    pub metadata: String,
}

/// A client that is in no group.
pub struct GroupClient {
    consumer: BaseConsumer<Listener>,
    settings: KafkaSettings,
    kept: Kept,
}

/// Who keeps the positions.
enum Kept {
    /// The group.
    Group,
    /// A file of this machine.
    File(fixed::Place),
    /// The sink, beside the records.
    Sink,
}

impl GroupClient {
    /// A client for the brokers and the group of these settings. Nothing is asked yet.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let kept = match (&settings.kafka.subscription, &settings.sink) {
            (Subscription::Topics(_) | Subscription::Pattern(_), _) => Kept::Group,
            (_, SinkSettings::Hdfs(_)) => Kept::Sink,
            (_, SinkSettings::Elasticsearch(_)) => Kept::File(fixed::Place::of(settings)?),
        };
        let settings = &settings.kafka;
        let consumer = client_config(settings)
            .create_with_context(Listener::default())
            .map_err(|error| creation_error(&error, &settings.properties))?;
        Ok(GroupClient {
            consumer,
            settings: settings.clone(),
            kept,
        })
    }

    /// The file that the positions are kept in, if they are in one.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.kept {
            Kept::File(place) => Some(place.path()),
            Kept::Group | Kept::Sink => None,
        }
    }

    /// Whether there is nobody but the sink's own log to say where partitions stand.
    pub fn sink_decides(&self) -> bool {
        matches!(self.kept, Kept::Sink)
    }

    /// The group, its members, and where the partitions of `selection` stand.
    pub fn view(&self, selection: &Selection) -> Result<View, Error> {
        let described = match self.kept {
            Kept::Group => Some(self.group()?),
            Kept::File(_) | Kept::Sink => None,
        };
        let held_by = match &self.kept {
            Kept::File(place) => place.holder()?,
            Kept::Group | Kept::Sink => None,
        };
        let cluster_id = self.cluster_id()?;
        let topics = self.topics(selection)?;
        let wanted = self.wanted(selection, &topics)?;
        let mut committed = self.committed(&wanted)?;
        let mut starts = self.offsets(&wanted, EARLIEST)?;
        let mut ends = self.offsets(&wanted, LATEST)?;
        let mut partitions = Vec::with_capacity(wanted.len());
        for partition in wanted {
            let (Some(topic), Some(log_start), Some(log_end)) = (
                topics.get(&partition.topic),
                starts.remove(&partition),
                ends.remove(&partition),
            ) else {
                return Err(Error::unavailable(format!("{partition}: not answered")));
            };
            partitions.push(Standing {
                topic_id: topic.id.clone(),
                num_partitions: count(topic),
                committed: committed.remove(&partition),
                log_start,
                log_end,
                partition,
            });
        }
        Ok(View {
            cluster_id,
            group: described,
            held_by,
            partitions,
        })
    }

    /// State, assignor, members.
    fn group(&self) -> Result<Group, Error> {
        let group = &self.settings.group_id;
        groups::describe_group(&asking_config(&self.settings, "group"), group, TIMEOUT)
            .map_err(|code| self.failed(code, format!("the group {group} can't be described")))
    }

    fn cluster_id(&self) -> Result<String, Error> {
        cluster::cluster_id(&self.consumer, TIMEOUT).ok_or_else(|| {
            let what = "Kafka: the brokers haven't told the cluster's id";
            self.with_reason(Error::unavailable(what))
        })
    }

    /// The offset that `target` means in each partition, within what its log has. The second is what was asked
    /// for, where that lies beyond.
    pub fn resolve(
        &self,
        target: Target,
        partitions: &[Standing],
    ) -> Result<Vec<(i64, Option<i64>)>, Error> {
        let moment = match target {
            Target::ByTimestamp(moment) => Some(moment),
            Target::ByDuration(age) => {
                let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                Some(now_ms().saturating_sub(age).max(0))
            }
            _ => None,
        };
        let mut found = BTreeMap::new();
        if let Some(moment) = moment {
            let ids: Vec<_> = partitions.iter().map(|s| s.partition.clone()).collect();
            found = self.offsets_at(&ids, moment)?;
        }
        let resolve = |standing: &Standing| {
            let bounds = (standing.log_start, standing.log_end);
            target.within(bounds, found.get(&standing.partition).copied())
        };
        Ok(partitions.iter().map(resolve).collect())
    }

    /// Commits without a membership, and reads back what the group has then. The brokers refuse it while the
    /// group has members.
    pub fn set(&self, wanted: &[Set]) -> Result<(), Error> {
        match &self.kept {
            Kept::Group => self.commit(wanted)?,
            Kept::File(place) => place.set(&self.cluster_id()?, wanted)?,
            // Its log was moved, and nobody else is asked.
            Kept::Sink => return Ok(()),
        }
        let group = &self.settings.group_id;
        let partitions: Vec<_> = wanted.iter().map(|set| set.partition.clone()).collect();
        let have = self.committed(&partitions)?;
        for set in wanted {
            let found = have.get(&set.partition).map(|committed| committed.offset);
            if found != Some(set.offset) {
                return Err(Error::unavailable(format!(
                    "{}: the group {group} was set to {}, and has {}: somebody else commits for it",
                    set.partition,
                    set.offset,
                    found.map_or_else(|| "no offset".to_owned(), |found| found.to_string())
                )));
            }
        }
        Ok(())
    }

    fn commit(&self, wanted: &[Set]) -> Result<(), Error> {
        let group = &self.settings.group_id;
        let entries: Vec<Entry> = wanted
            .iter()
            .map(|set| {
                let mut entry = Entry::new(set.partition.clone(), set.offset, -1);
                entry.metadata.clone_from(&set.metadata);
                entry
            })
            .collect();
        let list = list::to_native(&entries);
        self.consumer
            .commit(&list, CommitMode::Sync)
            .map_err(|error| match error.rdkafka_error_code() {
                Some(Code::UnknownMemberId | Code::IllegalGeneration | Code::StaleMemberEpoch) => {
                    Error::unavailable(format!(
                        "the brokers refuse it: the group {group} has members (again); stop them all, and try again"
                    ))
                }
                _ => from_kafka(&error, format!("the offsets of group {group} can't be set")),
            })
    }

    /// How old the record at the committed offset of each lagging partition is, as far as it can be read within
    /// a few seconds.
    pub fn ages(&self, partitions: &[Standing]) -> BTreeMap<TopicPartition, Duration> {
        age::ages(&self.settings, partitions, now_ms())
    }

    /// The topics that are meant, described.
    fn topics(&self, selection: &Selection) -> Result<BTreeMap<Arc<str>, cluster::Topic>, Error> {
        let mut names: BTreeSet<String> = match &self.settings.subscription {
            Subscription::Pattern(pattern) => {
                let all = self
                    .consumer
                    .fetch_metadata(None, TIMEOUT)
                    .map_err(|error| self.unanswered(&error, "topics can't be looked up"))?;
                let names = all.topics().iter().map(|topic| topic.name().to_owned());
                names.filter(|name| pattern.matches(name)).collect()
            }
            other => other.topics().into_iter().collect(),
        };
        if let Some(stranger) = selection.topics().find(|topic| !names.contains(*topic)) {
            return Err(Error::misconfigured(format!(
                "--topic {stranger}: the configuration doesn't read this topic"
            )));
        }
        if !selection.is_all() {
            names.retain(|name| selection.topics().any(|topic| topic == name));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let described = cluster::describe(&self.consumer, &names, TIMEOUT)
            .map_err(|code| self.failed(code, "topics can't be looked up".into()))?;
        let mut topics = BTreeMap::new();
        for topic in described {
            let topic = topic.map_err(|(name, code)| self.failed(code, format!("topic {name}")))?;
            topics.insert(Arc::from(topic.name.as_str()), topic);
        }
        Ok(topics)
    }

    /// The partitions that are meant.
    fn wanted(
        &self,
        selection: &Selection,
        topics: &BTreeMap<Arc<str>, cluster::Topic>,
    ) -> Result<Vec<TopicPartition>, Error> {
        let all = topics.iter().flat_map(|(name, topic)| {
            (0..count(topic)).map(|number| TopicPartition::new(name.clone(), number))
        });
        let mut wanted: Vec<TopicPartition> = match &self.settings.subscription {
            Subscription::Assigned(assigned) => all
                .filter(|partition| assigned.contains(partition))
                .collect(),
            _ => all.collect(),
        };
        wanted.retain(|partition| selection.has(partition));
        match selection.missing(&wanted) {
            Some(missing) => Err(Error::misconfigured(format!(
                "--topic {}:{}: there is no such partition, or the configuration doesn't read it",
                missing.topic, missing.partition
            ))),
            None => Ok(wanted),
        }
    }

    fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>, Error> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        match &self.kept {
            Kept::Group => {}
            Kept::File(place) => return place.positions(),
            Kept::Sink => return Ok(BTreeMap::new()),
        }
        let what = || {
            format!(
                "the offsets of group {} can't be read",
                self.settings.group_id
            )
        };
        let asked: Vec<Entry> = partitions.iter().cloned().map(Entry::asking).collect();
        let answered = self
            .consumer
            .committed_offsets(list::to_native(&asked), TIMEOUT)
            .map_err(|error| self.unanswered(&error, &what()))?;
        let mut found = BTreeMap::new();
        for entry in list::from_native(&answered) {
            if let Some(code) = entry.error {
                return Err(self.failed(code, what()));
            }
            if entry.offset >= 0 {
                let committed = Committed {
                    offset: entry.offset,
                    leader_epoch: entry.leader_epoch,
                    metadata: entry.metadata,
                };
                found.insert(entry.partition, committed);
            }
        }
        Ok(found)
    }

    fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: i64,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = log_offsets(&self.consumer, partitions, which)?;
        found
            .into_iter()
            .map(|(partition, offset)| offset.map(|offset| (partition, offset)))
            .collect()
    }

    /// The first record at or after a moment; partitions without one are left out.
    fn offsets_at(
        &self,
        partitions: &[TopicPartition],
        moment: i64,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let asked: Vec<Entry> = partitions
            .iter()
            .map(|partition| Entry::new(partition.clone(), moment, -1))
            .collect();
        let answered = self
            .consumer
            .offsets_for_times(list::to_native(&asked), TIMEOUT)
            .map_err(|error| self.unanswered(&error, "offsets of a moment can't be looked up"))?;
        let mut found = BTreeMap::new();
        for entry in list::from_native(&answered) {
            match entry.error {
                Some(code) => return Err(self.failed(code, entry.partition.to_string())),
                None if entry.offset >= 0 => drop(found.insert(entry.partition, entry.offset)),
                None => {}
            }
        }
        Ok(found)
    }

    fn failed(&self, code: Code, what: String) -> Error {
        self.with_reason(from_code(code, format!("Kafka: {what}")))
    }

    fn unanswered(&self, error: &KafkaError, what: &str) -> Error {
        self.with_reason(from_kafka(error, format!("Kafka: {what}")))
    }

    /// What the client said last of its connections is more precise than a timeout.
    fn with_reason(&self, mut error: Error) -> Error {
        let heard = &self.consumer.context().0;
        let reason = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(reason) = reason {
            error.what = format!("{} ({reason})", error.what);
        }
        error
    }
}

fn count(topic: &cluster::Topic) -> i32 {
    i32::try_from(topic.leaders.len()).unwrap_or(i32::MAX)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Sees the logs as the workers do: a position behind an open transaction would be beyond their end.
fn client_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = reader_config(settings, "group");
    config
        .set("client.id", "outflow-group")
        .set("isolation.level", isolation_level(settings))
        // One record a partition is wanted.
        .set("fetch.message.max.bytes", "16384");
    config
}
