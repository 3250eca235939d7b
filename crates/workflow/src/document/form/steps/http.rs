//! `http_request`: what is sent, what comes back, and pages.

use super::super::{Field, Form, Kind, METHODS, Need, Shape};

pub(super) const HTTP_REQUEST: Kind = Kind {
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
        Field { key: "method", shape: METHODS, need: Need::Default("GET"), about: "HTTP method." },
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
};

static PAGINATION: Form = Form {
    name: "a pagination",
    fields: &[
        Field {
            key: "next",
            shape: Shape::OneKey(&NEXT_PAGE),
            need: Need::Required,
            about: "How the next page is found.",
        },
        Field {
            key: "items",
            shape: Shape::Text,
            need: Need::Default("body"),
            about: "The list in each answer, as a path: `body.results`. Null there is a page without items.",
        },
        Field {
            key: "more",
            shape: Shape::Text,
            need: Need::Optional,
            about: "A path such as `body.has_more`: a page where it says no, or nothing, is the last.",
        },
        Field {
            key: "max_pages",
            shape: Shape::Whole { min: 1, max: 1_000 },
            need: Need::Default("100"),
            about: "More pages are an error.",
        },
        Field {
            key: "max_bytes",
            shape: Shape::Size { max: 64 << 20 },
            need: Need::Default("8MiB"),
            about: "More than this in the items of all pages, as JSON, is an error.",
        },
    ],
};

static NEXT_PAGE: Form = Form {
    name: "a way to the next page",
    fields: &[
        Field {
            key: "cursor",
            shape: Shape::Form(&CURSOR),
            need: Need::Optional,
            about: "Each page says how the next one is asked for.",
        },
        Field {
            key: "page",
            shape: Shape::Form(&PAGE),
            need: Need::Optional,
            about: "Pages have numbers; the first one without items is the end.",
        },
        Field {
            key: "link",
            shape: Shape::Text,
            need: Need::Optional,
            about: "The `Link` header leads to the next page by this relation, as a rule `next`.",
        },
    ],
};

static CURSOR: Form = Form {
    name: "a cursor",
    fields: &[
        Field {
            key: "path",
            shape: Shape::Text,
            need: Need::Required,
            about: "Where the answer has it, such as `body.next_cursor`; null, false, an empty text or nothing is the end.",
        },
        Field {
            key: "query",
            shape: Shape::Text,
            need: Need::Optional,
            about: "The query parameter that it is sent as. Without it, it is the next page's address, on the same host.",
        },
    ],
};

static PAGE: Form = Form {
    name: "a page",
    fields: &[
        Field {
            key: "query",
            shape: Shape::Text,
            need: Need::Default("page"),
            about: "The query parameter that has its number.",
        },
        Field {
            key: "first",
            shape: Shape::Whole { min: 0, max: 1_000_000 },
            need: Need::Default("1"),
            about: "The first one's number.",
        },
    ],
};

static BODY: Form = Form {
    name: "a body",
    fields: &[
        Field {
            key: "json",
            shape: Shape::Value,
            need: Need::Optional,
            about: "Sent as `application/json`.",
        },
        Field {
            key: "form",
            shape: Shape::ValuesOrTemplate,
            need: Need::Optional,
            about: "Sent as `application/x-www-form-urlencoded`. One template may give all of it.",
        },
        Field {
            key: "text",
            shape: Shape::Template,
            need: Need::Optional,
            about: "Sent as `text/plain` unless a header says otherwise.",
        },
        Field {
            key: "bytes",
            shape: Shape::Template,
            need: Need::Optional,
            about: "Base64, sent as the bytes that it stands for; as `application/octet-stream` unless a header says otherwise.",
        },
    ],
};

static RESPONSE: Form = Form {
    name: "a response",
    fields: &[
        Field {
            key: "status",
            shape: Shape::OneOrMany(&Shape::Status),
            need: Need::Default("2xx"),
            about: "Statuses that are a success: `404`, `2xx`, `200-204`.",
        },
        Field {
            key: "schema",
            shape: Shape::JsonSchema,
            need: Need::Optional,
            about: "JSON Schema of the body; another body is an error, and paths are checked against it.",
        },
        Field {
            key: "as",
            shape: Shape::Choice(&["text"]),
            need: Need::Optional,
            about: "`text`: the body is the text that it is, also where the answer says that it is JSON. Without it such a body is read, and one that is no JSON is an error.",
        },
    ],
};
