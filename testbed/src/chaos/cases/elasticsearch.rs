//! Group C: Elasticsearch.

use crate::error::Result;

use super::super::case::{Case, ELASTICSEARCH, Expect, Fault, Seen, Setup, Target};
use super::super::world::World;

/// The cases.
pub const CASES: &[Case] = &[Case {
    id: "F36",
    name: "Elasticsearch is killed, and nobody listens",
    target: Target::Elasticsearch,
    setup: Setup::PLAIN,
    expect: Expect::only(ELASTICSEARCH),
    in_subset: true,
    random: true,
    fault: |_| Box::new(Down::default()),
}];

/// How often outflow's requests to Elasticsearch have failed as a whole, by its own count.
fn retries(world: &World) -> Result<u64> {
    let mut num = 0.0;
    for outflow in world.instances() {
        let labels = ["sink=\"elasticsearch\""];
        num += outflow
            .metric("outflow_retries_total", &labels)?
            .unwrap_or(0.0);
    }
    Ok(num as u64)
}

#[derive(Default)]
struct Down {
    before: u64,
    seen: u64,
}

impl Fault for Down {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.before = retries(world)?;
        world.elasticsearch.node().kill()
    }

    fn seen(&mut self, world: &World) -> Result<Seen> {
        if !world.elasticsearch.node().is_running() {
            self.seen = retries(world)?.saturating_sub(self.before);
        }
        Ok(Seen::new(self.seen, "requests refused"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.elasticsearch.node().heal()
    }
}
