//! The schema as people see it: names instead of numbers.

use serde_json::{Map, Value, json};

use super::Schema;
use super::field::{Field, FieldType};
use super::object::Object;
use crate::backfill::{Backfill, Built};

impl Schema {
    /// An object as the API shows it; `done` says how many records a set or an index that is being built has seen.
    pub fn describe(&self, object: &Object, done: &dyn Fn(Backfill) -> Option<u64>) -> Value {
        let done = |of: Built| done(Backfill { object: object.id, of });
        let unique: Vec<Value> = (object.unique.iter())
            .map(|unique| {
                let mut set = json!({"fields": object.unique_names(unique), "state": unique.state.name()});
                if let Some(problem) = &unique.problem {
                    set["problem"] = problem.clone().into();
                    set["conflicts"] = json!(unique.twins);
                }
                if let Some(done) = done(Built::Unique(unique.id)) {
                    set["records_done"] = done.into();
                }
                set
            })
            .collect();
        let indexes: Vec<Value> = (object.indexes.iter())
            .map(|index| {
                let mut shown = json!({"field": object.path_name(&index.path), "state": index.state.name()});
                if let Some(done) = done(Built::Index(index.id)) {
                    shown["records_done"] = done.into();
                }
                shown
            })
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
