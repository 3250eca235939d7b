//! Clients that send one request after the other for a while, and what that came to.

use std::time::{Duration, Instant};

use anyhow::bail;
use futures::future::try_join_all;

use crate::client::Client;
use crate::nodes::Node;
use crate::stats::percentile;

/// One round of one side.
pub struct Round {
    pub answers: usize,
    /// From the first request until `drained`.
    pub seconds: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Processor time that the server took meanwhile, in milliseconds.
    pub processor_ms: f64,
}

impl Round {
    /// What was done to its end, each second.
    pub fn per_second(&self) -> f64 {
        self.answers as f64 / self.seconds
    }

    /// Processor time of the server for one of them, in microseconds.
    pub fn processor_us(&self) -> f64 {
        self.processor_ms * 1e3 / self.answers as f64
    }
}

/// Lets each client post what `body` gives for so long, then waits for `drained`: what was answered before it was
/// done must count as work of this round.
pub async fn round(
    node: &Node,
    clients: &mut [Client],
    path: &str,
    body: fn() -> Vec<u8>,
    time: Duration,
    drained: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Round> {
    let before_ms = node.processor_ms()?;
    let started = Instant::now();
    let one = async |client: &mut Client| {
        let mut times = Vec::new();
        while started.elapsed() < time {
            let body = body();
            let sent = Instant::now();
            let answer = client.post(path, &body).await?;
            times.push(sent.elapsed().as_secs_f64() * 1e3);
            if !(200..300).contains(&answer.status) {
                bail!("{path} answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
            }
        }
        Ok(times)
    };
    let mut times = try_join_all(clients.iter_mut().map(one)).await?.concat();
    drained.await?;
    let seconds = started.elapsed().as_secs_f64();
    let (p50_ms, p99_ms) = (percentile(&mut times, 50.0), percentile(&mut times, 99.0));
    let processor_ms = node.processor_ms()? - before_ms;
    Ok(Round { answers: times.len(), seconds, p50_ms, p99_ms, processor_ms })
}
