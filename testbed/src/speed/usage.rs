//! A process' CPU and memory, as the operating system counts them.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testbed::error::Context;
use testbed::{Error, Result, proc};

const EVERY: Duration = Duration::from_millis(5);

/// What a process took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu_s: f64,
    /// The most that was resident, in MiB.
    pub peak_mib: f64,
    /// From its start to its end, or to the moment that it was measured up to, in seconds.
    pub wall_s: f64,
}

/// Samples a process that somebody else reaps.
pub struct Meter {
    pid: u32,
    began: Instant,
    usage: Usage,
}

impl Meter {
    /// Of a process that has just begun.
    pub fn new(pid: u32) -> Self {
        Meter {
            pid,
            began: Instant::now(),
            usage: Usage::default(),
        }
    }

    /// Looks once; whether it still runs.
    pub fn look(&mut self) -> bool {
        let Some(cpu) = proc::cpu_seconds(self.pid) else {
            return false;
        };
        self.usage.cpu_s = cpu;
        self.usage.wall_s = self.began.elapsed().as_secs_f64();
        if let Some(peak) = proc::memory(self.pid, "VmHWM:") {
            self.usage.peak_mib = peak as f64 / f64::from(1 << 20);
        }
        proc::state(self.pid).is_some_and(|state| state != 'Z')
    }

    /// Looks until `done`.
    ///
    /// # Errors
    /// It ended by itself, or `done` fails, or it takes longer than `patience`.
    pub fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut done: impl FnMut() -> Result<bool>,
    ) -> Result<Usage> {
        let deadline = Instant::now() + patience;
        while !done()? {
            if !self.look() {
                return Err(Error::new(format!("{what}: the process has ended")));
            }
            if Instant::now() > deadline {
                return Err(Error::new(format!("{what}: not within {patience:?}")));
            }
            std::thread::sleep(EVERY);
        }
        self.look();
        Ok(self.usage)
    }

    /// Looks until it is gone: what it took in all.
    pub fn until_it_ends(mut self, patience: Duration) -> Result<Usage> {
        let deadline = Instant::now() + patience;
        while self.look() {
            if Instant::now() > deadline {
                return Err(Error::new(format!("it hasn't ended within {patience:?}")));
            }
            std::thread::sleep(EVERY);
        }
        Ok(self.usage)
    }
}

/// Starts a command, its output thrown away, and begins to measure it.
pub fn start(command: &mut Command) -> Result<(Killed, Meter)> {
    let name = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = Killed(command.spawn().context(format!("can't run {name}"))?);
    let meter = Meter::new(child.0.id());
    Ok((child, meter))
}

/// Runs a command to its end, its output thrown away.
pub fn run(command: &mut Command, patience: Duration) -> Result<Usage> {
    let (mut child, meter) = start(command)?;
    // It stays a zombie, and so its figures stay, until it is waited for.
    let usage = meter.until_it_ends(patience)?;
    let status = child.0.wait().context("can't wait")?;
    match status.success() {
        true => Ok(usage),
        false => Err(Error::new(format!("{command:?}: {status}"))),
    }
}

/// A child that doesn't outlive its owner.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
