//! What a text of JSON takes in memory once it is read, told from its bytes before it is.
//!
//! Read JSON is larger than its text, and by how much depends on what it says: texts take about what they have, records
//! of some ten fields eight to twelve times that, and `{"":0},{"":0},…` a hundred times. A limit on bytes alone would
//! let some megabytes take gigabytes. So whatever comes from outside is weighed first.
use std::fmt;

/// What the values of any text may take.
const ALWAYS: u64 = 64 << 20;
/// What they may take for each byte of a text that is larger than that stands for.
const TIMES: u64 = 16;

/// A place for a value: in a list, in a map, or by itself.
const VALUE: u64 = 32;
/// A map is a B-tree of nodes of 11 places each, for names and values, however few of them are taken.
const LEAF: u64 = 648;
/// One that has children too.
const INNER: u64 = 744;
/// Where names come in order, as they mostly do, a full node is left with 6 of them, and one goes up.
const LEFT: u64 = 7;
/// A parser of JSON stops below that, and nothing that it has read stays.
const DEEPEST: usize = 128;

/// The values of a text take more than they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooHeavy {
    pub weight: u64,
    pub most: u64,
}

impl fmt::Display for TooHeavy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weight, most } = self;
        write!(
            f,
            "its values would take about {weight} bytes of memory; {most} are allowed for so many bytes"
        )
    }
}

/// What the values of a text of so many bytes may take.
pub fn most(bytes: usize) -> u64 {
    (bytes as u64).saturating_mul(TIMES).max(ALWAYS)
}

/// The weight of a text of JSON, if it may have that.
pub fn check(text: &[u8]) -> Result<u64, TooHeavy> {
    let (weight, most) = (of(text), most(text.len()));
    if weight <= most { Ok(weight) } else { Err(TooHeavy { weight, most }) }
}

/// A list or an object that has begun.
#[derive(Clone, Copy, Default)]
struct Open {
    commas: u64,
    /// Something stands in it.
    some: bool,
}

/// About how many bytes the values of a text of JSON take. Of what is no JSON it says what was seen of it.
pub fn of(text: &[u8]) -> u64 {
    let mut weight = VALUE;
    let mut open = [Open::default(); DEEPEST];
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = text.get(at) {
        at += 1;
        if byte.is_ascii_whitespace() {
            continue;
        }
        let here = depth.checked_sub(1).and_then(|last: usize| open.get_mut(last));
        match (byte, here) {
            (b',', Some(here)) => here.commas += 1,
            (b']' | b'}', Some(here)) => {
                let items = here.commas + u64::from(here.some);
                weight += if *byte == b']' { list(items) } else { map(items) };
                depth -= 1;
            }
            (byte, here) => {
                if let Some(here) = here {
                    here.some = true;
                }
                match byte {
                    b'"' => {
                        let length = length(&text[at..]);
                        weight += allocated(length as u64);
                        at += length + 1;
                    }
                    b'[' | b'{' => match open.get_mut(depth) {
                        Some(next) => {
                            *next = Open::default();
                            depth += 1;
                        }
                        None => break,
                    },
                    _ => {}
                }
            }
        }
    }
    // What has not ended was read all the same.
    let unended = open.iter().take(depth).map(|open| list(open.commas + u64::from(open.some)));
    weight + unended.sum::<u64>()
}

/// The bytes before the quote that ends a text.
fn length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// What an allocation of so many bytes takes.
fn allocated(bytes: u64) -> u64 {
    if bytes == 0 { 0 } else { (bytes.max(24) + 8).next_multiple_of(16) }
}

/// A list doubles its room as it grows.
fn list(items: u64) -> u64 {
    if items == 0 { 0 } else { allocated(items.max(4).next_power_of_two() * VALUE) }
}

fn map(names: u64) -> u64 {
    match names {
        0 => 0,
        1..=11 => LEAF,
        _ => {
            let leaves = 2 + (names - 12) / LEFT;
            leaves * LEAF + (1 + leaves / LEFT) * INNER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_counted_is_what_values_take() {
        assert_eq!(size_of::<Value>() as u64, VALUE);
        // 11 names and values, a parent, and two numbers.
        let node = 11 * (size_of::<String>() + size_of::<Value>()) + 8 + 4;
        assert_eq!(allocated(node as u64), LEAF - 8);
        for (text, weight) in [
            ("", 0),
            ("1", 0),
            ("[]", 0),
            (" [ ] ", 0),
            ("{}", 0),
            (r#""""#, 0),
            (r#""0123456789""#, 32),
            (r#""a\",[{\\""#, 32),
            ("[1]", 144),
            ("[1, 2, [], 4, 5]", 272),
            ("[[1], {}]", 288),
            (r#"{"a": 1}"#, 32 + LEAF),
            (r#"{"": "{\"a\": 1, [2"}"#, 32 + LEAF),
            (r#"[{"": 0}, {"": 0}]"#, 144 + 2 * LEAF),
        ] {
            assert_eq!(of(text.as_bytes()), VALUE + weight, "{text}");
        }
    }

    #[test]
    fn what_is_cut_or_no_json_is_looked_at_too() {
        for text in ["[", "{\"a", "\"\\", "]", "}}", ",", "[1,2", "\u{feff}[1]", &"[".repeat(1_000)] {
            assert!(of(text.as_bytes()) < 20_000, "{text}");
        }
        assert!(check("[1,".repeat(100).as_bytes()).is_ok());
        assert!(of("0,".repeat(100).as_bytes()) == VALUE, "of no list");
        assert!(of(format!("[{}", "0,".repeat(1_000)).as_bytes()) >= 32_000);
    }

    /// Ten megabytes of what people send.
    #[test]
    fn honest_bodies_are_light_enough() {
        let long = "An honest text of some length, as people write them in messages. ".repeat(20);
        let contact = json!({
            "id": "con_1001", "email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace",
            "company": "Analytical Engines Ltd", "phone": "+44 20 7946 0000", "city": "London", "country": "GB",
            "created_at": "2026-01-01T10:00:00Z", "score": 42, "active": true, "tags": ["a", "b"],
        });
        let mut order = contact.clone();
        for n in 0..8 {
            order[format!("field_{n}")] = json!(n * 1_000);
        }
        let short = json!({
            "id": 1001, "name": "Ada", "city": "London", "zip": "10115", "lat": 52.52, "lon": 13.405,
            "open": true, "rank": 7, "tag": null, "kind": "a",
        });
        for one in [json!(long), json!({ "text": long }), json!(1234567.25), contact, order, short] {
            let one = one.to_string();
            let body = format!("[{}]", vec![&*one; (10 << 20) / (one.len() + 1)].join(","));
            let weight = check(body.as_bytes()).unwrap();
            assert!(weight >= body.len() as u64, "{one}: {weight}");
        }
    }

    #[test]
    fn bodies_that_are_made_to_be_heavy_are_refused() {
        for one in [r#"{"":0}"#, r#"{"a":{}}"#, "[{\"\":[0]}]", "[[[0]]]"] {
            let body = format!("[{}]", vec![one; (8 << 20) / (one.len() + 1)].join(","));
            let refused = check(body.as_bytes()).unwrap_err();
            assert!(refused.weight > refused.most && refused.most == most(body.len()), "{one}: {refused}");
        }
        // Short ones may say what they like.
        let body = format!("[{}]", vec![r#"{"":0}"#; 10_000].join(","));
        check(body.as_bytes()).unwrap();
    }
}
