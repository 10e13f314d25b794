//! `outflow group leave`: static members leave for good.

use std::time::Instant;

use super::super::table::Table;
use super::super::{Exit, print};
use super::{OneFile, failed, load};
use crate::config::kinds::format_duration;
use crate::config::settings::Settings;
use crate::error::Error;
use crate::kafka;
use crate::kafka::group::target::Selection;
use crate::kafka::group::{Group, GroupClient, Left, Member};

pub(super) fn leave(file: &OneFile, ids: &[String], yes: bool) -> Result<Exit, Exit> {
    let settings = load(file)?;
    let client = GroupClient::new(&settings).map_err(|e| failed(&e))?;
    let view = client.view(&Selection::default()).map_err(|e| failed(&e))?;
    let Some(group) = &view.group else {
        return Err(failed(&Error::misconfigured(
            "kafka.assign joins no group: there is nothing to leave",
        )));
    };
    let members = chosen(&settings, group, ids).map_err(|e| failed(&e))?;
    print(&show(&members));
    if !yes {
        print(
            "\nNothing was changed; add --yes to let them leave. One whose process still runs is fenced: that process \
             stops reading for good.\n",
        );
        return Ok(Exit::Fine);
    }
    let mut topics: Vec<String> = view
        .partitions
        .iter()
        .map(|s| s.partition.topic.to_string())
        .collect();
    topics.dedup();
    for member in members {
        let id = member.instance_id.as_deref().unwrap_or_default();
        let began = Instant::now();
        let left =
            kafka::group::leave(&client, id, &group.assignor, &topics).map_err(|e| failed(&e))?;
        let took = format_duration(std::time::Duration::from_millis(
            began.elapsed().as_millis() as u64,
        ));
        print(&match left {
            Left::Gone => {
                format!("{id} has left, after {took}; the other members take over its partitions\n")
            }
            Left::Empty => format!(
                "{id} holds no partitions any more, after {took}; the brokers forget it when its session ends \
                 (group.consumer.session.timeout.ms, 45 s unless changed)\n"
            ),
        });
    }
    Ok(Exit::Fine)
}

/// The members that are meant.
fn chosen(settings: &Settings, group: &Group, ids: &[String]) -> Result<Vec<Member>, Error> {
    let own = settings.kafka.group_instance_id.as_ref();
    let is_own = |id: &str| {
        own.is_some_and(|own| {
            let worker = id.strip_prefix(own.as_str());
            worker.is_some_and(|rest| {
                rest.is_empty()
                    || rest
                        .strip_prefix('-')
                        .and_then(|n| n.parse::<usize>().ok())
                        .is_some_and(|n| (1..settings.workers).contains(&n))
            })
        })
    };
    if ids.is_empty() && own.is_none() {
        return Err(Error::misconfigured(
            "which member? Name it with --instance-id; kafka.group_instance_id isn't set. `outflow group describe` \
             shows the members",
        ));
    }
    let is_static = |id: &str| {
        let mut members = group.members.iter();
        members.any(|member| member.instance_id.as_deref() == Some(id))
    };
    if let Some(stranger) = ids.iter().find(|id| !is_static(id)) {
        return Err(Error::misconfigured(format!(
            "the group {} ({}) has no member with the instance id {stranger}; `outflow group describe` shows them",
            settings.kafka.group_id, group.state
        )));
    }
    let is_meant = |member: &&Member| {
        let id = member.instance_id.as_deref();
        id.is_some_and(|id| match ids.is_empty() {
            true => is_own(id),
            false => ids.iter().any(|wanted| wanted == id),
        })
    };
    let members: Vec<Member> = group.members.iter().filter(is_meant).cloned().collect();
    match members.is_empty() {
        true => Err(Error::misconfigured(format!(
            "the group {} ({}) has no member with the instance id {}: it has left already, or its session has ended",
            settings.kafka.group_id,
            group.state,
            own.map_or("", String::as_str)
        ))),
        false => Ok(members),
    }
}

fn show(members: &[Member]) -> String {
    let mut table = Table::new(&[
        "INSTANCE-ID",
        "CLIENT-ID",
        "HOST",
        "PARTITIONS",
        "CONSUMER-ID",
    ]);
    for member in members {
        table.row(vec![
            member.instance_id.clone().unwrap_or_default(),
            member.client_id.clone(),
            member.host.clone(),
            member.partitions.len().to_string(),
            member.id.clone(),
        ]);
    }
    table.to_string()
}
