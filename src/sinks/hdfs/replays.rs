//! Which dead letters were replayed into HDFS: the logs of replays say it, file by file. And which had better not be:
//! those whose records the sink reads again by itself, or has read again.

use std::collections::BTreeMap;

use super::log::{Entry, FileEntry, names};
use super::log_admin::LogAdmin;
use super::moves::live;
use crate::config::settings::HdfsSettings;
use crate::error::Error;
use crate::offsets::{OffsetRuns, TopicPartition};

/// How often a log that changes hands, or is rolled up, is looked at again.
const LOOKS: usize = 5;

/// The logs of replays below one base.
pub struct Replays(LogAdmin);

/// What the sink's own log says of records that were refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passed {
    /// The sink reads on from here: what is at or behind it, it reads by itself. `None` if there is no log.
    pub end: Option<i64>,
    /// Read again since, because a person moved the log back (or it was of another topic of this name): whether they
    /// were refused again isn't known.
    pub again: OffsetRuns,
}

impl Passed {
    /// Whether a record that was refused may stand in a file of the sink's, or come to.
    pub fn is_unclear(&self, offset: i64) -> bool {
        self.end.is_some_and(|end| offset >= end) || self.again.has(offset)
    }
}

impl Replays {
    /// Access as the settings say. Looking changes nothing.
    pub fn new(settings: &HdfsSettings) -> Self {
        Replays(LogAdmin::new(settings, "deadletters"))
    }

    /// The offsets of these partitions' records that were replayed. Whoever has a partition's replays open may rely on
    /// it until fenced: nobody else can add to it.
    pub async fn replayed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetRuns>, Error> {
        self.origins(partitions, false).await
    }

    /// The same, of records that readers see: what was committed and not published, when a replay was killed, is
    /// published by the next one that has the partition open.
    pub async fn published(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetRuns>, Error> {
        self.origins(partitions, true).await
    }

    async fn origins(
        &self,
        partitions: &[TopicPartition],
        published: bool,
    ) -> Result<BTreeMap<TopicPartition, OffsetRuns>, Error> {
        let mut replayed = BTreeMap::new();
        for partition in partitions {
            let (entries, unfinished) = self.entries(&log_of(partition)).await?;
            let mut offsets = OffsetRuns::default();
            for entry in &entries {
                if published && unfinished.contains(&entry.seq) {
                    continue;
                }
                let runs = entry.files.iter().flat_map(|file| &file.origins);
                runs.for_each(|(first, last)| offsets.insert(*first, *last));
            }
            replayed.insert(partition.clone(), offsets);
        }
        Ok(replayed)
    }

    /// What the sink itself has passed of these partitions.
    pub async fn passed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Passed>, Error> {
        let mut all = BTreeMap::new();
        for partition in partitions {
            let (entries, _) = self.entries(partition).await?;
            all.insert(partition.clone(), passed(&entries));
        }
        Ok(all)
    }

    /// Files in the tree, by their paths relative to the base, with replayed records of offsets from `from` on.
    pub async fn standing_from(
        &self,
        partition: &TopicPartition,
        from: i64,
    ) -> Result<Vec<String>, Error> {
        let (entries, _) = self.entries(&log_of(partition)).await?;
        let files = entries.into_iter().flat_map(|entry| entry.files);
        let concerned = files.filter(|file| file.origins.iter().any(|(_, last)| *last >= from));
        self.0
            .standing(concerned.map(|file| file.path).collect())
            .await
    }

    /// The files of a partition's replays that readers see, or should.
    pub async fn files(&self, partition: &TopicPartition) -> Result<Vec<FileEntry>, Error> {
        let (entries, unfinished) = self.entries(&log_of(partition)).await?;
        let published = |entry: &Entry| !unfinished.contains(&entry.seq);
        let published: Vec<Entry> = entries.into_iter().filter(published).collect();
        Ok(live(&published))
    }

    /// A log's entries, and the numbers of those whose files aren't all published; none if there is no log.
    async fn entries(&self, log: &TopicPartition) -> Result<(Vec<Entry>, Vec<u64>), Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            let seen = self.0.look_at(std::slice::from_ref(log)).await?;
            let Some(seen) = seen.get(log) else {
                return Ok((Vec::new(), Vec::new()));
            };
            let read = async {
                let entries = self.0.entries(seen).await?;
                // After the entries: none of them becomes unfinished.
                let unfinished = self.0.unfinished(seen).await?;
                Ok((entries, unfinished))
            };
            match read.await {
                Err(_) if looks < LOOKS => {}
                read => return read,
            }
        }
    }
}

fn log_of(partition: &TopicPartition) -> TopicPartition {
    TopicPartition::new(names::replays_of(&partition.topic), partition.partition)
}

fn passed(entries: &[Entry]) -> Passed {
    let mut passed = Passed::default();
    for entry in entries {
        passed.end = Some(entry.end);
        let Some(moved) = &entry.moved else { continue };
        let was = moved.was.as_ref();
        let is_other = was.is_some_and(|was| was.topic_id != entry.identity.topic_id);
        let first = if is_other { 0 } else { entry.first };
        passed.again.insert(first, moved.from - 1);
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::super::log::{Identity, MOVED_VERSION, Moved, VERSION};
    use super::*;

    fn entry(seq: u64, first: i64, end: i64, moved: Option<(i64, &str)>) -> Entry {
        let identity = |topic: &str| Identity {
            cluster_id: "c".into(),
            topic_id: topic.into(),
            group: "g".into(),
        };
        Entry {
            version: if moved.is_some() {
                MOVED_VERSION
            } else {
                VERSION
            },
            seq,
            identity: identity("now"),
            leader_epoch: -1,
            first,
            end,
            attempt: "me".into(),
            files: Vec::new(),
            moved: moved.map(|(from, topic)| Moved {
                from,
                by: "reset".into(),
                was: (topic != "now").then(|| identity(topic)),
                aside: Vec::new(),
            }),
        }
    }

    #[test]
    fn what_the_sink_reads_again_is_unclear() {
        let unclear = |entries: &[Entry], offsets: &[i64]| {
            let passed = passed(entries);
            let unclear = offsets.iter().filter(|offset| passed.is_unclear(**offset));
            unclear.copied().collect::<Vec<_>>()
        };
        let all = [0, 9, 10, 19, 20, 29, 30, 99];
        assert!(unclear(&[], &all).is_empty(), "no log");
        let plain = [entry(0, 0, 0, None), entry(1, 0, 30, None)];
        assert_eq!(unclear(&plain, &all), [30, 99], "not passed yet");
        let back = [
            &plain[..],
            &[entry(2, 10, 10, Some((30, "now"))), entry(3, 10, 40, None)],
        ];
        assert_eq!(unclear(&back.concat(), &all), [10, 19, 20, 29, 99]);
        let forward = [&plain[..], &[entry(2, 50, 50, Some((30, "now")))]];
        assert_eq!(unclear(&forward.concat(), &all), [99]);
        let other = [
            &plain[..],
            &[entry(2, 5, 5, Some((30, "before"))), entry(3, 5, 40, None)],
        ];
        assert_eq!(unclear(&other.concat(), &all), [0, 9, 10, 19, 20, 29, 99]);
    }
}
