//! Which partitions stand still: nothing comes of them, though the client has room and their logs go on. For people;
//! decides nothing. Pure.
//!
//! The client doesn't say what it waits for. It may be the leader's word that the log still is the one that was read
//! (it asks wherever reading starts, and until it is told), a leader, or a broker that is slow. So it is looked from
//! outside: where each partition stands, again and again, at moments when the client had nothing left to deliver.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::ffi::list::Entry;
use crate::offsets::TopicPartition;

/// A partition that has stood for so long is told, unless it is set otherwise.
const TOLD_AFTER: Duration = Duration::from_secs(10);
/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// Where it wasn't looked for longer (the sink had no room, or the client always had records) what was seen before
/// says nothing: it is begun anew.
const TOO_LONG: Duration = Duration::from_secs(5);

/// A partition as it stands: the next offset to read, where its log ended, and since when (monotonic; Unix ms).
#[derive(Debug, Clone, Copy)]
struct Stand {
    next: i64,
    log_end: i64,
    since: Instant,
    since_ms: i64,
}

/// One worker's partitions.
#[derive(Debug)]
pub(super) struct Standstill {
    told_after: Duration,
    stands: HashMap<TopicPartition, Stand>,
    looked: Option<Instant>,
    /// Where reading last started with a leader epoch that the leader is asked about: offset and epoch.
    compared: HashMap<TopicPartition, (i64, i32)>,
}

impl Default for Standstill {
    fn default() -> Self {
        Standstill {
            told_after: TOLD_AFTER,
            stands: HashMap::new(),
            looked: None,
            compared: HashMap::new(),
        }
    }
}

impl Standstill {
    /// Tells who has stood for so long.
    pub fn tell_after(&mut self, after: Duration) {
        self.told_after = after;
    }

    /// These start to be read; the leader is asked about the epoch of those that have one.
    pub fn starts(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.stands.remove(&entry.partition);
            if entry.is_compared() {
                let at = (entry.offset, entry.leader_epoch);
                self.compared.insert(entry.partition.clone(), at);
            } else {
                self.compared.remove(&entry.partition);
            }
        }
    }

    /// Whether it is time to look.
    pub fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|looked| now >= looked + EVERY)
    }

    /// The client has nothing left to deliver. These are read, stand at the first offset, and their logs go on to the
    /// second.
    pub fn look(
        &mut self,
        behind: impl Iterator<Item = (TopicPartition, i64, i64)>,
        now: Instant,
        now_ms: i64,
    ) {
        if self.looked.is_none_or(|looked| now > looked + TOO_LONG) {
            self.stands.clear();
        }
        self.looked = Some(now);
        let mut seen = HashSet::new();
        for (id, next, log_end) in behind {
            let fresh = Stand {
                next,
                log_end,
                since: now,
                since_ms: now_ms,
            };
            let stand = self.stands.entry(id.clone()).or_insert(fresh);
            if stand.next != next {
                *stand = fresh;
            }
            stand.log_end = log_end;
            seen.insert(id);
        }
        self.stands.retain(|id, _| seen.contains(id));
    }

    /// Those that had stood for long when it was last looked, and still stand where they did, as `stands_at` tells:
    /// each with the reason, as far as it can be known.
    pub fn told(
        &self,
        stands_at: impl Fn(&TopicPartition) -> Option<i64>,
    ) -> HashMap<TopicPartition, String> {
        let stood_long = |stand: &Stand| {
            let looked = self.looked.unwrap_or(stand.since);
            looked.saturating_duration_since(stand.since) >= self.told_after
        };
        self.stands
            .iter()
            .filter(|(id, stand)| stood_long(stand) && stands_at(id) == Some(stand.next))
            .map(|(id, stand)| (id.clone(), self.words(id, stand)))
            .collect()
    }

    fn words(&self, id: &TopicPartition, stand: &Stand) -> String {
        let Stand { next, log_end, .. } = *stand;
        let since = Timestamp::from_millisecond(stand.since_ms).unwrap_or_default();
        let asked = self
            .compared
            .get(id)
            .filter(|(offset, _)| *offset == next)
            .map(|(_, epoch)| {
                format!(
                    " the leader hasn't said yet whether the log up to there still is the one that was read (leader \
                     epoch {epoch}), and nothing is read before;"
                )
            });
        format!(
            "{id}: nothing has come from Kafka since {since:.0}, though the log goes on from {next} to {log_end}:{} the \
             client asks on by itself; see whether the partition has a leader that answers",
            asked.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: i64 = 1_700_000_000_000;

    struct Looking {
        still: Standstill,
        began: Instant,
    }

    impl Looking {
        fn new() -> Self {
            Looking {
                still: Standstill::default(),
                began: Instant::now(),
            }
        }

        /// Partition 3 as it is seen this many seconds after the beginning: next offset and log end.
        fn look(&mut self, second: u64, stands: Option<(i64, i64)>) -> Option<String> {
            let now = self.began + Duration::from_secs(second);
            let id = TopicPartition::new("t", 3);
            let behind = stands.map(|(next, end)| (id.clone(), next, end));
            let now_ms = NOON_MS + second as i64 * 1_000;
            self.still.look(behind.into_iter(), now, now_ms);
            let at = stands.map(|(next, _)| next);
            self.still.told(|_| at).remove(&id)
        }

        fn starts(&mut self, offset: i64, leader_epoch: i32) {
            let id = TopicPartition::new("t", 3);
            self.still.starts(&[Entry::new(id, offset, leader_epoch)]);
        }
    }

    #[test]
    fn who_stands_before_more_for_long_is_told_and_since_when() {
        let mut l = Looking::new();
        for second in 0..10 {
            assert_eq!(l.look(second, Some((120, 130))), None);
        }
        let why = l.look(10, Some((120, 150))).expect("told");
        let text = "t[3]: nothing has come from Kafka since 2023-11-14T22:13:20Z, though the log goes on from 120 to 150: \
                    the client asks on by itself";
        assert!(why.starts_with(text), "{why}");
        assert_eq!(l.look(11, Some((121, 150))), None, "it goes on");
        assert!((12..21).all(|second| l.look(second, Some((121, 150))).is_none()));
        assert!(l.look(21, Some((121, 150))).is_some(), "and stands again");
        assert_eq!(l.look(22, None), None, "it is at the end, or not read");
        assert_eq!(l.look(23, Some((121, 160))), None);
    }

    #[test]
    fn who_went_on_since_the_last_look_is_not_told() {
        let mut l = Looking::new();
        for second in 0..=10 {
            l.look(second, Some((120, 130)));
        }
        assert!(l.still.told(|_| Some(121)).is_empty());
        assert!(l.still.told(|_| None).is_empty());
        assert_eq!(l.still.told(|_| Some(120)).len(), 1);
    }

    #[test]
    fn while_nothing_could_be_taken_nobody_stood() {
        let mut l = Looking::new();
        l.look(0, Some((120, 130)));
        assert_eq!(l.look(600, Some((120, 130))), None, "a pause, perhaps");
        (601..=609).for_each(|second| drop(l.look(second, Some((120, 130)))));
        assert!(l.look(610, Some((120, 130))).is_some());
    }

    #[test]
    fn a_comparison_without_an_answer_is_named_until_the_first_record() {
        let mut l = Looking::new();
        l.starts(120, 7);
        (0..10).for_each(|second| drop(l.look(second, Some((120, 130)))));
        let why = l.look(10, Some((120, 130))).expect("told");
        assert!(why.contains("(leader epoch 7), and nothing"), "{why}");
        (11..21).for_each(|second| drop(l.look(second, Some((125, 130)))));
        let why = l.look(21, Some((125, 130))).expect("told");
        assert!(!why.contains("leader epoch"), "{why}");
        l.starts(125, -1);
        assert_eq!(l.look(22, Some((125, 130))), None, "it starts anew");
    }
}
