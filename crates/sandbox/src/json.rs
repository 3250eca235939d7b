//! The rules for JSON that enters or leaves a guest: UTF-8, exactly one value, a bounded depth, no
//! key twice in an object, numbers that are i64, u64 or finite f64. Checked in one pass over the
//! bytes, without building anything.

use std::borrow::Cow;
use std::fmt;

/// How deep an output may nest.
pub(crate) const OUTPUT_DEPTH: usize = 64;
/// How deep an input may nest: as deep as `serde_json` reads.
pub(crate) const INPUT_DEPTH: usize = 127;
/// Keys of the objects that are open at any place, all together. They are sorted to find one that is there twice, which
/// nothing interrupts and no fuel pays for.
const MAX_KEYS: usize = 100_000;

/// The text of a JSON value in its one canonical form: no spaces, keys sorted. What is stored,
/// hashed and given to actions is this text.
pub fn canonical_json(value: &serde_json::Value) -> String {
    // Without the feature `preserve_order` a map iterates by key. A test holds on to that.
    value.to_string()
}

/// JSON that a guest attaches to something else (a failure's details, the fields of a log line). By the rules of an
/// output it is that value; anything else is the text that it is, so that a mistake in an extra hides nothing else and
/// whoever stores it can read it back.
pub(crate) fn attached(text: &str) -> serde_json::Value {
    match check(text.as_bytes(), OUTPUT_DEPTH) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        Err(_) => text.into(),
    }
}

/// What is wrong with a text, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    what: String,
    at: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// Checks that `bytes` are exactly one JSON value by the rules, and returns its text without the
/// white space around it.
pub(crate) fn check(bytes: &[u8], max_depth: usize) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Fault { what: "not UTF-8".into(), at: error.valid_up_to() })?;
    let mut reader = Reader { text, at: 0, depth: 0, max_depth, keys: Vec::new() };
    reader.space();
    let start = reader.at;
    if start == text.len() {
        return Err(Fault { what: "no JSON value: nothing but white space".into(), at: start });
    }
    reader.value()?;
    let end = reader.at;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.fault("more after the end of the JSON value"));
    }
    Ok(&text[start..end])
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    max_depth: usize,
    /// The keys of all objects that are open, the innermost last.
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Reader<'a> {
    fn fault(&self, what: impl Into<String>) -> Fault {
        Fault { what: what.into(), at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expected(&self, expected: &str) -> Fault {
        match self.text[self.at..].chars().next() {
            Some(found) => self.fault(format!("expected {expected}, found {found:?}")),
            None => self.fault(format!("expected {expected}, found the end")),
        }
    }

    fn value(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.expected("a JSON value")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("a JSON value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn nested(&mut self, body: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.depth == self.max_depth {
            return Err(self.fault(format!("nested deeper than {} levels", self.max_depth)));
        }
        self.depth += 1;
        self.at += 1;
        self.space();
        body(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            self.value()?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.expected("',' or ']'")),
            }
        }
    }

    fn object(&mut self) -> Result<(), Fault> {
        let first_key = self.keys.len();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in quotes"));
            }
            let key = self.string()?;
            if self.keys.len() == MAX_KEYS {
                return Err(self.fault(format!("more than {MAX_KEYS} keys in an object and those around it")));
            }
            self.keys.push(key);
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.expected("':'"));
            }
            self.at += 1;
            self.space();
            self.value()?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.expected("',' or '}'")),
            }
        }
        let doubled = doubled(&mut self.keys[first_key..]).map(str::to_owned);
        if let Some(key) = doubled {
            return Err(self.fault(format!("the key {key:?} twice in the object that ends")));
        }
        self.keys.truncate(first_key);
        self.at += 1;
        Ok(())
    }

    /// Reads a string and returns what it says.
    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.at += 1;
        let start = self.at;
        let mut escaped: Option<String> = None;
        let mut plain_from = start;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            self.at += plain.unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => {
                    let plain = &self.text[plain_from..self.at];
                    self.at += 1;
                    return Ok(match escaped {
                        None => Cow::Borrowed(plain),
                        Some(text) => Cow::Owned(text + plain),
                    });
                }
                Some(b'\\') => {
                    let text = escaped.get_or_insert_with(String::new);
                    text.push_str(&self.text[plain_from..self.at]);
                    let read = self.escape()?;
                    escaped.get_or_insert_with(String::new).push(read);
                    plain_from = self.at;
                }
                Some(_) => return Err(self.fault("a control character in a string")),
                None => return Err(self.fault("a string that does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        self.at += 1;
        let read = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.fault("an unknown escape in a string")),
        };
        self.at += 1;
        Ok(read)
    }

    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff if self.text.as_bytes()[self.at..].starts_with(b"\\u") => {
                self.at += 1;
                let second = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.fault("half of a surrogate pair in a string"));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| self.fault("half of a surrogate pair in a string"))
    }

    fn hex4(&mut self) -> Result<u32, Fault> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or_else(|| self.fault("an escape without four hex digits"))?;
        let value = digits
            .iter()
            .fold(0, |value, digit| value * 16 + char::from(*digit).to_digit(16).unwrap_or_default());
        self.at += 5;
        Ok(value)
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        let mut float = false;
        if whole == 0 || (leading_zero && whole > 1) {
            self.at = start;
            return Err(self.fault("a number that is not JSON's"));
        }
        if self.peek() == Some(b'.') {
            float = true;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.expected("a digit"));
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            float = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.expected("a digit"));
            }
        }
        let text = &self.text[start..self.at];
        // 18 digits always fit; what is longer is looked at.
        let fits = if float {
            text.parse::<f64>().is_ok_and(f64::is_finite)
        } else {
            whole <= 18 || text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok()
        };
        if fits {
            return Ok(());
        }
        let shown: String = text.chars().take(40).collect();
        self.at = start;
        Err(self.fault(format!(
            "the number {shown}, which is neither an i64, a u64 nor a finite f64 (send it as a \
             string)"
        )))
    }
}

/// A key that is there twice. Sorts what is long.
fn doubled<'k>(keys: &'k mut [Cow<'_, str>]) -> Option<&'k str> {
    if keys.len() <= 8 {
        let pair = keys.iter().enumerate().find(|(index, key)| keys[..*index].contains(key));
        return pair.map(|(_, key)| key.as_ref());
    }
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn fault(text: &[u8]) -> String {
        check(text, OUTPUT_DEPTH).unwrap_err().to_string()
    }

    #[test]
    fn what_is_attached_is_a_value_by_the_rules_or_else_a_text() {
        assert_eq!(attached(r#" {"n": 1} "#), json!({"n": 1}));
        let deep = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(attached(&deep(64)).is_array());
        for text in [&deep(65), &deep(100_000), "not json", "", r#"{"a":1,"a":2}"#, "1e999"] {
            assert_eq!(attached(text), json!(text));
        }
    }

    #[test]
    fn keys_that_are_open_together_are_counted() {
        let object = |keys: usize| {
            let keys: Vec<String> = (0..keys).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", keys.join(","))
        };
        let half = object(MAX_KEYS / 2);
        assert!(check(object(MAX_KEYS).as_bytes(), 64).is_ok());
        assert!(check(format!("[{half},{half},{half}]").as_bytes(), 64).is_ok());
        let told = fault(object(MAX_KEYS + 1).as_bytes());
        assert!(told.starts_with("more than 100000 keys in an object and those around it at byte"), "{told}");
        let around = format!("{},\"x\":{half}}}", half.trim_end_matches('}'));
        assert!(check(around.as_bytes(), 64).is_err());
    }

    #[test]
    fn one_value_is_taken_without_the_space_around_it() {
        assert_eq!(
            check(b" \n {\"a\": [1, -2.5e3, \"\\u00e4\"]} \t", 64).unwrap(),
            "{\"a\": [1, -2.5e3, \"\\u00e4\"]}"
        );
        for text in [
            "0",
            "-0",
            "true",
            "null",
            "\"\\ud83d\\ude00\"",
            "18446744073709551615",
            "-9223372036854775808",
            "1e308",
            "{}",
            "[]",
            "0.1",
        ] {
            assert_eq!(check(text.as_bytes(), 64).unwrap(), text);
        }
    }

    #[test]
    fn faults_say_what_and_where() {
        let faults = [
            &b""[..],
            b"  ",
            b"{\"a\":1} {}",
            b"{\"a\":1,\"\\u0061\":2}",
            b"[1,]",
            b"{a:1}",
            b"nul",
            b"\"\xff\"",
            b"18446744073709551616",
            b"-9223372036854775809",
            b"1e999",
            b"01",
            b"1.",
            b"NaN",
            b"\"a\nb\"",
            b"\"abc",
            b"\"\\ud800\"",
            b"\"\\x\"",
            b"[1 2]",
            b"{\"a\"}",
        ]
        .map(|text| {
            format!("{:30} {}", String::from_utf8_lossy(text).escape_debug().to_string(), fault(text))
        });
        insta::assert_snapshot!(faults.join("\n"));
    }

    #[test]
    fn depth_is_counted_in_arrays_and_objects() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(nested(64).as_bytes(), 64).is_ok());
        assert_eq!(fault(nested(65).as_bytes()), "nested deeper than 64 levels at byte 64");
    }

    #[test]
    fn a_key_is_found_twice_among_many() {
        let many: Vec<String> = (0..50).map(|n| format!("\"k{}\":0", n % 49)).collect();
        assert!(fault(format!("{{{}}}", many.join(",")).as_bytes()).contains("\"k0\" twice"));
        // The same key in two objects is fine.
        assert!(check(b"[{\"a\":{\"a\":1}},{\"a\":2}]", 64).is_ok());
    }

    #[test]
    fn equal_values_have_one_text() {
        let one: Value = serde_json::from_str(r#"{"b": {"z": 1, "a": 2}, "a": [1.0]}"#).unwrap();
        assert_eq!(canonical_json(&one), r#"{"a":[1.0],"b":{"a":2,"z":1}}"#);
        assert_eq!(canonical_json(&json!({"a": [1.0], "b": {"a": 2, "z": 1}})), canonical_json(&one));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,3}", inner, 0..12)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_serde_json_writes_is_taken(value in values()) {
            let text = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(check(text.as_bytes(), 127), Ok(text.as_str()));
        }

        #[test]
        fn what_is_taken_is_what_serde_json_reads(text in r#"[\[\]{}",:0-9eE.+\-truefalsn \\u]{0,12}"#) {
            let strict = check(text.as_bytes(), 127).is_ok();
            let read = serde_json::from_str::<Value>(&text);
            // What we take, it takes. What it takes and we do not has a key twice.
            prop_assert!(!strict || read.is_ok(), "{text}");
            if let (false, Ok(read)) = (strict, read) {
                let whole_float = read.as_f64().is_some_and(|n| n.abs() >= 9e18);
                prop_assert!(text.contains('{') || whole_float, "{text}");
            }
        }
    }
}
