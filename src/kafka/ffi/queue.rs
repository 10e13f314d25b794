//! A worker's data queue: all its partitions' records in one place, in batches, without an allocation each.

use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

use crate::offsets::TopicPartition;

/// The most messages that one call takes.
const MOST: usize = 2_048;

/// A raw queue that may go to other threads.
struct Raw(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are guarded by their own lock; any thread may use them.
unsafe impl Send for Raw {}

/// A queue of its own, into which partitions are forwarded. It holds the consumer: a queue must not outlive
/// its client.
pub(in crate::kafka) struct DataQueue<C: ConsumerContext + 'static> {
    raw: Raw,
    yielder: Yielder,
    /// Room for a batch. Empty (all null, or destroyed) between calls.
    batch: Vec<*mut sys::rd_kafka_message_t>,
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: the pointers in `batch` are only meaningful inside `consume`, which has `&mut self`; the rest is
// `Send` (the client is thread safe).
unsafe impl<C: ConsumerContext + 'static> Send for DataQueue<C> {}

/// Ends a wait in [`DataQueue::consume`] early, from any thread; does nothing once the queue is gone.
#[derive(Clone)]
pub(in crate::kafka) struct Yielder(Arc<Mutex<Option<Raw>>>);

impl Yielder {
    pub fn wake(&self) {
        let raw = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(raw) = &*raw {
            // SAFETY: the queue takes its pointer out of the mutex before it is destroyed, so while the lock
            // is held and the pointer is there the queue is alive.
            unsafe { sys::rd_kafka_queue_yield(raw.0.as_ptr()) }
        }
    }
}

impl<C: ConsumerContext + 'static> DataQueue<C> {
    /// A new, empty queue of `consumer`.
    pub fn new(consumer: Arc<BaseConsumer<C>>) -> Option<Self> {
        // SAFETY: the client is alive, and stays so through the Arc that is kept.
        let raw = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let raw = NonNull::new(raw)?;
        Some(DataQueue {
            raw: Raw(raw),
            yielder: Yielder(Arc::new(Mutex::new(Some(Raw(raw))))),
            batch: vec![ptr::null_mut(); MOST],
            consumer,
        })
    }

    /// The consumer that this queue belongs to.
    pub fn consumer(&self) -> &Arc<BaseConsumer<C>> {
        &self.consumer
    }

    /// What ends a wait.
    pub fn yielder(&self) -> Yielder {
        self.yielder.clone()
    }

    /// Sends what is fetched of `partition` here. Stopping a partition undoes it, so it is done again before
    /// each assign.
    pub fn forward(&self, partition: &TopicPartition) -> bool {
        let Ok(topic) = CString::new(&*partition.topic) else {
            return false;
        };
        // SAFETY: client and both queues are alive; the partition's handle is only a reference, which is
        // given back; the forwarding itself belongs to the client and outlives the handle.
        unsafe {
            let source = sys::rd_kafka_queue_get_partition(
                self.consumer.client().native_ptr(),
                topic.as_ptr(),
                partition.partition,
            );
            if source.is_null() {
                return false;
            }
            sys::rd_kafka_queue_forward(source, self.raw.0.as_ptr());
            sys::rd_kafka_queue_destroy(source);
        }
        true
    }

    /// Takes up to `max` messages that are there, waiting at most `wait` for the first. Messages are given
    /// back to the client when `deliver` returns, and also if it panics.
    pub fn consume(
        &mut self,
        max: usize,
        wait: Duration,
        deliver: &mut dyn FnMut(&Message<'_>),
    ) -> usize {
        let max = max.min(MOST);
        let mut taken = self.consume_within(max, 0, deliver);
        // The native call waits until the batch is *full*: so only ever wait for one.
        if taken == 0 && max > 0 && !wait.is_zero() {
            let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1);
            taken = self.consume_within(1, millis, deliver);
            if taken > 0 {
                taken += self.consume_within(max - 1, 0, deliver);
            }
        }
        taken
    }

    fn consume_within(
        &mut self,
        max: usize,
        timeout_ms: i32,
        deliver: &mut dyn FnMut(&Message<'_>),
    ) -> usize {
        if max == 0 {
            return 0;
        }
        // SAFETY: the queue is alive, and `batch` has room for MOST >= max pointers.
        let filled = unsafe {
            sys::rd_kafka_consume_batch_queue(
                self.raw.0.as_ptr(),
                timeout_ms,
                self.batch.as_mut_ptr(),
                max,
            )
        };
        let mut batch = Batch {
            rest: &mut self.batch[..usize::try_from(filled).unwrap_or(0).min(max)],
        };
        let taken = batch.rest.len();
        while let Some(message) = batch.first() {
            deliver(&message);
            batch.destroy_first();
        }
        taken
    }
}

impl<C: ConsumerContext + 'static> Drop for DataQueue<C> {
    fn drop(&mut self) {
        let mut raw = self
            .yielder
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *raw = None;
        // SAFETY: nobody else has the pointer now (the yielder's is gone, `self` is going), and the consumer,
        // a field, is dropped after this.
        unsafe { sys::rd_kafka_queue_destroy(self.raw.0.as_ptr()) }
    }
}

/// Messages that are still to be given back; dropping it gives them back.
struct Batch<'q> {
    rest: &'q mut [*mut sys::rd_kafka_message_t],
}

impl Batch<'_> {
    /// Skips nulls, which there aren't.
    fn first(&mut self) -> Option<Message<'_>> {
        while let Some(first) = self.rest.first() {
            if let Some(raw) = NonNull::new(*first) {
                return Some(Message {
                    raw,
                    _alive: PhantomData,
                });
            }
            self.destroy_first();
        }
        None
    }

    fn destroy_first(&mut self) {
        if let Some((first, rest)) = std::mem::take(&mut self.rest).split_first_mut() {
            self.rest = rest;
            if !first.is_null() {
                // SAFETY: the message came out of the queue, is destroyed once (it leaves `rest`, and its
                // place becomes null), and no `Message` borrows this batch any more.
                unsafe { sys::rd_kafka_message_destroy(*first) }
                *first = ptr::null_mut();
            }
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        while !self.rest.is_empty() {
            self.destroy_first();
        }
    }
}

/// A message, borrowed from the client. May be an error instead of a record: see [`Message::error`].
pub(in crate::kafka) struct Message<'a> {
    raw: NonNull<sys::rd_kafka_message_t>,
    _alive: PhantomData<&'a ()>,
}

/// A record's headers: any bytes as name, `None` for a null value.
pub(in crate::kafka) type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl<'a> Message<'a> {
    fn raw(&self) -> *mut sys::rd_kafka_message_t {
        self.raw.as_ptr()
    }

    /// Names the partition within this batch: equal for messages of one partition.
    pub fn source(&self) -> (usize, i32) {
        // SAFETY: (all field reads below) the message is alive as long as 'a, and nobody writes to it.
        unsafe { ((*self.raw()).rkt as usize, (*self.raw()).partition) }
    }

    /// The topic's name; none for an error that concerns no topic.
    pub fn topic(&self) -> Option<&'a str> {
        // SAFETY: the message holds a reference to its topic, whose name is a C string that lives as long.
        unsafe {
            let topic = (*self.raw()).rkt;
            if topic.is_null() {
                return None;
            }
            CStr::from_ptr(sys::rd_kafka_topic_name(topic))
                .to_str()
                .ok()
        }
    }

    /// The offset; of no meaning for most errors.
    pub fn offset(&self) -> i64 {
        // SAFETY: see `source`.
        unsafe { (*self.raw()).offset }
    }

    /// The leader epoch of its batch, -1 if unknown.
    pub fn leader_epoch(&self) -> i32 {
        // SAFETY: the message is alive.
        unsafe { sys::rd_kafka_message_leader_epoch(self.raw()) }
    }

    /// Milliseconds since 1970; `None` if there is none or it is negative.
    pub fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive; `kind` is a valid place for the answer.
        let millis = unsafe { sys::rd_kafka_message_timestamp(self.raw(), &mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && millis >= 0)
            .then_some(millis)
    }

    /// The key: `None` is null, which isn't the same as empty.
    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: see `source`; a key that isn't null has `key_len` bytes, alive as long as the message.
        unsafe { bytes((*self.raw()).key, (*self.raw()).key_len) }
    }

    /// The value: `None` is a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: as for the key.
        unsafe { bytes((*self.raw()).payload, (*self.raw()).len) }
    }

    /// Why this is no record.
    pub fn error(&self) -> Option<RDKafkaErrorCode> {
        // SAFETY: see `source`; read as the integer that it is in C, see `error_code`.
        super::error_code(unsafe { (&raw const (*self.raw()).err).cast::<i32>().read() })
    }

    /// The error in the client's words.
    pub fn error_text(&self) -> String {
        // SAFETY: the message is alive, and its text is copied at once.
        unsafe {
            let text = sys::rd_kafka_message_errstr(self.raw());
            if text.is_null() {
                return String::new();
            }
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }

    /// The headers, in order. (A name ends at its first NUL byte: the client keeps names as C strings.)
    pub fn headers(&self) -> Headers {
        let mut headers = Headers::new();
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive and owns its headers; they are only read, and copied at once.
        unsafe {
            let answer = sys::rd_kafka_message_headers(self.raw(), &mut list);
            if answer != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
                return headers;
            }
            for index in 0..sys::rd_kafka_header_cnt(list) {
                let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
                let answer =
                    sys::rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut size);
                if answer != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    break;
                }
                let name = CStr::from_ptr(name).to_bytes().to_vec();
                headers.push((name, bytes(value.cast_mut(), size).map(<[u8]>::to_vec)));
            }
        }
        headers
    }
}

/// # Safety
///
/// `start` is null, or has `len` bytes that live and don't change for 'a.
unsafe fn bytes<'a>(start: *mut c_void, len: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}
