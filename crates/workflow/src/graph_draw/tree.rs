//! The tree: lists inside steps, with guides.

use super::{Drawing, label};
use crate::graph::{Arm, ListId, NodeId, NodeKind, OnErrorPlan};

pub(super) fn draw(drawing: &Drawing<'_>) -> String {
    let mut lines = vec![Line {
        guide: String::new(),
        name: drawing.graph.name.clone(),
        rest: label::trigger(&drawing.workflow.trigger),
    }];
    let mut tree = Tree { drawing, lines: &mut lines };
    tree.list(drawing.graph.root, "");
    if let Some(list) = drawing.graph.on_failure {
        tree.lines.push(Line { guide: String::new(), name: "on failure".into(), rest: String::new() });
        tree.list(list, "");
    }
    let mut out = String::new();
    for line in &lines {
        let text = format!("{}{}  {}", line.guide, line.name, line.rest);
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

struct Line {
    guide: String,
    name: String,
    rest: String,
}

struct Tree<'d, 'l> {
    drawing: &'d Drawing<'d>,
    lines: &'l mut Vec<Line>,
}

/// What stands under a step: a list with a headline, or without one.
struct Part {
    headline: Option<String>,
    list: ListId,
}

impl Tree<'_, '_> {
    fn list(&mut self, list: ListId, guide: &str) {
        let steps = &self.drawing.graph.list(list).steps;
        for (place, node) in steps.iter().enumerate() {
            self.node(*node, guide, place + 1 == steps.len());
        }
    }

    fn node(&mut self, id: NodeId, guide: &str, last: bool) {
        let node = self.drawing.graph.node(id);
        let (what, notes) = match self.drawing.steps.get(node.id.as_str()) {
            Some(step) => (label::what(step), label::notes(step)),
            None => (node.type_name.to_owned(), Vec::new()),
        };
        let notes = if notes.is_empty() { String::new() } else { format!("  ({})", notes.join("; ")) };
        self.line(guide, last, node.id.clone(), format!("{what}{notes}"));
        let guide = deeper(guide, last);
        let parts = self.parts(id);
        for (place, part) in parts.iter().enumerate() {
            let last = place + 1 == parts.len();
            match &part.headline {
                None => self.list(part.list, &guide),
                Some(headline) => {
                    self.line(&guide, last, headline.clone(), String::new());
                    self.list(part.list, &deeper(&guide, last));
                }
            }
        }
    }

    fn parts(&self, id: NodeId) -> Vec<Part> {
        let node = self.drawing.graph.node(id);
        let mut parts = Vec::new();
        let handler = match node.on_error {
            OnErrorPlan::Do(list) => Some(list),
            _ => None,
        };
        match &node.kind {
            NodeKind::Branch { arms, otherwise } => {
                let conditions = self.drawing.conditions(&node.id);
                let headline = |place: usize| match conditions.get(place) {
                    Some(condition) => format!("when {condition}"),
                    None => format!("arm {}", place + 1),
                };
                let each = arms.iter().enumerate().map(|(place, arm)| (headline(place), arm));
                let otherwise = otherwise.iter().map(|arm| ("else".to_owned(), arm));
                parts.extend(each.chain(otherwise).map(|(headline, arm): (String, &Arm)| Part {
                    headline: Some(headline),
                    list: arm.list,
                }));
            }
            // Guides need to know what comes last, so a list beside another gets a headline.
            NodeKind::Parallel(list) => {
                parts.push(Part { headline: handler.map(|_| "steps".to_owned()), list: *list })
            }
            NodeKind::Iterator(plan) => {
                parts.push(Part { headline: handler.map(|_| "each".to_owned()), list: plan.list })
            }
            _ => {}
        }
        if let Some(list) = handler {
            parts.push(Part { headline: Some("on error".into()), list });
        }
        parts
    }

    fn line(&mut self, guide: &str, last: bool, name: String, rest: String) {
        let corner = if last { "└─ " } else { "├─ " };
        self.lines.push(Line { guide: format!("{guide}{corner}"), name, rest });
    }
}

fn deeper(guide: &str, last: bool) -> String {
    format!("{guide}{}", if last { "   " } else { "│  " })
}
