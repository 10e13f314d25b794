//! The command line: what can be asked of the binary, and its exit codes.

mod adopt;
mod agent;
mod check;
mod deadletters;
mod group;
mod health;
mod lag;
mod monitor;
mod run;
mod service_manager;
mod signals;
mod table;
#[cfg(feature = "top")]
mod top;
mod verify;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::kinds::parse_bytes;
use crate::config::problem::{Place, Problem, Problems};
use crate::config::settings::Settings;
use crate::config::surroundings::Host;
use crate::config::{self, Loaded, Outcome, keys::FileKind};

/// How the process ended; `--help` tells the meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Fine,
    /// Something failed while running.
    Failed,
    /// The arguments or the configuration are wrong: nothing was started.
    Misused,
    /// Stopped before everything taken was final; nothing is lost, it is read or collected again.
    Incomplete,
    /// A second signal: left at once.
    Signalled(i32),
}

impl Exit {
    /// The number for the operating system.
    pub fn code(self) -> i32 {
        match self {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Misused => 2,
            Exit::Incomplete => 3,
            Exit::Signalled(signal) => 128 + signal,
        }
    }
}

const AFTER_HELP: &str = "\
Exit codes:
  0    all went well
  1    something failed while running
  2    wrong arguments or configuration; nothing was started
  3    stopped before everything that was taken was final: sinks read it again at the next
       start; of the agent's figures those that were still buffered are gone
  130  a second SIGINT, and 143 a second SIGTERM: left at once

Signals:
  SIGTERM and SIGINT drain what is in flight, commit, and leave within shutdown_timeout.
  A second one leaves at once; nothing is lost, only read again.

Every key of a configuration file can be set by the environment (OUTFLOW_KAFKA__COMMIT_INTERVAL=5s)
and by flags (--set kafka.commit_interval=5s). config/reference.toml has them all.";

#[derive(Debug, Parser)]
#[command(name = "outflow", version, about, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one or several sinks, each with its own file, consumer group and threads
    Run {
        #[command(flatten)]
        files: Files,
    },
    /// Say everything that is wrong with configuration files, with file, line and what to do
    Check {
        #[command(flatten)]
        files: Files,
        /// Ask the servers, too: topics, group, index, path, permissions, receivers of notifications
        #[arg(long)]
        connect: bool,
        /// Send a test incident and its end through this notifier, as its [[notify]] section has it
        #[arg(long, value_name = "NAME")]
        test_notify: Option<String>,
    },
    /// Print the effective configuration, and where each value came from; secrets aren't shown
    Config {
        #[command(flatten)]
        files: Files,
    },
    /// Show a sink's consumer group, move it, or let members leave
    Group {
        #[command(subcommand)]
        command: group::GroupCommand,
    },
    /// Take over HDFS commit logs of another cluster, topic or group; shows what that means, does it with --yes
    Adopt(adopt::Adopt),
    /// Look at a sink's dead letters, and replay them
    Deadletters {
        #[command(subcommand)]
        command: deadletters::DeadlettersCommand,
    },
    /// Watch the consumer groups of whole clusters: Burrow's verdicts, API and metrics
    Monitor {
        /// The monitor's configuration file
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Set a key, over file and environment; a cluster's key reaches every cluster
        #[arg(long, value_name = "SECTION.KEY=VALUE")]
        set: Vec<String>,
    },
    /// Is a process of this configuration well? Asks its admin server; for health checks of containers and services
    Health(health::Health),
    /// How far behind are groups, and will they catch up? Prints once; the exit code says whether all is well
    Lag(lag::Lag),
    /// Watch a running process in the terminal: sinks and groups with state, lag, and why
    #[cfg(feature = "top")]
    Top(top::Top),
    /// Is everything there? Compare Kafka with the sinks, and name what is missing, doubled or changed; reads only
    Verify(verify::Verify),
    /// Collect this host's CPU and memory figures and produce them to Kafka
    Agent {
        /// The agent's configuration file
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Set a key, over file and environment
        #[arg(long, value_name = "SECTION.KEY=VALUE")]
        set: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Files {
    /// A configuration file for each sink
    #[arg(long, short, required = true, num_args = 1.., value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Set a key, over files and environment; it reaches every file that has its section
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// What all sinks of the process may hold together; those whose file sets no memory share what the others leave
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
}

impl Files {
    /// Loads those of sinks, which run in one process.
    fn load_sinks(&self, sinks: &[PathBuf]) -> Result<Outcome<Vec<Loaded<Settings>>>, Problems> {
        match (sinks, self.memory, self.config.first()) {
            ([], Some(_), Some(file)) => {
                let place = Place::WholeFile(file.clone());
                let what = "--memory is for sinks, and no file describes one";
                let problem = Problem::new("memory", place, what).help("leave it out");
                Err(Problems(vec![problem]))
            }
            ([], ..) => Ok(Outcome {
                loaded: Vec::new(),
                warnings: Problems::default(),
            }),
            _ => config::load_process(sinks, &self.set, self.memory, &Host),
        }
    }
}

fn size(text: &str) -> Result<u64, &'static str> {
    parse_bytes(text).ok_or("write a number and a unit: 512MiB, 1GiB")
}

/// The command line itself, for man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the binary.
pub fn main() -> Exit {
    match Cli::parse().command {
        Command::Run { files } => run::run(&files),
        Command::Check {
            files,
            connect,
            test_notify,
        } => check::check(&files, connect, test_notify.as_deref()),
        Command::Config { files } => show(&files),
        Command::Group { command } => group::group(&command),
        Command::Adopt(arguments) => adopt::adopt(&arguments),
        Command::Deadletters { command } => deadletters::deadletters(&command),
        Command::Monitor { config, set } => monitor::run(&config, &set),
        Command::Health(arguments) => health::health(&arguments),
        Command::Lag(arguments) => lag::lag(&arguments),
        #[cfg(feature = "top")]
        Command::Top(arguments) => top::top(&arguments),
        Command::Verify(arguments) => verify::verify(&arguments),
        Command::Agent { config, set } => agent::run(&config, &set),
    }
}

fn show(files: &Files) -> Exit {
    let ByKind {
        sinks,
        agents,
        monitors,
    } = by_kind(&files.config);
    let mut text = String::new();
    let mut problems = Problems::default();
    let loaded = keep(files.load_sinks(&sinks), &mut problems);
    text.extend(loaded.iter().flatten().map(shown));
    for agent in &agents {
        let loaded = keep(config::load_agent(agent, &files.set, &Host), &mut problems);
        text.extend(loaded.as_ref().map(shown));
    }
    for monitor in &monitors {
        let loaded = keep(
            config::load_monitor(monitor, &files.set, &Host),
            &mut problems,
        );
        text.extend(loaded.as_ref().map(shown));
    }
    say(&problems);
    if problems.has_errors() {
        return Exit::Misused;
    }
    print(&text);
    Exit::Fine
}

/// A file's effective configuration.
fn shown<T>(loaded: &Loaded<T>) -> String {
    format!("# {}\n{}\n", loaded.file.display(), loaded.effective)
}

/// What was loaded, unless something is wrong with it; what there is to say goes to `problems`.
fn keep<T>(loaded: Result<Outcome<T>, Problems>, problems: &mut Problems) -> Option<T> {
    match loaded {
        Ok(outcome) => {
            problems.0.extend(outcome.warnings.0);
            Some(outcome.loaded)
        }
        Err(more) => {
            problems.0.extend(more.0);
            None
        }
    }
}

/// Files by whose they are.
#[derive(Default)]
struct ByKind {
    sinks: Vec<PathBuf>,
    agents: Vec<PathBuf>,
    monitors: Vec<PathBuf>,
}

fn by_kind(files: &[PathBuf]) -> ByKind {
    let mut by_kind = ByKind::default();
    for file in files {
        let list = match config::kind_of(file, &Host) {
            FileKind::Sink | FileKind::Notifier => &mut by_kind.sinks,
            FileKind::Agent => &mut by_kind.agents,
            FileKind::Monitor | FileKind::Cluster => &mut by_kind.monitors,
        };
        list.push(file.clone());
    }
    by_kind
}

/// Says why nothing was started.
fn fail(error: &crate::error::Error) -> Exit {
    say(&format!("error: {error}\n"));
    Exit::Failed
}

/// The settings of a loaded file, or how to leave: says its mistakes and its warnings.
fn accept<T>(loaded: Result<Outcome<T>, Problems>) -> Result<T, Exit> {
    match loaded {
        Ok(outcome) => {
            say(&outcome.warnings);
            Ok(outcome.loaded)
        }
        Err(problems) => {
            say(&problems);
            Err(Exit::Misused)
        }
    }
}

/// To standard output, as far as somebody reads it.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// To standard error.
fn say(text: &impl std::fmt::Display) {
    let _ = write!(io::stderr(), "{text}");
}
