//! Documents that no record asks for; and what can be said where Elasticsearch chooses the ids: numbers.

use std::collections::BTreeMap;

use super::super::documents::{Mode, parse_id};
use super::super::findings::{Finding, Kind, Run, Runs};
use super::super::{Job, MISSING_HELP, Progress};
use super::Sink;
use crate::error::Error;
use crate::offsets::{Range, TopicPartition};

/// How many bytes of names stand in a URL: a server takes 4,096 in all.
const MOST_BYTES: usize = 3_000;
/// How many names are shown.
const MOST_NAMES: usize = 20;
const EXTRA_HELP: &str = "look at them; if nobody needs them, delete them: their records aren't in Kafka's log, or were never \
                          to be written";

/// What an id comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stranger {
    /// A record has it, or may have it.
    Known,
    /// It isn't one of ours.
    Foreign,
    /// Its record is older than what was judged, and not in Kafka any more.
    Older,
    /// Its record isn't committed yet.
    Later,
    /// No record explains it.
    Extra,
}

impl Sink<'_> {
    /// Whether all was looked at, so that numbers can be compared.
    fn is_all(job: &Job<'_>) -> bool {
        job.is_all && job.compared.iter().all(|compared| compared.error.is_none())
    }

    fn count(&self) -> Result<u64, Error> {
        let mut documents = 0;
        for index in self.indices.keys() {
            documents += self.runtime.block_on(self.lookup.count(index))?;
        }
        Ok(documents)
    }

    /// Names the documents that no record explains, if there are more than records.
    pub(super) fn strangers(
        &self,
        job: &mut Job<'_>,
        mode: Mode,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        if !Self::is_all(job) {
            job.notes.push(
                "documents that no record explains weren't looked for: that needs all partitions"
                    .to_owned(),
            );
            return Ok(());
        }
        progress.phase("counting the documents");
        let documents = self.count()?;
        if documents <= self.found {
            return Ok(());
        }
        let more = documents - self.found;
        if mode == Mode::Offset {
            progress.phase(&format!(
                "looking for {more} documents that no record has asked for"
            ));
            return self.walk(job);
        }
        let is_settled = job.findings.is_empty()
            && job
                .compared
                .iter()
                .all(|c| c.log_start == 0 && c.behind() == 0)
            && job.compacted.is_empty()
            && job.from.is_empty();
        match is_settled && mode == Mode::Key {
            true => job.findings.push(Finding {
                kind: Kind::Extra,
                partition: None,
                range: None,
                records: more,
                place: self.names(),
                what: "there are more documents than keys: these have ids that no record has as its key".to_owned(),
                help: EXTRA_HELP,
            }),
            false => job.notes.push(format!(
                "{more} documents were asked for by no record's key as it stands in Kafka now: older ones, newer ones, \
                 or somebody else's, which can't be told apart"
            )),
        }
        Ok(())
    }

    /// Walks through all ids.
    fn walk(&self, job: &mut Job<'_>) -> Result<(), Error> {
        let judged: BTreeMap<&TopicPartition, (Range, i64)> = job
            .compared
            .iter()
            .map(|c| {
                (
                    &c.partition,
                    (c.judged.unwrap_or(Range::new(0, 0)), c.log_start),
                )
            })
            .collect();
        let tell = |id: &str| -> (Stranger, Option<(TopicPartition, i64)>) {
            let Some((topic, partition, offset)) = parse_id(id) else {
                return (Stranger::Foreign, None);
            };
            let id = TopicPartition::new(topic, partition);
            let stranger = match judged.get(&id) {
                None if judged.keys().any(|known| known.topic == id.topic) => Stranger::Extra,
                None => Stranger::Foreign,
                Some((range, log_start)) => {
                    let has = |set: &crate::offsets::OffsetSet| set.contains(offset);
                    if self.meant.get(&id).is_some_and(has) || job.letters.has(&id, offset) {
                        Stranger::Known
                    } else if offset >= range.end {
                        Stranger::Later
                    } else if offset < range.first.max(*log_start) || job.is_compacted(topic) {
                        Stranger::Older
                    } else {
                        Stranger::Extra
                    }
                }
            };
            (stranger, Some((id, offset)))
        };
        let (mut foreign, mut older) = ((0u64, None), 0u64);
        let mut extra: BTreeMap<(TopicPartition, i64), String> = BTreeMap::new();
        let mut not_kept = 0u64;
        for names in self.in_urls() {
            let mut take = |index: &str, id: &str| match tell(id) {
                (Stranger::Extra, Some(at)) if extra.len() < MOST_EXTRA => {
                    extra.insert(at, index.to_owned());
                }
                (Stranger::Extra, _) => not_kept += 1,
                (Stranger::Foreign, _) => {
                    foreign.0 += 1;
                    foreign.1.get_or_insert_with(|| format!("{id} in {index}"));
                }
                (Stranger::Older, _) => older += 1,
                (Stranger::Known | Stranger::Later, _) => {}
            };
            let walk = self.lookup.walk(&names, job.room.page(), &mut take);
            self.runtime.block_on(walk)?;
        }
        self.say_extra(job, extra, not_kept);
        if let (num, Some(example)) = foreign {
            job.notes.push(format!(
                "{num} documents have ids that outflow gives no record of these topics, such as {example}: somebody \
                 else's, or of another id setting"
            ));
        }
        if older > 0 {
            job.notes.push(format!(
                "{older} documents are of records that Kafka doesn't have any more: they weren't judged"
            ));
        }
        Ok(())
    }

    fn say_extra(
        &self,
        job: &mut Job<'_>,
        extra: BTreeMap<(TopicPartition, i64), String>,
        not_kept: u64,
    ) {
        let mut runs: Vec<(TopicPartition, String, Run)> = Vec::new();
        let mut open: Option<(TopicPartition, String, Runs)> = None;
        for ((id, offset), index) in extra {
            let is_same = open
                .as_ref()
                .is_some_and(|(at, place, _)| *at == id && *place == index);
            if !is_same && let Some((at, place, mut of)) = open.take() {
                runs.extend(of.end().map(|run| (at, place, run)));
            }
            let (at, place, of) = open.get_or_insert_with(|| (id, index, Runs::default()));
            let number = u64::try_from(offset).unwrap_or(0);
            let ended = of.bad(Kind::Extra, number, offset);
            runs.extend(ended.map(|run| (at.clone(), place.clone(), run)));
        }
        if let Some((at, place, mut of)) = open {
            runs.extend(of.end().map(|run| (at, place, run)));
        }
        for (partition, place, run) in runs {
            job.findings.push(Finding {
                kind: Kind::Extra,
                partition: Some(partition),
                range: Some(run.range),
                records: run.records,
                place: Some(place),
                what: "documents with our ids, and Kafka has no records to be written there"
                    .to_owned(),
                help: EXTRA_HELP,
            });
        }
        if not_kept > 0 {
            job.findings.push(Finding {
                kind: Kind::Extra,
                partition: None,
                range: None,
                records: not_kept,
                place: self.names(),
                what:
                    "as many documents again have ids of ours without a record; not all are listed"
                        .to_owned(),
                help: EXTRA_HELP,
            });
        }
    }

    /// The names of all indices, as many at once as a URL takes.
    fn in_urls(&self) -> Vec<String> {
        let mut urls: Vec<String> = Vec::new();
        for index in self.indices.keys() {
            match urls.last_mut() {
                Some(names) if names.len() + index.len() < MOST_BYTES => {
                    names.push(',');
                    names.push_str(index);
                }
                _ => urls.push(index.to_string()),
            }
        }
        urls
    }

    fn names(&self) -> Option<String> {
        let names: Vec<&str> = self
            .indices
            .keys()
            .map(|index| &**index)
            .take(MOST_NAMES)
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// All that can be said if Elasticsearch chooses the ids.
    pub(super) fn compare_numbers(&self, job: &mut Job<'_>) -> Result<(), Error> {
        job.notes.push(
            "Elasticsearch chooses the ids (id = \"none\"): which record has a document, which has several, and what was \
             changed can't be known; only the numbers were compared"
                .to_owned(),
        );
        if !Self::is_all(job) {
            job.notes
                .push("the numbers weren't compared: that needs all partitions".to_owned());
            return Ok(());
        }
        let (mut missing, mut more) = (Vec::new(), Vec::new());
        for (index, records) in &self.indices {
            let documents = self.runtime.block_on(self.lookup.count(index))?;
            match documents < *records {
                true => missing.push((index, *records, documents)),
                false if documents > *records => more.push((index, *records, documents)),
                false => {}
            }
        }
        // A letter that was replayed has a document, too.
        let is_settled = job.compared.iter().all(|c| {
            c.behind() == 0
                && c.refused == 0
                && c.judged
                    .is_none_or(|judged| judged.first.max(c.log_start) == 0)
        });
        for (kind, index, records, documents) in missing
            .into_iter()
            .map(|(index, records, documents)| (Kind::Missing, index, records, documents))
            .chain(
                more.into_iter()
                    .map(|(index, records, documents)| (Kind::Doubled, index, records, documents)),
            )
        {
            if kind == Kind::Doubled && (!is_settled || !job.compacted.is_empty()) {
                job.notes.push(format!(
                    "{index} has {documents} documents, {} more than Kafka has records: of older, newer or replayed records, of \
                     somebody else, or doubled by a replay, which can't be told apart",
                    documents - records
                ));
                continue;
            }
            job.findings.push(Finding {
                kind,
                partition: None,
                range: None,
                records: records.abs_diff(documents),
                place: Some(index.to_string()),
                what: format!("the index has {documents} documents for {records} records; which can't be told"),
                help: match kind {
                    Kind::Missing => MISSING_HELP,
                    _ => "a replay doubles what Elasticsearch chose ids for, or somebody else writes there: id = \"offset\" \
                          lets neither happen unseen",
                },
            });
        }
        Ok(())
    }
}

/// The most extra documents that are kept to be named.
const MOST_EXTRA: usize = 100_000;
