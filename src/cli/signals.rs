//! SIGTERM and SIGINT: the first asks, the second insists.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;
use crate::error::Error;

/// SIGTERM and SIGINT as they come.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from their defaults. Must be called on a runtime.
    pub fn new() -> Result<Self, Error> {
        let take = |kind| {
            signal(kind)
                .map_err(|error| Error::unavailable(format!("signals can't be received: {error}")))
        };
        Ok(Signals {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one; answers how the process ends if it insists.
    pub async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.terminate.recv() => Exit::Signalled(15),
            _ = self.interrupt.recv() => Exit::Signalled(2),
        }
    }
}
