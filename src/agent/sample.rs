//! Taking the figures.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sysinfo::{
    CpuRefreshKind, MINIMUM_CPU_UPDATE_INTERVAL, MemoryRefreshKind, RefreshKind, System,
};

use crate::error::Error;

/// CPU figures are differences: the first ones need this long.
pub const WARM_UP: Duration = Duration::from_millis(250);

/// The figures of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When, in Unix milliseconds.
    pub timestamp_ms: i64,
    /// Use of each core since the last sample, 0 to 1.
    pub cores: Vec<f64>,
    /// Load averages of 1, 5 and 15 minutes, where there are such.
    pub load: Option<[f64; 3]>,
    /// Memory in bytes.
    pub memory: Memory,
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// Used for nothing at all.
    pub free: u64,
    /// What programs could have: free, and what caches would give back.
    pub available: u64,
    /// Swap space.
    pub swap_total: u64,
    /// What of it is in use.
    pub swap_used: u64,
}

/// Takes samples.
pub struct Sampler {
    system: System,
}

impl Sampler {
    /// A sampler whose first sample is good after [`WARM_UP`].
    pub fn new() -> Result<Self, Error> {
        debug_assert!(WARM_UP >= MINIMUM_CPU_UPDATE_INTERVAL);
        let what = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::everything());
        let system = System::new_with_specifics(what).map_err(|error| {
            Error::unavailable(format!("this host's figures can't be had: {error}"))
        })?;
        Ok(Sampler { system })
    }

    /// The figures of now.
    pub fn take(&mut self) -> Sample {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let share = |cpu: &sysinfo::Cpu| (f64::from(cpu.usage()) / 100.0).clamp(0.0, 1.0);
        Sample {
            timestamp_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            cores: self.system.cpus().iter().map(share).collect(),
            load: System::load_average()
                .ok()
                .map(|load| [load.one, load.five, load.fifteen]),
            memory: Memory {
                total: self.system.total_memory(),
                free: self.system.free_memory(),
                available: self.system.available_memory(),
                swap_total: self.system.total_swap(),
                swap_used: self.system.used_swap(),
            },
        }
    }
}

/// This host's name.
pub fn host_name() -> Result<String, Error> {
    System::host_name()
        .ok()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Error::misconfigured("this host has no name: set agent.host_name"))
}
