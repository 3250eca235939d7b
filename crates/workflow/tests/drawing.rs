//! How workflows are drawn.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::path::PathBuf;

use stepwell_workflow::check::{NoCatalog, check};
use stepwell_workflow::graph::Graph;
use stepwell_workflow::graph_draw::Drawing;

fn drawn(name: &str, draw: impl Fn(&Drawing<'_>) -> String) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/good").join(name);
    let checked = check(&std::fs::read_to_string(path).unwrap(), &NoCatalog);
    let workflow = checked.workflow.expect("a good document");
    let graph = Graph::compile(&workflow).unwrap();
    draw(&Drawing::new(&graph, &workflow))
}

#[test]
fn a_tree() {
    insta::assert_snapshot!("web-form.tree", drawn("web-form.yaml", |d| d.tree()));
    insta::assert_snapshot!("everything.tree", drawn("everything.yaml", |d| d.tree()));
    insta::assert_snapshot!("iterators.tree", drawn("iterators.yaml", |d| d.tree()));
}

#[test]
fn mermaid() {
    insta::assert_snapshot!("web-form.mermaid", drawn("web-form.yaml", |d| d.mermaid()));
    insta::assert_snapshot!("everything.mermaid", drawn("everything.yaml", |d| d.mermaid()));
    insta::assert_snapshot!("iterators.mermaid", drawn("iterators.yaml", |d| d.mermaid()));
}

#[test]
fn dot() {
    insta::assert_snapshot!("everything.dot", drawn("everything.yaml", |d| d.dot()));
}
