//! `outflow check`: everything that is wrong with files and, if asked, with what the servers say.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::{ByKind, Exit, by_kind, print, say};
use crate::check::{Finding, Verdict};
use crate::config::problem::Problems;
use crate::config::settings::{
    AgentSettings, HdfsSettings, MonitorSettings, Settings, SinkSettings,
};
use crate::config::surroundings::Host;
use crate::config::{Loaded, load_agent, load_monitor, load_sinks};
use crate::sinks;

/// Says what is wrong; 0 if nothing is.
pub fn check(files: &[PathBuf], flags: &[String], connect: bool) -> Exit {
    let ByKind {
        sinks,
        agents,
        monitors,
    } = by_kind(files);
    let mut problems = Problems::default();
    let mut loaded_sinks = Vec::new();
    if !sinks.is_empty() {
        match load_sinks(&sinks, flags, &Host) {
            Ok(outcome) => {
                problems.0.extend(outcome.warnings.0);
                loaded_sinks = outcome.loaded;
            }
            Err(more) => problems.0.extend(more.0),
        }
    }
    let mut loaded_agents = Vec::new();
    for agent in &agents {
        match load_agent(agent, flags, &Host) {
            Ok(outcome) => {
                problems.0.extend(outcome.warnings.0);
                loaded_agents.push(outcome.loaded);
            }
            Err(more) => problems.0.extend(more.0),
        }
    }
    let mut loaded_monitors = Vec::new();
    for monitor in &monitors {
        match load_monitor(monitor, flags, &Host) {
            Ok(outcome) => {
                problems.0.extend(outcome.warnings.0);
                loaded_monitors.push(outcome.loaded);
            }
            Err(more) => problems.0.extend(more.0),
        }
    }
    say(&problems);
    if problems.has_errors() {
        return Exit::Misused;
    }
    for file in files {
        print(&format!("{}: the configuration is valid\n", file.display()));
    }
    if !connect {
        return Exit::Fine;
    }
    match connect_all(&loaded_sinks, &loaded_agents, &loaded_monitors) {
        Verdict::Wrong => Exit::Failed,
        _ => Exit::Fine,
    }
}

fn connect_all(
    sinks: &[Loaded<Settings>],
    agents: &[Loaded<AgentSettings>],
    monitors: &[Loaded<MonitorSettings>],
) -> Verdict {
    let mut worst = Verdict::Fine;
    for loaded in sinks {
        worst = worst.max(report(&loaded.file, findings(&loaded.settings)));
    }
    for loaded in agents {
        worst = worst.max(report(
            &loaded.file,
            crate::kafka::check::agent(&loaded.settings),
        ));
    }
    for loaded in monitors {
        let clusters = loaded.settings.clusters.iter();
        let findings = clusters.map(crate::kafka::check::cluster).collect();
        worst = worst.max(report(&loaded.file, findings));
    }
    worst
}

/// What the servers say about one sink.
fn findings(settings: &Settings) -> Vec<Finding> {
    let mut findings = crate::kafka::check::sink(settings);
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let what = format!("no runtime: {error}");
            findings.push(Finding::wrong("this process", what, "give it more threads"));
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
