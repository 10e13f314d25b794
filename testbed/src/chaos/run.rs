//! One case from warm-up to verdict: load, fault, hold, heal, drain, look, kill -9, look, restart, look.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::cluster::exclusive;
use crate::error::{Context, Error, Result};
use crate::guard::wait_until;
use crate::ledger::Ledger;

use super::case::{Case, Fault, Sink, Target};
use super::config::SHUTDOWN_SECONDS;
use super::judge::{self, Standing};
use super::outcome::{Outcome, Rate};
use super::world::{PATIENCE, World};

/// How long a case takes its time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Records that each sink commits before the fault.
    pub warm_up: i64,
    /// Records that must move while it holds.
    pub moved: i64,
    /// It holds at least so long.
    pub hold: Duration,
    /// The whole of what a fault can do (fifty kills), or as much as proof needs (eight).
    pub in_full: bool,
}

impl Pace {
    /// As quick as proof allows, for `make test`.
    pub const QUICK: Pace = Pace {
        warm_up: 1_000,
        moved: 1_500,
        hold: Duration::ZERO,
        in_full: false,
    };
    /// Long enough that rates mean something.
    pub const FULL: Pace = Pace {
        warm_up: 6_000,
        moved: 10_000,
        hold: Duration::from_secs(10),
        in_full: true,
    };
}

/// What a sink may take beside its `memory`: an eighth for stacks and what the allocator keeps.
const AROUND: f64 = 1.125;
/// The process itself, beside what it had when nothing had moved yet.
const PROCESS_BYTES: u64 = 48 << 20;

/// Runs a case on the servers of this process. An outcome is there in any case; what went wrong is among its
/// findings.
pub fn run_case(case: &Case, binary: &Path, seed: u64, pace: &Pace) -> Outcome {
    let alone = exclusive();
    let started = Instant::now();
    let mut outcome = Outcome {
        id: case.id.to_owned(),
        name: case.name.to_owned(),
        seed,
        again: again(case, seed, pace),
        ..Outcome::default()
    };
    let ran = World::new(case.id, &case.setup, binary, seed).and_then(|mut world| {
        world.in_full = pace.in_full;
        let world = &world;
        Run { case, pace, world }.go(&mut outcome)
    });
    if let Err(error) = ran {
        outcome.findings.push(error.to_string());
    }
    drop(alone);
    outcome.took = started.elapsed();
    outcome
}

fn again(case: &Case, seed: u64, pace: &Pace) -> String {
    let quick = if pace.in_full { "" } else { " QUICK=1" };
    format!("make chaos CASE={} SEED={seed}{quick}", case.id)
}

struct Run<'a> {
    case: &'a Case,
    pace: &'a Pace,
    world: &'a World,
}

/// The moments between which rates are measured.
struct Moments {
    warm: Instant,
    broken: Instant,
    healed: Instant,
    /// What the topic held at the end of the fault.
    backlog_end: i64,
    /// Rebalances before and after.
    rebalances: (f64, f64),
}

impl Run<'_> {
    fn warm_up(&self) -> i64 {
        self.pace.warm_up / self.world.setup.fewer
    }

    fn moved(&self) -> i64 {
        self.pace.moved / self.world.setup.fewer
    }

    fn go(&self, outcome: &mut Outcome) -> Result<()> {
        let world = self.world;
        let mut fault = (self.case.fault)(&mut StdRng::seed_from_u64(world.seed));
        fault.prepare(world)?;
        let outflow = world.start()?;
        outflow.wait_ready(PATIENCE)?;
        let idle = crate::proc::memory(outflow.pid(), "VmRSS:").unwrap_or(0);
        drop(outflow);
        let moments = self.break_and_heal(fault.as_mut(), outcome)?;

        let ledger = world.stop_load().context("the load")?;
        for sink in world.setup.sinks {
            world.wait_caught_up(*sink)?;
        }
        let ledger = judge::resolve(world, ledger)?;
        outcome.records = ledger.len();
        fault.verify(world, &ledger).context("after the fault")?;
        self.measure(&moments, outcome);
        finish(world, &ledger, outcome)?;

        check_bounds(world, idle, outcome);
        if outcome.dead_letters > 0 && !self.case.expect.dead_letters {
            let text = format!("{} records were refused", outcome.dead_letters);
            outcome.findings.push(text);
        }
        Ok(())
    }

    fn break_and_heal(&self, fault: &mut dyn Fault, outcome: &mut Outcome) -> Result<Moments> {
        let (world, expect) = (self.world, &self.case.expect);
        world.start_load()?;
        for sink in world.setup.sinks {
            world.wait_committed(*sink, 1)?;
        }
        let warm = Instant::now();
        for sink in world.setup.sinks {
            world.wait_committed(*sink, self.warm_up())?;
        }
        let rebalances = self.figure("outflow_rebalances_total")?;

        fault.inject(world).context("breaking it")?;
        let broken = Instant::now();
        let held = self.hold(fault, broken);
        outcome.seen = fault.seen(world)?;
        fault.heal(world).context("mending it")?;
        let healed = Instant::now();
        held?;
        outcome.seen = fault.seen(world)?;

        let backlog_end = world.num_produced();
        for sink in world.setup.sinks {
            world.wait_committed(*sink, backlog_end)?;
        }
        let rebalances = (rebalances, self.figure("outflow_rebalances_total")?);
        let restarts = self.figure("outflow_worker_restarts_total")?;
        if restarts > 0.0 {
            outcome
                .findings
                .push(format!("{restarts} workers were restarted"));
        }
        if !expect.restarts && world.outflow()?.exit_code().is_some() {
            outcome.findings.push("outflow has ended".to_owned());
        }
        Ok(Moments {
            warm,
            broken,
            healed,
            backlog_end,
            rebalances,
        })
    }

    /// The fault holds until it has been seen, has done what it wants, and enough has moved.
    fn hold(&self, fault: &mut dyn Fault, since: Instant) -> Result<()> {
        let world = self.world;
        let suffers = self.case.expect.suffers;
        let others = world
            .setup
            .sinks
            .iter()
            .filter(|sink| !suffers.contains(sink));
        let others: Vec<(Sink, i64)> = others
            .map(|sink| (*sink, world.watch.committed(*sink)))
            .collect();
        let produced = world.num_produced();
        // Fifty kills take their time.
        let patience = if self.pace.in_full {
            2 * PATIENCE
        } else {
            PATIENCE
        };
        let waited = wait_until("the fault has held long enough", patience, || {
            let failed = |error: Error| error.to_string();
            let done = fault.turn(world).map_err(failed)?;
            let seen = fault.seen(world).map_err(failed)?;
            if seen.count == 0 {
                return Err(format!("it wasn't seen to work: 0 {}", seen.what));
            }
            if !done {
                return Err(format!("it isn't done yet: {} {}", seen.count, seen.what));
            }
            for (sink, before) in &others {
                let moved = world.watch.committed(*sink) - before;
                if moved < self.moved() {
                    let name = sink.name();
                    return Err(format!("{name} has moved {moved} records during the fault"));
                }
            }
            let moved = world.num_produced() - produced;
            // While the brokers are away nothing can move.
            if self.case.target != Target::Kafka && moved < self.moved() {
                return Err(format!("{moved} records were produced during the fault"));
            }
            match since.elapsed() >= self.pace.hold {
                true => Ok(()),
                false => Err("it holds a while longer".to_owned()),
            }
        });
        waited.map_err(|error| world.explain(error))
    }

    fn measure(&self, moments: &Moments, outcome: &mut Outcome) {
        let Moments {
            warm,
            broken,
            healed,
            ..
        } = *moments;
        let (world, expect) = (self.world, &self.case.expect);
        let suffers = |sink: &Sink| expect.suffers.contains(sink);
        for sink in world.setup.sinks.iter().filter(|sink| !suffers(sink)) {
            outcome.rates.push(Rate {
                sink: *sink,
                before: world.watch.rate(*sink, warm, broken),
                during: world.watch.rate(*sink, broken, healed),
            });
        }
        let reached = world.setup.sinks.iter().map(|sink| {
            let at = world.watch.reached(*sink, moments.backlog_end)?;
            Some(at.saturating_duration_since(healed))
        });
        outcome.catch_up = reached.max().flatten();
        let (before, after) = moments.rebalances;
        if !expect.rebalances && !expect.restarts && after > before {
            let num = after - before;
            outcome
                .findings
                .push(format!("I12: {num} rebalances that nobody asked for"));
        }
    }

    /// A counter, summed over the first instance's sinks.
    fn figure(&self, name: &str) -> Result<f64> {
        let figure = self.world.outflow()?.metric(name, &[])?;
        figure.ok_or_else(|| Error::new(format!("there is no metric {name}")))
    }
}

/// The end of every run, after the drain: look, kill -9, look, restart, look, and an ordered end.
pub fn finish(world: &World, ledger: &Ledger, outcome: &mut Outcome) -> Result<()> {
    if ledger.is_empty() {
        return Err(Error::new("nothing was produced, so nothing was checked"));
    }
    let drained = look(world, ledger, "after the drain", outcome)?;
    outcome.findings.extend(judge::check_secrets(world));
    for _ in world.instances() {
        world.kill()?;
    }
    let killed = look(world, ledger, "after kill -9", outcome)?;
    outcome
        .findings
        .extend(judge::check_committed(world, ledger)?);

    let outflow = world.start()?;
    outflow.wait_ready(PATIENCE)?;
    for sink in world.setup.sinks {
        wait_until_it_holds_all(world, *sink)?;
        world.wait_caught_up(*sink)?;
    }
    let restarted = look(world, ledger, "after the restart", outcome)?;
    // All was committed when it was killed, so nothing may be written again.
    if restarted.versions != killed.versions || restarted.files != killed.files {
        let again = restarted.num_rewritten() - killed.num_rewritten();
        let files = restarted.files.len() as i64 - killed.files.len() as i64;
        outcome.findings.push(format!(
            "after the restart {again} documents and {files} files were written again"
        ));
    }
    outcome.rewritten = drained.num_rewritten();
    let code = outflow.stop(Duration::from_secs(SHUTDOWN_SECONDS + 5))?;
    if code != 0 {
        let text = format!("I10: an ordered end of an idle outflow: exit code {code}");
        outcome.findings.push(text);
    }
    world.forget(&outflow);
    outcome.findings.extend(judge::check_secrets(world));
    Ok(())
}

/// What was seen over the whole run: memory within its bound, and no committed offset that went back.
pub fn check_bounds(world: &World, idle_bytes: u64, outcome: &mut Outcome) {
    outcome.peak_bytes = world.watch.peak_bytes();
    let sinks = world.setup.sinks.len() as f64;
    let budget = (world.setup.memory_mib << 20) as f64 * AROUND * sinks;
    let bound = idle_bytes + PROCESS_BYTES + budget as u64;
    if outcome.peak_bytes > bound {
        let [peak, bound] = [outcome.peak_bytes, bound].map(|bytes| bytes >> 20);
        let text = format!("I9: {peak} MiB in memory, at most {bound} MiB are allowed");
        outcome.findings.push(text);
    }
    outcome.findings.extend(world.watch.went_back());
}

fn look(world: &World, ledger: &Ledger, when: &str, outcome: &mut Outcome) -> Result<Standing> {
    let standing = judge::look(world, ledger).context(when)?;
    outcome.lost = outcome.lost.max(standing.num_lost());
    outcome.doubled = outcome.doubled.max(standing.num_doubled());
    outcome.dead_letters = outcome.dead_letters.max(standing.num_dead_letters);
    outcome.findings.extend(standing.findings(when));
    Ok(standing)
}

/// Waits until the sink's partitions are open: only then would something be written again.
fn wait_until_it_holds_all(world: &World, sink: Sink) -> Result<()> {
    let outflow = world.outflow()?;
    let wanted = world.setup.partitions;
    let what = format!("{} reads all partitions after the restart", sink.name());
    let waited = outflow.wait_for(&what, PATIENCE, || {
        let status = outflow.status()?;
        let num = num_running(&status, sink);
        Ok((num < wanted).then(|| format!("{num} of {wanted}")))
    });
    waited.map_err(|error| world.explain(error))
}

/// How many partitions of a sink are read, by `/api/v1/status`.
pub fn num_running(status: &serde_json::Value, sink: Sink) -> usize {
    let sinks = status.as_array().into_iter().flatten();
    let sinks = sinks.filter(|of| of["name"] == sink.name());
    let workers = sinks.flat_map(|sink| sink["workers"].as_array().into_iter().flatten());
    let partitions = workers.flat_map(|w| w["partitions"].as_array().into_iter().flatten());
    let running = partitions.filter(|p| p["state"] == "running" || p["state"] == "waiting");
    running.count()
}
