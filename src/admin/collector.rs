//! Gauges made from snapshots at the moment somebody scrapes: so a partition that was revoked is gone from
//! the metrics, too.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Observed;
use crate::clock::unix_ms;
use crate::status::{CircuitState, PartitionState, PartitionStatus, SinkStatus};

/// The collector.
pub struct Snapshots {
    observed: Arc<dyn Observed>,
}

impl Snapshots {
    pub fn new(observed: Arc<dyn Observed>) -> Self {
        Snapshots { observed }
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshots")
    }
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct PartitionLabels {
    sink: String,
    topic: String,
    partition: i32,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct SinkLabel {
    sink: String,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct WorkerLabels {
    sink: String,
    worker: u64,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct StateLabels {
    sink: String,
    state: &'static str,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

/// One gauge family: its name, its help, its samples.
pub(super) type Family<L> = (&'static str, &'static str, Vec<(L, f64)>);

impl Collector for Snapshots {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sinks = self.observed.sinks();
        let version = Version {
            version: env!("CARGO_PKG_VERSION"),
        };
        write(
            &mut encoder,
            (
                "outflow_build_info",
                "The version that runs",
                vec![(version, 1.0)],
            ),
        )?;
        let is_ready = self.observed.not_ready().is_empty();
        let help = "1 while no person is needed: what /readyz says";
        let ready = encoder.encode_descriptor("outflow_ready", help, None, MetricType::Gauge)?;
        ConstGauge::new(f64::from(u8::from(is_ready))).encode(ready)?;
        for family in partition_families(&sinks) {
            write(&mut encoder, family)?;
        }
        for family in sink_families(&sinks) {
            write(&mut encoder, family)?;
        }
        write(&mut encoder, states(&sinks))?;
        write(&mut encoder, commit_ages(&sinks, unix_ms()))
    }
}

pub(super) fn write<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    family: Family<L>,
) -> fmt::Result {
    let (name, help, samples) = family;
    if samples.is_empty() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// How a figure is read from a partition's status.
type Figure = (
    &'static str,
    &'static str,
    fn(&PartitionStatus) -> Option<i64>,
);

const FIGURES: [Figure; 6] = [
    (
        "outflow_partition_lag",
        "Log end offset minus acknowledged offset",
        |p| p.lag,
    ),
    (
        "outflow_partition_committed_offset",
        "Next offset to read, as committed",
        |p| p.committed,
    ),
    (
        "outflow_partition_acked_offset",
        "Everything below is final",
        |p| p.acked,
    ),
    (
        "outflow_partition_log_end_offset",
        "Log end (last stable) offset",
        |p| p.log_end,
    ),
    (
        "outflow_partition_quarantined",
        "1 while the partition waits for a person",
        |p| Some(i64::from(p.state == PartitionState::Quarantined)),
    ),
    (
        "outflow_partition_acked_timestamp_ms",
        "Timestamp of the newest acknowledged record",
        |p| p.acked_timestamp_ms,
    ),
];

fn partition_families(sinks: &[SinkStatus]) -> Vec<Family<PartitionLabels>> {
    // While a partition moves between two workers of a process, both may show it: once is enough.
    let mut partitions = BTreeMap::new();
    for sink in sinks {
        for partition in sink.workers.iter().flat_map(|w| &w.partitions) {
            let key = (
                sink.name.as_str(),
                partition.topic.as_str(),
                partition.partition,
            );
            partitions.entry(key).or_insert(partition);
        }
    }
    let family = |(name, help, figure): &Figure| -> Family<PartitionLabels> {
        let samples = partitions
            .iter()
            .filter_map(|((sink, topic, partition), status)| {
                let (sink, topic) = ((*sink).to_owned(), (*topic).to_owned());
                let labels = PartitionLabels {
                    sink,
                    topic,
                    partition: *partition,
                };
                Some((labels, figure(status)? as f64))
            });
        (name, help, samples.collect())
    };
    FIGURES.iter().map(family).collect()
}

fn sink_families(sinks: &[SinkStatus]) -> Vec<Family<SinkLabel>> {
    let each = |figure: &dyn Fn(&SinkStatus) -> Option<f64>| -> Vec<(SinkLabel, f64)> {
        let label = |sink: &SinkStatus| SinkLabel {
            sink: sink.name.clone(),
        };
        sinks
            .iter()
            .filter_map(|sink| Some((label(sink), figure(sink)?)))
            .collect()
    };
    let quarantined = |sink: &SinkStatus| {
        let partitions = sink.workers.iter().flat_map(|w| &w.partitions);
        Some(
            partitions
                .filter(|p| p.state == PartitionState::Quarantined)
                .count() as f64,
        )
    };
    let assigned = |sink: &SinkStatus| {
        Some(
            sink.workers
                .iter()
                .map(|w| w.partitions.len())
                .sum::<usize>() as f64,
        )
    };
    let circuit = |sink: &SinkStatus| {
        Some(match sink.health.circuit {
            CircuitState::Closed => 0.0,
            CircuitState::HalfOpen => 1.0,
            CircuitState::Open => 2.0,
        })
    };
    let lag = |sink: &SinkStatus| sink.lag.map(|lag| lag as f64);
    let paused = |sink: &SinkStatus| Some(f64::from(u8::from(sink.paused)));
    vec![
        ("outflow_lag", "Sum of the partitions' lags", each(&lag)),
        (
            "outflow_circuit_state",
            "0 closed, 1 half open, 2 open",
            each(&circuit),
        ),
        (
            "outflow_quarantined_partitions",
            "Partitions that wait for a person",
            each(&quarantined),
        ),
        (
            "outflow_assigned_partitions",
            "Partitions held",
            each(&assigned),
        ),
        (
            "outflow_sink_paused",
            "1 while the sink is paused by request",
            each(&paused),
        ),
    ]
}

/// One sample for every state, so that a sum over them is the number of workers.
fn states(sinks: &[SinkStatus]) -> Family<StateLabels> {
    const STATES: [&str; 6] = [
        "starting",
        "running",
        "idle",
        "restarting",
        "fenced",
        "stopped",
    ];
    let samples = sinks.iter().flat_map(|sink| {
        STATES.iter().map(|state| {
            let count = sink.workers.iter().filter(|w| w.state == *state).count();
            (
                StateLabels {
                    sink: sink.name.clone(),
                    state,
                },
                count as f64,
            )
        })
    });
    ("outflow_workers", "Workers by state", samples.collect())
}

fn commit_ages(sinks: &[SinkStatus], now_ms: i64) -> Family<WorkerLabels> {
    let samples = sinks.iter().flat_map(|sink| {
        sink.workers.iter().filter_map(|worker| {
            let age = (now_ms - worker.last_commit_ms?).max(0) as f64 / 1_000.0;
            let labels = WorkerLabels {
                sink: sink.name.clone(),
                worker: worker.worker as u64,
            };
            Some((labels, age))
        })
    });
    (
        "outflow_commit_age_seconds",
        "Since the last acknowledged commit",
        samples.collect(),
    )
}
