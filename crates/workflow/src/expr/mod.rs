//! Values by template: `{{ expression }}`.
//!
//! The language is Jinja's, read by minijinja's parser. What it means is stricter than in any template engine,
//! because nobody looks at a workflow's values before they are acted on, so it is evaluated here, over JSON:
//!
//! - a text that is exactly one expression gives that expression's value with its JSON type, any other a text;
//! - a value that is not there is an error wherever it is used, and says what is there instead; `default` and
//!   `is defined` deal with it, at any depth;
//! - null, lists and objects have no text; texts and numbers have no order among each other;
//! - integers are exact; a number that JSON cannot hold here is an error;
//! - there is no clock but the run's, and a rendering has a budget of steps and of bytes.

mod arithmetic;
mod ast;
mod budget;
mod certain;
mod document;
mod error;
mod escape;
mod eval;
mod filled;
mod filters;
mod follow;
mod json;
#[cfg(test)]
mod limits_tests;
mod nesting;
mod outcomes;
mod parse;
mod paths;
mod scope;
mod template;
#[cfg(test)]
mod tests;
mod undefined;

pub use ast::Segment;
pub use budget::{Budget, MAX_MADE, MAX_STEPS};
pub use certain::{Certain, Clash, Kinds};
pub use document::{Document, render_value};
pub use error::{ExprError, ExprErrorKind};
pub use filled::{Filled, RevealError, SecretAt, SecretsIn, Text};
pub use nesting::{MAX_NESTING, MAX_WORDS};
pub use scope::{Found, Scope, Values};
pub use template::{Mode, Reference, Rendered, Template, references};
