//! Which of many conditions matter to a subject, found without asking each.
//!
//! Of every condition it is known in which [`Region`] of subjects it holds or cannot be answered: where a part of the
//! subject lies between two values. Such spans are looked up, however many there are. A region may be too large, so
//! whoever is found is asked all the same; it is never too small.

mod filter;
mod point;
mod region;
#[cfg(test)]
mod tests;

pub(crate) use filter::{ordered, outcomes as of_filter};
pub(crate) use point::{Lens, Point};
pub use region::Region;
pub(crate) use region::{Absent, Outcomes, Read, Verdict};

use region::{Span, part};
use serde_json::Value;
use std::collections::BTreeMap;

/// Conditions by where they matter.
#[derive(Debug)]
pub struct Sieve<T> {
    parts: Vec<OfPart<T>>,
    /// Of these nothing is known.
    rest: Vec<T>,
}

/// What is known by one part of the subject.
#[derive(Debug)]
struct OfPart<T> {
    part: Vec<String>,
    lens: Lens,
    /// By where they begin.
    spans: Vec<(Point<'static>, Point<'static>, T)>,
    /// As a search halves the spans: of the span in the middle and those around it the one that goes furthest.
    furthest: Vec<usize>,
}

impl<T> Default for Sieve<T> {
    fn default() -> Self {
        Sieve { parts: Vec::new(), rest: Vec::new() }
    }
}

impl<T: Copy + Ord> Sieve<T> {
    pub fn of<'r>(conditions: impl IntoIterator<Item = (T, &'r Region)>) -> Self {
        let mut parts: BTreeMap<(&[String], Lens), Vec<_>> = BTreeMap::new();
        let mut rest = Vec::new();
        for (condition, region) in conditions {
            let Some(spans) = region.spans() else {
                rest.push(condition);
                continue;
            };
            for Span { part, lens, from, to } in spans {
                parts.entry((part, *lens)).or_default().push((from.clone(), to.clone(), condition));
            }
        }
        let parts = parts.into_iter().map(|((part, lens), spans)| OfPart::of(part.to_vec(), lens, spans));
        Sieve { parts: parts.collect(), rest }
    }

    /// Those to which this subject may matter, each once.
    pub fn sift(&self, subject: &Value) -> Vec<T> {
        let mut found = self.rest.clone();
        for of in &self.parts {
            let point = of.lens.of(part(subject, &of.part));
            of.find(&point, 0, of.spans.len(), &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl<T: Copy + Ord> OfPart<T> {
    fn of(part: Vec<String>, lens: Lens, mut spans: Vec<(Point<'static>, Point<'static>, T)>) -> Self {
        spans.sort_unstable();
        let mut of = OfPart { part, lens, furthest: vec![0; spans.len()], spans };
        of.measure(0, of.spans.len());
        of
    }

    /// Notes which goes furthest, and says it of these.
    fn measure(&mut self, from: usize, to: usize) -> Option<usize> {
        if from >= to {
            return None;
        }
        let middle = from.midpoint(to);
        let sides = [self.measure(from, middle), self.measure(middle + 1, to)];
        let furthest = sides.into_iter().flatten().fold(middle, |furthest, other| {
            if self.spans[other].1 > self.spans[furthest].1 { other } else { furthest }
        });
        self.furthest[middle] = furthest;
        Some(furthest)
    }

    /// Those of the spans in this range of places that a point lies in.
    fn find(&self, point: &Point<'_>, from: usize, to: usize, found: &mut Vec<T>) {
        if from >= to {
            return;
        }
        let middle = from.midpoint(to);
        if self.spans[self.furthest[middle]].1 < *point {
            return;
        }
        self.find(point, from, middle, found);
        let (begin, end, condition) = &self.spans[middle];
        if *begin <= *point {
            if *point <= *end {
                found.push(*condition);
            }
            self.find(point, middle + 1, to, found);
        }
    }
}
