//! Commits on a real broker: read back and compared, and taken in part.

use std::time::Duration;

use outflow::offsets::TopicPartition;
use outflow::pipeline::source::{Commit, Source as _};

use super::member::{Member, until};
use super::turn;

fn commit(partition: TopicPartition, offset: i64) -> Commit {
    Commit {
        partition,
        offset,
        leader_epoch: -1,
        metadata: String::new(),
    }
}

/// Has `other` commit `offset` for the first partition of `m`, whose group it is in.
fn meddle(m: &mut Member, other: &mut Member, number: u64, offset: i64) {
    let theirs = commit(m.id(0), offset);
    other.source.commit(number, &[theirs]);
    until(
        &mut [m, other],
        "somebody else's commit is taken",
        |members| members[1].committed.contains(&(number, Ok(()))),
    );
}

#[test]
fn a_position_that_somebody_else_moves_is_noticed_and_nothing_is_said_without_that() {
    let t = turn();
    t.topic("moved", 1);
    t.topic("elsewhere", 1);
    t.produce("moved", 0, 0, 10);
    let mut m = t.member("moved", "moved");
    m.source.verify_every(Duration::ZERO);
    m.until("all is read", |m| m.seen.len() == 10);
    m.settle();
    // A broker takes commits from every member of the group, for whatever partition.
    let mut other = t.member("elsewhere", "moved");
    until(&mut [&mut m, &mut other], "both are members", |members| {
        members[1].assigned == [0]
    });
    t.produce("moved", 0, 10, 10);
    m.until("all is read", |m| m.seen.len() == 20);
    m.settle();
    assert_eq!(m.mismatches, [], "nobody has meddled yet");

    for (round, theirs) in [3, 42].into_iter().enumerate() {
        meddle(&mut m, &mut other, 100 + round as u64, theirs);
        until(&mut [&mut m, &mut other], "it is noticed", |members| {
            !members[0].mismatches.is_empty()
        });
        assert_eq!(m.mismatches[0], (0, 20, Some(theirs)));
        // Its own commit puts it right.
        m.settle();
        m.mismatches.clear();
        m.settle();
        assert_eq!(m.mismatches, []);
        let committed = t.client().committed("moved", "moved").unwrap();
        assert_eq!(committed[&0], 20);
    }
    assert!(m.source.close(Duration::from_secs(20)));
    assert!(other.source.close(Duration::from_secs(20)));
}

#[test]
fn a_partition_that_is_gone_takes_no_other_partitions_commit_along() {
    let t = turn();
    t.topic("stays", 1);
    let mut m = t.member("stays", "stays");
    m.until("it is a member", |m| m.assigned == [0]);
    let gone = commit(TopicPartition::new("gone-for-good", 0), 5);
    m.source.commit(100, &[gone, commit(m.id(0), 7)]);
    m.until("it is answered", |m| m.is_answered(100));
    assert!(m.committed[0].1.is_err(), "{:?}", m.committed);
    assert_eq!(m.committed_in_part, [(100, vec![m.id(0)])]);
    assert_eq!(t.client().committed("stays", "stays").unwrap()[&0], 7);
    assert!(m.source.close(Duration::from_secs(20)));
}
