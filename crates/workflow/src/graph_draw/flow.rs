//! The flowchart: boxes and arrows, worked out once and written as Mermaid or DOT.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::{Drawing, label};
use crate::graph::{ListId, NodeId, NodeKind, OnErrorPlan};

/// Boxes and arrows.
pub(super) struct Flow<'d> {
    drawing: &'d Drawing<'d>,
    boxes: Vec<Shape>,
    arrows: Vec<Arrow>,
    /// The iterators around the place, innermost last.
    around: Vec<usize>,
}

struct Shape {
    form: Form,
    /// Lines of its text.
    text: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Where something starts or ends.
    Terminal,
    Step,
    /// A choice between ways.
    Choice,
    Parallel,
}

struct Arrow {
    from: usize,
    to: usize,
    label: Option<String>,
    dotted: bool,
}

/// A way out of a box that does not yet lead anywhere.
#[derive(Clone)]
struct Exit {
    from: usize,
    label: Option<String>,
    dotted: bool,
}

impl Exit {
    fn plain(from: usize) -> Exit {
        Exit { from, label: None, dotted: false }
    }

    fn labelled(from: usize, label: impl Into<String>) -> Exit {
        Exit { from, label: Some(label.into()), dotted: false }
    }
}

impl<'d> Flow<'d> {
    pub fn of(drawing: &'d Drawing<'d>) -> Flow<'d> {
        let mut flow = Flow { drawing, boxes: Vec::new(), arrows: Vec::new(), around: Vec::new() };
        let start = flow
            .add(Form::Terminal, vec![drawing.graph.name.clone(), label::trigger(&drawing.workflow.trigger)]);
        let exits = flow.list(drawing.graph.root, vec![Exit::plain(start)]);
        flow.end(exits);
        if let Some(list) = drawing.graph.on_failure {
            let start = flow.add(Form::Terminal, vec!["the run has failed".into()]);
            flow.list(list, vec![Exit::plain(start)]);
        }
        // Drawn from the inside out, read from top to bottom.
        flow.arrows.sort_by_key(|arrow| arrow.from);
        flow
    }

    fn end(&mut self, exits: Vec<Exit>) {
        if !exits.is_empty() {
            let end = self.add(Form::Terminal, vec!["end".into()]);
            self.connect(exits, end);
        }
    }

    fn add(&mut self, form: Form, text: Vec<String>) -> usize {
        self.boxes.push(Shape { form, text });
        self.boxes.len() - 1
    }

    fn connect(&mut self, exits: Vec<Exit>, to: usize) {
        self.arrows.extend(exits.into_iter().map(|Exit { from, label, dotted }| Arrow {
            from,
            to,
            label,
            dotted,
        }));
    }

    /// A list from top to bottom; gives the ways out of it.
    fn list(&mut self, list: ListId, mut exits: Vec<Exit>) -> Vec<Exit> {
        for node in self.drawing.graph.list(list).steps.clone() {
            let (entry, out) = self.node(node);
            self.connect(exits, entry);
            exits = out;
        }
        exits
    }

    /// A step with what is inside it: its box, and the ways out.
    fn node(&mut self, id: NodeId) -> (usize, Vec<Exit>) {
        let drawing = self.drawing;
        let node = drawing.graph.node(id);
        let mut text = vec![node.id.clone()];
        let mut conditional = false;
        match drawing.steps.get(node.id.as_str()) {
            Some(step) => {
                text.push(label::what(step));
                text.extend(label::notes(step));
                conditional = step.condition.is_some();
            }
            None => text.push(node.type_name.to_owned()),
        }
        let form = match &node.kind {
            NodeKind::Branch { .. } | NodeKind::Filter(_) => Form::Choice,
            NodeKind::Parallel(_) | NodeKind::Iterator(_) => Form::Parallel,
            NodeKind::Stop { .. } => Form::Terminal,
            _ => Form::Step,
        };
        let entry = self.add(form, text);
        let mut exits = match &node.kind {
            NodeKind::Branch { arms, otherwise } => {
                let conditions = drawing.conditions(&node.id);
                let mut exits = Vec::new();
                for (place, arm) in arms.iter().enumerate() {
                    let label =
                        conditions.get(place).cloned().unwrap_or_else(|| format!("arm {}", place + 1));
                    exits.extend(self.list(arm.list, vec![Exit::labelled(entry, label)]));
                }
                match otherwise {
                    Some(arm) => exits.extend(self.list(arm.list, vec![Exit::labelled(entry, "else")])),
                    None => exits.push(Exit::labelled(entry, "else")),
                }
                exits
            }
            NodeKind::Parallel(list) => self.parallel(entry, *list),
            NodeKind::Iterator(plan) => {
                self.around.push(entry);
                let item = self.list(plan.list, vec![Exit::labelled(entry, "each")]);
                self.around.pop();
                self.connect(item, entry);
                vec![Exit::labelled(entry, "done")]
            }
            NodeKind::Stop { .. } if conditional => vec![Exit::labelled(entry, "if not")],
            NodeKind::Stop { .. } => Vec::new(),
            NodeKind::Filter(_) => {
                let no = vec![Exit::labelled(entry, "no")];
                match self.around.last().copied() {
                    Some(iterator) => self.connect(no, iterator),
                    None => self.end(no),
                }
                vec![Exit::labelled(entry, "yes")]
            }
            _ => vec![Exit::plain(entry)],
        };
        if let OnErrorPlan::Do(list) = node.on_error {
            let start = Exit { from: entry, label: Some("on error".into()), dotted: true };
            exits.extend(self.list(list, vec![start]));
        }
        if let Some(OnErrorPlan::Do(list)) = node.on_timeout {
            let start = Exit { from: entry, label: Some("on timeout".into()), dotted: true };
            exits.extend(self.list(list, vec![start]));
        }
        (entry, exits)
    }

    fn parallel(&mut self, entry: usize, list: ListId) -> Vec<Exit> {
        let graph = self.drawing.graph;
        let steps = graph.list(list).steps.clone();
        let drawn: HashMap<NodeId, (usize, Vec<Exit>)> =
            steps.iter().map(|node| (*node, self.node(*node))).collect();
        let mut needed = HashSet::new();
        for node in &steps {
            let Some((to, _)) = drawn.get(node) else { continue };
            let needs = &graph.node(*node).needs;
            if needs.is_empty() {
                self.connect(vec![Exit::plain(entry)], *to);
            }
            for need in needs {
                needed.insert(*need);
                if let Some((_, exits)) = drawn.get(need) {
                    self.connect(exits.clone(), *to);
                }
            }
        }
        let last = steps.iter().filter(|node| !needed.contains(*node));
        last.filter_map(|node| drawn.get(node)).flat_map(|(_, exits)| exits.clone()).collect()
    }

    pub fn mermaid(&self) -> String {
        let clean = |text: &str| {
            text.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
        };
        let mut out = String::from("flowchart TD\n");
        for (index, each) in self.boxes.iter().enumerate() {
            let lines: Vec<String> = each.text.iter().map(|line| clean(line)).collect();
            let text = lines.join("<br>");
            // Writing to a String cannot fail.
            let _ = match each.form {
                Form::Terminal => writeln!(out, "    n{index}([\"{text}\"])"),
                Form::Step => writeln!(out, "    n{index}[\"{text}\"]"),
                Form::Choice => writeln!(out, "    n{index}{{\"{text}\"}}"),
                Form::Parallel => writeln!(out, "    n{index}[[\"{text}\"]]"),
            };
        }
        for Arrow { from, to, label, dotted } in &self.arrows {
            let line = if *dotted { "-.->" } else { "-->" };
            let label = label.as_ref().map(|label| format!("|\"{}\"|", clean(label))).unwrap_or_default();
            let _ = writeln!(out, "    n{from} {line}{label} n{to}");
        }
        out
    }

    pub fn dot(&self) -> String {
        let clean = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut out = format!("digraph \"{}\" {{\n", clean(&self.drawing.graph.name));
        out.push_str("    node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
        out.push_str("    edge [fontname=\"sans-serif\", fontsize=10];\n");
        for (index, each) in self.boxes.iter().enumerate() {
            let lines: Vec<String> = each.text.iter().map(|line| clean(line)).collect();
            let form = match each.form {
                Form::Terminal => ", shape=oval",
                Form::Step => "",
                Form::Choice => ", shape=diamond, style=\"\"",
                Form::Parallel => ", peripheries=2",
            };
            let _ = writeln!(out, "    n{index} [label=\"{}\"{form}];", lines.join("\\n"));
        }
        for Arrow { from, to, label, dotted } in &self.arrows {
            let mut about: Vec<String> = Vec::new();
            if let Some(label) = label {
                about.push(format!("label=\"{}\"", clean(label)));
            }
            if *dotted {
                about.push("style=dashed".into());
            }
            let about = if about.is_empty() { String::new() } else { format!(" [{}]", about.join(", ")) };
            let _ = writeln!(out, "    n{from} -> n{to}{about};");
        }
        out.push_str("}\n");
        out
    }
}
