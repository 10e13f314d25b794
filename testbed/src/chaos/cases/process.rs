//! Group A: outflow's own process.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use crate::error::Result;

use super::super::case::{BOTH, Case, Expect, Fault, Seen, Setup, Target};
use super::super::judge::check_committed;
use super::super::world::World;
use crate::error::Error;

/// outflow is ended and started again by the fault.
const RESTARTED: Expect = Expect {
    restarts: true,
    rebalances: true,
    ..Expect::only(BOTH)
};

/// The cases.
pub const CASES: &[Case] = &[Case {
    id: "F01",
    name: "kill -9 at random moments",
    target: Target::Process,
    setup: Setup::PLAIN,
    expect: RESTARTED,
    in_subset: true,
    random: true,
    fault: |rng| Box::new(Kills::new(rng, 12)),
}];

/// Killed and started again at once, at moments that were drawn before.
struct Kills {
    moments: Vec<Duration>,
    since: Instant,
    num: u64,
}

impl Kills {
    fn new(rng: &mut StdRng, num: usize) -> Self {
        let moment = |_| Duration::from_millis(rng.random_range(200..5_000));
        Self {
            moments: (0..num).map(moment).collect(),
            since: Instant::now(),
            num: 0,
        }
    }
}

impl Fault for Kills {
    fn inject(&mut self, _world: &World) -> Result<()> {
        self.since = Instant::now();
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let Some(moment) = self.moments.last() else {
            return Ok(true);
        };
        if self.since.elapsed() < *moment {
            return Ok(false);
        }
        self.moments.pop();
        kill_and_check(world)?;
        world.start()?;
        self.num += 1;
        self.since = Instant::now();
        Ok(self.moments.is_empty())
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.num, "kills"))
    }

    fn heal(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }
}

/// kill -9, and at that very moment: what is committed stands in the sinks.
fn kill_and_check(world: &World) -> Result<()> {
    let ledger = world.ledger();
    world.kill()?;
    match check_committed(world, &ledger)?.first() {
        None => Ok(()),
        Some(finding) => Err(Error::new(finding.clone())),
    }
}
