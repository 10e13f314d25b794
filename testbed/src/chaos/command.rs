//! `testbed chaos`: runs cases, one after another, and shows the table.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;
use serde_json::json;

use crate::error::{Context, Error, Result};

use super::case::Case;
use super::cases;
use super::outcome::{Outcome, table};
use super::random::run_random;
use super::run::{Pace, run_case};

/// What to run.
#[derive(clap::Args)]
pub struct Options {
    /// Only this case (may be given again)
    #[arg(long = "case", value_name = "ID")]
    cases: Vec<String>,
    /// What is random is drawn from this; another one each time otherwise
    #[arg(long)]
    seed: Option<u64>,
    /// Random faults, two at a time too, for so long
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Each fault holds at least so many seconds
    #[arg(long, value_name = "SECONDS")]
    hold: Option<u64>,
    /// At the pace of `make test`; without --case, only the cases that it runs
    #[arg(long)]
    quick: bool,
    /// Show the cases and leave
    #[arg(long)]
    list: bool,
    /// The outcomes as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The outflow binary; the one beside this program otherwise
    #[arg(long)]
    outflow: Option<PathBuf>,
}

/// Runs what was asked for. An error if a case fails.
pub fn run(options: &Options) -> Result<()> {
    let chosen = choose(options)?;
    if options.list {
        for case in &chosen {
            say(&format!("{}  {}", case.id, case.name));
        }
        return Ok(());
    }
    let binary = crate::process::binary(options.outflow.as_deref())?;
    let seed = options
        .seed
        .unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    let mut pace = if options.quick {
        Pace::QUICK
    } else {
        Pace::FULL
    };
    pace.hold = options.hold.map_or(pace.hold, Duration::from_secs);
    say(&format!("seed {seed}"));
    let mut outcomes = Vec::new();
    if let Some(minutes) = options.minutes {
        let time = Duration::try_from_secs_f64(60.0 * minutes).context("not a time")?;
        let outcome = run_random(&binary, seed, time, &say);
        tell(&outcome);
        outcomes.push(outcome);
    }
    for case in chosen.iter().filter(|_| options.minutes.is_none()) {
        say(&format!("{}  {} ...", case.id, case.name));
        let outcome = run_case(case, &binary, seed, &pace);
        tell(&outcome);
        outcomes.push(outcome);
    }
    say(&format!("\n{}", table(&outcomes)));
    if let Some(file) = &options.json {
        let all: Vec<_> = outcomes.iter().map(Outcome::json).collect();
        let text = format!("{:#}\n", json!({ "seed": seed, "cases": all }));
        std::fs::write(file, text).context(format!("can't write {}", file.display()))?;
    }
    let failed: Vec<&str> = outcomes
        .iter()
        .filter(|outcome| !outcome.passed())
        .map(|outcome| outcome.id.as_str())
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::new(format!("failed: {}", failed.join(", ")))),
    }
}

fn choose(options: &Options) -> Result<Vec<Case>> {
    let all = cases::all();
    if options.cases.is_empty() {
        let wanted = |case: &Case| case.in_subset || !options.quick;
        return Ok(all.into_iter().filter(wanted).collect());
    }
    let find = |id: &String| {
        cases::find(id).ok_or_else(|| {
            let ids: Vec<&str> = all.iter().map(|case| case.id).collect();
            Error::new(format!(
                "there is no case {id}; there are {}",
                ids.join(", ")
            ))
        })
    };
    options.cases.iter().map(find).collect()
}

fn tell(outcome: &Outcome) {
    if outcome.passed() {
        say(&format!(
            "{}  passed in {:.0} s",
            outcome.id,
            outcome.took.as_secs_f64()
        ));
        return;
    }
    for finding in &outcome.findings {
        say(&format!("{}  FAILED: {finding}", outcome.id));
    }
    say(&format!(
        "{}  seed {}; again: {}",
        outcome.id, outcome.seed, outcome.again
    ));
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
