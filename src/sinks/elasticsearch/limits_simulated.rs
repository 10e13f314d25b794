//! What is learned, beside the best fixed setting, on servers in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::Limits;

const MAX_IN_FLIGHT: usize = 16;
const MAX_BYTES: usize = 5 << 20;
const MIB: f64 = (1 << 20) as f64;
/// How long a rejected request waits before it is sent again.
const BACKOFF: Duration = Duration::from_millis(200);
/// Within this it must be found, and after a change again.
const FOUND_WITHIN: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(60);

/// A server with a few threads and a queue before them.
#[derive(Clone, Copy)]
struct Server {
    threads: usize,
    /// What each request costs, whatever its size.
    fixed: Duration,
    /// What a thread writes a second.
    mib_per_s: f64,
    /// More requests than this at once, waiting or under way, are rejected.
    most: usize,
    /// It does nothing for so long (the second) every so often (the first).
    pauses: Option<(Duration, Duration)>,
}

const FAST: Server = Server {
    threads: 8,
    fixed: Duration::from_millis(3),
    mib_per_s: 60.0,
    most: 200,
    pauses: None,
};

const SLOW: Server = Server {
    threads: 2,
    fixed: Duration::from_millis(20),
    mib_per_s: 4.0,
    most: 200,
    pauses: None,
};

/// Rejects what is more than twice its threads, and collects garbage for two seconds in each twenty.
const FLAKY: Server = Server {
    threads: 4,
    fixed: Duration::from_millis(10),
    mib_per_s: 20.0,
    most: 8,
    pauses: Some((Duration::from_secs(20), Duration::from_secs(2))),
};

/// What decides how much is sent.
enum Choice {
    Fixed(usize, usize),
    Learned(Limits),
}

impl Choice {
    fn now(&self) -> (usize, usize) {
        match self {
            Choice::Fixed(in_flight, bytes) => (*in_flight, *bytes),
            Choice::Learned(limits) => (limits.in_flight(), limits.batch_bytes()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A thread has done this request.
    Done(Request),
    /// A rejected request's time to be sent again has come.
    Again,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    sent: Duration,
    bytes: usize,
}

/// A client that always has more, and the server as it was at each time.
struct World<'a> {
    server: &'a dyn Fn(Duration) -> Server,
    choice: &'a mut Choice,
    began: Instant,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    waiting: VecDeque<Request>,
    busy: usize,
    /// Requests that are counted as in flight, those included that wait to be sent again.
    in_flight: usize,
    written: Vec<(Duration, usize)>,
}

impl<'a> World<'a> {
    fn new(server: &'a dyn Fn(Duration) -> Server, choice: &'a mut Choice) -> Self {
        World {
            server,
            choice,
            began: Instant::now(),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            waiting: VecDeque::new(),
            busy: 0,
            in_flight: 0,
            written: Vec::new(),
        }
    }

    fn run(mut self, until: Duration) -> Vec<(Duration, usize)> {
        while self.now < until {
            while self.in_flight < self.choice.now().0 {
                self.in_flight += 1;
                self.send();
            }
            let Some(Reverse((at, event))) = self.events.pop() else {
                break;
            };
            self.now = at;
            match event {
                Event::Done(request) => self.done(request),
                Event::Again if self.in_flight > self.choice.now().0 => self.in_flight -= 1,
                Event::Again => self.send(),
            }
        }
        self.written
    }

    fn send(&mut self) {
        let request = Request {
            sent: self.now,
            bytes: self.choice.now().1,
        };
        let server = (self.server)(self.now);
        if self.busy + self.waiting.len() >= server.most {
            let (sent, now) = (self.began + self.now, self.began + self.now);
            if let Choice::Learned(limits) = self.choice {
                limits.overloaded(sent, now);
            }
            self.events
                .push(Reverse((self.now + BACKOFF, Event::Again)));
            return;
        }
        self.waiting.push_back(request);
        self.work();
    }

    /// Free threads take what waits.
    fn work(&mut self) {
        let server = (self.server)(self.now);
        while self.busy < server.threads
            && let Some(request) = self.waiting.pop_front()
        {
            self.busy += 1;
            let seconds = request.bytes as f64 / MIB / server.mib_per_s;
            let mut end = self.now + server.fixed + Duration::from_secs_f64(seconds);
            if let Some((every, lasts)) = server.pauses {
                let periods = (end.as_secs_f64() / every.as_secs_f64()).floor();
                let pause = every.mul_f64(periods);
                if periods > 0.0 && end < pause + lasts {
                    end += lasts;
                }
            }
            self.events.push(Reverse((end, Event::Done(request))));
        }
    }

    fn done(&mut self, request: Request) {
        let saturated = self.in_flight >= self.choice.now().0;
        self.busy -= 1;
        self.in_flight -= 1;
        self.written.push((self.now, request.bytes));
        if let Choice::Learned(limits) = self.choice {
            let took = self.now - request.sent;
            limits.succeeded(self.began + request.sent, took, request.bytes, saturated);
        }
        self.work();
    }
}

/// MiB a second between two times.
fn rate(written: &[(Duration, usize)], from: Duration, to: Duration) -> f64 {
    let within = written.iter().filter(|(at, _)| (from..to).contains(at));
    let bytes: usize = within.map(|(_, bytes)| bytes).sum();
    bytes as f64 / MIB / (to - from).as_secs_f64()
}

fn learned(server: &dyn Fn(Duration) -> Server, until: Duration) -> Vec<(Duration, usize)> {
    let mut choice = Choice::Learned(Limits::new(MAX_IN_FLIGHT, MAX_BYTES));
    World::new(server, &mut choice).run(until)
}

/// The best of many fixed settings, and which it is.
fn best_fixed(server: Server) -> (f64, usize, usize) {
    const SIZES: [usize; 6] = [64 << 10, 256 << 10, 1 << 20, 2 << 20, 3 << 20, MAX_BYTES];
    let settings = [1, 2, 3, 4, 6, 8, 12, MAX_IN_FLIGHT]
        .into_iter()
        .flat_map(|in_flight| SIZES.map(|bytes| (in_flight, bytes)));
    let rate_of = |(in_flight, bytes)| {
        let mut choice = Choice::Fixed(in_flight, bytes);
        let written = World::new(&|_| server, &mut choice).run(FOUND_WITHIN + MEASURED);
        (
            rate(&written, FOUND_WITHIN, FOUND_WITHIN + MEASURED),
            in_flight,
            bytes,
        )
    };
    let rates = settings.map(rate_of);
    rates.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default()
}

#[test]
fn what_is_learned_is_within_five_percent_of_the_best_fixed_setting() {
    for (name, server) in [("fast", FAST), ("slow", SLOW), ("flaky", FLAKY)] {
        let (best, in_flight, bytes) = best_fixed(server);
        let end = FOUND_WITHIN + MEASURED;
        let learned = rate(&learned(&|_| server, end), FOUND_WITHIN, end);
        println!(
            "{name}: {learned:.1} MiB/s; {best:.1} with {in_flight} requests of {bytes} bytes"
        );
        assert!(learned >= 0.95 * best, "{name}: {learned} beside {best}");
    }
}

#[test]
fn a_change_is_followed_within_ten_seconds() {
    let change = Duration::from_secs(60);
    for (name, before, after) in [
        ("slower", FAST, SLOW),
        ("faster", SLOW, FAST),
        ("flaky", FAST, FLAKY),
    ] {
        let server = |now: Duration| if now < change { before } else { after };
        let from = change + FOUND_WITHIN;
        let written = learned(&server, from + MEASURED);
        let (best, ..) = best_fixed(after);
        let then = rate(&written, from, from + MEASURED);
        println!("{name}: {then:.1} MiB/s; {best:.1}");
        assert!(then >= 0.95 * best, "{name}: {then} beside {best}");
    }
}
