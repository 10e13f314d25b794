//! What Elasticsearch answers: an outcome is believed only if the whole answer is understood.
//!
//! Fields: the actions (`i`, `c`, `d`; upper case: tried before; `v`: names vary; `o`: ids are ours) and the
//! answer's body; or `compare`, a record's lines, and the answer to the question whether it is there.

use outflow::sinks::Rejection;
use outflow::sinks::elasticsearch::answer::{self, ItemAnswer, Naming, Outcome};
use outflow::sinks::elasticsearch::batch::Op;
use outflow::sinks::elasticsearch::compare::{self, Ask, Comparison};
use serde_json::Value;

use crate::{fields, is_one_line, is_part_of, json};

pub const WORDS: &[&str] = &[
    "{\"errors\":false,\"items\":[",
    "{\"index\":{\"status\":201}}",
    "{\"create\":{\"status\":409,\"error\":{",
    "{\"delete\":{\"status\":404}}",
    "\"errors\":true",
    "\"status\":",
    "\"error\":{\"type\":\"",
    "\"reason\":\"",
    "\"failure_store\":\"used\"",
    "\"items\":",
    "\"index\":",
    "\"create\":",
    "\"delete\":",
    "\"update\":",
    "version_conflict_engine_exception",
    "cluster_block_exception",
    "/12/",
    "index_not_found_exception",
    "unavailable_shards_exception",
    "document_parsing_exception",
    "security_exception",
    ". Preview of field's value",
    "200",
    "201",
    "302",
    "400",
    "401",
    "403",
    "404",
    "409",
    "413",
    "429",
    "500",
    "503",
    "\"found\":true",
    "\"found\":false",
    "\"_source\":{",
    "{\"docs\":[",
    "compare",
    "icd",
    "ICDvo",
];

pub fn check(input: &[u8]) -> String {
    match fields(input)[..] {
        [b"compare", lines, body] => compared(lines, body),
        [actions, body] => answered(actions, body),
        _ => "no fields".to_owned(),
    }
}

fn answered(actions: &[u8], body: &[u8]) -> String {
    let naming = Naming {
        names_vary: actions.contains(&b'v'),
        ids_are_ours: actions.contains(&b'o'),
    };
    let op = |letter: &u8| match letter.to_ascii_lowercase() {
        b'i' => Some((Op::Index, letter.is_ascii_uppercase())),
        b'c' => Some((Op::Create, letter.is_ascii_uppercase())),
        b'd' => Some((Op::Delete, letter.is_ascii_uppercase())),
        _ => None,
    };
    let ops: Vec<(Op, bool)> = actions.iter().filter_map(op).collect();
    if let Some(error) = answer::whole_error(body) {
        check_words(&error);
    }
    let items = match answer::parse(
        body,
        ops.iter()
            .map(|(op, _)| *op)
            .collect::<Vec<_>>()
            .into_iter(),
    ) {
        Ok(items) => items,
        Err(why) => {
            return format!(
                "no {}",
                why.split(|c: char| c.is_ascii_digit()).next().unwrap_or("")
            );
        }
    };
    let Some(read) = json(body) else {
        return "yes, but".to_owned();
    };
    let theirs = read["items"].as_array().expect("items");
    assert_eq!(
        (items.len(), theirs.len()),
        (ops.len(), ops.len()),
        "an item for each action"
    );
    let ends = ops.iter().zip(&items).zip(theirs);
    let ends: Vec<String> = ends
        .map(|((op, item), theirs)| judged(*op, naming, item, theirs))
        .collect();
    format!("yes {}", ends.join(" "))
}

/// What becomes of one record, held against what stands in the answer.
fn judged(
    (op, tried): (Op, bool),
    naming: Naming,
    item: &ItemAnswer<'_>,
    theirs: &Value,
) -> String {
    let theirs = theirs.as_object().expect("an object");
    assert_eq!(theirs.len(), 1, "one action an item");
    let theirs = theirs
        .get(&op.to_string())
        .expect("the action that was sent");
    let status = theirs["status"].as_u64().expect("a status");
    let (failed, kind) = (
        !theirs["error"].is_null(),
        theirs["error"]["type"].as_str().unwrap_or(""),
    );
    let outcome = answer::judge(op, tried, naming, item);
    match &outcome {
        Outcome::Done | Outcome::FailureStore => {
            let is_gone = status == 404 && op == Op::Delete;
            assert!(
                !failed && ((200..300).contains(&status) || is_gone),
                "{theirs} counts as done"
            );
        }
        Outcome::AlreadyThere | Outcome::Compare { .. } => {
            let conflicts = status == 409 || kind == "version_conflict_engine_exception";
            assert!(failed && conflicts, "{theirs} counts as there");
            let is_believed = op != Op::Create || (tried && naming.ids_are_ours);
            assert_eq!(outcome == Outcome::AlreadyThere, is_believed, "{theirs}");
        }
        Outcome::Refused(rejection) => {
            assert!(
                failed && (400..500).contains(&status),
                "{theirs} counts as the record's fault"
            );
            assert!(
                ![401, 403, 408, 429].contains(&status),
                "{theirs} counts as the record's fault"
            );
            check_words(rejection);
        }
        Outcome::Index { reason, .. } | Outcome::Configuration { reason } => {
            assert!(
                failed && is_one_line(reason) && reason.len() <= 1_024,
                "{reason}"
            );
        }
        Outcome::Retry { reason, .. } => assert!(is_label(reason), "{reason}"),
    }
    format!("{outcome:?}")
        .split([' ', '('])
        .next()
        .unwrap_or_default()
        .to_owned()
        + &status.to_string()
}

fn is_label(reason: &str) -> bool {
    !reason.is_empty()
        && reason.len() <= 64
        && reason
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn check_words(rejection: &Rejection) {
    assert!(is_label(&rejection.reason), "{}", rejection.reason);
    assert!(
        is_one_line(&rejection.detail) && rejection.detail.len() <= 1_024,
        "{}",
        rejection.detail
    );
    assert!(
        !rejection.detail.contains(". Preview of field's value"),
        "a record is quoted"
    );
}

fn compared(lines: &[u8], body: &[u8]) -> String {
    let ask = Ask { index: None, lines };
    let found = match compare::read(body, &[ask]) {
        Ok(found) => found,
        Err(_) => return "no comparison".to_owned(),
    };
    let Some(theirs) = json(body) else {
        return "yes, but".to_owned();
    };
    let theirs = &theirs["docs"][0];
    if found == [Comparison::Same] {
        assert_eq!(theirs["found"], true, "{theirs} is taken for ours");
        let ours = lines
            .splitn(2, |byte| *byte == b'\n')
            .nth(1)
            .unwrap_or_default();
        let is_ours = |ours: Value| is_part_of(&ours, &theirs["_source"]);
        let is_same = serde_json::from_slice(ours).is_ok_and(is_ours);
        // Where the parser won't go, byte for byte.
        let is_copied = body
            .windows(ours.len().max(1))
            .any(|part| part == ours.trim_ascii());
        assert!(
            theirs["_source"].is_null() || is_same || is_copied,
            "{theirs} is taken for ours"
        );
    }
    format!("yes {found:?}")
}
