//! Temp files: created, written, closed so that it is certain, or thrown away.
//!
//! An open file is never just dropped: what isn't wanted any more goes to the [`Reaper`], which deletes it and
//! closes it within a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::budget::{Budget, Chunk, FilePermit};
use super::client::{Hdfs, Unclosed, Writer};
use super::compress::Compressor;
use super::failure::Failure;
use crate::config::settings::Compression;
use crate::error::Error;

/// How long it is tried to find out whether a file is closed, before its records are read and written again.
const SETTLE_CLOSE: Duration = Duration::from_secs(30);

/// How long between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// When a file is deleted once more whose creation wasn't answered: the call may reach the NameNode late.
const LATE: [Duration; 3] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
];

/// One temp file, open.
pub struct TempFile {
    name: String,
    path: String,
    writer: Writer,
    compressor: Option<Compressor>,
    written: Arc<AtomicU64>,
    permit: FilePermit,
}

/// What all files of a worker share.
#[derive(Clone)]
pub struct Files {
    /// The access.
    pub hdfs: Arc<Hdfs>,
    /// What the worker holds.
    pub budget: Arc<Budget>,
    /// Where unwanted files go.
    pub reaper: Reaper,
    /// How files are compressed.
    pub compression: Compression,
}

impl Files {
    /// Creates the temp file `name` in `folder`. Its length so far is kept in `written`.
    pub async fn create(
        &self,
        folder: &str,
        name: String,
        written: Arc<AtomicU64>,
    ) -> Result<TempFile, Failure> {
        let path = format!("{folder}/{name}");
        let permit = self.budget.open_file();
        let compressor = Compressor::new(self.compression).map_err(|error| {
            let what = format!("can't start the compressor: {error}; look at sink.compression");
            Failure::Refused(Error::misconfigured(what))
        })?;
        match self.hdfs.create(&path).await {
            Ok(writer) => Ok(TempFile {
                name,
                path,
                writer,
                compressor: Some(compressor),
                written,
                permit,
            }),
            Err(failure) => {
                if let Failure::Unknown(_) = failure {
                    // It may be there, or come yet; the next opening finds it if we don't.
                    self.reaper.late(path);
                }
                Err(failure)
            }
        }
    }

    /// Compresses and writes a chunk.
    pub async fn write(&self, file: &mut TempFile, mut chunk: Chunk) -> Result<u64, Error> {
        let compressor = file.compressor.as_mut().ok_or_else(|| ended(&file.path))?;
        let data = compressor
            .push(chunk.take_data())
            .map_err(|error| broken(&file.path, &error))?;
        // Counted until the client has it: its own queue is part of what an open file costs.
        let result = self.put(file, data).await;
        drop(chunk);
        result
    }

    /// Ends the file: afterwards it is certainly closed, with the returned length.
    pub async fn close(&self, file: &mut TempFile) -> Result<u64, Error> {
        let compressor = file.compressor.take().ok_or_else(|| ended(&file.path))?;
        let rest = compressor
            .finish()
            .map_err(|error| broken(&file.path, &error))?;
        self.put(file, rest).await?;
        let bytes = file.written.load(Ordering::Relaxed);
        match self.hdfs.close(&mut file.writer, &file.path, bytes).await {
            Ok(()) => Ok(bytes),
            Err(Unclosed::Broken(why)) => Err(why),
            Err(Unclosed::Unclear(why)) => {
                self.settle_close(&file.path, bytes, why).await?;
                Ok(bytes)
            }
        }
    }

    async fn put(&self, file: &mut TempFile, data: Vec<u8>) -> Result<u64, Error> {
        let length = data.len() as u64;
        if length > 0 {
            self.hdfs
                .write(&mut file.writer, &file.path, data.into())
                .await?;
            file.written.fetch_add(length, Ordering::Relaxed);
        }
        Ok(length)
    }

    /// After an unclear close: the length alone proves nothing, the end of the lease's recovery does.
    async fn settle_close(&self, path: &str, bytes: u64, why: Error) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + SETTLE_CLOSE;
        while tokio::time::Instant::now() < deadline {
            match self.hdfs.recover_lease(path).await {
                Ok(true) => {
                    let found = self.hdfs.stat(path).await;
                    return match found {
                        Ok(status) if status.length as u64 == bytes => Ok(()),
                        Ok(status) => Err(Error::unavailable(format!(
                            "{path} was closed with {} of {bytes} bytes: its records are written again",
                            status.length
                        ))),
                        Err(failure) => Err(failure.into_error()),
                    };
                }
                Err(Failure::NotFound(why)) => return Err(why),
                Ok(false) | Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
        Err(why)
    }
}

impl TempFile {
    /// Its name within the log's folder.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn ended(path: &str) -> Error {
    Error::unavailable(format!("{path} has ended already"))
}

fn broken(path: &str, error: &std::io::Error) -> Error {
    Error::unavailable(format!("can't compress for {path}: {error}"))
}

/// Takes files that aren't wanted any more. Cheap to clone; ends when the last clone is gone and the work done.
#[derive(Debug, Clone)]
pub struct Reaper(mpsc::UnboundedSender<Waste>);

enum Waste {
    File(Box<TempFile>),
    Path(String),
    /// It may come yet.
    Late(String),
}

impl Reaper {
    /// A reaper on `runtime`. `patience` bounds the closing of one file.
    pub fn start(hdfs: Arc<Hdfs>, patience: Duration, runtime: &tokio::runtime::Handle) -> Self {
        let (tx, mut rx) = mpsc::unbounded_channel();
        runtime.spawn(async move {
            while let Some(waste) = rx.recv().await {
                // One by one would make an outage's worth of files wait for each other's timeouts.
                tokio::spawn(reap(Arc::clone(&hdfs), waste, patience));
            }
        });
        Reaper(tx)
    }

    /// Deletes a temp file and closes what is open of it.
    pub fn file(&self, file: TempFile) {
        // Without a runtime the process is ending; the next opening deletes it.
        let _ = self.0.send(Waste::File(Box::new(file)));
    }

    /// Deletes a temp file that is closed.
    pub fn delete(&self, path: String) {
        let _ = self.0.send(Waste::Path(path));
    }

    /// Deletes a temp file that may be there, or come yet. No file gets its name again.
    pub fn late(&self, path: String) {
        let _ = self.0.send(Waste::Late(path));
    }
}

async fn reap(hdfs: Arc<Hdfs>, waste: Waste, patience: Duration) {
    match waste {
        Waste::Path(path) => warn_of(&path, delete(&hdfs, &path).await),
        Waste::Late(path) => {
            let mut is_gone = delete(&hdfs, &path).await;
            for pause in LATE {
                tokio::time::sleep(pause).await;
                is_gone = delete(&hdfs, &path).await;
            }
            warn_of(&path, is_gone);
        }
        Waste::File(mut file) => {
            warn_of(&file.path, delete(&hdfs, &file.path).await);
            // It is deleted, so that the close fails at its end; what it is for is to let the DataNodes and the
            // client's own tasks go.
            let bytes = file.written.load(Ordering::Relaxed);
            let close = hdfs.close(&mut file.writer, &file.path, bytes);
            let _ = tokio::time::timeout(patience, close).await;
            drop(file.permit);
        }
    }
}

/// A few tries; whether it is gone.
async fn delete(hdfs: &Hdfs, path: &str) -> bool {
    for _ in 0..5 {
        match hdfs.delete(path, false).await {
            Ok(()) => return true,
            Err(failure) => {
                let why = failure.into_error();
                tracing::debug!(path, "a temp file isn't deleted yet: {why}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    false
}

/// What remains is deleted when the partition is opened next.
fn warn_of(path: &str, is_gone: bool) {
    if !is_gone {
        tracing::warn!(
            path,
            "a temp file stays until its partition is opened again"
        );
    }
}
