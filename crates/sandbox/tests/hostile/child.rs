//! The compile child: its limits, what it says about each end, and the cache in front of it.

use bytes::Bytes;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};
use stepwell_sandbox::admit::{Compiler, Loaded, scan};
use stepwell_sandbox::config::{Allocation, settings};
use stepwell_sandbox::{Call, CompileLimits, CompileStrategy, Host, HostConfig, LoadError, Refusal};
use wasmtime::Engine;

use super::bombs::{self, End, slow};
use super::guest::{Handler, wat};
use super::refused::check_text;
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

/// Limits that end a bomb within a test's time.
fn small_limits() -> CompileLimits {
    CompileLimits { cpu_seconds: 1, memory_bytes: 1 << 30, ..usual_limits() }
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

/// The refusals that the tests here look at, beside those in the tables of `refused.rs`.
pub const REFUSALS: &[&str] = &["compile_time", "compile_memory", "artifact_bytes", "compile_crash", "link"];

fn refused(compiled: Compiled) -> Refusal {
    match compiled {
        Compiled::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

pub fn tests(tests: &mut Vec<Test>) {
    for (name, bomb, end) in bombs::BOMBS {
        add(tests, format!("child::bomb_of_{}", name.replace(' ', "_")), move || {
            // However slow the machine is, nothing but its end ends it.
            let mut limits =
                CompileLimits { cpu_seconds: 600, wall_ms: 3_600_000, ..CompileLimits::default() };
            let (rule, set, limit) = match *end {
                End::Time(seconds) => ("compile_time", &mut limits.cpu_seconds, seconds),
                End::Memory(bytes) => ("compile_memory", &mut limits.memory_bytes, bytes),
                End::Code(bytes) => ("artifact_bytes", &mut limits.artifact_bytes, bytes),
                End::Compiled => {
                    let compiled = compile(bomb(), limits);
                    assert!(matches!(compiled, Compiled::Loaded(_)), "{compiled:?}");
                    return;
                }
            };
            *set = limit;
            let refusal = refused(compile(bomb(), limits));
            assert_eq!((refusal.rule.as_str(), refusal.limit), (rule, Some(limit)), "{refusal}");
            assert!(refusal.found >= Some(limit), "{refusal:?}");
        });
    }
    add(tests, "child::a_bomb_leaves_the_server_unharmed", || {
        let config = HostConfig { compile: child(small_limits()), ..HostConfig::default() };
        let host = Host::new(config).expect("a host");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let honest = host.load(Handler::default().build()).await.expect("it is honest");
            let bomb = host.load(slow());
            tokio::pin!(bomb);
            let mut answered = 0;
            let refused = loop {
                tokio::select! {
                    end = &mut bomb => break end,
                    outcome = host.call(&honest, Call::new("{}")) => {
                        assert_eq!(outcome.result.as_deref(), Ok("null"));
                        answered += 1;
                    }
                }
            };
            let Err(LoadError::Refused(refusal)) = refused else { panic!("the bomb was let in") };
            assert_eq!(refusal.rule, "compile_time", "{refusal}");
            assert!(answered > 100, "{answered} calls were answered meanwhile");
            host.load(Handler::default().build()).await.expect("it is still honest");
        });
    });
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
        assert_eq!(refusal.found, Some(1));
    });
    add(tests, "child::too_much_real_time", || {
        let limits = CompileLimits { wall_ms: 300, ..usual_limits() };
        let started = Instant::now();
        let refusal = refused(compile(slow(), limits));
        assert_eq!((refusal.rule.as_str(), refusal.limit), ("compile_time", Some(300)), "{refusal}");
        assert!(refusal.found >= Some(300), "{refusal:?}");
        assert!(started.elapsed() < Duration::from_secs(20));
    });
    add(tests, "child::too_much_memory", || {
        let limits = CompileLimits { memory_bytes: 160 << 20, ..usual_limits() };
        let refusal = refused(compile(slow(), limits));
        assert_eq!((refusal.rule.as_str(), refusal.limit), ("compile_memory", Some(160 << 20)), "{refusal}");
        assert!(refusal.found > refusal.limit, "{refusal:?}");
    });
    add(tests, "child::a_limit_below_what_the_program_holds_anyway_is_no_fault_of_the_module", || {
        let limits = CompileLimits { memory_bytes: 1 << 20, ..usual_limits() };
        let command = wat(r#"(module (func (export "_start")))"#);
        match compile(command, limits) {
            Compiled::Failed(message) => {
                assert!(message.contains("1 MiB are all that it may have"), "{message}")
            }
            _ => panic!("it was compiled, or refused"),
        }
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
    add(tests, "child::imports_of_other_types_are_refused_when_they_are_linked", || {
        let host = Host::new(HostConfig { compile: child(usual_limits()), ..HostConfig::default() });
        let host = host.expect("a host");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let refuse = |module: Vec<u8>| {
            let loaded = runtime.block_on(host.load(module));
            let Err(LoadError::Refused(refusal)) = loaded else { panic!("{loaded:?}") };
            assert_eq!(refusal.rule, "link", "{refusal}");
            check_text(&refusal);
            refusal.message
        };
        let text = Handler::default().text();
        let text = text.replacen(r#"(param "level" u8)"#, r#"(param "level" u16)"#, 1);
        let message = refuse(wat(&text));
        assert!(message.contains("stepwell:action/log@1.0.0"), "{message}");
        let unknown = "x".repeat(100_000);
        let random = format!(r#"(import "wasi:random/random@0.2.0" (instance (export "{unknown}" (func))))"#);
        refuse(Handler { more: &random, ..Handler::default() }.build());
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
