//! [`KafkaSource`]: the pipeline's source on a real consumer.
//!
//! The consumer's main queue carries rebalances, commit answers and errors; its callbacks only take notes
//! ([`Notes`]), and [`Source::poll`] turns those into events. Records come through a data queue of its own.
//! The group's assignment isn't what the client reads: a partition is added to the client's assignment by
//! `start` and taken out by `stop` (docs/adr/0002-start-and-stop-instead-of-pause-and-seek.md).

mod assigning;
mod callbacks;
mod committing;
mod hearing;

use std::collections::{HashMap, VecDeque};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::client::{
    asking_config, consumer_config, creation_error, instance_id, metadata_refresh_interval,
    probe_config,
};
use super::commit::Commits;
use super::error::from_kafka;
use super::ffi::cluster::seen_log_end;
use super::ffi::commit::CommitQueue;
use super::ffi::queue::{DataQueue, Message, Yielder};
use super::file_lock::FileLock;
use super::instance_lock;
use super::keeper::{Keeper, Kept};
use super::lookup::{About, Lookup};
use super::membership::{self, Membership};
use super::probe::Probe;
use super::rebalance::Assignment;
use super::standing::Standing;
use super::standstill::Standstill;
use super::topics::Topics;
use super::verify::Verification;
use crate::config::settings::{GroupProtocol, KafkaSettings};
use crate::error::Error;
use crate::offsets::{Epoch, TopicPartition};
use crate::pipeline::source::{Commit, Remarks, Source, SourceEvent};
use crate::sinks::{Record, Slot, Waker};
use assigning::{Verb, tell};
use callbacks::{Context, Notes, answer};
use hearing::{Until, why_broken};

/// The queues of a consumer that is open; with them it goes.
struct Queues {
    commits: CommitQueue<Context>,
    data: DataQueue<Context>,
    /// Until the client has left: this machine's other processes don't use its instance id.
    _lock: Option<FileLock>,
}

/// A worker's consumer.
pub struct KafkaSource {
    /// None once it is closed.
    queues: Option<Queues>,
    lookup: Option<Lookup>,
    notes: Arc<Notes>,
    /// Disconnects when the client is gone.
    gone: Receiver<()>,
    waker: Waker,
    assignment: Assignment,
    /// When an eager client was last told its assignment.
    told: Option<Instant>,
    commits: Commits,
    verification: Verification,
    /// Where commits go if there is no group.
    kept: Option<Kept>,
    to_locate: Vec<(TopicPartition, Epoch)>,
    /// Partitions whose leader epoch the client hasn't compared since they started.
    to_compare: Vec<TopicPartition>,
    /// What was locate()d in this epoch and not answered yet.
    locating: HashMap<TopicPartition, Epoch>,
    events: VecDeque<SourceEvent>,
    /// Ends of logs, told to whoever asks next.
    ends: Vec<(TopicPartition, i64)>,
    probe: Probe,
    /// The last `take` has found nothing.
    is_drained: bool,
    trouble: Option<(Error, Until)>,
    /// None once it is closed.
    standing: Option<Standing>,
    standstill: Standstill,
    /// The client has had nothing left to deliver, since that was last heeded.
    was_drained: bool,
    /// The last thing that a broker's connection said, to explain that all are down.
    last_transport: String,
}

impl KafkaSource {
    /// A consumer that joins its group at once. `fetch_bytes` is what fetched records may take in memory.
    pub fn new(
        settings: &KafkaSettings,
        sink: &str,
        worker: usize,
        fetch_bytes: u64,
    ) -> Result<Self, Error> {
        let source = Self::build(settings, sink, worker, fetch_bytes, Keeper::Group)?;
        let named = settings.subscription.topics();
        // What a pattern means is found out first.
        if !named.is_empty() {
            source.subscribe(&named)?;
        }
        Ok(source)
    }

    /// A consumer of these partitions and no others, without a group: nothing is joined, and nothing is ever
    /// revoked. (librdkafka takes incremental assignments from a consumer that never subscribed.)
    pub fn fixed(
        settings: &KafkaSettings,
        sink: &str,
        worker: usize,
        fetch_bytes: u64,
        partitions: Vec<TopicPartition>,
        keeper: Keeper,
    ) -> Result<Self, Error> {
        let mut source = Self::build(settings, sink, worker, fetch_bytes, keeper)?;
        if let (Some(lookup), false) = (&source.lookup, partitions.is_empty()) {
            lookup.hold(partitions.clone());
            let assigned = SourceEvent::Assigned(partitions);
            source.events.push_back(assigned);
        }
        Ok(source)
    }

    fn build(
        settings: &KafkaSettings,
        sink: &str,
        worker: usize,
        fetch_bytes: u64,
        keeper: Keeper,
    ) -> Result<Self, Error> {
        let in_group = matches!(keeper, Keeper::Group);
        let eager =
            settings.group_protocol == GroupProtocol::Classic && settings.assignor.is_eager();
        let lock = match in_group {
            true => instance_lock::lock(settings, worker)?,
            false => None,
        };
        let notes = Arc::new(Notes::default());
        let (alive, gone) = channel();
        let context = Context {
            notes: notes.clone(),
            eager,
            _alive: alive,
        };
        let consumer: BaseConsumer<Context> = consumer_config(settings, sink, worker, fetch_bytes)
            .create_with_context(context)
            .map_err(|error| creation_error(&error, &settings.properties))?;
        let consumer = Arc::new(consumer);
        let no_queue = || Error::unavailable("Kafka: the client has no room for a queue");
        let data = DataQueue::new(consumer.clone()).ok_or_else(no_queue)?;
        // Whoever waits for a commit's answer is parked: the thread that makes a source uses it.
        let waits = std::thread::current();
        let commits = CommitQueue::new(consumer.clone(), waits).ok_or_else(no_queue)?;
        let about = About {
            group: settings.group_id.clone(),
            topics: Topics::new(&settings.subscription),
            reset: settings.auto_offset_reset,
            watch_every: metadata_refresh_interval(settings),
            started_ms: jiff::Timestamp::now().as_millisecond(),
            keeper: keeper.clone(),
        };
        let lookup = Lookup::spawn(Arc::downgrade(&consumer), data.yielder(), about)
            .map_err(|error| Error::unavailable(format!("no thread for Kafka lookups: {error}")))?;
        let standing = match in_group {
            true => Some(standing(settings, sink, worker, &consumer, data.yielder())?),
            false => None,
        };
        let yielder = data.yielder();
        let waker = Waker::new(move || yielder.wake());
        let kept = Kept::new(keeper, waker.clone());
        Ok(KafkaSource {
            queues: Some(Queues {
                commits,
                data,
                _lock: lock,
            }),
            lookup: Some(lookup),
            notes,
            gone,
            waker,
            assignment: Assignment::new(eager),
            told: None,
            commits: Commits::default(),
            verification: Verification::default(),
            kept,
            to_locate: Vec::new(),
            to_compare: Vec::new(),
            locating: HashMap::new(),
            events: VecDeque::new(),
            ends: Vec::new(),
            probe: Probe::new(probe_config(settings, sink)),
            is_drained: false,
            trouble: None,
            standing,
            standstill: Standstill::default(),
            was_drained: false,
            last_transport: String::new(),
        })
    }

    /// Subscribes to these topics instead of what it was; to none is to leave the group. A rebalance follows.
    fn subscribe(&self, topics: &[String]) -> Result<(), Error> {
        let Some(consumer) = self.consumer() else {
            return Ok(());
        };
        if topics.is_empty() {
            consumer.unsubscribe();
            return Ok(());
        }
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| from_kafka(&error, "Kafka: can't subscribe"))
    }

    /// Reads committed offsets back this often, instead of every few seconds: for tests.
    pub fn verify_every(&mut self, every: Duration) {
        self.verification.every(every);
    }

    /// Tells partitions that stand still after so long, instead of 10 s: for tests.
    pub fn tell_standstills_after(&mut self, after: Duration) {
        self.standstill.tell_after(after);
    }

    fn consumer(&self) -> Option<Arc<BaseConsumer<Context>>> {
        self.queues
            .as_ref()
            .map(|queues| queues.data.consumer().clone())
    }

    /// Starts to close on a thread of its own; the client is gone when `gone` disconnects.
    fn begin_close(&mut self) {
        self.notes.closing.store(true, Ordering::Relaxed);
        self.lookup = None;
        self.standing = None;
        let Some(queues) = self.queues.take() else {
            return;
        };
        // A revoke that was noted and not answered would hold up the close for ever.
        let (consumer, eager) = (queues.data.consumer(), self.assignment.is_eager());
        answer(tell(consumer, eager, Verb::AnswerRevoke, &[]));
        // Dropping the consumer leaves the group and waits for the brokers, for ever if need be: without a
        // thread for that the client is left as it is.
        let queues = ManuallyDrop::new(queues);
        let closing = std::thread::Builder::new().name("kafka-close".into());
        if let Err(error) = closing.spawn(move || drop(ManuallyDrop::into_inner(queues))) {
            tracing::warn!("no thread to close the Kafka client, it is left behind: {error}");
        }
    }
}

/// How a member stands with its group, watched beside the loop.
fn standing(
    settings: &KafkaSettings,
    sink: &str,
    worker: usize,
    consumer: &Arc<BaseConsumer<Context>>,
    yielder: Yielder,
) -> Result<Standing, Error> {
    let about = membership::About {
        sink: sink.to_owned(),
        worker,
        group: settings.group_id.clone(),
        instance: instance_id(settings, worker),
        assignor: match settings.group_protocol {
            GroupProtocol::Classic => settings.assignor.name(),
            GroupProtocol::Consumer => "the group protocol consumer",
        },
        config: asking_config(settings, sink),
    };
    let membership = Membership::spawn(Arc::downgrade(consumer), yielder, about)
        .map_err(|error| Error::unavailable(format!("no thread for Kafka members: {error}")))?;
    Ok(Standing::new(membership))
}

impl Source for KafkaSource {
    fn poll(&mut self, events: &mut Vec<SourceEvent>) {
        self.flush();
        if let Some(consumer) = self.consumer() {
            self.serve(&consumer);
            for note in self.notes.take() {
                self.handle(note);
            }
        }
        self.hear_commits();
        self.collect_found();
        self.verify();
        self.pass_holes();
        self.look_who_stands();
        self.hear_standing();
        events.extend(self.events.drain(..));
    }

    fn locate(&mut self, partition: &TopicPartition, epoch: Epoch) {
        self.locating.insert(partition.clone(), epoch);
        self.to_locate.push((partition.clone(), epoch));
    }

    fn start(&mut self, slot: Slot, partition: &TopicPartition, offset: i64, leader_epoch: i32) {
        self.assignment.start(slot, partition, offset, leader_epoch);
    }

    fn stop(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|p| self.assignment.stop(p));
    }

    fn take(&mut self, max: usize, wait: Duration, deliver: &mut dyn FnMut(&Record<'_>)) -> usize {
        self.flush();
        let Some(queues) = &mut self.queues else {
            return 0;
        };
        let assignment = &mut self.assignment;
        let mut delivered = 0;
        let mut errors = Vec::new();
        // Records come in runs of one partition: looked up once a run.
        let mut run = None;
        let taken = queues
            .data
            .consume(max, wait, &mut |message: &Message<'_>| {
                let source = message.source();
                let index = match run {
                    Some((last, index)) if last == source => index,
                    _ => {
                        let topic = message.topic();
                        let index = topic.and_then(|topic| assignment.index_of(topic, source.1));
                        run = Some((source, index));
                        index
                    }
                };
                if let Some(code) = message.error() {
                    // From here on nothing of the partition is taken: an error moves the client's own position.
                    if index.is_none_or(|index| assignment.fail(index)) {
                        errors.push((index, code, message.error_text()));
                    }
                    return;
                }
                let (offset, leader_epoch) = (message.offset(), message.leader_epoch());
                if let Some(slot) =
                    index.and_then(|index| assignment.accept(index, offset, leader_epoch))
                {
                    delivered += 1;
                    deliver(&Record {
                        slot,
                        offset,
                        leader_epoch,
                        timestamp_ms: message.timestamp_ms(),
                        key: message.key(),
                        value: message.value(),
                        origin: None,
                    });
                }
            });
        self.is_drained = taken == 0;
        self.was_drained |= self.is_drained;
        for (index, code, text) in errors {
            match index {
                Some(index) => {
                    let partition = self.assignment.partition(index).clone();
                    let why = why_broken(code, text, &partition);
                    self.events
                        .push_back(SourceEvent::Broken { partition, why });
                }
                None => self.client_error(code, &text),
            }
        }
        delivered
    }

    fn ends(&mut self, tell: &mut dyn FnMut(Slot, i64)) {
        for (partition, end) in self.ends.drain(..) {
            // It may have been sent elsewhere since.
            if let Some(slot) = self.assignment.slot_at(&partition, end) {
                tell(slot, end);
            }
        }
    }

    fn commit(&mut self, number: u64, commits: &[Commit]) {
        self.commits.submit(number, commits);
        self.send_commits();
    }

    fn release(&mut self, partitions: &[TopicPartition]) {
        self.assignment.release(partitions);
        self.commits.forget(partitions);
        self.verification.forget(partitions);
        for partition in partitions {
            self.locating.remove(partition);
        }
        self.to_locate.retain(|(p, _)| !partitions.contains(p));
        if let Some(lookup) = &self.lookup {
            lookup.forget(partitions.to_vec());
        }
        self.flush();
    }

    fn log_end(&self, partition: &TopicPartition) -> Option<i64> {
        let consumer = self.consumer()?;
        let looked_up = self.lookup.as_ref().and_then(|l| l.log_end(partition));
        seen_log_end(&consumer, partition).max(looked_up)
    }

    fn remarks(&mut self) -> Remarks {
        let standing = self.standing.as_mut();
        let stands_at = |id: &TopicPartition| self.assignment.live_at(id).map(|(next, _)| next);
        Remarks {
            standing_still: self.standstill.told(stands_at),
            ..standing.map(Standing::remarks).unwrap_or_default()
        }
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn close(&mut self, deadline: Duration) -> bool {
        self.begin_close();
        // Nothing is ever sent: the client's end disconnects.
        matches!(
            self.gone.recv_timeout(deadline),
            Err(RecvTimeoutError::Disconnected)
        )
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.begin_close();
    }
}
