//! Where in the input an error is, as a JSON path such as `$.contact.phones[0]`.
//!
//! serde_json says the line and column at which it stopped; walking the text up to there gives the
//! path. So paths cost nothing until there is an error, and no second copy of every type's code.

enum Frame<'a> {
    /// An object, and the member the walk is at, as it is written between its quotes.
    Object(Option<&'a str>),
    Array(usize),
}

/// The path of the value that ends at, or goes on at, this one-based line and column of `text`.
pub(crate) fn path_at(text: &str, line: usize, column: usize) -> String {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut end = start.saturating_add(column).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    render(&walk(&text[..end]))
}

fn walk(text: &str) -> Vec<Frame<'_>> {
    let bytes = text.as_bytes();
    let mut frames = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => frames.push(Frame::Object(None)),
            b'[' => frames.push(Frame::Array(0)),
            b'}' | b']' => {
                frames.pop();
            }
            b',' => match frames.last_mut() {
                Some(Frame::Object(member)) => *member = None,
                Some(Frame::Array(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                let end = end_of_string(bytes, at + 1);
                if let Some(Frame::Object(member @ None)) = frames.last_mut() {
                    *member = Some(&text[at + 1..end]);
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    frames
}

/// The index of the quote that ends the string, or of the text's end.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn render(frames: &[Frame<'_>]) -> String {
    let mut path = String::from("$");
    for frame in frames {
        match frame {
            Frame::Object(None) => {}
            Frame::Object(Some(member)) if is_plain(member) => {
                path.push('.');
                path.push_str(member);
            }
            Frame::Object(Some(member)) => {
                path.push_str("[\"");
                path.push_str(member);
                path.push_str("\"]");
            }
            Frame::Array(index) => {
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
            }
        }
    }
    path
}

fn is_plain(member: &str) -> bool {
    let mut chars = member.chars();
    chars.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && chars.all(|rest| rest == '_' || rest.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Lead {
        name: String,
        age: Option<u8>,
        #[serde(default)]
        phones: Vec<Phone>,
        #[serde(rename = "job title")]
        job_title: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Phone {
        number: String,
        kind: Option<(u8, u8)>,
    }

    fn path_of_error(text: &str) -> String {
        let error = serde_json::from_str::<Lead>(text).expect_err("the input is wrong");
        path_at(text, error.line(), error.column())
    }

    #[test]
    fn the_path_leads_to_the_value_that_does_not_fit() {
        let cases = [
            (r#"{"name":7}"#, "$.name"),
            (r#"{"name":"A","age":-1}"#, "$.age"),
            (r#"{"name":"A","age":{"years":3}}"#, "$.age"),
            (r#"{"name":"A","phones":[{"number":"1"},{"number":null}]}"#, "$.phones[1].number"),
            (r#"{"name":"A","phones":[{"number":"1"},7]}"#, "$.phones[1]"),
            (r#"{"name":"A","phones":[{"number":"1","kind":[1]}]}"#, "$.phones[0].kind"),
            (r#"{"name":"A","phones":"none"}"#, "$.phones"),
            (r#"{"name":"A","job title":4}"#, r#"$["job title"]"#),
            (r#"{"name":"A","nmae":"B"}"#, "$.nmae"),
            (r#""text""#, "$"),
        ];
        for (text, path) in cases {
            assert_eq!(path_of_error(text), path, "{text}");
        }
    }

    #[test]
    fn a_missing_member_is_reported_at_its_object() {
        assert_eq!(path_of_error(r#"{"age":3}"#), "$");
        assert_eq!(path_of_error(r#"{"name":"A","phones":[{"number":"1"},{}]}"#), "$.phones[1]");
    }

    #[test]
    fn braces_quotes_and_lines_inside_the_text_do_not_lead_astray() {
        assert_eq!(
            path_of_error("{\"name\":\"}],\\\"{\\\\\",\n  \"phones\": [\n {\"number\": 7}]}"),
            "$.phones[0].number"
        );
        assert_eq!(path_of_error(r#"{"name":"ünï","age":"é"}"#), "$.age");
    }

    #[test]
    fn any_position_gives_a_path() {
        let text = r#"{"a\"b":["é",{"c":[]}],"#;
        for column in 0..text.len() + 3 {
            assert!(path_at(text, 1, column).starts_with('$'));
        }
        assert_eq!(path_at(text, 99, 99), "$");
    }
}
