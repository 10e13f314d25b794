//! Offsets: which records are in flight, acked, and may therefore be committed. Pure: no I/O, no clock.
//!
//! Ranges are half-open, `[first, end)`. A committed offset is always *the next offset to read*.

mod note;
mod runs;
mod set;
mod tracker;

pub use note::Note;
pub use runs::OffsetRuns;
pub use set::OffsetSet;
pub use tracker::{Tracker, Violation};

use std::fmt;
use std::sync::Arc;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// A half-open range of offsets, `[first, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    /// The first offset in the range.
    pub first: i64,
    /// The first offset after the range.
    pub end: i64,
}

impl Range {
    /// The range `[first, end)`.
    pub fn new(first: i64, end: i64) -> Self {
        Range { first, end }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.end <= self.first
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.first, self.end)
    }
}

/// Our own count of a process's assignments. Every time a partition is (re)opened it gets a higher one, and
/// whatever carries a lower one is dropped: Kafka's brokers fence members, not partitions, so a late ack of
/// a partition that went and came back must not move its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
