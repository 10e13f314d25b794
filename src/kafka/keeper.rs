//! Who keeps a consumer's positions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Thread};

use super::positions::PositionStore;
use crate::error::Error;
use crate::offsets::TopicPartition;
use crate::pipeline::source::{Commit, Committed};
use crate::sinks::Waker;

/// Who keeps a consumer's positions.
#[derive(Debug, Clone)]
pub enum Keeper {
    /// Its group, on the brokers.
    Group,
    /// A file on this machine, shared by the sink's workers.
    Store(Arc<PositionStore>),
    /// The sink does, beside the records: commits are nothing to it, and nothing is found committed.
    Sink,
}

impl Keeper {
    /// The positions in topics of cluster `cluster_id`, where it isn't the group that is to be asked.
    pub(super) fn positions(
        &self,
        cluster_id: &str,
    ) -> Result<Option<BTreeMap<TopicPartition, Committed>>, Error> {
        match self {
            Keeper::Group => Ok(None),
            Keeper::Store(store) => {
                store.belongs_to(cluster_id)?;
                Ok(Some(store.positions().partitions))
            }
            Keeper::Sink => Ok(Some(BTreeMap::new())),
        }
    }
}

/// Commits of a consumer without a group, one at a time, and their answers.
pub(super) struct Kept {
    /// `None`: the sink keeps positions itself.
    store: Option<Arc<PositionStore>>,
    answers: Sender<Result<(), Error>>,
    answered: Receiver<Result<(), Error>>,
    waker: Waker,
    waits: Thread,
}

impl Kept {
    /// `None` for a group: that is committed to by the client. Made on the thread that waits for answers.
    pub fn new(keeper: Keeper, waker: Waker) -> Option<Self> {
        let store = match keeper {
            Keeper::Group => return None,
            Keeper::Store(store) => Some(store),
            Keeper::Sink => None,
        };
        let (answers, answered) = channel();
        Some(Kept {
            store,
            answers,
            answered,
            waker,
            waits: thread::current(),
        })
    }

    /// Answered later, however long the disk takes.
    pub fn send(&self, commits: Vec<Commit>) {
        let answers = self.answers.clone();
        let (waker, waits) = (self.waker.clone(), self.waits.clone());
        let answer = move |result| {
            // A consumer that is gone doesn't want to know.
            let _ = answers.send(result);
            waker.wake();
            waits.unpark();
        };
        match &self.store {
            Some(store) => store.submit(commits, answer),
            None => answer(Ok(())),
        }
    }

    pub fn answered(&self) -> Option<Result<(), Error>> {
        self.answered.try_recv().ok()
    }
}
