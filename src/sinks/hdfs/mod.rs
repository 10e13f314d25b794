//! The HDFS sink: every record that isn't refused stands in exactly one committed file, once, in offset order.
//!
//! [`log`] decides what may be done to the namespace and when; the rest of this module does it.

pub mod encode;
pub mod log;
pub mod partitioner;
pub mod rotation;
pub mod turns;
