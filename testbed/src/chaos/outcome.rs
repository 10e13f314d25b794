//! What came of a case: a line of the table, and JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::case::{Seen, Sink};

/// A sink that must not suffer: how it went on during the fault.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// The sink.
    pub sink: Sink,
    /// Records a second before the fault.
    pub before: f64,
    /// Records a second during it.
    pub during: f64,
}

impl Rate {
    /// During the fault, as a share of before.
    pub fn share(&self) -> f64 {
        self.during / self.before.max(1.0)
    }
}

/// What came of one run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The case.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What was random was drawn from this.
    pub seed: u64,
    /// The command that runs just that again.
    pub again: String,
    /// Proof of the fault.
    pub seen: Seen,
    /// Acknowledged by the broker.
    pub records: usize,
    /// Of them missing in a sink, in the worst of the three looks.
    pub lost: usize,
    /// In a sink more than once.
    pub doubled: usize,
    /// Writes of documents that stood already (a replay onto the same document).
    pub rewritten: i64,
    /// Records in the dead letter topics.
    pub dead_letters: usize,
    /// The other sinks' rates.
    pub rates: Vec<Rate>,
    /// From the end of the fault until all that had waited was committed.
    pub catch_up: Option<Duration>,
    /// The most memory that a process had.
    pub peak_bytes: u64,
    /// The whole run.
    pub took: Duration,
    /// What isn't as it must be. None: the case has passed.
    pub findings: Vec<String>,
}

impl Outcome {
    /// Whether all is as it must be.
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let rates = self.rates.iter().map(|rate| {
            json!({ "sink": rate.sink.name(), "before": rate.before, "during": rate.during,
                    "share": rate.share() })
        });
        json!({
            "case": self.id, "name": self.name, "seed": self.seed,
            "again": self.again, "passed": self.passed(),
            "fault_seen": { "count": self.seen.count, "what": self.seen.what },
            "records": self.records, "lost": self.lost, "doubled": self.doubled,
            "rewritten": self.rewritten, "dead_letters": self.dead_letters,
            "other_rates": rates.collect::<Vec<_>>(),
            "catch_up_seconds": self.catch_up.map(|time| time.as_secs_f64()),
            "peak_memory_bytes": self.peak_bytes, "took_seconds": self.took.as_secs_f64(),
            "findings": self.findings,
        })
    }
}

/// Of a rate that is lower, the table says so.
const ENOUGH: f64 = 0.9;

/// One line a case.
pub fn table(outcomes: &[Outcome]) -> String {
    let head = [
        "case",
        "",
        "fault seen",
        "records",
        "lost",
        "doubled",
        "rewritten",
        "dead letters",
        "other sink",
        "caught up",
        "peak memory",
        "took",
        "",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(outcomes.iter().map(row));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn row(outcome: &Outcome) -> Vec<String> {
    let rate = |rate: &Rate| {
        let low = if rate.share() < ENOUGH { " LOW" } else { "" };
        format!("{} {:.0} %{low}", rate.sink.name(), 100.0 * rate.share())
    };
    let rates: Vec<_> = outcome.rates.iter().map(rate).collect();
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let verdict = if outcome.passed() { "passed" } else { "FAILED" };
    vec![
        outcome.id.clone(),
        outcome.name.clone(),
        format!("{} {}", outcome.seen.count, outcome.seen.what),
        outcome.records.to_string(),
        outcome.lost.to_string(),
        outcome.doubled.to_string(),
        outcome.rewritten.to_string(),
        outcome.dead_letters.to_string(),
        if rates.is_empty() {
            "-".to_owned()
        } else {
            rates.join(", ")
        },
        outcome.catch_up.map_or_else(|| "-".to_owned(), seconds),
        format!("{} MiB", outcome.peak_bytes >> 20),
        seconds(outcome.took),
        verdict.to_owned(),
    ]
}
