//! Resident memory of the server's process: fresh, with 100 modules, under load and after it.

use std::time::Duration;

use crate::client::Client;
use crate::load::round;
use crate::nodes::Node;
use crate::{Bench, flow, forms, start};

const NAME: &str = "memory";

pub async fn run(bench: Bench<'_>) -> anyhow::Result<()> {
    let data = bench.dir.join("product");
    let product = Node::product(&data).await?;
    let floor = Node::floor(&bench.dir.join("floor"), bench.guest).await?;
    let mut control = Client::connect(product.address).await?;
    flow::install(&mut control, &bench.guest.module).await?;
    product.stop().await?;

    // Started anew, as one finds it in the morning.
    let product = Node::product(&data).await?;
    let mut control = Client::connect(product.address).await?;
    let mut compare = |what: &str, ours: f64, base: f64| {
        bench.report.compare(NAME, what, "MiB", (&[ours], &[base]), None);
    };
    compare("idle, one module", product.memory()?.now, floor.memory()?.now);

    let clients = 16;
    let mut floor_clients = Client::connect_all(floor.address, clients).await?;
    let mut product_clients = Client::connect_all(product.address, clients).await?;
    let (rounds, time) = bench.effort.pick((3, Duration::from_secs(2)), (1, Duration::from_millis(300)));
    let (mut forms_floor, mut forms_product) = (0, 0);
    for _ in 0..rounds {
        forms_floor +=
            round(&floor, &mut floor_clients, "/form", forms::next, time, async { Ok(()) }).await?.answers;
        forms_product +=
            flow::product_round(&product, &mut product_clients, &mut control, "form-accepted", time)
                .await?
                .answers;
    }
    let (ours, base) = (product.memory()?, floor.memory()?);
    let what = |what: &str| format!("{what}, {forms_product} forms (floor: {forms_floor}), 16 clients");
    compare(&what("most while working"), ours.peak, base.peak);
    compare(&what("after the work"), ours.now, base.now);
    floor.stop().await?;

    start::fill(&product, bench.guest).await?;
    drop((control, product_clients));
    product.stop().await?;
    let product = Node::product(&data).await?;
    let what = format!("idle after a start with those runs stored and {} modules cached", start::MODULES);
    bench.report.alone(NAME, what, "MiB", &[product.memory()?.now]);
    product.stop().await
}
