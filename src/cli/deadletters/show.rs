//! `outflow deadletters show`: one letter, all of it.

use super::super::group::OneFile;
use super::super::{Exit, print, say};
use super::{Desk, Which, coordinates, failed, time};
use crate::config::problem::printable;
use crate::error::Error;
use crate::kafka::letterbox::{Content, Place, is_stamped};
use crate::replay::survey::Letter;

pub(super) fn show(file: &OneFile, which: &Which, bytes: usize) -> Result<Exit, Exit> {
    let filter = which.filter()?;
    let mut desk = Desk::open(file)?;
    let survey = desk.survey().map_err(|error| failed(&error))?;
    let chosen: Vec<&Letter> = survey.chosen(&filter).collect();
    // What isn't this sink's can be looked at by its place.
    let (place, letter) = match (chosen.as_slice(), filter.places.as_slice()) {
        ([letter], _) => (letter.place, Some(*letter)),
        ([], [place]) => (*place, None),
        ([], _) => {
            say(&format!(
                "error: no letter of the sink {} in {} is meant by that; `outflow deadletters list` shows what is there\n",
                desk.settings.name, desk.topic
            ));
            return Err(Exit::Failed);
        }
        (several, _) => {
            let places = several
                .iter()
                .take(5)
                .map(|letter| letter.place.to_string());
            say(&format!(
                "error: {} letters are meant by that: choose one with --letter ({}{})\n",
                several.len(),
                places.collect::<Vec<_>>().join(", "),
                if several.len() > 5 { ", ..." } else { "" }
            ));
            return Err(Exit::Misused);
        }
    };
    let content = read(&mut desk, place).map_err(|error| failed(&error))?;
    let mut text = format!("letter    {place} of {}\n", desk.topic);
    match letter {
        Some(letter) => text.push_str(&about(letter, &content, bytes)),
        None => text.push_str("not this sink's: it can't be replayed with this configuration\n"),
    }
    text.push_str(&contents(&content, letter.is_some(), bytes));
    print(&text);
    Ok(Exit::Fine)
}

fn read(desk: &mut Desk, place: Place) -> Result<Content, Error> {
    let topic = desk.topic.clone();
    let missing = |why: String| Error::unavailable(format!("{place} of {topic}: {why}"));
    let logs = desk.letters.logs()?;
    let log = logs
        .iter()
        .find(|log| log.partition.partition == place.partition)
        .ok_or_else(|| missing(format!("the topic has {} partitions", logs.len())))?;
    if !(log.start..log.end).contains(&place.offset) {
        let bounds = format!(
            "the partition holds offsets {} to {}",
            log.start,
            log.end - 1
        );
        return Err(missing(bounds));
    }
    let mut found = desk.letters.read([place])?;
    let content = found.remove(&place).unwrap_or(Err("it isn't there".into()));
    content.map_err(missing)
}

/// What outflow has written on it.
fn about(letter: &Letter, content: &Content, most: usize) -> String {
    let stamp = &letter.stamp;
    let status = stamp
        .status
        .map_or_else(String::new, |status| format!(" (HTTP {status})"));
    let group = stamp
        .group
        .as_deref()
        .map_or_else(String::new, |group| format!(", group {group}"));
    let mut headers = content.headers.iter().rev();
    let detail = headers.find(|(name, _)| name == b"outflow.detail");
    let detail = detail.and_then(|(_, value)| value.as_deref());
    format!(
        "record    {}, {}\nrefused   by the sink {}{group}\nreason    {}{status}\ndetail    {}\nreplayed  {}\n",
        coordinates(stamp),
        time(letter.timestamp_ms),
        printable(&stamp.sink),
        printable(&stamp.reason),
        in_line(detail.unwrap_or_default(), most),
        if letter.is_replayed { "yes" } else { "no" },
    )
}

/// Headers, key and value; without the headers that say where a letter comes from, if that was shown.
fn contents(content: &Content, is_shown: bool, most: usize) -> String {
    let mut text = String::new();
    let headers = content.headers.iter();
    let headers = headers.filter(|(name, _)| !is_shown || !is_stamped(name));
    for (number, (name, value)) in headers.enumerate() {
        if number == 0 {
            text.push_str("\nheaders\n");
        }
        let value = match value {
            Some(value) => in_line(value, most),
            None => "null".to_owned(),
        };
        text.push_str(&format!("  {} = {value}\n", in_line(name, most)));
    }
    text.push_str(&field("key", content.key.as_deref(), most));
    text.push_str(&field("value", content.value.as_deref(), most));
    text
}

fn field(name: &str, bytes: Option<&[u8]>, most: usize) -> String {
    let Some(bytes) = bytes else {
        return format!("\n{name}: null\n");
    };
    let rest = bytes.len().saturating_sub(most);
    let cut = match rest {
        0 => String::new(),
        _ => format!(", the first {most} shown"),
    };
    let head = format!("\n{name}: {} bytes{cut}\n", bytes.len());
    let lines: String = block(bytes, most)
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
    head + &lines
}

/// JSON is indented, text shown as it is but for what a terminal would take for a command, the rest in hexadecimal.
fn block(bytes: &[u8], most: usize) -> String {
    let shown = &bytes[..bytes.len().min(most)];
    if shown.len() == bytes.len()
        && let Ok(json) = serde_json::from_slice::<serde_json::Value>(bytes)
        && (json.is_object() || json.is_array())
    {
        return escaped(&format!("{json:#}"));
    }
    match text_of(shown, shown.len() < bytes.len()) {
        Some(text) => escaped(text),
        None => hexadecimal(shown),
    }
}

/// The text that bytes are; one that was cut may end within a character.
fn text_of(bytes: &[u8], is_cut: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if is_cut && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

fn in_line(bytes: &[u8], most: usize) -> String {
    let shown = &bytes[..bytes.len().min(most)];
    let is_cut = shown.len() < bytes.len();
    let text = match text_of(shown, is_cut) {
        Some(text) => escaped(text).replace('\n', "\\n"),
        None => {
            let digits = shown.iter().map(|byte| format!("{byte:02x}"));
            format!("0x{}", digits.collect::<String>())
        }
    };
    match is_cut {
        true => format!("{text}… ({} bytes)", bytes.len()),
        false => text,
    }
}

/// Line breaks stay; other control characters, and those that turn the direction of writing, are spelled out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match hidden && !matches!(c, '\n' | '\t') {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, row) in bytes.chunks(16).enumerate() {
        let digits: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = row.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        });
        let plain: String = plain.collect();
        text.push_str(&format!(
            "{:08x}  {:<47}  {plain}\n",
            number * 16,
            digits.join(" ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_what_they_are_and_never_command_a_terminal() {
        assert_eq!(block(br#"{"a":1}"#, 100), "{\n  \"a\": 1\n}");
        assert_eq!(block(b"cpu=\x1b[31m12\nb", 100), "cpu=\\u{1b}[31m12\nb");
        let hex = block(b"\xff\x00A", 100);
        assert_eq!(hex, format!("00000000  {:<47}  ..A\n", "ff 00 41"));
        assert_eq!(block("aé".as_bytes(), 2), "a", "cut within a character");
        assert_eq!(in_line(b"a\nb", 9), "a\\nb");
        assert_eq!(in_line(b"\xff\xfe", 1), "0xff… (2 bytes)");
        assert_eq!(field("key", None, 9), "\nkey: null\n");
        assert_eq!(
            field("value", Some(b"abcdef"), 3),
            "\nvalue: 6 bytes, the first 3 shown\n  abc\n"
        );
        assert_eq!(field("value", Some(b""), 3), "\nvalue: 0 bytes\n");
    }
}
