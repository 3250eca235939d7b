//! Applies business rules to rows of contacts: whose addresses are not taken, and what is twice in one file.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepwell_action::action;

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Rows {
    pub rows: Vec<Contact>,
    /// Bad rows that were found before; they stand in the output too.
    #[serde(default)]
    pub bad: Vec<Bad>,
    #[serde(default)]
    pub settings: Settings,
}

/// What a workspace can set: `settings: "{{ settings.data_pipeline }}"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Settings {
    /// Domains whose people are not taken, those below them included.
    pub blocked_domains: Vec<String>,
    /// Addresses that stand for no person: what is in front of the `@`.
    pub role_addresses: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let roles =
            ["info", "sales", "support", "admin", "office", "noreply", "no-reply", "postmaster", "webmaster"];
        Self { blocked_domains: Vec::new(), role_addresses: roles.map(str::to_owned).into() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    pub line: u64,
    pub email: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub job_title: Option<String>,
    pub phone: Option<String>,
    pub city: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Ruled {
    pub rows: Vec<Contact>,
    /// All of them, in the order of the file.
    pub bad: Vec<Bad>,
    /// Rows that say the same as one before them.
    pub repeated: usize,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct Bad {
    pub line: u64,
    pub email: String,
    pub why: String,
}

#[action]
pub fn apply_rules(given: Rows) -> Ruled {
    let settings = &given.settings;
    let (mut rows, mut bad, mut repeated) = (Vec::<Contact>::with_capacity(given.rows.len()), given.bad, 0);
    // Where the row of an address stands among those that are taken.
    let mut taken: HashMap<String, usize> = HashMap::with_capacity(given.rows.len());
    for row in given.rows {
        let why = match taken.get(&row.email).map(|at| &rows[*at]) {
            Some(first) if same(first, &row) => {
                repeated += 1;
                continue;
            }
            Some(first) => Some(format!("the same address as in line {}, with other values", first.line)),
            None => refused(&row.email, settings),
        };
        match why {
            Some(why) => bad.push(Bad { line: row.line, email: row.email, why }),
            None => {
                taken.insert(row.email.clone(), rows.len());
                rows.push(row);
            }
        }
    }
    bad.sort_by_key(|bad| bad.line);
    log::info!(rows = rows.len(), bad = bad.len(), repeated = repeated; "ruled");
    Ruled { rows, bad, repeated }
}

fn same(first: &Contact, again: &Contact) -> bool {
    let again = Contact { line: first.line, ..again.clone() };
    *first == again
}

fn refused(email: &str, settings: &Settings) -> Option<String> {
    let (local, domain) = email.rsplit_once('@')?;
    if settings.role_addresses.iter().any(|role| role.eq_ignore_ascii_case(local)) {
        return Some(format!("`{local}` is the address of no person"));
    }
    let below = |blocked: &str| {
        domain.strip_suffix(blocked).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let blocked = settings.blocked_domains.iter().find(|blocked| below(&blocked.to_ascii_lowercase()));
    blocked.map(|blocked| format!("nobody of {blocked} is taken"))
}
