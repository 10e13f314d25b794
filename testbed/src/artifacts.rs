//! The servers' own files, fetched once with Maven and kept in a cache folder.
//!
//! A set is put together aside and renamed into place, so what stands under its name is whole. A lock
//! file lets one process fetch while the others wait.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::error::{Context, Error, Result};
use crate::tool;

/// Kafka's version.
pub const KAFKA_VERSION: &str = "4.3.0";
/// Elasticsearch's version.
pub const ELASTICSEARCH_VERSION: &str = "8.19.21";
/// Hadoop's version.
pub const HADOOP_VERSION: &str = "3.4.2";

const DEPENDENCY_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";
/// A simple logger: without one neither Kafka nor Hadoop says anything.
const LOGGER: (&str, &str, &str) = ("org.slf4j", "slf4j-simple", "1.7.36");
/// WebHDFS needs what Java had in it up to version 10.
const JAXB: (&str, &str, &str) = ("javax.xml.bind", "jaxb-api", "2.3.1");
const INSTALL_HINT: &str =
    "on Debian or Ubuntu: apt-get install openjdk-17-jdk-headless maven (or run scripts/setup.sh)";

/// Where the servers' files are.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// The `java` program.
    pub java: PathBuf,
    /// The folder of the JDK.
    pub java_home: PathBuf,
    /// Kafka's jars.
    pub kafka: PathBuf,
    /// Elasticsearch's folder (`bin`, `lib`, `modules`, ...).
    pub elasticsearch: PathBuf,
    /// Hadoop's jars.
    pub hadoop: PathBuf,
}

impl Artifacts {
    /// Finds the servers' files, fetching what isn't there yet. Done once a process.
    pub fn get() -> Result<&'static Artifacts> {
        static FOUND: OnceLock<Result<Artifacts>> = OnceLock::new();
        FOUND
            .get_or_init(find)
            .as_ref()
            .map_err(|error| Error::new(error.to_string()))
    }
}

/// The cache folder: `$OUTFLOW_TESTBED_CACHE`, else the user's own; root's is one that other users can
/// read, because Elasticsearch refuses to run as root.
pub fn cache_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("OUTFLOW_TESTBED_CACHE").filter(|dir| !dir.is_empty()) {
        return PathBuf::from(dir);
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/cache/outflow-testbed");
    }
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    home.join(".cache/outflow-testbed")
}

/// Kafka Connect's jars, its file sink among them: only the benchmark needs them.
pub fn kafka_connect() -> Result<PathBuf> {
    let (cache, _lock) = open_cache()?;
    fetch_set(&cache, &format!("kafka-connect-{KAFKA_VERSION}"), |dir| {
        let kafka = |artifact| ("org.apache.kafka", artifact, KAFKA_VERSION);
        fetch_jars(
            dir,
            &[kafka("connect-runtime"), kafka("connect-file"), LOGGER],
        )
    })
}

/// The cache folder, and the lock of whoever fetches into it.
fn open_cache() -> Result<(PathBuf, File)> {
    let cache = cache_dir();
    fs::create_dir_all(&cache).context(format!("can't create the cache {}", cache.display()))?;
    let lock = cache.join("lock");
    let lock = File::create(&lock).context(format!("can't create {}", lock.display()))?;
    lock.lock().context("can't lock the cache folder")?;
    Ok((cache, lock))
}

fn find() -> Result<Artifacts> {
    let (java, java_home) = find_java()?;
    let (cache, _lock) = open_cache()?;
    let kafka = format!("kafka-{KAFKA_VERSION}");
    let kafka = fetch_set(&cache, &kafka, |dir| {
        let kafka = |artifact| ("org.apache.kafka", artifact, KAFKA_VERSION);
        fetch_jars(dir, &[kafka("kafka_2.13"), kafka("kafka-tools"), LOGGER])
    })?;
    let hadoop = fetch_set(&cache, &format!("hadoop-{HADOOP_VERSION}-jaxb"), |dir| {
        let minicluster = (
            "org.apache.hadoop",
            "hadoop-client-minicluster",
            HADOOP_VERSION,
        );
        fetch_jars(dir, &[minicluster, JAXB, LOGGER])
    })?;
    let name = format!("elasticsearch-{ELASTICSEARCH_VERSION}");
    let elasticsearch = fetch_set(&cache, &name, fetch_elasticsearch)?.join(&name);
    Ok(Artifacts {
        java,
        java_home,
        kafka,
        elasticsearch,
        hadoop,
    })
}

fn fetch_set(cache: &Path, name: &str, fetch: impl Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let done = cache.join(name);
    if done.is_dir() {
        return Ok(done);
    }
    let _ = writeln!(
        std::io::stderr(),
        "testbed: fetching {name} into {} ...",
        cache.display()
    );
    let partial = cache.join(format!("{name}.partial"));
    // A fetch that was interrupted; we hold the lock.
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).context(format!("can't create {}", partial.display()))?;
    fetch(&partial).context(format!("can't fetch {name}"))?;
    fs::rename(&partial, &done).context(format!("can't move {name} into place"))?;
    Ok(done)
}

fn fetch_jars(dir: &Path, artifacts: &[(&str, &str, &str)]) -> Result<()> {
    let dependencies: String = artifacts
        .iter()
        .map(|(group, artifact, version)| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>"
            )
        })
        .collect();
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>testbed</groupId><artifactId>testbed</artifactId><version>1</version>\
         <dependencies>{dependencies}</dependencies></project>"
    );
    fs::write(dir.join("pom.xml"), pom).context("can't write pom.xml")?;
    let goal = format!("{DEPENDENCY_PLUGIN}:copy-dependencies");
    let output = format!("-DoutputDirectory={}", dir.display());
    maven(dir, &[&goal, &output, "-DincludeScope=runtime"])
}

fn fetch_elasticsearch(dir: &Path) -> Result<()> {
    let goal = format!("{DEPENDENCY_PLUGIN}:unpack");
    let artifact = format!(
        "-Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:\
         {ELASTICSEARCH_VERSION}:zip"
    );
    maven(
        dir,
        &[
            &goal,
            &artifact,
            &format!("-DoutputDirectory={}", dir.display()),
        ],
    )
}

fn maven(dir: &Path, args: &[&str]) -> Result<()> {
    let mut command = Command::new("mvn");
    command
        .args(["-B", "-q"])
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::new(format!(
                "mvn (Maven) isn't installed; {INSTALL_HINT}"
            )));
        }
        Err(error) => return Err(Error::new(format!("can't run mvn: {error}"))),
    };
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let first = lines.iter().take(8).copied().collect::<Vec<_>>().join("\n");
    Err(Error::new(format!(
        "mvn {} failed ({}):\n{first}",
        args.join(" "),
        output.status
    )))
}

/// `$JAVA_HOME` or the `java` in `PATH`; at least version 17.
fn find_java() -> Result<(PathBuf, PathBuf)> {
    let from_home = std::env::var_os("JAVA_HOME")
        .map(|home| PathBuf::from(home).join("bin/java"))
        .filter(|java| java.is_file());
    let java = from_home.or_else(|| tool::find("java")).ok_or_else(|| {
        Error::new(format!(
            "no Java was found in JAVA_HOME or PATH: a JDK 17 is needed; {INSTALL_HINT}"
        ))
    })?;
    let java = fs::canonicalize(&java).context(format!("can't follow {}", java.display()))?;
    let home = java
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("/"))
        .to_owned();
    let major = java_major(&java, &home)?;
    if major < 17 {
        let found = java.display();
        return Err(Error::new(format!(
            "{found} is Java {major}: 17 is needed; {INSTALL_HINT}"
        )));
    }
    Ok((java, home))
}

fn java_major(java: &Path, home: &Path) -> Result<u32> {
    // The JDK says its version in a file, which saves starting it.
    let release = fs::read_to_string(home.join("release")).unwrap_or_default();
    let mut version = release
        .lines()
        .find_map(|line| line.strip_prefix("JAVA_VERSION="))
        .map(|version| version.trim_matches('"').to_owned());
    if version.is_none() {
        let output = Command::new(java)
            .arg("-version")
            .stdin(Stdio::null())
            .output();
        let output = output.context(format!("can't run {}", java.display()))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        version = text.split('"').nth(1).map(str::to_owned);
    }
    let version = version.unwrap_or_default();
    let mut parts = version
        .split(['.', '-', '+'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    match (parts.next(), parts.next()) {
        (Some(1), Some(minor)) => Ok(minor),
        (Some(major), _) if major > 0 => Ok(major),
        _ => Err(Error::new(format!(
            "{} doesn't say its version",
            java.display()
        ))),
    }
}
