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

mod seat;
mod words;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::seat::{Seat, State, quiet_at};
pub use self::words::Clock;
use crate::sinks::Slot;

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
            State::reading(crowded.then_some(log_end), now)
        } else {
            State::Waiting {
                since: has_unread.then_some(now),
            }
        };
        let seat = Seat::new(position, log_end, state);
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
            seat.observe(log_end, now);
        }
    }

    /// A record was taken; `position` is the offset after it.
    pub fn took(&mut self, slot: Slot, position: i64, bytes: usize, now: Instant) {
        if let Some(seat) = self.seats.get_mut(&slot) {
            seat.took(position, bytes, now);
        }
    }

    /// Records can't be taken at present: nobody's turn ends for want of them.
    pub fn hold(&mut self, now: Instant) {
        for seat in self.seats.values_mut() {
            seat.hold(now);
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
        self.seats.get(&slot).is_some_and(Seat::is_reading)
    }

    /// Whether a partition's turn is over, and its files are being closed.
    pub fn is_closing(&self, slot: Slot) -> bool {
        self.seats.get(&slot).is_some_and(Seat::is_closing)
    }

    /// What a partition had open is committed: its place is free.
    pub fn finished(&mut self, slot: Slot, now: Instant) {
        if let Some(seat) = self.seats.get_mut(&slot)
            && seat.is_closing()
        {
            seat.finished(now);
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
                    seat.state = State::reading(None, now);
                    changes.push(Change::Begin(*slot));
                }
                State::Reading { until, .. } => *until = None,
                State::Closing => {}
            }
        }
    }

    fn end_turns(&mut self, now: Instant, changes: &mut Vec<Change>) {
        for (slot, seat) in &mut self.seats {
            if seat.end(now) {
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
                seat.begin(now);
                changes.push(Change::Begin(slot));
                free -= 1;
            }
        }
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
