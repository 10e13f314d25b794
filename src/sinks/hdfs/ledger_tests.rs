use proptest::prelude::*;

use super::*;
use crate::config::settings::Partitioning;

fn ledger(resume: i64) -> Ledger {
    let naming = Naming::new("t", 0, &Partitioning::Default, Compression::None);
    Ledger::new(naming, Compression::None, Arc::default(), resume)
}

/// What a task would see.
#[derive(Default)]
struct Task {
    bytes: std::collections::BTreeMap<FileNumber, Vec<u8>>,
    commits: Vec<(Range, Vec<Cut>)>,
}

impl Task {
    fn take(&mut self, command: Command) {
        match command {
            Command::Write {
                file, mut chunk, ..
            } => {
                let file = self.bytes.entry(file).or_default();
                file.append(&mut chunk.take_data());
            }
            Command::Commit { range, files, .. } => self.commits.push((range, files)),
        }
    }
}

fn append(ledger: &mut Ledger, task: &mut Task, offset: i64, bucket: Bucket) {
    let line = format!("{offset}\n");
    let appended = ledger.append(offset, bucket, 8, |out| {
        out.extend_from_slice(line.as_bytes());
        Ok::<(), ()>(())
    });
    if let (_, Some(full)) = appended.expect("nothing is refused here") {
        task.take(full);
    }
    ledger.took(offset, 5, Instant::now());
}

fn refuse(ledger: &mut Ledger, offset: i64) {
    ledger.refuse(offset);
    ledger.took(offset, 5, Instant::now());
}

fn ranges(task: &Task) -> Vec<(i64, i64)> {
    task.commits.iter().map(|(r, _)| (r.first, r.end)).collect()
}

#[test]
fn holes_belong_to_the_range_after_them() {
    let (mut ledger, mut task) = (ledger(10), Task::default());
    append(&mut ledger, &mut task, 12, Bucket::Whole);
    append(&mut ledger, &mut task, 15, Bucket::Whole);
    ledger.seal(&mut |c| task.take(c));
    append(&mut ledger, &mut task, 20, Bucket::Whole);
    ledger.seal(&mut |c| task.take(c));
    ledger.commit(&mut |c| task.take(c));
    assert_eq!(ranges(&task), [(10, 16), (16, 21)]);
    let cut = &task.commits[0].1[0];
    assert_eq!((cut.first, cut.last, cut.records), (12, 15, 2));
}

#[test]
fn files_of_replays_are_named_by_the_offsets_that_their_records_have() {
    let naming = Naming::new("t", 0, &Partitioning::Default, Compression::None).replaying("dead");
    let mut ledger = Ledger::new(naming, Compression::None, Arc::default(), 70);
    let mut task = Task::default();
    for (number, origin) in [(70, 5), (71, 6), (73, 3)] {
        append(&mut ledger, &mut task, number, Bucket::Whole);
        ledger.came_from(Bucket::Whole, origin);
    }
    ledger.seal(&mut |c| task.take(c));
    ledger.commit(&mut |c| task.take(c));
    assert_eq!(ranges(&task), [(70, 74)]);
    let cut = &task.commits[0].1[0];
    assert_eq!(cut.origins, [(5, 6), (3, 3)]);
    assert_eq!((cut.first, cut.last), (70, 73), "numbers of the log");
    let name = "t/partition=0/dead+t+0+00000000000000000003+00000000000000000006.json";
    assert_eq!(cut.path, name);
}

#[test]
fn a_refused_record_holds_its_range_back_until_it_is_settled() {
    let (mut ledger, mut task) = (ledger(0), Task::default());
    append(&mut ledger, &mut task, 0, Bucket::Whole);
    refuse(&mut ledger, 1);
    append(&mut ledger, &mut task, 2, Bucket::Whole);
    ledger.seal(&mut |c| task.take(c));
    ledger.commit(&mut |c| task.take(c));
    assert_eq!(ranges(&task), []);
    assert!(!ledger.is_idle());
    ledger.settle(1);
    ledger.commit(&mut |c| task.take(c));
    assert_eq!(ranges(&task), [(0, 3)]);
    ledger.committed();
    assert!(ledger.is_idle());
}

#[test]
fn what_lies_before_a_refused_record_is_published_without_it() {
    let (mut ledger, mut task) = (ledger(0), Task::default());
    append(&mut ledger, &mut task, 0, Bucket::Whole);
    append(&mut ledger, &mut task, 1, Bucket::Whole);
    refuse(&mut ledger, 2);
    ledger.seal(&mut |c| task.take(c));
    ledger.commit(&mut |c| task.take(c));
    assert_eq!(ranges(&task), [(0, 2)]);
    ledger.settle(2);
    ledger.commit(&mut |c| task.take(c));
    assert_eq!(ranges(&task), [(0, 2), (2, 3)]);
    assert_eq!(task.commits[1].1, [], "an entry without files");
}

#[test]
fn a_record_that_is_refused_first_leaves_no_file() {
    let mut ledger = ledger(0);
    let refused = ledger.append(0, Bucket::Whole, 8, |_| Err("no"));
    assert_eq!(refused.err(), Some("no"));
    assert_eq!(ledger.num_open_files(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    Refuse,
    Hole,
    Settle,
    Seal,
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u8).prop_map(Step::Append),
        1 => Just(Step::Refuse),
        1 => Just(Step::Hole),
        1 => Just(Step::Settle),
        1 => Just(Step::Seal),
        1 => Just(Step::Commit),
    ]
}

proptest! {
    #[test]
    fn every_record_is_in_exactly_one_file_of_its_range(steps in prop::collection::vec(step(), 1..120)) {
        let (mut ledger, mut task) = (ledger(0), Task::default());
        let (mut offset, mut taken, mut refused) = (0i64, BTreeSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Append(day) => {
                    let bucket = Bucket::Time { year: 2026, month: 1, day: day as i8 + 1, hour: None };
                    append(&mut ledger, &mut task, offset, bucket);
                    taken.insert(offset);
                    offset += 1;
                }
                Step::Refuse => {
                    refuse(&mut ledger, offset);
                    refused.insert(offset);
                    offset += 1;
                }
                Step::Hole => offset += 3,
                Step::Settle => {
                    if let Some(settled) = refused.pop_first() {
                        ledger.settle(settled);
                    }
                }
                Step::Seal => ledger.seal(&mut |c| task.take(c)),
                Step::Commit => {
                    let before = task.commits.len();
                    ledger.commit(&mut |c| task.take(c));
                    for (range, _) in &task.commits[before..] {
                        prop_assert!(refused.range(..range.end).next().is_none());
                    }
                }
            }
        }
        for settled in refused {
            ledger.settle(settled);
        }
        ledger.seal(&mut |c| task.take(c));
        ledger.commit(&mut |c| task.take(c));
        let mut end = 0;
        let mut written = BTreeSet::new();
        for (range, files) in &task.commits {
            prop_assert_eq!(range.first, end, "contiguous");
            prop_assert!(!range.is_empty());
            end = range.end;
            for cut in files {
                let text = String::from_utf8_lossy(&task.bytes[&cut.file]).into_owned();
                let offsets: Vec<i64> = text.lines().map(|l| l.parse().expect("a number")).collect();
                prop_assert!(offsets.is_sorted());
                prop_assert_eq!(offsets.len() as u64, cut.records);
                prop_assert_eq!(offsets.first(), Some(&cut.first));
                prop_assert_eq!(offsets.last(), Some(&cut.last));
                prop_assert!(cut.first >= range.first && cut.last < range.end);
                for offset in offsets {
                    prop_assert!(written.insert(offset), "doubled");
                }
            }
        }
        prop_assert_eq!(written, taken);
        prop_assert_eq!(ledger.budget.num_bytes(), 0);
    }
}

/// Chunks are allocated, as they grow; records aren't.
#[test]
fn appending_a_record_allocates_nothing() {
    const RECORDS: i64 = 10_000;
    let mut ledger = ledger(0);
    let line = [b'x'; 300];
    let mut num_chunks = 0;
    let measured = allocation_counter::measure(|| {
        for offset in 0..RECORDS {
            let appended = ledger.append(offset, Bucket::Whole, 64 << 10, |out| {
                out.extend_from_slice(&line);
                Ok::<(), ()>(())
            });
            num_chunks += usize::from(matches!(appended, Ok((_, Some(_)))));
            ledger.took(offset, 5, Instant::now());
        }
    });
    assert!(num_chunks > 40, "{num_chunks}");
    let num = measured.count_total;
    assert!(num < 200, "{num} allocations for {RECORDS} records");
}
