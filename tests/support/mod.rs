//! What black-box tests share: a real server process, a client, modules built once, a real SMTP server.

pub mod guests;
pub mod peer;
pub mod server;
pub mod signed;
pub mod smtp;
pub mod tls;

pub use server::Server;

use std::process::{Command, Output};

/// The binary under test.
pub fn stepwell() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepwell"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STEPWELL_")) {
        command.env_remove(name);
    }
    command
}

/// The same, begun by another program with these arguments.
pub fn stepwell_through(wrapper: &[&str]) -> Command {
    let plain = stepwell();
    let Some((program, arguments)) = wrapper.split_first() else { return plain };
    let mut command = Command::new(program);
    command.args(arguments).arg(plain.get_program());
    for (name, _) in plain.get_envs() {
        command.env_remove(name);
    }
    command
}

/// A client without proxies, redirects or a wait without end.
pub fn client() -> reqwest::Client {
    // The second test finds a provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        // A module may be built between two requests, for longer than a server keeps an idle connection.
        .pool_idle_timeout(std::time::Duration::from_secs(5))
        .no_proxy()
        .timeout(std::time::Duration::from_secs(60))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client")
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str]) -> Finished {
    Finished::from(stepwell().args(arguments).output().expect("the binary starts"))
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
