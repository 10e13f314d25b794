//! The entries: bounded, numbered, repeats folded. Pure: the time is told.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use super::{Key, Level, Place, Saying, Topic};

/// So many entries are kept.
const KEPT: usize = 2_000;
/// What is said again within so long (milliseconds) is the same entry.
const FOLDED_MS: i64 = 300_000;
/// A text is cut after so many characters.
const TEXT: usize = 600;

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Grows with every entry, and with every repetition: an entry whose number is above one's last is new or was said again.
    pub seq: u64,
    /// Which entry it is; stays with repetitions.
    pub id: u64,
    /// When it was first said (Unix milliseconds).
    pub at_ms: i64,
    /// When it was last said (Unix milliseconds).
    pub last_ms: i64,
    /// How often it was said.
    pub count: u64,
    /// What it is about.
    pub about: Topic,
    /// How much it matters.
    pub level: Level,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What was said last, in words.
    pub text: String,
}

/// All entries that are kept.
#[derive(Debug, Default)]
pub struct Book {
    /// Their ids have no gaps.
    entries: VecDeque<Entry>,
    /// The newest entry of what may be folded.
    newest: HashMap<Key, u64>,
    seq: u64,
    id: u64,
}

impl Book {
    /// Writes what was said `count` times, last at `now_ms`.
    pub fn write(&mut self, saying: Saying, count: u64, now_ms: i64) {
        self.seq += 1;
        let seq = self.seq;
        let key = Key::of(saying.about, saying.level, &saying.place);
        let text: String = saying.text.chars().take(TEXT).collect();
        let known = key.as_ref().and_then(|key| self.newest.get(key)).copied();
        if let Some(entry) = known.and_then(|id| self.entry(id))
            && now_ms.saturating_sub(entry.last_ms) < FOLDED_MS
        {
            entry.seq = seq;
            entry.count = entry.count.saturating_add(count);
            entry.last_ms = now_ms.max(entry.last_ms);
            entry.text = text;
            return;
        }
        self.id += 1;
        self.entries.push_back(Entry {
            seq,
            id: self.id,
            at_ms: now_ms,
            last_ms: now_ms,
            count,
            about: saying.about,
            level: saying.level,
            place: saying.place,
            text,
        });
        if let Some(key) = key {
            self.newest.insert(key, self.id);
        }
        if self.entries.len() > KEPT {
            let gone = self.entries.pop_front().map_or(0, |entry| entry.id);
            self.newest.retain(|_, id| *id > gone);
        }
    }

    /// Entries with a number above `seq`: at most `most`, the newest, in the order of their numbers.
    pub fn after(&self, seq: u64, most: usize) -> Vec<Entry> {
        let mut found: Vec<&Entry> = self.entries.iter().filter(|e| e.seq > seq).collect();
        found.sort_unstable_by_key(|entry| entry.seq);
        let skipped = found.len().saturating_sub(most);
        found.into_iter().skip(skipped).cloned().collect()
    }

    /// The newest number.
    pub fn newest(&self) -> u64 {
        self.seq
    }

    fn entry(&mut self, id: u64) -> Option<&mut Entry> {
        let first = self.entries.front()?.id;
        let place = usize::try_from(id.checked_sub(first)?).ok()?;
        self.entries.get_mut(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(about: Topic, text: &str) -> Saying {
        Saying {
            about,
            level: Level::Warn,
            place: Place::sink("hdfs"),
            text: text.into(),
        }
    }

    fn texts(book: &Book, seq: u64) -> Vec<(String, u64)> {
        let entries = book.after(seq, 100).into_iter();
        entries.map(|entry| (entry.text, entry.count)).collect()
    }

    #[test]
    fn what_is_said_again_soon_is_the_same_entry_and_comes_once_more() {
        let mut book = Book::default();
        book.write(saying(Topic::Kafka, "no broker answers"), 1, 0);
        book.write(saying(Topic::Assigned, "given 3"), 1, 1_000);
        let seen = book.newest();
        book.write(saying(Topic::Kafka, "broker 2 doesn't answer"), 4, 2_000);
        assert_eq!(
            texts(&book, seen),
            [("broker 2 doesn't answer".to_owned(), 5)]
        );
        let entry = &book.after(seen, 1)[0];
        assert_eq!((entry.id, entry.at_ms, entry.last_ms), (1, 0, 2_000));
        assert_eq!(texts(&book, 0).len(), 2);
    }

    #[test]
    fn what_is_said_again_late_is_another_entry() {
        let mut book = Book::default();
        book.write(saying(Topic::Kafka, "one"), 1, 0);
        book.write(saying(Topic::Kafka, "two"), 1, FOLDED_MS);
        assert_eq!(texts(&book, 0).len(), 2);
    }

    #[test]
    fn each_rebalance_stands_for_itself() {
        let mut book = Book::default();
        book.write(saying(Topic::Assigned, "given 3"), 1, 0);
        book.write(saying(Topic::Assigned, "given 4"), 1, 1);
        assert_eq!(texts(&book, 0).len(), 2);
    }

    #[test]
    fn a_full_book_forgets_the_oldest_and_folds_no_more_into_it() {
        let mut book = Book::default();
        book.write(saying(Topic::Kafka, "first"), 1, 0);
        for _ in 0..KEPT {
            book.write(saying(Topic::Assigned, "given"), 1, 1);
        }
        book.write(saying(Topic::Kafka, "again"), 1, 2);
        let last = book.after(0, 1).remove(0);
        assert_eq!((last.text.as_str(), last.count), ("again", 1));
        assert_eq!(book.after(0, usize::MAX).len(), KEPT);
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut book = Book::default();
        book.write(saying(Topic::Kafka, &"ä".repeat(2 * TEXT)), 1, 0);
        assert_eq!(book.after(0, 1)[0].text.chars().count(), TEXT);
    }
}
