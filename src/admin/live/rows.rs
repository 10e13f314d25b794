//! The partitions of a sink or of a group, in short rows.

use std::cmp::Reverse;

use serde::Serialize;

use super::Part;
use super::history::brief;
use crate::monitor::{Watched, judge, words};
use crate::status::{PartitionState, PartitionStatus, SinkStatus, Verdict};

/// So many rows at most, the worst first.
const MOST: usize = 5_000;

#[derive(Debug, Default, Serialize)]
struct Row<'a> {
    topic: &'a str,
    partition: i32,
    /// What the sink does with it, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<PartitionState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    /// Whether it stands still until a person acts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    needs_a_person: bool,
    /// Whether it waits for its turn, and for nothing that is wrong.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waits_for_turn: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<usize>,
    /// The member that has it, if it is watched from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    committed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_end: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
}

/// Rows, and how many were left out.
pub(super) struct Rows {
    pub rows: Vec<Part>,
    pub left_out: usize,
}

pub(super) fn of_sink(status: &SinkStatus) -> Rows {
    let workers = status.workers.iter();
    let held = workers.flat_map(|w| w.partitions.iter().map(move |p| (w.worker, p)));
    let rows = held.map(|(worker, p): (usize, &PartitionStatus)| Row {
        topic: &p.topic,
        partition: p.partition,
        state: Some(p.state),
        needs_a_person: p.needs_a_person,
        waits_for_turn: p.waits_for_turn,
        why: p.reason.as_deref().or(p.commit_mismatch.as_deref()),
        worker: Some(worker),
        owner: None,
        lag: p.lag,
        committed: p.committed,
        log_end: p.log_end,
        verdict: p.verdict.as_ref().map(brief),
    });
    bounded(rows.collect())
}

/// `None` if there is no such group.
pub(super) fn of_group(watched: &Watched, group: &str) -> Option<Rows> {
    let (store, now_ms) = (watched.store(), watched.now_ms());
    let judged = judge(&store, group, now_ms, &watched.rules_of(group))?;
    let parts = judged.verdict.partitions.iter().zip(&judged.partitions);
    let rows = parts.map(|(verdict, part)| Row {
        topic: verdict.id.topic,
        partition: verdict.id.partition,
        owner: part.owner.map(|owner| &*owner.host),
        lag: i64::try_from(verdict.current_lag).ok(),
        committed: part.seen.commits.newest().map(|commit| commit.offset),
        log_end: part.seen.log_ends.newest().map(|end| end.offset),
        verdict: Some(brief(&words::of_partition(verdict, &part.seen, now_ms))),
        ..Row::default()
    });
    Some(bounded(rows.collect()))
}

fn bounded(mut rows: Vec<Row<'_>>) -> Rows {
    let left_out = rows.len().saturating_sub(MOST);
    if left_out > 0 {
        let is_bad = |row: &Row<'_>| {
            let is_judged_bad = row.verdict.as_ref().is_some_and(|v| v.status != "OK");
            row.state == Some(PartitionState::Quarantined) || is_judged_bad
        };
        rows.sort_by_key(|row| Reverse((is_bad(row), row.lag)));
        rows.truncate(MOST);
    }
    let part = |row: &Row<'_>| {
        let key = serde_json::to_string(&(row.topic, row.partition));
        Part::new(key.unwrap_or_default(), row)
    };
    let rows = rows.iter().map(part).collect();
    Rows { rows, left_out }
}
