//! Paths through types, and the types of values that stand in the document.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::checker::Checker;
use super::types::{Object, Rest, Rule, Ty};
use crate::expr::{Kinds, Segment};
use crate::model::Fields;

impl Checker<'_> {
    /// The type of a value that may hold templates.
    pub(super) fn type_of(&self, value: &Value) -> Ty {
        match value {
            Value::Null => Ty::Any,
            Value::Bool(_) => Ty::Boolean,
            Value::Number(_) => Ty::Number,
            Value::String(text) => self.type_of_text(text),
            Value::Array(items) => {
                let mut types: Vec<Ty> = items.iter().map(|item| self.type_of(item)).collect();
                types.dedup();
                match types.len() {
                    1 => Ty::list(types.remove(0)),
                    _ => Ty::list(Ty::Any),
                }
            }
            Value::Object(map) => Ty::Object(Object {
                label: None,
                fields: map.iter().map(|(key, value)| (key.clone(), Rc::new(self.type_of(value)))).collect(),
                required: Vec::new(),
                rest: Rest::Closed,
            }),
        }
    }

    /// The type of what `set` gives.
    pub(super) fn type_of_fields(&self, fields: &Fields, id: &str) -> Ty {
        Ty::Object(Object {
            label: Some(format!("`{id}`").into()),
            fields: fields.iter().map(|(key, value)| (key.clone(), Rc::new(self.type_of(value)))).collect(),
            required: Vec::new(),
            rest: Rest::Closed,
        })
    }

    pub(super) fn type_of_text(&self, text: &str) -> Ty {
        if !text.contains("{{") {
            return Ty::Text;
        }
        if !crate::document::is_one_expression(text) {
            return Ty::Text;
        }
        let Some(looked) = self.looked.get(text) else { return Ty::Any };
        // A bare path says more than what kind of value comes out.
        match &looked.path {
            Some((root, path)) => Ty::clone(&self.type_at(root, path)),
            None => Ty::of_kinds(looked.gives),
        }
    }

    /// The type of what a path leads to, as far as it is known here.
    pub(super) fn type_at(&self, root: &str, path: &[Segment]) -> Rc<Ty> {
        let any = || Rc::new(Ty::Any);
        let root = match root {
            "trigger" => Some(&self.trigger),
            "error" => self.scope.error.as_ref(),
            "item" => self.scope.item.as_ref(),
            "index" if self.scope.item.is_some() => return Rc::new(Ty::Number),
            "run" | "workflow" | "settings" | "state" | "steps" | "secrets" => return any(),
            name => self.scope.get(name),
        };
        root.and_then(|root| walk(root, path, true).ok()).unwrap_or_else(any)
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
}

/// Why a path cannot be walked, and at which of its segments.
pub(super) struct Miss {
    pub at: usize,
    pub why: Why,
}

pub(super) enum Why {
    Unknown { label: Option<Rc<str>>, names: Vec<String> },
    NoParts(&'static str),
    IsList,
    NotInEvery,
}

/// The type at the end of a path. `guarded`: what is missing is dealt with by the template.
pub(super) fn walk(ty: &Rc<Ty>, path: &[Segment], guarded: bool) -> Result<Rc<Ty>, Miss> {
    let mut here = ty.clone();
    for (at, segment) in path.iter().enumerate() {
        if let Ty::Nullable(inner) = &*here {
            here = inner.clone();
        }
        let next = match (&*here, segment) {
            (Ty::Any, _) => return Ok(Rc::new(Ty::Any)),
            (Ty::OneOf { of, rule }, _) => return one_of(of, *rule, &path[at..], guarded, at),
            (Ty::Object(object), Segment::Key(key)) => match (object.field(key), &object.rest) {
                (Some(field), _) => field.clone(),
                (None, Rest::Open(rest)) => rest.clone(),
                (None, Rest::Unsaid) if guarded => Rc::new(Ty::Any),
                _ => {
                    let names = object.names().map(str::to_owned).collect();
                    return Err(Miss { at, why: Why::Unknown { label: object.label.clone(), names } });
                }
            },
            (Ty::List(item), Segment::Index(_)) => item.clone(),
            (Ty::List(_), Segment::Key(_)) => return Err(Miss { at, why: Why::IsList }),
            (Ty::Text, Segment::Index(_)) => Rc::new(Ty::Text),
            (other, _) => return Err(Miss { at, why: Why::NoParts(other.describe()) }),
        };
        here = next;
    }
    Ok(here)
}

fn one_of(of: &[Rc<Ty>], rule: Rule, path: &[Segment], guarded: bool, base: usize) -> Result<Rc<Ty>, Miss> {
    let mut good = Vec::new();
    let mut bad: Vec<Miss> = Vec::new();
    for one in of {
        match walk(one, path, guarded) {
            Ok(ty) => good.push(ty),
            Err(miss) => bad.push(Miss { at: miss.at + base, ..miss }),
        }
    }
    if rule == Rule::Every && !bad.is_empty() && !good.is_empty() && !guarded {
        return Err(Miss { at: base, why: Why::NotInEvery });
    }
    if !good.is_empty() {
        return Ok(Ty::one_of(good, rule));
    }
    // The alternatives that have other names where the path fails first: all of their names can be meant.
    let Some(first) = bad.first() else {
        return Ok(Rc::new(Ty::Any));
    };
    let at = first.at;
    let mut names: BTreeMap<String, ()> = BTreeMap::new();
    let mut labels: Vec<Option<Rc<str>>> = Vec::new();
    for miss in &bad {
        if let (true, Why::Unknown { label, names: more }) = (miss.at == at, &miss.why) {
            names.extend(more.iter().map(|name| (name.clone(), ())));
            labels.push(label.clone());
        }
    }
    if names.is_empty() {
        return bad.into_iter().next().map_or_else(|| Ok(Rc::new(Ty::Any)), Err);
    }
    labels.dedup();
    let label = if labels.len() == 1 { labels.remove(0) } else { None };
    Err(Miss { at, why: Why::Unknown { label, names: names.into_keys().collect() } })
}
