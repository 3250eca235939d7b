//! `workflow check` and `workflow graph`: on files; a server is asked only when it is wished.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use stepwell_records::schema::Schema;
use stepwell_workflow::check::{
    self, Catalog, Checked, NoCatalog, StandardObjects, Together, WorkflowLookup,
};
use stepwell_workflow::graph::Graph;
use stepwell_workflow::graph_draw::{self, Drawing};
use stepwell_workflow::model::{StepKind, Workflow};
use stepwell_workflow::problem::{Problem, render_all};
use stepwell_workflow::schema_file::{self, WithSchema};

use super::Bad;
use super::files;
use super::workflow::name_of;
use crate::args::{Global, GraphFormat};
use crate::client::Client;
use crate::output;

#[derive(Deserialize)]
struct Answer {
    problems: Vec<stepwell_engine::Problem>,
}

pub async fn check(
    files: &[PathBuf],
    connections: &[PathBuf],
    online: bool,
    global: &Global,
) -> anyhow::Result<()> {
    let client = online.then(|| Client::new(global)).transpose()?;
    let mut bad = 0;
    let mut reports = Vec::new();
    for file in connections {
        let text = super::connection::read(file)?;
        let (_, problems) = stepwell_workflow::connection::read(&text, &name_of(file)?);
        bad += usize::from(!problems.is_empty());
        if global.json {
            reports.push(json!({ "file": file, "problems": problems }));
        } else if problems.is_empty() {
            output::line(format!("{}: no problems", file.display()));
        } else {
            output::line(render_all(&problems, &file.display().to_string(), &text).trim_end());
        }
    }
    let mut not_asked = BTreeSet::new();
    let mut maybe_own = Vec::new();
    let known = together(files);
    let mut schemas = BTreeMap::new();
    for file in files {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let catalog = match schemas.entry(folder) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let (catalog, told) = catalog_of(new.key())?;
                if let Some((file, text, problems)) = told {
                    bad += 1;
                    if global.json {
                        reports.push(json!({ "file": file, "problems": problems }));
                    } else {
                        output::line(render_all(&problems, &file.display().to_string(), &text).trim_end());
                    }
                }
                new.insert(catalog)
            }
        };
        let (text, checked) = read(file, &Place { folder: &**catalog, known: &known })?;
        let mut problems = checked.problems;
        match &client {
            Some(client) => {
                let mut told: Vec<Problem> =
                    ask(client, &name_of(file)?, &text).await?.into_iter().map(Problem::from).collect();
                // A file that is not saved yet is there all the same.
                told.retain(|problem| !explained(&known, problem));
                add(&mut problems, told);
            }
            None => {
                not_asked.extend(checked.workflow.iter().flat_map(actions));
                if !file.with_file_name(schema_file::FILE).is_file() {
                    let own = problems.extract_if(.., |problem| may_be_own(problem));
                    maybe_own.extend(own.map(|problem| (file, problem)));
                }
            }
        }
        bad += usize::from(!problems.is_empty());
        if global.json {
            reports.push(json!({ "file": file, "problems": problems }));
        } else if problems.is_empty() {
            output::line(format!("{}: no problems", file.display()));
        } else {
            output::line(render_all(&problems, &file.display().to_string(), &text).trim_end());
        }
    }
    if global.json {
        output::json(&reports)?;
    } else if client.is_none() {
        for (file, problem) in maybe_own {
            output::line(format!(
                "not checked: {}:{}: {}; if it is one of your own, a schema.yaml beside the file says so",
                file.display(),
                problem.line,
                problem.message
            ));
        }
        output::line(not_checked(&not_asked));
    }
    match bad {
        0 => Ok(()),
        1 if connections.is_empty() => Err(Bad("a workflow has problems".into()).into()),
        n if connections.is_empty() => Err(Bad(format!("{n} workflows have problems")).into()),
        1 => Err(Bad("a file has problems".into()).into()),
        n => Err(Bad(format!("{n} files have problems")).into()),
    }
}

/// Whether a name that no standard object knows may be one that the workspace has of its own: it is like none of them.
fn may_be_own(problem: &Problem) -> bool {
    let is_name = matches!(problem.code.as_str(), "unknown_object" | "unknown_field");
    is_name && !problem.hint.as_ref().is_some_and(|hint| hint.contains("did you mean"))
}

/// Whether a problem is about a workflow that is in one of the files.
fn explained(known: &Together, problem: &Problem) -> bool {
    let named = |name: &str| problem.message.contains(&format!("`{name}`"));
    problem.code == "unknown_workflow" && known.names().any(named)
}

/// The workflows of the files that are checked together.
fn together(files: &[PathBuf]) -> Together {
    let of = |file: &PathBuf| {
        let workflow = read(file, &NoCatalog).ok().and_then(|(_, checked)| checked.workflow);
        Some((name_of(file).ok()?, workflow.map(Arc::new)))
    };
    files.iter().filter_map(of).collect()
}

/// Where a file is checked: its folder's schema, and the files that are checked with it.
struct Place<'a> {
    folder: &'a dyn Catalog,
    known: &'a Together,
}

impl Catalog for Place<'_> {
    fn schema(&self) -> Option<Arc<Schema>> {
        self.folder.schema()
    }

    fn views(&self, object: &str) -> Option<Vec<String>> {
        self.folder.views(object)
    }

    fn plain_http(&self, host: &str) -> Option<bool> {
        self.folder.plain_http(host)
    }

    fn workflow(&self, name: &str) -> WorkflowLookup {
        self.known.workflow(name)
    }
}

/// A schema file with problems: its text, and what is wrong with it.
type BadSchema = (PathBuf, String, Vec<Problem>);

/// What is known of a workspace that has what the folder's schema file asks for.
fn catalog_of(folder: &Path) -> anyhow::Result<(Box<dyn Catalog>, Option<BadSchema>)> {
    let file = folder.join(schema_file::FILE);
    if !file.is_file() {
        return Ok((Box::new(StandardObjects), None));
    }
    let text = files::text(&file)?;
    let made = schema_file::read(&text)
        .and_then(|wanted| WithSchema::new(&wanted).map_err(|error| schema_file::told(&text, &error)));
    Ok(match made {
        Ok(catalog) => (Box::new(catalog), None),
        Err(problems) => (Box::new(NoCatalog), Some((file, text, problems))),
    })
}

fn not_checked(actions: &BTreeSet<String>) -> String {
    let names: Vec<&str> = actions.iter().map(String::as_str).collect();
    let named = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    format!(
        "not checked without a server: actions{named}, objects, fields and views that no schema.yaml beside it has, workflows that are not among the files, connections, secrets, settings, limits; --online asks --server"
    )
}

/// The actions that a workflow names.
fn actions(workflow: &Workflow) -> Vec<String> {
    let steps = workflow.every_step().into_iter();
    let actions = steps.filter_map(|step| match &step.kind {
        StepKind::Code(code) => Some(code.action.to_string()),
        _ => None,
    });
    actions.collect()
}

/// What a server says of a text, without keeping it.
pub async fn ask(client: &Client, name: &str, text: &str) -> anyhow::Result<Vec<stepwell_engine::Problem>> {
    let request = client.post(&["workflows", name, "check"]).body(text.to_owned());
    let answer: Answer = client.json(request).await?;
    Ok(answer.problems)
}

/// What the server found beyond what was found here. Its word on objects counts: it knows those of the workspace.
fn add(problems: &mut Vec<Problem>, told: Vec<Problem>) {
    let is_same = |a: &Problem, b: &Problem| {
        (&a.code, &a.path, a.line, a.column) == (&b.code, &b.path, b.line, b.column)
    };
    problems.retain(|here| told.iter().any(|there| is_same(here, there)));
    for there in told {
        if !problems.iter().any(|here| is_same(here, &there)) {
            problems.push(there);
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
}

fn read(file: &Path, catalog: &dyn Catalog) -> anyhow::Result<(String, Checked)> {
    let bytes = files::bytes(file)?;
    let checked = check::check_bytes(&bytes, &name_of(file)?, catalog);
    Ok((String::from_utf8_lossy(&bytes).into_owned(), checked))
}

pub fn graph(file: &Path, format: Option<GraphFormat>, json: bool) -> anyhow::Result<()> {
    if json && format.is_some() {
        anyhow::bail!("--json and --format are two answers to one question: give one of them");
    }
    // Which objects and fields a workspace has of its own is no matter of a graph's.
    let (text, checked) = read(file, &NoCatalog)?;
    let Some(workflow) = checked.workflow else {
        output::complain(render_all(&checked.problems, &file.display().to_string(), &text).trim_end());
        return Err(Bad("a workflow with problems has no graph".into()).into());
    };
    let graph = Graph::compile(&workflow).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}: {}", file.display(), texts.join("; "))
    })?;
    if json {
        let (trigger, nodes) = (workflow.trigger.type_name(), graph_draw::nodes(&graph));
        return output::json(&json!({ "name": workflow.name, "trigger": trigger, "nodes": nodes }));
    }
    let drawing = Drawing::new(&graph, &workflow);
    let text = match format.unwrap_or(GraphFormat::Text) {
        GraphFormat::Text => drawing.tree(),
        GraphFormat::Mermaid => drawing.mermaid(),
        GraphFormat::Dot => drawing.dot(),
    };
    output::line(text.trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: &str, line: usize, length: usize) -> Problem {
        Problem {
            path: String::new(),
            line,
            column: 1,
            step: None,
            code: code.into(),
            message: code.into(),
            hint: None,
            length,
        }
    }

    #[test]
    fn the_server_has_the_last_word_and_what_both_say_is_said_once() {
        let mut problems = vec![problem("unknown_key", 2, 7), problem("unknown_object", 5, 3)];
        add(&mut problems, vec![problem("unknown_key", 2, 1), problem("unknown_action", 1, 1)]);
        let left: Vec<_> = problems.iter().map(|p| (p.code.as_str(), p.length)).collect();
        assert_eq!(left, [("unknown_action", 1), ("unknown_key", 7)]);
    }
}
