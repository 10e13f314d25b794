//! `outflow group` and `outflow adopt`, against real groups and real logs.

use std::process::Command;

use serde_json::Value;
use testbed::guard::wait_until;
use testbed::together;

use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

/// Runs the binary to its end.
fn outflow(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outflow"));
    let output = command.args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or(-1);
    (code, text(output.stdout), text(output.stderr))
}

/// Runs it, and it must end well.
#[track_caller]
fn outflow_ok(args: &[&str]) -> String {
    let (code, out, err) = outflow(args);
    assert_eq!(code, 0, "{args:?}\n{out}\n{err}");
    out
}

fn describe(config: &str) -> Value {
    let out = outflow_ok(&["group", "describe", "--json", "--config", config]);
    let mut all: Value = serde_json::from_str(&out).unwrap();
    all[0].take()
}

fn sum(description: &Value, key: &str) -> i64 {
    let partitions = description["partitions"].as_array().unwrap();
    partitions.iter().filter_map(|p| p[key].as_i64()).sum()
}

/// Until the group has forgotten its members.
fn wait_empty(config: &str) {
    wait_until("the group is empty", PATIENCE, || {
        match &describe(config)["members"] {
            Value::Array(members) if members.is_empty() => Ok(()),
            members => Err(members.to_string()),
        }
    })
    .unwrap();
}

#[test]
fn what_describe_says_is_what_kafka_and_hdfs_say() {
    let cluster = together();
    let stage = Stage::new(&cluster, "describes", 3);
    let kafka = cluster.kafka.client();
    let (es, hdfs) = (stage.elasticsearch_config(), stage.hdfs_config(""));
    let (es, hdfs) = (es.to_str().unwrap(), hdfs.to_str().unwrap());

    let none = describe(es);
    assert_eq!(none["state"], "Dead", "{none:#}");
    assert_eq!(none["partitions"].as_array().map(Vec::len), Some(3));
    assert!(
        none["partitions"][0]["current_offset"].is_null(),
        "{none:#}"
    );

    stage.produce(300, 1);
    let process = stage.run(Sinks::Both);
    stage.wait_caught_up(&process, "elasticsearch");
    stage.wait_caught_up(&process, "hdfs");
    for (config, sink) in [(es, "elasticsearch"), (hdfs, "hdfs")] {
        let running = describe(config);
        assert_eq!(running["state"], "Stable", "{running:#}");
        assert_eq!(running["assignor"], "cooperative-sticky");
        assert_eq!(running["members"][0]["partitions"], 3, "{running:#}");
        assert_eq!((sum(&running, "lag"), sum(&running, "time_lag_ms")), (0, 0));
        for partition in running["partitions"].as_array().unwrap() {
            assert_eq!(
                partition["consumer_id"],
                running["members"][0]["consumer_id"]
            );
            assert_eq!(partition["client_id"], format!("outflow-{sink}-0"));
            let host = partition["host"].as_str().unwrap();
            assert!(host.contains("127.0.0.1"), "{host}");
        }
        let text = outflow_ok(&["group", "describe", "--config", config]);
        for word in ["CURRENT-OFFSET", "LOG-END-OFFSET", "CONSUMER-ID", "Stable"] {
            assert!(text.contains(word), "{word} isn't in\n{text}");
        }
    }
    stop_cleanly(&process);

    stage.produce(60, 2);
    for (config, sink) in [(es, "elasticsearch"), (hdfs, "hdfs")] {
        let stopped = describe(config);
        assert_eq!(stopped["state"], "Empty");
        let committed = kafka.committed(&stage.group(sink), &stage.topic).unwrap();
        let marks = kafka.watermarks(&stage.topic).unwrap();
        let mut lag = 0;
        for partition in stopped["partitions"].as_array().unwrap() {
            let number = partition["partition"].as_i64().unwrap() as i32;
            let (at, end) = (committed[&number], marks[&number].1);
            assert_eq!(partition["current_offset"], at, "{partition}");
            assert_eq!(partition["log_end_offset"], end, "{partition}");
            assert_eq!(partition["lag"], end - at, "{partition}");
            assert!(partition["consumer_id"].is_null(), "{partition}");
            assert!(partition["time_lag_ms"].is_i64(), "{partition}");
            if sink == "hdfs" {
                assert_eq!(partition["hdfs"]["end"], at, "{partition}");
                assert_eq!(partition["hdfs"]["agrees"], true, "{partition}");
            }
            lag += end - at;
        }
        assert_eq!(lag, 60);
    }
}

#[test]
fn a_reset_is_refused_while_somebody_reads_and_makes_no_more_documents() {
    let cluster = together();
    let stage = Stage::new(&cluster, "resets-es", 2);
    let config = stage.elasticsearch_config();
    let config = config.to_str().unwrap();
    let reset = ["group", "reset", "--config", config, "--to"];
    let ledger = stage.produce(400, 3);
    let process = stage.run(Sinks::Elasticsearch);
    stage.wait_caught_up(&process, "elasticsearch");
    let (code, _, err) = outflow(&[&reset[..], &["earliest", "--yes"]].concat());
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains("has 1 members") && err.contains("outflow-elasticsearch-0 at"),
        "{err}"
    );
    assert_eq!(stage.committed("elasticsearch"), 400);
    stop_cleanly(&process);

    let shown = outflow_ok(&[&reset[..], &["earliest"]].concat());
    assert!(
        shown.contains("writes") && shown.contains("Nothing was changed"),
        "{shown}"
    );
    assert_eq!(stage.committed("elasticsearch"), 400);
    let (code, _, err) = outflow(&[&reset[..], &["earliest", "--topic", "other"]].concat());
    assert!(
        code == 1 && err.contains("doesn't read this topic"),
        "{err}"
    );
    let out = outflow_ok(&[&reset[..], &["999999"]].concat());
    assert!(out.contains("instead of 999999"), "{out}");

    let one = format!("{}:1", stage.topic);
    outflow_ok(&[&reset[..], &["earliest", "--topic", &one, "--yes"]].concat());
    let kafka = cluster.kafka.client();
    let group = stage.group("elasticsearch");
    let committed = kafka.committed(&group, &stage.topic).unwrap();
    let marks = kafka.watermarks(&stage.topic).unwrap();
    assert_eq!((committed[&0], committed[&1]), (marks[&0].1, 0));
    outflow_ok(&[&reset[..], &["by_duration:1d", "--yes"]].concat());
    assert_eq!(stage.committed("elasticsearch"), 0);

    let process = stage.run(Sinks::Elasticsearch);
    stage.wait_caught_up(&process, "elasticsearch");
    stop_cleanly(&process);
    stage.check_elasticsearch(&ledger);
}

#[test]
fn hdfs_goes_back_and_doubles_nothing_and_forward_and_skips_what_was_said() {
    let cluster = together();
    let stage = Stage::new(&cluster, "resets-hdfs", 2);
    let config = stage.hdfs_config("");
    let config = config.to_str().unwrap();
    let reset = ["group", "reset", "--config", config, "--to"];
    let ledger = stage.produce(2_000, 4);
    let process = stage.run(Sinks::Hdfs);
    stage.wait_caught_up(&process, "hdfs");
    stop_cleanly(&process);
    let files = || cluster.hdfs.files().committed_paths(&stage.base).unwrap();
    let before = files();

    // In the middle of the first file: back to its beginning.
    let shown = outflow_ok(&[&reset[..], &["17"]].concat());
    assert!(
        shown.contains("0 instead of 17") && shown.contains("are replaced"),
        "{shown}"
    );
    assert_eq!(files(), before);
    outflow_ok(&[&reset[..], &["17", "--yes"]].concat());
    assert_eq!(files(), Vec::<String>::new(), "all are replaced");
    assert_eq!(stage.committed("hdfs"), 0);
    let description = describe(config);
    assert_eq!(description["partitions"][0]["hdfs"]["end"], 0);
    assert_eq!(description["partitions"][0]["hdfs"]["agrees"], true);

    let process = stage.run(Sinks::Hdfs);
    stage.wait_caught_up(&process, "hdfs");
    stop_cleanly(&process);
    stage.check_hdfs(&ledger);

    // Forward: what was skipped is in no file, and all that follows is.
    stage.produce(100, 5);
    outflow_ok(&[&reset[..], &["latest", "--yes"]].concat());
    let more = stage.produce(500, 6);
    let process = stage.run(Sinks::Hdfs);
    stage.wait_caught_up(&process, "hdfs");
    stop_cleanly(&process);
    let all: usize = cluster
        .hdfs
        .files()
        .committed(&stage.base)
        .unwrap()
        .iter()
        .map(|file| file.lines.len())
        .sum();
    assert_eq!(all, ledger.len() + more.len());
    let told = outflow_ok(&["verify", "--deep", "--config", config]);
    assert!(told.contains("left out by a person"), "{told}");
}

#[test]
fn a_log_of_a_topic_that_was_created_again_is_adopted_and_its_files_stay() {
    let cluster = together();
    let stage = Stage::new(&cluster, "adopts-topic", 1);
    let config = stage.hdfs_config("");
    let config = config.to_str().unwrap();
    stage.produce(700, 7);
    let process = stage.run(Sinks::Hdfs);
    stage.wait_caught_up(&process, "hdfs");
    stop_cleanly(&process);
    let kafka = cluster.kafka.client();
    kafka.delete_topic(&stage.topic).unwrap();
    kafka.create_topic(&stage.topic, 1, &[]).unwrap();
    let ledger = stage.produce(900, 8);

    let adopt = ["adopt", "--config", config];
    let (code, _, err) = outflow(&adopt);
    assert!(code == 1 && err.contains("say where to go on"), "{err}");
    let from_start = [&adopt[..], &["--to", "earliest"]].concat();
    let (code, _, err) = outflow(&from_start);
    assert!(code == 1 && err.contains("hdfs dfs -mv"), "{err}");
    // What it says to do.
    let files = cluster.hdfs.files();
    let data = format!("{}/{}", stage.base, stage.topic);
    for path in files.committed_paths(&stage.base).unwrap() {
        assert!(path.starts_with(&data), "{path}");
    }
    files.delete(&data).unwrap();
    let shown = outflow_ok(&from_start);
    assert!(
        shown.contains("the log was of") && shown.contains("Nothing was changed"),
        "{shown}"
    );
    outflow_ok(&[&from_start[..], &["--yes"]].concat());
    let process = stage.run(Sinks::Hdfs);
    stage.wait_caught_up(&process, "hdfs");
    stop_cleanly(&process);
    stage.check_hdfs(&ledger);
    assert!(outflow_ok(&adopt).contains("Nothing to adopt"));
    outflow_ok(&["verify", "--deep", "--config", config]);
}

#[test]
fn a_renamed_group_adopts_the_logs_and_goes_on_where_they_end() {
    let cluster = together();
    let stage = Stage::new(&cluster, "adopts-group", 2);
    let mut ledger = stage.produce(600, 9);
    let process = stage.run(Sinks::Hdfs);
    stage.wait_caught_up(&process, "hdfs");
    stop_cleanly(&process);
    let config = stage.hdfs_config("");
    let renamed = format!("kafka.group_id={}-renamed", stage.group("hdfs"));
    let arguments = ["--config", config.to_str().unwrap(), "--set", &renamed];
    let note = outflow_ok(&[&["group", "describe"][..], &arguments].concat());
    assert!(note.contains("outflow adopt"), "{note}");
    let reset = [&["group", "reset", "--to", "latest"][..], &arguments].concat();
    let (code, _, err) = outflow(&reset);
    assert!(code == 1 && err.contains("outflow adopt"), "{err}");
    outflow_ok(&[&["adopt", "--yes"][..], &arguments].concat());

    ledger.merge(stage.produce(300, 10));
    let process = stage.spawn(&arguments);
    process.wait_ready(PATIENCE).unwrap();
    let group = format!("{}-renamed", stage.group("hdfs"));
    cluster
        .kafka
        .client()
        .wait_for_no_lag(&group, &stage.topic, PATIENCE)
        .unwrap();
    stop_cleanly(&process);
    stage.check_hdfs(&ledger);
    outflow_ok(&[&["verify", "--deep"][..], &arguments].concat());
}

#[test]
fn a_static_member_that_leaves_for_good_gives_its_partitions_away() {
    let cluster = together();
    let stage = Stage::new(&cluster, "leaves", 4);
    let path = stage.elasticsearch_config();
    let text = std::fs::read_to_string(&path).unwrap();
    // Longer than the test: the broker would drop it by itself otherwise.
    let patient = text.replace("\"6000\"", "\"180000\"");
    std::fs::write(&path, patient).unwrap();
    let config = path.to_str().unwrap();
    let as_id = |id: &str| format!("kafka.group_instance_id={id}");
    let start = |id: &str| stage.spawn(&["--config", config, "--set", &as_id(id)]);
    let (stays, leaves) = (start("stays"), start("leaves"));
    let holds = |id: &str| {
        let description = describe(config);
        let members = description["members"].as_array().unwrap();
        let member = members.iter().find(|m| m["instance_id"] == id);
        member.and_then(|m| m["partitions"].as_i64())
    };
    let wait_for = |id: &str, wanted: Option<i64>| {
        wait_until(
            &format!("{id} holds {wanted:?}"),
            PATIENCE,
            || match holds(id) {
                held if held == wanted => Ok(()),
                held => Err(format!("{held:?}")),
            },
        )
        .unwrap();
    };
    wait_for("stays", Some(2));
    wait_for("leaves", Some(2));
    leaves.kill().unwrap();

    let command = ["group", "leave", "--config", config, "--instance-id"];
    let (code, _, err) = outflow(&[&command[..], &["nobody"]].concat());
    assert!(code == 1 && err.contains("no member"), "{err}");
    let shown = outflow_ok(&[&command[..], &["leaves"]].concat());
    assert!(shown.contains("Nothing was changed"), "{shown}");
    assert_eq!(holds("leaves"), Some(2));
    let began = std::time::Instant::now();
    let out = outflow_ok(&[&command[..], &["leaves", "--yes"]].concat());
    println!("{out}after {:?}", began.elapsed());
    wait_for("leaves", None);
    wait_for("stays", Some(4));
    println!("all given away after {:?}", began.elapsed());
    let (code, _, err) = outflow(&[&command[..], &["stays", "--yes"]].concat());
    assert!(
        code == 1 && err.contains("used by another process"),
        "{err}"
    );
    assert_eq!(holds("stays"), Some(4));
    stop_cleanly(&stays);
    outflow_ok(&[&command[..], &["stays", "--yes"]].concat());
    wait_empty(config);
}

#[test]
fn under_the_consumer_protocol_a_static_member_that_leaves_gives_its_partitions_away() {
    let cluster = together();
    let stage = Stage::new(&cluster, "leaves-848", 4);
    let path = stage.elasticsearch_config();
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("\"session.timeout.ms\" = \"6000\"\n", "");
    std::fs::write(&path, text).unwrap();
    let config = path.to_str().unwrap();
    let as_id = |id: &str| format!("kafka.group_instance_id={id}");
    let protocol = ["--set", "kafka.group_protocol=consumer"];
    let files = [&["--config", config][..], &protocol].concat();
    let start = |id: &str| stage.spawn(&[&files[..], &["--set", &as_id(id)]].concat());
    let holds = |id: &str| {
        let description = describe(config);
        let members = description["members"].as_array().unwrap();
        let member = members.iter().find(|m| m["instance_id"] == id);
        member.and_then(|m| m["partitions"].as_i64())
    };
    let (stays, leaves) = (start("stays"), start("leaves"));
    let wait_for = |id: &str, wanted: i64| {
        wait_until(&format!("{id} holds {wanted}"), PATIENCE, || {
            match holds(id) {
                Some(held) if held == wanted => Ok(()),
                held => Err(format!("{held:?}")),
            }
        })
        .unwrap();
    };
    wait_for("stays", 2);
    wait_for("leaves", 2);
    stop_cleanly(&leaves);
    assert_eq!(holds("leaves"), Some(2), "its place is kept for it");
    let began = std::time::Instant::now();
    let leave = ["group", "leave", "--instance-id", "leaves", "--yes"];
    let out = outflow_ok(&[&leave[..], &files].concat());
    println!("{out}after {:?}", began.elapsed());
    wait_for("stays", 4);
    println!("all given away after {:?}", began.elapsed());
    stop_cleanly(&stays);
}

#[test]
fn fixed_partitions_are_described_and_moved_where_their_positions_are_kept() {
    let cluster = together();
    let stage = Stage::new(&cluster, "fixed-group", 3);
    let state = tempfile::tempdir().unwrap();
    let assigned = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let topics = format!("topics = [\"{}\"]", stage.topic);
        let fixed = format!("assign = [\"{}:0,2\"]", stage.topic);
        let place = format!("state_dir = \"{}\"\n", state.path().display());
        assert!(text.contains(&topics));
        std::fs::write(&path, place + &text.replace(&topics, &fixed)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ledger = stage.produce(600, 11);
    let fixed = ledger.filtered(|entry| entry.partition != 1);
    for (config, sink) in [
        (assigned(stage.elasticsearch_config()), "elasticsearch"),
        (assigned(stage.hdfs_config("")), "hdfs"),
    ] {
        let process = stage.spawn(&["--config", &config]);
        process.wait_ready(PATIENCE).unwrap();
        let at = |description: &Value| sum(description, "current_offset");
        wait_until("all is final", PATIENCE, || {
            let description = describe(&config);
            match at(&description) {
                at if at == fixed.len() as i64 => Ok(()),
                at => Err(format!("{at}: {description:#}")),
            }
        })
        .unwrap();
        let reset = [
            "group", "reset", "--config", &config, "--to", "earliest", "--yes",
        ];
        if sink == "elasticsearch" {
            let (code, _, err) = outflow(&reset);
            assert!(code == 1 && err.contains("keeps their positions"), "{err}");
        }
        let text = outflow_ok(&["group", "describe", "--config", &config]);
        assert!(text.contains("fixed partitions"), "{text}");
        stop_cleanly(&process);
        outflow_ok(&reset);
        assert_eq!(at(&describe(&config)), 0);
        let process = stage.spawn(&["--config", &config]);
        wait_until("all is final again", PATIENCE, || {
            match at(&describe(&config)) {
                at if at == fixed.len() as i64 => Ok(()),
                at => Err(at.to_string()),
            }
        })
        .unwrap();
        stop_cleanly(&process);
        let told = outflow_ok(&["verify", "--deep", "--config", &config]);
        assert!(
            told.contains("Everything that can be judged is there."),
            "{told}"
        );
    }
    stage.check_elasticsearch(&fixed);
    stage.check_hdfs(&fixed);
}
