//! Names and texts out of somebody's bytes, as far as they are shown to people: short, and safe to print.

use std::fmt::{self, Write as _};

/// How many characters are shown of what others say of a module.
const SAID_CHARS: usize = 500;
/// How many characters are shown of a function's name.
const FUNCTION_CHARS: usize = 200;
/// A longer name is shown as it is: how long it takes to read a mangled one depends on its length.
const MANGLED_BYTES: usize = 4 << 10;

/// `text` up to so many characters, without control characters.
pub(crate) fn shown(text: &str, chars: usize) -> String {
    let mut cut = Cut::new(chars);
    // What does not fit is marked.
    let _ = cut.write_str(text);
    cut.text
}

/// What an engine, a validator or a compiler says of a module: it may quote names of a hundred thousand bytes.
pub(crate) fn said(error: impl fmt::Display) -> String {
    let mut cut = Cut::new(SAID_CHARS);
    let _ = write!(cut, "{error:#}");
    cut.text
}

/// The name of a function on the stack.
///
/// Rust's names are made readable, into a writer that stops the reading when there is enough: a name of some hundred
/// bytes can stand for gigabytes. C++ linkers write readable names themselves, so its mangled ones stay as they are.
pub(crate) fn function(name: Option<&str>, index: u32) -> String {
    let mut cut = Cut::new(FUNCTION_CHARS);
    let _ = match name.map(without_hash) {
        None => write!(cut, "<wasm function {index}>"),
        Some(name) if name.len() > MANGLED_BYTES => cut.write_str(name),
        // `#` leaves the hash out.
        Some(name) => write!(cut, "{:#}", rustc_demangle::demangle(name)),
    };
    cut.text
}

/// Rust ends its symbols in a hash, which tells a reader nothing.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path,
        _ => name,
    }
}

/// Takes so many characters, then a mark, and then refuses to take more.
struct Cut {
    text: String,
    room: usize,
    full: bool,
}

impl Cut {
    fn new(room: usize) -> Self {
        Self { text: String::new(), room, full: false }
    }
}

impl fmt::Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for char in more.chars() {
            if self.room == 0 {
                if !self.full {
                    self.full = true;
                    self.text.push('…');
                }
                return Err(fmt::Error);
            }
            self.room -= 1;
            match char {
                '"' | '\'' | '\\' => self.text.push(char),
                // Control characters, and others that are not seen or change how what follows is read.
                char => self.text.extend(char.escape_debug()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> String {
        function(Some(name), 7)
    }

    /// `levels` of a C++ template, each with the one before twice.
    fn doubling(levels: usize) -> String {
        let mut name = "_Z1f1AIiiE".to_owned();
        for level in 1..levels {
            let before = match level - 1 {
                0 => "S_".to_owned(),
                before => format!("S{}_", char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[before - 1])),
            };
            name.push_str(&format!("S_I{before}{before}E"));
        }
        name
    }

    #[test]
    fn rust_names_are_readable_and_others_stay_as_they_are() {
        assert_eq!(function(None, 7), "<wasm function 7>");
        assert_eq!(named("_ZN4core5slice4sort17h1f9b5c9656a3d00dE"), "core::slice::sort");
        assert_eq!(named("core::slice::sort::h1f9b5c9656a3d00d"), "core::slice::sort");
        assert_eq!(named("_RNvNtCs1234_7mycrate3foo3bar"), "mycrate::foo::bar");
        assert_eq!(named("main.main"), "main.main");
        assert_eq!(named("a\nb\u{202e}c\"d"), r#"a\nb\u{202e}c"d"#);
    }

    #[test]
    fn a_name_that_stands_for_an_enormous_text_is_cut() {
        assert_eq!(named(&doubling(30)).chars().count(), 201);
        // Tuples of two in Rust's own form, each with the one before twice.
        let mut name = "_RINvC1a1b".to_owned();
        name.push_str("Tll");
        let mut at = name.len() - "_R".len() - 3;
        name.push('E');
        for _ in 0..30 {
            let next = name.len() - "_R".len();
            let back = backref(at);
            name.push_str(&format!("T{back}{back}E"));
            at = next;
        }
        name.push('E');
        let text = named(&name);
        assert!(text.starts_with("a::b::<(i32, i32), ((i32, i32), (i32, i32)), ("), "{text}");
        assert_eq!(text.chars().count(), 201);
        assert!(text.ends_with('…'));
    }

    /// A reference back to what stands there.
    fn backref(at: usize) -> String {
        const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut digits = String::new();
        let Some(mut rest) = at.checked_sub(1) else { return "B_".to_owned() };
        loop {
            digits.insert(0, char::from(DIGITS[rest % 62]));
            rest /= 62;
            if rest == 0 {
                return format!("B{digits}_");
            }
        }
    }

    #[test]
    fn a_name_of_any_length_and_depth_is_shown() {
        assert_eq!(named(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(named(&"é".repeat(100_000)), "é".repeat(200) + "…");
        for part in ["I", "T", "N", "M", "X", "Y", "R", "P", "A", "F", "D", "NvC1a", "IC1a", "B_", "Kc", "G_"]
        {
            for start in ["_RNvC1a", "_RINvC1a1b", "_R"] {
                let text = named(&(start.to_owned() + &part.repeat(4_000 / part.len())));
                assert!(text.chars().count() <= 201, "{text}");
            }
        }
    }

    #[test]
    fn what_is_shown_has_a_mark_where_it_was_cut() {
        assert_eq!(shown("abc", 3), "abc");
        assert_eq!(shown("abcd", 3), "abc…");
        assert_eq!(shown("a\n\u{7f}", 3), "a\\n\\u{7f}");
    }
}
