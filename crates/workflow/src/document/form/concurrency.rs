//! The table's part for `concurrency`: how many runs of a workflow may be under way.

use super::{Field, Form, Need, Shape};
use crate::model::Concurrency;

pub(super) const CONCURRENCY: Field = Field {
    key: "concurrency",
    shape: Shape::Form(&LIMITS),
    need: Need::Default("as many as the workspace has slots"),
    about: "How many of its runs [may be under way](#how-many-runs-at-once) at the same time.",
};

static LIMITS: Form = Form {
    name: "`concurrency`",
    fields: &[
        Field {
            key: "key",
            shape: Shape::Template,
            need: Need::Default("one key for all runs of the workflow"),
            about: "A template over `trigger` and `settings`, of at most 512 bytes: runs with the same key count together.",
        },
        Field {
            key: "limit",
            shape: Shape::Whole { min: 1, max: Concurrency::MAX_LIMIT },
            need: Need::Default("1"),
            about: "So many runs of a key are under way, each from its start to its end, also while it waits for something.",
        },
        Field {
            key: "when_full",
            shape: Shape::Choice(&["wait", "skip", "replace"]),
            need: Need::Default("wait"),
            about: "What becomes of one more. `wait`: it starts in its turn. `skip`: it is kept as a cancelled run and does nothing. `replace`: those that wait and the oldest under way are cancelled, and it starts when these have ended.",
        },
    ],
};
