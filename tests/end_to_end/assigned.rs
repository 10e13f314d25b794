//! Fixed partitions, without a group: nothing lost, nothing twice, and no second process beside the first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};
use testbed::guard::TestDir;
use testbed::{Outflow, together};

use super::support::{PATIENCE, Stage, stop_cleanly};

/// A sink of a stage whose partitions are fixed.
struct Fixed<'a> {
    stage: &'a Stage<'a>,
    sink: &'static str,
    dir: TestDir,
}

impl<'a> Fixed<'a> {
    fn new(stage: &'a Stage<'a>, sink: &'static str) -> Self {
        let dir = TestDir::new(&format!("{}-fixed", stage.topic)).unwrap();
        Fixed { stage, sink, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The stage's own configuration, with these partitions and workers instead.
    fn config(&self, partitions: &str, workers: usize) -> PathBuf {
        let file = match self.sink {
            "hdfs" => self.stage.hdfs_config(""),
            _ => self.stage.elasticsearch_config(),
        };
        let topic = &self.stage.topic;
        let text = std::fs::read_to_string(file).unwrap();
        let text = text
            .replace(
                &format!("topics = [\"{topic}\"]"),
                &format!("assign = [\"{topic}:{partitions}\"]"),
            )
            .replace("workers = 1", &format!("workers = {workers}"));
        assert!(text.contains("assign = "), "{text}");
        // HDFS's commit log keeps the positions: there it needs no place for them.
        let text = match self.sink {
            "hdfs" => text,
            _ => format!("state_dir = \"{}\"\n{text}", self.dir.path().display()),
        };
        let path = self.path(&format!("{}-{workers}.toml", self.sink));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn start(&self, config: &Path) -> Outflow {
        let port = testbed::ports::free_port().unwrap();
        let admin = format!("127.0.0.1:{port}");
        let args = ["run", "--config", config.to_str().unwrap()];
        let env = [("OUTFLOW_ADMIN__LISTEN", admin.as_str())];
        let log = self.path(&format!("outflow-{port}.log"));
        Outflow::spawn(env!("CARGO_BIN_EXE_outflow"), &args, &env, log)
            .unwrap()
            .with_admin(&admin)
    }

    /// What `outflow check --connect` says, and its exit code.
    fn check(&self, config: &Path) -> (i32, String) {
        let args = ["check", "--connect", "--config", config.to_str().unwrap()];
        let log = self.path(&format!(
            "check-{}.log",
            testbed::ports::free_port().unwrap()
        ));
        let check = Outflow::spawn(env!("CARGO_BIN_EXE_outflow"), &args, &[], log).unwrap();
        (check.wait(PATIENCE).unwrap(), check.log())
    }

    fn run(&self, config: &Path) -> Outflow {
        let outflow = self.start(config);
        outflow.wait_ready(PATIENCE).unwrap();
        outflow
    }

    /// Waits until this many records are final and committed.
    fn wait_committed(&self, outflow: &Outflow, records: usize) {
        let wait = outflow.wait_for("everything is committed", PATIENCE, || {
            let status = outflow.status()?;
            let committed: i64 = partitions(&status)
                .filter_map(|p| p["committed"].as_i64())
                .sum();
            Ok((committed < records as i64).then(|| format!("{committed} of {records}")))
        });
        wait.unwrap();
    }

    /// What the file of positions says in all.
    fn kept(&self) -> i64 {
        let text = std::fs::read(self.path("elasticsearch.positions.json")).unwrap();
        let kept: Value = serde_json::from_slice(&text).unwrap();
        let lines = kept["positions"].as_array().unwrap();
        lines.iter().filter_map(|l| l["offset"].as_i64()).sum()
    }
}

fn partitions(status: &Value) -> impl Iterator<Item = &Value> {
    let workers = status[0]["workers"].as_array().into_iter().flatten();
    workers.flat_map(|w| w["partitions"].as_array().into_iter().flatten())
}

/// How many partitions each worker has.
fn shares(status: &Value) -> Vec<usize> {
    let workers = status[0]["workers"].as_array().unwrap();
    let share = |w: &Value| w["partitions"].as_array().map_or(0, Vec::len);
    workers.iter().map(share).collect()
}

/// Fails if the broker knows a group that this stage could have made.
fn no_group(stage: &Stage<'_>, sink: &str) {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stage.cluster.kafka.bootstrap())
        .set("group.id", "a-look")
        .create()
        .unwrap();
    let list = client.fetch_group_list(None, Duration::from_secs(20));
    let known = list.unwrap();
    let ours = [stage.group(sink), format!("outflow-{sink}-assigned")];
    let found = known
        .groups()
        .iter()
        .find(|g| ours.iter().any(|o| o == g.name()));
    assert!(
        found.is_none(),
        "there is a group {:?}",
        found.map(|g| g.name())
    );
}

#[test]
fn elasticsearch_loses_and_doubles_nothing_though_killed_and_without_a_group() {
    let cluster = together();
    let stage = Stage::new(&cluster, "fixed-es", 4);
    let fixed = Fixed::new(&stage, "elasticsearch");
    let config = fixed.config("0-3", 2);
    let load = stage.load(1_000, 21);
    for round in 1..=4_u64 {
        let outflow = fixed.run(&config);
        // Each round gets further than the one before, and is killed in the middle of its work.
        let before = fixed.path("elasticsearch.positions.json").exists();
        let target = if before { fixed.kept() + 700 } else { 700 };
        fixed.wait_committed(&outflow, usize::try_from(target).unwrap());
        assert_eq!(shares(&outflow.status().unwrap()), [2, 2], "round {round}");
        outflow.kill().unwrap();
    }
    let ledger = load.stop().unwrap();
    let outflow = fixed.run(&config);
    fixed.wait_committed(&outflow, ledger.len());
    let status = outflow.status().unwrap();
    assert_eq!(status[0]["group"], Value::Null);
    assert_eq!(status[0]["lag"], 0, "lag is known without a group");
    stop_cleanly(&outflow);
    assert_eq!(fixed.kept(), ledger.len() as i64);
    stage.check_elasticsearch(&ledger);
    no_group(&stage, "elasticsearch");
}

#[test]
fn hdfs_has_each_record_once_though_killed_and_without_a_group() {
    let cluster = together();
    let stage = Stage::new(&cluster, "fixed-hdfs", 4);
    let fixed = Fixed::new(&stage, "hdfs");
    let config = fixed.config("0-3", 2);
    let load = stage.load(1_000, 22);
    let mut target = 0;
    for _ in 0..4 {
        let outflow = fixed.run(&config);
        target += 700;
        fixed.wait_committed(&outflow, target);
        outflow.kill().unwrap();
    }
    let ledger = load.stop().unwrap();
    let outflow = fixed.run(&config);
    fixed.wait_committed(&outflow, ledger.len());
    stop_cleanly(&outflow);
    stage.check_hdfs(&ledger);
    no_group(&stage, "hdfs");
}

#[test]
fn a_second_process_waits_for_the_positions_and_says_who_has_them() {
    let cluster = together();
    let stage = Stage::new(&cluster, "fixed-lock", 2);
    let fixed = Fixed::new(&stage, "elasticsearch");
    // One worker more than partitions: idle, and no reason not to be ready.
    let config = fixed.config("0-1", 3);
    let first = fixed.run(&config);
    stage.produce(500, 23);
    fixed.wait_committed(&first, 500);
    assert_eq!(shares(&first.status().unwrap()), [1, 1, 0]);
    assert!(
        first
            .log()
            .contains("idle: 2 fixed partitions are shared by 3 workers")
    );

    let second = fixed.start(&config);
    let said = format!("another process (pid {}) keeps the positions", first.pid());
    let told = second.wait_for("it says who has them", PATIENCE, || {
        let ready = second.http()?.get("/readyz");
        let answer = ready.map_or_else(|e| e.to_string(), |ready| ready.text());
        Ok((!answer.contains(&said)).then_some(answer))
    });
    told.unwrap();
    assert_eq!(
        shares(&second.status().unwrap()),
        [0, 0, 0],
        "it reads nothing"
    );
    stop_cleanly(&first);
    second.wait_ready(PATIENCE).unwrap();
    stage.produce(500, 24);
    fixed.wait_committed(&second, 1_000);
    stop_cleanly(&second);
    let kafka = cluster.kafka.client();
    let ledger = testbed::ledger::ledger_of_topic(&kafka, &stage.topic).unwrap();
    stage.check_elasticsearch(&ledger);
}

#[test]
fn a_second_process_on_hdfs_stops_the_first_for_good_and_a_person_gives_it_back() {
    let cluster = together();
    let stage = Stage::new(&cluster, "fixed-fence", 1);
    let fixed = Fixed::new(&stage, "hdfs");
    let config = fixed.config("0", 1);
    let first = fixed.run(&config);
    let load = stage.load(300, 25);
    fixed.wait_committed(&first, 500);

    let second = fixed.run(&config);
    let told = first.wait_for("the first says that it was fenced", PATIENCE, || {
        let status = first.status()?;
        let (state, reason) = (&status[0]["state"], status[0]["reason"].to_string());
        let whose = reason.contains(&format!("-{}-", second.pid()));
        let said = state == "stuck" && whose && reason.contains("release the partition");
        Ok((!said).then(|| format!("{state}: {reason}")))
    });
    told.unwrap();
    fixed.wait_committed(&second, 1_500);
    let state = partitions(&first.status().unwrap()).next().unwrap()["state"].clone();
    assert_eq!(state, "quarantined", "it doesn't come back by itself");

    stop_cleanly(&second);
    let release = format!("/api/v1/sinks/hdfs/partitions/{}/0/release", stage.topic);
    let answer = first
        .http()
        .unwrap()
        .post_json(&release, &json!({}))
        .unwrap();
    assert_eq!(answer["released"], true, "{answer}");
    let ledger = load.stop().unwrap();
    fixed.wait_committed(&first, ledger.len());
    stop_cleanly(&first);
    stage.check_hdfs(&ledger);
}

#[test]
fn check_says_which_partitions_arent_there_and_where_the_others_stand() {
    let cluster = together();
    let stage = Stage::new(&cluster, "fixed-check", 2);
    let fixed = Fixed::new(&stage, "elasticsearch");
    let config = fixed.config("0-1", 1);
    let (code, said) = fixed.check(&config);
    assert!(
        said.contains("are new and start at the oldest record"),
        "{said}"
    );
    assert_eq!(code, 0, "{said}");

    let outflow = fixed.run(&config);
    stage.produce(500, 26);
    fixed.wait_committed(&outflow, 500);
    let (code, said) = fixed.check(&config);
    let using = format!(
        "are known for 2 of 2 partitions; process {} is using them",
        outflow.pid()
    );
    assert!(said.contains(&using), "{said}");
    assert_eq!(code, 0, "{said}");
    stop_cleanly(&outflow);

    let (code, said) = fixed.check(&fixed.config("0-1,7", 1));
    assert!(
        said.contains("has 2 partitions, and kafka.assign names 7"),
        "{said}"
    );
    assert!(said.contains("are known for 2 of 2 partitions"), "{said}");
    assert_eq!(code, 1, "{said}");

    // Damaged positions are said here, before anything is read, and by the process itself.
    std::fs::write(fixed.path("elasticsearch.positions.json"), "{").unwrap();
    let config = fixed.config("0-1", 1);
    let (code, said) = fixed.check(&config);
    assert!(said.contains("are damaged"), "{said}");
    assert_eq!(code, 1, "{said}");
    let outflow = fixed.start(&config);
    let told = outflow.wait_for("it says so", PATIENCE, || {
        let log = outflow.log();
        Ok((!log.contains("are damaged")).then_some(log))
    });
    told.unwrap();
    no_group(&stage, "elasticsearch");
}
