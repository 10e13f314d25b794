//! What the tables are written in: events as a short list, actions as one line each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::config::settings::{CommitMode, OffsetLost, RejectedPolicy};
use crate::error::Error;
use crate::offsets::{Epoch, Range, TopicPartition};
use crate::pipeline::control::{Action, Control, Notice, Rules};
use crate::pipeline::dead_letter::Delivery;
use crate::pipeline::source::{Broken, Committed, Location, SourceEvent};
use crate::sinks::{Answer, Record, Rejection, Slot};
use crate::status::PartitionStatus;

/// Where a partition stands: committed, log start, log end; the reset policy says `log start`.
pub fn at(committed: i64, log_start: i64, log_end: i64) -> Location {
    let committed = Committed {
        offset: committed,
        leader_epoch: 7,
        metadata: String::new(),
    };
    Location {
        committed: Some(committed.clone()),
        start: Ok(committed.offset),
        ..fresh(0, log_start, log_end)
    }
}

/// The group has no position; the reset policy says `start`.
pub fn fresh(start: i64, log_start: i64, log_end: i64) -> Location {
    Location {
        cluster_id: "c".to_owned(),
        topic_id: "id-1".to_owned(),
        num_partitions: 3,
        appeared_later: false,
        since_ms: None,
        committed: None,
        start: Ok(start),
        log_start,
        log_end,
    }
}

/// The same place in a topic that was deleted and created again.
pub fn recreated(location: Location) -> Location {
    let metadata = r#"{"topic_id":"id-1","partitions":3}"#.to_owned();
    Location {
        topic_id: "id-2".to_owned(),
        committed: location.committed.map(|committed| Committed {
            metadata,
            ..committed
        }),
        ..location
    }
}

pub fn rules() -> Rules {
    Rules {
        group: "g".into(),
        rejected: RejectedPolicy::DeadLetter {
            topic: "dead".to_owned(),
        },
        on_offset_lost: OffsetLost::Stop,
        commit_mode: CommitMode::Interval,
        commit_interval: Duration::from_secs(1),
        max_poll_records: 2_048,
        drain_timeout: Duration::from_secs(20),
        max_span: 100,
        can_go_back: true,
        stops_on_new_partitions: false,
        fixed: false,
    }
}

/// One table: a control, its clock, and what it has answered since the last look.
pub struct Script {
    name: &'static str,
    control: Control,
    now: Instant,
    sink_is_down: bool,
    out: Vec<Action>,
    steps: usize,
}

impl Script {
    pub fn new(name: &'static str, rules: Rules) -> Self {
        let now = Instant::now();
        Script {
            name,
            control: Control::new(rules, now),
            now,
            sink_is_down: false,
            out: Vec::new(),
            steps: 0,
        }
    }

    /// Partition 0 runs as slot 0 in epoch 1 from the committed offset.
    pub fn running(name: &'static str, rules: Rules, committed: i64) -> Self {
        let mut script = Script::new(name, rules);
        script.assigned(&[0]);
        script.located(0, 1, at(committed, 0, 1_000));
        script.opened(0, 1, committed);
        script.out.clear();
        script
    }

    /// What must have been done since the last look, and nothing else.
    #[track_caller]
    pub fn does(&mut self, expected: &[&str]) -> &mut Self {
        self.steps += 1;
        let done = self.did();
        assert_eq!(done, expected, "{}, look {}", self.name, self.steps);
        self
    }

    /// What was done since the last look.
    pub fn did(&mut self) -> Vec<String> {
        let done = self.out.drain(..);
        done.filter_map(|action| show(&action)).collect()
    }

    #[track_caller]
    pub fn does_nothing(&mut self) -> &mut Self {
        self.does(&[])
    }

    pub fn source(&mut self, event: SourceEvent) -> &mut Self {
        self.control.on_source(event, self.now, &mut self.out);
        self
    }

    pub fn sink(&mut self, answer: Answer) -> &mut Self {
        self.control.on_answer(answer, self.now, &mut self.out);
        self
    }

    pub fn assigned(&mut self, partitions: &[i32]) -> &mut Self {
        self.source(SourceEvent::Assigned(ids(partitions)))
    }

    pub fn revoked(&mut self, partitions: &[i32]) -> &mut Self {
        self.source(SourceEvent::Revoked(ids(partitions)))
    }

    pub fn lost(&mut self, partitions: &[i32]) -> &mut Self {
        self.source(SourceEvent::Lost(ids(partitions)))
    }

    pub fn located(&mut self, partition: i32, epoch: u64, location: Location) -> &mut Self {
        self.source(SourceEvent::Located {
            partition: id(partition),
            epoch: Epoch(epoch),
            found: Ok(location),
        })
    }

    pub fn not_located(&mut self, partition: i32, epoch: u64) -> &mut Self {
        self.source(SourceEvent::Located {
            partition: id(partition),
            epoch: Epoch(epoch),
            found: Err(Error::misconfigured("no position")),
        })
    }

    pub fn committed(&mut self, number: u64) -> &mut Self {
        self.source(SourceEvent::Committed {
            number,
            result: Ok(()),
        })
    }

    pub fn commit_fails(&mut self, number: u64) -> &mut Self {
        self.source(SourceEvent::Committed {
            number,
            result: Err(Error::fenced("unknown member")),
        })
    }

    /// The group takes these partitions of a commit, and refuses the others.
    pub fn committed_in_part(&mut self, number: u64, partitions: &[i32]) -> &mut Self {
        self.source(SourceEvent::CommittedInPart {
            number,
            partitions: ids(partitions),
        })
        .commit_fails(number)
    }

    pub fn commit_mismatch(&mut self, partition: i32, ours: i64, found: Option<i64>) -> &mut Self {
        self.source(SourceEvent::CommitMismatch {
            partition: id(partition),
            ours,
            found,
        })
    }

    pub fn broken(&mut self, partition: i32, why: Broken) -> &mut Self {
        self.source(SourceEvent::Broken {
            partition: id(partition),
            why,
        })
    }

    pub fn opened(&mut self, slot: usize, epoch: u64, resume: i64) -> &mut Self {
        self.sink(Answer::Opened {
            slot: Slot(slot),
            epoch: Epoch(epoch),
            resume,
            reading: true,
        })
    }

    pub fn opened_waiting(&mut self, slot: usize, epoch: u64, resume: i64) -> &mut Self {
        self.sink(Answer::Opened {
            slot: Slot(slot),
            epoch: Epoch(epoch),
            resume,
            reading: false,
        })
    }

    pub fn acked(&mut self, slot: usize, epoch: u64, first: i64, end: i64) -> &mut Self {
        self.sink(Answer::Acked {
            slot: Slot(slot),
            epoch: Epoch(epoch),
            range: Range::new(first, end),
        })
    }

    pub fn refused(&mut self, slot: usize, epoch: u64, offset: i64) -> &mut Self {
        self.sink(Answer::Refused {
            slot: Slot(slot),
            epoch: Epoch(epoch),
            offset,
            rejection: rejection(),
        })
    }

    pub fn drained(&mut self, slot: usize, epoch: u64) -> &mut Self {
        self.sink(Answer::Drained {
            slot: Slot(slot),
            epoch: Epoch(epoch),
        })
    }

    pub fn rewind(&mut self, slot: usize, epoch: u64) -> &mut Self {
        self.sink(Answer::Rewind {
            slot: Slot(slot),
            epoch: Epoch(epoch),
            why: Error::unavailable("write failed"),
        })
    }

    pub fn fenced(&mut self, slot: usize, epoch: u64) -> &mut Self {
        self.sink(Answer::Fenced {
            slot: Slot(slot),
            epoch: Epoch(epoch),
            why: Error::fenced("another owner"),
        })
    }

    pub fn stopped(&mut self, slot: usize, epoch: u64) -> &mut Self {
        self.sink(Answer::Stopped {
            slot: Slot(slot),
            epoch: Epoch(epoch),
            why: Error::corrupt("found what can't be"),
        })
    }

    pub fn pause(&mut self, slot: usize, epoch: u64) -> &mut Self {
        self.pause_for(slot, epoch, None)
    }

    pub fn pause_for(&mut self, slot: usize, epoch: u64, why: Option<Error>) -> &mut Self {
        self.sink(Answer::Pause {
            slot: Slot(slot),
            epoch: Epoch(epoch),
            why,
        })
    }

    pub fn resume(&mut self, slot: usize, epoch: u64) -> &mut Self {
        self.sink(Answer::Resume {
            slot: Slot(slot),
            epoch: Epoch(epoch),
        })
    }

    /// Delivers the records `first..end`; how many were taken.
    pub fn take(&mut self, slot: usize, first: i64, end: i64) -> usize {
        let taken = (first..end).filter(|&offset| {
            self.control.take(&Record {
                slot: Slot(slot),
                offset,
                leader_epoch: 7,
                timestamp_ms: None,
                key: None,
                value: None,
                origin: None,
            })
        });
        taken.count()
    }

    /// The sink refuses a record at `append`.
    pub fn refuses_at_append(&mut self, slot: usize, offset: i64) -> &mut Self {
        self.control
            .refused(Slot(slot), offset, rejection(), self.now, &mut self.out);
        self
    }

    pub fn letter(&mut self, slot: usize, epoch: u64, offset: i64, ok: bool) -> &mut Self {
        let result = match ok {
            true => Ok(()),
            false => Err(Error::corrupt("too large for the dead letter topic")),
        };
        let delivery = Delivery {
            slot: Slot(slot),
            epoch: Epoch(epoch),
            offset,
            result,
        };
        self.control.on_delivery(delivery, self.now, &mut self.out);
        self
    }

    /// Time passes, then the control looks at the clock.
    pub fn after_ms(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self.control
            .tick(self.now, self.sink_is_down, &mut self.out);
        self
    }

    pub fn sink_goes_down(&mut self) -> &mut Self {
        self.sink_is_down = true;
        self.after_ms(10)
    }

    pub fn shut_down_within_ms(&mut self, ms: u64) -> &mut Self {
        let deadline = self.now + Duration::from_millis(ms);
        self.control.shut_down(self.now, deadline, &mut self.out);
        self
    }

    /// A person pauses the sink, or lets it go on.
    pub fn person_pauses(&mut self, is_paused: bool) -> &mut Self {
        self.control.set_paused(is_paused, &mut self.out);
        self
    }

    pub fn person_releases(&mut self, partition: i32) -> Result<(), Error> {
        self.control
            .release_quarantine(&id(partition), &mut self.out)
    }

    /// A turn of the worker, no time passing: the acks were heard.
    pub fn turn(&mut self) -> &mut Self {
        self.control.commit_at_once(self.now, &mut self.out);
        self
    }

    /// How many records may be taken now.
    pub fn may_take(&self) -> usize {
        self.control.may_take()
    }

    /// A partition as observers see it.
    pub fn shown(&self, partition: i32) -> Option<PartitionStatus> {
        self.shown_while(partition, &HashMap::new())
    }

    /// The same, while these stand still.
    pub fn shown_while(
        &self,
        partition: i32,
        still: &HashMap<TopicPartition, String>,
    ) -> Option<PartitionStatus> {
        self.shown_with(partition, still, Some("waits for its turn"))
    }

    /// The same, if the sink says this of what it doesn't want.
    pub fn shown_in_turn(&self, partition: i32, turn: Option<&str>) -> Option<PartitionStatus> {
        self.shown_with(partition, &HashMap::new(), turn)
    }

    fn shown_with(
        &self,
        partition: i32,
        still: &HashMap<TopicPartition, String>,
        turn: Option<&str>,
    ) -> Option<PartitionStatus> {
        let turn = |_| turn.map(str::to_owned);
        let shown = self.control.snapshot(|_| None, still, turn);
        shown.into_iter().find(|p| p.partition == partition)
    }

    /// What the last quarantine since the last look says to people.
    pub fn why_quarantined(&self) -> String {
        let why = |action: &Action| match action {
            Action::Tell(Notice::Quarantined(_, why)) => Some(why.to_string()),
            _ => None,
        };
        self.out
            .iter()
            .rev()
            .find_map(why)
            .expect("nothing is quarantined")
    }

    /// Forgets what was done since the last look.
    pub fn clear(&mut self) {
        self.out.clear();
    }

    pub fn rebalances(&self) -> u64 {
        self.control.rebalances()
    }

    pub fn finished(&self) -> Option<bool> {
        self.control.finished()
    }
}

fn rejection() -> Rejection {
    Rejection {
        reason: "not_json".to_owned(),
        detail: "line 1".to_owned(),
        status: None,
    }
}

pub fn id(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn ids(partitions: &[i32]) -> Vec<TopicPartition> {
    partitions.iter().map(|&partition| id(partition)).collect()
}

fn join(ids: &[TopicPartition]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| id.partition.to_string()).collect();
    ids.join(" ")
}

/// An action as the tables write it. Notices that nobody's promise hangs on are left out.
fn show(action: &Action) -> Option<String> {
    let p = |id: &TopicPartition| id.partition;
    Some(match action {
        Action::Locate(id, epoch) => format!("locate {} e{epoch}", p(id)),
        Action::Start {
            partition,
            offset,
            leader_epoch,
            ..
        } => format!("start {} at {offset} after le{leader_epoch}", p(partition)),
        Action::Stop(id) => format!("stop {}", p(id)),
        Action::Commit(number, commits) => {
            let parts: Vec<_> = commits
                .iter()
                .map(|c| format!("{}={} le{}", p(&c.partition), c.offset, c.leader_epoch))
                .collect();
            format!("commit #{number} {}", parts.join(" "))
        }
        Action::Release(ids) => format!("release {}", join(ids)),
        Action::Open(a) => {
            let start = a.start.as_ref().map_or("?".to_owned(), i64::to_string);
            format!("open {} e{} from {start}", p(&a.partition), a.epoch)
        }
        Action::Drain(slot, epoch) => format!("drain s{} e{epoch}", slot.0),
        Action::Close(slot, epoch) => format!("close s{} e{epoch}", slot.0),
        Action::Settle(slot, epoch, offset) => format!("settle s{} e{epoch} {offset}", slot.0),
        Action::Hold(is_held) => format!("hold {is_held}"),
        Action::DeadLetter(letter) => format!("letter {} {}", p(&letter.partition), letter.offset),
        Action::Tell(notice) => match notice {
            Notice::Skipped(id, range, reason) => format!("skipped {} {range} {reason}", p(id)),
            Notice::Quarantined(id, _) => format!("quarantined {}", p(id)),
            Notice::Dropped(id, offset, _) => format!("dropped {} {offset}", p(id)),
            Notice::Fenced(id, _) => format!("fenced {}", p(id)),
            Notice::CommitMismatch(id, _) => format!("mismatch {}", p(id)),
            Notice::Released(ids, clean) => format!("released {} clean={clean}", join(ids)),
            _ => return None,
        },
    })
}
