//! Takes the values of secrets out of what comes back, before it becomes part of a run.
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value};
use std::ops::Range;
use stepwell_sandbox::LogLine;
use stepwell_workflow::machine::Failure;
use zeroize::Zeroizing;

/// What stands in the place of a secret's value.
pub(crate) const REDACTED: &str = "***";
/// A shorter value would be found in what has nothing to do with it.
pub(crate) const SHORTEST: usize = 6;
/// A piece of base64 that is shorter says too little to be taken for a secret's. The shortest value has as many at least,
/// wherever it stands.
const SHORTEST_BASE64: usize = 7;

/// The texts to look for. Without any, nothing is looked at.
#[derive(Default)]
pub(crate) struct Redactor {
    /// The longest first: one may hold another.
    needles: Vec<Zeroizing<String>>,
}

impl Redactor {
    /// Looks for a value as it is, as JSON and URLs write it, and inside of base64.
    pub(crate) fn add(&mut self, value: &str) {
        if value.len() < SHORTEST {
            return;
        }
        let json = Value::from(value).to_string();
        let mut forms = vec![
            value.to_owned(),
            json[1..json.len() - 1].to_owned(),
            percent_encoded(value),
            lower_case_escapes(&percent_encoded(value)),
            url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
        ];
        for offset in 0..3 {
            forms.extend(within_base64(value, offset));
        }
        for form in forms {
            if !self.needles.iter().any(|known| **known == form) {
                self.needles.push(Zeroizing::new(form));
            }
        }
        self.needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    pub(crate) fn text(&self, text: &mut String) {
        if let Some(plain) = Unescaped::of(text) {
            self.unescaped(text, &plain);
        }
        for needle in &self.needles {
            if text.contains(needle.as_str()) {
                *text = text.replace(needle.as_str(), REDACTED);
            }
        }
    }

    /// Takes out what is hidden by escapes. Where values overlap, all that any of them covers goes.
    fn unescaped(&self, text: &mut String, plain: &Unescaped) {
        let mut found: Vec<Range<usize>> = Vec::new();
        for needle in &self.needles {
            let places = plain.text.match_indices(needle.as_str());
            found.extend(places.map(|(at, _)| plain.place(at)..plain.place(at + needle.len())));
        }
        if found.is_empty() {
            return;
        }
        found.sort_unstable_by_key(|place| place.start);
        let (mut out, mut at) = (String::with_capacity(text.len()), 0);
        for place in found {
            if place.start >= at {
                out.push_str(&text[at..place.start]);
                out.push_str(REDACTED);
            }
            at = at.max(place.end);
        }
        out.push_str(&text[at..]);
        *text = out;
    }

    pub(crate) fn value(&self, value: &mut Value) {
        if self.is_empty() {
            return;
        }
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                let text = number.to_string();
                if self.needles.iter().any(|needle| **needle == text) {
                    *value = REDACTED.into();
                }
            }
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(fields) => {
                let held = |name: &String| {
                    Unescaped::of(name).is_some()
                        || self.needles.iter().any(|needle| name.contains(needle.as_str()))
                };
                if fields.keys().any(held) {
                    let renamed = std::mem::take(fields).into_iter().map(|(mut name, value)| {
                        self.text(&mut name);
                        (name, value)
                    });
                    *fields = renamed.collect::<Map<String, Value>>();
                }
                fields.values_mut().for_each(|field| self.value(field));
            }
        }
    }

    pub(crate) fn failure(&self, failure: &mut Failure) {
        self.text(&mut failure.code);
        self.text(&mut failure.message);
        failure.details.iter_mut().for_each(|details| self.value(details));
    }

    pub(crate) fn logs(&self, logs: &mut [LogLine]) {
        for line in logs {
            self.text(&mut line.message);
            line.fields.iter_mut().for_each(|fields| self.value(fields));
        }
    }
}

/// A text of JSON, or of JSON within JSON, as it reads: `\/` and `\u002f` are both a slash, whoever wrote it.
struct Unescaped {
    text: Zeroizing<String>,
    /// Where each of its bytes, and its end, stands in the original. No text is larger than 4 GiB.
    places: Vec<u32>,
}

impl Unescaped {
    /// `None` where it reads as it is written.
    fn of(original: &str) -> Option<Self> {
        if !original.contains("\\/") && !original.contains("\\u") {
            return None;
        }
        let mut plain = Self { text: Zeroizing::default(), places: Vec::new() };
        let mut at = 0;
        while let Some(c) = original[at..].chars().next() {
            let (c, length) = match c {
                '\\' => match escape(&original[at..]) {
                    Ok(escape) => escape,
                    Err(slashes) => {
                        // None of them begins an escape.
                        (at..at + slashes).for_each(|at| plain.push('\\', at));
                        at += slashes;
                        continue;
                    }
                },
                c => (c, c.len_utf8()),
            };
            plain.push(c, at);
            at += length;
        }
        plain.places.push(at as u32);
        Some(plain)
    }

    fn push(&mut self, c: char, at: usize) {
        self.text.push(c);
        self.places.extend(std::iter::repeat_n(at as u32, c.len_utf8()));
    }

    fn place(&self, at: usize) -> usize {
        self.places[at] as usize
    }
}

/// The character that an escape at the start of a text stands for, and the escape's length; or how many backslashes
/// begin none.
fn escape(text: &str) -> Result<(char, usize), usize> {
    let slashes = text.bytes().take_while(|byte| *byte == b'\\').count();
    let unit = |at: usize| u16::from_str_radix(text.get(at..at + 4)?, 16).ok();
    let read = || match text.as_bytes().get(slashes)? {
        b'/' => Some(('/', slashes + 1)),
        b'u' => {
            let end = slashes + 5;
            let first = unit(slashes + 1)?;
            if let Some(c) = char::from_u32(first.into()) {
                return Some((c, end));
            }
            let more = text[end..].bytes().take_while(|byte| *byte == b'\\').count();
            let second = text[end + more..].strip_prefix('u').and_then(|_| unit(end + more + 1))?;
            let c = char::decode_utf16([first, second]).next()?.ok()?;
            Some((c, end + more + 5))
        }
        _ => None,
    };
    read().ok_or(slashes)
}

/// `%2f` for `%2F`, as some write it.
fn lower_case_escapes(encoded: &str) -> String {
    let mut out = String::with_capacity(encoded.len());
    for (place, part) in encoded.split('%').enumerate() {
        if place == 0 {
            out.push_str(part);
            continue;
        }
        let (code, rest) = part.split_at(part.len().min(2));
        out.push('%');
        out.push_str(&code.to_ascii_lowercase());
        out.push_str(rest);
    }
    out
}

/// As a part of a URL: everything but letters, digits and `-._~`, and `*`, which needs none.
pub(crate) fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'*' => {
                out.push(byte.into())
            }
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// The characters that base64 has for a value alone, when `offset` bytes (modulo 3) stand before it.
fn within_base64(value: &str, offset: usize) -> Vec<String> {
    let mut bytes = Zeroizing::new(vec![0; offset]);
    bytes.extend_from_slice(value.as_bytes());
    // The first characters hold bits of what stands before, the last ones of what comes after.
    let first = (offset * 8).div_ceil(6);
    let last = bytes.len() * 8 / 6;
    let forms = [STANDARD_NO_PAD.encode(&*bytes), URL_SAFE_NO_PAD.encode(&*bytes)];
    let piece = |form: &String| form.get(first..last).map(str::to_owned);
    forms.iter().filter_map(piece).filter(|piece| piece.len() >= SHORTEST_BASE64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use serde_json::json;

    fn redactor(values: &[&str]) -> Redactor {
        let mut redactor = Redactor::default();
        values.iter().for_each(|value| redactor.add(value));
        redactor
    }

    #[test]
    fn values_go_wherever_they_stand() {
        let redactor = redactor(&["s3cr\"t/ä ", "123456789", "short"]);
        let mut value = json!({
            "s3cr\"t/ä ": ["a s3cr\"t/ä b", 123456789, 1234567890, "short"],
            "json": json!({"k": "s3cr\"t/ä "}).to_string(),
            "url": "https://x/s3cr%22t%2F%C3%A4%20/y?q=s3cr%22t%2F%C3%A4+",
        });
        redactor.value(&mut value);
        assert_eq!(
            value,
            json!({
                "***": ["a ***b", "***", 1234567890, "short"],
                "json": "{\"k\":\"***\"}",
                "url": "https://x/***/y?q=***",
            })
        );
    }

    /// However the writer of JSON, or of a URL, is used to write what could stand as it is.
    #[test]
    fn escapes_hide_nothing() {
        let redactor = redactor(&["se/cr+et/ä😀="]);
        for text in [
            r#"{"k":"se\/cr+et\/ä😀="}"#,
            r#"{"k":"se\u002fcr\u002Bet\u002F\u00e4\ud83d\ude00\u003D"}"#,
            r#"{"k":"{\"k\":\"se\\/cr+et\\/\\u00E4\\uD83D\\uDE00=\"}"}"#,
            "x=se%2fcr%2bet%2f%c3%a4%f0%9f%98%80%3d",
        ] {
            let mut redacted = text.to_owned();
            redactor.text(&mut redacted);
            assert!(redacted.contains(REDACTED) && !redacted.contains("cr"), "{text} -> {redacted}");
            let mut value = json!({ text: [text] });
            redactor.value(&mut value);
            assert!(!value.to_string().contains("cr"), "{value}");
        }
        // However many there are.
        let mut many = r"\/".to_owned() + &r"\".repeat(300_000) + &r"se\/cr+et/ä😀= ".repeat(20_000);
        redactor.text(&mut many);
        assert!(
            many.ends_with("*** *** ") && !many.contains("cr") && many.starts_with(r"\/\\"),
            "{}",
            many.len()
        );
        // What is no escape stays.
        let mut text = r"c:\users\u12 \ud83d \/ \".to_owned();
        redactor.text(&mut text);
        assert_eq!(text, r"c:\users\u12 \ud83d \/ \");
    }

    #[test]
    fn the_longest_of_two_that_overlap_goes_first() {
        let mut text = "password-2 and password".to_owned();
        redactor(&["password", "password-2"]).text(&mut text);
        assert_eq!(text, "*** and ***");
    }

    proptest! {
        #[test]
        fn no_surroundings_hide_a_value_in_base64(before in "[ -~]{0,5}", value in "[a-zA-Z0-9]{6,20}", after in "[ -~]{0,5}") {
            let whole = STANDARD.encode(format!("{before}{value}{after}"));
            let mut text = whole.clone();
            redactor(&[&value]).text(&mut text);
            prop_assert!(text.contains(REDACTED), "{whole} -> {text}");
        }

        #[test]
        fn what_holds_no_value_stays(text in "[a-z0-9 ]{0,200}") {
            let mut redacted = text.clone();
            redactor(&["UPPER-CASE"]).text(&mut redacted);
            prop_assert_eq!(redacted, text);
        }
    }
}
