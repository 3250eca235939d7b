//! Compiling in a child process that limits itself before it reads a byte: no rule on a module
//! bounds what the compiler does with it. Both ends of the pipe are here: the parent writes the
//! module to the child's stdin, the child answers on stdout with one line of JSON and the machine
//! code.

use bytes::Bytes;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use wasmtime::Engine;

use super::compile::{check_size, machine_code};
use super::{CompileLimits, Refusal, rules, scan};
use crate::config::{Allocation, compatibility, settings};
use crate::{LoadError, host};

/// Carries the limits: they must be known before stdin is read.
const LIMITS: &str = "STEPWELL_COMPILE_LIMITS";
/// Stepwell's allocator takes a gigabyte of address space before it is asked for any: a limit below that would find it taken
/// already, and hold nothing back. Others do not know the name.
const NOTHING_BEFOREHAND: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "0");
/// How much of the child's stderr is kept for the error.
const STDERR_TAIL: usize = 2 << 10;
/// Longest line of JSON in an answer. A refusal quotes at most a dozen names.
const LINE: u64 = 64 << 10;
/// The child could not confine itself or was started by hand: nothing is known about the module.
const EXIT_MISUSED: u8 = 64;

// The numbers that every Unix gives these.
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// What the child answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// So many bytes of machine code follow, for an engine with that fingerprint.
    Compiled { fingerprint: String, bytes: u64 },
    /// The module is to blame.
    Refused(Refusal),
    /// Nothing is known about the module.
    Failed(String),
}

/// The whole of the child: call it first thing in `main` of the program that
/// [`CompileStrategy::Child`](super::CompileStrategy::Child) names, before any other thread or
/// runtime is started, and exit with what it returns.
pub fn compile_child_main() -> ExitCode {
    let limits = match std::env::var(LIMITS).map(|json| serde_json::from_str(&json)) {
        Ok(Ok(limits)) => limits,
        _ => {
            eprintln!("this command is for the server's own use: {LIMITS} is not set");
            return ExitCode::from(EXIT_MISUSED);
        }
    };
    if let Err(error) = confine(&limits) {
        eprintln!("cannot limit the compiler: {error}");
        return ExitCode::from(EXIT_MISUSED);
    }
    match answer(&limits) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot talk to the server: {error}");
            ExitCode::from(EXIT_MISUSED)
        }
    }
}

fn confine(limits: &CompileLimits) -> io::Result<()> {
    let exactly = |amount: u64| Rlimit { current: Some(amount), maximum: Some(amount) };
    setrlimit(Resource::Core, exactly(0))?;
    // The soft limit's signal says what happened; the hard one is out of its way.
    let cpu = Rlimit { current: Some(limits.cpu_seconds), maximum: Some(limits.cpu_seconds + 5) };
    setrlimit(Resource::Cpu, cpu)?;
    let held = held()?;
    if held >= limits.memory_bytes {
        let message = format!(
            "this program holds {} MiB of address space before it compiles anything, and {} MiB are all that it may have: raise the \
             limit on the compiler's memory",
            held.div_ceil(1 << 20),
            limits.memory_bytes >> 20
        );
        return Err(io::Error::other(message));
    }
    setrlimit(Resource::As, exactly(limits.memory_bytes))?;
    // No file but the three pipes, none that grows, and no thread or process but this one.
    setrlimit(Resource::Nofile, exactly(3))?;
    setrlimit(Resource::Fsize, exactly(0))?;
    setrlimit(Resource::Nproc, exactly(0))?;
    // The module is its owner's secret: other processes of this user do not look in.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// The address space that this process has, where the system tells: what was taken before is no matter of a limit.
fn held() -> io::Result<u64> {
    let status = match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB"));
    let kib: Option<u64> = size.and_then(|kib| kib.parse().ok());
    kib.map(|kib| kib.saturating_mul(1024))
        .ok_or_else(|| io::Error::other("/proc/self/status has no `VmSize`"))
}

fn answer(limits: &CompileLimits) -> io::Result<()> {
    let mut module = Vec::new();
    // One byte more than is let in, for the scan to refuse.
    io::stdin().lock().take(rules::FILE_BYTES.limit + 1).read_to_end(&mut module)?;
    let (answer, code) = match work(&Bytes::from(module), limits) {
        Ok((fingerprint, code)) => {
            let bytes = code.len() as u64;
            (Answer::Compiled { fingerprint: host::hex(&fingerprint), bytes }, code)
        }
        Err(LoadError::Refused(refusal)) => (Answer::Refused(refusal), Vec::new()),
        Err(LoadError::Host(message)) => (Answer::Failed(message), Vec::new()),
    };
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, &answer)?;
    stdout.write_all(b"\n")?;
    stdout.write_all(&code)?;
    stdout.flush()
}

fn work(module: &Bytes, limits: &CompileLimits) -> Result<([u8; 32], Vec<u8>), LoadError> {
    let admitted = scan(module).map_err(LoadError::Refused)?;
    let engine = Engine::new(&settings(Allocation::OnDemand)).map_err(LoadError::host)?;
    let code = machine_code(&engine, &admitted).map_err(LoadError::Refused)?;
    check_size(code.len() as u64, limits)?;
    Ok((compatibility(&engine), code))
}

/// The parent's end: machine code for `module`, compiled by `program`.
pub(super) async fn compile(
    program: &Path,
    args: &[OsString],
    limits: &CompileLimits,
    fingerprint: &[u8; 32],
    module: &Bytes,
) -> Result<Vec<u8>, LoadError> {
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env(LIMITS, serde_json::to_string(limits).map_err(LoadError::host)?)
        .env(NOTHING_BEFOREHAND.0, NOTHING_BEFOREHAND.1)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| LoadError::host(format!("cannot start the compiler {program:?}: {error}")))?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(LoadError::host("the compiler has no pipes"));
    };
    let most = limits.artifact_bytes.saturating_add(LINE);
    let talk = async {
        let send = async move {
            // A child that ended early says why by its status.
            let _ = stdin.write_all(module).await;
        };
        // A child that writes more than it may loses its reader here, and ends.
        tokio::join!(send, head(stdout, most), tail(stderr))
    };
    let (began, wall) = (Instant::now(), Duration::from_millis(limits.wall_ms));
    let talked = tokio::time::timeout(wall, async {
        let ((), output, stderr) = talk.await;
        (child.wait().await, output, stderr)
    });
    match talked.await {
        Ok((status, output, stderr)) => {
            let status = status.map_err(LoadError::host)?;
            if !status.success() {
                return Err(broken(status, &stderr, limits));
            }
            read(output.map_err(LoadError::host)?, fingerprint)
        }
        Err(_) => {
            // Waits for its end too, so that no zombie stays.
            let _ = child.kill().await;
            let message = format!("the compiler took more than {} ms of real time", limits.wall_ms);
            Err(refused("compile_time", message, limits.wall_ms, began.elapsed().as_millis() as u64))
        }
    }
}

/// The answer in what the child wrote.
fn read(mut output: Vec<u8>, fingerprint: &[u8; 32]) -> Result<Vec<u8>, LoadError> {
    let garbled = || LoadError::host("the compiler's answer is garbled");
    let line = output.iter().position(|byte| *byte == b'\n').ok_or_else(garbled)?;
    let answer: Answer = serde_json::from_slice(&output[..line]).map_err(|_| garbled())?;
    match answer {
        Answer::Refused(refusal) => Err(LoadError::Refused(refusal)),
        Answer::Failed(message) => Err(LoadError::Host(message)),
        Answer::Compiled { fingerprint: theirs, .. } if theirs != host::hex(fingerprint) => {
            Err(LoadError::host("the program on disk is not the one that runs: restart the server"))
        }
        Answer::Compiled { bytes, .. } => {
            output.drain(..=line);
            if output.len() as u64 == bytes { Ok(output) } else { Err(garbled()) }
        }
    }
}

/// Why a child that ended badly did.
fn broken(status: ExitStatus, stderr: &str, limits: &CompileLimits) -> LoadError {
    let memory = || {
        let mib = limits.memory_bytes >> 20;
        let message = format!("the compiler took more than {mib} MiB of memory");
        // What it wanted last is told, what it had is not: together they were more than the limit.
        refused("compile_memory", message, limits.memory_bytes, limits.memory_bytes.saturating_add(1))
    };
    match (status.code(), status.signal()) {
        (_, Some(SIGXCPU)) => {
            let message = format!("the compiler took more than {} s of processor time", limits.cpu_seconds);
            refused("compile_time", message, limits.cpu_seconds, limits.cpu_seconds)
        }
        (_, Some(SIGABRT)) if stderr.contains("memory allocation of") => memory(),
        // Not from here, so the system was short of memory.
        (_, Some(SIGKILL)) => memory(),
        (Some(code), _) if code == i32::from(EXIT_MISUSED) => LoadError::host(stderr.trim()),
        _ => {
            let message = format!("the compiler broke down on the module ({status})");
            let mut refusal = Refusal::new("compile_crash", message);
            if !stderr.is_empty() {
                refusal = refusal.hint(format!("it said: {}", stderr.trim()));
            }
            LoadError::Refused(refusal)
        }
    }
}

fn refused(rule: &str, message: String, limit: u64, found: u64) -> LoadError {
    let hint = "split large functions, or build with optimisation for size";
    let refusal = Refusal::new(rule, message).hint(hint);
    LoadError::Refused(Refusal { limit: Some(limit), found: Some(found), ..refusal })
}

/// Everything up to `most` bytes.
async fn head(from: impl AsyncRead + Unpin, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// The last bytes, as text that can be shown.
async fn tail(mut from: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let over = kept.len().saturating_sub(STDERR_TAIL);
        kept.drain(..over);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
