//! What a worker has taken of one partition and not yet committed: the open range with its files, sealed ranges
//! that wait for refused records to be settled, and what is being committed. Pure but for the chunks' memory.
//!
//! A range that holds a refused record is committed only after the record is settled, because everything below
//! a commit's end is never read again.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::budget::{Budget, Chunk};
use super::partition::{Command, Cut, FileNumber};
use super::partitioner::{Bucket, Naming};
use super::rotation::Progress;
use crate::config::settings::Compression;
use crate::offsets::Range;

/// A file of the open range.
#[derive(Debug)]
struct OpenFile {
    number: FileNumber,
    bucket: Bucket,
    chunk: Chunk,
    /// Encoded bytes, before compression.
    encoded: u64,
    /// Bytes in HDFS, as the task counts them.
    written: Arc<AtomicU64>,
    records: u64,
    first: i64,
    last: i64,
    /// Of replayed dead letters: their own offsets, in runs.
    origins: Vec<(i64, i64)>,
}

/// A range that will get no more records.
#[derive(Debug)]
struct Sealed {
    range: Range,
    leader_epoch: i32,
    files: Vec<Cut>,
}

/// One partition's account.
#[derive(Debug)]
pub struct Ledger {
    naming: Naming,
    is_compressed: bool,
    budget: Arc<Budget>,
    next_file: FileNumber,
    /// Where the open range begins, and the next offset that may be taken.
    first: i64,
    next: i64,
    leader_epoch: i32,
    times: Option<(Instant, Instant)>,
    files: Vec<OpenFile>,
    unsettled: BTreeSet<i64>,
    sealed: VecDeque<Sealed>,
    /// The number of files of each commit that was sent and hasn't come back.
    in_flight: VecDeque<usize>,
}

impl Ledger {
    /// Nothing is taken yet; the next offset is `resume`.
    pub fn new(naming: Naming, compression: Compression, budget: Arc<Budget>, resume: i64) -> Self {
        Ledger {
            naming,
            is_compressed: compression != Compression::None,
            budget,
            next_file: 0,
            first: resume,
            next: resume,
            leader_epoch: -1,
            times: None,
            files: Vec::new(),
            unsettled: BTreeSet::new(),
            sealed: VecDeque::new(),
            in_flight: VecDeque::new(),
        }
    }

    /// The next offset that may be taken.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// How many files are open in HDFS at the most: a partition's commits are made one after another, and
    /// what comes later isn't created before.
    pub fn num_files(&self) -> usize {
        self.num_held_files().max(self.num_files_in_flight())
    }

    /// Whether another bucket would make it more.
    pub fn would_grow(&self) -> bool {
        self.num_held_files() >= self.num_files_in_flight()
    }

    fn num_held_files(&self) -> usize {
        let sealed = self.sealed.iter().map(|sealed| sealed.files.len());
        self.files.len() + sealed.sum::<usize>()
    }

    fn num_files_in_flight(&self) -> usize {
        self.in_flight.iter().copied().max().unwrap_or(0)
    }

    /// How many files the open range has.
    pub fn num_open_files(&self) -> usize {
        self.files.len()
    }

    /// Whether the open range has a file for `bucket`.
    pub fn has_file(&self, bucket: Bucket) -> bool {
        self.files.iter().any(|file| file.bucket == bucket)
    }

    /// How many ranges wait for refused records.
    pub fn num_sealed(&self) -> usize {
        self.sealed.len()
    }

    /// How many refused records aren't final yet.
    pub fn num_unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// How many commits were sent and haven't come back.
    pub fn num_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether everything that was taken is committed.
    pub fn is_idle(&self) -> bool {
        self.is_empty() && self.sealed.is_empty() && self.in_flight.is_empty()
    }

    /// Whether the open range holds nothing.
    pub fn is_empty(&self) -> bool {
        self.next == self.first
    }

    /// The size of the largest file: bytes as written, and records.
    pub fn largest(&self) -> (u64, u64) {
        let bytes = |file: &OpenFile| {
            if self.is_compressed {
                file.written.load(Ordering::Relaxed)
            } else {
                file.encoded
            }
        };
        let files = self.files.iter();
        files.fold((0, 0), |(most_bytes, most_records), file| {
            (most_bytes.max(bytes(file)), most_records.max(file.records))
        })
    }

    /// How far the open range is; none if it is empty.
    pub fn progress(&self) -> Option<Progress> {
        let (first_at, last_at) = self.times?;
        let (bytes, records) = self.largest();
        Some(Progress {
            bytes,
            records,
            first_at,
            last_at,
        })
    }

    /// Appends a record's line to its bucket's file; a chunk that is full is returned to be sent. Returns how
    /// many bytes came as well. If `encode` refuses, nothing is changed: call [`Ledger::refuse`].
    pub fn append<E>(
        &mut self,
        offset: i64,
        bucket: Bucket,
        chunk_bytes: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(usize, Option<Command>), E> {
        let at = self.files.iter().position(|file| file.bucket == bucket);
        let at = at.unwrap_or_else(|| self.open_file(bucket, offset));
        let file = &mut self.files[at];
        let (encoded, bytes) = file.chunk.append(encode);
        if let Err(refused) = encoded {
            if file.records == 0 {
                self.files.swap_remove(at);
            }
            return Err(refused);
        }
        file.encoded += bytes as u64;
        file.records += 1;
        file.last = offset;
        let full = (file.chunk.len() >= chunk_bytes).then(|| write(file));
        Ok((bytes, full))
    }

    /// The record that was appended to `bucket` last is a replayed dead letter, and has this offset in its partition.
    pub fn came_from(&mut self, bucket: Bucket, origin: i64) {
        let file = self.files.iter_mut().find(|file| file.bucket == bucket);
        let Some(file) = file else { return };
        match file.origins.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(origin) => *last = origin,
            _ => file.origins.push((origin, origin)),
        }
    }

    fn open_file(&mut self, bucket: Bucket, first: i64) -> usize {
        self.files.push(OpenFile {
            number: self.next_file,
            bucket,
            chunk: Chunk::new(&self.budget),
            encoded: 0,
            written: Arc::default(),
            records: 0,
            first,
            last: first,
            origins: Vec::new(),
        });
        self.next_file += 1;
        self.files.len() - 1
    }

    /// The record at `offset` belongs to the open range now, whatever became of it.
    pub fn took(&mut self, offset: i64, leader_epoch: i32, now: Instant) {
        self.next = offset.saturating_add(1);
        self.leader_epoch = leader_epoch;
        let first_at = self.times.map_or(now, |(first_at, _)| first_at);
        self.times = Some((first_at, now));
    }

    /// The record at `offset` was refused: its range waits until it is settled.
    pub fn refuse(&mut self, offset: i64) {
        self.unsettled.insert(offset);
    }

    /// The refused record at `offset` is final.
    pub fn settle(&mut self, offset: i64) {
        self.unsettled.remove(&offset);
    }

    /// Hands over what the open chunks hold.
    pub fn flush(&mut self, send: &mut impl FnMut(Command)) {
        for file in self.files.iter_mut().filter(|file| !file.chunk.is_empty()) {
            send(write(file));
        }
    }

    /// Ends the open range. What lies before the first refused record, if it has files of its own, doesn't wait
    /// for it.
    pub fn seal(&mut self, send: &mut impl FnMut(Command)) {
        self.flush(send);
        if self.is_empty() {
            return;
        }
        let naming = &self.naming;
        let files: Vec<Cut> = self.files.drain(..).map(|file| cut(naming, file)).collect();
        let last = files.iter().map(|file| file.last).max();
        let waits_from = self.unsettled.range(self.first..).next().copied();
        let split = waits_from.filter(|wait| *wait > self.first && last.is_some_and(|l| l < *wait));
        let (first, leader_epoch) = (self.first, self.leader_epoch);
        let mut sealed = |first, end, files| {
            self.sealed.push_back(Sealed {
                range: Range::new(first, end),
                leader_epoch,
                files,
            });
        };
        match split {
            Some(at) => {
                sealed(first, at, files);
                sealed(at, self.next, Vec::new());
            }
            None => sealed(first, self.next, files),
        }
        self.first = self.next;
        self.times = None;
    }

    /// Commits the sealed ranges that nothing holds back, in order.
    pub fn commit(&mut self, send: &mut impl FnMut(Command)) {
        while let Some(sealed) = self.sealed.front() {
            let end = sealed.range.end;
            if self.unsettled.first().is_some_and(|wait| *wait < end) {
                return;
            }
            if let Some(Sealed {
                range,
                leader_epoch,
                files,
            }) = self.sealed.pop_front()
            {
                self.in_flight.push_back(files.len());
                send(Command::Commit {
                    range,
                    leader_epoch,
                    files,
                });
            }
        }
    }

    /// A commit came back.
    pub fn committed(&mut self) {
        self.in_flight.pop_front();
    }
}

fn write(file: &mut OpenFile) -> Command {
    Command::Write {
        file: file.number,
        written: Arc::clone(&file.written),
        chunk: file.chunk.take(),
    }
}

fn cut(naming: &Naming, file: OpenFile) -> Cut {
    let origins = file.origins.iter();
    let (first, last) = origins
        .copied()
        .reduce(|(first, last), (from, to)| (first.min(from), last.max(to)))
        .unwrap_or((file.first, file.last));
    Cut {
        file: file.number,
        path: naming.committed_file(file.bucket, first, last),
        records: file.records,
        first: file.first,
        last: file.last,
        origins: file.origins,
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
