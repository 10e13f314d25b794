//! How a file is closed: by its client, or sooner.
//!
//! A file is complete once its last block is: the client says how long that block is (it *commits* it), and a
//! DataNode reports that it has it. hdfs-native asks at once, before the report, and again after half a second.
//! Meanwhile the report has come, and the recovery of the file's lease completes the file.
//!
//! Recovering the lease any earlier would recover the block, too, and take it from its writer (FSNamesystem's
//! `internalReleaseLease`, Hadoop 3.4). So it waits until the NameNode, asked for the file's blocks, counts all of its bytes:
//! there the last block counts only once it is complete (`computeFileSizeNotIncludingLastUcBlock`), unlike in
//! `getFileInfo`'s length.

use std::future::{Future, pending};
use std::time::Duration;

use hdfs_native::HdfsError;

use super::{Hdfs, Writer};
use crate::error::Error;

/// Between the looks at a file that closes: doubled from the first to the last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(250));

/// How often a file whose blocks are complete is tried to be completed; then it is for its client.
const TRIES: usize = 5;

/// Why a file isn't closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unclosed {
    /// The DataNodes don't have its bytes.
    Broken(Error),
    /// Perhaps it is.
    Unclear(Error),
}

impl Hdfs {
    /// Closes a file to which so many bytes were written.
    pub async fn close(&self, writer: &mut Writer, path: &str, bytes: u64) -> Result<(), Unclosed> {
        let client = &writer.instance.client;
        let sooner = completed(
            bytes,
            || async {
                let reader = client.read(path).await.ok()?;
                Some(reader.file_length() as u64)
            },
            || async { matches!(client.recover_lease(path).await, Ok(true)) },
        );
        let closed = tokio::select! {
            biased;
            closed = self.bounded(writer.inner.close()) => closed,
            () = sooner => return Ok(()),
        };
        let why = match closed {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                let is_broken = matches!(error, HdfsError::DataTransferError(_));
                let failure = self.failed(&writer.instance, "close", path, error);
                if is_broken {
                    return Err(Unclosed::Broken(failure.into_error()));
                }
                failure
            }
            Err(timeout) => self.hung(&writer.instance, "close", path, timeout),
        };
        Err(Unclosed::Unclear(why.into_error()))
    }
}

/// Ends when the file is complete with all its bytes; never, if that is for the client's own close to find out.
/// `length` is that of its complete blocks.
async fn completed<L, C>(bytes: u64, length: impl Fn() -> L, complete: impl Fn() -> C)
where
    L: Future<Output = Option<u64>>,
    C: Future<Output = bool>,
{
    let mut tries = 0;
    let mut pause = LOOKS.0;
    // A file without a block has its full length from the start, and is complete when it is asked for.
    while bytes > 0 && tries < TRIES {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOKS.1);
        if length().await != Some(bytes) {
            continue;
        }
        if complete().await && length().await == Some(bytes) {
            return;
        }
        tries += 1;
    }
    pending().await
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const BYTES: u64 = 100;

    /// What the NameNode says at each look, the last for ever after; and what was asked of it.
    async fn asked(lengths: &[Option<u64>], completes: &[bool]) -> (bool, String) {
        let (asked, looks, tries) = (RefCell::new(String::new()), Cell::new(0), Cell::new(0));
        let nth = |count: &Cell<usize>, len: usize| count.replace(count.get() + 1).min(len - 1);
        let length = || async {
            asked.borrow_mut().push('l');
            lengths[nth(&looks, lengths.len())]
        };
        let complete = || async {
            asked.borrow_mut().push('c');
            completes[nth(&tries, completes.len())]
        };
        let all_looks =
            tokio::time::timeout(Duration::from_mins(1), completed(BYTES, length, complete));
        let is_completed = all_looks.await.is_ok();
        (is_completed, asked.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_completed_once_its_last_block_is_reported() {
        let lengths = [Some(0), Some(0), Some(BYTES)];
        let (is_completed, asked) = asked(&lengths, &[false, true]).await;
        assert!(is_completed);
        assert_eq!(asked, "lllclcl");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_not_whole_yet_keeps_its_writer() {
        for length in [None, Some(0), Some(BYTES - 1)] {
            let (is_completed, asked) = asked(&[length], &[true]).await;
            assert!(!is_completed && !asked.contains('c'), "{length:?}: {asked}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_was_completed_shorter_is_the_clients_to_judge() {
        let lengths = [Some(BYTES), Some(BYTES - 1)];
        assert!(!asked(&lengths, &[true]).await.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_reported_is_not_asked_for_without_end() {
        let (is_completed, asked) = asked(&[Some(BYTES)], &[false]).await;
        assert!(!is_completed);
        assert_eq!(asked, "lc".repeat(TRIES));
    }
}
