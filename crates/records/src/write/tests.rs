//! How writes behave: outcomes, merging, uniqueness, relations, versions, events, and what they cost.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Bench, WS, id, map, told};

fn error(result: Result<Written, RecordsError>) -> String {
    let error = result.unwrap_err();
    format!("{}: {error}", error.code())
}

#[tokio::test]
async fn a_new_record_has_every_field_and_is_there_for_all() {
    let bench = Bench::new();
    let record = json!({"name": {"firstName": "Ann"}, "emails": {"primaryEmail": " Ann@Example.COM "}});
    let written = bench.create("person", record).await.unwrap();
    assert_eq!(written.outcome, Outcome::Created);
    assert_snapshot!(serde_json::to_string_pretty(&written.record).unwrap(), @r#"
    {
      "avatarUrl": null,
      "city": null,
      "companyId": null,
      "createdAt": "2026-05-28T20:26:40.000Z",
      "emails": {
        "additionalEmails": [],
        "primaryEmail": "ann@example.com"
      },
      "id": "019e7044-8800-7000-8000-000000000000",
      "jobTitle": null,
      "linkedinLink": {
        "primaryLinkLabel": null,
        "primaryLinkUrl": null,
        "secondaryLinks": []
      },
      "name": {
        "firstName": "Ann",
        "lastName": null
      },
      "phones": {
        "additionalPhones": [],
        "primaryPhoneCallingCode": null,
        "primaryPhoneCountryCode": null,
        "primaryPhoneNumber": null
      },
      "updatedAt": "2026-05-28T20:26:40.000Z",
      "version": 1,
      "xLink": {
        "primaryLinkLabel": null,
        "primaryLinkUrl": null,
        "secondaryLinks": []
      }
    }
    "#);
    let read = bench.run(async |records| records.get("people", &id(&written)).await).await.unwrap();
    assert_eq!(read, written.record);
}

#[tokio::test]
async fn defaults_fill_what_is_not_given_and_required_fields_must_be() {
    let bench = Bench::new();
    let task = bench.create("task", json!({"title": "Call"})).await.unwrap();
    assert_eq!(task.record["status"], "TODO");
    let task = bench.create("task", json!({"title": "Call", "status": null})).await.unwrap();
    assert_eq!(task.record["status"], Value::Null, "an explicit null is no default");
    assert_snapshot!(error(bench.create("task", json!({"title": " "})).await), @"invalid_record: this task cannot be stored: title: every task needs a `title` (give a text)");
    let cleared = bench.update("task", &id(&task), json!({"title": null})).await;
    assert_snapshot!(error(cleared), @"invalid_record: this task cannot be stored: title: every task needs a `title` (give a text)");
}

#[tokio::test]
async fn every_problem_of_a_record_is_reported_at_once() {
    let bench = Bench::new();
    let person = json!({
        "name": "Ann", "emails": {"primaryEmail": "ann@", "additionalEmails": ["b@x.org", "c"], "primry": 1},
        "jobtitle": "CEO", "primaryEmail": "a@b.de", "emails.primaryEmail": "a@b.de", "city": 7, "companyId": "acme",
        "phones": {"primaryPhoneNumber": "call me"}, "linkedinLink": {"primaryLinkUrl": "javascript:alert(1)"},
        "createdAt": "2020-01-01", "favouriteColour": "red",
    });
    assert_snapshot!(error(bench.create("person", person).await), @r#"invalid_record: this person cannot be stored: city: the number 7 is not a text (write it in quotes, "7", or in a template as `| string`); companyId: the text "acme" is not an id (write the `id` of a record, such as {{ step.record.id }}); createdAt: `createdAt` is set by Stepwell itself (leave it out); emails.additionalEmails: item 2: "c" is not an e-mail address (write one like "ann@example.com"); emails.primaryEmail: "ann@" is not an e-mail address (write one like "ann@example.com"); emails.primry: `emails` of person has no part `primry` (its parts are primaryEmail, additionalEmails); emails.primaryEmail: `emails.primaryEmail` is a part of `emails` (write {"emails": {"primaryEmail": …}}); favouriteColour: person has no field `favouriteColour` (its fields are name, emails, phones, jobTitle, companyId, city, linkedinLink, xLink, avatarUrl); jobtitle: person has no field `jobtitle` (did you mean `jobTitle`?); linkedinLink.primaryLinkUrl: "javascript:alert(1)" is not a link (write one like "https://example.com/page"); name: the text "Ann" is no value of type full_name (write {"firstName": "Ann"}); phones.primaryPhoneNumber: "call me" is not a phone number (write digits, with + and the country's code in front, like "+33 6 12 34 56 78"); primaryEmail: person has no field `primaryEmail` (did you mean `emails.primaryEmail`?)"#);
    let company = json!({
        "employees": "12", "annualRecurringRevenue": {"amountMicros": 1.5, "currencyCode": "euro"},
        "idealCustomerProfile": "yes", "domainName": {"primaryLinkUrl": "acme"},
    });
    assert_snapshot!(error(bench.create("company", company).await), @r#"invalid_record: this company cannot be stored: annualRecurringRevenue.amountMicros: the number 1.5 is not a whole number; annualRecurringRevenue.currencyCode: the text "euro" is not a currency code like "EUR"; domainName.primaryLinkUrl: "acme" is not a domain (write one like "example.com"); employees: the text "12" is not a number (write 12 without quotes, or in a template as `| float`); idealCustomerProfile: the text "yes" is not true or false"#);
    let opportunity = json!({"stage": "CLOSE_WON", "closeDate": "31.03.2026", "amount": 3});
    assert_snapshot!(error(bench.create("opportunity", opportunity).await), @r#"invalid_record: this opportunity cannot be stored: amount: the number 3 is no value of type currency (write {"amountMicros": 1500000}); closeDate: "31.03.2026" is not a date (write one like "2026-03-31"); stage: "CLOSE_WON" is no option of `stage` (did you mean "CLOSED_WON"?); name: every opportunity needs a `name` (give a text)"#);
    assert_snapshot!(error(bench.create("persno", json!({})).await), @"unknown_object: there is no object `persno` (did you mean `person`?)");
}

#[tokio::test]
async fn an_update_merges_parts_and_null_clears() {
    let bench = Bench::new();
    let person = json!({"name": {"firstName": "Ann", "lastName": "Lee"}, "city": "Paris", "jobTitle": "CEO"});
    let ann = id(&bench.create("person", person).await.unwrap());
    let changes = json!({"name": {"firstName": "Anna"}, "city": null});
    let written = bench.update("person", &ann, changes).await.unwrap();
    assert_eq!(written.outcome, Outcome::Updated);
    assert_eq!(written.record["name"], json!({"firstName": "Anna", "lastName": "Lee"}));
    assert_eq!((&written.record["city"], &written.record["jobTitle"]), (&Value::Null, &json!("CEO")));
    assert_eq!(written.record["version"], 2);
    let written = bench.update("person", &ann, json!({"name": {"lastName": null}})).await.unwrap();
    assert_eq!(written.record["name"], json!({"firstName": "Anna", "lastName": null}));
    let written = bench.update("person", &ann, json!({"name": null})).await.unwrap();
    assert_eq!(written.record["name"], json!({"firstName": null, "lastName": null}));
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing_and_tells_nobody() {
    let bench = Bench::new();
    let record = json!({"emails": {"primaryEmail": "ann@example.com"}, "city": "Paris"});
    let ann = bench.create("person", record).await.unwrap();
    let context = bench.context();
    let mut txn = bench.begin();
    let mut records = Records::open(&mut txn, WS).await.unwrap();
    let same = map(json!({"emails": {"primaryEmail": "ANN@example.com"}, "city": "Paris", "jobTitle": null}));
    let written = records.update(&context, "person", &id(&ann), &same, None).await.unwrap();
    assert_eq!((written.outcome, written.event), (Outcome::Unchanged, None));
    assert_eq!(written.record, ann.record);
    assert!(txn.is_read_only());
}

#[tokio::test]
async fn a_unique_value_belongs_to_one_record() {
    let bench = Bench::new();
    let ann = bench.create("person", json!({"emails": {"primaryEmail": "ann@example.com"}})).await.unwrap();
    let twin =
        bench.create("person", json!({"emails": {"primaryEmail": "ANN@EXAMPLE.com "}})).await.unwrap_err();
    assert_eq!(twin.other().unwrap().to_string(), id(&ann));
    assert_snapshot!(twin.to_string().replace(&id(&ann), "<ann>"), @r#"person <ann> already has emails.primaryEmail "ann@example.com"; update that record, or use an upsert that matches on it"#);
    let bob = bench.create("person", json!({"emails": {"primaryEmail": "bob@example.com"}})).await.unwrap();
    let moved =
        bench.update("person", &id(&bob), json!({"emails": {"primaryEmail": "ann@example.com"}})).await;
    assert_eq!(moved.unwrap_err().code(), "unique_conflict");
    // Freed by a change, it can be taken.
    bench.update("person", &id(&ann), json!({"emails": {"primaryEmail": "a@example.com"}})).await.unwrap();
    bench.update("person", &id(&bob), json!({"emails": {"primaryEmail": "ann@example.com"}})).await.unwrap();
    // Nothing takes no place.
    bench.create("person", json!({})).await.unwrap();
    bench.create("person", json!({"emails": {"primaryEmail": ""}})).await.unwrap();
    // All spellings of a company's address are one company.
    bench
        .create("company", json!({"domainName": {"primaryLinkUrl": "https://www.Acme.com/about"}}))
        .await
        .unwrap();
    let twin = bench.create("company", json!({"domainName": {"primaryLinkUrl": "acme.com"}})).await;
    assert_eq!(twin.unwrap_err().code(), "unique_conflict");
}

#[tokio::test]
async fn a_deleted_record_gives_up_its_place_and_may_come_back() {
    let bench = Bench::new();
    let record = json!({"emails": {"primaryEmail": "ann@example.com"}});
    let ann = id(&bench.create("person", record.clone()).await.unwrap());
    let deleted = bench.delete("person", &ann).await.unwrap();
    assert_eq!(deleted.outcome, Outcome::Deleted);
    assert!(deleted.record["deletedAt"].is_string());
    assert_eq!(bench.delete("person", &ann).await.unwrap().outcome, Outcome::Unchanged);
    let gone = bench.run(async |records| records.get("person", &ann).await).await.unwrap_err();
    assert_snapshot!(gone.to_string().replace(&ann, "<ann>"), @"there is no person <ann>: it was deleted, and can be restored");
    assert_eq!(
        bench.update("person", &ann, json!({"city": "Rome"})).await.unwrap_err().code(),
        "record_not_found"
    );

    let context = bench.context();
    let restored =
        bench.run(async |records| records.restore(&context, "person", &ann, None).await).await.unwrap();
    assert_eq!((restored.outcome, &restored.record["version"]), (Outcome::Restored, &json!(3)));
    assert_eq!(restored.record.get("deletedAt"), None);
    bench.delete("person", &ann).await.unwrap();
    let other = bench.create("person", record).await.unwrap();
    let context = bench.context();
    let refused = bench.run(async |records| records.restore(&context, "person", &ann, None).await).await;
    assert_eq!(refused.unwrap_err().other().unwrap().to_string(), id(&other));
}

#[tokio::test]
async fn a_writer_that_saw_an_older_version_is_told() {
    let bench = Bench::new();
    let ann = id(&bench.create("person", json!({"city": "Paris"})).await.unwrap());
    bench.update("person", &ann, json!({"city": "Rome"})).await.unwrap();
    let context = bench.context();
    let changes = map(json!({"city": "Oslo"}));
    let stale =
        bench.run(async |records| records.update(&context, "person", &ann, &changes, Some(1)).await).await;
    assert_snapshot!(error(stale).replace(&ann, "<ann>"), @"stale: person <ann> has changed: it is at version 2, not at 1; read it again and retry");
    let fresh =
        bench.run(async |records| records.update(&context, "person", &ann, &changes, Some(2)).await).await;
    assert_eq!(fresh.unwrap().record["version"], 3);
    let stale = bench.run(async |records| records.delete(&context, "person", &ann, Some(2)).await).await;
    assert_eq!(stale.unwrap_err().code(), "stale");
}

async fn guarded(
    bench: &Bench,
    id: &str,
    changes: Value,
    since: &Value,
    fields: &[&str],
) -> Result<Written, RecordsError> {
    let (context, changes, since) = (bench.context(), map(changes), map(since.clone()));
    let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    let if_unchanged = Some(Unchanged { since: &since, fields: &fields });
    let guard = Guard { if_version: None, if_unchanged };
    bench.run(async |records| records.update(&context, "person", id, &changes, guard).await).await
}

#[tokio::test]
async fn a_change_counts_on_fields_that_nobody_has_changed() {
    let bench = Bench::new();
    let record = json!({"city": "Paris", "name": {"firstName": "Ann", "lastName": "Bell"}, "emails": {"primaryEmail": "ann@example.com"}});
    let seen = bench.create("person", record).await.unwrap();
    let (ann, seen) = (id(&seen), seen.record);
    bench.update("person", &ann, json!({"name": {"lastName": "Cole"}, "jobTitle": "CTO"})).await.unwrap();

    // Others may have been changed; a part counts by itself.
    let fields = ["city", "name.firstName", "emails"];
    let written = guarded(&bench, &ann, json!({"city": "Rome"}), &seen, &fields).await.unwrap();
    assert_eq!((&written.record["city"], &written.record["version"]), (&json!("Rome"), &json!(3)));
    let stale =
        guarded(&bench, &ann, json!({"avatarUrl": null}), &seen, &["name", "city", "emails", "jobTitle"])
            .await;
    assert_snapshot!(error(stale).replace(&ann, "<ann>"), @"stale: person <ann> has changed in `name` and `city` and `jobTitle` since it was read; read it again and retry");

    // Without names it is what is written, each part for itself.
    let now = guarded(&bench, &ann, json!({"name": {"firstName": "Anna"}}), &seen, &[]).await.unwrap().record;
    assert_eq!(now["name"], json!({"firstName": "Anna", "lastName": "Cole"}));
    let stale = guarded(&bench, &ann, json!({"city": "Oslo"}), &seen, &[]).await.unwrap_err();
    assert_eq!(stale.code(), "stale");

    // What is expected may be written down, in any form that the field takes.
    let expected = json!({"emails": {"primaryEmail": "ANN@Example.com "}, "intro": null, "city": "Rome"});
    let fields = ["emails", "city"];
    let written = guarded(&bench, &ann, json!({"city": "Oslo"}), &expected, &fields).await.unwrap();
    assert_eq!(written.record["city"], "Oslo");

    // A version beside it is kept too.
    let (context, changes, since) = (bench.context(), map(json!({"city": "Bari"})), map(written.record));
    let guard = Guard { if_version: Some(1), if_unchanged: Some(Unchanged { since: &since, fields: &[] }) };
    let stale =
        bench.run(async |records| records.update(&context, "person", &ann, &changes, guard).await).await;
    assert!(matches!(stale, Err(RecordsError::Stale { .. })));
}

#[tokio::test]
async fn what_a_change_counts_on_has_to_be_said() {
    let bench = Bench::new();
    let seen = bench.create("person", json!({"city": "Paris"})).await.unwrap();
    let ann = id(&seen);
    let silent = guarded(&bench, &ann, json!({"city": "Rome"}), &json!({"records": []}), &[]).await;
    assert_snapshot!(error(silent), @"invalid_record: this person cannot be stored: if_unchanged.since: `since` says nothing of `city` (give the record as it was read, or null for a field that is to be empty)");
    let unknown = guarded(&bench, &ann, json!({"city": "Rome"}), &seen.record, &["cty", "version"]).await;
    assert_snapshot!(error(unknown), @"invalid_record: this person cannot be stored: if_unchanged.fields: person has no field `cty` (did you mean `city`?); if_unchanged.fields: `version` is set by Stepwell itself (name fields that are written; `if_version` is for the whole record)");
    let misfit = guarded(&bench, &ann, json!({"city": "Rome"}), &json!({"city": 5}), &[]).await;
    assert_snapshot!(error(misfit), @r#"invalid_record: this person cannot be stored: if_unchanged.since.city: the number 5 is not a text (write it in quotes, "5", or in a template as `| string`)"#);
    assert_eq!(bench.update("person", &ann, json!({})).await.unwrap().record["city"], "Paris");
}

#[tokio::test]
async fn a_relation_names_a_record_that_exists() {
    let bench = Bench::new();
    let nobody = "0198c0de-7e57-7abc-8def-0123456789ab";
    assert_snapshot!(error(bench.create("person", json!({"companyId": nobody})).await), @"relation_not_found: `companyId` of person names company 0198c0de-7e57-7abc-8def-0123456789ab, which does not exist; create it first, or leave the field empty");
    let acme = id(&bench.create("company", json!({"name": "Acme"})).await.unwrap());
    let ann = id(&bench.create("person", json!({"companyId": acme})).await.unwrap());
    bench.delete("company", &acme).await.unwrap();
    // A relation that dangles already does not stop other changes; a new one is checked.
    bench.update("person", &ann, json!({"city": "Rome"})).await.unwrap();
    assert_eq!(
        bench.create("person", json!({"companyId": acme})).await.unwrap_err().code(),
        "relation_not_found"
    );
    // A record of the same transaction is there already.
    let (company, person) = (bench.context(), bench.context());
    bench
        .run(async |records| {
            let company = records.create(&company, "company", &map(json!({"name": "New"}))).await?;
            records.create(&person, "person", &map(json!({"companyId": id(&company)}))).await
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn an_upsert_finds_or_creates_by_a_unique_set() {
    let bench = Bench::new();
    let email = json!({"primaryEmail": "ann@example.com"});
    let first = bench
        .upsert("person", "emails.primaryEmail", json!({"emails": email, "city": "Paris"}))
        .await
        .unwrap();
    assert_eq!(first.outcome, Outcome::Created);
    let again = json!({"emails": {"primaryEmail": "Ann@Example.com"}, "city": "Rome", "jobTitle": "CEO"});
    let context = bench.context();
    let (on, create_only) = (["emails.primaryEmail".to_owned()], ["city".to_owned()]);
    let upsert = Upsert { match_on: &on, create_only: &create_only, if_version: None };
    let second = bench
        .run(async |records| records.upsert(&context, "person", &map(again), upsert).await)
        .await
        .unwrap();
    assert_eq!((second.outcome, id(&second)), (Outcome::Updated, id(&first)));
    assert_eq!((&second.record["city"], &second.record["jobTitle"]), (&json!("Paris"), &json!("CEO")));
    let third = bench.upsert("person", "emails.primaryEmail", json!({"emails": email})).await.unwrap();
    assert_eq!((third.outcome, third.event), (Outcome::Unchanged, None));

    let messages = [
        error(bench.upsert("person", "emails.primaryEmail", json!({"city": "Rome"})).await),
        error(bench.upsert("person", "city", json!({"city": "Rome"})).await),
        error(bench.upsert("task", "title", json!({"title": "x"})).await),
        error(
            bench.upsert("person", "emails.primaryEmail", json!({"emails": {"primaryEmail": "ann"}})).await,
        ),
    ];
    assert_snapshot!(messages.join("\n"), @r#"
    invalid_match: the upsert of person cannot match: the record has no `emails.primaryEmail` (every field of `match` needs a value)
    invalid_match: the upsert of person cannot match: [city] is no unique set (its unique sets are [emails.primaryEmail])
    invalid_match: the upsert of task cannot match: [title] is no unique set (task has no unique fields; add a unique set to it)
    invalid_record: this person cannot be stored: emails.primaryEmail: "ann" is not an e-mail address (write one like "ann@example.com")
    "#);
}

#[tokio::test]
async fn an_event_tells_what_changed_and_from_whom() {
    let bench = Bench::new();
    let created = bench.create("person", json!({"city": "Paris", "jobTitle": "CEO"})).await.unwrap();
    let updated = bench
        .update("person", &id(&created), json!({"city": "Rome", "name": {"firstName": "Ann"}}))
        .await
        .unwrap();
    let deleted = bench.delete("person", &id(&created)).await.unwrap();
    let schema = crate::Schema::standard();
    let person = schema.object("person").unwrap();
    let event = told(&created);
    assert_eq!((event.before(person), event.after(person)), (Value::Null, created.record.clone()));
    assert_eq!(Vec::from_iter(&event.fields), ["city", "jobTitle"]);
    let event = told(&updated);
    assert_eq!(Vec::from_iter(&event.fields), ["city", "name"]);
    assert_eq!(event.after(person), updated.record);
    let before = event.before(person);
    assert_eq!(
        (&before["city"], &before["name"]["firstName"], &before["jobTitle"]),
        (&json!("Paris"), &Value::Null, &json!("CEO"))
    );
    assert_eq!(event.origin.by, "test");
    let event = told(&deleted);
    assert_eq!((event.before(person)["city"].clone(), event.after(person)), (json!("Rome"), Value::Null));
}

#[tokio::test]
async fn time_never_goes_back_for_a_record() {
    let bench = Bench::new();
    let early = bench.context();
    let ann = bench.create("person", json!({"city": "Paris"})).await.unwrap();
    let changes = map(json!({"city": "Rome"}));
    let written = bench
        .run(async |records| records.update(&early, "person", &id(&ann), &changes, None).await)
        .await
        .unwrap();
    assert_eq!(written.record["updatedAt"], ann.record["updatedAt"]);
}

#[tokio::test]
async fn a_write_costs_few_keys() {
    let bench = Bench::new();
    let acme = id(&bench.create("company", json!({"name": "Acme"})).await.unwrap());
    let context = bench.context();
    let record = json!({"emails": {"primaryEmail": "ann@example.com"}, "companyId": acme, "city": "Paris"});
    let mut txn = bench.begin();
    let mut records = Records::open(&mut txn, WS).await.unwrap();
    records.create(&context, "person", &map(record)).await.unwrap();
    assert_eq!(txn.keys(), 3, "the record, its e-mail, its company");
    txn.commit().await.unwrap();
    let mut txn = bench.begin();
    let mut records = Records::open(&mut txn, WS).await.unwrap();
    let id = context.new_id.to_string();
    records.update(&context, "person", &id, &map(json!({"city": "Rome"})), None).await.unwrap();
    assert_eq!(txn.keys(), 1, "the record");
}

#[tokio::test]
async fn a_record_too_large_is_refused_by_name() {
    let bench = Bench::new();
    let note = json!({"title": "long", "body": "x".repeat(300_000)});
    assert_snapshot!(error(bench.create("note", note).await), @"invalid_record: this note cannot be stored: body: the record would take 300050 bytes, at most 262144; `body` alone takes 300002 (shorten it)");
}

#[tokio::test]
async fn writers_at_the_same_time_make_one_record() {
    let bench = Bench::new();
    let (a, b) = (bench.context(), bench.context());
    let record = map(json!({"emails": {"primaryEmail": "ann@example.com"}}));
    let on = ["emails.primaryEmail".to_owned()];
    let upsert = Upsert { match_on: &on, ..Upsert::default() };
    let (mut first, mut second) = (bench.begin(), bench.begin());
    Records::open(&mut first, WS).await.unwrap().upsert(&a, "person", &record, upsert.clone()).await.unwrap();
    Records::open(&mut second, WS)
        .await
        .unwrap()
        .upsert(&b, "person", &record, upsert.clone())
        .await
        .unwrap();
    first.commit().await.unwrap();
    assert!(second.commit().await.unwrap_err().is_conflict());
    let again = bench.run(async |records| records.upsert(&b, "person", &record, upsert).await).await.unwrap();
    assert_eq!((again.outcome, id(&again)), (Outcome::Unchanged, a.new_id.to_string()));
}

#[tokio::test]
async fn however_many_mistakes_the_answer_has_a_bound() {
    let bench = Bench::new();
    let mut record = map(json!({}));
    for i in 0..50_000 {
        record.insert(format!("{i}{}", "x".repeat(100)), json!("value"));
    }
    record.insert("jobTitle".into(), json!(["y".repeat(1_000_000)]));
    let refused = bench.create("person", Value::Object(record)).await.unwrap_err();
    assert_eq!(refused.problems().len(), 101);
    assert_eq!(refused.problems().last().unwrap().to_string(), "and 49901 more");
    assert!(refused.to_string().len() < 6_000, "{}", refused.to_string().len());
    let told: usize = refused.problems().iter().map(|problem| problem.to_string().len()).sum();
    assert!(told < 101 * 1_000, "{told}");

    let long = "n".repeat(1_000_000);
    let refused = [
        bench.create("person", json!({&long: 1})).await.unwrap_err(),
        bench.create("person", json!({"name": {&long: 1}})).await.unwrap_err(),
        bench.create(&long, json!({})).await.unwrap_err(),
        bench.upsert("person", &long, json!({})).await.unwrap_err(),
        bench.create("task", json!({"title": "x", "status": long})).await.unwrap_err(),
        bench.run(async |records| records.view("person", &long).await).await.unwrap_err(),
        bench.run(async |records| records.get("person", &long).await).await.unwrap_err(),
    ];
    for refused in refused {
        assert!(refused.to_string().len() < 1_000, "{refused}");
    }
}

#[tokio::test]
async fn what_is_no_id_finds_nothing_and_says_so() {
    let bench = Bench::new();
    let refused = bench.run(async |records| records.get("person", "ann").await).await.unwrap_err();
    assert_snapshot!(refused, @r#"no person can be found: id: "ann" is not an id (write the `id` of a record, such as {{ step.record.id }})"#);
    assert_eq!((refused.code(), refused.problems().len()), ("invalid_record", 1));
}
