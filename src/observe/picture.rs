//! Sinks and groups as rows, the worst first. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::pages::{Cluster, Detail, Figures, Group, Groups, Sink, SinkPartition};
use super::row::{Level, Part, Row, SinkState, together};

/// What is asked for; empty lists mean all.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Names of groups.
    pub groups: Vec<String>,
    /// Names of sinks.
    pub sinks: Vec<String>,
    /// Names of topics.
    pub topics: Vec<String>,
    /// Whose partitions are to be told.
    pub partitions: Partitions,
}

/// Whose partitions are to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Partitions {
    /// Nobody's.
    #[default]
    None,
    /// Those of every row.
    All,
    /// Those of the row of this name.
    Of(String),
}

impl Partitions {
    fn has(&self, name: &str) -> bool {
        match self {
            Partitions::None => false,
            Partitions::All => true,
            Partitions::Of(wanted) => wanted == name,
        }
    }
}

impl Wanted {
    /// Whether it takes the partitions of this row to answer.
    pub fn needs_partitions_of(&self, name: &str) -> bool {
        self.partitions.has(name) || !self.topics.is_empty()
    }

    /// Whether this group, of this sink, is meant.
    pub fn has(&self, group: Option<&str>, sink: Option<&str>) -> bool {
        is_among(&self.groups, group) && is_among(&self.sinks, sink)
    }
}

fn is_among(names: &[String], name: Option<&str>) -> bool {
    names.is_empty() || name.is_some_and(|name| names.iter().any(|n| n == name))
}

/// The pages, as they were answered.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// `/api/v1/status`.
    pub sinks: Vec<Sink>,
    /// `/api/v1/groups`.
    pub groups: Groups,
    /// By cluster and group.
    pub details: BTreeMap<(String, String), Detail>,
}

impl Answers {
    fn sink_of(&self, group: &str) -> Option<&Sink> {
        let mut sinks = self.sinks.iter();
        sinks.find(|sink| sink.group.as_deref() == Some(group))
    }

    /// Cluster and group of whatever's partitions are wanted.
    pub fn wanted_partitions(&self, wanted: &Wanted) -> Vec<(String, String)> {
        let is_wanted = |group: &&Group| {
            let sink = self.sink_of(&group.group).map(|sink| &*sink.name);
            wanted.has(Some(&group.group), sink) && wanted.needs_partitions_of(&group.group)
        };
        let groups = self.groups.groups.iter().filter(is_wanted);
        groups
            .map(|g| (g.cluster.clone(), g.group.clone()))
            .collect()
    }
}

/// How all stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Picture {
    /// The rows, the worst first.
    pub groups: Vec<Row>,
    /// So many more groups there are.
    pub groups_left_out: usize,
    /// What is watched.
    pub clusters: Vec<Cluster>,
}

impl Picture {
    /// What the pages say of what is wanted.
    pub fn of(answers: Answers, wanted: &Wanted) -> Self {
        let mut told = BTreeSet::new();
        let mut rows = Vec::new();
        for group in &answers.groups.groups {
            let sink = answers.sink_of(&group.group);
            told.extend(sink.map(|sink| sink.name.clone()));
            if wanted.has(Some(&group.group), sink.map(|sink| &*sink.name)) {
                let key = (group.cluster.clone(), group.group.clone());
                rows.push(of_group(group, sink, answers.details.get(&key)));
            }
        }
        let untold = answers
            .sinks
            .iter()
            .filter(|sink| !told.contains(&sink.name));
        let untold = untold.filter(|sink| wanted.has(sink.group.as_deref(), Some(&sink.name)));
        rows.extend(untold.map(of_sink));
        Picture::new(rows, answers.groups.clusters, wanted)
            .with_left_out(answers.groups.groups_left_out)
    }

    /// These rows, as far as they are wanted.
    pub fn new(rows: Vec<Row>, clusters: Vec<Cluster>, wanted: &Wanted) -> Self {
        let mut rows: Vec<Row> = rows
            .into_iter()
            .filter_map(|row| narrow(row, wanted))
            .collect();
        for row in &mut rows {
            row.partitions
                .sort_by_cached_key(|part| (Reverse(part.badness()), part.id()));
        }
        rows.sort_by_cached_key(|row| (Reverse(row.badness()), row.name().to_owned()));
        Picture {
            groups: rows,
            groups_left_out: 0,
            clusters,
        }
    }

    fn with_left_out(mut self, groups_left_out: usize) -> Self {
        self.groups_left_out = groups_left_out;
        self
    }

    /// The worst of all.
    pub fn level(&self) -> Option<Level> {
        self.groups.iter().map(Row::level).max()
    }
}

/// Only the partitions of the topics that are wanted, and the row's figures from them.
fn narrow(mut row: Row, wanted: &Wanted) -> Option<Row> {
    if !wanted.topics.is_empty() {
        row.partitions
            .retain(|part| wanted.topics.contains(&part.topic));
        if row.partitions.is_empty() {
            return None;
        }
        row.num_partitions = row.partitions.len();
        row.figures = together(&row.partitions);
    }
    if !wanted.partitions.has(row.name()) {
        row.partitions = Vec::new();
    }
    Some(row)
}

fn of_group(group: &Group, sink: Option<&Sink>, detail: Option<&Detail>) -> Row {
    let of_sink: BTreeMap<(&str, i32), &SinkPartition> = sink.map(by_id).unwrap_or_default();
    let parts = detail.iter().flat_map(|detail| &detail.partitions);
    let parts = parts.map(|part| {
        let of_sink = of_sink.get(&(&*part.topic, part.partition));
        Part {
            topic: part.topic.clone(),
            partition: part.partition,
            state: of_sink.map(|p| p.state.clone()),
            committed: part.committed.or(of_sink.and_then(|p| p.committed)),
            log_end: part.log_end.or(of_sink.and_then(|p| p.log_end)),
            owner: part.owner.clone(),
            client_id: part.client_id.clone(),
            figures: explained(
                part.figures.clone(),
                of_sink.and_then(|p| p.reason.as_deref()),
            ),
        }
    });
    let known = sink.and_then(|sink| sink.verdict.clone());
    Row {
        cluster: Some(group.cluster.clone()),
        group: Some(group.group.clone()),
        sink: sink.map(state),
        num_partitions: group.num_partitions,
        complete: Some(group.complete),
        figures: known.unwrap_or_else(|| group.figures.clone()),
        partitions: parts.collect(),
        partitions_left_out: detail.map_or(0, |detail| detail.partitions_left_out),
    }
}

/// A sink whose group nobody has seen commit yet, or that has none.
fn of_sink(sink: &Sink) -> Row {
    let parts = by_id(sink).into_values().map(|part| Part {
        topic: part.topic.clone(),
        partition: part.partition,
        state: Some(part.state.clone()),
        committed: part.committed,
        log_end: part.log_end,
        owner: None,
        client_id: None,
        figures: explained(
            part.verdict.clone().unwrap_or_else(|| Figures {
                lag: part.lag,
                ..Figures::default()
            }),
            part.reason.as_deref(),
        ),
    });
    let partitions: Vec<Part> = parts.collect();
    let unjudged = || Figures {
        lag: sink.lag,
        reason: match sink.group {
            Some(_) => "nothing was committed yet".to_owned(),
            None => "fixed partitions have no group that could be judged".to_owned(),
        },
        ..Figures::default()
    };
    Row {
        cluster: None,
        group: sink.group.clone(),
        sink: Some(state(sink)),
        num_partitions: partitions.len(),
        complete: None,
        figures: sink.verdict.clone().unwrap_or_else(unjudged),
        partitions,
        partitions_left_out: 0,
    }
}

/// While one moves between two workers both may show it: once is enough.
fn by_id(sink: &Sink) -> BTreeMap<(&str, i32), &SinkPartition> {
    let partitions = sink.workers.iter().flat_map(|worker| &worker.partitions);
    partitions.map(|p| ((&*p.topic, p.partition), p)).collect()
}

fn state(sink: &Sink) -> SinkState {
    SinkState {
        name: sink.name.clone(),
        kind: sink.kind.clone(),
        state: sink.state.clone(),
        reason: sink.reason.clone(),
        paused: sink.paused,
    }
}

/// What the sink says of a partition comes first: it knows why.
fn explained(mut figures: Figures, reason: Option<&str>) -> Figures {
    if let Some(reason) = reason {
        figures.reason = match &*figures.reason {
            "" => reason.to_owned(),
            judged => format!("{reason}; {judged}"),
        };
    }
    figures
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
