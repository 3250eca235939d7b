//! Code steps: the action, its version, its limits, and whether the input can fit.

use serde_json::Value;

use super::bounds::{Budget, Suggestions, Type};
use super::catalog::ActionLookup;
use super::checker::Checker;
use super::types::{Object, Rest, Rule, Ty};
use crate::document::Path;
use crate::expr::Mode;
use crate::model::{ByteSize, Code, VersionWanted};
use crate::problem::MAX_PROBLEMS;

impl<'w> Checker<'w> {
    pub(super) fn code(&mut self, code: &'w Code) -> Type {
        self.under("input", |me| me.value(&code.input, Mode::Secrets));
        self.limits(code);
        match self.catalog.action(&code.action) {
            ActionLookup::Found(info) => {
                let label = format!("{} {}", info.name, info.version);
                self.fits(&code.input, info.input_schema.as_ref(), &label);
                let key = code.action.to_string();
                if let Some(ty) = self.actions.get(&key) {
                    return ty.clone();
                }
                let label = format!("{} {}", info.name, info.version);
                let ty = Type::from(super::steps::schema_or_any(info.output_schema.as_ref(), &label));
                self.actions.insert(key, ty.clone());
                return ty;
            }
            ActionLookup::OtherVersions(versions) => {
                let wanted = match &code.action.version {
                    VersionWanted::Exact(version) => format!("no version {version}"),
                    VersionWanted::Major(major) => format!("no version {major}.x"),
                    VersionWanted::Latest => "no version".into(),
                };
                let message = format!("the action `{}` has {wanted}", code.action.name);
                let hint = match versions.iter().max() {
                    Some(latest) => {
                        let all: Vec<_> = versions.iter().map(ToString::to_string).collect();
                        format!(
                            "its versions are {}; the latest is `{}@{latest}`",
                            all.join(", "),
                            code.action.name
                        )
                    }
                    None => "push one with `stepwell action push`".into(),
                };
                self.under("action", |me| me.tell("unknown_action", message).set_hint(hint));
            }
            ActionLookup::Unknown(names) => {
                let message = format!("there is no action `{}`", code.action.name);
                let hint = match self.nearest(&code.action.name, names.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if names.is_empty() => {
                        "no action has been pushed yet: `stepwell action push`".into()
                    }
                    None => format!("actions are {}", names.join(", ")),
                };
                self.under("action", |me| me.tell("unknown_action", message).set_hint(hint));
            }
            ActionLookup::NotKnown => {}
        }
        Type::from(Ty::Any)
    }

    fn limits(&mut self, code: &'w Code) {
        let maxima = self.catalog.maxima().each();
        self.path.key("limits");
        for ((name, limit), (_, maximum)) in code.limits.each().into_iter().zip(maxima) {
            let (Some(limit), Some(maximum)) = (limit, maximum) else { continue };
            if limit <= maximum {
                continue;
            }
            let shown = |amount: u64| {
                if name.ends_with("_bytes") { ByteSize(amount).to_string() } else { amount.to_string() }
            };
            let message =
                format!("`{name}` is {}; this host allows at most {}", shown(limit), shown(maximum));
            self.under(name, |me| {
                me.tell("limit_too_high", message).set_hint("a step may only lower what the host allows")
            });
        }
        self.path.pop();
    }

    /// What certainly does not fit the schema of what is given it.
    pub(super) fn fits(&mut self, input: &'w Value, schema: Option<&Value>, label: &str) {
        let Some(schema) = schema else { return };
        let wanted = match self.inputs.get(label) {
            Some(ty) => ty.clone(),
            None => Type::from(Ty::of_schema(schema, label)),
        };
        self.inputs.insert(label.to_owned(), wanted.clone());
        let given = self.type_of(input);
        let mut misfits = Vec::new();
        Comparison { looks: &self.looks, suggestions: &self.suggestions, path: Vec::new() }.compare(
            &given,
            &wanted,
            &mut misfits,
        );
        for misfit in misfits {
            let mut inner = Path::default();
            for part in &misfit.path {
                inner.key(part);
            }
            let at = if inner.0.is_empty() { "the input".to_owned() } else { format!("`{inner}`") };
            let message = match &misfit.what {
                What::Missing(name) => format!("{label} needs `{name}`, which {at} does not have"),
                What::Unknown { name, .. } => format!("{label} does not take `{name}`"),
                What::Type { given, wanted } => {
                    format!("{label} takes {wanted} as {at}, and this is {given}")
                }
            };
            let mut target = misfit.path.join(".");
            if let What::Unknown { name, .. } = &misfit.what {
                target = if target.is_empty() { name.clone() } else { format!("{target}.{name}") };
            }
            let hint = match &misfit.what {
                What::Unknown { name, known } => {
                    let near = self.nearest(name, known.iter().map(String::as_str));
                    Some(match near {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("it takes {}", known.join(", ")),
                    })
                }
                _ => None,
            };
            self.path.key("input");
            self.at_inner(&target, "", |me| {
                let told = match &misfit.what {
                    What::Type { .. } => me.tell("invalid_input", message),
                    _ => me.tell_key("invalid_input", message),
                };
                told.hint = hint;
            });
            self.path.pop();
        }
    }
}

struct Misfit {
    path: Vec<String>,
    what: What,
}

enum What {
    Missing(String),
    Unknown { name: String, known: Vec<String> },
    Type { given: &'static str, wanted: &'static str },
}

/// A value of one type held against another, as long as there is something left of the budget.
struct Comparison<'b> {
    looks: &'b Budget,
    suggestions: &'b Suggestions,
    path: Vec<String>,
}

impl Comparison<'_> {
    /// Notes where a value of one type can never be one of the other.
    fn compare(&mut self, given: &Type, wanted: &Type, misfits: &mut Vec<Misfit>) {
        if !self.looks.spend(1) {
            return;
        }
        match (&**given.bare(), &**wanted.bare()) {
            (Ty::Any, _) | (_, Ty::Any) => {}
            (Ty::OneOf { of, rule: Rule::Every }, _) if !of.is_empty() => {
                // Certain only when no arm fits, and then the first one says why.
                let mut first = None;
                for one in of {
                    let mut inner = Vec::new();
                    self.compare(one, wanted, &mut inner);
                    if inner.is_empty() {
                        return;
                    }
                    first.get_or_insert(inner);
                }
                misfits.extend(first.unwrap_or_default());
            }
            (Ty::OneOf { .. }, _) => {}
            (_, Ty::OneOf { of, .. }) => {
                let fits = of.iter().any(|one| {
                    let mut inner = Vec::new();
                    self.compare(given, one, &mut inner);
                    inner.is_empty()
                });
                if !fits {
                    self.misfit(misfits, What::Type { given: given.describe(), wanted: "something else" });
                }
            }
            (Ty::Object(given), Ty::Object(wanted)) => self.objects(given, wanted, misfits),
            (Ty::List(given), Ty::List(wanted)) if !matches!(**given, Ty::Object(_)) => {
                self.compare(given, wanted, misfits);
            }
            (given, wanted) if std::mem::discriminant(given) != std::mem::discriminant(wanted) => {
                self.misfit(misfits, What::Type { given: given.describe(), wanted: wanted.describe() });
            }
            _ => {}
        }
    }

    fn misfit(&self, misfits: &mut Vec<Misfit>, what: What) {
        if misfits.len() <= MAX_PROBLEMS {
            misfits.push(Misfit { path: self.path.clone(), what });
        }
    }

    fn objects(&mut self, given: &Object, wanted: &Object, misfits: &mut Vec<Misfit>) {
        // Only a map that stands in the document is known to have nothing else.
        let written = given.label.is_none() && given.rest == Rest::Closed;
        if written && self.looks.spend(wanted.required.len() * given.fields.len() / 32) {
            for name in wanted.required.iter().filter(|name| given.field(name).is_none()) {
                self.misfit(misfits, What::Missing(name.clone()));
            }
        }
        for (name, ty) in &given.fields {
            if misfits.len() > MAX_PROBLEMS || !self.looks.spend(1 + wanted.fields.len() / 32) {
                return;
            }
            match wanted.field(name) {
                Some(field) => {
                    self.path.push(name.clone());
                    self.compare(ty, field, misfits);
                    self.path.pop();
                }
                None if written && (wanted.rest == Rest::Closed || self.is_misspelt(name, given, wanted)) => {
                    let known = wanted.names().map(str::to_owned).collect();
                    self.misfit(misfits, What::Unknown { name: name.clone(), known });
                }
                None => {}
            }
        }
    }

    /// Whether a key was surely meant to be another: the schema does not say that there is nothing else, but has a name much
    /// like it, which is not given.
    fn is_misspelt(&self, name: &str, given: &Object, wanted: &Object) -> bool {
        if wanted.rest != Rest::Unsaid || !self.looks.spend(wanted.fields.len() * given.fields.len() / 32) {
            return false;
        }
        let missing = wanted.names().filter(|name| given.field(name).is_none());
        self.suggestions.nearest(name, missing).is_some()
    }
}
