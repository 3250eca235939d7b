//! The table of what a connection's document may hold: it is read with it, and the schema and the reference are made
//! from it.

use crate::document::{Field, Form, Need, Shape};

const fn field(key: &'static str, shape: Shape, need: Need, about: &'static str) -> Field {
    Field { key, shape, need, about }
}

/// A whole document.
pub static CONNECTION: Form = Form {
    name: "a connection",
    fields: &[
        field(
            "name",
            Shape::Name,
            Need::Default("the file's name without its ending"),
            "What steps call it: `connection: NAME`.",
        ),
        field("description", Shape::Prose, Need::Optional, "What is behind it."),
        field(
            "base_url",
            Shape::Text,
            Need::Required,
            "Scheme, host and the path that all requests have in common, such as `https://api.example.com/v1`; literal.",
        ),
        field("auth", Shape::OneKey(&AUTH), Need::Optional, "How requests say who sends them."),
        field(
            "headers",
            Shape::Templates,
            Need::Optional,
            "Sent with every request; a step's header of the same name counts instead. `{{ secrets.NAME }}` can stand in them.",
        ),
        field("tls", Shape::Form(&TLS), Need::Optional, "Certificates, as PEM."),
        field(
            "allow_private_hosts",
            Shape::OneOrMany(&Shape::Text),
            Need::Default("all that the server allows"),
            "Of the private networks that the server may call (`--allow-private-hosts`), those that this connection reaches.",
        ),
        field(
            "plain_http",
            Shape::Choice(&["refuse", "allow"]),
            Need::Default("refuse"),
            "Whether `http://` may be spoken to a host that is neither loopback nor in an allowed private network: what it carries can be read on the way.",
        ),
        field(
            "rate",
            Shape::Form(&RATE),
            Need::Default("no limit"),
            "How many requests are sent, of all runs of the workspace together. Those beyond it wait their turn, and hold no run slot meanwhile.",
        ),
        field(
            "concurrency",
            Shape::Whole { min: 1, max: 10_000 },
            Need::Default("no limit"),
            "How many requests are under way at the same time, of all runs of the workspace together.",
        ),
    ],
};

static AUTH: Form = Form {
    name: "an authentication",
    fields: &[
        field(
            "bearer",
            Shape::Template,
            Need::Optional,
            "Sent as `Authorization: Bearer …`: `{{ secrets.NAME }}`.",
        ),
        field("basic", Shape::Form(&BASIC), Need::Optional, "Sent as `Authorization: Basic …`."),
        field("api_key", Shape::Form(&API_KEY), Need::Optional, "A key in a header, or in the query."),
    ],
};

static BASIC: Form = Form {
    name: "a login",
    fields: &[
        field("username", Shape::Template, Need::Required, "A text, or `{{ secrets.NAME }}`."),
        field("password", Shape::Template, Need::Required, "`{{ secrets.NAME }}`."),
    ],
};

static API_KEY: Form = Form {
    name: "an API key",
    fields: &[
        field("header", Shape::Text, Need::Optional, "The header that has it, such as `X-Api-Key`; or else:"),
        field("query", Shape::Text, Need::Optional, "The query parameter that has it."),
        field("value", Shape::Template, Need::Required, "`{{ secrets.NAME }}`."),
    ],
};

static TLS: Form = Form {
    name: "`tls`",
    fields: &[
        field(
            "ca",
            Shape::Prose,
            Need::Optional,
            "Certificates of authorities that are trusted besides those that every client trusts.",
        ),
        field(
            "client_certificate",
            Shape::Prose,
            Need::Optional,
            "The certificate that is shown to the server, with those that it stands on.",
        ),
        field("client_key", Shape::Template, Need::Optional, "Its key: `{{ secrets.NAME }}`."),
    ],
};

static RATE: Form = Form {
    name: "a rate",
    fields: &[
        field(
            "requests",
            Shape::Whole { min: 1, max: 100_000 },
            Need::Required,
            "At most so many requests …",
        ),
        field(
            "per",
            Shape::Duration { max_ms: 24 * 3_600_000 },
            Need::Default("1s"),
            "… in any stretch of time of this length, of 100ms or more.",
        ),
    ],
};
