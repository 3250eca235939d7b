//! What an engine is opened with: limits, retention, and how far a burst may run.
use std::time::Duration;

/// Settings of an engine. `Default` is what `stepwell serve` uses.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Runs of one workspace that are driven at the same time; the rest wait in order.
    pub concurrent_runs: usize,
    /// The largest body a webhook takes, in bytes.
    pub hook_body_bytes: usize,
    /// How long `respond: result` waits when the trigger does not say.
    pub respond_within: Duration,
    /// Callers of webhooks that wait for a result at once, and half of them in one workspace: each keeps a connection
    /// busy. Further ones are told at once that their run goes on.
    pub waiting_callers: usize,
    pub burst: BurstLimits,
    pub retention: Retention,
    /// Values larger than this go into a blob.
    pub inline_payload_bytes: usize,
    /// Where people reach the server; links in e-mails begin with it.
    pub public_url: String,
    /// Nobody has said so: it is the address that the server listens on, which others may not reach.
    pub public_url_is_own: bool,
}

/// How far one burst runs before it commits.
#[derive(Debug, Clone)]
pub struct BurstLimits {
    pub time: Duration,
    pub steps: usize,
    pub keys: usize,
    pub bytes: usize,
}

/// How long what is over is kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Ended runs older than this are removed.
    pub runs_for: Duration,
    /// Of the ended runs of a workspace at most this many are kept.
    pub runs: u64,
    /// Inputs and outputs of ended runs go earlier; asking for one then says `payload_expired`.
    pub payloads_for: Duration,
    /// How long an `Idempotency-Key` of a webhook is remembered.
    pub hook_keys_for: Duration,
    /// How long caught e-mail stays in the mailbox.
    pub mailbox_for: Duration,
    /// How often the engine looks for what may go.
    pub every: Duration,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            concurrent_runs: 100,
            hook_body_bytes: 8 << 20,
            respond_within: Duration::from_secs(30),
            waiting_callers: 256,
            burst: BurstLimits::default(),
            retention: Retention::default(),
            inline_payload_bytes: 32 << 10,
            public_url: "http://127.0.0.1:7878".into(),
            public_url_is_own: false,
        }
    }
}

impl Default for BurstLimits {
    fn default() -> Self {
        Self { time: Duration::from_millis(50), steps: 64, keys: 400, bytes: 512 << 10 }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            runs_for: 7 * 24 * HOUR,
            runs: 1_000_000,
            payloads_for: 48 * HOUR,
            hook_keys_for: 24 * HOUR,
            mailbox_for: 7 * 24 * HOUR,
            every: Duration::from_secs(60),
        }
    }
}

impl EngineConfig {
    /// Says what contradicts itself, before anything is opened with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.concurrent_runs == 0 {
            return Err("concurrent_runs is 0, so no run could ever start; at least 1 is needed".into());
        }
        if self.burst.steps == 0 || self.burst.keys < 50 || self.burst.bytes < 64 << 10 {
            return Err(
                "a burst needs room for at least one step: steps ≥ 1, keys ≥ 50, bytes ≥ 64 KiB".into()
            );
        }
        if self.retention.every.is_zero() {
            return Err("retention.every is 0; a second or more is needed".into());
        }
        Ok(())
    }
}
