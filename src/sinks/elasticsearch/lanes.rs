//! Lanes: records of an index that can't take them now wait aside, in requests of their own, so that they
//! hold up nobody else. Their partitions are paused meanwhile.
//!
//! Only where index names come from records; with one index for all, its trouble is the sink's and the
//! circuit's. A lane tries one record at a time, at most [`PROBE_EVERY`] apart, until the index takes one.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{Job, Piece};
use super::context::{Context, Event};
use super::delivery::{first_of, report};
use super::outcome::attempt;
use crate::backoff::{Backoff, Policy};
use crate::error::Error;
use crate::offsets::Epoch;
use crate::sinks::Slot;
use crate::sinks::circuit::PROBE_EVERY;
use std::time::Duration;

/// The lanes of a worker, by index.
#[derive(Debug, Default)]
pub struct Lanes(Mutex<HashMap<Arc<str>, Lane>>);

#[derive(Debug)]
struct Lane {
    queue: VecDeque<(Arc<Job>, Piece)>,
    members: BTreeSet<(Slot, Epoch)>,
    why: Error,
}

impl Lane {
    fn held(&self, index: &Arc<str>, slot: Slot, epoch: Epoch) -> Event {
        Event::Held {
            slot,
            epoch,
            index: Arc::clone(index),
            why: self.why.clone(),
        }
    }
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The indices that wait, and why.
    pub fn reasons(&self) -> Vec<(Arc<str>, String)> {
        let lanes = self.lock();
        let mut reasons: Vec<_> = lanes
            .iter()
            .map(|(index, lane)| (Arc::clone(index), lane.why.what.clone()))
            .collect();
        reasons.sort();
        reasons
    }
}

/// Takes out of `piece` what belongs to an index that has a lane.
pub fn divert(context: &Arc<Context>, job: &Arc<Job>, piece: Piece) -> Option<Piece> {
    let mut rest = piece;
    for index in context.lanes.lock_names(job) {
        let is_its = |name: Option<&Arc<str>>| name.is_some_and(|name| *name == index);
        let (its, others) = rest.partition(|item| is_its(job.index(item)));
        if let Some(its) = its {
            let error = Error::unavailable("its index is waited for");
            hold(context, job, index, its, &error);
        }
        rest = others?;
    }
    Some(rest)
}

impl Lanes {
    /// Which of a job's indices have a lane.
    fn lock_names(&self, job: &Job) -> Vec<Arc<str>> {
        let lanes = self.lock();
        if lanes.is_empty() {
            return Vec::new();
        }
        let names: BTreeSet<_> = job
            .indices
            .iter()
            .filter(|n| lanes.contains_key(*n))
            .collect();
        names.into_iter().cloned().collect()
    }
}

/// Puts `piece` into the lane of `index`, and pauses its partitions. The first one starts the lane.
pub fn hold(context: &Arc<Context>, job: &Arc<Job>, index: Arc<str>, piece: Piece, why: &Error) {
    context
        .held_bytes
        .fetch_add(piece.body.len(), Ordering::AcqRel);
    let spans: BTreeSet<_> = piece
        .items
        .iter()
        .filter_map(|item| job.span(item))
        .map(|span| (span.slot, span.epoch))
        .collect();
    let mut lanes = context.lanes.lock();
    let is_new = !lanes.contains_key(&index);
    let lane = lanes.entry(Arc::clone(&index)).or_insert_with(|| Lane {
        queue: VecDeque::new(),
        members: BTreeSet::new(),
        why: why.clone(),
    });
    lane.queue.push_back((Arc::clone(job), piece));
    for (slot, epoch) in spans {
        if lane.members.insert((slot, epoch)) {
            context.tell(lane.held(&index, slot, epoch));
        }
    }
    drop(lanes);
    context.wake();
    if is_new {
        let sink = &*context.shared.name;
        tracing::warn!(
            sink,
            index = &*index,
            "partitions with records for this index wait: {}",
            why.what
        );
        tokio::spawn(run(Arc::clone(context), index));
    }
}

async fn run(context: Arc<Context>, index: Arc<str>) {
    let mut backoff = Backoff::new(Policy::new(Duration::from_millis(200), PROBE_EVERY));
    let mut in_trouble = true;
    while let Some((job, piece)) = take(&context, &index) {
        if in_trouble {
            context
                .pause(backoff.next_delay(None).min(PROBE_EVERY))
                .await;
        }
        let Some((piece, probe)) = context.cleared(&job, piece).await else {
            continue;
        };
        let mut rest = VecDeque::new();
        let piece = if in_trouble || probe.is_some() {
            first_of(piece, &mut rest)
        } else {
            piece
        };
        let timeout = context.shared.request_timeout;
        let step = if in_trouble {
            // Beyond the limit, or a red index would take the only permit for seconds.
            let _permit = context.extra_permit();
            attempt(&context, &job, piece, timeout).await
        } else {
            let _permit = context.permit().await;
            attempt(&context, &job, piece, timeout).await
        };
        report(&context, probe, step.failure.as_ref());
        in_trouble = !step.held.is_empty() || step.retry.is_some();
        if let Some((_, _, error)) = step.held.first() {
            remember(&context, &index, error);
        }
        // Order: what was tried comes before what wasn't.
        rest.into_iter()
            .for_each(|p| put_back(&context, &index, &job, p));
        let left = step.held.into_iter().map(|(_, p, _)| p).chain(step.retry);
        for piece in step.halves.into_iter().rev().chain(left) {
            put_back(&context, &index, &job, piece);
        }
        if !in_trouble {
            backoff.reset();
        }
        context.wake();
    }
    let sink = &*context.shared.name;
    tracing::info!(sink, index = &*index, "index takes records again");
    context.wake();
}

/// The next piece; if there is none the lane is gone and its partitions go on.
fn take(context: &Context, index: &Arc<str>) -> Option<(Arc<Job>, Piece)> {
    let mut lanes = context.lanes.lock();
    let lane = lanes.get_mut(index)?;
    if let Some((job, piece)) = lane.queue.pop_front() {
        context
            .held_bytes
            .fetch_sub(piece.body.len(), Ordering::AcqRel);
        return Some((job, piece));
    }
    let members = std::mem::take(&mut lane.members);
    lanes.remove(index);
    for (slot, epoch) in members {
        let index = Arc::clone(index);
        context.tell(Event::Released { slot, epoch, index });
    }
    None
}

fn put_back(context: &Context, index: &Arc<str>, job: &Arc<Job>, piece: Piece) {
    context
        .held_bytes
        .fetch_add(piece.body.len(), Ordering::AcqRel);
    if let Some(lane) = context.lanes.lock().get_mut(index) {
        lane.queue.push_front((Arc::clone(job), piece));
    }
}

/// What the index said last is what its partitions wait for.
fn remember(context: &Context, index: &Arc<str>, error: &Error) {
    let mut lanes = context.lanes.lock();
    let Some(lane) = lanes.get_mut(index).filter(|lane| lane.why != *error) else {
        return;
    };
    lane.why.clone_from(error);
    for &(slot, epoch) in &lane.members {
        context.tell(lane.held(index, slot, epoch));
    }
}
