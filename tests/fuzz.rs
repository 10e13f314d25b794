//! Everything that reads what others send, under inputs that nobody thought of: mutated from a corpus, each
//! held against properties, not only against panics.
//!
//! `make fuzz MINUTES=10 TARGET=configuration` goes on for longer. What fails is made small and kept; the message
//! says where, and how to see it again. Put it into `fuzz/corpus/<target>/` with the mend.

#![allow(clippy::unwrap_used, clippy::expect_used)] // In a test, what breaks a rule may panic.

#[path = "fuzz/bulk_answers.rs"]
mod bulk_answers;
#[path = "fuzz/bulk_lines.rs"]
mod bulk_lines;
#[path = "fuzz/commit_log.rs"]
mod commit_log;
#[path = "fuzz/configuration.rs"]
mod configuration;
#[path = "shared/elasticsearch.rs"]
mod configured;
#[path = "fuzz/engine.rs"]
mod engine;
#[path = "fuzz/kept.rs"]
mod kept;
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/names.rs"]
mod names;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "fuzz/words.rs"]
mod words;

use engine::Target;

/// Fields of an input are divided by this line, so that a corpus can be read by people.
const DIVIDER: &[u8] = b"\n---\n";

/// The fields of an input.
fn fields(input: &[u8]) -> Vec<&[u8]> {
    let (mut fields, mut rest) = (Vec::new(), input);
    while let Some(at) = rest.windows(DIVIDER.len()).position(|w| w == DIVIDER) {
        fields.push(&rest[..at]);
        rest = &rest[at + DIVIDER.len()..];
    }
    fields.push(rest);
    fields
}

/// Whether `theirs` has all that `ours` has.
fn is_part_of(ours: &serde_json::Value, theirs: &serde_json::Value) -> bool {
    use serde_json::Value::Object;
    match (ours, theirs) {
        (Object(ours), Object(theirs)) => ours
            .iter()
            .all(|(key, value)| theirs.get(key).is_some_and(|t| is_part_of(value, t))),
        _ => ours == theirs,
    }
}

/// What was taken, as a parser sees it that builds everything. `None`: the grammar allows it, and that parser
/// doesn't, since ours passes over what isn't ours.
fn json(text: &[u8]) -> Option<serde_json::Value> {
    const KNOWN: [&str; 4] = [
        "number out of range",
        "recursion limit",
        "surrogate",
        "hex escape",
    ];
    match serde_json::from_slice(text) {
        Ok(value) => Some(value),
        Err(why) => {
            let why = why.to_string();
            assert!(KNOWN.iter().any(|known| why.contains(known)), "{why}");
            None
        }
    }
}

/// Whether a text is one line that can be logged.
fn is_one_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

macro_rules! targets {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            engine::run(&Target { name: stringify!($name), words: $name::WORDS, check: $name::check });
        }
    )*};
}

targets!(
    bulk_answers,
    bulk_lines,
    commit_log,
    configuration,
    kept,
    names,
    words
);
