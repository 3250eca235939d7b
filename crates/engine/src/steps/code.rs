//! `code`: a user's module in the sandbox. The same input, seed and start give the same outcome, so a burst that
//! runs again takes the outcome it has.
use crate::core::Ctx;
use crate::registry::ActionVersion;
use crate::secrets::Opened;
use crate::weight;
use std::sync::Arc;
use stepwell_sandbox::{Call, CallError, ErrorSource, Limits, LimitsPatch, Outcome, canonical_json};
use stepwell_workflow::machine::{CodeCall, Execute, Failure, Payload, Source};

/// What a code step came to.
#[derive(Debug, Clone)]
pub(crate) struct CodeDone {
    pub result: Result<Payload, Failure>,
    pub logs: Vec<stepwell_sandbox::LogLine>,
    pub usage: Option<stepwell_sandbox::Usage>,
    pub began_ms: i64,
    pub ended_ms: i64,
}

/// Runs it, loading the module first when this process has not done so yet.
pub(crate) async fn run(ctx: &Ctx, execute: &Execute, code: &CodeCall, secrets: &[String]) -> CodeDone {
    let began_ms = ctx.now_ms();
    let ended = |result, logs, usage| CodeDone { result, logs, usage, began_ms, ended_ms: ctx.now_ms() };
    let action = match ctx.ws.registry.action_exactly(&code.action) {
        Some(action) => action,
        None => {
            let message = format!("the action `{}` is not there any more", code.action);
            return ended(Err(Failure::engine("unknown_action", message)), Vec::new(), None);
        }
    };
    if let Err(error) = ready(ctx, &action).await {
        return ended(Err(error), Vec::new(), None);
    }
    let mut opened = Opened::new(ctx, secrets);
    let mut input = match code.input.reveal(|name| opened.reveal(ctx, name)) {
        Ok(input) => input,
        Err(error) => {
            return ended(Err(Failure::engine("unknown_secret", error.to_string())), Vec::new(), None);
        }
    };
    let input = canonical_json(&std::mem::take(&mut input));
    let limits = limits(ctx, &action, code);
    let call = Call { input, limits, seed: seed(execute.seed), start_ms: start_ms(execute) };
    let outcome = ctx.core.ports.code.call(&action.row.info.sha256, call).await;
    ctx.core.stats.code_call(&action.row.info.sha256, &outcome);
    let Outcome { result, mut logs, usage, .. } = outcome;
    let result = result.map_err(failure).and_then(|text| {
        weight::check(text.as_bytes()).map_err(|heavy| {
            let message = format!("the output has {} bytes of JSON, and {heavy}", text.len());
            Failure::engine("output_too_large", message)
        })?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::engine("invalid_output", format!("the sandbox gave no JSON: {error}")))
    });
    // Here it enters the run: what later steps see is what is stored.
    opened.redact_logs(&mut logs);
    let result = match result {
        Ok(mut output) => {
            opened.redact(&mut output);
            Ok(Payload::new(output))
        }
        Err(mut failure) => {
            opened.redact_failure(&mut failure);
            Err(failure)
        }
    };
    ended(result, logs, Some(usage))
}

/// How often a module is loaded that is gone again at once.
const LOADS: usize = 3;

/// Makes sure that the sandbox has the module, and keeps it for the call that follows.
pub(crate) async fn ready(ctx: &Ctx, action: &Arc<ActionVersion>) -> Result<(), Failure> {
    let code = &ctx.core.ports.code;
    if code.loaded(&action.row.info.sha256) {
        return Ok(());
    }
    // One at a time per module: the others find it loaded.
    let _one = action.loading.lock().await;
    if code.loaded(&action.row.info.sha256) {
        return Ok(());
    }
    let unavailable = |why: String| {
        Failure::engine("action_unavailable", format!("`{}` cannot be loaded: {why}", action.reference()))
            .retryable()
    };
    let bytes =
        crate::blobs::read(ctx, &action.row.info.sha256).await.map_err(|e| unavailable(e.to_string()))?;
    // Whoever loads the same module only to look at it may let it go again before it is asked for here.
    for _ in 0..LOADS {
        code.load(bytes.clone()).await.map_err(|error| unavailable(error.to_string()))?;
        if code.loaded(&action.row.info.sha256) {
            return Ok(());
        }
    }
    Err(unavailable("it was let go each time it had been loaded".into()))
}

/// The step's limits over the module's over the defaults, none above the host's maxima.
fn limits(ctx: &Ctx, action: &ActionVersion, code: &CodeCall) -> Limits {
    let step = LimitsPatch {
        fuel: code.limits.fuel,
        memory_bytes: code.limits.memory_bytes.map(|size| size.0),
        wall_ms: code.limits.wall_ms,
        virtual_ms: code.limits.virtual_ms,
        input_bytes: code.limits.input_bytes.map(|size| size.0),
        output_bytes: code.limits.output_bytes.map(|size| size.0),
        log_bytes: code.limits.log_bytes.map(|size| size.0),
    };
    step.over(action.row.limits.over(Limits::default())).capped_by(ctx.core.ports.code.maxima())
}

fn seed(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

fn start_ms(execute: &Execute) -> u64 {
    u64::try_from(execute.started_at.as_millisecond()).unwrap_or(0)
}

/// The sandbox's error as the step's failure.
fn failure(error: CallError) -> Failure {
    Failure {
        source: match error.source {
            ErrorSource::Action => Source::Action,
            ErrorSource::Sandbox => Source::Sandbox,
            ErrorSource::Engine => Source::Engine,
        },
        code: error.code,
        message: error.message,
        retryable: error.retryable,
        retry_after_ms: error.retry_after_ms,
        limit: error.limit,
        used: error.used,
        details: error.details,
    }
}
