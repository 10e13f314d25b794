//! HDFS: one NameNode and its DataNodes, each a process of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::artifacts::Artifacts;
use crate::error::{Context, Error, Result};
use crate::files::Files;
use crate::guard::{Guarded, Spec, TestDir, log_tail};
use crate::http::Http;
use crate::node::{Node, ReadyCheck};
use crate::ports::free_port;
use crate::tool;

/// How to start HDFS.
#[derive(Clone, Debug, Default)]
pub struct HdfsOptions {
    /// Number of DataNodes; 0 means 1.
    pub num_datanodes: usize,
    /// The NameNode's RPC port, and the next 1 + 3 a DataNode; free ones by default.
    pub ports_base: Option<u16>,
    /// The NameNode's ports (RPC, HTTP), if these alone are to be chosen.
    pub namenode_ports: Option<(u16, u16)>,
    /// Properties that are added to, or replace, the testbed's own in `hdfs-site.xml`.
    pub properties: Vec<(String, String)>,
    /// JVM flags that are added to, or replace, the testbed's own, which let it start quickly.
    pub jvm: Vec<String>,
}

/// A running HDFS. Dropping it kills it and removes its data.
pub struct Hdfs {
    namenode: Arc<Node>,
    datanodes: Vec<Arc<Node>>,
    rpc_port: u16,
    http: Http,
    config_dir: PathBuf,
    dir: TestDir,
}

impl Hdfs {
    /// Starts it and waits until the NameNode has left its safe mode and knows every DataNode.
    pub fn start(options: &HdfsOptions) -> Result<Self> {
        let artifacts = Artifacts::get()?;
        let dir = TestDir::new("hdfs")?;
        let num_datanodes = options.num_datanodes.max(1);
        let mut next = options.ports_base;
        let mut port = || match &mut next {
            None => free_port(),
            Some(base) => {
                let port = *base;
                *base = port
                    .checked_add(1)
                    .ok_or_else(|| Error::new("HDFS' ports end at 65535"))?;
                Ok(port)
            }
        };
        let (rpc_port, http_port) = match options.namenode_ports {
            Some(ports) => ports,
            None => (port()?, port()?),
        };
        let http = Http::new(format!("http://127.0.0.1:{http_port}"));

        let config_dir = dir.subdir("conf")?;
        let core = [
            ("fs.defaultFS", format!("hdfs://127.0.0.1:{rpc_port}")),
            ("hadoop.tmp.dir", dir.subdir("tmp")?.display().to_string()),
        ];
        write_xml(&config_dir.join("core-site.xml"), &core, &[])?;
        let common = common_properties(rpc_port, http_port, num_datanodes);
        write_xml(
            &config_dir.join("hdfs-site.xml"),
            &common,
            &options.properties,
        )?;

        let home = dir.subdir("namenode")?;
        format_namenode(artifacts, &config_dir, &home)?;
        let class = "org.apache.hadoop.hdfs.server.namenode.NameNode";
        let mut spec = java(artifacts, &config_dir, &home, "namenode.log", class);
        use_jvm(&mut spec, &options.jvm);
        let namenode = Arc::new(Node::new("HDFS NameNode", spec, namenode_ready(&http)));

        let mut datanodes = Vec::new();
        for number in 1..=num_datanodes {
            let ports = [port()?, port()?, port()?];
            let home = dir.subdir(&format!("datanode-{number}"))?;
            let config = dir.subdir(&format!("datanode-{number}/conf"))?;
            fs::copy(
                config_dir.join("core-site.xml"),
                config.join("core-site.xml"),
            )
            .context("can't copy core-site.xml")?;
            let own = datanode_properties(&home, ports);
            let all: Vec<_> = common.iter().cloned().chain(own).collect();
            write_xml(&config.join("hdfs-site.xml"), &all, &options.properties)?;
            let class = "org.apache.hadoop.hdfs.server.datanode.DataNode";
            let mut spec = java(artifacts, &config, &home, "datanode.log", class);
            use_jvm(&mut spec, &options.jvm);
            let name = format!("HDFS DataNode {number}");
            datanodes.push(Arc::new(Node::new(
                &name,
                spec,
                datanode_ready(&http, ports[0]),
            )));
        }
        let hdfs = Self {
            namenode,
            datanodes,
            rpc_port,
            http,
            config_dir,
            dir,
        };
        hdfs.heal()?;
        Ok(hdfs)
    }

    /// The file system's address, such as `hdfs://127.0.0.1:8020`.
    pub fn url(&self) -> String {
        format!("hdfs://127.0.0.1:{}", self.rpc_port)
    }

    /// The NameNode's RPC address, such as `127.0.0.1:8020`, for a proxy to stand in front of.
    pub fn rpc_address(&self) -> String {
        format!("127.0.0.1:{}", self.rpc_port)
    }

    /// The NameNode's HTTP pages and WebHDFS.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// A client for folders and files.
    pub fn files(&self) -> Files {
        Files::new(&self.http)
    }

    /// The superuser: whoever started it, which is this process' user.
    pub fn user(&self) -> String {
        crate::files::current_user()
    }

    /// A Hadoop configuration folder (`core-site.xml`, `hdfs-site.xml`) for clients.
    pub fn config_dir(&self) -> &Path {
        &self.config_dir
    }

    /// The NameNode's process.
    pub fn namenode(&self) -> &Arc<Node> {
        &self.namenode
    }

    /// The DataNodes' processes.
    pub fn datanodes(&self) -> &[Arc<Node>] {
        &self.datanodes
    }

    /// Every process, the NameNode first.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        std::iter::once(&self.namenode).chain(&self.datanodes)
    }

    /// SIGTERM to all.
    pub fn stop(&self) -> Result<()> {
        self.datanodes.iter().try_for_each(|node| node.stop())?;
        self.namenode.stop()
    }

    /// SIGKILL to all.
    pub fn kill(&self) -> Result<()> {
        self.nodes().try_for_each(|node| node.kill())
    }

    /// SIGSTOP to all.
    pub fn freeze(&self) -> Result<()> {
        self.nodes().try_for_each(|node| node.freeze())
    }

    /// SIGCONT to all.
    pub fn thaw(&self) -> Result<()> {
        self.nodes().try_for_each(|node| node.thaw())
    }

    /// Stops what runs and starts all on the same ports and data.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.heal()
    }

    /// Thaws, starts, waits: whatever was done to it, it is well afterwards.
    pub fn heal(&self) -> Result<()> {
        for node in self.nodes().filter(|node| node.is_running()) {
            node.thaw()?;
        }
        self.nodes().try_for_each(|node| node.launch())?;
        self.nodes().try_for_each(|node| node.wait_ready())
    }

    /// Runs Hadoop's own command line (`FsShell`), for example `&["-ls", "-R", "/"]`, and returns
    /// what it said.
    pub fn shell(&self, args: &[&str]) -> Result<String> {
        self.tool("org.apache.hadoop.fs.FsShell", args)
    }

    /// Runs `dfsadmin`, for example `&["-safemode", "enter"]`.
    pub fn admin(&self, args: &[&str]) -> Result<String> {
        self.tool("org.apache.hadoop.hdfs.tools.DFSAdmin", args)
    }

    /// Takes the lease of an open file from whoever writes it (`hdfs debug recoverLease`), and waits until it is closed.
    pub fn recover_lease(&self, path: &str) -> Result<String> {
        let args = ["recoverLease", "-path", path, "-retries", "10"];
        self.tool("org.apache.hadoop.hdfs.tools.DebugAdmin", &args)
    }

    fn tool(&self, class: &str, args: &[&str]) -> Result<String> {
        let artifacts = Artifacts::get()?;
        let dir = self.dir.path();
        let spec = java(artifacts, &self.config_dir, dir, "tool.log", class);
        tool::run(spec, class, args)
    }
}

fn common_properties(rpc: u16, http: u16, num_datanodes: usize) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("dfs.namenode.rpc-address", format!("127.0.0.1:{rpc}")),
        ("dfs.namenode.http-address", format!("127.0.0.1:{http}")),
        ("dfs.namenode.name.dir", text("file:${user.dir}/name")),
        ("dfs.replication", num_datanodes.min(3).to_string()),
        ("dfs.webhdfs.enabled", text("true")),
        ("dfs.namenode.safemode.extension", text("0")),
        ("dfs.namenode.safemode.min.datanodes", text("0")),
        ("dfs.namenode.heartbeat.recheck-interval", text("1000")),
        ("dfs.namenode.stale.datanode.interval", text("3000")),
        ("dfs.heartbeat.interval", text("1")),
        ("dfs.blockreport.initialDelay", text("0")),
        (
            "dfs.namenode.datanode.registration.ip-hostname-check",
            text("false"),
        ),
        ("dfs.datanode.hostname", text("127.0.0.1")),
        // A process that is killed loses nothing without it; only a power cut would.
        ("dfs.namenode.edits.noeditlogchannelflush", text("true")),
        ("dfs.namenode.fs-limits.min-block-size", text("4096")),
        ("dfs.namenode.lease-recheck-interval-ms", text("500")),
        ("dfs.namenode.redundancy.interval.seconds", text("1s")),
        ("dfs.datanode.du.reserved", text("0")),
    ]
}

fn datanode_properties(home: &Path, ports: [u16; 3]) -> Vec<(&'static str, String)> {
    let [data, http, ipc] = ports.map(|port| format!("127.0.0.1:{port}"));
    vec![
        (
            "dfs.datanode.data.dir",
            format!("file:{}", home.join("data").display()),
        ),
        ("dfs.datanode.address", data),
        ("dfs.datanode.http.address", http),
        ("dfs.datanode.ipc.address", ipc),
    ]
}

fn write_xml(file: &Path, own: &[(&str, String)], extra: &[(String, String)]) -> Result<()> {
    let escape = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let mut text = String::from("<?xml version=\"1.0\"?>\n<configuration>\n");
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let own = own.filter(|(name, _)| !extra.iter().any(|(replaced, _)| replaced == name));
    for (name, value) in own.chain(
        extra
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    ) {
        let (name, value) = (escape(name), escape(value));
        let _ = writeln!(
            text,
            "  <property><name>{name}</name><value>{value}</value></property>"
        );
    }
    text.push_str("</configuration>\n");
    fs::write(file, text).context(format!("can't write {}", file.display()))
}

fn java(artifacts: &Artifacts, config: &Path, home: &Path, log: &str, class: &str) -> Spec {
    let mut args: Vec<String> = [
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        // WebHDFS needs it from Java 17 on.
        "--add-opens",
        "java.base/java.lang=ALL-UNNAMED",
        "-cp",
    ]
    .map(str::to_owned)
    .to_vec();
    args.push(format!(
        "{}:{}/*",
        config.display(),
        artifacts.hadoop.display()
    ));
    args.push(class.to_owned());
    Spec {
        program: artifacts.java.clone(),
        args,
        env: Vec::new(),
        dir: home.to_owned(),
        log: home.join(log),
        as_id: None,
    }
}

/// Adds flags before the class, which comes last.
fn use_jvm(spec: &mut Spec, flags: &[String]) {
    let class = spec.args.pop();
    spec.args.extend_from_slice(flags);
    spec.args.extend(class);
}

fn format_namenode(artifacts: &Artifacts, config: &Path, home: &Path) -> Result<()> {
    let class = "org.apache.hadoop.hdfs.server.namenode.NameNode";
    let mut spec = java(artifacts, config, home, "format.log", class);
    spec.args
        .extend(["-format", "-nonInteractive"].map(str::to_owned));
    let run = Guarded::spawn("the NameNode's format", &spec)?;
    match run.wait(Duration::from_secs(60)) {
        Some(0) => Ok(()),
        code => {
            let tail = log_tail(&spec.log, 15);
            Err(Error::new(format!(
                "the NameNode's format failed ({code:?}):\n{tail}"
            )))
        }
    }
}

fn namenode_ready(http: &Http) -> ReadyCheck {
    let http = http.clone().with_timeout(Duration::from_secs(3));
    Box::new(move || {
        let info = bean(&http, "NameNodeInfo")?;
        match info["Safemode"].as_str() {
            Some("") => Ok(()),
            Some(why) => Err(format!("safe mode: {why}")),
            None => Err("the NameNode doesn't say whether it is in safe mode".to_owned()),
        }
    })
}

/// Ready is: the NameNode counts this DataNode among the live ones, with a fresh heartbeat.
fn datanode_ready(http: &Http, data_port: u16) -> ReadyCheck {
    let http = http.clone().with_timeout(Duration::from_secs(3));
    Box::new(move || {
        let address = format!("127.0.0.1:{data_port}");
        std::net::TcpStream::connect(&address).map_err(|error| format!("{address}: {error}"))?;
        let info = bean(&http, "NameNodeInfo")?;
        let live = info["LiveNodes"].as_str().unwrap_or("{}");
        let live: Value = serde_json::from_str(live).map_err(|error| error.to_string())?;
        let nodes = live
            .as_object()
            .map(|nodes| nodes.values().cloned().collect::<Vec<_>>());
        let known = nodes.unwrap_or_default().iter().any(|node| {
            let here = node["xferaddr"].as_str() == Some(&address);
            here && node["lastContact"]
                .as_i64()
                .is_some_and(|seconds| seconds <= 2)
        });
        if known {
            Ok(())
        } else {
            Err(format!("the NameNode doesn't know {address} yet: {live}"))
        }
    })
}

fn bean(http: &Http, name: &str) -> Result<Value, String> {
    let path = format!("/jmx?qry=Hadoop:service=NameNode,name={name}");
    let beans = http.get_json(&path).map_err(|error| error.to_string())?;
    beans["beans"]
        .get(0)
        .cloned()
        .ok_or_else(|| format!("no bean {name} yet"))
}
