//! Picks the e-mail sequence that a new person is to get, or none, and says why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepwell_action::{Failure, action};

/// A person as they are stored.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Asked {
    pub person: Person,
    #[serde(default)]
    pub settings: Settings,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    pub name: Option<Name>,
    pub emails: Option<Emails>,
    pub job_title: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Name {
    pub first_name: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Emails {
    pub primary_email: Option<String>,
}

/// What a workspace can set: `settings: "{{ settings.sequences }}"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// For job titles: the first whose words one of the title is.
    pub by_title: Vec<ByTitle>,
    /// For everybody else; null for nothing.
    pub otherwise: Option<String>,
    /// Who has an address of these domains gets nothing: one's own people, competitors.
    pub never: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByTitle {
    /// Single words, such as `cto`.
    pub words: Vec<String>,
    pub sequence: String,
}

impl Default for Settings {
    fn default() -> Self {
        let for_title = |words: &[&str], sequence: &str| ByTitle {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            sequence: sequence.to_owned(),
        };
        Self {
            by_title: vec![
                for_title(
                    &["ceo", "cto", "cfo", "coo", "chief", "founder", "owner", "vp", "president"],
                    "executives",
                ),
                for_title(&["engineer", "developer", "architect", "devops"], "developers"),
            ],
            otherwise: Some("welcome".to_owned()),
            never: vec![],
        }
    }
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Picked {
    /// Null when the person is to get none.
    pub sequence: Option<String>,
    pub why: String,
    pub email: String,
    pub first_name: Option<String>,
}

/// Names before the `@` behind which there is no one in particular.
const NOBODY: [&str; 10] =
    ["info", "noreply", "no-reply", "postmaster", "abuse", "admin", "support", "sales", "office", "contact"];

#[action]
pub fn pick_sequence(asked: Asked) -> Result<Picked, Failure> {
    let Asked { person, settings } = asked;
    for sequence in settings.by_title.iter().map(|one| &one.sequence).chain(&settings.otherwise) {
        // It stands in the address of a request.
        if sequence.is_empty()
            || !sequence.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            let message = format!("`{sequence}` is no name of a sequence: letters, digits, `-` and `_`");
            return Err(Failure::new("invalid_settings", message));
        }
    }
    let email =
        person.emails.and_then(|emails| emails.primary_email).unwrap_or_default().to_ascii_lowercase();
    let Some((local, domain)) = email.rsplit_once('@') else {
        return Err(Failure::new("missing_email", "the person has no e-mail address"));
    };
    let (sequence, why) = if NOBODY.contains(&local) {
        (None, format!("{local}@ is nobody in particular"))
    } else if settings.never.iter().any(|never| never.trim().eq_ignore_ascii_case(domain)) {
        (None, format!("{domain} gets none"))
    } else {
        by_title(person.job_title.as_deref().unwrap_or_default(), &settings)
    };
    let first_name = person.name.and_then(|name| name.first_name);
    let first_name = first_name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    log::info!(sequence = sequence.as_deref().unwrap_or("none"); "picked");
    Ok(Picked { sequence, why, email, first_name })
}

fn by_title(title: &str, settings: &Settings) -> (Option<String>, String) {
    let words: Vec<&str> =
        title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let found = settings.by_title.iter().find_map(|one| {
        let word = words
            .iter()
            .find(|word| one.words.iter().any(|known| known.trim().eq_ignore_ascii_case(word)))?;
        Some((one.sequence.clone(), format!("the job title has `{word}`")))
    });
    match (found, &settings.otherwise) {
        (Some((sequence, why)), _) => (Some(sequence), why),
        (None, Some(sequence)) => (Some(sequence.clone()), "what everybody else gets".to_owned()),
        (None, None) => (None, "nothing is for everybody else".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(email: &str, title: &str, settings: Settings) -> Picked {
        let person = Person {
            name: None,
            emails: Some(Emails { primary_email: Some(email.to_owned()) }),
            job_title: Some(title.to_owned()),
        };
        pick_sequence(Asked { person, settings }).expect("picked")
    }

    #[test]
    fn whole_words_of_a_title_decide_in_the_order_of_the_settings() {
        for (title, sequence) in [
            ("CTO & Engineer", "executives"),
            ("Senior Software Engineer", "developers"),
            ("Directory keeper", "welcome"),
            ("", "welcome"),
        ] {
            let picked = pick("ada@engines.example", title, Settings::default());
            assert_eq!(picked.sequence.as_deref(), Some(sequence), "{title}");
        }
    }

    #[test]
    fn some_get_none() {
        let settings = Settings { never: vec![" Us.example".into()], ..Settings::default() };
        assert_eq!(pick("Ada@us.example", "CTO", settings).sequence, None);
        assert_eq!(pick("no-reply@engines.example", "", Settings::default()).sequence, None);
        let settings = Settings { by_title: vec![], otherwise: None, never: vec![] };
        assert_eq!(pick("ada@engines.example", "CTO", settings).sequence, None);
    }
}
