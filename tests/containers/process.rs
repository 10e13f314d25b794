//! What the kernel says of a container's process.

/// A line of its `status`, such as `CapEff`.
pub fn kernel_says(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut values = status.lines().filter_map(|line| line.split_once(':'));
    let value = values.find(|(found, _)| *found == name).unwrap().1;
    value.trim().to_owned()
}

/// It has no capability, gets none, and isn't root.
pub fn has_no_rights(pid: u32) {
    for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(kernel_says(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!(kernel_says(pid, "NoNewPrivs"), "1");
    let users = kernel_says(pid, "Uid");
    assert!(users.split_whitespace().all(|user| user != "0"), "{users}");
}

/// Whether the kernel holds it to this much memory.
pub fn is_limited_to(pid: u32, bytes: u64) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mut files = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let file = match controllers {
            "" => format!("/sys/fs/cgroup{path}/memory.max"),
            "memory" => format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"),
            _ => return None,
        };
        std::fs::read_to_string(file).ok()
    });
    let limit = bytes.to_string();
    files.any(|text| text.trim() == limit)
}

/// Whether the root that it sees can be written.
pub fn has_writable_root(pid: u32) -> bool {
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    // id, parent, device, root, place, options.
    let fields = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let mut roots = fields.filter(|fields| fields[4] == "/");
    let root = roots.next().unwrap();
    assert!(roots.next().is_none(), "one root: {mounts}");
    root[5].split(',').all(|option| option != "ro")
}
