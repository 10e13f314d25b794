//! What the past has left to see: where a group began in each log, and which logs are compacted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::{GroupClient, Standing, TIMEOUT, asking_config, now_ms};
use crate::error::Error;
use crate::kafka::position::moment;
use crate::offsets::{Note, TopicPartition};

impl GroupClient {
    /// The first offset that the group was to read in each log, as far as its policy, its notes and the records'
    /// timestamps tell; partitions without an entry were read from the log's beginning.
    pub fn began_at(
        &self,
        partitions: &[Standing],
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let mut by_moment: BTreeMap<i64, Vec<TopicPartition>> = BTreeMap::new();
        for standing in partitions {
            let committed = standing.committed.as_ref();
            let note = committed.and_then(|committed| Note::parse(&committed.metadata));
            let since = note.and_then(|note| note.since_ms);
            if let Some(at) = moment(self.settings.auto_offset_reset, since, now_ms()) {
                let these = by_moment.entry(at).or_default();
                these.push(standing.partition.clone());
            }
        }
        let mut began = BTreeMap::new();
        for (at, these) in by_moment {
            let mut found = self.offsets_at(&these, at)?;
            for partition in these {
                // No record is that young: all that there are were there before.
                let offset = found.remove(&partition).unwrap_or(i64::MAX);
                began.insert(partition, offset);
            }
        }
        Ok(began)
    }

    /// Which of the partitions' topics are compacted, by their configuration now; none are known to be if that
    /// may not be asked.
    pub async fn compacted(&self, partitions: &[Standing]) -> Result<BTreeSet<Arc<str>>, Error> {
        let topics: BTreeSet<Arc<str>> = partitions
            .iter()
            .map(|standing| standing.partition.topic.clone())
            .collect();
        let what = |why: &dyn std::fmt::Display| {
            Error::unavailable(format!(
                "Kafka: whether topics are compacted can't be asked: {why}"
            ))
        };
        let admin: AdminClient<DefaultClientContext> = asking_config(&self.settings, "verify")
            .create()
            .map_err(|why| what(&why))?;
        let asked: Vec<_> = topics
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let answered = admin
            .describe_configs(&asked, &options)
            .await
            .map_err(|why| what(&why))?;
        let mut compacted = BTreeSet::new();
        for (topic, answer) in topics.iter().zip(answered) {
            let config = answer.map_err(|why| what(&why))?;
            let policy = config
                .get("cleanup.policy")
                .and_then(|entry| entry.value.as_ref());
            if policy.is_some_and(|policy| policy.contains("compact")) {
                compacted.insert(topic.clone());
            }
        }
        Ok(compacted)
    }
}
