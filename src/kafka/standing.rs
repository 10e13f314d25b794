//! How this member stands with its group, for people: taken or refused and why, idle and why, how long
//! rebalances held partitions up. Decides nothing but when the end of a client is said.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;

use super::error::from_reason;
use super::membership::{Explained, Membership};
use crate::error::Error;
use crate::offsets::TopicPartition;
use crate::pipeline::source::Remarks;

/// How long the end of a client may wait for its explanation.
const EXPLAINING: Duration = Duration::from_secs(5);

/// What is to be said now.
pub(super) enum Said {
    /// The group doesn't take us; the client goes on trying.
    Refused(Error),
    /// The client is beyond repair.
    Fatal(Error),
}

/// One member's standing.
pub(super) struct Standing {
    membership: Membership,
    /// The group has taken us, and hasn't refused us since.
    joined: bool,
    /// Why the group has nothing for us.
    idle: Option<String>,
    /// The client is beyond repair; said once it is explained, or at this time as it is.
    ending: Option<(Error, Instant)>,
    /// Partitions that a rebalance has stopped, until they are read again or go to another member.
    stopped: HashMap<TopicPartition, Instant>,
    stood_still: Vec<Duration>,
}

impl Standing {
    pub fn new(membership: Membership) -> Self {
        Standing {
            membership,
            joined: false,
            idle: None,
            ending: None,
            stopped: HashMap::new(),
            stood_still: Vec::new(),
        }
    }

    /// The group has taken us, and gives us these (besides what we have).
    pub fn assigned(&mut self, partitions: &[TopicPartition]) {
        self.joined = true;
        let came: BTreeSet<&TopicPartition> = partitions.iter().collect();
        self.stopped.retain(|partition, _| came.contains(partition));
        self.membership.rebalanced();
    }

    /// These went; `may_return` if they need not go to another member.
    pub fn went(&mut self, partitions: &[TopicPartition], may_return: bool) {
        if may_return {
            let now = Instant::now();
            self.stopped
                .extend(partitions.iter().map(|partition| (partition.clone(), now)));
        }
        self.membership.rebalanced();
    }

    /// These are read (again).
    pub fn read<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        let stopped = partitions.filter_map(|partition| self.stopped.remove(partition));
        let still: Vec<Duration> = stopped.map(|at| at.elapsed()).collect();
        if let Some(longest) = still.iter().max() {
            let num = still.len();
            tracing::info!("{num} partitions are read again, they stood still for {longest:.1?}");
        }
        self.stood_still.extend(still);
    }

    /// The group doesn't take us: said once it is known who stands in the way.
    pub fn refused(&mut self, code: Code, reason: &str) {
        self.joined = false;
        self.membership.refused(code, reason);
    }

    /// The client is beyond repair. Who has our instance id is found out first.
    pub fn fatal(&mut self, code: Code, reason: &str) {
        if self.ending.is_some() {
            return;
        }
        let mut by = Instant::now();
        if is_fatal(code) {
            self.membership.refused(code, reason);
            by += EXPLAINING;
        }
        self.ending = Some((from_reason(code, reason), by));
    }

    /// What was found out since.
    pub fn said(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        while let Some(explained) = self.membership.explained() {
            match explained {
                Explained::Idle(why) => self.idle = why,
                Explained::Refused(code, error) if is_fatal(code) => {
                    if let Some((why, by)) = &mut self.ending {
                        (*why, *by) = (error, Instant::now());
                    }
                }
                // An answer that comes late isn't true any more.
                Explained::Refused(_, error) if !self.joined => said.push(Said::Refused(error)),
                Explained::Refused(..) => {}
            }
        }
        let due = self.ending.take_if(|(_, by)| *by <= Instant::now());
        said.extend(due.map(|(why, _)| Said::Fatal(why)));
        said
    }

    pub fn remarks(&mut self) -> Remarks {
        let unexplained = || {
            self.joined
                .then(|| "the group has no partition for this worker".to_owned())
        };
        Remarks {
            idle: self.idle.clone().or_else(unexplained),
            stood_still: std::mem::take(&mut self.stood_still),
            ..Remarks::default()
        }
    }
}

fn is_fatal(code: Code) -> bool {
    matches!(code, Code::FencedInstanceId | Code::UnreleasedInstanceId)
}
