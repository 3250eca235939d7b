//! Steps that read and write records: objects, fields, values, filters, unique sets.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use stepwell_records::filter::{Allowed, Filter, Operand, Subject};
use stepwell_records::misfit;
use stepwell_records::schema::{Field, Kind, Object, System, Target};

use super::bounds::Type;
use super::checker::Checker;
use super::types::{self, Rest, Ty};
use crate::document::Style;
use crate::expr::{Kinds, Mode};
use crate::model::{CreateRecord, DeleteRecord, Fields, Given, SearchRecords, UpdateRecord, UpsertRecord};

impl<'w> Checker<'w> {
    /// What is searched, by what, and in which order.
    pub(super) fn which_records(
        &mut self,
        object: &'w str,
        view: Option<&'w String>,
        filter: Option<&'w Value>,
        sort: &'w [String],
    ) -> Option<Arc<Object>> {
        let object = self.object(object);
        if let (Some(object), Some(view)) = (&object, view) {
            self.under("view", |me| me.view(view, object));
        }
        if let Some(filter) = filter {
            self.under("filter", |me| {
                me.value(filter, Mode::Value);
                if let Some(object) = &object {
                    me.record_filter(filter, object);
                }
            });
        }
        if let Some(object) = &object {
            self.path.key("sort");
            for (index, sort) in sort.iter().enumerate() {
                if self.enough() {
                    break;
                }
                self.path.index(index);
                self.sort(sort, object);
                self.path.pop();
            }
            self.path.pop();
        }
        object
    }

    fn view(&mut self, view: &str, object: &Object) {
        let Some(names) = self.catalog.views(&object.name) else { return };
        if names.iter().any(|name| name == view) {
            return;
        }
        let hint = match self.nearest(view, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => {
                "none is saved: stepwell view save, or `views` in schema.yaml".to_owned()
            }
            None => format!("there are {}", names.join(", ")),
        };
        let message = format!("{} has no view `{view}`", object.name);
        self.tell("unknown_view", message).set_hint(hint);
    }

    pub(super) fn search(&mut self, search: &'w SearchRecords) -> Type {
        let (view, filter) = (search.view.as_ref(), search.filter.as_ref());
        let object = self.which_records(&search.object, view, filter, &search.sort);
        if let Some(limit) = &search.limit {
            self.under("limit", |me| me.whole_number("limit", limit));
        }
        let record = self.record_type(object.as_deref());
        Type::from(Ty::Object(types::Object {
            label: Some("a search_records step".into()),
            fields: vec![
                ("records".into(), Type::from(Ty::List(record))),
                ("total".into(), Type::from(Ty::Number)),
                ("total_is_exact".into(), Type::from(Ty::Boolean)),
                ("index".into(), Type::from(Ty::Any)),
            ],
            required: Vec::new(),
            rest: Rest::Closed,
        }))
    }

    pub(super) fn create(&mut self, create: &'w CreateRecord) -> Type {
        let object = self.object(&create.object);
        self.under("record", |me| {
            me.record(&create.record, object.as_deref(), true);
        });
        self.written(object)
    }

    pub(super) fn update(&mut self, update: &'w UpdateRecord) -> Type {
        let object = self.object(&update.object);
        self.record_id(&update.record_id);
        self.under("record", |me| {
            me.record(&update.record, object.as_deref(), false);
        });
        if let Some(version) = &update.if_version {
            self.under("if_version", |me| me.whole_number("if_version", version));
        }
        if let Some(unchanged) = &update.if_unchanged {
            self.under("if_unchanged", |me| me.if_unchanged(unchanged, update, object.as_deref()));
        }
        self.written(object)
    }

    pub(super) fn delete(&mut self, delete: &'w DeleteRecord) -> Type {
        let object = self.object(&delete.object);
        self.record_id(&delete.record_id);
        if let Some(version) = &delete.if_version {
            self.under("if_version", |me| me.whole_number("if_version", version));
        }
        self.written(object)
    }

    /// A whole number, as one or as a text of one.
    pub(super) fn whole_number(&mut self, key: &str, value: &'w Value) {
        self.value(value, Mode::Value);
        let kinds = self.kinds_of(value);
        if holds_template(value) && !kinds.may_be(Kinds::NUMBER.or(Kinds::TEXT).or(Kinds::NULL)) {
            let message = format!("`{key}` takes a whole number, and this is {}", kinds.describe());
            self.tell("wrong_type", message);
        }
    }

    fn record_id(&mut self, id: &'w str) {
        self.under("record_id", |me| {
            me.template(id, Mode::Line);
            let kinds = me.kinds_shown(id);
            if !kinds.may_be(Kinds::TEXT) {
                let message = format!("`record_id` is the id of a record, and this is {}", kinds.describe());
                me.tell("wrong_type", message).set_hint("write \"{{ step.record.id }}\"");
            }
            if id.trim().is_empty() {
                me.tell("invalid_value", "`record_id` is empty").set_hint("write \"{{ step.record.id }}\"");
            }
        });
    }

    pub(super) fn upsert(&mut self, upsert: &'w UpsertRecord) -> Type {
        let object = self.object(&upsert.object);
        self.under("record", |me| {
            me.record(&upsert.record, object.as_deref(), true);
        });
        if let Some(object) = &object {
            self.under("match", |me| me.unique_set(upsert, object));
            self.path.key("create_only");
            for (index, name) in upsert.create_only.iter().enumerate() {
                if self.enough() {
                    break;
                }
                self.path.index(index);
                if let Err(unknown) = object.target(name) {
                    self.tell("unknown_field", unknown.message).hint = unknown.hint;
                } else if !self.may_give(&upsert.record, name) {
                    self.tell(
                        "unknown_field",
                        format!("`create_only` names `{name}`, which `record` does not write"),
                    );
                }
                self.path.pop();
            }
            self.path.pop();
        }
        self.written(object)
    }

    fn written(&mut self, object: Option<Arc<Object>>) -> Type {
        let record = self.record_type(object.as_deref());
        Type::from(Ty::Object(types::Object {
            label: Some("a record write".into()),
            fields: vec![("record".into(), record), ("outcome".into(), Type::from(Ty::Text))],
            required: Vec::new(),
            rest: Rest::Closed,
        }))
    }

    pub(super) fn object(&mut self, name: &'w str) -> Option<Arc<Object>> {
        let schema = self.schema.clone()?;
        match schema.object(name) {
            Ok(object) => Some(object.clone()),
            Err(_) => {
                let names: Vec<&str> = schema.objects().map(|object| object.name.as_str()).collect();
                let hint = match self.nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("objects are {}", names.join(", ")),
                };
                self.under("object", |me| {
                    me.tell("unknown_object", format!("there is no object `{name}`")).set_hint(hint)
                });
                None
            }
        }
    }

    pub(super) fn record_type(&mut self, object: Option<&Object>) -> Type {
        let Some(object) = object else {
            return Type::from(Ty::Any);
        };
        if let Some(ty) = self.records.get(&object.name) {
            return ty.clone();
        }
        let mut fields: Vec<(String, Type)> = System::ALL
            .into_iter()
            .map(|system| {
                let ty = type_of_kind(system.kind());
                let ty = if system == System::DeletedAt { ty.nullable() } else { ty };
                (system.name().to_owned(), Type::from(ty))
            })
            .collect();
        fields
            .extend(object.fields.iter().map(|field| (field.name.clone(), Type::from(type_of_field(field)))));
        let ty = Type::from(Ty::Object(types::Object {
            label: Some(format!("a {} record", object.name).into()),
            fields,
            required: Vec::new(),
            rest: Rest::Closed,
        }));
        self.records.insert(object.name.clone(), ty.clone());
        ty
    }

    /// What is written; a new record has to have what it cannot be without.
    fn record(&mut self, record: &'w Given, object: Option<&Object>, is_new: bool) {
        self.given("record", record, Mode::Value);
        match (record, object) {
            (Given::Each(fields), Some(object)) => {
                self.record_fields(fields, object);
                if is_new {
                    self.required(fields, object);
                }
            }
            (Given::Whole(template), Some(object)) => self.whole_record(template, object, is_new),
            (_, None) => {}
        }
    }

    fn record_fields(&mut self, record: &'w Fields, object: &Object) {
        for (name, value) in record {
            if self.enough() {
                break;
            }
            self.path.key(name);
            match object.field(name) {
                None if System::ALL.iter().any(|system| system.name() == name) => {
                    self.tell_key(
                        "unknown_field",
                        format!("`{name}` is set by the store, and cannot be written"),
                    );
                }
                None if name.contains('.') && object.target(name).is_ok() => {
                    let (head, part) = name.split_once('.').unwrap_or((name, ""));
                    let hint = format!("write `{head}: {{ {part}: … }}`");
                    self.tell_key("unknown_field", format!("the parts of `{head}` are written inside it"))
                        .set_hint(hint);
                }
                None => {
                    if let Err(unknown) = object.target(name) {
                        self.tell_key("unknown_field", unknown.message).hint = unknown.hint;
                    }
                }
                Some(field) => self.field_value(value, field, object),
            }
            self.path.pop();
        }
    }

    fn field_value(&mut self, value: &'w Value, field: &Field, object: &Object) {
        let parts = field.kind.parts();
        if let (false, Value::Object(given)) = (parts.is_empty(), value) {
            for (part, inner) in given {
                self.path.key(part);
                let whole = format!("{}.{part}", field.name);
                match object.target(&whole) {
                    Ok(target) => self.fitting(inner, &target, &target.described(), &whole, None),
                    Err(unknown) => {
                        self.tell_key("unknown_field", unknown.message).hint = unknown.hint;
                    }
                }
                self.path.pop();
            }
            return;
        }
        let described = if parts.is_empty() {
            object.target(&field.name).map(|target| target.described()).unwrap_or_default()
        } else {
            let names: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
            format!("a map with {}", names.join(", "))
        };
        let target = Target::Field { field, part: None };
        self.fitting(value, &target, &described, &field.name, field.kind.options());
    }

    /// A value that the field can never hold.
    fn fitting(
        &mut self,
        value: &Value,
        target: &Target<'_>,
        described: &str,
        name: &str,
        options: Option<&[String]>,
    ) {
        let kind = target.kind();
        let kinds = self.kinds_of(value);
        if holds_template(value) {
            if !kinds.may_be(held(kind).or(Kinds::NULL)) {
                let message = format!("`{name}` takes {described}, and this is {}", kinds.describe());
                self.tell("invalid_field_value", message).hint = made_fit(kinds, kind).map(str::to_owned);
            }
            return;
        }
        if fits(value, kind, options) {
            if kind != Kind::Composite
                && let Some((message, hint)) = misfit(target, value)
            {
                self.tell("invalid_field_value", format!("`{name}`: {message}")).hint = hint;
            }
            return;
        }
        let shown = self.node().describe();
        let hint = match (value, kind) {
            (Value::String(text), Kind::Boolean) => match text.as_str() {
                "yes" | "on" | "y" | "Yes" | "On" => {
                    Some("in YAML 1.2 this is a text; write true".to_owned())
                }
                "no" | "off" | "n" | "No" | "Off" => {
                    Some("in YAML 1.2 this is a text; write false".to_owned())
                }
                _ => None,
            },
            (Value::String(text), Kind::Number | Kind::Integer | Kind::Rating) => {
                let digits = text.replace('_', "");
                digits.parse::<f64>().is_ok().then(|| format!("write it without quotes and `_`: {digits}"))
            }
            (Value::Number(_) | Value::Bool(_), Kind::Text) if self.node().style == Style::Plain => {
                Some(format!("quote it when it is meant as text: \"{value}\""))
            }
            (Value::String(text), Kind::Select) => options
                .and_then(|options| self.nearest(text, options.iter().map(String::as_str)))
                .map(|near| format!("did you mean `{near}`?")),
            _ => None,
        };
        self.tell("invalid_field_value", format!("`{name}` takes {described}, not {shown}")).hint = hint;
    }

    /// Fields that a new record cannot be without.
    fn required(&mut self, record: &'w Fields, object: &Object) {
        let missing: Vec<String> = object
            .fields
            .iter()
            .filter(|field| field.required && field.default.is_none() && !record.contains_key(&field.name))
            .map(|field| format!("`{}`", field.name))
            .collect();
        if !missing.is_empty() {
            let message = format!("a new {} needs {}", object.name, missing.join(", "));
            self.tell_key("missing_field", message);
        }
    }

    fn unique_set(&mut self, upsert: &'w UpsertRecord, object: &Object) {
        let mut known = true;
        for (index, name) in upsert.match_on.iter().enumerate() {
            if self.enough() {
                break;
            }
            self.path.index(index);
            if let Err(unknown) = object.target(name) {
                known = false;
                self.tell("unknown_field", unknown.message).hint = unknown.hint;
            } else if !self.may_give(&upsert.record, name) {
                let message = format!("`match` looks for `{name}`, which `record` does not give");
                self.tell("missing_field", message).set_hint("the values to match are those of `record`");
            }
            self.path.pop();
        }
        if known && object.unique_set(&upsert.match_on).is_none() {
            let sets: BTreeSet<String> = object
                .unique
                .iter()
                .map(|unique| {
                    let names: Vec<_> = unique.paths.iter().map(|path| object.path_name(path)).collect();
                    format!("[{}]", names.join(", "))
                })
                .collect();
            let hint = if sets.is_empty() {
                format!("{} has no unique fields", object.name)
            } else {
                format!("its unique field sets are {}", Vec::from_iter(sets).join(" and "))
            };
            let message =
                format!("[{}] is no unique field set of {}", upsert.match_on.join(", "), object.name);
            self.tell("not_unique", message).set_hint(hint);
        }
    }

    fn sort(&mut self, sort: &'w str, object: &Object) {
        let name = sort.strip_prefix(['-', '+']).unwrap_or(sort);
        match object.target(name) {
            Err(unknown) => self.tell("unknown_field", unknown.message).hint = unknown.hint,
            Ok(target) if !target.kind().is_ordered() => {
                let parts: Vec<_> = object
                    .field(name)
                    .map(|field| field.kind.parts())
                    .unwrap_or_default()
                    .iter()
                    .filter(|(_, kind)| kind.is_ordered())
                    .map(|(part, _)| format!("`{name}.{part}`"))
                    .collect();
                let told = self.tell("invalid_value", format!("records cannot be sorted by `{name}`"));
                if !parts.is_empty() {
                    told.set_hint(format!("sort by one of its parts: {}", parts.join(", ")));
                }
            }
            Ok(_) => {}
        }
    }

    fn record_filter(&mut self, filter: &'w Value, object: &Object) {
        // What does not parse has been told when the document was read.
        let Ok(filter) = Filter::parse(filter, Allowed::FIELDS) else { return };
        for problem in filter.check_fields(object) {
            let field = problem.path.strip_suffix("field").filter(|at| at.is_empty() || at.ends_with('.'));
            let code = if field.is_some() { "unknown_field" } else { "invalid_filter" };
            let (at, key) = problem.path.rsplit_once('.').unwrap_or(("", &problem.path));
            self.at_inner(at, key, |me| me.tell(code, problem.message).hint = problem.hint);
        }
        // What comes out of the templates.
        filter.visit_conditions(&mut |at, condition| {
            let Subject::Field(name) = &condition.subject else { return };
            let Ok(target) = object.target(name) else { return };
            for test in condition.tests.iter().filter(|test| holds_template(&test.value)) {
                let kinds = self.kinds_of(&test.value);
                if kinds.may_be(asked(test.operand, target.kind())) {
                    continue;
                }
                let operand = test.operand.name();
                let message = format!(
                    "`{name}` is {}, so `{operand}` cannot be asked with {}",
                    target.described(),
                    kinds.describe()
                );
                let hint = made_fit(kinds, target.kind()).map(str::to_owned);
                self.at_inner(at, operand, |me| me.tell("invalid_filter", message).hint = hint);
            }
        });
    }
}

/// The value that a record in a document gives to `emails.primaryEmail`.
pub(super) fn lookup<'v>(record: &'v Fields, name: &str) -> Option<&'v Value> {
    let (head, part) = match name.split_once('.') {
        Some((head, part)) => (head, Some(part)),
        None => (name, None),
    };
    match (record.get(head)?, part) {
        (Value::Object(parts), Some(part)) => parts.get(part),
        (Value::Null, _) => None,
        (value, _) => Some(value),
    }
}

fn holds_template(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{"),
        Value::Array(items) => items.iter().any(holds_template),
        Value::Object(map) => map.values().any(holds_template),
        _ => false,
    }
}

fn fits(value: &Value, kind: Kind, options: Option<&[String]>) -> bool {
    match (kind, value) {
        (_, Value::Null) | (Kind::Json, _) => true,
        (Kind::Boolean, Value::Bool(_)) | (Kind::Number, Value::Number(_)) => true,
        (Kind::Integer, Value::Number(number)) => number.as_f64().is_some_and(|n| n.fract() == 0.0),
        (Kind::Rating, Value::Number(number)) => number.as_u64().is_some_and(|n| (1..=5).contains(&n)),
        (Kind::Composite, Value::Object(_)) => true,
        (kind, Value::Array(items)) if kind.is_list() => match options {
            Some(options) => {
                items.iter().all(|item| item.as_str().is_some_and(|item| options.iter().any(|o| o == item)))
            }
            None => true,
        },
        (Kind::Select, Value::String(text)) => {
            options.is_none_or(|options| options.iter().any(|o| o == text))
        }
        (Kind::Boolean | Kind::Number | Kind::Integer | Kind::Rating | Kind::Composite, _) => false,
        (kind, Value::String(_)) => !kind.is_list(),
        _ => false,
    }
}

/// The kinds of values that a field of the kind can hold.
pub(super) fn held(kind: Kind) -> Kinds {
    match kind {
        Kind::Json => Kinds::ANY,
        Kind::Number | Kind::Integer | Kind::Rating => Kinds::NUMBER,
        Kind::Boolean => Kinds::BOOLEAN,
        Kind::Composite => Kinds::OBJECT,
        kind if kind.is_list() => Kinds::LIST,
        _ => Kinds::TEXT,
    }
}

/// What would make a value of these kinds one that a field can hold.
fn made_fit(kinds: Kinds, kind: Kind) -> Option<&'static str> {
    match (kinds.without(Kinds::NULL), kind) {
        (Kinds::TEXT, Kind::Number) => Some("make a number of it: `| float`"),
        (Kinds::TEXT, Kind::Integer | Kind::Rating) => Some("make a number of it: `| int`"),
        (Kinds::TEXT, Kind::Boolean) => Some("compare it with something, or use `| bool`"),
        (Kinds::NUMBER | Kinds::BOOLEAN, Kind::Text) => Some("make a text of it: `| string`"),
        (Kinds::LIST, Kind::Text) => Some("make a text of it: `| join(\", \")`"),
        _ => None,
    }
}

/// The kinds of values that a condition on a field of the kind can be asked with.
fn asked(operand: Operand, kind: Kind) -> Kinds {
    match operand {
        Operand::IsEmpty => Kinds::BOOLEAN,
        Operand::In | Operand::NotIn | Operand::ContainsAny | Operand::ContainsAll => Kinds::LIST,
        _ if kind == Kind::Json => Kinds::ANY,
        Operand::Is | Operand::IsNot => held(kind),
        Operand::Within => Kinds::ANY,
        _ if kind.is_list() => Kinds::TEXT,
        _ => held(kind),
    }
}

fn type_of_field(field: &Field) -> Ty {
    let parts = field.kind.parts();
    if parts.is_empty() {
        return type_of_kind(field.kind.kind()).nullable();
    }
    Ty::object(
        &format!("`{}`", field.name),
        parts.iter().map(|(name, kind)| (*name, type_of_kind(*kind).nullable())).collect(),
    )
}

fn type_of_kind(kind: Kind) -> Ty {
    match kind {
        Kind::Number | Kind::Integer | Kind::Rating => Ty::Number,
        Kind::Boolean => Ty::Boolean,
        Kind::Json | Kind::Composite => Ty::Any,
        Kind::LinkList | Kind::PhoneList => Ty::list(Ty::Any),
        kind if kind.is_list() => Ty::list(Ty::Text),
        _ => Ty::Text,
    }
}
