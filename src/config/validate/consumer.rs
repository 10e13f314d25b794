//! How the consumer joins, reads and commits: topics, pattern or fixed partitions, group protocol, instance
//! id, resets, commits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regex::Regex;

use super::super::kinds::{Parsed, format_duration, parse_duration};
use super::super::problem::{printable, suggest};
use super::super::settings::{
    Assignor, CommitMode, GroupProtocol, OffsetReset, Property, Subscription, TopicPattern,
};
use super::Validator;
use crate::offsets::TopicPartition;

/// The keys of which exactly one says what is read.
const SOURCES: [&str; 3] = ["kafka.topics", "kafka.topics_pattern", "kafka.assign"];

/// Highest partition number that may be assigned: more is a typing error, and would cost memory.
const MAX_PARTITION: i32 = 99_999;

/// Properties that librdkafka refuses with `group.protocol=consumer`, and where they went.
const DECIDED_BY_BROKER: &[(&str, &str)] = &[
    (
        "session.timeout.ms",
        "the brokers decide it: group.consumer.session.timeout.ms",
    ),
    (
        "heartbeat.interval.ms",
        "the brokers decide it: group.consumer.heartbeat.interval.ms",
    ),
    (
        "group.protocol.type",
        "the consumer protocol has no such types",
    ),
];

impl Validator<'_> {
    /// What is read: exactly one of topics, a pattern, and fixed partitions.
    pub(super) fn subscription(&mut self, name: &str) -> Option<Subscription> {
        let set: Vec<&str> = SOURCES
            .into_iter()
            .filter(|key| self.values.entries.contains_key(*key))
            .collect();
        match set[..] {
            [] => {
                self.require(
                    "kafka.topics",
                    "name the topics to read: topics = [\"host-metrics\"]; or topics_pattern, or assign",
                );
                return None;
            }
            [_] => {}
            [first, second, ..] => {
                self.error(second, format!("stands beside {first}")).push(
                    "say once what to read: by topics, by topics_pattern, or by assign".into(),
                );
                return None;
            }
        }
        if set[0] != "kafka.topics_pattern" && self.values.is_set("kafka.topics_exclude") {
            self.error("kafka.topics_exclude", "isn't used without topics_pattern")
                .push("leave it out, or choose topics by topics_pattern".into());
        }
        self.values.entries.get(set[0])?.parsed.as_ref()?;
        match set[0] {
            "kafka.topics" => self.topics().map(Subscription::Topics),
            "kafka.topics_pattern" => self.pattern(name).map(Subscription::Pattern),
            _ => self.assigned().map(Subscription::Assigned),
        }
    }

    fn topics(&mut self) -> Option<Vec<String>> {
        const KEY: &str = "kafka.topics";
        let topics = self.values.list(KEY);
        if topics.is_empty() {
            self.error(KEY, "is empty")
                .push("name the topics to read: topics = [\"host-metrics\"]".into());
        }
        let mut seen = BTreeSet::new();
        for topic in &topics {
            self.check_topic(KEY, topic);
            if !seen.insert(topic) {
                self.error(KEY, format!("{:?} stands there twice", printable(topic)))
                    .push("name it once".into());
            }
        }
        Some(topics)
    }

    fn pattern(&mut self, name: &str) -> Option<TopicPattern> {
        const KEY: &str = "kafka.topics_pattern";
        let text = self.values.text(KEY)?;
        let include = self.whole_name(KEY, &text);
        let exclude: Vec<Option<Regex>> = self
            .values
            .list("kafka.topics_exclude")
            .iter()
            .map(|text| self.whole_name("kafka.topics_exclude", text))
            .collect();
        let dead_letters = self.values.text("rejected.topic");
        Some(TopicPattern {
            include: include?,
            exclude: exclude.into_iter().collect::<Option<_>>()?,
            never: vec![dead_letters.unwrap_or_else(|| format!("{name}.dlq"))],
        })
    }

    /// A regular expression that a whole name matches. (librdkafka marks patterns by a `^`, which means
    /// nothing more here.)
    pub(super) fn whole_name(&mut self, key: &str, text: &str) -> Option<Regex> {
        // By itself first: a bracket that closes ours would mean something else.
        match Regex::new(text).and_then(|_| Regex::new(&format!("^(?:{text})$"))) {
            Ok(regex) => Some(regex),
            Err(why) => {
                let why = why.to_string();
                let why = why.lines().last().unwrap_or_default();
                let why = why.trim_start_matches("error: ");
                let client = self.client;
                self.error(
                    key,
                    format!("{:?} isn't a regular expression: {why}", printable(text)),
                )
                .push(format!(
                    "it must match the whole name of {}: \"metrics-.*\", \"(cpu|memory)-.*\"",
                    match client {
                        "kafka" => "a topic",
                        _ => "a group",
                    }
                ));
                None
            }
        }
    }

    /// `topic:0,2-5`. The environment cuts lists at commas, so a part without a colon goes on with the topic
    /// before it.
    fn assigned(&mut self) -> Option<Vec<TopicPartition>> {
        const KEY: &str = "kafka.assign";
        const HELP: &str = "write assign = [\"host-metrics:0,2-5\"]: a topic, and its partitions";
        let mut topic: Option<String> = None;
        let mut found = BTreeSet::new();
        let wrong = |v: &mut Self, what: String| {
            v.error(KEY, what).push(HELP.into());
            None
        };
        for part in self.values.list(KEY).join(",").split(',').map(str::trim) {
            let numbers = match part.rsplit_once(':') {
                Some((name, numbers)) => {
                    self.check_topic(KEY, name);
                    topic = Some(name.to_owned());
                    numbers
                }
                None => part,
            };
            let Some(topic) = &topic else {
                return wrong(self, format!("{:?} names no partition", printable(part)));
            };
            let Some((first, last)) = partition_numbers(numbers) else {
                let what = format!("{:?} isn't a partition or a range", printable(numbers));
                return wrong(self, what);
            };
            for number in first..=last {
                if !found.insert(TopicPartition::new(topic.as_str(), number)) {
                    let what = format!("partition {number} of {topic:?} stands there twice");
                    return wrong(self, what);
                }
            }
        }
        Some(found.into_iter().collect())
    }

    /// The group protocol and the assignor, and what doesn't go with them.
    pub(super) fn membership(
        &mut self,
        subscription: Option<&Subscription>,
        properties: &BTreeMap<String, Property>,
    ) -> Option<(GroupProtocol, Assignor, Option<String>)> {
        const STRATEGY: &str = "kafka.partition_assignment_strategy";
        let protocol = match self.values.text("kafka.group_protocol")?.as_str() {
            "consumer" => GroupProtocol::Consumer,
            _ => GroupProtocol::Classic,
        };
        if let Some(Subscription::Assigned(_)) = subscription {
            for key in ["kafka.group_protocol", STRATEGY, "kafka.group_instance_id"] {
                if self.values.is_set(key) {
                    self.error(key, "isn't used with assign").push(
                        "fixed partitions are read without a group: leave it out, or name topics"
                            .into(),
                    );
                }
            }
        }
        let strategy = self.values.text(STRATEGY);
        let assignor = match strategy.as_deref() {
            Some("range") => Assignor::Range,
            Some("roundrobin") => Assignor::RoundRobin,
            _ => Assignor::CooperativeSticky,
        };
        match protocol {
            GroupProtocol::Consumer => {
                if strategy.is_some() && !self.values.is_broken(STRATEGY) {
                    self.error(STRATEGY, "isn't used with group_protocol = \"consumer\"")
                        .push(
                            "the brokers assign there: \"group.remote.assignor\" in [kafka.properties] \
                             may be uniform or range"
                                .into(),
                        );
                }
                for (name, where_to) in DECIDED_BY_BROKER {
                    if properties.contains_key(*name) {
                        self.error(
                            &format!("kafka.properties.\"{name}\""),
                            "isn't used with group_protocol = \"consumer\"",
                        )
                        .push((*where_to).into());
                    }
                }
            }
            GroupProtocol::Classic => {
                if strategy.is_none() {
                    let name = assignor.name().to_owned();
                    self.derived.insert(STRATEGY, Parsed::Text(name));
                }
                if properties.contains_key("group.remote.assignor") {
                    self.warning(
                        "kafka.properties.\"group.remote.assignor\"",
                        "isn't used with group_protocol = \"classic\"",
                    )
                    .push("set kafka.partition_assignment_strategy".into());
                }
            }
        }
        Some((protocol, assignor, self.instance_id()))
    }

    /// The instance id, `{ordinal}` replaced by the number at the end of the pod's name.
    fn instance_id(&mut self) -> Option<String> {
        const KEY: &str = "kafka.group_instance_id";
        const PLACE: &str = "{ordinal}";
        let text = self.values.text(KEY)?;
        let mut id = text.clone();
        if text.contains(PLACE) {
            let pod = self.pod_name();
            let digits = pod.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            let ordinal = &pod[digits..];
            if ordinal.is_empty() || !pod[..digits].ends_with('-') {
                let what = format!(
                    "{PLACE} can't be filled: the name {:?} doesn't end in a number",
                    printable(&pod)
                );
                self.error(KEY, what).push(
                    "a StatefulSet's pods have names such as outflow-0, told by POD_NAME, HOSTNAME or \
                     /etc/hostname; elsewhere write the whole id"
                        .into(),
                );
                return None;
            }
            id = text.replace(PLACE, ordinal);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if id.len() > 240 || !id.chars().all(fits) {
            self.error(
                KEY,
                format!("{:?} isn't fit to be an instance id", printable(&id)),
            )
            .push("letters, digits, `.`, `_` and `-`, at most 240 of them; {ordinal} for a pod's number".into());
            return None;
        }
        Some(id)
    }

    fn pod_name(&self) -> String {
        let variable = |name| self.surroundings.variable(name).filter(|v| !v.is_empty());
        let file = || self.surroundings.read_file("/etc/hostname".as_ref()).ok();
        let name = variable("POD_NAME").or_else(|| variable("HOSTNAME"));
        name.or_else(file).unwrap_or_default().trim().to_owned()
    }

    /// Where to begin without a committed offset.
    pub(super) fn offset_reset(&mut self) -> Option<OffsetReset> {
        const KEY: &str = "kafka.auto_offset_reset";
        const HELP: &str = "choose \"earliest\", \"latest\", \"none\", \"by_duration:24h\" or \
                            \"by_timestamp:2026-11-01T00:00:00Z\"";
        let text = self.values.text(KEY)?;
        let (word, argument) = text.split_once(':').unwrap_or((&text, ""));
        let reset = match (word, argument) {
            ("earliest", "") => Some(OffsetReset::Earliest),
            ("latest", "") => Some(OffsetReset::Latest),
            ("none", "") => Some(OffsetReset::None),
            ("by_duration", age) => parse_age(age).map(OffsetReset::ByDuration),
            ("by_timestamp", moment) => parse_moment(moment).map(OffsetReset::ByTimestamp),
            _ => None,
        };
        if reset.is_none() {
            let words = ["earliest", "latest", "none", "by_duration", "by_timestamp"];
            let meant = suggest(word, words.into_iter().filter(|known| *known != word));
            let what = match word {
                "by_duration" => format!("{:?} isn't a time", printable(argument)),
                "by_timestamp" => format!("{:?} isn't a moment", printable(argument)),
                _ => format!("{:?} isn't one of the choices", printable(&text)),
            };
            let help = meant.map_or_else(|| HELP.into(), |m| format!("did you mean {m:?}? {HELP}"));
            self.error(KEY, what).push(help);
        }
        reset
    }

    /// When to commit; a file's records can't be committed one by one.
    pub(super) fn commit_mode(&mut self) -> Option<CommitMode> {
        const KEY: &str = "kafka.commit_mode";
        let mode = match self.values.text(KEY)?.as_str() {
            "batch" => CommitMode::Batch,
            "record" => CommitMode::Record,
            "async" => CommitMode::Async,
            _ => CommitMode::Interval,
        };
        if mode == CommitMode::Record && self.values.has_section("hdfs") {
            self.error(KEY, "\"record\" can't be had with HDFS").extend([
                "there a record is final when its file is committed, many at a time: the commit log decides".into(),
                "choose \"batch\": the group's offset is then committed after each file".into(),
            ]);
        }
        if mode != CommitMode::Interval && self.values.is_set("kafka.commit_interval") {
            let interval = self.values.duration("kafka.commit_interval")?;
            let what = format!(
                "{} isn't used with this commit_mode",
                format_duration(interval)
            );
            self.warning("kafka.commit_interval", what)
                .push("leave it out, or set commit_mode = \"interval\"".into());
        }
        Some(mode)
    }
}

/// `3`, or `2-5` with both ends.
pub(crate) fn partition_numbers(text: &str) -> Option<(i32, i32)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = digits.then(|| text.parse::<i32>().ok()).flatten();
        number.filter(|number| *number <= MAX_PARTITION)
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first.trim())?, number(last.trim())?),
        None => (number(text)?, number(text)?),
    };
    (first <= last).then_some((first, last))
}

/// An age in our units (`24h`) or in Kafka's (ISO 8601, `PT24H`).
pub(crate) fn parse_age(text: &str) -> Option<Duration> {
    if let Some(age) = parse_duration(text) {
        return Some(age);
    }
    let age: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(age).ok()
}

/// A moment as RFC 3339, or Unix milliseconds.
pub(crate) fn parse_moment(text: &str) -> Option<i64> {
    let millis = text.parse::<i64>().ok();
    let moment = || text.parse::<jiff::Timestamp>().ok();
    millis
        .or_else(|| moment().map(jiff::Timestamp::as_millisecond))
        .filter(|millis| *millis >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_numbers_and_ranges() {
        for (text, expected) in [
            ("3", Some((3, 3))),
            ("2-5", Some((2, 5))),
            (" 7", None),
            ("5-2", None),
            ("-1", None),
            ("", None),
            ("1-", None),
            ("100000", None),
            ("99999999999", None),
            ("+1", None),
        ] {
            assert_eq!(partition_numbers(text), expected, "{text:?}");
        }
    }

    #[test]
    fn ages_and_moments_have_both_spellings() {
        let day = Some(Duration::from_secs(86_400));
        for text in ["24h", "1d", "PT24H", "86400s"] {
            assert_eq!(parse_age(text), day, "{text}");
        }
        assert_eq!(parse_age("-PT1H"), None);
        assert_eq!(parse_age("soon"), None);
        assert_eq!(parse_moment("1970-01-01T00:00:01Z"), Some(1_000));
        assert_eq!(parse_moment("1970-01-01T01:00:01+01:00"), Some(1_000));
        assert_eq!(parse_moment("1234"), Some(1_234));
        assert_eq!(parse_moment("2026-11-01"), None, "a day has no moment");
    }
}
