//! Topic partition lists with everything that is in them: leader epochs and raw metadata too.

use std::ffi::CStr;
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;

use crate::offsets::TopicPartition;

/// One partition's entry. What `offset` means depends on the call (an offset, a timestamp, -1001 for none).
#[derive(Debug, Clone)]
pub(in crate::kafka) struct Entry {
    pub partition: TopicPartition,
    pub offset: i64,
    /// -1 if unknown.
    pub leader_epoch: i32,
    /// Lossy: whoever committed may have written any bytes.
    pub metadata: String,
    pub error: Option<RDKafkaErrorCode>,
}

impl Entry {
    /// An entry without an offset: it is asked for.
    pub fn asking(partition: TopicPartition) -> Self {
        Entry::new(partition, -1001, -1)
    }

    /// An entry without metadata.
    pub fn new(partition: TopicPartition, offset: i64, leader_epoch: i32) -> Self {
        Entry {
            partition,
            offset,
            leader_epoch,
            metadata: String::new(),
            error: None,
        }
    }

    /// Whether the leader can tell of the log up to here whether it is the one that was read.
    pub fn is_compared(&self) -> bool {
        self.leader_epoch >= 0 && self.offset > 0
    }
}

/// The native list of `entries`. Topics with a NUL in them, which Kafka doesn't have, are left out.
pub(in crate::kafka) fn to_native(entries: &[Entry]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(entries.len());
    for entry in entries.iter().filter(|e| !e.partition.topic.contains('\0')) {
        let added = list.count();
        let mut element = list.add_partition(&entry.partition.topic, entry.partition.partition);
        if !entry.metadata.is_empty() {
            element.set_metadata(&entry.metadata);
        }
        // SAFETY: the list is alive and `added` is the index of the element that was just appended; `elems`
        // is its array of `cnt` elements, and nothing else refers to the element now.
        unsafe {
            let element = (*list.ptr()).elems.add(added);
            (*element).offset = entry.offset;
            sys::rd_kafka_topic_partition_set_leader_epoch(element, entry.leader_epoch);
        }
    }
    list
}

/// The entries of a native list.
pub(in crate::kafka) fn from_native(list: &TopicPartitionList) -> Vec<Entry> {
    // SAFETY: the list is borrowed for the whole call.
    unsafe { read(list.ptr()) }
}

/// # Safety
///
/// `list` is alive, and nobody writes to it.
pub(super) unsafe fn read(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Entry> {
    // SAFETY: the list is alive (the caller's promise).
    let count = usize::try_from(unsafe { (*list).cnt }).unwrap_or(0);
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: `elems` is an array of `cnt` initialised elements, `index` is below `cnt`, and nobody writes
        // to the list, so the topic's C string and the metadata stay where they are. The error is read as the
        // integer that it is in C: a code that the enum doesn't know is no valid enum.
        let (topic, number, offset, epoch, metadata, error) = unsafe {
            let element = (*list).elems.add(index);
            let metadata = if (*element).metadata.is_null() {
                &[][..]
            } else {
                std::slice::from_raw_parts(
                    (*element).metadata.cast::<u8>(),
                    (*element).metadata_size,
                )
            };
            (
                CStr::from_ptr((*element).topic).to_string_lossy(),
                (*element).partition,
                (*element).offset,
                sys::rd_kafka_topic_partition_get_leader_epoch(element),
                String::from_utf8_lossy(metadata).into_owned(),
                (&raw const (*element).err).cast::<i32>().read(),
            )
        };
        // One allocation a topic, not one a partition: lists are sorted more often than not.
        let topic: Arc<str> = match entries.last() {
            Some(last) if *last.partition.topic == *topic => last.partition.topic.clone(),
            _ => Arc::from(&*topic),
        };
        entries.push(Entry {
            partition: TopicPartition::new(topic, number),
            offset,
            leader_epoch: epoch,
            metadata,
            error: super::error_code(error),
        });
    }
    entries
}

/// Only the partitions of a native list.
pub(in crate::kafka) fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    from_native(list).into_iter().map(|e| e.partition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_the_native_list() {
        let mut entry = Entry::new(TopicPartition::new("topic", 7), 42, 5);
        entry.metadata = "note".into();
        let other = Entry::new(TopicPartition::new("other", 0), -2, -1);
        let back = from_native(&to_native(&[entry, other]));
        assert_eq!(back.len(), 2);
        assert_eq!(back[0].partition, TopicPartition::new("topic", 7));
        assert_eq!((back[0].offset, back[0].leader_epoch), (42, 5));
        assert_eq!(back[0].metadata, "note");
        assert_eq!((back[1].offset, back[1].leader_epoch), (-2, -1));
        assert_eq!(back[1].metadata, "");
        assert!(back.iter().all(|e| e.error.is_none()));
    }
}
