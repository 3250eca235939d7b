//! The trigger `record_event`: its fields and filter against the object, what templates see of the event, and loops.

use std::sync::Arc;

use stepwell_records::filter::{Allowed, Condition, Filter, Subject};
use stepwell_records::schema::Object;

use super::bounds::Type;
use super::checker::Checker;
use super::loops;
use super::scope::Place;
use super::types::{self, Rest, Rule, Ty};
use crate::model::{RecordChange, RecordEvent, Trigger, Workflow};

/// What an event has beside `before` and `after`.
const EVENT: &[&str] = &["type", "object", "event", "record_id", "fields", "origin"];

impl<'w> Checker<'w> {
    /// Tells what is wrong with the trigger, and gives the type of `trigger`.
    pub(super) fn record_event(&mut self, event: &'w RecordEvent) -> Ty {
        self.path.key("trigger");
        let object = self.object(&event.object);
        if let Some(object) = &object {
            self.path.key("fields");
            for (index, name) in event.fields.iter().enumerate() {
                if self.enough() {
                    break;
                }
                self.path.index(index);
                self.listened_field(name, object);
                self.path.pop();
            }
            self.path.pop();
        }
        let nothing_changes = !event.takes(RecordChange::Created) && !event.takes(RecordChange::Updated);
        if !event.fields.is_empty() && nothing_changes {
            self.under("fields", |me| {
                me.tell_key(
                    "misplaced",
                    "`fields` asks what changed, and `on` names only what changes no field",
                )
                .set_hint("leave it out, or listen for `updated` too")
            });
        }
        let ty = self.event_type(event, object.as_deref());
        if let Some(when) = &event.when {
            self.place = Place::Trigger;
            let before = std::mem::replace(&mut self.trigger, Type::from(ty.clone()));
            self.under("when", |me| {
                me.condition(when);
                if let (Some(object), Ok(filter)) = (&object, Filter::parse(when, Allowed::BOTH)) {
                    me.event_filter(&filter, object);
                }
            });
            self.trigger = before;
            self.place = Place::Steps;
        }
        self.path.pop();
        ty
    }

    /// A field of the object, or a part of one.
    fn listened_field(&mut self, name: &str, object: &Object) {
        match object.target(name) {
            Ok(_) if object.field(name.split('.').next().unwrap_or(name)).is_some() => {}
            Ok(_) => {
                self.tell(
                    "invalid_value",
                    format!("`{name}` is set by the store, and says nothing of a change"),
                )
                .set_hint("name fields that people or workflows write");
            }
            Err(unknown) => self.tell("unknown_field", unknown.message).hint = unknown.hint,
        }
    }

    fn event_type(&mut self, event: &RecordEvent, object: Option<&Object>) -> Ty {
        let record = self.record_type(object);
        // The record before and after, or the word for why there is none.
        let side = |none: &[(RecordChange, &str)]| {
            let missing = none.iter().find(|(change, _)| event.takes(*change));
            let all =
                [RecordChange::Created, RecordChange::Updated, RecordChange::Deleted, RecordChange::Restored];
            let there =
                all.iter().any(|change| event.takes(*change) && !none.iter().any(|(none, _)| none == change));
            // Closed to what is asked for, and open to who says what holds without it.
            let nothing = missing.map(|(_, why)| {
                Type::from(Ty::Object(types::Object {
                    label: Some((*why).into()),
                    fields: Vec::new(),
                    required: Vec::new(),
                    rest: Rest::Unsaid,
                }))
            });
            match (there, nothing) {
                (true, Some(nothing)) => Type::one_of(vec![record.clone(), nothing], Rule::Every),
                (false, Some(nothing)) => nothing,
                (_, None) => record.clone(),
            }
        };
        let before = side(&[
            (RecordChange::Created, "the `before` of a created record"),
            (RecordChange::Restored, "the `before` of a restored record"),
        ]);
        let after = side(&[(RecordChange::Deleted, "the `after` of a deleted record")]);
        let origin = Ty::object(
            "the origin of a write",
            vec![
                ("by", Ty::Text),
                ("api_key", Ty::Text),
                ("workflow", Ty::Text),
                ("run", Ty::Text),
                ("depth", Ty::Number),
            ],
        );
        Ty::Object(types::Object {
            label: Some("a record event's trigger".into()),
            fields: vec![
                ("type".into(), Type::from(Ty::Text)),
                ("object".into(), Type::from(Ty::Text)),
                ("event".into(), Type::from(Ty::Text)),
                ("record_id".into(), Type::from(Ty::Text)),
                ("before".into(), before),
                ("after".into(), after),
                ("fields".into(), Type::from(Ty::list(Ty::Text))),
                ("origin".into(), Type::from(origin)),
            ],
            required: Vec::new(),
            rest: Rest::Closed,
        })
    }

    /// The fields of a filter over an event.
    fn event_filter(&mut self, filter: &Filter, object: &Object) {
        filter.visit_conditions(&mut |at, condition| {
            let Subject::Field(name) = &condition.subject else { return };
            let (head, rest) = name.split_once('.').unwrap_or((name, ""));
            if !matches!(head, "before" | "after") {
                if !EVENT.contains(&head) {
                    self.no_part_of_event(at, name, head, object);
                }
                return;
            }
            if rest.is_empty() {
                return;
            }
            let inner = Filter::Condition(Condition {
                subject: Subject::Field(rest.to_owned()),
                tests: condition.tests.clone(),
            });
            for problem in inner.check_fields(object) {
                let code = if problem.path == "field" { "unknown_field" } else { "invalid_filter" };
                let key = problem.path.clone();
                self.at_inner(at, &key, |me| me.tell(code, problem.message).hint = problem.hint);
            }
        });
    }

    fn no_part_of_event(&mut self, at: &str, name: &str, head: &str, object: &Object) {
        let hint = match object.target(name) {
            Ok(_) => format!("write `after.{name}`, or `before.{name}` for what it was"),
            Err(_) => match self.nearest(head, EVENT.iter().copied().chain(["before", "after"])) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("an event has before, after, {}", EVENT.join(", ")),
            },
        };
        self.at_inner(at, "field", |me| {
            me.tell("unknown_field", format!("an event has no `{name}`")).set_hint(hint)
        });
    }

    /// A workflow whose runs would certainly start runs of it again and again.
    pub(super) fn event_loop(&mut self, workflow: &'w Workflow) {
        if !matches!(workflow.trigger, Trigger::RecordEvent(_)) {
            return;
        }
        let listening: Vec<Arc<Workflow>> = self.catalog.listening();
        let others: Vec<&Workflow> =
            listening.iter().map(|other| &**other).filter(|other| other.name != workflow.name).collect();
        if let Some(circle) = loops::circle(workflow, &others, self.catalog) {
            self.under("trigger", |me| {
                me.tell(
                    "event_loop",
                    format!("the workflow would start itself for ever: {}", loops::told(&circle)),
                )
                .set_hint("let `when` or an `if` end the circle, or do without one of the writes")
            });
        }
    }
}
