//! Raw values to [`Settings`]: one pure function that says everything that is wrong at once. What it must
//! know of the machine (files, variables, cores) comes in through [`Surroundings`].

mod budget;
mod consumer;
mod elasticsearch;
mod hdfs;
mod kafka;
mod mail;
mod memory;
mod monitor;
mod notify;
mod receiver;
mod secrets;

pub(super) use monitor::monitor;

pub(crate) use consumer::{parse_age, parse_moment, partition_numbers};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::kinds::{Parsed, format_duration};
use super::layers::Values;
use super::problem::{Place, Problem, Problems, printable, suggest};
use super::settings::{
    AdminSettings, AgentSettings, LogSettings, RejectedPolicy, Settings, SinkSettings, Subscription,
};
use super::surroundings::Surroundings;
use crate::kafka::budget::Budget;

/// Values that weren't set and follow from others, for the effective configuration.
pub type Derived = BTreeMap<&'static str, Parsed>;

/// A sink's file. `None` if anything is wrong, which `problems` then says.
pub fn sink(
    values: &Values,
    notifiers: &[Values],
    surroundings: &dyn Surroundings,
    problems: &mut Problems,
) -> (Option<Settings>, Derived, Vec<Derived>) {
    let mut v = Validator::new(values, surroundings, problems);
    let settings = v.sink();
    let derived = v.derived;
    let (notify, of_notifiers) = notify::notifiers(notifiers, None, surroundings, problems);
    let settings = settings.filter(|_| !problems.has_errors());
    let settings = settings.map(|settings| Settings { notify, ..settings });
    (settings, derived, of_notifiers)
}

/// The agent's file.
pub fn agent(
    values: &Values,
    surroundings: &dyn Surroundings,
    problems: &mut Problems,
) -> (Option<AgentSettings>, Derived) {
    let mut v = Validator::new(values, surroundings, problems);
    let settings = v.agent();
    let derived = v.derived;
    (settings.filter(|_| !problems.has_errors()), derived)
}

struct Validator<'a> {
    values: &'a Values,
    surroundings: &'a dyn Surroundings,
    problems: &'a mut Problems,
    derived: Derived,
    /// The section with the brokers and the client's properties.
    client: &'static str,
}

impl<'a> Validator<'a> {
    fn new(
        values: &'a Values,
        surroundings: &'a dyn Surroundings,
        problems: &'a mut Problems,
    ) -> Self {
        Validator {
            values,
            surroundings,
            problems,
            derived: Derived::new(),
            client: "kafka",
        }
    }

    fn sink(&mut self) -> Option<Settings> {
        let name = self.name();
        let shown = name.clone().unwrap_or_default();
        let kafka = self.kafka(&shown);
        let subscription = kafka.as_ref().map(|k| &k.subscription);
        let topics = subscription.map(|s| s.topics()).unwrap_or_default();
        let elasticsearch = self.values.has_section("elasticsearch");
        let hdfs = self.values.has_section("hdfs");
        if elasticsearch && hdfs {
            let place = self.values.place_of_section("hdfs");
            self.problems.push(
                Problem::new(
                    "hdfs",
                    place,
                    "a file describes one sink, and this one has [elasticsearch], too",
                )
                .help("make two files of it; `outflow run --config` takes several"),
            );
        }
        let by_pattern = matches!(subscription, Some(Subscription::Pattern(_)));
        let elasticsearch = elasticsearch.then(|| self.elasticsearch(&topics, by_pattern));
        let hdfs = hdfs.then(|| self.hdfs());
        let sink = match (elasticsearch, hdfs) {
            (Some(settings), _) => settings.map(SinkSettings::Elasticsearch),
            (None, Some(settings)) => settings.map(SinkSettings::Hdfs),
            (None, None) => {
                let place = Place::WholeFile(self.values.file.clone());
                self.problems.push(
                    Problem::new("", place, "there is no sink in this file")
                        .help("say where records go: a section [elasticsearch] or [hdfs]"),
                );
                None
            }
        };
        let rejected = self.rejected(&shown, &topics);
        let shutdown_timeout = self.shutdown_timeout();
        self.check_drain(kafka.as_ref().map(|k| k.drain_timeout), shutdown_timeout);
        let memory_bytes = self.values.bytes("memory")?;
        let workers = self.workers(memory_bytes, sink.as_ref());
        if let Some(kafka) = &kafka {
            self.check_budget(&kafka.properties, Budget::of_worker(memory_bytes, workers));
        }
        let (admin, log) = (self.admin(), self.log());
        Some(Settings {
            name: Arc::from(name?),
            kafka: kafka?,
            sink: sink?,
            rejected: rejected?,
            memory_bytes,
            workers,
            shutdown_timeout,
            lag: self.lag()?,
            notify: Vec::new(),
            admin: admin?,
            log,
        })
    }

    fn agent(&mut self) -> Option<AgentSettings> {
        let bootstrap_servers = self.bootstrap_servers();
        let properties = self.properties();
        let topic = self.required("agent.topic", "name the topic that figures go to");
        if let Some(topic) = &topic {
            self.check_topic("agent.topic", topic);
        }
        let host_name = self.values.text("agent.host_name");
        let count = |key| self.values.integer(key).and_then(|n| u32::try_from(n).ok());
        Some(AgentSettings {
            simulate_hosts: count("agent.simulate_hosts").unwrap_or_default(),
            bootstrap_servers: bootstrap_servers?,
            topic: topic?,
            interval: self.values.duration("agent.interval")?,
            host_name,
            buffer_bytes: self.values.bytes("agent.buffer")?,
            per_core: self.values.flag("agent.per_core"),
            shutdown_timeout: self.shutdown_timeout(),
            properties,
            log: self.log(),
        })
    }

    fn name(&mut self) -> Option<String> {
        let help = "name the sink: it stands in logs and metrics, and in its group's id";
        self.name_of("name", help)
    }

    /// A name that may stand in paths and labels.
    fn name_of(&mut self, key: &str, help: &str) -> Option<String> {
        let name = self.required(key, help)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.len() > 100 || !name.chars().all(fits) {
            let what = format!("{:?} isn't fit to be a name", printable(&name));
            self.error(key, what)
                .push("letters, digits, `.`, `_` and `-`, at most 100 of them".into());
            return None;
        }
        Some(name)
    }

    fn shutdown_timeout(&self) -> Duration {
        self.values.duration("shutdown_timeout").unwrap_or_default()
    }

    fn check_drain(&mut self, drain: Option<Duration>, shutdown: Duration) {
        if let Some(drain) = drain.filter(|drain| *drain >= shutdown) {
            let what = format!(
                "{} is not less than shutdown_timeout ({})",
                format_duration(drain),
                format_duration(shutdown)
            );
            self.error("kafka.drain_timeout", what).push(
                "draining is part of shutting down: give shutdown_timeout some seconds more".into(),
            );
        }
    }

    fn rejected(&mut self, name: &str, topics: &[String]) -> Option<RejectedPolicy> {
        let topic = self.values.text("rejected.topic");
        let policy = self.values.text("rejected.policy")?;
        if policy != "dead_letter" {
            if topic.is_some() && !self.values.is_broken("rejected.policy") {
                self.error(
                    "rejected.topic",
                    format!("isn't used while rejected.policy is {policy:?}"),
                )
                .push("set policy = \"dead_letter\", or leave the topic out".into());
            }
            return Some(match policy.as_str() {
                "skip" => RejectedPolicy::Skip,
                _ => RejectedPolicy::Quarantine,
            });
        }
        let topic = topic.unwrap_or_else(|| {
            let topic = format!("{name}.dlq");
            self.derived
                .insert("rejected.topic", Parsed::Text(topic.clone()));
            topic
        });
        self.check_topic("rejected.topic", &topic);
        if topics.contains(&topic) {
            self.error(
                "rejected.topic",
                "this topic is one of kafka.topics: its dead letters would come round for ever",
            )
            .push("choose a topic that this sink doesn't read".into());
        }
        Some(RejectedPolicy::DeadLetter { topic })
    }

    fn admin(&mut self) -> Option<AdminSettings> {
        let token = self.secret("admin.token");
        let allow_unauthenticated = self.values.flag("admin.allow_unauthenticated");
        let text = self.values.text("admin.listen")?;
        if text == "off" {
            return Some(AdminSettings {
                listen: None,
                token,
                allow_unauthenticated,
            });
        }
        let address = text.replace("localhost:", "127.0.0.1:");
        let Ok(listen) = address.parse::<SocketAddr>() else {
            self.error(
                "admin.listen",
                format!("{:?} isn't an address and a port", printable(&text)),
            )
            .push(
                "write \"127.0.0.1:9600\", \"0.0.0.0:9600\" or \"[::1]:9600\"; or \"off\"".into(),
            );
            return None;
        };
        let has_token = ["admin.token_file", "admin.token_env"]
            .iter()
            .any(|key| self.values.is_set(key));
        if !listen.ip().is_loopback() && !has_token && !allow_unauthenticated {
            self.error("admin.listen", format!("{listen} can be reached from outside, and there is no token"))
                .extend([
                    "name a file with a token by admin.token_file".into(),
                    "or say admin.allow_unauthenticated = true, where the network is trusted (actions then still need a token)".into(),
                ]);
        }
        Some(AdminSettings {
            listen: Some(listen),
            token,
            allow_unauthenticated,
        })
    }

    fn log(&mut self) -> LogSettings {
        let filter = self.values.text("log.filter").unwrap_or_default();
        if tracing_subscriber::EnvFilter::try_new(&filter).is_err() {
            self.error("log.filter", "isn't a filter")
                .push("write \"info\", \"debug\", or \"info,outflow=debug\"".into());
        }
        LogSettings {
            json: self.values.text("log.format").as_deref() == Some("json"),
            filter,
        }
    }

    /// Adds an error about `key` where its value stands; further help may be pushed onto what is returned.
    fn error(&mut self, key: &str, what: impl Into<String>) -> &mut Vec<String> {
        self.report(Problem::new(key, self.values.place(key), what))
    }

    fn warning(&mut self, key: &str, what: impl Into<String>) -> &mut Vec<String> {
        self.report(Problem::warning(key, self.values.place(key), what))
    }

    fn report(&mut self, problem: Problem) -> &mut Vec<String> {
        &mut self.problems.0.push_mut(problem).help
    }

    fn required(&mut self, key: &str, help: &str) -> Option<String> {
        self.require(key, help)
            .then(|| self.values.text(key))
            .flatten()
    }

    /// Says so if nobody set the key.
    fn require(&mut self, key: &str, help: &str) -> bool {
        if !self.values.entries.contains_key(key) {
            let section = key.rsplit_once('.').map_or("", |(section, _)| section);
            let place = self.values.place_of_section(section);
            self.problems
                .push(Problem::new(key, place, "is missing").help(help));
            return false;
        }
        true
    }

    fn check_topic(&mut self, key: &str, topic: &str) {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_pattern = topic.starts_with('^');
        if topic.is_empty()
            || topic.len() > 249
            || matches!(topic, "." | "..")
            || !topic.chars().all(fits)
        {
            let help = if is_pattern {
                "a pattern stands in topics_pattern"
            } else {
                "letters, digits, `.`, `_` and `-`, at most 249 of them"
            };
            self.error(key, format!("{:?} isn't a topic's name", printable(topic)))
                .push(help.into());
        }
    }
}

/// `did you mean …?`, if anything is near.
fn did_you_mean<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    suggest(wrong, candidates).map(|meant| format!("did you mean `{meant}`?"))
}
