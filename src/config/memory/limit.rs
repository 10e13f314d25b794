//! What a process may really have: the least of its control groups' limits (version 2's `memory.max`, version 1's
//! `memory.limit_in_bytes`; its own group's and those of all groups above, as far as they can be seen) and the machine's
//! memory.

use std::path::{Path, PathBuf};

use super::super::surroundings::Surroundings;

/// How much, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    /// In bytes.
    pub bytes: u64,
    /// The file that says so.
    pub source: String,
}

/// This process' limit; none if nothing can be read.
pub fn of_process(surroundings: &dyn Surroundings) -> Option<Limit> {
    let read = |path: &str| surroundings.read_file(Path::new(path)).unwrap_or_default();
    let files = files(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
    let groups = files.iter().filter_map(|file| {
        let text = surroundings.read_file(file).ok()?;
        // "max" is no number: no limit.
        let (bytes, source) = (text.trim().parse().ok()?, file.display().to_string());
        Some(Limit { bytes, source })
    });
    let machine = machine(&read("/proc/meminfo"));
    machine.into_iter().chain(groups).min_by_key(|l| l.bytes)
}

/// The machine's memory by `/proc/meminfo`.
fn machine(meminfo: &str) -> Option<Limit> {
    let total = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Limit {
        bytes: kib.checked_mul(1 << 10)?,
        source: "MemTotal in /proc/meminfo".into(),
    })
}

/// Where limits stand, by `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn files(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let mounts = mounts.lines().filter_map(Hierarchy::mounted);
    let files = mounts.filter_map(|hierarchy| {
        let group = groups.lines().find_map(|line| hierarchy.group(line))?;
        Some(hierarchy.files(group))
    });
    files.flatten().collect()
}

/// A mounted hierarchy of control groups that counts memory, or may.
struct Hierarchy<'a> {
    /// The group that stands at the mount's top. A container may see its own there, and its whole path elsewhere.
    root: &'a str,
    top: &'a Path,
    is_v2: bool,
}

impl<'a> Hierarchy<'a> {
    /// Of a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    fn mounted(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, top) = (fields.next()?, fields.next()?);
        let mut fields = system.split(' ');
        let (kind, options) = (fields.next()?, fields.nth(1)?);
        let is_v2 = kind == "cgroup2";
        let counts = is_v2 || (kind == "cgroup" && options.split(',').any(|o| o == "memory"));
        let top = Path::new(top);
        counts.then_some(Hierarchy { root, top, is_v2 })
    }

    /// This process' group, if a line of `/proc/self/cgroup` (cgroups(7)) names it for this hierarchy.
    fn group<'g>(&self, line: &'g str) -> Option<&'g Path> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        let is_ours = match self.is_v2 {
            true => controllers.is_empty(),
            false => controllers.split(',').any(|c| c == "memory"),
        };
        is_ours.then_some(Path::new(group))
    }

    /// The limits of a group and of those above it.
    fn files(&self, group: &Path) -> Vec<PathBuf> {
        let name = match self.is_v2 {
            true => "memory.max",
            false => "memory.limit_in_bytes",
        };
        // Of a group that isn't below the mount's, the top is all that can be seen.
        let below = group.strip_prefix(self.root).unwrap_or(Path::new(""));
        let group = self.top.join(below);
        let above = group.ancestors();
        let seen = above.take_while(|folder| folder.starts_with(self.top));
        seen.map(|folder| folder.join(name)).collect()
    }
}
