//! Where in the tree a record goes, and what a committed file is called. Pure.
//!
//! A *bucket* is one folder below `<base>/<topic>/`: `partition=<n>`, or a civil hour or day of the record's
//! timestamp in the configured zone. Buckets depend on nothing but the record, never on the wall clock, so a
//! record that is read twice goes to the same folder.
//!
//! A record without a timestamp (or with one beyond the year 9999) goes to Hive's own default partition, with
//! every level spelled out: readers that discover partitions need the same depth everywhere. During the hour
//! that a zone repeats in autumn both passes share one folder.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::log::names::{self, FileName, PartitionPath};
use crate::config::settings::{Compression, Partitioning, TimeUnit};

/// One folder below a topic's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bucket {
    /// The only one there is.
    Whole,
    /// A civil day, or an hour of it.
    Time {
        /// Year, 1970 to 9999.
        year: i16,
        /// Month, 1 to 12.
        month: i8,
        /// Day, 1 to 31.
        day: i8,
        /// Hour, 0 to 23; none if days are the unit.
        hour: Option<i8>,
    },
    /// For records whose time isn't known.
    NoTime,
}

/// Sorts records into buckets. Remembers the last second it looked up, because records come in runs: every
/// zone's offset is a whole number of seconds, so one second never spans two buckets.
#[derive(Debug, Clone)]
pub struct Partitioner {
    time: Option<(TimeUnit, TimeZone)>,
    last: Option<(i64, Bucket)>,
}

impl Partitioner {
    /// The partitioner that the settings ask for.
    pub fn new(partitioning: &Partitioning) -> Self {
        let time = match partitioning {
            Partitioning::Default => None,
            Partitioning::Time { unit, zone } => Some((*unit, zone.clone())),
        };
        Partitioner { time, last: None }
    }

    /// The bucket of a record with this timestamp.
    pub fn bucket(&mut self, timestamp_ms: Option<i64>) -> Bucket {
        let Some((unit, zone)) = &self.time else {
            return Bucket::Whole;
        };
        let Some(second) = timestamp_ms.map(|ms| ms.div_euclid(1_000)) else {
            return Bucket::NoTime;
        };
        if let Some((known, bucket)) = self.last
            && known == second
        {
            return bucket;
        }
        let bucket = time_bucket(second, *unit, zone);
        self.last = Some((second, bucket));
        bucket
    }
}

fn time_bucket(second: i64, unit: TimeUnit, zone: &TimeZone) -> Bucket {
    let Ok(instant) = Timestamp::from_second(second) else {
        return Bucket::NoTime;
    };
    let civil = zone.to_datetime(instant);
    Bucket::Time {
        year: civil.year(),
        month: civil.month(),
        day: civil.day(),
        hour: (unit == TimeUnit::Hourly).then_some(civil.hour()),
    }
}

/// What the names of one partition's files are made of.
#[derive(Debug, Clone)]
pub struct Naming {
    topic: String,
    partition: i32,
    hourly: bool,
    extension: &'static str,
    /// The dead letter topic, if its letters are replayed.
    replays: Option<String>,
}

impl Naming {
    /// Names for a partition of a topic.
    pub fn new(
        topic: &str,
        partition: i32,
        partitioning: &Partitioning,
        compression: Compression,
    ) -> Self {
        Naming {
            topic: topic.to_owned(),
            partition,
            hourly: matches!(
                partitioning,
                Partitioning::Time {
                    unit: TimeUnit::Hourly,
                    ..
                }
            ),
            extension: extension(compression),
            replays: None,
        }
    }

    /// Names for records of this partition that are replayed from a dead letter topic: in the same folders.
    pub fn replaying(self, dead_letters: &str) -> Self {
        Naming {
            replays: Some(dead_letters.to_owned()),
            ..self
        }
    }

    /// The folders of a bucket below the topic's.
    fn folders(&self, bucket: Bucket) -> PartitionPath {
        let (path, number) = (PartitionPath::new(), |n: i8| format!("{n:02}"));
        match bucket {
            Bucket::Whole => path.field("partition", Some(self.partition.to_string().as_bytes())),
            Bucket::Time {
                year,
                month,
                day,
                hour,
            } => {
                let day = path
                    .field("year", Some(format!("{year:04}").as_bytes()))
                    .field("month", Some(number(month).as_bytes()))
                    .field("day", Some(number(day).as_bytes()));
                match hour {
                    Some(hour) => day.field("hour", Some(number(hour).as_bytes())),
                    None => day,
                }
            }
            Bucket::NoTime => {
                let day = path
                    .field("year", None)
                    .field("month", None)
                    .field("day", None);
                if self.hourly {
                    day.field("hour", None)
                } else {
                    day
                }
            }
        }
    }

    /// The path, relative to the base, of a file with the records from `first` to `last`, both inclusive.
    pub fn committed_file(&self, bucket: Bucket, first: i64, last: i64) -> String {
        let name = FileName::new(&self.topic, self.partition, first, last, self.extension);
        let name = match &self.replays {
            Some(dead_letters) => FileName::of_replays(dead_letters, name),
            None => name,
        };
        names::final_path(&self.topic, &self.folders(bucket), &name)
    }
}

/// The ending of committed files.
pub fn extension(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "json",
        Compression::Zstd(_) => "json.zst",
        Compression::Gzip(_) => "json.gz",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(unit: TimeUnit, zone: &str) -> Partitioning {
        Partitioning::Time {
            unit,
            zone: TimeZone::get(zone).expect("a zone of the bundled database"),
        }
    }

    fn path(partitioning: &Partitioning, at: Option<i64>) -> String {
        let bucket = Partitioner::new(partitioning).bucket(at);
        let naming = Naming::new("host.metrics", 7, partitioning, Compression::None);
        format!("host.metrics/{}", naming.folders(bucket).as_str())
    }

    fn ms(text: &str) -> Option<i64> {
        let at: Timestamp = text.parse().expect("a timestamp");
        Some(at.as_millisecond())
    }

    #[test]
    fn a_file_is_found_where_people_look_for_it() {
        let naming = Naming::new(
            "host.metrics",
            7,
            &Partitioning::Default,
            Compression::Zstd(3),
        );
        assert_eq!(
            naming.committed_file(Bucket::Whole, 12, 1_000_000),
            "host.metrics/partition=7/\
             host.metrics+7+00000000000000000012+00000000000001000000.json.zst"
        );
    }

    #[test]
    fn hours_and_days_are_those_of_the_zone() {
        let (utc, berlin) = (
            time(TimeUnit::Hourly, "UTC"),
            time(TimeUnit::Daily, "Europe/Berlin"),
        );
        let late = ms("2026-11-23T23:30:00Z");
        assert_eq!(
            path(&utc, late),
            "host.metrics/year=2026/month=11/day=23/hour=23"
        );
        assert_eq!(
            path(&berlin, late),
            "host.metrics/year=2026/month=11/day=24"
        );
        // Nepal is 5:45 ahead.
        let nepal = time(TimeUnit::Hourly, "Asia/Kathmandu");
        assert!(path(&nepal, ms("2026-11-23T00:14:59.999Z")).ends_with("day=23/hour=05"));
        assert!(path(&nepal, ms("2026-11-23T00:15:00Z")).ends_with("day=23/hour=06"));
    }

    #[test]
    fn an_hour_may_begin_within_a_minute() {
        // Monrovia was 44 minutes and 30 seconds behind until 1972.
        let monrovia = time(TimeUnit::Hourly, "Africa/Monrovia");
        let mut warm = Partitioner::new(&monrovia);
        let before = warm.bucket(ms("1971-05-05T10:44:29Z"));
        let after = warm.bucket(ms("1971-05-05T10:44:30Z"));
        assert_ne!(before, after);
    }

    #[test]
    fn the_repeated_hour_shares_a_folder() {
        let berlin = time(TimeUnit::Hourly, "Europe/Berlin");
        let first = path(&berlin, ms("2026-10-25T00:30:00Z"));
        let second = path(&berlin, ms("2026-10-25T01:30:00Z"));
        assert_eq!(first, second);
        assert!(first.ends_with("day=25/hour=02"));
    }

    #[test]
    fn unknown_and_impossible_times_go_to_hives_default_partition() {
        let hourly = time(TimeUnit::Hourly, "UTC");
        let unknown = path(&hourly, None);
        assert_eq!(unknown.matches(names::NULL_VALUE).count(), 4);
        assert_eq!(path(&hourly, Some(i64::MAX)), unknown);
        assert_eq!(
            path(&hourly, ms("9999-12-30T00:00:00Z"))
                .matches(names::NULL_VALUE)
                .count(),
            0
        );
        let daily = time(TimeUnit::Daily, "UTC");
        assert_eq!(path(&daily, None).matches(names::NULL_VALUE).count(), 3);
    }

    proptest! {
        #[test]
        fn remembering_a_second_changes_nothing(
            times in prop::collection::vec(prop::option::of(0..4_000_000_000_000_i64), 1..40),
        ) {
            let partitioning = time(TimeUnit::Hourly, "Africa/Monrovia");
            let mut warm = Partitioner::new(&partitioning);
            for at in times {
                for at in [at, at.map(|t| t + 1)] {
                    prop_assert_eq!(warm.bucket(at), Partitioner::new(&partitioning).bucket(at));
                }
            }
        }

        #[test]
        fn every_record_has_a_plain_path_below_the_base(
            at in prop::option::of(any::<i64>()), topic in "[a-zA-Z0-9._-]{1,249}", hourly: bool,
        ) {
            let unit = if hourly { TimeUnit::Hourly } else { TimeUnit::Daily };
            let partitioning = time(unit, "Pacific/Apia");
            let naming = Naming::new(&topic, 3, &partitioning, Compression::None);
            let bucket = Partitioner::new(&partitioning).bucket(at);
            let path = naming.committed_file(bucket, 1, 2);
            prop_assert!(names::is_final(&path), "{}", path);
            prop_assert_eq!(path.matches('=').count(), if hourly { 4 } else { 3 });
        }
    }
}
