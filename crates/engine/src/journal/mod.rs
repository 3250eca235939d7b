//! A run's journal: all events of one commit are one value. Beside each event stands a note of what people want to
//! know of it and the machine does not (input, logs, usage); replaying needs the events alone. Events of an iterator's
//! items stand in a row of their own ([`crate::tables::items`]), so that a run can be read without them.
mod page;

pub(crate) use page::Page;

use crate::tables;
use crate::tables::runs::Claim;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use stepwell_sandbox::{LogLine, Usage};
use stepwell_store::{Key, Refused, Value};
use stepwell_workflow::machine::{Call, Event, Links, Payload, State};

/// A commit as it is read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Commit {
    /// Real time, for display only.
    #[serde(rename = "t")]
    pub at_ms: i64,
    #[serde(rename = "e")]
    pub entries: Vec<Entry>,
    /// Payloads were pruned: they read as null here.
    #[serde(rename = "p", default)]
    pub expired: bool,
    /// From this commit on the run goes by another version.
    #[serde(rename = "s", default)]
    pub switch: Option<Switch>,
    /// The run ended before it began: what it was to begin with is kept here, and is not folded.
    #[serde(rename = "u", default)]
    pub unbegun: bool,
}

/// A retry on newer versions of the workflow and its actions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Switch {
    pub version: u32,
    pub actions: BTreeMap<String, String>,
    /// Where the newer version has steps that wait for a person, and the one that the run began with had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
    /// The settings of now: what the run failed by may stand there. None: as it had them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Payload>,
}

impl Switch {
    pub(crate) fn apply(&self, state: &mut State) {
        if let Some(start) = &mut state.start {
            start.run.version = self.version.into();
            start.actions.clone_from(&self.actions);
            start.links = self.links.clone().or(start.links.take());
            if let Some(settings) = &self.settings {
                start.settings.clone_from(settings);
            }
        }
    }
}

/// An event, and what people want to know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(rename = "e")]
    pub event: Event,
    #[serde(rename = "n", default)]
    pub note: Note,
    /// So many events of items came before it in its commit.
    #[serde(rename = "i", default, skip_serializing_if = "crate::tables::is_zero")]
    pub after_items: u32,
}

/// What the history shows of an event besides the event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Note {
    /// What the step was given: the rendered call, or for an outside call the frozen request.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub input: Option<Payload>,
    /// What an outside call answered, where that is more than the step's output.
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub answer: Option<Payload>,
    /// The idempotency key that went out.
    #[serde(rename = "k", skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Log lines, as a list.
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    pub logs: Option<Payload>,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The action version that ran.
    #[serde(rename = "v", skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What the outcome depends on besides, where that is not what the run's head says.
    #[serde(rename = "f", skip_serializing_if = "Option::is_none")]
    pub semantics: Option<String>,
    /// When it began in real time; the event's own time is its end.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    pub began_ms: Option<i64>,
    /// What somebody gave was taken, and the run did not come to hear of it.
    #[serde(rename = "z", skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

/// A note before it is written: it borrows, so that nothing is copied on the way to the journal.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoteRef<'a> {
    pub input: Option<Shown<'a>>,
    pub answer: Option<&'a Payload>,
    pub key: Option<&'a str>,
    pub logs: &'a [LogLine],
    /// The log lines once they were moved into a payload.
    pub logs_payload: Option<&'a Payload>,
    pub usage: Option<&'a Usage>,
    pub action: Option<&'a str>,
    pub semantics: Option<&'a str>,
    pub began_ms: Option<i64>,
    pub late: bool,
}

/// A value as the journal keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown<'a> {
    Json(&'a serde_json::Value),
    /// What a call was given, without its kind.
    Call(&'a Call),
    Payload(&'a Payload),
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        fn value<S: Serializer, T: Serialize>(to: S, value: &T) -> Result<S::Ok, S::Error> {
            let mut map = to.serialize_map(Some(1))?;
            map.serialize_entry("value", value)?;
            map.end()
        }
        match self {
            Shown::Payload(payload) => payload.serialize(to),
            Shown::Json(json) => value(to, json),
            Shown::Call(Call::Code(call)) => value(to, &call.input.value),
            Shown::Call(Call::Search(call)) => value(to, call),
            Shown::Call(Call::Create(call)) => value(to, call),
            Shown::Call(Call::Update(call)) => value(to, call),
            Shown::Call(Call::Upsert(call)) => value(to, call),
            Shown::Call(Call::Delete(call)) => value(to, call),
            Shown::Call(Call::SetState(call)) => value(to, call),
            Shown::Call(Call::Run(call)) => value(to, call),
            Shown::Call(Call::Input(call)) => value(to, call),
            Shown::Call(Call::Http(call)) => value(to, call),
            Shown::Call(Call::Email(call)) => value(to, call),
            Shown::Call(Call::List(call)) => value(to, call),
            Shown::Call(Call::Item(call)) => value(to, call),
        }
    }
}

impl NoteRef<'_> {
    /// How many of its parts are there.
    fn parts(&self) -> usize {
        let there = [
            self.input.is_some(),
            self.answer.is_some(),
            self.key.is_some(),
            self.logs_payload.is_some(),
            !self.logs.is_empty(),
            self.usage.is_some(),
            self.action.is_some(),
            self.semantics.is_some(),
            self.began_ms.is_some(),
            self.late,
        ];
        there.into_iter().filter(|there| *there).count()
    }

    /// With values of its own, so that large ones can be stored elsewhere.
    pub(crate) fn owned(&self) -> Result<Note, Refused> {
        let json = serde_json::to_value(self).map_err(unwritable)?;
        serde_json::from_value(json).map_err(unwritable)
    }
}

impl Serialize for NoteRef<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Lines<'a>(&'a [LogLine]);
        impl Serialize for Lines<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("value", self.0)?;
                map.end()
            }
        }
        // What is not there takes no room.
        let mut map = to.serialize_map(Some(self.parts()))?;
        macro_rules! put {
            ($name:literal, $value:expr) => {
                if let Some(value) = $value {
                    map.serialize_entry($name, value)?;
                }
            };
        }
        put!("i", &self.input);
        put!("a", &self.answer);
        put!("k", &self.key);
        put!("l", &self.logs_payload);
        put!("l", (!self.logs.is_empty()).then_some(&Lines(self.logs)));
        put!("u", &self.usage);
        put!("v", &self.action);
        put!("f", &self.semantics);
        put!("b", &self.began_ms);
        put!("z", self.late.then_some(&true));
        map.end()
    }
}

impl Note {
    pub(crate) fn by_ref(&self) -> NoteRef<'_> {
        NoteRef {
            input: self.input.as_ref().map(Shown::Payload),
            answer: self.answer.as_ref(),
            key: self.key.as_deref(),
            logs: &[],
            logs_payload: self.logs.as_ref(),
            usage: self.usage.as_ref(),
            action: self.action.as_deref(),
            semantics: self.semantics.as_deref(),
            began_ms: self.began_ms,
            late: self.late,
        }
    }
}

fn unwritable(error: serde_json::Error) -> Refused {
    Refused::Invalid(format!("a part of the journal cannot be written as JSON: {error}"))
}

/// Reads a journal's row.
pub(crate) fn read(key: &Key, value: &Value) -> Result<Commit, Refused> {
    tables::decode(key, value)
}
