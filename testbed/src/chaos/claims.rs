//! What a fault says about the ledger: records that came another way than by the load, and records that a sink need
//! not have, because they were gone from Kafka before it could read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::{Entry, Ledger};

use super::case::Sink;

/// A record's coordinates.
type Place = (i32, i64);

/// The claims of one run.
#[derive(Default)]
pub struct Claims {
    beside: Mutex<Ledger>,
    excused: Mutex<BTreeMap<Sink, BTreeSet<Place>>>,
}

impl Claims {
    /// These were acknowledged, too.
    pub fn add(&self, ledger: Ledger) {
        lock(&self.beside).merge(ledger);
    }

    /// The load's ledger and what came beside it.
    pub(super) fn complete(&self, mut ledger: Ledger) -> Ledger {
        ledger.merge(lock(&self.beside).clone());
        ledger
    }

    /// This sink need not have these. Whoever says so has counted them.
    pub fn excuse(&self, sink: Sink, places: impl IntoIterator<Item = Place>) {
        let mut excused = lock(&self.excused);
        excused.entry(sink).or_default().extend(places);
    }

    /// Whether this sink must have this record.
    pub(super) fn wants(&self, sink: Sink, entry: &Entry) -> bool {
        let excused = lock(&self.excused);
        let of_sink = excused.get(&sink);
        !of_sink.is_some_and(|places| places.contains(&(entry.partition, entry.offset)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
