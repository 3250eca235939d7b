//! What an expression comes to as a condition, by the parts of one value that it reads.

use serde_json::Value;

use super::arithmetic::{compare, numbers};
use super::ast::{Args, Binary, Compare, Expr, Path, Root, Segment};
use super::budget::Budget;
use super::certain::Kinds;
use super::filters::Test;
use super::template::Template;
use crate::sieve::{Absent, Lens, Outcomes, Point, Read, Region, Verdict, ordered};

/// Of a longer one nothing is said: it might run out of steps.
const MAX_LENGTH: usize = 16 << 10;

/// Any value but null.
const SOME: Kinds = Kinds::ANY.without(Kinds::NULL);

impl Template {
    /// Where it gives true, false, or something else, by the parts of what it sees as `root`.
    pub(crate) fn outcomes(&self, root: &str) -> Outcomes {
        match self.single().filter(|_| self.source().len() <= MAX_LENGTH) {
            Some(expr) => Look { roots: self.roots(), root }.expr(expr),
            None => Outcomes::UNKNOWN,
        }
    }

    /// The part of what it sees as `root` that it gives, if that is all it does.
    pub(crate) fn reads(&self, root: &str) -> Option<Read> {
        Look { roots: self.roots(), root }.read(self.single()?)
    }
}

struct Look<'t> {
    roots: &'t [String],
    root: &'t str,
}

impl Look<'_> {
    fn expr(&self, expr: &Expr) -> Outcomes {
        match expr {
            Expr::Const(Value::Bool(holds)) => Outcomes::always(*holds),
            Expr::Path(_) | Expr::Default(..) => {
                self.read(expr).map_or(Outcomes::UNKNOWN, |read| bare(&read))
            }
            Expr::Not(of) => self.expr(of).not(),
            Expr::And(left, right) => self.expr(left).and(&self.expr(right)),
            Expr::Or(left, right) => self.expr(left).or(self.expr(right)),
            Expr::Compare(first, rest, _) => {
                let lefts = std::iter::once(&**first).chain(rest.iter().map(|(_, right)| right));
                let pairs = lefts.zip(rest).map(|(left, (op, right))| self.compare(*op, left, right));
                pairs.fold(Outcomes::always(true), |all, pair| all.and(&pair))
            }
            Expr::Defined(of) => self.defined(of),
            Expr::Test(test, of, args, _) => {
                self.read(of).and_then(|read| tested(&read, test, args)).unwrap_or(Outcomes::UNKNOWN)
            }
            _ => Outcomes::UNKNOWN,
        }
    }

    fn path(&self, path: &Path) -> Option<Vec<String>> {
        let Root::Scope(index) = path.root else { return None };
        let names = path.segments.iter().map(|segment| match segment {
            Segment::Key(name) => Some(name.clone()),
            Segment::Index(_) => None,
        });
        names
            .collect::<Option<Vec<_>>>()
            .filter(|_| self.roots.get(index).is_some_and(|root| root == self.root))
    }

    fn read(&self, expr: &Expr) -> Option<Read> {
        match expr {
            Expr::Path(path) => Some(Read { part: self.path(path)?, absent: Absent::Error }),
            Expr::Default(of, args) => {
                let Expr::Path(path) = &**of else { return None };
                let instead = match args.positional.as_slice() {
                    [] => Value::from(""),
                    [instead] => constant(instead)?,
                    // Such a one stands for more than what is not there.
                    _ => return None,
                };
                let part = self.path(path).filter(|_| args.named.is_empty())?;
                Some(Read { part, absent: Absent::Instead(instead) })
            }
            _ => None,
        }
    }

    fn defined(&self, of: &Expr) -> Outcomes {
        let Some(read) = self.read(of).filter(|read| read.absent == Absent::Error) else {
            return Outcomes::UNKNOWN;
        };
        let exact = read.of(Lens::Exact);
        Outcomes { yes: exact.kinds(Kinds::ANY), no: exact.missing(), error: Region::NONE }
    }

    fn compare(&self, op: Compare, left: &Expr, right: &Expr) -> Outcomes {
        let turned = match op {
            Compare::Eq | Compare::Ne => Some(op),
            Compare::Lt => Some(Compare::Gt),
            Compare::Le => Some(Compare::Ge),
            Compare::Gt => Some(Compare::Lt),
            Compare::Ge => Some(Compare::Le),
            Compare::In | Compare::NotIn => None,
        };
        let known = match (self.read(left), self.read(right)) {
            (Some(read), None) => constant(right).map(|with| compared(&read, op, &with)),
            (None, Some(read)) => turned.zip(constant(left)).map(|(op, with)| compared(&read, op, &with)),
            _ => None,
        };
        known.unwrap_or(Outcomes::UNKNOWN)
    }
}

/// What stands there, if it is the same for every subject.
fn constant(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Const(value) => Some(value.clone()),
        Expr::List(items) => items.iter().map(constant).collect(),
        Expr::Neg(of, _) => match constant(of)? {
            Value::Number(number) => numbers(Binary::Sub, &0.into(), &number).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// A value by itself: it decides what comes next, and is an error in the end unless it is true or false.
fn bare(read: &Read) -> Outcomes {
    let exact = read.of(Lens::Exact);
    let other = exact.kinds(SOME.without(Kinds::BOOLEAN));
    let is = |value: bool| exact.point(Point::boolean(value)).or(other.clone());
    let others = Outcomes { yes: is(true), no: is(false), error: other.clone() };
    read.asked(others, |value| match value {
        Value::Bool(true) => Verdict::Yes,
        Value::Bool(false) => Verdict::No,
        _ => Verdict::Unknown,
    })
}

fn compared(read: &Read, op: Compare, with: &Value) -> Outcomes {
    // To compare lists takes as many steps as they are long.
    let is_scalar = |value: &Value| !value.is_array() && !value.is_object();
    let exact = read.of(Lens::Exact);
    let others = match (op, with) {
        (Compare::Eq | Compare::Ne, with) if is_scalar(with) => equal(exact.like(with), exact.kinds(SOME)),
        (Compare::In | Compare::NotIn, Value::Array(items)) if items.iter().all(is_scalar) => {
            let found = items.iter().fold(Region::NONE, |found, item| found.or(exact.like(item)));
            equal(found, exact.kinds(SOME))
        }
        (Compare::Gt | Compare::Ge, with) => ordered(read, with, Lens::Exact),
        (Compare::Lt | Compare::Le, with) => ordered(read, with, Lens::Exact).not(),
        _ => return Outcomes::UNKNOWN,
    };
    let others = if matches!(op, Compare::Ne | Compare::NotIn) { others.not() } else { others };
    read.asked(others, |value| Verdict::of(compare(op, value, with, &Budget::default())))
}

fn equal(yes: Region, no: Region) -> Outcomes {
    Outcomes { yes, no, error: Region::NONE }
}

fn tested(read: &Read, test: &Test, args: &Args) -> Option<Outcomes> {
    let op = match test.name {
        "eq" => Some(Compare::Eq),
        "ne" => Some(Compare::Ne),
        "lt" => Some(Compare::Lt),
        "le" => Some(Compare::Le),
        "gt" => Some(Compare::Gt),
        "ge" => Some(Compare::Ge),
        "in" => Some(Compare::In),
        _ => None,
    };
    if let Some(op) = op {
        let [with] = args.positional.as_slice() else { return None };
        return Some(compared(read, op, &constant(with)?));
    }
    let exact = read.of(Lens::Exact);
    let of_kinds = |kinds: Kinds| equal(exact.kinds(kinds), exact.kinds(SOME.without(kinds)));
    let (others, null) = match test.name {
        "none" => (of_kinds(Kinds::NONE), true),
        "boolean" => (of_kinds(Kinds::BOOLEAN), false),
        "number" => (of_kinds(Kinds::NUMBER), false),
        "string" => (of_kinds(Kinds::TEXT), false),
        "sequence" => (of_kinds(Kinds::LIST), false),
        "mapping" => (of_kinds(Kinds::OBJECT), false),
        "iterable" => (of_kinds(Kinds::LIST.or(Kinds::OBJECT)), false),
        "true" | "false" => {
            (equal(exact.point(Point::boolean(test.name == "true")), exact.kinds(SOME)), false)
        }
        _ => return None,
    };
    // What stands for it is seldom asked such a thing.
    Some(read.asked(others, |value| match value {
        Value::Null => {
            if null {
                Verdict::Yes
            } else {
                Verdict::No
            }
        }
        _ => Verdict::Unknown,
    }))
}
