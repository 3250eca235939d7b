//! The standard objects of a CRM. **Ids are stored**: never change or re-use one; add new fields at the end.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::Schema;
use super::field::{Field, FieldId, FieldType, ObjectId};
use super::object::{Index, IndexState, Object, Path, Unique};

pub const PERSON: ObjectId = ObjectId(1);
pub const COMPANY: ObjectId = ObjectId(2);
pub const OPPORTUNITY: ObjectId = ObjectId(3);
pub const NOTE: ObjectId = ObjectId(4);
pub const TASK: ObjectId = ObjectId(5);
pub const NOTE_TARGET: ObjectId = ObjectId(6);
pub const TASK_TARGET: ObjectId = ObjectId(7);

/// Custom objects, and custom fields, sets and indexes of standard objects, are numbered from here.
pub(super) const FIRST_CUSTOM: u32 = 1_000;

static STANDARD: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    Arc::new(Schema {
        objects: objects().into_iter().map(Arc::new).collect(),
        customised: false,
        last_object: TASK_TARGET.0,
    })
});

/// The schema of a workspace in which nothing was added.
pub fn standard() -> Arc<Schema> {
    STANDARD.clone()
}

fn objects() -> Vec<Object> {
    use FieldType::*;
    let relation = |object| Relation { object };
    let links = || Links { domain: false };
    let select = |options: &[&str]| Select { options: options.iter().map(|o| (*o).to_owned()).collect() };
    vec![
        build(PERSON, "person", "people", "Person")
            .field(1, "name", "Name", FullName)
            .field(2, "emails", "E-mails", Emails)
            .field(3, "phones", "Phones", Phones)
            .field(4, "jobTitle", "Job title", Text)
            .field(5, "companyId", "Company", relation(COMPANY))
            .field(6, "city", "City", Text)
            .field(7, "linkedinLink", "LinkedIn", links())
            .field(8, "xLink", "X", links())
            .field(9, "avatarUrl", "Picture", Text)
            .unique(&["emails.primaryEmail"])
            .index("companyId")
            .object,
        build(COMPANY, "company", "companies", "Company")
            .field(1, "name", "Name", Text)
            .field(2, "domainName", "Domain", Links { domain: true })
            .field(3, "address", "Address", Address)
            .field(4, "employees", "Employees", Number)
            .field(5, "annualRecurringRevenue", "ARR", Currency)
            .field(6, "idealCustomerProfile", "Ideal customer", Boolean)
            .with_default(json!(false))
            .field(7, "linkedinLink", "LinkedIn", links())
            .field(8, "xLink", "X", links())
            .field(9, "accountOwner", "Account owner", Text)
            .unique(&["domainName.primaryLinkUrl"])
            .object,
        build(OPPORTUNITY, "opportunity", "opportunities", "Opportunity")
            .field(1, "name", "Name", Text)
            .required()
            .field(2, "amount", "Amount", Currency)
            .field(3, "closeDate", "Close date", Date)
            .field(
                4,
                "stage",
                "Stage",
                select(&["NEW", "SCREENING", "MEETING", "PROPOSAL", "CLOSED_WON", "CLOSED_LOST"]),
            )
            .with_default(json!("NEW"))
            .field(5, "companyId", "Company", relation(COMPANY))
            .field(6, "pointOfContactId", "Point of contact", relation(PERSON))
            .field(7, "owner", "Owner", Text)
            .index("companyId")
            .index("pointOfContactId")
            .object,
        build(NOTE, "note", "notes", "Note")
            .field(1, "title", "Title", Text)
            .field(2, "body", "Body", Text)
            .field(3, "personId", "Person", relation(PERSON))
            .field(4, "companyId", "Company", relation(COMPANY))
            .field(5, "opportunityId", "Opportunity", relation(OPPORTUNITY))
            .index("personId")
            .index("companyId")
            .index("opportunityId")
            .object,
        build(TASK, "task", "tasks", "Task")
            .field(1, "title", "Title", Text)
            .required()
            .field(2, "body", "Body", Text)
            .field(3, "status", "Status", select(&["TODO", "IN_PROGRESS", "DONE"]))
            .with_default(json!("TODO"))
            .field(4, "dueAt", "Due", DateTime)
            .field(5, "assignee", "Assignee", Text)
            .field(6, "personId", "Person", relation(PERSON))
            .field(7, "companyId", "Company", relation(COMPANY))
            .field(8, "opportunityId", "Opportunity", relation(OPPORTUNITY))
            .index("personId")
            .index("companyId")
            .index("opportunityId")
            .object,
        target(NOTE_TARGET, "note_target", "note_targets", "Note target", ("noteId", "Note", NOTE)),
        target(TASK_TARGET, "task_target", "task_targets", "Task target", ("taskId", "Task", TASK)),
    ]
}

/// What a note or a task is about, when it is about several things.
fn target(
    id: ObjectId,
    name: &str,
    plural: &str,
    label: &str,
    (of, of_label, object): (&str, &str, ObjectId),
) -> Object {
    build(id, name, plural, label)
        .field(1, of, of_label, FieldType::Relation { object })
        .required()
        .field(2, "personId", "Person", FieldType::Relation { object: PERSON })
        .field(3, "companyId", "Company", FieldType::Relation { object: COMPANY })
        .field(4, "opportunityId", "Opportunity", FieldType::Relation { object: OPPORTUNITY })
        .index(of)
        .index("personId")
        .index("companyId")
        .index("opportunityId")
        .object
}

fn build(id: ObjectId, name: &str, plural: &str, label: &str) -> Builder {
    Builder {
        object: Object {
            id,
            name: name.into(),
            plural: plural.into(),
            label: label.into(),
            custom: false,
            fields: Vec::new(),
            unique: Vec::new(),
            indexes: Vec::new(),
            prepared: Default::default(),
        },
    }
}

struct Builder {
    object: Object,
}

impl Builder {
    fn field(mut self, id: u32, name: &str, label: &str, kind: FieldType) -> Self {
        self.object.fields.push(Field {
            id: FieldId(id),
            name: name.into(),
            label: label.into(),
            kind,
            required: false,
            default: None,
        });
        self
    }

    fn last(&mut self) -> &mut Field {
        self.object.fields.last_mut().expect("called after `field`")
    }

    fn required(mut self) -> Self {
        self.last().required = true;
        self
    }

    fn with_default(mut self, default: Value) -> Self {
        self.last().default = Some(default);
        self
    }

    fn path(&self, name: &str) -> Path {
        let target = self.object.target(name).expect("names a field above");
        target.path().expect("no system field")
    }

    fn unique(mut self, names: &[&str]) -> Self {
        let paths = names.iter().map(|name| self.path(name)).collect();
        let id = self.object.unique.len() as u32 + 1;
        self.object.unique.push(Unique {
            id,
            paths,
            state: IndexState::Ready,
            problem: None,
            twins: Vec::new(),
        });
        self
    }

    fn index(mut self, name: &str) -> Self {
        let path = self.path(name);
        let id = self.object.indexes.len() as u32 + 1;
        self.object.indexes.push(Index { id, path, state: IndexState::Ready, empties: false });
        self
    }
}
