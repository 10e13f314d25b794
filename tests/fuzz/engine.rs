//! Mutates a target's corpus, keeps what leads to something new, and makes small what fails.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::mutate;
use crate::rng::Rng;

/// For each target in a plain test run; `make test` gives a minute.
const SECONDS: u64 = 2;
/// Inputs that are kept because they led to something new.
const MOST_KEPT: usize = 20_000;

/// What is fuzzed.
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// What its language is made of.
    pub words: &'static [&'static str],
    /// Panics if a property doesn't hold. Says in a few words what came of the input: an input that leads to words
    /// which weren't seen yet is mutated further. They begin with `yes` if something was accepted, else with `no`.
    pub check: fn(&[u8]) -> String,
}

thread_local! {
    /// The message of a panic while a target runs; `None`: panics are everybody's.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// Goes through the corpus, and then on from there until the time is over.
pub fn run(target: &Target) {
    catch_panics();
    if let Some(file) = env::var_os("OUTFLOW_FUZZ_INPUT") {
        let input = fs::read(&file).expect("the file of OUTFLOW_FUZZ_INPUT");
        println!("{}: {}", target.name, (target.check)(&input));
        return;
    }
    let time = Duration::from_secs(number("OUTFLOW_FUZZ_SECONDS").unwrap_or(SECONDS));
    let mut rng = Rng::new(number("OUTFLOW_FUZZ_SEED").unwrap_or(1));
    let (mut kept, end) = (corpus(target.name), Instant::now() + time);
    let (mut seen, mut runs, num_corpus) = (BTreeSet::new(), 0u64, kept.len());
    let mut next = 0;
    loop {
        let is_corpus = next < num_corpus;
        let input = match is_corpus {
            true => kept[next].clone(),
            false if Instant::now() >= end => break,
            false => mutate::mutated(&kept, target.words, &mut rng),
        };
        (next, runs) = (next + 1, runs + 1);
        match attempt(target, &input) {
            Ok(words) => {
                let is_new = seen.insert(words);
                if is_new && !is_corpus && kept.len() < MOST_KEPT {
                    kept.push(input);
                }
            }
            Err(why) => fail(target, input, &why),
        }
    }
    let is_about = |word: &str| seen.iter().any(|words| words.starts_with(word));
    assert!(
        is_about("yes") && is_about("no"),
        "nothing is accepted, or everything: {seen:?}"
    );
    println!(
        "{}: {runs} inputs in {} s from {num_corpus} of the corpus, {} different ends",
        target.name,
        time.as_secs(),
        seen.len()
    );
}

fn folder(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    tests.join("fuzz/corpus").join(name)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder(name)).expect("a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a file of the corpus"))
        .collect()
}

/// While a target runs, the message of a panic is kept instead of printed.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_ours = CAUGHT.with_borrow_mut(|caught| match caught {
                Some(text) => {
                    *text = info.to_string();
                    true
                }
                None => false,
            });
            if !is_ours {
                before(info);
            }
        }));
    });
}

/// What came of an input, or how a property didn't hold.
fn attempt(target: &Target, input: &[u8]) -> Result<String, String> {
    CAUGHT.set(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    let message = CAUGHT.take().unwrap_or_default();
    result.map_err(|_| message)
}

/// Makes the input small, as long as it fails in the same place.
fn fail(target: &Target, mut input: Vec<u8>, why: &str) -> ! {
    let place = |message: &str| message.lines().next().map(str::to_owned);
    let fails = |input: &[u8]| attempt(target, input).is_err_and(|e| place(&e) == place(why));
    let mut size = input.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = (at + size).min(input.len());
            let less = [&input[..at], &input[end..]].concat();
            if fails(&less) {
                input = less;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    let why = attempt(target, &input).err().unwrap_or(why.to_owned());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
    fs::write(&file, &input).expect("the input is kept");
    panic!(
        "{why}\n\nthe input: \"{}\"\nagain: OUTFLOW_FUZZ_INPUT={} cargo test --test fuzz {}",
        input.escape_ascii(),
        file.display(),
        target.name
    );
}
