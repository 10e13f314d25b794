//! A lock that one process of this machine has at a time.
//!
//! The lock is the operating system's, on an open file, so it goes when its process does, however it ends. The
//! file stays, and tells who has the lock. Another machine that shares the folder (NFS) may not see it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

/// Held for as long as it lives.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

/// Why a lock can't be had.
#[derive(Debug)]
pub(super) enum Refused {
    /// The process with this pid has it (`unknown` if it hasn't noted that yet).
    Held(String),
    /// The file can't be opened, locked or written.
    Failed(io::Error),
}

impl FileLock {
    /// Takes the lock, without waiting. The folder must be there.
    pub fn take(path: &Path) -> Result<Self, Refused> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let (mut file, may_note) = match opened {
            Ok(file) => (file, true),
            // Another user has made it, root by a command perhaps; it can be locked all the same.
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
                (File::open(path).map_err(|_| Refused::Failed(why))?, false)
            }
            Err(why) => return Err(Refused::Failed(why)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Refused::Held(noted(path))),
            Err(TryLockError::Error(why)) => return Err(Refused::Failed(why)),
        }
        if may_note {
            // For whoever comes second.
            file.set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id()))
                .map_err(Refused::Failed)?;
        }
        Ok(FileLock { _file: file })
    }
}

/// Who has the lock at this moment, by the pid that is noted; takes it for an instant to find out.
pub(super) fn holder(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(why),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(noted(path))),
        Err(TryLockError::Error(why)) => Err(why),
    }
}

fn noted(path: &Path) -> String {
    let pid = std::fs::read_to_string(path).unwrap_or_default();
    match pid.trim() {
        "" => "unknown".to_owned(),
        pid => pid.to_owned(),
    }
}
