//! The commit log from outside: what it says, and moving it. Looking changes nothing; moving opens the log under
//! the fence, as any owner does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::client::Hdfs;
use super::failure::Failure;
use super::log::names::{self, EntryState, OwnerFolder};
use super::log::{Action, CommitLog, Entry, Event, Identity, Move, Opening, Outcome};
use super::reading::DataFile;
use crate::config::settings::HdfsSettings;
use crate::error::Error;
use crate::offsets::TopicPartition;

/// How many partitions, or files, are looked at at once.
const AT_ONCE: usize = 16;
/// How often a log that changes hands is looked at again.
const LOOKS: usize = 5;
/// How long moving one log may take: a person waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between tries.
const PAUSE: Duration = Duration::from_millis(300);

/// A log as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The owner's folder, absolute.
    pub folder: String,
    /// Epoch and owner.
    pub owner: OwnerFolder,
    /// The newest entry: where the log ends, and whose it is.
    pub newest: Entry,
}

/// Access to the logs below one base.
pub struct LogAdmin {
    hdfs: Arc<Hdfs>,
    base: String,
    /// Part of the owners' ids.
    owner: String,
}

impl LogAdmin {
    /// Access as the settings say; `command` becomes part of the owner's name.
    pub fn new(settings: &HdfsSettings, command: &str) -> Self {
        LogAdmin {
            hdfs: Arc::new(Hdfs::new(settings)),
            base: settings.base.clone(),
            owner: format!("{}-{command}", super::owner_id()),
        }
    }

    /// The logs of these partitions, those that there are.
    pub async fn look_at(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Seen>, Error> {
        let looks = partitions.iter().cloned().map(|partition| {
            let (hdfs, base) = (Arc::clone(&self.hdfs), self.base.clone());
            async move {
                let seen = look(&hdfs, &base, &partition).await?;
                Ok((partition, seen))
            }
        });
        let seen = all(looks).await?;
        let there = seen.into_iter().filter_map(|(id, seen)| Some((id, seen?)));
        Ok(there.collect())
    }

    /// Every entry of a log, the oldest first.
    pub async fn entries(&self, seen: &Seen) -> Result<Vec<Entry>, Error> {
        let mut entries = BTreeMap::new();
        // The folder before the history: entries that are rolled up meanwhile are in both, or missed aloud.
        let listed = self.hdfs.list(&seen.folder).await;
        let children = listed.map_err(|failure| changed_hands(&seen.folder, failure))?;
        let own = children.iter().filter_map(|child| {
            let (seq, _) = names::parse_entry(&child.name)?;
            Some((seq, format!("{}/{}", seen.folder, child.name)))
        });
        let reads = own.map(|(seq, path)| {
            let hdfs = Arc::clone(&self.hdfs);
            async move {
                let content = hdfs.read(&path).await;
                let content = content.map_err(|failure| changed_hands(&path, failure))?;
                Entry::read(&path, seq, &content)
            }
        });
        for entry in all(reads).await? {
            entries.insert(entry.seq, entry);
        }
        let history = format!("{}/history", seen.folder);
        let rolled = match self.hdfs.list(&history).await {
            Ok(children) => children,
            Err(Failure::NotFound(_)) => Vec::new(),
            Err(failure) => return Err(failure.into_error()),
        };
        for child in rolled.iter().filter(|child| child.name.ends_with(".jsonl")) {
            let path = format!("{history}/{}", child.name);
            let content = self.hdfs.read(&path).await.map_err(Failure::into_error)?;
            for line in content
                .split(|byte| *byte == b'\n')
                .filter(|l| !l.is_empty())
            {
                let entry = Entry::read_line(&path, line)?;
                entries.insert(entry.seq, entry);
            }
        }
        Ok(entries.into_values().collect())
    }

    /// The numbers of a log's entries whose files aren't all published.
    pub async fn unfinished(&self, seen: &Seen) -> Result<Vec<u64>, Error> {
        let listed = self.hdfs.list(&seen.folder).await;
        let children = listed.map_err(|failure| changed_hands(&seen.folder, failure))?;
        let named = children.iter().filter_map(|c| names::parse_entry(&c.name));
        let unfinished = named.filter(|(_, state)| *state == EntryState::Committed);
        Ok(unfinished.map(|(seq, _)| seq).collect())
    }

    /// Every file below a topic's folder that readers see, by its path relative to the base, with its length.
    pub async fn tree(&self, topic: &str) -> Result<Vec<(String, u64)>, Error> {
        let mut files = Vec::new();
        let mut folders = vec![names::topic_segment(topic)];
        while !folders.is_empty() {
            let lists = std::mem::take(&mut folders).into_iter().map(|folder| {
                let (hdfs, full) = (Arc::clone(&self.hdfs), format!("{}/{folder}", self.base));
                async move {
                    match hdfs.list(&full).await {
                        Ok(children) => Ok((folder, children)),
                        Err(Failure::NotFound(_)) => Ok((folder, Vec::new())),
                        Err(failure) => Err(failure.into_error()),
                    }
                }
            });
            for (folder, children) in all(lists).await? {
                // Readers skip the others.
                let seen = children
                    .into_iter()
                    .filter(|c| !c.name.starts_with(['_', '.']));
                for child in seen {
                    let path = format!("{folder}/{}", child.name);
                    match child.is_folder {
                        true => folders.push(path),
                        false => files.push((path, child.bytes)),
                    }
                }
            }
        }
        Ok(files)
    }

    /// A committed file, by its path relative to the base, for reading.
    pub fn open_file(&self, path: &str, bytes: u64) -> Result<DataFile, Error> {
        let full = format!("{}/{path}", self.base);
        DataFile::new(Arc::clone(&self.hdfs), full, bytes)
    }

    /// Whether a file of a log's folder is there, such as a temp file that isn't published yet.
    pub async fn holds(&self, seen: &Seen, name: &str) -> Result<bool, Error> {
        match self.hdfs.stat(&format!("{}/{name}", seen.folder)).await {
            Ok(_) => Ok(true),
            Err(Failure::NotFound(_)) => Ok(false),
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// Which of these files, by their paths relative to the base, are there.
    pub async fn standing(&self, paths: Vec<String>) -> Result<Vec<String>, Error> {
        let stats = paths.into_iter().map(|path| {
            let (hdfs, full) = (Arc::clone(&self.hdfs), format!("{}/{path}", self.base));
            async move {
                match hdfs.stat(&full).await {
                    Ok(_) => Ok(Some(path)),
                    Err(Failure::NotFound(_)) => Ok(None),
                    Err(failure) => Err(failure.into_error()),
                }
            }
        });
        Ok(all(stats).await?.into_iter().flatten().collect())
    }

    /// Makes a log that begins at `start`, where there is none yet.
    pub async fn begin(
        &self,
        partition: &TopicPartition,
        identity: Identity,
        start: i64,
    ) -> Result<(), Error> {
        let wanted = Move {
            from: start,
            to: start,
            by: String::new(),
            was: None,
            aside: Vec::new(),
        };
        let mut log = CommitLog::new(self.opening(partition, 0, &identity, &wanted));
        let opened = self.drive(&mut log, Event::Open, Instant::now() + PATIENCE);
        match opened.await {
            Ok(()) if log.end() == start => Ok(()),
            Ok(()) => Err(Error::unavailable(format!(
                "{partition}: there is a log meanwhile, which ends at {}: look again",
                log.end()
            ))),
            Err(End::Again(why) | End::Final(why)) => Err(why),
        }
    }

    /// Opens the log under the fence and moves it. Whatever fails may be tried again.
    pub async fn apply(
        &self,
        partition: &TopicPartition,
        identity: Identity,
        wanted: &Move,
    ) -> Result<(), Error> {
        let until = Instant::now() + PATIENCE;
        let mut began = false;
        for opening in 1.. {
            let mut log = CommitLog::new(self.opening(partition, opening, &identity, wanted));
            match self
                .open_and_move(&mut log, wanted, &mut began, until)
                .await
            {
                Ok(()) => return Ok(()),
                Err(End::Again(why)) if Instant::now() >= until => return Err(why),
                Err(End::Again(_)) => tokio::time::sleep(PAUSE).await,
                Err(End::Final(why)) => return Err(why),
            }
        }
        Ok(())
    }

    fn opening(
        &self,
        partition: &TopicPartition,
        number: u32,
        identity: &Identity,
        wanted: &Move,
    ) -> Opening {
        Opening {
            base: self.base.clone(),
            topic: partition.topic.to_string(),
            partition: partition.partition,
            owner: format!("{}-{}-{number}", self.owner, partition.partition),
            identity: identity.clone(),
            committed: None,
            start: Some(wanted.to),
            takes_over: wanted.was.clone(),
        }
    }

    async fn open_and_move(
        &self,
        log: &mut CommitLog,
        wanted: &Move,
        began: &mut bool,
        until: Instant,
    ) -> Result<(), End> {
        self.drive(log, Event::Open, until).await?;
        // An opening before this one came as far as the entry; this one has finished it.
        if *began && log.end() == wanted.to {
            return Ok(());
        }
        *began = true;
        self.drive(log, Event::Move(wanted.clone()), until).await
    }

    /// Performs what follows from `event`, until there is nothing more to do.
    async fn drive(&self, log: &mut CommitLog, event: Event, until: Instant) -> Result<(), End> {
        let mut actions = log.step(event);
        while !actions.is_empty() {
            let mut next = Vec::new();
            for action in actions {
                match action {
                    Action::Call { id, call } => {
                        let outcome: Outcome = self.hdfs.perform(call).await;
                        next.extend(log.step(Event::Answer { id, outcome }));
                    }
                    Action::Backoff { why } => {
                        if Instant::now() >= until {
                            return Err(End::Final(why));
                        }
                        tokio::time::sleep(PAUSE).await;
                        next.extend(log.step(Event::Retry));
                    }
                    Action::Opened { .. } | Action::Committed { .. } => {}
                    Action::Rewind { why } => return Err(End::Again(why)),
                    Action::Stopped { why } => return Err(End::Final(why)),
                    Action::Fenced { why } => {
                        return Err(End::Final(Error::unavailable(format!(
                            "{}: somebody opened this log meanwhile; stop outflow everywhere, and try again",
                            why.what
                        ))));
                    }
                }
            }
            actions = next;
        }
        Ok(())
    }
}

/// How an opening ended early.
enum End {
    Again(Error),
    Final(Error),
}

async fn look(hdfs: &Hdfs, base: &str, partition: &TopicPartition) -> Result<Option<Seen>, Error> {
    let logs = names::logs_folder(base, &partition.topic);
    let place = format!("{logs}/{}", partition.partition);
    let mut last = Error::unavailable(format!("{place} changes hands again and again"));
    for _ in 0..LOOKS {
        let children = match hdfs.list(&place).await {
            Ok(children) => children,
            Err(Failure::NotFound(_)) => return Ok(None),
            Err(failure) => return Err(failure.into_error()),
        };
        let mut owners = children
            .iter()
            .filter_map(|child| OwnerFolder::parse(&child.name));
        let (Some(owner), None) = (owners.next(), owners.next()) else {
            return Err(Error::corrupt(format!(
                "{place} should hold exactly one folder <epoch>-<identity>-<owner>, and doesn't: was it changed \
                 by hand?"
            )));
        };
        let folder = format!("{place}/{owner}");
        let read = newest(hdfs, &folder).await;
        match read {
            Ok(newest) => {
                return Ok(Some(Seen {
                    folder,
                    owner,
                    newest,
                }));
            }
            // Another owner has opened it, or the entry was marked done.
            Err(Failure::NotFound(why)) => last = why,
            Err(failure) => return Err(failure.into_error()),
        }
    }
    Err(last)
}

async fn newest(hdfs: &Hdfs, folder: &str) -> Result<Entry, Failure> {
    let children = hdfs.list(folder).await?;
    let entries = children
        .iter()
        .filter_map(|child| names::parse_entry(&child.name));
    let Some((seq, state)) = entries.max_by_key(|(seq, _)| *seq) else {
        let what = format!("{folder} holds no entry");
        return Err(Failure::Refused(Error::corrupt(what)));
    };
    let path = format!("{folder}/{}", names::entry(seq, state));
    let content = match (hdfs.read(&path).await, state) {
        (Err(Failure::NotFound(_)), EntryState::Committed) => {
            let done = format!("{folder}/{}", names::entry(seq, EntryState::Done));
            hdfs.read(&done).await?
        }
        (read, _) => read?,
    };
    Entry::read(&path, seq, &content).map_err(Failure::Refused)
}

fn changed_hands(path: &str, failure: Failure) -> Error {
    match failure {
        Failure::NotFound(_) => Error::unavailable(format!(
            "{path} is gone: somebody opened this log meanwhile; stop outflow everywhere, and try again"
        )),
        failure => failure.into_error(),
    }
}

/// All of these, some at once, in any order; the first failure ends it.
async fn all<T: Send + 'static>(
    work: impl Iterator<Item = impl Future<Output = Result<T, Error>> + Send + 'static>,
) -> Result<Vec<T>, Error> {
    let mut running = JoinSet::new();
    let mut done = Vec::new();
    let mut work = work.peekable();
    while work.peek().is_some() || !running.is_empty() {
        while running.len() < AT_ONCE
            && let Some(next) = work.next()
        {
            running.spawn(next);
        }
        match running.join_next().await {
            Some(Ok(result)) => done.push(result?),
            Some(Err(_)) => return Err(Error::unavailable("a look at HDFS ended unexpectedly")),
            None => {}
        }
    }
    Ok(done)
}
