//! A message in words: what one would tell a colleague.

use std::fmt::Write as _;

use super::incident::Event;
use super::message::{Message, Partition};
use crate::journal::words::{duration, number};

/// The message with its title and its text.
pub fn say(mut message: Message) -> Message {
    message.title = title(&message);
    message.text = text(&message);
    message
}

/// `2026-11-26T18:00:00Z`.
pub fn moment(ms: i64) -> String {
    let at = jiff::Timestamp::from_second(ms.div_euclid(1_000));
    at.map_or_else(|_| "?".into(), |at| at.to_string())
}

/// Seconds in words.
fn lasting(seconds: f64) -> String {
    // Saturates.
    duration((seconds * 1_000.0) as i64)
}

fn title(m: &Message) -> String {
    let test = if m.is_test { "Test: " } else { "" };
    let group = format!("group {} of cluster {}", m.group, m.cluster);
    let status = m.status;
    if m.event == Event::Close {
        return match status {
            "OK" => format!("{test}OK: {group} is well again"),
            "NOTFOUND" => format!("{test}{group} is gone"),
            _ => format!("{test}{status}: {group} isn't as bad any more"),
        };
    }
    let what = match m.partitions.first().map(|worst| worst.status) {
        Some("STOP") => "has stopped",
        Some("STALL") => "is stuck",
        Some("REWIND") => "went back",
        Some("WARN") => "falls behind",
        _ => "is in trouble",
    };
    match m.event {
        Event::Repeat => format!(
            "{test}{status}: {group} {what}, in trouble for {}",
            lasting(m.lasts_s as f64)
        ),
        _ => format!("{test}{status}: {group} {what}"),
    }
}

fn text(m: &Message) -> String {
    let mut text = String::new();
    if m.is_test {
        text += "This is a test: somebody tries out the notifier, and nothing is wrong.\n";
    }
    let (start, lasts) = (&m.start, lasting(m.lasts_s as f64));
    match m.event {
        Event::Close => {
            let _ = writeln!(text, "It was in trouble since {start}, for {lasts}.");
        }
        _ => {
            let (num, of) = (m.num_bad, m.num_partitions);
            let _ = writeln!(
                text,
                "In trouble since {start} ({lasts}): {num} of {of} partitions."
            );
        }
    }
    if let Some(cause) = &m.cause {
        let _ = writeln!(text, "outflow knows why: {cause}.");
    }
    for partition in &m.partitions {
        let _ = writeln!(text, "- {}", of_partition(partition));
    }
    if m.partitions_left_out > 0 {
        let _ = writeln!(text, "- and {} more", m.partitions_left_out);
    }
    match m.status {
        "NOTFOUND" => {
            let _ = writeln!(text, "The group is gone: {}.", m.reason);
        }
        _ => text += &overall(m),
    }
    if let Some(page) = &m.page_url {
        text += page;
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

fn of_partition(p: &Partition) -> String {
    let mut text = format!("{}[{}] {}: {}", p.topic, p.partition, p.status, p.reason);
    let _ = write!(
        text,
        "; {}",
        behind(p.lag, p.time_lag_s, p.time_lag_is_more)
    );
    if let (Some(client), Some(host)) = (&p.client_id, &p.owner) {
        let _ = write!(
            text,
            "; read by {client} at {}",
            host.trim_start_matches('/')
        );
    }
    text
}

fn overall(m: &Message) -> String {
    if m.lag == 0 {
        return "Everything is read.\n".into();
    }
    let mut text = format!(
        "In all {}.",
        behind(m.lag, m.time_lag_s, m.time_lag_is_more)
    );
    text += &match (m.catch_up, m.catch_up_s) {
        ("in_seconds", Some(s)) => format!(" At this pace it has caught up in {}.", lasting(s)),
        ("keeps_up", _) => " It keeps up with what comes.".into(),
        ("never", _) => " At this pace it never catches up.".into(),
        _ => String::new(),
    };
    text.push('\n');
    text
}

fn behind(lag: u64, time_lag_s: Option<f64>, is_more: bool) -> String {
    let mut text = match lag {
        1 => "1 record behind".to_owned(),
        lag => format!(
            "{} records behind",
            number(i64::try_from(lag).unwrap_or(i64::MAX))
        ),
    };
    if let Some(s) = time_lag_s.filter(|_| lag > 0) {
        let more = if is_more { "more than " } else { "" };
        let _ = write!(text, ", the oldest {more}{} old", lasting(s));
    }
    text
}
