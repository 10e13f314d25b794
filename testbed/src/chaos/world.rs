//! Everything of one run: servers, what stands in front of them, topic, index and folder, processes and load.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::elasticsearch::Elasticsearch;
use crate::error::{Context, Error, Result};
use crate::guard::{TestDir, wait_until};
use crate::hdfs::Hdfs;
use crate::http_proxy::HttpProxy;
use crate::kafka::Kafka;
use crate::ledger::Ledger;
use crate::ports::free_port;
use crate::process::Outflow;
use crate::produce::{Generator, Load, Outgoing, Producer};
use crate::tcp_proxy::{Protocol, TcpProxy};

use super::case::{Proxy, Setup, Sink};
use super::claims::Claims;
use super::config::{self, Places};
pub use super::servers::Server;
use super::servers::{index, kafka_proxies, servers};
use super::watch::Watch;

/// How long anything that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// One run.
pub struct World {
    /// What was asked for.
    pub setup: Setup,
    /// The brokers. Faults act on them, the load and the watch talk to them directly.
    pub kafka: Server<Kafka>,
    /// Elasticsearch.
    pub elasticsearch: Server<Elasticsearch>,
    /// HDFS.
    pub hdfs: Server<Hdfs>,
    /// Between outflow and Elasticsearch, if asked for.
    pub http_proxy: Option<HttpProxy>,
    /// Between outflow and Elasticsearch, if asked for (behind the HTTP proxy if there are both).
    pub elasticsearch_proxy: Option<TcpProxy>,
    /// Between outflow and each broker, if asked for.
    pub kafka_proxies: Vec<TcpProxy>,
    /// Between outflow and the NameNode, if asked for.
    pub namenode_proxy: Option<TcpProxy>,
    /// The topic; Elasticsearch's index has its name, too.
    pub topic: String,
    /// HDFS' base folder.
    pub base: String,
    /// Committed offsets and memory.
    pub watch: Watch,
    /// What faults say about the ledger.
    pub claims: Claims,
    /// For whatever in this run is random.
    pub seed: u64,
    /// The whole of what a fault can do, or as much as proof needs.
    pub in_full: bool,
    binary: PathBuf,
    processes: Mutex<Vec<Arc<Outflow>>>,
    logs: Mutex<Vec<PathBuf>>,
    started: AtomicU32,
    load: Mutex<Option<Load>>,
    dir: TestDir,
}

impl World {
    /// Servers and proxies up, topic and index made; nothing runs yet. `binary` is outflow.
    pub fn new(name: &str, setup: &Setup, binary: &Path, seed: u64) -> Result<Self> {
        let (kafka, elasticsearch, hdfs) = servers(setup)?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since_1970.map_or(0, |since| since.as_millis());
        let topic = format!("{}-{millis}", name.to_lowercase());
        let client = kafka.client();
        let at_first = setup.partitions - setup.partitions_later;
        client.create_topic(&topic, at_first, setup.topic)?;
        for sink in setup.sinks {
            client.create_topic(&config::dead_letters(&topic, *sink), 1, setup.topic)?;
        }
        elasticsearch
            .documents()
            .create_index(&topic, &index(setup.nodes > 1))?;
        let has = |proxy: Proxy| setup.proxies.contains(&proxy);
        let port = elasticsearch.port();
        let elasticsearch_proxy = has(Proxy::Elasticsearch)
            .then(|| TcpProxy::start(&format!("127.0.0.1:{port}"), seed))
            .transpose()?;
        let http_proxy = has(Proxy::Http)
            .then(|| match &elasticsearch_proxy {
                Some(proxy) => HttpProxy::start(&format!("http://{}", proxy.address())),
                None => HttpProxy::start(elasticsearch.url()),
            })
            .transpose()?;
        let namenode_proxy = has(Proxy::NameNode)
            .then(|| {
                let listen = format!("127.0.0.1:{}", free_port()?);
                TcpProxy::start_for(Protocol::Hadoop, &listen, &hdfs.rpc_address(), seed)
            })
            .transpose()?;
        let kafka_proxies = match has(Proxy::Kafka) {
            true => kafka_proxies(&kafka, seed)?,
            false => Vec::new(),
        };
        let partitions = i32::try_from(setup.partitions).context("too many partitions")?;
        let watch = Watch::start(&kafka.bootstrap(), &topic, partitions, setup.sinks)?;
        Ok(Self {
            setup: *setup,
            base: format!("/{topic}"),
            kafka,
            elasticsearch,
            hdfs,
            http_proxy,
            elasticsearch_proxy,
            kafka_proxies,
            namenode_proxy,
            topic,
            watch,
            claims: Claims::default(),
            seed,
            in_full: true,
            binary: binary.to_owned(),
            processes: Mutex::new(Vec::new()),
            logs: Mutex::new(Vec::new()),
            started: AtomicU32::new(0),
            load: Mutex::new(None),
            dir: TestDir::new(&name.to_lowercase())?,
        })
    }

    /// Where this run's configurations, logs and state are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The HTTP proxy; an error if the set-up has none.
    pub fn http_proxy(&self) -> Result<&HttpProxy> {
        proxy(self.http_proxy.as_ref(), "an HTTP proxy")
    }

    /// The TCP proxy in front of Elasticsearch; an error if the set-up has none.
    pub fn elasticsearch_proxy(&self) -> Result<&TcpProxy> {
        proxy(
            self.elasticsearch_proxy.as_ref(),
            "a proxy before Elasticsearch",
        )
    }

    /// The TCP proxy in front of the NameNode; an error if the set-up has none.
    pub fn namenode_proxy(&self) -> Result<&TcpProxy> {
        proxy(self.namenode_proxy.as_ref(), "a proxy before the NameNode")
    }

    /// Starts an instance of outflow. It belongs to this run from now on; the first is the one that the suite
    /// kills and restarts at the end.
    pub fn start(&self) -> Result<Arc<Outflow>> {
        self.start_with(&[], &[])
    }

    /// The same with a command before it (such as `prlimit --nofile=64`) and variables of its own.
    pub fn start_with(&self, before: &[&str], env: &[(&str, &str)]) -> Result<Arc<Outflow>> {
        let mut args = vec!["run".to_owned()];
        for sink in self.setup.sinks {
            let path = config::write(self.dir(), &self.setup, &self.places(), *sink)?;
            args.extend(["--config".to_owned(), path.display().to_string()]);
        }
        let binary = self.binary.display().to_string();
        let command = before.iter().map(|word| (*word).to_owned());
        let command = command.chain([binary]).chain(args).collect::<Vec<_>>();
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.dir().join(format!("outflow-{number}.log"));
        let admin = format!("127.0.0.1:{}", free_port()?);
        let mut all = vec![("OUTFLOW_ADMIN__LISTEN", admin.as_str())];
        all.extend(config::variables(&self.setup));
        let dir = self.dir().display().to_string();
        let own = self.setup.variables.iter();
        let own: Vec<_> = own
            .map(|(name, value)| (*name, value.replace("{dir}", &dir)))
            .collect();
        all.extend(own.iter().map(|(name, value)| (*name, value.as_str())));
        all.extend(env);
        let outflow = Outflow::spawn(words[0], &words[1..], &all, &log)?.with_admin(&admin);
        let outflow = Arc::new(outflow);
        self.watch.add_process(outflow.pid());
        lock(&self.logs).push(log);
        lock(&self.processes).push(Arc::clone(&outflow));
        Ok(outflow)
    }

    /// The first instance that runs (or ran last).
    pub fn outflow(&self) -> Result<Arc<Outflow>> {
        let processes = lock(&self.processes);
        let first = processes.first().cloned();
        first.ok_or_else(|| Error::new("outflow isn't started yet"))
    }

    /// kill -9 of the first instance, which doesn't belong to this run any more.
    pub fn kill(&self) -> Result<()> {
        let outflow = self.outflow()?;
        if outflow.exit_code().is_none() {
            outflow.kill()?;
        }
        self.forget(&outflow);
        Ok(())
    }

    /// This instance has ended and doesn't belong to this run any more.
    pub fn forget(&self, outflow: &Arc<Outflow>) {
        lock(&self.processes).retain(|other| !Arc::ptr_eq(other, outflow));
    }

    /// All instances that belong to this run.
    pub fn instances(&self) -> Vec<Arc<Outflow>> {
        lock(&self.processes).clone()
    }

    /// Whether all three servers run and aren't frozen: else nobody can be asked what stands where.
    pub fn servers_answer(&self) -> bool {
        let nodes = self.kafka.nodes().iter().chain(self.hdfs.nodes());
        let mut nodes = nodes.chain(self.elasticsearch.nodes());
        nodes.all(|node| node.pid().is_some_and(|pid| !is_frozen(pid)))
    }

    /// Everything that any instance has said.
    pub fn logs(&self) -> String {
        let logs = lock(&self.logs);
        let texts = logs
            .iter()
            .map(|log| std::fs::read(log).unwrap_or_default());
        texts
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect()
    }

    /// Begins to produce.
    pub fn start_load(&self) -> Result<()> {
        self.start_load_by(Producer::new(&self.kafka.bootstrap())?)
    }

    /// The same without a ledger: acknowledgements are counted.
    pub fn start_counting_load(&self) -> Result<()> {
        self.start_load_by(Producer::counting(&self.kafka.bootstrap())?)
    }

    fn start_load_by(&self, producer: Producer) -> Result<()> {
        let (from, to) = self.setup.padding;
        let generator = Generator::new(&self.topic, self.seed).keys(50);
        let mut generator = generator.padding(from..to);
        let next = move || generator.record();
        let load = Load::start_by(producer, &self.topic, self.setup.rate, next)?;
        *lock(&self.load) = Some(load);
        Ok(())
    }

    /// Produces one more, beside the steady ones; it is in the ledger, too.
    pub fn send(&self, record: &Outgoing) -> Result<()> {
        match lock(&self.load).as_ref() {
            Some(load) => load.send(&self.topic, record),
            None => Err(Error::new("nothing is produced")),
        }
    }

    /// How many records the broker has acknowledged.
    pub fn num_produced(&self) -> i64 {
        let load = lock(&self.load);
        let num = load.as_ref().map_or(0, Load::num_acked);
        i64::try_from(num).unwrap_or(i64::MAX)
    }

    /// What the broker has acknowledged so far.
    pub fn ledger(&self) -> Ledger {
        let load = lock(&self.load);
        let ledger = load.as_ref().map(Load::ledger).unwrap_or_default();
        self.claims.complete(ledger)
    }

    /// Ends producing, and waits for the last acknowledgements.
    pub fn stop_load(&self) -> Result<Ledger> {
        match lock(&self.load).take() {
            Some(load) => load.stop().map(|ledger| self.claims.complete(ledger)),
            None => Err(Error::new("nothing is produced")),
        }
    }

    /// Waits until a sink's group has committed at least this many records in all.
    pub fn wait_committed(&self, sink: Sink, at_least: i64) -> Result<()> {
        let what = format!("{} has committed {at_least} records", sink.name());
        let waited = wait_until(&what, PATIENCE, || match self.watch.committed(sink) {
            committed if committed >= at_least => Ok(()),
            committed => Err(format!("{committed} of {} produced", self.num_produced())),
        });
        waited.map_err(|error| self.explain(error))
    }

    /// Waits until a sink's group has committed everything that is in the topic.
    pub fn wait_caught_up(&self, sink: Sink) -> Result<()> {
        let client = self.kafka.client();
        let waited =
            client.wait_for_no_lag(&config::group(&self.topic, sink), &self.topic, PATIENCE);
        waited.map_err(|error| self.explain(error))
    }

    /// An error with what outflow says of itself.
    pub fn explain(&self, error: Error) -> Error {
        let mut text = error.to_string();
        for outflow in self.instances() {
            let status = outflow.status();
            let status =
                status.map_or_else(|error| error.to_string(), |status| format!("{status:#}"));
            let log = outflow.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            text = format!("{text}\n{status}\n{tail}");
        }
        Error::new(text)
    }

    fn places(&self) -> Places<'_> {
        let tcp = self.elasticsearch_proxy.as_ref();
        let scheme = if self.setup.secure { "https" } else { "http" };
        let through = |proxy: &TcpProxy| format!("{scheme}://{}", proxy.address());
        let elasticsearch = match &self.http_proxy {
            Some(proxy) => vec![proxy.url()],
            None => tcp.map_or_else(|| self.elasticsearch.urls(), |proxy| vec![through(proxy)]),
        };
        let bootstrap = match self.kafka_proxies.is_empty() {
            true => self.kafka.bootstrap(),
            false => {
                let addresses: Vec<_> = self.kafka_proxies.iter().map(TcpProxy::address).collect();
                addresses.join(",")
            }
        };
        let namenode = self.namenode_proxy.as_ref();
        let by_proxy = |proxy: &TcpProxy| format!("hdfs://{}", proxy.address());
        Places {
            bootstrap,
            elasticsearch,
            ca_file: self.elasticsearch.ca_file().map(Path::to_owned),
            hdfs_url: namenode.map_or_else(|| self.hdfs.url(), by_proxy),
            hdfs: &self.hdfs,
            topic: &self.topic,
        }
    }
}

fn is_frozen(pid: u32) -> bool {
    let state = crate::proc::state(pid);
    state.is_none_or(|state| matches!(state, 'T' | 't' | 'X' | 'Z'))
}

fn proxy<'a, T>(proxy: Option<&'a T>, what: &str) -> Result<&'a T> {
    proxy.ok_or_else(|| Error::new(format!("the case's set-up must ask for {what}")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
