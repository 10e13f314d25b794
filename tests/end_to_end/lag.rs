//! `outflow lag`: what Kafka's own tool says, and what a script can do with it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use testbed::guard::wait_until;
use testbed::{Outflow, exclusive};

use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

/// `outflow lag` to its end.
fn lag(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outflow"));
    let output = command.arg("lag").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or(-1);
    let (out, err) = (text(output.stdout), text(output.stderr));
    println!("$ outflow lag {}\n{out}{err}({code})", args.join(" "));
    (code, out, err)
}

fn lag_json(args: &[&str]) -> (i32, Value) {
    let (code, out, err) = lag(&[args, &["--json"]].concat());
    let value = serde_json::from_str(&out);
    (
        code,
        value.unwrap_or_else(|why| panic!("{why}: {out}{err}")),
    )
}

/// Committed offset, log end and lag by partition.
type Offsets = BTreeMap<i64, [i64; 3]>;

fn offsets(group: &Value) -> Offsets {
    let partitions = group["partitions"].as_array().unwrap().iter();
    let three = |p: &Value| ["committed", "log_end", "lag"].map(|key| p[key].as_i64().unwrap());
    partitions
        .map(|p| (p["partition"].as_i64().unwrap(), three(p)))
        .collect()
}

/// What `kafka-consumer-groups --describe` says: its third to sixth columns.
fn offsets_of_kafkas_tool(stage: &Stage<'_>, group: &str) -> Offsets {
    // On a busy machine it gives up.
    let describe = || stage.kafka.describe_group(group).map_err(|e| e.to_string());
    let text = wait_until("kafka-consumer-groups answers", PATIENCE, describe).unwrap();
    println!("$ kafka-consumer-groups --describe --group {group}\n{text}");
    let lines = text.lines().filter(|line| line.starts_with(group));
    let cells = lines.map(|line| {
        let cells: Vec<_> = line.split_whitespace().skip(2).take(4).collect();
        let numbers: Vec<i64> = cells.iter().map(|cell| cell.parse().unwrap()).collect();
        (numbers[0], [numbers[1], numbers[2], numbers[3]])
    });
    cells.collect()
}

/// Until a process says this of its sink's group.
fn wait_for_verdict(outflow: &Outflow, verdict: &str) {
    wait_until(&format!("the group is {verdict}"), PATIENCE, || {
        let status = outflow.status().map_err(|error| error.to_string())?;
        match status[0]["verdict"]["status"] == verdict && status[0]["verdict"]["lag"] == 0 {
            true => Ok(()),
            false => Err(format!("{status:#}")),
        }
    })
    .unwrap();
}

#[test]
fn what_lag_says_is_what_kafkas_own_tool_says() {
    // What is said of all groups must be said of this one.
    let cluster = exclusive();
    let stage = Stage::new(&cluster, "lags", 3);
    let (config, group) = (stage.elasticsearch_config(), stage.group("elasticsearch"));
    let config = config.to_str().unwrap();
    let monitor = stage.dir().join("monitor.toml");
    let text = format!(
        "[[cluster]]\nname = \"here\"\nbootstrap_servers = \"{}\"\n",
        stage.kafka.bootstrap()
    );
    std::fs::write(&monitor, text).unwrap();
    let monitor = monitor.to_str().unwrap();
    stage.produce(300, 41);
    let every_second = [("OUTFLOW_LAG__OFFSET_REFRESH", "1s")];
    let outflow = stage.run_with(Sinks::Elasticsearch, &every_second);
    stage.wait_caught_up(&outflow, "elasticsearch");
    wait_for_verdict(&outflow, "OK");

    // A running process, with what it knows of its sink.
    let url = outflow.http().unwrap().base().to_owned();
    let (code, said) = lag_json(&["--url", &url, "--partitions"]);
    let row = &said["groups"][0];
    assert_eq!(
        (code, &said["verdict"]),
        (0, &Value::from("all_ok")),
        "{said:#}"
    );
    assert_eq!(
        (&row["status"], &row["sink"]["state"]),
        (&"OK".into(), &"running".into())
    );
    let expected = offsets_of_kafkas_tool(&stage, &group);
    assert_eq!(expected.len(), 3);
    assert_eq!(offsets(row), expected);
    let (code, text, _) = lag(&["--url", &url, "--sink", "elasticsearch"]);
    assert_eq!(code, 0);
    for word in ["VERDICT", "CATCH-UP", &group, "running", "OK", "done"] {
        assert!(text.contains(word), "{word} isn't in\n{text}");
    }
    let (code, text, why) = lag(&["--url", &url, "--group", "nobody"]);
    assert_eq!((code, &*text), (2, ""), "{why}");
    assert!(why.contains("none that was asked for"), "{why}");

    // The brokers, after a look of some seconds: the sink goes on committing, and that is OK.
    let load = stage.load(50, 42);
    let (code, said) = lag_json(&["--config", config, "--watch", "4"]);
    assert_eq!(
        (code, &said["groups"][0]["status"]),
        (0, &Value::from("OK")),
        "{said:#}"
    );
    let mut num = load.stop().unwrap().iter().count();
    stage.wait_caught_up(&outflow, "elasticsearch");
    stop_cleanly(&outflow);
    num += 300;

    // Nobody reads any more: 60 are left, whoever is asked.
    stage.produce(60, 43);
    let expected = offsets_of_kafkas_tool(&stage, &group);
    let sum = |place: usize| expected.values().map(|three| three[place]).sum::<i64>();
    assert_eq!((sum(0), sum(2)), (num as i64, 60));
    for file in [config, monitor] {
        let which = ["--config", file, "--group", &group, "--partitions"];
        let (code, said) = lag_json(&which);
        assert_eq!(code, 2, "offsets as of now are no verdict: {said:#}");
        assert_eq!(said["verdict"], "not_judged");
        let row = &said["groups"][0];
        assert_eq!(offsets(row), expected, "{file}");
        assert!(
            row["reason"]
                .as_str()
                .unwrap()
                .contains("a verdict needs a window")
        );
        for (most, expected) in [("60", 0), ("59", 1)] {
            let (code, _, why) = lag(&[&which[..], &["--max-lag", most]].concat());
            assert_eq!(code, expected, "{why}");
            assert_eq!(
                why.contains("60 records behind, and --max-lag is 59"),
                code == 1,
                "{why}"
            );
        }
        let (code, said) = lag_json(&[&which[..], &["--topic", "elsewhere"]].concat());
        assert_eq!(
            (code, said["groups"].as_array().map(Vec::len)),
            (2, Some(0))
        );
    }
    // How old the oldest is, is known where it can be read.
    let (code, said) = lag_json(&["--config", config, "--max-time-lag", "1h"]);
    assert_eq!(code, 0, "{said:#}");
    let (code, said) = lag_json(&["--config", config, "--max-time-lag", "0s"]);
    assert_eq!(code, 1, "{said:#}");

    let (code, _, why) = lag(&["--url", &url]);
    assert_eq!(code, 2, "nobody answers any more");
    assert!(
        why.contains("Connection refused") && why.contains("is outflow running there"),
        "{why}"
    );
}
