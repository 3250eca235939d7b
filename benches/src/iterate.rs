//! An iterator over every person of a large store, with a code step and an update each, against the same calls of the
//! same component and the same writes in batches, with nothing around them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::bare::{Bare, Ready};
use crate::client::Client;
use crate::floor_store::FloorStore;
use crate::nodes::Node;
use crate::search::{Filled, TOGETHER};
use crate::{Bench, setup};

const NAME: &str = "iterate";
/// Rows that the floor writes at once.
const BATCH: usize = 100;
/// A run that takes longer does not work.
const PATIENCE: Duration = Duration::from_secs(1200);

const WORKFLOW: &str = r#"
name: iterate
trigger: { type: manual }
steps:
  - id: people
    type: iterator
    search: { object: person }
    do:
      - id: lead
        type: code
        action: normalize-lead
        input:
          email: "{{ item.emails.primaryEmail }}"
          firstName: "{{ item.name.firstName }}"
          lastName: "{{ item.name.lastName }}"
          jobTitle: "Analyst {{ trigger.input.round }}"
      - { id: update, type: update_record, object: person, record_id: "{{ item.id }}", record: { jobTitle: "{{ lead.jobTitle }}" } }
output: { count: "{{ people.count }}", succeeded: "{{ people.succeeded }}" }
"#;

pub async fn run(bench: Bench<'_>) -> anyhow::Result<()> {
    let (rounds, people) = bench.effort.pick((2, 100_000), (1, 5 * TOGETHER));
    let data = bench.dir.join("product");
    // Makes the workspace that is filled.
    Node::product(&data).await?.stop().await?;
    Filled::new(&data, people, None).await?.store.close().await;
    let product = Node::product(&data).await?;
    let mut control = Client::connect(product.address).await?;
    setup::put_action(&mut control, "normalize-lead", &bench.guest.module).await?;
    setup::put_workflow(&mut control, "iterate", WORKFLOW).await?;
    let bare = Bare::new()?;
    let floor = Floor {
        store: FloorStore::open(&bench.dir.join("floor"))?,
        ready: bare.load(&bench.guest.component)?,
    };

    let idle = product.memory()?.now;
    let (mut ours, mut base, mut processor) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let each = |seconds: f64| seconds * 1e6 / people as f64;
        base.push(each(floor.round(people, round).await?));
        let before_ms = product.processor_ms()?;
        ours.push(each(product_round(&mut control, people, round).await?));
        processor.push((product.processor_ms()? - before_ms) * 1e3 / people as f64);
    }
    let what = |what: &str| format!("{what}, {people} records");
    bench.report.compare(
        NAME,
        what("time an item (floor: its call and its write)"),
        "µs",
        (&ours, &base),
        None,
    );
    bench.report.alone(NAME, what("processor time an item"), "µs", &processor);
    let peak = product.memory()?.peak;
    let memory = what("memory: most while iterating (floor: the same process before)");
    bench.report.compare(NAME, memory, "MiB", (&[peak], &[idle]), None);
    product.stop().await
}

/// Seconds until the run is over.
async fn product_round(control: &mut Client, people: usize, round: usize) -> anyhow::Result<f64> {
    let ended = async |control: &mut Client| {
        let completed = setup::counter(control, "runs_completed").await?;
        anyhow::Ok(completed + setup::counter(control, "runs_failed").await?)
    };
    let before = ended(control).await?;
    let started = Instant::now();
    let input = json!({ "round": round }).to_string();
    let answer = control.post("/api/v1/workflows/iterate/run", input.as_bytes()).await?.ok()?.json()?;
    while ended(control).await? == before {
        ensure!(started.elapsed() < PATIENCE, "the run does not come to its end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let id = answer["run_id"].as_str().context("no run")?;
    let run = control.get(&format!("/api/v1/runs/{id}")).await?.ok()?.json()?;
    let wanted = json!({ "count": people, "succeeded": people });
    ensure!(run["output"] == wanted, "the run came to {}: {}", run["output"], run["error"]);
    Ok(seconds)
}

struct Floor {
    store: FloorStore,
    ready: Ready,
}

impl Floor {
    /// Seconds until the last row is on disk.
    async fn round(&self, people: usize, round: usize) -> anyhow::Result<f64> {
        let started = Instant::now();
        let mut rows = Vec::with_capacity(BATCH);
        for person in 0..people {
            let input = json!({
                "email": format!("person.{person}@example.com"),
                "firstName": "Ada",
                "lastName": format!("Lovelace {person}"),
                "jobTitle": format!("Analyst {round}"),
            });
            let output = self.ready.call(&input.to_string()).await?;
            rows.push((format!("person/{person:08}").into_bytes(), output.into_bytes()));
            if rows.len() == BATCH || person + 1 == people {
                self.store.commit(std::mem::take(&mut rows)).await?;
            }
        }
        Ok(started.elapsed().as_secs_f64())
    }
}
