//! One admin request and its answer.

use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;

/// Milliseconds as the client takes them, at least one.
pub(super) fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis())
        .unwrap_or(i32::MAX)
        .max(1)
}

/// The longest that the client lets a request take.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Whom a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Any broker, or the controller.
    Cluster,
    /// The coordinator of a group. librdkafka 2.12.1 ends the process (an assertion in
    /// `rd_kafka_enq_once_del_source_return`) if such a request times out while the coordinator is being looked
    /// for, and the coordinator is found later. So it never times out in the client; we stop waiting, and
    /// **the client must go** soon after: nothing long-lived may ask a coordinator.
    Coordinator,
}

/// Makes a request with `send`, waits up to `timeout`, and reads the answer with `read`.
///
/// # Safety
///
/// `send` makes exactly one admin request of kind `op` with the client, the options and the queue that it is
/// given, all alive; what else it gives the client must live until it returns. `read` is given the answer's
/// event, alive and without an error; nothing that belongs to the event may leave it.
pub(super) unsafe fn request<C: ClientContext, R>(
    client: &Client<C>,
    op: sys::rd_kafka_admin_op_t,
    who: For,
    timeout: Duration,
    send: impl FnOnce(
        *mut sys::rd_kafka_t,
        *const sys::rd_kafka_AdminOptions_t,
        *mut sys::rd_kafka_queue_t,
    ),
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Result<R, RDKafkaErrorCode>,
) -> Result<R, RDKafkaErrorCode> {
    let client = client.native_ptr();
    let limit = match who {
        For::Cluster => timeout,
        For::Coordinator => LONGEST,
    };
    let mut error = [0; 256];
    // SAFETY: the client is alive; every object that is made here is destroyed here, whatever was answered,
    // after the last look at what it owns. The queue is ours alone, so the event is the answer or none.
    unsafe {
        let options = sys::rd_kafka_AdminOptions_new(client, op);
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options,
            millis(limit),
            error.as_mut_ptr(),
            error.len(),
        );
        let queue = sys::rd_kafka_queue_new(client);
        send(client, options, queue);
        // A little longer than the request may take, so that its own timeout is what is seen.
        let event = sys::rd_kafka_queue_poll(queue, millis(timeout).saturating_add(500));
        let answer = match event.is_null() {
            true => Err(RDKafkaErrorCode::OperationTimedOut),
            false => match sys::rd_kafka_event_error(event) {
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => read(event),
                error => Err(error.into()),
            },
        };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_AdminOptions_destroy(options);
        answer
    }
}
