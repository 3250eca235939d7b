//! The steps that name and keep values: `set` and `set_state`.

use super::super::{Field, Kind, Need, Shape};

pub(super) const SET: Kind = Kind {
    name: "set",
    about: "Gives names to values.",
    output: "the values",
    fields: &[Field {
        key: "values",
        shape: Shape::ValuesOrTemplate,
        need: Need::Required,
        about: "Names and their values; one template may give them all.",
    }],
};

pub(super) const SET_STATE: Kind = Kind {
    name: "set_state",
    about: "Keeps values for later runs of the workflow, which read them as `state.NAME`. They are written together with the step's completion, and one step may count on what it reads: of two runs, the second sees what the first has written.",
    output: "the values",
    fields: &[Field {
        key: "values",
        shape: Shape::ValuesOrTemplate,
        need: Need::Required,
        about: "Names and their values, or one template that gives them all; null takes a name away. At most 100 names of lower case letters, digits and `_`, 64 KiB a value, 256 KiB together.",
    }],
};
