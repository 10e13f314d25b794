//! What tests ask of Kafka as clients: topics, offsets of groups, and everything in a topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::error::{Context, Error, Result};
use crate::guard::wait_until;
use crate::rt::block_on;

const TIMEOUT: Duration = Duration::from_secs(30);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(90);

/// A record as it stands in a topic.
#[derive(Clone, Debug)]
pub struct Consumed {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Milliseconds since 1970, if it has one.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Consumed {
    /// The first header of this name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        value
            .as_ref()
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// A client for one set of brokers.
#[derive(Clone, Debug)]
pub struct KafkaClient {
    bootstrap: String,
}

impl KafkaClient {
    /// For the brokers at `bootstrap`.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
        }
    }

    /// Creates a topic and waits until every broker's metadata shows all its partitions with a leader.
    pub fn create_topic(
        &self,
        topic: &str,
        num_partitions: usize,
        config: &[(&str, &str)],
    ) -> Result<()> {
        let num = i32::try_from(num_partitions).context("too many partitions")?;
        let admin = self.admin()?;
        let name = topic.to_owned();
        let config: Vec<(String, String)> = config
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let created = block_on(async move {
            let mut new = NewTopic::new(&name, num, TopicReplication::Fixed(-1));
            for (key, value) in &config {
                new = new.set(key, value);
            }
            admin.create_topics([&new], &options()).await
        });
        each(&format!("can't create topic {topic}"), created)?;
        self.wait_for_partitions(topic, num_partitions)
    }

    /// Replaces the properties of a topic.
    pub fn alter_topic(&self, topic: &str, config: &[(&str, &str)]) -> Result<()> {
        let admin = self.admin()?;
        let name = topic.to_owned();
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let config: Vec<(String, String)> = config.iter().map(pair).collect();
        let altered = block_on(async move {
            let mut new = AlterConfig::new(ResourceSpecifier::Topic(&name));
            for (key, value) in &config {
                new = new.set(key, value);
            }
            admin.alter_configs([&new], &options()).await
        });
        let what = format!("can't alter topic {topic}");
        let failed = |(_, code)| Error::new(format!("{what}: {code}"));
        altered
            .context(&what)?
            .into_iter()
            .try_for_each(|result| result.map(|_| ()).map_err(failed))
    }

    /// Deletes a topic and waits until it is gone from the metadata.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        let admin = self.admin()?;
        let name = topic.to_owned();
        let deleted = block_on(async move { admin.delete_topics(&[&name], &options()).await });
        each(&format!("can't delete topic {topic}"), deleted)?;
        wait_until(&format!("topic {topic} is gone"), TIMEOUT, || {
            match self.num_partitions(topic) {
                Ok(0) => Ok(()),
                Ok(num) => Err(format!("it has {num} partitions")),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Raises the number of partitions.
    pub fn add_partitions(&self, topic: &str, new_total: usize) -> Result<()> {
        let admin = self.admin()?;
        let name = topic.to_owned();
        let added = block_on(async move {
            admin
                .create_partitions([&NewPartitions::new(&name, new_total)], &options())
                .await
        });
        each(&format!("can't add partitions to {topic}"), added)?;
        self.wait_for_partitions(topic, new_total)
    }

    /// Deletes the records before `before` of one partition, as retention would.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        let what = format!("can't delete records of {topic}-{partition} before {before}");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))
            .context(&what)?;
        let admin = self.admin()?;
        let deleted = block_on(async move { admin.delete_records(&list, &options()).await });
        let deleted = deleted.context(&what)?;
        deleted
            .elements()
            .iter()
            .try_for_each(|element| element.error().context(&what))
    }

    /// The number of partitions; 0 if there is no such topic.
    pub fn num_partitions(&self, topic: &str) -> Result<usize> {
        let client = self.consumer("testbed-metadata")?;
        let metadata = client.fetch_metadata(Some(topic), TIMEOUT);
        let metadata = metadata.context(format!("can't ask for topic {topic}"))?;
        let topic = metadata.topics().iter().find(|known| known.name() == topic);
        Ok(topic.map_or(0, |topic| {
            topic
                .partitions()
                .iter()
                .filter(|partition| partition.leader() >= 0)
                .count()
        }))
    }

    /// The first offset and the log end offset of every partition.
    pub fn watermarks(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>> {
        let client = self.consumer("testbed-watermarks")?;
        let num = i32::try_from(self.num_partitions(topic)?).context("too many partitions")?;
        (0..num)
            .map(|partition| {
                let marks = client.fetch_watermarks(topic, partition, TIMEOUT);
                Ok((
                    partition,
                    marks.context(format!("watermarks of {topic}-{partition}"))?,
                ))
            })
            .collect()
    }

    /// The id of the broker that coordinates a group: the leader of the group's partition of Kafka's own topic.
    pub fn coordinator(&self, group: &str) -> Result<i32> {
        const OFFSETS: &str = "__consumer_offsets";
        let client = self.consumer("testbed-metadata")?;
        let metadata = client.fetch_metadata(Some(OFFSETS), TIMEOUT);
        let metadata = metadata.context("can't ask for the coordinator")?;
        let topic = metadata.topics().iter().find(|t| t.name() == OFFSETS);
        let partitions = topic.map_or(&[][..], |topic| topic.partitions());
        // Java's String.hashCode.
        let hash = group.encode_utf16().fold(0_i32, |hash, unit| {
            hash.wrapping_mul(31).wrapping_add(i32::from(unit))
        });
        let num = i32::try_from(partitions.len()).unwrap_or(0);
        let wanted = (hash & i32::MAX).checked_rem(num);
        let partition = partitions.iter().find(|p| Some(p.id()) == wanted);
        match partition.map(|partition| partition.leader()) {
            Some(leader) if leader >= 0 => Ok(leader),
            _ => Err(Error::new(format!("group {group} has no coordinator now"))),
        }
    }

    /// The leader of a partition (negative: none) and the brokers that have it, by their ids.
    pub fn replicas(&self, topic: &str, partition: i32) -> Result<(i32, Vec<i32>)> {
        let client = self.consumer("testbed-metadata")?;
        let metadata = client.fetch_metadata(Some(topic), TIMEOUT);
        let metadata = metadata.context(format!("can't ask for topic {topic}"))?;
        let known = metadata.topics().iter().find(|known| known.name() == topic);
        let mut partitions = known.into_iter().flat_map(|topic| topic.partitions());
        let found = partitions.find(|known| known.id() == partition);
        let found = found.ok_or_else(|| Error::new(format!("no {topic}-{partition}")))?;
        Ok((found.leader(), found.replicas().to_vec()))
    }

    /// How many members a group has now; none if there is no such group.
    pub fn num_members(&self, group: &str) -> Result<usize> {
        let client = self.consumer("testbed-metadata")?;
        let list = client.fetch_group_list(Some(group), TIMEOUT);
        let list = list.context(format!("can't ask for group {group}"))?;
        let known = list.groups().iter().find(|known| known.name() == group);
        Ok(known.map_or(0, |group| group.members().len()))
    }

    /// The committed offsets of a group; partitions without one are left out.
    pub fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let num = i32::try_from(self.num_partitions(topic)?).context("too many partitions")?;
        Committed::new(&self.bootstrap, group, topic, num)?.read(TIMEOUT)
    }

    /// The sum over partitions of log end offset minus committed offset (or minus the first offset,
    /// where nothing is committed).
    pub fn lag(&self, group: &str, topic: &str) -> Result<i64> {
        let committed = self.committed(group, topic)?;
        let marks = self.watermarks(topic)?;
        let lag = |(partition, (low, high)): (&i32, &(i64, i64))| {
            high - committed.get(partition).unwrap_or(low).max(low)
        };
        Ok(marks.iter().map(lag).sum())
    }

    /// Waits until the group has committed everything that is in the topic.
    pub fn wait_for_no_lag(&self, group: &str, topic: &str, timeout: Duration) -> Result<()> {
        let what = format!("group {group} has committed all of {topic}");
        wait_until(&what, timeout, || match self.lag(group, topic) {
            Ok(0) => Ok(()),
            Ok(lag) => Err(format!("lag {lag}")),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Everything that is in a topic now, partition by partition in offset order.
    pub fn read_all(&self, topic: &str) -> Result<Vec<Consumed>> {
        let client = self.consumer("testbed-reader")?;
        let marks = self.watermarks(topic)?;
        let mut list = TopicPartitionList::new();
        let mut open = BTreeMap::new();
        for (partition, (low, high)) in marks.into_iter().filter(|(_, (low, high))| low < high) {
            let added = list.add_partition_offset(topic, partition, Offset::Offset(low));
            added.context("can't assign")?;
            open.insert(partition, high);
        }
        client
            .assign(&list)
            .context(format!("can't read {topic}"))?;
        let mut all = Vec::new();
        let mut deadline = Instant::now() + TIMEOUT;
        while !open.is_empty() {
            match client.poll(Duration::from_millis(100)) {
                Some(Ok(record)) => {
                    deadline = Instant::now() + TIMEOUT;
                    all.push(consumed(&record));
                }
                // The end may be a transaction's marker or a hole, which are never delivered.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) => return Err(Error::new(format!("reading {topic}: {error}"))),
                None if Instant::now() > deadline => {
                    let left: Vec<_> = open.keys().collect();
                    return Err(Error::new(format!(
                        "{topic}: partitions {left:?} don't end"
                    )));
                }
                None => {}
            }
        }
        all.sort_by_key(|record| (record.partition, record.offset));
        Ok(all)
    }

    fn wait_for_partitions(&self, topic: &str, num_partitions: usize) -> Result<()> {
        let what = format!("topic {topic} has {num_partitions} partitions with leaders");
        wait_until(&what, TIMEOUT, || match self.num_partitions(topic) {
            Ok(num) if num == num_partitions => Ok(()),
            Ok(num) => Err(format!("{num} partitions")),
            Err(error) => Err(error.to_string()),
        })
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config.create().context("can't make a Kafka admin client")
    }

    fn consumer(&self, group: &str) -> Result<BaseConsumer> {
        consumer(&self.bootstrap, group)
    }
}

/// Commits these offsets (by partition) with the group of a consumer that need not be a member, as often as it takes.
pub fn commit(consumer: &BaseConsumer, topic: &str, offsets: &[(i32, i64)]) -> Result<()> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
            .context("not an offset")?;
    }
    let committed = || {
        consumer
            .commit(&list, CommitMode::Sync)
            .map_err(|error| error.to_string())
    };
    wait_until("it is committed", COMMIT_TIMEOUT, committed)
}

/// A client that reads the committed offsets of one group again and again.
pub struct Committed {
    client: BaseConsumer,
    group: String,
    partitions: TopicPartitionList,
}

impl Committed {
    /// Of this group, for partitions 0 to n-1 of this topic.
    pub fn new(bootstrap: &str, group: &str, topic: &str, num_partitions: i32) -> Result<Self> {
        let mut partitions = TopicPartitionList::new();
        for partition in 0..num_partitions {
            partitions.add_partition(topic, partition);
        }
        Ok(Self {
            client: consumer(bootstrap, group)?,
            group: group.to_owned(),
            partitions,
        })
    }

    /// The committed offsets now; partitions without one are left out.
    pub fn read(&self, timeout: Duration) -> Result<BTreeMap<i32, i64>> {
        let what = format!("can't read the offsets of group {}", self.group);
        let list = self
            .client
            .committed_offsets(self.partitions.clone(), timeout)
            .context(what)?;
        let offset =
            |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element
                .offset()
            {
                Offset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            };
        Ok(list.elements().into_iter().filter_map(offset).collect())
    }
}

fn consumer(bootstrap: &str, group: &str) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group);
    config
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true");
    config
        .set("isolation.level", "read_uncommitted")
        .set("auto.offset.reset", "error");
    config.create().context("can't make a Kafka consumer")
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(TIMEOUT))
        .operation_timeout(Some(TIMEOUT))
}

fn each(what: &str, results: Result<Vec<rdkafka::admin::TopicResult>, KafkaError>) -> Result<()> {
    let failed = |(_, code)| Error::new(format!("{what}: {code}"));
    results
        .context(what)?
        .into_iter()
        .try_for_each(|result| result.map(|_| ()).map_err(failed))
}

fn consumed(record: &rdkafka::message::BorrowedMessage<'_>) -> Consumed {
    let headers = record.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect()
    });
    Consumed {
        partition: record.partition(),
        offset: record.offset(),
        timestamp_ms: record.timestamp().to_millis(),
        key: record.key().map(<[u8]>::to_vec),
        value: record.payload().map(<[u8]>::to_vec),
        headers,
    }
}
