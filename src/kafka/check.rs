//! What `outflow check --connect` asks the brokers: can they be reached, are the topics there, may we read
//! them, how does the group stand. Joins no group, and creates and commits nothing.

mod fixed;

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{asking_config, consumer_config};
use super::contexts::Listener;
use super::ffi::groups::describe_group;
use super::topics::shown;
use super::watch::{Brokers, OFFSETS_TOPIC};
use crate::check::Finding;
use crate::config::kinds::format_duration;
use crate::config::settings::{
    AgentSettings, ClusterSettings, GroupProtocol, KafkaSettings, OffsetLost, OffsetReset,
    RejectedPolicy, Settings, Subscription,
};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a refusal to read may take to show.
const READ_FOR: Duration = Duration::from_millis(1_500);
/// Partitions whose log start is compared with the committed offset.
const MAX_COMPARED: usize = 64;

/// What the brokers say about a sink's Kafka side.
pub fn sink(settings: &Settings) -> Vec<Finding> {
    let kafka = &settings.kafka;
    let mut config = consumer_config(kafka, "check", 0, 1 << 20);
    // A look from outside must not fence a running member.
    config.remove("group.instance.id");
    let mut check = match Check::connect(&config, &kafka.bootstrap_servers) {
        Ok(check) => check,
        Err(finding) => return vec![finding],
    };
    let mut known = BTreeMap::new();
    for topic in &check.meant(&kafka.subscription) {
        if let Some(partitions) = check.topic(topic, Use::Read) {
            known.insert(topic.clone(), partitions);
        }
    }
    if let Subscription::Assigned(fixed) = &kafka.subscription {
        known = check.fixed(fixed, &known);
    }
    let total: usize = known.values().map(Vec::len).sum();
    if total > 0 && settings.workers > total {
        check.findings.push(Finding::warning(
            "workers",
            format!(
                "{} workers for {total} partitions: some will idle",
                settings.workers
            ),
            "lower workers, or read more partitions",
        ));
    }
    check.may_read(&known);
    match kafka.subscription {
        Subscription::Assigned(_) => check.positions(settings, &known),
        Subscription::Topics(_) | Subscription::Pattern(_) => check.group(settings, &known),
    }
    if let RejectedPolicy::DeadLetter { topic } = &settings.rejected {
        check.topic(topic, Use::Write);
    }
    check.findings
}

/// Whether a watched cluster shows its topics, and what its groups commit.
pub fn cluster(settings: &ClusterSettings) -> Finding {
    let subject = format!("cluster {}", settings.name);
    let looked = Brokers::new(settings).and_then(|mut brokers| {
        brokers.look()?;
        brokers
            .starts(0)
            .map(|starts| (brokers.topics().len(), starts.len()))
    });
    match looked {
        Ok((topics, partitions)) => Finding::fine(
            subject,
            format!("{topics} topics; {OFFSETS_TOPIC} with {partitions} partitions can be read"),
        ),
        Err(error) => Finding::wrong(
            subject,
            error.what,
            format!("allow DESCRIBE on all topics and READ on {OFFSETS_TOPIC}; see [[cluster]]"),
        ),
    }
}

/// What the brokers say about the agent's topic.
pub fn agent(settings: &AgentSettings) -> Vec<Finding> {
    let mut config = crate::agent::client_config(settings);
    config
        .set("group.id", "outflow-check")
        .set("allow.auto.create.topics", "false");
    match Check::connect(&config, &settings.bootstrap_servers) {
        Ok(mut check) => {
            check.topic(&settings.topic, Use::Write);
            check.findings
        }
        Err(finding) => vec![finding],
    }
}

/// What a topic is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

struct Check {
    client: BaseConsumer<Listener>,
    findings: Vec<Finding>,
}

impl Check {
    fn connect(config: &ClientConfig, servers: &str) -> Result<Check, Finding> {
        let listener = Listener::default();
        let heard = listener.0.clone();
        let client: BaseConsumer<Listener> =
            config
                .create_with_context(listener)
                .map_err(|error| match error {
                    KafkaError::ClientConfig(_, _, key, _) => Finding::wrong(
                        format!("kafka.properties {key}"),
                        "isn't valid",
                        "librdkafka's CONFIGURATION.md says what it may be",
                    ),
                    _ => Finding::wrong(
                        "kafka.properties",
                        "no client can be made of them",
                        "check security.protocol and the sasl.* and ssl.* properties",
                    ),
                })?;
        match metadata(&client, None) {
            Ok(found) => {
                let what = format!("reachable, {} in the cluster", found.brokers().len());
                Ok(Check {
                    client,
                    findings: vec![Finding::fine(format!("brokers {servers}"), what)],
                })
            }
            Err(_) => {
                let reason = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let reason = reason.unwrap_or_else(|| "none of them answers".into());
                Err(Finding::wrong(
                    format!("brokers {servers}"),
                    format!("can't be used: {reason}"),
                    "check kafka.bootstrap_servers, security.protocol and the network; the brokers' \
                     advertised.listeners must be reachable from here, too",
                ))
            }
        }
    }

    /// The topics that are meant: as they are named, or those that match now.
    fn meant(&mut self, subscription: &Subscription) -> Vec<String> {
        let Subscription::Pattern(pattern) = subscription else {
            return subscription.topics();
        };
        let subject = format!("topics matching {}", shown(pattern));
        let found = match metadata(&self.client, None) {
            Ok(found) => found,
            Err(error) => {
                let help = "try again; see the brokers' logs";
                self.findings
                    .push(Finding::wrong(subject, words(&error), help));
                return Vec::new();
            }
        };
        let names = found.topics().iter().map(|topic| topic.name().to_owned());
        let mut meant: Vec<String> = names.filter(|name| pattern.matches(name)).collect();
        meant.sort();
        self.findings.push(match meant.len() {
            0 => Finding::warning(
                subject,
                "there is none yet: nothing is read",
                "create one, or correct kafka.topics_pattern and kafka.topics_exclude; topics that this \
                 principal may not DESCRIBE aren't seen",
            ),
            n => Finding::fine(subject, format!("{n} now: {}", meant.join(", "))),
        });
        meant
    }

    /// The numbers of a topic's partitions, if it is there.
    fn topic(&mut self, topic: &str, purpose: Use) -> Option<Vec<i32>> {
        let subject = match purpose {
            Use::Read => format!("topic {topic}"),
            Use::Write => format!("topic {topic} (written to)"),
        };
        let found = match metadata(&self.client, Some(topic)) {
            Ok(found) => found,
            Err(error) => {
                self.findings.push(Finding::wrong(
                    subject,
                    words(&error),
                    "try again; see the brokers' logs",
                ));
                return None;
            }
        };
        let found = found.topics().iter().find(|t| t.name() == topic);
        match found.map(|topic| (topic.error().map(Code::from), topic)) {
            Some((None, found)) if !found.partitions().is_empty() => {
                let partitions: Vec<i32> = found.partitions().iter().map(|p| p.id()).collect();
                self.findings.push(leaders(subject, found));
                return Some(partitions);
            }
            Some((Some(Code::TopicAuthorizationFailed), _)) => {
                let rights = if purpose == Use::Read {
                    "READ and DESCRIBE"
                } else {
                    "WRITE and DESCRIBE"
                };
                let help = format!("allow this principal {rights} on the topic");
                self.findings
                    .push(Finding::wrong(subject, "the brokers don't allow it", help));
            }
            Some((Some(Code::UnknownTopicOrPartition | Code::UnknownTopic), _))
            | None
            | Some((None, _)) => {
                let help = format!(
                    "create it (kafka-topics.sh --create --topic {topic} --partitions 4 …), or correct the name"
                );
                self.findings
                    .push(Finding::wrong(subject, "doesn't exist", help));
            }
            Some((Some(code), _)) => {
                self.findings.push(Finding::wrong(
                    subject,
                    format!("{code}"),
                    "see the brokers' logs",
                ));
            }
        }
        None
    }

    /// A right to describe isn't one to read: the brokers only say so to somebody who reads.
    fn may_read(&mut self, known: &BTreeMap<String, Vec<i32>>) {
        let mut wanted = TopicPartitionList::new();
        for (topic, partitions) in known {
            for partition in partitions.iter().take(1) {
                let _ = wanted.add_partition_offset(topic, *partition, Offset::End);
            }
        }
        if wanted.count() == 0 || self.client.assign(&wanted).is_err() {
            return;
        }
        let until = Instant::now() + READ_FOR;
        let mut refused = false;
        while Instant::now() < until && !refused {
            let polled = self.client.poll(Duration::from_millis(100));
            refused = matches!(polled, Some(Err(error))
                if error.rdkafka_error_code() == Some(Code::TopicAuthorizationFailed));
        }
        let _ = self.client.unassign();
        if refused {
            let help = "allow this principal READ on the topics";
            self.findings.push(Finding::wrong(
                "reading",
                "the brokers don't allow it",
                help,
            ));
        }
    }

    fn group(&mut self, settings: &Settings, known: &BTreeMap<String, Vec<i32>>) {
        let kafka = &settings.kafka;
        let subject = format!("group {}", kafka.group_id);
        let mut wanted = TopicPartitionList::new();
        for (topic, partitions) in known {
            for partition in partitions {
                wanted.add_partition(topic, *partition);
            }
        }
        if wanted.count() == 0 {
            return;
        }
        let committed = match self.client.committed_offsets(wanted, TIMEOUT) {
            Ok(committed) => committed,
            Err(error) => {
                let help = match error.rdkafka_error_code() {
                    Some(Code::GroupAuthorizationFailed) => {
                        "allow this principal READ on the group"
                    }
                    _ => "see the brokers' logs; the group's coordinator may be moving, try again",
                };
                return self
                    .findings
                    .push(Finding::wrong(subject, words(&error), help));
            }
        };
        let total = committed.count();
        let offsets: Vec<(String, i32, i64)> = committed
            .elements()
            .iter()
            .filter_map(|e| Some((e.topic().to_owned(), e.partition(), e.offset().to_raw()?)))
            .filter(|(.., offset)| *offset >= 0)
            .collect();
        self.findings.push(match (offsets.len(), kafka.auto_offset_reset) {
            (have, OffsetReset::None) if have < total => Finding::wrong(
                &subject,
                format!("has no offset for {} of {total} partitions", total - have),
                "kafka.auto_offset_reset = \"none\" keeps these waiting: choose another reset for their first start, or \
                 commit offsets for them",
            ),
            (0, reset) => Finding::fine(&subject, format!("is new and starts at {}", word(reset))),
            (have, _) => Finding::fine(&subject, format!("has offsets for {have} of {total} partitions")),
        });
        self.members(&subject, kafka);
        self.log_starts(&offsets, kafka.on_offset_lost);
    }

    /// Members with another assignment strategy, or of another program.
    fn members(&mut self, subject: &str, kafka: &KafkaSettings) {
        let Ok(group) = describe_group(&asking_config(kafka, "check"), &kafka.group_id, TIMEOUT)
        else {
            self.findings.push(Finding::warning(
                subject,
                "its members can't be seen",
                "DESCRIBE on the group would show them; outflow runs without",
            ));
            return;
        };
        let members = match group.members.len() {
            0 => return,
            1 => "1 member".to_owned(),
            n => format!("{n} members"),
        };
        let wanted = kafka.assignor.name();
        let is_like_us = kafka.group_protocol == GroupProtocol::Consumer
            || group.assignor == wanted
            || group.assignor.is_empty();
        let finding = match is_like_us {
            true => Finding::fine(subject, format!("{members}, {}", group.state)),
            false => {
                let first = &group.members[0];
                let assignor = &group.assignor;
                let (client, host) = (&first.client_id, &first.host);
                Finding::wrong(
                    subject,
                    format!(
                        "{members} that use the assignor {assignor}, and this is {wanted}; one is {client:?} at \
                         {host}"
                    ),
                    "stop them, choose their assignor, or another kafka.group_id; docs/operating.md tells how a \
                     running group changes its assignor",
                )
            }
        };
        self.findings.push(finding);
    }

    fn log_starts(&mut self, offsets: &[(String, i32, i64)], policy: OffsetLost) {
        for (topic, partition, offset) in offsets.iter().take(MAX_COMPARED) {
            let Ok((start, end)) = self.client.fetch_watermarks(topic, *partition, TIMEOUT) else {
                continue;
            };
            if (start..=end).contains(offset) {
                continue;
            }
            let subject = format!("{topic}[{partition}]");
            let what = format!("is committed at {offset}, and the log has [{start}, {end})");
            self.findings.push(match policy {
                OffsetLost::Stop => Finding::wrong(
                    subject,
                    what,
                    "kafka.on_offset_lost = \"stop\" stops this partition: choose \"earliest\" or \"latest\" to go on \
                     with a gap",
                ),
                _ => Finding::warning(subject, what, "the gap will be logged and counted"),
            });
        }
    }
}

fn metadata(
    client: &BaseConsumer<Listener>,
    topic: Option<&str>,
) -> Result<rdkafka::metadata::Metadata, KafkaError> {
    client.fetch_metadata(topic, TIMEOUT)
}

fn leaders(subject: String, topic: &MetadataTopic) -> Finding {
    let total = topic.partitions().len();
    let without = topic.partitions().iter().filter(|p| p.leader() < 0).count();
    if without == 0 {
        let noun = if total == 1 {
            "partition"
        } else {
            "partitions"
        };
        return Finding::fine(subject, format!("exists, {total} {noun}"));
    }
    Finding::warning(
        subject,
        format!("{without} of {total} partitions have no leader"),
        "their brokers are down; these partitions wait for them",
    )
}

/// Where a policy starts a new group.
fn word(reset: OffsetReset) -> String {
    match reset {
        OffsetReset::Earliest => "the oldest record".into(),
        OffsetReset::Latest => "the end: only what comes from now on".into(),
        OffsetReset::None => "no offset: it waits for commits".into(),
        OffsetReset::ByTimestamp(moment) => match jiff::Timestamp::from_millisecond(moment) {
            Ok(moment) => format!("the first record from {moment} on"),
            Err(_) => "the end: the moment lies beyond all calendars".into(),
        },
        OffsetReset::ByDuration(age) => {
            format!(
                "the first record that is at most {} old",
                format_duration(age)
            )
        }
    }
}

/// The error without a value of the configuration in it.
fn words(error: &KafkaError) -> String {
    error
        .rdkafka_error_code()
        .map_or_else(|| "no answer".into(), |code| code.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reset_is_said_in_words() {
        for (reset, expected) in [
            (OffsetReset::Earliest, "the oldest record"),
            (OffsetReset::Latest, "the end: only what comes from now on"),
            (
                OffsetReset::ByTimestamp(1_700_000_000_000),
                "the first record from 2023-11-14T22:13:20Z on",
            ),
            (
                OffsetReset::ByTimestamp(i64::MAX),
                "the end: the moment lies beyond all calendars",
            ),
            (
                OffsetReset::ByDuration(Duration::from_secs(86_400)),
                "the first record that is at most 1d old",
            ),
        ] {
            assert_eq!(word(reset), expected);
        }
    }
}
