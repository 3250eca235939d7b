//! Makes of a won opportunity and its company what a billing system takes, with exact money.

mod money;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepwell_action::{Failure, action};

/// Records as they are stored; what is missing and needed is named.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Won {
    pub opportunity: Opportunity,
    pub company: Option<Company>,
    pub contact: Option<Contact>,
    #[serde(default)]
    pub settings: Settings,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Opportunity {
    pub id: String,
    pub name: String,
    pub amount: Option<Amount>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amount {
    /// Millionths.
    pub amount_micros: Option<i64>,
    pub currency_code: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Company {
    pub id: String,
    pub name: Option<String>,
    pub domain_name: Option<Links>,
    pub address: Option<Address>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    pub primary_link_url: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    pub address_street1: Option<String>,
    pub address_street2: Option<String>,
    pub address_city: Option<String>,
    pub address_postcode: Option<String>,
    pub address_state: Option<String>,
    pub address_country: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Contact {
    pub emails: Option<Emails>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Emails {
    pub primary_email: Option<String>,
}

/// What a workspace can set: `settings: "{{ settings.invoicing }}"`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// As a text, `"19"` or `"7.7"`, so that no digit is lost; no tax without it.
    pub tax_percent: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Billing {
    pub customer: Customer,
    pub invoice: Invoice,
}

/// Of the company alone: the same for each of its opportunities.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Customer {
    pub external_id: String,
    pub name: String,
    pub website: Option<String>,
    pub address: Option<Lines>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Lines {
    pub lines: Vec<String>,
    pub country: Option<String>,
}

/// Amounts are whole numbers of the currency's smallest unit; `total_text` is for people.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Invoice {
    pub external_id: String,
    pub description: String,
    pub contact_email: Option<String>,
    pub currency: String,
    pub net: i64,
    pub tax: i64,
    pub total: i64,
    pub total_text: String,
}

#[action]
pub fn format_invoice(won: Won) -> Result<Billing, Failure> {
    let Won { opportunity, company, contact, settings } = won;
    let company = company.ok_or_else(|| {
        let message = format!("the opportunity `{}` has no company to send an invoice to", opportunity.name);
        Failure::new("missing_company", message)
    })?;
    let name = company.name.as_deref().map(in_one_line).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        Failure::new("missing_company", format!("the company {} has no name to be invoiced by", company.id))
    })?;
    let (micros, currency) = amount(&opportunity)?;
    let net = money::to_minor(micros, &currency)?;
    let percent = settings.tax_percent.as_deref().map(money::percent).transpose()?.unwrap_or(0);
    let too_large = || Failure::new("invalid_amount", "the amount with its tax is too large");
    let tax = money::share(net, percent).ok_or_else(too_large)?;
    let total = net.checked_add(tax).ok_or_else(too_large)?;
    Ok(Billing {
        customer: Customer {
            external_id: company.id,
            name,
            website: company.domain_name.and_then(|links| links.primary_link_url),
            address: company.address.and_then(lines),
        },
        invoice: Invoice {
            external_id: opportunity.id,
            description: in_one_line(&opportunity.name),
            contact_email: contact.and_then(|contact| contact.emails?.primary_email),
            total_text: format!("{} {currency}", money::shown(total, &currency)),
            currency,
            net,
            tax,
            total,
        },
    })
}

/// Names may have been pasted with line breaks.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn amount(opportunity: &Opportunity) -> Result<(i64, String), Failure> {
    let amount = opportunity.amount.as_ref();
    let found = amount.and_then(|amount| Some((amount.amount_micros?, amount.currency_code.clone()?)));
    match found {
        Some((micros, currency)) if micros > 0 => Ok((micros, currency.to_ascii_uppercase())),
        Some((micros, _)) => {
            let message =
                format!("an invoice over {micros} millionths cannot be made of `{}`", opportunity.name);
            Err(Failure::new("invalid_amount", message))
        }
        None => {
            let message = format!("the opportunity `{}` has no amount with a currency", opportunity.name);
            Err(Failure::new("missing_amount", message))
        }
    }
}

fn lines(address: Address) -> Option<Lines> {
    let text = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let city = [text(address.address_postcode), text(address.address_city)];
    let city = city.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let rows = [
        text(address.address_street1),
        text(address.address_street2),
        text(Some(city)),
        text(address.address_state),
    ];
    let lines: Vec<String> = rows.into_iter().flatten().collect();
    let country = text(address.address_country);
    if lines.is_empty() && country.is_none() { None } else { Some(Lines { lines, country }) }
}
