//! The state machine.

use super::{Action, Event, Opening};

/// The protocol's guards, each of which the model can switch off to see that it is needed. All on by default.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Guards {}

/// The commit log of one partition, for one opening. See the module's page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommitLog {
    opening: Opening,
}

impl CommitLog {
    /// A log that isn't open yet: send [`Event::Open`].
    pub fn new(opening: Opening) -> Self {
        CommitLog { opening }
    }

    /// The owner's folder, absolute. Valid once opened.
    pub fn folder(&self) -> &str {
        &self.opening.base
    }

    /// The first offset that isn't committed. Valid once opened.
    pub fn end(&self) -> i64 {
        self.opening.start
    }

    /// Whether nothing is under way and nothing waits to be committed.
    pub fn is_idle(&self) -> bool {
        true
    }

    /// Takes an event; says what to do.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        let _ = event;
        Vec::new()
    }
}
