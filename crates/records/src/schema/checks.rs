//! What a new field or a name must be: its type, its options, its spelling.

use std::collections::HashSet;

use super::Schema;
use super::change::NewField;
use super::field::FieldType;
use super::object::{Object, System};
use crate::error::Problem;
use crate::problems::{Problems, clipped};

const MAX_OPTIONS: usize = 200;
const MAX_LABEL: usize = 200;

pub(super) fn field_type(
    schema: &Schema,
    own: &Object,
    new: &NewField,
    path: &dyn Fn(&str) -> String,
    problems: &mut Problems,
) -> Option<FieldType> {
    const TYPES: [&str; 18] = [
        "text",
        "number",
        "boolean",
        "date",
        "date_time",
        "select",
        "multi_select",
        "currency",
        "emails",
        "phones",
        "links",
        "address",
        "full_name",
        "rating",
        "relation",
        "array",
        "raw_json",
        "uuid",
    ];
    let before = problems.len();
    let is_select = matches!(new.kind.as_str(), "select" | "multi_select");
    if is_select {
        check_options(&new.options, &path("options"), problems);
    } else if !new.options.is_empty() {
        problems
            .push(Problem::new(path("options"), format!("a {} field has no options", clipped(&new.kind))));
    }
    if new.object.is_some() && new.kind != "relation" {
        problems.push(Problem::new(path("object"), "only a relation names an object"));
    }
    if new.domain && new.kind != "links" {
        problems.push(Problem::new(path("domain"), "only links can be kept as domains"));
    }
    let options = new.options.clone();
    let kind = match new.kind.as_str() {
        "text" => FieldType::Text,
        "number" => FieldType::Number,
        "boolean" => FieldType::Boolean,
        "date" => FieldType::Date,
        "date_time" => FieldType::DateTime,
        "select" => FieldType::Select { options },
        "multi_select" => FieldType::MultiSelect { options },
        "currency" => FieldType::Currency,
        "emails" => FieldType::Emails,
        "phones" => FieldType::Phones,
        "links" => FieldType::Links { domain: new.domain },
        "address" => FieldType::Address,
        "full_name" => FieldType::FullName,
        "rating" => FieldType::Rating,
        "array" => FieldType::Array,
        "raw_json" => FieldType::RawJson,
        "uuid" => FieldType::Uuid,
        "relation" => match new.object.as_deref() {
            None => {
                let problem = Problem::new(path("object"), "a relation needs the name of an object");
                problems.push(problem.hint("for example \"company\""));
                return None;
            }
            Some(name) if name == own.name => FieldType::Relation { object: own.id },
            Some(name) => match schema.object(name) {
                Ok(object) => FieldType::Relation { object: object.id },
                Err(error) => {
                    problems.push(Problem::new(path("object"), error.to_string()));
                    return None;
                }
            },
        },
        other => {
            let problem = Problem::new(path("type"), format!("`{}` is no type of field", clipped(other)));
            problems.push(match crate::nearest(other, TYPES) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint(format!("types are {}", TYPES.join(", "))),
            });
            return None;
        }
    };
    (problems.len() == before).then_some(kind)
}

fn check_options(options: &[String], at: &str, problems: &mut Problems) {
    if options.is_empty() || options.len() > MAX_OPTIONS {
        let problem = Problem::new(at, format!("a select has 1 to {MAX_OPTIONS} options"));
        problems.push(problem.hint("for example [\"NEW\", \"DONE\"]"));
    }
    let mut seen = HashSet::new();
    for option in options {
        if option.trim() != option || option.is_empty() || option.len() > 100 {
            problems.push(Problem::new(at, format!("{} cannot be an option", crate::filter::quoted(option))));
        } else if !seen.insert(option) {
            problems.push(Problem::new(at, format!("{} is there twice", crate::filter::quoted(option))));
        }
    }
}

/// What people are shown for a name; nothing is said where there is none.
pub(super) fn check_label(label: Option<&str>, at: &str, problems: &mut Problems) {
    let Some(label) = label else { return };
    if label.trim().is_empty() || label.len() > MAX_LABEL || label.contains(char::is_control) {
        let message = format!("{} cannot be a label", crate::filter::quoted(label));
        problems.push(Problem::new(at, message).hint(format!("a label is a line of 1 to {MAX_LABEL} bytes")));
    }
}

pub(super) enum NameOf {
    Object,
    Field,
}

pub(super) fn check_name(name: &str, at: &str, of: NameOf, problems: &mut Problems) {
    let (allowed, example): (fn(char) -> bool, _) = match of {
        NameOf::Object => (|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_', "sales_order"),
        NameOf::Field => (|c| c.is_ascii_alphanumeric() || c == '_', "leadScore"),
    };
    let starts_well = name.chars().next().is_some_and(|c| c.is_ascii_lowercase());
    if !starts_well || !name.chars().all(allowed) || name.len() > 60 {
        let message = format!("{} cannot be a name", crate::filter::quoted(name));
        let hint =
            format!("a name is up to 60 letters and digits and begins with a small letter, like `{example}`");
        problems.push(Problem::new(at, message).hint(hint));
    } else if matches!(of, NameOf::Field) && System::ALL.iter().any(|system| system.name() == name) {
        problems.push(Problem::new(at, format!("every record has `{name}` already")));
    }
}
