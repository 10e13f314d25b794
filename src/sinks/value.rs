//! What a record's value must be, for both sinks: one JSON object in UTF-8 and nothing after it. Pure.
//!
//! Then every raw line break in it is insignificant (JSON strings can't hold raw control bytes) and can be
//! blanked, so that a record is always one line: it can't smuggle in a bulk action, nor pretend to be two. No
//! tree is built: a value is looked over and copied once.

use serde::Deserialize as _;
use serde::de::IgnoredAny;

use crate::sinks::Rejection;
use crate::sinks::json;

pub use json::MAX_DEPTH;

/// Appends `value` to `body` as one line (with its line break), or says why it isn't one JSON object; then
/// nothing is appended.
pub fn append_line(body: &mut Vec<u8>, value: &[u8]) -> Result<(), Rejection> {
    let known = json::look_over(value).filter(|_| std::str::from_utf8(value).is_ok());
    let object = match known {
        Some(_) => value.trim_ascii(),
        None => as_object(value)?,
    };
    let start = body.len();
    body.reserve(object.len() + 1);
    body.extend_from_slice(object);
    if known.is_none_or(|object| object.has_line_breaks)
        && let Some(copied) = body.get_mut(start..)
    {
        blank_line_breaks(copied);
    }
    body.push(b'\n');
    Ok(())
}

/// The JSON object that `value` is, without white space around it; or what is wrong with it.
fn as_object(value: &[u8]) -> Result<&[u8], Rejection> {
    // Checked as a whole: passing over a string doesn't look at its bytes.
    let text = std::str::from_utf8(value).map_err(|e| {
        reject(
            "invalid_utf8",
            format!("the value isn't UTF-8: byte {} is wrong", e.valid_up_to()),
        )
    })?;
    if is_deeper_than(value, MAX_DEPTH) {
        return Err(reject(
            "too_deep",
            format!("the value is nested deeper than {MAX_DEPTH}"),
        ));
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    // The parser's messages name a line and a column, never content. It takes no byte order mark.
    IgnoredAny::deserialize(&mut parser)
        .and_then(|_| parser.end())
        .map_err(|e| reject("not_json", format!("the value isn't one JSON value: {e}")))?;
    let object = value.trim_ascii();
    if object.starts_with(b"{") {
        Ok(object)
    } else {
        Err(reject(
            "not_an_object",
            "the value is JSON, but not an object",
        ))
    }
}

/// Whether objects and arrays nest deeper than `limit`. The parser passes over values without recursing, so
/// it has no limit of its own; Elasticsearch and whoever reads the documents have.
fn is_deeper_than(value: &[u8], limit: usize) -> bool {
    // Nearly every record has fewer brackets than the limit, and this is one fast pass.
    if memchr::memchr2_iter(b'{', b'[', value).nth(limit).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in value {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

fn blank_line_breaks(bytes: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = bytes
        .get(from..)
        .and_then(|rest| memchr::memchr2(b'\n', b'\r', rest))
    {
        if let Some(byte) = bytes.get_mut(from + at) {
            *byte = b' ';
        }
        from += at + 1;
    }
}

/// A refusal of ours.
pub fn reject(reason: &str, detail: impl Into<String>) -> Rejection {
    Rejection {
        reason: reason.to_owned(),
        detail: detail.into(),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(value: &[u8]) -> Result<String, String> {
        let mut body = Vec::new();
        append_line(&mut body, value).map_err(|r| r.reason)?;
        Ok(String::from_utf8(body).expect("UTF-8 in, UTF-8 out"))
    }

    #[test]
    fn an_object_becomes_one_line_as_it_was() {
        for value in [
            "{}",
            r#"{"a":{"b":[1,2,{"c":null}]}}"#,
            r#"{"a":1.10,"b":"\n \u00e9 é","a":2}"#,
            "{\"a\":\"\u{2028}\\n\"}",
        ] {
            assert_eq!(line(value.as_bytes()), Ok(format!("{value}\n")));
        }
        assert_eq!(line(b" {}\r\n"), Ok("{}\n".into()));
        assert_eq!(line(b"{\"a\"\r\n:\n1}\n"), Ok("{\"a\"  : 1}\n".into()));
    }

    #[test]
    fn what_is_not_one_object_is_refused_with_its_reason() {
        let smuggled =
            b"{\"a\":1}\n{\"delete\":{\"_index\":\"x\",\"_id\":\"1\"}}\n{\"b\":2}".as_slice();
        let table: [(&[u8], &str); 17] = [
            (b"", "not_json"),
            (b"  \n", "not_json"),
            (b"hello", "not_json"),
            (b"{\"a\":1", "not_json"),
            (b"{\"a\":1}}", "not_json"),
            (b"{a:1}", "not_json"),
            (b"{\"a\":NaN}", "not_json"),
            (b"{\"a\":1,}", "not_json"),
            (b"{} {}", "not_json"),
            (b"{\"a\":\"line\nbreak\"}", "not_json"),
            (b"\xEF\xBB\xBF{}", "not_json"),
            (smuggled, "not_json"),
            (b"null", "not_an_object"),
            (b"\"text\"", "not_an_object"),
            (b"[{}]", "not_an_object"),
            (b"{\"a\":\"\xFF\"}", "invalid_utf8"),
            (b"\xFF\xFE{\0}\0", "invalid_utf8"),
        ];
        for (value, reason) in table {
            assert_eq!(line(value), Err(reason.into()), "{value:?}");
        }
    }

    #[test]
    fn a_rejected_value_leaves_nothing_behind() {
        let mut body = b"before".to_vec();
        assert!(append_line(&mut body, b"{} {}").is_err());
        assert_eq!(body, b"before");
    }

    #[test]
    fn nesting_has_a_limit_and_brackets_in_strings_are_not_nesting() {
        let nested = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
        assert!(line(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            line(nested(MAX_DEPTH + 1).as_bytes()),
            Err("too_deep".into())
        );
        assert_eq!(
            line(nested(1_000_000).as_bytes()),
            Err("too_deep".into()),
            "no stack is used"
        );
        let brackets = format!(
            r#"{{"a":"{}\"{}"}}"#,
            "{[".repeat(MAX_DEPTH),
            "[".repeat(999)
        );
        assert!(line(brackets.as_bytes()).is_ok());
        let siblings = format!("{{\"a\":[{}{{}}]}}", "{},".repeat(MAX_DEPTH * 2));
        assert!(line(siblings.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_taken_is_one_line_that_means_the_same(value in ".{0,200}", pretty: bool) {
            let object = serde_json::json!({ "a": value, "b": [{ "c": value }] });
            let bytes = if pretty {
                serde_json::to_vec_pretty(&object)
            } else {
                serde_json::to_vec(&object)
            }.expect("JSON");
            let line = line(&bytes).expect("an object");
            prop_assert_eq!(line.bytes().filter(|b| matches!(b, b'\n' | b'\r')).count(), 1);
            let back: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            prop_assert_eq!(back, object);
        }

        #[test]
        fn any_bytes_give_one_line_or_a_rejection(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(line) = line(&value) {
                let is_object_line = line.ends_with('\n') && line.trim_start().starts_with('{');
                prop_assert!(is_object_line);
                prop_assert_eq!(line.matches('\n').count(), 1);
            }
        }
    }
}
