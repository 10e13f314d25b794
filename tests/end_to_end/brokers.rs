//! Three brokers, one of which dies.

use testbed::guard::wait_until;
use testbed::{Kafka, KafkaOptions, exclusive};

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
