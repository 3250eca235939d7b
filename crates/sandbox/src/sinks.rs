//! Where a guest's words go: its log, with a cap and a marker, and its output, with a cap that
//! stops the guest instead of cutting JSON in half.

use bytes::Bytes;
use std::collections::VecDeque;

use crate::{LogLevel, LogLine, json};

/// What a line costs beside its text, so that empty lines have an end too.
const LINE_BYTES: u64 = 16;
/// How much of the end of stderr is kept for the message of a command that failed.
const TAIL_BYTES: usize = 2 << 10;

/// The log of a call.
pub(crate) struct Logs {
    lines: Vec<LogLine>,
    used: u64,
    cap: u64,
    truncated: bool,
}

impl Logs {
    pub(crate) fn new(cap: u64) -> Self {
        Self { lines: Vec::new(), used: 0, cap, truncated: false }
    }

    /// Takes a line, or what still fits of its message.
    pub(crate) fn line(&mut self, level: LogLevel, message: &str, fields: &str, at: u64) {
        if self.truncated {
            return;
        }
        let room = self.cap.saturating_sub(self.used).saturating_sub(LINE_BYTES);
        let wanted = message.len() as u64 + fields.len() as u64;
        if self.cap < self.used + LINE_BYTES || wanted > room {
            let kept = floor_char(message, room as usize);
            if !kept.is_empty() {
                self.used += kept.len() as u64 + LINE_BYTES;
                let message = kept.to_owned();
                self.lines.push(LogLine { level, message, fields: None, at });
            }
            self.truncated = true;
            let message = format!("[log cut here: it is longer than {} bytes]", self.cap);
            self.lines.push(LogLine { level: LogLevel::Warn, message, fields: None, at });
            return;
        }
        self.used += wanted + LINE_BYTES;
        let fields = (!fields.is_empty()).then(|| json::attached(fields));
        self.lines.push(LogLine { level, message: message.to_owned(), fields, at });
    }

    pub(crate) fn room(&self) -> usize {
        usize::try_from(self.cap.saturating_sub(self.used)).unwrap_or(usize::MAX)
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.min(self.cap)
    }

    pub(crate) fn into_parts(self) -> (Vec<LogLine>, bool) {
        (self.lines, self.truncated)
    }
}

/// The longest start of `text` with at most `bytes` bytes.
fn floor_char(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A stream whose lines go to the log.
#[derive(Default)]
pub(crate) struct LineStream {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The last bytes of all.
    tail: VecDeque<u8>,
}

impl LineStream {
    pub(crate) fn write(&mut self, bytes: &[u8], logs: &mut Logs, at: u64) {
        let last = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.tail.len() + last.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(last);

        // Nothing more is kept, so nothing more is looked at.
        if logs.truncated {
            return;
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(&rest[..end], logs);
            self.end_line(logs, at);
            rest = &rest[end + 1..];
        }
        self.extend(rest, logs);
    }

    /// Keeps no more of a line than the log would: one byte over its room marks it as too long.
    fn extend(&mut self, bytes: &[u8], logs: &Logs) {
        let room = logs.room().saturating_add(1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    fn end_line(&mut self, logs: &mut Logs, at: u64) {
        let text = String::from_utf8_lossy(&self.line);
        logs.line(LogLevel::Info, text.trim_end_matches('\r'), "", at);
        self.line.clear();
    }

    /// The last line, if it did not end.
    pub(crate) fn finish(&mut self, logs: &mut Logs, at: u64) {
        if !self.line.is_empty() {
            self.end_line(logs, at);
        }
    }

    /// The last 2 KB that were written.
    pub(crate) fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// The output of a command.
pub(crate) struct Output {
    bytes: Vec<u8>,
    cap: u64,
}

/// More was written than the cap allows.
pub(crate) struct TooLarge {
    pub(crate) wanted: u64,
}

impl Output {
    pub(crate) fn new(cap: u64) -> Self {
        Self { bytes: Vec::new(), cap }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let wanted = self.bytes.len() as u64 + bytes.len() as u64;
        if wanted > self.cap {
            return Err(TooLarge { wanted });
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// What a command reads.
#[derive(Default)]
pub(crate) struct Input {
    rest: Bytes,
}

impl Input {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// Up to `size` bytes; none at the end.
    pub(crate) fn read(&mut self, size: usize) -> Bytes {
        self.rest.split_to(size.min(self.rest.len()))
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(logs: Logs) -> (Vec<String>, bool) {
        let (lines, truncated) = logs.into_parts();
        (lines.into_iter().map(|line| line.message).collect(), truncated)
    }

    #[test]
    fn a_log_is_cut_with_a_marker_on_a_character() {
        let mut logs = Logs::new(60);
        logs.line(LogLevel::Info, "0123456789", "", 0);
        logs.line(LogLevel::Info, &"ä".repeat(30), "", 0);
        logs.line(LogLevel::Info, "later", "", 0);
        assert!(logs.used() <= 60);
        let (lines, truncated) = texts(logs);
        let kept = "ä".repeat(9);
        assert_eq!(lines, ["0123456789", &kept, "[log cut here: it is longer than 60 bytes]"]);
        assert!(truncated);
    }

    #[test]
    fn empty_lines_have_an_end_too() {
        let mut logs = Logs::new(160);
        (0..1_000).for_each(|_| logs.line(LogLevel::Info, "", "", 0));
        let (lines, truncated) = texts(logs);
        assert_eq!((lines.len(), truncated), (11, true));
    }

    #[test]
    fn fields_are_json_where_they_are() {
        let mut logs = Logs::new(1_000);
        logs.line(LogLevel::Warn, "a", r#"{"n": 1}"#, 5);
        logs.line(LogLevel::Warn, "b", "{broken", 5);
        let (lines, _) = logs.into_parts();
        assert_eq!(lines[0].fields, Some(serde_json::json!({"n": 1})));
        assert_eq!(lines[1].fields, Some("{broken".into()));
    }

    #[test]
    fn a_stream_becomes_lines_however_it_is_written() {
        let (mut stream, mut logs) = (LineStream::default(), Logs::new(10_000));
        for part in ["on", "e\ntwo\r\n\nthr", "ee"] {
            stream.write(part.as_bytes(), &mut logs, 0);
        }
        stream.finish(&mut logs, 0);
        assert_eq!(texts(logs).0, ["one", "two", "", "three"]);
        assert_eq!(stream.tail(), "one\ntwo\r\n\nthree");
    }

    #[test]
    fn an_endless_line_is_held_in_bounded_memory() {
        let (mut stream, mut logs) = (LineStream::default(), Logs::new(100));
        (0..1_000).for_each(|_| stream.write(&[b'x'; 1_000], &mut logs, 0));
        assert!(stream.line.len() <= 101 && stream.tail.len() == TAIL_BYTES);
        stream.finish(&mut logs, 0);
        let (lines, truncated) = texts(logs);
        assert_eq!((lines[0].len(), lines.len(), truncated), (84, 2, true));
    }

    #[test]
    fn an_output_over_its_cap_says_how_much_was_wanted() {
        let mut output = Output::new(5);
        assert!(output.write(b"12345").is_ok());
        assert_eq!(output.write(b"67").unwrap_err().wanted, 7);
        assert_eq!(output.take(), b"12345");
    }
}
