//! One server process that can be stopped, killed, frozen and started again on the same ports and data.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::guard::{Guarded, Signal, Spec, log_tail};

/// Says `Ok` once the server is ready, else why it isn't yet.
pub(crate) type ReadyCheck = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

const READY_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A server process. All operations block until what they ask for is so.
pub struct Node {
    name: String,
    spec: Spec,
    ready: ReadyCheck,
    running: Mutex<Option<Guarded>>,
}

impl Node {
    pub(crate) fn new(name: &str, spec: Spec, ready: ReadyCheck) -> Self {
        Self {
            name: name.to_owned(),
            spec,
            ready,
            running: Mutex::new(None),
        }
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its log file, which goes on across restarts.
    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    /// Its data and configuration.
    pub fn dir(&self) -> &PathBuf {
        &self.spec.dir
    }

    /// The process' id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.lock()
            .as_ref()
            .filter(|guarded| guarded.exit_code().is_none())
            .map(Guarded::pid)
    }

    /// Whether the process is there (frozen counts).
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Starts it without waiting until it is ready. Does nothing when it runs.
    pub fn launch(&self) -> Result<()> {
        let mut running = self.lock();
        if running
            .as_ref()
            .is_some_and(|guarded| guarded.exit_code().is_none())
        {
            return Ok(());
        }
        *running = None;
        *running = Some(Guarded::spawn(&self.name, &self.spec)?);
        Ok(())
    }

    /// Starts it and waits until it is ready. Does nothing more when it runs and is ready.
    pub fn start(&self) -> Result<()> {
        self.launch()?;
        self.wait_ready()
    }

    /// Waits until it answers as a ready server does; fails at once if its process ends.
    pub fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let reason = match (self.ready)() {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            };
            let code = self.lock().as_ref().map_or(Some(-1), Guarded::exit_code);
            if let Some(code) = code {
                return Err(self.failed(&format!("ended with exit code {code} while starting")));
            }
            if Instant::now() >= deadline {
                let seconds = READY_TIMEOUT.as_secs();
                return Err(self.failed(&format!("wasn't ready after {seconds} s: {reason}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&self) -> Result<()> {
        self.end(Signal::TERM)
    }

    /// SIGKILL to it and all it started.
    pub fn kill(&self) -> Result<()> {
        self.end(Signal::KILL)
    }

    /// SIGSTOP: its sockets stay open and accept, but nothing answers.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Stops it if it runs, and starts it on the same ports and data.
    pub fn restart(&self) -> Result<()> {
        if self.is_running() {
            self.stop()?;
        }
        self.start()
    }

    /// Thaws it if frozen, starts it if down, and waits until it is ready.
    pub fn heal(&self) -> Result<()> {
        if self.is_running() {
            self.thaw()?;
        }
        self.start()
    }

    fn end(&self, signal: Signal) -> Result<()> {
        let mut running = self.lock();
        let Some(guarded) = running.as_ref() else {
            return Ok(());
        };
        if guarded.exit_code().is_none() {
            let sent = match signal {
                Signal::KILL => guarded.signal_group(signal),
                _ => guarded.signal(signal),
            };
            // It may have ended in this very moment, which is what we want.
            if sent.is_err() && guarded.exit_code().is_none() {
                sent?;
            }
            if guarded.wait(STOP_TIMEOUT).is_none() {
                let seconds = STOP_TIMEOUT.as_secs();
                return Err(self.failed(&format!("didn't end within {seconds} s of {signal:?}")));
            }
        }
        *running = None;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match self.lock().as_ref() {
            Some(guarded) => guarded.signal_group(signal),
            None => Err(Error::new(format!("{} isn't running", self.name))),
        }
    }

    fn failed(&self, what: &str) -> Error {
        let (log, tail) = (self.spec.log.display(), log_tail(&self.spec.log, 25));
        Error::new(format!(
            "{} {what}. The end of its log {log}:\n{tail}",
            self.name
        ))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Guarded>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
