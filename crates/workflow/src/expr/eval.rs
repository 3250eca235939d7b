//! Evaluates expressions over JSON. Strict everywhere: a value that is not there is an error wherever it is used,
//! unless `default` or `is defined` deals with it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::ast::{Args, Binary, Compare, Expr, Path, Root, Segment, Slice, Span};
use super::error::{ExprError, ExprErrorKind};
use super::filters::Given;
use super::json::{as_integer, equal, float, integer, is_true, kind, order, text};
use super::scope::Found;
use super::undefined;

/// Steps of evaluation in one rendering; a template that needs more is refused.
const FUEL: u64 = 1_000_000;

/// Bytes of text that one rendering may build.
pub(super) const MAX_TEXT: usize = 16 << 20;

/// What an expression gives.
pub(super) enum Val<'a> {
    Json(Cow<'a, Value>),
    /// Nothing is there, and why.
    Undefined(String),
}

/// One rendering: the values, and what it has used up.
pub(super) struct Run<'a> {
    pub source: &'a str,
    pub roots: &'a [(String, Found)],
    pub names: &'a dyn Fn() -> Vec<String>,
    pub now: Timestamp,
    fuel: Cell<u64>,
    locals: RefCell<Vec<(String, Value)>>,
}

type Evaluated<T> = Result<T, ExprError>;

impl<'a> Run<'a> {
    pub fn new(
        source: &'a str,
        roots: &'a [(String, Found)],
        names: &'a dyn Fn() -> Vec<String>,
        now: Timestamp,
    ) -> Run<'a> {
        Run { source, roots, names, now, fuel: Cell::new(FUEL), locals: RefCell::new(Vec::new()) }
    }

    /// Uses up `amount` of the rendering's fuel.
    pub fn burn(&self, amount: u64) -> Evaluated<()> {
        match self.fuel.get().checked_sub(amount) {
            Some(left) => {
                self.fuel.set(left);
                Ok(())
            }
            None => Err(ExprError::value(format!("the template needs more than {FUEL} steps"))
                .hint("work on that much data in a code step")),
        }
    }

    pub fn set_local(&self, name: &str, value: Value) {
        let mut locals = self.locals.borrow_mut();
        locals.push((name.to_owned(), value));
    }

    pub fn locals(&self) -> usize {
        self.locals.borrow().len()
    }

    pub fn forget_locals(&self, down_to: usize) {
        self.locals.borrow_mut().truncate(down_to);
    }

    fn error(&self, span: Span, message: impl Into<String>) -> ExprError {
        ExprError::value(message).in_part(span.of(self.source), span.from)
    }

    /// The value of an expression; an error when there is none.
    pub fn value(&self, expr: &'a Expr) -> Evaluated<Cow<'a, Value>> {
        match self.eval(expr)? {
            Val::Json(value) => Ok(value),
            Val::Undefined(why) => {
                let error = ExprError::new(ExprErrorKind::Undefined, why);
                Err(match expr_span(expr) {
                    Some(span) => error.in_part(span.of(self.source), span.from),
                    None => error,
                })
            }
        }
    }

    pub fn eval(&self, expr: &'a Expr) -> Evaluated<Val<'a>> {
        self.burn(1)?;
        let value = match expr {
            Expr::Const(value) => Cow::Borrowed(value),
            Expr::Path(path) => return Ok(self.path(path)),
            Expr::Attr(of, name, _) => return Ok(attribute(self.eval(of)?, &Segment::Key(name.clone()))),
            Expr::Item(of, key, span) => {
                let of = self.eval(of)?;
                let key = match self.value(key)?.into_owned() {
                    Value::String(key) => Segment::Key(key),
                    Value::Number(n) => match n.as_i64() {
                        Some(index) => Segment::Index(index),
                        None => return Err(self.error(*span, "a list is indexed with a whole number")),
                    },
                    other => {
                        let message = format!("`[…]` takes a text or a whole number, not {}", kind(&other));
                        return Err(self.error(*span, message));
                    }
                };
                return Ok(attribute(of, &key));
            }
            Expr::Slice(slice, span) => self.slice(slice, *span)?,
            Expr::Not(of) => Cow::Owned(Value::Bool(!is_true(&*self.value(of)?))),
            Expr::Neg(of, span) => {
                let zero = Value::Number(Number::from(0));
                let value = self.value(of)?;
                Cow::Owned(binary(Binary::Sub, &zero, &value).map_err(|m| self.error(*span, m))?)
            }
            Expr::And(left, right) => {
                let left = self.value(left)?;
                if is_true(&left) { self.value(right)? } else { left }
            }
            Expr::Or(left, right) => {
                let left = self.value(left)?;
                if is_true(&left) { left } else { self.value(right)? }
            }
            Expr::Binary(op, left, right, span) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                Cow::Owned(binary(*op, &left, &right).map_err(|m| self.error(*span, m))?)
            }
            Expr::Compare(first, rest, span) => {
                let mut left = self.value(first)?;
                let mut holds = true;
                for (op, right) in rest {
                    let right = self.value(right)?;
                    holds = compare(*op, &left, &right).map_err(|m| self.error(*span, m))?;
                    if !holds {
                        break;
                    }
                    left = right;
                }
                Cow::Owned(Value::Bool(holds))
            }
            Expr::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                return self.eval(if is_true(&*self.value(condition)?) { then } else { otherwise });
            }
            Expr::Default(of, args) => {
                let given = match self.eval(of)? {
                    Val::Json(value) if !value.is_null() => Some(value),
                    _ => None,
                };
                // `default(x, true)` stands in for whatever is not true, as in Jinja.
                let also_false = match self.default_boolean(args) {
                    Some(expr) => is_true(&*self.value(expr)?),
                    None => false,
                };
                match given {
                    Some(value) if !also_false || is_true(&value) => value,
                    _ => match args.positional.first() {
                        Some(instead) => return self.eval(instead),
                        None => Cow::Owned(Value::String(String::new())),
                    },
                }
            }
            Expr::Defined(of) => Cow::Owned(Value::Bool(matches!(self.eval(of)?, Val::Json(_)))),
            Expr::Filter(filter, input, args, span) => {
                let input = match self.eval(input)? {
                    Val::Json(value) => value,
                    Val::Undefined(why) => {
                        return Err(ExprError::new(ExprErrorKind::Undefined, why)
                            .in_part(span.of(self.source), span.from));
                    }
                };
                let given = self.given(args)?;
                match (filter.run)(self, input, &given) {
                    Ok(Some(value)) => Cow::Owned(value),
                    Ok(None) => return Ok(Val::Undefined(format!("`{}`: the list is empty", filter.name))),
                    Err(message) => {
                        return Err(self.error(*span, format!("`{}`: {message}", filter.name)));
                    }
                }
            }
            Expr::Test(test, input, args, span) => {
                let (input, given) = (self.value(input)?, self.given(args)?);
                let holds = (test.run)(&input, &given)
                    .map_err(|message| self.error(*span, format!("`{}`: {message}", test.name)))?;
                Cow::Owned(Value::Bool(holds))
            }
            Expr::Call(function, args, span) => {
                let given = self.given(args)?;
                let value = (function.run)(self, &given)
                    .map_err(|message| self.error(*span, format!("`{}`: {message}", function.name)))?;
                Cow::Owned(value)
            }
            Expr::List(items) => {
                let items = items.iter().map(|item| self.value(item).map(Cow::into_owned));
                Cow::Owned(Value::Array(items.collect::<Evaluated<_>>()?))
            }
            Expr::Map(entries, span) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let Value::String(key) = self.value(key)?.into_owned() else {
                        return Err(self.error(*span, "the keys of an object are texts"));
                    };
                    map.insert(key, self.value(value)?.into_owned());
                }
                Cow::Owned(Value::Object(map))
            }
        };
        Ok(Val::Json(value))
    }

    fn default_boolean(&self, args: &'a Args) -> Option<&'a Expr> {
        let named = args.named.iter().find(|(name, _)| name == "boolean").map(|(_, expr)| expr);
        args.positional.get(1).or(named)
    }

    fn given(&self, args: &'a Args) -> Evaluated<Given<'a>> {
        let positional = args.positional.iter().map(|arg| self.value(arg)).collect::<Evaluated<_>>()?;
        let mut named = Vec::new();
        for (name, value) in &args.named {
            named.push((name.as_str(), self.value(value)?));
        }
        Ok(Given { positional, named })
    }

    fn path(&self, path: &'a Path) -> Val<'a> {
        match &path.root {
            Root::Local(name) => {
                let locals = self.locals.borrow();
                let Some((_, value)) = locals.iter().rev().find(|(local, _)| local == name) else {
                    return Val::Undefined(format!("`{name}` was not set"));
                };
                match follow(value, &path.segments) {
                    Ok(value) => Val::Json(Cow::Owned(value.into_owned())),
                    Err(at) => Val::Undefined(undefined::explain(name, value, &path.segments, at)),
                }
            }
            Root::Scope(index) => {
                let (name, found) = &self.roots[*index];
                match found {
                    Found::Value(value) => match follow(value, &path.segments) {
                        Ok(value) => Val::Json(value),
                        Err(at) => Val::Undefined(undefined::explain(name, value, &path.segments, at)),
                    },
                    Found::Nothing(why) => Val::Undefined(format!("`{name}` {why}")),
                    Found::Unknown => Val::Undefined(undefined::unknown(name, &(self.names)())),
                }
            }
        }
    }

    fn slice(&self, slice: &'a Slice, span: Span) -> Evaluated<Cow<'a, Value>> {
        let of = self.value(&slice.of)?;
        let bound = |expr: &'a Option<Expr>| -> Evaluated<Option<i64>> {
            let Some(expr) = expr else { return Ok(None) };
            match &*self.value(expr)? {
                Value::Null => Ok(None),
                Value::Number(n) if n.is_i64() => Ok(n.as_i64()),
                _ => Err(self.error(span, "a slice is given by whole numbers")),
            }
        };
        let (start, stop, step) = (bound(&slice.start)?, bound(&slice.stop)?, bound(&slice.step)?);
        let step = match step.unwrap_or(1) {
            step if step >= 1 => usize::try_from(step).unwrap_or(usize::MAX),
            _ => {
                return Err(
                    self.error(span, "the step of a slice is 1 or more; `| reverse` turns a list round")
                );
            }
        };
        let within = |len: usize| {
            let clamp = |bound: i64| {
                let size = usize::try_from(bound.unsigned_abs()).unwrap_or(usize::MAX);
                if bound < 0 { len.saturating_sub(size) } else { size.min(len) }
            };
            let from = start.map_or(0, clamp);
            let to = stop.map_or(len, clamp).max(from);
            from..to
        };
        Ok(Cow::Owned(match &*of {
            Value::Array(items) => {
                Value::Array(items[within(items.len())].iter().step_by(step).cloned().collect())
            }
            Value::String(text) => {
                let chars: Vec<char> = text.chars().collect();
                Value::String(chars[within(chars.len())].iter().step_by(step).collect())
            }
            other => return Err(self.error(span, format!("{} cannot be sliced", kind(other)))),
        }))
    }
}

/// The part of the template that an expression is, where that is known.
fn expr_span(expr: &Expr) -> Option<Span> {
    match expr {
        Expr::Path(path) => Some(path.span),
        Expr::Attr(_, _, span) | Expr::Item(_, _, span) => Some(*span),
        _ => None,
    }
}

/// Follows a path; an error gives the number of the segment that is not there.
pub(super) fn walk<'v>(mut value: &'v Value, segments: &[Segment]) -> Result<&'v Value, usize> {
    for (at, segment) in segments.iter().enumerate() {
        value = step(value, segment).ok_or(at)?;
    }
    Ok(value)
}

/// As [`walk`]; the last segment may also be a character of a text.
fn follow<'v>(value: &'v Value, segments: &[Segment]) -> Result<Cow<'v, Value>, usize> {
    walk(value, segments).map(Cow::Borrowed).or_else(|at| {
        let holder = walk(value, &segments[..at])?;
        match (holder, &segments[at..]) {
            (Value::String(text), [Segment::Index(index)]) => {
                let found = position(*index, text.chars().count()).and_then(|n| text.chars().nth(n));
                found.map(|c| Cow::Owned(Value::String(c.to_string()))).ok_or(at)
            }
            _ => Err(at),
        }
    })
}

fn step<'v>(value: &'v Value, segment: &Segment) -> Option<&'v Value> {
    match (value, segment) {
        (Value::Object(fields), Segment::Key(key)) => fields.get(key),
        (Value::Array(items), Segment::Index(index)) => items.get(position(*index, items.len())?),
        _ => None,
    }
}

fn position(index: i64, len: usize) -> Option<usize> {
    let size = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 { len.checked_sub(size) } else { Some(size) }
}

fn attribute<'a>(of: Val<'a>, segment: &Segment) -> Val<'a> {
    let segments = std::slice::from_ref(segment);
    match of {
        // What is missing stays missing, for the same reason.
        Val::Undefined(why) => Val::Undefined(why),
        Val::Json(Cow::Borrowed(value)) => match follow(value, segments) {
            Ok(value) => Val::Json(value),
            Err(at) => Val::Undefined(undefined::explain("", value, segments, at)),
        },
        Val::Json(Cow::Owned(value)) => match follow(&value, segments) {
            Ok(value) => Val::Json(Cow::Owned(value.into_owned())),
            Err(at) => Val::Undefined(undefined::explain("", &value, segments, at)),
        },
    }
}

fn compare(op: Compare, left: &Value, right: &Value) -> Result<bool, String> {
    Ok(match op {
        Compare::Eq => equal(left, right),
        Compare::Ne => !equal(left, right),
        Compare::Lt => order(left, right)?.is_lt(),
        Compare::Le => order(left, right)?.is_le(),
        Compare::Gt => order(left, right)?.is_gt(),
        Compare::Ge => order(left, right)?.is_ge(),
        Compare::In => contains(right, left)?,
        Compare::NotIn => !contains(right, left)?,
    })
}

/// Whether `item` is in a list, a text in a text, or a key in an object.
pub(super) fn contains(container: &Value, item: &Value) -> Result<bool, String> {
    match (container, item) {
        (Value::Array(items), item) => Ok(items.iter().any(|other| equal(other, item))),
        (Value::String(text), Value::String(part)) => Ok(text.contains(part.as_str())),
        (Value::Object(fields), Value::String(key)) => Ok(fields.contains_key(key)),
        (container, item) => Err(format!("{} cannot be looked for in {}", kind(item), kind(container))),
    }
}

pub(super) fn binary(op: Binary, left: &Value, right: &Value) -> Result<Value, String> {
    match (op, left, right) {
        (Binary::Concat, left, right) => Ok(Value::String(joined(&text(left)?, &text(right)?)?)),
        (Binary::Add, Value::String(left), Value::String(right)) => Ok(Value::String(joined(left, right)?)),
        (Binary::Add, Value::Array(left), Value::Array(right)) => {
            Ok(Value::Array(left.iter().chain(right).cloned().collect()))
        }
        (op, Value::Number(left), Value::Number(right)) => numbers(op, left, right),
        (_, left, right) => {
            let help = match (op, left, right) {
                (Binary::Add, Value::String(_), _) | (Binary::Add, _, Value::String(_)) => {
                    "; `~` joins texts with anything that has a text"
                }
                _ => "",
            };
            Err(format!("{} and {} cannot be calculated with{help}", kind(left), kind(right)))
        }
    }
}

fn joined(left: &str, right: &str) -> Result<String, String> {
    if left.len() + right.len() > MAX_TEXT {
        return Err("the text would be longer than 16 MiB".to_owned());
    }
    Ok(format!("{left}{right}"))
}

/// Exact for integers; a float only where one goes in, or `/` or a negative power makes one.
fn numbers(op: Binary, left: &Number, right: &Number) -> Result<Value, String> {
    if let (Some(a), Some(b)) = (as_integer(left), as_integer(right)) {
        let exact = match op {
            Binary::Add => a.checked_add(b),
            Binary::Sub => a.checked_sub(b),
            Binary::Mul => a.checked_mul(b),
            Binary::FloorDiv | Binary::Rem | Binary::Div if b == 0 => {
                return Err("division by zero".to_owned());
            }
            Binary::FloorDiv => a.checked_div_euclid(b),
            Binary::Rem => a.checked_rem_euclid(b),
            Binary::Pow if b >= 0 => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
            Binary::Div | Binary::Pow | Binary::Concat => return floats(op, left, right),
        };
        return exact.ok_or_else(|| "the number is too large".to_owned()).and_then(integer);
    }
    floats(op, left, right)
}

fn floats(op: Binary, left: &Number, right: &Number) -> Result<Value, String> {
    let as_float = |n: &Number| n.as_f64().ok_or_else(|| "the number is too large".to_owned());
    let (a, b) = (as_float(left)?, as_float(right)?);
    if b == 0.0 && matches!(op, Binary::Div | Binary::FloorDiv | Binary::Rem) {
        return Err("division by zero".to_owned());
    }
    float(match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::FloorDiv => a.div_euclid(b),
        Binary::Rem => a.rem_euclid(b),
        Binary::Pow => a.powf(b),
        Binary::Concat => return Err("texts are joined, not calculated with".to_owned()),
    })
}
