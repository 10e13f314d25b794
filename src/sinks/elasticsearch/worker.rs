//! One worker's half of the sink: records are encoded into the open batch, batches become deliveries, and
//! what the deliveries tell becomes answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::batch::{Batch, Item, Job, Piece, Span};
use super::context::{Context, Event};
use super::delivery::deliver;
use super::encoder::{Encoder, Target};
use crate::clock::unix_ms;
use crate::error::{Error, Kind};
use crate::metrics::SinkMetrics;
use crate::offsets::{Epoch, Range};
use crate::sinks::{Answer, Assignment, Record, Rejection, Sink, Slot};

/// Bytes of an action line beyond what the record itself brings, roughly.
const LINE_OVERHEAD: usize = 256;
/// Buffers kept for the next batches.
const MAX_BUFFERS: usize = 4;

/// What a worker is given.
pub struct Parts {
    /// What its deliveries share.
    pub context: Arc<Context>,
    /// What they tell.
    pub events: Receiver<Event>,
    /// How records become lines.
    pub encoder: Encoder,
    /// Where deliveries run.
    pub runtime: Handle,
    /// Bytes of bodies that may be held.
    pub memory_bytes: usize,
    /// How long a batch that isn't full may wait.
    pub linger: Duration,
    /// Most documents in a batch.
    pub max_docs: usize,
}

/// One worker's half of the Elasticsearch sink.
pub struct Worker {
    parts: Parts,
    partitions: Vec<Option<Partition>>,
    open: Open,
    /// Sealed, waiting for a permit.
    ready: VecDeque<(Job, Piece)>,
    ready_bytes: usize,
    deliveries: usize,
    answers: Vec<Answer>,
    buffers: Vec<Vec<u8>>,
    /// The limit as it was at the last poll: no lock per record.
    batch_bytes: usize,
    now_ms: i64,
}

/// The open batch.
#[derive(Default)]
struct Open {
    batch: Batch,
    /// Counts batches, so that a partition knows whether its span is in this one.
    number: u64,
    since: Option<Instant>,
    /// Somebody waits for it.
    urgent: bool,
}

struct Partition {
    epoch: Epoch,
    target: Target,
    /// Where the next range begins.
    next: i64,
    /// Its span and index in the open batch, if that has this number.
    place: Option<Place>,
    /// Ranges in deliveries.
    outstanding: usize,
    /// The indices that records of it wait for, and their troubles.
    waits_for: BTreeMap<Arc<str>, Error>,
    draining: bool,
}

#[derive(Clone)]
struct Place {
    batch: u64,
    span: u32,
    index: Option<(Arc<str>, u32)>,
}

impl Worker {
    /// A worker without partitions.
    pub fn new(parts: Parts) -> Self {
        let batch_bytes = parts.context.limits().batch_bytes();
        Worker {
            parts,
            partitions: Vec::new(),
            open: Open::default(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            deliveries: 0,
            answers: Vec::new(),
            buffers: Vec::new(),
            batch_bytes,
            now_ms: unix_ms(),
        }
    }

    fn partition(&mut self, slot: Slot, epoch: Epoch) -> Option<&mut Partition> {
        let partition = self.partitions.get_mut(slot.0)?.as_mut()?;
        (partition.epoch == epoch).then_some(partition)
    }

    /// Adds a record to its span, and the item that was encoded for it.
    fn add(&mut self, record: &Record<'_>, op: Option<super::batch::Op>) {
        let Some(Some(partition)) = self.partitions.get_mut(record.slot.0) else {
            return;
        };
        let (batch, number) = (&mut self.open.batch, self.open.number);
        let place = partition.place.take().filter(|p| p.batch == number);
        let mut place = place.unwrap_or_else(|| {
            let span = Span::new(record.slot, partition.epoch, partition.next);
            batch.spans.push(span);
            Place {
                batch: number,
                span: to_u32(batch.spans.len() - 1),
                index: None,
            }
        });
        partition.next = record.offset + 1;
        if let Some(span) = batch.spans.get_mut(place.span as usize) {
            span.range = Range::new(span.range.first, record.offset + 1);
            if op.is_some() {
                span.add_item();
            }
        }
        if let (Some(op), Some(name)) = (op, partition.target.index()) {
            let known = place
                .index
                .as_ref()
                .filter(|(known, _)| Arc::ptr_eq(known, name));
            let index = match known {
                Some((_, index)) => *index,
                None => {
                    batch.indices.push(Arc::clone(name));
                    let index = to_u32(batch.indices.len() - 1);
                    place.index = Some((Arc::clone(name), index));
                    index
                }
            };
            batch.items.push(Item {
                end: batch.body.len(),
                span: place.span,
                index,
                op,
                tried: false,
                offset: record.offset,
            });
        }
        partition.place = Some(place);
    }

    fn is_full(&self) -> bool {
        let batch = &self.open.batch;
        batch.body.len() >= self.batch_bytes || batch.items.len() >= self.parts.max_docs
    }

    /// Closes the open batch: what has items waits for a permit, ranges without any are final at once.
    fn seal(&mut self) {
        let next = Batch::with_buffer(self.buffers.pop().unwrap_or_default());
        let batch = std::mem::replace(&mut self.open.batch, next);
        self.open = Open {
            number: self.open.number + 1,
            batch: std::mem::take(&mut self.open.batch),
            since: None,
            urgent: false,
        };
        let (job, piece) = batch.seal();
        for span in &job.spans {
            if span.is_final() {
                self.answers.push(Answer::Acked {
                    slot: span.slot,
                    epoch: span.epoch,
                    range: span.range,
                });
            } else if let Some(partition) = self.partition(span.slot, span.epoch) {
                partition.outstanding += 1;
            }
        }
        if !piece.is_empty() {
            self.ready_bytes += piece.body.len();
            self.ready.push_back((job, piece));
            self.launch();
        }
    }

    /// Starts deliveries of sealed batches while permits are free.
    fn launch(&mut self) {
        let limit = self.parts.context.limits().in_flight();
        while self.deliveries < limit {
            let Some((job, piece)) = self.ready.pop_front() else {
                return;
            };
            let bytes = piece.body.len();
            self.ready_bytes -= bytes;
            self.deliveries += 1;
            let context = Arc::clone(&self.parts.context);
            context.in_flight_bytes.fetch_add(bytes, Ordering::AcqRel);
            self.parts
                .runtime
                .spawn(deliver(context, Arc::new(job), piece));
        }
    }

    fn has_permit(&self) -> bool {
        self.ready.is_empty() && self.deliveries < self.parts.context.limits().in_flight()
    }

    /// Sends the open batch if it is due; else says when it will be.
    fn send_what_is_due(&mut self, now: Instant) -> Option<Instant> {
        self.launch();
        if self.open.batch.is_empty() {
            return None;
        }
        let due = *self.open.since.get_or_insert(now) + self.parts.linger;
        if !self.has_permit() {
            // A delivery that ends wakes us.
            return None;
        }
        if self.open.urgent || self.deliveries == 0 || due <= now || self.is_full() {
            self.seal();
            return None;
        }
        Some(due)
    }

    fn collect(&mut self) {
        while let Ok(event) = self.parts.events.try_recv() {
            match event {
                Event::Refused {
                    slot,
                    epoch,
                    offset,
                    rejection,
                } => self.answers.push(Answer::Refused {
                    slot,
                    epoch,
                    offset,
                    rejection,
                }),
                Event::Acked { slot, epoch, range } => {
                    if let Some(partition) = self.partition(slot, epoch) {
                        partition.outstanding = partition.outstanding.saturating_sub(1);
                    }
                    self.answers.push(Answer::Acked { slot, epoch, range });
                }
                Event::Held {
                    slot,
                    epoch,
                    index,
                    why,
                } => self.held(slot, epoch, index, why),
                Event::Released { slot, epoch, index } => self.released(slot, epoch, &index),
                Event::Finished { buffer } => {
                    self.deliveries = self.deliveries.saturating_sub(1);
                    let buffer = buffer.filter(|_| self.buffers.len() < MAX_BUFFERS);
                    self.buffers.extend(buffer);
                }
            }
        }
    }

    fn held(&mut self, slot: Slot, epoch: Epoch, index: Arc<str>, why: Error) {
        if let Some(partition) = self.partition(slot, epoch) {
            partition.waits_for.insert(index, why);
            self.say_what_is_waited_for(slot, epoch);
        }
    }

    fn released(&mut self, slot: Slot, epoch: Epoch, index: &str) {
        if let Some(partition) = self.partition(slot, epoch)
            && partition.waits_for.remove(index).is_some()
        {
            self.say_what_is_waited_for(slot, epoch);
        }
    }

    fn say_what_is_waited_for(&mut self, slot: Slot, epoch: Epoch) {
        let Some(partition) = self.partition(slot, epoch).filter(|p| !p.draining) else {
            return;
        };
        // Of several the one that only a person can mend.
        let is_lasting = |why: &&Error| why.kind == Kind::Misconfigured;
        let mut troubles = partition.waits_for.values();
        let why = troubles
            .clone()
            .find(is_lasting)
            .or(troubles.next())
            .cloned();
        self.answers.push(match why {
            Some(_) => Answer::Pause { slot, epoch, why },
            None => Answer::Resume { slot, epoch },
        });
    }

    fn say_what_is_drained(&mut self) {
        let open = self.open.number;
        for (slot, partition) in self.partitions.iter_mut().enumerate() {
            let Some(partition) = partition else { continue };
            let in_open = partition.place.as_ref().is_some_and(|p| p.batch == open);
            if partition.draining && partition.outstanding == 0 && !in_open {
                partition.draining = false;
                self.answers.push(Answer::Drained {
                    slot: Slot(slot),
                    epoch: partition.epoch,
                });
            }
        }
    }

    /// Moves what is to be answered, but for assignments that are over.
    fn hand_over(&mut self, answers: &mut Vec<Answer>) {
        let partitions = &self.partitions;
        let ours = |answer: &Answer| {
            let (slot, epoch) = answer.about();
            let partition = partitions.get(slot.0).and_then(Option::as_ref);
            partition.is_some_and(|p| p.epoch == epoch)
        };
        answers.extend(self.answers.drain(..).filter(ours));
    }
}

impl Sink for Worker {
    fn open(&mut self, assignment: Assignment) {
        let Assignment {
            slot,
            partition,
            epoch,
            start,
            ..
        } = assignment;
        let start = match start {
            Ok(start) => start,
            Err(why) => return self.answers.push(Answer::Rewind { slot, epoch, why }),
        };
        if self.partitions.len() <= slot.0 {
            self.partitions.resize_with(slot.0 + 1, || None);
        }
        if let Some(place) = self.partitions.get_mut(slot.0) {
            *place = Some(Partition {
                epoch,
                target: Target::new(partition),
                next: start,
                place: None,
                outstanding: 0,
                waits_for: BTreeMap::new(),
                draining: false,
            });
        }
        self.parts.context.join(slot, epoch);
        self.answers.push(Answer::Opened {
            slot,
            epoch,
            resume: start,
            reading: true,
        });
        self.parts.context.wake();
    }

    fn append(&mut self, record: &Record<'_>) -> Result<(), Rejection> {
        let size =
            record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len) + LINE_OVERHEAD;
        let open = &self.open.batch;
        if !open.items.is_empty() && open.body.len() + size > self.batch_bytes {
            self.seal();
        }
        let Some(Some(partition)) = self.partitions.get_mut(record.slot.0) else {
            // Against the contract; without an ack nothing of it is lost.
            tracing::error!(
                slot = record.slot.0,
                offset = record.offset,
                "a record of a partition that isn't open"
            );
            return Ok(());
        };
        let (target, body) = (&mut partition.target, &mut self.open.batch.body);
        let encoded = self.parts.encoder.encode(target, record, self.now_ms, body);
        self.add(record, encoded.as_ref().ok().copied().flatten());
        let metrics = &self.parts.context.shared.metrics;
        match &encoded {
            Ok(Some(_)) if self.is_full() => self.seal(),
            Ok(Some(_)) => {}
            Ok(None) => {
                let reason = SinkMetrics::reason("tombstone");
                metrics.dropped_records.get_or_create(&reason).inc();
            }
            // The pipeline counts rejections, ours and the server's.
            Err(_) => {}
        }
        encoded.map(|_| ())
    }

    fn has_room(&self) -> bool {
        let context = &self.parts.context;
        let held = context.held_bytes.load(Ordering::Acquire);
        let moving = self.open.batch.body.len()
            + self.ready_bytes
            + context.in_flight_bytes.load(Ordering::Acquire);
        // Where an index may have to wait, the others keep half of the room.
        let share = match context.shared.naming.names_vary {
            true => self.parts.memory_bytes / 2,
            false => self.parts.memory_bytes,
        };
        (moving == 0 || moving < share) && (held == 0 || moving + held < self.parts.memory_bytes)
    }

    /// The pipeline holds the committed offset below it; there is nothing to do here.
    fn settle(&mut self, _slot: Slot, _epoch: Epoch, _offset: i64) {}

    fn drain(&mut self, slot: Slot, epoch: Epoch) {
        let open = self.open.number;
        let Some(partition) = self.partition(slot, epoch) else {
            return;
        };
        partition.draining = true;
        let in_open = partition.place.as_ref().is_some_and(|p| p.batch == open);
        self.open.urgent |= in_open;
        self.parts.context.wake();
    }

    fn close(&mut self, slot: Slot, epoch: Epoch) {
        if self.partition(slot, epoch).is_some()
            && let Some(place) = self.partitions.get_mut(slot.0)
        {
            *place = None;
        }
        // What is open or in a delivery is dropped before its next try.
        self.parts.context.leave(slot, epoch);
    }

    fn poll(&mut self, now: Instant, answers: &mut Vec<Answer>) -> Option<Instant> {
        self.now_ms = unix_ms();
        self.batch_bytes = self.parts.context.limits().batch_bytes();
        let fair = (self.parts.memory_bytes / 4).max(LINE_OVERHEAD);
        self.batch_bytes = self.batch_bytes.min(fair);
        self.collect();
        let next = self.send_what_is_due(now);
        self.say_what_is_drained();
        self.hand_over(answers);
        next
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Deliveries end before their next try.
        self.parts.context.leave_all();
    }
}

fn to_u32(n: usize) -> u32 {
    // Spans and names in a batch are far fewer.
    u32::try_from(n).unwrap_or(u32::MAX)
}
