//! Straight from the brokers: offsets as of now, or, after watching for a while, verdicts.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::{Exit, accept, by_kind, say};
use super::not_judged;
use crate::config::settings::{ClusterSettings, Settings};
use crate::config::surroundings::Host;
use crate::config::{load_monitor, load_sinks};
use crate::error::Error;
use crate::kafka::group::GroupClient;
use crate::kafka::group::target::Selection;
use crate::lag::{GroupPatterns, Keep};
use crate::monitor::{Monitor, Watched, judge, words};
use crate::observe::SinkState;
use crate::observe::pages::{Cluster, Figures};
use crate::observe::{Part, Picture, Row, Wanted};

/// How long it may take until everything that was committed is read.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often log ends are asked for: a window is to fill soon.
const REFRESH: Duration = Duration::from_secs(1);
/// How old the commits may be that are read at the start: Kafka forgets its own after that.
const READ_BACK: Duration = Duration::from_secs(7 * 86_400);

const NO_VERDICT: &str = "a verdict needs a window: --watch 30, or --url of a process that watches";

pub(super) fn picture(
    files: &[PathBuf],
    flags: &[String],
    watch: Option<Duration>,
    mut wanted: Wanted,
) -> Result<Picture, Exit> {
    let kinds = by_kind(files);
    if let Some(agent) = kinds.agents.first() {
        say(&format!(
            "error: {} is an agent's file, which has no group: name a sink's or a monitor's\n",
            agent.display()
        ));
        return Err(Exit::Misused);
    }
    let mut clusters = Vec::new();
    for file in &kinds.monitors {
        let loaded = accept(load_monitor(file, flags, &Host))?;
        clusters.extend(loaded.settings.clusters);
    }
    let mut rows = Vec::new();
    let mut sinks = Vec::new();
    if !kinds.sinks.is_empty() {
        let names = std::mem::take(&mut wanted.sinks);
        for sink in accept(load_sinks(&kinds.sinks, flags, &Host))? {
            let settings = sink.settings;
            let group = (*settings.kafka.group_id).to_owned();
            let is_named = names.is_empty() || names.iter().any(|name| **name == *settings.name);
            if !is_named || !wanted.has(Some(&group), None) {
                continue;
            }
            match watch {
                None => rows.push(standing(&settings).map_err(|error| not_judged(&error))?),
                Some(_) => {
                    sinks.push((group, sink_of(&settings)));
                    clusters.push(cluster_of(&settings).map_err(|error| not_judged(&error))?);
                }
            }
        }
    }
    let mut shown = Vec::new();
    if !clusters.is_empty() {
        for settings in &mut clusters {
            settings.offset_refresh = settings.offset_refresh.min(REFRESH);
        }
        let watched = look(&clusters, watch).map_err(|error| not_judged(&error))?;
        for watched in watched {
            rows.extend(groups(&watched, watch.is_some(), &wanted));
            shown.push(cluster(&watched));
        }
    }
    for row in &mut rows {
        let of_it = |(group, _): &&(String, SinkState)| row.group.as_ref() == Some(group);
        if let Some((_, sink)) = sinks.iter().find(of_it) {
            row.sink = Some(sink.clone());
        }
    }
    Ok(Picture::new(rows, shown, &wanted))
}

/// The cluster of a sink, of which only its group is of interest.
fn cluster_of(settings: &Settings) -> Result<ClusterSettings, Error> {
    let group = &settings.kafka.group_id;
    let pattern = format!("^(?:{})$", regex::escape(group));
    let include = regex::Regex::new(&pattern)
        .map_err(|why| Error::misconfigured(format!("kafka.group_id {group}: {why}")))?;
    Ok(ClusterSettings {
        name: settings.lag.cluster.clone(),
        bootstrap_servers: settings.kafka.bootstrap_servers.clone(),
        properties: settings.kafka.properties.clone(),
        offset_refresh: REFRESH,
        topic_refresh: PATIENCE,
        read_back: READ_BACK,
        groups: group.to_string(),
        keep: Keep {
            groups: GroupPatterns {
                include: Some(include),
                exclude: Vec::new(),
            },
            ..settings.lag.keep.clone()
        },
        rules: settings.lag.rules,
    })
}

/// The sink whose file was named; only its process knows what it is doing.
fn sink_of(settings: &Settings) -> SinkState {
    SinkState {
        name: settings.name.to_string(),
        kind: settings.sink.kind().to_owned(),
        state: "unknown".to_owned(),
        reason: None,
        paused: false,
    }
}

/// Watches until everything is read, and then for so long.
fn look(clusters: &[ClusterSettings], watch: Option<Duration>) -> Result<Vec<Arc<Watched>>, Error> {
    let monitor = Monitor::start(clusters)?;
    let watched = monitor.clusters();
    let until = Instant::now() + PATIENCE;
    let is_ready = || watched.iter().all(|watched| watched.standing().is_ready);
    // What only a person can mend won't come.
    let is_hopeless = || {
        watched
            .iter()
            .any(|watched| watched.standing().needs_a_person)
    };
    while !is_ready() && !is_hopeless() && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    if is_ready() {
        thread::sleep(watch.unwrap_or_default());
    }
    monitor.stop();
    Ok(watched)
}

fn cluster(watched: &Watched) -> Cluster {
    let standing = watched.standing();
    Cluster {
        cluster: watched.about.name.clone(),
        is_ready: standing.is_ready,
        trouble: standing.trouble,
    }
}

/// The groups of a cluster, judged if it was watched for a while.
fn groups(watched: &Watched, is_judged: bool, wanted: &Wanted) -> Vec<Row> {
    let (store, now_ms) = (watched.store(), watched.now_ms());
    let figures = |verdict: crate::status::Verdict| match is_judged {
        true => Figures::from(verdict),
        false => Figures {
            lag: Some(verdict.lag),
            reason: NO_VERDICT.to_owned(),
            ..Figures::default()
        },
    };
    let mut rows = Vec::new();
    for name in store
        .group_names()
        .filter(|name| wanted.has(Some(name), None))
    {
        let Some(judged) = judge(&store, name, now_ms, &watched.rules) else {
            continue;
        };
        let parts = judged.verdict.partitions.iter().zip(&judged.partitions);
        let parts = parts.map(|(verdict, part)| Part {
            topic: verdict.id.topic.to_owned(),
            partition: verdict.id.partition,
            state: None,
            committed: part.seen.commits.newest().map(|commit| commit.offset),
            log_end: part.seen.log_ends.newest().map(|end| end.offset),
            owner: part.owner.map(|owner| owner.host.clone()),
            client_id: part.owner.map(|owner| owner.client_id.clone()),
            figures: figures(words::of_partition(verdict, &part.seen, now_ms)),
        });
        rows.push(Row {
            cluster: Some(watched.about.name.clone()),
            group: Some(name.to_owned()),
            num_partitions: judged.partitions.len(),
            complete: is_judged.then_some(judged.verdict.complete),
            figures: figures(words::of_group(&judged, now_ms)),
            partitions: parts.collect(),
            ..Row::default()
        });
    }
    rows
}

/// A sink's group as of now, by the same questions as `outflow group describe`.
fn standing(settings: &Settings) -> Result<Row, Error> {
    let client = GroupClient::new(settings)?;
    if client.sink_decides() {
        return Err(Error::misconfigured(format!(
            "{}: where fixed partitions into HDFS stand is known by its commit logs alone: ask the running process \
             (--url), or `outflow group describe`",
            settings.name
        )));
    }
    let view = client.view(&Selection::default())?;
    let ages = client.ages(&view.partitions);
    let parts: Vec<Part> = view
        .partitions
        .iter()
        .map(|standing| {
            let id = &standing.partition;
            let members = view.members().iter();
            let holder = members
                .clone()
                .find(|member| member.partitions.contains(id));
            let lag = standing.lag().and_then(|lag| u64::try_from(lag).ok());
            let age = match lag {
                Some(0) => Some(Duration::ZERO),
                _ => ages.get(id).copied(),
            };
            Part {
                topic: id.topic.to_string(),
                partition: id.partition,
                state: None,
                committed: standing
                    .committed
                    .as_ref()
                    .map(|committed| committed.offset),
                log_end: Some(standing.log_end),
                owner: holder.map(|member| member.host.clone()),
                client_id: holder.map(|member| member.client_id.clone()),
                figures: Figures {
                    lag,
                    time_lag_ms: age.and_then(|age| u64::try_from(age.as_millis()).ok()),
                    ..Figures::default()
                },
            }
        })
        .collect();
    Ok(Row {
        group: view
            .group
            .as_ref()
            .map(|_| settings.kafka.group_id.to_string()),
        sink: Some(sink_of(settings)),
        num_partitions: parts.len(),
        figures: Figures {
            lag: parts
                .iter()
                .filter_map(|p| p.figures.lag)
                .reduce(u64::saturating_add),
            time_lag_ms: parts.iter().filter_map(|p| p.figures.time_lag_ms).max(),
            reason: NO_VERDICT.to_owned(),
            ..Figures::default()
        },
        partitions: parts,
        ..Row::default()
    })
}
