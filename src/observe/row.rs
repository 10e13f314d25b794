//! A group, a sink or a partition as it is shown. Pure.

use serde::Serialize;

use super::pages::Figures;
use crate::status::later_caught_up;

/// How much a row matters, from the least on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// All is well.
    Ok,
    /// Nothing was judged: too little was seen.
    Unknown,
    /// It falls behind, or waits.
    Warn,
    /// It stands still, or a person is needed.
    Err,
}

/// How a sink stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SinkState {
    /// Its name.
    pub name: String,
    /// `elasticsearch` or `hdfs`.
    pub kind: String,
    /// One word.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// By request.
    pub paused: bool,
}

/// A group, or a sink without one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Row {
    /// Its cluster; none if nobody watches.
    pub cluster: Option<String>,
    /// Its name; none if a sink's partitions are fixed.
    pub group: Option<String>,
    /// The sink whose group it is, if it is one of the process.
    pub sink: Option<SinkState>,
    /// How many partitions it has.
    pub num_partitions: usize,
    /// How full the windows are that it is judged by (0 to 1).
    pub complete: Option<f32>,
    /// How its lag is judged.
    #[serde(flatten)]
    pub figures: Figures,
    /// Its partitions, the worst first, if they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Part>,
    /// So many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub partitions_left_out: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A partition of a row.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Part {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The sink's word, if it is a sink's.
    pub state: Option<String>,
    /// The committed offset.
    pub committed: Option<i64>,
    /// Where the log ends.
    pub log_end: Option<i64>,
    /// The host of who has it.
    pub owner: Option<String>,
    /// Its `client.id`.
    pub client_id: Option<String>,
    /// How its lag is judged.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Several partitions as one: what the worst is, the most that one needs.
pub(super) fn together(parts: &[Part]) -> Figures {
    let sum = |rate: fn(&Figures) -> Option<f64>| {
        let known = parts.iter().filter_map(|part| rate(&part.figures));
        known.reduce(|all, one| all + one)
    };
    let figures = || parts.iter().map(|part| &part.figures);
    let worst = parts.iter().max_by_key(|part| part.badness());
    let latest = figures().max_by_key(|f| (f.time_lag_ms, f.time_lag_is_more));
    let slowest = figures()
        .max_by(|a, b| later_caught_up((&a.catch_up, a.catch_up_s), (&b.catch_up, b.catch_up_s)));
    Figures {
        status: worst.and_then(|part| {
            Some(match part.figures.status.as_deref()? {
                word @ ("OK" | "WARN") => word.to_owned(),
                _ => "ERR".to_owned(),
            })
        }),
        reason: worst.map_or_else(String::new, |part| match part.level() {
            Level::Ok => part.figures.reason.clone(),
            _ => format!(
                "{}[{}]: {}",
                part.topic, part.partition, part.figures.reason
            ),
        }),
        lag: figures().filter_map(|f| f.lag).reduce(u64::saturating_add),
        time_lag_ms: latest.and_then(|f| f.time_lag_ms),
        time_lag_is_more: latest.is_some_and(|f| f.time_lag_is_more),
        consumed_per_s: sum(|f| f.consumed_per_s),
        produced_per_s: sum(|f| f.produced_per_s),
        catch_up: slowest.map_or_else(String::new, |f| f.catch_up.clone()),
        catch_up_s: slowest.and_then(|f| f.catch_up_s),
    }
}

fn judged(figures: &Figures) -> Level {
    match figures.status.as_deref() {
        Some("OK") => Level::Ok,
        Some("WARN") => Level::Warn,
        Some(_) => Level::Err,
        None => Level::Unknown,
    }
}

impl Row {
    /// How much it matters: the verdict, or the sink's state if that is worse.
    pub fn level(&self) -> Level {
        let of_state = match self.sink.as_ref().map(|sink| &*sink.state) {
            Some("stuck" | "fenced") => Level::Err,
            Some("waiting" | "restarting" | "stopped") => Level::Warn,
            _ => Level::Ok,
        };
        judged(&self.figures).max(of_state)
    }

    /// What it is called: the group, or the sink.
    pub fn name(&self) -> &str {
        let sink = self.sink.as_ref().map(|sink| &*sink.name);
        self.group.as_deref().or(sink).unwrap_or_default()
    }

    /// Why it stands as it does: what the sink says, unless all is well there, and the verdict's reason.
    pub fn why(&self) -> String {
        let judged = &*self.figures.reason;
        match self.sink.as_ref().and_then(|sink| sink.reason.as_deref()) {
            Some(said) if judged.is_empty() || self.figures.status.as_deref() == Some("OK") => {
                said.to_owned()
            }
            Some(said) => format!("{said}; {judged}"),
            None => judged.to_owned(),
        }
    }

    pub(super) fn badness(&self) -> (Level, u64) {
        (self.level(), self.figures.lag.unwrap_or(0))
    }
}

impl Part {
    /// How much it matters.
    pub fn level(&self) -> Level {
        let of_state = match self.state.as_deref() {
            Some("quarantined") => Level::Err,
            _ => Level::Ok,
        };
        judged(&self.figures).max(of_state)
    }

    pub(super) fn badness(&self) -> (Level, u64) {
        (self.level(), self.figures.lag.unwrap_or(0))
    }

    pub(super) fn id(&self) -> (String, i32) {
        (self.topic.clone(), self.partition)
    }
}
