//! What Prometheus is told of groups, computed when somebody scrapes: under Burrow's names, and under our own what Burrow
//! doesn't know.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};

use super::super::collector::{Family, write};
use crate::lag::{PartitionVerdict, Store};
use crate::monitor::{Clusters, Watched, judge, words};
use crate::status::Verdict;

/// The collector.
#[derive(Debug)]
pub struct Figures(pub Clusters);

#[derive(Debug, Clone, EncodeLabelSet)]
struct GroupLabels {
    cluster: String,
    consumer_group: String,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct PartitionLabels {
    cluster: String,
    consumer_group: String,
    topic: String,
    partition: i32,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct LogLabels {
    cluster: String,
    topic: String,
    partition: i32,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct ClusterLabel {
    cluster: String,
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut found = Found::default();
        for watched in &self.0 {
            found.look(watched);
        }
        found.write(&mut encoder)
    }
}

#[derive(Default)]
struct Found {
    groups: [Vec<(GroupLabels, f64)>; 4],
    partitions: [Vec<(PartitionLabels, f64)>; 4],
    logs: Vec<(LogLabels, f64)>,
    ready: Vec<(ClusterLabel, f64)>,
    blind: Vec<(ClusterLabel, f64)>,
    dropped: Vec<(ClusterLabel, f64)>,
}

/// Names and helps, in the order of [`Found::groups`].
const OF_GROUPS: [(&str, &str); 4] = [
    (
        "burrow_kafka_consumer_lag_total",
        "The lag of all partitions of the group",
    ),
    ("burrow_kafka_consumer_status", "1 OK, 2 WARN, 3 ERR"),
    (
        "outflow_consumer_time_lag_seconds",
        "The age of the oldest record that the group hasn't read, at least",
    ),
    (
        "outflow_consumer_catch_up_seconds",
        "When the group will have caught up, at the pace of the last while; missing if it merely keeps up, or never",
    ),
];

/// The same of [`Found::partitions`].
const OF_PARTITIONS: [(&str, &str); 4] = [
    (
        "burrow_kafka_consumer_partition_lag",
        "Records that the group is behind",
    ),
    (
        "burrow_kafka_consumer_current_offset",
        "The newest committed offset, of full windows",
    ),
    (
        "burrow_kafka_topic_partition_status",
        "1 OK, 2 WARN, 4 STOP, 5 STALL, 6 REWIND, of full windows",
    ),
    (
        "outflow_consumer_partition_time_lag_seconds",
        "The age of the oldest record that the group hasn't read, at least",
    ),
];

impl Found {
    fn look(&mut self, watched: &Watched) {
        let now_ms = watched.now_ms();
        let cluster = watched.about.name.clone();
        let label = ClusterLabel {
            cluster: cluster.clone(),
        };
        let standing = watched.standing();
        let number = |flag: bool| f64::from(u8::from(flag));
        self.ready.push((label.clone(), number(standing.is_ready)));
        self.blind.push((label.clone(), number(standing.is_blind)));
        let store = watched.store();
        self.dropped.push((label, store.num_dropped() as f64));
        for group in store.group_names() {
            let Some(judged) = judge(&store, group, now_ms, &watched.rules_of(group)) else {
                continue;
            };
            let labels = GroupLabels {
                cluster: cluster.clone(),
                consumer_group: group.to_owned(),
            };
            self.group(
                &labels,
                judged.verdict.status.code(),
                &words::of_group(&judged, now_ms),
            );
            for (verdict, part) in judged.verdict.partitions.iter().zip(&judged.partitions) {
                let of_partition = words::of_partition(verdict, &part.seen, now_ms);
                self.partition(&labels, verdict, &of_partition);
            }
        }
        self.logs(&cluster, &store);
    }

    fn group(&mut self, labels: &GroupLabels, code: u8, verdict: &Verdict) {
        let [lag, status, time_lag, catch_up] = &mut self.groups;
        lag.push((labels.clone(), verdict.lag as f64));
        status.push((labels.clone(), f64::from(code)));
        if let Some(ms) = verdict.time_lag_ms {
            time_lag.push((labels.clone(), ms as f64 / 1_000.0));
        }
        let seconds = verdict.catch_up_s;
        catch_up.extend(seconds.map(|seconds| (labels.clone(), seconds)));
    }

    fn partition(&mut self, of: &GroupLabels, verdict: &PartitionVerdict<'_>, words: &Verdict) {
        let labels = PartitionLabels {
            cluster: of.cluster.clone(),
            consumer_group: of.consumer_group.clone(),
            topic: verdict.id.topic.to_owned(),
            partition: verdict.id.partition,
        };
        let [lag, offset, status, time_lag] = &mut self.partitions;
        lag.push((labels.clone(), verdict.current_lag as f64));
        if let (true, Some(end)) = (verdict.complete >= 1.0, verdict.end) {
            offset.push((labels.clone(), end.offset as f64));
            status.push((labels.clone(), f64::from(verdict.status.code())));
        }
        if let Some(ms) = words.time_lag_ms {
            time_lag.push((labels, ms as f64 / 1_000.0));
        }
    }

    fn logs(&mut self, cluster: &str, store: &Store) {
        for name in store.topic_names() {
            let logs = store.topic(name).map_or(&[][..], |topic| topic.logs());
            for (partition, log) in (0..).zip(logs) {
                let labels = LogLabels {
                    cluster: cluster.to_owned(),
                    topic: name.to_owned(),
                    partition,
                };
                self.logs
                    .extend(log.ends.newest().map(|end| (labels, end.offset as f64)));
            }
        }
    }

    fn write(self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for ((name, help), samples) in OF_GROUPS.into_iter().zip(self.groups) {
            write(encoder, (name, help, samples))?;
        }
        for ((name, help), samples) in OF_PARTITIONS.into_iter().zip(self.partitions) {
            write(encoder, (name, help, samples))?;
        }
        let logs: Family<LogLabels> = (
            "burrow_kafka_topic_partition_offset",
            "Where the log ends",
            self.logs,
        );
        write(encoder, logs)?;
        let ready = "outflow_cluster_ready";
        write(
            encoder,
            (
                ready,
                "1 once all commits that were there are read",
                self.ready,
            ),
        )?;
        let blind = "outflow_cluster_blind";
        let help = "1 while no broker answers, or what groups commit can't be read";
        write(encoder, (blind, help, self.blind))?;
        let dropped = "outflow_cluster_commits_left_out";
        write(
            encoder,
            (
                dropped,
                "Commits beyond max_groups and max_partitions",
                self.dropped,
            ),
        )
    }
}
