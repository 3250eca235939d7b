//! The README's two commands, `cargo demo` and `cargo tests`: say what will happen, add the WebAssembly
//! targets, then run cargo with its output shown. No dependencies, so that it starts at once.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Actions are built for the first; the sandbox's tests also build guests for the others.
const ACTION_TARGET: &str = "wasm32-unknown-unknown";
const TEST_TARGETS: [&str; 3] = [ACTION_TARGET, "wasm32-wasip1", "wasm32-wasip2"];

const HELP: &str = "\
Usage: cargo xtask <command>

Commands:
  demo     build Stepwell and run the main job: a posted web form becomes records (also: cargo demo)
  tests    run every test: workspace, guest SDK, example actions (also: cargo tests)
  targets  add the WebAssembly targets with rustup
";

type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match command.as_str() {
        "demo" => demo(&rest),
        "tests" => tests(&rest),
        "targets" => add_targets(&TEST_TARGETS),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("unknown command `{other}`\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn demo(rest: &[String]) -> Outcome {
    announce(
        "cargo demo",
        &[
            "adds the Rust target wasm32-unknown-unknown with rustup, if it is missing",
            "builds Stepwell (dev profile; the first time about 10 minutes on 2 cores, at most 5 GB in target/)",
            "runs `stepwell demo`: a server on a temporary folder and a free loopback port; nothing is left behind",
        ],
    );
    add_targets(&[ACTION_TARGET])?;
    let mut run = cargo(&["run", "--package", "stepwell", "--", "demo", "--target-dir"]);
    run.arg(guest_target_dir()).args(rest);
    finish(run)
}

fn tests(rest: &[String]) -> Outcome {
    announce(
        "cargo tests",
        &[
            "adds the Rust targets wasm32-unknown-unknown, wasm32-wasip1 and wasm32-wasip2 with rustup, if missing",
            "builds and runs all tests of the workspace (the first time about 15 minutes on 2 cores, 7 minutes after the demo, 8 GB in target/ with it)",
            "runs the tests of the guest SDK and of the example actions",
        ],
    );
    add_targets(&TEST_TARGETS)?;
    let mut workspace = cargo(&["test", "--workspace"]);
    workspace.args(rest);
    finish(workspace)?;
    for manifest in guest_manifests()? {
        let mut guest = cargo(&["test", "--locked", "--manifest-path"]);
        guest.arg(&manifest).env("CARGO_TARGET_DIR", guest_target_dir());
        finish(guest)?;
    }
    Ok(())
}

/// The crates outside the workspace, which have lock files of their own.
fn guest_manifests() -> Result<Vec<PathBuf>, String> {
    let root = root();
    let mut found = vec![root.join("guest-sdk/rust/Cargo.toml")];
    let actions = root.join("examples/actions");
    let entries =
        std::fs::read_dir(&actions).map_err(|e| format!("cannot read {}: {e}", actions.display()))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("cannot read {}: {e}", actions.display()))?;
        let manifest = entry.path().join("Cargo.toml");
        if manifest.is_file() {
            found.push(manifest);
        }
    }
    found.sort();
    Ok(found)
}

/// Guests share one target folder, so that serde is built once for all of them.
fn guest_target_dir() -> PathBuf {
    let base = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    base.join("guests")
}

fn add_targets(targets: &[&str]) -> Outcome {
    let missing: Vec<&str> = targets.iter().copied().filter(|t| !has_target(t)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("run `rustup target add {}` and try again", missing.join(" "));
    eprintln!("xtask: adding {} with rustup", missing.join(", "));
    let added = Command::new("rustup").args(["target", "add"]).args(&missing).status();
    match added {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("rustup could not add the WebAssembly targets ({status}); {by_hand}")),
        Err(e) => Err(format!(
            "the Rust targets {} are missing and rustup cannot be run ({e}); install them with your Rust distribution, or {by_hand}",
            missing.join(", ")
        )),
    }
}

/// A target is there when its standard library is, whoever installed it.
fn has_target(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let Ok(out) = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output() else {
        return false;
    };
    let libdir = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim());
    std::fs::read_dir(libdir).is_ok_and(|mut entries| {
        entries.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("libstd-")))
    })
}

fn announce(command: &str, steps: &[&str]) {
    eprintln!("{command}:");
    for step in steps {
        eprintln!("  - {step}");
    }
    eprintln!();
}

fn cargo(args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root()).args(args);
    command
}

fn finish(mut command: Command) -> Outcome {
    let status = command.status().map_err(|e| format!("cannot run cargo: {e}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{command:?} ended with {status}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
