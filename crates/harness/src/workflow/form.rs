//! The one table of what a test of a workflow may hold: tests are read with it, and the guide's page is held against it.

use stepwell_workflow::document::{Field, Form, METHODS, Shape};

const DAY_MS: u64 = 24 * 3_600_000;

/// A whole document.
pub static TEST: Form = Form {
    name: "a test",
    fields: &[
        Field::optional("about", Shape::Prose, "What the test shows."),
        Field::optional(
            "workflow",
            Shape::OneOrMany(&Shape::Name),
            "The workflows that are active; triggers go to the first. Without it all of the folder, where triggers go to the only one.",
        ),
        Field::optional(
            "at",
            Shape::Text,
            "The time at which the test begins, such as `2026-03-02T09:00:00Z`; a Monday in January 2026 when absent.",
        ),
        Field::optional("settings", Shape::Values, "What workflows read as `settings.NAME`."),
        Field::optional(
            "state",
            Shape::Values,
            "What workflows keep from runs before: by workflow, the values that it reads as `state.NAME`.",
        ),
        Field::optional(
            "secrets",
            Shape::Values,
            "Values made up for the test, which are sent as `secrets.NAME`.",
        ),
        Field::optional(
            "records",
            Shape::Values,
            "Records that are there before: by object, a list of records. Later values see what was stored as `{{ records.OBJECT[0].id }}`.",
        ),
        Field::optional(
            "http",
            Shape::OneOrMany(&Shape::Form(&CANNED)),
            "Answers to the requests that the workflow makes; the first that fits and is not used up answers.",
        ),
        Field::optional(
            "trigger",
            Shape::Form(&TRIGGER),
            "What starts the run, where one is enough; in place of `steps`.",
        ),
        Field::optional(
            "expect",
            Shape::Form(&EXPECT),
            "What must have come of it at the end; in place of a last step.",
        ),
        Field::optional("steps", Shape::List(&Shape::OneKey(&STEP)), "What happens, from top to bottom."),
    ],
};

/// One step of a test.
pub static STEP: Form = Form {
    name: "a step of a test",
    fields: &[
        Field::optional(
            "trigger",
            Shape::Form(&TRIGGER),
            "Starts a run: by the workflow's webhook, or by hand.",
        ),
        Field::optional(
            "advance",
            Shape::Duration { max_ms: 10 * 365 * DAY_MS },
            "Moves time forward; whatever falls due on the way happens at its own time.",
        ),
        Field::optional(
            "create_record",
            Shape::Form(&CREATE),
            "Writes a record, as somebody at the API would.",
        ),
        Field::optional("update_record", Shape::Form(&UPDATE), "Changes a record."),
        Field::optional("delete_record", Shape::Form(&DELETE), "Deletes a record."),
        Field::optional(
            "resume",
            Shape::Form(&RESUME),
            "Lets the run that started last, which is paused, go on.",
        ),
        Field::optional(
            "input",
            Shape::Form(&INPUT),
            "Gives the run that started last what a step of it waits for.",
        ),
        Field::optional("expect", Shape::Form(&EXPECT), "What must hold at this point."),
    ],
};

static TRIGGER: Form = Form {
    name: "a trigger",
    fields: &[
        Field::optional("workflow", Shape::Name, "Which one, where several are active."),
        Field::optional("input", Shape::Value, "The input of a run that is started by hand."),
        Field::optional("body", Shape::Value, "The body of the webhook's request, sent as JSON."),
        Field::optional("text", Shape::Prose, "A body that is sent as it is, in place of `body`."),
        Field::optional(
            "headers",
            Shape::Values,
            "Headers of the request; `content-type: application/json` comes along unless given.",
        ),
        Field::optional("query", Shape::Values, "What stands behind the `?` of the request's address."),
        Field::optional(
            "method",
            METHODS,
            "The request's method; the first that the webhook takes when absent.",
        ),
        Field::optional(
            "auth",
            Shape::Choice(&["none"]),
            "`none`: without the signature or API key that the webhook asks for; it comes along when absent.",
        ),
    ],
};

static CREATE: Form = Form {
    name: "a record to create",
    fields: &[
        Field::required("object", Shape::Text, "The object, such as `person`."),
        Field::required("record", Shape::Values, "Its fields."),
        NAMED,
    ],
};

const NAMED: Field = Field::optional(
    "as",
    Shape::Id,
    "Later values see the record, as it was stored here, by this name: `as: ada`, and then `{{ ada.id }}`.",
);

static UPDATE: Form = Form {
    name: "a change of a record",
    fields: &[
        Field::required("object", Shape::Text, "The object, such as `person`."),
        Field::required("record_id", Shape::Template, "Such as `{{ records.person[0].id }}`."),
        Field::required("record", Shape::Values, "The fields to change."),
        NAMED,
    ],
};

static DELETE: Form = Form {
    name: "a record to delete",
    fields: &[
        Field::required("object", Shape::Text, "The object, such as `person`."),
        Field::required("record_id", Shape::Template, "Such as `{{ records.person[0].id }}`."),
    ],
};

static RESUME: Form = Form {
    name: "a resumption",
    fields: &[
        Field::optional(
            "action",
            Shape::Choice(&["retry", "skip"]),
            "From what failed, or as if it had been skipped; `retry` when absent.",
        ),
        Field::optional("output", Shape::Value, "As if the step had given this, in place of `action`."),
        Field::optional("step", Shape::Text, "The step's path, where several wait."),
    ],
};

static INPUT: Form = Form {
    name: "an input",
    fields: &[
        Field::required("data", Shape::Value, "What is given."),
        Field::optional("step", Shape::Text, "The step's path, where several wait."),
    ],
};

static CANNED: Form = Form {
    name: "a canned answer",
    fields: &[
        Field::optional("method", METHODS, "Only for requests with this method."),
        Field::optional(
            "url",
            Shape::Template,
            "Only for this address; one without `?` fits whatever the request has behind its own.",
        ),
        Field::optional("path", Shape::Template, "Only for this path, at any host."),
        Field::optional("query", Shape::Values, "Only with these parameters."),
        Field::optional("headers", Shape::Values, "Only with these headers."),
        Field::optional("body", Shape::Value, "Only with at least these members in the body."),
        Field::optional("answer", Shape::Form(&ANSWER), "What comes back; an empty 200 when absent."),
        Field::optional(
            "error",
            Shape::Choice(&["timeout", "connection"]),
            "No answer comes: `timeout` after the request was sent, `connection` before it was.",
        ),
        Field::optional(
            "times",
            Shape::Either(&[Shape::Whole { min: 1, max: 1_000_000 }, Shape::Choice(&["any"])]),
            "How many requests it answers, each of which must come; 1 when absent. `any`: as many as there are, or none.",
        ),
    ],
};

static ANSWER: Form = Form {
    name: "an answer",
    fields: &[
        Field::optional("status", Shape::Whole { min: 100, max: 599 }, "200 when absent."),
        Field::optional("headers", Shape::Values, "Its headers."),
        Field::optional("body", Shape::Value, "A text is sent as it is, anything else as JSON."),
    ],
};

/// What must hold.
static EXPECT: Form = Form {
    name: "an expectation",
    fields: &[
        Field::optional(
            "status",
            Shape::Choice(&["queued", "running", "waiting", "paused", "completed", "failed", "cancelled"]),
            "Where the run stands that started last.",
        ),
        Field::optional("output", Shape::Value, "At least these members of that run's output."),
        Field::optional(
            "error",
            Shape::Either(&[Shape::Text, Shape::Values]),
            "The code of that run's failure, or at least these members of it: `code`, `message`, `step`, `source`, `details`, `retryable`.",
        ),
        Field::optional(
            "answer",
            Shape::Values,
            "At least these members of what the last webhook was answered: `status`, `headers`, `body`.",
        ),
        Field::optional(
            "refused",
            Shape::Either(&[Shape::Text, Shape::Values]),
            "The last trigger started nothing: the code of the refusal, or its members `code`, `message`.",
        ),
        Field::optional(
            "runs",
            Shape::Either(&[Shape::Whole { min: 0, max: 1_000_000 }, Shape::OneOrMany(&Shape::Values)]),
            "How many runs there are, or all of them with at least these members each: `workflow`, `status`, `trigger`, `output`, `error`.",
        ),
        Field::optional(
            "records",
            Shape::Values,
            "By object: how many records there are, or all of them with at least these fields each, in any order.",
        ),
        Field::optional(
            "state",
            Shape::Values,
            "By workflow: at least these of the values that it keeps for later runs.",
        ),
        Field::optional(
            "mail",
            Shape::Either(&[Shape::Whole { min: 0, max: 1_000_000 }, Shape::OneOrMany(&Shape::Form(&MAIL))]),
            "How many e-mails went out since the test began, or all of them, in any order.",
        ),
        Field::optional(
            "http",
            Shape::Either(&[
                Shape::Whole { min: 0, max: 1_000_000 },
                Shape::OneOrMany(&Shape::Form(&REQUEST)),
            ]),
            "How many requests went out since the test began, or all of them, in any order.",
        ),
    ],
};

static MAIL: Form = Form {
    name: "an e-mail",
    fields: &[
        Field::optional("to", Shape::OneOrMany(&Shape::Template), "Exactly these."),
        Field::optional("cc", Shape::OneOrMany(&Shape::Template), "Exactly these."),
        Field::optional("bcc", Shape::OneOrMany(&Shape::Template), "Exactly these."),
        Field::optional("subject", Shape::Template, "Exactly this."),
        Field::optional("contains", Shape::OneOrMany(&Shape::Template), "Stands in the text or the HTML."),
        Field::optional("lacks", Shape::OneOrMany(&Shape::Template), "Stands in neither."),
    ],
};

static REQUEST: Form = Form {
    name: "a request",
    fields: &[
        Field::optional("method", METHODS, "Its method."),
        Field::optional(
            "url",
            Shape::Template,
            "Its address; one without `?` fits whatever stands behind it.",
        ),
        Field::optional("path", Shape::Template, "The path of its address."),
        Field::optional("query", Shape::Values, "At least these parameters."),
        Field::optional("headers", Shape::Values, "At least these headers."),
        Field::optional("body", Shape::Value, "At least these members of the body."),
        Field::optional(
            "count",
            Shape::Whole { min: 0, max: 10_000 },
            "How many such requests; 1 when absent.",
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// The tables of the guide's page, as the code has them.
    fn tables() -> String {
        let mut out = String::new();
        for (title, form) in [
            ("A test", &TEST),
            ("`steps[]`: one of", &STEP),
            ("`trigger`", &TRIGGER),
            ("`create_record`", &CREATE),
            ("`update_record`", &UPDATE),
            ("`delete_record`", &DELETE),
            ("`resume`", &RESUME),
            ("`input`", &INPUT),
            ("`http[]`", &CANNED),
            ("`http[].answer`", &ANSWER),
            ("`expect`", &EXPECT),
            ("`expect.mail[]`", &MAIL),
            ("`expect.http[]`", &REQUEST),
        ] {
            let _ = write!(out, "### {title}\n\n| key | takes | |\n|---|---|---|\n");
            for field in form.fields {
                let needed = if field.need == stepwell_workflow::document::Need::Required {
                    "**Required.** "
                } else {
                    ""
                };
                let takes = field.shape.describe().replace('|', "\\|");
                let _ = writeln!(out, "| `{}` | {takes} | {needed}{} |", field.key, field.about);
            }
            out.push('\n');
        }
        out
    }

    /// `STEPWELL_WRITE_DOCS=1 cargo test -p stepwell-harness form` writes them.
    #[test]
    fn the_guide_has_the_keys_that_are_read() {
        const MARK: &str = "<!-- made from the code: keys -->\n\n";
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/testing-workflows.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, tail) = text.split_once(MARK).expect("the page has the mark");
        let wanted = tables();
        if std::env::var_os("STEPWELL_WRITE_DOCS").is_some() {
            std::fs::write(&path, format!("{head}{MARK}{wanted}")).unwrap();
        } else {
            assert!(
                tail == wanted,
                "STEPWELL_WRITE_DOCS=1 cargo test -p stepwell-harness form writes the tables"
            );
        }
    }
}
