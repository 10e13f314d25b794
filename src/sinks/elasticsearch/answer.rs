//! What a bulk answer says about each record. Pure.
//!
//! An answer is either understood in full (as many items as were sent, each of the kind that was sent, each
//! with a final status) or not at all: then nothing is known, and the same bodies are sent again.

use std::borrow::Cow;

use serde::Deserialize;

use super::batch::Op;
use crate::error::Kind;
use crate::sinks::Rejection;

/// Longest text quoted from a server.
const MAX_QUOTE: usize = 900;

/// Where the names of indices and documents come from, as far as it bears on an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Naming {
    /// Index names come from records: then an index's trouble is that index's alone.
    pub names_vary: bool,
    /// An id is made from a record's offset, and belongs to that record alone. Other records may have the same
    /// key: then a conflict is no proof that a try of ours got through.
    pub ids_are_ours: bool,
}

/// What has become of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Written.
    Done,
    /// Taken, but into the data stream's failure store.
    FailureStore,
    /// The same or a newer document was there.
    AlreadyThere,
    /// A document with our id is there, and it isn't certain that a try of ours has written it: compare.
    Compare {
        /// The concrete index that has it, if the server named it.
        index: Option<String>,
    },
    /// Not written, or not known to be: send it again.
    Retry {
        /// The server's name for the trouble.
        reason: String,
        /// The server has too much to do: send less.
        overload: bool,
        /// It may have been written all the same.
        maybe_written: bool,
    },
    /// Its index can't take it now: everything for this index waits, other indices go on.
    Index {
        /// [`Kind::Unavailable`] or [`Kind::Misconfigured`].
        kind: Kind,
        /// The server's words.
        reason: String,
        /// It may have been written all the same.
        maybe_written: bool,
    },
    /// The sink as a whole can't write: a person is needed.
    Configuration {
        /// The server's words.
        reason: String,
    },
    /// Never.
    Refused(Rejection),
}

/// One item of a bulk answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ItemAnswer<'a> {
    status: u16,
    #[serde(borrow, default)]
    error: Option<ErrorAnswer<'a>>,
    #[serde(borrow, default)]
    failure_store: Option<Cow<'a, str>>,
}

/// The server's error, of an item or of a whole request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ErrorAnswer<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    index: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct BulkAnswer<'a> {
    errors: bool,
    #[serde(borrow)]
    items: Vec<Envelope<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Envelope<'a> {
    #[serde(borrow)]
    Index(ItemAnswer<'a>),
    #[serde(borrow)]
    Create(ItemAnswer<'a>),
    #[serde(borrow)]
    Delete(ItemAnswer<'a>),
}

#[derive(Deserialize)]
struct WholeAnswer<'a> {
    #[serde(borrow)]
    error: ErrorAnswer<'a>,
}

/// Reads JSON. It is UTF-8 as a whole: the parser alone doesn't look at what it passes over.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// Reads the answer to a bulk request that sent `ops`. `Err` says in what way it isn't understood.
pub fn parse<'a>(
    body: &'a [u8],
    ops: impl ExactSizeIterator<Item = Op>,
) -> Result<Vec<ItemAnswer<'a>>, String> {
    let answer: BulkAnswer<'a> = read(body).map_err(|e| format!("not a bulk answer: {e}"))?;
    if answer.items.len() != ops.len() {
        let (got, sent) = (answer.items.len(), ops.len());
        return Err(format!("{got} items answered, {sent} sent"));
    }
    let mut items = Vec::with_capacity(answer.items.len());
    for (envelope, sent) in answer.items.into_iter().zip(ops) {
        let (op, item) = match envelope {
            Envelope::Index(item) => (Op::Index, item),
            Envelope::Create(item) => (Op::Create, item),
            Envelope::Delete(item) => (Op::Delete, item),
        };
        if op != sent {
            return Err(format!("'{op}' answered to '{sent}'"));
        }
        if !item.is_understood() {
            return Err(format!(
                "status {} without a meaning for an item",
                item.status
            ));
        }
        if item.error.is_some() && !answer.errors {
            return Err("an item failed in an answer that says there are no errors".into());
        }
        items.push(item);
    }
    Ok(items)
}

impl ItemAnswer<'_> {
    fn is_understood(&self) -> bool {
        match self.status {
            200..=299 => self.error.is_none(),
            404 => true,
            400..=599 => self.error.is_some(),
            _ => false,
        }
    }
}

/// What the answer means for a record sent as `op`. `tried`: an earlier try of ours may have written it.
pub fn judge(op: Op, tried: bool, naming: Naming, answer: &ItemAnswer<'_>) -> Outcome {
    let status = answer.status;
    let Some(error) = &answer.error else {
        return match answer.failure_store.as_deref() {
            Some("used") => Outcome::FailureStore,
            _ if status == 404 && op != Op::Delete => retry("not_found", false, false),
            // Deleting what isn't there is done.
            _ => Outcome::Done,
        };
    };
    let kind = error.kind.as_deref().unwrap_or("unknown");
    let reason = error.reason.as_deref().unwrap_or("");
    if kind == "version_conflict_engine_exception" || (status == 409 && op != Op::Create) {
        return conflict(op, tried && naming.ids_are_ours, error);
    }
    match status {
        401 => configuration(error),
        403 | 429 if kind == "cluster_block_exception" && is_full(reason) => {
            index(Kind::Unavailable, error)
        }
        403 => index(Kind::Misconfigured, error),
        429 => retry(kind, true, false),
        408 => retry(kind, false, true),
        404 if kind == "index_not_found_exception" => index(Kind::Misconfigured, error),
        503 if kind == "unavailable_shards_exception"
            || kind == "no_shard_available_action_exception" =>
        {
            index(Kind::Unavailable, error)
        }
        500..=599 => retry(kind, false, true),
        400 if kind == "resource_already_exists_exception" => retry(kind, false, false),
        400 if kind == "invalid_index_name_exception" && naming.names_vary => {
            refused(status, error)
        }
        400 if is_about_the_index(kind, reason) => index(Kind::Misconfigured, error),
        _ => refused(status, error),
    }
}

/// A 400 that isn't the record's fault.
fn is_about_the_index(kind: &str, reason: &str) -> bool {
    match kind {
        "index_closed_exception"
        | "invalid_index_name_exception"
        | "invalid_alias_name_exception" => true,
        // "this action would add [2] shards, but this cluster currently has [1000]/[1000] maximum".
        "validation_exception" => reason.contains("shards"),
        "illegal_argument_exception" => [
            "no write index is defined",
            "only write ops with an op_type of create are allowed in data streams",
            "pipeline with id",
            "is not a data stream",
            "maximum normal shards open",
        ]
        .iter()
        .any(|known| reason.contains(known)),
        _ => false,
    }
}

/// The flood stage of disk usage, by its number in a block's reason: `[TOO_MANY_REQUESTS/12/…]`, on older
/// clusters `[FORBIDDEN/12/…]`.
fn is_full(reason: &str) -> bool {
    reason.contains("/12/")
}

/// `is_ours`: what is there under this id can only be what an earlier try wrote.
fn conflict(op: Op, is_ours: bool, error: &ErrorAnswer<'_>) -> Outcome {
    match op {
        Op::Create if !is_ours => Outcome::Compare {
            index: error.index.as_deref().map(str::to_owned),
        },
        // An external version: the document there has the same or a newer one.
        Op::Create | Op::Index | Op::Delete => Outcome::AlreadyThere,
    }
}

fn retry(reason: &str, overload: bool, maybe_written: bool) -> Outcome {
    Outcome::Retry {
        reason: label(reason),
        overload,
        maybe_written,
    }
}

fn index(kind: Kind, error: &ErrorAnswer<'_>) -> Outcome {
    Outcome::Index {
        kind,
        reason: error.words(),
        maybe_written: kind == Kind::Unavailable,
    }
}

fn configuration(error: &ErrorAnswer<'_>) -> Outcome {
    Outcome::Configuration {
        reason: error.words(),
    }
}

fn refused(status: u16, error: &ErrorAnswer<'_>) -> Outcome {
    Outcome::Refused(Rejection {
        reason: label(error.kind.as_deref().unwrap_or("unknown")),
        detail: cut(error
            .reason
            .as_deref()
            .unwrap_or("the server gave no reason")),
        status: Some(status),
    })
}

impl ErrorAnswer<'_> {
    /// `type: reason`, in one line.
    pub fn words(&self) -> String {
        let kind = self.kind.as_deref().unwrap_or("unknown");
        match self.reason.as_deref() {
            Some(reason) => cut(&format!("{kind}: {reason}")),
            None => label(kind),
        }
    }
}

/// The type and reason of a whole request's error, if the body is an error of Elasticsearch.
pub fn whole_error(body: &[u8]) -> Option<Rejection> {
    let answer: WholeAnswer<'_> = read(body).ok()?;
    Some(Rejection {
        reason: label(answer.error.kind.as_deref()?),
        detail: cut(answer.error.reason.as_deref().unwrap_or_default()),
        status: None,
    })
}

/// A server's type as a short, stable name: what doesn't look like one isn't passed on.
fn label(kind: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !kind.is_empty() && kind.len() <= 64 && kind.chars().all(good) {
        kind.to_owned()
    } else {
        "unknown".to_owned()
    }
}

/// What Elasticsearch says before it quotes from a document.
const QUOTES: [&str; 5] = [
    ". Preview of field's value",
    ", request: [",
    " For input string",
    ". The prefix of the first immense term",
    " containing [",
];

/// One line of at most [`MAX_QUOTE`] bytes, up to where it begins to quote what stands in a record: reasons are
/// logged, records aren't.
fn cut(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_QUOTE));
    let quote = QUOTES.iter().filter_map(|quote| text.find(quote)).min();
    for c in text[..quote.unwrap_or(text.len())].chars() {
        if line.len() + c.len_utf8() > MAX_QUOTE {
            line.push('…');
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn naming(names_vary: bool, ids_are_ours: bool) -> Naming {
        Naming {
            names_vary,
            ids_are_ours,
        }
    }

    fn outcomes(sent: &[Op], body: &str, names_vary: bool) -> Result<Vec<Outcome>, String> {
        let items = parse(body.as_bytes(), sent.iter().copied())?;
        let naming = naming(names_vary, true);
        let judged = sent.iter().zip(&items);
        Ok(judged
            .map(|(op, item)| judge(*op, false, naming, item))
            .collect())
    }

    fn one(op: Op, status: u16, kind: &str, reason: &str) -> Outcome {
        let item = json!({"status": status, "error": {"type": kind, "reason": reason}});
        let body = json!({"errors": true, "items": [{op.to_string(): item}]}).to_string();
        outcomes(&[op], &body, false).expect("understood").remove(0)
    }

    #[test]
    fn what_became_of_each_record() {
        let is_retry = |o: &Outcome| {
            matches!(
                o,
                Outcome::Retry {
                    overload: false,
                    ..
                }
            )
        };
        let is_overload = |o: &Outcome| matches!(o, Outcome::Retry { overload: true, .. });
        let is_refused = |o: &Outcome| matches!(o, Outcome::Refused(_));
        let waits = |o: &Outcome| {
            matches!(
                o,
                Outcome::Index {
                    kind: Kind::Unavailable,
                    ..
                }
            )
        };
        let misset = |o: &Outcome| {
            matches!(
                o,
                Outcome::Index {
                    kind: Kind::Misconfigured,
                    ..
                }
            )
        };
        let config = |o: &Outcome| matches!(o, Outcome::Configuration { .. });
        type Check<'a> = &'a dyn Fn(&Outcome) -> bool;
        let table: &[(u16, &str, &str, Check<'_>)] = &[
            (
                429,
                "es_rejected_execution_exception",
                "queue",
                &is_overload,
            ),
            (
                429,
                "circuit_breaking_exception",
                "[parent] Data too large",
                &is_overload,
            ),
            (
                429,
                "cluster_block_exception",
                "blocked by: [TOO_MANY_REQUESTS/12/disk]",
                &waits,
            ),
            (
                403,
                "cluster_block_exception",
                "blocked by: [FORBIDDEN/12/disk]",
                &waits,
            ),
            (
                403,
                "cluster_block_exception",
                "blocked by: [FORBIDDEN/8/index write (api)]",
                &misset,
            ),
            (403, "security_exception", "action is unauthorized", &misset),
            (401, "security_exception", "unable to authenticate", &config),
            (
                404,
                "index_not_found_exception",
                "no such index [x]",
                &misset,
            ),
            (400, "index_closed_exception", "closed", &misset),
            (
                400,
                "invalid_index_name_exception",
                "must be lowercase",
                &misset,
            ),
            (
                400,
                "illegal_argument_exception",
                "no write index is defined for alias [x]",
                &misset,
            ),
            (
                400,
                "illegal_argument_exception",
                "only write ops with an op_type of create are allowed in data streams",
                &misset,
            ),
            (
                400,
                "validation_exception",
                "this action would add [2] shards",
                &misset,
            ),
            (
                400,
                "illegal_argument_exception",
                "Limit of total fields [1000] has been exceeded",
                &is_refused,
            ),
            (
                400,
                "document_parsing_exception",
                "failed to parse field [n]",
                &is_refused,
            ),
            (
                400,
                "mapper_parsing_exception",
                "failed to parse",
                &is_refused,
            ),
            (
                400,
                "strict_dynamic_mapping_exception",
                "not allowed",
                &is_refused,
            ),
            (
                400,
                "resource_already_exists_exception",
                "index already exists",
                &is_retry,
            ),
            (404, "document_missing_exception", "missing", &is_refused),
            (500, "null_pointer_exception", "", &is_retry),
            (
                503,
                "unavailable_shards_exception",
                "primary shard is not active",
                &waits,
            ),
            (
                503,
                "cluster_block_exception",
                "[SERVICE_UNAVAILABLE/2/no master]",
                &is_retry,
            ),
            (502, "x", "", &is_retry),
            (
                504,
                "process_cluster_event_timeout_exception",
                "",
                &is_retry,
            ),
            (408, "x", "", &is_retry),
        ];
        for (status, kind, reason, check) in table {
            let outcome = one(Op::Index, *status, kind, reason);
            assert!(check(&outcome), "{status} {kind} {reason}: {outcome:?}");
        }
    }

    #[test]
    fn an_invalid_name_that_came_from_a_record_is_the_records_fault() {
        let body = r#"{"errors":true,"items":[{"index":{"status":400,
            "error":{"type":"invalid_index_name_exception","reason":"no"}}}]}"#;
        let judged = outcomes(&[Op::Index], body, true).expect("understood");
        assert!(matches!(judged.as_slice(), [Outcome::Refused(_)]));
    }

    #[test]
    fn what_a_reason_quotes_from_a_record_goes_no_further() {
        let told = [
            (
                "failed to parse field [n] of type [long] in document with id 'a'. Preview of field's value: \
                 'hunter2'",
                "failed to parse field [n] of type [long] in document with id 'a'",
            ),
            (
                "[i][0] primary shard is not active Timeout: [1.2s], request: [BulkShardRequest [[i][0]] \
                 containing [index {[i][a], source[{\"password\":\"hunter2\"}]}]]",
                "[i][0] primary shard is not active Timeout: [1.2s]",
            ),
        ];
        for (reason, kept) in told {
            assert_eq!(cut(reason), kept);
        }
    }

    #[test]
    fn a_refusal_carries_type_reason_and_status() {
        let reason = "failed to parse field [n] of type [long]";
        let expected = Rejection {
            reason: "document_parsing_exception".into(),
            detail: reason.into(),
            status: Some(400),
        };
        let outcome = one(Op::Index, 400, "document_parsing_exception", reason);
        assert_eq!(outcome, Outcome::Refused(expected));
        let Outcome::Refused(long) = one(Op::Index, 400, "x y\n", &"ä\n".repeat(2_000)) else {
            panic!("not refused")
        };
        assert!(long.detail.len() <= 1_024 && !long.detail.contains('\n'));
        assert_eq!(long.reason, "unknown");
    }

    #[test]
    fn conflicts() {
        let conflict = "version_conflict_engine_exception";
        assert_eq!(one(Op::Index, 409, conflict, ""), Outcome::AlreadyThere);
        assert_eq!(one(Op::Delete, 409, conflict, ""), Outcome::AlreadyThere);
        let item = json!({"status": 409, "error":
            {"type": conflict, "reason": "", "index": ".ds-x-000001"}});
        let body = json!({"errors": true, "items": [{"create": item}]}).to_string();
        let items = parse(body.as_bytes(), [Op::Create].into_iter()).expect("understood");
        let compare = Outcome::Compare {
            index: Some(".ds-x-000001".to_owned()),
        };
        // Whether it was tried, whether ids are made from offsets. With keys another record may be there.
        let table = [
            (false, true, &compare),
            (true, true, &Outcome::AlreadyThere),
            (false, false, &compare),
            (true, false, &compare),
        ];
        for (tried, ids_are_ours, expected) in table {
            let outcome = judge(Op::Create, tried, naming(false, ids_are_ours), &items[0]);
            assert_eq!(&outcome, expected, "{tried} {ids_are_ours}");
        }
    }

    #[test]
    fn success_in_all_its_forms() {
        let body = r#"{"errors":false,"items":[{"index":{"status":201}},{"delete":{"status":404}},
            {"create":{"status":201,"failure_store":"used"}},
            {"create":{"status":201,"failure_store":"not_applicable_or_unknown"}}]}"#;
        let sent = [Op::Index, Op::Delete, Op::Create, Op::Create];
        let expected = [
            Outcome::Done,
            Outcome::Done,
            Outcome::FailureStore,
            Outcome::Done,
        ];
        assert_eq!(outcomes(&sent, body, false).as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn what_is_not_understood_in_full_is_not_understood_at_all() {
        for body in [
            "",
            "{}",
            "<html>",
            r#"{"errors":false}"#,
            r#"{"items":[{"index":{"status":201}}]}"#,
            r#"{"errors":false,"items":[]}"#,
            r#"{"errors":false,"items":[{"index":{"status":201}},{"index":{"status":201}}]}"#,
            r#"{"errors":false,"items":[{"create":{"status":201}}]}"#,
            r#"{"errors":false,"items":[{"update":{"status":200}}]}"#,
            r#"{"errors":false,"items":[{"index":{}}]}"#,
            r#"{"errors":false,"items":[{"index":{"status":302}}]}"#,
            r#"{"errors":false,"items":[{"index":{"status":400}}]}"#,
            r#"{"errors":false,"items":[{"index":{"status":400,"error":{"type":"x"}}}]}"#,
            r#"{"errors":true,"items":[{"index":{"status":200,"error":{"type":"x"}}}]}"#,
            r#"{"errors":false,"items":[{"index":{"status":201}}]"#,
            r#"{"errors":false,"items":[{"index":{"status":201}}]} x"#,
        ] {
            assert!(outcomes(&[Op::Index], body, false).is_err(), "{body}");
        }
        // Found by fuzzing: bytes that are no text, in a field that isn't ours.
        let garbled = b"{\"errors\":false,\"items\":[{\"index\":{\"status\":201,\"x\":\"\xb0\"}}]}";
        assert!(parse(garbled, [Op::Index].into_iter()).is_err());
    }

    #[test]
    fn a_whole_requests_error() {
        let error = whole_error(
            br#"{"error":{"type":"illegal_argument_exception","reason":"r"},"status":400}"#,
        );
        assert_eq!(
            error.map(|e| e.reason).as_deref(),
            Some("illegal_argument_exception")
        );
        assert_eq!(whole_error(b"<html>Bad Request</html>"), None);
        assert_eq!(whole_error(br#"{"error":"no handler found"}"#), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&body, [Op::Index].into_iter()).is_err());
            let _ = whole_error(&body);
        }

        #[test]
        fn any_status_and_type_is_judged_or_not_understood(
            status: u16, kind in "\\PC{0,80}", reason in "\\PC{0,2000}", tried: bool, ours: bool
        ) {
            let item = json!({"status": status, "error": {"type": kind, "reason": reason}});
            let body = json!({"errors": true, "items": [{"create": item}]}).to_string();
            if let Ok(items) = parse(body.as_bytes(), [Op::Create].into_iter()) {
                let outcome = judge(Op::Create, tried, naming(true, ours), &items[0]);
                // An error is never taken for success, and never lost silently.
                prop_assert!(!matches!(outcome, Outcome::Done | Outcome::FailureStore));
                if let Outcome::Refused(r) = outcome {
                    prop_assert!(r.detail.len() <= 1_024 && (400..500).contains(&status));
                }
            }
        }
    }
}
