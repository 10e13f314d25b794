//! Inputs made from others.

use crate::rng::Rng;

/// Longest input.
const MOST_BYTES: usize = 8_192;

/// Bytes and numbers at which things turn.
const BYTES: &[u8] = b"\0\x01\t\n\r \"'\\/{}[]:,.+-_=%~*#0129azAZ\x7f\x80\xc3\xff";
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "127",
    "255",
    "256",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "-0",
    "0.5",
    "00",
];
/// Texts at which things turn, whatever the language.
const TEXTS: &[&str] = &[
    "\n---\n",
    "..",
    "/",
    "../",
    "\u{0}",
    "\u{feff}",
    "\u{2028}",
    "\u{1f600}",
    "\u{1c5}",
    "\u{130}",
    "\\u0000",
    "\\ud800",
    "\\n",
    "\r\n",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
];

/// One of `kept`, changed a few times.
pub fn mutated(kept: &[Vec<u8>], words: &[&str], rng: &mut Rng) -> Vec<u8> {
    // Half of the time one of the newest: what led to something new leads further.
    let from = match rng.permille(500) {
        true => kept.len().saturating_sub(kept.len() / 8 + 1),
        false => 0,
    };
    let mut input = kept[from + rng.below(kept.len() - from)].clone();
    let most = 1 << rng.below(4);
    let times = 1 + rng.below(most);
    for _ in 0..times {
        change(&mut input, kept, words, rng);
    }
    input.truncate(MOST_BYTES);
    input
}

/// A short stretch of `input`.
fn stretch(input: &[u8], rng: &mut Rng) -> (usize, usize) {
    let first = rng.below(input.len() + 1);
    let most = if rng.permille(200) { 512 } else { 12 };
    (first, (first + rng.below(most)).min(input.len()))
}

fn put(input: &mut Vec<u8>, (first, end): (usize, usize), with: &[u8]) {
    input.splice(first..end, with.iter().copied());
}

fn change(input: &mut Vec<u8>, kept: &[Vec<u8>], words: &[&str], rng: &mut Rng) {
    let (first, end) = stretch(input, rng);
    let here = (first, first);
    match rng.below(12) {
        0 => put(input, here, &[rng.pick(BYTES)]),
        1 => {
            let byte = rng.below(256) as u8;
            put(input, (first, (first + 1).min(end.max(first))), &[byte]);
        }
        2 => {
            if let Some(byte) = input.get_mut(first) {
                *byte ^= 1 << rng.below(8);
            }
        }
        3 => put(input, (first, end), b""),
        4 => {
            let copy = input[first..end].to_vec();
            let to = rng.below(input.len() + 1);
            put(input, (to, to), &copy);
        }
        5 => {
            let other = &kept[rng.below(kept.len())];
            let (from, to) = stretch(other, rng);
            put(input, (first, end), &other[from..to]);
        }
        6 => number(input, first, rng),
        7 => put(input, here, rng.pick(TEXTS).as_bytes()),
        8 => token(input, first, kept, words, rng),
        9 if input.len() < 2_000 => {
            let many = input[first..end].repeat(1 << rng.below(9));
            put(input, here, &many);
        }
        _ if words.is_empty() => {}
        _ => {
            let place = if rng.permille(500) {
                here
            } else {
                (first, end)
            };
            put(input, place, rng.pick(words).as_bytes());
        }
    }
}

/// Another number in the place of the next one.
fn number(input: &mut Vec<u8>, from: usize, rng: &mut Rng) {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let Some(first) = input[from..].iter().position(is_digit) else {
        return;
    };
    let first = from + first;
    let digits = input[first..].iter().take_while(|byte| is_digit(byte));
    let end = first + digits.count();
    put(input, (first, end), rng.pick(NUMBERS).as_bytes());
}

/// What stands between two marks (quotes, brackets, commas, line breaks) in the place of another such thing.
fn token(input: &mut Vec<u8>, from: usize, kept: &[Vec<u8>], words: &[&str], rng: &mut Rng) {
    let other = &kept[rng.below(kept.len())];
    let there = token_at(other, rng.below(other.len() + 1));
    let here = token_at(input, from);
    match rng.below(3) {
        0 if !words.is_empty() => put(input, here, rng.pick(words).as_bytes()),
        1 => put(input, here, b""),
        _ => put(input, here, &other[there.0..there.1]),
    }
}

fn token_at(input: &[u8], from: usize) -> (usize, usize) {
    let is_mark = |byte: &u8| b"\"{}[],:\n=./+ ".contains(byte);
    let first = input[..from]
        .iter()
        .rposition(is_mark)
        .map_or(0, |at| at + 1);
    let end = input[from..].iter().position(is_mark);
    (first, end.map_or(input.len(), |at| from + at))
}
