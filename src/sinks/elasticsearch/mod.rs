//! The Elasticsearch sink: how an ack is earned.
//!
//! A record's way, one file each:
//!
//! | file | does |
//! |---|---|
//! | `worker` | the [`Sink`](crate::sinks::Sink): encodes into the open batch, seals it, answers |
//! | `encoder`, `index_name`, `value` | a record's two lines; the index; what a value must be (pure) |
//! | `batch`, `limits` | the open batch, spans, pieces; how much at once (pure) |
//! | `delivery`, `lanes` | a batch's task until all of it is final; records of an index that can't take them |
//! | `outcome` | one try, and what is left of it |
//! | `request`, `success`, `answer`, `compare` | one bulk request; was all of it done; what the answer says per record; is it our document? |
//! | `transport`, `nodes` | the way to the nodes; which one is next (pure) |
//! | [`lookup`] | documents looked up by id, counted, scanned |
//! | `check` | what the server says to the configuration, for `outflow check --connect` |
//!
//! What holds:
//!
//! - A range is acked when each of its records is written, was there, was refused, or was never to be sent;
//!   a refusal is answered before the ack of its range.
//! - What isn't known to be written is sent again with the same id. With ids of ours that lands on the same
//!   document; with `id = "none"` it may be doubled.
//! - Keyed writes carry the offset as an external version: whatever the order in which requests finish, the
//!   newest record wins, and 409 says that it has. That needs one partition of one topic incarnation per id.
//! - Nothing is tried for an assignment that is over: what was in flight at that moment may still arrive.
//! - Data streams take `op = "create"` only, and their ids are unique per backing index: a replay after a
//!   rollover doubles.

#[doc(hidden)] // for tests/fuzz.rs
pub mod answer;
#[doc(hidden)] // for tests/fuzz.rs
pub mod batch;
mod check;
#[doc(hidden)] // for tests/fuzz.rs
pub mod compare;
mod connector;
mod context;
mod delivery;
#[doc(hidden)] // for tests/fuzz.rs
pub mod encoder;
pub mod index_name;
mod lanes;
mod limits;
pub mod lookup;
mod nodes;
mod outcome;
#[doc(hidden)] // for tests/elasticsearch_sink
pub mod request;
#[doc(hidden)] // for tests/elasticsearch_sink
pub mod success;
mod transport;
mod worker;

pub use check::check;
pub use connector::ElasticsearchConnector;
