//! What outflow says while it is simulated: the offsets that it skipped, and a trace for people.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Lines of trace that are kept.
const KEPT: usize = 250;

#[derive(Clone, Default)]
pub struct Journal(Arc<Inner>);

#[derive(Default)]
struct Inner {
    traces: bool,
    now: AtomicU64,
    lines: Mutex<VecDeque<String>>,
    skipped: Mutex<Vec<(i32, i64, i64)>>,
}

impl Journal {
    pub fn new(traces: bool) -> Self {
        Journal(Arc::new(Inner {
            traces,
            ..Inner::default()
        }))
    }

    pub fn note(&self, line: impl FnOnce() -> String) {
        if self.0.traces {
            let now = self.0.now.load(Ordering::Relaxed);
            let mut lines = self.0.lines.lock().unwrap();
            if lines.len() == KEPT {
                lines.pop_front();
            }
            lines.push_back(format!("{:>9.3} s  {}", now as f64 / 1e3, line()));
        }
    }

    pub fn set_now(&self, now: u64) {
        self.0.now.store(now, Ordering::Relaxed);
    }

    pub fn trace(&self) -> String {
        self.0
            .lines
            .lock()
            .unwrap()
            .iter()
            .fold(String::new(), |text, line| text + line + "\n")
    }

    /// Whether outflow has said that it skips this offset.
    pub fn is_skipped(&self, partition: i32, offset: i64) -> bool {
        let skipped = self.0.skipped.lock().unwrap();
        skipped
            .iter()
            .any(|&(p, first, end)| p == partition && first <= offset && offset < end)
    }

    /// How many skipped ranges were told.
    pub fn skips(&self) -> Vec<(i32, i64, i64)> {
        self.0.skipped.lock().unwrap().clone()
    }
}

#[derive(Default)]
struct Fields {
    text: String,
    message: String,
    partition: i32,
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "partition" {
            self.partition = value as i32;
        }
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "sink" | "topic" => {}
            name => {
                let _ = write!(self.text, " {name}={value:?}");
            }
        }
    }
}

impl Subscriber for Journal {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.traces || *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(range) = skipped_range(&fields.message) {
            self.0
                .skipped
                .lock()
                .unwrap()
                .push((fields.partition, range.0, range.1));
        }
        self.note(|| format!("    outflow says: {}{}", fields.message, fields.text));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Reads `offsets [1, 5) are skipped…`.
fn skipped_range(message: &str) -> Option<(i64, i64)> {
    let range = message
        .strip_prefix("offsets [")?
        .split_once(") are skipped")?
        .0;
    let (first, end) = range.split_once(", ")?;
    Some((first.parse().ok()?, end.parse().ok()?))
}
