//! The agent against a real broker: what it collects arrives, whatever happens on the way.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use testbed::guard::wait_until;
use testbed::{Kafka, KafkaOptions, Outflow};

const LONG: Duration = Duration::from_secs(90);

/// The broker for one test alone; well again afterwards.
struct Turn(MutexGuard<'static, Kafka>);

impl std::ops::Deref for Turn {
    type Target = Kafka;
    fn deref(&self) -> &Kafka {
        &self.0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.heal().expect("Kafka comes back");
    }
}

fn kafka() -> Turn {
    static KAFKA: OnceLock<Mutex<Kafka>> = OnceLock::new();
    let start = || {
        // As many brokers are: whoever asks wrongly for a topic creates it.
        let creates = ("auto.create.topics.enable".to_owned(), "true".to_owned());
        let options = KafkaOptions {
            properties: vec![creates],
            ..KafkaOptions::default()
        };
        Mutex::new(Kafka::start(&options).expect("Kafka starts"))
    };
    Turn(
        KAFKA
            .get_or_init(start)
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    )
}

struct Agent {
    process: Outflow,
    _folder: tempfile::TempDir,
}

impl Agent {
    fn start(kafka: &Kafka, topic: &str, more: &str) -> Agent {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        let text = format!(
            "shutdown_timeout = \"20s\"\n[kafka]\nbootstrap_servers = \"{}\"\n[agent]\ntopic = \"{topic}\"\n\
             interval = \"200ms\"\nhost_name = \"web-1\"\n{more}",
            kafka.bootstrap()
        );
        std::fs::write(&file, text).unwrap();
        let args = ["agent", "--config", file.to_str().unwrap()];
        let log = folder.path().join("log");
        let process = Outflow::spawn(env!("CARGO_BIN_EXE_outflow"), &args, &[], log).unwrap();
        Agent {
            process,
            _folder: folder,
        }
    }

    fn wait_for_log(&self, word: &str) {
        let said = || Ok((!self.process.log().contains(word)).then(|| "not said yet".to_owned()));
        self.process
            .wait_for(&format!("it says {word:?}"), LONG, said)
            .unwrap();
    }

    /// Asks it to leave; its exit code.
    fn leave(&self) -> i32 {
        self.process.terminate().unwrap();
        self.process.wait(LONG).unwrap()
    }
}

fn num_records(kafka: &Kafka, topic: &str) -> i64 {
    kafka.client().watermarks(topic).map_or(0, |marks| {
        marks.values().map(|(low, high)| high - low).sum()
    })
}

fn wait_for_records(kafka: &Kafka, topic: &str, at_least: i64) {
    let what = format!("{topic} has {at_least} records");
    wait_until(&what, LONG, || {
        let there = num_records(kafka, topic);
        if there < at_least {
            Err(format!("{there} are there"))
        } else {
            Ok(())
        }
    })
    .unwrap();
}

/// Documents by metricset, each once, each with its key.
fn documents(kafka: &Kafka, topic: &str) -> BTreeMap<String, Vec<Value>> {
    let mut documents: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in kafka.client().read_all(topic).unwrap() {
        let document: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        assert_eq!(
            record.key.as_deref(),
            document["host"]["name"].as_str().map(str::as_bytes)
        );
        let name = document["metricset"]["name"].as_str().unwrap().to_owned();
        documents.entry(name).or_default().push(document);
    }
    documents
}

/// The samples' times, none twice and (at this interval) none left out for longer than `gap`.
fn assert_no_holes(documents: &[Value], gap: Duration) {
    let time = |d: &Value| {
        d["@timestamp"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_millisecond()
    };
    let times: Vec<i64> = documents.iter().map(time).collect();
    let distinct: BTreeSet<i64> = times.iter().copied().collect();
    assert_eq!(distinct.len(), times.len(), "a sample stands there twice");
    let all: Vec<i64> = distinct.into_iter().collect();
    let widest = all
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap_or(0);
    assert!(
        u128::try_from(widest).unwrap() < gap.as_millis(),
        "a hole of {widest} ms"
    );
}

#[test]
fn figures_arrive_and_shutting_down_drains() {
    let kafka = kafka();
    kafka.client().create_topic("agent-plain", 2, &[]).unwrap();
    let agent = Agent::start(&kafka, "agent-plain", "");
    wait_for_records(&kafka, "agent-plain", 20);
    assert_eq!(agent.leave(), 0, "{}", agent.process.log());
    let documents = documents(&kafka, "agent-plain");
    let cores = documents["cpu"][0]["system"]["cpu"]["cores"]
        .as_u64()
        .unwrap();
    let count = documents["cpu"].len();
    assert_eq!(documents["memory"].len(), count);
    assert_eq!(documents["core"].len() as u64, count as u64 * cores);
    for document in &documents["cpu"] {
        let share = document["system"]["cpu"]["total"]["norm"]["pct"]
            .as_f64()
            .unwrap();
        assert!((0.0..=1.0).contains(&share), "{document}");
    }
    let memory = &documents["memory"][0]["system"]["memory"];
    let (total, free) = (
        memory["total"].as_u64().unwrap(),
        memory["actual"]["free"].as_u64().unwrap(),
    );
    assert!(free > 0 && free < total, "{memory}");
}

#[test]
fn nothing_is_lost_or_doubled_while_the_broker_is_away() {
    let kafka = kafka();
    kafka.client().create_topic("agent-outage", 1, &[]).unwrap();
    let agent = Agent::start(&kafka, "agent-outage", "per_core = false\n");
    wait_for_records(&kafka, "agent-outage", 10);
    kafka.kill().unwrap();
    agent.wait_for_log("figures are buffered");
    kafka.heal().unwrap();
    let before = num_records(&kafka, "agent-outage");
    wait_for_records(&kafka, "agent-outage", before + 30);
    assert_eq!(agent.leave(), 0, "{}", agent.process.log());
    assert_no_holes(
        &documents(&kafka, "agent-outage")["cpu"],
        Duration::from_secs(5),
    );
}

#[test]
fn a_topic_that_is_missing_is_said_and_not_created() {
    let kafka = kafka();
    let agent = Agent::start(
        &kafka,
        "agent-late",
        "simulate_hosts = 3\nper_core = false\n",
    );
    agent.wait_for_log("agent.topic doesn't exist: create it");
    assert!(
        kafka.client().num_partitions("agent-late").unwrap_or(0) == 0,
        "nobody created it"
    );
    kafka.client().create_topic("agent-late", 2, &[]).unwrap();
    wait_for_records(&kafka, "agent-late", 30);
    assert_eq!(agent.leave(), 0, "{}", agent.process.log());
    let documents = documents(&kafka, "agent-late");
    let hosts: BTreeSet<_> = documents["cpu"]
        .iter()
        .map(|d| d["host"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        hosts.into_iter().collect::<Vec<_>>(),
        ["host-001", "host-002", "host-003"]
    );
}

/// A small buffer and a broker that stays away: memory is bounded, the newest stay, and somebody is told.
#[test]
fn beyond_the_buffer_the_oldest_figures_go_and_are_counted() {
    let kafka = kafka();
    kafka.client().create_topic("agent-full", 1, &[]).unwrap();
    kafka.freeze().unwrap();
    let more = "buffer = \"64KiB\"\nsimulate_hosts = 20\nper_core = false\n";
    let agent = Agent::start(&kafka, "agent-full", more);
    agent.wait_for_log("the buffer is full");
    kafka.thaw().unwrap();
    wait_for_records(&kafka, "agent-full", 100);
    assert_eq!(agent.leave(), 0, "{}", agent.process.log());
    assert!(agent.process.log().contains("oldest records were dropped"));
}

#[test]
fn check_connect_tells_what_the_brokers_say() {
    let kafka = kafka();
    kafka.client().create_topic("check-there", 3, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sink.toml");
    let text = format!(
        "name = \"checked\"\n[kafka]\nbootstrap_servers = \"{}\"\ntopics = [\"check-there\", \"check-missing\"]\n\
         [rejected]\npolicy = \"dead_letter\"\n[elasticsearch]\nurls = [\"http://127.0.0.1:1\"]\n",
        kafka.bootstrap()
    );
    std::fs::write(&file, text).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_outflow"))
        .args(["check", "--connect", "--config", file.to_str().unwrap()])
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{out}");
    for line in [
        "reachable, 1 in the cluster",
        "ok: topic check-there: exists, 3 partitions",
        "error: topic check-missing: doesn't exist",
        "= help: create it (kafka-topics.sh --create --topic check-missing",
        "ok: group outflow-checked: is new and starts at the oldest record",
        "error: topic checked.dlq (written to): doesn't exist",
    ] {
        assert!(out.contains(line), "{line} isn't in\n{out}");
    }
    assert!(
        kafka.client().num_partitions("check-missing").unwrap_or(0) == 0,
        "nobody created it"
    );
}
