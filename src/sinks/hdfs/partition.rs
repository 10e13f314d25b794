//! One open partition on the sink's runtime: opens its commit log, writes its temp files, commits.
//!
//! The worker's half decides what goes into which file and when a range is committed; it sends [`Command`]s,
//! which are done one after another, and gets [`Happened`] back. A task ends when its commands end (the
//! partition was closed) or after the first failure; what it has open then goes to the reaper. Calls towards
//! HDFS are never dropped half way: each ends within its own timeout.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::budget::Chunk;
use super::driver::{Driver, End, Stop};
use super::failure::Failure;
use super::log::{Commit, FileEntry, names};
use super::writer::{Files, TempFile};
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
    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut last_word = LastWord {
            report: self.report.clone(),
            end: None,
        };
        let mut open = HashMap::new();
        let end = match self.work(&mut commands, &mut open).await {
            Ok(()) => End::Closed,
            Err(end) => end,
        };
        for (_, file) in open {
            self.files.reaper.file(file);
        }
        last_word.end = Some(end);
    }

    async fn work(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        open: &mut HashMap<FileNumber, TempFile>,
    ) -> Result<(), End> {
        self.stop.or(tokio::time::sleep(self.delay)).await?;
        self.driver.patience().wait_until_closed().await?;
        let resume = self.driver.open().await?;
        self.report.say(Happened::Opened(resume));
        let mut next_temp = 0;
        while let Some(command) = commands.recv().await {
            if self.stop.is_set() {
                break;
            }
            match command {
                Command::Write {
                    file,
                    written,
                    chunk,
                } => {
                    let temp = match open.entry(file) {
                        Entry::Occupied(temp) => temp.into_mut(),
                        Entry::Vacant(free) => {
                            free.insert(self.create(&mut next_temp, written).await?)
                        }
                    };
                    self.write(temp, chunk).await?;
                }
                Command::Commit {
                    range,
                    leader_epoch,
                    files,
                } => self.commit(range, leader_epoch, files, open).await?,
            }
        }
        Ok(())
    }

    /// Creates a temp file under a name that was never used, as often as it takes.
    async fn create(
        &mut self,
        next_temp: &mut u64,
        written: Arc<AtomicU64>,
    ) -> Result<TempFile, End> {
        loop {
            let name = names::temp(&self.owner, *next_temp);
            *next_temp += 1;
            let folder = self.driver.folder().to_owned();
            let failure = match self.files.create(&folder, name, Arc::clone(&written)).await {
                Ok(file) => {
                    self.driver.patience().succeeded();
                    return Ok(file);
                }
                Err(failure) => failure,
            };
            if let Failure::NotFound(_) = failure {
                return Err(fenced(&folder));
            }
            let why = failure.into_error();
            self.count_retry("create");
            self.driver.patience().failed(&why);
            self.driver.patience().wait(&why).await?;
        }
    }

    async fn write(&mut self, file: &mut TempFile, chunk: Chunk) -> Result<(), End> {
        match self.files.write(file, chunk).await {
            Ok(bytes) => {
                self.metrics.written_bytes.inc_by(bytes);
                Ok(())
            }
            Err(why) => Err(self.lost(why).await),
        }
    }

    async fn commit(
        &mut self,
        range: Range,
        leader_epoch: i32,
        cuts: Vec<Cut>,
        open: &mut HashMap<FileNumber, TempFile>,
    ) -> Result<(), End> {
        let began = Instant::now();
        let num_files = cuts.len() as u64;
        let _in_flight = InFlight::new(&self.metrics);
        let files = self.close_all(cuts, open).await?;
        // From here on the temp files are the log's.
        let commit = Commit {
            range,
            leader_epoch,
            files,
        };
        let (report, metrics) = (self.report.clone(), self.metrics.clone());
        let mut committed = move |range| {
            metrics.batches.inc_by(num_files);
            metrics.write_seconds.observe(began.elapsed().as_secs_f64());
            report.say(Happened::Committed(range));
        };
        self.driver.commit(commit, &mut committed).await
    }

    /// Closes the files at once: each waits about a third of a second for the DataNodes' reports.
    async fn close_all(
        &mut self,
        cuts: Vec<Cut>,
        open: &mut HashMap<FileNumber, TempFile>,
    ) -> Result<Vec<FileEntry>, End> {
        let mut closing = JoinSet::new();
        for cut in cuts {
            let Some(mut temp) = open.remove(&cut.file) else {
                let what = format!("file {} of {} was never written", cut.file, cut.path);
                return Err(End::Rewind(Error::unavailable(what)));
            };
            let files = self.files.clone();
            closing.spawn(async move {
                let closed = files.close(&mut temp).await;
                (cut, temp, closed)
            });
        }
        let (mut entries, mut temps, mut failed) = (Vec::new(), Vec::new(), None);
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
        let folder = self.driver.folder().to_owned();
        if let Err(Failure::NotFound(_)) = self.files.hdfs.stat(&folder).await {
            return fenced(&folder);
        }
        self.count_retry("write");
        self.driver.patience().failed(&why);
        End::Rewind(why)
    }

    fn count_retry(&self, what: &str) {
        self.metrics
            .retries
            .get_or_create(&SinkMetrics::reason(what))
            .inc();
    }
}

fn fenced(folder: &str) -> End {
    End::Fenced(Error::fenced(format!(
        "{folder} isn't there any more: another owner has taken the partition"
    )))
}

fn entry(cut: Cut, temp: &str, bytes: u64) -> FileEntry {
    FileEntry {
        temp: temp.to_owned(),
        path: cut.path,
        records: cut.records,
        bytes,
        first: cut.first,
        last: cut.last,
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
