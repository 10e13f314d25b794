//! Verdicts as observers read them.

use super::watched::Judged;
use crate::lag::{CatchUp, PartitionVerdict, Seen, Status, TimeLag, pace};
use crate::status::{Verdict, later_caught_up};

/// The verdict on a partition.
pub fn of_partition(verdict: &PartitionVerdict<'_>, seen: &Seen<'_>, now_ms: i64) -> Verdict {
    let pace = pace(seen, now_ms);
    let (time_lag_ms, time_lag_is_more) = match pace.time_lag {
        None => (None, false),
        Some(TimeLag::Ms(ms)) => (Some(ms), false),
        Some(TimeLag::MoreThanMs(ms)) => (Some(ms), true),
    };
    let (catch_up, catch_up_s) = match pace.catch_up {
        CatchUp::Done => ("done", Some(0.0)),
        CatchUp::InSeconds(seconds) => ("in_seconds", Some(seconds)),
        // A lag that grows, slowly as it may be, isn't kept up with.
        CatchUp::KeepsUp if verdict.status != Status::Ok => ("never", None),
        CatchUp::KeepsUp => ("keeps_up", None),
        CatchUp::Never => ("never", None),
        CatchUp::Unknown => ("unknown", None),
    };
    Verdict {
        status: verdict.status.as_str(),
        reason: verdict.reason.to_string(),
        lag: verdict.current_lag,
        time_lag_ms,
        time_lag_is_more,
        consumed_per_s: pace.consumed_per_s,
        produced_per_s: pace.produced_per_s,
        catch_up,
        catch_up_s,
    }
}

/// The verdict on a group: its word, why its worst partition is judged so, and the most that a partition needs.
pub fn of_group(judged: &Judged<'_>, now_ms: i64) -> Verdict {
    let verdicts = judged.verdict.partitions.iter();
    let parts = verdicts.zip(&judged.partitions);
    let parts: Vec<Verdict> = parts
        .map(|(verdict, part)| of_partition(verdict, &part.seen, now_ms))
        .collect();
    let sum = |rate: fn(&Verdict) -> Option<f64>| {
        let known = parts.iter().filter_map(rate);
        known.reduce(|all, one| all + one)
    };
    let slowest = parts
        .iter()
        .max_by(|a, b| later_caught_up((a.catch_up, a.catch_up_s), (b.catch_up, b.catch_up_s)));
    let latest = parts
        .iter()
        .max_by_key(|verdict| (verdict.time_lag_ms, verdict.time_lag_is_more));
    Verdict {
        status: judged.verdict.status.as_str(),
        reason: worst(judged).unwrap_or_else(|| "nothing was committed yet".to_owned()),
        lag: judged.verdict.total_lag,
        time_lag_ms: latest.and_then(|verdict| verdict.time_lag_ms),
        time_lag_is_more: latest.is_some_and(|verdict| verdict.time_lag_is_more),
        consumed_per_s: sum(|verdict| verdict.consumed_per_s),
        produced_per_s: sum(|verdict| verdict.produced_per_s),
        catch_up: slowest.map_or("unknown", |verdict| verdict.catch_up),
        catch_up_s: slowest.and_then(|verdict| verdict.catch_up_s),
    }
}

/// Why the worst partition is judged so; of several the one that is furthest behind.
fn worst(judged: &Judged<'_>) -> Option<String> {
    let partitions = judged.verdict.partitions.iter();
    let worst = partitions.max_by_key(|p| (p.status, p.current_lag, p.end.is_some()))?;
    let id = worst.id;
    Some(match worst.status {
        Status::Ok => worst.reason.to_string(),
        _ => format!("{}[{}]: {}", id.topic, id.partition, worst.reason),
    })
}
