use std::fs;
use std::sync::mpsc::channel;

use super::*;
use crate::error::Kind;

const SINK: &str = "elasticsearch";
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

fn p(partition: i32) -> TopicPartition {
    TopicPartition::new("host-metrics", partition)
}

fn commit(partition: i32, offset: i64) -> Commit {
    Commit {
        partition: p(partition),
        offset,
        leader_epoch: 3,
        metadata: r#"{"topic_id":"id","partitions":4}"#.to_owned(),
    }
}

fn open(dir: &Path) -> PositionStore {
    let store = PositionStore::open(dir, SINK).expect("a store");
    store.belongs_to(CLUSTER).expect("the same cluster");
    store
}

fn offsets(positions: &Positions) -> Vec<(i32, i64)> {
    let offset = |(id, position): (&TopicPartition, &Committed)| (id.partition, position.offset);
    positions.partitions.iter().map(offset).collect()
}

fn leftovers(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn positions_outlive_the_process_with_all_that_a_group_would_keep() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.position(&p(0)), None);
    store.set(vec![commit(0, 17), commit(2, 5)]).unwrap();
    store.set(vec![commit(0, 18)]).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(offsets(&store.positions()), [(0, 18), (2, 5)]);
    let position = store.position(&p(0)).unwrap();
    assert_eq!(position.leader_epoch, 3);
    assert_eq!(position.metadata, r#"{"topic_id":"id","partitions":4}"#);
    assert_eq!(
        leftovers(dir.path()),
        [
            "elasticsearch.positions.json",
            "elasticsearch.positions.lock"
        ]
    );
}

#[test]
fn what_is_answered_is_in_the_file_already() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (done, answers) = channel();
    let folder = dir.path().to_owned();
    for offset in 1..=50 {
        let (done, folder) = (done.clone(), folder.clone());
        store.submit(vec![commit(0, offset)], move |result| {
            let read = read(&folder, SINK).unwrap().unwrap();
            _ = done.send((offset, result, offsets(&read)[0].1));
        });
    }
    for asked in 1..=50 {
        let (answered, result, durable) = answers.recv().unwrap();
        assert_eq!(answered, asked, "answers come in order");
        assert_eq!(result, Ok(()));
        assert!(durable >= asked, "{asked} was answered at {durable}");
    }
}

#[test]
fn a_crash_between_the_steps_leaves_the_old_positions() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).set(vec![commit(0, 17)]).unwrap();
    // The process died while it wrote the next file aside, or before it renamed it.
    let aside = dir.path().join("elasticsearch.positions.json.new");
    for left in ["", "{\"format\":1,\"clus"] {
        fs::write(&aside, left).unwrap();
        let store = open(dir.path());
        assert_eq!(offsets(&store.positions()), [(0, 17)]);
    }
    let store = open(dir.path());
    store.set(vec![commit(0, 18)]).unwrap();
    assert!(!aside.exists(), "what was left is written over");
    assert_eq!(
        offsets(&read(dir.path(), SINK).unwrap().unwrap()),
        [(0, 18)]
    );
}

#[test]
fn a_damaged_file_is_named_and_never_begun_anew() {
    let line = r#"{"topic":"t","partition":0,"offset":5,"leader_epoch":0,"metadata":""}"#;
    let negative = line.replace('5', "-5");
    let whole = |lines: &str| format!(r#"{{"format":1,"cluster_id":"c","positions":[{lines}]}}"#);
    let table = [
        ("", "EOF"),
        (&whole(line)[..70], "EOF"),
        (&whole(&negative), "t[0] at offset -5 can't be"),
        (&whole(&format!("{line},{line}")), "t[0] stands there twice"),
        (&whole(line).replace("offset", "offzet"), "offzet"),
        (
            &whole(line).replace("\"format\":1", "\"format\":2"),
            "format 2 isn't known",
        ),
    ];
    for (text, why) in table {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), SINK);
        fs::write(&path, text).unwrap();
        let error = PositionStore::open(dir.path(), SINK).expect_err(text);
        assert_eq!(error.kind, Kind::Corrupt, "{error}");
        for part in [why, &path.display().to_string(), "backup"] {
            assert!(error.what.contains(part), "no {part:?} in: {error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "it is left alone");
    }
}

#[test]
fn a_second_process_is_refused_while_the_first_lives() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(holder(dir.path(), SINK), Ok(None), "never opened");
    let store = open(dir.path());
    store.set(vec![commit(0, 17)]).unwrap();
    let pid = std::process::id().to_string();
    let error = PositionStore::open(dir.path(), SINK).expect_err("refused");
    for part in [&*pid, "elasticsearch.positions.lock", "Stop it"] {
        assert!(error.what.contains(part), "no {part:?} in: {error}");
    }
    assert_eq!(holder(dir.path(), SINK), Ok(Some(pid)));
    assert_eq!(
        offsets(&read(dir.path(), SINK).unwrap().unwrap()),
        [(0, 17)]
    );
    PositionStore::open(dir.path(), "another-sink").expect("a file of its own");
    drop(store);
    assert_eq!(holder(dir.path(), SINK), Ok(None));
    open(dir.path());
}

#[test]
fn another_clusters_positions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).set(vec![commit(0, 17)]).unwrap();
    let store = PositionStore::open(dir.path(), SINK).unwrap();
    let error = store.belongs_to("another").expect_err("refused");
    for part in [CLUSTER, "another", "elasticsearch.positions.json"] {
        assert!(error.what.contains(part), "no {part:?} in: {error}");
    }
    store.belongs_to(CLUSTER).expect("it is still the first's");
}

#[test]
fn a_disk_that_doesnt_write_fails_the_commit_and_takes_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.set(vec![commit(0, 17)]).unwrap();
    // Where the next file should be written aside nothing can be written.
    let blocked = dir.path().join("elasticsearch.positions.json.new");
    fs::create_dir(&blocked).unwrap();
    let error = store.set(vec![commit(0, 18)]).expect_err("it can't be");
    assert_eq!(error.kind, Kind::Unavailable, "it is tried again");
    assert!(
        error.what.contains("elasticsearch.positions.json"),
        "{error}"
    );
    assert_eq!(
        offsets(&store.positions()),
        [(0, 17)],
        "only what is durable"
    );
    fs::remove_dir(&blocked).unwrap();
    store.set(vec![commit(0, 18)]).unwrap();
    assert_eq!(
        offsets(&read(dir.path(), SINK).unwrap().unwrap()),
        [(0, 18)]
    );
}

#[test]
fn a_folder_that_isnt_there_is_said_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("unmounted");
    let error = PositionStore::open(&missing, SINK).expect_err("it isn't there");
    assert!(error.what.contains("unmounted"), "{error}");
    assert!(error.what.contains("mount"), "{error}");
    assert!(!missing.exists());
    assert_eq!(read(&missing, SINK), Ok(None));
    fs::write(&missing, "a file").unwrap();
    PositionStore::open(&missing, SINK).expect_err("a file is no folder");
}

#[test]
fn unchanged_positions_cost_no_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.set(vec![commit(0, 17)]).unwrap();
    let path = path(dir.path(), SINK);
    fs::remove_file(&path).unwrap();
    store.set(vec![commit(0, 17)]).unwrap();
    assert!(!path.exists(), "a group's heartbeat needs no disk");
}
