//! Topics that are written in transactions.

use std::time::Duration;

use testbed::guard::wait_until;
use testbed::{Generator, TransactionalProducer, together};

use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

#[test]
fn aborted_records_never_stand_in_a_sink_and_the_lag_goes_to_zero_behind_the_markers() {
    let cluster = together();
    let stage = Stage::new(&cluster, "transactions", 3);
    let outflow = stage.run(Sinks::Both);
    let bootstrap = cluster.kafka.bootstrap();
    let mut producer =
        TransactionalProducer::new(&bootstrap, &stage.topic, Duration::from_secs(60)).unwrap();
    let mut generator = Generator::new(&stage.topic, 30).keys(50);
    for is_committed in [true, false, true, true, false, false, true, false] {
        producer.begin().unwrap();
        producer.produce(&stage.topic, &mut generator, 120).unwrap();
        match is_committed {
            true => producer.commit().unwrap(),
            false => producer.abort().unwrap(),
        }
    }
    // The last offsets of each partition are aborted records and a marker: nothing that is delivered.
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    for sink in ["elasticsearch", "hdfs"] {
        wait_until("the status shows no lag", PATIENCE, || {
            let status = outflow.status().map_err(|e| e.to_string())?;
            let mut sinks = status.as_array().into_iter().flatten();
            match sinks.find(|s| s["name"] == sink).map(|s| &s["lag"]) {
                Some(lag) if *lag == 0 => Ok(()),
                lag => Err(format!("{sink}: {lag:?}")),
            }
        })
        .unwrap();
    }
    stop_cleanly(&outflow);
    assert_eq!(producer.committed().len(), 480);
    assert_eq!(producer.aborted().len(), 480);
    stage.check_elasticsearch(producer.committed());
    stage.check_hdfs(producer.committed());
}

#[test]
fn a_transaction_that_hangs_holds_records_back_until_the_broker_aborts_it() {
    let cluster = together();
    let stage = Stage::new(&cluster, "hanging", 1);
    let bootstrap = cluster.kafka.bootstrap();
    let hangs = Duration::from_secs(8);
    let mut producer = TransactionalProducer::new(&bootstrap, &stage.topic, hangs).unwrap();
    let mut generator = Generator::new(&stage.topic, 31).keys(50);
    producer.begin().unwrap();
    producer.produce(&stage.topic, &mut generator, 100).unwrap();
    producer.commit().unwrap();
    producer.begin().unwrap();
    producer.produce(&stage.topic, &mut generator, 100).unwrap();
    let (mut ledger, hanging) = producer.abandon();
    assert_eq!(hanging.len(), 100);
    // Behind the open transaction, of somebody else.
    let other = testbed::Producer::new(&bootstrap).unwrap();
    other.produce(&stage.topic, &mut generator, 100).unwrap();
    ledger.merge(other.ledger());

    let outflow = stage.run(Sinks::Both);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stage.wait_caught_up(&outflow, "hdfs");
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}

#[test]
fn read_uncommitted_is_passed_on_and_delivers_what_was_aborted() {
    let cluster = together();
    let mut stage = Stage::new(&cluster, "uncommitted", 2);
    stage.properties = "\"isolation.level\" = \"read_uncommitted\"".into();
    let bootstrap = cluster.kafka.bootstrap();
    let mut producer =
        TransactionalProducer::new(&bootstrap, &stage.topic, Duration::from_secs(60)).unwrap();
    let mut generator = Generator::new(&stage.topic, 32).keys(50);
    for is_committed in [true, false] {
        producer.begin().unwrap();
        producer.produce(&stage.topic, &mut generator, 150).unwrap();
        match is_committed {
            true => producer.commit().unwrap(),
            false => producer.abort().unwrap(),
        }
    }
    let outflow = stage.run(Sinks::Elasticsearch);
    stage.wait_caught_up(&outflow, "elasticsearch");
    stop_cleanly(&outflow);
    let mut ledger = producer.committed().clone();
    ledger.merge(producer.aborted().clone());
    assert_eq!(ledger.len(), 300);
    stage.check_elasticsearch(&ledger);
}
