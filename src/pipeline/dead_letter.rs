//! What the pipeline asks of a dead letter topic. The record is read again from Kafka by its coordinates, so
//! that nothing has to be kept for records that are never refused.

use crate::error::Error;
use crate::offsets::{Epoch, TopicPartition};
use crate::sinks::{Rejection, Slot};

/// A refused record on its way to the dead letter topic.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The worker's number for its partition.
    pub slot: Slot,
    /// The epoch it was taken in.
    pub epoch: Epoch,
    /// Where it came from.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Why it was refused.
    pub rejection: Rejection,
}

/// What became of a letter.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The worker's number for its partition.
    pub slot: Slot,
    /// The epoch it was taken in.
    pub epoch: Epoch,
    /// The record's offset.
    pub offset: i64,
    /// `Ok`: the dead letter topic has acknowledged it. `Corrupt`: the record can't be had any more (retention)
    /// or can't be produced (too large): its partition must stop. Outages aren't reported here but waited out.
    pub result: Result<(), Error>,
}

/// A dead letter topic: letters in, acknowledgements out, in any order. Never blocks.
pub trait DeadLetters: Send {
    /// Begins to deliver a letter.
    fn send(&mut self, letter: Letter);

    /// Collects what has become of letters.
    fn poll(&mut self, deliveries: &mut Vec<Delivery>);

    /// How many letters are under way; the pipeline takes no more records above a bound.
    fn num_in_flight(&self) -> usize;

    /// What is wrong at the moment, if anything (shown in the status).
    fn trouble(&self) -> Option<Error>;
}
