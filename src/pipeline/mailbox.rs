//! What the outside asks of a worker; outlives the worker, so that nothing is lost over a restart.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::offsets::TopicPartition;

/// What the outside may ask of a worker.
#[derive(Debug)]
pub enum Command {
    /// Release a quarantined partition.
    Release(TopicPartition, SyncSender<Result<(), Error>>),
    /// Drain, commit, leave the group, end; by the deadline at the latest.
    ShutDown(Instant),
}

/// Commands that wait for a worker.
#[derive(Debug, Default)]
pub struct Mailbox {
    commands: Mutex<VecDeque<Command>>,
    arrived: Condvar,
}

impl Mailbox {
    /// Leaves a command.
    pub fn send(&self, command: Command) {
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(command);
        self.arrived.notify_all();
    }

    /// The next command, without waiting.
    pub fn try_receive(&self) -> Option<Command> {
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    /// The next command, waiting at most `wait` for it.
    pub fn receive(&self, wait: Duration) -> Option<Command> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .arrived
            .wait_timeout_while(commands, wait, |queue| queue.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.pop_front()
    }
}
