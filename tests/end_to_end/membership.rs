//! Never a needless rebalance: polling and heartbeats go on whatever the sink does, and static members come back
//! to what they had.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testbed::guard::{TestDir, wait_until};
use testbed::{Cluster, Generator, Outflow, Producer, Stub, exclusive};

use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

/// An outage that is far longer than both limits below.
const OUTAGE: Duration = Duration::from_secs(30);

#[test]
fn an_outage_three_times_the_poll_interval_under_back_pressure_causes_no_rebalance() {
    let cluster = exclusive();
    let mut stage = Stage::new(&cluster, "long-outage", 4);
    stage.properties =
        "\"max.poll.interval.ms\" = \"10500\"\n\"heartbeat.interval.ms\" = \"1000\"".into();
    stage.top = "memory = \"32MiB\"".into();
    stage.elasticsearch_more = "max_batch_bytes = \"1MiB\"".into();
    let outflow = stage.run(Sinks::Elasticsearch);
    // The first assignment counts, too, a moment after it is there.
    let joined = |outflow: &Outflow| match num_rebalances(outflow) {
        0.0 => Err("none yet".to_owned()),
        num => Ok(num),
    };
    let counted = || joined(&outflow);
    let rebalances = wait_until("the first assignment is counted", PATIENCE, counted).unwrap();
    cluster.elasticsearch.node().kill().unwrap();
    // 80 MB: more than twice what the process may hold.
    let producer = Producer::new(&cluster.kafka.bootstrap()).unwrap();
    let mut generator = Generator::new(&stage.topic, 60)
        .keys(50)
        .padding(1_900..2_000);
    producer
        .produce(&stage.topic, &mut generator, 40_000)
        .unwrap();
    // No wait for a condition: the span of the outage is the fault.
    std::thread::sleep(OUTAGE);
    let taken = outflow.metric("outflow_records_total", &[]).unwrap();
    assert!(
        taken < Some(20_000.0),
        "{taken:?} records were taken, there was no back-pressure"
    );
    assert_eq!(num_rebalances(&outflow), rebalances, "{}", outflow.log());
    cluster.elasticsearch.node().start().unwrap();
    stage.wait_caught_up(&outflow, "elasticsearch");
    assert_eq!(num_rebalances(&outflow), rebalances, "{}", outflow.log());
    stop_cleanly(&outflow);
    stage.check_elasticsearch(&producer.ledger());
}

fn num_rebalances(outflow: &Outflow) -> f64 {
    let num = outflow.metric("outflow_rebalances_total", &[]);
    num.unwrap().unwrap_or_default()
}

const NUM_PARTITIONS: usize = 1_000;

/// Members of one group with ids of their own, into a sink that takes everything.
struct Members<'a> {
    cluster: &'a Cluster,
    stub: Stub,
    topic: String,
    dir: TestDir,
}

impl Members<'_> {
    fn config(&self, member: usize) -> PathBuf {
        let state = self.dir.path().join(format!("state-{member}"));
        std::fs::create_dir_all(&state).unwrap();
        let text = format!(
            "name = \"member\"\nworkers = 1\nmemory = \"64MiB\"\nstate_dir = {state:?}\n\
             [kafka]\nbootstrap_servers = \"{}\"\ntopics = [\"{topic}\"]\ngroup_id = \"{topic}\"\n\
             group_instance_id = \"{topic}-{member}\"\n[rejected]\npolicy = \"skip\"\n\
             [elasticsearch]\nurls = [\"{}\"]\nindex = \"x\"\n",
            self.cluster.kafka.bootstrap(),
            self.stub.url(),
            topic = self.topic,
        );
        let path = self.dir.path().join(format!("member-{member}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn start(&self, member: usize) -> Outflow {
        let config = self.config(member);
        let admin = format!("127.0.0.1:{}", testbed::ports::free_port().unwrap());
        let env = [("OUTFLOW_ADMIN__LISTEN", admin.as_str())];
        let args = ["run", "--config", config.to_str().unwrap()];
        let log = self.dir.path().join(format!("member-{member}.log"));
        let binary = env!("CARGO_BIN_EXE_outflow");
        let outflow = Outflow::spawn(binary, &args, &env, log).unwrap();
        outflow.with_admin(&admin)
    }
}

fn holding(outflow: &Outflow) -> BTreeSet<i64> {
    let status = outflow.status().unwrap_or_default();
    let partitions = status[0]["workers"][0]["partitions"].as_array().cloned();
    let partitions = partitions.unwrap_or_default();
    let numbers = partitions.iter().filter_map(|p| p["partition"].as_i64());
    numbers.collect()
}

fn wait_balanced(members: &[Outflow]) -> Vec<BTreeSet<i64>> {
    wait_until("the members share all partitions", PATIENCE, || {
        let held: Vec<_> = members.iter().map(holding).collect();
        let sizes: Vec<_> = held.iter().map(BTreeSet::len).collect();
        let is_fair = sizes
            .iter()
            .all(|size| size.abs_diff(NUM_PARTITIONS / 3) <= 1);
        match is_fair && sizes.iter().sum::<usize>() == NUM_PARTITIONS {
            true => Ok(held),
            false => Err(format!("{sizes:?}")),
        }
    })
    .unwrap()
}

#[test]
fn a_rolling_restart_of_static_members_with_a_thousand_partitions_causes_no_rebalance() {
    let cluster = exclusive();
    let dir = TestDir::new("static").unwrap();
    let topic = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    let kafka = cluster.kafka.client();
    kafka.create_topic(&topic, NUM_PARTITIONS, &[]).unwrap();
    let all = Members {
        cluster: &cluster,
        stub: Stub::start().unwrap(),
        topic: topic.clone(),
        dir,
    };
    let producer = Producer::new(&cluster.kafka.bootstrap()).unwrap();
    let num_partitions = i32::try_from(NUM_PARTITIONS).unwrap();
    let mut generator = Generator::new(&topic, 61).partitions(num_partitions);
    producer
        .produce(&topic, &mut generator, 2 * NUM_PARTITIONS)
        .unwrap();
    let began = Instant::now();
    let mut members: Vec<_> = (0..3).map(|member| all.start(member)).collect();
    let held = wait_balanced(&members);
    let _ = writeln!(std::io::stderr(), "shared after {:?}", began.elapsed());

    for member in 0..3 {
        let before: Vec<_> = members.iter().map(num_rebalances).collect();
        stop_cleanly(&members[member]);
        producer
            .produce(&topic, &mut generator, NUM_PARTITIONS)
            .unwrap();
        let began = Instant::now();
        members[member] = all.start(member);
        wait_until("the member has what it had", PATIENCE, || {
            match holding(&members[member]) {
                now if now == held[member] => Ok(()),
                now => Err(format!("{} of {}", now.len(), held[member].len())),
            }
        })
        .unwrap();
        let _ = writeln!(std::io::stderr(), "back after {:?}", began.elapsed());
        for (other, before) in before
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != member)
        {
            assert_eq!(
                num_rebalances(&members[other]),
                *before,
                "member {other} when {member} was restarted:\n{}",
                members[other].log()
            );
            assert_eq!(holding(&members[other]), held[other]);
        }
    }
    kafka.wait_for_no_lag(&topic, &topic, PATIENCE).unwrap();
    members.iter().for_each(stop_cleanly);
    let mut arrived: BTreeMap<(i32, i64), usize> = BTreeMap::new();
    for arrival in all.stub.take() {
        *arrived
            .entry((arrival.partition, arrival.offset))
            .or_default() += 1;
    }
    let ledger = producer.ledger();
    let missing = ledger
        .iter()
        .filter(|e| !arrived.contains_key(&(e.partition, e.offset)))
        .count();
    assert_eq!((ledger.len(), missing), (5 * NUM_PARTITIONS, 0));
    let again = arrived.values().filter(|times| **times > 1).count();
    assert_eq!(again, 0, "clean restarts deliver nothing again");
    kafka.delete_topic(&topic).unwrap();
}
