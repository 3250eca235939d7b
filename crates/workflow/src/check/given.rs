//! Values that stand in the document one by one, or that one template gives as a whole.

use std::collections::BTreeSet;

use stepwell_records::schema::{Object, System, Target};

use super::bounds::Type;
use super::checker::Checker;
use super::records::{held, lookup};
use super::types::{self, Rest, Ty};
use crate::expr::{Kinds, Mode, Segment};
use crate::model::{Given, IfUnchanged, UpdateRecord};

impl<'w> Checker<'w> {
    /// Values by name: each, or the template that gives them.
    pub(super) fn given(&mut self, key: &str, given: &'w Given, mode: Mode) {
        match given {
            Given::Each(fields) => self.fields(fields, mode),
            Given::Whole(template) => {
                self.template(template, Mode::Value);
                let kinds = self.kinds_shown(template);
                if !kinds.may_be(Kinds::OBJECT) {
                    let message = format!("`{key}` takes a map of values, and this is {}", kinds.describe());
                    self.tell("wrong_type", message)
                        .set_hint("a template that gives an object can stand for all of it");
                }
            }
        }
    }

    /// The type of what such values come to; `label` is who gives it.
    pub(super) fn type_of_given(&self, given: &Given, label: &str) -> Type {
        match given {
            Given::Each(fields) => self.type_of_fields(fields, label),
            Given::Whole(template) => self.type_of_text(template),
        }
    }

    /// The fields of a record that one template gives, as far as its type says them.
    pub(super) fn whole_record(&mut self, template: &str, object: &Object, is_new: bool) {
        let ty = self.type_of_text(template);
        let Ty::Object(given) = &**ty.bare() else { return };
        let is_system = |name: &str| System::ALL.iter().any(|system| system.name() == name);
        let (system, fields): (Vec<_>, Vec<_>) = given.fields.iter().partition(|(name, _)| is_system(name));
        for (name, ty) in fields {
            if self.enough() {
                return;
            }
            self.field_of_whole(name, ty, object);
        }
        if !system.is_empty() {
            let names: Vec<String> = system.iter().map(|(name, _)| format!("`{name}`")).collect();
            let message = format!("what this gives has {}, set by the store alone", names.join(", "));
            self.tell("unknown_field", message)
                .set_hint("name the fields that are to be written, or give them as a map of their own");
        }
        if !is_new || given.rest != Rest::Closed {
            return;
        }
        let without = |name: &str| given.field(name).is_none();
        let missing: Vec<String> = (object.fields.iter())
            .filter(|field| field.required && field.default.is_none() && without(&field.name))
            .map(|field| format!("`{}`", field.name))
            .collect();
        if !missing.is_empty() {
            let message = format!("a new {} needs {}", object.name, missing.join(", "));
            self.tell("missing_field", message);
        }
    }

    fn field_of_whole(&mut self, name: &str, ty: &Type, object: &Object) {
        let Some(field) = object.field(name) else {
            let unknown = object.target(name).err();
            let message = format!("what this gives has `{name}`, and {} has no such field", object.name);
            self.tell("unknown_field", message).hint = unknown.and_then(|unknown| unknown.hint);
            return;
        };
        let parts = field.kind.parts();
        if let (false, Ty::Object(types::Object { fields, .. })) = (parts.is_empty(), &**ty.bare()) {
            for (part, _) in fields.iter().filter(|(part, _)| !parts.iter().any(|(known, _)| known == part)) {
                let message = format!("what this gives has `{name}.{part}`");
                let unknown = object.target(&format!("{name}.{part}")).err();
                let message =
                    unknown.as_ref().map_or(message.clone(), |u| format!("{message}: {}", u.message));
                self.tell("unknown_field", message).hint = unknown.and_then(|unknown| unknown.hint);
            }
            return;
        }
        let target = Target::Field { field, part: None };
        let kinds = ty.kinds();
        if !kinds.may_be(held(target.kind()).or(Kinds::NULL)) {
            let message =
                format!("`{name}` takes {}, and what this gives is {}", target.described(), kinds.describe());
            self.tell("invalid_field_value", message);
        }
    }

    /// Whether a record may give a value to `emails.primaryEmail`.
    pub(super) fn may_give(&self, record: &Given, name: &str) -> bool {
        match record {
            Given::Each(fields) => lookup(fields, name).is_some(),
            Given::Whole(template) => {
                let path: Vec<Segment> = name.split('.').map(|key| Segment::Key(key.to_owned())).collect();
                let ty = self.type_of_text(template);
                // What is no map has been told.
                !ty.kinds().may_be(Kinds::OBJECT) || self.walk(&ty, &path, true).is_ok()
            }
        }
    }

    /// What an update counts on nobody having changed.
    pub(super) fn if_unchanged(
        &mut self,
        unchanged: &'w IfUnchanged,
        update: &'w UpdateRecord,
        object: Option<&Object>,
    ) {
        self.under("since", |me| me.given("since", &unchanged.since, Mode::Value));
        let Some(object) = object else { return };
        self.path.key("fields");
        for (index, name) in unchanged.fields.iter().enumerate() {
            if self.enough() {
                break;
            }
            self.path.index(index);
            match object.target(name) {
                Ok(Target::System(_)) => {
                    self.tell("unknown_field", format!("`{name}` is set by the store"))
                        .set_hint("name fields that are written; `if_version` is for the whole record");
                }
                Ok(_) => {}
                Err(unknown) => self.tell("unknown_field", unknown.message).hint = unknown.hint,
            }
            self.path.pop();
        }
        self.path.pop();
        let head = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
        let asked: BTreeSet<String> = match unchanged.fields.as_slice() {
            [] => update.record.each().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            fields => fields.iter().map(|name| head(name)).collect(),
        };
        // A field that does not exist has been told.
        let known = asked.into_iter().filter(|name| object.field(name).is_some());
        let says = |name: &String| match &unchanged.since {
            // Null is a statement.
            Given::Each(fields) => fields.contains_key(name),
            since => self.may_give(since, name),
        };
        let silent: Vec<String> = known.filter(|name| !says(name)).collect();
        if !silent.is_empty() {
            let names: Vec<String> = silent.iter().map(|name| format!("`{name}`")).collect();
            let message = format!("`since` says nothing of {}", names.join(", "));
            self.under("since", |me| {
                me.tell("missing_field", message).set_hint(
                    "give the record as it was read, such as \"{{ find.records[0] }}\"; null is for a field that is to be empty",
                )
            });
        }
    }
}
