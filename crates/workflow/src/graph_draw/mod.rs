//! A compiled workflow as a picture: a tree for terminals, Mermaid and DOT for everything else.
//!
//! ```
//! use stepwell_workflow::check::{NoCatalog, check};
//! use stepwell_workflow::graph::Graph;
//! use stepwell_workflow::graph_draw::Drawing;
//!
//! let text = "name: demo\ntrigger: { type: manual }\nsteps:\n  - { id: a, type: set, values: { b: 1 } }\n";
//! let workflow = check(text, &NoCatalog).workflow.expect("no problems");
//! let graph = Graph::compile(&workflow).expect("it compiles");
//! assert_eq!(Drawing::new(&graph, &workflow).tree(), "demo  manual\n└─ a  set\n");
//! ```

mod data;
mod flow;
mod label;
mod tree;

use std::collections::HashMap;

pub use data::nodes;

use crate::graph::Graph;
use crate::model::{Step, StepKind, Workflow};

/// A graph with the definition it was compiled from: one has the order, the other the words.
#[derive(Debug)]
pub struct Drawing<'a> {
    graph: &'a Graph,
    workflow: &'a Workflow,
    steps: HashMap<&'a str, &'a Step>,
}

impl<'a> Drawing<'a> {
    pub fn new(graph: &'a Graph, workflow: &'a Workflow) -> Drawing<'a> {
        let steps = workflow.every_step().into_iter().map(|step| (step.id.as_str(), step)).collect();
        Drawing { graph, workflow, steps }
    }

    /// Lines for a terminal, one a step.
    pub fn tree(&self) -> String {
        tree::draw(self)
    }

    /// A Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        flow::Flow::of(self).mermaid()
    }

    /// A digraph for Graphviz.
    pub fn dot(&self) -> String {
        flow::Flow::of(self).dot()
    }

    /// The conditions of a branch's arms, in words.
    fn conditions(&self, id: &str) -> Vec<String> {
        match self.steps.get(id).map(|step| &step.kind) {
            Some(StepKind::Branch(branch)) => {
                branch.branches.iter().map(|arm| label::condition(&arm.when)).collect()
            }
            _ => Vec::new(),
        }
    }
}
