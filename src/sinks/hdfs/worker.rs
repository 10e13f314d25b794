//! One worker's half of the sink: decides what goes into which file, when files are committed and whose turn it
//! is. Never blocks: a task per partition does the I/O (see `partition`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::budget::Limits;
use super::driver::{Driver, End, Lifeline, Patience, RETRY, Stop};
use super::health::Gauges;
use super::ledger::Ledger;
use super::log::{Identity, Opening, names};
use super::partition::{Command, Happened, PartitionTask, Report};
use super::partitioner::{Naming, Partitioner};
use super::rotation;
use super::turns::{Change, Clock, Turns};
use super::writer::Files;
use crate::backoff::Backoff;
use crate::clock::unix_ms;
use crate::config::settings::{HdfsSettings, Tombstones};
use crate::metrics::SinkMetrics;
use crate::offsets::{Epoch, TopicPartition};
use crate::sinks::circuit::CircuitHandle;
use crate::sinks::{Answer, Assignment, Record, Rejection, Sink, Slot, Waker, value};
use crate::status::CircuitState;

/// Sealed ranges of one partition that may wait for refused records before it is paused.
const MAX_SEALED: usize = 2;

/// What a worker is given.
pub(super) struct Parts {
    pub settings: Arc<HdfsSettings>,
    pub files: Files,
    pub circuit: CircuitHandle,
    pub metrics: SinkMetrics,
    pub gauges: Arc<Gauges>,
    pub limits: Limits,
    pub runtime: Handle,
    pub waker: Waker,
    /// Unique per process and worker; a number is added per opening.
    pub owner: String,
}

/// One worker's half.
pub(super) struct HdfsSink {
    parts: Parts,
    partitioner: Partitioner,
    turns: Turns,
    /// The pipeline delivers nothing for now.
    is_held: bool,
    slots: BTreeMap<Slot, Seat>,
    /// Partitions whose last opening failed wait before the next.
    failures: HashMap<TopicPartition, Backoff>,
    openings: u64,
    tx: std_mpsc::Sender<(Slot, Epoch, Happened)>,
    rx: std_mpsc::Receiver<(Slot, Epoch, Happened)>,
    /// The time of the last poll: near enough for ages.
    now: Instant,
    /// For people.
    clock: Clock,
}

/// A partition that is held.
struct Seat {
    epoch: Epoch,
    partition: TopicPartition,
    naming: Naming,
    log_end: i64,
    commands: mpsc::UnboundedSender<Command>,
    _lifeline: Lifeline,
    state: State,
    /// What the pipeline was told last.
    is_delivering: bool,
    is_draining: bool,
}

enum State {
    Opening,
    Open(Box<Ledger>),
    /// The pipeline was told how it ended, and will close it.
    Over,
}

impl HdfsSink {
    pub(super) fn new(parts: Parts, turns: Turns) -> Self {
        let (tx, rx) = std_mpsc::channel();
        let now = Instant::now();
        HdfsSink {
            partitioner: Partitioner::new(&parts.settings.partitioning),
            parts,
            turns,
            is_held: false,
            slots: BTreeMap::new(),
            failures: HashMap::new(),
            openings: 0,
            tx,
            rx,
            now,
            clock: Clock::new(now, unix_ms()),
        }
    }

    fn start_task(
        &mut self,
        assignment: &Assignment,
        stop: Stop,
    ) -> mpsc::UnboundedSender<Command> {
        self.openings += 1;
        let parts = &self.parts;
        let owner = format!("{}-{}", parts.owner, self.openings);
        let opening = Opening {
            base: parts.settings.base.clone(),
            topic: log_topic(assignment),
            partition: assignment.partition.partition,
            owner: owner.clone(),
            identity: Identity {
                cluster_id: assignment.cluster_id.to_string(),
                topic_id: assignment.topic_id.to_string(),
                group: assignment.group.to_string(),
            },
            committed: assignment.committed,
            start: assignment.start.clone().ok(),
            takes_over: None,
        };
        let patience = || Patience::new(parts.circuit.clone(), stop.clone());
        let hdfs = Arc::clone(&parts.files.hdfs);
        let failed = self.failures.get_mut(&assignment.partition);
        let task = PartitionTask {
            driver: Driver::new(opening, hdfs, patience(), stop.clone()),
            patience: patience(),
            files: parts.files.clone(),
            owner,
            delay: failed.map_or(Duration::ZERO, |backoff| backoff.next_delay(None)),
            stop,
            report: Report {
                slot: assignment.slot,
                epoch: assignment.epoch,
                tx: self.tx.clone(),
                waker: parts.waker.clone(),
            },
            metrics: parts.metrics.clone(),
        };
        let (commands, inbox) = mpsc::unbounded_channel();
        parts.runtime.spawn(task.run(inbox));
        commands
    }

    fn hear(&mut self, answers: &mut Vec<Answer>) {
        while let Ok((slot, epoch, happened)) = self.rx.try_recv() {
            let known = self.slots.get(&slot);
            if known.is_none_or(|seat| seat.epoch != epoch) {
                continue;
            }
            match happened {
                Happened::Opened(resume) => self.opened(slot, resume, answers),
                Happened::Committed(range) => {
                    if let Some(seat) = self.slots.get_mut(&slot) {
                        if let State::Open(ledger) = &mut seat.state {
                            ledger.committed();
                        }
                        self.failures.remove(&seat.partition);
                        answers.push(Answer::Acked { slot, epoch, range });
                    }
                }
                Happened::Ended(end) => self.ended(slot, epoch, end, answers),
            }
        }
    }

    fn opened(&mut self, slot: Slot, resume: i64, answers: &mut Vec<Answer>) {
        let Some(seat) = self.slots.get_mut(&slot) else {
            return;
        };
        if !matches!(seat.state, State::Opening) {
            return;
        }
        let reading = self.turns.join(slot, resume, seat.log_end, self.now);
        seat.state = State::Open(Box::new(Ledger::new(
            seat.naming.clone(),
            self.parts.settings.compression,
            Arc::clone(&self.parts.files.budget),
            resume,
        )));
        seat.is_delivering = reading;
        answers.push(Answer::Opened {
            slot,
            epoch: seat.epoch,
            resume,
            reading,
        });
    }

    fn ended(&mut self, slot: Slot, epoch: Epoch, end: End, answers: &mut Vec<Answer>) {
        let Some(seat) = self.slots.get_mut(&slot) else {
            return;
        };
        seat.state = State::Over;
        self.turns.leave(slot);
        let failed = || Backoff::new(RETRY);
        let answer = match end {
            End::Closed => return,
            End::Rewind(why) => {
                self.failures
                    .entry(seat.partition.clone())
                    .or_insert_with(failed);
                Answer::Rewind { slot, epoch, why }
            }
            End::Stopped(why) => Answer::Stopped { slot, epoch, why },
            End::Fenced(why) => Answer::Fenced { slot, epoch, why },
        };
        answers.push(answer);
        if std::mem::take(&mut seat.is_draining) {
            answers.push(Answer::Drained { slot, epoch });
        }
    }

    /// Seals what is due, and commits what nothing holds back.
    fn advance(&mut self) {
        let rotation = &self.parts.settings.rotation;
        for (slot, seat) in &mut self.slots {
            let State::Open(ledger) = &mut seat.state else {
                continue;
            };
            let due = ledger
                .progress()
                .and_then(|progress| rotation::due(rotation, &progress, self.now));
            let is_over = seat.is_draining || self.turns.is_closing(*slot);
            let mut send = sender(&seat.commands);
            if due.is_some() || is_over {
                ledger.seal(&mut send);
            }
            ledger.commit(&mut send);
            if self.turns.is_closing(*slot) && ledger.is_idle() {
                self.turns.finished(*slot, self.now);
            }
        }
    }

    /// Lets turns begin and end.
    fn take_turns(&mut self) {
        let is_closed = self.parts.circuit.state() == CircuitState::Closed;
        if self.is_held || !self.has_room() || !is_closed {
            self.turns.hold(self.now);
        }
        let changes = self.turns.step(self.now);
        if changes.iter().any(|c| matches!(c, Change::End(_))) {
            self.advance();
        }
    }

    /// Tells the pipeline whom to deliver, and who is drained.
    fn tell(&mut self, answers: &mut Vec<Answer>) {
        for (slot, seat) in &mut self.slots {
            let (slot, epoch) = (*slot, seat.epoch);
            let State::Open(ledger) = &seat.state else {
                continue;
            };
            if seat.is_draining {
                if ledger.is_idle() {
                    seat.is_draining = false;
                    seat.is_delivering = false;
                    answers.push(Answer::Drained { slot, epoch });
                }
                continue;
            }
            let wanted = self.turns.is_reading(slot) && ledger.num_sealed() < MAX_SEALED;
            if wanted != seat.is_delivering {
                seat.is_delivering = wanted;
                answers.push(match wanted {
                    true => Answer::Resume { slot, epoch },
                    false => Answer::Pause {
                        slot,
                        epoch,
                        why: None,
                    },
                });
            }
        }
    }

    /// Small chunks of many files must not fill the budget and wait for each other.
    fn relieve(&mut self) {
        if self.parts.files.budget.num_bytes() * 2 < self.parts.limits.bytes {
            return;
        }
        for seat in self.slots.values_mut() {
            if let State::Open(ledger) = &mut seat.state {
                ledger.flush(&mut sender(&seat.commands));
            }
        }
    }

    fn publish_gauges(&self) {
        let in_flight = |seat: &Seat| match &seat.state {
            State::Open(ledger) => ledger.num_in_flight(),
            _ => 0,
        };
        self.parts.gauges.set(
            self.slots.values().map(in_flight).sum(),
            self.turns.num_waiting(),
        );
    }

    fn deadline(&self) -> Option<Instant> {
        let rotation = &self.parts.settings.rotation;
        let of_files = self.slots.values().filter_map(|seat| match &seat.state {
            State::Open(ledger) => rotation::deadline(rotation, &ledger.progress()?),
            _ => None,
        });
        of_files.chain(self.turns.deadline()).min()
    }

    fn num_files(&self) -> usize {
        let files = |seat: &Seat| match &seat.state {
            State::Open(ledger) => ledger.num_files(),
            _ => 0,
        };
        self.slots.values().map(files).sum()
    }

    fn tombstone(&self) -> Result<(), Rejection> {
        match self.parts.settings.tombstones {
            Tombstones::Skip => {
                let reason = SinkMetrics::reason("tombstone");
                self.parts
                    .metrics
                    .dropped_records
                    .get_or_create(&reason)
                    .inc();
                Ok(())
            }
            Tombstones::Reject | Tombstones::Delete => Err(value::reject(
                "tombstone",
                "the value is null, and a file can't delete anything".to_owned(),
            )),
        }
    }
}

impl Sink for HdfsSink {
    fn open(&mut self, assignment: Assignment) {
        let (lifeline, stop) = Stop::new();
        let commands = self.start_task(&assignment, stop);
        let TopicPartition { topic, partition } = &assignment.partition;
        let settings = &self.parts.settings;
        let naming = Naming::new(
            topic,
            *partition,
            &settings.partitioning,
            settings.compression,
        );
        let naming = match &assignment.replays {
            Some(dead_letters) => naming.replaying(dead_letters),
            None => naming,
        };
        self.turns.leave(assignment.slot);
        self.slots.insert(
            assignment.slot,
            Seat {
                epoch: assignment.epoch,
                partition: assignment.partition,
                naming,
                log_end: assignment.log_end,
                commands,
                _lifeline: lifeline,
                state: State::Opening,
                is_delivering: false,
                is_draining: false,
            },
        );
    }

    fn append(&mut self, record: &Record<'_>) -> Result<(), Rejection> {
        let bucket = self.partitioner.bucket(record.timestamp_ms);
        let num_files = match self.slots.get(&record.slot).map(|seat| &seat.state) {
            Some(State::Open(ledger)) if record.offset < ledger.next() => return Ok(()),
            Some(State::Open(ledger)) if ledger.has_file(bucket) || !ledger.would_grow() => 0,
            Some(State::Open(_)) => self.num_files(),
            // It failed; what comes is read again after the next opening.
            _ => return Ok(()),
        };
        let taken = match record.value {
            None => self.tombstone().map(|()| None),
            Some(value) => Ok(Some(value)),
        };
        let Some(seat) = self.slots.get_mut(&record.slot) else {
            return Ok(());
        };
        let State::Open(ledger) = &mut seat.state else {
            return Ok(());
        };
        let mut send = sender(&seat.commands);
        if num_files >= self.parts.limits.files && ledger.num_open_files() > 0 {
            // One bucket too many: those that are open are committed, and this one begins anew.
            ledger.seal(&mut send);
            ledger.commit(&mut send);
        }
        let chunk_bytes = self.parts.limits.chunk_bytes;
        let appended = taken.and_then(|value| match value {
            None => Ok((0, None)),
            Some(value) => ledger.append(record.offset, bucket, chunk_bytes, |out| {
                value::append_line(out, value)
            }),
        });
        match (&appended, record.origin, record.value) {
            (Err(_), _, _) => ledger.refuse(record.offset),
            (Ok(_), Some(origin), Some(_)) => ledger.came_from(bucket, origin),
            (Ok(_), _, _) => {}
        }
        ledger.took(record.offset, record.leader_epoch, self.now);
        let next = record.offset.saturating_add(1);
        let bytes = appended.as_ref().map_or(0, |(bytes, _)| *bytes);
        self.turns.took(record.slot, next, bytes, self.now);
        if let (_, Some(chunk)) = appended? {
            send(chunk);
        }
        let (largest, records) = ledger.largest();
        if rotation::is_full(&self.parts.settings.rotation, largest, records).is_some() {
            ledger.seal(&mut send);
            ledger.commit(&mut send);
            self.turns.full(record.slot);
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let limits = &self.parts.limits;
        let in_flight = |seat: &Seat| match &seat.state {
            State::Open(ledger) => ledger.num_in_flight(),
            _ => 0,
        };
        self.parts.files.budget.num_bytes() < limits.bytes
            && self.slots.values().map(in_flight).sum::<usize>() < limits.places * 4
    }

    fn settle(&mut self, slot: Slot, epoch: Epoch, offset: i64) {
        if let Some(seat) = self.slots.get_mut(&slot)
            && seat.epoch == epoch
            && let State::Open(ledger) = &mut seat.state
        {
            ledger.settle(offset);
            ledger.commit(&mut sender(&seat.commands));
        }
    }

    fn drain(&mut self, slot: Slot, epoch: Epoch) {
        if let Some(seat) = self.slots.get_mut(&slot)
            && seat.epoch == epoch
        {
            seat.is_draining = true;
            if let State::Open(ledger) = &mut seat.state {
                let mut send = sender(&seat.commands);
                ledger.seal(&mut send);
                ledger.commit(&mut send);
            }
            self.parts.waker.wake();
        }
    }

    fn close(&mut self, slot: Slot, epoch: Epoch) {
        if self
            .slots
            .get(&slot)
            .is_some_and(|seat| seat.epoch == epoch)
        {
            // Dropping its lifeline and its commands ends the task, which throws away what it has open.
            self.slots.remove(&slot);
            self.turns.leave(slot);
        }
    }

    fn poll(&mut self, now: Instant, answers: &mut Vec<Answer>) -> Option<Instant> {
        self.now = now;
        self.hear(answers);
        self.drain_unopened(answers);
        self.advance();
        self.take_turns();
        self.relieve();
        self.tell(answers);
        self.publish_gauges();
        self.deadline()
    }

    fn observe_log_end(&mut self, slot: Slot, log_end: i64) {
        if let Some(seat) = self.slots.get_mut(&slot) {
            seat.log_end = seat.log_end.max(log_end);
            self.turns.observe(slot, log_end, self.now);
        }
    }

    fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    fn why_waiting(&self, slot: Slot) -> Option<String> {
        let State::Open(ledger) = &self.slots.get(&slot)?.state else {
            return None;
        };
        let sealed = ledger.num_sealed();
        if self.turns.is_reading(slot) && sealed >= MAX_SEALED {
            let refused = ledger.num_unsettled();
            return Some(format!(
                "{sealed} ranges of files wait until refused records are dead letters ({refused} aren't yet)"
            ));
        }
        self.turns.why_waiting(slot, self.now, &self.clock)
    }
}

impl HdfsSink {
    /// A partition that isn't open has nothing to drain.
    fn drain_unopened(&mut self, answers: &mut Vec<Answer>) {
        for (slot, seat) in &mut self.slots {
            if seat.is_draining && !matches!(seat.state, State::Open(_)) {
                seat.is_draining = false;
                seat.state = State::Over;
                answers.push(Answer::Drained {
                    slot: *slot,
                    epoch: seat.epoch,
                });
            }
        }
    }
}

/// Replays have a log of their own: the partition's isn't touched, and goes on beside it.
fn log_topic(assignment: &Assignment) -> String {
    match assignment.replays {
        Some(_) => names::replays_of(&assignment.partition.topic),
        None => assignment.partition.topic.to_string(),
    }
}

/// Sends to a task. One that is gone has said, or is about to say, how it ended.
fn sender(commands: &mpsc::UnboundedSender<Command>) -> impl FnMut(Command) {
    move |command| {
        let _ = commands.send(command);
    }
}
