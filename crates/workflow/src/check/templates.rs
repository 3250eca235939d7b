//! What templates refer to: whether it has certainly run, and whether it gives what is asked for.

use serde_json::Value;

use super::bounds::Type;
use super::checker::{Checker, Looked};
use super::infer::{Miss, Why, known};
use super::scope::{Known, ListKind, Place};

use super::types::Ty;
use crate::expr::{Mode, Reference, Segment, Template};
use crate::model::{Fields, StepKind, Workflow};

/// What the run and the workflow say of themselves.
const RUN: &[&str] = &["id", "started_at"];
const WORKFLOW: &[&str] = &["name", "version"];
/// What `steps.ID` has.
const STEP: &[&str] = &["status", "error", "output"];
/// How many names a message lists.
const LISTED: usize = 12;

impl<'w> Checker<'w> {
    /// Every template in a value, with its place.
    pub(super) fn value(&mut self, value: &'w Value, mode: Mode) {
        match value {
            Value::String(text) => self.template(text, mode),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if self.enough() {
                        return;
                    }
                    self.path.index(index);
                    self.value(item, mode);
                    self.path.pop();
                }
            }
            Value::Object(map) => self.fields(map, mode),
            _ => {}
        }
    }

    pub(super) fn fields(&mut self, fields: &'w Fields, mode: Mode) {
        for (key, value) in fields {
            if self.enough() {
                return;
            }
            self.under(key, |me| me.value(value, mode));
        }
    }

    /// Its syntax, and everything it refers to.
    pub(super) fn template(&mut self, text: &'w str, mode: Mode) {
        if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
            return;
        }
        match Template::compile(text, mode) {
            Ok(template) => {
                for reference in template.references() {
                    if self.enough() {
                        return;
                    }
                    let reference = Reference { at: start(reference, text), ..reference.clone() };
                    self.reference(&reference, text);
                }
                self.look(&template, text);
            }
            Err(error) => {
                let length = error.expression.lines().next().unwrap_or("").len().max(1);
                let (from, to) = self.place_in(error.at, length);
                let message = format!("{}: {}", self.user(), plainly(&error.message));
                self.tell_at(from, to, "template_syntax", message).hint = error.hint;
            }
        }
    }

    /// What comes out of it, and what in it can never be made.
    fn look(&mut self, template: &Template, text: &'w str) {
        let certain = template.certain(&|root, path| self.type_at(root, path).kinds());
        let moved = text.len() - text.trim_start_matches(['\n', '\r']).len();
        let moved = if template.source().len() == text.len() { 0 } else { moved };
        for clash in certain.clashes {
            let (from, to) = self.place_in(clash.at + moved, clash.part.len());
            let message = format!("{}: {}", self.user(), clash.message);
            self.tell_at(from, to, "type_mismatch", message);
        }
        let inner = text.trim().trim_start_matches("{{").trim_end_matches("}}").trim_matches(['-', ' ']);
        let is_path = inner.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.[]".contains(&b));
        let path = match template.references() {
            [one] if is_path && certain.single.is_some() => Some((one.root.clone(), one.path.clone())),
            _ => None,
        };
        self.looked.insert(text, Looked { gives: certain.gives, single: certain.single, path });
    }

    /// The bytes in the document of a part of the text at the present path.
    fn place_in(&self, offset: usize, length: usize) -> (usize, usize) {
        let from = self.node().place_inside(self.source, offset);
        (from, from + length)
    }

    fn reference(&mut self, reference: &Reference, text: &str) {
        let written = written(reference, text);
        let Some(root) = self.root(reference, written) else { return };
        self.may_be_missing(reference, written, text);
        let rest = match reference.root.as_str() {
            "steps" | "secrets" => return,
            _ => reference.path.as_slice(),
        };
        if let Err(miss) = self.walk(&root, rest, reference.guarded) {
            self.tell_miss(miss, reference, written);
        }
    }

    /// The type of what a reference starts with; nothing when there is no such thing, which has been told.
    fn root(&mut self, reference: &Reference, written: &str) -> Option<Type> {
        let root = reference.root.as_str();
        let user = self.user();
        match (self.place, root) {
            (Place::Secret, "secrets")
            | (Place::Trigger, "trigger")
            | (Place::Start, "trigger" | "settings") => {}
            (Place::Secret, _) => {
                self.tell_reference(
                    reference,
                    written,
                    "unknown_reference",
                    "only `secrets.NAME` can stand here",
                    None,
                );
                return None;
            }
            (place @ (Place::Trigger | Place::Start), _) => {
                let message = format!("{user} uses `{written}`, but no step has run when that is asked");
                let hint = match place {
                    Place::Start => "only `trigger` and `settings` are there",
                    _ => "only `trigger` is there",
                };
                self.tell_reference(reference, written, "not_yet_run", message, Some(hint.into()));
                return None;
            }
            (Place::Steps, _) => {}
        }
        match root {
            "trigger" => return Some(self.trigger.clone()),
            "run" => return self.run_values(reference, written),
            "workflow" => return Some(Type::from(texts("the workflow", WORKFLOW))),
            "settings" => return self.setting(reference, written),
            // What is kept is known when a run reads it.
            "state" => return Some(Type::from(Ty::Any)),
            "secrets" => return self.secret_name(reference, written),
            "steps" => return self.step_by_name(reference, written),
            "error" => {
                if self.scope.error.is_none() {
                    let message = format!("{user} uses `{written}`, but there is no error here");
                    let hint = "`error` is there in `on_error: { do: … }` and in `on_failure`; elsewhere `steps.ID.error`";
                    self.tell_reference(reference, written, "unknown_reference", message, Some(hint.into()));
                }
                return self.scope.error.clone();
            }
            "item" if self.scope.item.is_some() => return self.scope.item.clone(),
            "index" if self.scope.item.is_some() => return Some(Type::from(Ty::Number)),
            "item" | "index" => {
                let message = format!("{user} uses `{written}`, which exists only inside an iterator");
                self.tell_reference(reference, written, "unknown_reference", message, None);
                return None;
            }
            _ => {}
        }
        if let Some(ty) = self.scope.get(root) {
            return Some(ty.clone());
        }
        match self.known.get(root).copied() {
            Some(known) => self.not_yet_run(reference, written, known),
            None => {
                let message = format!("{user} uses `{written}`, but nothing here is called `{root}`");
                let mut names: Vec<&str> = self.scope.names().filter(|name| !name.is_empty()).collect();
                names.sort_unstable();
                names.extend(["trigger", "run", "workflow", "steps", "settings", "secrets", "state"]);
                names.extend(self.scope.item.iter().flat_map(|_| ["item", "index"]));
                let hint = match self.nearest(root, names.iter().copied()) {
                    Some(near) => format!("did you mean `{}`?", replaced(written, root, near)),
                    None => format!("there are {}", listed(names.iter().copied())),
                };
                self.tell_reference(reference, written, "unknown_reference", message, Some(hint));
            }
        }
        None
    }

    fn not_yet_run(&mut self, reference: &Reference, written: &str, known: Known<'w>) {
        let root = reference.root.as_str();
        let user = self.user();
        let own = self.steps.last().map(|step| step.id.as_str());
        let here = own.and_then(|id| self.known.get(id)).copied();
        let around = self.steps.iter().any(|step| step.id == root);
        let siblings =
            here.is_some_and(|here| here.inside == known.inside && here.list == ListKind::Parallel);
        let (message, hint) = if own == Some(root) {
            (format!("{user} uses its own output, `{written}`"), None)
        } else if around {
            (
                format!(
                    "{user} uses `{written}`, but stands inside `{root}`, whose output is not there before all of it is done"
                ),
                None,
            )
        } else if siblings && known.list == ListKind::Parallel {
            (
                format!("{user} uses `{written}`, but `{root}` starts at the same time"),
                Some(format!("add `needs: [{root}]` to {user}")),
            )
        } else if self.lists_around().any(|list| list == ListKind::OnFailure)
            && known.list != ListKind::OnFailure
        {
            (
                format!("{user} uses `{written}`, but `{root}` may not have run when the run has failed"),
                Some(format!("use `steps.{root}.status` or `steps.{root}.output` with `default()`")),
            )
        } else if here.is_some_and(|here| here.order < known.order) {
            (
                format!("{user} uses `{written}`, but `{root}` runs later"),
                Some(format!("put `{root}` before {user}")),
            )
        } else {
            let inside = known.inside.unwrap_or(root);
            let what = match known.list {
                ListKind::Item => "the steps for each item",
                ListKind::Handler => "the steps for when it fails",
                _ => "an arm that may not be taken",
            };
            let hint = match known.list {
                ListKind::Item => format!("use `{inside}.results`: it has what the items came to"),
                _ => format!("use `{inside}`: its output is that of what has run"),
            };
            (
                format!(
                    "{user} uses `{written}`, but `{root}` may not have run: it stands inside `{inside}`, in {what}"
                ),
                self.scope.get(inside).is_some().then_some(hint),
            )
        };
        self.tell_reference(reference, written, "not_yet_run", message, hint);
    }

    /// `steps.ID.status` and `.error` exist for every step, whether it has run or not.
    fn step_by_name(&mut self, reference: &Reference, written: &str) -> Option<Type> {
        let user = self.user();
        let Some(Segment::Key(id)) = reference.path.first() else {
            if reference.path.is_empty() {
                return Some(Type::from(Ty::Any));
            }
            let message = format!("{user} uses `{written}`; steps are found by their ids");
            self.tell_reference(
                reference,
                written,
                "unknown_reference",
                message,
                Some("write `steps.ID.status`".into()),
            );
            return None;
        };
        if !self.known.contains_key(id.as_str()) {
            let hint = self
                .nearest(id, self.known.keys().copied())
                .map(|near| format!("did you mean `steps.{near}`?"));
            let message = format!("{user} uses `{written}`, but there is no step `{id}`");
            self.tell_reference(reference, written, "unknown_reference", message, hint);
            return None;
        }
        if let Some(Segment::Key(part)) = reference.path.get(1)
            && !STEP.contains(&part.as_str())
        {
            let hint = match self.nearest(part, STEP.iter().copied()) {
                Some(near) => format!("did you mean `steps.{id}.{near}`?"),
                None => format!("for what the step gives, write `{id}.{part}`"),
            };
            let message = format!("{user} uses `{written}`; `steps.{id}` has {}", STEP.join(", "));
            self.tell_reference(reference, written, "unknown_path", message, Some(hint));
        }
        // The output of what has certainly not run is null, which has no parts.
        let here = self.steps.last().and_then(|step| self.known.get(step.id.as_str()));
        if let ([_, Segment::Key(part), _, ..], Some(known)) =
            (&reference.path[..], self.known.get(id.as_str()))
            && part == "output"
            && !reference.guarded
            && self.scope.get(id).is_none()
            && here.is_some_and(|here| here.order <= known.order)
        {
            let message = format!("{user} uses `{written}`, but `{id}` has not run by then");
            let without = format!("say what holds without it: `{written} | default('')`");
            let itself = self.steps.last().is_some_and(|step| step.id == *id);
            let hint = if itself { without } else { format!("put `{id}` before {user}, or {without}") };
            self.tell_reference(reference, written, "not_yet_run", message, Some(hint));
        }
        Some(Type::from(Ty::Any))
    }

    /// `run`, with the links of the steps that wait for a person.
    fn run_values(&mut self, reference: &Reference, written: &str) -> Option<Type> {
        let run = self.run.get_or_insert_with(|| run_type(&self.draft.workflow)).clone();
        if let [Segment::Key(links), Segment::Key(id), ..] = reference.path.as_slice()
            && links == "input_links"
            && self
                .known
                .get(id.as_str())
                .is_some_and(|known| matches!(known.step.kind, StepKind::WaitForInput(_)))
            && let Some(iterator) = self.iterator_around(id)
            && self.steps.iter().all(|step| step.id != iterator)
        {
            let message = format!(
                "{} uses `{written}`, but `{id}` waits once for each item of `{iterator}`, with a link each",
                self.user()
            );
            let hint = format!("use it in a step inside `{iterator}`");
            self.tell_reference(reference, written, "not_yet_run", message, Some(hint));
            return None;
        }
        Some(run)
    }

    /// The iterator whose steps for each item a step is among.
    fn iterator_around(&self, id: &str) -> Option<&'w str> {
        let mut known = *self.known.get(id)?;
        loop {
            let inside = known.inside?;
            if known.list == ListKind::Item {
                return Some(inside);
            }
            known = *self.known.get(inside)?;
        }
    }

    fn setting(&mut self, reference: &Reference, written: &str) -> Option<Type> {
        if let (Some(names), Some(Segment::Key(name))) = (self.catalog.settings(), reference.path.first())
            && !names.contains(name)
            && !reference.guarded
        {
            let hint = match self.nearest(name, names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `settings.{near}`?"),
                None => format!("add it to the workspace: stepwell setting set {name} VALUE"),
            };
            let message = format!("{} uses `{written}`, but there is no such setting", self.user());
            self.tell_reference(reference, written, "unknown_reference", message, Some(hint));
        }
        Some(Type::from(Ty::Any))
    }

    fn secret_name(&mut self, reference: &Reference, written: &str) -> Option<Type> {
        if let (Some(names), Some(Segment::Key(name))) = (self.catalog.secrets(), reference.path.first())
            && !names.contains(name)
        {
            let hint = match self.nearest(name, names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `secrets.{near}`?"),
                None => format!("add it to the workspace: stepwell secret set {name}"),
            };
            let message = format!("{} uses `{written}`, but there is no such secret", self.user());
            self.tell_reference(reference, written, "unknown_reference", message, Some(hint));
        }
        Some(Type::from(Ty::Text))
    }

    fn tell_miss(&mut self, miss: Miss, reference: &Reference, written: &str) {
        let user = self.user();
        // The path up to where it fails, and how it would go on with another name.
        let upto = |count: usize| {
            let mut path = reference.root.clone();
            for segment in &reference.path[..count] {
                push(&mut path, segment);
            }
            path
        };
        let (code, message, hint) = match miss.why {
            Why::Unknown(objects) => {
                let (label, names) = known(&objects);
                let giver = label.as_deref().map_or_else(|| format!("`{}`", upto(miss.at)), str::to_owned);
                let wrong = match &reference.path[miss.at] {
                    Segment::Key(key) => key.as_str(),
                    Segment::Index(_) => "",
                };
                let near = self.nearest(wrong, names.iter().copied());
                let hint = near.map(|near| {
                    let mut right = format!("{}.{near}", upto(miss.at));
                    reference.path[miss.at + 1..].iter().for_each(|segment| push(&mut right, segment));
                    format!("did you mean `{right}`?")
                });
                let gives = if names.is_empty() {
                    "gives nothing".to_owned()
                } else {
                    format!("gives {}", listed(names.iter().copied()))
                };
                ("unknown_path", format!("{user} uses `{written}`; {giver} {gives}"), hint)
            }
            Why::NoParts(what) => (
                "unknown_path",
                format!("{user} uses `{written}`, but `{}` is {what}, without parts", upto(miss.at)),
                None,
            ),
            Why::IsList => {
                let mut right = format!("{}[0]", upto(miss.at));
                reference.path[miss.at..].iter().for_each(|segment| push(&mut right, segment));
                (
                    "unknown_path",
                    format!("{user} uses `{written}`, but `{}` is a list", upto(miss.at)),
                    Some(format!("take one of its items, such as `{right}`")),
                )
            }
            Why::NotInEvery if reference.root == "trigger" => (
                "may_be_missing",
                format!("{user} uses `{written}`, which not every event that starts a run has"),
                Some(format!(
                    "`before` is null for a record that is created or restored, `after` for one that is deleted; \
                     say what holds then, such as `{written} | default('')`"
                )),
            ),
            Why::NotInEvery => (
                "may_be_missing",
                format!("{user} uses `{written}`, which not every way to `{}` gives", reference.root),
                Some(format!(
                    "say what holds without it, such as `{written} | default('')`, or give the arms the same `output`"
                )),
            ),
        };
        self.tell_reference(reference, written, code, message, hint);
    }

    pub(super) fn tell_reference(
        &mut self,
        reference: &Reference,
        written: &str,
        code: &'static str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let (from, to) = self.place_in(reference.at, written.len());
        self.tell_at(from, to, code, message).hint = hint;
    }
}

/// What `run` has: with a link for each step that waits for a person.
fn run_type(workflow: &Workflow) -> Type {
    let mut run = texts("the run", RUN);
    let every = workflow.every_step();
    let waits = every.iter().filter(|step| matches!(step.kind, StepKind::WaitForInput(_)));
    let waits: Vec<(&str, Ty)> = waits.map(|step| (step.id.as_str(), Ty::Text)).collect();
    if let (Ty::Object(run), false) = (&mut run, waits.is_empty()) {
        let links = Ty::object("`run.input_links` (a link for each `wait_for_input`)", waits);
        run.fields.push(("input_links".to_owned(), Type::from(links)));
    }
    Type::from(run)
}

fn texts(label: &str, names: &[&str]) -> Ty {
    Ty::object(label, names.iter().map(|name| (*name, Ty::Text)).collect())
}

/// Where a reference starts in its template: the last place up to its span where its root stands as a word.
fn start(reference: &Reference, text: &str) -> usize {
    let root = reference.root.as_str();
    let upto = text.get(..reference.at + root.len()).unwrap_or(text);
    let joined = |c: char| c.is_alphanumeric() || c == '_';
    upto.rmatch_indices(root)
        .map(|(at, _)| at)
        .find(|at| {
            let before = text[..*at].chars().next_back();
            let after = text[at + root.len()..].chars().next();
            !before.is_some_and(|c| joined(c) || c == '.') && !after.is_some_and(joined)
        })
        .unwrap_or(reference.at)
}

/// The parser's words for what people type.
fn plainly(message: &str) -> String {
    message
        .replace("end of variable block", "`}}`")
        .replace("end of input", "end of the text")
        .replace("end of block", "the end of the block, such as `{% endif %}`")
}

/// A reference as it stands in the template.
fn written<'t>(reference: &Reference, text: &'t str) -> &'t str {
    let rest = text.get(reference.at..).unwrap_or("");
    let mut end = 0;
    let mut brackets = 0usize;
    for (at, c) in rest.char_indices() {
        match c {
            '[' => brackets += 1,
            ']' if brackets > 0 => brackets -= 1,
            c if brackets > 0 || c.is_alphanumeric() || c == '_' || c == '.' => {}
            _ => break,
        }
        end = at + c.len_utf8();
    }
    rest[..end].trim_end_matches('.')
}

/// `written` with another root.
fn replaced(written: &str, root: &str, near: &str) -> String {
    format!("{near}{}", written.strip_prefix(root).unwrap_or(""))
}

fn push(path: &mut String, segment: &Segment) {
    match segment {
        Segment::Key(key) => {
            path.push('.');
            path.push_str(key);
        }
        Segment::Index(index) => path.push_str(&format!("[{index}]")),
    }
}

/// Names with commas, cut when there are many.
fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(LISTED);
    let mut text = names[..names.len() - more].join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
