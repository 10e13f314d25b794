//! The checker: holds the ledger against what stands in Elasticsearch and in HDFS, independently of
//! outflow. Pure: documents and files are read elsewhere.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde_json::Value;

use crate::documents::Document;
use crate::files::CommittedFile;
use crate::ledger::{Entry, Ledger};

/// What was found. Each finding is a sentence for people.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many records were expected.
    pub num_expected: usize,
    /// How many documents or lines were found.
    pub num_found: usize,
    /// Expected, and not there.
    pub missing: Vec<String>,
    /// There more than once.
    pub doubled: Vec<String>,
    /// There with other content, in the wrong place, or never produced.
    pub changed: Vec<String>,
    /// There in the wrong order, or files whose ranges overlap.
    pub out_of_order: Vec<String>,
}

impl Report {
    /// Whether all is as it must be.
    pub fn is_clean(&self) -> bool {
        [
            &self.missing,
            &self.doubled,
            &self.changed,
            &self.out_of_order,
        ]
        .iter()
        .all(|findings| findings.is_empty())
    }

    /// Whether nothing is missing or changed; duplicates are allowed.
    pub fn is_lossless(&self) -> bool {
        self.missing.is_empty() && self.changed.is_empty()
    }

    /// Panics with the report unless it is clean, or if nothing was expected: then nothing was checked.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(
            self.num_expected > 0,
            "nothing was expected, so nothing was checked"
        );
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected {}, found {}",
            self.num_expected, self.num_found
        )?;
        let parts = [
            ("missing", &self.missing),
            ("doubled", &self.doubled),
            ("changed", &self.changed),
            ("out of order", &self.out_of_order),
        ];
        for (name, findings) in parts {
            write!(f, ", {name} {}", findings.len())?;
        }
        for (name, findings) in parts {
            for finding in findings.iter().take(5) {
                write!(f, "\n  {name}: {finding}")?;
            }
            if findings.len() > 5 {
                write!(f, "\n  {name}: ... and {} more", findings.len() - 5)?;
            }
        }
        Ok(())
    }
}

/// Where documents' ids come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// `topic+partition+offset`.
    Offset,
    /// The record's key: the newest record of a key stands, with its offset as the version.
    Key,
    /// Chosen by Elasticsearch: records are told apart by their content.
    Chosen,
}

/// Holds the ledger against the documents of an index.
pub fn check_elasticsearch(ledger: &Ledger, documents: &[Document], ids: Ids) -> Report {
    match ids {
        Ids::Offset => {
            let id =
                |entry: &Entry| format!("{}+{}+{}", entry.topic, entry.partition, entry.offset);
            let all = ledger.iter().filter(|entry| entry.value.is_some());
            check_by_id(
                all.map(|entry| (id(entry), entry)).collect(),
                documents,
                None,
            )
        }
        Ids::Key => {
            let mut newest: BTreeMap<String, &Entry> = BTreeMap::new();
            for entry in ledger.iter() {
                let Some(key) = &entry.key else { continue };
                let key = String::from_utf8_lossy(key).into_owned();
                let slot = newest.entry(key).or_insert(entry);
                if entry.offset >= slot.offset {
                    *slot = entry;
                }
            }
            newest.retain(|_, entry| entry.value.is_some());
            check_by_id(newest, documents, Some(|entry: &Entry| entry.offset))
        }
        Ids::Chosen => check_by_content(ledger, documents),
    }
}

fn check_by_id(
    expected: BTreeMap<String, &Entry>,
    documents: &[Document],
    version: Option<fn(&Entry) -> i64>,
) -> Report {
    let (num_expected, num_found) = (expected.len(), documents.len());
    let mut report = Report {
        num_expected,
        num_found,
        ..Report::default()
    };
    let mut seen = HashSet::new();
    for document in documents {
        let Some(entry) = expected.get(&document.id) else {
            report.changed.push(format!(
                "{} in {}: never produced",
                document.id, document.index
            ));
            continue;
        };
        if !seen.insert(document.id.as_str()) {
            report
                .doubled
                .push(format!("{} (again in {})", document.id, document.index));
            continue;
        }
        let wanted = entry.value.as_deref().map(serde_json::from_slice::<Value>);
        if !matches!(&wanted, Some(Ok(wanted)) if *wanted == document.source) {
            let source = &document.source;
            report
                .changed
                .push(format!("{} ({}): {source}", document.id, entry.place()));
        } else if let Some(version) = version.map(|version| version(entry))
            && version != document.version
        {
            let found = document.version;
            report
                .changed
                .push(format!("{}: version {found}, not {version}", document.id));
        }
    }
    let missing = expected
        .iter()
        .filter(|(id, _)| !seen.contains(id.as_str()));
    report.missing = missing
        .map(|(id, entry)| format!("{id} ({})", entry.place()))
        .collect();
    report
}

fn check_by_content(ledger: &Ledger, documents: &[Document]) -> Report {
    let mut report = Report {
        num_found: documents.len(),
        ..Report::default()
    };
    let mut expected: HashMap<String, (&Entry, usize, usize)> = HashMap::new();
    for entry in ledger.iter() {
        let Some(value) = &entry.value else { continue };
        report.num_expected += 1;
        let parsed = serde_json::from_slice::<Value>(value).unwrap_or(Value::Null);
        expected
            .entry(parsed.to_string())
            .or_insert((entry, 0, 0))
            .1 += 1;
    }
    for document in documents {
        match expected.get_mut(&document.source.to_string()) {
            Some((_, _, found)) => *found += 1,
            None => report
                .changed
                .push(format!("never produced: {}", document.source)),
        }
    }
    for (entry, wanted, found) in expected.values() {
        let place = entry.place();
        if found < wanted {
            report.missing.push(format!("{place}: {found} of {wanted}"));
        } else if found > wanted {
            report
                .doubled
                .push(format!("{place}: {found} times, not {wanted}"));
        }
    }
    report.missing.sort();
    report.doubled.sort();
    report
}

/// A committed file's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    /// The folder.
    pub dir: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset, inclusive.
    pub first: i64,
    /// The last offset, inclusive.
    pub last: i64,
    /// The dead letter topic, if the file holds replayed dead letters: records between its first and its last
    /// offset may then stand elsewhere.
    pub replayed_from: Option<String>,
}

impl FileName {
    /// Takes `<base>/<topic>/<partition path>/<topic>+<partition>+<first>+<last>.<ext>` apart; of replayed dead
    /// letters the name begins with `<dead letter topic>+`.
    pub fn parse(base: &str, path: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{path}: {why}");
        let base = base.trim_end_matches('/');
        let below = path
            .strip_prefix(base)
            .and_then(|rest| rest.strip_prefix('/'));
        let below = below.ok_or_else(|| wrong("isn't under the base path"))?;
        let (topic_dir, _) = below
            .split_once('/')
            .ok_or_else(|| wrong("has no topic folder"))?;
        let (dir, name) = path
            .rsplit_once('/')
            .ok_or_else(|| wrong("has no folder"))?;
        let mut parts = name.rsplitn(4, '+');
        let mut part = || {
            parts
                .next()
                .ok_or_else(|| wrong("isn't <topic>+<n>+<first>+<last>"))
        };
        let (last, first, partition, topic) = (part()?, part()?, part()?, part()?);
        let (replayed_from, topic) = match topic.split_once('+') {
            Some((dead_letters, topic)) => (Some(dead_letters.to_owned()), topic),
            None => (None, topic),
        };
        let (last, _) = last
            .split_once('.')
            .ok_or_else(|| wrong("has no extension"))?;
        let offset = |text: &str| {
            let digits = text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| text.parse::<i64>().ok()).flatten();
            number.ok_or_else(|| wrong("offsets aren't of 20 digits"))
        };
        let (first, last) = (offset(first)?, offset(last)?);
        let partition = partition
            .parse()
            .map_err(|_| wrong("the partition isn't a number"))?;
        if first > last {
            return Err(wrong("first is beyond last"));
        }
        if topic_dir != topic {
            return Err(wrong("stands in another topic's folder"));
        }
        Ok(Self {
            dir: dir.to_owned(),
            topic: topic.to_owned(),
            partition,
            first,
            last,
            replayed_from,
        })
    }
}

/// (topic, partition, line) -> offsets: equal values may stand at several.
type ByValue<'a> = HashMap<(&'a str, i32, Vec<u8>), Vec<i64>>;
/// (folder, partition) -> first, last and path of its files.
type Ranges<'a> = BTreeMap<(String, i32), Vec<(i64, i64, &'a str)>>;

/// Holds the ledger against the committed files under `base`: each record in exactly one file, once, in
/// offset order, unchanged, within the range that the file's name says; ranges in one folder disjoint.
pub fn check_hdfs(ledger: &Ledger, base: &str, files: &[CommittedFile]) -> Report {
    let mut report = Report::default();
    let mut by_value: ByValue<'_> = HashMap::new();
    for entry in ledger.iter() {
        let Some(value) = &entry.value else { continue };
        report.num_expected += 1;
        let key = (entry.topic.as_str(), entry.partition, one_line(value));
        by_value.entry(key).or_default().push(entry.offset);
    }
    let mut found: HashMap<(String, i32, i64), usize> = HashMap::new();
    let mut ranges: Ranges<'_> = BTreeMap::new();
    for file in files {
        report.num_found += file.lines.len();
        let name = match FileName::parse(base, &file.path) {
            Ok(name) => name,
            Err(why) => {
                report.changed.push(why);
                continue;
            }
        };
        if name.replayed_from.is_none() {
            let folder = (name.dir.clone(), name.partition);
            let folder = ranges.entry(folder).or_default();
            folder.push((name.first, name.last, &file.path));
        }
        check_file(&mut report, &name, file, &by_value, &mut found);
    }
    for entry in ledger.iter().filter(|entry| entry.value.is_some()) {
        match found.get(&(entry.topic.clone(), entry.partition, entry.offset)) {
            None => report.missing.push(entry.place()),
            Some(1) => {}
            Some(num) => report
                .doubled
                .push(format!("{}: {num} times", entry.place())),
        }
    }
    for folder in ranges.values_mut() {
        folder.sort_unstable();
        for pair in folder.windows(2) {
            if let [(_, last, path), (first, _, next)] = pair
                && first <= last
            {
                report
                    .out_of_order
                    .push(format!("{path} and {next} overlap"));
            }
        }
    }
    report
}

fn check_file(
    report: &mut Report,
    name: &FileName,
    file: &CommittedFile,
    by_value: &ByValue<'_>,
    found: &mut HashMap<(String, i32, i64), usize>,
) {
    let path = &file.path;
    let mut previous = -1;
    let mut seen = (i64::MAX, i64::MIN);
    for (number, line) in (1..).zip(&file.lines) {
        let key = (name.topic.as_str(), name.partition, line.clone());
        let Some(offsets) = by_value.get(&key) else {
            let text = String::from_utf8_lossy(&line[..line.len().min(200)]);
            report.changed.push(format!(
                "{path} line {number}: never produced there: {text}"
            ));
            continue;
        };
        // Equal values may stand at several offsets: the next one in order is meant.
        let next = offsets.iter().find(|offset| **offset > previous);
        let Some(offset) = next.or(offsets.first()).copied() else {
            continue;
        };
        if offset <= previous {
            report
                .out_of_order
                .push(format!("{path} line {number}: {offset} after {previous}"));
        }
        if offset < name.first || offset > name.last {
            report
                .changed
                .push(format!("{path} line {number}: {offset} is beyond its name"));
        }
        previous = offset;
        seen = (seen.0.min(offset), seen.1.max(offset));
        *found
            .entry((name.topic.clone(), name.partition, offset))
            .or_default() += 1;
    }
    if seen.0 <= seen.1 && seen != (name.first, name.last) {
        let (first, last) = seen;
        report
            .changed
            .push(format!("{path}: its records are {first} to {last}"));
    }
}

/// As it must stand on one line: raw line breaks in JSON are white space, and blanked.
fn one_line(value: &[u8]) -> Vec<u8> {
    value
        .iter()
        .map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                *byte
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
