//! Which file of a commit a record belongs to. Pure.
//!
//! A commit's files cover ranges of offsets that overlap where records are sorted by time; then the folder decides.
//! How a commit was sorted is read from its folders, since the partitioning may have been changed between commits;
//! the time zone isn't in them, so it is taken to be the configured one.

use std::collections::HashMap;

use jiff::tz::TimeZone;

use super::log::Commit;
use crate::config::settings::{Compression, Partitioning, TimeUnit};
use crate::offsets::TopicPartition;
use crate::sinks::hdfs::log::FileEntry;
use crate::sinks::hdfs::partitioner::{Bucket, Naming, Partitioner};

/// Where a record belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Into the commit's file of this number.
    File(usize),
    /// Its folder has no file that covers it.
    Nowhere,
    /// The commit has no such folder at all: it was sorted in a way that isn't known.
    Unknown,
}

/// Sorts the records of one partition.
pub struct Sorter {
    hourly: Layout,
    daily: Layout,
}

struct Layout {
    partitioner: Partitioner,
    naming: Naming,
    folders: HashMap<Bucket, String>,
}

/// The most folders whose names are remembered.
const MOST_FOLDERS: usize = 10_000;

impl Layout {
    fn new(partition: &TopicPartition, unit: TimeUnit, zone: TimeZone) -> Self {
        let partitioning = Partitioning::Time { unit, zone };
        Layout {
            partitioner: Partitioner::new(&partitioning),
            naming: Naming::new(
                &partition.topic,
                partition.partition,
                &partitioning,
                Compression::None,
            ),
            folders: HashMap::new(),
        }
    }

    fn folder(&mut self, timestamp_ms: Option<i64>) -> &str {
        let bucket = self.partitioner.bucket(timestamp_ms);
        if self.folders.len() >= MOST_FOLDERS {
            self.folders.clear();
        }
        let naming = &self.naming;
        self.folders
            .entry(bucket)
            .or_insert_with(|| folder(&naming.committed_file(bucket, 0, 0)).to_owned())
    }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Sorter {
    /// For a partition, whose files are sorted as configured, or were sorted otherwise once.
    pub fn new(partition: &TopicPartition, partitioning: &Partitioning) -> Self {
        let zone = match partitioning {
            Partitioning::Time { zone, .. } => zone.clone(),
            Partitioning::Default => TimeZone::UTC,
        };
        Sorter {
            hourly: Layout::new(partition, TimeUnit::Hourly, zone.clone()),
            daily: Layout::new(partition, TimeUnit::Daily, zone),
        }
    }

    /// Where in a commit the record at `offset` belongs.
    pub fn place(&mut self, commit: &Commit, offset: i64, timestamp_ms: Option<i64>) -> Place {
        let covers = |file: &FileEntry| (file.first..=file.last).contains(&offset);
        match commit.files.as_slice() {
            [] => return Place::Nowhere,
            [only] if covers(only) => return Place::File(0),
            [_] => return Place::Nowhere,
            _ => {}
        }
        let layout = match commit.files.iter().any(|file| file.path.contains("/hour=")) {
            true => &mut self.hourly,
            false => &mut self.daily,
        };
        let wanted = layout.folder(timestamp_ms);
        let mut there = commit.files.iter().enumerate();
        let mut is_known = false;
        let found = there.find(|(_, file)| {
            let is_there = folder(&file.path) == wanted;
            is_known |= is_there;
            is_there && covers(file)
        });
        match (found, is_known) {
            (Some((at, _)), _) => Place::File(at),
            (None, true) => Place::Nowhere,
            (None, false) => Place::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::Range;

    const HOUR: i64 = 3_600_000;

    fn commit(files: &[(&str, i64, i64)]) -> Commit {
        let file = |(path, first, last): &(&str, i64, i64)| FileEntry {
            temp: String::new(),
            path: format!("t/{path}/f.json"),
            records: 1,
            bytes: 1,
            first: *first,
            last: *last,
            origins: Vec::new(),
        };
        Commit {
            seq: 1,
            range: Range::new(0, 100),
            files: files.iter().map(file).collect(),
        }
    }

    #[test]
    fn overlapping_files_are_told_apart_by_their_folders() {
        let partition = TopicPartition::new("t", 0);
        let mut sorter = Sorter::new(&partition, &Partitioning::Default);
        let hours = commit(&[
            ("year=1970/month=01/day=01/hour=00", 0, 60),
            ("year=1970/month=01/day=01/hour=01", 5, 99),
        ]);
        assert_eq!(sorter.place(&hours, 7, Some(5)), Place::File(0));
        assert_eq!(sorter.place(&hours, 7, Some(HOUR)), Place::File(1));
        assert_eq!(sorter.place(&hours, 61, Some(5)), Place::Nowhere);
        assert_eq!(sorter.place(&hours, 7, Some(5 * HOUR)), Place::Unknown);
        let days = commit(&[
            ("year=1970/month=01/day=01", 0, 60),
            ("year=1970/month=01/day=02", 5, 99),
        ]);
        assert_eq!(sorter.place(&days, 7, Some(23 * HOUR)), Place::File(0));
        assert_eq!(sorter.place(&days, 7, Some(24 * HOUR)), Place::File(1));
        let one = commit(&[("anywhere", 0, 9)]);
        assert_eq!(sorter.place(&one, 9, None), Place::File(0));
        assert_eq!(sorter.place(&one, 10, None), Place::Nowhere);
        assert_eq!(sorter.place(&commit(&[]), 1, None), Place::Nowhere);
    }

    #[test]
    fn the_zone_is_the_configured_one() {
        let partition = TopicPartition::new("t", 0);
        let zone = TimeZone::get("Asia/Tokyo").unwrap();
        let unit = TimeUnit::Daily;
        let mut sorter = Sorter::new(&partition, &Partitioning::Time { unit, zone });
        let days = commit(&[
            ("year=1970/month=01/day=01", 0, 60),
            ("year=1970/month=01/day=02", 5, 99),
        ]);
        assert_eq!(sorter.place(&days, 7, Some(16 * HOUR)), Place::File(1));
    }
}
