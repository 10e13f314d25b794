//! `outflow check`: everything that is wrong with files and, if asked, with what the servers say.

use std::fmt::Write as _;

use super::{ByKind, Exit, Files, by_kind, keep, print, say};
use crate::check::{Finding, Verdict};
use crate::config::problem::{Problems, printable};
use crate::config::settings::{
    AgentSettings, HdfsSettings, MonitorSettings, Settings, SinkSettings,
};
use crate::config::surroundings::Host;
use crate::config::{Loaded, load_agent, load_monitor};
use crate::notify::settings::NotifierSettings;
use crate::notify::try_out as notify;
use crate::sinks;

/// Says what is wrong; 0 if nothing is.
pub(super) fn check(files: &Files, connect: bool, test_notify: Option<&str>) -> Exit {
    let flags = &files.set;
    let ByKind {
        sinks,
        agents,
        monitors,
    } = by_kind(&files.config);
    let mut problems = Problems::default();
    let loaded_sinks = keep(files.load_sinks(&sinks), &mut problems).unwrap_or_default();
    let mut loaded_agents = Vec::new();
    for agent in &agents {
        loaded_agents.extend(keep(load_agent(agent, flags, &Host), &mut problems));
    }
    let mut loaded_monitors = Vec::new();
    for monitor in &monitors {
        loaded_monitors.extend(keep(load_monitor(monitor, flags, &Host), &mut problems));
    }
    say(&problems);
    if problems.has_errors() {
        return Exit::Misused;
    }
    for file in &files.config {
        print(&format!("{}: the configuration is valid\n", file.display()));
    }
    let mut worst = Verdict::Fine;
    if connect {
        worst = connect_all(&loaded_sinks, &loaded_agents, &loaded_monitors);
    }
    if let Some(name) = test_notify {
        let of_sinks = loaded_sinks.iter().map(|l| &l.settings.notify);
        let of_monitors = loaded_monitors.iter().map(|l| &l.settings.notify);
        let all: Vec<_> = of_sinks.chain(of_monitors).flatten().collect();
        let Some(notifier) = all.iter().find(|notifier| &*notifier.name == name) else {
            let names: Vec<_> = all.iter().map(|notifier| &*notifier.name).collect();
            let name = printable(name);
            say(&match names.is_empty() {
                true => "error: there is no notifier in these files: see [[notify]]\n".to_owned(),
                false => format!(
                    "error: no notifier is named {name:?}: there are {}\n",
                    names.join(", ")
                ),
            });
            return Exit::Misused;
        };
        let finding = ask(notify::tell(notifier));
        print(&format!("\n{finding}\n"));
        worst = worst.max(finding.verdict);
    }
    match worst {
        Verdict::Wrong => Exit::Failed,
        _ => Exit::Fine,
    }
}

/// What a receiver of notifications says.
fn ask(question: impl Future<Output = Finding>) -> Finding {
    runtime().map_or_else(|finding| finding, |runtime| runtime.block_on(question))
}

/// # Errors
/// There is none to be had.
fn runtime() -> Result<tokio::runtime::Runtime, Finding> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(|error| {
        let what = format!("no runtime: {error}");
        Finding::wrong("this process", what, "give it more threads")
    })
}

fn reached(notifiers: &[NotifierSettings]) -> impl Iterator<Item = Finding> {
    let each = notifiers.iter();
    each.map(|notifier| ask(notify::reach(notifier)))
}

fn connect_all(
    sinks: &[Loaded<Settings>],
    agents: &[Loaded<AgentSettings>],
    monitors: &[Loaded<MonitorSettings>],
) -> Verdict {
    let mut worst = Verdict::Fine;
    for loaded in sinks {
        let mut findings = findings(&loaded.settings);
        findings.extend(reached(&loaded.settings.notify));
        worst = worst.max(report(&loaded.file, findings));
    }
    for loaded in agents {
        worst = worst.max(report(
            &loaded.file,
            crate::kafka::check::agent(&loaded.settings),
        ));
    }
    for loaded in monitors {
        let clusters = loaded.settings.clusters.iter();
        let findings = clusters.map(crate::kafka::check::cluster);
        let findings = findings.chain(reached(&loaded.settings.notify)).collect();
        worst = worst.max(report(&loaded.file, findings));
    }
    worst
}

/// What the servers say about one sink.
fn findings(settings: &Settings) -> Vec<Finding> {
    let mut findings = crate::kafka::check::sink(settings);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    let topics = &settings.kafka.subscription.topics();
    findings.extend(runtime.block_on(async {
        match &settings.sink {
            SinkSettings::Elasticsearch(sink) => sinks::elasticsearch::check(sink, topics).await,
            SinkSettings::Hdfs(sink) => hdfs(sink).await,
        }
    }));
    runtime.shutdown_background();
    findings
}

async fn hdfs(settings: &HdfsSettings) -> Vec<Finding> {
    let subject = format!("{}{}", settings.url, settings.base);
    vec![match sinks::hdfs::check::check(settings).await {
        Ok(()) => Finding::fine(subject, "can be written, renamed and deleted in"),
        Err(error) => Finding::wrong(subject, error.what, "see the sink's file, section [hdfs]"),
    }]
}

fn report(file: &std::path::Path, findings: Vec<Finding>) -> Verdict {
    let mut text = format!("\n{}:\n", file.display());
    for finding in &findings {
        let _ = writeln!(text, "{finding}");
    }
    print(&text);
    findings
        .iter()
        .map(|f| f.verdict)
        .max()
        .unwrap_or(Verdict::Fine)
}
