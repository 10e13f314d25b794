//! What is told of a group: one shape for all receivers, which templates read and the generic webhook sends as it is. What it
//! holds is a promise to whoever reads it: fields are added, and none changes its meaning or goes, without another `version`.

use std::cmp::Reverse;

use serde::Serialize;

use super::incident::{Event, GroupId, Told};
use super::words;
use crate::lag::Status;
use crate::monitor::{Judged, words as verdicts};
use crate::status::Verdict;

/// The shape's version.
pub const VERSION: u32 = 1;
/// So many partitions are told of, the worst first.
const WORST: usize = 5;

/// What is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// [`VERSION`].
    pub version: u32,
    /// `open`, `repeat` or `close`.
    pub event: Event,
    /// Whether somebody only tries out the notifier.
    pub is_test: bool,
    /// The incident: the same in all messages about it.
    pub id: String,
    /// The notifier.
    pub notifier: String,
    /// The cluster.
    pub cluster: String,
    /// The group.
    pub group: String,
    /// Burrow's word: OK, WARN, ERR; NOTFOUND for a group that is gone.
    pub status: &'static str,
    /// Why the worst partition is judged so.
    pub reason: String,
    /// One line that says it.
    pub title: String,
    /// Some lines that say it.
    pub text: String,
    /// Since when the group was bad (Unix milliseconds).
    pub start_ms: i64,
    /// The same as text, such as `2026-11-26T18:00:00Z`.
    pub start: String,
    /// When this was seen (Unix milliseconds).
    pub at_ms: i64,
    /// The same as text.
    pub at: String,
    /// Seconds between them.
    pub lasts_s: i64,
    /// Records that the group is behind.
    pub lag: u64,
    /// The age of the oldest of them, in seconds.
    pub time_lag_s: Option<f64>,
    /// Whether it is older than that.
    pub time_lag_is_more: bool,
    /// Offsets committed a second.
    pub consumed_per_s: Option<f64>,
    /// Offsets appended a second.
    pub produced_per_s: Option<f64>,
    /// `done`, `in_seconds`, `keeps_up`, `never`, `unknown`.
    pub catch_up: &'static str,
    /// In so many seconds it will have caught up.
    pub catch_up_s: Option<f64>,
    /// What keeps the group, as outflow itself knows it of its own sinks.
    pub cause: Option<String>,
    /// Partitions of the group.
    pub num_partitions: usize,
    /// How many of them aren't OK.
    pub num_bad: usize,
    /// The worst of those, at most five.
    pub partitions: Vec<Partition>,
    /// How many more there are.
    pub partitions_left_out: usize,
    /// The page, if it was configured where that is.
    pub page_url: Option<String>,
}

/// A partition that is told of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Partition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// WARN, STOP, STALL or REWIND.
    pub status: &'static str,
    /// Why, in words.
    pub reason: String,
    /// The newest committed offset.
    pub committed: Option<i64>,
    /// Where the log ends.
    pub log_end: Option<i64>,
    /// Records that are left to read.
    pub lag: u64,
    /// The age of the oldest of them, in seconds.
    pub time_lag_s: Option<f64>,
    /// Whether it is older than that.
    pub time_lag_is_more: bool,
    /// Who has it: the member's `client.id`.
    pub client_id: Option<String>,
    /// And its address.
    pub owner: Option<String>,
}

/// What a message is about, besides the group's figures.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The notifier's name.
    pub notifier: &'a str,
    /// The group.
    pub id: &'a GroupId,
    /// What is told.
    pub told: &'a Told,
    /// When (Unix milliseconds).
    pub now_ms: i64,
    /// Where the page is.
    pub page_url: Option<&'a str>,
    /// What keeps the group, if this process knows.
    pub cause: Option<&'a str>,
}

/// The message about a group that was judged.
pub fn of_group(about: About<'_>, judged: &Judged<'_>) -> Message {
    let verdict = verdicts::of_group(judged, about.now_ms);
    let parts = judged.verdict.partitions.iter().enumerate();
    let mut bad: Vec<_> = parts.filter(|(_, v)| v.status > Status::Ok).collect();
    bad.sort_by_key(|(_, verdict)| Reverse((verdict.status, verdict.current_lag)));
    let partitions = bad.iter().take(WORST).filter_map(|(place, of)| {
        let part = judged.partitions.get(*place)?;
        let verdict = verdicts::of_partition(of, &part.seen, about.now_ms);
        let (commit, end) = (part.seen.commits.newest(), part.seen.log_ends.newest());
        Some(Partition {
            topic: of.id.topic.to_owned(),
            partition: of.id.partition,
            status: verdict.status,
            time_lag_s: seconds(&verdict),
            time_lag_is_more: verdict.time_lag_is_more,
            reason: verdict.reason,
            committed: commit.map(|commit| commit.offset),
            log_end: end.map(|end| end.offset),
            lag: verdict.lag,
            client_id: part.owner.map(|owner| owner.client_id.clone()),
            owner: part.owner.map(|owner| owner.host.clone()),
        })
    });
    let mut message = empty(about);
    message.partitions = partitions.collect();
    message.num_bad = bad.len();
    message.partitions_left_out = bad.len() - message.partitions.len();
    message.num_partitions = judged.partitions.len();
    message.status = verdict.status;
    message.lag = verdict.lag;
    message.time_lag_s = seconds(&verdict);
    message.time_lag_is_more = verdict.time_lag_is_more;
    message.consumed_per_s = verdict.consumed_per_s;
    message.produced_per_s = verdict.produced_per_s;
    message.catch_up = verdict.catch_up;
    message.catch_up_s = verdict.catch_up_s;
    message.reason = verdict.reason;
    words::say(message)
}

/// The message about a group that isn't known any more.
pub fn of_gone(about: About<'_>) -> Message {
    words::say(Message {
        reason: "it was deleted, or hasn't committed for so long that it is forgotten".into(),
        ..empty(about)
    })
}

fn seconds(verdict: &Verdict) -> Option<f64> {
    verdict.time_lag_ms.map(|ms| ms as f64 / 1_000.0)
}

fn empty(about: About<'_>) -> Message {
    let About {
        notifier,
        id,
        told,
        now_ms,
        page_url,
        cause,
    } = about;
    Message {
        version: VERSION,
        event: told.event,
        is_test: false,
        id: told.id.clone(),
        notifier: notifier.to_owned(),
        cluster: id.cluster.clone(),
        group: id.group.clone(),
        status: Status::NotFound.as_str(),
        reason: String::new(),
        title: String::new(),
        text: String::new(),
        start_ms: told.start_ms,
        start: words::moment(told.start_ms),
        at_ms: now_ms,
        at: words::moment(now_ms),
        lasts_s: (now_ms - told.start_ms).max(0) / 1_000,
        lag: 0,
        time_lag_s: None,
        time_lag_is_more: false,
        consumed_per_s: None,
        produced_per_s: None,
        catch_up: "unknown",
        catch_up_s: None,
        cause: cause.map(str::to_owned),
        num_partitions: 0,
        num_bad: 0,
        partitions: Vec::new(),
        partitions_left_out: 0,
        page_url: page_url.map(|page| link(page, id)),
    }
}

/// The group's place on the page.
fn link(page: &str, id: &GroupId) -> String {
    let encode = |text: &str| -> String {
        let encoded = url::form_urlencoded::byte_serialize(text.as_bytes());
        encoded.collect::<String>().replace('+', "%20")
    };
    let page = page.trim_end_matches('/');
    format!(
        "{page}/#/group/{}/{}",
        encode(&id.cluster),
        encode(&id.group)
    )
}

/// A made-up message, to try out templates.
pub fn sample(event: Event, notifier: &str) -> Message {
    let page = Some("http://127.0.0.1:9600");
    test(event, notifier, 1_774_000_095_000, page)
}

/// A made-up message of this moment.
pub fn test(event: Event, notifier: &str, now_ms: i64, page_url: Option<&str>) -> Message {
    let id = GroupId {
        cluster: "outflow-test".into(),
        group: "outflow-test".into(),
    };
    let told = Told {
        id: "outflow-test".into(),
        event,
        start_ms: now_ms - 95_000,
    };
    let about = About {
        notifier,
        id: &id,
        told: &told,
        now_ms,
        page_url,
        cause: (event != Event::Close)
            .then_some("the sink \"test\" is waiting: connection refused"),
    };
    let partition = Partition {
        topic: "orders".into(),
        partition: 3,
        status: Status::Stall.as_str(),
        reason: "the consumer is there and doesn't get on: it has committed offset 100 again and again for 95 s".into(),
        committed: Some(100),
        log_end: Some(1_334),
        lag: 1_234,
        time_lag_s: Some(95.0),
        time_lag_is_more: true,
        client_id: Some("a \"quoted\" client".into()),
        owner: Some("/127.0.0.1".into()),
    };
    let mut message = empty(about);
    message.is_test = true;
    message.num_partitions = 12;
    if event == Event::Close {
        message.status = Status::Ok.as_str();
        message.reason = "everything is read".into();
        message.catch_up = "done";
        return words::say(message);
    }
    message.status = Status::Err.as_str();
    message.reason = format!("orders[3]: {}", partition.reason);
    message.lag = 1_234;
    message.time_lag_s = Some(95.0);
    message.time_lag_is_more = true;
    message.catch_up = "never";
    message.num_bad = 7;
    message.partitions = vec![partition];
    message.partitions_left_out = 6;
    words::say(message)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
