//! The table's part for what steps of every type have, above all what becomes of their failures.

use super::{DAY, Field, Form, HOUR, Need, Shape};

/// What every step has beside the fields of its type.
pub static COMMON: &[Field] = &[
    Field {
        key: "id",
        shape: Shape::Id,
        need: Need::Required,
        about: "How templates call its output; unique in the document, not a reserved word.",
    },
    Field { key: "description", shape: Shape::Prose, need: Need::Optional, about: "What the step is for." },
    Field {
        key: "if",
        shape: Shape::Condition,
        need: Need::Optional,
        about: "The step is skipped when this is false.",
    },
    Field {
        key: "needs",
        shape: Shape::OneOrMany(&Shape::Id),
        need: Need::Optional,
        about: "Siblings that must be done first; only in the list of a `parallel`.",
    },
    Field {
        key: "retry",
        shape: Shape::Form(&RETRY),
        need: Need::Default("one attempt"),
        about: "When and how often a failed attempt is made again. What fails the same way each time is never retried. Not on `branch`, `parallel` and `iterator`.",
    },
    Field {
        key: "timeout",
        shape: Shape::Duration { max_ms: HOUR },
        need: Need::Default("the step type's"),
        about: "Of one attempt. Not on `branch`, `parallel` and `iterator`.",
    },
    Field {
        key: "on_error",
        shape: Shape::Either(&[Shape::Choice(&["fail", "continue", "pause"]), Shape::Form(&HANDLER)]),
        need: Need::Default("fail"),
        about: "`fail`: the run fails. `continue`: the run goes on, the step reads like a skipped one. `pause`: the run waits until a person resumes it (`stepwell run resume`): the step is tried again, skipped, or given an output. `{do: [...]}`: these steps run, seeing `error`; the last one's output is the step's.",
    },
];

/// The list at the top level that runs when the run has failed.
pub(super) const ON_FAILURE: Field = Field {
    key: "on_failure",
    shape: Shape::Steps,
    need: Need::Optional,
    about: "Run when the run has failed; sees `error` and `steps`.",
};

pub(super) static HANDLER: Form = Form {
    name: "a handler",
    fields: &[Field {
        key: "do",
        shape: Shape::Steps,
        need: Need::Required,
        about: "The steps to run; they see `error`.",
    }],
};

static RETRY: Form = Form {
    name: "a retry",
    fields: &[
        Field {
            key: "attempts",
            shape: Shape::Whole { min: 1, max: 100 },
            need: Need::Default("3"),
            about: "All attempts, the first one included.",
        },
        Field {
            key: "backoff",
            shape: Shape::Form(&BACKOFF),
            need: Need::Optional,
            about: "The wait between attempts.",
        },
        Field {
            key: "within",
            shape: Shape::Duration { max_ms: 30 * DAY },
            need: Need::Optional,
            about: "No attempt starts later than this after the first.",
        },
        Field {
            key: "on",
            shape: Shape::ErrorFilter,
            need: Need::Default("what can be retried"),
            about: "A filter over the failure (`source`, `code`, `message`, `status`, `details.…`): only such a one is retried.",
        },
    ],
};

static BACKOFF: Form = Form {
    name: "a backoff",
    fields: &[
        Field {
            key: "initial",
            shape: Shape::Duration { max_ms: HOUR },
            need: Need::Default("1s"),
            about: "The wait after the first attempt.",
        },
        Field {
            key: "factor",
            shape: Shape::Decimal { min: 1.0, max: 100.0 },
            need: Need::Default("2"),
            about: "Each wait is this many times the one before.",
        },
        Field {
            key: "max",
            shape: Shape::Duration { max_ms: DAY },
            need: Need::Default("5m"),
            about: "The longest wait.",
        },
    ],
};
