//! What outflow keeps in files, beside committed offsets and in headers, and others may have changed.
//!
//! Fields: a file of positions, a note beside a committed offset, and a dead letter's header, value and detail.

use outflow::kafka::dead_letter::headers::{RefusedBy, with_reason};
use outflow::kafka::positions;
use outflow::offsets::{Epoch, Note, TopicPartition};
use outflow::pipeline::dead_letter::Letter;
use outflow::pipeline::source::Committed;
use outflow::sinks::{Rejection, Slot};
use serde_json::Value;

use crate::{fields, is_part_of, json};

pub const WORDS: &[&str] = &[
    "\"format\": 1",
    "\"cluster_id\": \"c\"",
    "\"positions\": [",
    "\"topic\": \"t\"",
    "\"partition\": 0",
    "\"offset\": 1",
    "\"leader_epoch\": -1",
    "\"metadata\": \"\"",
    "\"topic_id\":\"",
    "\"partitions\":3",
    "\"since_ms\":",
    "\"records_end\":",
    "null",
    "{",
    "},",
    "]}",
    "\\\"",
    "NONE",
    "outflow.reason",
    "__connect.errors.topic",
];

pub fn check(input: &[u8]) -> String {
    let fields = fields(input);
    let field = |nth: usize| fields.get(nth).copied().unwrap_or_default();
    letter(field(2), field(3), &String::from_utf8_lossy(field(4)));
    let (file, note) = (file(field(0)), note(field(1)));
    let word = if file.is_ok() || note { "yes" } else { "no" };
    format!("{word} {file:?} {note}")
}

/// A file that isn't whole and sound isn't read at all.
fn file(text: &[u8]) -> Result<usize, String> {
    let read = positions::parse(text).map_err(|why| {
        why.chars()
            .filter(|c| !c.is_ascii_digit())
            .take(40)
            .collect::<String>()
    })?;
    let found: Value = serde_json::from_slice(text).expect("what is understood is JSON");
    let printed = positions::print(&read).expect("JSON");
    let ours: Value = serde_json::from_slice(&printed).expect("JSON");
    assert_eq!(positions::parse(&printed).as_ref(), Ok(&read));
    let lines = |value: &Value| {
        let mut lines: Vec<String> = value["positions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(Value::to_string)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(
        (lines(&ours), &ours["cluster_id"]),
        (lines(&found), &found["cluster_id"]),
        "nothing is left out"
    );
    for (id, position) in &read.partitions {
        assert!(id.partition >= 0 && position.offset >= 0, "{id}");
    }
    Ok(read.partitions.len().min(3))
}

/// What others committed there is no note.
fn note(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let metadata = text.to_owned();
    let committed = Committed {
        offset: 10,
        leader_epoch: -1,
        metadata,
    };
    assert!(
        committed.records_end() <= 10,
        "records end where nothing was committed yet"
    );
    let Some(note) = Note::parse(text) else {
        assert_eq!(committed.records_end(), 10);
        return false;
    };
    let Some(found) = json(text.as_bytes()) else {
        return true;
    };
    let printed = note.to_text();
    assert!(
        is_part_of(&serde_json::from_str(&printed).expect("JSON"), &found),
        "{text} was read as {printed}"
    );
    assert_eq!(Note::parse(&printed), Some(note));
    true
}

/// A dead letter keeps its own headers, and what is said about it can be read and is bounded.
fn letter(name: &[u8], value: &[u8], detail: &str) {
    let own = vec![
        (name.to_vec(), Some(value.to_vec())),
        (value.to_vec(), None),
    ];
    let letter = Letter {
        slot: Slot(0),
        epoch: Epoch(1),
        partition: TopicPartition::new("t", 3),
        offset: 42,
        rejection: Rejection {
            reason: detail.chars().rev().collect(),
            detail: detail.to_owned(),
            status: Some(400),
        },
    };
    let from = RefusedBy {
        sink: "es",
        group: "g",
        worker: 2,
    };
    let headers = with_reason(own.clone(), &letter, &from, Some(1));
    assert_eq!(
        headers[..own.len()],
        own[..],
        "its own headers come first, as they were"
    );
    for (name, value) in &headers[own.len()..] {
        let (name, value) = (
            std::str::from_utf8(name),
            value.as_deref().map(std::str::from_utf8),
        );
        assert!(
            name.is_ok() && value.is_some_and(|v| v.is_ok_and(|v| v.len() <= 1_024)),
            "{name:?}"
        );
    }
    let last = |wanted: &[u8]| {
        headers
            .iter()
            .rev()
            .find(|(name, _)| name == wanted)
            .and_then(|(_, v)| v.clone())
    };
    assert_eq!(
        last(b"outflow.offset").as_deref(),
        Some(&b"42"[..]),
        "ours counts, whatever the record brought"
    );
    let shown = last(b"outflow.detail").expect("a detail");
    assert!(detail.as_bytes().starts_with(&shown));
}
