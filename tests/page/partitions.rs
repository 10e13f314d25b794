//! Windows as pictures, and a thousand rows.

use outflow::status::PartitionState;

use super::*;

#[test]
fn a_partition_shows_its_window_what_the_verdict_means_and_where_to_look() {
    let mut store = fake::store("orders", 3);
    fake::commits(&mut store, "payments", ("orders", 0), |n| {
        (n * 100, n * 100)
    });
    fake::commits(&mut store, "payments", ("orders", 1), |n| {
        (500, 600 + n * 100)
    });
    fake::commits(&mut store, "payments", ("orders", 2), |n| {
        (n * 50, 1_000 + n * 100)
    });
    fake::commits(&mut store, "mail", ("orders", 0), |n| (n * 100, n * 100));
    let served = fake::serve(&Fake::new(Vec::new(), Some(store)), 0);
    let page = open(&served, "");
    page.wait_for_text("1 of 2 groups needs a look.").unwrap();
    assert!(is_true(
        &page,
        "document.querySelector('.cards').checkVisibility() === false"
    ));
    picture(&page, "monitor");
    page.eval("document.querySelector('.groups a').click()")
        .unwrap();
    page.wait_for_text("Group payments").unwrap();
    let first = "document.querySelector('.partitions tbody .rowlink')?.textContent === 'orders[1]'";
    page.wait_for("the worst comes first", first).unwrap();
    click(&page, ".rowlink");
    page.wait_for(
        "the window",
        "document.querySelectorAll('.window .commit').length === 10",
    )
    .unwrap();
    page.wait_for_text("The consumer commits the same offset again and again")
        .unwrap();
    page.wait_for_text("Look first at: What it does with the record at that offset")
        .unwrap();
    let told = "document.querySelector('.window svg').ariaLabel ?? document.querySelector('.window svg').getAttribute('aria-label')";
    let told = page.eval(told).unwrap();
    assert!(told.as_str().unwrap().contains("the committed offset went from 500 to 500, and the log’s end from 600 to 1,500; the lag is 1,000"), "{told}");
    picture(&page, "window");
    page.emulate("prefers-color-scheme", "dark").unwrap();
    assert_eq!(page.eval(PALE).unwrap(), serde_json::json!([]));
    picture(&page, "window-dark");
    assert_clean(&page, &served.url());
}

#[test]
fn a_thousand_partitions_are_sorted_filtered_and_cost_only_the_rows_in_view() {
    let mut sinks = vec![fake::sink("elasticsearch", "elasticsearch", 1_000)];
    fake::quarantine(&mut sinks[0], 777, "a strange file is in the way");
    let served = fake::serve(&Fake::new(sinks, None), 0);
    let page = open(&served, "#/sink/elasticsearch");
    page.wait_for_text("1,000 partitions").unwrap();
    let rows = "document.querySelectorAll('.partitions tbody .rowlink').length";
    assert!(
        page.eval(rows).unwrap().as_u64().unwrap() < 60,
        "rows out of view are there"
    );
    let first = |name: &str| {
        format!("document.querySelector('.partitions tbody .rowlink')?.textContent === {name:?}")
    };
    page.wait_for("the quarantined one is first", &first("events[777]"))
        .unwrap();
    picture(&page, "thousand");
    // All lags change every second; a task is long from 50 ms on.
    page.eval("window.tasks = []; new PerformanceObserver((list) => tasks.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask' })").unwrap();
    let shown = "document.querySelector('.card .figure dd').textContent";
    for round in 1..=8_i64 {
        served.fake.change(|sink| {
            for (n, status) in (0..).zip(&mut sink.workers[0].partitions) {
                status.lag = Some(round * 1_000 + n);
                status.committed = Some(round * 100 + n);
            }
            sink.lag = Some(round);
        });
        page.wait_for("the next picture", &format!("{shown} === '{round}'"))
            .unwrap();
    }
    let tasks = page.eval("tasks").unwrap();
    println!("1,000 partitions, 8 updates of all: long tasks (ms): {tasks}");
    page.eval("document.querySelector('.scroll').scrollTop = 1e9")
        .unwrap();
    page.wait_for("the last rows", "document.querySelector('.partitions tbody:nth-of-type(2) tr:last-child').ariaRowIndex === '1001' || document.querySelector('.partitions tbody:nth-of-type(2) tr:last-child').getAttribute('aria-rowindex') === '1001'").unwrap();
    page.eval("document.querySelector('#view input[type=search]').focus()")
        .unwrap();
    page.type_text("events[42]").unwrap();
    page.wait_for_text("1 of 1,000 partitions").unwrap();
    page.wait_for("it alone", &first("events[42]")).unwrap();
    page.eval("const f = document.querySelector('#view input[type=search]'); f.value = ''; f.dispatchEvent(new Event('input'))").unwrap();
    page.eval("document.querySelectorAll('.partitions thead button')[2].click()")
        .unwrap();
    page.wait_for("the longest lag", &first("events[999]"))
        .unwrap();
    assert_clean(&page, &served.url());
}

#[test]
fn a_partition_that_waits_for_its_turn_says_when_it_comes_and_alarms_nobody() {
    let fake = two_sinks();
    let why = "waits for its turn: 4 of 8 partitions have files open at a time; due at 2026-11-27T01:24:30Z";
    fake.change(|sink| {
        let partition = &mut sink.workers[0].partitions[2];
        partition.state = PartitionState::Waiting;
        partition.reason = Some(why.to_owned());
        partition.waits_for_turn = true;
    });
    let served = fake::serve(&fake, 0);
    let page = open(&served, "#/sink/elasticsearch");
    page.wait_for_text("Its turn comes").unwrap();
    page.eval("document.querySelector('.check input').click()")
        .unwrap();
    page.wait_for_text("No partition is like that.").unwrap();
    page.eval("document.querySelector('.check input').click()")
        .unwrap();
    let find =
        "[...document.querySelectorAll('.rowlink')].find((b) => b.textContent === 'events[2]')";
    page.wait_for("its row", &format!("!!{find}")).unwrap();
    page.eval(&format!("{find}.click()")).unwrap();
    // As a sentence.
    page.wait_for_text(&why.replacen('w', "W", 1)).unwrap();
    assert_clean(&page, &served.url());
}
