//! A topic's logs: where they ended lately, and what of their ends can't be read.

use super::owners::TopicId;
use super::window::{LogEnd, LogEnds};

/// So many looks must have found the same end before it counts as standing still.
const STANDS: usize = 3;
/// At most so many offsets before an end it is worth looking whether anything is left to read.
const NEAR: i64 = 10_000;
/// A transaction's end is a marker; more of them in a row are taken for one at most so often.
const MOST_MARKERS: i64 = 4;

/// What the cluster says of a topic.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its id, where brokers tell it.
    pub id: Option<TopicId>,
    /// How many partitions it has.
    pub num_partitions: usize,
}

/// Offsets at the end of a log without a record that a consumer would get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The first.
    pub from: i64,
    /// The log's end.
    pub end: i64,
}

/// The log of one partition.
#[derive(Debug, Clone)]
pub struct Log {
    /// Its last ends.
    pub ends: LogEnds,
    hole: Option<Hole>,
    /// How many offsets behind the last record markers take, as last found.
    pub(super) markers: i64,
}

impl Log {
    fn new(intervals: usize) -> Self {
        Log {
            ends: LogEnds::new(intervals),
            hole: None,
            markers: 0,
        }
    }

    pub(super) fn take_hole(&mut self, hole: Hole) {
        let newest = self.ends.newest().map(|end: &LogEnd| end.offset);
        if newest != Some(hole.end) || hole.from >= hole.end {
            return;
        }
        let from = self
            .readable_end()
            .map_or(hole.from, |end| end.min(hole.from));
        self.hole = Some(Hole { from, ..hole });
        self.markers = match hole.end - from {
            few if few <= MOST_MARKERS => few,
            _ => self.markers,
        };
    }

    /// Where what can be read ends, if it is known to be before the log's end.
    pub fn readable_end(&self) -> Option<i64> {
        let newest = self.ends.newest()?.offset;
        let hole = self.hole.filter(|hole| hole.end == newest)?;
        Some(hole.from)
    }

    /// Whether it isn't known that nothing is left to read behind `offset`, close to an end that stands still.
    pub(super) fn may_be_read_at(&self, offset: i64) -> bool {
        let mut ends = self.ends.iter().rev().map(|end| end.offset);
        let Some(end) = ends.next() else { return false };
        let stands = self.ends.iter().len() >= STANDS && ends.take(STANDS - 1).all(|e| e == end);
        let behind = self.readable_end().unwrap_or(end) - offset;
        stands && behind > 0 && behind <= NEAR
    }
}

/// One topic.
#[derive(Debug, Clone, Default)]
pub struct Topic {
    pub(super) id: Option<TopicId>,
    pub(super) logs: Vec<Log>,
    /// So often in a row it wasn't there.
    pub(super) missed: u32,
}

impl Topic {
    pub(super) fn see(&mut self, sighting: &Sighting<'_>, intervals: usize) {
        self.missed = 0;
        self.id = sighting.id.or(self.id);
        let num = self.logs.len().max(sighting.num_partitions);
        self.logs.resize_with(num, || Log::new(intervals));
    }

    /// The logs of its partitions, in their order.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The log of a partition.
    pub fn log(&self, partition: i32) -> Option<&Log> {
        usize::try_from(partition)
            .ok()
            .and_then(|n| self.logs.get(n))
    }

    pub(super) fn log_mut(&mut self, partition: i32) -> Option<&mut Log> {
        usize::try_from(partition)
            .ok()
            .and_then(|n| self.logs.get_mut(n))
    }
}
