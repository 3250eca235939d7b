//! Local building and testing of actions, and testing of workflows, with the sandbox and the engine of production.
//!
//! [`create`] writes a project, [`build`] makes its module, [`test()`] runs its fixtures, [`inspect`] says what a module
//! is; [`test_workflows`] runs the tests of a folder of workflows. Nothing here prints: reports are values with a text of their own.

mod accepted;
mod build;
mod cargo;
mod compare;
mod describe;
mod error;
mod fixture;
mod inspect;
mod names;
mod new;
mod project;
mod report;
mod sdk;
mod test;
mod toolchain;
mod workflow;

pub use accepted::{Accepted, Tolerance};
pub use build::{BuildOptions, Built, build};
pub use error::HarnessError;
pub use fixture::{Expected, Fixture, save as save_fixture};
pub use inspect::{Function, Inspection, Section, inspect};
pub use new::create;
pub use project::Project;
pub use report::{CaseReport, Problem, TestReport};
pub use sdk::vendor;
pub use test::{TestOptions, test};
pub use toolchain::{TARGET, add_target, has_target};
pub use workflow::{FlowCase, FlowReport, FlowTestOptions, test_workflows};
