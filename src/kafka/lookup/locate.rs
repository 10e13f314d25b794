//! Where partitions stand, and where those without a position begin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, ConsumerContext};

use super::offsets::logs;
use super::{Found, Positions, TIMEOUT, Thread};
use crate::config::settings::OffsetReset;
use crate::error::Error;
use crate::kafka::error::cut;
use crate::kafka::ffi::cluster;
use crate::kafka::keeper::Keeper;
use crate::kafka::position::{Log, Notes, first_position, moment};
use crate::kafka::topics::listed;
use crate::offsets::TopicPartition;
use crate::pipeline::source::{Committed, Location};

/// A partition's own error names others only so far; the log names all.
const LONGEST_LIST: usize = 512;

/// What is known of a partition before its log is looked at.
pub(super) struct Place {
    pub id: TopicPartition,
    own: Option<Committed>,
    appeared_later: bool,
    /// Its records are new to the group: it, or its whole topic, came later.
    is_new: bool,
    since_ms: i64,
    /// From this moment on its records are wanted.
    pub moment: Option<i64>,
}

impl<C: ConsumerContext + 'static> Thread<C> {
    /// Answers what it can; an error tells why something is left for the next try.
    pub(super) fn locate(&mut self, consumer: &BaseConsumer<C>) -> Result<(), Error> {
        let topics: BTreeSet<Arc<str>> = self.wanted.keys().map(|p| p.topic.clone()).collect();
        let mut trouble = self.describe(consumer, &topics)?;
        let cluster = cluster::cluster_id(consumer, TIMEOUT).ok_or_else(|| {
            Error::unavailable("Kafka: the brokers haven't told the cluster's id yet")
        })?;
        let committed = self.committed(consumer, &topics, &cluster)?;
        let notes = by_topic(&committed);
        let oldest = notes.values().filter_map(|notes| notes.began_ms).min();
        self.began_ms = self.began_ms.or(oldest);
        self.say_unplaced(&topics, &committed, &notes);
        let wanted: Vec<TopicPartition> = self.wanted.keys().cloned().collect();
        for group in self.by_leader(wanted.iter(), &mut trouble) {
            // Those of which anything is known; the others stay wanted.
            let places: Vec<Place> = group
                .iter()
                .filter_map(|id| self.place(id, &committed, &notes))
                .collect();
            let logs = match logs(consumer, &places) {
                Ok(logs) => logs,
                Err(error) => {
                    trouble.get_or_insert(error);
                    continue;
                }
            };
            for (place, log) in places.into_iter().zip(logs) {
                match log {
                    Ok(log) => self.located(place, &cluster, log),
                    Err(error) => drop(trouble.get_or_insert(error)),
                }
            }
        }
        match trouble {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// What the group's positions say of a partition; nothing while they aren't known.
    fn place(&self, id: &TopicPartition, committed: &Positions, notes: &ByTopic) -> Option<Place> {
        let own = match committed.get(id)? {
            Ok(own) => own.clone(),
            Err(_) => return None,
        };
        let siblings = notes.get(&id.topic);
        let topics = &self.about.topics;
        let is_younger = siblings.is_some_and(|notes| notes.are_older_than(id.partition));
        let appeared_later = own.is_none() && (is_younger || topics.came_later(id));
        let is_new = appeared_later || topics.is_new(&id.topic);
        // A pattern's topics began together. A topic that is added to a list begins when it is added.
        let began_ms = match topics.is_pattern() {
            true => self.began_ms,
            false => siblings.and_then(|notes| notes.began_ms),
        };
        let moment = match own.is_none() && !is_new {
            true => moment(self.about.reset, began_ms, self.about.started_ms),
            false => None,
        };
        Some(Place {
            id: id.clone(),
            own,
            appeared_later,
            is_new,
            since_ms: began_ms.unwrap_or(self.about.started_ms),
            moment,
        })
    }

    fn located(&mut self, place: Place, cluster: &str, log: Log) {
        let id = place.id;
        let (Some(epoch), Some(topic)) =
            (self.wanted.get(&id).copied(), self.described.get(&id.topic))
        else {
            return;
        };
        let offset = place.own.as_ref().map(|c| c.offset);
        let start = first_position(offset, log, self.about.reset, place.is_new);
        let found = Ok(Location {
            cluster_id: cluster.to_owned(),
            topic_id: topic.id.clone(),
            num_partitions: i32::try_from(topic.leaders.len()).unwrap_or(i32::MAX),
            appeared_later: place.appeared_later,
            since_ms: Some(place.since_ms),
            committed: place.own,
            start: start.map_err(|_| self.no_position(&id)),
            log_start: log.start,
            log_end: log.end,
        });
        self.wanted.remove(&id);
        self.answer(Found::Located(id, epoch, found));
    }

    /// Names all partitions at once that a policy of "none" keeps waiting: one by one they make no list.
    fn say_unplaced(
        &mut self,
        topics: &BTreeSet<Arc<str>>,
        committed: &Positions,
        notes: &ByTopic,
    ) {
        // A sink that keeps positions itself may know where they are.
        let sink_knows = matches!(self.about.keeper, Keeper::Sink);
        if self.about.reset != OffsetReset::None || sink_knows {
            return;
        }
        let unplaced: BTreeSet<TopicPartition> = committed
            .keys()
            .filter(|id| topics.contains(&id.topic))
            .filter_map(|id| self.place(id, committed, notes))
            .filter(|place| place.own.is_none() && !place.is_new)
            .map(|place| place.id)
            .collect();
        if unplaced != self.unplaced && !unplaced.is_empty() {
            let (group, all) = (&*self.about.group, listed(&unplaced));
            tracing::error!(
                group,
                "{} partitions have no committed offset, and kafka.auto_offset_reset is \"none\": {all}",
                unplaced.len()
            );
        }
        self.unplaced = unplaced;
    }

    fn no_position(&self, id: &TopicPartition) -> Error {
        let who = match &self.about.keeper {
            Keeper::Group => format!("group {} has no committed offset", self.about.group),
            Keeper::Store(store) => format!("there is no position in {}", store.path().display()),
            Keeper::Sink => "there is no commit log of it yet".to_owned(),
        };
        let all = listed(&self.unplaced);
        let all = cut(&all, LONGEST_LIST);
        Error::misconfigured(format!(
            "{id}: {who}, as for all of {all}, and kafka.auto_offset_reset is \"none\"; set it to where they are \
             to start, or set positions with `outflow group reset`"
        ))
    }
}

type ByTopic = BTreeMap<Arc<str>, Notes>;

/// What was committed beside the positions.
fn by_topic(committed: &Positions) -> ByTopic {
    let mut notes = ByTopic::new();
    for (id, position) in committed {
        if let Ok(Some(position)) = position {
            let of_topic = notes.entry(id.topic.clone()).or_default();
            of_topic.add(&position.metadata);
        }
    }
    notes
}
