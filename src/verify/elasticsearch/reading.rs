//! One partition: its records a window at a time, and what the documents that were found say of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::super::documents::{
    Ask, Found, Mode, Open, Outcome, Waiting, judge, newest_of_each_key,
};
use super::super::findings::{Finding, Kind, Run, Runs};
use super::super::report::Compared;
use super::super::{Job, MISSING_HELP, MOST_AHEAD};
use super::Sink;
use crate::config::settings::RejectedPolicy;
use crate::error::Error;
use crate::kafka::scan::Scanned;
use crate::offsets::{Range, TopicPartition};
use crate::sinks::elasticsearch::batch::Op;
use crate::sinks::elasticsearch::compare::is_same;
use crate::sinks::elasticsearch::encoder::Target;
use crate::sinks::elasticsearch::lookup::Hit;
use crate::sinks::{Record, Slot};

/// Records whose documents are looked up together.
#[derive(Default)]
struct Window {
    by_index: BTreeMap<Arc<str>, Vec<Ask>>,
    /// By offset: what was sent, if contents are compared.
    sent: HashMap<i64, Vec<u8>>,
    records: usize,
    bytes: usize,
}

/// The documents that were found in each index.
type Hits = Vec<(Arc<str>, Vec<Hit>)>;

/// A window that is being looked up.
struct Ahead {
    window: Window,
    answer: JoinHandle<Result<Hits, Error>>,
}

/// One partition that is read.
pub(super) struct Reading<'a, 'b, 'c> {
    sink: &'a mut Sink<'b>,
    job: &'a mut Job<'c>,
    compared: &'a mut Compared,
    is_compacted: bool,
    target: Target,
    judged: Range,
    number: u64,
    body: Vec<u8>,
    window: Window,
    ahead: VecDeque<Ahead>,
    runs: Runs,
    waiting: Waiting,
}

impl<'a, 'b, 'c> Reading<'a, 'b, 'c> {
    pub fn new(
        sink: &'a mut Sink<'b>,
        job: &'a mut Job<'c>,
        compared: &'a mut Compared,
        judged: Range,
    ) -> Self {
        Reading {
            is_compacted: job.is_compacted(&compared.partition.topic),
            target: Target::new(compared.partition.clone()),
            sink,
            job,
            compared,
            judged,
            number: 0,
            body: Vec::new(),
            window: Window::default(),
            ahead: VecDeque::new(),
            runs: Runs::default(),
            waiting: Waiting::default(),
        }
    }

    /// The next record.
    pub fn record(&mut self, record: &Scanned<'_>) -> Result<(), Error> {
        self.number += 1;
        self.compared.records += 1;
        self.body.clear();
        let sent = Record {
            slot: Slot(0),
            offset: record.offset,
            leader_epoch: -1,
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            origin: None,
        };
        // The very code that writes it says what is written.
        let now = record.timestamp_ms.unwrap_or(0);
        let encoded = self
            .sink
            .encoder
            .encode(&mut self.target, &sent, now, &mut self.body);
        let op = match encoded {
            Ok(Some(op)) => op,
            Ok(None) => {
                self.compared.skipped += 1;
                return Ok(());
            }
            Err(_) => {
                self.refused(record.offset);
                return Ok(());
            }
        };
        let Some(index) = self.target.index().cloned() else {
            return Ok(());
        };
        self.meet(&index)?;
        let Some(mode) = self.sink.mode else {
            self.count(index, record.offset);
            return Ok(());
        };
        let id = match mode {
            Mode::Offset => {
                let TopicPartition { topic, partition } = &self.compared.partition;
                format!("{topic}+{partition}+{}", record.offset)
            }
            // The encoder has taken it, so it is UTF-8.
            Mode::Key | Mode::KeyOnce => {
                String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned()
            }
        };
        if mode == Mode::Offset {
            let meant = self.sink.meant.entry(self.compared.partition.clone());
            meant.or_default().insert(record.offset);
        }
        if self.job.deep && mode != Mode::KeyOnce {
            let lines = self.body.splitn(2, |byte| *byte == b'\n');
            let document = lines.last().unwrap_or_default().to_vec();
            self.window.bytes += document.len();
            self.window.sent.insert(record.offset, document);
        }
        self.window.records += 1;
        self.window.by_index.entry(index).or_default().push(Ask {
            number: self.number,
            offset: record.offset,
            id,
            deletes: op == Op::Delete,
        });
        if self
            .job
            .room
            .is_window(self.window.records, self.window.bytes)
        {
            self.look_up();
        }
        while self.ahead.len() > MOST_AHEAD {
            self.judge_next()?;
        }
        Ok(())
    }

    /// The first time that a record goes to an index: what was written is made visible.
    fn meet(&mut self, index: &Arc<str>) -> Result<(), Error> {
        if !self.sink.indices.contains_key(index) {
            let refreshed = self
                .sink
                .runtime
                .block_on(self.sink.lookup.refresh(index))?;
            self.job.notes.extend(refreshed);
            self.sink.indices.insert(index.clone(), 0);
        }
        Ok(())
    }

    fn count(&mut self, index: Arc<str>, offset: i64) {
        if self.job.letters.has(&self.compared.partition, offset) {
            self.compared.refused += 1;
        } else if let Some(records) = self.sink.indices.get_mut(&index) {
            *records += 1;
        }
    }

    fn look_up(&mut self) {
        let mut window = std::mem::take(&mut self.window);
        if self.sink.mode != Some(Mode::Offset) {
            for asks in window.by_index.values_mut() {
                newest_of_each_key(asks);
            }
        }
        let lookup = self.sink.lookup.clone();
        let with_source = self.job.deep && self.sink.mode != Some(Mode::KeyOnce);
        let wanted: Vec<(Arc<str>, Vec<String>)> = window
            .by_index
            .iter()
            .map(|(index, asks)| {
                let ids = asks.iter().map(|ask| ask.id.clone());
                (index.clone(), ids.collect())
            })
            .collect();
        let answer = self.sink.runtime.spawn(async move {
            let mut found = Vec::with_capacity(wanted.len());
            for (index, ids) in wanted {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                let hits = lookup.find(&index, &ids, with_source).await?;
                found.push((index, hits));
            }
            Ok(found)
        });
        self.ahead.push_back(Ahead { window, answer });
    }

    /// Waits for the oldest window's documents, and judges its records.
    fn judge_next(&mut self) -> Result<(), Error> {
        let Some(Ahead { window, answer }) = self.ahead.pop_front() else {
            return Ok(());
        };
        let answered = self.sink.runtime.block_on(answer);
        let lost = |_| Error::unavailable("a search ended unexpectedly");
        let answered = answered.map_err(lost)??;
        let Some(mode) = self.sink.mode else {
            return Ok(());
        };
        let mut asks: Vec<(Arc<str>, Ask, Vec<Hit>)> = Vec::new();
        let mut by_index = window.by_index;
        for (index, hits) in answered {
            let mut by_id: HashMap<String, Vec<Hit>> = HashMap::new();
            for hit in hits {
                by_id.entry(hit.id.clone()).or_default().push(hit);
            }
            for ask in by_index.remove(&index).unwrap_or_default() {
                let hits = by_id.remove(&ask.id).unwrap_or_default();
                asks.push((index.clone(), ask, hits));
            }
        }
        asks.sort_by_key(|(_, ask, _)| ask.number);
        for (index, ask, hits) in asks {
            let compare = |hit: &Hit| {
                let (ours, theirs) = (window.sent.get(&ask.offset)?, hit.source.as_ref()?);
                Some(is_same(ours, theirs.get().as_bytes()))
            };
            let found: Vec<Found> = hits
                .iter()
                .map(|hit| Found {
                    version: hit.version,
                    is_same: compare(hit),
                })
                .collect();
            let outcome = judge(mode, &ask, &found);
            self.settle(mode, &index, &ask, outcome, &hits);
        }
        Ok(())
    }

    fn settle(&mut self, mode: Mode, index: &str, ask: &Ask, outcome: Outcome, hits: &[Hit]) {
        if mode == Mode::Key {
            self.waiting.explain(index, &ask.id);
        }
        let open = |newer| Open {
            number: ask.number,
            offset: ask.offset,
            newer,
        };
        match outcome {
            Outcome::There => {
                self.compared.in_sink += hits.len() as u64;
                self.sink.found += hits.len() as u64;
            }
            Outcome::Absent if mode == Mode::Key => self.waiting.wait(index, &ask.id, open(None)),
            Outcome::Absent => self.absent(ask.number, ask.offset),
            Outcome::Newer(version) if version >= self.judged.end => {}
            Outcome::Newer(version) => self.waiting.wait(index, &ask.id, open(Some(version))),
            Outcome::Doubled => {
                self.compared.in_sink += 1;
                self.sink.found += hits.len() as u64;
                self.bad(Kind::Doubled, ask.number, ask.offset);
            }
            Outcome::Changed => {
                self.compared.in_sink += 1;
                self.sink.found += 1;
                self.bad(Kind::Changed, ask.number, ask.offset);
            }
            Outcome::Older(_) if self.job.letters.has(&self.compared.partition, ask.offset) => {
                self.compared.refused += 1;
            }
            // It should have been deleted.
            Outcome::Older(_) if ask.deletes => self.bad(Kind::Changed, ask.number, ask.offset),
            Outcome::Older(_) => self.bad(Kind::Missing, ask.number, ask.offset),
        }
    }

    /// A record that has no document: unless it was refused it is missing.
    fn absent(&mut self, number: u64, offset: i64) {
        match self.job.letters.has(&self.compared.partition, offset) {
            true => self.compared.refused += 1,
            false => self.bad(Kind::Missing, number, offset),
        }
    }

    /// A record that we refuse ourselves.
    fn refused(&mut self, offset: i64) {
        match self.job.rejected {
            RejectedPolicy::DeadLetter { .. } => self.absent(self.number, offset),
            RejectedPolicy::Skip | RejectedPolicy::Quarantine => self.compared.refused += 1,
        }
    }

    fn bad(&mut self, kind: Kind, number: u64, offset: i64) {
        if let Some(run) = self.runs.bad(kind, number, offset) {
            self.say(run);
        }
    }

    fn say(&mut self, run: Run) {
        let (what, help) = match run.kind {
            Kind::Missing => (missing(self.job.rejected), MISSING_HELP),
            Kind::Doubled => (
                "their documents stand in several indices behind the name",
                "a replay after a rollover does that: delete the copies in the older index",
            ),
            _ => (
                "their documents have other contents, or versions that no record of their keys has, or weren't deleted",
                "somebody else writes here; `outflow group reset --to` writes them again while Kafka has the records",
            ),
        };
        let indices: Vec<&str> = self.sink.indices.keys().map(|index| &**index).collect();
        let place = match indices.as_slice() {
            [one] => Some((*one).to_owned()),
            _ => None,
        };
        self.job.findings.push(Finding {
            kind: run.kind,
            partition: Some(self.compared.partition.clone()),
            range: Some(run.range),
            records: run.records,
            place,
            what: what.to_owned(),
            help,
        });
    }

    /// After the last record.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.look_up();
        while !self.ahead.is_empty() {
            self.judge_next()?;
        }
        for open in self.waiting.end() {
            match open.newer {
                None => self.absent(open.number, open.offset),
                // Its record may have been compacted away since.
                Some(_) if self.is_compacted => {}
                Some(_) => self.bad(Kind::Changed, open.number, open.offset),
            }
        }
        if let Some(run) = self.runs.end() {
            self.say(run);
        }
        if self.waiting.unjudged > 0 {
            let (id, num) = (&self.compared.partition, self.waiting.unjudged);
            return Err(Error::unavailable(format!(
                "{id}: {num} keys more than can be remembered have no document at first sight (they may have been \
                 deleted later): verify it in parts, with --from"
            )));
        }
        Ok(())
    }
}

/// What can be said of records without a document.
fn missing(rejected: &RejectedPolicy) -> &'static str {
    match rejected {
        RejectedPolicy::DeadLetter { .. } => "they have no document of theirs, and no dead letter",
        RejectedPolicy::Skip => {
            "they have no document of theirs: lost, or refused by Elasticsearch and dropped by rejected.policy = \"skip\", \
             which leaves no trace but in outflow_dropped_records_total and the log"
        }
        RejectedPolicy::Quarantine => {
            "they have no document of theirs: lost, or refused and passed over when the partition was released"
        }
    }
}
