//! Paths through types, and the types of values that stand in the document.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value;

use super::bounds::{Budget, Type};
use super::checker::Checker;
use super::types::{Object, Rest, Rule, Ty};
use crate::expr::{Kinds, Segment};
use crate::model::Fields;

impl Checker<'_> {
    /// The type of a value that may hold templates.
    pub(super) fn type_of(&self, value: &Value) -> Type {
        Type::from(match value {
            Value::Null => Ty::Any,
            Value::Bool(_) => Ty::Boolean,
            Value::Number(_) => Ty::Number,
            Value::String(text) => return self.type_of_text(text),
            Value::Array(items) => {
                let mut types: Vec<Type> = items.iter().map(|item| self.type_of(item)).collect();
                types.dedup();
                match types.len() {
                    1 => Ty::List(types.remove(0)),
                    _ => Ty::list(Ty::Any),
                }
            }
            Value::Object(map) => self.type_of_map(map, None),
        })
    }

    /// The type of what `set` gives.
    pub(super) fn type_of_fields(&self, fields: &Fields, id: &str) -> Type {
        Type::from(self.type_of_map(fields, Some(format!("`{id}`").into())))
    }

    fn type_of_map(&self, fields: &Fields, label: Option<Rc<str>>) -> Ty {
        Ty::Object(Object {
            label,
            fields: fields.iter().map(|(key, value)| (key.clone(), self.type_of(value))).collect(),
            required: Vec::new(),
            rest: Rest::Closed,
        })
    }

    pub(super) fn type_of_text(&self, text: &str) -> Type {
        if !text.contains("{{") || !crate::document::is_one_expression(text) {
            return Type::from(Ty::Text);
        }
        let Some(looked) = self.looked.get(text) else { return Type::from(Ty::Any) };
        // A bare path says more than what kind of value comes out.
        match &looked.path {
            Some((root, path)) => self.type_at(root, path),
            None => Type::from(Ty::of_kinds(looked.gives)),
        }
    }

    /// The type of what a path leads to, as far as it is known here.
    pub(super) fn type_at(&self, root: &str, path: &[Segment]) -> Type {
        let any = || Type::from(Ty::Any);
        let root = match root {
            "trigger" => Some(&self.trigger),
            "error" => self.scope.error.as_ref(),
            "item" => self.scope.item.as_ref(),
            "index" if self.scope.item.is_some() => return Type::from(Ty::Number),
            "run" | "workflow" | "settings" | "state" | "steps" | "secrets" => return any(),
            name => self.scope.get(name),
        };
        root.and_then(|root| self.walk(root, path, true).ok()).unwrap_or_else(any)
    }

    /// The kinds of what a value comes to, whose templates have just been looked at.
    pub(super) fn kinds_of(&self, value: &Value) -> Kinds {
        match value {
            Value::String(text) if text.contains("{{") => {
                self.looked.get(text.as_str()).map_or(Kinds::ANY, |looked| looked.gives)
            }
            other => Kinds::of(other),
        }
    }

    /// The kinds of what is made a text: those of the expression that is all there is, or else a text.
    pub(super) fn kinds_shown(&self, text: &str) -> Kinds {
        match self.looked.get(text) {
            Some(looked) => looked.single.unwrap_or(looked.gives),
            None if text.contains("{{") => Kinds::ANY,
            None => Kinds::TEXT,
        }
    }

    /// The type at the end of a path. `guarded`: what is missing is dealt with by the template.
    pub(super) fn walk(&self, ty: &Type, path: &[Segment], guarded: bool) -> Result<Type, Miss> {
        Walk { guarded, looks: &self.looks }.from(ty, path)
    }
}

/// Why a path cannot be walked, and at which of its segments.
pub(super) struct Miss {
    pub at: usize,
    pub why: Why,
}

pub(super) enum Why {
    /// These objects do not have it.
    Unknown(Vec<Type>),
    NoParts(&'static str),
    IsList,
    NotInEvery,
}

/// Who gives the objects, when it is one, and the names that they have.
pub(super) fn known(objects: &[Type]) -> (Option<Rc<str>>, Vec<&str>) {
    let objects: Vec<&Object> = objects.iter().filter_map(|ty| ty.as_object()).collect();
    let mut labels: Vec<_> = objects.iter().map(|object| object.label.clone()).collect();
    labels.dedup();
    let label = if labels.len() == 1 { labels.remove(0) } else { None };
    let names = match objects.as_slice() {
        [one] => one.names().collect(),
        several => several.iter().flat_map(|one| one.names()).collect::<BTreeSet<_>>().into_iter().collect(),
    };
    (label, names)
}

struct Walk<'b> {
    guarded: bool,
    looks: &'b Budget,
}

impl Walk<'_> {
    fn from(&self, ty: &Type, path: &[Segment]) -> Result<Type, Miss> {
        let mut here = ty.clone();
        for (at, segment) in path.iter().enumerate() {
            here = here.bare().clone();
            let next = match (&*here, segment) {
                (Ty::Any, _) => return Ok(here),
                (Ty::OneOf { of, rule }, _) => return self.one_of(of, *rule, &path[at..], at),
                (Ty::Object(object), Segment::Key(key)) => {
                    // A name is found by looking through them all.
                    if !self.looks.spend(object.fields.len() / 32) {
                        return Ok(Type::from(Ty::Any));
                    }
                    match (object.field(key), &object.rest) {
                        (Some(field), _) => field.clone(),
                        (None, Rest::Open(rest)) => rest.clone(),
                        (None, Rest::Unsaid) if self.guarded => Type::from(Ty::Any),
                        _ => return Err(Miss { at, why: Why::Unknown(vec![here.clone()]) }),
                    }
                }
                (Ty::List(item), Segment::Index(_)) => item.clone(),
                (Ty::List(_), Segment::Key(_)) => return Err(Miss { at, why: Why::IsList }),
                (Ty::Text, Segment::Index(_)) => here.clone(),
                (other, _) => return Err(Miss { at, why: Why::NoParts(other.describe()) }),
            };
            here = next;
        }
        Ok(here)
    }

    /// Each alternative goes its own way, and may come to more of them: only the budget ends that.
    fn one_of(&self, of: &[Type], rule: Rule, path: &[Segment], base: usize) -> Result<Type, Miss> {
        let mut good = Vec::new();
        let mut bad: Vec<Miss> = Vec::new();
        for one in of {
            if !self.looks.spend(1) {
                return Ok(Type::from(Ty::Any));
            }
            match self.from(one, path) {
                Ok(ty) => good.push(ty),
                Err(miss) => bad.push(Miss { at: miss.at + base, ..miss }),
            }
        }
        if rule == Rule::Every && !bad.is_empty() && !good.is_empty() && !self.guarded {
            return Err(Miss { at: base, why: Why::NotInEvery });
        }
        if !good.is_empty() {
            return Ok(Type::one_of(good, rule));
        }
        // The alternatives that have other names where the path fails first: all of their names can be meant.
        let Some(first) = bad.first() else {
            return Ok(Type::from(Ty::Any));
        };
        let at = first.at;
        let same = bad.iter().filter(|miss| miss.at == at);
        let objects: Vec<Type> = same
            .filter_map(|miss| match &miss.why {
                Why::Unknown(objects) => Some(objects.iter().cloned()),
                _ => None,
            })
            .flatten()
            .collect();
        if objects.iter().filter_map(|ty| ty.as_object()).all(|object| object.fields.is_empty()) {
            return bad.into_iter().next().map_or_else(|| Ok(Type::from(Ty::Any)), Err);
        }
        Err(Miss { at, why: Why::Unknown(objects) })
    }
}
