//! Where something stands in a document: `steps[2].filter.is`.

use std::fmt;

/// One step of the way down from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

/// The way from the top of a document to a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path<'a>(pub Vec<Segment<'a>>);

impl<'a> Path<'a> {
    pub fn key(&mut self, key: &'a str) {
        self.0.push(Segment::Key(key));
    }

    pub fn index(&mut self, index: usize) {
        self.0.push(Segment::Index(index));
    }

    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// This path with one more key; for places that are looked at once.
    pub fn with(&self, key: &'a str) -> Path<'a> {
        let mut path = self.clone();
        path.key(key);
        path
    }

    /// Adds what a path in text says (`fields.a[0].b`), as other crates report places.
    pub fn extend(&mut self, text: &'a str) {
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let mut rest = part;
            if let Some(bracket) = part.find('[') {
                if bracket > 0 {
                    self.key(&part[..bracket]);
                }
                rest = &part[bracket..];
                while let Some(inner) = rest.strip_prefix('[') {
                    let Some(end) = inner.find(']') else { break };
                    match inner[..end].parse() {
                        Ok(index) => self.index(index),
                        Err(_) => self.key(inner[..end].trim_matches('"')),
                    }
                    rest = &inner[end + 1..];
                }
            } else {
                self.key(rest);
            }
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if is_plain(key) => {
                    let dot = if n == 0 { "" } else { "." };
                    write!(f, "{dot}{key}")?;
                }
                Segment::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_templates_write_them() {
        let mut path = Path::default();
        path.key("steps");
        path.index(2);
        path.key("record");
        path.key("a b");
        assert_eq!(path.to_string(), r#"steps[2].record["a b"]"#);
        path.pop();
        path.extend("all[1].is[0][2].x");
        assert_eq!(path.to_string(), "steps[2].record.all[1].is[0][2].x");
    }
}
