//! What happened, in order, in plain words: the words that you would tell a colleague. Workers say what they see
//! ([`Journal::say`]); once a second what changed between two looks is added ([`changes`]), and the page shows it.
//!
//! Nothing on a record's way waits for a reader: workers put into an inbox, which whoever writes the book takes away whole.
//!
//! | file | owns |
//! |---|---|
//! | [`book`] | the entries: bounded, numbered, repeats folded (pure) |
//! | [`changes`], `groups` | what is worth saying between two looks: of sinks, of clusters and groups (pure) |
//! | [`words`] | figures and names in sentences |

pub mod book;
pub mod changes;
mod groups;
pub mod words;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Serialize, Serializer};

pub use book::{Book, Entry};

use crate::clock::unix_ms;

/// Of what is said between two looks, at most so many different things are kept; more are counted.
const MOST_AT_ONCE: usize = 500;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something that went wrong is over.
    Good,
    /// As it should be.
    Info,
    /// It goes on by itself, or is worth a look some time.
    Warn,
    /// A person is needed, or something was given up.
    Bad,
}

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // each is its name
pub enum Topic {
    Process,
    Assigned,
    Revoked,
    Lost,
    Released,
    Refused,
    Skipped,
    Quarantined,
    Unquarantined,
    Rewound,
    Fenced,
    Commit,
    Kafka,
    OutageBegan,
    OutageOver,
    CaughtUp,
    State,
    Verdict,
    Cluster,
}

impl Topic {
    /// Whether a repetition within a while is the same entry once more.
    fn folds(self) -> bool {
        !matches!(
            self,
            Topic::Process
                | Topic::Assigned
                | Topic::Revoked
                | Topic::Lost
                | Topic::OutageBegan
                | Topic::OutageOver
                | Topic::CaughtUp
        )
    }

    /// Whether partitions are told apart when repetitions are folded.
    fn folds_partitions(self) -> bool {
        matches!(self, Topic::Refused | Topic::Rewound | Topic::Commit)
    }
}

/// Where it happened, as far as it has a place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Place {
    /// Sink.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub sink: Option<Arc<str>>,
    /// Cluster that is watched.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub cluster: Option<Arc<str>>,
    /// Its group.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub group: Option<Arc<str>>,
    /// Topic.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub topic: Option<Arc<str>>,
    /// Partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
}

// Serde's own way for shared text is a feature that nothing else needs.
fn text<S: Serializer>(text: &Option<Arc<str>>, to: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(to)
}

impl Place {
    /// A sink.
    pub fn sink(name: &str) -> Self {
        Place {
            sink: Some(name.into()),
            ..Place::default()
        }
    }
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// What it is about.
    pub about: Topic,
    /// How much it matters.
    pub level: Level,
    /// Where.
    pub place: Place,
    /// One or two sentences. May quote servers and records: whoever shows it treats it as text.
    pub text: String,
}

/// What is the same when it is said again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(Topic, Level, Place);

impl Key {
    /// None for what is never folded.
    fn of(about: Topic, level: Level, place: &Place) -> Option<Key> {
        let mut place = place.clone();
        if about.folds_partitions() {
            place.partition = None;
        }
        about.folds().then_some(Key(about, level, place))
    }
}

/// What was said since the book was last written.
#[derive(Debug, Default)]
struct Inbox {
    said: Vec<(i64, Saying, u64)>,
    places: HashMap<Key, usize>,
    left_out: u64,
}

/// The journal of a process.
#[derive(Debug)]
pub struct Journal {
    inbox: Mutex<Inbox>,
    book: Mutex<Book>,
    boot: String,
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            inbox: Mutex::default(),
            book: Mutex::default(),
            boot: format!("{:x}", unix_ms()),
        }
    }
}

impl Journal {
    /// Tells this process' numbers from those of the one before.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// Says something. `text` is made only if it isn't a repetition of what was said a moment ago.
    pub fn say(&self, about: Topic, level: Level, place: Place, text: impl FnOnce() -> String) {
        let key = Key::of(about, level, &place);
        let mut inbox = self.inbox();
        let known = key.as_ref().and_then(|key| inbox.places.get(key)).copied();
        if let Some((_, _, count)) = known.and_then(|place| inbox.said.get_mut(place)) {
            *count += 1;
            return;
        }
        if inbox.said.len() >= MOST_AT_ONCE {
            inbox.left_out += 1;
            return;
        }
        if let Some(key) = key {
            let place = inbox.said.len();
            inbox.places.insert(key, place);
        }
        let saying = Saying {
            about,
            level,
            place,
            text: text(),
        };
        inbox.said.push((unix_ms(), saying, 1));
    }

    /// Writes what was said, and `more`, into the book. To be called about once a second.
    pub fn write(&self, more: Vec<Saying>, now_ms: i64) {
        let inbox = std::mem::take(&mut *self.inbox());
        let mut book = self.book();
        for (at_ms, saying, count) in inbox.said {
            book.write(saying, count, at_ms);
        }
        if inbox.left_out > 0 {
            let text = format!(
                "{} more things happened within a second than are kept here; the log has them",
                inbox.left_out
            );
            let saying = Saying {
                about: Topic::Process,
                level: Level::Warn,
                place: Place::default(),
                text,
            };
            book.write(saying, 1, now_ms);
        }
        for saying in more {
            book.write(saying, 1, now_ms);
        }
    }

    /// Entries that are new or were said again after this number: at most `most`, the newest of them, in the order of their
    /// numbers.
    pub fn after(&self, seq: u64, most: usize) -> Vec<Entry> {
        self.book().after(seq, most)
    }

    /// The newest number; 0 while nothing was said.
    pub fn newest(&self) -> u64 {
        self.book().newest()
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_refusals_is_one_entry_with_a_count() {
        let journal = Journal::default();
        let mut texts = 0;
        for offset in 0..1_000 {
            let place = Place {
                topic: Some("events".into()),
                partition: Some(offset % 7),
                ..Place::sink("elasticsearch")
            };
            journal.say(Topic::Refused, Level::Warn, place, || {
                texts += 1;
                format!("refused at {offset}")
            });
        }
        journal.write(Vec::new(), 5);
        let entries = journal.after(0, 10);
        assert_eq!((entries.len(), entries[0].count, texts), (1, 1_000, 1));
    }

    #[test]
    fn what_is_too_much_for_a_second_is_counted() {
        let journal = Journal::default();
        for number in 0..MOST_AT_ONCE + 20 {
            journal.say(Topic::Assigned, Level::Info, Place::default(), || {
                number.to_string()
            });
        }
        journal.write(Vec::new(), 5);
        let last = journal.after(0, 1);
        assert!(last[0].text.starts_with("20 more things"), "{last:?}");
    }
}
