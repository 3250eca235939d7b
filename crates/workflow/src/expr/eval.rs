//! Evaluates expressions over JSON. Strict everywhere: a value that is not there is an error wherever it is used,
//! unless `default` or `is defined` deals with it.
//!
//! Every kind of expression has a function of its own, so that the one that recurses needs little of the stack.

use std::borrow::Cow;
use std::cell::RefCell;

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::arithmetic::{binary, compare, cost_of_search};
use super::ast::{Args, Binary, Compare, Expr, Path, Root, Segment, Slice, Span};
use super::budget::Budget;
use super::error::{ExprError, ExprErrorKind};
use super::filters::{Filter, Function, Given, Test};
use super::follow::{follow, walk};
use super::json::{is_true, kind};
use super::scope::Found;
use super::undefined;

/// What an expression gives.
pub(super) enum Val<'a> {
    Json(Cow<'a, Value>),
    Undefined(Why<'a>),
}

/// Why nothing is there. Told only when somebody asks: with `default`, nobody does.
pub(super) enum Why<'a> {
    /// This path leads nowhere.
    Path(&'a Path),
    Told(String),
}

/// One rendering: the values, and what it may use up.
pub(super) struct Run<'a> {
    pub source: &'a str,
    pub roots: &'a [(&'a str, Found)],
    pub names: &'a dyn Fn() -> Vec<String>,
    pub now: Timestamp,
    pub budget: &'a Budget,
    locals: RefCell<Vec<(String, Value)>>,
}

type Evaluated<T> = Result<T, ExprError>;

impl<'a> Run<'a> {
    pub fn new(
        source: &'a str,
        roots: &'a [(&'a str, Found)],
        names: &'a dyn Fn() -> Vec<String>,
        now: Timestamp,
        budget: &'a Budget,
    ) -> Run<'a> {
        Run { source, roots, names, now, budget, locals: RefCell::new(Vec::new()) }
    }

    /// Uses up steps of the rendering.
    #[inline]
    pub fn burn(&self, amount: u64) -> Evaluated<()> {
        self.budget.steps(amount).map_err(|message| self.budget.error(message))
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

    #[cold]
    pub fn error(&self, span: Span, message: impl Into<String>) -> ExprError {
        self.budget.error(message).in_part(span.of(self.source), span.from)
    }

    /// The value of an expression; an error when there is none.
    pub fn value(&self, expr: &'a Expr) -> Evaluated<Cow<'a, Value>> {
        match self.eval(expr)? {
            Val::Json(value) => Ok(value),
            Val::Undefined(why) => Err(self.nothing(why, expr_span(expr))),
        }
    }

    /// The value as one of its own: what is borrowed is copied.
    pub fn own(&self, value: Cow<'a, Value>) -> Evaluated<Value> {
        if let Cow::Borrowed(value) = value {
            self.budget.made(value).map_err(|message| self.budget.error(message))?;
        }
        Ok(value.into_owned())
    }

    fn owned(&self, expr: &'a Expr) -> Evaluated<Value> {
        let value = self.value(expr)?;
        self.own(value)
    }

    #[cold]
    pub fn nothing(&self, why: Why<'a>, span: Option<Span>) -> ExprError {
        let error = ExprError::new(ExprErrorKind::Undefined, self.told(why));
        match span {
            Some(span) => error.in_part(span.of(self.source), span.from),
            None => error,
        }
    }

    fn told(&self, why: Why<'a>) -> String {
        let path = match why {
            Why::Told(message) => return message,
            Why::Path(path) => path,
        };
        let missing = |name: &str, value: &Value| match follow(value, &path.segments) {
            Ok(_) => format!("`{name}` is not there"),
            Err(at) => undefined::explain(name, value, &path.segments, at),
        };
        match &path.root {
            Root::Local(name) => match self.locals.borrow().iter().rev().find(|(local, _)| local == name) {
                Some((_, value)) => missing(name, value),
                None => format!("`{name}` was not set"),
            },
            Root::Scope(index) => {
                let (name, found) = &self.roots[*index];
                match found {
                    Found::Value(value) => missing(name, value),
                    Found::Nothing(why) => format!("`{name}` {why}"),
                    Found::Unknown => undefined::unknown(name, &(self.names)()),
                }
            }
        }
    }

    pub fn eval(&self, expr: &'a Expr) -> Evaluated<Val<'a>> {
        self.burn(1)?;
        match expr {
            Expr::Const(value) => Ok(Val::Json(Cow::Borrowed(value))),
            Expr::Path(path) => self.path(path),
            Expr::Attr(of, name, span) => self.attr(of, name, *span),
            Expr::Item(of, key, span) => self.item(of, key, *span),
            Expr::Slice(slice, span) => self.slice(slice, *span),
            Expr::Not(of) => self.not(of),
            Expr::Neg(of, span) => self.neg(of, *span),
            Expr::And(left, right) => self.either(left, right, false),
            Expr::Or(left, right) => self.either(left, right, true),
            Expr::Binary(op, left, right, span) => self.binary(*op, left, right, *span),
            Expr::Compare(first, rest, span) => self.compare(first, rest, *span),
            Expr::If(parts) => self.choose(parts),
            Expr::Default(of, args) => self.default(of, args),
            Expr::Defined(of) => self.defined(of),
            Expr::Filter(filter, input, args, span) => self.filter(filter, input, args, *span),
            Expr::Test(test, input, args, span) => self.test(test, input, args, *span),
            Expr::Call(function, args, span) => self.call(function, args, *span),
            Expr::List(items) => self.list(items),
            Expr::Map(entries, span) => self.map(entries, *span),
        }
    }

    fn attr(&self, of: &'a Expr, name: &str, span: Span) -> Evaluated<Val<'a>> {
        let of = self.eval(of)?;
        self.part(of, &Segment::Key(name.to_owned()), span)
    }

    fn item(&self, of: &'a Expr, key: &'a Expr, span: Span) -> Evaluated<Val<'a>> {
        let of = self.eval(of)?;
        let key = match &*self.value(key)? {
            Value::String(key) => Segment::Key(key.clone()),
            Value::Number(n) => match n.as_i64() {
                Some(index) => Segment::Index(index),
                None => return Err(self.error(span, "a list is indexed with a whole number")),
            },
            other => {
                let message = format!("`[…]` takes a text or a whole number, not {}", kind(other));
                return Err(self.error(span, message));
            }
        };
        self.part(of, &key, span)
    }

    /// One segment further.
    fn part(&self, of: Val<'a>, segment: &Segment, span: Span) -> Evaluated<Val<'a>> {
        let segments = std::slice::from_ref(segment);
        let value = match of {
            Val::Json(value) => value,
            // What is missing stays missing, for the same reason.
            missing => return Ok(missing),
        };
        self.cost_of_step(&value, segment).map_err(|message| self.error(span, message))?;
        let found = match &value {
            Cow::Borrowed(value) => follow(value, segments),
            Cow::Owned(value) => match follow(value, segments) {
                Ok(part) => {
                    self.budget.made(&part).map_err(|message| self.error(span, message))?;
                    Ok(Cow::Owned(part.into_owned()))
                }
                Err(at) => Err(at),
            },
        };
        Ok(match found {
            Ok(part) => Val::Json(part),
            Err(at) => {
                // The sentence looks at what there is instead.
                self.burn(UNDEFINED)?;
                Val::Undefined(Why::Told(undefined::explain("", &value, segments, at)))
            }
        })
    }

    /// A character is found by counting those before it.
    fn cost_of_step(&self, holder: &Value, segment: &Segment) -> Result<(), String> {
        match (holder, segment) {
            (Value::String(text), Segment::Index(_)) => self.budget.steps(text.len() as u64 / 16),
            _ => Ok(()),
        }
    }

    fn not(&self, of: &'a Expr) -> Evaluated<Val<'a>> {
        let truth = is_true(&*self.value(of)?);
        Ok(Val::Json(Cow::Owned(Value::Bool(!truth))))
    }

    fn neg(&self, of: &'a Expr, span: Span) -> Evaluated<Val<'a>> {
        let value = self.value(of)?;
        self.calculated(Binary::Sub, &Value::Number(Number::from(0)), &value, span)
    }

    /// `and` and `or` give the value that decided.
    fn either(&self, left: &'a Expr, right: &'a Expr, decides: bool) -> Evaluated<Val<'a>> {
        let left = self.value(left)?;
        let value = if is_true(&left) == decides { left } else { self.value(right)? };
        Ok(Val::Json(value))
    }

    fn binary(&self, op: Binary, left: &'a Expr, right: &'a Expr, span: Span) -> Evaluated<Val<'a>> {
        let left = self.value(left)?;
        let right = self.value(right)?;
        self.calculated(op, &left, &right, span)
    }

    fn calculated(&self, op: Binary, left: &Value, right: &Value, span: Span) -> Evaluated<Val<'a>> {
        match binary(op, left, right, self.budget) {
            Ok(value) => json(value),
            Err(message) => Err(self.error(span, message)),
        }
    }

    fn compare(&self, first: &'a Expr, rest: &'a [(Compare, Expr)], span: Span) -> Evaluated<Val<'a>> {
        let mut left = self.value(first)?;
        let mut holds = true;
        for (op, right) in rest {
            let right = self.value(right)?;
            holds = compare(*op, &left, &right, self.budget).map_err(|message| self.error(span, message))?;
            if !holds {
                break;
            }
            left = right;
        }
        Ok(Val::Json(Cow::Owned(Value::Bool(holds))))
    }

    fn choose(&self, parts: &'a [Expr; 3]) -> Evaluated<Val<'a>> {
        let [condition, then, otherwise] = parts;
        let holds = is_true(&*self.value(condition)?);
        self.eval(if holds { then } else { otherwise })
    }

    fn default(&self, of: &'a Expr, args: &'a Args) -> Evaluated<Val<'a>> {
        let given = match self.eval(of)? {
            Val::Json(value) if !value.is_null() => Some(value),
            _ => None,
        };
        // `default(x, true)` stands in for whatever is not true, as in Jinja.
        let also_false = match default_boolean(args) {
            Some(expr) => is_true(&*self.value(expr)?),
            None => false,
        };
        match given {
            Some(value) if !also_false || is_true(&value) => Ok(Val::Json(value)),
            _ => match args.positional.first() {
                Some(instead) => self.eval(instead),
                None => Ok(Val::Json(Cow::Owned(Value::String(String::new())))),
            },
        }
    }

    fn defined(&self, of: &'a Expr) -> Evaluated<Val<'a>> {
        let defined = matches!(self.eval(of)?, Val::Json(_));
        Ok(Val::Json(Cow::Owned(Value::Bool(defined))))
    }

    fn filter(
        &self,
        filter: &'static Filter,
        input: &'a Expr,
        args: &'a Args,
        span: Span,
    ) -> Evaluated<Val<'a>> {
        let input = match self.eval(input)? {
            Val::Json(value) => value,
            Val::Undefined(why) => return Err(self.nothing(why, Some(span))),
        };
        let given = self.given(args)?;
        self.filtered(filter, input, &given, span)
    }

    fn filtered(
        &self,
        filter: &'static Filter,
        input: Cow<'a, Value>,
        given: &Given<'a>,
        span: Span,
    ) -> Evaluated<Val<'a>> {
        match filter.apply(self, input, given) {
            Ok(Some(value)) => json(value),
            Ok(None) => Ok(Val::Undefined(Why::Told(format!("`{}`: the list is empty", filter.name)))),
            Err(message) => Err(self.error(span, format!("`{}`: {message}", filter.name))),
        }
    }

    fn test(&self, test: &'static Test, input: &'a Expr, args: &'a Args, span: Span) -> Evaluated<Val<'a>> {
        let input = self.value(input)?;
        let given = self.given(args)?;
        match test.apply(self, &input, &given) {
            Ok(holds) => json(Value::Bool(holds)),
            Err(message) => Err(self.error(span, format!("`{}`: {message}", test.name))),
        }
    }

    fn call(&self, function: &'static Function, args: &'a Args, span: Span) -> Evaluated<Val<'a>> {
        let given = self.given(args)?;
        let made = (function.run)(self, &given);
        match made.and_then(|value| self.budget.made(&value).map(|()| value)) {
            Ok(value) => json(value),
            Err(message) => Err(self.error(span, format!("`{}`: {message}", function.name))),
        }
    }

    fn list(&self, items: &'a [Expr]) -> Evaluated<Val<'a>> {
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            list.push(self.owned(item)?);
        }
        self.put_together(Value::Array(list))
    }

    /// Its parts are paid for; how deep it has become is looked at.
    fn put_together(&self, value: Value) -> Evaluated<Val<'a>> {
        match self.budget.read(&value, 1) {
            Ok(()) => json(value),
            Err(message) => Err(self.budget.error(message)),
        }
    }

    fn map(&self, entries: &'a [(Expr, Expr)], span: Span) -> Evaluated<Val<'a>> {
        let mut map = Map::new();
        for (key, value) in entries {
            let Value::String(key) = self.owned(key)? else {
                return Err(self.error(span, "the keys of an object are texts"));
            };
            map.insert(key, self.owned(value)?);
        }
        self.put_together(Value::Object(map))
    }

    fn given(&self, args: &'a Args) -> Evaluated<Given<'a>> {
        let mut given = Given { positional: Vec::with_capacity(args.positional.len()), named: Vec::new() };
        for arg in &args.positional {
            given.positional.push(self.value(arg)?);
        }
        for (name, value) in &args.named {
            given.named.push((name.as_str(), self.value(value)?));
        }
        Ok(given)
    }

    fn path(&self, path: &'a Path) -> Evaluated<Val<'a>> {
        self.burn(path.segments.len() as u64 / 4)?;
        match &path.root {
            Root::Local(name) => self.local(name, path),
            Root::Scope(index) => match &self.roots[*index].1 {
                Found::Value(value) => {
                    self.cost_of_path(value, path)?;
                    Ok(follow(value, &path.segments).map_or(Val::Undefined(Why::Path(path)), Val::Json))
                }
                Found::Nothing(_) | Found::Unknown => Ok(Val::Undefined(Why::Path(path))),
            },
        }
    }

    fn local(&self, name: &str, path: &'a Path) -> Evaluated<Val<'a>> {
        let locals = self.locals.borrow();
        let found = locals.iter().rev().enumerate().find(|(_, (local, _))| local == name);
        let behind = found.map_or(locals.len(), |(behind, _)| behind);
        self.burn(behind as u64 / 8)?;
        let Some((_, (_, value))) = found else { return Ok(Val::Undefined(Why::Path(path))) };
        self.cost_of_path(value, path)?;
        match follow(value, &path.segments) {
            Ok(value) => {
                self.budget.made(&value).map_err(|message| self.error(path.span, message))?;
                Ok(Val::Json(Cow::Owned(value.into_owned())))
            }
            Err(_) => Ok(Val::Undefined(Why::Path(path))),
        }
    }

    fn cost_of_path(&self, value: &Value, path: &'a Path) -> Evaluated<()> {
        let Some((last @ Segment::Index(_), before)) = path.segments.split_last() else { return Ok(()) };
        match walk(value, before) {
            Ok(holder) => self.cost_of_step(holder, last).map_err(|message| self.error(path.span, message)),
            Err(_) => Ok(()),
        }
    }

    fn slice(&self, slice: &'a Slice, span: Span) -> Evaluated<Val<'a>> {
        let of = self.value(&slice.of)?;
        let start = self.bound(slice.start.as_ref(), span)?;
        let stop = self.bound(slice.stop.as_ref(), span)?;
        let step = self.bound(slice.step.as_ref(), span)?;
        match self.sliced(&of, start, stop, step) {
            Ok(value) => json(value),
            Err(message) => Err(self.error(span, message)),
        }
    }

    fn bound(&self, expr: Option<&'a Expr>, span: Span) -> Evaluated<Option<i64>> {
        let Some(expr) = expr else { return Ok(None) };
        match &*self.value(expr)? {
            Value::Null => Ok(None),
            Value::Number(n) if n.is_i64() => Ok(n.as_i64()),
            _ => Err(self.error(span, "a slice is given by whole numbers")),
        }
    }

    fn sliced(
        &self,
        of: &Value,
        start: Option<i64>,
        stop: Option<i64>,
        step: Option<i64>,
    ) -> Result<Value, String> {
        let step = match step.unwrap_or(1) {
            step if step >= 1 => usize::try_from(step).unwrap_or(usize::MAX),
            _ => return Err("the step of a slice is 1 or more; `| reverse` turns a list round".to_owned()),
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
        match of {
            Value::Array(items) => {
                let mut kept = Vec::new();
                for item in items[within(items.len())].iter().step_by(step) {
                    self.budget.made(item)?;
                    kept.push(item.clone());
                }
                Ok(Value::Array(kept))
            }
            Value::String(text) => {
                self.budget.made_text(text)?;
                let within = within(text.chars().count());
                let chars = text.chars().skip(within.start).take(within.len());
                Ok(Value::String(chars.step_by(step).collect()))
            }
            other => Err(format!("{} cannot be sliced", kind(other))),
        }
    }
}

/// Steps for looking at what is there instead.
const UNDEFINED: u64 = 100;

fn json<'a>(value: Value) -> Evaluated<Val<'a>> {
    Ok(Val::Json(Cow::Owned(value)))
}

fn default_boolean(args: &Args) -> Option<&Expr> {
    let named = args.named.iter().find(|(name, _)| name == "boolean").map(|(_, expr)| expr);
    args.positional.get(1).or(named)
}

impl Filter {
    /// What it makes of a value, paid for.
    pub fn apply<'a>(
        &self,
        run: &Run<'a>,
        input: Cow<'a, Value>,
        given: &Given<'a>,
    ) -> Result<Option<Value>, String> {
        if self.reads > 0 {
            run.budget.read(&input, self.reads)?;
        }
        let named = given.named.iter().map(|(_, arg)| arg);
        for arg in given.positional.iter().chain(named) {
            if let Value::String(text) = &**arg {
                run.budget.read_text(text)?;
            }
        }
        let made = (self.run)(run, input, given)?;
        if let (Some(made), false) = (&made, self.pays) {
            run.budget.made(made)?;
        }
        Ok(made)
    }
}

impl Test {
    /// Whether it holds of a value, paid for.
    pub fn apply(&self, run: &Run<'_>, input: &Value, given: &Given<'_>) -> Result<bool, String> {
        if let Some(other) = given.positional.first().or(given.named.first().map(|(_, value)| value)) {
            run.budget.steps(1)?;
            match self.name {
                "in" => cost_of_search(other, input, run.budget)?,
                _ => super::arithmetic::cost_of_comparison(input, other, run.budget)?,
            }
        }
        (self.run)(input, given)
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
