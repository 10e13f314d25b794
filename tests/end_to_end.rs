//! The promises, end to end: the binary against real Kafka, Elasticsearch and HDFS. Every test ends with the
//! testbed's checker, which knows only what the broker acknowledged and what stands in the sinks.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "deploy/queries.rs"]
mod queries;

mod end_to_end {
    use super::queries;
    mod assigned;
    mod bad_input;
    mod brokers;
    mod choices;
    mod commits;
    mod compaction;
    mod dashboard;
    mod deadletters;
    mod group;
    mod lag;
    mod members;
    mod membership;
    mod memory;
    mod pausing;
    mod rebalances;
    mod support;
    mod transactions;
    mod verify;
}
