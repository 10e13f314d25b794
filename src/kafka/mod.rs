//! Kafka: the consumer with its rebalances and commits, and the dead letter topic.
//!
//! | file | owns |
//! |---|---|
//! | [`client`] | librdkafka's configuration: defaults, the user's properties, what the design owns |
//! | [`budget`] | what fetched records may take in memory, in librdkafka's terms (pure) |
//! | [`consumer`] | [`KafkaSource`]: the pipeline's source, on a real consumer |
//! | [`dead_letter`] | [`KafkaDeadLetters`]: refused records, read again and produced as they were |
//! | [`letterbox`] | dead letters as they lie in their topic: read, shown, noted as replayed |
//! | `rebalance` | what the client should be reading, and when it may be told (pure) |
//! | `commit` | one commit in flight at a time, and whose fault it is if one fails (pure) |
//! | `verify` | whether the group has what was committed (pure, but for the question) |
//! | `probe` | whether anything is left between the last record and the end of a log |
//! | `position` | where a partition is read from at first (pure) |
//! | [`keeper`] | who keeps positions: the group, a file, or the sink |
//! | [`positions`] | positions of fixed partitions, in a file |
//! | `membership` | who is in the group, asked for beside the loop |
//! | `explain` | what that means, in words (pure) |
//! | `standing` | how this member stands with its group, for people |
//! | `standstill` | which partitions nothing comes of, though their logs go on, and why (pure) |
//! | `file_lock` | a lock that one process of this machine has at a time |
//! | `instance_lock` | an instance id is used by one process of this machine |
//! | `topics` | which topics are read, which are new, which have grown (pure) |
//! | `lookup` | positions and log ends, asked for beside the loop |
//! | [`group`] | the group from outside: described, moved, left |
//! | [`check`] | what `outflow check --connect` asks the brokers |
//! | [`watch`] | a cluster watched from outside: topics, log ends, what groups commit |
//! | [`scan`], [`letters`] | partitions read from outside; which records have a dead letter |
//! | `contexts` | what becomes of the words of clients that only ask |
//! | `error` | the client's errors in our vocabulary |
//! | `ffi` | the one module that may be `unsafe` |

pub mod budget;
pub mod check;
pub mod client;
mod commit;
pub mod consumer;
mod contexts;
pub mod dead_letter;
mod error;
mod explain;
mod ffi;
mod file_lock;
pub mod group;
mod instance_lock;
pub mod keeper;
pub mod letterbox;
pub mod letters;
mod lookup;
mod membership;
mod position;
pub mod positions;
mod probe;
mod rebalance;
pub mod scan;
mod standing;
mod standstill;
mod topics;
mod verify;
pub mod watch;

pub use client::OWNED;
pub use consumer::KafkaSource;
pub use dead_letter::KafkaDeadLetters;
