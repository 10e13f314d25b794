//! What a message says, of groups that are judged by the real rules.

use super::*;
use crate::lag::group_records::CommittedOffset;
use crate::lag::{Keep, LogEnd, Rules, Sighting, Store};
use crate::monitor::judge;

const NOW_MS: i64 = 1_774_000_120_000;

/// A group `payments` of a topic with so many partitions; the given ones have stood still at offset 100 for two minutes, the others
/// have read everything.
fn store(num_partitions: usize, stuck: &[(i32, i64)]) -> Store {
    let mut store = Store::new(Keep::default());
    store.set_topics(&[Sighting {
        name: "orders",
        id: None,
        num_partitions,
    }]);
    for n in 0..i32::try_from(num_partitions).expect("few") {
        let end = stuck.iter().find(|(p, _)| *p == n).map_or(100, |(_, e)| *e);
        for i in 0..12 {
            let at_ms = NOW_MS - 120_000 + i * 10_000;
            store.take_log_end("orders", n, LogEnd { offset: end, at_ms });
            let commit = CommittedOffset {
                offset: 100,
                timestamp_ms: at_ms,
            };
            store.take_commit("payments", "orders", n, commit, i, at_ms);
        }
    }
    store
}

fn message(store: &Store, event: Event, page_url: Option<&str>) -> Message {
    let id = GroupId {
        cluster: "local".into(),
        group: "payments".into(),
    };
    let told = Told {
        id: "1f".into(),
        event,
        start_ms: NOW_MS - 95_000,
    };
    let about = About {
        notifier: "ops",
        id: &id,
        told: &told,
        now_ms: NOW_MS,
        page_url,
        cause: (event != Event::Close).then_some("the sink es is waiting: connection refused"),
    };
    match judge(store, "payments", NOW_MS, &Rules::default()) {
        Some(judged) => of_group(about, &judged),
        None => of_gone(about),
    }
}

#[test]
fn it_says_which_group_which_partitions_why_how_much_and_where_to_look() {
    let stuck: Vec<(i32, i64)> = (0..7).map(|n| (n, 1_000 * i64::from(n) + 101)).collect();
    let message = message(
        &store(12, &stuck),
        Event::Open,
        Some("https://outflow.example/"),
    );
    assert_eq!(
        message.title,
        "ERR: group payments of cluster local is stuck"
    );
    let lines: Vec<&str> = message.text.lines().collect();
    assert_eq!(
        lines[0],
        "In trouble since 2026-03-20T09:47:05Z (1 min 35 s): 7 of 12 partitions."
    );
    assert_eq!(
        lines[1],
        "outflow knows why: the sink es is waiting: connection refused."
    );
    assert_eq!(
        lines[2],
        "- orders[6] STALL: the consumer is there and doesn't get on: it has committed offset 100 again and again for 90 s; \
         6,001 records behind, the oldest more than 1 min 40 s old"
    );
    assert!(lines[6].starts_with("- orders[2] STALL"), "{lines:?}");
    assert_eq!(
        lines[7..],
        [
            "- and 2 more",
            "In all 21,007 records behind, the oldest more than 1 min 40 s old. At this pace it never catches up.",
            "https://outflow.example/#/group/local/payments",
        ]
    );
    assert_eq!((message.partitions.len(), message.num_bad), (5, 7));
    assert_eq!(message.partitions_left_out, 2);
}

#[test]
fn the_end_says_how_long_it_took() {
    let well = message(&store(2, &[]), Event::Close, None);
    assert_eq!(
        well.title,
        "OK: group payments of cluster local is well again"
    );
    assert_eq!(
        well.text,
        "It was in trouble since 2026-03-20T09:47:05Z, for 1 min 35 s.\nEverything is read."
    );
    let gone = message(&Store::new(Keep::default()), Event::Close, None);
    assert_eq!(gone.title, "group payments of cluster local is gone");
    assert_eq!(gone.status, "NOTFOUND");
    assert!(gone.text.ends_with(
        "The group is gone: it was deleted, or hasn't committed for so long that it is forgotten."
    ));
}

/// Receivers rely on it: a change here is a change of [`VERSION`], or an addition.
#[test]
fn the_shape_is_the_documented_one() {
    let shape = serde_json::to_value(sample(Event::Open, "ops")).expect("JSON");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    let mut all = keys(&shape);
    all.extend(
        keys(&shape["partitions"][0])
            .iter()
            .map(|k| format!("partitions.{k}")),
    );
    let documented = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring.md"),
    )
    .expect("the documentation");
    for key in all {
        let name = key.rsplit('.').next().unwrap_or_default();
        assert!(
            documented.contains(&format!("`{name}`")),
            "{key} isn't documented"
        );
    }
    assert_eq!(shape["version"], 1);
    assert_eq!(shape["event"], "open");
}

#[test]
fn a_groups_name_stays_one_piece_of_the_link() {
    let id = GroupId {
        cluster: "a b".into(),
        group: "x/y?#é".into(),
    };
    assert_eq!(
        link("http://h", &id),
        "http://h/#/group/a%20b/x%2Fy%3F%23%C3%A9"
    );
}
