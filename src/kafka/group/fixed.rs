//! The positions of fixed partitions, in a file of this machine: looked at while a process keeps them, set while
//! none does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Set;
use crate::config::settings::Settings;
use crate::error::Error;
use crate::kafka::positions::{self, PositionStore};
use crate::offsets::TopicPartition;
use crate::pipeline::source::{Commit, Committed};

/// Where the positions of a sink are kept.
pub(super) struct Place {
    dir: PathBuf,
    sink: String,
}

impl Place {
    pub fn of(settings: &Settings) -> Result<Self, Error> {
        let dir = settings.kafka.state_dir.clone().ok_or_else(|| {
            Error::misconfigured(
                "kafka.assign needs a place for the positions: set state_dir at the top of the file",
            )
        })?;
        Ok(Place {
            dir,
            sink: settings.name.to_string(),
        })
    }

    pub fn path(&self) -> PathBuf {
        positions::path(&self.dir, &self.sink)
    }

    /// Who keeps them at this moment.
    pub fn holder(&self) -> Result<Option<String>, Error> {
        positions::holder(&self.dir, &self.sink)
    }

    pub fn positions(&self) -> Result<BTreeMap<TopicPartition, Committed>, Error> {
        let found = positions::read(&self.dir, &self.sink)?;
        Ok(found.map(|found| found.partitions).unwrap_or_default())
    }

    /// Sets these; refused while a process keeps them, and if the file is another cluster's.
    pub fn set(&self, cluster_id: &str, wanted: &[Set]) -> Result<(), Error> {
        let store = PositionStore::open(&self.dir, &self.sink)?;
        store.belongs_to(cluster_id)?;
        let commit = |set: &Set| Commit {
            partition: set.partition.clone(),
            offset: set.offset,
            leader_epoch: -1,
            metadata: set.metadata.clone(),
        };
        store.set(wanted.iter().map(commit).collect())
    }
}
