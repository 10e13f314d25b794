//! outflow moves records out of Apache Kafka into Elasticsearch and into HDFS.
//!
//! The map, in the order a record travels:
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | layered settings, validated once; the rest never sees a raw option |
//! | [`kafka`] | the consumer, rebalances, commits, the dead letter producer; the one `unsafe` module |
//! | [`pipeline`] | the worker loop, partition control, supervision |
//! | [`sinks`] | the sink's contract, and the two sinks |
//! | [`offsets`] | the tracker: what may be committed (pure) |
//! | [`backoff`] | how long to wait before the next try |
//! | [`lag`] | consumer lag judged over a window of time (pure) |
//! | [`monitor`] | consumer groups watched, from outside and from inside |
//! | [`notify`] | telling people of groups that are in trouble |
//! | [`status`], [`metrics`] | snapshots and handles that observers read |
//! | [`journal`] | what happened, in order, in plain words |
//! | [`replay`] | dead letters, once more into the sink that refused them |
//! | [`admin`] | HTTP: health, metrics, status, the page |
//! | [`verify`] | is everything there? Kafka compared with a sink |
//! | [`observe`] | a running process from outside: what its pages say |
//! | [`agent`] | a host's CPU and memory figures, into Kafka |
//! | [`cli`], [`service`] | commands, exit codes; settings made into what runs |
//! | [`error`], [`check`], [`clock`], [`logging`] | what all use: failures, findings, the time of day, log lines |
//!
//! Dependencies go one way: `cli` and `service` wire, `pipeline` knows the sink's contract and no sink, a sink
//! knows records and no Kafka client, the pure modules know nothing but each other.

pub mod admin;
pub mod agent;
pub mod backoff;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod journal;
pub mod kafka;
pub mod lag;
pub mod logging;
pub mod metrics;
pub mod monitor;
pub mod notify;
pub mod observe;
pub mod offsets;
pub mod pipeline;
pub mod replay;
pub mod service;
pub mod sinks;
pub mod status;
pub mod verify;

// For what tests of both kinds share, which calls it by its name.
#[cfg(test)]
extern crate self as outflow;
