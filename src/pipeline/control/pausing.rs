//! A pause by request. It is back-pressure without an end: nothing is taken, and all else goes on as ever. What
//! is in flight becomes final and is committed, the client is polled, partitions come, drain and go.

use super::partition::{Partition, State};
use super::{Action, Control};
use crate::status::{PartitionState, PartitionStatus};

/// What a partition says that would be read otherwise.
pub const PAUSED: &str = "the sink is paused by request";

impl Control {
    /// Whether the sink is paused by request: then [`Control::may_take`] is 0, for partitions that come later,
    /// too. To be called in every turn; only a change makes a difference.
    pub fn set_paused(&mut self, is_paused: bool, out: &mut Vec<Action>) {
        if is_paused != self.is_paused {
            self.is_paused = is_paused;
            out.push(Action::Hold(is_paused));
        }
    }

    /// A partition as observers are to see it: while the sink is paused none is being read, one that is read but that
    /// nothing comes of waits for Kafka, and one that waits without trouble for its turn, as `turn` says.
    pub(super) fn shown(
        &self,
        mut status: PartitionStatus,
        still: Option<&String>,
        turn: impl FnOnce() -> Option<String>,
    ) -> PartitionStatus {
        match status.state {
            PartitionState::Running | PartitionState::Waiting if self.is_paused => {
                status.state = PartitionState::Waiting;
                status.reason.get_or_insert_with(|| PAUSED.to_owned());
            }
            PartitionState::Running => {
                if let Some(why) = still {
                    status.state = PartitionState::Waiting;
                    status.reason = Some(why.clone());
                    status.waits_for_kafka = true;
                }
            }
            PartitionState::Waiting if status.reason.is_none() => {
                status.reason = turn();
                status.waits_for_turn = status.reason.is_some();
            }
            _ => {}
        }
        status
    }

    /// Why a partition waits without trouble: its span is full, or what the sink says of its turn.
    pub(super) fn why_waiting(
        &self,
        partition: &Partition,
        turn: impl FnOnce() -> Option<String>,
    ) -> Option<String> {
        let turn = turn();
        if !matches!(partition.state, State::SpanFull) {
            return turn;
        }
        let most = self.rules.max_span;
        let full = format!(
            "waits until what was read of it is final: more than {most} offsets aren't yet (kafka.max_span); it goes \
             on at half of that"
        );
        Some(match turn {
            Some(turn) => format!("{full}; {turn}"),
            None => full,
        })
    }
}
