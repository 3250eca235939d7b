//! What a check may know of the place where a workflow will run.

use std::collections::BTreeMap;
use std::sync::Arc;

use semver::Version;
use serde_json::Value;
use stepwell_records::schema::Schema;

use crate::connection::{self, Connection};
use crate::model::{ActionRef, Limits, Workflow};

/// What there is in a workspace. Everything may be unknown: then nothing is said against it.
pub trait Catalog {
    /// The objects and their fields.
    fn schema(&self) -> Option<Arc<Schema>> {
        None
    }

    /// The action that a reference would be resolved to now.
    fn action(&self, _wanted: &ActionRef) -> ActionLookup {
        ActionLookup::NotKnown
    }

    /// The host's maxima; what is absent has none.
    fn maxima(&self) -> Limits {
        Limits::default()
    }

    /// The names of the views that are saved of an object.
    fn views(&self, _object: &str) -> Option<Vec<String>> {
        None
    }

    /// The names of the settings.
    fn settings(&self) -> Option<Vec<String>> {
        None
    }

    /// The active workflows that record events start.
    fn listening(&self) -> Vec<Arc<Workflow>> {
        Vec::new()
    }

    /// The connection of a name.
    fn connection(&self, _name: &str) -> ConnectionLookup {
        ConnectionLookup::NotKnown
    }

    /// Whether plain `http://` may be spoken to a host, as URLs have it; nothing where that is not known.
    fn plain_http(&self, _host: &str) -> Option<bool> {
        None
    }

    /// A workflow by its name.
    fn workflow(&self, _name: &str) -> WorkflowLookup {
        WorkflowLookup::NotKnown
    }

    /// The names of the secrets.
    fn secrets(&self) -> Option<Vec<String>> {
        None
    }
}

/// What is known of an action.
#[derive(Debug, Clone)]
pub enum ActionLookup {
    Found(Arc<ActionInfo>),
    /// The action exists, but not in a version that fits.
    OtherVersions(Vec<Version>),
    /// There is no such action; these there are.
    Unknown(Vec<String>),
    /// Nobody asked where actions are kept.
    NotKnown,
}

/// What is known of a connection.
#[derive(Debug, Clone)]
pub enum ConnectionLookup {
    Found(Arc<Connection>),
    /// There is none; these there are.
    Unknown(Vec<String>),
    /// Nobody asked where connections are kept.
    NotKnown,
}

/// What is known of a workflow.
#[derive(Debug, Clone)]
pub enum WorkflowLookup {
    /// As its runs would be now.
    Found(Arc<Workflow>),
    /// There is one; it starts no runs yet.
    Draft,
    /// There is no such workflow; these there are.
    Unknown(Vec<String>),
    /// Nobody asked where workflows are kept.
    NotKnown,
}

/// What an action says of itself.
#[derive(Debug, Clone)]
pub struct ActionInfo {
    pub name: String,
    pub version: Version,
    pub input_schema: Option<Value>,
    pub output_schema: Option<Value>,
}

/// Nothing is known: only the document itself is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCatalog;

impl Catalog for NoCatalog {}

/// What is known of any workspace: the standard objects.
#[derive(Debug, Clone, Copy, Default)]
pub struct StandardObjects;

impl Catalog for StandardObjects {
    fn schema(&self) -> Option<Arc<Schema>> {
        Some(Schema::standard())
    }

    /// As a server has it that was not told otherwise.
    fn plain_http(&self, host: &str) -> Option<bool> {
        Some(connection::is_loopback(host))
    }
}

/// The same for a test, in which nothing is sent: what a server allows to be called does not matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rehearsal;

impl Catalog for Rehearsal {
    fn schema(&self) -> Option<Arc<Schema>> {
        StandardObjects.schema()
    }
}

/// Documents that are checked together, and of the workspace the standard objects.
#[derive(Debug, Clone, Default)]
pub struct Together(BTreeMap<String, Option<Arc<Workflow>>>);

impl Together {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// By name; without a definition, where the document has problems of its own.
impl FromIterator<(String, Option<Arc<Workflow>>)> for Together {
    fn from_iter<I: IntoIterator<Item = (String, Option<Arc<Workflow>>)>>(documents: I) -> Together {
        Together(documents.into_iter().collect())
    }
}

impl Catalog for Together {
    fn schema(&self) -> Option<Arc<Schema>> {
        StandardObjects.schema()
    }

    fn plain_http(&self, host: &str) -> Option<bool> {
        StandardObjects.plain_http(host)
    }

    fn workflow(&self, name: &str) -> WorkflowLookup {
        match self.0.get(name) {
            Some(Some(workflow)) => WorkflowLookup::Found(workflow.clone()),
            Some(None) => WorkflowLookup::Draft,
            None => WorkflowLookup::NotKnown,
        }
    }
}
