use proptest::prelude::*;

use super::*;

/// Drives it as a reader does: lines are read only when they are wanted.
fn diff(differ: Differ, records: &[(i64, u64)], lines: &[u64]) -> Diff {
    let (mut differ, mut lines) = (differ, lines.iter());
    let mut read = |differ: &mut Differ| {
        while differ.wants_line() {
            match lines.next() {
                Some(line) => differ.line(*line),
                None => differ.end_lines(),
            }
        }
    };
    for (offset, hash) in records {
        differ.record(*offset, *hash);
        read(&mut differ);
    }
    differ.end_records();
    read(&mut differ);
    differ.finish()
}

fn records(num: i64) -> Vec<(i64, u64)> {
    (0..num).map(|n| (100 + n, n as u64)).collect()
}

fn runs(lines: &[u64], num: i64) -> Vec<(Kind, i64, i64, u64)> {
    let found = diff(Differ::new(100, 0, false), &records(num), lines);
    let plain = |run: &Run| (run.kind, run.range.first, run.range.end, run.records);
    found.runs.iter().map(plain).collect()
}

#[test]
fn each_difference_is_named_with_its_offsets() {
    use Kind::{Changed, Doubled, Extra, Missing, OutOfOrder};
    type Expected = Vec<(Kind, i64, i64, u64)>;
    let table: [(&str, &[u64], Expected); 13] = [
        ("all there", &[0, 1, 2, 3, 4, 5], vec![]),
        (
            "a line is gone",
            &[0, 1, 3, 4, 5],
            vec![(Missing, 102, 103, 1)],
        ),
        ("two are", &[0, 3, 4, 5], vec![(Missing, 101, 103, 2)]),
        (
            "the first is",
            &[1, 2, 3, 4, 5],
            vec![(Missing, 100, 101, 1)],
        ),
        ("the end is", &[0, 1, 2], vec![(Missing, 103, 106, 3)]),
        ("all are", &[], vec![(Missing, 100, 106, 6)]),
        (
            "doubled at once",
            &[0, 1, 2, 2, 3, 4, 5],
            vec![(Doubled, 102, 103, 1)],
        ),
        (
            "doubled later",
            &[0, 1, 2, 3, 4, 5, 1],
            vec![(Doubled, 101, 102, 1)],
        ),
        (
            "doubled before",
            &[0, 4, 1, 2, 3, 4, 5],
            vec![(Doubled, 104, 105, 1)],
        ),
        (
            "changed",
            &[0, 1, 99, 3, 4, 5],
            vec![(Changed, 102, 103, 1)],
        ),
        (
            "swapped: either is right",
            &[0, 2, 1, 3, 4, 5],
            vec![(OutOfOrder, 102, 103, 1)],
        ),
        (
            "moved to the end",
            &[0, 2, 3, 4, 5, 1],
            vec![(OutOfOrder, 101, 102, 1)],
        ),
        (
            "a stranger",
            &[0, 1, 2, 99, 3, 4, 5],
            vec![(Extra, 102, 103, 1)],
        ),
    ];
    for (name, lines, expected) in table {
        assert_eq!(runs(lines, 6), expected, "{name}");
    }
}

#[test]
fn differences_larger_than_the_window_are_still_counted_exactly() {
    let num = WINDOW as i64 * 3;
    let all: Vec<u64> = (0..num as u64).collect();
    let half = &all[..all.len() / 2];
    assert_eq!(
        runs(half, num),
        [(Kind::Missing, 100 + num / 2, 100 + num, num as u64 / 2)]
    );
    let twice = [&all[..], &all[..10]].concat();
    let found = runs(&twice, num);
    let extra: u64 = found.iter().map(|(_, _, _, records)| records).sum();
    assert_eq!(
        extra, 10,
        "too far apart to be told from strangers: {found:?}"
    );
    assert!(found.iter().all(|(kind, ..)| *kind == Kind::Extra));
}

#[test]
fn what_retention_took_is_passed_over_at_the_beginning() {
    let kept = &records(6)[3..];
    let found = diff(Differ::new(103, 3, false), kept, &[0, 1, 2, 3, 4, 5]);
    assert_eq!((found.runs.len(), found.matched, found.lines), (0, 3, 6));
}

#[test]
fn a_compacted_topics_file_may_hold_more_than_kafka() {
    let kept = [records(6)[1], records(6)[4]];
    let compacted = || Differ::new(100, 0, true);
    let found = diff(compacted(), &kept, &[0, 1, 2, 3, 4, 5]);
    assert_eq!((found.runs.len(), found.matched, found.lines), (0, 2, 6));
    let found = diff(compacted(), &kept, &[0, 2, 3, 4, 5]);
    assert_eq!(found.runs.len(), 1);
    assert_eq!(found.runs[0].range, Range::new(101, 102));
    assert_eq!((found.runs[0].kind, found.unjudged), (Kind::Missing, 1));
}

proptest! {
    /// Against the naive model, which has everything in memory: with contents that are all different, each
    /// edit is found, and nothing else.
    #[test]
    fn every_edit_is_found_and_nothing_else(
        num in 30i64..400,
        edits in proptest::collection::btree_map(0i64..13, 0u8..3, 0..8),
    ) {
        // Edits stand far enough apart not to touch each other.
        let mut lines = Vec::new();
        let mut expected = Vec::new();
        for n in 0..num {
            let line = n as u64;
            let edit = (n % 30 == 7).then(|| edits.get(&(n / 30))).flatten();
            match edit {
                None => lines.push(line),
                Some(0) => expected.push((Kind::Missing, n)),
                Some(1) => {
                    lines.extend([line, line]);
                    expected.push((Kind::Doubled, n));
                }
                Some(_) => {
                    lines.push(1_000_000 + line);
                    expected.push((Kind::Changed, n));
                }
            }
        }
        let found: Vec<_> = runs(&lines, num).iter().map(|run| (run.0, run.1 - 100)).collect();
        prop_assert_eq!(found, expected);
    }

    /// Whatever the two are, the sums are right: each record matched, missing, changed or out of order.
    #[test]
    fn the_sums_are_right_whatever_stands_there(
        wanted in proptest::collection::vec(0u64..6, 0..60),
        lines in proptest::collection::vec(0u64..8, 0..60),
    ) {
        let records: Vec<_> = wanted.iter().enumerate().map(|(n, hash)| (n as i64, *hash)).collect();
        let found = diff(Differ::new(0, 0, false), &records, &lines);
        let sum = |kinds: &[Kind]| -> u64 {
            let runs = found.runs.iter().filter(|run| kinds.contains(&run.kind));
            runs.map(|run| run.records).sum()
        };
        use Kind::{Changed, Doubled, Extra, Missing, OutOfOrder};
        prop_assert_eq!(found.matched + sum(&[Missing, Changed, OutOfOrder]), wanted.len() as u64);
        prop_assert_eq!(found.matched + sum(&[Doubled, Changed, OutOfOrder, Extra]), lines.len() as u64);
        prop_assert_eq!(found.runs.is_empty(), wanted == lines);
    }
}
