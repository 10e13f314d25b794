//! What a dead letter says about itself, beside the record's own headers. Pure.

use super::super::error::cut;
use super::super::ffi::queue::Headers;
use crate::pipeline::dead_letter::Letter;

/// Error texts may quote a server; no longer than this in a header.
const LONGEST: usize = 1_024;

/// Who refuses.
#[derive(Debug, Clone, Copy)]
pub struct RefusedBy<'a> {
    /// The sink's name.
    pub sink: &'a str,
    /// Its group.
    pub group: &'a str,
    /// The worker.
    pub worker: usize,
}

/// The record's own headers as they were, then Kafka Connect's, so that existing tools understand the topic,
/// then ours. A record that was a dead letter before has some of these names already: the last one counts.
pub fn with_reason(
    own: Headers,
    letter: &Letter,
    from: &RefusedBy<'_>,
    timestamp_ms: Option<i64>,
) -> Headers {
    let RefusedBy {
        sink,
        group,
        worker,
    } = *from;
    let Letter {
        partition,
        offset,
        rejection,
        ..
    } = letter;
    let (number, offset, worker) = (
        partition.partition.to_string(),
        offset.to_string(),
        worker.to_string(),
    );
    let detail = cut(&rejection.detail, LONGEST);
    let reason = cut(&rejection.reason, LONGEST);
    let status = rejection.status.map(|status| status.to_string());
    // The topic may stamp what it takes with a time of its own.
    let timestamp = timestamp_ms.map(|timestamp| timestamp.to_string());
    let connect = [
        ("topic", &*partition.topic),
        ("partition", &number),
        ("offset", &offset),
        ("connector.name", sink),
        ("task.id", &worker),
        ("stage", "TASK_PUT"),
        ("class.name", reason),
        ("exception.class.name", reason),
        ("exception.message", detail),
    ];
    let ours = [
        ("sink", Some(sink)),
        ("group", Some(group)),
        ("topic", Some(&*partition.topic)),
        ("partition", Some(&number)),
        ("offset", Some(&offset)),
        ("timestamp", timestamp.as_deref()),
        ("reason", Some(reason)),
        ("status", status.as_deref()),
        ("detail", Some(detail)),
    ];
    let header = |prefix: &str, name: &str, value: &str| {
        let name = format!("{prefix}{name}").into_bytes();
        (name, Some(value.as_bytes().to_vec()))
    };
    let mut headers = own;
    headers.extend(connect.map(|(name, value)| header("__connect.errors.", name, value)));
    headers.extend(
        ours.into_iter()
            .filter_map(|(name, value)| Some(header("outflow.", name, value?))),
    );
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::{Epoch, TopicPartition};
    use crate::sinks::{Rejection, Slot};

    #[test]
    fn a_letter_says_where_it_came_from_and_why_after_its_own_headers() {
        let letter = Letter {
            slot: Slot(0),
            epoch: Epoch(1),
            partition: TopicPartition::new("events", 3),
            offset: 42,
            rejection: Rejection {
                reason: "mapper_parsing_exception".into(),
                detail: "é".repeat(1_000),
                status: Some(400),
            },
        };
        let own = vec![(b"\xff".to_vec(), None)];
        let from = RefusedBy {
            sink: "es",
            group: "g",
            worker: 2,
        };
        let headers = with_reason(own, &letter, &from, Some(1_600));
        assert_eq!(headers[0], (b"\xff".to_vec(), None));
        let get = |name: &str| {
            let found = headers.iter().find(|(n, _)| n == name.as_bytes());
            found
                .and_then(|(_, v)| v.as_deref())
                .map(String::from_utf8_lossy)
        };
        for (name, value) in [
            ("__connect.errors.topic", "events"),
            ("__connect.errors.partition", "3"),
            ("__connect.errors.offset", "42"),
            ("__connect.errors.connector.name", "es"),
            ("__connect.errors.task.id", "2"),
            (
                "__connect.errors.exception.class.name",
                "mapper_parsing_exception",
            ),
            ("outflow.reason", "mapper_parsing_exception"),
            ("outflow.status", "400"),
            ("outflow.sink", "es"),
            ("outflow.group", "g"),
            ("outflow.timestamp", "1600"),
        ] {
            assert_eq!(get(name).as_deref(), Some(value), "{name}");
        }
        let detail = get("outflow.detail").expect("a detail");
        assert_eq!(detail.len(), 1_024, "bounded, on a character's border");
    }
}
