//! What is worth saying between two looks at the sinks and groups. Pure: the time is told.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::groups::{Cluster, place_of};
pub use super::groups::{ClusterLook, GroupLook};
use super::words::{duration, number, server};
use super::{Level, Place, Saying, Topic};
use crate::status::{CircuitState, PartitionState, SinkStatus, Verdict};

/// So many of a sink's last lags are remembered, to know what is usual.
const USUAL: usize = 60;
/// Records that are left and younger than this are what has just come (milliseconds).
const FRESH_MS: u64 = 3_000;
/// What has been judged for so long isn't a moment's impression (milliseconds).
const SURE_MS: i64 = 30_000;

#[derive(Debug, Default)]
struct Sink {
    state: String,
    since_ms: i64,
    quarantined: BTreeSet<(String, i32)>,
    is_away: bool,
    needs_a_person: bool,
    away_since_ms: i64,
    lags: VecDeque<i64>,
    /// It was away, and hasn't read since what came meanwhile: since when it does.
    catching_up_ms: Option<i64>,
}

/// What was seen before.
#[derive(Debug, Default)]
pub struct Memory {
    sinks: HashMap<String, Sink>,
    clusters: HashMap<String, Cluster>,
}

impl Memory {
    /// What is worth saying of this look. Remembers it.
    pub fn look(
        &mut self,
        sinks: &[SinkStatus],
        clusters: &[ClusterLook],
        now_ms: i64,
    ) -> Vec<Saying> {
        let mut said = Vec::new();
        for status in sinks {
            let known = self.sinks.entry(status.name.clone()).or_default();
            known.look(status, now_ms, &mut said);
        }
        for look in clusters {
            let known = self.clusters.entry(look.name.clone()).or_default();
            known.look_at_cluster(look, &mut said);
            known.remember(look, now_ms);
            for group in &look.groups {
                let of_sink = sinks.iter().find(|s| s.group.as_ref() == Some(&group.name));
                // What an outage does to a group's lag was said with the outage.
                let of_outage = of_sink
                    .and_then(|sink| self.sinks.get(&sink.name))
                    .is_some_and(|sink| sink.is_away || sink.catching_up_ms.is_some());
                let since_ms = known.since_ms(&group.name).unwrap_or(now_ms);
                let is_sure = of_sink.is_none_or(|sink| is_sure(sink, since_ms, now_ms));
                if !of_outage && (is_sure || group.status == "OK") {
                    let place = place_of(look, group, of_sink);
                    known.look_at_group(group, place, now_ms, &mut said);
                }
            }
        }
        said
    }

    /// Since when a sink has been in its state (Unix milliseconds).
    pub fn sink_since_ms(&self, sink: &str) -> Option<i64> {
        let known = self.sinks.get(sink)?;
        Some(match known.is_away {
            true => known.away_since_ms,
            false => known.since_ms,
        })
    }

    /// Whether a sink reads what came while it was away.
    pub fn is_catching_up(&self, sink: &str) -> bool {
        let known = self.sinks.get(sink);
        known.is_some_and(|sink| sink.catching_up_ms.is_some())
    }

    /// Since when a group has had its verdict (Unix milliseconds), as far as it was seen.
    pub fn group_since_ms(&self, cluster: &str, group: &str) -> Option<i64> {
        self.clusters.get(cluster)?.since_ms(group)
    }
}

impl Sink {
    fn look(&mut self, status: &SinkStatus, now_ms: i64, said: &mut Vec<Saying>) {
        self.look_at_circuit(status, now_ms, said);
        self.look_at_lag(status, now_ms, said);
        self.look_at_quarantine(status, said);
        self.look_at_state(status, now_ms, said);
    }

    fn look_at_circuit(&mut self, status: &SinkStatus, now_ms: i64, said: &mut Vec<Saying>) {
        let health = &status.health;
        let is_away = health.circuit != CircuitState::Closed;
        let server = server(status.kind);
        let why = health.reason.as_deref().unwrap_or("no reason is known");
        if is_away && (!self.is_away || health.needs_a_person != self.needs_a_person) {
            let (level, text) = match health.needs_a_person {
                true => (
                    Level::Bad,
                    format!(
                        "{server} takes nothing, and that needs you: {why}. Records wait in Kafka"
                    ),
                ),
                false => (
                    Level::Warn,
                    format!("{server} is away: {why}. Records wait in Kafka; it goes on by itself"),
                ),
            };
            said.push(of_sink(status, Topic::OutageBegan, level, text));
        }
        if !is_away && self.is_away {
            let lasted = duration(now_ms - self.away_since_ms);
            let waiting = match status.lag {
                Some(lag) if lag > 0 => format!("; {} records have waited", number(lag)),
                _ => String::new(),
            };
            let text = format!("{server} is back after {lasted}{waiting}");
            said.push(of_sink(status, Topic::OutageOver, Level::Good, text));
            self.catching_up_ms = Some(now_ms);
        }
        if is_away {
            self.away_since_ms = match self.is_away {
                true => self.away_since_ms,
                false if health.since_ms > 0 => health.since_ms.min(now_ms),
                false => now_ms,
            };
            self.catching_up_ms = None;
        }
        (self.is_away, self.needs_a_person) = (is_away, health.needs_a_person);
    }

    /// Caught up is who has no more to read than before the outage, or nothing but what has just come.
    fn look_at_lag(&mut self, status: &SinkStatus, now_ms: i64, said: &mut Vec<Saying>) {
        let (Some(lag), false) = (status.lag, self.is_away) else {
            return;
        };
        if let Some(back_ms) = self.catching_up_ms {
            let usual = self.lags.iter().max().copied().unwrap_or(0);
            let is_done = status.verdict.as_ref().is_some_and(is_up_to_date);
            if lag > usual && !is_done {
                return;
            }
            self.catching_up_ms = None;
            let (server, took) = (server(status.kind), duration(now_ms - back_ms));
            let text = format!("caught up again, {took} after {server} came back");
            said.push(of_sink(status, Topic::CaughtUp, Level::Good, text));
        }
        self.lags.push_back(lag);
        if self.lags.len() > USUAL {
            self.lags.pop_front();
        }
    }

    /// A worker tells itself what it has quarantined.
    fn look_at_quarantine(&mut self, status: &SinkStatus, said: &mut Vec<Saying>) {
        let partitions = || status.workers.iter().flat_map(|w| &w.partitions);
        let now: BTreeSet<_> = partitions()
            .filter(|p| p.state == PartitionState::Quarantined)
            .map(|p| (p.topic.clone(), p.partition))
            .collect();
        for (topic, partition) in self.quarantined.difference(&now) {
            let is_held = partitions().any(|p| p.topic == *topic && p.partition == *partition);
            if is_held {
                let text = format!("{topic}[{partition}] isn't quarantined any more");
                let mut saying = of_sink(status, Topic::Unquarantined, Level::Good, text);
                saying.place.topic = Some(topic.as_str().into());
                saying.place.partition = Some(*partition);
                said.push(saying);
            }
        }
        self.quarantined = now;
    }

    /// What neither the circuit, nor a quarantine, nor a worker says.
    fn look_at_state(&mut self, status: &SinkStatus, now_ms: i64, said: &mut Vec<Saying>) {
        if status.state == self.state {
            return;
        }
        let name = &status.name;
        let why = status.reason.as_ref().map(|why| format!(": {why}"));
        let why = why.unwrap_or_default();
        let saying = match (status.state.as_str(), self.state.as_str()) {
            ("running", "starting" | "") => Some((Level::Info, format!("{name} runs"))),
            ("running", "restarting" | "fenced" | "paused") => {
                Some((Level::Good, format!("{name} runs again")))
            }
            ("restarting", _) => Some((Level::Warn, format!("a worker is being restarted{why}"))),
            ("fenced", _) => Some((Level::Bad, format!("{name} stays out{why}"))),
            ("stopped", _) => Some((Level::Info, format!("{name} has stopped{why}"))),
            ("paused", _) => Some((Level::Info, format!("{name} is paused{why}"))),
            _ => None,
        };
        said.extend(saying.map(|(level, text)| of_sink(status, Topic::State, level, text)));
        self.state.clone_from(&status.state);
        self.since_ms = now_ms;
    }
}

fn of_sink(status: &SinkStatus, about: Topic, level: Level, text: String) -> Saying {
    Saying {
        about,
        level,
        place: Place::sink(&status.name),
        text,
    }
}

/// Whether the verdict on a sink's own lag may be believed. A young window misleads for moments, and one that still holds an
/// outage does after it: so it must have stood for a while, and what the workers know mustn't speak against it.
pub fn is_sure(sink: &SinkStatus, since_ms: i64, now_ms: i64) -> bool {
    now_ms - since_ms >= SURE_MS && !is_stale(sink)
}

/// Whether much less is left to read than when the lag was last judged.
pub fn is_stale(sink: &SinkStatus) -> bool {
    let judged = sink.verdict.as_ref().map_or(0, |verdict| verdict.lag);
    let lag = u64::try_from(sink.lag.unwrap_or(0)).unwrap_or(0);
    lag.saturating_mul(2) < judged
}

/// Whether all is read, or what isn't is a moment old.
fn is_up_to_date(verdict: &Verdict) -> bool {
    let is_fresh = verdict.time_lag_ms.is_some_and(|ms| ms < FRESH_MS);
    verdict.catch_up == "done" || (is_fresh && !verdict.time_lag_is_more)
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
