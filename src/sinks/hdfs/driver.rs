//! Performs what a partition's commit log decides, and brings back what came of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::client::Hdfs;
use super::log::{Action, Commit, CommitLog, Event, Opening, Outcome};
use crate::backoff::{Backoff, Policy};
use crate::error::Error;
use crate::offsets::Range;
use crate::sinks::circuit::CircuitHandle;
use crate::status::CircuitState;

/// Between tries: short enough to be back within 5 s of HDFS' return.
pub const RETRY: Policy = Policy::new(Duration::from_millis(200), Duration::from_secs(3));

/// How an opening ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nobody wants it any more.
    Closed,
    /// Open again and read again from the last commit.
    Rewind(Error),
    /// A person is needed.
    Stopped(Error),
    /// Another owner has the partition.
    Fenced(Error),
}

/// Tells a task that its partition was closed: the other end is dropped.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<()>);

/// Dropping it stops the task.
#[derive(Debug)]
pub struct Lifeline(#[expect(dead_code, reason = "held for its drop")] watch::Sender<()>);

impl Stop {
    /// A stop and what holds it back.
    pub fn new() -> (Lifeline, Stop) {
        let (tx, rx) = watch::channel(());
        (Lifeline(tx), Stop(rx))
    }

    /// Whether the partition was closed.
    pub fn is_set(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Waits until the partition is closed.
    pub async fn set(&mut self) {
        while self.0.changed().await.is_ok() {}
    }

    /// Does `work` unless the partition is closed first. Only for work that may be dropped half way.
    pub async fn or<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        tokio::select! {
            () = self.set() => Err(End::Closed),
            done = work => Ok(done),
        }
    }
}

/// Waits after failures: a while, and then until the circuit is closed.
#[derive(Debug)]
pub struct Patience {
    circuit: CircuitHandle,
    backoff: Backoff,
    stop: Stop,
}

impl Patience {
    /// Nothing has failed yet.
    pub fn new(circuit: CircuitHandle, stop: Stop) -> Self {
        Patience {
            circuit,
            backoff: Backoff::new(RETRY),
            stop,
        }
    }

    /// Something worked.
    pub fn succeeded(&mut self) {
        self.circuit.succeeded();
        self.backoff.reset();
    }

    /// Something failed on HDFS' side: the circuit is told.
    pub fn failed(&self, why: &Error) {
        self.circuit.failed(why);
    }

    /// Waits before the next try.
    pub async fn wait(&mut self, why: &Error) -> Result<(), End> {
        let delay = self.backoff.next_delay(why.retry_after);
        self.stop.or(tokio::time::sleep(delay)).await?;
        self.wait_until_closed().await
    }

    /// Waits until the circuit is closed.
    pub async fn wait_until_closed(&mut self) -> Result<(), End> {
        let mut states = self.circuit.subscribe();
        let closed = async {
            // An error would mean that the circuit is gone, and with it the reason to wait.
            let _ = states
                .wait_for(|state| *state == CircuitState::Closed)
                .await;
        };
        self.stop.or(closed).await
    }
}

/// A partition's commit log and the access that it is driven on.
pub struct Driver {
    log: CommitLog,
    hdfs: Arc<Hdfs>,
    patience: Patience,
    stop: Stop,
    resume: Option<i64>,
}

impl Driver {
    /// A log that isn't open yet.
    pub fn new(opening: Opening, hdfs: Arc<Hdfs>, patience: Patience, stop: Stop) -> Self {
        Driver {
            log: CommitLog::new(opening),
            hdfs,
            patience,
            stop,
            resume: None,
        }
    }

    /// Opens the log, through an outage of any length: the next offset to read.
    pub async fn open(&mut self) -> Result<i64, End> {
        self.drive(Event::Open, &mut |_| ()).await?;
        self.resume.ok_or_else(|| lost_its_way("opening"))
    }

    /// Commits; `committed` is called as soon as the range is final, before any housekeeping.
    pub async fn commit(
        &mut self,
        commit: Commit,
        committed: &mut (dyn FnMut(Range) + Send),
    ) -> Result<(), End> {
        let end = commit.range.end;
        self.drive(Event::Commit(commit), committed).await?;
        if self.log.end() >= end {
            Ok(())
        } else {
            Err(lost_its_way("committing"))
        }
    }

    /// The partition's log, in which the owner's folder stands.
    pub fn log_folder(&self) -> String {
        self.log.partition_folder()
    }

    /// The owner's folder.
    pub fn folder(&self) -> &str {
        self.log.folder()
    }

    /// Performs what follows from `event`, until there is nothing more to do.
    async fn drive(
        &mut self,
        event: Event,
        committed: &mut (dyn FnMut(Range) + Send),
    ) -> Result<(), End> {
        let mut actions = VecDeque::from(self.log.step(event));
        while let Some(action) = actions.pop_front() {
            if self.stop.is_set() {
                return Err(End::Closed);
            }
            let event = match action {
                Action::Call { id, call } => {
                    tracing::trace!(?call, "commit log");
                    let outcome = self.hdfs.perform(call).await;
                    match &outcome {
                        Outcome::Refused(why) | Outcome::Unknown(why) => self.patience.failed(why),
                        _ => self.patience.succeeded(),
                    }
                    Event::Answer { id, outcome }
                }
                Action::Backoff { why } => {
                    tracing::debug!("the commit log waits: {why}");
                    self.patience.wait(&why).await?;
                    Event::Retry
                }
                Action::Opened { resume } => {
                    self.resume = Some(resume);
                    continue;
                }
                Action::Committed { range } => {
                    committed(range);
                    continue;
                }
                Action::Rewind { why } => return Err(End::Rewind(why)),
                Action::Stopped { why } => return Err(End::Stopped(why)),
                Action::Fenced { why } => return Err(End::Fenced(why)),
            };
            actions.extend(self.log.step(event));
        }
        Ok(())
    }
}

fn lost_its_way(doing: &str) -> End {
    End::Rewind(Error::unavailable(format!(
        "the commit log ended {doing} without saying how; it is opened again"
    )))
}
