//! Sets of offsets, small where they are dense: a hundred million neighbours take a few kilobytes, and the worst
//! that can be (every other one) a bit each.

use std::collections::BTreeMap;

/// Offsets in one chunk.
const CHUNK: i64 = 1 << 16;
const WORDS: usize = (CHUNK / 64) as usize;

#[derive(Debug, Clone)]
enum Chunk {
    /// All of them.
    Full,
    Some(Box<[u64; WORDS]>, u32),
}

/// A set of offsets.
#[derive(Debug, Clone, Default)]
pub struct OffsetSet {
    chunks: BTreeMap<i64, Chunk>,
    len: u64,
}

impl OffsetSet {
    /// Adds an offset; whether it is new.
    pub fn insert(&mut self, offset: i64) -> bool {
        let (number, word, bit) = place(offset);
        let empty = || Chunk::Some(Box::new([0; WORDS]), 0);
        let chunk = self.chunks.entry(number).or_insert_with(empty);
        let Chunk::Some(words, count) = chunk else {
            return false;
        };
        let Some(word) = words.get_mut(word) else {
            return false;
        };
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        *count += 1;
        if i64::from(*count) == CHUNK {
            *chunk = Chunk::Full;
        }
        self.len += 1;
        true
    }

    /// Whether an offset is in it.
    pub fn contains(&self, offset: i64) -> bool {
        let (number, word, bit) = place(offset);
        match self.chunks.get(&number) {
            None => false,
            Some(Chunk::Full) => true,
            Some(Chunk::Some(words, _)) => words.get(word).is_some_and(|word| word & bit != 0),
        }
    }

    /// How many are in it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

fn place(offset: i64) -> (i64, usize, u64) {
    let within = offset.rem_euclid(CHUNK);
    let word = usize::try_from(within / 64).unwrap_or(0);
    (offset.div_euclid(CHUNK), word, 1 << (within % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hundred_million_neighbours_take_next_to_nothing() {
        let mut set = OffsetSet::default();
        for offset in 7..CHUNK * 20 {
            assert!(set.insert(offset));
        }
        let full = |chunk: &&Chunk| matches!(chunk, Chunk::Full);
        assert_eq!(set.chunks.values().filter(full).count(), 19);
        assert!(!set.insert(CHUNK * 3) && !set.contains(6) && set.contains(7));
        assert_eq!(set.len(), (CHUNK * 20 - 7) as u64);
    }

    proptest! {
        #[test]
        fn it_is_a_set(offsets in proptest::collection::vec(-5i64..200_000, 0..300), asked in -9i64..200_009) {
            let (mut set, mut model) = (OffsetSet::default(), BTreeSet::new());
            for offset in offsets {
                prop_assert_eq!(set.insert(offset), model.insert(offset));
            }
            prop_assert_eq!(set.contains(asked), model.contains(&asked));
            prop_assert!(model.iter().all(|offset| set.contains(*offset)));
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(set.is_empty(), model.is_empty());
        }
    }
}
