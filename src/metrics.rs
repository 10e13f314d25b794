//! Metric handles: what the record's way counts. Names stand here alone: `outflow_<noun>_<unit>[_total]`, with
//! the label `sink`. Gauges per partition are made from [`crate::status`] snapshots when somebody scrapes.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A short, stable reason: `mapper_parsing_exception`, `retention`, `429`.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Reason {
    /// The reason; never anything that a record chose.
    pub reason: String,
}

/// One sink's handles. Cheap to clone, free to update.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    /// Records taken from Kafka.
    pub records: Counter,
    /// Their key and value bytes.
    pub bytes: Counter,
    /// Records acknowledged by the sink.
    pub acked_records: Counter,
    /// Bulk requests sent, or files committed.
    pub batches: Counter,
    /// Bytes sent to the sink (bodies, file bytes).
    pub written_bytes: Counter,
    /// Requests or items tried again, by reason.
    pub retries: Family<Reason, Counter>,
    /// Records refused for good, by reason.
    pub rejections: Family<Reason, Counter>,
    /// Dead letters acknowledged.
    pub dead_letters: Counter,
    /// Records dropped by a policy that the user chose, by reason.
    pub dropped_records: Family<Reason, Counter>,
    /// Offsets never delivered because of a reset, by reason.
    pub skipped_offsets: Family<Reason, Counter>,
    /// Documents that were already there (a replay).
    pub already_present: Counter,
    /// Documents that went to a data stream's failure store.
    pub failure_store: Counter,
    /// Requests in flight.
    pub in_flight: Gauge,
    /// Kafka commits acknowledged.
    pub commits: Counter,
    /// Kafka commits that failed, by error.
    pub commit_failures: Family<Reason, Counter>,
    /// Rebalances.
    pub rebalances: Counter,
    /// Seconds that a partition stood still in a rebalance after which the same worker reads it again.
    pub stood_still_seconds: Histogram,
    /// Workers restarted after a failure.
    pub worker_restarts: Counter,
    /// Seconds from a request's or file commit's start to its answer.
    pub write_seconds: Histogram,
    /// Seconds from the newest record's timestamp in an acked range to its ack.
    pub end_to_end_seconds: Histogram,
}

impl SinkMetrics {
    /// Handles registered under `outflow_…{sink="<name>"}`.
    pub fn register(registry: &mut Registry, sink: &Arc<str>) -> Self {
        let metrics = Self::detached();
        let registry = registry
            .sub_registry_with_prefix("outflow")
            .sub_registry_with_label(("sink".into(), sink.to_string().into()));
        let m = &metrics;
        registry.register("records", "Records taken from Kafka", m.records.clone());
        registry.register(
            "bytes",
            "Key and value bytes taken from Kafka",
            m.bytes.clone(),
        );
        registry.register(
            "acked_records",
            "Records acknowledged by the sink",
            m.acked_records.clone(),
        );
        registry.register(
            "batches",
            "Bulk requests sent, or files committed",
            m.batches.clone(),
        );
        registry.register(
            "written_bytes",
            "Bytes sent to the sink",
            m.written_bytes.clone(),
        );
        registry.register(
            "retries",
            "Requests or items tried again",
            m.retries.clone(),
        );
        registry.register(
            "rejections",
            "Records refused for good",
            m.rejections.clone(),
        );
        registry.register(
            "dead_letters",
            "Dead letters acknowledged",
            m.dead_letters.clone(),
        );
        registry.register(
            "dropped_records",
            "Records dropped by policy",
            m.dropped_records.clone(),
        );
        registry.register(
            "skipped_offsets",
            "Offsets never delivered",
            m.skipped_offsets.clone(),
        );
        registry.register(
            "already_present",
            "Documents already there",
            m.already_present.clone(),
        );
        registry.register(
            "failure_store",
            "Documents in a failure store",
            m.failure_store.clone(),
        );
        registry.register("in_flight", "Requests in flight", m.in_flight.clone());
        registry.register("commits", "Kafka commits acknowledged", m.commits.clone());
        registry.register(
            "commit_failures",
            "Kafka commits failed",
            m.commit_failures.clone(),
        );
        registry.register("rebalances", "Rebalances", m.rebalances.clone());
        registry.register(
            "stood_still_seconds",
            "Stopped by a rebalance until read again by the same worker",
            m.stood_still_seconds.clone(),
        );
        registry.register(
            "worker_restarts",
            "Workers restarted",
            m.worker_restarts.clone(),
        );
        registry.register(
            "write_seconds",
            "Request to answer",
            m.write_seconds.clone(),
        );
        registry.register(
            "end_to_end_seconds",
            "Record timestamp to ack",
            m.end_to_end_seconds.clone(),
        );
        metrics
    }

    /// Handles that nobody scrapes, for tests.
    pub fn detached() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 18));
        SinkMetrics {
            records: Counter::default(),
            bytes: Counter::default(),
            acked_records: Counter::default(),
            batches: Counter::default(),
            written_bytes: Counter::default(),
            retries: Family::default(),
            rejections: Family::default(),
            dead_letters: Counter::default(),
            dropped_records: Family::default(),
            skipped_offsets: Family::default(),
            already_present: Counter::default(),
            failure_store: Counter::default(),
            in_flight: Gauge::default(),
            commits: Counter::default(),
            commit_failures: Family::default(),
            rebalances: Counter::default(),
            stood_still_seconds: seconds(),
            worker_restarts: Counter::default(),
            write_seconds: seconds(),
            end_to_end_seconds: seconds(),
        }
    }

    /// The label set for `reason`.
    pub fn reason(reason: impl Into<String>) -> Reason {
        Reason {
            reason: reason.into(),
        }
    }
}
