//! Values on a line: what a part of a subject is, as something that lies between two others.

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::civil::Date;
use serde_json::{Number, Value};
use stepwell_records::filter::{When, is_empty, order_numbers};

/// How a value is looked at. An operand goes with the one that keeps its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lens {
    /// As it is.
    Exact,
    /// Texts in lower case.
    Folded,
    /// Texts as days in UTC; one that is no time lies before all of them.
    Day,
    /// Whether it holds anything: true where it does not.
    Empty,
}

/// A value under a lens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point<'v> {
    pub kind: Kind,
    at: At<'v>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Missing,
    Null,
    Boolean,
    Number,
    Text,
    List,
    Object,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum At<'v> {
    Least,
    Boolean(bool),
    Number(Num),
    Text(Cow<'v, str>),
    Day(Date),
    Most,
}

/// In the order that comparisons know.
#[derive(Debug, Clone)]
struct Num(Number);

impl PartialEq for Num {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Num {}

impl PartialOrd for Num {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Num {
    fn cmp(&self, other: &Self) -> Ordering {
        order_numbers(&self.0, &other.0)
    }
}

impl Lens {
    /// Where a value lies; none is one that is not there.
    pub fn of(self, value: Option<&Value>) -> Point<'_> {
        if self == Lens::Empty {
            return Point { kind: Kind::Boolean, at: At::Boolean(value.is_none_or(is_empty)) };
        }
        let Some(value) = value else { return Point::least(Kind::Missing) };
        match value {
            Value::Null => Point::least(Kind::Null),
            Value::Bool(b) => Point { kind: Kind::Boolean, at: At::Boolean(*b) },
            Value::Number(number) => Point { kind: Kind::Number, at: At::Number(Num(number.clone())) },
            Value::String(text) => match self {
                Lens::Folded => Point { kind: Kind::Text, at: At::Text(Cow::Owned(text.to_lowercase())) },
                Lens::Day => When::parse(text).map_or(Point::least(Kind::Text), Point::day),
                _ => Point { kind: Kind::Text, at: At::Text(Cow::Borrowed(text)) },
            },
            Value::Array(_) => Point::least(Kind::List),
            Value::Object(_) => Point::least(Kind::Object),
        }
    }
}

impl Point<'static> {
    pub fn least(kind: Kind) -> Self {
        Point { kind, at: At::Least }
    }

    pub fn most(kind: Kind) -> Self {
        Point { kind, at: At::Most }
    }

    pub fn text(text: String) -> Self {
        Point { kind: Kind::Text, at: At::Text(Cow::Owned(text)) }
    }

    pub fn day(when: When) -> Self {
        Point { kind: Kind::Text, at: At::Day(when.day()) }
    }

    pub fn boolean(value: bool) -> Self {
        Point { kind: Kind::Boolean, at: At::Boolean(value) }
    }
}

impl Point<'_> {
    pub fn into_owned(self) -> Point<'static> {
        let at = match self.at {
            At::Text(text) => At::Text(Cow::Owned(text.into_owned())),
            At::Least => At::Least,
            At::Boolean(b) => At::Boolean(b),
            At::Number(number) => At::Number(number),
            At::Day(day) => At::Day(day),
            At::Most => At::Most,
        };
        Point { kind: self.kind, at }
    }

    /// Whether nothing of its kind lies beyond it.
    pub fn is_end(&self) -> bool {
        matches!(self.at, At::Least | At::Most)
    }
}
