//! What each type accepts, what it stores, and what it says to the rest.

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::{FieldId, ObjectId};

fn field(kind: FieldType) -> Field {
    Field { id: FieldId(1), name: "f".into(), label: "F".into(), kind, required: false, default: None }
}

fn stored(kind: &FieldType, input: Value) -> Result<Value, String> {
    let schema = crate::Schema::standard();
    let person = schema.object("person").unwrap();
    let mut problems = Problems::default();
    let change = Change::read(person, &field(kind.clone()), &input, &mut problems);
    change
        .map(|change| change.onto(None))
        .ok_or_else(|| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

#[test]
fn every_spelling_becomes_one() {
    let same = [
        (
            FieldType::Emails,
            "primaryEmail",
            "ann@example.com",
            &["Ann@Example.COM", " ann@example.com\n"][..],
        ),
        (
            FieldType::Phones,
            "primaryPhoneNumber",
            "+33612345678",
            &["+33 6 12 34 56 78", "0033-612.345.678", "+33 (6) 12345678"],
        ),
        (
            FieldType::Links { domain: true },
            "primaryLinkUrl",
            "example.com",
            &[
                "https://www.Example.com/",
                "http://example.com/about?x=1",
                "EXAMPLE.com",
                "www.example.com",
                "example.com.",
            ],
        ),
        (
            FieldType::Links { domain: false },
            "primaryLinkUrl",
            "https://example.com/in/Ann",
            &["example.com/in/Ann", "https://EXAMPLE.com/in/Ann/", " https://example.com:443/in/Ann"],
        ),
        (FieldType::Currency, "currencyCode", "EUR", &["eur", " EUR "]),
    ];
    for (kind, part, wanted, spellings) in same {
        for spelling in spellings {
            assert_eq!(stored(&kind, json!({part: spelling})), Ok(json!({part: wanted})), "{spelling}");
        }
    }
    let instants = ["2026-03-31T09:30:00Z", "2026-03-31T11:30:00+02:00", "2026-03-31T09:30:00.0004Z"];
    for instant in instants {
        assert_eq!(stored(&FieldType::DateTime, json!(instant)), Ok(json!("2026-03-31T09:30:00.000Z")));
    }
    assert_eq!(stored(&FieldType::DateTime, json!("2026-03-31")), Ok(json!("2026-03-31T00:00:00.000Z")));
    assert_eq!(stored(&FieldType::Rating, json!(4.0)), Ok(json!(4)));
    assert_eq!(
        stored(&FieldType::Links { domain: true }, json!({"primaryLinkUrl": "bücher.de"})),
        Ok(json!({"primaryLinkUrl": "xn--bcher-kva.de"}))
    );
}

#[test]
fn an_empty_input_of_a_form_is_no_value() {
    assert_eq!(
        stored(&FieldType::Emails, json!({"primaryEmail": " ", "additionalEmails": []})),
        Ok(Value::Null)
    );
    for kind in
        [FieldType::Date, FieldType::DateTime, FieldType::Uuid, FieldType::Relation { object: ObjectId(1) }]
    {
        assert_eq!(stored(&kind, json!("")), Ok(Value::Null), "{kind:?}");
    }
    assert_eq!(stored(&FieldType::Text, json!("")), Ok(json!("")), "a text may be empty");
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let select = FieldType::MultiSelect { options: vec!["NEW".into(), "DONE".into()] };
    let refused = [
        stored(&FieldType::Text, json!(["x"])),
        stored(&FieldType::Number, json!("1.5")),
        stored(&FieldType::Number, json!("many")),
        stored(&FieldType::Boolean, json!(1)),
        stored(&FieldType::Date, json!("2026-02-30")),
        stored(&FieldType::Date, json!("2026-02-03T10:00:00Z")),
        stored(&FieldType::DateTime, json!("2026-02-03T10:00:00")),
        stored(&FieldType::DateTime, json!("-000001-01-01T00:00:00Z")),
        stored(&FieldType::DateTime, json!("9999-12-31T23:59:59.999Z")),
        stored(&FieldType::DateTime, json!("9999-12-30T22:00:01+00:00")),
        stored(&FieldType::DateTime, json!("9999-12-31")),
        stored(&FieldType::DateTime, json!("9999-12-31T23:59:60.999")),
        stored(&FieldType::DateTime, json!("9999-13-31T23:59:59.999Z")),
        stored(&select, json!(["NEW", "NWE"])),
        stored(&select, json!("NEW")),
        stored(&FieldType::Rating, json!(6)),
        stored(&FieldType::Uuid, json!("7")),
        stored(&FieldType::Array, json!([1])),
        stored(&FieldType::Emails, json!({"primaryEmail": "a@b"})),
        stored(&FieldType::Emails, json!({"primaryEmail": "Ann <ann@example.com>"})),
        stored(&FieldType::Emails, json!({"primaryEmail": "\"a b\"@example.com"})),
        stored(&FieldType::Emails, json!("ann@example.com")),
        stored(&FieldType::Phones, json!({"primaryPhoneNumber": "+1 555 CALL"})),
        stored(&FieldType::Links { domain: true }, json!({"primaryLinkUrl": "ann@example.com"})),
        stored(&FieldType::Links { domain: true }, json!({"primaryLinkUrl": "192.168.0.1"})),
        stored(&FieldType::Links { domain: false }, json!({"primaryLinkUrl": "ftp://example.com"})),
        stored(&FieldType::Links { domain: false }, json!({"primaryLinkUrl": "https://ann:pw@example.com"})),
        stored(&FieldType::Links { domain: false }, json!({"primaryLinkUrl": "https://:pw@example.com/"})),
        stored(&FieldType::Links { domain: true }, json!({"primaryLinkUrl": ":pw@example.com"})),
        stored(&FieldType::Links { domain: false }, json!({"secondaryLinks": [{"label": "x"}]})),
        stored(&FieldType::Currency, json!({"amountMicros": "5"})),
        stored(&FieldType::Address, json!({"city": "Paris"})),
    ];
    let messages: Vec<String> = refused.into_iter().map(Result::unwrap_err).collect();
    assert_snapshot!(messages.join("\n"), @r#"
    f: the list ["x"] is not a text
    f: the text "1.5" is not a number (write 1.5 without quotes, or in a template as `| float`)
    f: the text "many" is not a number
    f: the number 1 is not true or false
    f: "2026-02-30" is not a date (write one like "2026-03-31")
    f: "2026-02-03T10:00:00Z" is a date-time, and the field is a date (write "2026-02-03")
    f: "2026-02-03T10:00:00" has no time zone; write it like "2026-03-31T09:30:00Z" or "…+02:00"
    f: "-000001-01-01T00:00:00Z" is not between 0000-01-01T00:00:00.000Z and 9999-12-30T22:00:00.000Z
    f: "9999-12-31T23:59:59.999Z" is later than 9999-12-30T22:00:00.000Z, the last date-time there is
    f: "9999-12-30T22:00:01+00:00" is later than 9999-12-30T22:00:00.000Z, the last date-time there is
    f: "9999-12-31" is not between 0000-01-01T00:00:00.000Z and 9999-12-30T22:00:00.000Z
    f: "9999-12-31T23:59:60.999" has no time zone; write it like "2026-03-31T09:30:00Z" or "…+02:00"
    f: "9999-13-31T23:59:59.999Z" is neither a date like "2026-03-31" nor a date-time like "2026-03-31T09:30:00Z"
    f: item 2: "NWE" is no option of `f` (did you mean "NEW"?)
    f: the text "NEW" is not a list of NEW, DONE
    f: the number 6 is not a whole number from 1 to 5
    f: the text "7" is not an id (write an id like "0198c0de-7e57-7abc-8def-0123456789ab")
    f: item 1: the number 1 cannot be in a list of texts
    f.primaryEmail: "a@b" is not an e-mail address (write one like "ann@example.com")
    f.primaryEmail: "Ann <ann@example.com>" is not an e-mail address (write one like "ann@example.com")
    f.primaryEmail: "\"a b\"@example.com" is not an e-mail address (write one like "ann@example.com")
    f: the text "ann@example.com" is no value of type emails (write {"primaryEmail": "ann@example.com"})
    f.primaryPhoneNumber: "+1 555 CALL" is not a phone number (write digits, with + and the country's code in front, like "+33 6 12 34 56 78")
    f.primaryLinkUrl: "ann@example.com" is not a domain (write one like "example.com")
    f.primaryLinkUrl: "192.168.0.1" is not a domain (write one like "example.com")
    f.primaryLinkUrl: "ftp://example.com" is not a link (write one like "https://example.com/page")
    f.primaryLinkUrl: "https://ann:pw@example.com" is not a link (write one like "https://example.com/page")
    f.primaryLinkUrl: "https://:pw@example.com/" is not a link (write one like "https://example.com/page")
    f.primaryLinkUrl: ":pw@example.com" is not a domain (write one like "example.com")
    f.secondaryLinks: item 1: a link is written {"label": "…", "url": "https://…"}
    f.amountMicros: the text "5" is not a number (write 5 without quotes, or in a template as `| int`)
    f.city: `f` of person has no part `city` (its parts are addressStreet1, addressStreet2, addressCity, addressPostcode, addressState, addressCountry, addressLat, addressLng)
    "#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What is stored is accepted again and changes no more, and nothing panics on any text.
    #[test]
    fn normalising_twice_is_normalising_once(text in prop_oneof![".{0,24}", "[a-c.@:/ wW0-9+-]{0,16}"]) {
        let parts = [
            (FieldType::Emails, "primaryEmail"),
            (FieldType::Phones, "primaryPhoneNumber"),
            (FieldType::Links { domain: false }, "primaryLinkUrl"),
            (FieldType::Links { domain: true }, "primaryLinkUrl"),
            (FieldType::Currency, "currencyCode"),
        ];
        for (kind, part) in parts {
            if let Ok(once) = stored(&kind, json!({part: text})) {
                prop_assert_eq!(stored(&kind, once.clone()), Ok(once));
            }
        }
        for kind in [FieldType::Date, FieldType::DateTime, FieldType::Uuid] {
            if let Ok(once) = stored(&kind, json!(text)) {
                prop_assert_eq!(stored(&kind, once.clone()), Ok(once));
            }
        }
    }
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, level| match level % 2 {
        0 => Value::Array(vec![inner]),
        _ => Value::Object([("a".to_owned(), inner)].into_iter().collect()),
    })
}

#[test]
fn json_is_kept_as_deep_as_it_can_be_read_back() {
    assert_eq!(stored(&FieldType::RawJson, nested(64)), Ok(nested(64)));
    assert_snapshot!(stored(&FieldType::RawJson, nested(65)).unwrap_err(), @"f: this list is nested deeper than 64 levels (keep the inner part as a text, or flatten it)");
    assert!(stored(&FieldType::RawJson, nested(1_000)).is_err());
}
