//! hdfs-native, wrapped: every call has our own timeout, every failure one of our words, and a client that hung
//! is replaced together with its runtime.
//!
//! hdfs-native waits for a NameNode without an end, and leaves tasks behind when a call is dropped half way. So
//! each client gets a small runtime of its own (an [`Instance`]). After anything unclear a new instance takes
//! over; the old one's runtime ends when the last file that was opened through it is gone.

mod closing;

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hdfs_native::client::FileStatus;
use hdfs_native::file::FileWriter;
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};
use tokio::runtime::{Handle, Runtime};

use super::failure::{self, Failure};
use super::log::{Call, Child, Outcome};
use crate::config::settings::HdfsSettings;
use crate::error::Error;

pub use closing::Unclosed;

/// The largest file that is read whole: log entries and history files, never data.
const MAX_READ_BYTES: usize = 64 << 20;

/// One client and the threads that its sockets live on.
#[derive(Debug)]
pub struct Instance {
    client: Client,
    _threads: Threads,
    number: u64,
}

/// A client's own runtime. A plain one would panic where it is dropped: inside another runtime.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> std::io::Result<(Self, Handle)> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("hdfs-client")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok((Threads(Some(runtime)), handle))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Not waiting: what hangs in there would hang us.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Access to one HDFS, shared by a sink's workers.
#[derive(Debug)]
pub struct Hdfs {
    url: String,
    config_dir: Option<PathBuf>,
    user: Option<String>,
    replication: Option<u32>,
    timeout: Duration,
    instance: Mutex<Option<Arc<Instance>>>,
    building: tokio::sync::Mutex<()>,
    numbers: AtomicU64,
}

/// An open file and the instance that it needs.
pub struct Writer {
    inner: FileWriter,
    instance: Arc<Instance>,
}

impl Hdfs {
    /// Access as the settings say. Nothing is connected yet.
    pub fn new(settings: &HdfsSettings) -> Self {
        Hdfs {
            url: settings.url.clone(),
            config_dir: settings.config_dir.clone(),
            user: settings.user.clone(),
            replication: settings.replication,
            timeout: settings.call_timeout,
            instance: Mutex::new(None),
            building: tokio::sync::Mutex::new(()),
            numbers: AtomicU64::new(0),
        }
    }

    /// The timeout of one call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Performs one call of the commit log.
    pub async fn perform(&self, call: Call) -> Outcome {
        let outcome = match call {
            Call::List { path } => self.list(&path).await.map(Outcome::Listed),
            Call::Stat { path } => self.stat(&path).await.map(|status| Outcome::Found {
                is_folder: status.isdir,
                bytes: status.length as u64,
            }),
            Call::Read { path } => self.read(&path).await.map(Outcome::Content),
            Call::MakeDir { path, parents } => {
                self.make_dir(&path, parents).await.map(|()| Outcome::Done)
            }
            Call::Create { path, content } => self
                .create_whole(&path, content)
                .await
                .map(|()| Outcome::Done),
            Call::Rename { from, to } => self.rename(&from, &to).await.map(|()| Outcome::Done),
            Call::Delete { path, tree } => self.delete(&path, tree).await.map(|()| Outcome::Done),
        };
        outcome.unwrap_or_else(|failure| match failure {
            Failure::NotFound(_) => Outcome::NotFound,
            Failure::Exists(_) => Outcome::Exists,
            Failure::Refused(why) => Outcome::Refused(why),
            Failure::Unknown(why) => Outcome::Unknown(why),
        })
    }

    /// The children of a folder.
    pub async fn list(&self, path: &str) -> Result<Vec<Child>, Failure> {
        let listed = self
            .call("list", path, |client| async move {
                client.list_status(path, false).await
            })
            .await?;
        let child = |status: FileStatus| Child {
            name: file_name(&status.path).to_owned(),
            is_folder: status.isdir,
            bytes: status.length as u64,
        };
        Ok(listed.into_iter().map(child).collect())
    }

    /// What is known of a file or folder.
    pub async fn stat(&self, path: &str) -> Result<FileStatus, Failure> {
        self.call("look up", path, |client| async move {
            client.get_file_info(path).await
        })
        .await
    }

    /// A small file's content.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.call("read", path, |client| async move {
            let mut reader = client.read(path).await?;
            let length = reader.file_length();
            if length > MAX_READ_BYTES {
                let what = format!("{path} has {length} bytes, which no file of the log has");
                return Err(HdfsError::InvalidArgument(what));
            }
            Ok(reader.read_bytes(length).await?.to_vec())
        })
        .await
    }

    /// A part of a data file; less if the file ends before.
    pub async fn read_part(&self, path: &str, at: u64, length: u64) -> Result<Bytes, Failure> {
        let (at, length) = (at as usize, length as usize);
        self.call("read", path, |client| async move {
            let reader = client.read(path).await?;
            let length = length.min(reader.file_length().saturating_sub(at));
            match length {
                0 => Ok(Bytes::new()),
                length => reader.read_range(at, length).await,
            }
        })
        .await
    }

    /// Makes a folder; fine if it is there.
    pub async fn make_dir(&self, path: &str, parents: bool) -> Result<(), Failure> {
        self.call("make the folder", path, |client| async move {
            client.mkdirs(path, 0o755, parents).await
        })
        .await
    }

    /// Renames without overwriting.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        self.call("rename", from, |client| async move {
            client.rename(from, to, false).await
        })
        .await
    }

    /// Deletes; fine if nothing is there.
    pub async fn delete(&self, path: &str, tree: bool) -> Result<(), Failure> {
        self.call("delete", path, |client| async move {
            client.delete(path, tree).await.map(|_| ())
        })
        .await
    }

    /// Whether a file is closed for good; starts the recovery of its lease if it isn't.
    pub async fn recover_lease(&self, path: &str) -> Result<bool, Failure> {
        self.call("recover the lease of", path, |client| async move {
            client.recover_lease(path).await
        })
        .await
    }

    /// Creates a data file: not its parents, and never over another.
    pub async fn create(&self, path: &str) -> Result<Writer, Failure> {
        let options = WriteOptions {
            replication: self.replication,
            ..plain_options()
        };
        self.open(path, options).await
    }

    /// Creates a small file with this content and closes it.
    pub async fn create_whole(&self, path: &str, content: Vec<u8>) -> Result<(), Failure> {
        let mut writer = self.open(path, plain_options()).await?;
        let bytes = content.len() as u64;
        let written = match self.write(&mut writer, path, content.into()).await {
            Ok(()) => self
                .close(&mut writer, path, bytes)
                .await
                .map_err(|failed| match failed {
                    Unclosed::Broken(why) | Unclosed::Unclear(why) => why,
                }),
            failed => failed,
        };
        written.map_err(|why| {
            // The name is taken now, whatever the file is like.
            self.retire(&writer.instance);
            Failure::Unknown(why)
        })
    }

    async fn open(&self, path: &str, options: WriteOptions) -> Result<Writer, Failure> {
        let instance = self.instance().await?;
        let created = self.bounded(instance.client.create(path, &options)).await;
        match created {
            Ok(Ok(inner)) => Ok(Writer { inner, instance }),
            Ok(Err(error)) => Err(self.failed(&instance, "create", path, error)),
            Err(timeout) => Err(self.hung(&instance, "create", path, timeout)),
        }
    }

    /// Writes to a file. After a failure it can only be given up.
    pub async fn write(&self, writer: &mut Writer, path: &str, data: Bytes) -> Result<(), Error> {
        let written = self.bounded(writer.inner.write_bytes(data)).await;
        let failure = match written {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => self.failed(&writer.instance, "write to", path, error),
            Err(timeout) => self.hung(&writer.instance, "write to", path, timeout),
        };
        Err(failure.into_error())
    }

    async fn call<T, F>(
        &self,
        verb: &'static str,
        path: &str,
        run: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = hdfs_native::Result<T>>,
    {
        let instance = self.instance().await?;
        match self.bounded(run(instance.client.clone())).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.failed(&instance, verb, path, error)),
            Err(timeout) => Err(self.hung(&instance, verb, path, timeout)),
        }
    }

    async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, Duration> {
        tokio::time::timeout(self.timeout, work)
            .await
            .map_err(|_| self.timeout)
    }

    fn failed(&self, used: &Arc<Instance>, verb: &str, path: &str, error: HdfsError) -> Failure {
        let failure = failure::classify(verb, path, error);
        if matches!(failure, Failure::Unknown(_)) {
            self.retire(used);
        }
        failure
    }

    fn hung(&self, used: &Arc<Instance>, verb: &str, path: &str, timeout: Duration) -> Failure {
        self.retire(used);
        let seconds = timeout.as_secs_f64();
        Failure::Unknown(Error::unavailable(format!(
            "no answer from HDFS within {seconds:.1} s to: {verb} {path}; \
             look at the NameNode's and the DataNodes' health"
        )))
    }

    /// The next call gets another instance than this one.
    fn retire(&self, used: &Arc<Instance>) {
        let mut current = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|i| i.number == used.number) {
            *current = None;
        }
    }

    async fn instance(&self) -> Result<Arc<Instance>, Failure> {
        let current = || {
            self.instance
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        if let Some(instance) = current() {
            return Ok(instance);
        }
        // One at a time: after an outage a thousand partitions come at once, and want one client.
        let _building = self.building.lock().await;
        if let Some(instance) = current() {
            return Ok(instance);
        }
        // Building reads files and resolves names, which can hang like any call.
        let built = self.bounded(self.build()).await.unwrap_or_else(|timeout| {
            let seconds = timeout.as_secs_f64();
            Err(Failure::Refused(Error::unavailable(format!(
                "the HDFS client for {} couldn't be set up within {seconds:.1} s; look at name resolution \
                 and at hdfs.config_dir",
                self.url
            ))))
        })?;
        let built = Arc::new(built);
        let mut place = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Arc::clone(&built));
        Ok(built)
    }

    async fn build(&self) -> Result<Instance, Failure> {
        let (threads, handle) = Threads::start().map_err(|error| {
            let what = format!("can't start threads for the HDFS client: {error}");
            Failure::Refused(Error::unavailable(what))
        })?;
        let mut builder = ClientBuilder::new()
            .with_url(&self.url)
            .with_config(overrides(&self.url))
            .with_io_runtime(handle);
        if let Some(dir) = &self.config_dir {
            builder = builder.with_config_dir(dir.to_string_lossy());
        }
        if let Some(user) = &self.user {
            builder = builder.with_user(user);
        }
        // It reads files, resolves names and may load Kerberos: beside the runtime, and a panic in it is ours
        // to report.
        let built = tokio::task::spawn_blocking(move || builder.build()).await;
        let url = &self.url;
        let client = match built {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(failure::classify("connect to", url, error)),
            Err(_) => {
                let what =
                    format!("the HDFS client can't be set up for {url}: see its own log lines");
                return Err(Failure::Refused(Error::misconfigured(what)));
            }
        };
        Ok(Instance {
            client,
            _threads: threads,
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
        })
    }
}

/// What of Hadoop's own configuration is ours to decide: reads go to the active NameNode, never to an observer
/// (its view may be stale), and we do our own waiting between tries, so only the NameNodes of one name service
/// are tried in turn.
fn overrides(url: &str) -> Vec<(String, String)> {
    let is_one_namenode = url::Url::parse(url).is_ok_and(|url| url.port().is_some());
    let attempts = if is_one_namenode { "0" } else { "4" };
    let mut overrides = vec![
        ("dfs.client.failover.max.attempts".into(), attempts.into()),
        ("dfs.client.failover.sleep.base.millis".into(), "100".into()),
        ("dfs.client.failover.sleep.max.millis".into(), "1000".into()),
    ];
    if let Some(host) = url::Url::parse(url)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
    {
        overrides.push((
            format!("dfs.client.failover.proxy.provider.{host}"),
            "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider".into(),
        ));
    }
    overrides
}

fn plain_options() -> WriteOptions {
    WriteOptions {
        create_parent: false,
        overwrite: false,
        ..WriteOptions::default()
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
