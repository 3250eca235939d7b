//! Other systems on loopback that take part in the flows of `examples/workflows`: they are busy, break, and lose answers
//! after they have acted; and a server with a real mail server, which can be killed and started again.

#![allow(dead_code)] // what one flow does not need another does

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::smtp::{Security, SmtpServer};
use super::{Server, guests};

/// What a peer does with the next requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    Well,
    /// 429, with a second to wait.
    Busy,
    Broken,
    /// It acts, and the answer is lost.
    Cut,
    /// It acts, and the answer comes when it is [let go](Peer::held).
    Held,
    Refuses,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Came {
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub query: String,
    pub key: String,
    pub auth: String,
    pub if_match: String,
    pub body: Value,
}

/// Answers a request that was taken: status and body.
pub type Act = fn(&mut Peer, &Came) -> (u16, Value);

/// Another system: it does once what comes with one key, and gives the same answer to every repeat.
pub struct Peer {
    act: Act,
    pub moods: Vec<Mood>,
    pub came: Vec<Came>,
    answered: BTreeMap<String, (Value, u16, Value)>,
    /// What it made, by path.
    pub made: BTreeMap<String, Vec<Value>>,
    /// Each notice lets one answer go.
    pub held: Arc<tokio::sync::Notify>,
}

pub type Shared = Arc<Mutex<Peer>>;

pub async fn peer(act: Act) -> (Shared, String) {
    let peer = Peer {
        act,
        moods: vec![],
        came: vec![],
        answered: BTreeMap::new(),
        made: BTreeMap::new(),
        held: Arc::default(),
    };
    let peer: Shared = Arc::new(Mutex::new(peer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(take).with_state(peer.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (peer, format!("http://{address}"))
}

async fn take(State(peer): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 8 << 20).await.unwrap();
    let header =
        |name: &str| parts.headers.get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let came = Came {
        at: Instant::now(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        key: header("idempotency-key"),
        auth: header("authorization"),
        if_match: header("if-match"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let (mood, answer, held) = {
        let mut peer = peer.lock().unwrap();
        let (mood, answer) = answer(&mut peer, came);
        (mood, answer, peer.held.clone())
    };
    if mood == Mood::Held {
        held.notified().await;
    }
    answer
}

fn answer(peer: &mut Peer, came: Came) -> (Mood, Response) {
    peer.came.push(came.clone());
    let mood = if peer.moods.is_empty() { Mood::Well } else { peer.moods.remove(0) };
    let answer = |status: u16| Response::builder().status(status).header("content-type", "application/json");
    let body = |body: &str| Body::from(body.to_owned());
    match mood {
        Mood::Busy => return (mood, answer(429).header("retry-after", "1").body(body("{}")).unwrap()),
        Mood::Broken => return (mood, answer(500).body(body("{\"error\":\"out of order\"}")).unwrap()),
        Mood::Refuses => return (mood, answer(422).body(body("{\"error\":\"no such thing\"}")).unwrap()),
        Mood::Well | Mood::Cut | Mood::Held => {}
    }
    let (status, said) = match peer.answered.get(&came.key) {
        Some((first, _, _)) if *first != came.body => {
            (409, json!({ "error": "the key came with another body" }))
        }
        Some((_, status, body)) => (*status, body.clone()),
        None => {
            let (status, body) = (peer.act)(peer, &came);
            if came.method != "GET" {
                peer.answered.insert(came.key.clone(), (came.body.clone(), status, body.clone()));
            }
            (status, body)
        }
    };
    let response = match mood {
        // More is promised than comes, and the connection breaks off.
        Mood::Cut => {
            let off = std::io::Error::other("cut off");
            let parts = futures::stream::iter([Ok("{"), Err(off)]);
            answer(status).header("content-length", "100000").body(Body::from_stream(parts))
        }
        _ => answer(status).body(body(&said.to_string())),
    };
    (mood, response.unwrap())
}

pub fn file(path: &str) -> String {
    std::fs::read_to_string(guests::root().join("examples/workflows").join(path)).unwrap()
}

/// A server with a real mail server, which it can be killed and started again with.
pub struct Place {
    pub server: Server,
    pub smtp: SmtpServer,
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let (smtp, folder) = (SmtpServer::start(Security::None), tempfile::tempdir().unwrap());
        Self { server: Self::server(&smtp, &folder), smtp, folder }
    }

    fn server(smtp: &SmtpServer, folder: &tempfile::TempDir) -> Server {
        let port = smtp.port.to_string();
        let environment = [
            ("STEPWELL_SMTP__HOST", "localhost"),
            ("STEPWELL_SMTP__PORT", port.as_str()),
            ("STEPWELL_SMTP__TLS", "none"),
            ("STEPWELL_SMTP__FROM", "Stepwell <flow@example.com>"),
        ];
        Server::on(&folder.path().join("data"), &["--dev"], &environment).unwrap()
    }

    pub fn crash(&mut self) {
        self.server.kill();
        self.server = Self::server(&self.smtp, &self.folder);
    }

    /// An example's workflow, with its connection leading to the peer.
    pub async fn with(&self, flow: &str, connection: &str, there: &str, here: &str, secret: &str) {
        let path = format!("{flow}/connections/{connection}.yaml");
        let text = file(&path);
        assert!(text.contains(there), "{path} does not lead to {there}");
        let secret = format!("/api/v1/secrets/{secret}");
        self.server.put(&secret, "{\"value\": \"a key of the test\"}").await.expect(201);
        let path = format!("/api/v1/connections/{connection}");
        self.server.put(&path, text.replace(there, here)).await.expect(201);
        self.server.activate(flow, &file(&format!("{flow}/{flow}.yaml"))).await;
    }

    /// The schema file of an example.
    pub async fn schema(&self, flow: &str) {
        let schema = json!({ "schema": file(&format!("{flow}/schema.yaml")) });
        self.server.post("/api/v1/schema/apply?wait=30s", &schema).await.expect(200);
    }

    pub async fn action(&self, name: &str) {
        self.server.put(&format!("/api/v1/actions/{name}"), guests::example(name)).await.expect(201);
    }

    /// A setting, which may be there.
    pub async fn setting(&self, name: &str, value: Value) {
        let answer =
            self.server.put(&format!("/api/v1/settings/{name}"), json!({ "value": value }).to_string()).await;
        assert!(answer.status.is_success(), "{}", answer.text());
    }

    /// Starts a run by hand: its id.
    pub async fn by_hand(&self, flow: &str, input: Value) -> String {
        let run = self.server.post(&format!("/api/v1/workflows/{flow}/run"), &input).await;
        assert!(run.status.is_success(), "{}", run.text());
        run.json()["run_id"].as_str().unwrap().to_owned()
    }

    pub async fn create(&self, object: &str, record: Value) -> String {
        let made = self.server.post(&format!("/api/v1/records/{object}"), &record).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    }

    pub async fn change(&self, object: &str, id: &str, change: Value) {
        let path = format!("/api/v1/records/{object}/{id}");
        let request = self.server.request(reqwest::Method::PATCH, &path).json(&change);
        self.server.send(request).await.expect(200);
    }

    pub async fn record(&self, object: &str, id: &str) -> Value {
        self.server.get(&format!("/api/v1/records/{object}/{id}")).await.expect(200)
    }

    /// When so many runs of a workflow are over, in the time that passes by itself.
    pub async fn ended(&self, flow: &str, count: usize) -> Vec<Value> {
        for _ in 0..2400 {
            let page = self.server.get(&format!("/api/v1/runs?workflow={flow}&limit=500")).await.expect(200);
            let runs = page["runs"].as_array().unwrap();
            if runs.iter().filter(|run| !run["ended_at"].is_null()).count() >= count {
                return runs.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{flow} has not had {count} runs that are over within two minutes");
    }

    /// Moves time forward until so many runs of a workflow are over; they are given, the newest first.
    pub async fn over(&self, flow: &str, count: usize) -> Vec<Value> {
        for _ in 0..3000 {
            let page = self.server.get(&format!("/api/v1/runs?workflow={flow}&limit=500")).await.expect(200);
            let runs = page["runs"].as_array().unwrap();
            if runs.iter().filter(|run| !run["ended_at"].is_null()).count() >= count {
                return runs.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            // Not while a request is under way: its time-out would be over before a slow machine has answered it.
            if runs.iter().all(|run| run["status"] != "running") {
                self.server.post("/api/v1/dev/clock", &json!({ "advance": "5s" })).await.expect(200);
            }
        }
        panic!("{flow} has not had {count} runs that are over");
    }

    /// Moves time forward until so many runs of a workflow are over, and no other is under way.
    pub async fn quiet(&self, flow: &str, count: usize) {
        for _ in 0..3000 {
            let page = self.server.get("/api/v1/runs?limit=500").await.expect(200);
            let runs = page["runs"].as_array().unwrap();
            let over = runs.iter().filter(|run| !run["ended_at"].is_null());
            let (all, of_it) = (over.clone().count(), over.filter(|run| run["workflow"] == flow).count());
            if all == runs.len() && of_it >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            if runs.iter().all(|run| run["status"] != "running") {
                self.server.post("/api/v1/dev/clock", &json!({ "advance": "2s" })).await.expect(200);
            }
        }
        panic!("{flow} has not had {count} runs that are over, with no other under way");
    }
}
