//! How much is sent at once: requests in flight and bytes in a batch, learned from what the server says.
//! Pure. What was learned stays through an outage.

use std::time::{Duration, Instant};

const START_IN_FLIGHT: usize = 4;
const START_BYTES: usize = 1 << 20;
const LEAST_BYTES: usize = 64 << 10;
const BYTES_STEP: usize = 256 << 10;
/// Below this answers are quick enough for larger batches.
const QUICK: Duration = Duration::from_secs(1);
/// Above this the server has too much to do, whatever it says.
const SLOW: Duration = Duration::from_secs(10);

/// Additive increase, multiplicative decrease.
#[derive(Debug, Clone)]
pub struct Limits {
    max_in_flight: usize,
    max_bytes: usize,
    in_flight: f64,
    bytes: usize,
    last_cut: Option<Instant>,
}

impl Limits {
    /// Starts in the middle of what the settings allow.
    pub fn new(max_in_flight: usize, max_bytes: usize) -> Self {
        let max_in_flight = max_in_flight.max(1);
        let max_bytes = max_bytes.max(1);
        Limits {
            max_in_flight,
            max_bytes,
            in_flight: to_f64(START_IN_FLIGHT.min(max_in_flight)),
            bytes: START_BYTES.min(max_bytes),
            last_cut: None,
        }
    }

    /// Most requests in flight.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn in_flight(&self) -> usize {
        // Between 1 and max_in_flight by construction.
        (self.in_flight as usize).clamp(1, self.max_in_flight)
    }

    /// Bytes at which a batch is full.
    pub fn batch_bytes(&self) -> usize {
        self.bytes
    }

    /// A request of `bytes` was answered well after `took`, with as many others in flight as was allowed
    /// (`saturated`): without need nothing grows.
    pub fn succeeded(&mut self, sent: Instant, took: Duration, bytes: usize, saturated: bool) {
        if took > SLOW {
            self.overloaded(sent, sent + took);
            return;
        }
        if saturated {
            let more = self.in_flight + 1.0 / self.in_flight;
            self.in_flight = more.min(to_f64(self.max_in_flight));
        }
        let was_full = bytes >= self.bytes - self.bytes / 4;
        if was_full && took < QUICK {
            self.bytes = self.bytes.saturating_add(BYTES_STEP).min(self.max_bytes);
        }
    }

    /// The server has too much to do. A request sent before the last cut says nothing new.
    pub fn overloaded(&mut self, sent: Instant, now: Instant) {
        if self.last_cut.is_some_and(|cut| sent < cut) {
            return;
        }
        self.last_cut = Some(now);
        self.in_flight = (self.in_flight / 2.0).max(1.0);
        self.bytes = (self.bytes / 4 * 3).max(LEAST_BYTES).min(self.max_bytes);
    }

    /// A request of `bytes` wasn't answered in time. What it asked for may be done all the same: as many again at
    /// once would only add to the load. If it was a small one, the server is away rather than busy.
    pub fn timed_out(&mut self, sent: Instant, now: Instant, bytes: usize) {
        if bytes > LEAST_BYTES {
            self.overloaded(sent, now);
        }
    }

    /// A body of `bytes` was too large: never that large again.
    pub fn too_large(&mut self, bytes: usize) {
        let half = (bytes / 2).max(1);
        self.max_bytes = self.max_bytes.min(half);
        self.bytes = self.bytes.min(self.max_bytes);
    }
}

fn to_f64(n: usize) -> f64 {
    // Both numbers are small counts.
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[path = "limits_simulated.rs"]
mod simulated;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUICKLY: Duration = Duration::from_millis(20);

    #[test]
    fn grows_only_under_load_and_up_to_the_settings() {
        let (mut limits, now) = (Limits::new(16, 5 << 20), Instant::now());
        assert_eq!((limits.in_flight(), limits.batch_bytes()), (4, 1 << 20));
        for _ in 0..500 {
            limits.succeeded(now, QUICKLY, 100, false);
        }
        assert_eq!((limits.in_flight(), limits.batch_bytes()), (4, 1 << 20));
        for _ in 0..500 {
            limits.succeeded(now, QUICKLY, limits.batch_bytes(), true);
        }
        assert_eq!((limits.in_flight(), limits.batch_bytes()), (16, 5 << 20));
    }

    #[test]
    fn one_round_of_overload_cuts_once() {
        let (mut limits, now) = (Limits::new(16, 5 << 20), Instant::now());
        for _ in 0..4 {
            limits.overloaded(now, now + QUICKLY);
        }
        assert_eq!(limits.in_flight(), 2);
        limits.overloaded(now + QUICKLY, now + QUICKLY * 2);
        limits.overloaded(now + QUICKLY * 2, now + QUICKLY * 3);
        limits.overloaded(now + QUICKLY * 3, now + QUICKLY * 4);
        assert_eq!(limits.in_flight(), 1);
    }

    #[test]
    fn a_size_that_was_refused_is_not_tried_again() {
        let (mut limits, now) = (Limits::new(16, 5 << 20), Instant::now());
        limits.too_large(1 << 20);
        for _ in 0..500 {
            limits.succeeded(now, QUICKLY, limits.batch_bytes(), true);
        }
        assert_eq!(limits.batch_bytes(), 512 << 10);
    }

    #[test]
    fn slow_answers_cut_too() {
        let (mut limits, now) = (Limits::new(16, 5 << 20), Instant::now());
        limits.succeeded(now, SLOW * 2, 1 << 20, true);
        assert_eq!(limits.in_flight(), 2);
    }

    #[test]
    fn what_is_not_answered_in_time_cuts_unless_it_was_small() {
        let (mut limits, now) = (Limits::new(16, 5 << 20), Instant::now());
        limits.timed_out(now, now + SLOW, 300);
        assert_eq!(limits.in_flight(), 4, "a probe's timeout says nothing");
        limits.timed_out(now, now + SLOW, 1 << 20);
        limits.timed_out(now, now + SLOW, 1 << 20);
        assert_eq!((limits.in_flight(), limits.batch_bytes()), (2, 768 << 10));
    }

    proptest! {
        #[test]
        fn always_within_the_settings(
            max_in_flight in 0usize..40, max_bytes in 0usize..20_000_000,
            steps in proptest::collection::vec((0u8..3, 0u64..20_000, 0usize..20_000_000), 0..200)
        ) {
            let mut limits = Limits::new(max_in_flight, max_bytes);
            let mut now = Instant::now();
            for (what, millis, bytes) in steps {
                let took = Duration::from_millis(millis);
                match what {
                    0 => limits.succeeded(now, took, bytes, true),
                    1 => limits.overloaded(now, now + took),
                    _ => limits.too_large(bytes),
                }
                now += took;
                prop_assert!((1..=max_in_flight.max(1)).contains(&limits.in_flight()));
                prop_assert!((1..=max_bytes.max(1)).contains(&limits.batch_bytes()));
            }
        }
    }
}
