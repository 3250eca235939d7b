//! Filters on lists and objects.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::super::arithmetic::binary;
use super::super::ast::{Binary, Segment};
use super::super::budget::Budget;
use super::super::eval::Run;
use super::super::follow::walk;
use super::super::json::{equal, is_true, kind, order, text};
use super::super::undefined;
use super::{Arguments, Given, filter, test};

type Made = Result<Value, String>;
/// One item of a list, which may have none.
type Found = Result<Option<Value>, String>;

/// `map("upper")`, with that filter's own arguments behind it, or `map(attribute="name", default="")`.
pub(super) const MAP: Arguments =
    Arguments { names: &["filter"], named: &["attribute", "default"], required: 0, more: true };
/// `select`, `select("even")`, `select("in", list)`.
pub(super) const SELECT: Arguments = Arguments { names: &["test"], named: &[], required: 0, more: true };
/// `selectattr("done")`, `selectattr("status", "eq", "open")`.
pub(super) const SELECTATTR: Arguments =
    Arguments { names: &["attribute", "test"], named: &[], required: 1, more: true };

fn items_of(input: &Value) -> Result<&[Value], String> {
    match input {
        Value::Array(items) => Ok(items),
        other => Err(format!("needs a list, not {}", kind(other))),
    }
}

fn fields_of(input: &Value) -> Result<&Map<String, Value>, String> {
    match input {
        Value::Object(fields) => Ok(fields),
        other => Err(format!("needs an object, not {}", kind(other))),
    }
}

/// The longest attribute, in characters and in parts.
const ATTRIBUTE: usize = 500;
const PARTS: usize = 20;

/// `address.city` as segments.
fn attribute_path(attribute: &str) -> Result<Vec<Segment>, String> {
    let part = |part: &str| part.parse().map_or_else(|_| Segment::Key(part.to_owned()), Segment::Index);
    let path: Vec<Segment> = attribute.split('.').take(PARTS + 1).map(part).collect();
    match attribute.len() > ATTRIBUTE || path.len() > PARTS {
        true => Err(format!("an attribute has at most {ATTRIBUTE} characters and {PARTS} parts")),
        false => Ok(path),
    }
}

/// What `attribute` is in item `index`; an error that says what the item has.
fn attribute_of<'v>(item: &'v Value, index: usize, path: &[Segment]) -> Result<&'v Value, String> {
    walk(item, path).map_err(|at| undefined::explain(&format!("item[{index}]"), item, path, at))
}

/// Every item, or what its attribute is.
fn keys_by<'v>(input: &'v Value, given: &Given<'_>, place: usize) -> Result<Vec<&'v Value>, String> {
    let items = items_of(input)?;
    match given.text(place, "attribute")? {
        None => Ok(items.iter().collect()),
        Some(attribute) => {
            let path = attribute_path(&attribute)?;
            items.iter().enumerate().map(|(i, item)| attribute_of(item, i, &path)).collect()
        }
    }
}

pub(super) fn length(input: &Value, _: &Given<'_>) -> Made {
    Ok(match input {
        Value::Array(items) => items.len().into(),
        Value::Object(fields) => fields.len().into(),
        Value::String(text) => text.chars().count().into(),
        other => return Err(format!("{} has no length", kind(other))),
    })
}

pub(super) fn first(input: &Value, _: &Given<'_>) -> Found {
    items_of(input).map(|items| items.first().cloned())
}

pub(super) fn last(input: &Value, _: &Given<'_>) -> Found {
    items_of(input).map(|items| items.last().cloned())
}

pub(super) fn reverse(input: &Value, _: &Given<'_>) -> Made {
    match input {
        Value::String(text) => Ok(text.chars().rev().collect::<String>().into()),
        input => Ok(items_of(input)?.iter().rev().cloned().collect()),
    }
}

/// The characters of a text, the keys of an object; a list stays what it is.
pub(super) fn list(budget: &Budget, input: &Value, given: &Given<'_>) -> Made {
    match input {
        Value::Array(_) => Ok(input.clone()),
        Value::Object(_) => keys(input, given),
        Value::String(text) => pieces(budget, text.len(), text.chars().count())
            .map(|()| text.chars().map(|c| Value::from(c.to_string())).collect()),
        other => Err(format!("{} is no list", kind(other))),
    }
}

/// A text is about to be taken apart: every piece is a value, which takes more than its text.
pub(super) fn pieces(budget: &Budget, bytes: usize, pieces: usize) -> Result<(), String> {
    budget.steps(pieces as u64 / 4)?;
    budget.fits(bytes.saturating_add(pieces.saturating_mul(PIECE)))
}

/// Bytes of a value beside its text.
const PIECE: usize = 32;

pub(super) fn keys(input: &Value, _: &Given<'_>) -> Made {
    Ok(fields_of(input)?.keys().map(|key| Value::from(key.as_str())).collect())
}

pub(super) fn values(input: &Value, _: &Given<'_>) -> Made {
    Ok(fields_of(input)?.values().cloned().collect())
}

/// `[[key, value], …]`.
pub(super) fn items(input: &Value, _: &Given<'_>) -> Made {
    let fields = fields_of(input)?.iter();
    Ok(fields.map(|(key, value)| Value::Array(vec![key.as_str().into(), value.clone()])).collect())
}

pub(super) fn compact(input: &Value, _: &Given<'_>) -> Made {
    Ok(items_of(input)?.iter().filter(|item| !item.is_null()).cloned().collect())
}

pub(super) fn flatten(input: &Value, _: &Given<'_>) -> Made {
    let mut flat = Vec::new();
    for item in items_of(input)? {
        match item {
            Value::Array(inner) => flat.extend(inner.iter().cloned()),
            item => flat.push(item.clone()),
        }
    }
    Ok(Value::Array(flat))
}

pub(super) fn batch(input: &Value, given: &Given<'_>) -> Made {
    let size = given.integer(0, "size")?.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    let size = size.ok_or("`size` is 1 or more")?;
    Ok(items_of(input)?.chunks(size).map(|chunk| Value::Array(chunk.to_vec())).collect())
}

pub(super) fn join(budget: &Budget, input: &Value, given: &Given<'_>) -> Made {
    let separator = given.text(0, "separator")?.unwrap_or_default();
    let mut out = String::new();
    for (i, item) in keys_by(input, given, 1)?.into_iter().enumerate() {
        if i > 0 {
            out.push_str(&separator);
        }
        out.push_str(&text(item).map_err(|error| format!("item[{i}]: {error}"))?);
        budget.fits(out.len())?;
    }
    Ok(out.into())
}

pub(super) fn sort(input: &Value, given: &Given<'_>) -> Made {
    let keys = keys_by(input, given, 0)?;
    let mut sorted: Vec<(&Value, &Value)> = keys.into_iter().zip(items_of(input)?).collect();
    let mut wrong = None;
    sorted.sort_by(|(a, _), (b, _)| {
        order(a, b).unwrap_or_else(|error| {
            wrong.get_or_insert(error);
            Ordering::Equal
        })
    });
    if let Some(error) = wrong {
        return Err(error);
    }
    if given.flag(1, "reverse")? {
        sorted.reverse();
    }
    Ok(sorted.into_iter().map(|(_, item)| item.clone()).collect())
}

/// The first of every value, in the order of the list.
pub(super) fn unique(input: &Value, given: &Given<'_>) -> Made {
    let keys = keys_by(input, given, 0)?;
    let mut seen: std::collections::HashMap<String, Vec<&Value>> = std::collections::HashMap::new();
    let mut kept = Vec::new();
    for (key, item) in keys.into_iter().zip(items_of(input)?) {
        // Numbers may be equal in different spellings, so all of them share a bucket by value.
        let bucket = match key {
            Value::Number(n) => format!("{:?}", n.as_f64()),
            key => key.to_string(),
        };
        let bucket = seen.entry(bucket).or_default();
        if !bucket.iter().any(|other| equal(other, key)) {
            bucket.push(key);
            kept.push(item.clone());
        }
    }
    Ok(Value::Array(kept))
}

/// `[{key, items}, …]` in the order in which the keys first come.
pub(super) fn groupby(input: &Value, given: &Given<'_>) -> Made {
    let keys = keys_by(input, given, 0)?;
    let mut groups: Vec<(&Value, Vec<Value>)> = Vec::new();
    let mut known: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for (key, item) in keys.into_iter().zip(items_of(input)?) {
        let at = *known.entry(key.to_string()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(item.clone());
    }
    let group = |(key, items): (&Value, Vec<Value>)| {
        let mut group = Map::new();
        group.insert("key".to_owned(), key.clone());
        group.insert("items".to_owned(), Value::Array(items));
        Value::Object(group)
    };
    Ok(groups.into_iter().map(group).collect())
}

pub(super) fn sum(budget: &Budget, input: &Value, given: &Given<'_>) -> Made {
    let mut total = Value::from(0);
    for (i, item) in keys_by(input, given, 0)?.into_iter().enumerate() {
        if !item.is_number() {
            return Err(format!("item[{i}] is {}, not a number", kind(item)));
        }
        total = binary(Binary::Add, &total, item, budget)?;
    }
    Ok(total)
}

pub(super) fn min(input: &Value, given: &Given<'_>) -> Found {
    extreme(input, given, Ordering::Less)
}

pub(super) fn max(input: &Value, given: &Given<'_>) -> Found {
    extreme(input, given, Ordering::Greater)
}

/// The item that is least or greatest, the first of several.
fn extreme(input: &Value, given: &Given<'_>, wanted: Ordering) -> Found {
    let mut best: Option<(&Value, &Value)> = None;
    for (key, item) in keys_by(input, given, 0)?.into_iter().zip(items_of(input)?) {
        let better = match best {
            Some((best, _)) => order(key, best)? == wanted,
            None => true,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map(|(_, item)| item.clone()))
}

pub(super) fn map<'a>(run: &Run<'a>, input: &Value, given: &Given<'a>) -> Made {
    let items = items_of(input)?;
    run.budget.steps(items.len() as u64)?;
    if let Some(attribute) = given.named("attribute") {
        let path = attribute_path(&text(attribute)?)?;
        let pick = |(i, item): (usize, &Value)| {
            let picked = match (walk(item, &path), given.named("default")) {
                (Ok(Value::Null) | Err(_), Some(default)) => default,
                (Ok(value), _) => value,
                (Err(_), None) => attribute_of(item, i, &path)?,
            };
            run.budget.made(picked)?;
            Ok(picked.clone())
        };
        return items.iter().enumerate().map(pick).collect();
    }
    let name = given.text(0, "filter")?.ok_or("needs the name of a filter, or `attribute=`")?;
    let filter = filter(&name).ok_or_else(|| format!("there is no filter `{}`", undefined::cut(&name)))?;
    if filter.name == "map" {
        return Err("`map` cannot map with itself; go through the inner lists with `flatten`".to_owned());
    }
    let inner = Given { positional: given.positional.get(1..).unwrap_or(&[]).to_vec(), named: Vec::new() };
    for arg in &inner.positional {
        run.budget.made(arg)?;
    }
    let one = |(i, item): (usize, &Value)| {
        run.budget.made(item)?;
        let made = filter
            .apply(run, Cow::Owned(item.clone()), &inner)
            .and_then(|made| made.ok_or_else(|| "the list is empty".to_owned()));
        made.map_err(|error| format!("item[{i}]: `{}`: {error}", filter.name))
    };
    items.iter().enumerate().map(one).collect()
}

/// The test named at `place` with what it compares with; none, when being true is asked.
fn test_at<'g>(
    run: &Run<'_>,
    given: &Given<'g>,
    place: usize,
) -> Result<Option<(&'static super::Test, Given<'g>)>, String> {
    let Some(name) = given.text(place, "test")? else { return Ok(None) };
    let test = test(&name).ok_or_else(|| format!("there is no test `{}`", undefined::cut(&name)))?;
    let inner =
        Given { positional: given.positional.get(place + 1..).unwrap_or(&[]).to_vec(), named: Vec::new() };
    for arg in &inner.positional {
        run.budget.made(arg)?;
    }
    if inner.positional.len() < test.arguments.required {
        return Err(format!("the test `{}` needs something to compare with", test.name));
    }
    Ok(Some((test, inner)))
}

/// Whether an item passes a test.
fn passes(
    run: &Run<'_>,
    value: &Value,
    test: Option<&(&'static super::Test, Given<'_>)>,
) -> Result<bool, String> {
    match test {
        None => Ok(is_true(value)),
        Some((test, given)) => {
            test.apply(run, value, given).map_err(|error| format!("{}: {error}", test.name))
        }
    }
}

pub(super) fn select<'a>(run: &Run<'a>, input: &Value, given: &Given<'a>, wanted: bool) -> Made {
    let items = items_of(input)?;
    run.budget.steps(items.len() as u64)?;
    let test = test_at(run, given, 0)?;
    let mut kept = Vec::new();
    for (i, item) in items.iter().enumerate() {
        if passes(run, item, test.as_ref()).map_err(|error| format!("item[{i}]: {error}"))? == wanted {
            run.budget.made(item)?;
            kept.push(item.clone());
        }
    }
    Ok(Value::Array(kept))
}

pub(super) fn selectattr<'a>(run: &Run<'a>, input: &Value, given: &Given<'a>, wanted: bool) -> Made {
    let items = items_of(input)?;
    run.budget.steps(items.len() as u64)?;
    let attribute = given.text(0, "attribute")?.unwrap_or_default();
    let path = attribute_path(&attribute)?;
    let presence = match given.text(1, "test")?.as_deref() {
        Some("defined") => Some(true),
        Some("undefined") => Some(false),
        _ => None,
    };
    let test = match presence {
        Some(_) => None,
        None => test_at(run, given, 1)?,
    };
    let mut kept = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let holds = match presence {
            Some(there) => walk(item, &path).is_ok() == there,
            None => passes(run, attribute_of(item, i, &path)?, test.as_ref())
                .map_err(|error| format!("item[{i}].{attribute}: {error}"))?,
        };
        if holds == wanted {
            run.budget.made(item)?;
            kept.push(item.clone());
        }
    }
    Ok(Value::Array(kept))
}

/// `range(3)` → `[0, 1, 2]`, `range(2, 4)` → `[2, 3]`.
pub(super) fn range(given: &Given<'_>) -> Made {
    let from = given.integer(0, "from")?.unwrap_or(0);
    let (from, to) = match given.integer(1, "to")? {
        Some(to) => (from, to),
        None => (0, from),
    };
    if to.saturating_sub(from) > 10_000 {
        return Err("a range has at most 10,000 numbers".to_owned());
    }
    Ok((from..to).map(Value::from).collect())
}
