//! `outflow adopt`: takes over commit logs that are of another cluster, topic or group, or that end before the
//! group's offset. What each says, what is now, and where reading would go on is shown first.

use std::collections::BTreeMap;

use clap::Args;

use super::group::{
    CUT, OUTSIDE, OneFile, Plan, Planned, Which, failed, finish, load, plan, refuse_members,
    refuse_to_double, runtime, settle,
};
use super::{Exit, print};
use crate::config::settings::{Settings, SinkSettings};
use crate::error::Error;
use crate::kafka::group::target::Target;
use crate::kafka::group::{GroupClient, Standing, View};
use crate::offsets::Note;
use crate::sinks::hdfs::log::Identity;
use crate::sinks::hdfs::log_admin::{LogAdmin, Seen};
use crate::sinks::hdfs::moves::{live, replaced};

#[derive(Debug, Args)]
pub(super) struct Adopt {
    #[command(flatten)]
    file: OneFile,
    /// Where to go on: earliest, latest, an offset, by_duration:…, by_timestamp:…; the log's end unless the topic
    /// is another
    #[arg(long, value_parser = Target::parse)]
    to: Option<Target>,
    #[command(flatten)]
    which: Which,
}

/// Shows which logs are another's, and takes them over if that was said.
pub(super) fn adopt(arguments: &Adopt) -> Exit {
    adopt_or_exit(arguments).unwrap_or_else(|exit| exit)
}

fn adopt_or_exit(arguments: &Adopt) -> Result<Exit, Exit> {
    let settings = load(&arguments.file)?;
    let selection = arguments.which.selection()?;
    let SinkSettings::Hdfs(hdfs) = &settings.sink else {
        let what = "Elasticsearch has no commit log; where its group goes on is moved with `outflow group reset`";
        return Err(failed(&Error::misconfigured(what)));
    };
    let client = GroupClient::new(&settings).map_err(|e| failed(&e))?;
    let view = client.view(&selection).map_err(|e| failed(&e))?;
    refuse_members(&view, &settings.kafka.group_id)?;
    let (admin, runtime) = (LogAdmin::new(hdfs, "adopt"), runtime()?);
    let work = || -> Result<Exit, Error> {
        let ids: Vec<_> = view
            .partitions
            .iter()
            .map(|s| s.partition.clone())
            .collect();
        let seen = runtime.block_on(admin.look_at(&ids))?;
        let strange = strange(&settings, &view, seen);
        if strange.is_empty() {
            print(
                "Nothing to adopt: every log is of this cluster, topic and group, and none ends before the group's offset.\n",
            );
            return Ok(Exit::Fine);
        }
        let targets = targets(&client, arguments.to, &strange)?;
        let entries = {
            let seen = strange
                .iter()
                .map(|s| (s.standing.partition.clone(), s.seen.clone()));
            settle(&admin, &runtime, &seen.collect(), |_, _| true)?
        };
        let mut plan = Plan::default();
        for (stranger, (to, instead_of)) in strange.into_iter().zip(targets) {
            let id = &stranger.standing.partition;
            let entries = entries.get(id).map_or(&[][..], Vec::as_slice);
            if !stranger.is_same_topic() {
                let at_risk = replaced(&live(entries), to).paths;
                let standing = runtime.block_on(admin.standing(at_risk))?;
                refuse_collisions(&hdfs.base, &stranger, to, &standing)?;
            }
            let (at, log) = plan::plan_log(
                &stranger.seen,
                entries,
                stranger.ours,
                "adopt",
                to,
                stranger.standing.log_start,
            );
            let cut = (at != to).then_some((instead_of.map_or(to, |(asked, _)| asked), CUT));
            plan.0.push(Planned {
                from: Some(stranger.seen.newest.end),
                to: at,
                instead_of: cut.or(instead_of),
                log,
                begins: None,
                standing: stranger.standing,
            });
        }
        refuse_to_double(hdfs, &plan, &runtime)?;
        finish(&plan, &settings, arguments.which.yes, |plan| {
            plan.carry_out(&client, Some((&admin, &runtime)))
        })
    };
    work().map_err(|error| failed(&error))
}

/// A log that the partition would stop at.
struct Stranger {
    standing: Standing,
    seen: Seen,
    ours: Identity,
}

impl Stranger {
    fn is_same_topic(&self) -> bool {
        self.seen.newest.identity.topic_id == self.ours.topic_id
    }
}

fn strange(
    settings: &Settings,
    view: &View,
    mut seen: BTreeMap<crate::offsets::TopicPartition, Seen>,
) -> Vec<Stranger> {
    let mut strange = Vec::new();
    for standing in &view.partitions {
        let Some(seen) = seen.remove(&standing.partition) else {
            continue;
        };
        let ours = plan::identity(settings, &view.cluster_id, standing);
        let committed = standing.committed.as_ref();
        let is_behind = committed.is_some_and(|c| c.records_end() > seen.newest.end);
        // A log that was taken over already, by a run that ended before the group's offset was set.
        let note = committed.and_then(|committed| Note::parse(&committed.metadata));
        let is_half = note.is_some_and(|note| note.topic_id != standing.topic_id);
        if seen.newest.identity != ours || is_behind || is_half {
            strange.push(Stranger {
                standing: standing.clone(),
                seen,
                ours,
            });
        }
    }
    strange
}

type At = (i64, Option<(i64, &'static str)>);

/// Where each goes on: as said, or else at its log's end, if that means anything.
fn targets(
    client: &GroupClient,
    to: Option<Target>,
    strange: &[Stranger],
) -> Result<Vec<At>, Error> {
    if let Some(to) = to {
        let standings: Vec<Standing> = strange.iter().map(|s| s.standing.clone()).collect();
        let found = client.resolve(to, &standings)?;
        let at = |(to, asked): (i64, Option<i64>)| (to, asked.map(|asked| (asked, OUTSIDE)));
        return Ok(found.into_iter().map(at).collect());
    }
    let at = |stranger: &Stranger| {
        let Standing {
            partition,
            log_start,
            log_end,
            ..
        } = &stranger.standing;
        let end = stranger.seen.newest.end;
        if !stranger.is_same_topic() {
            return Err(Error::misconfigured(format!(
                "{partition}: the log is of another topic of this name (its id was {}, is {}), whose offsets mean \
                 nothing here; say where to go on, such as --to earliest: Kafka has [{log_start}, {log_end})",
                stranger.seen.newest.identity.topic_id, stranger.ours.topic_id
            )));
        }
        match (*log_start..=*log_end).contains(&end) {
            true => Ok((end, None)),
            false => Err(Error::misconfigured(format!(
                "{partition}: the log ends at {end}, and Kafka has [{log_start}, {log_end}); say where to go on, \
                 such as --to earliest"
            ))),
        }
    };
    strange.iter().map(at).collect()
}

/// Files of the topic that was there before keep their names, and no file is ever overwritten: a partition would
/// stop at one in its way.
fn refuse_collisions(
    base: &str,
    stranger: &Stranger,
    to: i64,
    standing: &[String],
) -> Result<(), Error> {
    let Some(first) = standing.first() else {
        return Ok(());
    };
    let id = &stranger.standing.partition;
    let folder = first.split('/').next().unwrap_or(first);
    Err(Error::misconfigured(format!(
        "{id}: {} files of the topic that was there before have offsets from {to} on, such as {base}/{first}: the new \
         topic's files may want the same names, and no file is overwritten. Move them to where they don't stand in \
         the way, and try again: hdfs dfs -mv {base}/{folder} {base}-{folder}-before",
        standing.len()
    )))
}
