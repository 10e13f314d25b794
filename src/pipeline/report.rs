//! What a worker says: log lines, counts, and its status for observers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{error, info, warn};

use crate::clock::unix_ms;
use crate::error::{Error, Kind};
use crate::journal::{Journal, Level, Place, Topic};
use crate::metrics::SinkMetrics;
use crate::pipeline::control::Notice;
use crate::pipeline::sayings;
use crate::status::{PartitionStatus, WorkerStatus};

/// Refusals in a row above which only every hundredth is logged: each is counted and has its dead letter.
const REFUSALS_LOGGED: u64 = 10;

/// Speaks for one worker.
#[derive(Debug)]
pub struct Reporter {
    sink: Arc<str>,
    worker: usize,
    trouble: Option<Error>,
    refusals: u64,
    journal: Arc<Journal>,
}

impl Reporter {
    /// The reporter of worker `worker` of `sink`.
    pub fn new(sink: Arc<str>, worker: usize) -> Self {
        Reporter {
            sink,
            worker,
            trouble: None,
            refusals: 0,
            journal: Arc::default(),
        }
    }

    /// The same; what happens is told to `journal`, too.
    pub fn telling(self, journal: Arc<Journal>) -> Self {
        Reporter { journal, ..self }
    }

    /// Logs and counts what the control has to say.
    pub(super) fn tell(
        &mut self,
        notice: Notice,
        metrics: &SinkMetrics,
        status: &Mutex<WorkerStatus>,
    ) {
        sayings::say(&self.journal, &self.sink, self.worker, &notice);
        let (sink, worker) = (&*self.sink, self.worker);
        match notice {
            Notice::Assigned(ids) => {
                metrics.rebalances.inc();
                info!(sink, worker, partitions = %join(&ids), "assigned {} partitions", ids.len());
            }
            Notice::Fixed(ids) => {
                info!(sink, worker, partitions = %join(&ids), "{} fixed partitions, no group", ids.len());
            }
            Notice::Revoked(ids) => {
                metrics.rebalances.inc();
                info!(sink, worker, partitions = %join(&ids), "{} partitions revoked, draining", ids.len());
            }
            Notice::Lost(ids) => {
                metrics.rebalances.inc();
                warn!(sink, worker, partitions = %join(&ids),
                    "{} partitions lost: the group has given them to others; what was in flight is dropped \
                     and read again by them", ids.len());
            }
            Notice::Released(ids, true) => {
                info!(sink, worker, partitions = %join(&ids), "released, everything taken is committed");
            }
            Notice::Released(ids, false) => {
                warn!(sink, worker, partitions = %join(&ids),
                    "released with work unfinished; it is read again by the next owner");
            }
            Notice::Running(id, offset) => {
                let (topic, partition) = (&*id.topic, id.partition);
                info!(sink, worker, topic, partition, offset, "reading");
            }
            Notice::Refused(id, offset, rejection) => {
                metrics
                    .rejections
                    .get_or_create(&SinkMetrics::reason(&rejection.reason))
                    .inc();
                self.refusals += 1;
                if self.refusals <= REFUSALS_LOGGED || self.refusals.is_multiple_of(100) {
                    let (topic, partition) = (&*id.topic, id.partition);
                    warn!(
                        sink,
                        worker,
                        topic,
                        partition,
                        offset,
                        reason = rejection.reason,
                        status = rejection.status,
                        total = self.refusals,
                        "record refused: {}",
                        rejection.detail
                    );
                }
            }
            Notice::Dropped(_, _, reason) => {
                metrics
                    .dropped_records
                    .get_or_create(&SinkMetrics::reason(reason))
                    .inc();
            }
            Notice::DeadLettered => {
                metrics.dead_letters.inc();
            }
            Notice::Skipped(id, range, reason) => {
                let lost = u64::try_from(range.end - range.first).unwrap_or(0);
                metrics
                    .skipped_offsets
                    .get_or_create(&SinkMetrics::reason(reason))
                    .inc_by(lost);
                let (topic, partition) = (&*id.topic, id.partition);
                error!(
                    sink,
                    worker, topic, partition, reason, "offsets {range} are skipped, as configured"
                );
            }
            Notice::Quarantined(id, why) => {
                let (topic, partition) = (&*id.topic, id.partition);
                error!(sink, worker, topic, partition, kind = %why.kind, "quarantined: {why}");
            }
            Notice::Rewound(id, why) => {
                let (topic, partition) = (&*id.topic, id.partition);
                warn!(
                    sink,
                    worker, topic, partition, "going back to the last ack: {why}"
                );
            }
            Notice::Fenced(id, why) => {
                let (topic, partition) = (&*id.topic, id.partition);
                warn!(
                    sink,
                    worker,
                    topic,
                    partition,
                    "fenced; coming back once Kafka confirms that the partition is ours: {why}"
                );
            }
            Notice::Committed(_) => {
                metrics.commits.inc();
                lock(status).last_commit_ms = Some(unix_ms());
            }
            Notice::CommitFailed(why) => {
                let kind = why.kind.to_string();
                metrics
                    .commit_failures
                    .get_or_create(&SinkMetrics::reason(kind))
                    .inc();
                warn!(
                    sink,
                    worker, "offsets not committed, they are tried again: {why}"
                );
            }
            Notice::CommitMismatch(id, what) => {
                metrics.commit_mismatches.inc();
                let (topic, partition) = (&*id.topic, id.partition);
                error!(sink, worker, topic, partition, "{what}");
            }
            Notice::AckedTimestamp(timestamp_ms) => {
                let age_ms = (unix_ms() - timestamp_ms).max(0);
                metrics.end_to_end_seconds.observe(age_ms as f64 / 1_000.0);
            }
        }
    }

    /// The client has something to say, or nothing more; a line for each change, not for each repetition.
    pub(super) fn trouble(&mut self, trouble: Option<Error>, status: &Mutex<WorkerStatus>) {
        if trouble == self.trouble {
            return;
        }
        let (sink, worker) = (&*self.sink, self.worker);
        match &trouble {
            Some(why) => warn!(sink, worker, "{why}"),
            None => info!(sink, worker, "Kafka is well again"),
        }
        let place = Place {
            sink: Some(self.sink.clone()),
            ..Place::default()
        };
        let level = match &trouble {
            None => Level::Good,
            Some(why) if why.kind == Kind::Misconfigured => Level::Bad,
            Some(_) => Level::Warn,
        };
        self.journal
            .say(Topic::Kafka, level, place, || match &trouble {
                Some(why) => why.what.clone(),
                None => "Kafka is well again".to_owned(),
            });
        let mut shown = lock(status);
        shown.kafka_error = trouble.as_ref().map(ToString::to_string);
        shown.kafka_needs_a_person = trouble
            .as_ref()
            .is_some_and(|why| why.kind == Kind::Misconfigured);
        self.trouble = trouble;
    }

    /// Publishes a snapshot.
    pub(super) fn publish(
        &self,
        partitions: Vec<PartitionStatus>,
        dead_letters: Option<Error>,
        idle: Option<String>,
        rebalances: u64,
        status: &Mutex<WorkerStatus>,
    ) {
        let mut status = lock(status);
        status.worker = self.worker;
        status.state = if partitions.is_empty() {
            "idle"
        } else {
            "running"
        }
        .to_owned();
        let letters = dead_letters.map(|why| format!("dead letter topic: {why}"));
        status.reason = letters.or(idle.filter(|_| partitions.is_empty()));
        status.partitions = partitions;
        status.beat_ms = Some(unix_ms());
        status.rebalances = rebalances;
    }
}

/// A status whose writer panicked is still a status.
pub(super) fn lock(status: &Mutex<WorkerStatus>) -> MutexGuard<'_, WorkerStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At most a handful by name, so that a line stays a line with a thousand partitions.
pub(super) fn join<T: ToString>(ids: &[T]) -> String {
    const SHOWN: usize = 12;
    let mut text = ids
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if ids.len() > SHOWN {
        text.push_str(&format!(", … ({} in all)", ids.len()));
    }
    text
}
