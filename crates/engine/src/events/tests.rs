//! How many questions an event comes to while many listen, and that nobody is left out.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test
use super::decide::{Decision, Happened, Shown, counts, decide};
use super::{Listener, Listeners};
use crate::api::TextFormat;
use crate::registry::compiled::compile;
use crate::tables::registry::WorkflowVersionRow;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use stepwell_records::Origin;
use stepwell_workflow::model::RecordChange;

/// So many workflows that listen to a person's changes, each with its condition.
fn listening(count: usize, when: impl Fn(usize) -> Value) -> Listeners {
    Listeners::of((0..count).map(|n| {
        let name = format!("w{n:04}");
        let trigger = json!({ "type": "record_event", "object": "person", "on": "updated", "when": when(n) });
        let steps = json!([{ "id": "seen", "type": "set", "values": { "at": 1 } }]);
        let definition = json!({ "name": name, "trigger": trigger, "steps": steps });
        let definition = Some(serde_json::from_value(definition).unwrap());
        let row =
            WorkflowVersionRow { format: TextFormat::Yaml, text: String::new(), definition, created_ms: 0 };
        Listener::new(Arc::new(compile(&name, 1, &row).unwrap()), 0, 0)
    }))
}

fn updated(before: Value, after: Value) -> Happened {
    Happened {
        change: RecordChange::Updated,
        object: "person".into(),
        record: uuid::Uuid::nil(),
        fields: ["score".to_owned()].into(),
        before,
        after,
        origin: Origin::default(),
    }
}

/// What an event came to.
#[derive(Debug, PartialEq)]
struct Came {
    /// How many questions were asked.
    asked: usize,
    /// The workflows that it starts, in this order, and those of which it leaves a failed run.
    started: Vec<String>,
    failed: usize,
}

fn came_to(listeners: &Listeners, happened: &Happened) -> Came {
    let mut shown = Shown::of(happened, Timestamp::UNIX_EPOCH);
    let mut came = Came { asked: 0, started: Vec::new(), failed: 0 };
    let fields: BTreeSet<Cow<'_, str>> =
        happened.fields.iter().map(|field| Cow::Borrowed(&**field)).collect();
    let nobody = std::iter::empty::<&str>();
    let Some(interested) = listeners.interested("person", happened.change, &fields, nobody) else {
        return came;
    };
    for candidate in interested.listeners(shown.subject(), 1, None) {
        let listener = candidate.listener;
        assert!(counts(listener, listener.event().unwrap(), happened));
        let denied = candidate.asks.is_some_and(|question| shown.is_denied(question));
        if denied || candidate.asks.is_some() && shown.denies(listener) {
            continue;
        }
        match decide(listener, &happened.origin, &mut shown) {
            Decision::Nothing => {}
            Decision::Run(_) => came.started.push(listener.flow.name.clone()),
            Decision::Fail(..) => came.failed += 1,
        }
    }
    came.asked = shown.asked();
    came
}

#[test]
fn an_event_asks_those_alone_whose_condition_may_hold() {
    let event = updated(
        json!({ "score": 4, "city": "Rome", "closes": "2026-01-10" }),
        json!({ "score": 9.5, "city": "Oslo", "closes": "2026-01-20" }),
    );
    let field = |field: &str, operand: &str, value: Value| json!({ "field": field, operand: value });
    type When<'w> = Box<dyn Fn(usize) -> Value + 'w>;
    let kinds: [(&str, When<'_>, usize, usize); 9] = [
        ("a threshold each", Box::new(|n| field("after.score", "greater_than", n.into())), 10, 10),
        ("in a template", Box::new(|n| json!(format!("{{{{ trigger.after.score > {n} }}}}"))), 10, 10),
        (
            "beside something else",
            Box::new(|n| {
                json!([
                    field("after.score", "greater_than", n.into()),
                    field("after.city", "contains", "os".into())
                ])
            }),
            10,
            10,
        ),
        (
            "crossed, which is looked up by one side of it",
            Box::new(|n| json!(format!("{{{{ trigger.before.score < {n} <= trigger.after.score }}}}"))),
            996,
            5,
        ),
        (
            "a day each",
            Box::new(|n| field("after.closes", "before", format!("20{:02}-01-15", n % 100).into())),
            73,
            730,
        ),
        ("a text each", Box::new(|n| field("after.city", "is", format!("City {n}").into())), 0, 0),
        (
            "one for all, and it does not hold",
            Box::new(|_| field("after.city", "contains", "Rome".into())),
            1,
            0,
        ),
        ("one for all, and it holds", Box::new(|_| field("after.city", "contains", "Oslo".into())), 1, 1000),
        (
            "nothing that is looked up",
            Box::new(|n| field("after.city", "contains", format!("{n}").into())),
            1000,
            0,
        ),
    ];
    for (what, when, asked, started) in kinds {
        let came = came_to(&listening(1000, when), &event);
        assert_eq!((came.asked, came.started.len(), came.failed), (asked, started, 0), "{what}");
        assert!(came.started.is_sorted(), "{what}");
    }
}

#[test]
fn a_condition_that_cannot_be_answered_is_asked_and_fails() {
    let listeners = listening(100, |n| json!(format!("{{{{ trigger.after.score > {} }}}}", n / 10)));
    for after in [json!({ "score": null }), json!({}), json!({ "score": "much" })] {
        let came = came_to(&listeners, &updated(json!({}), after));
        // Those that ask the same fail alike.
        assert_eq!(came, Came { asked: 10, started: Vec::new(), failed: 100 });
    }
    let listeners = listening(100, |n| json!({ "field": "after.score", "greater_than": n }));
    let came = came_to(&listeners, &updated(json!({}), json!({ "score": null })));
    assert_eq!(came, Came { asked: 0, started: Vec::new(), failed: 0 }, "a filter passes over what is empty");
}

#[test]
fn an_event_too_deep_to_be_asked_of_fails_for_all() {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let listeners = listening(3, |n| json!({ "field": "after.score", "greater_than": n }));
    let came = came_to(&listeners, &updated(json!({}), json!({ "score": 1, "deep": deep })));
    assert_eq!(came, Came { asked: 0, started: Vec::new(), failed: 3 });
}
