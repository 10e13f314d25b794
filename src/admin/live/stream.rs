//! Server-sent events, and the journal as JSON.
//!
//! | event | data |
//! |---|---|
//! | `hello` | `boot` (tells this process' numbers from those of the one before), `version`, `kind` |
//! | `head` | `level`, `text`, `more`: is everything well? |
//! | `sinks`, `groups`, `rows` | `changed`: what is new or changed; `gone`: keys of what isn't there any more; `whole`: forget what was there |
//! | `clusters` | all of them |
//! | `samples` | by key, the last half hour at first, then what came since |
//! | `events` | journal entries; its id is where to go on after a reconnection |
//! | `now` | the server's time; ends what belongs to one picture |

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{Live, Part, Picture, group_key, rows, sink_key};
use crate::admin::{Shared, failure};
use crate::clock::unix_ms;
use crate::journal::Entry;

/// So many journal entries at first, and in one answer.
const ENTRIES: usize = 500;
/// Something is sent at least so often, so that whoever is gone is noticed.
const SILENCE: Duration = Duration::from_secs(15);

/// What may be asked for.
#[derive(Debug, Default, Deserialize)]
pub(in crate::admin) struct Wanted {
    /// Journal entries after this id: `<boot>-<seq>`, or a plain number.
    after: Option<String>,
    /// The partitions of this sink.
    sink: Option<String>,
    /// Or of this cluster's group.
    cluster: Option<String>,
    group: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    boot: String,
    newest: u64,
    entries: Vec<Entry>,
}

/// The journal: what is new or was said again after a number.
pub(in crate::admin) async fn events(
    State(shared): State<Shared>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let journal = &shared.live.journal;
    let Some(after) = after(wanted.after.as_deref(), journal.boot()) else {
        let what = "after is the newest seq that you have, or <boot>-<seq>";
        return failure(StatusCode::BAD_REQUEST, what);
    };
    let answer = Answer {
        boot: journal.boot().to_owned(),
        newest: journal.newest(),
        entries: journal.after(after, ENTRIES),
    };
    Json(answer).into_response()
}

/// The number after which entries are wanted: 0, which is all, if it is another process'. `None` if it is no number.
fn after(given: Option<&str>, boot: &str) -> Option<u64> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Some(0);
    };
    match given.split_once('-') {
        Some((of, seq)) if of == boot => seq.parse().ok(),
        Some((_, seq)) => seq.parse::<u64>().ok().map(|_| 0),
        None => given.parse().ok(),
    }
}

/// Sends pictures as they are taken.
pub(in crate::admin) async fn stream(
    State(shared): State<Shared>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let live = shared.live;
    let Ok(permit) = live.places.clone().try_acquire_owned() else {
        let what = "too many pages are open; close some, or try again later";
        return failure(StatusCode::SERVICE_UNAVAILABLE, what);
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let Some(seq) = after(last.or(wanted.after.as_deref()), live.journal.boot()) else {
        return failure(StatusCode::BAD_REQUEST, "the last event's id isn't one");
    };
    let viewer = Viewer {
        pictures: live.picture.subscribe(),
        sent: Sent {
            seq,
            ..Sent::default()
        },
        wanted,
        live,
        is_first: true,
        _permit: permit,
    };
    let chunks = futures_util::stream::unfold(viewer, |mut viewer| async {
        let chunk = viewer.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), viewer))
    });
    let heads = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (heads, Body::from_stream(chunks)).into_response()
}

/// What one who watches has been sent.
#[derive(Default)]
struct Sent {
    seq: u64,
    head: Option<u64>,
    clusters: Option<u64>,
    sinks: HashMap<String, u64>,
    groups: HashMap<String, u64>,
    rows: Option<HashMap<String, u64>>,
    samples: HashMap<String, i64>,
}

/// One who watches.
struct Viewer {
    live: Arc<Live>,
    pictures: watch::Receiver<Arc<Picture>>,
    wanted: Wanted,
    sent: Sent,
    is_first: bool,
    _permit: OwnedSemaphorePermit,
}

impl Viewer {
    /// What is to be sent next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = String::new();
        if std::mem::take(&mut self.is_first) {
            let is_monitor = self.live.observed.is_monitor();
            let hello = json!({
                "boot": self.live.journal.boot(),
                "version": env!("CARGO_PKG_VERSION"),
                "kind": if is_monitor { "monitor" } else { "run" },
            });
            message(&mut out, "hello", &hello.to_string());
        } else {
            match tokio::time::timeout(SILENCE, self.pictures.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(Bytes::from_static(b":\n\n")),
            }
        }
        let picture = self.pictures.borrow_and_update().clone();
        if picture.head.is_some() {
            self.write(&picture, &mut out);
        }
        Some(Bytes::from(out))
    }

    fn write(&mut self, picture: &Picture, out: &mut String) {
        let sent = &mut self.sent;
        for (name, part, before) in [
            ("head", &picture.head, &mut sent.head),
            ("clusters", &picture.clusters, &mut sent.clusters),
        ] {
            if let Some(part) = part
                && *before != Some(part.hash)
            {
                *before = Some(part.hash);
                message(out, name, &part.json);
            }
        }
        let changed = difference(&picture.sinks, &mut sent.sinks, false, 0);
        changed.iter().for_each(|json| message(out, "sinks", json));
        let left_out = picture.groups_left_out;
        let changed = difference(&picture.groups, &mut sent.groups, false, left_out);
        changed.iter().for_each(|json| message(out, "groups", json));
        self.write_rows(picture, out);
        self.write_samples(picture, out);
        let entries = self.live.journal.after(self.sent.seq, ENTRIES);
        if let Some(last) = entries.last() {
            self.sent.seq = last.seq;
            let id = format!("{}-{}", self.live.journal.boot(), last.seq);
            let data = json!({ "entries": entries }).to_string();
            out.push_str(&format!("id: {id}\n"));
            message(out, "events", &data);
        }
        let now = json!({ "now_ms": unix_ms(), "at_ms": picture.at_ms });
        message(out, "now", &now.to_string());
    }

    fn write_rows(&mut self, picture: &Picture, out: &mut String) {
        let wanted = &self.wanted;
        let rows = match (&wanted.sink, &wanted.cluster, &wanted.group) {
            (Some(name), ..) => {
                let status = picture.statuses.iter().find(|s| s.name == *name);
                status.map(rows::of_sink)
            }
            (None, Some(cluster), Some(group)) => {
                let clusters = self.live.observed.clusters();
                let watched = clusters.iter().find(|w| w.about.name == *cluster);
                watched.and_then(|watched| rows::of_group(watched, group))
            }
            _ => return,
        };
        let Some(found) = rows else {
            // What isn't there may come, or come back.
            if self.sent.rows.take().is_some_and(|rows| !rows.is_empty()) {
                message(
                    out,
                    "rows",
                    r#"{"whole":true,"changed":[],"gone":[],"left_out":0}"#,
                );
            }
            return;
        };
        let is_whole = self.sent.rows.is_none();
        let before = self.sent.rows.get_or_insert_default();
        let changed = difference(&found.rows, before, is_whole, found.left_out);
        changed.iter().for_each(|json| message(out, "rows", json));
    }

    fn write_samples(&mut self, picture: &Picture, out: &mut String) {
        let mut keys: Vec<String> = picture.sinks.iter().map(|s| sink_key(&s.key)).collect();
        if let (Some(cluster), Some(group)) = (&self.wanted.cluster, &self.wanted.group) {
            keys.push(group_key(cluster, group));
        }
        for key in keys {
            let before = self.sent.samples.entry(key.clone()).or_insert(-1);
            let samples = self.live.samples(&key, *before);
            let Some(newest) = samples.last() else {
                continue;
            };
            let is_whole = *before < 0;
            *before = newest.at_ms();
            let data = json!({ "key": key, "whole": is_whole, "samples": samples });
            message(out, "samples", &data.to_string());
        }
    }
}

/// One event. JSON has no line breaks.
fn message(out: &mut String, event: &str, data: &str) {
    out.push_str("event: ");
    out.push_str(event);
    out.push_str("\ndata: ");
    out.push_str(data);
    out.push_str("\n\n");
}

/// What is new, changed or gone since it was last sent; `None` if nothing is.
fn difference(
    now: &[Part],
    sent: &mut HashMap<String, u64>,
    is_whole: bool,
    left_out: usize,
) -> Option<String> {
    let mut changed = Vec::new();
    for part in now {
        if sent.get(&part.key) != Some(&part.hash) {
            sent.insert(part.key.clone(), part.hash);
            changed.push(part.json.as_str());
        }
    }
    let mut gone = Vec::new();
    if sent.len() > now.len() {
        let keys: HashSet<&str> = now.iter().map(|part| part.key.as_str()).collect();
        sent.retain(|key, _| {
            let stays = keys.contains(key.as_str());
            if !stays {
                gone.push(key.clone());
            }
            stays
        });
    }
    if changed.is_empty() && gone.is_empty() && !is_whole {
        return None;
    }
    let (changed, gone) = (changed.join(","), json!(gone));
    Some(format!(
        r#"{{"whole":{is_whole},"changed":[{changed}],"gone":{gone},"left_out":{left_out}}}"#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(of: &[(&str, i32)]) -> Vec<Part> {
        let part = |(key, value): &(&str, i32)| Part::new((*key).to_owned(), value);
        of.iter().map(part).collect()
    }

    #[test]
    fn only_what_changed_is_sent_and_what_is_gone_is_named() {
        let mut sent = HashMap::new();
        let mut of = |now: &[(&str, i32)]| difference(&parts(now), &mut sent, false, 0);
        assert_eq!(
            of(&[("a", 1), ("b", 2)]).unwrap(),
            r#"{"whole":false,"changed":[1,2],"gone":[],"left_out":0}"#
        );
        assert_eq!(of(&[("a", 1), ("b", 2)]), None);
        assert_eq!(
            of(&[("b", 3)]).unwrap(),
            r#"{"whole":false,"changed":[3],"gone":["a"],"left_out":0}"#
        );
    }

    #[test]
    fn numbers_of_the_process_before_mean_nothing_to_this_one() {
        assert_eq!(after(None, "b1"), Some(0));
        assert_eq!(after(Some("b1-17"), "b1"), Some(17));
        assert_eq!(after(Some("b0-17"), "b1"), Some(0));
        assert_eq!(after(Some("17"), "b1"), Some(17));
        assert_eq!(after(Some("b1-x"), "b1"), None);
    }
}
