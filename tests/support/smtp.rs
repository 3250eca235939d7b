//! A real SMTP server for tests: aiosmtpd, from its package, in a virtual environment that is made once.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use serde_json::Value;

const PACKAGES: [&str; 2] = ["aiosmtpd==1.4.6", "trustme==1.2.1"];

/// How the server protects its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    None,
    /// STARTTLS, with a login asked for after it.
    Starttls,
    /// TLS from the first byte.
    Tls,
}

pub struct SmtpServer {
    child: Child,
    pub port: u16,
    /// The certificate authority that signed the server's certificate.
    pub ca_file: PathBuf,
    lines: Mutex<BufReader<std::process::ChildStdout>>,
    _stdin: ChildStdin,
    _folder: tempfile::TempDir,
}

impl SmtpServer {
    pub fn start(security: Security) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support/smtp_server.py");
        let mut child = Command::new(python())
            .arg(script)
            .arg(format!("{security:?}").to_lowercase())
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("the server says its port");
        let port = first.trim().parse().unwrap_or_else(|_| panic!("not a port: {first:?}"));
        let stdin = child.stdin.take().expect("stdin is piped");
        Self {
            child,
            port,
            ca_file: folder.path().join("ca.pem"),
            lines: Mutex::new(lines),
            _stdin: stdin,
            _folder: folder,
        }
    }

    /// Waits for the next mail that the server took: `{from, to, data, tls, user}`.
    pub fn next_mail(&self) -> Value {
        let mut line = String::new();
        self.lines.lock().expect("no test panicked here").read_line(&mut line).expect("the server runs");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The virtual environment's Python, with the packages installed.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smtp-server");
        let python = folder.join("bin/python");
        let works = Command::new(&python)
            .args(["-c", "import aiosmtpd, trustme"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !works {
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder), "python3 -m venv");
            run(
                Command::new(&python)
                    .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                    .args(PACKAGES),
                "pip install",
            );
        }
        python
    })
}

fn run(command: &mut Command, what: &str) {
    let status =
        command.status().unwrap_or_else(|e| panic!("{what}: {e}; the mail tests need Python 3 with venv"));
    assert!(
        status.success(),
        "{what} failed: {status}; the mail tests need Python 3 and its package registry"
    );
}
