//! What is worth saying of a cluster and its groups between two looks. Pure: the time is told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::words::duration;
use super::{Level, Place, Saying, Topic};
use crate::status::SinkStatus;

/// So many partitions are named.
const NAMED: usize = 3;

/// A watched cluster, as it was seen.
#[derive(Debug, Clone, Default)]
pub struct ClusterLook {
    /// Its name.
    pub name: String,
    /// Whether its groups are judged.
    pub is_ready: bool,
    /// What is wrong.
    pub trouble: Option<String>,
    /// Whether a person must mend it.
    pub needs_a_person: bool,
    /// Its groups.
    pub groups: Vec<GroupLook>,
}

/// A group, as it was judged.
#[derive(Debug, Clone, Default)]
pub struct GroupLook {
    /// Its name.
    pub name: String,
    /// OK, WARN or ERR.
    pub status: &'static str,
    /// Why; names the partition.
    pub reason: String,
    /// Partitions that aren't OK: (topic, partition, verdict). May be cut off.
    pub bad: Vec<(String, i32, &'static str)>,
}

/// How a group was when it was last told.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub status: &'static str,
    pub since_ms: i64,
    bad: BTreeMap<(String, i32), &'static str>,
}

#[derive(Debug, Default)]
pub(super) struct Cluster {
    is_ready: bool,
    trouble: Option<String>,
    pub groups: HashMap<String, Told>,
    /// Each group's verdict, told or not, and since when.
    verdicts: HashMap<String, (&'static str, i64)>,
}

impl Cluster {
    pub fn look_at_cluster(&mut self, look: &ClusterLook, said: &mut Vec<Saying>) {
        let mut say = |level, text| {
            said.push(Saying {
                about: Topic::Cluster,
                level,
                place: Place {
                    cluster: Some(look.name.as_str().into()),
                    ..Place::default()
                },
                text,
            });
        };
        match (&look.trouble, &self.trouble) {
            (Some(what), before) if before.as_ref() != Some(what) => {
                let level = match look.needs_a_person {
                    true => Level::Bad,
                    false => Level::Warn,
                };
                say(level, format!("cluster {}: {what}", look.name));
            }
            (None, Some(_)) => say(
                Level::Good,
                format!("cluster {}: Kafka is well again", look.name),
            ),
            _ => {}
        }
        if look.is_ready && !self.is_ready {
            let num = look.groups.len();
            let text = format!(
                "groups of cluster {} are judged from now on ({num})",
                look.name
            );
            say(Level::Info, text);
        }
        self.trouble.clone_from(&look.trouble);
        self.is_ready = look.is_ready;
    }

    /// Since when a group has had its verdict.
    pub fn since_ms(&self, group: &str) -> Option<i64> {
        self.verdicts.get(group).map(|(_, since_ms)| *since_ms)
    }

    /// Remembers verdicts; forgets groups that are gone.
    pub fn remember(&mut self, look: &ClusterLook, now_ms: i64) {
        let before = std::mem::take(&mut self.verdicts);
        let since = |group: &GroupLook| match before.get(&group.name) {
            Some((status, since_ms)) if *status == group.status => *since_ms,
            _ => now_ms,
        };
        let groups = look.groups.iter();
        self.verdicts = groups
            .map(|group| (group.name.clone(), (group.status, since(group))))
            .collect();
        let verdicts = &self.verdicts;
        self.groups.retain(|name, _| verdicts.contains_key(name));
    }

    pub fn look_at_group(
        &mut self,
        group: &GroupLook,
        place: Place,
        now_ms: i64,
        said: &mut Vec<Saying>,
    ) {
        let bad: BTreeMap<_, _> = group
            .bad
            .iter()
            .map(|(topic, partition, status)| ((topic.clone(), *partition), *status))
            .collect();
        let mut say = |level, text| {
            said.push(Saying {
                about: Topic::Verdict,
                level,
                place: place.clone(),
                text,
            });
        };
        let name = &group.name;
        let before = self.groups.get(name);
        let changed = before.is_none_or(|told| told.status != group.status);
        let since_ms = match before {
            Some(told) if !changed => told.since_ms,
            _ => self.since_ms(name).unwrap_or(now_ms),
        };
        match (changed, before) {
            (true, None) if group.status == "OK" => {}
            (true, None) => say(
                level(group.status),
                format!("group {name} is {}: {}", group.status, group.reason),
            ),
            (true, Some(told)) if group.status == "OK" => {
                let lasted = duration(now_ms - told.since_ms);
                let was = told.status;
                say(
                    Level::Good,
                    format!("group {name} is OK again; it was {was} for {lasted}"),
                );
            }
            (true, Some(told)) => say(
                level(group.status),
                format!(
                    "group {name}: {} → {}; {}",
                    told.status, group.status, group.reason
                ),
            ),
            (false, Some(told)) => {
                let is_new = |(id, status): &(_, &&str)| told.bad.get(*id) != Some(*status);
                let more: Vec<_> = bad.iter().filter(is_new).collect();
                if let Some((_, status)) = more.first() {
                    let ids: Vec<_> = more.iter().map(|(id, _)| *id).collect();
                    let text = format!("group {name}: now {} is {status}", named(&ids));
                    say(level(group.status), text);
                }
            }
            (false, None) => {}
        }
        let told = Told {
            status: group.status,
            since_ms,
            bad,
        };
        self.groups.insert(name.clone(), told);
    }
}

pub(super) fn place_of(
    cluster: &ClusterLook,
    group: &GroupLook,
    sink: Option<&SinkStatus>,
) -> Place {
    Place {
        sink: sink.map(|sink| Arc::from(sink.name.as_str())),
        cluster: Some(cluster.name.as_str().into()),
        group: Some(group.name.as_str().into()),
        ..Place::default()
    }
}

fn level(status: &str) -> Level {
    match status {
        "OK" => Level::Good,
        "WARN" => Level::Warn,
        _ => Level::Bad,
    }
}

/// Some partitions by name, the others by number.
fn named(ids: &[&(String, i32)]) -> String {
    let shown = ids.iter().take(NAMED);
    let mut text = shown
        .map(|(topic, partition)| format!("{topic}[{partition}]"))
        .collect::<Vec<_>>()
        .join(", ");
    if ids.len() > NAMED {
        text.push_str(&format!(" and {} more", ids.len() - NAMED));
    }
    text
}
