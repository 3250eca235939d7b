//! What a wanted schema says of itself that cannot both be: which of the two was meant nobody can tell.

use super::wanted::{Wanted, WantedObject};
use crate::error::Problem;
use crate::problems::{Problems, clipped};

/// Tells what contradicts something else in it.
pub(super) fn find(wanted: &Wanted, problems: &mut Problems) {
    for (i, object) in wanted.objects.iter().enumerate() {
        let path = format!("objects[{i}]");
        if let Some(first) = wanted.objects[..i].iter().position(|other| other.name == object.name) {
            let message = format!("`{}` stands in `objects[{first}]` already", clipped(&object.name));
            problems.push(
                Problem::new(format!("{path}.name"), message).hint("say all of an object in one place"),
            );
        }
        of_object(object, &path, problems);
    }
    let goes =
        |name: &String| wanted.objects.iter().any(|object| same(&object.name, &object.renamed_from, name));
    for (i, name) in wanted.remove_objects.iter().enumerate().filter(|(_, name)| goes(name)) {
        let message = format!("`{}` is wanted under `objects`, and is to be taken away", clipped(name));
        problems.push(Problem::new(format!("remove_objects[{i}]"), message));
    }
    for (i, view) in wanted.views.iter().enumerate() {
        let before = |other: &&super::WantedView| (&other.object, &other.name) == (&view.object, &view.name);
        if wanted.views[..i].iter().any(|other| before(&other)) {
            let message =
                format!("the view `{}` of {} stands here twice", clipped(&view.name), clipped(&view.object));
            problems.push(Problem::new(format!("views[{i}].name"), message));
        }
    }
}

fn of_object(object: &WantedObject, path: &str, problems: &mut Problems) {
    let mut tell = |at: String, message: String| problems.push(Problem::new(format!("{path}.{at}"), message));
    for (i, field) in object.fields.iter().enumerate() {
        if object.fields[..i].iter().any(|other| other.name == field.name) {
            tell(
                format!("fields[{i}].name"),
                format!("the field `{}` stands here twice", clipped(&field.name)),
            );
        }
    }
    let removed = &object.remove;
    for (i, name) in removed.fields.iter().enumerate() {
        if object.fields.iter().any(|field| same(&field.name, &field.renamed_from, name)) {
            let message = format!("`{}` is wanted under `fields`, and is to be taken away", clipped(name));
            tell(format!("remove.fields[{i}]"), message);
        }
    }
    let sorted = |set: &[String]| {
        let mut set = set.to_vec();
        set.sort_unstable();
        set
    };
    for (i, set) in removed.unique.iter().enumerate() {
        if object.unique.iter().any(|wanted| sorted(wanted) == sorted(set)) {
            let message = format!("[{}] is to be unique, and not to be", clipped(&set.join(", ")));
            tell(format!("remove.unique[{i}]"), message);
        }
    }
    for (i, name) in removed.indexes.iter().enumerate() {
        if object.indexes.contains(name) {
            tell(
                format!("remove.indexes[{i}]"),
                format!("`{}` is to be indexed, and not to be", clipped(name)),
            );
        }
    }
}

/// Whether something is wanted that has this name, or had it.
fn same(name: &str, before: &Option<String>, other: &str) -> bool {
    name == other || before.as_deref() == Some(other)
}
