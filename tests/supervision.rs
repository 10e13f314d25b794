//! A worker that panics is restarted alone; its neighbours don't notice.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outflow::config::settings::{CommitMode, OffsetLost, RejectedPolicy};
use outflow::error::Error;
use outflow::metrics::SinkMetrics;
use outflow::offsets::{Epoch, TopicPartition};
use outflow::pipeline::control::Rules;
use outflow::pipeline::dead_letter::DeadLetters;
use outflow::pipeline::source::{Commit, Source, SourceEvent};
use outflow::pipeline::supervisor::{Makers, Plan, Supervisor};
use outflow::sinks::{Answer, Assignment, Connector, Record, Rejection, Sink, Slot, Waker};
use outflow::status::SinkHealth;

/// A sink and a source without a partition.
struct Nothing;

impl Sink for Nothing {
    fn open(&mut self, _: Assignment) {}
    fn append(&mut self, _: &Record<'_>) -> Result<(), Rejection> {
        Ok(())
    }
    fn has_room(&self) -> bool {
        true
    }
    fn settle(&mut self, _: Slot, _: Epoch, _: i64) {}
    fn drain(&mut self, _: Slot, _: Epoch) {}
    fn close(&mut self, _: Slot, _: Epoch) {}
    fn poll(&mut self, _: Instant, _: &mut Vec<Answer>) -> Option<Instant> {
        None
    }
}

impl Connector for Nothing {
    fn worker(&self, _: usize, _: Waker) -> Box<dyn Sink> {
        Box::new(Nothing)
    }
    fn health(&self) -> SinkHealth {
        SinkHealth::default()
    }
}

/// Panics in its third turn if it is told to, or in the next if it is told then.
struct Idle {
    polls: usize,
    panics: bool,
    seen: Seen,
}

impl Source for Idle {
    fn poll(&mut self, _: &mut Vec<SourceEvent>) {
        self.polls += 1;
        self.seen.polled.fetch_add(1, Ordering::SeqCst);
        let told = self.seen.panics_next.swap(false, Ordering::SeqCst);
        assert!(!told && (!self.panics || self.polls < 3), "on purpose");
    }
    fn locate(&mut self, _: &TopicPartition, _: Epoch) {}
    fn start(&mut self, _: Slot, _: &TopicPartition, _: i64, _: i32) {}
    fn stop(&mut self, _: &[TopicPartition]) {}
    fn take(&mut self, _: usize, wait: Duration, _: &mut dyn FnMut(&Record<'_>)) -> usize {
        self.seen.taken.fetch_add(1, Ordering::SeqCst);
        std::thread::park_timeout(wait.min(Duration::from_millis(5)));
        0
    }
    fn ends(&mut self, _: &mut dyn FnMut(Slot, i64)) {}
    fn commit(&mut self, _: u64, _: &[Commit]) {}
    fn release(&mut self, _: &[TopicPartition]) {}
    fn log_end(&self, _: &TopicPartition) -> Option<i64> {
        None
    }
    fn waker(&self) -> Waker {
        Waker::new(|| ())
    }
    fn close(&mut self, _: Duration) -> bool {
        true
    }
}

/// How often each worker's source was made, and how often they were polled and asked for records.
#[derive(Clone, Default)]
struct Seen {
    made: Arc<[AtomicUsize; 2]>,
    polled: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
    panics_next: Arc<AtomicBool>,
}

struct Parts {
    seen: Seen,
    panics: bool,
}

impl Makers for Parts {
    fn connector(&self) -> Result<Arc<dyn Connector>, Error> {
        Ok(Arc::new(Nothing))
    }
    fn source(&self, worker: usize) -> Result<Box<dyn Source>, Error> {
        let before = self.seen.made[worker].fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Idle {
            polls: 0,
            panics: self.panics && worker == 0 && before == 0,
            seen: self.seen.clone(),
        }))
    }
    fn dead_letters(&self, _: usize) -> Result<Option<Box<dyn DeadLetters>>, Error> {
        Ok(None)
    }
}

fn plan(name: &str, panics: bool) -> (Plan, Seen, SinkMetrics) {
    let (seen, metrics) = (Seen::default(), SinkMetrics::detached());
    let plan = Plan {
        name: name.into(),
        kind: "elasticsearch",
        rules: Rules {
            group: "g".into(),
            rejected: RejectedPolicy::Quarantine,
            on_offset_lost: OffsetLost::Stop,
            commit_mode: CommitMode::Interval,
            commit_interval: Duration::from_secs(1),
            max_poll_records: 100,
            drain_timeout: Duration::from_secs(1),
            max_span: 1_000,
            can_go_back: true,
            stops_on_new_partitions: false,
            fixed: false,
        },
        workers: 2,
        metrics: metrics.clone(),
        makers: Box::new(Parts {
            seen: seen.clone(),
            panics,
        }),
    };
    (plan, seen, metrics)
}

fn wait(what: &str, done: &dyn Fn() -> bool) {
    testbed::guard::wait_until(what, Duration::from_secs(60), || {
        done().then_some(()).ok_or_else(|| "not yet".to_owned())
    })
    .unwrap();
}

fn made(seen: &Seen) -> [usize; 2] {
    [0, 1].map(|worker| seen.made[worker].load(Ordering::SeqCst))
}

#[test]
fn a_worker_that_panics_is_restarted_and_its_neighbours_go_on() {
    let (wild, wild_seen, wild_metrics) = plan("wild", true);
    let (calm, calm_seen, calm_metrics) = plan("calm", false);
    let supervisor = Supervisor::start(vec![wild, calm]);
    wait("the worker is back", &|| made(&wild_seen)[0] == 2);
    let polled = calm_seen.polled.load(Ordering::SeqCst);
    wait("the others go on", &|| {
        calm_seen.polled.load(Ordering::SeqCst) > polled + 10
    });
    assert_eq!(made(&wild_seen), [2, 1]);
    assert_eq!(made(&calm_seen), [1, 1]);
    assert_eq!(wild_metrics.worker_restarts.get(), 1);
    assert_eq!(calm_metrics.worker_restarts.get(), 0);
    let deadline = Instant::now() + Duration::from_secs(20);
    supervisor.shut_down(deadline);
    assert!(supervisor.join(deadline));
}

#[test]
fn a_pause_outlives_a_worker_and_ends_with_a_resume() {
    let (paused, seen, _) = plan("paused", false);
    let (other, other_seen, _) = plan("other", false);
    let supervisor = Supervisor::start(vec![paused, other]);
    let count = |of: &Arc<AtomicUsize>| of.load(Ordering::SeqCst);
    wait("records are asked for", &|| count(&seen.taken) > 10);
    supervisor.set_paused("paused", true).unwrap();
    // From its return on nothing is taken, by no worker.
    let taken = count(&seen.taken);
    seen.panics_next.store(true, Ordering::SeqCst);
    wait("the worker is back", &|| {
        made(&seen).iter().sum::<usize>() == 3
    });
    let (polled, other_taken) = (count(&seen.polled), count(&other_seen.taken));
    wait("it polls all the same", &|| {
        count(&seen.polled) > polled + 20
    });
    wait("the other sink goes on", &|| {
        count(&other_seen.taken) > other_taken + 10
    });
    assert_eq!(count(&seen.taken), taken);
    let status = supervisor.status();
    assert_eq!((status[0].paused, &*status[0].state), (true, "paused"));
    assert_eq!(
        (status[1].paused, status[1].reason.as_deref()),
        (false, None)
    );
    let since = status[0].reason.clone();
    supervisor.set_paused("paused", true).unwrap();
    assert_eq!(
        supervisor.status()[0].reason,
        since,
        "asked twice, it is one pause"
    );

    let unknown = supervisor.set_paused("pausd", true).unwrap_err();
    assert!(
        unknown.what.contains("there are: paused, other"),
        "{unknown}"
    );
    supervisor.set_paused("paused", false).unwrap();
    wait("records are asked for again", &|| {
        count(&seen.taken) > taken + 10
    });
    assert!(!supervisor.status()[0].paused);
    let deadline = Instant::now() + Duration::from_secs(20);
    supervisor.shut_down(deadline);
    let too_late = supervisor.set_paused("paused", true).unwrap_err();
    assert_eq!(too_late.what, "the process is stopping");
    assert!(supervisor.join(deadline));
}
