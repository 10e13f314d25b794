//! Group A: outflow's own process is killed, told to end, or frozen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use crate::error::{Error, Result};
use crate::guard::wait_until;
use crate::ledger::Ledger;
use crate::process::Outflow;

use super::super::case::{BOTH, Case, Expect, Fault, Seen, Setup, Sink, Target};
use super::super::config::SHUTDOWN_SECONDS;
use super::super::judge::check_committed;
use super::super::run::num_running;
use super::super::world::{PATIENCE, World};

/// outflow is ended and started again by the fault.
pub(super) const RESTARTED: Expect = Expect {
    restarts: true,
    rebalances: true,
    ..Expect::only(BOTH)
};

const KILLS: Case = Case {
    id: "F01",
    name: "kill -9 at random moments",
    target: Target::Process,
    setup: Setup::PLAIN,
    expect: RESTARTED,
    in_subset: true,
    random: true,
    fault: |rng| Box::new(Kills::new(rng)),
};

/// The cases.
pub const CASES: &[Case] = &[
    KILLS,
    Case {
        id: "F05",
        name: "SIGTERM under load",
        in_subset: true,
        random: false,
        fault: |_| Box::new(Stop::new(Broken::Nothing)),
        ..KILLS
    },
    Case {
        id: "F06",
        name: "SIGTERM while Elasticsearch is frozen",
        in_subset: true,
        random: false,
        fault: |_| Box::new(Stop::new(Broken::Elasticsearch)),
        ..KILLS
    },
    Case {
        id: "F07",
        name: "SIGTERM while Kafka is frozen",
        target: Target::Kafka,
        in_subset: false,
        random: false,
        fault: |_| Box::new(Stop::new(Broken::Kafka)),
        ..KILLS
    },
    Case {
        id: "F08",
        name: "frozen beyond the session timeout, with an heir",
        expect: Expect {
            rebalances: true,
            ..Expect::only(BOTH)
        },
        in_subset: true,
        fault: |_| Box::new(Zombie::default()),
        ..KILLS
    },
];

/// Killed and started again at once, at moments that were drawn before.
struct Kills {
    moments: Vec<Duration>,
    wanted: usize,
    since: Instant,
    num: usize,
}

impl Kills {
    /// How many moments are drawn, and how many of them suffice where time is short.
    const MOST: usize = 50;
    const LEAST: usize = 8;

    fn new(rng: &mut StdRng) -> Self {
        let moment = |_| Duration::from_millis(rng.random_range(200..5_000));
        Self {
            moments: (0..Self::MOST).map(moment).collect(),
            wanted: Self::LEAST,
            since: Instant::now(),
            num: 0,
        }
    }
}

impl Fault for Kills {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.since = Instant::now();
        self.wanted = if world.in_full {
            Self::MOST
        } else {
            Self::LEAST
        };
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let Some(moment) = self
            .moments
            .get(self.num)
            .filter(|_| self.num < self.wanted)
        else {
            return Ok(true);
        };
        if self.since.elapsed() < *moment {
            return Ok(false);
        }
        kill_and_check(world)?;
        world.start()?;
        self.num += 1;
        self.since = Instant::now();
        Ok(false)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.num as u64, "kills"))
    }

    fn heal(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }
}

/// kill -9, and at that very moment: what is committed stands in the sinks.
pub(super) fn kill_and_check(world: &World) -> Result<()> {
    let ledger = world.ledger();
    world.kill()?;
    if !world.servers_answer() {
        return Ok(());
    }
    match check_committed(world, &ledger)?.first() {
        None => Ok(()),
        Some(finding) => Err(Error::new(finding.clone())),
    }
}

/// What is frozen while outflow is told to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    Elasticsearch,
    Kafka,
}

/// An ordered end, and a start when the fault is over.
struct Stop {
    broken: Broken,
    ends: u64,
}

impl Stop {
    fn new(broken: Broken) -> Self {
        Self { broken, ends: 0 }
    }

    fn freeze(&self, world: &World) -> Result<()> {
        match self.broken {
            Broken::Nothing => Ok(()),
            Broken::Elasticsearch => {
                world.elasticsearch.node().freeze()?;
                // There must be something that can't be finished.
                let wanted = world.watch.committed(Sink::Hdfs) + 1_000;
                world.wait_committed(Sink::Hdfs, wanted)
            }
            Broken::Kafka => world.kafka.freeze(),
        }
    }

    /// Exit codes that an ordered end may have.
    fn codes(&self) -> &'static [i32] {
        match self.broken {
            Broken::Nothing => &[0],
            Broken::Elasticsearch => &[3],
            // What was final already may have been committed just before.
            Broken::Kafka => &[0, 3],
        }
    }
}

impl Fault for Stop {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.freeze(world)?;
        let outflow = world.outflow()?;
        let began = Instant::now();
        // The process has half a second of grace; the rest is for a busy machine.
        let code = outflow.stop(Duration::from_secs(SHUTDOWN_SECONDS + 5))?;
        if !self.codes().contains(&code) {
            let text = format!(
                "I10: exit code {code} after {:.1} s, expected one of {:?}",
                began.elapsed().as_secs_f64(),
                self.codes()
            );
            return Err(world.explain(Error::new(text)));
        }
        world.forget(&outflow);
        self.ends += 1;
        if self.broken == Broken::Kafka {
            return Ok(());
        }
        // HDFS has committed all that stands in it, whatever Elasticsearch did.
        let mut sinks = vec![Sink::Hdfs];
        if self.broken == Broken::Nothing {
            sinks.push(Sink::Elasticsearch);
        }
        for sink in sinks {
            let (written, committed) = (num_written(world, sink)?, committed(world, sink)?);
            if written != committed {
                let name = sink.name();
                return Err(Error::new(format!(
                    "{name} holds {written} records and has committed {committed}"
                )));
            }
        }
        Ok(())
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.ends, "ends in time"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        match self.broken {
            Broken::Nothing => {}
            Broken::Elasticsearch => world.elasticsearch.node().heal()?,
            Broken::Kafka => world.kafka.heal()?,
        }
        world.start()?.wait_ready(PATIENCE)
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        if self.broken != Broken::Nothing {
            return Ok(());
        }
        let documents = world.elasticsearch.documents().all(&world.topic)?;
        match documents
            .iter()
            .filter(|document| document.version > 1)
            .count()
        {
            0 => Ok(()),
            num => Err(Error::new(format!(
                "{num} documents were written again after an ordered end"
            ))),
        }
    }
}

fn num_written(world: &World, sink: Sink) -> Result<i64> {
    let num = match sink {
        Sink::Elasticsearch => world.elasticsearch.documents().ids(&world.topic)?.len(),
        Sink::Hdfs => {
            let files = world.hdfs.files().committed(&world.base)?;
            files.iter().map(|file| file.lines.len()).sum()
        }
    };
    Ok(num as i64)
}

fn committed(world: &World, sink: Sink) -> Result<i64> {
    let group = super::super::config::group(&world.topic, sink);
    let committed = world.kafka.client().committed(&group, &world.topic)?;
    Ok(committed.values().sum())
}

/// The first instance is frozen until a second one has everything, and wakes up then.
#[derive(Default)]
struct Zombie {
    heir: Option<Arc<Outflow>>,
    took_over: Option<i64>,
    seen: u64,
}

/// Records that the heir moves while the other is frozen.
const INHERITED: i64 = 1_500;

impl Fault for Zombie {
    fn inject(&mut self, world: &World) -> Result<()> {
        world.outflow()?.freeze()?;
        self.heir = Some(world.start()?);
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let Some(heir) = &self.heir else {
            return Ok(false);
        };
        let Ok(status) = heir.status() else {
            return Ok(false);
        };
        let sinks = &world.setup.sinks;
        let has_all = |sink: &Sink| num_running(&status, *sink) == world.setup.partitions;
        let committed = sinks.iter().map(|sink| world.watch.committed(*sink)).sum();
        match self.took_over {
            None if sinks.iter().all(has_all) => {
                self.took_over = Some(committed);
                self.seen = 1;
                Ok(false)
            }
            None => Ok(false),
            Some(before) => Ok(committed - before >= INHERITED),
        }
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.seen, "takeovers"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        let zombie = world.outflow()?;
        zombie.thaw()?;
        // Both have a share, and what the zombie had in hand has come to nothing.
        let all: Vec<_> = world.instances();
        let what = "the one that was frozen has a share again";
        let waited = wait_until(what, PATIENCE, || {
            for sink in world.setup.sinks {
                let nums = all.iter().map(|outflow| {
                    let status = outflow.status().map_err(|error| error.to_string())?;
                    Ok::<_, String>(num_running(&status, *sink))
                });
                let nums = nums.collect::<Result<Vec<_>, _>>()?;
                let sum: usize = nums.iter().sum();
                if nums.contains(&0) || sum != world.setup.partitions {
                    return Err(format!("{}: {nums:?}", sink.name()));
                }
            }
            Ok(())
        });
        waited.map_err(|error| world.explain(error))
    }
}
