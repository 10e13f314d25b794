//! `outflow verify`: is everything there?

mod progress;

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde_json::Value;

use self::progress::Shown;
use super::group::runtime;
use super::table::Table;
use super::{Exit, accept, print, say};
use crate::config::load_sinks;
use crate::config::surroundings::Host;
use crate::kafka::group::target::{Selection, Target};
use crate::verify::report::{Report, Verdict};
use crate::verify::{self, Options};

/// How many findings are shown one by one.
const MOST_SHOWN: usize = 50;

const AFTER_HELP: &str = "\
Reads only, and may run beside a running outflow: what isn't committed yet isn't judged.

Without --deep: HDFS by its commit log, the files' names and lengths, and the number of records
in each; Elasticsearch by the documents' ids (and versions, where the id is the key). With --deep
every value is compared, too, which reads all that the sink has.

Exit codes:
  0  everything that can be judged is there, once, as it was
  1  something is wrong: the findings say what, where, and what to do
  2  nothing wrong was found, but something couldn't be judged (no answer, not allowed); or the
     arguments or the configuration are wrong";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Verify {
    #[command(flatten)]
    files: super::Files,
    /// Compare the contents, too
    #[arg(long)]
    deep: bool,
    /// Only these partitions; may be given several times
    #[arg(long, value_name = "TOPIC[:0,2-5]")]
    topic: Vec<String>,
    /// Only these partitions of each --topic
    #[arg(long, value_name = "0,2-5", requires = "topic")]
    partition: Option<String>,
    /// Only what lies from here on: earliest, an offset, by_duration:24h, or by_timestamp:2026-11-01T00:00:00Z
    #[arg(long, value_parser = Target::parse)]
    from: Option<Target>,
    /// As JSON (docs/operating.md says what is in it)
    #[arg(long)]
    json: bool,
    /// Show on standard error how far it is
    #[arg(long, value_enum, default_value_t = When::Auto)]
    progress: When,
}

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// If standard error is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Compares, and says what was found.
pub(super) fn verify(arguments: &Verify) -> Exit {
    verify_or_exit(arguments).unwrap_or_else(|exit| exit)
}

fn verify_or_exit(arguments: &Verify) -> Result<Exit, Exit> {
    let selection = arguments.selection()?;
    let loaded = accept(load_sinks(
        &arguments.files.config,
        &arguments.files.set,
        &Host,
    ))?;
    let options = Options {
        deep: arguments.deep,
        selection,
        from: arguments.from,
    };
    let runtime = runtime().map_err(|_| Exit::Misused)?;
    let mut values = Vec::new();
    let mut verdicts = Vec::new();
    for loaded in &loaded {
        let mut progress = Shown::new(&loaded.settings.name, arguments.progress);
        let done = verify::verify(&loaded.settings, &options, &runtime, &mut progress);
        progress.end();
        let settings = &loaded.settings;
        let failed = |error| Report::failed(settings, options.deep, &error);
        let report = done.unwrap_or_else(failed);
        if let Some(error) = &report.error {
            say(&format!("error: {error}\n"));
        }
        verdicts.push(report.verdict());
        match arguments.json {
            true => values.push(report.json()),
            false if !report.partitions.is_empty() => print(&text(&report)),
            false => {}
        }
    }
    runtime.shutdown_background();
    if arguments.json {
        print(&format!("{:#}\n", Value::Array(values)));
    }
    Ok(exit(&verdicts))
}

/// Something that is wrong weighs more than something that couldn't be looked at.
fn exit(verdicts: &[Verdict]) -> Exit {
    if verdicts.contains(&Verdict::Findings) {
        Exit::Failed
    } else if verdicts.contains(&Verdict::NotJudged) {
        Exit::Misused
    } else {
        Exit::Fine
    }
}

impl Verify {
    fn selection(&self) -> Result<Selection, Exit> {
        let mut topics = self.topic.clone();
        if let Some(numbers) = &self.partition {
            if let Some(twice) = topics.iter().find(|topic| topic.contains(':')) {
                say(&format!(
                    "error: --partition {numbers}: --topic {twice} names partitions already\n"
                ));
                return Err(Exit::Misused);
            }
            for topic in &mut topics {
                *topic = format!("{topic}:{numbers}");
            }
        }
        Selection::parse(&topics).map_err(|why| {
            say(&format!("error: --topic {why}\n"));
            Exit::Misused
        })
    }
}

/// The report for people.
fn text(report: &Report) -> String {
    let mut text = format!(
        "{}: {}, group {}, cluster {}{}\n\n",
        report.sink,
        report.kind,
        report.group,
        report.cluster_id,
        if report.deep {
            ", contents compared"
        } else {
            ""
        }
    );
    let mut table = Table::new(&[
        "TOPIC",
        "PARTITION",
        "JUDGED",
        "RECORDS",
        "IN-SINK",
        "REFUSED",
        "SKIPPED",
        "GONE-OFFSETS",
        "BEHIND",
        "FINDINGS",
    ]);
    let mut errors = String::new();
    for compared in &report.partitions {
        let id = &compared.partition;
        let of_it = report
            .findings
            .all
            .iter()
            .filter(|f| f.partition.as_ref() == Some(id));
        let findings = match (&compared.error, compared.judged) {
            (Some(_), _) => "not judged".to_owned(),
            (None, None) => "nothing committed".to_owned(),
            (None, Some(_)) => of_it.count().to_string(),
        };
        table.row(vec![
            id.topic.to_string(),
            id.partition.to_string(),
            super::table::cell(compared.judged),
            compared.records.to_string(),
            compared.in_sink.to_string(),
            compared.refused.to_string(),
            compared.skipped.to_string(),
            compared.gone().to_string(),
            compared.behind().to_string(),
            findings,
        ]);
        if let Some(error) = &compared.error {
            let _ = writeln!(errors, "not judged: {error}");
        }
    }
    let _ = writeln!(text, "{table}");
    let findings = report.findings_text(MOST_SHOWN);
    for part in [findings, errors] {
        if !part.is_empty() {
            let _ = writeln!(text, "{part}");
        }
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(
        text,
        "{}",
        match report.verdict() {
            Verdict::AllThere => "Everything that can be judged is there.".to_owned(),
            Verdict::Findings => format!("{} findings.", report.findings.len()),
            Verdict::NotJudged =>
                "Nothing wrong was found, but not everything could be judged.".to_owned(),
        }
    );
    text
}
