//! A real HTTPS server with an authority of its own, which may ask who calls (Python's, in the environment of the SMTP server).

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::smtp::python;

pub struct TlsServer {
    child: Child,
    pub port: u16,
    folder: tempfile::TempDir,
    _stdin: ChildStdin,
}

impl TlsServer {
    /// `mutual`: who has no certificate of its authority is not let in.
    pub fn start(mutual: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support/tls_server.py");
        let mut child = Command::new(python())
            .arg(script)
            .arg(if mutual { "mutual" } else { "open" })
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut first = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut first).expect("the server says its port");
        let port = first.trim().parse().unwrap_or_else(|_| panic!("not a port: {first:?}"));
        let stdin = child.stdin.take().expect("stdin is piped");
        Self { child, port, folder, _stdin: stdin }
    }

    /// One of `ca.pem`, `client.pem` and `client.key`.
    pub fn pem(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).expect("the server wrote it")
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
