//! Documents from outside: found by their ids, counted, and walked through. Changes nothing but what searches see
//! (a refresh).
//!
//! A search by ids finds a document in whatever index an alias or a data stream has it, and finds it twice if it is
//! there twice; `_mget` would want to know the one index. What it doesn't see is what wasn't refreshed yet, so each
//! index is refreshed before it is searched first.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::transport::{Client, Method, Reply, Request};
use crate::config::settings::ElasticsearchSettings;
use crate::error::Error;

/// How long one search may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long an unavailable server is asked again.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);
/// The most documents that a server gives at once by default.
pub const MAX_RESULTS: usize = 10_000;
/// How long a point in time is kept between two pages.
const KEEP_ALIVE: &str = "5m";

/// Access to the documents.
pub struct Lookup {
    client: Client,
}

/// A document that was found.
#[derive(Debug, Deserialize)]
pub struct Hit {
    /// The concrete index.
    #[serde(rename = "_index")]
    pub index: String,
    /// Its id.
    #[serde(rename = "_id")]
    pub id: String,
    /// Its version.
    #[serde(rename = "_version", default)]
    pub version: i64,
    /// Its content, if that was wanted and is kept.
    #[serde(rename = "_source", default)]
    pub source: Option<Box<RawValue>>,
    #[serde(default)]
    sort: Vec<Value>,
}

#[derive(Deserialize, Default)]
struct Answer {
    pit_id: Option<String>,
    #[serde(rename = "_shards", default)]
    shards: Shards,
    #[serde(default)]
    hits: Hits,
}

#[derive(Deserialize, Default)]
struct Shards {
    #[serde(default)]
    failed: u64,
}

#[derive(Deserialize, Default)]
struct Hits {
    #[serde(default)]
    total: Total,
    #[serde(default)]
    hits: Vec<Hit>,
}

#[derive(Deserialize, Default)]
struct Total {
    #[serde(default)]
    value: usize,
}

impl Lookup {
    /// Access as the settings say. Nothing is connected yet.
    pub fn new(settings: &ElasticsearchSettings) -> Result<Self, Error> {
        Ok(Lookup {
            client: Client::new(settings)?,
        })
    }

    /// Makes what was written so far visible to searches. The note says why that couldn't be, if it isn't allowed.
    pub async fn refresh(&self, index: &str) -> Result<Option<String>, Error> {
        let path = format!("/{index}/_refresh?ignore_unavailable=true");
        let reply = self.ask(Method::Post, &path, None).await?;
        match reply.status {
            200 => Ok(None),
            401 | 403 => Ok(Some(format!(
                "{index} may not be refreshed (privilege 'maintenance'): documents of the last refresh_interval may be \
                 said to be missing"
            ))),
            _ => Err(refused(&reply, "to a refresh of", index)),
        }
    }

    /// The documents with these ids; more than one for an id that stands in several indices of an alias or a data
    /// stream. None if there is no such index.
    pub async fn find(
        &self,
        index: &str,
        ids: &[&str],
        with_source: bool,
    ) -> Result<Vec<Hit>, Error> {
        let size = (ids.len() * 4).min(MAX_RESULTS);
        let body = json!({
            "size": size,
            "query": {"ids": {"values": ids}},
            "version": true,
            "_source": with_source,
            "sort": ["_doc"],
            "track_total_hits": true,
        });
        let path = format!(
            "/{index}/_search?ignore_unavailable=true&allow_partial_search_results=false&filter_path=_shards.failed,\
             hits.total.value,hits.hits._index,hits.hits._id,hits.hits._version,hits.hits._source"
        );
        let answer = self.search(&path, &body, index).await?;
        if answer.hits.total.value > answer.hits.hits.len() {
            return Err(Error::unavailable(format!(
                "{index}: {} documents have {} ids, which is too many to look at: is the alias on copies of an index?",
                answer.hits.total.value,
                ids.len()
            )));
        }
        Ok(answer.hits.hits)
    }

    /// How many documents there are.
    pub async fn count(&self, index: &str) -> Result<u64, Error> {
        let path = format!("/{index}/_count?ignore_unavailable=true");
        let reply = self.ask(Method::Get, &path, None).await?;
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        match (reply.status, answer["count"].as_u64()) {
            (200, Some(count)) => Ok(count),
            _ => Err(refused(&reply, "to a count of", index)),
        }
    }

    /// Hands (index, id) of every document over, as they were at one point in time, so many at a time.
    pub async fn walk(
        &self,
        index: &str,
        size: usize,
        take: &mut dyn FnMut(&str, &str),
    ) -> Result<(), Error> {
        let path = format!("/{index}/_pit?keep_alive={KEEP_ALIVE}&ignore_unavailable=true");
        let reply = self.ask(Method::Post, &path, None).await?;
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        let mut pit = match (reply.status, answer["id"].as_str()) {
            (200, Some(id)) => id.to_owned(),
            _ => return Err(refused(&reply, "to a point in time of", index)),
        };
        let mut after = None;
        let walked = loop {
            match self.page(&pit, (size, after.take()), index).await {
                Ok(answer) => {
                    pit = answer.pit_id.unwrap_or(pit);
                    for hit in &answer.hits.hits {
                        take(&hit.index, &hit.id);
                    }
                    match answer.hits.hits.into_iter().next_back() {
                        Some(last) => after = Some(last.sort),
                        None => break Ok(()),
                    }
                }
                Err(error) => break Err(error),
            }
        };
        // It would time out by itself.
        let body = json!({"id": pit});
        let _ = self.send(Method::Delete, "/_pit", Some(&body)).await;
        walked
    }

    async fn page(
        &self,
        pit: &str,
        (size, after): (usize, Option<Vec<Value>>),
        index: &str,
    ) -> Result<Answer, Error> {
        let mut body = json!({
            "size": size.min(MAX_RESULTS),
            "pit": {"id": pit, "keep_alive": KEEP_ALIVE},
            "sort": [{"_shard_doc": "asc"}],
            "_source": false,
            "track_total_hits": false,
        });
        if let Some(after) = after {
            body["search_after"] = Value::Array(after);
        }
        let path = "/_search?allow_partial_search_results=false&filter_path=pit_id,_shards.failed,hits.hits._index,\
                    hits.hits._id,hits.hits.sort";
        self.search(path, &body, index).await
    }

    async fn search(&self, path: &str, body: &Value, index: &str) -> Result<Answer, Error> {
        let reply = self.ask(Method::Post, path, Some(body)).await?;
        if reply.status != 200 {
            return Err(refused(&reply, "to a search in", index));
        }
        let answer: Answer = serde_json::from_slice(&reply.body).map_err(|why| {
            let node = &reply.node;
            Error::unavailable(format!("{node}: an answer that isn't understood: {why}"))
        })?;
        match answer.shards.failed {
            0 => Ok(answer),
            failed => Err(Error::unavailable(format!(
                "{}: {failed} shards of {index} didn't answer: look at the cluster's health",
                reply.node
            ))),
        }
    }

    /// Asks, and again while the server is unavailable.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            let sent = self.send(method, path, body).await;
            let is_away = match &sent {
                Ok(reply) => matches!(reply.status, 429 | 502..=504),
                Err(_) => true,
            };
            if !is_away || Instant::now() >= until {
                return sent;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Error> {
        let request = Request {
            method,
            path,
            query: &[],
            body: body.map(|body| body.to_string().into()),
            timeout: TIMEOUT,
        };
        self.client.send(request).await
    }
}

fn refused(reply: &Reply, what: &str, index: &str) -> Error {
    let Reply { node, status, .. } = reply;
    match status {
        401 | 403 => Error::misconfigured(format!(
            "{node}: HTTP {status} {what} {index}: grant the privilege 'read' on it"
        )),
        _ => {
            let answer: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
            let reason = answer["error"]["root_cause"][0]["reason"]
                .as_str()
                .unwrap_or("no reason given");
            let reason: String = reason.chars().take(300).collect();
            Error::unavailable(format!("{node}: HTTP {status} {what} {index}: {reason}"))
        }
    }
}
