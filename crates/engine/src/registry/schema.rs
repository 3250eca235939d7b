//! JSON Schemas that values from outside are held against: compiled once, and what does not fit said place by place, on a
//! thread that answers nobody meanwhile where that can take long.
use crate::{Problem, core::Core};
use serde_json::Value;
use stepwell_workflow::json_schema::{self, Misfit, Schema};

use crate::pace::Pace;

/// More problems than this help nobody.
const MAX_PROBLEMS: usize = 50;

/// A schema, and what it costs.
pub(crate) type Compiled = Schema;

/// Compiles a schema. References lead nowhere but into the schema itself, and a schema that could take for ever is refused.
pub(crate) fn compile(schema: &Value) -> Result<Compiled, String> {
    json_schema::compile(schema).map_err(|error| match error.hint {
        Some(_) => error.message,
        None => format!("{} (at `{}` of the schema)", error.message, error.pointer),
    })
}

/// What of a value does not fit.
pub(crate) async fn problems(core: &Core, schema: &Compiled, value: &Value) -> Vec<Problem> {
    if schema.is_quick(value) {
        return told(schema, value);
    }
    aside(core, || told(schema, value)).await
}

/// Both at once, for schemas that are used rarely.
pub(crate) async fn check(core: &Core, schema: &Value, value: &Value) -> Result<Vec<Problem>, String> {
    if json_schema::compiles_quickly(schema) {
        return Ok(problems(core, &compile(schema)?, value).await);
    }
    let both = || Ok(told(&compile(schema)?, value));
    aside(core, both).await
}

async fn aside<T>(core: &Core, work: impl FnOnce() -> T) -> T {
    let clock = &core.ports.clock;
    core.lane.run(&Pace::slow(), || clock.elapsed(), work).await
}

fn told(schema: &Compiled, value: &Value) -> Vec<Problem> {
    schema.misfits(value, MAX_PROBLEMS).into_iter().map(problem).collect()
}

fn problem(misfit: Misfit) -> Problem {
    Problem {
        code: misfit.code,
        message: shortened(misfit.message),
        path: Some(misfit.path),
        ..Problem::default()
    }
}

/// Messages quote the value; a large one says no more than its beginning.
fn shortened(mut message: String) -> String {
    crate::steps::cut(&mut message, 500);
    message
}

#[cfg(test)]
mod tests {
    use super::{compile, told as problems};
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
