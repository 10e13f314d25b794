//! [`KafkaDeadLetters`]: the dead letter topic.
//!
//! A refused record is read again from Kafka by its coordinates and produced as it was: key, value, headers
//! and timestamp, with headers behind its own that say where it came from and why it was refused. One thread a
//! worker, which has no client before the first letter. Outages are waited out; what can't be had any more, or
//! will never be taken, is answered with `Corrupt`.

#[doc(hidden)] // for tests/fuzz.rs
pub mod headers;
pub(super) mod reader;
mod turns;
mod writer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::headers::{RefusedBy, with_reason};
use self::reader::{Learned, Reader, Said};
use self::turns::Turns;
use self::writer::{Outcome, Sealed, Writer};
use super::client::{creation_error, producer_config, reader_config};
use crate::backoff::{Backoff, Policy};
use crate::config::settings::KafkaSettings;
use crate::error::{Error, Kind};
use crate::offsets::TopicPartition;
use crate::pipeline::dead_letter::{DeadLetters, Delivery, Letter};
use crate::sinks::Waker;

/// Bytes of records under way above which no more are read.
const MOST_BYTES: usize = 8 << 20;
/// How long one look for records or answers may take.
const WAIT: Duration = Duration::from_millis(50);
/// After this long without anything the client's last word is shown.
const SILENCE: Duration = Duration::from_secs(5);
/// How often idle clients are served.
const TEND: Duration = Duration::from_secs(1);
/// After this long without a letter the clients are dropped; the next letter makes others.
const IDLE: Duration = Duration::from_secs(30);

/// How long to wait after a failure.
fn retry_policy() -> Policy {
    Policy::new(Duration::from_millis(200), Duration::from_secs(2))
}

/// The dead letter topic of one worker.
pub struct KafkaDeadLetters {
    letters: Sender<Letter>,
    deliveries: Receiver<Delivery>,
    num_in_flight: usize,
    trouble: Arc<Mutex<Option<Error>>>,
}

impl KafkaDeadLetters {
    /// Starts the thread. `waker` is called when there is something to [`poll`](DeadLetters::poll).
    pub fn new(
        settings: &KafkaSettings,
        sink: &str,
        worker: usize,
        topic: &str,
        waker: Waker,
    ) -> Result<Self, Error> {
        for config in [
            reader_config(settings, sink),
            producer_config(settings, sink),
        ] {
            let checked = config.create_native_config();
            checked.map_err(|error| creation_error(&error, &settings.properties))?;
        }
        let (letters, sent) = channel();
        let (delivered, deliveries) = channel();
        let trouble = Arc::new(Mutex::new(None));
        let office = Office {
            settings: settings.clone(),
            sink: sink.to_owned(),
            worker,
            topic: topic.to_owned(),
            waker,
            delivered,
            trouble: trouble.clone(),
            said: Said::default(),
            clients: None,
            unread: BTreeMap::new(),
            unsent: VecDeque::new(),
            backoff: Backoff::new(retry_policy()),
            turns: Turns::new(Instant::now()),
            not_before: Instant::now(),
            moved: Instant::now(),
        };
        std::thread::Builder::new()
            .name("dead-letters".into())
            .spawn(move || office.run(&sent))
            .map_err(|error| Error::unavailable(format!("no thread for dead letters: {error}")))?;
        Ok(KafkaDeadLetters {
            letters,
            deliveries,
            num_in_flight: 0,
            trouble,
        })
    }
}

impl DeadLetters for KafkaDeadLetters {
    fn send(&mut self, letter: Letter) {
        self.num_in_flight += 1;
        // The thread ends only with this handle. If it panicked all the same, the letter stays in flight, and
        // the offset with it.
        let _ = self.letters.send(letter);
    }

    fn poll(&mut self, deliveries: &mut Vec<Delivery>) {
        let before = deliveries.len();
        deliveries.extend(self.deliveries.try_iter());
        let delivered = deliveries.len() - before;
        self.num_in_flight = self.num_in_flight.saturating_sub(delivered);
    }

    fn num_in_flight(&self) -> usize {
        self.num_in_flight
    }

    fn trouble(&self) -> Option<Error> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
    }
}

/// The thread's side.
struct Office {
    settings: KafkaSettings,
    sink: String,
    worker: usize,
    topic: String,
    waker: Waker,
    delivered: Sender<Delivery>,
    trouble: Arc<Mutex<Option<Error>>>,
    said: Said,
    clients: Option<(Reader, Writer)>,
    /// Letters whose records are to be read. The same record may be refused in two epochs.
    unread: BTreeMap<TopicPartition, BTreeMap<i64, Vec<Letter>>>,
    /// Read, and not taken by the producer yet.
    unsent: VecDeque<Sealed>,
    /// Whose letters are read.
    turns: Turns,
    /// After failures to write, or to make the clients.
    backoff: Backoff,
    not_before: Instant,
    /// When something last went forward.
    moved: Instant,
}

impl Office {
    fn run(mut self, sent: &Receiver<Letter>) {
        loop {
            if self.is_idle() {
                match self.await_letter(sent) {
                    Ok(letter) => self.take(letter),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                self.moved = Instant::now();
            }
            loop {
                match sent.try_recv() {
                    Ok(letter) => self.take(letter),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.work();
        }
    }

    /// Waits for a letter while there is nothing to do. What the clients say must be heard meanwhile, else it
    /// piles up in their queues.
    fn await_letter(&mut self, sent: &Receiver<Letter>) -> Result<Letter, RecvTimeoutError> {
        if self.moved.elapsed() >= IDLE && self.clients.take().is_some() {
            // What they said last explains nothing later.
            *self.said.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let Some((reader, writer)) = &mut self.clients else {
            return sent.recv().map_err(|_| RecvTimeoutError::Disconnected);
        };
        reader.serve();
        // Nothing is under way, so there are no outcomes.
        writer.poll(Duration::ZERO);
        sent.recv_timeout(TEND)
    }

    fn is_idle(&self) -> bool {
        let written = self
            .clients
            .as_ref()
            .is_none_or(|(_, writer)| writer.is_idle());
        written && self.unread.is_empty() && self.unsent.is_empty()
    }

    fn take(&mut self, letter: Letter) {
        let records = self.unread.entry(letter.partition.clone()).or_default();
        records.entry(letter.offset).or_default().push(letter);
    }

    /// One round: read, send, hear.
    fn work(&mut self) {
        let Some((mut reader, mut writer)) = self.clients() else {
            std::thread::sleep(WAIT);
            return;
        };
        let mut was_read = false;
        if Instant::now() >= self.not_before {
            if writer.bytes() < MOST_BYTES && self.unsent.is_empty() {
                was_read = self.read(&mut reader);
            }
            self.send(&mut writer);
        }
        reader.serve();
        // Waits only if there is nothing to read meanwhile.
        let wait = match was_read && !self.unread.is_empty() && writer.bytes() < MOST_BYTES {
            true => Duration::ZERO,
            false => WAIT,
        };
        for outcome in writer.poll(wait) {
            self.settle(outcome);
        }
        if writer.is_broken() {
            self.unsent.extend(writer.take_back());
            return;
        }
        self.clients = Some((reader, writer));
        self.mind_the_silence();
    }

    /// The clients, made when they are needed first (or anew).
    fn clients(&mut self) -> Option<(Reader, Writer)> {
        if let Some(clients) = self.clients.take() {
            return Some(clients);
        }
        if Instant::now() < self.not_before {
            return None;
        }
        let made = Reader::new(&self.settings, &self.sink, self.said.clone()).and_then(|reader| {
            let writer = Writer::new(&self.settings, &self.sink, &self.topic, self.said.clone())?;
            Ok((reader, writer))
        });
        match made {
            Ok(clients) => Some(clients),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// Reads records of the partition whose turn it is; whether there was one.
    fn read(&mut self, reader: &mut Reader) -> bool {
        let next = self.turns.next(Instant::now(), &self.unread);
        let Some((partition, mut letters)) = next.and_then(|id| self.unread.remove_entry(&id))
        else {
            return false;
        };
        let mut wanted: BTreeSet<i64> = letters.keys().copied().collect();
        let mut learned: Vec<Learned> = Vec::new();
        let result = reader.read(&partition, &mut wanted, WAIT, &mut learned);
        if !learned.is_empty() {
            self.turns.learned(Instant::now(), &partition);
        }
        for (offset, found) in learned {
            let about = letters.remove(&offset).unwrap_or_default();
            self.learn(about, found);
        }
        for letter in letters.into_values().flatten() {
            self.take(letter);
        }
        if let Err(error) = result {
            self.turns.failed(Instant::now(), &partition);
            self.show(Some(error));
        }
        true
    }

    fn learn(&mut self, letters: Vec<Letter>, found: Result<reader::Found, String>) {
        self.moved = Instant::now();
        match found {
            Ok(mut record) => {
                // One dead letter, however many epochs ask for it.
                let Some(first) = letters.first() else {
                    return;
                };
                let own = std::mem::take(&mut record.headers);
                let from = RefusedBy {
                    sink: &self.sink,
                    group: &self.settings.group_id,
                    worker: self.worker,
                };
                record.headers = with_reason(own, first, &from, record.timestamp_ms);
                let mut letters = letters.into_iter();
                if let Some(letter) = letters.next() {
                    self.unsent.push_back(Sealed { letter, record });
                }
                // The others are read again: rare, and simpler than sharing the answer.
                letters.for_each(|letter| self.take(letter));
            }
            Err(why) => {
                for letter in letters {
                    let error = Error::corrupt(format!(
                        "{}: the refused record at offset {} can't be dead-lettered: {why}; release the \
                         partition to go on without it",
                        letter.partition, letter.offset
                    ));
                    self.deliver(&letter, Err(error));
                }
            }
        }
    }

    fn send(&mut self, writer: &mut Writer) {
        while let Some(sealed) = self.unsent.pop_front() {
            if let Some(outcome) = writer.send(sealed) {
                self.settle(outcome);
                return;
            }
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Delivered(letter) => self.deliver(&letter, Ok(())),
            Outcome::Impossible(letter, error) => self.deliver(&letter, Err(error)),
            Outcome::Again(sealed, error) => {
                self.unsent.push_back(sealed);
                self.fail(error);
            }
        }
    }

    fn deliver(&mut self, letter: &Letter, result: Result<(), Error>) {
        self.moved = Instant::now();
        self.backoff.reset();
        // Another partition may still be in trouble.
        if !self.turns.has_failed() {
            self.show(None);
        }
        let delivery = Delivery {
            slot: letter.slot,
            epoch: letter.epoch,
            offset: letter.offset,
            result,
        };
        if self.delivered.send(delivery).is_ok() {
            self.waker.wake();
        }
    }

    /// Shows what is wrong, and comes back later.
    fn fail(&mut self, error: Error) {
        self.not_before = Instant::now() + self.backoff.next_delay(None);
        self.show(Some(error));
    }

    fn show(&self, error: Option<Error>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *trouble != error {
            if let Some(error) = &error {
                tracing::warn!("dead letters wait: {error}");
            }
            *trouble = error;
        }
    }

    /// In an outage nothing fails, nothing comes either: then the client's last word explains it.
    fn mind_the_silence(&self) {
        if self.is_idle() || self.moved.elapsed() < SILENCE {
            return;
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = said.clone().unwrap_or_else(|| {
            Error::new(Kind::Unavailable, "Kafka doesn't answer, dead letters wait")
        });
        if self
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
        {
            self.show(Some(said));
        }
    }
}

#[cfg(test)]
mod tests;
