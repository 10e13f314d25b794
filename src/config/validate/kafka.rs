//! The Kafka side: brokers, topics, and librdkafka's own properties.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use super::super::kinds::{Kind, Parsed};
use super::super::problem::printable;
use super::super::settings::{CommitMode, KafkaSettings, OffsetLost, Property, Subscription};
use super::{Validator, did_you_mean};
use crate::kafka::OWNED;

/// Properties that outflow owns besides those of the consumer, with the reason.
const OWNED_TOO: &[(&str, &str)] = &[
    (
        "auto.commit.enable",
        "outflow commits what the sink has acknowledged, and nothing else",
    ),
    (
        "allow.auto.create.topics",
        "a topic that is missing is said, never created",
    ),
    (
        "delivery.report.only.error",
        "outflow waits for every delivery report",
    ),
    (
        "enable.sasl.oauthbearer.unsecure.jwt",
        "it is for tests of librdkafka alone",
    ),
];

/// Names that other clients use, and what librdkafka calls them.
const JAVA: &[(&str, &str)] = &[
    (
        "sasl.jaas.config",
        "librdkafka has sasl.username, and sasl.password in [kafka.secret_properties]",
    ),
    (
        "ssl.truststore.location",
        "librdkafka has ssl.ca.location, a PEM file",
    ),
    (
        "ssl.truststore.password",
        "librdkafka has ssl.ca.location, a PEM file without a password",
    ),
    (
        "ssl.truststore.type",
        "librdkafka has ssl.ca.location, a PEM file",
    ),
    (
        "ssl.keystore.type",
        "librdkafka has ssl.keystore.location (PKCS#12), or ssl.key.location and ssl.certificate.location (PEM)",
    ),
    ("max.poll.records", "set kafka.max_poll_records"),
    ("key.deserializer", "outflow takes bytes as they are"),
    ("value.deserializer", "outflow takes bytes as they are"),
];

/// Frequent names, for suggestions.
const COMMON: &[&str] = &[
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.endpoint.identification.algorithm",
    "client.id",
    "client.rack",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "fetch.wait.max.ms",
    "fetch.min.bytes",
    "fetch.message.max.bytes",
    "isolation.level",
    "socket.timeout.ms",
    "socket.keepalive.enable",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
    "broker.address.family",
    "receive.message.max.bytes",
    "metadata.max.age.ms",
    "topic.metadata.refresh.interval.ms",
    "compression.type",
    "linger.ms",
    "message.max.bytes",
    "check.crcs",
    "debug",
    "enable.ssl.certificate.verification",
    "client.dns.lookup",
];

impl Validator<'_> {
    pub(super) fn kafka(&mut self, name: &str) -> Option<KafkaSettings> {
        let bootstrap_servers = self.bootstrap_servers();
        let subscription = self.subscription(name);
        let properties = self.properties();
        let membership = self.membership(subscription.as_ref(), &properties);
        let auto_offset_reset = self.offset_reset();
        let commit_mode = self.commit_mode();
        self.check_state_dir(subscription.as_ref());
        let group_id = self.values.text("kafka.group_id").unwrap_or_else(|| {
            let group = format!("outflow-{name}");
            self.derived
                .insert("kafka.group_id", Parsed::Text(group.clone()));
            group
        });
        let drain_timeout = self.values.duration("kafka.drain_timeout")?;
        if let Some(Property::Plain(limit)) = properties.get("max.poll.interval.ms")
            && limit
                .parse()
                .is_ok_and(|limit: u128| drain_timeout.as_millis() >= limit)
        {
            self.error(
                "kafka.drain_timeout",
                format!("is not less than max.poll.interval.ms ({limit})"),
            )
            .push("a rebalance that takes that long throws this member out of its group".into());
        }
        let max_poll_records = self.values.integer("kafka.max_poll_records")?;
        let (group_protocol, assignor, group_instance_id) = membership?;
        let commit_mode = commit_mode?;
        Some(KafkaSettings {
            bootstrap_servers: bootstrap_servers?,
            subscription: subscription?,
            group_id: Arc::from(group_id),
            group_protocol,
            assignor,
            group_instance_id,
            state_dir: self.values.text("state_dir").map(PathBuf::from),
            auto_offset_reset: auto_offset_reset?,
            on_offset_lost: match self.values.text("kafka.on_offset_lost")?.as_str() {
                "earliest" => OffsetLost::Earliest,
                "latest" => OffsetLost::Latest,
                _ => OffsetLost::Stop,
            },
            commit_mode,
            commit_interval: self.values.duration("kafka.commit_interval")?,
            drain_timeout,
            max_poll_records: match commit_mode {
                CommitMode::Record => 1,
                _ => usize::try_from(max_poll_records).unwrap_or(1),
            },
            max_span: self.values.integer("kafka.max_span")?,
            properties,
        })
    }

    /// Fixed partitions have no group to keep their positions, and Elasticsearch keeps none.
    fn check_state_dir(&mut self, subscription: Option<&Subscription>) {
        let is_fixed = matches!(subscription, Some(Subscription::Assigned(_)));
        let is_set = self.values.entries.contains_key("state_dir");
        if is_fixed && self.values.has_section("elasticsearch") && !is_set {
            self.error("kafka.assign", "there is no place for the positions")
                .push(
                    "without a group they are kept in a file: set state_dir = \"/var/lib/outflow\" at the top"
                        .into(),
                );
        }
    }

    pub(super) fn bootstrap_servers(&mut self) -> Option<String> {
        let key = &*format!("{}.bootstrap_servers", self.client);
        let text = self.required(
            key,
            "name the brokers to begin with: \"kafka-1:9092,kafka-2:9092\"",
        )?;
        for server in text.split(',').map(str::trim) {
            if server.contains("://") || server.contains('@') || server.contains('/') {
                self.error(key, "a broker is a host and a port, not a URL")
                    .push("write \"kafka-1:9092\"; user and password stand in properties and secret_properties".into());
                return None;
            }
            let port = server.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if !port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|p| p > 0)) {
                self.error(
                    key,
                    format!("{:?} isn't a host and a port", printable(server)),
                )
                .push("write \"kafka-1:9092\"".into());
                return None;
            }
        }
        Some(text)
    }

    /// librdkafka's own properties, each tried by itself on librdkafka, so that every wrong one is said.
    pub(super) fn properties(&mut self) -> BTreeMap<String, Property> {
        let mut properties = BTreeMap::new();
        let plain: Vec<_> = self
            .values
            .entries_of(Kind::Properties)
            .map(|(k, e)| (k.clone(), e.clone()))
            .collect();
        for (key, entry) in plain {
            let (Some(name), Some(Parsed::Text(value))) =
                (entry.address.path.get(2), &entry.parsed)
            else {
                continue;
            };
            if self.check_property(&key, name, false) && self.try_property(&key, name, value) {
                properties.insert(name.clone(), Property::Plain(value.clone()));
            }
        }
        let secret: Vec<_> = self
            .values
            .entries_of(Kind::SecretProperties)
            .map(|(k, e)| (k.clone(), e.clone()))
            .collect();
        for (key, entry) in secret {
            let Some((name, source, at)) = entry.as_secret() else {
                continue;
            };
            if !self.check_property(&key, name, true) {
                continue;
            }
            let Some(secret) = self.secret_of_entry(&key, source, at) else {
                continue;
            };
            let value = secrecy::ExposeSecret::expose_secret(&secret).to_owned();
            if !self.try_property(&key, name, &value) {
                continue;
            }
            if properties
                .insert(name.to_owned(), Property::Secret(secret))
                .is_some()
            {
                self.error(&key, "this property is set twice")
                    .push("name one place for it".into());
            }
        }
        self.check_security(&properties);
        properties
    }

    /// Whether a property may be set here.
    fn check_property(&mut self, key: &str, name: &str, in_secrets: bool) -> bool {
        if let Some((_, reason)) = OWNED
            .iter()
            .chain(OWNED_TOO)
            .find(|(owned, _)| *owned == name)
        {
            self.error(key, "this property is outflow's own")
                .push((*reason).into());
            return false;
        }
        if let Some((_, hint)) = JAVA.iter().find(|(java, _)| *java == name) {
            self.error(key, "this is a property of the Java client")
                .push((*hint).into());
            return false;
        }
        if name.ends_with("_cb")
            || matches!(
                name,
                "opaque"
                    | "default_topic_conf"
                    | "interceptors"
                    | "log.queue"
                    | "background_event_cb"
            )
        {
            self.error(key, "this property is for programs, not for files")
                .push("leave it out".into());
            return false;
        }
        if is_secret(name) && !in_secrets {
            let client = self.client;
            self.error(key, "a secret doesn't stand in the configuration").push(format!(
                "in [{client}.secret_properties]: \"{name}\" = {{ file = \"/run/secrets/x\" }}, or {{ env = \"X\" }}"
            ));
            return false;
        }
        true
    }

    fn try_property(&mut self, key: &str, name: &str, value: &str) -> bool {
        // librdkafka's own words may quote the value, which may be a secret.
        let help = match ClientConfig::new().set(name, value).create_native_config() {
            Ok(_) => return true,
            Err(KafkaError::ClientConfig(
                rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN,
                ..,
            )) => {
                let help = did_you_mean(name, COMMON.iter().copied())
                    .unwrap_or_else(|| "librdkafka's CONFIGURATION.md lists them".into());
                self.error(key, "librdkafka has no such property")
                    .push(help);
                return false;
            }
            Err(_) => "librdkafka's CONFIGURATION.md says what it may be".to_owned(),
        };
        self.error(key, "librdkafka refuses this value").push(help);
        false
    }

    /// What doesn't go together, as far as it would only be noticed much later.
    fn check_security(&mut self, properties: &BTreeMap<String, Property>) {
        let plain = |name: &str| match properties.get(name) {
            Some(Property::Plain(value)) => Some(value.to_lowercase()),
            _ => None,
        };
        let protocol = plain("security.protocol").unwrap_or_else(|| "plaintext".into());
        let mechanism = plain("sasl.mechanism").or_else(|| plain("sasl.mechanisms"));
        let place = &*format!("{}.properties.\"security.protocol\"", self.client);
        if protocol.starts_with("sasl") {
            let needs_password = mechanism
                .as_deref()
                .is_some_and(|m| m == "plain" || m.starts_with("scram"));
            if mechanism.is_none() {
                self.error(place, "SASL needs a mechanism").push(
                    "add \"sasl.mechanism\" = \"SCRAM-SHA-512\", or the one that your brokers have"
                        .into(),
                );
            }
            for name in ["sasl.username", "sasl.password"] {
                if needs_password && !properties.contains_key(name) {
                    self.error(place, format!("this mechanism needs {name}"))
                        .push("the user stands in [kafka.properties], the password in [kafka.secret_properties]".into());
                }
            }
            if protocol == "sasl_plaintext" && mechanism.as_deref() == Some("plain") {
                self.warning(place, "the password crosses the network in the clear")
                    .push("use sasl_ssl, or SCRAM".into());
            }
        } else if let Some(name) = properties.keys().find(|name| name.starts_with("sasl.")) {
            self.warning(place, format!("{name} isn't used with {protocol}"))
                .push("set \"security.protocol\" = \"sasl_ssl\"".into());
        }
        if plain("enable.ssl.certificate.verification").as_deref() == Some("false") {
            self.warning(
                &format!(
                    "{}.properties.\"enable.ssl.certificate.verification\"",
                    self.client
                ),
                "anybody on the way may pretend to be the brokers",
            )
            .push("name the CA by ssl.ca.location instead".into());
        }
    }
}

fn is_secret(name: &str) -> bool {
    let parts = [
        "password",
        "secret",
        "passphrase",
        "jaas",
        "private.key",
        "ssl.key.pem",
        "sasl.oauthbearer.config",
    ];
    parts.iter().any(|part| name.contains(part)) || name == "ssl_key"
}
