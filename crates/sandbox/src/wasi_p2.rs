//! WASI 0.2 as guests see it here: virtual clocks, seeded randomness, capped streams. There is
//! nothing else: files, sockets, HTTP, arguments and environment come from `stubs`.

use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::{cli, clocks, random};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, InputStream, OutputStream, Pollable, StreamError,
    StreamResult, subscribe,
};
use wasmtime_wasi_io::bindings::wasi::io;

use crate::config::HOST_CALL_FUEL;
use crate::failure::Stop;
use crate::state::{CallState, MAX_READ_BYTES, Shared};

/// The most that a guest may write to a stream at once.
const MAX_WRITE_BYTES: usize = 64 << 10;

/// Links what is offered.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    type Own = HasSelf<CallState>;
    clocks::wall_clock::add_to_linker::<_, Own>(linker, CallState::charged)?;
    clocks::monotonic_clock::add_to_linker::<_, Own>(linker, CallState::charged)?;
    random::random::add_to_linker::<_, Own>(linker, CallState::charged)?;
    random::insecure::add_to_linker::<_, Own>(linker, CallState::charged)?;
    random::insecure_seed::add_to_linker::<_, Own>(linker, CallState::charged)?;
    cli::exit::add_to_linker::<_, Own>(linker, CallState::charged)?;
    cli::stdin::add_to_linker::<_, Own>(linker, CallState::charged)?;
    cli::stdout::add_to_linker::<_, Own>(linker, CallState::charged)?;
    cli::stderr::add_to_linker::<_, Own>(linker, CallState::charged)?;
    io::error::add_to_linker::<_, Table>(linker, |state| &mut state.charged().table)?;
    io::poll::add_to_linker::<_, Polls>(linker, |state| Waits(state.charged()))?;
    io::streams::add_to_linker::<_, Table>(linker, |state| &mut state.charged().table)?;
    Ok(())
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

struct Polls;

impl HasData for Polls {
    type Data<'a> = Waits<'a>;
}

/// The waits of a call. A wait for many things costs as many times what one costs: bringing the
/// handles over is work for each.
struct Waits<'a>(&'a mut CallState);

impl io::poll::Host for Waits<'_> {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.0.world.lock().owe(HOST_CALL_FUEL.saturating_mul(pollables.len() as u64));
        self.0.table.poll(pollables).await
    }
}

impl io::poll::HostPollable for Waits<'_> {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.0.table.block(pollable).await
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.0.table.ready(pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        io::poll::HostPollable::drop(&mut self.0.table, pollable)
    }
}

impl clocks::wall_clock::Host for CallState {
    fn now(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        let (seconds, nanoseconds) = self.world.lock().clock.wall();
        Ok(clocks::wall_clock::Datetime { seconds, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        Ok(clocks::wall_clock::Datetime { seconds: 0, nanoseconds: 1_000 })
    }
}

impl clocks::monotonic_clock::Host for CallState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.world.lock().clock.monotonic_ns())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000)
    }

    fn subscribe_instant(&mut self, due: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let timer = self.table.push(Timer { world: self.world.clone(), due })?;
        subscribe(&mut self.table, timer)
    }

    fn subscribe_duration(&mut self, nanoseconds: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let now = self.world.lock().clock.elapsed_ns();
        self.subscribe_instant(now.saturating_add(nanoseconds))
    }
}

/// Something due at a time on the guest's clock.
struct Timer {
    world: Shared,
    due: u64,
}

/// A timer while it is waited for.
struct Waiting<'a>(&'a Timer);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.world.lock().clock.forget(self.0.due);
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Timer {
    /// Virtual time passes only when nothing else can happen: the first look at all pollables of
    /// a wait finds out whether one is ready; at the second look time jumps to the first timer.
    async fn ready(&mut self) {
        {
            let clock = &mut self.world.lock().clock;
            // A guest that asks again and again whether it is time gets there.
            if clock.monotonic_ns() >= self.due {
                return;
            }
            clock.wait_for(self.due);
        }
        let waiting = Waiting(self);
        loop {
            tokio::task::yield_now().await;
            let clock = &mut waiting.0.world.lock().clock;
            clock.jump_to_first_due();
            if clock.elapsed_ns() >= waiting.0.due {
                return;
            }
        }
    }
}

impl random::random::Host for CallState {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        Ok(self.world.lock().random(len)?)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.world.lock().rng.next())
    }
}

impl random::insecure::Host for CallState {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        Ok(self.world.lock().random(len)?)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.world.lock().rng.next())
    }
}

impl random::insecure_seed::Host for CallState {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        let rng = &mut self.world.lock().rng;
        Ok((rng.next(), rng.next()))
    }
}

impl cli::exit::Host for CallState {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        Err(Stop::Exit(i32::from(status.is_err())).into())
    }

    fn exit_with_code(&mut self, status: u8) -> wasmtime::Result<()> {
        Err(Stop::Exit(status.into()).into())
    }
}

impl cli::stdin::Host for CallState {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(Stdin(self.world.clone()));
        Ok(self.table.push(stream)?)
    }
}

impl cli::stdout::Host for CallState {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Sink { world: self.world.clone(), stderr: false });
        Ok(self.table.push(stream)?)
    }
}

impl cli::stderr::Host for CallState {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Sink { world: self.world.clone(), stderr: true });
        Ok(self.table.push(stream)?)
    }
}

struct Stdin(Shared);

#[wasmtime_wasi::async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl InputStream for Stdin {
    fn read(&mut self, size: usize) -> StreamResult<bytes::Bytes> {
        let mut world = self.0.lock();
        if world.stdin.is_at_end() {
            return Err(StreamError::Closed);
        }
        Ok(world.read_stdin(size.min(MAX_READ_BYTES)))
    }
}

struct Sink {
    world: Shared,
    stderr: bool,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Sink {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Sink {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        let mut world = self.world.lock();
        if self.stderr {
            world.write_stderr(&bytes);
            return Ok(());
        }
        world.write_stdout(&bytes).map_err(|stop| StreamError::Trap(stop.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}
