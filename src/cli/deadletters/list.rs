//! `outflow deadletters list`: counts by reason, and the letters themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::group::OneFile;
use super::super::table::{Table, cell};
use super::super::{Exit, print};
use super::{Desk, Which, coordinates, failed, time};
use crate::config::problem::printable;
use crate::offsets::TopicPartition;
use crate::replay::survey::{Letter, Survey};

/// The longest detail in a table.
const DETAIL: usize = 80;

pub(super) fn list(
    file: &OneFile,
    which: &Which,
    limit: usize,
    as_json: bool,
) -> Result<Exit, Exit> {
    let filter = which.filter()?;
    let mut desk = Desk::open(file)?;
    let survey = desk.survey().map_err(|error| failed(&error))?;
    let chosen: Vec<&Letter> = survey.chosen(&filter).collect();
    let head = (&*desk.settings.name, desk.topic.as_str());
    if as_json {
        print(&format!("{:#}\n", to_json(head, &survey, &chosen, limit)));
    } else {
        print(&show(head, &survey, &chosen, limit));
    }
    Ok(Exit::Fine)
}

/// What is counted of a reason.
#[derive(Default)]
pub(super) struct Count {
    pub letters: usize,
    pub replayed: usize,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
    partitions: BTreeSet<TopicPartition>,
}

pub(super) fn by_reason<'a>(
    chosen: impl IntoIterator<Item = &'a Letter>,
) -> BTreeMap<String, Count> {
    let mut reasons: BTreeMap<String, Count> = BTreeMap::new();
    for letter in chosen {
        let count = reasons.entry(letter.stamp.reason.to_string()).or_default();
        count.letters += 1;
        count.replayed += usize::from(letter.is_replayed);
        count.first_ms = match (count.first_ms, letter.timestamp_ms) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        count.last_ms = count.last_ms.max(letter.timestamp_ms);
        count.partitions.insert(letter.stamp.partition.clone());
    }
    reasons
}

pub(super) fn reasons_table(reasons: &BTreeMap<String, Count>) -> Table {
    let mut table = Table::new(&[
        "REASON",
        "LETTERS",
        "REPLAYED",
        "FIRST",
        "LAST",
        "PARTITIONS",
    ]);
    for (reason, count) in reasons {
        table.row(vec![
            printable(reason),
            count.letters.to_string(),
            count.replayed.to_string(),
            time(count.first_ms),
            time(count.last_ms),
            partitions(&count.partitions),
        ]);
    }
    table
}

/// `events[0,2], metrics[1]`; of many, how many.
fn partitions(all: &BTreeSet<TopicPartition>) -> String {
    const MOST: usize = 8;
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for id in all {
        let numbers = topics.entry(&id.topic).or_default();
        numbers.push(id.partition.to_string());
    }
    if all.len() > MOST {
        return format!("{} of {} topics", all.len(), topics.len());
    }
    let shown = topics
        .iter()
        .map(|(topic, numbers)| format!("{topic}[{}]", numbers.join(",")));
    shown.collect::<Vec<_>>().join(", ")
}

/// Those that weren't replayed first, the oldest letter first.
fn in_order<'a>(chosen: &[&'a Letter]) -> Vec<&'a Letter> {
    let mut letters = chosen.to_vec();
    letters.sort_by_key(|letter| (letter.is_replayed, letter.place));
    letters
}

fn show((sink, topic): (&str, &str), survey: &Survey, chosen: &[&Letter], limit: usize) -> String {
    let replayed = chosen.iter().filter(|letter| letter.is_replayed).count();
    let of_all = match chosen.len() == survey.own.len() {
        true => String::new(),
        false => format!(" of {}", survey.own.len()),
    };
    let mut text = format!(
        "{sink}: {}{of_all} dead letters in {topic}, {replayed} of them replayed\n",
        chosen.len()
    );
    if !chosen.is_empty() {
        let reasons = by_reason(chosen.iter().copied());
        text.push_str(&format!("\n{}", reasons_table(&reasons)));
        text.push_str(&format!("\n{}", letters_table(chosen, limit)));
    }
    if chosen.len() > limit {
        text.push_str(&format!(
            "... and {} more: raise --limit, or say which with --reason, --topic, --offset, --since\n",
            chosen.len() - limit
        ));
    }
    let others = Desk::others(survey);
    if !others.is_empty() {
        text.push_str(&format!("\n{others}"));
    }
    text
}

fn letters_table(chosen: &[&Letter], limit: usize) -> Table {
    let mut table = Table::new(&[
        "LETTER", "RECORD", "TIME", "REPLAYED", "REASON", "STATUS", "DETAIL",
    ]);
    for letter in in_order(chosen).into_iter().take(limit) {
        let mut detail: String = letter.stamp.detail.chars().take(DETAIL).collect();
        if detail.len() < letter.stamp.detail.len() {
            detail.push('…');
        }
        table.row(vec![
            letter.place.to_string(),
            coordinates(&letter.stamp),
            time(letter.timestamp_ms),
            if letter.is_replayed { "yes" } else { "no" }.to_owned(),
            printable(&letter.stamp.reason),
            cell(letter.stamp.status),
            printable(&detail),
        ]);
    }
    table
}

fn to_json(
    (sink, topic): (&str, &str),
    survey: &Survey,
    chosen: &[&Letter],
    limit: usize,
) -> Value {
    let reasons = by_reason(chosen.iter().copied());
    let reasons = reasons.iter().map(|(reason, count)| {
        let partitions = count.partitions.iter();
        json!({
            "reason": reason,
            "letters": count.letters,
            "replayed": count.replayed,
            "first_ms": count.first_ms,
            "last_ms": count.last_ms,
            "partitions": partitions
                .map(|id| json!({"topic": *id.topic, "partition": id.partition}))
                .collect::<Vec<_>>(),
        })
    });
    let letters = in_order(chosen).into_iter().take(limit).map(|letter| {
        json!({
            "letter": letter.place.to_string(),
            "topic": *letter.stamp.partition.topic,
            "partition": letter.stamp.partition.partition,
            "offset": letter.stamp.offset,
            "timestamp_ms": letter.timestamp_ms,
            "replayed": letter.is_replayed,
            "reason": *letter.stamp.reason,
            "status": letter.stamp.status,
            "detail": letter.stamp.detail,
        })
    });
    let others = survey.of_other_sinks.iter().map(|((sink, group), count)| {
        json!({"sink": **sink, "group": group.as_deref(), "letters": count})
    });
    json!({
        "sink": sink,
        "dead_letter_topic": topic,
        "letters_in_all": chosen.len(),
        "replayed": chosen.iter().filter(|letter| letter.is_replayed).count(),
        "reasons": reasons.collect::<Vec<_>>(),
        "letters": letters.collect::<Vec<_>>(),
        "of_other_sinks": others.collect::<Vec<_>>(),
        "of_other_tools": survey.of_other_tools.map_or(0, |(count, _)| count),
    })
}
