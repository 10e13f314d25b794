//! Which dead letters were replayed into HDFS: the logs of replays say it, file by file.

use std::collections::BTreeMap;

use super::log::names;
use super::log_admin::LogAdmin;
use crate::config::settings::HdfsSettings;
use crate::error::Error;
use crate::offsets::{OffsetSet, TopicPartition};

/// The logs of replays below one base.
pub struct Replays(LogAdmin);

impl Replays {
    /// Access as the settings say. Looking changes nothing.
    pub fn new(settings: &HdfsSettings) -> Self {
        Replays(LogAdmin::new(settings, "deadletters"))
    }

    /// The offsets of these partitions' records that were replayed. Whoever has a partition's replays open may
    /// rely on it until fenced: nobody else can add to it.
    pub async fn replayed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetSet>, Error> {
        let log =
            |id: &TopicPartition| TopicPartition::new(names::replays_of(&id.topic), id.partition);
        let logs: Vec<_> = partitions.iter().map(log).collect();
        let seen = self.0.look_at(&logs).await?;
        let mut replayed = BTreeMap::new();
        for (partition, log) in partitions.iter().zip(&logs) {
            let Some(seen) = seen.get(log) else { continue };
            let mut offsets = OffsetSet::default();
            for entry in self.0.entries(seen).await? {
                let runs = entry.files.iter().flat_map(|file| &file.origins);
                runs.for_each(|(first, last)| offsets.insert(*first, *last));
            }
            replayed.insert(partition.clone(), offsets);
        }
        Ok(replayed)
    }
}
