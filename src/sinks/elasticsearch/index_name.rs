//! Index names: a template from the configuration, filled from a record's topic and timestamp. Pure.
//!
//! A record can't choose an index outside what the template and the allowed patterns give: names are
//! lower-cased, checked against Elasticsearch's own rules and more (no leading dot, so nothing of Kibana's
//! or the system's; no `<`, so no date math), and a date lies within a window around now.

use std::ops::Range as TimeRange;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::Error;
use crate::sinks::Rejection;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Elasticsearch's limit for an index name, in bytes.
const MAX_NAME_BYTES: usize = 255;
const FORBIDDEN: &[char] = &[
    '\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':', '{', '}',
];

/// A parsed template: literal text, `{topic}`, and dates such as `{yyyy.MM.dd}` in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// Dates change at multiples of this, if there are any.
    unit_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Topic,
    Date(Vec<DatePart>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DatePart {
    Year,
    Month,
    Day,
    Hour,
    Separator(char),
}

/// An index name and the timestamps for which it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// A valid, lower-case name.
    pub name: String,
    /// Milliseconds since 1970 for which the template gives this name; `None` if it has no date.
    pub holds_for: Option<TimeRange<i64>>,
}

impl Template {
    /// Parses a template. Errors name the position and what is allowed there.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |what| Error::misconfigured(format!("index = \"{text}\": {what}"));
        Self::read(text).map_err(bad)
    }

    /// The same; what is wrong comes without the template.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut unit_ms: Option<i64> = None;
        let mut rest = text;
        while !rest.is_empty() {
            let Some(open) = rest.find('{') else {
                parts.push(literal(rest)?);
                break;
            };
            if open > 0 {
                parts.push(literal(&rest[..open])?);
            }
            let Some(length) = rest[open..].find('}') else {
                return Err("a '{' without a '}'".into());
            };
            let inside = &rest[open + 1..open + length];
            if inside == "topic" {
                parts.push(Part::Topic);
            } else {
                let (date, unit) = parse_date(inside).ok_or_else(|| {
                    format!("'{{{inside}}}' is neither {{topic}} nor a date such as {{yyyy.MM.dd}}")
                })?;
                unit_ms = Some(unit_ms.map_or(unit, |known| known.min(unit)));
                parts.push(Part::Date(date));
            }
            rest = &rest[open + length + 1..];
        }
        let template = Template { parts, unit_ms };
        template.check_sample()?;
        Ok(template)
    }

    /// The name, if it is the same for every record: without a topic or a date.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Literal(name)] => Some(name),
            _ => None,
        }
    }

    /// Whether the name depends on the record's timestamp.
    pub fn has_date(&self) -> bool {
        self.unit_ms.is_some()
    }

    /// The name for a record of `topic` stamped `timestamp_ms`, at `now_ms`. A date further from now than
    /// `window_ms`, no timestamp at all, or a name that Elasticsearch or `allowed` forbids: a rejection.
    pub fn resolve(
        &self,
        topic: &str,
        timestamp_ms: Option<i64>,
        now_ms: i64,
        window_ms: i64,
        allowed: &[String],
    ) -> Result<Resolved, Rejection> {
        let stamp = match self.unit_ms {
            None => None,
            Some(unit) => Some(in_window(timestamp_ms, now_ms, window_ms, unit)?),
        };
        let (moment, holds_for) = stamp.unzip();
        let name = self.fill(topic, moment.as_ref());
        if let Err(why) = validate(&name) {
            return Err(rejected(
                "invalid_index_name",
                format!("topic '{topic}' gives no valid index name: {why}"),
            ));
        }
        if !is_allowed(&name, allowed) {
            return Err(rejected(
                "index_not_allowed",
                format!("index '{name}' matches none of allowed_indices"),
            ));
        }
        Ok(Resolved { name, holds_for })
    }

    fn fill(&self, topic: &str, moment: Option<&jiff::Zoned>) -> String {
        use std::fmt::Write as _;
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => name.push_str(text),
                Part::Topic => name.extend(topic.chars().flat_map(char::to_lowercase)),
                Part::Date(date) => {
                    for piece in date {
                        let Some(at) = moment else { continue };
                        // Writing to a String can't fail.
                        let _ = match piece {
                            DatePart::Year => write!(name, "{:04}", at.year()),
                            DatePart::Month => write!(name, "{:02}", at.month()),
                            DatePart::Day => write!(name, "{:02}", at.day()),
                            DatePart::Hour => write!(name, "{:02}", at.hour()),
                            DatePart::Separator(c) => write!(name, "{c}"),
                        };
                    }
                }
            }
        }
        name
    }

    /// With a harmless topic and date the template must give a valid name.
    fn check_sample(&self) -> Result<(), String> {
        validate(&self.sample("topic"))
    }

    /// The name for a record of `topic` at the beginning of 1970.
    pub fn sample(&self, topic: &str) -> String {
        self.fill(topic, Some(&Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)))
    }

    /// The pattern that matches every name for records of `topic`.
    pub fn pattern(&self, topic: &str) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Topic => topic.to_lowercase(),
            Part::Date(_) => "*".to_owned(),
        };
        self.parts.iter().map(part).collect()
    }
}

/// The record's moment in UTC, and the span of timestamps with the same date.
fn in_window(
    timestamp_ms: Option<i64>,
    now_ms: i64,
    window_ms: i64,
    unit_ms: i64,
) -> Result<(jiff::Zoned, TimeRange<i64>), Rejection> {
    let out = |what: String| rejected("timestamp_out_of_window", what);
    let Some(stamp) = timestamp_ms.filter(|ms| *ms >= 0) else {
        return Err(out(
            "the record has no timestamp, and the index name needs its date".into(),
        ));
    };
    if stamp.abs_diff(now_ms) > window_ms.unsigned_abs() {
        return Err(out(format!(
            "the record's timestamp {stamp} ms is further than {} h from now, and the index name needs its \
             date (date_window)",
            window_ms / HOUR_MS
        )));
    }
    let moment = Timestamp::from_millisecond(stamp)
        .map_err(|_| out(format!("the record's timestamp {stamp} ms is no date")))?;
    let from = stamp - stamp.rem_euclid(unit_ms);
    let holds_for = from..from.saturating_add(unit_ms);
    Ok((moment.to_zoned(TimeZone::UTC), holds_for))
}

fn literal(text: &str) -> Result<Part, String> {
    if text.contains('}') {
        return Err("a '}' without a '{'".into());
    }
    if text.chars().any(is_not_lower) {
        return Err("index names are lower-case".into());
    }
    Ok(Part::Literal(text.to_owned()))
}

/// Any of yyyy, MM, dd and HH, with `.`, `-`, `_` or nothing between.
fn parse_date(text: &str) -> Option<(Vec<DatePart>, i64)> {
    let fields = [
        ("yyyy", DatePart::Year),
        ("MM", DatePart::Month),
        ("dd", DatePart::Day),
        ("HH", DatePart::Hour),
    ];
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let field = fields
            .iter()
            .find_map(|(token, part)| Some((rest.strip_prefix(token)?, *part)));
        let (tail, part) = match field {
            Some(found) => found,
            None if matches!(first, '.' | '-' | '_') => {
                (rest.get(1..)?, DatePart::Separator(first))
            }
            None => return None,
        };
        parts.push(part);
        rest = tail;
    }
    let has_field = parts.iter().any(|p| !matches!(p, DatePart::Separator(_)));
    let unit = if parts.contains(&DatePart::Hour) {
        HOUR_MS
    } else {
        DAY_MS
    };
    has_field.then_some((parts, unit))
}

/// Elasticsearch's rules for index names, and no leading dot besides.
pub fn validate(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("it is empty".into());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!(
            "it has {} bytes, more than {MAX_NAME_BYTES}",
            name.len()
        ));
    }
    if name.starts_with(['-', '_', '+', '.']) {
        return Err(format!("'{name}' starts with '-', '_', '+' or '.'"));
    }
    if let Some(found) = name
        .chars()
        .find(|c| FORBIDDEN.contains(c) || c.is_control() || c.is_whitespace())
    {
        return Err(format!("'{}' has a {found:?}", name.escape_debug()));
    }
    if name.chars().any(is_not_lower) {
        return Err(format!("'{name}' isn't lower-case"));
    }
    Ok(())
}

/// Whether lower case would be another character: that of capitals, and of what Unicode calls title case.
fn is_not_lower(c: char) -> bool {
    c.to_lowercase().ne([c])
}

/// Whether a name matches one of the patterns (`*` is any run of characters). No patterns, no restriction.
pub fn is_allowed(name: &str, patterns: &[String]) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name))
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut rest) = name.strip_prefix(head) else {
        return false;
    };
    let mut pieces: Vec<&str> = tail.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        // The leftmost match leaves most for what follows.
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

fn rejected(reason: &str, detail: String) -> Rejection {
    Rejection {
        reason: reason.to_owned(),
        detail,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-23 04:05:06 UTC.
    const NOW: i64 = 1_795_406_706_000;

    fn name(template: &str, topic: &str, stamp: Option<i64>) -> Result<String, Rejection> {
        let template = Template::parse(template).expect("a good template");
        let resolved = template.resolve(topic, stamp, NOW, 30 * DAY_MS, &[])?;
        Ok(resolved.name)
    }

    #[test]
    fn names_as_people_expect_them() {
        let table = [
            ("logs", "logs"),
            ("{topic}", "host-metrics"),
            ("x-{topic}-v1", "x-host-metrics-v1"),
            ("{topic}-{yyyy.MM.dd}", "host-metrics-2026.11.23"),
            ("{topic}-{yyyy.MM}", "host-metrics-2026.11"),
            ("{topic}-{yyyy.MM.dd.HH}", "host-metrics-2026.11.23.04"),
            ("{topic}-{yyyy}", "host-metrics-2026"),
            ("{topic}-{yyyy-MM-dd}", "host-metrics-2026-11-23"),
            ("{topic}-{yyyyMMdd}", "host-metrics-20261123"),
        ];
        for (template, expected) in table {
            let made = name(template, "Host-Metrics", Some(NOW));
            assert_eq!(made.as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn templates_that_are_refused_at_the_start() {
        for template in [
            "",
            ".kibana",
            "_all",
            "-x",
            "+x",
            "Logs",
            "\u{1c5}", // title case, which Elasticsearch refuses, too
            "a b",
            "a,b",
            "a*",
            "<logs-{now/d}>",
            "{topic",
            "topic}",
            "{Topic}",
            "{}",
            "{.}",
            "{yyyy.mm}",
            "{yyy}",
            "a/b",
            "a:b",
            "a#b",
            "..",
            "{yyyy.MM.dd.HH.mm}",
        ] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }

    #[test]
    fn a_topic_can_not_lead_into_an_index_of_the_system() {
        for topic in [".kibana", "..", "_all", "-x"] {
            let rejection = name("{topic}", topic, None).expect_err("refused");
            assert_eq!(rejection.reason, "invalid_index_name", "{topic}");
        }
    }

    #[test]
    fn a_date_far_from_now_is_refused_and_no_date_at_all() {
        for stamp in [
            None,
            Some(-1),
            Some(0),
            Some(i64::MAX),
            Some(i64::MIN),
            Some(NOW + 31 * DAY_MS),
            Some(NOW - 31 * DAY_MS),
        ] {
            let rejection = name("{topic}-{yyyy}", "t", stamp).expect_err("refused");
            assert_eq!(rejection.reason, "timestamp_out_of_window", "{stamp:?}");
            assert!(name("{topic}", "t", stamp).is_ok(), "no date is needed");
        }
    }

    #[test]
    fn allowed_patterns() {
        let allowed = |name: &str, patterns: &[&str]| {
            let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
            is_allowed(name, &patterns)
        };
        assert!(allowed("logs-a", &["logs-*"]));
        assert!(allowed("logs-a", &["x", "logs-a"]));
        assert!(allowed("logs-a-2026", &["*-a-*"]));
        assert!(allowed("aab", &["a*ab"]));
        assert!(allowed("anything", &[]) && allowed("anything", &["*"]));
        assert!(!allowed("logs", &["logs-*"]));
        assert!(!allowed("xlogs-a", &["logs-*"]));
        assert!(!allowed("ab", &["ab*b"]));
    }

    proptest! {
        #[test]
        fn whatever_the_record_says_the_name_is_valid_or_refused(
            topic in "\\PC{0,260}", stamp in proptest::option::of(any::<i64>())
        ) {
            for template in ["{topic}", "p-{topic}-{yyyy.MM.dd.HH}"] {
                if let Ok(name) = name(template, &topic, stamp) {
                    prop_assert!(validate(&name).is_ok());
                    prop_assert!(!name.starts_with('.') && !name.contains(['<', ',', '*', '/']));
                }
            }
        }

        #[test]
        fn the_cached_span_gives_the_same_name(offset in -29 * DAY_MS..29 * DAY_MS) {
            for text in ["{topic}-{yyyy.MM.dd.HH}", "{yyyy.MM.dd}", "x-{yyyy}"] {
                let template = Template::parse(text).expect("good");
                let at = |ms| template.resolve("t", Some(ms), NOW, 31 * DAY_MS, &[]);
                let resolved = at(NOW + offset).expect("in the window");
                let span = resolved.holds_for.clone().expect("has a date");
                prop_assert!(span.contains(&(NOW + offset)));
                prop_assert_eq!(&at(span.start).expect("same").name, &resolved.name);
                prop_assert_eq!(&at(span.end - 1).expect("same").name, &resolved.name);
            }
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            let _ = Template::parse(&text);
        }

        #[test]
        fn a_pattern_made_from_a_name_matches_it(name in "[a-z.-]{1,20}", cut in 0usize..20) {
            let cut = cut.min(name.len());
            let pattern = format!("{}*{}", &name[..cut], &name[cut..]);
            prop_assert!(matches(&pattern, &name));
        }
    }
}
