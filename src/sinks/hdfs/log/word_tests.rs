//! Names and entries, by rule: whatever bytes come in.

use proptest::collection::vec;
use proptest::prelude::*;

use super::names::{self, EntryState, FileName, OwnerFolder, PartitionPath};
use super::*;

/// A topic's name as Kafka takes it.
fn topic() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9._-]{1,249}".prop_filter("Kafka refuses these", |name| name != "." && name != "..")
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    let awkward = prop_oneof![
        Just(b"..".to_vec()),
        Just(b"".to_vec()),
        Just(b"../../_outflow/x".to_vec()),
        Just(names::NULL_VALUE.as_bytes().to_vec()),
        Just(names::EMPTY_VALUE.as_bytes().to_vec()),
        Just(b"%2E%2E".to_vec()),
        vec(any::<u8>(), 0..400),
        "[ab./%~_]{0,4}".prop_map(String::into_bytes),
    ];
    proptest::option::of(awkward)
}

fn field() -> impl Strategy<Value = (String, Option<Vec<u8>>)> {
    (".{0,8}", value())
}

fn path_of(fields: &[(String, Option<Vec<u8>>)]) -> PartitionPath {
    fields
        .iter()
        .fold(PartitionPath::new(), |path, (name, value)| {
            path.field(name, value.as_deref())
        })
}

/// `path` with `.` and `..` taken for what they mean.
fn normalise(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

proptest! {
    #[test]
    fn a_final_path_stays_below_its_topics_folder(
        topic in topic(), fields in vec(field(), 0..4), first in 0i64.., len in 0i64..1000,
    ) {
        let name = FileName::new(&topic, 0, first, first.saturating_add(len), "jsonl.zst");
        let path = names::final_path(&topic, &path_of(&fields), &name);
        let full = format!("/data/base/{path}");
        prop_assert_eq!(&normalise(&full), &full);
        let folder = format!("/data/base/{}/", names::topic_segment(&topic));
        prop_assert!(full.starts_with(&folder));
        prop_assert!(path.split('/').all(|part| part.len() <= 255));
        // Readers skip what begins with these.
        prop_assert!(!path.starts_with(['_', '.']) && !name.to_string().starts_with(['_', '.']));
        prop_assert!(names::is_final(&path), "{}", path);
    }

    #[test]
    fn a_file_name_reads_back(
        topic in topic(), partition in 0i32.., first in 0i64.., last in 0i64..,
        extension in "[a-z]{1,8}(\\.[a-z]{1,4})?",
    ) {
        let name = FileName::new(&topic, partition, first, last, &extension);
        prop_assert_eq!(FileName::parse(&name.to_string()), Some(name));
    }

    #[test]
    fn whatever_reads_as_a_name_is_written_the_same(
        name in "[0-9a-z+.-]{0,80}|[a-z]\\+[0-9]{1,3}\\+[0-9]{19,21}\\+[0-9]{20}\\.j|[0-9]{20}\\.(json|done)|.*",
    ) {
        if let Some(file) = FileName::parse(&name) {
            prop_assert_eq!(file.to_string(), name.clone());
        }
        if let Some((seq, state)) = names::parse_entry(&name) {
            prop_assert_eq!(names::entry(seq, state), name.clone());
        }
        if let Some(owner) = OwnerFolder::parse(&name) {
            prop_assert_eq!(owner.to_string(), name);
        }
    }

    #[test]
    fn different_values_have_different_paths(a in field(), b in field()) {
        let (x, y) = (path_of(std::slice::from_ref(&a)), path_of(std::slice::from_ref(&b)));
        prop_assert_eq!(a == b, x == y, "{:?} {:?}", x, y);
    }

    #[test]
    fn different_lists_of_values_have_different_paths(
        a in vec(field(), 0..3), b in vec(field(), 0..3),
    ) {
        prop_assert_eq!(a == b, path_of(&a) == path_of(&b));
    }

    #[test]
    fn different_topics_have_different_folders(a in topic(), b in topic()) {
        prop_assert_eq!(a == b, names::topic_segment(&a) == names::topic_segment(&b));
    }

    #[test]
    fn an_entry_number_reads_back(seq: u64, is_done: bool) {
        let state = if is_done { EntryState::Done } else { EntryState::Committed };
        prop_assert_eq!(names::parse_entry(&names::entry(seq, state)), Some((seq, state)));
    }

    #[test]
    fn an_owners_folder_reads_back(epoch: u64, owner in ".{1,40}") {
        let folder = OwnerFolder::new(epoch, "0123456789abcdef", &owner);
        let name = folder.to_string();
        prop_assert!(!name.contains('/') && name.len() <= 255);
        prop_assert_eq!(OwnerFolder::parse(&name), Some(folder));
    }

    #[test]
    fn an_entry_reads_back(
        seq: u64, first in 0i64..1 << 60, len in 1i64..1000, group in ".*", attempt in ".*",
        records in 0u64.., bytes in 0u64..,
    ) {
        let entry = Entry {
            version: VERSION,
            seq,
            identity: Identity { cluster_id: "c".into(), topic_id: "t".into(), group },
            leader_epoch: -1,
            first,
            end: first + len,
            attempt,
            files: vec![FileEntry {
                temp: names::temp("me", seq),
                path: "t/x".into(),
                records,
                bytes,
                first,
                last: first + len - 1,
 origins: Vec::new(),
            }],
            moved: None,
        };
        let json = entry.to_json();
        // One line, or a history file couldn't hold it.
        prop_assert!(!json.contains(&b'\n'));
        prop_assert_eq!(Entry::read("p", seq, &json), Ok(entry.clone()));
        // A newer outflow may say more.
        let more = [b"{\"later\":[{}],", &json[1..]].concat();
        prop_assert_eq!(Entry::read("p", seq, &more), Ok(entry));
        // Cut anywhere, it is refused.
        prop_assert!(Entry::read("p", seq, &json[..json.len() - 1]).is_err());
    }

    #[test]
    fn garbage_is_refused_with_its_path(bytes in vec(any::<u8>(), 0..200)) {
        let error = Entry::read("/b/e.json", 1, &bytes).expect_err("garbage");
        prop_assert!(error.what.contains("/b/e.json"));
    }

    #[test]
    fn an_entry_cannot_name_a_path_outside_the_base(path in "[a./_]{0,12}|_outflow/.*") {
        let entry = Entry {
            version: VERSION,
            seq: 1,
            identity: Identity { cluster_id: "c".into(), topic_id: "t".into(), group: "g".into() },
            leader_epoch: -1,
            first: 0,
            end: 1,
            attempt: "a".into(),
            files: vec![FileEntry {
                temp: "x.tmp".into(), path: path.clone(), records: 1, bytes: 1, first: 0, last: 0,
                origins: vec![],
            }],
            moved: None,
        };
        if Entry::read("p", 1, &entry.to_json()).is_ok() {
            prop_assert_eq!(normalise(&path), format!("/{path}"));
            prop_assert!(!path.starts_with("_outflow/"));
        }
    }

    #[test]
    fn no_answer_makes_the_log_panic(answers in vec((0usize..9, any::<u8>()), 0..60)) {
        let identity = Identity { cluster_id: "c".into(), topic_id: "t".into(), group: "g".into() };
        let digest = identity.digest();
        let mut log = CommitLog::new(Opening {
            base: "/b".into(), topic: "t".into(), partition: 0, owner: "me".into(),
            identity: identity.clone(), committed: Some(3), start: Some(3), takes_over: None,
        });
        let entry = |seq| Entry {
            version: VERSION, seq, identity: identity.clone(), leader_epoch: 0, first: 3, end: 3,
            attempt: "a".into(), files: vec![], moved: None,
        };
        let mut actions = log.step(Event::Open);
        for (kind, byte) in answers {
            let id = match actions.last() {
                Some(Action::Call { id, .. }) => *id,
                Some(Action::Backoff { .. }) => {
                    actions = log.step(Event::Retry);
                    continue;
                }
                _ => break,
            };
            let child = |name: String, is_folder| Child { name, is_folder, bytes: 1 };
            let outcome = match kind {
                0 | 1 => Outcome::Done,
                2 => Outcome::Listed(vec![
                    child(format!("{byte}-{digest}-x"), true),
                    child(names::entry(u64::MAX, EntryState::Done), false),
                    child(format!("{byte}.tmp"), false),
                ]),
                3 => Outcome::Listed(vec![child(names::entry(byte.into(), EntryState::Committed), false)]),
                4 => Outcome::Content(entry(if byte > 128 { u64::MAX } else { byte.into() }).to_json()),
                5 => Outcome::Found { is_folder: byte > 128, bytes: byte.into() },
                6 => Outcome::NotFound,
                7 => Outcome::Exists,
                _ => Outcome::Unknown(Error::unavailable("lost")),
            };
            actions = log.step(Event::Answer { id, outcome });
            if log.is_idle() {
                let range = Range::new(log.end(), log.end().saturating_add(1));
                actions = log.step(Event::Commit(Commit { range, leader_epoch: 0, files: vec![] }));
            }
        }
    }
}

/// Found by fuzzing: these were read, and are never written.
#[test]
fn names_that_are_never_written_are_not_read() {
    let offsets = "00000000000000000001+00000000000000000002";
    for name in [
        format!("t+-1+{offsets}.json"),
        format!("t+0+{offsets}.js/on"),
        format!("a/b+0+{offsets}.json"),
        format!("t+0+{offsets}."),
    ] {
        assert_eq!(FileName::parse(&name), None, "{name}");
    }
}

#[test]
fn names_are_what_the_operators_guide_says() {
    let path = PartitionPath::new()
        .field("day", Some(b"2026-11-03"))
        .field("host", None)
        .field("path", Some(b"../etc"));
    let name = FileName::new("metrics", 7, 12, 99, "jsonl.zst");
    assert_eq!(
        names::final_path("metrics", &path, &name),
        "metrics/day=2026-11-03/host=__HIVE_DEFAULT_PARTITION__/path=%2E.%2Fetc/\
         metrics+7+00000000000000000012+00000000000000000099.jsonl.zst"
    );
    assert_eq!(names::topic_segment("_outflow"), "%5Foutflow");
    let replays = FileName::of_replays("metrics.dlq", name);
    assert_eq!(
        replays.to_string(),
        "metrics.dlq+metrics+7+00000000000000000012+00000000000000000099.jsonl.zst"
    );
    assert_eq!(
        FileName::parse(&replays.to_string()),
        None,
        "not the sink's"
    );
    let logs = names::logs_folder("/base", &names::replays_of("metrics"));
    assert_eq!(logs, "/base/_outflow/metrics+replays");
}

#[test]
fn the_longest_names_of_replays_fit_and_differ() {
    let long = "t".repeat(249);
    let name = |dead: &str| {
        let name = FileName::new(&long, i32::MAX, i64::MAX, i64::MAX, "json.zst");
        FileName::of_replays(dead, name).to_string()
    };
    let (one, other) = (
        name(&"d".repeat(249)),
        name(&format!("{}e", "d".repeat(248))),
    );
    assert!(
        one.len() <= 255 && other.len() <= 255 && one != other,
        "{one}"
    );
    let folder = names::topic_segment(&names::replays_of(&".".repeat(249)));
    assert!(
        folder.len() <= 255 && folder.ends_with("+replays"),
        "{folder}"
    );
}

#[test]
fn an_entry_says_of_each_replayed_record_where_it_comes_from() {
    let read = |origins: Vec<(i64, i64)>| {
        let entry = Entry {
            version: VERSION,
            seq: 1,
            identity: Identity {
                cluster_id: "c".into(),
                topic_id: "t".into(),
                group: "g".into(),
            },
            leader_epoch: -1,
            first: 0,
            end: 4,
            attempt: "a".into(),
            files: vec![FileEntry {
                temp: "x.tmp".into(),
                path: "t/x".into(),
                records: 3,
                bytes: 1,
                first: 0,
                last: 3,
                origins,
            }],
            moved: None,
        };
        Entry::read("p", 1, &entry.to_json()).map(|read| read == entry)
    };
    for good in [vec![], vec![(50, 51), (7, 7)]] {
        assert_eq!(read(good), Ok(true));
    }
    for bad in [
        vec![(50, 51)],
        vec![(50, 53)],
        vec![(51, 50), (1, 3)],
        vec![(i64::MIN, i64::MAX)],
    ] {
        assert!(read(bad.clone()).is_err(), "{bad:?}");
    }
}
