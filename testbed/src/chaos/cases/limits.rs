//! Group A: what outflow's process is given is short, or its clock jumps.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::{Context, Error, Result};
use crate::tcp_proxy::Mode;

use super::super::case::{BOTH, Case, Expect, Fault, Lines, NONE, Proxy, Seen, Setup, Target};
use super::super::world::World;
use super::elasticsearch::{ALONE, retries};

const PLAIN: Case = Case {
    target: Target::Process,
    in_subset: false,
    random: false,
    ..ALONE
};

/// The cases. Not here: a panic of one worker (F10), which nobody can cause from outside; the supervisor's own
/// tests and the simulation have it.
pub const CASES: &[Case] = &[
    Case {
        id: "F09",
        name: "a bulk request takes longer than max.poll.interval.ms",
        setup: Setup {
            lines: Lines {
                kafka: "drain_timeout = \"5s\"",
                properties: "\"max.poll.interval.ms\" = \"7000\"",
                elasticsearch: "request_timeout = \"60s\"",
                ..Setup::PLAIN.lines
            },
            ..Setup::PLAIN
        },
        fault: |_| Box::new(Stalled::default()),
        ..PLAIN
    },
    Case {
        id: "F11",
        name: "both sinks frozen, 100 partitions, records of 1 MB",
        setup: Setup {
            partitions: 100,
            rate: 10,
            padding: (1_000_000, 1_000_001),
            topic: &[("max.message.bytes", "20000000")],
            fewer: 40,
            ..Setup::PLAIN
        },
        expect: Expect::only(BOTH),
        fault: |_| Box::new(BothFrozen::default()),
        ..PLAIN
    },
    Case {
        id: "F12",
        name: "no file descriptor is left",
        setup: Setup {
            proxies: &[Proxy::Elasticsearch],
            ..Setup::PLAIN
        },
        expect: Expect::only(BOTH),
        fault: |_| Box::new(NoDescriptors::default()),
        ..PLAIN
    },
    Case {
        id: "F13",
        name: "the clock jumps an hour on, two back, one on",
        setup: Setup {
            variables: &[
                ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1"),
                ("FAKETIME_TIMESTAMP_FILE", "{dir}/clock"),
                ("FAKETIME_CACHE_DURATION", "1"),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ],
            ..Setup::PLAIN
        },
        expect: Expect::only(NONE),
        fault: |_| Box::new(Clock::default()),
        ..PLAIN
    },
];

/// Elasticsearch is frozen for twice `max.poll.interval.ms`, and no request times out before.
#[derive(Default)]
struct Stalled {
    since: Option<Instant>,
    seen: u64,
}

impl Fault for Stalled {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.since = Some(Instant::now());
        world.elasticsearch.node().freeze()
    }

    fn turn(&mut self, _world: &World) -> Result<bool> {
        let stalled = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        self.seen = stalled.as_secs() / 7;
        Ok(stalled > Duration::from_secs(15))
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.seen, "times max.poll.interval.ms"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.elasticsearch.node().heal()
    }
}

/// Nothing can be written anywhere while large records go on coming.
#[derive(Default)]
struct BothFrozen {
    before: u64,
    seen: u64,
}

impl Fault for BothFrozen {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.before = retries(world)?;
        world.elasticsearch.node().freeze()?;
        world.hdfs.freeze()
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        self.seen = retries(world)?.saturating_sub(self.before);
        Ok(true)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.seen, "requests timed out"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.elasticsearch.node().heal()?;
        world.hdfs.heal()
    }
}

/// The limit is what is open already; connections are reset, so that new ones are needed.
#[derive(Default)]
struct NoDescriptors {
    pid: u32,
    resets: u64,
}

/// The kernel's words for EMFILE.
const TOO_MANY: &str = "Too many open files";

impl Fault for NoDescriptors {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.pid = world.outflow()?.pid();
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid));
        let open = open.context("outflow is gone")?.count();
        limit_descriptors(self.pid, open.saturating_sub(4))
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        // Once is enough to make it connect again; it may have been between two connections.
        if self.resets < 3 {
            self.resets += 1;
            world.elasticsearch_proxy()?.set(Mode::Reset)?;
            world.elasticsearch_proxy()?.set(Mode::Pass)?;
        }
        Ok(true)
    }

    fn seen(&mut self, world: &World) -> Result<Seen> {
        let num = world.logs().matches(TOO_MANY).count();
        Ok(Seen::new(num as u64, "lines about it"))
    }

    fn heal(&mut self, _world: &World) -> Result<()> {
        limit_descriptors(self.pid, 1_024)
    }
}

/// Sets the soft limit of a process; the hard one stays.
fn limit_descriptors(pid: u32, most: usize) -> Result<()> {
    let mut prlimit = Command::new("prlimit");
    prlimit.args([format!("--pid={pid}"), format!("--nofile={most}:")]);
    let status = prlimit
        .status()
        .context("can't run prlimit (package util-linux)")?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::new(format!(
            "prlimit of {pid} to {most} descriptors failed"
        ))),
    }
}

/// The wall clock as outflow sees it, by libfaketime; the monotonic one goes on.
#[derive(Default)]
struct Clock {
    jumps: Vec<i64>,
    seen: u64,
    next: Option<Instant>,
}

/// How long each time holds.
const EACH: Duration = Duration::from_secs(6);
const HOUR_MS: i64 = 3_600_000;

impl Clock {
    fn set(world: &World, offset: &str) -> Result<()> {
        let path = world.dir().join("clock");
        std::fs::write(path, offset).context("can't set the clock")
    }

    /// By how much outflow's clock is away from ours, by its last commit, in hours.
    fn hours_away(world: &World) -> Result<i64> {
        let status = world.outflow()?.status()?;
        let last = status[0]["workers"][0]["last_commit_ms"]
            .as_i64()
            .unwrap_or(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(0));
        Ok(((last - now) as f64 / HOUR_MS as f64).round() as i64)
    }
}

impl Fault for Clock {
    fn prepare(&mut self, world: &World) -> Result<()> {
        let libraries = std::fs::read_dir("/usr/lib").context("no /usr/lib")?;
        let there = |folder: &Path| folder.join("faketime/libfaketimeMT.so.1").exists();
        if !libraries.flatten().any(|folder| there(&folder.path())) {
            return Err(Error::new(
                "needs libfaketime (Debian's package of that name)",
            ));
        }
        Self::set(world, "+0")
    }

    fn inject(&mut self, world: &World) -> Result<()> {
        self.jumps = vec![-1];
        Self::set(world, "+1h")?;
        self.next = Some(Instant::now() + EACH);
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        if self.next.is_some_and(|next| Instant::now() < next) {
            return Ok(false);
        }
        if Self::hours_away(world)? == 0 {
            return Ok(false);
        }
        self.seen += 1;
        self.next = Some(Instant::now() + EACH);
        match self.jumps.pop() {
            Some(hours) => Self::set(world, &format!("{hours}h")).map(|()| false),
            None => Ok(true),
        }
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.seen, "commits in another hour"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        Self::set(world, "+0")
    }
}
