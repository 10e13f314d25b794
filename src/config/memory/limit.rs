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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;

    use super::super::super::surroundings::SecretFile;
    use super::*;

    const MIB: u64 = 1 << 20;
    const V2: &str =
        "25 19 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
         32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
         35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    /// What version 1 says of a group without a limit.
    const NONE: &str = "9223372036854771712\n";

    /// A machine with 16 GiB and these files; of one without text nobody may read anything.
    struct Machine(BTreeMap<String, Option<String>>);

    impl Machine {
        fn new(group: &str, mounts: &str) -> Self {
            let machine = Machine(BTreeMap::new());
            let machine = machine.file("/proc/self/cgroup", group);
            let meminfo = "MemTotal:       16777216 kB\nMemFree:         1048576 kB\n";
            let machine = machine.file("/proc/meminfo", meminfo);
            machine.file("/proc/self/mountinfo", mounts)
        }

        fn file(mut self, path: &str, text: &str) -> Self {
            self.0.insert(path.into(), Some(text.into()));
            self
        }

        fn closed(mut self, path: &str) -> Self {
            self.0.insert(path.into(), None);
            self
        }

        /// MiB, and which file says so.
        fn limit(&self) -> Option<(u64, String)> {
            of_process(self).map(|limit| (limit.bytes / MIB, limit.source))
        }

        fn is_limited(&self, mib: u64, source: &str) {
            assert_eq!(self.limit(), Some((mib, source.to_owned())));
        }

        fn has_all(&self) {
            self.is_limited(16_384, "MemTotal in /proc/meminfo");
        }
    }

    impl Surroundings for Machine {
        fn variables(&self) -> Vec<(String, String)> {
            Vec::new()
        }

        fn read_file(&self, path: &Path) -> io::Result<String> {
            let file = self.0.get(path.to_str().unwrap_or_default());
            let file = file.ok_or(io::ErrorKind::NotFound)?.clone();
            file.ok_or_else(|| io::ErrorKind::PermissionDenied.into())
        }

        fn read_secret(&self, _: &Path) -> io::Result<SecretFile> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn cores(&self) -> usize {
            1
        }
    }

    #[test]
    fn without_a_group_that_limits_it_the_machine_is_the_limit() {
        Machine::new("", "").has_all();
        Machine::new("0::/\n", V2).has_all();
        Machine::new("0::/a/b\n", V2)
            .file("/sys/fs/cgroup/a/b/memory.max", "max\n")
            .file("/sys/fs/cgroup/a/memory.max", "max\n")
            .has_all();
        Machine::new("4:memory:/a\n", V1)
            .file("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", NONE)
            .has_all();
        Machine::new("0::/a\n", V2)
            .file("/sys/fs/cgroup/a/memory.max", "68719476736\n")
            .has_all();
        assert_eq!(Machine(BTreeMap::new()).limit(), None);
    }

    #[test]
    fn the_least_limit_of_a_group_and_of_all_above_holds() {
        let group = "0::/system.slice/outflow@hdfs.service\n";
        let own = "/sys/fs/cgroup/system.slice/outflow@hdfs.service/memory.max";
        let slice = "/sys/fs/cgroup/system.slice/memory.max";
        let machine = |inner, outer| Machine::new(group, V2).file(own, inner).file(slice, outer);
        machine("536870912\n", "max\n").is_limited(512, own);
        machine("536870912\n", "1073741824\n").is_limited(512, own);
        machine("max\n", "268435456\n").is_limited(256, slice);
        machine("536870912\n", "268435456\n").is_limited(256, slice);
    }

    #[test]
    fn version_1_has_a_hierarchy_and_files_of_its_own() {
        // systemd's own hierarchy, without controllers, is beside it; so may be version 2's.
        let group = "9:name=systemd:/x\n5:cpu,cpuacct:/y\n4:memory:/docker/c0\n0::/z\n";
        let mounts = format!(
            "{V1}{}",
            V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
        );
        let own = "/sys/fs/cgroup/memory/docker/c0/memory.limit_in_bytes";
        let above = "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes";
        let machine = |inner, outer| {
            Machine::new(group, &mounts)
                .file(own, inner)
                .file(above, outer)
        };
        machine("134217728\n", NONE).is_limited(128, own);
        machine(NONE, "67108864\n").is_limited(64, above);
    }

    /// With a namespace of its own its group is called `/`; without, the mount begins at its group.
    #[test]
    fn a_container_sees_its_own_group_at_the_top() {
        let top = "/sys/fs/cgroup/memory.max";
        let machine = |group, mounts: &str| Machine::new(group, mounts).file(top, "67108864\n");
        machine("0::/\n", V2).is_limited(64, top);
        let below = V2.replacen(" / ", " /kubepods/pod1/c0 ", 1);
        machine("0::/kubepods/pod1/c0\n", &below).is_limited(64, top);
        // Seen from within, the mount's top is above.
        let above = V2.replacen(" / ", " /../.. ", 1);
        machine("0::/\n", &above).is_limited(64, top);
        let v1 = V1.replace(
            "/ /sys/fs/cgroup/memory",
            "/docker/c0 /sys/fs/cgroup/memory",
        );
        let top = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        let machine = Machine::new("4:memory:/docker/c0/inner\n", &v1);
        machine.file(top, "33554432\n").is_limited(32, top);
    }

    #[test]
    fn what_can_not_be_read_or_understood_is_no_limit() {
        let own = "/sys/fs/cgroup/a/memory.max";
        for text in ["", "many", "-1", "1e9"] {
            let machine = Machine::new("0::/a\n", V2);
            machine.file(own, text).has_all();
        }
        let machine = Machine::new("0::/a\n", V2).closed(own);
        machine.has_all();
        let closed = machine.file("/sys/fs/cgroup/memory.max", "67108864\n");
        closed.is_limited(64, "/sys/fs/cgroup/memory.max");
        Machine::new("::\n0:\n\u{0}", "- cgroup2\n - cgroup2 \n25 - cgroup2 x y").has_all();
        let machine = Machine::new("0::/a\n", V2).closed("/proc/meminfo");
        assert_eq!(machine.limit(), None);
    }
}
