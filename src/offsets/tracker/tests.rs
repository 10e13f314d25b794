use proptest::prelude::*;

use super::*;

enum Step {
    Take(i64),
    Ack(i64, i64),
    Hold(i64),
    Settle(i64),
    Reach(i64),
    Commits(i64),
}
use Step::*;

fn walk(name: &str, resume: i64, steps: &[Step]) {
    let mut tracker = Tracker::resume_at(resume);
    for (at, step) in steps.iter().enumerate() {
        match *step {
            Take(offset) => assert!(tracker.take(offset, 1), "{name}: step {at}"),
            Ack(first, end) => tracker.ack(Range::new(first, end)).expect(name),
            Hold(offset) => tracker.hold(offset),
            Settle(offset) => tracker.settle(offset),
            Reach(offset) => tracker.reach(offset),
            Commits(offset) => assert_eq!(tracker.committable(), offset, "{name}: step {at}"),
        }
    }
}

#[test]
fn the_committable_offset_follows_final_records_only() {
    walk("nothing taken", 7, &[Commits(7)]);
    walk(
        "in order",
        0,
        &[
            Take(0),
            Take(1),
            Commits(0),
            Ack(0, 1),
            Commits(1),
            Ack(1, 2),
            Commits(2),
        ],
    );
    walk(
        "out of order",
        0,
        &[
            Take(0),
            Take(1),
            Ack(1, 2),
            Commits(0),
            Ack(0, 1),
            Commits(2),
        ],
    );
    walk(
        "a hole belongs to the range after it",
        5,
        &[
            Take(9),
            Commits(5),
            Ack(5, 10),
            Commits(10),
            Take(14),
            Ack(10, 15),
            Commits(15),
        ],
    );
    walk(
        "a refused record holds",
        0,
        &[
            Take(0),
            Take(1),
            Take(2),
            Hold(1),
            Ack(0, 3),
            Commits(1),
            Settle(1),
            Commits(3),
        ],
    );
    walk(
        "refused after a later range was acked",
        0,
        &[
            Take(0),
            Take(1),
            Ack(1, 2),
            Hold(0),
            Ack(0, 1),
            Commits(0),
            Settle(0),
            Commits(2),
        ],
    );
}

#[test]
fn a_hole_at_the_end_of_the_log_is_passed_once_all_before_it_is_final() {
    walk("an empty log of markers", 3, &[Reach(5), Commits(5)]);
    walk(
        "a marker after two records",
        0,
        &[
            Take(0),
            Take(1),
            Reach(3),
            Commits(0),
            Ack(0, 1),
            Commits(1),
            Ack(1, 2),
            Commits(3),
        ],
    );
    walk(
        "more records behind the marker",
        0,
        &[
            Take(0),
            Ack(0, 1),
            Reach(2),
            Commits(2),
            Take(2),
            Commits(2),
            // The sink knows nothing of the marker: its range begins where its last one ended.
            Ack(1, 3),
            Commits(3),
        ],
    );
    walk(
        "two markers with a record in flight between them",
        0,
        &[
            Take(0),
            Ack(0, 1),
            Reach(2),
            Take(2),
            Reach(4),
            Commits(2),
            Ack(1, 3),
            Commits(4),
        ],
    );
    walk(
        "a refused record before the marker",
        0,
        &[
            Take(0),
            Hold(0),
            Ack(0, 1),
            Reach(2),
            Commits(0),
            Settle(0),
            Commits(2),
        ],
    );
    walk(
        "one hole after another",
        5,
        &[
            Reach(9),
            Commits(9),
            Reach(15),
            Commits(15),
            Take(15),
            Ack(5, 16),
            Commits(16),
        ],
    );
    walk(
        "the end that is known",
        0,
        &[Take(0), Reach(1), Commits(0), Ack(0, 1), Commits(1)],
    );
}

#[test]
fn nothing_is_said_of_the_leader_behind_a_hole() {
    let mut tracker = Tracker::resume_at(0);
    tracker.take(0, 3);
    tracker.ack(Range::new(0, 1)).unwrap();
    assert_eq!(tracker.committable_leader_epoch(), 3);
    tracker.reach(4);
    // The marker may be of a later leader: with the record's epoch the broker would tell of a truncation.
    assert_eq!(tracker.committable_leader_epoch(), -1);
    assert_eq!(tracker.last_leader_epoch(), -1);
    tracker.take(4, 5);
    tracker.ack(Range::new(1, 5)).unwrap();
    assert_eq!(tracker.committable_leader_epoch(), 5);
}

#[test]
fn the_end_of_the_records_before_the_committable_offset_is_remembered() {
    let mut tracker = Tracker::resume_at(0);
    tracker.take(0, 0);
    tracker.ack(Range::new(0, 1)).unwrap();
    tracker.reach(2);
    assert_eq!((tracker.records_end(), tracker.committable()), (1, 2));
    tracker.take(2, 0);
    tracker.reach(4);
    assert_eq!((tracker.records_end(), tracker.committable()), (1, 2));
    tracker.ack(Range::new(1, 3)).unwrap();
    assert_eq!((tracker.records_end(), tracker.committable()), (3, 4));
}

#[test]
fn a_record_delivered_twice_is_taken_once() {
    let mut tracker = Tracker::resume_at(3);
    assert!(!tracker.take(2, 0));
    assert!(tracker.take(3, 0));
    assert!(!tracker.take(3, 0));
}

#[test]
fn an_ack_of_what_was_never_taken_or_acked_before_is_refused() {
    let mut tracker = Tracker::resume_at(0);
    tracker.take(0, 0);
    tracker.take(1, 0);
    assert!(matches!(
        tracker.ack(Range::new(0, 3)),
        Err(Violation::NotTaken { .. })
    ));
    tracker.ack(Range::new(0, 1)).unwrap();
    assert!(matches!(
        tracker.ack(Range::new(0, 2)),
        Err(Violation::Overlap { .. })
    ));
    tracker.ack(Range::new(1, 2)).unwrap();
    assert!(matches!(
        tracker.ack(Range::new(1, 2)),
        Err(Violation::Overlap { .. })
    ));
    assert_eq!(tracker.committable(), 2);
}

#[test]
fn the_leader_epoch_is_that_of_the_record_before_the_committable_offset() {
    let mut tracker = Tracker::resume_at(0);
    assert_eq!(tracker.committable_leader_epoch(), -1);
    for (offset, epoch) in [(0, 3), (1, 3), (2, 4), (3, 6)] {
        tracker.take(offset, epoch);
    }
    for (end, epoch) in [(1, 3), (2, 3), (3, 4), (4, 6)] {
        tracker.ack(Range::new(end - 1, end)).unwrap();
        assert_eq!(tracker.committable_leader_epoch(), epoch, "at {end}");
    }
    assert!(
        tracker.leader_epochs.len() <= 1,
        "old leader epochs are forgotten"
    );
}

/// The naive model: every delivered record with what became of it.
#[derive(Default)]
struct Model {
    records: Vec<(i64, bool, bool)>, // offset, acked, held
}

impl Model {
    fn committable(&self, resume: i64, next: i64, ranges_end: i64) -> i64 {
        let stuck = self.records.iter().find(|(_, acked, held)| !acked || *held);
        match stuck {
            Some(&(offset, true, true)) => offset,
            Some(_) => ranges_end.max(resume).min(next),
            None => next,
        }
    }
}

proptest! {
    /// Random deliveries with holes, cut into ranges, acked in random order, some records refused and settled
    /// late: the committable offset never passes a record that isn't final, never goes back, and ends at the
    /// end.
    #[test]
    fn agrees_with_a_naive_model(
        gaps in prop::collection::vec((1i64..4, any::<bool>()), 1..60),
        cuts in prop::collection::vec(1usize..6, 1..60),
        seed in any::<u64>(),
        marker in 1i64..3,
    ) {
        let resume = 10;
        let mut tracker = Tracker::resume_at(resume);
        let mut model = Model::default();
        let mut at = resume - 1;
        for (gap, held) in &gaps {
            at += gap;
            prop_assert!(tracker.take(at, 0));
            model.records.push((at, false, *held));
        }
        tracker.reach(at + marker);
        let next = tracker.next();

        let mut ranges = Vec::new();
        let (mut first, mut index) = (resume, 0);
        for cut in cuts.iter().cycle() {
            index = (index + cut).min(model.records.len());
            let end = model.records[index - 1].0 + 1;
            ranges.push(Range::new(first, end));
            first = end;
            if index == model.records.len() { break }
        }
        let mut shuffled = ranges.clone();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }

        let mut last = tracker.committable();
        for range in &shuffled {
            for (offset, acked, held) in &mut model.records {
                if range.first <= *offset && *offset < range.end {
                    if *held { tracker.hold(*offset) }
                    *acked = true;
                }
            }
            tracker.ack(*range).unwrap();
            let acked_end = ranges.iter()
                .take_while(|r| shuffled.iter().position(|s| s == *r)
                    <= shuffled.iter().position(|s| s == range))
                .last().map_or(resume, |r| r.end);
            prop_assert_eq!(tracker.committable(), model.committable(resume, next, acked_end));
            prop_assert!(tracker.committable() >= last, "went back");
            last = tracker.committable();
        }
        for index in 0..model.records.len() {
            if model.records[index].2 {
                tracker.settle(model.records[index].0);
                model.records[index].2 = false;
                prop_assert_eq!(tracker.committable(), model.committable(resume, next, next));
            }
        }
        prop_assert!(tracker.is_final());
        prop_assert_eq!(tracker.span(), 0);
    }
}

/// Offsets are kept as ranges: what is taken and acknowledged in order costs nothing.
#[test]
fn following_a_record_allocates_nothing() {
    let mut tracker = Tracker::resume_at(0);
    let measured = allocation_counter::measure(|| {
        for offset in 0..10_000 {
            assert!(tracker.take(offset, 0));
            if offset % 100 == 99 {
                tracker.ack(Range::new(offset - 99, offset + 1)).unwrap();
            }
        }
    });
    assert_eq!(tracker.committable(), 10_000);
    assert!(measured.count_total < 10, "{}", measured.count_total);
    // Nor does what isn't acknowledged for long.
    let measured = allocation_counter::measure(|| {
        assert!((10_000..20_000).all(|offset| tracker.take(offset, 0)));
    });
    assert_eq!(measured.bytes_total, 0, "while one leader wrote them");
}
