//! `code`: an action in the sandbox, and the limits of a call.

use super::super::{Field, Form, Kind, Need, Shape};

pub(super) const CODE: Kind = Kind {
    name: "code",
    about: "Runs an action in the sandbox.",
    output: "what the action gives",
    fields: &[
        Field {
            key: "action",
            shape: Shape::Action,
            need: Need::Required,
            about: "`name` (its latest version), `name@1` (the latest 1.x) or `name@1.2.0`.",
        },
        Field {
            key: "input",
            shape: Shape::Value,
            need: Need::Default("{}"),
            about: "What the action gets.",
        },
        Field {
            key: "limits",
            shape: Shape::Form(&LIMITS),
            need: Need::Default("the action's, or else the host's"),
            about: "Limits of one call; at most the host's maxima.",
        },
    ],
};

static LIMITS: Form = Form {
    name: "`limits`",
    fields: &[
        Field {
            key: "fuel",
            shape: Shape::Whole { min: 1, max: i64::MAX as u64 },
            need: Need::Optional,
            about: "Instructions, about one a unit.",
        },
        size_limit("memory_bytes", "Memory and tables, all together."),
        time_limit("wall_ms", "Real time in milliseconds."),
        time_limit(
            "virtual_ms",
            "Time that may pass on the action's own clock by sleeping, in milliseconds.",
        ),
        size_limit("input_bytes", "Size of the input."),
        size_limit("output_bytes", "Size of the output."),
        size_limit("log_bytes", "Size of all log lines together; the rest is cut."),
    ],
};

const fn size_limit(key: &'static str, about: &'static str) -> Field {
    Field { key, shape: Shape::Size { max: 4 << 30 }, need: Need::Optional, about }
}

const fn time_limit(key: &'static str, about: &'static str) -> Field {
    Field { key, shape: Shape::Whole { min: 1, max: i64::MAX as u64 }, need: Need::Optional, about }
}
