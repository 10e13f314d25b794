//! How many workers the memory carries, and how many open files each, by the very formulas that the sinks keep to.

use super::super::kinds::{Parsed, format_bytes};
use super::super::problem::Place;
use super::super::settings::{HdfsSettings, SinkSettings};
use super::Validator;
use crate::kafka::budget::Budget;
use crate::sinks::hdfs::budget::{Limits, file_cost_bytes, share_bytes};

const MIB: u64 = 1 << 20;

/// What so many workers must have as `memory`: at the least, and to do all that is configured.
fn needed(sink: Option<&SinkSettings>, workers: u64) -> (u64, u64) {
    match sink {
        Some(SinkSettings::Hdfs(hdfs)) => {
            let cost = file_cost_bytes(hdfs.compression);
            let of_files = |files| {
                let shares = share_bytes(files, cost).saturating_mul(workers);
                Budget::leaving(shares).div_ceil(MIB) * MIB
            };
            (of_files(1), of_files(hdfs.max_open_files as u64))
        }
        Some(SinkSettings::Elasticsearch(es)) => {
            let all = (16 * MIB + 3 * es.max_batch_bytes as u64).saturating_mul(workers);
            (all, all)
        }
        None => (16 * MIB, 16 * MIB),
    }
}

impl Validator<'_> {
    /// `auto`: half the cores, as far as the memory carries.
    pub(super) fn workers(&mut self, memory: u64, sink: Option<&SinkSettings>) -> usize {
        let wanted = self.values.integer("workers");
        let wanted = wanted.and_then(|n| usize::try_from(n).ok());
        let workers = wanted.unwrap_or_else(|| {
            let is_carried = |n: &usize| needed(sink, *n as u64).1 <= memory;
            let half = self.surroundings.cores() / 2;
            (2..=half).take_while(is_carried).last().unwrap_or(1)
        });
        let (least, all) = needed(sink, workers as u64);
        if memory < least {
            self.too_little(memory, workers, all, sink, wanted.is_some());
        } else if let Some(SinkSettings::Hdfs(hdfs)) = sink {
            self.check_open_files(memory, workers, all, hdfs);
        }
        if wanted.is_none() {
            let derived = Parsed::Integer(i64::try_from(workers).unwrap_or(1));
            self.derived.insert("workers", derived);
        }
        workers
    }

    fn too_little(
        &mut self,
        memory: u64,
        workers: usize,
        all: u64,
        sink: Option<&SinkSettings>,
        is_wanted: bool,
    ) {
        let memory = format_bytes(memory);
        let what = match workers {
            1 => format!("{memory} is too little for one worker"),
            n => format!("{n} workers need more memory than {memory}"),
        };
        let why = match sink {
            Some(SinkSettings::Hdfs(hdfs)) => {
                let cost = format_bytes(file_cost_bytes(hdfs.compression));
                Some(format!(
                    "every open HDFS file takes up to {cost}: see hdfs.max_open_files"
                ))
            }
            Some(SinkSettings::Elasticsearch(_)) => {
                Some("a worker holds up to three batches: see elasticsearch.max_batch_bytes".into())
            }
            None => None,
        };
        let is_shared = matches!(self.values.place("memory"), Place::Share(_));
        let key = match is_wanted && !is_shared {
            true => "workers",
            false => "memory",
        };
        let help = format!("{}, or fewer workers", self.to_get(all));
        self.error(key, what).extend([help].into_iter().chain(why));
    }

    /// How the sink gets so much memory.
    fn to_get(&self, bytes: u64) -> String {
        match self.values.place("memory") {
            Place::Share(share) => share.to_get(bytes),
            _ => format!("give it memory = \"{}\"", format_bytes(bytes)),
        }
    }

    /// Fewer files than wanted are no mistake: partitions take turns. But it is said.
    fn check_open_files(&mut self, memory: u64, workers: usize, all: u64, hdfs: &HdfsSettings) {
        let cost = file_cost_bytes(hdfs.compression);
        let share = Budget::beside(memory) / workers as u64;
        let fit = Limits::new(share, hdfs.max_open_files, cost).places;
        if fit >= hdfs.max_open_files {
            return;
        }
        // Whichever of the two somebody set.
        let key = match self.values.is_set("memory") {
            true => "memory",
            false => "hdfs.max_open_files",
        };
        let (memory, cost) = (format_bytes(memory), format_bytes(cost));
        let help = self.to_get(all);
        let of_workers = match workers {
            1 => String::new(),
            n => format!(" for each of {n} workers"),
        };
        self.warning(
            key,
            format!(
                "{memory} is enough for {fit} of {} open files{of_workers}, which take up to {cost} each: with more than \
                 {fit} partitions a worker, these take turns",
                hdfs.max_open_files
            ),
        )
        .push(format!(
            "{help} for all of them, or say hdfs.max_open_files = {fit}"
        ));
    }
}
