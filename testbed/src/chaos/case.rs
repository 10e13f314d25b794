//! What a case is: data that says what is needed, what is broken, who may suffer, and what must hold.

use rand::rngs::StdRng;

use crate::error::Result;
use crate::ledger::Ledger;

use super::world::World;

/// One of outflow's two sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sink {
    /// Elasticsearch.
    Elasticsearch,
    /// HDFS.
    Hdfs,
}

impl Sink {
    /// Its name in outflow's configuration, metrics and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Elasticsearch => "elasticsearch",
            Self::Hdfs => "hdfs",
        }
    }
}

/// Elasticsearch alone.
pub const ELASTICSEARCH: &[Sink] = &[Sink::Elasticsearch];
/// HDFS alone.
pub const HDFS: &[Sink] = &[Sink::Hdfs];
/// Both sinks.
pub const BOTH: &[Sink] = &[Sink::Elasticsearch, Sink::Hdfs];
/// None of them.
pub const NONE: &[Sink] = &[];

/// What a fault is done to. Of two faults at a time, each has a target of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// outflow's own process.
    Process,
    /// A broker, or the way there.
    Kafka,
    /// Elasticsearch, or the way there.
    Elasticsearch,
    /// The NameNode, a DataNode, or the way there.
    Hdfs,
}

/// Which proxies stand between outflow and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// An HTTP proxy in front of Elasticsearch: [`World::http_proxy`].
    Http,
    /// A TCP proxy in front of Elasticsearch: [`World::elasticsearch_proxy`].
    Elasticsearch,
    /// A TCP proxy in front of each broker: [`World::kafka_proxies`].
    Kafka,
    /// A TCP proxy in front of the NameNode: [`World::namenode_proxy`].
    NameNode,
}

/// Lines of TOML that are added to outflow's configurations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    /// Keys of the top, for both sinks.
    pub top: &'static str,
    /// Keys of `[kafka]`. `commit_interval` and `drain_timeout` replace the suite's own.
    pub kafka: &'static str,
    /// `[kafka.properties]`. `session.timeout.ms` replaces the suite's own.
    pub properties: &'static str,
    /// `[elasticsearch]`. `request_timeout` replaces the suite's own.
    pub elasticsearch: &'static str,
    /// `[hdfs]`. `call_timeout` replaces the suite's own.
    pub hdfs: &'static str,
    /// `[hdfs.rotate]`; replaces the suite's own where not empty.
    pub rotate: &'static str,
}

/// Names and values of a server's properties.
pub type Properties = &'static [(&'static str, &'static str)];

/// What a case needs. Servers are those that all cases share, unless something is asked for that they don't have.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Which sinks run, in one process.
    pub sinks: &'static [Sink],
    /// Partitions of the topic.
    pub partitions: usize,
    /// How many of them come only later, by a fault.
    pub partitions_later: usize,
    /// Records a second.
    pub rate: u32,
    /// Bytes of padding of a record, from and to.
    pub padding: (usize, usize),
    /// Number of brokers; a Kafka of its own if more than 1, or with properties.
    pub brokers: usize,
    /// A user and a password on the way through [`Proxy::Kafka`]; a Kafka of its own.
    pub kafka_secure: bool,
    /// Properties of the brokers.
    pub kafka: Properties,
    /// Properties of the topic.
    pub topic: Properties,
    /// Number of Elasticsearch's nodes; one of its own if more than 1. The index has a replica then.
    pub nodes: usize,
    /// Settings of Elasticsearch; one of its own if there are any.
    pub elasticsearch: Properties,
    /// Elasticsearch with TLS and a user; one of its own.
    pub secure: bool,
    /// Number of DataNodes; an HDFS of its own if more than 1, or with properties.
    pub datanodes: usize,
    /// Properties of HDFS.
    pub hdfs: Properties,
    /// What stands in between.
    pub proxies: &'static [Proxy],
    /// Only one in so many records is waited for: where records are large.
    pub fewer: i64,
    /// Bytes that a sink may hold (`memory`), in MiB.
    pub memory_mib: u64,
    /// Variables of outflow's environment; `{dir}` is the run's own folder.
    pub variables: Properties,
    /// More of outflow's configuration.
    pub lines: Lines,
}

impl Setup {
    /// Both sinks, four partitions, 1,000 records a second of about 150 bytes, shared servers, no proxies.
    pub const PLAIN: Setup = Setup {
        sinks: BOTH,
        partitions: 4,
        partitions_later: 0,
        rate: 1_000,
        padding: (20, 80),
        brokers: 1,
        kafka_secure: false,
        kafka: &[],
        topic: &[],
        nodes: 1,
        elasticsearch: &[],
        secure: false,
        datanodes: 1,
        hdfs: &[],
        proxies: &[],
        fewer: 1,
        memory_mib: 80,
        variables: &[],
        lines: Lines {
            top: "",
            kafka: "",
            properties: "",
            elasticsearch: "",
            hdfs: "",
            rotate: "",
        },
    };
}

/// Proof that a fault was one: how often it was seen, and by what.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// What was counted, such as `requests refused`.
    pub what: String,
}

impl Seen {
    /// So often this.
    pub fn new(count: u64, what: impl Into<String>) -> Self {
        Self {
            count,
            what: what.into(),
        }
    }
}

/// Something that breaks, and is mended. An error of any method fails the case.
pub trait Fault: Send {
    /// Before outflow is started for the first time.
    fn prepare(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }

    /// Breaks it. Returns when it is broken.
    fn inject(&mut self, world: &World) -> Result<()>;

    /// Called again and again while the fault holds; says whether it has done all that it wants to do. What
    /// it counts as its proof may be counted here.
    fn turn(&mut self, _world: &World) -> Result<bool> {
        Ok(true)
    }

    /// How often the fault was seen to work so far: by a proxy's counters, the state of a process, a server's
    /// answers. The case goes on only once it was.
    fn seen(&mut self, world: &World) -> Result<Seen>;

    /// Mends it. Returns when the server is well again, or outflow runs again.
    fn heal(&mut self, world: &World) -> Result<()>;

    /// After the drain, before the checker: whatever else must be so.
    fn verify(&mut self, _world: &World, _ledger: &Ledger) -> Result<()> {
        Ok(())
    }
}

/// What must hold beside the suite's own: nothing lost, nothing doubled, nothing invented, order, committed
/// offsets never ahead, bounded memory, a clean end in time, no secret in any output.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// Sinks that may stand still during the fault. The others must go on.
    pub suffers: &'static [Sink],
    /// outflow is ended and started again by the fault.
    pub restarts: bool,
    /// Partitions move: else a rebalance after the start fails the case.
    pub rebalances: bool,
    /// Records may end in the dead letter topic; they are accounted for.
    pub dead_letters: bool,
}

impl Expect {
    /// These sinks suffer; nothing restarts, no partition moves, nothing is refused.
    pub const fn only(suffers: &'static [Sink]) -> Self {
        Self {
            suffers,
            restarts: false,
            rebalances: false,
            dead_letters: false,
        }
    }
}

/// A case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    /// As in the list of faults: `F36`.
    pub id: &'static str,
    /// What is done, in a few words.
    pub name: &'static str,
    /// What the fault is done to.
    pub target: Target,
    /// What is needed.
    pub setup: Setup,
    /// What must hold.
    pub expect: Expect,
    /// Runs in `make test`.
    pub in_subset: bool,
    /// The random mode may draw it: it needs no more than [`super::random::SETUP`] has.
    pub random: bool,
    /// Makes the fault. Whatever is random in it is drawn here.
    pub fault: fn(&mut StdRng) -> Box<dyn Fault>,
}
