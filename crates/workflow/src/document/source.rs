//! The text of a document, and where its lines begin.

/// Bytes between the places whose characters are counted beforehand.
const BLOCK: usize = 1024;

/// A document's text with an index of its lines; offsets are bytes, columns are characters.
#[derive(Debug, Clone)]
pub struct Source<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    /// Characters that begin before each block: a document may be one line, and a column in it is asked for often.
    chars_before: Vec<usize>,
}

/// Whether a character of UTF-8 begins with this byte.
fn begins(byte: u8) -> bool {
    byte & 0xC0 != 0x80
}

impl<'t> Source<'t> {
    pub fn new(text: &'t str) -> Source<'t> {
        let mut line_starts = vec![0];
        line_starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        let mut chars = 0;
        let mut chars_before = vec![0];
        for block in text.as_bytes().chunks(BLOCK) {
            chars += block.iter().filter(|byte| begins(**byte)).count();
            chars_before.push(chars);
        }
        Source { text, line_starts, chars_before }
    }

    pub fn text(&self) -> &'t str {
        self.text
    }

    /// The text between two offsets; both are moved back to where a character begins.
    pub fn slice(&self, from: usize, to: usize) -> &'t str {
        let from = self.floor(from);
        &self.text[from..self.floor(to).max(from)]
    }

    /// Line and column of an offset, both from 1.
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.floor(offset);
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        (line, self.chars_before(offset) - self.chars_before(start) + 1)
    }

    /// The offset of the end of a line (from 1), its line break left out.
    pub fn line_end(&self, line: usize) -> usize {
        match self.line_starts.get(line) {
            Some(next) => next - 1,
            None => self.text.len(),
        }
    }

    /// The offset of a line and a column, both from 1 (columns in characters).
    pub fn offset(&self, line: usize, column: usize) -> usize {
        let Some(start) = line.checked_sub(1).and_then(|n| self.line_starts.get(n)) else {
            return self.text.len();
        };
        let chars = self.chars_before(*start) + column.saturating_sub(1);
        let block = self.chars_before.partition_point(|before| *before <= chars).saturating_sub(1);
        let from = block * BLOCK;
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        let mut begun = rest.iter().enumerate().filter(|(_, byte)| begins(**byte));
        let at = begun.nth(chars - self.chars_before[block]).map_or(self.text.len(), |(at, _)| from + at);
        at.min(self.line_end(line))
    }

    /// How many characters begin before an offset.
    fn chars_before(&self, offset: usize) -> usize {
        let block = offset / BLOCK;
        let rest = &self.text.as_bytes()[block * BLOCK..offset];
        self.chars_before[block] + rest.iter().filter(|byte| begins(**byte)).count()
    }

    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_places_agree() {
        let text = "a\nbü x\n\nend";
        let source = Source::new(text);
        for (offset, _) in text.char_indices() {
            let (line, column) = source.line_and_column(offset);
            assert_eq!(source.offset(line, column), offset);
        }
        assert_eq!(source.line_and_column(text.find('x').unwrap()), (2, 4));
        assert_eq!(source.line_and_column(999), (4, 4));
        assert_eq!(source.line_and_column(4), (2, 2), "inside the ü");
    }

    #[test]
    fn places_in_long_lines_are_those_that_counting_gives() {
        let line = "aü€😀".repeat(700);
        for text in [format!("{line}\n{line}x\n"), "a".repeat(2 * BLOCK), "ü".repeat(BLOCK)] {
            let source = Source::new(&text);
            for (offset, _) in text.char_indices().chain([(text.len(), ' ')]) {
                let before = &text[..offset];
                let start = before.rfind('\n').map_or(0, |at| at + 1);
                let place = (before.matches('\n').count() + 1, text[start..offset].chars().count() + 1);
                assert_eq!(source.line_and_column(offset), place);
                assert_eq!(source.offset(place.0, place.1), offset);
            }
            assert_eq!(source.offset(1, 1_000_000), source.line_end(1), "no further than the line");
        }
    }
}
