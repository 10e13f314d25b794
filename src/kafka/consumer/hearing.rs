//! What the client, the lookups and the group have to say, turned into events.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::error::{from_code, from_reason};
use super::super::lookup::{Found, Lookup};
use super::super::position::parted_at;
use super::super::standing::{Said, Standing};
use super::super::verify::Mismatch;
use super::KafkaSource;
use super::callbacks::{Context, Note};
use crate::clock::unix_ms;
use crate::error::Error;
use crate::offsets::TopicPartition;
use crate::pipeline::source::{Broken, Source as _, SourceEvent};

/// What ends a trouble that is being shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Brokers answer again.
    Answers,
    /// The group takes us again.
    Membership,
    /// A topic matches.
    Match,
}

/// At most this many events of the main queue in one poll.
const MOST_EVENTS: usize = 1_000;

impl KafkaSource {
    /// Serves the main queue until it is empty.
    pub(super) fn serve(&mut self, consumer: &BaseConsumer<Context>) {
        for _ in 0..MOST_EVENTS {
            let served = self.notes.served.load(Ordering::Relaxed);
            match consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    // Records belong into the data queue. Out of order here, they can't be used: the
                    // partition is broken, and will be started again where the pipeline has come to.
                    use rdkafka::Message as _;
                    let (topic, number) = (message.topic(), message.partition());
                    if let Some(index) = self.assignment.index_of(topic, number) {
                        let why = Error::unavailable(format!(
                            "{topic}[{number}]: records came out of the wrong queue"
                        ));
                        self.broken(index, Broken::Other(why));
                    }
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    let reason = consumer.client().fatal_error().map(|(_, reason)| reason);
                    if let Some(standing) = &mut self.standing {
                        standing.fatal(code, &reason.unwrap_or_default());
                    }
                }
                // Told to the context with its reason.
                Some(Err(_)) => {}
                None if self.notes.served.load(Ordering::Relaxed) == served => return,
                None => {}
            }
        }
    }

    /// What is never delivered at the ends of logs is passed, where nothing has come for a while.
    pub(super) fn pass_holes(&mut self) {
        for (partition, hole) in self.probe.found() {
            if self.assignment.pass(&partition, hole) {
                self.ends.push((partition, hole.end));
            }
        }
        let now = Instant::now();
        if !self.is_drained || !self.probe.is_due(now) {
            return;
        }
        let goes_on = |(id, next): &(&TopicPartition, i64)| {
            self.log_end(id).is_some_and(|log_end| log_end > *next)
        };
        let stand = self.assignment.live().filter(goes_on);
        let stand = stand.map(|(id, next)| (id.clone(), next)).collect();
        self.probe.look(stand, now);
    }

    /// Which partitions nothing comes of though their logs go on: looked at only where the client had nothing left to
    /// deliver, so that what isn't taken (a pause, a sink that is away) is no standstill.
    pub(super) fn look_who_stands(&mut self) {
        let now = Instant::now();
        if !self.was_drained || !self.standstill.is_due(now) {
            return;
        }
        self.was_drained = false;
        let live = self.assignment.live();
        let behind = live.filter_map(|(id, next)| {
            let log_end = self.log_end(id).filter(|log_end| *log_end > next)?;
            Some((id.clone(), next, log_end))
        });
        let behind: Vec<_> = behind.collect();
        self.standstill.look(behind.into_iter(), now, unix_ms());
    }

    pub(super) fn hear_standing(&mut self) {
        let said = self.standing.as_mut().map(Standing::said);
        for said in said.unwrap_or_default() {
            match said {
                Said::Refused(error) => self.troubled(error, Until::Membership),
                Said::Fatal(error) => self.events.push_back(SourceEvent::Fatal(error)),
            }
        }
    }

    pub(super) fn handle(&mut self, note: Note) {
        match note {
            Note::Assigned(partitions) => {
                if let Some(standing) = &mut self.standing {
                    standing.assigned(&partitions);
                }
                self.well(Until::Membership);
                self.verification.hold(&partitions);
                if let Some(lookup) = &self.lookup {
                    lookup.hold(partitions.clone());
                }
                if !partitions.is_empty() {
                    self.events.push_back(SourceEvent::Assigned(partitions));
                }
            }
            Note::Revoked(partitions) => {
                self.went(&partitions, self.assignment.is_eager());
                self.assignment.revoke(&partitions);
                self.events.push_back(SourceEvent::Revoked(partitions));
            }
            Note::Lost(partitions) => {
                self.went(&partitions, true);
                self.assignment.revoke(&partitions);
                self.commits.forget(&partitions);
                self.verification.forget(&partitions);
                partitions.iter().for_each(|p| self.assignment.stop(p));
                self.events.push_back(SourceEvent::Lost(partitions));
            }
            Note::Trouble(code, reason) => self.client_error(code, &reason),
        }
    }

    pub(super) fn went(&mut self, partitions: &[TopicPartition], may_return: bool) {
        if let Some(standing) = &mut self.standing {
            standing.went(partitions, may_return);
        }
    }

    pub(super) fn client_error(&mut self, code: Code, reason: &str) {
        match code {
            // Connections come and go; only when none is left it is trouble.
            Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut => {
                tracing::debug!("librdkafka: {reason}");
                self.last_transport = reason.to_owned();
                return;
            }
            Code::AllBrokersDown if !self.last_transport.is_empty() => {
                let reason = format!(
                    "no broker is reachable, the last said: {}",
                    self.last_transport
                );
                self.troubled(from_reason(code, &reason), Until::Answers);
            }
            // The client looks for the coordinator of a group that it isn't in.
            Code::GroupAuthorizationFailed if self.kept.is_some() => return,
            // Shown once it is known whose assignor stands in the way.
            Code::InconsistentGroupProtocol => {
                if let Some(standing) = &mut self.standing {
                    standing.refused(code, reason);
                }
                return;
            }
            Code::GroupAuthorizationFailed
            | Code::GroupMaxSizeReached
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout => {
                self.troubled(from_reason(code, reason), Until::Membership)
            }
            // The client ends of these; they are said with their explanation.
            Code::FencedInstanceId | Code::UnreleasedInstanceId => return,
            // The revoke that follows says what is lost.
            Code::PollExceeded => tracing::warn!("librdkafka: {reason}"),
            _ => self.troubled(from_reason(code, reason), Until::Answers),
        }
        if let Some(lookup) = &self.lookup {
            lookup.check();
        }
    }

    pub(super) fn troubled(&mut self, error: Error, until: Until) {
        if self
            .trouble
            .as_ref()
            .is_none_or(|(shown, _)| *shown != error)
        {
            self.events
                .push_back(SourceEvent::Trouble(Some(error.clone())));
        }
        self.trouble = Some((error, until));
    }

    pub(super) fn well(&mut self, now: Until) {
        if self
            .trouble
            .as_ref()
            .is_some_and(|(_, until)| *until == now)
        {
            self.trouble = None;
            self.events.push_back(SourceEvent::Trouble(None));
        }
    }

    pub(super) fn collect_found(&mut self) {
        while let Some(found) = self.lookup.as_ref().and_then(Lookup::found) {
            match found {
                Found::Located(partition, epoch, found) => {
                    if self.locating.get(&partition) == Some(&epoch) {
                        self.locating.remove(&partition);
                        self.events.push_back(SourceEvent::Located {
                            partition,
                            epoch,
                            found,
                        });
                    }
                }
                Found::Trouble(error) => self.troubled(error, Until::Answers),
                Found::Well => self.well(Until::Answers),
                Found::ReadBack(offsets) => {
                    let mismatches = self.verification.found(offsets).into_iter();
                    let event = |mismatch: Mismatch| SourceEvent::CommitMismatch {
                        partition: mismatch.partition,
                        ours: mismatch.ours,
                        found: mismatch.found,
                    };
                    self.events.extend(mismatches.map(event));
                }
                Found::Subscribe(topics) => {
                    tracing::info!(topics = %topics.join(" "), "subscribing to {} topics", topics.len());
                    if !topics.is_empty() {
                        self.well(Until::Match);
                    }
                    if let Err(error) = self.subscribe(&topics) {
                        self.troubled(error, Until::Membership);
                    }
                }
                Found::NothingMatches(why) => self.troubled(why, Until::Match),
                Found::Grew(topic, partitions) => {
                    self.events
                        .push_back(SourceEvent::Grew { topic, partitions });
                }
            }
        }
    }
}

fn truncated(what: String) -> Broken {
    Broken::Truncated {
        at: parted_at(&what),
        what,
    }
}

/// Why a partition's delivery has stopped.
pub(super) fn why_broken(code: Code, text: String, partition: &TopicPartition) -> Broken {
    match code {
        Code::LogTruncation => truncated(text),
        // With auto.offset.reset=error this is how the client says both.
        Code::AutoOffsetReset if text.to_lowercase().contains("truncat") => truncated(text),
        Code::AutoOffsetReset | Code::OffsetOutOfRange => Broken::OffsetOutOfRange(text),
        _ => Broken::Other(from_code(code, format!("Kafka: {partition} can't be read"))),
    }
}
