//! What a record must not cost.

use outflow::sinks::{Record, Slot};
use testbed::Stub;

use super::support::{Driver, document, settings};

const RECORDS: i64 = 10_000;

/// Bodies and lists of items are allocated, as they grow; records aren't.
#[test]
fn appending_a_record_allocates_nothing() {
    let stub = Stub::start().unwrap();
    let mut driver = Driver::new(settings(&stub.url(), "cost"));
    driver.open(0, "topic", 1, 0);
    // What is made once: the index's name, counters.
    driver.append_all(0, 0..RECORDS);
    driver.until_acked(0, 1, RECORDS);
    let document = document(1);
    let record = |offset| Record {
        slot: Slot(0),
        offset,
        leader_epoch: 0,
        timestamp_ms: Some(1_700_000_000_000),
        key: None,
        value: Some(document.as_bytes()),
        origin: None,
    };
    let measured = allocation_counter::measure(|| {
        for offset in RECORDS..2 * RECORDS {
            driver.sink.append(&record(offset)).unwrap();
        }
    });
    driver.until_acked(0, 1, 2 * RECORDS);
    let num = measured.count_total;
    assert!(num < 200, "{num} allocations for {RECORDS} records");
}
