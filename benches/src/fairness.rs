//! Short work beside 100 modules that never end: the liveness probe, a short step, and the web form.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::try_join_all;

use crate::client::Client;
use crate::nodes::Node;
use crate::stats::percentile;
use crate::{Bench, flow, forms, setup};

const NAME: &str = "fairness";
const ENDLESS: usize = 100;

/// A command that never ends.
const SOURCE: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $again (br $again))))"#;

/// What is asked for in between.
const SHORT: [(&str, &str, &str); 3] = [
    ("GET", "/healthz", "/healthz"),
    ("POST", "/api/v1/actions/normalize-lead/test", "a short code step by itself"),
    ("POST", "/hooks/default/form-result", "web form, `respond: result`"),
];

pub async fn run(bench: Bench<'_>) -> anyhow::Result<()> {
    let product = Node::product(&bench.dir.join("product")).await?;
    let mut client = Client::connect(product.address).await?;
    flow::install(&mut client, &bench.guest.module).await?;
    setup::put_action(&mut client, "endless", &wat::parse_str(SOURCE)?).await?;

    let (rounds, requests) = bench.effort.pick((5, 150), (1, 10));
    // For each kind of work: p50 and p99 of each round, quiet and beside the endless ones.
    let mut measured: [[[Vec<f64>; 2]; 2]; SHORT.len()] = Default::default();
    for _ in 0..rounds {
        for busy in [false, true] {
            let load = if busy { Some(Endless::start(&product).await?) } else { None };
            for ((method, path, _), measured) in SHORT.iter().zip(&mut measured) {
                let mut times = times(&mut client, method, path, requests).await?;
                measured[0][usize::from(busy)].push(percentile(&mut times, 50.0));
                measured[1][usize::from(busy)].push(percentile(&mut times, 99.0));
            }
            if let Some(load) = load {
                load.stop().await?;
            }
        }
    }
    for ((_, _, what), measured) in SHORT.iter().zip(&measured) {
        for (percent, [quiet, busy]) in ["p50", "p99"].iter().zip(measured) {
            let what = format!("{percent} of {what}, beside {ENDLESS} endless modules against none");
            bench.report.compare(NAME, what, "ms", (busy, quiet), None);
        }
    }
    product.stop().await
}

async fn times(client: &mut Client, method: &str, path: &str, requests: usize) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(requests);
    for _ in 0..requests {
        let body = if method == "GET" { Vec::new() } else { forms::next() };
        let sent = Instant::now();
        let answer =
            client.send(method, path, "application/json", &body).await?.ok().context(path.to_owned())?;
        times.push(sent.elapsed().as_secs_f64() * 1e3);
        ensure!(
            !answer.body.starts_with(br#"{"error""#),
            "{path}: {}",
            String::from_utf8_lossy(&answer.body)
        );
    }
    Ok(times)
}

/// Calls that never end by themselves, held open by a connection each.
struct Endless {
    calls: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Endless {
    /// Returns when all of them run.
    async fn start(product: &Node) -> anyhow::Result<Self> {
        let mut clients = Client::connect_all(product.address, ENDLESS).await?;
        let calls = tokio::spawn(async move {
            let path = "/api/v1/actions/endless/test?fuel=10000000000&wall_ms=30000";
            try_join_all(clients.iter_mut().map(async |client| client.post(path, b"null").await)).await?;
            anyhow::bail!("an endless module has ended")
        });
        // Nothing tells that a guest runs; each has had its turn many times in this.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(Self { calls })
    }

    /// Hangs up, which stops the guests.
    async fn stop(self) -> anyhow::Result<()> {
        ensure!(!self.calls.is_finished(), "the endless modules ended: {:?}", self.calls.await);
        self.calls.abort();
        // Their next tick ends them.
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(())
    }
}
