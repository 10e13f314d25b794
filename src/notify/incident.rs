//! When a group is told of: an incident opens after the group was bad for a while, is repeated while it stays so, and closes
//! after it was well for a while. Pure: what was seen and the time go in, what is to be told comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::settings::Level;

/// A group of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// The cluster's name.
    pub cluster: String,
    /// The group's.
    pub group: String,
}

/// What is told of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It began.
    Open,
    /// It goes on, or got worse.
    Repeat,
    /// It is over.
    Close,
}

impl Event {
    /// The word in labels and templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Open => "open",
            Event::Repeat => "repeat",
            Event::Close => "close",
        }
    }
}

/// How patient a notifier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// So long a group is bad before an incident opens.
    pub open_after: Duration,
    /// So long it is well before the incident closes.
    pub close_after: Duration,
    /// So often an open incident is told again; never without.
    pub repeat: Option<Duration>,
}

/// What is to be told now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which incident.
    pub id: String,
    /// What of it.
    pub event: Event,
    /// Since when the group was bad (Unix milliseconds).
    pub start_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Bad, and not for long enough yet.
    Pending { since_ms: i64 },
    /// Told of.
    Open {
        id: String,
        start_ms: i64,
        told_ms: i64,
        /// The worst that was told.
        worst: Level,
        /// Since when it is well again.
        well_ms: Option<i64>,
    },
}

/// The incidents of one notifier.
#[derive(Debug)]
pub struct Incidents {
    patience: Patience,
    states: BTreeMap<GroupId, State>,
}

impl Incidents {
    /// None yet.
    pub fn new(patience: Patience) -> Self {
        Incidents {
            patience,
            states: BTreeMap::new(),
        }
    }

    /// How many are open.
    pub fn num_open(&self) -> usize {
        let is_open = |state: &&State| matches!(state, State::Open { .. });
        self.states.values().filter(is_open).count()
    }

    /// The groups of a cluster that something is going on with: those that aren't seen any more are told as well ([`Level::Ok`]).
    pub fn of_cluster<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = &'a GroupId> {
        self.states.keys().filter(move |id| id.cluster == cluster)
    }

    /// A cluster can't be seen: what is known of it is old. Nothing opens and nothing closes on old news, and what was waited
    /// for is waited for anew.
    pub fn blind(&mut self, cluster: &str) {
        self.states.retain(|id, state| match state {
            _ if id.cluster != cluster => true,
            State::Pending { .. } => false,
            State::Open { well_ms, .. } => {
                *well_ms = None;
                true
            }
        });
    }

    /// A group is bad at this level, or well ([`Level::Ok`]: below the notifier's threshold). `new_id` names an incident that
    /// opens.
    pub fn see(
        &mut self,
        group: &GroupId,
        level: Level,
        now_ms: i64,
        new_id: impl FnOnce() -> String,
    ) -> Option<Told> {
        let patience = self.patience;
        match (self.states.get_mut(group), level) {
            (None, Level::Ok) => None,
            (Some(State::Pending { .. }), Level::Ok) => {
                self.states.remove(group);
                None
            }
            (Some(State::Pending { since_ms }), level) => {
                let start_ms = *since_ms;
                passed(start_ms, now_ms, patience.open_after)
                    .then(|| self.open(group, level, start_ms, now_ms, new_id()))
            }
            (None, level) if patience.open_after.is_zero() => {
                Some(self.open(group, level, now_ms, now_ms, new_id()))
            }
            (None, _) => {
                let pending = State::Pending { since_ms: now_ms };
                self.states.insert(group.clone(), pending);
                None
            }
            (
                Some(State::Open {
                    id,
                    start_ms,
                    well_ms,
                    ..
                }),
                Level::Ok,
            ) => {
                let since_ms = *well_ms.get_or_insert(now_ms);
                let told = Told {
                    id: id.clone(),
                    event: Event::Close,
                    start_ms: *start_ms,
                };
                let is_over = passed(since_ms, now_ms, patience.close_after);
                is_over.then(|| {
                    self.states.remove(group);
                    told
                })
            }
            (
                Some(State::Open {
                    id,
                    start_ms,
                    told_ms,
                    worst,
                    well_ms,
                }),
                level,
            ) => {
                *well_ms = None;
                let is_worse = level > *worst;
                let is_due = patience
                    .repeat
                    .is_some_and(|repeat| passed(*told_ms, now_ms, repeat));
                (is_worse || is_due).then(|| {
                    *told_ms = now_ms;
                    *worst = level.max(*worst);
                    Told {
                        id: id.clone(),
                        event: Event::Repeat,
                        start_ms: *start_ms,
                    }
                })
            }
        }
    }

    fn open(
        &mut self,
        group: &GroupId,
        level: Level,
        start_ms: i64,
        now_ms: i64,
        id: String,
    ) -> Told {
        let open = State::Open {
            id: id.clone(),
            start_ms,
            told_ms: now_ms,
            worst: level,
            well_ms: None,
        };
        self.states.insert(group.clone(), open);
        Told {
            id,
            event: Event::Open,
            start_ms,
        }
    }
}

fn passed(since_ms: i64, now_ms: i64, time: Duration) -> bool {
    let ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    now_ms.saturating_sub(since_ms) >= ms
}

#[cfg(test)]
#[path = "incident_tests.rs"]
mod tests;
