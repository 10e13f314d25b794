//! The sink's contract: what the pipeline may ask of a sink, and what a sink answers.
//!
//! A [`Sink`] is one worker's half of a sink. It lives on the worker's thread and **never blocks**: its I/O
//! runs on the sink's own runtime, and [`Sink::poll`] collects what came of it. It knows records, never a
//! Kafka client; the pipeline knows this page, never an implementation.
//!
//! # One partition's life
//!
//! `open` → [`Answer::Opened`] → `append`… → ([`Answer::Refused`]…, [`Answer::Acked`])… → `close`.
//!
//! - Every `append` is followed, some time, by an `Acked` whose range contains it, or by `Rewind`, `Stopped`
//!   or `Fenced` for its partition. Acked ranges of one epoch are disjoint, contiguous from the resume offset
//!   (a hole in the delivered offsets belongs to the range after it), and may come in any order.
//! - A record that `append` returned as rejected belongs to the range like any other; the pipeline has it
//!   dead-lettered and calls `settle`. A record that the server refused comes back as `Refused`, before the
//!   `Acked` of its range. The pipeline holds the committed offset below every refused record until the dead
//!   letter topic has acknowledged it.
//! - After `close` nothing of that (slot, epoch) is answered; what still arrives is dropped by its epoch.

pub mod circuit;
pub mod elasticsearch;
pub mod hdfs;
mod json;
#[doc(hidden)] // for tests/fuzz.rs
pub mod value;

use std::sync::Arc;
use std::time::Instant;

use crate::error::Error;
use crate::offsets::{Epoch, Range, TopicPartition};

/// A worker's own small number for a partition that it holds: an index into per-partition tables, so that the
/// record's way needs no hashing. Reused after `close`; only (slot, epoch) is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub usize);

/// One record as Kafka delivered it, borrowed from the client's fetch buffer.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The partition it came from.
    pub slot: Slot,
    /// Its offset.
    pub offset: i64,
    /// The leader epoch of its batch, -1 if unknown.
    pub leader_epoch: i32,
    /// Milliseconds since 1970 UTC, as the producer or the broker stamped it; `None` if there is none (or it
    /// is negative). May be far in the future: nothing was checked.
    pub timestamp_ms: Option<i64>,
    /// The key's bytes: any bytes at all.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Set if it is a replayed dead letter: the offset that it has in its partition. `offset` then only numbers
    /// what is replayed, since letters may be chosen in any order.
    pub origin: Option<i64>,
}

impl Record<'_> {
    /// The offset that it has in its partition.
    pub fn own_offset(&self) -> i64 {
        self.origin.unwrap_or(self.offset)
    }
}

/// What Kafka knows of a partition at the moment it is opened.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The worker's number for it.
    pub slot: Slot,
    /// Which partition.
    pub partition: TopicPartition,
    /// Ours; carried by every answer.
    pub epoch: Epoch,
    /// The cluster's id.
    pub cluster_id: Arc<str>,
    /// The topic's id (base64, as Kafka prints it): a re-created topic has another.
    pub topic_id: Arc<str>,
    /// How many partitions the topic has.
    pub num_partitions: i32,
    /// The consumer group.
    pub group: Arc<str>,
    /// The group's committed offset, if it has one.
    pub committed: Option<i64>,
    /// Where the reset policy says to start when nobody knows better; equals `committed` if there is one. An
    /// error tells why nobody knows: a sink that has no position of its own answers `Rewind` with it.
    pub start: Result<i64, Error>,
    /// The oldest offset that the broker still has.
    pub log_start: i64,
    /// The log end offset (the last stable offset under `read_committed`).
    pub log_end: i64,
    /// Set if dead letters of this partition are replayed: the topic that they stand in. Offsets then number what
    /// is replayed, from 0 on over all replays, and every record has its `origin`.
    pub replays: Option<Arc<str>>,
}

/// Why a record will never be taken, in words for the dead letter's headers; and a copy of what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// A short, stable name: `not_json`, `mapper_parsing_exception`, `key_too_long`, …
    pub reason: String,
    /// One line for people. May quote the server; never longer than 1,024 bytes.
    pub detail: String,
    /// The server's status, if a server refused it.
    pub status: Option<u16>,
}

/// What has become of what was asked. Every answer names the epoch it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The partition is open: deliver from `resume`. If `reading` is false it waits for its turn: deliver
    /// nothing until [`Answer::Resume`].
    Opened {
        /// Which partition.
        slot: Slot,
        /// Which assignment of it.
        epoch: Epoch,
        /// The next offset to read.
        resume: i64,
        /// Whether to start at once.
        reading: bool,
    },
    /// Everything in the range is durable in the sink (but for what was refused).
    Acked {
        /// Which partition.
        slot: Slot,
        /// Which assignment of it.
        epoch: Epoch,
        /// Contiguous with its neighbours.
        range: Range,
    },
    /// The server refused this record for good.
    Refused {
        /// Which partition.
        slot: Slot,
        /// Which assignment of it.
        epoch: Epoch,
        /// The record's offset.
        offset: i64,
        /// Why.
        rejection: Rejection,
    },
    /// Stop delivering this partition (its turn is over, or its index is unavailable). What was delivered
    /// after the last record that `append` took is delivered again on `Resume`. Said again if the trouble
    /// changes.
    Pause {
        /// Which partition.
        slot: Slot,
        /// Which assignment of it.
        epoch: Epoch,
        /// The trouble it waits for; none if it is merely not its turn ([`Sink::why_waiting`] says more).
        why: Option<Error>,
    },
    /// Deliver it again, from the record after the last that `append` took.
    Resume {
        /// Which partition.
        slot: Slot,
        /// Which assignment of it.
        epoch: Epoch,
    },
    /// Work was lost on the way to the sink: open the partition again (a new epoch) and read again from its
    /// last ack.
    Rewind {
        /// Which partition.
        slot: Slot,
        /// Which assignment of it.
        epoch: Epoch,
        /// What happened.
        why: Error,
    },
    /// The partition can't go on without a person: quarantine it, let the others go on.
    Stopped {
        /// Which partition.
        slot: Slot,
        /// Which assignment of it.
        epoch: Epoch,
        /// What was found, and what to do.
        why: Error,
    },
    /// Another owner has taken it: drop it. It is opened again only after a Kafka commit in the current
    /// generation has succeeded.
    Fenced {
        /// Which partition.
        slot: Slot,
        /// Which assignment of it.
        epoch: Epoch,
        /// Who, as far as it is known.
        why: Error,
    },
    /// After [`Sink::drain`]: nothing of this partition is in flight any more.
    Drained {
        /// Which partition.
        slot: Slot,
        /// Which assignment of it.
        epoch: Epoch,
    },
}

impl Answer {
    /// Which partition it is about, and which assignment of it.
    pub fn about(&self) -> (Slot, Epoch) {
        match self {
            Answer::Opened { slot, epoch, .. }
            | Answer::Acked { slot, epoch, .. }
            | Answer::Refused { slot, epoch, .. }
            | Answer::Pause { slot, epoch, .. }
            | Answer::Resume { slot, epoch }
            | Answer::Rewind { slot, epoch, .. }
            | Answer::Stopped { slot, epoch, .. }
            | Answer::Fenced { slot, epoch, .. }
            | Answer::Drained { slot, epoch } => (*slot, *epoch),
        }
    }
}

/// Wakes the worker's loop from another thread, so that an answer isn't left lying until the next timeout.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that calls `wake`, from any thread, any number of times.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Waker(Arc::new(wake))
    }

    /// Makes the worker call [`Sink::poll`] soon.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

/// One worker's half of a sink. See the module's page for the rules.
pub trait Sink {
    /// Takes over a partition. Answered by `Opened`, `Stopped` or `Fenced`, after an outage of any length.
    fn open(&mut self, assignment: Assignment);

    /// Encodes one record into what is open. The payload is copied once; no I/O, no await. Called only for an
    /// opened partition, in offset order. `Err` is a rejection: see `settle`.
    fn append(&mut self, record: &Record<'_>) -> Result<(), Rejection>;

    /// Whether more records may be appended: the byte budget and the number in flight. Asked before each batch
    /// of records; a batch that was begun may overshoot by at most itself.
    fn has_room(&self) -> bool;

    /// The refused record at `offset` is final now (dead letter acknowledged, or dropped by policy).
    fn settle(&mut self, slot: Slot, epoch: Epoch, offset: i64);

    /// Flushes what was taken for this partition as soon as possible; answered by `Drained`, after the last
    /// `Acked` (or after what could not be flushed was given up, if `Rewind` or the like came first). Nothing
    /// is appended to it after this call.
    fn drain(&mut self, slot: Slot, epoch: Epoch);

    /// Forgets the partition: what is in flight is abandoned, what is open is thrown away.
    fn close(&mut self, slot: Slot, epoch: Epoch);

    /// Collects what came of the I/O into `answers`, and does what is due at `now` (linger, rotation, probes).
    /// Returns when it wants to be called next, at the latest.
    fn poll(&mut self, now: Instant, answers: &mut Vec<Answer>) -> Option<Instant>;

    /// Tells the log end offset of a partition, as far as it was seen lately (for turns).
    fn observe_log_end(&mut self, slot: Slot, log_end: i64) {
        let _ = (slot, log_end);
    }

    /// Tells whether deliveries are held back by request: then a partition that is silent isn't at its end.
    fn hold(&mut self, is_held: bool) {
        let _ = is_held;
    }

    /// Why a partition isn't delivered that was paused, or opened, without a reason: in words, for people.
    fn why_waiting(&self, slot: Slot) -> Option<String> {
        let _ = slot;
        None
    }
}

/// A sink as the process holds it: makes the workers' halves, and knows the sink's health.
pub trait Connector: Send + Sync {
    /// The half for worker `worker` of this sink; `waker` makes that worker call [`Sink::poll`].
    fn worker(&self, worker: usize, waker: Waker) -> Box<dyn Sink>;

    /// The sink's circuit and what else it says about itself.
    fn health(&self) -> crate::status::SinkHealth;
}
