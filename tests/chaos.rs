//! The quick part of the fault suite (`make chaos` is the whole of it), and proof that it would notice.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Write;
use std::path::Path;

use testbed::chaos::case::{Expect, NONE};
use testbed::chaos::outcome::table;
use testbed::chaos::{Case, Fault, Pace, Seen, Setup, Sink, Target, World, cases, run_case};
use testbed::{Ledger, Result};

const OUTFLOW: &str = env!("CARGO_BIN_EXE_outflow");

/// The same faults at the same moments in every run, unless SEED says otherwise.
fn seed() -> u64 {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    seed.unwrap_or(20_261_126)
}

#[test]
fn under_every_fault_of_the_quick_suite_nothing_is_lost_and_nothing_doubled() {
    let mut outcomes = Vec::new();
    for case in cases::all().iter().filter(|case| case.in_subset) {
        let outcome = run_case(case, Path::new(OUTFLOW), seed(), &Pace::QUICK);
        let _ = writeln!(
            std::io::stderr(),
            "{}",
            table(std::slice::from_ref(&outcome))
        );
        outcomes.push(outcome);
    }
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.passed())
        .map(|outcome| {
            format!(
                "{}: {:#?}\nagain: {}",
                outcome.id, outcome.findings, outcome.again
            )
        })
        .collect();
    let table = table(&outcomes);
    assert!(failed.is_empty(), "{}\n{table}", failed.join("\n"));
    let _ = writeln!(std::io::stderr(), "{table}");
}

/// Takes a document and a file away behind everybody's back.
struct Theft;

impl Fault for Theft {
    fn inject(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(1, "thefts to come"))
    }

    fn heal(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        let id = &world.elasticsearch.documents().ids(&world.topic)?[0];
        let path = format!("/{}/_doc/{}", world.topic, id.replace('+', "%2B"));
        let http = world.elasticsearch.http();
        http.send(testbed::http::Method::DELETE, &path, None)?
            .json()?;
        let files = world.hdfs.files();
        files.delete(&files.committed_paths(&world.base)?[0])
    }
}

#[test]
fn a_document_and_a_file_that_are_taken_away_are_missed() {
    let case = Case {
        id: "F00",
        name: "a document and a file are taken away",
        target: Target::Process,
        setup: Setup::PLAIN,
        expect: Expect::only(NONE),
        in_subset: false,
        random: false,
        fault: |_| Box::new(Theft),
    };
    let outcome = run_case(&case, Path::new(OUTFLOW), seed(), &Pace::QUICK);
    let has = |text: &str| {
        outcome
            .findings
            .iter()
            .any(|finding| finding.contains(text))
    };
    for sink in [Sink::Elasticsearch, Sink::Hdfs] {
        let name = sink.name();
        let what = format!("after the drain, {name}: expected");
        assert!(has(&what), "{:#?}", outcome.findings);
        let ahead = format!("I3: {name} has committed");
        assert!(has(&ahead), "{:#?}", outcome.findings);
    }
    assert!(outcome.lost > 1, "{outcome:?}");
}
