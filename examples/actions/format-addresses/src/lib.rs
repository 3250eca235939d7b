//! Makes of people the members that a newsletter's platform takes, in an order that is always the same, and says whom it leaves
//! out and why. One address is one member, whoever else has it too.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepwell_action::action;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Given {
    pub people: Vec<Person>,
    /// Those that the campaign has already, by the ids of their people.
    #[serde(default)]
    pub known: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Person {
    pub id: String,
    pub emails: Option<Emails>,
    pub name: Option<Name>,
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

#[derive(Debug, Serialize, JsonSchema)]
pub struct Formatted {
    /// By address.
    pub members: Vec<Member>,
    pub left_out: Vec<LeftOut>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Member {
    pub person_id: String,
    pub address: Address,
}

/// As the platform takes it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Address {
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub city: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct LeftOut {
    pub person_id: String,
    pub email: String,
    pub why: String,
}

#[action]
pub fn format_addresses(given: Given) -> Formatted {
    let (mut members, mut left_out) = (BTreeMap::new(), Vec::new());
    for person in given.people {
        if given.known.contains(&person.id) {
            continue;
        }
        let email = person.emails.and_then(|emails| emails.primary_email).unwrap_or_default();
        let email = email.trim().to_ascii_lowercase();
        if let Err(why) = takes(&email) {
            left_out.push(LeftOut { person_id: person.id, email, why: why.into() });
            continue;
        }
        let name = person.name.unwrap_or(Name { first_name: None, last_name: None });
        let address = Address {
            email: email.clone(),
            first_name: line(name.first_name),
            last_name: line(name.last_name),
            city: line(person.city),
        };
        members.entry(email).or_insert(Member { person_id: person.id, address });
    }
    log::info!(members = members.len(), left_out = left_out.len(); "formatted");
    Formatted { members: members.into_values().collect(), left_out }
}

/// What platforms take: ASCII, and something in front of and behind one `@`.
fn takes(email: &str) -> Result<(), &'static str> {
    match email.split_once('@') {
        None if email.is_empty() => Err("there is no address"),
        Some((local, domain)) if !local.is_empty() && domain.contains('.') && !domain.contains('@') => {
            if email.is_ascii() {
                Ok(())
            } else {
                Err("the platform takes no letters beyond ASCII in an address")
            }
        }
        _ => Err("this is no address"),
    }
}

/// On one line, with single blanks.
fn line(text: Option<String>) -> String {
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
