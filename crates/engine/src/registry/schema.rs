//! JSON Schemas: compiled once, never fetching anything, and what does not fit said place by place.
use crate::Problem;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use stepwell_workflow::schema_cost::{Cost, cost};

/// More problems than this help nobody.
const MAX_PROBLEMS: usize = 50;
/// A pattern that needs more steps than this on a value is refused rather than waited for.
const BACKTRACK_LIMIT: usize = 100_000;

/// A schema, and what it costs.
#[derive(Debug)]
pub(crate) struct Compiled {
    validator: Validator,
    cost: Cost,
}

/// Compiles a schema. References lead nowhere but into the schema itself, and a schema that could take for ever is refused.
pub(crate) fn compile(schema: &Value) -> Result<Compiled, String> {
    let cost = cost(schema).map_err(|error| error.to_string())?;
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_LIMIT))
        .build(schema)
        .map_err(|error| format!("{error} (at `{}` of the schema)", error.instance_path().as_str()))?;
    Ok(Compiled { validator, cost })
}

/// What of a value does not fit.
pub(crate) fn problems(schema: &Compiled, value: &Value) -> Vec<Problem> {
    if !schema.cost.allows(value) {
        return vec![Problem {
            code: "too_large".to_owned(),
            message: "this has more values than the schema, which says much of each, can be held against"
                .to_owned(),
            path: Some(String::new()),
            ..Problem::default()
        }];
    }
    let validator = &schema.validator;
    // The quick answer first: most values fit.
    if validator.is_valid(value) {
        return Vec::new();
    }
    validator
        .iter_errors(value)
        .take(MAX_PROBLEMS)
        .map(|error| Problem {
            code: error.kind().keyword().to_owned(),
            message: shortened(error.to_string()),
            path: Some(error.instance_path().as_str().to_owned()),
            ..Problem::default()
        })
        .collect()
}

/// Both at once, for schemas that are used rarely.
pub(crate) fn check(schema: &Value, value: &Value) -> Result<Vec<Problem>, String> {
    Ok(problems(&compile(schema)?, value))
}

/// Messages quote the value; a large one says no more than its beginning.
fn shortened(mut message: String) -> String {
    crate::steps::cut(&mut message, 500);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_does_not_fit_is_said_place_by_place() {
        let schema = json!({"type": "object", "required": ["email"], "properties": {
            "email": {"type": "string", "format": "email"}, "age": {"type": "integer"}}});
        let validator = compile(&schema).unwrap();
        assert!(problems(&validator, &json!({"email": "a@example.com"})).is_empty());
        let found = problems(&validator, &json!({"email": "nobody", "age": "old"}));
        let places: Vec<_> = found.iter().map(|p| (p.path.as_deref().unwrap(), p.code.as_str())).collect();
        assert_eq!(places, [("/age", "type"), ("/email", "format")]);
        let missing = problems(&validator, &json!({}));
        assert_eq!(missing[0].message, "\"email\" is a required property");
    }

    #[test]
    fn a_schema_or_a_value_that_would_take_for_ever_is_refused() {
        let one = json!({"properties": {"a": {"$ref": "#"}}});
        let error = compile(&json!({"anyOf": [one, one]})).unwrap_err();
        assert!(error.contains("the work doubles with every level"), "{error}");
        let schema = compile(&json!({"items": {"enum": (0..1900).collect::<Vec<_>>()}})).unwrap();
        assert!(problems(&schema, &json!(vec![7; 20_000])).is_empty());
        assert_eq!(problems(&schema, &json!(vec![7; 30_000]))[0].code, "too_large");
    }

    #[test]
    fn a_schema_reads_nothing_from_outside() {
        for reference in ["http://127.0.0.1:1/x.json", "file:///etc/passwd"] {
            let error = compile(&json!({"$ref": reference})).unwrap_err();
            assert!(
                error.contains(reference) || error.contains("offline") || error.contains("retriev"),
                "{error}"
            );
        }
        assert!(compile(&json!({"type": "strin"})).is_err());
    }
}
