//! What workers say, held against what is kept of it.

use super::*;
use crate::lag::{Keep, Rules};
use crate::status::{PartitionState, SinkHealth, WorkerStatus};
use std::time::Duration;

fn partition(number: i32, num_commits: u64, committed: i64, log_end: i64) -> PartitionStatus {
    PartitionStatus {
        topic: "t".into(),
        partition: number,
        epoch: 1,
        state: PartitionState::Running,
        committed: Some(committed),
        num_commits,
        log_end: Some(log_end),
        ..PartitionStatus::default()
    }
}

fn sink(partitions: Vec<PartitionStatus>) -> Vec<SinkStatus> {
    let worker = WorkerStatus {
        partitions,
        ..WorkerStatus::default()
    };
    vec![SinkStatus {
        name: "es".into(),
        kind: "elasticsearch",
        group: Some("g".into()),
        state: "running".into(),
        reason: None,
        paused: false,
        health: SinkHealth::default(),
        workers: vec![worker],
        lag: None,
        totals: Default::default(),
        verdict: None,
    }]
}

static NOW: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1_000_000);

fn inside(clock: fn() -> i64) -> Inside {
    let about = About {
        name: "local".into(),
        ..About::default()
    };
    let store = Store::new(Keep {
        intervals: 3,
        ..Keep::default()
    });
    Inside {
        clusters: vec![Arc::new(Watched::new(
            about,
            Rules::default(),
            store,
            clock,
        ))],
        sinks: [("es".to_owned(), 0)].into(),
        known: Mutex::default(),
    }
}

fn offsets(inside: &Inside) -> Vec<Vec<i64>> {
    let watched = &inside.clusters[0];
    let store = watched.store();
    let Some(group) = store.group("g", watched.now_ms()) else {
        return Vec::new();
    };
    group
        .map(|part| part.seen.commits.iter().map(|c| c.offset).collect())
        .collect()
}

#[test]
fn each_commit_between_two_looks_counts_once_whatever_its_offset() {
    let inside = inside(|| 1_000_000);
    inside.look(&sink(vec![partition(0, 0, 5, 20)]));
    assert_eq!(
        offsets(&inside),
        Vec::<Vec<i64>>::new(),
        "nobody knows when that was"
    );
    for (num_commits, committed) in [(3, 10), (3, 10), (4, 10), (9, 12)] {
        inside.look(&sink(vec![partition(0, num_commits, committed, 20)]));
    }
    assert_eq!(offsets(&inside), [vec![10, 10, 12]]);
    let mut sinks = sink(vec![partition(0, 9, 12, 20)]);
    inside.judge(&mut sinks);
    let verdict = sinks[0].workers[0].partitions[0].verdict.clone();
    assert_eq!(verdict.map(|v| v.lag), Some(8));
    assert_eq!(sinks[0].verdict.as_ref().map(|v| v.status), Some("OK"));
}

#[test]
fn what_isnt_held_any_more_isnt_judged() {
    let inside = inside(|| 1_000_000);
    let both = [partition(0, 1, 5, 20), partition(1, 1, 6, 20)];
    inside.look(&sink(both.to_vec()));
    assert_eq!(offsets(&inside), [vec![5], vec![6]]);
    inside.look(&sink(vec![partition(1, 1, 6, 20)]));
    assert_eq!(offsets(&inside), [vec![], vec![6]]);
    inside.look(&sink(Vec::new()));
    assert_eq!(offsets(&inside), Vec::<Vec<i64>>::new());
}

#[test]
fn a_partition_that_never_gets_on_since_it_was_taken_over_is_stopped() {
    use std::sync::atomic::Ordering::Relaxed;
    let inside = inside(|| NOW.load(Relaxed));
    let verdict = |after_s: i64| {
        NOW.store(1_000_000 + after_s * 1_000, Relaxed);
        let mut sinks = sink(vec![partition(0, 0, 5, 20)]);
        inside.look(&sinks);
        inside.judge(&mut sinks);
        sinks[0].workers[0].partitions[0]
            .verdict
            .take()
            .map(|v| v.status)
    };
    assert_eq!(verdict(0), None);
    assert_eq!(verdict(29), None);
    assert_eq!(verdict(31), Some("STOP"));
    // A pause explains it, and isn't hidden by it.
    let mut sinks = sink(vec![partition(0, 0, 5, 20)]);
    sinks[0].paused = true;
    inside.judge(&mut sinks);
    let of_partition = sinks[0].workers[0].partitions[0].verdict.take();
    for verdict in [of_partition, sinks[0].verdict.take()] {
        let reason = verdict.expect("judged").reason;
        assert!(
            reason.ends_with("; the sink is paused by request"),
            "{reason}"
        );
    }
}

#[test]
fn sinks_of_one_cluster_share_it_and_two_clusters_have_two_names() {
    let file = |name: &str, servers: &str| {
        let sink = match name {
            "c" => "[hdfs]\nurl = \"hdfs://127.0.0.1:1\"\nbase = \"/b\"\n",
            _ => "[elasticsearch]\nurls = [\"http://127.0.0.1:1\"]\n",
        };
        let text = format!(
            "name = \"{name}\"\n[kafka]\nbootstrap_servers = \"{servers}\"\ntopics = [\"t\"]\n{sink}"
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sink.toml");
        std::fs::write(&path, text).expect("written");
        let host = crate::config::surroundings::Host;
        let mut outcome = crate::config::load_sinks(&[path], &[], &host).expect("valid");
        outcome.loaded.remove(0).settings
    };
    let sinks = [file("a", "k:1"), file("b", "k:2"), file("c", "k:1")];
    let inside = Inside::new(&sinks, &sinks[0].lag);
    let names: Vec<_> = inside
        .clusters()
        .iter()
        .map(|c| c.about.name.clone())
        .collect();
    assert_eq!(names, ["local", "local-b"]);
    assert_eq!(inside.sinks.get("c"), Some(&0));
    // Files are closed after ten minutes, and may have to wait as long for their turn.
    let pauses = [0, 2].map(|n: usize| {
        let group = &sinks[n].kafka.group_id;
        inside.clusters[0].rules_of(group).pause_ms
    });
    assert_eq!(pauses, [0, 1_230_000]);
    assert_eq!(sinks[0].lag.offset_refresh, Duration::from_secs(10));
}

#[test]
fn a_group_is_known_to_stand_still_because_its_sink_does() {
    let inside = inside(|| 1_000_000);
    let cause = |state: &str, reason: Option<&str>, paused| {
        let mut sinks = sink(Vec::new());
        sinks[0].state = state.into();
        sinks[0].reason = reason.map(str::to_owned);
        sinks[0].paused = paused;
        inside.look(&sinks);
        inside.clusters[0].cause("g")
    };
    let waiting = cause("waiting", Some("connection refused"), false);
    let words = "the sink es is waiting: connection refused";
    assert_eq!(waiting.as_deref(), Some(words));
    let paused = cause("paused", None, true);
    assert_eq!(paused.as_deref(), Some("the sink es is paused by request"));
    assert_eq!(cause("running", None, false), None, "it is over");
    assert_eq!(inside.clusters[0].cause("another"), None);
    let partly = cause("running", Some("1 of 2 partitions waits: red"), false);
    let words = "the sink es is running: 1 of 2 partitions waits: red";
    assert_eq!(
        partly.as_deref(),
        Some(words),
        "it is no more than partly well"
    );
    let just_paused = cause("running", None, true);
    let words = "the sink es is paused by request";
    assert_eq!(just_paused.as_deref(), Some(words), "it still says running");
    let worse = cause("stuck", Some("a strange file"), true);
    let words = "the sink es is stuck: a strange file";
    assert_eq!(worse.as_deref(), Some(words), "the pause matters less");
    let starting = cause("starting", None, false);
    assert_eq!(starting.as_deref(), Some("the sink es is starting"));
}

/// Groups of one name in two clusters are two groups.
#[test]
fn a_group_does_not_stand_still_because_of_another_clusters_sink() {
    let mut inside = inside(|| 1_000_000);
    let about = About {
        name: "other".into(),
        ..About::default()
    };
    let other = Watched::new(about, Rules::default(), Store::new(Keep::default()), || 0);
    inside.clusters.push(Arc::new(other));
    inside.sinks.insert("far".to_owned(), 1);
    let mut sinks = [sink(Vec::new()), sink(Vec::new())].concat();
    sinks[1].name = "far".into();
    sinks[1].state = "waiting".into();
    // Whoever has no group has none that could stand still.
    sinks[0].group = None;
    sinks[0].state = "stuck".into();
    inside.look(&sinks);
    let causes = [0, 1].map(|place| inside.clusters[place].cause("g"));
    assert_eq!(causes, [None, Some("the sink far is waiting".to_owned())]);
}

/// An hour of an HDFS sink's partition that gets a record a second: each ten minutes a file is committed.
#[test]
fn a_sink_that_fills_its_files_slowly_is_neither_stopped_nor_stalled() {
    use std::sync::atomic::Ordering::Relaxed;
    static SECONDS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let inside = inside(|| 1_000_000 + SECONDS.load(Relaxed) * 1_000);
    inside.clusters[0].set_pause("g", 1_230_000);
    let look = |second: i64, num_files: i64, num_again: i64| {
        SECONDS.store(second, Relaxed);
        let num_commits = u64::try_from(1 + num_files + num_again).expect("few");
        let mut sinks = sink(vec![partition(0, num_commits, 600 * num_files, second + 3)]);
        if num_again > 0 {
            sinks[0].state = "waiting".into();
        }
        inside.look(&sinks);
        inside.judge(&mut sinks);
        let verdict = sinks[0].verdict.take().expect("judged");
        (verdict.status, verdict.reason)
    };
    for second in (0..3_600).step_by(10) {
        let (status, reason) = look(second, second / 600, 0);
        assert_eq!(status, "OK", "{second} s: {reason}");
    }
    // Then none comes any more.
    let mut later = (3_600..6_000).step_by(10);
    let told = later.find(|second| look(*second, 5, 0).0 == "ERR");
    assert_eq!(told, Some(3_000 + 1_240));
    assert_eq!(look(5_000, 8, 0).0, "OK");
    // Its server is away: the last offset is committed again each half minute, and nobody waits for a file.
    let mut later = (5_010..6_000).step_by(10);
    let told = later.find(|second| look(*second, 8, (second - 4_980) / 30).0 == "ERR");
    assert_eq!(told, Some(5_040), "the window has three commits");
}
