//! The text of a document, and where its lines begin.

/// A document's text with an index of its lines; offsets are bytes, columns are characters.
#[derive(Debug, Clone)]
pub struct Source<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
}

impl<'t> Source<'t> {
    pub fn new(text: &'t str) -> Source<'t> {
        let mut line_starts = vec![0];
        line_starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        Source { text, line_starts }
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
        (line, self.text[start..offset].chars().count() + 1)
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
        let line = &self.text[*start..self.line_end(line)];
        let inside = line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
        start + inside
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
}
