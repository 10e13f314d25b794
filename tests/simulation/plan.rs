//! What a seed decides before it starts.

use outflow::config::settings::{CommitMode, OffsetLost, RejectedPolicy};

use crate::rng::Rng;
use crate::world::{Down, Kind, Plan};

impl Plan {
    /// Anything goes.
    pub fn random(rng: &mut Rng) -> Self {
        let kind = rng.pick(&[Kind::Elasticsearch, Kind::Hdfs]);
        let commit_mode = match rng.below(5) {
            0 => CommitMode::Batch,
            1 => CommitMode::Async,
            2 if kind == Kind::Elasticsearch => CommitMode::Record,
            _ => CommitMode::Interval,
        };
        // One at a time, each takes a third of a second.
        let records = match commit_mode {
            CommitMode::Record => 50,
            _ => rng.pick(&[50, 150, 300]),
        };
        let dead_letter = RejectedPolicy::DeadLetter {
            topic: "dead".to_owned(),
        };
        Plan {
            kind,
            workers: rng.pick(&[1, 1, 2, 2, 3]),
            partitions: rng.pick(&[1, 2, 3, 5]),
            rejected: match rng.below(4) {
                0 => RejectedPolicy::Skip,
                1 => RejectedPolicy::Quarantine,
                _ => dead_letter,
            },
            on_offset_lost: rng.pick(&[OffsetLost::Stop, OffsetLost::Earliest, OffsetLost::Latest]),
            starts_latest: rng.permille(250),
            person: rng.permille(800),
            commit_mode,
            commit_interval_ms: rng.pick(&[100, 1_000, 5_000]),
            drain_timeout_ms: rng.pick(&[500, 5_000, 20_000]),
            max_span: rng.pick(&[30, 200, 10_000]),
            budget: rng.pick(&[40, 200]),
            records,
            open_files: rng.pick(&[1, 2, 4]),
            faults_ms: rng.range(10_000, 60_000),
            fault_every_ms: rng.pick(&[800, 3_000, 10_000]),
            trouble: rng.pick(&[0, 30, 100, 200]),
            long_outage: rng
                .permille(20)
                .then(|| rng.pick(&[Down::Sink, Down::Kafka, Down::Letters])),
            fixed: rng.permille(150),
        }
    }

    /// Nothing goes wrong by itself.
    pub fn quiet(kind: Kind) -> Self {
        Plan {
            kind,
            workers: 1,
            partitions: 3,
            rejected: RejectedPolicy::Skip,
            on_offset_lost: OffsetLost::Stop,
            starts_latest: false,
            person: false,
            commit_mode: CommitMode::Interval,
            commit_interval_ms: 1_000,
            drain_timeout_ms: 20_000,
            max_span: 10_000,
            budget: 200,
            records: 300,
            open_files: 4,
            faults_ms: 0,
            fault_every_ms: u64::MAX / 4,
            trouble: 0,
            long_outage: None,
            fixed: false,
        }
    }
}
