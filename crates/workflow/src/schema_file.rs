//! `schema.yaml`: the objects, fields and views that a folder of workflows needs, read like a workflow with a table of
//! its own, and what a check knows of a workspace that has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepwell_records::RecordsError;
use stepwell_records::schema::{Schema, Wanted};

use crate::check::{Catalog, Rehearsal, StandardObjects};
use crate::document::{Field, Form, Node, Path, Shape, Source, parse, read_as};
use crate::problem::Problem;

/// What the file of a folder is called.
pub const FILE: &str = "schema.yaml";

/// The whole file.
pub static SCHEMA: Form = Form {
    name: "a schema",
    fields: &[
        Field::optional("description", Shape::Prose, "What it is for."),
        Field::optional(
            "objects",
            Shape::List(&Shape::Form(&OBJECT)),
            "Objects, standard ones and others; one that is not there is made.",
        ),
        Field::optional(
            "remove_objects",
            Shape::OneOrMany(&Shape::Text),
            "Objects to be taken away; they must have no records.",
        ),
        Field::optional("views", Shape::List(&Shape::Form(&VIEW)), "Filters and orders saved under a name."),
    ],
};

/// `objects[]`
pub static OBJECT: Form = Form {
    name: "an object",
    fields: &[
        Field::required("name", Shape::Text, "Small letters, digits and `_`, such as `sales_order`."),
        Field::optional("renamed_from", Shape::Text, "What it was called before."),
        Field::optional("plural", Shape::Text, "The name with an `s` when absent."),
        Field::optional("label", Shape::Prose, "For people."),
        Field::optional("fields", Shape::List(&Shape::Form(&FIELD)), "Fields to be there."),
        Field::optional(
            "unique",
            Shape::List(&Shape::List(&Shape::Text)),
            "Sets of one to four fields that identify a record together, such as `[[personId, sequence]]`.",
        ),
        Field::optional(
            "indexes",
            Shape::OneOrMany(&Shape::Text),
            "Fields, or parts of them, that searches and orders go by.",
        ),
        Field::optional("remove", Shape::Form(&REMOVE), "What is to be taken away."),
    ],
};

/// `objects[].fields[]`
pub static FIELD: Form = Form {
    name: "a field",
    fields: &[
        Field::required("name", Shape::Text, "Letters and digits, such as `leadScore`."),
        Field::required("type", Shape::Text, "One of the [field types](#field-types)."),
        Field::optional("renamed_from", Shape::Text, "What it was called before; its values stay."),
        Field::optional("label", Shape::Prose, "For people."),
        Field::optional(
            "options",
            Shape::List(&Shape::Text),
            "Of `select` and `multi_select`; more may be added later.",
        ),
        Field::optional("object", Shape::Text, "Of `relation`: the object whose records it names."),
        Field::optional("domain", Shape::Boolean, "Of `links`: the primary link is kept as a bare domain."),
        Field::optional("required", Shape::Boolean, "A new record cannot be without it."),
        Field::optional("default", Shape::Value, "What a new record gets when none is given."),
        Field::optional("unique", Shape::Boolean, "It, or its first part, identifies a record."),
        Field::optional(
            "indexed",
            Shape::Boolean,
            "Searches and orders go by it, or by its first part. Of a `relation` without this word too: `false` leaves it.",
        ),
    ],
};

/// `objects[].remove`
pub static REMOVE: Form = Form {
    name: "what is taken away",
    fields: &[
        Field::optional("fields", Shape::OneOrMany(&Shape::Text), "Fields, with what is in them."),
        Field::optional("unique", Shape::List(&Shape::List(&Shape::Text)), "Unique sets."),
        Field::optional("indexes", Shape::OneOrMany(&Shape::Text), "Indexes."),
    ],
};

/// `views[]`
pub static VIEW: Form = Form {
    name: "a view",
    fields: &[
        Field::required("name", Shape::Text, "How searches call it."),
        Field::required("object", Shape::Text, "Whose records it finds."),
        Field::optional("filter", Shape::RecordFilter, "Which of them; all when absent."),
        Field::optional(
            "sort",
            Shape::OneOrMany(&Shape::Text),
            "In which order; `-` in front turns it round.",
        ),
    ],
};

/// Reads a schema file.
pub fn read(text: &str) -> Result<Wanted, Vec<Problem>> {
    let source = Source::new(text);
    let (tree, problems) = parse(&source);
    let tree = match tree {
        Some(tree) if problems.is_empty() => tree,
        _ => return Err(problems),
    };
    let (value, problems) = read_as(&source, &tree, &SCHEMA);
    let Some(mut value) = value else { return Err(problems) };
    if let Some(members) = value.as_object_mut() {
        members.remove("description");
    }
    serde_json::from_value(value)
        .map_err(|error| vec![Problem::at(&source, tree.from, tree.to, "invalid_value", error.to_string())])
}

/// What the records say against a file, with the lines of it.
pub fn told(text: &str, error: &RecordsError) -> Vec<Problem> {
    let source = Source::new(text);
    let tree = parse(&source).0;
    let place = |path: &str| -> (usize, usize) {
        let Some(tree) = &tree else { return (0, 0) };
        let mut way = Path::default();
        way.extend(path);
        let (node, entry): (&Node, _) = tree.find(&way);
        entry.map_or((node.from, node.to), |entry| (entry.from, entry.to))
    };
    let one = |path: &str, message: &str, hint: Option<&String>| {
        let (from, to) = place(path);
        let problem = Problem::at(&source, from, to, "invalid_schema", message);
        Problem { path: path.to_owned(), hint: hint.cloned(), ..problem }
    };
    match error.problems() {
        [] => vec![one("", &error.to_string(), None)],
        problems => problems.iter().map(|p| one(&p.path, &p.message, p.hint.as_ref())).collect(),
    }
}

/// Any workspace to which such a file was applied: the standard objects with what it adds, and its views.
#[derive(Debug, Clone)]
pub struct WithSchema {
    schema: Arc<Schema>,
    views: BTreeMap<String, Vec<String>>,
    rehearsal: bool,
}

impl WithSchema {
    pub fn new(wanted: &Wanted) -> Result<WithSchema, RecordsError> {
        let plan = Schema::standard_with(wanted)?;
        let mut views: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for view in &wanted.views {
            let object = plan.schema.object(&view.object)?.name.clone();
            views.entry(object).or_default().push(view.name.clone());
        }
        Ok(WithSchema { schema: plan.schema, views, rehearsal: false })
    }

    /// The same for a test, in which nothing is sent.
    pub fn rehearsal(self) -> WithSchema {
        WithSchema { rehearsal: true, ..self }
    }
}

impl Catalog for WithSchema {
    fn schema(&self) -> Option<Arc<Schema>> {
        Some(self.schema.clone())
    }

    fn plain_http(&self, host: &str) -> Option<bool> {
        if self.rehearsal { Rehearsal.plain_http(host) } else { StandardObjects.plain_http(host) }
    }

    fn views(&self, object: &str) -> Option<Vec<String>> {
        Some(self.views.get(object).cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;
    use crate::problem::render_all;

    const GOOD: &str = "
objects:
  - name: person
    fields:
      - { name: leadScore, type: number, indexed: true }
      - { name: grade, type: select, options: [A, B], default: B }
  - name: enrolment
    fields:
      - { name: personId, type: relation, object: person, required: true }
      - { name: sequence, type: text }
    unique: [[personId, sequence]]
views:
  - { name: hot, object: people, filter: { field: leadScore, greater_than: 60 }, sort: -leadScore }
";

    #[test]
    fn workflows_are_checked_against_what_a_file_adds() {
        let catalog = WithSchema::new(&read(GOOD).unwrap()).unwrap();
        let flow = |step: &str| {
            format!("name: a\ntrigger: {{ type: manual }}\nsteps:\n  - {{ id: s, type: {step} }}\n")
        };
        let problems = |step: &str| check(&flow(step), &catalog).problems;
        assert!(problems("search_records, object: person, view: hot, sort: -leadScore").is_empty());
        let upsert = "upsert_record, object: enrolment, match: [personId, sequence], record: { personId: '{{ run.id }}', sequence: a }";
        assert!(problems(upsert).is_empty());
        assert_eq!(problems("search_records, object: person, view: hott")[0].code, "unknown_view");
        assert_eq!(problems("create_record, object: person, record: { score: 1 }")[0].code, "unknown_field");
        let plan = Schema::standard_with(&read(GOOD).unwrap()).unwrap();
        let steps: Vec<String> = plan.steps.into_iter().map(|step| step.about).collect();
        insta::assert_snapshot!(steps.join("\n"));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_line() {
        let text = "
objects:
  - name: person
    fields:
      - { name: emails, type: text }
      - { name: Score, type: numbr }
      - { name: part, type: relation, object: persn }
    remove: { fields: [jobTitle] }
  - name: company
    unique: [[name, nam]]
remove_objects: note
views:
  - { name: a, object: peple }
";
        let problems = told(text, &Schema::standard_with(&read(text).unwrap()).unwrap_err());
        insta::assert_snapshot!(render_all(&problems, "schema.yaml", text));
        let text = "objects: [{ nam: person, fields: [{ name: a, type: text, unique: yes }] }]\nview: []\n";
        insta::assert_snapshot!(render_all(&read(text).unwrap_err(), "schema.yaml", text));
    }
}
