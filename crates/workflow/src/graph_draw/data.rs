//! A graph as JSON, for programs that draw it themselves.

use serde_json::{Value, json};

use crate::graph::{Graph, Owner};
use crate::machine::{StepPath, Taken};

/// Every step in document order: what it is, where it stands, and after which siblings it runs.
pub fn nodes(graph: &Graph) -> Vec<Value> {
    let nodes = graph.nodes.iter().map(|node| {
        let list = graph.list(node.list);
        let (inside, arm) = match list.owner {
            Owner::Run => (None, Value::Null),
            Owner::OnFailure => (None, json!("on_failure")),
            Owner::Step(owner, taken) => (Some(&graph.node(owner).path), json!(taken)),
        };
        // A list runs from top to bottom; a parallel's goes by what its steps need.
        let parallel = matches!(list.owner, Owner::Step(_, Taken::Steps));
        let after: Vec<&StepPath> = match (parallel, node.place.checked_sub(1)) {
            (true, _) => node.needs.iter().map(|need| &graph.node(*need).path).collect(),
            (false, Some(before)) => vec![&graph.node(list.steps[before]).path],
            (false, None) => Vec::new(),
        };
        json!({ "id": node.id, "path": node.path, "type": node.type_name, "inside": inside, "arm": arm, "after": after })
    });
    nodes.collect()
}
