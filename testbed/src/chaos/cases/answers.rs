//! Group C: what Elasticsearch answers, or what becomes of its answers on the way; by the HTTP proxy, because a
//! real server can't be made to do it on demand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::error::{Error, Result};
use crate::http_proxy::{BulkItem, Fault as HttpFault, ItemFault};
use crate::ledger::Ledger;
use crate::produce::Outgoing;

use super::super::case::{Case, Expect, Fault, Lines, NONE, Proxy, Seen, Setup, Sink};
use super::super::config::dead_letters;
use super::super::world::World;
use super::elasticsearch::ALONE;

const PROXIED: Case = Case {
    setup: Setup {
        proxies: &[Proxy::Http],
        ..Setup::PLAIN
    },
    in_subset: false,
    ..ALONE
};

/// Records may be refused.
const REFUSING: Case = Case {
    expect: Expect {
        dead_letters: true,
        ..PROXIED.expect
    },
    random: false,
    ..PROXIED
};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: "F38",
        name: "answers are lost although the documents were written",
        setup: Setup {
            lines: Lines {
                elasticsearch: "op = \"create\"",
                ..Setup::PLAIN.lines
            },
            ..PROXIED.setup
        },
        fault: |rng| Box::new(Scripted::new(rng, lost)),
        ..PROXIED
    },
    Case {
        id: "F39",
        name: "items of one request get 200, 429, 503 and 400",
        in_subset: true,
        fault: |rng| Box::new(Mixed::new(rng)),
        ..REFUSING
    },
    Case {
        id: "F40",
        name: "429 for every request, with and without Retry-After",
        fault: |rng| Box::new(Scripted::new(rng, too_many)),
        ..PROXIED
    },
    Case {
        id: "F41",
        name: "502, 503, 504, broken connections, garbage",
        in_subset: true,
        fault: |rng| Box::new(Scripted::new(rng, broken)),
        ..PROXIED
    },
    Case {
        id: "F42",
        name: "413 for more than 8 KiB, and a record that is larger",
        fault: |_| Box::new(TooLarge::default()),
        ..REFUSING
    },
    Case {
        id: "F44",
        name: "records that don't fit the mapping",
        setup: Setup::PLAIN,
        expect: Expect {
            dead_letters: true,
            ..Expect::only(NONE)
        },
        fault: |_| Box::new(Misfits::default()),
        ..REFUSING
    },
    Case {
        id: "F48b",
        name: "every request takes 4 s",
        fault: |rng| {
            Box::new(Scripted::new(rng, |_| {
                HttpFault::Delay(Duration::from_secs(4))
            }))
        },
        ..PROXIED
    },
];

fn lost(rng: &mut StdRng) -> HttpFault {
    match rng.random_bool(0.5) {
        true => HttpFault::DropResponse,
        false => HttpFault::Pass,
    }
}

fn too_many(rng: &mut StdRng) -> HttpFault {
    HttpFault::Answer {
        status: 429,
        retry_after: rng.random_bool(0.5).then_some(1),
        body: r#"{"error":{"type":"es_rejected_execution_exception","reason":"on purpose"},"status":429}"#
            .to_owned(),
    }
}

fn broken(rng: &mut StdRng) -> HttpFault {
    match rng.random_range(0..8) {
        0 => HttpFault::status(502),
        1 => HttpFault::status(503),
        2 => HttpFault::status(504),
        3 => HttpFault::DropRequest,
        4 => HttpFault::DropResponse,
        5 => HttpFault::Truncate(rng.random_range(0..200)),
        6 => HttpFault::Garbage(b"<html>Bad Gateway</html>".to_vec()),
        _ => HttpFault::Pass,
    }
}

/// One fault after another, drawn from the seed.
struct Scripted {
    rng: StdRng,
    draw: fn(&mut StdRng) -> HttpFault,
    before: u64,
}

impl Scripted {
    fn new(rng: &mut StdRng, draw: fn(&mut StdRng) -> HttpFault) -> Self {
        let rng = StdRng::seed_from_u64(rng.random());
        Self {
            rng,
            draw,
            before: 0,
        }
    }
}

impl Fault for Scripted {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.before = world.http_proxy()?.counters().faults;
        self.turn(world).map(|_| ())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let proxy = world.http_proxy()?;
        while proxy.num_scripted() < 50 {
            proxy.script([(self.draw)(&mut self.rng)]);
        }
        Ok(self.seen(world)?.count >= 5)
    }

    fn seen(&mut self, world: &World) -> Result<Seen> {
        let faults = world.http_proxy()?.counters().faults - self.before;
        Ok(Seen::new(faults, "requests spoilt"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.http_proxy()?.heal();
        Ok(())
    }
}

/// Single items fail, some of them for good.
struct Mixed {
    rng: Arc<Mutex<StdRng>>,
    refused: Arc<AtomicU64>,
    before: u64,
}

impl Mixed {
    fn new(rng: &mut StdRng) -> Self {
        Self {
            rng: Arc::new(Mutex::new(StdRng::seed_from_u64(rng.random()))),
            refused: Arc::default(),
            before: 0,
        }
    }
}

impl Fault for Mixed {
    fn inject(&mut self, world: &World) -> Result<()> {
        let proxy = world.http_proxy()?;
        self.before = proxy.counters().edited_items;
        let (rng, refused) = (Arc::clone(&self.rng), Arc::clone(&self.refused));
        let edit = move |_: &BulkItem<'_>| {
            let drawn = rng
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .random_range(0..200);
            let status = match drawn {
                0..20 => 429,
                20..40 => 503,
                40 => {
                    refused.fetch_add(1, Ordering::Relaxed);
                    400
                }
                _ => return None,
            };
            Some(ItemFault::status(status))
        };
        proxy.always(HttpFault::EditItems {
            edit: Arc::new(edit),
            honest: true,
        });
        Ok(())
    }

    fn turn(&mut self, _world: &World) -> Result<bool> {
        Ok(self.refused.load(Ordering::Relaxed) > 2)
    }

    fn seen(&mut self, world: &World) -> Result<Seen> {
        let edited = world.http_proxy()?.counters().edited_items - self.before;
        Ok(Seen::new(edited, "items failed"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.http_proxy()?.heal();
        Ok(())
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        demand_letters(world, self.refused.load(Ordering::Relaxed))
    }
}

/// Exactly so many records are in Elasticsearch's dead letter topic.
fn demand_letters(world: &World, wanted: u64) -> Result<()> {
    let letters = num_letters(world)?;
    match letters == wanted {
        true => Ok(()),
        false => Err(Error::new(format!(
            "{letters} dead letters, {wanted} records were refused"
        ))),
    }
}

fn num_letters(world: &World) -> Result<u64> {
    let topic = dead_letters(&world.topic, Sink::Elasticsearch);
    Ok(world.kafka.client().read_all(&topic)?.len() as u64)
}

/// A limit on bodies, as a load balancer has one.
#[derive(Default)]
struct TooLarge {
    before: u64,
}

const MOST_BYTES: usize = 8 << 10;

impl Fault for TooLarge {
    fn inject(&mut self, world: &World) -> Result<()> {
        let proxy = world.http_proxy()?;
        self.before = proxy.counters().faults;
        proxy.always(HttpFault::TooLarge(MOST_BYTES));
        let value = format!(r#"{{"large":"{}"}}"#, "x".repeat(2 * MOST_BYTES));
        world.send(&Outgoing {
            value: Some(value.into_bytes()),
            ..Outgoing::default()
        })
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        Ok(num_letters(world)? > 0)
    }

    fn seen(&mut self, world: &World) -> Result<Seen> {
        let faults = world.http_proxy()?.counters().faults - self.before;
        Ok(Seen::new(faults, "bodies too large"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.http_proxy()?.heal();
        Ok(())
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        demand_letters(world, 1)
    }
}

/// Records that Elasticsearch refuses for good, among many that it takes.
#[derive(Default)]
struct Misfits {
    sent: u64,
}

impl Fault for Misfits {
    fn inject(&mut self, world: &World) -> Result<()> {
        for number in 0..20 {
            let value = format!(r#"{{"misfit":{number},"strict_number":"not a number"}}"#);
            world.send(&Outgoing {
                value: Some(value.into_bytes()),
                ..Outgoing::default()
            })?;
            self.sent += 1;
        }
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        Ok(num_letters(world)? == self.sent)
    }

    fn seen(&mut self, world: &World) -> Result<Seen> {
        Ok(Seen::new(num_letters(world)?, "records refused"))
    }

    fn heal(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        demand_letters(world, self.sent)
    }
}
