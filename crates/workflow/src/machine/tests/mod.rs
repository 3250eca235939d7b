//! What the machine promises: rules by example, and properties over random workflows.

mod delays;
mod examples;
mod failures;
mod inputs;
mod iterators;
mod properties;
mod runs;
mod state;
mod support;
