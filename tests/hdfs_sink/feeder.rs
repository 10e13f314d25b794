//! Stands in for the pipeline: feeds partitions whose records are known to the sink, and keeps its contract.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use outflow::config::settings::{Compression, HdfsSettings, Partitioning, Rotation, Tombstones};
use outflow::error::Error;
use outflow::metrics::SinkMetrics;
use outflow::offsets::{Epoch, TopicPartition};
use outflow::sinks::hdfs::HdfsConnector;
use outflow::sinks::{Answer, Assignment, Connector, Record, Sink, Slot, Waker};
use tokio::runtime::Runtime;

/// Longer than anything here takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(90);

/// Plain settings: files are closed by a drain alone.
pub fn settings(url: String, base: &str) -> HdfsSettings {
    HdfsSettings {
        url,
        config_dir: None,
        user: None,
        base: base.to_owned(),
        replication: None,
        compression: Compression::None,
        partitioning: Partitioning::Default,
        rotation: Rotation {
            bytes: 128 << 20,
            records: None,
            age: Duration::from_secs(3_600),
            idle: None,
        },
        max_open_files: 4,
        call_timeout: Duration::from_secs(10),
        tombstones: Tombstones::Skip,
    }
}

/// One record of the made-up Kafka.
#[derive(Debug, Clone)]
pub struct Row {
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub value: Option<Vec<u8>>,
}

impl Row {
    pub fn new(offset: i64) -> Self {
        Row {
            offset,
            timestamp_ms: Some(1_700_000_000_000 + offset),
            value: Some(line(offset).into_bytes()),
        }
    }
}

/// What a plain row's file line is.
pub fn line(offset: i64) -> String {
    format!("{{\"offset\":{offset},\"text\":\"é\"}}")
}

/// A partition, and what the pipeline knows of it.
#[derive(Debug)]
pub struct Partition {
    pub name: TopicPartition,
    pub rows: Vec<Row>,
    pub epoch: Epoch,
    pub is_open: bool,
    pub is_delivering: bool,
    pub is_drained: bool,
    pub next: i64,
    pub acked: i64,
    pub turns: u32,
    pub rewinds: Vec<Error>,
    pub fenced: Option<Error>,
    pub stopped: Option<Error>,
    pub refused: Vec<i64>,
    pub reopens: bool,
}

impl Partition {
    pub fn log_end(&self) -> i64 {
        self.rows.last().map_or(0, |row| row.offset + 1)
    }
}

type Signal = Arc<(Mutex<bool>, Condvar)>;

pub struct Feeder {
    pub connector: HdfsConnector,
    pub sink: Option<Box<dyn Sink>>,
    pub partitions: BTreeMap<Slot, Partition>,
    pub runtime: Option<Runtime>,
    /// The most partitions that were delivering at once.
    pub most_delivering: usize,
    /// The sink's counters.
    pub metrics: SinkMetrics,
    signal: Signal,
    group: &'static str,
    epochs: u64,
}

impl Feeder {
    pub fn new(settings: HdfsSettings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let metrics = SinkMetrics::detached();
        let connector = HdfsConnector::new(
            settings,
            "hdfs".into(),
            1,
            256 << 20,
            metrics.clone(),
            runtime.handle().clone(),
        )
        .unwrap();
        let signal: Signal = Arc::default();
        let waker = Arc::clone(&signal);
        let sink = connector.worker(
            0,
            Waker::new(move || {
                *waker.0.lock().unwrap() = true;
                waker.1.notify_all();
            }),
        );
        Feeder {
            connector,
            sink: Some(sink),
            partitions: BTreeMap::new(),
            runtime: Some(runtime),
            most_delivering: 0,
            metrics,
            signal,
            group: "group",
            epochs: 0,
        }
    }

    pub fn sink(&mut self) -> &mut dyn Sink {
        &mut **self.sink.as_mut().unwrap()
    }

    /// Takes over a partition with these records.
    pub fn add(&mut self, topic: &str, partition: i32, rows: Vec<Row>) -> Slot {
        let slot = Slot(self.partitions.len());
        self.partitions.insert(
            slot,
            Partition {
                name: TopicPartition::new(topic, partition),
                rows,
                epoch: Epoch(0),
                is_open: false,
                is_delivering: false,
                is_drained: false,
                next: 0,
                acked: -1,
                turns: 0,
                rewinds: Vec::new(),
                fenced: None,
                stopped: None,
                refused: Vec::new(),
                reopens: true,
            },
        );
        self.open(slot);
        slot
    }

    pub fn open(&mut self, slot: Slot) {
        self.epochs += 1;
        let (epoch, group) = (Epoch(self.epochs), self.group);
        let partition = self.partitions.get_mut(&slot).unwrap();
        partition.epoch = epoch;
        partition.is_open = false;
        partition.is_delivering = false;
        partition.is_drained = false;
        let assignment = Assignment {
            slot,
            partition: partition.name.clone(),
            epoch,
            cluster_id: "cluster".into(),
            topic_id: "topic-id".into(),
            num_partitions: 20,
            group: group.into(),
            committed: (partition.acked >= 0).then_some(partition.acked),
            start: Ok(partition.acked.max(0)),
            log_start: 0,
            log_end: partition.log_end(),
            replays: None,
        };
        self.sink().open(assignment);
    }

    pub fn partition(&self, slot: Slot) -> &Partition {
        &self.partitions[&slot]
    }

    /// Feeds until `done` says so; panics with the state of things if it never does.
    pub fn run_until(&mut self, what: &str, done: impl Fn(&Feeder) -> bool) {
        let deadline = Instant::now() + LONG;
        while !done(self) {
            self.turn();
            assert!(
                Instant::now() < deadline,
                "waited for: {what}\nhealth: {:?}\npartitions: {:#?}",
                self.connector.health(),
                self.partitions
                    .values()
                    .map(|p| (
                        &p.name,
                        p.next,
                        p.acked,
                        p.is_open,
                        p.is_delivering,
                        &p.rewinds
                    ))
                    .collect::<Vec<_>>()
            );
        }
    }

    /// One turn of the loop.
    pub fn turn(&mut self) {
        let mut answers = Vec::new();
        let due = self.sink().poll(Instant::now(), &mut answers);
        // What was answered before an epoch was closed is dropped by its epoch, as the pipeline does.
        let epoch_of = |feeder: &Feeder, slot: &Slot| feeder.partitions[slot].epoch;
        let slots = self.partitions.keys();
        let polled: BTreeMap<_, _> = slots.map(|slot| (*slot, epoch_of(self, slot))).collect();
        for answer in answers {
            let (slot, epoch) = answer.about();
            let is_over = epoch == polled[&slot] && epoch != epoch_of(self, &slot);
            if !is_over {
                self.hear(answer);
            }
        }
        let delivering = self.partitions.values().filter(|p| p.is_delivering).count();
        self.most_delivering = self.most_delivering.max(delivering);
        let slots: Vec<Slot> = self.partitions.keys().copied().collect();
        let mut took = false;
        for slot in slots {
            let end = self.partition(slot).log_end();
            self.sink().observe_log_end(slot, end);
            took |= self.deliver(slot);
        }
        if !took {
            let until = due.map_or(Duration::MAX, |due| {
                due.saturating_duration_since(Instant::now())
            });
            let (lock, wakes) = &*self.signal;
            let woken = lock.lock().unwrap();
            let wait = until.min(Duration::from_millis(10));
            let (mut woken, _) = wakes.wait_timeout_while(woken, wait, |w| !*w).unwrap();
            *woken = false;
        }
    }

    fn deliver(&mut self, slot: Slot) -> bool {
        let partition = self.partitions.get_mut(&slot).unwrap();
        let sink = self.sink.as_mut().unwrap();
        if !partition.is_delivering || !sink.has_room() {
            return false;
        }
        let from = partition
            .rows
            .partition_point(|row| row.offset < partition.next);
        let batch = &partition.rows[from..(from + 500).min(partition.rows.len())];
        for row in batch {
            let record = Record {
                slot,
                offset: row.offset,
                leader_epoch: 3,
                timestamp_ms: row.timestamp_ms,
                key: None,
                value: row.value.as_deref(),
                origin: None,
            };
            if sink.append(&record).is_err() {
                partition.refused.push(row.offset);
            }
            partition.next = row.offset + 1;
        }
        !batch.is_empty()
    }

    fn hear(&mut self, answer: Answer) {
        let (slot, epoch) = answer.about();
        let partition = self.partitions.get_mut(&slot).unwrap();
        assert_eq!(partition.epoch, epoch, "an answer of a dead epoch");
        match answer {
            Answer::Opened {
                resume, reading, ..
            } => {
                assert!(!partition.is_open, "opened twice");
                assert!(resume >= partition.acked, "went back behind its acks");
                partition.is_open = true;
                partition.next = resume;
                partition.acked = resume;
                partition.is_delivering = reading;
            }
            Answer::Acked { range, .. } => {
                assert_eq!(range.first, partition.acked, "contiguous");
                partition.acked = range.end;
            }
            Answer::Pause { .. } => {
                assert!(partition.is_delivering, "paused twice");
                partition.is_delivering = false;
            }
            Answer::Resume { .. } => {
                assert!(!partition.is_delivering, "resumed twice");
                partition.is_delivering = true;
                partition.turns += 1;
            }
            Answer::Rewind { why, .. } => {
                partition.rewinds.push(why);
                partition.is_delivering = false;
                if partition.reopens {
                    self.sink().close(slot, epoch);
                    self.open(slot);
                }
            }
            Answer::Stopped { why, .. } => {
                partition.is_delivering = false;
                partition.stopped = Some(why);
            }
            Answer::Fenced { why, .. } => {
                partition.is_delivering = false;
                partition.fenced = Some(why);
            }
            Answer::Drained { .. } => {
                assert!(!partition.is_drained, "drained twice");
                partition.is_delivering = false;
                partition.is_drained = true;
            }
            Answer::Refused { .. } => panic!("HDFS refuses no single record"),
        }
    }

    /// Takes everything there is of a partition.
    pub fn run_until_taken(&mut self, slot: Slot) {
        self.run_until("everything to be taken", |feeder| {
            let partition = feeder.partition(slot);
            partition.is_open && partition.next >= partition.log_end()
        });
    }

    pub fn run_until_acked(&mut self, slot: Slot, offset: i64) {
        self.run_until("an ack", |feeder| feeder.partition(slot).acked >= offset);
    }

    /// Drains until everything is acked, however often it is rewound in between.
    pub fn finish(&mut self, slot: Slot) {
        loop {
            self.run_until_taken(slot);
            let epoch = self.partition(slot).epoch;
            let is_rewound = |feeder: &Feeder| feeder.partition(slot).epoch != epoch;
            self.partitions.get_mut(&slot).unwrap().is_delivering = false;
            self.sink().drain(slot, epoch);
            self.run_until("a drain", |feeder| {
                feeder.partition(slot).is_drained || is_rewound(feeder)
            });
            if !is_rewound(self) {
                break;
            }
        }
        assert_eq!(self.partition(slot).acked, self.partition(slot).log_end());
    }

    /// As if the process had been killed.
    pub fn crash(mut self) {
        // The runtime first: nothing gets the chance to clean up.
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.sink = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
