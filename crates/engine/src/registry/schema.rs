//! JSON Schemas: compiled once, never fetching anything, and what does not fit said place by place.
use crate::Problem;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// More problems than this help nobody.
const MAX_PROBLEMS: usize = 50;
/// A pattern that needs more steps than this on a value is refused rather than waited for.
const BACKTRACK_LIMIT: usize = 100_000;

/// Compiles a schema. References lead nowhere but into the schema itself.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_LIMIT))
        .build(schema)
        .map_err(|error| format!("{error} (at `{}` of the schema)", error.instance_path().as_str()))
}

/// What of a value does not fit.
pub(crate) fn problems(validator: &Validator, value: &Value) -> Vec<Problem> {
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
