//! What was compared and what came of it: as a table for people, as JSON for programs.
//!
//! # The JSON
//!
//! An array with one object for each configuration file. Keys are only ever added.
//!
//! | key | what |
//! |---|---|
//! | `sink`, `kind`, `group`, `cluster_id` | which sink, `elasticsearch` or `hdfs`, its group, Kafka's cluster |
//! | `deep` | whether contents were compared |
//! | `error` | why not all, or nothing, could be judged; null otherwise |
//! | `verdict` | `all_there`, `findings`, or `not_judged` (something couldn't be looked at, and nothing wrong was found) |
//! | `partitions[]` | `topic`, `partition`, `log_start_offset`, `log_end_offset`; `first` and `end`: what was judged, half-open, null if nothing; `records`: read from Kafka; `in_sink`: found there; `refused`: in the dead letter topic or refused by policy; `skipped`: null values and what a person left out; `gone_offsets`: offsets that Kafka doesn't have any more; `behind`: offsets that aren't committed yet; `error` |
//! | `findings[]` | `kind` (`missing`, `doubled`, `changed`, `out_of_order`, `extra`, `gap`, `damaged`), `topic`, `partition`, `first`, `end`, `records`, `place` (a file, relative to the base, or an index), `what`, `help`; null where it doesn't apply |
//! | `left_out[]` | `kind`, `findings`, `records`: beyond the first thousand findings, only counted |
//! | `notes[]` | what can't be known, and what was taken for granted |

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::findings::Findings;
use crate::config::settings::Settings;
use crate::error::Error;
use crate::offsets::{Range, TopicPartition};

/// One partition.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Which.
    pub partition: TopicPartition,
    /// The oldest offset that the broker has.
    pub log_start: i64,
    /// The log end offset.
    pub log_end: i64,
    /// Which offsets were judged; none if nothing is committed, or if it couldn't be.
    pub judged: Option<Range>,
    /// Records of Kafka that were looked at.
    pub records: u64,
    /// Records found in the sink.
    pub in_sink: u64,
    /// Records that were refused, and are accounted for.
    pub refused: u64,
    /// Records that were never to be written: null values, and what a person left out.
    pub skipped: u64,
    /// What is to be committed next: the end of what was judged, or behind it, where no more records are.
    pub next: i64,
    /// Why it couldn't be judged.
    pub error: Option<String>,
}

impl Compared {
    /// Nothing was looked at yet.
    pub fn new(partition: TopicPartition, log: Range) -> Self {
        Compared {
            partition,
            log_start: log.first,
            log_end: log.end,
            judged: None,
            records: 0,
            in_sink: 0,
            refused: 0,
            skipped: 0,
            next: log.first,
            error: None,
        }
    }

    /// Judged offsets that Kafka doesn't have any more.
    pub fn gone(&self) -> i64 {
        let gone = |judged: Range| self.log_start.min(judged.end) - judged.first;
        self.judged.map_or(0, gone).max(0)
    }

    /// Offsets that aren't committed yet.
    pub fn behind(&self) -> i64 {
        (self.log_end - self.next).max(0)
    }
}

/// What came of a sink's verification.
#[derive(Debug, Clone)]
pub struct Report {
    /// The sink's name.
    pub sink: String,
    /// `elasticsearch` or `hdfs`.
    pub kind: &'static str,
    /// Its consumer group.
    pub group: String,
    /// Kafka's cluster id.
    pub cluster_id: String,
    /// Whether contents were compared.
    pub deep: bool,
    /// Why not all, or nothing, could be judged.
    pub error: Option<String>,
    /// The partitions.
    pub partitions: Vec<Compared>,
    /// What is wrong.
    pub findings: Findings,
    /// What can't be known, and what was taken for granted.
    pub notes: Vec<String>,
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that can be judged is there, once, as it was.
    AllThere,
    /// Something is wrong.
    Findings,
    /// Nothing wrong was found, but something couldn't be looked at.
    NotJudged,
}

impl Report {
    /// Nothing could be judged.
    pub fn failed(settings: &Settings, deep: bool, error: &Error) -> Self {
        Report {
            sink: settings.name.to_string(),
            kind: settings.sink.kind(),
            group: settings.kafka.group_id.to_string(),
            cluster_id: String::new(),
            deep,
            error: Some(error.what.clone()),
            partitions: Vec::new(),
            findings: Findings::default(),
            notes: Vec::new(),
        }
    }

    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        if !self.findings.is_empty() {
            Verdict::Findings
        } else if self.error.is_some() || self.partitions.iter().any(|p| p.error.is_some()) {
            Verdict::NotJudged
        } else {
            Verdict::AllThere
        }
    }

    /// The findings for people; each kind's help once.
    pub fn findings_text(&self, most: usize) -> String {
        let mut text = String::new();
        let mut helped = Vec::new();
        for finding in self.findings.all.iter().take(most) {
            let _ = writeln!(text, "{finding}");
            let help = (finding.kind, finding.help);
            if !finding.help.is_empty() && !helped.contains(&help) {
                let _ = writeln!(text, "  = help: {}", finding.help);
                helped.push(help);
            }
        }
        let shown = self.findings.all.len().min(most) as u64;
        let more = self.findings.len() - shown;
        if more > 0 {
            let _ = writeln!(text, "and {more} findings more; --json has them");
        }
        text
    }

    /// As JSON; see the module's page.
    pub fn json(&self) -> Value {
        let partitions = self.partitions.iter().map(|compared| {
            json!({
                "topic": *compared.partition.topic,
                "partition": compared.partition.partition,
                "log_start_offset": compared.log_start,
                "log_end_offset": compared.log_end,
                "first": compared.judged.map(|judged| judged.first),
                "end": compared.judged.map(|judged| judged.end),
                "records": compared.records,
                "in_sink": compared.in_sink,
                "refused": compared.refused,
                "skipped": compared.skipped,
                "gone_offsets": compared.gone(),
                "behind": compared.behind(),
                "error": compared.error,
            })
        });
        let findings = self.findings.all.iter().map(|finding| {
            json!({
                "kind": finding.kind.name(),
                "topic": finding.partition.as_ref().map(|id| &*id.topic),
                "partition": finding.partition.as_ref().map(|id| id.partition),
                "first": finding.range.map(|range| range.first),
                "end": finding.range.map(|range| range.end),
                "records": finding.records,
                "place": finding.place,
                "what": finding.what,
                "help": finding.help,
            })
        });
        let left_out = self.findings.left_out.iter().map(|(kind, (findings, records))| {
            json!({"kind": kind.name(), "findings": findings, "records": records})
        });
        json!({
            "sink": self.sink,
            "kind": self.kind,
            "group": self.group,
            "cluster_id": self.cluster_id,
            "deep": self.deep,
            "error": self.error,
            "verdict": match self.verdict() {
                Verdict::AllThere => "all_there",
                Verdict::Findings => "findings",
                Verdict::NotJudged => "not_judged",
            },
            "partitions": partitions.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
            "left_out": left_out.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::findings::{Finding, Kind};

    fn report() -> Report {
        let mut compared = Compared::new(TopicPartition::new("t", 0), Range::new(10, 100));
        compared.judged = Some(Range::new(4, 88));
        compared.next = 90;
        Report {
            sink: "hdfs".into(),
            kind: "hdfs",
            group: "g".into(),
            cluster_id: "c".into(),
            deep: false,
            error: None,
            partitions: vec![compared],
            findings: Findings::default(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_verdict_says_the_worst() {
        let mut report = report();
        assert_eq!(report.verdict(), Verdict::AllThere);
        assert_eq!(
            (report.partitions[0].gone(), report.partitions[0].behind()),
            (6, 10)
        );
        report.partitions[0].error = Some("no answer".into());
        assert_eq!(report.verdict(), Verdict::NotJudged);
        report.findings.push(Finding {
            kind: Kind::Missing,
            partition: Some(TopicPartition::new("t", 0)),
            range: Some(Range::new(12, 14)),
            records: 2,
            place: Some("t/f.json".into()),
            what: "they stand nowhere".into(),
            help: "look",
        });
        assert_eq!(report.verdict(), Verdict::Findings);
        let text = "missing: t[0] [12, 14), 2 records: they stand nowhere\n  in t/f.json\n  = help: look\n";
        assert_eq!(report.findings_text(9), text);
        assert_eq!(report.json()["findings"][0]["end"], 14);
        assert_eq!(report.json()["verdict"], "findings");
    }
}
