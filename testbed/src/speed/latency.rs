//! From the producer's call to the stub's answer, at a steady pace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use testbed::error::Context;
use testbed::{Error, Result, Stub};

use super::records::Values;
use super::subject::{Into, Subject};
use super::table::{Row, median};
use super::{Bench, say};

const RATE: u32 = 5_000;
/// How long a round is, and how much of its beginning isn't counted.
const SECONDS: u32 = 12;
const WARM_UP: usize = 2 * RATE as usize;

type Sent = Arc<Mutex<HashMap<(i32, i64), Instant>>>;

/// Notes which offset a record got, and when it was handed over.
struct Noting(Sent);

impl ClientContext for Noting {}

impl ProducerContext for Noting {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Instant>) {
        if let Ok(message) = result {
            let place = (message.partition(), message.offset());
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(place, *sent);
        }
    }
}

/// p50 and p99 in milliseconds.
pub fn run(bench: &Bench) -> Result<Vec<Row>> {
    let mut p50 = Row::new("outflow, p50", "ms", "30");
    let mut p99 = Row::new("outflow, p99", "ms", "100");
    for round in 0..bench.rounds {
        let mut times = round_of(bench, round)?;
        times.sort_by(f64::total_cmp);
        let half = median(&times).ok_or_else(|| Error::new("nothing came"))?;
        let late = times.get(times.len() * 99 / 100).copied().unwrap_or(half);
        say(&format!(
            "    p50 {half:.1} ms, p99 {late:.1} ms of {}",
            times.len()
        ));
        p50.figures.push(half);
        p99.figures.push(late);
    }
    Ok(vec![p50, p99])
}

fn round_of(bench: &Bench, round: usize) -> Result<Vec<f64>> {
    let topic = format!("latency-{round}");
    bench.kafka.client().create_topic(&topic, 8, &[])?;
    let stub = Stub::start()?;
    let subject = Subject::start(bench, &topic, &Into::Elasticsearch(&stub.url(), "bench"))?;
    subject.outflow.wait_ready(Duration::from_secs(60))?;
    let sent = Sent::default();
    let producer: ThreadedProducer<Noting> = ClientConfig::new()
        .set("bootstrap.servers", bench.kafka.bootstrap())
        .set("linger.ms", "5")
        .create_with_context(Noting(sent.clone()))
        .context("can't make a producer")?;
    let began = Instant::now();
    let num = (RATE * SECONDS) as usize;
    for (n, value) in Values::new().take(num).enumerate() {
        let due = began + Duration::from_secs_f64(n as f64 / f64::from(RATE));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let partition = i32::try_from(n % 8).unwrap_or(0);
        let record: BaseRecord<'_, (), str, Box<Instant>> =
            BaseRecord::with_opaque_to(&topic, Box::new(Instant::now()))
                .partition(partition)
                .payload(&value);
        producer
            .send(record)
            .map_err(|(error, _)| Error::new(format!("can't produce: {error}")))?;
    }
    producer
        .flush(Duration::from_secs(30))
        .context("not everything was acknowledged")?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut arrived = Vec::new();
    while arrived.len() < num && Instant::now() < deadline {
        arrived.extend(stub.take());
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    let time = |arrival: &testbed::Arrival| {
        let sent = sent.get(&(arrival.partition, arrival.offset))?;
        Some((arrival.at - *sent).as_secs_f64() * 1e3)
    };
    Ok(arrived.iter().skip(WARM_UP).filter_map(time).collect())
}
