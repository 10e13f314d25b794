//! What a commit log with its history says, and whether the files in the tree agree with it. Pure.

use std::collections::{HashMap, HashSet};

use super::findings::{Finding, Kind};
use crate::offsets::{Range, TopicPartition};
use crate::sinks::hdfs::log::names::FileName;
use crate::sinks::hdfs::log::{Entry, FileEntry};

/// One commit, as far as it still counts: a move may have cut off its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The entry's number.
    pub seq: u64,
    /// What it covers.
    pub range: Range,
    /// Its files that no move has taken out of the tree.
    pub files: Vec<FileEntry>,
}

/// A file as it stands in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its path, relative to the base.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

impl Standing {
    /// What its name says, if it is one of ours.
    pub fn name(&self) -> Option<FileName> {
        FileName::parse(self.path.rsplit('/').next()?)
    }
}

/// What a log says of the topic that there is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The commits, in the order of their offsets.
    pub commits: Vec<Commit>,
    /// What a person has left out by moving the log forward.
    pub left_out: Vec<Range>,
    /// Where it begins: what lies before was never meant.
    pub begin: i64,
    /// Where it ends: what lies behind is on its way.
    pub end: i64,
    /// What is wrong with the log itself.
    pub findings: Vec<Finding>,
    /// Files that a move took out of the tree.
    aside: HashSet<String>,
    /// Files of a topic of this name that was there before.
    earlier: HashSet<String>,
}

const LOG_HELP: &str = "entries never change and are never deleted by outflow: was _outflow changed by hand, or restored \
                        from an old copy?";
const UNKNOWN_HELP: &str =
    "readers of the folder read it besides: move it away if nobody knows what it is for";

impl Log {
    /// Reads the entries of a partition's log, the oldest first.
    pub fn read(partition: &TopicPartition, entries: &[Entry]) -> Self {
        let mut log = Log::default();
        let mut before: Option<&Entry> = None;
        for entry in entries {
            match before {
                None => {
                    log.begin = entry.first;
                    if entry.seq > 0 {
                        let what = format!(
                            "the log's first {} entries aren't in its history",
                            entry.seq
                        );
                        let range = Range::new(0, entry.first);
                        log.findings.push(gap(partition, Kind::Gap, range, what));
                    }
                }
                Some(before) => log.follow(partition, before, entry),
            }
            log.take(entry);
            log.end = entry.end;
            before = Some(entry);
        }
        log
    }

    /// Whether `entry` goes on where the one before ended.
    fn follow(&mut self, partition: &TopicPartition, before: &Entry, entry: &Entry) {
        let goes_on = entry.moved.as_ref().map_or(entry.first, |moved| moved.from);
        if entry.seq != before.seq + 1 {
            let what = format!(
                "entries {} to {} aren't in the log nor in its history",
                before.seq + 1,
                entry.seq - 1
            );
            let range = Range::new(before.end, goes_on.max(before.end));
            self.findings.push(gap(partition, Kind::Gap, range, what));
        } else if goes_on > before.end {
            let what = format!(
                "entry {} begins behind the end of the one before",
                entry.seq
            );
            let range = Range::new(before.end, goes_on);
            self.findings.push(gap(partition, Kind::Gap, range, what));
        } else if goes_on < before.end && entry.moved.is_none() {
            let what = format!(
                "entry {} begins before the end of the one before",
                entry.seq
            );
            let range = Range::new(goes_on, before.end.min(entry.end));
            self.findings
                .push(gap(partition, Kind::Doubled, range, what));
        }
    }

    fn take(&mut self, entry: &Entry) {
        let Some(moved) = &entry.moved else {
            if !entry.range().is_empty() {
                self.commits.push(Commit {
                    seq: entry.seq,
                    range: entry.range(),
                    files: entry.files.clone(),
                });
            }
            return;
        };
        let was = moved.was.as_ref();
        if was.is_some_and(|was| was.topic_id != entry.identity.topic_id) {
            // Another topic's offsets say nothing about this one's.
            let files = self.commits.drain(..).flat_map(|commit| commit.files);
            self.earlier.extend(files.map(|file| file.path));
            self.left_out.clear();
            self.findings.clear();
            self.begin = entry.first;
            return;
        }
        let (from, to) = (moved.from, entry.first);
        for commit in &mut self.commits {
            commit
                .files
                .retain(|file| !moved.aside.contains(&file.path));
            commit.range.end = commit.range.end.min(to);
        }
        self.commits
            .retain(|commit| !commit.range.is_empty() || !commit.files.is_empty());
        for range in &mut self.left_out {
            range.end = range.end.min(to);
        }
        self.left_out.retain(|range| !range.is_empty());
        if to > from {
            self.left_out.push(Range::new(from, to));
        }
        self.begin = self.begin.min(to);
        self.aside.extend(moved.aside.iter().cloned());
    }

    /// The files that should stand in the tree: (commit, file).
    fn live(&self) -> HashMap<&str, &FileEntry> {
        let files = self.commits.iter().flat_map(|commit| &commit.files);
        files.map(|file| (file.path.as_str(), file)).collect()
    }

    /// Compares the files of this partition that stand in the tree with what the log names. Returns what is wrong,
    /// and the paths of files that should stand there and weren't seen.
    pub fn compare(
        &self,
        partition: &TopicPartition,
        standing: &[Standing],
    ) -> (Vec<Finding>, Vec<String>) {
        let mut live = self.live();
        let lengths: HashMap<u64, &str> =
            live.values().map(|f| (f.bytes, f.path.as_str())).collect();
        let mut findings = Vec::new();
        for found in standing {
            match live.remove(found.path.as_str()) {
                Some(file) if file.bytes == found.bytes => {}
                Some(file) => findings.push(Finding {
                    kind: Kind::Damaged,
                    partition: Some(partition.clone()),
                    range: Some(Range::new(file.first, file.last + 1)),
                    records: file.records,
                    place: Some(found.path.clone()),
                    what: format!(
                        "the file has {} bytes, and {} were committed",
                        found.bytes, file.bytes
                    ),
                    help: "outflow never changes a committed file: find out who did; --deep says what of it is still \
                           there",
                }),
                None if self.earlier.contains(&found.path) => {}
                None => findings.push(self.stranger(partition, found, &lengths)),
            }
        }
        let mut absent: Vec<String> = live.into_keys().map(str::to_owned).collect();
        absent.sort_unstable();
        (findings, absent)
    }

    /// A file that the log doesn't name.
    fn stranger(
        &self,
        partition: &TopicPartition,
        found: &Standing,
        lengths: &HashMap<u64, &str>,
    ) -> Finding {
        let name = found.name();
        let range = name
            .as_ref()
            .map(|name| Range::new(name.first, name.last + 1));
        let is_covered = range.is_some_and(|range| {
            let mut commits = self.commits.iter().map(|commit| commit.range);
            commits.any(|commit| commit.first < range.end && range.first < commit.end)
        });
        let copy_of = lengths.get(&found.bytes).filter(|_| found.bytes > 0);
        let what = if self.aside.contains(&found.path) {
            "a file that was taken out of the tree when the log was moved stands in it again"
                .to_owned()
        } else if let Some(original) = copy_of {
            format!("no entry names this file; it is as long as {original}: a copy?")
        } else {
            "no entry names this file".to_owned()
        };
        let is_doubled = is_covered || copy_of.is_some() || self.aside.contains(&found.path);
        Finding {
            kind: if is_doubled {
                Kind::Doubled
            } else {
                Kind::Extra
            },
            partition: Some(partition.clone()),
            range,
            records: 0,
            place: Some(found.path.clone()),
            what,
            help: UNKNOWN_HELP,
        }
    }

    /// The finding for a file that isn't there.
    pub fn absent(&self, partition: &TopicPartition, path: &str) -> Option<Finding> {
        let file = *self.live().get(path)?;
        Some(Finding {
            kind: Kind::Missing,
            partition: Some(partition.clone()),
            range: Some(Range::new(file.first, file.last + 1)),
            records: file.records,
            place: Some(path.to_owned()),
            what: "the file was committed, and isn't there".to_owned(),
            help: "restore it (trash, snapshots); or, while Kafka has the records, stop outflow and go back with `outflow \
                   group reset --to`",
        })
    }
}

/// The files of a partition's replayed dead letters, against those in the tree (`found`: by path, their lengths).
/// Returns what is wrong with those that are there, and those that aren't.
pub fn replays<'a>(
    partition: &TopicPartition,
    files: &'a [FileEntry],
    found: &HashMap<&str, u64>,
) -> (Vec<Finding>, Vec<&'a FileEntry>) {
    let (mut findings, mut absent) = (Vec::new(), Vec::new());
    for file in files {
        match found.get(file.path.as_str()) {
            Some(bytes) if *bytes == file.bytes => {}
            Some(bytes) => findings.push(Finding {
                what: format!(
                    "the file of replayed dead letters has {bytes} bytes, and {} were committed",
                    file.bytes
                ),
                ..replay(partition, file, Kind::Damaged)
            }),
            None => absent.push(file),
        }
    }
    (findings, absent)
}

/// The finding for a file of replayed dead letters that isn't there.
pub fn absent_replay(partition: &TopicPartition, file: &FileEntry) -> Finding {
    replay(partition, file, Kind::Missing)
}

fn replay(partition: &TopicPartition, file: &FileEntry, kind: Kind) -> Finding {
    let first = file.origins.first().map_or(file.first, |(first, _)| *first);
    let last = file.origins.last().map_or(file.last, |(_, last)| *last);
    Finding {
        kind,
        partition: Some(partition.clone()),
        range: Some(Range::new(first, last + 1)),
        records: file.records,
        place: Some(file.path.clone()),
        what: "the file of replayed dead letters was committed, and isn't there".to_owned(),
        help: "restore it (trash, snapshots), or replay its letters with `outflow deadletters replay --again`",
    }
}

/// A file in a topic's folders that can't be told to belong to a partition.
pub fn nameless(found: &Standing) -> Finding {
    Finding {
        kind: Kind::Extra,
        partition: None,
        range: None,
        records: 0,
        place: Some(found.path.clone()),
        what: "a file that outflow hasn't written".to_owned(),
        help: UNKNOWN_HELP,
    }
}

fn gap(partition: &TopicPartition, kind: Kind, range: Range, what: String) -> Finding {
    Finding {
        kind,
        partition: Some(partition.clone()),
        range: Some(range),
        records: 0,
        place: None,
        what,
        help: LOG_HELP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::hdfs::log::{Identity, MOVED_VERSION, Moved, VERSION};

    fn here() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn identity(topic_id: &str) -> Identity {
        Identity {
            cluster_id: "c".into(),
            topic_id: topic_id.into(),
            group: "g".into(),
        }
    }

    fn path(first: i64, last: i64) -> String {
        format!("t/partition=0/t+0+{first:020}+{last:020}.json")
    }

    fn entry(seq: u64, first: i64, end: i64, files: &[(i64, i64)]) -> Entry {
        let file = |(first, last): &(i64, i64)| FileEntry {
            temp: format!("me-{first}.tmp"),
            path: path(*first, *last),
            records: (last - first + 1) as u64,
            bytes: 1_000 + *first as u64,
            first: *first,
            last: *last,
            origins: Vec::new(),
        };
        Entry {
            version: VERSION,
            seq,
            identity: identity("t1"),
            leader_epoch: 0,
            first,
            end,
            attempt: "me".into(),
            files: files.iter().map(file).collect(),
            moved: None,
        }
    }

    fn moved(seq: u64, from: i64, to: i64, aside: &[(i64, i64)], was: Option<&str>) -> Entry {
        Entry {
            version: MOVED_VERSION,
            moved: Some(Moved {
                from,
                by: "reset".into(),
                was: was.map(identity),
                aside: aside
                    .iter()
                    .map(|(first, last)| path(*first, *last))
                    .collect(),
            }),
            ..entry(seq, to, to, &[])
        }
    }

    fn standing(first: i64, last: i64) -> Standing {
        Standing {
            path: path(first, last),
            bytes: 1_000 + first as u64,
        }
    }

    fn ranges(log: &Log) -> Vec<(i64, i64)> {
        log.commits
            .iter()
            .map(|c| (c.range.first, c.range.end))
            .collect()
    }

    fn kinds(findings: &[Finding]) -> Vec<(Kind, Option<Range>)> {
        findings.iter().map(|f| (f.kind, f.range)).collect()
    }

    #[test]
    fn a_log_that_goes_on_where_it_ended_is_whole() {
        let entries = [
            entry(0, 5, 5, &[]),
            entry(1, 5, 30, &[(5, 20), (7, 29)]),
            entry(2, 30, 40, &[]),
        ];
        let log = Log::read(&here(), &entries);
        assert_eq!(
            (log.begin, log.end, ranges(&log)),
            (5, 40, vec![(5, 30), (30, 40)])
        );
        assert_eq!(log.findings, []);
        let (findings, absent) = log.compare(&here(), &[standing(5, 20), standing(7, 29)]);
        assert_eq!((findings, absent), (vec![], vec![]));
    }

    #[test]
    fn what_the_log_lacks_or_has_twice_is_named() {
        let table = [
            (
                "lost entry",
                vec![entry(0, 0, 0, &[]), entry(2, 10, 20, &[])],
                Kind::Gap,
                (0, 10),
            ),
            (
                "lost history",
                vec![entry(4, 10, 20, &[])],
                Kind::Gap,
                (0, 10),
            ),
            (
                "a hole",
                vec![
                    entry(0, 0, 0, &[]),
                    entry(1, 0, 5, &[]),
                    entry(2, 8, 9, &[]),
                ],
                Kind::Gap,
                (5, 8),
            ),
            (
                "twice",
                vec![
                    entry(0, 0, 0, &[]),
                    entry(1, 0, 9, &[]),
                    entry(2, 6, 12, &[]),
                ],
                Kind::Doubled,
                (6, 9),
            ),
        ];
        for (name, entries, kind, (first, end)) in table {
            let log = Log::read(&here(), &entries);
            let expected = vec![(kind, Some(Range::new(first, end)))];
            assert_eq!(kinds(&log.findings), expected, "{name}");
        }
    }

    #[test]
    fn going_back_replaces_and_going_forward_leaves_out() {
        let entries = [
            entry(0, 0, 0, &[]),
            entry(1, 0, 20, &[(0, 9), (10, 19)]),
            moved(2, 20, 10, &[(10, 19)], None),
            entry(3, 10, 15, &[(10, 14)]),
            moved(4, 15, 50, &[], None),
            entry(5, 50, 60, &[(50, 59)]),
        ];
        let log = Log::read(&here(), &entries);
        assert_eq!(log.findings, []);
        assert_eq!(ranges(&log), [(0, 10), (10, 15), (50, 60)]);
        assert_eq!(log.left_out, [Range::new(15, 50)]);
        let tree = [standing(0, 9), standing(10, 14), standing(50, 59)];
        assert_eq!(log.compare(&here(), &tree), (vec![], vec![]));
        let put_back = [&tree[..], &[standing(10, 19)]].concat();
        let (findings, _) = log.compare(&here(), &put_back);
        assert_eq!(
            kinds(&findings),
            [(Kind::Doubled, Some(Range::new(10, 20)))]
        );
    }

    #[test]
    fn files_of_the_topic_that_was_there_before_are_nobodys_business() {
        let entries = [
            entry(0, 0, 0, &[]),
            entry(1, 0, 20, &[(0, 19)]),
            moved(2, 20, 3, &[], Some("t0")),
            entry(3, 3, 9, &[(3, 8)]),
        ];
        let log = Log::read(&here(), &entries);
        assert_eq!((log.begin, ranges(&log)), (3, vec![(3, 9)]));
        let tree = [standing(0, 19), standing(3, 8)];
        assert_eq!(log.compare(&here(), &tree), (vec![], vec![]));
    }

    #[test]
    fn files_that_are_gone_strange_or_of_another_length_are_named() {
        let entries = [entry(0, 0, 0, &[]), entry(1, 0, 20, &[(0, 9), (10, 19)])];
        let log = Log::read(&here(), &entries);
        let cut = Standing {
            bytes: 7,
            ..standing(0, 9)
        };
        let copy = Standing {
            path: path(5, 6),
            ..standing(10, 19)
        };
        let beyond = standing(700, 709);
        let (findings, absent) = log.compare(&here(), &[cut, copy, beyond]);
        assert_eq!(
            kinds(&findings),
            [
                (Kind::Damaged, Some(Range::new(0, 10))),
                (Kind::Doubled, Some(Range::new(5, 7))),
                (Kind::Extra, Some(Range::new(700, 710))),
            ]
        );
        assert!(findings[1].what.contains("a copy?"), "{}", findings[1].what);
        assert_eq!(absent, [path(10, 19)]);
        let missing = log.absent(&here(), &absent[0]).unwrap();
        assert_eq!((missing.kind, missing.records), (Kind::Missing, 10));
        assert_eq!(missing.range, Some(Range::new(10, 20)));
    }
}
