//! One partition among those that take turns: how far it is, and when its turn is due. Pure.

use std::time::{Duration, Instant};

use super::Rules;

/// How long a turn may go without a record before the first one, and after the last one.
pub(super) const QUIET_AT_FIRST: Duration = Duration::from_secs(3);
pub(super) const QUIET_AFTERWARDS: Duration = Duration::from_millis(500);

/// A partition whose turns give nothing waits at most 2 to this many times the age.
const MAX_DOUBLINGS: u32 = 5;

#[derive(Debug)]
pub(super) struct Seat {
    pub state: State,
    /// Next offset to read.
    position: i64,
    log_end: i64,
    /// How many turns in a row gave nothing: what remains may be markers, which are never delivered, or Kafka
    /// may have been slow. So it is tried again, ever more rarely, until the log grows.
    pub empty_turns: u32,
    /// Its last turn gave records and ended for want of more, well before its end.
    interrupted: bool,
    /// Encoded bytes per offset, learned from its turns.
    bytes_per_offset: Option<f64>,
    taken: Taken,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum State {
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

impl State {
    pub fn reading(until: Option<i64>, now: Instant) -> State {
        State::Reading {
            until,
            began: now,
            last_record: None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    first: i64,
    bytes: u64,
}

impl Seat {
    pub fn new(position: i64, log_end: i64, state: State) -> Seat {
        Seat {
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
        }
    }

    pub fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading { .. })
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    pub fn has_unread(&self) -> bool {
        self.log_end > self.position
    }

    pub fn observe(&mut self, log_end: i64, now: Instant) {
        if log_end > self.log_end {
            self.log_end = log_end;
            self.empty_turns = 0;
        }
        self.note_unread(now);
    }

    pub fn took(&mut self, position: i64, bytes: usize, now: Instant) {
        self.position = position;
        self.taken.bytes += bytes as u64;
        if let State::Reading { last_record, .. } = &mut self.state {
            *last_record = Some(now);
        }
    }

    /// That nothing comes at present says nothing.
    pub fn hold(&mut self, now: Instant) {
        if let State::Reading {
            began, last_record, ..
        } = &mut self.state
        {
            *began = now;
            *last_record = last_record.map(|_| now);
        }
    }

    pub fn begin(&mut self, now: Instant) {
        self.taken = Taken {
            first: self.position,
            bytes: 0,
        };
        self.interrupted = false;
        self.state = State::reading(Some(self.log_end), now);
    }

    /// Ends its turn if it has come to its end, or if nothing more comes. Whether it has ended.
    pub fn end(&mut self, now: Instant) -> bool {
        let State::Reading {
            until,
            began,
            last_record,
        } = &mut self.state
        else {
            return false;
        };
        // It had a place for as long as it liked; from now on it is a turn like any other.
        let until = *until.get_or_insert_with(|| self.log_end.max(self.position));
        if self.position < until && now < quiet_at(*began, *last_record) {
            return false;
        }
        let gave_records = last_record.is_some();
        self.empty_turns = match gave_records {
            true => 0,
            false => self.empty_turns.saturating_add(1),
        };
        self.interrupted = gave_records && self.is_far_from(until);
        self.state = State::Closing;
        true
    }

    pub fn finished(&mut self, now: Instant) {
        let offsets = self.position.saturating_sub(self.taken.first);
        if offsets > 0 {
            self.bytes_per_offset = Some(self.taken.bytes as f64 / offsets as f64);
        }
        self.state = State::Waiting { since: None };
        self.note_unread(now);
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

    /// Since when it is, or from when it will be, this partition's turn.
    pub fn due_at(&self, rules: &Rules) -> Option<Instant> {
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

/// When its turn is over if nothing more comes.
pub(super) fn quiet_at(began: Instant, last_record: Option<Instant>) -> Instant {
    match last_record {
        Some(last) => last + QUIET_AFTERWARDS,
        None => began + QUIET_AT_FIRST,
    }
}
