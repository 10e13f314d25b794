//! A set of offsets, as runs: which dead letters were replayed. Pure.

use std::collections::BTreeMap;

/// Offsets, in runs that don't touch each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetRuns {
    /// First → last, both inclusive.
    runs: BTreeMap<i64, i64>,
}

impl OffsetRuns {
    /// Adds the offsets from `first` to `last`, both inclusive.
    pub fn insert(&mut self, first: i64, last: i64) {
        if last < first {
            return;
        }
        let (mut first, mut last) = (first, last);
        let touching: Vec<(i64, i64)> = self
            .runs
            .range(..=last.saturating_add(1))
            .rev()
            .take_while(|(_, end)| end.saturating_add(1) >= first)
            .map(|(from, to)| (*from, *to))
            .collect();
        for (from, to) in touching {
            self.runs.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.runs.insert(first, last);
    }

    /// Whether an offset is in it.
    pub fn has(&self, offset: i64) -> bool {
        let before = self.runs.range(..=offset).next_back();
        before.is_some_and(|(_, last)| *last >= offset)
    }

    /// The runs, ascending; first and last, both inclusive.
    pub fn runs(&self) -> impl Iterator<Item = (i64, i64)> {
        self.runs.iter().map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_its_runs_never_touch(
            inserts in proptest::collection::vec((0i64..60, 0i64..6), 0..30),
        ) {
            let (mut set, mut naive) = (OffsetRuns::default(), BTreeSet::new());
            for (first, more) in inserts {
                set.insert(first, first + more);
                naive.extend(first..=first + more);
            }
            for offset in -1..70 {
                prop_assert_eq!(set.has(offset), naive.contains(&offset), "{}", offset);
            }
            let runs: Vec<_> = set.runs().collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{runs:?}");
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_trouble() {
        let mut set = OffsetRuns::default();
        set.insert(i64::MAX, i64::MAX);
        set.insert(i64::MIN, i64::MAX - 1);
        set.insert(3, 2);
        assert_eq!(set.runs().collect::<Vec<_>>(), [(i64::MIN, i64::MAX)]);
    }
}
