//! `send_email`: whom it goes to, and what it says.

use super::super::{Field, Kind, Need, Shape};

pub(super) const SEND_EMAIL: Kind = Kind {
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
        Field { key: "reply_to", shape: Shape::Template, need: Need::Optional, about: "Where answers go." },
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
};
