//! JSON Schemas, compiled and held against values: never fetching anything, in memory and time that have a bound.
//!
//! What the schemas of a schema cost is told by [`crate::schema_cost`]. Patterns and `uniqueItems` are checked
//! here rather than by the validator, which counts neither how long the texts are nor how alike the items.

mod account;
mod pattern;
mod unique;

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::{Keyword, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::schema_cost::{self, Cost};
use account::Refused;
use pattern::{Pattern, Use};

pub use account::MAX_STEPS;
pub use pattern::{MAX_ALL_PATTERNS, MAX_LOOKED_AROUND, MAX_PATTERN};

/// A schema that can be used, and what it costs.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    cost: Cost,
    /// What the names of properties are held against by the validator.
    of_names: Vec<Arc<Pattern>>,
    /// All of them.
    patterns: Vec<Arc<Pattern>>,
}

/// Why a schema is none that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unfit {
    pub message: String,
    /// JSON Pointer of what is meant.
    pub pointer: String,
    pub hint: Option<String>,
}

/// What of a value does not fit, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The keyword that it breaks, or `too_large`.
    pub code: String,
    pub message: String,
    pub path: String,
}

/// Compiles a schema. References lead nowhere but into the schema itself, and a schema that could take for ever, or the
/// memory, is refused.
pub fn compile(schema: &Value) -> Result<Schema, Unfit> {
    let too_costly = |error: schema_cost::TooCostly| Unfit {
        message: error.message,
        pointer: error.pointer,
        hint: Some(error.hint.to_owned()),
    };
    let cost = schema_cost::cost(schema).map_err(too_costly)?;
    let mut of_values: HashMap<String, Arc<Pattern>> = HashMap::new();
    let mut of_names: HashMap<String, Arc<Pattern>> = HashMap::new();
    let mut bytes = 0;
    for found in schema_cost::patterns(schema).map_err(too_costly)? {
        let known = if found.of_names { &mut of_names } else { &mut of_values };
        let again = known.contains_key(found.pattern);
        // The validator makes those of names itself, wherever they stand.
        if again && !found.of_names {
            continue;
        }
        let wrong = |why: String, hint: &str| Unfit {
            message: format!("the schema at `{}` {why}", found.pointer),
            pointer: found.pointer.clone(),
            hint: Some(hint.to_owned()),
        };
        let used = if found.of_names { Use::Names } else { Use::Texts };
        let one = Pattern::compile(found.pattern, used).map_err(|why| wrong(why.message, why.hint))?;
        bytes += one.bytes * if found.of_names { 2 } else { 1 };
        if bytes > MAX_ALL_PATTERNS {
            let why = format!(
                "is the pattern with which those of the schema take {bytes} bytes; together they may take {MAX_ALL_PATTERNS}"
            );
            return Err(wrong(why, "use fewer patterns, and lower counts of `\\p{…}` and the like"));
        }
        known.insert(found.pattern.to_owned(), Arc::new(one));
    }
    let patterns = of_values.values().chain(of_names.values()).cloned().collect();
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(
            PatternOptions::fancy_regex()
                .backtrack_limit(pattern::BACKTRACK_LIMIT)
                .size_limit(MAX_PATTERN)
                .dfa_size_limit(pattern::DFA_BYTES),
        )
        .with_keyword("pattern", move |_, pattern, _| {
            let source = pattern.as_str().ok_or_else(|| ValidationError::custom("a pattern is a text"))?;
            let known = match of_values.get(source) {
                Some(known) => known.clone(),
                None => Arc::new(
                    Pattern::compile(source, Use::Texts)
                        .map_err(|why| ValidationError::custom(why.message))?,
                ),
            };
            Ok(Box::new(pattern::OfTexts(known)) as Box<dyn for<'i> Keyword<'i>>)
        })
        .with_keyword("uniqueItems", |_, wanted, _| {
            Ok(Box::new(unique::UniqueItems(wanted == &Value::Bool(true))) as Box<dyn for<'i> Keyword<'i>>)
        })
        .build(schema)
        .map_err(|error| Unfit {
            message: error.to_string(),
            pointer: error.instance_path().as_str().to_owned(),
            hint: None,
        })?;
    Ok(Schema { validator, cost, of_names: of_names.into_values().collect(), patterns })
}

/// Whether a schema is compiled in no time that others would notice: a small one, without patterns.
pub fn compiles_quickly(schema: &Value) -> bool {
    const VALUES: usize = 500;
    let mut values = 0;
    let mut open = vec![schema];
    while let Some(value) = open.pop() {
        values += 1;
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(words)
                if ["pattern", "patternProperties"].iter().any(|word| words.contains_key(*word)) =>
            {
                return false;
            }
            Value::Object(words) => open.extend(words.values()),
            _ => {}
        }
        if values + open.len() > VALUES {
            return false;
        }
    }
    true
}

impl Schema {
    /// What of a value does not fit: at most `most` places. A value that cannot be told to fit in time does not.
    pub fn misfits(&self, body: &Value, most: usize) -> Vec<Misfit> {
        if !self.cost.allows(body) {
            return vec![Misfit {
                code: "too_large".to_owned(),
                message: "this has more values than the schema, which says much of each, can be held against"
                    .to_owned(),
                path: String::new(),
            }];
        }
        let (mut found, refused) = account::opened(|| {
            // The quick answer first: most values fit.
            if !self.names_are_told(body) || self.validator.is_valid(body) {
                return None;
            }
            Some(self.validator.iter_errors(body).take(most).map(misfit).collect::<Vec<_>>())
        });
        match refused {
            Some(Refused { why, text }) => {
                let path = text.and_then(|text| place(body, text)).unwrap_or_default();
                vec![Misfit { code: "too_large".to_owned(), message: why, path }]
            }
            None => {
                // Not every keyword that breaks is told, so of none the whole is.
                if found.as_ref().is_some_and(Vec::is_empty) {
                    found = Some(vec![Misfit {
                        code: "schema".to_owned(),
                        message: "this does not fit the schema".to_owned(),
                        path: String::new(),
                    }]);
                }
                found.unwrap_or_default()
            }
        }
    }

    /// Whether all of it takes no longer than others can wait for: few values, and short texts for all the patterns.
    pub fn is_quick(&self, body: &Value) -> bool {
        const VALUES: usize = 2_000;
        const BYTES: usize = 16 << 10;
        const STEPS: u64 = 1_000_000;
        let (mut values, mut bytes, mut steps) = (0, 0, self.cost.per_value);
        let mut reads = |text: &str| {
            bytes += text.len();
            for pattern in &self.patterns {
                // As often as anything is looked at for one value.
                steps = pattern.steps(text).saturating_mul(self.cost.per_value).saturating_add(steps);
                if steps > STEPS {
                    return false;
                }
            }
            bytes <= BYTES
        };
        let mut open = vec![body];
        while let Some(value) = open.pop() {
            values += 1;
            let read = match value {
                Value::String(text) => reads(text),
                Value::Array(items) => {
                    open.extend(items);
                    true
                }
                Value::Object(fields) => {
                    open.extend(fields.values());
                    fields.keys().all(|name| reads(name))
                }
                _ => true,
            };
            let looked_at = self.cost.per_value.saturating_mul((values + open.len()) as u64);
            if !read || values + open.len() > VALUES || looked_at > STEPS {
                return false;
            }
        }
        true
    }

    /// Charges what it takes to hold the names of all properties against the patterns for them, which is the validator's
    /// to do. False when that is refused.
    fn names_are_told(&self, body: &Value) -> bool {
        if self.cost.per_name == 0 || self.of_names.is_empty() {
            return true;
        }
        let mut open = vec![body];
        while let Some(value) = open.pop() {
            match value {
                Value::Array(items) => open.extend(items),
                Value::Object(fields) => {
                    for (name, field) in fields {
                        if !pattern::admit(&self.of_names, name, self.cost.per_name, value) {
                            return false;
                        }
                        open.push(field);
                    }
                }
                _ => {}
            }
        }
        true
    }
}

fn misfit(error: ValidationError<'_>) -> Misfit {
    Misfit {
        code: error.kind().keyword().to_owned(),
        message: error.to_string(),
        path: error.instance_path().as_str().to_owned(),
    }
}

/// JSON Pointer of the value at an address.
fn place(body: &Value, wanted: *const Value) -> Option<String> {
    let mut open = vec![(body, String::new())];
    while let Some((value, at)) = open.pop() {
        if std::ptr::eq(value, wanted) {
            return Some(at);
        }
        match value {
            Value::Array(items) => {
                open.extend(items.iter().enumerate().map(|(index, item)| (item, format!("{at}/{index}"))));
            }
            Value::Object(fields) => open.extend(fields.iter().map(|(name, field)| {
                (field, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")))
            })),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
