//! The one path of a call: a fresh instance, one function, its result; then what it used.

use std::time::{Duration, Instant};
use wasmtime::component::{Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker};
use wasmtime::{Engine, Result, Store, format_err};

use crate::admit::{GuestKind, Loaded};
use crate::config::INSTANTIATION_FUEL;
use crate::error::{CallError, ErrorSource, code};
use crate::failure::{self, Circumstances, Stop};
use crate::host::{Call, Outcome};
use crate::state::{self, CallState, Stdout, World};
use crate::{Limits, Usage, json, log, stubs, wasi_p1, wasi_p2};

/// A guest's `failure`, as the contract has it.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Failure {
    code: String,
    message: String,
    retryable: bool,
    #[component(name = "retry-after-ms")]
    retry_after_ms: Option<u64>,
    details: Option<String>,
}

/// Compiled code with everything it imports, and where it starts.
pub(crate) enum Runnable {
    Handler { pre: InstancePre<CallState>, run: ComponentExportIndex },
    CommandP2 { pre: InstancePre<CallState>, run: ComponentExportIndex },
    CommandP1 { pre: wasmtime::InstancePre<CallState> },
}

/// What every component is offered.
pub(crate) fn component_linker(engine: &Engine) -> Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    log::add_to_linker(&mut linker)?;
    wasi_p2::add_to_linker(&mut linker)?;
    Ok(linker)
}

impl Runnable {
    pub(crate) fn new(
        engine: &Engine,
        linker: &Linker<CallState>,
        kind: GuestKind,
        code: &Loaded,
    ) -> Result<Self> {
        match (kind, code) {
            (GuestKind::Component, Loaded::Component(component)) => {
                let (pre, run) = component_pre(linker, component, "stepwell:action/handler@1.0.0")?;
                Ok(Self::Handler { pre, run })
            }
            (GuestKind::WasiCommandP2, Loaded::Component(component)) => {
                let (pre, run) = component_pre(linker, component, "wasi:cli/run@0.2.0")?;
                Ok(Self::CommandP2 { pre, run })
            }
            (GuestKind::WasiCommandP1, Loaded::Module(module)) => {
                let pre = wasi_p1::linker(engine, module)?.instantiate_pre(module)?;
                Ok(Self::CommandP1 { pre })
            }
            _ => Err(format_err!("the compiled code is not of the module's kind")),
        }
    }

    fn kind(&self) -> GuestKind {
        match self {
            Self::Handler { .. } => GuestKind::Component,
            Self::CommandP2 { .. } => GuestKind::WasiCommandP2,
            Self::CommandP1 { .. } => GuestKind::WasiCommandP1,
        }
    }
}

fn component_pre(
    linker: &Linker<CallState>,
    component: &Component,
    interface: &str,
) -> Result<(InstancePre<CallState>, ComponentExportIndex)> {
    let mut linker = linker.clone();
    stubs::add_to_linker(&mut linker, component)?;
    // The lookup finds any version that is compatible with the one asked for.
    let interface_index = component
        .get_export_index(None, interface)
        .ok_or_else(|| format_err!("the component does not export {interface}"))?;
    let run = component
        .get_export_index(Some(&interface_index), "run")
        .ok_or_else(|| format_err!("{interface} has no function `run`"))?;
    Ok((linker.instantiate_pre(component)?, run))
}

/// How far a guest came, and what it returned.
enum Ended {
    /// The handler's result.
    Returned(std::result::Result<String, Failure>),
    /// A command's status.
    Exited(i32),
}

/// Runs one call from beginning to end. Stops where it is when it is dropped.
pub(crate) async fn run(engine: &Engine, runnable: &Runnable, call: Call) -> Outcome {
    if let Err(fault) = json::check(call.input.as_bytes(), json::INPUT_DEPTH) {
        let message = format!("the input must be exactly one JSON value, and it is not: {fault}");
        return Outcome::not_run(&call, CallError::sandbox(code::INVALID_INPUT, message));
    }
    let started = Instant::now();
    let limits = &call.limits;
    let deadline = started
        .checked_add(Duration::from_millis(limits.wall_ms))
        .unwrap_or_else(|| started + Duration::from_secs(365 * 86_400));
    let state = CallState::new(runnable.kind(), &call, deadline);
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limiter);
    store.call_hook(state::hook);
    store.epoch_deadline_callback(state::tick);
    store.set_epoch_deadline(1);
    store.set_hostcall_fuel(usize::try_from(failure::hostcall_bytes(limits)).unwrap_or(usize::MAX));
    store.set_max_component_handles(failure::MAX_HANDLES);

    let mut stage = Stage::Starting;
    let ended = drive(&mut store, runnable, &call, &mut stage).await;
    let fuel_left = store.get_fuel().unwrap_or_default();
    let state = store.into_data();
    let limiter = state.limiter;
    drop(state.table);
    let Some(mut world) = state.world.into_world() else {
        return Outcome::not_run(
            &call,
            CallError::new(ErrorSource::Engine, code::INTERNAL, "the guest outlived its call"),
        );
    };

    let wall = started.elapsed();
    let at = world.clock.now_ms();
    world.stderr.finish(&mut world.logs, at);
    if let Stdout::Log(lines) = &mut world.stdout {
        lines.finish(&mut world.logs, at);
    }
    let mut usage = Usage {
        fuel: None,
        peak_memory_bytes: limiter.peak(),
        virtual_ms: world.clock.elapsed_ms(),
        wall_us: wall.as_micros() as u64,
        input_bytes: call.input.len() as u64,
        output_bytes: 0,
        log_bytes: 0,
    };
    let ended = match ended {
        // While it is starting nothing was asked of it that this could be the answer to.
        Err(error) if stage == Stage::Running => match error.downcast_ref::<Stop>() {
            Some(Stop::Exit(status)) => Ok(Ended::Exited(*status)),
            _ => Err(error),
        },
        ended => ended,
    };
    let result = match ended {
        Ok(ended) => {
            usage.fuel = Some(limits.fuel.saturating_sub(fuel_left));
            finish(ended, &mut world, limits, &mut usage)
        }
        Err(error) => {
            let known = Circumstances {
                limits,
                starting: stage == Stage::Starting,
                denied_memory: limiter.denied(),
                panic: world.panic.take(),
                stderr: world.stderr.tail(),
                virtual_ms: usage.virtual_ms,
                wall_ms: wall.as_millis() as u64,
            };
            let error = failure::classify(&error, known);
            if error.code == code::FUEL_EXHAUSTED {
                usage.fuel = Some(limits.fuel);
            }
            Err(error)
        }
    };
    if let Stdout::Output(output) = &world.stdout {
        usage.output_bytes = usage.output_bytes.max(output.len());
    }
    usage.log_bytes = world.logs.used();
    let (logs, logs_truncated) = world.logs.into_parts();
    Outcome { result, logs, logs_truncated, usage }
}

#[derive(PartialEq, Eq)]
enum Stage {
    Starting,
    Running,
}

async fn drive(
    store: &mut Store<CallState>,
    runnable: &Runnable,
    call: &Call,
    stage: &mut Stage,
) -> Result<Ended> {
    store.set_fuel(INSTANTIATION_FUEL)?;
    // What is asked of a guest is not there before it is called: the start's fuel is no fuel for work on it.
    let stdin = std::mem::take(&mut store.data().world.lock().stdin);
    let started = |store: &mut Store<CallState>| {
        *stage = Stage::Running;
        store.data().world.lock().stdin = stdin;
        store.set_fuel(call.limits.fuel)
    };
    match runnable {
        Runnable::Handler { pre, run } => {
            let instance = pre.instantiate_async(&mut *store).await?;
            let run = instance.get_typed_func::<(&str,), (Result<String, Failure>,)>(&mut *store, run)?;
            started(store)?;
            let (result,) = run.call_async(&mut *store, (call.input.as_str(),)).await?;
            Ok(Ended::Returned(result))
        }
        Runnable::CommandP2 { pre, run } => {
            let instance = pre.instantiate_async(&mut *store).await?;
            let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, run)?;
            started(store)?;
            let (result,) = run.call_async(&mut *store, ()).await?;
            Ok(Ended::Exited(i32::from(result.is_err())))
        }
        Runnable::CommandP1 { pre } => {
            let instance = pre.instantiate_async(&mut *store).await?;
            let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
            started(store)?;
            start.call_async(&mut *store, ()).await?;
            Ok(Ended::Exited(0))
        }
    }
}

/// Makes a result of how the guest ended by itself.
fn finish(
    ended: Ended,
    world: &mut World,
    limits: &Limits,
    usage: &mut Usage,
) -> std::result::Result<String, CallError> {
    match ended {
        Ended::Returned(Ok(output)) => {
            usage.output_bytes = output.len() as u64;
            failure::check_output(output.as_bytes(), limits)
        }
        Ended::Returned(Err(failure)) => Err(CallError {
            retryable: failure.retryable,
            retry_after_ms: failure.retry_after_ms,
            details: failure.details.map(|text| failure::details(&text)),
            ..failure::own(&failure.code, failure.message)
        }),
        Ended::Exited(status) => {
            let output = match &mut world.stdout {
                Stdout::Output(output) => output.take(),
                Stdout::Log(_) => Vec::new(),
            };
            usage.output_bytes = output.len() as u64;
            if status == 0 {
                failure::check_output(&output, limits)
            } else {
                Err(failure::exited(status, &output, &world.stderr.tail()))
            }
        }
    }
}
