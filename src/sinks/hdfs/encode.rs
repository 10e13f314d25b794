//! One record as one line of a JSON lines file. Pure.
//!
//! A value must be one JSON object in UTF-8, and nothing after it. Raw line breaks in it are then whitespace
//! (a JSON string can't hold one) and are blanked, so a record is always exactly one line and can't pretend to
//! be two.

use serde_json::value::RawValue;

use crate::sinks::Rejection;

/// Appends `value` and a line break to `out`, copying it once. Nothing is appended if it is refused.
pub fn append_line(value: &[u8], out: &mut Vec<u8>) -> Result<(), Rejection> {
    let object = as_object(value)?;
    let start = out.len();
    out.reserve(object.len() + 1);
    out.extend_from_slice(object.as_bytes());
    for byte in &mut out[start..] {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    out.push(b'\n');
    Ok(())
}

/// The JSON object that `value` is, without whitespace around it.
fn as_object(value: &[u8]) -> Result<&str, Rejection> {
    let text = std::str::from_utf8(value).map_err(|error| {
        let detail = format!(
            "the value isn't UTF-8: byte {} is wrong",
            error.valid_up_to()
        );
        rejection("invalid_utf8", detail)
    })?;
    let json: &RawValue = serde_json::from_str(text).map_err(|error| {
        // serde_json says where and what it missed, and quotes nothing.
        rejection(
            "not_json",
            format!("the value isn't one JSON value: {error}"),
        )
    })?;
    let json = json.get();
    if json.starts_with('{') {
        Ok(json)
    } else {
        let detail = "the value is JSON, but not an object".to_owned();
        Err(rejection("not_an_object", detail))
    }
}

/// A refusal of ours.
pub fn rejection(reason: &str, detail: String) -> Rejection {
    Rejection {
        reason: reason.to_owned(),
        detail,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(value: &[u8]) -> Result<String, String> {
        let mut out = b"before\n".to_vec();
        match append_line(value, &mut out) {
            Ok(()) => Ok(String::from_utf8_lossy(&out[7..]).into_owned()),
            Err(rejection) => {
                assert_eq!(out, b"before\n", "a refused record leaves no trace");
                Err(rejection.reason)
            }
        }
    }

    #[test]
    fn an_object_becomes_one_line_as_it_was() {
        let value = r#"{"a":1.10,"b":"\n \u00e9 é","a":2}"#;
        assert_eq!(line(value.as_bytes()), Ok(format!("{value}\n")));
        assert_eq!(line(b" {}\r\n"), Ok("{}\n".into()));
        assert_eq!(line(b"{\n \"a\":\r\n 1}"), Ok("{  \"a\":   1}\n".into()));
    }

    #[test]
    fn what_is_not_one_object_is_refused_with_its_reason() {
        let table: [(&[u8], &str); 12] = [
            (b"", "not_json"),
            (b"   ", "not_json"),
            (b"hello", "not_json"),
            (b"{\"a\":1", "not_json"),
            (b"{\"a\":1}{\"a\":2}", "not_json"),
            (b"{\"a\":1}\n{\"a\":2}", "not_json"),
            (b"{\"a\":\"raw\nbreak\"}", "not_json"),
            (b"{\"a\":NaN}", "not_json"),
            ("\u{feff}{}".as_bytes(), "not_json"),
            (b"[1]", "not_an_object"),
            (b"\"text\"", "not_an_object"),
            (b"{\"a\":\"\xff\"}", "invalid_utf8"),
        ];
        for (value, reason) in table {
            assert_eq!(line(value), Err(reason.into()), "{value:?}");
        }
    }

    #[test]
    fn a_bomb_of_brackets_is_refused_or_taken_but_survived() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));
        assert!(line(deep.as_bytes()).is_ok());
        assert_eq!(
            line("[".repeat(1_000_000).as_bytes()),
            Err("not_json".into())
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_line_or_nothing(value in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(text) = line(&value) {
                prop_assert_eq!(text.matches('\n').count(), 1);
                prop_assert!(text.ends_with('\n'));
            }
        }

        #[test]
        fn an_object_means_the_same_afterwards(
            map in prop::collection::btree_map(".*", ".*", 0..5), pretty: bool,
        ) {
            let text = if pretty {
                serde_json::to_string_pretty(&map).expect("strings")
            } else {
                serde_json::to_string(&map).expect("strings")
            };
            let text = line(text.as_bytes()).expect("an object");
            let back: std::collections::BTreeMap<String, String> =
                serde_json::from_str(&text).expect("still JSON");
            prop_assert_eq!(back, map);
        }
    }
}
