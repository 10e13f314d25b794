//! Whether what the sinks may hold fits below what the process may have. If it doesn't, that is said and no more: what
//! was measured elsewhere must keep nobody from starting.

use super::super::Loaded;
use super::super::kinds::format_bytes;
use super::super::problem::{Place, Problem, Problems};
use super::super::settings::Settings;
use super::super::surroundings::Surroundings;
use super::limit::{Limit, of_process};
use super::shares::{FLAG, least, listed};

const MIB: u64 = 1 << 20;
/// The program itself, as far as it is in memory (docs/deploying.md has what was measured).
const PROGRAM: u64 = 16 * MIB;
/// Each sink's threads and clients.
const EACH_SINK: u64 = 8 * MIB;
/// What the allocator keeps: this part of what the sinks hold.
const KEPT: u64 = 8;

/// What a process takes whose sinks hold so much together.
fn around(held: u64, num_sinks: u64) -> u64 {
    let kept = held / KEPT;
    held.saturating_add(kept + PROGRAM + num_sinks * EACH_SINK)
}

/// The most that so many sinks may hold together in a process that may have so much: whole MiB.
fn fitting(limit: u64, num_sinks: u64) -> u64 {
    let for_sinks = limit.saturating_sub(PROGRAM + num_sinks * EACH_SINK);
    for_sinks / (KEPT + 1) * KEPT / MIB * MIB
}

/// Warns if the sinks of this process, or of one in these surroundings, may hold more than fits.
pub fn check_fit(
    sinks: &[Loaded<Settings>],
    surroundings: &dyn Surroundings,
    problems: &mut Problems,
) {
    let bytes = |loaded: &Loaded<Settings>| loaded.settings.memory_bytes;
    let held = sinks.iter().map(bytes).fold(0, u64::saturating_add);
    let (Some(limit), Some(largest)) = (
        of_process(surroundings),
        // The first of those that hold most.
        sinks.iter().rev().max_by_key(|loaded| bytes(loaded)),
    ) else {
        return;
    };
    if around(held, sinks.len() as u64) > limit.bytes {
        let place = Place::WholeFile(largest.file.clone());
        let (what, help) = words(sinks, held, &limit);
        let mut problem = Problem::warning("memory", place, what);
        problem.help = help;
        problems.push(problem);
    }
}

/// What is wrong, and what to do.
fn words(sinks: &[Loaded<Settings>], held: u64, limit: &Limit) -> (String, Vec<String>) {
    let num = sinks.len() as u64;
    let needed = round(around(held, num).div_ceil(MIB) * MIB);
    let each = listed(sinks.iter().map(|l| (named(l), l.settings.memory_bytes)));
    let what = format!(
        "the sinks of this process may hold {} ({each}), which takes about {needed} with the program around it, and \
         the process may have {} ({})",
        format_bytes(held),
        round(limit.bytes),
        limit.source
    );
    let most = fitting(limit.bytes, num);
    let shown = format_bytes(most);
    let less = match sinks {
        _ if most < num * least() => None,
        _ if sinks.iter().all(is_shared) => Some(format!("start with --memory {shown}")),
        [_] => Some(format!("set memory = \"{shown}\"")),
        _ => Some(format!(
            "let the files set no more than {shown} together, or no memory at all and start with --memory {shown}"
        )),
    };
    let more =
        format!("give the process {needed}: the kernel ends one that takes more than it may");
    (what, less.into_iter().chain([more]).collect())
}

/// A file, and what sets its memory unless `--memory` does.
fn named(loaded: &Loaded<Settings>) -> String {
    let (file, origin) = (loaded.file.display().to_string(), origin(loaded));
    match origin.starts_with(&file) {
        true => origin.to_owned(),
        false if is_shared(loaded) => file,
        false => format!("{file} ({origin})"),
    }
}

fn is_shared(loaded: &Loaded<Settings>) -> bool {
    origin(loaded).starts_with(FLAG)
}

fn origin(loaded: &Loaded<Settings>) -> &str {
    loaded.effective.origin("", "memory").unwrap_or_default()
}

/// A size that people read: the machine's isn't whole MiB.
fn round(bytes: u64) -> String {
    match bytes / MIB {
        0 => format_bytes(bytes),
        mib => format!("{mib}MiB"),
    }
}
