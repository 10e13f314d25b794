//! What the cluster says of a consumer group: its state, its assignor, its members and what each holds.

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::admin::{self, For};
use super::list::read;
use crate::kafka::contexts::Quiet;
use crate::offsets::TopicPartition;

/// A client that only asks; of this kind it belongs to no group.
const KIND: sys::rd_kafka_type_t = sys::rd_kafka_type_t::RD_KAFKA_PRODUCER;

/// A consumer group as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Kafka's word: `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Dead`, `Unknown`.
    pub state: String,
    /// The assignor that the group has agreed on; empty without members.
    pub assignor: String,
    /// `host:port (id n)` of the coordinator; empty if it isn't known.
    pub coordinator: String,
    /// Its members, in the coordinator's order.
    pub members: Vec<Member>,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id that the coordinator gave it.
    pub id: String,
    /// `group.instance.id`, if it is static.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// The address it comes from, such as `/127.0.0.1`.
    pub host: String,
    /// What it holds.
    pub partitions: Vec<TopicPartition>,
}

/// Describes a group. One that doesn't exist is `Dead` and has no members. Blocks up to `timeout`.
///
/// The question has a client of its own, which goes with the answer: see [`For::Coordinator`].
pub(in crate::kafka) fn describe_group(
    config: &ClientConfig,
    group: &str,
    timeout: Duration,
) -> Result<Group, RDKafkaErrorCode> {
    let client = config
        .create_native_config()
        .and_then(|native| Client::new(config, native, KIND, Quiet))
        .map_err(|error| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))?;
    let name = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidGroupId)?;
    let mut names: [*const c_char; 1] = [name.as_ptr()];
    // SAFETY: one request of the kind that is named; the name lives until the end of this function, and is
    // copied by the client.
    unsafe {
        admin::request(
            &client,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
            For::Coordinator,
            timeout,
            |client, options, queue| {
                sys::rd_kafka_DescribeConsumerGroups(
                    client,
                    names.as_mut_ptr(),
                    names.len(),
                    options,
                    queue,
                );
            },
            |event| described(event),
        )
    }
}

/// # Safety
///
/// `event` is alive.
unsafe fn described(event: *mut sys::rd_kafka_event_t) -> Result<Group, RDKafkaErrorCode> {
    // SAFETY: the event is alive (the caller's promise), and owns all that it is asked for; everything is
    // copied.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        if count == 0 {
            return Err(RDKafkaErrorCode::Fail);
        }
        let group = *groups;
        let error = sys::rd_kafka_ConsumerGroupDescription_error(group);
        if !error.is_null() {
            let code = sys::rd_kafka_error_code(error);
            if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(code.into());
            }
        }
        let state = sys::rd_kafka_ConsumerGroupDescription_state(group);
        let members = sys::rd_kafka_ConsumerGroupDescription_member_count(group);
        Ok(Group {
            state: text(sys::rd_kafka_consumer_group_state_name(state)),
            assignor: text(sys::rd_kafka_ConsumerGroupDescription_partition_assignor(
                group,
            )),
            coordinator: node(sys::rd_kafka_ConsumerGroupDescription_coordinator(group)),
            members: (0..members)
                .map(|index| member(sys::rd_kafka_ConsumerGroupDescription_member(group, index)))
                .collect(),
        })
    }
}

/// # Safety
///
/// `member` is alive.
unsafe fn member(member: *const sys::rd_kafka_MemberDescription_t) -> Member {
    // SAFETY: the member is alive (the caller's promise), and owns its texts and its list; all are copied.
    unsafe {
        let instance = sys::rd_kafka_MemberDescription_group_instance_id(member);
        let assignment = sys::rd_kafka_MemberDescription_assignment(member);
        let list = match assignment.is_null() {
            true => std::ptr::null(),
            false => sys::rd_kafka_MemberAssignment_partitions(assignment),
        };
        let mut partitions: Vec<TopicPartition> = match list.is_null() {
            true => Vec::new(),
            false => read(list).into_iter().map(|e| e.partition).collect(),
        };
        partitions.sort();
        Member {
            id: text(sys::rd_kafka_MemberDescription_consumer_id(member)),
            instance_id: (!instance.is_null())
                .then(|| text(instance))
                .filter(|id| !id.is_empty()),
            client_id: text(sys::rd_kafka_MemberDescription_client_id(member)),
            host: text(sys::rd_kafka_MemberDescription_host(member)),
            partitions,
        }
    }
}

/// # Safety
///
/// `node` is null or alive.
unsafe fn node(node: *const sys::rd_kafka_Node_t) -> String {
    if node.is_null() {
        return String::new();
    }
    // SAFETY: the node is alive (the caller's promise); its host is copied.
    unsafe {
        let (host, port) = (
            text(sys::rd_kafka_Node_host(node)),
            sys::rd_kafka_Node_port(node),
        );
        format!("{host}:{port} (id {})", sys::rd_kafka_Node_id(node))
    }
}

/// # Safety
///
/// `start` is null or a C string.
unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: a C string (the caller's promise), which is copied.
    unsafe { CStr::from_ptr(start).to_string_lossy().into_owned() }
}

/// The id that the coordinator gave this member; empty while it is in no group.
pub(in crate::kafka) fn member_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> String {
    let client = consumer.client().native_ptr();
    // SAFETY: the client is alive; the text is ours, is copied, and freed once by its own allocator.
    unsafe {
        let id = sys::rd_kafka_memberid(client);
        let copied = text(id);
        if !id.is_null() {
            sys::rd_kafka_mem_free(client, id.cast());
        }
        copied
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    #[test]
    fn a_question_that_nobody_answers_does_not_end_the_process_when_brokers_return() {
        let brokers = MockCluster::new(1).expect("brokers");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers.bootstrap_servers());
        config.set("reconnect.backoff.max.ms", "100");
        brokers.broker_down(1).expect("down");
        let unanswered = describe_group(&config, "group", Duration::from_millis(300));
        assert_eq!(
            unanswered.expect_err("nobody answers"),
            RDKafkaErrorCode::OperationTimedOut
        );
        brokers.broker_up(1).expect("up");
        // The mocked brokers find coordinators and describe no groups, and say so.
        let answered = describe_group(&config, "group", Duration::from_secs(20));
        assert_eq!(
            answered.expect_err("not implemented"),
            RDKafkaErrorCode::UnsupportedFeature
        );
    }
}
