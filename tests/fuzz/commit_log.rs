//! What is found in HDFS: entries, history, and names; and what the commit log does with all of it.
//!
//! Fields: the names that a listing gives, one a line; then contents of files.

use outflow::error::{Error, Kind};
use outflow::offsets::Range;
use outflow::sinks::hdfs::log::{
    Action, Call, Child, Commit, CommitLog, Entry, Event, FileEntry, Identity, Opening, Outcome,
    names,
};
use serde_json::Value;

use crate::rng::Rng;
use crate::{fields, is_part_of, json};

pub const WORDS: &[&str] = &[
    "\"version\":1",
    "\"version\":2",
    "\"seq\":",
    "\"cluster_id\":\"c\"",
    "\"topic_id\":\"t\"",
    "\"group\":\"g\"",
    "\"leader_epoch\":-1",
    "\"first\":",
    "\"end\":",
    "\"attempt\":\"",
    "\"files\":[",
    "\"temp\":\"o-1.tmp\"",
    "\"path\":\"t/partition=0/t+0+00000000000000000000+00000000000000000004.json\"",
    "\"records\":",
    "\"bytes\":",
    "\"last\":",
    "\"moved\":{\"from\":",
    "\"by\":\"reset\"",
    "\"was\":{",
    "\"aside\":[\"",
    "null",
    "../..",
    "_outflow/",
    "00000000000000000000.done",
    "00000000000000000001.json",
    "00000000000000000001.done",
    "history",
    "1-0123456789abcdef-o",
    "o-1.tmp",
    ".new-o-1",
];

const BASE: &str = "/data/base";

pub fn check(input: &[u8]) -> String {
    let fields = fields(input);
    let read: Vec<String> = fields[1..].iter().map(|content| entry(content)).collect();
    let end = drive(fields[0], &fields[1..], input);
    let is_read = read.iter().any(|read| read.starts_with("yes"));
    format!(
        "{} {} {end}",
        if is_read { "yes" } else { "no" },
        read.join(" ")
    )
}

/// An entry is what stands there, or it is refused: never something else.
fn entry(content: &[u8]) -> String {
    let entry = match Entry::read_line("p", content) {
        Ok(entry) => entry,
        Err(why) => {
            let is_version = why.kind == Kind::Misconfigured && why.what.contains("format version");
            assert!(why.kind == Kind::Corrupt || is_version, "{why}");
            assert!(why.what.contains(" p "), "{why}");
            return format!(
                "no {}",
                why.what
                    .split(": ")
                    .nth(1)
                    .map_or("", |w| w.split(' ').next().unwrap_or(""))
            );
        }
    };
    let Some(found) = json(content) else {
        return "yes, but".to_owned();
    };
    let printed = entry.to_json();
    let ours: Value = serde_json::from_slice(&printed).expect("JSON");
    assert!(is_part_of(&ours, &found), "{found} was read as {ours}");
    assert!(
        !printed.contains(&b'\n'),
        "an entry is a line of the history"
    );
    assert_eq!(Entry::read("p", entry.seq, &printed).as_ref(), Ok(&entry));
    assert!(Entry::read("p", entry.seq.wrapping_add(1), &printed).is_err());
    assert!(entry.first >= 0 && entry.end >= entry.first);
    for file in &entry.files {
        assert!(is_below(&format!("{BASE}/{}", file.path)), "{}", file.path);
        assert!(
            !file.temp.contains('/') && file.temp.ends_with(".tmp"),
            "{}",
            file.temp
        );
        assert!(entry.first <= file.first && file.first <= file.last && file.last < entry.end);
    }
    let moved = entry.moved.iter().flat_map(|moved| &moved.aside);
    moved.for_each(|path| assert!(is_below(&format!("{BASE}/{path}")), "{path}"));
    format!(
        "yes{}{}",
        entry.files.len().min(2),
        if entry.moved.is_some() { "moved" } else { "" }
    )
}

/// Whether a path is plain, and below the base.
fn is_below(path: &str) -> bool {
    let plain =
        |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255 && !part.contains(':');
    path.strip_prefix("/")
        .is_some_and(|path| path.split('/').all(plain))
        && path.starts_with("/data/base/")
}

fn identity() -> Identity {
    let [cluster_id, topic_id, group] = ["c", "t", "g"].map(str::to_owned);
    Identity {
        cluster_id,
        topic_id,
        group,
    }
}

/// Drives the log over a namespace that says whatever it likes.
fn drive(listing: &[u8], contents: &[&[u8]], input: &[u8]) -> String {
    let hash = input.iter().fold(0u64, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    let mut rng = Rng::new(hash);
    let mut log = CommitLog::new(Opening {
        base: BASE.to_owned(),
        topic: "t".to_owned(),
        partition: 0,
        owner: "o".to_owned(),
        identity: identity(),
        committed: rng.permille(300).then(|| rng.range(0, 9) as i64),
        start: rng.permille(800).then_some(0),
        takes_over: None,
    });
    let (mut todo, mut end, mut handed_over) = (log.step(Event::Open), "", 0);
    for _ in 0..300 {
        let Some(action) = todo.pop() else { break };
        let more = match action {
            Action::Call { id, call } => {
                check_call(&call);
                let outcome = answer(&call, listing, contents, &mut rng);
                log.step(Event::Answer { id, outcome })
            }
            Action::Backoff { .. } => log.step(Event::Retry),
            Action::Opened { resume } => {
                end = "opened";
                assert!(resume >= 0);
                hand_over(&mut log, resume, &mut handed_over)
            }
            Action::Committed { range } => {
                end = "committed";
                hand_over(&mut log, range.end, &mut handed_over)
            }
            Action::Rewind { .. } => return format!("{end}rewind"),
            Action::Stopped { why } => return format!("{end}stopped{:?}", why.kind),
            Action::Fenced { .. } => return format!("{end}fenced"),
        };
        todo.extend(more);
    }
    end.to_owned()
}

fn hand_over(log: &mut CommitLog, first: i64, handed_over: &mut u64) -> Vec<Action> {
    *handed_over += 1;
    let Some(end) = first.checked_add(3).filter(|_| *handed_over < 4) else {
        return Vec::new();
    };
    let name = names::FileName::new("t", 0, first, end - 1, "json");
    let file = FileEntry {
        temp: names::temp("o", *handed_over),
        path: names::final_path("t", &names::PartitionPath::new(), &name),
        records: 3,
        origins: Vec::new(),
        bytes: 9,
        first,
        last: end - 1,
    };
    let (range, leader_epoch, files) = (Range::new(first, end), -1, vec![file]);
    log.step(Event::Commit(Commit {
        range,
        leader_epoch,
        files,
    }))
}

/// Whatever stands in HDFS, the log touches nothing but its own folder and the files that entries name.
fn check_call(call: &Call) {
    let logs = format!("{BASE}/_outflow/t");
    let is_ours = |path: &String| *path == logs || path.starts_with(&format!("{logs}/"));
    let own = |path: &String| assert!(is_below(path) && is_ours(path), "{call:?}");
    match call {
        Call::List { path } | Call::Read { path } | Call::Create { path, .. } => own(path),
        Call::Delete { path, tree } => {
            own(path);
            assert!(!tree && path.len() > logs.len() + 3, "{call:?}");
        }
        Call::MakeDir { path, parents } => {
            assert!(is_below(path), "{call:?}");
            assert!(
                !parents || !is_ours(path) || *path == logs,
                "{call:?} could bring a fenced folder back"
            );
        }
        Call::Stat { path } => assert!(is_below(path), "{call:?}"),
        Call::Rename { from, to } => {
            assert!(
                is_below(from) && is_below(to) && (is_ours(from) || is_ours(to)),
                "{call:?}"
            );
        }
    }
}

fn answer(call: &Call, listing: &[u8], contents: &[&[u8]], rng: &mut Rng) -> Outcome {
    if rng.permille(60) {
        let why = Error::unavailable("no answer");
        return match rng.below(4) {
            0 => Outcome::Refused(why),
            1 => Outcome::Unknown(why),
            2 => Outcome::NotFound,
            _ => Outcome::Exists,
        };
    }
    match call {
        Call::List { path } => {
            // What holds folders, and what holds files.
            let is_folder = path.ends_with("/t/0");
            let text = String::from_utf8_lossy(listing).into_owned();
            // HDFS has no other names.
            let can_be =
                |name: &&str| !matches!(*name, "" | "." | "..") && !name.contains(['/', ':']);
            let names = text.lines().filter(can_be);
            let owner = |name: &&str| names::OwnerFolder::parse(name).is_some();
            let child = |name: &str| Child {
                name: name.to_owned(),
                is_folder,
                bytes: 9,
            };
            Outcome::Listed(
                names
                    .filter(|name| name.len() <= 255 && owner(name) == is_folder)
                    .map(child)
                    .collect(),
            )
        }
        Call::Read { .. } => match contents.is_empty() {
            true => Outcome::NotFound,
            false => Outcome::Content(contents[rng.below(contents.len())].to_vec()),
        },
        Call::Stat { .. } => Outcome::Found {
            is_folder: false,
            bytes: 9,
        },
        _ => Outcome::Done,
    }
}
