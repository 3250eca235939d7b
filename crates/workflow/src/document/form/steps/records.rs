//! The steps that work on records.

use super::super::{Field, Form, Kind, Need, Shape};

pub(super) const OBJECT: Field =
    Field { key: "object", shape: Shape::Text, need: Need::Required, about: "The object's name." };

const RECORD: Field = Field {
    key: "record",
    shape: Shape::ValuesOrTemplate,
    need: Need::Required,
    about: "Fields and their values; one template may give them all: `\"{{ mapped.record }}\"`.",
};

pub(super) const VIEW: Field = Field {
    key: "view",
    shape: Shape::Text,
    need: Need::Optional,
    about: "A [saved view](filters.md#views) of the object: its filter holds beside `filter`, and its order where there is no `sort`.",
};

pub(super) const FILTER: Field = Field {
    key: "filter",
    shape: Shape::RecordFilter,
    need: Need::Default("every record"),
    about: "Which records.",
};

pub(super) const SORT: Field = Field {
    key: "sort",
    shape: Shape::OneOrMany(&Shape::Text),
    need: Need::Default("the order of creation"),
    about: "Fields, `-` in front for descending: `[-createdAt, city]`.",
};

const WRITE_OUTPUT: &str = "`{record, outcome}`, outcome one of created, updated, unchanged";

pub(super) const SEARCH_RECORDS: Kind = Kind {
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
};

pub(super) const CREATE_RECORD: Kind = Kind {
    name: "create_record",
    about: "Creates a record.",
    output: WRITE_OUTPUT,
    fields: &[OBJECT, RECORD],
};

pub(super) const UPDATE_RECORD: Kind = Kind {
    name: "update_record",
    about: "Changes fields of a record.",
    output: WRITE_OUTPUT,
    fields: &[
        OBJECT,
        Field { key: "record_id", shape: Shape::Template, need: Need::Required, about: "The record's id." },
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
};

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

pub(super) const UPSERT_RECORD: Kind = Kind {
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
};

pub(super) const DELETE_RECORD: Kind = Kind {
    name: "delete_record",
    about: "Deletes a record; it can be restored. One that is deleted already is left as it is.",
    output: "`{record, outcome}`; `outcome` is `deleted` or `unchanged`",
    fields: &[
        OBJECT,
        Field { key: "record_id", shape: Shape::Template, need: Need::Required, about: "The record's id." },
        Field {
            key: "if_version",
            shape: Shape::WholeOrTemplate { min: 1, max: u64::MAX },
            need: Need::Optional,
            about: "Fails with `stale` when the record has another version by then.",
        },
    ],
};
