//! A record's two lines in a bulk body: the action, and the value as it is.
//!
//! Ids: the record's key; or `topic+partition+offset` without padding, such as `metrics+0+4711`; or none.
//! Keyed writes carry the offset as an external version (`external`, not `external_gte`: a replay of the same
//! offset is answered 409 and costs the server nothing), so that the newest record wins in whatever order
//! requests finish. That holds while one partition of one topic feeds an id; the pipeline watches the topic's
//! id and its partition count and stops the partition when they change.

use std::fmt::Write as _;
use std::ops::Range as TimeRange;
use std::sync::Arc;

use super::answer::Naming;
use super::batch::Op;
use super::index_name::{Resolved, Template};
use crate::config::settings::{ElasticsearchSettings, IdSource, Tombstones, WriteOp};
use crate::error::Error;
use crate::offsets::TopicPartition;
use crate::sinks::value::{self, reject};
use crate::sinks::{Record, Rejection};

/// Elasticsearch's limit for an id, in bytes.
const MAX_ID_BYTES: usize = 512;

/// How records become lines.
#[derive(Debug)]
pub struct Encoder {
    template: Template,
    allowed: Vec<String>,
    window_ms: i64,
    op: Op,
    id: IdSource,
    tombstones: Tombstones,
}

/// What the encoder keeps for a partition, so that a record needs no allocation.
#[derive(Debug)]
pub struct Target {
    partition: TopicPartition,
    id_prefix: String,
    name: Option<Name>,
}

#[derive(Debug)]
struct Name {
    index: Arc<str>,
    /// With quotes, as it stands in the action line.
    json: String,
    /// The action line up to the id, or, if the id is made of the offset, up to that.
    head: String,
    holds_for: Option<TimeRange<i64>>,
}

impl Target {
    /// For a partition that was opened.
    pub fn new(partition: TopicPartition) -> Self {
        let id_prefix = format!("{}+{}+", partition.topic, partition.partition);
        Target {
            partition,
            id_prefix,
            name: None,
        }
    }

    /// The index of the record that was encoded last.
    pub fn index(&self) -> Option<&Arc<str>> {
        self.name.as_ref().map(|name| &name.index)
    }
}

impl Encoder {
    /// From validated settings.
    pub fn new(settings: &ElasticsearchSettings) -> Result<Self, Error> {
        let window_ms = i64::try_from(settings.date_window.as_millis()).unwrap_or(i64::MAX);
        Ok(Encoder {
            template: Template::parse(&settings.index)?,
            allowed: settings.allowed_indices.clone(),
            window_ms,
            op: match settings.op {
                WriteOp::Index => Op::Index,
                WriteOp::Create => Op::Create,
            },
            id: settings.id,
            tombstones: settings.tombstones,
        })
    }

    /// Where the names of indices and documents come from.
    pub fn naming(&self) -> Naming {
        Naming {
            names_vary: self.template.literal().is_none(),
            ids_are_ours: self.id == IdSource::Offset,
        }
    }

    /// Appends the record's lines to `body`. `None`: the policy for null values skips it. `Err` leaves the body
    /// as it was.
    pub fn encode(
        &self,
        target: &mut Target,
        record: &Record<'_>,
        now_ms: i64,
        body: &mut Vec<u8>,
    ) -> Result<Option<Op>, Rejection> {
        let Some(op) = self.op(record)? else {
            return Ok(None);
        };
        self.resolve(target, record, now_ms)?;
        let start = body.len();
        let result = self.write_action(target, record, op, body);
        let result = match (result, record.value) {
            (Ok(()), Some(value)) => value::append_line(body, value),
            (result, _) => result,
        };
        if let Err(rejection) = result {
            body.truncate(start);
            return Err(rejection);
        }
        Ok(Some(op))
    }

    fn op(&self, record: &Record<'_>) -> Result<Option<Op>, Rejection> {
        if record.value.is_some() {
            return Ok(Some(self.op));
        }
        match self.tombstones {
            Tombstones::Skip => Ok(None),
            Tombstones::Delete if self.id == IdSource::Key && self.op == Op::Index => {
                Ok(Some(Op::Delete))
            }
            Tombstones::Delete => Err(reject(
                "tombstone",
                "a null value can delete only with id = \"key\" and op = \"index\"",
            )),
            Tombstones::Reject => Err(reject("tombstone", "the value is null")),
        }
    }

    /// Makes the target's name that of the record's index.
    fn resolve(
        &self,
        target: &mut Target,
        record: &Record<'_>,
        now_ms: i64,
    ) -> Result<(), Rejection> {
        if let Some(name) = &target.name {
            let holds = match (&name.holds_for, record.timestamp_ms) {
                (None, _) => true,
                (Some(span), Some(stamp)) => span.contains(&stamp),
                (Some(_), None) => false,
            };
            if holds {
                return Ok(());
            }
        }
        let resolved = self.template.resolve(
            &target.partition.topic,
            record.timestamp_ms,
            now_ms,
            self.window_ms,
            &self.allowed,
        )?;
        let same = target
            .name
            .take()
            .filter(|old| *old.index == *resolved.name);
        target.name = Some(match same {
            // Keeps the Arc, by which a batch recognises the index.
            Some(old) => Name {
                holds_for: resolved.holds_for,
                ..old
            },
            None => self.name(&target.id_prefix, resolved),
        });
        Ok(())
    }

    fn name(&self, id_prefix: &str, resolved: Resolved) -> Name {
        let json = serde_json::Value::from(resolved.name.as_str()).to_string();
        let mut head = format!("{{\"{}\":{{\"_index\":{json}", self.op);
        if self.id == IdSource::Offset {
            // A topic's name has nothing that JSON would escape.
            let _ = write!(head, ",\"_id\":\"{id_prefix}");
        }
        Name {
            json,
            head,
            index: resolved.name.into(),
            holds_for: resolved.holds_for,
        }
    }

    fn write_action(
        &self,
        target: &Target,
        record: &Record<'_>,
        op: Op,
        body: &mut Vec<u8>,
    ) -> Result<(), Rejection> {
        let Some(name) = &target.name else {
            return Ok(());
        };
        // Deletes are by key: their line has the same form.
        match op == self.op {
            true => body.extend_from_slice(name.head.as_bytes()),
            false => {
                body.extend_from_slice(format!("{{\"{op}\":{{\"_index\":{}", name.json).as_bytes())
            }
        }
        let mut digits = itoa::Buffer::new();
        match self.id {
            IdSource::None => {}
            IdSource::Offset => {
                body.extend_from_slice(digits.format(record.own_offset()).as_bytes());
                body.push(b'"');
            }
            IdSource::Key => {
                let id = key_id(record.key)?;
                body.extend_from_slice(b",\"_id\":");
                serde_json::to_writer(&mut *body, id)
                    .map_err(|e| reject("key_not_utf8", e.to_string()))?;
                if op != Op::Create {
                    body.extend_from_slice(b",\"version\":");
                    body.extend_from_slice(digits.format(record.own_offset()).as_bytes());
                    body.extend_from_slice(b",\"version_type\":\"external\"");
                }
            }
        }
        body.extend_from_slice(b"}}\n");
        Ok(())
    }
}

fn key_id(key: Option<&[u8]>) -> Result<&str, Rejection> {
    let Some(key) = key else {
        return Err(reject(
            "key_missing",
            "the id comes from the key, and the key is null",
        ));
    };
    if key.is_empty() {
        return Err(reject(
            "key_empty",
            "the id comes from the key, and the key is empty",
        ));
    }
    if key.len() > MAX_ID_BYTES {
        let detail = format!(
            "the id comes from the key, and the key has {} bytes, more than {MAX_ID_BYTES}",
            key.len()
        );
        return Err(reject("key_too_long", &detail));
    }
    std::str::from_utf8(key).map_err(|_| {
        reject(
            "key_not_utf8",
            "the id comes from the key, and the key isn't UTF-8",
        )
    })
}

#[cfg(test)]
#[path = "../../../tests/shared/elasticsearch.rs"]
mod configured;

#[cfg(test)]
mod tests {
    use super::configured::settings;
    use super::*;
    use crate::sinks::Slot;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_406_706_000;

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Record<'a> {
        Record {
            slot: Slot(0),
            offset: 42,
            leader_epoch: 1,
            timestamp_ms: Some(NOW),
            key,
            value,
            origin: None,
        }
    }

    fn encode(settings: &ElasticsearchSettings, record: &Record<'_>) -> Result<String, String> {
        let encoder = Encoder::new(settings).map_err(|e| e.what)?;
        let mut target = Target::new(TopicPartition::new("Metrics", 3));
        let mut body = b"before\n".to_vec();
        let result = encoder.encode(&mut target, record, NOW, &mut body);
        let text = String::from_utf8(body).expect("UTF-8");
        let text = text.strip_prefix("before\n").expect("kept").to_owned();
        match result {
            Ok(_) => Ok(text),
            Err(rejection) => {
                assert_eq!(text, "", "a rejection leaves nothing behind");
                Err(rejection.reason)
            }
        }
    }

    fn with(change: impl FnOnce(&mut ElasticsearchSettings)) -> ElasticsearchSettings {
        let mut settings = settings();
        change(&mut settings);
        settings
    }

    #[test]
    fn lines_for_every_source_of_ids() {
        let some = record(Some(b"host-\"1\""), Some(b"{\"a\":\n1}"));
        let by_offset =
            "{\"index\":{\"_index\":\"metrics\",\"_id\":\"Metrics+3+42\"}}\n{\"a\": 1}\n";
        assert_eq!(encode(&settings(), &some).as_deref(), Ok(by_offset));
        let none = with(|s| s.id = IdSource::None);
        let no_id = "{\"index\":{\"_index\":\"metrics\"}}\n{\"a\": 1}\n";
        assert_eq!(encode(&none, &some).as_deref(), Ok(no_id));
        let key = with(|s| s.id = IdSource::Key);
        let by_key = "{\"index\":{\"_index\":\"metrics\",\"_id\":\"host-\\\"1\\\"\",\"version\":42,\
                      \"version_type\":\"external\"}}\n{\"a\": 1}\n";
        assert_eq!(encode(&key, &some).as_deref(), Ok(by_key));
        let create = with(|s| {
            s.op = WriteOp::Create;
            s.index = "m-{yyyy.MM.dd}".into();
        });
        let created =
            "{\"create\":{\"_index\":\"m-2026.11.23\",\"_id\":\"Metrics+3+42\"}}\n{\"a\": 1}\n";
        assert_eq!(encode(&create, &some).as_deref(), Ok(created));
    }

    #[test]
    fn a_replayed_record_has_its_own_offset_in_id_and_version() {
        let replayed = Record {
            origin: Some(7),
            ..record(Some(b"k"), Some(b"{}"))
        };
        let line = encode(&settings(), &replayed).expect("good");
        assert!(line.contains("\"_id\":\"Metrics+3+7\""), "{line}");
        let key = with(|s| s.id = IdSource::Key);
        let line = encode(&key, &replayed).expect("good");
        assert!(line.contains("\"_id\":\"k\",\"version\":7,"), "{line}");
    }

    #[test]
    fn null_values() {
        let null = record(Some(b"k"), None);
        let delete = with(|s| {
            s.id = IdSource::Key;
            s.tombstones = Tombstones::Delete;
        });
        let line = "{\"delete\":{\"_index\":\"metrics\",\"_id\":\"k\",\"version\":42,\
                    \"version_type\":\"external\"}}\n";
        assert_eq!(encode(&delete, &null).as_deref(), Ok(line));
        assert_eq!(encode(&settings(), &null).as_deref(), Ok(""), "skipped");
        let reject = with(|s| s.tombstones = Tombstones::Reject);
        assert_eq!(encode(&reject, &null), Err("tombstone".into()));
        let unkeyed = with(|s| s.tombstones = Tombstones::Delete);
        assert_eq!(encode(&unkeyed, &null), Err("tombstone".into()));
    }

    #[test]
    fn keys_that_are_no_ids() {
        let key = with(|s| s.id = IdSource::Key);
        let long = [b'k'; MAX_ID_BYTES + 1];
        let table: [(Option<&[u8]>, &str); 4] = [
            (None, "key_missing"),
            (Some(b""), "key_empty"),
            (Some(&long), "key_too_long"),
            (Some(b"\xFF"), "key_not_utf8"),
        ];
        for (bytes, reason) in table {
            assert_eq!(
                encode(&key, &record(bytes, Some(b"{}"))),
                Err(reason.into())
            );
        }
        assert!(encode(&key, &record(Some(&long[1..]), Some(b"{}"))).is_ok());
        assert!(encode(&settings(), &record(None, Some(b"{}"))).is_ok());
    }

    #[test]
    fn a_new_day_is_a_new_index() {
        let encoder = Encoder::new(&with(|s| s.index = "m-{yyyy.MM.dd}".into())).expect("good");
        let mut target = Target::new(TopicPartition::new("m", 0));
        let mut names = Vec::new();
        for hours in [0, 1, 24, 0] {
            let mut body = Vec::new();
            let timestamp_ms = Some(NOW - hours * 3_600_000);
            let record = Record {
                timestamp_ms,
                ..record(None, Some(b"{}"))
            };
            let op = encoder.encode(&mut target, &record, NOW, &mut body);
            assert_eq!(op, Ok(Some(Op::Index)));
            names.push(target.index().expect("resolved").to_string());
        }
        assert_eq!(
            names,
            [
                "m-2026.11.23",
                "m-2026.11.23",
                "m-2026.11.22",
                "m-2026.11.23"
            ]
        );
    }

    proptest! {
        #[test]
        fn whatever_a_key_holds_the_action_is_one_line_with_that_id(key in "\\PC{1,100}|[\\x00-\\x7f]{1,100}") {
            let key_settings = with(|s| s.id = IdSource::Key);
            let text = encode(&key_settings, &record(Some(key.as_bytes()), Some(b"{}")));
            if key.len() <= MAX_ID_BYTES {
                let text = text.expect("a good key");
                prop_assert_eq!(text.lines().count(), 2);
                let action: serde_json::Value =
                    serde_json::from_str(text.lines().next().unwrap_or_default()).expect("JSON");
                prop_assert_eq!(action["index"]["_id"].as_str(), Some(key.as_str()));
                prop_assert_eq!(action["index"].as_object().map(serde_json::Map::len), Some(4));
            }
        }
    }
}
