//! A document with our id was there before any try of ours that we know of: is it ours?
//!
//! Usually it is: an earlier run of ours wrote it and was killed before the commit. If it isn't (two Kafka
//! clusters with the same topic names into one index, say), taking it for ours would lose a record silently.
//! The documents are fetched by id and compared. Fields that are there besides ours are no difference: an
//! ingest pipeline adds them.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::transport::{Client, Method, Request};
use crate::error::Error;

/// Documents fetched at once: by count, and by the bytes that we sent.
const MAX_DOCS: usize = 500;
const MAX_BYTES: usize = 4 << 20;

/// A document to look at.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The concrete index, if the server named it.
    pub index: Option<String>,
    /// The record's lines: the action, and our document.
    pub lines: &'a [u8],
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// It is our document.
    Same,
    /// It is another one.
    Differs,
    /// It isn't there any more.
    Gone,
}

#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow, alias = "index")]
    create: ActionMeta<'a>,
}

#[derive(Deserialize)]
struct ActionMeta<'a> {
    #[serde(borrow, rename = "_index")]
    index: Cow<'a, str>,
    #[serde(borrow, rename = "_id")]
    id: Cow<'a, str>,
}

#[derive(Serialize)]
struct Wanted<'a> {
    #[serde(rename = "_index")]
    index: &'a str,
    #[serde(rename = "_id")]
    id: &'a str,
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    docs: Vec<FoundDoc<'a>>,
}

#[derive(Deserialize)]
struct FoundDoc<'a> {
    found: Option<bool>,
    #[serde(borrow, rename = "_source")]
    source: Option<&'a RawValue>,
}

/// Compares all of `asks`, in order. `Err`: nothing is known yet.
pub async fn compare(
    client: &Client,
    asks: &[Ask<'_>],
    timeout: Duration,
) -> Result<Vec<Comparison>, Error> {
    let mut results = Vec::with_capacity(asks.len());
    let mut rest = asks;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(portion(rest));
        let body = question(now).ok_or_else(|| Error::unavailable("an action without an id"))?;
        let reply = client
            .send(Request {
                method: Method::Post,
                path: "/_mget",
                query: &[("filter_path", "docs.found,docs._source,docs.error.type")],
                body: Some(body),
                timeout,
            })
            .await?;
        let node = &reply.node;
        match reply.status {
            200 => {}
            401 | 403 => {
                return Err(Error::misconfigured(format!(
                    "{node}: documents with our ids are there, and comparing them with ours isn't allowed \
                     (HTTP {}): grant the privilege 'read'",
                    reply.status
                )));
            }
            status => {
                return Err(
                    Error::unavailable(format!("{node}: HTTP {status} to _mget"))
                        .with_retry_after(reply.retry_after),
                );
            }
        }
        let found = read(&reply.body, now)
            .map_err(|why| Error::unavailable(format!("{node}: _mget: {why}")))?;
        results.extend(found);
        rest = later;
    }
    Ok(results)
}

/// How many of `asks` go into one request: at least one.
fn portion(asks: &[Ask<'_>]) -> usize {
    let mut bytes = 0usize;
    let fits = asks.iter().take(MAX_DOCS).take_while(|ask| {
        bytes = bytes.saturating_add(ask.lines.len());
        bytes <= MAX_BYTES
    });
    fits.count().max(1).min(asks.len())
}

fn parts<'a>(ask: &Ask<'a>) -> Option<(ActionMeta<'a>, &'a [u8])> {
    let cut = memchr::memchr(b'\n', ask.lines)?;
    let (action, document) = ask.lines.split_at_checked(cut)?;
    let action: Action<'a> = serde_json::from_slice(action).ok()?;
    Some((action.create, document))
}

fn question(asks: &[Ask<'_>]) -> Option<Bytes> {
    let metas: Vec<_> = asks.iter().map(parts).collect::<Option<_>>()?;
    let docs: Vec<_> = asks
        .iter()
        .zip(&metas)
        .map(|(ask, (meta, _))| Wanted {
            index: ask.index.as_deref().unwrap_or(&meta.index),
            id: &meta.id,
        })
        .collect();
    let body = serde_json::to_vec(&serde_json::json!({ "docs": docs })).ok()?;
    Some(body.into())
}

/// Reads the answer to [`question`]. Pure.
pub fn read(body: &[u8], asks: &[Ask<'_>]) -> Result<Vec<Comparison>, String> {
    let found: Found<'_> = super::answer::read(body)?;
    if found.docs.len() != asks.len() {
        return Err(format!("{} answers to {}", found.docs.len(), asks.len()));
    }
    let judge = |(doc, ask): (&FoundDoc<'_>, &Ask<'_>)| match (doc.found, doc.source) {
        (Some(false), _) => Ok(Comparison::Gone),
        (Some(true), Some(theirs)) => {
            let ours = parts(ask).map_or(&b""[..], |(_, document)| document);
            Ok(if is_same(ours, theirs.get().as_bytes()) {
                Comparison::Same
            } else {
                Comparison::Differs
            })
        }
        // The index keeps no source: the id is all there is to go by.
        (Some(true), None) => Ok(Comparison::Same),
        (None, _) => Err("a document couldn't be fetched".to_owned()),
    };
    found.docs.iter().zip(asks).map(judge).collect()
}

/// Whether a stored document is the one that was sent. Fields besides ours are no difference.
pub fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    if ours.trim_ascii() == theirs.trim_ascii() {
        return true;
    }
    let parse = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    match (parse(ours), parse(theirs)) {
        (Some(ours), Some(theirs)) => is_part_of(&ours, &theirs),
        _ => false,
    }
}

/// Whether `theirs` has all that `ours` has. Recursion is bounded by the parser's own limit.
fn is_part_of(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => ours.iter().all(|(key, value)| {
            theirs
                .get(key)
                .is_some_and(|found| is_part_of(value, found))
        }),
        _ => ours == theirs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &[u8] =
        b"{\"create\":{\"_index\":\"x\",\"_id\":\"t+0+1\"}}\n{\"a\": 1, \"b\":{\"c\":[1,2]}}\n";

    fn ask() -> Ask<'static> {
        Ask {
            index: None,
            lines: OURS,
        }
    }

    fn verdict(doc: &str) -> Result<Comparison, String> {
        let body = format!("{{\"docs\":[{doc}]}}");
        read(body.as_bytes(), &[ask()]).map(|found| found[0])
    }

    #[test]
    fn what_is_ours_and_what_is_not() {
        use Comparison::{Differs, Gone, Same};
        let table = [
            (
                r#"{"found":true,"_source":{"a": 1, "b":{"c":[1,2]}}}"#,
                Same,
            ),
            (r#"{"found":true,"_source":{"b":{"c":[1,2]},"a":1}}"#, Same),
            (
                r#"{"found":true,"_source":{"a":1,"b":{"c":[1,2],"d":0},"added":1}}"#,
                Same,
            ),
            (r#"{"found":true}"#, Same),
            (
                r#"{"found":true,"_source":{"a":2,"b":{"c":[1,2]}}}"#,
                Differs,
            ),
            (r#"{"found":true,"_source":{"a":1,"b":{"c":[1]}}}"#, Differs),
            (r#"{"found":true,"_source":{}}"#, Differs),
            (r#"{"found":false}"#, Gone),
        ];
        for (doc, expected) in table {
            assert_eq!(verdict(doc), Ok(expected), "{doc}");
        }
        assert!(verdict(r#"{"error":{"type":"x"}}"#).is_err());
        assert!(read(b"{\"docs\":[]}", &[ask()]).is_err());
        assert!(read(b"", &[ask()]).is_err());
    }

    #[test]
    fn asks_for_the_concrete_index_where_it_is_known() {
        let named = Ask {
            index: Some(".ds-x-1".into()),
            ..ask()
        };
        let body = question(&[ask(), named]).expect("good lines");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let expected = serde_json::json!({"docs": [
            {"_index": "x", "_id": "t+0+1"}, {"_index": ".ds-x-1", "_id": "t+0+1"}]});
        assert_eq!(body, expected);
    }

    #[test]
    fn portions_are_bounded_and_never_empty() {
        let large = vec![b'x'; MAX_BYTES + 1];
        let big = || Ask {
            index: None,
            lines: &large,
        };
        assert_eq!(portion(&[big(), big()]), 1);
        let many: Vec<_> = (0..MAX_DOCS * 2).map(|_| ask()).collect();
        assert_eq!(portion(&many), MAX_DOCS);
    }
}
