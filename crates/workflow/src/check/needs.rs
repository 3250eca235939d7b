//! `parallel`: what its steps need, circles among them, and what each of them may use.

use std::collections::{BTreeSet, HashMap};

use super::bounds::Type;
use super::checker::Checker;
use super::types::{Object, Rest, Ty};
use crate::model::{Parallel, Step};

impl<'w> Checker<'w> {
    pub(super) fn parallel(&mut self, parallel: &'w Parallel) -> Type {
        let steps = &parallel.steps;
        self.path.key("steps");
        if steps.is_empty() {
            self.tell("invalid_value", "a `parallel` has at least one step");
        }
        let needs = self.siblings(steps);
        let order = self.in_order(steps, &needs);
        let mut done: Vec<Option<Type>> = vec![None; steps.len()];
        let mut before: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); steps.len()];
        for index in order {
            let mut certain = BTreeSet::new();
            for need in &needs[index] {
                certain.insert(*need);
                certain.extend(&before[*need]);
            }
            let mark = self.scope.mark();
            for sibling in &certain {
                let ty = done[*sibling].clone().unwrap_or_else(|| Type::from(Ty::Any));
                self.scope.add(&steps[*sibling].id, ty);
            }
            before[index] = certain;
            self.path.index(index);
            self.steps.push(&steps[index]);
            let outcome = self.step(&steps[index]);
            self.steps.pop();
            self.path.pop();
            self.scope.back_to(mark);
            done[index] = Some(outcome.output);
        }
        self.path.pop();
        // All of them are done now, and can be used by their ids.
        let mut fields = Vec::new();
        for (step, ty) in steps.iter().zip(done) {
            let ty = ty.unwrap_or_else(|| Type::from(Ty::Any));
            self.scope.add(&step.id, ty.clone());
            fields.push((step.id.clone(), ty));
        }
        let label = self.steps.last().map(|step| format!("`{}`", step.id));
        Type::from(Ty::Object(Object {
            label: label.map(Into::into),
            fields,
            required: Vec::new(),
            rest: Rest::Closed,
        }))
    }

    /// For each step the siblings that it needs, as positions; tells those that are none.
    fn siblings(&mut self, steps: &'w [Step]) -> Vec<Vec<usize>> {
        let positions: HashMap<&str, usize> =
            steps.iter().enumerate().rev().map(|(position, step)| (step.id.as_str(), position)).collect();
        let mut all = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let mut found = Vec::new();
            for (item, need) in step.needs.iter().enumerate() {
                match positions.get(need.as_str()) {
                    Some(position) if *position != index => found.push(*position),
                    other => {
                        let itself = other.is_some();
                        self.path.index(index);
                        self.steps.push(step);
                        self.path.key("needs");
                        self.path.index(item);
                        self.unknown_need(step, need, itself, &positions);
                        self.path.pop();
                        self.path.pop();
                        self.steps.pop();
                        self.path.pop();
                    }
                }
            }
            all.push(found);
        }
        all
    }

    fn unknown_need(&mut self, step: &Step, need: &'w str, itself: bool, positions: &HashMap<&str, usize>) {
        if itself {
            self.tell("cycle", format!("`{need}` needs itself"));
            return;
        }
        let message = format!("`{}` needs `{need}`, which is no step beside it", step.id);
        let siblings: Vec<&str> =
            positions.keys().copied().filter(|id| *id != step.id && !id.is_empty()).collect();
        let hint = if self.scope.get(need).is_some() {
            Some(format!("`{need}` has run before the `parallel` starts: take it out of `needs`"))
        } else if let Some(near) = self.nearest(need, siblings.iter().copied()) {
            Some(format!("did you mean `{near}`?"))
        } else if self.known.contains_key(need) {
            Some("`needs` names steps of the same list only".into())
        } else {
            None
        };
        self.tell("unknown_step", message).hint = hint;
    }

    /// The positions so that each comes after what it needs; a circle is told, and its steps come last.
    fn in_order(&mut self, steps: &'w [Step], needs: &[Vec<usize>]) -> Vec<usize> {
        let mut waits: Vec<usize> = needs.iter().map(Vec::len).collect();
        let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
        for (index, needed) in needs.iter().enumerate() {
            for need in needed {
                dependents[*need].push(index);
            }
        }
        let mut ready: Vec<usize> = (0..steps.len()).rev().filter(|index| waits[*index] == 0).collect();
        let mut order = Vec::with_capacity(steps.len());
        while let Some(index) = ready.pop() {
            order.push(index);
            for dependent in dependents[index].iter().rev() {
                waits[*dependent] -= 1;
                if waits[*dependent] == 0 {
                    ready.push(*dependent);
                }
            }
        }
        let mut left: BTreeSet<usize> = (0..steps.len()).filter(|index| waits[*index] > 0).collect();
        order.extend(&left);
        while let Some(start) = left.first().copied() {
            let circle = circle_from(start, needs, &left);
            for index in reachable(&circle, &dependents) {
                left.remove(&index);
            }
            left.remove(&start);
            let Some(first) = circle.iter().min().copied() else { continue };
            let turn = circle.iter().position(|index| *index == first).unwrap_or(0);
            let mut names: Vec<_> = circle[turn..]
                .iter()
                .chain(&circle[..turn])
                .map(|index| format!("`{}`", steps[*index].id))
                .collect();
            names.push(names[0].clone());
            self.path.index(first);
            self.steps.push(&steps[first]);
            self.under("needs", |me| {
                me.tell("cycle", format!("steps wait for each other: {}", names.join(" needs ")))
                    .set_hint("take one of these out of `needs`")
            });
            self.steps.pop();
            self.path.pop();
        }
        order
    }
}

/// The circle that is come to by going from need to need.
fn circle_from(start: usize, needs: &[Vec<usize>], left: &BTreeSet<usize>) -> Vec<usize> {
    let mut walk: Vec<usize> = Vec::new();
    let mut here = start;
    loop {
        if let Some(at) = walk.iter().position(|index| *index == here) {
            return walk.split_off(at);
        }
        walk.push(here);
        match needs[here].iter().find(|need| left.contains(need)) {
            Some(next) => here = *next,
            None => return Vec::new(),
        }
    }
}

/// These and all that wait for them.
fn reachable(from: &[usize], dependents: &[Vec<usize>]) -> BTreeSet<usize> {
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    let mut open: Vec<usize> = from.to_vec();
    while let Some(index) = open.pop() {
        if seen.insert(index) {
            open.extend(&dependents[index]);
        }
    }
    seen
}
