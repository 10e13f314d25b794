//! A server for all tests, and a sink that is driven as the pipeline drives it.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outflow::config::settings::ElasticsearchSettings;
use outflow::metrics::SinkMetrics;
use outflow::offsets::{Epoch, TopicPartition};
use outflow::sinks::elasticsearch::ElasticsearchConnector;
use outflow::sinks::{Answer, Assignment, Connector, Record, Rejection, Sink, Slot, Waker};
use outflow::status::{CircuitState, SinkHealth};
use testbed::{Documents, Elasticsearch, ElasticsearchOptions};
use tokio::runtime::Runtime;

/// Long enough for a machine under load, short enough for a person.
const PATIENCE: Duration = Duration::from_secs(90);

/// The server, for one test alone. It is well again when the guard goes.
pub struct Server {
    es: &'static Elasticsearch,
    _alone: MutexGuard<'static, ()>,
}

impl Server {
    /// Waits for this test's turn.
    pub fn take() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        static SERVER: OnceLock<Elasticsearch> = OnceLock::new();
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let options = ElasticsearchOptions {
            settings: vec![("http.max_content_length".into(), "512kb".into())],
            ..ElasticsearchOptions::default()
        };
        let es = SERVER.get_or_init(|| Elasticsearch::start(&options).expect("Elasticsearch"));
        Server { es, _alone: alone }
    }

    pub fn documents(&self) -> Documents {
        Documents::new(self.es.http())
    }
}

impl std::ops::Deref for Server {
    type Target = Elasticsearch;

    fn deref(&self) -> &Elasticsearch {
        self.es
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.es.node().heal();
        let clean = serde_json::json!({"persistent":
            {"action.auto_create_index": null, "cluster.max_shards_per_node": null}});
        let _ = self.es.http().put_json("/_cluster/settings", &clean);
    }
}

/// Settings for `url`; tests change what they are about.
pub fn settings(url: &str, index: &str) -> ElasticsearchSettings {
    ElasticsearchSettings {
        urls: vec![url.parse().unwrap()],
        index: index.into(),
        // What isn't answered is missed while a test still waits for it.
        request_timeout: Duration::from_secs(20),
        ..super::configured::settings()
    }
}

/// One worker's half of the sink, and all that it answered.
pub struct Driver {
    pub sink: Box<dyn Sink>,
    pub connector: ElasticsearchConnector,
    pub answers: Vec<Answer>,
    pub metrics: SinkMetrics,
    starts: BTreeMap<(Slot, Epoch), i64>,
    woken: Receiver<()>,
    _runtime: Runtime,
}

impl Driver {
    pub fn new(settings: ElasticsearchSettings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let metrics = SinkMetrics::detached();
        let (handle, memory) = (runtime.handle().clone(), 64 << 20);
        let name = "es".into();
        let connector =
            ElasticsearchConnector::new(settings, name, 1, memory, metrics.clone(), handle)
                .unwrap();
        let (wake, woken) = channel();
        let sink = connector.worker(0, Waker::new(move || wake.send(()).unwrap_or(())));
        Driver {
            sink,
            connector,
            answers: Vec::new(),
            metrics,
            starts: BTreeMap::new(),
            woken,
            _runtime: runtime,
        }
    }

    /// Opens partition `slot` of `topic` at offset `start`, in the epoch of that number.
    pub fn open(&mut self, slot: usize, topic: &str, epoch: u64, start: i64) {
        let (slot, epoch) = (Slot(slot), Epoch(epoch));
        self.starts.insert((slot, epoch), start);
        self.sink.open(Assignment {
            slot,
            partition: TopicPartition::new(topic, i32::try_from(slot.0).unwrap()),
            epoch,
            cluster_id: "cluster".into(),
            topic_id: "topic-id".into(),
            num_partitions: 4,
            group: "group".into(),
            committed: None,
            start: Ok(start),
            log_start: 0,
            log_end: i64::MAX,
            replays: None,
        });
        let opened = Answer::Opened {
            slot,
            epoch,
            resume: start,
            reading: true,
        };
        self.until("opened", |d| d.answers.contains(&opened));
    }

    pub fn append(
        &mut self,
        slot: usize,
        offset: i64,
        key: Option<&str>,
        value: Option<&str>,
    ) -> Result<(), Rejection> {
        let deadline = Instant::now() + PATIENCE;
        while !self.sink.has_room() {
            assert!(Instant::now() < deadline, "no room: {:?}", self.health());
            self.poll(deadline);
        }
        self.sink.append(&Record {
            slot: Slot(slot),
            offset,
            leader_epoch: 0,
            timestamp_ms: Some(unix_ms()),
            key: key.map(str::as_bytes),
            value: value.map(str::as_bytes),
            origin: None,
        })
    }

    /// Appends `{"n":<offset>}` for every offset.
    pub fn append_all(&mut self, slot: usize, offsets: std::ops::Range<i64>) {
        for n in offsets {
            self.append(slot, n, None, Some(&document(n))).unwrap();
        }
    }

    /// Whether a partition was told to wait for trouble whose words have this in them.
    pub fn waits_for(&self, slot: usize, words: &str) -> bool {
        self.answers.iter().any(|answer| match answer {
            Answer::Pause {
                slot: Slot(at),
                why: Some(why),
                ..
            } => *at == slot && why.what.contains(words),
            _ => false,
        })
    }

    /// How many requests may be in flight.
    pub fn concurrency(&self) -> usize {
        let details = self.health().details.into_iter();
        let mut found = details.filter(|(name, _)| name == "worker_0_concurrency");
        found.next().unwrap().1.parse().unwrap()
    }

    /// Drives the sink until `done`.
    pub fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if done(self) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain until {what}: {:?}; health {:?}",
                self.answers.iter().rev().take(5).collect::<Vec<_>>(),
                self.health()
            );
            self.poll(deadline);
        }
    }

    /// Drives the sink until everything below `end` is acked.
    pub fn until_acked(&mut self, slot: usize, epoch: u64, end: i64) {
        let what = format!("slot {slot} is acked up to {end}");
        self.until(&what, |d| d.acked(slot, epoch) == end);
    }

    fn poll(&mut self, deadline: Instant) {
        let next = self.sink.poll(Instant::now(), &mut self.answers);
        // A sink that forgets to wake its worker would hang here.
        let until = next.unwrap_or(deadline).min(deadline);
        let wait = until.saturating_duration_since(Instant::now());
        let wait = wait.min(Duration::from_millis(200));
        if self.woken.recv_timeout(wait).is_ok() {
            while self.woken.try_recv().is_ok() {}
        }
        self.sink.poll(Instant::now(), &mut self.answers);
    }

    /// The frontier of a partition's acks; also checks that they are disjoint.
    pub fn acked(&self, slot: usize, epoch: u64) -> i64 {
        let (slot, epoch) = (Slot(slot), Epoch(epoch));
        let mut ranges: Vec<_> = self
            .answers
            .iter()
            .filter_map(|answer| match answer {
                Answer::Acked {
                    slot: s,
                    epoch: e,
                    range,
                } if (*s, *e) == (slot, epoch) => Some(*range),
                _ => None,
            })
            .collect();
        ranges.sort();
        let mut frontier = self.starts[&(slot, epoch)];
        for range in ranges {
            assert!(range.first >= frontier, "{range} was acked before");
            if range.first == frontier {
                frontier = range.end;
            }
        }
        frontier
    }

    /// What was refused by the server: offsets and why.
    pub fn refused(&self) -> Vec<(i64, Rejection)> {
        let refused = self.answers.iter().filter_map(|answer| match answer {
            Answer::Refused {
                offset, rejection, ..
            } => Some((*offset, rejection.clone())),
            _ => None,
        });
        refused.collect()
    }

    pub fn health(&self) -> SinkHealth {
        self.connector.health()
    }

    pub fn until_circuit(&mut self, state: CircuitState) {
        self.until(&format!("the circuit is {state:?}"), |d| {
            d.health().circuit == state
        });
    }

    pub fn retries(&self, reason: &str) -> u64 {
        let reason = SinkMetrics::reason(reason);
        self.metrics.retries.get_or_create(&reason).get()
    }
}

pub fn document(n: i64) -> String {
    format!("{{\"n\":{n}}}")
}

/// An index name that no other test has.
pub fn fresh(name: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{name}-{count}")
}

/// The offsets `0..n` stand in `index`, each once, with its id and content.
pub fn assert_holds(documents: &Documents, index: &str, slot: usize, n: i64) {
    let mut found: Vec<i64> = documents
        .all(index)
        .unwrap()
        .iter()
        .filter(|d| d.id.contains(&format!("+{slot}+")))
        .map(|d| {
            let n = d.source["n"].as_i64().unwrap();
            assert!(d.id.ends_with(&format!("+{slot}+{n}")), "{} has {n}", d.id);
            n
        })
        .collect();
    found.sort_unstable();
    let expected: Vec<i64> = (0..n).collect();
    assert!(found == expected, "{} of {n} documents", found.len());
}

pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
