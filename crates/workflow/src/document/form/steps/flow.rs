//! The steps that say which steps run: `branch`, `filter`, `parallel`, `stop`.

use super::super::{Field, Form, Kind, Need, Shape};

pub(super) const BRANCH: Kind = Kind {
    name: "branch",
    about: "Takes the first arm whose `when` holds, or else `else`.",
    output: "the taken arm's `output`, or its last step's output; skipped when no arm is taken",
    fields: &[
        Field {
            key: "branches",
            shape: Shape::List(&Shape::Form(&ARM)),
            need: Need::Required,
            about: "The arms, looked at from top to bottom.",
        },
        Field {
            key: "else",
            shape: Shape::Either(&[Shape::Steps, Shape::Form(&OTHERWISE)]),
            need: Need::Optional,
            about: "Steps for when no arm holds: a list, or `{do, output}`.",
        },
    ],
};

static ARM: Form = Form {
    name: "an arm",
    fields: &[
        Field {
            key: "when",
            shape: Shape::Condition,
            need: Need::Required,
            about: "The arm is taken when this is true.",
        },
        Field { key: "do", shape: Shape::Steps, need: Need::Required, about: "The arm's steps." },
        Field {
            key: "output",
            shape: Shape::Value,
            need: Need::Default("the last step's output"),
            about: "The branch's output when this arm is taken.",
        },
    ],
};

static OTHERWISE: Form = Form {
    name: "`else`",
    fields: &[
        Field { key: "do", shape: Shape::Steps, need: Need::Required, about: "The steps." },
        Field {
            key: "output",
            shape: Shape::Value,
            need: Need::Default("the last step's output"),
            about: "The branch's output when no arm is taken.",
        },
    ],
};

pub(super) const FILTER: Kind = Kind {
    name: "filter",
    about: "Ends the item of an iterator, or else the run as completed, when `when` is false. Not inside `parallel` or `on_failure`.",
    output: "nothing",
    fields: &[Field {
        key: "when",
        shape: Shape::Condition,
        need: Need::Required,
        about: "The run, or the item, goes on when this is true.",
    }],
};

pub(super) const PARALLEL: Kind = Kind {
    name: "parallel",
    about: "Steps that start together, each as soon as what it `needs` is done.",
    output: "its steps' outputs by id; they can also be used by their ids directly",
    fields: &[Field { key: "steps", shape: Shape::Steps, need: Need::Required, about: "The steps." }],
};

pub(super) const STOP: Kind = Kind {
    name: "stop",
    about: "Ends the run. Not inside `parallel` or `on_failure`.",
    output: "nothing: no step runs after it",
    fields: &[
        Field {
            key: "status",
            shape: Shape::Choice(&["completed", "failed"]),
            need: Need::Default("completed"),
            about: "How the run ends.",
        },
        Field {
            key: "message",
            shape: Shape::Template,
            need: Need::Optional,
            about: "Why it failed; with `status: failed`.",
        },
        Field {
            key: "output",
            shape: Shape::Value,
            need: Need::Optional,
            about: "The run's result; with `status: completed`.",
        },
    ],
};
