//! Elasticsearch: a single node, a process (and its launcher) of its own.

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
use crate::node::Node;
use crate::ports::free_port;

/// `nobody`: any user that isn't root will do, Elasticsearch refuses root.
const NOBODY: u32 = 65_534;

/// How to start Elasticsearch.
#[derive(Clone, Debug, Default)]
pub struct ElasticsearchOptions {
    /// The HTTP port, and the next one for the transport; free ones by default.
    pub ports_base: Option<u16>,
    /// Settings that are added to, or replace, the testbed's own in `elasticsearch.yml`.
    pub settings: Vec<(String, String)>,
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
    node: Arc<Node>,
    http: Http,
    port: u16,
    certs: Option<Certs>,
    spec: Spec,
    dir: TestDir,
}

impl Elasticsearch {
    /// Starts it and waits until the cluster is at least yellow.
    pub fn start(options: &ElasticsearchOptions) -> Result<Self> {
        let artifacts = Artifacts::get()?;
        let dir = TestDir::new("elasticsearch")?;
        let (port, transport) = match options.ports_base {
            Some(base) if base < u16::MAX => (base, base + 1),
            Some(_) => return Err(Error::new("Elasticsearch's ports would be beyond 65535")),
            None => (free_port()?, free_port()?),
        };
        let certs = match options.secure {
            true => Some(Certs::make(&dir.subdir("config")?)?),
            false => None,
        };
        write_config(&dir, artifacts, options, (port, transport))?;
        let as_id = rustix::process::geteuid().is_root().then_some(NOBODY);
        if as_id.is_some() {
            give_to_nobody(dir.path(), &artifacts.elasticsearch)?;
        }
        let home = dir.path();
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
        let spec = Spec {
            program: artifacts.elasticsearch.join("bin/elasticsearch"),
            args: Vec::new(),
            env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            dir: home.to_owned(),
            log: home.join("elasticsearch.log"),
            as_id,
        };
        let http = match &certs {
            None => Http::new(format!("http://127.0.0.1:{port}")),
            Some(certs) => {
                let add = ["useradd", USER, "-p", PASSWORD, "-r", "superuser"];
                users_tool(&spec, artifacts, &add)?;
                let http = Http::new(format!("https://127.0.0.1:{port}"));
                let http = http.with_ca_file(&certs.ca_file)?;
                http.with_basic_auth(USER, PASSWORD)
            }
        };
        let probe = http.clone().with_timeout(Duration::from_secs(3));
        let ready = move || {
            let health = probe.get("/_cluster/health?wait_for_status=yellow&timeout=2s");
            let health = health.map_err(|error| error.to_string())?;
            match health.status {
                200 => Ok(()),
                status => Err(format!("HTTP {status}: {}", health.text())),
            }
        };
        let node = Arc::new(Node::new("Elasticsearch", spec.clone(), Box::new(ready)));
        node.start()?;
        Ok(Self {
            node,
            http,
            port,
            certs,
            spec,
            dir,
        })
    }

    /// The address, such as `http://127.0.0.1:9200`.
    pub fn url(&self) -> &str {
        self.http.base()
    }

    /// The HTTP port.
    pub fn port(&self) -> u16 {
        self.port
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

    /// Its process: stop, kill, freeze, thaw, restart, heal.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }
}

fn write_config(
    dir: &TestDir,
    artifacts: &Artifacts,
    options: &ElasticsearchOptions,
    (port, transport): (u16, u16),
) -> Result<()> {
    for name in ["data", "logs", "tmp"] {
        dir.subdir(name)?;
    }
    let config = dir.subdir("config")?;
    let at = |name: &str| dir.path().join(name).display().to_string();
    let own = [
        ("cluster.name", "testbed".to_owned()),
        ("node.name", "testbed-1".to_owned()),
        ("network.host", "127.0.0.1".to_owned()),
        ("http.port", port.to_string()),
        ("transport.port", transport.to_string()),
        ("discovery.type", "single-node".to_owned()),
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
    let jvm = format!("{jvm}-Djava.io.tmpdir=${{ES_TMPDIR}}\n");
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
