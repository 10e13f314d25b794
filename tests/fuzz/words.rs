//! What people type after `--to` and `--topic`, and what comes to the admin server.
//!
//! Fields: a target, selections (one a line), and a request: its method, its path, and headers.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use outflow::admin::guard::{Guard, Trust};
use outflow::config::settings::AdminSettings;
use outflow::kafka::group::target::{Selection, Target};
use outflow::offsets::TopicPartition;

use crate::fields;

pub const WORDS: &[&str] = &[
    "earliest",
    "latest",
    "by_duration:24h",
    "by_timestamp:2026-11-01T00:00:00Z",
    "host-metrics:0,2-5",
    "t:3",
    "t:5-2",
    "t:0-2147483647",
    "GET",
    "POST",
    "HEAD",
    "/livez",
    "/metrics",
    "host: localhost:9600",
    "host: [::1]:9600",
    "host: evil.example",
    "origin: http://localhost:9600",
    "origin: http://evil.example",
    "origin: null",
    "authorization: Bearer hunter2",
    "authorization: Bearer ",
    "authorization: bearer hunter2",
    "authorization: Basic hunter2",
    "P1D",
    "-1h",
    "999999999999999999999h",
];

pub fn check(input: &[u8]) -> String {
    let fields = fields(input);
    let text = |nth: usize| {
        String::from_utf8_lossy(fields.get(nth).copied().unwrap_or_default()).into_owned()
    };
    let target = target(&text(0));
    let selection = selection(&text(1));
    let trust = request(&text(2));
    let word = if target || selection { "yes" } else { "no" };
    format!("{word} {target} {selection} {trust}")
}

fn target(text: &str) -> bool {
    let Ok(target) = Target::parse(text) else {
        return false;
    };
    // Wherever it points, reading goes on within the log.
    for (log, found) in [
        ((0, 0), None),
        ((5, 9), Some(7)),
        ((5, 9), None),
        ((i64::MAX, i64::MAX), Some(0)),
    ] {
        let (offset, wanted) = target.within(log, found);
        assert!(
            (log.0..=log.1).contains(&offset),
            "{target:?} leads to {offset} in {log:?}"
        );
        assert!(wanted.is_none_or(|wanted| wanted != offset));
    }
    if let Target::Offset(offset) = target {
        assert!(offset >= 0 && text.bytes().all(|byte| byte.is_ascii_digit()));
    }
    true
}

fn selection(text: &str) -> bool {
    let texts: Vec<String> = text.lines().map(str::to_owned).collect();
    let Ok(selection) = Selection::parse(&texts) else {
        return false;
    };
    assert_eq!(selection.is_all(), texts.is_empty());
    let known = TopicPartition::new("t", 3);
    let named = texts
        .iter()
        .any(|text| text == "t" || text.starts_with("t:"));
    assert!(
        !selection.has(&known) || named || texts.is_empty(),
        "{texts:?} doesn't name {known}"
    );
    let _ = selection.missing(&[known]);
    true
}

/// Who has no token does nothing from afar, whatever the headers say.
fn request(text: &str) -> String {
    let mut lines = text.lines();
    let method = lines
        .next()
        .and_then(|word| Method::from_bytes(word.as_bytes()).ok())
        .unwrap_or(Method::GET);
    let path = lines.next().unwrap_or("/");
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            headers.append(name, value);
        }
    }
    let given = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let has_token = given == Some("Bearer hunter2");
    let is_reading = matches!(method, Method::GET | Method::HEAD);
    let mut trusts = String::new();
    for (address, token) in [
        ("127.0.0.1:1", None),
        ("127.0.0.1:1", Some("hunter2")),
        ("0.0.0.0:1", None),
        ("0.0.0.0:1", Some("hunter2")),
    ] {
        let address: SocketAddr = address.parse().expect("an address");
        let settings = AdminSettings {
            listen: Some(address),
            token: token.map(Into::into),
            allow_unauthenticated: false,
        };
        let found = Guard::new(&settings, address).judge(&method, path, &headers);
        let (is_local, knows) = (address.ip().is_loopback(), token.is_some() && has_token);
        match found {
            Ok(Trust::Full) => assert!(
                knows || (is_local && (is_reading || token.is_none())),
                "{text}"
            ),
            // Whether all is well, without the reasons; and the page, which holds no data.
            Ok(Trust::Probe) => {
                let health = ["/livez", "/readyz", "/burrow/admin", "/burrow/admin/ready"];
                let is_page = path == "/" || path.starts_with("/page/");
                assert!(is_reading && (is_page || health.contains(&path)), "{text}");
            }
            Err(_) => {}
        }
        // A page in a browser on this machine calls us by another name, or comes from elsewhere.
        let host = headers
            .get("host")
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let is_rebound = is_local
            && host.chars().next().is_some_and(char::is_alphabetic)
            && !host.to_lowercase().starts_with("localhost");
        let is_foreign = headers
            .get("origin")
            .is_some_and(|origin| origin.as_bytes().ends_with(b"evil.example"))
            && !host.contains("evil");
        assert!(
            found.is_err() || !(is_rebound || is_foreign),
            "{text} is let in"
        );
        trusts.push(match found {
            Ok(Trust::Full) => 'f',
            Ok(Trust::Probe) => 'p',
            Err(_) => '-',
        });
    }
    trusts
}
