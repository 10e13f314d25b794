//! A process as the admin server sees it, which shows what it is told to show.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use outflow::admin::{Observed, Server};
use outflow::clock::unix_ms;
use outflow::config::settings::AdminSettings;
use outflow::error::Error;
use outflow::journal::Journal;
use outflow::lag::group_records::CommittedOffset;
use outflow::lag::{Keep, LogEnd, Rules, Sighting, Store};
use outflow::monitor::{About, Clusters, Watched, judge, words};
use outflow::offsets::TopicPartition;
use outflow::status::{
    CircuitState, PartitionState, PartitionStatus, SinkHealth, SinkStatus, Totals, WorkerStatus,
};
use prometheus_client::registry::Registry;
use secrecy::SecretString;

/// For groups time stands still, so that what was committed just now stays so.
pub fn moment() -> i64 {
    static MOMENT: OnceLock<i64> = OnceLock::new();
    *MOMENT.get_or_init(unix_ms)
}

/// What a process shows.
pub struct Fake {
    sinks: Mutex<Vec<SinkStatus>>,
    clusters: Clusters,
    journal: Arc<Journal>,
    is_monitor: bool,
    /// What was released, and what is said to the next who asks.
    pub released: Mutex<Vec<String>>,
    pub refusal: Mutex<Option<Error>>,
}

impl Fake {
    pub fn new(sinks: Vec<SinkStatus>, store: Option<Store>) -> Arc<Self> {
        let is_monitor = sinks.is_empty();
        let about = About {
            name: "local".into(),
            ..About::default()
        };
        let watched = |store| Arc::new(Watched::new(about, Rules::default(), store, moment));
        let clusters: Clusters = store.map(watched).into_iter().collect();
        clusters.iter().for_each(|watched| watched.set_ready());
        Arc::new(Fake {
            sinks: Mutex::new(sinks),
            clusters,
            journal: Arc::default(),
            is_monitor,
            released: Mutex::default(),
            refusal: Mutex::default(),
        })
    }

    /// Changes the first sink.
    pub fn change(&self, how: impl FnOnce(&mut SinkStatus)) {
        how(&mut self.sinks.lock().unwrap()[0]);
    }
}

impl Observed for Fake {
    fn sinks(&self) -> Vec<SinkStatus> {
        let mut sinks = self.sinks.lock().unwrap().clone();
        for sink in &mut sinks {
            let (Some(watched), Some(group)) = (self.clusters.first(), &sink.group) else {
                continue;
            };
            let (store, now_ms) = (watched.store(), watched.now_ms());
            if let Some(judged) = judge(&store, group, now_ms, &watched.rules_of(group)) {
                sink.verdict = Some(words::of_group(&judged, now_ms));
            }
        }
        sinks
    }

    fn release(&self, sink: &str, partition: &TopicPartition) -> Result<(), Error> {
        if let Some(refusal) = self.refusal.lock().unwrap().take() {
            return Err(refusal);
        }
        let asked = format!("{sink}: {partition}");
        self.released.lock().unwrap().push(asked);
        self.change(|sink| {
            sink.state = "running".into();
            for status in sink.workers.iter_mut().flat_map(|w| &mut w.partitions) {
                if *status.topic == *partition.topic && status.partition == partition.partition {
                    status.state = PartitionState::Running;
                    status.reason = None;
                }
            }
        });
        Ok(())
    }

    fn set_paused(&self, sink: &str, paused: bool) -> Result<(), Error> {
        if let Some(refusal) = self.refusal.lock().unwrap().take() {
            return Err(refusal);
        }
        assert_eq!(sink, "elasticsearch");
        self.change(|sink| {
            sink.paused = paused;
            sink.state = if paused { "paused" } else { "running" }.into();
        });
        Ok(())
    }

    fn clusters(&self) -> Clusters {
        self.clusters.clone()
    }

    fn journal(&self) -> Arc<Journal> {
        self.journal.clone()
    }

    fn is_monitor(&self) -> bool {
        self.is_monitor
    }
}

pub fn partition(topic: &str, number: i32) -> PartitionStatus {
    PartitionStatus {
        topic: topic.into(),
        partition: number,
        epoch: 1,
        state: PartitionState::Running,
        next: Some(1_000),
        acked: Some(990),
        committed: Some(990),
        log_end: Some(1_000),
        lag: Some(10),
        num_commits: 1,
        ..PartitionStatus::default()
    }
}

/// A sink that works, with as many partitions.
pub fn sink(name: &str, kind: &'static str, num_partitions: i32) -> SinkStatus {
    let worker = WorkerStatus {
        state: "running".into(),
        partitions: (0..num_partitions)
            .map(|n| partition("events", n))
            .collect(),
        beat_ms: Some(unix_ms()),
        last_commit_ms: Some(unix_ms()),
        rebalances: 1,
        ..WorkerStatus::default()
    };
    SinkStatus {
        paused: false,
        name: name.into(),
        kind,
        group: Some(format!("outflow-{name}")),
        state: "running".into(),
        reason: None,
        health: SinkHealth {
            since_ms: unix_ms(),
            ..SinkHealth::default()
        },
        workers: vec![worker],
        lag: Some(i64::from(num_partitions) * 10),
        totals: Totals::default(),
        verdict: None,
    }
}

/// Its server is away.
pub fn go_away(sink: &mut SinkStatus, reason: &str) {
    sink.state = "waiting".into();
    sink.reason = Some(reason.into());
    sink.lag = Some(5_233);
    sink.health = SinkHealth {
        circuit: CircuitState::Open,
        since_ms: unix_ms(),
        reason: Some(reason.into()),
        last_error: Some(reason.into()),
        last_error_ms: Some(unix_ms()),
        ..SinkHealth::default()
    };
}

pub fn come_back(sink: &mut SinkStatus, lag: i64) {
    sink.state = "running".into();
    sink.reason = None;
    sink.lag = Some(lag);
    sink.health.circuit = CircuitState::Closed;
    sink.health.reason = None;
}

pub fn quarantine(sink: &mut SinkStatus, number: usize, reason: &str) {
    sink.state = "stuck".into();
    let partition = &mut sink.workers[0].partitions[number];
    partition.state = PartitionState::Quarantined;
    partition.reason = Some(reason.into());
}

/// A store whose topic has so many partitions.
pub fn store(topic: &str, num_partitions: usize) -> Store {
    let mut store = Store::new(Keep::default());
    store.set_topics(&[Sighting {
        name: topic,
        id: None,
        num_partitions,
    }]);
    store
}

/// Ten commits, a second apart, the last just now, of which the offset and the log's end are told by their number.
pub fn commits(
    store: &mut Store,
    group: &str,
    (topic, partition): (&str, i32),
    of: impl Fn(i64) -> (i64, i64),
) {
    let now_ms = moment();
    for n in 0..10 {
        let timestamp_ms = now_ms - (9 - n) * 1_000;
        let (offset, end) = of(n);
        let end = LogEnd {
            offset: end,
            at_ms: timestamp_ms,
        };
        store.take_log_end(topic, partition, end);
        let value = CommittedOffset {
            offset,
            timestamp_ms,
        };
        store.take_commit(group, topic, partition, value, n + 1, timestamp_ms);
    }
}

/// A served fake, and the runtime that serves it.
pub struct Served {
    pub fake: Arc<Fake>,
    pub address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Served {
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

/// Serves on this port of loopback; 0 is any.
pub fn serve(fake: &Arc<Fake>, port: u16) -> Served {
    serve_with(
        fake,
        &AdminSettings {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], port))),
            token: None,
            allow_unauthenticated: false,
        },
    )
}

/// Serves beyond loopback, for whoever has the token.
pub fn serve_for(fake: &Arc<Fake>, token: &str) -> Served {
    serve_with(
        fake,
        &AdminSettings {
            listen: Some(SocketAddr::from(([0, 0, 0, 0], 0))),
            token: Some(SecretString::from(token)),
            allow_unauthenticated: false,
        },
    )
}

fn serve_with(fake: &Arc<Fake>, settings: &AdminSettings) -> Served {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let bound = runtime.block_on(Server::bind(settings, fake.clone(), Registry::default()));
    let server = bound.unwrap().expect("it is on");
    let port = server.address().unwrap().port();
    runtime.spawn(server.serve());
    Served {
        fake: fake.clone(),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        _runtime: runtime,
    }
}
