//! Supervision: every sink has its own threads, and one that fails to start or panics is restarted with backoff,
//! whatever the others do.
//!
//! Owns: threads, restarts, shutdown, the handles that observers read. Does not own: what a sink is made of
//! (that is [`Makers`], wired by the binary).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{error, info};

use crate::backoff::Backoff;
use crate::clock::unix_ms;
use crate::error::{Error, Kind};
use crate::journal::Journal;
use crate::metrics::SinkMetrics;
use crate::offsets::TopicPartition;
use crate::pipeline::control::Rules;
use crate::pipeline::dead_letter::DeadLetters;
use crate::pipeline::mailbox::{Command, Mailbox};
use crate::pipeline::report::{Reporter, lock};
use crate::pipeline::source::Source;
use crate::pipeline::summary::sum_up;
use crate::pipeline::worker::{Exit, Parts, Worker, waker_of_this_thread};
use crate::sinks::Connector;
use crate::status::{SinkStatus, Totals, WorkerStatus};

/// How long to wait where only a command ends the wait.
const LONG: Duration = Duration::from_secs(3_600);

/// How long a worker may take to answer what a person asks.
const ANSWER: Duration = Duration::from_secs(5);

/// Makes the parts of one sink, again after each failure.
pub trait Makers: Send + Sync {
    /// The sink itself, shared by its workers.
    fn connector(&self) -> Result<Arc<dyn Connector>, Error>;
    /// The consumer of worker `worker`.
    fn source(&self, worker: usize) -> Result<Box<dyn Source>, Error>;
    /// The dead letter topic, if one is configured.
    fn dead_letters(&self, worker: usize) -> Result<Option<Box<dyn DeadLetters>>, Error>;
}

/// One sink to run.
pub struct Plan {
    /// Its name.
    pub name: Arc<str>,
    /// `elasticsearch` or `hdfs`.
    pub kind: &'static str,
    /// What the user chose.
    pub rules: Rules,
    /// How many workers.
    pub workers: usize,
    /// What is counted.
    pub metrics: SinkMetrics,
    /// What it is made of.
    pub makers: Box<dyn Makers>,
}

/// The running sinks.
pub struct Supervisor {
    sinks: Vec<Arc<SinkHandle>>,
    threads: Mutex<Vec<JoinHandle<bool>>>,
}

struct SinkHandle {
    plan: Plan,
    connector: Mutex<Option<Arc<dyn Connector>>>,
    /// Since when it is paused by request (Unix milliseconds).
    paused_since: Mutex<Option<i64>>,
    workers: Vec<WorkerHandle>,
    journal: Arc<Journal>,
}

struct WorkerHandle {
    status: Arc<Mutex<WorkerStatus>>,
    mailbox: Arc<Mailbox>,
}

impl Supervisor {
    /// Starts every sink; never fails, since a sink that can't start is tried again for ever.
    pub fn start(plans: Vec<Plan>) -> Self {
        Self::start_telling(plans, &Arc::default())
    }

    /// The same; what happens is told to `journal`.
    pub fn start_telling(plans: Vec<Plan>, journal: &Arc<Journal>) -> Self {
        let sinks: Vec<_> = plans
            .into_iter()
            .map(|plan| Arc::new(SinkHandle::new(plan, journal.clone())))
            .collect();
        let threads = sinks.iter().flat_map(|sink| {
            (0..sink.workers.len()).filter_map(|worker| {
                let (sink, name) = (sink.clone(), format!("{}-{worker}", sink.plan.name));
                let run = move || sink.supervise(worker);
                match thread::Builder::new().name(name.clone()).spawn(run) {
                    Ok(thread) => Some(thread),
                    Err(why) => {
                        error!(sink = name, "no thread for the worker: {why}");
                        None
                    }
                }
            })
        });
        let threads = Mutex::new(threads.collect());
        Supervisor { sinks, threads }
    }

    /// Tells every worker to drain, commit and leave, by `deadline` at the latest.
    pub fn shut_down(&self, deadline: Instant) {
        for worker in self.sinks.iter().flat_map(|sink| &sink.workers) {
            worker.mailbox.send(Command::ShutDown(deadline));
        }
    }

    /// Waits for the workers until `deadline`; whether all of them ended, with everything committed.
    pub fn join(&self, deadline: Instant) -> bool {
        let threads = std::mem::take(&mut *unpoisoned(&self.threads));
        let mut clean = true;
        for thread in threads {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            clean &= thread.is_finished() && thread.join().unwrap_or(false);
        }
        clean
    }

    /// Every sink, as it is now.
    pub fn status(&self) -> Vec<SinkStatus> {
        self.sinks.iter().map(|sink| sink.status()).collect()
    }

    /// Releases a quarantined partition, on a person's word.
    pub fn release_quarantine(&self, sink: &str, partition: &TopicPartition) -> Result<(), Error> {
        let handle = self.named(sink)?;
        let mut answer = Err(Error::rejected(format!(
            "{partition} isn't held by this process"
        )));
        for worker in &handle.workers {
            let holds = lock(&worker.status).partitions.iter().any(|held| {
                *held.topic == *partition.topic && held.partition == partition.partition
            });
            if holds {
                answer = worker.ask_release(partition);
            }
        }
        answer
    }
}

impl Supervisor {
    /// Pauses a sink, or lets it go on, on a person's word, until the process ends. When this returns a paused sink's
    /// workers take no record any more.
    ///
    /// # Errors
    /// Nobody has that name; or the process ends, or a worker doesn't answer within 5 s (it heeds it later).
    pub fn set_paused(&self, sink: &str, paused: bool) -> Result<(), Error> {
        let handle = self.named(sink)?;
        let is_ending = |worker: &WorkerHandle| worker.mailbox.is_shutting_down();
        if handle.workers.iter().any(is_ending) {
            return Err(Error::unavailable("the process is stopping"));
        }
        handle.set_paused(paused)
    }

    fn named(&self, sink: &str) -> Result<&SinkHandle, Error> {
        let handle = self.sinks.iter().find(|handle| &*handle.plan.name == sink);
        handle.map(|handle| &**handle).ok_or_else(|| {
            let names: Vec<_> = self.sinks.iter().map(|handle| &*handle.plan.name).collect();
            let names = names.join(", ");
            Error::rejected(format!("no sink is named {sink:?}; there are: {names}"))
        })
    }
}

impl WorkerHandle {
    fn new(worker: usize) -> Self {
        let status = WorkerStatus {
            worker,
            state: "starting".to_owned(),
            ..Default::default()
        };
        WorkerHandle {
            status: Arc::new(Mutex::new(status)),
            mailbox: Arc::default(),
        }
    }

    fn ask_release(&self, partition: &TopicPartition) -> Result<(), Error> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.mailbox
            .send(Command::Release(partition.clone(), reply));
        let answer = answer.recv_timeout(ANSWER);
        answer.map_err(|_| Error::unavailable("the worker doesn't answer; try again"))?
    }

    fn show(&self, state: &str, reason: Option<String>) {
        let mut status = lock(&self.status);
        status.state = state.to_owned();
        status.reason = reason;
        status.partitions.clear();
        // The client that said it is gone.
        status.kafka_error = None;
        status.kafka_needs_a_person = false;
    }

    /// Waits before a restart; `true` if the process ends meanwhile.
    fn ends_within(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while let Some(command) = self
            .mailbox
            .receive(until.saturating_duration_since(Instant::now()))
        {
            match command {
                Command::ShutDown(_) => return true,
                Command::Release(partition, reply) => {
                    let answer = format!("{partition} isn't held: the worker isn't running");
                    let _ = reply.try_send(Err(Error::unavailable(answer)));
                }
                // It takes nothing now, and looks when it starts.
                Command::Heed(reply) => {
                    let _ = reply.try_send(());
                }
            }
        }
        false
    }
}

impl SinkHandle {
    fn new(plan: Plan, journal: Arc<Journal>) -> Self {
        let workers = (0..plan.workers).map(WorkerHandle::new).collect();
        SinkHandle {
            plan,
            connector: Mutex::new(None),
            paused_since: Mutex::new(None),
            workers,
            journal,
        }
    }

    fn set_paused(&self, paused: bool) -> Result<(), Error> {
        let sink = &*self.plan.name;
        let (reply, heeded) = mpsc::sync_channel(self.workers.len());
        {
            // Held over all workers, so that they are told the same.
            let mut since = unpoisoned(&self.paused_since);
            match (*since, paused) {
                (None, true) => {
                    *since = Some(unix_ms());
                    info!(sink, "paused by request: no records are taken");
                }
                (Some(before), false) => {
                    *since = None;
                    let seconds = (unix_ms() - before).max(0) / 1_000;
                    info!(sink, "resumed by request, after {seconds} s");
                }
                _ => {}
            }
            for worker in &self.workers {
                worker.mailbox.set_paused(paused, reply.clone());
            }
        }
        let until = Instant::now() + ANSWER;
        for _ in &self.workers {
            let left = until.saturating_duration_since(Instant::now());
            heeded.recv_timeout(left).map_err(|_| {
                Error::unavailable("a worker doesn't answer yet; it will heed it when it does")
            })?;
        }
        Ok(())
    }

    /// Runs one worker until a shutdown; restarts it after whatever else ends it but a fence. Whether it ended clean.
    fn supervise(&self, worker: usize) -> bool {
        let handle = &self.workers[worker];
        let sink = &*self.plan.name;
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let why = match catch_unwind(AssertUnwindSafe(|| self.run_once(worker))) {
                Ok(Ok(Exit::ShutDown { clean })) => {
                    handle.show("stopped", None);
                    info!(sink, worker, clean, "stopped");
                    return clean;
                }
                Ok(Ok(Exit::Fatal(why)) | Err(why)) => why,
                Err(_) => Error::unavailable(
                    "the worker panicked, which is a defect of outflow: please report it, with the lines \
                     above; nothing is lost, the work is read again",
                ),
            };
            if handle.mailbox.is_shutting_down() {
                // Not back into the group: another may have our place already.
                error!(sink, worker, "failed while shutting down: {why}");
                handle.show("stopped", None);
                return false;
            }
            if why.kind == Kind::Fenced {
                // Coming back would fence the other, which would come back in turn, for ever.
                error!(sink, worker, "fenced, not restarting: {why}");
                handle.show("fenced", Some(why.to_string()));
                while !handle.ends_within(LONG) {}
                handle.show("stopped", None);
                return false;
            }
            if started.elapsed() > Duration::from_secs(60) {
                backoff.reset();
            }
            let delay = backoff.next_delay(why.retry_after);
            self.plan.metrics.worker_restarts.inc();
            error!(sink, worker, "restarting in {delay:.1?}: {why}");
            handle.show("restarting", Some(why.to_string()));
            if handle.ends_within(delay) {
                handle.show("stopped", None);
                return false;
            }
        }
    }

    fn run_once(&self, worker: usize) -> Result<Exit, Error> {
        let plan = &self.plan;
        let connector = self.connector()?;
        let source = plan.makers.source(worker)?;
        let parts = Parts {
            sink: connector.worker(worker, waker_of_this_thread(&*source)),
            connector,
            source,
            dead_letters: plan.makers.dead_letters(worker)?,
            rules: plan.rules.clone(),
            metrics: plan.metrics.clone(),
            status: self.workers[worker].status.clone(),
            mailbox: self.workers[worker].mailbox.clone(),
        };
        let reporter = Reporter::new(plan.name.clone(), worker).telling(self.journal.clone());
        Ok(Worker::new(parts, reporter, Instant::now()).run())
    }

    /// The sink, made by whichever worker comes first.
    fn connector(&self) -> Result<Arc<dyn Connector>, Error> {
        let mut place = unpoisoned(&self.connector);
        match &*place {
            Some(connector) => Ok(connector.clone()),
            None => Ok(place.insert(self.plan.makers.connector()?).clone()),
        }
    }

    fn status(&self) -> SinkStatus {
        let connector = unpoisoned(&self.connector).clone();
        let health = connector
            .map(|connector| connector.health())
            .unwrap_or_default();
        let workers: Vec<_> = self
            .workers
            .iter()
            .map(|w| lock(&w.status).clone())
            .collect();
        let partitions = || workers.iter().flat_map(|worker| &worker.partitions);
        let lags: Vec<i64> = partitions().filter_map(|partition| partition.lag).collect();
        let paused_since = *unpoisoned(&self.paused_since);
        let (state, reason) = sum_up(&self.plan.name, paused_since, &health, &workers);
        SinkStatus {
            name: self.plan.name.to_string(),
            kind: self.plan.kind,
            group: (!self.plan.rules.fixed).then(|| self.plan.rules.group.to_string()),
            state,
            reason,
            paused: paused_since.is_some(),
            lag: (!lags.is_empty()).then(|| lags.iter().sum()),
            totals: totals(&self.plan.metrics),
            verdict: None,
            health,
            workers,
        }
    }
}

fn totals(metrics: &SinkMetrics) -> Totals {
    Totals {
        records: metrics.records.get(),
        acked_records: metrics.acked_records.get(),
        dead_letters: metrics.dead_letters.get(),
    }
}
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
