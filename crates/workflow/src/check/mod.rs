//! Whether a document makes sense: everything that can be known before a run, told at once.
//!
//! ```
//! use stepwell_workflow::check::{NoCatalog, check};
//!
//! let checked = check("name: demo\ntrigger: { type: manual }\nsteps:\n  - { id: a, type: set, values: { b: '{{ c.d }}' } }\n", &NoCatalog);
//! assert_eq!(checked.problems[0].code, "unknown_reference");
//! ```

mod bounds;
mod catalog;
mod checker;
mod code;
mod conditions;
mod events;
mod given;
mod infer;
mod iterator;
mod loops;
mod manual;
mod missing;
mod needs;
mod outside;
mod pages;
mod records;
mod runs;
mod schedule;
mod scope;
mod steps;
mod templates;
mod types;
mod webhook;

use crate::document::{self, Source};
use crate::model::Workflow;
use crate::problem::{MAX_PROBLEMS, Problem, told};

pub use catalog::{
    ActionInfo, ActionLookup, Catalog, ConnectionLookup, NoCatalog, Rehearsal, StandardObjects, Together,
    WorkflowLookup,
};

/// More steps than this are no workflow that a person could follow.
pub const MAX_STEPS: usize = 1_000;

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// The definition; only when there is no problem.
    pub workflow: Option<Workflow>,
    /// In the order of the document; after the first [`MAX_PROBLEMS`] one that says that there are more.
    pub problems: Vec<Problem>,
}

/// Reads a document (YAML, or JSON when it starts with `{`) and checks it against what there is.
pub fn check(text: &str, catalog: &dyn Catalog) -> Checked {
    check_text(text, None, catalog)
}

/// The same for a document that is kept under a name, which must be its own.
pub fn check_as(text: &str, name: &str, catalog: &dyn Catalog) -> Checked {
    check_text(text, Some(name), catalog)
}

fn check_text(text: &str, name: Option<&str>, catalog: &dyn Catalog) -> Checked {
    let source = Source::new(text);
    let (tree, mut problems) = document::parse(&source);
    let mut workflow = None;
    if let Some(tree) = tree {
        problems.extend(name.and_then(|name| wrong_name(&source, &tree, name)));
        let (draft, more) = document::read(&source, &tree);
        problems.extend(more);
        if let Some(draft) = draft.filter(|_| problems.len() <= MAX_PROBLEMS) {
            problems.extend(checker::problems(&source, &tree, &draft, catalog));
            workflow = Some(draft.workflow);
        }
    }
    if problems.is_empty()
        && let Some(workflow) = &workflow
    {
        problems.extend(too_large(&source, workflow));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Checked { workflow: workflow.filter(|_| problems.is_empty()), problems: told(problems) }
}

/// A document is stored as its text, with what it says beside it: that may be more, where aliases repeat things.
fn too_large(source: &Source<'_>, workflow: &Workflow) -> Option<Problem> {
    let text = serde_json::to_vec(source.text()).map_or(0, |json| json.len());
    let steps = serde_json::to_vec(workflow).map_or(0, |json| json.len());
    let (stored, most) = (text + steps, document::MAX_BYTES);
    (stored > most).then(|| {
        let message = format!(
            "the document takes {stored} bytes to store (its text of {text} bytes, and its steps as they are run, of \
             {steps}); at most {most} are possible"
        );
        Problem::at(source, 0, 0, "too_large", message)
            .hint("move steps into workflows of their own, and large values into records")
    })
}

/// A name is told to be another's whatever else is wrong with the document.
fn wrong_name(source: &Source<'_>, tree: &document::Node, name: &str) -> Option<Problem> {
    let own = &tree.get("name")?.value;
    match &own.data {
        document::Data::Text(text) if text != name => {
            let message = format!("the document's name is `{text}`, and it is kept as `{name}`");
            let problem = Problem::at(source, own.from, own.to, "wrong_name", message);
            Some(Problem { path: "name".into(), ..problem }.hint(format!("write `name: {name}`")))
        }
        _ => None,
    }
}

/// [`check_as`] for bytes that somebody sent.
pub fn check_bytes(bytes: &[u8], name: &str, catalog: &dyn Catalog) -> Checked {
    match std::str::from_utf8(bytes) {
        Ok(text) => check_as(text, name, catalog),
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let source = Source::new(&good);
            let at = good.len();
            let problem =
                Problem::at(&source, at, at, "not_utf8", "the document is not UTF-8 text from here on");
            Checked { workflow: None, problems: vec![problem.hint("save the file as UTF-8")] }
        }
    }
}
