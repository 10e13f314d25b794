//! Three brokers, one of which dies, or comes back without what it had.

use std::sync::Arc;

use serde_json::Value;
use testbed::guard::wait_until;
use testbed::ledger::ledger_of_topic;
use testbed::node::Node;
use testbed::{Generator, Kafka, KafkaOptions, Outflow, Producer, exclusive};

use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

#[test]
fn the_death_of_the_groups_coordinator_under_load_costs_nothing_doubles_nothing_restarts_nothing() {
    let cluster = exclusive();
    let kafka = Kafka::start(&KafkaOptions {
        num_brokers: 3,
        ..KafkaOptions::default()
    })
    .unwrap();
    let stage = Stage::on(&cluster, &kafka, "brokers", 6);
    let outflow = stage.run(Sinks::Both);
    let load = stage.load(1_000, 50);
    for sink in ["elasticsearch", "hdfs"] {
        stage.wait_committed(sink, 1_000);
        let coordinator = kafka.client().coordinator(&stage.group(sink)).unwrap();
        let node = &kafka.nodes()[usize::try_from(coordinator).unwrap() - 1];
        node.kill().unwrap();
        wait_until(
            "the group has another coordinator",
            PATIENCE,
            || match kafka.client().coordinator(&stage.group(sink)) {
                Ok(other) if other != coordinator => Ok(()),
                Ok(_) => Err("it is still the dead one".to_owned()),
                Err(error) => Err(error.to_string()),
            },
        )
        .unwrap();
        // On with two brokers, and then with three again.
        for name in ["elasticsearch", "hdfs"] {
            let wanted = stage.committed(name) + 2_000;
            let what = format!("{name} goes on with two brokers");
            wait_until(&what, PATIENCE, || match stage.committed(name) {
                committed if committed >= wanted => Ok(()),
                committed => Err(format!(
                    "{committed} of {} produced\n{:#}\n{}",
                    load.num_acked(),
                    outflow.status().unwrap_or_default(),
                    outflow.log()
                )),
            })
            .unwrap();
        }
        node.heal().unwrap();
    }
    let ledger = load.stop().unwrap();
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    let restarts = outflow
        .metric("outflow_worker_restarts_total", &[])
        .unwrap();
    assert_eq!(restarts, Some(0.0), "{}", outflow.log());
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}

/// Produces this many records into one partition.
fn produce_into(stage: &Stage<'_>, partition: i32, num: usize, seed: u64) -> testbed::Ledger {
    let producer = Producer::new(&stage.kafka.bootstrap()).unwrap();
    let mut generator = Generator::new(&stage.topic, seed).keys(50);
    for _ in 0..num {
        let mut record = generator.record();
        record.partition = Some(partition);
        producer.send(&stage.topic, &record).unwrap();
    }
    producer.flush().unwrap();
    producer.ledger()
}

fn wait_for_leader(stage: &Stage<'_>, partition: i32, wanted: i32) {
    let what = format!("broker {wanted} leads partition {partition}");
    let client = stage.kafka.client();
    wait_until(&what, PATIENCE, || {
        match client.replicas(&stage.topic, partition) {
            Ok((leader, _)) if leader == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
}

/// Waits until one partition of a sink is quarantined, and says why.
fn wait_for_quarantine(outflow: &Outflow, sink: &str, partition: i32) -> String {
    let what = format!("partition {partition} of {sink} stops");
    let check = || {
        let status = outflow.status().map_err(|error| error.to_string())?;
        let find = |list: &Value, key: &str, wanted: &Value| {
            let mut items = list.as_array().into_iter().flatten();
            items.find(|item| item[key] == *wanted).cloned()
        };
        let sink = find(&status, "name", &sink.into()).unwrap_or_default();
        let partitions = &sink["workers"][0]["partitions"];
        let found = find(partitions, "partition", &partition.into()).unwrap_or_default();
        match found["state"] == "quarantined" {
            true => Ok(found["reason"].as_str().unwrap_or_default().to_owned()),
            false => Err(format!("{found:#}\n{}", outflow.log())),
        }
    };
    wait_until(&what, PATIENCE, check).unwrap()
}

/// Cuts what only the leader of a partition had: the follower is away while it is written, and leads afterwards.
fn elect_uncleanly(stage: &Stage<'_>, outflow: &Outflow, partition: i32) -> Arc<Node> {
    let client = stage.kafka.client();
    let (leader, replicas) = client.replicas(&stage.topic, partition).unwrap();
    let follower = *replicas.iter().find(|id| **id != leader).unwrap();
    let node = |id: i32| Arc::clone(&stage.kafka.nodes()[usize::try_from(id).unwrap() - 1]);
    node(follower).kill().unwrap();
    produce_into(stage, partition, 1_000, 61);
    stage.wait_caught_up(outflow, "elasticsearch");
    stage.wait_caught_up(outflow, "hdfs");
    node(leader).kill().unwrap();
    node(follower).start().unwrap();
    wait_for_leader(stage, partition, follower);
    node(leader)
}

#[test]
fn an_unclean_election_stops_the_partition_that_lost_records_and_no_other() {
    let cluster = exclusive();
    let properties = [
        ("default.replication.factor", "2"),
        ("unclean.leader.election.enable", "true"),
        // Nothing but the elections of this test.
        ("auto.leader.rebalance.enable", "false"),
    ];
    let kafka = Kafka::start(&KafkaOptions {
        num_brokers: 3,
        properties: properties.map(|(k, v)| (k.into(), v.into())).to_vec(),
        ..KafkaOptions::default()
    })
    .unwrap();
    let stage = Stage::on(&cluster, &kafka, "unclean", 3);
    let outflow = stage.run(Sinks::Both);
    stage.produce(3_000, 60);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");

    let old_leader = elect_uncleanly(&stage, &outflow, 0);
    let written = (
        stage.num_written("elasticsearch"),
        stage.num_written("hdfs"),
    );
    // Other records stand at the offsets of those that are gone, and beyond.
    produce_into(&stage, 0, 1_500, 62);
    for sink in ["elasticsearch", "hdfs"] {
        let reason = wait_for_quarantine(&outflow, sink, 0);
        let names = reason.contains(&format!("{}[0]", stage.topic));
        // In two ways: the log ends before it, or has other records there by now.
        let says_why = ["was truncated", "was cut off"].map(|why| reason.contains(why));
        assert!(names && says_why.contains(&true), "{reason}");
    }
    assert_eq!(
        (
            stage.num_written("elasticsearch"),
            stage.num_written("hdfs")
        ),
        written
    );
    old_leader.start().unwrap();
    let others: i64 = [1, 2]
        .map(|partition| produce_into(&stage, partition, 500, 63 + partition as u64).len() as i64)
        .iter()
        .sum();
    for sink in ["elasticsearch", "hdfs"] {
        let before = stage.committed(sink);
        stage.wait_committed(sink, before.max(written.0 as i64 + others));
    }
    stop_cleanly(&outflow);

    // A person lets Elasticsearch go on: it reads on from where the logs part, and has what the topic has.
    let go_on = [("OUTFLOW_KAFKA__ON_OFFSET_LOST", "earliest")];
    let outflow = stage.run_with(Sinks::Elasticsearch, &go_on);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stop_cleanly(&outflow);
    let ledger = ledger_of_topic(&kafka.client(), &stage.topic).unwrap();
    stage.check_elasticsearch(&ledger);
}
