//! Kafka: one or more brokers in KRaft mode, each a process of its own. Of one or two, broker 1 is the controller
//! too; of three or more, the first three are, so that any of them may die.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::artifacts::Artifacts;
use crate::error::{Context, Error, Result};
use crate::guard::{Guarded, Spec, TestDir, log_tail};
use crate::kafka_client::KafkaClient;
use crate::kafka_security;
use crate::node::{Node, ReadyCheck};
use crate::ports::free_port;
use crate::tool;

/// A cluster id of the right form; it only has to be the same for all brokers.
const CLUSTER_ID: &str = "b3V0Zmxvdy10ZXN0YmVkLQ";

/// How to start Kafka.
#[derive(Clone, Debug, Default)]
pub struct KafkaOptions {
    /// Number of brokers; 0 means 1.
    pub num_brokers: usize,
    /// First of a run of ports (4 a broker); free ones by default.
    pub ports_base: Option<u16>,
    /// Asks for a user and a password (SCRAM-SHA-256) on the listener that is behind proxies, and lets ACLs deny what
    /// they like to that user.
    pub scram_user: Option<(String, String)>,
    /// Server properties that are added to, or replace, the testbed's own.
    pub properties: Vec<(String, String)>,
    /// JVM flags that are added to, or replace, the testbed's own, which let it start quickly.
    pub jvm: Vec<String>,
}

/// The ports of one broker.
#[derive(Clone, Copy, Debug)]
struct BrokerPorts {
    plain: u16,
    controller: u16,
    /// Where the broker listens for what comes through a fault proxy ...
    behind_proxy: u16,
    /// ... and where it tells clients of that listener to find it.
    proxy: u16,
}

/// A running Kafka. Dropping it kills it and removes its data.
pub struct Kafka {
    nodes: Vec<Arc<Node>>,
    ports: Vec<BrokerPorts>,
    dir: TestDir,
}

impl Kafka {
    /// Starts it and waits until every broker is known and answers.
    pub fn start(options: &KafkaOptions) -> Result<Self> {
        let artifacts = Artifacts::get()?;
        let dir = TestDir::new("kafka")?;
        let num_brokers = options.num_brokers.max(1);
        let ports = (0..num_brokers)
            .map(|broker| BrokerPorts::choose(options.ports_base, broker))
            .collect::<Result<Vec<_>>>()?;
        let mut all = options.clone();
        if options.scram_user.is_some() {
            all.properties.extend(kafka_security::properties());
        }
        let mut nodes = Vec::new();
        for broker in 0..num_brokers {
            let home = dir.subdir(&format!("broker-{}", broker + 1))?;
            let properties = properties(&home, broker, &ports, &all)?;
            let config = home.join("server.properties");
            fs::write(&config, properties).context("can't write server.properties")?;
            // The format is a short Java run: the same process does both.
            let node = broker_node(artifacts, &home, broker, &ports, &options.jvm)?;
            nodes.push(Arc::new(node));
        }
        let kafka = Self { nodes, ports, dir };
        kafka.format_all(artifacts, options.scram_user.as_ref())?;
        kafka.each(Node::launch)?;
        kafka.each(Node::wait_ready)?;
        Ok(kafka)
    }

    /// `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self
            .ports
            .iter()
            .map(|ports| format!("127.0.0.1:{}", ports.plain))
            .collect();
        addresses.join(",")
    }

    /// For a fault proxy in front of broker `broker` (0 based): listen on the first address, forward
    /// to the second. A client that bootstraps at the first is told to stay with it.
    pub fn proxy_addresses(&self, broker: usize) -> Result<(String, String)> {
        let ports = self
            .ports
            .get(broker)
            .ok_or_else(|| Error::new("no such broker"))?;
        let address = |port: u16| format!("127.0.0.1:{port}");
        Ok((address(ports.proxy), address(ports.behind_proxy)))
    }

    /// A client for topics, groups and records.
    pub fn client(&self) -> KafkaClient {
        KafkaClient::new(self.bootstrap())
    }

    /// The brokers' processes.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// SIGTERM to every broker.
    pub fn stop(&self) -> Result<()> {
        // The controller last: the others say goodbye to it.
        self.nodes.iter().rev().try_for_each(|node| node.stop())
    }

    /// SIGKILL to every broker.
    pub fn kill(&self) -> Result<()> {
        self.each(Node::kill)
    }

    /// SIGSTOP to every broker.
    pub fn freeze(&self) -> Result<()> {
        self.each(Node::freeze)
    }

    /// SIGCONT to every broker.
    pub fn thaw(&self) -> Result<()> {
        self.each(Node::thaw)
    }

    /// Stops what runs and starts all on the same ports and data.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.heal()
    }

    /// Thaws, starts, waits: whatever was done to it, it is well afterwards.
    pub fn heal(&self) -> Result<()> {
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            node.thaw()?;
        }
        self.each(Node::launch)?;
        self.each(Node::wait_ready)
    }

    /// Runs one of Kafka's own command line tools, and returns what it said.
    pub(crate) fn tool(&self, class: &str, args: &[&str]) -> Result<String> {
        let dir = self.dir.path();
        let mut spec = spec(Artifacts::get()?, dir, "tool.log", &["-Xmx128m"]);
        spec.args.push(class.to_owned());
        tool::run(spec, class, args)
    }

    /// What `kafka-consumer-groups --describe` prints of a group.
    pub fn describe_group(&self, group: &str) -> Result<String> {
        let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        let bootstrap = self.bootstrap();
        let args = [
            "--bootstrap-server",
            &bootstrap,
            "--describe",
            "--group",
            group,
        ];
        self.tool(class, &args)
    }

    fn each(&self, action: impl Fn(&Node) -> Result<()>) -> Result<()> {
        self.nodes.iter().try_for_each(|node| action(node))
    }

    fn format_all(&self, artifacts: &Artifacts, user: Option<&(String, String)>) -> Result<()> {
        let runs = self.nodes.iter().map(|node| {
            let home = node.dir();
            let mut spec = spec(artifacts, home, "format.log", &["-Xmx128m"]);
            spec.args.extend(
                [
                    "kafka.tools.StorageTool",
                    "format",
                    "-t",
                    CLUSTER_ID,
                    "-c",
                    "server.properties",
                ]
                .map(str::to_owned),
            );
            if let Some((name, password)) = user {
                let user = format!("SCRAM-SHA-256=[name={name},password={password}]");
                spec.args.extend(["--add-scram".to_owned(), user]);
            }
            Guarded::spawn("Kafka's format", &spec).map(|run| (run, spec.log))
        });
        for (run, log) in runs.collect::<Result<Vec<_>>>()? {
            match run.wait(Duration::from_secs(60)) {
                Some(0) => {}
                code => {
                    let tail = log_tail(&log, 10);
                    return Err(Error::new(format!(
                        "Kafka's format failed ({code:?}):\n{tail}"
                    )));
                }
            }
        }
        Ok(())
    }
}

impl BrokerPorts {
    fn choose(base: Option<u16>, broker: usize) -> Result<Self> {
        let Some(base) = base else {
            return Ok(Self {
                plain: free_port()?,
                controller: free_port()?,
                behind_proxy: free_port()?,
                proxy: free_port()?,
            });
        };
        let first = usize::from(base) + 4 * broker;
        let first = u16::try_from(first).ok().filter(|first| *first < 65_530);
        let first = first.ok_or_else(|| Error::new("Kafka's ports would be beyond 65535"))?;
        Ok(Self {
            plain: first,
            controller: first + 1,
            behind_proxy: first + 2,
            proxy: first + 3,
        })
    }
}

fn spec(artifacts: &Artifacts, home: &Path, log: &str, jvm: &[&str]) -> Spec {
    let mut args: Vec<String> = jvm.iter().map(|arg| (*arg).to_owned()).collect();
    args.extend(
        [
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
        ]
        .map(str::to_owned),
    );
    args.push("-Dorg.slf4j.simpleLogger.showDateTime=true".to_owned());
    args.push("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS".to_owned());
    args.push("-cp".to_owned());
    args.push(format!("{}/*", artifacts.kafka.display()));
    Spec {
        program: artifacts.java.clone(),
        args,
        env: Vec::new(),
        dir: home.to_owned(),
        log: home.join(log),
        as_id: None,
    }
}

fn broker_node(
    artifacts: &Artifacts,
    home: &Path,
    broker: usize,
    ports: &[BrokerPorts],
    jvm: &[String],
) -> Result<Node> {
    let mut spec = spec(artifacts, home, "kafka.log", &["-Xms128m", "-Xmx512m"]);
    spec.args.extend_from_slice(jvm);
    spec.args
        .extend(["kafka.Kafka", "server.properties"].map(str::to_owned));
    let port = ports.get(broker).map_or(0, |ports| ports.plain);
    Ok(Node::new(
        &format!("Kafka broker {}", broker + 1),
        spec,
        ready_check(broker + 1, port)?,
    ))
}

/// Ready is: this broker answers a metadata request and counts itself among the brokers.
fn ready_check(id: usize, port: u16) -> Result<ReadyCheck> {
    let id = i32::try_from(id).context("too many brokers")?;
    Ok(Box::new(move || {
        let address = format!("127.0.0.1:{port}");
        std::net::TcpStream::connect(&address).map_err(|error| format!("{address}: {error}"))?;
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &address)
            .create()
            .map_err(|error| error.to_string())?;
        let metadata = client
            .fetch_metadata(None, Duration::from_secs(2))
            .map_err(|error| format!("metadata: {error}"))?;
        match metadata.brokers().iter().any(|broker| broker.id() == id) {
            true => Ok(()),
            false => Err(format!("broker {id} isn't in the metadata yet")),
        }
    }))
}

fn properties(
    home: &Path,
    broker: usize,
    ports: &[BrokerPorts],
    options: &KafkaOptions,
) -> Result<String> {
    let own = ports
        .get(broker)
        .ok_or_else(|| Error::new("no such broker"))?;
    let BrokerPorts {
        plain,
        controller,
        behind_proxy,
        proxy,
    } = own;
    let replication = ports.len().min(3);
    let in_sync = if replication == 3 { 2 } else { 1 };
    let controllers = if ports.len() < 3 { 1 } else { 3 };
    let (roles, controller_listener) = match broker < controllers {
        true => (
            "broker,controller",
            format!(",CONTROLLER://127.0.0.1:{controller}"),
        ),
        false => ("broker", String::new()),
    };
    let voters = ports.iter().take(controllers).enumerate();
    let voters: Vec<String> = voters
        .map(|(index, ports)| format!("{}@127.0.0.1:{}", index + 1, ports.controller))
        .collect();
    let voters = voters.join(",");
    let own_properties = format!(
        "process.roles={roles}
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{plain},PROXIED://127.0.0.1:{behind_proxy}{controller_listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},PROXIED://127.0.0.1:{proxy}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={log_dir}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=6000
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=1000
offsets.topic.num.partitions=5
offsets.topic.replication.factor={replication}
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={in_sync}
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
default.replication.factor={replication}
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=16777216
log.segment.delete.delay.ms=1000
log.retention.check.interval.ms=2000
num.network.threads=2
num.io.threads=4
",
        id = broker + 1,
        log_dir = home.join("data").display(),
    );
    let mut text = String::new();
    for line in own_properties.lines() {
        let name = line.split('=').next().unwrap_or_default();
        if !options
            .properties
            .iter()
            .any(|(replaced, _)| replaced == name)
        {
            let _ = writeln!(text, "{line}");
        }
    }
    for (name, value) in &options.properties {
        let _ = writeln!(text, "{name}={value}");
    }
    Ok(text)
}
