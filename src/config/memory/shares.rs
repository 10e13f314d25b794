//! `--memory`: one budget for all sinks of a process. What the files set themselves is taken off first; those that set
//! nothing share the rest evenly. A share is a value like any other from there on: judged and shown by the same
//! code.

use std::fmt;
use std::path::PathBuf;

use super::super::keys::find;
use super::super::kinds::{Kind, Parsed, format_bytes};
use super::super::layers::Values;
use super::super::problem::{Place, Problem, Problems};

const KEY: &str = "memory";
/// What the origin of a share begins with.
pub(super) const FLAG: &str = "--memory";
/// Shares are whole MiB, so that they can be read.
const MIB: u64 = 1 << 20;

/// Where a sink's `memory` comes from if `--memory` decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The sink's file.
    pub file: PathBuf,
    /// What all sinks of the process may hold together, in bytes.
    pub total: u64,
    /// What other files set for themselves, in bytes.
    pub taken: u64,
    /// How many sinks share what is left.
    pub num_sinks: u64,
}

impl Share {
    fn bytes(&self) -> u64 {
        let left = self.total.saturating_sub(self.taken);
        left / self.num_sinks.max(1) / MIB * MIB
    }

    /// What must be said for a sink to get so many bytes.
    pub fn to_get(&self, bytes: u64) -> String {
        let total = self.num_sinks.saturating_mul(bytes);
        let total = format_bytes(total.saturating_add(self.taken));
        format!("start with {FLAG} {total}")
    }

    /// Where the value came from, within its file.
    pub fn origin(&self) -> String {
        let mut text = format!("{FLAG} {}", format_bytes(self.total));
        if self.taken > 0 {
            text += &format!(", of which other files set {}", format_bytes(self.taken));
        }
        if self.num_sinks > 1 {
            text += &format!(", shared by {} sinks", self.num_sinks);
        }
        text
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, by {}", self.file.display(), self.origin())
    }
}

/// Gives every sink that sets no `memory` its share of `total` bytes, and says if that can't be.
pub fn share(total: u64, sinks: &mut [(&mut Values, &mut Problems)]) {
    if sinks.iter().any(|(values, _)| values.is_broken(KEY)) {
        return;
    }
    let set = sinks.iter().filter(|(values, _)| values.is_set(KEY));
    let set: Vec<(PathBuf, u64)> = set
        .map(|(values, _)| (values.file.clone(), values.bytes(KEY).unwrap_or_default()))
        .collect();
    let taken = set
        .iter()
        .fold(0, |sum: u64, (_, b)| sum.saturating_add(*b));
    let num_sinks = (sinks.len() - set.len()) as u64;
    if taken > total {
        let mut sinks = sinks.iter_mut();
        if let Some((values, problems)) = sinks.find(|(values, _)| values.is_set(KEY)) {
            let (place, (what, help)) =
                (values.place(KEY), too_much(total, taken, num_sinks, &set));
            problems.push(Problem::new(KEY, place, what).help(help));
        }
        return;
    }
    for (values, problems) in sinks.iter_mut().filter(|(values, _)| !values.is_set(KEY)) {
        let share = Share {
            file: values.file.clone(),
            total,
            taken,
            num_sinks,
        };
        give(share, values, problems);
    }
}

fn give(share: Share, values: &mut Values, problems: &mut Problems) {
    let Some(entry) = values.entries.get_mut(KEY) else {
        return;
    };
    let bytes = share.bytes().min(bounds().1);
    entry.place = Place::Share(share.clone());
    entry.parsed = (bytes >= least()).then_some(Parsed::Bytes(bytes));
    if entry.parsed.is_none() {
        let [bytes, least_shown] = [bytes, least()].map(format_bytes);
        let what = format!("a share of {bytes} is too little: a sink needs at least {least_shown}");
        let help = format!("{}, or with fewer sinks", share.to_get(least()));
        problems.push(Problem::new(KEY, entry.place.clone(), what).help(help));
    }
}

/// What is wrong, and what to do.
fn too_much(total: u64, taken: u64, num_others: u64, set: &[(PathBuf, u64)]) -> (String, String) {
    let files = listed(set.iter().map(|(file, bytes)| (file.display(), *bytes)));
    let needed = taken.saturating_add(num_others.saturating_mul(least()));
    let [total, taken, needed] = [total, taken, needed].map(format_bytes);
    (
        format!("the files set {taken} together ({files}), more than --memory {total}"),
        format!("start with at least --memory {needed}, or set less in the files"),
    )
}

/// `a.toml: 64MiB, b.toml: 256MiB`.
pub(super) fn listed(all: impl Iterator<Item = (impl fmt::Display, u64)>) -> String {
    let one = |(name, bytes): (_, u64)| format!("{name}: {}", format_bytes(bytes));
    all.map(one).collect::<Vec<_>>().join(", ")
}

/// The least that a sink may be given.
pub(super) fn least() -> u64 {
    bounds().0
}

/// The least and the most that the key takes.
fn bounds() -> (u64, u64) {
    match find(KEY).map(|key| key.kind) {
        Some(Kind::Bytes { min, max }) => (min, max),
        _ => (0, u64::MAX),
    }
}
