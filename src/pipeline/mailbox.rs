//! What the outside asks of a worker; outlives the worker, so that nothing is lost over a restart.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Look whether the sink is paused ([`Mailbox::is_paused`]), and say when that is heeded.
    Heed(SyncSender<()>),
    /// Drain, commit, leave the group, end; by the deadline at the latest.
    ShutDown(Instant),
}

/// Commands that wait for a worker.
#[derive(Debug, Default)]
pub struct Mailbox {
    commands: Mutex<VecDeque<Command>>,
    arrived: Condvar,
    /// A shutdown was asked for; known for good, whatever becomes of the worker that took the command.
    shutting_down: AtomicBool,
    /// The sink is to take no records; known until it is resumed, whatever becomes of the worker.
    paused: AtomicBool,
}

impl Mailbox {
    /// Leaves a command.
    pub fn send(&self, command: Command) {
        if matches!(command, Command::ShutDown(_)) {
            self.shutting_down.store(true, Ordering::Relaxed);
        }
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(command);
        self.arrived.notify_all();
    }

    /// Whether a shutdown was ever asked for: a worker that fails then isn't to come back.
    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Relaxed)
    }

    /// Pauses or resumes; `reply` hears when the worker takes nothing any more, or takes records again.
    pub fn set_paused(&self, paused: bool, reply: SyncSender<()>) {
        self.paused.store(paused, Ordering::Relaxed);
        self.send(Command::Heed(reply));
    }

    /// Whether the sink is paused by request.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
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
