//! `outflow monitor` on a real broker: groups of both protocols, seen from outside without touching them.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "deploy/queries.rs"]
mod queries;
#[path = "notify/receiver.rs"]
mod receiver;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::Value;
use testbed::guard::{TestDir, wait_until};
use testbed::{
    Generator, Kafka, KafkaOptions, Load, Outflow, Producer, Stub, TransactionalProducer,
};

const LONG: Duration = Duration::from_secs(90);
/// So often members commit: a full window of ten takes two seconds.
const EVERY: Duration = Duration::from_millis(200);

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
    let start = || Mutex::new(Kafka::start(&KafkaOptions::default()).expect("Kafka starts"));
    let lock = KAFKA.get_or_init(start).lock();
    Turn(lock.unwrap_or_else(PoisonError::into_inner))
}

/// A name that no other test has.
fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn topic(kafka: &Kafka, name: &str, num_partitions: usize) -> String {
    let topic = unique(name);
    kafka
        .client()
        .create_topic(&topic, num_partitions, &[])
        .unwrap();
    topic
}

/// A process with an admin server.
struct Running {
    process: Outflow,
    _dir: TestDir,
}

impl Running {
    fn start(command: &str, config: impl Fn(&str) -> String) -> Running {
        let dir = TestDir::new("monitor").unwrap();
        let binary = env!("CARGO_BIN_EXE_outflow");
        let process = Outflow::configured(binary, command, dir.path(), config).unwrap();
        process.wait_ready(LONG).unwrap();
        Running { process, _dir: dir }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.process.http().unwrap().get(path).unwrap();
        let value = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status, value)
    }

    /// What Burrow would say of a group, in full.
    fn lag(&self, group: &str) -> Value {
        let (_, mut answer) = self.get(&format!("/v3/kafka/local/consumer/{group}/lag"));
        answer["status"].take()
    }

    fn wait_for_partition(&self, group: &str, status: &str) -> Value {
        let check = || {
            let said = self.lag(group);
            let is_it = |p: &Value| p["status"] == status;
            let found = said["partitions"]
                .as_array()
                .and_then(|p| p.iter().find(|p| is_it(p)));
            found.cloned().ok_or_else(|| said.to_string())
        };
        let what = format!("{group} is {status}");
        wait_until(&what, LONG, check).unwrap_or_else(|e| panic!("{e}\n{}", self.process.log()))
    }
}

fn monitor(kafka: &Kafka) -> Running {
    monitor_with(kafka, "")
}

fn monitor_with(kafka: &Kafka, notifiers: &str) -> Running {
    let bootstrap = kafka.bootstrap();
    Running::start("monitor", |address| {
        format!(
            "[admin]\nlisten = \"{address}\"\n[[cluster]]\nname = \"local\"\nbootstrap_servers = \"{bootstrap}\"\n\
             offset_refresh = \"200ms\"\ntopic_refresh = \"500ms\"\n{notifiers}"
        )
    })
}

fn config(kafka: &Kafka, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", group)
        .set("client.id", format!("{group}-client"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    config
}

/// Commits an offset without being a member.
fn commit(consumer: &BaseConsumer, topic: &str, offset: i64) {
    testbed::kafka_client::commit(consumer, topic, &[(0, offset)]).unwrap();
}

/// A thread that goes on until it is dropped.
struct Going {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Going {
    fn on(mut turn: impl FnMut() + Send + 'static) -> Going {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                turn();
            }
        });
        let thread = Some(thread);
        Going { stop, thread }
    }

    /// Commits what `offset` says, again and again.
    fn committing(
        kafka: &Kafka,
        group: &str,
        topic: &str,
        mut offset: impl FnMut() -> i64 + Send + 'static,
    ) -> Going {
        let consumer: BaseConsumer = config(kafka, group).create().unwrap();
        let topic = topic.to_owned();
        Going::on(move || {
            commit(&consumer, &topic, offset());
            std::thread::sleep(EVERY);
        })
    }

    /// A member that reads and commits.
    fn member(config: &ClientConfig, topic: &str) -> Going {
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let topic = topic.to_owned();
        let mut next: std::collections::BTreeMap<i32, i64> = std::collections::BTreeMap::new();
        Going::on(move || {
            while let Some(record) = consumer.poll(EVERY) {
                if let Ok(record) = record {
                    next.insert(record.partition(), record.offset() + 1);
                }
            }
            let mut list = TopicPartitionList::new();
            for (partition, offset) in &next {
                list.add_partition_offset(&topic, *partition, Offset::Offset(*offset))
                    .unwrap();
            }
            // Between two generations it may fail, and is tried again.
            let _ = consumer.commit(&list, CommitMode::Sync);
        })
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn produce(kafka: &Kafka, topic: &str, num: usize) {
    let producer = Producer::new(&kafka.bootstrap()).unwrap();
    producer
        .produce(topic, &mut Generator::new("monitor", 1), num)
        .unwrap();
    producer.flush().unwrap();
}

#[test]
fn healthy_stuck_stopped_and_rewound_groups_are_told_apart() {
    let kafka = kafka();
    let topic = topic(&kafka, "told-apart", 1);
    produce(&kafka, &topic, 1_000);
    let monitor = monitor(&kafka);
    let [healthy, stuck, stopped, rewound] = ["healthy", "stuck", "stopped", "rewound"].map(unique);
    let _healthy = Going::member(&config(&kafka, &healthy), &topic);
    let _stuck = Going::committing(&kafka, &stuck, &topic, || 100);
    let mut n = 0;
    // Somebody resets it at 500, and it goes on in small steps.
    let _rewound = Going::committing(&kafka, &rewound, &topic, move || {
        n += 1;
        match n % 12 {
            k if k < 4 => 500 + k,
            k => 50 + k,
        }
    });
    let mut offset = 100;
    let stops = Going::committing(&kafka, &stopped, &topic, move || {
        offset += 10;
        offset
    });
    monitor.wait_for_partition(&stopped, "OK");
    drop(stops);
    let partition = monitor.wait_for_partition(&stuck, "STALL");
    assert_eq!(partition["end"]["offset"], 100);
    monitor.wait_for_partition(&rewound, "REWIND");
    monitor.wait_for_partition(&stopped, "STOP");
    assert_eq!(monitor.lag(&stuck)["status"], "ERR");
    assert_eq!(monitor.lag(&stopped)["status"], "ERR");
    let all_read = || match monitor.lag(&healthy) {
        said if said["status"] == "OK" && said["totallag"] == 0 && said["complete"] == 1 => Ok(()),
        said => Err(said.to_string()),
    };
    wait_until("the healthy group is OK", LONG, all_read).unwrap();
    let (_, shown) = monitor.get("/api/v1/groups");
    let first = &shown["groups"][0];
    assert_eq!(first["status"], "ERR", "the worst first: {shown}");
    let metrics = monitor.process.metrics().unwrap();
    let line =
        format!("burrow_kafka_consumer_status{{cluster=\"local\",consumer_group=\"{stuck}\"}} 3.0");
    assert!(metrics.contains(&line), "{metrics}");
}

#[test]
fn members_of_both_protocols_are_the_owners_of_their_partitions() {
    let kafka = kafka();
    let topic = topic(&kafka, "owners", 2);
    produce(&kafka, &topic, 100);
    let (classic, consumer) = (unique("classic"), unique("kip848"));
    let _classic = Going::member(&config(&kafka, &classic), &topic);
    let mut new = config(&kafka, &consumer);
    new.set("group.protocol", "consumer");
    let _consumer = Going::member(&new, &topic);
    // Started late: who owns what was said before.
    let until = format!("{classic} and {consumer} have committed");
    let committed = |group: &str| {
        kafka
            .client()
            .committed(group, &topic)
            .map_or(0, |c| c.len())
    };
    let both = || match (committed(&classic), committed(&consumer)) {
        (2, 2) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_until(&until, LONG, both).unwrap();
    let monitor = monitor(&kafka);
    for group in [&classic, &consumer] {
        let owned = || {
            let (_, detail) = monitor.get(&format!("/v3/kafka/local/consumer/{group}"));
            let partitions = detail["topics"][&topic]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let is_owned = |p: &Value| {
                p["owner"] == "/127.0.0.1" && p["client_id"] == format!("{group}-client")
            };
            match partitions.len() == 2 && partitions.iter().all(is_owned) {
                true => Ok(()),
                false => Err(detail.to_string()),
            }
        };
        wait_until("the owners are known", LONG, owned).unwrap();
    }
}

#[test]
fn a_marker_behind_the_last_record_isnt_lag() {
    let kafka = kafka();
    let topic = topic(&kafka, "marker", 1);
    let id = unique("transactions");
    let mut producer = TransactionalProducer::new(&kafka.bootstrap(), &id, LONG).unwrap();
    producer.begin().unwrap();
    producer
        .produce(&topic, &mut Generator::new("marker", 1), 5)
        .unwrap();
    producer.commit().unwrap();
    // The markers are written after the coordinator has answered.
    let marked = || match kafka.client().watermarks(&topic) {
        Ok(marks) if marks[&0] == (0, 6) => Ok(()),
        said => Err(format!("{said:?}")),
    };
    wait_until("the marker is there", LONG, marked).unwrap();
    let monitor = monitor(&kafka);
    let (read, unread) = (unique("read"), unique("unread"));
    let _read = Going::committing(&kafka, &read, &topic, || 5);
    let _unread = Going::committing(&kafka, &unread, &topic, || 4);
    let none = || match monitor.lag(&read) {
        said if said["totallag"] == 0 && said["partition_count"] == 1 => Ok(()),
        said => Err(said.to_string()),
    };
    wait_until("the marker isn't lag", LONG, none).unwrap();
    assert_eq!(monitor.lag(&read)["status"], "OK");
    let partition = monitor.wait_for_partition(&unread, "STALL");
    assert_eq!(partition["current_lag"], 1, "a record is left");
}

#[test]
fn brokers_may_go_and_come_back() {
    let kafka = kafka();
    let topic = topic(&kafka, "away", 1);
    produce(&kafka, &topic, 100);
    let group = unique("away");
    let monitor = monitor(&kafka);
    let consumer: BaseConsumer = config(&kafka, &group).create().unwrap();
    commit(&consumer, &topic, 10);
    let newest = |offset: i64| {
        let monitor = &monitor;
        let group = &group;
        move || match monitor.lag(group) {
            said if said["maxlag"]["end"]["offset"] == offset => Ok(()),
            said => Err(said.to_string()),
        }
    };
    wait_until("the commit is seen", LONG, newest(10)).unwrap();
    kafka.stop().unwrap();
    let trouble = || match monitor.get("/api/v1/groups").1["clusters"][0].take() {
        cluster if cluster["trouble"].is_string() => Ok(()),
        cluster => Err(cluster.to_string()),
    };
    wait_until("the trouble is said", LONG, trouble).unwrap();
    let ready = monitor.process.http().unwrap().get("/readyz").unwrap();
    assert_eq!(
        ready.status,
        200,
        "an outage is waited out: {}",
        ready.text()
    );
    kafka.heal().unwrap();
    commit(&consumer, &topic, 20);
    wait_until("the next commit is seen", LONG, newest(20)).unwrap();
    let well = || match monitor.get("/api/v1/groups").1["clusters"][0].take() {
        cluster if cluster["trouble"].is_null() => Ok(()),
        cluster => Err(cluster.to_string()),
    };
    wait_until("all is well", LONG, well).unwrap();
    // It sees every group that has members or commits: it isn't one.
    let (_, groups) = monitor.get("/v3/kafka/local/consumer");
    let groups = groups["consumers"].as_array().unwrap();
    assert!(
        !groups
            .iter()
            .any(|g| g.as_str().unwrap().contains("monitor")),
        "{groups:?}"
    );
}

/// The counters that appear with their first event.
fn with_reasons() -> String {
    use outflow::metrics::SinkMetrics;
    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = SinkMetrics::register(&mut registry, &"x".into());
    let reason = SinkMetrics::reason("x");
    for family in [
        &metrics.retries,
        &metrics.rejections,
        &metrics.dropped_records,
        &metrics.skipped_offsets,
        &metrics.commit_failures,
    ] {
        drop(family.get_or_create(&reason));
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let is_one = |line: &&str| line.contains("reason=");
    text.lines()
        .filter(is_one)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Bad, well, and the brokers away meanwhile: one incident, told twice, by a process whose log has no secret.
#[test]
fn a_stuck_group_is_told_of_once_and_so_is_its_end() {
    let kafka = kafka();
    let topic = topic(&kafka, "told", 1);
    produce(&kafka, &topic, 100);
    let (receiver, group) = (receiver::Receiver::start([]), unique("told"));
    let url = receiver.url();
    let monitor = monitor_with(
        &kafka,
        &format!(
            "[[notify]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"{url}\"\ngroups_pattern = \"{group}\"\n\
             threshold = \"ERR\"\nfor = \"1s\"\nclose_after = \"1s\"\n[log]\nfilter = \"debug\"\n"
        ),
    );
    let stuck = Going::committing(&kafka, &group, &topic, || 10);
    let told = |wanted: &[&str]| {
        let check = || match receiver.told() {
            told if told == wanted => Ok(()),
            told => Err(format!("{told:?}")),
        };
        let what = format!("{wanted:?} is told");
        wait_until(&what, LONG, check).unwrap_or_else(|e| panic!("{e}\n{}", monitor.process.log()));
    };
    let (open, close) = (format!("open {group}"), format!("close {group}"));
    told(&[&open]);
    drop(stuck);
    let consumer: BaseConsumer = config(&kafka, &group).create().unwrap();
    kafka.stop().unwrap();
    let blind = || match monitor.process.metric("outflow_cluster_blind", &[]) {
        Ok(Some(1.0)) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_until("the brokers are missed", LONG, blind).unwrap();
    kafka.heal().unwrap();
    commit(&consumer, &topic, 100);
    told(&[&open, &close]);
    let said = receiver.requests()[0].json();
    assert_eq!(said["partitions"][0]["topic"], *topic);
    assert_eq!(said["partitions"][0]["committed"], 10);
    let log = monitor.process.log();
    assert!(log.contains("an incident is open"), "{log}");
    assert!(!log.contains("secret-path"), "{log}");
}

#[test]
fn outflows_own_group_is_judged_alike_from_inside_and_from_outside() {
    let kafka = kafka();
    let topic = topic(&kafka, "alike", 1);
    let stub = Stub::start().unwrap();
    let (bootstrap, url, group) = (kafka.bootstrap(), stub.url(), unique("alike"));
    let run = Running::start("run", |address| {
        format!(
            "name = \"es\"\nworkers = 1\n[kafka]\nbootstrap_servers = \"{bootstrap}\"\ntopics = [\"{topic}\"]\n\
             group_id = \"{group}\"\ncommit_interval = \"200ms\"\n[elasticsearch]\nurls = [\"{url}\"]\n\
             request_timeout = \"2s\"\n[lag]\noffset_refresh = \"200ms\"\n[admin]\nlisten = \"{address}\"\n"
        )
    });
    let notifier = "[[notify]]\nname = \"none\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1\"\n\
        groups_pattern = \"none\"\n";
    let monitor = monitor_with(&kafka, notifier);
    let load = Load::start(&kafka.bootstrap(), &topic, Generator::new("alike", 1), 50).unwrap();
    let both = |wanted: &str| {
        let (inside, outside) = (run.lag(&group), monitor.lag(&group));
        let own = run.process.status().unwrap()[0].take();
        let verdict = own["workers"][0]["partitions"][0]["verdict"]["status"].clone();
        let words = [&inside, &outside].map(|said| said["partitions"][0]["status"].clone());
        match words.iter().chain([&verdict]).all(|word| word == wanted)
            && inside["complete"] == 1
            && outside["complete"] == 1
        {
            true => Ok(own["verdict"].clone()),
            false => Err(format!("inside {inside}\noutside {outside}\nown {own}")),
        }
    };
    wait_until("both say OK", LONG, || both("OK")).unwrap();
    let asked = queries::all_metrics();
    let known = || {
        let texts = [&run, &monitor].map(|running| running.process.metrics().unwrap());
        let exposed = queries::exposed(&(texts.concat() + &with_reasons()));
        match asked.difference(&exposed).collect::<Vec<_>>() {
            missing if missing.is_empty() => Ok(()),
            missing => Err(format!("{missing:?}")),
        }
    };
    wait_until("dashboard and alerts ask for what is there", LONG, known).unwrap();
    drop(stub);
    let verdict = wait_until("both say STOP", LONG, || both("STOP")).unwrap();
    assert_eq!(verdict["status"], "ERR");
    let reason = verdict["reason"].as_str().unwrap();
    assert!(reason.contains("nothing was committed for"), "{reason}");
    let (_, groups) = run.get("/api/v1/groups");
    let cause = groups["groups"][0]["cause"].as_str().unwrap_or_default();
    assert!(
        cause.starts_with("the sink es is waiting: ") && cause.contains("refused"),
        "{groups}"
    );
    assert!(
        verdict["time_lag_ms"].as_u64().is_some_and(|ms| ms > 0),
        "{verdict}"
    );
    load.stop().unwrap();
}

#[test]
fn check_asks_a_watched_cluster_what_it_shows() {
    let kafka = kafka();
    let group = unique("checked");
    let topic = topic(&kafka, "checked", 1);
    let consumer: BaseConsumer = config(&kafka, &group).create().unwrap();
    commit(&consumer, &topic, 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("monitor.toml");
    let check = |bootstrap: &str| {
        let text = format!("[[cluster]]\nname = \"local\"\nbootstrap_servers = \"{bootstrap}\"\n");
        std::fs::write(&file, text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_outflow"));
        let args = ["check", "--connect", "--config", file.to_str().unwrap()];
        let output = command.args(args).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (code, said) = check(&kafka.bootstrap());
    assert!(
        code == Some(0) && said.contains("__consumer_offsets"),
        "{said}"
    );
    let (code, said) = check("127.0.0.1:1");
    assert!(
        code == Some(1) && said.contains("topics can't be listed"),
        "{said}"
    );
}
