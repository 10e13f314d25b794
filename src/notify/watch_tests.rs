//! Groups as they are seen, and what waits to be delivered because of it.

use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::registry::Registry;

use super::*;
use crate::lag::group_records::CommittedOffset;
use crate::lag::{GroupPatterns, Keep, LogEnd, Rules, Sighting, Store};
use crate::monitor::watched::About as AboutCluster;
use crate::notify::delivery::Metrics;
use crate::notify::incident::Patience;
use crate::notify::settings::{Body, HttpAuth, HttpTarget, Selection, Target};

static NOW_MS: AtomicI64 = AtomicI64::new(1_774_000_120_000);

fn now_ms() -> i64 {
    NOW_MS.load(Ordering::Relaxed)
}

/// Tells at once of whatever is at ERR.
fn notifier() -> (Notifier, Arc<Outbox>) {
    let patience = Patience {
        open_after: Duration::ZERO,
        close_after: Duration::ZERO,
        repeat: None,
    };
    let settings = NotifierSettings {
        name: "ops".into(),
        selection: Selection {
            clusters: Vec::new(),
            groups: GroupPatterns::default(),
            threshold: Level::Err,
            by_group: Vec::new(),
        },
        patience,
        send_close: true,
        queue: 10,
        timeout: Duration::from_secs(1),
        page_url: None,
        target: Target::Http(HttpTarget {
            url: "http://127.0.0.1:1".into(),
            shown: "http://127.0.0.1:1".into(),
            is_local: true,
            ca_file: None,
            auth: HttpAuth::None,
            headers: Vec::new(),
            body: Body::Json,
        }),
    };
    let metrics = Metrics::register(&mut Registry::default()).of("ops");
    let outbox = Arc::new(Outbox::new(&settings, metrics));
    let notifier = Notifier {
        incidents: Incidents::new(patience),
        settings,
        outbox: outbox.clone(),
    };
    (notifier, outbox)
}

/// The group `g` committed `offset` of `t[0]`, whose log ends at 500, twelve times in the last two minutes.
fn commits(watched: &Watched, offset: i64) {
    let mut store = watched.store();
    store.set_topics(&[Sighting {
        name: "t",
        id: None,
        num_partitions: 1,
    }]);
    for back in (0..12).rev() {
        let at_ms = now_ms() - back * 10_000;
        store.take_log_end("t", 0, LogEnd { offset: 500, at_ms });
        let value = CommittedOffset {
            offset,
            timestamp_ms: at_ms,
        };
        store.take_commit("g", "t", 0, value, at_ms, at_ms);
    }
}

#[tokio::test]
async fn an_incident_says_what_outflow_knows_to_keep_the_group_and_its_end_does_not() {
    let about = AboutCluster {
        name: "local".into(),
        ..AboutCluster::default()
    };
    let watched = Watched::new(about, Rules::default(), Store::new(Keep::default()), now_ms);
    let cause = "the sink es is waiting: connection refused";
    watched.set_causes([("g".to_owned(), cause.to_owned())].into());
    let (notifier, outbox) = notifier();
    let mut notifiers = [notifier];

    commits(&watched, 100);
    look_at(&watched, &mut notifiers);
    let opened = outbox.next(10).await;
    let told: Vec<_> = opened
        .iter()
        .map(|m| (m.event, m.cause.as_deref()))
        .collect();
    assert_eq!(told, [(Event::Open, Some(cause))]);

    // Well again, though its sink still says that it waits: nothing keeps the group any more.
    NOW_MS.fetch_add(200_000, Ordering::Relaxed);
    commits(&watched, 500);
    look_at(&watched, &mut notifiers);
    let closed = outbox.next(10).await;
    let told: Vec<_> = closed
        .iter()
        .map(|m| (m.event, m.cause.as_deref()))
        .collect();
    assert_eq!(told, [(Event::Close, None)]);
}
