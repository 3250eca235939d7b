//! Runs of a workflow that count together, by the hash of their key: `places / workflow / key` how many they are,
//! `… / 0 / ticket` those under way, `… / 1 / ticket` those that wait. Tickets are given in the order of acceptance, and
//! kept from there to the run's end.
use crate::id::RunId;
use crate::tables::is_zero;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use stepwell_store::keys::{KeyBuilder, KeyReader, Space};
use stepwell_store::{Key, Refused, WorkspaceId};

const HELD: u8 = 0;
const WAITING: u8 = 1;

/// A workflow's key, by name and hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a> {
    pub workspace: WorkspaceId,
    pub workflow: &'a str,
    pub key: &'a str,
}

impl Of<'_> {
    fn base(self) -> KeyBuilder {
        KeyBuilder::new(Space::Places, self.workspace).str(self.workflow).str(self.key)
    }

    pub(crate) fn counts(self) -> Key {
        self.base().build()
    }

    /// A run under way.
    pub(crate) fn held(self, ticket: u64) -> Key {
        self.base().u8(HELD).u64(ticket).build()
    }

    pub(crate) fn all_held(self) -> Range<Key> {
        self.base().u8(HELD).prefix()
    }

    /// Those under way that came after one.
    pub(crate) fn held_after(self, ticket: u64) -> Range<Key> {
        self.held(ticket.saturating_add(1))..self.all_held().end
    }

    /// A run that waits.
    pub(crate) fn waiting(self, ticket: u64) -> Key {
        self.base().u8(WAITING).u64(ticket).build()
    }

    pub(crate) fn all_waiting(self) -> Range<Key> {
        self.base().u8(WAITING).prefix()
    }
}

/// Everything that a workspace has of it.
pub(crate) fn all(workspace: WorkspaceId) -> Range<Key> {
    KeyBuilder::new(Space::Places, workspace).prefix()
}

/// The workflow and the key that a row is of.
pub(crate) fn line(key: &Key) -> Result<(String, String), Refused> {
    let mut reader = KeyReader::new(key)?;
    Ok((reader.str()?, reader.str()?))
}

/// The ticket in the key of a run that waits; nothing for other rows.
pub(crate) fn waits_with(key: &Key) -> Result<Option<u64>, Refused> {
    ticket(key, WAITING)
}

/// The ticket in the key of a run under way; nothing for other rows.
pub(crate) fn held_with(key: &Key) -> Result<Option<u64>, Refused> {
    ticket(key, HELD)
}

fn ticket(key: &Key, stand: u8) -> Result<Option<u64>, Refused> {
    let mut reader = KeyReader::new(key)?;
    reader.str()?;
    reader.str()?;
    if reader.rest().is_empty() || reader.u8()? != stand {
        return Ok(None);
    }
    Ok(Some(reader.u64()?))
}

/// How many there are of a key. Gone when there is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// As the version says whose run came last.
    #[serde(rename = "l")]
    pub limit: u64,
    #[serde(rename = "h")]
    pub held: u64,
    #[serde(rename = "w", default, skip_serializing_if = "is_zero")]
    pub waiting: u64,
    /// The ticket given last.
    #[serde(rename = "n")]
    pub last: u64,
    /// Those that wait with a ticket below this were replaced, by that run.
    #[serde(rename = "c", default, skip_serializing_if = "is_zero")]
    pub cut: u64,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub by: Option<RunId>,
    /// Those under way with a ticket up to this were told to end for one that replaces them; of them, so many are left.
    #[serde(rename = "e", default, skip_serializing_if = "is_zero")]
    pub told: u64,
    #[serde(rename = "g", default, skip_serializing_if = "is_zero")]
    pub ending: u64,
}
