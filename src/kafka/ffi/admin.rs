//! One admin request and its answer.

use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

/// Milliseconds as the client takes them, at least one.
pub(super) fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis())
        .unwrap_or(i32::MAX)
        .max(1)
}

/// The longest that a request may be told to take.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A request to a group's coordinator, as [`request`]. Only with a client that is dropped if there is no
/// answer: the request itself is given an hour, because one that times out while the coordinator is away aborts
/// the process when that comes back (librdkafka 2.12.1: `rd_kafka_admin_coord_request` gives its reference
/// back, and then fails the lookup, which gives it back again). A client that goes first ends it well.
///
/// # Safety
///
/// As for [`request`].
pub(super) unsafe fn coordinator_request<C: ConsumerContext, R>(
    consumer: &BaseConsumer<C>,
    op: sys::rd_kafka_admin_op_t,
    timeout: Duration,
    send: impl FnOnce(
        *mut sys::rd_kafka_t,
        *const sys::rd_kafka_AdminOptions_t,
        *mut sys::rd_kafka_queue_t,
    ),
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Result<R, RDKafkaErrorCode>,
) -> Result<R, RDKafkaErrorCode> {
    // SAFETY: the caller's promise.
    unsafe { request_within(consumer, op, LONGEST, timeout, send, read) }
}

/// Makes a request with `send`, waits up to `timeout`, and reads the answer with `read`.
///
/// # Safety
///
/// `send` makes exactly one admin request of kind `op` with the client, the options and the queue that it is
/// given, all alive; what else it gives the client must live until it returns. `read` is given the answer's
/// event, alive and without an error; nothing that belongs to the event may leave it.
pub(super) unsafe fn request<C: ConsumerContext, R>(
    consumer: &BaseConsumer<C>,
    op: sys::rd_kafka_admin_op_t,
    timeout: Duration,
    send: impl FnOnce(
        *mut sys::rd_kafka_t,
        *const sys::rd_kafka_AdminOptions_t,
        *mut sys::rd_kafka_queue_t,
    ),
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Result<R, RDKafkaErrorCode>,
) -> Result<R, RDKafkaErrorCode> {
    // A little longer than the request may take, so that its own timeout is what is seen.
    let wait = timeout + Duration::from_millis(500);
    // SAFETY: the caller's promise.
    unsafe { request_within(consumer, op, timeout, wait, send, read) }
}

/// # Safety
///
/// As for [`request`].
unsafe fn request_within<C: ConsumerContext, R>(
    consumer: &BaseConsumer<C>,
    op: sys::rd_kafka_admin_op_t,
    timeout: Duration,
    wait: Duration,
    send: impl FnOnce(
        *mut sys::rd_kafka_t,
        *const sys::rd_kafka_AdminOptions_t,
        *mut sys::rd_kafka_queue_t,
    ),
    read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Result<R, RDKafkaErrorCode>,
) -> Result<R, RDKafkaErrorCode> {
    let client = consumer.client().native_ptr();
    let mut error = [0; 256];
    // SAFETY: the client is alive; every object that is made here is destroyed here, whatever was answered,
    // after the last look at what it owns. The queue is ours alone, so the event is the answer or none.
    unsafe {
        let options = sys::rd_kafka_AdminOptions_new(client, op);
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options,
            millis(timeout),
            error.as_mut_ptr(),
            error.len(),
        );
        let queue = sys::rd_kafka_queue_new(client);
        send(client, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, millis(wait));
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
