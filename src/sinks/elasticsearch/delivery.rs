//! One batch's way to the server: a task of its own that ends when every record of it is final, isn't ours
//! any more, or waits in a lane for its index.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::batch::{Job, Piece};
use super::context::{Context, Event};
use super::lanes;
use super::outcome::{Step, attempt};
use crate::backoff::{Backoff, Policy};
use crate::error::Error;
use crate::sinks::circuit::Probe;

/// A piece that came to nothing so often may be too much in a way that nobody says (a proxy that cuts the
/// connection on large bodies): then it is halved.
const HALVED_AFTER: u32 = 4;
/// A probe is one record; it needs no longer than this.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// Between tries while the circuit is closed: a batch must not sleep long past the end of the trouble. How
/// much is sent shrinks besides, and a server that is down is the circuit's.
const RETRY: Policy = Policy::new(Duration::from_millis(200), Duration::from_secs(5));

/// Delivers a sealed batch.
pub async fn deliver(context: Arc<Context>, job: Arc<Job>, whole: Piece) {
    let bytes = whole.body.len();
    let buffer = whole.body.clone();
    run(&context, &job, whole).await;
    context.in_flight_bytes.fetch_sub(bytes, Ordering::AcqRel);
    // Nobody else has it when nothing of it is held; then it is used again.
    let buffer = buffer.is_unique().then(|| Vec::from(buffer));
    context.tell(Event::Finished { buffer });
    context.wake();
}

async fn run(context: &Arc<Context>, job: &Arc<Job>, whole: Piece) {
    let mut todo = VecDeque::from([whole]);
    let mut backoff = Backoff::new(RETRY);
    let mut failures = 0;
    while let Some(piece) = todo.pop_front() {
        let Some((piece, probe)) = context.cleared(job, piece).await else {
            continue;
        };
        let Some(piece) = lanes::divert(context, job, piece) else {
            continue;
        };
        let (piece, timeout) = match &probe {
            Some(_) => (first_of(piece, &mut todo), PROBE_TIMEOUT),
            None => (piece, Duration::MAX),
        };
        let timeout = timeout.min(context.shared.request_timeout);
        let step = {
            // A probe needn't wait for requests that hang in what it is to find the end of.
            let _permit = match &probe {
                Some(_) => context.extra_permit(),
                None => context.permit().await,
            };
            attempt(context, job, piece, timeout).await
        };
        let failed = step.failure.is_some();
        report(context, probe, step.failure.as_ref());
        failures = if failed { failures + 1 } else { 0 };
        let delay = after(context, job, step, &mut todo, &mut backoff, failures);
        context.wake();
        if let Some(delay) = delay {
            context.pause(delay).await;
        }
    }
}

/// Queues what is left of a step, and says how long to wait before the next.
fn after(
    context: &Arc<Context>,
    job: &Arc<Job>,
    step: Step,
    todo: &mut VecDeque<Piece>,
    backoff: &mut Backoff,
    failures: u32,
) -> Option<Duration> {
    for (index, piece, error) in step.held {
        lanes::hold(context, job, index, piece, &error);
    }
    for half in step.halves.into_iter().rev() {
        todo.push_front(half);
    }
    let Some(retry) = step.retry else {
        backoff.reset();
        return None;
    };
    if failures > 0 && failures.is_multiple_of(HALVED_AFTER) && retry.items.len() > 1 {
        let count = retry.items.len() / 2;
        let (head, tail) = retry.split_after(count);
        tail.into_iter().for_each(|piece| todo.push_front(piece));
        head.into_iter().for_each(|piece| todo.push_front(piece));
    } else {
        todo.push_front(retry);
    }
    let retry_after = step.failure.and_then(|error| error.retry_after);
    Some(backoff.next_delay(retry_after))
}

/// A probe is one record: the rest waits behind it.
pub fn first_of(piece: Piece, todo: &mut VecDeque<Piece>) -> Piece {
    match piece.split_after(1) {
        (Some(first), rest) => {
            rest.into_iter().for_each(|rest| todo.push_front(rest));
            first
        }
        (None, rest) => rest.unwrap_or(Piece {
            body: bytes::Bytes::new(),
            items: Vec::new(),
        }),
    }
}

/// Tells the circuit what came of a request.
pub fn report(context: &Context, probe: Option<Probe>, failure: Option<&Error>) {
    match (probe, failure) {
        (Some(probe), None) => probe.succeeded(),
        (Some(probe), Some(error)) => probe.failed(error),
        (None, None) => context.shared.circuit.succeeded(),
        (None, Some(error)) => context.shared.circuit.failed(error),
    }
}
