//! The one table of what a workflow document may hold: what is read, the published JSON Schema and the
//! reference page are all made from it.

use super::form_concurrency::CONCURRENCY;
use super::form_steps::ON_FAILURE;

/// A map with known keys.
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

/// What starts a run.
pub static TRIGGERS: &[Kind] = &[
    Kind {
        name: "webhook",
        about: "An HTTP request to `/hooks/{workspace}/{path}`.",
        output: "`trigger`: `{type, method, path, headers, query, body}`",
        fields: &[
            Field {
                key: "path",
                shape: Shape::HookPath,
                need: Need::Required,
                about: "Below `/hooks/{workspace}/`; segments of letters, digits, `.`, `_`, `~` and `-`.",
            },
            Field {
                key: "method",
                shape: Shape::OneOrMany(&METHODS),
                need: Need::Default("POST"),
                about: "The method that is answered, or a list of them.",
            },
            Field {
                key: "body_schema",
                shape: Shape::JsonSchema,
                need: Need::Optional,
                about: "JSON Schema of the body; a body that breaks it is refused with 422 and starts no run.",
            },
            Field {
                key: "respond",
                shape: Shape::Either(&[Shape::Choice(&["accepted", "result"]), Shape::Form(&ANSWER)]),
                need: Need::Default("accepted"),
                about: "`accepted`: 202 with the run's id, once the run is on disk. `result`: the run's result; a run that failed is a 500 problem whatever it failed by, so let `body_schema` refuse what the sender has to mend. A map: an answer made from the finished run; where a `filter` or `stop` ended it before what the map refers to, the run's result with status 200, unless `default()` says what else.",
            },
            Field {
                key: "respond_within",
                shape: Shape::Duration { max_ms: 5 * MINUTE },
                need: Need::Default("30s"),
                about: "How long the caller waits for a result; then it gets 202 with the run's id.",
            },
            Field {
                key: "auth",
                shape: Shape::Either(&[Shape::Choice(&["none", "api_key"]), Shape::OneKey(&AUTH)]),
                need: Need::Default("none"),
                about: "Who may call: anybody, the holder of an API key (`Authorization: Bearer KEY`), or who signs with a shared secret.",
            },
            Field {
                key: "idempotency_key",
                shape: Shape::Template,
                need: Need::Default(
                    "the `Idempotency-Key` header; by the scheme `standard_webhooks`, `webhook-id`",
                ),
                about: "A template over `trigger`; a second request with the same key starts no second run, and one with the same key and another body is refused.",
            },
            Field {
                key: "handshake",
                shape: Shape::Form(&HANDSHAKE),
                need: Need::Optional,
                about: "How the other side makes sure that somebody is there: a request with a challenge is answered and starts no run.",
            },
        ],
    },
    Kind {
        name: "schedule",
        about: "Starts a run at its times: by a cron expression, or at equal distances.",
        output: "`trigger`: `{type, scheduled_at, previous_at, missed, time_zone}`",
        fields: &[
            Field {
                key: "cron",
                shape: Shape::Text,
                need: Need::Optional,
                about: "`minute hour day month weekday`, with seconds in front if there are six; or else `every`.",
            },
            Field {
                key: "every",
                shape: Shape::Duration { max_ms: 366 * DAY },
                need: Need::Optional,
                about: "At equal distances from the activation on, of a second or more.",
            },
            Field {
                key: "time_zone",
                shape: Shape::Text,
                need: Need::Default("UTC"),
                about: "Which clock the cron expression reads: an IANA name such as `Europe/Berlin`.",
            },
            Field {
                key: "missed",
                shape: Shape::Choice(&["skip", "run_once", "run_all"]),
                need: Need::Default("run_once"),
                about: "What becomes of times that passed while the server was down: no run, one for the latest, or one for each.",
            },
            Field {
                key: "overlap",
                shape: Shape::Choice(&["allow", "skip", "wait"]),
                need: Need::Default("allow"),
                about: "What becomes of a time that comes while the run before goes on: it runs beside it, not at all, or afterwards.",
            },
            Field {
                key: "jitter",
                shape: Shape::Duration { max_ms: DAY },
                need: Need::Optional,
                about: "Each run starts up to so much later than its time, so that many schedules of one time spread.",
            },
        ],
    },
    Kind {
        name: "record_event",
        about: "A record was written: by the API, by a workflow, by whatever else writes.",
        output: "`trigger`: `{type, object, event, record_id, before, after, fields, origin}`",
        fields: &[
            Field {
                key: "object",
                shape: Shape::Text,
                need: Need::Required,
                about: "The object whose records are listened to.",
            },
            Field {
                key: "on",
                shape: Shape::OneOrMany(&Shape::Choice(&[
                    "created", "updated", "deleted", "restored", "upserted",
                ])),
                need: Need::Required,
                about: "What happened; `upserted` is created or updated. A write that changes nothing is no event.",
            },
            Field {
                key: "fields",
                shape: Shape::OneOrMany(&Shape::Text),
                need: Need::Default("any field"),
                about: "An update counts only when it changed one of these fields, a creation only when it gave one a value.",
            },
            Field {
                key: "when",
                shape: Shape::EventCondition,
                need: Need::Default("every such event"),
                about: "What must hold: a filter over `before.FIELD` and `after.FIELD`, or over values with templates of `trigger`.",
            },
            Field {
                key: "settle",
                shape: Shape::Duration { max_ms: 7 * DAY },
                need: Need::Default("a run an event"),
                about: "One run for all changes of a record, that long after the last of them.",
            },
            Field {
                key: "from",
                shape: Shape::Choice(&["others", "any"]),
                need: Need::Default("others"),
                about: "Whose writes count: everybody's but those of the workflow's own runs, or anybody's.",
            },
        ],
    },
    Kind {
        name: "manual",
        about: "Started by a person or a program through API or CLI.",
        output: "`trigger`: `{type, input}`; on a record `{type, object, record_id, record, input}`, on many `{type, object, record_ids, count, input}`",
        fields: &[
            Field {
                key: "on",
                shape: Shape::Form(&ON_RECORDS),
                need: Need::Optional,
                about: "It is started on a record, or on a selection of many.",
            },
            Field {
                key: "input_schema",
                shape: Shape::JsonSchema,
                need: Need::Optional,
                about: "JSON Schema of the input given at the start.",
            },
        ],
    },
];

static ON_RECORDS: Form = Form {
    name: "a selection",
    fields: &[
        Field {
            key: "object",
            shape: Shape::Text,
            need: Need::Required,
            about: "The object of the records.",
        },
        Field {
            key: "select",
            shape: Shape::Choice(&["one", "many"]),
            need: Need::Default("one"),
            about: "`one`: a record a run. `many`: one run for up to 10,000 records.",
        },
    ],
};

static ANSWER: Form = Form {
    name: "an answer",
    fields: &[
        Field {
            key: "status",
            shape: Shape::WholeOrTemplate { min: 200, max: 599 },
            need: Need::Default("200"),
            about: "HTTP status.",
        },
        Field {
            key: "headers",
            shape: Shape::Templates,
            need: Need::Optional,
            about: "HTTP headers in ASCII, of one line each; those of the connection, of the body's length and the server's own (`Date`) are not to be set.",
        },
        Field {
            key: "body",
            shape: Shape::Value,
            need: Need::Optional,
            about: "Sent as JSON; a text is sent as it is.",
        },
    ],
};

static AUTH: Form = Form {
    name: "an authentication",
    fields: &[Field {
        key: "hmac",
        shape: Shape::Form(&HMAC),
        need: Need::Required,
        about: "A signature over the raw bytes.",
    }],
};

static HANDSHAKE: Form = Form {
    name: "a handshake",
    fields: &[
        Field {
            key: "challenge",
            shape: Shape::Template,
            need: Need::Required,
            about: "Where the challenge stands, such as `{{ trigger.query.challenge }}`; a request without it is no handshake.",
        },
        Field {
            key: "method",
            shape: Shape::OneOrMany(&METHODS),
            need: Need::Default("the webhook's"),
            about: "The methods that it comes with beside the webhook's; those start no run.",
        },
        Field {
            key: "hmac",
            shape: Shape::Form(&CHALLENGE_HMAC),
            need: Need::Optional,
            about: "Gives `trigger.challenge_hmac`, the challenge signed with HMAC-SHA256; only where `auth.hmac` has checked who asks.",
        },
        Field {
            key: "respond",
            shape: Shape::Form(&ANSWER),
            need: Need::Default("200 with the challenge as text"),
            about: "The answer, by templates over `trigger`, which has `challenge` beside the rest.",
        },
    ],
};

static CHALLENGE_HMAC: Form = Form {
    name: "a signature of the challenge",
    fields: &[
        Field { key: "secret", shape: Shape::Template, need: Need::Required, about: "`{{ secrets.NAME }}`." },
        Field {
            key: "encoding",
            shape: Shape::Choice(&["hex", "base64"]),
            need: Need::Default("hex"),
            about: "How it is written.",
        },
    ],
};

static HMAC: Form = Form {
    name: "a signature",
    fields: &[
        Field {
            key: "scheme",
            shape: Shape::Choice(&["standard_webhooks", "github", "stripe", "shopify", "slack", "zoom"]),
            need: Need::Default("standard_webhooks"),
            about: "How it is made, and in which [headers](#who-signs) it stands.",
        },
        Field {
            key: "secret",
            shape: Shape::OneOrMany(&Shape::Template),
            need: Need::Required,
            about: "The shared secret, or several while keys are changed: `{{ secrets.NAME }}`.",
        },
        Field {
            key: "tolerance",
            shape: Shape::Duration { max_ms: HOUR },
            need: Need::Default("5m"),
            about: "How far the signed time may be from now, where the scheme has one.",
        },
    ],
};

pub(super) const HTTP_METHOD: Shape = METHODS;
