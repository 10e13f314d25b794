//! What waits to be delivered by one notifier: in order, and bounded. Pure.
//!
//! When it is full, the oldest repeat goes: a newer one says more. Only where there are no repeats left does the oldest opening
//! or closing go, and whoever asks is told, to count and log it.

use std::collections::VecDeque;

use super::incident::Event;
use super::message::Message;

/// The queue.
#[derive(Debug)]
pub struct Queue {
    most: usize,
    waiting: VecDeque<Message>,
}

impl Queue {
    /// An empty one for so many messages, at least one.
    pub fn new(most: usize) -> Self {
        Queue {
            most: most.max(1),
            waiting: VecDeque::new(),
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a message at the end. A repeat takes the place of the same incident's that still waits. What had to go for it comes
    /// back.
    pub fn push(&mut self, message: Message) -> Option<Message> {
        if message.event == Event::Repeat {
            let same = |m: &Message| m.event == Event::Repeat && m.id == message.id;
            self.waiting.retain(|m| !same(m));
        }
        self.waiting.push_back(message);
        if self.waiting.len() <= self.most {
            return None;
        }
        let is_repeat = |m: &Message| m.event == Event::Repeat;
        let place = self.waiting.iter().position(is_repeat).unwrap_or(0);
        self.waiting.remove(place)
    }

    /// Takes up to so many, the oldest first.
    pub fn take(&mut self, most: usize) -> Vec<Message> {
        let num = most.min(self.waiting.len());
        self.waiting.drain(..num).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::sample;

    fn message(id: &str, event: Event) -> Message {
        let mut message = sample(event, "n");
        message.id = id.into();
        message
    }

    fn taken(queue: &mut Queue) -> Vec<String> {
        let all = queue.take(usize::MAX).into_iter();
        all.map(|m| format!("{} {}", m.event.as_str(), m.id))
            .collect()
    }

    #[test]
    fn order_is_kept_and_a_newer_repeat_replaces_one_that_waits() {
        let mut queue = Queue::new(10);
        for (id, event) in [
            ("a", Event::Open),
            ("a", Event::Repeat),
            ("b", Event::Open),
            ("b", Event::Repeat),
            ("a", Event::Repeat),
            ("a", Event::Close),
        ] {
            assert_eq!(queue.push(message(id, event)), None);
        }
        assert_eq!(
            taken(&mut queue),
            ["open a", "open b", "repeat b", "repeat a", "close a"]
        );
        assert!(queue.is_empty());
    }

    #[test]
    fn a_full_queue_gives_up_repeats_first_and_says_what_else_it_gives_up() {
        let mut queue = Queue::new(3);
        for (id, event) in [("a", Event::Open), ("a", Event::Repeat), ("b", Event::Open)] {
            assert_eq!(queue.push(message(id, event)), None);
        }
        let gone = queue.push(message("b", Event::Repeat)).expect("full");
        assert_eq!((&*gone.id, gone.event), ("a", Event::Repeat));
        let gone = queue.push(message("c", Event::Open)).expect("full");
        assert_eq!((&*gone.id, gone.event), ("b", Event::Repeat));
        let gone = queue.push(message("a", Event::Close)).expect("full");
        assert_eq!((&*gone.id, gone.event), ("a", Event::Open));
        assert_eq!(taken(&mut queue), ["open b", "open c", "close a"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn no_more_than_asked_for_is_taken() {
        let mut queue = Queue::new(10);
        for id in ["a", "b", "c"] {
            queue.push(message(id, Event::Open));
        }
        assert_eq!(queue.take(2).len(), 2);
        assert_eq!(taken(&mut queue), ["open c"]);
    }
}
