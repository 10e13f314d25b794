//! Groups as the page and people's scripts read them: the verdict in words, the paces, and the window as a picture needs it.
//! Answers are bounded: what is worst comes first, and what is left out is counted.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::{Shared, failure};
use crate::lag::PartitionId;
use crate::monitor::{Judged, Standing, Watched, judge, words};
use crate::status::Verdict;

/// Of groups, and of a group's partitions, at most so many are told.
const MOST: usize = 1_000;

/// What may be asked for.
#[derive(Debug, Default, Deserialize)]
pub struct Wanted {
    /// Only this cluster.
    cluster: Option<String>,
    /// At most so many.
    limit: Option<usize>,
    /// Of one group, only this topic's partitions.
    topic: Option<String>,
    /// Only the partitions of this number.
    partition: Option<i32>,
}

impl Wanted {
    fn is_asked_for(&self, id: &PartitionId<'_>) -> bool {
        self.topic.as_ref().is_none_or(|topic| topic == id.topic)
            && self.partition.is_none_or(|number| number == id.partition)
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(MOST).min(MOST)
    }
}

#[derive(Debug, Serialize)]
struct Answer {
    clusters: Vec<Cluster>,
    groups: Vec<Group>,
    groups_left_out: usize,
}

#[derive(Debug, Serialize)]
struct Cluster {
    cluster: String,
    is_ready: bool,
    trouble: Option<String>,
    num_groups: usize,
    num_topics: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub cluster: String,
    pub group: String,
    num_partitions: usize,
    complete: f32,
    /// What keeps it, if it is a sink's of this process.
    cause: Option<String>,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Debug, Serialize)]
struct Detail {
    now_ms: i64,
    #[serde(flatten)]
    group: Group,
    partitions: Vec<Partition>,
    partitions_left_out: usize,
}

#[derive(Debug, Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    owner: Option<String>,
    client_id: Option<String>,
    complete: f32,
    committed: Option<i64>,
    log_end: Option<i64>,
    /// Where what can be read ends, if that is known to be before the log's end.
    readable_end: Option<i64>,
    #[serde(flatten)]
    verdict: Verdict,
    /// The window: (Unix milliseconds, offset, lag when it was committed).
    commits: Vec<(i64, i64, Option<u64>)>,
    /// (Unix milliseconds, offset).
    log_ends: Vec<(i64, i64)>,
}

/// All groups, the worst first.
pub(super) async fn groups(
    State(shared): State<Shared>,
    Query(wanted): Query<Wanted>,
) -> Json<serde_json::Value> {
    let is_wanted =
        |w: &&std::sync::Arc<Watched>| wanted.cluster.as_ref().is_none_or(|c| *c == w.about.name);
    let mut answer = Answer {
        clusters: Vec::new(),
        groups: Vec::new(),
        groups_left_out: 0,
    };
    for watched in shared.observed.clusters().iter().filter(is_wanted) {
        let Standing {
            is_ready, trouble, ..
        } = watched.standing();
        let (store, now_ms) = (watched.store(), watched.now_ms());
        answer.clusters.push(Cluster {
            cluster: watched.about.name.clone(),
            is_ready,
            trouble,
            num_groups: store.group_names().count(),
            num_topics: store.topic_names().count(),
        });
        for name in store.group_names() {
            if let Some(judged) = judge(&store, name, now_ms, &watched.rules_of(name)) {
                answer.groups.push(group(watched, name, &judged, now_ms));
            }
        }
    }
    let badness = |group: &Group| Reverse((rank(&group.verdict), group.verdict.lag));
    answer.groups.sort_by_key(badness);
    answer.groups_left_out = answer.groups.len().saturating_sub(wanted.limit());
    answer.groups.truncate(wanted.limit());
    Json(serde_json::to_value(answer).unwrap_or_default())
}

/// One group, with its partitions, the worst first.
pub(super) async fn one_group(
    State(shared): State<Shared>,
    Path((cluster, name)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let clusters = shared.observed.clusters();
    let Some(watched) = clusters.iter().find(|w| w.about.name == cluster) else {
        return failure(
            StatusCode::NOT_FOUND,
            "there is no such cluster; GET /api/v1/groups lists them",
        );
    };
    let (store, now_ms) = (watched.store(), watched.now_ms());
    let Some(judged) = judge(&store, &name, now_ms, &watched.rules_of(&name)) else {
        return failure(
            StatusCode::NOT_FOUND,
            "there is no such group, or it never committed",
        );
    };
    let mut places: Vec<usize> = (0..judged.partitions.len()).collect();
    let verdicts = &judged.verdict.partitions;
    places.retain(|place| {
        verdicts
            .get(*place)
            .is_some_and(|v| wanted.is_asked_for(&v.id))
    });
    places.sort_by_key(|place| Reverse(verdicts.get(*place).map(|v| (v.status, v.current_lag))));
    let left_out = places.len().saturating_sub(wanted.limit());
    places.truncate(wanted.limit());
    let partitions = places.into_iter();
    let detail = Detail {
        now_ms,
        group: group(watched, &name, &judged, now_ms),
        partitions: partitions
            .filter_map(|place| partition(&judged, place, now_ms))
            .collect(),
        partitions_left_out: left_out,
    };
    Json(detail).into_response()
}

pub(super) fn rank(verdict: &Verdict) -> u8 {
    match verdict.status {
        "OK" => 0,
        "WARN" => 1,
        _ => 2,
    }
}

pub(super) fn group(watched: &Watched, name: &str, judged: &Judged<'_>, now_ms: i64) -> Group {
    Group {
        cluster: watched.about.name.clone(),
        group: name.to_owned(),
        num_partitions: judged.partitions.len(),
        complete: judged.verdict.complete,
        cause: watched.cause(name),
        verdict: words::of_group(judged, now_ms),
    }
}

fn partition(judged: &Judged<'_>, place: usize, now_ms: i64) -> Option<Partition> {
    let (verdict, part) = (
        judged.verdict.partitions.get(place)?,
        judged.partitions.get(place)?,
    );
    let (seen, owner) = (&part.seen, part.owner);
    let commits = seen
        .commits
        .iter()
        .map(|c| (c.timestamp_ms, c.offset, c.lag));
    let log_ends = seen.log_ends.iter().map(|end| (end.at_ms, end.offset));
    Some(Partition {
        topic: verdict.id.topic.to_owned(),
        partition: verdict.id.partition,
        owner: owner.map(|owner| owner.host.clone()),
        client_id: owner.map(|owner| owner.client_id.clone()),
        complete: verdict.complete,
        committed: seen.commits.newest().map(|commit| commit.offset),
        log_end: seen.log_ends.newest().map(|end| end.offset),
        readable_end: seen.readable_end,
        verdict: words::of_partition(verdict, seen, now_ms),
        commits: commits.collect(),
        log_ends: log_ends.collect(),
    })
}
