//! Reading a document: text → tree of values with places → the definition, with every problem on the way.
//!
//! `tree` reads YAML or JSON without knowing what a workflow is; `form` is the one table of what a
//! workflow document may hold; `read` goes through a tree with that table and reports what does not fit.

mod describe;
mod form;
mod path;
mod read;
mod read_text;
mod scalar;
mod source;
mod tree;
mod yaml;

pub use form::{COMMON, Field, Form, Kind, METHODS, Need, STEPS, Shape, TOP, TRIGGERS};
pub use path::{Path, Segment};
pub use read::{Draft, read, read_as};
pub(crate) use read_text::is_one_expression;
pub use read_text::{MAX_ID, RESERVED};
pub use source::Source;
pub use tree::{Data, Entry, Node, Style};
pub use yaml::{MAX_BYTES, MAX_DEPTH, MAX_PROBLEMS, MAX_VALUES, parse};

#[cfg(test)]
mod tests;
