//! The checker must see what is wrong: each test spoils one thing.

use serde_json::json;

use super::*;

fn ledger(num: i64) -> Ledger {
    let mut ledger = Ledger::default();
    for offset in 0..num {
        ledger.add(Entry {
            topic: "t".to_owned(),
            partition: 0,
            offset,
            key: Some(format!("k{}", offset % 3).into_bytes()),
            value: Some(format!(r#"{{"seq":{offset}}}"#).into_bytes()),
        });
    }
    ledger
}

fn file(first: i64, last: i64) -> CommittedFile {
    let path = format!("/base/t/partition=0/t+0+{first:020}+{last:020}.json");
    let lines = (first..=last)
        .map(|seq| format!(r#"{{"seq":{seq}}}"#).into_bytes())
        .collect();
    CommittedFile { path, lines }
}

fn counts(report: &Report) -> [usize; 4] {
    [
        &report.missing,
        &report.doubled,
        &report.changed,
        &report.out_of_order,
    ]
    .map(Vec::len)
}

fn documents(num: i64) -> Vec<Document> {
    (0..num)
        .map(|offset| Document {
            index: "i".to_owned(),
            id: format!("t+0+{offset}"),
            version: 1,
            source: json!({ "seq": offset }),
        })
        .collect()
}

#[test]
fn hdfs_as_it_must_be_is_clean() {
    let report = check_hdfs(&ledger(10), "/base", &[file(5, 9), file(0, 4)]);
    report.assert_clean();
    assert_eq!((report.num_expected, report.num_found), (10, 10));
}

#[test]
fn hdfs_sees_a_missing_and_a_doubled_record() {
    assert_eq!(
        counts(&check_hdfs(&ledger(10), "/base", &[file(0, 8)])),
        [1, 0, 0, 0]
    );
    // 4 stands in two files whose ranges overlap.
    assert_eq!(
        counts(&check_hdfs(&ledger(10), "/base", &[file(0, 4), file(4, 9)])),
        [0, 1, 0, 1]
    );
}

#[test]
fn hdfs_sees_changed_lines_order_and_names() {
    let mut changed = file(0, 9);
    changed.lines[3] = br#"{"seq": 3}"#.to_vec();
    assert_eq!(
        counts(&check_hdfs(&ledger(10), "/base", &[changed])),
        [1, 0, 1, 0]
    );

    let mut swapped = file(0, 9);
    swapped.lines.swap(3, 4);
    assert_eq!(
        counts(&check_hdfs(&ledger(10), "/base", &[swapped])),
        [0, 0, 0, 1]
    );

    let mut wider = file(0, 9);
    wider.path = wider.path.replace("00009.json", "00010.json");
    assert_eq!(
        counts(&check_hdfs(&ledger(10), "/base", &[wider])),
        [0, 0, 1, 0]
    );

    let mut elsewhere = file(0, 9);
    elsewhere.path = elsewhere.path.replace("/base/t/", "/base/u/");
    assert_eq!(
        counts(&check_hdfs(&ledger(10), "/base", &[elsewhere])),
        [10, 0, 1, 0]
    );
}

#[test]
fn files_of_one_time_partitioned_commit_may_interleave() {
    let mut even = file(0, 8);
    even.path = even.path.replace("partition=0", "day=1");
    let mut odd = file(1, 9);
    odd.path = odd.path.replace("partition=0", "day=2");
    let keep = |file: &mut CommittedFile, rest: usize| {
        let lines = std::mem::take(&mut file.lines).into_iter().enumerate();
        file.lines = lines
            .filter(|(n, _)| n % 2 == rest)
            .map(|(_, line)| line)
            .collect();
    };
    keep(&mut even, 0);
    keep(&mut odd, 0);
    check_hdfs(&ledger(10), "/base", &[even, odd]).assert_clean();
}

#[test]
fn raw_line_breaks_are_blanked() {
    let mut ledger = Ledger::default();
    let value = Some(b"{\"a\":\n1}".to_vec());
    ledger.add(Entry {
        topic: "t".to_owned(),
        partition: 0,
        offset: 0,
        key: None,
        value,
    });
    let mut file = file(0, 0);
    file.lines = vec![b"{\"a\": 1}".to_vec()];
    check_hdfs(&ledger, "/base", &[file]).assert_clean();
}

#[test]
fn elasticsearch_by_offset() {
    check_elasticsearch(&ledger(10), &documents(10), Ids::Offset).assert_clean();
    let missing = check_elasticsearch(&ledger(10), &documents(9), Ids::Offset);
    assert_eq!(counts(&missing), [1, 0, 0, 0]);
    let invented = check_elasticsearch(&ledger(10), &documents(11), Ids::Offset);
    assert_eq!(counts(&invented), [0, 0, 1, 0]);
    let mut changed = documents(10);
    changed[2].source = json!({ "seq": 3 });
    assert_eq!(
        counts(&check_elasticsearch(&ledger(10), &changed, Ids::Offset)),
        [0, 0, 1, 0]
    );
    // After a rollover the same id may stand in two indices.
    let mut twice = documents(10);
    twice.push(Document {
        index: "j".to_owned(),
        ..twice[0].clone()
    });
    assert_eq!(
        counts(&check_elasticsearch(&ledger(10), &twice, Ids::Offset)),
        [0, 1, 0, 0]
    );
}

#[test]
fn elasticsearch_by_key_wants_the_newest_record() {
    let document = |offset: i64| Document {
        index: "i".to_owned(),
        id: format!("k{}", offset % 3),
        version: offset,
        source: json!({ "seq": offset }),
    };
    let newest = [document(7), document(8), document(9)];
    check_elasticsearch(&ledger(10), &newest, Ids::Key).assert_clean();
    let older = [document(4), document(8), document(9)];
    assert_eq!(
        counts(&check_elasticsearch(&ledger(10), &older, Ids::Key)),
        [0, 0, 1, 0]
    );

    // A tombstone takes the document away.
    let mut ledger = ledger(10);
    let key = Some(b"k0".to_vec());
    ledger.add(Entry {
        topic: "t".to_owned(),
        partition: 0,
        offset: 10,
        key,
        value: None,
    });
    let left = [document(7), document(8)];
    check_elasticsearch(&ledger, &left, Ids::Key).assert_clean();
}

#[test]
fn elasticsearch_with_ids_of_its_own() {
    let mut chosen = documents(10);
    chosen
        .iter_mut()
        .enumerate()
        .for_each(|(n, document)| document.id = format!("x{n}"));
    check_elasticsearch(&ledger(10), &chosen, Ids::Chosen).assert_clean();
    chosen.push(chosen[0].clone());
    assert_eq!(
        counts(&check_elasticsearch(&ledger(10), &chosen, Ids::Chosen)),
        [0, 1, 0, 0]
    );
    chosen.drain(..2);
    assert_eq!(
        counts(&check_elasticsearch(&ledger(10), &chosen, Ids::Chosen)),
        [1, 0, 0, 0]
    );
}
