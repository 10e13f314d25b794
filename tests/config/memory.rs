//! One budget for a process: the sinks' shares of it, and whether what they hold fits below what the process may have.

use std::path::{Path, PathBuf};

use outflow::config::kinds::parse_bytes;
use outflow::config::problem::Problems;
use outflow::config::settings::Settings;
use outflow::config::{Loaded, Outcome, load_process};
use proptest::prelude::*;

use super::{Machine, said};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A machine whose files are called by these numbers, with these lines at their top: the first for Elasticsearch, all
/// others for HDFS.
fn machine(tops: &[&str]) -> Machine {
    let sink = |n: usize| match n {
        0 => "[elasticsearch]\nurls = [\"http://e:9200\"]\nindex = \"x\"\n".to_owned(),
        n => format!("[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/{n}\"\nmax_open_files = 1\n"),
    };
    let kafka = "[kafka]\nbootstrap_servers = \"k:9092\"\ntopics = [\"t\"]";
    let files = tops.iter().enumerate();
    files.fold(Machine::default(), |machine, (n, top)| {
        let text = format!("{top}\nname = \"{n}\"\n{kafka}\n{}", sink(n));
        machine.file(&format!("{n}.toml"), &text)
    })
}

/// The same in a container that may have so much.
fn within(tops: &[&str], limit: u64) -> Machine {
    machine(tops)
        .file("/proc/self/cgroup", "0::/\n")
        .file(
            "/proc/self/mountinfo",
            "25 19 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        )
        .file("/sys/fs/cgroup/memory.max", &format!("{limit}\n"))
}

fn load(
    machine: &Machine,
    memory: Option<u64>,
    flags: &[&str],
) -> Result<Outcome<Vec<Loaded<Settings>>>, Problems> {
    let files = machine.files.keys();
    let files: Vec<PathBuf> = files.filter(|f| f.is_relative()).cloned().collect();
    let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
    load_process(&files, &flags, memory, machine)
}

/// What each sink may hold, in MiB.
fn shares(machine: &Machine, memory: Option<u64>) -> Vec<u64> {
    let loaded = load(machine, memory, &[]).unwrap_or_else(|e| panic!("{e}"));
    let loaded = loaded.loaded.iter();
    loaded.map(|l| l.settings.memory_bytes / MIB).collect()
}

/// All that is said.
fn hears(machine: &Machine, memory: Option<u64>) -> Vec<String> {
    said(&match load(machine, memory, &[]) {
        Ok(outcome) => outcome.warnings,
        Err(problems) => problems,
    })
}

#[test]
fn sinks_that_set_no_memory_share_what_the_others_leave() {
    let none = machine(&["", "", ""]);
    assert_eq!(shares(&none, None), [256, 256, 256]);
    assert_eq!(shares(&none, Some(300 * MIB)), [100, 100, 100]);
    assert_eq!(shares(&none, Some(200 * MIB)), [66, 66, 66]);
    let one = machine(&["memory = \"64MiB\"", "", ""]);
    assert_eq!(shares(&one, Some(300 * MIB)), [64, 118, 118]);
    let one = machine(&["", ""]).variable("OUTFLOW_HDFS__MAX_OPEN_FILES", "2");
    assert_eq!(shares(&one, Some(GIB)), [512, 512]);
    // What all set themselves is theirs, and what is left over nobody's.
    let all = machine(&["memory = \"64MiB\"", "memory = \"96MiB\""]);
    assert_eq!(shares(&all, Some(160 * MIB)), [64, 96]);
    assert_eq!(shares(&all, Some(GIB)), [64, 96]);
    let all = machine(&["", ""]).variable("OUTFLOW_MEMORY", "70MiB");
    assert_eq!(shares(&all, Some(GIB)), [70, 70]);
}

#[test]
fn workers_share_the_share() {
    let auto = |memory| {
        let loaded = load(&machine(&["", ""]), Some(memory), &[]).expect("valid");
        let loaded = loaded.loaded.iter();
        loaded.map(|l| l.settings.workers).collect::<Vec<_>>()
    };
    assert_eq!(auto(64 * MIB), [1, 1]);
    assert_eq!(auto(128 * MIB), [2, 2]);
}

#[test]
fn the_effective_configuration_says_who_shares_what() {
    let origins = |machine: &Machine, memory, flags: &[&str]| -> Vec<String> {
        let loaded = load(machine, Some(memory), flags).unwrap_or_else(|e| panic!("{e}"));
        let line = |l: &Loaded<Settings>| {
            let mut lines = l.effective.lines.iter();
            let line = lines.find(|line| line.section.is_empty() && line.key == "memory");
            let line = line.unwrap();
            format!("{} # {}", line.value.clone().unwrap(), line.origin)
        };
        loaded.loaded.iter().map(line).collect()
    };
    assert_eq!(
        origins(&machine(&["", ""]), GIB, &[]),
        ["\"512MiB\" # --memory 1GiB, shared by 2 sinks"; 2]
    );
    assert_eq!(
        origins(&machine(&["", "memory = \"64MiB\""]), 128 * MIB, &[]),
        [
            "\"64MiB\" # --memory 128MiB, of which other files set 64MiB",
            "\"64MiB\" # 1.toml:1"
        ]
    );
    assert_eq!(
        origins(&machine(&[""]), GIB, &[]),
        ["\"1GiB\" # --memory 1GiB"]
    );
    assert_eq!(
        origins(&machine(&["", ""]), GIB, &["memory=80MiB"]),
        ["\"80MiB\" # --set memory"; 2]
    );
}

#[test]
fn a_budget_that_can_not_be_kept_is_said_with_figures_and_what_to_do() {
    for (tops, memory, lines) in [
        (
            &["memory = \"64MiB\"", "memory = \"96MiB\"", ""][..],
            150,
            &[
                "1:10 memory: the files set 160MiB together (0.toml: 64MiB, 1.toml: 96MiB), more than --memory 150MiB \
                 | start with at least --memory 192MiB, or set less in the files",
            ][..],
        ),
        (
            &["", "memory = \"64MiB\"", ""],
            120,
            &[
                "0.toml, by --memory 120MiB, of which other files set 64MiB, shared by 2 sinks memory: a share of \
                 28MiB is too little: a sink needs at least 32MiB | start with --memory 128MiB, or with fewer sinks",
                "2.toml, by --memory 120MiB, of which other files set 64MiB, shared by 2 sinks memory: a share of \
                 28MiB is too little: a sink needs at least 32MiB | start with --memory 128MiB, or with fewer sinks",
            ],
        ),
        // A sink's own formula, whether the workers were asked for or not.
        (
            &["workers = 2", "workers = 1"],
            100,
            &[
                "0.toml, by --memory 100MiB, shared by 2 sinks memory: 2 workers need more memory than 50MiB | start \
                 with --memory 124MiB, or fewer workers; a worker holds up to three batches: see \
                 elasticsearch.max_batch_bytes",
            ],
        ),
    ] {
        assert_eq!(hears(&machine(tops), Some(memory * MIB)), lines, "{tops:?}");
    }
    // What is said to be enough is.
    for (tops, enough) in [
        (&["memory = \"64MiB\"", "memory = \"96MiB\"", ""][..], 192),
        (&["", "memory = \"64MiB\"", ""], 128),
        (&["workers = 2", "workers = 1"], 124),
    ] {
        assert_eq!(
            hears(&machine(tops), Some(enough * MIB)).len(),
            0,
            "{tops:?}"
        );
    }
}

#[test]
fn a_share_that_opens_fewer_files_than_wanted_is_said_with_the_budget_for_all() {
    let machine = machine(&["", ""]);
    let heard = |memory| {
        let flags = ["hdfs.max_open_files=4", "workers=1"];
        said(
            &load(&machine, Some(memory), &flags)
                .expect("valid")
                .warnings,
        )
    };
    assert_eq!(
        heard(80 * MIB),
        [
            "warning 1.toml, by --memory 80MiB, shared by 2 sinks memory: 40MiB is enough for 1 of 4 open files, which \
             take up to 14MiB each: with more than 1 partitions a worker, these take turns | start with --memory 160MiB \
             for all of them, or say hdfs.max_open_files = 1"
        ]
    );
    assert_eq!(heard(160 * MIB), [""; 0]);
}

#[test]
fn nothing_is_said_of_shares_while_a_sinks_memory_can_not_be_read() {
    let heard = hears(&machine(&["memory = \"64M\"", ""]), Some(32 * MIB));
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains("isn't a size"), "{heard:?}");
    // A file that isn't there has no share.
    let files = ["1.toml".into(), "nowhere.toml".into()];
    let problems = load_process(&files, &[], Some(32 * MIB), &machine(&["", ""]));
    assert_eq!(problems.expect_err("not there").0.len(), 1);
}

#[test]
fn more_than_the_process_may_have_is_warned_about_with_both_figures_and_what_to_set() {
    let end = "the kernel ends one that takes more than it may";
    for (tops, memory, line) in [
        (
            &[""][..],
            None,
            "warning 0.toml memory: the sinks of this process may hold 256MiB (0.toml (default): 256MiB), which takes \
             about 312MiB with the program around it, and the process may have 200MiB (/sys/fs/cgroup/memory.max) | set \
             memory = \"156MiB\"; give the process 312MiB",
        ),
        (
            &["", "memory = \"64MiB\""],
            None,
            "warning 0.toml memory: the sinks of this process may hold 320MiB (0.toml (default): 256MiB, 1.toml:1: 64MiB), \
             which takes about 392MiB with the program around it, and the process may have 200MiB \
             (/sys/fs/cgroup/memory.max) | let the files set no more than 149MiB together, or no memory at all and start \
             with --memory 149MiB; give the process 392MiB",
        ),
        (
            &["", ""],
            Some(200 * MIB),
            "warning 0.toml memory: the sinks of this process may hold 200MiB (0.toml: 100MiB, 1.toml: 100MiB), which \
             takes about 257MiB with the program around it, and the process may have 200MiB (/sys/fs/cgroup/memory.max) \
             | start with --memory 149MiB; give the process 257MiB",
        ),
    ] {
        let heard = hears(&within(tops, 200 * MIB), memory);
        assert_eq!(heard, [format!("{line}: {end}")]);
    }
    // No advice that can't be followed.
    let heard = hears(&within(&["", ""], 80 * MIB), Some(64 * MIB));
    let help = "| give the process 104MiB: ";
    assert!(heard.len() == 1 && heard[0].contains(help), "{heard:?}");
    // Where nothing can be read, nothing is said; nor is it when nothing is to run.
    assert_eq!(hears(&machine(&[""]), None), [""; 0]);
    let files = [PathBuf::from("0.toml")];
    let looked = outflow::config::load_sinks(&files, &[], &within(&[""], 64 * MIB));
    assert_eq!(looked.expect("valid").warnings.0.len(), 0);
}

proptest! {
    #[test]
    fn shares_are_even_and_never_more_than_the_budget(
        memory in (64 * MIB)..(64 * GIB), num in 1..5_usize, set in 32..200_u64,
    ) {
        let own = format!("memory = \"{set}MiB\"");
        let mut tops = vec![""; num];
        tops.push(&own);
        let machine = machine(&tops);
        if let Ok(outcome) = load(&machine, Some(memory), &["workers=1"]) {
            let held = outcome.loaded.iter().map(|l| l.settings.memory_bytes);
            let held: Vec<u64> = held.collect();
            let sum: u64 = held.iter().sum();
            prop_assert!(sum <= memory && memory - sum < tops.len() as u64 * MIB, "{held:?}");
            prop_assert!(held[..num].iter().all(|bytes| *bytes == held[0]), "{held:?}");
        } else {
            prop_assert!(memory < (set + 32 * num as u64) * MIB);
        }
    }

    #[test]
    fn what_is_advised_fits(limit in (90 * MIB)..(4 * GIB), num in 1..4_usize) {
        let tops = vec![""; num];
        let heard = hears(&within(&tops, limit), Some(1 << 40));
        prop_assert_eq!(heard.len(), 1);
        let advised = heard[0].split_once("start with --memory ");
        let advised = advised.map(|(_, rest)| rest.split(';').next().unwrap());
        if let Some(advised) = advised {
            let memory = parse_bytes(advised).unwrap();
            // A sink's own formula may want more.
            if let Ok(outcome) = load(&within(&tops, limit), Some(memory), &["workers=1"]) {
                prop_assert_eq!(said(&outcome.warnings), [""; 0]);
            }
        }
    }
}

fn shipped(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// MiB, as compose and systemd write them.
fn mib(text: &str) -> u64 {
    let number = text.trim_end_matches(['m', 'M']);
    number.parse::<u64>().unwrap_or_else(|_| panic!("{text}")) * MIB
}

#[test]
fn nothing_that_is_shipped_has_less_memory_than_its_sink_may_take() {
    let compose: serde_json::Value =
        serde_saphyr::from_str(&shipped("docker/compose.yaml")).unwrap();
    let unit = shipped("deploy/systemd/outflow@.service");
    let unit = unit
        .lines()
        .find_map(|line| line.strip_prefix("MemoryMax="));
    for sink in ["elasticsearch", "hdfs"] {
        let service = &compose["services"][format!("outflow-{sink}")];
        let container = (service["mem_limit"].as_str().unwrap(), "docker/config");
        for (limit, folder) in [container, (unit.unwrap(), "config")] {
            let text = shipped(&format!("{folder}/{sink}.toml"));
            let machine = within(&[], mib(limit)).file("sink.toml", &text);
            let heard = hears(&machine, None);
            assert_eq!(heard, [""; 0], "{folder}/{sink}.toml in {limit}");
            // It is held against that limit: more than fits isn't silent.
            let more = machine.clone().variable("OUTFLOW_MEMORY", "8GiB");
            assert_eq!(hears(&more, None).len(), 1, "{folder}/{sink}.toml");
        }
    }
}
