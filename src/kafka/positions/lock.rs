//! One process at a time keeps a sink's positions. The system lets go of the lock however the process ends.
//! It holds on this machine: another machine that shares the folder (NFS) may not see it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Held for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

fn path(state_dir: &Path, sink: &str) -> PathBuf {
    state_dir.join(format!("{sink}.positions.lock"))
}

impl Lock {
    pub fn take(state_dir: &Path, sink: &str) -> Result<Self, Error> {
        let path = path(state_dir, sink);
        let shown = path.display();
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = opened.map_err(|why| match why.kind() {
            ErrorKind::NotFound => Error::misconfigured(format!(
                "state_dir {} isn't there: create it, for the user that outflow runs as; if it is a volume, \
                 mount it",
                state_dir.display()
            )),
            _ => Error::misconfigured(format!(
                "{shown} can't be written: {why}; state_dir must belong to the user that outflow runs as"
            )),
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = holding(&path);
                return Err(Error::misconfigured(format!(
                    "another process (pid {process}) keeps the positions of sink {sink}: it holds {shown}. Stop \
                     it, or give this one another name or state_dir, and partitions of its own"
                )));
            }
            Err(TryLockError::Error(why)) => {
                return Err(Error::misconfigured(format!(
                    "{shown} can't be locked: {why}; put state_dir on a file system that knows locks"
                )));
            }
        }
        // For whoever comes second.
        let told = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(why) = told {
            tracing::debug!("{shown}: the pid isn't written: {why}");
        }
        Ok(Lock { _file: file })
    }
}

/// The process that keeps the positions of `sink` at this moment, by its pid as it has written it.
pub(super) fn holder(state_dir: &Path, sink: &str) -> Result<Option<String>, Error> {
    let path = path(state_dir, sink);
    let unreadable = |why: std::io::Error| {
        Error::misconfigured(format!("{} can't be looked at: {why}", path.display()))
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(unreadable(why)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(holding(&path))),
        Err(TryLockError::Error(why)) => Err(unreadable(why)),
    }
}

fn holding(path: &Path) -> String {
    let pid = std::fs::read_to_string(path).unwrap_or_default();
    match pid.trim() {
        "" => "unknown".to_owned(),
        pid => pid.to_owned(),
    }
}
