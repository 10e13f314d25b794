//! A file's lines, as hashes, as many as are wanted.

use tokio::runtime::Runtime;

use super::super::diff::{Differ, hash};
use crate::error::Error;
use crate::sinks::hdfs::reading::{DataFile, Unread};

/// The lines of a file, as hashes.
pub(super) struct Reader {
    file: DataFile,
    /// The line that isn't whole yet.
    rest: Vec<u8>,
    piece: Vec<u8>,
    at: usize,
    /// Why it can't be read on.
    pub damage: Option<String>,
}

impl Reader {
    pub fn new(file: DataFile) -> Self {
        Reader {
            file,
            rest: Vec::new(),
            piece: Vec::new(),
            at: 0,
            damage: None,
        }
    }

    /// Gives as many lines as are wanted.
    pub fn feed(&mut self, differ: &mut Differ, runtime: &Runtime) -> Result<(), Error> {
        while differ.wants_line() {
            let piece = self.piece.get(self.at..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', piece) {
                let line = piece.get(..end).unwrap_or_default();
                match self.rest.is_empty() {
                    true => differ.line(hash(line)),
                    false => {
                        self.rest.extend_from_slice(line);
                        differ.line(hash(&self.rest));
                        self.rest.clear();
                    }
                }
                self.at += end + 1;
                continue;
            }
            self.rest.extend_from_slice(piece);
            self.at = 0;
            match runtime.block_on(self.file.next()) {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => {
                    // A last line without its line break was cut off.
                    if !self.rest.is_empty() {
                        differ.line(hash(&self.rest));
                        self.rest.clear();
                    }
                    self.piece.clear();
                    differ.end_lines();
                }
                Err(Unread::Damaged(why)) => {
                    self.damage = Some(why);
                    self.piece.clear();
                    differ.end_lines();
                }
                Err(Unread::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }
}
