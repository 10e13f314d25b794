//! What a partition waits for that isn't its turn to be read, in words. They change only when what they say does: times are
//! those of the clock, so that observers aren't told anew each second.

use std::time::Instant;

use jiff::Timestamp;

use super::Turns;
use super::seat::{Seat, State};
use crate::sinks::Slot;

/// A moment, and what the clock said then (Unix milliseconds): what it says at others.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    at: Instant,
    unix_ms: i64,
}

impl Clock {
    /// From what it says at one moment.
    pub fn new(at: Instant, unix_ms: i64) -> Self {
        Clock { at, unix_ms }
    }

    fn says(&self, at: Instant) -> String {
        let ahead = at.saturating_duration_since(self.at).as_millis();
        let behind = self.at.saturating_duration_since(at).as_millis();
        let ms = |span: u128| i64::try_from(span).unwrap_or(i64::MAX);
        let unix_ms = self.unix_ms.saturating_add(ms(ahead) - ms(behind));
        let time = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::MAX);
        format!("{time:.0}")
    }
}

impl Turns {
    /// Why a partition isn't read though nothing is wrong; none if it is read, or will be in a moment.
    pub fn why_waiting(&self, slot: Slot, now: Instant, clock: &Clock) -> Option<String> {
        let (places, num) = (self.rules.places, self.seats.len());
        let seat = self.seats.get(&slot)?;
        let due = match seat.state {
            State::Reading { .. } => return None,
            State::Closing => {
                let what = "its turn is over: its files are being closed and committed";
                return Some(what.to_owned());
            }
            State::Waiting { .. } if num <= places => return None,
            State::Waiting { .. } => self.due(seat, now, clock),
        };
        let may = if places == 1 { "has" } else { "have" };
        Some(format!(
            "waits for its turn: {places} of {num} partitions {may} files open at a time; {due}"
        ))
    }

    /// When its turn comes.
    fn due(&self, seat: &Seat, now: Instant, clock: &Clock) -> String {
        if !seat.has_unread() {
            return "nothing is left to read".to_owned();
        }
        let due = seat.due_at(&self.rules);
        let at = due.map(|due| clock.says(due));
        match (at, seat.empty_turns) {
            (Some(at), _) if due.is_some_and(|due| due <= now) => {
                format!("due since {at}, it begins when another has closed and committed its files")
            }
            (Some(at), 0) => format!("due at {at}, or when a file's worth waits"),
            (None, 0) => "due when a file's worth waits".to_owned(),
            (at, _) => {
                let again = at.map_or_else(String::new, |at| format!("at {at}, or "));
                format!("its last turn brought nothing, so it is due {again}when its log grows")
            }
        }
    }
}
