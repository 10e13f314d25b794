//! Consumer lag, judged over a window of time as Burrow does it, from outside, without touching a consumer.
//!
//! Lag as a number says little: a million behind may be fine, and ten may be a dead consumer. So a partition is judged by
//! what its group committed over the last while, held against where the log ended meanwhile:
//!
//! | module | what |
//! |---|---|
//! | [`window`] | the last commits of a partition, and the last ends of its log |
//! | [`evaluator`] | partition OK, WARN, STOP, STALL, REWIND; group OK, WARN, ERR; in Burrow's words and in plain ones |
//! | [`trend`] | whether the lag grows, though it falls now and then |
//! | [`group_records`], [`wire`] | what `__consumer_offsets` says |
//! | [`pace`] | lag in time, rates, and when it will have caught up |
//! | [`store`], [`topics`], [`owners`] | what is known of one cluster: groups, logs, who has what |
//!
//! All of it is pure: no clock, no client, no lock. The rules are Burrow's to the letter (as of commit ced55ba, October
//! 2025); where they are known to mislead, a better one stands behind a setting ([`Mends`]), on by default.

pub mod evaluator;
pub mod group_records;
pub mod owners;
pub mod pace;
pub mod store;
pub mod topics;
pub mod trend;
pub mod window;
pub mod wire;

pub use evaluator::{
    GroupVerdict, Mends, PartitionId, PartitionVerdict, Reason, Rules, Seen, Status, judge_group,
    judge_partition,
};
pub use owners::{Owner, TopicId};
pub use pace::{CatchUp, Pace, TimeLag, pace};
pub use store::{GroupPartition, GroupPatterns, Keep, Store, Taken};
pub use topics::{Hole, Log, Sighting, Topic};
pub use window::{Commit, CommitWindow, LogEnd, LogEnds, Placed};
