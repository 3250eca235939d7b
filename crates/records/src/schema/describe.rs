//! The schema as people see it: names instead of numbers.

use serde_json::{Map, Value, json};

use super::Schema;
use super::field::{Field, FieldType};
use super::object::Object;

impl Schema {
    /// An object as the API shows it.
    pub fn describe(&self, object: &Object) -> Value {
        let unique: Vec<Value> = (object.unique.iter())
            .map(|unique| {
                let mut set = json!({"fields": object.unique_names(unique), "state": unique.state.name()});
                if let Some(problem) = &unique.problem {
                    set["problem"] = problem.clone().into();
                }
                set
            })
            .collect();
        let indexes: Vec<Value> = (object.indexes.iter())
            .map(|index| json!({"field": object.path_name(&index.path), "state": index.state.name()}))
            .collect();
        json!({
            "name": object.name,
            "plural": object.plural,
            "label": object.label,
            "custom": object.custom,
            "fields": object.fields.iter().map(|field| self.describe_field(field)).collect::<Vec<_>>(),
            "unique": unique,
            "indexes": indexes,
        })
    }

    fn describe_field(&self, field: &Field) -> Value {
        let mut described = Map::new();
        described.insert("name".into(), field.name.clone().into());
        described.insert("label".into(), field.label.clone().into());
        described.insert("type".into(), field.kind.name().into());
        described.insert("required".into(), field.required.into());
        if let Some(default) = &field.default {
            described.insert("default".into(), default.clone());
        }
        match &field.kind {
            FieldType::Relation { object } => {
                described.insert("object".into(), self.name_of(*object).into());
            }
            FieldType::Links { domain: true } => {
                described.insert("domain".into(), true.into());
            }
            kind => {
                if let Some(options) = kind.options() {
                    described.insert("options".into(), options.into());
                }
            }
        }
        if !field.kind.parts().is_empty() {
            let parts = field.kind.parts().iter().map(|(part, _)| Value::from(*part));
            described.insert("parts".into(), parts.collect());
        }
        Value::Object(described)
    }
}
