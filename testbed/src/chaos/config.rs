//! outflow's configuration for a run, and the secrets in it that must never come out again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::elasticsearch::{PASSWORD, USER};
use crate::error::{Context, Result};
use crate::hdfs::Hdfs;

use super::case::{Setup, Sink};

/// A password that Elasticsearch without security takes no notice of.
const CANARY: &str = "canary-4b1d-elasticsearch";
/// Kafka's password, or, where there are no users, a property that is a secret and isn't used.
const KAFKA_CANARY: &str = "canary-9c07-kafka";

/// Who outflow is for a Kafka with users.
pub const KAFKA_USER: &str = "outflow";

const PASSWORD_VARIABLE: &str = "CHAOS_ELASTICSEARCH_PASSWORD";
const KAFKA_VARIABLE: &str = "CHAOS_KAFKA_KEY_PASSWORD";

/// The user and the password of a Kafka with users.
pub fn kafka_user() -> (String, String) {
    (KAFKA_USER.to_owned(), KAFKA_CANARY.to_owned())
}

/// How long an ordered end may take, as configured, in seconds.
pub const SHUTDOWN_SECONDS: u64 = 20;

/// Where everything is, as outflow is to see it: servers or the proxies before them.
pub struct Places<'a> {
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// Elasticsearch's nodes.
    pub elasticsearch: Vec<String>,
    /// The certificate to trust.
    pub ca_file: Option<PathBuf>,
    /// `hdfs://host:port`.
    pub hdfs_url: String,
    /// HDFS, for its user and configuration.
    pub hdfs: &'a Hdfs,
    /// The topic; groups, indices and folders are named after it.
    pub topic: &'a str,
}

/// The consumer group of a sink.
pub fn group(topic: &str, sink: Sink) -> String {
    format!("{topic}-{}", sink.name())
}

/// The dead letter topic of a sink.
pub fn dead_letters(topic: &str, sink: Sink) -> String {
    format!("{topic}.{}.dlq", sink.name())
}

/// The variables that the configurations name.
pub fn variables(setup: &Setup) -> [(&'static str, &'static str); 2] {
    let password = if setup.secure { PASSWORD } else { CANARY };
    [
        (PASSWORD_VARIABLE, password),
        (KAFKA_VARIABLE, KAFKA_CANARY),
    ]
}

/// What must not stand in anything that outflow says: the secrets, plain and as they go over the wire.
pub fn secrets(setup: &Setup) -> Vec<String> {
    let [(_, password), (_, kafka)] = variables(setup);
    let user = if setup.secure { USER } else { "outflow" };
    let basic = base64(format!("{user}:{password}").as_bytes());
    vec![password.to_owned(), kafka.to_owned(), basic]
}

/// Writes the configuration of a sink into `dir` and returns where.
pub fn write(dir: &Path, setup: &Setup, places: &Places<'_>, sink: Sink) -> Result<PathBuf> {
    let (name, lines) = (sink.name(), &setup.lines);
    let mut text = format!(
        "name = \"{name}\"\nshutdown_timeout = \"{SHUTDOWN_SECONDS}s\"\nworkers = 1\nmemory = \"{}MiB\"\n{}\n",
        setup.memory_mib, lines.top
    );
    let mut section = |name: &str, more: &str, own: &[(&str, String)]| {
        let own = own.iter().filter(|(key, _)| !sets(more, key));
        let own: String = own
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let _ = writeln!(text, "\n[{name}]\n{own}{more}");
    };
    let quoted = |text: &str| format!("{text:?}");
    let topics = ("topics", format!("[{:?}]", places.topic));
    let by_group = ("group_id", quoted(&group(places.topic, sink)));
    let assigns = sets(lines.kafka, "assign");
    let whose = if assigns {
        Vec::new()
    } else {
        vec![topics, by_group]
    };
    let kafka = [
        ("bootstrap_servers", quoted(&places.bootstrap)),
        ("commit_interval", quoted("500ms")),
        ("drain_timeout", quoted("10s")),
    ];
    let kafka: Vec<_> = kafka.into_iter().chain(whose).collect();
    section(
        "kafka",
        &lines.kafka.replace("{topic}", places.topic),
        &kafka,
    );
    let session = [("\"session.timeout.ms\"", quoted("6000"))];
    let mut properties = if assigns { &[][..] } else { &session }.to_vec();
    if setup.kafka_secure {
        properties.extend([
            ("\"security.protocol\"", quoted("sasl_plaintext")),
            ("\"sasl.mechanism\"", quoted("SCRAM-SHA-256")),
            ("\"sasl.username\"", quoted(KAFKA_USER)),
        ]);
    }
    section("kafka.properties", lines.properties, &properties);
    let by_variable = format!("{{ env = {KAFKA_VARIABLE:?} }}");
    let which = match setup.kafka_secure {
        true => "\"sasl.password\"",
        false => "\"ssl.key.password\"",
    };
    section("kafka.secret_properties", "", &[(which, by_variable)]);
    let letters = quoted(&dead_letters(places.topic, sink));
    section(
        "rejected",
        "",
        &[("policy", quoted("dead_letter")), ("topic", letters)],
    );
    match sink {
        Sink::Elasticsearch => {
            let user = if setup.secure { USER } else { "outflow" };
            let mut own = vec![
                ("urls", format!("{:?}", places.elasticsearch)),
                ("index", quoted("{topic}")),
                ("request_timeout", quoted("10s")),
                ("user", quoted(user)),
                ("password_env", quoted(PASSWORD_VARIABLE)),
            ];
            let ca_file = places.ca_file.as_ref();
            own.extend(ca_file.map(|file| ("ca_file", quoted(&file.display().to_string()))));
            section("elasticsearch", lines.elasticsearch, &own);
        }
        Sink::Hdfs => {
            let hdfs = [
                ("url", quoted(&places.hdfs_url)),
                (
                    "config_dir",
                    quoted(&places.hdfs.config_dir().display().to_string()),
                ),
                ("user", quoted(&places.hdfs.user())),
                ("base", quoted(&format!("/{}", places.topic))),
                ("call_timeout", quoted("5s")),
            ];
            section("hdfs", lines.hdfs, &hdfs);
            let rotate = if lines.rotate.is_empty() {
                "records = 500\nage = \"2s\""
            } else {
                lines.rotate
            };
            section("hdfs.rotate", rotate, &[]);
        }
    }
    let path = dir.join(format!("{name}.toml"));
    std::fs::write(&path, text).context(format!("can't write {}", path.display()))?;
    Ok(path)
}

/// Whether these lines set this key.
fn sets(lines: &str, key: &str) -> bool {
    let names = lines.lines().filter_map(|line| line.split('=').next());
    names.into_iter().any(|name| name.trim() == key)
}

/// Base64 as HTTP's basic authentication has it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            let shown = digit <= chunk.len();
            text.push(if shown {
                char::from(DIGITS[index as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_http() {
        assert_eq!(super::base64(b"a:b"), "YTpi");
        assert_eq!(super::base64(b"a:bc"), "YTpiYw==");
        assert_eq!(super::base64(b"ab:cd"), "YWI6Y2Q=");
    }
}
