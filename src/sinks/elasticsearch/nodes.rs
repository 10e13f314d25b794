//! Which node gets the next request: round robin, dead ones set aside for a while. Pure.

use std::time::Instant;

use crate::backoff::{Backoff, Policy};
use std::time::Duration;

const SET_ASIDE: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(30));

/// The nodes' standing.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    next: usize,
}

#[derive(Debug)]
struct Node {
    backoff: Backoff,
    aside_until: Option<Instant>,
}

impl Nodes {
    /// `count` nodes, all thought to be alive.
    pub fn new(count: usize) -> Self {
        let node = || Node {
            backoff: Backoff::new(SET_ASIDE),
            aside_until: None,
        };
        Nodes {
            nodes: (0..count).map(|_| node()).collect(),
            next: 0,
        }
    }

    /// The next node that isn't set aside; if all are, the one that is tried again soonest. There is always
    /// one to try, and asking for it moves on, so that a single dead one can't be asked for ever.
    pub fn pick(&mut self, now: Instant) -> usize {
        let count = self.nodes.len().max(1);
        let order = (0..count).map(|step| (self.next + step) % count);
        let is_ready = |i: &usize| self.aside_until(*i).is_none_or(|until| until <= now);
        let picked = order
            .clone()
            .find(is_ready)
            .or_else(|| order.min_by_key(|i| self.aside_until(*i)))
            .unwrap_or(0);
        self.next = (picked + 1) % count;
        picked
    }

    fn aside_until(&self, node: usize) -> Option<Instant> {
        self.nodes.get(node).and_then(|n| n.aside_until)
    }

    /// The node couldn't be reached, or can't serve.
    pub fn failed(&mut self, node: usize, now: Instant) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.aside_until = Some(now + node.backoff.next_delay(None));
        }
    }

    /// The node answered. True if it had been set aside.
    pub fn answered(&mut self, node: usize) -> bool {
        let Some(node) = self.nodes.get_mut(node) else {
            return false;
        };
        node.backoff.reset();
        node.aside_until.take().is_some()
    }

    /// How many are set aside at `now`.
    pub fn set_aside(&self, now: Instant) -> usize {
        let aside = |n: &&Node| n.aside_until.is_some_and(|until| until > now);
        self.nodes.iter().filter(aside).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_get_their_turn() {
        let (mut nodes, now) = (Nodes::new(3), Instant::now());
        let picked: Vec<_> = (0..6).map(|_| nodes.pick(now)).collect();
        assert_eq!(picked, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_dead_one_is_set_aside_and_tried_again() {
        let (mut nodes, now) = (Nodes::new(3), Instant::now());
        nodes.failed(1, now);
        assert_eq!(nodes.set_aside(now), 1);
        let picked: Vec<_> = (0..4).map(|_| nodes.pick(now)).collect();
        assert_eq!(picked, [0, 2, 0, 2]);
        let later = now + SET_ASIDE.cap;
        assert!((0..3).any(|_| nodes.pick(later) == 1));
        assert!(nodes.answered(1));
        assert!((0..3).any(|_| nodes.pick(now) == 1));
    }

    #[test]
    fn with_all_of_them_dead_there_is_still_one_to_try() {
        let (mut nodes, now) = (Nodes::new(2), Instant::now());
        nodes.failed(0, now);
        nodes.failed(1, now + Duration::from_secs(60));
        assert_eq!(nodes.pick(now), 0);
        assert_eq!(Nodes::new(1).pick(now), 0);
    }
}
