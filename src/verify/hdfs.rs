//! HDFS against Kafka: the commit log with its history, the files in the tree, Kafka's records commit by commit,
//! and, if asked, every line.
//!
//! Kafka is read once, in offset order. Each record is sorted into the file of the commit that covers it; when the
//! commit is passed, the files' accounts are closed: as many records as the log says, and if deep, the very lines.
//! At most one commit's files are open at a time, so memory doesn't grow with the log, but for the log's entries
//! themselves (half a kilobyte a file).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tokio::runtime::Runtime;

use super::diff::{Differ, hash};
use super::findings::{Finding, Findings, Kind, Run, Runs};
use super::log::{Commit, Log, Standing, nameless};
use super::report::Compared;
use super::sorter::{Place, Sorter};
use super::{Job, MISSING_HELP, Progress};
use crate::config::settings::{HdfsSettings, RejectedPolicy, Tombstones};
use crate::error::Error;
use crate::kafka::group::Standing as Position;
use crate::kafka::scan::{Scanned, Scanner, Told};
use crate::offsets::{Range, TopicPartition};
use crate::sinks::hdfs::log::{Entry, FileEntry, Identity};
use crate::sinks::hdfs::log_admin::{LogAdmin, Seen};
use crate::sinks::hdfs::reading::{DataFile, Unread};
use crate::sinks::value;

/// How often a log that changes hands is looked at again.
const LOOKS: usize = 4;
const DAMAGED_HELP: &str = "restore it (trash, snapshots); or, while Kafka has the records, stop outflow and go back with \
                            `outflow group reset --to`";
const FILE_HELP: &str = "outflow never changes a committed file: find out who did; while Kafka has the records, they can be \
                         written again with `outflow group reset --to`";

/// Compares all partitions.
pub(super) fn verify(
    job: &mut Job<'_>,
    settings: &HdfsSettings,
    runtime: &Runtime,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let admin = LogAdmin::new(settings, "verify");
    let (mut trees, mut logs) = (BTreeMap::new(), BTreeMap::new());
    let topics: BTreeSet<_> = job
        .positions
        .iter()
        .map(|p| p.partition.topic.clone())
        .collect();
    for topic in topics {
        progress.phase(&format!("listing the files of {topic}"));
        // The tree before the logs: whatever is published by then stands in an entry.
        for (path, bytes) in runtime.block_on(admin.tree(&topic))? {
            let found = Standing { path, bytes };
            match found.name() {
                Some(name) => {
                    let id = TopicPartition::new(topic.clone(), name.partition);
                    trees.entry(id).or_insert_with(Vec::new).push(found);
                }
                None if job.is_whole_topic(&topic) => job.findings.push(nameless(&found)),
                None => {}
            }
        }
        let of_topic = job.positions.iter().filter(|p| p.partition.topic == topic);
        let ids: Vec<_> = of_topic.map(|p| p.partition.clone()).collect();
        logs.extend(runtime.block_on(admin.look_at(&ids))?);
    }
    // After the logs' ends are known: who was refused before them has a letter by now.
    job.read_letters(progress)?;
    for position in job.positions.clone() {
        let id = &position.partition;
        let tree = trees.remove(id).unwrap_or_default();
        let lengths = tree.iter().map(|found| (found.path.clone(), found.bytes));
        let mut one = One {
            settings,
            runtime,
            admin: &admin,
            position: &position,
            lengths: lengths.collect(),
            compared: Compared::new(id.clone(), Range::new(position.log_start, position.log_end)),
            findings: Findings::default(),
            notes: Vec::new(),
        };
        let done = one.verify(job, logs.get(id), &tree, progress);
        let mut compared = one.compared;
        compared.error = done.err().map(|error| error.what);
        job.findings.extend(one.findings.all);
        job.notes.extend(one.notes);
        job.compared.push(compared);
    }
    for (id, files) in trees {
        // Of partitions that the topic doesn't have.
        let of_topic = |p: &&Position| p.partition.topic == id.topic;
        let num = job
            .positions
            .iter()
            .find(of_topic)
            .map_or(0, |p| p.num_partitions);
        if id.partition >= num {
            job.findings.extend(files.iter().map(nameless));
        }
    }
    Ok(())
}

/// One partition.
struct One<'a> {
    settings: &'a HdfsSettings,
    runtime: &'a Runtime,
    admin: &'a LogAdmin,
    position: &'a Position,
    /// How long the files in the tree are.
    lengths: HashMap<String, u64>,
    compared: Compared,
    findings: Findings,
    notes: Vec<String>,
}

impl One<'_> {
    fn verify(
        &mut self,
        job: &mut Job<'_>,
        seen: Option<&Seen>,
        tree: &[Standing],
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let id = &self.position.partition;
        let committed = self.position.committed.as_ref();
        let Some(seen) = seen else {
            let strangers = tree.iter().map(nameless);
            self.findings.extend(strangers.map(|finding| Finding {
                partition: Some(id.clone()),
                what: "a file of a partition that has no commit log".to_owned(),
                ..finding
            }));
            return match committed {
                None => Ok(()),
                Some(committed) => Err(Error::corrupt(format!(
                    "{id}: the group has committed {}, and there is no commit log: was hdfs.base changed, or _outflow \
                     deleted?",
                    committed.offset
                ))),
            };
        };
        let ours = Identity {
            cluster_id: job.cluster_id.clone(),
            topic_id: self.position.topic_id.clone(),
            group: job.group.clone(),
        };
        if seen.newest.identity != ours {
            return Err(Error::corrupt(format!(
                "{id}: the log is of {}, and this is {ours}: outflow stops there; look at it with `outflow adopt`",
                seen.newest.identity
            )));
        }
        let entries = self.entries(seen)?;
        let log = Log::read(id, &entries);
        self.findings.extend(log.findings.iter().cloned());
        let (findings, absent) = log.compare(id, tree);
        let first = job.from.get(id).copied().unwrap_or(0).max(log.begin);
        let is_meant = |finding: &Finding| finding.range.is_none_or(|range| range.end > first);
        self.findings.extend(findings.into_iter().filter(is_meant));
        let absent = self.absent(seen, &log, &absent, first)?;
        let judged = Range::new(first, log.end.max(first));
        self.compared.judged = Some(judged);
        self.compared.next = log.end;
        let records_end = committed.map_or(log.end, |committed| committed.records_end());
        if let Some(committed) = committed.filter(|_| records_end <= log.end) {
            // Markers and aborted records behind the log's end.
            self.compared.next = log.end.max(committed.offset);
        } else if records_end > log.end {
            self.findings.push(Finding {
                kind: Kind::Gap,
                partition: Some(id.clone()),
                range: Some(Range::new(log.end, records_end)),
                records: 0,
                place: None,
                what: "the group's offset is beyond the log's end: what lies between stands in no commit".to_owned(),
                help: "outflow stops there: look at it with `outflow adopt`",
            });
        }
        for range in log.left_out.iter().filter(|range| range.end > first) {
            self.notes.push(format!(
                "{id}: {range} was left out by a person (group reset or adopt)"
            ));
        }
        self.records(job, &log, judged, &absent, progress)
    }

    /// The log's entries; a log that moves to another owner meanwhile is looked at again.
    fn entries(&self, seen: &Seen) -> Result<Vec<Entry>, Error> {
        let id = &self.position.partition;
        let mut now = seen.clone();
        for _ in 0..LOOKS {
            if let Ok(entries) = self.runtime.block_on(self.admin.entries(&now)) {
                // What came since wasn't in the listing, nor are its letters known.
                let known = entries
                    .into_iter()
                    .filter(|entry| entry.seq <= seen.newest.seq);
                return Ok(known.collect());
            }
            let ids = std::slice::from_ref(id);
            let mut again = self.runtime.block_on(self.admin.look_at(ids))?;
            let Some(found) = again.remove(id) else { break };
            now = found;
        }
        let entries = self.runtime.block_on(self.admin.entries(&now));
        entries.map(|_| Vec::new())
    }

    /// Looks again at files that weren't in the listing: those that are really gone are said, and returned.
    fn absent(
        &mut self,
        seen: &Seen,
        log: &Log,
        absent: &[String],
        first: i64,
    ) -> Result<HashSet<String>, Error> {
        let id = &self.position.partition;
        let standing = self
            .runtime
            .block_on(self.admin.standing(absent.to_vec()))?;
        let standing: HashSet<String> = standing.into_iter().collect();
        let mut gone = HashSet::new();
        for path in absent.iter().filter(|path| !standing.contains(*path)) {
            let mut newest = log
                .commits
                .last()
                .into_iter()
                .flat_map(|commit| &commit.files);
            if let Some(file) = newest.find(|file| file.path == **path)
                && self.runtime.block_on(self.admin.holds(seen, &file.temp))?
            {
                self.notes.push(format!(
                    "{id}: {path} is committed and not published yet: a running outflow, or the next start, does that"
                ));
                gone.insert(path.clone());
                continue;
            }
            let finding = log.absent(id, path);
            let is_meant = |f: &Finding| f.range.is_none_or(|range| range.end > first);
            self.findings.extend(finding.filter(is_meant));
            gone.insert(path.clone());
        }
        Ok(gone)
    }

    /// Kafka's records against the commits.
    fn records(
        &mut self,
        job: &mut Job<'_>,
        log: &Log,
        judged: Range,
        absent: &HashSet<String>,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let id = self.position.partition.clone();
        let is_compacted = job.is_compacted(&id.topic);
        let live = |file: &&FileEntry| file.last >= judged.first;
        let files = log
            .commits
            .iter()
            .flat_map(|commit| &commit.files)
            .filter(live);
        self.compared.in_sink = files
            .filter(|file| !absent.contains(&file.path))
            .map(|file| file.records)
            .sum();
        let start = judged.first.max(self.position.log_start);
        let sorter = Sorter::new(&id, &self.settings.partitioning);
        let mut books = Books {
            one: self,
            job,
            log,
            absent,
            is_compacted,
            sorter,
            kafka_from: start,
            at: 0,
            accounts: Vec::new(),
            line: Vec::new(),
            number: 0,
            runs: Runs::default(),
            unknown: 0,
            unsorted: 0,
        };
        books.before(start)?;
        let range = Range::new(start, judged.end);
        let mut scanner = books.job.scanner()?;
        if books.job.deep {
            books.count_the_first(&mut scanner, range)?;
        }
        let reached = scanner.read(&id, range, &mut |told| match told {
            Told::Record(record) => {
                progress.at(&id, record.offset, judged);
                books.record(&record)
            }
            Told::Gone(offset) => {
                books.kafka_from = offset;
                Ok(())
            }
        })?;
        books.close_before(judged.end)?;
        books.end_runs();
        let unsorted = books.unsorted;
        job.give_back(scanner);
        if unsorted > 0 {
            self.notes.push(format!(
                "{id}: {unsorted} commits were sorted into folders in a way that isn't configured any more: they were \
                 compared by their totals"
            ));
        }
        if reached < judged.end {
            return Err(Error::corrupt(format!(
                "{id}: HDFS has records up to {}, and Kafka's log ends at {reached}: an open transaction, or Kafka has \
                 lost records; what lies between wasn't judged",
                judged.end
            )));
        }
        Ok(())
    }
}

/// A file's account: what should stand in it, counted and, if deep, compared.
struct Account {
    records: u64,
    reader: Option<Reader>,
    differ: Differ,
}

/// The accounts of the commit that is being passed.
struct Books<'a, 'b, 'c> {
    one: &'a mut One<'b>,
    job: &'a mut Job<'c>,
    log: &'a Log,
    absent: &'a HashSet<String>,
    is_compacted: bool,
    sorter: Sorter,
    /// Kafka has nothing before this offset.
    kafka_from: i64,
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

impl<'a> Books<'a, '_, '_> {
    fn commit(&self) -> Option<&'a Commit> {
        self.log.commits.get(self.at)
    }

    /// Commits that lie wholly before what Kafka has: their files are only read.
    fn before(&mut self, start: i64) -> Result<(), Error> {
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
    fn count_the_first(&mut self, scanner: &mut Scanner, range: Range) -> Result<(), Error> {
        let Some(commit) = self
            .commit()
            .filter(|commit| commit.range.first < range.first)
        else {
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

    fn record(&mut self, record: &Scanned<'_>) -> Result<(), Error> {
        self.close_before(record.offset)?;
        self.number += 1;
        self.one.compared.records += 1;
        let Some(commit) = self.commit().filter(|c| c.range.first <= record.offset) else {
            // Left out by a person, or a gap that is said already.
            self.one.compared.skipped += 1;
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

    fn end_runs(&mut self) {
        if let Some(run) = self.runs.end() {
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
            (Kind::Gap | Kind::Damaged, _) => "",
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
                self.total(commit, sorted + unknown);
            }
            return Ok(());
        }
        for (account, file) in accounts.into_iter().zip(&commit.files) {
            if self.absent.contains(&file.path) {
                continue;
            }
            match account.reader {
                Some(reader) => self.compare(account.differ, reader, file)?,
                None => self.balance(file, account.records, is_whole),
            }
        }
        Ok(())
    }

    fn total(&mut self, commit: &Commit, records: u64) {
        let written: u64 = commit.files.iter().map(|file| file.records).sum();
        let kind = match records.cmp(&written) {
            Ordering::Equal => return,
            Ordering::Greater => Kind::Missing,
            Ordering::Less => Kind::Extra,
        };
        self.one.findings.push(Finding {
            kind,
            partition: Some(self.one.position.partition.clone()),
            range: Some(commit.range),
            records: records.abs_diff(written),
            place: None,
            what: format!(
                "entry {} has {written} records, and Kafka has {records} there",
                commit.seq
            ),
            help: MISSING_HELP,
        });
    }

    /// By number alone.
    fn balance(&mut self, file: &FileEntry, records: u64, is_whole: bool) {
        let (kind, num) = match records.cmp(&file.records) {
            Ordering::Greater => (Kind::Missing, records - file.records),
            Ordering::Less if is_whole && !self.is_compacted => {
                (Kind::Extra, file.records - records)
            }
            _ => return,
        };
        self.one.findings.push(Finding {
            kind,
            partition: Some(self.one.position.partition.clone()),
            range: Some(Range::new(file.first, file.last + 1)),
            records: num,
            place: Some(file.path.clone()),
            what: format!(
                "the log says that the file has {} records, and Kafka has {records} there",
                file.records
            ),
            help: MISSING_HELP,
        });
    }

    /// Line by line.
    fn compare(
        &mut self,
        mut differ: Differ,
        mut reader: Reader,
        file: &FileEntry,
    ) -> Result<(), Error> {
        // Kafka has nothing of it: what can be seen is how many lines there are.
        let is_gone = file.last < self.kafka_from;
        differ.end_records();
        reader.feed(&mut differ, self.one.runtime)?;
        if let Some(why) = reader.damage {
            self.one.findings.push(Finding {
                kind: Kind::Damaged,
                partition: Some(self.one.position.partition.clone()),
                range: Some(Range::new(file.first, file.last + 1)),
                records: file.records,
                place: Some(file.path.clone()),
                what: format!("the file can't be read to its end: {why}"),
                help: DAMAGED_HELP,
            });
            return Ok(());
        }
        let diff = differ.finish();
        if is_gone || diff.runs.is_empty() {
            let kind = match diff.lines.cmp(&file.records) {
                Ordering::Equal => return Ok(()),
                Ordering::Less => Kind::Missing,
                Ordering::Greater => Kind::Extra,
            };
            self.one.findings.push(Finding {
                kind,
                partition: Some(self.one.position.partition.clone()),
                range: Some(Range::new(file.first, file.last + 1)),
                records: diff.lines.abs_diff(file.records),
                place: Some(file.path.clone()),
                what: format!(
                    "the file has {} lines, and {} were committed",
                    diff.lines, file.records
                ),
                help: FILE_HELP,
            });
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

/// The lines of a file, as hashes.
struct Reader {
    file: DataFile,
    /// The line that isn't whole yet.
    rest: Vec<u8>,
    piece: Vec<u8>,
    at: usize,
    damage: Option<String>,
}

impl Reader {
    fn new(file: DataFile) -> Self {
        Reader {
            file,
            rest: Vec::new(),
            piece: Vec::new(),
            at: 0,
            damage: None,
        }
    }

    /// Gives as many lines as are wanted.
    fn feed(&mut self, differ: &mut Differ, runtime: &Runtime) -> Result<(), Error> {
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

impl Job<'_> {
    /// Whether every partition of a topic is looked at.
    fn is_whole_topic(&self, topic: &str) -> bool {
        let of_topic = self
            .positions
            .iter()
            .filter(|p| *p.partition.topic == *topic);
        let num = of_topic.clone().next().map_or(0, |p| p.num_partitions);
        of_topic.count() == usize::try_from(num).unwrap_or(usize::MAX)
    }
}
