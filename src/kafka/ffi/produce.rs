//! Producing a record exactly as it was: null or empty key and value, header names of any bytes.

use std::ffi::{CStr, CString, c_void};
use std::ptr;

use rdkafka::bindings as sys;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

/// A record to produce; copied by the call.
pub(in crate::kafka) struct Outgoing<'a> {
    pub topic: &'a str,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub timestamp_ms: Option<i64>,
    pub headers: &'a [(Vec<u8>, Option<Vec<u8>>)],
}

/// Hands a record to the producer, which answers its context with `ticket`. Never blocks: a full queue is
/// `QueueFull`.
pub(in crate::kafka) fn produce<C: ProducerContext<DeliveryOpaque = usize>>(
    producer: &BaseProducer<C>,
    record: &Outgoing<'_>,
    ticket: usize,
) -> Result<(), (RDKafkaErrorCode, String)> {
    let topic = CString::new(record.topic)
        .map_err(|_| (RDKafkaErrorCode::InvalidTopic, "a NUL in the topic".into()))?;
    // SAFETY: the list is ours until produceva takes it; names and values are copied by the call.
    let headers = unsafe {
        let list = sys::rd_kafka_headers_new(record.headers.len());
        for (name, value) in record.headers {
            let (start, size) = part(value.as_deref());
            sys::rd_kafka_header_add(
                list,
                name.as_ptr().cast(),
                name.len() as isize,
                start,
                size as isize,
            );
        }
        list
    };
    use sys::rd_kafka_vtype_t as Kind;
    type Value = sys::rd_kafka_vu_s__bindgen_ty_1;
    let mem = |bytes: Option<&[u8]>| {
        let (ptr, size) = part(bytes);
        Value {
            mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                ptr: ptr.cast_mut(),
                size,
            },
        }
    };
    let values = [
        (
            Kind::RD_KAFKA_VTYPE_TOPIC,
            Value {
                cstr: topic.as_ptr(),
            },
        ),
        (
            Kind::RD_KAFKA_VTYPE_MSGFLAGS,
            Value {
                i: sys::RD_KAFKA_MSG_F_COPY,
            },
        ),
        (Kind::RD_KAFKA_VTYPE_KEY, mem(record.key)),
        (Kind::RD_KAFKA_VTYPE_VALUE, mem(record.value)),
        (
            Kind::RD_KAFKA_VTYPE_TIMESTAMP,
            Value {
                // 0 is "now" to the client.
                i64_: record.timestamp_ms.unwrap_or(0),
            },
        ),
        (Kind::RD_KAFKA_VTYPE_HEADERS, Value { headers }),
        (
            Kind::RD_KAFKA_VTYPE_OPAQUE,
            Value {
                ptr: ticket as *mut c_void,
            },
        ),
    ]
    .map(|(vtype, u)| sys::rd_kafka_vu_t { vtype, u });
    // SAFETY: the client is alive; each value has the type that its tag says, and all that they point to
    // lives until the call returns; key and value are copied (MSG_F_COPY). The headers belong to the client
    // if it takes the record, else they are still ours and destroyed here. The opaque is an integer in a
    // pointer's clothes, as rust-rdkafka's own `usize` opaques are.
    unsafe {
        let error = sys::rd_kafka_produceva(
            producer.client().native_ptr(),
            values.as_ptr(),
            values.len(),
        );
        if error.is_null() {
            return Ok(());
        }
        let code = sys::rd_kafka_error_code(error).into();
        let text = CStr::from_ptr(sys::rd_kafka_error_string(error))
            .to_string_lossy()
            .into_owned();
        sys::rd_kafka_error_destroy(error);
        sys::rd_kafka_headers_destroy(headers);
        Err((code, text))
    }
}

/// Null is null, and empty is a pointer to nothing: the client tells them apart by the pointer.
fn part(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    match bytes {
        None => (ptr::null(), 0),
        Some([]) => (c"".as_ptr().cast(), 0),
        Some(bytes) => (bytes.as_ptr().cast(), bytes.len()),
    }
}
