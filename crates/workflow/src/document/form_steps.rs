//! The part of the table that is about steps: what every step has, and what each type has.

use crate::model::Iterate;

use super::form::{DAY, Field, Form, HOUR, HTTP_METHOD, Kind, Need, Shape};
use super::form_http::{BODY, PAGINATION, RESPONSE};

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

static HANDLER: Form = Form {
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

const OBJECT: Field =
    Field { key: "object", shape: Shape::Text, need: Need::Required, about: "The object's name." };

const RECORD: Field = Field {
    key: "record",
    shape: Shape::ValuesOrTemplate,
    need: Need::Required,
    about: "Fields and their values; one template may give them all: `\"{{ mapped.record }}\"`.",
};
const VIEW: Field = Field {
    key: "view",
    shape: Shape::Text,
    need: Need::Optional,
    about: "A [saved view](filters.md#views) of the object: its filter holds beside `filter`, and its order where there is no `sort`.",
};

const FILTER: Field = Field {
    key: "filter",
    shape: Shape::RecordFilter,
    need: Need::Default("every record"),
    about: "Which records.",
};
const SORT: Field = Field {
    key: "sort",
    shape: Shape::OneOrMany(&Shape::Text),
    need: Need::Default("the order of creation"),
    about: "Fields, `-` in front for descending: `[-createdAt, city]`.",
};

const WRITE_OUTPUT: &str = "`{record, outcome}`, outcome one of created, updated, unchanged";

/// What a step can do.
pub static STEPS: &[Kind] = &[
    Kind {
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
    },
    Kind {
        name: "search_records",
        about: "Finds records.",
        output: "`{records, total, index}`",
        fields: &[
            OBJECT,
            VIEW,
            FILTER,
            SORT,
            Field {
                key: "limit",
                shape: Shape::WholeOrTemplate { min: 1, max: stepwell_records::MAX_LIMIT as u64 },
                need: Need::Default("50"),
                about: "At most so many records.",
            },
        ],
    },
    Kind {
        name: "create_record",
        about: "Creates a record.",
        output: WRITE_OUTPUT,
        fields: &[OBJECT, RECORD],
    },
    Kind {
        name: "update_record",
        about: "Changes fields of a record.",
        output: WRITE_OUTPUT,
        fields: &[
            OBJECT,
            Field {
                key: "record_id",
                shape: Shape::Template,
                need: Need::Required,
                about: "The record's id.",
            },
            RECORD,
            Field {
                key: "if_version",
                shape: Shape::WholeOrTemplate { min: 1, max: u64::MAX },
                need: Need::Optional,
                about: "Fails with `stale` when the record has another version by then.",
            },
            Field {
                key: "if_unchanged",
                shape: Shape::Form(&IF_UNCHANGED),
                need: Need::Optional,
                about: "[Fails with `stale`](#writing-over-what-somebody-else-has-written) when one of these fields has been changed by then; what else was changed does not matter.",
            },
        ],
    },
    Kind {
        name: "upsert_record",
        about: "Finds a record by a unique field set and changes it, or creates it, in one transaction.",
        output: WRITE_OUTPUT,
        fields: &[
            OBJECT,
            Field {
                key: "match",
                shape: Shape::OneOrMany(&Shape::Text),
                need: Need::Required,
                about: "One declared unique field set of the object.",
            },
            RECORD,
            Field {
                key: "create_only",
                shape: Shape::OneOrMany(&Shape::Text),
                need: Need::Optional,
                about: "Fields of `record` that are written only when the record is new.",
            },
        ],
    },
    Kind {
        name: "delete_record",
        about: "Deletes a record; it can be restored. One that is deleted already is left as it is.",
        output: "`{record, outcome}`; `outcome` is `deleted` or `unchanged`",
        fields: &[
            OBJECT,
            Field {
                key: "record_id",
                shape: Shape::Template,
                need: Need::Required,
                about: "The record's id.",
            },
            Field {
                key: "if_version",
                shape: Shape::WholeOrTemplate { min: 1, max: u64::MAX },
                need: Need::Optional,
                about: "Fails with `stale` when the record has another version by then.",
            },
        ],
    },
    Kind {
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
    },
    Kind {
        name: "filter",
        about: "Ends the item of an iterator, or else the run as completed, when `when` is false. Not inside `parallel` or `on_failure`.",
        output: "nothing",
        fields: &[Field {
            key: "when",
            shape: Shape::Condition,
            need: Need::Required,
            about: "The run, or the item, goes on when this is true.",
        }],
    },
    Kind {
        name: "parallel",
        about: "Steps that start together, each as soon as what it `needs` is done.",
        output: "its steps' outputs by id; they can also be used by their ids directly",
        fields: &[Field { key: "steps", shape: Shape::Steps, need: Need::Required, about: "The steps." }],
    },
    Kind {
        name: "iterator",
        about: "Runs the same steps for each item of a list, or for each record that a search finds, however many there are. Inside, `item` is the item and `index` its number from 0; the steps inside are not visible outside. A run keeps little of the items that are over: `stepwell run items RUN` has them all.",
        output: "`{count, succeeded, failed, skipped, results, failures}`: `results` has the items' outputs, `failures` is a list of `{index, error, item}`; each has the first 1,000 (1 MiB). `totals` beside them, of all items, where the iterator has some",
        fields: &[
            Field {
                key: "over",
                shape: Shape::Value,
                need: Need::Optional,
                about: "The list: `\"{{ … }}\"`, or written out. An empty one has no items.",
            },
            Field {
                key: "search",
                shape: Shape::Form(&RECORD_SET),
                need: Need::Optional,
                about: "Or every record that is found: listed first, each visited once, and left out at its turn when it is no longer what was searched.",
            },
            Field { key: "do", shape: Shape::Steps, need: Need::Required, about: "The steps for one item." },
            Field {
                key: "output",
                shape: Shape::Value,
                need: Need::Default("the last step's output"),
                about: "What an item comes to, in `results`.",
            },
            Field {
                key: "totals",
                shape: Shape::Values,
                need: Need::Optional,
                about: "Names and what an item adds to each, over however many items: numbers, or true and false, which count as 1 and 0. As `output` they see the item's steps. Of items that succeed; at most 20.",
            },
            Field {
                key: "concurrency",
                shape: Shape::Whole { min: 1, max: Iterate::MAX_CONCURRENCY },
                need: Need::Default("1"),
                about: "So many items at the same time; with 1 they come one after the other. With the iterators around it at most 100 together.",
            },
            Field {
                key: "batch",
                shape: Shape::Whole { min: 1, max: Iterate::MAX_BATCH },
                need: Need::Optional,
                about: "So many items at a time: `item` is then a list, and a batch counts as one.",
            },
            Field {
                key: "tolerate",
                shape: Shape::Form(&TOLERATE),
                need: Need::Default("none"),
                about: "How many items may fail. With one more no further item begins, and the step fails.",
            },
            Field {
                key: "atomic",
                shape: Shape::Boolean,
                need: Need::Default("false"),
                about: "Whether all items are written at once or none is: when one fails, what the others wrote is undone. At most what fits one transaction, about 100 records. Inside are only steps that work on records and values.",
            },
        ],
    },
    Kind {
        name: "set",
        about: "Gives names to values.",
        output: "the values",
        fields: &[Field {
            key: "values",
            shape: Shape::ValuesOrTemplate,
            need: Need::Required,
            about: "Names and their values; one template may give them all.",
        }],
    },
    Kind {
        name: "set_state",
        about: "Keeps values for later runs of the workflow, which read them as `state.NAME`. They are written together with the step's completion, and one step may count on what it reads: of two runs, the second sees what the first has written.",
        output: "the values",
        fields: &[Field {
            key: "values",
            shape: Shape::ValuesOrTemplate,
            need: Need::Required,
            about: "Names and their values, or one template that gives them all; null takes a name away. At most 100 names of lower case letters, digits and `_`, 64 KiB a value, 256 KiB together.",
        }],
    },
    Kind {
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
    },
    Kind {
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
    },
    Kind {
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
    },
    Kind {
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
    },
    Kind {
        name: "http_request",
        about: "Calls an HTTP server.",
        output: "`{status, headers, body}`; the body is JSON when the answer says so (what says so and is not is an error), text when it is UTF-8, or else `{base64: …}`",
        fields: &[
            Field {
                key: "connection",
                shape: Shape::Name,
                need: Need::Optional,
                about: "The [connection](connections.md) that the request goes through: its address, authentication and limits.",
            },
            Field { key: "method", shape: HTTP_METHOD, need: Need::Default("GET"), about: "HTTP method." },
            Field {
                key: "url",
                shape: Shape::Template,
                need: Need::Required,
                about: "Scheme and host are literal; with a `connection` the path below its `base_url`, such as `/people`. Parts filled in are percent-encoded.",
            },
            Field {
                key: "headers",
                shape: Shape::Templates,
                need: Need::Optional,
                about: "HTTP headers in ASCII, of one line each; `Host` and those of the connection and of the body's length are not to be set.",
            },
            Field {
                key: "query",
                shape: Shape::ValuesOrTemplate,
                need: Need::Optional,
                about: "Query parameters, encoded; a list repeats its name, null leaves it out. One template may give them all.",
            },
            Field {
                key: "body",
                shape: Shape::OneKey(&BODY),
                need: Need::Optional,
                about: "What is sent: `{json: …}`, `{form: …}`, `{text: …}` or `{bytes: …}`. Not with GET and HEAD.",
            },
            Field {
                key: "response",
                shape: Shape::Form(&RESPONSE),
                need: Need::Optional,
                about: "What answer is a success.",
            },
            Field {
                key: "redirects",
                shape: Shape::Either(&[
                    Shape::Choice(&["none", "same_origin"]),
                    Shape::Whole { min: 0, max: 20 },
                ]),
                need: Need::Default("5"),
                about: "How many redirects are followed; `none`: the redirect is the answer; `same_origin`: those that lead elsewhere are an error. Headers and bodies never go along to another origin.",
            },
            Field {
                key: "max_bytes",
                shape: Shape::Size { max: 64 << 20 },
                need: Need::Default("1MiB"),
                about: "A larger answer is an error.",
            },
            Field {
                key: "idempotency_key",
                shape: Shape::Template,
                need: Need::Default("made from run and step"),
                about: "Sent as `Idempotency-Key`, the same in every attempt.",
            },
            Field {
                key: "pagination",
                shape: Shape::Form(&PAGINATION),
                need: Need::Optional,
                about: "The answer comes in pages, and all are asked for, one after the other; the output is `{items, pages}`. Each is an attempt of its own, with `retry`, `timeout` and `max_bytes` for itself; a page that fails is asked for again, and not those before it.",
            },
        ],
    },
    Kind {
        name: "send_email",
        about: "Sends an e-mail. At least one of `text` and `html` must be there.",
        output: "`{message_id, accepted}`",
        fields: &[
            Field {
                key: "to",
                shape: Shape::OneOrMany(&Shape::Template),
                need: Need::Required,
                about: "Addresses; a template may give one or a list.",
            },
            Field {
                key: "cc",
                shape: Shape::OneOrMany(&Shape::Template),
                need: Need::Optional,
                about: "Addresses that get a copy.",
            },
            Field {
                key: "bcc",
                shape: Shape::OneOrMany(&Shape::Template),
                need: Need::Optional,
                about: "Addresses that get a copy and are not shown.",
            },
            Field {
                key: "from",
                shape: Shape::Template,
                need: Need::Default("the server's sender"),
                about: "The sender.",
            },
            Field {
                key: "reply_to",
                shape: Shape::Template,
                need: Need::Optional,
                about: "Where answers go.",
            },
            Field {
                key: "subject",
                shape: Shape::Template,
                need: Need::Required,
                about: "One line: line breaks and control characters become blanks, and a word of more than 500 characters is parted.",
            },
            Field {
                key: "text",
                shape: Shape::Template,
                need: Need::Optional,
                about: "The plain body; `{% … %}` works here.",
            },
            Field {
                key: "html",
                shape: Shape::Template,
                need: Need::Optional,
                about: "The HTML body; `{% … %}` works here, and what is filled in is escaped.",
            },
            Field {
                key: "headers",
                shape: Shape::Templates,
                need: Need::Optional,
                about: "Further headers; a value may not hold line breaks.",
            },
        ],
    },
];

static IF_UNCHANGED: Form = Form {
    name: "`if_unchanged`",
    fields: &[
        Field {
            key: "since",
            shape: Shape::ValuesOrTemplate,
            need: Need::Required,
            about: "The record as the run has read it: `\"{{ find.records[0] }}\"`; or a map of what the fields are to hold.",
        },
        Field {
            key: "fields",
            shape: Shape::OneOrMany(&Shape::Text),
            need: Need::Default("what `record` writes"),
            about: "Fields, or parts of them, such as `emails.primaryEmail`.",
        },
    ],
};

static RECORD_SET: Form = Form {
    name: "a search",
    fields: &[
        OBJECT,
        VIEW,
        FILTER,
        Field {
            about: "Fields, `-` in front for descending: `[-createdAt, city]`. At most 10,000 records can be put in order; without `sort`, or by `createdAt`, there may be any number.",
            ..SORT
        },
    ],
};

static TOLERATE: Form = Form {
    name: "what is tolerated",
    fields: &[
        Field {
            key: "failures",
            shape: Shape::Whole { min: 0, max: u64::MAX },
            need: Need::Optional,
            about: "So many failed items.",
        },
        Field {
            key: "percent",
            shape: Shape::Decimal { min: 0.0, max: 100.0 },
            need: Need::Optional,
            about: "This share of all items; with `failures` too, each is kept.",
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
