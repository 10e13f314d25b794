//! What all parts of a simulation share: virtual time, the log, the group, the sinks' durable state, what is
//! true, and what was found wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outflow::config::settings::{CommitMode, OffsetLost, RejectedPolicy};
use outflow::error::Error;
use outflow::offsets::TopicPartition;
use outflow::pipeline::dead_letter::{Delivery, Letter};
use outflow::pipeline::source::SourceEvent;
use outflow::sinks::Assignment;

use crate::journal::Journal;
use crate::kafka::{Group, Log};
use crate::rng::Rng;

/// Which sink is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Elasticsearch,
    Hdfs,
}

/// What is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    Sink,
    Kafka,
    Letters,
}

/// Everything that a seed decides before it starts.
#[derive(Debug, Clone)]
pub struct Plan {
    pub kind: Kind,
    pub workers: usize,
    pub partitions: usize,
    pub rejected: RejectedPolicy,
    pub on_offset_lost: OffsetLost,
    pub starts_latest: bool,
    pub person: bool,
    pub commit_mode: CommitMode,
    pub commit_interval_ms: u64,
    pub drain_timeout_ms: u64,
    pub max_span: i64,
    pub budget: usize,
    pub records: usize,
    pub open_files: usize,
    /// How long faults go on, how often one comes, and how likely (per mille) a request goes wrong.
    pub faults_ms: u64,
    pub fault_every_ms: u64,
    pub trouble: u64,
    /// One outage lasts an hour.
    pub long_outage: Option<Down>,
    /// There is no group: each worker has its partitions for good.
    pub fixed: bool,
}

/// Something that happens at a moment, whoever is asleep or dead by then.
#[derive(Debug)]
pub enum Effect {
    Locate(u64, TopicPartition, outflow::offsets::Epoch),
    Commit(crate::kafka::SentCommit),
    /// For a client; a rebalance is for one membership of it only.
    Event(u64, Option<u64>, SourceEvent),
    Bulk(crate::elastic::Bulk),
    Fence(u64, Assignment),
    FileCommit(crate::hdfs::FileCommit),
    Letter(u64, Letter),
}

/// What a client of the simulated servers has not collected yet.
#[derive(Debug, Default)]
pub struct Inbox {
    pub events: VecDeque<(Option<u64>, SourceEvent)>,
    pub bulks: Vec<crate::elastic::BulkAnswer>,
    pub files: Vec<crate::hdfs::FileAnswer>,
    pub letters: Vec<Delivery>,
}

/// What is true of a partition, whatever outflow thinks.
#[derive(Debug, Default)]
pub struct Truth {
    /// The position that was made durable first: what is below was never asked for.
    pub first: Option<i64>,
    /// Positions that a reset policy has offered.
    pub offered: BTreeSet<i64>,
    /// In Elasticsearch, or in a committed HDFS file.
    pub stored: BTreeSet<i64>,
    pub dead_lettered: BTreeSet<i64>,
    pub dropped: BTreeSet<i64>,
    /// Everything below was found final when a commit passed it.
    pub checked: i64,
    /// Everything below was found final, and what is final stays so: where the next look begins.
    pub seen_final: i64,
    /// The log was cut off here: what stands from here on was replaced.
    pub truncated_at: Option<i64>,
    /// Why a quarantine is to be expected.
    pub excuse: Option<&'static str>,
    /// The HDFS commit log: who may write, where it ends, the last attempt.
    pub fence: u64,
    pub log_end: Option<i64>,
    pub last_attempt: u64,
    pub files: Vec<Vec<i64>>,
    /// Who was told that it may not go on by itself, and hasn't given it back since.
    pub barred: Option<Barred>,
    /// When the newest commit that the group took was sent.
    pub commit_sent: u64,
}

/// A client that was told to stop with a partition: a person's word is needed; or, if another owner has it in the
/// sink, a commit that the group takes.
#[derive(Debug, Clone, Copy)]
pub struct Barred {
    pub client: u64,
    pub at: u64,
    pub until_commit: bool,
}

pub struct World {
    pub start: Instant,
    pub now: u64,
    pub rng: Rng,
    pub plan: Plan,
    pub logs: Vec<Log>,
    pub group: Group,
    pub truth: Vec<Truth>,
    pub inboxes: BTreeMap<u64, Inbox>,
    effects: BTreeMap<(u64, u64), Effect>,
    effects_made: u64,
    pub sink_down_until: u64,
    pub letters_down_until: u64,
    pub kafka_down_until: u64,
    pub circuit_open: bool,
    /// The faults are over.
    pub healed: bool,
    /// (client, partition) pairs that a sink holds open, and the end of what was taken in that epoch.
    pub open_in_sink: BTreeSet<(u64, i32)>,
    /// The end of what a client has taken of a partition since it was opened.
    pub taken: BTreeMap<(u64, i32), i64>,
    pub frozen_until: BTreeMap<u64, u64>,
    /// Clients that are paused by request.
    pub paused: BTreeSet<u64>,
    /// Clients that end, and by when.
    pub leaving: BTreeMap<u64, u64>,
    /// Grows with everything that happens: an idle worker is turned less often.
    pub activity: u64,
    pub violation: Option<String>,
    pub journal: Journal,
}

pub type Shared = Arc<Mutex<World>>;

pub const TOPIC: &str = "t";

/// Where the reset policy starts; in here it always knows.
pub fn start_of(assignment: &Assignment) -> i64 {
    *assignment.start.as_ref().expect("a start")
}

pub fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl World {
    pub fn new(plan: Plan, rng: Rng, journal: Journal) -> Shared {
        let partitions = plan.partitions;
        Arc::new(Mutex::new(World {
            start: Instant::now(),
            now: 0,
            rng,
            logs: (0..partitions).map(|_| Log::default()).collect(),
            group: Group::new(partitions),
            truth: (0..partitions).map(|_| Truth::default()).collect(),
            plan,
            inboxes: BTreeMap::new(),
            effects: BTreeMap::new(),
            effects_made: 0,
            sink_down_until: 0,
            letters_down_until: 0,
            kafka_down_until: 0,
            circuit_open: false,
            healed: false,
            open_in_sink: BTreeSet::new(),
            taken: BTreeMap::new(),
            frozen_until: BTreeMap::new(),
            paused: BTreeSet::new(),
            leaving: BTreeMap::new(),
            activity: 0,
            violation: None,
            journal,
        }))
    }

    pub fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    /// An outage lasts that long, unless a longer one goes on.
    pub fn go_down(&mut self, what: Down, until: u64) {
        let before = match what {
            Down::Sink => &mut self.sink_down_until,
            Down::Letters => &mut self.letters_down_until,
            Down::Kafka => &mut self.kafka_down_until,
        };
        *before = until.max(*before);
        // A broker that is away doesn't miss anybody.
        for member in self.group.members.values_mut() {
            member.last_seen = member.last_seen.max(self.kafka_down_until);
        }
    }

    /// Remembers the first thing that went wrong.
    pub fn violate(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.journal.note(|| format!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }

    pub fn demand(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violate(what());
        }
    }

    pub fn note(&self, what: impl FnOnce() -> String) {
        self.journal.note(what);
    }

    /// Something goes wrong in so many of a thousand cases, as long as faults last.
    pub fn goes_wrong(&mut self, permille: u64) -> bool {
        let chance = permille * self.plan.trouble / 100;
        !self.healed && self.rng.permille(chance)
    }

    pub fn after(&mut self, low: u64, high: u64, effect: Effect) {
        let at = self.now + self.rng.range(low, high);
        self.at(at, effect);
    }

    pub fn at(&mut self, at: u64, effect: Effect) {
        self.effects_made += 1;
        self.effects.insert((at, self.effects_made), effect);
    }

    /// Lets everything happen that is due.
    pub fn step(&mut self) {
        while let Some(entry) = self.effects.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            match entry.remove() {
                Effect::Locate(client, id, epoch) => self.locate(client, id, epoch),
                Effect::Commit(commit) => self.commit(commit),
                Effect::Event(client, member, event) => {
                    if let Some(inbox) = self.inboxes.get_mut(&client) {
                        inbox.events.push_back((member, event));
                    }
                }
                Effect::Bulk(bulk) => self.bulk(bulk),
                Effect::Fence(client, assignment) => self.fence(client, assignment),
                Effect::FileCommit(commit) => self.file_commit(commit),
                Effect::Letter(client, letter) => self.letter(client, letter),
            }
        }
        self.coordinate();
    }

    fn letter(&mut self, client: u64, letter: Letter) {
        if self.now < self.letters_down_until {
            let later = self.letters_down_until + 100;
            return self.at(later, Effect::Letter(client, letter));
        }
        let p = letter.partition.partition as usize;
        let gone = letter.offset < self.logs[p].log_start;
        let record = self.logs[p].records.get(&letter.offset);
        let result = if gone || record.is_none_or(|record| record.too_large) {
            self.truth[p].excuse = Some("a dead letter that can't be had");
            Err(Error::corrupt("can't be had any more, or is too large"))
        } else {
            self.truth[p].dead_lettered.insert(letter.offset);
            Ok(())
        };
        self.note(|| {
            format!(
                "dead letter {}@{}: {result:?}",
                letter.partition, letter.offset
            )
        });
        if let Some(inbox) = self.inboxes.get_mut(&client) {
            inbox.letters.push(Delivery {
                slot: letter.slot,
                epoch: letter.epoch,
                offset: letter.offset,
                result,
            });
        }
    }

    /// A sink takes the record at `offset`; everything below `end` was taken before, or lost and told so.
    pub fn appended(&mut self, client: u64, p: i32, end: i64, offset: i64) {
        self.demand(offset >= end, || {
            format!("partition {p} went back from {end} to {offset}")
        });
        let paused = self.paused.contains(&client);
        self.demand(!paused, || {
            format!("{offset} of partition {p} is taken, and the sink is paused")
        });
        let cut = self.truth[p as usize].truncated_at.unwrap_or(i64::MAX);
        let between = self.logs[p as usize].records.range(end..offset.max(end));
        let jumped = between
            .map(|(&o, _)| o)
            .find(|&o| o < cut && !self.journal.is_skipped(p, o));
        if let Some(jumped) = jumped {
            self.violate(format!(
                "I7: partition {p} jumped over {jumped} without a word"
            ));
        }
        self.taken.insert((client, p), offset + 1);
    }

    /// The pipeline says that a refused record is final.
    pub fn settled(&mut self, p: i32, offset: i64) {
        let truth = &mut self.truth[p as usize];
        let is_final = match self.plan.rejected {
            RejectedPolicy::Skip => {
                truth.dropped.insert(offset);
                true
            }
            RejectedPolicy::DeadLetter { .. } => truth.dead_lettered.contains(&offset),
            RejectedPolicy::Quarantine => false,
        };
        self.demand(is_final, || format!("{offset} is settled, but isn't final"));
    }

    /// The sink has told a client to stop with a partition.
    pub fn bar(&mut self, client: u64, p: i32, until_commit: bool) {
        let at = self.now;
        self.truth[p as usize].barred = Some(Barred {
            client,
            at,
            until_commit,
        });
    }

    /// A client opens a partition in the sink.
    pub fn comes_back(&mut self, client: u64, p: i32) {
        let truth = &mut self.truth[p as usize];
        let barred = truth.barred.take_if(|barred| barred.client == client);
        let commit_sent = truth.commit_sent;
        let may = barred.is_none_or(|barred| barred.until_commit && commit_sent >= barred.at);
        self.demand(may, || {
            format!("partition {p} is opened again by itself, after {barred:?}")
        });
    }

    /// A client is gone, with everything that it held.
    pub fn bury(&mut self, client: u64) {
        self.inboxes.remove(&client);
        self.paused.remove(&client);
        self.open_in_sink.retain(|&(of, _)| of != client);
        self.taken.retain(|&(of, _), _| of != client);
    }

    /// A frozen client can't keep a promise about time.
    pub fn frozen_lately(&self, client: u64) -> bool {
        self.frozen_until
            .get(&client)
            .is_some_and(|until| self.now < until + 60_000)
    }

    /// Whether a record needs nothing more.
    pub fn is_final(&self, p: usize, offset: i64) -> bool {
        let truth = &self.truth[p];
        truth.stored.contains(&offset)
            || truth.dead_lettered.contains(&offset)
            || truth.dropped.contains(&offset)
            || truth.first.is_some_and(|first| offset < first)
            || truth.truncated_at.is_some_and(|at| at <= offset)
            || self.journal.is_skipped(p as i32, offset)
    }

    /// The first record in `[first, end)` that isn't final.
    pub fn not_final(&self, p: usize, first: i64, end: i64) -> Option<i64> {
        let mut records = self.logs[p]
            .records
            .range(first..end.max(first))
            .map(|(&o, _)| o);
        records.find(|&offset| !self.is_final(p, offset))
    }

    /// A partition whose every record is final, and committed. (A commit that a client sent late can have set
    /// the offset back; then it was committed all the same, and a restart only reads again.)
    pub fn is_complete(&mut self, p: usize) -> bool {
        if let Some(waits) = self.not_final(p, self.truth[p].seen_final, i64::MAX) {
            self.truth[p].seen_final = waits;
            return false;
        }
        let committed = match self.truth[p].truncated_at {
            Some(_) => self.group.committed[p].as_ref().map_or(0, |c| c.offset),
            None => self.truth[p].checked,
        };
        let skipped = |offset: &i64| self.journal.is_skipped(p as i32, *offset);
        (self.truth[p].first.is_some() || self.logs[p].records.is_empty())
            && self.logs[p]
                .records
                .range(committed..)
                .all(|(offset, _)| skipped(offset))
    }
}
