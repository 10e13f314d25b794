//! The kinds of values that settings have, and how each is read and written.

use std::time::Duration;

use figment::value::Value;

use super::problem::{printable, suggest};

/// What a key's value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path in this machine's file system.
    Path,
    /// The name of an environment variable that holds a secret.
    Variable,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
        /// A word that may stand for a number, such as `auto`.
        word: Option<&'static str>,
    },
    /// A size: `64MiB`.
    Bytes {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A time: `30s`.
    Duration {
        /// The least, in milliseconds.
        min: u64,
        /// The most, in milliseconds.
        max: u64,
        /// Whether `off` may stand for it.
        off: bool,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Several texts.
    List,
    /// librdkafka's properties: text, numbers or flags by name.
    Properties,
    /// librdkafka's secret properties: `file` or `env` by name.
    SecretProperties,
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// Text, a path, a variable's name, a choice, a property.
    Text(String),
    /// A flag.
    Flag(bool),
    /// A number.
    Integer(i64),
    /// A size.
    Bytes(u64),
    /// A time.
    Duration(Duration),
    /// Texts.
    List(Vec<String>),
    /// The word that stands for no value of its own: `auto`, `off`.
    Word(&'static str),
}

/// Why a value can't be read: what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: Option<String>,
}

fn unreadable<T>(what: impl Into<String>, help: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable {
        what: what.into(),
        help: Some(help.into()),
    })
}

impl Kind {
    /// Reads a value. Texts from the environment and from flags have no types of their own (`stringly`).
    pub fn parse(self, value: &Value, stringly: bool) -> Result<Parsed, Unreadable> {
        match (self, value) {
            (Kind::Flag, Value::Bool(_, flag)) => Ok(Parsed::Flag(*flag)),
            (Kind::Flag, Value::String(_, text)) if stringly => match text.as_str() {
                "true" => Ok(Parsed::Flag(true)),
                "false" => Ok(Parsed::Flag(false)),
                _ => self.wrong(value),
            },
            (Kind::Integer { .. }, Value::Num(_, number)) => match signed(number) {
                Some(number) => self.in_range(number),
                None => self.wrong(value),
            },
            (
                Kind::Integer {
                    word: Some(word), ..
                },
                Value::String(_, text),
            ) if text == word => Ok(Parsed::Word(word)),
            (Kind::Integer { .. }, Value::String(_, text)) if stringly => match text.trim().parse()
            {
                Ok(number) => self.in_range(number),
                Err(_) => self.wrong(value),
            },
            (Kind::Bytes { min, max }, value) => parse_bytes_value(value, stringly).map_or_else(
                || self.wrong(value),
                |bytes| bytes_in_range(bytes, min, max),
            ),
            (Kind::Duration { off: true, .. }, Value::String(_, text)) if text == "off" => {
                Ok(Parsed::Word("off"))
            }
            (Kind::Duration { min, max, .. }, Value::String(_, text)) => parse_duration(text)
                .map_or_else(
                    || self.wrong(value),
                    |time| duration_in_range(time, min, max),
                ),
            (Kind::Choice(choices), Value::String(_, text)) => {
                if choices.contains(&text.as_str()) {
                    return Ok(Parsed::Text(text.clone()));
                }
                let meant = suggest(text, choices.iter().copied());
                let help = meant.map_or_else(
                    || self.help(),
                    |m| format!("did you mean {m:?}? {}", self.help()),
                );
                unreadable(
                    format!("{:?} isn't one of the choices", printable(text)),
                    help,
                )
            }
            (Kind::List, Value::Array(_, values)) => values
                .iter()
                .map(|v| v.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .map_or_else(|| self.wrong(value), |texts| Ok(Parsed::List(texts))),
            (Kind::List, Value::String(_, text)) if stringly => Ok(Parsed::List(
                text.split(',')
                    .map(str::trim)
                    .filter(|t| !t.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )),
            (Kind::Text | Kind::Path | Kind::Variable, Value::String(_, text)) => {
                if text.is_empty() {
                    return unreadable("is empty", "give it a value, or leave the key out");
                }
                Ok(Parsed::Text(text.clone()))
            }
            (Kind::Properties, Value::String(_, text)) => Ok(Parsed::Text(text.clone())),
            (Kind::Properties, Value::Bool(_, flag)) => Ok(Parsed::Text(flag.to_string())),
            (Kind::Properties, Value::Num(_, number)) => match signed(number) {
                Some(number) => Ok(Parsed::Text(number.to_string())),
                None => Ok(Parsed::Text(
                    number.to_f64().unwrap_or_default().to_string(),
                )),
            },
            (Kind::SecretProperties, Value::String(_, text)) => Ok(Parsed::Text(text.clone())),
            _ => self.wrong(value),
        }
    }

    fn in_range(self, number: i64) -> Result<Parsed, Unreadable> {
        match self {
            Kind::Integer { min, max, .. } if number < min || number > max => unreadable(
                format!("{number} is out of range"),
                format!("it must be at least {min} and at most {max}"),
            ),
            _ => Ok(Parsed::Integer(number)),
        }
    }

    /// What such a value looks like.
    pub fn help(self) -> String {
        match self {
            Kind::Text => "write text in quotes".into(),
            Kind::Path => "write a path in quotes: \"/etc/outflow/ca.pem\"".into(),
            Kind::Variable => "write an environment variable's name in quotes".into(),
            Kind::Flag => "write true or false".into(),
            Kind::Integer {
                word: Some(word), ..
            } => format!("write a whole number, or {word:?}"),
            Kind::Integer { .. } => "write a whole number".into(),
            Kind::Bytes { .. } => "write a number and a unit in quotes: \"64MiB\", \"1MB\"".into(),
            Kind::Duration { off, .. } => format!(
                "write a number and a unit in quotes: \"500ms\", \"30s\", \"10m\", \"1h\", \"7d\"{}",
                if off { "; or \"off\"" } else { "" }
            ),
            Kind::Choice(choices) => {
                let choices: Vec<_> = choices.iter().map(|c| format!("{c:?}")).collect();
                format!("choose {}", choices.join(", "))
            }
            Kind::List => "write a list of texts: [\"one\", \"two\"]".into(),
            Kind::Properties => "write text, a number, true or false".into(),
            Kind::SecretProperties => {
                "write where the secret is: { file = \"/run/secrets/x\" } or { env = \"X\" }".into()
            }
        }
    }

    fn wrong<T>(self, value: &Value) -> Result<T, Unreadable> {
        let wanted = match self {
            Kind::Text | Kind::Path | Kind::Variable => "text",
            Kind::Flag => "true or false",
            Kind::Integer { .. } => "a whole number",
            Kind::Bytes { .. } => "a size",
            Kind::Duration { .. } => "a time",
            Kind::Choice(_) => "one of the choices",
            Kind::List => "a list of texts",
            Kind::Properties => "text, a number, true or false",
            Kind::SecretProperties => "the place of a secret",
        };
        let found = match (self, value) {
            (Kind::Bytes { .. } | Kind::Duration { .. }, Value::String(_, text)) => {
                format!("{:?}", printable(text))
            }
            (_, Value::String(..) | Value::Char(..)) => "text".into(),
            (_, Value::Bool(_, flag)) => flag.to_string(),
            (_, Value::Num(_, number)) => match signed(number) {
                Some(number) => number.to_string(),
                None => "a number with a fraction".into(),
            },
            (_, Value::Dict(..)) => "a table".into(),
            (_, Value::Array(..)) => "a list".into(),
            (_, Value::Empty(..)) => "nothing".into(),
        };
        unreadable(format!("{found} isn't {wanted}"), self.help())
    }
}

fn signed(number: &figment::value::Num) -> Option<i64> {
    use figment::value::Num;
    match *number {
        Num::I64(n) => Some(n),
        _ => number.to_u128().and_then(|n| i64::try_from(n).ok()),
    }
}

const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

fn parse_bytes_value(value: &Value, stringly: bool) -> Option<u64> {
    match value {
        Value::Num(_, number) => signed(number).and_then(|n| u64::try_from(n).ok()),
        Value::String(_, text) => parse_bytes(text).or_else(|| {
            if stringly {
                text.trim().parse().ok()
            } else {
                None
            }
        }),
        _ => None,
    }
}

/// Reads a size such as `64MiB`.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text.trim())?;
    let (_, factor) = BYTE_UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*factor)
}

/// Writes a size as [`parse_bytes`] reads it.
pub fn format_bytes(bytes: u64) -> String {
    BYTE_UNITS
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, factor)| format!("{}{unit}", bytes / factor),
        )
}

const TIME_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a time such as `30s` or `1h30m`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut millis = 0_u64;
    loop {
        let (number, tail) = split_number(rest)?;
        let end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        millis = millis.checked_add(number.checked_mul(*factor)?)?;
        if tail.is_empty() {
            return Some(Duration::from_millis(millis));
        }
        rest = tail;
    }
}

/// Writes a time as [`parse_duration`] reads it.
pub fn format_duration(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    TIME_UNITS
        .iter()
        .rev()
        .find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor))
        .map_or_else(
            || format!("{millis}ms"),
            |(unit, factor)| format!("{}{unit}", millis / factor),
        )
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest.trim_start()))
}

fn bytes_in_range(bytes: u64, min: u64, max: u64) -> Result<Parsed, Unreadable> {
    if bytes < min || bytes > max {
        return unreadable(
            format!("{} is out of range", format_bytes(bytes)),
            format!(
                "it must be at least {} and at most {}",
                format_bytes(min),
                format_bytes(max)
            ),
        );
    }
    Ok(Parsed::Bytes(bytes))
}

fn duration_in_range(time: Duration, min: u64, max: u64) -> Result<Parsed, Unreadable> {
    let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
    if time < min || time > max {
        return unreadable(
            format!("{} is out of range", format_duration(time)),
            format!(
                "it must be at least {} and at most {}",
                format_duration(min),
                format_duration(max)
            ),
        );
    }
    Ok(Parsed::Duration(time))
}

impl Parsed {
    /// As it would stand in a file.
    pub fn to_toml(&self) -> String {
        match self {
            Parsed::Text(text) => quote(text),
            Parsed::Flag(flag) => flag.to_string(),
            Parsed::Integer(number) => number.to_string(),
            Parsed::Bytes(bytes) => quote(&format_bytes(*bytes)),
            Parsed::Duration(time) => quote(&format_duration(*time)),
            Parsed::List(texts) => {
                let texts: Vec<_> = texts.iter().map(|t| quote(t)).collect();
                format!("[{}]", texts.join(", "))
            }
            Parsed::Word(word) => quote(word),
        }
    }
}

/// A basic TOML string.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
