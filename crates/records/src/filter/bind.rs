//! A filter against an object: names that exist, operands that suit the type, operand values as the type stores them.

use serde_json::Value;

use super::operand::shown;
use super::parse::holds_template;
use super::relative::When;
use super::{Condition, Filter, FilterProblem, Operand, Subject, Test, join};
use crate::problems::Problems;
use crate::schema::{Kind, Object, Target};
use crate::value::{comparable, normalise};

impl Filter {
    /// What is wrong with the filter for records of `object`: unknown fields, operands that do not suit a field's type,
    /// values of another type. Values that are templates are left alone.
    pub fn check_fields(&self, object: &Object) -> Vec<FilterProblem> {
        let mut problems = Problems::default();
        self.visit_conditions(&mut |path, condition| {
            bind_condition(object, condition, path, &mut problems);
        });
        problems.into_list()
    }

    /// The filter with operand values in the spelling that is stored, such as an e-mail address in lower case.
    pub(crate) fn bind(&self, object: &Object) -> Result<Filter, Vec<FilterProblem>> {
        self.check_operands().map_err(|problem| vec![problem])?;
        let mut problems = Problems::default();
        let bound = self.bind_at(object, "", &mut problems);
        if problems.is_empty() { Ok(bound) } else { Err(problems.into_list()) }
    }

    fn bind_at(&self, object: &Object, path: &str, problems: &mut Problems<FilterProblem>) -> Filter {
        let mut group = |key: &str, filters: &[Filter]| {
            (filters.iter().enumerate())
                .map(|(i, filter)| filter.bind_at(object, &join(path, &format!("{key}[{i}]")), problems))
                .collect()
        };
        match self {
            Filter::All(filters) => Filter::All(group("all", filters)),
            Filter::Any(filters) => Filter::Any(group("any", filters)),
            Filter::Not(filter) => {
                Filter::Not(Box::new(filter.bind_at(object, &join(path, "not"), problems)))
            }
            Filter::Condition(condition) => {
                Filter::Condition(bind_condition(object, condition, path, problems))
            }
        }
    }
}

fn bind_condition(
    object: &Object,
    condition: &Condition,
    path: &str,
    problems: &mut Problems<FilterProblem>,
) -> Condition {
    let Subject::Field(name) = &condition.subject else { return condition.clone() };
    let target = match object.target(name) {
        Ok(target) => target,
        Err(unknown) => {
            problems.push(FilterProblem::new(&join(path, "field"), unknown.message, unknown.hint));
            return condition.clone();
        }
    };
    let mut tests = Vec::with_capacity(condition.tests.len());
    for test in &condition.tests {
        match bind_test(name, &target, test) {
            Ok(bound) => tests.push(bound),
            Err((message, hint)) => {
                problems.push(FilterProblem::new(&join(path, test.operand.name()), message, hint));
            }
        }
    }
    Condition { subject: condition.subject.clone(), tests }
}

fn bind_test(name: &str, target: &Target<'_>, test: &Test) -> Result<Test, super::operand::Misfit> {
    let Test { operand, value } = test;
    let kind = target.kind();
    if !suits(*operand, kind) {
        return Err(unsuited(name, target, *operand));
    }
    if holds_template(value) || *operand == Operand::IsEmpty || kind == Kind::Json {
        return Ok(test.clone());
    }
    // An instant against a day is a question about that day, whichever operand asks it.
    let operand = match (kind, operand) {
        (Kind::DateTime | Kind::Date, Operand::LessThan) => Operand::Before,
        (Kind::DateTime | Kind::Date, Operand::LessOrEqual) => Operand::OnOrBefore,
        (Kind::DateTime | Kind::Date, Operand::GreaterThan) => Operand::After,
        (Kind::DateTime | Kind::Date, Operand::GreaterOrEqual) => Operand::OnOrAfter,
        (Kind::DateTime, Operand::Is) if is_day(value) => Operand::On,
        (_, operand) => *operand,
    };
    let one = |value: &Value| operand_value(name, target, operand, value);
    let value = match value {
        Value::Array(items) if takes_list(operand) => {
            Value::Array(items.iter().map(one).collect::<Result<_, _>>()?)
        }
        value => one(value)?,
    };
    Ok(Test { operand, value })
}

fn is_day(value: &Value) -> bool {
    value.as_str().is_some_and(|text| matches!(When::parse(text), Ok(When::Day(_))))
}

fn takes_list(operand: Operand) -> bool {
    matches!(operand, Operand::In | Operand::NotIn | Operand::ContainsAny | Operand::ContainsAll)
}

/// Whether the operand can be asked of values of the kind.
fn suits(operand: Operand, kind: Kind) -> bool {
    use Operand::{
        After, Before, Contains, ContainsAll, ContainsAny, EndsWith, GreaterOrEqual, GreaterThan, In, Is,
        IsEmpty, IsNot, LessOrEqual, LessThan, NotContains, NotIn, On, OnOrAfter, OnOrBefore, StartsWith,
        Within,
    };
    match operand {
        IsEmpty => true,
        _ if kind == Kind::Json => true,
        _ if matches!(kind, Kind::Composite | Kind::LinkList) => false,
        Is | IsNot => true,
        In | NotIn => !kind.is_list(),
        Contains | NotContains => kind.is_list() || is_text(kind),
        ContainsAny | ContainsAll => kind.is_list(),
        StartsWith | EndsWith => is_text(kind),
        LessThan | LessOrEqual | GreaterThan | GreaterOrEqual => {
            kind.is_ordered() && !matches!(kind, Kind::Boolean | Kind::Uuid)
        }
        Before | After | On | OnOrBefore | OnOrAfter | Within => matches!(kind, Kind::Date | Kind::DateTime),
    }
}

fn is_text(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Text | Kind::Select | Kind::CurrencyCode | Kind::Email | Kind::Phone | Kind::Url | Kind::Domain
    )
}

fn unsuited(name: &str, target: &Target<'_>, operand: Operand) -> super::operand::Misfit {
    if let Target::Field { field, part: None } = target
        && !field.kind.parts().is_empty()
    {
        let parts = field.kind.parts().iter().map(|(part, _)| format!("{name}.{part}"));
        let message = format!("`{name}` has parts, so `{}` cannot be asked of the whole", operand.name());
        return (message, Some(format!("ask one of {}", parts.collect::<Vec<_>>().join(", "))));
    }
    let suiting: Vec<_> = Operand::ALL
        .iter()
        .filter(|operand| suits(**operand, target.kind()))
        .map(|operand| operand.name())
        .collect();
    let message = format!("`{name}` is {}: `{}` cannot be asked of it", target.described(), operand.name());
    (message, Some(format!("ask with {}", suiting.join(", "))))
}

/// Whether a text can be compared with values of the kind, or with the items of its lists.
fn takes_text(kind: Kind, operand: Operand) -> bool {
    let is_whole = matches!(operand, Operand::Is | Operand::IsNot);
    let is_number = matches!(kind, Kind::Number | Kind::Integer | Kind::Rating);
    !(is_number || is_whole && kind.is_list())
}

/// One operand value as it is compared with stored ones.
fn operand_value(
    name: &str,
    target: &Target<'_>,
    operand: Operand,
    value: &Value,
) -> Result<Value, super::operand::Misfit> {
    let kind = target.kind();
    let wrong = || {
        let message =
            format!("`{name}` is {}, so it cannot be compared with {}", target.described(), shown(value));
        Err((message, None))
    };
    let normalised = |value: &Value| {
        normalise(target, value).map_err(|misfit| (format!("`{name}`: {}", misfit.message), misfit.hint))
    };
    match (kind, value) {
        // Checked by the operand's own shape already.
        (Kind::Date | Kind::DateTime, _)
            if !matches!(operand, Operand::Is | Operand::IsNot | Operand::In | Operand::NotIn) =>
        {
            Ok(value.clone())
        }
        (Kind::DateTime, Value::String(_)) if is_day(value) => {
            let message = format!("`{name}` is a date-time, and a whole day is not one");
            Err((message, Some("ask with `on`, or with {\"not\": {… \"on\": …}}".into())))
        }
        (Kind::Number | Kind::Integer | Kind::Rating, Value::Number(_)) => Ok(value.clone()),
        (Kind::Select, Value::String(_))
            if matches!(operand, Operand::Is | Operand::IsNot | Operand::In | Operand::NotIn) =>
        {
            normalised(value)
        }
        (Kind::MultiSelect, Value::String(_)) if !matches!(operand, Operand::Is | Operand::IsNot) => {
            let list = normalised(&Value::Array(vec![value.clone()]))?;
            Ok(list.get(0).cloned().unwrap_or(Value::Null))
        }
        (Kind::Boolean | Kind::Date | Kind::DateTime | Kind::Uuid | Kind::CurrencyCode, value)
            if !value.is_null() =>
        {
            match normalised(value)? {
                Value::Null => wrong(),
                value => Ok(value),
            }
        }
        (kind, Value::Array(_)) if kind.is_list() && matches!(operand, Operand::Is | Operand::IsNot) => {
            normalised(value)
        }
        (kind, Value::String(text)) if takes_text(kind, operand) => {
            let partial = matches!(
                operand,
                Operand::Contains | Operand::NotContains | Operand::StartsWith | Operand::EndsWith
            );
            Ok(if partial && !kind.is_list() { value.clone() } else { comparable(kind, text).into() })
        }
        _ => wrong(),
    }
}
