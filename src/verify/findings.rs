//! What is wrong, and where: kinds, offset ranges, places. Pure.

use std::collections::BTreeMap;
use std::fmt;

use crate::offsets::{Range, TopicPartition};

/// The most findings that are kept one by one; the rest is counted.
const MOST: usize = 1_000;

/// What is wrong with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// They stand nowhere.
    Missing,
    /// They stand in the sink more than once.
    Doubled,
    /// They stand there with another content, or as an older version.
    Changed,
    /// They stand there in a place that isn't theirs.
    OutOfOrder,
    /// Something stands in the sink that no record of Kafka explains.
    Extra,
    /// The commit log lacks entries, or contradicts itself.
    Gap,
    /// A file can't be read, or isn't as long as it was.
    Damaged,
}

impl Kind {
    /// The name in reports and in JSON; stable.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Missing => "missing",
            Kind::Doubled => "doubled",
            Kind::Changed => "changed",
            Kind::OutOfOrder => "out_of_order",
            Kind::Extra => "extra",
            Kind::Gap => "gap",
            Kind::Damaged => "damaged",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// The partition; none if it is about the sink as a whole.
    pub partition: Option<TopicPartition>,
    /// The offsets that it concerns. Not each of them need be a record.
    pub range: Option<Range>,
    /// How many records (or documents, or lines) it concerns.
    pub records: u64,
    /// The file or the index.
    pub place: Option<String>,
    /// One line.
    pub what: String,
    /// What to do.
    pub help: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind.name())?;
        if let Some(partition) = &self.partition {
            write!(f, " {partition}")?;
        }
        if let Some(range) = &self.range {
            write!(f, " {range}")?;
        }
        let noun = if self.records == 1 {
            "record"
        } else {
            "records"
        };
        if self.records > 0 {
            write!(f, ", {} {noun}", self.records)?;
        }
        write!(f, ": {}", self.what)?;
        match &self.place {
            Some(place) => write!(f, "\n  in {place}"),
            None => Ok(()),
        }
    }
}

/// All that was found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// One by one, as far as they are kept.
    pub all: Vec<Finding>,
    /// How many of a kind aren't kept, with how many records.
    pub left_out: BTreeMap<Kind, (u64, u64)>,
}

impl Findings {
    /// Keeps one, or counts it.
    pub fn push(&mut self, finding: Finding) {
        if self.all.len() < MOST {
            self.all.push(finding);
            return;
        }
        let (findings, records) = self.left_out.entry(finding.kind).or_default();
        *findings += 1;
        *records += finding.records;
    }

    /// Keeps several.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }

    /// Takes over what another has.
    pub fn merge(&mut self, other: Findings) {
        for (kind, (findings, records)) in other.left_out {
            let so_far = self.left_out.entry(kind).or_default();
            *so_far = (so_far.0 + findings, so_far.1 + records);
        }
        self.extend(other.all);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many there are in all.
    pub fn len(&self) -> u64 {
        let left_out: u64 = self.left_out.values().map(|(findings, _)| findings).sum();
        self.all.len() as u64 + left_out
    }
}

/// Records of one kind that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// What is wrong with them.
    pub kind: Kind,
    /// From the first to behind the last.
    pub range: Range,
    /// How many.
    pub records: u64,
}

/// Makes runs of what is told record by record, in offset order.
#[derive(Debug, Default)]
pub struct Runs {
    open: Option<(Run, u64)>,
}

impl Runs {
    /// The `number`th record that was looked at is wrong. A run that ends with that is returned.
    pub fn bad(&mut self, kind: Kind, number: u64, offset: i64) -> Option<Run> {
        match &mut self.open {
            Some((run, last)) if run.kind == kind && *last + 1 == number => {
                run.range.end = offset + 1;
                run.records += 1;
                *last = number;
                None
            }
            open => {
                let range = Range::new(offset, offset + 1);
                let run = Run {
                    kind,
                    range,
                    records: 1,
                };
                open.replace((run, number)).map(|(run, _)| run)
            }
        }
    }

    /// The last run.
    pub fn end(&mut self) -> Option<Run> {
        self.open.take().map(|(run, _)| run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_make_a_run_whatever_holes_kafka_has_between_them() {
        let mut runs = Runs::default();
        let mut done = Vec::new();
        // (number, offset): a marker stands at 12, and the record at 20 is fine.
        for (kind, number, offset) in [
            (Kind::Missing, 5, 10),
            (Kind::Missing, 6, 11),
            (Kind::Missing, 7, 13),
            (Kind::Changed, 8, 14),
            (Kind::Missing, 10, 21),
        ] {
            done.extend(runs.bad(kind, number, offset));
        }
        done.extend(runs.end());
        let run = |kind, first, end, records| Run {
            kind,
            range: Range::new(first, end),
            records,
        };
        assert_eq!(
            done,
            [
                run(Kind::Missing, 10, 14, 3),
                run(Kind::Changed, 14, 15, 1),
                run(Kind::Missing, 21, 22, 1),
            ]
        );
        assert_eq!(runs.end(), None);
    }

    #[test]
    fn what_is_too_much_to_keep_is_counted() {
        let mut findings = Findings::default();
        for _ in 0..MOST + 3 {
            findings.push(Finding {
                kind: Kind::Missing,
                partition: None,
                range: None,
                records: 2,
                place: None,
                what: "gone".into(),
                help: "",
            });
        }
        assert_eq!(findings.len(), MOST as u64 + 3);
        assert_eq!(findings.left_out.get(&Kind::Missing), Some(&(3, 6)));
    }
}
