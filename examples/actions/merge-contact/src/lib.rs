//! Merges what a person is here with what the contact is there, by what both sides last agreed on. What one side alone has
//! changed is taken over; what both have changed differently is a conflict, and one side wins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepwell_action::action;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Sides {
    /// None: it comes from there, and is new here.
    pub person: Option<Person>,
    /// None: it is new there.
    pub contact: Option<Contact>,
    /// What both sides last agreed on.
    pub base: Option<Fields>,
    /// Who writes there for us: what is from there is no change of somebody else.
    pub us: String,
    #[serde(default)]
    pub winner: Winner,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Winner {
    Here,
    #[default]
    There,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    pub emails: Option<Emails>,
    pub name: Option<Name>,
    pub job_title: Option<String>,
    pub city: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Emails {
    pub primary_email: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Name {
    pub first_name: Option<String>,
    pub last_name: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Contact {
    pub origin: Option<String>,
    #[serde(flatten)]
    pub fields: Fields,
}

/// What is kept the same on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Fields {
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub title: Option<String>,
    pub city: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Merged {
    /// What both sides are to be.
    pub fields: Fields,
    /// What the other side is now.
    pub theirs: Option<Fields>,
    pub send: bool,
    pub conflicts: Vec<Conflict>,
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Conflict {
    pub field: &'static str,
    /// For people.
    pub text: String,
}

#[action]
pub fn merge_contact(sides: Sides) -> Merged {
    let ours = sides.person.map(fields_of).map(plain);
    let from_us =
        sides.contact.as_ref().is_some_and(|contact| contact.origin.as_deref() == Some(sides.us.as_str()));
    let theirs = sides.contact.map(|contact| plain(contact.fields));
    let (fields, conflicts) = match (&ours, &theirs) {
        (Some(ours), Some(theirs)) => {
            let base = if from_us { theirs.clone() } else { plain(sides.base.unwrap_or_default()) };
            merged(ours, theirs, &base, sides.winner)
        }
        (Some(only), None) | (None, Some(only)) => (only.clone(), Vec::new()),
        (None, None) => (Fields::default(), Vec::new()),
    };
    let send = theirs.as_ref() != Some(&fields);
    log::info!(send = send, conflicts = conflicts.len(); "merged");
    Merged { fields, theirs, send, conflicts }
}

fn fields_of(person: Person) -> Fields {
    let name = person.name.unwrap_or(Name { first_name: None, last_name: None });
    Fields {
        email: person.emails.and_then(|emails| emails.primary_email),
        first_name: name.first_name,
        last_name: name.last_name,
        title: person.job_title,
        city: person.city,
    }
}

/// In one spelling, so that what means the same is the same.
fn plain(fields: Fields) -> Fields {
    let text = |text: Option<String>| {
        let text = text?.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() { None } else { Some(text) }
    };
    Fields {
        email: text(fields.email).map(|email| email.to_lowercase()),
        first_name: text(fields.first_name),
        last_name: text(fields.last_name),
        title: text(fields.title),
        city: text(fields.city),
    }
}

fn merged(ours: &Fields, theirs: &Fields, base: &Fields, winner: Winner) -> (Fields, Vec<Conflict>) {
    let mut conflicts = Vec::new();
    let mut one = |field: &'static str, of: fn(&Fields) -> &Option<String>| {
        let (ours, theirs, base) = (of(ours), of(theirs), of(base));
        if ours == theirs || theirs == base {
            return ours.clone();
        }
        if ours == base {
            return theirs.clone();
        }
        let shown = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".into());
        let (taken, place) = match winner {
            Winner::Here => (ours, "here"),
            Winner::There => (theirs, "there"),
        };
        let text =
            format!("{field}: {} here, {} there; what was {place} is taken", shown(ours), shown(theirs));
        conflicts.push(Conflict { field, text });
        taken.clone()
    };
    let fields = Fields {
        email: one("email", |fields| &fields.email),
        first_name: one("first_name", |fields| &fields.first_name),
        last_name: one("last_name", |fields| &fields.last_name),
        title: one("title", |fields| &fields.title),
        city: one("city", |fields| &fields.city),
    };
    (fields, conflicts)
}
