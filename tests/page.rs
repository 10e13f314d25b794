//! The page in a real browser (Chromium): what a person sees, and what a page must never do. With OUTFLOW_PAGE_PICTURES=<folder>
//! each test leaves a picture of what it saw there.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "page/fake.rs"]
mod fake;
#[path = "page/live.rs"]
mod live;
#[path = "page/looks.rs"]
mod looks;
#[path = "page/partitions.rs"]
mod partitions;
#[path = "page/trust.rs"]
mod trust;

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
