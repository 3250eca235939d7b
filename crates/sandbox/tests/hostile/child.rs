//! The compile child: its limits, what it says about each end, and the cache in front of it.

use bytes::Bytes;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};
use stepwell_sandbox::admit::{Compiler, Loaded, scan};
use stepwell_sandbox::config::{Allocation, settings};
use stepwell_sandbox::{CompileLimits, CompileStrategy, LoadError, Refusal};
use wasmtime::Engine;

use super::generate::functions;
use super::guest::{Handler, wat};
use super::runner::{Test, add};

/// What came of a compilation.
#[derive(Debug)]
pub enum Compiled {
    Loaded(Loaded),
    Refused(Refusal),
    Failed(String),
}

/// Limits under which any honest module of these tests compiles.
pub fn usual_limits() -> CompileLimits {
    CompileLimits { cpu_seconds: 20, wall_ms: 60_000, ..CompileLimits::default() }
}

/// This very program, as the child.
pub fn child(limits: CompileLimits) -> CompileStrategy {
    let program = std::env::current_exe().expect("the program knows where it is");
    CompileStrategy::Child { program, args: vec![OsString::from("compile")], limits }
}

/// Scans and compiles in a child, without a cache.
pub fn compile(module: Vec<u8>, limits: CompileLimits) -> Compiled {
    compile_with(child(limits), None, module)
}

fn compile_with(strategy: CompileStrategy, cache: Option<&Path>, module: Vec<u8>) -> Compiled {
    let admitted = match scan(&Bytes::from(module)) {
        Ok(admitted) => admitted,
        Err(refusal) => return Compiled::Refused(refusal),
    };
    let engine = Engine::new(&settings(Allocation::OnDemand)).expect("an engine");
    let compiler = Compiler::new(engine, strategy, cache).expect("a compiler");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(compiler.load(&admitted)) {
        Ok(loaded) => Compiled::Loaded(loaded),
        Err(LoadError::Refused(refusal)) => Compiled::Refused(refusal),
        Err(LoadError::Host(message)) => Compiled::Failed(message),
    }
}

fn refused(compiled: Compiled) -> Refusal {
    match compiled {
        Compiled::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// Compiles for many seconds although the scan lets it in: loops inside each other, each of which
/// moves every local on, in as many functions as the rules allow.
pub fn slow() -> Vec<u8> {
    const LOOPS: usize = 80;
    const LOCALS: u16 = 1000;
    let number = |local: u16| [(local & 0x7f) as u8 | 0x80, (local >> 7) as u8];
    let mut body = Vec::new();
    for local in 0..LOCALS {
        // Values that the compiler cannot know.
        body.extend([0x41, 0, 0x28, 2]);
        body.extend(number(4 * local));
        body.push(0x21);
        body.extend(number(local));
    }
    for _ in 0..LOOPS {
        body.extend([0x03, 0x40]);
        for local in 0..LOCALS {
            body.push(0x20);
            body.extend(number(local));
        }
        for local in (0..LOCALS).rev() {
            body.push(0x21);
            body.extend(number((local + 1) % LOCALS));
        }
        body.extend([0x20, 0, 0x0d, 0]);
    }
    body.extend([0x0b; LOOPS]);
    for local in 0..LOCALS {
        // And each is used.
        body.extend([0x41, 0, 0x20]);
        body.extend(number(local));
        body.extend([0x36, 2]);
        body.extend(number(4 * local));
    }
    functions(&vec![(usize::from(LOCALS), body); 30])
}

pub fn tests(tests: &mut Vec<Test>) {
    add(tests, "child::compiles_both_kinds", || {
        let command = wat(r#"(module (func (export "_start")))"#);
        assert!(matches!(compile(command, usual_limits()), Compiled::Loaded(Loaded::Module(_))));
        let component = Handler::default().build();
        assert!(matches!(compile(component, usual_limits()), Compiled::Loaded(Loaded::Component(_))));
    });
    add(tests, "child::too_much_processor_time", || {
        let limits = CompileLimits { cpu_seconds: 1, ..usual_limits() };
        let refusal = refused(compile(slow(), limits));
        assert_eq!((refusal.rule.as_str(), refusal.limit), ("compile_time", Some(1)), "{refusal}");
    });
    add(tests, "child::too_much_real_time", || {
        let limits = CompileLimits { wall_ms: 300, ..usual_limits() };
        let started = Instant::now();
        let refusal = refused(compile(slow(), limits));
        assert_eq!((refusal.rule.as_str(), refusal.limit), ("compile_time", Some(300)), "{refusal}");
        assert!(started.elapsed() < Duration::from_secs(20));
    });
    add(tests, "child::too_much_memory", || {
        let limits = CompileLimits { memory_bytes: 96 << 20, ..usual_limits() };
        let refusal = refused(compile(slow(), limits));
        assert_eq!((refusal.rule.as_str(), refusal.limit), ("compile_memory", Some(96 << 20)), "{refusal}");
    });
    add(tests, "child::too_much_machine_code", || {
        let limits = CompileLimits { artifact_bytes: 1000, ..usual_limits() };
        let refusal = refused(compile(Handler::default().build(), limits));
        assert_eq!((refusal.rule.as_str(), refusal.limit), ("artifact_bytes", Some(1000)), "{refusal}");
        assert!(refusal.found > Some(1000));
    });
    add(tests, "child::a_program_that_breaks_is_no_fault_of_the_server", || {
        let run = |program: &str, args: &[&str]| {
            let args = args.iter().map(OsString::from).collect();
            let strategy = CompileStrategy::Child { program: program.into(), args, limits: usual_limits() };
            compile_with(strategy, None, Handler::default().build())
        };
        let refusal = refused(run("/bin/sh", &["-c", "echo out of order >&2; kill -SEGV $$"]));
        assert_eq!(refusal.rule, "compile_crash");
        assert!(refusal.to_string().contains("out of order"), "{refusal}");
        for (program, args, message) in [
            ("/nonexistent/stepwell", &[][..], "cannot start the compiler"),
            ("/bin/sh", &["-c", "echo hello"], "garbled"),
            ("/bin/sh", &["-c", "true"], "garbled"),
            (
                "/bin/sh",
                &["-c", r#"echo '{"compiled": {"fingerprint": "00", "bytes": 0}}'"#],
                "restart the server",
            ),
        ] {
            match run(program, args) {
                Compiled::Failed(said) => assert!(said.contains(message), "{said}"),
                other => panic!("{other:?}"),
            }
        }
    });
    add(tests, "child::started_by_hand_it_says_what_it_is", || {
        let program = std::env::current_exe().expect("the program knows where it is");
        let output = std::process::Command::new(program).arg("compile").output().expect("it starts");
        assert_eq!(output.status.code(), Some(64));
        assert!(String::from_utf8_lossy(&output.stderr).contains("for the server's own use"));
    });
    add(tests, "child::what_it_compiled_is_not_compiled_again", || {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = dir.path().join("code");
        let module = Handler::default().build();
        let first = compile_with(child(usual_limits()), Some(&cache), module.clone());
        assert!(matches!(first, Compiled::Loaded(_)), "{first:?}");
        let none = CompileStrategy::Child {
            program: "/nonexistent".into(),
            args: Vec::new(),
            limits: usual_limits(),
        };
        let again = compile_with(none, Some(&cache), module);
        assert!(matches!(again, Compiled::Loaded(_)), "{again:?}");
    });
}
