//! What a value must be: one JSON object and nothing after it. Pure.
//!
//! Then every raw line break in it is insignificant (JSON strings can't hold raw control bytes) and can be
//! blanked, so a record can't smuggle in a bulk action. No tree is built: a value is looked over and copied.

use serde::Deserialize as _;
use serde::de::IgnoredAny;

use crate::sinks::Rejection;

/// Deepest nesting that is taken.
pub const MAX_DEPTH: usize = 128;

/// Appends `value` to `body` as one line (with its line break), or says why it isn't one JSON object.
pub fn append_object(body: &mut Vec<u8>, value: &[u8]) -> Result<(), Rejection> {
    check_object(value)?;
    let start = body.len();
    body.extend_from_slice(value);
    if let Some(copied) = body.get_mut(start..) {
        blank_line_breaks(copied);
    }
    body.push(b'\n');
    Ok(())
}

fn check_object(value: &[u8]) -> Result<(), Rejection> {
    if value.starts_with(b"\xEF\xBB\xBF") {
        return Err(not_json("it starts with a byte order mark"));
    }
    // Checked as a whole: passing over a string doesn't look at its bytes.
    let text = std::str::from_utf8(value)
        .map_err(|e| not_json(&format!("invalid UTF-8 at byte {}", e.valid_up_to())))?;
    match text.bytes().find(|b| !b.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(_) => return Err(not_json("it isn't an object")),
        None => return Err(not_json("it is empty")),
    }
    if is_deeper_than(value, MAX_DEPTH) {
        return Err(reject(
            "too_deep",
            format!("it is nested deeper than {MAX_DEPTH}"),
        ));
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    // The parser's messages name a line and a column, never content.
    IgnoredAny::deserialize(&mut parser)
        .and_then(|_| parser.end())
        .map_err(|e| not_json(&e.to_string()))
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

fn not_json(why: &str) -> Rejection {
    reject(
        "not_json",
        format!("the value must be one JSON object: {why}"),
    )
}

fn reject(reason: &str, detail: String) -> Rejection {
    Rejection {
        reason: reason.to_owned(),
        detail,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(value: &[u8]) -> Result<String, String> {
        let mut body = Vec::new();
        append_object(&mut body, value).map_err(|r| r.reason)?;
        Ok(String::from_utf8(body).expect("UTF-8 in, UTF-8 out"))
    }

    #[test]
    fn one_object_is_taken_as_it_is() {
        for value in [r#"{}"#, r#" {"a":1} "#, r#"{"a":{"b":[1,2,{"c":null}]}}"#] {
            assert_eq!(line(value.as_bytes()), Ok(format!("{value}\n")));
        }
        assert_eq!(line(b"{\"a\"\r\n:\n1}\n"), Ok("{\"a\"  : 1} \n".into()));
        let separators = "{\"a\":\"\u{2028}\\n\"}";
        assert_eq!(line(separators.as_bytes()), Ok(format!("{separators}\n")));
    }

    #[test]
    fn anything_else_is_rejected() {
        let smuggled =
            b"{\"a\":1}\n{\"delete\":{\"_index\":\"x\",\"_id\":\"1\"}}\n{\"b\":2}".as_slice();
        for value in [
            b"".as_slice(),
            b"  \n",
            b"null",
            b"1",
            b"\"a\"",
            b"[{}]",
            b"{\"a\":1",
            b"{\"a\":1}}",
            b"{a:1}",
            b"{\"a\":NaN}",
            b"{\"a\":1,}",
            b"{} {}",
            b"{\"a\":\"line\nbreak\"}",
            b"\xEF\xBB\xBF{}",
            b"{\"a\":\"\xFF\"}",
            b"\xFF\xFE{\0}\0",
            smuggled,
        ] {
            assert_eq!(line(value), Err("not_json".into()), "{value:?}");
        }
    }

    #[test]
    fn a_rejected_value_leaves_nothing_behind() {
        let mut body = b"before".to_vec();
        assert!(append_object(&mut body, b"{} {}").is_err());
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
