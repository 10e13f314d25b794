//! What no broker has acknowledged yet, in order and within a limit; the oldest goes first. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What a record costs besides its bytes.
const OVERHEAD: u64 = 128;

/// Most records in the client's hands at once: those can't be taken back.
const MAX_IN_FLIGHT: usize = 1_000;

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The host's name.
    pub key: Arc<str>,
    /// JSON.
    pub value: Arc<[u8]>,
    /// When the figures were taken.
    pub timestamp_ms: i64,
}

impl Record {
    fn bytes(&self) -> u64 {
        (self.key.len() + self.value.len()) as u64 + OVERHEAD
    }
}

/// Records by number: those that wait and those in flight.
#[derive(Debug, Default)]
pub struct Buffer {
    waiting: BTreeMap<usize, Record>,
    in_flight: BTreeMap<usize, Record>,
    next: usize,
    bytes: u64,
    in_flight_bytes: u64,
    max_bytes: u64,
    num_dropped: u64,
}

impl Buffer {
    /// An empty buffer of at most `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        Buffer {
            max_bytes,
            ..Buffer::default()
        }
    }

    /// Adds a record; drops the oldest ones that wait if there is no room.
    pub fn push(&mut self, key: Arc<str>, value: Vec<u8>, timestamp_ms: i64) {
        let record = Record {
            key,
            value: value.into(),
            timestamp_ms,
        };
        self.bytes += record.bytes();
        self.waiting.insert(self.next, record);
        self.next += 1;
        while self.bytes > self.max_bytes
            && let Some((_, oldest)) = self.waiting.pop_first()
        {
            self.bytes -= oldest.bytes();
            self.num_dropped += 1;
        }
    }

    /// The oldest record that waits, which is in flight from now on.
    pub fn next_to_send(&mut self) -> Option<(usize, Record)> {
        // Half of the room at most, so that there is always something that can be dropped.
        let is_full = self.in_flight_bytes >= self.max_bytes / 2;
        if is_full || self.in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        let (number, record) = self.waiting.pop_first()?;
        self.in_flight_bytes += record.bytes();
        self.in_flight.insert(number, record.clone());
        Some((number, record))
    }

    /// A broker has it.
    pub fn acked(&mut self, number: usize) {
        if let Some(record) = self.in_flight.remove(&number) {
            self.bytes -= record.bytes();
            self.in_flight_bytes -= record.bytes();
        }
    }

    /// It must be sent again, before those that came after it.
    pub fn failed(&mut self, number: usize) {
        if let Some(record) = self.in_flight.remove(&number) {
            self.in_flight_bytes -= record.bytes();
            self.waiting.insert(number, record);
        }
    }

    /// Everything in flight must be sent again.
    pub fn all_failed(&mut self) {
        self.waiting.append(&mut self.in_flight);
        self.in_flight_bytes = 0;
    }

    /// How many aren't acknowledged.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }

    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were dropped since the start.
    pub fn num_dropped(&self) -> u64 {
        self.num_dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn push(buffer: &mut Buffer, n: i64) {
        buffer.push("host".into(), n.to_string().into_bytes(), n);
    }

    #[test]
    fn the_oldest_goes_first_and_is_counted() {
        let mut buffer = Buffer::new(3 * 133);
        for n in 1..=5 {
            push(&mut buffer, n);
        }
        assert_eq!((buffer.len(), buffer.num_dropped()), (3, 2));
        assert_eq!(buffer.next_to_send().expect("one waits").1.timestamp_ms, 3);
    }

    #[test]
    fn what_failed_is_sent_again_before_what_came_later() {
        let mut buffer = Buffer::new(1 << 20);
        (1..=3).for_each(|n| push(&mut buffer, n));
        let (first, _) = buffer.next_to_send().expect("one waits");
        let (second, _) = buffer.next_to_send().expect("one waits");
        buffer.failed(second);
        buffer.failed(first);
        assert_eq!(buffer.next_to_send().expect("one waits").1.timestamp_ms, 1);
    }

    proptest! {
        /// Every record is acknowledged, dropped or still there; and the limit holds for what can be dropped.
        #[test]
        fn nothing_vanishes(steps in prop::collection::vec(0_u8..5, 0..300)) {
            let mut buffer = Buffer::new(10 * 140);
            let (mut pushed, mut acked) = (0_i64, 0_u64);
            for step in steps {
                let oldest = buffer.in_flight.keys().next().copied();
                match (step, oldest) {
                    (0 | 1, _) => { pushed += 1; push(&mut buffer, pushed); }
                    (2, _) => { buffer.next_to_send(); }
                    (3, Some(number)) => { buffer.acked(number); acked += 1; }
                    (4, Some(number)) => buffer.failed(number),
                    _ => {}
                }
                prop_assert_eq!(buffer.len() as u64 + buffer.num_dropped() + acked, pushed as u64);
                let held: u64 = buffer.waiting.values().chain(buffer.in_flight.values()).map(Record::bytes).sum();
                prop_assert_eq!(held, buffer.bytes);
                prop_assert!(held <= 10 * 140);
            }
        }
    }
}
