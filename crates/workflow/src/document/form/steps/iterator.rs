//! `iterator`: the same steps for each item of a list, or for each record of a search.

use super::super::{Field, Form, Kind, Need, Shape};
use super::records::{FILTER, OBJECT, SORT, VIEW};
use crate::model::Iterate;

pub(super) const ITERATOR: Kind = Kind {
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
