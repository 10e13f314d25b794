//! Group B: transactions.

use std::time::Duration;

use crate::error::Result;
use crate::produce::Generator;
use crate::transactions::TransactionalProducer;

use super::super::case::{BOTH, Case, Expect, Fault, Seen, Setup, Target};
use super::super::world::World;

/// The cases.
pub const CASES: &[Case] = &[Case {
    id: "F28",
    name: "transactions that commit, abort and hang",
    target: Target::Process,
    setup: Setup::PLAIN,
    expect: Expect::only(BOTH),
    in_subset: false,
    random: false,
    fault: |_| Box::new(Transactions::default()),
}];

/// Behind one that hangs nobody may read on, until the broker ends it.
#[derive(Default)]
struct Transactions {
    hanging: i64,
    behind: i64,
}

/// How long a transaction may hang.
const HANGS: Duration = Duration::from_secs(20);

impl Fault for Transactions {
    fn inject(&mut self, world: &World) -> Result<()> {
        let id = format!("{}-transactions", world.topic);
        let bootstrap = world.kafka.bootstrap();
        let mut generator = Generator::new(&id, world.seed).keys(50);
        let mut producer = TransactionalProducer::new(&bootstrap, &id, HANGS)?;
        for is_committed in [true, false, true, false] {
            producer.begin()?;
            producer.produce(&world.topic, &mut generator, 300)?;
            match is_committed {
                true => producer.commit()?,
                false => producer.abort()?,
            }
        }
        producer.begin()?;
        producer.produce(&world.topic, &mut generator, 200)?;
        let (committed, _) = producer.abandon();
        self.hanging = world.num_produced();
        world.claims.add(committed);
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let ends = world.kafka.client().watermarks(&world.topic)?;
        let end: i64 = ends.values().map(|(_, end)| end).sum();
        let committed = world.setup.sinks.iter().map(|s| world.watch.committed(*s));
        let behind = committed.map(|committed| end - committed).min();
        self.behind = self.behind.max(behind.unwrap_or(0));
        // Nearly all that was produced since it hangs: read on, they'd be a second behind.
        Ok(self.behind >= 8_000)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        let behind = u64::try_from(self.behind).unwrap_or(0);
        Ok(Seen::new(behind, "records behind a hanging transaction"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        // The broker ends it by itself.
        for sink in world.setup.sinks {
            world.wait_committed(*sink, self.hanging + 8_000)?;
        }
        Ok(())
    }
}
