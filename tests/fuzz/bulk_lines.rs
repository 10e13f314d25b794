//! Records into a bulk body: whatever keys and values hold, Elasticsearch reads exactly the actions that were
//! meant.
//!
//! Fields: choices by letters, then a key and a value for each record; `<null>` is none.

use std::collections::BTreeSet;
use std::time::Duration;

use outflow::config::settings::{ElasticsearchSettings, IdSource, Tombstones, WriteOp};
use outflow::offsets::TopicPartition;
use outflow::sinks::elasticsearch::batch::Op;
use outflow::sinks::elasticsearch::encoder::{Encoder, Target};
use outflow::sinks::value::append_line;
use outflow::sinks::{Record, Slot};
use serde_json::Value;

use crate::{configured, fields, is_one_line, json};

pub const WORDS: &[&str] = &[
    "{\"a\":1}",
    "{\"index\":{\"_index\":\"x\",\"_id\":\"1\"}}",
    "\n{\"delete\":{\"_index\":\"x\",\"_id\":\"1\"}}\n",
    "<null>",
    "\n---\n<null>\n---\n",
    "kcDt",
    "oiS",
    "\r\n",
    "\\u000a",
    "\\\"",
    "{\"a\":[",
    "]}",
    "{\"a\":\"",
    "\"}",
    "{\"a\":{",
    "}}",
    "/*",
    "*/",
    "//",
    "\u{85}",
    "\u{2029}",
];

/// 2026-11-23 04:05:06 UTC.
const NOW: i64 = 1_795_406_706_000;
const HOUR_MS: i64 = 3_600_000;

fn settings(choices: &[u8]) -> ElasticsearchSettings {
    let chosen = |letter: u8| choices.contains(&letter);
    ElasticsearchSettings {
        index: if chosen(b't') {
            "{topic}-{yyyy.MM.dd.HH}"
        } else {
            "logs"
        }
        .to_owned(),
        date_window: Duration::from_secs(5 * 3_600),
        op: if chosen(b'c') {
            WriteOp::Create
        } else {
            WriteOp::Index
        },
        id: match (chosen(b'k'), chosen(b'n')) {
            (true, _) => IdSource::Key,
            (_, true) => IdSource::None,
            _ => IdSource::Offset,
        },
        tombstones: match (chosen(b'D'), chosen(b'R')) {
            (true, _) => Tombstones::Delete,
            (_, true) => Tombstones::Reject,
            _ => Tombstones::Skip,
        },
        ..configured::settings()
    }
}

/// An action that must be read back, and what with.
struct Meant<'a> {
    op: Op,
    id: Option<String>,
    version: Option<i64>,
    index: String,
    value: Option<&'a [u8]>,
}

pub fn check(input: &[u8]) -> String {
    let fields = fields(input);
    let settings = settings(fields[0]);
    let encoder = Encoder::new(&settings).expect("good settings");
    let partition = |p| TopicPartition::new("Some.Topic_1", p);
    let mut targets = [0, 1].map(|p| Target::new(partition(p)));
    let (mut body, mut meant, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for (nth, pair) in fields[1..].chunks(2).enumerate() {
        let &[key, value] = pair else { break };
        let some = |bytes| (bytes != b"<null>").then_some(bytes);
        let (key, value, p, offset) = (some(key), some(value), nth % 2, nth as i64 / 2);
        let record = Record {
            slot: Slot(p),
            offset,
            origin: None,
            leader_epoch: 0,
            timestamp_ms: (nth != 5).then_some(NOW - offset * HOUR_MS),
            key,
            value,
        };
        let before = body.len();
        match encoder.encode(&mut targets[p], &record, NOW, &mut body) {
            Ok(Some(op)) => {
                let keyed = settings.id == IdSource::Key;
                let key_id =
                    || key.map(|key| String::from_utf8(key.to_vec()).expect("a key that is UTF-8"));
                let id = match settings.id {
                    IdSource::Key => key_id(),
                    IdSource::Offset => Some(format!("Some.Topic_1+{p}+{offset}")),
                    IdSource::None => None,
                };
                meant.push(Meant {
                    op,
                    id,
                    version: (keyed && op != Op::Create).then_some(offset),
                    index: index(settings.index.contains('{'), record.timestamp_ms),
                    value,
                });
                ends.push(op.to_string());
            }
            Ok(None) => {
                assert!(
                    value.is_none() && body.len() == before,
                    "skipped, but not nothing"
                );
                ends.push("skipped".to_owned());
            }
            Err(why) => {
                assert_eq!(body.len(), before, "a refused record leaves nothing behind");
                assert!(
                    is_one_line(&why.detail) && why.detail.len() <= 1_024,
                    "{}",
                    why.detail
                );
                ends.push(why.reason);
            }
        }
        if let Some(value) = value {
            check_line(value);
        }
    }
    check_body(&body, &meant);
    ends.sort();
    ends.dedup();
    format!(
        "{} {}",
        if meant.is_empty() { "no" } else { "yes" },
        ends.join(" ")
    )
}

/// The index of a record.
fn index(is_dated: bool, stamp: Option<i64>) -> String {
    let Some(stamp) = stamp.filter(|_| is_dated) else {
        return "logs".to_owned();
    };
    let moment = jiff::Timestamp::from_millisecond(stamp).expect("a moment");
    format!("some.topic_1-{}", moment.strftime("%Y.%m.%d.%H"))
}

/// What Elasticsearch reads: line by line, and nothing else divides.
fn check_body(body: &[u8], meant: &[Meant<'_>]) {
    let mut lines = body.split_inclusive(|byte| *byte == b'\n');
    let mut ids = BTreeSet::new();
    for meant in meant {
        let action: Value =
            serde_json::from_slice(lines.next().expect("an action")).expect("an action");
        let actions = action.as_object().expect("an object");
        assert_eq!(actions.len(), 1, "{action}");
        let action = &actions[&meant.op.to_string()];
        assert_eq!(action["_id"].as_str(), meant.id.as_deref());
        assert_eq!(action["version"].as_i64(), meant.version);
        assert_eq!(action["_index"].as_str(), Some(&*meant.index));
        if let (Some(id), None) = (&meant.id, meant.version) {
            let is_key = meant.op == Op::Create && !id.starts_with("Some.Topic_1+");
            assert!(ids.insert(id.clone()) || is_key, "{id} is given twice");
        }
        if meant.op == Op::Delete {
            assert!(meant.value.is_none());
            continue;
        }
        let line = lines.next().expect("a document");
        assert!(line.ends_with(b"\n") && !line[..line.len() - 1].contains(&b'\n'));
        same_meaning(meant.value.expect("a value"), line);
    }
    assert!(
        lines.next().is_none(),
        "there is more in the body than was meant"
    );
}

/// As HDFS gets it.
fn check_line(value: &[u8]) {
    let mut body = b"{}\n".to_vec();
    if append_line(&mut body, value).is_ok() {
        let lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), 3, "not one line");
        assert!(!lines[1].contains(&b'\r'));
        same_meaning(value, lines[1]);
    } else {
        assert_eq!(body, b"{}\n");
    }
}

/// A line is its value but for white space between tokens, and an object to a parser that knows nothing of ours.
fn same_meaning(value: &[u8], line: &[u8]) {
    assert_eq!(without_space(value), without_space(line));
    assert!(json(line).is_none_or(|line| line.is_object()));
}

fn without_space(json: &[u8]) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |byte: &&u8| {
        let is_space = !in_string && b" \t\r\n".contains(byte);
        in_string ^= **byte == b'"' && !escaped;
        escaped = in_string && **byte == b'\\' && !escaped;
        !is_space
    };
    json.iter().filter(keep).copied().collect()
}
