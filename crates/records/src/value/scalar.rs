//! One value against its kind.

use serde_json::{Number, Value};
use uuid::Uuid;

use super::depth::{MAX_DEPTH, is_deeper};
use super::{Misfit, contact, id_text, time};
use crate::filter::{quoted, shown};
use crate::nearest::nearest;
use crate::problems::{clipped, listing};
use crate::schema::{Field, Kind, Target};

/// Items in one list.
const MAX_ITEMS: usize = 1_000;

/// The stored form of a value for `target`. A blank text where no text can be (a form's empty input) is null.
pub(crate) fn normalise(target: &Target<'_>, input: &Value) -> Result<Value, Misfit> {
    let kind = target.kind();
    let wrong = || Err(Misfit::new(format!("{} is not {}", shown(input), target.described())));
    match (kind, input) {
        (_, Value::Null) => Ok(Value::Null),
        (Kind::Json, any) if is_deeper(any, MAX_DEPTH) => {
            let kind = if any.is_array() { "list" } else { "object" };
            Err(Misfit::new(format!("this {kind} is nested deeper than {MAX_DEPTH} levels"))
                .hint("keep the inner part as a text, or flatten it"))
        }
        (Kind::Json, any) => Ok(any.clone()),
        (Kind::Text, Value::String(_)) => Ok(input.clone()),
        (Kind::Text, Value::Number(_) | Value::Bool(_)) => {
            Err(Misfit::new(format!("{} is not a text", shown(input)))
                .hint(format!("write it in quotes, {:?}, or in a template as `| string`", input.to_string())))
        }
        (Kind::Number, Value::Number(_)) => Ok(input.clone()),
        (Kind::Integer | Kind::Rating, Value::Number(number)) => match integer(number) {
            Some(n) if kind == Kind::Rating && !(1..=5).contains(&n) => wrong(),
            Some(n) => Ok(n.into()),
            None => wrong(),
        },
        (Kind::Number | Kind::Integer | Kind::Rating, Value::String(text))
            if text.trim().parse::<f64>().is_ok() =>
        {
            let filter = if kind == Kind::Number { "float" } else { "int" };
            Err(Misfit::new(format!("{} is not a number", shown(input))).hint(format!(
                "write {} without quotes, or in a template as `| {filter}`",
                clipped(text.trim())
            )))
        }
        (Kind::Boolean, Value::Bool(_)) => Ok(input.clone()),
        (_, Value::String(text)) if text.trim().is_empty() && may_be_blank(kind) => Ok(Value::Null),
        (Kind::Date, Value::String(text)) => time::date(text).map(Value::from),
        (Kind::DateTime, Value::String(text)) => time::instant(text).map(Value::from),
        (Kind::Select, Value::String(text)) => option(target, text),
        (Kind::CurrencyCode, Value::String(text)) => {
            let code = text.trim();
            if code.len() == 3 && code.bytes().all(|b| b.is_ascii_alphabetic()) {
                Ok(code.to_ascii_uppercase().into())
            } else {
                wrong()
            }
        }
        (Kind::Email, Value::String(text)) => contact::email(text).map(Value::from),
        (Kind::Phone, Value::String(text)) => contact::phone(text).map(Value::from),
        (Kind::Url, Value::String(text)) => contact::url(text).map(Value::from),
        (Kind::Domain, Value::String(text)) => contact::domain(text).map(Value::from),
        (Kind::Uuid, Value::String(text)) => match Uuid::try_parse(text.trim()) {
            Ok(id) => Ok(id_text(id).into()),
            Err(_) => Err(Misfit::new(format!("{} is not an id", shown(input))).hint(hint_of_id(target))),
        },
        (kind, Value::Array(items)) if kind.is_list() => list(target, items),
        _ => wrong(),
    }
}

/// The number as a whole one, if it is one (`5.0` is).
fn integer(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9.0e15).then_some(float as i64)
    })
}

fn may_be_blank(kind: Kind) -> bool {
    !matches!(kind, Kind::Text | Kind::Json | Kind::Number | Kind::Integer | Kind::Rating | Kind::Boolean)
}

fn hint_of_id(target: &Target<'_>) -> String {
    match target {
        Target::Field { field: Field { name, .. }, .. } if name.ends_with("Id") => {
            "write the `id` of a record, such as {{ step.record.id }}".to_owned()
        }
        _ => format!("write {}", Kind::Uuid.described()),
    }
}

fn option(target: &Target<'_>, text: &str) -> Result<Value, Misfit> {
    let Target::Field { field, .. } = target else {
        return Ok(text.into());
    };
    let options = field.kind.options().unwrap_or_default();
    if let Some(option) = options.iter().find(|option| *option == text.trim()) {
        return Ok(option.as_str().into());
    }
    let misfit = Misfit::new(format!("{} is no option of `{}`", quoted(text), field.name));
    Err(match nearest(text, options.iter().map(String::as_str)) {
        Some(near) => misfit.hint(format!("did you mean \"{near}\"?")),
        None => misfit.hint(format!("options are {}", listing(options))),
    })
}

fn list(target: &Target<'_>, items: &[Value]) -> Result<Value, Misfit> {
    if items.len() > MAX_ITEMS {
        return Err(Misfit::new(format!("a list of {} is too long, at most {MAX_ITEMS}", items.len())));
    }
    let mut normalised: Vec<Value> = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let value = match (target.kind(), item) {
            (Kind::MultiSelect, Value::String(text)) => option(target, text),
            (Kind::EmailList, Value::String(text)) => contact::email(text).map(Value::from),
            (Kind::PhoneList, Value::String(text)) => contact::phone(text).map(Value::from),
            (Kind::TextList, Value::String(_)) => Ok(item.clone()),
            (Kind::LinkList, Value::Object(_)) => contact::link(item),
            _ => Err(Misfit::new(format!("{} cannot be in {}", shown(item), target.described()))),
        }
        .map_err(|misfit| Misfit { message: format!("item {}: {}", i + 1, misfit.message), ..misfit })?;
        // Each option and each address once; in a list of texts repetition may mean something.
        if target.kind() == Kind::TextList || !normalised.contains(&value) {
            normalised.push(value);
        }
    }
    Ok(normalised.into())
}
