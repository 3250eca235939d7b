//! JSON values with templates inside, compiled once.

use serde_json::{Map, Value};

use super::budget::Budget;
use super::error::{ExprError, ExprErrorKind};
use super::filled::{Filled, SecretsIn};
use super::scope::Scope;
use super::template::{Mode, Reference, Template};
use crate::depth::{MAX_DEPTH, place_too_deep};

/// A compiled value: parts without templates are kept as they are.
#[derive(Debug)]
pub struct Document(Node);

#[derive(Debug)]
enum Node {
    Literal(Value),
    Template(Template),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Document {
    /// Every text inside becomes a template of this mode.
    pub fn compile(value: &Value, mode: Mode) -> Result<Document, ExprError> {
        node(value, mode).map(Document)
    }

    /// A value without templates.
    pub(crate) fn literal(value: Value) -> Document {
        Document(Node::Literal(value))
    }

    /// With the places of its secrets beside it.
    pub fn render(&self, scope: &dyn Scope) -> Result<Filled, ExprError> {
        let own;
        let budget = match scope.budget() {
            Some(shared) => shared,
            None => {
                own = Budget::default();
                &own
            }
        };
        let mut secrets = Vec::new();
        let value = render(&self.0, scope, budget, &mut secrets)?;
        match place_too_deep(&value) {
            Some(path) => Err(ExprError {
                path,
                ..ExprError::new(
                    ExprErrorKind::Limit,
                    format!("the value is nested deeper than {MAX_DEPTH} levels"),
                )
            }),
            None => Ok(Filled { value, secrets }),
        }
    }

    /// The value of a place where no secrets may stand.
    pub fn render_value(&self, scope: &dyn Scope) -> Result<Value, ExprError> {
        self.render(scope).map(|filled| filled.value)
    }

    /// The value, where it has no template.
    pub(crate) fn as_literal(&self) -> Option<Value> {
        fn literal(node: &Node) -> Option<Value> {
            match node {
                Node::Literal(value) => Some(value.clone()),
                Node::Template(_) => None,
                Node::List(items) => items.iter().map(literal).collect(),
                Node::Object(fields) => {
                    fields.iter().map(|(name, node)| Some((name.clone(), literal(node)?))).collect()
                }
            }
        }
        literal(&self.0)
    }

    /// Its template, where it is no more than that.
    pub(crate) fn as_template(&self) -> Option<&Template> {
        match &self.0 {
            Node::Template(template) => Some(template),
            _ => None,
        }
    }

    /// What its templates read.
    pub fn references(&self) -> Vec<&Reference> {
        let mut found = Vec::new();
        let mut open = vec![&self.0];
        while let Some(node) = open.pop() {
            match node {
                Node::Literal(_) => {}
                Node::Template(template) => found.extend(template.references()),
                Node::List(items) => open.extend(items.iter().rev()),
                Node::Object(fields) => open.extend(fields.iter().rev().map(|(_, node)| node)),
            }
        }
        found
    }
}

/// Renders a value once. What is rendered often is compiled first.
pub fn render_value(value: &Value, scope: &dyn Scope, mode: Mode) -> Result<Filled, ExprError> {
    Document::compile(value, mode)?.render(scope)
}

fn node(value: &Value, mode: Mode) -> Result<Node, ExprError> {
    Ok(match value {
        Value::String(text) => {
            let template = Template::compile(text, mode)?;
            match template.literal() {
                Some(literal) => Node::Literal(Value::String(literal.to_owned())),
                None => Node::Template(template),
            }
        }
        Value::Array(items) => {
            let each = items.iter().enumerate();
            let nodes = each.map(|(i, item)| node(item, mode).map_err(|e| e.under(&format!("[{i}]"))));
            let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
            if nodes.iter().all(Node::is_literal) {
                Node::Literal(literals(nodes))
            } else {
                Node::List(nodes)
            }
        }
        Value::Object(fields) => {
            let mut nodes = Vec::with_capacity(fields.len());
            for (key, value) in fields {
                nodes.push((key.clone(), node(value, mode).map_err(|e| e.under(key))?));
            }
            if nodes.iter().all(|(_, node)| node.is_literal()) {
                Node::Literal(value.clone())
            } else {
                Node::Object(nodes)
            }
        }
        other => Node::Literal(other.clone()),
    })
}

impl Node {
    fn is_literal(&self) -> bool {
        matches!(self, Node::Literal(_))
    }
}

fn literals(nodes: Vec<Node>) -> Value {
    let literal = |node| match node {
        Node::Literal(value) => Some(value),
        _ => None,
    };
    Value::Array(nodes.into_iter().filter_map(literal).collect())
}

fn render(
    node: &Node,
    scope: &dyn Scope,
    budget: &Budget,
    secrets: &mut Vec<SecretsIn>,
) -> Result<Value, ExprError> {
    match node {
        Node::Literal(value) => Ok(value.clone()),
        Node::Template(template) => {
            let rendered = template.render_within(scope, budget)?;
            if !rendered.secrets.is_empty() {
                secrets.push(SecretsIn { pointer: String::new(), secrets: rendered.secrets });
            }
            Ok(rendered.value)
        }
        Node::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for (i, item) in items.iter().enumerate() {
                let before = secrets.len();
                list.push(render(item, scope, budget, secrets).map_err(|e| e.under(&format!("[{i}]")))?);
                put_under(&mut secrets[before..], || i.to_string());
            }
            Ok(Value::Array(list))
        }
        Node::Object(fields) => {
            let mut object = Map::new();
            for (key, node) in fields {
                let before = secrets.len();
                let value = render(node, scope, budget, secrets).map_err(|e| e.under(key))?;
                object.insert(key.clone(), value);
                put_under(&mut secrets[before..], || key.replace('~', "~0").replace('/', "~1"));
            }
            Ok(Value::Object(object))
        }
    }
}

/// Puts a part of the value before the places of the secrets that were found in it: few values have any.
fn put_under(secrets: &mut [SecretsIn], part: impl Fn() -> String) {
    for within in secrets {
        within.pointer = format!("/{}{}", part(), within.pointer);
    }
}
