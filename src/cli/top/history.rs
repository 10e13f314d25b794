//! Lags of the last minutes, for the graph. Pure.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A sample a second for ten minutes: more than terminals are wide.
const MOST: usize = 600;

/// What was seen of whom.
#[derive(Debug)]
pub struct Histories<K>(HashMap<K, VecDeque<u64>>);

impl<K> Default for Histories<K> {
    fn default() -> Self {
        Histories(HashMap::new())
    }
}

impl<K: Hash + Eq> Histories<K> {
    /// One sample of each that is there; whoever isn't any more is forgotten.
    pub fn take(&mut self, samples: impl Iterator<Item = (K, u64)>) {
        let mut before = std::mem::take(&mut self.0);
        for (key, lag) in samples {
            let mut lags = before.remove(&key).unwrap_or_default();
            if lags.len() == MOST {
                lags.pop_front();
            }
            lags.push_back(lag);
            self.0.insert(key, lags);
        }
    }

    /// The newest samples, at most so many, the oldest first.
    pub fn newest(&self, key: &K, most: usize) -> Vec<u64> {
        let Some(lags) = self.0.get(key) else {
            return Vec::new();
        };
        lags.iter()
            .skip(lags.len().saturating_sub(most))
            .copied()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_samples_are_kept_of_whoever_is_there() {
        let mut histories = Histories::default();
        for n in 0..700 {
            let gone = (n < 5).then_some(("gone", n));
            histories.take([("g", n)].into_iter().chain(gone));
        }
        assert_eq!(histories.newest(&"g", 3), [697, 698, 699]);
        assert_eq!(histories.newest(&"g", 10_000).len(), MOST);
        assert_eq!(histories.newest(&"gone", 3), Vec::<u64>::new());
    }
}
