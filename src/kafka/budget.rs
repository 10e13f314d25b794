//! What fetched records may take in a worker's memory, in terms that librdkafka knows (pure).
//!
//! librdkafka counts the values of queued records. Memory holds more than that: some hundred bytes of its own for
//! each record, whatever its size, and what one more answer of each broker brings, since it only looks at its
//! limits before it asks. So the budget is split: at most a quarter for values, a quarter for the client's own bytes,
//! half for answers. Its limits hold for the sum over partitions, because all of them are forwarded into one
//! queue.

/// Fetched records may take this part of a sink's memory; the rest is the sink's (bodies, open files).
const FETCH_SHARE: u64 = 4;

/// The least and the most that fetched records may take: below, every fetch would be cut into single batches;
/// above, memory buys nothing more.
const BYTES: (u64, u64) = (1 << 20, 64 << 20);

/// The most that may wait in the queue, values and the client's own bytes together: more makes nothing faster
/// (docs/performance.md), and stays resident.
const QUEUE_BYTES: u64 = 12 << 20;

/// What the client takes for each queued record (librdkafka's `rd_kafka_op_t` of a fetched message, and the
/// allocator's header).
const RECORD_BYTES: u64 = 320;

/// An answer takes up to so many times its size once its records stand in the queue, and several brokers may
/// answer at once: three with records of 10 bytes, dozens with records of 300.
const ANSWERS: u64 = 64;

/// The least that is asked for in one fetch.
const LEAST_FETCH: u64 = 64 << 10;

/// One worker's budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    bytes: u64,
}

impl Budget {
    /// The budget of each worker of a sink with this memory.
    pub fn of_worker(memory_bytes: u64, workers: usize) -> Self {
        Self::new(memory_bytes / FETCH_SHARE / workers.max(1) as u64)
    }

    /// A budget of so many bytes, as far as that makes sense.
    pub fn new(bytes: u64) -> Self {
        Budget {
            bytes: bytes.clamp(BYTES.0, BYTES.1),
        }
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is left for the sink of `memory_bytes`.
    pub fn beside(memory_bytes: u64) -> u64 {
        memory_bytes - memory_bytes / FETCH_SHARE
    }

    /// The least memory of which so much is left for the sink.
    pub fn leaving(sink_bytes: u64) -> u64 {
        (sink_bytes.saturating_mul(FETCH_SHARE)).saturating_sub(1) / (FETCH_SHARE - 1)
    }

    /// What one fetch may bring, from all partitions of a broker together. (A batch that is larger comes alone.)
    pub fn fetch_bytes(&self) -> u64 {
        (self.bytes / 2 / ANSWERS).max(LEAST_FETCH)
    }

    /// Whether a larger budget would raise this property's limit: the queue has a limit of its own.
    pub fn grows(&self, property: &str) -> bool {
        let queue = property.starts_with("queued.");
        self.bytes < BYTES.1 && !(queue && self.bytes / 4 >= QUEUE_BYTES / 2)
    }

    /// The most that each of librdkafka's properties may say.
    pub fn limits(&self) -> [(&'static str, u64); 5] {
        let half_of_queue = (self.bytes / 4).min(QUEUE_BYTES / 2);
        [
            // The client multiplies by 1,000.
            ("queued.max.messages.kbytes", half_of_queue / 1_000),
            ("queued.min.messages", half_of_queue / RECORD_BYTES),
            ("fetch.max.bytes", self.fetch_bytes()),
            ("fetch.message.max.bytes", self.fetch_bytes()),
            ("fetch.min.bytes", self.fetch_bytes()),
        ]
    }

    /// The limit of one property.
    pub fn limit(&self, property: &str) -> Option<u64> {
        let limits = self.limits();
        let mut named = limits.iter().filter(|(name, _)| *name == property);
        named.next().map(|(_, limit)| *limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// The memory that records of this value size (and batch overhead as Kafka writes it) take at worst, with
    /// so many brokers answering at once.
    fn worst(budget: Budget, value: u64, brokers: u64) -> u64 {
        let limit = |name| budget.limit(name).unwrap();
        let wire = value + 8;
        let each = RECORD_BYTES + wire;
        let by_count = limit("queued.min.messages");
        let by_bytes = (limit("queued.max.messages.kbytes") * 1_000).div_ceil(value.max(1));
        let an_answer = (budget.fetch_bytes() / wire).max(1);
        (by_count.min(by_bytes) + brokers * an_answer) * each
    }

    #[test]
    fn the_budget_holds_whatever_the_size_of_the_records() {
        for mib in [8, 16, 64] {
            let budget = Budget::new(mib * MIB);
            for value in [10, 20, 100, 300, 320, 1_000, 10_000, 64 << 10] {
                let worst = worst(budget, value, 3);
                assert!(worst <= mib * MIB + MIB, "{value} bytes: {worst}");
            }
        }
    }

    #[test]
    fn a_record_larger_than_all_of_it_comes_alone() {
        let budget = Budget::new(8 * MIB);
        let queued = worst(budget, 20 * MIB, 1);
        assert!(
            queued < 41 * MIB,
            "one in the queue, one on its way: {queued}"
        );
    }

    #[test]
    fn workers_share_it_and_it_has_bounds() {
        assert_eq!(Budget::of_worker(256 * MIB, 1).bytes(), 64 * MIB);
        assert_eq!(Budget::of_worker(256 * MIB, 4).bytes(), 16 * MIB);
        assert_eq!(Budget::of_worker(MIB, 0).bytes(), MIB);
        assert_eq!(Budget::of_worker(1 << 40, 1).bytes(), 64 * MIB);
        assert_eq!(Budget::beside(256 * MIB), 192 * MIB);
    }

    #[test]
    fn the_memory_that_leaves_so_much_for_the_sink_is_the_least() {
        for sink in (1..1_000).chain([64 * MIB, 64 * MIB + 1]) {
            let memory = Budget::leaving(sink);
            assert!(Budget::beside(memory) >= sink, "{sink}");
            assert!(Budget::beside(memory - 1) < sink, "{sink}");
        }
    }

    #[test]
    fn a_limit_grows_with_the_budget_or_is_said_not_to() {
        for mib in [1, 4, 8, 16, 23, 24, 32, 64] {
            let (budget, larger) = (Budget::new(mib * MIB), Budget::new(4 * mib * MIB));
            for (name, limit) in budget.limits() {
                let raised = larger.limit(name).unwrap() > limit;
                // The least that is asked for in one fetch may stay.
                let least = limit == LEAST_FETCH && name.starts_with("fetch");
                assert!(raised == budget.grows(name) || least, "{name}: {mib} MiB");
            }
        }
    }
}
