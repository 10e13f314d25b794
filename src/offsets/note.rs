//! What stands beside a committed offset, as its metadata: for whoever opens the partition next.

use serde::{Deserialize, Serialize};

/// What was true of a partition's topic, and of the group, when its position was committed.
///
/// Fields that a later version writes are ignored, and those that an earlier one didn't write are optional:
/// a group outlives the programs in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The topic's id, base64: a re-created topic has another.
    pub topic_id: String,
    /// How many partitions the topic had when the position was located.
    pub partitions: i32,
    /// When the group first began (Unix ms). What came into being since is new to it, whatever a reset policy
    /// says about old records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    /// Everything from here to the committed offset was seen to be no record: a sink whose own log ends here
    /// misses nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_end: Option<i64>,
}

impl Note {
    /// As it is committed: some sixty bytes of the 4,096 that a broker takes.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `None` for metadata that others wrote.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_whoever_wrote_it() {
        let note = Note {
            topic_id: "AbC-1_".to_owned(),
            partitions: 12,
            since_ms: Some(1_700_000_000_000),
            records_end: Some(7),
        };
        assert_eq!(Note::parse(&note.to_text()), Some(note.clone()));
        let before = Note {
            since_ms: None,
            records_end: None,
            ..note
        };
        let text = r#"{"topic_id":"AbC-1_","partitions":12}"#;
        assert_eq!(before.to_text(), text, "as it was written before");
        assert_eq!(Note::parse(text), Some(before.clone()));
        let later = r#"{"v":2,"topic_id":"AbC-1_","partitions":12,"mood":["fine"]}"#;
        assert_eq!(
            Note::parse(later),
            Some(before),
            "a later version wrote more"
        );
        for foreign in ["", "{}", "NONE", r#"{"partitions":"4"}"#, "[1]"] {
            assert_eq!(Note::parse(foreign), None, "{foreign:?}");
        }
    }
}
