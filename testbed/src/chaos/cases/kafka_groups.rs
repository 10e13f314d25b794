//! Group B: partitions that move: storms of members, revocations while sinks hang, partitions that come back at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use crate::error::{Error, Result};
use crate::process::Outflow;
use crate::tcp_proxy::Mode;

use super::super::case::{BOTH, Case, Expect, Fault, NONE, Proxy, Seen, Setup, Target};
use super::super::world::{PATIENCE, World};
use super::kafka::wait_for_share;

const MOVES: Case = Case {
    id: "F19",
    name: "members come and go every two seconds",
    target: Target::Process,
    setup: Setup {
        partitions: 6,
        ..Setup::PLAIN
    },
    expect: Expect {
        rebalances: true,
        ..Expect::only(NONE)
    },
    in_subset: false,
    random: false,
    fault: |rng| Box::new(Storm::new(rng)),
};

/// The cases.
pub const CASES: &[Case] = &[
    MOVES,
    Case {
        id: "F19-eager",
        name: "members come and go every two seconds, and everybody stops each time",
        setup: Setup {
            lines: super::super::case::Lines {
                kafka: "partition_assignment_strategy = \"range\"",
                ..Setup::PLAIN.lines
            },
            ..MOVES.setup
        },
        ..MOVES
    },
    Case {
        id: "F20",
        name: "partitions are revoked while neither sink answers",
        setup: HANGING,
        expect: Expect {
            rebalances: true,
            ..Expect::only(BOTH)
        },
        fault: |_| Box::new(Revoked::default()),
        ..MOVES
    },
    Case {
        id: "F21",
        name: "partitions leave and come back at once, while acknowledgements are late",
        setup: HANGING,
        expect: Expect {
            rebalances: true,
            ..Expect::only(BOTH)
        },
        fault: |_| Box::new(ThereAndBack::default()),
        ..MOVES
    },
];

const HANGING: Setup = Setup {
    proxies: &[Proxy::Elasticsearch, Proxy::NameNode],
    ..Setup::PLAIN
};

/// Every two seconds somebody joins, leaves or dies; one stays.
struct Storm {
    changes: Vec<Change>,
    others: Vec<Arc<Outflow>>,
    leaving: Vec<Arc<Outflow>>,
    next: Instant,
    num: u64,
}

#[derive(Clone, Copy)]
enum Change {
    Join,
    Leave,
    Die,
}

impl Storm {
    fn new(rng: &mut StdRng) -> Self {
        let change = |_| match rng.random_range(0..4) {
            0 => Change::Leave,
            1 => Change::Die,
            _ => Change::Join,
        };
        Self {
            changes: (0..30).map(change).collect(),
            others: Vec::new(),
            leaving: Vec::new(),
            next: Instant::now(),
            num: 0,
        }
    }

    fn change(&mut self, world: &World, change: Change) -> Result<()> {
        // Never more than three others: then somebody must go.
        let change = match (change, self.others.len()) {
            (_, 0) => Change::Join,
            (Change::Join, 3..) => Change::Leave,
            (change, _) => change,
        };
        match change {
            Change::Join => self.others.push(world.start()?),
            Change::Leave => {
                let gone = self.others.remove(0);
                gone.terminate()?;
                self.leaving.push(gone);
            }
            Change::Die => {
                let gone = self.others.remove(0);
                gone.kill()?;
                world.forget(&gone);
            }
        }
        self.num += 1;
        Ok(())
    }
}

impl Fault for Storm {
    fn inject(&mut self, _world: &World) -> Result<()> {
        self.next = Instant::now();
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        if Instant::now() < self.next {
            return Ok(false);
        }
        let Some(change) = self.changes.pop() else {
            return Ok(true);
        };
        self.change(world, change)?;
        self.next = Instant::now() + Duration::from_secs(2);
        Ok(false)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.num, "members that came, left or died"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        for other in self.others.drain(..) {
            other.terminate()?;
            self.leaving.push(other);
        }
        for gone in self.leaving.drain(..) {
            gone_well(world, &gone)?;
        }
        wait_for_share(&*world.outflow()?, world, world.setup.partitions)
    }
}

/// Ends an instance in an orderly way.
fn end(world: &World, outflow: &Arc<Outflow>) -> Result<()> {
    outflow.terminate()?;
    gone_well(world, outflow)
}

fn gone_well(world: &World, outflow: &Arc<Outflow>) -> Result<()> {
    let code = outflow.wait(PATIENCE)?;
    world.forget(outflow);
    match code {
        0 => Ok(()),
        code => Err(Error::new(format!(
            "another instance ended with code {code}"
        ))),
    }
}

fn set_sinks(world: &World, mode: &Mode) -> Result<()> {
    world.elasticsearch_proxy()?.set(mode.clone())?;
    world.namenode_proxy()?.set(mode.clone())
}

/// How many partitions an instance doesn't have any more, over both sinks.
fn assigned(outflow: &Outflow) -> Result<f64> {
    let num = outflow.metric("outflow_assigned_partitions", &[])?;
    Ok(num.unwrap_or(0.0))
}

/// A second one joins while what is in flight gets no answer: the first must give its partitions up unfinished.
#[derive(Default)]
struct Revoked {
    second: Option<Arc<Outflow>>,
    moved: u64,
}

impl Fault for Revoked {
    fn inject(&mut self, world: &World) -> Result<()> {
        set_sinks(world, &Mode::Blackhole)?;
        self.second = Some(world.start()?);
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        if let Some(second) = &self.second {
            // Not ready: its sinks don't answer. But the partitions are its own.
            self.moved = assigned(second).unwrap_or(0.0) as u64;
        }
        Ok(self.moved == world.setup.partitions as u64)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.moved, "partitions that moved unfinished"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        set_sinks(world, &Mode::Pass)?;
        if let Some(second) = self.second.take() {
            wait_for_share(&second, world, world.setup.partitions / 2)?;
            end(world, &second)?;
        }
        wait_for_share(&*world.outflow()?, world, world.setup.partitions)
    }

    fn verify(&mut self, world: &World, _ledger: &crate::Ledger) -> Result<()> {
        super::hdfs::no_temps(world)
    }
}

/// A second one comes and goes as soon as it has partitions; answers of the sinks take longer than that.
#[derive(Default)]
struct ThereAndBack {
    second: Option<Arc<Outflow>>,
    num: u64,
}

impl Fault for ThereAndBack {
    fn inject(&mut self, world: &World) -> Result<()> {
        let late = Mode::Delay {
            delay: Duration::from_millis(30),
            jitter: Duration::from_millis(120),
        };
        set_sinks(world, &late)
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        match self.second.take() {
            None => self.second = Some(world.start()?),
            Some(second) if assigned(&second).unwrap_or(0.0) > 0.0 => {
                // Not all that it had in flight need be done: its exit code says so.
                second.stop(PATIENCE)?;
                world.forget(&second);
                self.num += 1;
            }
            waiting => self.second = waiting,
        }
        Ok(self.num >= 6)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.num, "times there and back"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        set_sinks(world, &Mode::Pass)?;
        if let Some(second) = self.second.take() {
            end(world, &second)?;
        }
        wait_for_share(&*world.outflow()?, world, world.setup.partitions)
    }
}
