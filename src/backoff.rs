//! How long to wait before the next try: exponential, with full jitter, capped, without an end.
//!
//! The only file that imports the `backoff` crate, and only its policy: it never sleeps and never gives up.
//! That crate is unmaintained (deny.toml names its advisories); replacing it is a change to this file.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// The longest `Retry-After` that is honoured: beyond it a server's (or a proxy's) word would keep a sink
/// idle long after its return.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// How delays grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The first delay is drawn below this.
    pub base: Duration,
    /// No delay is longer, however many tries failed.
    pub cap: Duration,
}

impl Policy {
    /// Delays below `base`, then below twice that, and so on up to `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Policy { base, cap }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy::new(Duration::from_millis(200), Duration::from_secs(30))
    }
}

/// The delays of one run of failures. Endless: there is always a next delay.
#[derive(Debug, Clone)]
pub struct Backoff {
    inner: ExponentialBackoff,
    policy: Policy,
    tries: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::new(Policy::default())
    }
}

impl Backoff {
    /// A run that hasn't failed yet.
    pub fn new(policy: Policy) -> Self {
        // The crate draws from current × [1 - factor, 1 + factor]. With the factor 1 and half the interval
        // that is [0, interval]: full jitter.
        let base = policy.base.min(policy.cap) / 2;
        let inner = ExponentialBackoff {
            current_interval: base,
            initial_interval: base,
            randomization_factor: 1.0,
            multiplier: 2.0,
            max_interval: policy.cap / 2,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Backoff {
            inner,
            policy,
            tries: 0,
        }
    }

    /// The delay before the next try: at least a tenth of the base (so that nobody spins), at most the cap,
    /// but never below what the server asked for in `retry_after`.
    pub fn next_delay(&mut self, retry_after: Option<Duration>) -> Duration {
        self.tries = self.tries.saturating_add(1);
        let drawn = self.inner.next_backoff().unwrap_or(self.policy.cap);
        let least = (self.policy.base / 10).min(self.policy.cap);
        // Capped again: the crate's jitter comes after its own cap.
        let delay = drawn.clamp(least, self.policy.cap);
        delay.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
    }

    /// How many delays were asked for since the last success.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// It worked: start over.
    pub fn reset(&mut self) {
        self.inner.reset();
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest_of(runs: u32, tries: u32, policy: Policy) -> Duration {
        (0..runs)
            .filter_map(|_| {
                let mut backoff = Backoff::new(policy);
                (0..tries).map(|_| backoff.next_delay(None)).last()
            })
            .max()
            .unwrap_or_default()
    }

    #[test]
    fn never_ends_and_never_exceeds_the_cap() {
        let policy = Policy::default();
        let mut backoff = Backoff::new(policy);
        for _ in 0..10_000 {
            let delay = backoff.next_delay(None);
            assert!(delay <= policy.cap && delay >= policy.base / 10);
        }
        assert_eq!(backoff.tries(), 10_000);
    }

    #[test]
    fn grows_with_every_try_and_starts_over_after_a_success() {
        let policy = Policy::default();
        assert!(longest_of(500, 1, policy) <= policy.base);
        assert!(longest_of(500, 4, policy) > policy.base * 4);
        let mut backoff = Backoff::new(policy);
        for _ in 0..20 {
            backoff.next_delay(None);
        }
        backoff.reset();
        assert_eq!(backoff.tries(), 0);
        assert!(backoff.next_delay(None) <= policy.base);
    }

    #[test]
    fn jitter_is_full() {
        // Of 500 delays capped at 30 s some are short and some are long: nobody comes back in step.
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..500).map(|_| backoff.next_delay(None)).collect();
        assert!(delays[20..].iter().any(|d| *d < Duration::from_secs(5)));
        assert!(delays[20..].iter().any(|d| *d > Duration::from_secs(25)));
    }

    #[test]
    fn the_servers_wish_is_a_floor_within_reason() {
        let mut backoff = Backoff::default();
        let wish = Duration::from_secs(42);
        assert!(backoff.next_delay(Some(wish)) >= wish);
        let absurd = Duration::from_secs(86_400);
        assert_eq!(backoff.next_delay(Some(absurd)), LONGEST_RETRY_AFTER);
    }

    #[test]
    fn a_cap_below_the_base_holds() {
        let policy = Policy::new(Duration::from_secs(5), Duration::from_millis(50));
        assert!(longest_of(100, 10, policy) <= policy.cap);
    }
}
