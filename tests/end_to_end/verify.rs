//! `outflow verify`: clean pipelines are judged clean, and whatever is broken for real is named exactly.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testbed::{Generator, Outgoing, Producer, TransactionalProducer, together};

use super::compaction::{COMPACTED, compact};
use super::support::{Stage, stop_cleanly};

/// Runs `outflow verify` to its end: the exit code, and the report of the one sink.
#[track_caller]
fn verify(config: &str, more: &[&str]) -> (i32, Value) {
    let args = [&["verify", "--json", "--config", config], more].concat();
    let output = Command::new(env!("CARGO_BIN_EXE_outflow"))
        .args(&args)
        .output()
        .unwrap();
    let report = serde_json::from_slice::<Value>(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut report = report.unwrap_or_else(|why| panic!("{args:?}: {why}\n{errors}"));
    assert!(!errors.contains("error:"), "{args:?}: {errors}");
    (output.status.code().unwrap_or(-1), report[0].take())
}

/// It must be all there.
#[track_caller]
fn verify_clean(config: &str, more: &[&str]) -> Value {
    let (code, report) = verify(config, more);
    assert_eq!(report["findings"], json!([]), "{report:#}");
    assert_eq!(
        (code, &report["verdict"]),
        (0, &json!("all_there")),
        "{report:#}"
    );
    report
}

/// Kind, partition, first, end, records of a finding; -1 where it doesn't apply.
type Found = (String, i64, i64, i64, i64);

/// The findings, sorted; something must be wrong.
#[track_caller]
fn verify_broken(config: &str, more: &[&str]) -> (Vec<Found>, Value) {
    let (code, report) = verify(config, more);
    assert_eq!(
        (code, &report["verdict"]),
        (1, &json!("findings")),
        "{report:#}"
    );
    let number = |value: &Value| value.as_i64().unwrap_or(-1);
    let finding = |finding: &Value| {
        (
            finding["kind"].as_str().unwrap_or_default().to_owned(),
            number(&finding["partition"]),
            number(&finding["first"]),
            number(&finding["end"]),
            number(&finding["records"]),
        )
    };
    let mut found: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(finding)
        .collect();
    found.sort();
    (found, report)
}

fn sum(report: &Value, key: &str) -> i64 {
    let partitions = report["partitions"].as_array().unwrap();
    partitions
        .iter()
        .filter_map(|partition| partition[key].as_i64())
        .sum()
}

fn plain(found: &[Found]) -> Vec<(&str, i64, i64, i64, i64)> {
    found
        .iter()
        .map(|(kind, a, b, c, d)| (kind.as_str(), *a, *b, *c, *d))
        .collect()
}

/// What a committed file's name says: partition, first, last.
fn span(path: &str) -> (i64, i64, i64) {
    let name = path.rsplit('/').next().unwrap();
    let parts: Vec<&str> = name.split('.').next().unwrap().split('+').collect();
    let number = |at: usize| parts[at].parse::<i64>().unwrap();
    (number(1), number(2), number(3))
}

#[test]
fn what_is_there_is_judged_clean_and_what_is_broken_is_named() {
    let cluster = together();
    let stage = Stage::new(&cluster, "verifies", 2);
    let (es, hdfs) = (stage.elasticsearch_config(), stage.hdfs_config(""));
    let (es, hdfs) = (es.to_str().unwrap(), hdfs.to_str().unwrap());
    let small = "hdfs.rotate.records=40";

    // Nothing is committed yet: nothing to judge, and nothing wrong.
    stage.produce(10, 1);
    let nothing = verify_clean(es, &[]);
    assert!(nothing["partitions"][0]["end"].is_null(), "{nothing:#}");
    verify_clean(hdfs, &[]);

    // Good records, null values, bad ones, and transactions of which one is aborted.
    let producer = Producer::new(&cluster.kafka.bootstrap()).unwrap();
    let mut generator = Generator::new(&stage.topic, 2).keys(50).partitions(2);
    producer.produce(&stage.topic, &mut generator, 200).unwrap();
    for value in [None, Some(b"not JSON".to_vec()), Some(b"[1]".to_vec())] {
        let (partition, key) = (Some(0), Some(b"k".to_vec()));
        let odd = Outgoing {
            partition,
            key,
            value,
            ..Outgoing::default()
        };
        producer.send(&stage.topic, &odd).unwrap();
    }
    producer.flush().unwrap();
    let timeout = Duration::from_secs(60);
    let mut transactions =
        TransactionalProducer::new(&cluster.kafka.bootstrap(), &stage.topic, timeout).unwrap();
    for is_committed in [true, false, true] {
        transactions.begin().unwrap();
        transactions
            .produce(&stage.topic, &mut generator, 40)
            .unwrap();
        match is_committed {
            true => transactions.commit().unwrap(),
            false => transactions.abort().unwrap(),
        }
    }
    let process = stage.spawn(&["--config", es, "--config", hdfs, "--set", small]);
    stage.wait_caught_up(&process, "elasticsearch");
    stage.wait_caught_up(&process, "hdfs");
    // Beside the running process, which must not notice.
    for config in [es, hdfs] {
        verify_clean(config, &["--deep"]);
    }
    stop_cleanly(&process);
    assert!(!process.log().contains("fenced"), "{}", process.log());
    for config in [es, hdfs] {
        for deep in [&[][..], &["--deep"]] {
            let report = verify_clean(config, deep);
            // 10 + 200 + 80 good ones and 3 odd ones; aborted ones and markers are no records.
            assert_eq!(sum(&report, "records"), 293, "{report:#}");
            assert_eq!(sum(&report, "in_sink"), 290, "{report:#}");
            assert_eq!(
                (sum(&report, "refused"), sum(&report, "skipped")),
                (2, 1),
                "{report:#}"
            );
        }
    }
    // Data on its way.
    stage.produce(30, 3);
    for config in [es, hdfs] {
        assert_eq!(sum(&verify_clean(config, &["--deep"]), "behind"), 30);
    }
    // A place where nothing ever was can't be judged.
    let (code, report) = verify(hdfs, &["--set", "hdfs.base=/nowhere"]);
    assert_eq!(
        (code, &report["verdict"]),
        (2, &json!("not_judged")),
        "{report:#}"
    );

    break_elasticsearch(&stage, es, transactions.aborted().iter().next().unwrap());
    break_hdfs(&stage, hdfs);

    // Retention takes what was broken: Elasticsearch can't be judged there any more, HDFS by its log.
    let kafka = cluster.kafka.client();
    kafka.delete_records(&stage.topic, 0, 60).unwrap();
    kafka.delete_records(&stage.topic, 1, 60).unwrap();
    let (found, report) = verify_broken(es, &["--deep"]);
    assert!(found.iter().all(|(kind, ..)| kind == "extra"), "{report:#}");
    assert_eq!(sum(&report, "gone_offsets"), 120, "{report:#}");
    let (found, report) = verify_broken(hdfs, &["--deep"]);
    assert!(
        found.iter().any(|(kind, ..)| kind == "missing"),
        "{report:#}"
    );
    verify_clean(
        hdfs,
        &["--deep", "--topic", &stage.topic, "--partition", "1"],
    );
}

fn break_elasticsearch(stage: &Stage<'_>, config: &str, aborted: &testbed::ledger::Entry) {
    let documents = stage.cluster.elasticsearch.documents();
    let topic = &stage.topic;
    for offset in [5, 6, 9] {
        documents
            .delete(topic, &format!("{topic}+0+{offset}"))
            .unwrap();
    }
    let put = |id: &str| {
        documents
            .put(topic, id, &json!({"run": "another"}))
            .unwrap()
    };
    put(&format!("{topic}+1+7"));
    let (partition, offset) = (i64::from(aborted.partition), aborted.offset);
    put(&format!("{topic}+{partition}+{offset}"));
    put("somebody-elses");

    let (found, report) = verify_broken(config, &[]);
    let by_ids = [
        ("extra", partition, offset, offset + 1, 1),
        ("missing", 0, 5, 7, 2),
        ("missing", 0, 9, 10, 1),
    ];
    assert_eq!(plain(&found), by_ids, "{report:#}");
    assert!(
        report["notes"].to_string().contains("somebody-elses"),
        "{report:#}"
    );
    let (found, report) = verify_broken(config, &["--deep"]);
    let changed = ("changed", 1, 7, 8, 1);
    assert_eq!(
        plain(&found),
        [&[changed][..], &by_ids].concat(),
        "{report:#}"
    );
    let (found, report) = verify_broken(config, &["--topic", &format!("{topic}:0")]);
    assert_eq!(plain(&found), by_ids[1..], "{report:#}");
    verify_clean(config, &["--topic", topic, "--partition", "1"]);
    // What a person reads.
    let output = Command::new(env!("CARGO_BIN_EXE_outflow"))
        .args(["verify", "--config", config, "--progress", "always"])
        .output()
        .unwrap();
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let missing = format!("missing: {topic}[0] [5, 7), 2 records:");
    assert!(
        text.contains(&missing) && text.contains("3 findings."),
        "{text}"
    );
    assert!(errors.contains("counting the documents"), "{errors}");
}

fn break_hdfs(stage: &Stage<'_>, config: &str) {
    let files = stage.cluster.hdfs.files();
    let of_0: Vec<String> = files
        .committed_paths(&stage.base)
        .unwrap()
        .into_iter()
        .filter(|path| path.contains("/partition=0/"))
        .collect();
    assert!(of_0.len() >= 3, "{of_0:?}");
    let relative = |path: &str| path.strip_prefix(&stage.base).unwrap()[1..].to_owned();

    // A line is gone from one file and another stands there twice; a second file is gone; a third has a copy.
    let whole = files.read(&of_0[0]).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let (_, first, _) = span(&of_0[0]);
    let mut broken = lines.clone();
    broken.remove(2);
    broken.insert(10, lines[7]);
    files.write(&of_0[0], broken.concat()).unwrap();
    let copy = of_0[2].replace(".json", ".copy.json");
    files.write(&copy, files.read(&of_0[2]).unwrap()).unwrap();
    let (_, gone_first, gone_last) = span(&of_0[1]);
    files.delete(&of_0[1]).unwrap();
    let num_gone = gone_last + 1 - gone_first;

    let (found, report) = verify_broken(config, &["--deep"]);
    let (_, copied_first, copied_last) = span(&of_0[2]);
    // The records of the first file are good ones without holes, so offsets are lines.
    let expected = [
        ("doubled", 0, first + 7, first + 8, 1),
        ("missing", 0, first + 2, first + 3, 1),
    ];
    for one in expected {
        assert!(plain(&found).contains(&one), "{one:?} isn't in {report:#}");
    }
    let missing_file = found.iter().find(|f| f.0 == "missing" && f.2 == gone_first);
    let missing_file = missing_file.unwrap_or_else(|| panic!("{report:#}"));
    assert!(
        missing_file.3 == gone_last + 1 && missing_file.4 <= num_gone,
        "{report:#}"
    );
    let findings = report["findings"].as_array().unwrap();
    let copied = findings.iter().find(|f| f["place"] == relative(&copy));
    let copied = copied.unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(copied["kind"], "doubled", "{copied:#}");
    assert!(
        copied["what"]
            .as_str()
            .unwrap()
            .contains(&relative(&of_0[2])),
        "{copied:#}"
    );
    assert!(copied_last > copied_first);

    // Without looking into files their lengths and names tell.
    let (_, report) = verify_broken(config, &[]);
    let findings = report["findings"].as_array().unwrap();
    let kind = |path: &str| {
        let mut found = findings.iter().filter(|f| f["place"] == relative(path));
        found.next().map(|finding| finding["kind"].clone())
    };
    assert_eq!(kind(&of_0[1]), Some(json!("missing")), "{report:#}");
    assert_eq!(kind(&copy), Some(json!("doubled")), "{report:#}");
    let is_as_long = broken.concat().len() == whole.len();
    assert_eq!(
        kind(&of_0[0]),
        (!is_as_long).then(|| json!("damaged")),
        "{report:#}"
    );
}

#[test]
fn folders_by_time_and_compressed_files_are_judged_line_by_line() {
    let cluster = together();
    let stage = Stage::new(&cluster, "verifies-hours", 1);
    let config = stage.hdfs_config("[hdfs.partition]\nby = \"hourly\"\nzone = \"Europe/Berlin\"\n");
    let config = config.to_str().unwrap();
    let zstd = ["--set", "hdfs.compression=zstd"];
    let producer = Producer::new(&cluster.kafka.bootstrap()).unwrap();
    // Hours take turns, so that the files of a commit overlap.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    for seed in [5, 6] {
        let generator = Generator::new(&stage.topic, seed).keys(9);
        let mut generator = generator.timestamps(now - 4 * 3_600_000, 600_000);
        producer.produce(&stage.topic, &mut generator, 20).unwrap();
    }
    producer.flush().unwrap();
    let process = stage.spawn(&[&["--config", config][..], &zstd].concat());
    stage.wait_caught_up(&process, "hdfs");
    stop_cleanly(&process);
    verify_clean(config, &[]);
    let report = verify_clean(config, &[&["--deep"][..], &zstd].concat());
    assert_eq!((sum(&report, "records"), sum(&report, "in_sink")), (40, 40));

    let files = cluster.hdfs.files();
    let (mut broken, all) = (None, files.committed(&stage.base).unwrap());
    for file in all {
        if file.lines.len() >= 4 && broken.is_none() {
            let mut lines = file.lines.clone();
            lines.swap(0, 1);
            let text: Vec<u8> = lines
                .iter()
                .flat_map(|line| [&line[..], b"\n"].concat())
                .collect();
            files
                .write(&file.path, zstd::encode_all(&text[..], 3).unwrap())
                .unwrap();
            broken = Some(span(&file.path).1);
        }
    }
    let first = broken.expect("a file with several lines");
    let (found, report) = verify_broken(config, &["--deep"]);
    let swapped = found
        .iter()
        .find(|f| f.0 == "out_of_order")
        .unwrap_or_else(|| panic!("{report:#}"));
    assert!(
        (first..first + 12).contains(&swapped.2) && swapped.4 == 1,
        "{report:#}"
    );
}

#[test]
fn dates_in_index_names_and_ids_that_elasticsearch_chose_are_told_apart() {
    let cluster = together();
    let stage = Stage::new(&cluster, "verifies-names", 2);
    let dated = stage.elasticsearch_config();
    let text = std::fs::read_to_string(&dated).unwrap();
    let dated = dated.to_str().unwrap();
    // A second sink, with its own group. It must not have to repeat a request: that would double documents.
    let group = format!("group_id = \"{}\"", stage.group("elasticsearch"));
    let unnamed = text
        .replace("name = \"elasticsearch\"", "name = \"unnamed\"")
        .replace("request_timeout = \"5s\"", "request_timeout = \"60s\"")
        .replace(
            &group,
            &format!("group_id = \"{}\"", stage.group("unnamed")),
        )
        .replace(
            "index = \"{topic}\"",
            "index = \"unnamed-{topic}\"\nid = \"none\"",
        );
    let unnamed_path = stage.dir().join("unnamed.toml");
    std::fs::write(&unnamed_path, unnamed).unwrap();
    let unnamed = unnamed_path.to_str().unwrap();
    std::fs::write(
        dated,
        text.replace("{topic}\"", "{topic}-{yyyy.MM.dd.HH}\""),
    )
    .unwrap();

    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    let producer = Producer::new(&cluster.kafka.bootstrap()).unwrap();
    let generator = Generator::new(&stage.topic, 9).keys(9).partitions(2);
    let mut generator = generator.timestamps(now - 3 * 3_600_000, 600_000);
    producer.produce(&stage.topic, &mut generator, 18).unwrap();
    producer.flush().unwrap();
    let process = stage.spawn(&["--config", dated, "--config", unnamed]);
    for sink in ["elasticsearch", "unnamed"] {
        stage.wait_caught_up(&process, sink);
    }
    stop_cleanly(&process);
    let report = verify_clean(dated, &["--deep"]);
    assert_eq!((sum(&report, "records"), sum(&report, "in_sink")), (18, 18));
    let report = verify_clean(unnamed, &["--deep"]);
    assert!(
        report["notes"].to_string().contains("chooses the ids"),
        "{report:#}"
    );

    let documents = cluster.elasticsearch.documents();
    let all = documents.all(&format!("{}-*", stage.topic)).unwrap();
    let lost = all.iter().find(|found| found.id.ends_with("+1+4")).unwrap();
    documents.delete(&lost.index, &lost.id).unwrap();
    let (found, report) = verify_broken(dated, &[]);
    assert_eq!(plain(&found), [("missing", 1, 4, 5, 1)], "{report:#}");

    let index = format!("unnamed-{}", stage.topic);
    let lost = &documents.all(&index).unwrap()[3];
    documents.delete(&index, &lost.id).unwrap();
    let (found, report) = verify_broken(unnamed, &[]);
    assert_eq!(plain(&found), [("missing", -1, -1, -1, 1)], "{report:#}");
    for id in ["once", "twice"] {
        documents.put(&index, id, &lost.source).unwrap();
    }
    let (found, report) = verify_broken(unnamed, &[]);
    assert_eq!(plain(&found), [("doubled", -1, -1, -1, 1)], "{report:#}");
}

#[test]
fn a_compacted_topic_with_keyed_documents_is_clean_though_kafka_has_forgotten() {
    let cluster = together();
    let mut stage = Stage::with_topic(&cluster, "verifies-keys", 1, &COMPACTED);
    stage.elasticsearch_more = "id = \"key\"\ntombstones = \"delete\"\n".into();
    let (es, hdfs) = (stage.elasticsearch_config(), stage.hdfs_config(""));
    let (es, hdfs) = (es.to_str().unwrap(), hdfs.to_str().unwrap());
    let produced = stage.produce(400, 7).len();
    let producer = Producer::new(&cluster.kafka.bootstrap()).unwrap();
    for key in ["key-1", "key-2"] {
        let key = Some(key.as_bytes().to_vec());
        producer
            .send(
                &stage.topic,
                &Outgoing {
                    key,
                    ..Outgoing::default()
                },
            )
            .unwrap();
    }
    producer.flush().unwrap();
    let process = stage.spawn(&["--config", es, "--config", hdfs]);
    stage.wait_caught_up(&process, "elasticsearch");
    stage.wait_caught_up(&process, "hdfs");
    for config in [es, hdfs] {
        verify_clean(config, &["--deep"]);
    }
    let produced = produced + compact(&stage, produced);
    let kafka = cluster.kafka.client();
    stage.wait_caught_up(&process, "elasticsearch");
    stage.wait_caught_up(&process, "hdfs");
    stop_cleanly(&process);
    for config in [es, hdfs] {
        let report = verify_clean(config, &["--deep"]);
        assert!(sum(&report, "records") < produced as i64, "{report:#}");
    }
    let newest = kafka.read_all(&stage.topic).unwrap().pop().unwrap();
    let key = String::from_utf8(newest.key.unwrap()).unwrap();
    cluster
        .elasticsearch
        .documents()
        .delete(&stage.topic, &key)
        .unwrap();
    let (found, report) = verify_broken(es, &[]);
    let expected = ("missing", 0, newest.offset, newest.offset + 1, 1);
    assert_eq!(plain(&found), [expected], "{report:#}");
}
