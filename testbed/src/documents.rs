//! What tests ask of Elasticsearch: indices, counts, and every document of an index.

use reqwest::Method;
use serde_json::{Value, json};

use crate::error::{Context, Error, Result};
use crate::http::Http;

/// One document as it is stored.
#[derive(Clone, Debug)]
pub struct Document {
    /// The index (a backing index for a data stream).
    pub index: String,
    /// `_id`.
    pub id: String,
    /// `_version`.
    pub version: i64,
    /// `_source`.
    pub source: Value,
}

/// A client for Elasticsearch's data.
#[derive(Clone, Debug)]
pub struct Documents {
    http: Http,
}

impl Documents {
    /// Through this client.
    pub fn new(http: &Http) -> Self {
        Self { http: http.clone() }
    }

    /// Creates an index with this body (`settings`, `mappings`).
    pub fn create_index(&self, index: &str, body: &Value) -> Result<()> {
        self.http.put_json(&format!("/{index}"), body).map(|_| ())
    }

    /// Deletes indices; it isn't an error if there are none.
    pub fn delete_index(&self, index: &str) -> Result<()> {
        let path = format!("/{index}?ignore_unavailable=true");
        self.http.send(Method::DELETE, &path, None).map(|_| ())
    }

    /// Changes settings of an index.
    pub fn put_settings(&self, index: &str, settings: &Value) -> Result<()> {
        self.http
            .put_json(&format!("/{index}/_settings"), settings)
            .map(|_| ())
    }

    /// Makes everything written so far visible to searches.
    pub fn refresh(&self, index: &str) -> Result<()> {
        let path = format!("/{index}/_refresh?ignore_unavailable=true");
        self.http
            .send(Method::POST, &path, None)?
            .json()
            .map(|_| ())
    }

    /// Puts a document where it is to be found at once.
    pub fn put(&self, index: &str, id: &str, source: &Value) -> Result<()> {
        self.http.put_json(&place(index, id), source).map(|_| ())
    }

    /// Deletes a document, visibly at once.
    pub fn delete(&self, index: &str, id: &str) -> Result<()> {
        let answer = self.http.send(Method::DELETE, &place(index, id), None)?;
        answer.json().map(|_| ())
    }

    /// The number of documents, refreshed; 0 if there is no such index.
    pub fn count(&self, index: &str) -> Result<u64> {
        self.refresh(index)?;
        let path = format!("/{index}/_count?ignore_unavailable=true");
        let answer = self.http.get_json(&path)?;
        answer["count"]
            .as_u64()
            .ok_or_else(|| Error::new(format!("no count in {answer}")))
    }

    /// Every document of the indices that match, refreshed.
    pub fn all(&self, index: &str) -> Result<Vec<Document>> {
        self.all_by(index, 2_000)
    }

    /// The same, so many at a time.
    pub fn all_by(&self, index: &str, size: usize) -> Result<Vec<Document>> {
        let query = json!({ "size": size, "version": true, "sort": ["_doc"] });
        let mut all = Vec::new();
        self.scroll(index, &query, |hit| {
            all.push(document(hit).context(format!("in {index}"))?);
            Ok(())
        })?;
        Ok(all)
    }

    /// The ids of every document of the indices that match, refreshed.
    pub fn ids(&self, index: &str) -> Result<Vec<String>> {
        let query = json!({ "size": 10_000, "_source": false, "sort": ["_doc"] });
        let mut all = Vec::new();
        self.scroll(index, &query, |hit| {
            all.extend(hit["_id"].as_str().map(str::to_owned));
            Ok(())
        })?;
        Ok(all)
    }

    /// Asks for all hits of a query, page by page.
    fn scroll(
        &self,
        index: &str,
        query: &Value,
        mut each: impl FnMut(&Value) -> Result<()>,
    ) -> Result<()> {
        self.refresh(index)?;
        let path = format!("/{index}/_search?scroll=1m&ignore_unavailable=true");
        let mut page = self.http.post_json(&path, query)?;
        loop {
            if page["_shards"]["failed"].as_u64() != Some(0) {
                return Err(Error::new(format!(
                    "a shard of {index} failed: {}",
                    page["_shards"]
                )));
            }
            let hits = page["hits"]["hits"].as_array().cloned().unwrap_or_default();
            let scroll = page["_scroll_id"].as_str().unwrap_or_default().to_owned();
            if hits.is_empty() {
                let body = json!({ "scroll_id": scroll });
                // It would time out by itself.
                let _ = self
                    .http
                    .send_json(Method::DELETE, "/_search/scroll", &body);
                return Ok(());
            }
            hits.iter().try_for_each(&mut each)?;
            let next = json!({ "scroll": "1m", "scroll_id": scroll });
            page = self.http.post_json("/_search/scroll", &next)?;
        }
    }
}

fn place(index: &str, id: &str) -> String {
    format!("/{index}/_doc/{}?refresh=true", id.replace('+', "%2B"))
}

fn document(hit: &Value) -> Result<Document> {
    let text = |name: &str| hit[name].as_str().map(str::to_owned);
    match (text("_index"), text("_id"), hit["_version"].as_i64()) {
        (Some(index), Some(id), Some(version)) => Ok(Document {
            index,
            id,
            version,
            source: hit["_source"].clone(),
        }),
        _ => Err(Error::new(format!("not a document: {hit}"))),
    }
}
