//! From the start of a process to its first answer, with 100 modules in the cache; and until all of them have run.

use std::fmt::Write;
use std::time::Instant;

use anyhow::ensure;

use crate::client::Client;
use crate::nodes::Node;
use crate::{Bench, forms, setup};

const NAME: &str = "start";
pub const MODULES: usize = 100;

pub async fn run(bench: Bench<'_>) -> anyhow::Result<()> {
    let (data, empty) = (bench.dir.join("product"), bench.dir.join("floor"));
    let product = Node::product(&data).await?;
    fill(&product, bench.guest).await?;
    product.stop().await?;

    let (mut ours, mut base, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.effort.pick(5, 2) {
        let floor = Node::empty_floor(&empty).await?;
        base.push(floor.ready_ms);
        floor.stop().await?;

        let began = Instant::now();
        let product = Node::product(&data).await?;
        ours.push(product.ready_ms);
        let mut client = Client::connect(product.address).await?;
        let path = "/api/v1/workflows/all-modules/run?wait=60s";
        let run = client.post(path, &forms::next()).await?.ok()?.json()?;
        ensure!(run["status"] == "completed", "the run of all modules did not complete: {run}");
        all.push(began.elapsed().as_secs_f64() * 1e3);
        product.stop().await?;
    }
    let what =
        format!("start to ready, {MODULES} modules cached, against a floor that opens its store and listens");
    bench.report.compare(NAME, what, "ms", (&ours, &base), None);
    let what = format!("start until a run of {MODULES} code steps, each of another module, is over");
    bench.report.alone(NAME, what, "ms", &all);
    Ok(())
}

/// Uploads the modules, and a workflow that calls each of them once.
pub async fn fill(product: &Node, guest: &crate::guest::Guest) -> anyhow::Result<()> {
    let mut client = Client::connect(product.address).await?;
    let mut workflow = "name: all-modules\ntrigger: { type: manual }\nsteps:\n".to_owned();
    for number in 0..MODULES {
        let name = format!("module-{number}");
        setup::put_action(&mut client, &name, &guest.named(&name)?).await?;
        // Writing to a String cannot fail.
        let _ = writeln!(
            workflow,
            "  - {{ id: step_{number}, type: code, action: {name}@1, input: \"{{{{ trigger.input }}}}\" }}"
        );
    }
    setup::put_workflow(&mut client, "all-modules", &workflow).await
}
