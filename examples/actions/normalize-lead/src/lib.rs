//! Turns a posted web form into the fields of a person and a company.

mod company;
mod email;
mod name;
mod phone;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepwell_action::{Failure, action};

/// What a web form sends. Blank fields count as absent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Form {
    /// The only field that a lead cannot do without.
    pub email: String,
    /// A full name, for forms that ask for one; `firstName` and `lastName` win over it.
    pub name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub job_title: Option<String>,
    pub phone: Option<String>,
    /// ISO 3166 code of the country that a phone number without country code belongs to.
    pub country: Option<String>,
    /// The company's name, as the visitor writes it.
    pub company: Option<String>,
    pub message: Option<String>,
}

/// A lead with one spelling for everything that is compared later.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lead {
    /// Lower case, so that one person has one address.
    pub email: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub job_title: Option<String>,
    /// E.164 where the country is known, otherwise the digits alone.
    pub phone: Option<String>,
    /// Null for a private address without a company's name.
    pub company: Option<company::Company>,
    pub message: Option<String>,
}

#[action]
pub fn normalize(form: Form) -> Result<Lead, Failure> {
    let email = email::parse(&form.email)?;
    let (first_name, last_name) = names(&form);
    let phone = text(&form.phone).and_then(|written| {
        let phone = phone::normalize(written, text(&form.country));
        if phone.is_none() {
            log::warn!(phone = written; "left out: not a phone number");
        }
        phone
    });
    let company = company::of(text(&form.company), &email);
    log::debug!(domain = email.domain(), free_mail = company::is_free_mail(email.domain()); "address read");
    Ok(Lead {
        first_name,
        last_name,
        job_title: text(&form.job_title).map(name::one_line),
        phone,
        company,
        message: text(&form.message).map(str::to_owned),
        email: email.into_string(),
    })
}

fn names(form: &Form) -> (Option<String>, Option<String>) {
    let (first, last) = text(&form.name).map_or((None, None), name::split);
    (text(&form.first_name).map(name::tidy).or(first), text(&form.last_name).map(name::tidy).or(last))
}

/// A field's text without the space around it, if there is any left.
fn text(field: &Option<String>) -> Option<&str> {
    field.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_a_lead() {
        let lead = normalize(Form {
            email: " Ada.Lovelace@Analytical-Engines.co.uk ".into(),
            name: Some("ADA LOVELACE".into()),
            job_title: Some(" Countess of Computing ".into()),
            phone: Some("+44 (0)20 7946 0958".into()),
            message: Some("  ".into()),
            ..Form::default()
        });
        let expected = Lead {
            email: "ada.lovelace@analytical-engines.co.uk".into(),
            first_name: Some("Ada".into()),
            last_name: Some("Lovelace".into()),
            job_title: Some("Countess of Computing".into()),
            phone: Some("+442079460958".into()),
            company: Some(company::Company {
                name: "Analytical Engines".into(),
                domain: Some("analytical-engines.co.uk".into()),
            }),
            message: None,
        };
        assert_eq!(lead, Ok(expected));
    }

    #[test]
    fn separate_names_win_over_a_full_one() {
        let form = Form {
            name: Some("A. L.".into()),
            first_name: Some("ada".into()),
            last_name: Some(" ".into()),
            ..Form::default()
        };
        assert_eq!(names(&form), (Some("Ada".into()), Some("L.".into())));
    }

    #[test]
    fn a_lead_without_an_address_is_refused() {
        let failure = normalize(Form::default()).expect_err("there is no address");
        assert_eq!(failure.code, "invalid_email");
        assert!(!failure.retryable);
    }
}
