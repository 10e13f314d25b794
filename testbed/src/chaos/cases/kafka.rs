//! Group B: brokers that die, freeze, or can't be reached.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::guard::wait_until;
use crate::ledger::Ledger;
use crate::node::Node;
use crate::process::Outflow;
use crate::tcp_proxy::Mode;

use super::super::case::{BOTH, Case, Expect, Fault, Proxy, Seen, Setup, Sink, Target};
use super::super::config::group;
use super::super::run::num_running;
use super::super::world::{PATIENCE, World};

const BEHIND_PROXIES: Setup = Setup {
    proxies: &[Proxy::Kafka],
    ..Setup::PLAIN
};

/// Neither sink gets anything; both wait.
const AWAY: Case = Case {
    id: "F14",
    name: "the only broker is killed and started again",
    target: Target::Kafka,
    setup: BEHIND_PROXIES,
    expect: MISSED,
    in_subset: true,
    random: false,
    fault: |_| Box::new(Broker::killed()),
};

/// Members may be missed for longer than a session.
const MISSED: Expect = Expect {
    rebalances: true,
    ..Expect::only(BOTH)
};

/// The cases.
pub const CASES: &[Case] = &[
    AWAY,
    Case {
        id: "F15",
        name: "the only broker is frozen for 90 s: its sockets stay open and say nothing",
        expect: MISSED,
        in_subset: false,
        fault: |_| Box::new(Broker::frozen(Duration::from_secs(90))),
        ..AWAY
    },
    Case {
        id: "F16",
        name: "each group's coordinator is killed, of three brokers",
        setup: Setup {
            brokers: 3,
            ..Setup::PLAIN
        },
        expect: MISSED,
        in_subset: false,
        fault: |_| Box::new(Coordinators::default()),
        ..AWAY
    },
    Case {
        id: "F35",
        name: "nothing comes through to the broker or back, for ten sessions; HDFS is there",
        expect: MISSED,
        in_subset: false,
        fault: |_| Box::new(CutOff::new(false)),
        ..AWAY
    },
    Case {
        id: "F35-heir",
        name: "cut off from the broker, and somebody else takes over meanwhile",
        expect: MISSED,
        in_subset: true,
        fault: |_| Box::new(CutOff::new(true)),
        ..AWAY
    },
];

/// The only broker. Seen by what the proxies before it can't get through. Partitions are lost once, because a session
/// is over, and come back once: no storm.
struct Broker {
    frozen: Option<Duration>,
    since: Instant,
    before: u64,
    seen: u64,
    rebalances: f64,
}

impl Broker {
    fn killed() -> Self {
        Self {
            frozen: None,
            since: Instant::now(),
            before: 0,
            seen: 0,
            rebalances: 0.0,
        }
    }

    fn rebalances(world: &World) -> Result<f64> {
        let num = world.outflow()?.metric("outflow_rebalances_total", &[])?;
        num.ok_or_else(|| Error::new("there is no metric of rebalances"))
    }

    fn frozen(time: Duration) -> Self {
        Self {
            frozen: Some(time),
            ..Self::killed()
        }
    }

    /// Connections that couldn't be made; bytes sent to a frozen one.
    fn count(&self, world: &World) -> u64 {
        let counters = world.kafka_proxies.iter().map(|proxy| proxy.counters());
        let count = counters.map(|counters| match self.frozen {
            Some(_) => counters.bytes_to_server,
            None => counters.unreachable,
        });
        count.sum()
    }
}

impl Fault for Broker {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.rebalances = Self::rebalances(world)?;
        match self.frozen {
            Some(_) => world.kafka.freeze()?,
            None => world.kafka.kill()?,
        }
        self.since = Instant::now();
        self.before = self.count(world);
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        self.seen = self.count(world).saturating_sub(self.before);
        let time = self.frozen.unwrap_or(Duration::ZERO);
        Ok(self.since.elapsed() >= time && self.seen > 2)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        let what = match self.frozen {
            Some(_) => "bytes sent without an answer",
            None => "connections refused",
        };
        Ok(Seen::new(self.seen, what))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.kafka.heal()
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        let rebalances = Self::rebalances(world)? - self.rebalances;
        let at_most = 2 * world.setup.sinks.len();
        match rebalances <= at_most as f64 {
            true => Ok(()),
            false => Err(Error::new(format!(
                "I12: {rebalances} rebalances, at most {at_most} are owed to the session's end"
            ))),
        }
    }
}

/// The coordinator of one sink's group after the other's: it dies, the group has another one, both sinks go on with
/// two brokers, it comes back.
#[derive(Default)]
struct Coordinators {
    done: usize,
    down: Option<Down>,
}

struct Down {
    node: Arc<Node>,
    before: Vec<(Sink, i64)>,
}

impl Coordinators {
    fn take_down(&mut self, world: &World, sink: Sink) -> Result<()> {
        let client = world.kafka.client();
        let group = group(&world.topic, sink);
        let coordinator = client.coordinator(&group)?;
        let index = usize::try_from(coordinator - 1).unwrap_or(usize::MAX);
        let node = world.kafka.nodes().get(index);
        let node = node.ok_or_else(|| Error::new(format!("no broker {coordinator}")))?;
        node.kill()?;
        self.down = Some(Down {
            node: Arc::clone(node),
            before: Vec::new(),
        });
        let what = format!("group {group} has another coordinator");
        wait_until(&what, PATIENCE, || match client.coordinator(&group) {
            Ok(other) if other != coordinator => Ok(()),
            Ok(_) => Err("it is still the dead one".to_owned()),
            Err(error) => Err(error.to_string()),
        })?;
        if let Some(down) = &mut self.down {
            let sinks = world.setup.sinks.iter();
            down.before = sinks
                .map(|sink| (*sink, world.watch.committed(*sink)))
                .collect();
        }
        Ok(())
    }
}

impl Fault for Coordinators {
    fn inject(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let Some(sink) = world.setup.sinks.get(self.done) else {
            return Ok(true);
        };
        let Some(down) = &self.down else {
            self.take_down(world, *sink)?;
            return Ok(false);
        };
        let mut before = down.before.iter();
        if before.any(|(sink, before)| world.watch.committed(*sink) < before + 2_000) {
            return Ok(false);
        }
        down.node.heal()?;
        self.down = None;
        self.done += 1;
        Ok(self.done == world.setup.sinks.len())
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(
            self.done as u64,
            "coordinators that others took over from",
        ))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.kafka.heal()
    }
}

/// Nothing comes through to the broker. Seen by the groups, which lose their members.
struct CutOff {
    heir: Option<Arc<Outflow>>,
    has_heir: bool,
    since: Instant,
    before: i64,
    lost: u64,
}

/// Ten sessions.
const CUT_OFF: Duration = Duration::from_secs(60);

impl CutOff {
    fn new(has_heir: bool) -> Self {
        Self {
            heir: None,
            has_heir,
            since: Instant::now(),
            before: 0,
            lost: 0,
        }
    }

    fn members(world: &World) -> Result<u64> {
        let client = world.kafka.client();
        let mut num = 0;
        for sink in world.setup.sinks {
            num += client.num_members(&group(&world.topic, *sink))? as u64;
        }
        Ok(num)
    }

    /// Somebody with another way to the broker.
    fn start_heir(world: &World) -> Result<Arc<Outflow>> {
        let bootstrap = world.kafka.bootstrap();
        let env = [("OUTFLOW_KAFKA__BOOTSTRAP_SERVERS", bootstrap.as_str())];
        world.start_with(&[], &env)
    }
}

impl Fault for CutOff {
    fn inject(&mut self, world: &World) -> Result<()> {
        for proxy in &world.kafka_proxies {
            proxy.set(Mode::Blackhole)?;
        }
        self.since = Instant::now();
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        if self.lost == 0 {
            let wanted = world.setup.sinks.len() as u64;
            if Self::members(world)? > 0 {
                return Ok(false);
            }
            self.lost = wanted;
            if self.has_heir {
                self.heir = Some(Self::start_heir(world)?);
                self.before = world.watch.committed(Sink::Hdfs);
            }
        }
        Ok(match self.has_heir {
            // It commits what the one that is cut off had open, too.
            true => world.watch.committed(Sink::Hdfs) >= self.before + 4_000,
            false => self.since.elapsed() >= CUT_OFF,
        })
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.lost, "members that the groups lost"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        for proxy in &world.kafka_proxies {
            proxy.set(Mode::Pass)?;
        }
        let Some(heir) = &self.heir else {
            return Ok(());
        };
        // Back in the group, it has its share again; then the other one leaves.
        let first = world.outflow()?;
        wait_for_share(&first, world, world.setup.partitions / 2)?;
        let code = heir.stop(Duration::from_secs(60))?;
        world.forget(heir);
        match code {
            0 => wait_for_share(&first, world, world.setup.partitions),
            code => Err(Error::new(format!("the other one ended with code {code}"))),
        }
    }
}

/// Waits until an instance reads so many partitions in each sink.
pub fn wait_for_share(outflow: &Outflow, world: &World, wanted: usize) -> Result<()> {
    for sink in world.setup.sinks {
        let what = format!("{} reads {wanted} partitions", sink.name());
        let waited = outflow.wait_for(&what, PATIENCE, || {
            // It may not listen yet.
            Ok(match outflow.status() {
                Ok(status) => {
                    let num = num_running(&status, *sink);
                    (num < wanted).then(|| format!("{num}"))
                }
                Err(error) => Some(error.to_string()),
            })
        });
        waited.map_err(|error| world.explain(error))?;
    }
    Ok(())
}
