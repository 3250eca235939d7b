//! Whether an event starts a run of a workflow, and what the run sees of it.
use super::MAX_DEPTH;
use super::listeners::Listener;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use stepwell_records::Origin;
use stepwell_workflow::depth;
use stepwell_workflow::expr::Values;
use stepwell_workflow::graph::Undecided;
use stepwell_workflow::machine::Failure;
use stepwell_workflow::model::{RecordChange, RecordEvent, Writers};

/// What happened to a record, as workflows see it.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub change: RecordChange,
    pub object: String,
    pub record: uuid::Uuid,
    pub fields: BTreeSet<String>,
    pub before: Value,
    pub after: Value,
    pub origin: Origin,
}

impl Happened {
    /// What templates see as `trigger`.
    pub(crate) fn trigger(&self) -> Value {
        let Origin { by, api_key, workflow, run, depth } = &self.origin;
        json!({
            "type": "record_event",
            "object": self.object,
            "event": self.change.name(),
            "record_id": self.record.to_string(),
            "before": self.before,
            "after": self.after,
            "fields": self.fields,
            "origin": { "by": by, "api_key": api_key, "workflow": workflow, "run": run, "depth": depth },
        })
    }
}

/// Whether an event counts for a listener at all, whatever its `when` says.
pub(crate) fn counts(listener: &Listener, event: &RecordEvent, happened: &Happened) -> bool {
    let own = happened.origin.workflow.as_deref() == Some(&*listener.flow.name);
    event.takes(happened.change) && (event.from == Writers::Any || !own) && touches(event, happened)
}

/// Whether one of the fields listened to changed; a deletion and its undoing change none and all.
fn touches(event: &RecordEvent, happened: &Happened) -> bool {
    if event.fields.is_empty() || matches!(happened.change, RecordChange::Deleted | RecordChange::Restored) {
        return true;
    }
    event.fields.iter().any(|name| match name.split_once('.') {
        None => happened.fields.contains(name),
        Some((whole, _)) => {
            happened.fields.contains(whole) && part(&happened.before, name) != part(&happened.after, name)
        }
    })
}

pub(super) fn part<'v>(record: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(record, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// What becomes of an event that counts.
pub(crate) enum Decision {
    Nothing,
    Run(Value),
    /// A run that fails before it begins, so that somebody sees it.
    Fail(Value, Failure),
}

/// An event as `trigger`, made once for all that listen to it.
pub(crate) struct Shown {
    trigger: Arc<Value>,
    scope: Values,
    too_deep: bool,
    /// By the number of the question.
    answers: Vec<Answer>,
}

/// What many ask is answered once.
enum Answer {
    Unknown,
    Yes,
    No,
    Fails(Box<Undecided>),
}

impl Shown {
    /// `now` is when it happened, so that what is decided again is the same.
    pub(crate) fn of(happened: &Happened, now: Timestamp) -> Self {
        let mut trigger = happened.trigger();
        let too_deep = depth::too_deep(&trigger);
        if too_deep {
            for side in ["before", "after"] {
                trigger[side] = Value::Null;
            }
        }
        let trigger = Arc::new(trigger);
        let values = [("trigger".to_owned(), trigger.clone())].into();
        Self { trigger, scope: Values { values, now }, too_deep, answers: Vec::new() }
    }

    /// What conditions are asked of, where they are.
    pub(crate) fn subject(&self) -> Option<&Value> {
        (!self.too_deep).then_some(&*self.trigger)
    }

    /// Whether what a listener asks holds.
    fn answer(&mut self, listener: &Listener) -> Result<bool, Undecided> {
        let Some((number, question)) = listener.question() else { return Ok(true) };
        if self.answers.len() <= number {
            self.answers.resize_with(number + 1, || Answer::Unknown);
        }
        let Some(answer) = self.answers.get_mut(number) else { return Ok(true) };
        if let Answer::Unknown = answer {
            *answer = match question.ask(&self.trigger, &self.scope) {
                Ok(true) => Answer::Yes,
                Ok(false) => Answer::No,
                Err(why) => Answer::Fails(Box::new(why)),
            };
        }
        match answer {
            Answer::Fails(why) => Err(Undecided::clone(why)),
            answer => Ok(matches!(answer, Answer::Yes)),
        }
    }

    /// Whether the answer to a question is known to be no.
    pub(crate) fn is_denied(&self, question: usize) -> bool {
        matches!(self.answers.get(question), Some(Answer::No))
    }

    /// Whether the answer to what a listener asks is no. What goes wrong is left to [`decide`].
    pub(crate) fn denies(&mut self, listener: &Listener) -> bool {
        !self.too_deep
            && catch_unwind(AssertUnwindSafe(|| self.answer(listener)))
                .is_ok_and(|answer| answer == Ok(false))
    }

    /// How many questions were asked of it.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> usize {
        self.answers.iter().filter(|answer| !matches!(answer, Answer::Unknown)).count()
    }

    /// For a run of its own.
    pub(crate) fn trigger(&self) -> Value {
        Value::clone(&self.trigger)
    }
}

/// Asks `when`, and how deep it goes.
pub(crate) fn decide(listener: &Listener, origin: &Origin, shown: &mut Shown) -> Decision {
    if shown.too_deep {
        let failure = Failure::engine(
            "too_deep",
            format!(
                "the record is nested deeper than a run can be given: `trigger` may have {} levels",
                depth::MAX_DEPTH
            ),
        );
        return Decision::Fail(shown.trigger(), failure);
    }
    match shown.answer(listener) {
        Ok(true) => {}
        Ok(false) => return Decision::Nothing,
        Err(why) => {
            let failure = Failure::engine("condition_error", format!("`trigger.when`: {why}"));
            return Decision::Fail(shown.trigger(), failure);
        }
    }
    if origin.depth >= MAX_DEPTH {
        let writer = origin.workflow.as_deref().unwrap_or("a workflow");
        let failure = Failure::engine(
            "event_loop",
            format!(
                "the write that started this run comes from a run of `{writer}` that {MAX_DEPTH} runs led to, each \
                 started by what the one before wrote: so long a chain is taken for a loop and ends here. Let `when` or \
                 `fields` of a trigger in it tell the writes of workflows apart, such as by `origin.by`"
            ),
        );
        return Decision::Fail(shown.trigger(), failure);
    }
    Decision::Run(shown.trigger())
}
