//! The verdict: the ledger against both sinks and their dead letters, committed offsets against what stands in
//! the sinks, and outflow's secrets against everything that it has said.

use std::collections::{BTreeMap, BTreeSet};

use crate::checker::{FileName, Ids, Report, check_elasticsearch, check_hdfs};
use crate::error::{Context, Error, Result};
use crate::ledger::{Ledger, ledger_of_topic};

use super::case::Sink;
use super::config;
use super::world::World;

/// What stands in the sinks at one moment.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Each sink's report.
    pub reports: BTreeMap<Sink, Report>,
    /// Documents and how often each was written.
    pub versions: BTreeMap<String, i64>,
    /// Committed files.
    pub files: BTreeSet<String>,
    /// Records in the dead letter topics, each once.
    pub num_dead_letters: usize,
}

impl Standing {
    /// How often documents were written beyond once.
    pub fn num_rewritten(&self) -> i64 {
        self.versions.values().map(|version| version - 1).sum()
    }

    /// Records that are missing from a sink, over all sinks.
    pub fn num_lost(&self) -> usize {
        self.reports
            .values()
            .map(|report| report.missing.len())
            .sum()
    }

    /// Records that are in a sink more than once, over all sinks.
    pub fn num_doubled(&self) -> usize {
        self.reports
            .values()
            .map(|report| report.doubled.len())
            .sum()
    }

    /// What isn't as it must be.
    pub fn findings(&self, when: &str) -> Vec<String> {
        let unclean = self.reports.iter().filter(|(_, report)| !report.is_clean());
        unclean
            .map(|(sink, report)| format!("{when}, {}: {report}", sink.name()))
            .collect()
    }
}

/// Records whose fate the producer doesn't know are entered if they stand in the topic.
pub fn resolve(world: &World, mut ledger: Ledger) -> Result<Ledger> {
    if ledger.uncertain.is_empty() {
        return Ok(ledger);
    }
    let uncertain: BTreeSet<Vec<u8>> = std::mem::take(&mut ledger.uncertain).into_iter().collect();
    let topic = ledger_of_topic(&world.kafka.client(), &world.topic)?;
    let there = |value: &Option<Vec<u8>>| value.as_ref().is_some_and(|v| uncertain.contains(v));
    ledger.merge(topic.filtered(|entry| there(&entry.value)));
    Ok(ledger)
}

/// Holds the ledger against the sinks.
pub fn look(world: &World, ledger: &Ledger) -> Result<Standing> {
    let mut standing = Standing::default();
    for sink in world.setup.sinks {
        let refused = refused(world, *sink)?;
        standing.num_dead_letters += refused.len();
        let expected = ledger.filtered(|entry| {
            let is_refused = refused.contains(&(entry.partition, entry.offset));
            !is_refused && world.claims.wants(*sink, entry)
        });
        let mut report = match sink {
            Sink::Elasticsearch => {
                let documents = world.elasticsearch.documents();
                // An answer must not be larger than what a server makes.
                let size = if world.setup.padding.1 > 10_000 {
                    20
                } else {
                    2_000
                };
                let documents = documents.all_by(&world.topic, size)?;
                let version = |document: &crate::Document| (document.id.clone(), document.version);
                standing.versions = documents.iter().map(version).collect();
                check_elasticsearch(&expected, &documents, Ids::Offset)
            }
            Sink::Hdfs => {
                let files = world.hdfs.files().committed(&world.base)?;
                standing.files = files.iter().map(|file| file.path.clone()).collect();
                check_hdfs(&expected, &world.base, &files)
            }
        };
        // A dead letter of something that nobody has produced is an invention, too.
        let invented = refused
            .iter()
            .filter(|(partition, offset)| ledger.get(&world.topic, *partition, *offset).is_none());
        let invented = invented.map(|(p, o)| format!("dead letter of partition {p}, offset {o}"));
        report.changed.extend(invented);
        standing.reports.insert(*sink, report);
    }
    Ok(standing)
}

/// Partition and offset of the records in a sink's dead letter topic; each must say why it is there.
fn refused(world: &World, sink: Sink) -> Result<BTreeSet<(i32, i64)>> {
    let topic = config::dead_letters(&world.topic, sink);
    let letters = world.kafka.client().read_all(&topic)?;
    let place = |letter: &crate::Consumed| {
        let number = |name: &str| letter.header(name)?.parse::<i64>().ok();
        let partition = i32::try_from(number("outflow.partition")?).ok()?;
        let reason = letter.header("outflow.reason")?;
        (!reason.is_empty()).then_some((partition, number("outflow.offset")?))
    };
    let at = |letter: &crate::Consumed| {
        place(letter).ok_or_else(|| {
            let at = letter.offset;
            Error::new(format!("{topic}@{at} doesn't say where it is from and why"))
        })
    };
    letters.iter().map(at).collect()
}

/// I3: everything below the committed offsets stands in the sinks (or is a dead letter). For the moment after
/// a kill: the ledger may be older than the offsets, and only what it has is looked for.
pub fn check_committed(world: &World, ledger: &Ledger) -> Result<Vec<String>> {
    let client = world.kafka.client();
    let mut findings = Vec::new();
    for sink in world.setup.sinks {
        let committed = client.committed(&config::group(&world.topic, *sink), &world.topic)?;
        let below = ledger.filtered(|entry| {
            let end = committed.get(&entry.partition).copied().unwrap_or(0);
            entry.offset < end
        });
        let there = present(world, *sink)?;
        let refused = refused(world, *sink)?;
        let missing = below.iter().filter(|entry| {
            let place = (entry.partition, entry.offset);
            let is_settled = there.contains(place) || refused.contains(&place);
            !is_settled && world.claims.wants(*sink, entry)
        });
        let missing: Vec<_> = missing.map(crate::Entry::place).collect();
        if let Some(first) = missing.first() {
            let (name, num) = (sink.name(), missing.len());
            findings.push(format!(
                "I3: {name} has committed {num} records that it doesn't have, the first: {first}"
            ));
        }
    }
    Ok(findings)
}

/// Which records a sink has, by coordinates alone.
pub enum Present {
    /// By document.
    Ids(BTreeSet<(i32, i64)>),
    /// By file.
    Ranges(BTreeMap<i32, Vec<(i64, i64)>>),
}

impl Present {
    /// Whether it has this one.
    pub fn contains(&self, place: (i32, i64)) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(&place),
            Self::Ranges(ranges) => ranges.get(&place.0).is_some_and(|ranges| {
                ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&place.1))
            }),
        }
    }
}

/// How many records a sink has, by coordinates alone (holes in a file's range count).
pub fn num_present(world: &World, sink: Sink) -> Result<usize> {
    Ok(match present(world, sink)? {
        Present::Ids(ids) => ids.len(),
        Present::Ranges(ranges) => {
            let spans = ranges.values().flatten();
            let sum: i64 = spans.map(|(first, last)| last - first + 1).sum();
            usize::try_from(sum).unwrap_or(0)
        }
    })
}

/// Which records a sink has now.
pub fn present(world: &World, sink: Sink) -> Result<Present> {
    if sink == Sink::Elasticsearch {
        let ids = world.elasticsearch.documents().ids(&world.topic)?;
        let place = |id: &String| {
            let mut parts = id.rsplitn(3, '+');
            let offset = parts.next()?.parse().ok()?;
            Some((parts.next()?.parse().ok()?, offset))
        };
        return Ok(Present::Ids(ids.iter().filter_map(place).collect()));
    }
    let mut ranges: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
    for path in world.hdfs.files().committed_paths(&world.base)? {
        let name = FileName::parse(&world.base, &path).context("a committed file")?;
        let of_partition = ranges.entry(name.partition).or_default();
        of_partition.push((name.first, name.last));
    }
    Ok(Present::Ranges(ranges))
}

/// I13: places where a secret stands in a log or on a page.
pub fn check_secrets(world: &World) -> Vec<String> {
    let mut outputs = vec![("a log".to_owned(), world.logs())];
    for outflow in world.instances() {
        let pages = ["/metrics", "/api/v1/status", "/readyz"];
        outputs.extend(pages.iter().filter_map(|page| {
            let answer = outflow.http().ok()?.get(page).ok()?;
            Some(((*page).to_owned(), answer.text()))
        }));
    }
    let mut findings = Vec::new();
    for secret in config::secrets(&world.setup) {
        let told = outputs.iter().filter(|(_, text)| text.contains(&secret));
        findings
            .extend(told.map(|(place, _)| format!("I13: the secret {secret} stands in {place}")));
    }
    findings
}
