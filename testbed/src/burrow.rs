//! The real Burrow, where somebody has built it: what `outflow monitor` is compared with.

use std::path::Path;
use std::time::Duration;

use crate::error::{Context, Error, Result};
use crate::guard::{Guarded, Spec, TestDir, log_tail, wait_until};
use crate::http::Http;
use crate::kafka::Kafka;
use crate::ports::free_port;

/// How it watches.
#[derive(Clone, Copy, Debug)]
pub struct BurrowOptions {
    /// Commits in a window, and log ends.
    pub intervals: u32,
    /// Seconds between two looks at the log ends.
    pub offset_refresh: u32,
    /// Seconds between two looks at the topics.
    pub topic_refresh: u32,
    /// Seconds that a verdict is kept.
    pub expire_cache: u32,
}

impl Default for BurrowOptions {
    /// Burrow's own defaults.
    fn default() -> Self {
        Self {
            intervals: 10,
            offset_refresh: 10,
            topic_refresh: 60,
            expire_cache: 10,
        }
    }
}

/// A running Burrow that watches one cluster, `local`. Dropping it kills it.
pub struct Burrow {
    guarded: Guarded,
    http: Http,
    dir: TestDir,
}

impl Burrow {
    /// Starts this binary and waits until it says that it is ready. What it shows as a group though it is none, how far it
    /// has read `__consumer_offsets` itself, is off.
    pub fn start(binary: &Path, kafka: &Kafka, options: BurrowOptions) -> Result<Self> {
        let dir = TestDir::new("burrow")?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let text = configuration(&kafka.bootstrap(), &address, options);
        std::fs::write(dir.path().join("burrow.toml"), text)
            .context("can't write Burrow's configuration")?;
        let spec = Spec {
            program: binary.to_owned(),
            args: vec![
                "--config-dir".into(),
                dir.path().to_string_lossy().into_owned(),
            ],
            env: Vec::new(),
            dir: dir.path().to_owned(),
            log: dir.path().join("log"),
            as_id: None,
        };
        let burrow = Self {
            guarded: Guarded::spawn("burrow", &spec)?,
            http: Http::new(format!("http://{address}")).with_timeout(Duration::from_secs(60)),
            dir,
        };
        burrow.wait_ready()?;
        Ok(burrow)
    }

    fn wait_ready(&self) -> Result<()> {
        let ready = || match self.http.get("/burrow/admin/ready") {
            _ if self.guarded.exit_code().is_some() => Ok(false),
            Ok(answer) if answer.status == 200 => Ok(true),
            Ok(answer) => Err(format!("HTTP {}", answer.status)),
            Err(error) => Err(error.to_string()),
        };
        let log = || log_tail(&self.dir.path().join("log"), 20);
        let is_ready = wait_until("Burrow is ready", Duration::from_secs(60), ready);
        match is_ready {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(format!("Burrow has ended:\n{}", log()))),
            Err(error) => Err(Error::new(format!("{error}\n{}", log()))),
        }
    }

    /// A client for its API.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// The process' id.
    pub fn pid(&self) -> u32 {
        self.guarded.pid()
    }
}

fn configuration(server: &str, address: &str, options: BurrowOptions) -> String {
    let BurrowOptions {
        intervals,
        offset_refresh,
        topic_refresh,
        expire_cache,
    } = options;
    format!(
        r#"[general]
pidfile = "burrow.pid"
[logging]
level = "info"
[client-profile.own]
client-id = "burrow"
kafka-version = "4.0.0"
[cluster.local]
class-name = "kafka"
servers = ["{server}"]
client-profile = "own"
topic-refresh = {topic_refresh}
offset-refresh = {offset_refresh}
[consumer.local]
class-name = "kafka"
cluster = "local"
servers = ["{server}"]
client-profile = "own"
[storage.local]
class-name = "inmemory"
intervals = {intervals}
min-distance = 0
group-denylist = "^burrow-local$"
[evaluator.local]
class-name = "caching"
expire-cache = {expire_cache}
[httpserver.default]
address = "{address}"
"#
    )
}
