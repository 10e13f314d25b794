//! The page in a real browser (Chromium): what a person sees, and what a page must never do. With OUTFLOW_PAGE_PICTURES=<folder>
//! each test leaves a picture of what it saw there.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "page/fake.rs"]
mod fake;

use std::path::PathBuf;
use std::sync::OnceLock;

use outflow::clock::unix_ms;
use outflow::error::Error;
use testbed::guard::TestDir;
use testbed::ports::free_port;
use testbed::tcp_proxy::Mode;
use testbed::{Browser, Outflow, Page, TcpProxy};

use fake::{Fake, Served};

/// As wide and high as a small window, and as a phone.
const WINDOW: (u32, u32) = (1_280, 900);
const PHONE: (u32, u32) = (360, 740);

fn browser() -> &'static Browser {
    static BROWSER: OnceLock<Browser> = OnceLock::new();
    BROWSER.get_or_init(|| Browser::start().expect("Chromium starts"))
}

/// A page on a server, which has been heard of.
fn open(served: &Served, path: &str) -> Page {
    let page = open_unheard(&served.url(), path);
    page.wait_for_text("live").unwrap();
    page
}

fn open_unheard(url: &str, path: &str) -> Page {
    let address = format!("{url}{path}");
    browser().open(&address, WINDOW.0, WINDOW.1).unwrap()
}

/// Nothing was complained of, and nobody else was asked.
fn assert_clean(page: &Page, url: &str) {
    assert_eq!(page.complaints(), Vec::<String>::new());
    let others: Vec<_> = page
        .requests()
        .into_iter()
        .filter(|asked| !asked.starts_with(url))
        .collect();
    assert_eq!(others, Vec::<String>::new(), "requests to others");
}

fn picture(page: &Page, name: &str) {
    if let Some(folder) = std::env::var_os("OUTFLOW_PAGE_PICTURES") {
        let file = PathBuf::from(folder).join(format!("{name}.png"));
        page.screenshot(&file).unwrap();
    }
}

fn is_true(page: &Page, expression: &str) -> bool {
    page.eval(expression).unwrap() == true
}

fn click(page: &Page, selector: &str) {
    let found = format!("document.querySelector({selector:?})");
    page.wait_for(selector, &format!("{found} !== null"))
        .unwrap();
    page.eval(&format!("{found}.click()")).unwrap();
}

/// Two sinks that work, whose groups are known.
fn two_sinks() -> std::sync::Arc<Fake> {
    let mut store = fake::store("events", 4);
    for group in ["outflow-elasticsearch", "outflow-hdfs"] {
        for number in 0..4 {
            fake::commits(&mut store, group, ("events", number), |n| {
                (900 + n * 10, 900 + n * 10)
            });
        }
    }
    let sinks = vec![
        fake::sink("elasticsearch", "elasticsearch", 4),
        fake::sink("hdfs", "hdfs", 4),
    ];
    Fake::new(sinks, Some(store))
}

/// Text whose contrast against what is behind it is below 4.5 (3 where it is large).
const PALE: &str = r"(() => {
  const parse = (text) => { const c = text.match(/[\d.]+/g).map(Number); return c.length < 4 ? [...c, 1] : c; };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (node) => {
    const layers = [];
    for (let n = node; n; n = n.parentElement) { const c = parse(getComputedStyle(n).backgroundColor); layers.push(c); if (c[3] === 1) break; }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (text.data.trim() === '' || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const under = behind(node);
    const colour = over(parse(node instanceof SVGElement ? style.fill : style.color), under);
    const [a, b] = [light(colour), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const isLarge = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) found.push(`${text.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
})()";

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

#[test]
fn what_others_wrote_is_never_markup() {
    const EVIL: &str =
        "<img src=x onerror=\"document.title='evil'\"><script>document.title='evil'</script>";
    let mut sinks = vec![fake::sink("elasticsearch", "elasticsearch", 1)];
    fake::quarantine(&mut sinks[0], 0, EVIL);
    sinks[0].workers[0].partitions[0].topic = EVIL.into();
    sinks[0].health.last_error = Some(EVIL.into());
    sinks[0].health.last_error_ms = Some(unix_ms());
    sinks[0].health.details = vec![(EVIL.into(), EVIL.into())];
    sinks[0].group = Some(EVIL.into());
    let mut store = fake::store(EVIL, 1);
    fake::commits(&mut store, EVIL, (EVIL, 0), |n| (900 + n, 1_000 + n));
    let served = fake::serve(&Fake::new(sinks, Some(store)), 0);
    let group = "#/group/local/%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D'evil'%22%3E%3Cscript%3Edocument.title%3D'evil'%3C%2Fscript%3E";
    for path in ["", "#/sink/elasticsearch", group] {
        let page = open(&served, path);
        page.wait_for_text("<img src=x").unwrap();
        if !path.is_empty() {
            click(&page, ".rowlink");
            page.wait_for(
                "the window",
                "document.querySelector('.window svg') !== null",
            )
            .unwrap();
        }
        assert!(
            is_true(
                &page,
                "document.images.length === 1 && document.scripts.length === 1"
            ),
            "{path}"
        );
        assert!(
            is_true(&page, "!document.title.startsWith('evil')"),
            "{path}"
        );
        assert_clean(&page, &served.url());
    }
}

#[test]
fn a_change_shows_without_a_reload_and_is_told_in_order() {
    let sinks = ["elasticsearch", "hdfs"].map(|name| fake::sink(name, name, 4));
    let served = fake::serve(&Fake::new(sinks.to_vec(), None), 0);
    let page = open(&served, "");
    page.eval("window.mark = 1").unwrap();
    page.wait_for_text("All is well").unwrap();
    served
        .fake
        .change(|sink| fake::go_away(sink, "connection refused"));
    page.wait_for_text("elasticsearch waits for Elasticsearch.")
        .unwrap();
    page.wait_for_text("Nothing is lost").unwrap();
    page.wait_for_text("5,233").unwrap();
    picture(&page, "outage");
    served.fake.change(|sink| fake::come_back(sink, 5_233));
    page.wait_for_text("elasticsearch is catching up after an outage.")
        .unwrap();
    served.fake.change(|sink| fake::come_back(sink, 12));
    page.wait_for_text("Caught up again").unwrap();
    page.wait_for_text("All is well").unwrap();
    let told = "[...document.querySelectorAll('#journal .text')].map((n) => n.textContent.split(/[:;,]/)[0].replace(/\\d+ s/, 'n s'))";
    let told = page.eval(told).unwrap();
    let told: Vec<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap())
        .collect();
    assert_eq!(
        told[..3],
        [
            "Caught up again",
            "Elasticsearch is back after n s",
            "Elasticsearch is away"
        ]
    );
    assert!(is_true(&page, "window.mark === 1"), "it was reloaded");
    assert_clean(&page, &served.url());
}

#[test]
fn it_comes_back_by_itself_after_the_server_was_restarted_and_forgets_nothing() {
    let port = free_port().unwrap();
    let fake = two_sinks();
    let served = fake::serve(&fake, port);
    let page = open(&served, "");
    fake.change(|sink| fake::go_away(sink, "the first one"));
    page.wait_for_text("Elasticsearch is away: the first one")
        .unwrap();
    let url = served.url();
    drop(served);
    page.wait_for_text("outflow doesn’t answer; trying again")
        .unwrap();
    picture(&page, "gone");
    // Another process: its numbers begin anew.
    let fake = two_sinks();
    let served = fake::serve(&fake, port);
    page.wait_for_text("All is well").unwrap();
    fake.change(|sink| fake::go_away(sink, "the second one"));
    page.wait_for_text("Elasticsearch is away: the second one")
        .unwrap();
    let count = |text: &str| {
        let of = "[...document.querySelectorAll('#journal .text')]";
        page.eval(&format!(
            "{of}.filter((n) => n.textContent.includes({text:?})).length"
        ))
        .unwrap()
    };
    assert_eq!(count("the first one"), 1);
    assert_eq!(count("the second one"), 1);
    assert_eq!(count("started"), 2);
    assert_clean(&page, &url);
    drop(served);
}

#[test]
fn an_open_page_goes_on_where_it_was_when_only_its_connection_is_cut() {
    let served = fake::serve(&two_sinks(), 0);
    let between = TcpProxy::start(&served.address.to_string(), 1).unwrap();
    let url = format!("http://{}/", between.address());
    let page = open_unheard(&url, "");
    page.wait_for_text("hdfs runs").unwrap();
    between.set(Mode::Refuse).unwrap();
    page.wait_for_text("trying again").unwrap();
    served
        .fake
        .change(|sink| fake::go_away(sink, "while nobody saw it"));
    between.set(Mode::Pass).unwrap();
    page.wait_for_text("Elasticsearch is away: while nobody saw it")
        .unwrap();
    let all = "document.querySelectorAll('#journal li').length";
    let texts =
        "new Set([...document.querySelectorAll('#journal .text')].map((n) => n.textContent)).size";
    assert_eq!(
        page.eval(all).unwrap(),
        page.eval(texts).unwrap(),
        "an entry came twice"
    );
    assert_clean(&page, &url);
}

#[test]
fn beyond_loopback_it_asks_for_the_token_and_keeps_it_to_the_tab() {
    let served = fake::serve_for(&two_sinks(), "s3cret");
    let page = open_unheard(&served.url(), "");
    page.wait_for_text("This server asks for its token")
        .unwrap();
    assert!(
        is_true(&page, "!document.body.innerText.includes('hdfs')"),
        "data without a token"
    );
    page.type_text("wrong").unwrap();
    page.press("Enter").unwrap();
    page.wait_for_text("That token wasn’t taken.").unwrap();
    picture(&page, "token");
    page.type_text("s3cret").unwrap();
    page.press("Enter").unwrap();
    page.wait_for_text("All is well").unwrap();
    assert!(is_true(
        &page,
        "localStorage.length === 0 && document.cookie === ''"
    ));
    assert!(page.requests().iter().all(|url| !url.contains("s3cret")));
    page.eval("location.reload()").unwrap();
    page.wait_for("live again, without asking", "document.querySelector('#token').open === false && document.body.innerText.includes('All is well')").unwrap();
    assert_clean(&page, &served.url());
}

#[test]
fn a_quarantined_partition_is_released_after_a_question() {
    let fake = two_sinks();
    fake.change(|sink| fake::quarantine(sink, 2, "a strange file is in the way"));
    let served = fake::serve(&fake, 0);
    let page = open(&served, "#/sink/elasticsearch");
    page.wait_for_text("Quarantined").unwrap();
    let first = "document.querySelector('.partitions tbody .rowlink')?.textContent === 'events[2]'";
    page.wait_for("the worst comes first", first).unwrap();
    click(&page, ".rowlink");
    page.wait_for_text("Mend what is said here, then release it.")
        .unwrap();
    page.wait_for_text("a strange file is in the way").unwrap();
    picture(&page, "quarantined");
    click(&page, ".partition .primary");
    page.wait_for_text("Release events[2]?").unwrap();
    assert!(
        fake.released.lock().unwrap().is_empty(),
        "released without being asked"
    );
    // What the server says against it is shown.
    *fake.refusal.lock().unwrap() =
        Some(Error::unavailable("the worker doesn't answer; try again"));
    click(&page, "#ask-yes");
    page.wait_for_text("the worker doesn't answer; try again")
        .unwrap();
    click(&page, "#ask-yes");
    page.wait_for_text("events[2] was released.").unwrap();
    assert_eq!(*fake.released.lock().unwrap(), ["elasticsearch: events[2]"]);
    page.wait_for_text("events[2] isn't quarantined any more")
        .unwrap();
    assert_clean(&page, &served.url());
}

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
fn the_binary_serves_it_and_says_that_it_waits_for_kafka() {
    let dir = TestDir::new("page").unwrap();
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let nobody = free_port().unwrap();
    let file = dir.path().join("es.toml");
    let config = format!(
        "name = \"es\"\n[kafka]\nbootstrap_servers = \"127.0.0.1:{nobody}\"\ntopics = [\"t\"]\n\
         [elasticsearch]\nurls = [\"http://127.0.0.1:{nobody}\"]\nindex = \"i\"\n[admin]\nlisten = \"{address}\"\n"
    );
    std::fs::write(&file, config).unwrap();
    let args = ["run", "--config", file.to_str().unwrap()];
    let binary = env!("CARGO_BIN_EXE_outflow");
    let process = Outflow::spawn(binary, &args, &[], dir.path().join("log")).unwrap();
    let process = process.with_admin(&address);
    let answers = || Ok(process.http()?.get("/livez").err().map(|e| e.to_string()));
    process
        .wait_for("it listens", std::time::Duration::from_secs(30), answers)
        .unwrap();
    let url = format!("http://{address}/");
    let page = open_unheard(&url, "");
    page.wait_for_text("es waits for Kafka.").unwrap();
    page.wait_for_text(&format!("127.0.0.1:{nobody}")).unwrap();
    picture(&page, "binary");
    assert_clean(&page, &url);
}
