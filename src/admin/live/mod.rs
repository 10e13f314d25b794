//! What the page is told: a picture of sinks, clusters and groups, taken about once a second for all who watch, and the
//! journal, written in the same moment. Streams send what changed since they last sent.
//!
//! | file | owns |
//! |---|---|
//! | [`summary`] | a sink in a few figures, and its state in a word |
//! | [`headline`] | "is everything well?", in one sentence |
//! | [`history`] | rates, and the last half hour of them |
//! | [`rows`] | the partitions of a sink or group |
//! | [`stream`] | server-sent events, and the journal as JSON |

mod headline;
mod history;
mod rows;
pub(super) mod stream;
mod summary;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use super::Observed;
use super::groups::{self, Group};
use crate::clock::unix_ms;
use crate::journal::changes::{ClusterLook, GroupLook, Memory, is_sure};
use crate::journal::{Journal, Level, Place, Topic};
use crate::monitor::{Judged, Standing, Watched, judge};
use crate::status::SinkStatus;
use headline::Headline;
use history::{Sample, Series};
use summary::{Known, SinkSummary};

/// How often a picture is taken, at most.
const EVERY: Duration = Duration::from_secs(1);
/// Of a core's time pictures take at most one part in so many, when somebody watches and when nobody does.
const SHARE: [u32; 2] = [10, 30];
/// So many streams at once, so that probes and Prometheus always find a connection.
const MAX_STREAMS: usize = 32;
/// Of so many groups at most the page is told, the worst first.
const MAX_GROUPS: usize = 1_000;
/// Of so many groups at most there is a history.
const MAX_SERIES: usize = 500;
/// Of a group so many partitions that aren't well are compared with what was said before.
const MAX_BAD: usize = 100;

/// Something with a key, as JSON, and what tells whether it has changed.
#[derive(Debug)]
struct Part {
    key: String,
    hash: u64,
    json: String,
}

impl Part {
    fn new(key: String, of: &impl Serialize) -> Self {
        let json = serde_json::to_string(of).unwrap_or_else(|_| "null".to_owned());
        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        Part {
            key,
            hash: hasher.finish(),
            json,
        }
    }
}

/// All that is well or not at one moment.
#[derive(Debug, Default)]
struct Picture {
    at_ms: i64,
    head: Option<Part>,
    sinks: Vec<Part>,
    clusters: Option<Part>,
    groups: Vec<Part>,
    groups_left_out: usize,
    statuses: Vec<SinkStatus>,
}

#[derive(Debug, Serialize)]
struct Cluster {
    cluster: String,
    #[serde(flatten)]
    standing: Standing,
    num_groups: usize,
}

#[derive(Debug, Serialize)]
struct GroupSummary {
    #[serde(flatten)]
    group: Group,
    /// The sink of this process whose group it is.
    sink: Option<String>,
    /// Partitions that aren't OK.
    num_bad: usize,
    since_ms: Option<i64>,
}

/// What was seen before.
#[derive(Default)]
struct Before {
    memory: Memory,
    /// By sink (`sink:name`) and group ([`group_key`]).
    series: HashMap<String, Series>,
}

/// Watches, for all who look at the page.
pub(super) struct Live {
    observed: Arc<dyn Observed>,
    journal: Arc<Journal>,
    picture: watch::Sender<Arc<Picture>>,
    before: Mutex<Before>,
    places: Arc<Semaphore>,
}

impl Live {
    pub fn new(observed: Arc<dyn Observed>) -> Self {
        let journal = observed.journal();
        let version = env!("CARGO_PKG_VERSION");
        journal.say(Topic::Process, Level::Info, Place::default(), || {
            format!("outflow {version} started")
        });
        Live {
            observed,
            journal,
            picture: watch::Sender::default(),
            before: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
        }
    }

    /// Takes pictures for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            let began = Instant::now();
            let live = self.clone();
            match tokio::task::spawn_blocking(move || live.take_picture()).await {
                Ok(picture) => drop(self.picture.send_replace(Arc::new(picture))),
                Err(error) => tracing::error!("the page's figures can't be made: {error}"),
            }
            let took = began.elapsed();
            let is_watched = self.picture.receiver_count() > 0;
            let share = SHARE[usize::from(!is_watched)];
            let wait = EVERY.max(took * share).saturating_sub(took);
            tokio::time::sleep(wait).await;
        }
    }

    fn take_picture(&self) -> Picture {
        let now_ms = unix_ms();
        let statuses = self.observed.sinks();
        let watched = self.observed.clusters();
        let (looks, groups) = look_at(&watched);
        let mut before = self.before();
        let said = before.memory.look(&statuses, &looks, now_ms);
        self.journal.write(said, now_ms);
        let sinks: Vec<SinkSummary> = statuses
            .iter()
            .map(|status| {
                let cluster = cluster_of(&looks, status.group.as_deref());
                before.sum_up(status, cluster, now_ms)
            })
            .collect();
        let mut groups: Vec<GroupSummary> = groups
            .into_iter()
            .map(|(group, num_bad)| before.of_group(group, num_bad, &statuses, now_ms))
            .collect();
        before.series.retain(|_, series| !series.is_gone(now_ms));
        drop(before);
        let head = Headline::of(&sinks, &looks, &groups);
        let clusters: Vec<Cluster> = watched.iter().zip(&looks).map(cluster).collect();
        let left_out = groups.len().saturating_sub(MAX_GROUPS);
        groups.truncate(MAX_GROUPS);
        Picture {
            at_ms: now_ms,
            head: Some(Part::new(String::new(), &head)),
            sinks: sinks.iter().map(|s| Part::new(s.name.clone(), s)).collect(),
            clusters: Some(Part::new(String::new(), &clusters)),
            groups: groups.iter().map(part_of_group).collect(),
            groups_left_out: left_out,
            statuses,
        }
    }

    /// Samples of a series after a moment.
    fn samples(&self, key: &str, after_ms: i64) -> Vec<Sample> {
        let before = self.before();
        let series = before.series.get(key);
        series.map_or(Vec::new(), |series| series.after(after_ms))
    }

    fn before(&self) -> MutexGuard<'_, Before> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Before {
    fn sum_up(&mut self, status: &SinkStatus, cluster: Option<&str>, now_ms: i64) -> SinkSummary {
        let key = sink_key(&status.name);
        let series = self.series.entry(key).or_default();
        let rates = series.rates(&status.totals, now_ms);
        let group = cluster.zip(status.group.as_deref());
        let since_ms =
            group.and_then(|(cluster, group)| self.memory.group_since_ms(cluster, group));
        let known = Known {
            is_catching_up: self.memory.is_catching_up(&status.name),
            is_sure: since_ms.is_some_and(|since_ms| is_sure(status, since_ms, now_ms)),
        };
        let mut summary = SinkSummary::of(status, known, rates);
        summary.since_ms = self.memory.sink_since_ms(&status.name);
        summary.cluster = cluster.map(str::to_owned);
        let made = status.verdict.as_ref().and_then(|v| v.produced_per_s);
        let throughput = summary.throughput_per_s;
        series.take(now_ms, status.lag, throughput, made, summary.level as u8);
        summary
    }

    fn of_group(
        &mut self,
        group: Group,
        num_bad: usize,
        sinks: &[SinkStatus],
        now_ms: i64,
    ) -> GroupSummary {
        let key = group_key(&group.cluster, &group.group);
        if self.series.len() < MAX_SERIES || self.series.contains_key(&key) {
            let verdict = &group.verdict;
            let lag = i64::try_from(verdict.lag).ok();
            let (read, made) = (verdict.consumed_per_s, verdict.produced_per_s);
            let level = headline::Level::of_group(verdict.status);
            let series = self.series.entry(key).or_default();
            series.take(now_ms, lag, read, made, level as u8);
        }
        let of_group = |s: &&SinkStatus| s.group.as_ref() == Some(&group.group);
        let memory = &self.memory;
        GroupSummary {
            sink: sinks.iter().find(of_group).map(|sink| sink.name.clone()),
            num_bad,
            since_ms: memory.group_since_ms(&group.cluster, &group.group),
            group,
        }
    }
}

/// Judges all groups, the worst first; each with the number of its partitions that aren't OK.
fn look_at(watched: &[Arc<Watched>]) -> (Vec<ClusterLook>, Vec<(Group, usize)>) {
    let mut all = Vec::new();
    let looks = watched.iter().map(|watched| {
        let standing = watched.standing();
        let names: Vec<String> = watched.store().group_names().map(str::to_owned).collect();
        let mut look = ClusterLook {
            name: watched.about.name.clone(),
            is_ready: standing.is_ready,
            trouble: standing.trouble,
            needs_a_person: standing.needs_a_person,
            groups: Vec::new(),
        };
        // The store is held for one group at a time: whoever watches needs it, too.
        for name in names {
            let (store, now_ms) = (watched.store(), watched.now_ms());
            if let Some(judged) = judge(&store, &name, now_ms, &watched.rules_of(&name)) {
                let group = groups::group(watched, &name, &judged, now_ms);
                let bad = bad(&judged);
                let num_bad = bad.len();
                look.groups.push(GroupLook {
                    name,
                    status: group.verdict.status,
                    reason: group.verdict.reason.clone(),
                    bad: bad.into_iter().take(MAX_BAD).collect(),
                });
                all.push((group, num_bad));
            }
        }
        look
    });
    let looks = looks.collect();
    all.sort_by_key(|(group, _)| Reverse((groups::rank(&group.verdict), group.verdict.lag)));
    (looks, all)
}

fn bad(judged: &Judged<'_>) -> Vec<(String, i32, &'static str)> {
    let partitions = judged.verdict.partitions.iter();
    partitions
        .filter(|p| p.status != crate::lag::Status::Ok)
        .map(|p| (p.id.topic.to_owned(), p.id.partition, p.status.as_str()))
        .collect()
}

fn cluster((watched, look): (&Arc<Watched>, &ClusterLook)) -> Cluster {
    Cluster {
        cluster: watched.about.name.clone(),
        standing: watched.standing(),
        num_groups: look.groups.len(),
    }
}

/// The cluster in which a sink's group is.
fn cluster_of<'a>(looks: &'a [ClusterLook], group: Option<&str>) -> Option<&'a str> {
    let has = |look: &&ClusterLook| look.groups.iter().any(|g| Some(&*g.name) == group);
    looks.iter().find(has).map(|look| &*look.name)
}

fn part_of_group(group: &GroupSummary) -> Part {
    Part::new(group_key(&group.group.cluster, &group.group.group), group)
}

fn sink_key(name: &str) -> String {
    format!("sink:{name}")
}

/// A pair of names may hold whatever separates them.
fn group_key(cluster: &str, group: &str) -> String {
    serde_json::to_string(&(cluster, group)).unwrap_or_default()
}
