//! Whether the group has what was committed: committed offsets are read back now and then, and compared.
//!
//! [`Verification`] is pure: it knows what was sent and what was acknowledged while a partition was held, and
//! judges what was found. Whatever was sent and not answered with a yes may stand in the group all the same,
//! so anything between is right. The question itself is asked by the lookup thread, beside the loop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

use super::ffi::list::{self, Entry};
use crate::offsets::TopicPartition;

/// How often offsets are read back: several times before an unchanged offset is committed again, or a change
/// from elsewhere would be covered up before anybody has seen it.
const EVERY: Duration = Duration::from_secs(10);

/// Offsets as the group has them; `None`: it has none.
pub(super) type ReadBack = Vec<(TopicPartition, Option<i64>)>;

/// The lowest and the highest offset that the group may rightly have.
type Window = (i64, i64);

/// What is known of a partition's committed offset since it is held.
#[derive(Debug, Default)]
struct Held {
    acknowledged: Option<i64>,
    /// What was sent since, and may or may not have been taken.
    sent: Option<Window>,
}

/// The committed offsets of one consumer.
#[derive(Debug)]
pub(super) struct Verification {
    every: Duration,
    next: Option<Instant>,
    held: BTreeMap<TopicPartition, Held>,
    /// What is being read back, and what may be found.
    asked: Option<BTreeMap<TopicPartition, Window>>,
}

/// A partition whose offset somebody else has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub partition: TopicPartition,
    pub ours: i64,
    pub found: Option<i64>,
}

impl Default for Verification {
    fn default() -> Self {
        Verification {
            every: EVERY,
            next: None,
            held: BTreeMap::new(),
            asked: None,
        }
    }
}

impl Verification {
    /// Reads back this often instead.
    pub fn every(&mut self, every: Duration) {
        self.every = every;
        self.next = None;
    }

    /// These are ours from now on.
    pub fn hold(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.held.insert(partition.clone(), Held::default());
        }
    }

    /// These aren't ours any more: whatever the group has is right.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.held.remove(partition);
            if let Some(asked) = &mut self.asked {
                asked.remove(partition);
            }
        }
    }

    /// This offset is on its way to the group.
    pub fn sent(&mut self, partition: &TopicPartition, offset: i64) {
        if let Some(held) = self.held.get_mut(partition) {
            held.sent = Some(widened(held.sent.unwrap_or((offset, offset)), offset));
        }
        let asked = self
            .asked
            .as_mut()
            .and_then(|asked| asked.get_mut(partition));
        if let Some(window) = asked {
            *window = widened(*window, offset);
        }
    }

    /// The group has taken this offset; nothing that was sent before it is on its way any more.
    pub fn acknowledged(&mut self, partition: &TopicPartition, offset: i64) {
        if let Some(held) = self.held.get_mut(partition)
            // Sent in an earlier ownership, it may have been overtaken.
            && held.sent.take().is_some_and(|(low, high)| (low..=high).contains(&offset))
        {
            held.acknowledged = Some(offset);
        }
    }

    /// Which offsets to read back now, if it is time.
    pub fn ask(&mut self, now: Instant) -> Option<Vec<TopicPartition>> {
        let next = *self.next.get_or_insert(now + self.every);
        if now < next || self.asked.is_some() {
            return None;
        }
        self.next = Some(now + self.every);
        let window = |held: &Held| {
            let acknowledged = held.acknowledged?;
            let (low, high) = held.sent.unwrap_or((acknowledged, acknowledged));
            Some(widened((low, high), acknowledged))
        };
        let known = self.held.iter();
        let windows = known.filter_map(|(id, held)| Some((id.clone(), window(held)?)));
        let windows: BTreeMap<_, _> = windows.collect();
        if windows.is_empty() {
            return None;
        }
        let partitions = windows.keys().cloned().collect();
        self.asked = Some(windows);
        Some(partitions)
    }

    /// This was found; nothing, if the group couldn't be asked.
    pub fn found(&mut self, offsets: ReadBack) -> Vec<Mismatch> {
        let asked = self.asked.take().unwrap_or_default();
        let judge = |(partition, found): (TopicPartition, Option<i64>)| {
            let (low, high) = asked.get(&partition)?;
            let ours = self.held.get(&partition)?.acknowledged?;
            let is_right = found.is_some_and(|found| (*low..=*high).contains(&found));
            (!is_right).then_some(Mismatch {
                partition,
                ours,
                found,
            })
        };
        offsets.into_iter().filter_map(judge).collect()
    }
}

fn widened((low, high): Window, offset: i64) -> Window {
    (low.min(offset), high.max(offset))
}

/// Reads committed offsets back; those that can't be had are left out.
pub(super) fn read_back<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: Vec<TopicPartition>,
    timeout: Duration,
) -> ReadBack {
    let asked: Vec<Entry> = partitions.into_iter().map(Entry::asking).collect();
    match consumer.committed_offsets(list::to_native(&asked), timeout) {
        Ok(answered) => list::from_native(&answered)
            .into_iter()
            .filter(|entry| entry.error.is_none())
            .map(|entry| (entry.partition, (entry.offset >= 0).then_some(entry.offset)))
            .collect(),
        Err(error) => {
            tracing::debug!("committed offsets can't be read back: {error}");
            ReadBack::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    /// Partition 0 is held, 10 was acknowledged, and it is time to ask again and again.
    fn ten() -> (Verification, Instant) {
        let mut v = Verification::default();
        let now = Instant::now();
        v.every(Duration::ZERO);
        v.hold(&[p(0), p(1)]);
        v.sent(&p(0), 10);
        v.acknowledged(&p(0), 10);
        (v, now)
    }

    fn mismatch(ours: i64, found: Option<i64>) -> Vec<Mismatch> {
        vec![Mismatch {
            partition: p(0),
            ours,
            found,
        }]
    }

    #[test]
    fn only_what_was_acknowledged_is_read_back_when_it_is_time_and_one_question_at_a_time() {
        let (mut v, now) = ten();
        v.every(Duration::from_secs(10));
        assert_eq!(v.ask(now), None);
        assert_eq!(v.ask(now + Duration::from_secs(9)), None);
        let later = now + Duration::from_secs(10);
        assert_eq!(v.ask(later), Some(vec![p(0)]), "of 1 nothing is known");
        assert_eq!(v.ask(later + Duration::from_secs(60)), None, "unanswered");
        assert_eq!(v.found(Vec::new()), [], "couldn't be asked");
        let again = later + Duration::from_secs(60);
        assert_eq!(v.ask(again), Some(vec![p(0)]));
    }

    #[test]
    fn anything_but_the_acknowledged_offset_is_a_mismatch() {
        for (found, expected) in [
            (Some(10), vec![]),
            (Some(9), mismatch(10, Some(9))),
            (Some(11), mismatch(10, Some(11))),
            (None, mismatch(10, None)),
        ] {
            let (mut v, now) = ten();
            v.ask(now);
            assert_eq!(v.found(vec![(p(0), found)]), expected, "{found:?}");
        }
    }

    #[test]
    fn what_was_sent_since_may_or_may_not_be_there() {
        for found in 10..=14 {
            let (mut v, now) = ten();
            v.sent(&p(0), 12); // answered with an error, perhaps taken
            v.ask(now);
            v.sent(&p(0), 14); // on its way while the group is asked
            v.acknowledged(&p(0), 14);
            assert_eq!(v.found(vec![(p(0), Some(found))]), [], "{found}");
            v.ask(now);
            let expected = match found {
                14 => vec![],
                found => mismatch(14, Some(found)),
            };
            assert_eq!(v.found(vec![(p(0), Some(found))]), expected, "then {found}");
        }
        let (mut v, now) = ten();
        v.sent(&p(0), 12);
        v.ask(now);
        assert_eq!(v.found(vec![(p(0), Some(13))]), mismatch(10, Some(13)));
    }

    #[test]
    fn of_a_partition_that_was_away_meanwhile_nothing_is_said() {
        let (mut v, now) = ten();
        v.ask(now);
        v.forget(&[p(0)]);
        v.hold(&[p(0)]);
        assert_eq!(v.found(vec![(p(0), Some(99))]), []);
        v.acknowledged(&p(0), 10); // a late answer to a commit of the time before
        assert_eq!(v.ask(now), None);
    }
}
