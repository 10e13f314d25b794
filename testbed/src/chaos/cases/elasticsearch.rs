//! Group C: Elasticsearch is gone, frozen, blocked, or slow on the wire.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Result;
use crate::guard::wait_until;
use crate::http::Method;
use crate::tcp_proxy::Mode;

use super::super::case::{Case, ELASTICSEARCH, Expect, Fault, Proxy, Seen, Setup, Sink, Target};
use super::super::world::{PATIENCE, World};

/// Elasticsearch alone suffers.
pub(super) const ALONE: Case = Case {
    id: "F36",
    name: "Elasticsearch is killed, and nobody listens",
    target: Target::Elasticsearch,
    setup: Setup::PLAIN,
    expect: Expect::only(ELASTICSEARCH),
    in_subset: true,
    random: true,
    fault: |_| Box::new(Away::new(false)),
};

/// The cases.
pub const CASES: &[Case] = &[
    ALONE,
    Case {
        id: "F37",
        name: "Elasticsearch is frozen: it accepts and says nothing",
        in_subset: false,
        fault: |_| Box::new(Away::new(true)),
        ..ALONE
    },
    Case {
        id: "F46",
        name: "the index is blocked for writing",
        in_subset: false,
        fault: |_| Box::new(Blocked::new("index.blocks.write")),
        ..ALONE
    },
    Case {
        id: "F46b",
        name: "the index is read-only, as at the flood stage of a disk",
        in_subset: false,
        fault: |_| Box::new(Blocked::new("index.blocks.read_only_allow_delete")),
        ..ALONE
    },
    Case {
        id: "F46c",
        name: "the index is closed",
        in_subset: false,
        // What stands in it can't be looked at meanwhile.
        random: false,
        fault: |_| Box::new(Blocked::new(CLOSED)),
        ..ALONE
    },
    Case {
        id: "F48",
        name: "Elasticsearch takes 8 KiB a second",
        setup: Setup {
            proxies: &[Proxy::Elasticsearch],
            ..Setup::PLAIN
        },
        in_subset: false,
        random: false,
        fault: |_| Box::new(Slow::default()),
        ..ALONE
    },
    Case {
        id: "F49",
        name: "three nodes: one after another restarts, then one is frozen",
        setup: Setup {
            nodes: 3,
            ..Setup::PLAIN
        },
        in_subset: false,
        random: false,
        fault: |_| Box::new(Rolling::default()),
        ..ALONE
    },
];

/// What outflow itself counts as tried again with Elasticsearch.
pub(super) fn retries(world: &World) -> Result<u64> {
    let mut num = 0.0;
    for outflow in world.instances() {
        let labels = ["sink=\"elasticsearch\""];
        num += outflow
            .metric("outflow_retries_total", &labels)?
            .unwrap_or(0.0);
    }
    Ok(num as u64)
}

/// What the instances' sinks for Elasticsearch say of themselves.
fn sinks(world: &World) -> Vec<Value> {
    let instances = world.instances();
    let statuses = instances.iter().filter_map(|outflow| outflow.status().ok());
    let sinks = statuses.flat_map(|status| status.as_array().cloned().unwrap_or_default());
    sinks
        .filter(|sink| sink["name"] == Sink::Elasticsearch.name())
        .collect()
}

/// Whether an instance says that it waits for Elasticsearch.
pub(super) fn is_waited_for(world: &World) -> bool {
    sinks(world)
        .iter()
        .any(|sink| sink["health"]["circuit"] != "closed")
}

/// Whether an instance says that it waits for an index.
fn index_is_waited_for(world: &World) -> bool {
    let waits = |sink: &Value| {
        let why = sink["reason"].as_str().unwrap_or_default();
        sink["state"] == "waiting" && why.contains(&format!("index '{}'", world.topic))
    };
    sinks(world).iter().any(waits)
}

/// The process is killed or frozen.
struct Away {
    frozen: bool,
    before: u64,
    seen: u64,
}

impl Away {
    fn new(frozen: bool) -> Self {
        Self {
            frozen,
            before: 0,
            seen: 0,
        }
    }
}

impl Fault for Away {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.before = retries(world).unwrap_or(0);
        match self.frozen {
            true => world.elasticsearch.node().freeze(),
            false => world.elasticsearch.node().kill(),
        }
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        // In the random mode outflow may be away, too.
        let now = retries(world).unwrap_or(self.before);
        self.seen = self.seen.max(now.saturating_sub(self.before));
        Ok(true)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.seen, "tries failed"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.elasticsearch.node().heal()
    }
}

/// Stands for the state of an index that isn't a setting.
const CLOSED: &str = "closed";

/// Something about the index that a person has done, and undoes.
struct Blocked {
    setting: &'static str,
    seen: u64,
}

impl Blocked {
    fn new(setting: &'static str) -> Self {
        Self { setting, seen: 0 }
    }

    fn set(&self, world: &World, on: bool) -> Result<()> {
        if self.setting != CLOSED {
            let value = if on { json!(true) } else { Value::Null };
            let documents = world.elasticsearch.documents();
            return documents.put_settings(&world.topic, &json!({ self.setting: value }));
        }
        let action = if on { "_close" } else { "_open" };
        let path = format!("/{}/{action}", world.topic);
        let http = world.elasticsearch.http();
        let answer = http.send(Method::POST, &path, None)?;
        answer.json().map(|_| ())
    }
}

impl Fault for Blocked {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.set(world, true)
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        if self.seen == 0 && index_is_waited_for(world) {
            self.seen = 1;
        }
        Ok(true)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.seen, "times waited for"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        self.set(world, false)
    }
}

/// A thin wire.
#[derive(Default)]
struct Slow {
    since: Option<(Instant, u64)>,
    seen: u64,
}

const BYTES_PER_SECOND: u64 = 8 << 10;

impl Fault for Slow {
    fn inject(&mut self, world: &World) -> Result<()> {
        let proxy = world.elasticsearch_proxy()?;
        self.since = Some((Instant::now(), proxy.counters().bytes_to_server));
        let bytes_per_second = BYTES_PER_SECOND;
        proxy.set(Mode::Throttle { bytes_per_second })
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let proxy = world.elasticsearch_proxy()?;
        if let Some((_, before)) = self.since {
            self.seen = (proxy.counters().bytes_to_server - before) >> 10;
        }
        // Long enough to be sure that little gets through.
        let least = Duration::from_secs(8);
        Ok(self.since.is_some_and(|(since, _)| since.elapsed() > least))
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.seen, "KiB trickled"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.elasticsearch_proxy()?.set(Mode::Pass)
    }
}

/// A rolling restart, and a node that goes silent after it.
#[derive(Default)]
struct Rolling {
    done: u64,
}

impl Rolling {
    /// All copies are where they should be, says a node that runs.
    fn wait_until_green(world: &World) -> Result<()> {
        wait_until("all of Elasticsearch's copies are there", PATIENCE, || {
            let http = world.elasticsearch.http();
            let health = http
                .get_json("/_cluster/health")
                .map_err(|error| error.to_string())?;
            match (
                health["status"].as_str(),
                health["number_of_nodes"].as_u64(),
            ) {
                (Some("green"), Some(3)) => Ok(()),
                _ => Err(health.to_string()),
            }
        })
    }
}

impl Fault for Rolling {
    fn inject(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let nodes = world.elasticsearch.nodes();
        let Some(node) = nodes.get(self.done as usize) else {
            return Ok(true);
        };
        node.restart()?;
        Self::wait_until_green(world)?;
        self.done += 1;
        if self.done as usize == nodes.len() {
            node.freeze()?;
        }
        Ok(false)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.done, "nodes restarted"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world
            .elasticsearch
            .nodes()
            .iter()
            .try_for_each(|node| node.heal())?;
        Self::wait_until_green(world)
    }
}
