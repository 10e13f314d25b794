//! Fixed partitions: are they there, and where do their positions stand?

use std::collections::BTreeMap;
use std::path::Path;

use super::{Check, Finding, OffsetReset, Settings, TIMEOUT, word};
use crate::config::settings::SinkSettings;
use crate::kafka::ffi::cluster::cluster_id;
use crate::kafka::positions::{self, Positions};
use crate::offsets::TopicPartition;

/// Partitions' numbers by topic.
type Numbers = BTreeMap<String, Vec<i32>>;

impl Check {
    /// Those of the fixed partitions that are there; says which aren't.
    pub(super) fn fixed(&mut self, fixed: &[TopicPartition], known: &Numbers) -> Numbers {
        let mut there = Numbers::new();
        for (topic, numbers) in known {
            let wanted = fixed.iter().filter(|p| *p.topic == **topic);
            let (found, missing): (Vec<i32>, Vec<i32>) = wanted
                .map(|p| p.partition)
                .partition(|number| numbers.contains(number));
            if !missing.is_empty() {
                let missing: Vec<_> = missing.iter().map(i32::to_string).collect();
                self.findings.push(Finding::wrong(
                    format!("topic {topic}"),
                    format!(
                        "has {} partitions, and kafka.assign names {}",
                        numbers.len(),
                        missing.join(", ")
                    ),
                    "correct kafka.assign, or give the topic more partitions; the others are read meanwhile",
                ));
            }
            there.insert(topic.clone(), found);
        }
        there
    }

    /// Where the positions of fixed partitions are kept, and what stands there.
    pub(super) fn positions(&mut self, settings: &Settings, there: &Numbers) {
        let finding = match (&settings.sink, &settings.kafka.state_dir) {
            (SinkSettings::Hdfs(_), _) => {
                Finding::fine("positions", "without a group, in HDFS's commit log")
            }
            (SinkSettings::Elasticsearch(_), Some(state_dir)) => {
                self.stored(settings, state_dir, there)
            }
            // Validation has refused this already.
            (SinkSettings::Elasticsearch(_), None) => Finding::wrong(
                "positions",
                "have no place",
                "set state_dir = \"/var/lib/outflow\" at the top",
            ),
        };
        self.findings.push(finding);
    }

    fn stored(&mut self, settings: &Settings, state_dir: &Path, there: &Numbers) -> Finding {
        let path = positions::path(state_dir, &settings.name);
        let subject = format!("positions {}", path.display());
        if !state_dir.is_dir() {
            let help =
                "create the folder, for the user that outflow runs as; if it is a volume, mount it";
            return Finding::wrong(subject, "have no place: state_dir isn't there", help);
        }
        let holder = positions::holder(state_dir, &settings.name);
        let found = positions::read(state_dir, &settings.name);
        let (holder, found) = match (holder, found) {
            (Ok(holder), Ok(found)) => (holder, found.unwrap_or_default()),
            (Err(why), _) | (_, Err(why)) => {
                return Finding::wrong(
                    subject,
                    why.what,
                    "outflow won't read before that is mended",
                );
            }
        };
        let connected = cluster_id(&self.client, TIMEOUT);
        if let (Some(kept), Some(connected)) = (&found.cluster_id, connected)
            && *kept != connected
        {
            return Finding::wrong(
                subject,
                format!("are of cluster {kept}, and these brokers are {connected}"),
                "correct kafka.bootstrap_servers, or move the file away to begin anew",
            );
        }
        let offsets = offsets(&found, there);
        self.log_starts(&offsets, settings.kafka.on_offset_lost);
        let total: usize = there.values().map(Vec::len).sum();
        let in_use = holder.map_or(String::new(), |pid| {
            format!("; process {pid} is using them")
        });
        match (offsets.len(), settings.kafka.auto_offset_reset) {
            (have, OffsetReset::None) if have < total => Finding::wrong(
                subject,
                format!("lack {} of {total} partitions{in_use}", total - have),
                "kafka.auto_offset_reset = \"none\" keeps these waiting: choose \"earliest\" or \"latest\", or set \
                 positions with `outflow group reset`",
            ),
            (0, reset) => Finding::fine(
                subject,
                format!("are new and start at {}{in_use}", word(reset)),
            ),
            (have, _) => Finding::fine(
                subject,
                format!("are known for {have} of {total} partitions{in_use}"),
            ),
        }
    }
}

fn offsets(kept: &Positions, there: &Numbers) -> Vec<(String, i32, i64)> {
    let wanted = kept.partitions.iter().filter(|(id, _)| {
        let numbers = there.get(&*id.topic);
        numbers.is_some_and(|numbers| numbers.contains(&id.partition))
    });
    wanted
        .map(|(id, at)| (id.topic.to_string(), id.partition, at.offset))
        .collect()
}
