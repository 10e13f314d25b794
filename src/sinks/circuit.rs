//! The circuit: whether a sink's server is asked for work at all.
//!
//! Closed, work flows. Open, nothing is sent but probes: one at a time, the next at most [`PROBE_EVERY`] after
//! the last one's answer. Half open, a probe is out. Only a probe's success closes it again; an older
//! request that succeeds late doesn't, because it says nothing about the trouble that opened the circuit.
//!
//! [`Circuit`] is pure: time is passed in. [`CircuitHandle`] shares one among a sink's workers, logs once when
//! it opens and once when it closes, and gives the [`SinkHealth`] that observers see.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::unix_ms;

use tokio::sync::watch;

use crate::backoff::{Backoff, Policy};
use crate::error::{Error, Kind};
use crate::status::{CircuitState, SinkHealth};

/// The longest time from a probe's answer to the next probe.
pub const PROBE_EVERY: Duration = Duration::from_secs(2);

/// How many failures in a row open the circuit when nothing but reaching the server is at fault.
/// [`Kind::Misconfigured`] opens it at once.
const OPENS_AFTER: u32 = 3;

/// What a circuit says to somebody who wants to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Send.
    Go,
    /// Send one small request; it is the probe, and its outcome must be reported as such.
    Probe,
    /// Send nothing; ask again then.
    Wait(Instant),
}

/// What is worth telling a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The circuit has opened.
    Opened,
    /// It has closed again.
    Closed {
        /// How long it was open.
        open_for: Duration,
        /// How many probes that took.
        probes: u32,
    },
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { since: Instant, probe_at: Instant },
    HalfOpen { since: Instant },
}

/// The state machine. Whoever holds a probe must end it: [`Circuit::probe_succeeded`],
/// [`Circuit::probe_failed`] or [`Circuit::probe_abandoned`].
#[derive(Debug)]
pub struct Circuit {
    state: State,
    backoff: Backoff,
    probes: u32,
}

impl Default for Circuit {
    fn default() -> Self {
        Circuit {
            state: State::Closed { failures: 0 },
            backoff: Backoff::new(Policy::new(Duration::from_millis(200), PROBE_EVERY)),
            probes: 0,
        }
    }
}

impl Circuit {
    /// Where it stands.
    pub fn state(&self) -> CircuitState {
        match self.state {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// May something be sent at `now`? [`Gate::Probe`] is given to one asker only.
    pub fn ask(&mut self, now: Instant) -> Gate {
        match self.state {
            State::Closed { .. } => Gate::Go,
            State::Open { since, probe_at } if probe_at <= now => {
                self.state = State::HalfOpen { since };
                self.probes = self.probes.saturating_add(1);
                Gate::Probe
            }
            State::Open { probe_at, .. } => Gate::Wait(probe_at),
            State::HalfOpen { .. } => Gate::Wait(now + PROBE_EVERY),
        }
    }

    /// A request that wasn't a probe succeeded.
    pub fn succeeded(&mut self) {
        if let State::Closed { failures } = &mut self.state {
            *failures = 0;
        }
    }

    /// A request that wasn't a probe failed.
    pub fn failed(&mut self, now: Instant, error: &Error) -> Option<Change> {
        let State::Closed { failures } = &mut self.state else {
            return None;
        };
        *failures = failures.saturating_add(1);
        if error.kind == Kind::Unavailable && *failures < OPENS_AFTER {
            return None;
        }
        self.backoff.reset();
        self.probes = 0;
        self.reopen(now, now, error);
        Some(Change::Opened)
    }

    /// The probe succeeded: closed.
    pub fn probe_succeeded(&mut self, now: Instant) -> Option<Change> {
        let State::HalfOpen { since } = self.state else {
            return None;
        };
        self.state = State::Closed { failures: 0 };
        Some(Change::Closed {
            open_for: now.saturating_duration_since(since),
            probes: self.probes,
        })
    }

    /// The probe failed: another one soon.
    pub fn probe_failed(&mut self, now: Instant, error: &Error) {
        if let State::HalfOpen { since } = self.state {
            self.reopen(now, since, error);
        }
    }

    /// The probe came to nothing (its work was withdrawn): the next asker may probe at once.
    pub fn probe_abandoned(&mut self, now: Instant) {
        if let State::HalfOpen { since } = self.state {
            self.state = State::Open {
                since,
                probe_at: now,
            };
        }
    }

    fn reopen(&mut self, now: Instant, since: Instant, error: &Error) {
        let delay = self.backoff.next_delay(error.retry_after);
        // A server that asked for more time gets it up to here: a probe is one small request.
        let probe_at = now + delay.min(PROBE_EVERY);
        self.state = State::Open { since, probe_at };
    }
}

/// A circuit shared by a sink's workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CircuitHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sink: Arc<str>,
    inner: Mutex<Inner>,
    state: watch::Sender<CircuitState>,
}

#[derive(Debug, Default)]
struct Inner {
    circuit: Circuit,
    since_ms: i64,
    reason: Option<String>,
    needs_a_person: bool,
    last_error: Option<String>,
    last_error_ms: Option<i64>,
}

impl CircuitHandle {
    /// A closed circuit for the sink of this name.
    pub fn new(sink: Arc<str>) -> Self {
        let inner = Inner {
            since_ms: unix_ms(),
            ..Inner::default()
        };
        CircuitHandle(Arc::new(Shared {
            sink,
            inner: Mutex::new(inner),
            state: watch::Sender::new(CircuitState::Closed),
        }))
    }

    /// May something be sent now?
    pub fn ask(&self) -> Leave {
        let mut inner = self.lock();
        let gate = inner.circuit.ask(Instant::now());
        self.publish(&inner);
        match gate {
            Gate::Go => Leave::Go,
            Gate::Wait(at) => Leave::Wait(at),
            Gate::Probe => Leave::Probe(Probe {
                circuit: Some(self.clone()),
            }),
        }
    }

    /// A request that wasn't a probe succeeded.
    pub fn succeeded(&self) {
        self.lock().circuit.succeeded();
    }

    /// A request that wasn't a probe failed. Remembers the error; opens the circuit where that is due.
    pub fn failed(&self, error: &Error) {
        let mut inner = self.lock();
        inner.note(error);
        let change = inner.circuit.failed(Instant::now(), error);
        self.tell(&mut inner, change, Some(error));
    }

    /// Where it stands.
    pub fn state(&self) -> CircuitState {
        self.lock().circuit.state()
    }

    /// Changes of the state, so that whoever waits goes on the moment it closes.
    pub fn subscribe(&self) -> watch::Receiver<CircuitState> {
        self.0.state.subscribe()
    }

    /// What observers see; `in_flight` and `details` are the sink's to fill in.
    pub fn health(&self) -> SinkHealth {
        let inner = self.lock();
        SinkHealth {
            circuit: inner.circuit.state(),
            since_ms: inner.since_ms,
            reason: inner.reason.clone(),
            needs_a_person: inner.needs_a_person && inner.circuit.state() != CircuitState::Closed,
            last_error: inner.last_error.clone(),
            last_error_ms: inner.last_error_ms,
            ..SinkHealth::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can be left half done by a panic elsewhere.
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, inner: &Inner) {
        let state = inner.circuit.state();
        self.0.state.send_if_modified(|old| {
            let changed = *old != state;
            *old = state;
            changed
        });
    }

    fn tell(&self, inner: &mut Inner, change: Option<Change>, error: Option<&Error>) {
        let sink = &*self.0.sink;
        match change {
            Some(Change::Opened) => {
                inner.since_ms = unix_ms();
                let what = error.map_or("unknown", |e| e.what.as_str());
                inner.reason = Some(what.to_owned());
                tracing::error!(sink, "circuit open: {what}; {}", advice(error));
            }
            Some(Change::Closed { open_for, probes }) => {
                inner.since_ms = unix_ms();
                inner.reason = None;
                let seconds = open_for.as_secs_f64();
                tracing::info!(
                    sink,
                    probes,
                    "circuit closed after {seconds:.1} s: work goes on"
                );
            }
            None => {}
        }
        self.publish(inner);
    }
}

impl Inner {
    fn note(&mut self, error: &Error) {
        self.needs_a_person = error.kind == Kind::Misconfigured;
        self.last_error = Some(error.what.clone());
        self.last_error_ms = Some(unix_ms());
        if self.circuit.state() != CircuitState::Closed {
            self.reason = Some(error.what.clone());
        }
    }
}

/// What a [`CircuitHandle`] says to somebody who wants to send.
#[derive(Debug)]
pub enum Leave {
    /// Send.
    Go,
    /// Send one small request, and report its outcome through this.
    Probe(Probe),
    /// Send nothing; ask again then, or when [`CircuitHandle::subscribe`] tells of a change.
    Wait(Instant),
}

/// The one probe of an open circuit. Dropped without an outcome it counts as abandoned, and the next asker
/// gets it.
#[derive(Debug)]
pub struct Probe {
    circuit: Option<CircuitHandle>,
}

impl Probe {
    /// It worked: the circuit closes.
    pub fn succeeded(mut self) {
        if let Some(handle) = self.circuit.take() {
            let mut inner = handle.lock();
            let change = inner.circuit.probe_succeeded(Instant::now());
            handle.tell(&mut inner, change, None);
        }
    }

    /// It didn't: the next one follows within [`PROBE_EVERY`].
    pub fn failed(mut self, error: &Error) {
        if let Some(handle) = self.circuit.take() {
            let mut inner = handle.lock();
            inner.note(error);
            inner.circuit.probe_failed(Instant::now(), error);
            handle.publish(&inner);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(handle) = self.circuit.take() {
            let mut inner = handle.lock();
            inner.circuit.probe_abandoned(Instant::now());
            handle.publish(&inner);
        }
    }
}

fn advice(error: Option<&Error>) -> &'static str {
    match error.map(|e| e.kind) {
        Some(Kind::Misconfigured) => {
            "mend this (no restart needed): a probe goes out every 2 s, nothing is lost meanwhile"
        }
        _ => "records wait in Kafka; a probe goes out every 2 s, and work resumes by itself",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> Error {
        Error::unavailable("connection refused")
    }

    fn open(now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        circuit.failed(now, &Error::misconfigured("401"));
        circuit
    }

    #[test]
    fn one_failure_to_reach_a_server_does_not_open_it_but_three_in_a_row_do() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        assert_eq!(circuit.failed(now, &down()), None);
        assert_eq!(circuit.failed(now, &down()), None);
        circuit.succeeded();
        assert_eq!(circuit.failed(now, &down()), None);
        assert_eq!(circuit.failed(now, &down()), None);
        assert_eq!(circuit.ask(now), Gate::Go);
        assert_eq!(circuit.failed(now, &down()), Some(Change::Opened));
        assert_eq!(circuit.failed(now, &down()), None, "told once");
        assert!(matches!(circuit.ask(now), Gate::Wait(_)));
    }

    #[test]
    fn what_needs_a_person_opens_it_at_once() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        let change = circuit.failed(now, &Error::misconfigured("401"));
        assert_eq!(change, Some(Change::Opened));
    }

    #[test]
    fn one_probe_at_a_time_and_the_next_within_two_seconds_for_ever() {
        let mut now = Instant::now();
        let mut circuit = open(now);
        for _ in 0..1_000 {
            let Gate::Wait(at) = circuit.ask(now) else {
                panic!("asked for work while open")
            };
            assert!(at <= now + PROBE_EVERY);
            now = at;
            assert_eq!(circuit.ask(now), Gate::Probe);
            assert!(matches!(circuit.ask(now), Gate::Wait(_)), "a second probe");
            let slow = down().with_retry_after(Some(Duration::from_secs(600)));
            circuit.probe_failed(now, &slow);
        }
    }

    #[test]
    fn only_a_probe_closes_it() {
        let now = Instant::now();
        let mut circuit = open(now);
        circuit.succeeded();
        assert_eq!(circuit.state(), CircuitState::Open);
        assert_eq!(circuit.probe_succeeded(now), None, "there is no probe out");
        let later = now + PROBE_EVERY;
        assert_eq!(circuit.ask(later), Gate::Probe);
        circuit.succeeded();
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        let change = circuit.probe_succeeded(later);
        assert_eq!(
            change,
            Some(Change::Closed {
                open_for: PROBE_EVERY,
                probes: 1
            })
        );
        assert_eq!(circuit.ask(later), Gate::Go);
    }

    fn wait_for_probe(handle: &CircuitHandle) -> Probe {
        loop {
            match handle.ask() {
                Leave::Probe(probe) => return probe,
                Leave::Wait(at) => std::thread::sleep(at.saturating_duration_since(Instant::now())),
                Leave::Go => panic!("closed by itself"),
            }
        }
    }

    #[test]
    fn a_lost_probe_does_not_stop_the_probing() {
        let handle = CircuitHandle::new("es".into());
        handle.failed(&Error::misconfigured("401"));
        let probe = wait_for_probe(&handle);
        drop(probe);
        assert!(matches!(handle.ask(), Leave::Probe(_)));
    }

    #[test]
    fn health_names_the_reason_while_open_and_the_last_error_after() {
        let handle = CircuitHandle::new("es".into());
        let mut watch = handle.subscribe();
        handle.failed(&Error::misconfigured("index 'x' is blocked"));
        assert_eq!(*watch.borrow_and_update(), CircuitState::Open);
        let health = handle.health();
        assert_eq!(health.circuit, CircuitState::Open);
        assert_eq!(health.reason.as_deref(), Some("index 'x' is blocked"));
        wait_for_probe(&handle).succeeded();
        assert_eq!(*watch.borrow_and_update(), CircuitState::Closed);
        let health = handle.health();
        assert_eq!(health.reason, None);
        assert_eq!(health.last_error.as_deref(), Some("index 'x' is blocked"));
    }
}
