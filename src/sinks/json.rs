//! Whether bytes are one JSON object, in one pass over them: no tree, no number, no string is made. Pure.
//!
//! It says yes quickly and never wrongly; of what it doesn't say yes to, a real parser finds out what is wrong.
//! RFC 8259's grammar; that the bytes are UTF-8 is for the caller to check.

/// Deepest nesting that is taken; whoever reads the sinks has limits of their own.
pub const MAX_DEPTH: usize = 128;

/// What is known of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// Whether there are line breaks between its tokens (there can't be any within them).
    pub has_line_breaks: bool,
}

/// Looks `bytes` over: one object, white space around it, nothing else, nested no deeper than [`MAX_DEPTH`].
/// `None`: it isn't, or it is for a parser to say.
pub fn look_over(bytes: &[u8]) -> Option<Object> {
    let mut scanner = Scanner {
        bytes,
        at: 0,
        has_line_breaks: false,
    };
    scanner.white_space();
    if scanner.peek()? != b'{' {
        return None;
    }
    scanner.value()?;
    scanner.white_space();
    (scanner.at == bytes.len()).then_some(Object {
        has_line_breaks: scanner.has_line_breaks,
    })
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    has_line_breaks: bool,
}

/// What is open around a place: a bit each, the innermost lowest, 1 for an object.
#[derive(Default)]
struct Nesting {
    kinds: u128,
    depth: usize,
}

impl Nesting {
    fn open(&mut self, is_object: bool) -> Option<()> {
        self.kinds = self.kinds << 1 | u128::from(is_object);
        self.depth += 1;
        (self.depth <= MAX_DEPTH).then_some(())
    }

    fn close(&mut self) {
        self.kinds >>= 1;
        self.depth -= 1;
    }

    fn is_in_object(&self) -> bool {
        self.kinds & 1 == 1
    }
}

impl Scanner<'_> {
    /// One value with all that is in it.
    fn value(&mut self) -> Option<()> {
        let mut nesting = Nesting::default();
        loop {
            self.white_space();
            let opened = match self.peek()? {
                b'{' => {
                    nesting.open(true)?;
                    self.opens(b'}')?
                }
                b'[' => {
                    nesting.open(false)?;
                    self.opens(b']')?
                }
                b'"' => {
                    self.string()?;
                    false
                }
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                    false
                }
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                _ => return None,
            };
            if opened {
                if nesting.is_in_object() {
                    self.key()?;
                }
                continue;
            }
            // A bracket that closes at once closes here as any other does.
            loop {
                if nesting.depth == 0 {
                    return Some(());
                }
                self.white_space();
                match (self.peek()?, nesting.is_in_object()) {
                    (b',', is_in_object) => {
                        self.at += 1;
                        if is_in_object {
                            self.key()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        nesting.close();
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Behind an opening bracket: whether something is in there.
    fn opens(&mut self, closing: u8) -> Option<bool> {
        self.at += 1;
        self.white_space();
        Some(self.peek()? != closing)
    }

    /// A name and its colon.
    fn key(&mut self) -> Option<()> {
        self.white_space();
        if self.peek()? != b'"' {
            return None;
        }
        self.string()?;
        self.white_space();
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        Some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn white_space(&mut self) {
        while let Some(byte) = self.peek().filter(|byte| *byte <= b' ') {
            match byte {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.has_line_breaks = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    /// From its opening quote to behind its closing one.
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.at += plain_prefix(self.bytes.get(self.at..)?);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let length = match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                6
            }
            _ => return None,
        };
        self.at += length;
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// At least one.
    fn digits(&mut self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        let num = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += num;
        (num > 0).then_some(())
    }

    /// Nothing is opened by it.
    fn literal(&mut self, word: &[u8]) -> Option<bool> {
        let there = self.bytes.get(self.at..)?.starts_with(word);
        self.at += word.len();
        there.then_some(false)
    }
}

/// How many bytes there are before the first that ends a string's plain run: a quote, a backslash, a control
/// character. Eight at a time.
fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let found = special_bytes(u64::from_le_bytes(*word));
        if found != 0 {
            return 8 * n + found.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let plain = rest.iter().position(is_special).unwrap_or(rest.len());
    bytes.len() - rest.len() + plain
}

/// The highest bit of each byte that ends a plain run; right up to the first, beyond it perhaps too many. See
/// "Bit Twiddling Hacks", Sean Eron Anderson: hasless, haszero.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let less = |word: u64, than: u64| word.wrapping_sub(ONES * than) & !word;
    let equal = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    (less(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a real parser says.
    fn is_object(bytes: &[u8]) -> bool {
        // Numbers of any size: a tree would have to hold them.
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
        is_json && bytes.trim_ascii_start().starts_with(b"{")
    }

    #[test]
    fn every_part_of_the_grammar_is_known() {
        for good in [
            "{}",
            " {\t}\r\n",
            r#"{"a":{},"b":[],"c":[[]],"d":[{}]}"#,
            r#"{"a":[1,-0,0.5,10e3,1E-2,-1.25e+7],"b":[true,false,null]}"#,
            r#"{"":"","escapes":"\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00","plain":"ä😀 and so on and on"}"#,
            "{ \"a\" : [ 1 , 2 ] , \"b\" : { \"c\" : 3 } }",
        ] {
            assert!(is_object(good.as_bytes()), "{good}");
            let has_line_breaks = good.contains('\n');
            let object = Object { has_line_breaks };
            assert_eq!(look_over(good.as_bytes()), Some(object), "{good}");
        }
    }

    #[test]
    fn what_is_no_object_is_never_taken_for_one() {
        for bad in [
            "",
            " ",
            "{",
            "}",
            "{]",
            "[}",
            "[]",
            "1",
            "null",
            "\"a\"",
            "{} {}",
            "{}}",
            "{{}}",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a" 1}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{a:1}"#,
            r#"{"a":01}"#,
            r#"{"a":-}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e}"#,
            r#"{"a":+1}"#,
            r#"{"a":tru}"#,
            r#"{"a":nul"#,
            r#"{"a":NaN}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1 2]}"#,
            r#"{"a":[}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            r#"{"a":"\u12"}"#,
            r#"{"a":"open}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":\"12345678\u{1f}\"}",
            "\u{feff}{}",
            "{\"a\":1}\u{0}",
            "{'a':1}",
            "{\"a\":\"b\\",
        ] {
            assert!(!is_object(bad.as_bytes()), "{bad}");
            assert_eq!(look_over(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| {
            let open = "{\"a\":[".repeat(depth / 2);
            let close = "]}".repeat(depth / 2);
            format!("{open}{close}")
        };
        assert!(look_over(nested(MAX_DEPTH).as_bytes()).is_some());
        assert!(look_over(nested(MAX_DEPTH + 2).as_bytes()).is_none());
    }

    /// Bytes that a grammar is made of, so that chance comes close to it.
    fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
        let tokens = [
            "{", "}", "[", "]", ":", ",", "\"a\"", "\"b\\n\"", "1", "-0.5e3", "true", "null", " ",
            "\n", "\"", "\\", "é",
        ];
        let token = proptest::sample::select(tokens.to_vec());
        proptest::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat().into_bytes())
    }

    fn any_value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::hash_map(".{0,10}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_an_object(bytes in nearly_json()) {
            if look_over(&bytes).is_some() {
                prop_assert!(is_object(&bytes), "{:?}", String::from_utf8_lossy(&bytes));
            }
        }

        #[test]
        fn an_object_is_taken_and_with_a_byte_changed_only_if_it_still_is_one(
            value in any_value(), at in any::<proptest::sample::Index>(), byte in any::<u8>()
        ) {
            let mut text = serde_json::json!({ "a": value }).to_string().into_bytes();
            prop_assert!(look_over(&text).is_some());
            let place = at.index(text.len());
            text[place] = byte;
            let is_taken = look_over(&text).is_some() && std::str::from_utf8(&text).is_ok();
            prop_assert!(!is_taken || is_object(&text) , "{:?}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn plain_runs_end_where_they_do(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            let expected = bytes.iter().position(is_special).unwrap_or(bytes.len());
            prop_assert_eq!(plain_prefix(&bytes), expected);
        }
    }
}
