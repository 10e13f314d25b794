//! Replaying dead letters: the chosen records go to the sink that refused them once more, through the same
//! [`Sink`] that a worker has.
//!
//! Letters are numbered as they are fed, one number line for each partition that records come from; what makes a
//! record itself (id, version, index, folder) comes from its own coordinates. A letter that is refused again stays
//! where it is, in the dead letter topic, and isn't produced anew: nothing goes round.
//!
//! | file | owns |
//! |---|---|
//! | `selection` | which letters are meant (pure) |
//! | `survey` | what lies in the dead letter topic, and what of it was replayed |
//! | `seat` | one partition while its letters are replayed |

mod seat;
pub mod selection;
pub mod survey;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::seat::{Seat, State};
use crate::error::Error;
use crate::kafka::letterbox::{Content, Letterbox, Place};
use crate::offsets::{Epoch, OffsetRuns, TopicPartition};
use crate::sinks::{Answer, Assignment, Connector, Record, Rejection, Sink, Slot};
use crate::status::CircuitState;

/// How many partitions are replayed at once.
const AT_ONCE: usize = 4;
/// Bytes of records, and letters, that are read from Kafka at once.
const MOST_BYTES: usize = 4 << 20;
const MOST_LETTERS: usize = 500;
/// The longest wait for the sink's answers.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// How often it is said that the sink is waited for.
const SAY: Duration = Duration::from_secs(10);

/// A letter that is to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where it stands.
    pub place: Place,
    /// The record's offset in its partition.
    pub origin: i64,
    /// The record's timestamp (Unix ms).
    pub timestamp_ms: Option<i64>,
    /// About what it takes in memory, in bytes.
    pub bytes: usize,
}

/// The letters of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Where the records come from.
    pub partition: TopicPartition,
    /// The topic's id, base64.
    pub topic_id: Arc<str>,
    /// By their origin, ascending, each once.
    pub items: VecDeque<Item>,
}

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The sink has it: written now, there before, or dropped by its policy for null values.
    Final,
    /// A replay before this one has written it.
    Before,
    /// It was refused again.
    Refused(Rejection),
    /// It can't be read any more.
    Gone(String),
}

/// Tells, once a partition is open, which of its records were replayed before.
pub type Known = Box<dyn Fn(&TopicPartition) -> Result<OffsetRuns, Error>>;

/// What a replay is made of.
pub struct Parts {
    /// The sink, for its health.
    pub connector: Arc<dyn Connector>,
    /// Its half of a worker.
    pub sink: Box<dyn Sink>,
    /// The dead letter topic.
    pub letters: Letterbox,
    /// Its name.
    pub topic: Arc<str>,
    /// The cluster's id.
    pub cluster_id: Arc<str>,
    /// The sink's consumer group.
    pub group: Arc<str>,
    /// What was replayed before, as the sink knows it.
    pub known: Known,
    /// Set from outside: leave soon.
    pub stop: Arc<AtomicBool>,
}

/// One replay.
pub struct Replay {
    parts: Parts,
    epochs: u64,
    failures: Vec<Error>,
    said: Instant,
}

/// How a replay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why partitions were given up.
    pub failures: Vec<Error>,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
}

impl Replay {
    /// A replay that hasn't begun.
    pub fn new(parts: Parts) -> Self {
        Replay {
            parts,
            epochs: 0,
            failures: Vec::new(),
            said: Instant::now(),
        }
    }

    /// Replays all of `work`, and tells what became of each letter. What is told as final is so. An error says why
    /// the dead letter topic can't be read; whatever was told before holds.
    pub fn run(
        mut self,
        work: Vec<Work>,
        tell: &mut dyn FnMut(&TopicPartition, Item, Fate),
    ) -> Result<Ended, Error> {
        let mut waiting: VecDeque<Work> = work.into();
        let mut seats: BTreeMap<Slot, Seat> = BTreeMap::new();
        while !self.is_stopped() {
            seats.retain(|_, seat| seat.state != State::Over);
            while let Some(slot) = (0..AT_ONCE)
                .map(Slot)
                .find(|slot| !seats.contains_key(slot))
                && let Some(work) = waiting.pop_front()
            {
                let mut seat = Seat::new(work);
                self.open(slot, &mut seat);
                seats.insert(slot, seat);
            }
            if seats.is_empty() {
                break;
            }
            self.turn(&mut seats, tell)?;
        }
        Ok(Ended {
            failures: self.failures,
            is_stopped: self.parts.stop.load(Ordering::Relaxed),
        })
    }

    fn is_stopped(&self) -> bool {
        self.parts.stop.load(Ordering::Relaxed)
    }

    fn turn(
        &mut self,
        seats: &mut BTreeMap<Slot, Seat>,
        tell: &mut dyn FnMut(&TopicPartition, Item, Fate),
    ) -> Result<(), Error> {
        let mut answers = Vec::new();
        let due = self.parts.sink.poll(Instant::now(), &mut answers);
        let has_news = !answers.is_empty();
        for answer in answers {
            self.hear(answer, seats, tell);
        }
        let mut has_fed = false;
        for (slot, seat) in seats.iter_mut() {
            if seat.state == State::Open && !seat.items.is_empty() && self.parts.sink.has_room() {
                self.feed(*slot, seat, tell)?;
                has_fed = true;
            }
            if seat.state == State::Open && seat.items.is_empty() {
                seat.state = State::Draining;
                self.parts.sink.drain(*slot, seat.epoch);
            }
        }
        if !has_news && !has_fed {
            let now = Instant::now();
            let wait = due.map_or(LONGEST_WAIT, |due| due.saturating_duration_since(now));
            std::thread::park_timeout(wait.min(LONGEST_WAIT));
        }
        self.say_what_is_waited_for();
        Ok(())
    }

    fn open(&mut self, slot: Slot, seat: &mut Seat) {
        self.epochs += 1;
        seat.open(Epoch(self.epochs));
        self.parts.sink.open(Assignment {
            slot,
            partition: seat.partition.clone(),
            epoch: seat.epoch,
            cluster_id: Arc::clone(&self.parts.cluster_id),
            topic_id: Arc::clone(&seat.topic_id),
            num_partitions: 0,
            group: Arc::clone(&self.parts.group),
            committed: None,
            start: Ok(0),
            log_start: 0,
            log_end: i64::MAX,
            replays: Some(Arc::clone(&self.parts.topic)),
        });
    }

    /// Reads some letters and gives them to the sink.
    fn feed(
        &mut self,
        slot: Slot,
        seat: &mut Seat,
        tell: &mut dyn FnMut(&TopicPartition, Item, Fate),
    ) -> Result<(), Error> {
        let batch = seat.next_batch(MOST_LETTERS, MOST_BYTES);
        let mut found = self
            .parts
            .letters
            .read(batch.iter().map(|item| item.place))?;
        for item in batch {
            match found.remove(&item.place) {
                Some(Ok(content)) => self.append(slot, seat, item, &content),
                Some(Err(why)) => tell(&seat.partition, item, Fate::Gone(why)),
                None => tell(&seat.partition, item, Fate::Gone("it wasn't found".into())),
            }
        }
        Ok(())
    }

    fn append(&mut self, slot: Slot, seat: &mut Seat, item: Item, content: &Content) {
        let number = seat.next;
        let record = Record {
            slot,
            offset: number,
            leader_epoch: -1,
            timestamp_ms: item.timestamp_ms,
            key: content.key.as_deref(),
            value: content.value.as_deref(),
            origin: Some(item.origin),
        };
        let appended = self.parts.sink.append(&record);
        seat.took(item);
        if let Err(rejection) = appended {
            self.refused(slot, seat, number, rejection);
        }
    }

    /// That it stays in the dead letter topic is all that is to be done about it.
    fn refused(&mut self, slot: Slot, seat: &mut Seat, number: i64, rejection: Rejection) {
        seat.refused.insert(number, rejection);
        self.parts.sink.settle(slot, seat.epoch, number);
    }

    fn hear(
        &mut self,
        answer: Answer,
        seats: &mut BTreeMap<Slot, Seat>,
        tell: &mut dyn FnMut(&TopicPartition, Item, Fate),
    ) {
        let (slot, epoch) = answer.about();
        let Some(seat) = seats.get_mut(&slot).filter(|seat| seat.epoch == epoch) else {
            return;
        };
        match answer {
            Answer::Opened {
                resume, reading, ..
            } => match (self.parts.known)(&seat.partition) {
                Ok(known) => {
                    seat.opened(resume, reading);
                    for item in seat.leave_out(&known) {
                        tell(&seat.partition, item, Fate::Before);
                    }
                }
                Err(why) => self.give_up(slot, seat, why),
            },
            Answer::Acked { range, .. } => {
                for (item, rejection) in seat.acked(range) {
                    let fate = rejection.map_or(Fate::Final, Fate::Refused);
                    tell(&seat.partition, item, fate);
                }
            }
            Answer::Refused {
                offset, rejection, ..
            } => self.refused(slot, seat, offset, rejection),
            Answer::Pause { .. } => seat.pause(true),
            Answer::Resume { .. } => seat.pause(false),
            Answer::Rewind { why, .. } => {
                tracing::info!("{}: opened again: {why}", seat.partition);
                self.parts.sink.close(slot, epoch);
                seat.rewind();
                self.open(slot, seat);
            }
            Answer::Stopped { why, .. } => self.give_up(slot, seat, why),
            Answer::Fenced { why, .. } => {
                let what = format!("another replay of this partition took over: {why}");
                self.give_up(slot, seat, Error::fenced(what));
            }
            Answer::Drained { .. } => {
                self.parts.sink.close(slot, epoch);
                seat.state = State::Over;
            }
        }
    }

    fn give_up(&mut self, slot: Slot, seat: &mut Seat, why: Error) {
        self.parts.sink.close(slot, seat.epoch);
        seat.state = State::Over;
        let what = format!("{}: {why}", seat.partition);
        self.failures.push(Error::new(why.kind, what));
    }

    fn say_what_is_waited_for(&mut self) {
        if self.said.elapsed() < SAY {
            return;
        }
        self.said = Instant::now();
        let health = self.parts.connector.health();
        if health.circuit != CircuitState::Closed {
            let why = health.reason.unwrap_or_default();
            tracing::warn!("the sink is waited for: {why}");
        }
    }
}
