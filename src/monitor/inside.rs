//! The groups of this process' own sinks, judged from what their workers know: the same rules as from outside, without a
//! client. Only the partitions that this process holds are judged; others' are others'.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::watched::{About, Clusters, Watched, judge};
use super::words;
use crate::clock::unix_ms;
use crate::config::settings::{LagSettings, Settings, SinkSettings};
use crate::lag::group_records::CommittedOffset;
use crate::lag::{LogEnd, Sighting, Store};
use crate::status::{PartitionStatus, SinkStatus};

/// A partition that was held for so long without a commit of ours counts as committed when it was taken over.
const PROMPT_MS: i64 = 30_000;

/// The sinks of a process.
#[derive(Debug)]
pub struct Inside {
    clusters: Clusters,
    /// Which cluster a sink reads from.
    sinks: HashMap<String, usize>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What was last seen of partitions.
    last: HashMap<Key, Last>,
    /// Counts looks: orders commits.
    looks: i64,
}

/// A partition of a group, by the cluster's place.
type Key = (usize, String, String, i32);

#[derive(Debug, Clone, Copy)]
struct Last {
    epoch: u64,
    num_commits: u64,
    since_ms: i64,
    is_seeded: bool,
}

impl Inside {
    /// The sinks of these settings. Sinks that read from the same brokers share a cluster; `rules` are the process'.
    pub fn new(settings: &[Settings], rules: &LagSettings) -> Self {
        let mut clusters = Clusters::new();
        let mut sinks = HashMap::new();
        for sink in settings {
            let servers: Vec<String> = sink
                .kafka
                .bootstrap_servers
                .split(',')
                .map(|s| s.trim().to_owned())
                .collect();
            let of_same = |c: &Arc<Watched>| c.about.servers == servers;
            let place = clusters.iter().position(of_same).unwrap_or_else(|| {
                let wanted = &sink.lag.cluster;
                // Two clusters of one name: the second has its sink's, too.
                let name = match clusters.iter().any(|c| c.about.name == *wanted) {
                    true => format!("{wanted}-{}", sink.name),
                    false => wanted.clone(),
                };
                let refresh = u64::try_from(rules.offset_refresh.as_millis()).unwrap_or(u64::MAX);
                let about = About {
                    name,
                    servers,
                    client_id: format!("outflow-{}", sink.name),
                    offset_refresh_ms: refresh,
                    topic_refresh_ms: refresh,
                    include: String::new(),
                };
                let store = Store::new(rules.keep.clone());
                clusters.push(Arc::new(Watched::new(about, rules.rules, store, unix_ms)));
                clusters.len() - 1
            });
            if let (Some(watched), Some(pause_ms)) = (clusters.get(place), pause_ms(sink)) {
                watched.set_pause(&sink.kafka.group_id, pause_ms);
            }
            sinks.insert(sink.name.to_string(), place);
        }
        Inside {
            clusters,
            sinks,
            known: Mutex::default(),
        }
    }

    /// The clusters.
    pub fn clusters(&self) -> Clusters {
        self.clusters.clone()
    }

    /// Takes in how the sinks stand. To be called every `offset_refresh`.
    pub fn look(&self, sinks: &[SinkStatus]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.looks += 1;
        let mut held = HashMap::new();
        for (place, watched) in self.clusters.iter().enumerate() {
            let of_it = |sink: &&SinkStatus| self.sinks.get(&sink.name) == Some(&place);
            let sinks: Vec<&SinkStatus> = sinks.iter().filter(of_it).collect();
            let at = At {
                order: known.looks,
                now_ms: watched.now_ms(),
            };
            let mut store = watched.store();
            see_logs(&mut store, &sinks, at.now_ms);
            watched.set_causes(causes(&sinks));
            for sink in sinks {
                let Some(group) = &sink.group else { continue };
                for ((topic, partition), status) in partitions(sink) {
                    let key = (place, group.clone(), topic.to_owned(), partition);
                    let before = known.last.get(&key);
                    let last = take(&mut store, group, status, before, at);
                    held.insert(key, last);
                }
            }
            let gone = known.last.keys().filter(|key| !held.contains_key(*key));
            for (_, group, topic, partition) in gone.filter(|key| key.0 == place) {
                store.forget_commits(group, topic, *partition);
            }
            drop(store);
            watched.set_ready();
        }
        known.last = held;
    }

    /// Adds the verdicts to the sinks and their partitions.
    pub fn judge(&self, sinks: &mut [SinkStatus]) {
        for sink in sinks {
            let place = self.sinks.get(&sink.name).copied();
            let watched = place.and_then(|place| self.clusters.get(place));
            let (Some(watched), Some(group)) = (watched, &sink.group) else {
                continue;
            };
            let (store, now_ms) = (watched.store(), watched.now_ms());
            let Some(judged) = judge(&store, group, now_ms, &watched.rules_of(group)) else {
                continue;
            };
            let mut verdicts = HashMap::new();
            for (verdict, part) in judged.verdict.partitions.iter().zip(&judged.partitions) {
                let words = words::of_partition(verdict, &part.seen, now_ms);
                verdicts.insert((verdict.id.topic, verdict.id.partition), words);
            }
            sink.verdict = Some(words::of_group(&judged, now_ms));
            for status in sink.workers.iter_mut().flat_map(|w| &mut w.partitions) {
                let verdict = verdicts.get(&(&*status.topic, status.partition));
                status.verdict = verdict.cloned();
            }
            if sink.paused {
                explain_pause(sink);
            }
        }
    }
}

/// How far apart a sink's commits may be: HDFS' partitions wait up to the rotation's age for their turn, and files are
/// as old as that when they are closed.
fn pause_ms(sink: &Settings) -> Option<i64> {
    let SinkSettings::Hdfs(hdfs) = &sink.sink else {
        return None;
    };
    let age_ms = i64::try_from(hdfs.rotation.age.as_millis()).unwrap_or(i64::MAX);
    Some(age_ms.saturating_mul(2).saturating_add(PROMPT_MS))
}

/// A paused sink falls behind or stands still: the verdicts say why.
fn explain_pause(sink: &mut SinkStatus) {
    let partitions = sink.workers.iter_mut().flat_map(|w| &mut w.partitions);
    let verdicts = partitions.filter_map(|status| status.verdict.as_mut());
    for verdict in verdicts.chain(sink.verdict.as_mut()) {
        if verdict.status != "OK" {
            verdict.reason.push_str("; the sink is paused by request");
        }
    }
}

/// Why sinks' groups can't get on, as the sinks themselves know it.
fn causes(sinks: &[&SinkStatus]) -> BTreeMap<String, String> {
    let cause = |sink: &&SinkStatus| {
        let (group, name) = (sink.group.clone()?, &sink.name);
        let what = match (&*sink.state, &sink.reason, sink.paused) {
            ("running", None, false) => return None,
            ("running" | "paused", _, true) => "paused by request".to_owned(),
            (state, Some(reason), _) => format!("{state}: {reason}"),
            (state, None, _) => state.to_owned(),
        };
        Some((group, format!("the sink {name} is {what}")))
    };
    sinks.iter().filter_map(cause).collect()
}

/// A look.
#[derive(Debug, Clone, Copy)]
struct At {
    /// Its number, which orders commits.
    order: i64,
    now_ms: i64,
}

/// The partitions of a sink. While one moves between two workers both may show it: once is enough.
fn partitions(sink: &SinkStatus) -> BTreeMap<(&str, i32), &PartitionStatus> {
    let mut partitions = BTreeMap::new();
    for status in sink.workers.iter().flat_map(|worker| &worker.partitions) {
        let key = (status.topic.as_str(), status.partition);
        partitions.entry(key).or_insert(status);
    }
    partitions
}

/// Topics as far as they are held here, and where their logs end; each once, whoever reads it.
fn see_logs(store: &mut Store, sinks: &[&SinkStatus], now_ms: i64) {
    let mut topics: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ends: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    for (key, status) in sinks.iter().flat_map(|sink| partitions(sink)) {
        let num = topics.entry(key.0).or_default();
        *num = (*num).max(usize::try_from(key.1).map_or(0, |n| n + 1));
        if let Some(end) = status.log_end {
            let known = ends.entry(key).or_insert(end);
            *known = end.max(*known);
        }
    }
    let sightings: Vec<_> = topics
        .iter()
        .map(|(name, num_partitions)| Sighting {
            name,
            id: None,
            num_partitions: *num_partitions,
        })
        .collect();
    store.set_topics(&sightings);
    for ((topic, partition), offset) in ends {
        let at_ms = now_ms;
        store.take_log_end(topic, partition, LogEnd { offset, at_ms });
    }
}

/// Takes in what was committed for a partition since the last look.
fn take(
    store: &mut Store,
    group: &str,
    status: &PartitionStatus,
    before: Option<&Last>,
    at: At,
) -> Last {
    let before = before.filter(|before| before.epoch == status.epoch);
    let since_ms = before.map_or(at.now_ms, |before| before.since_ms);
    let committed_now = status.num_commits > before.map_or(0, |before| before.num_commits);
    // Nothing was committed here since it was taken over. Its owner before may have committed just then; after a while
    // that doesn't matter any more.
    let is_seeded = before.is_some_and(|before| before.is_seeded);
    let seeds = !is_seeded && status.num_commits == 0 && at.now_ms - since_ms >= PROMPT_MS;
    let timestamp_ms = match (committed_now, seeds) {
        (true, _) => Some(at.now_ms),
        (false, true) => Some(since_ms),
        (false, false) => None,
    };
    if let (Some(timestamp_ms), Some(offset)) = (timestamp_ms, status.committed) {
        let value = CommittedOffset {
            offset,
            timestamp_ms,
        };
        let (topic, partition) = (&status.topic, status.partition);
        store.take_commit(group, topic, partition, value, at.order, at.now_ms);
    }
    Last {
        epoch: status.epoch,
        num_commits: status.num_commits,
        since_ms,
        is_seeded: is_seeded || seeds,
    }
}

#[cfg(test)]
#[path = "inside_tests.rs"]
mod tests;
