//! A code step through the sandbox against bare wasmtime: the same component, both on threads of their own.

use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use stepwell_sandbox::{Call, Host, HostConfig};
use tokio::runtime::Runtime;

use crate::bare::{Bare, Ready};
use crate::report::Aim;
use crate::{Bench, forms};

const NAME: &str = "code";

pub async fn run(bench: Bench<'_>) -> anyhow::Result<()> {
    let bare = Bare::new()?;
    let ready = Arc::new(bare.load(&bench.guest.component)?);
    // One thread a core, as the sandbox has them.
    let threads = tokio::runtime::Builder::new_multi_thread().build()?;
    let host = Host::new(HostConfig::default())?;
    let action = host.load(bench.guest.module.clone()).await?;
    let input = String::from_utf8(forms::next())?;

    let ours = async || -> anyhow::Result<()> {
        host.call(&action, Call::new(input.as_str())).await.result?;
        Ok(())
    };
    let base = async || other_thread(&threads, &ready, &input).await;
    let here = async || ready.call(&input).await.map(drop);

    let (rounds, calls) = bench.effort.pick((40, 400), (3, 50));
    let (mut one, mut many, mut inline) = (Sides::default(), Sides::default(), Vec::new());
    for _ in 0..rounds {
        one.base.push(micros(calls, 1, &base).await?);
        one.ours.push(micros(calls, 1, &ours).await?);
        many.base.push(micros(calls, 16, &base).await?);
        many.ours.push(micros(calls, 16, &ours).await?);
        inline.push(micros(calls, 1, &here).await?);
    }
    let aim = Some(Aim::AtMost(1.25));
    bench.report.compare(NAME, "a call, 1 at a time", "µs", (&one.ours, &one.base), aim);
    bench.report.compare(NAME, "a call, 16 at a time", "µs", (&many.ours, &many.base), aim);
    let what = "a call, 1 at a time, against bare on the caller's own thread";
    bench.report.compare(NAME, what, "µs", (&one.ours, &inline), None);
    threads.shutdown_background();
    Ok(())
}

#[derive(Default)]
struct Sides {
    ours: Vec<f64>,
    base: Vec<f64>,
}

async fn other_thread(threads: &Runtime, ready: &Arc<Ready>, input: &str) -> anyhow::Result<()> {
    let (ready, input) = (ready.clone(), input.to_owned());
    threads.spawn(async move { ready.call(&input).await }).await??;
    Ok(())
}

/// Microseconds a call when `at_once` callers share `calls`.
async fn micros(
    calls: usize,
    at_once: usize,
    call: &impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    let caller = async || {
        for _ in 0..calls / at_once {
            call().await?;
        }
        anyhow::Ok(())
    };
    try_join_all((0..at_once).map(|_| caller())).await?;
    Ok(started.elapsed().as_secs_f64() * 1e6 / (calls / at_once * at_once) as f64)
}
