//! The HDFS sink against a real HDFS, through its contract alone: what a reader of the committed files sees.
//! One HDFS for all of these tests; they take turns.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on should say where"
)]

#[path = "hdfs_sink/feeder.rs"]
mod feeder;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use feeder::{Feeder, LONG, Row, line, settings};
use outflow::config::settings::{Compression, Partitioning, TimeUnit, Tombstones};
use outflow::error::Kind;
use outflow::sinks::hdfs::check::check;
use outflow::sinks::{Connector, Slot};
use outflow::status::CircuitState;
use testbed::guard::wait_until;
use testbed::{Files, Hdfs, HdfsOptions};

/// HDFS for one test alone; well again afterwards.
struct Turn(MutexGuard<'static, Hdfs>);

impl std::ops::Deref for Turn {
    type Target = Hdfs;
    fn deref(&self) -> &Hdfs {
        &self.0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.heal().expect("HDFS comes back");
        self.0.admin(&["-safemode", "leave"]).ok();
    }
}

fn hdfs() -> Turn {
    static HDFS: OnceLock<Mutex<Hdfs>> = OnceLock::new();
    let hdfs =
        HDFS.get_or_init(|| Mutex::new(Hdfs::start(&HdfsOptions::default()).expect("HDFS starts")));
    Turn(hdfs.lock().unwrap_or_else(PoisonError::into_inner))
}

fn rows(count: i64) -> Vec<Row> {
    (0..count).map(Row::new).collect()
}

/// Committed files, by their path below the base.
fn committed(files: &Files, base: &str) -> BTreeMap<String, Vec<String>> {
    let text = |lines: Vec<Vec<u8>>| {
        let text = |line| String::from_utf8(line).expect("UTF-8");
        lines.into_iter().map(text).collect()
    };
    let below = |path: &str| path[base.len() + 1..].to_owned();
    let committed = files.committed(base).expect("a listing");
    committed
        .into_iter()
        .map(|file| (below(&file.path), text(file.lines)))
        .collect()
}

/// Every line of a topic's partition, in the order of its files' names.
fn lines(files: &Files, base: &str, topic: &str, partition: i32) -> Vec<String> {
    let folder = format!("{topic}/partition={partition}/");
    committed(files, base)
        .into_iter()
        .filter(|(path, _)| path.starts_with(&folder))
        .flat_map(|(_, lines)| lines)
        .collect()
}

fn plain_lines(offsets: impl Iterator<Item = i64>) -> Vec<String> {
    offsets.map(line).collect()
}

/// The temp files of a base.
fn temps(files: &Files, base: &str) -> Vec<String> {
    let all = files
        .list_recursive(&format!("{base}/_outflow"))
        .expect("a listing");
    all.into_iter()
        .map(|status| status.path)
        .filter(|path| path.ends_with(".tmp"))
        .collect()
}

fn wait_for_no_temps(files: &Files, base: &str) {
    wait_until("temp files to go", LONG, || {
        let temps = temps(files, base);
        match temps.is_empty() {
            true => Ok(()),
            false => Err(format!("{temps:?}")),
        }
    })
    .expect("no temp file stays");
}

fn name(topic: &str, partition: i32, first: i64, last: i64) -> String {
    format!("{topic}+{partition}+{first:020}+{last:020}.json")
}

#[test]
fn records_become_files_with_the_names_and_lines_that_people_expect() {
    let hdfs = hdfs();
    let mut settings = settings(hdfs.url(), "/names");
    settings.rotation.records = Some(10);
    let mut feeder = Feeder::new(settings);
    let mut made = rows(25);
    made.remove(12); // compacted away
    let slot = feeder.add("host.metrics", 7, made);
    feeder.run_until_taken(slot);
    feeder.run_until_acked(slot, 21);
    let files = hdfs.files();
    assert_eq!(committed(&files, "/names").len(), 2, "the third isn't full");
    assert_eq!(feeder.metrics.acked_records.get(), 20);
    feeder.finish(slot);
    assert_eq!(feeder.metrics.acked_records.get(), 24);
    let found = committed(&files, "/names");
    let folder = "host.metrics/partition=7";
    let expected: BTreeMap<_, _> = [
        (0, 9, (0..10).collect::<Vec<_>>()),
        (10, 20, (10..=20).filter(|o| *o != 12).collect()),
        (21, 24, (21..25).collect()),
    ]
    .into_iter()
    .map(|(first, last, offsets)| {
        let name = name("host.metrics", 7, first, last);
        (format!("{folder}/{name}"), plain_lines(offsets.into_iter()))
    })
    .collect();
    assert_eq!(found, expected);
    assert_eq!(temps(&files, "/names"), Vec::<String>::new());
}

#[test]
fn files_are_closed_by_size_by_age_and_when_nothing_comes() {
    let hdfs = hdfs();
    let files = hdfs.files();
    let mut by_bytes = settings(hdfs.url(), "/by-bytes");
    by_bytes.rotation.bytes = 1_000;
    let mut by_age = settings(hdfs.url(), "/by-age");
    by_age.rotation.age = Duration::from_millis(700);
    let mut by_idle = settings(hdfs.url(), "/by-idle");
    by_idle.rotation.idle = Some(Duration::from_millis(300));
    for settings in [by_bytes, by_age, by_idle] {
        let base = settings.base.clone();
        let is_by_bytes = base == "/by-bytes";
        let mut feeder = Feeder::new(settings);
        let slot = feeder.add("t", 0, rows(100));
        // Nobody drains: the rule alone does it, although no more records come.
        feeder.run_until_acked(slot, if is_by_bytes { 60 } else { 100 });
        let found = committed(&files, &base);
        if is_by_bytes {
            assert_eq!(found.len(), 2, "{found:?}");
            for lines in found.values() {
                let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
                assert!((1_000..1_100).contains(&bytes), "{bytes}");
            }
        } else {
            assert_eq!(found.len(), 1, "{base}");
            assert_eq!(lines(&files, &base, "t", 0), plain_lines(0..100));
        }
    }
}

#[test]
fn hours_of_a_zone_and_missing_times_have_their_folders() {
    let hdfs = hdfs();
    let mut settings = settings(hdfs.url(), "/hours");
    settings.partitioning = Partitioning::Time {
        unit: TimeUnit::Hourly,
        zone: jiff::tz::TimeZone::get("Asia/Kathmandu").expect("a zone"),
    };
    let at = |text: &str| {
        let at: jiff::Timestamp = text.parse().expect("a timestamp");
        Some(at.as_millisecond())
    };
    let times = [
        at("2026-11-23T00:14:00Z"),
        at("2026-11-23T00:15:00Z"),
        None,
        at("2026-11-23T00:14:30Z"),
        at("2999-01-01T00:00:00Z"),
    ];
    let made = (0..).zip(times).map(|(offset, timestamp_ms)| Row {
        timestamp_ms,
        ..Row::new(offset)
    });
    let mut feeder = Feeder::new(settings);
    let slot = feeder.add("t", 1, made.collect());
    feeder.finish(slot);
    let none = "__HIVE_DEFAULT_PARTITION__";
    let expected = BTreeMap::from([
        (
            "t/year=2026/month=11/day=23/hour=05".to_owned(),
            (0, 3, vec![0, 3]),
        ),
        (
            "t/year=2026/month=11/day=23/hour=06".to_owned(),
            (1, 1, vec![1]),
        ),
        (
            "t/year=2999/month=01/day=01/hour=05".to_owned(),
            (4, 4, vec![4]),
        ),
        (
            format!("t/year={none}/month={none}/day={none}/hour={none}"),
            (2, 2, vec![2]),
        ),
    ])
    .into_iter()
    .map(|(folder, (first, last, offsets))| {
        let name = name("t", 1, first, last);
        (format!("{folder}/{name}"), plain_lines(offsets.into_iter()))
    })
    .collect();
    assert_eq!(committed(&hdfs.files(), "/hours"), expected);
}

#[test]
fn more_hours_than_files_are_committed_in_between() {
    let hdfs = hdfs();
    let mut settings = settings(hdfs.url(), "/many-hours");
    settings.partitioning = Partitioning::Time {
        unit: TimeUnit::Hourly,
        zone: jiff::tz::TimeZone::UTC,
    };
    // Every record belongs to another hour.
    let made = (0..60).map(|offset| Row {
        timestamp_ms: Some(1_700_000_000_000 + offset * 3_600_000),
        ..Row::new(offset)
    });
    let mut feeder = Feeder::new(settings);
    let slot = feeder.add("t", 0, made.collect());
    feeder.finish(slot);
    let mut found: Vec<String> = committed(&hdfs.files(), "/many-hours")
        .into_values()
        .flatten()
        .collect();
    found.sort();
    let mut expected = plain_lines(0..60);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn compressed_files_are_what_every_reader_understands() {
    let hdfs = hdfs();
    for (compression, base, ending) in [
        (Compression::Zstd(3), "/zstd", ".json.zst"),
        (Compression::Gzip(6), "/gzip", ".json.gz"),
    ] {
        let mut settings = settings(hdfs.url(), base);
        settings.compression = compression;
        let mut feeder = Feeder::new(settings);
        let slot = feeder.add("t", 0, rows(20_000));
        feeder.finish(slot);
        let files = hdfs.files();
        let paths = files.committed_paths(base).expect("a listing");
        assert_eq!(paths.len(), 1);
        assert!(paths[0].ends_with(ending), "{paths:?}");
        assert_eq!(lines(&files, base, "t", 0), plain_lines(0..20_000));
        let stored = files.read(&paths[0]).expect("the file").len();
        assert!(stored < 20_000 * 10, "{stored} bytes are hardly compressed");
    }
}

#[test]
fn what_follows_a_refused_record_waits_until_it_is_settled() {
    let hdfs = hdfs();
    let mut settings = settings(hdfs.url(), "/refused");
    settings.rotation.records = Some(4);
    settings.tombstones = Tombstones::Skip;
    let mut made = rows(8);
    made[1].value = None;
    made[2].value = Some(b"{\"a\":1}\n{\"a\":2}".to_vec());
    let mut feeder = Feeder::new(settings);
    let slot = feeder.add("t", 0, made);
    feeder.run_until_taken(slot);
    assert_eq!(feeder.partition(slot).refused, [2]);
    let epoch = feeder.partition(slot).epoch;
    feeder.sink().drain(slot, epoch);
    for _ in 0..50 {
        feeder.turn();
    }
    assert_eq!(
        feeder.partition(slot).acked,
        0,
        "acked before it is settled"
    );
    feeder.sink().settle(slot, epoch, 2);
    feeder.run_until("a drain", |feeder| feeder.partition(slot).is_drained);
    assert_eq!(feeder.partition(slot).acked, 8);
    assert_eq!(
        lines(&hdfs.files(), "/refused", "t", 0),
        plain_lines([0, 3, 4, 5, 6, 7].into_iter())
    );
}

/// The second owner comes when the first has taken `more` that isn't committed.
fn fences(base: &str, more: Vec<Row>) {
    let hdfs = hdfs();
    let files = hdfs.files();
    let all: Vec<Row> = rows(1_000).into_iter().chain(more).collect();
    let values = all.iter().filter_map(|row| row.value.clone());
    let expected: Vec<String> = values.map(|v| String::from_utf8(v).unwrap()).collect();
    let mut first = Feeder::new(settings(hdfs.url(), base));
    let slot = first.add("t", 0, rows(1_000));
    first.finish(slot);
    let epoch = first.partition(slot).epoch;
    first.sink().close(slot, epoch);
    first.partitions.get_mut(&slot).expect("it is there").rows = all.clone();
    first.open(slot);
    first.run_until_taken(slot);

    let mut second = Feeder::new(settings(hdfs.url(), base));
    let stolen = second.add("t", 0, all);
    second.run_until_taken(stolen);

    let epoch = first.partition(slot).epoch;
    first.sink().drain(slot, epoch);
    first.run_until("the fence", |feeder| {
        feeder.partition(slot).fenced.is_some()
    });
    assert_eq!(first.partition(slot).rewinds, [], "it doesn't fence back");
    assert_eq!(first.partition(slot).acked, 1_000, "nothing of it counts");
    second.finish(stolen);
    assert_eq!(lines(&files, base, "t", 0), expected);
    wait_for_no_temps(&files, base);
}

#[test]
fn a_second_owner_fences_one_that_has_no_file_yet() {
    fences("/fenced", (1_000..3_000).map(Row::new).collect());
}

#[test]
fn a_second_owner_fences_one_in_the_middle_of_a_file() {
    fences("/fenced-writing", (1_000..60_000).map(Row::new).collect());
}

#[test]
fn a_second_owner_fences_one_that_has_only_an_entry_to_write() {
    let tombstone = |offset| Row {
        value: None,
        ..Row::new(offset)
    };
    fences("/fenced-entry", (1_000..1_100).map(tombstone).collect());
}

#[test]
fn a_datanode_that_dies_under_a_file_costs_a_rewind_and_no_record() {
    let hdfs = hdfs();
    let (base, files) = ("/datanode", hdfs.files());
    let mut settings = settings(hdfs.url(), base);
    settings.rotation.age = Duration::from_secs(3);
    let mut feeder = Feeder::new(settings);
    // Big enough that blocks are under way when the node goes.
    let big = |offset| Row {
        value: Some(format!("{{\"offset\":{offset},\"pad\":\"{}\"}}", "x".repeat(2_000)).into()),
        ..Row::new(offset)
    };
    let slot = feeder.add("t", 0, (0..2_000).map(big).collect());
    feeder.run_until_taken(slot);
    wait_until("a file to be open", LONG, || {
        match temps(&files, base).is_empty() {
            true => Err("none".to_owned()),
            false => Ok(()),
        }
    })
    .expect("a temp file");
    hdfs.datanodes()[0].kill().expect("a kill");
    feeder.run_until("a rewind", |feeder| {
        !feeder.partition(slot).rewinds.is_empty()
    });
    hdfs.heal().expect("the DataNode comes back");
    feeder.run_until_acked(slot, 2_000);
    let found = lines(&files, base, "t", 0);
    assert_eq!(found.len(), 2_000);
    for (line, row) in found.iter().zip(&feeder.partition(slot).rows) {
        assert_eq!(Some(line.as_bytes()), row.value.as_deref());
    }
    wait_for_no_temps(&files, base);
}

/// Until a DataNode has reported a file's last block, the file is its writer's: whoever recovers the lease before
/// makes the close fail.
#[test]
fn a_file_whose_last_block_is_reported_late_is_closed_all_the_same() {
    // A server of its own, but not beside the others'.
    let _alone = hdfs();
    let interval = ("dfs.blockreport.incremental.intervalMsec", "300");
    let hdfs = Hdfs::start(&HdfsOptions {
        properties: vec![(interval.0.into(), interval.1.into())],
        ..HdfsOptions::default()
    })
    .expect("HDFS starts");
    let mut settings = settings(hdfs.url(), "/late");
    settings.rotation.records = Some(100);
    let mut feeder = Feeder::new(settings);
    let slot = feeder.add("t", 0, rows(2_000));
    feeder.run_until_acked(slot, 2_000);
    assert_eq!(lines(&hdfs.files(), "/late", "t", 0), plain_lines(0..2_000));
    assert!(feeder.partition(slot).rewinds.is_empty());
    let log = std::fs::read_to_string(hdfs.namenode().log()).unwrap();
    assert!(log.contains("Recovering [Lease"), "files are closed sooner");
    for words in [
        "recovery is in progress",
        "Failed to release lease",
        "under recovery",
    ] {
        assert!(!log.contains(words), "{words}");
    }
}

/// Lets HDFS go, sees that the sink waits, lets it come back, and sees that it goes on.
fn survives(base: &str, rotation_records: u64, goes: impl Fn(&Hdfs), returns: impl Fn(&Hdfs)) {
    let hdfs = hdfs();
    let mut settings = settings(hdfs.url(), base);
    settings.rotation.records = Some(rotation_records);
    settings.call_timeout = Duration::from_secs(3);
    let mut feeder = Feeder::new(settings);
    let slot = feeder.add("t", 0, rows(2_000));
    feeder.run_until_acked(slot, 1_000);
    goes(&hdfs);
    feeder.partitions.get_mut(&slot).expect("it is there").rows = rows(6_000);
    feeder.run_until("the circuit to open", |feeder| {
        feeder.connector.health().circuit != CircuitState::Closed
    });
    let reason = feeder.connector.health().reason.expect("it says why");
    let before = feeder.partition(slot).acked;
    returns(&hdfs);
    let returned = Instant::now();
    feeder.run_until_acked(slot, before + 1);
    let (after, took) = (feeder.partition(slot).acked, returned.elapsed());
    println!("{base}: {reason}\n{base}: went on from {before} to {after} within {took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    feeder.finish(slot);
    assert_eq!(feeder.partition(slot).fenced, None);
    assert_eq!(feeder.partition(slot).stopped, None);
    assert_eq!(lines(&hdfs.files(), base, "t", 0), plain_lines(0..6_000));
    wait_for_no_temps(&hdfs.files(), base);
}

#[test]
fn a_frozen_namenode_is_waited_out() {
    survives(
        "/frozen",
        500,
        |hdfs| hdfs.namenode().freeze().expect("a freeze"),
        |hdfs| hdfs.namenode().thaw().expect("a thaw"),
    );
}

#[test]
fn a_killed_namenode_is_waited_out() {
    survives(
        "/killed",
        500,
        |hdfs| hdfs.namenode().kill().expect("a kill"),
        |hdfs| hdfs.heal().expect("a start"),
    );
}

#[test]
fn safe_mode_is_waited_out() {
    survives(
        "/safe-mode",
        500,
        |hdfs| {
            hdfs.admin(&["-safemode", "enter"]).expect("safe mode");
        },
        |hdfs| {
            hdfs.admin(&["-safemode", "leave"]).expect("no safe mode");
        },
    );
}

#[test]
fn a_sink_that_starts_during_an_outage_opens_when_it_is_over() {
    let hdfs = hdfs();
    hdfs.namenode().kill().expect("a kill");
    let mut feeder = Feeder::new(settings(hdfs.url(), "/late"));
    let slot = feeder.add("t", 0, rows(10));
    feeder.run_until("the circuit to open", |feeder| {
        feeder.connector.health().circuit != CircuitState::Closed
    });
    hdfs.heal().expect("a start");
    feeder.finish(slot);
    assert_eq!(lines(&hdfs.files(), "/late", "t", 0), plain_lines(0..10));
}

#[test]
fn after_a_crash_reading_goes_on_where_the_log_ends_whatever_kafka_says() {
    let hdfs = hdfs();
    let (base, files) = ("/crash", hdfs.files());
    for round in 1..=4i64 {
        let mut made = settings(hdfs.url(), base);
        made.rotation.records = Some(300);
        let mut feeder = Feeder::new(made);
        // Kafka's committed offset is lost every time.
        let slot = feeder.add("t", 0, rows(1_000 * round));
        feeder.run_until("the opening", |feeder| feeder.partition(slot).is_open);
        feeder.run_until_acked(slot, 1_000 * (round - 1) + 400);
        feeder.crash();
    }
    let mut feeder = Feeder::new(settings(hdfs.url(), base));
    let slot = feeder.add("t", 0, rows(4_000));
    feeder.finish(slot);
    assert_eq!(lines(&files, base, "t", 0), plain_lines(0..4_000));
    wait_for_no_temps(&files, base);
}

#[test]
fn twenty_partitions_take_turns_on_four_files() {
    let hdfs = hdfs();
    let (base, files) = ("/turns", hdfs.files());
    let mut feeder = Feeder::new(settings(hdfs.url(), base));
    let slots: Vec<_> = (0..20).map(|n| feeder.add("t", n, rows(500))).collect();
    let turn = "waits for its turn: 4 of 20 partitions have files open at a time; ";
    let (all_say_why, most_open) = (Cell::new(false), Cell::new(0));
    feeder.run_until("everything to be committed", |feeder| {
        let why = |slot: &Slot| feeder.sink.as_ref().unwrap().why_waiting(*slot);
        let said: Vec<_> = slots.iter().filter_map(why).collect();
        let waits = said.iter().any(|why| why.starts_with(turn));
        all_say_why.set(all_say_why.get() || waits && slots.len() - said.len() <= 4);
        let closing = said.iter().filter(|why| why.contains("are being closed"));
        let delivering = feeder.partitions.values().filter(|p| p.is_delivering);
        most_open.set(most_open.get().max(closing.count() + delivering.count()));
        let mut partitions = slots.iter().map(|slot| feeder.partition(*slot));
        partitions.all(|partition| partition.acked >= 500)
    });
    assert!(feeder.most_delivering <= 4, "{}", feeder.most_delivering);
    assert!(all_say_why.get(), "who isn't read says why");
    let most_open = most_open.get();
    assert!(
        most_open > 4,
        "who closes holds no place of four: {most_open}"
    );
    for partition in 0..20 {
        assert_eq!(lines(&files, base, "t", partition), plain_lines(0..500));
    }
    let found = committed(&files, base).len();
    assert_eq!(found, 20, "one file each: nothing was cut short");
    assert_eq!(temps(&files, base), Vec::<String>::new());
}

#[test]
fn a_partition_that_is_closed_half_way_leaves_nothing_behind() {
    let hdfs = hdfs();
    let (base, files) = ("/abandoned", hdfs.files());
    let mut feeder = Feeder::new(settings(hdfs.url(), base));
    // More than a chunk, so that the file is there.
    let slot = feeder.add("t", 0, rows(200_000));
    feeder.run_until_taken(slot);
    wait_until("a file to be open", LONG, || {
        match temps(&files, base).is_empty() {
            true => Err("none".to_owned()),
            false => Ok(()),
        }
    })
    .expect("a temp file");
    let epoch = feeder.partition(slot).epoch;
    feeder.sink().close(slot, epoch);
    wait_for_no_temps(&files, base);
    feeder.open(slot);
    feeder.run_until("the opening", |feeder| feeder.partition(slot).is_open);
    assert_eq!(feeder.partition(slot).acked, 0);
    wait_until("the reaper to close it", LONG, || {
        let files = feeder.connector.health().details;
        match files
            .iter()
            .any(|(name, value)| name == "open_files" && value == "0")
        {
            true => Ok(()),
            false => Err(format!("{files:?}")),
        }
    })
    .expect("no file stays open");
}

#[test]
fn check_says_what_is_wrong_and_what_to_do() {
    let hdfs = hdfs();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let good = settings(hdfs.url(), "/checked/deep");
    assert_eq!(runtime.block_on(check(&good)), Ok(()));
    let left = hdfs.files().list_recursive("/checked").expect("a listing");
    let left: Vec<_> = left.into_iter().map(|status| status.path).collect();
    assert_eq!(left, ["/checked/deep", "/checked/deep/_outflow"]);

    let mut stranger = good.clone();
    stranger.user = Some("stranger".to_owned());
    let denied = runtime
        .block_on(check(&stranger))
        .expect_err("no permission");
    assert_eq!(denied.kind, Kind::Misconfigured);
    assert!(
        denied.what.contains("Permission denied: user=stranger"),
        "{denied}"
    );
    assert!(denied.what.contains("grant this user"), "{denied}");

    let mut nowhere = good.clone();
    nowhere.url = "hdfs://127.0.0.1:1".to_owned();
    let refused = runtime.block_on(check(&nowhere)).expect_err("nobody there");
    assert_eq!(refused.kind, Kind::Unavailable);
    assert!(refused.what.contains("hdfs://127.0.0.1:1"), "{refused}");

    hdfs.files()
        .write("/a-file", b"x".to_vec())
        .expect("a file");
    let mut file = good;
    file.base = "/a-file".to_owned();
    let wrong = runtime.block_on(check(&file)).expect_err("a file");
    assert!(wrong.what.contains("is a file"), "{wrong}");
}
