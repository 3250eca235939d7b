//! What belongs to one call: the world its guest sees, its limiter, and what it owes for calls
//! into the host.

use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use wasmtime::component::ResourceTable;
use wasmtime::{CallHook, Result, StoreContextMut, UpdateDeadline};

use crate::admit::GuestKind;
use crate::clock::Clock;
use crate::config::HOST_CALL_FUEL;
use crate::failure::{MAX_HANDLES, Stop};
use crate::guests::processor_time;
use crate::host::Call;
use crate::limiter::Limiter;
use crate::rng::Rng;
use crate::sinks::{Input, LineStream, Logs, Output, TooLarge};

/// The most that a guest may ask of randomness, or of stdin, at once.
pub(crate) const MAX_READ_BYTES: usize = 64 << 10;

/// Where a guest's stdout goes.
pub(crate) enum Stdout {
    /// A command's output.
    Output(Output),
    /// An action has its output elsewhere: what it prints is logged.
    Log(LineStream),
}

/// What the guest sees and what it leaves behind.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) logs: Logs,
    pub(crate) stdin: Input,
    pub(crate) stdout: Stdout,
    pub(crate) stderr: LineStream,
    /// Message and place of a panic that the guest told about.
    pub(crate) panic: Option<(String, String)>,
    /// Fuel for the host call under way, to be settled when it returns.
    owed: u64,
}

impl World {
    pub(crate) fn owe(&mut self, fuel: u64) {
        self.owed = self.owed.saturating_add(fuel);
    }

    pub(crate) fn write_stdout(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.owe(bytes.len() as u64);
        let at = self.clock.now_ms();
        match &mut self.stdout {
            Stdout::Output(output) => {
                output.write(bytes).map_err(|TooLarge { wanted }| Stop::OutputTooLarge { wanted })
            }
            Stdout::Log(lines) => {
                lines.write(bytes, &mut self.logs, at);
                Ok(())
            }
        }
    }

    pub(crate) fn write_stderr(&mut self, bytes: &[u8]) {
        self.owe(bytes.len() as u64);
        let at = self.clock.now_ms();
        self.stderr.write(bytes, &mut self.logs, at);
    }

    pub(crate) fn read_stdin(&mut self, size: usize) -> Bytes {
        let bytes = self.stdin.read(size.min(MAX_READ_BYTES));
        self.owe(bytes.len() as u64);
        bytes
    }

    pub(crate) fn random(&mut self, size: u64) -> Result<Vec<u8>, Stop> {
        if size > MAX_READ_BYTES as u64 {
            let what = "random bytes asked for at once";
            return Err(Stop::ArgumentTooLarge { what, limit: MAX_READ_BYTES as u64, size });
        }
        self.owe(size);
        let mut bytes = vec![0; size as usize];
        self.rng.fill(&mut bytes);
        Ok(bytes)
    }
}

/// The world, also for the streams and timers that a guest holds.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world after the guest has gone, with its streams and timers.
    pub(crate) fn into_world(self) -> Option<World> {
        let world = Arc::into_inner(self.0)?;
        Some(world.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The data of a call's store.
pub(crate) struct CallState {
    pub(crate) world: Shared,
    pub(crate) limiter: Limiter,
    pub(crate) table: ResourceTable,
    deadline: Instant,
    turn: Turn,
    /// Calls into the guest that are under way: 1, or 2 while it allocates for a host call.
    depth: u32,
    /// The depth at which the host call was made that something is owed for.
    owed_at: Option<u32>,
}

impl CallState {
    pub(crate) fn new(kind: GuestKind, call: &Call, deadline: Instant) -> Self {
        let limits = &call.limits;
        // An action gets its input as an argument and has nothing on stdin.
        let (stdin, stdout) = match kind {
            GuestKind::Component => (Bytes::new(), Stdout::Log(LineStream::default())),
            _ => (
                Bytes::copy_from_slice(call.input.as_bytes()),
                Stdout::Output(Output::new(limits.output_bytes)),
            ),
        };
        let world = World {
            clock: Clock::new(call.start_ms, limits.virtual_ms),
            rng: Rng::new(&call.seed),
            logs: Logs::new(limits.log_bytes),
            stdin: Input::new(stdin),
            stdout,
            stderr: LineStream::default(),
            panic: None,
            owed: 0,
        };
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            world: Shared(Arc::new(Mutex::new(world))),
            limiter: Limiter::new(limits.memory_bytes),
            table,
            deadline,
            turn: Turn::First { since: None, ticks: 0 },
            depth: 0,
            owed_at: None,
        }
    }

    /// Notes that a host call is being made, of so many bytes. Every host function begins with it.
    pub(crate) fn host_call(&mut self, bytes: usize) -> MutexGuard<'_, World> {
        self.owed_at = Some(self.depth);
        let mut world = self.world.lock();
        world.owe(HOST_CALL_FUEL + bytes as u64);
        world
    }

    /// The same for functions that find their own way to the world.
    pub(crate) fn charged(&mut self) -> &mut Self {
        drop(self.host_call(0));
        self
    }
}

/// Settles what host calls cost when they return, and stops a guest whose time is up.
///
/// Compiled code keeps its fuel in a register and saves it before calls, but not before it grows a
/// memory or notices an epoch tick; those come through here too. So only a host call that noted
/// itself is settled, at the depth where it was made.
pub(crate) fn hook(mut store: StoreContextMut<'_, CallState>, hook: CallHook) -> Result<()> {
    let state = store.data_mut();
    match hook {
        CallHook::CallingHost => Ok(()),
        CallHook::CallingWasm => {
            state.depth += 1;
            Ok(())
        }
        CallHook::ReturningFromWasm => {
            state.depth -= 1;
            Ok(())
        }
        CallHook::ReturningFromHost => {
            if state.owed_at != Some(state.depth) {
                return Ok(());
            }
            state.owed_at = None;
            let (owed, over_budget) = {
                let mut world = state.world.lock();
                (std::mem::take(&mut world.owed), world.clock.over_budget())
            };
            if over_budget {
                return Err(Stop::SleepLimit.into());
            }
            let fuel = store.get_fuel()?;
            store.set_fuel(fuel.saturating_sub(owed))?;
            if fuel < owed { Err(Stop::Fuel.into()) } else { Ok(()) }
        }
    }
}

/// How much of its thread's processor time a call has, from its first tick on, before it first lets others have their
/// turn.
///
/// Whoever does so stands behind all who run long, with a tick each: a hundred of them are a hundred milliseconds. A
/// short call meets a tick now and then, and many where its thread loses its processor for a moment.
const FIRST_TURN: Duration = Duration::from_millis(3);

/// So many ticks end it as well, whatever the thread's clock says.
const FIRST_TICKS: u32 = 64;

/// How far a call has come in letting others have their turn.
enum Turn {
    First {
        /// The thread on which it met its first tick, and what that had taken by then.
        since: Option<(ThreadId, Duration)>,
        ticks: u32,
    },
    Later,
}

impl Turn {
    /// A tick: whether others have their turn now.
    fn is_over(&mut self) -> bool {
        let thread = std::thread::current().id();
        if let Self::First { since, ticks } = self {
            let (began_on, began) = *since.get_or_insert_with(|| (thread, processor_time()));
            *ticks += 1;
            // A guest that sleeps may wake up on another thread, whose time says nothing of how long it has had.
            if began_on == thread
                && *ticks < FIRST_TICKS
                && processor_time().saturating_sub(began) < FIRST_TURN
            {
                return false;
            }
            *self = Self::Later;
        }
        true
    }
}

/// At every tick: stops a guest past its deadline, lets others have their turn.
pub(crate) fn tick(mut store: StoreContextMut<'_, CallState>) -> Result<UpdateDeadline> {
    let state = store.data_mut();
    if Instant::now() >= state.deadline {
        return Err(Stop::Deadline.into());
    }
    Ok(if state.turn.is_over() { UpdateDeadline::Yield(1) } else { UpdateDeadline::Continue(1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{AsContextMut, Engine, Store};

    #[test]
    fn a_call_has_its_thread_for_a_while_before_it_stands_behind_the_others_and_not_past_its_deadline() {
        let engine = Engine::default();
        let store = |deadline| {
            Store::new(&engine, CallState::new(GuestKind::Component, &Call::new("null"), deadline))
        };
        let mut call = store(Instant::now() + Duration::from_secs(3600));
        let mut goes_on = || matches!(tick(call.as_context_mut()).unwrap(), UpdateDeadline::Continue(1));
        // However long others have the processor.
        let began = processor_time();
        for _ in 0..4 {
            assert!(goes_on() || processor_time() - began >= FIRST_TURN);
            std::thread::sleep(FIRST_TURN);
        }
        let mut n = 0u64;
        while processor_time() - began < FIRST_TURN * 2 {
            n = std::hint::black_box(n + 1);
        }
        assert!((0..3).all(|_| !goes_on()));
        // Nor, having slept, on another thread, which may have taken much less.
        let mut call = store(Instant::now() + Duration::from_secs(3600));
        assert!(matches!(tick(call.as_context_mut()).unwrap(), UpdateDeadline::Continue(1)));
        let elsewhere = std::thread::spawn(move || tick(call.as_context_mut()));
        assert!(matches!(elsewhere.join().unwrap().unwrap(), UpdateDeadline::Yield(1)));
        let mut turn = Turn::First { since: None, ticks: FIRST_TICKS - 1 };
        assert!(turn.is_over(), "whatever the clock says");
        let error = tick(store(Instant::now()).as_context_mut()).err().unwrap();
        assert!(matches!(error.downcast_ref::<Stop>(), Some(Stop::Deadline)));
    }
}
