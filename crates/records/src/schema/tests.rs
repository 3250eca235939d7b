//! How schemas change: custom objects and fields, indexes and unique sets over records that are there already.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::filter::{Allowed, Filter};
use crate::schema::{IndexState, NewField, NewObject, Wanted};
use crate::testing::{Bench, WS, id, map};
use crate::{Query, Records, RecordsError, Schema};

fn object(json: Value) -> NewObject {
    serde_json::from_value(json).unwrap()
}

fn field(json: Value) -> NewField {
    serde_json::from_value(json).unwrap()
}

pub(super) async fn backfill(bench: &Bench) -> usize {
    let mut pages = 0;
    loop {
        let todo = bench.run(async |records| Ok(records.schema().backfills())).await.unwrap();
        let Some(&work) = todo.first() else { return pages };
        let mut from = None;
        loop {
            pages += 1;
            let page = bench.run(async |records| records.backfill_page(work, from).await).await.unwrap();
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
}

async fn by(bench: &Bench, filter: Value) -> String {
    let query = Query { filter: Some(Filter::parse(&filter, Allowed::FIELDS).unwrap()), ..Query::default() };
    let page = bench
        .run(async |records| records.search("company", &query, bench.context().now).await)
        .await
        .unwrap();
    format!("{} by {}", page.total, page.index.as_deref().unwrap_or("-"))
}

#[tokio::test]
async fn standard_objects_are_as_documented() {
    let schema = Schema::standard();
    let objects: Vec<String> = (schema.objects())
        .map(|object| {
            let fields: Vec<String> =
                object.fields.iter().map(|field| format!("{} {}", field.name, field.kind.name())).collect();
            let unique: Vec<String> =
                object.unique.iter().map(|set| object.unique_names(set).join("+")).collect();
            let indexes: Vec<String> =
                object.indexes.iter().map(|index| object.path_name(&index.path)).collect();
            format!("{}: {}\n  unique {unique:?}, indexed {indexes:?}", object.name, fields.join(", "))
        })
        .collect();
    assert_snapshot!(objects.join("\n"), @r#"
    person: name full_name, emails emails, phones phones, jobTitle text, companyId relation, city text, linkedinLink links, xLink links, avatarUrl text
      unique ["emails.primaryEmail"], indexed ["companyId"]
    company: name text, domainName links, address address, employees number, annualRecurringRevenue currency, idealCustomerProfile boolean, linkedinLink links, xLink links, accountOwner text
      unique ["domainName.primaryLinkUrl"], indexed []
    opportunity: name text, amount currency, closeDate date, stage select, companyId relation, pointOfContactId relation, owner text
      unique [], indexed ["companyId", "pointOfContactId"]
    note: title text, body text, personId relation, companyId relation, opportunityId relation
      unique [], indexed ["personId", "companyId", "opportunityId"]
    task: title text, body text, status select, dueAt date_time, assignee text, personId relation, companyId relation, opportunityId relation
      unique [], indexed ["personId", "companyId", "opportunityId"]
    note_target: noteId relation, personId relation, companyId relation, opportunityId relation
      unique [], indexed ["noteId", "personId", "companyId", "opportunityId"]
    task_target: taskId relation, personId relation, companyId relation, opportunityId relation
      unique [], indexed ["taskId", "personId", "companyId", "opportunityId"]
    "#);
}

#[tokio::test]
async fn an_object_of_ones_own_works_like_any_other() {
    let bench = Bench::new();
    let new = object(json!({
        "name": "device", "fields": [
            {"name": "serial", "type": "text", "required": true, "unique": true},
            {"name": "ownerId", "type": "relation", "object": "person", "indexed": true},
            {"name": "parentId", "type": "relation", "object": "device"},
            {"name": "state", "type": "select", "options": ["ON", "OFF"], "default": "OFF"},
            {"name": "tags", "type": "multi_select", "options": ["A", "B"]},
        ],
    }));
    let made = bench.run(async |records| {
        let object = records.create_object(&new).await?;
        Ok(records.schema().describe(&object, &|_| None))
    });
    let made = made.await.unwrap();
    assert_eq!(
        (&made["plural"], &made["custom"], &made["unique"][0]["fields"]),
        (&json!("devices"), &json!(true), &json!(["serial"]))
    );
    let one = bench.create("device", json!({"serial": "X1", "tags": ["B", "A", "B"]})).await.unwrap();
    assert_eq!((&one.record["state"], &one.record["tags"]), (&json!("OFF"), &json!(["B", "A"])));
    let child = json!({"serial": "X2", "parentId": id(&one)});
    bench.create("devices", child).await.unwrap();
    let again = bench.upsert("device", "serial", json!({"serial": " x1 ", "state": "ON"})).await;
    assert_eq!(id(&again.unwrap()), id(&one), "unique text is compared without case and surrounding space");
}

#[tokio::test]
async fn a_field_can_be_added_to_any_object() {
    let bench = Bench::new();
    let ann = id(&bench.create("person", json!({"city": "Paris"})).await.unwrap());
    let score = field(json!({"name": "score", "type": "number", "default": 0, "indexed": true}));
    bench.run(async |records| records.add_field("person", &score).await).await.unwrap();
    let read = bench.run(async |records| records.get("person", &ann).await).await.unwrap();
    assert_eq!(read["score"], Value::Null, "a default is for new records");
    let bob = bench.create("person", json!({})).await.unwrap();
    assert_eq!(bob.record["score"], 0);
    // An index that has no entries of the records before it is not searched by.
    let sorted = crate::Query { sort: vec!["-score".into()], ..crate::Query::default() };
    let all = bench.run(async |records| records.search("person", &sorted, bench.context().now).await);
    assert_eq!(all.await.unwrap().records.len(), 2);
    bench.update("person", &ann, json!({"score": 7})).await.unwrap();
    // Other workspaces have not heard of it.
    let other = stepwell_store::WorkspaceId(2);
    let mut txn = stepwell_store::Txn::begin(bench.store.clone(), other.shard());
    let context = bench.context();
    let mut records = Records::open(&mut txn, other).await.unwrap();
    let refused = records.create(&context, "person", &map(json!({"score": 1}))).await;
    assert_eq!(refused.unwrap_err().code(), "invalid_record");
}

#[tokio::test]
async fn every_problem_of_a_schema_is_reported_at_once() {
    let bench = Bench::new();
    let new = object(json!({
        "name": "Device", "plural": "people", "fields": [
            {"name": "Serial", "type": "text"}, {"name": "id", "type": "text"}, {"name": "a", "type": "txet"},
            {"name": "b", "type": "select"}, {"name": "c", "type": "relation", "object": "persno"},
            {"name": "d", "type": "number", "default": "x"}, {"name": "e", "type": "emails"}, {"name": "e", "type": "text"},
            {"name": "f", "type": "text", "options": ["A"]},
        ],
        "unique": [["nope"], ["e"], []], "indexes": ["e.additionalEmails"],
    }));
    let error = bench.run(async |records| records.create_object(&new).await).await.unwrap_err();
    assert_snapshot!(error.problems().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @r#"
    name: "Device" cannot be a name (a name is up to 60 letters and digits and begins with a small letter, like `sales_order`)
    plural: there is an object called `people` already
    fields[0].name: "Serial" cannot be a name (a name is up to 60 letters and digits and begins with a small letter, like `leadScore`)
    fields[1].name: every record has `id` already
    fields[2].type: `txet` is no type of field (did you mean `text`?)
    fields[3].options: a select has 1 to 200 options (for example ["NEW", "DONE"])
    fields[4].object: there is no object `persno` (did you mean `person`?)
    fields[5].default: the text "x" is not a number
    fields[7].name: Device has a field `e` already
    fields[8].options: a text field has no options
    unique[0]: Device has no field `nope` (its fields are d, e)
    unique[1]: `e` has no single value that could be looked up (name a part: e.primaryEmail)
    unique[2]: a unique set has one to four different fields
    indexes[0]: `e.additionalEmails` has no single value that could be looked up (index a field with one value)
    "#);
    assert_eq!(error.code(), "invalid_schema");
}

#[tokio::test]
async fn an_index_is_used_once_every_record_is_in_it() {
    let bench = Bench::new();
    for n in 0..250 {
        bench.create("company", json!({"name": format!("c{}", n % 5), "employees": n})).await.unwrap();
    }
    bench.run(async |records| records.add_index("company", "name").await).await.unwrap();
    let filter = json!({"field": "name", "is": "c1"});
    assert_eq!(by(&bench, filter.clone()).await, "50 by -", "building: not used");
    bench.create("company", json!({"name": "c1"})).await.unwrap();
    assert_eq!(backfill(&bench).await, 3, "pages");
    assert_eq!(by(&bench, filter.clone()).await, "51 by name");
    bench.run(async |records| records.remove_index("company", "name").await).await.unwrap();
    assert_eq!(by(&bench, filter.clone()).await, "51 by -");
    backfill(&bench).await;
    // Nothing of it is left, and it can be made again.
    let schema = bench.run(async |records| Ok(records.schema().clone())).await.unwrap();
    assert_eq!(schema.object("company").unwrap().indexes, []);
    bench.run(async |records| records.add_index("company", "name").await).await.unwrap();
    backfill(&bench).await;
    assert_eq!(by(&bench, filter).await, "51 by name");
}

#[tokio::test]
async fn a_unique_set_is_refused_with_the_records_in_its_way() {
    let bench = Bench::new();
    let names = ["name".to_owned()];
    let a = id(&bench.create("company", json!({"name": "Acme"})).await.unwrap());
    let b = id(&bench.create("company", json!({"name": "ACME"})).await.unwrap());
    let add = async || bench.run(async |records| records.add_unique("company", &names).await).await;
    add().await.unwrap();
    let early = bench.upsert("company", "name", json!({"name": "Acme"})).await.unwrap_err();
    assert_eq!(early.code(), "invalid_match", "no match by what is not ready");
    backfill(&bench).await;
    let described = bench.run(async |records| {
        let schema = records.schema();
        Ok(schema.describe(schema.object("company")?, &|_| None))
    });
    let described = described.await.unwrap()["unique"][1].to_string().replace(&a, "<a>").replace(&b, "<b>");
    assert_snapshot!(described, @r#"{"conflicts":[["<a>","<b>"]],"fields":["name"],"problem":"these records have the same name: <a> and <b>","state":"refused"}"#);
    bench.create("company", json!({"name": "acme"})).await.unwrap();

    // Mended, it can be tried again.
    let all =
        bench.run(async |records| records.search("company", &Query::default(), bench.context().now).await);
    for record in &all.await.unwrap().records[1..] {
        bench.delete("company", record["id"].as_str().unwrap()).await.unwrap();
    }
    add().await.unwrap();
    backfill(&bench).await;
    let found = bench.upsert("company", "name", json!({"name": "acme", "employees": 5})).await.unwrap();
    assert_eq!(id(&found), a);
    let twin = bench.create("company", json!({"name": "Acme "})).await.unwrap_err();
    assert!(matches!(twin, RecordsError::UniqueConflict { .. }));
}

#[tokio::test]
async fn a_write_that_has_not_heard_of_a_new_index_does_not_commit() {
    let bench = Bench::new();
    let context = bench.context();
    let mut txn = bench.begin();
    let mut records = Records::open(&mut txn, WS).await.unwrap();
    records.create(&context, "company", &map(json!({"name": "x"}))).await.unwrap();
    bench.run(async |records| records.add_index("company", "name").await).await.unwrap();
    assert!(txn.commit().await.unwrap_err().is_conflict());
}

pub(super) async fn apply(bench: &Bench, wanted: Value) -> Result<Vec<String>, RecordsError> {
    let wanted: Wanted = serde_json::from_value(wanted).unwrap();
    let plan = bench.run(async |records| records.apply_schema(&wanted).await).await?;
    Ok(plan.steps.into_iter().map(|step| step.about).collect())
}

/// The unique sets of company, and what is told of them.
async fn sets(bench: &Bench) -> Vec<String> {
    let shown = bench.run(async |records| {
        let schema = records.schema();
        Ok(schema.describe(schema.object("company")?, &|_| None))
    });
    let shown = shown.await.unwrap();
    let told = |set: &Value| {
        let problem = if set["problem"].is_string() { ", with a problem" } else { "" };
        format!(
            "{} {}{problem}",
            set["fields"].as_array().unwrap()[0].as_str().unwrap(),
            set["state"].as_str().unwrap()
        )
    };
    shown["unique"].as_array().unwrap().iter().skip(1).map(told).collect()
}

#[tokio::test]
async fn a_unique_set_that_records_contradict_can_be_given_up() {
    let bench = Bench::new();
    let twin = id(&bench.create("company", json!({"name": "Acme", "employees": 1})).await.unwrap());
    bench.create("company", json!({"name": "ACME", "employees": 2})).await.unwrap();
    let wants = |more: Value| json!({"objects": [{"name": "company", "unique": more}]});
    let gives_up = json!({"objects": [{"name": "company", "remove": {"unique": [["name"]]}}]});
    let gone = vec!["[name] of company need not be unique".to_owned()];
    apply(&bench, wants(json!([["name"]]))).await.unwrap();
    backfill(&bench).await;
    assert_eq!(sets(&bench).await, ["name refused, with a problem"]);
    assert_eq!(apply(&bench, gives_up.clone()).await.unwrap(), gone);
    assert_eq!(sets(&bench).await, Vec::<String>::new());

    // While what was built of it is still being cleared away.
    let one_page = async || {
        bench
            .run(async |records| records.backfill_page(records.schema().backfills()[0], None).await)
            .await
            .unwrap()
    };
    apply(&bench, wants(json!([["name"]]))).await.unwrap();
    assert!(one_page().await.problem.is_some());
    assert_eq!(sets(&bench).await, ["name clearing, with a problem"]);
    assert_eq!(apply(&bench, gives_up.clone()).await.unwrap(), gone);
    assert_eq!(apply(&bench, gives_up).await.unwrap(), Vec::<String>::new(), "once");
    backfill(&bench).await;
    assert_eq!(sets(&bench).await, Vec::<String>::new());

    // Mended and asked for again meanwhile, nothing is told of the one before.
    apply(&bench, wants(json!([["name"]]))).await.unwrap();
    one_page().await;
    bench.delete("company", &twin).await.unwrap();
    apply(&bench, wants(json!([["name"]]))).await.unwrap();
    backfill(&bench).await;
    assert_eq!(sets(&bench).await, ["name ready"]);
}

#[tokio::test]
async fn a_refused_unique_set_goes_with_its_field() {
    let bench = Bench::new();
    let objects = |object: Value| json!({"objects": [object]});
    let code = json!({"name": "company", "fields": [{"name": "code", "type": "text"}]});
    apply(&bench, objects(code)).await.unwrap();
    for name in ["a", "b"] {
        bench.create("company", json!({"name": name, "code": "same"})).await.unwrap();
    }
    apply(&bench, objects(json!({"name": "company", "unique": [["code"]]}))).await.unwrap();
    backfill(&bench).await;
    assert_eq!(sets(&bench).await, ["code refused, with a problem"]);
    apply(&bench, objects(json!({"name": "company", "remove": {"fields": ["code"]}}))).await.unwrap();
    assert_eq!(sets(&bench).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_object_is_not_called_what_another_is() {
    let bench = Bench::new();
    let objects = |object: Value| json!({"objects": [object]});
    apply(&bench, objects(json!({"name": "list"}))).await.unwrap();
    for wrong in [
        json!({"name": "people", "renamed_from": "list"}),
        json!({"name": "catalog", "plural": "companies", "renamed_from": "list"}),
        json!({"name": "list", "plural": "people"}),
        json!({"name": "list", "plural": "company"}),
    ] {
        let refused = apply(&bench, objects(wrong.clone())).await.unwrap_err();
        let RecordsError::Schema { problems } = refused else { panic!("{wrong}: {refused:?}") };
        assert!(problems[0].message.starts_with("there is an object called `"), "{wrong}: {problems:?}");
    }
    let renamed =
        apply(&bench, objects(json!({"name": "catalog", "plural": "list", "renamed_from": "list"})));
    assert_eq!(renamed.await.unwrap(), ["rename list to catalog"], "its own names are free");
}

#[tokio::test]
async fn what_is_not_said_of_a_field_stays() {
    let bench = Bench::new();
    let stage = |more: Value| {
        let mut field = json!({"name": "stage", "type": "select", "options": ["a", "b"]});
        field.as_object_mut().unwrap().extend(map(more));
        json!({"objects": [{"name": "deal", "fields": [field]}]})
    };
    apply(&bench, stage(json!({"default": "a", "required": true}))).await.unwrap();
    assert_eq!(apply(&bench, stage(json!({}))).await.unwrap(), Vec::<String>::new());
    let more = stage(json!({"options": ["a", "b", "c"]}));
    assert_eq!(apply(&bench, more).await.unwrap(), ["change deal.stage: options"]);
    let record = bench.create("deal", json!({})).await.unwrap();
    assert_eq!(record.record["stage"], "a", "the default is there");
    let less = stage(json!({"options": ["a", "b", "c"], "required": false, "default": null}));
    assert_eq!(apply(&bench, less).await.unwrap(), ["change deal.stage: required, default"]);
    let record = bench.create("deal", json!({})).await.unwrap();
    assert!(record.record["stage"].is_null());
}

#[tokio::test]
async fn a_plan_refuses_what_applying_would_and_names_the_place() {
    let bench = Bench::new();
    let wanted = json!({"objects": [{"name": "deal", "fields": [{"name": "stage", "type": "text"}]}],
        "views": [{"name": "a", "object": "deal", "filter": {"field": "stage", "is": "x"}, "sort": ["-stage"]},
            {"name": "b", "object": "deal", "filter": {"field": "stages", "is": "x"}, "sort": ["-nothing"]}]});
    let wanted: Wanted = serde_json::from_value(wanted).unwrap();
    let refused = bench.run(async |records| records.plan_schema(&wanted).await).await.unwrap_err();
    let RecordsError::Schema { problems } = refused else { panic!("{refused:?}") };
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert!(paths.len() == 2 && paths.iter().all(|path| path.starts_with("views[1].")), "{problems:?}");
}

/// Somebody saves a view while the field that it names gets another name.
#[tokio::test]
async fn a_view_that_is_saved_meanwhile_is_not_lost_by_a_rename() {
    let bench = Bench::new();
    let field = |field: Value| json!({"objects": [{"name": "company", "fields": [field]}]});
    apply(&bench, field(json!({"name": "code", "type": "text"}))).await.unwrap();
    let renamed =
        serde_json::from_value(field(json!({"name": "sign", "type": "text", "renamed_from": "code"})));
    let mut txn = bench.begin();
    Records::open(&mut txn, WS).await.unwrap().apply_schema(&renamed.unwrap()).await.unwrap();
    let filter = json!({"field": "code", "is": "x"});
    bench.run(async |records| records.save_view("company", "v", Some(&filter), &[]).await).await.unwrap();
    assert!(txn.commit().await.unwrap_err().is_conflict());
}

/// A NUL takes two bytes in a key, and four texts of them must fit one.
#[tokio::test]
async fn a_unique_set_of_four_texts_is_built_whatever_they_are() {
    let bench = Bench::new();
    let fields: Vec<Value> = "abcd".chars().map(|c| json!({"name": c.to_string(), "type": "text"})).collect();
    let object = serde_json::from_value(json!({"name": "thing", "fields": fields})).unwrap();
    bench.run(async |records| records.create_object(&object).await).await.unwrap();
    let of = |text: &str| json!({"a": text, "b": text, "c": text, "d": text});
    let texts =
        ["\0".repeat(128), "\0".repeat(127) + "x", "\0".repeat(120), "x\0".repeat(64), "é".repeat(128)];
    for text in &texts {
        bench.create("thing", of(text)).await.unwrap();
    }
    let names = ["a", "b", "c", "d"].map(str::to_owned);
    bench.run(async |records| records.add_unique("thing", &names).await).await.unwrap();
    backfill(&bench).await;
    let schema = bench.run(async |records| Ok(records.schema().clone())).await.unwrap();
    assert_eq!(schema.object("thing").unwrap().unique[0].state, IndexState::Ready);
    for text in &texts {
        assert_eq!(bench.create("thing", of(text)).await.unwrap_err().code(), "unique_conflict");
    }
}

#[tokio::test]
async fn a_default_is_one_that_records_can_be_stored_with() {
    let bench = Bench::new();
    let told = async |wrong: Value| {
        let made = bench.run(async |records| records.add_field("person", &field(wrong.clone())).await).await;
        let RecordsError::Schema { problems } = made.unwrap_err() else { panic!("{wrong}") };
        let problem = &problems[0];
        format!("{}: {} ({})", problem.path, problem.message, problem.hint.as_deref().unwrap_or_default())
    };
    let company = uuid::Uuid::nil().to_string();
    let relation = json!({"name": "owner", "type": "relation", "object": "company", "default": company});
    assert_snapshot!(told(relation).await, @"default: `owner` is a relation, which has no default (give it where the record is made)");
    let long = json!({"name": "bio", "type": "text", "default": "x".repeat(4095)});
    assert_snapshot!(told(long).await, @"default: the default has 4097 bytes, at most 4096 (give a value that long where the record is made)");
    let unique = json!({"name": "badge", "type": "text", "default": "A1", "unique": true});
    assert_snapshot!(told(unique).await, @"unique: `badge` is unique: only one record could have its default (leave the default or `unique` out)");
    let part =
        json!({"name": "work", "type": "emails", "default": {"primaryEmail": "a@b.de"}, "unique": true});
    assert_snapshot!(told(part).await, @"unique: `work.primaryEmail` is unique: only one record could have its default (leave the default or `unique` out)");
    let label = json!({"name": "a", "type": "text", "label": "a\nb"});
    assert_snapshot!(told(label).await, @r#"label: "a\nb" cannot be a label (a label is a line of 1 to 200 bytes)"#);
    // The other part may be the same in all, and a set of several tells records apart.
    let other = field(json!({
        "name": "work", "type": "emails", "default": {"additionalEmails": ["a@b.de"]}, "unique": true,
    }));
    bench.run(async |records| records.add_field("person", &other).await).await.unwrap();
    let team = field(json!({"name": "team", "type": "text", "default": "sales"}));
    bench.run(async |records| records.add_field("person", &team).await).await.unwrap();
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    bench.run(async |records| records.add_unique("person", &set(&["team", "city"])).await).await.unwrap();
    let refused = bench.run(async |records| records.add_unique("person", &set(&["team"])).await).await;
    assert_eq!(refused.unwrap_err().code(), "invalid_schema");
}

#[tokio::test]
async fn the_definition_of_an_object_fits_its_row() {
    let bench = Bench::new();
    let fields: Vec<Value> = (0..200)
        .map(|n| json!({"name": format!("f{n}"), "type": "text", "default": "x".repeat(4000)}))
        .collect();
    let large = object(json!({"name": "large", "fields": fields}));
    let made = bench.run(async |records| records.create_object(&large).await).await;
    let RecordsError::Schema { problems } = made.unwrap_err() else { panic!("it is refused") };
    assert_snapshot!(problems[0].message, @"the definition of the object large would take 813479 bytes, at most 524288");
}
