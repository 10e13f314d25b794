//! Watches one cluster, on two threads: one asks which topics there are and where logs end, one reads what groups commit.
//! Both try without an end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::progress::Progress;
use super::watched::{Watched, Who};
use crate::backoff::{Backoff, Policy};
use crate::config::settings::ClusterSettings;
use crate::error::{Error, Kind};
use crate::kafka::watch::{Brokers, GroupLog, Heard, OFFSETS_TOPIC};
use crate::lag::{Hole, LogEnd, Sighting, group_records};

/// A stop is noticed within it.
const TICK: Duration = Duration::from_millis(100);
/// How often groups that are gone are looked for.
const EXPIRE: Duration = Duration::from_secs(60);
/// So long it is waited until all log ends are known before commits are read: those of a log without an end are dropped.
const ENDS_PATIENCE: Duration = Duration::from_secs(30);
/// While single partitions can't be asked, leaders are looked up this often.
const LEADERS: Duration = Duration::from_secs(10);

/// Where the group log begins and ends, by partition.
type Starts = BTreeMap<i32, (i64, i64)>;

/// The two threads of a cluster.
#[derive(Debug)]
pub struct Watch {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    /// Starts them.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(settings: &ClusterSettings, watched: &Arc<Watched>) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let (starts, begin) = channel();
        let logs = Logs {
            settings: settings.clone(),
            watched: watched.clone(),
            stop: stop.clone(),
            starts: Some(starts),
            started: Instant::now(),
        };
        let groups = Groups {
            settings: settings.clone(),
            watched: watched.clone(),
            stop: stop.clone(),
            num_unread: 0,
        };
        let logs = spawn("monitor-logs", move || logs.run())?;
        let groups = spawn("monitor-groups", move || groups.run(&begin))?;
        Ok(Watch {
            threads: vec![logs, groups],
            stop,
        })
    }

    /// Whether both threads are there; one that panicked isn't.
    pub fn is_alive(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Tells them to end; nobody waits for them, as nothing is lost.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let thread = thread::Builder::new().name(name.into());
    let spawned = thread.spawn(work);
    spawned.map_err(|why| Error::unavailable(format!("no thread to watch a cluster: {why}")))
}

/// Work resumes within 5 s of a broker's return.
fn backoff() -> Backoff {
    let (first, longest) = (Duration::from_millis(200), Duration::from_secs(3));
    Backoff::new(Policy::new(first, longest))
}

fn told(error: &Error) -> (String, bool) {
    (error.what.clone(), error.kind == Kind::Misconfigured)
}

/// Asks for topics and log ends.
struct Logs {
    settings: ClusterSettings,
    watched: Arc<Watched>,
    stop: Arc<AtomicBool>,
    /// Told once where the group log begins.
    starts: Option<Sender<Starts>>,
    started: Instant,
}

impl Logs {
    fn run(mut self) {
        let mut backoff = backoff();
        let mut brokers = None;
        let (mut next_look, mut next_expiry) = (Instant::now(), Instant::now() + EXPIRE);
        let mut next = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(brokers) = &mut brokers {
                self.take_holes(brokers);
            }
            let now = Instant::now();
            if now >= next_expiry {
                self.watched.store().expire(self.watched.now_ms());
                next_expiry = now + EXPIRE;
            }
            if now < next {
                thread::sleep(TICK.min(next - now));
                continue;
            }
            match self.turn(&mut brokers, &mut next_look) {
                Ok(trouble) => {
                    backoff.reset();
                    if trouble.is_some() {
                        next_look = next_look.min(now + LEADERS);
                    }
                    let trouble = trouble.as_ref().map(told);
                    self.watched.set_trouble(Who::Logs, trouble);
                    self.watched.set_no_logs(false);
                    next = now + self.settings.offset_refresh;
                }
                Err(error) => {
                    self.watched.set_trouble(Who::Logs, Some(told(&error)));
                    self.watched.set_no_logs(true);
                    // Leaders may have moved.
                    next_look = Instant::now();
                    let pause = backoff.next_delay(None);
                    next = Instant::now() + pause.min(self.settings.offset_refresh);
                }
            }
        }
    }

    /// Asks once. Fails if nobody answers; what comes back says why single logs aren't known.
    fn turn(
        &mut self,
        brokers: &mut Option<Brokers>,
        next_look: &mut Instant,
    ) -> Result<Option<Error>, Error> {
        let brokers = match brokers {
            Some(brokers) => brokers,
            None => brokers.insert(Brokers::new(&self.settings)?),
        };
        if Instant::now() >= *next_look {
            brokers.look()?;
            let sightings: Vec<_> = brokers.topics().iter().map(sighting).collect();
            self.watched.store().set_topics(&sightings);
            *next_look = Instant::now() + self.settings.topic_refresh;
        }
        let mut ends = Vec::new();
        let trouble = brokers.log_ends(&mut |id, end| ends.push((id.clone(), end)));
        if let (Some(error), true) = (&trouble, ends.is_empty()) {
            return Err(error.clone());
        }
        let at_ms = self.watched.now_ms();
        let mut store = self.watched.store();
        for (id, offset) in ends {
            store.take_log_end(&id.topic, id.partition, LogEnd { offset, at_ms });
        }
        drop(store);
        if trouble.is_none() || self.started.elapsed() > ENDS_PATIENCE {
            self.tell_starts(brokers, at_ms, next_look);
        }
        Ok(trouble)
    }

    /// Tells once where the group log begins.
    fn tell_starts(&mut self, brokers: &Brokers, now_ms: i64, next_look: &mut Instant) {
        let Some(starts) = self.starts.take() else {
            return;
        };
        let back = i64::try_from(self.settings.read_back.as_millis()).unwrap_or(i64::MAX);
        match brokers.starts(now_ms.saturating_sub(back).max(0)) {
            // Whoever reads is there as long as the process.
            Ok(found) => drop(starts.send(found)),
            Err(error) => {
                self.starts = Some(starts);
                *next_look = Instant::now();
                tracing::debug!("{error}");
            }
        }
    }

    fn take_holes(&self, brokers: &mut Brokers) {
        for (id, hole) in brokers.holes(|| self.watched.store().stuck()) {
            let hole = Hole {
                from: hole.first,
                end: hole.end,
            };
            self.watched
                .store()
                .take_hole(&id.topic, id.partition, hole);
        }
    }
}

fn sighting(topic: &crate::kafka::watch::SeenTopic) -> Sighting<'_> {
    Sighting {
        name: &topic.name,
        id: topic.id,
        num_partitions: topic.leaders.len(),
    }
}

/// Reads what groups commit.
struct Groups {
    settings: ClusterSettings,
    watched: Arc<Watched>,
    stop: Arc<AtomicBool>,
    /// Records that couldn't be read.
    num_unread: u64,
}

impl Groups {
    fn run(mut self, begin: &Receiver<Starts>) {
        let starts = loop {
            match begin.recv_timeout(TICK) {
                Ok(starts) => break starts,
                Err(RecvTimeoutError::Timeout) if !self.stop.load(Ordering::Relaxed) => {}
                Err(_) => return,
            }
        };
        let mut progress = Progress::new(&starts);
        let mut backoff = backoff();
        while !self.stop.load(Ordering::Relaxed) {
            match GroupLog::open(&self.settings, progress.positions()) {
                Ok(log) => self.read(log, &mut progress),
                Err(error) => {
                    self.watched.set_trouble(Who::Groups, Some(told(&error)));
                    thread::sleep(backoff.next_delay(None));
                }
            }
        }
    }

    /// Reads until it is stopped, or until nothing has come for too long though there is something to read: librdkafka may
    /// stop reading after brokers were away (its issue 5153), and only another client helps then.
    fn read(&mut self, mut log: GroupLog, progress: &mut Progress) {
        let mut next_check = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            self.take(&mut log, progress);
            let now = Instant::now();
            if now < next_check {
                continue;
            }
            next_check = now + Duration::from_secs(1);
            let ends: Vec<(i32, i64)> = {
                let store = self.watched.store();
                let logs = store.topic(OFFSETS_TOPIC).map_or(&[][..], |t| t.logs());
                let newest = logs
                    .iter()
                    .map(|log| log.ends.newest().map(|end| end.offset));
                (0..)
                    .zip(newest)
                    .filter_map(|(n, end)| Some((n, end?)))
                    .collect()
            };
            if let Some(partition) = progress.stuck(&ends, now) {
                let cluster = &*self.watched.about.name;
                tracing::warn!(
                    cluster,
                    partition,
                    "{OFFSETS_TOPIC} isn't read on: another client tries"
                );
                return;
            }
        }
    }

    fn take(&mut self, log: &mut GroupLog, progress: &mut Progress) {
        let (watched, now_ms) = (&self.watched, self.watched.now_ms());
        let mut store = None;
        let (mut is_well, mut trouble, mut num_unread) = (false, None, 0);
        log.read(TICK, &mut |partition, heard| match heard {
            Heard::Record { key, value, offset } => {
                is_well = true;
                progress.read(partition, offset + 1);
                match group_records::parse(key, value) {
                    Ok(record) => {
                        let store = store.get_or_insert_with(|| watched.store());
                        store.take(record, offset, now_ms);
                    }
                    Err(why) => {
                        num_unread += 1;
                        tracing::debug!(
                            partition,
                            offset,
                            "{OFFSETS_TOPIC} isn't understood: {why}"
                        );
                    }
                }
            }
            Heard::End => {
                is_well = true;
                progress.ended(partition);
            }
            Heard::Trouble(error) => trouble = Some(told(&error)),
        });
        drop(store);
        for (partition, offset) in log.positions() {
            progress.read(*partition, *offset);
        }
        if num_unread > 0 && self.num_unread == 0 {
            let cluster = &*self.watched.about.name;
            tracing::warn!(
                cluster,
                "a record of {OFFSETS_TOPIC} isn't understood, and more may not be; debug lines say which"
            );
        }
        self.num_unread += num_unread;
        if trouble.is_some() {
            self.watched.set_trouble(Who::Groups, trouble);
        } else if is_well {
            self.watched.set_trouble(Who::Groups, None);
        }
        if progress.is_complete() {
            self.watched.set_ready();
        }
    }
}
