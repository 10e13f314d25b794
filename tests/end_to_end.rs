//! The promises, end to end: the binary against real Kafka, Elasticsearch and HDFS. Every test ends with the
//! testbed's checker, which knows only what the broker acknowledged and what stands in the sinks.

#![allow(clippy::unwrap_used, missing_docs)]

mod end_to_end {
    mod assigned;
    mod bad_input;
    mod brokers;
    mod choices;
    mod commits;
    mod compaction;
    mod deadletters;
    mod group;
    mod lag;
    mod members;
    mod membership;
    mod pausing;
    mod rebalances;
    mod support;
    mod transactions;
    mod verify;
}
