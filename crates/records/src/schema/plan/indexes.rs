//! Building and giving up the unique sets and indexes of an object.

use super::Planner;
use crate::error::Problem;
use crate::schema::change::Change;
use crate::schema::object::{IndexState, Object, Path};

impl Planner {
    pub(super) fn add_unique(&mut self, change: &mut Change, set: &[String], state: IndexState, path: &str) {
        let before = self.problems.len();
        change.add_unique(set, path, state, &mut self.problems);
        if self.problems.len() == before {
            let names = set.join(", ");
            let (object, building) = (change.object.name.clone(), state == IndexState::Building);
            let after = if building { ", once no two records have the same" } else { "" };
            self.step("make_unique", &object, &names, format!("make [{names}] of {object} unique{after}"));
        }
    }

    pub(super) fn add_index(&mut self, change: &mut Change, name: &str, state: IndexState, path: &str) {
        if change.is_indexed(name) {
            return;
        }
        let before = self.problems.len();
        change.add_index(name, path, state, &mut self.problems);
        if self.problems.len() == before {
            let object = change.object.name.clone();
            let how = if state == IndexState::Building { ", in the background" } else { "" };
            self.step("build_index", &object, name, format!("index {object}.{name}{how}"));
        }
    }

    pub(super) fn remove_unique(&mut self, change: &mut Change, set: &[String], path: &str) {
        let object = change.object.name.clone();
        let names = set.join(", ");
        let Some(id) = change.object.unique_set(set).map(|unique| unique.id) else {
            // One that records contradict: it is given up already, or about to be, and no longer wanted.
            let given_up = change.object.unique.iter().find(|own| change.object.is_set(own, set));
            let Some(paths) = given_up.map(|own| own.paths.clone()) else { return };
            let forgot = change.forget_refused(|own| own.paths == paths);
            if change.forget_problems(&paths) || forgot {
                self.step(
                    "remove_unique",
                    &object,
                    &names,
                    format!("[{names}] of {object} need not be unique"),
                );
            }
            return;
        };
        let Some(own) = change.additions.unique.iter_mut().find(|own| own.id == id) else {
            let message = format!("[{}] is a standard unique set of {object}", set.join(", "));
            self.problems.push(Problem::new(path, message));
            return;
        };
        own.state = IndexState::Clearing;
        change.object.unique.iter_mut().filter(|own| own.id == id).for_each(|own| {
            own.state = IndexState::Clearing;
        });
        self.step("remove_unique", &object, &names, format!("[{names}] of {object} need not be unique"));
    }

    pub(super) fn remove_index(&mut self, change: &mut Change, name: &str, path: &str) {
        let object = change.object.name.clone();
        let is_it = |object: &Object, path: &Path| object.path_name(path) == name;
        let found = change
            .object
            .indexes
            .iter()
            .find(|index| index.state.is_kept() && is_it(&change.object, &index.path));
        let Some(id) = found.map(|index| index.id) else { return };
        let Some(own) = change.additions.indexes.iter_mut().find(|own| own.id == id) else {
            let message = format!("the index on `{name}` of {object} is a standard one");
            self.problems.push(Problem::new(path, message));
            return;
        };
        own.state = IndexState::Clearing;
        change.object.indexes.iter_mut().filter(|own| own.id == id).for_each(|own| {
            own.state = IndexState::Clearing;
        });
        self.step("remove_index", &object, name, format!("give up the index on {object}.{name}"));
    }
}
