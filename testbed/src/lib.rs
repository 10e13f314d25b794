//! The testbed: starts real Kafka, Elasticsearch and HDFS on this machine, breaks them, and checks
//! what arrived.
//!
//! It never depends on outflow's library: it runs the binary and looks at the servers, so what it says
//! is an independent witness. All calls block and may be made from plain and from async tests.
//!
//! | module | what |
//! |---|---|
//! | [`artifacts`] | the servers' files, fetched once |
//! | [`certs`] | certificates for servers on this machine |
//! | [`guard`] | processes and folders that can't outlive us |
//! | [`node`] | one server process: stop, kill, freeze, thaw, restart |
//! | [`kafka`], [`elasticsearch`], [`hdfs`] | the three services |
//! | [`kafka_client`], [`documents`], [`files`] | what tests ask of them |
//! | [`produce`], [`ledger`] | records with an identity, and what the broker acknowledged |
//! | [`checker`] | ledger against Elasticsearch and HDFS: missing, doubled, changed, out of order |
//! | [`tcp_proxy`], [`http_proxy`] | faults between outflow and a server |
//! | [`transactions`] | producing in transactions: committed, aborted, hanging |
//! | [`stub`] | an Elasticsearch that takes everything at once, and knows when |
//! | [`process`], [`proc`] | a running outflow; what the kernel says of a process |
//! | [`browser`] | Chromium, for tests of the page |
//! | [`cluster`] | all three together, shared by the tests of one process |
//! | [`chaos`], [`soak`] | the fault suite, the long run |

pub mod artifacts;
pub mod browser;
mod bulk;
pub mod burrow;
pub mod certs;
pub mod chaos;
pub mod checker;
pub mod cluster;
pub mod documents;
pub mod elasticsearch;
pub mod error;
pub mod files;
pub mod guard;
pub mod hdfs;
pub mod http;
pub mod http_proxy;
pub mod kafka;
pub mod kafka_client;
mod kafka_security;
pub mod ledger;
pub mod node;
pub mod ports;
pub mod proc;
pub mod process;
pub mod produce;
pub mod prometheus;
mod rt;
pub mod soak;
pub mod stub;
pub mod tcp_proxy;
pub mod tool;
pub mod transactions;

pub use browser::{Browser, Page};
pub use burrow::{Burrow, BurrowOptions};
pub use checker::{Ids, Report, check_elasticsearch, check_hdfs};
pub use cluster::{Cluster, ClusterOptions, exclusive, shared, together};
pub use documents::{Document, Documents};
pub use elasticsearch::{Elasticsearch, ElasticsearchOptions};
pub use error::{Error, Result};
pub use files::{CommittedFile, Files};
pub use hdfs::{Hdfs, HdfsOptions};
pub use http_proxy::{Fault, HttpProxy};
pub use kafka::{Kafka, KafkaOptions};
pub use kafka_client::{Committed, Consumed, KafkaClient};
pub use ledger::{Entry, Ledger};
pub use process::Outflow;
pub use produce::{Generator, Load, Outgoing, Producer};
pub use stub::{Arrival, Stub};
pub use tcp_proxy::{Call, Mode, Protocol, TcpProxy, Then, Trap};
pub use transactions::TransactionalProducer;

/// JVM flags of a server that is measured: as a server runs, not as quick to start as it can be.
pub fn warm_jvm(heap_mib: u32) -> Vec<String> {
    let heap = [format!("-Xms{heap_mib}m"), format!("-Xmx{heap_mib}m")];
    let compiler = [
        "-XX:-UseSerialGC",
        "-XX:+UseG1GC",
        "-XX:TieredStopAtLevel=4",
    ];
    heap.into_iter()
        .chain(compiler.map(str::to_owned))
        .collect()
}
