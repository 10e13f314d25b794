//! The accounts of the commit that Kafka is being read through: what should stand in each of its files, counted, and
//! compared line by line if that is wanted.

use std::collections::HashSet;

use super::super::diff::{Differ, hash};
use super::super::findings::{Finding, Kind, Run, Runs};
use super::super::log::{Commit, Log};
use super::super::sorter::{Place, Sorter};
use super::super::{Job, MISSING_HELP};
use super::One;
use super::balance::{self, FILE_HELP};
use super::lines::Reader;
use crate::config::settings::{RejectedPolicy, Tombstones};
use crate::error::Error;
use crate::kafka::scan::{Scanned, Scanner, Told};
use crate::offsets::Range;
use crate::sinks::hdfs::log::FileEntry;
use crate::sinks::value;

/// A file's account: what should stand in it, counted and, if deep, compared.
struct Account {
    records: u64,
    reader: Option<Reader>,
    differ: Differ,
}

/// The accounts of the commit that is being passed.
pub(super) struct Books<'a, 'b, 'c> {
    one: &'a mut One<'b>,
    job: &'a mut Job<'c>,
    log: &'a Log,
    absent: &'a HashSet<String>,
    is_compacted: bool,
    sorter: Sorter,
    /// Kafka has nothing before this offset.
    kafka_from: i64,
    /// Where that was at first: retention may go on while we read.
    read_from: i64,
    /// The commit of this number is open.
    at: usize,
    accounts: Vec<Account>,
    line: Vec<u8>,
    number: u64,
    runs: Runs,
    /// Records of the open commit that couldn't be sorted into its files.
    unknown: u64,
    /// Commits with such records.
    unsorted: u64,
}

/// What is to become of a record.
enum Fate {
    Written(u64),
    Refused,
    Skipped,
}

impl<'a, 'b, 'c> Books<'a, 'b, 'c> {
    /// `kafka_from`: where Kafka's records begin, as far as they are judged.
    pub fn new(
        one: &'a mut One<'b>,
        job: &'a mut Job<'c>,
        log: &'a Log,
        absent: &'a HashSet<String>,
        kafka_from: i64,
    ) -> Self {
        let partition = &one.position.partition;
        Books {
            is_compacted: job.is_compacted(&partition.topic),
            sorter: Sorter::new(partition, &one.settings.partitioning),
            one,
            job,
            log,
            absent,
            kafka_from,
            read_from: kafka_from,
            at: 0,
            accounts: Vec::new(),
            line: Vec::new(),
            number: 0,
            runs: Runs::default(),
            unknown: 0,
            unsorted: 0,
        }
    }

    /// A client to read Kafka with.
    pub fn scanner(&mut self) -> Result<Scanner, Error> {
        self.job.scanner()
    }

    /// Retention took what lies below.
    pub fn gone_below(&mut self, offset: i64) {
        self.kafka_from = self.kafka_from.max(offset);
    }

    /// After the last record: how many commits couldn't be sorted.
    pub fn finish(&mut self, end: i64) -> Result<u64, Error> {
        self.close_before(end)?;
        if let Some(run) = self.runs.end() {
            self.say(run, None);
        }
        Ok(self.unsorted)
    }

    fn commit(&self) -> Option<&'a Commit> {
        self.log.commits.get(self.at)
    }

    /// Commits that lie wholly before what Kafka has: their files are only read.
    pub fn before(&mut self, start: i64) -> Result<(), Error> {
        let first = self.one.compared.judged.map_or(0, |judged| judged.first);
        while let Some(commit) = self.commit().filter(|commit| commit.range.end <= start) {
            if self.job.deep && commit.range.end > first {
                self.open_with(&vec![0; commit.files.len()])?;
                self.close()?;
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Of the commit that Kafka has only the end of: how many lines of each file come before.
    pub fn count_the_first(&mut self, scanner: &mut Scanner, range: Range) -> Result<(), Error> {
        let begins_before = |commit: &&Commit| commit.range.first < range.first;
        let is_needed = self.job.deep && !self.is_compacted;
        let Some(commit) = self.commit().filter(begins_before).filter(|_| is_needed) else {
            return Ok(());
        };
        let mut counts = vec![0u64; commit.files.len()];
        let id = self.one.position.partition.clone();
        let end = commit.range.end.min(range.end);
        scanner.read(&id, Range::new(range.first, end), &mut |told| {
            if let Told::Record(record) = told
                && let Fate::Written(_) = self.fate(&record)
                && let Place::File(at) =
                    self.sorter
                        .place(commit, record.offset, record.timestamp_ms)
                && let Some(count) = counts.get_mut(at)
            {
                *count += 1;
            }
            Ok(())
        })?;
        self.open_with(&counts)
    }

    /// The next record.
    pub fn record(&mut self, record: &Scanned<'_>) -> Result<(), Error> {
        self.close_before(record.offset)?;
        self.number += 1;
        self.one.compared.records += 1;
        let Some(commit) = self.commit().filter(|c| c.range.first <= record.offset) else {
            let mut left_out = self.log.left_out.iter();
            match left_out.any(|range| (range.first..range.end).contains(&record.offset)) {
                true => self.one.compared.skipped += 1,
                false => self.bad(Kind::Gap, record.offset),
            }
            return Ok(());
        };
        if self.accounts.len() != commit.files.len() {
            self.open()?;
        }
        let fate = self.fate(record);
        let line = match fate {
            Fate::Written(line) => line,
            Fate::Skipped => {
                self.one.compared.skipped += 1;
                return Ok(());
            }
            Fate::Refused => {
                self.refused(record.offset);
                return Ok(());
            }
        };
        match self
            .sorter
            .place(commit, record.offset, record.timestamp_ms)
        {
            Place::File(at) => {
                let Some(account) = self.accounts.get_mut(at) else {
                    return Ok(());
                };
                account.records += 1;
                if let Some(reader) = &mut account.reader {
                    account.differ.record(record.offset, line);
                    reader.feed(&mut account.differ, self.one.runtime)?;
                }
            }
            Place::Nowhere => {
                let id = &self.one.position.partition;
                match self.job.letters.has(id, record.offset) {
                    true => self.one.compared.refused += 1,
                    false => self.bad(Kind::Missing, record.offset),
                }
            }
            // Its totals are compared at the end.
            Place::Unknown => {
                self.unknown += 1;
                self.accounts
                    .iter_mut()
                    .for_each(|account| account.reader = None);
            }
        }
        Ok(())
    }

    /// What outflow does with a record: the very code that does it says so.
    fn fate(&mut self, record: &Scanned<'_>) -> Fate {
        let Some(value) = record.value else {
            return match self.one.settings.tombstones {
                Tombstones::Skip => Fate::Skipped,
                Tombstones::Reject | Tombstones::Delete => Fate::Refused,
            };
        };
        self.line.clear();
        match value::append_line(&mut self.line, value) {
            Ok(()) => Fate::Written(hash(self.line.trim_ascii_end())),
            Err(_) => Fate::Refused,
        }
    }

    fn refused(&mut self, offset: i64) {
        let id = &self.one.position.partition;
        let is_accounted = match self.job.rejected {
            RejectedPolicy::DeadLetter { .. } => self.job.letters.has(id, offset),
            RejectedPolicy::Skip | RejectedPolicy::Quarantine => true,
        };
        match is_accounted {
            true => self.one.compared.refused += 1,
            false => self.bad(Kind::Missing, offset),
        }
    }

    fn bad(&mut self, kind: Kind, offset: i64) {
        if let Some(run) = self.runs.bad(kind, self.number, offset) {
            self.say(run, None);
        }
    }

    fn say(&mut self, run: Run, place: Option<&str>) {
        let what = match (run.kind, place) {
            (Kind::Missing, None) => {
                "they stand in no file of their commit, nor in the dead letter topic"
            }
            (Kind::Missing, Some(_)) => "their lines aren't in the file",
            (Kind::Doubled, _) => "their lines stand in the file again",
            (Kind::Changed, _) => "other lines stand in their place",
            (Kind::OutOfOrder, _) => "their lines stand in another place of the file",
            (Kind::Extra, _) => "after this record stand lines that aren't any record's",
            (Kind::Gap, _) => "no commit of the log covers them",
            (Kind::Damaged, _) => "the file is damaged",
        };
        self.one.findings.push(Finding {
            kind: run.kind,
            partition: Some(self.one.position.partition.clone()),
            range: Some(run.range),
            records: run.records,
            place: place.map(str::to_owned),
            what: what.to_owned(),
            help: if place.is_some() {
                FILE_HELP
            } else {
                MISSING_HELP
            },
        });
    }

    /// Opens the accounts of the commit.
    fn open(&mut self) -> Result<(), Error> {
        self.open_with(&[])
    }

    /// `counts`: how many records of each file Kafka still has, where it hasn't all.
    fn open_with(&mut self, counts: &[u64]) -> Result<(), Error> {
        self.accounts.clear();
        let Some(commit) = self.commit() else {
            return Ok(());
        };
        for (at, file) in commit.files.iter().enumerate() {
            let skip = counts
                .get(at)
                .map_or(0, |count| file.records.saturating_sub(*count));
            let reader = match self.job.deep && !self.absent.contains(&file.path) {
                true => {
                    let bytes = self.one.lengths.get(&file.path).copied();
                    let bytes = bytes.unwrap_or(file.bytes);
                    let opened = self.one.admin.open_file(&file.path, bytes)?;
                    Some(Reader::new(opened))
                }
                false => None,
            };
            self.accounts.push(Account {
                records: 0,
                reader,
                differ: Differ::new(file.first, skip, self.is_compacted),
            });
        }
        Ok(())
    }

    /// Closes the commits that end at or before an offset.
    fn close_before(&mut self, offset: i64) -> Result<(), Error> {
        while let Some(commit) = self.commit().filter(|commit| commit.range.end <= offset) {
            if self.accounts.len() != commit.files.len() {
                self.open()?;
            }
            self.close()?;
            self.at += 1;
        }
        Ok(())
    }

    /// Closes the accounts of the commit.
    fn close(&mut self) -> Result<(), Error> {
        let Some(commit) = self.commit() else {
            return Ok(());
        };
        let accounts = std::mem::take(&mut self.accounts);
        let unknown = std::mem::take(&mut self.unknown);
        let is_whole = commit.range.first >= self.kafka_from;
        if unknown > 0 {
            self.unsorted += 1;
            let sorted: u64 = accounts.iter().map(|account| account.records).sum();
            let is_there = |file: &FileEntry| !self.absent.contains(&file.path);
            if is_whole && !self.is_compacted && commit.files.iter().all(is_there) {
                let found =
                    balance::by_entry(&self.one.position.partition, commit, sorted + unknown);
                self.one.findings.extend(found);
            }
            return Ok(());
        }
        for (account, file) in accounts.into_iter().zip(&commit.files) {
            if self.absent.contains(&file.path) {
                continue;
            }
            match account.reader {
                Some(reader) => self.compare(account.differ, reader, file)?,
                None => {
                    let may_be_fewer = self.is_compacted || !is_whole;
                    let (id, records) = (&self.one.position.partition, account.records);
                    let found = balance::by_number(id, file, records, may_be_fewer);
                    self.one.findings.extend(found);
                }
            }
        }
        Ok(())
    }

    /// Line by line.
    fn compare(
        &mut self,
        mut differ: Differ,
        mut reader: Reader,
        file: &FileEntry,
    ) -> Result<(), Error> {
        // Kafka has nothing of it: what can be seen is how many lines there are.
        let was_taken = self.kafka_from > self.read_from && file.first < self.kafka_from;
        let is_gone = file.last < self.kafka_from || (was_taken && !self.is_compacted);
        differ.end_records();
        reader.feed(&mut differ, self.one.runtime)?;
        if let Some(why) = &reader.damage {
            let found = balance::damaged(&self.one.position.partition, file, why);
            self.one.findings.push(found);
            return Ok(());
        }
        let diff = differ.finish();
        if is_gone || diff.runs.is_empty() {
            let found = balance::by_lines(&self.one.position.partition, file, diff.lines);
            self.one.findings.extend(found);
            return Ok(());
        }
        for run in diff.runs {
            self.say(run, Some(&file.path));
        }
        if diff.unjudged > 0 {
            let id = &self.one.position.partition;
            self.one.notes.push(format!(
                "{id}: {} records behind that in {} weren't judged: the topic is compacted",
                diff.unjudged, file.path
            ));
        }
        Ok(())
    }
}
