//! The testbed: starts real Kafka, Elasticsearch and HDFS on this machine, breaks them, and checks
//! what arrived.
//!
//! It never depends on outflow's library: it runs the binary and looks at the servers, so what it says
//! is an independent witness. All calls block and may be made from plain and from async tests.
//!
//! | module | what |
//! |---|---|
//! | [`artifacts`] | the servers' files, fetched once |
//! | [`guard`] | processes and folders that can't outlive us |
//! | [`node`] | one server process: stop, kill, freeze, thaw, restart |
//! | [`kafka`], [`elasticsearch`], [`hdfs`] | the three services |
//! | [`cluster`] | all three together, shared by the tests of one process |

pub mod artifacts;
pub mod cluster;
pub mod elasticsearch;
pub mod error;
pub mod guard;
pub mod hdfs;
pub mod http;
pub mod kafka;
pub mod node;
pub mod ports;
mod rt;

pub use cluster::{Cluster, ClusterOptions, exclusive, shared};
pub use elasticsearch::{Elasticsearch, ElasticsearchOptions};
pub use error::{Error, Result};
pub use hdfs::{Hdfs, HdfsOptions};
pub use kafka::{Kafka, KafkaOptions};
