//! One partition while its letters are replayed: what is to be fed, and what the sink hasn't answered. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Item, Work};
use crate::offsets::{Epoch, OffsetRuns, Range, TopicPartition};
use crate::sinks::Rejection;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Opening,
    /// May be fed.
    Open,
    /// The sink wants nothing at the moment.
    Paused,
    /// All was fed.
    Draining,
    Over,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub partition: TopicPartition,
    pub topic_id: Arc<str>,
    pub epoch: Epoch,
    pub state: State,
    /// To be fed, in order.
    pub items: VecDeque<Item>,
    /// The number that the next one gets.
    pub next: i64,
    /// Fed and not answered, by their numbers.
    under_way: BTreeMap<i64, Item>,
    pub refused: BTreeMap<i64, Rejection>,
}

impl Seat {
    pub fn new(work: Work) -> Self {
        Seat {
            partition: work.partition,
            topic_id: work.topic_id,
            epoch: Epoch::default(),
            state: State::Opening,
            items: work.items,
            next: 0,
            under_way: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    pub fn open(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.state = State::Opening;
    }

    pub fn opened(&mut self, resume: i64, reading: bool) {
        self.next = resume;
        self.state = match reading {
            true => State::Open,
            false => State::Paused,
        };
    }

    /// Takes out what is known to be replayed.
    pub fn leave_out(&mut self, known: &OffsetRuns) -> Vec<Item> {
        let (out, items) = std::mem::take(&mut self.items)
            .into_iter()
            .partition(|item| known.has(item.origin));
        self.items = items;
        Vec::from(out)
    }

    /// The next items, at least one if there is one.
    pub fn next_batch(&mut self, most: usize, most_bytes: usize) -> Vec<Item> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < most
            && let Some(item) = self
                .items
                .pop_front_if(|item| batch.is_empty() || bytes + item.bytes <= most_bytes)
        {
            bytes += item.bytes;
            batch.push(item);
        }
        batch
    }

    /// An item was fed, and has the next number.
    pub fn took(&mut self, item: Item) {
        self.under_way.insert(self.next, item);
        self.next += 1;
    }

    /// The items of a range that is final, and why they were refused, if they were.
    pub fn acked(&mut self, range: Range) -> Vec<(Item, Option<Rejection>)> {
        let beyond = self.under_way.split_off(&range.end);
        let done = self.under_way.split_off(&range.first);
        self.under_way.extend(beyond);
        let with_reason = |(number, item)| (item, self.refused.remove(&number));
        done.into_iter().map(with_reason).collect()
    }

    pub fn pause(&mut self, paused: bool) {
        self.state = match (self.state, paused) {
            (State::Open, true) => State::Paused,
            (State::Paused, false) => State::Open,
            (state, _) => state,
        };
    }

    /// What wasn't answered is fed again.
    pub fn rewind(&mut self) {
        let again = std::mem::take(&mut self.under_way);
        self.refused.clear();
        let rest = std::mem::take(&mut self.items);
        self.items = again.into_values().chain(rest).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::letterbox::Place;

    fn seat(origins: &[i64]) -> Seat {
        let item = |origin: &i64| Item {
            place: Place {
                partition: 0,
                offset: origin + 100,
            },
            origin: *origin,
            timestamp_ms: None,
            bytes: 10,
        };
        Seat::new(Work {
            partition: TopicPartition::new("t", 0),
            topic_id: "id".into(),
            items: origins.iter().map(item).collect(),
        })
    }

    fn origins<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<i64> {
        items.into_iter().map(|item| item.origin).collect()
    }

    #[test]
    fn items_are_fed_in_order_and_answered_by_their_numbers() {
        let mut seat = seat(&[3, 5, 9, 12]);
        seat.opened(40, true);
        let mut known = OffsetRuns::default();
        known.insert(5, 8);
        assert_eq!(origins(&seat.leave_out(&known)), [5]);
        let batch = seat.next_batch(10, 25);
        assert_eq!(origins(&batch), [3, 9], "as many bytes as may be");
        batch.into_iter().for_each(|item| seat.took(item));
        let rejection = Rejection {
            reason: "not_json".into(),
            detail: String::new(),
            status: None,
        };
        seat.refused.insert(41, rejection.clone());
        let acked = seat.acked(Range::new(40, 42));
        let of: Vec<_> = acked.iter().map(|(item, why)| (item.origin, why)).collect();
        assert_eq!(of, [(3, &None), (9, &Some(rejection))]);
        assert!(seat.refused.is_empty());
        assert_eq!(origins(&seat.items), [12]);
    }

    #[test]
    fn what_was_not_answered_is_fed_again_in_order() {
        let mut seat = seat(&[1, 2, 3, 4]);
        seat.opened(0, true);
        for item in seat.next_batch(3, 1_000) {
            seat.took(item);
        }
        assert_eq!(seat.acked(Range::new(0, 1)).len(), 1);
        seat.rewind();
        assert_eq!(origins(&seat.items), [2, 3, 4]);
        assert!(seat.acked(Range::new(0, 9)).is_empty());
    }

    #[test]
    fn one_that_is_too_large_for_a_batch_is_a_batch_of_its_own() {
        let mut seat = seat(&[1, 2]);
        assert_eq!(seat.next_batch(10, 5).len(), 1);
        assert_eq!(seat.next_batch(10, 5).len(), 1);
        assert!(seat.next_batch(10, 5).is_empty());
    }
}
