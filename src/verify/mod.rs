//! `outflow verify`: is everything there? Kafka is compared with a sink, and what is missing, doubled, changed or
//! out of order is named by topic, partition and offsets. Reads only: joins no group, commits nothing, fences nobody.
//!
//! | file | what |
//! |---|---|
//! | [`findings`], [`report`] | what is wrong, and how it is told (pure) |
//! | [`log`] | HDFS's commit log with its history, and the files in the tree (pure) |
//! | [`sorter`] | which file of a commit a record belongs to (pure) |
//! | [`diff`] | a file's lines against its records, in bounded memory (pure) |
//! | [`room`] | what may be held in memory (pure) |
//! | [`documents`] | a window of records against the documents that were found (pure) |
//! | [`hdfs`], [`elasticsearch`] | the drivers: read both sides, and let the pure parts judge |
//!
//! A partition is judged from where its group began (or `--from`) to the committed offset, or to the commit log's
//! end for HDFS: what lies behind is on its way. Where those stand is asked first, the dead letter topic is read
//! after that, and the sink last; so what is committed by then is there by then, and a running sink is no trouble.
//! Offsets that Kafka doesn't have (retention, compaction, aborted records, markers) need no record in the sink.
//!
//! The fault suite doesn't use this: its checker, in the testbed, is independent of outflow.

pub mod diff;
pub mod documents;
mod elasticsearch;
pub mod findings;
mod hdfs;
pub mod log;
pub mod report;
pub mod room;
pub mod sorter;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::runtime::Runtime;

use self::findings::{Findings, Kind};
use self::report::{Compared, Report};
use self::room::Room;
use crate::config::settings::{
    KafkaSettings, OffsetLost, OffsetReset, RejectedPolicy, Settings, SinkSettings,
};
use crate::error::Error;
use crate::kafka::group::target::{Selection, Target};
use crate::kafka::group::{GroupClient, Standing};
use crate::kafka::letters::Letters;
use crate::kafka::scan::Scanner;
use crate::offsets::{Range, TopicPartition};

/// Windows of records that are looked up at once.
const MOST_AHEAD: usize = 4;

const MISSING_HELP: &str = "while Kafka has them: stop outflow, go back with `outflow group reset --to`, and start it again";

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Compare contents, too.
    pub deep: bool,
    /// Only these partitions.
    pub selection: Selection,
    /// Only what lies from here on.
    pub from: Option<Target>,
}

/// Is told how far it is.
pub trait Progress {
    /// Something else begins.
    fn phase(&mut self, what: &str);
    /// A record was looked at. Called for each: must be quick.
    fn at(&mut self, partition: &TopicPartition, offset: i64, judged: Range);
}

/// What both drivers are given, and what they find.
struct Job<'a> {
    name: &'a str,
    kafka: &'a KafkaSettings,
    room: Room,
    rejected: &'a RejectedPolicy,
    deep: bool,
    /// Whether nothing was left out by choice.
    is_all: bool,
    cluster_id: String,
    group: String,
    positions: Vec<Standing>,
    /// Where judging begins, if not at the beginning.
    from: BTreeMap<TopicPartition, i64>,
    compacted: BTreeSet<Arc<str>>,
    letters: Letters,
    scanner: Option<Scanner>,
    findings: Findings,
    notes: Vec<String>,
    compared: Vec<Compared>,
}

impl Job<'_> {
    fn scanner(&mut self) -> Result<Scanner, Error> {
        match self.scanner.take() {
            Some(scanner) => Ok(scanner),
            None => Scanner::new(self.kafka, self.name, self.room.fetch_bytes()),
        }
    }

    fn give_back(&mut self, scanner: Scanner) {
        self.scanner = Some(scanner);
    }

    fn is_compacted(&self, topic: &str) -> bool {
        self.compacted.contains(topic)
    }

    /// Reads the dead letter topic as it is now.
    fn read_letters(&mut self, progress: &mut dyn Progress) -> Result<(), Error> {
        let RejectedPolicy::DeadLetter { topic } = self.rejected else {
            return Ok(());
        };
        progress.phase(&format!("reading the dead letters in {topic}"));
        let mut scanner = self.scanner()?;
        self.letters = Letters::read(&mut scanner, topic, (self.name, &self.group))?;
        if self.letters.is_cut {
            self.notes.push(format!(
                "the dead letter topic {topic} doesn't have its oldest letters any more: records that were refused then \
                 are said to be missing"
            ));
        }
        self.give_back(scanner);
        Ok(())
    }
}

impl Job<'_> {
    /// What leaves records out and isn't recorded anywhere.
    fn explain_missing(&mut self, settings: &Settings) {
        if !self
            .findings
            .all
            .iter()
            .any(|finding| finding.kind == Kind::Missing)
        {
            return;
        }
        let kafka = &settings.kafka;
        if kafka.on_offset_lost == OffsetLost::Latest {
            self.notes.push(
                "kafka.on_offset_lost is \"latest\": what it skipped is said to be missing if Kafka still has it; \
                 the log and outflow_skipped_offsets_total tell the ranges"
                    .to_owned(),
            );
        }
        if let SinkSettings::Hdfs(_) = &settings.sink {
            return;
        }
        self.notes.push(
            "what `outflow group reset` skipped isn't recorded for Elasticsearch, and is said to be missing: --from leaves \
             it out"
                .to_owned(),
        );
        let unknown =
            |p: &&Standing| p.committed.is_some() && !self.from.contains_key(&p.partition);
        if kafka.auto_offset_reset == OffsetReset::Latest
            && let Some(first) = self.positions.iter().find(unknown)
        {
            self.notes.push(format!(
                "where the group began isn't known (it was \"latest\") in {} and perhaps others: what was there before is \
                 said to be missing, and --from leaves it out",
                first.partition
            ));
        }
    }
}

/// Compares a sink with Kafka. An error means that nothing could be judged.
pub fn verify(
    settings: &Settings,
    options: &Options,
    runtime: &Runtime,
    progress: &mut dyn Progress,
) -> Result<Report, Error> {
    progress.phase("asking where the group stands");
    let client = GroupClient::new(settings)?;
    let view = client.view(&options.selection)?;
    let mut from = BTreeMap::new();
    if let Some(target) = options.from {
        let found = client.resolve(target, &view.partitions)?;
        let ids = view
            .partitions
            .iter()
            .map(|standing| standing.partition.clone());
        from.extend(ids.zip(found.into_iter().map(|(at, _)| at)));
    } else if let SinkSettings::Elasticsearch(_) = &settings.sink {
        from = client.began_at(&view.partitions)?;
    }
    let mut notes = Vec::new();
    let compacted = runtime.block_on(client.compacted(&view.partitions));
    let compacted = compacted.unwrap_or_else(|why| {
        notes.push(format!("{why}; topics are taken not to be"));
        BTreeSet::new()
    });
    let mut job = Job {
        name: &settings.name,
        kafka: &settings.kafka,
        room: Room::beside(settings.memory_bytes),
        rejected: &settings.rejected,
        deep: options.deep,
        is_all: options.selection.is_all() && options.from.is_none(),
        cluster_id: view.cluster_id,
        group: settings.kafka.group_id.to_string(),
        positions: view.partitions,
        from,
        compacted,
        letters: Letters::default(),
        scanner: None,
        findings: Findings::default(),
        notes,
        compared: Vec::new(),
    };
    let done = match &settings.sink {
        SinkSettings::Hdfs(sink) => hdfs::verify(&mut job, sink, runtime, progress),
        SinkSettings::Elasticsearch(sink) => {
            elasticsearch::verify(&mut job, sink, runtime, progress)
        }
    };
    job.explain_missing(settings);
    Ok(Report {
        sink: settings.name.to_string(),
        kind: settings.sink.kind(),
        group: job.group,
        cluster_id: job.cluster_id,
        deep: job.deep,
        error: done.err().map(|error| error.what),
        partitions: job.compared,
        findings: job.findings,
        notes: job.notes,
    })
}
