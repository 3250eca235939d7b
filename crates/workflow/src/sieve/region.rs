//! Sets of subjects, made a little larger where that keeps them simple: never smaller.

use serde_json::Value;

use super::point::{Kind, Lens, Point};
use crate::expr::Kinds;

/// Subjects of which a part lies between two points, both counted in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub part: Vec<String>,
    pub lens: Lens,
    pub from: Point<'static>,
    pub to: Point<'static>,
}

/// A set of subjects.
#[derive(Debug, Clone, PartialEq)]
pub struct Region(Subjects);

#[derive(Debug, Clone, PartialEq)]
enum Subjects {
    All,
    /// Those in any of the spans.
    In(Vec<Span>),
}

/// More spans than this are not worth telling apart.
const MAX_SPANS: usize = 256;

impl Span {
    fn is_beside(&self, other: &Span) -> bool {
        self.lens == other.lens && self.part == other.part
    }

    /// About how many subjects of a hundred lie in it. A guess decides what is looked up, not what is found: that parts
    /// are of the kind that they should be, so that one that is `wrong` is seldom there, unless it is empty.
    fn width(&self, wrong: bool) -> usize {
        let whole = |kind| match kind {
            Kind::Missing => 1,
            Kind::Null => 10,
            _ if wrong => 1,
            _ => 60,
        };
        if self.from.kind != self.to.kind {
            let kinds = KINDS.iter().map(|(kind, _)| *kind);
            return kinds.filter(|kind| self.from.kind <= *kind && *kind <= self.to.kind).map(whole).sum();
        }
        match (self.from.is_end(), self.to.is_end()) {
            (true, true) => whole(self.from.kind),
            (false, false) if self.from.kind == Kind::Boolean => 30,
            (false, false) if self.from == self.to => 2,
            (false, false) => 5,
            _ => 20,
        }
    }

    /// What lies in both, or a little more.
    fn meet(&self, other: &Span, wrong: bool) -> Option<Span> {
        if !self.is_beside(other) {
            let narrower = if other.width(wrong) < self.width(false) { other } else { self };
            return Some(narrower.clone());
        }
        let (from, to) = (self.from.clone().max(other.from.clone()), self.to.clone().min(other.to.clone()));
        (from <= to).then(|| Span { part: self.part.clone(), lens: self.lens, from, to })
    }
}

impl Region {
    pub(crate) const ALL: Region = Region(Subjects::All);
    pub(crate) const NONE: Region = Region(Subjects::In(Vec::new()));

    /// Where it is known.
    pub(super) fn spans(&self) -> Option<&[Span]> {
        match &self.0 {
            Subjects::All => None,
            Subjects::In(spans) => Some(spans),
        }
    }

    /// Those in one or the other.
    #[must_use]
    pub(crate) fn or(self, other: Region) -> Region {
        let (Subjects::In(mut spans), Subjects::In(more)) = (self.0, other.0) else { return Region::ALL };
        if more.is_empty() {
            return Region(Subjects::In(spans));
        }
        spans.extend(more);
        spans.sort_unstable();
        spans.dedup_by(|next, last| {
            let joins = next.is_beside(last) && next.from <= last.to;
            if joins && next.to > last.to {
                last.to = next.to.clone();
            }
            joins
        });
        if spans.len() > MAX_SPANS { Region::ALL } else { Region(Subjects::In(spans)) }
    }

    /// Those in both, or a few more. In `other` something may be `wrong`.
    #[must_use]
    fn meet(&self, other: &Region, wrong: bool) -> Region {
        let (ours, theirs) = match (&self.0, &other.0) {
            (Subjects::All, _) => return other.clone(),
            (_, Subjects::All) => return self.clone(),
            (Subjects::In(ours), Subjects::In(theirs)) => (ours, theirs),
        };
        let width = |spans: &[Span], wrong| spans.iter().map(|span| span.width(wrong)).sum::<usize>();
        let (our_width, their_width) = (width(ours, false), width(theirs, wrong));
        let whole = if their_width < our_width { other } else { self };
        if ours.len() * theirs.len() > MAX_SPANS {
            return whole.clone();
        }
        let mut pairs: Vec<Span> =
            ours.iter().flat_map(|a| theirs.iter().filter_map(|b| a.meet(b, wrong))).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let in_pairs = pairs.iter().map(|span| span.width(wrong && theirs.contains(span))).sum::<usize>();
        if our_width.min(their_width) < in_pairs {
            return whole.clone();
        }
        Region::NONE.or(Region(Subjects::In(pairs)))
    }

    /// Whether a subject is in it.
    #[cfg(test)]
    pub(super) fn contains(&self, subject: &Value) -> bool {
        self.spans().is_none_or(|spans| {
            spans.iter().any(|span| {
                let point = span.lens.of(part(subject, &span.part));
                span.from <= point && point <= span.to
            })
        })
    }
}

/// A part of a subject, if it has that.
pub(super) fn part<'v>(subject: &'v Value, part: &[String]) -> Option<&'v Value> {
    part.iter().try_fold(subject, |value, name| value.get(name.as_str()))
}

/// Those of a value, in their order on the line.
const KINDS: [(Kind, Kinds); 7] = [
    (Kind::Missing, Kinds::NONE),
    (Kind::Null, Kinds::NULL),
    (Kind::Boolean, Kinds::BOOLEAN),
    (Kind::Number, Kinds::NUMBER),
    (Kind::Text, Kinds::TEXT),
    (Kind::List, Kinds::LIST),
    (Kind::Object, Kinds::OBJECT),
];

/// Makes regions of what a part is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'p> {
    pub part: &'p [String],
    pub lens: Lens,
}

impl Of<'_> {
    pub fn between(self, from: Point<'static>, to: Point<'static>) -> Region {
        Region(Subjects::In(vec![Span { part: self.part.to_vec(), lens: self.lens, from, to }]))
    }

    pub fn point(self, point: Point<'static>) -> Region {
        self.between(point.clone(), point)
    }

    /// Where it is the same as this value, as far as the lens tells values apart.
    pub fn like(self, value: &Value) -> Region {
        self.point(self.lens.of(Some(value)).into_owned())
    }

    pub fn missing(self) -> Region {
        self.point(Point::least(Kind::Missing))
    }

    /// Any value of these kinds. Neighbours make one span.
    pub fn kinds(self, kinds: Kinds) -> Region {
        let mut spans: Vec<Span> = Vec::new();
        let mut last = false;
        for (kind, of) in KINDS {
            let here = kinds.may_be(of);
            match spans.last_mut().filter(|_| here && last) {
                Some(span) => span.to = Point::most(kind),
                None if here => spans.push(Span {
                    part: self.part.to_vec(),
                    lens: self.lens,
                    from: Point::least(kind),
                    to: Point::most(kind),
                }),
                None => {}
            }
            last = here;
        }
        Region(Subjects::In(spans))
    }
}

/// Where a condition comes to what; a subject that could come to several is in all of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcomes {
    pub yes: Region,
    pub no: Region,
    pub error: Region,
}

/// What can come out for one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    No,
    Error,
    Unknown,
}

impl Verdict {
    pub fn of<E>(decided: Result<bool, E>) -> Verdict {
        match decided {
            Ok(true) => Verdict::Yes,
            Ok(false) => Verdict::No,
            Err(_) => Verdict::Error,
        }
    }
}

impl Outcomes {
    pub const UNKNOWN: Outcomes = Outcomes { yes: Region::ALL, no: Region::ALL, error: Region::ALL };

    pub fn always(yes: bool) -> Outcomes {
        let outcomes = Outcomes { yes: Region::ALL, no: Region::NONE, error: Region::NONE };
        if yes { outcomes } else { outcomes.not() }
    }

    #[must_use]
    pub fn not(self) -> Outcomes {
        Outcomes { yes: self.no, no: self.yes, error: self.error }
    }

    /// `right` is asked where this holds.
    #[must_use]
    pub fn and(self, right: &Outcomes) -> Outcomes {
        Outcomes {
            no: self.no.or(self.yes.meet(&right.no, false)),
            error: self.error.or(self.yes.meet(&right.error, true)),
            yes: self.yes.meet(&right.yes, false),
        }
    }

    /// `right` is asked where this does not hold.
    #[must_use]
    pub fn or(self, right: Outcomes) -> Outcomes {
        self.not().and(&right.not()).not()
    }

    /// What comes out of these subjects too.
    #[must_use]
    pub fn with(mut self, verdict: Verdict, region: &Region) -> Outcomes {
        let add = |to: &mut Region| *to = std::mem::replace(to, Region::ALL).or(region.clone());
        if matches!(verdict, Verdict::Yes | Verdict::Unknown) {
            add(&mut self.yes);
        }
        if matches!(verdict, Verdict::No | Verdict::Unknown) {
            add(&mut self.no);
        }
        if matches!(verdict, Verdict::Error | Verdict::Unknown) {
            add(&mut self.error);
        }
        self
    }

    /// The subjects that matter to whoever asks: where it holds, or cannot be answered.
    pub fn matters(self) -> Region {
        self.yes.or(self.error)
    }
}

/// A part of the subject that is read, and what stands for it where it is not there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Read {
    pub part: Vec<String>,
    pub absent: Absent,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Absent {
    /// It is as good as null.
    Null,
    /// That is an error, and null is null.
    Error,
    /// This stands for it, and for null.
    Instead(Value),
}

impl Read {
    pub fn of(&self, lens: Lens) -> Of<'_> {
        Of { part: &self.part, lens }
    }

    /// Where a template that gives it may fail: it is not there, or too much to be copied.
    pub fn may_fail(&self) -> Region {
        let exact = self.of(Lens::Exact);
        let large = exact.kinds(Kinds::LIST.or(Kinds::OBJECT));
        if self.absent == Absent::Error { large.or(exact.missing()) } else { large }
    }

    /// What is asked of it comes to: these for the kinds of values but null, and that for null or what stands for it.
    pub fn asked(&self, others: Outcomes, of: impl Fn(&Value) -> Verdict) -> Outcomes {
        let exact = self.of(Lens::Exact);
        let (missing, null) = (exact.missing(), exact.kinds(Kinds::NULL));
        match &self.absent {
            Absent::Null => others.with(of(&Value::Null), &missing.or(null)),
            Absent::Error => others.with(Verdict::Error, &missing).with(of(&Value::Null), &null),
            Absent::Instead(value) => others.with(of(value), &missing.or(null)),
        }
    }
}
