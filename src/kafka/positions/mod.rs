//! The positions of fixed partitions, where neither a group nor the sink keeps them: one small file a sink, in
//! `state_dir`.
//!
//! The file is replaced whole and made durable before a commit is answered, on a thread of its own, so that a
//! slow disk never holds up a worker. Commits are written in the order in which they were asked for; those that
//! wait are written together. A lock keeps a second process of this machine away.

mod file;
mod lock;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::file_lock::FileLock;
pub use file::{Positions, path};
#[doc(hidden)] // for tests/fuzz.rs
pub use file::{parse, print};

use crate::error::Error;
use crate::offsets::TopicPartition;
use crate::pipeline::source::{Commit, Committed};

/// How long a write that is under way is waited for when the store is dropped.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Reads the positions of `sink` without taking the lock, whoever is writing them; `None` if there are none yet.
pub fn read(state_dir: &Path, sink: &str) -> Result<Option<Positions>, Error> {
    file::read(&path(state_dir, sink))
}

/// The pid of the process that keeps the positions of `sink` at this moment, if one does.
pub fn holder(state_dir: &Path, sink: &str) -> Result<Option<String>, Error> {
    lock::holder(state_dir, sink)
}

/// Called once the commit is durable, or isn't.
type Answer = Box<dyn FnOnce(Result<(), Error>) + Send>;

struct Job {
    commits: Vec<Commit>,
    answer: Answer,
}

/// The positions of a sink, held under the lock. Shared by the sink's workers.
pub struct PositionStore {
    path: PathBuf,
    kept: Arc<Mutex<Positions>>,
    /// `None` only while it is dropped.
    jobs: Option<Sender<Job>>,
    /// Disconnects when the writing thread has ended and let go of the lock.
    ended: Mutex<Receiver<()>>,
}

impl PositionStore {
    /// Takes the lock and reads what is there. Fails if another process has it, or if the file is damaged.
    pub fn open(state_dir: &Path, sink: &str) -> Result<Self, Error> {
        let lock = lock::take(state_dir, sink)?;
        let path = path(state_dir, sink);
        let found = file::read(&path)?;
        let shown = path.display();
        match &found {
            Some(found) => {
                let partitions = found.partitions.len();
                tracing::info!(sink, "{partitions} positions are kept in {shown}");
            }
            None => tracing::info!(sink, "no positions yet; they will be kept in {shown}"),
        }
        let kept = Arc::new(Mutex::new(found.unwrap_or_default()));
        let (jobs, asked) = channel();
        let (alive, ended) = channel();
        let writer = Writer {
            path: path.clone(),
            kept: kept.clone(),
            _lock: lock,
            _alive: alive,
        };
        thread::Builder::new()
            .name(format!("{sink}-positions"))
            .spawn(move || writer.run(&asked))
            .map_err(|why| Error::unavailable(format!("no thread to write positions: {why}")))?;
        Ok(PositionStore {
            path,
            kept,
            jobs: Some(jobs),
            ended: Mutex::new(ended),
        })
    }

    /// Where they are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Binds a new file to this cluster; refuses one that is another's. To be called before anything is written.
    pub fn belongs_to(&self, cluster_id: &str) -> Result<(), Error> {
        let mut kept = unpoisoned(&self.kept);
        match &kept.cluster_id {
            Some(known) if known != cluster_id => Err(Error::misconfigured(format!(
                "the positions in {} are of cluster {known}, and kafka.bootstrap_servers leads to {cluster_id}: \
                 correct that, or move the file away to begin anew; then start outflow again",
                self.path.display()
            ))),
            Some(_) => Ok(()),
            None => {
                kept.cluster_id = Some(cluster_id.to_owned());
                Ok(())
            }
        }
    }

    /// Everything that is kept.
    pub fn positions(&self) -> Positions {
        unpoisoned(&self.kept).clone()
    }

    /// Where a partition stands, if that is known.
    pub fn position(&self, partition: &TopicPartition) -> Option<Committed> {
        unpoisoned(&self.kept).partitions.get(partition).cloned()
    }

    /// Keeps these, without waiting; `answer` is called on the writing thread once they are durable, or aren't.
    pub fn submit(
        &self,
        commits: Vec<Commit>,
        answer: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        let answer = Box::new(answer);
        let sent = match &self.jobs {
            Some(jobs) => jobs.send(Job { commits, answer }).map_err(|back| back.0),
            None => Err(Job { commits, answer }),
        };
        if let Err(job) = sent {
            (job.answer)(Err(gone()));
        }
    }

    /// Keeps these, and waits until they are durable.
    pub fn set(&self, commits: Vec<Commit>) -> Result<(), Error> {
        let (done, answered) = channel();
        self.submit(commits, move |result| _ = done.send(result));
        answered.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for PositionStore {
    /// The lock is free afterwards, unless the disk hangs.
    fn drop(&mut self) {
        self.jobs = None;
        let _ = unpoisoned(&self.ended).recv_timeout(LAST_WRITE);
    }
}

impl std::fmt::Debug for PositionStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PositionStore").field(&self.path).finish()
    }
}

/// The thread that writes.
struct Writer {
    path: PathBuf,
    /// What is durable.
    kept: Arc<Mutex<Positions>>,
    _lock: FileLock,
    _alive: Sender<()>,
}

impl Writer {
    fn run(self, asked: &Receiver<Job>) {
        while let Ok(first) = asked.recv() {
            let jobs: Vec<Job> = std::iter::once(first).chain(asked.try_iter()).collect();
            let result = self.keep(jobs.iter().flat_map(|job| &job.commits));
            for job in jobs {
                (job.answer)(result.clone());
            }
        }
    }

    /// Later commits win over earlier ones.
    fn keep<'a>(&self, commits: impl Iterator<Item = &'a Commit>) -> Result<(), Error> {
        let before = unpoisoned(&self.kept).clone();
        let mut next = before.clone();
        for commit in commits {
            let position = Committed {
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata: commit.metadata.clone(),
            };
            next.partitions.insert(commit.partition.clone(), position);
        }
        if next.partitions == before.partitions {
            return Ok(());
        }
        file::write(&self.path, &next).map_err(|why| {
            Error::unavailable(format!(
                "positions can't be written to {}: {why}; mend the disk or its rights. Nothing is lost: what \
                 isn't kept is read again after a restart",
                self.path.display()
            ))
        })?;
        unpoisoned(&self.kept).partitions = next.partitions;
        Ok(())
    }
}

fn gone() -> Error {
    Error::unavailable("the thread that writes positions is gone")
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
