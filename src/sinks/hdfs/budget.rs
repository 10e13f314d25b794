//! What a worker of this sink holds in memory: encoded bytes that aren't written yet, and open files.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::settings::Compression;

/// What an open file costs in the client: 200 packets of 64 KiB.
const PACKETS_BYTES: u64 = 13 << 20;

/// What an open file may cost, its compressor included.
pub fn file_cost_bytes(compression: Compression) -> u64 {
    // zstd by level: window, chain and hash tables, from its own table of parameters.
    let compressor = match compression {
        Compression::None | Compression::Gzip(_) => 1,
        Compression::Zstd(..=3) => 3,
        Compression::Zstd(..=8) => 8,
        Compression::Zstd(..=9) => 16,
        Compression::Zstd(..=11) => 28,
        Compression::Zstd(..=18) => 60,
        Compression::Zstd(19) => 96,
        Compression::Zstd(20) => 200,
        Compression::Zstd(21) => 400,
        Compression::Zstd(_) => 800,
    };
    PACKETS_BYTES + (compressor << 20)
}

/// What the chunks need at the least, beside the files.
const LEAST_CHUNK_BYTES: u64 = 4 << 20;

/// What may wait to be written, however much memory there is, unless so many files are open that their smallest
/// chunks need more: more makes nothing faster and stays resident (docs/performance.md).
const MOST_CHUNK_BYTES: u64 = 8 << 20;

/// The sizes of a chunk.
const CHUNK_BYTES: (u64, u64) = (64 << 10, 1 << 20);

/// So many of a file's chunks fit into what may wait.
const CHUNKS_PER_FILE: u64 = 4;

/// What a worker's share must be for so many partitions with open files.
pub fn share_bytes(files: u64, file_cost_bytes: u64) -> u64 {
    file_cost_bytes
        .saturating_mul(files)
        .saturating_add(LEAST_CHUNK_BYTES)
}

/// How a worker's share is used. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many partitions may have files open.
    pub places: usize,
    /// How many files may be open; a partition with several buckets has several.
    pub files: usize,
    /// How many encoded bytes may wait to be written.
    pub bytes: usize,
    /// A chunk is handed over when it has this many bytes.
    pub chunk_bytes: usize,
}

impl Limits {
    /// The limits for a share of `share_bytes` and at most `max_open_files` partitions with open files. At
    /// least one file is always allowed, or nothing would ever move.
    pub fn new(share_bytes: u64, max_open_files: usize, file_cost_bytes: u64) -> Self {
        let for_files = share_bytes.saturating_sub(LEAST_CHUNK_BYTES);
        let affordable = usize::try_from(for_files / file_cost_bytes).unwrap_or(usize::MAX);
        let places = max_open_files.min(affordable).max(1);
        // Of what is left when every place has its file, at most half is for files of more buckets.
        let spare = for_files.saturating_sub(places as u64 * file_cost_bytes);
        let more_files = usize::try_from(spare / 2 / file_cost_bytes).unwrap_or(0);
        let files = places + more_files.min(places * 15);
        // A chunk of each file may be half full, and none of them on its way.
        let chunks = CHUNKS_PER_FILE * files as u64;
        let most = MOST_CHUNK_BYTES.max(chunks * CHUNK_BYTES.0);
        let bytes = share_bytes
            .saturating_sub(files as u64 * file_cost_bytes)
            .clamp(LEAST_CHUNK_BYTES, most);
        let chunk_bytes = (bytes / chunks).clamp(CHUNK_BYTES.0, CHUNK_BYTES.1);
        let in_memory = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Limits {
            places,
            files,
            bytes: in_memory(bytes),
            chunk_bytes: in_memory(chunk_bytes),
        }
    }

    /// How many partitions may be closing their files while every place is taken. Half of the places: what was written
    /// last to a file that closes may still be in memory.
    pub fn closing(&self) -> usize {
        let more_files = self.files.saturating_sub(self.places);
        more_files.min(self.places.div_ceil(2))
    }
}

/// What is held at the moment. Shared by a worker and its tasks.
#[derive(Debug, Default)]
pub struct Budget {
    bytes: AtomicUsize,
    files: AtomicUsize,
}

impl Budget {
    /// Encoded bytes that aren't written yet.
    pub fn num_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Files that are open in HDFS, those that are being closed included.
    pub fn num_files(&self) -> usize {
        self.files.load(Ordering::Relaxed)
    }

    /// Counts a file until the permit is dropped.
    pub fn open_file(self: &Arc<Self>) -> FilePermit {
        self.files.fetch_add(1, Ordering::Relaxed);
        FilePermit(Arc::clone(self))
    }
}

/// One open file, counted.
#[derive(Debug)]
pub struct FilePermit(Arc<Budget>);

impl Drop for FilePermit {
    fn drop(&mut self) {
        self.0.files.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Encoded lines on their way into a file; counted until they are dropped.
#[derive(Debug)]
pub struct Chunk {
    data: Vec<u8>,
    /// Bytes that came, whether they are still in it or not.
    counted: usize,
    budget: Arc<Budget>,
}

impl Chunk {
    /// An empty one.
    pub fn new(budget: &Arc<Budget>) -> Self {
        Chunk {
            data: Vec::new(),
            counted: 0,
            budget: Arc::clone(budget),
        }
    }

    /// Lets `write` append to it; returns what it returned and how many bytes came.
    pub fn append<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> (T, usize) {
        let before = self.data.len();
        let result = write(&mut self.data);
        let added = self.data.len().saturating_sub(before);
        self.counted = self.counted.saturating_add(added);
        self.budget.bytes.fetch_add(added, Ordering::Relaxed);
        (result, added)
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// What is in it. It stays counted until the chunk is dropped.
    pub fn take_data(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.data)
    }

    /// What is in it, and an empty chunk with as much room in its place.
    pub fn take(&mut self) -> Chunk {
        let empty = Chunk {
            data: Vec::with_capacity(self.data.capacity().min(1 << 20)),
            counted: 0,
            budget: Arc::clone(&self.budget),
        };
        std::mem::replace(self, empty)
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE_COST_BYTES: u64 = 16 << 20;

    #[test]
    fn a_level_that_takes_much_memory_leaves_fewer_files() {
        let files = |level| {
            let cost = file_cost_bytes(Compression::Zstd(level));
            Limits::new(256 << 20, 4, cost).places
        };
        assert_eq!((files(3), files(19), files(22)), (4, 2, 1));
    }

    #[test]
    fn as_many_close_beside_the_places_as_memory_has_files_for_and_no_more_than_half() {
        let closing = |files| {
            let limits = Limits::new(
                LEAST_CHUNK_BYTES + files * FILE_COST_BYTES,
                4,
                FILE_COST_BYTES,
            );
            assert_eq!(limits.places, 4, "{files}");
            limits.closing()
        };
        // Of what is left beside the places a half at most goes to files.
        assert_eq!([4, 5, 6, 8, 64].map(closing), [0, 0, 1, 2, 2]);
        let alone = Limits::new(1 << 30, 1, FILE_COST_BYTES);
        assert_eq!(
            alone.closing(),
            1,
            "with one place nobody read while one closes"
        );
    }

    proptest! {
        #[test]
        fn the_share_holds_whenever_it_is_enough_for_one_file(
            share in (FILE_COST_BYTES + LEAST_CHUNK_BYTES)..(64 << 30), wanted in 1..200usize,
        ) {
            let limits = Limits::new(share, wanted, FILE_COST_BYTES);
            prop_assert!(limits.places >= 1 && limits.places <= wanted);
            prop_assert!(limits.files >= limits.places);
            prop_assert!(limits.files as u64 * FILE_COST_BYTES + limits.bytes as u64 <= share);
            prop_assert!(limits.chunk_bytes * 2 <= limits.bytes);
            let chunks = limits.files * CHUNKS_PER_FILE as usize * CHUNK_BYTES.0 as usize;
            prop_assert!(limits.bytes <= (MOST_CHUNK_BYTES as usize).max(chunks));
            prop_assert!(limits.places + limits.closing() <= limits.files);
        }
    }

    #[test]
    fn a_share_for_so_many_files_is_the_least_that_has_them() {
        for cost in [1, 14 << 20, FILE_COST_BYTES] {
            for files in 2..40 {
                let share = share_bytes(files, cost);
                let places = |share| Limits::new(share, 256, cost).places as u64;
                assert_eq!((places(share), places(share - 1)), (files, files - 1));
            }
        }
    }

    #[test]
    fn the_default_share_has_the_default_number_of_files() {
        assert_eq!(Limits::new(128 << 20, 4, FILE_COST_BYTES).places, 4);
        assert_eq!(
            Limits::new(0, 4, FILE_COST_BYTES).places,
            1,
            "something must move"
        );
    }

    #[test]
    fn bytes_are_counted_until_they_are_written_or_thrown_away() {
        let budget = Arc::new(Budget::default());
        let mut chunk = Chunk::new(&budget);
        chunk.append(|out| out.extend_from_slice(b"12345"));
        let mut full = chunk.take();
        assert_eq!(full.take_data(), b"12345");
        chunk.append(|out| out.extend_from_slice(b"678"));
        assert_eq!(budget.num_bytes(), 8);
        drop(full);
        assert_eq!(budget.num_bytes(), 3);
        drop(chunk);
        assert_eq!(budget.num_bytes(), 0);
    }
}
