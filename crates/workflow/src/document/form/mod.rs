//! The one table of what a workflow document may hold: what is read, the published JSON Schema and the
//! reference page are all made from it.
//!
//! Here is what such a table is made of, and the document as a whole; the rest of the table is in the modules.

mod concurrency;
mod every_step;
mod steps;
mod triggers;

use concurrency::CONCURRENCY;
use every_step::ON_FAILURE;

pub use every_step::COMMON;
pub use steps::STEPS;
pub use triggers::TRIGGERS;

#[derive(Debug)]
pub struct Form {
    /// What messages call it: "a retry", "the trigger".
    pub name: &'static str,
    pub fields: &'static [Field],
}

/// One key of a [`Form`].
#[derive(Debug)]
pub struct Field {
    pub key: &'static str,
    pub shape: Shape,
    pub need: Need,
    pub about: &'static str,
}

impl Field {
    pub const fn required(key: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { key, shape, need: Need::Required, about }
    }

    pub const fn optional(key: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { key, shape, need: Need::Optional, about }
    }
}

/// Whether a key must be there, and what holds without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Required,
    /// May be absent; then there is no such thing.
    Optional,
    /// May be absent; then it is this.
    Default(&'static str),
}

/// A variant of something told apart by its `type`: a trigger, a step.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    pub about: &'static str,
    /// What templates find under its name.
    pub output: &'static str,
    pub fields: &'static [Field],
}

/// What a value may be.
#[derive(Debug)]
pub enum Shape {
    /// Any text, read by people only.
    Prose,
    /// Text without templates.
    Text,
    /// Text that may hold `{{ … }}`.
    Template,
    /// Any value; texts inside may hold `{{ … }}`.
    Value,
    /// A map of any values.
    Values,
    /// A map of any values, or one template that gives it.
    ValuesOrTemplate,
    /// A map of templates.
    Templates,
    Whole {
        min: u64,
        max: u64,
    },
    Decimal {
        min: f64,
        max: f64,
    },
    /// A whole number, or one template that gives it.
    WholeOrTemplate {
        min: u64,
        max: u64,
    },
    /// At most so many milliseconds.
    Duration {
        max_ms: u64,
    },
    Size {
        max: u64,
    },
    Boolean,
    Choice(&'static [&'static str]),
    /// `[a-z][a-z0-9-]*`
    Name,
    /// `[a-z][a-z0-9_]*`
    Id,
    /// `name`, `name@1`, `name@1.2.0`
    Action,
    /// Below `/hooks/{workspace}/`.
    HookPath,
    /// A filter over values, or one expression.
    Condition,
    /// A filter over a record event, or one expression.
    EventCondition,
    /// A filter over a record's fields.
    RecordFilter,
    /// A filter over a failure's members.
    ErrorFilter,
    JsonSchema,
    /// `404`, `2xx`, `200-204`
    Status,
    Steps,
    List(&'static Shape),
    OneOrMany(&'static Shape),
    Form(&'static Form),
    /// Exactly one of the keys.
    OneKey(&'static Form),
    /// The first one that takes this kind of value.
    Either(&'static [Shape]),
    /// By `type`, with the fields that all kinds have.
    Kinds {
        name: &'static str,
        kinds: &'static [Kind],
    },
}

pub const SECOND: u64 = 1_000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

/// The methods of HTTP that there are.
pub const METHODS: Shape = Shape::Choice(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]);

/// A whole document.
pub static TOP: Form = Form {
    name: "a workflow",
    fields: &[
        Field {
            key: "name",
            shape: Shape::Name,
            need: Need::Required,
            about: "The workflow's identity; the same as the file's name without its ending.",
        },
        Field {
            key: "description",
            shape: Shape::Prose,
            need: Need::Optional,
            about: "What the workflow is for.",
        },
        Field {
            key: "trigger",
            shape: Shape::Kinds { name: "a trigger", kinds: TRIGGERS },
            need: Need::Required,
            about: "What starts a run.",
        },
        CONCURRENCY,
        Field { key: "steps", shape: Shape::Steps, need: Need::Required, about: "Run from top to bottom." },
        Field {
            key: "output",
            shape: Shape::Value,
            need: Need::Default("the last step's output"),
            about: "The run's result.",
        },
        ON_FAILURE,
    ],
};
