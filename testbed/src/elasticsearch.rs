//! Elasticsearch: one node or more, each a process (and its launcher) of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::artifacts::Artifacts;
use crate::certs::{Certs, STORE_PASSWORD};
use crate::documents::Documents;
use crate::error::{Context, Error, Result};
use crate::guard::{Guarded, Spec, TestDir, log_tail};
use crate::http::Http;
use crate::node::{Node, ReadyCheck};
use crate::ports::free_port;

/// `nobody`: any user that isn't root will do, Elasticsearch refuses root.
const NOBODY: u32 = 65_534;

/// How to start Elasticsearch.
#[derive(Clone, Debug, Default)]
pub struct ElasticsearchOptions {
    /// Number of nodes; 0 means 1.
    pub num_nodes: usize,
    /// The HTTP port, and the next one for the transport (two more for each further node); free ones by default.
    pub ports_base: Option<u16>,
    /// Settings that are added to, or replace, the testbed's own in `elasticsearch.yml`.
    pub settings: Vec<(String, String)>,
    /// JVM flags that are added to, or replace, the testbed's own, which let it start quickly.
    pub jvm: Vec<String>,
    /// TLS with a certificate of the testbed's own authority, and a user [`USER`] with all rights. There
    /// are no API keys: this distribution lacks a module that they need.
    pub secure: bool,
}

/// The user of a secure Elasticsearch.
pub const USER: &str = "testbed";
/// Its password.
pub const PASSWORD: &str = "testbed-password";

/// A running Elasticsearch. Dropping it kills it and removes its data.
pub struct Elasticsearch {
    nodes: Vec<Arc<Node>>,
    http: Http,
    ports: Vec<u16>,
    certs: Option<Certs>,
    spec: Spec,
    dir: TestDir,
}

impl Elasticsearch {
    /// Starts it and waits until the cluster is at least yellow.
    pub fn start(options: &ElasticsearchOptions) -> Result<Self> {
        let artifacts = Artifacts::get()?;
        let dir = TestDir::new("elasticsearch")?;
        let ports = choose_ports(options)?;
        let homes = match ports.len() {
            1 => vec![dir.path().to_owned()],
            num => (1..=num)
                .map(|number| dir.subdir(&format!("node-{number}")))
                .collect::<Result<Vec<_>>>()?,
        };
        let mut certs = None;
        if options.secure {
            certs = Some(Certs::make(&dir.subdir("config")?)?);
        }
        for (number, home) in homes.iter().enumerate() {
            write_config(home, artifacts, options, (number, &ports))?;
        }
        let as_id = rustix::process::geteuid().is_root().then_some(NOBODY);
        if as_id.is_some() {
            give_to_nobody(dir.path(), &artifacts.elasticsearch)?;
        }
        let specs: Vec<Spec> = homes
            .iter()
            .map(|home| spec(artifacts, home, as_id))
            .collect();
        let first = specs.first().cloned();
        let spec = first.ok_or_else(|| Error::new("no node of Elasticsearch"))?;
        let at = |port: u16| match options.secure {
            true => format!("https://127.0.0.1:{port}"),
            false => format!("http://127.0.0.1:{port}"),
        };
        let client = |(http_port, _): &(u16, u16)| match &certs {
            None => Ok(Http::new(at(*http_port))),
            Some(certs) => {
                let http = Http::new(at(*http_port)).with_ca_file(&certs.ca_file)?;
                Ok::<_, Error>(http.with_basic_auth(USER, PASSWORD))
            }
        };
        if certs.is_some() {
            let add = ["useradd", USER, "-p", PASSWORD, "-r", "superuser"];
            users_tool(&spec, artifacts, &add)?;
        }
        let mut nodes = Vec::new();
        for (number, (spec, ports)) in specs.into_iter().zip(&ports).enumerate() {
            let name = match homes.len() {
                1 => "Elasticsearch".to_owned(),
                _ => format!("Elasticsearch node {}", number + 1),
            };
            let ready = ready_check(client(ports)?);
            nodes.push(Arc::new(Node::new(&name, spec, ready)));
        }
        nodes.iter().try_for_each(|node| node.launch())?;
        nodes.iter().try_for_each(|node| node.wait_ready())?;
        let http = ports.first().map(client).transpose()?;
        Ok(Self {
            nodes,
            http: http.ok_or_else(|| Error::new("no node of Elasticsearch"))?,
            ports: ports.iter().map(|(http, _)| *http).collect(),
            certs,
            spec,
            dir,
        })
    }

    /// The addresses of all nodes.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.certs.is_some() {
            "https"
        } else {
            "http"
        };
        let url = |port: &u16| format!("{scheme}://127.0.0.1:{port}");
        self.ports.iter().map(url).collect()
    }

    /// The address, such as `http://127.0.0.1:9200`.
    pub fn url(&self) -> &str {
        self.http.base()
    }

    /// The HTTP port of the first node.
    pub fn port(&self) -> u16 {
        self.ports.first().copied().unwrap_or(0)
    }

    /// The authority's certificate, if it was started `secure`.
    pub fn ca_file(&self) -> Option<&Path> {
        self.certs.as_ref().map(|certs| certs.ca_file.as_path())
    }

    /// Gives [`USER`] another password. The server notices within a few seconds; the clients that this hands
    /// out go on with the first one.
    pub fn set_password(&self, password: &str) -> Result<()> {
        users_tool(
            &self.spec,
            Artifacts::get()?,
            &["passwd", USER, "-p", password],
        )
    }

    /// Gives the server another certificate of its authority, as [`Certs::sign`] does.
    pub fn set_certificate(&self, names: &str, validity: &[&str]) -> Result<()> {
        let certs = self.certs.as_ref();
        let certs = certs.ok_or_else(|| Error::new("Elasticsearch was started without TLS"))?;
        certs.sign(&self.dir.path().join("config"), names, validity)
    }

    /// A client for it, with all rights.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// A client for indices and documents.
    pub fn documents(&self) -> Documents {
        Documents::new(&self.http)
    }

    /// The first node's process: stop, kill, freeze, thaw, restart, heal.
    pub fn node(&self) -> &Arc<Node> {
        &self.nodes[0]
    }

    /// All nodes' processes.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }
}

/// HTTP and transport port of every node.
fn choose_ports(options: &ElasticsearchOptions) -> Result<Vec<(u16, u16)>> {
    let of_node = |number: usize| match options.ports_base {
        None => Ok((free_port()?, free_port()?)),
        Some(base) => {
            let first = u16::try_from(usize::from(base) + 2 * number).ok();
            let first = first.filter(|first| *first < u16::MAX);
            let beyond = || Error::new("Elasticsearch's ports would be beyond 65535");
            first.map(|first| (first, first + 1)).ok_or_else(beyond)
        }
    };
    (0..options.num_nodes.max(1)).map(of_node).collect()
}

fn spec(artifacts: &Artifacts, home: &Path, as_id: Option<u32>) -> Spec {
    let at = |name: &str| home.join(name).display().to_string();
    let env = [
        ("ES_PATH_CONF", at("config")),
        ("ES_JAVA_HOME", artifacts.java_home.display().to_string()),
        ("ES_TMPDIR", at("tmp")),
        ("HOME", at("")),
        // The launcher is a JVM too.
        (
            "CLI_JAVA_OPTS",
            "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC".to_owned(),
        ),
        ("ES_JAVA_OPTS", String::new()),
    ];
    Spec {
        program: artifacts.elasticsearch.join("bin/elasticsearch"),
        args: Vec::new(),
        env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        dir: home.to_owned(),
        log: home.join("elasticsearch.log"),
        as_id,
    }
}

/// Ready is: this node knows of a cluster that is at least yellow.
fn ready_check(http: Http) -> ReadyCheck {
    let probe = http.with_timeout(Duration::from_secs(3));
    Box::new(move || {
        let health = probe.get("/_cluster/health?wait_for_status=yellow&timeout=2s");
        let health = health.map_err(|error| error.to_string())?;
        match health.status {
            200 => Ok(()),
            status => Err(format!("HTTP {status}: {}", health.text())),
        }
    })
}

fn write_config(
    home: &Path,
    artifacts: &Artifacts,
    options: &ElasticsearchOptions,
    (number, ports): (usize, &[(u16, u16)]),
) -> Result<()> {
    let subdir = |name: &str| {
        let path = home.join(name);
        fs::create_dir_all(&path).context(format!("can't create {}", path.display()))?;
        Ok::<_, Error>(path)
    };
    for name in ["data", "logs", "tmp"] {
        subdir(name)?;
    }
    let config = subdir("config")?;
    let at = |name: &str| home.join(name).display().to_string();
    let (port, transport) = ports.get(number).copied().unwrap_or_default();
    let names: Vec<String> = (1..=ports.len()).map(|n| format!("testbed-{n}")).collect();
    let seeds: Vec<String> = ports
        .iter()
        .map(|(_, port)| format!("127.0.0.1:{port}"))
        .collect();
    let discovery = match ports.len() {
        1 => vec![("discovery.type", "single-node".to_owned())],
        _ => vec![
            ("discovery.seed_hosts", format!("[{}]", seeds.join(", "))),
            (
                "cluster.initial_master_nodes",
                format!("[{}]", names.join(", ")),
            ),
            // A dead node is one soon.
            (
                "cluster.fault_detection.follower_check.timeout",
                "2s".to_owned(),
            ),
            (
                "cluster.fault_detection.leader_check.timeout",
                "2s".to_owned(),
            ),
        ],
    };
    let own = [
        ("cluster.name", "testbed".to_owned()),
        ("node.name", format!("testbed-{}", number + 1)),
        ("network.host", "127.0.0.1".to_owned()),
        ("http.port", port.to_string()),
        ("transport.port", transport.to_string()),
        ("path.data", at("data")),
        ("path.logs", at("logs")),
        ("xpack.security.enabled", "false".to_owned()),
        // A full disk of the machine isn't what a test wants to find out.
        (
            "cluster.routing.allocation.disk.threshold_enabled",
            "false".to_owned(),
        ),
        ("action.destructive_requires_name", "false".to_owned()),
        ("node.store.allow_mmap", "false".to_owned()),
    ];
    let secured = [
        ("xpack.security.enabled", "true".to_owned()),
        ("xpack.security.transport.ssl.enabled", "false".to_owned()),
        ("xpack.security.http.ssl.enabled", "true".to_owned()),
        (
            "xpack.security.http.ssl.keystore.path",
            "http.p12".to_owned(),
        ),
        (
            "xpack.security.http.ssl.keystore.password",
            STORE_PASSWORD.to_owned(),
        ),
    ];
    let secured: &[_] = if options.secure { &secured } else { &[] };
    let own = own
        .into_iter()
        .chain(discovery)
        .filter(|(name, _)| !secured.iter().any(|(other, _)| name == other));
    let own = own
        .collect::<Vec<_>>()
        .into_iter()
        .chain(secured.iter().cloned());
    let mut text = String::new();
    for (name, value) in own {
        if !options
            .settings
            .iter()
            .any(|(replaced, _)| replaced == name)
        {
            let _ = writeln!(text, "{name}: {value}");
        }
    }
    for (name, value) in &options.settings {
        let _ = writeln!(text, "{name}: {value}");
    }
    let jvm = "-Xms512m\n-Xmx512m\n-XX:+UseSerialGC\n-XX:TieredStopAtLevel=1\n-XX:-HeapDumpOnOutOfMemoryError\n";
    let own = options.jvm.join("\n");
    let jvm = format!("{jvm}{own}\n-Djava.io.tmpdir=${{ES_TMPDIR}}\n");
    let log = "status = error\nappender.console.type = Console\nappender.console.name = console\n\
               appender.console.layout.type = PatternLayout\n\
               appender.console.layout.pattern = [%d{HH:mm:ss,SSS}][%-5p][%c{1.}] %m%n\n\
               rootLogger.level = info\nrootLogger.appenderRef.console.ref = console\n";
    let write = |name: &str, text: &str| {
        fs::write(config.join(name), text).context(format!("can't write {name}"))
    };
    write("elasticsearch.yml", &text)?;
    write("jvm.options", &jvm)?;
    write("log4j2.properties", log)?;
    for name in ["role_mapping.yml", "roles.yml", "users", "users_roles"] {
        let from = artifacts.elasticsearch.join("config").join(name);
        fs::copy(&from, config.join(name)).context(format!("can't copy {}", from.display()))?;
    }
    Ok(())
}

/// Runs Elasticsearch's own tool for users, as the user that the server runs as.
fn users_tool(server: &Spec, artifacts: &Artifacts, args: &[&str]) -> Result<()> {
    let mut spec = server.clone();
    spec.program = artifacts.elasticsearch.join("bin/elasticsearch-users");
    spec.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let run = Guarded::spawn("elasticsearch-users", &spec)?;
    match run.wait(Duration::from_secs(60)) {
        Some(0) => Ok(()),
        code => {
            let tail = log_tail(&spec.log, 10);
            Err(Error::new(format!(
                "elasticsearch-users failed ({code:?}):\n{tail}"
            )))
        }
    }
}

fn give_to_nobody(dir: &Path, program: &Path) -> Result<()> {
    let owner = format!("{NOBODY}:{NOBODY}");
    let status = Command::new("chown").args(["-R", &owner]).arg(dir).status();
    if !status.context("can't run chown")?.success() {
        return Err(Error::new(format!(
            "can't give {} to user {NOBODY}",
            dir.display()
        )));
    }
    let mut test = Command::new("setpriv");
    test.args([
        &format!("--reuid={NOBODY}"),
        &format!("--regid={NOBODY}"),
        "--clear-groups",
    ]);
    test.args(["test", "-x"])
        .arg(program.join("bin/elasticsearch"));
    if !test
        .status()
        .context("can't run setpriv (package util-linux)")?
        .success()
    {
        return Err(Error::new(format!(
            "Elasticsearch doesn't run as root, and user {NOBODY} can't reach {}: \
             set OUTFLOW_TESTBED_CACHE to a folder that everybody can enter",
            program.display()
        )));
    }
    Ok(())
}
