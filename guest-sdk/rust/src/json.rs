//! The little JSON that the SDK writes itself. By hand, because code for values of every kind would be a fifth of a
//! small module.

use std::fmt::Write;

/// A text between quotes.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_text(&mut out, text);
    out
}

pub(crate) fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..='\x1f' => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_reads_back() {
        for plain in ["", "plain", "\"\\/\u{0}\n\r\t\u{1f}\u{7f}", "ünï 𝄞 \u{2028}"] {
            assert_eq!(serde_json::from_str::<String>(&text(plain)).expect("JSON"), plain);
        }
    }
}
