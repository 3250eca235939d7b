//! Lists of problems of bounded length: whoever sends a thousand mistakes is told of the first hundred.

use std::borrow::Cow;
use std::fmt::Display;

use crate::error::Problem;
use crate::filter::FilterProblem;

/// Problems that one answer lists.
pub(crate) const MAX_PROBLEMS: usize = 100;
/// Characters of one message or hint; what they quote is cut much earlier.
const MAX_MESSAGE: usize = 600;
/// Characters of a name or value that somebody sent and a message quotes.
const MAX_QUOTED: usize = 120;
/// Names that a hint lists.
const MAX_NAMED: usize = 20;

/// What is wrong, as far as it is told.
pub(crate) struct Problems<P = Problem> {
    first: Vec<P>,
    more: usize,
}

impl<P> Default for Problems<P> {
    fn default() -> Self {
        Problems { first: Vec::new(), more: 0 }
    }
}

/// What such a list holds.
pub(crate) trait Told {
    /// Path, message and hint.
    fn parts(&mut self) -> (&mut String, &mut String, Option<&mut String>);
    fn more(message: String) -> Self;
}

impl Told for Problem {
    fn parts(&mut self) -> (&mut String, &mut String, Option<&mut String>) {
        (&mut self.path, &mut self.message, self.hint.as_mut())
    }

    fn more(message: String) -> Self {
        Problem::new("", message)
    }
}

impl Told for FilterProblem {
    fn parts(&mut self) -> (&mut String, &mut String, Option<&mut String>) {
        (&mut self.path, &mut self.message, self.hint.as_mut())
    }

    fn more(message: String) -> Self {
        FilterProblem::new("", message, None)
    }
}

impl<P: Told> Problems<P> {
    pub fn push(&mut self, problem: P) {
        self.push_with(|| problem);
    }

    /// For problems that are costly to put into words: what is not told is not worked out.
    pub fn push_with(&mut self, problem: impl FnOnce() -> P) {
        if self.first.len() == MAX_PROBLEMS {
            self.more += 1;
        } else {
            self.first.push(problem());
        }
    }

    /// How many there are, told or not.
    pub fn len(&self) -> usize {
        self.first.len() + self.more
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &P> {
        self.first.iter()
    }

    /// The list as answers show it.
    pub fn into_list(mut self) -> Vec<P> {
        for problem in &mut self.first {
            let (path, message, hint) = problem.parts();
            cut(path, MAX_QUOTED);
            cut(message, MAX_MESSAGE);
            if let Some(hint) = hint {
                cut(hint, MAX_MESSAGE);
            }
        }
        if self.more > 0 {
            self.first.push(P::more(format!("and {} more", self.more)));
        }
        self.first
    }
}

impl<P: Told> Extend<P> for Problems<P> {
    fn extend<I: IntoIterator<Item = P>>(&mut self, problems: I) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }
}

/// A name or value that somebody sent, as a message quotes it.
pub(crate) fn clipped(text: &str) -> Cow<'_, str> {
    clipped_to(text, MAX_QUOTED)
}

fn cut(text: &mut String, most: usize) {
    if let Cow::Owned(short) = clipped_to(text, most) {
        *text = short;
    }
}

fn clipped_to(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// Some names in a row, for hints: all of them, or the first and how many more there are.
pub(crate) fn listing(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    joined(names, ", ")
}

pub(crate) fn joined(names: impl IntoIterator<Item = impl AsRef<str>>, between: &str) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> =
        names.by_ref().take(MAX_NAMED).map(|name| clipped(name.as_ref()).into_owned()).collect();
    match names.count() {
        0 => shown.join(between),
        more => format!("{}{between}and {more} more", shown.join(between)),
    }
}

/// Problems in one sentence, which says less than the list when that is long.
pub(crate) fn sentence(problems: &[impl Display]) -> String {
    const MOST: usize = 4_000;
    let mut text = String::new();
    for (told, problem) in problems.iter().enumerate() {
        if text.len() > MOST {
            text.push_str(&format!("; and {} more", problems.len() - told));
            break;
        }
        if told > 0 {
            text.push_str("; ");
        }
        text.push_str(&problem.to_string());
    }
    text
}
