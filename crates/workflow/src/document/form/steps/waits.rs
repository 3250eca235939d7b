//! The steps that wait: for a time, for a person, for another run.

use super::super::every_step::HANDLER;
use super::super::{DAY, Field, Kind, Need, Shape};

pub(super) const DELAY: Kind = Kind {
    name: "delay",
    about: "Waits, through restarts and for as long as a year; `stepwell run show` and `wakes` in the API say until when. One of `for` and `until`; `retry` and `timeout` mean nothing here.",
    output: "`{until}`: the time that was waited for",
    fields: &[
        Field {
            key: "for",
            shape: Shape::Template,
            need: Need::Optional,
            about: "So long from when the step starts: `30s`, `7d`, or `{{ hours }}h`.",
        },
        Field {
            key: "until",
            shape: Shape::Template,
            need: Need::Optional,
            about: "Up to this time: `2026-03-31T09:00:00Z`, a date (its midnight in UTC), or a template that gives one. A time that has passed is not waited for.",
        },
    ],
};

pub(super) const WAIT_FOR_INPUT: Kind = Kind {
    name: "wait_for_input",
    about: "Waits for a person, who gives the input by the link `{{ run.input_links.ID }}` (ID is this step's; it may be sent before), by the API or by `stepwell run input`. Holds no slot, and survives restarts. `retry` means nothing here.",
    output: "what was given",
    fields: &[
        Field {
            key: "schema",
            shape: Shape::JsonSchema,
            need: Need::Default("everything is taken"),
            about: "JSON Schema of the input; what breaks it is refused, and the run goes on waiting. The form behind the link is made from it.",
        },
        Field {
            key: "title",
            shape: Shape::Template,
            need: Need::Default("the workflow's name"),
            about: "Stands above the form.",
        },
        Field {
            key: "message",
            shape: Shape::Template,
            need: Need::Optional,
            about: "Stands above the form: what is to be decided, as text.",
        },
        Field {
            key: "timeout",
            shape: Shape::Duration { max_ms: 366 * DAY },
            need: Need::Default("7d"),
            about: "So long from when the step starts; then the link is no longer good, and the step fails with `timeout`.",
        },
        Field {
            key: "on_timeout",
            shape: Shape::Either(&[Shape::Choice(&["fail", "continue"]), Shape::Form(&HANDLER)]),
            need: Need::Default("as `on_error` says"),
            about: "What happens then: as with `on_error`.",
        },
    ],
};

pub(super) const RUN_WORKFLOW: Kind = Kind {
    name: "run_workflow",
    about: "Starts a run of another workflow, as if by hand, and waits for its end; meanwhile this run holds no slot. When that run fails, the step does with its error. Cancelled with this run, and when `timeout` is over.",
    output: "that run's result; `{run_id}` with `wait: false`",
    fields: &[
        Field {
            key: "workflow",
            shape: Shape::Name,
            need: Need::Required,
            about: "Its name. The version that is active when the step starts is run.",
        },
        Field {
            key: "input",
            shape: Shape::Value,
            need: Need::Default("{}"),
            about: "What a start by hand takes: the input, checked by the trigger's `input_schema`.",
        },
        Field {
            key: "wait",
            shape: Shape::Boolean,
            need: Need::Default("true"),
            about: "Whether to wait for its end.",
        },
    ],
};
