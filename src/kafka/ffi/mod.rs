//! The one module that may be `unsafe`: what librdkafka has and rust-rdkafka doesn't wrap.
//!
//! | file | what |
//! |---|---|
//! | [`queue`] | a worker's data queue, batches of borrowed messages, headers as bytes, the waker |
//! | [`commit`] | commits whose answers come back |
//! | [`list`] | topic partition lists with leader epochs and metadata |
//! | [`admin`] | one admin request and its answer |
//! | [`groups`] | a consumer group's state and members |
//! | [`cluster`] | topic ids, leaders, the cluster's id, cached watermarks |
//! | [`produce`] | a record with headers of any bytes |
//!
//! Nothing outside sees a raw pointer. What is borrowed from the client can't outlive it: queues hold the
//! consumer, messages live inside a call. Every `unsafe` block says why it is sound.
#![allow(unsafe_code)]

mod admin;
pub(super) mod cluster;
pub(super) mod commit;
pub(super) mod groups;
pub(super) mod list;
pub(super) mod produce;
pub(super) mod queue;

use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

/// The error behind a raw code. Brokers may send codes that are younger than the bindings: those become
/// `Unknown` instead of an enum value that doesn't exist.
fn error_code(raw: i32) -> Option<RDKafkaErrorCode> {
    match RDKafkaRespErr::try_from(raw) {
        Ok(RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR) => None,
        Ok(known) => Some(known.into()),
        Err(_) => Some(RDKafkaErrorCode::Unknown),
    }
}
