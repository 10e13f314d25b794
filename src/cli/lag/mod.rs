//! `outflow lag`: how far behind groups are, once, with an exit code that a script can use.

mod direct;
mod finding;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use self::finding::{Finding, Limits, find};
use super::group::runtime;
use super::{Exit, print, say};
use crate::config::parse_age;
use crate::observe::{Client, Partitions, Picture, Wanted};

const AFTER_HELP: &str = "\
Asks a running process (`outflow run` or `outflow monitor`) for the verdicts that it has, or, with
--config, the brokers themselves: that shows offsets as of now, and no verdict, since a verdict
needs a window of commits. With --watch it looks for that many seconds first; that takes READ on
__consumer_offsets. With a monitor's file all its clusters are looked at, with a sink's its group.

Exit codes:
  0  every group is OK, and within --max-lag and --max-time-lag
  1  a group is WARN or ERR, or behind a limit; or a sink waits, is stuck, or is fenced
  2  nothing wrong was found, but something couldn't be judged: nobody answers, no such group, no
     window yet and no limit given; or the arguments or the configuration are wrong";

/// Where it is asked.
#[derive(Debug, Args)]
pub(super) struct Process {
    /// The admin server of a running process
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9600")]
    pub url: String,
    /// A file with the server's token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl Process {
    /// A client of it.
    pub fn client(&self) -> Result<Client, crate::error::Error> {
        let token = self.token_file.as_ref().map(|file| {
            let text = std::fs::read_to_string(file);
            let told = |why| {
                let what = format!("--token-file {}: {why}", file.display());
                crate::error::Error::misconfigured(what)
            };
            text.map(|text| secrecy::SecretString::from(text.trim()))
                .map_err(told)
        });
        Client::new(&self.url, token.transpose()?.as_ref())
    }
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Lag {
    #[command(flatten)]
    process: Process,
    /// Ask the brokers instead: a sink's or a monitor's configuration file
    #[arg(long, short, num_args = 1.., value_name = "FILE", conflicts_with_all = ["url", "token_file"])]
    config: Vec<PathBuf>,
    /// Set a key, over files and environment
    #[arg(long, value_name = "SECTION.KEY=VALUE", requires = "config")]
    set: Vec<String>,
    /// Look for so many seconds before judging
    #[arg(long, value_name = "SECONDS", requires = "config")]
    watch: Option<u64>,
    /// Only this group; may be given several times
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Only this sink; may be given several times
    #[arg(long, value_name = "NAME")]
    sink: Vec<String>,
    /// Only partitions of this topic; may be given several times
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Each partition, too
    #[arg(long)]
    partitions: bool,
    /// Exit with 1 if a group is behind by more records than this
    #[arg(long, value_name = "N")]
    max_lag: Option<u64>,
    /// Exit with 1 if a group's oldest unread record is older than this, such as 5m
    #[arg(long, value_name = "AGE", value_parser = age)]
    max_time_lag: Option<Duration>,
    /// Exit with 1 from this verdict on
    #[arg(long, value_enum, default_value_t = FailOn::Warn)]
    fail_on: FailOn,
    /// As JSON (docs/operating.md says what is in it)
    #[arg(long)]
    json: bool,
}

/// From which verdict on it isn't well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// WARN and ERR
    Warn,
    /// ERR alone
    Err,
}

fn age(text: &str) -> Result<Duration, String> {
    parse_age(text).ok_or_else(|| "it is an age such as 90s, 5m or 1h30m".to_owned())
}

/// Looks, and says what was found.
pub(super) fn lag(arguments: &Lag) -> Exit {
    let picture = match arguments.picture() {
        Ok(picture) => picture,
        Err(exit) => return exit,
    };
    let limits = Limits {
        max_lag: arguments.max_lag,
        max_time_lag: arguments.max_time_lag,
        fail_on: arguments.fail_on,
    };
    let (finding, notes) = find(&picture, &limits);
    for note in &notes {
        say(&format!("{note}\n"));
    }
    if arguments.json {
        let mut value = json!(picture);
        value["verdict"] = json!(finding);
        value["notes"] = json!(notes);
        print(&format!("{value:#}\n"));
    } else {
        print(&text::text(&picture));
    }
    match finding {
        Finding::AllOk => Exit::Fine,
        Finding::Behind => Exit::Failed,
        Finding::NotJudged => Exit::Misused,
    }
}

impl Lag {
    fn picture(&self) -> Result<Picture, Exit> {
        let wanted = Wanted {
            groups: self.group.clone(),
            sinks: self.sink.clone(),
            topics: self.topic.clone(),
            partitions: match self.partitions {
                true => Partitions::All,
                false => Partitions::None,
            },
        };
        if !self.config.is_empty() {
            let watch = self.watch.map(Duration::from_secs);
            return direct::picture(&self.config, &self.set, watch, wanted);
        }
        let client = self.process.client().map_err(|error| not_judged(&error))?;
        let runtime = runtime().map_err(|_| Exit::Misused)?;
        let picture = runtime.block_on(client.picture(&wanted));
        runtime.shutdown_background();
        picture.map_err(|error| not_judged(&error))
    }
}

/// Nothing wrong was found: nothing could be looked at.
fn not_judged(error: &crate::error::Error) -> Exit {
    say(&format!("error: {error}\n"));
    Exit::Misused
}
