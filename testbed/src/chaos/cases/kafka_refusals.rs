//! Group B: the broker refuses: commits, one error after another; a password that has changed, rights that are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI16, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::guard::wait_until;
use crate::tcp_proxy::{Mode, Trap, offset_commit};

use super::super::case::{BOTH, Case, Expect, Fault, Proxy, Seen, Setup, Sink, Target};
use super::super::config::{KAFKA_USER, kafka_user};
use super::super::world::{PATIENCE, World};

const REFUSED: Case = Case {
    id: "F17",
    name: "the broker refuses commits, with one error after another",
    target: Target::Kafka,
    setup: Setup {
        proxies: &[Proxy::Kafka],
        ..Setup::PLAIN
    },
    expect: Expect {
        rebalances: true,
        ..Expect::only(BOTH)
    },
    in_subset: true,
    random: false,
    fault: |rng| Box::new(Commits::new(rng)),
};

/// The cases.
pub const CASES: &[Case] = &[
    REFUSED,
    Case {
        id: "F32-password",
        name: "the password changes at run time, and changes back",
        setup: WITH_USERS,
        in_subset: false,
        fault: |_| Box::new(Locked::new(Lock::Password)),
        ..REFUSED
    },
    Case {
        id: "F32-rights",
        name: "the right to read is taken away at run time, and given back",
        setup: WITH_USERS,
        in_subset: false,
        fault: |_| Box::new(Locked::new(Lock::Rights)),
        ..REFUSED
    },
];

const WITH_USERS: Setup = Setup {
    kafka_secure: true,
    ..REFUSED.setup
};

/// Error codes of Kafka's protocol. Not FENCED_INSTANCE_ID, which is final by intention.
const ERRORS: &[(i16, &str)] = &[
    (3, "UNKNOWN_TOPIC_OR_PARTITION"),
    (7, "REQUEST_TIMED_OUT"),
    (12, "OFFSET_METADATA_TOO_LARGE"),
    (14, "COORDINATOR_LOAD_IN_PROGRESS"),
    (15, "COORDINATOR_NOT_AVAILABLE"),
    (16, "NOT_COORDINATOR"),
    (22, "ILLEGAL_GENERATION"),
    (25, "UNKNOWN_MEMBER_ID"),
    (27, "REBALANCE_IN_PROGRESS"),
    (28, "INVALID_COMMIT_OFFSET_SIZE"),
    (29, "TOPIC_AUTHORIZATION_FAILED"),
    (30, "GROUP_AUTHORIZATION_FAILED"),
    (-1, "UNKNOWN_SERVER_ERROR"),
];

/// One commit of each sink is refused with each error: the broker really doesn't take it (its generation is another
/// one on the way there), and the answer has the error that is wanted.
struct Commits {
    left: Vec<(i16, &'static str, Sink)>,
    now: Option<(&'static str, Sink, Trap)>,
    before: i64,
    num: u64,
    changed: Arc<AtomicU64>,
}

impl Commits {
    fn new(rng: &mut StdRng) -> Self {
        let of_error = |(code, name): &(i16, &'static str)| {
            [Sink::Elasticsearch, Sink::Hdfs].map(|sink| (*code, *name, sink))
        };
        let mut left: Vec<_> = ERRORS.iter().flat_map(of_error).collect();
        left.shuffle(rng);
        Self {
            left,
            now: None,
            before: 0,
            num: 0,
            changed: Arc::default(),
        }
    }

    fn set(&mut self, world: &World) -> Result<()> {
        let Some((code, name, sink)) = self.left.pop() else {
            return Ok(());
        };
        let group = super::super::config::group(&world.topic, sink);
        let version = Arc::new(AtomicI16::new(0));
        let (versions, changed) = (Arc::clone(&version), Arc::clone(&self.changed));
        let proxy = world.kafka_proxies.first();
        let proxy = proxy.ok_or_else(|| Error::new("no proxy before the broker"))?;
        let trap = proxy.edit(
            1,
            move |call| call.name == offset_commit::KEY && call.contains(&group),
            move |request| {
                let found = offset_commit::version(request).unwrap_or(0);
                versions.store(found, Ordering::SeqCst);
                let _ = offset_commit::set_generation(request, 1_000_000);
            },
            move |answer| {
                let version = version.load(Ordering::SeqCst);
                let num = offset_commit::set_errors(answer, version, code).unwrap_or(0);
                changed.fetch_add(num as u64, Ordering::SeqCst);
            },
        )?;
        self.before = world.watch.committed(sink);
        self.now = Some((name, sink, trap));
        Ok(())
    }
}

impl Fault for Commits {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.set(world)
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let Some((_, sink, trap)) = &self.now else {
            return Ok(true);
        };
        // The next one that is committed after the refusal must be there soon.
        if trap.num_sprung() == 0 || world.watch.committed(*sink) < self.before + 500 {
            return Ok(false);
        }
        self.num += 1;
        self.now = None;
        self.set(world)?;
        Ok(self.now.is_none())
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        let changed = self.changed.load(Ordering::SeqCst);
        Ok(Seen::new(changed.min(self.num), "commits refused"))
    }

    fn heal(&mut self, _world: &World) -> Result<()> {
        match self.now.take() {
            None => Ok(()),
            Some((name, sink, _)) => {
                let text = format!("{}: after {name} no commit came", sink.name());
                Err(Error::new(text))
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Password,
    Rights,
}

/// What outflow may not do any more. Seen by what it says of the broker.
struct Locked {
    lock: Lock,
    seen: u64,
}

impl Locked {
    fn new(lock: Lock) -> Self {
        Self { lock, seen: 0 }
    }

    fn set(&self, world: &World, is_locked: bool) -> Result<()> {
        match self.lock {
            Lock::Password => {
                let (_, good) = kafka_user();
                let password = if is_locked { "another-one" } else { &good };
                world.kafka.set_password(KAFKA_USER, password)
            }
            Lock::Rights => world.kafka.deny_reading(KAFKA_USER, is_locked),
        }
    }

    /// Sinks of which outflow says that a person must look at the broker's refusal.
    fn count(world: &World) -> Result<u64> {
        num_workers(world, |worker| worker["kafka_needs_a_person"] == true)
    }

    /// Sinks that have no broker.
    fn troubled(world: &World) -> Result<u64> {
        num_workers(world, |worker| worker["kafka_error"].is_string())
    }
}

impl Fault for Locked {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.set(world, true)?;
        // Connections that are open have logged in already: none may be left.
        for proxy in &world.kafka_proxies {
            proxy.set(Mode::Reset)?;
        }
        let all = world.setup.sinks.len() as u64;
        wait_until("no connection is left", PATIENCE, || {
            match Self::troubled(world) {
                Ok(num) if num == all => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        for proxy in &world.kafka_proxies {
            proxy.set(Mode::Pass)?;
        }
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        self.seen = self.seen.max(Self::count(world)?);
        Ok(self.seen == world.setup.sinks.len() as u64)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.seen, "sinks that say what is refused"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        self.set(world, false)?;
        let before: Vec<_> = world
            .setup
            .sinks
            .iter()
            .map(|sink| (*sink, world.watch.committed(*sink)))
            .collect();
        for (sink, before) in before {
            world.wait_committed(sink, before + 1_000)?;
        }
        wait_until(
            "nothing is refused any more",
            PATIENCE,
            || match Self::count(world) {
                Ok(0) => Ok(()),
                Ok(num) => Err(format!("{num} sinks still say so")),
                Err(error) => Err(error.to_string()),
            },
        )
        .map_err(|error| world.explain(error))
    }
}

fn num_workers(world: &World, is_meant: impl Fn(&Value) -> bool) -> Result<u64> {
    let status = world.outflow()?.status()?;
    let sinks = status.as_array().into_iter().flatten();
    let workers = sinks.flat_map(|sink| sink["workers"].as_array().into_iter().flatten());
    Ok(workers.filter(|worker| is_meant(worker)).count() as u64)
}
