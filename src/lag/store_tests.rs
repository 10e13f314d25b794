//! What is placed, dropped and forgotten, case by case.

use super::*;
use crate::lag::group_records::{ClassicMember, Owner as RecordOwner};

const NOW: i64 = 1_000_000_000;
const ID: TopicId = [7; 16];

fn keep() -> Keep {
    Keep {
        intervals: 3,
        ..Keep::default()
    }
}

fn see(store: &mut Store, topics: &[(&str, usize)]) {
    let sightings: Vec<_> = topics
        .iter()
        .map(|(name, num_partitions)| Sighting {
            name,
            id: (*name == "t").then_some(ID),
            num_partitions: *num_partitions,
        })
        .collect();
    store.set_topics(&sightings);
}

fn end(store: &mut Store, topic: &str, partition: i32, offset: i64) {
    let at_ms = NOW;
    store.take_log_end(topic, partition, LogEnd { offset, at_ms });
}

/// A store that knows topic `t` with two partitions, whose logs end at 100.
fn store_with(keep: Keep) -> Store {
    let mut store = Store::new(keep);
    see(&mut store, &[("t", 2)]);
    end(&mut store, "t", 0, 100);
    end(&mut store, "t", 1, 100);
    store
}

fn commit_at(store: &mut Store, group: &str, partition: i32, offset: i64, order: i64) -> Taken {
    let timestamp_ms = NOW - 10_000 + order;
    let value = CommittedOffset {
        offset,
        timestamp_ms,
    };
    store.take_commit(group, "t", partition, value, order, NOW)
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.collect()
}

fn lags(store: &Store, group: &str) -> Vec<u64> {
    let partitions = store.group(group, NOW).expect("the group is known");
    partitions.map(|p| p.seen.current_lag()).collect()
}

#[test]
fn a_commit_counts_for_every_partition_of_its_topic() {
    let mut store = store_with(keep());
    let taken = commit_at(&mut store, "g", 1, 90, 1);
    assert_eq!(taken, Taken::Placed(Placed::Appended));
    assert_eq!(lags(&store, "g"), [0, 10], "the other has no commit");
    assert_eq!(store.num_partitions(), 2);
    assert_eq!(names(store.groups_of("t")), ["g"]);
    assert_eq!(names(store.groups_of("other")), Vec::<&str>::new());
}

#[test]
fn what_cant_be_held_against_a_log_is_dropped() {
    let mut store = store_with(keep());
    see(&mut store, &[("t", 2), ("young", 1)]);
    assert_eq!(commit_at(&mut store, "g", 2, 1, 1), Taken::Unknown);
    assert_eq!(commit_at(&mut store, "g", -1, 1, 1), Taken::Unknown);
    let value = CommittedOffset {
        offset: 1,
        timestamp_ms: NOW,
    };
    let of = |store: &mut Store, topic: &str| store.take_commit("g", topic, 0, value, 1, NOW);
    assert_eq!(of(&mut store, "none"), Taken::Unknown);
    assert_eq!(of(&mut store, "young"), Taken::Unknown, "no end is known");
    assert_eq!(names(store.group_names()), Vec::<&str>::new());
}

#[test]
fn old_commits_are_dropped_and_groups_without_new_ones_go() {
    let mut store = store_with(Keep {
        expire_ms: 60_000,
        ..keep()
    });
    let value = CommittedOffset {
        offset: 1,
        timestamp_ms: NOW - 60_001,
    };
    let taken = store.take_commit("g", "t", 0, value, 1, NOW);
    assert_eq!(taken, Taken::Expired);
    let value = CommittedOffset {
        timestamp_ms: NOW - 60_000,
        ..value
    };
    store.take_commit("g", "t", 0, value, 1, NOW);
    assert!(store.group("g", NOW).is_some());
    assert!(store.group("g", NOW + 1).is_none(), "it is too old by now");
    store.expire(NOW);
    assert_eq!(names(store.group_names()), ["g"]);
    store.expire(NOW + 1);
    assert_eq!(names(store.group_names()), Vec::<&str>::new());
    assert_eq!(store.num_partitions(), 0);
}

#[test]
fn a_late_commit_has_no_lag_and_isnt_the_last() {
    let mut store = store_with(keep());
    commit_at(&mut store, "g", 0, 90, 5);
    commit_at(&mut store, "g", 0, 50, 2);
    let group = store.group("g", NOW).expect("known");
    let windows: Vec<Vec<_>> = group
        .map(|p| p.seen.commits.iter().map(|c| (c.offset, c.lag)).collect())
        .collect();
    assert_eq!(windows, [vec![(50, None), (90, Some(10))], vec![]]);
}

#[test]
fn patterns_say_which_groups_are_watched() {
    let whole = |text: &str| Regex::new(&format!("^(?:{text})$")).expect("a pattern");
    let groups = GroupPatterns {
        include: Some(whole("a.*")),
        exclude: vec![whole("a-test-.*")],
    };
    let mut store = store_with(Keep { groups, ..keep() });
    let record = |group| GroupRecord::Offset {
        group,
        topic: "t",
        partition: 0,
        value: Some(CommittedOffset {
            offset: 1,
            timestamp_ms: NOW,
        }),
    };
    for (group, is_watched) in [("ab", true), ("ba", false), ("a-test-1", false)] {
        let taken = store.take(record(group), 1, NOW);
        assert_eq!(taken != Taken::Ignored, is_watched, "{group}");
    }
    assert_eq!(names(store.group_names()), ["ab"]);
}

#[test]
fn memory_is_bounded_by_groups_and_by_partitions() {
    let mut store = store_with(Keep {
        max_groups: 2,
        max_partitions: 4,
        ..keep()
    });
    for group in ["a", "b"] {
        assert!(matches!(
            commit_at(&mut store, group, 0, 1, 1),
            Taken::Placed(_)
        ));
    }
    assert_eq!(commit_at(&mut store, "c", 0, 1, 1), Taken::TooMany);
    see(&mut store, &[("t", 2), ("u", 1)]);
    end(&mut store, "u", 0, 5);
    let value = CommittedOffset {
        offset: 1,
        timestamp_ms: NOW,
    };
    let taken = store.take_commit("a", "u", 0, value, 2, NOW);
    assert_eq!((taken, store.num_dropped()), (Taken::TooMany, 2));
    store.remove_group("b");
    assert!(matches!(
        store.take_commit("a", "u", 0, value, 2, NOW),
        Taken::Placed(_)
    ));
    assert_eq!(store.num_partitions(), 3);
    store.remove_group_topic("a", "t");
    assert_eq!(store.num_partitions(), 1);
}

#[test]
fn a_tombstone_forgets_a_partition_and_the_last_one_the_group() {
    let mut store = store_with(keep());
    commit_at(&mut store, "g", 0, 90, 1);
    commit_at(&mut store, "g", 1, 80, 2);
    let tombstone = |partition| GroupRecord::Offset {
        group: "g",
        topic: "t",
        partition,
        value: None,
    };
    store.take(tombstone(0), 3, NOW);
    assert_eq!(lags(&store, "g"), [0, 20]);
    store.take(tombstone(1), 4, NOW);
    assert!(store.group("g", NOW).is_none());
    assert_eq!(store.num_partitions(), 0);
}

#[test]
fn a_topic_is_gone_when_it_was_missed_twice_and_new_when_its_id_is() {
    let mut store = store_with(keep());
    commit_at(&mut store, "g", 0, 90, 1);
    see(&mut store, &[]);
    assert_eq!(
        names(store.topic_names()),
        ["t"],
        "a young broker may not know it"
    );
    see(&mut store, &[]);
    assert_eq!(names(store.topic_names()), Vec::<&str>::new());
    assert_eq!(
        (names(store.groups_of("t")), store.num_partitions()),
        (vec![], 0)
    );

    let mut store = store_with(keep());
    commit_at(&mut store, "g", 0, 90, 1);
    store.set_topics(&[Sighting {
        name: "t",
        id: Some([8; 16]),
        num_partitions: 1,
    }]);
    assert_eq!(store.topic("t").map(|t| t.logs().len()), Some(1));
    assert_eq!(names(store.groups_of("t")), Vec::<&str>::new());
}

#[test]
fn a_topic_grows_and_never_shrinks() {
    let mut store = store_with(keep());
    commit_at(&mut store, "g", 0, 90, 1);
    see(&mut store, &[("t", 4)]);
    see(&mut store, &[("t", 3)]);
    assert_eq!(store.topic("t").map(|t| t.logs().len()), Some(4));
    assert_eq!(lags(&store, "g").len(), 2, "as Burrow: at the next commit");
    commit_at(&mut store, "g", 0, 91, 2);
    assert_eq!((lags(&store, "g").len(), store.num_partitions()), (4, 4));
}

fn owner<'a>(client_id: &'a str) -> RecordOwner<'a> {
    RecordOwner {
        client_id,
        client_host: "/10.0.0.1",
    }
}

fn owners(store: &Store) -> Vec<Option<&str>> {
    let partitions = store.group("g", NOW).expect("known");
    partitions
        .map(|p| p.owner.map(|owner| &*owner.client_id))
        .collect()
}

#[test]
fn classic_members_own_what_their_leader_gave_them() {
    let mut store = store_with(keep());
    let members = |member: Option<(&'static str, Vec<i32>)>| GroupRecord::Classic {
        group: "g",
        value: member.map(|(client_id, partitions)| {
            vec![ClassicMember {
                owner: owner(client_id),
                assigned: vec![("t", partitions), ("none", vec![0])],
            }]
        }),
    };
    store.take(members(Some(("a", vec![0, 1]))), 1, NOW);
    assert!(store.group("g", NOW).is_none(), "it never committed");
    assert_eq!(names(store.group_names()), ["g"]);
    commit_at(&mut store, "g", 0, 90, 2);
    assert_eq!(owners(&store), [Some("a"), Some("a")]);
    store.take(members(Some(("b", vec![1]))), 3, NOW);
    assert_eq!(owners(&store), [None, Some("b")]);
    store.take(members(None), 4, NOW);
    assert_eq!(owners(&store), [None, None]);
}

#[test]
fn members_of_the_consumer_protocol_own_by_topic_ids() {
    let mut store = Store::new(keep());
    let member = |value| GroupRecord::Member {
        group: "g",
        member: "m",
        value,
    };
    let assigned = |value| GroupRecord::Assignment {
        group: "g",
        member: "m",
        value,
    };
    store.take(member(Some(owner("new"))), 1, NOW);
    store.take(assigned(Some(vec![(ID, vec![1])])), 2, NOW);
    // The topic is seen later than who has it.
    see(&mut store, &[("t", 2)]);
    end(&mut store, "t", 1, 100);
    commit_at(&mut store, "g", 1, 90, 3);
    assert_eq!(owners(&store), [None, Some("new")]);
    store.take(assigned(None), 4, NOW);
    assert_eq!(owners(&store), [None, None]);
    store.take(assigned(Some(vec![(ID, vec![0])])), 5, NOW);
    assert_eq!(owners(&store), [Some("new"), None]);
    store.take(member(None), 6, NOW);
    assert_eq!(owners(&store), [None, None]);
}

#[test]
fn a_hole_at_the_end_isnt_lag_until_the_log_goes_on() {
    let mut store = store_with(keep());
    commit_at(&mut store, "g", 0, 99, 1);
    assert!(store.stuck().is_empty(), "it stood still only once");
    end(&mut store, "t", 0, 100);
    end(&mut store, "t", 0, 100);
    let stuck: Vec<_> = store.stuck();
    assert_eq!(stuck, [("t".into(), 0, 99)]);
    store.take_hole("t", 0, Hole { from: 99, end: 101 });
    assert_eq!(lags(&store, "g"), [1, 0], "another end than the log's");
    store.take_hole("t", 0, Hole { from: 99, end: 100 });
    assert_eq!(lags(&store, "g"), [0, 0]);
    assert!(store.stuck().is_empty());
    end(&mut store, "t", 0, 105);
    assert_eq!(lags(&store, "g"), [6, 0]);
    // From now on it is known that one offset behind the last record is a marker.
    commit_at(&mut store, "g", 0, 104, 2);
    let newest = store.group("g", NOW).and_then(|mut g| g.next());
    assert_eq!(newest.and_then(|p| p.seen.commits.newest()?.lag), Some(0));
}

#[test]
fn of_several_groups_the_furthest_shows_where_records_end() {
    let mut store = store_with(keep());
    commit_at(&mut store, "a", 0, 90, 1);
    commit_at(&mut store, "b", 0, 95, 1);
    commit_at(&mut store, "c", 0, 100, 1);
    end(&mut store, "t", 0, 100);
    end(&mut store, "t", 0, 100);
    assert_eq!(store.stuck(), [("t".into(), 0, 95)]);
    store.take_hole("t", 0, Hole { from: 95, end: 100 });
    assert_eq!(store.stuck(), [("t".into(), 0, 90)]);
    store.take_hole("t", 0, Hole { from: 90, end: 100 });
    assert!(store.stuck().is_empty());
}

#[test]
fn members_that_go_on_without_commits_dont_fill_the_memory() {
    let mut store = store_with(keep());
    let gone = GroupRecord::Classic {
        group: "g",
        value: None,
    };
    assert_eq!(store.take(gone, 1, NOW), Taken::Noted);
    let empty = GroupRecord::Classic {
        group: "g",
        value: Some(Vec::new()),
    };
    store.take(empty, 2, NOW);
    assert_eq!(names(store.group_names()), Vec::<&str>::new());
    assert_eq!(store.take(GroupRecord::Other(3), 3, NOW), Taken::Ignored);
}
