//! One process at a time keeps a sink's positions.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::super::file_lock::{self, FileLock, Refused};
use crate::error::Error;

fn path(state_dir: &Path, sink: &str) -> PathBuf {
    state_dir.join(format!("{sink}.positions.lock"))
}

pub(super) fn take(state_dir: &Path, sink: &str) -> Result<FileLock, Error> {
    let path = path(state_dir, sink);
    let shown = path.display();
    FileLock::take(&path).map_err(|refused| match refused {
        Refused::Held(pid) => Error::misconfigured(format!(
            "another process (pid {pid}) keeps the positions of sink {sink}: it holds {shown}. Stop it, or give \
             this one another name or state_dir, and partitions of its own"
        )),
        Refused::Failed(why) if why.kind() == ErrorKind::NotFound => Error::misconfigured(format!(
            "state_dir {} isn't there: create it, for the user that outflow runs as; if it is a volume, mount it",
            state_dir.display()
        )),
        Refused::Failed(why) => Error::misconfigured(format!(
            "{shown} can't be written and locked: {why}; state_dir must belong to the user that outflow runs as, \
             on a file system that knows locks"
        )),
    })
}

/// The process that keeps the positions of `sink` at this moment, by its pid.
pub(super) fn holder(state_dir: &Path, sink: &str) -> Result<Option<String>, Error> {
    let path = path(state_dir, sink);
    file_lock::holder(&path).map_err(|why| {
        Error::misconfigured(format!("{} can't be looked at: {why}", path.display()))
    })
}
