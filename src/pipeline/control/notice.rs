//! What the control has to say: the driver logs and counts it.

use crate::error::Error;
use crate::offsets::{Range, TopicPartition};
use crate::sinks::Rejection;

/// One thing worth saying.
#[derive(Debug, Clone)]
pub enum Notice {
    /// The group gave us these.
    Assigned(Vec<TopicPartition>),
    /// These are ours for good, without a group.
    Fixed(Vec<TopicPartition>),
    /// The group wants these back.
    Revoked(Vec<TopicPartition>),
    /// These were somebody else's already.
    Lost(Vec<TopicPartition>),
    /// These were given back; whether all that was taken of them is committed.
    Released(Vec<TopicPartition>, bool),
    /// Records flow from this offset.
    Running(TopicPartition, i64),
    /// The sink refused a record.
    Refused(TopicPartition, i64, Rejection),
    /// A refused record was dropped by policy, with this reason.
    Dropped(TopicPartition, i64, String),
    /// The dead letter topic has acknowledged a record.
    DeadLettered,
    /// These offsets are never delivered, for this reason; a policy said so.
    Skipped(TopicPartition, Range, &'static str),
    /// A partition needs a person.
    Quarantined(TopicPartition, Error),
    /// A partition is read again from its last ack.
    Rewound(TopicPartition, Error),
    /// Another owner took the partition in the sink.
    Fenced(TopicPartition, Error),
    /// A commit was acknowledged: how many partitions it was for.
    Committed(usize),
    /// A commit wasn't acknowledged.
    CommitFailed(Error),
    /// The newest record that became final had this timestamp (Unix ms).
    AckedTimestamp(i64),
}
