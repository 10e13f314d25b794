//! The worker: one thread, one consumer, its partitions. This is a record's whole way through outflow, and the
//! only place where offsets are committed because of an answer: [`Worker::turn`].
//!
//! Owns: the order in which things happen. Does not own: any decision (that is [`Control`]'s), any I/O (that
//! is the source's and the sink's).

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::metrics::SinkMetrics;
use crate::offsets::TopicPartition;
use crate::pipeline::control::{Action, Control, Rules};
use crate::pipeline::dead_letter::DeadLetters;
use crate::pipeline::mailbox::{Command, Mailbox};
use crate::pipeline::report::Reporter;
use crate::pipeline::source::{Source, SourceEvent};
use crate::sinks::{Answer, Connector, Sink, Slot, Waker};
use crate::status::{CircuitState, WorkerStatus};

/// Longest wait for records or answers: the main queue is served at least this often.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// How often the control looks at the clock.
const TICK: Duration = Duration::from_millis(10);
/// How often a snapshot is published, and log ends are told to the sink.
const PUBLISH: Duration = Duration::from_millis(250);
/// Dead letters under way above which no more records are taken.
const MAX_LETTERS: usize = 1_000;

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// A shutdown ran its course; clean: everything that was taken is committed, and the group was left.
    ShutDown {
        /// Whether nothing will be delivered again.
        clean: bool,
    },
    /// The client is beyond repair: build another.
    Fatal(Error),
}

/// What a worker is made of.
pub struct Parts {
    /// The sink, for its health.
    pub connector: Arc<dyn Connector>,
    /// This worker's half of the sink.
    pub sink: Box<dyn Sink>,
    /// This worker's consumer.
    pub source: Box<dyn Source>,
    /// The dead letter topic, if there is one.
    pub dead_letters: Option<Box<dyn DeadLetters>>,
    /// What the user chose.
    pub rules: Rules,
    /// What is counted.
    pub metrics: SinkMetrics,
    /// Where snapshots are published.
    pub status: Arc<Mutex<WorkerStatus>>,
    /// What the outside asks.
    pub mailbox: Arc<Mailbox>,
}

/// One worker.
pub struct Worker {
    connector: Arc<dyn Connector>,
    sink: Box<dyn Sink>,
    source: Box<dyn Source>,
    dead_letters: Option<Box<dyn DeadLetters>>,
    control: Control,
    metrics: SinkMetrics,
    reporter: Reporter,
    status: Arc<Mutex<WorkerStatus>>,
    mailbox: Arc<Mailbox>,
    actions: Vec<Action>,
    shut_down_by: Option<Instant>,
    next_tick: Instant,
    next_publish: Instant,
}

impl Worker {
    /// A worker that holds nothing yet.
    pub fn new(parts: Parts, reporter: Reporter, now: Instant) -> Self {
        Worker {
            connector: parts.connector,
            sink: parts.sink,
            source: parts.source,
            dead_letters: parts.dead_letters,
            control: Control::new(parts.rules, now),
            metrics: parts.metrics,
            reporter,
            status: parts.status,
            mailbox: parts.mailbox,
            actions: Vec::new(),
            shut_down_by: None,
            next_tick: now,
            next_publish: now,
        }
    }

    /// Runs until it is told to end, or the client is beyond repair.
    pub fn run(mut self) -> Exit {
        loop {
            if let Some(exit) = self.turn(Instant::now(), &|wait| thread::park_timeout(wait)) {
                return self.leave(exit);
            }
        }
    }

    /// One turn of the loop. `park` waits until the waker is called, at most that long.
    pub fn turn(&mut self, now: Instant, park: &dyn Fn(Duration)) -> Option<Exit> {
        self.obey(now);
        if let Some(fatal) = self.hear_source(now) {
            return Some(Exit::Fatal(fatal));
        }
        let due = self.hear_sink(now);
        self.hear_dead_letters(now);
        self.control.commit_at_once(now, &mut self.actions);
        self.tick(now);
        self.act();
        if let Some(clean) = self.control.finished() {
            return Some(Exit::ShutDown { clean });
        }

        let until = due.map_or(self.next_tick, |due| due.min(self.next_tick));
        let wait = until.saturating_duration_since(now).min(LONGEST_WAIT);
        match self.room() {
            0 => park(wait),
            room => {
                self.take_records(room, now, wait);
                self.act();
            }
        }
        None
    }

    /// How many records may be taken. Back-pressure is not taking any: the client's queue fills up to its bound,
    /// and Kafka keeps the rest.
    fn room(&self) -> usize {
        let letters = self
            .dead_letters
            .as_ref()
            .map_or(0, |letters| letters.num_in_flight());
        match self.sink.has_room() && letters < MAX_LETTERS {
            true => self.control.may_take(),
            false => 0,
        }
    }

    /// Kafka → sink: each record is taken by the tracker and encoded by the sink, at once.
    fn take_records(&mut self, most: usize, now: Instant, wait: Duration) {
        let Worker {
            source,
            sink,
            control,
            actions,
            metrics,
            ..
        } = self;
        let (mut records, mut bytes) = (0u64, 0u64);
        let mut newest: Option<(Slot, i64, i64)> = None;
        source.take(most, wait, &mut |record| {
            if !control.take(record) {
                return;
            }
            records += 1;
            bytes +=
                (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
            if let Err(rejection) = sink.append(record) {
                control.refused(record.slot, record.offset, rejection, now, actions);
            }
            let Some(timestamp) = record.timestamp_ms else {
                return;
            };
            if let Some((slot, end, before)) = newest.filter(|&(slot, ..)| slot != record.slot) {
                control.saw_timestamp(slot, end, before);
            }
            newest = Some((record.slot, record.offset + 1, timestamp));
        });
        if let Some((slot, end, timestamp)) = newest {
            control.saw_timestamp(slot, end, timestamp);
        }
        source.ends(&mut |slot, end| control.reached(slot, end));
        metrics.records.inc_by(records);
        metrics.bytes.inc_by(bytes);
    }

    /// Rebalances, commits' results, and what the client has to say.
    fn hear_source(&mut self, now: Instant) -> Option<Error> {
        let mut events = Vec::new();
        self.source.poll(&mut events);
        for event in events {
            match event {
                SourceEvent::Fatal(why) => return Some(why),
                SourceEvent::Trouble(why) => self.reporter.trouble(why, &self.status),
                event => self.control.on_source(event, now, &mut self.actions),
            }
        }
        None
    }

    /// Sink → tracker: what was acked, refused, or lost on the way.
    fn hear_sink(&mut self, now: Instant) -> Option<Instant> {
        let mut answers: Vec<Answer> = Vec::new();
        let due = self.sink.poll(now, &mut answers);
        for answer in answers {
            self.control.on_answer(answer, now, &mut self.actions);
        }
        due
    }

    fn hear_dead_letters(&mut self, now: Instant) {
        let Some(letters) = &mut self.dead_letters else {
            return;
        };
        let mut deliveries = Vec::new();
        letters.poll(&mut deliveries);
        for delivery in deliveries {
            self.control.on_delivery(delivery, now, &mut self.actions);
        }
    }

    fn obey(&mut self, now: Instant) {
        while let Some(command) = self.mailbox.try_receive() {
            match command {
                // Heeded below, before anything is taken.
                Command::Heed(reply) => {
                    let _ = reply.try_send(());
                }
                Command::Release(partition, reply) => {
                    let answer = self
                        .control
                        .release_quarantine(&partition, &mut self.actions);
                    let _ = reply.try_send(answer);
                }
                Command::ShutDown(by) if self.shut_down_by.is_none() => {
                    self.shut_down_by = Some(by);
                    self.control.shut_down(now, by, &mut self.actions);
                }
                Command::ShutDown(_) => {}
            }
        }
        self.control
            .set_paused(self.mailbox.is_paused(), &mut self.actions);
    }

    fn tick(&mut self, now: Instant) {
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        let sink_is_down = self.connector.health().circuit != CircuitState::Closed;
        self.control.tick(now, sink_is_down, &mut self.actions);
        if now < self.next_publish {
            return;
        }
        self.next_publish = now + PUBLISH;
        for (slot, partition) in self.control.open_partitions() {
            if let Some(log_end) = self.source.log_end(partition) {
                self.sink.observe_log_end(slot, log_end);
            }
        }
        let remarks = self.source.remarks();
        let log_end = |partition: &TopicPartition| self.source.log_end(partition);
        let turn = |slot| self.sink.why_waiting(slot);
        let standing_still = &remarks.standing_still;
        let partitions = self.control.snapshot(log_end, standing_still, turn);
        let letters = self
            .dead_letters
            .as_ref()
            .and_then(|letters| letters.trouble());
        let rebalances = self.control.rebalances();
        for still in remarks.stood_still {
            self.metrics
                .stood_still_seconds
                .observe(still.as_secs_f64());
        }
        self.reporter
            .publish(partitions, letters, remarks.idle, rebalances, &self.status);
    }

    /// Does what the control has decided, in its order.
    fn act(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Commit(number, commits) => self.source.commit(number, &commits),
                Action::Locate(partition, epoch) => self.source.locate(&partition, epoch),
                Action::Start {
                    slot,
                    partition,
                    offset,
                    leader_epoch,
                } => {
                    self.source.start(slot, &partition, offset, leader_epoch);
                }
                Action::Stop(partition) => self.source.stop(&[partition]),
                Action::Release(partitions) => self.source.release(&partitions),
                Action::Open(assignment) => self.sink.open(assignment),
                Action::Drain(slot, epoch) => self.sink.drain(slot, epoch),
                Action::Close(slot, epoch) => self.sink.close(slot, epoch),
                Action::Settle(slot, epoch, offset) => self.sink.settle(slot, epoch, offset),
                Action::Hold(is_held) => self.sink.hold(is_held),
                Action::DeadLetter(letter) => {
                    if let Some(letters) = &mut self.dead_letters {
                        letters.send(letter);
                    }
                }
                Action::Tell(notice) => self.reporter.tell(notice, &self.metrics, &self.status),
            }
        }
        self.actions = actions;
    }

    /// Leaves the group, and shows that it has ended.
    fn leave(mut self, exit: Exit) -> Exit {
        let deadline = self.shut_down_by.map_or(Duration::from_secs(5), |by| {
            by.saturating_duration_since(Instant::now())
                .max(Duration::from_secs(1))
        });
        let left = self.source.close(deadline);
        match exit {
            Exit::ShutDown { clean } => Exit::ShutDown {
                clean: clean && left,
            },
            fatal => fatal,
        }
    }
}

/// Wakes this thread's worker: out of a wait for records, or out of parking.
pub fn waker_of_this_thread(source: &dyn Source) -> Waker {
    let (records, thread) = (source.waker(), thread::current());
    Waker::new(move || {
        records.wake();
        thread.unpark();
    })
}
