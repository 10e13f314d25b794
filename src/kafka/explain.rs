//! What a group's descriptions mean, in words: who joined, who left, what moved to whom, who stands in the way.
//! Pure.

use std::collections::BTreeMap;

use super::ffi::groups::{Group, Member};
use crate::error::Error;
use crate::offsets::TopicPartition;

/// Members and movements beyond this many are only counted.
const SHOWN: usize = 8;

/// A member as people know it: by its instance id, or by client id and host, and the start of its own id,
/// since neither need be unique.
pub(super) fn name(member: &Member) -> String {
    let own = member.id.strip_prefix(member.client_id.as_str());
    let own = own.map_or(member.id.as_str(), |own| own.trim_start_matches('-'));
    let own: String = own.chars().take(8).collect();
    let (client, host) = (&member.client_id, member.host.trim_start_matches('/'));
    match &member.instance_id {
        Some(instance) => format!("{instance} ({client} at {host})"),
        None => format!("{client}-{own} at {host}"),
    }
}

/// What has changed since; none if nothing has. `me` is this member's id.
pub(super) fn changes(before: &Group, after: &Group, me: &str) -> Option<String> {
    let without = |these: &'_ Group, those: &Group| -> Vec<String> {
        let gone = |m: &&Member| !those.members.iter().any(|other| is_same(m, other));
        these.members.iter().filter(gone).map(name).collect()
    };
    let (joined, left) = (without(after, before), without(before, after));
    let mut said = Vec::new();
    for (who, what) in [(joined, "joined"), (left, "left")] {
        if !who.is_empty() {
            said.push(format!("{} {what}", list(&who, ", ")));
        }
    }
    let moved = moved(before, after, me);
    if !moved.is_empty() {
        said.push(format!("moved: {}", list(&moved, "; ")));
    }
    (!said.is_empty()).then(|| said.join("; "))
}

/// A static member stays itself over a restart, though its id changes.
fn is_same(a: &Member, b: &Member) -> bool {
    match (&a.instance_id, &b.instance_id) {
        (Some(a), Some(b)) => a == b,
        _ => a.id == b.id,
    }
}

fn moved(before: &Group, after: &Group, me: &str) -> Vec<String> {
    let holders = |group: &Group| -> BTreeMap<TopicPartition, String> {
        let held = |m: &Member| {
            let holder = match m.id == me {
                true => "this worker".to_owned(),
                false => name(m),
            };
            m.partitions
                .clone()
                .into_iter()
                .map(move |p| (p, holder.clone()))
        };
        group.members.iter().flat_map(held).collect()
    };
    let (before, after) = (holders(before), holders(after));
    let mut moves: BTreeMap<(Option<&String>, &String), Vec<&TopicPartition>> = BTreeMap::new();
    for (partition, to) in &after {
        let from = before.get(partition);
        if from != Some(to) {
            moves.entry((from, to)).or_default().push(partition);
        }
    }
    let words = |((from, to), partitions): ((Option<&String>, &String), Vec<&TopicPartition>)| {
        let from = from.map_or(String::new(), |from| format!("from {from} "));
        let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        format!("{} {from}to {to}", list(&names, ", "))
    };
    moves.into_iter().map(words).collect()
}

/// Why a worker holds nothing, if there are more members than partitions.
pub(super) fn idle(group: &Group, me: &str) -> Option<String> {
    let own = group.members.iter().find(|member| member.id == me)?;
    let members = group.members.len();
    let partitions: usize = group.members.iter().map(|m| m.partitions.len()).sum();
    (own.partitions.is_empty() && members > partitions).then(|| {
        format!(
            "the group has more members ({members}) than partitions ({partitions}): this worker takes over when \
             another leaves"
        )
    })
}

/// The group uses another assignor than this worker: what to do.
pub(super) fn mixed(group_id: &str, own: &str, group: &Group) -> Error {
    let theirs = match group.assignor.as_str() {
        "" => "another assignor".to_owned(),
        assignor => format!("the assignor {assignor}"),
    };
    let members = match group.members.is_empty() {
        true => String::new(),
        false => {
            let names: Vec<String> = group.members.iter().map(name).collect();
            format!(" Its members: {}.", list(&names, ", "))
        }
    };
    Error::misconfigured(format!(
        "group {group_id} uses {theirs}, and this worker {own}.{members} {ROLLING}"
    ))
}

/// How a group changes its assignor; the client can't offer an eager and a cooperative one together.
const ROLLING: &str = "This worker joins by itself as soon as they have left or changed. To change a group's \
     assignor: stop all its members, set kafka.partition_assignment_strategy, start them; positions stay. \
     Without a stop (Kafka 4): restart one after another with kafka.group_protocol = \"consumer\", and when all \
     have, one after another with \"classic\" and the new assignor. Or choose another kafka.group_id";

/// Another took this member's instance id.
pub(super) fn fenced(instance: &str, group: Option<&Group>) -> Error {
    let holder = holder(instance, group);
    Error::fenced(format!(
        "kafka.group_instance_id {instance:?} was taken by another process{holder}; this worker stays out, \
         because two would fence each other for ever. Stop one of them, or give each an id of its own, and \
         restart this process"
    ))
}

/// The id that this member wants is held by one that hasn't left.
pub(super) fn unreleased(instance: &str, group: Option<&Group>) -> Error {
    let holder = holder(instance, group);
    Error::unavailable(format!(
        "kafka.group_instance_id {instance:?} is still held by a member that hasn't left{holder}; if that was \
         killed, its session ends by itself (group.consumer.session.timeout.ms, 45 s unless the broker says \
         otherwise), until then this worker tries again; if it runs, give each an id of its own"
    ))
}

fn holder(instance: &str, group: Option<&Group>) -> String {
    let members = group.map(|group| &group.members[..]).unwrap_or_default();
    let holder = members
        .iter()
        .find(|member| member.instance_id.as_deref() == Some(instance));
    holder.map_or(String::new(), |m| {
        let host = m.host.trim_start_matches('/');
        format!(" ({} at {host})", m.client_id)
    })
}

fn list(words: &[String], between: &str) -> String {
    let mut text = words[..words.len().min(SHOWN)].join(between);
    if words.len() > SHOWN {
        text.push_str(&format!("{between}… ({} in all)", words.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, partitions: &[i32]) -> Member {
        Member {
            id: format!("outflow-es-0-{id}"),
            instance_id: None,
            client_id: "outflow-es-0".into(),
            host: "/10.0.0.1".into(),
            partitions: partitions
                .iter()
                .map(|n| TopicPartition::new("t", *n))
                .collect(),
        }
    }

    fn group(members: &[Member]) -> Group {
        Group {
            state: "Stable".into(),
            assignor: "range".into(),
            coordinator: String::new(),
            members: members.to_vec(),
        }
    }

    #[test]
    fn who_joined_and_what_moved() {
        let before = group(&[member("aaaaaaaaaa", &[0, 1])]);
        let after = group(&[member("aaaaaaaaaa", &[0]), member("bbbbbbbbbb", &[1])]);
        assert_eq!(
            changes(&before, &after, "outflow-es-0-aaaaaaaaaa").as_deref(),
            Some(
                "outflow-es-0-bbbbbbbb at 10.0.0.1 joined; moved: t[1] from this worker to outflow-es-0-bbbbbbbb \
                 at 10.0.0.1"
            )
        );
        assert_eq!(
            changes(&after, &before, "outflow-es-0-aaaaaaaaaa").as_deref(),
            Some(
                "outflow-es-0-bbbbbbbb at 10.0.0.1 left; moved: t[1] from outflow-es-0-bbbbbbbb at 10.0.0.1 to \
                 this worker"
            )
        );
        assert_eq!(changes(&after, &after, "x"), None);
    }

    #[test]
    fn a_static_member_that_came_back_neither_joined_nor_left() {
        let fixed = |id: &str| Member {
            instance_id: Some("pod-1".into()),
            ..member(id, &[0])
        };
        assert_eq!(
            changes(&group(&[fixed("a")]), &group(&[fixed("b")]), "x"),
            None
        );
    }

    #[test]
    fn a_line_stays_a_line_with_a_thousand_members() {
        let many: Vec<Member> = (0..1_000).map(|n| member(&n.to_string(), &[n])).collect();
        let text = changes(&group(&[]), &group(&many), "x").expect("changes");
        assert!(text.len() < 2_000 && text.contains("1000 in all"), "{text}");
    }

    #[test]
    fn only_a_worker_too_many_is_idle_for_that_reason() {
        let all = group(&[member("a", &[0]), member("b", &[1]), member("c", &[])]);
        let reason = idle(&all, "outflow-es-0-c").expect("a reason");
        assert!(
            reason.contains("members (3) than partitions (2)"),
            "{reason}"
        );
        assert_eq!(idle(&all, "outflow-es-0-a"), None, "it has one");
        let unsettled = group(&[member("a", &[0, 1]), member("c", &[])]);
        assert_eq!(idle(&unsettled, "outflow-es-0-c"), None, "one will come");
    }

    #[test]
    fn who_has_the_instance_id_is_said() {
        let holder = Member {
            instance_id: Some("pod-1".into()),
            ..member("a", &[0])
        };
        let all = group(&[holder]);
        for error in [fenced("pod-1", Some(&all)), unreleased("pod-1", Some(&all))] {
            assert!(error.what.contains("(outflow-es-0 at 10.0.0.1)"), "{error}");
        }
        assert!(!fenced("pod-1", None).what.contains('('), "nobody is known");
    }
}
