//! Commits whose answers come back. (rust-rdkafka's asynchronous commit never calls its callback: the client
//! answers to a queue or to a C callback, and that wrapper gives it neither.)

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::thread::Thread;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::list::{Entry, read, to_native};

/// Where answers to commits arrive. It holds the consumer: a queue must not outlive its client.
pub(in crate::kafka) struct CommitQueue<C: ConsumerContext + 'static> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Unparked when an answer arrives. The client has a pointer to it.
    _waits: Arc<Thread>,
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues are guarded by their own lock; any thread may use them.
unsafe impl<C: ConsumerContext + 'static> Send for CommitQueue<C> {}

/// The answer to one commit.
pub(in crate::kafka) struct Answered {
    /// The error of the whole.
    pub error: Option<RDKafkaErrorCode>,
    /// Its partitions, each with its own error.
    pub entries: Vec<Entry>,
}

impl<C: ConsumerContext + 'static> CommitQueue<C> {
    /// A queue of `consumer`; an answer that arrives unparks the thread `waits`.
    pub fn new(consumer: Arc<BaseConsumer<C>>, waits: Thread) -> Option<Self> {
        // SAFETY: the client is alive, and stays so through the Arc that is kept.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue)?;
        let waits = Arc::new(waits);
        let opaque = Arc::as_ptr(&waits).cast_mut().cast();
        // SAFETY: the queue is alive. The thread's handle stays where it is until the queue is dropped, which
        // takes the callback out first.
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(unpark), opaque) };
        Some(CommitQueue {
            queue,
            _waits: waits,
            consumer,
        })
    }

    /// Commits, without waiting. Each commit that is taken is answered once.
    pub fn send(&self, entries: &[Entry]) -> Result<(), RDKafkaErrorCode> {
        let list = to_native(entries);
        // SAFETY: client, list and queue are alive; the client copies the list. With a queue given the call
        // doesn't wait, and without a callback nothing of ours is called.
        let error = unsafe {
            sys::rd_kafka_commit_queue(
                self.consumer.client().native_ptr(),
                list.ptr(),
                self.queue.as_ptr(),
                None,
                ptr::null_mut(),
            )
        };
        match error {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            error => Err(error.into()),
        }
    }

    /// The next answer, if there is one.
    pub fn answered(&self) -> Option<Answered> {
        // SAFETY: the queue is alive; the event is ours, is destroyed once, and owns the list, which is copied
        // before that. Only answers to commits arrive in this queue.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue.as_ptr(), 0);
            if event.is_null() {
                return None;
            }
            let error = match sys::rd_kafka_event_error(event) {
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => None,
                error => Some(error.into()),
            };
            let list = sys::rd_kafka_event_topic_partition_list(event);
            let entries = match list.is_null() {
                true => Vec::new(),
                false => read(list),
            };
            sys::rd_kafka_event_destroy(event);
            Some(Answered { error, entries })
        }
    }
}

impl<C: ConsumerContext + 'static> Drop for CommitQueue<C> {
    fn drop(&mut self) {
        // SAFETY: the queue is ours alone, and the consumer, a field, is dropped after this. The callback runs
        // under the queue's lock, which taking it out needs, too: afterwards nobody has the thread's handle.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Called on a thread of the client's, which it must not hold up.
unsafe extern "C" fn unpark(_: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: `opaque` is the handle that the queue keeps, see `new` and `drop`.
    let waits = unsafe { &*opaque.cast::<Thread>() };
    waits.unpark();
}
