//! `outflow group reset`: shows what moving the group means, and does it.

use std::collections::BTreeMap;

use super::super::{Exit, print};
use super::plan::{Plan, Planned, identity, plan_log, settle};
use super::replays::refuse_to_double;
use super::{OneFile, Which, failed, load, refuse_members, runtime};
use crate::config::settings::{Settings, SinkSettings};
use crate::error::Error;
use crate::kafka::group::target::Target;
use crate::kafka::group::{GroupClient, Standing, View};
use crate::sinks::hdfs::log::FileEntry;
use crate::sinks::hdfs::log_admin::LogAdmin;
use crate::sinks::hdfs::moves::left_out;

pub(super) fn reset(file: &OneFile, to: Target, which: &Which) -> Result<Exit, Exit> {
    let settings = load(file)?;
    let selection = which.selection()?;
    let client = GroupClient::new(&settings).map_err(|e| failed(&e))?;
    let view = client.view(&selection).map_err(|e| failed(&e))?;
    refuse_members(&view, &settings.kafka.group_id)?;
    let targets = client
        .resolve(to, &view.partitions)
        .map_err(|e| failed(&e))?;
    let wanted: Vec<_> = view.partitions.iter().cloned().zip(targets).collect();
    if client.sink_decides() {
        print(
            "The positions are HDFS's alone, so a process that reads these partitions can't be seen from here: stop it \
             first. One that runs is fenced, and its partitions wait for a person's release.\n\n",
        );
    }
    let done = match &settings.sink {
        SinkSettings::Elasticsearch(_) => {
            let plan = Plan(wanted.into_iter().map(by_offset).collect());
            finish(&plan, &settings, which.yes, |plan| {
                plan.carry_out(&client, None)
            })
        }
        SinkSettings::Hdfs(hdfs) => {
            let (admin, runtime) = (LogAdmin::new(hdfs, "reset"), runtime()?);
            plan(
                &settings,
                &view,
                client.sink_decides(),
                wanted,
                &admin,
                &runtime,
            )
            .and_then(|plan| {
                refuse_to_double(hdfs, &plan, &runtime)?;
                finish(&plan, &settings, which.yes, |plan| {
                    plan.carry_out(&client, Some((&admin, &runtime)))
                })
            })
        }
    };
    done.map_err(|error| failed(&error))
}

/// Shows the plan, and does it if that was said.
pub(in crate::cli) fn finish(
    plan: &Plan,
    settings: &Settings,
    yes: bool,
    carry_out: impl FnOnce(&Plan) -> Result<(), Error>,
) -> Result<Exit, Error> {
    print(&plan.show(settings));
    if !yes {
        print("\nNothing was changed; add --yes to do it.\n");
        return Ok(Exit::Fine);
    }
    carry_out(plan)?;
    print(&format!(
        "\nDone: the group {} goes on there; read back and found true.\n",
        settings.kafka.group_id
    ));
    Ok(Exit::Fine)
}

pub(in crate::cli) const OUTSIDE: &str = "what was asked for lies outside of what Kafka has";
pub(in crate::cli) const CUT: &str =
    "what was asked for lies within a committed file, and no file is cut in two";

/// Where the group's offset decides.
fn by_offset((standing, (to, asked)): (Standing, (i64, Option<i64>))) -> Planned {
    Planned {
        from: standing
            .committed
            .as_ref()
            .map(|committed| committed.offset),
        to,
        instead_of: asked.map(|asked| (asked, OUTSIDE)),
        log: None,
        begins: None,
        standing,
    }
}

/// Records that an earlier reset has taken out of the tree to be written again stand nowhere else.
fn refuse_to_leave_out(
    standing: &Standing,
    files: &[FileEntry],
    folder: &str,
) -> Result<(), Error> {
    let (Some(first), Some(last)) = (
        files.iter().map(|file| file.first).min(),
        files.iter().map(|file| file.last).max(),
    ) else {
        return Ok(());
    };
    Err(Error::rejected(format!(
        "{}: {} files with offsets {first} to {last} were taken out of the tree by an earlier reset, to be written \
         again, and are not written again yet: going forward would leave their records out. Let outflow write them \
         first; they are kept in {folder}/replaced",
        standing.partition,
        files.len()
    )))
}

/// Where the commit log decides.
fn plan(
    settings: &Settings,
    view: &View,
    sink_decides: bool,
    wanted: Vec<(Standing, (i64, Option<i64>))>,
    admin: &LogAdmin,
    runtime: &tokio::runtime::Runtime,
) -> Result<Plan, Error> {
    let ids: Vec<_> = wanted.iter().map(|(s, _)| s.partition.clone()).collect();
    let seen = runtime.block_on(admin.look_at(&ids))?;
    let targets: BTreeMap<_, _> = wanted
        .iter()
        .map(|(standing, (to, _))| (standing.partition.clone(), *to))
        .collect();
    let moves = |id: &_, seen: &crate::sinks::hdfs::log_admin::Seen| {
        targets.get(id).is_some_and(|to| *to != seen.newest.end)
    };
    let entries = settle(admin, runtime, &seen, moves)?;
    let mut plan = Plan::default();
    for (standing, (to, asked)) in wanted {
        let Some(seen) = seen.get(&standing.partition) else {
            // A log begins at the group's offset; without a group, where we say.
            let begins = sink_decides.then(|| identity(settings, &view.cluster_id, &standing));
            let planned = by_offset((standing, (to, asked)));
            plan.0.push(Planned { begins, ..planned });
            continue;
        };
        let ours = identity(settings, &view.cluster_id, &standing);
        if seen.newest.identity != ours {
            return Err(Error::misconfigured(format!(
                "{}: the log {} is of {}, and this is {ours}: look at what it means with `outflow adopt`",
                standing.partition, seen.folder, seen.newest.identity
            )));
        }
        let entries = entries
            .get(&standing.partition)
            .map_or(&[][..], Vec::as_slice);
        let (at, log) = plan_log(seen, entries, ours, "reset", to, standing.log_start);
        refuse_to_leave_out(
            &standing,
            &left_out(entries, seen.newest.end, at),
            &seen.folder,
        )?;
        let cut = (at != to).then_some((asked.unwrap_or(to), CUT));
        plan.0.push(Planned {
            from: Some(seen.newest.end),
            to: at,
            instead_of: cut.or(asked.map(|asked| (asked, OUTSIDE))),
            log,
            begins: None,
            standing,
        });
    }
    Ok(plan)
}
