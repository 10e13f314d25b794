//! What a worker shares with its deliveries: who is still a member, how much may be in flight, and the way
//! back to the worker.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::answer::Naming;
use super::batch::{Item, Job, Piece};
use super::lanes::Lanes;
use super::limits::Limits;
use super::transport::Client;
use crate::error::Error;
use crate::metrics::SinkMetrics;
use crate::offsets::{Epoch, Range};
use crate::sinks::circuit::{CircuitHandle, Leave, Probe};
use crate::sinks::{Rejection, Slot, Waker};
use crate::status::CircuitState;

/// What all workers of a sink share.
#[derive(Debug)]
pub struct Shared {
    /// The sink's name.
    pub name: Arc<str>,
    /// The nodes.
    pub client: Client,
    /// The circuit.
    pub circuit: CircuitHandle,
    /// What is counted.
    pub metrics: SinkMetrics,
    /// One request's timeout.
    pub request_timeout: Duration,
    /// Where the names of indices and documents come from.
    pub naming: Naming,
    /// Indices whose failure store was spoken of.
    pub warned: Mutex<HashSet<Arc<str>>>,
}

/// What a delivery tells its worker.
#[derive(Debug)]
pub enum Event {
    /// A record was refused for good.
    Refused {
        /// Its partition.
        slot: Slot,
        /// The assignment.
        epoch: Epoch,
        /// Its offset.
        offset: i64,
        /// Why.
        rejection: Rejection,
    },
    /// A partition's part of a batch is final.
    Acked {
        /// The partition.
        slot: Slot,
        /// The assignment.
        epoch: Epoch,
        /// The offsets.
        range: Range,
    },
    /// Records of this partition wait for an index; said again if the index's trouble changes.
    Held {
        /// The partition.
        slot: Slot,
        /// The assignment.
        epoch: Epoch,
        /// The index.
        index: Arc<str>,
        /// Its trouble.
        why: Error,
    },
    /// They don't any more.
    Released {
        /// The partition.
        slot: Slot,
        /// The assignment.
        epoch: Epoch,
        /// The index.
        index: Arc<str>,
    },
    /// A delivery is over; its buffer may be used again.
    Finished {
        /// The buffer, if nobody else has it.
        buffer: Option<Vec<u8>>,
    },
}

/// What a worker's deliveries share.
#[derive(Debug)]
pub struct Context {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Indices that can't take records now.
    pub lanes: Lanes,
    /// Bytes of bodies in deliveries.
    pub in_flight_bytes: AtomicUsize,
    /// Bytes of records that wait for an index.
    pub held_bytes: AtomicUsize,
    /// The assignments that are ours now.
    members: watch::Sender<HashMap<Slot, Epoch>>,
    limits: Mutex<Limits>,
    requests: AtomicUsize,
    freed: Notify,
    events: Sender<Event>,
    waker: Waker,
}

impl Context {
    /// For one worker.
    pub fn new(shared: Arc<Shared>, limits: Limits, events: Sender<Event>, waker: Waker) -> Self {
        Context {
            shared,
            lanes: Lanes::default(),
            in_flight_bytes: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            members: watch::Sender::new(HashMap::new()),
            limits: Mutex::new(limits),
            requests: AtomicUsize::new(0),
            freed: Notify::new(),
            events,
            waker,
        }
    }

    /// The worker's limits.
    pub fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the worker, which collects it at its next poll.
    pub fn tell(&self, event: Event) {
        // A worker that is gone needs to know nothing.
        let _ = self.events.send(event);
    }

    /// Makes the worker poll.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// An assignment begins.
    pub fn join(&self, slot: Slot, epoch: Epoch) {
        self.members.send_modify(|members| {
            members.insert(slot, epoch);
        });
    }

    /// An assignment is over: deliveries stop trying its records.
    pub fn leave(&self, slot: Slot, epoch: Epoch) {
        self.members.send_modify(|members| {
            if members.get(&slot) == Some(&epoch) {
                members.remove(&slot);
            }
        });
    }

    /// All assignments are over.
    pub fn leave_all(&self) {
        self.members.send_modify(HashMap::clear);
    }

    /// What of `piece` still belongs to an assignment of ours.
    pub fn living(&self, job: &Job, piece: Piece) -> Option<Piece> {
        let dead: Vec<bool> = {
            let members = self.members.borrow();
            let is_dead = |slot: Slot, epoch| members.get(&slot) != Some(&epoch);
            job.spans.iter().map(|s| is_dead(s.slot, s.epoch)).collect()
        };
        if !dead.iter().any(|dead| *dead) {
            return Some(piece).filter(|p| !p.is_empty());
        }
        let is_dead = |item: &Item| dead.get(item.span as usize).copied().unwrap_or(true);
        piece.partition(|item| !is_dead(item)).0
    }

    /// Waits until `piece` may be sent, and drops what isn't ours any more meanwhile. With a probe, the
    /// outcome of what is sent next decides over the circuit.
    pub async fn cleared(&self, job: &Job, piece: Piece) -> Option<(Piece, Option<Probe>)> {
        let mut piece = piece;
        let mut circuit = self.shared.circuit.subscribe();
        let mut members = self.members.subscribe();
        loop {
            piece = self.living(job, piece)?;
            circuit.mark_unchanged();
            let at = match self.shared.circuit.ask() {
                Leave::Go => return Some((piece, None)),
                Leave::Probe(probe) => match self.shared.client.ping().await {
                    Ok(()) => return Some((piece, Some(probe))),
                    Err(error) => {
                        probe.failed(&error);
                        continue;
                    }
                },
                Leave::Wait(at) => at,
            };
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {}
                _ = circuit.changed() => {}
                _ = members.changed() => {}
            }
        }
    }

    /// Waits before the next try. Cut short when the circuit opens (its probes set the pace then) or when an
    /// assignment ends.
    pub async fn pause(&self, delay: Duration) {
        let mut circuit = self.shared.circuit.subscribe();
        let mut members = self.members.subscribe();
        if *circuit.borrow_and_update() != CircuitState::Closed {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = circuit.changed() => {}
            _ = members.changed() => {}
        }
    }

    /// Waits until the number of requests in flight allows one more.
    pub async fn permit(&self) -> Permit<'_> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(permit) = self.try_permit() {
                return permit;
            }
            freed.await;
        }
    }

    /// A permit beyond the limit: for a probe, of the sink or of an index that can't take records.
    pub fn extra_permit(&self) -> Permit<'_> {
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.shared.metrics.in_flight.inc();
        Permit { context: self }
    }

    fn try_permit(&self) -> Option<Permit<'_>> {
        let limit = self.limits().in_flight();
        let more = |n: usize| (n < limit).then_some(n + 1);
        self.requests
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()?;
        self.shared.metrics.in_flight.inc();
        Some(Permit { context: self })
    }

    /// Whether as many requests are in flight as may be.
    pub fn is_saturated(&self) -> bool {
        self.requests.load(Ordering::Acquire) >= self.limits().in_flight()
    }
}

/// One request in flight.
#[derive(Debug)]
pub struct Permit<'a> {
    context: &'a Context,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.context.requests.fetch_sub(1, Ordering::AcqRel);
        self.context.shared.metrics.in_flight.dec();
        self.context.freed.notify_waiters();
    }
}
