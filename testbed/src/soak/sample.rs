//! One look at a process.

use std::time::Duration;

use crate::error::{Context, Error, Result};
use crate::proc::memory;

/// What a process had at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Since the beginning.
    pub seconds: f64,
    /// Records that the sinks have committed, together.
    pub committed: i64,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// Something of a sample that must not grow.
#[derive(Clone, Copy)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// Its value in a sample.
    pub of: fn(&Sample) -> f64,
    /// By so much the last quarter's median may lie above the first's and still be called flat: what belongs
    /// to caches and pools that fill up, and to chance.
    pub slack: f64,
}

impl Sample {
    /// What must not grow.
    pub const FIGURES: [Figure; 3] = [
        Figure {
            name: "memory MiB",
            of: |sample| sample.memory_bytes as f64 / f64::from(1 << 20),
            slack: 8.0,
        },
        Figure {
            name: "descriptors",
            of: |sample| sample.descriptors as f64,
            slack: 4.0,
        },
        Figure {
            name: "threads",
            of: |sample| sample.threads as f64,
            slack: 2.0,
        },
    ];

    /// Looks at a process; an error if it is gone.
    pub fn take(pid: u32, since: Duration) -> Result<Self> {
        let count = |folder: &str| {
            let path = format!("/proc/{pid}/{folder}");
            let entries = std::fs::read_dir(&path);
            Ok::<_, Error>(
                entries
                    .context(format!("outflow is gone ({path})"))?
                    .count() as u64,
            )
        };
        let resident = memory(pid, "VmRSS:");
        Ok(Self {
            seconds: since.as_secs_f64(),
            committed: 0,
            memory_bytes: resident.ok_or_else(|| Error::new("outflow is gone"))?,
            descriptors: count("fd")?,
            threads: count("task")?,
        })
    }

    /// For people.
    pub fn line(&self) -> String {
        let Sample {
            seconds,
            committed,
            memory_bytes,
            descriptors,
            threads,
        } = self;
        format!(
            "{seconds:8.0} s  {committed:>12} committed  {:>5} MiB  {descriptors:>4} descriptors  \
             {threads:>3} threads",
            memory_bytes >> 20
        )
    }
}
