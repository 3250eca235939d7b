//! What iterators over a search go over: each record once, however many there are and whatever is done to them.
use super::support::{World, all_records, in_world, runtime};
use super::{ended, value};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use stepwell_engine::{RunStatus, StepStatus};
use stepwell_records::{Origin, Records, WriteContext, record_id};
use stepwell_store::{Store, Txn, WorkspaceId};

/// People whose job title is `rare` for every 30th.
async fn fill(world: &World, people: u32) {
    let store: Arc<dyn Store> = Arc::new(world.store.clone());
    let now = jiff::Timestamp::from_second(1_780_000_000).unwrap();
    for first in (0..people).step_by(100) {
        let mut txn = Txn::begin(store.clone(), WorkspaceId(1).shard());
        let mut records = Records::open(&mut txn, WorkspaceId(1)).await.unwrap();
        for n in first..first + 100 {
            let mut unique = [0; 10];
            unique[6..].copy_from_slice(&n.to_be_bytes());
            let context = WriteContext { now, new_id: record_id(now, unique), origin: Origin::default() };
            let title = if n % 30 == 0 { "rare" } else { "usual" };
            let record = json!({ "city": format!("c{:05}", people - n), "jobTitle": title });
            let record: Map<String, Value> = record.as_object().unwrap().clone();
            records.create(&context, "person", &record).await.unwrap();
        }
        txn.commit().await.unwrap();
    }
}

fn visiting(search: &str) -> String {
    format!(
        "
name: visiting
trigger: {{ type: manual }}
steps:
  - id: people
    type: iterator
    search: {{ object: person, {search} }}
    do:
      - {{ id: seen, type: update_record, object: person, record_id: '{{{{ item.id }}}}', record: {{ city: 'x{{{{ item.city }}}}' }} }}
    output: '{{{{ item.city }}}}'
output: '{{{{ people }}}}'
"
    )
}

/// Few match, nothing is indexed, and it takes several looks at thousands of records to find them. All of them are
/// too many to be put in order.
#[test]
fn few_among_very_many_are_found() {
    let world = World::new(1);
    runtime().block_on(async {
        let text = visiting("filter: { field: jobTitle, is: rare }");
        let sorted = visiting("sort: city").replace("name: visiting", "name: sorted");
        let (engine, workspace) = world.set_up(&[], &[&text, &sorted]).await;
        fill(&world, 12_000).await;
        let run = ended(&workspace, "visiting", json!({})).await;
        assert_eq!(run.summary.status, RunStatus::Completed, "{run:#?}");
        let output = value(&run.output);
        assert_eq!((&output["count"], &output["succeeded"]), (&json!(400), &json!(400)));
        assert_eq!((&output["results"][0], &output["results"][399]), (&json!("c12000"), &json!("c00030")));
        let run = ended(&workspace, "sorted", json!({})).await;
        let error = run.summary.error.unwrap();
        assert!(error.message.contains("10000 records"), "{error:?}");
        engine.close().await;
    });
}

/// Each update takes its record to the end of the order.
#[test]
fn an_order_that_changes_meanwhile_changes_nothing() {
    let world = World::new(1);
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[], &[&visiting("sort: city")]).await;
        fill(&world, 1200).await;
        let run = ended(&workspace, "visiting", json!({})).await;
        let output = value(&run.output);
        assert_eq!((&output["count"], &output["succeeded"]), (&json!(1200), &json!(1200)));
        assert_eq!((&output["results"][0], &output["results"][999]), (&json!("c00001"), &json!("c01000")));
        assert!(all_records(&workspace, "person").await.iter().all(|person| person["version"] == 2));
        engine.close().await;
    });
}

/// By the time of their creation there may be any number, from both ends.
#[test]
fn the_newest_come_first() {
    let world = World::new(1);
    runtime().block_on(async {
        let (engine, workspace) = world.set_up(&[], &[&visiting("sort: -createdAt")]).await;
        fill(&world, 1200).await;
        let run = ended(&workspace, "visiting", json!({})).await;
        let output = value(&run.output);
        assert_eq!((&output["succeeded"], &output["results"][0]), (&json!(1200), &json!("c00001")));
        engine.close().await;
    });
}

/// A test of a workflow shows what items do; it does not do all that there is to do.
#[test]
fn a_test_runs_the_first_items() {
    in_world(async |world| {
        let flow = "
name: long
trigger: { type: manual }
steps:
  - id: rows
    type: iterator
    over: '{{ range(5000) }}'
    do:
      - { id: note, type: create_record, object: note, record: { title: 'Row {{ item }}' } }
  - { id: after, type: set, values: { n: '{{ rows.succeeded }}', skipped: '{{ rows.skipped }}' } }
";
        let (engine, workspace) = world.set_up(&[], &[flow]).await;
        let test = workspace.workflows().test("long", None, json!({})).await.unwrap();
        assert_eq!(test.status, RunStatus::Completed);
        assert_eq!(test.output, Some(json!({ "n": 100, "skipped": 4900 })));
        assert_eq!((test.items_left_out, test.steps.len()), (4900, 102));
        assert!(test.steps.iter().all(|step| step.status == StepStatus::Completed));
        assert!(all_records(&workspace, "note").await.is_empty());
        engine.close().await;
    });
}
