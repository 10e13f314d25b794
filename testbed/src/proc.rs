//! What the kernel says of a process, from `/proc`. `None`: it is gone.

use std::fs;

/// The kernel's clock ticks a second, as it shows them.
const TICKS: f64 = 100.0;

/// The fields of `/proc/PID/stat` behind the name, which may have blanks in it: the first is the state, the third of
/// all.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.rsplit(')').next()?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Its state, such as `R`, `T` (stopped) or `Z` (ended, and not waited for).
pub fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// Whether it has ended, and only waits for its parent.
pub(crate) fn is_dead(pid: u32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// Its process group.
pub(crate) fn group(pid: u32) -> Option<i32> {
    stat(pid)?.get(2)?.parse().ok()
}

/// Whether none of its threads runs, because it was stopped or has ended.
pub(crate) fn has_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    let mut stats = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    let is_still = |stat: String| {
        let rest = stat.rsplit(')').next().unwrap_or_default();
        matches!(
            rest.split_whitespace().next(),
            Some("T" | "t" | "Z" | "X") | None
        )
    };
    stats.all(is_still)
}

/// When it began, in the kernel's ticks since the machine did.
pub fn began(pid: u32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// What it has used of cores since it began, in seconds: user and system time.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let fields = stat(pid)?;
    let ticks = |n: usize| fields.get(n)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// A figure of `/proc/PID/status` that is given in kB (such as `VmRSS:` or `VmHWM:`), in bytes.
pub fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}
