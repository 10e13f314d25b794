//! The real Burrow and `outflow monitor` beside each other on one cluster, asked the same: `BURROW=<its binary> cargo test
//! --test burrow_beside`. (Burrow can be built from its source, commit ced55ba; no registry has it.)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs
)]

#[path = "burrow_beside/both.rs"]
mod both;

use std::collections::BTreeSet;
use std::time::Duration;

use both::Both;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::{Value, json};
use testbed::guard::wait_until;
use testbed::http::Method;
use testbed::kafka_client::commit;
use testbed::{Generator, Kafka, KafkaOptions, Producer};

const LONG: Duration = Duration::from_secs(60);

fn config(kafka: &Kafka, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", group)
        .set("client.id", format!("{group}-client"))
        .set("enable.auto.commit", "false");
    config
}

/// A group of each kind, on one partition: what it commits, round by round.
const GROUPS: [(&str, [Option<i64>; 6]); 5] = [
    (
        "healthy",
        [Some(10), Some(20), Some(30), Some(40), Some(50), Some(60)],
    ),
    (
        "behind",
        [Some(2), Some(7), Some(12), Some(17), Some(22), Some(27)],
    ),
    ("stuck", [Some(5); 6]),
    ("stopped", [Some(3), Some(6), None, None, None, None]),
    (
        "rewound",
        [Some(5), Some(8), Some(15), Some(18), Some(4), Some(5)],
    ),
];

fn paths() -> Vec<String> {
    let names = GROUPS.iter().map(|(name, _)| *name).chain(["member"]);
    let mut paths: Vec<String> = names
        .flat_map(|name| {
            ["", "/status", "/lag"].map(|part| format!("/v3/kafka/local/consumer/{name}{part}"))
        })
        .collect();
    let lists = [
        "/v3/kafka",
        "/v3/kafka/local/topic",
        "/v3/kafka/local/topic/orders",
        "/v3/kafka/local/topic/users",
        "/v3/kafka/local/topic/orders/consumers",
        "/v3/kafka/local/topic/users/consumers",
        "/v3/kafka/local/consumer",
    ];
    paths.extend(lists.map(str::to_owned));
    paths
}

/// Reads nothing, but is a member that owns all of `users`.
struct Member(BaseConsumer);

impl Member {
    fn join(kafka: &Kafka) -> Member {
        let consumer: BaseConsumer = config(kafka, "member").create().unwrap();
        consumer.subscribe(&["users"]).unwrap();
        let owns = || {
            drop(consumer.poll(Duration::from_millis(100)));
            let num = consumer.assignment().map_or(0, |list| list.count());
            (num == 3).then_some(()).ok_or_else(|| num.to_string())
        };
        wait_until("it owns all", LONG, owns).unwrap();
        Member(consumer)
    }

    fn commit(&self, round: i64) {
        drop(self.0.poll(Duration::ZERO));
        commit(
            &self.0,
            "users",
            &[(0, 2 * round), (1, round / 2), (2, 10 * (round + 1))],
        )
        .unwrap();
    }
}

fn produce(producer: &Producer, topic: &str, partition: i32) {
    let mut records = Generator::new("beside", 1);
    for _ in 0..10 {
        let mut record = records.record();
        record.partition = Some(partition);
        producer.send(topic, &record).unwrap();
    }
    producer.flush().unwrap();
}

#[test]
fn the_real_burrow_gives_the_same_answers() {
    let Some(burrow) = std::env::var_os("BURROW") else {
        eprintln!("NOT TESTED: BURROW doesn't name a binary of Burrow");
        return;
    };
    let kafka = Kafka::start(&KafkaOptions::default()).unwrap();
    kafka.client().create_topic("orders", 1, &[]).unwrap();
    kafka.client().create_topic("users", 3, &[]).unwrap();
    let member = Member::join(&kafka);
    let both = Both::start(&kafka, burrow.as_ref());
    let producer = Producer::new(&kafka.bootstrap()).unwrap();
    let consumers = GROUPS.map(|(name, _)| config(&kafka, name).create::<BaseConsumer>().unwrap());
    let mut seen = BTreeSet::new();
    for round in 0..6 {
        produce(&producer, "orders", 0);
        (0..3).for_each(|partition| produce(&producer, "users", partition));
        let end = 10 * (round + 1);
        // Then the lag that both store with the next commit is the same.
        both.agree_when("/v3/kafka/local/topic/orders", |answer| {
            answer["offsets"] == json!([end])
        });
        both.agree_when("/v3/kafka/local/topic/users", |answer| {
            answer["offsets"] == json!([end, end, end])
        });
        member.commit(round);
        for ((name, offsets), consumer) in GROUPS.iter().zip(&consumers) {
            let Some(offset) = offsets[usize::try_from(round).unwrap()] else {
                continue;
            };
            commit(consumer, "orders", &[(0, offset)]).unwrap();
            let has_it = |answer: &Value| {
                let window = &answer["topics"]["orders"][0]["offsets"];
                window[3]["offset"] == offset
            };
            both.agree_when(&format!("/v3/kafka/local/consumer/{name}"), has_it);
        }
        for path in paths() {
            let answer = both.agree(&path);
            seen.extend(statuses(&answer));
        }
    }
    // Nobody commits any more: with time they are judged otherwise.
    for name in ["behind", "stuck", "stopped", "rewound", "member"] {
        let path = format!("/v3/kafka/local/consumer/{name}/lag");
        let answer = both.agree_when(&path, |answer| statuses(answer).contains("STOP"));
        seen.extend(statuses(&answer));
    }
    let all = ["ERR", "OK", "REWIND", "STALL", "STOP", "WARN"].map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(all), "each was seen, of both alike");
    both.agree_on_metrics(&[]);
    what_is_removed_is_gone(&kafka, &both);
    what_isnt_there_is_said_alike(&both);
    both.agree_on_metrics(&["users"]);
    eprintln!("{} answers were the same", both.num_same());
}

fn what_is_removed_is_gone(kafka: &Kafka, both: &Both) {
    let is_gone = |name: &'static str| {
        move |answer: &Value| {
            let list = answer["consumers"].as_array().unwrap();
            !list.contains(&json!(name))
        }
    };
    let groups = "/v3/kafka/local/consumer";
    both.same(Method::DELETE, "/v3/kafka/local/consumer/stopped", None);
    both.agree_when(groups, is_gone("stopped"));
    both.same(
        Method::DELETE,
        "/v3/kafka/local/consumer/member/topic/none",
        None,
    );
    // By Kafka's own tools.
    let admin: AdminClient<DefaultClientContext> = config(kafka, "x").create().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let deleted = runtime.block_on(admin.delete_groups(&["rewound"], &AdminOptions::new()));
    deleted.unwrap()[0].as_ref().unwrap();
    both.agree_when(groups, is_gone("rewound"));
    // More partitions, and the end of a topic.
    kafka.client().add_partitions("orders", 2).unwrap();
    // Who was there before doesn't know of them yet.
    let producer = Producer::new(&kafka.bootstrap()).unwrap();
    produce(&producer, "orders", 1);
    both.agree_when("/v3/kafka/local/topic/orders", |answer| {
        answer["offsets"] == json!([60, 10])
    });
    for name in ["behind", "stuck"] {
        both.agree(&format!("/v3/kafka/local/consumer/{name}/lag"));
    }
    kafka.client().delete_topic("users").unwrap();
    both.agree_when("/v3/kafka/local/topic", |answer| {
        !answer["topics"]
            .as_array()
            .unwrap()
            .contains(&json!("users"))
    });
    for path in paths() {
        both.agree(&path);
    }
}

fn what_isnt_there_is_said_alike(both: &Both) {
    for path in [
        "/burrow/admin",
        "/burrow/admin/ready",
        "/v3/kafka/none",
        "/v3/kafka/none/topic",
        "/v3/kafka/none/consumer",
        "/v3/kafka/none/topic/orders",
        "/v3/kafka/none/topic/orders/consumers",
        "/v3/kafka/local/topic/none",
        "/v3/kafka/local/topic/none/consumers",
        "/v3/kafka/local/consumer/none",
        "/v3/kafka/local/consumer/none/status",
        "/v3/kafka/local/consumer/none/lag",
        "/v3/kafka/none/consumer/none/lag",
        "/v3/kafka/local/none",
        "/v3/config/none",
        "/v3/config/storage/none",
        "/v3/config/evaluator/none",
        "/v3/config/consumer/none",
        "/v3/config/notifier/none",
        "/v3/config/notifier",
        "/v3/config/cluster",
        "/v3/config/consumer",
        "/v3/none",
        "/v3/admin/loglevel",
    ] {
        both.same(Method::GET, path, None);
    }
    both.same(Method::DELETE, "/v3/kafka/local/consumer/none", None);
    both.same(Method::DELETE, "/v3/kafka/none/consumer/none", None);
    for body in ["{", "{\"level\":\"loud\"}", "{\"level\":\"warning\"}"] {
        both.same(Method::POST, "/v3/admin/loglevel", Some(body));
    }
    both.same(Method::GET, "/v3/admin/loglevel", None);
}

/// All that is called a status in an answer.
fn statuses(answer: &Value) -> BTreeSet<String> {
    match answer {
        Value::Object(fields) => {
            let own = fields.get("status").and_then(Value::as_str);
            let inner = fields.values().flat_map(statuses);
            own.map(str::to_owned).into_iter().chain(inner).collect()
        }
        Value::Array(items) => items.iter().flat_map(statuses).collect(),
        _ => BTreeSet::new(),
    }
}
