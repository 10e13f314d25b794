//! Commits on their way to the group, or to whoever keeps positions instead, and their answers.

use std::time::Instant;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::commit::{Done, Next};
use super::super::error::{from_code, kind};
use super::super::ffi::commit::Answered;
use super::super::ffi::list::Entry;
use super::{KafkaSource, Until};
use crate::error::{Error, Kind};
use crate::pipeline::source::{Commit, SourceEvent};

impl KafkaSource {
    pub(super) fn send_commits(&mut self) {
        while let Some(next) = self.commits.next() {
            match next {
                Next::Tell(done) => self.committed(done),
                Next::Send(commits) => {
                    if let Some(kept) = &self.kept {
                        kept.send(commits);
                        continue;
                    }
                    for commit in &commits {
                        self.verification.sent(&commit.partition, commit.offset);
                    }
                    let entries: Vec<Entry> = commits.into_iter().map(commit_entry).collect();
                    let sent = self
                        .queues
                        .as_ref()
                        .map(|queues| queues.commits.send(&entries));
                    if let Some(Err(code)) = sent {
                        self.commits.answered(Err(not_committed(code)), false);
                    }
                }
            }
        }
    }

    pub(super) fn hear_commits(&mut self) {
        while let Some((result, of_a_topic)) = self.next_answer() {
            if result.is_ok() {
                self.well(Until::Membership);
            }
            self.commits.answered(result, of_a_topic);
            self.send_commits();
        }
    }

    /// What became of the commit in flight, and whether it was about single topics.
    pub(super) fn next_answer(&mut self) -> Option<(Result<(), Error>, bool)> {
        if let Some(kept) = &self.kept {
            return Some((kept.answered()?, false));
        }
        let answered = self.queues.as_ref()?.commits.answered()?;
        let (result, of_a_topic) = (commit_result(&answered), is_about_topics(&answered));
        if result.is_ok() {
            for entry in &answered.entries {
                self.verification
                    .acknowledged(&entry.partition, entry.offset);
            }
        }
        Some((result, of_a_topic))
    }

    pub(super) fn committed(&mut self, done: Done) {
        for number in done.numbers {
            if done.result.is_err() && !done.taken.is_empty() {
                self.events.push_back(SourceEvent::CommittedInPart {
                    number,
                    partitions: done.taken.clone(),
                });
            }
            self.events.push_back(SourceEvent::Committed {
                number,
                result: done.result.clone(),
            });
        }
    }

    /// Has committed offsets read back, if it is time.
    pub(super) fn verify(&mut self) {
        if let Some(lookup) = &self.lookup
            && let Some(partitions) = self.verification.ask(Instant::now())
        {
            lookup.read_back(partitions);
        }
    }
}

/// A commit's outcome. Losing the membership outweighs other errors: those are tried again.
fn commit_result(answered: &Answered) -> Result<(), Error> {
    let codes = answered.entries.iter().filter_map(|e| e.error);
    let codes = codes.chain(answered.error);
    let worst = codes
        .filter(|code| *code != Code::NoOffset)
        .min_by_key(|code| kind(*code) != Kind::Fenced);
    match worst {
        None => Ok(()),
        Some(code) => Err(not_committed(code)),
    }
}

/// Whether a commit failed for what may be one topic's own trouble.
fn is_about_topics(answered: &Answered) -> bool {
    let mut codes = answered.entries.iter().filter_map(|e| e.error);
    codes.any(|code| {
        matches!(
            code,
            Code::UnknownTopicOrPartition | Code::TopicAuthorizationFailed
        )
    })
}

fn not_committed(code: Code) -> Error {
    from_code(code, "Kafka: offsets can't be committed")
}

fn commit_entry(commit: Commit) -> Entry {
    let mut entry = Entry::new(commit.partition, commit.offset, commit.leader_epoch);
    entry.metadata = commit.metadata;
    entry
}
