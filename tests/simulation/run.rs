//! Runs one seed: faults, then peace, then a look at what has become of everything.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use outflow::config::settings::{OffsetLost, RejectedPolicy};
use outflow::error::Error;
use outflow::pipeline::source::{Broken, SourceEvent};
use outflow::status::PartitionState;

use crate::journal::Journal;
use crate::kafka::{SimRecord, id_of};
use crate::node::Node;
use crate::rng::Rng;
use crate::world::{Down, Effect, Kind, Plan, Shared, World, lock};

/// How long after the last fault everything must be delivered and committed.
const PEACE_MS: u64 = 300_000;

/// What a run did, so that a test can say that it wasn't idle.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub stored: usize,
    pub dead_letters: usize,
    pub dropped: usize,
    pub skips: usize,
    pub faults: BTreeMap<&'static str, usize>,
    pub quarantines: usize,
    pub resumed: usize,
    pub turns: usize,
}

pub struct Run {
    pub world: Shared,
    pub nodes: Vec<Node>,
    restarts: Vec<u64>,
    rng: Rng,
    clients: u64,
    next_fault: u64,
    next_look: u64,
    releases: BTreeMap<i32, u64>,
    /// When a person lets a paused client go on.
    resumes: BTreeMap<u64, u64>,
    /// Dropped records that nodes which are gone have counted.
    counted_drops: u64,
    pub tally: Tally,
}

/// Runs a seed; what went wrong, and the trace if one was asked for.
pub fn run_seed(seed: u64, traces: bool) -> Result<Tally, (String, String)> {
    let journal = Journal::new(traces);
    let result = tracing::subscriber::with_default(journal.clone(), || {
        catch_unwind(AssertUnwindSafe(|| {
            let mut rng = Rng::new(seed);
            let plan = Plan::random(&mut rng);
            journal.note(|| format!("{plan:?}"));
            let mut run = Run::new(plan, rng, journal.clone());
            run.faults();
            run.peace()?;
            Ok(run.tally)
        }))
    });
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(format!("a panic: {}", text.unwrap_or_default()))
    });
    result.map_err(|what| (what, journal.trace()))
}

impl Run {
    pub fn new(plan: Plan, mut rng: Rng, journal: Journal) -> Self {
        let world_rng = Rng::new(rng.range(0, u64::MAX));
        let workers = plan.workers;
        let mut run = Run {
            world: World::new(plan, world_rng, journal),
            nodes: Vec::new(),
            restarts: vec![0; workers],
            rng,
            clients: 0,
            next_fault: 0,
            next_look: 0,
            releases: BTreeMap::new(),
            resumes: BTreeMap::new(),
            counted_drops: 0,
            tally: Tally::default(),
        };
        for index in 0..workers {
            let node = run.new_node(index);
            run.nodes.push(node);
        }
        run
    }

    fn new_node(&mut self, index: usize) -> Node {
        self.clients += 1;
        Node::start(&self.world, self.clients, index)
    }

    pub fn violation(&self) -> Result<(), String> {
        match &lock(&self.world).violation {
            Some(what) => Err(what.clone()),
            None => Ok(()),
        }
    }

    /// On to the next moment at which anything happens.
    pub fn step(&mut self) {
        let turns = self.nodes.iter().zip(&self.restarts);
        let turns = turns.map(|(node, &restart)| match node.is_alive() {
            true => node.next_turn,
            false => restart,
        });
        let now = turns.chain([self.next_look]).min().unwrap_or(0);
        {
            let mut world = lock(&self.world);
            world.now = now.max(world.now);
            world.journal.set_now(now);
            world.step();
        }
        for index in 0..self.nodes.len() {
            if self.nodes[index].is_alive() && self.nodes[index].next_turn <= now {
                self.nodes[index].turn();
                self.tally.turns += 1;
                if !self.nodes[index].is_alive() {
                    self.restarts[index] = now + self.rng.range(0, 15_000);
                }
            } else if !self.nodes[index].is_alive() && self.restarts[index] <= now {
                self.counted_drops += self.nodes[index].dropped();
                self.nodes[index] = self.new_node(index);
            }
        }
        if self.next_look <= now {
            self.next_look = now + 200;
            self.look(now);
        }
    }

    fn faults(&mut self) {
        let plan = lock(&self.world).plan.clone();
        let mut last = plan.faults_ms;
        if let Some(what) = plan.long_outage {
            last += 3_600_000;
            lock(&self.world).go_down(what, last - 10_000);
            self.tally.faults.insert("an hour's outage", 1);
        }
        while lock(&self.world).now < last && self.violation().is_ok() {
            self.step();
            let now = lock(&self.world).now;
            if now >= self.next_fault && (plan.long_outage.is_none() || now < plan.faults_ms / 2) {
                self.next_fault = now + self.rng.range(1, 2 * plan.fault_every_ms);
                self.fault();
            }
        }
    }

    /// Everything heals; then everything must be delivered and committed before long.
    fn peace(&mut self) -> Result<(), String> {
        let end = {
            let mut world = lock(&self.world);
            let now = world.now;
            world.note(|| "peace".to_owned());
            world.healed = true;
            (
                world.sink_down_until,
                world.letters_down_until,
                world.kafka_down_until,
            ) = (now, now, now);
            for node in self.nodes.iter_mut().filter(|node| node.is_alive()) {
                node.next_turn = now;
                node.set_paused(&mut world, false);
            }
            for restart in &mut self.restarts {
                *restart = (*restart).min(now + 1_000);
            }
            now + PEACE_MS
        };
        loop {
            self.violation()?;
            let (now, looked) = (lock(&self.world).now, self.next_look);
            self.step();
            if self.next_look == looked {
                continue; // Looking takes long: now and then is enough.
            }
            let left = self.left();
            if left.is_empty() {
                break;
            }
            if now > end {
                return Err(format!(
                    "I5: not done long after the last fault: {}",
                    self.describe(&left)
                ));
            }
        }
        // Whoever slept learns what it has missed.
        let settled = lock(&self.world).now + 15_000;
        while lock(&self.world).now < settled {
            self.step();
        }
        self.verify()?;
        self.end()
    }

    /// The partitions that still aren't delivered and committed.
    fn left(&self) -> Vec<usize> {
        let mut world = lock(&self.world);
        let given_up: Vec<usize> = match world.plan.person {
            true => Vec::new(),
            false => {
                let partitions = self.nodes.iter().flat_map(Node::partitions);
                let stuck = partitions.filter(|status| status.state == PartitionState::Quarantined);
                stuck.map(|status| status.partition as usize).collect()
            }
        };
        let all = 0..world.plan.partitions;
        all.filter(|p| !world.is_complete(*p) && !given_up.contains(p))
            .collect()
    }

    /// What these partitions are waiting for.
    fn describe(&self, left: &[usize]) -> String {
        let partitions: Vec<_> = self.nodes.iter().flat_map(Node::partitions).collect();
        let world = lock(&self.world);
        let words = left.iter().map(|&p| {
            let mut statuses = partitions.iter();
            let status = statuses.find(|status| status.partition == p as i32);
            let not_final = world.not_final(p, 0, i64::MAX);
            format!("partition {p}: {status:?}, not final: {not_final:?}")
        });
        words.collect::<Vec<_>>().join("; ")
    }

    /// Promises about everything that was done.
    fn verify(&mut self) -> Result<(), String> {
        let world = &*lock(&self.world);
        for (p, truth) in world.truth.iter().enumerate() {
            let lines: Vec<i64> = truth.files.iter().flatten().copied().collect();
            if let Some(pair) = lines.windows(2).find(|pair| pair[0] >= pair[1]) {
                return Err(format!("I2: partition {p} has {pair:?} in its files"));
            }
            self.tally.stored += truth.stored.len();
            self.tally.dead_letters += truth.dead_lettered.len();
            self.tally.dropped += truth.dropped.len();
        }
        let nodes = self.nodes.iter().map(Node::dropped).sum::<u64>();
        let dropped = world
            .truth
            .iter()
            .map(|truth| truth.dropped.len())
            .sum::<usize>();
        if self.counted_drops + nodes < dropped as u64 {
            return Err(format!(
                "I1: {dropped} records were dropped, and not all were counted"
            ));
        }
        for (p, first, end) in world.journal.skips() {
            let log = &world.logs[p as usize];
            let spared = log
                .records
                .range(first.max(log.log_start)..end.max(log.log_start))
                .next();
            let cut = world.truth[p as usize].truncated_at.is_some();
            if let (Some((offset, _)), false) = (
                spared,
                cut || world.plan.on_offset_lost == OffsetLost::Latest,
            ) {
                return Err(format!(
                    "I7: [{first}, {end}) of partition {p} was skipped, but {offset} is there"
                ));
            }
            self.tally.skips += 1;
        }
        Ok(())
    }

    /// In peace every worker ends clean.
    fn end(&mut self) -> Result<(), String> {
        let partitions: Vec<_> = self.nodes.iter().flat_map(Node::partitions).collect();
        let settled = partitions
            .iter()
            .all(|p| p.state == PartitionState::Running);
        let mut told = Vec::new();
        for node in &mut self.nodes {
            if node.is_alive() && !node.is_leaving() {
                told.push(node.client);
                node.shut_down(&mut lock(&self.world), 30_000);
            }
        }
        while self.nodes.iter().any(Node::is_alive) {
            self.restarts.fill(u64::MAX);
            self.step();
            self.violation()?;
        }
        let told = self.nodes.iter().filter(|node| told.contains(&node.client));
        let unclean = told.filter(|node| node.clean == Some(false)).count();
        match settled && unclean > 0 {
            true => Err("an end in peace wasn't clean".to_owned()),
            false => Ok(()),
        }
    }

    /// What the world and its people do now and then: produce, look at the status, release.
    fn look(&mut self, now: u64) {
        let world = self.world.clone();
        let world = &mut *lock(&world);
        self.produce(world);
        self.resume(world);
        for node in self.nodes.iter().filter(|node| node.is_alive()) {
            for status in node.partitions() {
                if status.state != PartitionState::Quarantined {
                    continue;
                }
                let p = status.partition as usize;
                let reason = status.reason.unwrap_or_default();
                let excuse = world.truth[p].excuse.is_some() || is_refusal(world, p);
                world.demand(excuse && !reason.contains("defect"), || {
                    format!("partition {p} needs a person for no reason: {reason}")
                });
                if !world.plan.person {
                    continue;
                }
                let due = *self.releases.entry(status.partition).or_insert_with(|| {
                    self.tally.quarantines += 1;
                    now + self.rng.range(500, 10_000)
                });
                if due <= now {
                    self.releases.remove(&status.partition);
                    mend(world, p);
                    world.truth[p].barred = None;
                    node.release(status.partition);
                }
            }
        }
    }

    /// People let paused clients go on after a while.
    fn resume(&mut self, world: &mut World) {
        for node in self.nodes.iter().filter(|node| node.is_alive()) {
            let is_due = |due: &mut u64| *due <= world.now;
            let entry = self.resumes.get_mut(&node.client).is_some_and(is_due);
            if entry {
                self.resumes.remove(&node.client);
                node.set_paused(world, false);
                self.tally.resumed += 1;
            }
        }
    }

    fn produce(&mut self, world: &mut World) {
        for p in 0..world.plan.partitions {
            let (most, policy) = (world.plan.records, world.plan.rejected.clone());
            if world.healed || world.logs[p].records.len() >= most || self.rng.permille(600) {
                continue;
            }
            for _ in 0..self.rng.range(1, 25) {
                let hole = match self.rng.below(40) {
                    0 => self.rng.range(1, 500),
                    1..5 => self.rng.range(1, 4),
                    _ => 0,
                };
                let bad = self.rng.permille(20);
                let letters = matches!(policy, RejectedPolicy::DeadLetter { .. });
                let record = SimRecord {
                    leader_epoch: 0,
                    bad_at_append: bad && self.rng.permille(500),
                    bad_at_server: bad,
                    too_large: bad && letters && self.rng.permille(100),
                };
                world.logs[p].append(hole as i64, record);
            }
        }
    }

    fn fault(&mut self) {
        let world = self.world.clone();
        let world = &mut *lock(&world);
        let now = world.now;
        let (index, p) = (
            self.rng.below(self.nodes.len()),
            self.rng.below(world.plan.partitions),
        );
        let node = &mut self.nodes[index];
        let client = node.client;
        let name = match self.rng.below(16) {
            0 if node.is_alive() => {
                node.crash(world);
                self.restarts[index] = now + self.rng.range(0, 15_000);
                "crash"
            }
            1 if node.is_alive() => {
                let until = now + self.rng.pick(&[500, 3_000, 15_000, 40_000]);
                node.freeze(world, until);
                "freeze"
            }
            2 | 3 if !world.plan.fixed => {
                world.rebalance();
                "rebalance"
            }
            4 if world.plan.fixed && world.plan.kind == Kind::Hdfs => {
                world.truth[p].fence += 1;
                world.truth[p].excuse = Some("another process has it");
                "second process"
            }
            4 if !world.plan.fixed => {
                world.leave(client);
                "kick"
            }
            5 | 6 => {
                let until = now + self.rng.pick(&[300, 3_000, 20_000]);
                world.go_down(Down::Sink, until);
                "sink outage"
            }
            7 => {
                let until = now + self.rng.pick(&[300, 3_000, 30_000]);
                world.go_down(Down::Letters, until);
                "dead letter outage"
            }
            8 => {
                let until = now + self.rng.pick(&[300, 3_000, 15_000]);
                world.go_down(Down::Kafka, until);
                "kafka outage"
            }
            9 if self.rng.permille(300) => {
                let log = &mut world.logs[p];
                let span = (log.log_end - log.log_start) as u64;
                log.log_start += self.rng.range(0, span + 1) as i64;
                world.truth[p].excuse = Some("retention");
                "retention"
            }
            10 if world.plan.kind == Kind::Elasticsearch && self.rng.permille(150) => {
                let log = &mut world.logs[p];
                let span = (log.log_end - log.log_start) as u64;
                let at = log.log_start + self.rng.range(0, span + 1) as i64;
                log.truncate(at);
                let truth = &mut world.truth[p];
                truth.truncated_at = Some(truth.truncated_at.map_or(at, |before| before.min(at)));
                truth.excuse = Some("truncation");
                "truncation"
            }
            11 => {
                world.logs[p].elect();
                "leader election"
            }
            12 if node.is_alive() && !node.is_leaving() => {
                let within = self.rng.pick(&[500, 6_000, 30_000]);
                node.shut_down(world, within);
                "shutdown"
            }
            13 if self.rng.permille(200) => {
                let fatal = SourceEvent::Fatal(Error::unavailable("the client is beyond repair"));
                world.after(0, 50, Effect::Event(client, None, fatal));
                "fatal"
            }
            14 => {
                let why = Broken::Other(Error::unavailable("a batch can't be read"));
                let partition = id_of(p as i32);
                let broken = SourceEvent::Broken { partition, why };
                world.after(0, 50, Effect::Event(client, None, broken));
                "broken batch"
            }
            15 if node.is_alive() => {
                let until = now + self.rng.pick(&[300, 3_000, 20_000, 60_000]);
                self.resumes.insert(client, until);
                node.set_paused(world, true);
                "pause"
            }
            _ => return,
        };
        world.note(|| format!("FAULT {name} (client {client}, partition {p})"));
        *self.tally.faults.entry(name).or_default() += 1;
    }
}

fn is_refusal(world: &World, p: usize) -> bool {
    let refusal = world.plan.rejected == RejectedPolicy::Quarantine;
    refusal
        && world.logs[p]
            .records
            .values()
            .any(|r| r.bad_at_append || r.bad_at_server)
}

/// The person mends what the sink refuses, before releasing the partition.
fn mend(world: &mut World, p: usize) {
    let refusal = world.plan.rejected == RejectedPolicy::Quarantine;
    for record in world.logs[p].records.values_mut() {
        record.too_large = false;
        record.bad_at_append &= !refusal;
        record.bad_at_server &= !refusal;
    }
    if refusal {
        world.truth[p].excuse = Some("a refused record");
        world.note(|| format!("a person mends partition {p}"));
    }
}
