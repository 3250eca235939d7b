//! Fields, their types, and the parts that composite types have.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a record's values are stored under; a name is for people and may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldId(pub u32);

/// An object's number in the keys of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectId(pub u32);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    pub id: FieldId,
    pub name: String,
    pub label: String,
    #[serde(flatten)]
    pub kind: FieldType,
    /// A record cannot be without it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// What a new record gets when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FieldType {
    Text,
    Number,
    Boolean,
    Date,
    DateTime,
    /// One of `options`.
    Select {
        options: Vec<String>,
    },
    /// Any of `options`, each once.
    MultiSelect {
        options: Vec<String>,
    },
    /// Exact money: `amountMicros` and an ISO 4217 `currencyCode`.
    Currency,
    Emails,
    Phones,
    /// With `domain: true` the primary link is kept as a bare host name (`example.com`), so that every spelling of a
    /// company's address is the same company.
    Links {
        #[serde(default, skip_serializing_if = "is_false")]
        domain: bool,
    },
    Address,
    FullName,
    /// A whole number from 1 to 5.
    Rating,
    /// The id of a record of another object.
    Relation {
        object: ObjectId,
    },
    /// A list of texts.
    Array,
    /// Any JSON, kept as it is.
    RawJson,
    Uuid,
}

/// The type of one comparable value: a whole field, or a part of a composite one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    /// A number without a fraction.
    Integer,
    Boolean,
    Date,
    DateTime,
    /// One of the field's options.
    Select,
    MultiSelect,
    CurrencyCode,
    Email,
    EmailList,
    Phone,
    PhoneList,
    Url,
    Domain,
    LinkList,
    Rating,
    TextList,
    Json,
    Uuid,
    /// A field with parts: only whether it is empty can be asked of the whole.
    Composite,
}

/// A named part of a composite field.
pub type Part = (&'static str, Kind);

impl FieldType {
    /// As it is written in schemas and messages.
    pub fn name(&self) -> &'static str {
        match self {
            FieldType::Text => "text",
            FieldType::Number => "number",
            FieldType::Boolean => "boolean",
            FieldType::Date => "date",
            FieldType::DateTime => "date_time",
            FieldType::Select { .. } => "select",
            FieldType::MultiSelect { .. } => "multi_select",
            FieldType::Currency => "currency",
            FieldType::Emails => "emails",
            FieldType::Phones => "phones",
            FieldType::Links { .. } => "links",
            FieldType::Address => "address",
            FieldType::FullName => "full_name",
            FieldType::Rating => "rating",
            FieldType::Relation { .. } => "relation",
            FieldType::Array => "array",
            FieldType::RawJson => "raw_json",
            FieldType::Uuid => "uuid",
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            FieldType::Text => Kind::Text,
            FieldType::Number => Kind::Number,
            FieldType::Boolean => Kind::Boolean,
            FieldType::Date => Kind::Date,
            FieldType::DateTime => Kind::DateTime,
            FieldType::Select { .. } => Kind::Select,
            FieldType::MultiSelect { .. } => Kind::MultiSelect,
            FieldType::Rating => Kind::Rating,
            FieldType::Relation { .. } | FieldType::Uuid => Kind::Uuid,
            FieldType::Array => Kind::TextList,
            FieldType::RawJson => Kind::Json,
            FieldType::Currency
            | FieldType::Emails
            | FieldType::Phones
            | FieldType::Links { .. }
            | FieldType::Address
            | FieldType::FullName => Kind::Composite,
        }
    }

    /// The parts of a composite field; none for the others.
    pub fn parts(&self) -> &'static [Part] {
        match self {
            FieldType::Currency => &[("amountMicros", Kind::Integer), ("currencyCode", Kind::CurrencyCode)],
            FieldType::Emails => &[("primaryEmail", Kind::Email), ("additionalEmails", Kind::EmailList)],
            FieldType::Phones => &[
                ("primaryPhoneNumber", Kind::Phone),
                ("primaryPhoneCountryCode", Kind::Text),
                ("primaryPhoneCallingCode", Kind::Text),
                ("additionalPhones", Kind::PhoneList),
            ],
            FieldType::Links { domain: false } => &[
                ("primaryLinkUrl", Kind::Url),
                ("primaryLinkLabel", Kind::Text),
                ("secondaryLinks", Kind::LinkList),
            ],
            FieldType::Links { domain: true } => &[
                ("primaryLinkUrl", Kind::Domain),
                ("primaryLinkLabel", Kind::Text),
                ("secondaryLinks", Kind::LinkList),
            ],
            FieldType::Address => &[
                ("addressStreet1", Kind::Text),
                ("addressStreet2", Kind::Text),
                ("addressCity", Kind::Text),
                ("addressPostcode", Kind::Text),
                ("addressState", Kind::Text),
                ("addressCountry", Kind::Text),
                ("addressLat", Kind::Number),
                ("addressLng", Kind::Number),
            ],
            FieldType::FullName => &[("firstName", Kind::Text), ("lastName", Kind::Text)],
            _ => &[],
        }
    }

    /// The options of a select or multi-select field.
    pub fn options(&self) -> Option<&[String]> {
        match self {
            FieldType::Select { options } | FieldType::MultiSelect { options } => Some(options),
            _ => None,
        }
    }
}

impl Kind {
    /// Whether values of it are lists.
    pub fn is_list(self) -> bool {
        matches!(
            self,
            Kind::MultiSelect | Kind::EmailList | Kind::PhoneList | Kind::LinkList | Kind::TextList
        )
    }

    /// Whether values of it have an order, so that records can be sorted by them and indexed.
    pub fn is_ordered(self) -> bool {
        !self.is_list() && !matches!(self, Kind::Json | Kind::Composite)
    }

    /// What values of it are, in words.
    pub fn described(self) -> &'static str {
        match self {
            Kind::Text => "a text",
            Kind::Number => "a number",
            Kind::Integer => "a whole number",
            Kind::Boolean => "true or false",
            Kind::Date => "a date like \"2026-03-31\"",
            Kind::DateTime => "a date-time like \"2026-03-31T09:30:00Z\"",
            Kind::Select => "one of the field's options",
            Kind::MultiSelect => "a list of the field's options",
            Kind::CurrencyCode => "a currency code like \"EUR\"",
            Kind::Email => "an e-mail address like \"ann@example.com\"",
            Kind::EmailList => "a list of e-mail addresses",
            Kind::Phone => "a phone number like \"+33612345678\"",
            Kind::PhoneList => "a list of phone numbers",
            Kind::Url => "a link like \"https://example.com/page\"",
            Kind::Domain => "a domain like \"example.com\"",
            Kind::LinkList => "a list of {\"label\", \"url\"}",
            Kind::Rating => "a whole number from 1 to 5",
            Kind::TextList => "a list of texts",
            Kind::Json => "any JSON",
            Kind::Uuid => "an id like \"0198c0de-7e57-7abc-8def-0123456789ab\"",
            Kind::Composite => "an object",
        }
    }
}
