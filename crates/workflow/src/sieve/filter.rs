//! What a filter comes to, by the parts of the subject that its fields name.

use jiff::Timestamp;
use serde_json::Value;
use stepwell_records::filter::{Condition, Filter, Operand, Subject, Test, When};

use super::point::{Kind, Lens, Point};
use super::region::{Absent, Outcomes, Read, Region, Verdict};
use crate::expr::Kinds;

/// Of a filter whose operands can be asked with. `reads` has what the subjects that are values stand for, in the order
/// of the filter.
pub(crate) fn outcomes(filter: &Filter, reads: &mut dyn Iterator<Item = Read>) -> Outcomes {
    match filter {
        Filter::All(filters) => {
            filters.iter().fold(Outcomes::always(true), |all, filter| all.and(&outcomes(filter, reads)))
        }
        Filter::Any(filters) => {
            filters.iter().fold(Outcomes::always(false), |any, filter| any.or(outcomes(filter, reads)))
        }
        Filter::Not(filter) => outcomes(filter, reads).not(),
        Filter::Condition(condition) => {
            let read = match &condition.subject {
                Subject::Field(name) => {
                    Some(Read { part: name.split('.').map(str::to_owned).collect(), absent: Absent::Null })
                }
                Subject::Value(_) => reads.next(),
            };
            let Some(read) = read else { return Outcomes::UNKNOWN };
            let tests = condition.tests.iter().map(|test| {
                let others = others(&read, test);
                read.asked(others, |value| verdict(value, test))
            });
            tests.fold(Outcomes::always(true), |all, test| all.and(&test))
        }
    }
}

/// What comes out for one value.
fn verdict(value: &Value, test: &Test) -> Verdict {
    use Operand::{After, Before, On, OnOrAfter, OnOrBefore, Within};
    let of_time = matches!(test.operand, Before | After | On | OnOrBefore | OnOrAfter | Within);
    if of_time && !value.is_null() {
        return Verdict::Unknown;
    }
    let condition = Condition { subject: Subject::Value(value.clone()), tests: vec![test.clone()] };
    Verdict::of(Filter::Condition(condition).evaluate(&|_| None, Timestamp::UNIX_EPOCH))
}

/// Any value but null.
const SOME: Kinds = Kinds::ANY.without(Kinds::NULL);

/// What comes out for values that are not null.
fn others(read: &Read, Test { operand, value }: &Test) -> Outcomes {
    let exact = read.of(Lens::Exact);
    let but = |kinds: Kinds| exact.kinds(SOME.without(kinds));
    let of_kinds =
        |kinds: Kinds| Outcomes { yes: exact.kinds(kinds), no: exact.kinds(kinds), error: but(kinds) };
    match operand {
        Operand::Is => among(read, std::slice::from_ref(value)),
        Operand::IsNot => among(read, std::slice::from_ref(value)).not(),
        Operand::In | Operand::NotIn => {
            let found = among(read, value.as_array().map_or(&[][..], Vec::as_slice));
            if *operand == Operand::In { found } else { found.not() }
        }
        // What a list holds may be of another kind.
        Operand::Contains | Operand::NotContains => {
            let sure = if value.is_string() { Kinds::TEXT } else { Kinds::NONE };
            let looked_into = exact.kinds(Kinds::TEXT.or(Kinds::LIST));
            Outcomes { yes: looked_into.clone(), no: looked_into, error: but(sure) }
        }
        Operand::ContainsAny | Operand::ContainsAll => {
            let lists = exact.kinds(Kinds::LIST);
            Outcomes { yes: lists.clone(), no: lists, error: exact.kinds(SOME) }
        }
        Operand::StartsWith => {
            let outcomes = of_kinds(Kinds::TEXT);
            let Some(begin) = value.as_str().map(str::to_lowercase) else { return Outcomes::UNKNOWN };
            Outcomes {
                yes: read.of(Lens::Folded).between(Point::text(begin.clone()), after(&begin)),
                ..outcomes
            }
        }
        Operand::EndsWith => of_kinds(Kinds::TEXT),
        Operand::LessThan | Operand::LessOrEqual => ordered(read, value, Lens::Folded).not(),
        Operand::GreaterThan | Operand::GreaterOrEqual => ordered(read, value, Lens::Folded),
        Operand::Before | Operand::OnOrBefore | Operand::After | Operand::OnOrAfter | Operand::On => {
            // `now` and `today` are another time for each subject.
            let Some(when) = value.as_str().and_then(|text| When::parse(text).ok()) else {
                return Outcomes { error: exact.kinds(SOME), ..of_kinds(Kinds::TEXT) };
            };
            let days = read.of(Lens::Day);
            let (day, no_time) = (Point::day(when), days.point(Point::least(Kind::Text)));
            let later = days.between(day.clone(), Point::most(Kind::Text));
            let earlier = days.between(Point::least(Kind::Text), day.clone());
            let (yes, no) = match operand {
                Operand::On => (days.point(day), days.kinds(Kinds::TEXT)),
                Operand::After | Operand::OnOrAfter => (later, earlier),
                _ => (earlier, later),
            };
            Outcomes { yes, no, error: but(Kinds::TEXT).or(no_time) }
        }
        Operand::Within => Outcomes { error: exact.kinds(SOME), ..of_kinds(Kinds::TEXT) },
        Operand::IsEmpty => {
            let is = |empty: bool| read.of(Lens::Empty).point(Point::boolean(empty));
            let empty = value.as_bool().unwrap_or(true);
            Outcomes { yes: is(empty), no: is(!empty), error: Region::NONE }
        }
    }
}

/// Whether it is one of these; an error where it is of the kind of none.
fn among(read: &Read, items: &[Value]) -> Outcomes {
    let exact = read.of(Lens::Exact);
    let kinds = items.iter().fold(Kinds::NONE, |kinds, item| kinds.or(Kinds::of(item)));
    let kinds = if items.is_empty() { SOME } else { kinds };
    let yes = items.iter().fold(Region::NONE, |yes, item| yes.or(exact.like(item)));
    Outcomes { yes, no: exact.kinds(kinds), error: exact.kinds(SOME.without(kinds)) }
}

/// Whether it comes after a number or a text; an error for all other kinds. What is equal is on either side.
pub(crate) fn ordered(read: &Read, than: &Value, texts: Lens) -> Outcomes {
    let (kind, kinds, lens) = match than {
        Value::Number(_) => (Kind::Number, Kinds::NUMBER, Lens::Exact),
        Value::String(_) => (Kind::Text, Kinds::TEXT, texts),
        _ => return Outcomes::UNKNOWN,
    };
    let (of, point) = (read.of(lens), lens.of(Some(than)).into_owned());
    Outcomes {
        yes: of.between(point.clone(), Point::most(kind)),
        no: of.between(Point::least(kind), point),
        error: read.of(Lens::Exact).kinds(SOME.without(kinds)),
    }
}

/// What comes after all texts that begin with this one.
fn after(begin: &str) -> Point<'static> {
    let mut begin = begin.to_owned();
    while let Some(last) = begin.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            begin.push(next);
            return Point::text(begin);
        }
    }
    Point::most(Kind::Text)
}
