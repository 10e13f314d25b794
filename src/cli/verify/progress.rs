//! How far it is, on one line of standard error that is written over.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

use super::When;
use crate::offsets::{Range, TopicPartition};
use crate::verify::Progress;

/// How often the line is written.
const EVERY: Duration = Duration::from_millis(250);
/// How many records pass before the clock is asked.
const RECORDS: u64 = 1_024;

/// Shows progress, or doesn't.
pub(super) struct Shown {
    sink: String,
    is_on: bool,
    records: u64,
    began: Instant,
    shown: Option<Instant>,
    width: usize,
}

impl Shown {
    pub fn new(sink: &str, when: When) -> Self {
        Shown {
            sink: sink.to_owned(),
            is_on: match when {
                When::Auto => stderr().is_terminal(),
                When::Always => true,
                When::Never => false,
            },
            records: 0,
            began: Instant::now(),
            shown: None,
            width: 0,
        }
    }

    /// Takes the line away.
    pub fn end(&mut self) {
        if self.is_on {
            self.write("");
            let _ = write!(stderr(), "\r");
        }
    }

    fn write(&mut self, line: &str) {
        let width = line.chars().count();
        let blank = self.width.saturating_sub(width);
        let _ = write!(stderr(), "\r{line}{:blank$}", "");
        let _ = stderr().flush();
        self.width = width;
    }
}

impl Progress for Shown {
    fn phase(&mut self, what: &str) {
        if self.is_on {
            let line = format!("{}: {what}", self.sink);
            self.write(&line);
        }
    }

    fn at(&mut self, partition: &TopicPartition, offset: i64, judged: Range) {
        self.records += 1;
        if !self.is_on || (self.shown.is_some() && !self.records.is_multiple_of(RECORDS)) {
            return;
        }
        if self.shown.is_some_and(|shown| shown.elapsed() < EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        let percent = percent(offset, judged);
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = (self.records as f64 / seconds) as u64;
        let line = format!(
            "{}: {partition} {percent} % of {judged}, {rate} records/s",
            self.sink
        );
        self.write(&line);
    }
}

fn percent(offset: i64, judged: Range) -> i64 {
    let whole = (judged.end - judged.first).max(1);
    ((offset - judged.first).clamp(0, whole) as i128 * 100 / i128::from(whole)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_one_whatever_the_offsets() {
        let judged = Range::new(100, 200);
        for (offset, expected) in [(0, 0), (100, 0), (150, 50), (199, 99), (500, 100)] {
            assert_eq!(percent(offset, judged), expected);
        }
        assert_eq!(percent(i64::MAX - 1, Range::new(0, i64::MAX)), 99);
        assert_eq!(percent(5, Range::new(5, 5)), 0);
    }
}
