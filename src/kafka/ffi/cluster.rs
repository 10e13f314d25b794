//! What the cluster says of topics: ids, partitions and their leaders; its own id; watermarks as last seen.

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::admin::{self, For, millis};
use crate::offsets::TopicPartition;

/// A topic as a broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct Topic {
    pub name: String,
    /// Base64, as Kafka prints it; empty from brokers without topic ids (before 2.8).
    pub id: String,
    /// The broker that leads each partition; `None` while there is none.
    pub leaders: Vec<Option<i32>>,
}

/// A topic, or its name and why it can't be described.
pub(in crate::kafka) type Described = Result<Topic, (String, RDKafkaErrorCode)>;
type Topics = Vec<Described>;

/// Describes topics. One that can't be described has its own error; the whole fails if no broker answers.
/// Blocks up to `timeout`.
pub(in crate::kafka) fn describe<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[&str],
    timeout: Duration,
) -> Result<Topics, RDKafkaErrorCode> {
    let names: Vec<CString> = topics
        .iter()
        .filter_map(|name| CString::new(*name).ok())
        .collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: one request of the kind that is named; the names live until the end of this function and are
    // copied into the collection, which is destroyed when the client has taken it.
    unsafe {
        admin::request(
            consumer.client(),
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            For::Cluster,
            timeout,
            |client, options, queue| {
                let collection = sys::rd_kafka_TopicCollection_of_topic_names(
                    pointers.as_mut_ptr(),
                    pointers.len(),
                );
                sys::rd_kafka_DescribeTopics(client, collection, options, queue);
                sys::rd_kafka_TopicCollection_destroy(collection);
            },
            |event| described(event),
        )
    }
}

/// # Safety
///
/// `event` is alive.
unsafe fn described(event: *mut sys::rd_kafka_event_t) -> Result<Topics, RDKafkaErrorCode> {
    // SAFETY: the event is alive (the caller's promise), and owns all that it is asked for.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        Ok((0..count).map(|index| topic(*topics.add(index))).collect())
    }
}

/// # Safety
///
/// `description` is alive.
unsafe fn topic(description: *const sys::rd_kafka_TopicDescription_t) -> Described {
    // SAFETY: the description is alive (the caller's promise), and owns name, id, partitions and nodes; all
    // are copied. A leader that doesn't exist is a null node or one with the id -1.
    unsafe {
        let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(description))
            .to_string_lossy()
            .into_owned();
        let error = sys::rd_kafka_TopicDescription_error(description);
        if !error.is_null() {
            let code = sys::rd_kafka_error_code(error);
            if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err((name, code.into()));
            }
        }
        let mut count = 0;
        let partitions = sys::rd_kafka_TopicDescription_partitions(description, &mut count);
        let mut leaders = vec![None; count];
        for index in 0..count {
            let partition = *partitions.add(index);
            let number = sys::rd_kafka_TopicPartitionInfo_partition(partition);
            let node = sys::rd_kafka_TopicPartitionInfo_leader(partition);
            let leader = (!node.is_null()).then(|| sys::rd_kafka_Node_id(node));
            if let Some(place) = usize::try_from(number)
                .ok()
                .and_then(|n| leaders.get_mut(n))
            {
                *place = leader.filter(|id| *id >= 0);
            }
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        Ok(Topic {
            name,
            id: if id.is_null() {
                String::new()
            } else {
                uuid(id)
            },
            leaders,
        })
    }
}

/// # Safety
///
/// `id` is alive.
unsafe fn uuid(id: *const sys::rd_kafka_Uuid_t) -> String {
    // SAFETY: the id is alive (the caller's promise); its text belongs to it and is copied.
    unsafe {
        let zero = sys::rd_kafka_Uuid_most_significant_bits(id) == 0
            && sys::rd_kafka_Uuid_least_significant_bits(id) == 0;
        let text = sys::rd_kafka_Uuid_base64str(id);
        if zero || text.is_null() {
            return String::new();
        }
        // Kafka prints ids with the alphabet that is safe in URLs.
        CStr::from_ptr(text)
            .to_string_lossy()
            .replace('+', "-")
            .replace('/', "_")
    }
}

/// The cluster's id; waits up to `timeout` for the first metadata.
pub(in crate::kafka) fn cluster_id<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    timeout: Duration,
) -> Option<String> {
    let client = consumer.client().native_ptr();
    // SAFETY: the client is alive; the text is ours, is copied, and freed once by its own allocator.
    unsafe {
        let text = sys::rd_kafka_clusterid(client, millis(timeout));
        if text.is_null() {
            return None;
        }
        let id = CStr::from_ptr(text).to_string_lossy().into_owned();
        sys::rd_kafka_mem_free(client, text.cast());
        Some(id)
    }
}

/// The log end offset as the last fetch told it (the last stable offset under `read_committed`). No I/O.
pub(in crate::kafka) fn seen_log_end<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partition: &TopicPartition,
) -> Option<i64> {
    let topic = CString::new(&*partition.topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive, the topic is a C string, both places are valid for writes.
    let error = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition.partition,
            ptr::from_mut(&mut low),
            ptr::from_mut(&mut high),
        )
    };
    (error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}
