//! Random faults: drawn from all cases that can be, one or two at a time on different targets, each for a random
//! while, in a sequence that the seed alone decides. At the end everything is mended, drained and judged.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::cluster::exclusive;
use crate::error::{Context, Error, Result};

use super::case::{Case, Fault, Proxy, Seen, Setup, Target};
use super::cases;
use super::config::SHUTDOWN_SECONDS;
use super::judge;
use super::outcome::Outcome;
use super::run::{check_bounds, finish};
use super::world::{PATIENCE, World};

/// What every case that may be drawn can rely on.
pub const SETUP: Setup = Setup {
    partitions: 6,
    rate: 300,
    proxies: &[
        Proxy::Http,
        Proxy::Elasticsearch,
        Proxy::Kafka,
        Proxy::NameNode,
    ],
    ..Setup::PLAIN
};

/// One turn: what breaks, how long, and how long all is well afterwards.
struct Turn {
    cases: Vec<Case>,
    hold: Duration,
    rest: Duration,
}

/// The sequence of turns; it depends on the seed and on nothing else.
struct Turns {
    rng: StdRng,
    cases: Vec<Case>,
    targets: Vec<Target>,
}

impl Turns {
    fn new(seed: u64) -> Self {
        let cases: Vec<Case> = cases::all()
            .into_iter()
            .filter(|case| case.random)
            .collect();
        let mut targets: Vec<Target> = cases.iter().map(|case| case.target).collect();
        targets.sort_unstable();
        targets.dedup();
        Self {
            rng: StdRng::seed_from_u64(seed),
            cases,
            targets,
        }
    }
}

impl Iterator for Turns {
    type Item = (Turn, StdRng);

    fn next(&mut self) -> Option<(Turn, StdRng)> {
        // A target first: else the one with the most cases would be hit most of the time.
        let num = if self.rng.random_bool(0.5) { 2 } else { 1 };
        let targets: Vec<Target> = self.targets.sample(&mut self.rng, num).copied().collect();
        let mut drawn = Vec::new();
        for target in targets {
            let of_target = self.cases.iter().filter(|case| case.target == target);
            let of_target: Vec<&Case> = of_target.collect();
            drawn.extend(of_target.choose(&mut self.rng).map(|case| **case));
        }
        let seconds = |rng: &mut StdRng, range| Duration::from_millis(rng.random_range(range));
        let turn = Turn {
            cases: drawn,
            hold: seconds(&mut self.rng, 2_000..20_000),
            rest: seconds(&mut self.rng, 0..10_000),
        };
        let rng = StdRng::seed_from_u64(self.rng.random());
        Some((turn, rng))
    }
}

/// Runs random faults for so long.
pub fn run_random(binary: &Path, seed: u64, time: Duration, say: &dyn Fn(&str)) -> Outcome {
    let alone = exclusive();
    let started = Instant::now();
    let mut outcome = Outcome {
        id: "random".to_owned(),
        name: format!("{:.0} minutes of random faults", time.as_secs_f64() / 60.0),
        seed,
        again: format!(
            "make chaos SEED={seed} MINUTES={:.1}",
            time.as_secs_f64() / 60.0
        ),
        ..Outcome::default()
    };
    let ran = World::new("random", &SETUP, binary, seed).and_then(|mut world| {
        world.in_full = false;
        break_all(&world, seed, time, say, &mut outcome)
    });
    if let Err(error) = ran {
        outcome.findings.push(error.to_string());
    }
    drop(alone);
    outcome.took = started.elapsed();
    outcome
}

fn break_all(
    world: &World,
    seed: u64,
    time: Duration,
    say: &dyn Fn(&str),
    outcome: &mut Outcome,
) -> Result<()> {
    let outflow = world.start()?;
    outflow.wait_ready(PATIENCE)?;
    let idle = crate::proc::memory(outflow.pid(), "VmRSS:").unwrap_or(0);
    drop(outflow);
    world.start_load()?;
    for sink in world.setup.sinks {
        world.wait_committed(*sink, 1_000)?;
    }
    let began = Instant::now();
    let mut seen = 0;
    for (turn, rng) in Turns::new(seed) {
        if began.elapsed() >= time {
            break;
        }
        seen += take(world, &turn, rng, began, say)?;
        let until = Instant::now() + turn.rest;
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
    outcome.seen = Seen::new(seen, "times seen");

    let healed = Instant::now();
    let backlog_end = world.num_produced();
    for sink in world.setup.sinks {
        world.wait_committed(*sink, backlog_end)?;
    }
    outcome.catch_up = Some(healed.elapsed());
    let ledger = world.stop_load().context("the load")?;
    for sink in world.setup.sinks {
        world.wait_caught_up(*sink)?;
    }
    let ledger = judge::resolve(world, ledger)?;
    outcome.records = ledger.len();
    finish(world, &ledger, outcome)?;
    check_bounds(world, idle, outcome);
    Ok(())
}

/// Breaks, holds and mends; says how often the faults were seen.
fn take(
    world: &World,
    turn: &Turn,
    mut rng: StdRng,
    began: Instant,
    say: &dyn Fn(&str),
) -> Result<u64> {
    let names: Vec<&str> = turn.cases.iter().map(|case| case.id).collect();
    let names = names.join(" and ");
    let at = || began.elapsed().as_secs_f64();
    say(&format!(
        "{:7.1} s  {names} for {:.1} s",
        at(),
        turn.hold.as_secs_f64()
    ));
    let mut faults: Vec<(&Case, Box<dyn Fault>)> = Vec::new();
    let mut broken = Ok(());
    for case in &turn.cases {
        let mut fault = (case.fault)(&mut rng);
        broken = broken.and_then(|()| {
            fault
                .inject(world)
                .context(format!("{}: breaking", case.id))
        });
        faults.push((case, fault));
    }
    let until = Instant::now() + turn.hold;
    while broken.is_ok() && Instant::now() < until {
        for (case, fault) in &mut faults {
            let turned = fault.turn(world).context(format!("{}: holding", case.id));
            broken = broken.and(turned.map(|_| ()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut num = 0;
    let mut counts = Vec::new();
    // The servers first: outflow can't be ready before.
    faults.sort_by_key(|(case, _)| case.target == Target::Process);
    for (case, fault) in &mut faults {
        let seen = fault.seen(world).unwrap_or_default();
        num += seen.count;
        counts.push(format!("{}: {} {}", case.id, seen.count, seen.what));
        let healed = fault.heal(world).context(format!("{}: mending", case.id));
        broken = broken.and(healed);
    }
    say(&format!("{:7.1} s  mended; {}", at(), counts.join(", ")));
    broken.map_err(|error| world.explain(error))?;
    // Of a fault that has left two, the first goes on.
    for outflow in world.instances().iter().skip(1) {
        outflow.stop(Duration::from_secs(SHUTDOWN_SECONDS + 5))?;
        world.forget(outflow);
    }
    match world
        .instances()
        .iter()
        .find_map(|outflow| outflow.exit_code())
    {
        None => Ok(num),
        Some(code) => Err(world.explain(Error::new(format!(
            "outflow has ended by itself with exit code {code}"
        )))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(seed: u64) -> Vec<String> {
        let turns = Turns::new(seed).take(50);
        let name = |(turn, _): (Turn, StdRng)| {
            let ids: Vec<&str> = turn.cases.iter().map(|case| case.id).collect();
            format!("{} {:?} {:?}", ids.join("+"), turn.hold, turn.rest)
        };
        turns.map(name).collect()
    }

    #[test]
    fn the_seed_alone_decides_what_is_broken_and_when() {
        assert_eq!(names(3), names(3));
        assert_ne!(names(3), names(4));
        assert!(names(3).iter().any(|name| name.contains('+')));
    }

    #[test]
    fn two_at_a_time_have_different_targets() {
        for (turn, _) in Turns::new(9).take(500) {
            if let [first, second] = turn.cases.as_slice() {
                assert_ne!(first.target, second.target);
            }
        }
    }

    #[test]
    fn what_may_be_drawn_finds_its_proxies() {
        for case in cases::all().iter().filter(|case| case.random) {
            let missing = case
                .setup
                .proxies
                .iter()
                .find(|p| !SETUP.proxies.contains(p));
            assert_eq!(missing, None, "{}", case.id);
        }
    }
}
