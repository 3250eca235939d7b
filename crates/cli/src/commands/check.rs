//! `workflow check` and `workflow graph`: on files alone, without a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde_json::json;
use stepwell_records::schema::{Schema, standard};
use stepwell_workflow::check::{self, Catalog, Checked};
use stepwell_workflow::graph::Graph;
use stepwell_workflow::graph_draw::Drawing;
use stepwell_workflow::problem::{Problem, render_all};

use super::Bad;
use super::workflow::name_of;
use crate::args::GraphFormat;
use crate::output;

/// What is known without a server: the standard objects. Which actions there are only a server knows.
struct Offline;

impl Catalog for Offline {
    fn schema(&self) -> Option<Arc<Schema>> {
        Some(standard())
    }
}

pub fn check(files: &[PathBuf], json: bool) -> anyhow::Result<()> {
    let mut bad = 0;
    let mut reports = Vec::new();
    for file in files {
        let (text, checked) = read(file)?;
        let problems = problems(file, checked)?;
        bad += usize::from(!problems.is_empty());
        if json {
            reports.push(json!({ "file": file, "problems": problems }));
        } else if problems.is_empty() {
            output::line(format!("{}: no problems", file.display()));
        } else {
            output::line(render_all(&problems, &file.display().to_string(), &text).trim_end());
        }
    }
    if json {
        output::json(&reports)?;
    }
    match bad {
        0 => Ok(()),
        1 => Err(Bad("a workflow has problems".into()).into()),
        n => Err(Bad(format!("{n} workflows have problems")).into()),
    }
}

fn read(file: &Path) -> anyhow::Result<(String, Checked)> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let checked = check::check_bytes(&bytes, &Offline);
    Ok((String::from_utf8_lossy(&bytes).into_owned(), checked))
}

/// The document's own problems, and a name that its file does not have.
fn problems(file: &Path, checked: Checked) -> anyhow::Result<Vec<Problem>> {
    let stem = name_of(file)?;
    let mut problems = checked.problems;
    if let Some(workflow) = checked.workflow.filter(|w| w.name != stem) {
        problems.push(Problem {
            path: "name".into(),
            line: 0,
            column: 0,
            step: None,
            code: "name_mismatch".into(),
            message: format!("the workflow is named `{}` and its file `{stem}`", workflow.name),
            hint: Some("a workflow's file name is its identity: make them the same".into()),
            length: 1,
        });
    }
    Ok(problems)
}

pub fn graph(file: &Path, format: GraphFormat) -> anyhow::Result<()> {
    let (text, checked) = read(file)?;
    let Some(workflow) = checked.workflow else {
        eprintln!("{}", render_all(&checked.problems, &file.display().to_string(), &text).trim_end());
        return Err(Bad("a workflow with problems has no graph".into()).into());
    };
    let graph = Graph::compile(&workflow).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}: {}", file.display(), texts.join("; "))
    })?;
    let drawing = Drawing::new(&graph, &workflow);
    let text = match format {
        GraphFormat::Text => drawing.tree(),
        GraphFormat::Mermaid => drawing.mermaid(),
        GraphFormat::Dot => drawing.dot(),
    };
    output::line(text.trim_end());
    Ok(())
}
