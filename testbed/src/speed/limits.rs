//! What can be had on this machine: kcat that reads to nothing, a bare `_bulk` loop, Hadoop's own client.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testbed::error::Context;
use testbed::http::Method;
use testbed::{Elasticsearch, Error, Hdfs, Kafka, Result};

use super::records::{Topic, Values};
use super::usage::{self, Killed, Usage};

const PATIENCE: Duration = Duration::from_secs(600);
/// Documents in a prepared body: about 700 KB.
const DOCS: usize = 2_000;
/// Requests at once: as many as outflow finds to be enough on two cores.
const AT_ONCE: usize = 8;

/// Says how to get kcat if it isn't there.
pub fn find_kcat() -> Result<()> {
    let found = Command::new("kcat")
        .arg("-V")
        .stdout(Stdio::null())
        .status();
    found
        .map(|_| ())
        .context("kcat isn't there: apt-get install kcat (or run `make bench`, which sees to it)")
}

/// Reads a topic from its beginning to its end, to nothing.
fn kcat(bootstrap: &str, topic: &str) -> Command {
    let mut kcat = Command::new("kcat");
    kcat.args(["-C", "-q", "-e", "-o", "beginning"])
        .args(["-b", bootstrap, "-t", topic])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    kcat
}

/// kcat reads the whole topic, once, to nothing.
pub fn read_to_nothing(kafka: &Kafka, topic: &Topic) -> Result<Usage> {
    usage::run(&mut kcat(&kafka.bootstrap(), &topic.name), PATIENCE)
}

/// kcat beside what is measured, again and again, until it is dropped.
pub struct Beside {
    stop: Arc<AtomicBool>,
    running: Arc<Mutex<Option<Killed>>>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    /// Starts it.
    pub fn start(kafka: &Kafka, topic: &Topic) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let running = Arc::new(Mutex::new(None));
        let (bootstrap, topic) = (kafka.bootstrap(), topic.name.clone());
        let (stopped, current) = (stop.clone(), running.clone());
        let work = move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok(child) = kcat(&bootstrap, &topic).spawn() else {
                    return;
                };
                *lock(&current) = Some(Killed(child));
                while !stopped.load(Ordering::Relaxed) {
                    let ended = match &mut *lock(&current) {
                        Some(child) => child.0.try_wait().map_or(true, |code| code.is_some()),
                        None => true,
                    };
                    if ended {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        };
        Beside {
            stop,
            running,
            thread: std::thread::Builder::new().spawn(work).ok(),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        lock(&self.running).take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bulk bodies as outflow sends them: the same action, ids of the same form.
pub fn bodies(index: &str, num: usize) -> Vec<Vec<u8>> {
    let mut values = Values::new();
    let mut bodies = Vec::new();
    for first in (0..num).step_by(DOCS) {
        let mut body = Vec::new();
        for n in first..num.min(first + DOCS) {
            let Some(value) = values.next() else { break };
            let (partition, offset) = (n % 8, n / 8);
            let action = format!(
                "{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"{index}+{partition}+{offset}\"}}}}\n"
            );
            body.extend_from_slice(action.as_bytes());
            body.extend_from_slice(value.as_bytes());
            body.push(b'\n');
        }
        bodies.push(body);
    }
    bodies
}

/// Documents a second of a loop that does nothing but send prepared bodies; the first tenth isn't counted.
pub fn bulk_loop(elasticsearch: &Elasticsearch, bodies: Vec<Vec<u8>>) -> Result<f64> {
    let (num, skipped) = (bodies.len(), bodies.len() / 10);
    let left = Mutex::new(bodies.into_iter());
    let done = AtomicUsize::new(0);
    let started: Mutex<Option<Instant>> = Mutex::new(None);
    let send = || -> Result<()> {
        let http = elasticsearch.http();
        loop {
            let Some(body) = lock(&left).next() else {
                return Ok(());
            };
            let query = "/_bulk?filter_path=errors,items.*.status,items.*.error.type";
            let answer = http.send(Method::POST, query, Some(("application/x-ndjson", body)))?;
            if answer.status != 200 || !answer.body.starts_with(b"{\"errors\":false") {
                let text = answer.text();
                return Err(Error::new(format!(
                    "the bulk loop's documents were refused: {text}"
                )));
            }
            if done.fetch_add(1, Ordering::Relaxed) == skipped {
                *lock(&started) = Some(Instant::now());
            }
        }
    };
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(send)).collect();
        senders.into_iter().try_for_each(|sender| {
            sender
                .join()
                .unwrap_or_else(|_| Err(Error::new("a sender panicked")))
        })
    })?;
    let started = lock(&started).ok_or_else(|| Error::new("too few bodies"))?;
    let docs = (num - skipped - 1) * DOCS;
    Ok(docs as f64 / started.elapsed().as_secs_f64())
}

/// Hadoop's own client in a JVM that stays warm: writes when it is told to.
pub struct Writers {
    child: Killed,
}

impl Writers {
    /// Compiles and starts it, and lets it write once.
    pub fn start(hdfs: &Hdfs, dir: &Path) -> Result<Self> {
        let artifacts = testbed::artifacts::Artifacts::get()?;
        let source = dir.join("Writers.java");
        std::fs::write(&source, include_str!("Writers.java")).context("can't write a file")?;
        let mut java = Command::new(&artifacts.java);
        java.args(["-Xms1g", "-Xmx1g", "-cp"])
            .arg(format!("{}/*", artifacts.hadoop.display()))
            .arg(&source)
            .arg(hdfs.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let child = Killed(java.spawn().context("can't run java")?);
        Ok(Writers { child })
    }

    /// Eight writers write `bytes` in all, below `base`; MB a second until the last file is closed. `synced`: the
    /// DataNodes sync every block to disk, as hdfs-native has them do it.
    pub fn write(&mut self, base: &str, bytes: u64, synced: bool) -> Result<f64> {
        let millis = self.tell(&format!("{base} {bytes} {synced}"))?;
        Ok(bytes as f64 / 1e3 / millis)
    }

    /// Makes so many empty files in `folder`.
    pub fn make_files(&mut self, folder: &str, num: usize) -> Result<()> {
        self.tell(&format!("{folder} {num} files")).map(|_| ())
    }

    /// Tells it one line; how many milliseconds it took.
    fn tell(&mut self, line: &str) -> Result<f64> {
        use std::io::{BufRead as _, BufReader, Write as _};
        let stdin = self.child.0.stdin.as_mut();
        let stdin = stdin.ok_or_else(|| Error::new("java has no input"))?;
        writeln!(stdin, "{line}").context("java is gone")?;
        let stdout = self.child.0.stdout.as_mut();
        let stdout = stdout.ok_or_else(|| Error::new("java has no output"))?;
        let mut said = String::new();
        BufReader::with_capacity(1, stdout)
            .read_line(&mut said)
            .context("java is gone")?;
        let said = said.trim();
        said.parse()
            .context(format!("told {line:?}, the writers said {said:?}"))
    }
}
