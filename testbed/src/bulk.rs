//! Elasticsearch's bulk requests and answers, taken apart so that the proxy can edit single items.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::error::{Context, Error, Result};

/// One item of a bulk request.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its place in the request, from 0.
    pub place: usize,
    /// `index`, `create`, `delete` or `update`.
    pub op: &'a str,
    /// `_index`, `_id`, `version` and so on.
    pub meta: &'a Value,
    /// The document's line; none for a delete.
    pub source: Option<&'a [u8]>,
}

/// What an item's answer says instead.
#[derive(Clone, Debug)]
pub struct ItemFault {
    /// The item's status.
    pub status: u16,
    /// `error.type`.
    pub error_type: String,
    /// `error.reason`.
    pub reason: String,
}

impl ItemFault {
    /// A fault with the error type that Elasticsearch sends with this status.
    pub fn status(status: u16) -> Self {
        let error_type = match status {
            429 => "es_rejected_execution_exception",
            400 => "document_parsing_exception",
            409 => "version_conflict_engine_exception",
            403 => "security_exception",
            404 => "index_not_found_exception",
            503 => "unavailable_shards_exception",
            _ => "testbed_exception",
        };
        Self {
            status,
            error_type: error_type.to_owned(),
            reason: "on purpose".to_owned(),
        }
    }
}

/// Says what becomes of an item, if anything.
pub type EditItem = Arc<dyn Fn(&Item<'_>) -> Option<ItemFault> + Send + Sync>;

/// A bulk request after the faults were chosen.
pub(crate) struct Edited {
    /// Place -> operation, meta, fault.
    pub(crate) faults: BTreeMap<usize, (String, Value, ItemFault)>,
    num_items: usize,
    /// The request without the items that have faults.
    pub(crate) forwarded: Vec<u8>,
}

impl Edited {
    pub(crate) fn new(body: &[u8], edit: &EditItem) -> Result<Self> {
        let mut edited = Self {
            faults: BTreeMap::new(),
            num_items: 0,
            forwarded: Vec::new(),
        };
        let mut lines = body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        while let Some(action) = lines.next() {
            let parsed: Value = serde_json::from_slice(action).context("not a bulk action")?;
            let pair = parsed.as_object().and_then(|object| object.iter().next());
            let (op, meta) =
                pair.ok_or_else(|| Error::new(format!("not a bulk action: {parsed}")))?;
            let source = if op == "delete" { None } else { lines.next() };
            let item = Item {
                place: edited.num_items,
                op,
                meta,
                source,
            };
            match edit(&item) {
                Some(fault) => {
                    edited
                        .faults
                        .insert(edited.num_items, (op.clone(), meta.clone(), fault));
                }
                None => {
                    for line in [Some(action), source].into_iter().flatten() {
                        edited.forwarded.extend_from_slice(line);
                        edited.forwarded.push(b'\n');
                    }
                }
            }
            edited.num_items += 1;
        }
        Ok(edited)
    }

    /// The answer to the whole request: the server's, with the faults put in (`honest`: between its
    /// items; else instead of its items).
    pub(crate) fn answer(&self, server: Option<&[u8]>, honest: bool) -> Result<String> {
        let mut answer = match server {
            Some(server) => serde_json::from_slice(server).context("the server's bulk answer")?,
            None => json!({ "took": 0, "errors": false, "items": [] }),
        };
        let answered = answer["items"].as_array().cloned().unwrap_or_default();
        let mut answered = answered.into_iter();
        let mut items = Vec::with_capacity(self.num_items);
        for place in 0..self.num_items {
            let Some((op, meta, fault)) = self.faults.get(&place) else {
                items.extend(answered.next());
                continue;
            };
            if !honest {
                answered.next();
            }
            let mut item = json!({
                "status": fault.status,
                "error": { "type": fault.error_type, "reason": fault.reason },
            });
            for name in ["_index", "_id"] {
                if let Some(value) = meta.get(name) {
                    item[name] = value.clone();
                }
            }
            items.push(json!({ op.as_str(): item }));
        }
        answer["items"] = Value::Array(items);
        answer["errors"] = Value::Bool(true);
        Ok(answer.to_string())
    }
}

pub(crate) fn gunzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
    decoder
        .read_to_end(&mut plain)
        .context("the request's gzip")?;
    Ok(plain)
}
