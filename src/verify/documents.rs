//! Records of Kafka against the documents that were found for them. Pure.
//!
//! Documents can't be walked in the order of offsets: ids of ours sort as text, and keys not at all. So Kafka leads:
//! a window of records at a time, whose ids are asked for, in one search an index. That needs memory for a window
//! only, finds a document in whatever index of an alias or a data stream it is, and works the same for one
//! partition as for all. What no record asks for is found by numbers: if the index holds more documents than were
//! found, its ids are walked through once and held against the offsets, as a set ([`OffsetSet`](crate::offsets)).
//!
//! With keyed documents a record may be overwritten or deleted by a later one of its key: of each window only the
//! newest record of a key is asked for, and one that seems to be missing is remembered until a later record of its
//! key comes along, or the end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::diff::hash;

/// The most keys that are remembered.
const MOST_OPEN: usize = 4_000_000;

/// Where the ids come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The record's coordinates.
    Offset,
    /// The key, with the offset as the version.
    Key,
    /// The key, without a version: the first record of a key stays.
    KeyOnce,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Which record of its partition it is.
    pub number: u64,
    /// Its offset.
    pub offset: i64,
    /// The document's id.
    pub id: String,
    /// Whether the record deletes the document.
    pub deletes: bool,
}

/// A document that has the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its version.
    pub version: i64,
    /// Whether it has the record's content; none if that wasn't compared.
    pub is_same: Option<bool>,
}

/// What a record comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its document is there (or gone, if it deletes).
    There,
    /// It has no document.
    Absent,
    /// It has several.
    Doubled,
    /// The document has another content.
    Changed,
    /// The document is of an older record, of this version.
    Older(i64),
    /// The document is of a newer record, of this version.
    Newer(i64),
}

/// Judges one record by the documents with its id.
pub fn judge(mode: Mode, ask: &Ask, found: &[Found]) -> Outcome {
    let [document] = found else {
        return match (found.is_empty(), ask.deletes) {
            (false, _) => Outcome::Doubled,
            (true, true) => Outcome::There,
            (true, false) => Outcome::Absent,
        };
    };
    let is_ours = document.is_same != Some(false);
    match mode {
        Mode::KeyOnce => Outcome::There,
        Mode::Offset if is_ours => Outcome::There,
        Mode::Offset => Outcome::Changed,
        Mode::Key if document.version < ask.offset => Outcome::Older(document.version),
        Mode::Key if document.version > ask.offset => Outcome::Newer(document.version),
        Mode::Key if ask.deletes || !is_ours => Outcome::Changed,
        Mode::Key => Outcome::There,
    }
}

/// Leaves only the newest record of each key; returns how many went.
pub fn newest_of_each_key(asks: &mut Vec<Ask>) -> u64 {
    let before = asks.len();
    let mut newest: HashMap<String, i64> = HashMap::new();
    for ask in asks.iter() {
        let offset = newest.entry(ask.id.clone()).or_insert(ask.offset);
        *offset = ask.offset.max(*offset);
    }
    asks.retain(|ask| newest.get(&ask.id) == Some(&ask.offset));
    (before - asks.len()) as u64
}

/// A record whose fate a later one of its key may explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Which record of its partition it is.
    pub number: u64,
    /// Its offset.
    pub offset: i64,
    /// The version of the document that is there instead.
    pub newer: Option<i64>,
}

/// The records of a partition that wait for an explanation, by the hashes of their keys.
#[derive(Debug, Default)]
pub struct Waiting {
    open: HashMap<u64, Open>,
    /// How many couldn't be remembered.
    pub unjudged: u64,
}

impl Waiting {
    /// A later record of the key explains what waited.
    pub fn explain(&mut self, index: &str, id: &str) {
        self.open.remove(&key(index, id));
    }

    /// This record waits.
    pub fn wait(&mut self, index: &str, id: &str, open: Open) {
        let has_room = self.open.len() < MOST_OPEN;
        match self.open.entry(key(index, id)) {
            Entry::Occupied(mut there) => drop(there.insert(open)),
            Entry::Vacant(free) if has_room => drop(free.insert(open)),
            Entry::Vacant(_) => self.unjudged += 1,
        }
    }

    /// Those that nothing has explained, in the order of their offsets.
    pub fn end(&mut self) -> Vec<Open> {
        let mut open: Vec<Open> = self.open.drain().map(|(_, open)| open).collect();
        open.sort_unstable_by_key(|open| open.number);
        open
    }
}

fn key(index: &str, id: &str) -> u64 {
    hash(format!("{index}\0{id}").as_bytes())
}

/// Takes an id of ours apart: `topic+partition+offset`.
pub fn parse_id(id: &str) -> Option<(&str, i32, i64)> {
    let (rest, offset) = id.rsplit_once('+')?;
    let (topic, partition) = rest.rsplit_once('+')?;
    let (partition, offset) = (partition.parse().ok()?, offset.parse().ok()?);
    (format!("{topic}+{partition}+{offset}") == id && offset >= 0)
        .then_some((topic, partition, offset))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn ask(offset: i64, id: &str, deletes: bool) -> Ask {
        Ask {
            number: offset as u64,
            offset,
            id: id.into(),
            deletes,
        }
    }

    fn found(version: i64, is_same: Option<bool>) -> Found {
        Found { version, is_same }
    }

    #[test]
    fn each_way_of_being_there_or_not() {
        use Outcome::{Absent, Changed, Doubled, Newer, Older, There};
        let (plain, deletes) = (ask(7, "k", false), ask(7, "k", true));
        let (same, other) = (Some(true), Some(false));
        let table: [(Mode, &Ask, &[Found], Outcome); 16] = [
            (Mode::Offset, &plain, &[], Absent),
            (Mode::Offset, &plain, &[found(1, None)], There),
            (Mode::Offset, &plain, &[found(3, same)], There),
            (Mode::Offset, &plain, &[found(3, other)], Changed),
            (
                Mode::Offset,
                &plain,
                &[found(1, None), found(1, None)],
                Doubled,
            ),
            (Mode::Key, &plain, &[], Absent),
            (Mode::Key, &plain, &[found(7, same)], There),
            (Mode::Key, &plain, &[found(7, other)], Changed),
            (Mode::Key, &plain, &[found(6, other)], Older(6)),
            (Mode::Key, &plain, &[found(8, other)], Newer(8)),
            (Mode::Key, &deletes, &[], There),
            (Mode::Key, &deletes, &[found(6, None)], Older(6)),
            (Mode::Key, &deletes, &[found(8, None)], Newer(8)),
            (Mode::Key, &deletes, &[found(7, None)], Changed),
            (Mode::KeyOnce, &plain, &[found(1, other)], There),
            (Mode::KeyOnce, &plain, &[], Absent),
        ];
        for (mode, ask, found, expected) in table {
            assert_eq!(
                judge(mode, ask, found),
                expected,
                "{mode:?} {ask:?} {found:?}"
            );
        }
    }

    #[test]
    fn ids_of_ours_are_taken_apart_and_others_are_not() {
        let topic = "a+b-c.d";
        assert_eq!(parse_id("a+b-c.d+3+42"), Some((topic, 3, 42)));
        for id in [
            "",
            "a",
            "a+1",
            "t+0+-1",
            "t+0+01",
            "t+x+1",
            "AWxyz_123",
            "t+0+1 ",
        ] {
            assert_eq!(parse_id(id), None, "{id}");
        }
    }

    proptest! {
        /// Keyed documents, some of whose writes were lost, in windows of any size: what is said to be missing is
        /// exactly what the naive model (everything in memory) finds.
        #[test]
        fn windows_find_what_the_whole_would(
            records in proptest::collection::vec((0u8..6, any::<bool>(), proptest::bool::weighted(0.2)), 1..80),
            window in 1usize..20,
        ) {
            // What stands there: the newest write of each key that wasn't lost.
            let mut stands: BTreeMap<String, i64> = BTreeMap::new();
            let mut newest: BTreeMap<String, (i64, bool)> = BTreeMap::new();
            let mut asks = Vec::new();
            for (offset, (key, deletes, is_lost)) in records.into_iter().enumerate() {
                let (offset, id) = (offset as i64, key.to_string());
                if !is_lost && deletes {
                    stands.remove(&id);
                } else if !is_lost {
                    stands.insert(id.clone(), offset);
                }
                newest.insert(id.clone(), (offset, deletes));
                asks.push(ask(offset, &id, deletes));
            }
            // The newest record of each key is what counts in the end.
            let mut expected: Vec<i64> = newest
                .iter()
                .filter(|(id, (offset, deletes))| match stands.get(*id) {
                    None => !deletes,
                    Some(version) => *deletes || version != offset,
                })
                .map(|(_, (offset, _))| *offset)
                .collect();
            expected.sort_unstable();
            let mut waiting = Waiting::default();
            let mut older: BTreeMap<String, i64> = BTreeMap::new();
            for chunk in asks.chunks(window) {
                let mut asks = chunk.to_vec();
                newest_of_each_key(&mut asks);
                for ask in asks {
                    waiting.explain("i", &ask.id);
                    older.remove(&ask.id);
                    let there: Vec<Found> = stands.get(&ask.id).map(|v| found(*v, None)).into_iter().collect();
                    let (number, offset) = (ask.number, ask.offset);
                    match judge(Mode::Key, &ask, &there) {
                        Outcome::Absent => waiting.wait("i", &ask.id, Open { number, offset, newer: None }),
                        Outcome::Newer(v) => waiting.wait("i", &ask.id, Open { number, offset, newer: Some(v) }),
                        Outcome::Older(_) => drop(older.insert(ask.id.clone(), offset)),
                        _ => {}
                    }
                }
            }
            let mut said: Vec<i64> = waiting.end().iter().map(|open| open.offset).collect();
            said.extend(older.values());
            said.sort_unstable();
            prop_assert_eq!(said, expected);
        }
    }
}
