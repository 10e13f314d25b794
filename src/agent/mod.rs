//! The agent: this host's CPU and memory figures, as JSON in the field names of ECS and Metricbeat's system
//! module, into a topic. One record for each metricset, keyed by the host's name.
//!
//! | file | owns |
//! |---|---|
//! | `sample` | taking the figures (`sysinfo`) |
//! | `document` | figures to JSON (pure) |
//! | `buffer` | what isn't acknowledged yet; what goes when that is too much (pure) |
//! | `producer` | the client: idempotent, `acks=all` |
//!
//! An outage is waited out within `agent.buffer`; beyond it the oldest figures go, and are counted.

mod buffer;
mod document;
mod producer;
mod sample;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config::settings::AgentSettings;
use crate::error::Error;
use buffer::Buffer;
use document::Host;
use producer::{Outcome, Producer};
use sample::Sampler;

pub(crate) use producer::client_config;

/// Longest wait for delivery reports: a shutdown is noticed within it.
const TICK: Duration = Duration::from_millis(50);

/// What was left when the agent stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// Records that no broker has acknowledged; they are gone.
    pub num_left: usize,
    /// Records that were dropped earlier because the buffer was full.
    pub num_dropped: u64,
}

/// Collects and produces until `stop` is set, then drains within `settings.shutdown_timeout`.
pub fn run(settings: &AgentSettings, stop: &AtomicBool) -> Result<Farewell, Error> {
    let mut agent = Agent::new(settings)?;
    info!(
        topic = settings.topic,
        interval = ?settings.interval,
        hosts = agent.hosts.len(),
        "collecting"
    );
    while !stop.load(Ordering::Relaxed) {
        agent.collect_if_due();
        agent.step()?;
    }
    let deadline = Instant::now() + settings.shutdown_timeout;
    info!("stopping: draining within {:?}", settings.shutdown_timeout);
    while !agent.buffer.is_empty() && Instant::now() < deadline {
        agent.step()?;
    }
    let left = agent.buffer.len();
    let farewell = Farewell {
        num_left: left,
        num_dropped: agent.buffer.num_dropped(),
    };
    if left == 0 {
        info!("stopped: every figure is acknowledged");
    } else {
        warn!("stopped with {left} records unacknowledged: they are lost");
    }
    agent.producer.close(left == 0);
    Ok(farewell)
}

struct Agent<'a> {
    settings: &'a AgentSettings,
    sampler: Sampler,
    hosts: Vec<Host>,
    buffer: Buffer,
    producer: Producer,
    next_sample: Instant,
    told: Told,
}

/// What was said already, so that an outage is a few lines and not a flood.
#[derive(Default)]
struct Told {
    trouble: Option<String>,
    dropped: u64,
    dropped_at: Option<Instant>,
}

impl<'a> Agent<'a> {
    fn new(settings: &'a AgentSettings) -> Result<Self, Error> {
        let name = match &settings.host_name {
            Some(name) => name.clone(),
            None => sample::host_name()?,
        };
        Ok(Agent {
            settings,
            sampler: Sampler::new()?,
            hosts: document::hosts(&name, settings.simulate_hosts),
            buffer: Buffer::new(settings.buffer_bytes),
            producer: Producer::new(settings)?,
            next_sample: Instant::now() + sample::WARM_UP,
            told: Told::default(),
        })
    }

    fn collect_if_due(&mut self) {
        let now = Instant::now();
        if now < self.next_sample {
            return;
        }
        // A machine that slept takes up its rhythm again, and doesn't make up for what it missed.
        self.next_sample = (self.next_sample + self.settings.interval).max(now);
        let sample = self.sampler.take();
        for host in &self.hosts {
            let sample = host.disguise(&sample);
            for value in document::documents(&sample, host, self.settings) {
                self.buffer
                    .push(host.name.clone(), value, sample.timestamp_ms);
            }
        }
        self.tell_dropped();
    }

    /// Sends what may be sent, and collects what has become of it.
    fn step(&mut self) -> Result<(), Error> {
        while self.producer.is_ready()
            && let Some((number, record)) = self.buffer.next_to_send()
        {
            if !self.producer.send(number, &record) {
                self.buffer.failed(number);
                break;
            }
        }
        let wait = self
            .next_sample
            .saturating_duration_since(Instant::now())
            .min(TICK);
        for outcome in self.producer.poll(wait.max(Duration::from_millis(1))) {
            match outcome {
                Outcome::Acked(number) => {
                    self.buffer.acked(number);
                    self.tell(None);
                }
                Outcome::Failed(number, why) => {
                    self.buffer.failed(number);
                    self.tell(Some(why));
                }
                Outcome::TooLarge(number) => {
                    self.buffer.acked(number);
                    warn!("a record is larger than the broker takes, and is dropped");
                }
                Outcome::Trouble(why) => self.tell(Some(why)),
            }
        }
        if self.producer.is_broken() {
            warn!("the Kafka client is beyond repair and is made again");
            self.buffer.all_failed();
            self.producer = Producer::new(self.settings)?;
        }
        Ok(())
    }

    fn tell(&mut self, trouble: Option<String>) {
        if trouble.is_some() && self.buffer.is_empty() {
            return;
        }
        match (&self.told.trouble, &trouble) {
            (None, None) => return,
            (Some(_), None) => info!("the brokers take figures again"),
            (Some(old), Some(new)) if old == new => return,
            (_, Some(why)) => warn!("figures are buffered: {why}"),
        }
        self.told.trouble = trouble;
    }

    fn tell_dropped(&mut self) {
        let dropped = self.buffer.num_dropped();
        let due = self
            .told
            .dropped_at
            .is_none_or(|at| at.elapsed() > Duration::from_secs(30));
        if dropped > self.told.dropped && due {
            warn!(
                total = dropped,
                "the buffer is full: the {} oldest records were dropped (agent.buffer)",
                dropped - self.told.dropped
            );
            self.told.dropped = dropped;
            self.told.dropped_at = Some(Instant::now());
        }
    }
}
