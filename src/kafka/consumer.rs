//! [`KafkaSource`]: the pipeline's source on a real consumer.
//!
//! The consumer's main queue carries rebalances, commit answers and errors; its callbacks only take notes
//! ([`Notes`]), and [`Source::poll`] turns those into events. Records come through a data queue of its own.
//! The group's assignment isn't what the client reads: a partition is added to the client's assignment by
//! `start` and taken out by `stop` (docs/adr/0002-start-and-stop-instead-of-pause-and-seek.md).

use std::collections::{HashMap, VecDeque};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

use super::client::{
    asking_config, consumer_config, creation_error, instance_id, metadata_refresh_interval,
};
use super::commit::{Commits, Done, Next};
use super::error::{from_code, from_kafka, from_reason, kind};
use super::ffi::cluster::seen_log_end;
use super::ffi::commit::{Answered, CommitQueue};
use super::ffi::list::{self, Entry};
use super::ffi::queue::{DataQueue, Message, Yielder};
use super::instance_lock::{self, InstanceLock};
use super::keeper::{Keeper, Kept};
use super::lookup::{About, Found, Lookup};
use super::membership::{self, Membership};
use super::position::parted_at;
use super::rebalance::Assignment;
use super::standing::{Said, Standing};
use super::topics::Topics;
use super::verify::{Mismatch, Verification};
use crate::config::settings::{GroupProtocol, KafkaSettings};
use crate::error::{Error, Kind};
use crate::offsets::{Epoch, TopicPartition};
use crate::pipeline::source::{Broken, Commit, Remarks, Source, SourceEvent};
use crate::sinks::{Record, Slot, Waker};

/// At most this many events of the main queue in one poll.
const MOST_EVENTS: usize = 1_000;
/// An eager client is told changes at most this often; longer than a fetch waits for records.
const BETWEEN_ASSIGNMENTS: Duration = Duration::from_millis(250);

/// What a callback noted.
enum Note {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
    Trouble(Code, String),
}

/// Where callbacks write, on the thread that polls.
#[derive(Default)]
struct Notes {
    list: Mutex<Vec<Note>>,
    /// Counts callbacks, so that the poll knows whether the queue is empty.
    served: AtomicU64,
    /// The source is closing: callbacks answer for themselves.
    closing: AtomicBool,
}

impl Notes {
    fn add(&self, note: Note) {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(note);
    }

    fn take(&self) -> Vec<Note> {
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

/// The consumer's callbacks.
struct Context {
    notes: Arc<Notes>,
    /// The assignor is: the client takes whole assignments only.
    eager: bool,
    /// Gone when the client is: whoever closes waits for that.
    _alive: Sender<()>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.notes.count();
        match level {
            // A connection that fails, told again at every try; the worker says once that Kafka is away.
            _ if matches!(facility, "FAIL" | "ERROR") => {
                tracing::debug!(facility, "librdkafka: {line}");
            }
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, "librdkafka: {line}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, "librdkafka: {line}"),
        }
    }

    fn stats_raw(&self, _: &[u8]) {
        self.notes.count();
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.notes.count();
        if let Some(code) = error.rdkafka_error_code() {
            self.notes.add(Note::Trouble(code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        self.notes.count();
        let assigning = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let partitions = list::partitions(partitions);
        let closing = self.notes.closing.load(Ordering::Relaxed);
        if assigning {
            // The client doesn't mind that the lists differ: partitions are added when they are started.
            answer(tell(consumer, self.eager, Verb::Assign, &[]));
            if !closing {
                self.notes.add(Note::Assigned(partitions));
            }
        } else if partitions.is_empty() || closing {
            answer(tell(consumer, self.eager, Verb::AnswerRevoke, &[]));
        } else if consumer.assignment_lost() {
            self.notes.add(Note::Lost(partitions));
        } else {
            self.notes.add(Note::Revoked(partitions));
        }
    }
}

/// What a client is told about its assignment.
enum Verb {
    Assign,
    Unassign,
    AnswerRevoke,
}

/// Tells the client to read these, to let them go, or that it may give back what is revoked. Under an eager
/// assignor the list to assign is the whole, what is let go is everything, and nothing but the answer to a
/// revoke may be an unassign.
fn tell(
    consumer: &BaseConsumer<Context>,
    eager: bool,
    verb: Verb,
    entries: &[Entry],
) -> KafkaResult<()> {
    match (verb, eager) {
        (Verb::Assign, false) => consumer.incremental_assign(&list::to_native(entries)),
        (Verb::Unassign | Verb::AnswerRevoke, false) => {
            consumer.incremental_unassign(&list::to_native(entries))
        }
        (Verb::Assign, true) => consumer.assign(&list::to_native(entries)),
        (Verb::Unassign, true) => consumer.assign(&TopicPartitionList::new()),
        (Verb::AnswerRevoke, true) => consumer.unassign(),
    }
}

fn answer(result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::warn!("a rebalance couldn't be answered: {error}");
    }
}

/// A commit's outcome. Losing the membership outweighs other errors: those are tried again.
fn commit_result(answered: &Answered) -> Result<(), Error> {
    let codes = answered.entries.iter().filter_map(|e| e.error);
    let codes = codes.chain(answered.error);
    let worst = codes
        .filter(|code| *code != Code::NoOffset)
        .min_by_key(|code| kind(*code) != Kind::Fenced);
    match worst {
        None => Ok(()),
        Some(code) => Err(not_committed(code)),
    }
}

/// Whether a commit failed for what may be one topic's own trouble.
fn is_about_topics(answered: &Answered) -> bool {
    let mut codes = answered.entries.iter().filter_map(|e| e.error);
    codes.any(|code| {
        matches!(
            code,
            Code::UnknownTopicOrPartition | Code::TopicAuthorizationFailed
        )
    })
}

fn not_committed(code: Code) -> Error {
    from_code(code, "Kafka: offsets can't be committed")
}

/// The queues of a consumer that is open; with them it goes.
struct Queues {
    commits: CommitQueue<Context>,
    data: DataQueue<Context>,
    /// Until the client has left: this machine's other processes don't use its instance id.
    _lock: Option<InstanceLock>,
}

/// What ends a trouble that is being shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Brokers answer again.
    Answers,
    /// The group takes us again.
    Membership,
    /// A topic matches.
    Match,
}

/// A worker's consumer.
pub struct KafkaSource {
    /// None once it is closed.
    queues: Option<Queues>,
    lookup: Option<Lookup>,
    notes: Arc<Notes>,
    /// Disconnects when the client is gone.
    gone: Receiver<()>,
    waker: Waker,
    assignment: Assignment,
    /// When an eager client was last told its assignment.
    told: Option<Instant>,
    commits: Commits,
    verification: Verification,
    /// Where commits go if there is no group.
    kept: Option<Kept>,
    to_locate: Vec<(TopicPartition, Epoch)>,
    /// What was locate()d in this epoch and not answered yet.
    locating: HashMap<TopicPartition, Epoch>,
    events: VecDeque<SourceEvent>,
    /// Ends of logs that the last `take` has come to.
    ends: Vec<(Slot, i64)>,
    trouble: Option<(Error, Until)>,
    /// None once it is closed.
    standing: Option<Standing>,
    /// The last thing that a broker's connection said, to explain that all are down.
    last_transport: String,
    /// The client may still be stopping partitions, which undoes their forwarding.
    stopping: bool,
}

impl KafkaSource {
    /// A consumer that joins its group at once. `fetch_bytes` is what fetched records may take in memory.
    pub fn new(
        settings: &KafkaSettings,
        sink: &str,
        worker: usize,
        fetch_bytes: u64,
    ) -> Result<Self, Error> {
        let source = Self::build(settings, sink, worker, fetch_bytes, Keeper::Group)?;
        let named = settings.subscription.topics();
        // What a pattern means is found out first.
        if !named.is_empty() {
            source.subscribe(&named)?;
        }
        Ok(source)
    }

    /// A consumer of these partitions and no others, without a group: nothing is joined, and nothing is ever
    /// revoked. (librdkafka takes incremental assignments from a consumer that never subscribed.)
    pub fn fixed(
        settings: &KafkaSettings,
        sink: &str,
        worker: usize,
        fetch_bytes: u64,
        partitions: Vec<TopicPartition>,
        keeper: Keeper,
    ) -> Result<Self, Error> {
        let mut source = Self::build(settings, sink, worker, fetch_bytes, keeper)?;
        if let (Some(lookup), false) = (&source.lookup, partitions.is_empty()) {
            lookup.hold(partitions.clone());
            let assigned = SourceEvent::Assigned(partitions);
            source.events.push_back(assigned);
        }
        Ok(source)
    }

    fn build(
        settings: &KafkaSettings,
        sink: &str,
        worker: usize,
        fetch_bytes: u64,
        keeper: Keeper,
    ) -> Result<Self, Error> {
        let in_group = matches!(keeper, Keeper::Group);
        let eager =
            settings.group_protocol == GroupProtocol::Classic && settings.assignor.is_eager();
        let lock = match in_group {
            true => instance_lock::lock(settings, worker)?,
            false => None,
        };
        let notes = Arc::new(Notes::default());
        let (alive, gone) = channel();
        let context = Context {
            notes: notes.clone(),
            eager,
            _alive: alive,
        };
        let consumer: BaseConsumer<Context> = consumer_config(settings, sink, worker, fetch_bytes)
            .create_with_context(context)
            .map_err(|error| creation_error(&error, settings))?;
        let consumer = Arc::new(consumer);
        let no_queue = || Error::unavailable("Kafka: the client has no room for a queue");
        let data = DataQueue::new(consumer.clone()).ok_or_else(no_queue)?;
        // Whoever waits for a commit's answer is parked: the thread that makes a source uses it.
        let waits = std::thread::current();
        let commits = CommitQueue::new(consumer.clone(), waits).ok_or_else(no_queue)?;
        let about = About {
            group: settings.group_id.clone(),
            topics: Topics::new(&settings.subscription),
            reset: settings.auto_offset_reset,
            watch_every: metadata_refresh_interval(settings),
            started_ms: jiff::Timestamp::now().as_millisecond(),
            keeper: keeper.clone(),
        };
        let lookup = Lookup::spawn(Arc::downgrade(&consumer), data.yielder(), about)
            .map_err(|error| Error::unavailable(format!("no thread for Kafka lookups: {error}")))?;
        let standing = match in_group {
            true => Some(standing(settings, sink, worker, &consumer, data.yielder())?),
            false => None,
        };
        let yielder = data.yielder();
        let waker = Waker::new(move || yielder.wake());
        let kept = Kept::new(keeper, waker.clone());
        Ok(KafkaSource {
            queues: Some(Queues {
                commits,
                data,
                _lock: lock,
            }),
            lookup: Some(lookup),
            notes,
            gone,
            waker,
            assignment: Assignment::new(eager),
            told: None,
            commits: Commits::default(),
            verification: Verification::default(),
            kept,
            to_locate: Vec::new(),
            locating: HashMap::new(),
            events: VecDeque::new(),
            ends: Vec::new(),
            trouble: None,
            standing,
            last_transport: String::new(),
            stopping: false,
        })
    }

    /// Subscribes to these topics instead of what it was; to none is to leave the group. A rebalance follows.
    fn subscribe(&self, topics: &[String]) -> Result<(), Error> {
        let Some(consumer) = self.consumer() else {
            return Ok(());
        };
        if topics.is_empty() {
            consumer.unsubscribe();
            return Ok(());
        }
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| from_kafka(&error, "Kafka: can't subscribe"))
    }

    /// Reads committed offsets back this often, instead of every few seconds: for tests.
    pub fn verify_every(&mut self, every: Duration) {
        self.verification.every(every);
    }

    fn consumer(&self) -> Option<Arc<BaseConsumer<Context>>> {
        self.queues
            .as_ref()
            .map(|queues| queues.data.consumer().clone())
    }

    /// Tells the client and the lookup thread what has piled up.
    fn flush(&mut self) {
        if let Some(lookup) = &self.lookup
            && !self.to_locate.is_empty()
        {
            lookup.locate(std::mem::take(&mut self.to_locate));
        }
        let Some(consumer) = self.consumer() else {
            return;
        };
        if self.holds_back(&consumer) {
            return;
        }
        let Some(plan) = self.assignment.plan() else {
            return;
        };
        self.told = (!plan.assign.is_empty()).then(Instant::now);
        let eager = self.assignment.is_eager();
        if plan.answers || !plan.unassign.is_empty() {
            let verb = match plan.answers {
                true => Verb::AnswerRevoke,
                false => Verb::Unassign,
            };
            if let Err(error) = tell(&consumer, eager, verb, &self.entries(&plan.unassign)) {
                tracing::warn!("partitions couldn't be unassigned: {error}");
            }
            self.assignment.unassigned(&plan.unassign);
            self.stopping |= !plan.unassign.is_empty();
        }
        if !plan.assign.is_empty() {
            self.assign(&consumer, &plan.assign);
        }
    }

    /// Whether an eager client is left alone for now. Each time it is told something all its partitions are
    /// fetched anew: told too often, nothing would ever arrive. And while its assignment is lost, but not
    /// heard to be, telling it another would hide the loss.
    fn holds_back(&self, consumer: &BaseConsumer<Context>) -> bool {
        self.assignment.is_eager()
            && !self.assignment.is_revoking()
            && (self
                .told
                .is_some_and(|told| told.elapsed() < BETWEEN_ASSIGNMENTS)
                || consumer.assignment_lost())
    }

    fn entries(&self, indices: &[usize]) -> Vec<Entry> {
        let entry = |index: &usize| {
            let (offset, epoch) = self.assignment.start_of(*index);
            Entry::new(self.assignment.partition(*index).clone(), offset, epoch)
        };
        indices.iter().map(entry).collect()
    }

    fn assign(&mut self, consumer: &BaseConsumer<Context>, indices: &[usize]) {
        if std::mem::take(&mut self.stopping) {
            // Stopping a partition undoes its forwarding, on the client's own thread, some time after the
            // unassign. That thread works in order: when it has answered this, it has done that.
            consumer.rebalance_protocol();
        }
        let entries = self.entries(indices);
        for entry in &entries {
            let forwarded = self
                .queues
                .as_ref()
                .is_some_and(|queues| queues.data.forward(&entry.partition));
            if !forwarded {
                tracing::warn!(partition = %entry.partition, "the partition has no queue");
            }
        }
        self.assignment.assigned(indices);
        if let Some(standing) = &mut self.standing {
            standing.read(entries.iter().map(|entry| &entry.partition));
        }
        if let Err(error) = tell(consumer, self.assignment.is_eager(), Verb::Assign, &entries) {
            let error = from_kafka(&error, "Kafka: the client doesn't take the partition");
            for index in indices {
                self.broken(*index, Broken::Other(error.clone()));
            }
        }
    }

    fn broken(&mut self, index: usize, why: Broken) {
        if self.assignment.fail(index) {
            self.events.push_back(SourceEvent::Broken {
                partition: self.assignment.partition(index).clone(),
                why,
            });
        }
    }

    fn send_commits(&mut self) {
        while let Some(next) = self.commits.next() {
            match next {
                Next::Tell(done) => self.committed(done),
                Next::Send(commits) => {
                    if let Some(kept) = &self.kept {
                        kept.send(commits);
                        continue;
                    }
                    for commit in &commits {
                        self.verification.sent(&commit.partition, commit.offset);
                    }
                    let entries: Vec<Entry> = commits.into_iter().map(commit_entry).collect();
                    let sent = self
                        .queues
                        .as_ref()
                        .map(|queues| queues.commits.send(&entries));
                    if let Some(Err(code)) = sent {
                        self.commits.answered(Err(not_committed(code)), false);
                    }
                }
            }
        }
    }

    fn hear_commits(&mut self) {
        while let Some((result, of_a_topic)) = self.next_answer() {
            if result.is_ok() {
                self.well(Until::Membership);
            }
            self.commits.answered(result, of_a_topic);
            self.send_commits();
        }
    }

    /// What became of the commit in flight, and whether it was about single topics.
    fn next_answer(&mut self) -> Option<(Result<(), Error>, bool)> {
        if let Some(kept) = &self.kept {
            return Some((kept.answered()?, false));
        }
        let answered = self.queues.as_ref()?.commits.answered()?;
        let (result, of_a_topic) = (commit_result(&answered), is_about_topics(&answered));
        if result.is_ok() {
            for entry in &answered.entries {
                self.verification
                    .acknowledged(&entry.partition, entry.offset);
            }
        }
        Some((result, of_a_topic))
    }

    fn committed(&mut self, done: Done) {
        for number in done.numbers {
            if done.result.is_err() && !done.taken.is_empty() {
                self.events.push_back(SourceEvent::CommittedInPart {
                    number,
                    partitions: done.taken.clone(),
                });
            }
            self.events.push_back(SourceEvent::Committed {
                number,
                result: done.result.clone(),
            });
        }
    }

    /// Has committed offsets read back, if it is time.
    fn verify(&mut self) {
        if let Some(lookup) = &self.lookup
            && let Some(partitions) = self.verification.ask(Instant::now())
        {
            lookup.read_back(partitions);
        }
    }

    /// Serves the main queue until it is empty.
    fn serve(&mut self, consumer: &BaseConsumer<Context>) {
        for _ in 0..MOST_EVENTS {
            let served = self.notes.served.load(Ordering::Relaxed);
            match consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    // Records belong into the data queue. Out of order here, they can't be used: the
                    // partition is broken, and will be started again where the pipeline has come to.
                    use rdkafka::Message as _;
                    let (topic, number) = (message.topic(), message.partition());
                    if let Some(index) = self.assignment.index_of(topic, number) {
                        let why = Error::unavailable(format!(
                            "{topic}[{number}]: records came out of the wrong queue"
                        ));
                        self.broken(index, Broken::Other(why));
                    }
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    let reason = consumer.client().fatal_error().map(|(_, reason)| reason);
                    if let Some(standing) = &mut self.standing {
                        standing.fatal(code, &reason.unwrap_or_default());
                    }
                }
                // Told to the context with its reason.
                Some(Err(_)) => {}
                None if self.notes.served.load(Ordering::Relaxed) == served => return,
                None => {}
            }
        }
    }

    fn hear_standing(&mut self) {
        let said = self.standing.as_mut().map(Standing::said);
        for said in said.unwrap_or_default() {
            match said {
                Said::Refused(error) => self.troubled(error, Until::Membership),
                Said::Fatal(error) => self.events.push_back(SourceEvent::Fatal(error)),
            }
        }
    }

    fn handle(&mut self, note: Note) {
        match note {
            Note::Assigned(partitions) => {
                if let Some(standing) = &mut self.standing {
                    standing.assigned(&partitions);
                }
                self.well(Until::Membership);
                self.verification.hold(&partitions);
                if let Some(lookup) = &self.lookup {
                    lookup.hold(partitions.clone());
                }
                if !partitions.is_empty() {
                    self.events.push_back(SourceEvent::Assigned(partitions));
                }
            }
            Note::Revoked(partitions) => {
                self.went(&partitions, self.assignment.is_eager());
                self.assignment.revoke(&partitions);
                self.events.push_back(SourceEvent::Revoked(partitions));
            }
            Note::Lost(partitions) => {
                self.went(&partitions, true);
                self.assignment.revoke(&partitions);
                self.commits.forget(&partitions);
                self.verification.forget(&partitions);
                partitions.iter().for_each(|p| self.assignment.stop(p));
                self.events.push_back(SourceEvent::Lost(partitions));
            }
            Note::Trouble(code, reason) => self.client_error(code, &reason),
        }
    }

    fn went(&mut self, partitions: &[TopicPartition], may_return: bool) {
        if let Some(standing) = &mut self.standing {
            standing.went(partitions, may_return);
        }
    }

    fn client_error(&mut self, code: Code, reason: &str) {
        match code {
            // Connections come and go; only when none is left it is trouble.
            Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut => {
                tracing::debug!("librdkafka: {reason}");
                self.last_transport = reason.to_owned();
                return;
            }
            Code::AllBrokersDown if !self.last_transport.is_empty() => {
                let reason = format!(
                    "no broker is reachable, the last said: {}",
                    self.last_transport
                );
                self.troubled(from_reason(code, &reason), Until::Answers);
            }
            // The client looks for the coordinator of a group that it isn't in.
            Code::GroupAuthorizationFailed if self.kept.is_some() => return,
            // Shown once it is known whose assignor stands in the way.
            Code::InconsistentGroupProtocol => {
                if let Some(standing) = &mut self.standing {
                    standing.refused(code, reason);
                }
                return;
            }
            Code::GroupAuthorizationFailed
            | Code::GroupMaxSizeReached
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout => {
                self.troubled(from_reason(code, reason), Until::Membership)
            }
            // The client ends of these; they are said with their explanation.
            Code::FencedInstanceId | Code::UnreleasedInstanceId => return,
            // The revoke that follows says what is lost.
            Code::PollExceeded => tracing::warn!("librdkafka: {reason}"),
            _ => self.troubled(from_reason(code, reason), Until::Answers),
        }
        if let Some(lookup) = &self.lookup {
            lookup.check();
        }
    }

    fn troubled(&mut self, error: Error, until: Until) {
        if self
            .trouble
            .as_ref()
            .is_none_or(|(shown, _)| *shown != error)
        {
            self.events
                .push_back(SourceEvent::Trouble(Some(error.clone())));
        }
        self.trouble = Some((error, until));
    }

    fn well(&mut self, now: Until) {
        if self
            .trouble
            .as_ref()
            .is_some_and(|(_, until)| *until == now)
        {
            self.trouble = None;
            self.events.push_back(SourceEvent::Trouble(None));
        }
    }

    fn collect_found(&mut self) {
        while let Some(found) = self.lookup.as_ref().and_then(Lookup::found) {
            match found {
                Found::Located(partition, epoch, found) => {
                    if self.locating.get(&partition) == Some(&epoch) {
                        self.locating.remove(&partition);
                        self.events.push_back(SourceEvent::Located {
                            partition,
                            epoch,
                            found,
                        });
                    }
                }
                Found::Trouble(error) => self.troubled(error, Until::Answers),
                Found::Well => self.well(Until::Answers),
                Found::ReadBack(offsets) => {
                    let mismatches = self.verification.found(offsets).into_iter();
                    let event = |mismatch: Mismatch| SourceEvent::CommitMismatch {
                        partition: mismatch.partition,
                        ours: mismatch.ours,
                        found: mismatch.found,
                    };
                    self.events.extend(mismatches.map(event));
                }
                Found::Subscribe(topics) => {
                    tracing::info!(topics = %topics.join(" "), "subscribing to {} topics", topics.len());
                    if !topics.is_empty() {
                        self.well(Until::Match);
                    }
                    if let Err(error) = self.subscribe(&topics) {
                        self.troubled(error, Until::Membership);
                    }
                }
                Found::NothingMatches(why) => self.troubled(why, Until::Match),
                Found::Grew(topic, partitions) => {
                    self.events
                        .push_back(SourceEvent::Grew { topic, partitions });
                }
            }
        }
    }

    /// Starts to close on a thread of its own; the client is gone when `gone` disconnects.
    fn begin_close(&mut self) {
        self.notes.closing.store(true, Ordering::Relaxed);
        self.lookup = None;
        self.standing = None;
        let Some(queues) = self.queues.take() else {
            return;
        };
        // A revoke that was noted and not answered would hold up the close for ever.
        let (consumer, eager) = (queues.data.consumer(), self.assignment.is_eager());
        answer(tell(consumer, eager, Verb::AnswerRevoke, &[]));
        // Dropping the consumer leaves the group and waits for the brokers, for ever if need be: without a
        // thread for that the client is left as it is.
        let queues = ManuallyDrop::new(queues);
        let closing = std::thread::Builder::new().name("kafka-close".into());
        if let Err(error) = closing.spawn(move || drop(ManuallyDrop::into_inner(queues))) {
            tracing::warn!("no thread to close the Kafka client, it is left behind: {error}");
        }
    }
}

/// How a member stands with its group, watched beside the loop.
fn standing(
    settings: &KafkaSettings,
    sink: &str,
    worker: usize,
    consumer: &Arc<BaseConsumer<Context>>,
    yielder: Yielder,
) -> Result<Standing, Error> {
    let about = membership::About {
        sink: sink.to_owned(),
        worker,
        group: settings.group_id.clone(),
        instance: instance_id(settings, worker),
        assignor: match settings.group_protocol {
            GroupProtocol::Classic => settings.assignor.name(),
            GroupProtocol::Consumer => "the group protocol consumer",
        },
        config: asking_config(settings, sink),
    };
    let membership = Membership::spawn(Arc::downgrade(consumer), yielder, about)
        .map_err(|error| Error::unavailable(format!("no thread for Kafka members: {error}")))?;
    Ok(Standing::new(membership))
}

fn commit_entry(commit: Commit) -> Entry {
    let mut entry = Entry::new(commit.partition, commit.offset, commit.leader_epoch);
    entry.metadata = commit.metadata;
    entry
}

fn truncated(what: String) -> Broken {
    Broken::Truncated {
        at: parted_at(&what),
        what,
    }
}

/// Why a partition's delivery has stopped.
fn why_broken(code: Code, text: String, partition: &TopicPartition) -> Broken {
    match code {
        Code::LogTruncation => truncated(text),
        // With auto.offset.reset=error this is how the client says both.
        Code::AutoOffsetReset if text.to_lowercase().contains("truncat") => truncated(text),
        Code::AutoOffsetReset | Code::OffsetOutOfRange => Broken::OffsetOutOfRange(text),
        _ => Broken::Other(from_code(code, format!("Kafka: {partition} can't be read"))),
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, events: &mut Vec<SourceEvent>) {
        self.flush();
        if let Some(consumer) = self.consumer() {
            self.serve(&consumer);
            for note in self.notes.take() {
                self.handle(note);
            }
        }
        self.hear_commits();
        self.collect_found();
        self.verify();
        self.hear_standing();
        events.extend(self.events.drain(..));
    }

    fn locate(&mut self, partition: &TopicPartition, epoch: Epoch) {
        self.locating.insert(partition.clone(), epoch);
        self.to_locate.push((partition.clone(), epoch));
    }

    fn start(&mut self, slot: Slot, partition: &TopicPartition, offset: i64, leader_epoch: i32) {
        self.assignment.start(slot, partition, offset, leader_epoch);
    }

    fn stop(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|p| self.assignment.stop(p));
    }

    fn take(&mut self, max: usize, wait: Duration, deliver: &mut dyn FnMut(&Record<'_>)) -> usize {
        self.flush();
        let Some(queues) = &mut self.queues else {
            return 0;
        };
        let (assignment, ends) = (&mut self.assignment, &mut self.ends);
        ends.clear();
        let mut delivered = 0;
        let mut errors = Vec::new();
        // Records come in runs of one partition: looked up once a run.
        let mut run = None;
        queues
            .data
            .consume(max, wait, &mut |message: &Message<'_>| {
                let source = message.source();
                let index = match run {
                    Some((last, index)) if last == source => index,
                    _ => {
                        let topic = message.topic();
                        let index = topic.and_then(|topic| assignment.index_of(topic, source.1));
                        run = Some((source, index));
                        index
                    }
                };
                if let Some(code) = message.error() {
                    if code == Code::PartitionEOF {
                        let slot = index.and_then(|i| assignment.accept_end(i, message.offset()));
                        ends.extend(slot.map(|slot| (slot, message.offset())));
                        return;
                    }
                    // From here on nothing of the partition is taken: an error moves the client's own position.
                    if index.is_none_or(|index| assignment.fail(index)) {
                        errors.push((index, code, message.error_text()));
                    }
                    return;
                }
                let (offset, leader_epoch) = (message.offset(), message.leader_epoch());
                if let Some(slot) =
                    index.and_then(|index| assignment.accept(index, offset, leader_epoch))
                {
                    delivered += 1;
                    deliver(&Record {
                        slot,
                        offset,
                        leader_epoch,
                        timestamp_ms: message.timestamp_ms(),
                        key: message.key(),
                        value: message.value(),
                    });
                }
            });
        for (index, code, text) in errors {
            match index {
                Some(index) => {
                    let partition = self.assignment.partition(index).clone();
                    let why = why_broken(code, text, &partition);
                    self.events
                        .push_back(SourceEvent::Broken { partition, why });
                }
                None => self.client_error(code, &text),
            }
        }
        delivered
    }

    fn ends(&mut self, tell: &mut dyn FnMut(Slot, i64)) {
        self.ends.drain(..).for_each(|(slot, end)| tell(slot, end));
    }

    fn commit(&mut self, number: u64, commits: &[Commit]) {
        self.commits.submit(number, commits);
        self.send_commits();
    }

    fn release(&mut self, partitions: &[TopicPartition]) {
        self.assignment.release(partitions);
        self.commits.forget(partitions);
        self.verification.forget(partitions);
        for partition in partitions {
            self.locating.remove(partition);
        }
        self.to_locate.retain(|(p, _)| !partitions.contains(p));
        if let Some(lookup) = &self.lookup {
            lookup.forget(partitions.to_vec());
        }
        self.flush();
    }

    fn log_end(&self, partition: &TopicPartition) -> Option<i64> {
        let consumer = self.consumer()?;
        let looked_up = self.lookup.as_ref().and_then(|l| l.log_end(partition));
        seen_log_end(&consumer, partition).max(looked_up)
    }

    fn remarks(&mut self) -> Remarks {
        let standing = self.standing.as_mut();
        standing.map(Standing::remarks).unwrap_or_default()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn close(&mut self, deadline: Duration) -> bool {
        self.begin_close();
        // Nothing is ever sent: the client's end disconnects.
        matches!(
            self.gone.recv_timeout(deadline),
            Err(RecvTimeoutError::Disconnected)
        )
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.begin_close();
    }
}
