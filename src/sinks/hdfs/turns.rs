//! Turns: which partitions of a worker may have files open when there are more of them than places. Pure.
//!
//! With no more partitions than places everybody reads all the time. With more, a partition *waits*, paused,
//! its records safe in Kafka, until it is *due*: when what waits for it would fill a file, or the oldest of
//! it has waited for the rotation's age. The one that has been due for longest goes first. It reads up to the
//! log end as it was when its turn began, or until a file is full, or until nothing more comes (a log may end
//! in transaction markers, which are never delivered); then its files are closed and committed. Closing takes time
//! (half a second for the DataNodes' reports) and little else: as far as memory has room for their files, those that
//! close don't keep others from their turn. If much is left though nothing more came, Kafka was merely slow: then
//! it is due again at once. So a thousand partitions need no more memory than four, and files are as large as they
//! can be.

mod words;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use self::words::Clock;
use crate::sinks::Slot;

/// How long a turn may go without a record before the first one, and after the last one.
const QUIET_AT_FIRST: Duration = Duration::from_secs(3);
const QUIET_AFTERWARDS: Duration = Duration::from_millis(500);

/// A partition whose turns give nothing waits at most 2 to this many times the age.
const MAX_DOUBLINGS: u32 = 5;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its turn begins: resume it.
    Begin(Slot),
    /// Its turn is over: pause it, close and commit its files, then call [`Turns::finished`].
    End(Slot),
}

/// What the order of turns depends on.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Number of places.
    pub places: usize,
    /// So many more may be closing their files.
    pub closing: usize,
    /// The longest a record may wait for its partition's turn to become due.
    pub age: Duration,
    /// What waits is worth a turn at once when it is about this many bytes.
    pub full_bytes: u64,
}

/// The partitions of one worker.
#[derive(Debug)]
pub struct Turns {
    rules: Rules,
    seats: BTreeMap<Slot, Seat>,
}

#[derive(Debug)]
struct Seat {
    state: State,
    /// Next offset to read.
    position: i64,
    log_end: i64,
    /// How many turns in a row gave nothing: what remains may be markers, which are never delivered, or Kafka
    /// may have been slow. So it is tried again, ever more rarely, until the log grows.
    empty_turns: u32,
    /// Its last turn gave records and ended for want of more, well before its end.
    interrupted: bool,
    /// Encoded bytes per offset, learned from its turns.
    bytes_per_offset: Option<f64>,
    taken: Taken,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Waiting {
        /// When the oldest of what waits was first seen.
        since: Option<Instant>,
    },
    Reading {
        /// The end of its turn; none while there is a place for everybody.
        until: Option<i64>,
        began: Instant,
        last_record: Option<Instant>,
    },
    Closing,
}

#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    first: i64,
    bytes: u64,
}

impl Turns {
    /// Nobody yet.
    pub fn new(rules: Rules) -> Self {
        Turns {
            rules,
            seats: BTreeMap::new(),
        }
    }

    /// A partition comes in, to be read from `position`. Whether it may read at once.
    pub fn join(&mut self, slot: Slot, position: i64, log_end: i64, now: Instant) -> bool {
        let free = self.num_open() < self.rules.places;
        let crowded = self.seats.len() >= self.rules.places;
        let has_unread = log_end > position;
        let reads = free && (!crowded || has_unread);
        let state = if reads {
            reading(crowded.then_some(log_end), now)
        } else {
            State::Waiting {
                since: has_unread.then_some(now),
            }
        };
        let seat = Seat {
            state,
            position,
            log_end,
            empty_turns: 0,
            interrupted: false,
            bytes_per_offset: None,
            taken: Taken {
                first: position,
                bytes: 0,
            },
        };
        self.seats.insert(slot, seat);
        reads
    }

    /// A partition has gone.
    pub fn leave(&mut self, slot: Slot) {
        self.seats.remove(&slot);
    }

    /// A partition's log end offset, as seen.
    pub fn observe(&mut self, slot: Slot, log_end: i64, now: Instant) {
        if let Some(seat) = self.seats.get_mut(&slot) {
            if log_end > seat.log_end {
                seat.log_end = log_end;
                seat.empty_turns = 0;
            }
            seat.note_unread(now);
        }
    }

    /// A record was taken; `position` is the offset after it.
    pub fn took(&mut self, slot: Slot, position: i64, bytes: usize, now: Instant) {
        if let Some(seat) = self.seats.get_mut(&slot) {
            seat.position = position;
            seat.taken.bytes += bytes as u64;
            if let State::Reading { last_record, .. } = &mut seat.state {
                *last_record = Some(now);
            }
        }
    }

    /// Records can't be taken at present: nobody's turn ends for want of them.
    pub fn hold(&mut self, now: Instant) {
        for seat in self.seats.values_mut() {
            if let State::Reading {
                began, last_record, ..
            } = &mut seat.state
            {
                *began = now;
                *last_record = last_record.map(|_| now);
            }
        }
    }

    /// A file of this partition is full: that ends its turn, if partitions take turns.
    pub fn full(&mut self, slot: Slot) -> bool {
        match self.seats.get_mut(&slot) {
            Some(seat) if matches!(seat.state, State::Reading { until: Some(_), .. }) => {
                seat.state = State::Closing;
                true
            }
            _ => false,
        }
    }

    /// Whether a partition is to be read.
    pub fn is_reading(&self, slot: Slot) -> bool {
        self.seats
            .get(&slot)
            .is_some_and(|seat| matches!(seat.state, State::Reading { .. }))
    }

    /// Whether a partition's turn is over, and its files are being closed.
    pub fn is_closing(&self, slot: Slot) -> bool {
        self.seats
            .get(&slot)
            .is_some_and(|seat| matches!(seat.state, State::Closing))
    }

    /// What a partition had open is committed: its place is free.
    pub fn finished(&mut self, slot: Slot, now: Instant) {
        if let Some(seat) = self.seats.get_mut(&slot)
            && matches!(seat.state, State::Closing)
        {
            seat.learn();
            seat.state = State::Waiting { since: None };
            seat.note_unread(now);
        }
    }

    /// How many wait for their turn with something to read.
    pub fn num_waiting(&self) -> usize {
        let waits = |seat: &&Seat| {
            seat.empty_turns == 0 && matches!(seat.state, State::Waiting { since: Some(_) })
        };
        self.seats.values().filter(waits).count()
    }

    /// What is due at `now`.
    pub fn step(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.seats.len() <= self.rules.places {
            self.everybody_reads(now, &mut changes);
        } else {
            self.end_turns(now, &mut changes);
            self.begin_turns(now, &mut changes);
        }
        changes
    }

    /// When [`Turns::step`] may have something to do without anything else happening.
    pub fn deadline(&self) -> Option<Instant> {
        let crowded = self.seats.len() > self.rules.places;
        let free = self.num_open() < self.rules.places;
        self.seats
            .values()
            .filter(|_| crowded)
            .filter_map(|seat| match seat.state {
                State::Waiting { .. } if !free => None,
                State::Waiting { .. } => seat.due_at(&self.rules),
                State::Reading {
                    began, last_record, ..
                } => Some(quiet_at(began, last_record)),
                State::Closing => None,
            })
            .min()
    }

    fn num_open(&self) -> usize {
        let (mut reading, mut closing) = (0_usize, 0_usize);
        for seat in self.seats.values() {
            match seat.state {
                State::Waiting { .. } => {}
                State::Reading { .. } => reading += 1,
                State::Closing => closing += 1,
            }
        }
        reading + closing.saturating_sub(self.rules.closing)
    }

    fn everybody_reads(&mut self, now: Instant, changes: &mut Vec<Change>) {
        for (slot, seat) in &mut self.seats {
            match &mut seat.state {
                State::Waiting { .. } => {
                    seat.state = reading(None, now);
                    changes.push(Change::Begin(*slot));
                }
                State::Reading { until, .. } => *until = None,
                State::Closing => {}
            }
        }
    }

    fn end_turns(&mut self, now: Instant, changes: &mut Vec<Change>) {
        for (slot, seat) in &mut self.seats {
            let State::Reading {
                until,
                began,
                last_record,
            } = &mut seat.state
            else {
                continue;
            };
            // It had a place for as long as it liked; from now on it is a turn like any other.
            let until = *until.get_or_insert_with(|| seat.log_end.max(seat.position));
            if seat.position >= until || now >= quiet_at(*began, *last_record) {
                seat.empty_turns = match last_record {
                    Some(_) => 0,
                    None => seat.empty_turns.saturating_add(1),
                };
                seat.interrupted = last_record.is_some() && seat.is_far_from(until);
                seat.state = State::Closing;
                changes.push(Change::End(*slot));
            }
        }
    }

    fn begin_turns(&mut self, now: Instant, changes: &mut Vec<Change>) {
        let mut free = self.rules.places.saturating_sub(self.num_open());
        let mut due: Vec<(Instant, Slot)> = self
            .seats
            .iter()
            .filter_map(|(slot, seat)| Some((seat.due_at(&self.rules)?, *slot)))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort_unstable();
        for (_, slot) in due {
            if free == 0 {
                return;
            }
            if let Some(seat) = self.seats.get_mut(&slot) {
                seat.taken = Taken {
                    first: seat.position,
                    bytes: 0,
                };
                seat.interrupted = false;
                seat.state = reading(Some(seat.log_end), now);
                changes.push(Change::Begin(slot));
                free -= 1;
            }
        }
    }
}

impl Seat {
    fn has_unread(&self) -> bool {
        self.log_end > self.position
    }

    fn note_unread(&mut self, now: Instant) {
        let has_unread = self.has_unread();
        if let State::Waiting { since } = &mut self.state
            && since.is_none()
            && has_unread
        {
            *since = Some(now);
        }
    }

    /// Whether what remains up to `until` is more than markers would be beside what its turn gave.
    fn is_far_from(&self, until: i64) -> bool {
        let given = self.position.saturating_sub(self.taken.first);
        until.saturating_sub(self.position) > given / 8
    }

    fn learn(&mut self) {
        let offsets = self.position.saturating_sub(self.taken.first);
        if offsets > 0 {
            self.bytes_per_offset = Some(self.taken.bytes as f64 / offsets as f64);
        }
    }

    /// Since when it is, or from when it will be, this partition's turn.
    fn due_at(&self, rules: &Rules) -> Option<Instant> {
        let State::Waiting { since: Some(since) } = self.state else {
            return None;
        };
        if self.interrupted {
            return Some(since);
        }
        if self.empty_turns > 0 {
            return since.checked_add(rules.age * (1 << self.empty_turns.min(MAX_DOUBLINGS)));
        }
        let unread = self.log_end.saturating_sub(self.position) as f64;
        let fills_a_file = self
            .bytes_per_offset
            .is_none_or(|bytes| bytes * unread >= rules.full_bytes as f64);
        if fills_a_file {
            Some(since)
        } else {
            since.checked_add(rules.age)
        }
    }
}

fn reading(until: Option<i64>, now: Instant) -> State {
    State::Reading {
        until,
        began: now,
        last_record: None,
    }
}

fn quiet_at(began: Instant, last_record: Option<Instant>) -> Instant {
    match last_record {
        Some(last) => last + QUIET_AFTERWARDS,
        None => began + QUIET_AT_FIRST,
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
