//! What must hold in every state of the world.

use std::collections::BTreeMap;

use outflow::sinks::hdfs::log::{Entry, FileEntry, Guards, names};

use crate::namespace::{Content, Namespace, Node};
use crate::world::{BASE, TOPIC, World, identity, live};

/// The entries of the log in `folder`, by number: those in the folder and those in history files.
fn entries(namespace: &Namespace, folder: &str) -> Result<Vec<Entry>, String> {
    let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
    for (path, content, is_closed) in namespace.files() {
        let Some(name) = path
            .strip_prefix(folder)
            .and_then(|name| name.strip_prefix('/'))
        else {
            continue;
        };
        let (lines, is_entry): (Vec<&[u8]>, bool) = match content {
            Content::Bytes(bytes) if names::parse_entry(name).is_some() => (vec![bytes], true),
            Content::Bytes(bytes) if name.starts_with("history/") => {
                let lines = bytes.split(|byte| *byte == b'\n');
                (lines.filter(|line| !line.is_empty()).collect(), false)
            }
            _ => continue,
        };
        if !is_closed {
            return Err(format!("{path} counts and is still open"));
        }
        for line in lines {
            let seq = match names::parse_entry(name) {
                Some((seq, _)) => seq,
                None => {
                    let value: serde_json::Value =
                        serde_json::from_slice(line).map_err(|e| format!("{path}: {e}"))?;
                    value["seq"].as_u64().ok_or("no seq")?
                }
            };
            let entry = Entry::read(path, seq, line).map_err(|e| e.to_string())?;
            match entries.insert(seq, entry.clone()) {
                Some(before) if before != entry => {
                    return Err(format!("there are two entries {seq}"));
                }
                Some(_) if is_entry && path.ends_with(".json") => {
                    return Err(format!("entry {seq} is rolled and isn't done"));
                }
                _ => {}
            }
        }
    }
    let entries: Vec<Entry> = entries.into_values().collect();
    for (seq, pair) in entries.windows(2).enumerate() {
        let follows = pair[1].moved.as_ref().map_or(pair[1].first, |m| m.from);
        if pair[0].end != follows || pair[1].seq != seq as u64 + 1 {
            return Err(format!(
                "entry {} doesn't follow entry {}",
                pair[1].seq, pair[0].seq
            ));
        }
    }
    match entries.first() {
        Some(first) if first.seq == 0 => Ok(entries),
        _ => Err("there is no entry 0".to_owned()),
    }
}

/// The owner's folder, once there is a log.
fn log_folder(namespace: &Namespace) -> Result<Option<String>, String> {
    let partition = format!("{BASE}/_outflow/{TOPIC}/0");
    let mut owners = namespace.folders().filter(|path| {
        path.strip_prefix(&partition)
            .and_then(|name| name.strip_prefix('/'))
            .is_some_and(|name| !name.contains('/'))
    });
    let owner = owners.next().map(str::to_owned);
    match owners.next() {
        Some(_) => Err("the log has two owners' folders".to_owned()),
        None => Ok(owner),
    }
}

/// The log's folder and its entries, if there is one.
pub fn log(namespace: &Namespace) -> Result<Option<(String, Vec<Entry>)>, String> {
    match log_folder(namespace)? {
        Some(folder) => entries(namespace, &folder).map(|entries| Some((folder, entries))),
        None => Ok(None),
    }
}

/// Checks everything; says what is wrong.
pub fn check(world: &World) -> Result<(), String> {
    if let Some(wrong) = &world.wrong {
        return Err(wrong.clone());
    }
    if world.namespace.was_overwritten {
        return Err("a file was overwritten".to_owned());
    }
    at_most_once(world)?;
    let Some((folder, entries)) = world.namespace.log()? else {
        return match world.committed {
            Some(_) if !world.was_reset => Err("Kafka's offset is ahead of the log".to_owned()),
            _ => Ok(()),
        };
    };
    let end = entries.last().map_or(0, |entry| entry.end);
    if !world.was_reset && world.committed.is_some_and(|committed| committed > end) {
        return Err(format!(
            "Kafka's offset {:?} is ahead of the log's {end}",
            world.committed
        ));
    }
    let live = live(entries);
    entries
        .iter()
        .try_for_each(|entry| nothing_lost(world, folder, entry, &live))?;
    if world.was_moved {
        // Offsets from before the move mean nothing for the log; a new owner publishes all (`recovers`).
        return Ok(());
    }
    let final_up_to = world
        .acked()
        .chain(world.committed.filter(|_| !world.was_reset))
        .max();
    all_published(world, folder, entries, final_up_to.unwrap_or(0))
}

/// What was acked, or may be, is published.
pub fn all_published(world: &World, folder: &str, log: &[Entry], end: i64) -> Result<(), String> {
    let state = names::EntryState::Committed;
    let waits = |entry: &&Entry| {
        let name = names::entry(entry.seq, state);
        world.namespace.get(&format!("{folder}/{name}")).is_some()
    };
    match log.iter().filter(|entry| entry.end <= end).find(waits) {
        Some(entry) => Err(format!("the records {} aren't published", entry.range())),
        None => Ok(()),
    }
}

/// Whoever opens the log next, without trouble, ends with every record published once.
pub fn recovers(world: &World, guards: Guards) -> Result<(), String> {
    let Some(after) = world.recover(guards) else {
        return Ok(());
    };
    check(&after)?;
    let Some((folder, entries)) = after.namespace.log()? else {
        return Err("there is no log".to_owned());
    };
    all_published(&after, folder, entries, i64::MAX)
}

/// Every record stands in at most one published file (those that people moved away count).
fn at_most_once(world: &World) -> Result<(), String> {
    let mut seen: Vec<(u8, i64, i64)> = world.taken.clone();
    let published = format!("{BASE}/{TOPIC}/");
    for (path, content, is_closed) in world.namespace.files() {
        if !path.starts_with(&published) {
            continue;
        }
        if !is_closed {
            return Err(format!("{path} is published and still open"));
        }
        if let Content::Records { topic, first, end } = content {
            seen.push((*topic, *first, *end));
        }
    }
    seen.sort_unstable();
    match seen
        .windows(2)
        .find(|w| w[0].0 == w[1].0 && w[1].1 < w[0].2)
    {
        Some(twice) => Err(format!("records are published twice: {twice:?}")),
        None => Ok(()),
    }
}

/// What an entry names is published, or was and people took it, or waits in the log's folder.
fn nothing_lost(
    world: &World,
    folder: &str,
    entry: &Entry,
    live: &[&FileEntry],
) -> Result<(), String> {
    let topic = (0..=world.topic)
        .find(|topic| identity(*topic) == entry.identity)
        .unwrap_or(u8::MAX);
    for file in entry.files.iter().filter(|f| live.contains(f)) {
        let wanted = Content::Records {
            topic,
            first: file.first,
            end: file.last + 1,
        };
        let is_at = |path: String| match world.namespace.get(&path) {
            Some(Node::File {
                content, is_closed, ..
            }) => *is_closed && *content == wanted,
            _ => false,
        };
        let committed = names::entry(entry.seq, names::EntryState::Committed);
        let is_done = world
            .namespace
            .get(&format!("{folder}/{committed}"))
            .is_none();
        let is_taken = world.taken.contains(&(topic, file.first, file.last + 1));
        let waits = !is_done && is_at(format!("{folder}/{}", file.temp));
        if !is_at(format!("{BASE}/{}", file.path)) && !is_taken && !waits {
            return Err(format!(
                "the records {} to {} are lost",
                file.first, file.last
            ));
        }
    }
    Ok(())
}
