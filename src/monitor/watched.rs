//! One cluster that is watched: what it is called, how it is judged, what is known of it. Whoever watches writes, whoever
//! serves reads; each for moments.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::lag::{GroupPartition, GroupVerdict, Owner, Rules, Store, judge_group};

/// What is told of a cluster.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Its name.
    pub name: String,
    /// The brokers to begin with.
    pub servers: Vec<String>,
    /// `client.id`.
    pub client_id: String,
    /// How often log ends are asked for (milliseconds).
    pub offset_refresh_ms: u64,
    /// How often topics are (milliseconds).
    pub topic_refresh_ms: u64,
    /// Which groups, as it was configured.
    pub include: String,
}

/// Who has trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Whoever asks where logs end.
    Logs,
    /// Whoever reads what groups commit.
    Groups,
}

/// How a cluster's watch stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Standing {
    /// Whether everything that was there at the start has been read.
    pub is_ready: bool,
    /// What is wrong, in words.
    pub trouble: Option<String>,
    /// Whether only a person can mend it.
    pub needs_a_person: bool,
    /// Whether what is known is old: no broker answers, or what groups commit can't be read.
    pub is_blind: bool,
}

/// A watched cluster.
#[derive(Debug)]
pub struct Watched {
    /// What is told of it.
    pub about: About,
    /// How it is judged.
    pub rules: Rules,
    clock: fn() -> i64,
    store: Mutex<Store>,
    is_ready: AtomicBool,
    no_logs: AtomicBool,
    troubles: Mutex<BTreeMap<Who, (String, bool)>>,
    /// What this process itself knows of groups of its own that aren't well.
    causes: Mutex<BTreeMap<String, String>>,
    /// How far apart the commits of this process' own groups may be (milliseconds).
    pauses: Mutex<BTreeMap<String, i64>>,
}

/// Several.
pub type Clusters = Vec<Arc<Watched>>;

impl Watched {
    /// A cluster; `clock` tells Unix milliseconds.
    pub fn new(about: About, rules: Rules, store: Store, clock: fn() -> i64) -> Self {
        Watched {
            about,
            rules,
            clock,
            store: Mutex::new(store),
            is_ready: AtomicBool::new(false),
            no_logs: AtomicBool::new(false),
            troubles: Mutex::default(),
            causes: Mutex::default(),
            pauses: Mutex::default(),
        }
    }

    /// The time (Unix milliseconds).
    pub fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// What is known. Hold it for a moment only.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the watch stands.
    pub fn standing(&self) -> Standing {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let first = troubles.values().next().cloned();
        let (trouble, needs_a_person) = first.unzip();
        let no_groups = troubles.contains_key(&Who::Groups);
        Standing {
            is_ready: self.is_ready.load(Ordering::Relaxed),
            trouble,
            needs_a_person: needs_a_person.unwrap_or(false),
            is_blind: no_groups || self.no_logs.load(Ordering::Relaxed),
        }
    }

    /// Something is wrong (and whether only a person can mend it), or nothing is any more; logged when it changes.
    pub fn set_trouble(&self, who: Who, trouble: Option<(String, bool)>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.get(&who) == trouble.as_ref() {
            return;
        }
        let cluster = &*self.about.name;
        match trouble {
            Some((what, needs_a_person)) => {
                tracing::warn!(cluster, "{what}");
                troubles.insert(who, (what, needs_a_person));
            }
            None => {
                tracing::info!(cluster, "Kafka is well again");
                troubles.remove(&who);
            }
        }
    }

    /// What this process itself knows of its own groups, instead of what it knew: why they can't get on.
    pub fn set_causes(&self, causes: BTreeMap<String, String>) {
        *self.causes.lock().unwrap_or_else(PoisonError::into_inner) = causes;
    }

    /// Why a group can't get on, if it is one of this process' own and it knows.
    pub fn cause(&self, group: &str) -> Option<String> {
        let causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        causes.get(group).cloned()
    }

    /// The commits of a group of this process' own may be so far apart while all is well (milliseconds).
    pub fn set_pause(&self, group: &str, pause_ms: i64) {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.insert(group.to_owned(), pause_ms);
    }

    /// How a group is judged. One that something is known to keep is given no more time than any.
    pub fn rules_of(&self, group: &str) -> Rules {
        let pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let pause_ms = pauses.get(group).copied();
        Rules {
            pause_ms: pause_ms
                .filter(|_| self.cause(group).is_none())
                .unwrap_or(0),
            ..self.rules
        }
    }

    /// Nobody says where logs end, or somebody does again.
    pub fn set_no_logs(&self, no_logs: bool) {
        self.no_logs.store(no_logs, Ordering::Relaxed);
    }

    /// All that was there at the start has been read.
    pub fn set_ready(&self) {
        if !self.is_ready.swap(true, Ordering::Relaxed) {
            tracing::info!(cluster = &*self.about.name, "groups are judged from now on");
        }
    }
}

/// A group, judged: the verdict, and for each of its partitions what was seen.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The verdict.
    pub verdict: GroupVerdict<'a>,
    /// The partitions, in the verdict's order.
    pub partitions: Vec<GroupPartition<'a>>,
}

impl Judged<'_> {
    /// Who has the partition at this place.
    pub fn owner(&self, place: usize) -> Option<&Owner> {
        self.partitions.get(place)?.owner
    }
}

/// Judges a group; `None` if it isn't known.
pub fn judge<'a>(store: &'a Store, group: &str, now_ms: i64, rules: &Rules) -> Option<Judged<'a>> {
    let partitions: Vec<_> = store.group(group, now_ms)?.collect();
    let verdict = judge_group(partitions.iter().map(|p| p.seen), now_ms, rules);
    Some(Judged {
        verdict,
        partitions,
    })
}
