//! WASI preview 1 for commands: stdin, stdout and stderr, virtual time, seeded randomness. Every
//! other descriptor is bad, so nothing that takes one can reach anything.

use wasmtime::{Caller, Extern, ExternType, Linker, Module, Result, Val, ValType, format_err};

use crate::failure::Stop;
use crate::state::{CallState, World};

const WASI: &str = "wasi_snapshot_preview1";

const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const SPIPE: i32 = 70;

/// The most pieces that one read or write, or one wait, may have.
const MAX_PIECES: u32 = 1_024;

/// The most of stderr that one call takes.
const MAX_STDERR_BYTES: u32 = 256 << 10;

type Errno = std::result::Result<(), i32>;

/// The guest's memory, by addresses that may be wrong.
struct Memory<'a>(&'a mut [u8]);

impl Memory<'_> {
    fn slice(&mut self, at: u32, len: u32) -> std::result::Result<&mut [u8], i32> {
        let (at, len) = (at as usize, len as usize);
        self.0.get_mut(at..at.saturating_add(len)).ok_or(FAULT)
    }

    fn get<const N: usize>(&self, at: u32) -> std::result::Result<[u8; N], i32> {
        let at = at as usize;
        let bytes = self.0.get(at..at.saturating_add(N)).ok_or(FAULT)?;
        bytes.try_into().map_err(|_| FAULT)
    }

    fn get_u32(&self, at: u32) -> std::result::Result<u32, i32> {
        Ok(u32::from_le_bytes(self.get(at)?))
    }

    fn get_u64(&self, at: u32) -> std::result::Result<u64, i32> {
        Ok(u64::from_le_bytes(self.get(at)?))
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> Errno {
        self.slice(at, bytes.len() as u32)?.copy_from_slice(bytes);
        Ok(())
    }

    /// The addresses and lengths of a scattered buffer.
    fn pieces(&self, at: u32, count: u32) -> std::result::Result<Vec<(u32, u32)>, i32> {
        if count > MAX_PIECES {
            return Err(INVAL);
        }
        let piece = |index: u32| {
            let at = at.checked_add(index * 8).ok_or(FAULT)?;
            Ok((self.get_u32(at)?, self.get_u32(at.checked_add(4).ok_or(FAULT)?)?))
        };
        (0..count).map(piece).collect()
    }
}

/// Notes the host call, then runs `body` on the guest's memory and its world. What stops the guest
/// is an error; what it did wrong is the number it gets.
fn with(
    caller: &mut Caller<'_, CallState>,
    bytes: u32,
    body: impl FnOnce(&mut Memory<'_>, &mut World) -> Result<Errno, Stop>,
) -> Result<i32> {
    let memory = match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => memory,
        _ => {
            return Err(format_err!("the module exports no memory named \"memory\", as WASI preview 1 asks"));
        }
    };
    let (data, state) = memory.data_and_store_mut(caller);
    let mut world = state.host_call(bytes as usize);
    let done = body(&mut Memory(data), &mut world)?;
    Ok(done.err().unwrap_or(SUCCESS))
}

/// Links what is offered, and a refusal for the rest of what `module` imports from preview 1.
pub(crate) fn linker(engine: &wasmtime::Engine, module: &Module) -> Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    streams(&mut linker)?;
    process(&mut linker)?;
    for import in module.imports().filter(|import| import.module() == WASI) {
        let ExternType::Func(ty) = import.ty() else { continue };
        let offered =
            ["fd_", "path_", "sock_", "proc_raise"].iter().any(|start| import.name().starts_with(start));
        let errno = ty.results().len() == 1 && ty.results().all(|ty| matches!(ty, ValType::I32));
        if offered && errno && !IMPLEMENTED.contains(&import.name()) {
            linker.func_new(WASI, import.name(), ty, |mut caller, _, results| {
                caller.data_mut().charged();
                results[0] = Val::I32(BADF);
                Ok(())
            })?;
        }
    }
    Ok(linker)
}

const IMPLEMENTED: [&str; 10] = [
    "fd_write",
    "fd_read",
    "fd_close",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_filestat_get",
    "fd_seek",
    "fd_tell",
    "fd_prestat_get",
    "fd_prestat_dir_name",
];

fn stdio(fd: u32) -> Errno {
    if fd <= 2 { Ok(()) } else { Err(BADF) }
}

fn streams(linker: &mut Linker<CallState>) -> Result<()> {
    linker.func_wrap(
        WASI,
        "fd_write",
        |mut caller: Caller<'_, CallState>, fd: u32, pieces: u32, count: u32, written: u32| {
            with(&mut caller, count.min(MAX_PIECES) * 8, |memory, world| {
                if fd != 1 && fd != 2 {
                    return Ok(Err(BADF));
                }
                let pieces = match memory.pieces(pieces, count) {
                    Ok(pieces) => pieces,
                    Err(errno) => return Ok(Err(errno)),
                };
                let mut total = 0_u32;
                for (at, len) in pieces {
                    // A call looks at so much of stderr and no more, as a full pipe would; all
                    // pieces can be the same megabytes. Output has a cap that ends the call.
                    let room = if fd == 2 { MAX_STDERR_BYTES.saturating_sub(total) } else { u32::MAX };
                    let len = len.min(room);
                    let bytes = match memory.slice(at, len) {
                        Ok(bytes) => bytes,
                        Err(errno) => return Ok(Err(errno)),
                    };
                    if fd == 1 {
                        world.write_stdout(bytes)?
                    } else {
                        world.write_stderr(bytes)
                    }
                    total = total.saturating_add(len);
                }
                Ok(memory.put(written, &total.to_le_bytes()))
            })
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_read",
        |mut caller: Caller<'_, CallState>, fd: u32, pieces: u32, count: u32, read: u32| {
            with(&mut caller, count.min(MAX_PIECES) * 8, |memory, world| {
                Ok((|| {
                    if fd != 0 {
                        return Err(BADF);
                    }
                    let mut total = 0_u32;
                    for (at, len) in memory.pieces(pieces, count)? {
                        let target = memory.slice(at, len)?;
                        let bytes = world.read_stdin(target.len());
                        target[..bytes.len()].copy_from_slice(&bytes);
                        total += bytes.len() as u32;
                        if bytes.len() < len as usize {
                            break;
                        }
                    }
                    memory.put(read, &total.to_le_bytes())
                })())
            })
        },
    )?;
    linker.func_wrap(WASI, "fd_close", |mut caller: Caller<'_, CallState>, fd: u32| {
        with(&mut caller, 0, |_, _| Ok(stdio(fd)))
    })?;
    linker.func_wrap(WASI, "fd_fdstat_get", |mut caller: Caller<'_, CallState>, fd: u32, at: u32| {
        with(&mut caller, 24, |memory, _| {
            // Of unknown type (a pipe has none), with the rights to read, write and wait.
            let mut stat = [0; 24];
            let rights: u64 = 1 << 1 | 1 << 6 | 1 << 27;
            stat[8..16].copy_from_slice(&rights.to_le_bytes());
            Ok(stdio(fd).and_then(|()| memory.put(at, &stat)))
        })
    })?;
    linker.func_wrap(WASI, "fd_fdstat_set_flags", |mut caller: Caller<'_, CallState>, fd: u32, _: u32| {
        with(&mut caller, 0, |_, _| Ok(stdio(fd)))
    })?;
    linker.func_wrap(WASI, "fd_filestat_get", |mut caller: Caller<'_, CallState>, fd: u32, at: u32| {
        with(&mut caller, 64, |memory, _| Ok(stdio(fd).and_then(|()| memory.put(at, &[0; 64]))))
    })?;
    linker.func_wrap(
        WASI,
        "fd_seek",
        |mut caller: Caller<'_, CallState>, fd: u32, _: i64, _: u32, _: u32| {
            with(&mut caller, 0, |_, _| Ok(stdio(fd).and(Err(SPIPE))))
        },
    )?;
    linker.func_wrap(WASI, "fd_tell", |mut caller: Caller<'_, CallState>, fd: u32, _: u32| {
        with(&mut caller, 0, |_, _| Ok(stdio(fd).and(Err(SPIPE))))
    })?;
    // No folder is open before the start, and none can be opened.
    linker.func_wrap(WASI, "fd_prestat_get", |mut caller: Caller<'_, CallState>, _: u32, _: u32| {
        with(&mut caller, 0, |_, _| Ok(Err(BADF)))
    })?;
    linker.func_wrap(
        WASI,
        "fd_prestat_dir_name",
        |mut caller: Caller<'_, CallState>, _: u32, _: u32, _: u32| {
            with(&mut caller, 0, |_, _| Ok(Err(BADF)))
        },
    )?;
    Ok(())
}

fn process(linker: &mut Linker<CallState>) -> Result<()> {
    for name in ["args_sizes_get", "environ_sizes_get"] {
        linker.func_wrap(WASI, name, |mut caller: Caller<'_, CallState>, count: u32, size: u32| {
            with(&mut caller, 8, |memory, _| {
                Ok(memory.put(count, &[0; 4]).and_then(|()| memory.put(size, &[0; 4])))
            })
        })?;
    }
    for name in ["args_get", "environ_get"] {
        linker.func_wrap(WASI, name, |mut caller: Caller<'_, CallState>, _: u32, _: u32| {
            with(&mut caller, 0, |_, _| Ok(Ok(())))
        })?;
    }
    linker.func_wrap(WASI, "clock_res_get", |mut caller: Caller<'_, CallState>, _: u32, at: u32| {
        with(&mut caller, 8, |memory, _| Ok(memory.put(at, &1_000_u64.to_le_bytes())))
    })?;
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |mut caller: Caller<'_, CallState>, id: u32, _: u64, at: u32| {
            with(&mut caller, 8, |memory, world| {
                let now = match id {
                    0 => {
                        let (seconds, nanoseconds) = world.clock.wall();
                        seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.into())
                    }
                    // Monotonic time, and the processor time of process and thread.
                    1..=3 => world.clock.monotonic_ns(),
                    _ => return Ok(Err(INVAL)),
                };
                Ok(memory.put(at, &now.to_le_bytes()))
            })
        },
    )?;
    linker.func_wrap(WASI, "random_get", |mut caller: Caller<'_, CallState>, at: u32, len: u32| {
        with(&mut caller, 0, |memory, world| {
            let bytes = world.random(len.into())?;
            Ok(memory.put(at, &bytes))
        })
    })?;
    linker.func_wrap(WASI, "sched_yield", |mut caller: Caller<'_, CallState>| {
        with(&mut caller, 0, |_, _| Ok(Ok(())))
    })?;
    linker.func_wrap(WASI, "proc_exit", |mut caller: Caller<'_, CallState>, status: i32| -> Result<()> {
        caller.data_mut().charged();
        Err(Stop::Exit(status).into())
    })?;
    linker.func_wrap(
        WASI,
        "poll_oneoff",
        |mut caller: Caller<'_, CallState>, waits: u32, events: u32, count: u32, ready: u32| {
            with(&mut caller, count.min(MAX_PIECES) * 48, |memory, world| {
                Ok(poll(memory, world, waits, events, count, ready))
            })
        },
    )?;
    Ok(())
}

/// Waits for streams, which are always ready, or else lets time pass until the first timer is due.
fn poll(
    memory: &mut Memory<'_>,
    world: &mut World,
    waits: u32,
    events: u32,
    count: u32,
    ready: u32,
) -> Errno {
    if count == 0 || count > MAX_PIECES {
        return Err(INVAL);
    }
    // User data, event type, and when it is due if it is a timer.
    let mut wanted: Vec<(u64, u8, Option<u64>)> = Vec::new();
    for index in 0..count {
        let at = waits.checked_add(index * 48).ok_or(FAULT)?;
        let raw: [u8; 48] = memory.get(at)?;
        let (data, kind, clock) = (memory.get_u64(at)?, raw[8], memory.get_u32(at + 16)?);
        let timeout = memory.get_u64(at + 24)?;
        let absolute = raw[40] & 1 == 1;
        let due = match (kind, clock, absolute) {
            (0, _, false) => Some(world.clock.elapsed_ns().saturating_add(timeout)),
            (0, 0, true) => Some(world.clock.since_start_ns(timeout)),
            (0, _, true) => Some(timeout),
            (1 | 2, _, _) => None,
            _ => return Err(INVAL),
        };
        wanted.push((data, kind, due));
    }
    if wanted.iter().all(|(_, _, due)| due.is_some()) {
        let first = wanted.iter().filter_map(|(_, _, due)| *due).min();
        world.clock.jump_to(first.unwrap_or_default());
    }
    let now = world.clock.elapsed_ns();
    let mut happened = 0_u32;
    for (data, kind, _) in wanted.into_iter().filter(|(_, _, due)| due.is_none_or(|due| due <= now)) {
        let mut event = [0; 32];
        event[..8].copy_from_slice(&data.to_le_bytes());
        event[10] = kind;
        memory.put(events.checked_add(happened * 32).ok_or(FAULT)?, &event)?;
        happened += 1;
    }
    memory.put(ready, &happened.to_le_bytes())
}
