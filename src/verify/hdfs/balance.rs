//! What the numbers of a file or a commit say: records that Kafka has, records that the log says, lines. Pure.

use std::cmp::Ordering;

use super::super::MISSING_HELP;
use super::super::findings::{Finding, Kind};
use super::super::log::Commit;
use crate::offsets::{Range, TopicPartition};
use crate::sinks::hdfs::log::FileEntry;

const DAMAGED_HELP: &str = "restore it (trash, snapshots); or, while Kafka has the records, stop outflow and go back with \
                            `outflow group reset --to`";
/// What to do about a file whose content isn't what was committed.
pub(super) const FILE_HELP: &str = "outflow never changes a committed file: find out who did; while Kafka has the records, \
                                    they can be written again with `outflow group reset --to`";

fn of_file(id: &TopicPartition, file: &FileEntry, what: String) -> Finding {
    Finding {
        kind: Kind::Damaged,
        partition: Some(id.clone()),
        range: Some(Range::new(file.first, file.last + 1)),
        records: file.records,
        place: Some(file.path.clone()),
        what,
        help: DAMAGED_HELP,
    }
}

/// A file that can't be read on.
pub(super) fn damaged(id: &TopicPartition, file: &FileEntry, why: &str) -> Finding {
    of_file(
        id,
        file,
        format!("the file can't be read to its end: {why}"),
    )
}

/// How `have` differs from what is `wanted`, if it does.
fn difference(have: u64, wanted: u64) -> Option<(Kind, u64)> {
    match have.cmp(&wanted) {
        Ordering::Equal => None,
        Ordering::Less => Some((Kind::Missing, wanted - have)),
        Ordering::Greater => Some((Kind::Extra, have - wanted)),
    }
}

/// A file's lines, against what was committed.
pub(super) fn by_lines(id: &TopicPartition, file: &FileEntry, lines: u64) -> Option<Finding> {
    let (kind, records) = difference(lines, file.records)?;
    let what = format!(
        "the file has {lines} lines, and {} were committed",
        file.records
    );
    Some(Finding {
        kind,
        records,
        help: FILE_HELP,
        ..of_file(id, file, what)
    })
}

/// A file's records as they were committed, against those that Kafka has. `may_be_fewer`: Kafka may have fewer
/// (compaction, retention).
pub(super) fn by_number(
    id: &TopicPartition,
    file: &FileEntry,
    records: u64,
    may_be_fewer: bool,
) -> Option<Finding> {
    let (kind, num) = difference(file.records, records)?;
    let what = format!(
        "the log says that the file has {} records, and Kafka has {records} there",
        file.records
    );
    (kind == Kind::Missing || !may_be_fewer).then(|| Finding {
        kind,
        records: num,
        help: MISSING_HELP,
        ..of_file(id, file, what)
    })
}

/// All of a commit's records, against those that Kafka has.
pub(super) fn by_entry(id: &TopicPartition, commit: &Commit, records: u64) -> Option<Finding> {
    let written: u64 = commit.files.iter().map(|file| file.records).sum();
    let (kind, num) = difference(written, records)?;
    Some(Finding {
        kind,
        partition: Some(id.clone()),
        range: Some(commit.range),
        records: num,
        place: None,
        what: format!(
            "entry {} has {written} records, and Kafka has {records} there",
            commit.seq
        ),
        help: MISSING_HELP,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_differ_are_missing_or_extra_unless_kafka_may_have_forgotten() {
        let id = TopicPartition::new("t", 0);
        let file = FileEntry {
            temp: String::new(),
            path: "t/f.json".into(),
            records: 10,
            bytes: 1,
            first: 100,
            last: 120,
            origins: Vec::new(),
        };
        let told = |finding: Option<Finding>| finding.map(|f| (f.kind, f.records));
        for (records, may_be_fewer, expected) in [
            (10, false, None),
            (12, false, Some((Kind::Missing, 2))),
            (12, true, Some((Kind::Missing, 2))),
            (7, false, Some((Kind::Extra, 3))),
            (7, true, None),
        ] {
            let found = told(by_number(&id, &file, records, may_be_fewer));
            assert_eq!(found, expected, "{records}");
        }
        assert_eq!(told(by_lines(&id, &file, 9)), Some((Kind::Missing, 1)));
        assert_eq!(told(by_lines(&id, &file, 11)), Some((Kind::Extra, 1)));
        assert_eq!(told(by_lines(&id, &file, 10)), None);
        let commit = Commit {
            seq: 4,
            range: Range::new(100, 130),
            files: vec![file.clone(), file],
        };
        assert_eq!(told(by_entry(&id, &commit, 21)), Some((Kind::Missing, 1)));
        assert_eq!(told(by_entry(&id, &commit, 20)), None);
    }
}
