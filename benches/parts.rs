//! What each part of a record's way costs: `cargo bench --bench parts`. Each figure is for a thousand records of about
//! 300 bytes (host metrics as JSON), but where it says otherwise; allocations are counted beside the time.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/shared/elasticsearch.rs"]
mod configured;

use std::sync::Arc;
use std::time::Instant;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use outflow::config::settings::{Compression, ElasticsearchSettings, Partitioning};
use outflow::offsets::{Range, TopicPartition, Tracker};
use outflow::sinks::elasticsearch::answer;
use outflow::sinks::elasticsearch::batch::Op;
use outflow::sinks::elasticsearch::encoder::{Encoder, Target};
use outflow::sinks::hdfs::compress::Compressor;
use outflow::sinks::hdfs::ledger::Ledger;
use outflow::sinks::hdfs::partitioner::{Bucket, Naming};
use outflow::sinks::{Record, Slot, value};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const NUM: usize = 1_000;
const NOW_MS: i64 = 1_795_406_706_000;

fn main() {
    divan::main();
}

/// Values as agents produce them: lengths and digits differ.
fn values() -> Vec<Vec<u8>> {
    let value = |n: usize| {
        let share = |salt: usize| (n.wrapping_mul(2_654_435_761).wrapping_add(salt * 97)) % 10_000;
        let (used, total) = (share(3) * 6_871_947, 68_719_476_736_u64);
        format!(
            "{{\"@timestamp\":\"2026-11-26T12:{:02}:{:02}.{:03}Z\",\"host\":{{\"name\":\"web-{:03}.example.org\"}},\
             \"cpu\":{{\"cores\":16,\"user\":0.{:04},\"system\":0.{:04},\"iowait\":0.00{:02}}},\
             \"load\":{{\"1m\":{}.{:02}}},\"memory\":{{\"total\":{total},\"used\":{used},\"cached\":{},\
             \"available\":{}}},\"agent\":{{\"name\":\"outflow\",\"sequence\":{n}}}}}",
            n / 60 % 60, n % 60, n % 1_000, n % 500, share(1), share(2), share(4) % 100, share(5) % 8,
            share(6) % 100, used / 4, total - used as u64,
        )
        .into_bytes()
    };
    (0..NUM).map(value).collect()
}

#[divan::bench]
fn value_is_checked_and_copied(bencher: Bencher<'_, '_>) {
    let values = values();
    let mut out = Vec::with_capacity(400 * NUM);
    bencher.counter(ItemsCount::new(NUM)).bench_local(|| {
        out.clear();
        for value in &values {
            value::append_line(&mut out, black_box(value)).unwrap();
        }
        out.len()
    });
}

#[divan::bench]
fn record_becomes_bulk_lines(bencher: Bencher<'_, '_>) {
    let values = values();
    let encoder = Encoder::new(&elasticsearch()).unwrap();
    let mut target = Target::new(TopicPartition::new("host-metrics", 3));
    let mut body = Vec::with_capacity(500 * NUM);
    bencher.counter(ItemsCount::new(NUM)).bench_local(|| {
        body.clear();
        for (offset, value) in (4_700_000..).zip(&values) {
            let record = Record {
                slot: Slot(0),
                offset,
                leader_epoch: 1,
                timestamp_ms: Some(NOW_MS),
                key: None,
                value: Some(value),
                origin: None,
            };
            encoder
                .encode(&mut target, &record, NOW_MS, &mut body)
                .unwrap();
        }
        body.len()
    });
}

/// An answer in which one record of a thousand was refused, so that it is read as a whole.
#[divan::bench]
fn answer_is_read(bencher: Bencher<'_, '_>) {
    let item = |n: usize| match n {
        500 => {
            "{\"index\":{\"status\":400,\"error\":{\"type\":\"document_parsing_exception\",\"reason\":\"x\"}}}"
        }
        _ => "{\"index\":{\"status\":201}}",
    };
    let items: Vec<&str> = (0..NUM).map(item).collect();
    let body = format!("{{\"errors\":true,\"items\":[{}]}}", items.join(","));
    bencher.counter(ItemsCount::new(NUM)).bench_local(|| {
        let ops = (0..NUM).map(|_| Op::Index);
        answer::parse(black_box(body.as_bytes()), ops)
            .unwrap()
            .len()
    });
}

#[divan::bench]
fn record_goes_into_a_chunk(bencher: Bencher<'_, '_>) {
    let values = values();
    bencher
        .counter(ItemsCount::new(NUM))
        .with_inputs(|| {
            let naming = Naming::new("host-metrics", 3, &Partitioning::Default, Compression::None);
            Ledger::new(naming, Compression::None, Arc::default(), 0)
        })
        .bench_local_values(|mut ledger| {
            let now = Instant::now();
            for (offset, value) in (0..).zip(&values) {
                let full = ledger.append(offset, Bucket::Whole, 64 << 10, |out| {
                    value::append_line(out, value)
                });
                black_box(full.unwrap());
                ledger.took(offset, 1, now);
            }
            ledger
        });
}

#[divan::bench(args = [1, 3])]
fn chunk_is_compressed_with_zstd(bencher: Bencher<'_, '_>, level: i32) {
    let chunk = values().join(&b'\n');
    let mut compressor = Compressor::new(Compression::Zstd(level)).unwrap();
    bencher
        .counter(ItemsCount::new(NUM))
        .with_inputs(|| chunk.clone())
        .bench_local_values(|chunk| compressor.push(chunk).unwrap());
}

/// Taken in order, acknowledged a hundred at a time, the later hundred first.
#[divan::bench]
fn record_is_tracked(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(NUM))
        .with_inputs(|| Tracker::resume_at(0))
        .bench_local_values(|mut tracker| {
            for offset in 0..1_000 {
                tracker.take(black_box(offset), 1);
                if offset % 200 == 199 {
                    tracker.ack(Range::new(offset - 99, offset + 1)).unwrap();
                    tracker.ack(Range::new(offset - 199, offset - 99)).unwrap();
                }
            }
            tracker.committable()
        });
}

fn elasticsearch() -> ElasticsearchSettings {
    ElasticsearchSettings {
        index: "metrics-{yyyy.MM.dd}".to_owned(),
        ..configured::settings()
    }
}
