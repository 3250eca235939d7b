//! What is known of a value before any run: enough to tell a path that cannot be there.

use std::rc::Rc;

use serde_json::Value;

use super::bounds::Type;
use crate::expr::Kinds;

/// The type of a value, as far as it is certain.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ty {
    Any,
    Text,
    Number,
    Boolean,
    Object(Object),
    List(Type),
    /// It, or null. Its parts are those of the value.
    Nullable(Type),
    /// One of these; which one is decided in a run.
    OneOf {
        of: Vec<Type>,
        rule: Rule,
    },
}

/// What a path must satisfy in a [`Ty::OneOf`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Some alternative gives it: a schema's `anyOf`.
    Some,
    /// Every alternative gives it: the arms of a branch.
    Every,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    /// Who gives it, as messages say: "normalize-lead 1.2.0".
    pub label: Option<Rc<str>>,
    pub fields: Vec<(String, Type)>,
    pub required: Vec<String>,
    pub rest: Rest,
}

/// What there may be beside the fields.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rest {
    /// Nothing.
    Closed,
    /// A schema that lists fields and does not say: other paths are taken for mistakes, unless `default()` is given.
    Unsaid,
    /// Anything of this type.
    Open(Type),
}

/// How far into a schema types are made; deeper is any.
const DEPTH: usize = 12;
/// How many types one schema may make.
const TYPES: usize = 2_000;

impl Ty {
    pub fn object(label: &str, fields: Vec<(&str, Ty)>) -> Ty {
        Ty::Object(Object {
            label: Some(label.into()),
            fields: fields.into_iter().map(|(name, ty)| (name.to_owned(), Type::from(ty))).collect(),
            required: Vec::new(),
            rest: Rest::Closed,
        })
    }

    pub fn list(item: Ty) -> Ty {
        Ty::List(Type::from(item))
    }

    /// The type that a JSON Schema describes; `label` is who gives it.
    pub fn of_schema(schema: &Value, label: &str) -> Ty {
        let mut reader = SchemaReader { root: schema, left: TYPES };
        let mut ty = reader.ty(schema, 0);
        if let Ty::Object(object) = &mut ty {
            object.label = Some(label.into());
        }
        ty
    }

    /// It, or null.
    pub fn nullable(self) -> Ty {
        match self {
            Ty::Any | Ty::Nullable(_) => self,
            other => Ty::Nullable(Type::from(other)),
        }
    }

    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Ty::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The kinds of JSON that a value of it may be of.
    pub fn kinds(&self) -> Kinds {
        match self {
            Ty::Any => Kinds::ANY,
            Ty::Text => Kinds::TEXT,
            Ty::Number => Kinds::NUMBER,
            Ty::Boolean => Kinds::BOOLEAN,
            // Nothing of it is known: it stands for the side of an event that is not there, too.
            Ty::Object(object) if object.fields.is_empty() && object.rest == Rest::Unsaid => Kinds::ANY,
            Ty::Object(_) => Kinds::OBJECT,
            Ty::List(_) => Kinds::LIST,
            Ty::Nullable(inner) => inner.kinds().or(Kinds::NULL),
            Ty::OneOf { of, .. } => of.iter().map(|one| one.kinds()).reduce(Kinds::or).unwrap_or(Kinds::ANY),
        }
    }

    /// The type of values of these kinds, as far as they are of one.
    pub fn of_kinds(kinds: Kinds) -> Ty {
        let one = match kinds.without(Kinds::NULL) {
            Kinds::TEXT => Ty::Text,
            Kinds::NUMBER => Ty::Number,
            Kinds::BOOLEAN => Ty::Boolean,
            Kinds::LIST => Ty::list(Ty::Any),
            _ => Ty::Any,
        };
        if kinds.may_be(Kinds::NULL) { one.nullable() } else { one }
    }

    /// What a person calls a value of it.
    pub fn describe(&self) -> &'static str {
        match self {
            Ty::Any | Ty::OneOf { .. } => "a value",
            Ty::Text => "a text",
            Ty::Number => "a number",
            Ty::Boolean => "true or false",
            Ty::Object(_) => "an object",
            Ty::List(_) => "a list",
            Ty::Nullable(inner) => inner.describe(),
        }
    }
}

impl Object {
    pub fn field(&self, name: &str) -> Option<&Type> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, ty)| ty)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }
}

struct SchemaReader<'s> {
    root: &'s Value,
    left: usize,
}

impl<'s> SchemaReader<'s> {
    fn ty(&mut self, schema: &'s Value, depth: usize) -> Ty {
        let Value::Object(map) = schema else {
            return Ty::Any;
        };
        if depth > DEPTH || self.left == 0 {
            return Ty::Any;
        }
        self.left -= 1;
        if let Some(Value::String(reference)) = map.get("$ref") {
            let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return target.map_or(Ty::Any, |target| self.ty(target, depth + 1));
        }
        for word in ["anyOf", "oneOf", "allOf"] {
            if let Some(Value::Array(parts)) = map.get(word) {
                let mut of: Vec<Type> = parts
                    .iter()
                    .filter(|part| part.get("type").and_then(Value::as_str) != Some("null"))
                    .map(|part| Type::from(self.ty(part, depth + 1)))
                    .collect();
                if map.contains_key("properties") {
                    of.push(Type::from(self.object(map, depth)));
                }
                let ty = Ty::clone(&Type::one_of(of, Rule::Some));
                let null = parts.iter().any(|part| part.get("type").and_then(Value::as_str) == Some("null"));
                return if null { ty.nullable() } else { ty };
            }
        }
        let values = map.get("const").map(std::slice::from_ref);
        let values = values.or_else(|| map.get("enum").and_then(Value::as_array).map(Vec::as_slice));
        if let Some(kinds) = values.and_then(|values| values.iter().map(Kinds::of).reduce(Kinds::or)) {
            return match kinds.without(Kinds::NULL) {
                Kinds::LIST | Kinds::OBJECT => Ty::Any,
                _ => Ty::of_kinds(kinds),
            };
        }
        let mut null = false;
        let names: Vec<&str> = match map.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => {
                null = names.iter().any(|name| name == "null");
                names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
            }
            _ if map.contains_key("properties") => vec!["object"],
            _ if map.contains_key("items") => vec!["array"],
            _ => vec![],
        };
        let [name] = names.as_slice() else {
            return Ty::Any;
        };
        let ty = match *name {
            "string" => Ty::Text,
            "number" | "integer" => Ty::Number,
            "boolean" => Ty::Boolean,
            "array" => Ty::list(map.get("items").map_or(Ty::Any, |items| self.ty(items, depth + 1))),
            "object" => self.object(map, depth),
            _ => Ty::Any,
        };
        if null { ty.nullable() } else { ty }
    }

    fn object(&mut self, map: &'s serde_json::Map<String, Value>, depth: usize) -> Ty {
        let fields: Vec<(String, Type)> = match map.get("properties") {
            Some(Value::Object(properties)) => properties
                .iter()
                .map(|(name, schema)| (name.clone(), Type::from(self.ty(schema, depth + 1))))
                .collect(),
            _ => Vec::new(),
        };
        let mut rest = match map.get("additionalProperties") {
            Some(Value::Bool(false)) => Rest::Closed,
            Some(Value::Bool(true)) => Rest::Open(Type::from(Ty::Any)),
            Some(schema @ Value::Object(_)) => Rest::Open(Type::from(self.ty(schema, depth + 1))),
            _ if fields.is_empty() => Rest::Open(Type::from(Ty::Any)),
            _ => Rest::Unsaid,
        };
        if let Some(Value::Object(patterns)) = map.get("patternProperties") {
            // Which names fit which pattern is decided in a run: any other name may be one of them.
            let mut of: Vec<Type> =
                patterns.values().map(|schema| Type::from(self.ty(schema, depth + 1))).collect();
            match &rest {
                // A name that fits none of them is refused.
                Rest::Closed => {}
                Rest::Open(other) => of.push(other.clone()),
                Rest::Unsaid => of.push(Type::from(Ty::Any)),
            }
            if !patterns.is_empty() {
                rest = Rest::Open(Type::one_of(of, Rule::Some));
            }
        }
        let required = match map.get("required") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Ty::Object(Object { label: None, fields, required, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schemas_become_types() {
        let schema = json!({
            "type": "object",
            "properties": {
                "email": {"type": ["string", "null"]},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
                "either": {"anyOf": [{"type": "null"}, {"type": "number"}]},
                "mixed": {"enum": [1, "a"]},
                "word": {"enum": ["a", null]},
                "free": {}
            },
            "additionalProperties": false,
            "$defs": {"tag": {"properties": {"name": {"const": "a"}}}}
        });
        let Ty::Object(object) = Ty::of_schema(&schema, "x 1.0.0") else { panic!("no object") };
        assert_eq!(object.label.as_deref(), Some("x 1.0.0"));
        assert_eq!(object.rest, Rest::Closed);
        assert_eq!(**object.field("email").unwrap(), Ty::Text.nullable());
        assert_eq!(**object.field("mixed").unwrap(), Ty::Any);
        assert_eq!(**object.field("word").unwrap(), Ty::Text.nullable());
        assert_eq!(**object.field("either").unwrap(), Ty::Number.nullable());
        assert_eq!(**object.field("free").unwrap(), Ty::Any);
        let Ty::List(tag) = &**object.field("tags").unwrap() else { panic!("no list") };
        let Ty::Object(tag) = &**tag else { panic!("no object") };
        assert_eq!(**tag.field("name").unwrap(), Ty::Text);
        assert_eq!(tag.rest, Rest::Unsaid);
    }

    #[test]
    fn what_a_pattern_may_allow_is_open_and_of_its_type() {
        let rest = |mut schema: Value| {
            schema["properties"] = json!({"id": {"type": "string"}});
            schema["type"] = "object".into();
            let Ty::Object(object) = Ty::of_schema(&schema, "x") else { panic!("no object") };
            object.rest
        };
        let open = |ty: Ty| Rest::Open(Type::from(ty));
        let numbers = json!({"^n_": {"type": "number"}});
        let closed = rest(json!({"patternProperties": numbers, "additionalProperties": false}));
        assert_eq!(closed, open(Ty::Number));
        let both = json!({"^n_": {"type": "number"}, "^t_": {"type": "string"}});
        let one_of =
            |of: Vec<Ty>| Ty::OneOf { of: of.into_iter().map(Type::from).collect(), rule: Rule::Some };
        let two = rest(json!({"patternProperties": both, "additionalProperties": false}));
        assert_eq!(two, open(one_of(vec![Ty::Number, Ty::Text])));
        let other = rest(json!({"patternProperties": numbers, "additionalProperties": {"type": "string"}}));
        assert_eq!(other, open(one_of(vec![Ty::Number, Ty::Text])));
        // What is said of no other name may be anything.
        for additional in [json!({}), json!({"additionalProperties": true})] {
            let mut schema = additional;
            schema["patternProperties"] = numbers.clone();
            assert_eq!(rest(schema), open(one_of(vec![Ty::Number, Ty::Any])));
        }
        let none = rest(json!({"patternProperties": {}, "additionalProperties": false}));
        assert_eq!(none, Rest::Closed);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}, "c": {"$ref": "#"}}});
        assert!(matches!(Ty::of_schema(&schema, "x"), Ty::Object(_)));
        let circle = json!({"$ref": "#"});
        assert_eq!(Ty::of_schema(&circle, "x"), Ty::Any);
    }
}
