//! What stands in a file of positions, and how it is read and written whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::offsets::TopicPartition;
use crate::pipeline::source::Committed;

/// The format that is written.
const FORMAT: u32 = 1;

/// The positions of one sink's fixed partitions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions {
    /// The id of the cluster that the offsets belong to; `None` before the first is kept.
    pub cluster_id: Option<String>,
    /// Where each partition stands: what a group would have committed.
    pub partitions: BTreeMap<TopicPartition, Committed>,
}

/// The same as it is written: one line a value, to be read by people.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    cluster_id: String,
    positions: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    topic: String,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: String,
}

/// Where the positions of `sink` are kept.
pub fn path(state_dir: &Path, sink: &str) -> PathBuf {
    state_dir.join(format!("{sink}.positions.json"))
}

/// Reads the file as it is, whoever writes it at the same time; `None` if nothing was ever kept. A file that
/// isn't whole and sound is an error: going on without it would skip records or write all of them again.
pub(super) fn read(path: &Path) -> Result<Option<Positions>, Error> {
    let shown = path.display();
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
        Err(why) => {
            return Err(Error::misconfigured(format!(
                "the positions in {shown} can't be read: {why}"
            )));
        }
    };
    parse(&text).map(Some).map_err(|why| {
        Error::corrupt(format!(
            "the positions in {shown} are damaged: {why}. Nothing is read, so that nothing is skipped: bring \
             back the file from a backup, or move it away and set the positions with `outflow group reset`"
        ))
    })
}

/// Reads what stands in a file. Pure.
pub fn parse(text: &[u8]) -> Result<Positions, String> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let Version { format } = serde_json::from_slice(text).map_err(|why| why.to_string())?;
    if format != FORMAT {
        return Err(format!(
            "format {format} isn't known to this version of outflow, which knows {FORMAT}"
        ));
    }
    let written: Written = serde_json::from_slice(text).map_err(|why| why.to_string())?;
    let mut partitions = BTreeMap::new();
    for line in written.positions {
        let id = TopicPartition::new(line.topic, line.partition);
        if id.partition < 0 || line.offset < 0 {
            return Err(format!("{id} at offset {} can't be", line.offset));
        }
        let position = Committed {
            offset: line.offset,
            leader_epoch: line.leader_epoch,
            metadata: line.metadata,
        };
        if partitions.insert(id.clone(), position).is_some() {
            return Err(format!("{id} stands there twice"));
        }
    }
    Ok(Positions {
        cluster_id: Some(written.cluster_id),
        partitions,
    })
}

/// What is written into a file. Pure.
pub fn print(positions: &Positions) -> io::Result<Vec<u8>> {
    let positions = Written {
        format: FORMAT,
        cluster_id: positions.cluster_id.clone().unwrap_or_default(),
        positions: positions.partitions.iter().map(line).collect(),
    };
    let mut text = serde_json::to_vec_pretty(&positions)?;
    text.push(b'\n');
    Ok(text)
}

/// Replaces the file, so that after a crash at any moment the old one or the new one stands there, whole.
pub(super) fn write(path: &Path, positions: &Positions) -> io::Result<()> {
    let text = print(positions)?;
    // What a crash has left under this name never counted.
    let aside = path.with_extension("json.new");
    let mut file = File::create(&aside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    // The rename itself is durable once the folder is.
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn line((id, position): (&TopicPartition, &Committed)) -> Line {
    Line {
        topic: id.topic.to_string(),
        partition: id.partition,
        offset: position.offset,
        leader_epoch: position.leader_epoch,
        metadata: position.metadata.clone(),
    }
}
