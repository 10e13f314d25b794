//! What became of the letters of a replay: noted, and summed up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::say;
use crate::config::problem::printable;
use crate::config::settings::{Settings, SinkSettings};
use crate::error::Error;
use crate::kafka::letterbox::{Memory, Place};
use crate::metrics::SinkMetrics;
use crate::offsets::{OffsetRuns, TopicPartition};
use crate::replay::survey::Survey;
use crate::replay::{Fate, Item};
use crate::sinks::Rejection;

/// How often it is noted what was replayed.
const NOTE: Duration = Duration::from_secs(1);
/// How many letters that were refused again are shown.
const SHOWN: usize = 20;

/// What became of the letters, and where that is noted.
pub(super) struct Tally {
    memory: Option<Memory>,
    noted: Instant,
    /// Whether it couldn't be noted, which is said once.
    is_forgetful: bool,
    /// Replayed since the last note.
    done: BTreeMap<TopicPartition, OffsetRuns>,
    last: u64,
    before: u64,
    refused: Vec<(TopicPartition, i64, Place, Rejection)>,
    gone: Vec<(Place, String)>,
}

impl Tally {
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let memory = match settings.sink {
            SinkSettings::Elasticsearch(_) => Some(Memory::new(&settings.kafka, &settings.name)?),
            SinkSettings::Hdfs(_) => None,
        };
        Ok(Tally {
            memory,
            noted: Instant::now(),
            is_forgetful: false,
            done: BTreeMap::new(),
            last: 0,
            before: 0,
            refused: Vec::new(),
            gone: Vec::new(),
        })
    }

    pub fn add(&mut self, partition: &TopicPartition, item: Item, fate: Fate) {
        match fate {
            Fate::Final => {
                self.last += 1;
                let done = self.done.entry(partition.clone()).or_default();
                done.insert(item.origin, item.origin);
            }
            Fate::Before => self.before += 1,
            Fate::Refused(why) => {
                let refused = (partition.clone(), item.origin, item.place, why);
                self.refused.push(refused);
            }
            Fate::Gone(why) => self.gone.push((item.place, why)),
        }
    }

    pub fn note(&mut self, survey: &mut Survey, at_once: bool) {
        let Some(memory) = &self.memory else { return };
        if self.done.is_empty() || (!at_once && self.noted.elapsed() < NOTE) {
            return;
        }
        self.noted = Instant::now();
        survey.mark_too(&std::mem::take(&mut self.done));
        if let Err(why) = memory.write(&survey.notes())
            && !std::mem::replace(&mut self.is_forgetful, true)
        {
            say(&format!(
                "warning: {why}: what is replayed can't be noted; replaying it again does no harm\n"
            ));
        }
    }

    /// Whether nothing was refused again or is gone.
    pub fn is_fine(&self) -> bool {
        self.refused.is_empty() && self.gone.is_empty()
    }

    pub fn sum_up(&self, num_records: usize, metrics: &SinkMetrics) -> String {
        let there = metrics.already_present.get();
        let tombstone = SinkMetrics::reason("tombstone");
        let dropped = metrics.dropped_records.get_or_create(&tombstone).get();
        let written = self.last.saturating_sub(there + dropped);
        let mut text = format!(
            "\n{num_records} records: {written} written, {} there already, {} refused again",
            there + self.before,
            self.refused.len()
        );
        let answered = self.last + self.before + (self.refused.len() + self.gone.len()) as u64;
        let left = (num_records as u64).saturating_sub(answered);
        for (count, what) in [
            (
                dropped,
                "dropped (null values, by hdfs.tombstones or elasticsearch.tombstones)",
            ),
            (self.gone.len() as u64, "gone from Kafka"),
            (left, "left"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text.push('\n');
        for (partition, offset, place, why) in self.refused.iter().take(SHOWN) {
            let Rejection { reason, detail, .. } = why;
            text.push_str(&format!(
                "  refused again: {place}, {partition}@{offset}: {}: {}\n",
                printable(reason),
                printable(detail)
            ));
        }
        if self.refused.len() > SHOWN {
            text.push_str(&format!("  ... and {} more\n", self.refused.len() - SHOWN));
        }
        for (place, why) in self.gone.iter().take(SHOWN) {
            text.push_str(&format!("  gone: {place}: {why}\n"));
        }
        if !self.refused.is_empty() {
            text.push_str("What was refused again stays in the dead letter topic; mend it, and replay it again.\n");
        }
        text
    }
}
