//! `outflow group`: a sink's consumer group from outside.

mod describe;
mod leave;
pub(super) mod plan;
mod replays;
mod reset;

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) use self::plan::{Plan, Planned, settle};
pub(super) use self::replays::refuse_to_double;
pub(super) use self::reset::{CUT, OUTSIDE, finish};

use super::{Exit, accept, fail, say};
use crate::config::load_sinks;
use crate::config::settings::Settings;
use crate::config::surroundings::Host;
use crate::error::Error;
use crate::kafka::group::View;
use crate::kafka::group::target::{Selection, Target};

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// Show the group: state, members, offsets, lag, and what the sink knows; reads only
    Describe {
        #[command(flatten)]
        files: super::Files,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Move where the group goes on; shows what that means, and does it with --yes
    Reset {
        #[command(flatten)]
        file: OneFile,
        /// earliest, latest, an offset, by_duration:24h, or by_timestamp:2026-11-01T00:00:00Z
        #[arg(long, value_parser = Target::parse)]
        to: Target,
        #[command(flatten)]
        which: Which,
    },
    /// Let static members leave for good, so that their partitions are given away at once
    Leave {
        #[command(flatten)]
        file: OneFile,
        /// The group.instance.id of a member; kafka.group_instance_id unless given
        #[arg(long, value_name = "ID")]
        instance_id: Vec<String>,
        /// Do it; without, it is only shown
        #[arg(long)]
        yes: bool,
    },
}

/// The sink that is meant.
#[derive(Debug, Args)]
pub(super) struct OneFile {
    /// The sink's configuration file
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
    /// Set a key, over file and environment
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

/// Which partitions are meant, and whether it is meant.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Only these partitions; may be given several times
    #[arg(long, value_name = "TOPIC[:0,2-5]")]
    pub topic: Vec<String>,
    /// Do it; without, it is only shown
    #[arg(long)]
    pub yes: bool,
}

impl Which {
    pub fn selection(&self) -> Result<Selection, Exit> {
        Selection::parse(&self.topic).map_err(|why| {
            say(&format!("error: --topic {why}\n"));
            Exit::Misused
        })
    }
}

/// Does what was asked.
pub(super) fn group(command: &GroupCommand) -> Exit {
    let done = match command {
        GroupCommand::Describe { files, json } => {
            describe::describe(&files.config, &files.set, *json)
        }
        GroupCommand::Reset { file, to, which } => reset::reset(file, *to, which),
        GroupCommand::Leave {
            file,
            instance_id,
            yes,
        } => leave::leave(file, instance_id, *yes),
    };
    done.unwrap_or_else(|exit| exit)
}

/// The settings of one sink.
pub(super) fn load(file: &OneFile) -> Result<Settings, Exit> {
    let loaded = load_sinks(std::slice::from_ref(&file.config), &file.set, &Host);
    let settings = accept(loaded)?
        .into_iter()
        .next()
        .map(|loaded| loaded.settings);
    settings.ok_or(Exit::Misused)
}

/// Says an error, and fails.
pub(super) fn failed(error: &Error) -> Exit {
    fail(error)
}

/// Who is in the group, if anybody is: then nothing may be moved.
pub(super) fn refuse_members(view: &View, group: &str) -> Result<(), Exit> {
    if let Some(pid) = &view.held_by {
        return Err(failed(&Error::unavailable(format!(
            "process {pid} of this machine reads these partitions and keeps their positions: stop it, and try again"
        ))));
    }
    if view.members().is_empty() {
        return Ok(());
    }
    let state = view.group.as_ref().map_or("", |group| &group.state);
    let members = view.members().iter().map(|member| {
        let instance = member.instance_id.as_deref();
        let instance = instance.map_or_else(String::new, |id| format!(", instance id {id}"));
        format!("  {} at {}{instance}\n", member.client_id, member.host)
    });
    let help = match view.members().iter().any(|m| m.instance_id.is_some()) {
        true => {
            "stop them; a static member counts until its session ends, or it leaves with `outflow group leave`"
        }
        false => "stop them, and try again; one that was killed counts until its session ends",
    };
    say(&format!(
        "error: the group {group} has {} members ({}), and offsets that somebody reads on from aren't moved:\n{}= help: \
         {help}\n",
        view.members().len(),
        state,
        members.collect::<String>(),
    ));
    Err(Exit::Failed)
}

/// A runtime for what is asked of HDFS.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    built.map_err(|error| failed(&Error::unavailable(format!("no runtime: {error}"))))
}
