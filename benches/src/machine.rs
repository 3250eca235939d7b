//! What the figures were measured on, as far as the system says.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

#[derive(Serialize)]
pub struct Machine {
    processor: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    /// The file system that the data folders are on.
    file_system: String,
    rustc: String,
    commit: String,
}

pub fn describe(dir: &Path) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let kib = field(&read("/proc/meminfo"), "MemTotal");
    let kib: f64 = kib.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
    Machine {
        processor: field(&cpu, "model name"),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_gib: (kib / f64::from(1 << 20) * 10.0).round() / 10.0,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        file_system: said(Command::new("stat").args(["-f", "-c", "%T"]).arg(dir)),
        rustc: said(Command::new("rustc").arg("--version")),
        commit: said(Command::new("git").args([
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "describe",
            "--always",
            "--dirty",
            "--exclude",
            "*",
        ])),
    }
}

/// What a command answers, or nothing.
fn said(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

impl Machine {
    pub fn text(&self) -> String {
        let Self { processor, cores, memory_gib, kernel, file_system, rustc, commit } = self;
        format!(
            "{processor}, {cores} cores, {memory_gib} GiB; Linux {kernel}, data on {file_system}; {rustc}; commit {commit}"
        )
    }
}
