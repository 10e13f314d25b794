//! `outflow deadletters`: what a sink refused, looked at and replayed.

mod list;
mod replay;
mod show;
mod tally;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use tokio::runtime::Runtime;

use super::group::{OneFile, failed, load, runtime};
use super::{Exit, say};
use crate::config::settings::{RejectedPolicy, Settings, SinkSettings};
use crate::config::{parse_age, parse_moment};
use crate::error::Error;
use crate::kafka::group::target::Selection;
use crate::kafka::letterbox::{Letterbox, Memory, Place};
use crate::replay::selection::{Filter, parse_offsets, parse_place};
use crate::replay::survey::{Replayed, Survey};
use crate::sinks::hdfs::replays::Replays;

#[derive(Debug, Subcommand)]
pub(super) enum DeadlettersCommand {
    /// How many there are for which reason, and the first of them; reads only
    List {
        #[command(flatten)]
        file: OneFile,
        #[command(flatten)]
        which: Which,
        /// How many letters are shown one by one, those that weren't replayed first
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// One letter: where it comes from, why it was refused, headers, key and value; reads only
    Show {
        #[command(flatten)]
        file: OneFile,
        #[command(flatten)]
        which: Which,
        /// How many bytes of the key, of the value and of each header are shown
        #[arg(long, default_value_t = 4_096, value_name = "N")]
        bytes: usize,
    },
    /// Write letters to the sink that refused them; shows which, and does it with --yes
    Replay {
        #[command(flatten)]
        file: OneFile,
        #[command(flatten)]
        which: Which,
        /// At most this many, the oldest first
        #[arg(long)]
        limit: Option<usize>,
        /// Also those that were replayed before: they land on the same documents, and aren't written to HDFS twice
        #[arg(long)]
        again: bool,
        /// Do it; without, it is only shown
        #[arg(long)]
        yes: bool,
    },
}

/// Which letters are meant; what is named must all be met.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Refused for this reason; may be given several times
    #[arg(long)]
    reason: Vec<String>,
    /// Records of these partitions; may be given several times
    #[arg(long, value_name = "TOPIC[:0,2-5]")]
    topic: Vec<String>,
    /// Records at these offsets of their partitions: 42, or 40-49
    #[arg(long, value_name = "A[-B]", value_parser = parse_offsets)]
    offset: Option<(i64, i64)>,
    /// This letter, by the dead letter topic's partition and its offset there; may be given several times
    #[arg(long, value_name = "PARTITION:OFFSET", value_parser = parse_place)]
    letter: Vec<Place>,
    /// Records whose timestamp isn't older: 2026-11-01T00:00:00Z, or an age such as 24h
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<i64>,
    /// Records whose timestamp is older
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<i64>,
}

fn moment(text: &str) -> Result<i64, String> {
    let age = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let then = now.saturating_sub(parse_age(text)?);
        i64::try_from(then.as_millis()).ok()
    };
    parse_moment(text)
        .or_else(age)
        .ok_or_else(|| "write a moment, 2026-11-01T00:00:00Z, or an age, 24h".to_owned())
}

impl Which {
    fn filter(&self) -> Result<Filter, Exit> {
        let partitions = Selection::parse(&self.topic).map_err(|why| {
            say(&format!("error: --topic {why}\n"));
            Exit::Misused
        })?;
        Ok(Filter {
            reasons: self.reason.clone(),
            partitions,
            offsets: self.offset,
            places: self.letter.clone(),
            since_ms: self.since,
            until_ms: self.until,
        })
    }
}

/// Does what was asked.
pub(super) fn deadletters(command: &DeadlettersCommand) -> Exit {
    let done = match command {
        DeadlettersCommand::List {
            file,
            which,
            limit,
            json,
        } => list::list(file, which, *limit, *json),
        DeadlettersCommand::Show { file, which, bytes } => show::show(file, which, *bytes),
        DeadlettersCommand::Replay {
            file,
            which,
            limit,
            again,
            yes,
        } => replay::replay(
            file,
            which,
            &replay::How {
                limit: limit.unwrap_or(usize::MAX),
                again: *again,
                yes: *yes,
            },
        ),
    };
    done.unwrap_or_else(|exit| exit)
}

/// A sink and its dead letter topic.
struct Desk {
    settings: Settings,
    topic: String,
    letters: Letterbox,
    /// HDFS's logs of what was replayed. One client for all: the HDFS client keeps connections beyond its own end.
    replays: Option<Arc<Replays>>,
    runtime: Runtime,
}

impl Desk {
    fn open(file: &OneFile) -> Result<Desk, Exit> {
        let settings = load(file)?;
        let RejectedPolicy::DeadLetter { topic } = &settings.rejected else {
            let policy = match settings.rejected {
                RejectedPolicy::Skip => "skip: refused records are dropped",
                _ => "quarantine: a refused record stops its partition",
            };
            say(&format!(
                "error: the sink {} keeps no dead letters: rejected.policy is {policy}\n= help: set rejected.policy = \
                 \"dead_letter\"; to look into a topic of before, add --set rejected.policy=dead_letter --set \
                 rejected.topic=TOPIC\n",
                settings.name
            ));
            return Err(Exit::Misused);
        };
        let letters =
            Letterbox::new(&settings.kafka, &settings.name, topic).map_err(|e| failed(&e))?;
        let replays = match &settings.sink {
            SinkSettings::Hdfs(hdfs) => Some(Arc::new(Replays::new(hdfs))),
            SinkSettings::Elasticsearch(_) => None,
        };
        Ok(Desk {
            topic: topic.clone(),
            replays,
            letters,
            runtime: runtime()?,
            settings,
        })
    }

    /// Everything that lies in the topic, and what was replayed, as far as that can be found out.
    fn survey(&mut self) -> Result<Survey, Error> {
        let Settings { name, kafka, .. } = &self.settings;
        let mut survey = Survey::take(&mut self.letters, name, &kafka.group_id)?;
        match self.replayed(&survey) {
            Ok(replayed) => survey.mark(&replayed),
            // Not needed for looking; and a replay asks the sink itself.
            Err(why) => say(&format!(
                "warning: {why}: what was replayed before isn't known, and shown as if it weren't\n"
            )),
        }
        Ok(survey)
    }

    fn replayed(&self, survey: &Survey) -> Result<Replayed, Error> {
        if let Some(replays) = &self.replays {
            let partitions = survey.partitions();
            let asked = self.runtime.block_on(replays.published(&partitions));
            return Ok(Replayed::Origins(asked?));
        }
        let Settings { name, kafka, .. } = &self.settings;
        let topic = survey.logs.iter().map(|log| log.partition.clone());
        let memory = Memory::new(kafka, name)?;
        Ok(Replayed::Places(memory.read(&topic.collect::<Vec<_>>())?))
    }

    /// What else lies in the topic, in words; empty if nothing does.
    fn others(survey: &Survey) -> String {
        let mut text = String::new();
        for ((sink, group), count) in &survey.of_other_sinks {
            let group = group
                .as_deref()
                .map_or_else(String::new, |g| format!(", group {g}"));
            text.push_str(&format!("Also there: {count} of the sink {sink}{group}\n"));
        }
        if let Some((count, first)) = survey.of_other_tools {
            text.push_str(&format!(
                "Also there: {count} without outflow's headers (another tool's), the first at {first}; they can be \
                 shown with --letter, not replayed\n"
            ));
        }
        text
    }
}

/// A timestamp for people, to the second.
fn time(timestamp_ms: Option<i64>) -> String {
    let stamp = timestamp_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(String::new, |stamp| {
        stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    })
}

/// A partition and an offset in it.
fn coordinates(stamp: &crate::kafka::letterbox::Stamp) -> String {
    format!("{}@{}", stamp.partition, stamp.offset)
}
