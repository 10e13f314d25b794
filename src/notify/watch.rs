//! The thread that looks at groups, again and again, and tells each notifier what is new to it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::delivery::Outbox;
use super::incident::{Event, GroupId, Incidents, Told};
use super::message::{self, About, Message};
use super::settings::{Level, NotifierSettings};
use crate::error::Error;
use crate::monitor::{Clusters, Watched, judge};

/// Groups are looked at as often as logs are, within these bounds.
const SOONEST: Duration = Duration::from_millis(200);
const LATEST: Duration = Duration::from_secs(10);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Watcher {
    _stop: Sender<()>,
}

impl Watcher {
    /// Starts it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(
        notifiers: Vec<(NotifierSettings, Arc<Outbox>)>,
        clusters: Clusters,
    ) -> Result<Self, Error> {
        let (stop, stopped) = channel();
        let notifiers = notifiers.into_iter().map(|(settings, outbox)| Notifier {
            incidents: Incidents::new(settings.patience),
            settings,
            outbox,
        });
        let mut looking = Looking {
            notifiers: notifiers.collect(),
            clusters,
        };
        let thread = thread::Builder::new().name("notify".into());
        let spawned = thread.spawn(move || looking.run(&stopped));
        spawned.map_err(|why| Error::unavailable(format!("no thread to notify: {why}")))?;
        Ok(Watcher { _stop: stop })
    }
}

struct Notifier {
    settings: NotifierSettings,
    incidents: Incidents,
    outbox: Arc<Outbox>,
}

impl Notifier {
    /// A group was seen; `say` makes the message, if there is something to tell.
    fn see(
        &mut self,
        id: &GroupId,
        seen: Level,
        now_ms: i64,
        cause: Option<&str>,
        say: impl FnOnce(About<'_>) -> Message,
    ) {
        let threshold = self.settings.selection.threshold(id);
        let level = match threshold {
            Some(threshold) if seen >= threshold => seen,
            _ => Level::Ok,
        };
        let Some(told) = self.incidents.see(id, level, now_ms, new_id) else {
            return;
        };
        self.log(id, &told);
        self.outbox.set_open(self.incidents.num_open());
        if told.event == Event::Close && !self.settings.send_close {
            return;
        }
        self.outbox.push(say(About {
            notifier: &self.settings.name,
            id,
            told: &told,
            now_ms,
            page_url: self.settings.page_url.as_deref(),
            cause,
        }));
    }

    fn log(&self, id: &GroupId, told: &Told) {
        let (notifier, cluster, group) = (&*self.settings.name, &*id.cluster, &*id.group);
        let incident = &*told.id;
        match told.event {
            Event::Open => {
                tracing::info!(notifier, cluster, group, incident, "an incident is open")
            }
            Event::Repeat => tracing::debug!(notifier, cluster, group, incident, "told again"),
            Event::Close => {
                tracing::info!(notifier, cluster, group, incident, "the incident is over")
            }
        }
    }
}

fn new_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

struct Looking {
    notifiers: Vec<Notifier>,
    clusters: Clusters,
}

impl Looking {
    fn run(&mut self, stopped: &Receiver<()>) {
        let refreshes = self.clusters.iter().map(|w| w.about.offset_refresh_ms);
        let every = Duration::from_millis(refreshes.min().unwrap_or(u64::MAX));
        let every = every.clamp(SOONEST, LATEST);
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
            self.look();
        }
    }

    fn look(&mut self) {
        for watched in &self.clusters {
            let standing = watched.standing();
            if !standing.is_ready || standing.is_blind {
                for notifier in &mut self.notifiers {
                    notifier.incidents.blind(&watched.about.name);
                }
                continue;
            }
            look_at(watched, &mut self.notifiers);
        }
    }
}

fn look_at(watched: &Watched, notifiers: &mut [Notifier]) {
    let cluster = &watched.about.name;
    let names: Vec<String> = watched.store().group_names().map(str::to_owned).collect();
    let mut found = BTreeSet::new();
    for group in names {
        let id = GroupId {
            cluster: cluster.clone(),
            group,
        };
        // The store is held for one group at a time: others write into it.
        let (store, now_ms) = (watched.store(), watched.now_ms());
        let Some(judged) = judge(&store, &id.group, now_ms, &watched.rules_of(&id.group)) else {
            continue;
        };
        let seen = Level::of(judged.verdict.status);
        let cause = watched.cause(&id.group).filter(|_| seen != Level::Ok);
        for notifier in notifiers.iter_mut() {
            let say = |about: About<'_>| message::of_group(about, &judged);
            notifier.see(&id, seen, now_ms, cause.as_deref(), say);
        }
        found.insert(id.group.clone());
    }
    for notifier in notifiers {
        let gone = notifier.incidents.of_cluster(cluster);
        let gone = gone.filter(|id| !found.contains(&id.group));
        let gone: Vec<GroupId> = gone.cloned().collect();
        for id in gone {
            notifier.see(&id, Level::Ok, watched.now_ms(), None, message::of_gone);
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
