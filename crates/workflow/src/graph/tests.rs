//! What compiling promises.

use serde_json::{Value, json};

use super::{Condition, Graph, NodeId, NodeKind, Owner};
use crate::expr::Values;
use crate::machine::Taken;
use crate::model::Workflow;

fn compile(steps: Value) -> Result<Graph, Vec<String>> {
    let document = json!({"name": "test", "trigger": {"type": "manual"}, "steps": steps,
        "on_failure": [{"id": "last", "type": "set", "values": {}}]});
    let workflow: Workflow = serde_json::from_value(document).unwrap();
    Graph::compile(&workflow).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn nodes_stand_in_document_order_and_know_their_place() {
    let set = |id: &str| json!({"id": id, "type": "set", "values": {}});
    let graph = compile(json!([
        set("a"),
        {"id": "pick", "type": "branch",
         "branches": [{"when": "{{ trigger.x }}", "do": [set("b"), set("c")]}], "else": [set("d")],
         "on_error": {"do": [set("e")]}},
        {"id": "both", "type": "parallel", "steps": [
            {"id": "f", "type": "set", "values": {}, "needs": ["g"]}, set("g")]},
    ]))
    .unwrap();
    let paths: Vec<&str> = graph.nodes.iter().map(|node| node.path.as_str()).collect();
    let wanted =
        ["a", "pick", "pick.b", "pick.c", "pick.d", "pick.e", "both", "both.f", "both.g", "on_failure.last"];
    assert_eq!(paths, wanted);
    for (index, node) in graph.nodes.iter().enumerate() {
        let id = NodeId(index as u32);
        assert_eq!(graph.list(node.list).steps[node.place], id);
        assert_eq!(graph.find(&node.path), Some(id));
        assert_eq!(graph.step(&node.id), Some(id));
        for list in node.lists() {
            assert!(matches!(graph.list(list).owner, Owner::Step(owner, _) if owner == id));
        }
    }
    let f = graph.node(graph.step("f").unwrap());
    assert_eq!(f.needs, [graph.step("g").unwrap()]);
    assert!(matches!(graph.list(f.list).owner, Owner::Step(_, Taken::Steps)));
    assert!(matches!(graph.node(graph.step("both").unwrap()).kind, NodeKind::Parallel(_)));
    assert_eq!(graph.find(&"both[7].f".into()), graph.step("f"));
}

#[test]
fn every_template_and_filter_that_cannot_be_compiled_is_reported() {
    let errors = compile(json!([
        {"id": "a", "type": "code", "action": "act", "input": {"x": ["{{ b | lowr }}"]}},
        {"id": "pick", "type": "branch", "branches": [{"when": {"value": 1, "is_bigger": 0}, "do": [
            {"id": "get", "type": "http_request", "url": "https://{{ trigger.host }}/", "headers": {"x": "{{"}, "if": "yes"}]}]},
        {"id": "make", "type": "create_record", "object": "task", "record": {"title": "{{ secrets.KEY }}"}},
    ]))
    .unwrap_err();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_value_of_a_filter_that_is_not_there_is_told_with_its_place() {
    let condition = Condition::compile(&json!({"all": [
        {"value": "{{ a.n }}", "is": 1},
        {"not": {"any": [{"value": ["x", "{{ a.no }}"], "contains": "x"}, {"value": 1, "is": 2}]}}
    ]}));
    let condition = condition.unwrap();
    let holds = |a: Value| condition.holds(&Values::new([("a", a)])).map_err(|error| error.to_string());
    assert!(holds(json!({"n": 1})).unwrap_err().starts_with("all[1].not.any[0].value[1]: "));
    assert_eq!(holds(json!({"n": 1, "no": 2})), Ok(false));
    let asked = Condition::compile(&json!({"value": 1, "greater_than": "{{ a.m }}"})).unwrap();
    let error = asked.holds(&Values::new([("a", json!({}))])).unwrap_err();
    assert!(error.to_string().starts_with("greater_than: "), "{error}");
}
