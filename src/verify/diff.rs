//! The lines of a file against the records that should stand in it, both in order, as hashes. Pure.
//!
//! Memory is bounded, however large the file is: both sides wait in a window only while they disagree. Where they
//! do, the shortest way back to agreement is taken; what was passed over is sorted out at the end: a line that
//! matches a record passed over is out of order, one that matches a record that stands elsewhere is doubled, a
//! record and a line in the same place are one that was changed, and the rest is missing or extra.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher as _};

use super::findings::{Kind, Run, Runs};
use crate::offsets::Range;

/// How far one side may be ahead of the other before they count as parted.
const WINDOW: usize = 4_096;
/// How much may be passed over before it is sorted out.
const MOST_LOOSE: usize = 50_000;

/// The hash of a line without its line break.
pub fn hash(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(line);
    hasher.finish()
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// Counted from the file's first.
    number: u64,
    offset: i64,
    hash: u64,
}

#[derive(Debug, Clone, Copy)]
struct LooseRecord {
    record: Record,
    /// Where the two sides parted: a number of its own for each time.
    gap: u64,
}

#[derive(Debug, Clone, Copy)]
struct LooseLine {
    hash: u64,
    gap: u64,
    /// The last record that was found before it.
    after: Record,
    /// The record of this content that stands elsewhere in the file.
    same_as: Option<Record>,
}

/// One file's comparison.
#[derive(Debug)]
pub struct Differ {
    /// Kafka may have fewer records than the file has lines.
    is_compacted: bool,
    /// Lines of records that Kafka doesn't have any more, at the beginning.
    skip: u64,
    records: VecDeque<Record>,
    lines: VecDeque<u64>,
    records_ended: bool,
    lines_ended: bool,
    num_records: u64,
    num_lines: u64,
    num_matched: u64,
    num_gaps: u64,
    last: Record,
    recent: VecDeque<Record>,
    recent_by_hash: HashMap<u64, Record>,
    loose_records: Vec<LooseRecord>,
    loose_lines: Vec<LooseLine>,
    runs: Vec<Run>,
    is_stuck: bool,
    unjudged: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// What is wrong, in offset order. An extra line's range is that of the record before it.
    pub runs: Vec<Run>,
    /// Lines in the file.
    pub lines: u64,
    /// Records that stand where they should.
    pub matched: u64,
    /// Records behind a difference in a compacted topic's file, where nothing more can be told.
    pub unjudged: u64,
}

impl Differ {
    /// For a file whose first record is at `first`, and whose first `skip` lines Kafka can't show any more.
    pub fn new(first: i64, skip: u64, is_compacted: bool) -> Self {
        Differ {
            is_compacted,
            skip,
            records: VecDeque::new(),
            lines: VecDeque::new(),
            records_ended: false,
            lines_ended: false,
            num_records: 0,
            num_lines: 0,
            num_matched: 0,
            num_gaps: 0,
            last: Record {
                number: 0,
                offset: first,
                hash: 0,
            },
            recent: VecDeque::new(),
            recent_by_hash: HashMap::new(),
            loose_records: Vec::new(),
            loose_lines: Vec::new(),
            runs: Vec::new(),
            is_stuck: false,
            unjudged: 0,
        }
    }

    /// The next record that should stand in the file, in offset order.
    pub fn record(&mut self, offset: i64, hash: u64) {
        self.num_records += 1;
        self.records.push_back(Record {
            number: self.num_records,
            offset,
            hash,
        });
        self.settle();
    }

    /// The next line of the file.
    pub fn line(&mut self, hash: u64) {
        self.num_lines += 1;
        if self.num_lines > self.skip {
            self.lines.push_back(hash);
            self.settle();
        }
    }

    /// Whether a line is needed to go on. After the last record all lines are.
    pub fn wants_line(&self) -> bool {
        if self.lines_ended {
            return false;
        }
        let agree = self.lines.is_empty();
        self.records_ended || (!self.records.is_empty() && (agree || self.lines.len() < WINDOW))
    }

    /// There are no more lines.
    pub fn end_lines(&mut self) {
        self.lines_ended = true;
        self.settle();
    }

    /// There are no more records.
    pub fn end_records(&mut self) {
        self.records_ended = true;
        self.settle();
    }

    /// What came of it, when both have ended.
    pub fn finish(mut self) -> Diff {
        self.records_ended = true;
        self.lines_ended = true;
        self.settle();
        self.sort_out();
        Diff {
            runs: self.runs,
            lines: self.num_lines,
            matched: self.num_matched,
            unjudged: self.unjudged,
        }
    }

    fn settle(&mut self) {
        loop {
            match (self.records.front().copied(), self.lines.front().copied()) {
                (None, None) => return,
                (Some(record), Some(line)) if record.hash == line => {
                    self.records.pop_front();
                    self.lines.pop_front();
                    self.matched(record);
                }
                (_, Some(_)) if self.is_compacted => {
                    // What Kafka has forgotten.
                    match self.records.is_empty() && !self.records_ended {
                        true => return,
                        false => drop(self.lines.pop_front()),
                    }
                }
                (Some(_), None) if self.is_compacted && self.lines_ended => self.give_up(),
                (Some(_), Some(_)) => {
                    let all_records = self.records_ended || self.records.len() >= WINDOW;
                    let all_lines = self.lines_ended || self.lines.len() >= WINDOW;
                    if !(all_records && all_lines) {
                        return;
                    }
                    self.part();
                }
                (Some(_), None) if self.lines_ended => self.pass(self.records.len(), 0),
                (None, Some(_)) if self.records_ended => self.pass(0, self.lines.len()),
                _ => return,
            }
        }
    }

    fn matched(&mut self, record: Record) {
        self.num_matched += 1;
        self.last = record;
        if self.recent.len() >= WINDOW
            && let Some(old) = self.recent.pop_front()
            && self
                .recent_by_hash
                .get(&old.hash)
                .is_some_and(|r| r.number == old.number)
        {
            self.recent_by_hash.remove(&old.hash);
        }
        self.recent.push_back(record);
        self.recent_by_hash.insert(record.hash, record);
    }

    /// In a compacted topic's file a record that isn't found may be anywhere: it is named, and that is all.
    fn give_up(&mut self) {
        if !std::mem::replace(&mut self.is_stuck, true)
            && let Some(record) = self.records.pop_front()
        {
            let range = Range::new(record.offset, record.offset + 1);
            self.runs.push(Run {
                kind: Kind::Missing,
                range,
                records: 1,
            });
        }
        self.unjudged += self.records.len() as u64;
        self.records.clear();
    }

    /// The two sides disagree: the shortest way back.
    fn part(&mut self) {
        let mut first_at = HashMap::new();
        for (at, line) in self.lines.iter().enumerate() {
            first_at.entry(*line).or_insert(at);
        }
        let mut best = None;
        for (at, record) in self.records.iter().enumerate() {
            if best.is_some_and(|(records, lines)| at >= records + lines) {
                break;
            }
            if let Some(line) = first_at.get(&record.hash)
                && best.is_none_or(|(records, lines)| at + line < records + lines)
            {
                best = Some((at, *line));
            }
        }
        let (records, lines) = best.unwrap_or((self.records.len(), self.lines.len()));
        self.pass(records, lines);
    }

    /// Passes over so many.
    fn pass(&mut self, records: usize, lines: usize) {
        self.num_gaps += 1;
        let gap = self.num_gaps;
        let ahead: HashMap<u64, Record> = match lines {
            0 => HashMap::new(),
            _ => self
                .records
                .iter()
                .skip(records)
                .map(|r| (r.hash, *r))
                .collect(),
        };
        for hash in self.lines.drain(..lines) {
            let same_as = self.recent_by_hash.get(&hash).or_else(|| ahead.get(&hash));
            self.loose_lines.push(LooseLine {
                hash,
                gap,
                after: self.last,
                same_as: same_as.copied(),
            });
        }
        let passed = self.records.drain(..records);
        self.loose_records
            .extend(passed.map(|record| LooseRecord { record, gap }));
        if self.loose_records.len() + self.loose_lines.len() > MOST_LOOSE {
            self.sort_out();
        }
    }

    /// Says what those that were passed over are.
    fn sort_out(&mut self) {
        let mut wrong: Vec<(u64, i64, Kind)> = Vec::new();
        let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, loose) in self.loose_records.iter().enumerate().rev() {
            by_hash.entry(loose.record.hash).or_default().push(at);
        }
        let mut is_settled = vec![false; self.loose_records.len()];
        let mut rest: HashMap<u64, VecDeque<LooseLine>> = HashMap::new();
        for line in std::mem::take(&mut self.loose_lines) {
            let at = by_hash.get_mut(&line.hash).and_then(Vec::pop);
            if let Some((settled, loose)) =
                at.and_then(|at| is_settled.get_mut(at).zip(self.loose_records.get(at)))
            {
                *settled = true;
                wrong.push((loose.record.number, loose.record.offset, Kind::OutOfOrder));
            } else if let Some(record) = line.same_as {
                wrong.push((record.number, record.offset, Kind::Doubled));
            } else {
                rest.entry(line.gap).or_default().push_back(line);
            }
        }
        for (loose, settled) in std::mem::take(&mut self.loose_records)
            .iter()
            .zip(is_settled)
        {
            if settled {
                continue;
            }
            let line = rest.get_mut(&loose.gap).and_then(VecDeque::pop_front);
            let kind = match line {
                Some(_) => Kind::Changed,
                None => Kind::Missing,
            };
            wrong.push((loose.record.number, loose.record.offset, kind));
        }
        let extra = rest.into_values().flatten();
        wrong.extend(extra.map(|line| (line.after.number, line.after.offset, Kind::Extra)));
        wrong.sort_unstable();
        let mut runs = Runs::default();
        for (number, offset, kind) in wrong {
            self.runs.extend(runs.bad(kind, number, offset));
        }
        self.runs.extend(runs.end());
    }
}

#[cfg(test)]
mod tests;
