//! `iterator`: what it goes over, what its items are, and what it comes to.

use super::bounds::Type;
use super::checker::{Checker, failure};
use super::scope::ListKind;
use super::types::{self, Rest, Ty};
use crate::expr::{Kinds, Mode};
use crate::model::{Fields, Iterate, OnError, RecordSet, Step, StepKind};

impl<'w> Checker<'w> {
    pub(super) fn iterator(&mut self, iterate: &'w Iterate) -> Type {
        match (&iterate.over, &iterate.search) {
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) => {
                self.tell("missing_key", "the iterator has neither `over` nor `search`")
                    .set_hint("write `over: \"{{ list }}\"`, or `search: { object: … }`");
            }
            (Some(_), Some(_)) => self.under("search", |me| {
                me.tell_key("misplaced", "an iterator has one of `over` and `search`")
                    .set_hint("leave one of them out");
            }),
        }
        self.items_at_once(iterate);
        if iterate.atomic && !iterate.tolerate.is_none() {
            self.under("tolerate", |me| {
                me.tell_key("misplaced", "an atomic iterator writes all of its items or none, so it tolerates no failure")
                    .set_hint("leave `tolerate` out, or `atomic`; `on_error: continue` at a step inside goes on without that step");
            });
        }
        let mut one = Type::from(Ty::Any);
        if let Some(over) = &iterate.over {
            one = self.under("over", |me| {
                me.value(over, Mode::Value);
                me.item_of(&me.type_of(over))
            });
        }
        if let Some(search) = &iterate.search {
            one = self.under("search", |me| me.record_set(search));
        }
        let item = match iterate.batch {
            Some(_) => Type::from(Ty::List(one)),
            None => one,
        };
        let mark = self.scope.mark();
        let outer = self.scope.item.replace(item);
        let outcome = self.under("do", |me| {
            if iterate.steps.is_empty() && me.is_empty_list() {
                me.tell("invalid_value", "an iterator has at least one step");
            }
            me.list(&iterate.steps)
        });
        let output = self.arm_output(outcome.output, iterate.output.as_ref());
        self.under("totals", |me| me.totals(&iterate.totals));
        self.scope.item = outer;
        self.scope.back_to(mark);
        let failed =
            Ty::object("a failed item", vec![("index", Ty::Number), ("error", failure()), ("item", Ty::Any)]);
        let numbers = ["count", "succeeded", "failed", "skipped"];
        let mut fields: Vec<(String, Type)> =
            numbers.iter().map(|name| ((*name).to_owned(), Type::from(Ty::Number))).collect();
        fields.push(("results".into(), Type::from(Ty::List(output))));
        fields.push(("failures".into(), Type::from(Ty::list(failed))));
        if !iterate.totals.is_empty() {
            let names = iterate.totals.keys().map(|name| (name.as_str(), Ty::Number)).collect();
            fields.push(("totals".into(), Type::from(Ty::object("`totals`", names))));
        }
        Type::from(Ty::Object(types::Object {
            label: Some("an iterator".into()),
            fields,
            required: Vec::new(),
            rest: Rest::Closed,
        }))
    }

    /// What an item adds to each sum.
    fn totals(&mut self, totals: &'w Fields) {
        for (name, value) in totals {
            self.under(name, |me| {
                me.value(value, Mode::Value);
                let kinds = me.kinds_of(value);
                if !kinds.may_be(Kinds::NUMBER.or(Kinds::BOOLEAN)) {
                    let message =
                        format!("a total takes a number, or true or false, and this is {}", kinds.describe());
                    let told = me.tell("wrong_type", message);
                    if kinds == Kinds::TEXT {
                        told.set_hint("make a number of it: `| int` or `| float`");
                    } else if kinds == Kinds::LIST {
                        told.set_hint("count it: `| length`");
                    }
                }
            });
        }
        if totals.len() > Iterate::MAX_TOTALS {
            let message = format!("at most {} totals are kept, not {}", Iterate::MAX_TOTALS, totals.len());
            self.tell("invalid_value", message);
        }
    }

    /// What is committed together can neither wait nor be seen from outside before.
    pub(super) fn inside_atomic(&mut self, step: &'w Step) {
        // In its `on_error` the iterator is over.
        let inside =
            |step: &Step| self.known.get(step.id.as_str()).is_some_and(|known| known.list == ListKind::Item);
        let around = self.steps.windows(2).find_map(|two| match (&two[0].kind, two[1]) {
            (StepKind::Iterator(iterate), next) if iterate.atomic && inside(next) => Some(two[0].id.as_str()),
            _ => None,
        });
        let Some(around) = around else { return };
        let works = matches!(
            step.kind,
            StepKind::Code(_)
                | StepKind::SearchRecords(_)
                | StepKind::CreateRecord(_)
                | StepKind::UpdateRecord(_)
                | StepKind::UpsertRecord(_)
                | StepKind::DeleteRecord(_)
                | StepKind::Branch(_)
                | StepKind::Parallel(_)
                | StepKind::Filter(_)
                | StepKind::Set(_)
        );
        if !works {
            let kind = step.kind.type_name();
            self.under("type", |me| {
                me.tell(
                    "misplaced",
                    format!("`{around}` is atomic: what its items do is committed together, so `{kind}` cannot stand in it"),
                )
                .set_hint("put the step behind the iterator, or leave `atomic` out")
            });
        }
        let keys = [
            ("retry", step.retry.is_some()),
            ("timeout", step.timeout.is_some()),
            ("on_error", step.on_error == OnError::Pause),
        ];
        for (key, _) in keys.into_iter().filter(|(_, there)| *there) {
            self.under(key, |me| {
                let hint = match key {
                    "timeout" => "leave it out; `limits: { wall_ms: … }` bounds a code step",
                    "on_error" => "leave it out, or give it to the iterator",
                    _ => "leave it out; a retry of the run begins the iterator anew",
                };
                me.tell_key("misplaced", format!("`{around}` is atomic, so no step in it can wait"))
                    .set_hint(hint)
            });
        }
    }

    /// Iterators inside one another multiply what is under way, and all of that is in the run's state.
    fn items_at_once(&mut self, iterate: &'w Iterate) {
        let around = self.steps.iter().filter_map(|step| match &step.kind {
            StepKind::Iterator(outer) if !std::ptr::eq(&**outer, iterate) => {
                Some(u64::from(outer.concurrency))
            }
            _ => None,
        });
        let around = around.fold(1, u64::saturating_mul);
        let together = around.saturating_mul(iterate.concurrency.into());
        if iterate.concurrency > 1 && around > 1 && together > Iterate::MAX_CONCURRENCY {
            let message = format!(
                "with the iterators around it, {together} items could be under way at the same time; at most {} are \
                 possible",
                Iterate::MAX_CONCURRENCY
            );
            let left = Iterate::MAX_CONCURRENCY / around.min(Iterate::MAX_CONCURRENCY);
            self.under("concurrency", |me| {
                me.tell("too_large", message)
                    .set_hint(format!("write at most {left} here, or less around it"));
            });
        }
    }

    /// The type of a list's items; tells what is certainly no list.
    fn item_of(&mut self, over: &Type) -> Type {
        match &**over.bare() {
            Ty::List(item) => item.clone(),
            Ty::Any | Ty::OneOf { .. } => Type::from(Ty::Any),
            other => {
                let message = format!("`over` takes a list, and this is {}", other.describe());
                let told = self.tell("wrong_type", message);
                if let Ty::Object(object) = other
                    && let Some((name, _)) = object.fields.iter().find(|(_, ty)| matches!(**ty, Ty::List(_)))
                {
                    told.set_hint(format!("it has a list: `{name}`"));
                }
                Type::from(Ty::Any)
            }
        }
    }

    fn record_set(&mut self, search: &'w RecordSet) -> Type {
        let (view, filter) = (search.view.as_ref(), search.filter.as_ref());
        let object = self.which_records(&search.object, view, filter, &search.sort);
        self.record_type(object.as_deref())
    }
}
