//! The ledger: what the broker acknowledged, record by record. Everything is checked against it.

use std::collections::BTreeMap;

/// One acknowledged record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset that the broker gave it.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
}

impl Entry {
    /// `topic-partition@offset`, for messages.
    pub fn place(&self) -> String {
        format!("{}-{}@{}", self.topic, self.partition, self.offset)
    }
}

/// What the broker acknowledged, and what nobody knows about.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    partitions: BTreeMap<(String, i32), BTreeMap<i64, Entry>>,
    /// Values whose fate is unknown (the producer gave up): they may be there or not.
    pub uncertain: Vec<Vec<u8>>,
}

impl Ledger {
    /// Enters a record.
    pub fn add(&mut self, entry: Entry) {
        let partition = self
            .partitions
            .entry((entry.topic.clone(), entry.partition))
            .or_default();
        partition.insert(entry.offset, entry);
    }

    /// Takes over all entries of another.
    pub fn merge(&mut self, other: Ledger) {
        other
            .partitions
            .into_values()
            .flat_map(BTreeMap::into_values)
            .for_each(|e| self.add(e));
        self.uncertain.extend(other.uncertain);
    }

    /// All entries, in order of topic, partition, offset.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.partitions.values().flat_map(BTreeMap::values)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.partitions.values().map(BTreeMap::len).sum()
    }

    /// Whether nothing was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry at one offset.
    pub fn get(&self, topic: &str, partition: i32, offset: i64) -> Option<&Entry> {
        self.partitions
            .get(&(topic.to_owned(), partition))?
            .get(&offset)
    }

    /// Only the entries that `keep` says yes to: for example without those that must be refused.
    pub fn filtered(&self, keep: impl Fn(&Entry) -> bool) -> Ledger {
        let mut kept = Ledger {
            uncertain: self.uncertain.clone(),
            ..Ledger::default()
        };
        self.iter()
            .filter(|entry| keep(entry))
            .for_each(|entry| kept.add(entry.clone()));
        kept
    }
}

/// All that stands in a topic, read back from it: the ledger of records that somebody else produced.
pub fn ledger_of_topic(client: &crate::KafkaClient, topic: &str) -> crate::Result<Ledger> {
    let mut ledger = Ledger::default();
    for record in client.read_all(topic)? {
        let (partition, offset) = (record.partition, record.offset);
        let (key, value) = (record.key, record.value);
        ledger.add(Entry {
            topic: topic.to_owned(),
            partition,
            offset,
            key,
            value,
        });
    }
    Ok(ledger)
}
