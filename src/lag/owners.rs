//! Who has which partition of a group: the members of the classic protocol, told all at once and by topic names, and those
//! of the consumer protocol (KIP-848), told one by one and by topic ids.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::group_records::{self, ClassicMember};

/// A topic's id, as it stands in records.
pub type TopicId = [u8; 16];

/// Of a group's members so many are remembered, and of their partitions so many.
const MOST_MEMBERS: usize = 2_000;
const MOST_PARTITIONS: usize = 20_000;

/// Who has a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// `client.id`.
    pub client_id: String,
    /// The address, such as `/10.0.0.1`; what Burrow calls the owner.
    pub host: String,
}

impl From<group_records::Owner<'_>> for Owner {
    fn from(owner: group_records::Owner<'_>) -> Self {
        Owner {
            client_id: owner.client_id.to_owned(),
            host: owner.client_host.to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Topic {
    Named(Box<str>),
    Id(TopicId),
}

#[derive(Debug, Clone, Default)]
struct Member {
    owner: Arc<Owner>,
    assigned: Vec<(Topic, Vec<i32>)>,
}

/// A group's members.
#[derive(Debug, Clone, Default)]
pub struct Members {
    /// By member id; those of the classic protocol by their number.
    members: BTreeMap<Box<str>, Member>,
    /// Who has a partition, by topic and number.
    placed: HashMap<Arc<str>, BTreeMap<i32, Arc<Owner>>>,
}

/// What a cluster calls its topics.
pub(super) trait Names {
    /// The topic of this name, if it is there.
    fn named(&self, name: &str) -> Option<Arc<str>>;
    /// The topic of this id.
    fn with_id(&self, id: &TopicId) -> Option<Arc<str>>;
}

impl Members {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Who has a partition.
    pub fn owner(&self, topic: &str, partition: i32) -> Option<&Owner> {
        let owner = self.placed.get(topic)?.get(&partition)?;
        Some(owner)
    }

    /// All members of a classic group, or that it is gone.
    pub(super) fn set_classic(&mut self, members: &[ClassicMember<'_>], names: &dyn Names) {
        self.members.clear();
        for (number, member) in members.iter().take(MOST_MEMBERS).enumerate() {
            let assigned = member.assigned.iter();
            let named = |(topic, partitions): &(&str, Vec<i32>)| {
                (Topic::Named((*topic).into()), partitions.clone())
            };
            let known = Member {
                owner: Arc::new(member.owner.into()),
                assigned: assigned.map(named).collect(),
            };
            self.members.insert(number.to_string().into(), known);
        }
        self.place(names);
    }

    /// A member of a group of the consumer protocol, or that it is gone.
    pub(super) fn set_member(
        &mut self,
        id: &str,
        owner: Option<group_records::Owner<'_>>,
        names: &dyn Names,
    ) {
        match owner {
            Some(owner) => {
                if let Some(member) = self.member(id) {
                    member.owner = Arc::new(owner.into());
                }
            }
            None => drop(self.members.remove(id)),
        }
        self.place(names);
    }

    /// What such a member has, or that it has nothing any more.
    pub(super) fn set_assignment(
        &mut self,
        id: &str,
        assigned: Option<Vec<(TopicId, Vec<i32>)>>,
        names: &dyn Names,
    ) {
        if assigned.is_none() && !self.members.contains_key(id) {
            return;
        }
        if let Some(member) = self.member(id) {
            let assigned = assigned.unwrap_or_default().into_iter();
            member.assigned = assigned
                .map(|(topic, numbers)| (Topic::Id(topic), numbers))
                .collect();
        }
        self.place(names);
    }

    fn member(&mut self, id: &str) -> Option<&mut Member> {
        if self.members.len() >= MOST_MEMBERS && !self.members.contains_key(id) {
            return None;
        }
        Some(self.members.entry(id.into()).or_default())
    }

    /// Says again who has what: a member, or the cluster's topics, have changed.
    pub(super) fn place(&mut self, names: &dyn Names) {
        self.placed.clear();
        let mut room = MOST_PARTITIONS;
        for member in self.members.values() {
            for (topic, partitions) in &member.assigned {
                let topic = match topic {
                    Topic::Named(name) => names.named(name),
                    Topic::Id(id) => names.with_id(id),
                };
                let Some(topic) = topic else { continue };
                let placed = self.placed.entry(topic).or_default();
                for partition in partitions.iter().take(room) {
                    placed.insert(*partition, member.owner.clone());
                }
                room = room.saturating_sub(partitions.len());
            }
        }
    }
}
