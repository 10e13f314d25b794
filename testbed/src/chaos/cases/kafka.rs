//! Group B: Kafka.

use super::super::case::Case;

/// The cases.
pub const CASES: &[Case] = &[];
