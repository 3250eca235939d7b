//! The published JSON Schema of workflow documents, for editors: made from the same table that documents are
//! read with. What it cannot say (scope, types, objects) is told by [`crate::check`].

use serde_json::{Map, Value, json};

use crate::connection::CONNECTION;
use crate::document::{COMMON, Field, Form, Kind, MAX_ID, Need, RESERVED, STEPS, Shape, TOP};

/// Any text with a template in it; a value that is wanted as a number may be one.
const TEMPLATE: &str = r"^\s*\{\{[\s\S]*\}\}\s*$";
const DURATION: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

/// The schema, as it is kept in `docs/reference/workflow.schema.json`.
pub fn json_schema() -> Value {
    let mut schema = form(&TOP);
    if let Value::Object(map) = &mut schema {
        map.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        map.insert("title".into(), "Stepwell workflow".into());
        map.insert("$defs".into(), definitions());
    }
    schema
}

/// The schema of connections, as it is kept in `docs/reference/connection.schema.json`.
pub fn connection_schema() -> Value {
    let mut schema = form(&CONNECTION);
    if let Value::Object(map) = &mut schema {
        map.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        map.insert("title".into(), "Stepwell connection".into());
    }
    schema
}

fn definitions() -> Value {
    let mut all = Map::new();
    all.insert("steps".into(), json!({"type": "array", "items": {"$ref": "#/$defs/step"}}));
    let names: Vec<Value> =
        STEPS.iter().map(|kind| json!({"$ref": format!("#/$defs/step_{}", kind.name)})).collect();
    all.insert("step".into(), json!({"anyOf": names}));
    for kind in STEPS {
        all.insert(format!("step_{}", kind.name), of_kind(kind, COMMON));
    }
    all.insert(
        "id".into(),
        json!({"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "maxLength": MAX_ID, "not": {"enum": RESERVED}}),
    );
    all.insert("template".into(), json!({"type": "string", "pattern": TEMPLATE}));
    all.insert(
        "filter".into(),
        json!({
            "description": "One condition, several that must all hold, or a group: `all`, `any`, `not`.",
            "anyOf": [
                {"type": "array", "items": {"$ref": "#/$defs/filter"}, "minItems": 1},
                {"type": "object", "properties": {"all": {"$ref": "#/$defs/filters"}}, "required": ["all"], "additionalProperties": false},
                {"type": "object", "properties": {"any": {"$ref": "#/$defs/filters"}}, "required": ["any"], "additionalProperties": false},
                {"type": "object", "properties": {"not": {"$ref": "#/$defs/filter"}}, "required": ["not"], "additionalProperties": false},
                {"$ref": "#/$defs/condition"}
            ]
        }),
    );
    all.insert(
        "filters".into(),
        json!({"type": "array", "items": {"$ref": "#/$defs/filter"}, "minItems": 1}),
    );
    all.insert("condition".into(), condition());
    Value::Object(all)
}

fn condition() -> Value {
    use stepwell_records::filter::Operand;
    let mut properties = Map::new();
    properties.insert("field".into(), json!({"type": "string"}));
    properties.insert("value".into(), json!(true));
    for operand in Operand::ALL {
        properties.insert(operand.name().into(), json!(true));
    }
    json!({
        "type": "object",
        "properties": properties,
        "oneOf": [{"required": ["field"]}, {"required": ["value"]}],
        "minProperties": 2,
        "additionalProperties": false
    })
}

fn form(form: &Form) -> Value {
    object(form.fields, &[])
}

fn object(fields: &[Field], common: &[Field]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in common.iter().chain(fields) {
        properties.insert(field.key.into(), described(field));
        if field.need == Need::Required {
            required.push(field.key);
        }
    }
    let mut map = Map::new();
    map.insert("type".into(), "object".into());
    map.insert("properties".into(), Value::Object(properties));
    if !required.is_empty() {
        map.insert("required".into(), json!(required));
    }
    map.insert("additionalProperties".into(), false.into());
    Value::Object(map)
}

fn of_kind(kind: &Kind, common: &[Field]) -> Value {
    let mut schema = object(kind.fields, common);
    schema["description"] = kind.about.into();
    schema["properties"]["type"] = json!({"const": kind.name});
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.push("type".into());
    } else {
        schema["required"] = json!(["type"]);
    }
    schema
}

fn described(field: &Field) -> Value {
    let mut schema = shape(&field.shape);
    let about = match field.need {
        Need::Default(default) => format!("{} Default: {default}.", field.about),
        _ => field.about.to_owned(),
    };
    match &mut schema {
        Value::Object(map) => {
            map.insert("description".into(), about.into());
        }
        _ => schema = json!({"description": about}),
    }
    schema
}

fn shape(of: &Shape) -> Value {
    match of {
        Shape::Prose | Shape::Template => json!({"type": "string"}),
        Shape::Text => json!({"type": "string", "minLength": 1}),
        Shape::Value => json!(true),
        Shape::Values => json!({"type": "object"}),
        Shape::ValuesOrTemplate => json!({"anyOf": [{"type": "object"}, {"$ref": "#/$defs/template"}]}),
        Shape::Templates => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Shape::Whole { min, max } => whole(*min, *max),
        Shape::Decimal { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        Shape::WholeOrTemplate { min, max } => {
            json!({"anyOf": [whole(*min, *max), {"$ref": "#/$defs/template"}]})
        }
        Shape::Duration { .. } => json!({"type": "string", "pattern": DURATION, "minLength": 2}),
        Shape::Size { max } => json!({"anyOf": [
            {"type": "integer", "minimum": 0, "maximum": max},
            {"type": "string", "pattern": "^[0-9]+ ?([KMG]i?)?B?$"}
        ]}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Choice(names) => json!({"enum": names}),
        Shape::Name => json!({"type": "string", "pattern": "^[a-z][a-z0-9-]*$", "maxLength": MAX_ID}),
        Shape::Id => json!({"$ref": "#/$defs/id"}),
        Shape::Action => {
            json!({"type": "string", "pattern": "^[a-z][a-z0-9-]*(@[0-9]+(\\.[0-9]+\\.[0-9]+.*)?)?$"})
        }
        Shape::HookPath => {
            json!({"type": "string", "pattern": "^[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*$", "maxLength": 200})
        }
        Shape::Condition | Shape::EventCondition => {
            json!({"anyOf": [{"$ref": "#/$defs/template"}, {"$ref": "#/$defs/filter"}]})
        }
        Shape::RecordFilter | Shape::ErrorFilter => json!({"$ref": "#/$defs/filter"}),
        Shape::JsonSchema => json!({"type": ["object", "boolean"]}),
        Shape::Status => json!({"anyOf": [
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "pattern": "^[1-5](xx|[0-9]{2}(-[1-5][0-9]{2})?)$"}
        ]}),
        Shape::Steps => json!({"$ref": "#/$defs/steps"}),
        Shape::List(item) => json!({"type": "array", "items": shape(item), "minItems": 1}),
        Shape::OneOrMany(item) => {
            json!({"anyOf": [shape(item), {"type": "array", "items": shape(item), "minItems": 1}]})
        }
        Shape::Form(inner) => form(inner),
        Shape::OneKey(inner) => {
            let mut schema = form(inner);
            if let Value::Object(map) = &mut schema {
                map.remove("required");
            }
            schema["minProperties"] = 1.into();
            schema["maxProperties"] = 1.into();
            schema
        }
        Shape::Either(shapes) => json!({"anyOf": shapes.iter().map(shape).collect::<Vec<_>>()}),
        Shape::Kinds { kinds, .. } => {
            json!({"anyOf": kinds.iter().map(|kind| of_kind(kind, &[])).collect::<Vec<_>>()})
        }
    }
}

fn whole(min: u64, max: u64) -> Value {
    let mut schema = json!({"type": "integer", "minimum": min});
    if max < i64::MAX as u64 {
        schema["maximum"] = max.into();
    }
    schema
}
