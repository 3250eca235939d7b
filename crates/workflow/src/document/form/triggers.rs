//! The table's part for triggers: what starts a run.

use super::{DAY, Field, Form, HOUR, Kind, METHODS, MINUTE, Need, Shape};

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
                about: "How long the caller waits for a result; then it gets 202 with the run's id. So it does at once where as many callers wait as may (`limits.connections`).",
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
