//! `outflow deadletters`: what was refused is looked at, mended and replayed, and stands there once.

use std::process::Command;

use serde_json::{Value, json};
use testbed::guard::wait_until;
use testbed::{Entry, Ids, Ledger, Outgoing, Producer, check_elasticsearch, check_hdfs, together};

use super::support::{PATIENCE, Sinks, Stage, stop_cleanly};

/// `outflow deadletters` to its end.
fn deadletters(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outflow"));
    let output = command.arg("deadletters").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or(-1);
    let (out, err) = (text(output.stdout), text(output.stderr));
    println!("$ outflow deadletters {}\n{out}{err}", args.join(" "));
    (code, out, err)
}

#[track_caller]
fn ok(args: &[&str]) -> String {
    let (code, out, err) = deadletters(args);
    assert_eq!(code, 0, "{args:?}\n{out}\n{err}");
    out
}

fn list(config: &str) -> Value {
    serde_json::from_str(&ok(&["list", "--json", "--config", config])).unwrap()
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} isn't in\n{text}");
    }
}

/// Produces these values with this key and waits for their acknowledgement.
fn produce(stage: &Stage<'_>, records: &[(&str, &str)]) -> Ledger {
    let producer = Producer::new(&stage.kafka.bootstrap()).unwrap();
    for (key, value) in records {
        let record = Outgoing {
            partition: Some(0),
            key: Some(key.as_bytes().to_vec()),
            value: Some(value.as_bytes().to_vec()),
            headers: vec![("trace".into(), Some(b"t-1".to_vec()))],
            ..Outgoing::default()
        };
        producer.send(&stage.topic, &record).unwrap();
    }
    producer.flush().unwrap();
    producer.ledger()
}

/// Lets the field take what isn't a number, too.
fn mend_the_mapping(stage: &Stage<'_>) {
    let fields =
        json!({"properties": {"strict_number": {"type": "long", "ignore_malformed": true}}});
    let http = stage.cluster.elasticsearch.http();
    let path = format!("/{}/_mapping", stage.topic);
    http.put_json(&path, &fields).unwrap();
}

fn num_letters(stage: &Stage<'_>) -> usize {
    let letters = stage.kafka.client().read_all(&stage.dead_letters);
    letters.unwrap().len()
}

/// Letters as an outflow that was more particular would have written them: their records can be replayed now.
fn write_letters(stage: &Stage<'_>, sink: &str, ledger: &Ledger) {
    let producer = Producer::new(&stage.kafka.bootstrap()).unwrap();
    for entry in ledger.iter() {
        let header =
            |name: &str, value: &str| (format!("outflow.{name}"), Some(value.as_bytes().to_vec()));
        let letter = Outgoing {
            key: entry.key.clone(),
            value: entry.value.clone(),
            headers: vec![
                header("sink", sink),
                header("topic", &entry.topic),
                header("partition", &entry.partition.to_string()),
                header("offset", &entry.offset.to_string()),
                header("reason", "too_particular"),
            ],
            ..Outgoing::default()
        };
        producer.send(&stage.dead_letters, &letter).unwrap();
    }
    producer.flush().unwrap();
}

#[test]
fn what_a_mapping_refused_is_replayed_once_it_is_mended() {
    let cluster = together();
    let stage = Stage::new(&cluster, "letters", 1);
    let config = stage.elasticsearch_config();
    let config = config.to_str().unwrap();
    // It goes on beside everything below.
    let outflow = stage.run(Sinks::Elasticsearch);
    let mut ledger = stage.produce(40, 21);
    let bad: Vec<(&str, String)> = ["one", "two", "three"]
        .map(|word| ("k", format!(r#"{{"strict_number":"{word}"}}"#)))
        .into();
    let bad: Vec<_> = bad
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    ledger.merge(produce(&stage, &bad));
    stage.wait_caught_up(&outflow, "elasticsearch");
    let foreign = Outgoing {
        value: Some(b"\xff\x00\x1b[31m".to_vec()),
        ..Outgoing::default()
    };
    let other_tool = Producer::new(&cluster.kafka.bootstrap()).unwrap();
    other_tool.send(&stage.dead_letters, &foreign).unwrap();
    other_tool.flush().unwrap();

    let listed = list(config);
    assert_eq!(listed["letters_in_all"], 3, "{listed:#}");
    assert_eq!(listed["of_other_tools"], 1, "{listed:#}");
    assert_eq!(listed["reasons"][0]["reason"], "document_parsing_exception");
    let table = ok(&["list", "--config", config]);
    has(
        &table,
        &[
            "REASON",
            "document_parsing_exception",
            "[0]@41",
            "another tool's",
        ],
    );
    let second = [
        "--config",
        config,
        "--topic",
        &stage.topic,
        "--offset",
        "41",
    ];
    let shown = ok(&[&["show"][..], &second].concat());
    has(
        &shown,
        &[
            "[0]@41",
            "trace = t-1",
            "\"strict_number\": \"two\"",
            "detail    [1:18] failed to parse",
        ],
    );
    let alien = ok(&["show", "--config", config, "--letter", "0:3"]);
    has(&alien, &["not this sink's", "ff 00 1b"]);

    let dry = ok(&["replay", "--config", config]);
    has(&dry, &["3 dead letters", "add --yes"]);
    let (code, out, err) = deadletters(&["replay", "--config", config, "--yes"]);
    assert_eq!(code, 1, "it isn't mended yet\n{out}\n{err}");
    has(
        &out,
        &[
            "0 written",
            "3 refused again",
            "stays in the dead letter topic",
        ],
    );
    assert_eq!(num_letters(&stage), 4, "nothing goes round");
    assert_eq!(list(config)["replayed"], 0);

    mend_the_mapping(&stage);
    let one = ok(&[&["replay", "--yes"][..], &second].concat());
    has(&one, &["1 records: 1 written"]);
    let listed = list(config);
    assert_eq!(listed["replayed"], 1, "{listed:#}");
    let rest = ok(&["replay", "--config", config, "--yes"]);
    has(
        &rest,
        &["2 records: 2 written, 0 there already, 0 refused again"],
    );
    let nothing = ok(&["replay", "--config", config, "--yes"]);
    has(&nothing, &["0 dead letters", "3 were replayed before"]);
    let again = ok(&["replay", "--config", config, "--yes", "--again"]);
    has(&again, &["3 records: 0 written, 3 there already"]);

    stop_cleanly(&outflow);
    stage.check_elasticsearch(&ledger);
    let all = cluster.elasticsearch.documents().all(&stage.topic).unwrap();
    assert!(
        all.iter().all(|document| document.version == 1),
        "written once"
    );
}

#[test]
fn a_newer_document_of_the_same_key_is_not_overwritten_by_a_replay() {
    let cluster = together();
    let mut stage = Stage::new(&cluster, "letters-keyed", 1);
    stage.elasticsearch_more = "id = \"key\"\n".into();
    let config = stage.elasticsearch_config();
    let config = config.to_str().unwrap();
    let outflow = stage.run(Sinks::Elasticsearch);
    let ledger = produce(
        &stage,
        &[
            ("a", r#"{"strict_number":"older"}"#),
            ("b", r#"{"strict_number":"only"}"#),
            ("a", r#"{"strict_number":2}"#),
        ],
    );
    stage.wait_caught_up(&outflow, "elasticsearch");
    stop_cleanly(&outflow);
    mend_the_mapping(&stage);
    let done = ok(&["replay", "--config", config, "--yes"]);
    has(&done, &["2 records: 1 written, 1 there already"]);
    let documents = cluster.elasticsearch.documents();
    documents.refresh(&stage.topic).unwrap();
    check_elasticsearch(&ledger, &documents.all(&stage.topic).unwrap(), Ids::Key).assert_clean();
}

/// Replays until it ends by itself, killing it as often as `num_written` has moved; how often it was killed.
fn replay_with_kills(stage: &Stage<'_>, args: &[&str], num_written: &dyn Fn() -> usize) -> usize {
    let args = [&["deadletters", "replay", "--yes"], args].concat();
    let binary = env!("CARGO_BIN_EXE_outflow");
    for kills in 0.. {
        let log = stage.dir().join(format!("replay-{kills}.log"));
        let replay = testbed::Outflow::spawn(binary, &args, &[], log).unwrap();
        let mut ended = None;
        // It says its plan before it writes: by then what the one before had sent has arrived.
        wait_until("the replay says its plan, or ends", PATIENCE, || {
            let plans = replay.log().contains("dead letters of");
            match plans || replay.exit_code().is_some() {
                true => Ok(()),
                false => Err(replay.log()),
            }
        })
        .unwrap();
        let before = num_written();
        wait_until("the replay writes, or ends", PATIENCE, || {
            ended = replay.exit_code();
            match ended.is_some() || (kills < 3 && num_written() > before) {
                true => Ok(()),
                false => Err(replay.log()),
            }
        })
        .unwrap();
        match ended {
            Some(code) => {
                assert_eq!(code, 0, "{}", replay.log());
                return kills;
            }
            // Once it is asked, and leaves by itself.
            None if kills == 1 => {
                replay.terminate().unwrap();
                let code = replay.wait(PATIENCE).unwrap();
                assert!(matches!(code, 0 | 3), "{code}: {}", replay.log());
            }
            None => replay.kill().unwrap(),
        }
    }
    unreachable!("it ends by itself")
}

#[test]
fn replays_that_are_killed_and_repeated_double_nothing_in_either_sink() {
    let cluster = together();
    let stage = Stage::new(&cluster, "letters-killed", 2);
    let ledger = stage.produce(400, 22);
    let (es, hdfs) = (stage.elasticsearch_config(), stage.hdfs_config(""));
    for (sink, config, slowly) in [
        ("elasticsearch", &es, "elasticsearch.max_batch_docs=2"),
        ("hdfs", &hdfs, "hdfs.rotate.records=10"),
    ] {
        write_letters(&stage, sink, &ledger);
        // Killed between the letter and the commit, a sink refuses a record twice.
        write_letters(
            &stage,
            sink,
            &ledger.filtered(|entry| entry.offset % 10 == 0),
        );
        let config = config.to_str().unwrap();
        let args = ["--config", config, "--set", slowly];
        let kills = replay_with_kills(&stage, &args, &|| stage.num_written(sink));
        assert!(kills > 0, "it was over before the first kill");
        let listed = list(config);
        assert_eq!(listed["letters_in_all"], listed["replayed"], "{listed:#}");
        has(
            &ok(&["replay", "--config", config, "--yes"]),
            &["0 dead letters"],
        );
        has(
            &ok(&["replay", "--config", config, "--yes", "--again"]),
            &["400 records: 0 written, 400 there"],
        );
    }
    stage.check_elasticsearch(&ledger);
    let documents = cluster.elasticsearch.documents().all(&stage.topic).unwrap();
    assert!(documents.iter().all(|d| d.version == 1), "written once");
    stage.check_hdfs(&ledger);
}

#[test]
fn letters_are_replayed_into_hdfs_one_by_one_beside_the_running_sink() {
    let cluster = together();
    let stage = Stage::new(&cluster, "letters-hdfs", 1);
    let config = stage.hdfs_config("");
    let config = config.to_str().unwrap();
    let mended = format!("{}-mended", stage.topic);
    cluster
        .kafka
        .client()
        .create_topic(&mended, 1, &[])
        .unwrap();
    let producer = Producer::new(&cluster.kafka.bootstrap()).unwrap();
    let mut generator = testbed::Generator::new(&mended, 23).keys(5);
    producer.produce(&mended, &mut generator, 5).unwrap();
    let refused = producer.ledger();
    write_letters(&stage, "hdfs", &refused);

    let outflow = stage.run(Sinks::Hdfs);
    let mut ledger = stage.produce(50, 24);
    let bad = produce(&stage, &[("k", "not JSON")]);
    ledger.merge(stage.produce(50, 25));
    stage.wait_caught_up(&outflow, "hdfs");
    let bad = bad.iter().next().unwrap();
    for offset in ["3", "0", "1-2"] {
        let which = ["--topic", &mended, "--offset", offset];
        let args = [&["replay", "--yes", "--config", config][..], &which].concat();
        has(&ok(&args), &["0 there already, 0 refused again"]);
        has(&ok(&args), &["0 dead letters"]);
    }
    let (code, out, err) = deadletters(&["replay", "--yes", "--config", config]);
    assert_eq!(code, 1, "{out}\n{err}");
    has(
        &out,
        &[
            "2 records: 1 written, 0 there already, 1 refused again",
            "not_json",
        ],
    );
    let listed = list(config);
    assert_eq!(
        (&listed["letters_in_all"], &listed["replayed"]),
        (&json!(6), &json!(5))
    );
    ledger.merge(stage.produce(50, 26));
    stage.wait_caught_up(&outflow, "hdfs");
    stop_cleanly(&outflow);

    // The same record, as if a newer outflow took it; and one that the sink is still to read.
    let mut mended_bad = Ledger::default();
    mended_bad.add(Entry {
        value: Some(br#"{"seq":"mended"}"#.to_vec()),
        ..bad.clone()
    });
    write_letters(&stage, "hdfs", &mended_bad);
    let mut early = Ledger::default();
    early.add(Entry {
        offset: 10_000,
        ..bad.clone()
    });
    write_letters(&stage, "hdfs", &early);
    let done = ok(&["replay", "--yes", "--config", config]);
    has(&done, &["1 records: 1 written", "1 are left out", "@10000"]);
    let reset = ["group", "reset", "--to", "earliest", "--config", config];
    let output = Command::new(env!("CARGO_BIN_EXE_outflow"))
        .args(reset)
        .output()
        .unwrap();
    let refusal = String::from_utf8(output.stderr).unwrap();
    has(&refusal, &["hold dead letters", "might stand there twice"]);

    ledger.merge(mended_bad);
    ledger.merge(refused);
    let files = cluster.hdfs.files().committed(&stage.base).unwrap();
    check_hdfs(&ledger, &stage.base, &files).assert_clean();
    let folder = format!("{}/{mended}/partition=0/", stage.base);
    let replayed = files.iter().filter(|file| file.path.starts_with(&folder));
    let prefix = format!("{folder}{}+{mended}+0+", stage.dead_letters);
    assert!(
        replayed.clone().all(|file| file.path.starts_with(&prefix)),
        "they say where they come from"
    );
    assert_eq!(replayed.count(), 4);
    let verify = ["verify", "--deep", "--config", config];
    let verified = Command::new(env!("CARGO_BIN_EXE_outflow"))
        .args(verify)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&verified.stdout);
    assert_eq!(verified.status.code(), Some(0), "{told}");
}

/// Puts the newest replay of a partition back to where a kill right after its commit leaves it: its entry isn't done,
/// and its file still has its temporary name.
fn undo_publishing(stage: &Stage<'_>) -> String {
    let files = stage.cluster.hdfs.files();
    let logs = format!("{}/_outflow/{}+replays/0", stage.base, stage.topic);
    let all = files.list_recursive(&logs).unwrap();
    let done = all
        .iter()
        .rfind(|status| status.path.ends_with(".done"))
        .unwrap();
    let content = files.read(&done.path).unwrap();
    let entry: Value = serde_json::from_slice(&content).unwrap();
    let file = &entry["files"][0];
    assert_eq!(file["origins"], json!([[2, 2]]), "{entry:#}");
    let published = format!("{}/{}", stage.base, file["path"].as_str().unwrap());
    let (folder, _) = done.path.rsplit_once('/').unwrap();
    let temp = format!("{folder}/{}", file["temp"].as_str().unwrap());
    files.write(&temp, files.read(&published).unwrap()).unwrap();
    files.delete(&published).unwrap();
    files
        .write(&done.path.replace(".done", ".json"), content)
        .unwrap();
    files.delete(&done.path).unwrap();
    published
}

#[test]
fn what_a_killed_replay_has_committed_and_not_published_the_next_one_publishes() {
    let cluster = together();
    let stage = Stage::new(&cluster, "letters-half", 1);
    let config = stage.hdfs_config("");
    let config = config.to_str().unwrap();
    let ledger = stage.produce(3, 27).filtered(|entry| entry.offset == 2);
    write_letters(&stage, "hdfs", &ledger);
    ok(&["replay", "--yes", "--config", config]);
    assert_eq!(list(config)["replayed"], 1);
    let published = undo_publishing(&stage);
    assert_eq!(list(config)["replayed"], 0, "readers don't see it");
    let done = ok(&["replay", "--yes", "--config", config]);
    has(&done, &["1 records: 0 written, 1 there already"]);
    let files = cluster.hdfs.files().committed(&stage.base).unwrap();
    assert_eq!(files[0].path, published);
    check_hdfs(&ledger, &stage.base, &files).assert_clean();
}

#[test]
fn a_sink_that_keeps_no_dead_letters_says_so() {
    let cluster = together();
    let stage = Stage::new(&cluster, "letters-none", 1);
    let config = stage.elasticsearch_config();
    let text = std::fs::read_to_string(&config).unwrap();
    let topic = format!("topic = \"{}\"", stage.dead_letters);
    let skips = text
        .replace("\"dead_letter\"", "\"skip\"")
        .replace(&topic, "");
    std::fs::write(&config, skips).unwrap();
    let (code, _, err) = deadletters(&["list", "--config", config.to_str().unwrap()]);
    assert_eq!(code, 2, "{err}");
    has(
        &err,
        &["keeps no dead letters", "skip", "rejected.topic=TOPIC"],
    );
}
