//! One open partition on the sink's runtime: opens its commit log, writes its temp files, commits.
//!
//! The worker's half decides what goes into which file and when a range is committed; it sends [`Command`]s,
//! which are done in order, and gets [`Happened`] back. A task ends when its commands end (the partition was
//! closed) or after the first failure; what it has open then goes to the reaper. Calls towards
//! HDFS are never dropped half way: each ends within its own timeout.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::budget::Chunk;
use super::client::Hdfs;
use super::driver::{Driver, End, Patience, Stop};
use super::failure::Failure;
use super::log::{Commit, FileEntry, names};
use super::writer::{Files, Reaper, TempFile};
use crate::error::Error;
use crate::metrics::SinkMetrics;
use crate::offsets::{Epoch, Range};
use crate::sinks::{Slot, Waker};

/// A file's number within its partition's opening.
pub type FileNumber = u64;

/// What the worker wants done.
#[derive(Debug)]
pub enum Command {
    /// Append this to a file, which is created by its first chunk.
    Write {
        /// Which file.
        file: FileNumber,
        /// Where its length so far is kept.
        written: Arc<AtomicU64>,
        /// What to append.
        chunk: Chunk,
    },
    /// Close these files and commit the range.
    Commit {
        /// What is committed.
        range: Range,
        /// The leader epoch of the last record.
        leader_epoch: i32,
        /// The files; all chunks of them were sent before.
        files: Vec<Cut>,
    },
}

/// A file that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Which file.
    pub file: FileNumber,
    /// Its final path, relative to the base.
    pub path: String,
    /// How many records it has.
    pub records: u64,
    /// The first offset in it.
    pub first: i64,
    /// The last offset in it.
    pub last: i64,
    /// Of replayed dead letters: their own offsets, in runs.
    pub origins: Vec<(i64, i64)>,
}

/// What came of it.
#[derive(Debug)]
pub enum Happened {
    /// The partition is open: read from here.
    Opened(i64),
    /// The range is final.
    Committed(Range),
    /// It is over.
    Ended(End),
}

/// The way back to the worker.
#[derive(Clone)]
pub struct Report {
    /// Which partition.
    pub slot: Slot,
    /// Which assignment of it.
    pub epoch: Epoch,
    /// The worker's end.
    pub tx: std::sync::mpsc::Sender<(Slot, Epoch, Happened)>,
    /// Makes the worker look.
    pub waker: Waker,
}

impl Report {
    fn say(&self, happened: Happened) {
        // A worker that is gone doesn't want to know.
        let _ = self.tx.send((self.slot, self.epoch, happened));
        self.waker.wake();
    }
}

/// Says that the task is over, however it ends: a panic in the client is a failed write, not a stuck partition.
struct LastWord {
    report: Report,
    end: Option<End>,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        let end = self.end.take().unwrap_or_else(|| {
            let what = "the task that writes this partition ended unexpectedly; it is opened again";
            End::Rewind(Error::unavailable(what))
        });
        if end != End::Closed {
            self.report.say(Happened::Ended(end));
        }
    }
}

/// The task of one partition.
pub struct PartitionTask {
    /// Its commit log.
    pub driver: Driver,
    /// What files need.
    pub files: Files,
    /// Waits after failures of files.
    pub patience: Patience,
    /// The owner's id: part of the temp files' names.
    pub owner: String,
    /// How long to wait before opening, after earlier failures.
    pub delay: Duration,
    /// Ends it.
    pub stop: Stop,
    /// The way back.
    pub report: Report,
    /// What is counted.
    pub metrics: SinkMetrics,
}

impl PartitionTask {
    /// Runs until the partition is closed or something fails.
    pub async fn run(self, commands: mpsc::UnboundedReceiver<Command>) {
        let mut last_word = LastWord {
            report: self.report.clone(),
            end: None,
        };
        let (hdfs, log) = (Arc::clone(&self.files.hdfs), self.driver.log_folder());
        let end = self.work(commands).await.err();
        last_word.end = Some(match end {
            Some(End::Fenced(why)) => End::Fenced(name_owner(&hdfs, &log, why).await),
            Some(end) => end,
            None => End::Closed,
        });
    }

    async fn work(mut self, commands: mpsc::UnboundedReceiver<Command>) -> Result<(), End> {
        self.stop.or(tokio::time::sleep(self.delay)).await?;
        self.patience.wait_until_closed().await?;
        let resume = self.driver.open().await?;
        self.report.say(Happened::Opened(resume));
        let folder = self.driver.folder().to_owned();
        let (jobs, closed_ranges) = mpsc::unbounded_channel();
        let mut committing = Committing {
            driver: self.driver,
            reaper: self.files.reaper.clone(),
            folder: folder.clone(),
            stop: self.stop.clone(),
            report: self.report,
            metrics: self.metrics.clone(),
        };
        let writing = Writing {
            files: self.files,
            patience: self.patience,
            owner: self.owner,
            folder,
            stop: self.stop,
            metrics: self.metrics,
            next_temp: 0,
            open: HashMap::new(),
        };
        // A range's entry is written while the next range's files are: that saves half of a small file's time.
        // Files are closed before others are opened, so a partition never has more open than one range has.
        let (written, committed) =
            tokio::join!(writing.run(commands, jobs), committing.run(closed_ranges));
        // What the log says is the better reason.
        committed.and(written)
    }
}

/// A range whose files are closed.
struct Job {
    commit: Commit,
    began: Instant,
    in_flight: InFlight,
}

/// Writes and closes files.
struct Writing {
    files: Files,
    patience: Patience,
    owner: String,
    folder: String,
    stop: Stop,
    metrics: SinkMetrics,
    next_temp: u64,
    open: HashMap<FileNumber, TempFile>,
}

impl Writing {
    async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        jobs: mpsc::UnboundedSender<Job>,
    ) -> Result<(), End> {
        let result = self.obey(&mut commands, &jobs).await;
        for (_, file) in self.open {
            self.files.reaper.file(file);
        }
        result
    }

    async fn obey(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        jobs: &mpsc::UnboundedSender<Job>,
    ) -> Result<(), End> {
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                // The commits have come to an end, and say why.
                () = jobs.closed() => None,
            };
            let Some(command) = command.filter(|_| !self.stop.is_set()) else {
                return Ok(());
            };
            match command {
                Command::Write {
                    file,
                    written,
                    chunk,
                } => self.write(file, written, chunk).await?,
                Command::Commit {
                    range,
                    leader_epoch,
                    files,
                } => {
                    let (began, in_flight) = (Instant::now(), InFlight::new(&self.metrics));
                    let files = self.close_all(files).await?;
                    let commit = Commit {
                        range,
                        leader_epoch,
                        files,
                    };
                    let job = Job {
                        commit,
                        began,
                        in_flight,
                    };
                    if let Err(refused) = jobs.send(job) {
                        throw_away(&self.files.reaper, &self.folder, &refused.0.commit);
                    }
                }
            }
        }
    }

    async fn write(
        &mut self,
        file: FileNumber,
        written: Arc<AtomicU64>,
        chunk: Chunk,
    ) -> Result<(), End> {
        if !self.open.contains_key(&file) {
            let temp = self.create(written).await?;
            self.open.insert(file, temp);
        }
        let Some(temp) = self.open.get_mut(&file) else {
            return Ok(());
        };
        match self.files.write(temp, chunk).await {
            Ok(bytes) => {
                self.metrics.written_bytes.inc_by(bytes);
                Ok(())
            }
            Err(why) => Err(self.lost(why).await),
        }
    }

    /// Creates a temp file under a name that was never used, as often as it takes.
    async fn create(&mut self, written: Arc<AtomicU64>) -> Result<TempFile, End> {
        loop {
            let name = names::temp(&self.owner, self.next_temp);
            self.next_temp += 1;
            let created = self.files.create(&self.folder, name, Arc::clone(&written));
            let failure = match created.await {
                Ok(file) => {
                    self.patience.succeeded();
                    return Ok(file);
                }
                Err(failure) => failure,
            };
            if let Failure::NotFound(_) = failure {
                return Err(fenced(&self.folder));
            }
            let why = failure.into_error();
            self.count_retry("create");
            self.patience.failed(&why);
            self.patience.wait(&why).await?;
        }
    }

    /// Closes the files at once: each waits for the DataNodes' reports.
    async fn close_all(&mut self, cuts: Vec<Cut>) -> Result<Vec<FileEntry>, End> {
        let mut closing = JoinSet::new();
        let mut failed = None;
        for cut in cuts {
            let Some(mut temp) = self.open.remove(&cut.file) else {
                let what = format!("file {} of {} was never written", cut.file, cut.path);
                failed = Some(Error::unavailable(what));
                continue;
            };
            let files = self.files.clone();
            closing.spawn(async move {
                let closed = files.close(&mut temp).await;
                (cut, temp, closed)
            });
        }
        let (mut entries, mut temps) = (Vec::new(), Vec::new());
        while let Some(joined) = closing.join_next().await {
            match joined {
                Ok((cut, temp, Ok(bytes))) => {
                    entries.push(entry(cut, temp.name(), bytes));
                    temps.push(temp);
                }
                Ok((_, temp, Err(why))) => {
                    failed = Some(why);
                    temps.push(temp);
                }
                Err(_) => failed = Some(Error::unavailable("closing a file ended unexpectedly")),
            }
        }
        let Some(why) = failed else {
            entries.sort_by_key(|entry| entry.first);
            return Ok(entries);
        };
        for temp in temps {
            self.files.reaper.file(temp);
        }
        Err(self.lost(why).await)
    }

    /// A write failed: either the folder isn't ours any more, or the records are read and written again.
    async fn lost(&mut self, why: Error) -> End {
        if let Err(Failure::NotFound(_)) = self.files.hdfs.stat(&self.folder).await {
            return fenced(&self.folder);
        }
        self.count_retry("write");
        self.patience.failed(&why);
        End::Rewind(why)
    }

    fn count_retry(&self, what: &str) {
        self.metrics
            .retries
            .get_or_create(&SinkMetrics::reason(what))
            .inc();
    }
}

/// Commits what was closed, one range after another.
struct Committing {
    driver: Driver,
    reaper: Reaper,
    folder: String,
    stop: Stop,
    report: Report,
    metrics: SinkMetrics,
}

impl Committing {
    async fn run(&mut self, mut jobs: mpsc::UnboundedReceiver<Job>) -> Result<(), End> {
        let mut result = Ok(());
        while let Some(job) = jobs.recv().await {
            if result.is_ok() && self.stop.is_set() {
                result = Err(End::Closed);
            }
            if result.is_err() {
                throw_away(&self.reaper, &self.folder, &job.commit);
                continue;
            }
            result = self.commit(job).await;
            if result.is_err() {
                // What comes after can't be committed by this opening; whoever sends it is told.
                jobs.close();
            }
        }
        result
    }

    /// From here on the temp files are the log's.
    async fn commit(&mut self, job: Job) -> Result<(), End> {
        let (report, metrics) = (&self.report, &self.metrics);
        let num_files = job.commit.files.len() as u64;
        let num_records = job.commit.files.iter().map(|file| file.records).sum();
        let mut committed = |range| {
            metrics.batches.inc_by(num_files);
            metrics.acked_records.inc_by(num_records);
            metrics
                .write_seconds
                .observe(job.began.elapsed().as_secs_f64());
            report.say(Happened::Committed(range));
        };
        let result = self.driver.commit(job.commit, &mut committed).await;
        drop(job.in_flight);
        result
    }
}

/// Deletes closed temp files that no entry will name.
fn throw_away(reaper: &Reaper, folder: &str, commit: &Commit) {
    for file in &commit.files {
        reaper.delete(format!("{folder}/{}", file.temp));
    }
}

fn fenced(folder: &str) -> End {
    End::Fenced(Error::fenced(format!(
        "{folder} isn't there any more: another owner has taken the partition"
    )))
}

/// Says who has the log now, if that can be found out: the name of the owner's folder tells.
async fn name_owner(hdfs: &Hdfs, log: &str, why: Error) -> Error {
    let found = hdfs.list(log).await.unwrap_or_default();
    let owner = found
        .iter()
        .find_map(|child| names::OwnerFolder::parse(&child.name));
    match owner {
        Some(owner) => Error::fenced(format!(
            "{why}; its owner is {} now (host, process, start), in epoch {}",
            owner.owner, owner.epoch
        )),
        None => why,
    }
}

fn entry(cut: Cut, temp: &str, bytes: u64) -> FileEntry {
    FileEntry {
        temp: temp.to_owned(),
        path: cut.path,
        records: cut.records,
        bytes,
        first: cut.first,
        last: cut.last,
        origins: cut.origins,
    }
}

/// Counts a commit while it is under way.
struct InFlight(prometheus_client::metrics::gauge::Gauge);

impl InFlight {
    fn new(metrics: &SinkMetrics) -> Self {
        metrics.in_flight.inc();
        InFlight(metrics.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
