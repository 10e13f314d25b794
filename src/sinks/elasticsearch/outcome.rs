//! One try: a piece is sent, what is final is reported, and what is left is handed back.

use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Instant;

use super::answer::Outcome;
use super::batch::{Builder, Item, Job, Piece, Span};
use super::compare::{self, Ask, Comparison};
use super::context::{Context, Event};
use super::request::{self, Verdict};
use crate::error::{Error, Kind};
use crate::metrics::SinkMetrics;
use crate::sinks::Rejection;
use std::time::Duration;

/// What is left after a try.
#[derive(Debug, Default)]
pub struct Step {
    /// To be sent at once: halves of what was too much.
    pub halves: Vec<Piece>,
    /// To be sent again after a while.
    pub retry: Option<Piece>,
    /// Waits for its index, with the server's words.
    pub held: Vec<(Arc<str>, Piece, Error)>,
    /// Why nothing came of it, if the sink as a whole is to blame.
    pub failure: Option<Error>,
}

impl Step {
    fn halves(piece: Piece) -> Self {
        let count = piece.items.len() / 2;
        let (head, tail) = piece.split_after(count);
        Step {
            halves: head.into_iter().chain(tail).collect(),
            ..Step::default()
        }
    }
}

/// Sends `piece` once.
pub async fn attempt(context: &Context, job: &Job, mut piece: Piece, timeout: Duration) -> Step {
    let (shared, sent, bytes) = (&context.shared, Instant::now(), piece.body.len());
    let saturated = context.is_saturated();
    shared.metrics.batches.inc();
    shared.metrics.written_bytes.inc_by(bytes as u64);
    let verdict = request::send(&shared.client, &piece, shared.naming, timeout).await;
    let took = sent.elapsed();
    shared.metrics.write_seconds.observe(took.as_secs_f64());
    match verdict {
        Verdict::AllDone => {
            all_done(context, job, &piece);
            context.limits().succeeded(sent, took, bytes, saturated);
            Step::default()
        }
        Verdict::Answered(outcomes) => {
            let (step, overload) = settle(context, job, piece, outcomes, timeout).await;
            let mut limits = context.limits();
            if overload {
                limits.overloaded(sent, Instant::now());
            } else {
                limits.succeeded(sent, took, bytes, saturated);
            }
            step
        }
        Verdict::TooLarge if piece.items.len() > 1 => {
            context.limits().too_large(bytes);
            count_retries(&shared.metrics, "too_large", piece.items.len());
            Step::halves(piece)
        }
        Verdict::TooLarge => {
            let detail = format!(
                "the document makes a request of {bytes} bytes, more than the server takes"
            );
            refuse_all(
                context,
                job,
                &piece,
                &rejection("too_large", detail, Some(413)),
            );
            Step::default()
        }
        Verdict::Unreadable(_) if piece.items.len() > 1 => {
            count_retries(&shared.metrics, "unreadable", piece.items.len());
            Step::halves(piece)
        }
        Verdict::Unreadable(why) => {
            refuse_all(context, job, &piece, &why);
            Step::default()
        }
        Verdict::Failed {
            error,
            overload,
            maybe_written,
        } => {
            if overload {
                context.limits().overloaded(sent, Instant::now());
            } else if took >= timeout {
                context.limits().timed_out(sent, Instant::now(), bytes);
            }
            if maybe_written {
                piece.items.iter_mut().for_each(|item| item.tried = true);
            }
            count_retries(&shared.metrics, request_reason(&error), piece.items.len());
            Step {
                retry: Some(piece),
                failure: Some(error),
                ..Step::default()
            }
        }
    }
}

/// Sorts a piece's items by what became of them. Also says whether the server has too much to do.
async fn settle(
    context: &Context,
    job: &Job,
    piece: Piece,
    outcomes: Vec<Outcome>,
    timeout: Duration,
) -> (Step, bool) {
    let mut sorter = Sorter::new(context, job);
    for ((item, lines), outcome) in piece.lines().zip(outcomes) {
        sorter.sort(*item, lines, outcome);
    }
    sorter.compare(timeout).await;
    let overload = sorter.overload;
    (sorter.finish(), overload)
}

struct Sorter<'a> {
    context: &'a Context,
    job: &'a Job,
    retry: Builder,
    held: Vec<(Arc<str>, Builder, Error)>,
    compare: Vec<(Item, Ask<'a>)>,
    /// The first trouble that is the sink's.
    failure: Option<Error>,
    /// Whether anything got anywhere.
    progress: bool,
    overload: bool,
}

impl<'a> Sorter<'a> {
    fn new(context: &'a Context, job: &'a Job) -> Self {
        Sorter {
            context,
            job,
            retry: Builder::default(),
            held: Vec::new(),
            compare: Vec::new(),
            failure: None,
            progress: false,
            overload: false,
        }
    }

    fn sort<'b: 'a>(&mut self, mut item: Item, lines: &'b [u8], outcome: Outcome) {
        let metrics = &self.context.shared.metrics;
        match outcome {
            Outcome::Done => self.done(&item),
            Outcome::FailureStore => {
                metrics.failure_store.inc();
                self.warn_of_failure_store(&item);
                self.done(&item);
            }
            Outcome::AlreadyThere => {
                metrics.already_present.inc();
                self.done(&item);
            }
            Outcome::Compare { index } => self.compare.push((item, Ask { index, lines })),
            Outcome::Retry {
                reason,
                overload,
                maybe_written,
            } => {
                item.tried |= maybe_written;
                self.overload |= overload;
                count_retries(metrics, &reason, 1);
                let what = format!("bulk items are answered '{reason}'");
                self.again(item, lines, Error::unavailable(what));
            }
            Outcome::Index {
                kind,
                reason,
                maybe_written,
            } => {
                item.tried |= maybe_written;
                self.index_trouble(item, lines, kind, &reason);
            }
            Outcome::Configuration { reason } => {
                count_retries(metrics, "configuration", 1);
                self.again(item, lines, Error::misconfigured(reason));
            }
            Outcome::Refused(rejection) => {
                self.progress = true;
                refuse(self.context, self.job, &item, &rejection);
            }
        }
    }

    fn done(&mut self, item: &Item) {
        self.progress = true;
        self.context.shared.metrics.acked_records.inc();
        finish(self.context, self.job, item);
    }

    fn again(&mut self, item: Item, lines: &[u8], error: Error) {
        // What a person must mend is said before what goes away by itself.
        let says_more =
            |old: &Error| error.kind == Kind::Misconfigured && old.kind != Kind::Misconfigured;
        if self.failure.as_ref().is_none_or(says_more) {
            self.failure = Some(error);
        }
        self.retry.push(item, lines);
    }

    fn index_trouble(&mut self, item: Item, lines: &[u8], kind: Kind, reason: &str) {
        let Some(index) = self.job.index(&item) else {
            return;
        };
        let hint = match kind {
            Kind::Misconfigured => "; create or unblock it, or grant the privileges",
            _ => "",
        };
        let error = Error::new(kind, format!("index '{index}': {reason}{hint}"));
        let label = match kind {
            Kind::Misconfigured => "index_misconfigured",
            _ => "index_unavailable",
        };
        count_retries(&self.context.shared.metrics, label, 1);
        if !self.context.shared.naming.names_vary {
            self.again(item, lines, error);
            return;
        }
        let known = self.held.iter_mut().find(|(name, _, _)| name == index);
        if let Some((_, held, _)) = known {
            held.push(item, lines);
        } else {
            let mut held = Builder::default();
            held.push(item, lines);
            self.held.push((Arc::clone(index), held, error));
        }
    }

    async fn compare(&mut self, timeout: Duration) {
        let (items, asks): (Vec<Item>, Vec<Ask<'_>>) =
            std::mem::take(&mut self.compare).into_iter().unzip();
        if asks.is_empty() {
            return;
        }
        match compare::compare(&self.context.shared.client, &asks, timeout).await {
            Ok(found) => {
                for ((item, ask), found) in items.into_iter().zip(&asks).zip(found) {
                    self.compared(item, ask.lines, found);
                }
            }
            Err(error) => {
                count_retries(&self.context.shared.metrics, "compare", items.len());
                for (item, ask) in items.into_iter().zip(&asks) {
                    self.again(item, ask.lines, error.clone());
                }
            }
        }
    }

    fn compared(&mut self, item: Item, lines: &[u8], found: Comparison) {
        match found {
            Comparison::Same => self.sort_already_there(&item),
            Comparison::Gone => {
                let what = "a document with our id was deleted while we looked at it";
                self.again(item, lines, Error::unavailable(what));
            }
            Comparison::Differs => {
                self.progress = true;
                let detail = "another document with this record's id is there (from another record with this key, \
                              another cluster or topic of the same name, or somebody else), and op is \"create\"";
                let why = rejection("id_taken", detail.to_owned(), Some(409));
                refuse(self.context, self.job, &item, &why);
            }
        }
    }

    fn sort_already_there(&mut self, item: &Item) {
        self.context.shared.metrics.already_present.inc();
        self.done(item);
    }

    fn warn_of_failure_store(&self, item: &Item) {
        let Some(index) = self.job.index(item) else {
            return;
        };
        let mut warned = self
            .context
            .shared
            .warned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if warned.len() < 1_000 && warned.insert(Arc::clone(index)) {
            let sink = &*self.context.shared.name;
            tracing::warn!(
                sink,
                index = &**index,
                "documents go to the failure store: look there for what is wrong with them (said once)"
            );
        }
    }

    fn finish(self) -> Step {
        let some = |builder: Builder| Some(builder).filter(|b| !b.is_empty()).map(Builder::build);
        let held = self.held.into_iter();
        Step {
            halves: Vec::new(),
            retry: some(self.retry),
            held: held
                .map(|(index, builder, error)| (index, builder.build(), error))
                .collect(),
            // If some of it got through the sink isn't down: the rest is tried again by itself.
            failure: self.failure.filter(|_| !self.progress),
        }
    }
}

fn refuse_all(context: &Context, job: &Job, piece: &Piece, why: &Rejection) {
    for item in &piece.items {
        refuse(context, job, item, why);
    }
}

fn refuse(context: &Context, job: &Job, item: &Item, why: &Rejection) {
    let Some(span) = job.span(item) else { return };
    context.tell(Event::Refused {
        slot: span.slot,
        epoch: span.epoch,
        offset: item.offset,
        rejection: why.clone(),
    });
    finish(context, job, item);
}

/// Every item of a piece was done.
fn all_done(context: &Context, job: &Job, piece: &Piece) {
    let num = piece.items.len() as u64;
    context.shared.metrics.acked_records.inc_by(num);
    // A partition's items mostly stand together.
    for run in piece.items.chunk_by(|a, b| a.span == b.span) {
        if let Some(span) = run.first().and_then(|item| job.span(item)) {
            finish_items(context, span, u32::try_from(run.len()).unwrap_or(u32::MAX));
        }
    }
}

/// An item is final; the last of its span acks the range.
fn finish(context: &Context, job: &Job, item: &Item) {
    if let Some(span) = job.span(item) {
        finish_items(context, span, 1);
    }
}

fn finish_items(context: &Context, span: &Span, num: u32) {
    if !span.finish_items(num) {
        return;
    }
    context.tell(Event::Acked {
        slot: span.slot,
        epoch: span.epoch,
        range: span.range,
    });
}

fn count_retries(metrics: &SinkMetrics, reason: &str, count: usize) {
    let reason = SinkMetrics::reason(reason);
    metrics.retries.get_or_create(&reason).inc_by(count as u64);
}

fn request_reason(error: &Error) -> &'static str {
    match error.kind {
        Kind::Misconfigured => "request_misconfigured",
        _ => "request_unavailable",
    }
}

fn rejection(reason: &str, detail: String, status: Option<u16>) -> Rejection {
    Rejection {
        reason: reason.to_owned(),
        detail,
        status,
    }
}
