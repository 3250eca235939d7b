//! A `stepwell serve` process on a data folder of its own and a free port.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use super::{client, stepwell_through};

pub struct Server {
    child: Child,
    pub base: String,
    pub key: Option<String>,
    http: reqwest::Client,
    data: Data,
    log: Log,
}

/// What it logs, and the thread that reads it.
struct Log {
    lines: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// The folder is removed with the last server on it.
enum Data {
    Own(TempDir),
    Kept(PathBuf),
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{}: {e}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// The code of a problem document.
    pub fn code(&self) -> String {
        assert_eq!(
            self.headers.get("content-type").map(|v| v.to_str().unwrap()),
            Some("application/problem+json"),
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }
}

impl Server {
    /// A `--dev` server.
    pub fn dev() -> Self {
        Self::start(&["--dev"])
    }

    /// A server with further flags on a fresh folder.
    pub fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        Self::launch(&[], flags, &[], &data, Data::Own(folder)).expect("the server starts")
    }

    /// A server on a folder that is there, with environment variables.
    pub fn on(data: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Result<Self, String> {
        Self::through(&[], data, flags, environment)
    }

    /// The same, begun by another program: it limits what the server may do, and becomes it.
    pub fn through(
        wrapper: &[&str],
        data: &Path,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self, String> {
        Self::launch(wrapper, flags, environment, data, Data::Kept(data.to_owned()))
    }

    fn launch(
        wrapper: &[&str],
        flags: &[&str],
        environment: &[(&str, &str)],
        folder: &Path,
        data: Data,
    ) -> Result<Self, String> {
        let mut child = stepwell_through(wrapper)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder)
            .args(flags)
            .envs(environment.iter().copied())
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let mut first = String::new();
        lines.read_line(&mut first).expect("stdout can be read");
        let Some((_, base)) = first.trim().split_once("listening on ") else {
            let mut said = String::new();
            let _ = stderr.read_to_string(&mut said);
            let status = child.wait().expect("the process ends");
            return Err(format!("{status}: {first}{said}"));
        };
        // Whatever it says later must not fill a pipe and stop it.
        std::thread::spawn(move || lines.lines().for_each(drop));
        let logged = Arc::new(Mutex::new(String::new()));
        let kept = logged.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if std::env::var_os("STEPWELL_TEST_LOG").is_some() {
                    eprintln!("server: {line}");
                }
                let mut kept = kept.lock().expect("no test panics with it");
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let log = Log { lines: logged, reader: Some(reader) };
        let key = std::fs::read_to_string(folder.join("admin.key")).ok().map(|key| key.trim().to_owned());
        Ok(Self { child, base: base.to_owned(), key, http: client(), data, log })
    }

    pub fn data(&self) -> PathBuf {
        match &self.data {
            Data::Own(folder) => folder.path().join("data"),
            Data::Kept(path) => path.clone(),
        }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.expect("the server answers");
        let (status, headers) = (answer.status(), answer.headers().clone());
        Answer { status, headers, body: answer.bytes().await.expect("a whole answer").to_vec() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// What `/metrics` says of a name.
    pub async fn metric(&self, name: &str) -> u64 {
        let metrics = String::from_utf8(self.get("/metrics").await.body).unwrap();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(Method::PUT, path).body(body)).await
    }

    /// Saves and activates a workflow.
    pub async fn activate(&self, name: &str, text: &str) {
        let draft = self.put(&format!("/api/v1/workflows/{name}"), text.to_owned()).await.expect(201);
        assert_eq!(draft["problems"], serde_json::json!([]), "{draft:#}");
        self.post(&format!("/api/v1/workflows/{name}/activate"), &Value::Null).await.expect(200);
    }

    /// A run once it has ended.
    pub async fn ended(&self, run: &str) -> Value {
        let run = self.get(&format!("/api/v1/runs/{run}?wait=30s")).await.expect(200);
        assert!(
            matches!(run["status"].as_str(), Some("completed" | "failed" | "cancelled")),
            "the run has not ended: {run:#}"
        );
        run
    }

    /// The records of an object, the latest page of 500.
    pub async fn records(&self, object: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/v1/records/{object}?limit=500")).await.expect(200);
        page["records"].as_array().expect("records").clone()
    }

    /// Ends the process as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    /// Asks the process to stop, and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("a signal is sent");
        self.child.wait().expect("it ends")
    }

    /// All that a stopped server has logged.
    pub fn log(&mut self) -> String {
        if let Some(reader) = self.log.reader.take() {
            reader.join().expect("the log is read to its end");
        }
        self.log.lines.lock().expect("no test panics with it").clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
