//! HDFS against Kafka: the commit log with its history, the files in the tree, Kafka's records commit by commit,
//! and, if asked, every line.
//!
//! Kafka is read once, in offset order. Each record is sorted into the file of the commit that covers it; when the
//! commit is passed, the files' accounts are closed: as many records as the log says, and if deep, the very lines.
//! At most one commit's files are open at a time, so memory doesn't grow with the log, but for the log's entries
//! themselves (half a kilobyte a file).

mod balance;
mod books;
mod lines;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tokio::runtime::Runtime;

use self::books::Books;
use super::findings::{Finding, Findings, Kind};
use super::log::{Log, Standing, absent_replay, nameless, replays};
use super::report::Compared;
use super::{Job, Progress};
use crate::config::settings::HdfsSettings;
use crate::error::Error;
use crate::kafka::group::Standing as Position;
use crate::kafka::scan::Told;
use crate::offsets::{Range, TopicPartition};
use crate::sinks::hdfs::log::names::{self, FileName};
use crate::sinks::hdfs::log::{Entry, FileEntry, Identity};
use crate::sinks::hdfs::log_admin::{LogAdmin, Seen};
use crate::sinks::hdfs::replays::Replays;

/// How often a log that changes hands is looked at again.
const LOOKS: usize = 10;

/// Compares all partitions.
pub(super) fn verify(
    job: &mut Job<'_>,
    settings: &HdfsSettings,
    runtime: &Runtime,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let admin = LogAdmin::new(settings, "verify");
    let (mut trees, mut logs) = (BTreeMap::new(), BTreeMap::new());
    let mut others: Vec<Standing> = Vec::new();
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
                Some(name) if name.topic == FileName::new(&topic, 0, 0, 0, "json").topic => {
                    let id = TopicPartition::new(topic.clone(), name.partition);
                    trees.entry(id).or_insert_with(Vec::new).push(found);
                }
                _ => others.push(found),
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
        job.findings.merge(one.findings);
        job.notes.extend(one.notes);
        job.compared.push(compared);
    }
    judge_others(job, settings, runtime, &admin, &others)?;
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

/// Files that aren't named as a partition's: those of replayed dead letters have logs of their own, and the rest is
/// nobody's.
fn judge_others(
    job: &mut Job<'_>,
    settings: &HdfsSettings,
    runtime: &Runtime,
    admin: &LogAdmin,
    others: &[Standing],
) -> Result<(), Error> {
    let logs = Replays::new(settings);
    let found: HashMap<&str, u64> = others.iter().map(|f| (f.path.as_str(), f.bytes)).collect();
    let mut known = HashSet::new();
    for position in job.positions.clone() {
        let id = &position.partition;
        let files = runtime.block_on(logs.files(id))?;
        let (findings, absent) = replays(id, &files, &found);
        job.findings.extend(findings);
        let paths = absent.iter().map(|file| file.path.clone()).collect();
        // Those that came since the tree was listed.
        let there = runtime.block_on(admin.standing(paths))?;
        let gone = absent
            .into_iter()
            .filter(|file| !there.contains(&file.path));
        job.findings
            .extend(gone.map(|file| absent_replay(id, file)));
        known.extend(files.into_iter().map(|file| file.path));
    }
    for other in others.iter().filter(|other| !known.contains(&other.path)) {
        let topics = job.positions.iter().map(|p| p.partition.topic.clone());
        let mut topics = topics.filter(|topic| {
            let folder = names::topic_segment(topic);
            other.path.split('/').next() == Some(folder.as_str())
        });
        let topic = topics.next();
        if topic.is_some_and(|topic| job.is_whole_topic(&topic)) {
            job.findings.push(nameless(other));
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
        let mut books = Books::new(self, job, log, absent, start);
        books.before(start)?;
        let range = Range::new(start, judged.end);
        let mut scanner = books.scanner()?;
        books.count_the_first(&mut scanner, range)?;
        let reached = scanner.read(&id, range, &mut |told| match told {
            Told::Record(record) => {
                progress.at(&id, record.offset, judged);
                books.record(&record)
            }
            Told::Gone(offset) => {
                books.gone_below(offset);
                Ok(())
            }
        })?;
        let unsorted = books.finish(judged.end)?;
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
