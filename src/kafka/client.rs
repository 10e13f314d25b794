//! librdkafka's configuration: outflow's defaults, the user's properties over them, and what the design owns
//! over both. Nothing here may be printed with `{:?}`: a `ClientConfig` shows secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use secrecy::ExposeSecret as _;

use super::budget::Budget;
use super::error::from_kafka;
use crate::config::settings::{
    ClusterSettings, GroupProtocol, KafkaSettings, Property, Subscription,
};
use crate::error::Error;

/// librdkafka properties that can't be set, each with the reason: the design rests on them, or they have a
/// key of their own.
pub const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set kafka.bootstrap_servers"),
    ("metadata.broker.list", "set kafka.bootstrap_servers"),
    ("group.id", "set kafka.group_id"),
    ("group.instance.id", "set kafka.group_instance_id"),
    ("group.protocol", "set kafka.group_protocol"),
    (
        "auto.offset.reset",
        "set kafka.auto_offset_reset; the client's own reset would hide lost records",
    ),
    (
        "enable.auto.commit",
        "an automatic commit would pass records that no sink has acknowledged yet; choose kafka.commit_mode \
         (\"interval\" commits as often, and only what is final)",
    ),
    ("auto.commit.interval.ms", "set kafka.commit_interval"),
    (
        "enable.auto.offset.store",
        "outflow commits what the sink has acknowledged, and nothing else",
    ),
    ("offset.store.method", "offsets are stored in the group"),
    (
        "enable.partition.eof",
        "the end of a partition is no event to outflow",
    ),
    (
        "partition.assignment.strategy",
        "set kafka.partition_assignment_strategy",
    ),
    (
        "topic.blacklist",
        "set kafka.topics_exclude, which the consumer protocol knows, too",
    ),
    (
        "enable.idempotence",
        "dead letters are always produced idempotently",
    ),
    ("acks", "dead letters are always produced with acks=all"),
    (
        "request.required.acks",
        "dead letters are always produced with acks=all",
    ),
    (
        "message.timeout.ms",
        "dead letters are tried without an end",
    ),
    (
        "delivery.timeout.ms",
        "dead letters are tried without an end",
    ),
    (
        "transactional.id",
        "outflow doesn't produce in transactions",
    ),
    ("plugin.library.paths", "it would load code into outflow"),
];

/// Properties of consumers that only make a producer warn.
const CONSUMER_ONLY: &[&str] = &[
    "fetch.",
    "queued.",
    "session.",
    "heartbeat.",
    "group.",
    "max.poll.",
    "max.partition.",
    "isolation.",
    "check.crcs",
    "allow.auto.create",
    "auto.",
    "consume.",
    "coordinator.",
    "offset.",
    "enable.auto.",
];

/// For workers' consumers alone: nobody reads the statistics of the dead letter clients.
const STATISTICS: &str = "statistics.interval.ms";

/// librdkafka's own properties, by name.
type Properties = BTreeMap<String, Property>;

/// librdkafka's name for how often it asks for metadata by itself; followed where we ask, too.
const REFRESH_INTERVAL: &str = "topic.metadata.refresh.interval.ms";
/// A look at all topics of a cluster is no small answer.
const SHORTEST_REFRESH: Duration = Duration::from_millis(100);

/// The `group.id` of a consumer: librdkafka wants one even of a consumer that is in no group. That one is never
/// joined and nothing is committed to it, so it mustn't be the user's.
fn group_id(settings: &KafkaSettings, sink: &str) -> String {
    match settings.subscription {
        Subscription::Assigned(_) => format!("outflow-{sink}-assigned"),
        Subscription::Topics(_) | Subscription::Pattern(_) => settings.group_id.to_string(),
    }
}

/// The configuration of a worker's consumer. `fetch_bytes` is what its fetched records may take in memory.
pub fn consumer_config(
    settings: &KafkaSettings,
    sink: &str,
    worker: usize,
    fetch_bytes: u64,
) -> ClientConfig {
    let budget = Budget::new(fetch_bytes);
    let mut config = common(&format!("outflow-{sink}-{worker}"));
    config
        // A small queue fills at once: look again soon, not in a second.
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.wait.max.ms", "100")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("allow.auto.create.topics", "false")
        .set("max.poll.interval.ms", "300000");
    if settings.group_protocol == GroupProtocol::Classic {
        // Heartbeats come from a thread that work never blocks, so a short session is safe; a static member
        // is given the time of a restart.
        let session = match settings.group_instance_id {
            Some(_) => "45000",
            None => "10000",
        };
        config
            .set("session.timeout.ms", session)
            .set("heartbeat.interval.ms", "3000")
            .set("partition.assignment.strategy", settings.assignor.name());
    } else {
        config.set("group.protocol", "consumer");
    }
    pass_through(&mut config, &settings.properties, |_| true);
    keep_within(&mut config, budget);
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("group.id", group_id(settings, sink))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        // In batches librdkafka 2.12.1 takes an end for a record, and a partition that a rebalance has paused
        // goes on behind it: a record would be lost.
        .set("enable.partition.eof", "false");
    if let Some(instance) = instance_id(settings, worker) {
        config.set("group.instance.id", instance);
    }
    config
}

/// librdkafka lets `message.max.bytes`, and so a fetch, be no less.
const LEAST_FETCH: u64 = 1_000;

/// What the user says of fetching and queueing, as far as the budget allows; all of it otherwise.
fn keep_within(config: &mut ClientConfig, budget: Budget) {
    for (name, limit) in budget.limits() {
        let wanted: Option<u64> = config.get(name).and_then(|value| value.parse().ok());
        let value = match name {
            // Enough is what is there, unless the user wants to wait for more.
            "fetch.min.bytes" => wanted.unwrap_or(1).min(limit),
            "fetch.max.bytes" => wanted.map_or(limit, |wanted| wanted.clamp(LEAST_FETCH, limit)),
            _ => wanted.map_or(limit, |wanted| wanted.min(limit)),
        };
        config.set(name, value.to_string());
    }
    within_a_fetch(config);
}

/// A producer's property, but the client wants a fetch to be no smaller.
fn within_a_fetch(config: &mut ClientConfig) {
    let fetch = config.get("fetch.max.bytes").unwrap_or_default().to_owned();
    config.set("message.max.bytes", fetch);
}

/// The instance id of one worker.
pub(super) fn instance_id(settings: &KafkaSettings, worker: usize) -> Option<String> {
    let instance = settings.group_instance_id.as_ref()?;
    Some(match worker {
        0 => instance.clone(),
        n => format!("{instance}-{n}"),
    })
}

/// The configuration of the consumer that reads refused records again. It is in no group (the client wants a
/// `group.id` all the same) and commits nothing. Uncommitted records are read too: the wanted offset is
/// exact, and was delivered once.
pub(super) fn reader_config(settings: &KafkaSettings, sink: &str) -> ClientConfig {
    let mut config = common(&format!("outflow-{sink}-dead-letter-reader"));
    config
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.wait.max.ms", "100")
        .set("check.crcs", "true")
        .set("allow.auto.create.topics", "false");
    pass_through(&mut config, &settings.properties, |key| {
        // The client wants max.poll.interval.ms to be no less than a session, which is a group's.
        !["group.", "session.", "heartbeat.", "max.poll.", STATISTICS]
            .iter()
            .any(|p| key.starts_with(p))
    });
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("group.id", group_id(settings, sink))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        // One record is enough, and the end of a log is told with an empty answer.
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", "100")
        .set("isolation.level", "read_uncommitted")
        .set("queued.max.messages.kbytes", "4096")
        .set("queued.min.messages", "1000")
        .set("fetch.max.bytes", "1048576")
        .set("message.max.bytes", "1000000")
        // Positions at the end tell that an offset isn't there any more.
        .set("enable.partition.eof", "true");
    config
}

/// The configuration of the consumer that looks at the ends of logs, and reads what the workers' read.
pub(super) fn probe_config(settings: &KafkaSettings, sink: &str) -> ClientConfig {
    let mut config = reader_config(settings, sink);
    config
        .set("client.id", format!("outflow-{sink}-probe"))
        .set("isolation.level", isolation_level(settings));
    config
}

/// The configuration of a consumer that reads whole partitions from outside, as fast as they come, and sees what the
/// workers see. `fetch_bytes` is what its fetched records may take in memory.
pub(super) fn scan_config(settings: &KafkaSettings, sink: &str, fetch_bytes: u64) -> ClientConfig {
    let mut config = reader_config(settings, sink);
    config
        .set("client.id", format!("outflow-{sink}-verify"))
        .set("isolation.level", isolation_level(settings));
    for (name, limit) in Budget::new(fetch_bytes).limits() {
        config.set(name, limit.to_string());
    }
    // Enough is what is there.
    config.set("fetch.min.bytes", "1");
    within_a_fetch(&mut config);
    config
}

/// What the workers read, so that whoever asks where logs end is told the same as they are.
pub(super) fn isolation_level(settings: &KafkaSettings) -> &str {
    match settings.properties.get("isolation.level") {
        Some(Property::Plain(level)) => level,
        _ => "read_committed",
    }
}

/// The configuration of a client that asks about a group, and is in none.
pub(super) fn asking_config(settings: &KafkaSettings, sink: &str) -> ClientConfig {
    let client_id = format!("outflow-{sink}-asking");
    connecting(
        &settings.bootstrap_servers,
        &settings.properties,
        &client_id,
    )
}

/// The configuration of the client that asks a watched cluster where its logs end. Like Burrow it counts records of
/// transactions that are still open.
pub(super) fn brokers_config(cluster: &ClusterSettings) -> ClientConfig {
    let mut config = watching(cluster);
    config.set("isolation.level", "read_uncommitted");
    config
}

/// The configuration of the consumer that reads what a watched cluster's groups commit. A commit within a transaction counts
/// once that is committed.
pub(super) fn group_log_config(cluster: &ClusterSettings) -> ClientConfig {
    let mut config = watching(cluster);
    config
        .set("isolation.level", "read_committed")
        // Compaction may have taken what it would begin with.
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "20")
        .set("queued.max.messages.kbytes", "16384")
        .set("queued.min.messages", "20000")
        .set("check.crcs", "true");
    config
}

/// The configuration of the consumer that looks at the ends of a watched cluster's logs.
pub(super) fn ends_config(cluster: &ClusterSettings) -> ClientConfig {
    let mut config = watching(cluster);
    config
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "4096")
        .set("queued.min.messages", "1000");
    config
}

/// `client.id` of whoever watches a cluster.
pub const MONITOR: &str = "outflow-monitor";

/// Joins no group and commits nothing; the client wants a group's id all the same.
fn watching(cluster: &ClusterSettings) -> ClientConfig {
    let mut config = connecting(&cluster.bootstrap_servers, &cluster.properties, MONITOR);
    config
        .set("group.id", MONITOR)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false");
    config
}

/// What it takes to connect, and nothing else.
fn connecting(bootstrap_servers: &str, properties: &Properties, client_id: &str) -> ClientConfig {
    let mut config = common(client_id);
    let connects = [
        "security.",
        "sasl.",
        "ssl.",
        "enable.ssl.",
        "socket.",
        "broker.",
        "client.dns.",
    ];
    pass_through(&mut config, properties, |key| {
        connects.iter().any(|prefix| key.starts_with(prefix))
    });
    config.set("bootstrap.servers", bootstrap_servers);
    config
}

/// The configuration of the dead letter producer.
pub(super) fn producer_config(settings: &KafkaSettings, sink: &str) -> ClientConfig {
    let mut config = common(&format!("outflow-{sink}-dead-letters"));
    config
        .set("linger.ms", "5")
        .set("compression.type", "lz4")
        // The broker decides what is too large; what is under way is bounded by whoever sends.
        .set("message.max.bytes", "1000000000")
        .set("queue.buffering.max.kbytes", "1048576")
        // So soon a topic that doesn't exist is said.
        .set("topic.metadata.propagation.max.ms", "2000")
        .set("queue.buffering.max.messages", "10000");
    pass_through(&mut config, &settings.properties, |key| {
        key != STATISTICS && !CONSUMER_ONLY.iter().any(|prefix| key.starts_with(prefix))
    });
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // Without an end; outages are waited out.
        .set("message.timeout.ms", "0");
    config
}

/// `topic.metadata.refresh.interval.ms`: how often it is looked which topics there are.
pub(super) fn metadata_refresh_interval(settings: &KafkaSettings) -> Duration {
    let set = match settings.properties.get(REFRESH_INTERVAL) {
        Some(Property::Plain(text)) => text.trim().parse().ok(),
        _ => None,
    };
    // The client takes -1 for "never", which would leave a pattern at what it meant at the start.
    Duration::from_millis(set.filter(|ms| *ms > 0).unwrap_or(30_000)).max(SHORTEST_REFRESH)
}

fn common(client_id: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", client_id)
        .set("socket.keepalive.enable", "true")
        .set("socket.timeout.ms", "30000")
        .set("reconnect.backoff.ms", "100")
        // Work resumes within 5 s of a broker's return.
        .set("reconnect.backoff.max.ms", "2000")
        .set(REFRESH_INTERVAL, "30000")
        .set_log_level(RDKafkaLogLevel::Info);
    config
}

fn pass_through(config: &mut ClientConfig, properties: &Properties, wanted: impl Fn(&str) -> bool) {
    if properties.contains_key("debug") {
        config.set_log_level(RDKafkaLogLevel::Debug);
    }
    for (key, value) in properties.iter().filter(|(key, _)| wanted(key)) {
        let key = canonical(key);
        match value {
            Property::Plain(value) => config.set(key, value),
            Property::Secret(value) => config.set(key, value.expose_secret()),
        };
    }
}

/// librdkafka's first name of a property that has two.
pub(crate) fn canonical(property: &str) -> &str {
    match property {
        "max.partition.fetch.bytes" => "fetch.message.max.bytes",
        other => other,
    }
}

/// Why a client can't be built, in words that hold no secret.
pub(super) fn creation_error(error: &KafkaError, properties: &Properties) -> Error {
    let what = match error {
        KafkaError::ClientConfig(_, reason, key, _) => {
            format!("kafka.properties: {key}: {reason}")
        }
        KafkaError::ClientCreation(reason) => format!("the Kafka client can't be made: {reason}"),
        other => return from_kafka(other, "the Kafka client can't be made"),
    };
    Error::misconfigured(without_secrets(&what, properties))
}

/// `text` with every secret of the configuration blotted out: the client quotes values in its errors.
pub(super) fn without_secrets(text: &str, properties: &Properties) -> String {
    let secrets = properties.values().filter_map(|value| match value {
        Property::Secret(secret) => Some(secret.expose_secret()),
        Property::Plain(_) => None,
    });
    secrets
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::settings::{Assignor, CommitMode, OffsetLost, OffsetReset};
    use crate::offsets::TopicPartition;

    pub(in crate::kafka) fn settings(properties: &[(&str, Property)]) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: "127.0.0.1:9".into(),
            subscription: Subscription::Topics(vec!["events".into()]),
            group_id: "group".into(),
            group_protocol: GroupProtocol::Classic,
            assignor: Assignor::CooperativeSticky,
            group_instance_id: None,
            state_dir: None,
            auto_offset_reset: OffsetReset::Earliest,
            on_offset_lost: OffsetLost::Stop,
            commit_mode: CommitMode::Interval,
            max_poll_records: 2_048,
            commit_interval: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(20),
            max_span: 1_000_000,
            properties: properties
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        }
    }

    fn plain(value: &str) -> Property {
        Property::Plain(value.into())
    }

    #[test]
    fn the_users_properties_win_over_defaults_but_not_over_the_design() {
        let settings = settings(&[
            ("fetch.wait.max.ms", plain("7")),
            ("enable.auto.commit", plain("true")),
        ]);
        let config = consumer_config(&settings, "es", 0, 8 << 20);
        assert_eq!(config.get("fetch.wait.max.ms"), Some("7"));
        assert_eq!(config.get("enable.auto.commit"), Some("false"));
    }

    #[test]
    fn fetching_and_queueing_stay_within_the_budget_whatever_the_user_says() {
        let unset = consumer_config(&settings(&[]), "es", 0, 8 << 20);
        assert_eq!(unset.get("fetch.max.bytes"), Some("65536"));
        assert_eq!(unset.get("queued.min.messages"), Some("6553"));
        assert_eq!(unset.get("fetch.min.bytes"), Some("1"));
        let settings = settings(&[
            ("fetch.max.bytes", plain("52428800")),
            ("max.partition.fetch.bytes", plain("2000")),
            ("queued.min.messages", plain("100")),
            ("queued.max.messages.kbytes", plain("65536")),
            ("message.max.bytes", plain("20000000")),
        ]);
        let config = consumer_config(&settings, "es", 0, 8 << 20);
        config.create_native_config().expect("consumer");
        for (property, value) in [
            ("fetch.max.bytes", "65536"),
            ("fetch.message.max.bytes", "2000"),
            ("queued.min.messages", "100"),
            ("queued.max.messages.kbytes", "2097"),
        ] {
            assert_eq!(config.get(property), Some(value), "{property}");
        }
        assert_eq!(config.get("max.partition.fetch.bytes"), None);
    }

    #[test]
    fn whoever_reads_from_outside_stays_within_what_is_left_beside_the_sink() {
        for fetch_bytes in [1 << 20, 4 << 20, 1 << 40] {
            let config = scan_config(&settings(&[]), "es", fetch_bytes);
            let value = |name| config.get(name).and_then(|value| value.parse::<u64>().ok());
            for (name, limit) in Budget::new(fetch_bytes).limits() {
                assert!(value(name).is_some_and(|value| value <= limit), "{name}");
            }
        }
    }

    #[test]
    fn every_configuration_is_one_that_the_client_takes() {
        let mut settings = settings(&[("security.protocol", plain("plaintext"))]);
        for fetch_bytes in [0, 1 << 20, 1 << 40] {
            let config = consumer_config(&settings, "es", 3, fetch_bytes);
            config.create_native_config().expect("consumer");
            let config = scan_config(&settings, "es", fetch_bytes);
            let made: Result<rdkafka::consumer::BaseConsumer, _> = config.create();
            made.expect("scanner");
        }
        settings.group_instance_id = Some("host".into());
        let config = consumer_config(&settings, "es", 3, 8 << 20);
        assert_eq!(config.get("group.instance.id"), Some("host-3"));
        assert_eq!(config.get("session.timeout.ms"), Some("45000"));
        reader_config(&settings, "es")
            .create_native_config()
            .expect("reader");
        producer_config(&settings, "es")
            .create_native_config()
            .expect("producer");
    }

    #[test]
    fn the_new_group_protocol_is_given_no_key_that_it_refuses() {
        let mut settings = settings(&[]);
        settings.group_protocol = GroupProtocol::Consumer;
        let config = consumer_config(&settings, "es", 0, 8 << 20);
        config.create_native_config().expect("consumer");
        for key in [
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "partition.assignment.strategy",
        ] {
            assert_eq!(config.get(key), None, "{key}");
        }
    }

    #[test]
    fn fixed_partitions_never_touch_the_users_group() {
        let mut settings = settings(&[]);
        settings.subscription = Subscription::Assigned(vec![TopicPartition::new("events", 0)]);
        for config in [
            consumer_config(&settings, "es", 0, 8 << 20),
            reader_config(&settings, "es"),
        ] {
            assert_eq!(config.get("group.id"), Some("outflow-es-assigned"));
        }
    }

    #[test]
    fn clients_without_a_group_can_be_made_whatever_the_group_is_told() {
        let settings = settings(&[
            ("max.poll.interval.ms", plain("20000")),
            ("session.timeout.ms", plain("10000")),
        ]);
        for config in [
            reader_config(&settings, "es"),
            probe_config(&settings, "es"),
        ] {
            let made: Result<rdkafka::consumer::BaseConsumer, _> = config.create();
            made.expect("a client");
        }
    }

    #[test]
    fn a_wrong_secret_is_not_in_the_error() {
        let settings = settings(&[("linger.ms", Property::Secret("hunter2".into()))]);
        let config = consumer_config(&settings, "es", 0, 8 << 20);
        let error = match config.create_native_config() {
            Ok(_) => panic!("the client took it"),
            Err(error) => creation_error(&error, &settings.properties),
        };
        assert!(error.what.contains("linger.ms"), "{error}");
        assert!(!error.what.contains("hunter2"), "{error}");
    }
}
