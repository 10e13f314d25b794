//! Names and paths: what is safe to make of topics and values, and back.
//!
//! A path is a fixed base and encoded segments, so nothing that a record holds can climb out of the base
//! or make a file that readers skip. Encodings are injective: different inputs never share a path.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// The longest name that HDFS takes by default.
const MAX_SEGMENT_BYTES: usize = 255;
/// The folder below the base that is ours.
pub const OWN_FOLDER: &str = "_outflow";
/// Behind a topic's name: the log of its replayed dead letters.
const REPLAYS: &str = "+replays";
/// A field without a value (as Hive names it).
pub const NULL_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";
/// A field whose value is empty.
pub const EMPTY_VALUE: &str = "__EMPTY__";

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Percent-encodes everything but letters, digits, `_`, `-` and `.`, and the first byte also if it is in `first`.
fn encode(bytes: &[u8], first: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 8);
    for (i, &byte) in bytes.iter().enumerate() {
        if is_plain(byte) && !(i == 0 && first.contains(&byte)) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Cuts what is longer than `max` bytes, and puts a hash of the whole in place of the rest. `~` is never in an
/// encoded name otherwise, so a cut name can't be an uncut one.
fn cut(mut name: String, max: usize) -> String {
    if name.len() > max {
        let hash = fnv128(name.as_bytes());
        let mut keep = max.saturating_sub(33);
        while !name.is_char_boundary(keep) {
            keep -= 1;
        }
        name.truncate(keep);
        let _ = write!(name, "~{hash:032x}");
    }
    name
}

/// A short name for `bytes`, of 16 hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("{:016x}", fnv128(bytes) as u64)
}

/// FNV-1a, 128 bits: stable for ever, as names on disk must be. Not against people who want a collision: what
/// they'd get is a partition that stops, since no file is ever overwritten.
fn fnv128(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .fold(0x6c62272e07bb014262b821756295c58d, |hash, &byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000000001000000000000000000013b)
        })
}

/// A topic's name as a folder. Readers skip names that begin with `_` or `.`, so these are encoded; `+` never
/// is in a topic's name, so that no topic's folder is that of another's replays.
pub fn topic_segment(topic: &str) -> String {
    match topic.strip_suffix(REPLAYS) {
        Some(topic) => {
            let max = MAX_SEGMENT_BYTES - REPLAYS.len();
            cut(encode(topic.as_bytes(), b"._"), max) + REPLAYS
        }
        None => cut(encode(topic.as_bytes(), b"._"), MAX_SEGMENT_BYTES),
    }
}

/// What stands for `topic` in the place of its logs where the dead letters of it that were replayed are noted.
pub fn replays_of(topic: &str) -> String {
    format!("{topic}{REPLAYS}")
}

/// Whether this stands for a topic's replays.
pub(super) fn is_of_replays(topic: &str) -> bool {
    topic.ends_with(REPLAYS)
}

/// One segment of a partition path, from any bytes: `None` is a missing value.
fn value(bytes: Option<&[u8]>) -> Cow<'static, str> {
    match bytes {
        None => NULL_VALUE.into(),
        Some([]) => EMPTY_VALUE.into(),
        Some(bytes) => {
            let plain = encode(bytes, b".");
            if plain == NULL_VALUE || plain == EMPTY_VALUE {
                encode(bytes, b"_").into()
            } else {
                plain.into()
            }
        }
    }
}

/// The folders between a topic's folder and its files.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PartitionPath(String);

impl PartitionPath {
    /// No folders: files stand in the topic's folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more folder, `<field>=<value>`; `None` is a missing value.
    pub fn field(mut self, field: &str, bytes: Option<&[u8]>) -> Self {
        let segment = format!("{}={}", encode(field.as_bytes(), b"._"), value(bytes));
        if !self.0.is_empty() {
            self.0.push('/');
        }
        self.0.push_str(&cut(segment, MAX_SEGMENT_BYTES));
        self
    }

    /// As it stands in a path: without a slash at either end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A committed file's name without its folder: `<topic>+<partition>+<first>+<last>.<ext>`, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileName {
    /// The topic's segment (see [`topic_segment`]), shortened if the name would be too long.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// The last offset.
    pub last: i64,
    /// The extension, without its dot: `jsonl`, `jsonl.zst`.
    pub extension: String,
}

impl FileName {
    /// The name for a file of `topic`.
    pub fn new(topic: &str, partition: i32, first: i64, last: i64, extension: &str) -> Self {
        let extension = cut(encode(extension.as_bytes(), b"."), 64);
        FileName {
            topic: cut(
                encode(topic.as_bytes(), b"._"),
                MAX_SEGMENT_BYTES - 55 - extension.len(),
            ),
            partition: partition.max(0),
            first: first.max(0),
            last: last.max(0),
            extension,
        }
    }

    /// The name for a file of replayed dead letters, `<dead letter topic>+<topic>+<partition>+<first>+<last>.<ext>`:
    /// `first` and `last` are the offsets that the records have in their partition, of which not all between are in
    /// it. No other file of replays begins with `first`, since a record is replayed once.
    pub fn of_replays(dead_letters: &str, name: FileName) -> Self {
        let topic = cut(name.topic, 100);
        let room = MAX_SEGMENT_BYTES - 56 - topic.len() - name.extension.len();
        let from = cut(encode(dead_letters.as_bytes(), b"._"), room);
        FileName {
            topic: format!("{from}+{topic}"),
            ..name
        }
    }

    /// Reads a name back; `None` if it isn't one, or one of replayed dead letters.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('+');
        let (topic, partition, first, rest) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (last, extension) = rest.split_once('.')?;
        let offset = |digits: &str| match digits.len() {
            20 => number(digits),
            _ => None,
        };
        let parsed = FileName {
            topic: topic.to_owned(),
            partition: number(partition)?,
            first: offset(first)?,
            last: offset(last)?,
            extension: extension.to_owned(),
        };
        // Only what we'd write ourselves: no signs, no leading zeros in the partition, nothing after, and names
        // as they are encoded.
        let is_encoded = |text: &str| {
            let good = |byte| is_plain(byte) || matches!(byte, b'%' | b'~');
            !text.is_empty() && text.bytes().all(good)
        };
        let is_ours = parsed.to_string() == name && is_encoded(topic) && is_encoded(extension);
        is_ours.then_some(parsed)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileName {
            topic,
            partition,
            first,
            last,
            extension,
        } = self;
        write!(f, "{topic}+{partition}+{first:020}+{last:020}.{extension}")
    }
}

fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// A committed file's path relative to the base (what a `FileEntry` wants).
pub fn final_path(topic: &str, partition_path: &PartitionPath, name: &FileName) -> String {
    let topic = topic_segment(topic);
    match partition_path.as_str() {
        "" => format!("{topic}/{name}"),
        path => format!("{topic}/{path}/{name}"),
    }
}

/// Whether `path` is a plain path below the base, and not below our own folder.
pub fn is_final(path: &str) -> bool {
    let plain = |s: &str| {
        !matches!(s, "" | "." | "..") && s.len() <= MAX_SEGMENT_BYTES && !s.contains([':', '\0'])
    };
    path.len() <= 7000
        && path.contains('/')
        && path.split('/').all(plain)
        && !path.starts_with("_outflow/")
}

/// The name of an owner's `number`th temp file.
pub fn temp(owner: &str, number: u64) -> String {
    format!("{}-{number}.tmp", owner_segment(owner))
}

/// Whether `name` is a temp file's.
pub(super) fn is_temp(name: &str) -> bool {
    name.len() <= MAX_SEGMENT_BYTES && name.ends_with(".tmp") && !name.contains(['/', '\0', ':'])
}

/// An owner's id as it stands in names.
fn owner_segment(owner: &str) -> String {
    cut(encode(owner.as_bytes(), b"."), 128)
}

/// Where the logs of a topic's partitions are.
pub fn logs_folder(base: &str, topic: &str) -> String {
    format!("{base}/{OWN_FOLDER}/{}", topic_segment(topic))
}

/// A new partition's folder, while it is prepared aside.
pub(super) fn aside_folder(owner: &str, number: u64) -> String {
    format!(".new-{}-{number}", owner_segment(owner))
}

/// The name of an owner's `number`th entry, while it is written aside.
pub(super) fn aside_entry(owner: &str, number: u64) -> String {
    format!("{}-{number}.entry", owner_segment(owner))
}

/// The name of an owner's folder in a partition's log: `<epoch>-<identity>-<owner>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnerFolder {
    /// How many openings there were.
    pub epoch: u64,
    /// A digest of the log's identity: a wrong owner sees it before it fences the right one.
    pub digest: String,
    /// The owner's id, encoded.
    pub owner: String,
}

impl OwnerFolder {
    /// The folder of `owner`.
    pub(super) fn new(epoch: u64, digest: &str, owner: &str) -> Self {
        OwnerFolder {
            epoch,
            digest: digest.to_owned(),
            owner: owner_segment(owner),
        }
    }

    /// Reads a name back; `None` if it isn't one.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, '-');
        let (epoch, digest, owner) = (parts.next()?, parts.next()?, parts.next()?);
        let parsed = OwnerFolder {
            epoch: number(epoch)?,
            digest: digest.to_owned(),
            owner: owner.to_owned(),
        };
        (parsed.to_string() == name && !digest.is_empty() && !owner.is_empty()).then_some(parsed)
    }
}

impl fmt::Display for OwnerFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.epoch, self.digest, self.owner)
    }
}

/// Whether an entry's files are all published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryState {
    /// `<seq>.json`: committed.
    Committed,
    /// `<seq>.done`: published too.
    Done,
}

/// The name of entry `seq`.
pub fn entry(seq: u64, state: EntryState) -> String {
    match state {
        EntryState::Committed => format!("{seq:020}.json"),
        EntryState::Done => format!("{seq:020}.done"),
    }
}

/// Reads an entry's name back; `None` if it isn't one.
pub fn parse_entry(name: &str) -> Option<(u64, EntryState)> {
    let (digits, extension) = name.split_once('.')?;
    let state = match extension {
        "json" => EntryState::Committed,
        "done" => EntryState::Done,
        _ => return None,
    };
    let seq = number(digits)?;
    (entry(seq, state) == name).then_some((seq, state))
}

/// The name of the history file that holds the entries `from` to `to`, both inclusive.
pub fn history(from: u64, to: u64) -> String {
    format!("{from:020}-{to:020}.jsonl")
}
