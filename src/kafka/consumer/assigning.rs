//! Telling the client what to read: incrementally, or under an eager assignor as a whole.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionListElem;

use super::super::error::from_kafka;
use super::super::ffi::list::{self, Entry};
use super::KafkaSource;
use super::callbacks::Context;
use crate::offsets::TopicPartition;
use crate::pipeline::source::{Broken, SourceEvent};

/// What a client is told about its assignment.
pub(super) enum Verb {
    Assign,
    Unassign,
    AnswerRevoke,
}

/// Tells the client to read these, to let them go, or that it may give back what is revoked. Under an eager
/// assignor the list to assign is the whole, what is let go is everything, and nothing but the answer to a
/// revoke may be an unassign.
pub(super) fn tell(
    consumer: &BaseConsumer<Context>,
    eager: bool,
    verb: Verb,
    entries: &[Entry],
) -> KafkaResult<()> {
    match (verb, eager) {
        (Verb::Assign, false) => consumer.incremental_assign(&list::to_native(entries)),
        (Verb::Unassign | Verb::AnswerRevoke, false) => {
            consumer.incremental_unassign(&list::to_native(entries))
        }
        (Verb::Assign, true) => consumer.assign(&list::to_native(entries)),
        (Verb::Unassign, true) => consumer.assign(&TopicPartitionList::new()),
        (Verb::AnswerRevoke, true) => consumer.unassign(),
    }
}

/// How long the client's own thread may take to answer that it has begun to compare.
const BEGINS: Duration = Duration::from_millis(100);

/// An eager client is told changes at most this often; longer than a fetch waits for records.
const BETWEEN_ASSIGNMENTS: Duration = Duration::from_millis(250);

impl KafkaSource {
    /// Tells the client and the lookup thread what has piled up.
    pub(super) fn flush(&mut self) {
        if let Some(lookup) = &self.lookup
            && !self.to_locate.is_empty()
        {
            lookup.locate(std::mem::take(&mut self.to_locate));
        }
        let Some(consumer) = self.consumer() else {
            return;
        };
        self.compare(&consumer);
        if self.holds_back(&consumer) {
            return;
        }
        let Some(plan) = self.assignment.plan() else {
            return;
        };
        self.told = (!plan.assign.is_empty()).then(Instant::now);
        let eager = self.assignment.is_eager();
        if plan.answers || !plan.unassign.is_empty() {
            let verb = match plan.answers {
                true => Verb::AnswerRevoke,
                false => Verb::Unassign,
            };
            if let Err(error) = tell(&consumer, eager, verb, &self.entries(&plan.unassign)) {
                tracing::warn!("partitions couldn't be unassigned: {error}");
            }
            self.assignment.unassigned(&plan.unassign);
            if !plan.unassign.is_empty() {
                // The client stops partitions on its own thread, some time after the unassign: it undoes their
                // forwarding then, and forgets where they stood. Taking a batch before that would set where a
                // partition stands anew, and a rebalance that pauses it later would go on there, whatever was
                // read since. That thread works in order: when it has answered this, it has done that.
                consumer.rebalance_protocol();
            }
        }
        if !plan.assign.is_empty() {
            self.assign(&consumer, &plan.assign);
        }
    }

    /// Whether an eager client is left alone for now. Each time it is told something all its partitions are
    /// fetched anew: told too often, nothing would ever arrive. And while its assignment is lost, but not
    /// heard to be, telling it another would hide the loss.
    pub(super) fn holds_back(&self, consumer: &BaseConsumer<Context>) -> bool {
        self.assignment.is_eager()
            && !self.assignment.is_revoking()
            && (self
                .told
                .is_some_and(|told| told.elapsed() < BETWEEN_ASSIGNMENTS)
                || consumer.assignment_lost())
    }

    pub(super) fn entries(&self, indices: &[usize]) -> Vec<Entry> {
        let entry = |index: &usize| {
            let (offset, epoch) = self.assignment.start_of(*index);
            Entry::new(self.assignment.partition(*index).clone(), offset, epoch)
        };
        indices.iter().map(entry).collect()
    }

    pub(super) fn assign(&mut self, consumer: &BaseConsumer<Context>, indices: &[usize]) {
        let entries = self.entries(indices);
        for entry in &entries {
            let forwarded = self
                .queues
                .as_ref()
                .is_some_and(|queues| queues.data.forward(&entry.partition));
            if !forwarded {
                tracing::warn!(partition = %entry.partition, "the partition has no queue");
            }
        }
        self.assignment.assigned(indices);
        if let Some(standing) = &mut self.standing {
            standing.read(entries.iter().map(|entry| &entry.partition));
        }
        if let Err(error) = tell(consumer, self.assignment.is_eager(), Verb::Assign, &entries) {
            let error = from_kafka(&error, "Kafka: the client doesn't take the partition");
            for index in indices {
                self.broken(*index, Broken::Other(error.clone()));
            }
            return;
        }
        self.standstill.starts(&entries);
        let known = entries.into_iter().filter(Entry::is_compared);
        self.to_compare.extend(known.map(|entry| entry.partition));
        self.compare(consumer);
    }

    /// Lets the client ask the broker whether the log still is the one that was read up to here. By itself it asks
    /// only when a partition's leader changes under its eyes, and at a seek; not where it starts, so that a log that
    /// was cut off and filled again while nobody read it would be read on in silence. What isn't as it was comes as
    /// the partition's error.
    fn compare(&mut self, consumer: &BaseConsumer<Context>) {
        let waiting = std::mem::take(&mut self.to_compare);
        let entry = |partition: &TopicPartition| {
            let (offset, epoch) = self.assignment.live_at(partition)?;
            (epoch >= 0).then(|| Entry::new(partition.clone(), offset, epoch))
        };
        let entries: Vec<Entry> = waiting.iter().filter_map(entry).collect();
        if entries.is_empty() {
            return;
        }
        match consumer.seek_partitions(list::to_native(&entries), BEGINS) {
            // A partition that still stops, from the last time, hasn't started: it is told again.
            Ok(told) => {
                let refused = told.elements().into_iter().filter(|e| e.error().is_err());
                let partition = |e: TopicPartitionListElem<'_>| TopicPartition {
                    topic: e.topic().into(),
                    partition: e.partition(),
                };
                self.to_compare.extend(refused.map(partition));
            }
            Err(error) => {
                tracing::debug!("the client doesn't compare leader epochs yet: {error}");
                self.to_compare = entries.into_iter().map(|e| e.partition).collect();
            }
        }
    }

    pub(super) fn broken(&mut self, index: usize, why: Broken) {
        if self.assignment.fail(index) {
            self.events.push_back(SourceEvent::Broken {
                partition: self.assignment.partition(index).clone(),
                why,
            });
        }
    }
}
