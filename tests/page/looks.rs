//! What a person sees: words, landmarks, contrast, a phone.

use super::*;

#[test]
fn it_says_in_one_sentence_that_all_is_well_and_shows_each_sink() {
    let served = fake::serve(&two_sinks(), 0);
    let page = open(&served, "");
    page.wait_for_text("All is well: elasticsearch and hdfs keep up.")
        .unwrap();
    let cards = "[...document.querySelectorAll('.card h3')].map((h) => h.textContent).join()";
    assert_eq!(page.eval(cards).unwrap(), "elasticsearch,hdfs");
    // Words, not colour alone.
    page.wait_for_text("Working").unwrap();
    page.wait_for_text("outflow-elasticsearch").unwrap();
    page.wait_for_text("Groups of cluster local are judged")
        .unwrap();
    picture(&page, "well");
    assert_clean(&page, &served.url());
}

#[test]
fn it_can_be_read_in_the_dark_and_in_the_light_in_every_state() {
    let mut sinks = vec![
        fake::sink("elasticsearch", "elasticsearch", 4),
        fake::sink("hdfs", "hdfs", 4),
        fake::sink("paused", "hdfs", 1),
    ];
    fake::go_away(&mut sinks[0], "connection refused");
    fake::quarantine(&mut sinks[1], 2, "a strange file is in the way");
    sinks[2].state = "paused".into();
    let served = fake::serve(&Fake::new(sinks, None), 0);
    for scheme in ["light", "dark"] {
        let page = open(&served, "");
        page.emulate("prefers-color-scheme", scheme).unwrap();
        page.wait_for_text("hdfs needs you: events[2] is quarantined")
            .unwrap();
        page.wait_for_text("Waiting for Elasticsearch").unwrap();
        let is_dark =
            "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0] < 60";
        assert_eq!(page.eval(is_dark).unwrap(), scheme == "dark");
        assert_eq!(page.eval(PALE).unwrap(), serde_json::json!([]), "{scheme}");
        picture(&page, &format!("states-{scheme}"));
        assert_clean(&page, &served.url());
    }
}

#[test]
fn it_has_landmarks_headings_and_table_headers() {
    let served = fake::serve(&two_sinks(), 0);
    let page = open(&served, "#/sink/hdfs");
    page.wait_for_text("events[3]").unwrap();
    for (what, expression) in [
        ("one h1", "document.querySelectorAll('h1').length === 1"),
        ("a main", "document.querySelectorAll('main').length === 1"),
        ("its language", "document.documentElement.lang === 'en'"),
        (
            "headings without gaps",
            "[...document.querySelectorAll('h1,h2,h3')].filter((h) => h.checkVisibility()).map((h) => +h.tagName[1]).every((n, i, all) => i === 0 || n <= all[i - 1] + 1)",
        ),
        (
            "headers of columns and rows",
            "document.querySelectorAll('.partitions thead th[scope=col]').length > 5 && document.querySelectorAll('.partitions tbody th[scope=row]').length === 4",
        ),
        (
            "names of all controls",
            "[...document.querySelectorAll('input,button,a')].filter((n) => n.checkVisibility()).every((n) => (n.ariaLabel || n.textContent || n.closest('label')?.textContent || '').trim() !== '')",
        ),
        (
            "what changes is told",
            "document.querySelector('h1').getAttribute('aria-live') === 'polite'",
        ),
        (
            "how it is sorted",
            "document.querySelectorAll('[aria-sort]').length === 1",
        ),
    ] {
        assert!(is_true(&page, expression), "{what}");
    }
    // Who has no mouse gets there, and sees where they are.
    page.press("Tab").unwrap();
    assert!(is_true(
        &page,
        "document.activeElement.className === 'skip'"
    ));
    page.press("Tab").unwrap();
    let outline = "getComputedStyle(document.activeElement).outlineStyle === 'solid'";
    assert!(is_true(&page, outline), "focus can be seen");
    assert_clean(&page, &served.url());
}

#[test]
fn it_fits_a_phone() {
    let mut sinks = vec![fake::sink(
        "elasticsearch-with-a-long-name",
        "elasticsearch",
        40,
    )];
    fake::go_away(
        &mut sinks[0],
        &"https://es-1.example.internal:9200/_bulk?averylongquery ".repeat(4),
    );
    let group = sinks[0].group.clone().unwrap();
    let mut store = fake::store("events", 40);
    for number in 0..40 {
        fake::commits(&mut store, &group, ("events", number), |n| {
            (900 + n, 100_000 + n * 90)
        });
    }
    let served = fake::serve(&Fake::new(sinks, Some(store)), 0);
    for path in [
        "",
        "#/sink/elasticsearch-with-a-long-name",
        "#/group/local/outflow-elasticsearch-with-a-long-name",
    ] {
        let page = open(&served, path);
        page.resize(PHONE.0, PHONE.1).unwrap();
        page.wait_for_text("waits for Elasticsearch").unwrap();
        if !path.is_empty() {
            page.wait_for_text("events[0]").unwrap();
        }
        let wide = "[...document.querySelectorAll('body *')].filter((n) => n.checkVisibility() && n.getBoundingClientRect().right > innerWidth + 1 && !n.closest('.scroll')).map((n) => n.tagName + '.' + n.className)";
        assert_eq!(page.eval(wide).unwrap(), serde_json::json!([]), "{path}");
        assert!(
            is_true(&page, "document.documentElement.scrollWidth <= innerWidth"),
            "{path}"
        );
        picture(
            &page,
            &format!("phone{}", path.split('/').nth(1).unwrap_or_default()),
        );
        assert_clean(&page, &served.url());
    }
}
