//! Commits, one in flight at a time, so that they never overtake each other; later ones wait and are merged.
//! Pure.
//!
//! A topic that is gone, or may not be read any more, spoils the answer to the whole commit: the client then
//! says of every partition that it failed. So such a commit is sent again topic by topic, to learn which it was
//! and to keep the others' offsets known.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Error;
use crate::offsets::TopicPartition;
use crate::pipeline::source::Commit;

/// The commits of one consumer.
#[derive(Debug, Default)]
pub(super) struct Commits {
    in_flight: Option<InFlight>,
    waiting: Vec<u64>,
    merged: BTreeMap<TopicPartition, Commit>,
    /// Something that waited was taken out because its partition is gone.
    forgot: bool,
}

/// What was sent for these numbers, and what has become of it so far.
#[derive(Debug)]
struct InFlight {
    done: Done,
    /// On the wire.
    sent: Vec<Commit>,
    /// To be sent after that, one by one.
    pieces: Vec<Vec<Commit>>,
    is_unanswered: bool,
}

/// Everything submitted under these numbers was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub numbers: Vec<u64>,
    pub result: Result<(), Error>,
    /// What was taken, whatever the result of the whole.
    pub taken: Vec<TopicPartition>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this.
    Send(Vec<Commit>),
    /// Tell this.
    Tell(Done),
}

impl Commits {
    /// A commit that is to be sent.
    pub fn submit(&mut self, number: u64, commits: &[Commit]) {
        self.waiting.push(number);
        for commit in commits {
            self.merged.insert(commit.partition.clone(), commit.clone());
        }
    }

    /// These partitions aren't ours any more: what waits for them is never sent.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.forgot |= self.merged.remove(partition).is_some();
        }
        for piece in self.in_flight.iter_mut().flat_map(|f| &mut f.pieces) {
            piece.retain(|commit| !partitions.contains(&commit.partition));
        }
    }

    /// What is to be done now, if anything.
    pub fn next(&mut self) -> Option<Next> {
        if let Some(in_flight) = &mut self.in_flight {
            if in_flight.is_unanswered {
                return None;
            }
            while let Some(piece) = in_flight.pieces.pop() {
                if !piece.is_empty() {
                    in_flight.send(piece.clone());
                    return Some(Next::Send(piece));
                }
            }
            return self.in_flight.take().map(|f| Next::Tell(f.done));
        }
        if self.waiting.is_empty() {
            return None;
        }
        let mut done = Done {
            numbers: std::mem::take(&mut self.waiting),
            result: Ok(()),
            taken: Vec::new(),
        };
        let gone = std::mem::take(&mut self.forgot);
        let commits: Vec<Commit> = std::mem::take(&mut self.merged).into_values().collect();
        if commits.is_empty() {
            if gone {
                let why = "the partitions were released before the commit";
                done.result = Err(Error::fenced(why));
            }
            return Some(Next::Tell(done));
        }
        let in_flight = self.in_flight.insert(InFlight {
            done,
            sent: Vec::new(),
            pieces: Vec::new(),
            is_unanswered: false,
        });
        in_flight.send(commits.clone());
        Some(Next::Send(commits))
    }

    /// The one in flight was answered; `of_a_topic`: what failed may be one topic's own.
    pub fn answered(&mut self, result: Result<(), Error>, of_a_topic: bool) {
        let Some(in_flight) = &mut self.in_flight else {
            return;
        };
        in_flight.is_unanswered = false;
        let sent = std::mem::take(&mut in_flight.sent);
        let Err(why) = result else {
            let partitions = sent.into_iter().map(|commit| commit.partition);
            in_flight.done.taken.extend(partitions);
            return;
        };
        let mut topics: BTreeMap<Arc<str>, Vec<Commit>> = BTreeMap::new();
        for commit in sent {
            let topic = commit.partition.topic.clone();
            topics.entry(topic).or_default().push(commit);
        }
        match of_a_topic && topics.len() > 1 {
            true => in_flight.pieces.extend(topics.into_values()),
            false => in_flight.done.result = Err(why),
        }
    }
}

impl InFlight {
    fn send(&mut self, commits: Vec<Commit>) {
        self.sent = commits;
        self.is_unanswered = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(partition: i32, offset: i64) -> Commit {
        of("t", partition, offset)
    }

    fn of(topic: &str, partition: i32, offset: i64) -> Commit {
        Commit {
            partition: TopicPartition::new(topic, partition),
            offset,
            leader_epoch: 0,
            metadata: String::new(),
        }
    }

    fn send(commits: &[Commit]) -> Option<Next> {
        Some(Next::Send(commits.to_vec()))
    }

    fn tell(numbers: &[u64], result: Result<(), Error>, taken: &[Commit]) -> Option<Next> {
        Some(Next::Tell(Done {
            numbers: numbers.to_vec(),
            result,
            taken: taken
                .iter()
                .map(|commit| commit.partition.clone())
                .collect(),
        }))
    }

    #[test]
    fn commits_dont_overtake_each_other() {
        let mut c = Commits::default();
        c.submit(1, &[commit(0, 5)]);
        assert_eq!(c.next(), send(&[commit(0, 5)]));
        c.submit(2, &[commit(0, 6), commit(1, 1)]);
        c.submit(3, &[commit(0, 7)]);
        assert_eq!(c.next(), None, "one at a time");
        c.answered(Ok(()), false);
        assert_eq!(c.next(), tell(&[1], Ok(()), &[commit(0, 5)]));
        let latest = [commit(0, 7), commit(1, 1)];
        assert_eq!(c.next(), send(&latest), "the latest counts");
        c.answered(Ok(()), false);
        assert_eq!(c.next(), tell(&[2, 3], Ok(()), &latest));
        assert_eq!(c.next(), None);
    }

    #[test]
    fn what_waits_for_a_partition_that_went_is_never_sent() {
        let mut c = Commits::default();
        c.submit(1, &[commit(0, 5)]);
        c.next();
        c.submit(2, &[commit(0, 6), commit(1, 1)]);
        c.forget(&[TopicPartition::new("t", 0)]);
        c.answered(Ok(()), false);
        c.next();
        assert_eq!(c.next(), send(&[commit(1, 1)]));
        c.submit(3, &[commit(1, 2)]);
        c.forget(&[TopicPartition::new("t", 1)]);
        c.answered(Ok(()), false);
        c.next();
        let gone = Err(Error::fenced(
            "the partitions were released before the commit",
        ));
        assert_eq!(c.next(), tell(&[3], gone, &[]));
        c.submit(4, &[]);
        assert_eq!(c.next(), tell(&[4], Ok(()), &[]));
    }

    #[test]
    fn a_topic_that_cant_be_committed_is_told_from_the_others() {
        let why = || Err(Error::misconfigured("no such topic"));
        let (a, b, c0, c1) = (of("a", 0, 1), of("b", 0, 2), of("c", 0, 3), of("c", 1, 4));
        let all = [a.clone(), b.clone(), c0.clone(), c1.clone()];
        let mut c = Commits::default();
        c.submit(1, &all);
        assert_eq!(c.next(), send(&all));
        c.submit(2, std::slice::from_ref(&b));
        c.answered(why(), true);
        assert_eq!(c.next(), send(&[c0.clone(), c1.clone()]));
        assert_eq!(c.next(), None, "still one at a time");
        c.answered(Ok(()), false);
        assert_eq!(c.next(), send(std::slice::from_ref(&b)));
        c.answered(why(), true);
        // The last of them went meanwhile.
        c.forget(&[a.partition]);
        assert_eq!(c.next(), tell(&[1], why(), &[c0, c1]));
        assert_eq!(c.next(), send(&[b]));
        c.answered(why(), true);
        assert_eq!(c.next(), tell(&[2], why(), &[]), "one topic: no pieces");
    }

    #[test]
    fn what_fails_as_a_whole_is_answered_as_a_whole() {
        let mut c = Commits::default();
        c.submit(1, &[of("a", 0, 1), of("b", 0, 2)]);
        c.next();
        c.answered(Err(Error::fenced("unknown member")), false);
        let fenced = Err(Error::fenced("unknown member"));
        assert_eq!(c.next(), tell(&[1], fenced, &[]));
    }
}
