//! One worker of the group: the real one, with simulated surroundings; and what is demanded when it ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outflow::config::settings::RejectedPolicy;
use outflow::error::Error;
use outflow::metrics::SinkMetrics;
use outflow::pipeline::control::Rules;
use outflow::pipeline::dead_letter::{DeadLetters, Delivery, Letter};
use outflow::pipeline::mailbox::{Command, Mailbox};
use outflow::pipeline::report::Reporter;
use outflow::pipeline::worker::{Exit, Parts, Worker};
use outflow::sinks::{Connector, Sink, Waker};
use outflow::status::{CircuitState, PartitionStatus, SinkHealth, WorkerStatus};

use crate::elastic::SimElastic;
use crate::hdfs::SimHdfs;
use crate::kafka::id_of;
use crate::source::SimSource;
use crate::world::{Effect, Kind, Shared, World, lock};

/// The shortest and the longest time between two turns: a busy worker, and an idle one.
const BUSY_MS: u64 = 10;
const IDLE_MS: u64 = 500;

pub struct Node {
    pub world: Shared,
    pub client: u64,
    worker: Option<Worker>,
    status: Arc<Mutex<WorkerStatus>>,
    mailbox: Arc<Mailbox>,
    metrics: SinkMetrics,
    pub next_turn: u64,
    interval: u64,
    deadline: Option<u64>,
    pub clean: Option<bool>,
}

impl Node {
    pub fn start(world: &Shared, client: u64, index: usize) -> Self {
        let (plan, now, instant) = {
            let world = lock(world);
            (world.plan.clone(), world.now, world.instant())
        };
        let (status, mailbox, metrics) = (Arc::default(), Arc::default(), SinkMetrics::detached());
        let dead_letters = SimLetters {
            world: world.clone(),
            client,
            num_in_flight: 0,
        };
        let has_letters = matches!(plan.rejected, RejectedPolicy::DeadLetter { .. });
        let sink: Box<dyn Sink> = match plan.kind {
            Kind::Elasticsearch => Box::new(SimElastic::new(world.clone(), client)),
            Kind::Hdfs => Box::new(SimHdfs::new(world.clone(), client)),
        };
        let parts = Parts {
            connector: Arc::new(SimConnector(world.clone())),
            sink,
            source: Box::new(SimSource::new(world.clone(), client, index)),
            dead_letters: has_letters.then(|| Box::new(dead_letters) as Box<dyn DeadLetters>),
            rules: Rules {
                group: "g".into(),
                rejected: plan.rejected,
                on_offset_lost: plan.on_offset_lost,
                commit_mode: plan.commit_mode,
                commit_interval: Duration::from_millis(plan.commit_interval_ms),
                max_poll_records: 2_048,
                drain_timeout: Duration::from_millis(plan.drain_timeout_ms),
                max_span: plan.max_span,
                can_go_back: plan.kind == Kind::Elasticsearch,
                stops_on_new_partitions: false,
                fixed: plan.fixed,
            },
            metrics: metrics.clone(),
            status: Arc::clone(&status),
            mailbox: Arc::clone(&mailbox),
        };
        Node {
            world: world.clone(),
            client,
            worker: Some(Worker::new(parts, Reporter::new("sim".into(), 0), instant)),
            status,
            mailbox,
            metrics,
            next_turn: now,
            interval: BUSY_MS,
            deadline: None,
            clean: None,
        }
    }

    pub fn is_alive(&self) -> bool {
        self.worker.is_some()
    }

    pub fn is_leaving(&self) -> bool {
        self.deadline.is_some()
    }

    /// One turn of the real loop.
    pub fn turn(&mut self) {
        let (instant, before) = {
            let world = lock(&self.world);
            (world.instant(), world.activity)
        };
        let Some(worker) = &mut self.worker else {
            return;
        };
        let exit = worker.turn(instant, &|_| ());
        let world = self.world.clone();
        let world = &mut *lock(&world);
        let busy = world.activity != before;
        self.interval = if busy {
            BUSY_MS
        } else {
            (self.interval * 2).min(IDLE_MS)
        };
        self.next_turn = world.now + self.interval;
        match exit {
            None => self.check_deadline(world),
            Some(Exit::Fatal(_)) => self.crash(world),
            Some(Exit::ShutDown { clean }) => self.ended(world, clean),
        }
    }

    fn check_deadline(&self, world: &mut World) {
        let late = self.deadline.is_some_and(|by| world.now > by + 1_500);
        let excused = world.frozen_lately(self.client);
        world.demand(!late || excused, || {
            format!("client {} didn't end by its deadline", self.client)
        });
    }

    /// Clean means: nothing that was taken is ever delivered again.
    fn ended(&mut self, world: &mut World, clean: bool) {
        world.note(|| format!("client {}: ended, clean: {clean}", self.client));
        let taken: Vec<_> = world
            .taken
            .range((self.client, 0)..(self.client + 1, 0))
            .collect();
        let taken: Vec<(i32, i64)> = taken.into_iter().map(|(&(_, p), &end)| (p, end)).collect();
        for (p, end) in taken.into_iter().filter(|_| clean) {
            let left = world.not_final(p as usize, 0, end);
            let checked = world.truth[p as usize].checked;
            world.demand(left.is_none() && checked >= end, || {
                format!("an end that was called clean left {left:?} of partition {p}: {checked} of {end}")
            });
        }
        self.worker = None;
        self.clean = Some(clean);
        world.leave(self.client);
        world.bury(self.client);
    }

    /// The process is gone from one moment to the next; the group finds out later.
    pub fn crash(&mut self, world: &mut World) {
        world.note(|| format!("client {}: crashes", self.client));
        self.worker = None;
        world.bury(self.client);
    }

    pub fn freeze(&mut self, world: &mut World, until: u64) {
        world.note(|| format!("client {}: frozen until {until}", self.client));
        self.next_turn = until;
        world.frozen_until.insert(self.client, until);
    }

    pub fn shut_down(&mut self, world: &mut World, within_ms: u64) {
        world.leaving.insert(self.client, world.now + within_ms);
        world.note(|| format!("client {}: told to end within {within_ms} ms", self.client));
        let deadline = world.instant() + Duration::from_millis(within_ms);
        self.deadline = Some(world.now + within_ms);
        self.mailbox.send(Command::ShutDown(deadline));
    }

    /// A person's word: from now on, not from the worker's next turn, nothing may be taken.
    pub fn set_paused(&self, world: &mut World, paused: bool) {
        let (reply, _heeded) = std::sync::mpsc::sync_channel(1);
        self.mailbox.set_paused(paused, reply);
        world.note(|| format!("client {}: paused: {paused}", self.client));
        match paused {
            true => world.paused.insert(self.client),
            false => world.paused.remove(&self.client),
        };
    }

    /// A person's word.
    pub fn release(&self, p: i32) {
        let (reply, _answer) = std::sync::mpsc::sync_channel(1);
        self.mailbox.send(Command::Release(id_of(p), reply));
    }

    /// How many records it has counted as dropped.
    pub fn dropped(&self) -> u64 {
        let count = |reason: &str| {
            let family = &self.metrics.dropped_records;
            family.get_or_create(&SinkMetrics::reason(reason)).get()
        };
        count("not_json") + count("mapper_parsing_exception")
    }

    pub fn rebalances(&self) -> u64 {
        self.metrics.rebalances.get()
    }

    pub fn partitions(&self) -> Vec<PartitionStatus> {
        match self.is_alive() {
            true => self.status.lock().unwrap().partitions.clone(),
            false => Vec::new(),
        }
    }
}

struct SimConnector(Shared);

impl Connector for SimConnector {
    fn worker(&self, _: usize, _: Waker) -> Box<dyn Sink> {
        unreachable!("the simulation makes the workers' halves")
    }

    fn health(&self) -> SinkHealth {
        let circuit = match lock(&self.0).circuit_open {
            true => CircuitState::Open,
            false => CircuitState::Closed,
        };
        SinkHealth {
            circuit,
            ..SinkHealth::default()
        }
    }
}

struct SimLetters {
    world: Shared,
    client: u64,
    num_in_flight: usize,
}

impl DeadLetters for SimLetters {
    fn send(&mut self, letter: Letter) {
        self.num_in_flight += 1;
        let mut world = lock(&self.world);
        let slow = if world.goes_wrong(100) { 10_000 } else { 200 };
        world.after(5, slow, Effect::Letter(self.client, letter));
    }

    fn poll(&mut self, deliveries: &mut Vec<Delivery>) {
        let mut world = lock(&self.world);
        let inbox = world.inboxes.entry(self.client).or_default();
        deliveries.append(&mut inbox.letters);
        world.activity += deliveries.len() as u64;
        self.num_in_flight -= deliveries.len();
    }

    fn num_in_flight(&self) -> usize {
        self.num_in_flight
    }

    fn trouble(&self) -> Option<Error> {
        None
    }
}
