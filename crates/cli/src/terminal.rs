//! Writing to the terminal, and the one place where what strangers wrote loses its power over it.
//!
//! Names, values, logs and messages come from modules, forms and other people. A control character in them could move
//! the cursor, hide a line or write into the clipboard, so whatever is printed for people has them shown, not obeyed.
//! Colour is put in afterwards, by [`Line`] and by tables alone.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Nobody reads stdout any more (`| head`): what is left to say is dropped.
static READER_GONE: AtomicBool = AtomicBool::new(false);
/// Stdout could not be written for another reason, which was told.
static BROKEN: AtomicBool = AtomicBool::new(false);

/// Writes a line to stdout.
pub fn line(text: impl AsRef<str>) {
    put(&format!("{}\n", visible(text.as_ref())));
}

/// Writes a text that is data, such as a workflow's document, as it is; on a terminal like [`line!`].
pub fn document(text: &str) {
    match std::io::stdout().is_terminal() {
        true => line(text),
        false => put(&format!("{text}\n")),
    }
}

/// Writes a line to stderr. Where that goes nowhere, there is nobody left to tell.
pub fn complain(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", visible(text.as_ref()));
}

/// Writes what has no control characters but ours.
pub(crate) fn put(text: &str) {
    if READER_GONE.load(Ordering::Relaxed) || BROKEN.load(Ordering::Relaxed) {
        return;
    }
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        drop(out);
        stdout_failed(&error);
    }
}

/// Notes that stdout cannot be written: quietly where the reader went away.
pub fn stdout_failed(error: &std::io::Error) {
    if error.kind() == ErrorKind::BrokenPipe {
        READER_GONE.store(true, Ordering::Relaxed);
    } else if !BROKEN.swap(true, Ordering::Relaxed) {
        complain(format!("error: stdout cannot be written: {error}"));
    }
}

/// Whether anybody still reads what is printed.
pub fn is_read() -> bool {
    !READER_GONE.load(Ordering::Relaxed) && !BROKEN.load(Ordering::Relaxed)
}

/// Whether something that was to be printed is lost, other than by a reader's own wish.
pub fn is_broken() -> bool {
    BROKEN.load(Ordering::Relaxed)
}

/// Whether stdout is a terminal that shows colour. <https://no-color.org>: set and not empty means no.
pub fn colour() -> bool {
    static COLOUR: OnceLock<bool> = OnceLock::new();
    *COLOUR.get_or_init(|| {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
    })
}

/// A text with its control characters made visible: `\u{1b}[31m`. Line ends and tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| {
        // Writing to a String cannot fail.
        let _ = match c {
            '\r' => write!(out, "\\r"),
            c => write!(out, "\\u{{{:x}}}", u32::from(c)),
        };
    })
}

/// The same for a text that must stay on one line, such as a table's cell.
pub fn visible_line(text: &str) -> String {
    visible(text).replace('\n', "⏎").replace('\t', " ")
}

/// JSON whose texts have nothing in them that a terminal would obey; the value stays the same.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    escaped(json, |c, out| {
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

fn escaped(text: &str, mut escape: impl FnMut(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // A line end as other systems write it.
            '\r' if chars.peek() == Some(&'\n') => {}
            c if is_command(c) => escape(c, &mut out),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// What terminals obey: the C0 and C1 controls, but for line ends and tabs; and what turns the direction of writing,
/// which makes a text look like another.
fn is_command(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || c.is_control() && !matches!(c, '\n' | '\t')
}

/// A line, or several, with parts in colour.
#[derive(Debug)]
pub struct Line {
    text: String,
    colour: bool,
}

impl Line {
    /// In colour where the terminal shows it.
    pub fn new() -> Self {
        Self { text: String::new(), colour: colour() }
    }

    #[cfg(test)]
    pub fn plain() -> Self {
        Self { text: String::new(), colour: false }
    }

    #[cfg(test)]
    pub fn coloured() -> Self {
        Self { text: String::new(), colour: true }
    }

    pub fn add(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.text.push_str(&visible(text.as_ref()));
        self
    }

    /// A status in its colour.
    pub fn status(&mut self, status: &str) -> &mut Self {
        self.paint(status_colour(status), status)
    }

    /// What matters less, paler.
    pub fn faint(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.paint(Some("2"), text.as_ref())
    }

    /// In the colour of what went wrong.
    pub fn bad(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.paint(Some("31"), text.as_ref())
    }

    pub fn paint(&mut self, code: Option<&str>, text: &str) -> &mut Self {
        match code.filter(|_| self.colour && !text.is_empty()) {
            Some(code) => {
                // Writing to a String cannot fail.
                let _ = write!(self.text, "\x1b[{code}m{}\x1b[0m", visible(text));
                self
            }
            None => self.add(text),
        }
    }

    /// Ends a line, without blanks at its end.
    pub fn end(&mut self) -> &mut Self {
        self.text.truncate(self.text.trim_end_matches([' ', '\t']).len());
        self.text.push('\n');
        self
    }

    pub fn print(&self) {
        put(&self.text);
    }

    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The SGR code of a status.
pub fn status_colour(status: &str) -> Option<&'static str> {
    Some(match status {
        "completed" | "active" | "passed" => "32",
        "failed" | "cancelled" | "revoked" => "31",
        "running" | "queued" | "waiting" | "paused" | "draft" => "33",
        "skipped" => "2",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(visible("plain ünï ✓\n\ttext"), "plain ünï ✓\n\ttext");
        assert_eq!(visible("a\x1b[31mred\x07\x7f"), "a\\u{1b}[31mred\\u{7}\\u{7f}");
        assert_eq!(visible("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(visible("two\r\nlines, over\rwritten"), "two\nlines, over\\rwritten");
        assert_eq!(visible("user\u{202e}nimda"), "user\\u{202e}nimda");
        assert_eq!(visible_line("a\nb\tc"), "a⏎b c");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({ "a\u{9b}": "\u{7f}\u{202e}\u{1b} ü 𝄞\r\n" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = visible_json(&text);
        assert!(!shown.contains(is_command), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn only_our_own_colours_reach_the_terminal() {
        let mut line = Line::coloured();
        line.status("failed").add(" a\x1b[2J").bad("b\x1b]0;t\x07").end();
        assert_eq!(line.text(), "\x1b[31mfailed\x1b[0m a\\u{1b}[2J\x1b[31mb\\u{1b}]0;t\\u{7}\x1b[0m\n");
        let mut line = Line::plain();
        line.status("failed").faint(" x ").end();
        assert_eq!(line.text(), "failed x\n");
    }
}
