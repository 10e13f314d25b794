//! The pipeline under everything that can happen to it: the real worker on a simulated Kafka, sink and dead
//! letter topic, in virtual time, from a seed. Each promise of the design is checked as the run goes.
//!
//! `OUTFLOW_SIM_SEEDS=20000 cargo test --test simulation` runs more seeds; `OUTFLOW_SIM_SEED=17` runs that one
//! and prints its trace.

#![allow(clippy::unwrap_used)] // In a test, what breaks a rule may panic.

#[path = "simulation/elastic.rs"]
mod elastic;
#[path = "simulation/hdfs.rs"]
mod hdfs;
#[path = "simulation/journal.rs"]
mod journal;
#[path = "simulation/kafka.rs"]
mod kafka;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/source.rs"]
mod source;
#[path = "simulation/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use journal::Journal;
use rng::Rng;
use run::{Run, Tally, run_seed};
use world::{Kind, Plan, lock};

/// Seeds in a plain test run: about 8 ms of CPU time each.
const SEEDS: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_promise_holds_whatever_happens() {
    if let Some(seed) = number("OUTFLOW_SIM_SEED") {
        match run_seed(seed, true) {
            Ok(tally) => println!("seed {seed}: {tally:?}"),
            Err((what, trace)) => panic!("{trace}\nseed {seed}: {what}"),
        }
        return;
    }
    let seeds = number("OUTFLOW_SIM_SEEDS").unwrap_or(SEEDS);
    let (next, total) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(Mutex::new(Vec::new())),
    );
    let failure: Arc<Mutex<Option<u64>>> = Arc::default();
    let threads = (0..2).map(|_| {
        let (next, total, failure) = (next.clone(), total.clone(), failure.clone());
        std::thread::spawn(move || {
            while failure.lock().unwrap().is_none() {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    break;
                }
                match run_seed(seed, false) {
                    Ok(tally) => total.lock().unwrap().push(tally),
                    Err(_) => *failure.lock().unwrap() = Some(seed),
                }
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    if let Some(seed) = *failure.lock().unwrap() {
        let (what, trace) = run_seed(seed, true).expect_err("a seed does the same twice");
        panic!(
            "{trace}\nseed {seed}: {what}\nagain: OUTFLOW_SIM_SEED={seed} cargo test --test simulation"
        );
    }
    not_idle(&total.lock().unwrap(), seeds);
}

/// I5: an outage of an hour is waited out without a rebalance, and work resumes by itself soon after.
#[test]
fn an_outage_of_an_hour_is_waited_out() {
    for kind in [Kind::Elasticsearch, Kind::Hdfs] {
        let mut run = Run::new(Plan::quiet(kind), Rng::new(1), Journal::new(false));
        let until = |run: &mut Run, ms: u64| {
            while lock(&run.world).now < ms {
                run.step();
            }
        };
        let stored = |run: &Run| -> usize {
            lock(&run.world)
                .truth
                .iter()
                .map(|truth| truth.stored.len())
                .sum()
        };
        until(&mut run, 2_000);
        let back = 3_600_000;
        lock(&run.world).sink_down_until = back;
        until(&mut run, 6_000);
        let before = stored(&run);
        until(&mut run, back - 1_000);
        assert_eq!(stored(&run), before, "it was down");
        until(&mut run, back + 8_000);
        assert!(stored(&run) > before, "{kind:?} hasn't resumed");
        assert_eq!(run.nodes[0].rebalances(), 1);
        run.violation().unwrap();
    }
}

/// A pause is heeded at once, costs no rebalance however long it is, leaves nothing uncommitted, and ends where it began.
#[test]
fn a_pause_takes_nothing_commits_what_was_taken_and_keeps_its_partitions() {
    for kind in [Kind::Elasticsearch, Kind::Hdfs] {
        let mut run = Run::new(Plan::quiet(kind), Rng::new(2), Journal::new(false));
        let until = |run: &mut Run, ms: u64| {
            while lock(&run.world).now < ms {
                run.step();
            }
        };
        let final_and_committed = |run: &Run| -> (usize, i64) {
            let world = lock(&run.world);
            let stored = world.truth.iter().map(|truth| truth.stored.len()).sum();
            (stored, world.truth.iter().map(|truth| truth.checked).sum())
        };
        until(&mut run, 3_000);
        run.nodes[0].set_paused(&mut lock(&run.world), true);
        let taken = lock(&run.world).taken.clone();
        // What was in flight has had its time, an open file's included.
        until(&mut run, 60_000);
        let before = final_and_committed(&run);
        for (&(_, p), &end) in &taken {
            let world = lock(&run.world);
            let checked = world.truth[p as usize].checked;
            assert!(
                checked >= end,
                "{kind:?}: {checked} of {end} of partition {p}"
            );
        }
        until(&mut run, 3_600_000);
        assert_eq!(final_and_committed(&run), before, "{kind:?}");
        assert_eq!(lock(&run.world).taken, taken, "{kind:?}");
        let waits = run.nodes[0].partitions().into_iter();
        assert!(waits.clone().count() > 0);
        for status in waits {
            assert_eq!(status.state, outflow::status::PartitionState::Waiting);
            assert_eq!(&*status.reason.unwrap(), "the sink is paused by request");
        }
        run.nodes[0].set_paused(&mut lock(&run.world), false);
        until(&mut run, 3_610_000);
        assert!(
            final_and_committed(&run).0 > before.0,
            "{kind:?} hasn't resumed"
        );
        assert_eq!(run.nodes[0].rebalances(), 1);
        run.violation().unwrap();
    }
}

/// Whoever looks can tell a partition that waits for its turn from one that something is wrong with.
#[test]
fn a_partition_that_waits_for_its_turn_says_so() {
    let mut plan = Plan::quiet(Kind::Hdfs);
    plan.open_files = 1;
    let mut run = Run::new(plan, Rng::new(2), Journal::new(false));
    let mut said = BTreeSet::new();
    while lock(&run.world).now < 60_000 {
        run.step();
        for status in run.nodes[0].partitions() {
            if status.state == outflow::status::PartitionState::Waiting {
                assert_eq!(status.reason.as_deref(), Some("waits for its turn"));
                assert!(status.waits_for_turn && !status.is_held_up());
                said.insert(status.partition);
            }
        }
    }
    assert_eq!(said.len(), 3, "each of them waits now and then: {said:?}");
    run.violation().unwrap();
}

/// A simulation in which nothing happens proves nothing.
fn not_idle(tallies: &[Tally], seeds: u64) {
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let fault = |name| {
        tallies
            .iter()
            .filter_map(|t| t.faults.get(name))
            .sum::<usize>()
    };
    println!(
        "{seeds} seeds: {} turns, {} records stored, {} dead letters, {} dropped, {} skips, {} quarantines, {} pauses \
         that ended by a resume",
        sum(|t| t.turns),
        sum(|t| t.stored),
        sum(|t| t.dead_letters),
        sum(|t| t.dropped),
        sum(|t| t.skips),
        sum(|t| t.quarantines),
        sum(|t| t.resumed),
    );
    if seeds < SEEDS {
        return; // rare things may not have come
    }
    assert!(sum(|t| t.stored) as u64 > 100 * seeds);
    assert!(sum(|t| t.dead_letters) > 100 && sum(|t| t.dropped) > 100);
    assert!(sum(|t| t.skips) > 20 && sum(|t| t.quarantines) > 100);
    for name in [
        "crash",
        "freeze",
        "kick",
        "sink outage",
        "retention",
        "truncation",
        "shutdown",
        "broken batch",
        "pause",
        "second process",
        "an hour's outage",
    ] {
        assert!(fault(name) > 50, "{name}: {}", fault(name));
    }
}
