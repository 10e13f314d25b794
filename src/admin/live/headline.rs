//! "Is everything well?", in one sentence. Pure.

use serde::Serialize;

use super::GroupSummary;
use super::summary::SinkSummary;
use crate::journal::changes::ClusterLook;

const SAFE: &str = "Nothing is lost: records wait in Kafka, and work goes on by itself.";

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// As it should be.
    Good,
    /// Not at work, and meant so: starting, paused, stopped.
    Quiet,
    /// Well again, with work to catch up.
    Busy,
    /// Not well; goes on by itself, or is worth a look.
    Waiting,
    /// A person is needed.
    Bad,
}

impl Level {
    /// Of a group's verdict.
    pub fn of_group(status: &str) -> Level {
        match status {
            "OK" => Level::Good,
            "WARN" => Level::Waiting,
            _ => Level::Bad,
        }
    }
}

/// The page's first line.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Headline {
    pub level: Level,
    pub text: String,
    /// What else is to be known.
    pub more: Option<String>,
}

impl Headline {
    pub fn of(sinks: &[SinkSummary], clusters: &[ClusterLook], groups: &[GroupSummary]) -> Self {
        match sinks.is_empty() {
            false => of_sinks(sinks),
            true => of_groups(clusters, groups),
        }
    }

    fn new(level: Level, text: impl Into<String>, more: Option<String>) -> Self {
        Headline {
            level,
            text: text.into(),
            more,
        }
    }
}

fn of_sinks(sinks: &[SinkSummary]) -> Headline {
    let Some(worst) = sinks.iter().rev().max_by_key(|sink| sink.level) else {
        return Headline::new(Level::Quiet, "No sink has been started yet.", None);
    };
    let same: Vec<_> = sinks.iter().filter(|s| s.level == worst.level).collect();
    let names = names(&same.iter().map(|s| &*s.name).collect::<Vec<_>>());
    let is_one = same.len() == 1;
    let verb = |one, several| if is_one { one } else { several };
    let why = worst.why.as_deref().filter(|_| is_one);
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    let awaited = worst.word.strip_prefix("Waiting for ");
    let word = worst.word.to_lowercase();
    let is = verb("is", "are");
    let text = match (worst.level, awaited) {
        (Level::Good, _) => format!("All is well: {names} {} up.", verb("keeps", "keep")),
        (Level::Quiet, _) if is_one => format!("{names} is {word}."),
        (Level::Quiet, _) => format!("{names} aren't at work."),
        (Level::Busy, _) => format!("{names} {is} catching up after an outage."),
        (Level::Waiting, Some(server)) => {
            format!("{names} {} for {server}.", verb("waits", "wait"))
        }
        (Level::Waiting, None) if is_one => format!("{names} is {word}{why}."),
        (Level::Waiting, None) => format!("{names} aren't well."),
        (Level::Bad, _) => format!("{names} {} you{why}.", verb("needs", "need")),
    };
    let safe = awaited.map(|_| SAFE.to_owned());
    let well = sinks.iter().filter(|s| s.level == Level::Good).count();
    let others = match well {
        _ if worst.level == Level::Good => None,
        0 => None,
        1 if sinks.len() == 2 => Some("The other sink is well.".to_owned()),
        1 => Some("One other sink is well.".to_owned()),
        more => Some(format!("{more} other sinks are well.")),
    };
    let more: Vec<String> = safe.into_iter().chain(others).collect();
    let more = (!more.is_empty()).then(|| more.join(" "));
    Headline::new(worst.level, text, more)
}

fn of_groups(clusters: &[ClusterLook], groups: &[GroupSummary]) -> Headline {
    if let Some(cluster) = clusters.iter().find(|c| c.trouble.is_some()) {
        let level = match cluster.needs_a_person {
            true => Level::Bad,
            false => Level::Waiting,
        };
        let text = format!("Cluster {} can't be watched.", cluster.name);
        return Headline::new(level, text, cluster.trouble.clone());
    }
    if clusters.iter().any(|cluster| !cluster.is_ready) {
        let text = "What groups have committed is being read.";
        return Headline::new(Level::Quiet, text, None);
    }
    let total = groups.len();
    let with = |status: &str| {
        let found = groups.iter().filter(|g| g.group.verdict.status == status);
        found.collect::<Vec<_>>()
    };
    let (errors, warnings) = (with("ERR"), with("WARN"));
    let worst = |of: &[&GroupSummary]| {
        let first = of.first()?;
        let (name, reason) = (&first.group.group, &first.group.verdict.reason);
        Some(format!("The worst is {name}: {reason}."))
    };
    match (errors.len(), warnings.len()) {
        (0, 0) if total == 0 => {
            Headline::new(Level::Quiet, "No group has committed anything yet.", None)
        }
        (0, 0) if total == 1 => {
            Headline::new(Level::Good, "All is well: the group keeps up.", None)
        }
        (0, 0) => Headline::new(
            Level::Good,
            format!("All is well: {total} groups keep up."),
            None,
        ),
        (0, _) => Headline::new(
            Level::Waiting,
            format!(
                "{} of {total} groups {} behind.",
                warnings.len(),
                fall(&warnings)
            ),
            worst(&warnings),
        ),
        (num, _) => Headline::new(
            Level::Bad,
            format!("{num} of {total} groups {} a look.", need(&errors)),
            worst(&errors),
        ),
    }
}

fn fall(of: &[&GroupSummary]) -> &'static str {
    match of.len() {
        1 => "falls",
        _ => "fall",
    }
}

fn need(of: &[&GroupSummary]) -> &'static str {
    match of.len() {
        1 => "needs",
        _ => "need",
    }
}

/// "a", "a and b", "a, b and c", "7 sinks".
fn names(of: &[&str]) -> String {
    match of {
        [] => "no sink".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] if of.len() <= 4 => format!("{} and {last}", first.join(", ")),
        _ => format!("{} sinks", of.len()),
    }
}

#[cfg(test)]
#[path = "headline_tests.rs"]
mod tests;
